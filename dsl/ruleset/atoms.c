/* Lines as boxes whose addresses are networks. */
#include "dsl/ruleset/encoding.h"
#include "dsl/ruleset/prefix.h"
#include <errno.h>
#include <string.h>
#include <talloc.h>

#define TOO_MANY ((size_t)1 << 40)
#define PROTOCOLS_MAX 16 /* numbers of other protocols that are written out */

static const struct interval port_range[] = {{0, 65535}}, type_range[] = {{0, 255}};
#define ONE(array) ((struct intervals){array, 1})

unsigned dimension_bits(enum dimension dimension, enum family family)
{
	switch (dimension) {
	case DIMENSION_PROTOCOL:
		return 8;
	case DIMENSION_SERVICE:
	case DIMENSION_SOURCE_PORT:
		return 16;
	case DIMENSION_SOURCE:
	case DIMENSION_DESTINATION:
		break;
	}
	return family == FAMILY_IPV4 ? 32 : 128;
}

bool atom_open(const struct atom *atom, enum dimension dimension)
{
	return !atom->first[dimension] && atom->last[dimension] == prefix_last(0, 0, dimension_bits(dimension, atom->family));
}

bool atom_single(const struct atom *atom, enum dimension dimension)
{
	return atom->first[dimension] == atom->last[dimension];
}

/* A type and a port never meet, for their protocols differ. */
bool atoms_overlap(const struct atom *a, const struct atom *b)
{
	static const enum dimension telling[] = {DIMENSION_DESTINATION, DIMENSION_SOURCE, DIMENSION_SERVICE, DIMENSION_PROTOCOL,
		DIMENSION_SOURCE_PORT};
	if (a->family != b->family)
		return false;
	for (int i = 0; i < DIMENSIONS; i++)
		if (a->first[telling[i]] > b->last[telling[i]] || b->first[telling[i]] > a->last[telling[i]])
			return false;
	return true;
}

static bool all_interfaces(const struct interfaces *interfaces)
{
	return interfaces->any && !interfaces->out_count;
}

bool rule_plain(const struct rule *rule)
{
	const struct match *match = &rule->match;
	return match->by.any && all_interfaces(&match->arriving) && all_interfaces(&match->leaving) && !rule->limit &&
	       !rule->above && !rule->has_connections;
}

/* The parts of a rule's traffic in one family: a set of protocols, and what stands behind the slash. */
struct traffic_part {
	struct intervals protocols, service, source_ports;
	bool types;
};
#define TRAFFIC_PARTS 6

static bool open_ports(const struct match *match, struct intervals ports)
{
	return intervals_equal(ports, ONE(port_range)) && intervals_equal(match->source_ports, ONE(port_range));
}

static size_t port_parts(const struct match *match, struct traffic_part *parts)
{
	static const struct interval numbers[] = {{PROTOCOL_TCP, PROTOCOL_TCP}, {PROTOCOL_UDP, PROTOCOL_UDP},
		{PROTOCOL_SCTP, PROTOCOL_SCTP}};
	const struct intervals sets[] = {match->traffic.tcp, match->traffic.udp, match->traffic.sctp};
	size_t count = 0;
	for (int i = 0; i < 3; i++)
		if (sets[i].count)
			parts[count++] = (struct traffic_part){{&numbers[i], 1}, sets[i], match->source_ports, false};
	return count;
}

static size_t type_parts(const struct match *match, enum family family, struct traffic_part *parts)
{
	static const struct interval numbers[] = {{PROTOCOL_ICMP, PROTOCOL_ICMP}, {PROTOCOL_ICMPV6, PROTOCOL_ICMPV6}};
	struct intervals types = family == FAMILY_IPV4 ? match->traffic.icmp : match->traffic.icmpv6;
	bool open = intervals_equal(types, ONE(type_range));
	if (!types.count)
		return 0;
	*parts = (struct traffic_part){{&numbers[family], 1}, open ? ONE(port_range) : types, ONE(port_range), !open};
	return 1;
}

/* Every protocol, or those that have nothing behind a slash here. */
static int traffic_parts(
	void *ctx, const struct match *match, enum family family, struct traffic_part *parts, size_t *count)
{
	const struct traffic *traffic = &match->traffic;
	unsigned own = family == FAMILY_IPV4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6;
	struct intervals others, own_set;
	bool any = open_ports(match, traffic->tcp) && open_ports(match, traffic->udp) && open_ports(match, traffic->sctp) &&
		   intervals_equal(family == FAMILY_IPV4 ? traffic->icmp : traffic->icmpv6, ONE(type_range));
	int error = intervals_single(ctx, own, own, &own_set);
	error = error ? error : intervals_subtract(ctx, traffic->others, own_set, &others);
	size_t left = 0;
	for (size_t i = 0; i < others.count; i++)
		left += (size_t)(others.at[i].last - others.at[i].first) + 1;
	any = any && left == 256 - 4;
	*count = 0;
	if (any || others.count)
		parts[(*count)++] =
			(struct traffic_part){any ? ONE(type_range) : others, ONE(port_range), ONE(port_range), false};
	if (any)
		return error;
	*count += port_parts(match, parts + *count);
	*count += type_parts(match, family, parts + *count);
	return error;
}

static struct intervals addresses_of(struct addresses addresses, enum family family)
{
	return addresses.count ? addresses.terms[0].of[family] : (struct intervals){0};
}

static size_t networks_in(struct intervals set, enum family family)
{
	struct prefix_counts counts = {{0}};
	size_t networks = 0;
	prefix_count(set, dimension_bits(DIMENSION_SOURCE, family), &counts);
	for (int i = 0; i <= PREFIX_BITS_MAX; i++)
		networks += counts.of[i];
	return networks;
}

static size_t protocols_in(struct intervals set)
{
	size_t count = 0;
	if (intervals_equal(set, ONE(type_range)))
		return 1;
	for (size_t i = 0; i < set.count; i++)
		count += (size_t)(set.at[i].last - set.at[i].first) + 1;
	return count <= PROTOCOLS_MAX ? count : TOO_MANY;
}

static size_t times(size_t a, size_t b)
{
	size_t product;
	return __builtin_mul_overflow(a, b, &product) || product > TOO_MANY ? TOO_MANY : product;
}

size_t atoms_needed(const struct rule *rule)
{
	size_t sum = 0;
	void *work = talloc_new(NULL);
	for (int f = 0; f < FAMILIES && work; f++) {
		struct intervals from = addresses_of(rule->match.from, f), to = addresses_of(rule->match.to, f);
		struct traffic_part parts[TRAFFIC_PARTS];
		size_t count, traffic = 0;
		if (!from.count || !to.count)
			continue;
		if (from.count > TOO_MANY || traffic_parts(work, &rule->match, f, parts, &count))
			sum = TOO_MANY;
		for (size_t i = 0; sum < TOO_MANY && i < count; i++)
			traffic += times(protocols_in(parts[i].protocols), times(parts[i].service.count, parts[i].source_ports.count));
		sum += times(traffic, times(networks_in(from, f), networks_in(to, f)));
	}
	talloc_free(work);
	return work && sum < TOO_MANY ? sum : TOO_MANY;
}

static int add_atom(void *ctx, struct atoms *atoms, const struct atom *atom)
{
	if (!atoms->at || !(atoms->count & (atoms->count - 1))) {
		struct atom *more = talloc_realloc(ctx, atoms->at, struct atom, atoms->count ? atoms->count * 2 : 1);
		if (!more)
			return -ENOMEM;
		atoms->at = more;
	}
	atoms->at[atoms->count++] = *atom;
	return 0;
}

/* Multiplies by one dimension after the other; addresses network by network. */
struct product {
	void *ctx;
	struct atoms *out;
	struct intervals of[DIMENSIONS];
	struct atom atom;
};

static int multiply(struct product *product, int dimension)
{
	if (dimension == DIMENSIONS)
		return add_atom(product->ctx, product->out, &product->atom);
	bool address = dimension == DIMENSION_SOURCE || dimension == DIMENSION_DESTINATION;
	unsigned bits = dimension_bits(dimension, product->atom.family);
	struct intervals set = product->of[dimension];
	bool every = dimension == DIMENSION_PROTOCOL && intervals_equal(set, ONE(type_range));
	int error = 0;
	for (size_t i = 0; i < set.count && !error; i++)
		for (u128 at = set.at[i].first;;) {
			u128 last = set.at[i].last;
			if (address)
				last = prefix_last(at, prefix_fitting(at, last, bits), bits);
			else if (dimension == DIMENSION_PROTOCOL && !every)
				last = at;
			product->atom.first[dimension] = at;
			product->atom.last[dimension] = last;
			error = multiply(product, dimension + 1);
			if (error || last == set.at[i].last)
				break;
			at = last + 1;
		}
	return error;
}

int atoms_of(void *ctx, struct line *line, struct atoms *out)
{
	const struct match *match = &line->rule->match;
	void *work = talloc_new(ctx);
	int error = work ? 0 : -ENOMEM;
	for (int f = 0; f < FAMILIES && !error; f++) {
		struct traffic_part parts[TRAFFIC_PARTS];
		size_t count = 0;
		error = traffic_parts(work, match, f, parts, &count);
		for (size_t i = 0; i < count && !error; i++) {
			struct product product = {.ctx = ctx,
				.out = out,
				.of = {parts[i].protocols, parts[i].service, parts[i].source_ports,
					addresses_of(match->from, f), addresses_of(match->to, f)},
				.atom = {.line = line, .family = f, .types = parts[i].types}};
			error = multiply(&product, 0);
		}
	}
	talloc_free(work);
	return error;
}
