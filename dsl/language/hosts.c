/*
 * The kinds of host that the `hosts` blocks of a policy tell apart.
 *
 * Each block is a few globs; a host is in it when one matches its name or the first label of its name. Two hosts are of one kind when they are in
 * the same blocks. The kinds are found by walking all globs at once, letter by letter, over the letters that the globs can tell apart: a product
 * of small automata, in which every state is a set of places in globs. The walk is breadth first, so the name found for a kind is a shortest one.
 */
#include "dsl/language/resolve.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <talloc.h>

#define NAME_BYTES 64
#define STATES_MAX 20000

struct glob {
	const char *pattern;
	size_t block;
};

struct kinds {
	void *ctx;
	struct glob *globs;
	size_t glob_count, block_count;
	char letters[64];
	size_t letter_count;
	char (*names)[NAME_BYTES]; /* the queue of names to try: each is a state by what it leaves of every glob */
	size_t name_count;
	char **states; /* the signatures seen */
	size_t state_count;
};

static bool name_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_'; }

/* The letters that globs name, and one that none does. */
static void gather_letters(struct kinds *kinds)
{
	bool used[256] = {0};
	for (size_t i = 0; i < kinds->glob_count; i++)
		for (const char *at = kinds->globs[i].pattern; *at; at++)
			used[(unsigned char)*at] = true;
	used['.'] = true;
	for (char c = '!'; c <= '~'; c++)
		if (used[(unsigned char)c] && (name_letter(c) || (c >= 'A' && c <= 'Z')) && kinds->letter_count < sizeof kinds->letters - 2)
			kinds->letters[kinds->letter_count++] = c;
	for (char c = 'z'; c >= 'a'; c--)
		if (!used[(unsigned char)c]) {
			kinds->letters[kinds->letter_count++] = c;
			break;
		}
}

static size_t bracket_end(const char *pattern, size_t at)
{
	size_t end = at + 1;
	if (pattern[end] == '!' || pattern[end] == '^')
		end++;
	if (pattern[end] == ']')
		end++;
	while (pattern[end] && pattern[end] != ']')
		end++;
	return pattern[end] ? end + 1 : at + 1;
}

static bool bracket_holds(const char *pattern, size_t at, size_t end, char c)
{
	bool negated = pattern[at + 1] == '!' || pattern[at + 1] == '^', found = false;
	for (size_t i = at + 1 + negated; i < end - 1; i++) {
		if (pattern[i + 1] == '-' && i + 2 < end - 1) {
			found |= c >= pattern[i] && c <= pattern[i + 2];
			i += 2;
		} else {
			found |= c == pattern[i];
		}
	}
	return found != negated;
}

/* The places in a glob after `name`, as bits in a text: what tells states apart. */
static void places(const char *pattern, const char *name, size_t length, char *out)
{
	size_t size = strlen(pattern) + 1;
	bool now[256] = {0}, next[256];
	now[0] = true;
	for (size_t step = 0; step <= length; step++) {
		for (size_t i = 0; i + 1 < size; i++)
			if (now[i] && pattern[i] == '*')
				now[i + 1] = true;
		if (step == length)
			break;
		memset(next, 0, sizeof next);
		for (size_t i = 0; i + 1 < size; i++) {
			if (!now[i])
				continue;
			if (pattern[i] == '*')
				next[i] = true;
			else if (pattern[i] == '[' && bracket_end(pattern, i) > i + 1) {
				if (bracket_holds(pattern, i, bracket_end(pattern, i), name[step]))
					next[bracket_end(pattern, i)] = true;
			} else if (pattern[i] == '\\' && pattern[i + 1]) {
				next[i + 2] |= pattern[i + 1] == name[step];
			} else if (pattern[i] == '?' || pattern[i] == name[step]) {
				next[i + 1] = true;
			}
		}
		memcpy(now, next, sizeof now);
	}
	for (size_t i = 0; i < size; i++)
		out[i] = now[i] ? '1' : '0';
	out[size] = 0;
}

static char *signature(struct kinds *kinds, const char *name)
{
	char bits[258];
	bool labelled = strchr(name, '.') != NULL;
	char *text = talloc_strdup(kinds->ctx, labelled ? "." : "");
	for (size_t i = 0; i < kinds->glob_count && text; i++) {
		places(kinds->globs[i].pattern, name, strlen(name), bits);
		text = talloc_asprintf_append_buffer(text, "%s%s", bits, labelled && host_matches(kinds->globs[i].pattern, name) ? "m" : "|");
	}
	return text;
}

static int compare_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* 1: seen before. */
static int remember(struct kinds *kinds, const char *name)
{
	char *text = signature(kinds, name);
	if (!text)
		return -ENOMEM;
	size_t low = 0, high = kinds->state_count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = compare_text(&text, &kinds->states[middle]);
		if (!order) {
			talloc_free(text);
			return 1;
		}
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	if (array_room(kinds->ctx, &kinds->states, sizeof *kinds->states, kinds->state_count))
		return -ENOMEM;
	memmove(kinds->states + low + 1, kinds->states + low, (kinds->state_count - low) * sizeof *kinds->states);
	kinds->states[low] = text;
	kinds->state_count++;
	return 0;
}

static int enqueue(struct kinds *kinds, const char *name)
{
	int outcome = remember(kinds, name);
	if (outcome)
		return outcome < 0 ? outcome : 0;
	if (array_room(kinds->ctx, &kinds->names, sizeof *kinds->names, kinds->name_count))
		return -ENOMEM;
	strcpy(kinds->names[kinds->name_count++], name);
	return 0;
}

static int walk(struct kinds *kinds)
{
	int error = enqueue(kinds, "");
	for (size_t i = 0; i < kinds->name_count && kinds->state_count < STATES_MAX && !error; i++) {
		char name[NAME_BYTES];
		size_t length = strlen(kinds->names[i]);
		if (length + 2 > sizeof name)
			continue;
		for (size_t k = 0; k < kinds->letter_count && !error; k++) {
			memcpy(name, kinds->names[i], length);
			name[length] = kinds->letters[k];
			name[length + 1] = 0;
			bool empty_label = kinds->letters[k] == '.' && (!length || name[length - 1] == '.');
			error = empty_label ? 0 : enqueue(kinds, name);
		}
	}
	return error;
}

/* Which blocks a host is in, as a text of bits. */
static char *membership(struct kinds *kinds, const char *name)
{
	char *text = talloc_size(kinds->ctx, kinds->block_count + 1);
	if (!text)
		return NULL;
	memset(text, '0', kinds->block_count);
	text[kinds->block_count] = 0;
	for (size_t i = 0; i < kinds->glob_count; i++)
		if (host_matches(kinds->globs[i].pattern, name))
			text[kinds->globs[i].block] = '1';
	return text;
}

static int choose_names(struct kinds *kinds, void *ctx, const char *const **out, size_t *count)
{
	const char **names = NULL;
	char **seen = NULL;
	*count = 0;
	for (size_t i = 0; i < kinds->name_count; i++) {
		const char *name = kinds->names[i];
		size_t length = strlen(name), k = 0;
		if (!length || name[length - 1] == '.' || name[length - 1] == '-' || *name == '-')
			continue;
		char *bits = membership(kinds, name);
		if (!bits)
			return -ENOMEM;
		while (k < *count && strcmp(seen[k], bits))
			k++;
		if (k < *count)
			continue;
		if (array_room(ctx, &names, sizeof *names, *count) || array_room(kinds->ctx, &seen, sizeof *seen, *count) ||
			!(names[*count] = talloc_strdup(ctx, name)))
			return -ENOMEM;
		seen[*count] = bits;
		bool none = !strchr(bits, '1');
		if (none && *count) {
			const char *first = names[0];
			names[0] = names[*count];
			names[*count] = first;
			seen[*count] = seen[0];
			seen[0] = bits;
		}
		++*count;
	}
	*out = names;
	return 0;
}

static int gather_globs(struct resolver *resolver, struct kinds *kinds)
{
	kinds->block_count = resolver->block_count;
	for (size_t i = 0; i < resolver->block_count; i++)
		for (const struct item *pattern = resolver->blocks[i]->value; pattern; pattern = pattern->next) {
			if (strlen(pattern->text) > 253) {
				report_error(resolver->diagnostics, pattern->span, "a host name has at most 253 bytes");
				continue;
			}
			if (array_room(kinds->ctx, &kinds->globs, sizeof *kinds->globs, kinds->glob_count))
				return -ENOMEM;
			kinds->globs[kinds->glob_count++] = (struct glob){pattern->text, i};
		}
	return 0;
}

static int find_kinds(struct resolver *resolver, void *ctx, const char *const **names, size_t *count)
{
	struct kinds kinds = {.ctx = resolver->scratch};
	int error = gather_globs(resolver, &kinds);
	if (error)
		return error;
	if (!kinds.glob_count) {
		const char **own = talloc_array(ctx, const char *, 1);
		if (!own || !(own[0] = talloc_strdup(ctx, resolver->environment->host)))
			return -ENOMEM;
		*names = own;
		*count = 1;
		return 0;
	}
	gather_letters(&kinds);
	error = walk(&kinds);
	return error ? error : choose_names(&kinds, ctx, names, count);
}

int policy_host_kinds(void *ctx, const char *path, const struct environment *environment, struct diagnostics *diagnostics, const char *const **names,
	size_t *count)
{
	void *scratch = talloc_new(ctx);
	struct policy policy = {.file = path};
	struct resolver resolver = {.ctx = scratch, .scratch = scratch, .environment = environment, .diagnostics = diagnostics, .policy = &policy,
		.every_host = true};
	size_t errors = diagnostics->errors, warnings = diagnostics->warnings;
	int error = scratch ? load_entries(&resolver, path) : -ENOMEM;
	if (!error && errors == diagnostics->errors)
		error = find_kinds(&resolver, ctx, names, count);
	if (diagnostics->errors != errors || diagnostics->warnings != warnings)
		talloc_steal(diagnostics, scratch); /* the messages point into it */
	else
		talloc_free(scratch);
	return error ? error : diagnostics->errors != errors;
}
