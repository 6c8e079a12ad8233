/*
 * The segments of a field: between the places where atoms begin and end the same atoms are live.
 */
#ifndef PORTPOLICY_SWEEP_H
#define PORTPOLICY_SWEEP_H

#include "dsl/ruleset/encoding.h"
#include <stdint.h>

/* Indices of uses. */
struct live {
	size_t *uses, count;
};

/* With DIMENSION_SERVICE: protocols and ports, of the protocols that a port is named for. */
struct sweep {
	void *ctx;
	const struct uses *uses;
	enum dimension dimension;
	struct edge *edges;
	size_t edge_count;
	size_t *live, *place; /* of each use in `live`, or SIZE_MAX */
	size_t live_count, closed_count;
	uint64_t hash;
	u128 last; /* of the field */
};
/* The sweep is of `ctx`, and freed by sweep_close as well.  0 or -ENOMEM. */
int sweep_open(void *ctx, const struct uses *uses, enum dimension dimension, struct sweep *sweep);
void sweep_close(struct sweep *sweep);

/* How many uses all different live sets hold, and the sum of the squares of these numbers. */
struct sweep_measure {
	double copies, squares;
};
int sweep_measure(struct sweep *sweep, struct sweep_measure *out);

/*
 * The segments, each with the number of its live set.  What is live in most of them is `rest`, which has no segments: packets
 * in none of the segments are asked for it; where of some values nothing is live there is no rest.  With DIMENSION_SERVICE the
 * rest is all that names no port.
 */
struct segments {
	struct segment *at;
	size_t count;
	struct live *sets, rest;
	size_t set_count;
};
int sweep_segments(struct sweep *sweep, void *ctx, struct segments *out);

#endif
