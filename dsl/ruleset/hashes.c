/*
 * Hashes by prefix length: tuple space search (Srinivasan, Suri and Varghese, "Packet Classification Using Tuple Space Search",
 * SIGCOMM 1999), with few lengths of each address.
 *
 * A range of ports is written as prefixes of port numbers.
 */
#include "dsl/ruleset/cost.h"
#include "dsl/ruleset/layout.h"
#include "dsl/ruleset/prefix.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <talloc.h>

#define PARTS_MAX 40
#define ELEMENTS_MAX ((size_t)1 << 20)

struct piece {
	struct use use;
	const struct atom *atom; /* of the piece */
	struct lengths lengths;
};
struct pieces {
	struct piece *at;
	size_t count;
};

static int add_piece(void *ctx, struct pieces *pieces, const struct piece *piece)
{
	if (!pieces->at || !(pieces->count & (pieces->count - 1))) {
		struct piece *more = talloc_realloc(ctx, pieces->at, struct piece, pieces->count ? pieces->count * 2 : 1);
		if (!more)
			return -ENOMEM;
		pieces->at = more;
	}
	pieces->at[pieces->count++] = *piece;
	return 0;
}

struct atom *atom_copy(void *ctx, const struct atom *atom)
{
	return talloc_memdup(ctx, atom, sizeof *atom);
}

void atom_open_up(struct atom *atom, enum dimension dimension)
{
	atom->first[dimension] = 0;
	atom->last[dimension] = prefix_last(0, 0, dimension_bits(dimension, atom->family));
}

struct hashing {
	void *ctx;
	struct pieces pieces;
	struct prefix_plan source, destination;
};

/* How long a network is written. */
static unsigned written(const struct hashing *hashing, enum dimension dimension, unsigned length)
{
	return dimension == DIMENSION_SOURCE ? hashing->source.as[length] : hashing->destination.as[length];
}

/* All prefixes of the atom's values in this dimension and those behind it. */
static int cut(struct hashing *hashing, struct piece *piece, struct atom *box, int dimension)
{
	if (dimension == DIMENSIONS) {
		struct piece done = *piece;
		done.atom = atom_copy(hashing->ctx, box);
		if (!done.atom)
			return -ENOMEM;
		return hashing->pieces.count < ELEMENTS_MAX ? add_piece(hashing->ctx, &hashing->pieces, &done) : 1;
	}
	const struct atom *whole = piece->use.atom;
	unsigned bits = dimension_bits((enum dimension)dimension, whole->family);
	if (atom_open(whole, (enum dimension)dimension)) {
		piece->lengths.of[dimension] = 0;
		return cut(hashing, piece, box, dimension + 1);
	}
	u128 end = whole->last[dimension];
	bool address = dimension == DIMENSION_SOURCE || dimension == DIMENSION_DESTINATION;
	unsigned length = prefix_fitting(whole->first[dimension], end, bits);
	length = address ? written(hashing, (enum dimension)dimension, length) : length;
	int error = 0;
	for (u128 at = whole->first[dimension]; !error;) {
		length = address ? length : prefix_fitting(at, end, bits);
		u128 last = prefix_last(at, length, bits);
		box->first[dimension] = at;
		box->last[dimension] = last;
		piece->lengths.of[dimension] = length;
		error = cut(hashing, piece, box, dimension + 1);
		if (last == end)
			break;
		at = last + 1;
	}
	return error;
}

static void choose_lengths(struct hashing *hashing, const struct uses *uses)
{
	static const enum dimension ends[] = {DIMENSION_SOURCE, DIMENSION_DESTINATION};
	for (int i = 0; i < 2; i++) {
		unsigned bits = dimension_bits(ends[i], uses->at[0].atom->family);
		struct prefix_counts counts = {{0}};
		for (size_t k = 0; k < uses->count; k++)
			counts.of[prefix_fitting(uses->at[k].atom->first[ends[i]], uses->at[k].atom->last[ends[i]], bits)]++;
		prefix_choose(&counts, bits, i ? &hashing->destination : &hashing->source);
	}
}

static int sum(const struct lengths *lengths)
{
	int bits = 0;
	for (int d = 0; d < DIMENSIONS; d++)
		bits += (int)lengths->of[d];
	return bits;
}

/* By tuple, the longest first; in a tuple by key, and of one key the earliest line first. */
static int by_tuple(const void *left, const void *right)
{
	const struct piece *a = left, *b = right;
	int longer = sum(&b->lengths) - sum(&a->lengths);
	int order = longer ? longer : memcmp(&a->lengths, &b->lengths, sizeof a->lengths);
	for (int d = 0; d < DIMENSIONS && !order; d++)
		order = (a->atom->first[d] > b->atom->first[d]) - (a->atom->first[d] < b->atom->first[d]);
	if (order)
		return order;
	size_t x = a->use.atom->line->order, y = b->use.atom->line->order;
	return (x > y) - (x < y);
}

static bool same_key(const struct piece *a, const struct piece *b)
{
	return !memcmp(&a->lengths, &b->lengths, sizeof a->lengths) &&
	       !memcmp(a->atom->first, b->atom->first, sizeof a->atom->first);
}

static bool same_tuple(const struct piece *a, const struct piece *b)
{
	return !memcmp(&a->lengths, &b->lengths, sizeof a->lengths);
}

/* The members of one tuple, from the first piece of it on. */
static int fill_part(struct plan *part, const struct pieces *pieces, size_t first, size_t *next)
{
	const struct piece *at = pieces->at;
	size_t end = first;
	while (end < pieces->count && same_tuple(&at[end], &at[first]))
		end++;
	*next = end;
	part->lengths = at[first].lengths;
	part->uses.at = talloc_array(part, struct use, end - first);
	if (!part->uses.at)
		return -ENOMEM;
	for (size_t i = first; i < end; i++) {
		if (i > first && same_key(&at[i], &at[i - 1]))
			continue;
		part->uses.at[part->uses.count] = at[i].use;
		part->uses.at[part->uses.count++].atom = at[i].atom;
	}
	return 0;
}

/* One part for each tuple. 1: too many. */
static int make_parts(struct plan *plan, const struct pieces *pieces)
{
	plan->parts = talloc_zero_array(plan, struct plan *, PARTS_MAX);
	int error = plan->parts ? 0 : -ENOMEM;
	for (size_t i = 0; i < pieces->count && !error;) {
		struct plan *part = plan->part_count < PARTS_MAX ? plan_new(plan, PLAN_HASHES) : NULL;
		if (!part)
			return plan->part_count < PARTS_MAX ? -ENOMEM : 1;
		plan->parts[plan->part_count++] = part;
		error = fill_part(part, pieces, i, &i);
	}
	return error;
}

static int larger_first(const void *left, const void *right)
{
	const struct plan *const *a = left, *const *b = right;
	return ((*a)->uses.count < (*b)->uses.count) - ((*a)->uses.count > (*b)->uses.count);
}

static int count_one(void *data, size_t a, size_t b)
{
	(void)a;
	(void)b;
	++*(size_t *)data;
	return 1;
}

/* Where no two members meet, the hash that most packets are in goes first. */
static int order_parts(struct plan *plan)
{
	struct uses all = {0}, *list[PARTS_MAX];
	size_t meeting = 0;
	for (size_t i = 0; i < plan->part_count; i++)
		all.count += plan->parts[i]->uses.count;
	all.at = talloc_array(plan, struct use, all.count + 1);
	if (!all.at)
		return -ENOMEM;
	all.count = 0;
	for (size_t i = 0; i < plan->part_count; i++)
		for (size_t k = 0; k < plan->parts[i]->uses.count; k++)
			all.at[all.count++] = plan->parts[i]->uses.at[k];
	int error = overlapping_pairs(plan, &all, count_one, &meeting);
	talloc_free(all.at);
	if (error < 0)
		return error;
	if (!meeting) {
		qsort(plan->parts, plan->part_count, sizeof *plan->parts, larger_first);
		return 0;
	}
	for (size_t i = 0; i < plan->part_count; i++)
		list[i] = &plan->parts[i]->uses;
	return note_conflicts(plan, list, plan->part_count);
}

static void add_cost(struct plan *plan)
{
	size_t all = 0, before = 0;
	for (size_t i = 0; i < plan->part_count; i++)
		all += plan->parts[i]->uses.count;
	for (size_t i = 0; i < plan->part_count; i++) {
		const struct uses *uses = &plan->parts[i]->uses;
		double keys = __builtin_popcount(closed_dimensions(uses->at[0].atom));
		double one = COST_RULE + COST_STEP * keys + cost_hash(uses->count);
		plan->cost += one * (1 - 0.5 * (double)before / (double)all);
		before += uses->count;
	}
}

int plan_hashes(void *ctx, const struct uses *uses, struct plan **out)
{
	struct plan *plan = closed_dimensions(uses->at[0].atom) ? plan_new(ctx, PLAN_HASHES) : NULL;
	struct hashing hashing = {.ctx = plan};
	int error = 0;
	*out = NULL;
	if (!plan)
		return closed_dimensions(uses->at[0].atom) ? -ENOMEM : 0;
	choose_lengths(&hashing, uses);
	for (size_t i = 0; i < uses->count && !error; i++) {
		struct piece piece = {.use = uses->at[i]};
		struct atom box = *uses->at[i].atom;
		error = cut(&hashing, &piece, &box, 0);
	}
	if (!error)
		qsort(hashing.pieces.at, hashing.pieces.count, sizeof *hashing.pieces.at, by_tuple);
	error = error ? error : make_parts(plan, &hashing.pieces);
	talloc_free(hashing.pieces.at);
	if (!error && plan->part_count > 1)
		error = order_parts(plan);
	if (error) {
		talloc_free(plan);
		return error < 0 ? error : 0;
	}
	add_cost(plan);
	*out = plan;
	return 0;
}
