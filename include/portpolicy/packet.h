/*
 * The packet as the language sees it: a point in a space of a few numbered fields.
 *
 * Domain (what packets there are), checked nowhere else:
 *  - FIELD_SERVICE is the destination port of TCP, UDP and SCTP (0..65535), the type of ICMP over
 *    IPv4 and of ICMPv6 over IPv6 (0..255), and 0 for every other protocol.
 *  - FIELD_SOURCE_PORT is 0 but for TCP, UDP and SCTP.
 *  - FIELD_USER, FIELD_GROUP and FIELD_UNIT are NO_PROCESS, NO_PROCESS and UNIT_NONE together (no process sent it; always
 *    so in `in` and `forward`) or none of them is.
 *  - FIELD_ARRIVING is 0 (none) in `out`, FIELD_LEAVING is 0 in `in`.
 */
#ifndef PORTPOLICY_PACKET_H
#define PORTPOLICY_PACKET_H

#include "portpolicy/interval.h"

enum family { FAMILY_IPV4, FAMILY_IPV6 };
#define FAMILIES 2

enum field {
	FIELD_ARRIVING,    /* interface names as 15 bytes, first byte most significant, padded with NUL: 120 bits */
	FIELD_LEAVING,
	FIELD_PROTOCOL,    /* IANA protocol number, 0..255 */
	FIELD_SERVICE,
	FIELD_SOURCE_PORT,
	FIELD_SOURCE,      /* address: 32 or 128 bits, in host order */
	FIELD_DESTINATION,
	FIELD_USER,        /* uid 0..2^32-1, or NO_PROCESS */
	FIELD_GROUP,
	FIELD_UNIT,        /* UNIT_NONE, UNIT_OTHER, or UNIT_FIRST + index in the policy's table of units */
};
#define FIELDS 10

#define NO_PROCESS ((u128)1 << 32)
#define UNIT_NONE 0
#define UNIT_OTHER 1
#define UNIT_FIRST 2
#define INTERFACE_NAME_MAX 15
#define INTERFACE_LAST (((u128)1 << 120) - 1)

enum ip_protocol { PROTOCOL_ICMP = 1, PROTOCOL_TCP = 6, PROTOCOL_UDP = 17, PROTOCOL_ICMPV6 = 58, PROTOCOL_SCTP = 132 };

/* The number of an interface name of 1 to 15 bytes, and the last number that begins with it. */
u128 interface_number(const char *name);
u128 interface_prefix_last(const char *prefix);

#endif
