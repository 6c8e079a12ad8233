/*
 * What the extensions of iptables match, as sets of packets; and the doubt where that cannot be known.
 *
 * A criterion that a policy has no words for leaves the rule with what else it says, and a reason (rule_doubt): it may match less
 * than that.
 */
#include "dsl/import/iptables.h"
#include "dsl/language/resolve.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <talloc.h>

static const char *const known_modules[] = {"tcp", "udp", "sctp", "dccp", "udplite", "multiport", "iprange", "set", "conntrack",
	"state", "icmp", "icmp6", "icmpv6", "limit", "hashlimit", "connlimit", "recent", "owner", "comment", "addrtype", "hl"};
/* IPv6 extension headers: the first packet of an ordinary connection carries none of those that are asked for. */
static const char *const header_modules[] = {"rt", "hbh", "dst", "frag", "mh", "ipv6header", "eui64"};

static bool among(const char *word, const char *const *words, size_t count)
{
	for (size_t i = 0; word && i < count; i++)
		if (!strcmp(word, words[i]))
			return true;
	return false;
}
#define AMONG(word, list) among(word, list, sizeof(list) / sizeof *(list))

void match_begins(struct reading *reading)
{
	const char *module = reading->module ? reading->module : "(missing)";
	struct heard *heard = &reading->heard;
	if (AMONG(module, header_modules)) {
		rule_never(reading->rule);
		rule_fate(reading->import, reading->rule, FATE_DIFFERS,
			"match %s: packets with IPv6 extension headers are not told apart", module);
	} else if (!AMONG(module, known_modules))
		rule_doubt(reading->import, reading->rule, "match %s cannot be said", module);
	heard->limit |= !strcmp(module, "limit");
	heard->hashlimit |= !strcmp(module, "hashlimit");
	heard->connlimit |= !strcmp(module, "connlimit");
}

/* "22,80,8000:8100" */
static bool port_list(struct import *import, const char *words, struct intervals *out)
{
	char *copy = import_text(import, "%s", words ? words : ""), *rest = copy, *word;
	struct intervals set = {0}, one;
	while (copy && (word = strsep(&rest, ","))) {
		if (!read_ports(import, word, ':', &one))
			return false;
		set = set_union(import, set, one);
	}
	*out = set;
	return set.count;
}

static struct intervals services(struct import *import, unsigned protocol, struct intervals ports)
{
	struct interval *list = talloc_array(import->ctx, struct interval, ports.count + 1);
	struct intervals set = {0};
	for (size_t i = 0; list && i < ports.count; i++)
		list[i] = (struct interval){TRAFFIC(protocol, ports.at[i].first), TRAFFIC(protocol, ports.at[i].last)};
	if (!list || intervals_from(import->ctx, list, ports.count, &set))
		import->error = -ENOMEM;
	return set;
}

static void set_ports(struct reading *reading, const char *words, bool source, bool destination, bool negated)
{
	struct import *import = reading->import;
	struct foreign_rule *rule = reading->rule;
	int protocol = reading->protocol;
	struct intervals ports;
	if (protocol != PROTOCOL_TCP && protocol != PROTOCOL_UDP && protocol != PROTOCOL_SCTP) {
		rule_doubt(import, rule, "ports of this protocol cannot be said");
		return;
	}
	if (!port_list(import, words, &ports)) {
		rule_doubt(import, rule, "the ports %s cannot be read", words ? words : "(missing)");
		return;
	}
	struct intervals to = services(import, (unsigned)protocol, ports);
	if (source != destination || negated) {
		if (destination)
			rule_restrict(import, rule, reading->family, DIM_TRAFFIC, to, negated);
		if (source)
			rule_restrict(import, rule, reading->family, DIM_SOURCE_PORT, ports, negated);
		return;
	}
	struct areas either = {0};
	struct area area;
	memcpy(area.of, full_set[reading->family], sizeof area.of);
	area.of[DIM_TRAFFIC] = to;
	areas_add(import, &either, &area);
	area.of[DIM_TRAFFIC] = full_set[reading->family][DIM_TRAFFIC];
	area.of[DIM_SOURCE_PORT] = ports;
	areas_add(import, &either, &area);
	rule_among(import, rule, reading->family, &either, false);
}

struct icmp_name {
	const char *name;
	int type, code;
};
/* iptables -p icmp -h and ip6tables -p icmpv6 -h: names of types, and of types with a code. */
static const struct icmp_name icmp_names[] = {{"echo-reply", 0, -1}, {"pong", 0, -1}, {"destination-unreachable", 3, -1},
	{"network-unreachable", 3, 0}, {"host-unreachable", 3, 1}, {"protocol-unreachable", 3, 2}, {"port-unreachable", 3, 3},
	{"fragmentation-needed", 3, 4}, {"source-quench", 4, -1}, {"redirect", 5, -1}, {"echo-request", 8, -1}, {"ping", 8, -1},
	{"router-advertisement", 9, -1}, {"router-solicitation", 10, -1}, {"time-exceeded", 11, -1}, {"ttl-exceeded", 11, -1},
	{"ttl-zero-during-transit", 11, 0}, {"parameter-problem", 12, -1}, {"timestamp-request", 13, -1},
	{"timestamp-reply", 14, -1}, {"address-mask-request", 17, -1}, {"address-mask-reply", 18, -1}};
static const struct icmp_name icmpv6_names[] = {{"destination-unreachable", 1, -1}, {"no-route", 1, 0},
	{"port-unreachable", 1, 4}, {"packet-too-big", 2, -1}, {"time-exceeded", 3, -1}, {"ttl-exceeded", 3, -1},
	{"ttl-zero-during-transit", 3, 0}, {"parameter-problem", 4, -1}, {"bad-header", 4, 0}, {"echo-request", 128, -1},
	{"ping", 128, -1}, {"echo-reply", 129, -1}, {"pong", 129, -1}, {"router-solicitation", 133, -1},
	{"router-advertisement", 134, -1}, {"neighbour-solicitation", 135, -1}, {"neighbor-solicitation", 135, -1},
	{"neighbour-advertisement", 136, -1}, {"neighbor-advertisement", 136, -1}, {"redirect", 137, -1}};

static bool icmp_type(enum family family, const char *word, int *type, int *code)
{
	const struct icmp_name *names = family == FAMILY_IPV4 ? icmp_names : icmpv6_names;
	size_t count =
		family == FAMILY_IPV4 ? sizeof icmp_names / sizeof *icmp_names : sizeof icmpv6_names / sizeof *icmpv6_names;
	char *end;
	*type = *code = -1;
	if (!strcmp(word, "any"))
		return true;
	for (size_t i = 0; i < count; i++)
		if (!strcmp(word, names[i].name)) {
			*type = names[i].type;
			*code = names[i].code;
			return true;
		}
	*type = (int)strtol(word, &end, 10);
	if (end == word || *type < 0 || *type > 255)
		return false;
	if (*type == 255 && family == FAMILY_IPV4 && !*end)
		*type = -1; /* iptables' number for any */
	if (*end == '/')
		*code = (int)strtol(end + 1, &end, 10);
	return !*end;
}

static void set_icmp(struct reading *reading, const char *word, bool negated)
{
	int type, code;
	if (!word || !icmp_type(reading->family, word, &type, &code)) {
		rule_doubt(reading->import, reading->rule, "the ICMP type %s cannot be read", word ? word : "(missing)");
		return;
	}
	if (type < 0)
		return;
	bool request = type == (reading->family == FAMILY_IPV4 ? 8 : 128); /* whose code is 0 and no other (RFC 792, RFC 4443) */
	if (code < 0 || (request && code == 0))
		rule_icmp(reading->import, reading->rule, reading->family, (unsigned)type, negated);
	else {
		if (!negated)
			rule_icmp(reading->import, reading->rule, reading->family, (unsigned)type, false);
		rule_doubt(reading->import, reading->rule, "a code of an ICMP type cannot be said");
	}
}

static void set_states(struct reading *reading, const char *words, bool negated)
{
	static const struct {
		const char *name;
		unsigned bit;
	} states[] = {{"NEW", STATE_NEW}, {"UNTRACKED", STATE_UNTRACKED}, {"ESTABLISHED", STATE_ESTABLISHED},
		{"RELATED", STATE_RELATED}, {"INVALID", STATE_INVALID}};
	char *copy = import_text(reading->import, "%s", words ? words : ""), *rest = copy, *word;
	unsigned mask = 0;
	while (copy && (word = strsep(&rest, ","))) {
		unsigned bit = 0;
		for (size_t i = 0; i < sizeof states / sizeof *states; i++)
			if (!strcmp(word, states[i].name))
				bit = states[i].bit;
		if (!bit)
			rule_doubt(
				reading->import, reading->rule, "connection state %s cannot be said", *word ? word : "(missing)");
		mask |= bit;
	}
	if (mask || !reading->rule->unsure)
		rule_states(reading->import, reading->rule, negated ? STATE_ALL & ~mask : mask);
}

static unsigned flag_bits(const char *words)
{
	static const char *const flags[] = {"FIN", "SYN", "RST", "PSH", "ACK", "URG"};
	unsigned bits = 0;
	if (!words || !strcmp(words, "NONE"))
		return 0;
	if (!strcmp(words, "ALL"))
		return 63;
	for (int i = 0; i < 6; i++)
		if (strstr(words, flags[i]))
			bits |= 1u << i;
	return bits;
}

/* Of the packets of TCP, those that start a connection have SYN and no other of the six flags. */
static void set_flags(struct reading *reading, unsigned mask, unsigned wanted, bool negated)
{
	const unsigned syn = 2;
	if (((mask & syn) == wanted) == negated) {
		rule_never(reading->rule);
		rule_fate(reading->import, reading->rule, FATE_DIFFERS,
			"it matches no first packet of a TCP connection: other TCP packets of no known connection are not told "
			"apart");
	} else
		reading->heard.tcp_flags_odd = "TCP packets without SYN that belong to no known connection match here too";
}

static bool number(const char *word, unsigned long *out)
{
	char *end;
	*out = word ? strtoul(word, &end, 10) : 0;
	return word && *word >= '0' && *word <= '9' && !*end;
}

static void set_rate(struct reading *reading, const char *word)
{
	static const struct {
		const char *name, *unit;
	} units[] = {{"s", "second"}, {"sec", "second"}, {"second", "second"}, {"m", "minute"}, {"min", "minute"},
		{"minute", "minute"}, {"h", "hour"}, {"hour", "hour"}, {"d", "day"}, {"day", "day"}};
	struct heard *heard = &reading->heard;
	char *end;
	heard->count = word ? strtoul(word, &end, 10) : 0;
	heard->unit = NULL;
	for (size_t i = 0; word && *end == '/' && i < sizeof units / sizeof *units; i++)
		if (!strcmp(end + 1, units[i].name))
			heard->unit = units[i].unit;
	if (word && !*end && heard->count)
		heard->unit = "second";
	heard->rate_strange |= !heard->unit || !heard->count;
}

static void set_owner(struct reading *reading, const char *option, bool negated)
{
	struct import *import = reading->import;
	bool group = !strcmp(option, "--gid-owner");
	unsigned long first, last;
	if (!strcmp(option, "--socket-exists")) {
		rule_restrict(
			import, reading->rule, reading->family, DIM_USER, set_single(import, NO_PROCESS, NO_PROCESS), !negated);
		return;
	}
	char *word = import_text(import, "%s", take(&reading->words) ?: ""), *dash = word ? strchr(word, '-') : NULL;
	if (dash)
		*dash++ = 0;
	bool fine = number(word, &first) && (!dash || number(dash, &last));
	last = dash ? last : first;
	if ((!group && strcmp(option, "--uid-owner")) || !fine || last < first || last > 0xffffffff)
		rule_doubt(import, reading->rule, "owner %s %s cannot be said", option, word ? word : "");
	else
		rule_restrict(import, reading->rule, reading->family, group ? DIM_GROUP : DIM_USER,
			set_single(import, first, last), negated);
}

/*
 * What arrives for this host is addressed to it, or to a group or to everybody of the network: INPUT sees no other. A network's
 * own broadcast address counts as the host's.
 */
static void set_address_type(struct reading *reading, const char *option, bool negated)
{
	struct import *import = reading->import;
	const char *type = take(&reading->words);
	bool v4 = reading->family == FAMILY_IPV4;
	struct intervals multicast =
		v4 ? set_single(import, (u128)224 << 24, ((u128)240 << 24) - 1) : set_single(import, (u128)0xff << 120, U128_MAX);
	struct intervals everybody = v4 ? set_single(import, 0xffffffff, 0xffffffff) : (struct intervals){0};
	enum dimension dimension = !strcmp(option, "--src-type") ? DIM_SOURCE : DIM_DESTINATION;
	if (type && !strcmp(type, "MULTICAST"))
		rule_restrict(import, reading->rule, reading->family, dimension, multicast, negated);
	else if (type && dimension == DIM_DESTINATION && (!strcmp(type, "LOCAL") || !strcmp(type, "BROADCAST"))) {
		reading->rule->local_destination = true;
		if (!strcmp(type, "LOCAL"))
			rule_restrict(import, reading->rule, reading->family, dimension, set_union(import, multicast, everybody),
				!negated);
		else
			rule_restrict(import, reading->rule, reading->family, dimension, everybody, negated);
	} else
		rule_doubt(import, reading->rule, "match addrtype %s %s cannot be said", option, type ? type : "");
}

static void set_range(struct reading *reading, enum dimension dimension, bool negated)
{
	enum family family;
	struct intervals set;
	const char *word = take(&reading->words);
	if (!word || !read_addresses(reading->import, word, &family, &set) || family != reading->family)
		rule_doubt(reading->import, reading->rule, "the range %s cannot be read", word ? word : "(missing)");
	else
		rule_restrict(reading->import, reading->rule, family, dimension, set, negated);
}

static void slot_area(struct import *import, enum dimension role, bool source, struct intervals value, struct area *area)
{
	enum dimension dimension = role;
	if (role == DIM_SOURCE && !source)
		dimension = DIM_DESTINATION;
	if (role == DIM_ARRIVING && !source)
		dimension = DIM_LEAVING;
	if (role == DIM_TRAFFIC && source) {
		unsigned protocol = (unsigned)(value.at[0].first / SERVICES);
		area->of[DIM_SOURCE_PORT] = set_single(import, value.at[0].first % SERVICES, value.at[0].last % SERVICES);
		value = set_single(import, TRAFFIC(protocol, 0), TRAFFIC(protocol, SERVICES - 1));
	}
	area->of[dimension] = set_common(import, area->of[dimension], value);
}

static void set_members(struct reading *reading, const char *name, const char *flags, bool negated)
{
	struct import *import = reading->import;
	struct foreign_set *set = foreign_set(import, NULL, name);
	struct areas areas = {0};
	if (!set) {
		rule_doubt(import, reading->rule, "the members of set %s are not given: add the output of `ipset save`", name);
		return;
	}
	if (!set->role_count) {
		rule_doubt(import, reading->rule, "the members of set %s cannot be said", name);
		return;
	}
	for (size_t i = 0; i < set->members[reading->family].count; i++) {
		struct area area;
		const char *flag = flags;
		memcpy(area.of, full_set[reading->family], sizeof area.of);
		bool empty = false;
		for (size_t slot = 0; slot < set->role_count; slot++) {
			slot_area(import, set->roles[slot], flag && !strncmp(flag, "src", 3),
				set->members[reading->family].at[i].of[slot], &area);
			flag = flag && strchr(flag, ',') ? strchr(flag, ',') + 1 : flag;
		}
		for (int d = 0; d < DIMENSIONS; d++)
			empty |= !area.of[d].count;
		if (!empty)
			areas_add(import, &areas, &area);
	}
	rule_among(import, reading->rule, reading->family, &areas, negated);
	if (!areas.count && !negated)
		rule_fate(import, reading->rule, FATE_NO_EFFECT, "set %s has no members of this family", name);
}

static void set_recent(struct reading *reading, const char *option, bool negated)
{
	struct heard *heard = &reading->heard;
	unsigned long value;
	if (!strcmp(option, "--set"))
		heard->recent_set = true;
	else if (!strcmp(option, "--rcheck") || !strcmp(option, "--update"))
		heard->recent_check = true;
	else if (!strcmp(option, "--seconds") && number(take(&reading->words), &value))
		heard->recent_seconds = value;
	else if (!strcmp(option, "--hitcount") && number(take(&reading->words), &value))
		heard->recent_hits = value;
	else if (!strcmp(option, "--name") || !strcmp(option, "--mask"))
		take(&reading->words);
	else if (strcmp(option, "--rsource"))
		rule_doubt(reading->import, reading->rule, "match recent %s cannot be said", option);
	heard->recent_negated |= negated;
}

static void set_quota(struct reading *reading, const char *option, bool negated)
{
	struct heard *heard = &reading->heard;
	const char *value = take(&reading->words);
	unsigned long count = 0;
	bool numeric = number(value, &count);
	if (!strcmp(option, "--limit") || !strcmp(option, "--hashlimit") || !strcmp(option, "--hashlimit-upto") ||
		!strcmp(option, "--hashlimit-above")) {
		set_rate(reading, value);
		heard->hashlimit_over = (!strcmp(option, "--hashlimit-above")) != negated;
	} else if ((!strcmp(option, "--limit-burst") || !strcmp(option, "--hashlimit-burst")) && numeric)
		heard->burst = count;
	else if ((!strcmp(option, "--connlimit-above") || !strcmp(option, "--connlimit-upto")) && numeric) {
		heard->count = count;
		heard->connlimit_over = (!strcmp(option, "--connlimit-above")) != negated;
	} else if (!strcmp(option, "--hashlimit-mode"))
		heard->hashlimit_mode = value;
	else if ((!strcmp(option, "--hashlimit-srcmask") || !strcmp(option, "--connlimit-mask")) && numeric) {
		heard->mask = count;
		heard->has_mask = true;
	} else if (strcmp(option, "--hashlimit-name") && strncmp(option, "--hashlimit-htable-", 19) &&
		   strcmp(option, "--hashlimit-dstmask"))
		heard->rate_strange = true;
}

/* Is there any traffic in it whose packets can be the first of a connection? */
static bool starts_connection(struct intervals traffic)
{
	for (size_t i = 0; i < traffic.count; i++) {
		if (traffic.at[i].first < TRAFFIC(PROTOCOL_ICMPV6, 0) || traffic.at[i].last > TRAFFIC(PROTOCOL_ICMPV6, 255))
			return true;
		for (u128 type = traffic.at[i].first; type <= traffic.at[i].last; type++)
			if (icmp_type_starts(true, (unsigned)(type % SERVICES)))
				return true;
	}
	return false;
}

void match_option(struct reading *reading, const char *option, bool negated)
{
	struct words *words = &reading->words;
	const char *module = reading->module ? reading->module : "";
	struct foreign_rule *rule = reading->rule;
	if (!strncmp(option, "--limit", 7) || !strncmp(option, "--hashlimit", 11) || !strncmp(option, "--connlimit-a", 13) ||
		!strncmp(option, "--connlimit-u", 13) || !strncmp(option, "--connlimit-m", 13))
		set_quota(reading, option, negated);
	else if (!strcmp(option, "--connlimit-saddr") || !strcmp(option, "--connlimit-daddr"))
		reading->heard.destination |= option[12] == 'd';
	else if (!strcmp(module, "recent"))
		set_recent(reading, option, negated);
	else if (!strcmp(module, "owner"))
		set_owner(reading, option, negated);
	else if (!strcmp(module, "addrtype"))
		set_address_type(reading, option, negated);
	else if (!strcmp(option, "--dport") || !strcmp(option, "--dports") || !strcmp(option, "--destination-port") ||
		 !strcmp(option, "--destination-ports"))
		set_ports(reading, take(words), false, true, negated);
	else if (!strcmp(option, "--sport") || !strcmp(option, "--sports") || !strcmp(option, "--source-port") ||
		 !strcmp(option, "--source-ports"))
		set_ports(reading, take(words), true, false, negated);
	else if (!strcmp(option, "--ports") || !strcmp(option, "--port"))
		set_ports(reading, take(words), true, true, negated);
	else if (!strcmp(option, "--icmp-type") || !strcmp(option, "--icmpv6-type"))
		set_icmp(reading, take(words), negated);
	else if (!strcmp(option, "--ctstate") || !strcmp(option, "--state"))
		set_states(reading, take(words), negated);
	else if (!strcmp(option, "--ctdir")) {
		const char *way = take(words);
		if (way && (!strcmp(way, "REPLY")) != negated) /* what starts a connection goes the original way */
			rule_states(reading->import, rule, STATE_ESTABLISHED | STATE_RELATED);
	} else if (!strcmp(option, "--syn"))
		set_flags(reading, flag_bits("FIN,SYN,RST,ACK"), flag_bits("SYN"), negated);
	else if (!strcmp(option, "--tcp-flags")) {
		unsigned mask = flag_bits(take(words));
		set_flags(reading, mask, flag_bits(take(words)), negated);
	} else if (!strcmp(option, "--comment"))
		rule->reason = take(words);
	else if (!strcmp(option, "--src-range"))
		set_range(reading, DIM_SOURCE, negated);
	else if (!strcmp(option, "--dst-range"))
		set_range(reading, DIM_DESTINATION, negated);
	else if (!strcmp(option, "--match-set")) {
		const char *name = take(words);
		set_members(reading, name ? name : "(missing)", take(words), negated);
	} else if (!strcmp(option, "--hl-eq")) {
		const char *value = take(words);
		/* The kernel takes neighbour discovery with no other hop limit than 255 (RFC 4861, section 6.1, 7.1). */
		struct intervals discovery =
			set_single(reading->import, TRAFFIC(PROTOCOL_ICMPV6, 133), TRAFFIC(PROTOCOL_ICMPV6, 137));
		const struct areas *areas = &rule->match[FAMILY_IPV6];
		bool starts = false;
		for (size_t i = 0; i < areas->count; i++)
			starts |= starts_connection(areas->at[i].of[DIM_TRAFFIC]);
		if (areas->count && !starts) {
			rule_never(rule);
			rule_fate(reading->import, rule, FATE_NO_EFFECT, "packets of this ICMPv6 type start no connection");
		}
		for (size_t i = 0; i < areas->count; i++)
			if (negated || !value || strcmp(value, "255") ||
				!intervals_cover(discovery, areas->at[i].of[DIM_TRAFFIC]))
				rule_doubt(reading->import, rule, "a hop limit cannot be said");
	} else if (strcmp(option, "--return-nomatch")) {
		if (*module && AMONG(module, known_modules))
			rule_doubt(reading->import, rule, "%s of match %s cannot be said", option, module);
		else if (!*module)
			rule_doubt(reading->import, rule, "%s cannot be said", option);
		skip_values(words);
	}
}

void target_option(struct reading *reading, const char *option, bool negated)
{
	struct foreign_rule *rule = reading->rule;
	const char *value = reading->words.next < reading->words.count ? reading->words.at[reading->words.next] : NULL;
	(void)negated;
	if (!strcmp(option, "--log-prefix") || !strcmp(option, "--nflog-prefix") || !strcmp(option, "--ulog-prefix"))
		rule->log_text = value;
	else if (!strcmp(option, "--reject-with") && value)
		rule_differs(reading->import, rule,
			import_text(reading->import,
				"answers as portpolicy's reject does (a TCP reset, or administratively prohibited), not with %s",
				value));
	else if (!strncmp(option, "--comment", 9) || !strcmp(option, "--ctstate"))
		rule_doubt(reading->import, rule, "%s behind the target", option);
	if (value && strcmp(option, "--log-prefix") && strcmp(option, "--nflog-prefix"))
		skip_values(&reading->words);
	else
		take(&reading->words);
}

void target_unknown(struct reading *reading, const char *name)
{
	static const char *const passing[] = {"MARK", "CONNMARK", "SET", "TCPMSS", "CLASSIFY", "TRACE", "AUDIT", "DSCP", "TOS",
		"ECN", "SECMARK", "CONNSECMARK", "HL", "TTL", "RATEEST", "NOTRACK", "CT", "CHECKSUM", "IDLETIMER", "LED", "TEE",
		"TCPOPTSTRIP", "HMARK"};
	struct foreign_rule *rule = reading->rule;
	if (AMONG(name, passing)) {
		rule_fate(reading->import, rule, FATE_UNTRANSLATED,
			"target %s has no counterpart; the packet goes on to the next rule", name);
		return;
	}
	rule->verdict = FV_DROP;
	rule_doubt(reading->import, rule, "target %s decides by what is not in the ruleset", name);
}

/* One rate or number, or the doubt where it is not a policy's. */
static void settle_quota(struct reading *reading, struct quota quota, unsigned long host_mask)
{
	struct heard *heard = &reading->heard;
	struct foreign_rule *rule = reading->rule;
	if (rule->quota.kind != QUOTA_NONE) {
		rule_doubt(reading->import, rule, "two limits on one rule");
		return;
	}
	if (quota.per_source && reading->family == FAMILY_IPV6 && host_mask == 128)
		rule_differs(reading->import, rule, "counts by /64 of the source, not by address");
	else if (quota.per_source && host_mask != (reading->family == FAMILY_IPV4 ? 32 : 64))
		rule_doubt(reading->import, rule, "a limit for each source network /%lu cannot be said", host_mask);
	if (heard->rate_strange || (quota.kind == QUOTA_RATE && !quota.unit))
		rule_doubt(reading->import, rule, "this kind of limit cannot be said");
	rule->quota = quota;
}

static bool single(struct intervals set)
{
	return set.count == 1 && set.at[0].first == set.at[0].last;
}

/* By source, where what else it tells apart is one value in this rule anyway. */
static bool by_source(const struct reading *reading, const char *mode)
{
	const struct areas *areas = &reading->rule->match[reading->family];
	if (!mode || !strstr(mode, "srcip") || strstr(mode, "srcport"))
		return false;
	if (strstr(mode, "dstport") && (areas->count != 1 || !single(areas->at[0].of[DIM_TRAFFIC])))
		return false;
	return !strstr(mode, "dstip") || (areas->count == 1 && single(areas->at[0].of[DIM_DESTINATION]));
}

static void settle_recent(struct reading *reading)
{
	struct heard *heard = &reading->heard;
	struct foreign_rule *rule = reading->rule;
	struct import *import = reading->import;
	if (!heard->recent_check) {
		if (heard->recent_negated) /* --set always matches */
			rule_never(rule);
		return;
	}
	uint64_t most = heard->recent_hits - 1, rest = most / 2;
	if (heard->recent_negated || heard->recent_hits < 2 || !heard->recent_seconds || rule->quota.kind != QUOTA_NONE) {
		rule_doubt(import, rule, "which sources match recent remembers is not in the ruleset");
		return;
	}
	if (!rest)
		rest = 1;
	static const struct {
		const char *name;
		uint64_t seconds;
	} units[] = {{"minute", 60}, {"hour", 3600}, {"day", 86400}};
	int u = 0;
	while (u < 2 && rest * units[u].seconds < heard->recent_seconds)
		u++;
	uint64_t count = rest * units[u].seconds / heard->recent_seconds;
	rule->quota = (struct quota){.kind = QUOTA_RATE,
		.over = true,
		.count = count ? count : 1,
		.burst = most - most / 2,
		.unit = units[u].name,
		.per_source = true};
	rule_differs(reading->import, rule,
		import_text(import, "match recent (%lu times in %lu seconds) is said as a rate: a burst of %llu, then %llu/%s",
			heard->recent_hits, heard->recent_seconds, (unsigned long long)rule->quota.burst,
			(unsigned long long)rule->quota.count, rule->quota.unit));
}

void matches_end(struct reading *reading)
{
	struct heard *heard = &reading->heard;
	struct foreign_rule *rule = reading->rule;
	unsigned long host_mask = heard->has_mask ? heard->mask : reading->family == FAMILY_IPV4 ? 32 : 128;
	uint64_t burst = heard->burst ? heard->burst : 5; /* the default of both extensions */
	if (heard->recent_set || heard->recent_check)
		settle_recent(reading);
	if (heard->limit)
		settle_quota(reading,
			(struct quota){.kind = QUOTA_RATE, .count = heard->count, .burst = burst, .unit = heard->unit}, 0);
	if (heard->hashlimit) {
		bool source = by_source(reading, heard->hashlimit_mode);
		if (heard->hashlimit_mode && !source)
			rule_doubt(reading->import, rule, "a limit for each %s cannot be said", heard->hashlimit_mode);
		settle_quota(reading,
			(struct quota){.kind = QUOTA_RATE,
				.over = heard->hashlimit_over,
				.count = heard->count,
				.burst = burst,
				.unit = heard->unit,
				.per_source = source},
			host_mask);
	}
	if (heard->connlimit) {
		if (heard->destination)
			rule_doubt(reading->import, rule, "connections are counted by source");
		settle_quota(reading,
			(struct quota){.kind = QUOTA_CONNECTIONS,
				.over = heard->connlimit_over,
				.count = heard->count,
				.per_source = !(heard->has_mask && !heard->mask)},
			host_mask);
	}
	if (heard->tcp_flags_odd && rule->verdict == FV_ACCEPT && !rule->differs)
		rule_differs(reading->import, rule, heard->tcp_flags_odd);
}
