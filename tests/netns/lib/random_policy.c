/*
 * Random policies.
 *
 * Everything that LANGUAGE.md lets a rule say is said by some seed, out of a small world of addresses, ports and interfaces, so
 * that rules overlap, cover and contradict each other, and packets meet their edges.
 */
#include "tests/netns/lib/model.h"
#include <stdlib.h>
#include <string.h>
#include <talloc.h>

const char *const interface_names[INTERFACES] = {"lo", "eth0", "eth1", "wg0", "wg12"};

struct maker {
	void *ctx;
	struct random random;
	struct model *model;
	int files;
};

uint64_t random_next(struct random *random)
{
	random->state ^= random->state << 13;
	random->state ^= random->state >> 7;
	random->state ^= random->state << 17;
	return random->state * 0x2545f4914f6cdd1dULL >> 16;
}

static void *must(void *memory)
{
	if (!memory)
		abort();
	return memory;
}

static bool chance(struct maker *maker, unsigned percent)
{
	return random_chance(&maker->random, percent);
}

static size_t below(struct maker *maker, size_t bound)
{
	return random_below(&maker->random, bound);
}

static struct value *value_new(struct maker *maker, enum value_kind kind)
{
	struct value *value = must(talloc_zero(maker->ctx, struct value));
	value->kind = kind;
	return value;
}

static struct value *set_of(struct maker *maker, enum value_kind kind, size_t count)
{
	struct value *set = value_new(maker, kind);
	set->count = count;
	set->items = must(talloc_zero_array(maker->ctx, struct value *, count));
	return set;
}

static struct value *except(struct maker *maker, struct value *whole, struct value *part)
{
	struct value *value = set_of(maker, VALUE_EXCEPT, 2);
	value->items[0] = whole;
	value->items[1] = part;
	return value;
}

/* Addresses. */

static const uint32_t bases4[] = {0x0a000000, 0x0a420000, 0xc0000200, 0xc6336400, 0xcb007100, 0xac100000};
static const uint64_t bases6[] = {0x20010db800000000, 0x20010db800100000, 0xfd00000000000000, 0x2a00000012340000};

static u128 random_address(struct maker *maker, int family)
{
	if (family == 4)
		return bases4[below(maker, 6)] + (chance(maker, 50) ? below(maker, 256) : below(maker, 65536));
	u128 high = bases6[below(maker, 4)] + (chance(maker, 50) ? below(maker, 4) : below(maker, 65536));
	return high << 64 | (chance(maker, 70) ? below(maker, 65536) : random_next(&maker->random));
}

static struct value *address_network(struct maker *maker, int family)
{
	struct value *value = value_new(maker, VALUE_NETWORK);
	int bits = family == 4 ? 32 : 128;
	value->family = family;
	value->prefix = chance(maker, 10) ? 1 + (int)below(maker, 4) : bits / 4 + (int)below(maker, (size_t)bits * 3 / 4 + 1);
	u128 host = value->prefix == bits ? 0 : ((u128)1 << (bits - value->prefix)) - 1;
	value->low = random_address(maker, family) & ~host;
	value->high = value->low | host;
	return value;
}

static struct value *address_range(struct maker *maker, int family, bool single)
{
	struct value *value = value_new(maker, VALUE_RANGE);
	value->family = family;
	value->low = value->high = random_address(maker, family);
	if (!single)
		value->high += 1 + below(maker, 300);
	return value;
}

/* From so far above the beginning of a network to as far below its end: it looks like the network to who compares bits too loosely. */
static struct value *almost_network(struct maker *maker, int family)
{
	struct value *value = address_range(maker, family, true);
	u128 hosts = ((u128)1 << (1 + below(maker, 8))) - 1, less = below(maker, 2) ? 1 + below(maker, 3) : 0;
	if (hosts < 2 * less + 1)
		less = hosts / 2;
	value->high = (value->low | hosts) - less;
	value->low = (value->low & ~hosts) + less;
	return value;
}

static struct value *address_leaf(struct maker *maker, int family)
{
	size_t kind = below(maker, 10);
	if (kind == 9)
		return almost_network(maker, family);
	return kind < 5 ? address_network(maker, family) : address_range(maker, family, kind < 7);
}

/* families: 4, 6 or 10 for both; of both, one leaf of each at least. */
static int leaf_family(struct maker *maker, int families, size_t i)
{
	return families != 10 ? families : i == 0 ? 4 : i == 1 ? 6 : chance(maker, 50) ? 4 : 6;
}

static struct value *address_leaves(struct maker *maker, enum value_kind kind, int families, size_t count)
{
	struct value *set = set_of(maker, kind, count);
	for (size_t i = 0; i < count; i++)
		set->items[i] = address_leaf(maker, leaf_family(maker, families, i));
	if (kind == VALUE_FILE)
		set->file = maker->files++;
	return set;
}

/* A network without one address or half of it: never empty. */
static struct value *network_except(struct maker *maker, int family)
{
	struct value *whole = address_network(maker, family), *part = value_new(maker, VALUE_RANGE);
	if (whole->high - whole->low < 3)
		return whole;
	part->family = family;
	part->low = part->high = chance(maker, 50) ? whole->low : whole->high;
	if (chance(maker, 50))
		part->low = whole->low + 1, part->high = whole->high - 1;
	return except(maker, whole, part);
}

static struct value *random_names(struct maker *maker, bool ports)
{
	struct model *model = maker->model;
	for (int tries = 0; tries < 4 && model->named_count; tries++) {
		struct named *named = &model->named[below(maker, model->named_count)];
		if (named->ports != ports)
			continue;
		struct value *value = value_new(maker, VALUE_NAME);
		value->named = named;
		return value;
	}
	return NULL;
}

static struct value *random_addresses(struct maker *maker, int families, bool names)
{
	struct value *value, *set;
	size_t least = families == 10 ? 2 : 1;
	switch (below(maker, 8)) {
	case 0:
		return except(maker, value_new(maker, VALUE_ANY), address_leaves(maker, VALUE_SET, families, least + below(maker, 3)));
	case 1:
	case 2:
		if (names && (value = random_names(maker, false)))
			return value;
		break;
	case 3:
		return address_leaves(maker, VALUE_FILE, families, least + below(maker, 6));
	case 4:
		set = address_leaves(maker, VALUE_SET, families, least + below(maker, 4));
		for (size_t i = 0; i < least; i++)
			set->items[i] = network_except(maker, leaf_family(maker, families, i));
		return set;
	case 5:
		if (families != 10)
			return address_leaf(maker, families);
	}
	set = address_leaves(maker, VALUE_SET, families, least + below(maker, 5));
	if (names && chance(maker, 30) && (value = random_names(maker, false)))
		set->items[set->count - 1] = set->count > least ? value : set->items[set->count - 1];
	return set;
}

/* Ports and ICMP types. */

static const uint16_t common_ports[] = {0, 1, 22, 25, 53, 80, 123, 443, 1023, 1024, 5432, 7093, 8080, 8443, 9000, 49151, 49152, 65534, 65535};
static const struct { const char *word; uint16_t number; } port_words[] = {{"https", 443}, {"domain", 53}, {"kerberos", 88}};

static struct value *port_leaf(struct maker *maker, bool words)
{
	static const struct { const char *word; uint16_t low, high; } ranges[] = {
		{"well-known", 0, 1023}, {"registered", 1024, 49151}, {"dynamic", 49152, 65535}};
	struct value *value = value_new(maker, VALUE_RANGE);
	size_t kind = below(maker, 10), which = below(maker, 3);
	value->low = value->high = common_ports[below(maker, 19)];
	if (kind < 3) {
		u128 high = value->low + below(maker, kind ? 20 : 2000);
		value->high = high > 65535 ? 65535 : high;
	} else if (kind == 3 && words) {
		value->word = port_words[which].word;
		value->low = value->high = port_words[which].number;
	} else if (kind == 4 && chance(maker, 40)) {
		value->word = ranges[which].word;
		value->low = ranges[which].low;
		value->high = ranges[which].high;
	}
	return value;
}

static struct value *port_set(struct maker *maker, bool words, size_t count)
{
	struct value *set = set_of(maker, VALUE_SET, count);
	for (size_t i = 0; i < count; i++)
		set->items[i] = port_leaf(maker, words);
	return set;
}

static struct value *random_ports(struct maker *maker, bool words, bool names)
{
	struct value *value;
	switch (below(maker, 6)) {
	case 0:
		return except(maker, value_new(maker, VALUE_ANY), port_leaf(maker, words));
	case 1:
		if (names && (value = random_names(maker, true)))
			return value;
		break;
	case 2:
		return port_set(maker, words, 1 + below(maker, 6));
	case 3:
		value = port_leaf(maker, words);
		if (value->high - value->low > 2) {
			struct value *hole = value_new(maker, VALUE_RANGE);
			hole->low = hole->high = value->low + 1 + below(maker, (size_t)(value->high - value->low));
			return except(maker, value, hole);
		}
	}
	return port_leaf(maker, words);
}

static const struct { const char *word; uint8_t number; bool six; } types[] = {
	{"echo-request", 8, false}, {"timestamp-request", 13, false}, {NULL, 13, false}, {NULL, 17, false}, {NULL, 15, false},
	{"echo-request", 128, true}, {"nd-router-solicit", 133, true}, {"nd-router-advert", 134, true}, {"nd-neighbor-solicit", 135, true},
	{"nd-neighbor-advert", 136, true}, {NULL, 139, true}, {NULL, 143, true}, {"mld-listener-query", 130, true}};

static struct value *type_leaf(struct maker *maker, bool six)
{
	struct value *value = value_new(maker, VALUE_RANGE);
	size_t which = six ? 5 + below(maker, 8) : below(maker, 5);
	value->low = value->high = types[which].number;
	value->word = types[which].word;
	return value;
}

static struct value *random_types(struct maker *maker, bool six)
{
	if (chance(maker, 40))
		return NULL;
	if (chance(maker, 50))
		return type_leaf(maker, six);
	struct value *set = set_of(maker, VALUE_SET, 1 + below(maker, 3));
	for (size_t i = 0; i < set->count; i++)
		set->items[i] = type_leaf(maker, six);
	return set;
}

/* Traffic. */

/* Not AH over IPv6: there a packet is what stands behind its header. */
static const int portless[] = {47, 50, 51, 2, 89, 112, 103, 253, 255, 4, 41, 115};

static struct traffic_item random_item(struct maker *maker, bool ported)
{
	static const int ported_protocols[] = {6, 6, 6, 17, 17, 132};
	struct traffic_item item = {.protocol = ported_protocols[below(maker, 6)]};
	size_t kind = ported ? 0 : below(maker, 10);
	if (kind == 9)
		item.protocol = portless[below(maker, 12)];
	else if (kind >= 7)
		item.protocol = chance(maker, 50) ? 1 : 58;
	if (item.protocol == 1 || item.protocol == 58)
		item.behind = random_types(maker, item.protocol == 58);
	else if (kind < 7 && chance(maker, 85))
		item.behind = random_ports(maker, item.protocol == 6 || item.protocol == 17, true);
	return item;
}

static void random_traffic(struct maker *maker, struct traffic_model *traffic, bool ported, bool services)
{
	traffic->any = !ported && chance(maker, 20);
	traffic->count = chance(maker, 60) ? 1 : 1 + below(maker, 4);
	if (traffic->any && chance(maker, 60))
		traffic->count = 0;
	traffic->items = must(talloc_zero_array(maker->ctx, struct traffic_item, traffic->count + 1));
	for (size_t i = 0; i < traffic->count; i++) {
		traffic->items[i] = random_item(maker, ported);
		if (services && !ported && maker->model->service_count && chance(maker, 15))
			traffic->items[i] = (struct traffic_item){.protocol = -1,
				.service = &maker->model->services[below(maker, maker->model->service_count)]};
	}
}

/* The families that some packet of this traffic can have: 4, 6 or 10; a rule that no packet can match is an error of the language. */
static int traffic_families(const struct traffic_model *traffic)
{
	bool four = traffic->any, six = traffic->any;
	for (size_t i = 0; i < traffic->count; i++) {
		int protocol = traffic->items[i].protocol;
		int inner = traffic->items[i].service ? traffic_families(&traffic->items[i].service->traffic) : protocol == 1 ? 4 : protocol == 58 ? 6 : 10;
		four |= inner != 6;
		six |= inner != 4;
	}
	return four && six ? 10 : four ? 4 : 6;
}

/* Interfaces and processes. */

static struct value *interface_leaf(struct maker *maker, bool loopback)
{
	static const char *const prefixes[] = {"wg", "eth", "e", "wg1"};
	struct value *value = value_new(maker, VALUE_INTERFACE);
	value->star = chance(maker, 30);
	value->word = value->star ? prefixes[below(maker, 4)] : interface_names[loopback && chance(maker, 40) ? 0 : 1 + below(maker, INTERFACES - 1)];
	return value;
}

static struct value *random_interfaces(struct maker *maker, bool loopback)
{
	if (chance(maker, 20))
		return except(maker, value_new(maker, VALUE_ANY), interface_leaf(maker, false));
	if (chance(maker, 60))
		return interface_leaf(maker, loopback);
	struct value *set = set_of(maker, VALUE_SET, 1 + below(maker, 3));
	for (size_t i = 0; i < set->count; i++)
		set->items[i] = interface_leaf(maker, loopback);
	return set;
}

static const uint32_t ids[] = {0, 1, 33, 34, 1000, 65534};

static void random_by(struct maker *maker, struct by_model *by)
{
	by->kind = chance(maker, 60) ? BY_SOME : BY_OTHERS;
	by->user_count = below(maker, 4);
	by->group_count = by->user_count ? below(maker, 3) : 1;
	for (size_t i = 0; i < IDS_MAX; i++) {
		by->users[i] = ids[below(maker, 6)];
		by->groups[i] = ids[below(maker, 6)];
	}
}

/* Rules. */

static void random_rate(struct maker *maker, struct rule_model *rule)
{
	bool per_source = chance(maker, 50);
	if (rule->action == ALLOW)
		rule->rate = per_source ? RATE_LIMIT_PER_SOURCE : RATE_LIMIT;
	else
		rule->rate = per_source ? RATE_ABOVE_PER_SOURCE : RATE_ABOVE;
}

static void random_clauses(struct maker *maker, struct rule_model *rule, bool ported)
{
	int families = traffic_families(&rule->traffic);
	if (families == 10 && chance(maker, 40))
		families = chance(maker, 50) ? 4 : 6;
	if (rule->way != WAY_OUT && chance(maker, 30))
		rule->arriving = random_interfaces(maker, rule->way == WAY_IN);
	if (rule->way != WAY_IN && chance(maker, 30))
		rule->leaving = random_interfaces(maker, rule->way == WAY_OUT);
	if (chance(maker, 55))
		rule->from = random_addresses(maker, families, true);
	if (chance(maker, 45))
		rule->to = random_addresses(maker, families, true);
	if (ported)
		rule->source_port = random_ports(maker, false, true);
	if (rule->way == WAY_OUT && chance(maker, 35))
		random_by(maker, &rule->by);
	if (chance(maker, 8))
		random_rate(maker, rule);
}

static void random_rule(struct maker *maker, struct rule_model *rule)
{
	bool ported = chance(maker, 20);
	do
		rule->way = (enum way)below(maker, WAYS);
	while (!maker->model->ways[rule->way].managed);
	rule->action = chance(maker, 50) ? ALLOW : chance(maker, 50) ? DENY : REJECT;
	random_traffic(maker, &rule->traffic, ported, true);
	random_clauses(maker, rule, ported);
	rule->log = chance(maker, 15);
	rule->reason = chance(maker, 10);
	rule->in_block = chance(maker, 5);
}

static void random_ways(struct maker *maker)
{
	struct way_model *ways = maker->model->ways;
	for (int way = 0; way < WAYS; way++) {
		ways[way].managed = chance(maker, 85);
		ways[way].audit = chance(maker, 7);
		ways[way].log = chance(maker, 20);
		ways[way].action = chance(maker, 25) ? ALLOW : chance(maker, 70) ? DENY : REJECT;
	}
	if (!ways[WAY_IN].managed && !ways[WAY_OUT].managed && !ways[WAY_FORWARD].managed)
		ways[below(maker, WAYS)].managed = true;
}

static void random_definitions(struct maker *maker)
{
	struct model *model = maker->model;
	size_t names = below(maker, NAMED_MAX + 1), services = below(maker, SERVICES_MAX + 1);
	for (size_t i = 0; i < names; i++) {
		struct named *named = &model->named[i];
		bool ports = chance(maker, 40);
		snprintf(named->name, sizeof(named->name), "n%zu", i);
		struct value *first = ports ? port_set(maker, false, 1 + below(maker, 4)) : random_addresses(maker, 10, true);
		struct value *more = !chance(maker, 30) ? NULL : ports ? port_set(maker, false, 1) : random_addresses(maker, 10, true);
		*named = (struct named){.ports = ports, .first = first, .more = more};
		snprintf(named->name, sizeof(named->name), "n%zu", i);
		model->named_count = i + 1;
	}
	for (size_t i = 0; i < services; i++) {
		snprintf(model->services[i].name, sizeof(model->services[i].name), "s%zu", i);
		random_traffic(maker, &model->services[i].traffic, false, true);
		model->services[i].traffic.any = false;
		if (!model->services[i].traffic.count)
			random_traffic(maker, &model->services[i].traffic, true, false);
		model->service_count = i + 1;
	}
}

static void model_start(void *ctx, uint64_t seed, size_t rules, struct maker *maker)
{
	struct model *model = must(talloc_zero(ctx, struct model));
	*maker = (struct maker){.ctx = model, .random = {seed * 0x9e3779b97f4a7c15ULL + 1}, .model = model};
	model->seed = seed;
	model->named = must(talloc_zero_array(model, struct named, NAMED_MAX));
	model->services = must(talloc_zero_array(model, struct service, SERVICES_MAX));
	model->rules = must(talloc_zero_array(model, struct rule_model, rules + 1));
	for (int i = 0; i < 8; i++)
		random_next(&maker->random);
	random_ways(maker);
}

struct model *model_random(void *ctx, uint64_t seed)
{
	struct maker maker;
	model_start(ctx, seed, RULES_MAX, &maker);
	struct model *model = maker.model;
	random_definitions(&maker);
	model->rule_count = chance(&maker, 50) ? 1 + below(&maker, 8) : 1 + below(&maker, RULES_MAX);
	for (size_t i = 0; i < model->rule_count; i++)
		random_rule(&maker, &model->rules[i]);
	return model;
}

/* Of one family: a network, an address, or, seldom, a range; in small worlds and large ones. */
static struct value *filter_address(struct maker *maker, int family)
{
	struct value *value = chance(maker, 10) ? address_range(maker, family, false) : address_network(maker, family);
	if (chance(maker, 40))
		value = address_range(maker, family, true);
	return value;
}

/* Five fields, any of which may be left out. */
static void random_filter(struct maker *maker, struct rule_model *rule)
{
	int family = chance(maker, 70) ? 4 : 6;
	do
		rule->way = chance(maker, 80) ? WAY_IN : (enum way)below(maker, WAYS);
	while (!maker->model->ways[rule->way].managed);
	rule->action = chance(maker, 85) ? ALLOW : chance(maker, 50) ? DENY : REJECT;
	rule->traffic.any = chance(maker, 8);
	rule->traffic.count = !rule->traffic.any;
	rule->traffic.items = must(talloc_zero_array(maker->ctx, struct traffic_item, 1));
	rule->traffic.items[0].protocol = chance(maker, 60) ? 6 : 17;
	if (!rule->traffic.any && chance(maker, 85))
		rule->traffic.items[0].behind = port_leaf(maker, false);
	if (!rule->traffic.any && chance(maker, 15))
		rule->source_port = port_leaf(maker, false);
	if (chance(maker, 85))
		rule->from = filter_address(maker, family);
	if (chance(maker, rule->from ? 50 : 98))
		rule->to = filter_address(maker, family);
	rule->log = chance(maker, 1);
	if (random_below(&maker->random, 400) == 0)
		random_rate(maker, rule);
}

struct model *model_random_large(void *ctx, uint64_t seed, size_t rules)
{
	struct maker maker;
	model_start(ctx, seed, rules, &maker);
	struct model *model = maker.model;
	model->ways[WAY_IN].managed = true;
	model->rule_count = rules;
	for (size_t i = 0; i < rules; i++) {
		if (random_below(&maker.random, 200) == 0)
			random_rule(&maker, &model->rules[i]);
		else
			random_filter(&maker, &model->rules[i]);
	}
	return model;
}
