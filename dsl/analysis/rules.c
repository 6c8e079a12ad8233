/*
 * Rules that do not do what they say.
 *
 * A rule that a stricter one always overrides never decides a packet: the diagram knows. A rule that another
 * of the same action covers changes nothing: that is seen field by field. A deny that only repeats the default is left in
 * peace, since it guards against what others may add. A limit is worth nothing where another allow, or the default, lets the same packets by.
 */
#include "portpolicy/analysis.h"
#include <errno.h>
#include <talloc.h>

/* Beyond these a policy is machine-made, and the time better spent elsewhere. */
#define ASKED_MAX 500
#define COMPARED_MAX 2000
#define BUDGET_RULE ((struct budget){.nodes = 200000, .bytes = (size_t)64 << 20, .seconds = 0.2})

static enum verdict action_verdict(enum action action)
{
	static const enum verdict verdicts[] = {[ACTION_ALLOW] = VERDICT_ALLOW, [ACTION_DENY] = VERDICT_DENY, [ACTION_REJECT] = VERDICT_REJECT};
	return verdicts[action];
}

static bool conditional(const struct rule *rule) { return rule->limit || rule->above || rule->has_connections; }

static bool judged(const struct policy *policy, const struct rule *rule)
{
	return !rule->span.source->library && policy->directions[rule->match.direction].managed;
}

/* 1: no packet that it describes gets its verdict; 0; -ENOMEM. */
static int never_decides(void *ctx, const struct decision *decision, const struct rule *rule, struct answer *instead)
{
	struct answer answers[4];
	size_t count = 0;
	int outcome = decide(ctx, decision, &rule->match, BUDGET_RULE, answers, &count);
	if (outcome || !count)
		return outcome < 0 ? outcome : 0;
	for (size_t i = 0; i < count; i++)
		if (answers[i].verdict == action_verdict(rule->action))
			return 0;
	*instead = answers[0];
	return 1;
}

static int find_overridden(void *ctx, const struct policy *policy, const struct decision *decision, struct diagnostics *diagnostics, bool *dead)
{
	for (size_t i = 0, asked = 0; i < policy->rule_count && asked < ASKED_MAX; i++) {
		const struct rule *rule = &policy->rules[i];
		struct answer instead;
		if (rule->action == ACTION_DENY || conditional(rule) || !judged(policy, rule))
			continue;
		asked++;
		void *scratch = talloc_new(ctx);
		int outcome = scratch ? never_decides(scratch, decision, rule, &instead) : -ENOMEM;
		talloc_free(scratch);
		if (outcome < 0)
			return outcome;
		if (!outcome || instead.because.kind != BECAUSE_RULE)
			continue;
		dead[i] = true;
		struct diagnostic *one = report_warning(diagnostics, "W102", rule->span, "this rule never decides a packet: a stricter rule always does");
		diagnostic_related(diagnostics, one, instead.because.rule->span, "for instance this one");
	}
	return 0;
}

/* Is the second rule superfluous beside the first? */
static bool repeats(const struct rule *first, const struct rule *second)
{
	return first->action == second->action && !conditional(first) && !conditional(second) && (first->log || !second->log) &&
	       match_covers(&first->match, &second->match);
}

static void find_repeated(const struct policy *policy, struct diagnostics *diagnostics, bool *dead)
{
	for (size_t i = 0; i < policy->rule_count; i++)
		for (size_t j = 0; j < policy->rule_count && !dead[i]; j++) {
			const struct rule *wide = &policy->rules[j], *rule = &policy->rules[i];
			if (i == j || dead[j] || !judged(policy, rule) || !repeats(wide, rule))
				continue;
			dead[i] = true;
			struct diagnostic *one = report_warning(diagnostics, "W103", rule->span, "this rule changes nothing: another covers it");
			diagnostic_related(diagnostics, one, wide->span, "this one");
		}
}

static void warn_bypass(const struct rule *rule, struct span by, const char *what, struct diagnostics *diagnostics)
{
	struct diagnostic *one = report_warning(diagnostics, "W104", rule->span, "above this limit packets may still pass: %s allows them too", what);
	diagnostic_related(diagnostics, one, by, "this one");
}

static void find_bypassed(const struct policy *policy, struct diagnostics *diagnostics)
{
	for (size_t i = 0; i < policy->rule_count; i++) {
		const struct rule *rule = &policy->rules[i];
		if (rule->action != ACTION_ALLOW || !conditional(rule) || !judged(policy, rule))
			continue;
		const struct direction_policy *rest = &policy->directions[rule->match.direction];
		if (rest->action == ACTION_ALLOW) {
			warn_bypass(rule, rest->span, "the default", diagnostics);
			continue;
		}
		for (size_t j = 0; j < policy->rule_count; j++) {
			const struct rule *other = &policy->rules[j];
			if (other->action != ACTION_ALLOW || conditional(other) || match_disjoint(&rule->match, &other->match))
				continue;
			warn_bypass(rule, other->span, "another rule", diagnostics);
			break;
		}
	}
}

int analyse_rules(void *ctx, const struct policy *policy, const struct decision *decision, struct diagnostics *diagnostics)
{
	bool *dead = talloc_zero_array(ctx, bool, policy->rule_count + 1);
	if (!dead)
		return -ENOMEM;
	int error = find_overridden(ctx, policy, decision, diagnostics, dead);
	if (!error && policy->rule_count <= COMPARED_MAX) {
		find_repeated(policy, diagnostics, dead);
		find_bypassed(policy, diagnostics);
	}
	talloc_free(dead);
	return error;
}
