/*
 * The comparison of two policies: what its files share.
 */
#ifndef PORTPOLICY_COMPARE_H
#define PORTPOLICY_COMPARE_H

#include "dsl/analysis/sets.h"
#include "dsl/decision/contrast.h"
#include "portpolicy/comparison.h"

/* A rule made ready: its boxes in the joint numbering, and the name of its meaning. */
struct form {
	struct boxes boxes[ZONES];
	u128 match;   /* equal for equal direction, action, log and packets */
	u128 meaning; /* and equal limits */
	bool shared;  /* the other side has one of the same meaning */
};

struct side {
	const struct policy *policy;
	struct form *forms; /* one a rule */
};

struct comparing {
	void *ctx;
	struct side old, new;
	struct joint joint;
	struct vocabulary *vocabulary;
	struct spending spending;
	struct comparison *result;
	struct pieces changed;	/* of the direction and zone at work: packets that get another verdict */
	struct pieces reported; /* packets of which it is told already that they are allowed more or less */
};

enum strictness action_strictness(enum action action);
enum verdict action_verdict(enum action action);
/* Does it match only up to a limit, or only above one? */
bool rule_limited(const struct rule *rule);
/* What falls to the default: nothing but allow is decided by default on loopback and in an unmanaged direction. */
enum verdict default_verdict(const struct policy *policy, enum direction direction, enum zone zone);
u128 hash_box(const struct box *box, u128 hash, int skipped_field);
bool same_box(const struct box *a, const struct box *b, int skipped_field);

/* Does any packet of the pieces get one of the `wanted` (1 << enum strictness)?  `over`: limited allows do not match. 0: yes, 1:
 * no, 2: budget; -ENOMEM. */
int side_search(struct comparing *work, const struct side *side, const struct pieces *pieces, bool over, unsigned wanted);

/* What is said of one class of packets. */
struct outcome_class {
	enum difference_kind kind;
	enum direction direction;
	struct outcome old, new;
	bool rest;
	const struct rule *part; /* not NULL: there are too many to be found, but all lie within this rule, and `pieces` are some */
	struct pieces pieces;	 /* disjoint */
};

/* differences.c: where verdicts, logs, and verdicts over limits differ. 0, 2 or -ENOMEM. */
int find_differences(struct comparing *work);
/* describe.c: the sets of one class, with their lines, added to the result. */
int describe_class(struct comparing *work, const struct outcome_class *class);
/* limits.c: rules with limits, of which verdicts tell nothing. */
int find_limit_differences(struct comparing *work);

#endif
