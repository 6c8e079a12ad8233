/*
 * The members that two values of one set differ in.
 */
#ifndef PORTPOLICY_DELTA_H
#define PORTPOLICY_DELTA_H

#include "portpolicy/ruleset.h"

/* What is known of pairs of lists, each of which several sets are made of: zero to begin with. */
struct list_deltas {
	struct list_delta *at;
	size_t count;
};

/* Do the lists that two sets are made of, if they are, differ in more than they share, so that new sets are less work?  1, 0 or
 * -ENOMEM. */
int list_replaced(void *ctx, struct list_deltas *known, const struct set *old, const struct set *new);

/*
 * The members of `old` that are not in `new`, and the other way round, each as a set value of its own, or NULL where there are
 * none. 0 or -ENOMEM.
 */
int members_differ(void *ctx, struct list_deltas *known, const struct set *old, const struct set *new, const struct set **gone,
	const struct set **come);

#endif
