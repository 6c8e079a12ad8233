/*
 * Hashes of networks to chains: an address leads to the few atoms that hold it, and their other fields are asked there.
 *
 * A packet visits a chain for each length at which its address is found.
 */
#include "dsl/ruleset/cost.h"
#include "dsl/ruleset/layout.h"
#include "dsl/ruleset/prefix.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <talloc.h>

#define CHAINS_MAX 65536
#define USES_MAX 200000

struct placed {
	struct use use;
	unsigned length;
	u128 network;
};
struct placing {
	struct plan *plan;
	enum dimension dimension;
	unsigned bits;
	struct prefix_plan lengths;
	struct placed *at;
	size_t count;
};

static void choose_lengths(struct placing *placing, const struct uses *uses)
{
	struct prefix_counts counts = {{0}};
	for (size_t i = 0; i < uses->count; i++)
		counts.of[prefix_fitting(uses->at[i].atom->first[placing->dimension], uses->at[i].atom->last[placing->dimension],
			placing->bits)]++;
	prefix_choose(&counts, placing->bits, &placing->lengths);
}

/* 1: too many */
static int place_all(struct placing *placing, const struct uses *uses)
{
	size_t total = 0;
	for (int i = 0; i <= PREFIX_BITS_MAX; i++)
		total += placing->lengths.elements[i];
	if (total > USES_MAX)
		return 1;
	placing->at = talloc_array(placing->plan, struct placed, total + 1);
	if (!placing->at)
		return -ENOMEM;
	for (size_t i = 0; i < uses->count; i++) {
		const struct atom *atom = uses->at[i].atom;
		u128 at = atom->first[placing->dimension], end = atom->last[placing->dimension];
		unsigned length = placing->lengths.as[prefix_fitting(at, end, placing->bits)];
		for (;; at = prefix_last(at, length, placing->bits) + 1) {
			placing->at[placing->count++] = (struct placed){uses->at[i], length, at};
			if (prefix_last(at, length, placing->bits) == end)
				break;
		}
	}
	return 0;
}

static int by_network(const void *left, const void *right)
{
	const struct placed *a = left, *b = right;
	if (a->length != b->length)
		return a->length > b->length ? -1 : 1;
	if (a->network != b->network)
		return a->network < b->network ? -1 : 1;
	size_t x = a->use.atom->line->order, y = b->use.atom->line->order;
	return (x > y) - (x < y);
}

/* What is asked later and must not be: between the lengths. */
static int note_lengths(struct placing *placing)
{
	struct uses *parts = talloc_zero_array(placing->plan, struct uses, PREFIX_BITS_MAX + 1);
	struct uses **list = talloc_array(parts, struct uses *, PREFIX_BITS_MAX + 1);
	size_t count = 0;
	if (!parts || !list)
		return -ENOMEM;
	for (size_t i = 0, begin = 0; i <= placing->count; i++) {
		if (i < placing->count && placing->at[i].length == placing->at[begin].length)
			continue;
		struct uses *part = &parts[count];
		part->at = talloc_array(parts, struct use, i - begin);
		if (!part->at)
			return -ENOMEM;
		for (size_t k = begin; k < i; k++)
			part->at[part->count++] = placing->at[k].use;
		list[count++] = part;
		begin = i;
	}
	int error = count > 1 ? note_conflicts(placing->plan, list, count) : 0;
	for (size_t i = 0, at = 0; i < count && !error; i++)
		for (size_t k = 0; k < parts[i].count; k++)
			placing->at[at++].use = parts[i].at[k];
	talloc_free(parts);
	return error;
}

static int make_child(struct planner *planner, struct placing *placing, size_t begin, size_t end, unsigned depth)
{
	struct plan *plan = placing->plan;
	struct uses uses = {talloc_array(plan, struct use, end - begin), end - begin};
	if (!uses.at)
		return -ENOMEM;
	for (size_t i = begin; i < end; i++) {
		struct atom *atom = atom_copy(plan, placing->at[i].use.atom);
		if (!atom)
			return -ENOMEM;
		atom_open_up(atom, placing->dimension);
		uses.at[i - begin] = placing->at[i].use;
		uses.at[i - begin].atom = atom;
	}
	struct plan **child = &plan->parts[plan->part_count];
	int error = plan_best(planner, &uses, depth + 1, child);
	if (error)
		return error;
	talloc_steal(plan, *child);
	plan->segments[plan->part_count] =
		(struct segment){.first = placing->at[begin].network, .length = placing->at[begin].length, .part = plan->part_count};
	plan->cost += ((*child)->cost + COST_JUMP) * (double)(end - begin) / (double)placing->count;
	plan->segment_count = ++plan->part_count;
	return 0;
}

/* 1: too many chains */
static int make_children(struct planner *planner, struct placing *placing, unsigned depth)
{
	struct plan *plan = placing->plan;
	int error = 0;
	plan->parts = talloc_zero_array(plan, struct plan *, placing->count);
	plan->segments = talloc_array(plan, struct segment, placing->count);
	if (!plan->parts || !plan->segments)
		return -ENOMEM;
	for (size_t i = 1, begin = 0; i <= placing->count && !error; i++) {
		if (i < placing->count && placing->at[i].length == placing->at[begin].length &&
			placing->at[i].network == placing->at[begin].network)
			continue;
		error = plan->part_count < CHAINS_MAX ? make_child(planner, placing, begin, i, depth) : 1;
		begin = i;
	}
	return error;
}

int plan_chains(struct planner *planner, const struct uses *uses, enum dimension dimension, unsigned depth, struct plan **out)
{
	struct placing placing = {.plan = plan_new(planner->ctx, PLAN_CHAINS),
		.dimension = dimension,
		.bits = dimension_bits(dimension, uses->at[0].atom->family)};
	*out = NULL;
	if (!placing.plan)
		return -ENOMEM;
	placing.plan->dimension = dimension;
	choose_lengths(&placing, uses);
	int error = place_all(&placing, uses);
	if (!error) {
		qsort(placing.at, placing.count, sizeof *placing.at, by_network);
		error = note_lengths(&placing);
	}
	error = error ? error : make_children(planner, &placing, depth);
	if (error) {
		talloc_free(placing.plan);
		return error < 0 ? error : 0;
	}
	for (int i = 1; i <= PREFIX_BITS_MAX; i++)
		if (placing.lengths.elements[i])
			placing.plan->cost += COST_RULE + cost_hash(placing.lengths.elements[i]);
	*out = placing.plan;
	return 0;
}
