/*
 * What follows when a policy has come in force.
 *
 * All of it is bounded, and none of it can fail the policy: the rules stand already.
 */
#include "agent/daemon/consequences.h"
#include "agent/daemon/peace.h"
#include "agent/daemon/review.h"
#include <string.h>
#include <talloc.h>

#define REVIEW_SECONDS 1.0 /* drift is not put back meanwhile */
#define SHOWN 3

static void tell_concerns(struct agent *agent, const struct agent_policy *policy, void *ctx)
{
	struct concerns *concerns;
	if (find_concerns(ctx, agent_kernel(agent), agent_table(agent), policy->policy, &concerns))
		return;
	for (size_t i = 0; i < concerns->count; i++)
		log_line(agent_log(agent), LOG_POLICY, LEVEL_WARNING, "%s", concerns->texts[i]);
}

static void end_connections(struct agent *agent, const struct agent_policy *policy, void *ctx)
{
	struct review *review;
	struct log *log = agent_log(agent);
	int status = review_flows(ctx, agent_kernel(agent), policy->policy, REVIEW_SECONDS, &review);
	if (status) {
		log_line(log, LOG_POLICY, LEVEL_WARNING, "the connections that stand could not be looked at: %s",
			strerror(-status));
		return;
	}
	review_end(agent_kernel(agent), review);
	if (review->count)
		log_line(log, LOG_POLICY, LEVEL_NOTICE,
			"%zu standing connections ended, which the policy would not allow; %zu could not be", review->ended,
			review->failed);
	for (size_t i = 0; i < review->count && i < SHOWN; i++)
		log_line(log, LOG_POLICY, LEVEL_NOTICE, "ended: %s", review->at[i].text);
	if (review->left_out)
		log_line(log, LOG_POLICY, LEVEL_WARNING, "%zu standing connections were not looked at: too many",
			review->left_out);
}

void consequences(struct agent *agent, const struct agent_policy *policy, bool revoke)
{
	void *scratch = talloc_new(NULL);
	if (!scratch || !policy->policy) {
		talloc_free(scratch);
		return;
	}
	tell_concerns(agent, policy, scratch);
	if (revoke)
		end_connections(agent, policy, scratch);
	talloc_free(scratch);
}
