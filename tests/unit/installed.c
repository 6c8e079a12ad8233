/*
 * The file of what is installed: it comes back as it was kept, and not at all where anything about it is in doubt.
 */
#include "agent/daemon/installed.h"
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
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

static const struct interval hosts[] = {{1, 1}, {0x0a000000, 0x0affffff}, {0xffffffff, 0xffffffff}},
			     nets[] = {{(u128)1 << 80, ((u128)2 << 80) - 1}, {U128_MAX, U128_MAX}}, some[] = {{5, 9}};
static const struct network_list v4 = {.of = {hosts, 3}, .bits = 32, .as = {[8] = 8, [32] = 32}},
				 v6 = {.of = {nets, 2}, .outside = true, .bits = 128, .as = {[48] = 48, [127] = 128}};
static const struct set sets[] = {
	{.name = "v4-8", .keys = {KEY_IP_DADDR}, .key_count = 1, .networks = {&v4, 8, 1}},
	{.name = "by-hash", .keys = {KEY_IP_SADDR}, .key_count = 1, .values = {some, 1}},
	{.name = "v4-32", .keys = {KEY_IP_DADDR}, .key_count = 1, .networks = {&v4, 32, 2}},
	{.name = "v6-48", .keys = {KEY_IP6_SADDR}, .key_count = 1, .networks = {&v6, 48, 77}},
};
static const struct table_knowledge known = {.generation = 4711, .stamp = {1, 2, 3}, .sets = sets, .set_count = 4};

struct fixture {
	char directory[64], path[128];
};

static int set_up(void **state)
{
	struct fixture *fixture = talloc_zero(NULL, struct fixture);
	glob_t found;
	strcpy(fixture->directory, "/tmp/portpolicy-installed-XXXXXX");
	*state = fixture;
	if (!mkdtemp(fixture->directory) || installed_keep(fixture->directory, "portpolicy", &known))
		return -1;
	char *pattern = talloc_asprintf(fixture, "%s/installed-*", fixture->directory);
	if (glob(pattern, 0, NULL, &found) || found.gl_pathc != 1)
		return -1;
	strcpy(fixture->path, found.gl_pathv[0]);
	globfree(&found);
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;
	unlink(fixture->path);
	int error = rmdir(fixture->directory);
	talloc_free(fixture);
	return error;
}

static int recall(struct fixture *fixture, const char *table, struct table_knowledge *out)
{
	*out = (struct table_knowledge){.generation = known.generation};
	memcpy(out->stamp, known.stamp, TABLE_STAMP);
	return installed_recall(fixture, fixture->directory, table, out);
}

static void assert_same_members(void *ctx, const struct set *a, const struct set *b)
{
	struct intervals x, y;
	assert_int_equal(members_written(ctx, a, &x), 0);
	assert_int_equal(members_written(ctx, b, &y), 0);
	assert_true(intervals_equal(x, y));
	assert_true(members_count(a) == members_count(b));
	assert_int_equal(a->keys[0], b->keys[0]);
	assert_int_equal(a->networks.length, b->networks.length);
}

static void it_comes_back_as_it_was(void **state)
{
	struct fixture *fixture = *state;
	static const size_t kept[] = {0, 2, 3};
	struct table_knowledge out;
	assert_int_equal(recall(fixture, "portpolicy", &out), 0);
	assert_int_equal(out.set_count, 3);
	for (size_t i = 0; i < 3; i++) {
		assert_string_equal(out.sets[i].name, sets[kept[i]].name);
		assert_same_members(fixture, &out.sets[i], &sets[kept[i]]);
	}
	assert_ptr_equal(out.sets[0].networks.list, out.sets[1].networks.list);
}

static void what_was_recalled_can_be_kept(void **state)
{
	struct fixture *fixture = *state;
	struct table_knowledge out, again;
	assert_int_equal(recall(fixture, "portpolicy", &out), 0);
	assert_int_equal(installed_keep(fixture->directory, "portpolicy", &out), 0);
	assert_int_equal(recall(fixture, "portpolicy", &again), 0);
	for (size_t i = 0; i < 3; i++)
		assert_same_members(fixture, &out.sets[i], &again.sets[i]);
}

static void another_table_is_not_known(void **state)
{
	struct table_knowledge out;
	assert_int_equal(recall(*state, "portpolic", &out), -ENOENT);
}

static void another_generation_or_stamp(void **state)
{
	struct fixture *fixture = *state;
	struct table_knowledge out = known;
	out.generation++;
	assert_int_equal(installed_recall(fixture, fixture->directory, "portpolicy", &out), -ENOENT);
	out = known;
	out.stamp[TABLE_STAMP - 1] = 1;
	assert_int_equal(installed_recall(fixture, fixture->directory, "portpolicy", &out), -ENOENT);
}

static void without_lists_nothing_is_kept(void **state)
{
	struct fixture *fixture = *state;
	struct table_knowledge none = known, out;
	none.sets = &sets[1];
	none.set_count = 1;
	assert_int_equal(installed_keep(fixture->directory, "portpolicy", &none), 0);
	assert_int_equal(recall(fixture, "portpolicy", &out), -ENOENT);
	assert_int_equal(access(fixture->path, F_OK), -1);
}

static void turn_byte(const char *path, off_t at)
{
	uint8_t byte;
	int descriptor = open(path, O_RDWR);
	assert_int_equal(pread(descriptor, &byte, 1, at), 1);
	byte ^= 0x80;
	assert_int_equal(pwrite(descriptor, &byte, 1, at), 1);
	close(descriptor);
}

/* Magic, boot and network namespace: a byte of any of them is enough. */
static void another_boot_or_namespace(void **state)
{
	struct fixture *fixture = *state;
	struct table_knowledge out;
	for (off_t at = 0; at < 24 + 40 + 16; at++) {
		turn_byte(fixture->path, at);
		assert_int_equal(recall(fixture, "portpolicy", &out), -ENOENT);
		turn_byte(fixture->path, at);
	}
	assert_int_equal(recall(fixture, "portpolicy", &out), 0);
}

static void walk(const struct set *set)
{
	struct members_walk at = members_walk(set);
	struct interval one;
	for (unsigned i = 0; i < 1000 && members_next(&at, &one); i++)
		assert_true(one.first <= one.last);
}

/* Whatever the bytes say, nothing outside of the file is read: what comes back can be walked. */
static void any_damage_is_survived(void **state)
{
	struct fixture *fixture = *state;
	struct table_knowledge out;
	struct stat status;
	assert_int_equal(stat(fixture->path, &status), 0);
	for (off_t at = 80; at < status.st_size; at++) {
		turn_byte(fixture->path, at);
		if (!recall(fixture, "portpolicy", &out))
			for (size_t i = 0; i < out.set_count; i++)
				walk(&out.sets[i]);
		turn_byte(fixture->path, at);
	}
	for (off_t size = 0; size < status.st_size; size += 7) {
		assert_int_equal(truncate(fixture->path, size), 0);
		assert_int_equal(recall(fixture, "portpolicy", &out), -ENOENT);
		assert_int_equal(installed_keep(fixture->directory, "portpolicy", &known), 0);
	}
}

static void a_file_that_others_may_write(void **state)
{
	struct fixture *fixture = *state;
	struct table_knowledge out;
	assert_int_equal(chmod(fixture->path, 0620), 0);
	assert_int_equal(recall(fixture, "portpolicy", &out), -ENOENT);
	assert_int_equal(chmod(fixture->path, 0600), 0);
	assert_int_equal(recall(fixture, "portpolicy", &out), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(it_comes_back_as_it_was),
		TEST(what_was_recalled_can_be_kept),
		TEST(another_table_is_not_known),
		TEST(another_generation_or_stamp),
		TEST(without_lists_nothing_is_kept),
		TEST(another_boot_or_namespace),
		TEST(any_damage_is_survived),
		TEST(a_file_that_others_may_write),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
