/*
 * Rules that do not do what they say.
 *
 * A rule that stricter ones always override never decides a packet. A rule that others of its action cover, alone or together,
 * changes nothing, and neither does one that only repeats the default. A deny that nothing else contradicts may be meant all the
 * same, as a guard against what others may add: with a `reason` it is left in peace. A limit is worth nothing where another
 * allow, or the default, lets the same packets by.
 */
#include "dsl/analysis/review.h"
#include <errno.h>
#include <talloc.h>

#define SHOWN_MAX 8 /* lines that a message names */
#define CHEAP 16    /* rules looked at for the work of one comparison with a packet */

/* Which rules cover it, and how a message says so. */
struct cover {
	const struct rule *rule;
	struct span spans[SHOWN_MAX];
	size_t count;
};

static void keep_cover(const struct review *review, const struct rule *rule, struct cover *cover)
{
	cover->rule = rule;
	cover->count = used_spans(review, cover->spans, SHOWN_MAX);
}

static int report_cover(struct review *review, const char *code, const struct cover *cover, const char *one, const char *many)
{
	char *lines = lines_text(review->ctx, cover->rule->span.source, cover->spans, cover->count);
	if (!lines)
		return -ENOMEM;
	struct diagnostic *message =
		cover->count > 1 ? report_warning(review->diagnostics, code, cover->rule->span, "%s, those in %s", many, lines)
				 : report_warning(review->diagnostics, code, cover->rule->span, "%s", one);
	diagnostic_related(review->diagnostics, message, cover->spans[0], cover->count > 1 ? "one of them is this" : "this one");
	return 0;
}

/* 1: stricter rules take all of its packets, and `used` says which; else as decision_covered. */
static int overridden(struct review *review, const struct rule *rule)
{
	bool any = false;
	if (!review_spend(review, review->policy->rule_count / CHEAP))
		return 2;
	for (size_t i = 0; i < review->policy->rule_count; i++) {
		const struct rule *other = &review->policy->rules[i];
		review->by[i] =
			!rule_conditional(other) && other->match.direction == rule->match.direction && rule_stricter(other, rule);
		any |= review->by[i];
	}
	return any ? decision_covered(review->ctx, review->decision, &rule->match, review->by, &review->work, review->used) : 0;
}

static int find_overridden(struct review *review)
{
	int error = 0;
	for (size_t i = 0; i < review->policy->rule_count && !error; i++) {
		const struct rule *rule = &review->policy->rules[i];
		struct cover cover;
		if (rule->action == ACTION_DENY || rule->above || !rule_judged(review, rule))
			continue;
		int outcome = overridden(review, rule);
		if (outcome < 0)
			return outcome;
		if (outcome != 1)
			continue;
		review->silent[i] = true;
		keep_cover(review, rule, &cover);
		error = report_cover(review, "W102", &cover, "this rule never decides a packet: a stricter rule always does",
			"this rule never decides a packet: stricter rules always do");
	}
	return error;
}

/* 1: without it every packet would be decided and logged alike. */
static int repeats(struct review *review, size_t index)
{
	const struct rule *rule = &review->policy->rules[index];
	bool any = false;
	if (!review_spend(review, review->policy->rule_count / CHEAP))
		return 2;
	for (size_t i = 0; i < review->policy->rule_count; i++) {
		const struct rule *other = &review->policy->rules[i];
		bool same = other->action == rule->action && (other->log || !rule->log);
		review->by[i] = i != index && !review->silent[i] && !rule_conditional(other) &&
				other->match.direction == rule->match.direction && (same || rule_stricter(other, rule));
		any |= review->by[i];
	}
	return any ? decision_covered(review->ctx, review->decision, &rule->match, review->by, &review->work, review->used) : 0;
}

/* It names lo and no other interface. */
static bool only_loopback(const struct rule *rule)
{
	const struct interfaces *on = rule->match.direction == DIRECTION_IN ? &rule->match.arriving : &rule->match.leaving;
	return rule->match.direction != DIRECTION_FORWARD && on->names_loopback && !on->any && on->in_count == 1;
}

/* Does another rule have a weaker opinion of one of its packets? Certainly not, or perhaps. Asked of rules that do not speak of loopback. */
static bool contradicted(struct review *review, const struct rule *rule)
{
	if (!review_spend(review, review->policy->rule_count))
		return true;
	for (size_t i = 0; i < review->policy->rule_count; i++) {
		const struct rule *other = &review->policy->rules[i];
		if (rule_stricter(rule, other) && !only_loopback(other) && !match_disjoint(&rule->match, &other->match))
			return true;
	}
	return false;
}

/* Loopback has a default of its own, which is to allow. */
static bool repeats_default(struct review *review, const struct rule *rule)
{
	const struct direction_policy *fallback = &review->policy->directions[rule->match.direction];
	if (rule->log)
		return false;
	if (rule->action == ACTION_ALLOW)
		return fallback->action == ACTION_ALLOW || only_loopback(rule);
	if (rule->match.arriving.names_loopback || rule->match.leaving.names_loopback)
		return false;
	return rule->action == fallback->action && !rule->reason && !fallback->log && !contradicted(review, rule);
}

static void report_default(struct review *review, const struct rule *rule)
{
	struct span fallback = review->policy->directions[rule->match.direction].span;
	bool allow = rule->action == ACTION_ALLOW, loopback = allow && only_loopback(rule);
	struct diagnostic *one = report_warning(review->diagnostics, "W105", rule->span, "this rule changes nothing: %s",
		loopback ? "loopback is allowed but for what rules deny there"
		: allow	 ? "the default allows all that no rule denies"
			 : "the default says the same, and no rule says otherwise");
	if (!loopback)
		diagnostic_related(review->diagnostics, one, fallback, "the default");
	if (!allow)
		diagnostic_hint(review->diagnostics, one, "take it out, or say with `reason` what it guards against");
}

/* Of two that repeat each other the later one is told, so the last is looked at first; the messages stand in order. */
static int find_repeated(struct review *review)
{
	size_t count = review->policy->rule_count;
	struct cover *covers = talloc_zero_array(review->ctx, struct cover, count + 1);
	int outcome = covers ? 0 : -ENOMEM;
	for (size_t i = count; i-- > 0 && outcome >= 0;) {
		const struct rule *rule = &review->policy->rules[i];
		if (review->silent[i] || rule_conditional(rule) || !rule_judged(review, rule))
			continue;
		outcome = repeats(review, i);
		if (outcome != 1)
			continue;
		review->silent[i] = true;
		keep_cover(review, rule, &covers[i]);
	}
	for (size_t i = 0; i < count && outcome >= 0; i++) {
		const struct rule *rule = &review->policy->rules[i];
		if (covers[i].rule)
			outcome = report_cover(review, "W103", &covers[i], "this rule changes nothing: another covers it",
				"this rule changes nothing: others cover it together");
		else if (!review->silent[i] && !rule_conditional(rule) && rule_judged(review, rule) &&
			 repeats_default(review, rule))
			report_default(review, rule);
	}
	talloc_free(covers);
	return outcome < 0 ? outcome : 0;
}

static void warn_bypass(struct review *review, const struct rule *rule, struct span by, const char *what)
{
	struct diagnostic *one = report_warning(
		review->diagnostics, "W104", rule->span, "above this limit packets may still pass: %s allows them too", what);
	diagnostic_related(review->diagnostics, one, by, "this one");
}

static void find_bypassed(struct review *review)
{
	const struct policy *policy = review->policy;
	for (size_t i = 0; i < policy->rule_count; i++) {
		const struct rule *rule = &policy->rules[i];
		if (rule->action != ACTION_ALLOW || !rule_conditional(rule) || review->silent[i] || !rule_judged(review, rule))
			continue;
		const struct direction_policy *rest = &policy->directions[rule->match.direction];
		if (rest->action == ACTION_ALLOW) {
			warn_bypass(review, rule, rest->span, "the default");
			continue;
		}
		for (size_t j = 0; j < policy->rule_count; j++) {
			const struct rule *other = &policy->rules[j];
			if (other->action != ACTION_ALLOW || rule_conditional(other) ||
				match_disjoint(&rule->match, &other->match))
				continue;
			warn_bypass(review, rule, other->span, "another rule");
			break;
		}
	}
}

/* Beyond it a policy is machine-made, and comparing its rules pair by pair takes too long. */
#define COMPARED_MAX 2000

int review_rules(struct review *review)
{
	int error = find_overridden(review);
	error = error ? error : find_repeated(review);
	if (!error && review->policy->rule_count <= COMPARED_MAX)
		find_bypassed(review);
	return error;
}
