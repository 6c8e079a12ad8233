/*
 * What can be said about a policy beyond its errors: warnings of things that it says but its writer may not mean.
 */
#ifndef PORTPOLICY_ANALYSIS_H
#define PORTPOLICY_ANALYSIS_H

#include "portpolicy/decision.h"

/* Warns where neighbour discovery or DHCP no longer work (LANGUAGE.md, What a policy means, 6).  0 or -ENOMEM. */
int analyse_reachability(void *ctx, const struct policy *policy, const struct decision *decision, struct diagnostics *diagnostics);

/*
 * Warns of rules, parts of rules and expects that change nothing, of limits that are bypassed, of an `any` that nobody needs, and of
 * overlaps that look unintended: W102 and up in portpolicy-warnings(7). `held`: which of the expects were proved.  0 or -ENOMEM.
 */
int analyse_rules(void *ctx, const struct policy *policy, const struct decision *decision, const struct environment *environment,
	const bool *held, struct diagnostics *diagnostics);

/* Certainly every packet of `inner` in `outer`?  False where it is not easily seen. */
bool match_covers(const struct match *outer, const struct match *inner);
/* Certainly no packet in both?  False where it is not easily seen. */
bool match_disjoint(const struct match *a, const struct match *b);

/* Is every rule, expect and default of the one, in order, that of the other, wherever they stand and however they are laid out? */
bool policies_same(const struct policy *a, const struct policy *b);

#endif
