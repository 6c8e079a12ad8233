/*
 * What plan.c and the files of single layouts share.
 */
#ifndef PORTPOLICY_LAYOUT_H
#define PORTPOLICY_LAYOUT_H

#include "dsl/ruleset/encoding.h"

struct planner {
	void *ctx;
	enum encoding encoding;
};

/* All: 0 or -ENOMEM; *out NULL: it cannot be done so, or only at great cost. Plans are of the planner's context, with all below them. */
int plan_best(struct planner *planner, const struct uses *uses, unsigned depth, struct plan **out); /* always one */
/* Of uses with the same keys: */
int plan_hashes(void *ctx, const struct uses *uses, struct plan **out);
int plan_boxes(void *ctx, const struct uses *uses, bool forced, struct plan **out);
int plan_chains(struct planner *planner, const struct uses *uses, enum dimension dimension, unsigned depth, struct plan **out);
int plan_linear(void *ctx, const struct uses *uses, struct plan **out); /* always one */
/* Of all the uses of a family, which then have no uses to be asked before, and in a chain of their own: */
int plan_cuts(struct planner *planner, const struct uses *uses, struct plan **out);
/* Of uses that all name ports: */
int plan_ports(struct planner *planner, const struct uses *uses, unsigned depth, struct plan **out);

/* Keeps the cheaper of the two in *best. */
void plan_take(struct plan **best, struct plan *candidate);
void uses_sort(struct uses *uses); /* in reading order */
/* Can one look-up hold them all: do they have the same keys, and the same kind of ending? */
bool uses_alike(const struct uses *uses);
struct plan *plan_new(void *ctx, enum plan_kind kind);
int uses_copy(void *ctx, const struct uses *from, struct uses *out);
unsigned closed_dimensions(const struct atom *atom); /* as bits */
/* The atom as a box of `use`, or a copy of it that may be changed. NULL: out of memory. */
struct atom *atom_copy(void *ctx, const struct atom *atom);
void atom_open_up(struct atom *atom, enum dimension dimension);

#endif
