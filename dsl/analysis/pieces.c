/*
 * Boxes and where they lie: what there is, what a rule matches of it, and one without the other.
 */
#include "dsl/analysis/sets.h"
#include <errno.h>
#include <string.h>
#include <talloc.h>

static const struct interval all_ports[] = {{0, 65535}}, all_types[] = {{0, 255}};
static const struct interval all_others[] = {{0, 5}, {7, 16}, {18, 131}, {133, 255}};
static const struct interval all_v4[] = {{0, 0xffffffff}}, all_v6[] = {{0, U128_MAX}};
static const struct address_term everywhere[] = {{.of = {{all_v4, 1}, {all_v6, 1}}}};
static const struct interface_pattern loopback[] = {{"lo", false}};

int piece_add(void *ctx, struct pieces *list, const struct piece *piece)
{
	if (!list->at || !(list->count & (list->count - 1))) {
		struct piece *more = talloc_realloc(ctx, list->at, struct piece, list->count ? list->count * 2 : 1);
		if (!more)
			return -ENOMEM;
		list->at = more;
	}
	list->at[list->count++] = *piece;
	return 0;
}

/* No rule can tell packets of no process from those of a process that nobody names, so the latter stand for both. */
static bool stands_for_others(enum direction direction, const struct box *box)
{
	return direction == DIRECTION_OUT && box->field[FIELD_USER].at[0].first == NO_PROCESS;
}

static int add_question(void *ctx, const struct match *match, enum zone zone, struct pieces *out)
{
	struct boxes boxes = {0};
	int error = question_boxes(ctx, match, zone, &boxes);
	for (size_t i = 0; i < boxes.count && !error; i++)
		if (!stands_for_others(match->direction, &boxes.at[i]))
			error = piece_add(ctx, out, &(struct piece){match->direction, zone, boxes.at[i]});
	return error;
}

int whole_pieces(void *ctx, enum direction direction, enum zone zone, struct pieces *out)
{
	static const struct interfaces any = {.any = true}, lo = {.in = loopback, .in_count = 1, .names_loopback = true};
	const struct match match = {.direction = direction,
		.traffic = {.tcp = {all_ports, 1},
			.udp = {all_ports, 1},
			.sctp = {all_ports, 1},
			.icmp = {all_types, 1},
			.icmpv6 = {all_types, 1},
			.others = {all_others, 4}},
		.arriving = zone == ZONE_LOOPBACK && direction == DIRECTION_IN ? lo : any,
		.leaving = zone == ZONE_LOOPBACK && direction == DIRECTION_OUT ? lo : any,
		.interface_named = zone == ZONE_LOOPBACK,
		.from = {everywhere, 1},
		.to = {everywhere, 1},
		.source_ports = {all_ports, 1},
		.by.any = true};
	return zone == ZONE_LOOPBACK && direction == DIRECTION_FORWARD ? 0 : add_question(ctx, &match, zone, out);
}

/* A question about 127.0.0.1 speaks of loopback; a rule does only where it names lo. */
int match_pieces(void *ctx, const struct match *match, struct pieces *out)
{
	const struct interfaces *named = match->direction == DIRECTION_IN ? &match->arriving : &match->leaving;
	int error = add_question(ctx, match, ZONE_WORLD, out);
	if (error || match->direction == DIRECTION_FORWARD || !match->interface_named || !named->names_loopback)
		return error;
	return add_question(ctx, match, ZONE_LOOPBACK, out);
}

static bool piece_meets(const struct piece *a, const struct piece *b)
{
	return a->direction == b->direction && a->zone == b->zone && boxes_overlap(&a->box, &b->box);
}

bool pieces_meet(const struct pieces *a, const struct pieces *b)
{
	for (size_t i = 0; i < a->count; i++)
		for (size_t k = 0; k < b->count; k++)
			if (piece_meets(&a->at[i], &b->at[k]))
				return true;
	return false;
}

static int with_bit(void *ctx, const struct box *box, struct bit bit, struct box *out)
{
	struct bit *bits = talloc_array(ctx, struct bit, box->bit_count + 1);
	size_t at = 0;
	if (!bits)
		return -ENOMEM;
	while (at < box->bit_count && box->bits[at].variable < bit.variable)
		at++;
	if (at)
		memcpy(bits, box->bits, at * sizeof *bits);
	bits[at] = bit;
	if (box->bit_count > at)
		memcpy(bits + at + 1, box->bits + at, (box->bit_count - at) * sizeof *bits);
	*out = *box;
	out->bits = bits;
	out->bit_count++;
	return 0;
}

/* What is left of a piece: field by field, the part outside the other; the rest goes on inside it. */
static int subtract_piece(void *ctx, const struct piece *from, const struct piece *take, struct pieces *out)
{
	struct piece inside = *from, rest;
	int error = 0;
	for (int field = 0; field < FIELDS && !error; field++) {
		struct intervals a = inside.box.field[field], b = take->box.field[field];
		if (intervals_cover(b, a))
			continue;
		rest = inside;
		error = intervals_subtract(ctx, a, b, &rest.box.field[field]);
		error = error ? error : piece_add(ctx, out, &rest);
		error = error ? error : intervals_intersect(ctx, a, b, &inside.box.field[field]);
	}
	for (size_t i = 0; i < take->box.bit_count && !error; i++) {
		struct bit bit = take->box.bits[i];
		if (box_bit(&inside.box, bit.variable) >= 0)
			continue;
		rest = inside;
		error = with_bit(ctx, &inside.box, (struct bit){bit.variable, !bit.value}, &rest.box);
		error = error ? error : piece_add(ctx, out, &rest);
		error = error ? error : with_bit(ctx, &inside.box, bit, &inside.box);
	}
	return error;
}

int pieces_subtract(void *ctx, const struct pieces *from, const struct pieces *take, struct pieces *out)
{
	struct pieces left = *from;
	int error = 0;
	for (size_t i = 0; i < take->count && !error; i++) {
		struct pieces next = {0};
		bool met = false;
		for (size_t k = 0; k < left.count && !met; k++)
			met = piece_meets(&left.at[k], &take->at[i]);
		for (size_t k = 0; k < left.count && met && !error; k++) {
			error = piece_meets(&left.at[k], &take->at[i]) ? subtract_piece(ctx, &left.at[k], &take->at[i], &next)
								       : piece_add(ctx, &next, &left.at[k]);
			if (!error && next.count > PIECES_MAX)
				error = 1;
		}
		if (met)
			left = next;
	}
	if (!error)
		*out = left;
	return error;
}

int pieces_cover(void *ctx, const struct pieces *outer, const struct pieces *inner)
{
	void *scratch = talloc_new(ctx);
	struct pieces left;
	int error = scratch ? pieces_subtract(scratch, inner, outer, &left) : -ENOMEM;
	bool covered = !error && !left.count;
	talloc_free(scratch);
	return error < 0 ? error : covered;
}
