/*
 * What a difference amounts to, for the log and for deciding whether to believe it.
 */
#include "agent/daemon/daemon.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct counts {
	size_t table, chains, rules, sets, members, counters;
};

static void count_change(struct counts *counts, const struct change *change)
{
	switch (change->kind) {
	case CHANGE_TABLE_ADD:
	case CHANGE_TABLE_DELETE:
	case CHANGE_TABLE_WAKE:
		counts->table = 1;
		break;
	case CHANGE_CHAIN_ADD:
	case CHANGE_CHAIN_POLICY:
	case CHANGE_CHAIN_DELETE:
	case CHANGE_RULES_FLUSH:
		counts->chains++;
		break;
	case CHANGE_RULE_ADD:
		counts->rules++;
		break;
	case CHANGE_SET_ADD:
	case CHANGE_SET_DELETE:
		counts->sets++;
		break;
	case CHANGE_ELEMENTS_ADD:
	case CHANGE_ELEMENTS_DELETE:
		counts->members++;
		break;
	case CHANGE_COUNTER_ADD:
	case CHANGE_COUNTER_DELETE:
		counts->counters++;
		break;
	}
}

struct words {
	char *text;
	size_t size, used;
};

static void say(struct words *words, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(struct words *words, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	int length = vsnprintf(words->text + words->used, words->size - words->used, format, arguments);
	va_end(arguments);
	words->used += length < 0 ? 0 : (size_t)length;
	if (words->used >= words->size)
		words->used = words->size - 1;
}

static void say_count(struct words *words, size_t count, const char *what)
{
	if (count)
		say(words, "%s%zu %s%s", words->used ? ", " : "", count, what, count == 1 ? "" : "s");
}

static const struct span *origin_of(const struct change *change)
{
	const struct span *origin = change->rule ? change->rule->origin : NULL;
	if (!origin && change->set)
		origin = change->set->origin;
	return origin && origin->source ? origin : NULL;
}

/* The first policy line that is concerned, as an example. */
static void say_place(struct words *words, const struct changes *changes)
{
	for (size_t i = 0; i < changes->count; i++) {
		const struct span *origin = origin_of(&changes->at[i]);
		if (origin) {
			say(words, " (%s:%u)", origin->source->name, span_position(*origin).line);
			return;
		}
	}
}

void changes_in_words(const struct changes *changes, char *text, size_t size)
{
	struct counts counts = {0};
	struct words words = {text, size, 0};
	text[0] = 0;
	for (size_t i = 0; i < changes->count; i++)
		count_change(&counts, &changes->at[i]);
	if (counts.table)
		say(&words, "the table");
	say_count(&words, counts.chains, "chain");
	say_count(&words, counts.rules, "rule");
	say_count(&words, counts.sets, "set");
	say_count(&words, counts.members, "change of a set's member");
	say_count(&words, counts.counters, "counter");
	say_place(&words, changes);
}

enum drift changes_drift(const struct changes *changes)
{
	enum drift drift = DRIFT_NONE;
	for (size_t i = 0; i < changes->count; i++) {
		enum change_kind kind = changes->at[i].kind;
		if (kind != CHANGE_ELEMENTS_ADD && kind != CHANGE_ELEMENTS_DELETE)
			return DRIFT_RULES;
		drift = DRIFT_MEMBERS;
	}
	return drift;
}

/* FNV-1a: nobody gains by a collision of what the kernel says with itself. */
static uint64_t mix(uint64_t hash, const void *bytes, size_t length)
{
	const unsigned char *at = bytes;
	for (size_t i = 0; i < length; i++)
		hash = (hash ^ at[i]) * 0x100000001b3;
	return hash;
}

uint64_t changes_digest(const struct changes *changes)
{
	uint64_t hash = 0xcbf29ce484222325;
	for (size_t i = 0; i < changes->count; i++) {
		const struct change *change = &changes->at[i];
		hash = mix(hash, &change->kind, sizeof change->kind);
		if (!change->set)
			continue;
		hash = mix(hash, change->set->name, strlen(change->set->name));
		for (size_t k = 0; k < change->set->values.count; k++)
			hash = mix(hash, &change->set->values.at[k], sizeof change->set->values.at[k]);
		for (size_t k = 0; k < change->set->element_count; k++) {
			hash = mix(hash, change->set->elements[k].first, sizeof change->set->elements[k].first);
			hash = mix(hash, change->set->elements[k].last, sizeof change->set->elements[k].last);
		}
	}
	return hash;
}
