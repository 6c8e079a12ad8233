/*
 * A world of one random policy and its lists, for tests of what the language makes of it.
 */
#ifndef TESTS_PROPERTY_RANDOM_WORLD_H
#define TESTS_PROPERTY_RANDOM_WORLD_H

#include "portpolicy/policy.h"
#include "tests/netns/lib/model.h"
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <talloc.h>
#include <unistd.h>

static char directory[] = "/tmp/portpolicy-random-XXXXXX";
static uint64_t seed;

#define CHECK(condition, ...) \
	do { \
		if (!(condition)) { \
			printf("seed %llu: ", (unsigned long long)seed); \
			printf(__VA_ARGS__); \
			clean(); \
			exit(1); \
		} \
	} while (0)

static void clean(void)
{
	DIR *lists = opendir(directory);
	for (struct dirent *one; lists && (one = readdir(lists));)
		unlinkat(dirfd(lists), one->d_name, 0);
	if (lists)
		closedir(lists);
	rmdir(directory);
}

/* The world: one policy, which is `data`, and the lists in the directory. */
static int read_file(void *data, void *ctx, const char *path, enum file_kind kind, char **bytes, size_t *length)
{
	char name[128];
	snprintf(name, sizeof name, "%s/%s", directory, path);
	FILE *file = kind == FILE_LIST ? fopen(name, "re") : NULL;
	if (kind == FILE_LIST && !file)
		return -errno;
	*bytes = file ? talloc_zero_size(ctx, 65536) : talloc_strdup(ctx, data);
	*length = file ? fread(*bytes, 1, 65536, file) : strlen(data);
	if (file)
		fclose(file);
	return 0;
}

static int no_paths(void *data, void *ctx, const char *pattern, char ***paths, size_t *count)
{
	(void)data, (void)ctx, (void)pattern, (void)paths;
	*count = 0;
	return 0;
}

static int same_path(void *data, void *ctx, const char *path, char **out)
{
	(void)data;
	*out = talloc_strdup(ctx, path);
	return 0;
}

static int no_account(void *data, const char *name, uint32_t *number)
{
	(void)data, (void)name, (void)number;
	return -ENOENT;
}

static struct environment environment_of(const char *text)
{
	return (struct environment){.data = (void *)(uintptr_t)text,
		.read_file = read_file,
		.glob = no_paths,
		.canonical = same_path,
		.find_user = no_account,
		.find_group = no_account,
		.host = "web1"};
}

static struct policy *load(void *ctx, const char *text)
{
	const struct environment environment = environment_of(text);
	struct diagnostics *diagnostics = diagnostics_new(ctx);
	struct policy *policy;
	int outcome = policy_load(ctx, "t.policy", &environment, diagnostics, &policy);
	for (const struct diagnostic *one = diagnostics->first; one && outcome; one = one->next)
		diagnostic_print(stdout, one, false);
	CHECK(!outcome, "cannot be loaded:\n%s", text);
	return policy;
}

static char *model_text(void *ctx, const struct model *model)
{
	char *memory;
	size_t length;
	FILE *stream = open_memstream(&memory, &length);
	model_print(stream, model);
	fclose(stream);
	char *text = talloc_strdup(ctx, memory);
	free(memory);
	return text;
}

/* Runs the test for each `seed`: --policies N of them, from --seed FIRST. Returns how many. */
static unsigned long random_policies(int count, char **arguments, unsigned long policies, void (*test)(void))
{
	unsigned long first = 1;
	for (int i = 1; i + 1 < count; i += 2) {
		if (!strcmp(arguments[i], "--policies"))
			policies = strtoul(arguments[i + 1], NULL, 10);
		if (!strcmp(arguments[i], "--seed"))
			first = strtoul(arguments[i + 1], NULL, 10);
	}
	if (!mkdtemp(directory)) {
		perror(directory);
		exit(1);
	}
	for (seed = first; seed < first + policies; seed++)
		test();
	clean();
	return policies;
}

#endif
