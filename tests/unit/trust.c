/*
 * Who may change a file (agent/cli/trust.c): a policy that another user could replace is refused, wherever on the way to it the
 * other user may write.
 */
#include "agent/cli/cli.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <talloc.h>
#include <unistd.h>
/* after the above */
#include <cmocka.h>

static int set_up(void **state)
{
	char *place = talloc_strdup(NULL, "/tmp/portpolicy-trust-XXXXXX");
	*state = place;
	if (!mkdtemp(place) || chdir(place) || mkdir("etc", 0755))
		return -1;
	FILE *file = fopen("etc/host.policy", "w");
	return file ? fclose(file) : -1;
}

static int tear_down(void **state)
{
	static const char *const names[] = {"etc/host.policy", "etc/link", "link", "there/link", "there", "etc"};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		remove(names[i]);
	int error = chdir("/") || rmdir(*state);
	talloc_free(*state);
	return error;
}

static void own_file_is_trusted(void **state)
{
	assert_int_equal(path_trusted(*state, "etc/host.policy"), 0);
	assert_int_equal(path_trusted(*state, talloc_asprintf(*state, "%s/etc/../etc//host.policy", (char *)*state)), 0);
}

static void file_that_others_write_is_not(void **state)
{
	assert_int_equal(chmod("etc/host.policy", 0664), 0);
	assert_int_equal(path_trusted(*state, "etc/host.policy"), -EPERM);
	assert_int_equal(chmod("etc/host.policy", 0646), 0);
	assert_int_equal(path_trusted(*state, "etc/host.policy"), -EPERM);
}

static void directory_that_others_write_is_not(void **state)
{
	assert_int_equal(chmod("etc", 0757), 0);
	assert_int_equal(path_trusted(*state, "etc/host.policy"), -EPERM);
	assert_int_equal(chmod("etc", 01757), 0);
	assert_int_equal(path_trusted(*state, "etc/host.policy"), 0);
}

static void link_leads_through_untrusted_directory(void **state)
{
	assert_int_equal(mkdir("there", 0755), 0);
	assert_int_equal(symlink("../etc/host.policy", "there/link"), 0);
	assert_int_equal(symlink("there/link", "link"), 0);
	assert_int_equal(path_trusted(*state, "link"), 0);
	assert_int_equal(chmod("there", 0777), 0);
	assert_int_equal(path_trusted(*state, "link"), -EPERM);
}

static void links_in_a_circle_end(void **state)
{
	assert_int_equal(symlink("link", "link"), 0);
	assert_int_equal(path_trusted(*state, "link"), -ELOOP);
}

static void somebody_elses_file_is_not(void **state)
{
	if (geteuid() || chown("etc/host.policy", 1, 0))
		skip();
	assert_int_equal(path_trusted(*state, "etc/host.policy"), -EPERM);
}

static void missing_file_is_missing(void **state) { assert_int_equal(path_trusted(*state, "etc/nowhere"), -ENOENT); }

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(own_file_is_trusted, set_up, tear_down),
		cmocka_unit_test_setup_teardown(file_that_others_write_is_not, set_up, tear_down),
		cmocka_unit_test_setup_teardown(directory_that_others_write_is_not, set_up, tear_down),
		cmocka_unit_test_setup_teardown(link_leads_through_untrusted_directory, set_up, tear_down),
		cmocka_unit_test_setup_teardown(links_in_a_circle_end, set_up, tear_down),
		cmocka_unit_test_setup_teardown(somebody_elses_file_is_not, set_up, tear_down),
		cmocka_unit_test_setup_teardown(missing_file_is_missing, set_up, tear_down),
	};
	return cmocka_run_group_tests_name("trust", tests, NULL, NULL);
}
