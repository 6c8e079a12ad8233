/*
 * Interfaces in words: from a set of names back to the patterns that the policies tell apart.
 */
#include "dsl/analysis/words.h"
#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <talloc.h>

static const struct interval every_name[] = {{1, INTERFACE_LAST}};
#define ONE(array) ((struct intervals){array, 1})

static struct interval pattern_interval(const struct interface_pattern *pattern)
{
	u128 first = interface_number(pattern->name);
	return (struct interval){first, pattern->prefix ? interface_prefix_last(pattern->name) : first};
}

static char *pattern_text(void *ctx, const struct interface_pattern *pattern)
{
	bool word = !pattern->prefix && isalpha((unsigned char)*pattern->name) && !word_reserved(pattern->name);
	for (const char *at = pattern->name; *at; at++)
		word &= isalnum((unsigned char)*at) || strchr("_-.", *at);
	return word ? talloc_strdup(ctx, pattern->name)
		    : talloc_asprintf(ctx, "\"%s%s\"", pattern->name, pattern->prefix ? "*" : "");
}

static bool inside(struct interval inner, struct interval outer)
{
	return inner.first >= outer.first && inner.last <= outer.last && (inner.first != outer.first || inner.last != outer.last);
}

/* Names of the pattern that no narrower pattern has, and that are not lo: are they in the set? -1: there are none. */
static int own_names_in(void *ctx, const struct vocabulary *vocabulary, struct interval whole, struct intervals set)
{
	struct interval *list = talloc_array(ctx, struct interval, vocabulary->pattern_count + 1);
	struct intervals taken, own;
	size_t count = 0;
	if (!list)
		return -ENOMEM;
	u128 lo = interface_number("lo");
	list[count++] = (struct interval){lo, lo};
	for (size_t i = 0; i < vocabulary->pattern_count; i++) {
		struct interval one = pattern_interval(vocabulary->patterns[i]);
		if (inside(one, whole))
			list[count++] = one;
	}
	if (intervals_from(ctx, list, count, &taken) || intervals_subtract(ctx, (struct intervals){&whole, 1}, taken, &own))
		return -ENOMEM;
	return own.count ? intervals_contain(set, own.at[0].first) : -1;
}

/* One way to say a part of the set: these patterns, or all, without those. */
struct interface_part {
	bool any;
	struct list in, out;
	struct intervals in_set, out_set;
};

/*
 * Patterns lie inside one another or apart, so they are a tree; along a way down it the set is entered and left in turn. What is
 * entered for the first time and left again is one part, what is entered again the next.
 */
static int divide(void *ctx, const struct vocabulary *vocabulary, struct interval whole, bool was_in, size_t depth,
	struct intervals set, struct interface_part *parts, size_t most)
{
	for (size_t i = 0; i < vocabulary->pattern_count; i++) {
		struct interval one = pattern_interval(vocabulary->patterns[i]);
		bool direct = inside(one, whole);
		for (size_t k = 0; k < vocabulary->pattern_count && direct; k++) {
			struct interval between = pattern_interval(vocabulary->patterns[k]);
			direct = !(inside(one, between) && inside(between, whole));
		}
		if (!direct)
			continue;
		int now_in = own_names_in(ctx, vocabulary, one, set);
		if (now_in < -1)
			return now_in;
		bool is_in = now_in < 0 ? was_in : now_in > 0;
		size_t below = depth + (is_in != was_in && is_in);
		if (below > most)
			return -E2BIG;
		if (is_in != was_in) {
			struct interface_part *part = &parts[below - 1];
			add_word(is_in ? &part->in : &part->out, pattern_text(ctx, vocabulary->patterns[i]));
			struct intervals *into = is_in ? &part->in_set : &part->out_set, single;
			if (intervals_single(ctx, one.first, one.last, &single) || intervals_union(ctx, *into, single, into))
				return -ENOMEM;
		}
		int error = divide(ctx, vocabulary, one, is_in, below, set, parts, most);
		if (error)
			return error;
	}
	return 0;
}

#define PARTS_MAX 8

static int interface_parts(void *ctx, const struct vocabulary *vocabulary, struct intervals set,
	struct interface_part parts[PARTS_MAX], size_t *count)
{
	for (size_t i = 0; i < PARTS_MAX; i++)
		parts[i] = (struct interface_part){.in.ctx = ctx, .out.ctx = ctx};
	int all = own_names_in(ctx, vocabulary, every_name[0], set);
	if (all < -1)
		return all;
	parts[0].any = all > 0;
	if (parts[0].any)
		parts[0].in_set = ONE(every_name);
	int error = divide(ctx, vocabulary, every_name[0], all > 0, all > 0, set, parts, PARTS_MAX);
	for (*count = 0; *count < PARTS_MAX && (parts[*count].any || parts[*count].in.count); ++*count)
		;
	return error;
}

static bool has_interface(struct intervals set)
{
	return set.count && set.at[set.count - 1].last != 0;
}

static int divide_set(void *ctx, const struct vocabulary *vocabulary, struct packet_sets *sets, size_t index, bool arriving)
{
	struct packet_set whole = sets->at[index];
	struct interface_part parts[PARTS_MAX];
	struct intervals set = arriving ? whole.arriving : whole.leaving;
	size_t count;
	if (!has_interface(set) || whole.zone == ZONE_LOOPBACK)
		return 0;
	int error = interface_parts(ctx, vocabulary, set, parts, &count);
	for (size_t i = 0; i < count && count > 1 && !error; i++) {
		struct packet_set part = whole;
		struct intervals *into = arriving ? &part.arriving : &part.leaving;
		error = intervals_subtract(ctx, parts[i].in_set, parts[i].out_set, into);
		error = error ? error : intervals_intersect(ctx, *into, set, into);
		if (!error && i)
			error = array_room(ctx, &sets->at, sizeof *sets->at, sets->count);
		if (!error)
			sets->at[i ? sets->count++ : index] = part;
	}
	return error;
}

int sets_divide(void *ctx, const struct vocabulary *vocabulary, struct packet_sets *sets)
{
	struct packet_sets room = {talloc_array(ctx, struct packet_set, 2 * sets->count + 1), 0};
	int error = room.at ? 0 : -ENOMEM;
	for (size_t i = 0; i < sets->count && !error; i++) { /* array_room grows from powers of two */
		error = array_room(ctx, &room.at, sizeof *room.at, room.count);
		if (!error)
			room.at[room.count++] = sets->at[i];
	}
	for (int side = 0; side < 2; side++)
		for (size_t i = 0; i < room.count && !error; i++)
			error = divide_set(ctx, vocabulary, &room, i, side == 0);
	if (!error)
		*sets = room;
	return error;
}

int say_interfaces(void *ctx, const struct vocabulary *vocabulary, const struct packet_set *set, bool arriving, char **out)
{
	struct intervals interfaces = arriving ? set->arriving : set->leaving;
	struct interface_part parts[PARTS_MAX];
	size_t count;
	*out = NULL;
	if (!has_interface(interfaces))
		return 0;
	if (set->zone == ZONE_LOOPBACK)
		return (*out = talloc_strdup(ctx, "lo")) ? 0 : -ENOMEM;
	int error = interface_parts(ctx, vocabulary, interfaces, parts, &count);
	if (error || (parts[0].any && !parts[0].out.count))
		return error;
	char *in = parts[0].any ? talloc_strdup(ctx, "any") : listed(&parts[0].in, 0);
	*out = in && parts[0].out.count ? excepted(ctx, in, &parts[0].out, 0) : in;
	return *out ? 0 : -ENOMEM;
}
