/*
 * A network namespace with a few interfaces, where packets are put in, sent out and passed through, and observed without a race.
 *
 * A table of the test's own notes the tag of each packet before the product's rules and again behind them, and drops it
 * there: so the packet never leaves, no conntrack entry is confirmed, and each packet is a new connection.
 */
#ifndef TESTS_NETNS_WORLD_H
#define TESTS_NETNS_WORLD_H

#include "tests/netns/lib/model.h"

#define TAGS 60000 /* of probes: 1 to TAGS - 1; above are the fences */

struct observation {
	bool early, invalid, late, answered;
};

struct world_of_packets;
/* Enters a fresh namespace and builds it. 0; 77: the machine does not allow it (said on standard output); negative errno. */
int packets_world_new(void *ctx, struct world_of_packets **out);
bool packets_world_users(const struct world_of_packets *world); /* can packets of other users be sent? */
/* Forgets what was observed, and runs `also`, lines for nft. */
int packets_world_clear(const char *also);
/* Sends all; probe i has tag i + 1.  Then waits until all that will arrive has arrived, and says what was seen. */
int packets_world_send(struct world_of_packets *world, const struct probe *probes, size_t count, struct observation *seen);

#endif
