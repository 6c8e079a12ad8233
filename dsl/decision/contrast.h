/*
 * Two policies side by side: in which boxes do they decide differently?
 */
#ifndef PORTPOLICY_CONTRAST_H
#define PORTPOLICY_CONTRAST_H

#include "dsl/decision/search.h"

/* A policy is seen twice: as it is while every limit holds, and as it is where every limited allow is over its limit. */
enum view { VIEW_OLD, VIEW_NEW, VIEW_OLD_OVER, VIEW_NEW_OVER };
#define VIEWS 4

/* What decides a packet: the default is level 0, rules are above it by strictness, and of two alike the one that logs. The
 * largest wins. */
#define LEVELS 8
#define LEVEL_OF(strictness, logs) ((unsigned char)(2 * (strictness) + ((logs) ? 1 : 0)))

/* What comes of a level: a verdict, and whether it is logged. */
struct outcome {
	unsigned char verdict; /* enum verdict; UNMANAGED counts as ALLOW */
	bool log;
};

struct contender {
	const struct box *box;
	unsigned char level;
	unsigned char views; /* 1 << enum view of each that it stands in */
};

struct contrast {
	const struct box *region;
	const struct contender *contenders;
	size_t count;
	size_t host_count;
	struct outcome outcomes[VIEWS][LEVELS];
	bool rest; /* find also what both leave to their defaults */
	/* Stop at the first box that differs so; GOAL_ALL: find all. */
	enum contrast_goal { GOAL_ALL, GOAL_VERDICT, GOAL_LOG, GOAL_OVER } goal;
	struct outcome goal_old, goal_new; /* GOAL_VERDICT: these verdicts; GOAL_LOG: these, where the verdict is the same */
};

/* Packets that come to one thing in each view, and these differ: in verdict, in log, or, where the verdict is the same, over the
 * limit. */
#define LEVEL_NONE 0xff /* a verdict that is of no interest, because it does not differ */
struct contrast_box {
	struct box box;
	struct outcome within[2], over[2];
	bool verdict_differs, log_differs, over_differs;
};
struct contrast_boxes {
	struct contrast_box *at;
	size_t count;
};

/* Disjoint boxes that hold every packet of the region on which the two differ, added to *out.  0; 2 when the budget did not
 * suffice; -ENOMEM. */
int contrast_find(void *ctx, const struct contrast *contrast, struct spending *spending, struct contrast_boxes *out);

#endif
