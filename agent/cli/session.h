/*
 * The sessions through which this program is being used, and whether a policy would let them begin again.
 */
#ifndef PORTPOLICY_SESSION_H
#define PORTPOLICY_SESSION_H

#include "portpolicy/decision.h"
#include "portpolicy/flow.h"

/* `always`: there is no way in; else it turns on what is not known, such as the interface. `packet` is what would be refused. */
typedef void session_warning(
	const struct policy *policy, const struct flow *session, const struct answer *refusal, const char *packet, bool always);

/* Calls `say` for each session that the policy would not let in again. 0 or -ENOMEM; sessions that cannot be found are none. */
int session_check(void *ctx, const struct policy *policy, session_warning *say);

/* "203.0.113.9 50000 198.51.100.7 22", as sshd writes SSH_CONNECTION. 0 or -EINVAL. */
int session_from_ssh(const char *text, struct flow *out);
/* An address as text, without a zone; IPv4 where it is IPv4-mapped.  0 or -EINVAL. */
int read_address(const char *text, enum family *family, u128 *out);

#endif
