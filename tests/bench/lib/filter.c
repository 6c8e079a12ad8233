/*
 * The plain shapes, and packets that meet a filter set or miss it.
 *
 * A miss is made of pieces of several hits, so that it looks up what the rules know: an address of one filter, a port of another.
 */
#include "tests/bench/lib/filter.h"
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <talloc.h>

#define SERVICES 30
#define TRIES 10000

const char *const shape_names[SHAPES] = {"tuples", "tuples6", "networks", "ranges", "list", "acl", "fw", "ipc"};

static const struct ports any_port = {0, 65535};

static unsigned bits_of(int family)
{
	return family == 4 ? 32 : 128;
}

static u128 prefix_mask(int family, int prefix)
{
	unsigned bits = bits_of(family);
	u128 all = family == 4 ? 0xffffffff : U128_MAX;
	return prefix ? all << (bits - (unsigned)prefix) & all : 0;
}

/* Unicast, and neither loopback nor "this network": nothing that the stack itself would throw away. */
static bool usable(int family, u128 address)
{
	unsigned first = (unsigned)(address >> (bits_of(family) - 8));
	return family == 4 ? first >= 1 && first < 224 && first != 127 : first >> 5 == 1;
}

static u128 random_address(struct random *random, int family)
{
	if (family == 6)
		return (u128)0x2001 << 112 | (u128)random_next(random) << 64 | random_next(random);
	u128 address;
	do
		address = random_next(random) & 0xffffffff;
	while (!usable(4, address));
	return address;
}

static struct network random_network(struct random *random, int family, int prefix)
{
	return (struct network){random_address(random, family) & prefix_mask(family, prefix), prefix};
}

static struct ports random_range(struct random *random)
{
	uint16_t first = (uint16_t)(1024 + random_below(random, 40000));
	return (struct ports){first, (uint16_t)(first + (1u << random_below(random, 12)))};
}

/* The well-known ports of a shape: spread, and the same whatever the seed. */
static uint16_t nth_service(size_t i)
{
	return (uint16_t)(20 + i * 733 % 9973);
}

/* As published lists of unwanted networks are: mostly hosts, then /24s, then all else; one in ten IPv6. */
static struct filter listed_network(struct random *random)
{
	struct filter filter = {.source_port = any_port, .service = any_port, .family = random_chance(random, 90) ? 4 : 6};
	size_t kind = random_below(random, 100);
	int bits = (int)bits_of(filter.family), wide = filter.family == 4 ? 24 : 48;
	int prefix = kind < 60 ? bits : kind < 85 ? wide : wide - 4 + (int)random_below(random, filter.family == 4 ? 12 : 20);
	filter.source = random_network(random, filter.family, prefix);
	return filter;
}

static struct filter plain_filter(struct random *random, enum shape shape)
{
	struct filter filter = {.family = shape == SHAPE_TUPLES6 ? 6 : 4, .source_port = any_port};
	if (shape == SHAPE_LIST)
		return listed_network(random);
	int bits = (int)bits_of(filter.family);
	bool exact = shape == SHAPE_TUPLES || shape == SHAPE_TUPLES6;
	filter.protocol = random_chance(random, 50) ? IPPROTO_TCP : IPPROTO_UDP;
	filter.source = random_network(random, filter.family, exact ? bits : 16 + (int)random_below(random, 15));
	uint16_t port = exact ? (uint16_t)(1 + random_below(random, 65535)) : nth_service(random_below(random, SERVICES));
	filter.service = shape == SHAPE_RANGES ? random_range(random) : (struct ports){port, port};
	return filter;
}

/* Different filters: a hash of those that there are. */
static uint64_t hash_filter(const struct filter *filter)
{
	const uint64_t parts[] = {(uint64_t)filter->family << 32 | (uint64_t)filter->protocol,
		(uint64_t)(filter->source.address >> 64), (uint64_t)filter->source.address,
		(uint64_t)(filter->destination.address >> 64), (uint64_t)filter->destination.address,
		(uint64_t)filter->source.prefix << 32 | (uint64_t)filter->destination.prefix,
		(uint64_t)filter->source_port.first << 48 | (uint64_t)filter->source_port.last << 32 |
			(uint64_t)filter->service.first << 16 | filter->service.last};
	uint64_t hash = 0xcbf29ce484222325;
	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++)
		hash = (hash ^ parts[i]) * 0x9e3779b97f4a7c15, hash ^= hash >> 29;
	return hash;
}

static bool same_network(struct network a, struct network b)
{
	return a.address == b.address && a.prefix == b.prefix;
}

static bool same_ports(struct ports a, struct ports b)
{
	return a.first == b.first && a.last == b.last;
}

static bool same_filter(const struct filter *a, const struct filter *b)
{
	return a->family == b->family && a->protocol == b->protocol && same_network(a->source, b->source) &&
	       same_network(a->destination, b->destination) && same_ports(a->source_port, b->source_port) &&
	       same_ports(a->service, b->service);
}

/* Notes filter `i` in the table of room `mask` + 1, unless its like is there. */
static bool note_new(uint32_t *table, uint64_t mask, const struct filter *all, uint32_t i)
{
	uint64_t at = hash_filter(&all[i]) & mask;
	for (; table[at]; at = (at + 1) & mask)
		if (same_filter(&all[table[at] - 1], &all[i]))
			return false;
	table[at] = i + 1;
	return true;
}

/* What comes in is told by where it comes from, what goes out by where it goes. */
static void turn(struct filter *filter)
{
	struct network source = filter->source;
	filter->source = filter->destination;
	filter->destination = source;
}

int filters_make(void *ctx, enum shape shape, enum way way, size_t count, uint64_t seed, struct filters *out)
{
	struct random random = {seed * 0xd1342543de82ef95 + 11};
	uint64_t room = 16;
	while (room < 2 * count)
		room *= 2;
	struct filter *all = talloc_array(ctx, struct filter, count);
	uint32_t *table = talloc_zero_array(all, uint32_t, room);
	if (!all || !table)
		return -ENOMEM;
	for (uint32_t i = 0; i < count;) {
		all[i] = shape < SHAPE_ACL ? plain_filter(&random, shape) : classbench_filter(&random, shape, count);
		if (way == WAY_OUT && shape < SHAPE_ACL)
			turn(&all[i]);
		i += note_new(table, room - 1, all, i);
	}
	talloc_free(table);
	*out = (struct filters){shape, all, count};
	return 0;
}

static bool network_has(int family, struct network network, u128 address)
{
	return (address & prefix_mask(family, network.prefix)) == network.address;
}

static bool ports_have(struct ports ports, uint16_t port)
{
	return port >= ports.first && port <= ports.last;
}

bool filter_matches(const struct filter *filter, const struct probe *probe)
{
	if (!ports_have(filter->service, probe->service) || !ports_have(filter->source_port, probe->source_port))
		return false;
	return filter->family == probe->family && (!filter->protocol || filter->protocol == probe->protocol) &&
	       network_has(filter->family, filter->source, probe->source) &&
	       network_has(filter->family, filter->destination, probe->destination);
}

static u128 own_address(int family)
{
	return family == 4 ? 0xc6336401 /* 198.51.100.1 */ : (u128)0x20010db8 << 96 | 1;
}

/* `own`: this end is the host's, so that where a filter does not name it, it is one address. */
static u128 address_in(struct random *random, int family, struct network network, bool own)
{
	if (own && !network.prefix)
		return own_address(family);
	for (int tries = 0; tries < TRIES; tries++) {
		u128 inside = ((u128)random_next(random) << 64 | random_next(random)) & ~prefix_mask(family, network.prefix);
		u128 address = network.address | (family == 4 ? inside & 0xffffffff : inside);
		if (usable(family, address))
			return address;
	}
	return network.address;
}

static uint16_t port_in(struct random *random, struct ports ports)
{
	uint16_t port = (uint16_t)(ports.first + random_below(random, (size_t)(ports.last - ports.first) + 1));
	return port ? port : 1;
}

static struct probe probe_of(struct random *random, const struct filter *filter, enum way way)
{
	static const int protocols[] = {IPPROTO_TCP, IPPROTO_UDP};
	return (struct probe){.way = way,
		.family = filter->family,
		.arriving = -1,
		.leaving = -1,
		.protocol = filter->protocol ? filter->protocol : protocols[random_below(random, 2)],
		.service = port_in(random, filter->service),
		.source_port = port_in(random, filter->source_port),
		.source = address_in(random, filter->family, filter->source, way == WAY_OUT),
		.destination = address_in(random, filter->family, filter->destination, way == WAY_IN),
		.syn = true};
}

int filters_hits(struct random *random, struct filters filters, enum way way, struct probe *probes, size_t count)
{
	for (size_t i = 0; i < count; i++)
		probes[i] = probe_of(random, &filters.at[random_below(random, filters.count)], way);
	return 0;
}

static struct probe piece(struct random *random, struct filters filters, enum way way)
{
	return probe_of(random, &filters.at[random_below(random, filters.count)], way);
}

/* Pieces of other filters in place of some of its own; a filter alone has no others, so now and then something else. */
static struct probe mixed_probe(struct random *random, struct filters filters, enum way way)
{
	struct probe probe = piece(random, filters, way), ports = piece(random, filters, way),
		     there = piece(random, filters, way);
	probe.service = random_chance(random, 80) ? ports.service : (uint16_t)(1 + random_below(random, 65535));
	probe.source_port = (uint16_t)(1024 + random_below(random, 64000));
	if (probe.family == there.family && random_chance(random, 50))
		probe.destination = there.destination;
	if (random_chance(random, 20))
		probe.source = random_address(random, probe.family);
	return probe;
}

/* The services lie apart and close together: most filters are told from the packet by these alone. */
static bool any_matches(struct filters filters, const struct ports *services, const struct probe *probe)
{
	for (size_t i = 0; i < filters.count; i++)
		if (ports_have(services[i], probe->service) && filter_matches(&filters.at[i], probe))
			return true;
	return false;
}

/* What a list of a million does not hold: its IPv4 as a sorted set. */
static int list_misses(struct random *random, struct filters filters, enum way way, struct probe *probes, size_t count)
{
	void *ctx = talloc_new(NULL);
	struct interval *all = talloc_array(ctx, struct interval, filters.count);
	struct intervals listed = {0};
	size_t networks = 0;
	int status = all ? 0 : -ENOMEM;
	for (size_t i = 0; !status && i < filters.count; i++) {
		const struct filter *filter = &filters.at[i];
		struct network far = way == WAY_OUT ? filter->destination : filter->source;
		if (filter->family == 4)
			all[networks++] = (struct interval){far.address, far.address | (prefix_mask(4, far.prefix) ^ 0xffffffff)};
	}
	status = status ? status : intervals_from(ctx, all, networks, &listed);
	const struct filter anyone = {.family = 4, .service = any_port, .source_port = any_port};
	for (size_t i = 0; !status && i < count; i++) {
		u128 address;
		do
			address = random_address(random, 4);
		while (intervals_contain(listed, address));
		probes[i] = probe_of(random, &anyone, way);
		*(way == WAY_OUT ? &probes[i].destination : &probes[i].source) = address;
	}
	talloc_free(ctx);
	return status;
}

int filters_misses(struct random *random, struct filters filters, enum way way, struct probe *probes, size_t count)
{
	bool list = filters.count && filters.shape == SHAPE_LIST;
	struct ports *services = list ? NULL : talloc_array(NULL, struct ports, filters.count);
	if (list)
		return list_misses(random, filters, way, probes, count);
	int status = services ? 0 : -ENOMEM;
	for (size_t i = 0; !status && i < filters.count; i++)
		services[i] = filters.at[i].service;
	for (size_t i = 0; !status && i < count; i++) {
		int tries = TRIES;
		do
			probes[i] = mixed_probe(random, filters, way);
		while (--tries && any_matches(filters, services, &probes[i]));
		status = tries ? 0 : -ERANGE;
	}
	talloc_free(services);
	return status;
}
