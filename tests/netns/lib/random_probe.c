/*
 * Random packets for a random policy: a rule is picked, and each field of the packet is one of that rule's values, one
 * beside an edge of it, or anything.
 */
#include "tests/netns/lib/model.h"

#define POOL_MAX 256
struct pool {
	int family;
	u128 values[POOL_MAX];
	size_t count;
};

static void pool_edges(struct pool *pool, u128 low, u128 high, u128 limit)
{
	const u128 edges[] = {low, high, low - 1, high + 1, low + (high - low) / 2};
	for (int i = 0; i < 5 && pool->count < POOL_MAX; i++)
		if (edges[i] <= limit)
			pool->values[pool->count++] = edges[i];
}

static void pool_value(struct pool *pool, const struct value *value, u128 limit)
{
	if (!value)
		return;
	if ((value->kind == VALUE_RANGE || value->kind == VALUE_NETWORK) && value->family == pool->family)
		pool_edges(pool, value->low, value->high, limit);
	for (size_t i = 0; i < value->count; i++)
		pool_value(pool, value->items[i], limit);
	if (value->kind == VALUE_NAME) {
		pool_value(pool, value->named->first, limit);
		pool_value(pool, value->named->more, limit);
	}
}

static u128 any_address(struct random *random, int family)
{
	if (family == 4)
		return 0x0a000000 + random_next(random) % 0x2000000;
	return ((u128)0x20010db8 << 96) + ((u128)(random_next(random) & 0xffffffff) << 64) + random_next(random) % 65536;
}

static u128 pick_address(struct random *random, const struct value *value, int family)
{
	struct pool pool = {.family = family};
	pool_value(&pool, value, family == 4 ? 0xffffffff : U128_MAX);
	return pool.count && random_chance(random, 90) ? pool.values[random_below(random, pool.count)] : any_address(random, family);
}

static uint16_t pick_port(struct random *random, const struct value *value)
{
	struct pool pool = {.family = 0};
	pool_value(&pool, value, 65535);
	return (uint16_t)(pool.count && random_chance(random, 90) ? pool.values[random_below(random, pool.count)] : random_next(random) % 65536);
}

static const struct traffic_item *pick_item(struct random *random, const struct traffic_model *traffic)
{
	if (!traffic->count || random_chance(random, 15))
		return NULL;
	const struct traffic_item *item = &traffic->items[random_below(random, traffic->count)];
	return item->service ? pick_item(random, &item->service->traffic) : item;
}

static int any_protocol(struct random *random, int family)
{
	static const int protocols[] = {6, 6, 6, 17, 17, 132, 1, 58, 50, 51, 47, 2, 89, 253, 255, 112, 115, 104};
	int protocol = protocols[random_below(random, 18)];
	return protocol == 51 && family == 6 ? 50 : protocol;
}

static uint16_t pick_type(struct random *random, const struct value *behind, int family)
{
	/* Mostly those that start a connection: what else there is, conntrack calls invalid. */
	static const uint8_t four[] = {8, 8, 8, 13, 15, 17, 0, 9}, six[] = {128, 128, 133, 134, 135, 136, 139, 143};
	struct pool pool = {.family = 0};
	pool_value(&pool, behind, 255);
	if (pool.count && random_chance(random, 70))
		return (uint16_t)pool.values[random_below(random, pool.count)];
	return family == 4 ? four[random_below(random, 8)] : six[random_below(random, 8)];
}

static void pick_traffic(struct random *random, struct probe *probe, const struct rule_model *rule)
{
	const struct traffic_item *item = rule ? pick_item(random, &rule->traffic) : NULL;
	probe->protocol = item ? item->protocol : any_protocol(random, probe->family);
	if (item && random_chance(random, 8))
		probe->protocol = (const int[]){6, 17, 132}[random_below(random, 3)];
	if (probe->protocol == 51 && probe->family == 6)
		probe->protocol = 50;
	probe->syn = random_chance(random, 85);
	if (probe->protocol == 6 || probe->protocol == 17 || probe->protocol == 132) {
		probe->service = pick_port(random, item ? item->behind : NULL);
		probe->source_port = pick_port(random, rule ? rule->source_port : NULL);
	} else if (probe->protocol == (probe->family == 4 ? 1 : 58))
		probe->service = pick_type(random, item ? item->behind : NULL, probe->family);
}

static void pick_process(struct random *random, struct probe *probe, const struct by_model *by)
{
	static const uint32_t ids[] = {0, 1, 33, 34, 1000, 65534};
	probe->uid = by && by->user_count && random_chance(random, 50) ? by->users[random_below(random, by->user_count)] : ids[random_below(random, 6)];
	probe->gid = by && by->group_count && random_chance(random, 50) ? by->groups[random_below(random, by->group_count)] : ids[random_below(random, 6)];
}

static int pick_interface(struct random *random, const struct value *value, bool loopback)
{
	int index = 0;
	for (int tries = 0; tries < 6; tries++) {
		index = loopback && random_chance(random, 12) ? LOOPBACK : 1 + (int)random_below(random, INTERFACES - 1);
		if (loopback && value && value_names_loopback(value) && random_chance(random, 50))
			index = LOOPBACK;
		if (!value || random_chance(random, 30) || value_has_interface(value, interface_names[index]))
			break;
	}
	return index;
}

static const struct rule_model *pick_rule(struct random *random, const struct model *model, enum way way)
{
	for (int tries = 0; tries < 20 && model->rule_count; tries++) {
		const struct rule_model *rule = &model->rules[random_below(random, model->rule_count)];
		if (rule->way == way)
			return rule;
	}
	return NULL;
}

/* A rule that speaks of one family wants packets of that family. */
static int pick_family(struct random *random, const struct rule_model *rule)
{
	int family = random_chance(random, 50) ? 4 : 6;
	struct pool here = {.family = family}, there = {.family = 10 - family};
	if (!rule || random_chance(random, 15))
		return family;
	pool_value(&here, rule->from, U128_MAX);
	pool_value(&here, rule->to, U128_MAX);
	pool_value(&there, rule->from, U128_MAX);
	pool_value(&there, rule->to, U128_MAX);
	return here.count || !there.count ? family : 10 - family;
}

/*
 * What is sent to many is not routed like the rest (it would reach another hook than is meant), and a raw socket fills in a source that is nought.
 */
static void keep_to_unicast(struct random *random, struct probe *probe)
{
	bool four = probe->family == 4;
	u128 to = probe->destination;
	if (four ? to >> 28 >= 0xe || to >> 24 == 0 : to >> 120 == 0xff || to == 0)
		probe->destination = any_address(random, probe->family);
	if (probe->way == WAY_OUT && probe->source == 0)
		probe->source = any_address(random, probe->family);
}

struct probe probe_random(struct random *random, const struct model *model, bool users)
{
	struct probe probe = {.way = (enum way)random_below(random, WAYS), .arriving = -1, .leaving = -1};
	if (!model->ways[probe.way].managed && random_chance(random, 80))
		probe.way = (enum way)random_below(random, WAYS);
	const struct rule_model *rule = pick_rule(random, model, probe.way);
	probe.family = pick_family(random, rule);
	pick_traffic(random, &probe, rule);
	probe.source = pick_address(random, rule ? rule->from : NULL, probe.family);
	probe.destination = pick_address(random, rule ? rule->to : NULL, probe.family);
	if (probe.way != WAY_OUT)
		probe.arriving = pick_interface(random, rule ? rule->arriving : NULL, probe.way == WAY_IN);
	if (probe.way != WAY_IN)
		probe.leaving = pick_interface(random, rule ? rule->leaving : NULL, probe.way == WAY_OUT);
	if (probe.way == WAY_FORWARD && probe.leaving == probe.arriving)
		probe.leaving = 1 + probe.arriving % (INTERFACES - 1);
	if (probe.leaving > LOOPBACK ? random_chance(random, 2) : probe.leaving == LOOPBACK && random_chance(random, 70))
		probe.destination = probe.family == 4 ? 0x7f000001 + random_below(random, 3) : 1;
	keep_to_unicast(random, &probe);
	if (probe.way == WAY_OUT && users)
		pick_process(random, &probe, rule && rule->by.kind != BY_ALL ? &rule->by : NULL);
	return probe;
}
