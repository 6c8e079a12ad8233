/*
 * From many disjoint boxes to few sets.
 *
 * A set of the language is a product: its traffic, its sources, its destinations and so on, where protocols and ports are one
 * factor and both families stand in one line. Two sets that differ in one factor only are one set with the union of that factor;
 * so each factor is tried in turn until nothing joins any more, first within each family, then over both. The result depends on
 * the order, its meaning does not.
 */
#include "dsl/analysis/sets.h"
#include "dsl/decision/random.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <talloc.h>

static const struct interval all_ports[] = {{0, 65535}};
static const struct interval full_v4[] = {{0, 0xffffffff}}, full_v6[] = {{0, U128_MAX}};

enum factor {
	FACTOR_TRAFFIC,
	FACTOR_SOURCE_PORT,
	FACTOR_FROM,
	FACTOR_TO,
	FACTOR_ARRIVING,
	FACTOR_LEAVING,
	FACTOR_USERS,
	FACTOR_GROUPS,
	FACTOR_UNITS
};
#define FACTORS SET_FACTORS
#define PARTS_MAX 6

/* The interval sets that a factor is made of. */
static size_t factor_parts(struct packet_set *set, enum factor factor, struct intervals *parts[PARTS_MAX])
{
	struct traffic *traffic = &set->traffic;
	struct intervals *one = NULL;
	switch (factor) {
	case FACTOR_TRAFFIC:
		parts[0] = &traffic->tcp;
		parts[1] = &traffic->udp;
		parts[2] = &traffic->sctp;
		parts[3] = &traffic->icmp;
		parts[4] = &traffic->icmpv6;
		parts[5] = &traffic->others;
		return 6;
	case FACTOR_FROM:
	case FACTOR_TO:
		parts[0] = factor == FACTOR_FROM ? &set->from[0] : &set->to[0];
		parts[1] = factor == FACTOR_FROM ? &set->from[1] : &set->to[1];
		return 2;
	case FACTOR_SOURCE_PORT:
		one = &set->source_ports;
		break;
	case FACTOR_ARRIVING:
		one = &set->arriving;
		break;
	case FACTOR_LEAVING:
		one = &set->leaving;
		break;
	case FACTOR_USERS:
		one = &set->users;
		break;
	case FACTOR_GROUPS:
		one = &set->groups;
		break;
	case FACTOR_UNITS:
		one = &set->units;
		break;
	}
	parts[0] = one;
	return 1;
}

static bool factor_equal(const struct packet_set *a, const struct packet_set *b, enum factor factor)
{
	struct intervals *left[PARTS_MAX], *right[PARTS_MAX];
	size_t count = factor_parts((struct packet_set *)(uintptr_t)a, factor, left);
	factor_parts((struct packet_set *)(uintptr_t)b, factor, right);
	for (size_t i = 0; i < count; i++)
		if (!intervals_equal(*left[i], *right[i]))
			return false;
	return true;
}

static uint64_t hash_number(uint64_t hash, u128 value)
{
	uint64_t state = hash ^ (uint64_t)value;
	state = random_step(&state) ^ (uint64_t)(value >> 64);
	return random_step(&state);
}

static uint64_t hash_factor(uint64_t hash, const struct packet_set *set, enum factor factor)
{
	struct intervals *parts[PARTS_MAX];
	size_t count = factor_parts((struct packet_set *)(uintptr_t)set, factor, parts);
	for (size_t i = 0; i < count; i++) {
		hash = hash_number(hash, parts[i]->count);
		for (size_t k = 0; k < parts[i]->count; k++)
			hash = hash_number(hash_number(hash, parts[i]->at[k].first), parts[i]->at[k].last);
	}
	return hash;
}

static bool same_frame(const struct packet_set *a, const struct packet_set *b)
{
	if (a->direction != b->direction || a->zone != b->zone || a->has[0] != b->has[0] || a->has[1] != b->has[1] ||
		a->bit_count != b->bit_count)
		return false;
	for (size_t i = 0; i < a->bit_count; i++)
		if (a->bits[i].variable != b->bits[i].variable || a->bits[i].value != b->bits[i].value)
			return false;
	return true;
}

static uint64_t hash_all_but(const struct packet_set *set, enum factor skipped)
{
	uint64_t hash = (uint64_t)(set->direction * 64 + set->zone * 16 + set->has[0] * 4 + set->has[1]);
	for (size_t i = 0; i < set->bit_count; i++)
		hash = hash_number(hash, set->bits[i].variable * 2 + set->bits[i].value);
	for (int factor = 0; factor < FACTORS; factor++)
		if (factor != (int)skipped)
			hash = hash_factor(hash, set, (enum factor)factor);
	return hash;
}

static bool equal_all_but(const struct packet_set *a, const struct packet_set *b, enum factor skipped)
{
	if (!same_frame(a, b))
		return false;
	for (int factor = 0; factor < FACTORS; factor++)
		if (factor != (int)skipped && !factor_equal(a, b, (enum factor)factor))
			return false;
	return true;
}

static int join_factor(void *ctx, struct packet_set *into, const struct packet_set *more, enum factor factor)
{
	struct intervals *left[PARTS_MAX], *right[PARTS_MAX];
	size_t count = factor_parts(into, factor, left);
	int error = 0;
	factor_parts((struct packet_set *)(uintptr_t)more, factor, right);
	for (size_t i = 0; i < count && !error; i++)
		error = intervals_union(ctx, *left[i], *right[i], left[i]);
	return error;
}

/* Strays stand in `any` only, with the protocols that have no name: all of them or none. */
static bool strays_fit(const struct packet_set *into, const struct packet_set *more, int family)
{
	unsigned stray = family == FAMILY_IPV4 ? PROTOCOL_ICMPV6 : PROTOCOL_ICMP;
	return !intervals_contain(into->traffic.others, 0) || intervals_contain(more->traffic.others, stray);
}

static int take_family(void *ctx, struct packet_set *into, const struct packet_set *more)
{
	static const struct interval strays[] = {{PROTOCOL_ICMPV6, PROTOCOL_ICMPV6}, {PROTOCOL_ICMP, PROTOCOL_ICMP}};
	int error = 0;
	for (int family = 0; family < FAMILIES && !error; family++) {
		if (into->has[family] || !more->has[family])
			continue;
		if (!strays_fit(into, more, family))
			return 1;
		into->has[family] = true;
		into->from[family] = more->from[family];
		into->to[family] = more->to[family];
		*(family == FAMILY_IPV4 ? &into->traffic.icmp : &into->traffic.icmpv6) =
			family == FAMILY_IPV4 ? more->traffic.icmp : more->traffic.icmpv6;
		if (intervals_contain(into->traffic.others, 0))
			error = intervals_union(
				ctx, into->traffic.others, (struct intervals){&strays[family], 1}, &into->traffic.others);
	}
	return error;
}

static bool more_than_ports(const struct packet_set *set)
{
	return set->traffic.icmp.count || set->traffic.icmpv6.count || set->traffic.others.count;
}

/* Addresses and ICMP hang on their families, and only ports have a source port. */
int set_join_factor(void *ctx, struct packet_set *into, const struct packet_set *more, int factor)
{
	bool any_source_port = intervals_equal(into->source_ports, (struct intervals){all_ports, 1});
	bool same_families = into->has[0] == more->has[0] && into->has[1] == more->has[1];
	if (into->direction != more->direction || into->zone != more->zone || into->bit_count || more->bit_count)
		return 1;
	if ((factor == FACTOR_FROM || factor == FACTOR_TO || factor == FACTOR_TRAFFIC) && !same_families)
		return 1;
	if ((factor == FACTOR_TRAFFIC || factor == SET_FAMILY) && !any_source_port && more_than_ports(more))
		return 1;
	return factor == SET_FAMILY ? take_family(ctx, into, more) : join_factor(ctx, into, more, (enum factor)factor);
}

bool set_same(const struct packet_set *a, const struct packet_set *b)
{
	return same_frame(a, b) && equal_all_but(a, b, (enum factor)FACTORS);
}

struct keyed {
	uint64_t key;
	size_t index;
};

static int by_key(const void *a, const void *b)
{
	const struct keyed *x = a, *y = b;
	if (x->key != y->key)
		return x->key < y->key ? -1 : 1;
	return (x->index > y->index) - (x->index < y->index);
}

static void close_gaps(struct packet_sets *sets, const bool *gone)
{
	size_t kept = 0;
	for (size_t i = 0; i < sets->count; i++)
		if (!gone[i])
			sets->at[kept++] = sets->at[i];
	sets->count = kept;
}

/* Joins along one factor. *joined grows by the number of sets that went into others. */
static int join_along(void *ctx, struct packet_sets *sets, enum factor factor, size_t *joined)
{
	void *scratch = talloc_new(ctx);
	struct keyed *keys = talloc_array(scratch, struct keyed, sets->count + 1);
	bool *gone = talloc_zero_array(scratch, bool, sets->count + 1);
	int error = keys && gone ? 0 : -ENOMEM;
	for (size_t i = 0; i < sets->count && !error; i++)
		keys[i] = (struct keyed){hash_all_but(&sets->at[i], factor), i};
	if (!error)
		qsort(keys, sets->count, sizeof *keys, by_key);
	for (size_t i = 0, head = 0; i < sets->count && !error; i++) {
		if (keys[i].key != keys[head].key)
			head = i;
		struct packet_set *into = &sets->at[keys[head].index], *more = &sets->at[keys[i].index];
		if (i == head || !equal_all_but(into, more, factor))
			continue;
		error = join_factor(ctx, into, more, factor);
		gone[keys[i].index] = true;
		++*joined;
	}
	if (!error)
		close_gaps(sets, gone);
	talloc_free(scratch);
	return error;
}

static int join_all(void *ctx, struct packet_sets *sets)
{
	static const enum factor order[] = {FACTOR_SOURCE_PORT, FACTOR_USERS, FACTOR_GROUPS, FACTOR_UNITS, FACTOR_ARRIVING,
		FACTOR_LEAVING, FACTOR_TRAFFIC, FACTOR_FROM, FACTOR_TO};
	int error = 0;
	for (size_t joined = 1; joined && !error;) {
		joined = 0;
		for (size_t i = 0; i < FACTORS && !error; i++)
			error = join_along(ctx, sets, order[i], &joined);
	}
	return error;
}

/* Both families in one line. */

static int named_others(void *ctx, const struct traffic *traffic, struct intervals *out)
{
	static const struct interval strays[] = {{PROTOCOL_ICMP, PROTOCOL_ICMP}, {PROTOCOL_ICMPV6, PROTOCOL_ICMPV6}};
	return intervals_subtract(ctx, traffic->others, (struct intervals){strays, 2}, out);
}

static bool full(const struct packet_set *set, bool source)
{
	const struct intervals *sides = source ? set->from : set->to;
	return (!set->has[0] || intervals_equal(sides[0], (struct intervals){full_v4, 1})) &&
	       (!set->has[1] || intervals_equal(sides[1], (struct intervals){full_v6, 1}));
}

static bool only_icmp(const struct packet_set *set)
{
	const struct traffic *traffic = &set->traffic;
	return !traffic->tcp.count && !traffic->udp.count && !traffic->sctp.count && !traffic->others.count;
}

/* May the IPv4 set and the IPv6 set be one?  ICMP belongs to its family and does not stand in the way. 1, 0 or -ENOMEM. */
static int families_fit(void *ctx, const struct packet_set *four, const struct packet_set *six)
{
	struct intervals left, right;
	if (four->direction != six->direction || four->zone != six->zone || four->bit_count || six->bit_count)
		return 0;
	for (int factor = 0; factor < FACTORS; factor++)
		if (factor != FACTOR_TRAFFIC && factor != FACTOR_FROM && factor != FACTOR_TO &&
			!factor_equal(four, six, (enum factor)factor))
			return 0;
	if (!intervals_equal(four->traffic.tcp, six->traffic.tcp) || !intervals_equal(four->traffic.udp, six->traffic.udp) ||
		!intervals_equal(four->traffic.sctp, six->traffic.sctp))
		return 0;
	if (only_icmp(four) && only_icmp(six) && !(full(four, true) && full(six, true) && full(four, false) && full(six, false)))
		return 0;
	int error = named_others(ctx, &four->traffic, &left);
	error = error ? error : named_others(ctx, &six->traffic, &right);
	return error ? error : intervals_equal(left, right);
}

static int join_families(void *ctx, struct packet_set *four, const struct packet_set *six)
{
	four->has[FAMILY_IPV6] = true;
	four->from[FAMILY_IPV6] = six->from[FAMILY_IPV6];
	four->to[FAMILY_IPV6] = six->to[FAMILY_IPV6];
	four->traffic.icmpv6 = six->traffic.icmpv6;
	return intervals_union(ctx, four->traffic.others, six->traffic.others, &four->traffic.others);
}

/* Of several that fit, the one that is open where this is open. */
static int find_partner(
	void *ctx, const struct packet_sets *sets, const bool *gone, const struct packet_set *four, size_t *partner)
{
	int best = -1;
	for (size_t i = 0; i < sets->count; i++) {
		const struct packet_set *six = &sets->at[i];
		if (gone[i] || six->has[FAMILY_IPV4])
			continue;
		int fits = families_fit(ctx, four, six);
		if (fits < 0)
			return fits;
		int alike = fits ? (full(four, true) == full(six, true)) + (full(four, false) == full(six, false)) : -1;
		if (alike > best) {
			best = alike;
			*partner = i;
		}
	}
	return best >= 0;
}

#define PAIRED_MAX 2000

static int pair_families(void *ctx, struct packet_sets *sets)
{
	bool *gone = talloc_zero_array(ctx, bool, sets->count + 1);
	int error = gone ? 0 : -ENOMEM;
	for (size_t i = 0; i < sets->count && sets->count <= PAIRED_MAX && !error; i++) {
		size_t partner;
		if (sets->at[i].has[FAMILY_IPV6])
			continue;
		int found = find_partner(ctx, sets, gone, &sets->at[i], &partner);
		error = found < 0 ? found : 0;
		if (found > 0) {
			error = join_families(ctx, &sets->at[i], &sets->at[partner]);
			gone[partner] = true;
		}
	}
	if (!error)
		close_gaps(sets, gone);
	return error;
}

static void set_from_piece(const struct piece *piece, struct packet_set *out)
{
	const struct box *box = &piece->box;
	struct intervals protocols = box->field[FIELD_PROTOCOL], service = box->field[FIELD_SERVICE];
	unsigned own = box->family == FAMILY_IPV4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6;
	*out = (struct packet_set){.direction = piece->direction,
		.zone = piece->zone,
		.source_ports = {all_ports, 1},
		.arriving = box->field[FIELD_ARRIVING],
		.leaving = box->field[FIELD_LEAVING],
		.users = box->field[FIELD_USER],
		.groups = box->field[FIELD_GROUP],
		.units = box->field[FIELD_UNIT],
		.bits = box->bits,
		.bit_count = box->bit_count};
	out->has[box->family] = true;
	out->from[box->family] = box->field[FIELD_SOURCE];
	out->to[box->family] = box->field[FIELD_DESTINATION];
	bool tcp = intervals_contain(protocols, PROTOCOL_TCP), udp = intervals_contain(protocols, PROTOCOL_UDP);
	bool sctp = intervals_contain(protocols, PROTOCOL_SCTP);
	if (tcp || udp || sctp) {
		out->traffic.tcp = tcp ? service : (struct intervals){0};
		out->traffic.udp = udp ? service : (struct intervals){0};
		out->traffic.sctp = sctp ? service : (struct intervals){0};
		out->source_ports = box->field[FIELD_SOURCE_PORT];
	} else if (protocols.count == 1 && protocols.at[0].first == own && protocols.at[0].last == own) {
		*(own == PROTOCOL_ICMP ? &out->traffic.icmp : &out->traffic.icmpv6) = service;
	} else {
		out->traffic.others = protocols;
	}
}

int sets_from_pieces(void *ctx, const struct pieces *pieces, struct packet_sets *out)
{
	out->at = talloc_array(ctx, struct packet_set, pieces->count + 1);
	out->count = pieces->count;
	if (!out->at)
		return -ENOMEM;
	for (size_t i = 0; i < pieces->count; i++)
		set_from_piece(&pieces->at[i], &out->at[i]);
	int error = join_all(ctx, out);
	error = error ? error : pair_families(ctx, out);
	return error ? error : join_all(ctx, out);
}

/* And back to boxes. */

static int add_set_box(void *ctx, const struct packet_set *set, enum family family, struct intervals protocols,
	struct intervals service, struct intervals source_ports, struct pieces *out)
{
	struct piece piece = {set->direction, set->zone, {.family = family, .bits = set->bits, .bit_count = set->bit_count}};
	struct intervals *field = piece.box.field;
	field[FIELD_PROTOCOL] = protocols;
	field[FIELD_SERVICE] = service;
	field[FIELD_SOURCE_PORT] = source_ports;
	field[FIELD_ARRIVING] = set->arriving;
	field[FIELD_LEAVING] = set->leaving;
	field[FIELD_SOURCE] = set->from[family];
	field[FIELD_DESTINATION] = set->to[family];
	field[FIELD_USER] = set->users;
	field[FIELD_GROUP] = set->groups;
	field[FIELD_UNIT] = set->units;
	return protocols.count && service.count ? piece_add(ctx, out, &piece) : 0;
}

int set_pieces(void *ctx, const struct packet_set *set, struct pieces *out)
{
	static const struct interval zero[] = {{0, 0}}, numbers[] = {{6, 6}, {17, 17}, {132, 132}, {1, 1}, {58, 58}};
	const struct traffic *traffic = &set->traffic;
	const struct intervals ports[] = {traffic->tcp, traffic->udp, traffic->sctp}, none = {zero, 1};
	int error = 0;
	for (int family = 0; family < FAMILIES && !error; family++) {
		bool four = family == FAMILY_IPV4;
		struct intervals own = {&numbers[four ? 3 : 4], 1}, others;
		if (!set->has[family])
			continue;
		for (int i = 0; i < 3 && !error; i++)
			error = add_set_box(ctx, set, (enum family)family, (struct intervals){&numbers[i], 1}, ports[i],
				set->source_ports, out);
		error = error ? error
			      : add_set_box(
					ctx, set, (enum family)family, own, four ? traffic->icmp : traffic->icmpv6, none, out);
		error = error ? error : intervals_subtract(ctx, traffic->others, own, &others);
		error = error ? error : add_set_box(ctx, set, (enum family)family, others, none, none, out);
	}
	return error;
}
