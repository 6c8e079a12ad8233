/*
 * Does the host still find its neighbours and its address?
 *
 * The language lets nothing through by itself: neighbour discovery and DHCP are ordinary packets that ordinary rules allow, most
 * often those of <essentials>. Without them a host goes dark minutes after the policy came into force, when a
 * neighbour entry or a lease runs out. So the whole policy is asked: of each kind of packet that these protocols live
 * from, may any pass? That some are denied (on one interface, from one network) may well be meant, and is no cause to warn.
 */
#include "portpolicy/analysis.h"
#include <errno.h>
#include <talloc.h>

struct range {
	u128 first, last;
};

#define IPV6(high, low) (((u128)(high) << 64) | (low))
#define ALL_IPV4 {0, 0xffffffff}
#define ALL_IPV6 {0, U128_MAX}
#define UNSPECIFIED {0, 0}
#define LINK_LOCAL {IPV6(0xfe80000000000000, 0), IPV6(0xfebfffffffffffff, 0xffffffffffffffff)}
#define ALL_NODES {IPV6(0xff02000000000000, 1), IPV6(0xff02000000000000, 1)}
#define ALL_ROUTERS {IPV6(0xff02000000000000, 2), IPV6(0xff02000000000000, 2)}
#define SOLICITED {IPV6(0xff02000000000000, 0x1ff000000), IPV6(0xff02000000000000, 0x1ffffffff)}
#define DHCP_SERVERS {IPV6(0xff02000000000000, 0x10002), IPV6(0xff02000000000000, 0x10002)}
#define BROADCAST {0xffffffff, 0xffffffff}
#define NOT_LOOPBACK_OUT {IPV6(0, 2), U128_MAX}

enum protocol_group { NEIGHBOURS, ROUTERS, DHCP4, DHCP6 };
#define GROUPS 4

struct probe {
	enum protocol_group group;
	enum direction direction;
	enum family family;
	unsigned icmpv6_type;                    /* or 0: UDP from and to these ports */
	unsigned source_port, destination_port;
	struct range from, to;
	const char *what;
};

static const struct probe probes[] = {
	{NEIGHBOURS, DIRECTION_OUT, FAMILY_IPV6, 135, 0, 0, LINK_LOCAL, SOLICITED, "neighbour solicitations to its neighbours"},
	{NEIGHBOURS, DIRECTION_OUT, FAMILY_IPV6, 135, 0, 0, UNSPECIFIED, SOLICITED, "neighbour solicitations from ::, which find out whether its own address is free"},
	{NEIGHBOURS, DIRECTION_OUT, FAMILY_IPV6, 136, 0, 0, LINK_LOCAL, NOT_LOOPBACK_OUT, "neighbour advertisements to its neighbours"},
	{NEIGHBOURS, DIRECTION_IN, FAMILY_IPV6, 135, 0, 0, LINK_LOCAL, SOLICITED, "neighbour solicitations of its neighbours"},
	{NEIGHBOURS, DIRECTION_IN, FAMILY_IPV6, 135, 0, 0, UNSPECIFIED, SOLICITED, "neighbour solicitations from ::, by which others find out whether their address is free"},
	{NEIGHBOURS, DIRECTION_IN, FAMILY_IPV6, 136, 0, 0, LINK_LOCAL, ALL_IPV6, "neighbour advertisements of its neighbours"},
	{ROUTERS, DIRECTION_OUT, FAMILY_IPV6, 133, 0, 0, LINK_LOCAL, ALL_ROUTERS, "router solicitations"},
	{ROUTERS, DIRECTION_OUT, FAMILY_IPV6, 133, 0, 0, UNSPECIFIED, ALL_ROUTERS, "router solicitations from ::"},
	{ROUTERS, DIRECTION_IN, FAMILY_IPV6, 134, 0, 0, LINK_LOCAL, ALL_NODES, "router advertisements"},
	{DHCP4, DIRECTION_OUT, FAMILY_IPV4, 0, 68, 67, UNSPECIFIED, BROADCAST, "DHCP requests"},
	{DHCP4, DIRECTION_IN, FAMILY_IPV4, 0, 67, 68, ALL_IPV4, ALL_IPV4, "DHCP answers"},
	{DHCP6, DIRECTION_OUT, FAMILY_IPV6, 0, 546, 547, LINK_LOCAL, DHCP_SERVERS, "DHCPv6 requests"},
	{DHCP6, DIRECTION_IN, FAMILY_IPV6, 0, 547, 546, LINK_LOCAL, LINK_LOCAL, "DHCPv6 answers"},
};
#define PROBES (sizeof probes / sizeof *probes)

static int make_addresses(void *ctx, enum family family, struct range range, struct addresses *out)
{
	struct address_term *term = talloc_zero(ctx, struct address_term);
	if (!term)
		return -ENOMEM;
	*out = (struct addresses){.terms = term, .count = 1};
	return intervals_single(ctx, range.first, range.last, &term->of[family]);
}

static int make_match(void *ctx, const struct probe *probe, struct match *match)
{
	*match = (struct match){.direction = probe->direction, .arriving.any = true, .leaving.any = true, .by.any = true};
	int error = make_addresses(ctx, probe->family, probe->from, &match->from);
	if (!error)
		error = make_addresses(ctx, probe->family, probe->to, &match->to);
	if (!error && probe->icmpv6_type)
		error = intervals_single(ctx, probe->icmpv6_type, probe->icmpv6_type, &match->traffic.icmpv6);
	if (!error && !probe->icmpv6_type)
		error = intervals_single(ctx, probe->destination_port, probe->destination_port, &match->traffic.udp);
	if (!error && !probe->icmpv6_type)
		error = intervals_single(ctx, probe->source_port, probe->source_port, &match->source_ports);
	else if (!error)
		error = intervals_single(ctx, 0, 65535, &match->source_ports);
	match->source_port_named = !probe->icmpv6_type;
	return error;
}

/* Would it pass if no rule denied it? */
static bool allowed_but(const struct policy *policy, const struct match *match)
{
	bool allowed = policy->directions[match->direction].action == ACTION_ALLOW;
	for (size_t i = 0; i < policy->rule_count && !allowed; i++)
		allowed = policy->rules[i].action == ACTION_ALLOW && !match_disjoint(&policy->rules[i].match, match);
	return allowed;
}

/* 1: no packet of this kind passes (*rule: the one that stops what would, or NULL); 0: some do, or it is not known; -ENOMEM. */
static int stopped_at(void *ctx, const struct policy *policy, const struct decision *decision, const struct probe *probe, const struct rule **rule)
{
	struct match match;
	struct answer answers[4];
	size_t count = 0;
	int outcome = make_match(ctx, probe, &match);
	if (!outcome)
		outcome = decide(ctx, decision, &match, BUDGET_DEFAULT, answers, &count);
	if (outcome || !count)
		return outcome < 0 ? outcome : 0;
	for (size_t i = 0; i < count; i++)
		if (answers[i].verdict == VERDICT_ALLOW || answers[i].verdict == VERDICT_UNMANAGED)
			return 0;
	*rule = answers[0].because.kind == BECAUSE_RULE && allowed_but(policy, &match) ? answers[0].because.rule : NULL;
	return 1;
}

static const char *group_fails(enum protocol_group group)
{
	switch (group) {
	case NEIGHBOURS: return "IPv6 will stop working: this host's neighbour discovery is blocked";
	case ROUTERS: return "IPv6 autoconfiguration will stop working: router discovery is blocked";
	case DHCP4: return "DHCP will stop working";
	case DHCP6: return "DHCPv6 will stop working";
	}
	return "";
}

static const char *group_word(enum protocol_group group)
{
	switch (group) {
	case NEIGHBOURS:
		return "neighbour discovery";
	case ROUTERS:
		return "router discovery";
	case DHCP4:
		return "DHCP";
	case DHCP6:
		return "DHCPv6";
	}
	return "";
}

/* What stops packets: a rule, or the defaults, and what of these protocols it stops. */
struct stop {
	const struct rule *rule;
	struct span span;
	const struct probe *first;
	bool groups[GROUPS], directions[DIRECTIONS];
};

struct stops {
	struct stop at[PROBES];
	size_t count;
};

static void add_stop(const struct policy *policy, const struct probe *probe, const struct rule *rule, struct stops *stops)
{
	size_t i = 0;
	while (i < stops->count && stops->at[i].rule != rule)
		i++;
	struct stop *stop = &stops->at[i];
	if (i == stops->count) {
		*stop = (struct stop){.rule = rule, .span = rule ? rule->span : policy->directions[probe->direction].span, .first = probe};
		stops->count++;
	}
	stop->groups[probe->group] = stop->directions[probe->direction] = true;
}

static char *stopped_groups(void *ctx, const struct stop *stop, size_t count)
{
	char *text = talloc_strdup(ctx, "");
	size_t told = 0;
	for (enum protocol_group group = 0; group < GROUPS && text; group++)
		if (stop->groups[group]) {
			text = talloc_asprintf_append_buffer(text, "%s%s", !told ? "" : told + 1 == count ? " and " : ", ", group_word(group));
			told++;
		}
	return text;
}

/* One message for all that one thing stops. */
static int warn(void *ctx, const struct stop *stop, struct diagnostics *diagnostics)
{
	size_t count = 0;
	struct diagnostic *one;
	for (int group = 0; group < GROUPS; group++)
		count += stop->groups[group];
	char *groups = stopped_groups(ctx, stop, count);
	if (!groups)
		return -ENOMEM;
	if (count == 1)
		one = report_warning(diagnostics, "W101", stop->span, "%s: %s may not %s", group_fails(stop->first->group), stop->first->what,
			stop->first->direction == DIRECTION_IN ? "arrive" : "leave");
	else
		one = report_warning(diagnostics, "W101", stop->span, "this host will lose its network: %s are blocked%s", groups,
			!stop->directions[DIRECTION_IN]	   ? " on the way out"
			: !stop->directions[DIRECTION_OUT] ? " on the way in"
							   : "");
	diagnostic_hint(diagnostics, one, stop->rule ? "narrow this rule" : "include <essentials>");
	return 0;
}

/* Of a protocol and direction the first probe that fails stands for the others. */
static int find_stops(void *ctx, const struct policy *policy, const struct decision *decision, struct stops *stops)
{
	bool told[GROUPS][DIRECTIONS] = {0};
	for (size_t i = 0; i < PROBES; i++) {
		const struct probe *probe = &probes[i];
		const struct rule *rule;
		if (told[probe->group][probe->direction] || !policy->directions[probe->direction].managed)
			continue;
		void *scratch = talloc_new(ctx);
		int outcome = scratch ? stopped_at(scratch, policy, decision, probe, &rule) : -ENOMEM;
		talloc_free(scratch);
		if (outcome < 0)
			return outcome;
		if (outcome == 1)
			add_stop(policy, probe, rule, stops);
		told[probe->group][probe->direction] = outcome == 1;
	}
	return 0;
}

int analyse_reachability(void *ctx, const struct policy *policy, const struct decision *decision, struct diagnostics *diagnostics)
{
	struct stops stops = {.count = 0};
	int error = find_stops(ctx, policy, decision, &stops);
	for (size_t i = 0; i < stops.count && !error; i++)
		error = warn(ctx, &stops.at[i], diagnostics);
	return error;
}
