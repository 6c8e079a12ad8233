/*
 * From one wanted ruleset to the kernel.
 *
 * The first time there is a step before: base chains that hold no more than `ct state established accept` and let everything
 * pass. They switch conntrack on, the standing connections are made known to it, and only then the real rules come.  A table that
 * holds just that step, left by a program that was killed in between, is taken up there.
 *
 * Every commit is bound to the generation that its difference was computed from.
 */
#include "agent/kernel/kernel.h"
#include <errno.h>
#include <string.h>
#include <talloc.h>
#include <unistd.h>

#define COMMIT_TRIES 40
#define REFUSALS_BELIEVED 3 /* a dump of a set can be wrong while the set changes; then elements are missing or there already */
#define CT_ESTABLISHED 2
#define BASE_CHAINS_MAX 3

struct install {
	void *ctx; /* of the results */
	struct kernel *kernel;
	const char *table;
	const struct ruleset *wanted;
	struct changes **applied;
	struct refusal *refusal;
	const char **problem;
};

static const struct step first_steps[] = {
	{.kind = STEP_COMPARE, .keys = {KEY_CT_STATE}, .key_count = 1, .negated = true, .mask = CT_ESTABLISHED, .first = 0},
	{.kind = STEP_VERDICT, .verdict = NFT_VERDICT_ACCEPT},
};
static const struct nft_rule first_rule = {.steps = first_steps, .count = 2};

/* The base chains of the wanted ruleset, open, with the one rule. */
static int first_ruleset(void *ctx, const struct ruleset *wanted, struct ruleset *out)
{
	struct chain *chains = talloc_zero_array(ctx, struct chain, BASE_CHAINS_MAX);
	if (!chains)
		return -ENOMEM;
	*out = (struct ruleset){.table = wanted->table, .exists = true, .chains = chains};
	for (size_t i = 0; i < wanted->chain_count && out->chain_count < BASE_CHAINS_MAX; i++)
		if (wanted->chains[i].hook != HOOK_NONE)
			chains[out->chain_count++] = (struct chain){
				.name = wanted->chains[i].name, .hook = wanted->chains[i].hook, .rules = &first_rule, .count = 1};
	return 0;
}

static size_t base_chains(const struct ruleset *ruleset)
{
	size_t count = 0;
	for (size_t i = 0; i < ruleset->chain_count; i++)
		count += ruleset->chains[i].hook != HOOK_NONE;
	return count;
}

static bool just_first_step(const struct ruleset *ruleset)
{
	if (ruleset->chain_count != base_chains(ruleset) || ruleset->set_count || ruleset->counter_count)
		return false;
	for (size_t i = 0; i < ruleset->chain_count; i++)
		if (ruleset->chains[i].policy_drop || ruleset->chains[i].count != 1 ||
			!nft_rule_equal(&ruleset->chains[i].rules[0], &first_rule))
			return false;
	return true;
}

static bool is_first(const struct ruleset *observed, const struct ruleset *wanted)
{
	return base_chains(wanted) && (!observed->exists || !base_chains(observed) || just_first_step(observed));
}

/* A table of our name in which somebody else hooked in is somebody else's, or asleep. 3 or 0. */
static int check_owner(const struct install *install, const struct ruleset *observed)
{
	for (size_t i = 0; i < observed->chain_count; i++) {
		if (!observed->chains[i].foreign)
			continue;
		*install->problem = talloc_asprintf(install->ctx,
			"the kernel has a table inet %s whose chain %s is not portpolicy's; it is left alone", install->table,
			observed->chains[i].name);
		return *install->problem ? 3 : -ENOMEM;
	}
	return 0;
}

static int removal(void *ctx, const char *table, const struct ruleset *observed, struct changes **out)
{
	struct changes *changes = talloc_zero(ctx, struct changes);
	struct change *change = changes ? talloc_zero(changes, struct change) : NULL;
	if (!change)
		return -ENOMEM;
	change->kind = CHANGE_TABLE_DELETE;
	*changes = (struct changes){.table = table, .at = change, .count = observed->exists};
	*out = changes;
	return 0;
}

static int difference(const struct install *install, void *ctx, const struct ruleset *observed, const struct ruleset *wanted,
	struct changes **out)
{
	int status = check_owner(install, observed);
	if (status)
		return status;
	if (!wanted)
		return removal(ctx, install->table, observed, out);
	status = ruleset_difference(ctx, observed, wanted, out, install->problem);
	if (status == 1 && *install->problem && !(*install->problem = talloc_strdup(install->ctx, *install->problem)))
		return -ENOMEM;
	return status == 1 ? 3 : status;
}

/* Might another look at the kernel help: was the refusal about an element or object that came or went? */
static bool doubtful(int status, const struct refusal *refusal)
{
	return status == 1 && (refusal->error == ENOENT || refusal->error == EEXIST || refusal->error == EBUSY);
}

/* One dump, one difference, one commit. All that it makes is in `ctx`. */
static int try_once(const struct install *install, void *ctx, const struct ruleset *wanted, struct changes **changes)
{
	uint32_t generation;
	struct ruleset *observed;
	*changes = NULL;
	*install->refusal = (struct refusal){0};
	int status = kernel_dump(ctx, install->kernel, install->table, &observed, &generation);
	if (!status)
		status = difference(install, ctx, observed, wanted, changes);
	if (!status && !(*changes)->count)
		install->kernel->settled = generation;
	if (status || !(*changes)->count)
		return status;
	return kernel_commit(install->kernel, *changes, generation, install->refusal);
}

/*
 * Until one commit meets the generation that it was made for. An unknown outcome is settled by the next dump: if nothing differs
 * then, it was a commit, and its changes are the answer.
 */
static int settle(const struct install *install, const struct ruleset *wanted, struct changes **changes)
{
	int status = 2;
	unsigned refusals = 0;
	struct changes *unknown = NULL;
	for (unsigned i = 0; i < COMMIT_TRIES; i++) {
		void *attempt = talloc_new(install->ctx);
		if (!attempt)
			return -ENOMEM;
		if (i > 2)
			usleep(500 * (i % 7 + 1));
		status = try_once(install, attempt, wanted, changes);
		if (!status && unknown && !(*changes)->count)
			*changes = unknown;
		if (doubtful(status, install->refusal))
			kernel_know(install->kernel, NULL); /* what was known may be what is wrong */
		bool sent = *changes && (status == -ETIMEDOUT || status == -ENOBUFS);
		if (sent)
			unknown = *changes;
		else if (status != 2 && !(doubtful(status, install->refusal) && ++refusals < REFUSALS_BELIEVED))
			return status;
		else if (i + 1 < COMMIT_TRIES)
			talloc_free(attempt);
	}
	return status;
}

/* Takes away what the first step made, keeping the refusal that is to be shown. */
static void undo_first(const struct install *install, bool existed, struct ruleset *before)
{
	struct refusal ignored;
	const char *problem;
	struct changes *changes;
	struct install undo = *install;
	undo.refusal = &ignored;
	undo.problem = &problem;
	settle(&undo, existed ? before : NULL, &changes);
}

static int install_first(const struct install *install, struct ruleset *before)
{
	struct ruleset first;
	struct changes *changes;
	size_t adopted;
	int status = first_ruleset(install->ctx, install->wanted, &first);
	if (!status && !just_first_step(before))
		status = settle(install, &first, &changes);
	if (!status)
		status = kernel_adopt_connections(install->kernel, &adopted);
	if (!status)
		status = settle(install, install->wanted, &changes);
	if (status)
		undo_first(install, before->exists && !just_first_step(before), before);
	return status;
}

static int install_wanted(const struct install *install)
{
	struct ruleset *observed;
	uint32_t generation;
	int status = kernel_dump(install->ctx, install->kernel, install->table, &observed, &generation);
	if (status)
		return status;
	if (!install->wanted || !is_first(observed, install->wanted))
		return settle(install, install->wanted, install->applied);
	/* What the first step adds is a detail: the caller hears of the change from what was to what is wanted. */
	status = difference(install, install->ctx, observed, install->wanted, install->applied);
	return status ? status : install_first(install, observed);
}

int kernel_install(void *ctx, struct kernel *kernel, const char *table, const struct ruleset *wanted, struct changes **applied,
	struct refusal *refusal, const char **problem)
{
	void *results = talloc_new(ctx);
	struct install install = {results, kernel, table, wanted, applied, refusal, problem};
	*applied = NULL;
	*problem = NULL;
	*refusal = (struct refusal){0};
	return results ? install_wanted(&install) : -ENOMEM;
}
