/*
 * The last known values (LANGUAGE.md, ADDRESSES): what files, users and groups said at the last apply that succeeded.
 *
 * A list that is gone, or a user that cannot be looked up, keeps the value that is in force until somebody says otherwise.
 */
#ifndef PORTPOLICY_KNOWN_H
#define PORTPOLICY_KNOWN_H

#include <stddef.h>

struct known;

/* Values are kept below `directory`, which is made when something has to be kept.  NULL: out of memory. */
struct known *known_new(void *ctx, const char *directory);

/*
 * What stood for (kind, name) when known_keep was called last.  0, with the bytes as a talloc child of ctx, NUL-terminated;
 * -ENOENT when nothing is known; -ENOMEM.
 */
int known_recall(struct known *known, void *ctx, const char *kind, const char *name, char **bytes, size_t *length);

/* Writes a value down beside the kept one; it counts only from known_keep on.  Failures are remembered for known_keep. */
void known_learn(struct known *known, const char *kind, const char *name, const char *bytes, size_t length);

/* Makes all that was learnt the kept values.  0, or the first errno (negative) that came in the way, now or when learning. */
int known_keep(struct known *known);

#endif
