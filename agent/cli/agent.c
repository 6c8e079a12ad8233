/*
 * agent: the daemon, in the foreground.
 */
#include "agent/cli/cli.h"
#include "agent/daemon/daemon.h"
#include <errno.h>
#include <talloc.h>

/* The agent's loader: as apply loads, into one object. */
static int load(void *data, void *ctx, struct agent_policy **out)
{
	const struct invocation *call = data;
	struct agent_policy *policy = talloc_zero(ctx, struct agent_policy);
	if (!policy)
		return -ENOMEM;
	policy->name = policy_operand(call);
	int status = load_ruleset(policy, call, true, &policy->policy, &policy->world, &policy->ruleset);
	if (status)
		talloc_free(policy);
	else
		*out = policy;
	return status;
}

/* The values of lists, users and groups that stay when they cannot be had are those of a policy that is in force. */
static void keep_known(void *data, const struct reconcile_action *report)
{
	const struct agent_policy *policy = report->report == REPORT_IN_FORCE ? agent_policy(data, report->revision) : NULL;
	if (policy)
		world_keep_known(policy->world);
}

int verb_agent(void *ctx, const struct invocation *call)
{
	struct agent *agent;
	struct agent_listener *keeper;
	const struct agent_options options = {.table = call->table, .own = !call->no_owner, .load = load, .data = (void *)call};
	if (!policy_operand(call))
		return STATUS_FAILED;
	int status = agent_new(ctx, &options, &agent);
	if (status)
		return status == 1 ? STATUS_FAILED : status == -ENOMEM ? status : kernel_unreachable(call, status);
	status = agent_listen(agent, agent, keep_known, agent, &keeper);
	if (!status)
		status = agent_reload(agent);
	if (!status)
		status = agent_run(agent);
	talloc_free(agent);
	return status;
}
