/*
 * What the language asks of the world: files, users, the host's name.
 *
 * The narrow port that keeps dsl/ pure: the program passes the real one (agent/cli), tests and
 * readers of version control pass their own.
 */
#ifndef PORTPOLICY_ENVIRONMENT_H
#define PORTPOLICY_ENVIRONMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum file_kind { FILE_POLICY, FILE_LIST };

struct environment {
	void *data;
	/*
	 * The bytes of a file, as a talloc child of ctx.  Returns 0 or a negative errno: -ENOENT, -EACCES, -EISDIR,
	 * -EFBIG (larger than this kind may be), -EINVAL (not a regular file), -EPERM (somebody but root may write it, and this
	 * reader cares), -ENOMEM, -EIO.
	 */
	int (*read_file)(void *data, void *ctx, const char *path, enum file_kind kind, char **bytes, size_t *length);
	/* Paths that match a glob, sorted, as a talloc array. 0 or a negative errno; no match is count 0. */
	int (*glob)(void *data, void *ctx, const char *pattern, char ***paths, size_t *count);
	/* The one true name of a file, so that it counts once however it is spelt. 0 or a negative errno. */
	int (*canonical)(void *data, void *ctx, const char *path, char **out);
	/* 0, -ENOENT when there is no such user or group, or another negative errno. */
	int (*find_user)(void *data, const char *name, uint32_t *uid);
	int (*find_group)(void *data, const char *name, uint32_t *gid);
	const char *const *library; /* directories searched for include <name>, first one first */
	size_t library_count;
	const char *host; /* the host to answer for */
};

#endif
