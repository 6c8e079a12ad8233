/*
 * A lane: a network namespace with one device where packets come in or go out, and any rules in it.
 *
 * Every address is the lane's own (in), or lies behind its device (out, forward).  Behind the rules under test a table of the
 * bench's own counts what passes and drops it: no connection is ever confirmed, so each packet is a new one.
 */
#ifndef TESTS_BENCH_LANE_H
#define TESTS_BENCH_LANE_H

#include "tests/netns/lib/model.h"

struct lane {
	enum way way;
	int home, namespace;  /* open /proc/self/ns/net: of the bench, which the lane does not own, and of the lane */
	unsigned device;      /* where frames arrive */
	int socket4, socket6; /* that packets leave through */
	char peer[16];	      /* the device's other end, in the bench's own namespace */
};

/* Enters a namespace of the bench's own, before any lane: the machine's network is left behind.  A descriptor of it, or a
 * negative errno. */
int lanes_start(void);
/* Waits until the kernel has taken apart the namespaces of lanes that were freed, so that it does not disturb what comes next. */
void lanes_wait(void);

/* Negative errno: it could not be built.  Freed, its namespace ends. */
int lane_open(void *ctx, int home, enum way way, struct lane **out);
int lane_enter(const struct lane *lane);
int lane_leave(const struct lane *lane);
/* Runs a command of the shell in the lane: its exit status, or a negative errno. */
int lane_shell(const char *format, ...) __attribute__((format(printf, 1, 2))); /* the same, outside of any lane */
int lane_run(const struct lane *lane, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* After foreign rules were loaded: sets back what their tools changed, and puts the bench's own table behind them. */
int lane_settle(const struct lane *lane);
/* How many packets have passed the rules so far. */
int lane_passed(const struct lane *lane, uint64_t *packets);

#endif
