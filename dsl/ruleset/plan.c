/*
 * The cheapest of several ways to lay out the atoms of a section.
 *
 * Each candidate is made whole, with the costs of all below it, and the dearer ones are dropped.  Costs are of a new packet, half
 * of them matching something, their headers spread over the atoms.
 */
#include "dsl/ruleset/cost.h"
#include "dsl/ruleset/encoding.h"
#include "dsl/ruleset/layout.h"
#include <errno.h>
#include <stdlib.h>
#include <talloc.h>

#define FEW 4	      /* uses that nothing is cheaper for than a rule each */
#define LINEAR_MAX 64 /* uses that are tried as rules */
#define DEPTH_MAX 4   /* chains below chains */

static int by_line(const void *left, const void *right)
{
	const struct use *a = left, *b = right;
	size_t x = a->atom->line->order, y = b->atom->line->order;
	return x != y ? (x < y ? -1 : 1) : (a->atom > b->atom) - (a->atom < b->atom);
}

struct plan *plan_new(void *ctx, enum plan_kind kind)
{
	struct plan *plan = talloc_zero(ctx, struct plan);
	if (plan)
		plan->kind = kind;
	return plan;
}

int uses_copy(void *ctx, const struct uses *from, struct uses *out)
{
	out->count = from->count;
	out->at = talloc_array(ctx, struct use, from->count + 1);
	for (size_t i = 0; out->at && i < from->count; i++)
		out->at[i] = from->at[i];
	return out->at ? 0 : -ENOMEM;
}

unsigned closed_dimensions(const struct atom *atom)
{
	unsigned closed = 0;
	for (int d = 0; d < DIMENSIONS; d++)
		closed |= atom_open(atom, (enum dimension)d) ? 0 : 1u << d;
	return closed;
}

/* Which uses one look-up can hold: the same keys, and the same kind of ending. */
static unsigned signature(const struct use *use)
{
	return closed_dimensions(use->atom) | (unsigned)use->atom->types << 8 | (unsigned)!use->atom->line->plain << 9 |
	       (unsigned)use->atom->family << 10;
}

void uses_sort(struct uses *uses)
{
	qsort(uses->at, uses->count, sizeof *uses->at, by_line);
}

bool uses_alike(const struct uses *uses)
{
	for (size_t i = 1; i < uses->count; i++)
		if (signature(&uses->at[i]) != signature(&uses->at[0]))
			return false;
	return true;
}

int plan_linear(void *ctx, const struct uses *uses, struct plan **out)
{
	struct plan *plan = plan_new(ctx, PLAN_LINEAR);
	if (!plan || uses_copy(plan, uses, &plan->uses))
		return -ENOMEM;
	uses_sort(&plan->uses);
	for (size_t i = 0; i < uses->count; i++)
		plan->cost += 0.75 * (COST_RULE + COST_STEP * __builtin_popcount(closed_dimensions(uses->at[i].atom)));
	*out = plan;
	return 0;
}

void plan_take(struct plan **best, struct plan *candidate)
{
	if (!candidate)
		return;
	if (*best && (*best)->cost <= candidate->cost) {
		talloc_free(candidate);
		return;
	}
	talloc_free(*best);
	*best = candidate;
}

static bool wanted(const struct planner *planner, enum encoding encoding)
{
	return planner->encoding == ENCODING_AUTO || planner->encoding == encoding ||
	       (planner->encoding == ENCODING_CUTS && encoding == ENCODING_HASHES); /* where a cut is no use */
}

static int try_chains(struct planner *planner, const struct uses *uses, unsigned depth, struct plan **best)
{
	static const enum dimension ends[] = {DIMENSION_SOURCE, DIMENSION_DESTINATION};
	int error = 0;
	for (int i = 0; i < 2 && !error; i++) {
		struct plan *candidate = NULL;
		if (closed_dimensions(uses->at[0].atom) & 1u << ends[i])
			error = plan_chains(planner, uses, ends[i], depth, &candidate);
		plan_take(best, candidate);
	}
	return error;
}

/* Of uses with the same keys. */
static int plan_alike(struct planner *planner, const struct uses *uses, unsigned depth, struct plan **best)
{
	struct plan *candidate = NULL;
	bool deep = depth >= DEPTH_MAX;
	int error = 0;
	if (wanted(planner, ENCODING_HASHES) || wanted(planner, ENCODING_PORTS) || wanted(planner, ENCODING_CHAINS))
		error = plan_hashes(planner->ctx, uses, &candidate);
	bool single = candidate && candidate->part_count == 1;
	plan_take(best, candidate);
	candidate = NULL;
	if (planner->encoding == ENCODING_AUTO && single)
		return error;
	if (!error && wanted(planner, ENCODING_BOXES))
		error = plan_boxes(planner->ctx, uses, planner->encoding == ENCODING_BOXES, &candidate);
	plan_take(best, candidate);
	candidate = NULL;
	if (!error && !deep && wanted(planner, ENCODING_PORTS))
		error = plan_ports(planner, uses, depth, &candidate);
	if (candidate && planner->encoding == ENCODING_PORTS)
		candidate->cost = 0;
	plan_take(best, candidate);
	if (!error && !deep && wanted(planner, ENCODING_CHAINS)) {
		if (planner->encoding == ENCODING_CHAINS && *best)
			(*best)->cost = 1e18;
		error = try_chains(planner, uses, depth, best);
	}
	return error;
}

static int specific_first(const void *left, const void *right)
{
	const struct use *a = left, *b = right;
	unsigned x = signature(a), y = signature(b);
	int closed = __builtin_popcount(y & 31) - __builtin_popcount(x & 31);
	return closed ? closed : x != y ? (x < y ? -1 : 1) : by_line(left, right);
}

static bool has_port(const struct use *use)
{
	return !use->atom->types && !atom_open(use->atom, DIMENSION_SERVICE);
}

/* Parts of equal signature, the more specific first; with `ports` all that name ports are one part. */
static int partition(void *ctx, const struct uses *uses, bool ports, struct uses **parts, size_t *count)
{
	struct uses sorted;
	size_t named = 0;
	int error = uses_copy(ctx, uses, &sorted);
	*parts = talloc_zero_array(ctx, struct uses, uses->count + 1);
	if (error || !*parts)
		return -ENOMEM;
	for (size_t i = 0; ports && i < sorted.count; i++)
		if (has_port(&sorted.at[i])) {
			struct use swap = sorted.at[named];
			sorted.at[named++] = sorted.at[i];
			sorted.at[i] = swap;
		}
	*count = 0;
	if (named)
		(*parts)[(*count)++] = (struct uses){sorted.at, named};
	qsort(sorted.at + named, sorted.count - named, sizeof *sorted.at, specific_first);
	for (size_t i = named; i < sorted.count; i++) {
		if (i == named || signature(&sorted.at[i]) != signature(&sorted.at[i - 1]))
			(*parts)[(*count)++] = (struct uses){&sorted.at[i], 0};
		(*parts)[*count - 1].count++;
	}
	return 0;
}

static int plan_groups(struct planner *planner, const struct uses *uses, bool ports, unsigned depth, struct plan **out)
{
	struct plan *plan = plan_new(planner->ctx, PLAN_GROUPS);
	struct uses *parts = NULL, **list = NULL;
	size_t count = 0;
	*out = NULL;
	int error = plan ? partition(plan, uses, ports, &parts, &count) : -ENOMEM;
	if (!error) {
		plan->parts = talloc_zero_array(plan, struct plan *, count);
		list = talloc_array(plan, struct uses *, count);
		error = plan->parts && list ? 0 : -ENOMEM;
	}
	for (size_t i = 0; i < count && !error; i++)
		list[i] = &parts[i];
	error = error ? error : note_conflicts(plan, list, count);
	for (size_t i = 0; i < count && !error; i++) {
		if (ports && !i)
			error = plan_ports(planner, &parts[i], depth, &plan->parts[i]);
		else
			error = plan_best(planner, &parts[i], depth, &plan->parts[i]);
		if (error || !plan->parts[i])
			break;
		talloc_steal(plan, plan->parts[i]);
		plan->cost += plan->parts[i]->cost;
		plan->part_count++;
	}
	if (error || plan->part_count < count) {
		talloc_free(plan);
		return error < 0 ? error : 0;
	}
	*out = plan;
	return 0;
}

static int plan_mixed(struct planner *planner, const struct uses *uses, unsigned depth, struct plan **best)
{
	struct plan *candidate = NULL;
	bool ports = false;
	for (size_t i = 0; i < uses->count && depth < DEPTH_MAX; i++)
		ports |= has_port(&uses->at[i]);
	int error = plan_groups(planner, uses, false, depth, &candidate);
	if (candidate && planner->encoding == ENCODING_PORTS && ports)
		candidate->cost = 1e18;
	plan_take(best, candidate);
	candidate = NULL;
	if (!error && ports && wanted(planner, ENCODING_PORTS))
		error = plan_groups(planner, uses, true, depth, &candidate);
	plan_take(best, candidate);
	return error;
}

/* The earlier lines, then the later ones: nothing of the second half must be asked before the first. */
static int plan_halves(struct planner *planner, const struct uses *uses, unsigned depth, struct plan **out)
{
	struct plan *plan = plan_new(planner->ctx, PLAN_GROUPS);
	struct uses sorted;
	int error = plan ? uses_copy(plan, uses, &sorted) : -ENOMEM;
	if (error)
		return error;
	qsort(sorted.at, sorted.count, sizeof *sorted.at, by_line);
	size_t half = sorted.count / 2;
	while (half < sorted.count && sorted.at[half].atom->line->order == sorted.at[half - 1].atom->line->order)
		half++;
	struct uses parts[] = {{sorted.at, half}, {sorted.at + half, sorted.count - half}};
	plan->parts = talloc_zero_array(plan, struct plan *, 2);
	error = !plan->parts ? -ENOMEM : half < sorted.count ? 0 : 1;
	for (size_t i = 0; i < 2 && !error; i++) {
		error = plan_best(planner, &parts[i], depth, &plan->parts[i]);
		if (error)
			break;
		talloc_steal(plan, plan->parts[i]);
		plan->cost += plan->parts[i]->cost;
		plan->part_count++;
	}
	*out = error ? NULL : plan;
	return error < 0 ? error : 0;
}

int plan_best(struct planner *planner, const struct uses *uses, unsigned depth, struct plan **out)
{
	bool automatic = planner->encoding == ENCODING_AUTO;
	struct plan *linear = NULL;
	*out = NULL;
	int error = 0;
	if (automatic ? uses->count <= LINEAR_MAX : uses->count <= 1)
		error = plan_linear(planner->ctx, uses, &linear);
	if (linear && !automatic)
		linear->cost = 1e17;
	plan_take(out, linear);
	if (error || (automatic && uses->count <= FEW))
		return error;
	error = uses_alike(uses) ? plan_alike(planner, uses, depth, out) : plan_mixed(planner, uses, depth, out);
	if (!error && !*out && uses->count > LINEAR_MAX)
		error = plan_halves(planner, uses, depth, out);
	return error || *out ? error : plan_linear(planner->ctx, uses, out);
}

/* Lines that name different fields are cut; of others the cheaper is taken. */
static int plan_family(struct planner *planner, const struct uses *uses, struct plan **out)
{
	struct plan *cuts = NULL;
	int error = 0;
	*out = NULL;
	if (wanted(planner, ENCODING_CUTS) && (uses->count > FEW || planner->encoding == ENCODING_CUTS))
		error = plan_cuts(planner, uses, &cuts);
	if (!error && (!cuts || (uses_alike(uses) && planner->encoding == ENCODING_AUTO)))
		error = plan_best(planner, uses, 0, out);
	plan_take(out, cuts);
	return error;
}

static int plan_families(struct planner *planner, const struct uses *uses, struct plan **out)
{
	struct plan *plan = plan_new(planner->ctx, PLAN_GROUPS);
	if (!plan)
		return -ENOMEM;
	plan->parts = talloc_zero_array(plan, struct plan *, FAMILIES);
	int error = plan->parts ? 0 : -ENOMEM;
	for (int family = 0; family < FAMILIES && !error; family++) {
		struct uses part = {talloc_array(plan, struct use, uses->count + 1), 0};
		for (size_t i = 0; part.at && i < uses->count; i++)
			if (uses->at[i].atom->family == (enum family)family)
				part.at[part.count++] = uses->at[i];
		error = part.at ? 0 : -ENOMEM;
		if (error || !part.count)
			continue;
		error = plan_family(planner, &part, &plan->parts[plan->part_count]);
		if (!error)
			plan->cost += plan->parts[plan->part_count++]->cost;
	}
	*out = error ? NULL : plan;
	return error;
}

int plan_make_family(void *ctx, enum encoding encoding, const struct uses *uses, struct plan **out)
{
	struct planner planner = {.ctx = ctx, .encoding = encoding};
	return plan_best(&planner, uses, 0, out);
}

int plan_make(void *ctx, enum encoding encoding, const struct uses *uses, struct plan **out)
{
	struct planner planner = {.ctx = ctx, .encoding = encoding};
	return plan_families(&planner, uses, out);
}
