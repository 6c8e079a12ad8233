/*
 * What the expects say of each other, and of the rules that they need.
 *
 * Expects are sets of packets like rules, so whether others imply one is the same question as whether other rules cover one: a
 * second decision is made of them for it. And they are the only place where a policy says what it is for: an `any` in an
 * allow that serves expects, none of which speaks of more than a part of it, lets more through than anybody asked for.
 */
#include "dsl/analysis/review.h"
#include <errno.h>
#include <talloc.h>

#define SHOWN_MAX 8
#define USES_MAX 3 /* clauses that a message names */

/* The expects as rules, to ask which cover which. */
struct expects {
	struct policy policy;
	struct decision *decision;
	bool *by, *used, *implied;
	struct {
		struct span spans[SHOWN_MAX];
		size_t count;
	} * implying; /* of each that is implied */
};

static int expects_new(struct review *review, struct expects *out)
{
	size_t count = review->policy->expect_count;
	struct rule *rules = talloc_zero_array(review->ctx, struct rule, count + 1);
	*out = (struct expects){.policy = *review->policy};
	out->by = talloc_zero_array(review->ctx, bool, count + 1);
	out->used = talloc_zero_array(review->ctx, bool, count + 1);
	out->implied = talloc_zero_array(review->ctx, bool, count + 1);
	out->implying = talloc_zero_size(review->ctx, (count + 1) * sizeof *out->implying);
	if (!rules || !out->by || !out->used || !out->implied || !out->implying)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		rules[i] = (struct rule){.span = review->policy->expects[i].span,
			.action = ACTION_DENY,
			.match = review->policy->expects[i].match};
	out->policy.rules = rules;
	out->policy.rule_count = count;
	return decision_new(review->ctx, &out->policy, &out->decision);
}

static bool expect_judged(const struct review *review, const struct expectation *expect)
{
	return !expect->span.source->library && review->policy->directions[expect->match.direction].managed;
}

static void keep_implying(struct expects *expects, size_t index)
{
	size_t *count = &expects->implying[index].count;
	expects->implied[index] = true;
	for (size_t i = 0; i < expects->policy.rule_count && *count < SHOWN_MAX; i++)
		if (expects->used[i])
			expects->implying[index].spans[(*count)++] = expects->policy.rules[i].span;
}

static int report_implied(struct review *review, const struct expects *expects, size_t index)
{
	struct span span = review->policy->expects[index].span;
	const struct span *spans = expects->implying[index].spans;
	size_t count = expects->implying[index].count;
	char *lines = lines_text(review->ctx, span.source, spans, count);
	if (!lines)
		return -ENOMEM;
	struct diagnostic *one =
		count == 1 ? report_warning(review->diagnostics, "W106", span, "this expect says nothing new: another implies it")
			   : report_warning(review->diagnostics, "W106", span,
				     "this expect says nothing new: others imply it together, those in %s", lines);
	diagnostic_related(review->diagnostics, one, spans[0], count == 1 ? "this one" : "one of them is this");
	return 0;
}

static int ask_implied(struct review *review, struct expects *expects, size_t index)
{
	const struct expectation *all = review->policy->expects, *expect = &all[index];
	bool any = false;
	for (size_t i = 0; i < review->policy->expect_count; i++) {
		expects->by[i] = i != index && review->held[i] && !expects->implied[i] && all[i].allow == expect->allow &&
				 all[i].match.direction == expect->match.direction;
		any |= expects->by[i];
	}
	return any && review_spend(review, review->policy->expect_count)
		       ? decision_covered(
				 review->ctx, expects->decision, &expect->match, expects->by, &review->work, expects->used)
		       : 0;
}

/* The last is looked at first, so that of two equal ones the later is told. */
static int find_implied(struct review *review)
{
	struct expects expects;
	int outcome = expects_new(review, &expects);
	for (size_t i = review->policy->expect_count; i-- > 0 && outcome >= 0;) {
		const struct expectation *expect = &review->policy->expects[i];
		if (!expect_judged(review, expect))
			continue;
		outcome = ask_implied(review, &expects, i);
		if (outcome == 1)
			keep_implying(&expects, i);
	}
	for (size_t i = 0; i < review->policy->expect_count && outcome >= 0; i++)
		if (expects.implied[i])
			outcome = report_implied(review, &expects, i);
	return outcome < 0 ? outcome : 0;
}

/* A clause of a rule in which `any` is written, and the same clause of an expect. */
enum clause { CLAUSE_TRAFFIC, CLAUSE_FROM, CLAUSE_TO };
#define CLAUSES 3

static const struct item *clause_of(const struct match_node *node, enum clause clause)
{
	switch (clause) {
	case CLAUSE_TRAFFIC:
		return node->traffic;
	case CLAUSE_FROM:
		return node->from;
	case CLAUSE_TO:
		return node->to;
	}
	return NULL;
}

/* The word itself, alone or behind a slash; `any except ...` says that somebody has thought about it. */
static const struct item *written_any(const struct match_node *node, enum clause clause)
{
	const struct item *item = clause_of(node, clause);
	if (item && item->kind == ITEM_PROTOCOL && item->items)
		item = item->items;
	return item && item->kind == ITEM_ANY ? item : NULL;
}

static bool single(const struct addresses *addresses)
{
	size_t count = 0;
	for (size_t i = 0; i < addresses->count; i++)
		for (int family = 0; family < FAMILIES; family++) {
			struct intervals set = addresses->terms[i].of[family];
			count += set.count;
			if (set.count && set.at[0].first != set.at[0].last)
				return false;
		}
	return count == 1;
}

/* An expect about one address of those that the rule is for is a sample: it says nothing of what is needed. */
static bool sample(const struct expectation *expect, const struct rule *rule)
{
	return (single(&expect->match.from) && !single(&rule->match.from)) ||
	       (single(&expect->match.to) && !single(&rule->match.to));
}

/* An expect that means all of what the rule says there, or all of it but something, needs the `any`. */
static bool needs_all(const struct expectation *expect, const struct rule *rule, enum clause clause)
{
	const struct item *item = clause_of(expect->written, clause);
	const struct match *match = &expect->match, *all = &rule->match;
	if (item && item->kind == ITEM_PROTOCOL && item->items)
		item = item->items;
	if (!item || (item->kind == ITEM_EXCEPT && item->low->kind == ITEM_ANY))
		return true;
	switch (clause) {
	case CLAUSE_TRAFFIC:
		return traffic_covers(&match->traffic, &all->traffic);
	case CLAUSE_FROM:
		return addresses_cover(&match->from, &all->from);
	case CLAUSE_TO:
		return addresses_cover(&match->to, &all->to);
	}
	return true;
}

/* Would the expect fail without the rule? 1, 0, 2 or -ENOMEM, as decision_covered. */
static int needs(struct review *review, const struct expectation *expect, const struct rule *rule)
{
	if (!expect->allow || match_disjoint(&expect->match, &rule->match))
		return 0;
	for (size_t i = 0; i < review->policy->rule_count; i++) {
		const struct rule *other = &review->policy->rules[i];
		review->by[i] = other != rule && other->action == ACTION_ALLOW && other->match.direction == rule->match.direction;
	}
	if (!review_spend(review, review->policy->rule_count))
		return 2;
	int outcome = decision_covered(review->ctx, review->decision, &expect->match, review->by, &review->work, review->used);
	return outcome == 0 ? 1 : outcome == 1 ? 0 : outcome;
}

/* What the expects that need a rule say of one of its clauses. */
struct uses {
	const struct expectation *first;
	char *text; /* "`tcp/443`, `tcp/8443`" */
	size_t count;
	bool all, undecided;
};

static int add_use(
	struct review *review, struct uses *uses, const struct expectation *expect, const struct rule *rule, enum clause clause)
{
	uses->all |= needs_all(expect, rule, clause);
	if (uses->all)
		return 0;
	char *text = span_text(review->ctx, clause_of(expect->written, clause)->span);
	if (!text)
		return -ENOMEM;
	uses->first = uses->first ? uses->first : expect;
	if (uses->count++ < USES_MAX)
		uses->text = talloc_asprintf(review->ctx, "%s%s`%s`", uses->text ? uses->text : "", uses->text ? ", " : "", text);
	return uses->text ? 0 : -ENOMEM;
}

static int gather_uses(struct review *review, const struct rule *rule, enum clause clause, struct uses *uses)
{
	int error = 0;
	for (size_t i = 0; i < review->policy->expect_count && !error && !uses->all && !uses->undecided; i++) {
		const struct expectation *expect = &review->policy->expects[i];
		int outcome = sample(expect, rule) ? 0 : needs(review, expect, rule);
		if (outcome < 0)
			return outcome;
		uses->undecided |= outcome == 2;
		if (outcome == 1)
			error = add_use(review, uses, expect, rule, clause);
	}
	return error;
}

static int look_at_any(struct review *review, const struct rule *rule, enum clause clause)
{
	const struct item *any = written_any(rule->written, clause);
	struct uses uses = {0};
	int error = any ? gather_uses(review, rule, clause, &uses) : 0;
	if (!any || error || uses.all || uses.undecided || !uses.count)
		return error;
	struct diagnostic *one = report_warning(review->diagnostics, "W107", any->span,
		"this `any` is wider than every use: the expects that need the rule speak of %s%s only", uses.text,
		uses.count > USES_MAX ? " and the like" : "");
	diagnostic_related(review->diagnostics, one, uses.first->span, "needed here");
	diagnostic_hint(review->diagnostics, one, "write what is used, or an expect that needs all of it");
	return 0;
}

static int find_wide(struct review *review)
{
	int error = 0;
	for (size_t i = 0; i < review->policy->rule_count && !error; i++) {
		const struct rule *rule = &review->policy->rules[i];
		if (rule->action != ACTION_ALLOW || review->silent[i] || !rule_judged(review, rule) ||
			review->policy->directions[rule->match.direction].action == ACTION_ALLOW)
			continue;
		for (enum clause clause = 0; clause < CLAUSES && !error; clause++)
			error = look_at_any(review, rule, clause);
	}
	return error;
}

int review_expects(struct review *review)
{
	if (!review->policy->expect_count)
		return 0;
	int error = find_implied(review);
	return error ? error : find_wide(review);
}
