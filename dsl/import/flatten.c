/*
 * From chains to lists: what a packet meets, in order, from the hook to a verdict.
 *
 * A chain that is jumped to is written out in the place of the jump, within what the jump matches. `return` and `goto` take their
 * packets out of what the rest of the chain is asked about. Where several base chains stand at one hook, what one of them lets
 * through goes on to the next, so only the last one's acceptances count.
 */
#include "dsl/import/foreign.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <talloc.h>

#define ENTRIES_MAX 200000
#define PIECES_MAX 512
#define DEPTH_MAX 32 /* more than the kernel allows */

void zone_space(struct import *import, enum direction direction, enum family family, bool loopback, struct zone_space *out)
{
	struct intervals none = set_single(import, 0, 0), lo = set_single(import, interface_number("lo"), interface_number("lo"));
	struct intervals names = set_single(import, 1, INTERFACE_LAST), nobody = set_single(import, NO_PROCESS, NO_PROCESS);
	struct intervals here = loopback ? lo : direction == DIRECTION_FORWARD ? names : set_except(import, names, lo);
	*out = (struct zone_space){.direction = direction, .family = family, .loopback = loopback};
	memcpy(out->whole.of, full_set[family], sizeof out->whole.of);
	out->whole.of[DIM_ARRIVING] = direction == DIRECTION_OUT ? none : here;
	out->whole.of[DIM_LEAVING] = direction == DIRECTION_IN ? none : direction == DIRECTION_OUT ? here : names;
	if (direction != DIRECTION_OUT)
		out->whole.of[DIM_USER] = out->whole.of[DIM_GROUP] = nobody;
	if (direction != DIRECTION_OUT || loopback)
		return;
	/* What is sent to the host itself leaves by lo (LANGUAGE.md, What a policy means, 4). */
	struct intervals own =
		family == FAMILY_IPV4 ? set_single(import, (u128)127 << 24, ((u128)128 << 24) - 1) : set_single(import, 1, 1);
	out->whole.of[DIM_DESTINATION] = set_except(import, out->whole.of[DIM_DESTINATION], own);
}

struct piece {
	struct area area;
	const char *unsure;
};
struct pieces {
	struct piece *at;
	size_t count;
};

struct walk {
	struct import *import;
	const struct zone_space *space;
	struct entries *out;
	const struct foreign_chain *base;
	struct areas let_through; /* of this base chain, when another follows */
	bool last;
};

static void add_piece(struct import *import, struct pieces *list, const struct area *area, const char *unsure)
{
	if (!(list->count & (list->count - 1))) {
		struct piece *more = talloc_realloc(import->ctx, list->at, struct piece, list->count ? list->count * 2 : 1);
		if (!more) {
			import->error = -ENOMEM;
			return;
		}
		list->at = more;
	}
	list->at[list->count++] = (struct piece){*area, unsure};
}

static const char *doubt_of(const struct walk *walk, const struct foreign_rule *rule)
{
	if (rule->unsure)
		return rule->unsure;
	return rule->local_destination && walk->space->direction != DIRECTION_IN
		       ? "which addresses are this host's is not in the ruleset"
		       : NULL;
}

static struct pieces matched(struct walk *walk, const struct pieces *active, const struct foreign_rule *rule)
{
	struct pieces list = {0};
	const struct areas *match = &rule->match[walk->space->family];
	const char *doubt = doubt_of(walk, rule);
	for (size_t i = 0; i < active->count; i++)
		for (size_t k = 0; k < match->count; k++) {
			struct area common;
			if (area_overlap(&active->at[i].area, &match->at[k]) &&
				area_common(walk->import, &active->at[i].area, &match->at[k], &common))
				add_piece(walk->import, &list, &common, active->at[i].unsure ? active->at[i].unsure : doubt);
		}
	return list;
}

static void emit(
	struct walk *walk, enum foreign_verdict verdict, struct areas areas, struct foreign_rule *rule, const char *unsure)
{
	struct entries *out = walk->out;
	if (!walk->last)
		for (size_t i = 0; i < walk->let_through.count && areas.count; i++)
			out->too_many |= !areas_except(walk->import, &areas, &walk->let_through.at[i], PIECES_MAX);
	if (!areas.count || out->too_many)
		return;
	if (out->count >= ENTRIES_MAX) {
		out->too_many = true;
		return;
	}
	if (!(out->count & (out->count - 1))) {
		struct list_entry *more =
			talloc_realloc(walk->import->ctx, out->at, struct list_entry, out->count ? out->count * 2 : 1);
		if (!more) {
			walk->import->error = -ENOMEM;
			return;
		}
		out->at = more;
	}
	out->at[out->count++] = (struct list_entry){.verdict = verdict,
		.areas = areas,
		.rule = rule,
		.chain = walk->base,
		.unsure = unsure,
		.quota = rule ? rule->quota : (struct quota){0}};
}

/* The pieces of a rule with a verdict: what is certain, and what is not, apart. */
static void emit_pieces(struct walk *walk, struct foreign_rule *rule, const struct pieces *pieces)
{
	struct areas certain = {0}, unsure = {0};
	const char *doubt = NULL;
	for (size_t i = 0; i < pieces->count; i++) {
		areas_add(walk->import, pieces->at[i].unsure ? &unsure : &certain, &pieces->at[i].area);
		doubt = pieces->at[i].unsure ? pieces->at[i].unsure : doubt;
	}
	bool quota = rule->quota.kind != QUOTA_NONE;
	if (rule->verdict == FV_ACCEPT && !walk->last) {
		if (quota &&
			unsure.count + certain.count) /* over the limit it would be judged here, within it by the next chain */
			rule_doubt(walk->import, rule, "a limit in a chain that another one follows cannot be said");
		for (size_t i = 0; i < certain.count && !quota; i++)
			areas_add(walk->import, &walk->let_through, &certain.at[i]);
		return;
	}
	if (certain.count)
		emit(walk, rule->verdict, certain, rule, NULL);
	if (unsure.count)
		emit(walk, rule->verdict, unsure, rule, doubt);
}

/* Takes what surely left the chain out of what goes on in it, and remembers what may have left. */
static void leave(struct walk *walk, struct pieces *active, const struct pieces *left)
{
	for (size_t i = 0; i < left->count; i++) {
		struct pieces rest = {0};
		for (size_t k = 0; k < active->count; k++) {
			struct areas outside = {0};
			struct area inside;
			areas_add(walk->import, &outside, &active->at[k].area);
			bool doubtful =
				left->at[i].unsure && area_common(walk->import, &active->at[k].area, &left->at[i].area, &inside);
			if (!areas_except(walk->import, &outside, &left->at[i].area, PIECES_MAX))
				walk->out->too_many = true;
			for (size_t p = 0; p < outside.count; p++)
				add_piece(walk->import, &rest, &outside.at[p], active->at[k].unsure);
			if (doubtful)
				add_piece(walk->import, &rest, &inside,
					active->at[k].unsure ? active->at[k].unsure : left->at[i].unsure);
		}
		*active = rest;
		if (rest.count > PIECES_MAX)
			walk->out->too_many = true;
	}
}

static void walk_chain(struct walk *walk, const struct foreign_chain *chain, struct pieces active, unsigned depth)
{
	if (depth > DEPTH_MAX) {
		walk->out->too_many = true;
		walk->out->loop = chain->name;
	}
	for (size_t i = 0; i < chain->count && active.count && !walk->out->too_many && !walk->import->error; i++) {
		struct foreign_rule *rule = chain->rules[i];
		struct pieces pieces = matched(walk, &active, rule);
		if (!pieces.count)
			continue;
		rule->reached = true;
		rule->reached_world |= !walk->space->loopback;
		switch (rule->verdict) {
		case FV_NONE:
			break;
		case FV_ACCEPT:
		case FV_REJECT:
		case FV_DROP:
			emit_pieces(walk, rule, &pieces);
			break;
		case FV_RETURN:
			leave(walk, &active, &pieces);
			break;
		case FV_JUMP:
			walk_chain(walk, rule->chain, pieces, depth + 1);
			break;
		case FV_GOTO:
			walk_chain(walk, rule->chain, pieces, depth + 1);
			leave(walk, &active, &pieces);
			break;
		}
	}
}

static int by_priority(const void *a, const void *b)
{
	const struct foreign_chain *x = *(struct foreign_chain *const *)a, *y = *(struct foreign_chain *const *)b;
	return (x->priority > y->priority) - (x->priority < y->priority);
}

struct foreign_chain **base_chains(struct import *import, enum direction direction, enum family family, size_t *count)
{
	struct foreign_chain **list = NULL;
	*count = 0;
	for (struct foreign_table *table = import->tables; table; table = table->next)
		for (struct foreign_chain *chain = table->chains; chain; chain = chain->next) {
			if (!chain->base || chain->direction != direction || !(table->families & (1u << family)))
				continue;
			struct foreign_chain **more = talloc_realloc(import->ctx, list, struct foreign_chain *, *count + 1);
			if (!more) {
				import->error = -ENOMEM;
				return NULL;
			}
			list = more;
			list[(*count)++] = chain;
		}
	if (*count > 1)
		qsort(list, *count, sizeof *list, by_priority);
	return list;
}

bool flatten(struct import *import, const struct zone_space *space, struct entries *out)
{
	size_t count;
	struct foreign_chain **chains = base_chains(import, space->direction, space->family, &count);
	*out = (struct entries){0};
	for (size_t i = 0; i < count; i++) {
		struct walk walk = {.import = import, .space = space, .out = out, .base = chains[i], .last = i + 1 == count};
		struct pieces active = {0};
		add_piece(import, &active, &space->whole, NULL);
		walk_chain(&walk, chains[i], active, 0);
		if (!walk.last && chains[i]->policy == FV_ACCEPT)
			continue;
		struct areas all = {0};
		areas_add(import, &all, &space->whole);
		emit(&walk, chains[i]->policy, all, NULL, NULL);
	}
	return count > 0;
}
