/*
 * Cuts: field after field leads a packet to the few lines that can still match it.
 *
 * A decision tree (Gupta and McKeown, "Packet Classification Using Hierarchical Intelligent Cuttings", Hot Interconnects VII,
 * 1999) that cuts a field wherever an atom begins or ends.  An atom goes into every segment that it holds, so that what a packet
 * has to be asked for in the end stands in one place and in reading order; the field that pays for the fewest copies with the
 * shortest ends is cut first, and where none does, the other layouts take over.
 */
#include "dsl/ruleset/cost.h"
#include "dsl/ruleset/layout.h"
#include "dsl/ruleset/sweep.h"
#include <errno.h>
#include <stdlib.h>
#include <talloc.h>

#define LEAF 4		    /* uses that are asked one after another */
#define DEPTH_MAX 5	    /* the kernel follows 16 chains, with those around the tree */
#define SPREAD 6	    /* copies of a use at one cut, on average */
#define SPREAD_MOST 24	    /* the same in a small tree, */
#define SPREAD_COPIES 48000 /* of so many copies at its first cut */
#define SPREAD_LEAST 64
#define COPIES_EACH 60 /* of a use in the whole tree */
#define COPIES_LEAST 100000
#define COPY_WEIGHT 0.02  /* of a copy, in uses at the end */
#define PAIRS_MAX 64	  /* uses that are compared each with each */
#define CUT_DEPTH_BELOW 2 /* of the other layouts, below a cut */

struct cutting {
	struct planner *planner;
	double copies, copies_max, spread;
};

/* What is known of the packets in a node. */
struct node {
	struct uses uses;
	unsigned depth;
	bool ported; /* their ports can be read, and their protocol is known */
};

static int cut_node(struct cutting *cutting, const struct node *node, struct plan **out);

static bool covers(const struct atom *a, const struct atom *b)
{
	for (int d = 0; d < DIMENSIONS; d++)
		if (a->first[d] > b->first[d] || a->last[d] < b->last[d])
			return false;
	return a->types == b->types || atom_open(a, DIMENSION_SERVICE);
}

/* In reading order, without what an earlier one covers. */
static void reduce(struct uses *uses)
{
	size_t kept = 0;
	uses_sort(uses);
	for (size_t i = 0; i < uses->count; i++) {
		bool covered = false;
		for (size_t k = 0; k < kept && uses->count <= PAIRS_MAX && !covered; k++)
			covered = covers(uses->at[k].atom, uses->at[i].atom);
		if (covered)
			continue;
		uses->at[kept++] = uses->at[i];
		if (!closed_dimensions(uses->at[i].atom))
			break;
	}
	uses->count = kept;
}

/* Of a field that not every use leaves open, how well a cut would tell them apart; small is good. */
static int rate(const struct cutting *cutting, const struct node *node, enum dimension dimension, double *score)
{
	struct sweep sweep;
	bool closed = false;
	*score = 1e18;
	for (size_t i = 0; i < node->uses.count && !closed; i++) {
		const struct atom *atom = node->uses.at[i].atom;
		closed = closed_dimensions(atom) & 1u << dimension && !(dimension <= DIMENSION_SERVICE && atom->types);
	}
	if (!closed || (dimension == DIMENSION_SOURCE_PORT && !node->ported))
		return 0;
	int error = sweep_open(NULL, &node->uses, dimension, &sweep);
	struct sweep_measure measure = {0};
	error = error ? error : sweep_measure(&sweep, &measure);
	sweep_close(&sweep);
	if (error)
		return error;
	double end = measure.squares / (measure.copies + 1);
	double most = cutting->spread * (double)node->uses.count + SPREAD_LEAST;
	if (measure.copies <= most && end < 0.9 * (double)node->uses.count)
		*score = end + COPY_WEIGHT * measure.copies;
	return 0;
}

static int choose(const struct cutting *cutting, const struct node *node, enum dimension *dimension, bool *found)
{
	static const enum dimension all[] = {
		DIMENSION_SERVICE, DIMENSION_SOURCE, DIMENSION_DESTINATION, DIMENSION_SOURCE_PORT, DIMENSION_PROTOCOL};
	double best = 1e18, score;
	int error = 0;
	*found = false;
	for (size_t i = 0; i < sizeof all / sizeof *all && !error; i++) {
		error = rate(cutting, node, all[i], &score);
		if (!error && score < best) {
			best = score;
			*dimension = all[i];
			*found = true;
		}
	}
	return error;
}

/* The uses behind a cut: they hold all of it, but for a type of ICMP, which is read with its protocol only. */
static int behind_cut(struct plan *plan, const struct node *node, const struct live *live, bool rest, struct uses *out)
{
	enum dimension dimension = plan->dimension;
	*out = (struct uses){talloc_array(plan, struct use, live->count + 1), live->count};
	if (!out->at)
		return -ENOMEM;
	for (size_t i = 0; i < live->count; i++) {
		out->at[i] = node->uses.at[live->uses[i]];
		bool stays = out->at[i].atom->types && dimension <= DIMENSION_SERVICE;
		if (stays || (rest && dimension == DIMENSION_SERVICE) ||
			!(closed_dimensions(out->at[i].atom) || dimension == DIMENSION_SERVICE))
			continue;
		struct atom *atom = atom_copy(plan, out->at[i].atom);
		if (!atom)
			return -ENOMEM;
		atom_open_up(atom, dimension);
		if (dimension == DIMENSION_SERVICE)
			atom_open_up(atom, DIMENSION_PROTOCOL);
		out->at[i].atom = atom;
	}
	return 0;
}

static int add_part(struct cutting *cutting, struct plan *plan, const struct node *node, const struct live *live, bool rest,
	struct plan **out)
{
	struct node child = {.depth = node->depth + 1, .ported = node->ported || (plan->dimension == DIMENSION_SERVICE && !rest)};
	int error = behind_cut(plan, node, live, rest, &child.uses);
	cutting->copies += (double)live->count;
	if (!error && cutting->copies > cutting->copies_max)
		error = 1;
	error = error ? error : cut_node(cutting, &child, out);
	talloc_free(child.uses.at);
	if (!error)
		talloc_steal(plan, *out);
	return error;
}

/* Behind a cut by protocol the atoms leave it open. */
static bool protocol_known(const struct uses *uses)
{
	for (size_t i = 0; i < uses->count; i++) {
		const struct atom *atom = uses->at[i].atom;
		if (!atom->types && !atom_open(atom, DIMENSION_SERVICE) && atom_open(atom, DIMENSION_PROTOCOL))
			return true;
	}
	return false;
}

static double look_up_cost(const struct plan *plan)
{
	bool ranges = false;
	for (size_t i = 0; i < plan->segment_count; i++)
		ranges |= plan->segments[i].first != plan->segments[i].last;
	bool two_keys = plan->dimension == DIMENSION_SERVICE && !plan->ports_alone;
	double map = !ranges	? cost_hash(plan->segment_count)
		     : two_keys ? cost_boxes(3 * plan->segment_count, 6)
				: cost_tree(plan->segment_count);
	return COST_RULE + COST_STEP + COST_JUMP + map;
}

/* Headers spread over the atoms, and a quarter of them next to these. */
static void add_cost(struct plan *plan, const struct segments *segments)
{
	double sum = 0, weight = 0;
	for (size_t i = 0; i < plan->part_count; i++) {
		sum += plan->parts[i]->cost * (double)segments->sets[i].count;
		weight += (double)segments->sets[i].count;
	}
	plan->cost = look_up_cost(plan) + 0.75 * sum / (weight + 1e-9) + (plan->rest ? 0.25 * plan->rest->cost : 0);
}

static int cut_at(struct cutting *cutting, const struct node *node, enum dimension dimension, struct plan **out)
{
	struct plan *plan = plan_new(cutting->planner->ctx, PLAN_CUTS);
	struct segments segments = {0};
	struct sweep sweep;
	*out = NULL;
	if (!plan)
		return -ENOMEM;
	plan->dimension = dimension;
	plan->ports_alone = dimension == DIMENSION_SERVICE && protocol_known(&node->uses);
	int error = sweep_open(plan, &node->uses, dimension, &sweep);
	error = error ? error : sweep_segments(&sweep, plan, &segments);
	sweep_close(&sweep);
	plan->segments = segments.at;
	plan->segment_count = segments.count;
	plan->parts = error ? NULL : talloc_zero_array(plan, struct plan *, segments.set_count + 1);
	if (!error && !plan->parts)
		error = -ENOMEM;
	for (size_t i = 0; i < segments.set_count && !error; i++) {
		error = add_part(cutting, plan, node, &segments.sets[i], false, &plan->parts[i]);
		plan->part_count += !error;
	}
	if (!error && segments.rest.count)
		error = add_part(cutting, plan, node, &segments.rest, true, &plan->rest);
	if (error) {
		talloc_free(plan);
		return error;
	}
	add_cost(plan, &segments);
	*out = plan;
	return 0;
}

/* 1: the tree has become too large. */
static int cut_node(struct cutting *cutting, const struct node *node, struct plan **out)
{
	struct planner *planner = cutting->planner;
	struct uses uses = node->uses;
	struct plan *hashes = NULL;
	enum dimension dimension;
	bool found = false;
	*out = NULL;
	reduce(&uses);
	struct node reduced = *node;
	reduced.uses = uses;
	if (uses.count <= (planner->encoding == ENCODING_CUTS ? 1 : LEAF))
		return plan_linear(planner->ctx, &uses, out);
	int error = uses_alike(&uses) && planner->encoding == ENCODING_AUTO ? plan_hashes(planner->ctx, &uses, &hashes) : 0;
	if (!error && hashes && hashes->part_count == 1) {
		*out = hashes;
		return 0;
	}
	if (!error && node->depth < DEPTH_MAX)
		error = choose(cutting, &reduced, &dimension, &found);
	if (!error && found)
		error = cut_at(cutting, &reduced, dimension, out);
	else if (!error)
		error = plan_best(planner, &uses, CUT_DEPTH_BELOW, out);
	if (!error)
		plan_take(out, hashes);
	return error;
}

int plan_cuts(struct planner *planner, const struct uses *uses, struct plan **out)
{
	struct node root = {0};
	double count = (double)uses->count, spread = SPREAD_COPIES / (count + 1);
	struct cutting cutting = {.planner = planner, .copies_max = COPIES_LEAST + COPIES_EACH * count};
	cutting.spread = spread < SPREAD ? SPREAD : spread > SPREAD_MOST ? SPREAD_MOST : spread;
	*out = NULL;
	int error = uses_copy(planner->ctx, uses, &root.uses);
	error = error ? error : cut_node(&cutting, &root, out);
	talloc_free(root.uses.at);
	return error < 0 ? error : 0;
}
