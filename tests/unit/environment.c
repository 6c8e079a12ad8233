/*
 * The real world behind struct environment (agent/cli/environment.c): whatever a policy names as a file, the answer comes at
 * once and is an error or the bytes.
 */
#include "agent/cli/cli.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <talloc.h>
#include <unistd.h>
/* after the above */
#include <cmocka.h>

struct fixture {
	char place[40];
	struct world *world;
	const struct environment *environment;
};

static void write_file(const char *name, const char *bytes, size_t length)
{
	FILE *file = fopen(name, "w");
	assert_non_null(file);
	assert_int_equal(fwrite(bytes, 1, length, file), length);
	assert_int_equal(fclose(file), 0);
}

static int set_up(void **state)
{
	struct fixture *fixture = talloc_zero(NULL, struct fixture);
	const struct invocation call = {.host = "web1.example"};
	strcpy(fixture->place, "/tmp/portpolicy-world-XXXXXX");
	*state = fixture;
	if (!mkdtemp(fixture->place) || chdir(fixture->place) || world_new(fixture, &call, "host.policy", false, &fixture->world))
		return -1;
	fixture->environment = world_environment(fixture->world);
	return 0;
}

static int tear_down(void **state)
{
	static const char *const names[] = {"host.policy", "b.policy", "a.policy", "pipe", "link"};
	struct fixture *fixture = *state;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		remove(names[i]);
	int error = chdir("/") || rmdir(fixture->place);
	talloc_free(fixture);
	return error;
}

static int read_it(struct fixture *fixture, const char *path, enum file_kind kind, char **bytes, size_t *length)
{
	return fixture->environment->read_file(fixture->environment->data, fixture, path, kind, bytes, length);
}

static void bytes_come_as_they_are(void **state)
{
	char *bytes;
	size_t length;
	write_file("host.policy", "a\0b\r\n", 5);
	assert_int_equal(read_it(*state, "host.policy", FILE_POLICY, &bytes, &length), 0);
	assert_int_equal(length, 5);
	assert_memory_equal(bytes, "a\0b\r\n", 5);
}

static void what_is_no_file_is_refused_at_once(void **state)
{
	char *bytes;
	size_t length;
	assert_int_equal(mkfifo("pipe", 0600), 0);
	assert_int_equal(read_it(*state, "pipe", FILE_POLICY, &bytes, &length), -EINVAL);
	assert_int_equal(read_it(*state, "/dev/zero", FILE_LIST, &bytes, &length), -EINVAL);
	assert_int_equal(read_it(*state, ".", FILE_POLICY, &bytes, &length), -EISDIR);
	assert_int_equal(read_it(*state, "nowhere", FILE_POLICY, &bytes, &length), -ENOENT);
}

static void size_is_bounded_by_kind(void **state)
{
	char *bytes;
	size_t length;
	write_file("a.policy", "", 0);
	assert_int_equal(truncate("a.policy", (16 << 20) + 1), 0);
	assert_int_equal(read_it(*state, "a.policy", FILE_POLICY, &bytes, &length), -EFBIG);
	assert_int_equal(read_it(*state, "a.policy", FILE_LIST, &bytes, &length), 0);
	assert_int_equal(truncate("a.policy", 16 << 20), 0);
	assert_int_equal(read_it(*state, "a.policy", FILE_POLICY, &bytes, &length), 0);
	assert_int_equal(truncate("a.policy", ((off_t)255 << 20) + 1), 0);
	assert_int_equal(read_it(*state, "a.policy", FILE_LIST, &bytes, &length), -EFBIG);
}

static void error_of_the_named_policy_is_kept(void **state)
{
	struct fixture *fixture = *state;
	char *bytes;
	size_t length;
	assert_int_equal(read_it(fixture, "b.policy", FILE_POLICY, &bytes, &length), -ENOENT);
	assert_int_equal(world_error(fixture->world), 0);
	assert_int_equal(read_it(fixture, "host.policy", FILE_POLICY, &bytes, &length), -ENOENT);
	assert_int_equal(world_error(fixture->world), -ENOENT);
}

static void glob_is_sorted_by_bytes(void **state)
{
	struct fixture *fixture = *state;
	char **paths;
	size_t count;
	write_file("b.policy", "", 0);
	write_file("a.policy", "", 0);
	assert_int_equal(fixture->environment->glob(fixture->environment->data, fixture, "*.policy", &paths, &count), 0);
	assert_int_equal(count, 2);
	assert_string_equal(paths[0], "a.policy");
	assert_string_equal(paths[1], "b.policy");
	assert_int_equal(fixture->environment->glob(fixture->environment->data, fixture, "*.nothing", &paths, &count), 0);
	assert_int_equal(count, 0);
}

static void one_file_has_one_name(void **state)
{
	struct fixture *fixture = *state;
	char *direct, *linked;
	write_file("a.policy", "", 0);
	assert_int_equal(symlink("a.policy", "link"), 0);
	assert_int_equal(fixture->environment->canonical(fixture->environment->data, fixture, "./a.policy", &direct), 0);
	assert_int_equal(fixture->environment->canonical(fixture->environment->data, fixture, "link", &linked), 0);
	assert_string_equal(direct, linked);
}

static void users_and_groups_are_known_or_not(void **state)
{
	struct fixture *fixture = *state;
	uint32_t id = 7;
	assert_int_equal(fixture->environment->find_user(fixture->environment->data, "root", &id), 0);
	assert_int_equal(id, 0);
	assert_int_equal(fixture->environment->find_user(fixture->environment->data, "no-such-user", &id), -ENOENT);
	assert_int_equal(fixture->environment->find_group(fixture->environment->data, "root", &id), 0);
	assert_int_equal(fixture->environment->find_group(fixture->environment->data, "no-such-group", &id), -ENOENT);
}

static void untrusted_files_are_refused_only_with_care(void **state)
{
	struct fixture *fixture = *state;
	const struct invocation call = {.host = "h"};
	struct world *careful;
	char *bytes;
	size_t length;
	write_file("host.policy", "x", 1);
	assert_int_equal(chmod("host.policy", 0666), 0);
	assert_int_equal(world_new(fixture, &call, "host.policy", true, &careful), 0);
	assert_int_equal(read_it(fixture, "host.policy", FILE_POLICY, &bytes, &length), 0);
	const struct environment *environment = world_environment(careful);
	assert_int_equal(environment->read_file(environment->data, fixture, "host.policy", FILE_POLICY, &bytes, &length), -EPERM);
	assert_int_equal(chmod("host.policy", 0644), 0);
	assert_int_equal(environment->read_file(environment->data, fixture, "host.policy", FILE_POLICY, &bytes, &length), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(bytes_come_as_they_are, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_no_file_is_refused_at_once, set_up, tear_down),
		cmocka_unit_test_setup_teardown(size_is_bounded_by_kind, set_up, tear_down),
		cmocka_unit_test_setup_teardown(error_of_the_named_policy_is_kept, set_up, tear_down),
		cmocka_unit_test_setup_teardown(glob_is_sorted_by_bytes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(one_file_has_one_name, set_up, tear_down),
		cmocka_unit_test_setup_teardown(users_and_groups_are_known_or_not, set_up, tear_down),
		cmocka_unit_test_setup_teardown(untrusted_files_are_refused_only_with_care, set_up, tear_down),
	};
	return cmocka_run_group_tests_name("environment", tests, NULL, NULL);
}
