/*
 * Who may change a file?
 *
 * A policy that another user can write is that user's firewall. So every step on the way to the file is looked at, as sshd's
 * StrictModes does: directories, the symbolic links on the way and what they lead through, and the file. Each must belong to
 * root, and only root may write it; a directory that others write is accepted with the sticky bit, where they cannot
 * put another file in the place of root's.
 *
 * Outside the first user namespace real root shows as the overflow uid, and the user who made the namespace is its root:
 * both are accepted there, and so is the own uid where the program runs without being root.
 */
#include "agent/cli/cli.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <talloc.h>
#include <unistd.h>

#define LINKS_MAX 40

static bool first_user_namespace(void)
{
	unsigned long inside, outside, length;
	FILE *map = fopen("/proc/self/uid_map", "re");
	if (!map)
		return true;
	int read = fscanf(map, "%lu %lu %lu", &inside, &outside, &length);
	fclose(map);
	return read != 3 || (inside == 0 && outside == 0 && length == 4294967295UL);
}

static unsigned long overflow_uid(void)
{
	unsigned long uid = 65534;
	FILE *file = fopen("/proc/sys/kernel/overflowuid", "re");
	if (file && fscanf(file, "%lu", &uid) != 1)
		uid = 65534;
	if (file)
		fclose(file);
	return uid;
}

static bool owner_trusted(uid_t uid) { return uid == 0 || uid == geteuid() || (!first_user_namespace() && uid == overflow_uid()); }

static int status_trusted(const struct stat *status)
{
	if (!owner_trusted(status->st_uid))
		return -EPERM;
	if (S_ISLNK(status->st_mode) || !(status->st_mode & (S_IWGRP | S_IWOTH)))
		return 0;
	return S_ISDIR(status->st_mode) && (status->st_mode & S_ISVTX) ? 0 : -EPERM;
}

int descriptor_trusted(int descriptor)
{
	struct stat status;
	return fstat(descriptor, &status) ? -errno : status_trusted(&status);
}

static int walk(void *ctx, const char *path, unsigned links);

/* Goes on with what the link says, and what stands behind the link in the path. */
static int follow(void *ctx, const char *link, const char *rest, unsigned links)
{
	char target[PATH_MAX];
	ssize_t length = readlink(link, target, sizeof target - 1);
	if (length < 0)
		return -errno;
	if (links >= LINKS_MAX)
		return -ELOOP;
	target[length] = 0;
	const char *slash = strrchr(link, '/');
	char *path = target[0] == '/' ? talloc_asprintf(ctx, "%s%s", target, rest)
				      : talloc_asprintf(ctx, "%.*s/%s%s", (int)(slash - link), link, target, rest);
	return path ? walk(ctx, path, links + 1) : -ENOMEM;
}

/* `path` is absolute; each of its beginnings is looked at without following it. */
static int walk(void *ctx, const char *path, unsigned links)
{
	for (const char *end = path; *end;) {
		while (*end == '/')
			end++;
		end += strcspn(end, "/");
		char *step = talloc_strndup(ctx, path, end - path);
		struct stat status;
		if (!step)
			return -ENOMEM;
		if (lstat(*step ? step : "/", &status))
			return -errno;
		int error = status_trusted(&status);
		if (error)
			return error;
		if (S_ISLNK(status.st_mode))
			return follow(ctx, step, end, links);
	}
	return 0;
}

int path_trusted(void *ctx, const char *path)
{
	char here[PATH_MAX];
	void *scratch = talloc_new(ctx);
	if (!scratch)
		return -ENOMEM;
	int error = 0;
	if (path[0] != '/') {
		if (!getcwd(here, sizeof here))
			error = -errno;
		else if (!(path = talloc_asprintf(scratch, "%s/%s", here, path)))
			error = -ENOMEM;
	}
	struct stat root;
	if (!error)
		error = stat("/", &root) ? -errno : status_trusted(&root);
	if (!error)
		error = walk(scratch, path, 0);
	talloc_free(scratch);
	return error;
}
