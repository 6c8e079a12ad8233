/*
 * A review of a policy, part by part.
 */
#include "dsl/analysis/review.h"
#include <errno.h>
#include <talloc.h>

/* Packets compared with rules: some 50 nanoseconds each. */
#define WORK 6000000

bool review_spend(struct review *review, size_t work)
{
	bool enough = review->work >= work;
	review->work -= enough ? work : review->work;
	return enough;
}

bool rule_judged(const struct review *review, const struct rule *rule)
{
	return !rule->span.source->library && review->policy->directions[rule->match.direction].managed;
}

bool rule_conditional(const struct rule *rule)
{
	return rule->limit || rule->above || rule->has_connections;
}

bool rule_stricter(const struct rule *rule, const struct rule *than)
{
	static const int strictness[] = {[ACTION_ALLOW] = 0, [ACTION_REJECT] = 1, [ACTION_DENY] = 2};
	return strictness[rule->action] > strictness[than->action];
}

size_t used_spans(const struct review *review, struct span *spans, size_t most)
{
	size_t count = 0;
	for (size_t i = 0; i < review->policy->rule_count && count < most; i++)
		if (review->used[i])
			spans[count++] = review->policy->rules[i].span;
	return count;
}

char *lines_text(void *ctx, const struct source *home, const struct span *spans, size_t count)
{
	char *text = talloc_strdup(ctx, count == 1 && spans[0].source == home ? "line " : count > 1 ? "lines " : "");
	for (size_t i = 0; i < count && text; i++) {
		const char *before = !i ? "" : i + 1 == count ? " and " : ", ";
		unsigned line = span_position(spans[i]).line;
		text = spans[i].source == home
			       ? talloc_asprintf_append_buffer(text, "%s%u", before, line)
			       : talloc_asprintf_append_buffer(text, "%s%s:%u", before, spans[i].source->name, line);
	}
	return text;
}

int analyse_rules(void *ctx, const struct policy *policy, const struct decision *decision, const struct environment *environment,
	const bool *held, struct diagnostics *diagnostics)
{
	void *scratch = talloc_new(ctx);
	struct review review = {.ctx = scratch,
		.policy = policy,
		.decision = decision,
		.environment = environment,
		.diagnostics = diagnostics,
		.held = held,
		.work = WORK,
		.silent = talloc_zero_array(scratch, bool, policy->rule_count + 1),
		.partly = talloc_zero_array(scratch, bool, policy->rule_count + 1),
		.by = talloc_zero_array(scratch, bool, policy->rule_count + 1),
		.used = talloc_zero_array(scratch, bool, policy->rule_count + 1)};
	int error = scratch && review.silent && review.partly && review.by && review.used ? 0 : -ENOMEM;
	error = error ? error : review_rules(&review);
	error = error ? error : review_members(&review);
	error = error ? error : review_overlaps(&review);
	error = error ? error : review_expects(&review);
	talloc_free(scratch);
	return error;
}
