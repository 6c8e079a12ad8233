/*
 * Files in the state directory.
 *
 * The rename is what makes a write whole; the two synchronisations before and after it make it last. Nothing here is trusted
 * more than a policy: a file that somebody other than root may write is not read.
 */
#include "agent/daemon/store.h"
#include "agent/cli/cli.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <nettle/sha2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <talloc.h>
#include <unistd.h>

#define RUNTIME_DIRECTORY "/run/portpolicy"
#define STORED_MAX ((size_t)255 << 20) /* talloc gives no more than 256 MiB in one piece */
#define LOCK_TRIES 200
#define LOCK_PAUSE_US 50000

static const char *directory_of(const char *variable, const char *otherwise)
{
	const char *given = getenv(variable);
	return given && *given == '/' ? given : otherwise;
}

const char *state_directory(void)
{
	return directory_of("STATE_DIRECTORY", STATE_DIRECTORY);
}

const char *runtime_directory(void)
{
	return directory_of("RUNTIME_DIRECTORY", RUNTIME_DIRECTORY);
}

static int path_of(char path[PATH_MAX], const char *name, const char *suffix)
{
	int length = snprintf(path, PATH_MAX, "%s/%s%s", state_directory(), name, suffix);
	return length < 0 || length >= PATH_MAX ? -ENAMETOOLONG : 0;
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

static int write_draft(const char *draft, const void *bytes, size_t length)
{
	if (mkdir(state_directory(), 0700) && errno != EEXIST)
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

static int sync_directory(void)
{
	int descriptor = open(state_directory(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (descriptor < 0)
		return -errno;
	int error = fsync(descriptor) ? -errno : 0;
	close(descriptor);
	return error;
}

int store_write(const char *name, const void *bytes, size_t length)
{
	char path[PATH_MAX], draft[PATH_MAX];
	int error = path_of(path, name, "");
	if (!error)
		error = path_of(draft, name, ".new");
	if (!error)
		error = write_draft(draft, bytes, length);
	if (!error && rename(draft, path))
		error = -errno;
	return error ? error : sync_directory();
}

static int read_open(void *ctx, int descriptor, char **bytes, size_t *length)
{
	struct stat status;
	if (fstat(descriptor, &status))
		return -errno;
	if (!S_ISREG(status.st_mode) || descriptor_trusted(descriptor))
		return -EPERM;
	if ((uintmax_t)status.st_size > STORED_MAX)
		return -EFBIG;
	size_t size = (size_t)status.st_size, used = 0;
	char *text = talloc_zero_size(ctx, size + 1);
	if (!text)
		return -ENOMEM;
	for (ssize_t got = 1; got && used < size;) {
		got = read(descriptor, text + used, size - used);
		if (got < 0 && errno != EINTR) {
			int error = -errno;
			talloc_free(text);
			return error;
		}
		used += got > 0 ? (size_t)got : 0;
	}
	*bytes = text;
	*length = used;
	return 0;
}

int store_read(void *ctx, const char *name, char **bytes, size_t *length)
{
	char path[PATH_MAX];
	int error = path_of(path, name, "");
	if (error)
		return error;
	int descriptor = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (descriptor < 0)
		return -errno;
	error = read_open(ctx, descriptor, bytes, length);
	close(descriptor);
	return error;
}

int store_remove(const char *name)
{
	char path[PATH_MAX];
	int error = path_of(path, name, "");
	if (error)
		return error;
	if (unlink(path))
		return errno == ENOENT ? 0 : -errno;
	return sync_directory();
}

int store_lock(void)
{
	char path[PATH_MAX];
	int error = path_of(path, "lock", "");
	if (!error && mkdir(state_directory(), 0700) && errno != EEXIST)
		error = -errno;
	if (error)
		return error;
	int descriptor = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (descriptor < 0)
		return -errno;
	for (int i = 0; i < LOCK_TRIES; i++) {
		if (!flock(descriptor, LOCK_EX | LOCK_NB))
			return descriptor;
		if (errno != EWOULDBLOCK && errno != EINTR)
			break;
		usleep(LOCK_PAUSE_US);
	}
	error = errno == EWOULDBLOCK ? -EBUSY : -errno;
	close(descriptor);
	return error;
}

void digest_text(const void *bytes, size_t length, char out[DIGEST_ROOM])
{
	struct sha256_ctx hash;
	uint8_t digest[SHA256_DIGEST_SIZE];
	sha256_init(&hash);
	sha256_update(&hash, length, bytes);
	sha256_digest(&hash, sizeof digest, digest);
	for (size_t i = 0; i < sizeof digest; i++)
		snprintf(out + 2 * i, 3, "%02x", digest[i]);
}
