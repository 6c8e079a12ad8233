/*
 * One packet for a reader: values that look familiar, in the words of the language.
 */
#include "dsl/decision/region.h"
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <talloc.h>

static bool try_values(struct intervals set, const u128 *values, size_t count, u128 *out)
{
	for (size_t i = 0; i < count; i++)
		if (intervals_contain(set, values[i])) {
			*out = values[i];
			return true;
		}
	return false;
}
#define TRY(set, out, ...) try_values(set, (const u128[]){__VA_ARGS__}, sizeof((const u128[]){__VA_ARGS__}) / sizeof(u128), out)

static void interface_text(u128 number, char text[INTERFACE_NAME_MAX + 1])
{
	for (int i = INTERFACE_NAME_MAX - 1; i >= 0; i--, number >>= 8)
		text[i] = (char)(unsigned char)number;
	text[INTERFACE_NAME_MAX] = 0;
}

static bool printable(const char *text)
{
	for (; *text; text++)
		if (!isgraph((unsigned char)*text) || *text == '"' || *text == '/' || *text == '*')
			return false;
	return true;
}

/* A name that one could meet: a usual one, else the beginning of an end of the set with a letter more. */
static u128 pleasant_interface(struct intervals set)
{
	static const char *const usual[] = {"eth0", "eth1", "ens3", "wlan0", "wg0", "br0", "tun0", "docker0", "lo", "net0", "x0"};
	static const char letters[] = "0123456789abcdefghijklmnopqrstuvwxyz";
	for (size_t i = 0; i < sizeof usual / sizeof *usual; i++)
		if (intervals_contain(set, interface_number(usual[i])))
			return interface_number(usual[i]);
	for (size_t i = 0; i < set.count; i++) {
		char name[INTERFACE_NAME_MAX + 2] = "";
		interface_text(set.at[i].first, name);
		if (*name && printable(name))
			return set.at[i].first;
		size_t length = 0;
		while (isgraph((unsigned char)name[length]) && length < INTERFACE_NAME_MAX - 1)
			length++;
		for (size_t cut = length + 1; cut-- > 0;)
			for (const char *letter = letters; *letter; letter++) {
				name[cut] = *letter;
				name[cut + 1] = 0;
				if (intervals_contain(set, interface_number(name)))
					return interface_number(name);
			}
	}
	return set.at[0].first;
}

#define V4(a, b, c, d) ((u128)(a) << 24 | (u128)(b) << 16 | (u128)(c) << 8 | (u128)(d))
#define V6_DOC ((u128)0x20010db8 << 96)

/* Documentation addresses (RFC 5737, RFC 3849) where they are free, else one that is not the first of its network. */
static u128 pleasant_address(enum family family, bool source, struct intervals set)
{
	u128 value;
	bool found = family == FAMILY_IPV4 ?
		TRY(set, &value, source ? V4(198, 51, 100, 7) : V4(203, 0, 113, 7), source ? V4(198, 51, 100, 8) : V4(203, 0, 113, 8), V4(192, 0, 2, 7), V4(10, 1, 2, 3)) :
		TRY(set, &value, source ? V6_DOC | 7 : V6_DOC | (u128)1 << 64 | 7, V6_DOC | (u128)0xffff << 64 | 7);
	if (found)
		return value;
	return set.at[0].first == set.at[0].last ? set.at[0].first : set.at[0].first + 1;
}

u128 pleasant_value(enum field field, enum family family, enum direction direction, struct intervals set)
{
	u128 value = set.at[0].first;
	(void)direction;
	switch (field) {
	case FIELD_ARRIVING:
	case FIELD_LEAVING: return set.count == 1 && !set.at[0].last ? 0 : pleasant_interface(set);
	case FIELD_PROTOCOL: TRY(set, &value, PROTOCOL_TCP, PROTOCOL_UDP, PROTOCOL_SCTP, PROTOCOL_ICMP, PROTOCOL_ICMPV6, 47, 50); break;
	case FIELD_SERVICE: TRY(set, &value, 443, 80, 22, 53, 8, 128, 8080, 25, 1); break;
	case FIELD_SOURCE_PORT: TRY(set, &value, 50000, 40000, 1024); break;
	case FIELD_SOURCE:
	case FIELD_DESTINATION: return pleasant_address(family, field == FIELD_SOURCE, set);
	case FIELD_USER: TRY(set, &value, NO_PROCESS, 1000, 0, 1001); break;
	case FIELD_GROUP: TRY(set, &value, NO_PROCESS, 1000, 0, 1001); break;
	case FIELD_UNIT: TRY(set, &value, UNIT_NONE, UNIT_OTHER); break;
	}
	return value;
}

static char *add_traffic(char *text, const struct packet *packet)
{
	unsigned protocol = (unsigned)packet->field[FIELD_PROTOCOL], service = (unsigned)packet->field[FIELD_SERVICE];
	bool v4 = packet->family == FAMILY_IPV4;
	switch (protocol) {
	case PROTOCOL_TCP: return talloc_asprintf_append_buffer(text, "tcp/%u", service);
	case PROTOCOL_UDP: return talloc_asprintf_append_buffer(text, "udp/%u", service);
	case PROTOCOL_SCTP: return talloc_asprintf_append_buffer(text, "sctp/%u", service);
	case PROTOCOL_ICMP:
		if (v4)
			return talloc_asprintf_append_buffer(text, service == 8 ? "icmp/echo-request" : "icmp/%u", service);
		break;
	case PROTOCOL_ICMPV6:
		if (!v4)
			return talloc_asprintf_append_buffer(text, service == 128 ? "icmpv6/echo-request" : "icmpv6/%u", service);
		break;
	}
	return talloc_asprintf_append_buffer(text, "protocol %u", protocol);
}

static char *add_address(char *text, const char *word, enum family family, u128 address)
{
	unsigned char bytes[16];
	char written[INET6_ADDRSTRLEN];
	int length = family == FAMILY_IPV4 ? 4 : 16;
	for (int i = length - 1; i >= 0; i--, address >>= 8)
		bytes[i] = (unsigned char)address;
	inet_ntop(family == FAMILY_IPV4 ? AF_INET : AF_INET6, bytes, written, sizeof written);
	return talloc_asprintf_append_buffer(text, " %s %s", word, written);
}

static char *add_interface(char *text, const char *words, u128 number)
{
	char name[INTERFACE_NAME_MAX + 1];
	if (!number)
		return text;
	interface_text(number, name);
	bool word = isalpha((unsigned char)*name);
	for (const char *at = name; *at; at++)
		word &= isalnum((unsigned char)*at) || strchr("_-.", *at);
	return talloc_asprintf_append_buffer(text, word ? " %s %s" : " %s \"%s\"", words, name);
}

static char *add_process(char *text, const struct policy *policy, const struct packet *packet)
{
	unsigned unit = (unsigned)packet->field[FIELD_UNIT];
	if (packet->field[FIELD_USER] == NO_PROCESS)
		return text;
	text = talloc_asprintf_append_buffer(text, " by { user %u, group %u", (unsigned)packet->field[FIELD_USER], (unsigned)packet->field[FIELD_GROUP]);
	if (text && unit >= UNIT_FIRST && unit - UNIT_FIRST < policy->unit_count)
		text = talloc_asprintf_append_buffer(text, ", unit %s", policy->units[unit - UNIT_FIRST]);
	return text ? talloc_asprintf_append_buffer(text, " }") : NULL;
}

/* Which names the answer turns on: a comment, for a packet has an address and not a name. */
static char *add_names(char *text, const struct policy *policy, const struct packet *packet)
{
	for (size_t i = 0; i < policy->host_count && text; i++) {
		bool source = packet->source_in && packet->source_in[i], destination = packet->destination_in && packet->destination_in[i];
		if (source || destination)
			text = talloc_asprintf_append_buffer(text, " # %s is an address of \"%s\"", source ? "the source" : "the destination", policy->hosts[i]);
	}
	return text;
}

char *packet_text(void *ctx, const struct policy *policy, const struct packet *packet)
{
	static const char *const directions[] = {"in", "out", "forward"};
	bool forward = packet->direction == DIRECTION_FORWARD;
	unsigned protocol = (unsigned)packet->field[FIELD_PROTOCOL];
	char *text = talloc_asprintf(ctx, "%s ", directions[packet->direction]);
	text = text ? add_traffic(text, packet) : NULL;
	text = text ? add_address(text, "from", packet->family, packet->field[FIELD_SOURCE]) : NULL;
	if (text && (protocol == PROTOCOL_TCP || protocol == PROTOCOL_UDP || protocol == PROTOCOL_SCTP))
		text = talloc_asprintf_append_buffer(text, " source port %u", (unsigned)packet->field[FIELD_SOURCE_PORT]);
	text = text ? add_address(text, "to", packet->family, packet->field[FIELD_DESTINATION]) : NULL;
	text = text ? add_interface(text, forward ? "arriving on" : "on", packet->field[FIELD_ARRIVING]) : NULL;
	text = text ? add_interface(text, forward ? "leaving on" : "on", packet->field[FIELD_LEAVING]) : NULL;
	text = text ? add_process(text, policy, packet) : NULL;
	return text ? add_names(text, policy, packet) : NULL;
}
