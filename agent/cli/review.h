/*
 * What apply says besides its answer: of the host, of the administrator's own session, of the connections that stand.
 */
#ifndef PORTPOLICY_CLI_REVIEW_H
#define PORTPOLICY_CLI_REVIEW_H

#include "agent/cli/cli.h"
#include "agent/daemon/review.h"

/* Warns of other firewalls, of forwarding, and where the policy would not let the administrator in again. 0 or -ENOMEM. */
int warn_of_host(void *ctx, const struct invocation *call, struct kernel *kernel, const struct policy *policy);
int warn_of_session(void *ctx, const struct policy *policy);

/* `ended`: they were; else they only could be. */
void print_review(const struct review *review, bool ended);
int json_review(json_t *object, const struct review *review, bool ended); /* 0 or -ENOMEM */

#endif
