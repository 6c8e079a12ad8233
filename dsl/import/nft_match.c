/*
 * A match of nft: one key or several joined with dots, an operator, and what it is compared with.
 *
 * Each key narrows an area, and brings what it depends on: `tcp dport` is about TCP, `ip saddr` about IPv4. With a negation
 * the dependency stays and the value is turned round.
 */
#include "dsl/import/nft.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <talloc.h>

enum key_kind {
	KEY_ARRIVING,
	KEY_LEAVING,
	KEY_PROTOCOL,
	KEY_FAMILY,
	KEY_ADDRESS,
	KEY_PORT,
	KEY_TYPE,
	KEY_STATE,
	KEY_OWNER,
	KEY_LOCAL
};
struct key {
	const char *words[2]; /* as nft lists it */
	enum key_kind kind;
	enum dimension dimension;
	int family;   /* it is of this one only; -1: of both */
	int protocol; /* of this one only; -1: of any */
};

static const struct key keys[] = {
	{{"iifname"}, KEY_ARRIVING, DIM_ARRIVING, -1, -1},
	{{"oifname"}, KEY_LEAVING, DIM_LEAVING, -1, -1},
	{{"iif"}, KEY_ARRIVING, DIM_ARRIVING, -1, -1},
	{{"oif"}, KEY_LEAVING, DIM_LEAVING, -1, -1},
	{{"meta", "iifname"}, KEY_ARRIVING, DIM_ARRIVING, -1, -1},
	{{"meta", "oifname"}, KEY_LEAVING, DIM_LEAVING, -1, -1},
	{{"meta", "iif"}, KEY_ARRIVING, DIM_ARRIVING, -1, -1},
	{{"meta", "oif"}, KEY_LEAVING, DIM_LEAVING, -1, -1},
	{{"meta", "l4proto"}, KEY_PROTOCOL, DIM_TRAFFIC, -1, -1},
	{{"ip", "protocol"}, KEY_PROTOCOL, DIM_TRAFFIC, FAMILY_IPV4, -1},
	{{"ip6", "nexthdr"}, KEY_PROTOCOL, DIM_TRAFFIC, FAMILY_IPV6, -1},
	{{"meta", "nfproto"}, KEY_FAMILY, DIM_TRAFFIC, -1, -1},
	{{"meta", "protocol"}, KEY_FAMILY, DIM_TRAFFIC, -1, -1},
	{{"ip", "saddr"}, KEY_ADDRESS, DIM_SOURCE, FAMILY_IPV4, -1},
	{{"ip", "daddr"}, KEY_ADDRESS, DIM_DESTINATION, FAMILY_IPV4, -1},
	{{"ip6", "saddr"}, KEY_ADDRESS, DIM_SOURCE, FAMILY_IPV6, -1},
	{{"ip6", "daddr"}, KEY_ADDRESS, DIM_DESTINATION, FAMILY_IPV6, -1},
	{{"tcp", "sport"}, KEY_PORT, DIM_SOURCE_PORT, -1, PROTOCOL_TCP},
	{{"tcp", "dport"}, KEY_PORT, DIM_TRAFFIC, -1, PROTOCOL_TCP},
	{{"udp", "sport"}, KEY_PORT, DIM_SOURCE_PORT, -1, PROTOCOL_UDP},
	{{"udp", "dport"}, KEY_PORT, DIM_TRAFFIC, -1, PROTOCOL_UDP},
	{{"sctp", "sport"}, KEY_PORT, DIM_SOURCE_PORT, -1, PROTOCOL_SCTP},
	{{"sctp", "dport"}, KEY_PORT, DIM_TRAFFIC, -1, PROTOCOL_SCTP},
	{{"th", "sport"}, KEY_PORT, DIM_SOURCE_PORT, -1, -1},
	{{"th", "dport"}, KEY_PORT, DIM_TRAFFIC, -1, -1},
	{{"icmp", "type"}, KEY_TYPE, DIM_TRAFFIC, FAMILY_IPV4, PROTOCOL_ICMP},
	{{"icmpv6", "type"}, KEY_TYPE, DIM_TRAFFIC, FAMILY_IPV6, PROTOCOL_ICMPV6},
	{{"ct", "state"}, KEY_STATE, DIM_TRAFFIC, -1, -1},
	{{"meta", "skuid"}, KEY_OWNER, DIM_USER, -1, -1},
	{{"meta", "skgid"}, KEY_OWNER, DIM_GROUP, -1, -1},
	{{"skuid"}, KEY_OWNER, DIM_USER, -1, -1},
	{{"skgid"}, KEY_OWNER, DIM_GROUP, -1, -1},
};

static const char *word_at(const struct nft_reading *reading, size_t ahead)
{
	size_t at = reading->words.next + ahead;
	return at < reading->words.count ? reading->words.at[at].text : "";
}

static const struct key *read_key(struct nft_reading *reading)
{
	for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
		if (!strcmp(word_at(reading, 0), keys[i].words[0]) &&
			(!keys[i].words[1] || !strcmp(word_at(reading, 1), keys[i].words[1]))) {
			nft_take(reading);
			if (keys[i].words[1])
				nft_take(reading);
			return &keys[i];
		}
	return NULL;
}

/* nft's names (src/datatype.c), which are those of the language but for IPv6's errors. */
static int type_number(bool v6, const char *word)
{
	static const struct {
		const char *word;
		int v4, v6;
	} types[] = {{"echo-reply", 0, 129}, {"destination-unreachable", 3, 1}, {"source-quench", 4, -1}, {"redirect", 5, -1},
		{"echo-request", 8, 128}, {"router-advertisement", 9, -1}, {"router-solicitation", 10, -1},
		{"time-exceeded", 11, 3}, {"parameter-problem", 12, 4}, {"timestamp-request", 13, -1},
		{"timestamp-reply", 14, -1}, {"info-request", 15, -1}, {"info-reply", 16, -1}, {"address-mask-request", 17, -1},
		{"address-mask-reply", 18, -1}, {"packet-too-big", -1, 2}, {"mld-listener-query", -1, 130},
		{"mld-listener-report", -1, 131}, {"mld-listener-done", -1, 132}, {"mld-listener-reduction", -1, 132},
		{"nd-router-solicit", -1, 133}, {"nd-router-advert", -1, 134}, {"nd-neighbor-solicit", -1, 135},
		{"nd-neighbor-advert", -1, 136}, {"nd-redirect", -1, 137}, {"router-renumbering", -1, 138},
		{"ind-neighbor-solicit", -1, 141}, {"ind-neighbor-advert", -1, 142}, {"mld2-listener-report", -1, 143}};
	for (size_t i = 0; i < sizeof types / sizeof *types; i++)
		if (!strcmp(types[i].word, word))
			return v6 ? types[i].v6 : types[i].v4;
	char *end;
	long number = strtol(word, &end, 10);
	return *word && !*end && number >= 0 && number <= 255 ? (int)number : -1;
}

static bool read_interface(struct import *import, const char *word, struct intervals *out)
{
	char name[INTERFACE_NAME_MAX + 2];
	size_t length = strlen(word);
	if (!length || length > INTERFACE_NAME_MAX)
		return false;
	strcpy(name, word);
	bool prefix = name[length - 1] == '*';
	if (prefix)
		name[length - 1] = 0;
	u128 first = length == 1 && prefix ? 0 : interface_number(name);
	*out = set_single(import, first, !prefix ? first : length == 1 ? INTERFACE_LAST : interface_prefix_last(name));
	return true;
}

static bool number_range(const char *word, unsigned long most, u128 *first, u128 *last)
{
	char *end;
	*first = strtoul(word, &end, 10);
	*last = *first;
	if (end != word && *end == '-')
		*last = strtoul(end + 1, &end, 10);
	return *word >= '0' && *word <= '9' && !*end && *last <= most && *first <= *last;
}

static unsigned state_bit(const char *word)
{
	static const struct {
		const char *word;
		unsigned bit;
	} states[] = {{"new", STATE_NEW}, {"untracked", STATE_UNTRACKED}, {"established", STATE_ESTABLISHED},
		{"related", STATE_RELATED}, {"invalid", STATE_INVALID}};
	for (size_t i = 0; i < sizeof states / sizeof *states; i++)
		if (!strcmp(states[i].word, word))
			return states[i].bit;
	return 0;
}

/* A value of a key as numbers: the key's own, before protocols and families are thought of. */
static bool read_value(struct import *import, const struct key *key, const char *word, struct intervals *out)
{
	enum family family;
	u128 first, last;
	int number;
	switch (key->kind) {
	case KEY_ARRIVING:
	case KEY_LEAVING:
		return read_interface(import, word, out);
	case KEY_PROTOCOL:
		number = protocol_number(word);
		if (number < 0 && !number_range(word, 255, &first, &last))
			return false;
		if (number >= 0)
			first = last = (u128)number;
		*out = set_single(import, first, last);
		return true;
	case KEY_FAMILY:
		if (strcmp(word, "ipv4") && strcmp(word, "ipv6") && strcmp(word, "ip") && strcmp(word, "ip6"))
			return false;
		number = strchr(word, '6') != NULL;
		*out = set_single(import, (u128)number, (u128)number);
		return true;
	case KEY_ADDRESS:
		return read_addresses(import, word, &family, out) && (int)family == key->family;
	case KEY_PORT:
		return read_ports(import, word, '-', out);
	case KEY_TYPE:
		number = type_number(key->family == FAMILY_IPV6, word);
		*out = set_single(import, (u128)number, number == 255 ? SERVICES - 1 : (u128)number);
		return number >= 0;
	case KEY_OWNER:
		if (!number_range(word, 0xffffffff, &first, &last))
			return false;
		*out = set_single(import, first, last);
		return true;
	case KEY_STATE:
	case KEY_LOCAL:
		return false;
	}
	return false;
}

/* What values of a key there are: what a negation is the rest of. */
static struct intervals whole_of(struct import *import, const struct key *key)
{
	switch (key->kind) {
	case KEY_ARRIVING:
	case KEY_LEAVING:
		return full_set[0][DIM_ARRIVING];
	case KEY_PROTOCOL:
		return set_single(import, 0, 255);
	case KEY_FAMILY:
		return set_single(import, 0, 1);
	case KEY_ADDRESS:
		return full_set[key->family][DIM_SOURCE];
	case KEY_PORT:
	case KEY_TYPE:
		return full_set[0][DIM_SOURCE_PORT];
	case KEY_OWNER:
		return set_single(import, 0, 0xffffffff); /* a packet of no process has no such key, and does not match */
	case KEY_STATE:
	case KEY_LOCAL:
		break;
	}
	return (struct intervals){0};
}

static struct intervals scaled(struct import *import, unsigned protocol, struct intervals services)
{
	struct interval *list = talloc_array(import->ctx, struct interval, services.count + 1);
	struct intervals out = {0};
	for (size_t i = 0; list && i < services.count; i++)
		list[i] = (struct interval){TRAFFIC(protocol, services.at[i].first), TRAFFIC(protocol, services.at[i].last)};
	if (!list || intervals_from(import->ctx, list, services.count, &out))
		import->error = -ENOMEM;
	return out;
}

static struct intervals block(struct import *import, unsigned protocol)
{
	return set_single(import, TRAFFIC(protocol, 0), TRAFFIC(protocol, SERVICES - 1));
}

static struct intervals protocols_of(struct import *import, struct intervals numbers)
{
	struct intervals out = {0};
	for (size_t i = 0; i < numbers.count; i++)
		out = set_union(import, out,
			set_single(import, TRAFFIC(numbers.at[i].first, 0), TRAFFIC(numbers.at[i].last, SERVICES - 1)));
	return out;
}

/* `th`: of those protocols that have ports. False: other protocols are there too, whose bytes would be taken for ports. */
static bool any_ports(struct import *import, const struct key *key, struct intervals ports, struct area *area)
{
	static const unsigned with_ports[] = {PROTOCOL_TCP, PROTOCOL_UDP, PROTOCOL_SCTP};
	struct intervals known = {0}, to = {0};
	for (size_t i = 0; i < 3; i++) {
		known = set_union(import, known, block(import, with_ports[i]));
		to = set_union(import, to, scaled(import, with_ports[i], ports));
	}
	if (!intervals_cover(known, area->of[DIM_TRAFFIC]))
		return false;
	if (key->dimension == DIM_SOURCE_PORT)
		area->of[DIM_SOURCE_PORT] = set_common(import, area->of[DIM_SOURCE_PORT], ports);
	else
		area->of[DIM_TRAFFIC] = set_common(import, area->of[DIM_TRAFFIC], to);
	return true;
}

/* Narrows an area of a family to a key's values.  False: that cannot be said.  A set that comes out empty: nothing is left. */
static bool narrow(struct import *import, const struct key *key, struct intervals values, enum family family, struct area *area)
{
	struct intervals *traffic = &area->of[DIM_TRAFFIC];
	if (key->family >= 0 && key->family != (int)family) {
		*traffic = (struct intervals){0};
		return true;
	}
	switch (key->kind) {
	case KEY_ARRIVING:
	case KEY_LEAVING:
	case KEY_ADDRESS:
	case KEY_OWNER:
		area->of[key->dimension] = set_common(import, area->of[key->dimension], values);
		return true;
	case KEY_PROTOCOL:
		*traffic = set_common(import, *traffic, protocols_of(import, values));
		return true;
	case KEY_FAMILY:
		if (!intervals_contain(values, family))
			*traffic = (struct intervals){0};
		return true;
	case KEY_PORT:
		if (key->protocol < 0)
			return any_ports(import, key, values, area);
		*traffic = set_common(import, *traffic,
			key->dimension == DIM_TRAFFIC ? scaled(import, (unsigned)key->protocol, values)
						      : block(import, (unsigned)key->protocol));
		if (key->dimension == DIM_SOURCE_PORT)
			area->of[DIM_SOURCE_PORT] = set_common(import, area->of[DIM_SOURCE_PORT], values);
		return true;
	case KEY_TYPE:
		*traffic = set_common(import, *traffic, scaled(import, (unsigned)key->protocol, values));
		return true;
	case KEY_STATE:
	case KEY_LOCAL:
		break;
	}
	return false;
}

static bool is_empty(const struct area *area)
{
	for (int d = 0; d < DIMENSIONS; d++)
		if (!area->of[d].count)
			return true;
	return false;
}

static const struct nft_set *find_set(const struct nft_reading *reading, const char *name)
{
	for (const struct nft_set *set = reading->sets; set; set = set->next)
		if (!strcmp(set->name, name))
			return set;
	return NULL;
}

struct comparison {
	const struct key *keys[NFT_PARTS];
	size_t key_count;
	bool negated;
};

/* Every area of the rule, narrowed to one key's values. */
static bool narrow_rule(struct import *import, struct foreign_rule *rule, const struct key *key, struct intervals values)
{
	for (int family = 0; family < FAMILIES; family++) {
		struct areas kept = {0};
		for (size_t i = 0; i < rule->match[family].count; i++) {
			struct area area = rule->match[family].at[i];
			if (!narrow(import, key, values, (enum family)family, &area))
				return false;
			if (!is_empty(&area))
				areas_add(import, &kept, &area);
		}
		rule->match[family] = kept;
	}
	return true;
}

static bool one_key(struct nft_reading *reading, struct foreign_rule *rule, const struct comparison *comparison,
	const struct nft_elements *elements)
{
	struct import *import = reading->import;
	const struct key *key = comparison->keys[0];
	struct interval *list = talloc_array(import->ctx, struct interval, elements->count + 1);
	struct intervals values = {0};
	if (!list) {
		import->error = -ENOMEM;
		return true;
	}
	for (size_t i = 0; i < elements->count; i++) {
		struct intervals one;
		if (elements->at[i].part_count != 1 || elements->at[i].strange ||
			!read_value(import, key, elements->at[i].parts[0], &one))
			return false;
		list[i] = one.at[0];
	}
	if (intervals_from(import->ctx, list, elements->count, &values))
		import->error = -ENOMEM;
	if (comparison->negated)
		values = set_except(import, whole_of(import, key), values);
	return narrow_rule(import, rule, key, values);
}

/* Several keys: an area for each element. */
static bool many_keys(struct nft_reading *reading, struct foreign_rule *rule, const struct comparison *comparison,
	const struct nft_elements *elements)
{
	struct import *import = reading->import;
	if (comparison->negated)
		return false;
	for (int family = 0; family < FAMILIES; family++) {
		struct areas kept = {0};
		for (size_t r = 0; r < rule->match[family].count; r++)
			for (size_t i = 0; i < elements->count; i++) {
				struct area area = rule->match[family].at[r];
				if (elements->at[i].part_count != comparison->key_count || elements->at[i].strange)
					return false;
				for (size_t k = 0; k < comparison->key_count; k++) {
					struct intervals values;
					if (!read_value(import, comparison->keys[k], elements->at[i].parts[k], &values) ||
						(!is_empty(&area) &&
							!narrow(import, comparison->keys[k], values, (enum family)family, &area)))
						return false;
				}
				if (!is_empty(&area))
					areas_add(import, &kept, &area);
			}
		areas_join(import, &kept);
		rule->match[family] = kept;
	}
	return true;
}

static bool compare(struct nft_reading *reading, struct foreign_rule *rule, const struct comparison *comparison,
	const struct nft_elements *elements)
{
	if (comparison->keys[0]->kind == KEY_STATE && comparison->key_count == 1) {
		unsigned mask = 0;
		for (size_t i = 0; i < elements->count; i++) {
			unsigned bit = elements->at[i].part_count == 1 ? state_bit(elements->at[i].parts[0]) : 0;
			if (!bit)
				return false;
			mask |= bit;
		}
		rule_states(reading->import, rule, comparison->negated ? STATE_ALL & ~mask : mask);
		return true;
	}
	return comparison->key_count == 1 ? one_key(reading, rule, comparison, elements)
					  : many_keys(reading, rule, comparison, elements);
}

/* A map of verdicts: a rule for each, and the line goes on with the rest. */
static bool verdict_map(struct nft_reading *reading, const struct comparison *comparison, const struct nft_elements *elements)
{
	for (size_t i = 0; i < elements->count; i++) {
		const struct nft_element *first = &elements->at[i];
		struct nft_elements alike = {0};
		struct foreign_rule part = *reading->rule;
		bool seen = false;
		for (size_t k = 0; k < i && !seen; k++)
			seen = elements->at[k].verdict == first->verdict &&
			       (elements->at[k].target == first->target ||
				       (elements->at[k].target && first->target &&
					       !strcmp(elements->at[k].target, first->target)));
		if (seen)
			continue;
		alike.at = talloc_array(reading->import->ctx, struct nft_element, elements->count);
		if (!alike.at) {
			reading->import->error = -ENOMEM;
			return true;
		}
		for (size_t k = i; k < elements->count; k++)
			if (elements->at[k].verdict == first->verdict &&
				(elements->at[k].target == first->target ||
					(elements->at[k].target && first->target &&
						!strcmp(elements->at[k].target, first->target))))
				alike.at[alike.count++] = elements->at[k];
		if (!compare(reading, &part, comparison, &alike))
			return false;
		nft_part(reading, &part, first->verdict, first->target);
	}
	return true;
}

/* One word, several in braces, or a set's name. */
static bool read_operand(struct nft_reading *reading, const struct comparison *comparison, struct nft_elements *out)
{
	*out = (struct nft_elements){0};
	if (nft_accept(reading, "{"))
		return nft_read_elements(reading, out);
	if (nft_peek(reading)->text[0] == '@' && !nft_peek(reading)->quoted) {
		const struct nft_set *set = find_set(reading, nft_take(reading) + 1);
		if (!set)
			return false;
		if (set->filled)
			rule_differs(reading->import, reading->rule,
				import_text(reading->import, "set %s has the members of this moment, and no others later",
					set->name));
		*out = set->elements;
		return true;
	}
	/* `ct state new,established`, `10.0.0.1 . 80`, `> 1024` */
	struct nft_element element = {0};
	out->at = talloc_array(reading->import->ctx, struct nft_element, NFT_PARTS + 1);
	if (!out->at) {
		reading->import->error = -ENOMEM;
		return false;
	}
	do
		if (element.part_count < NFT_PARTS)
			element.parts[element.part_count++] = nft_take(reading);
	while (comparison->key_count > 1 && nft_accept(reading, "."));
	out->at[out->count++] = element;
	while (comparison->keys[0]->kind == KEY_STATE && nft_accept(reading, ",") && out->count < NFT_PARTS)
		out->at[out->count++] = (struct nft_element){.parts = {nft_take(reading)}, .part_count = 1};
	return true;
}

/* `tcp dport > 1023` as a range of numbers. */
static bool inequality(struct nft_reading *reading, const struct comparison *comparison, const char *sign)
{
	struct import *import = reading->import;
	const struct key *key = comparison->keys[0];
	struct intervals whole = whole_of(import, key), value;
	const char *word = nft_take(reading);
	if (comparison->key_count != 1 || !whole.count || !read_value(import, key, word, &value))
		return false;
	u128 number = value.at[0].first, first = whole.at[0].first, last = whole.at[0].last;
	if (sign[0] == '>')
		first = number + (sign[1] != '=');
	else if (number == 0 && sign[1] != '=')
		return false;
	else
		last = number - (sign[1] != '=');
	return first <= last && narrow_rule(import, reading->rule, key, set_single(import, first, last));
}

/* `tcp flags syn / fin,syn,rst,ack`, `tcp flags & (fin|syn) == syn`: a first packet has SYN and none of the others. */
static int read_flags(struct nft_reading *reading)
{
	struct import *import = reading->import;
	struct foreign_rule *rule = reading->rule;
	unsigned value = 0, mask = 0, *side = &value;
	bool negated = false, slash = false, masked = false;
	static const char *const flags[] = {"fin", "syn", "rst", "psh", "ack", "urg", "ecn", "cwr"};
	nft_take(reading), nft_take(reading);
	negated = nft_accept(reading, "!=");
	if (nft_accept(reading, "&")) {
		masked = true;
		side = &mask;
	}
	for (;;) {
		char text[16];
		const char *word = nft_peek(reading)->text;
		size_t open = strspn(word, "("), length = strcspn(word + open, ")");
		if (!strcmp(word, "/") || !strcmp(word, "==") || !strcmp(word, "!=")) {
			slash |= *word == '/';
			negated |= *word == '!';
			side = *word == '/' ? &mask : &value;
		} else if (strcmp(word, ",") && strcmp(word, "|")) {
			int flag = -1;
			snprintf(text, sizeof text, "%.*s", (int)(length < 15 ? length : 15), word + open);
			for (int i = 0; i < 8; i++)
				if (!strcmp(text, flags[i]))
					flag = i;
			if (flag < 0 && strcmp(text, "0x0"))
				break;
			*side |= flag < 0 ? 0 : 1u << flag;
		}
		nft_take(reading);
	}
	struct intervals tcp = block(import, PROTOCOL_TCP);
	rule_restrict_both(import, rule, DIM_TRAFFIC, tcp, false);
	/* Without a mask: any of them, or (!=) not these exactly. */
	bool holds = slash || masked ? (2u & mask) == value : (value & 2u) != 0;
	if (holds == negated) {
		rule_never(rule);
		rule_fate(import, rule, FATE_DIFFERS,
			"it matches no first packet of a TCP connection: other TCP packets of no known connection are not told "
			"apart");
	} else
		rule_differs(import, rule, "TCP packets without SYN that belong to no known connection match here too");
	return 1;
}

/* `fib daddr type local`: as addrtype of iptables. */
static int read_fib(struct nft_reading *reading)
{
	struct import *import = reading->import;
	struct foreign_rule *rule = reading->rule;
	if (strcmp(word_at(reading, 1), "daddr") || strcmp(word_at(reading, 2), "type"))
		return -1;
	bool negated = !strcmp(word_at(reading, 3), "!=");
	const char *type = word_at(reading, negated ? 4 : 3);
	struct intervals multicast[] = {
		set_single(import, (u128)224 << 24, ((u128)240 << 24) - 1), set_single(import, (u128)0xff << 120, U128_MAX)};
	struct intervals everybody = set_single(import, 0xffffffff, 0xffffffff);
	for (int family = 0; family < FAMILIES; family++) {
		struct intervals others = family ? multicast[family] : set_union(import, multicast[family], everybody);
		if (!strcmp(type, "local"))
			rule_restrict(import, rule, (enum family)family, DIM_DESTINATION, others, !negated);
		else if (!strcmp(type, "multicast"))
			rule_restrict(import, rule, (enum family)family, DIM_DESTINATION, multicast[family], negated);
		else if (!strcmp(type, "broadcast"))
			rule_restrict(import, rule, (enum family)family, DIM_DESTINATION,
				family ? (struct intervals){0} : everybody, negated);
		else
			return -1;
	}
	rule->local_destination |= strcmp(type, "multicast") != 0;
	for (int i = 0; i < (negated ? 5 : 4); i++)
		nft_take(reading);
	return 1;
}

/* `ct count over 20` */
static int read_count(struct nft_reading *reading)
{
	struct quota quota = {.kind = QUOTA_CONNECTIONS};
	nft_take(reading), nft_take(reading);
	quota.over = nft_accept(reading, "over");
	quota.count = strtoull(nft_take(reading), NULL, 10);
	if (reading->rule->quota.kind != QUOTA_NONE)
		rule_doubt(reading->import, reading->rule, "two limits on one rule");
	reading->rule->quota = quota;
	return 1;
}

int nft_read_match(struct nft_reading *reading)
{
	struct comparison comparison = {0};
	struct nft_elements elements;
	size_t start = reading->words.next;
	static const char *const signs[] = {">", "<", ">=", "<="};
	if (!strcmp(word_at(reading, 0), "tcp") && !strcmp(word_at(reading, 1), "flags"))
		return read_flags(reading);
	if (!strcmp(word_at(reading, 0), "fib"))
		return read_fib(reading);
	if (!strcmp(word_at(reading, 0), "ct") && !strcmp(word_at(reading, 1), "count"))
		return read_count(reading);
	do {
		const struct key *key = comparison.key_count < NFT_PARTS ? read_key(reading) : NULL;
		if (!key) {
			reading->words.next = start;
			return -1;
		}
		comparison.keys[comparison.key_count++] = key;
	} while (nft_accept(reading, "."));
	bool map = nft_accept(reading, "vmap"), fine;
	comparison.negated = !map && nft_accept(reading, "!=");
	if (nft_is(reading, "&") || nft_is(reading, "set") || nft_is(reading, "map")) {
		reading->words.next = start;
		return -1;
	}
	for (int i = 0; i < 4; i++)
		if (nft_is(reading, signs[i])) {
			nft_take(reading);
			fine = inequality(reading, &comparison, signs[i]);
			if (!fine)
				reading->words.next = start;
			return fine ? 1 : -1;
		}
	fine = read_operand(reading, &comparison, &elements);
	if (fine && map) {
		for (size_t i = 0; i < elements.count; i++)
			fine &= !elements.at[i].strange;
		fine = fine && verdict_map(reading, &comparison, &elements);
	} else if (fine)
		fine = compare(reading, reading->rule, &comparison, &elements);
	if (!fine)
		reading->words.next = start;
	return fine ? 1 : -1;
}
