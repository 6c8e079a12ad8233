/*
 * agent: the daemon, in the foreground.
 *
 * What it needs for life is opened first; then it gives up all other rights, and only then reads a policy: whatever stands in
 * there meets a program that can do no more than its work.
 */
#include "agent/cli/cli.h"
#include "agent/daemon/commands.h"
#include "agent/daemon/policies.h"
#include "agent/daemon/sandbox.h"
#include <errno.h>
#include <string.h>
#include <talloc.h>

static int run(struct agent *agent, struct policies *policies)
{
	int status = commands_start(agent, policies);
	if (!status && (status = sandbox_enter())) {
		complain("portpolicy: the agent cannot give up its other rights: %s\n", strerror(-status));
		return STATUS_FAILED;
	}
	if (!status)
		status = policies_start(policies, agent);
	return status ? status : agent_run(agent);
}

int verb_agent(void *ctx, const struct invocation *call)
{
	struct agent *agent;
	struct policies *policies;
	if (!policy_operand(call))
		return STATUS_FAILED;
	int status = policies_new(ctx, call, &policies);
	if (status)
		return status;
	const struct agent_options options = {
		.table = call->table, .own = !call->no_owner, .load = policies_load, .data = policies};
	status = agent_new(ctx, &options, &agent);
	if (status)
		return status == 1 ? STATUS_FAILED : status == -ENOMEM ? status : kernel_unreachable(call, status);
	status = run(agent, policies);
	talloc_free(policies); /* what it watches is of the agent */
	talloc_free(agent);
	return status;
}
