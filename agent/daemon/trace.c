/*
 * An environment that writes down what it is asked, and asks another one.
 *
 * A file's mark is taken before it is read: one that changes in between has another mark afterwards, and is read again.
 */
#include "agent/daemon/trace.h"
#include <errno.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <talloc.h>

int file_mark(const char *path, struct file_mark *out)
{
	struct stat status;
	memset(out, 0, sizeof *out);
	if (stat(path, &status))
		return -errno;
	*out = (struct file_mark){.device = status.st_dev,
		.inode = status.st_ino,
		.size = status.st_size,
		.mode = status.st_mode,
		.modified = status.st_mtim,
		.changed = status.st_ctim};
	return 0;
}

static bool same_time(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

bool file_mark_equal(const struct file_mark *a, const struct file_mark *b)
{
	return a->device == b->device && a->inode == b->inode && a->size == b->size && a->mode == b->mode &&
	       same_time(a->modified, b->modified) && same_time(a->changed, b->changed);
}

static struct traced *note(struct trace *trace, enum traced_kind kind, const char *path)
{
	struct traced *one = talloc_zero(trace, struct traced);
	if (!one || !(one->path = talloc_strdup(one, path)))
		return NULL;
	one->kind = kind;
	if (kind != TRACED_GLOB)
		file_mark(path, &one->mark);
	*trace->last = one;
	trace->last = &one->next;
	return one;
}

static void hash_bytes(struct trace *trace, const void *bytes, size_t length)
{
	uint64_t prefix = length; /* so that the parts cannot run into each other */
	sha256_update(trace->hash, sizeof prefix, (const uint8_t *)&prefix);
	sha256_update(trace->hash, length, bytes);
}

static int read_file(void *data, void *ctx, const char *path, enum file_kind kind, char **bytes, size_t *length)
{
	struct trace *trace = data;
	struct traced *one = note(trace, kind == FILE_POLICY ? TRACED_POLICY : TRACED_LIST, path);
	if (!one)
		return -ENOMEM;
	one->error = trace->inner->read_file(trace->inner->data, ctx, path, kind, bytes, length);
	if (one->error)
		return one->error;
	hash_bytes(trace, *bytes, *length);
	if (kind == FILE_POLICY || trace->keep_lists) {
		one->bytes = talloc_memdup(one, *bytes, *length + (*length == 0));
		one->length = *length;
		if (!one->bytes)
			return -ENOMEM;
	}
	return 0;
}

static int find_paths(void *data, void *ctx, const char *pattern, char ***paths, size_t *count)
{
	struct trace *trace = data;
	struct traced *one = note(trace, TRACED_GLOB, pattern);
	if (!one)
		return -ENOMEM;
	one->error = trace->inner->glob(trace->inner->data, ctx, pattern, paths, count);
	if (one->error)
		return one->error;
	one->found = talloc_zero_array(one, char *, *count + 1);
	if (!one->found)
		return -ENOMEM;
	for (size_t i = 0; i < *count; i++)
		if (!(one->found[one->found_count++] = talloc_strdup(one, (*paths)[i])))
			return -ENOMEM;
	return 0;
}

static int canonical(void *data, void *ctx, const char *path, char **out)
{
	struct trace *trace = data;
	struct traced *one = note(trace, TRACED_NAME, path);
	if (!one)
		return -ENOMEM;
	one->error = trace->inner->canonical(trace->inner->data, ctx, path, out);
	if (!one->error && !(one->real = talloc_strdup(one, *out)))
		return -ENOMEM;
	return one->error;
}

static int find_user(void *data, const char *name, uint32_t *uid)
{
	struct trace *trace = data;
	trace->accounts = true;
	return trace->inner->find_user(trace->inner->data, name, uid);
}

static int find_group(void *data, const char *name, uint32_t *gid)
{
	struct trace *trace = data;
	trace->accounts = true;
	return trace->inner->find_group(trace->inner->data, name, gid);
}

int trace_new(void *ctx, const struct environment *inner, struct trace **out)
{
	struct trace *trace = talloc_zero(ctx, struct trace);
	if (!trace || !(trace->hash = talloc_zero(trace, struct sha256_ctx)))
		return -ENOMEM;
	sha256_init(trace->hash);
	trace->last = &trace->first;
	trace->inner = inner;
	trace->environment = *inner;
	trace->environment.data = trace;
	trace->environment.read_file = read_file;
	trace->environment.glob = find_paths;
	trace->environment.canonical = canonical;
	trace->environment.find_user = find_user;
	trace->environment.find_group = find_group;
	*out = trace;
	return 0;
}

void trace_forget(struct trace *trace)
{
	for (struct traced *one = trace->first; one; one = one->next)
		TALLOC_FREE(one->bytes);
}

void trace_digest(const struct trace *trace, char out[DIGEST_ROOM])
{
	struct sha256_ctx copy = *(const struct sha256_ctx *)trace->hash;
	uint8_t digest[SHA256_DIGEST_SIZE];
	sha256_digest(&copy, sizeof digest, digest);
	for (size_t i = 0; i < sizeof digest; i++)
		snprintf(out + 2 * i, 3, "%02x", digest[i]);
}
