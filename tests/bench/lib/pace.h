/*
 * Measuring side by side: a slice of each runner in turn, again and again, so that what slows the machine slows them all alike;
 * what is told are medians.
 */
#ifndef TESTS_BENCH_PACE_H
#define TESTS_BENCH_PACE_H

#include "tests/bench/lib/frames.h"
#include "tests/bench/lib/lane.h"

struct runner {
	struct lane *lane;
	struct frames *frames;
	int link;	/* of the frames to the lane's device */
	unsigned batch; /* packets of a slice: as many as take SLICE_NS */
	double *slices; /* ns of a packet, of each slice */
	double passed;	/* share of the packets that the rules let through */
};

/* 0 or a negative errno.  The slices are of `ctx`. */
int pace(void *ctx, struct runner *runners, size_t count, unsigned slices);
double pace_median(const struct runner *runner, unsigned slices);
/* What a packet of `runner` takes more than one of `reference`, in ns, and how many times as long, both slice by slice. */
double pace_added(const struct runner *runner, const struct runner *reference, unsigned slices);
double pace_ratio(const struct runner *runner, const struct runner *reference, unsigned slices);

/* Until sched_setaffinity says otherwise. */
void stay_on_one_processor(void);

/* Of numbers in any order; sorts them. */
double median(double *numbers, size_t count);

#endif
