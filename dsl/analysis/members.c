/*
 * Members of a rule's sets that can never matter.
 *
 * `allow in tcp/{ 22, 443 }` beside a deny of tcp/22 does something, but not all that it says. A rule that denies a part of what
 * an allow lets through is the ordinary case and nothing to speak of; that it takes all of one member, which somebody wrote down,
 * is. Members are looked at where they stand in the rule itself: a set with a name serves other rules too.
 */
#include "dsl/analysis/review.h"
#include <errno.h>
#include <talloc.h>

/* The rule as it would be with one member in the place of the set that stands in `slot`. */
struct part {
	const struct rule *rule;
	struct match_node node;
	struct item **slot; /* in `node` */
	struct item behind; /* of traffic: the protocol, when the set stands behind its slash */
};

static int report_member(struct review *review, const struct rule *rule, const struct item *member)
{
	struct span spans[4];
	review->partly[rule - review->policy->rules] = true;
	size_t count = used_spans(review, spans, 4);
	struct diagnostic *one =
		report_warning(review->diagnostics, "W108", member->span, "this part of the rule never decides a packet: %s",
			count > 1 ? "stricter rules always do" : "a stricter rule always does");
	diagnostic_related(review->diagnostics, one, spans[0], count > 1 ? "one of them is this" : "this one");
	diagnostic_hint(review->diagnostics, one, "the stricter rule wins wherever it stands: %s",
		rule->action == ACTION_ALLOW ? "narrow it with `except`, or take this part out" : "take this part out");
	return 0;
}

/* The member's own match, resolved in the names of the policy. 1: it cannot be had. */
static int part_match(struct review *review, void *ctx, struct part *part, const struct item *member, struct match *out)
{
	struct diagnostics *unused = diagnostics_new(ctx);
	struct item alone = *member;
	if (!unused)
		return -ENOMEM;
	alone.next = NULL;
	*part->slot = &alone;
	return policy_question(ctx, review->policy, review->environment, &part->node, unused, out);
}

static int look_at_member(struct review *review, struct part *part, const struct item *member)
{
	void *scratch = talloc_new(review->ctx);
	struct match match;
	int outcome = scratch ? part_match(review, scratch, part, member, &match) : -ENOMEM;
	outcome = outcome < 0 ? outcome
		  : outcome   ? 0
			      : decision_covered(scratch, review->decision, &match, review->by, &review->work, review->used);
	talloc_free(scratch);
	return outcome == 1 ? report_member(review, part->rule, member) : outcome < 0 ? outcome : 0;
}

static int look_at_set(struct review *review, struct part *part, const struct item *set)
{
	int error = 0;
	if (!set || set->kind != ITEM_SET || !set->items || !set->items->next)
		return 0;
	for (const struct item *member = set->items; member && !error; member = member->next)
		error = look_at_member(review, part, member);
	return error;
}

static int look_at_traffic(struct review *review, const struct rule *rule)
{
	struct part part = {.rule = rule, .node = *rule->written};
	const struct item *traffic = rule->written->traffic;
	part.slot = &part.node.traffic;
	if (traffic->kind != ITEM_PROTOCOL || !traffic->items)
		return look_at_set(review, &part, traffic);
	part.behind = *traffic;
	part.node.traffic = &part.behind;
	part.slot = &part.behind.items;
	return look_at_set(review, &part, traffic->items);
}

static int look_at_addresses(struct review *review, const struct rule *rule)
{
	struct part part = {.rule = rule, .node = *rule->written};
	part.slot = &part.node.from;
	int error = look_at_set(review, &part, rule->written->from);
	part.node = *rule->written;
	part.slot = &part.node.to;
	return error ? error : look_at_set(review, &part, rule->written->to);
}

/* The stricter rules that may take packets of this one. */
static bool stricter_rules(struct review *review, const struct rule *rule)
{
	bool any = false;
	for (size_t i = 0; i < review->policy->rule_count; i++) {
		const struct rule *other = &review->policy->rules[i];
		review->by[i] =
			rule_stricter(other, rule) && !rule_conditional(other) && !match_disjoint(&rule->match, &other->match);
		any |= review->by[i];
	}
	return any;
}

int review_members(struct review *review)
{
	int error = 0;
	for (size_t i = 0; i < review->policy->rule_count && !error; i++) {
		const struct rule *rule = &review->policy->rules[i];
		if (rule->action == ACTION_DENY || rule->above || review->silent[i] || !rule_judged(review, rule))
			continue;
		if (!review_spend(review, review->policy->rule_count) || !stricter_rules(review, rule))
			continue;
		error = look_at_traffic(review, rule);
		error = error ? error : look_at_addresses(review, rule);
	}
	return error;
}
