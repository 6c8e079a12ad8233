/*
 * Which policy the agent wants: its own files, the last good state of them, or what somebody has put in their place for a while.
 */
#ifndef PORTPOLICY_POLICIES_H
#define PORTPOLICY_POLICIES_H

#include "agent/cli/cli.h"
#include "agent/daemon/daemon.h"
#include "agent/daemon/store.h"

enum policy_origin {
	POLICY_OWN,	  /* the agent's own files, as they are */
	POLICY_LAST_GOOD, /* as they were when they were last good */
	POLICY_FALLBACK,  /* rules/examples/fallback.policy: there is nothing else */
	POLICY_GIVEN,	  /* by `apply` through the control socket */
};

struct provenance {
	enum policy_origin origin;
	const char *path;
	char digest[DIGEST_ROOM];
	int64_t since; /* seconds since the epoch: when it came in force; 0: not yet */
	bool kept;     /* its last known values, and itself as the last good one */
};

struct policies;

/* Made before the agent, because it is the agent's loader's data; `call` is that of `portpolicy agent`. 0 or -ENOMEM. */
int policies_new(void *ctx, const struct invocation *call, struct policies **out);
int policies_load(void *data, void *ctx, struct agent_policy **out); /* an agent_loader */

/*
 * Watches the files, and puts the first policy in force: the own one; else its last good state; else, where rules of ours stand
 * in the kernel, leaves these; else the fallback.  0 or a negative errno.
 */
int policies_start(struct policies *policies, struct agent *agent);

/*
 * Reads the own policy again at once and uses it, also if an unconfirmed apply of it was undone before.  A status as of the
 * command; *messages is what there is to be said (talloc of ctx), also in the log.
 */
int policies_reload(struct policies *policies, void *ctx, char **messages);

struct given {
	int descriptor;	  /* holds a bundle (bundle.h) */
	const char *host; /* or NULL: this one */
	enum encoding encoding;
	unsigned confirm; /* seconds; 0: for good */
};
/* Uses another policy until the own one changes, or the agent starts anew.  As policies_reload. */
int policies_give(struct policies *policies, void *ctx, const struct given *given, char **messages);

/* For status. */
const char *policies_own_path(const struct policies *policies);
const char *policies_trouble(const struct policies *policies); /* what is wrong with the own policy, as messages; or NULL */
bool policies_left_standing(const struct policies *policies);  /* nothing is wanted: rules of before were left */
const char *origin_word(enum policy_origin origin);

#endif
