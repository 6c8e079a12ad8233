/*
 * One question about one box of packets: is there one whose verdict is among those wanted?
 */
#ifndef PORTPOLICY_SEARCH_H
#define PORTPOLICY_SEARCH_H

#include "dsl/decision/region.h"

/* Strictness: the larger wins. */
enum strictness { STRICT_DEFAULT, STRICT_ALLOW, STRICT_REJECT, STRICT_DENY };

struct candidate {
	const struct box *box;
	enum strictness strictness;
};

struct question {
	const struct box *region;
	const struct candidate *candidates;
	size_t count;
	unsigned wanted; /* bit 1 << enum strictness */
	size_t host_count;
};

struct spending {
	struct budget budget;
	size_t nodes;
	double started; /* seconds of the monotonic clock */
};
void spending_start(struct spending *spending, struct budget budget);

/* 0: *witness is a box of packets that all get a wanted verdict; 1: there is none; 2: the budget did not suffice; -ENOMEM. */
int search(void *ctx, const struct question *question, struct spending *spending, struct box *witness);

#endif
