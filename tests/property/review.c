/*
 * What check says of the rules of random policies, against an evaluator that walks the rules one by one.
 *
 * Without all the rules that are said to change nothing every packet gets the same verdict. And of the other allows each is needed: were it
 * taken out, some packet would get another.
 *
 *   review [--policies N] [--seed FIRST]
 */
#include "portpolicy/analysis.h"
#include "tests/property/random_world.h"

#define POLICIES 150
#define PROBES 400

/* Which rules are said to change nothing; and is there one that never decides? */
struct verdicts {
	bool nothing[RULES_MAX], never[RULES_MAX];
};

static bool code_is(const struct diagnostic *one, const char *code)
{
	return one->code && !strcmp(one->code, code);
}

static struct verdicts review(void *ctx, const char *text, const struct policy *policy, const struct decision *decision)
{
	const struct environment environment = environment_of(text);
	struct diagnostics *diagnostics = diagnostics_new(ctx);
	struct verdicts verdicts = {0};
	bool held = false;
	CHECK(!analyse_rules(ctx, policy, decision, &environment, &held, diagnostics), "no memory\n");
	for (const struct diagnostic *one = diagnostics->first; one; one = one->next)
		for (size_t i = 0; i < policy->rule_count; i++) {
			bool never = code_is(one, "W102"), nothing = never || code_is(one, "W103") || code_is(one, "W105");
			if (one->span.begin == policy->rules[i].span.begin) {
				verdicts.nothing[i] |= nothing;
				verdicts.never[i] |= never;
			}
		}
	return verdicts;
}

static struct model *without(void *ctx, const struct model *model, const bool *out, size_t also)
{
	struct model *less = model_copy(ctx, model);
	less->rule_count = 0;
	for (size_t i = 0; i < model->rule_count; i++)
		if (!out[i] && i != also)
			less->rules[less->rule_count++] = model->rules[i];
	return less;
}

/* Nothing that it says is wrong. */
static void expect_sound(const struct model *model, const struct model *less, const struct verdicts *verdicts)
{
	struct random random = {seed + 1};
	for (int i = 0; i < PROBES; i++) {
		struct probe probe = probe_random(&random, model, true);
		struct naive all = naive_decide(model, &probe), rest = naive_decide(less, &probe);
		CHECK(all.verdict == rest.verdict, "without the rules that change nothing a packet gets another verdict\n");
		CHECK(all.decider != DECIDED_BY_RULE || !verdicts->never[all.rule], "rule %zu decides a packet, and is said not to\n",
			all.rule);
	}
}

static bool conditional(const struct rule *rule)
{
	return rule->limit || rule->above || rule->has_connections;
}

/* The others as denials of everything that they speak of, in a world that is open: what stays open none of them speaks of. */
static struct policy *all_denied(void *ctx, const struct model *model, const bool *out, size_t also)
{
	struct model *less = without(ctx, model, out, also);
	for (int way = 0; way < WAYS; way++)
		less->ways[way].action = ALLOW;
	for (size_t i = 0; i < less->rule_count; i++)
		less->rules[i].action = DENY;
	return load(ctx, model_text(ctx, less));
}

/*
 * Nothing is left unsaid: an allow that is not named speaks of a packet that the others do not. Where limits or logs are in play more
 * than that counts, and loopback has another default.
 */
static void expect_complete(void *ctx, const struct model *model, const struct policy *policy, const struct verdicts *verdicts)
{
	for (size_t i = 0; i < policy->rule_count; i++)
		if (conditional(&policy->rules[i]) || policy->rules[i].log)
			return;
	for (size_t i = 0; i < policy->rule_count; i++) {
		const struct rule *rule = &policy->rules[i];
		struct answer answers[4];
		size_t count;
		struct decision *decision;
		bool needed = false;
		if (verdicts->nothing[i] || rule->action != ACTION_ALLOW || rule->match.arriving.names_loopback ||
			rule->match.leaving.names_loopback)
			continue;
		CHECK(!decision_new(ctx, all_denied(ctx, model, verdicts->nothing, i), &decision), "no memory\n");
		CHECK(decide(ctx, decision, &rule->match, BUDGET_DEFAULT, answers, &count) <= 1, "cannot be decided\n");
		for (size_t k = 0; k < count; k++)
			needed |= answers[k].verdict == VERDICT_ALLOW;
		CHECK(needed || !count, "rule %zu changes nothing, and that is not said:\n%s", i, model_text(ctx, model));
	}
}

static void try_policy(void)
{
	void *ctx = talloc_new(NULL);
	struct model *model = model_random(ctx, seed);
	struct decision *decision;
	CHECK(!model_write_lists(model, directory), "the lists cannot be written\n");
	char *text = model_text(ctx, model);
	struct policy *policy = load(ctx, text);
	CHECK(!decision_new(ctx, policy, &decision), "no memory\n");
	struct verdicts verdicts = review(ctx, text, policy, decision);
	expect_sound(model, without(ctx, model, verdicts.nothing, RULES_MAX), &verdicts);
	expect_complete(ctx, model, policy, &verdicts);
	talloc_free(ctx);
}

int main(int count, char **arguments)
{
	unsigned long policies = random_policies(count, arguments, POLICIES, try_policy);
	printf("%lu policies reviewed\n1 passed, 0 failed, 0 skipped\n", policies);
	return 0;
}
