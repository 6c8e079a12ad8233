/*
 * Sets of concatenated ranges (nft_set_pipapo).
 *
 * Of two members that meet the kernel refuses one whose first or last corner lies in the other, and of two that it takes a packet
 * finds the one that was added first.  The narrow ones are added first: so an atom may share a set with a later line's that holds
 * it with room on both sides.  Of others that meet, the one of the later line goes into a set that is asked later.
 */
#include "dsl/ruleset/cost.h"
#include "dsl/ruleset/layout.h"
#include "dsl/ruleset/prefix.h"
#include <errno.h>
#include <stdlib.h>
#include <talloc.h>

#define USES_MAX 8192 /* the kernel's time for a set grows with the square */
#define LAYERS_MAX 4
#define LAYERS_FORCED 24
#define PAIRS_MAX 16 /* for each use */

struct pair {
	size_t before, after;
};
struct layering {
	void *ctx;
	const struct uses *uses;
	struct pair *pairs;
	size_t count;
	size_t *layer;
};

static size_t order_of(const struct layering *layering, size_t use)
{
	return layering->uses->at[use].atom->line->order;
}

/* Does the outer one hold the inner one, and keep its own corners? */
static bool nested(const struct atom *inner, const struct atom *outer)
{
	bool before = false, behind = false;
	for (int d = 0; d < DIMENSIONS; d++) {
		if (inner->first[d] < outer->first[d] || inner->last[d] > outer->last[d])
			return false;
		before |= outer->first[d] < inner->first[d];
		behind |= outer->last[d] > inner->last[d];
	}
	return before && behind;
}

static int note_pair(void *data, size_t a, size_t b)
{
	struct layering *layering = data;
	bool a_first = order_of(layering, a) < order_of(layering, b) || (order_of(layering, a) == order_of(layering, b) && a < b);
	const struct atom *left = layering->uses->at[a].atom, *right = layering->uses->at[b].atom;
	if (a_first ? nested(left, right) : nested(right, left))
		return 0;
	if (layering->count >= PAIRS_MAX * layering->uses->count)
		return 1;
	layering->pairs[layering->count++] = a_first ? (struct pair){a, b} : (struct pair){b, a};
	return 0;
}

struct ordered_pair {
	size_t order;
	struct pair pair;
};

static int by_after(const void *left, const void *right)
{
	const struct ordered_pair *a = left, *b = right;
	if (a->order != b->order)
		return a->order < b->order ? -1 : 1;
	return (a->pair.after > b->pair.after) - (a->pair.after < b->pair.after);
}

/* The longest chain of atoms that meet, each of an earlier line than the next, is how many sets there are. */
static int assign_layers(struct layering *layering)
{
	struct ordered_pair *sorted = talloc_array(layering->ctx, struct ordered_pair, layering->count + 1);
	if (!sorted)
		return -ENOMEM;
	for (size_t i = 0; i < layering->count; i++)
		sorted[i] = (struct ordered_pair){order_of(layering, layering->pairs[i].after), layering->pairs[i]};
	qsort(sorted, layering->count, sizeof *sorted, by_after);
	for (size_t i = 0; i < layering->count; i++) {
		const struct pair *pair = &sorted[i].pair;
		if (layering->layer[pair->after] <= layering->layer[pair->before])
			layering->layer[pair->after] = layering->layer[pair->before] + 1;
	}
	return 0;
}

static size_t port_prefixes(u128 first, u128 last)
{
	struct interval one = {first, last};
	struct prefix_counts counts = {{0}};
	size_t sum = 0;
	prefix_count((struct intervals){&one, 1}, 16, &counts);
	for (int i = 0; i <= 16; i++)
		sum += counts.of[i];
	return sum;
}

static double layer_cost(const struct uses *uses)
{
	const struct atom *first = uses->at[0].atom;
	unsigned closed = closed_dimensions(first), nibbles = 0;
	size_t elements = 0;
	for (int d = 0; d < DIMENSIONS; d++)
		nibbles += closed & 1u << d ? dimension_bits((enum dimension)d, first->family) / 4 : 0;
	for (size_t i = 0; i < uses->count; i++) {
		const struct atom *atom = uses->at[i].atom;
		elements += atom->types ? 1 : port_prefixes(atom->first[DIMENSION_SERVICE], atom->last[DIMENSION_SERVICE]);
	}
	return COST_RULE + COST_STEP * __builtin_popcount(closed) + cost_boxes(elements, nibbles);
}

static int fill_layers(struct plan *plan, const struct layering *layering, size_t layers)
{
	plan->parts = talloc_zero_array(plan, struct plan *, layers);
	if (!plan->parts)
		return -ENOMEM;
	for (size_t i = 0; i < layers; i++) {
		struct plan *part = plan_new(plan, PLAN_BOXES);
		if (!part)
			return -ENOMEM;
		part->uses.at = talloc_array(part, struct use, layering->uses->count);
		if (!part->uses.at)
			return -ENOMEM;
		for (size_t k = 0; k < layering->uses->count; k++)
			if (layering->layer[k] == i)
				part->uses.at[part->uses.count++] = layering->uses->at[k];
		plan->parts[plan->part_count++] = part;
		plan->cost += layer_cost(&part->uses);
	}
	return 0;
}

int plan_boxes(void *ctx, const struct uses *uses, bool forced, struct plan **out)
{
	*out = NULL;
	if (!closed_dimensions(uses->at[0].atom) || uses->count > USES_MAX)
		return 0;
	struct plan *plan = plan_new(ctx, PLAN_BOXES);
	struct layering layering = {.ctx = talloc_new(plan), .uses = uses};
	layering.pairs = talloc_array(layering.ctx, struct pair, PAIRS_MAX * uses->count + 1);
	layering.layer = talloc_zero_array(layering.ctx, size_t, uses->count + 1);
	int error = plan && layering.ctx && layering.pairs && layering.layer ? 0 : -ENOMEM;
	error = error ? error : overlapping_pairs(layering.ctx, uses, note_pair, &layering);
	error = error ? error : assign_layers(&layering);
	size_t layers = 0;
	for (size_t i = 0; i < uses->count && !error; i++)
		layers = layering.layer[i] + 1 > layers ? layering.layer[i] + 1 : layers;
	if (!error && layers > (forced ? LAYERS_FORCED : LAYERS_MAX))
		error = 1;
	error = error ? error : fill_layers(plan, &layering, layers);
	if (error) {
		talloc_free(plan);
		return error < 0 ? error : 0;
	}
	talloc_free(layering.ctx);
	*out = plan;
	return 0;
}
