/*
 * The form of a bundle: text, so that a person can read what was in force.
 *
 *     portpolicy bundle 1 DIGEST-OF-ALL-THAT-FOLLOWS
 *     policy DIGEST SECONDS LENGTH          main path
 *     library LENGTH                        a directory, in order
 *     file LENGTH BYTES                     a path, and the bytes of the file
 *     list LENGTH BYTES                     the same of a list, where lists are kept
 *     name LENGTH BYTES                     a path, and the one true name that it had
 *     glob LENGTH COUNT                     a pattern, and COUNT times: path LENGTH
 *
 * Every line but the first is followed by what it counts the bytes of, each with a newline behind. Where something was not there
 * (a library directory that was searched before the right one) there is no entry.
 */
#include "agent/daemon/bundle.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <talloc.h>

#define FIRST_LINE "portpolicy bundle 1 "
#define ENTRIES_MAX 100000

static void write_entries(FILE *out, const struct trace *trace)
{
	for (const struct traced *one = trace->first; one; one = one->next) {
		if (one->error)
			continue;
		if ((one->kind == TRACED_POLICY || one->kind == TRACED_LIST) && one->bytes) {
			fprintf(out, "%s %zu %zu\n%s\n", one->kind == TRACED_LIST ? "list" : "file", strlen(one->path),
				one->length, one->path);
			fwrite(one->bytes, 1, one->length, out);
			fputc('\n', out);
		} else if (one->kind == TRACED_NAME)
			fprintf(out, "name %zu %zu\n%s\n%s\n", strlen(one->path), strlen(one->real), one->path, one->real);
		else if (one->kind == TRACED_GLOB) {
			fprintf(out, "glob %zu %zu\n%s\n", strlen(one->path), one->found_count, one->path);
			for (size_t i = 0; i < one->found_count; i++)
				fprintf(out, "path %zu\n%s\n", strlen(one->found[i]), one->found[i]);
		}
	}
}

char *bundle_text(void *ctx, const char *main, const struct trace *trace, int64_t now, size_t *length)
{
	char digest[DIGEST_ROOM], *body = NULL, *text = NULL;
	size_t body_length = 0;
	FILE *out = open_memstream(&body, &body_length);
	if (!out)
		return NULL;
	trace_digest(trace, digest);
	fprintf(out, "policy %s %" PRId64 " %zu\n%s\n", digest, now, strlen(main), main);
	for (size_t i = 0; i < trace->environment.library_count; i++)
		fprintf(out, "library %zu\n%s\n", strlen(trace->environment.library[i]), trace->environment.library[i]);
	write_entries(out, trace);
	bool whole = !ferror(out);
	whole = !fclose(out) && whole;
	digest_text(body, body_length, digest);
	size_t head = strlen(FIRST_LINE) + DIGEST_ROOM;
	if (whole && (text = talloc_size(ctx, head + body_length + 1))) {
		snprintf(text, head + 1, "%s%s\n", FIRST_LINE, digest);
		memcpy(text + head, body, body_length);
		text[head + body_length] = 0;
		*length = head + body_length;
	}
	free(body);
	return text;
}

struct reader {
	const char *at, *end;
	struct bundle *bundle;
};

/* The next line as a word and up to two numbers; at the end 1. */
static int read_line(struct reader *reader, char word[16], size_t *one, size_t *two)
{
	char line[128];
	if (reader->at == reader->end)
		return 1;
	const char *newline = memchr(reader->at, '\n', (size_t)(reader->end - reader->at));
	if (!newline || newline - reader->at >= (ptrdiff_t)sizeof line)
		return -EBADMSG;
	memcpy(line, reader->at, (size_t)(newline - reader->at));
	line[newline - reader->at] = 0;
	reader->at = newline + 1;
	*two = 0;
	return sscanf(line, "%15s %zu %zu", word, one, two) >= 2 ? 0 : -EBADMSG;
}

/* So many bytes and a newline; NULL where they are not there, or out of memory. */
static char *read_bytes(void *ctx, struct reader *reader, size_t length)
{
	size_t left = (size_t)(reader->end - reader->at);
	if (length >= left || reader->at[length] != '\n')
		return NULL;
	char *bytes = talloc_size(ctx, length + 1);
	if (!bytes)
		return NULL;
	memcpy(bytes, reader->at, length);
	bytes[length] = 0;
	reader->at += length + 1;
	return bytes;
}

static int read_found(struct reader *reader, struct traced *one, size_t count)
{
	char word[16];
	size_t length, none;
	if (count > ENTRIES_MAX || !(one->found = talloc_zero_array(one, char *, count + 1)))
		return count > ENTRIES_MAX ? -EBADMSG : -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		if (read_line(reader, word, &length, &none) || strcmp(word, "path") ||
			!(one->found[i] = read_bytes(one, reader, length)))
			return -EBADMSG;
		one->found_count++;
	}
	return 0;
}

static int read_library(struct reader *reader, size_t length)
{
	struct bundle *bundle = reader->bundle;
	size_t count = bundle->environment.library_count;
	const char **more = talloc_realloc(bundle, bundle->library, const char *, count + 1);
	if (!more)
		return -ENOMEM;
	bundle->library = more;
	more[count] = read_bytes(bundle, reader, length);
	if (!more[count])
		return -EBADMSG;
	bundle->environment.library = more;
	bundle->environment.library_count++;
	return 0;
}

static int read_entry(struct reader *reader, const char *word, size_t length, size_t second)
{
	struct traced *one = talloc_zero(reader->bundle, struct traced);
	if (!one)
		return -ENOMEM;
	one->kind = !strcmp(word, "file")   ? TRACED_POLICY
		    : !strcmp(word, "list") ? TRACED_LIST
		    : !strcmp(word, "name") ? TRACED_NAME
					    : TRACED_GLOB;
	one->path = read_bytes(one, reader, length);
	if (!one->path || (one->kind == TRACED_GLOB && strcmp(word, "glob")))
		return -EBADMSG;
	*reader->bundle->last = one;
	reader->bundle->last = &one->next;
	if (one->kind == TRACED_GLOB)
		return read_found(reader, one, second);
	char *bytes = read_bytes(one, reader, second);
	if (one->kind == TRACED_NAME)
		one->real = bytes;
	one->bytes = bytes;
	one->length = second;
	return bytes ? 0 : -EBADMSG;
}

static int read_head(struct reader *reader)
{
	char digest[DIGEST_ROOM], given[DIGEST_ROOM] = "";
	int used = 0;
	int64_t kept;
	size_t length, head = strlen(FIRST_LINE) + DIGEST_ROOM;
	size_t have = (size_t)(reader->end - reader->at);
	if (have < head || memcmp(reader->at, FIRST_LINE, strlen(FIRST_LINE)))
		return -EBADMSG;
	digest_text(reader->at + head, have - head, digest);
	if (memcmp(reader->at + strlen(FIRST_LINE), digest, DIGEST_ROOM - 1))
		return -EBADMSG;
	reader->at += head;
	if (sscanf(reader->at, "policy %64[0-9a-f] %" SCNd64 " %zu%n", given, &kept, &length, &used) != 3 ||
		reader->at[used] != '\n')
		return -EBADMSG;
	reader->at += used + 1;
	reader->bundle->kept = kept;
	reader->bundle->main = read_bytes(reader->bundle, reader, length);
	reader->bundle->digest = talloc_strdup(reader->bundle, given);
	return reader->bundle->main && reader->bundle->digest ? 0 : -EBADMSG;
}

static const struct traced *find(const struct bundle *bundle, enum traced_kind kind, const char *path)
{
	for (const struct traced *one = bundle->first; one; one = one->next)
		if (one->kind == kind && !strcmp(one->path, path))
			return one;
	return NULL;
}

static int kept_file(void *data, void *ctx, const char *path, enum file_kind kind, char **bytes, size_t *length)
{
	const struct bundle *bundle = data;
	const struct traced *one = find(bundle, kind == FILE_LIST ? TRACED_LIST : TRACED_POLICY, path);
	if (!one && kind == FILE_LIST)
		return bundle->inner->read_file(bundle->inner->data, ctx, path, kind, bytes, length);
	if (!one)
		return -ENOENT;
	*bytes = talloc_memdup(ctx, one->bytes, one->length + 1);
	*length = one->length;
	return *bytes ? 0 : -ENOMEM;
}

static int kept_glob(void *data, void *ctx, const char *pattern, char ***paths, size_t *count)
{
	const struct traced *one = find(data, TRACED_GLOB, pattern);
	*count = 0;
	*paths = talloc_zero_array(ctx, char *, one ? one->found_count + 1 : 1);
	for (size_t i = 0; *paths && one && i < one->found_count; i++)
		if (!((*paths)[(*count)++] = talloc_strdup(*paths, one->found[i])))
			return -ENOMEM;
	return *paths ? 0 : -ENOMEM;
}

static int kept_name(void *data, void *ctx, const char *path, char **out)
{
	const struct traced *one = find(data, TRACED_NAME, path);
	if (!one)
		return -ENOENT;
	*out = talloc_strdup(ctx, one->real);
	return *out ? 0 : -ENOMEM;
}

static int find_user(void *data, const char *name, uint32_t *uid)
{
	const struct bundle *bundle = data;
	return bundle->inner->find_user(bundle->inner->data, name, uid);
}

static int find_group(void *data, const char *name, uint32_t *gid)
{
	const struct bundle *bundle = data;
	return bundle->inner->find_group(bundle->inner->data, name, gid);
}

static void fill_environment(struct bundle *bundle, const struct environment *inner)
{
	bundle->last = &bundle->first;
	bundle->inner = inner;
	bundle->environment = (struct environment){.data = bundle,
		.read_file = kept_file,
		.glob = kept_glob,
		.canonical = kept_name,
		.find_user = find_user,
		.find_group = find_group,
		.host = inner ? inner->host : NULL};
}

int bundle_parse(void *ctx, const char *bytes, size_t length, const struct environment *inner, struct bundle **out)
{
	char word[16];
	size_t one, two;
	struct bundle *bundle = talloc_zero(ctx, struct bundle);
	struct reader reader = {.at = bytes, .end = bytes + length, .bundle = bundle};
	if (!bundle)
		return -ENOMEM;
	fill_environment(bundle, inner);
	int status = read_head(&reader);
	while (!status && !(status = read_line(&reader, word, &one, &two)))
		status = !strcmp(word, "library") ? read_library(&reader, one) : read_entry(&reader, word, one, two);
	if (status < 0) {
		talloc_free(bundle);
		return status;
	}
	*out = bundle;
	return 0;
}

/* A file name for any path. */
static char *store_name(void *ctx, const char *table, const char *main)
{
	char digest[DIGEST_ROOM];
	digest_text(main, strlen(main), digest);
	return talloc_asprintf(ctx, "good-%s-%.16s", table, digest);
}

char *bundle_name_aside(void *ctx, const char *table)
{
	return talloc_asprintf(ctx, "pending-%s.policy", table);
}

static int write_bundle(const char *name, const char *main, const struct trace *trace)
{
	size_t length;
	char *text = name ? bundle_text(NULL, main, trace, time(NULL), &length) : NULL;
	int error = text ? store_write(name, text, length) : -ENOMEM;
	talloc_free(text);
	return error;
}

/* The name of the policy that was put in force last, so that plan knows what to compare with. */
static char *pointer_name(void *ctx, const char *table) { return talloc_asprintf(ctx, "in-force-%s", table); }

static int point_to(const char *table, const char *main)
{
	char *name = pointer_name(NULL, table);
	int error = name ? store_write(name, main, strlen(main)) : -ENOMEM;
	talloc_free(name);
	return error;
}

int bundle_disown(const char *table)
{
	char *name = pointer_name(NULL, table);
	int error = name ? store_remove(name) : -ENOMEM;
	talloc_free(name);
	return error;
}

const char *bundle_policy(const struct bundle *bundle)
{
	for (const struct traced *one = bundle->first; one; one = one->next)
		if (one->kind == TRACED_POLICY && !one->error)
			return one->path;
	return bundle->main;
}

int bundle_in_force(void *ctx, const char *table, const struct environment *inner, struct bundle **out)
{
	void *scratch = talloc_new(NULL);
	char *aside = scratch ? bundle_name_aside(scratch, table) : NULL, *name = aside ? pointer_name(scratch, table) : NULL, *bytes;
	size_t length;
	int error = name ? store_read(scratch, aside, &bytes, &length) : -ENOMEM;
	if (!error)
		error = bundle_parse(ctx, bytes, length, inner, out); /* in force until it is confirmed or undone */
	else if (error == -ENOENT && !(error = store_read(scratch, name, &bytes, &length)))
		error = bundle_recall(ctx, table, bytes, inner, out);
	talloc_free(scratch);
	return error;
}

int bundle_keep(const char *table, const char *main, const struct trace *trace)
{
	char *name = store_name(NULL, table, main);
	int error = write_bundle(name, main, trace);
	talloc_free(name);
	return error ? error : point_to(table, main);
}

int bundle_put_aside(const char *table, const char *main, const struct trace *trace)
{
	char *name = bundle_name_aside(NULL, table);
	int error = write_bundle(name, main, trace);
	talloc_free(name);
	return error;
}

int bundle_promote(const char *table, const char *aside)
{
	char *bytes, *name;
	size_t length;
	struct bundle *bundle;
	void *scratch = talloc_new(NULL);
	int error = scratch ? store_read(scratch, aside, &bytes, &length) : -ENOMEM;
	if (!error)
		error = bundle_parse(scratch, bytes, length, NULL, &bundle);
	if (!error)
		error = (name = store_name(scratch, table, bundle->main)) ? store_write(name, bytes, length) : -ENOMEM;
	if (!error)
		error = point_to(table, bundle->main);
	talloc_free(scratch);
	return error == -ENOENT ? 0 : error;
}

int bundle_recall(void *ctx, const char *table, const char *main, const struct environment *inner, struct bundle **out)
{
	char *bytes;
	size_t length;
	void *scratch = talloc_new(NULL);
	char *name = scratch ? store_name(scratch, table, main) : NULL;
	int error = name ? store_read(scratch, name, &bytes, &length) : -ENOMEM;
	if (!error)
		error = bundle_parse(ctx, bytes, length, inner, out);
	talloc_free(scratch);
	return error;
}
