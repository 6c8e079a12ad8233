/*
 * Is all of a match covered by rules?
 *
 * The answer is sought from below: as long as a packet of the match is in none of the rules chosen so far, the first rule that
 * holds it is chosen too. A match that is not covered is mostly found out by its first packet, and one that is comes out with the
 * few rules that do it, which is what a reader wants to know.
 */
#include "dsl/decision/search.h"
#include <errno.h>
#include <talloc.h>

#define CHOSEN_MAX 64
#define BUDGET_ONE ((struct budget){.nodes = 20000, .bytes = (size_t)64 << 20, .seconds = 10})

struct covering {
	void *ctx; /* scratch */
	const struct decision *decision;
	const struct boxes *boxes; /* of the zone */
	const bool *by;
	bool *used;
	size_t used_count;
	size_t *work;
};

static bool spend(struct covering *covering, size_t work)
{
	bool enough = *covering->work >= work;
	*covering->work -= enough ? work : *covering->work;
	return enough;
}

/* As search: 0 with a packet of the region that no chosen rule holds. */
static int find_uncovered(struct covering *covering, const struct box *region, struct box *witness)
{
	struct candidate *candidates = talloc_array(covering->ctx, struct candidate, covering->boxes->count + 1);
	size_t count = 0;
	struct spending spending;
	if (!candidates)
		return -ENOMEM;
	for (size_t i = 0; covering->used_count && i < covering->boxes->count; i++)
		if (covering->used[covering->boxes->at[i].rule] && boxes_overlap(region, &covering->boxes->at[i]))
			candidates[count++] = (struct candidate){&covering->boxes->at[i], STRICT_DENY};
	const struct question question = {.region = region,
		.candidates = candidates,
		.count = count,
		.wanted = 1u << STRICT_DEFAULT,
		.host_count = decision_policy(covering->decision)->host_count};
	if (covering->used_count && !spend(covering, covering->boxes->count / 4))
		return 2;
	spending_start(&spending, BUDGET_ONE);
	int outcome = search(covering->ctx, &question, &spending, witness);
	return spend(covering, spending.nodes * 8) ? outcome : 2;
}

/* One packet of a box. */
static int choose(struct covering *covering, const struct box *box, struct packet *packet)
{
	size_t hosts = decision_policy(covering->decision)->host_count;
	bool *members = talloc_zero_array(covering->ctx, bool, 2 * hosts + 1);
	if (!members)
		return -ENOMEM;
	*packet = (struct packet){.family = box->family, .source_in = members, .destination_in = members + hosts};
	for (int field = 0; field < FIELDS; field++)
		packet->field[field] = box->field[field].at[0].first;
	for (size_t i = 0; i < box->bit_count; i++)
		members[box->bits[i].variable / 2 + box->bits[i].variable % 2 * hosts] = box->bits[i].value;
	return 0;
}

/* 1: a rule that holds the packet was chosen; 0: none does; 2: no more work. */
static int choose_rule(struct covering *covering, const struct packet *packet)
{
	for (size_t i = 0; i < covering->boxes->count; i++) {
		const struct box *box = &covering->boxes->at[i];
		if (!covering->by[box->rule])
			continue;
		if (!spend(covering, 1))
			return 2;
		if (!box_holds(box, packet))
			continue;
		covering->used[box->rule] = true;
		return covering->used_count++ < CHOSEN_MAX ? 1 : 2;
	}
	return 0;
}

static int cover_region(struct covering *covering, const struct box *region)
{
	for (;;) {
		struct box witness;
		struct packet packet;
		int outcome = find_uncovered(covering, region, &witness);
		if (outcome)
			return outcome;
		outcome = choose(covering, &witness, &packet);
		outcome = outcome ? outcome : choose_rule(covering, &packet);
		if (outcome != 1)
			return outcome;
	}
}

int decision_covered(
	void *ctx, const struct decision *decision, const struct match *match, const bool *by, size_t *work, bool *used)
{
	struct covering covering = {.ctx = talloc_new(ctx), .decision = decision, .by = by, .used = used, .work = work};
	int outcome = covering.ctx ? 1 : -ENOMEM;
	size_t regions = 0;
	for (size_t i = 0; i < decision_policy(decision)->rule_count; i++)
		used[i] = false;
	for (int zone = 0; zone < ZONES && outcome == 1; zone++) {
		struct boxes boxes = {0};
		int error = question_boxes(covering.ctx, match, (enum zone)zone, &boxes);
		covering.boxes = decision_boxes(decision, match->direction, (enum zone)zone);
		outcome = error ? error : 1;
		for (size_t i = 0; i < boxes.count && outcome == 1; i++)
			outcome = cover_region(&covering, &boxes.at[i]);
		regions += boxes.count;
	}
	talloc_free(covering.ctx);
	return outcome == 1 && !regions ? 0 : outcome;
}
