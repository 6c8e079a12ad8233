/*
 * Filters: what a rule of a host firewall says about a packet, five fields of it, as every tool under test can say it too.
 *
 * A filter set is an allow-list: a packet passes when a filter matches it, and nothing depends on their order.  SHAPE_LIST is the
 * other way round.
 */
#ifndef TESTS_BENCH_FILTER_H
#define TESTS_BENCH_FILTER_H

#include "tests/netns/lib/model.h"

struct network {
	u128 address; /* no bits set behind the prefix */
	int prefix;
};
struct ports {
	uint16_t first, last;
};

struct filter {
	int family;   /* 4 or 6 */
	int protocol; /* 0: any; ports then are any, too */
	struct network source, destination;
	struct ports source_port, service; /* service: the destination port */
};

enum shape {
	SHAPE_TUPLES,	/* source address . protocol . port, exact */
	SHAPE_TUPLES6,	/* the same in IPv6 */
	SHAPE_NETWORKS, /* source network of 15 lengths . protocol . one of 30 ports */
	SHAPE_RANGES,	/* source network . protocol . range of ports */
	SHAPE_LIST,	/* source networks of both families, any protocol: a blocklist, that drops what it matches */
	SHAPE_ACL,	/* five fields, as ClassBench has seen them in access lists, firewalls and IP chains */
	SHAPE_FW,
	SHAPE_IPC,
};
#define SHAPES 8
extern const char *const shape_names[SHAPES];

struct filters {
	enum shape shape;
	const struct filter *at;
	size_t count;
};

/* `count` different filters, the same for the same seed; the plain shapes tell packets by their far end.  0 or -ENOMEM. */
int filters_make(void *ctx, enum shape shape, enum way way, size_t count, uint64_t seed, struct filters *out);
bool filter_matches(const struct filter *filter, const struct probe *probe);
/* Packets that start a connection: each matches some filter, drawn at random, or none at all.  0, -ENOMEM, or -ERANGE: everything
 * matches. */
int filters_hits(struct random *random, struct filters filters, enum way way, struct probe *probes, size_t count);
int filters_misses(struct random *random, struct filters filters, enum way way, struct probe *probes, size_t count);

/* classbench.c: one filter of SHAPE_ACL, SHAPE_FW or SHAPE_IPC, of a set of `count`. */
struct filter classbench_filter(struct random *random, enum shape shape, size_t count);

#endif
