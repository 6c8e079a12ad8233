/*
 * Boxes: what a match is made of, as products of interval sets.
 */
#ifndef PORTPOLICY_REGION_H
#define PORTPOLICY_REGION_H

#include "portpolicy/decision.h"

enum zone { ZONE_WORLD, ZONE_LOOPBACK };
#define ZONES 2

/* One (host name, side) that must hold or must not. */
struct bit {
	uint32_t variable; /* 2 * host, + 1 for the destination */
	bool value;
};

/* All packets of one family whose every field is in its set, and whose bits are so. No set is empty. */
struct box {
	enum family family;
	struct intervals field[FIELDS];
	const struct bit *bits; /* sorted by variable */
	size_t bit_count;
	size_t rule; /* index in the policy, for boxes of rules */
};

struct boxes {
	struct box *at;
	size_t count;
};

/* What a rule matches in a zone. In the loopback zone its interface clause is taken as satisfied; a rule that does not name lo has no box there. */
int rule_boxes(void *ctx, const struct match *match, enum zone zone, size_t rule, struct boxes *out);
/* The packets of a zone that a question describes, cut to those that exist (packet.h, Domain). */
int question_boxes(void *ctx, const struct match *match, enum zone zone, struct boxes *out);

/* The common part of two boxes: 0, 1 when there is none, -ENOMEM. */
int box_intersect(void *ctx, const struct box *a, const struct box *b, struct box *out);
bool boxes_overlap(const struct box *a, const struct box *b);
bool box_holds(const struct box *box, const struct packet *packet);
/* 1 or 0 as a bit is fixed, -1 when it is free. */
int box_bit(const struct box *box, uint32_t variable);

/* A value of the set that a reader likes. */
u128 pleasant_value(enum field field, enum family family, enum direction direction, struct intervals set);

/* decide.c: what a decision is made of. The boxes of all rules but those `above` a limit, in reading order. */
const struct policy *decision_policy(const struct decision *decision);
const struct boxes *decision_boxes(const struct decision *decision, enum direction direction, enum zone zone);

#endif
