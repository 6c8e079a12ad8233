/*
 * The long lists that are installed, kept in the state directory between two runs, so that the next one need not read a million
 * members back from the kernel (portpolicy/kernel.h, struct table_knowledge).
 *
 * A file speaks of one table in one network namespace of one boot.  It is a help, never a truth: where boot, namespace, stamp or
 * generation differ, the kernel is asked.
 */
#ifndef PORTPOLICY_INSTALLED_H
#define PORTPOLICY_INSTALLED_H

#include "portpolicy/kernel.h"

/*
 * What was kept of the table, as of that generation and stamp (known->generation, known->stamp); the sets refer to a mapping of
 * the file, which goes with ctx.  0; -ENOENT when nothing of this boot, network namespace, generation and stamp is kept, or it
 * makes no sense; -ENOMEM.
 */
int installed_recall(void *ctx, const char *directory, const char *table, struct table_knowledge *known);

/*
 * Keeps generation, stamp, and the sets among known->sets that are made of lists, in place of what was kept; takes it away where
 * there are no such sets.  0 or a negative errno: then nothing is kept.
 */
int installed_keep(const char *directory, const char *table, const struct table_knowledge *known);

/* Both in the state directory, for a socket: what was kept becomes what it knows; and what `wanted` left there is kept, where it
 * is new. */
int installed_tell(void *ctx, struct kernel *kernel, const char *table); /* 0 or -ENOMEM */
void installed_note(struct kernel *kernel, const char *table, const struct ruleset *wanted);

#endif
