/*
 * What the agent does for the command: status, reload, confirm, rollback, hold, apply.
 */
#ifndef PORTPOLICY_COMMANDS_H
#define PORTPOLICY_COMMANDS_H

#include "agent/daemon/policies.h"

/* Listens on the control socket; where that cannot be had, the agent works without and the log says so.  0 or a negative errno.
 */
int commands_start(struct agent *agent, struct policies *policies);

/* The answers of a status that needs no agent, and those of an agent, in one form (portpolicy(8), JSON). */
struct status_report {
	const char *table;
	const char *state; /* "in force", "held", "trying", "nothing wanted" */
	bool in_sync;
	const struct reconcile *reconcile; /* NULL: there is no agent */
	const struct agent_policy *policy; /* in force; NULL: none */
	const struct agent_incident *incident;
	const struct policies *policies;
	const char *trouble; /* messages about the own policy, or NULL */
	int64_t began;	     /* of the agent */
	struct kernel *kernel;
	const struct pending *pending; /* or NULL */
};
json_t *status_json(void *ctx, const struct status_report *report); /* NULL: out of memory */

#endif
