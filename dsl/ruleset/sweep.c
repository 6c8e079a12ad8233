/*
 * One pass over a field, from edge to edge.
 *
 * Equal live sets are found by a hash that is kept up to date, an exclusive or of a number for each use, and then compared.
 */
#include "dsl/ruleset/sweep.h"
#include "dsl/ruleset/layout.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <talloc.h>

#define PORT_BITS 16

struct edge {
	u128 at;
	size_t use;
	bool ends, closed; /* closed: the atom does not hold the whole field */
};

static int by_edge(const void *left, const void *right)
{
	const struct edge *a = left, *b = right;
	if (a->at != b->at)
		return a->at < b->at ? -1 : 1;
	return (a->use > b->use) - (a->use < b->use);
}

static uint64_t mix(uint64_t number)
{
	number += 0x9e3779b97f4a7c15;
	number = (number ^ number >> 30) * 0xbf58476d1ce4e5b9;
	number = (number ^ number >> 27) * 0x94d049bb133111eb;
	return number ^ number >> 31;
}

static void add_edges(struct sweep *sweep, size_t use, u128 first, u128 last, bool closed)
{
	sweep->edges[sweep->edge_count++] = (struct edge){first, use, false, closed};
	if (last < sweep->last)
		sweep->edges[sweep->edge_count++] = (struct edge){last + 1, use, true, closed};
}

static bool names_port(const struct atom *atom)
{
	return !atom->types && !atom_open(atom, DIMENSION_SERVICE);
}

static size_t named_protocols(const struct uses *uses, u128 *protocols, size_t most)
{
	size_t count = 0;
	for (size_t i = 0; i < uses->count && count < most; i++) {
		bool known = !names_port(uses->at[i].atom);
		for (size_t k = 0; k < count && !known; k++)
			known = protocols[k] == uses->at[i].atom->first[DIMENSION_PROTOCOL];
		if (!known)
			protocols[count++] = uses->at[i].atom->first[DIMENSION_PROTOCOL];
	}
	return count;
}

#define PROTOCOLS 8

static void add_services(struct sweep *sweep)
{
	u128 protocols[PROTOCOLS];
	size_t count = named_protocols(sweep->uses, protocols, PROTOCOLS);
	for (size_t i = 0; i < sweep->uses->count; i++) {
		const struct atom *atom = sweep->uses->at[i].atom;
		for (size_t k = 0; k < count && !atom->types; k++) {
			u128 base = protocols[k] << PORT_BITS;
			if (atom->first[DIMENSION_PROTOCOL] <= protocols[k] && protocols[k] <= atom->last[DIMENSION_PROTOCOL])
				add_edges(sweep, i, base + atom->first[DIMENSION_SERVICE], base + atom->last[DIMENSION_SERVICE],
					names_port(atom));
		}
	}
}

static void add_values(struct sweep *sweep)
{
	enum dimension d = sweep->dimension;
	for (size_t i = 0; i < sweep->uses->count; i++) {
		const struct atom *atom = sweep->uses->at[i].atom;
		add_edges(sweep, i, atom->first[d], atom->last[d], !atom_open(atom, d));
	}
}

int sweep_open(void *ctx, const struct uses *uses, enum dimension dimension, struct sweep *sweep)
{
	unsigned bits = uses->count ? dimension_bits(dimension, uses->at[0].atom->family) : 8;
	size_t edges = uses->count * 2 * (dimension == DIMENSION_SERVICE ? PROTOCOLS : 1);
	*sweep = (struct sweep){.ctx = talloc_new(ctx), .uses = uses, .dimension = dimension};
	sweep->last = dimension == DIMENSION_SERVICE ? ((u128)1 << (8 + PORT_BITS)) - 1
		      : bits == 128		     ? U128_MAX
						     : ((u128)1 << bits) - 1;
	sweep->edges = talloc_array(sweep->ctx, struct edge, edges + 1);
	sweep->live = talloc_array(sweep->ctx, size_t, uses->count + 1);
	sweep->place = talloc_array(sweep->ctx, size_t, uses->count + 1);
	if (!sweep->ctx || !sweep->edges || !sweep->live || !sweep->place)
		return -ENOMEM;
	for (size_t i = 0; i < uses->count; i++)
		sweep->place[i] = SIZE_MAX;
	if (dimension == DIMENSION_SERVICE)
		add_services(sweep);
	else
		add_values(sweep);
	qsort(sweep->edges, sweep->edge_count, sizeof *sweep->edges, by_edge);
	return 0;
}

void sweep_close(struct sweep *sweep)
{
	talloc_free(sweep->ctx);
	*sweep = (struct sweep){0};
}

/* An edge changes what is live. Of protocols side by side one ends where the next begins, in the same use. */
static void pass(struct sweep *sweep, const struct edge *edge)
{
	size_t *place = &sweep->place[edge->use];
	if (edge->ends) {
		size_t moved = sweep->live[--sweep->live_count];
		sweep->live[*place] = moved;
		sweep->place[moved] = *place;
		*place = SIZE_MAX;
	} else {
		*place = sweep->live_count;
		sweep->live[sweep->live_count++] = edge->use;
	}
	sweep->closed_count += edge->closed ? (edge->ends ? (size_t)-1 : 1) : 0;
	sweep->hash ^= mix(edge->use);
}

/* All edges at one place, those that end first.  False: there is no more. */
static bool next_segment(struct sweep *sweep, size_t *edge, u128 *first, u128 *last)
{
	size_t begin = *edge, end = begin;
	if (begin == sweep->edge_count)
		return false;
	while (end < sweep->edge_count && sweep->edges[end].at == sweep->edges[begin].at)
		end++;
	for (int ends = 1; ends >= 0; ends--)
		for (size_t i = begin; i < end; i++)
			if (sweep->edges[i].ends == (ends == 1))
				pass(sweep, &sweep->edges[i]);
	*edge = end;
	*first = sweep->edges[begin].at;
	*last = end < sweep->edge_count ? sweep->edges[end].at - 1 : sweep->last;
	return true;
}

/* Live sets by their hashes: an open table. */
struct slot {
	uint64_t hash;
	size_t count, number, segments; /* number: of the set, from 1 on; 0: free */
	u128 widest;			/* of the segments */
};
struct table {
	struct slot *slots;
	size_t mask;
};

static int table_new(struct sweep *sweep, struct table *table)
{
	size_t size = 64;
	while (size < 2 * sweep->edge_count)
		size *= 2;
	*table = (struct table){talloc_zero_array(sweep->ctx, struct slot, size), size - 1};
	return table->slots ? 0 : -ENOMEM;
}

static bool same_live(const struct sweep *sweep, const struct live *set)
{
	if (!set)
		return true;
	for (size_t i = 0; i < set->count; i++)
		if (sweep->place[set->uses[i]] == SIZE_MAX)
			return false;
	return true;
}

/* The slot of what is live now, or a free one. */
static struct slot *find_slot(const struct sweep *sweep, const struct table *table, const struct live *sets)
{
	for (size_t i = mix(sweep->hash);; i++) {
		struct slot *slot = &table->slots[i & table->mask];
		if (!slot->number || (slot->hash == sweep->hash && slot->count == sweep->live_count &&
					     same_live(sweep, sets ? &sets[slot->number - 1] : NULL)))
			return slot;
	}
}

static bool left_out(const struct sweep *sweep)
{
	return sweep->dimension == DIMENSION_SERVICE ? !sweep->closed_count : !sweep->live_count;
}

int sweep_measure(struct sweep *sweep, struct sweep_measure *out)
{
	struct table table;
	size_t edge = 0, sets = 0;
	u128 first, last;
	int error = table_new(sweep, &table);
	while (!error && next_segment(sweep, &edge, &first, &last)) {
		struct slot *slot = left_out(sweep) ? NULL : find_slot(sweep, &table, NULL);
		if (!slot || slot->number)
			continue;
		*slot = (struct slot){sweep->hash, sweep->live_count, ++sets, 0, 0};
		out->copies += (double)sweep->live_count;
		out->squares += (double)sweep->live_count * (double)sweep->live_count;
	}
	return error;
}

static int by_number(const void *left, const void *right)
{
	size_t a = *(const size_t *)left, b = *(const size_t *)right;
	return (a > b) - (a < b);
}

static int copy_live(void *ctx, const struct sweep *sweep, struct live *out)
{
	out->uses = talloc_memdup(ctx, sweep->live, (sweep->live_count + 1) * sizeof *out->uses);
	out->count = sweep->live_count;
	if (!out->uses)
		return -ENOMEM;
	qsort(out->uses, out->count, sizeof *out->uses, by_number);
	return 0;
}

static void add_segment(struct segments *segments, u128 first, u128 last, size_t part)
{
	struct segment *before = segments->count ? &segments->at[segments->count - 1] : NULL;
	if (before && before->part == part && before->last + 1 == first)
		before->last = last;
	else
		segments->at[segments->count++] = (struct segment){.first = first, .last = last, .part = part};
}

/* *gaps: of some values nothing is live. */
static int collect(struct sweep *sweep, void *ctx, struct table *table, struct segments *out, bool *gaps)
{
	size_t edge = 0;
	u128 first, last;
	int error = 0;
	*gaps = sweep->edge_count && sweep->edges[0].at;
	while (!error && next_segment(sweep, &edge, &first, &last)) {
		*gaps |= left_out(sweep);
		if (left_out(sweep))
			continue;
		struct slot *slot = find_slot(sweep, table, out->sets);
		if (!slot->number) {
			error = copy_live(ctx, sweep, &out->sets[out->set_count]);
			*slot = (struct slot){sweep->hash, sweep->live_count, ++out->set_count, 0, 0};
		}
		slot->segments++;
		slot->widest = last - first > slot->widest ? last - first : slot->widest;
		add_segment(out, first, last, slot->number - 1);
	}
	return error;
}

static bool more_common(const struct slot *a, const struct slot *b)
{
	return a->segments != b->segments ? a->segments > b->segments : a->widest > b->widest;
}

/* Takes the set that most segments have out of them. */
static void leave_rest(struct segments *segments, const struct table *table)
{
	const struct slot *most = NULL;
	size_t kept = 0;
	for (size_t i = 0; i <= table->mask; i++)
		if (table->slots[i].number && (!most || more_common(&table->slots[i], most)))
			most = &table->slots[i];
	if (!most || segments->set_count < 2)
		return;
	size_t rest = most->number - 1;
	segments->rest = segments->sets[rest];
	segments->sets[rest] = segments->sets[--segments->set_count];
	for (size_t i = 0; i < segments->count; i++) {
		struct segment segment = segments->at[i];
		if (segment.part == rest)
			continue;
		segment.part = segment.part == segments->set_count ? rest : segment.part;
		segments->at[kept++] = segment;
	}
	segments->count = kept;
}

static int service_rest(const struct sweep *sweep, void *ctx, struct segments *out)
{
	out->rest.uses = talloc_array(ctx, size_t, sweep->uses->count + 1);
	if (!out->rest.uses)
		return -ENOMEM;
	for (size_t i = 0; i < sweep->uses->count; i++)
		if (!names_port(sweep->uses->at[i].atom))
			out->rest.uses[out->rest.count++] = i;
	return 0;
}

static void split_protocols(struct segments *segments)
{
	for (size_t i = 0; i < segments->count; i++) {
		struct segment *segment = &segments->at[i];
		segment->protocol = segment->first >> PORT_BITS;
		segment->first &= 65535;
		segment->last &= 65535;
	}
}

int sweep_segments(struct sweep *sweep, void *ctx, struct segments *out)
{
	struct table table;
	*out = (struct segments){.at = talloc_array(ctx, struct segment, sweep->edge_count + 1),
		.sets = talloc_array(ctx, struct live, sweep->edge_count + 1)};
	int error = out->at && out->sets ? table_new(sweep, &table) : -ENOMEM;
	bool gaps = false;
	error = error ? error : collect(sweep, ctx, &table, out, &gaps);
	if (error)
		return error;
	if (sweep->dimension != DIMENSION_SERVICE) {
		if (!gaps)
			leave_rest(out, &table);
		return 0;
	}
	split_protocols(out);
	return service_rest(sweep, ctx, out);
}
