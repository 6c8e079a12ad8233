/*
 * Drift: what in the kernel is not what was installed.
 */
#ifndef PORTPOLICY_DRIFT_H
#define PORTPOLICY_DRIFT_H

#include "portpolicy/ruleset.h"

/* One line for each object that others have changed, added or taken away.  0; 1 when the table is not ours to compare; -ENOMEM.
 */
int drift_find(void *ctx, const struct ruleset *observed, const struct ruleset *installed, const char ***lines, size_t *count);

#endif
