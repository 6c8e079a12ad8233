/*
 * The parts of lock-out protection that need no kernel: times, the record on disk, who the administrator is.
 */
#include "agent/cli/cli.h"
#include "agent/cli/session.h"
#include "agent/daemon/store.h"
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

static int set_up(void **state)
{
	char *place = talloc_strdup(NULL, "/tmp/portpolicy-confirm-XXXXXX");
	*state = place;
	return !mkdtemp(place) || setenv("STATE_DIRECTORY", place, 1) || chdir(place) ? -1 : 0;
}

static int tear_down(void **state)
{
	static const char *const names[] = {
		"pending-t", "pending-t.rules", "pending-t.new", "pending-t.rules.new", "lock", "thing", "thing.new"};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		remove(names[i]);
	int error = chdir("/") || rmdir(*state);
	talloc_free(*state);
	return error;
}

static void times(void **state)
{
	static const struct {
		const char *word;
		unsigned seconds;
	} good[] = {{"1s", 1}, {"60s", 60}, {"5m", 300}, {"1h", 3600}, {"24h", 86400}, {"86400s", 86400}};
	static const char *const bad[] = {
		"", "s", "0s", "60", "-1s", "1.5m", "1h30m", "25h", "86401s", "1d", " 1s", "1s ", "99999999999999999999s"};
	unsigned seconds;
	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		assert_int_equal(parse_time(good[i].word, &seconds), 0);
		assert_int_equal(seconds, good[i].seconds);
	}
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_int_equal(parse_time(bad[i], &seconds), -EINVAL);
}

static void times_for_readers(void **state)
{
	char text[32];
	(void)state;
	time_text(1, text);
	assert_string_equal(text, "1 second");
	time_text(300, text);
	assert_string_equal(text, "5 minutes");
	time_text(7200, text);
	assert_string_equal(text, "2 hours");
	time_text(0, text);
	assert_string_equal(text, "0 seconds");
}

static struct pending example(void)
{
	return (struct pending){
		.table = "t", .file = "h\xf6st.policy", .digest = "d", .deadline = boot_milliseconds() + 5000, .existed = true};
}

static void record_comes_back(void **state)
{
	struct pending pending = example(), *read;
	assert_int_equal(pending_read(*state, "t", &read), 1);
	assert_int_equal(pending_begin(&pending, (const uint8_t *)"rules", 5), 0);
	assert_int_equal(pending_read(*state, "t", &read), 0);
	assert_string_equal(read->id, pending.id);
	assert_int_equal(read->deadline, pending.deadline);
	assert_string_equal(read->file, "h\xef\xbf\xbdst.policy");
	assert_true(read->existed && !read->by_agent);
	assert_int_equal(pending_left(read), 5);
	assert_int_equal(pending_end("t", "another one"), 1);
	assert_int_equal(pending_end("t", pending.id), 0);
	assert_int_equal(pending_end("t", pending.id), 1);
	assert_int_equal(pending_read(*state, "t", &read), 1);
}

static void time_that_is_over(void **state)
{
	struct pending pending = example(), *read;
	pending.deadline = boot_milliseconds() - 1;
	assert_int_equal(pending_begin(&pending, (const uint8_t *)"rules", 5), 0);
	assert_int_equal(pending_read(*state, "t", &read), 0);
	assert_int_equal(pending_left(read), 0);
}

static void record_of_another_boot(void **state)
{
	struct pending pending = example(), *read;
	char *text, *boot;
	size_t length;
	assert_int_equal(pending_begin(&pending, (const uint8_t *)"rules", 5), 0);
	assert_int_equal(store_read(*state, "pending-t", &text, &length), 0);
	boot = strstr(text, "\"boot\": \"");
	assert_non_null(boot);
	boot[9] = boot[9] == '0' ? '1' : '0';
	assert_int_equal(store_write("pending-t", text, length), 0);
	assert_int_equal(pending_read(*state, "t", &read), 2);
}

static void record_that_is_torn(void **state)
{
	struct pending *read;
	assert_int_equal(store_write("pending-t", "{\"id\": \"12", 10), 0);
	assert_int_equal(pending_read(*state, "t", &read), -EBADMSG);
	assert_int_equal(store_write("pending-t", "{\"id\": 12}", 10), 0);
	assert_int_equal(pending_read(*state, "t", &read), -EBADMSG);
}

static void stored_files_are_whole_and_private(void **state)
{
	struct stat status;
	char *bytes;
	size_t length;
	assert_int_equal(store_read(*state, "thing", &bytes, &length), -ENOENT);
	assert_int_equal(store_write("thing", "first\0one", 9), 0);
	assert_int_equal(store_write("thing", "second", 6), 0);
	assert_int_equal(store_read(*state, "thing", &bytes, &length), 0);
	assert_int_equal(length, 6);
	assert_memory_equal(bytes, "second", 7);
	assert_int_equal(stat("thing", &status), 0);
	assert_int_equal(status.st_mode & 07777, 0600);
	assert_int_equal(chmod("thing", 0622), 0);
	assert_int_equal(store_read(*state, "thing", &bytes, &length), -EPERM);
	assert_int_equal(store_remove("thing"), 0);
	assert_int_equal(store_remove("thing"), 0);
}

static void one_holds_the_lock(void **state)
{
	int lock = store_lock();
	(void)state;
	assert_true(lock >= 0);
	close(lock);
	lock = store_lock();
	assert_true(lock >= 0);
	close(lock);
}

static void sessions_of_ssh(void **state)
{
	struct flow flow;
	(void)state;
	assert_int_equal(session_from_ssh("203.0.113.9 50000 198.51.100.7 22", &flow), 0);
	assert_int_equal(flow.service, 22);
	assert_int_equal(flow.source_port, 0); /* the next session comes from another port */
	assert_true(flow.family == FAMILY_IPV4 && flow.source == 0xcb007109 && flow.destination == 0xc6336407);
	assert_int_equal(session_from_ssh("fe80::1%eth0 50000 fe80::2%eth0 2222", &flow), 0);
	assert_true(flow.family == FAMILY_IPV6 && flow.destination == (((u128)0xfe80 << 112) | 2));
	assert_int_equal(session_from_ssh("::ffff:203.0.113.9 50000 ::ffff:198.51.100.7 22", &flow), 0);
	assert_true(flow.family == FAMILY_IPV4 && flow.source == 0xcb007109);
	static const char *const bad[] = {"", "UNKNOWN 0 UNKNOWN 0", "203.0.113.9 50000 198.51.100.7",
		"203.0.113.9 1 198.51.100.7 0", "203.0.113.9 1 198.51.100.7 70000", "203.0.113.9 1 fd00::1 22"};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_int_equal(session_from_ssh(bad[i], &flow), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(times),
		cmocka_unit_test(times_for_readers),
		cmocka_unit_test(sessions_of_ssh),
		cmocka_unit_test_setup_teardown(record_comes_back, set_up, tear_down),
		cmocka_unit_test_setup_teardown(time_that_is_over, set_up, tear_down),
		cmocka_unit_test_setup_teardown(record_of_another_boot, set_up, tear_down),
		cmocka_unit_test_setup_teardown(record_that_is_torn, set_up, tear_down),
		cmocka_unit_test_setup_teardown(stored_files_are_whole_and_private, set_up, tear_down),
		cmocka_unit_test_setup_teardown(one_holds_the_lock, set_up, tear_down),
	};
	return cmocka_run_group_tests_name("confirm", tests, NULL, NULL);
}
