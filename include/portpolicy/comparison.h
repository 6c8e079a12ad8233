/*
 * What two policies decide differently.
 */
#ifndef PORTPOLICY_COMPARISON_H
#define PORTPOLICY_COMPARISON_H

#include "portpolicy/decision.h"

enum difference_kind {
	DIFFERENCE_ALLOWED,   /* was denied or rejected, is allowed */
	DIFFERENCE_DENIED,    /* was allowed, is denied or rejected */
	DIFFERENCE_REJECTED,  /* deny turned reject */
	DIFFERENCE_SILENCED,  /* reject turned deny */
	DIFFERENCE_LIMITED,   /* allowed by both, and over a limit denied where it was not */
	DIFFERENCE_UNLIMITED, /* allowed by both, and over a limit allowed where it was not */
	DIFFERENCE_OVER,      /* what is over a limit is answered another way */
	DIFFERENCE_LOGGED,    /* decided alike, and logged where it was not */
	DIFFERENCE_UNLOGGED,
};
#define DIFFERENCE_KINDS 9

/* What one side makes of a set, and the lines behind it: first the one that decides the example, then the others in reading
 * order. */
struct decided {
	enum verdict verdict;
	bool log; /* of differences of logging */
	struct because *lines;
	size_t line_count;
};

/* Packets that each side decides in one way. */
struct difference {
	enum difference_kind kind;
	enum direction direction;
	bool rest;	   /* what neither policy has a rule for: the defaults differ */
	bool partial;	   /* not all of the set: what of it was decided so and is decided so */
	const char **sets; /* where it is partial: what is meant, exactly; none where that was too much to find out */
	size_t set_count;
	const char *words;  /* the set, in the language */
	const char *brief;  /* the same with long lists cut */
	const char *packet; /* one of them */
	struct decided old, new;
};

/* A rule with a limit that the other side does not have so: added (old NULL), gone (new NULL), or with another limit on the same
 * packets. */
struct limit_difference {
	const struct rule *old, *new;
};

/* What holds for a direction as a whole. */
enum setting { SETTING_MANAGED, SETTING_MODE };
struct setting_difference {
	enum setting setting;
	enum direction direction;
};

struct comparison {
	const struct policy *old, *new;
	struct difference *differences; /* by kind */
	size_t count;
	struct limit_difference *limits;
	size_t limit_count;
	struct setting_difference *settings;
	size_t setting_count;
	/* Texts that nothing is decided by: reasons and texts of logs that one side has and the other has not. */
	struct because *old_texts, *new_texts;
	size_t old_text_count, new_text_count;
	/* Where the budget did not suffice: the rules that only one side has. */
	const struct rule **undecided;
	size_t undecided_count;
};

/* Differences of verdicts, limits, logging, defaults or modes; not of texts. */
bool comparison_empty(const struct comparison *comparison);

/*
 * Compares two policies that are resolved for the same host.  A rule with `limit` or `above` counts as within its limit, audit
 * mode counts as enforcing, an unmanaged direction allows everything; limits and modes are compared beside. Returns 0; 2 when the
 * budget did not suffice, with what is known in *out; -ENOMEM.  The result points into both policies.
 */
int policies_compare(
	void *ctx, const struct policy *old, const struct policy *new, struct budget budget, struct comparison **out);

#endif
