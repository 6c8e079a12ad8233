/*
 * Limits that changed where no verdict did.
 *
 * What a rule with a limit allows within it, and what becomes of it beyond, is compared like every verdict. How much a limit lets
 * through is not to be seen there: so the rules with limits are compared as rules. One that has no equal on the other side is a
 * difference unless it can never matter, or what it stands for is told already.
 */
#include "dsl/analysis/compare.h"
#include <errno.h>
#include <talloc.h>

static int add_limit(struct comparing *work, const struct rule *old, const struct rule *new)
{
	struct comparison *result = work->result;
	struct limit_difference *more = talloc_realloc(result, result->limits, struct limit_difference, result->limit_count + 1);
	if (!more)
		return -ENOMEM;
	result->limits = more;
	more[result->limit_count++] = (struct limit_difference){old, new};
	return 0;
}

static int pieces_of(struct comparing *work, const struct side *side, const struct rule *rule, struct pieces *out)
{
	int error = match_pieces(work->ctx, &rule->match, out);
	for (size_t i = 0; i < out->count && !error; i++)
		error = joint_box(work->ctx, &work->joint, side->policy, &out->at[i].box);
	return error;
}

/*
 * Could the limit ever decide?  That of an allow where nothing else decides and the default is stricter; that of a deny or reject
 * where what decides otherwise is less strict and comes to something else.  1, 0 or -ENOMEM; 1 where it is not known.
 */
static int matters(struct comparing *work, const struct side *side, const struct rule *rule, const struct pieces *pieces)
{
	enum verdict rest = default_verdict(side->policy, rule->match.direction, ZONE_WORLD);
	unsigned wanted = 0;
	if (rule->action == ACTION_ALLOW)
		wanted = rest == VERDICT_ALLOW ? 0 : 1u << STRICT_DEFAULT;
	else {
		wanted = 1u << STRICT_ALLOW | (rule->action == ACTION_DENY ? 1u << STRICT_REJECT : 0);
		wanted |= rest == action_verdict(rule->action) ? 0 : 1u << STRICT_DEFAULT;
	}
	int outcome = wanted ? side_search(work, side, pieces, rule->action == ACTION_ALLOW, wanted) : 1;
	return outcome < 0 ? outcome : outcome != 1;
}

static int rule_matters(struct comparing *work, const struct side *side, const struct rule *rule, struct pieces *pieces)
{
	int error = pieces_of(work, side, rule, pieces);
	return error ? error : matters(work, side, rule, pieces);
}

static int add_changed(struct comparing *work, const struct rule *old, const struct rule *new)
{
	struct pieces before = {0}, after = {0};
	int outcome = rule_matters(work, &work->old, old, &before);
	outcome = outcome ? outcome : rule_matters(work, &work->new, new, &after);
	return outcome <= 0 ? outcome : add_limit(work, old, new);
}

/* An allow that came or went is told with what it allows. */
static int add_alone(struct comparing *work, const struct side *side, const struct rule *rule)
{
	struct pieces pieces = {0};
	int outcome = rule_matters(work, side, rule, &pieces);
	if (outcome <= 0)
		return outcome;
	int told = rule->action == ACTION_ALLOW ? pieces_cover(work->ctx, &work->reported, &pieces) : 0;
	if (told)
		return told < 0 ? told : 0;
	return side == &work->old ? add_limit(work, rule, NULL) : add_limit(work, NULL, rule);
}

static bool unmatched(const struct side *side, size_t i)
{
	return rule_limited(&side->policy->rules[i]) && !side->forms[i].shared;
}

/* The rule of the other side that speaks of the same packets with another limit. */
static size_t find_partner(const struct side *from, size_t index, const struct side *other, const bool *taken)
{
	for (size_t i = 0; i < other->policy->rule_count; i++)
		if (unmatched(other, i) && !taken[i] && other->forms[i].match == from->forms[index].match)
			return i;
	return other->policy->rule_count;
}

int find_limit_differences(struct comparing *work)
{
	const struct policy *old = work->old.policy, *new = work->new.policy;
	bool *taken = talloc_zero_array(work->ctx, bool, new->rule_count + 1);
	int error = taken ? 0 : -ENOMEM;
	for (size_t i = 0; i < old->rule_count && !error; i++) {
		if (!unmatched(&work->old, i))
			continue;
		size_t partner = find_partner(&work->old, i, &work->new, taken);
		if (partner == new->rule_count) {
			error = add_alone(work, &work->old, &old->rules[i]);
			continue;
		}
		taken[partner] = true;
		error = add_changed(work, &old->rules[i], &new->rules[partner]);
	}
	for (size_t i = 0; i < new->rule_count && !error; i++)
		if (unmatched(&work->new, i) && !taken[i])
			error = add_alone(work, &work->new, &new->rules[i]);
	return error;
}
