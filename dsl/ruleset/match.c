/*
 * The ways to match: a match is a conjunction of clauses, some of them unions, and an nft rule is a conjunction of tests.
 *
 * Where one look-up can hold a union it does; where none can (several protocols with ports of their own, patterns of
 * interface names, users or groups) the ways multiply. A packet that matches in two ways is decided by the first; where the
 * ending may let it go on, the ways stand in a chain of their own and leave it together.
 */
#include "dsl/ruleset/lowering.h"
#include <errno.h>
#include <string.h>
#include <talloc.h>

static const struct interval port_range[] = {{0, 65535}}, type_range[] = {{0, 255}}, v4_range[] = {{0, 0xffffffff}},
			     v6_range[] = {{0, U128_MAX}};
#define ONE(array) ((struct intervals){array, 1})
#define PREFIXES_MAX 8 /* of interfaces behind `except` in one rule; more are tested in a chain */

/* A part of the ways, to be multiplied with the others. */
struct part {
	struct phrase *at;
	size_t count;
};

static struct phrase *part_add(struct lowering *lowering, struct part *part)
{
	struct phrase *more = talloc_realloc(lowering->work, part->at, struct phrase, part->count + 1);
	if (!more)
		return NULL;
	part->at = more;
	more[part->count] = (struct phrase){0};
	return &more[part->count++];
}

static int multiply(struct lowering *lowering, struct part *left, const struct part *right)
{
	struct part product = {0};
	for (size_t i = 0; i < left->count; i++)
		for (size_t k = 0; k < right->count; k++) {
			struct phrase *phrase = part_add(lowering, &product);
			if (!phrase)
				return -ENOMEM;
			*phrase = left->at[i];
			for (size_t s = 0; s < right->at[k].count; s++)
				say(phrase, right->at[k].steps[s]);
		}
	talloc_free(left->at);
	*left = product;
	return 0;
}

/* One packet's traffic in one family: numbers that match whole, and protocols that match by what stands behind the slash. */
static bool full_ports(const struct rule *rule, struct intervals ports)
{
	return intervals_equal(ports, ONE(port_range)) && intervals_equal(rule->match.source_ports, ONE(port_range));
}

static int whole_protocols(struct lowering *lowering, const struct rule *rule, enum family family, struct intervals *out)
{
	const struct traffic *traffic = &rule->match.traffic;
	unsigned own = family == FAMILY_IPV4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6;
	struct interval list[4];
	struct intervals own_set, named;
	size_t count = 0;
	if (full_ports(rule, traffic->tcp))
		list[count++] = (struct interval){PROTOCOL_TCP, PROTOCOL_TCP};
	if (full_ports(rule, traffic->udp))
		list[count++] = (struct interval){PROTOCOL_UDP, PROTOCOL_UDP};
	if (full_ports(rule, traffic->sctp))
		list[count++] = (struct interval){PROTOCOL_SCTP, PROTOCOL_SCTP};
	if (intervals_equal(family == FAMILY_IPV4 ? traffic->icmp : traffic->icmpv6, ONE(type_range)))
		list[count++] = (struct interval){own, own};
	int error = intervals_from(lowering->ctx, list, count, &named);
	error = error ? error : intervals_single(lowering->ctx, own, own, &own_set);
	error = error ? error : intervals_subtract(lowering->ctx, traffic->others, own_set, out);
	return error ? error : intervals_union(lowering->ctx, *out, named, out);
}

static int add_whole(struct lowering *lowering, const struct rule *rule, struct part *part, struct intervals protocols)
{
	if (!protocols.count)
		return 0;
	struct phrase *phrase = part_add(lowering, part);
	return phrase ? say_set(lowering, phrase, "protocols", KEY_L4PROTO, protocols, ONE(type_range), &rule->span) : -ENOMEM;
}

static int add_ports(
	struct lowering *lowering, const struct rule *rule, struct part *part, struct intervals protocols, struct intervals ports)
{
	struct phrase *phrase = part_add(lowering, part);
	if (!phrase)
		return -ENOMEM;
	int error = say_set(lowering, phrase, "protocols", KEY_L4PROTO, protocols, ONE(type_range), &rule->span);
	error = error ? error : say_set(lowering, phrase, "ports", KEY_TH_DPORT, ports, ONE(port_range), &rule->span);
	return error ? error
		     : say_set(lowering, phrase, "ports", KEY_TH_SPORT, rule->match.source_ports, ONE(port_range), &rule->span);
}

/* TCP, UDP and SCTP with the same ports are one way. */
static int add_port_protocols(struct lowering *lowering, const struct rule *rule, struct part *part)
{
	const struct traffic *traffic = &rule->match.traffic;
	const struct intervals sets[] = {traffic->tcp, traffic->udp, traffic->sctp};
	static const unsigned numbers[] = {PROTOCOL_TCP, PROTOCOL_UDP, PROTOCOL_SCTP};
	bool done[3] = {false};
	for (int i = 0; i < 3; i++) {
		struct interval list[3];
		struct intervals protocols;
		size_t count = 0;
		for (int k = i; k < 3; k++)
			if (!done[k] && sets[k].count && !full_ports(rule, sets[k]) && intervals_equal(sets[i], sets[k])) {
				list[count++] = (struct interval){numbers[k], numbers[k]};
				done[k] = true;
			}
		if (!count)
			continue;
		int error = intervals_from(lowering->ctx, list, count, &protocols);
		error = error ? error : add_ports(lowering, rule, part, protocols, sets[i]);
		if (error)
			return error;
	}
	return 0;
}

static int add_types(struct lowering *lowering, const struct rule *rule, enum family family, struct part *part)
{
	bool v4 = family == FAMILY_IPV4;
	struct intervals types = v4 ? rule->match.traffic.icmp : rule->match.traffic.icmpv6;
	if (!types.count || intervals_equal(types, ONE(type_range)))
		return 0;
	struct phrase *phrase = part_add(lowering, part);
	if (!phrase)
		return -ENOMEM;
	say_value(phrase, KEY_L4PROTO, v4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6);
	return say_set(lowering, phrase, "types", v4 ? KEY_ICMP_TYPE : KEY_ICMPV6_TYPE, types, ONE(type_range), &rule->span);
}

static int traffic_part(struct lowering *lowering, const struct rule *rule, enum family family, struct part *out)
{
	struct intervals whole;
	int error = whole_protocols(lowering, rule, family, &whole);
	error = error ? error : add_whole(lowering, rule, out, whole);
	error = error ? error : add_port_protocols(lowering, rule, out);
	return error ? error : add_types(lowering, rule, family, out);
}

/* A prefix as long as a name can be is a name. */
static bool is_prefix(const struct interface_pattern *pattern)
{
	return pattern->prefix && strlen(pattern->name) < INTERFACE_NAME_MAX;
}

static int say_exact(struct lowering *lowering, struct phrase *phrase, const struct rule *rule, enum key key,
	const struct interface_pattern *patterns, size_t count, bool negated)
{
	struct interval *list = talloc_array(lowering->ctx, struct interval, count + 1);
	struct intervals names;
	size_t exact = 0;
	const char *set;
	for (size_t i = 0; i < count && list; i++)
		if (!is_prefix(&patterns[i]))
			list[exact++] = (struct interval){interface_number(patterns[i].name), interface_number(patterns[i].name)};
	if (!list || intervals_from(lowering->ctx, list, exact, &names))
		return -ENOMEM;
	if (exact == 1)
		say(phrase, (struct step){.kind = STEP_COMPARE,
				    .keys = {key},
				    .key_count = 1,
				    .first = names.at[0].first,
				    .negated = negated});
	else if (exact > 1 && set_values(lowering, "interfaces", key, names, &rule->span, &set))
		return -ENOMEM;
	else if (exact > 1)
		say(phrase, (struct step){.kind = STEP_LOOKUP, .keys = {key}, .key_count = 1, .object = set, .negated = negated});
	return 0;
}

static struct step prefix_step(enum key key, const struct interface_pattern *pattern, bool negated)
{
	return (struct step){.kind = STEP_PREFIX,
		.keys = {key},
		.key_count = 1,
		.first = interface_number(pattern->name),
		.length = (unsigned)strlen(pattern->name),
		.negated = negated};
}

static size_t count_prefixes(const struct interface_pattern *patterns, size_t count)
{
	size_t prefixes = 0;
	for (size_t i = 0; i < count; i++)
		prefixes += is_prefix(&patterns[i]);
	return prefixes;
}

static int except_interfaces(struct lowering *lowering, const struct rule *rule, enum key key,
	const struct interfaces *interfaces, struct part *out, struct ways *ways)
{
	struct part except = {0};
	bool many = count_prefixes(interfaces->out, interfaces->out_count) > PREFIXES_MAX;
	struct phrase *phrase = part_add(lowering, &except);
	if (!phrase || say_exact(lowering, phrase, rule, key, interfaces->out, interfaces->out_count, true))
		return -ENOMEM;
	for (size_t i = 0; i < interfaces->out_count && !many; i++)
		if (is_prefix(&interfaces->out[i]))
			say(phrase, prefix_step(key, &interfaces->out[i], true));
	if (many)
		*(key == KEY_IIFNAME ? &ways->not_arriving : &ways->not_leaving) = interfaces;
	return multiply(lowering, out, &except);
}

static int interface_part(struct lowering *lowering, const struct rule *rule, enum key key, const struct interfaces *interfaces,
	struct part *out, struct ways *ways)
{
	struct part in = {0};
	bool exact = interfaces->any || count_prefixes(interfaces->in, interfaces->in_count) < interfaces->in_count;
	if (exact) {
		struct phrase *phrase = part_add(lowering, &in);
		if (!phrase || say_exact(lowering, phrase, rule, key, interfaces->in, interfaces->in_count, false))
			return -ENOMEM;
	}
	for (size_t i = 0; i < interfaces->in_count; i++) {
		if (!is_prefix(&interfaces->in[i]))
			continue;
		struct phrase *phrase = part_add(lowering, &in);
		if (!phrase)
			return -ENOMEM;
		say(phrase, prefix_step(key, &interfaces->in[i], false));
	}
	int error = multiply(lowering, out, &in);
	return error ? error : except_interfaces(lowering, rule, key, interfaces, out, ways);
}

static struct intervals address_set(struct addresses addresses, enum family family)
{
	return addresses.count ? addresses.terms[0].of[family] : (struct intervals){0};
}

/* One end's address in one family: each alternative of its test is a way. */
static int address_end(
	struct lowering *lowering, const struct rule *rule, enum key key, struct intervals values, struct part *out)
{
	bool v4 = key == KEY_IP_SADDR || key == KEY_IP_DADDR;
	struct address_test test;
	struct part part = {0};
	if (intervals_equal(values, v4 ? ONE(v4_range) : ONE(v6_range)))
		return 0;
	int error = address_test(lowering, rule, key, values, &test);
	for (size_t i = 0; !error && i < test.count; i++) {
		struct phrase *phrase = !i || !test.all ? part_add(lowering, &part) : part.at;
		if (phrase)
			say(phrase, test.alternatives[i]);
		error = phrase ? 0 : -ENOMEM;
	}
	return error ? error : multiply(lowering, out, &part);
}

static int address_part(struct lowering *lowering, const struct rule *rule, enum family family, struct part *out)
{
	bool v4 = family == FAMILY_IPV4;
	int error = address_end(
		lowering, rule, v4 ? KEY_IP_SADDR : KEY_IP6_SADDR, address_set(rule->match.from, family), out);
	return error ? error
		     : address_end(lowering, rule, v4 ? KEY_IP_DADDR : KEY_IP6_DADDR, address_set(rule->match.to, family), out);
}

/* Owner or group of the socket: in the set, or in it not; of a packet without one neither is true. */
static int say_subject(struct lowering *lowering, struct phrase *phrase, bool group, struct intervals set, bool negated,
	const struct span *origin)
{
	const struct intervals none = {0};
	if (!set.count)
		return 0;
	int error = say_set(lowering, phrase, group ? "groups" : "users", group ? KEY_SKGID : KEY_SKUID, set, none, origin);
	if (!error)
		phrase->steps[phrase->count - 1].negated = negated;
	return error;
}

static int except_subjects(
	struct lowering *lowering, const struct rule *rule, enum sender sender, struct part *out, struct ways *ways)
{
	const struct subjects *by = &rule->match.by;
	struct part part = {0};
	if (sender == SENDER_ANY) {
		ways->not_users = by->users;
		ways->not_groups = by->groups;
	}
	if (sender != SENDER_PROCESS)
		return 0;
	struct phrase *phrase = part_add(lowering, &part);
	int error = phrase ? say_subject(lowering, phrase, false, by->users, true, &rule->span) : -ENOMEM;
	error = error ? error : say_subject(lowering, phrase, true, by->groups, true, &rule->span);
	return error ? error : multiply(lowering, out, &part);
}

static int subject_part(
	struct lowering *lowering, const struct rule *rule, enum sender sender, struct part *out, struct ways *ways)
{
	const struct subjects *by = &rule->match.by;
	struct part part = {0};
	int error = 0;
	if (by->any)
		return 0;
	if (by->except)
		return except_subjects(lowering, rule, sender, out, ways);
	for (int i = 0; i < 2 && !error && sender != SENDER_KERNEL; i++) {
		struct intervals set = i ? by->groups : by->users;
		struct phrase *phrase = set.count ? part_add(lowering, &part) : NULL;
		if (set.count)
			error = phrase ? say_subject(lowering, phrase, i, set, false, &rule->span) : -ENOMEM;
	}
	return error ? error : multiply(lowering, out, &part);
}

/* Do the families differ in nothing but their number? Then one way does for both. */
static bool families_alike(const struct rule *rule, bool *alike_traffic)
{
	const struct traffic *traffic = &rule->match.traffic;
	bool whole = intervals_equal(traffic->icmp, ONE(type_range)) && intervals_equal(traffic->icmpv6, ONE(type_range)) &&
		     intervals_contain(traffic->others, PROTOCOL_ICMP) && intervals_contain(traffic->others, PROTOCOL_ICMPV6);
	bool none = !traffic->icmp.count && !traffic->icmpv6.count && !intervals_contain(traffic->others, PROTOCOL_ICMP) &&
		    !intervals_contain(traffic->others, PROTOCOL_ICMPV6);
	*alike_traffic = whole || none;
	return *alike_traffic && intervals_equal(address_set(rule->match.from, FAMILY_IPV4), ONE(v4_range)) &&
	       intervals_equal(address_set(rule->match.from, FAMILY_IPV6), ONE(v6_range)) &&
	       intervals_equal(address_set(rule->match.to, FAMILY_IPV4), ONE(v4_range)) &&
	       intervals_equal(address_set(rule->match.to, FAMILY_IPV6), ONE(v6_range));
}

static int family_ways(
	struct lowering *lowering, const struct rule *rule, enum family family, bool alike, struct view view, struct ways *ways)
{
	struct part all = {0}, traffic = {0};
	struct phrase *first = part_add(lowering, &all);
	if (!first)
		return -ENOMEM;
	if (!alike && (!address_set(rule->match.from, family).count || !address_set(rule->match.to, family).count))
		return 0;
	if (!alike)
		say_value(first, KEY_NFPROTO, family == FAMILY_IPV4 ? 2 : 10);
	int error = traffic_part(lowering, rule, family, &traffic);
	error = error ? error : multiply(lowering, &all, &traffic);
	if (!error && !view.loopback && rule->match.direction != DIRECTION_OUT)
		error = interface_part(lowering, rule, KEY_IIFNAME, &rule->match.arriving, &all, ways);
	if (!error && !view.loopback && rule->match.direction != DIRECTION_IN)
		error = interface_part(lowering, rule, KEY_OIFNAME, &rule->match.leaving, &all, ways);
	error = error ? error : alike ? 0 : address_part(lowering, rule, family, &all);
	error = error ? error : subject_part(lowering, rule, view.sender, &all, ways);
	struct phrase *more = error ? NULL : talloc_realloc(lowering->work, ways->at, struct phrase, ways->count + all.count + 1);
	if (!more)
		return error ? error : -ENOMEM;
	ways->at = more;
	if (all.count)
		memcpy(more + ways->count, all.at, all.count * sizeof *more);
	ways->count += all.count;
	return 0;
}

int match_ways(struct lowering *lowering, const struct rule *rule, struct view view, struct ways *out)
{
	bool alike_traffic, alike = families_alike(rule, &alike_traffic);
	*out = (struct ways){0};
	if (alike)
		return family_ways(lowering, rule, FAMILY_IPV4, true, view, out);
	int error = family_ways(lowering, rule, FAMILY_IPV4, false, view, out);
	return error ? error : family_ways(lowering, rule, FAMILY_IPV6, false, view, out);
}

static int add_exception(struct lowering *lowering, struct rules *rules, struct phrase *phrase)
{
	say_verdict(phrase, NFT_VERDICT_RETURN, NULL);
	return rules_add(lowering, rules, phrase);
}

static int except_prefixes(struct lowering *lowering, struct rules *rules, enum key key, const struct interfaces *interfaces)
{
	int error = 0;
	for (size_t i = 0; interfaces && i < interfaces->out_count && !error; i++) {
		struct phrase phrase = {0};
		if (!is_prefix(&interfaces->out[i]))
			continue;
		say(&phrase, prefix_step(key, &interfaces->out[i], false));
		error = add_exception(lowering, rules, &phrase);
	}
	return error;
}

/* A packet of no process breaks off a rule that asks for its user, so what must not be is asked first and returned from. */
static int except_chain(struct lowering *lowering, const struct rules *outer, const struct ways *ways,
	const struct phrase *ending, const char **name)
{
	struct rules rules = {.origin = outer->origin, .comment = outer->comment};
	int error = except_prefixes(lowering, &rules, KEY_IIFNAME, ways->not_arriving);
	error = error ? error : except_prefixes(lowering, &rules, KEY_OIFNAME, ways->not_leaving);
	for (int i = 0; i < 2 && !error; i++) {
		struct phrase phrase = {0};
		struct intervals set = i ? ways->not_groups : ways->not_users;
		if (!set.count)
			continue;
		error = say_subject(lowering, &phrase, i, set, false, outer->origin);
		error = error ? error : add_exception(lowering, &rules, &phrase);
	}
	error = error ? error : rules_add(lowering, &rules, ending);
	return error ? error : chain_add(lowering, "except", &rules, name);
}

int ways_rules(struct lowering *lowering, struct rules *rules, const struct ways *ways, const struct phrase *ending,
	enum nft_verdict enter)
{
	struct phrase end = *ending;
	const char *except;
	int error = 0;
	if (ways->not_users.count || ways->not_groups.count || ways->not_arriving || ways->not_leaving) {
		error = except_chain(lowering, rules, ways, ending, &except);
		end = (struct phrase){0};
		say_verdict(&end, enter, except);
	}
	for (size_t i = 0; i < ways->count && !error; i++) {
		struct phrase phrase = ways->at[i];
		for (size_t s = 0; s < end.count; s++)
			say(&phrase, end.steps[s]);
		error = rules_add(lowering, rules, &phrase);
	}
	return error;
}
