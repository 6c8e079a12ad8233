/*
 * A change that is undone unless it is confirmed.
 *
 * The record on disk is the truth: while it stands, the change is pending; whoever takes it away under the lock (confirm,
 * rollback, the agent, the guardian, any later run of the program) has decided. Beside it lies the ruleset from before, so that
 * everybody can bring it back.
 */
#ifndef PORTPOLICY_PENDING_H
#define PORTPOLICY_PENDING_H

#include "portpolicy/kernel.h"
#include <stdbool.h>
#include <stdint.h>

struct pending {
	const char *table;
	char id[17];	    /* tells this change from every other */
	const char *file;   /* the policy that was applied, for people */
	const char *digest; /* of its text */
	uint64_t deadline;  /* milliseconds of CLOCK_BOOTTIME */
	int64_t began;	    /* seconds since the epoch, for people */
	bool existed;	    /* there was a table of ours before */
	bool by_agent;	    /* an agent made the change and undoes it; the guardian comes after it */
};

uint64_t boot_milliseconds(void);

/*
 * The change that is pending for this table in this network namespace since this boot.  0; 1 when there is none; 2 when there
 * is one that was made before the last boot, or belongs to another namespace (*out is filled all the same); or a negative errno.
 */
int pending_read(void *ctx, const char *table, struct pending **out);
/* Seconds until it is undone, 0 when that should have happened. */
unsigned pending_left(const struct pending *pending);

/* Keeps `snapshot` (kernel_snapshot) and then the record, with a new id. To be called before the kernel is changed. 0 or a
 * negative errno. */
int pending_begin(struct pending *pending, const uint8_t *snapshot, size_t length);
/* Under the lock: takes the record away if it is still that of `id`.  0; 1 when it was gone; or a negative errno. */
int pending_end(const char *table, const char *id);

/*
 * Under the lock: if the record is still that of `id`, brings the ruleset of before back and takes the record away.  `before`
 * NULL: as it was kept on disk.  0; 1 when the record was gone; 2 when the kernel or the disk did not let it (*problem; the
 * record stands).
 */
int pending_undo(
	void *ctx, struct kernel *kernel, const struct pending *pending, const struct ruleset *before, const char **problem);

/* It is to stay: as pending_end, and the policy that was put aside becomes the last good one (bundle.h). */
int pending_confirm(const struct pending *pending);

/* The agent has undone the change that is on record: takes the record away, and notes the digest of what was not confirmed. */
void pending_undone(const char *table);
/* Is this the digest of a policy that was undone, and is not to be used by itself?  It is forgiven when somebody applies or
 * confirms it. */
bool pending_blamed(const char *table, const char *digest);
void pending_forgive(const char *table, const char *digest);

/* Can this ruleset be brought back as it is, i.e. holds it only what this program writes? */
bool ruleset_restorable(const struct ruleset *ruleset);

/*
 * A process of its own that undoes the change when its time is over and nobody has decided: with its own copy of the ruleset, of
 * no session and no terminal. SIGTERM makes it undo at once. Called after pending_begin; returns when it watches. 0 or a negative
 * errno.
 */
int guardian_start(const struct pending *pending, const struct ruleset *before);

#endif
