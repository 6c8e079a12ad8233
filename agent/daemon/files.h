/*
 * Watching the files that a policy was made of.
 */
#ifndef PORTPOLICY_FILES_H
#define PORTPOLICY_FILES_H

#include "agent/daemon/loop.h"
#include "agent/daemon/trace.h"

#define SETTLE_QUIET_MS 150 /* nothing has happened for so long */
#define SETTLE_LAST_MS 5000 /* a change is read at the latest so long after its beginning */

/* When a change has settled.  A writer that has the file open yet is waited for, up to the last moment. */
struct settle {
	uint64_t first, last; /* of the events since the last reading; 0: none */
	unsigned writing;     /* files that are being written */
};
void settle_note(struct settle *settle, uint64_t now);
/* LOOP_NEVER when there is nothing to wait for. */
uint64_t settle_due(const struct settle *settle);

struct files;
/* `changed` is called when something has changed and settled; its return value is that of a loop callback.  0 or a negative
 * errno. */
int files_new(void *ctx, struct loop *loop, loop_callback changed, void *data, struct files **out);
/*
 * Watches all that this load has asked for, in place of what was watched before, and looks at once whether it is still as it was
 * read. 0; 1 when not all of it can be watched (files_check finds the rest); or a negative errno.
 */
int files_follow(struct files *files, const struct trace *trace);
/* Are the files as they were read?  What no event told (a mount, a network file system) is found here; to be called now and then.
 */
void files_check(struct files *files);

#endif
