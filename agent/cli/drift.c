/*
 * The difference between the kernel and what was installed, told as what somebody did to it.
 *
 * The difference of two rulesets is what would repair them; each repair is the undoing of an edit, and the edit is what is told.
 * Of a chain whose rules differ each rule is named that came or went, by its comment, which is the policy's line.
 */
#include "agent/cli/drift.h"
#include <errno.h>
#include <string.h>
#include <talloc.h>

struct telling {
	void *ctx;
	const char **lines;
	size_t count;
	int error;
};

static void add(struct telling *telling, char *line)
{
	const char **more = line ? talloc_realloc(telling->ctx, telling->lines, const char *, telling->count + 1) : NULL;
	if (!more) {
		telling->error = -ENOMEM;
		return;
	}
	telling->lines = more;
	more[telling->count++] = line;
}

static const struct chain *find_chain(const struct ruleset *ruleset, const char *name)
{
	for (size_t i = 0; i < ruleset->chain_count; i++)
		if (!strcmp(ruleset->chains[i].name, name))
			return &ruleset->chains[i];
	return NULL;
}

static bool same_rule(const struct nft_rule *a, const struct nft_rule *b)
{
	return nft_rule_equal(a, b) && !strcmp(a->comment ? a->comment : "", b->comment ? b->comment : "");
}

/* Rules of the one chain that the other does not have so often. */
static void tell_rules(struct telling *telling, const struct chain *chain, const struct chain *other, const char *what)
{
	bool *taken = talloc_zero_array(telling->ctx, bool, other->count + 1);
	if (!taken) {
		telling->error = -ENOMEM;
		return;
	}
	for (size_t i = 0; i < chain->count; i++) {
		size_t k = 0;
		while (k < other->count && (taken[k] || !same_rule(&chain->rules[i], &other->rules[k])))
			k++;
		if (k < other->count) {
			taken[k] = true;
			continue;
		}
		const char *comment = chain->rules[i].comment;
		add(telling, talloc_asprintf(telling->ctx, "chain %s: rule %zu was %s%s%s", chain->name, i + 1, what,
				     comment ? ": " : "", comment ? comment : ""));
	}
	talloc_free(taken);
}

static void tell_chain(struct telling *telling, const struct ruleset *observed, const struct ruleset *installed, const char *name)
{
	const struct chain *now = find_chain(observed, name), *then = find_chain(installed, name);
	size_t before = telling->count;
	if (!now || !then)
		return;
	tell_rules(telling, then, now, "taken out");
	tell_rules(telling, now, then, "put in");
	if (telling->count == before)
		add(telling, talloc_asprintf(telling->ctx, "chain %s: its rules stand in another order", name));
}

/* A chain is flushed and filled again in several changes, and is told once. */
static bool told_before(const struct changes *changes, size_t index)
{
	for (size_t i = 0; i < index; i++)
		if ((changes->at[i].kind == CHANGE_RULE_ADD || changes->at[i].kind == CHANGE_RULES_FLUSH ||
			    changes->at[i].kind == CHANGE_CHAIN_ADD) &&
			!strcmp(changes->at[i].chain->name, changes->at[index].chain->name))
			return true;
	return false;
}

static size_t members(const struct set *set)
{
	return set->values.count ? set->values.count : set->element_count;
}

static void tell_change(struct telling *telling, const struct changes *changes, size_t index, const struct ruleset *observed,
	const struct ruleset *installed)
{
	const struct change *change = &changes->at[index];
	void *ctx = telling->ctx;
	switch (change->kind) {
	case CHANGE_TABLE_ADD:
		add(telling, talloc_asprintf(ctx, "table %s is gone", changes->table));
		break;
	case CHANGE_TABLE_WAKE:
		add(telling, talloc_asprintf(ctx, "table %s was made dormant: nothing is enforced", changes->table));
		break;
	case CHANGE_COUNTER_ADD:
		add(telling, talloc_asprintf(ctx, "counter %s is gone", change->counter->name));
		break;
	case CHANGE_SET_ADD:
		add(telling, talloc_asprintf(ctx, "set %s is gone", change->set->name));
		break;
	case CHANGE_ELEMENTS_ADD:
		add(telling, talloc_asprintf(ctx, "set %s: %zu members were taken out", change->set->name, members(change->set)));
		break;
	case CHANGE_ELEMENTS_DELETE:
		add(telling, talloc_asprintf(ctx, "set %s: %zu members were put in", change->set->name, members(change->set)));
		break;
	case CHANGE_CHAIN_ADD:
		add(telling, talloc_asprintf(ctx, "chain %s is gone", change->chain->name));
		break;
	case CHANGE_CHAIN_POLICY:
		add(telling, talloc_asprintf(ctx, "chain %s: its policy was changed", change->chain->name));
		break;
	case CHANGE_RULE_ADD:
	case CHANGE_RULES_FLUSH:
		if (!told_before(changes, index))
			tell_chain(telling, observed, installed, change->chain->name);
		break;
	case CHANGE_CHAIN_DELETE:
		add(telling, talloc_asprintf(ctx, "chain %s was put in", change->chain->name));
		break;
	case CHANGE_SET_DELETE:
		add(telling, talloc_asprintf(ctx, "set %s was put in", change->set->name));
		break;
	case CHANGE_COUNTER_DELETE:
		add(telling, talloc_asprintf(ctx, "counter %s was put in", change->counter->name));
		break;
	case CHANGE_TABLE_DELETE:
		break;
	}
}

int drift_find(void *ctx, const struct ruleset *observed, const struct ruleset *installed, const char ***lines, size_t *count)
{
	struct telling telling = {.ctx = ctx};
	struct changes *repair;
	const char *problem;
	int outcome = ruleset_difference(ctx, observed, installed, &repair, &problem);
	for (size_t i = 0; !outcome && i < repair->count && !telling.error; i++) {
		tell_change(&telling, repair, i, observed, installed);
		if (repair->at[i].kind == CHANGE_TABLE_ADD)
			break; /* everything else is gone with it */
	}
	*lines = telling.lines;
	*count = telling.count;
	return outcome ? outcome : telling.error;
}
