/*
 * Which atoms meet.
 *
 * A sweep along one dimension finds every pair that meets there, and the rest of such a pair is compared.  The dimension is the
 * one in which the fewest atoms meet, by a sample.
 */
#include "dsl/ruleset/encoding.h"
#include <errno.h>
#include <stdlib.h>
#include <talloc.h>

#define SAMPLE 256
#define CONFLICTS_LEAST 10000
#define CONFLICTS_EACH 8 /* for each use */

struct place {
	const struct atom *atom;
	size_t index;
	enum dimension dimension;
};

/* Where one begins, the widest first; of equal ones the earlier line. */
static int by_place(const void *left, const void *right)
{
	const struct place *a = left, *b = right;
	enum dimension d = a->dimension;
	if (a->atom->family != b->atom->family)
		return a->atom->family < b->atom->family ? -1 : 1;
	if (a->atom->first[d] != b->atom->first[d])
		return a->atom->first[d] < b->atom->first[d] ? -1 : 1;
	if (a->atom->last[d] != b->atom->last[d])
		return a->atom->last[d] > b->atom->last[d] ? -1 : 1;
	return (a->index > b->index) - (a->index < b->index);
}

static size_t meetings(const struct uses *uses, enum dimension dimension)
{
	size_t stride = uses->count / SAMPLE + 1, meeting = 0;
	for (size_t i = 0; i < uses->count; i += stride)
		for (size_t k = 0; k < i; k += stride) {
			const struct atom *a = uses->at[i].atom, *b = uses->at[k].atom;
			meeting += a->first[dimension] <= b->last[dimension] && b->first[dimension] <= a->last[dimension];
		}
	return meeting;
}

/* The two that tell the most apart. */
static void telling_dimensions(const struct uses *uses, enum dimension *best, enum dimension *second)
{
	static const enum dimension all[] = {DIMENSION_SOURCE, DIMENSION_DESTINATION, DIMENSION_SERVICE};
	size_t meeting[3];
	for (int i = 0; i < 3; i++)
		meeting[i] = meetings(uses, all[i]);
	int least = meeting[1] < meeting[0] ? 1 : 0, other = 1 - least;
	if (meeting[2] < meeting[least]) {
		other = least;
		least = 2;
	} else if (meeting[2] < meeting[other]) {
		other = 2;
	}
	*best = all[least];
	*second = all[other];
}

/* What has begun and not ended: what most comparisons need, side by side. */
struct open_place {
	u128 last, first_other, last_other;
	const struct place *place;
};

static int sweep(
	const struct place *places, size_t count, enum dimension other, struct open_place *open, pair_handler pair, void *data)
{
	size_t open_count = 0;
	for (size_t i = 0; i < count; i++) {
		const struct atom *atom = places[i].atom;
		enum dimension d = places[i].dimension;
		u128 first = atom->first[d], first_other = atom->first[other], last_other = atom->last[other];
		if (i && places[i - 1].atom->family != atom->family)
			open_count = 0;
		for (size_t k = 0; k < open_count;) {
			const struct open_place *at = &open[k];
			if (at->last < first) {
				open[k] = open[--open_count];
				continue;
			}
			bool meet = at->first_other <= last_other && first_other <= at->last_other &&
				    atoms_overlap(at->place->atom, atom);
			int error = meet ? pair(data, at->place->index, places[i].index) : 0;
			if (error)
				return error;
			k++;
		}
		open[open_count++] = (struct open_place){atom->last[d], first_other, last_other, &places[i]};
	}
	return 0;
}

int overlapping_pairs(void *ctx, const struct uses *uses, pair_handler pair, void *data)
{
	enum dimension dimension, other;
	struct place *places = talloc_array(ctx, struct place, uses->count + 1);
	struct open_place *open = talloc_array(places, struct open_place, uses->count + 1);
	int error = -ENOMEM;
	if (open) {
		telling_dimensions(uses, &dimension, &other);
		for (size_t i = 0; i < uses->count; i++)
			places[i] = (struct place){uses->at[i].atom, i, dimension};
		qsort(places, uses->count, sizeof *places, by_place);
		error = sweep(places, uses->count, other, open, pair, data);
	}
	talloc_free(places);
	return error;
}

static bool covers(const struct atom *a, const struct atom *b)
{
	for (int d = 0; d < DIMENSIONS; d++)
		if (a->first[d] > b->first[d] || a->last[d] < b->last[d])
			return false;
	return a->types == b->types || atom_open(a, DIMENSION_SERVICE);
}

struct reduction {
	const struct uses *uses;
	bool *dead;
};

/* Of two that are equal the one that comes first in the list stays. */
static int bury(void *data, size_t a, size_t b)
{
	struct reduction *reduction = data;
	const struct atom *left = reduction->uses->at[a].atom, *right = reduction->uses->at[b].atom;
	size_t x = left->line->order, y = right->line->order;
	if (x <= y && covers(left, right) && (x < y || a < b || !covers(right, left)))
		reduction->dead[b] = true;
	else if (y <= x && covers(right, left) && (y < x || b < a || !covers(left, right)))
		reduction->dead[a] = true;
	return 0;
}

int atoms_reduce(void *ctx, struct atoms *atoms)
{
	struct uses uses = {talloc_zero_array(ctx, struct use, atoms->count + 1), atoms->count};
	struct reduction reduction = {&uses, talloc_zero_array(uses.at, bool, atoms->count + 1)};
	size_t kept = 0;
	if (!uses.at || !reduction.dead) {
		talloc_free(uses.at);
		return -ENOMEM;
	}
	for (size_t i = 0; i < uses.count; i++)
		uses.at[i].atom = &atoms->at[i];
	int error = overlapping_pairs(ctx, &uses, bury, &reduction);
	for (size_t i = 0; i < atoms->count && !error; i++)
		if (!reduction.dead[i])
			atoms->at[kept++] = atoms->at[i];
	atoms->count = error ? atoms->count : kept;
	talloc_free(uses.at);
	return error;
}

struct conflicts {
	void *ctx;
	struct uses all;
	size_t *part; /* of each in `all` */
	struct use **origin;
	size_t noted, most;
};

static int add_before(void *ctx, struct use *use, const struct atom *atom)
{
	bool grow = !(use->before_count & (use->before_count - 1));
	const struct atom **more = use->before;
	for (size_t i = 0; i < use->before_count; i++)
		if (use->before[i] == atom)
			return 0;
	if (grow)
		more = talloc_array(ctx, const struct atom *, use->before_count ? use->before_count * 2 : 1);
	if (!more)
		return -ENOMEM;
	for (size_t i = 0; i < use->before_count && grow; i++)
		more[i] = use->before[i];
	more[use->before_count++] = atom;
	use->before = more;
	return 0;
}

/* The later line is asked first: then the earlier one must be asked before it. */
static int note(void *data, size_t a, size_t b)
{
	struct conflicts *conflicts = data;
	size_t early = conflicts->part[a] < conflicts->part[b] ? a : b, late = early == a ? b : a;
	const struct atom *found = conflicts->all.at[early].atom, *missed = conflicts->all.at[late].atom;
	if (conflicts->part[a] == conflicts->part[b] || missed->line->order >= found->line->order)
		return 0;
	if (++conflicts->noted > conflicts->most)
		return 1;
	return add_before(conflicts->ctx, conflicts->origin[early], missed);
}

int note_conflicts(void *ctx, struct uses *const *parts, size_t count)
{
	struct conflicts conflicts = {.ctx = ctx};
	size_t total = 0, at = 0;
	for (size_t i = 0; i < count; i++)
		total += parts[i]->count;
	conflicts.most = CONFLICTS_LEAST + CONFLICTS_EACH * total;
	void *work = talloc_new(ctx);
	conflicts.all.at = talloc_array(work, struct use, total + 1);
	conflicts.part = talloc_array(work, size_t, total + 1);
	conflicts.origin = talloc_array(work, struct use *, total + 1);
	int error = work && conflicts.all.at && conflicts.part && conflicts.origin ? 0 : -ENOMEM;
	for (size_t i = 0; i < count && !error; i++)
		for (size_t k = 0; k < parts[i]->count; k++, at++) {
			conflicts.all.at[at] = parts[i]->at[k];
			conflicts.origin[at] = &parts[i]->at[k];
			conflicts.part[at] = i;
		}
	conflicts.all.count = total;
	error = error ? error : overlapping_pairs(ctx, &conflicts.all, note, &conflicts);
	talloc_free(work);
	return error;
}
