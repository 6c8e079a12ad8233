/*
 * The form of each key in the kernel: where it is loaded from, how many bytes it fills, in which byte order.
 *
 * Most keys compare as the bytes of the packet.  User and group ids and the conntrack state are numbers in the order of the
 * host, so that a range of them compares right only after a byte swap: in ranges and in sets they are held in network order, and
 * a byteorder expression stands in front.  An interface name is 15 bytes and a NUL.
 */
#include "agent/kernel/kernel.h"
#include <linux/netfilter/nf_tables.h>
#include <string.h>

static const struct key_form forms[] = {
	{KEY_NFPROTO, ORIGIN_META, NFT_META_NFPROTO, 0, 1, 2, false},
	{KEY_L4PROTO, ORIGIN_META, NFT_META_L4PROTO, 0, 1, 12, false},
	{KEY_IIFNAME, ORIGIN_META, NFT_META_IIFNAME, 0, 16, 41, false},
	{KEY_OIFNAME, ORIGIN_META, NFT_META_OIFNAME, 0, 16, 41, false},
	{KEY_SKUID, ORIGIN_META, NFT_META_SKUID, 0, 4, 24, true},
	{KEY_SKGID, ORIGIN_META, NFT_META_SKGID, 0, 4, 25, true},
	{KEY_CT_STATE, ORIGIN_CT, NFT_CT_STATE, 0, 4, 26, true},
	{KEY_IP_SADDR, ORIGIN_PAYLOAD, NFT_PAYLOAD_NETWORK_HEADER, 12, 4, 7, false},
	{KEY_IP_DADDR, ORIGIN_PAYLOAD, NFT_PAYLOAD_NETWORK_HEADER, 16, 4, 7, false},
	{KEY_IP6_SADDR, ORIGIN_PAYLOAD, NFT_PAYLOAD_NETWORK_HEADER, 8, 16, 8, false},
	{KEY_IP6_DADDR, ORIGIN_PAYLOAD, NFT_PAYLOAD_NETWORK_HEADER, 24, 16, 8, false},
	{KEY_TH_SPORT, ORIGIN_PAYLOAD, NFT_PAYLOAD_TRANSPORT_HEADER, 0, 2, 13, false},
	{KEY_TH_DPORT, ORIGIN_PAYLOAD, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, 13, false},
	{KEY_ICMP_TYPE, ORIGIN_PAYLOAD, NFT_PAYLOAD_TRANSPORT_HEADER, 0, 1, 14, false},
	{KEY_ICMPV6_TYPE, ORIGIN_PAYLOAD, NFT_PAYLOAD_TRANSPORT_HEADER, 0, 1, 29, false},
	{KEY_TCP_FLAGS, ORIGIN_PAYLOAD, NFT_PAYLOAD_TRANSPORT_HEADER, 13, 1, 15, false},
};

#define FORMS (sizeof(forms) / sizeof(*forms))
_Static_assert(FORMS == KEY_TCP_FLAGS + 1, "a form for every key");

const struct key_form *key_form(enum key key)
{
	return (size_t)key < FORMS && forms[key].key == key ? &forms[key] : NULL;
}

const struct key_form *key_by_datatype(uint32_t datatype)
{
	for (size_t i = 0; i < FORMS; i++)
		if (forms[i].datatype == datatype)
			return &forms[i];
	return NULL;
}

static bool is_interface(enum key key)
{
	return key == KEY_IIFNAME || key == KEY_OIFNAME;
}

u128 key_last(enum key key)
{
	unsigned bits = is_interface(key) ? 120 : 8 * key_form(key)->length;
	return bits == 128 ? U128_MAX : ((u128)1 << bits) - 1;
}

static bool little_endian(enum key key, bool network)
{
	return key_form(key)->host_order && !network && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__;
}

void key_store(enum key key, u128 value, bool network, uint8_t *bytes)
{
	unsigned length = key_form(key)->length;
	bool little = little_endian(key, network);
	if (is_interface(key))
		value <<= 8;
	for (unsigned i = 0; i < length; i++)
		bytes[little ? i : length - 1 - i] = (uint8_t)(value >> (8 * i));
}

u128 key_fetch(enum key key, const uint8_t *bytes, bool network)
{
	unsigned length = key_form(key)->length;
	bool little = little_endian(key, network);
	u128 value = 0;
	for (unsigned i = 0; i < length; i++)
		value = value << 8 | bytes[little ? length - 1 - i : i];
	return is_interface(key) ? value >> 8 : value;
}
