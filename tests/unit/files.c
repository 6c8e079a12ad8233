/*
 * Watched files (agent/daemon/files.c): every way in which editors, git and configuration management change a file is seen, and
 * only those.
 */
#include "agent/daemon/files.h"
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <talloc.h>
#include <unistd.h>
/* after the above */
#include <cmocka.h>

#define PATIENCE_MS 3000

struct fixture {
	char place[64];
	struct loop *loop;
	struct loop_timer *patience;
	struct files *files;
	struct environment world;
	struct trace *trace;
	unsigned changes;
};

static int really_read(void *data, void *ctx, const char *path, enum file_kind kind, char **bytes, size_t *length)
{
	FILE *file = fopen(path, "re");
	(void)data;
	(void)kind;
	if (!file)
		return -errno;
	*bytes = talloc_zero_size(ctx, 4096);
	*length = fread(*bytes, 1, 4095, file);
	fclose(file);
	return 0;
}

static int really_glob(void *data, void *ctx, const char *pattern, char ***paths, size_t *count)
{
	(void)data;
	(void)pattern;
	*paths = talloc_array(ctx, char *, 1);
	*count = 0;
	return 0;
}

static int really_canonical(void *data, void *ctx, const char *path, char **out)
{
	char real[PATH_MAX];
	(void)data;
	if (!realpath(path, real))
		return -errno;
	*out = talloc_strdup(ctx, real);
	return 0;
}

static int told(void *data)
{
	struct fixture *fixture = data;
	fixture->changes++;
	return -ECANCELED; /* ends loop_run */
}

static int give_up(void *data)
{
	(void)data;
	return -ECANCELED;
}

static int set_up(void **state)
{
	struct fixture *fixture = talloc_zero(NULL, struct fixture);
	*state = fixture;
	strcpy(fixture->place, "/tmp/portpolicy-files-XXXXXX");
	fixture->world = (struct environment){.read_file = really_read, .glob = really_glob, .canonical = really_canonical};
	if (!mkdtemp(fixture->place) || chdir(fixture->place) || loop_new(fixture, &fixture->loop) ||
		loop_timer(fixture->loop, fixture, give_up, fixture, &fixture->patience))
		return -1;
	return files_new(fixture, fixture->loop, told, fixture, &fixture->files);
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;
	char *remove = talloc_asprintf(fixture, "rm -rf %s", fixture->place);
	int error = chdir("/") || system(remove);
	talloc_free(fixture->files);
	talloc_free(fixture);
	return error;
}

static void put(const char *path, const char *text)
{
	FILE *file = fopen(path, "we");
	assert_non_null(file);
	fputs(text, file);
	assert_int_equal(fclose(file), 0);
}

static void shell(const char *line)
{
	assert_int_equal(system(line), 0);
}

/* Reads these, as a load does, and watches. */
static void follow(struct fixture *fixture, const char *const *paths)
{
	char *bytes;
	char **found;
	size_t length;
	talloc_free(fixture->trace);
	assert_int_equal(trace_new(fixture, &fixture->world, &fixture->trace), 0);
	const struct environment *environment = &fixture->trace->environment;
	for (; *paths; paths++)
		if (strchr(*paths, '*'))
			environment->glob(environment->data, fixture, *paths, &found, &length);
		else
			environment->read_file(environment->data, fixture, *paths, FILE_POLICY, &bytes, &length);
	assert_int_equal(files_follow(fixture->files, fixture->trace), 0);
}
#define FOLLOW(fixture, ...) follow(fixture, (const char *const[]){__VA_ARGS__, NULL})

/* How many times a change is told until nothing has come for a while. */
static unsigned changes(struct fixture *fixture, uint64_t wait)
{
	fixture->changes = 0;
	loop_timer_set(fixture->patience, loop_now() + wait);
	assert_int_equal(loop_run(fixture->loop), -ECANCELED);
	return fixture->changes;
}
#define ASSERT_SEEN(fixture) assert_int_equal(changes(fixture, PATIENCE_MS), 1)
#define ASSERT_QUIET(fixture) assert_int_equal(changes(fixture, SETTLE_QUIET_MS + 100), 0)

static void written_in_place(void **state)
{
	struct fixture *fixture = *state;
	put("host.policy", "one");
	FOLLOW(fixture, "host.policy");
	ASSERT_QUIET(fixture);
	put("host.policy", "two");
	ASSERT_SEEN(fixture);
}

static void replaced_by_rename(void **state)
{
	struct fixture *fixture = *state;
	put("host.policy", "one");
	FOLLOW(fixture, "host.policy");
	put(".host.policy.swp", "two");
	assert_int_equal(rename(".host.policy.swp", "host.policy"), 0);
	ASSERT_SEEN(fixture);
	FOLLOW(fixture, "host.policy");
	/* vim with backupcopy=no: the old file is moved away and a new one is written */
	assert_int_equal(rename("host.policy", "host.policy~"), 0);
	put("host.policy", "three");
	ASSERT_SEEN(fixture);
}

static void other_files_of_the_directory(void **state)
{
	struct fixture *fixture = *state;
	put("host.policy", "one");
	FOLLOW(fixture, "host.policy");
	put("other", "one");
	put("host.policy.new", "one");
	assert_int_equal(unlink("other"), 0);
	ASSERT_QUIET(fixture);
}

static void file_that_is_not_there_yet(void **state)
{
	struct fixture *fixture = *state;
	FOLLOW(fixture, "not/yet/host.policy");
	ASSERT_QUIET(fixture);
	assert_int_equal(mkdir("not", 0755), 0);
	ASSERT_SEEN(fixture);
	FOLLOW(fixture, "not/yet/host.policy");
	assert_int_equal(mkdir("not/yet", 0755), 0);
	put("not/yet/host.policy", "one");
	ASSERT_SEEN(fixture);
}

static void made_before_its_directory_was_watched(void **state)
{
	struct fixture *fixture = *state;
	FOLLOW(fixture, "not/yet/host.policy");
	shell("mkdir -p not/yet && echo one >not/yet/host.policy");
	ASSERT_SEEN(fixture);
	FOLLOW(fixture, "not/yet/host.policy");
	put("not/yet/host.policy", "two");
	ASSERT_SEEN(fixture);
}

static void deleted(void **state)
{
	struct fixture *fixture = *state;
	shell("mkdir d && echo one >d/host.policy");
	FOLLOW(fixture, "d/host.policy");
	shell("rm -rf d");
	ASSERT_SEEN(fixture);
	FOLLOW(fixture, "d/host.policy");
	shell("mkdir d && echo two >d/host.policy");
	ASSERT_SEEN(fixture);
}

static void link_swapped(void **state)
{
	struct fixture *fixture = *state;
	put("one", "one");
	put("two", "two");
	assert_int_equal(symlink("one", "host.policy"), 0);
	FOLLOW(fixture, "host.policy");
	assert_int_equal(symlink("two", "new"), 0);
	ASSERT_QUIET(fixture);
	assert_int_equal(rename("new", "host.policy"), 0);
	ASSERT_SEEN(fixture);
	FOLLOW(fixture, "host.policy");
	put("two", "three"); /* and what it points to */
	ASSERT_SEEN(fixture);
	put("one", "no more");
	FOLLOW(fixture, "host.policy");
	ASSERT_QUIET(fixture);
}

/* As Kubernetes mounts a ConfigMap: host.policy -> ..data/host.policy, ..data -> ..2026_01, and ..data is swapped. */
static void link_to_a_directory_swapped(void **state)
{
	struct fixture *fixture = *state;
	shell("mkdir -p etc/..2026_01 etc/..2026_02 && echo 1 >etc/..2026_01/host.policy && echo 2 >etc/..2026_02/host.policy &&"
	      "ln -s ..2026_01 etc/..data && ln -s ..data/host.policy etc/host.policy");
	FOLLOW(fixture, "etc/host.policy");
	ASSERT_QUIET(fixture);
	shell("ln -s ..2026_02 etc/..data_tmp && mv -T etc/..data_tmp etc/..data");
	ASSERT_SEEN(fixture);
	FOLLOW(fixture, "etc/host.policy");
	shell("echo 3 >etc/..2026_02/host.policy");
	ASSERT_SEEN(fixture);
}

static void link_in_the_middle_to_another_tree(void **state)
{
	struct fixture *fixture = *state;
	shell("mkdir -p releases/1/policy releases/2/policy srv && echo 1 >releases/1/policy/host && echo 2 "
	      ">releases/2/policy/host &&"
	      "ln -s ../releases/1 srv/current");
	FOLLOW(fixture, "srv/current/policy/host");
	shell("ln -sfn ../releases/2 srv/current");
	ASSERT_SEEN(fixture);
}

static void directory_moved_away(void **state)
{
	struct fixture *fixture = *state;
	shell("mkdir -p a/b && echo 1 >a/b/host.policy");
	FOLLOW(fixture, "a/b/host.policy");
	shell("mv a c");
	ASSERT_SEEN(fixture);
}

static void globs(void **state)
{
	struct fixture *fixture = *state;
	shell("mkdir -p conf.d/x conf.d/y");
	FOLLOW(fixture, "conf.d/*.policy");
	put("conf.d/readme", "one");
	ASSERT_QUIET(fixture);
	put("conf.d/a.policy", "one");
	ASSERT_SEEN(fixture);
	FOLLOW(fixture, "conf.d/*/*.policy");
	put("conf.d/y/b.policy", "one");
	ASSERT_SEEN(fixture);
	FOLLOW(fixture, "conf.d/*/*.policy");
	shell("mkdir conf.d/z");
	ASSERT_SEEN(fixture);
	FOLLOW(fixture, "conf.d/*/*.policy");
	put("conf.d/z/c.policy", "one");
	ASSERT_SEEN(fixture);
}

static void rights(void **state)
{
	struct fixture *fixture = *state;
	put("host.policy", "one");
	FOLLOW(fixture, "host.policy");
	assert_int_equal(chmod("host.policy", 0666), 0);
	ASSERT_SEEN(fixture);
}

/* Read before the watch stood: the mark tells. */
static void changed_while_it_was_read(void **state)
{
	struct fixture *fixture = *state;
	char *bytes;
	size_t length;
	put("host.policy", "one");
	assert_int_equal(trace_new(fixture, &fixture->world, &fixture->trace), 0);
	const struct environment *environment = &fixture->trace->environment;
	assert_int_equal(environment->read_file(environment->data, fixture, "host.policy", FILE_POLICY, &bytes, &length), 0);
	put("host.policy", "one more");
	assert_int_equal(files_follow(fixture->files, fixture->trace), 0);
	ASSERT_SEEN(fixture);
}

static void slow_writer_is_waited_for(void **state)
{
	struct fixture *fixture = *state;
	put("host.policy", "one");
	FOLLOW(fixture, "host.policy");
	int file = open("host.policy", O_WRONLY | O_TRUNC | O_CLOEXEC);
	assert_int_equal(write(file, "half", 4), 4);
	ASSERT_QUIET(fixture);
	assert_int_equal(write(file, "whole", 5), 5);
	close(file);
	ASSERT_SEEN(fixture);
}

static void settling(void **state)
{
	struct settle settle = {0};
	(void)state;
	assert_true(settle_due(&settle) == LOOP_NEVER);
	settle_note(&settle, 1000);
	assert_int_equal(settle_due(&settle), 1000 + SETTLE_QUIET_MS);
	settle_note(&settle, 1100);
	assert_int_equal(settle_due(&settle), 1100 + SETTLE_QUIET_MS);
	/* written for ever: it is read all the same */
	for (uint64_t now = 1100; now < 1000 + SETTLE_LAST_MS; now += 100)
		settle_note(&settle, now);
	assert_int_equal(settle_due(&settle), 1000 + SETTLE_LAST_MS);
	settle = (struct settle){.first = 1000, .last = 1000, .writing = 1};
	assert_int_equal(settle_due(&settle), 1000 + SETTLE_LAST_MS);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(settling),
		TEST(written_in_place),
		TEST(replaced_by_rename),
		TEST(other_files_of_the_directory),
		TEST(file_that_is_not_there_yet),
		TEST(made_before_its_directory_was_watched),
		TEST(deleted),
		TEST(link_swapped),
		TEST(link_to_a_directory_swapped),
		TEST(link_in_the_middle_to_another_tree),
		TEST(directory_moved_away),
		TEST(globs),
		TEST(rights),
		TEST(changed_while_it_was_read),
		TEST(slow_writer_is_waited_for),
	};
	return cmocka_run_group_tests_name("files", tests, NULL, NULL);
}
