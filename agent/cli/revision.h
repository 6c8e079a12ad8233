/*
 * Policies out of version control: the files of one git revision, or of the index.
 */
#ifndef PORTPOLICY_REVISION_H
#define PORTPOLICY_REVISION_H

#include <stdbool.h>
#include <stddef.h>

struct revision;

/* `git:REV:path`? */
bool revision_named(const char *operand);

/*
 * Opens the revision of an operand in the repository around the working directory; REV empty is the index.  *path is the file in
 * it, as the functions below take it: `git:REV:/path`, so that what is included beside it is found in the same revision. 0; 1
 * when *problem says why not (the caller's words around it); or a negative errno.
 */
int revision_open(void *ctx, const char *operand, struct revision **out, const char **path, const char **problem);

/* Where in the revision a path lies: within it by name, or an absolute one inside the work tree.  NULL: elsewhere. */
const char *revision_inside(const struct revision *revision, void *ctx, const char *path);

/* As those of struct environment, for paths that revision_inside has given. */
int revision_read(const struct revision *revision, void *ctx, const char *inside, size_t most, char **bytes, size_t *length);
int revision_glob(const struct revision *revision, void *ctx, const char *inside, char ***paths, size_t *count);
int revision_canonical(const struct revision *revision, void *ctx, const char *inside, char **out);
bool revision_is_directory(const struct revision *revision, const char *inside);

#endif
