/*
 * One of two policies that are compared: where its text comes from, and how the language reads it.
 */
#ifndef PORTPOLICY_VERSIONS_H
#define PORTPOLICY_VERSIONS_H

#include "agent/cli/cli.h"

struct version {
	const char *operand; /* as the user wrote it */
	const char *path;    /* what policy_load is given */
	struct environment environment;
};

/* Users and groups that this machine does not have: both versions must mean the same by a name. */
struct strangers;
struct strangers *strangers_new(void *ctx);

/*
 * An operand: a file, `-`, a directory (its host.policy), `git:REV:path`, or /dev/null (a policy that says nothing).  `text`: a
 * file to read in place of the operand, which is then only the name, beside which includes are found; or NULL. Returns a status,
 * after a message where it is not STATUS_YES; or a negative errno.
 */
int version_open(void *ctx, const struct invocation *call, const char *operand, const char *text, struct strangers *strangers,
	struct version **out);

/* Loads it for a host; its errors are printed.  Warnings are for check. */
int version_load(void *ctx, struct version *version, const char *host, struct policy **out);

#endif
