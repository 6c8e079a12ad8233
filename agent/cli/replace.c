/*
 * A file replaced by a new text, whole or not at all.
 *
 * The new text is written beside the file and renamed over it. What the user would not expect is refused: a symbolic link (the
 * rename would replace the link, not what it leads to), a second name (it would keep the old text), a file that the user may not
 * write or that changed while it was read. Mode, owner and extended attributes, access lists among them, go over to the new file.
 */
#include "agent/cli/cli.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <talloc.h>
#include <unistd.h>

struct replacement {
	void *ctx;
	const char *path, *base;
	int directory, old, new;
	struct stat status;
	char name[40]; /* of the new file, until it is renamed */
};

static int failed(const struct replacement *replacement, const char *what)
{
	complain("portpolicy: cannot write %s: %s\n", replacement->path, what);
	return STATUS_FAILED;
}

static bool same_bytes(const struct replacement *replacement, const char *bytes, size_t length)
{
	char block[4096];
	size_t at = 0;
	ssize_t got;
	while ((got = pread(replacement->old, block, sizeof block, (off_t)at)) > 0) {
		if ((size_t)got > length - at || memcmp(block, bytes + at, (size_t)got))
			return false;
		at += (size_t)got;
	}
	return !got && at == length;
}

static int open_old(struct replacement *replacement, const char *bytes, size_t length)
{
	const char *slash = strrchr(replacement->path, '/');
	char *directory = slash ? talloc_strndup(replacement->ctx, replacement->path, (size_t)(slash - replacement->path) + 1)
				: talloc_strdup(replacement->ctx, ".");
	if (!directory)
		return -ENOMEM;
	replacement->base = slash ? slash + 1 : replacement->path;
	replacement->directory = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (replacement->directory < 0)
		return failed(replacement, strerror(errno));
	replacement->old =
		openat(replacement->directory, replacement->base, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (replacement->old < 0)
		return failed(
			replacement, errno == ELOOP ? "it is a symbolic link; name the file that it leads to" : strerror(errno));
	if (fstat(replacement->old, &replacement->status))
		return failed(replacement, strerror(errno));
	if (!S_ISREG(replacement->status.st_mode))
		return failed(replacement, "it is not a regular file");
	if (replacement->status.st_nlink > 1)
		return failed(replacement, "it has another name (a hard link), which would keep the old text");
	if (faccessat(replacement->directory, replacement->base, W_OK, AT_EACCESS))
		return failed(replacement, strerror(errno));
	if (!same_bytes(replacement, bytes, length))
		return failed(replacement, "it has changed meanwhile");
	return STATUS_YES;
}

static int create_new(struct replacement *replacement)
{
	uint64_t number;
	char name[sizeof replacement->name];
	if (getrandom(&number, sizeof number, 0) != sizeof number)
		return failed(replacement, strerror(errno));
	snprintf(name, sizeof name, ".portpolicy-%016llx", (unsigned long long)number);
	replacement->new = openat(replacement->directory, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (replacement->new < 0)
		return failed(replacement, strerror(errno));
	memcpy(replacement->name, name, sizeof name);
	return STATUS_YES;
}

/* Labels of a security module are its own affair: where it does not let them be copied, it has given the new file one. */
static int copy_attribute(struct replacement *replacement, const char *name)
{
	ssize_t size = fgetxattr(replacement->old, name, NULL, 0);
	char *value = size < 0 ? NULL : talloc_size(replacement->ctx, (size_t)size + 1);
	if (size >= 0 && !value)
		return -ENOMEM;
	if (size >= 0)
		size = fgetxattr(replacement->old, name, value, (size_t)size);
	if (size >= 0 && !fsetxattr(replacement->new, name, value, (size_t)size, 0))
		return STATUS_YES;
	return strncmp(name, "security.", 9) && strncmp(name, "trusted.", 8) ? failed(replacement, strerror(errno)) : STATUS_YES;
}

static int copy_attributes(struct replacement *replacement)
{
	ssize_t size = flistxattr(replacement->old, NULL, 0);
	char *names = size > 0 ? talloc_size(replacement->ctx, (size_t)size) : NULL;
	int status = STATUS_YES;
	if (size > 0 && !names)
		return -ENOMEM;
	size = size > 0 ? flistxattr(replacement->old, names, (size_t)size) : 0;
	for (ssize_t at = 0; at < size && !status; at += (ssize_t)strlen(names + at) + 1)
		status = copy_attribute(replacement, names + at);
	return status;
}

static int write_new(struct replacement *replacement, const char *text)
{
	const struct stat *old = &replacement->status;
	struct stat new;
	for (size_t at = 0, length = strlen(text); at < length;) {
		ssize_t put = write(replacement->new, text + at, length - at);
		if (put < 0 && errno != EINTR)
			return failed(replacement, strerror(errno));
		at += put > 0 ? (size_t)put : 0;
	}
	if (fstat(replacement->new, &new))
		return failed(replacement, strerror(errno));
	if ((new.st_uid != old->st_uid || new.st_gid != old->st_gid) && fchown(replacement->new, old->st_uid, old->st_gid))
		return failed(replacement, "its owner cannot be kept");
	int status = copy_attributes(replacement);
	if (!status && (fchmod(replacement->new, old->st_mode & 07777) || fsync(replacement->new)))
		status = failed(replacement, strerror(errno));
	return status;
}

static int put_in_place(struct replacement *replacement)
{
	struct stat now;
	const struct stat *then = &replacement->status;
	if (fstatat(replacement->directory, replacement->base, &now, AT_SYMLINK_NOFOLLOW))
		return failed(replacement, strerror(errno));
	if (now.st_ino != then->st_ino || now.st_dev != then->st_dev || now.st_size != then->st_size ||
		now.st_mtim.tv_sec != then->st_mtim.tv_sec || now.st_mtim.tv_nsec != then->st_mtim.tv_nsec)
		return failed(replacement, "it has changed meanwhile");
	if (renameat(replacement->directory, replacement->name, replacement->directory, replacement->base))
		return failed(replacement, strerror(errno));
	*replacement->name = 0;
	return fsync(replacement->directory) ? failed(replacement, strerror(errno)) : STATUS_YES;
}

int replace_file(void *ctx, const char *path, const char *bytes, size_t length, const char *text)
{
	struct replacement replacement = {.ctx = ctx, .path = path, .directory = -1, .old = -1, .new = -1};
	int status = open_old(&replacement, bytes, length);
	if (!status)
		status = create_new(&replacement);
	if (!status)
		status = write_new(&replacement, text);
	if (!status)
		status = put_in_place(&replacement);
	if (*replacement.name)
		unlinkat(replacement.directory, replacement.name, 0);
	const int open[] = {replacement.directory, replacement.old, replacement.new};
	for (size_t i = 0; i < sizeof open / sizeof *open; i++)
		if (open[i] >= 0)
			close(open[i]);
	return status;
}
