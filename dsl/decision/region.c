/*
 * From the clauses of a match to boxes over the space of packets.
 *
 * A clause that is a union (several protocols, host names, several kinds of subject) gives several boxes. A question's boxes are exact: they
 * hold packets that can exist and no others, because a counterexample must be one that can be sent. A rule's boxes may be larger.
 */
#include "dsl/decision/region.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <talloc.h>

#define UNIT_LAST 0xffffffffu
static const struct interval zero[] = {{0, 0}}, names[] = {{1, INTERFACE_LAST}};
static const struct interval processes[] = {{0, 0xffffffff}}, everybody[] = {{0, (u128)1 << 32}}, nobody[] = {{(u128)1 << 32, (u128)1 << 32}};
static const struct interval units[] = {{UNIT_OTHER, UNIT_LAST}}, all_units[] = {{UNIT_NONE, UNIT_LAST}};
static const struct interval loop_v4[] = {{(u128)127 << 24, ((u128)128 << 24) - 1}}, loop_v6[] = {{1, 1}};
#define ONE(array) ((struct intervals){array, 1})

static struct intervals loop_addresses(enum family family) { return family == FAMILY_IPV4 ? ONE(loop_v4) : ONE(loop_v6); }

static int add_box(void *ctx, struct boxes *list, const struct box *box)
{
	for (int field = 0; field < FIELDS; field++)
		if (!box->field[field].count)
			return 0;
	if (!list->at || !(list->count & (list->count - 1))) {
		struct box *more = talloc_realloc(ctx, list->at, struct box, list->count ? list->count * 2 : 1);
		if (!more)
			return -ENOMEM;
		list->at = more;
	}
	list->at[list->count++] = *box;
	return 0;
}

/* Building goes clause by clause: each multiplies the boxes that there are. */
struct building {
	void *ctx;
	const struct match *match;
	enum zone zone;
	bool exact;
	struct boxes *out;
};

static int pattern_set(void *ctx, const struct interface_pattern *patterns, size_t count, struct intervals *out)
{
	struct interval *list = talloc_array(ctx, struct interval, count + 1);
	if (!list)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		u128 first = interface_number(patterns[i].name);
		list[i] = (struct interval){first, patterns[i].prefix ? interface_prefix_last(patterns[i].name) : first};
	}
	int error = intervals_from(ctx, list, count, out);
	talloc_free(list);
	return error;
}

static int interface_set(void *ctx, const struct interfaces *interfaces, struct intervals *out)
{
	struct intervals in = ONE(names), except;
	int error = interfaces->any ? 0 : pattern_set(ctx, interfaces->in, interfaces->in_count, &in);
	error = error ? error : pattern_set(ctx, interfaces->out, interfaces->out_count, &except);
	return error ? error : intervals_subtract(ctx, in, except, out);
}

static int lo_set(void *ctx, struct intervals *out)
{
	u128 lo = interface_number("lo");
	return intervals_single(ctx, lo, lo, out);
}

/* The interfaces of a box in the world: for a question without lo, which is not in it. */
static int world_interfaces(struct building *building, struct box *box)
{
	const struct match *match = building->match;
	struct intervals lo;
	int error = lo_set(building->ctx, &lo);
	box->field[FIELD_ARRIVING] = box->field[FIELD_LEAVING] = ONE(zero);
	if (!error && match->direction != DIRECTION_OUT)
		error = interface_set(building->ctx, &match->arriving, &box->field[FIELD_ARRIVING]);
	if (!error && match->direction != DIRECTION_IN)
		error = interface_set(building->ctx, &match->leaving, &box->field[FIELD_LEAVING]);
	if (!error && building->exact && match->direction == DIRECTION_IN)
		error = intervals_subtract(building->ctx, box->field[FIELD_ARRIVING], lo, &box->field[FIELD_ARRIVING]);
	if (!error && building->exact && match->direction == DIRECTION_OUT)
		error = intervals_subtract(building->ctx, box->field[FIELD_LEAVING], lo, &box->field[FIELD_LEAVING]);
	return error;
}

static int with_subject(struct building *building, struct box *box, struct intervals users, struct intervals groups, struct intervals unit_set)
{
	box->field[FIELD_USER] = users;
	box->field[FIELD_GROUP] = groups;
	box->field[FIELD_UNIT] = unit_set;
	return add_box(building->ctx, building->out, box);
}

static int except_subjects(struct building *building, struct box *box)
{
	const struct subjects *by = &building->match->by;
	struct intervals users, groups, unit_set;
	int error = intervals_subtract(building->ctx, building->exact ? ONE(processes) : ONE(everybody), by->users, &users);
	error = error ? error : intervals_subtract(building->ctx, building->exact ? ONE(processes) : ONE(everybody), by->groups, &groups);
	error = error ? error : intervals_subtract(building->ctx, building->exact ? ONE(units) : ONE(all_units), by->units, &unit_set);
	error = error ? error : with_subject(building, box, users, groups, unit_set);
	return error || !building->exact ? error : with_subject(building, box, ONE(nobody), ONE(nobody), ONE(zero));
}

static int add_subjects(struct building *building, struct box *box)
{
	const struct subjects *by = &building->match->by;
	int error = 0;
	if (building->exact && building->match->direction != DIRECTION_OUT)
		return with_subject(building, box, ONE(nobody), ONE(nobody), ONE(zero));
	if (by->any && !building->exact)
		return with_subject(building, box, ONE(everybody), ONE(everybody), ONE(all_units));
	if (by->any) {
		error = with_subject(building, box, ONE(processes), ONE(processes), ONE(units));
		return error ? error : with_subject(building, box, ONE(nobody), ONE(nobody), ONE(zero));
	}
	if (by->except)
		return except_subjects(building, box);
	if (by->one_process)
		return with_subject(building, box, by->users.count ? by->users : ONE(processes), by->groups.count ? by->groups : ONE(processes),
			by->units.count ? by->units : ONE(units));
	error = with_subject(building, box, by->users, ONE(processes), ONE(units));
	error = error ? error : with_subject(building, box, ONE(processes), by->groups, ONE(units));
	return error ? error : with_subject(building, box, ONE(processes), ONE(processes), by->units);
}

static int by_variable(const void *a, const void *b)
{
	const struct bit *x = a, *y = b;
	return (x->variable > y->variable) - (x->variable < y->variable);
}

static int set_bits(void *ctx, struct box *box, const struct address_term *from, const struct address_term *to)
{
	size_t count = from->literal_count + to->literal_count;
	struct bit *bits = talloc_array(ctx, struct bit, count + 1);
	if (!bits)
		return -ENOMEM;
	for (size_t i = 0; i < from->literal_count; i++)
		bits[i] = (struct bit){2 * from->literals[i].host, from->literals[i].member};
	for (size_t i = 0; i < to->literal_count; i++)
		bits[from->literal_count + i] = (struct bit){2 * to->literals[i].host + 1, to->literals[i].member};
	qsort(bits, count, sizeof *bits, by_variable);
	box->bits = bits;
	box->bit_count = count;
	return 0;
}

/* The destinations of a question lie wholly in the zone, or wholly outside. */
static int cut_destination(struct building *building, struct box *box)
{
	const struct match *match = building->match;
	struct intervals *destination = &box->field[FIELD_DESTINATION], loop = loop_addresses(box->family);
	if (!building->exact || match->direction != DIRECTION_OUT)
		return 0;
	if (building->zone == ZONE_WORLD)
		return intervals_subtract(building->ctx, *destination, loop, destination);
	if (match->leaving.names_loopback && match->interface_named)
		return 0;
	return intervals_intersect(building->ctx, *destination, loop, destination);
}

static int add_addresses(struct building *building, const struct box *pattern)
{
	const struct match *match = building->match;
	int error = 0;
	for (size_t i = 0; i < match->from.count && !error; i++)
		for (size_t k = 0; k < match->to.count && !error; k++) {
			struct box box = *pattern;
			const struct address_term *from = &match->from.terms[i], *to = &match->to.terms[k];
			box.field[FIELD_SOURCE] = from->of[box.family];
			box.field[FIELD_DESTINATION] = to->of[box.family];
			if (!box.field[FIELD_SOURCE].count || !box.field[FIELD_DESTINATION].count)
				continue;
			if (from->literal_count || to->literal_count)
				error = set_bits(building->ctx, &box, from, to);
			error = error ? error : cut_destination(building, &box);
			if (!error && box.field[FIELD_DESTINATION].count)
				error = add_subjects(building, &box);
		}
	return error;
}

static int add_protocols(struct building *building, struct box *box, struct intervals protocols, struct intervals service, struct intervals source)
{
	box->field[FIELD_PROTOCOL] = protocols;
	box->field[FIELD_SERVICE] = service;
	box->field[FIELD_SOURCE_PORT] = source;
	return protocols.count && service.count && source.count ? add_addresses(building, box) : 0;
}

/* TCP, UDP and SCTP with the same ports share a box. */
static int add_ports(struct building *building, struct box *box)
{
	const struct traffic *traffic = &building->match->traffic;
	const struct intervals sets[] = {traffic->tcp, traffic->udp, traffic->sctp};
	static const unsigned numbers[] = {PROTOCOL_TCP, PROTOCOL_UDP, PROTOCOL_SCTP};
	bool done[3] = {false};
	for (int i = 0; i < 3; i++) {
		struct interval list[3];
		struct intervals protocols;
		size_t count = 0;
		for (int k = i; k < 3; k++)
			if (!done[k] && intervals_equal(sets[i], sets[k])) {
				list[count++] = (struct interval){numbers[k], numbers[k]};
				done[k] = true;
			}
		if (!count || !sets[i].count)
			continue;
		int error = intervals_from(building->ctx, list, count, &protocols);
		error = error ? error : add_protocols(building, box, protocols, sets[i], building->match->source_ports);
		if (error)
			return error;
	}
	return 0;
}

static int add_family(struct building *building, struct box *box)
{
	const struct traffic *traffic = &building->match->traffic;
	unsigned own = box->family == FAMILY_IPV4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6;
	struct intervals icmp, others;
	int error = add_ports(building, box);
	error = error ? error : intervals_single(building->ctx, own, own, &icmp);
	error = error ? error : intervals_subtract(building->ctx, traffic->others, icmp, &others);
	if (error || building->match->source_port_named)
		return error;
	error = add_protocols(building, box, icmp, box->family == FAMILY_IPV4 ? traffic->icmp : traffic->icmpv6, ONE(zero));
	return error ? error : add_protocols(building, box, others, ONE(zero), ONE(zero));
}

static int build(struct building *building, struct box *pattern)
{
	int error = 0;
	for (int family = 0; family < FAMILIES && !error; family++) {
		pattern->family = (enum family)family;
		error = add_family(building, pattern);
	}
	return error;
}

static const struct interfaces *relevant(const struct match *match) { return match->direction == DIRECTION_IN ? &match->arriving : &match->leaving; }

int rule_boxes(void *ctx, const struct match *match, enum zone zone, size_t rule, struct boxes *out)
{
	struct building building = {.ctx = ctx, .match = match, .zone = zone, .out = out};
	struct box pattern = {.rule = rule};
	int error = 0;
	if (zone == ZONE_LOOPBACK) {
		if (match->direction == DIRECTION_FORWARD || !relevant(match)->names_loopback)
			return 0;
		pattern.field[FIELD_ARRIVING] = match->direction == DIRECTION_IN ? ONE(names) : ONE(zero);
		pattern.field[FIELD_LEAVING] = match->direction == DIRECTION_OUT ? ONE(names) : ONE(zero);
	} else {
		error = world_interfaces(&building, &pattern);
	}
	return error ? error : build(&building, &pattern);
}

/* Does `to` lie wholly in 127.0.0.0/8 and ::1? */
static bool only_to_loopback(const struct match *match)
{
	bool any = false;
	for (size_t i = 0; i < match->to.count; i++)
		for (int family = 0; family < FAMILIES; family++) {
			struct intervals set = match->to.terms[i].of[family];
			any |= set.count > 0;
			if (set.count && !intervals_cover(loop_addresses((enum family)family), set))
				return false;
		}
	return any;
}

int question_boxes(void *ctx, const struct match *match, enum zone zone, struct boxes *out)
{
	struct building building = {.ctx = ctx, .match = match, .zone = zone, .exact = true, .out = out};
	struct box pattern = {0};
	int error = 0;
	if (zone == ZONE_WORLD) {
		error = world_interfaces(&building, &pattern);
		return error ? error : build(&building, &pattern);
	}
	bool named = match->interface_named && relevant(match)->names_loopback;
	bool meant = match->direction == DIRECTION_OUT && only_to_loopback(match);
	if (match->direction == DIRECTION_FORWARD || (!named && !meant))
		return 0;
	pattern.field[FIELD_ARRIVING] = pattern.field[FIELD_LEAVING] = ONE(zero);
	error = lo_set(ctx, &pattern.field[match->direction == DIRECTION_IN ? FIELD_ARRIVING : FIELD_LEAVING]);
	return error ? error : build(&building, &pattern);
}

int box_bit(const struct box *box, uint32_t variable)
{
	for (size_t i = 0; i < box->bit_count; i++)
		if (box->bits[i].variable == variable)
			return box->bits[i].value;
	return -1;
}

static bool bits_agree(const struct box *a, const struct box *b)
{
	for (size_t i = 0; i < a->bit_count; i++) {
		int other = box_bit(b, a->bits[i].variable);
		if (other >= 0 && other != a->bits[i].value)
			return false;
	}
	return true;
}

bool boxes_overlap(const struct box *a, const struct box *b)
{
	if (a->family != b->family || !bits_agree(a, b))
		return false;
	for (int field = 0; field < FIELDS; field++)
		if (!intervals_overlap(a->field[field], b->field[field]))
			return false;
	return true;
}

int box_intersect(void *ctx, const struct box *a, const struct box *b, struct box *out)
{
	struct box result = *a;
	if (!boxes_overlap(a, b))
		return 1;
	for (int field = 0; field < FIELDS; field++)
		if (!intervals_equal(a->field[field], b->field[field]) && intervals_intersect(ctx, a->field[field], b->field[field], &result.field[field]))
			return -ENOMEM;
	struct bit *bits = talloc_array(ctx, struct bit, a->bit_count + b->bit_count + 1);
	if (!bits)
		return -ENOMEM;
	result.bits = bits;
	result.bit_count = 0;
	for (size_t i = 0; i < a->bit_count; i++)
		bits[result.bit_count++] = a->bits[i];
	for (size_t i = 0; i < b->bit_count; i++)
		if (box_bit(a, b->bits[i].variable) < 0)
			bits[result.bit_count++] = b->bits[i];
	qsort(bits, result.bit_count, sizeof *bits, by_variable);
	*out = result;
	return 0;
}

bool box_holds(const struct box *box, const struct packet *packet)
{
	if (box->family != packet->family)
		return false;
	for (int field = 0; field < FIELDS; field++)
		if (!intervals_contain(box->field[field], packet->field[field]))
			return false;
	for (size_t i = 0; i < box->bit_count; i++) {
		uint32_t host = box->bits[i].variable / 2;
		const bool *members = box->bits[i].variable % 2 ? packet->destination_in : packet->source_in;
		if ((members && members[host]) != box->bits[i].value)
			return false;
	}
	return true;
}
