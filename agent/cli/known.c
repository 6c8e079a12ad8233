/*
 * The last known values, a file each.
 *
 * A value is written beside the kept one when it is read, and takes its place by rename once the ruleset made of it is in force: what is kept
 * is always what some ruleset in force was made of. Names are hashed, so any path makes a file name. A value that has not
 * changed is not written, so a steady host writes nothing.
 */
#include "agent/cli/known.h"
#include <errno.h>
#include <fcntl.h>
#include <nettle/sha2.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <talloc.h>
#include <unistd.h>

#define VALUE_MAX ((size_t)255 << 20)

struct learnt {
	char *path, *draft;
	struct learnt *next;
};

struct known {
	const char *directory;
	struct learnt *learnt;
	int error;
};

static int drop_drafts(struct known *known)
{
	for (struct learnt *one = known->learnt; one; one = one->next)
		unlink(one->draft);
	return 0;
}

struct known *known_new(void *ctx, const char *directory)
{
	struct known *known = talloc_zero(ctx, struct known);
	if (!known)
		return NULL;
	talloc_set_destructor(known, drop_drafts);
	known->directory = talloc_strdup(known, directory);
	if (!known->directory)
		TALLOC_FREE(known);
	return known;
}

static char *value_path(void *ctx, const struct known *known, const char *kind, const char *name)
{
	struct sha256_ctx hash;
	uint8_t digest[16];
	char *path = talloc_asprintf(ctx, "%s/%s-", known->directory, kind);
	sha256_init(&hash);
	sha256_update(&hash, strlen(name), (const uint8_t *)name);
	sha256_digest(&hash, sizeof digest, digest);
	for (size_t i = 0; path && i < sizeof digest; i++)
		path = talloc_asprintf_append_buffer(path, "%02x", digest[i]);
	return path;
}

static int read_value(void *ctx, const char *path, char **bytes, size_t *length)
{
	struct stat status;
	int descriptor = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (descriptor < 0 || fstat(descriptor, &status) || !S_ISREG(status.st_mode) || (uintmax_t)status.st_size > VALUE_MAX) {
		if (descriptor >= 0)
			close(descriptor);
		return -ENOENT;
	}
	size_t used = 0, size = (size_t)status.st_size;
	char *value = talloc_zero_size(ctx, size + 1);
	for (ssize_t got = 1; value && got && used < size;) {
		got = read(descriptor, value + used, size - used);
		if (got < 0 && errno != EINTR)
			break;
		used += got > 0 ? (size_t)got : 0;
	}
	close(descriptor);
	if (!value)
		return -ENOMEM;
	if (used != size) {
		talloc_free(value);
		return -ENOENT;
	}
	*bytes = value;
	*length = size;
	return 0;
}

int known_recall(struct known *known, void *ctx, const char *kind, const char *name, char **bytes, size_t *length)
{
	char *path = value_path(ctx, known, kind, name);
	int error = path ? read_value(ctx, path, bytes, length) : -ENOMEM;
	talloc_free(path);
	return error;
}

static int write_whole(int descriptor, const char *bytes, size_t length)
{
	while (length) {
		ssize_t put = write(descriptor, bytes, length);
		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return -errno;
		bytes += put;
		length -= (size_t)put;
	}
	return fsync(descriptor) ? -errno : 0;
}

static int write_draft(const struct known *known, const char *draft, const char *bytes, size_t length)
{
	if (mkdir(known->directory, 0700) && errno != EEXIST)
		return -errno;
	if (unlink(draft) && errno != ENOENT)
		return -errno;
	int descriptor = open(draft, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (descriptor < 0)
		return -errno;
	int error = write_whole(descriptor, bytes, length);
	if (close(descriptor) && !error)
		error = -errno;
	return error;
}

static bool learnt_before(const struct known *known, const char *path)
{
	for (const struct learnt *one = known->learnt; one; one = one->next)
		if (!strcmp(one->path, path))
			return true;
	return false;
}

static int learn(struct known *known, const char *kind, const char *name, const char *bytes, size_t length)
{
	struct learnt *one = talloc_zero(known, struct learnt);
	char *kept = NULL;
	size_t kept_length = 0;
	if (!one || !(one->path = value_path(one, known, kind, name)) || !(one->draft = talloc_asprintf(one, "%s.new", one->path)))
		return -ENOMEM;
	if (learnt_before(known, one->path)) { /* one run sees one value of a thing */
		talloc_free(one);
		return 0;
	}
	int error = read_value(one, one->path, &kept, &kept_length);
	bool same = !error && kept_length == length && !memcmp(kept, bytes, length);
	talloc_free(kept);
	if (same || error == -ENOMEM) {
		talloc_free(one);
		return same ? 0 : error;
	}
	one->next = known->learnt;
	known->learnt = one;
	return write_draft(known, one->draft, bytes, length);
}

void known_learn(struct known *known, const char *kind, const char *name, const char *bytes, size_t length)
{
	int error = learn(known, kind, name, bytes, length);
	if (error && !known->error)
		known->error = error;
}

static int sync_directory(const char *directory)
{
	int descriptor = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (descriptor < 0)
		return -errno;
	int error = fsync(descriptor) ? -errno : 0;
	close(descriptor);
	return error;
}

int known_keep(struct known *known)
{
	bool renamed = false;
	for (struct learnt *one = known->learnt; one; one = one->next) {
		int error = rename(one->draft, one->path) ? -errno : 0;
		renamed |= !error;
		if (error && !known->error)
			known->error = error;
	}
	if (renamed && !known->error)
		known->error = sync_directory(known->directory);
	known->learnt = NULL;
	return known->error;
}
