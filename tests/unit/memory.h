/*
 * A world of files, users and groups that is held in memory, for tests of the resolver.
 */
#ifndef TESTS_UNIT_MEMORY_H
#define TESTS_UNIT_MEMORY_H

#include "portpolicy/policy.h"
#include <errno.h>
#include <fnmatch.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <talloc.h>
/* after the above */
#include <cmocka.h>

struct memory_file {
	const char *path, *text; /* text NULL: may not be read */
};

static const struct memory_file library[] = {
	{"lib/services.policy", "service ssh = tcp/22\nservice dns = { tcp/53, udp/53 }\naddresses lan = 10.0.0.0/8\n"},
	{"lib/base.policy", "addresses lan = 10.0.0.0/8\nallow in udp/68\nallow out udp/67 to $lan\n"},
	{"lib/strict.policy", "deny out tcp/25\n"},
};

struct world {
	void *ctx;
	const struct memory_file *files;
	size_t count;
	struct environment environment;
	struct diagnostics *diagnostics;
	struct policy *policy;
	int outcome;
};

static const struct memory_file *find_file(const struct world *world, const char *path)
{
	while (!strncmp(path, "./", 2))
		path += 2;
	for (size_t i = 0; i < world->count; i++)
		if (!strcmp(world->files[i].path, path))
			return &world->files[i];
	for (size_t i = 0; i < sizeof library / sizeof *library; i++)
		if (!strcmp(library[i].path, path))
			return &library[i];
	return NULL;
}

static int read_file(void *data, void *ctx, const char *path, enum file_kind kind, char **bytes, size_t *length)
{
	const struct memory_file *file = find_file(data, path);
	(void)kind;
	if (!file)
		return -ENOENT;
	if (!file->text)
		return -EACCES;
	*bytes = talloc_strdup(ctx, file->text);
	*length = strlen(file->text);
	return 0;
}

static int by_bytes(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

static int find_paths(void *data, void *ctx, const char *pattern, char ***paths, size_t *count)
{
	const struct world *world = data;
	*paths = talloc_array(ctx, char *, world->count + 8);
	*count = 0;
	for (size_t i = 0; i < world->count; i++)
		if (!fnmatch(pattern, world->files[i].path, FNM_PATHNAME))
			(*paths)[(*count)++] = talloc_strdup(ctx, world->files[i].path);
	for (size_t i = 0; i < sizeof library / sizeof *library; i++)
		if (!fnmatch(pattern, library[i].path, FNM_PATHNAME))
			(*paths)[(*count)++] = talloc_strdup(ctx, library[i].path);
	qsort(*paths, *count, sizeof **paths, by_bytes);
	return 0;
}

static int canonical(void *data, void *ctx, const char *path, char **out)
{
	const struct memory_file *file = find_file(data, path);
	if (!file)
		return -ENOENT;
	*out = talloc_strdup(ctx, file->path);
	return 0;
}

static int find_account(void *data, const char *name, uint32_t *number)
{
	(void)data;
	*number = !strcmp(name, "root") ? 0 : 33;
	return !strcmp(name, "root") || !strcmp(name, "www-data") ? 0 : -ENOENT;
}

static struct world world_of(const struct memory_file *files, size_t count, const char *host)
{
	static const char *const directories[] = {"lib"};
	struct world world = {.ctx = talloc_new(NULL), .files = files, .count = count};
	world.environment = (struct environment){.read_file = read_file, .glob = find_paths, .canonical = canonical, .find_user = find_account,
		.find_group = find_account, .library = directories, .library_count = 1, .host = host};
	world.diagnostics = diagnostics_new(world.ctx);
	return world;
}

static void load(struct world *world)
{
	world->environment.data = world;
	world->outcome = policy_load(world->ctx, "host.policy", &world->environment, world->diagnostics, &world->policy);
	assert_int_equal(world->outcome, world->diagnostics->errors ? 1 : 0);
}

#define LOAD(name, host, ...)                                                                        \
	const struct memory_file name##_files[] = {__VA_ARGS__};                                     \
	struct world name = world_of(name##_files, sizeof name##_files / sizeof *name##_files, host); \
	load(&name)
#define LOAD_TEXT(name, content) LOAD(name, "web1.example", {"host.policy", content})

static void show(const struct world *world)
{
	for (const struct diagnostic *one = world->diagnostics->first; one; one = one->next)
		diagnostic_print(stderr, one, false);
}

#endif
