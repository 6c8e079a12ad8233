/*
 * From a file name to a policy, and on to a ruleset, with every message on the way printed: what the verbs that answer for one
 * host have in common.
 */
#include "agent/cli/cli.h"
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <talloc.h>
#include <unistd.h>

const char *policy_operand(const struct invocation *call)
{
	if (call->operand_count > 1) {
		usage_error(call, "%s takes one FILE", call->verb);
		return NULL;
	}
	return call->operand_count ? call->operands[0] : DEFAULT_POLICY;
}

char *absolute_path(void *ctx, const char *path)
{
	char here[PATH_MAX];
	if (path[0] == '/' || !strcmp(path, "-") || !getcwd(here, sizeof here))
		return talloc_strdup(ctx, path);
	return talloc_asprintf(ctx, "%s/%s", here, path);
}

int load_policy(void *ctx, const struct invocation *call, const char *path, bool careful, struct policy **out, struct world **world)
{
	int error = world_new(ctx, call, path, careful, world);
	if (error)
		return error;
	struct diagnostics *diagnostics = diagnostics_new(ctx);
	if (!diagnostics)
		return -ENOMEM;
	error = policy_load(ctx, path, world_environment(*world), diagnostics, out);
	print_diagnostics(diagnostics);
	if (error < 0)
		return error;
	if (world_error(*world))
		return STATUS_FAILED;
	return error ? STATUS_NO : STATUS_YES;
}

/* Not knowing a set is fatal where it would let more through (LANGUAGE.md, ADDRESSES). */
static void refuse_unknowns(const struct policy *policy, struct diagnostics *diagnostics)
{
	for (size_t i = 0; i < policy->unknown_count; i++)
		if (policy->unknowns[i].blocks_apply)
			report_error(diagnostics, policy->unknowns[i].span, "%s is not known, and without it more would be let through",
				policy->unknowns[i].what);
}

static void refuse_nothing_managed(const struct policy *policy, struct diagnostics *diagnostics)
{
	for (int d = 0; d < DIRECTIONS; d++)
		if (policy->directions[d].managed)
			return;
	struct diagnostic *problem = report_file_error(diagnostics, policy->file, "this policy manages nothing on host %s", policy->host);
	diagnostic_hint(diagnostics, problem, "declare what happens to the rest, e.g. `default in deny`");
}

int policy_ruleset(void *ctx, const struct invocation *call, const struct policy *policy, struct diagnostics *diagnostics,
	struct ruleset **out)
{
	refuse_unknowns(policy, diagnostics);
	refuse_nothing_managed(policy, diagnostics);
	int status = policy_lower_as(ctx, policy, call->table, call->encoding, diagnostics, out);
	if (status < 0)
		return status;
	return status || diagnostics->errors ? STATUS_NO : STATUS_YES;
}

int load_ruleset(void *ctx, const struct invocation *call, bool careful, struct policy **policy, struct world **world,
	struct ruleset **out)
{
	const char *path = policy_operand(call);
	if (!path)
		return STATUS_FAILED;
	int status = load_policy(ctx, call, path, careful, policy, world);
	if (status)
		return status;
	struct diagnostics *diagnostics = diagnostics_new(ctx);
	if (!diagnostics)
		return -ENOMEM;
	status = policy_ruleset(ctx, call, *policy, diagnostics, out);
	print_diagnostics(diagnostics);
	return status;
}
