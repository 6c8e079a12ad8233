/* Connections that stand: packets of them pass by the rules. */
#ifndef TESTS_BENCH_ESTABLISHED_H
#define TESTS_BENCH_ESTABLISHED_H

#include "tests/bench/lib/lane.h"

/* Makes conntrack of the lane know a UDP connection for each probe (of IPv4), as if both sides had spoken.  0 or a negative
 * errno. */
int lane_establish(const struct lane *lane, const struct probe *probes, size_t count);

#endif
