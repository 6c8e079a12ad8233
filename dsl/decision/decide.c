/*
 * Questions about a policy, answered by searches.
 *
 * A question is first cut down to the boxes it speaks of, and the rules to those that touch them. "Which verdicts occur?" is one
 * search a verdict; "does this expectation hold?" is one search for a wrong one.
 */
#include "dsl/decision/search.h"
#include <errno.h>
#include <talloc.h>

/* The boxes of all rules, by direction, zone and family. */
struct decision {
	const struct policy *policy;
	struct boxes boxes[DIRECTIONS][ZONES];
};

static enum strictness strictness_of(enum action action)
{
	switch (action) {
	case ACTION_ALLOW: return STRICT_ALLOW;
	case ACTION_REJECT: return STRICT_REJECT;
	case ACTION_DENY: return STRICT_DENY;
	}
	return STRICT_DENY;
}

static enum verdict verdict_of(enum action action)
{
	switch (action) {
	case ACTION_ALLOW: return VERDICT_ALLOW;
	case ACTION_REJECT: return VERDICT_REJECT;
	case ACTION_DENY: return VERDICT_DENY;
	}
	return VERDICT_DENY;
}

int decision_new(void *ctx, const struct policy *policy, struct decision **out)
{
	struct decision *decision = talloc_zero(ctx, struct decision);
	int error = decision ? 0 : -ENOMEM;
	if (decision)
		decision->policy = policy;
	for (size_t i = 0; i < policy->rule_count && !error; i++) {
		const struct rule *rule = &policy->rules[i];
		for (int zone = 0; zone < ZONES && !rule->above && !error; zone++)
			error = rule_boxes(decision, &rule->match, (enum zone)zone, i, &decision->boxes[rule->match.direction][zone]);
	}
	if (error)
		TALLOC_FREE(decision);
	*out = decision;
	return error;
}

const struct policy *decision_policy(const struct decision *decision) { return decision->policy; }

const struct boxes *decision_boxes(const struct decision *decision, enum direction direction, enum zone zone)
{
	return &decision->boxes[direction][zone];
}

/* One box of a question: the rules that touch it, and what becomes of the rest. */
struct inquiry {
	const struct decision *decision;
	enum direction direction;
	enum zone zone;
	struct box region;
	struct candidate *candidates;
	size_t count;
};

static int inquire(void *ctx, const struct decision *decision, enum direction direction, enum zone zone, const struct box *region, struct inquiry *out)
{
	const struct boxes *boxes = &decision->boxes[direction][zone];
	*out = (struct inquiry){.decision = decision, .direction = direction, .zone = zone, .region = *region};
	out->candidates = talloc_array(ctx, struct candidate, boxes->count + 1);
	if (!out->candidates)
		return -ENOMEM;
	for (size_t i = 0; i < boxes->count; i++)
		if (boxes_overlap(region, &boxes->at[i]))
			out->candidates[out->count++] = (struct candidate){&boxes->at[i], strictness_of(decision->policy->rules[boxes->at[i].rule].action)};
	return 0;
}

static enum action default_action(const struct inquiry *inquiry)
{
	return inquiry->zone == ZONE_LOOPBACK ? ACTION_ALLOW : inquiry->decision->policy->directions[inquiry->direction].action;
}

static unsigned wanted_bits(const struct inquiry *inquiry, unsigned verdicts)
{
	static const enum action actions[] = {ACTION_ALLOW, ACTION_DENY, ACTION_REJECT};
	unsigned wanted = 0;
	for (int i = 0; i < 3; i++)
		if (verdicts & (1u << verdict_of(actions[i])))
			wanted |= 1u << strictness_of(actions[i]);
	return verdicts & (1u << verdict_of(default_action(inquiry))) ? wanted | 1u << STRICT_DEFAULT : wanted;
}

static int find_box(void *ctx, const struct inquiry *inquiry, unsigned wanted, struct spending *spending, struct box *witness)
{
	const struct question question = {.region = &inquiry->region, .candidates = inquiry->candidates, .count = inquiry->count, .wanted = wanted,
		.host_count = inquiry->decision->policy->host_count};
	return search(ctx, &question, spending, witness);
}

static int choose_packet(void *ctx, const struct inquiry *inquiry, const struct box *box, struct packet *out)
{
	size_t hosts = inquiry->decision->policy->host_count;
	*out = (struct packet){.direction = inquiry->direction, .family = box->family};
	for (int field = 0; field < FIELDS; field++)
		out->field[field] = pleasant_value((enum field)field, box->family, inquiry->direction, box->field[field]);
	if (!hosts)
		return 0;
	bool *source = talloc_zero_array(ctx, bool, hosts), *destination = talloc_zero_array(ctx, bool, hosts);
	if (!source || !destination)
		return -ENOMEM;
	for (size_t i = 0; i < box->bit_count; i++)
		(box->bits[i].variable % 2 ? destination : source)[box->bits[i].variable / 2] = box->bits[i].value;
	out->source_in = source;
	out->destination_in = destination;
	return 0;
}

/* The line that decides one packet: the first in reading order of the strictest verdict, for boxes stand in reading order. */
static void judge(const struct inquiry *inquiry, struct answer *answer)
{
	const struct policy *policy = inquiry->decision->policy;
	const struct rule *best = NULL;
	for (size_t i = 0; i < inquiry->count; i++) {
		const struct rule *rule = &policy->rules[inquiry->candidates[i].box->rule];
		bool stricter = !best || strictness_of(rule->action) > strictness_of(best->action);
		if (stricter && box_holds(inquiry->candidates[i].box, &answer->packet))
			best = rule;
	}
	answer->verdict = verdict_of(best ? best->action : default_action(inquiry));
	answer->because = (struct because){.kind = best ? BECAUSE_RULE : inquiry->zone == ZONE_LOOPBACK ? BECAUSE_BUILTIN : BECAUSE_DEFAULT, .rule = best};
	if (answer->because.kind == BECAUSE_DEFAULT)
		answer->because.fallback = &policy->directions[inquiry->direction];
}

static int find_answer(void *ctx, const struct inquiry *inquiry, unsigned verdicts, struct spending *spending, struct answer *out)
{
	struct box witness;
	int outcome = find_box(ctx, inquiry, wanted_bits(inquiry, verdicts), spending, &witness);
	if (outcome)
		return outcome;
	outcome = choose_packet(ctx, inquiry, &witness, &out->packet);
	if (!outcome)
		judge(inquiry, out);
	return outcome;
}

/* Every box of a question, in both zones. */
struct inquiries {
	struct inquiry *at;
	size_t count;
};

static int inquire_all(void *ctx, const struct decision *decision, const struct match *match, struct inquiries *out)
{
	*out = (struct inquiries){0};
	for (int zone = 0; zone < ZONES; zone++) {
		struct boxes boxes = {0};
		int error = question_boxes(ctx, match, (enum zone)zone, &boxes);
		struct inquiry *more = error ? NULL : talloc_realloc(ctx, out->at, struct inquiry, out->count + boxes.count + 1);
		if (!more)
			return error ? error : -ENOMEM;
		out->at = more;
		for (size_t i = 0; i < boxes.count && !error; i++)
			error = inquire(ctx, decision, match->direction, (enum zone)zone, &boxes.at[i], &out->at[out->count++]);
		if (error)
			return error;
	}
	return 0;
}

/* Does this rule decide any packet of the question, none before it having done so?  As search. */
static int decides(void *ctx, const struct inquiries *inquiries, size_t rule, unsigned wanted_verdict, struct spending *spending, struct answer *out)
{
	for (size_t i = 0; i < inquiries->count; i++)
		for (size_t k = 0; k < inquiries->at[i].count; k++) {
			struct inquiry part = inquiries->at[i];
			if (part.candidates[k].box->rule != rule)
				continue;
			int outcome = box_intersect(ctx, &inquiries->at[i].region, part.candidates[k].box, &part.region);
			outcome = outcome ? outcome : find_answer(ctx, &part, 1u << wanted_verdict, spending, out);
			if (outcome != 1)
				return outcome;
		}
	return 1;
}

/* One verdict for all: its line is the first in reading order that decides any of the packets. */
static int first_line(void *ctx, const struct decision *decision, const struct inquiries *inquiries, struct spending *spending, struct answer *answer)
{
	if (answer->because.kind == BECAUSE_RULE && answer->because.rule == decision->policy->rules)
		return 0;
	const struct rule *rules = decision->policy->rules;
	size_t most = answer->because.kind == BECAUSE_RULE ? (size_t)(answer->because.rule - rules) : decision->policy->rule_count;
	for (size_t rule = 0; rule < most; rule++) {
		struct answer better;
		if (verdict_of(rules[rule].action) != answer->verdict)
			continue;
		int outcome = decides(ctx, inquiries, rule, answer->verdict, spending, &better);
		if (outcome == 0)
			*answer = better;
		if (outcome != 1)
			return outcome;
	}
	return 0;
}

static int unmanaged(void *ctx, const struct inquiries *inquiries, struct answer *answer)
{
	*answer = (struct answer){.verdict = VERDICT_UNMANAGED, .because = {.kind = BECAUSE_UNMANAGED}};
	return choose_packet(ctx, &inquiries->at[0], &inquiries->at[0].region, &answer->packet);
}

static int find_verdicts(void *ctx, const struct inquiries *inquiries, struct spending *spending, struct answer *answers, size_t *count)
{
	static const enum verdict verdicts[] = {VERDICT_ALLOW, VERDICT_DENY, VERDICT_REJECT};
	for (int v = 0; v < 3; v++)
		for (size_t i = 0; i < inquiries->count; i++) {
			int outcome = find_answer(ctx, &inquiries->at[i], 1u << verdicts[v], spending, &answers[*count]);
			if (outcome == 0) {
				++*count;
				break;
			}
			if (outcome != 1)
				return outcome;
		}
	return 0;
}

int decide(void *ctx, const struct decision *decision, const struct match *match, struct budget budget, struct answer *answers, size_t *count)
{
	struct inquiries inquiries;
	struct spending spending;
	*count = 0;
	spending_start(&spending, budget);
	int error = inquire_all(ctx, decision, match, &inquiries);
	if (error || !inquiries.count)
		return error ? error : 1;
	if (!decision->policy->directions[match->direction].managed) {
		*count = 1;
		return unmanaged(ctx, &inquiries, answers);
	}
	error = find_verdicts(ctx, &inquiries, &spending, answers, count);
	return error || *count != 1 ? error : first_line(ctx, decision, &inquiries, &spending, answers);
}

/* Would the same packet get a right verdict if the host names had other addresses? */
static int turns_on_names(void *ctx, const struct inquiry *inquiry, unsigned right, const struct packet *packet, struct spending *spending, bool *unknown)
{
	struct inquiry same = *inquiry;
	struct box witness;
	int error = 0;
	*unknown = false;
	for (int field = 0; field < FIELDS && !error; field++)
		error = intervals_single(ctx, packet->field[field], packet->field[field], &same.region.field[field]);
	error = error ? error : inquire(ctx, inquiry->decision, inquiry->direction, inquiry->zone, &same.region, &same);
	if (error)
		return error;
	int outcome = find_box(ctx, &same, wanted_bits(&same, right), spending, &witness);
	*unknown = outcome == 0;
	return outcome < 0 ? outcome : 0;
}

int expectation_prove(void *ctx, const struct decision *decision, const struct expectation *expectation, struct budget budget, struct answer *counter,
	bool *unknown)
{
	const unsigned allow = 1u << VERDICT_ALLOW, others = 1u << VERDICT_DENY | 1u << VERDICT_REJECT;
	unsigned wrong = expectation->allow ? others : allow, right = expectation->allow ? allow : others;
	struct inquiries inquiries;
	struct spending spending;
	bool gave_up = false;
	*unknown = false;
	spending_start(&spending, budget);
	int error = inquire_all(ctx, decision, &expectation->match, &inquiries);
	if (error || !inquiries.count)
		return error ? error : 2;
	if (!decision->policy->directions[expectation->match.direction].managed)
		return expectation->allow ? 0 : (error = unmanaged(ctx, &inquiries, counter)) ? error : 1;
	for (size_t i = 0; i < inquiries.count; i++) {
		int outcome = find_answer(ctx, &inquiries.at[i], wrong, &spending, counter);
		if (outcome < 0)
			return outcome;
		if (outcome == 0) {
			error = turns_on_names(ctx, &inquiries.at[i], right, &counter->packet, &spending, unknown);
			return error ? error : 1;
		}
		gave_up |= outcome == 2;
	}
	return gave_up ? 3 : 0;
}
