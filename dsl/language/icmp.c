/*
 * ICMP and ICMPv6 types by the names that nft gives them (nftables, src/datatype.c), and which of them can open a connection.
 */
#include "dsl/language/resolve.h"
#include <string.h>

struct icmp_type {
	const char *name;
	int number;
};

static const struct icmp_type types_v4[] = {
	{"echo-reply", 0}, {"destination-unreachable", 3}, {"source-quench", 4}, {"redirect", 5}, {"echo-request", 8}, {"router-advertisement", 9},
	{"router-solicitation", 10}, {"time-exceeded", 11}, {"parameter-problem", 12}, {"timestamp-request", 13}, {"timestamp-reply", 14},
	{"info-request", 15}, {"info-reply", 16}, {"address-mask-request", 17}, {"address-mask-reply", 18},
};
static const struct icmp_type types_v6[] = {
	{"destination-unreachable", 1}, {"packet-too-big", 2}, {"time-exceeded", 3}, {"parameter-problem", 4}, {"echo-request", 128},
	{"echo-reply", 129}, {"mld-listener-query", 130}, {"mld-listener-report", 131}, {"mld-listener-done", 132},
	{"mld-listener-reduction", 132}, {"nd-router-solicit", 133}, {"nd-router-advert", 134}, {"nd-neighbor-solicit", 135},
	{"nd-neighbor-advert", 136}, {"nd-redirect", 137}, {"router-renumbering", 138}, {"ind-neighbor-solicit", 141},
	{"ind-neighbor-advert", 142}, {"mld2-listener-report", 143},
};
static const char *const names_v4[] = {"echo-reply", "destination-unreachable", "source-quench", "redirect", "echo-request", "router-advertisement",
	"router-solicitation", "time-exceeded", "parameter-problem", "timestamp-request", "timestamp-reply", "info-request", "info-reply",
	"address-mask-request", "address-mask-reply"};
static const char *const names_v6[] = {"destination-unreachable", "packet-too-big", "time-exceeded", "parameter-problem", "echo-request", "echo-reply",
	"mld-listener-query", "mld-listener-report", "mld-listener-done", "mld-listener-reduction", "nd-router-solicit", "nd-router-advert",
	"nd-neighbor-solicit", "nd-neighbor-advert", "nd-redirect", "router-renumbering", "ind-neighbor-solicit", "ind-neighbor-advert",
	"mld2-listener-report"};
#define COUNT(array) (sizeof(array) / sizeof *(array))

int icmp_type_number(bool v6, const char *name)
{
	const struct icmp_type *types = v6 ? types_v6 : types_v4;
	for (size_t i = 0; i < (v6 ? COUNT(types_v6) : COUNT(types_v4)); i++)
		if (!strcmp(types[i].name, name))
			return types[i].number;
	return -1;
}

/*
 * net/netfilter/nf_conntrack_proto_icmp.c and _icmpv6.c: only requests are valid as the first packet of a connection;
 * neighbour discovery and MLD are untracked; everything else belongs to a connection or is invalid.
 */
bool icmp_type_starts(bool v6, unsigned type)
{
	if (!v6)
		return type == 8 || type == 13 || type == 15 || type == 17;
	return type == 128 || type == 139 || (type >= 130 && type <= 136) || type == 143;
}

const char *const *icmp_type_names(bool v6, size_t *count)
{
	*count = v6 ? COUNT(names_v6) : COUNT(names_v4);
	return v6 ? names_v6 : names_v4;
}
