/*
 * What follows when a policy has come in force: a look at the rest of the host, and at the connections that stand.
 */
#ifndef PORTPOLICY_CONSEQUENCES_H
#define PORTPOLICY_CONSEQUENCES_H

#include "agent/daemon/daemon.h"
#include <stdbool.h>

/* Logs other firewalls and the like; `revoke`: ends the connections that the policy would not let begin, and logs them. */
void consequences(struct agent *agent, const struct agent_policy *policy, bool revoke);

#endif
