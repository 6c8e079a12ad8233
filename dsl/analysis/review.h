/*
 * What the parts of a review share.
 *
 * Every question costs work, and a review has so much of it: what it is spent on is the same in every run, so a policy that is
 * too large to be looked at whole always gets the same warnings.
 */
#ifndef PORTPOLICY_REVIEW_H
#define PORTPOLICY_REVIEW_H

#include "portpolicy/analysis.h"

struct review {
	void *ctx;
	const struct policy *policy;
	const struct decision *decision;
	const struct environment *environment;
	struct diagnostics *diagnostics;
	const bool *held; /* of each expect: it was proved */
	size_t work;	  /* what is left of it, as decision_covered counts */
	bool *silent;	  /* of each rule: it changes nothing, and that was said */
	bool *partly;	  /* of each rule: a part of it changes nothing, and that was said */
	bool *by, *used;  /* of each rule: scratch for decision_covered */
};

/* False: there is not so much work left. */
bool review_spend(struct review *review, size_t work);

/* All return 0 or -ENOMEM. */
int review_rules(struct review *review);
int review_members(struct review *review);
int review_overlaps(struct review *review);
int review_expects(struct review *review);

/* Of a file that is judged, for a direction that is managed. */
bool rule_judged(const struct review *review, const struct rule *rule);
/* Whether it matches a packet turns on other packets. */
bool rule_conditional(const struct rule *rule);
bool rule_stricter(const struct rule *rule, const struct rule *than);
/* "line 4", "lines 4, 7 and other.policy:3"; `home`: the source whose name goes without saying. NULL: out of memory. */
char *lines_text(void *ctx, const struct source *home, const struct span *spans, size_t count);
/* The spans of the rules that are true in `used`, at most `most`; returns their number. */
size_t used_spans(const struct review *review, struct span *spans, size_t most);

/* relation.c: as match_covers. */
bool traffic_covers(const struct traffic *outer, const struct traffic *inner);
bool addresses_cover(const struct addresses *outer, const struct addresses *inner);

#endif
