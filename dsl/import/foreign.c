/*
 * Making the common form: tables, chains, rules and sets, and what the readers narrow a rule with.
 *
 * Memory that is short is remembered in import->error, and looked at when a stage has ended: until then values may be
 * empty, never wrong pointers.
 */
#include "dsl/import/foreign.h"
#include "dsl/language/iana.h"
#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <talloc.h>

#define PORTS_LAST 65535
#define TRAFFIC_LAST TRAFFIC(255, PORTS_LAST)
static const struct interval all_traffic[] = {{0, TRAFFIC_LAST}}, all_ports[] = {{0, PORTS_LAST}}, all_v4[] = {{0, 0xffffffff}},
			     all_v6[] = {{0, U128_MAX}}, all_names[] = {{0, INTERFACE_LAST}}, all_users[] = {{0, NO_PROCESS}};
#define ONE(array)                                                                                                               \
	{                                                                                                                        \
		array, 1                                                                                                         \
	}
const struct intervals full_set[FAMILIES][DIMENSIONS] = {
	{ONE(all_traffic), ONE(all_ports), ONE(all_v4), ONE(all_v4), ONE(all_names), ONE(all_names), ONE(all_users),
		ONE(all_users)},
	{ONE(all_traffic), ONE(all_ports), ONE(all_v6), ONE(all_v6), ONE(all_names), ONE(all_names), ONE(all_users),
		ONE(all_users)},
};

char *import_text(struct import *import, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	char *text = talloc_vasprintf(import->ctx, format, arguments);
	va_end(arguments);
	if (!text)
		import->error = -ENOMEM;
	return text;
}

void import_note(struct import *import, const char *note)
{
	for (size_t i = 0; i < import->note_count; i++)
		if (!strcmp(import->notes[i], note))
			return;
	const char **more = talloc_realloc(import->ctx, import->notes, const char *, import->note_count + 1);
	if (!more) {
		import->error = -ENOMEM;
		return;
	}
	import->notes = more;
	import->notes[import->note_count++] = note;
}

struct foreign_table *foreign_table(struct import *import, unsigned families, const char *name)
{
	for (struct foreign_table *table = import->tables; table; table = table->next)
		if (table->families == families && !strcmp(table->name, name))
			return table;
	struct foreign_table *table = talloc_zero(import->ctx, struct foreign_table);
	if (!table) {
		import->error = -ENOMEM;
		return NULL;
	}
	table->families = families;
	table->name = name;
	table->last = &table->chains;
	*import->last_table = table;
	import->last_table = &table->next;
	return table;
}

struct foreign_chain *foreign_chain(struct import *import, struct foreign_table *table, const char *name, bool make)
{
	for (struct foreign_chain *chain = table->chains; chain; chain = chain->next)
		if (!strcmp(chain->name, name))
			return chain;
	if (!make)
		return NULL;
	struct foreign_chain *chain = talloc_zero(import->ctx, struct foreign_chain);
	if (!chain) {
		import->error = -ENOMEM;
		return NULL;
	}
	chain->table = table;
	chain->name = name;
	chain->policy = FV_ACCEPT;
	*table->last = chain;
	table->last = &chain->next;
	return chain;
}

static bool room(struct import *import, struct foreign_rule ***rules, size_t count)
{
	if (count & (count - 1))
		return true;
	struct foreign_rule **more = talloc_realloc(import->ctx, *rules, struct foreign_rule *, count ? count * 2 : 1);
	if (!more) {
		import->error = -ENOMEM;
		return false;
	}
	*rules = more;
	return true;
}

void rule_insert(struct import *import, struct foreign_chain *chain, struct foreign_rule *rule, size_t at)
{
	if (!room(import, &chain->rules, chain->count))
		return;
	memmove(&chain->rules[at + 1], &chain->rules[at], (chain->count - at) * sizeof *chain->rules);
	chain->rules[at] = rule;
	chain->count++;
	rule->home = chain;
}

/* chain NULL: a rule that is only listed. */
struct foreign_rule *foreign_rule(struct import *import, struct foreign_chain *chain, unsigned families,
	const struct source *source, unsigned line, const char *text)
{
	struct foreign_rule *rule = talloc_zero(import->ctx, struct foreign_rule);
	if (!rule || !room(import, &import->rules, import->rule_count)) {
		import->error = -ENOMEM;
		return NULL;
	}
	*rule = (struct foreign_rule){.source = source, .line = line, .text = text, .states = STATE_ALL};
	for (int family = 0; family < FAMILIES; family++)
		if (families & (1u << family)) {
			struct area all;
			memcpy(all.of, full_set[family], sizeof all.of);
			areas_add(import, &rule->match[family], &all);
		}
	import->rules[import->rule_count++] = rule;
	if (chain)
		rule_insert(import, chain, rule, chain->count);
	return rule;
}

struct foreign_set *foreign_set(struct import *import, void *owner, const char *name)
{
	for (struct foreign_set *set = import->sets; set; set = set->next)
		if (set->owner == owner && !strcmp(set->name, name))
			return set;
	return NULL;
}

static struct intervals checked(struct import *import, int error, struct intervals set)
{
	if (error)
		import->error = error;
	return error ? (struct intervals){0} : set;
}

struct intervals set_single(struct import *import, u128 first, u128 last)
{
	struct intervals set = {0};
	int error = intervals_single(import->ctx, first, last, &set);
	return checked(import, error, set);
}

struct intervals set_union(struct import *import, struct intervals a, struct intervals b)
{
	struct intervals set = {0};
	int error = intervals_union(import->ctx, a, b, &set);
	return checked(import, error, set);
}

struct intervals set_except(struct import *import, struct intervals a, struct intervals b)
{
	struct intervals set = {0};
	int error = intervals_subtract(import->ctx, a, b, &set);
	return checked(import, error, set);
}

struct intervals set_common(struct import *import, struct intervals a, struct intervals b)
{
	struct intervals set = {0};
	int error = intervals_intersect(import->ctx, a, b, &set);
	return checked(import, error, set);
}

void rule_restrict(struct import *import, struct foreign_rule *rule, enum family family, enum dimension dimension,
	struct intervals set, bool negated)
{
	struct areas narrowed = {0};
	if (negated)
		set = set_except(import, full_set[family][dimension], set);
	for (size_t i = 0; i < rule->match[family].count; i++) {
		struct area area = rule->match[family].at[i];
		area.of[dimension] = set_common(import, area.of[dimension], set);
		if (area.of[dimension].count)
			areas_add(import, &narrowed, &area);
	}
	rule->match[family] = narrowed;
}

void rule_restrict_both(
	struct import *import, struct foreign_rule *rule, enum dimension dimension, struct intervals set, bool negated)
{
	for (int family = 0; family < FAMILIES; family++)
		rule_restrict(import, rule, (enum family)family, dimension, set, negated);
}

#define PIECES_MAX 4096

void rule_among(struct import *import, struct foreign_rule *rule, enum family family, const struct areas *areas, bool negated)
{
	struct areas rest = rule->match[family];
	if (!negated) {
		if (rest.count * areas->count > PIECES_MAX * 16)
			rule_doubt(import, rule, "the set has too many members to say the rule for each");
		else
			areas_common(import, &rule->match[family], areas, &rule->match[family]);
		return;
	}
	for (size_t i = 0; i < areas->count; i++)
		if (!areas_except(import, &rest, &areas->at[i], PIECES_MAX)) {
			rule_doubt(import, rule, "what is not in the set falls into too many pieces");
			return;
		}
	areas_join(import, &rest);
	rule->match[family] = rest;
}

void rule_never(struct foreign_rule *rule)
{
	for (int family = 0; family < FAMILIES; family++)
		rule->match[family] = (struct areas){0};
}

/* net/netfilter/nf_conntrack_proto_icmpv6.c, nf_conntrack_icmpv6_error(): these are never tracked. */
static struct intervals untracked(struct import *import)
{
	struct intervals discovery = set_single(import, TRAFFIC(PROTOCOL_ICMPV6, 130), TRAFFIC(PROTOCOL_ICMPV6, 136));
	return set_union(import, discovery, set_single(import, TRAFFIC(PROTOCOL_ICMPV6, 143), TRAFFIC(PROTOCOL_ICMPV6, 143)));
}

void rule_states(struct import *import, struct foreign_rule *rule, unsigned states)
{
	rule->states &= states;
	if (!(rule->states & STATE_NEW)) {
		rule->match[FAMILY_IPV4] = (struct areas){0};
		rule_restrict(import, rule, FAMILY_IPV6, DIM_TRAFFIC, untracked(import), false);
	}
	if (!(rule->states & STATE_UNTRACKED))
		rule_restrict(import, rule, FAMILY_IPV6, DIM_TRAFFIC, untracked(import), true);
}

/* The last type stands for the rest of the block too, so that all types are the whole block. */
void rule_icmp(struct import *import, struct foreign_rule *rule, enum family family, unsigned type, bool negated)
{
	unsigned protocol = family == FAMILY_IPV4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6;
	struct intervals block = set_single(import, TRAFFIC(protocol, 0), TRAFFIC(protocol, PORTS_LAST));
	struct intervals one = set_single(import, TRAFFIC(protocol, type), TRAFFIC(protocol, type == 255 ? PORTS_LAST : type));
	rule_restrict(import, rule, family, DIM_TRAFFIC, negated ? set_except(import, block, one) : one, false);
}

void rule_doubt(struct import *import, struct foreign_rule *rule, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	char *reason = talloc_vasprintf(import->ctx, format, arguments);
	va_end(arguments);
	if (!reason)
		import->error = -ENOMEM;
	else if (!rule->unsure)
		rule->unsure = reason;
	else if (!strstr(rule->unsure, reason))
		rule->unsure = import_text(import, "%s; %s", rule->unsure, reason);
}

void rule_differs(struct import *import, struct foreign_rule *rule, const char *how)
{
	if (!rule->differs)
		rule->differs = how;
	else if (!strstr(rule->differs, how))
		rule->differs = import_text(import, "%s; %s", rule->differs, how);
}

void rule_fate(struct import *import, struct foreign_rule *rule, enum fate fate, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	rule->why = talloc_vasprintf(import->ctx, format, arguments);
	va_end(arguments);
	if (!rule->why)
		import->error = -ENOMEM;
	rule->fate = fate;
}

static bool read_address(const char *text, enum family *family, u128 *out)
{
	unsigned char bytes[16];
	*family = strchr(text, ':') ? FAMILY_IPV6 : FAMILY_IPV4;
	if (inet_pton(*family == FAMILY_IPV4 ? AF_INET : AF_INET6, text, bytes) != 1)
		return false;
	*out = 0;
	for (int i = 0; i < (*family == FAMILY_IPV4 ? 4 : 16); i++)
		*out = *out << 8 | bytes[i];
	return true;
}

/* A mask as a length, or written like an address; only masks whose ones come first are networks. */
static bool read_mask(const char *text, enum family family, u128 *mask)
{
	int bits = family == FAMILY_IPV4 ? 32 : 128;
	u128 all = bits == 32 ? 0xffffffff : U128_MAX;
	enum family its;
	if (strspn(text, "0123456789") == strlen(text)) {
		int length = atoi(text) <= bits ? atoi(text) : bits + 1;
		if (length > bits || !*text)
			return false;
		*mask = length ? all & ~(((u128)1 << (bits - length)) - 1) : 0;
		return true;
	}
	return read_address(text, &its, mask) && its == family && !(~*mask & all & ((~*mask & all) + 1));
}

bool read_addresses(struct import *import, const char *text, enum family *family, struct intervals *out)
{
	char copy[128];
	u128 first, last, mask;
	enum family other;
	if (strlen(text) >= sizeof copy)
		return false;
	strcpy(copy, text);
	char *slash = strchr(copy, '/'), *dash = strchr(copy, '-');
	if (slash)
		*slash++ = 0;
	else if (dash)
		*dash++ = 0;
	if (!read_address(copy, family, &first))
		return false;
	last = first;
	if (slash) {
		if (!read_mask(slash, *family, &mask))
			return false;
		first &= mask;
		last = first | (~mask & (*family == FAMILY_IPV4 ? 0xffffffff : U128_MAX));
	} else if (dash && (!read_address(dash, &other, &last) || other != *family || last < first))
		return false;
	*out = set_single(import, first, last);
	return true;
}

static bool read_port(const char *text, u128 *out)
{
	char *end;
	unsigned long port = strtoul(text, &end, 10);
	if (*text < '0' || *text > '9') {
		/* iptables-save and nft print numbers unless asked otherwise. */
		for (size_t i = 0; i < iana_service_count; i++)
			if (!strcmp(iana_services[i].name, text)) {
				*out = iana_services[i].port;
				return true;
			}
		return false;
	}
	*out = port;
	return !*end && port <= PORTS_LAST;
}

bool read_ports(struct import *import, const char *text, char separator, struct intervals *out)
{
	char copy[64];
	u128 first, last;
	if (!*text || strlen(text) >= sizeof copy)
		return false;
	strcpy(copy, text);
	char *between = *copy >= '0' && *copy <= '9' ? strchr(copy, separator) : NULL;
	if (copy[0] == separator)
		between = copy;
	if (between)
		*between++ = 0;
	if (copy[0] == 0)
		first = 0;
	else if (!read_port(copy, &first))
		return false;
	last = first;
	if (between && !*between)
		last = PORTS_LAST;
	else if (between && !read_port(between, &last))
		return false;
	if (last < first)
		return false;
	*out = set_single(import, first, last);
	return true;
}

static const struct {
	const char *name;
	int number;
} protocols[] = {{"icmp", 1}, {"igmp", 2}, {"ipencap", 4}, {"tcp", 6}, {"udp", 17}, {"dccp", 33}, {"ipv6", 41},
	{"ipv6-route", 43}, {"ipv6-frag", 44}, {"gre", 47}, {"esp", 50}, {"ah", 51}, {"icmpv6", 58}, {"ipv6-icmp", 58},
	{"ipv6-nonxt", 59}, {"ipv6-opts", 60}, {"eigrp", 88}, {"ospf", 89}, {"ospfigp", 89}, {"ipip", 94}, {"pim", 103},
	{"comp", 108}, {"ipcomp", 108}, {"vrrp", 112}, {"l2tp", 115}, {"sctp", 132}, {"mh", 135}, {"udplite", 136}};

int protocol_number(const char *name)
{
	char *end;
	unsigned long number = strtoul(name, &end, 10);
	if (*name && !*end)
		return number <= 255 ? (int)number : -1;
	for (size_t i = 0; i < sizeof protocols / sizeof *protocols; i++)
		if (!strcmp(protocols[i].name, name))
			return protocols[i].number;
	return -1;
}
