/*
 * A map of protocols and ports to chains: the ports are cut where the live atoms change, and each chain holds what is live there.
 */
#include "dsl/ruleset/cost.h"
#include "dsl/ruleset/layout.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <talloc.h>

#define CHAINS_MAX 4096
#define COPIES_MAX 8 /* of each use */
#define COPIES_LEAST 65536

struct cutting {
	struct planner *planner;
	struct plan *plan;
	const struct uses *uses;
	size_t *order; /* of uses: by protocol, then by first port */
	size_t *live;
	size_t live_count, copies;
	struct live_set {
		size_t *uses, count;
	} *sets; /* of each part */
	size_t set_room;
};

static int by_port(const void *left, const void *right, void *data)
{
	const struct uses *sorting = data;
	size_t i = *(const size_t *)left, k = *(const size_t *)right;
	const struct atom *a = sorting->at[i].atom, *b = sorting->at[k].atom;
	if (a->first[DIMENSION_PROTOCOL] != b->first[DIMENSION_PROTOCOL])
		return a->first[DIMENSION_PROTOCOL] < b->first[DIMENSION_PROTOCOL] ? -1 : 1;
	if (a->first[DIMENSION_SERVICE] != b->first[DIMENSION_SERVICE])
		return a->first[DIMENSION_SERVICE] < b->first[DIMENSION_SERVICE] ? -1 : 1;
	return (i > k) - (i < k);
}

static int by_index(const void *left, const void *right)
{
	size_t a = *(const size_t *)left, b = *(const size_t *)right;
	return (a > b) - (a < b);
}

/* The part whose chain holds exactly the live uses; a new one where there is none. */
static int part_of_live(struct cutting *cutting, size_t *part)
{
	struct plan *plan = cutting->plan;
	qsort(cutting->live, cutting->live_count, sizeof *cutting->live, by_index);
	for (size_t i = plan->part_count; i-- > 0;)
		if (cutting->sets[i].count == cutting->live_count &&
			!memcmp(cutting->sets[i].uses, cutting->live, cutting->live_count * sizeof *cutting->live)) {
			*part = i;
			return 0;
		}
	cutting->copies += cutting->live_count;
	if (plan->part_count == CHAINS_MAX || cutting->copies > COPIES_LEAST + COPIES_MAX * cutting->uses->count)
		return 1;
	size_t *copy = talloc_memdup(plan, cutting->live, cutting->live_count * sizeof *copy);
	if (!copy)
		return -ENOMEM;
	*part = plan->part_count;
	cutting->sets[plan->part_count++] = (struct live_set){copy, cutting->live_count};
	return 0;
}

static int add_segment(struct cutting *cutting, u128 protocol, u128 first, u128 last)
{
	struct plan *plan = cutting->plan;
	size_t part = 0;
	if (!cutting->live_count)
		return 0;
	int error = part_of_live(cutting, &part);
	if (error)
		return error;
	struct segment *before = plan->segment_count ? &plan->segments[plan->segment_count - 1] : NULL;
	if (before && before->part == part && before->protocol == protocol && before->last + 1 == first) {
		before->last = last;
		return 0;
	}
	plan->segments[plan->segment_count++] = (struct segment){.protocol = protocol, .first = first, .last = last, .part = part};
	return 0;
}

/* Up to the next place where a use begins or ends. */
static u128 next_cut(const struct cutting *cutting, size_t next, u128 protocol)
{
	u128 end = 65535;
	for (size_t i = 0; i < cutting->live_count; i++) {
		u128 last = cutting->uses->at[cutting->live[i]].atom->last[DIMENSION_SERVICE];
		end = last < end ? last : end;
	}
	if (next < cutting->uses->count) {
		const struct atom *atom = cutting->uses->at[cutting->order[next]].atom;
		u128 first = atom->first[DIMENSION_SERVICE];
		if (atom->first[DIMENSION_PROTOCOL] == protocol && first - 1 < end)
			end = first - 1;
	}
	return end;
}

static void drop_ended(struct cutting *cutting, u128 end)
{
	size_t kept = 0;
	for (size_t i = 0; i < cutting->live_count; i++)
		if (cutting->uses->at[cutting->live[i]].atom->last[DIMENSION_SERVICE] > end)
			cutting->live[kept++] = cutting->live[i];
	cutting->live_count = kept;
}

static int cut_ports(struct cutting *cutting)
{
	size_t next = 0;
	int error = 0;
	while (!error && next < cutting->uses->count) {
		const struct atom *atom = cutting->uses->at[cutting->order[next]].atom;
		u128 protocol = atom->first[DIMENSION_PROTOCOL], at = atom->first[DIMENSION_SERVICE];
		do {
			while (next < cutting->uses->count) {
				atom = cutting->uses->at[cutting->order[next]].atom;
				if (atom->first[DIMENSION_PROTOCOL] != protocol || atom->first[DIMENSION_SERVICE] != at)
					break;
				cutting->live[cutting->live_count++] = cutting->order[next++];
			}
			u128 end = next_cut(cutting, next, protocol);
			error = add_segment(cutting, protocol, at, end);
			drop_ended(cutting, end);
			at = end + 1;
		} while (!error && cutting->live_count);
	}
	return error;
}

static int make_child(struct cutting *cutting, size_t part, unsigned depth)
{
	struct plan *plan = cutting->plan;
	const struct live_set *set = &cutting->sets[part];
	struct uses uses = {talloc_array(plan, struct use, set->count), set->count};
	if (!uses.at)
		return -ENOMEM;
	for (size_t i = 0; i < set->count; i++) {
		struct use *use = &uses.at[i];
		*use = cutting->uses->at[set->uses[i]];
		struct atom *atom = atom_copy(plan, use->atom);
		if (!atom)
			return -ENOMEM;
		atom_open_up(atom, DIMENSION_PROTOCOL);
		atom_open_up(atom, DIMENSION_SERVICE);
		use->atom = atom;
	}
	int error = plan_best(cutting->planner, &uses, depth + 1, &plan->parts[part]);
	if (!error) {
		talloc_steal(plan, plan->parts[part]);
		plan->cost += 0.75 * plan->parts[part]->cost * (double)set->count / (double)cutting->copies;
	}
	return error;
}

static double map_cost(const struct plan *plan)
{
	bool ranges = false;
	for (size_t i = 0; i < plan->segment_count; i++)
		ranges |= plan->segments[i].first != plan->segments[i].last;
	return COST_RULE + COST_STEP + COST_JUMP + (ranges ? cost_boxes(plan->segment_count * 3, 6) : cost_hash(plan->segment_count));
}

static int prepare(struct cutting *cutting)
{
	struct plan *plan = cutting->plan;
	size_t count = cutting->uses->count;
	cutting->order = talloc_array(plan, size_t, count + 1);
	cutting->live = talloc_array(plan, size_t, count + 1);
	cutting->sets = talloc_array(plan, struct live_set, CHAINS_MAX);
	plan->segments = talloc_array(plan, struct segment, 2 * count + 1);
	plan->parts = talloc_zero_array(plan, struct plan *, CHAINS_MAX);
	if (!cutting->order || !cutting->live || !cutting->sets || !plan->segments || !plan->parts)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		cutting->order[i] = i;
	qsort_r(cutting->order, count, sizeof *cutting->order, by_port, (void *)cutting->uses);
	return 0;
}

/* Does every use name ports, and the protocol that they are of? */
static bool ports_named(const struct uses *uses)
{
	for (size_t i = 0; i < uses->count; i++) {
		const struct atom *atom = uses->at[i].atom;
		if (atom->types || atom_open(atom, DIMENSION_SERVICE) || atom_open(atom, DIMENSION_PROTOCOL))
			return false;
	}
	return true;
}

int plan_ports(struct planner *planner, const struct uses *uses, unsigned depth, struct plan **out)
{
	*out = NULL;
	if (!ports_named(uses))
		return 0;
	struct cutting cutting = {.planner = planner, .plan = plan_new(planner->ctx, PLAN_PORTS), .uses = uses};
	if (!cutting.plan)
		return -ENOMEM;
	int error = prepare(&cutting);
	error = error ? error : cut_ports(&cutting);
	for (size_t i = 0; i < cutting.plan->part_count && !error; i++)
		error = make_child(&cutting, i, depth);
	if (error) {
		talloc_free(cutting.plan);
		return error < 0 ? error : 0;
	}
	cutting.plan->cost += map_cost(cutting.plan);
	*out = cutting.plan;
	return 0;
}
