/* One policy put into force and a number of packets sent at it: do portpolicy, the kernel and the naive evaluator agree? */
#ifndef TESTS_NETNS_TRIAL_H
#define TESTS_NETNS_TRIAL_H

#include "portpolicy/ruleset.h"
#include "tests/netns/lib/world.h"

struct laboratory {
	struct world_of_packets *world;
	char directory[64];  /* of the policy and its lists */
	enum encoding encoding;
	bool read_with_nft;  /* `nft -c -f` reads the ruleset, too */
};

struct trial {
	bool failed;
	size_t packets, arrived, answers; /* sent; seen by the rules; that a reject was seen to send */
	char *report;                     /* of a failure */
};

/* Returns 0 or a negative errno when the trial itself could not be held. */
int trial_hold(void *ctx, const struct laboratory *laboratory, const struct model *model, const struct probe *probes, size_t count, struct trial *out);

/* The smallest policy and packets that a few hundred trials find to fail as well; prints them. */
void trial_shrink(void *ctx, const struct laboratory *laboratory, const struct model *model, const struct probe *probes, size_t count);

#endif
