/* Packets as bytes, well formed: what conntrack calls invalid would never reach the rules. */
#ifndef TESTS_NETNS_WIRE_H
#define TESTS_NETNS_WIRE_H

#include "tests/netns/lib/model.h"
#include <stddef.h>

#define WIRE_MAX 128

/*
 * The IP packet of a probe. The tag stands in the IPv4 id or the IPv6 flow label, and again in the TCP sequence number so that a
 * reset, whose acknowledgement is one more, names the packet it answers. Returns its length.
 */
size_t wire_packet(const struct probe *probe, uint16_t tag, uint8_t tos, unsigned char *bytes);

#endif
