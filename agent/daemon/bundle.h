/*
 * A policy kept whole: the text of every file that it was made of, and what the names and globs on the way stood for.
 *
 * Loaded again from the bundle it is the same policy, with the same places in its messages, whatever has become of the files.
 * Lists, users and groups are not in it: their last known values are kept by agent/cli/known.h.
 */
#ifndef PORTPOLICY_BUNDLE_H
#define PORTPOLICY_BUNDLE_H

#include "agent/daemon/trace.h"

struct bundle {
	struct environment environment; /* to load with; asks `inner` for lists, users and groups */
	const struct environment *inner;
	const char *main;   /* the path that the policy was named by */
	const char *digest; /* trace_digest */
	int64_t kept;	    /* seconds since the epoch */
	struct traced *first, **last;
	const char **library;
};

/* Keeps what a load has asked for as the last good state of this policy. 0 or a negative errno. */
int bundle_keep(const char *table, const char *main, const struct trace *trace);
/*
 * The last good state of the policy that was named so.  0; -ENOENT; -EBADMSG when it is not whole; or another negative errno.
 * `inner` must outlive it; it may be NULL where only the header is wanted.
 */
int bundle_recall(void *ctx, const char *table, const char *main, const struct environment *inner, struct bundle **out);

/* Its policy as it was called when it was read: the first file of it, which may be relative where `main` is not. */
const char *bundle_policy(const struct bundle *bundle);

/*
 * The policy that was put in force last, confirmed or not, whatever its name.  As bundle_recall; -ENOENT also where somebody else's
 * policy came in between (bundle_disown: what is in force from now on is not kept).
 */
int bundle_in_force(void *ctx, const char *table, const struct environment *inner, struct bundle **out);
int bundle_disown(const char *table);

/* Puts it aside instead, until it is known whether it is good; and makes of what was put aside the last good state of its policy.
 * 0, also when there is none. */
int bundle_put_aside(const char *table, const char *main, const struct trace *trace);
int bundle_promote(const char *table, const char *aside);
char *bundle_name_aside(void *ctx, const char *table); /* of the file. NULL: out of memory */

/* The two on bytes. */
char *bundle_text(void *ctx, const char *main, const struct trace *trace, int64_t now, size_t *length); /* NULL: out of memory */
int bundle_parse(void *ctx, const char *bytes, size_t length, const struct environment *inner, struct bundle **out);

#endif
