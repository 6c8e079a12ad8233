/*
 * Address lists: what stands on a line is an address of the policy, mistakes are shown in the list itself, and a large list is read at once.
 */
#include "dsl/language/resolve.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <talloc.h>
#include <time.h>
/* after the above */
#include <cmocka.h>

struct reading {
	void *ctx;
	struct diagnostics *diagnostics;
	struct intervals of[FAMILIES];
	int outcome;
};

static struct reading read_list(const char *text, size_t length)
{
	struct reading reading = {.ctx = talloc_new(NULL)};
	struct source *source;
	reading.diagnostics = diagnostics_new(reading.ctx);
	assert_int_equal(source_new(reading.ctx, "drop.txt", text, length, false, &source), 0);
	reading.outcome = list_parse(reading.ctx, source, reading.diagnostics, reading.of);
	return reading;
}

static struct reading read_text(const char *text) { return read_list(text, strlen(text)); }

static void has(const struct reading *reading, enum family family, size_t at, u128 first, u128 last)
{
	assert_true(at < reading->of[family].count);
	assert_true(reading->of[family].at[at].first == first);
	assert_true(reading->of[family].at[at].last == last);
}

static void addresses_networks_and_ranges(void **state)
{
	(void)state;
	struct reading reading = read_text("192.0.2.1\n10.0.0.0/8\n192.0.2.10-192.0.2.19\n0.0.0.0/32\n2001:db8::/32\n::1\nfd00::1 - fd00::9");
	assert_int_equal(reading.outcome, 0);
	assert_int_equal(reading.of[FAMILY_IPV4].count, 4);
	has(&reading, FAMILY_IPV4, 0, 0, 0);
	has(&reading, FAMILY_IPV4, 1, 0x0a000000, 0x0affffff);
	has(&reading, FAMILY_IPV4, 2, 0xc0000201, 0xc0000201);
	has(&reading, FAMILY_IPV4, 3, 0xc000020a, 0xc0000213);
	assert_int_equal(reading.of[FAMILY_IPV6].count, 3);
	has(&reading, FAMILY_IPV6, 0, 1, 1);
	has(&reading, FAMILY_IPV6, 1, (u128)0x20010db8 << 96, ((u128)0x20010db8 << 96) | (U128_MAX >> 32));
	talloc_free(reading.ctx);
}

static void unsorted_overlapping_and_touching_lines_become_one(void **state)
{
	(void)state;
	struct reading reading = read_text("10.1.0.0/16\n10.0.0.0/16\n10.0.7.0/24\n10.0.0.0/16\n255.255.255.255\n255.255.255.254\n");
	assert_int_equal(reading.outcome, 0);
	assert_int_equal(reading.of[FAMILY_IPV4].count, 2);
	has(&reading, FAMILY_IPV4, 0, 0x0a000000, 0x0a01ffff);
	has(&reading, FAMILY_IPV4, 1, 0xfffffffe, 0xffffffff);
	talloc_free(reading.ctx);
}

static void everything_and_the_last_address(void **state)
{
	(void)state;
	struct reading reading = read_text("0.0.0.0/0\n::/0\n");
	assert_int_equal(reading.outcome, 0);
	has(&reading, FAMILY_IPV4, 0, 0, 0xffffffff);
	has(&reading, FAMILY_IPV6, 0, 0, U128_MAX);
	talloc_free(reading.ctx);
	reading = read_text("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
	has(&reading, FAMILY_IPV6, 0, U128_MAX, U128_MAX);
	talloc_free(reading.ctx);
}

static void comments_blanks_and_line_ends(void **state)
{
	(void)state;
	struct reading reading = read_text("\xef\xbb\xbf# drop list\r\n\r\n  192.0.2.1\t# one\r\n\t192.0.2.3#two\r\n192.0.2.5");
	assert_int_equal(reading.outcome, 0);
	assert_int_equal(reading.of[FAMILY_IPV4].count, 3);
	talloc_free(reading.ctx);
	reading = read_text("# nothing\n\n   \n");
	assert_int_equal(reading.outcome, 0);
	assert_int_equal(reading.of[FAMILY_IPV4].count + reading.of[FAMILY_IPV6].count, 0);
	talloc_free(reading.ctx);
}

static void a_mistake_is_shown_where_it_stands(void **state)
{
	(void)state;
	struct reading reading = read_text("192.0.2.1\n  10.1.2.3/8\n192.0.2.2\n");
	assert_int_equal(reading.outcome, 1);
	assert_int_equal(reading.diagnostics->errors, 1);
	const struct diagnostic *one = reading.diagnostics->first;
	assert_string_equal(one->file, "drop.txt");
	assert_int_equal(span_position(one->span).line, 2);
	assert_int_equal(span_position(one->span).column, 3);
	assert_non_null(strstr(one->hint, "10.0.0.0/8"));
	assert_non_null(strstr(one->hint, "10.1.2.3"));
	talloc_free(reading.ctx);
}

static void each_of_these_is_a_mistake(void **state)
{
	static const char *const lines[] = {"192.0.2", "192.0.2.256", "192.0.2.1/33", "192.0.2.1/", "192.0.2.01", "192.0.2.1.1", "192.0.2.0/24/8", "example.com",
		"192.0.2.9-192.0.2.1", "192.0.2.1-2001:db8::1", "192.0.2.0/24-192.0.3.0/24", "::ffff:192.0.2.1", "fe80::1%eth0", "2001:db8::1/64",
		"2001:db8::/129", "192.0.2.1 192.0.2.2", "192.0.2.1,192.0.2.2", "-", "/", "192.0.2.1/-1", "192.0.2.1/+8", "10.0.0.0/08", "4294967296",
		"1000000000000.0.0.0", "$office", "any"};
	(void)state;
	for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
		struct reading reading = read_text(lines[i]);
		if (reading.outcome != 1 || reading.diagnostics->errors != 1)
			fail_msg("%s: outcome %d, %zu errors", lines[i], reading.outcome, reading.diagnostics->errors);
		talloc_free(reading.ctx);
	}
}

static void bytes_that_are_no_text(void **state)
{
	(void)state;
	struct reading reading = read_list("192.0.2.1\n\0\n", 12);
	assert_int_equal(reading.outcome, 1);
	talloc_free(reading.ctx);
	reading = read_list("192.0.2.1\0/8\n", 13);
	assert_int_equal(reading.outcome, 1);
	talloc_free(reading.ctx);
	char line[5000];
	memset(line, '1', sizeof line);
	reading = read_list(line, sizeof line);
	assert_int_equal(reading.outcome, 1);
	talloc_free(reading.ctx);
}

static void a_list_of_nonsense_does_not_flood(void **state)
{
	(void)state;
	char *text = talloc_strdup(NULL, "");
	for (int i = 0; i < 1000; i++)
		text = talloc_strdup_append_buffer(text, "nonsense\n");
	struct reading reading = read_text(text);
	assert_int_equal(reading.outcome, 1);
	assert_in_range(reading.diagnostics->errors, 2, 50);
	talloc_free(reading.ctx);
	talloc_free(text);
}

/* Addresses of all forms, some with a byte that is wrong. */
static size_t random_line(unsigned *seed, char *line)
{
	static const char *const letters = "0123456789abcdefABCDEF:./ -g";
	static const char *const common[] = {"::", "::1", "2001:db8::/32", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8", "fe80::1:0/112",
		"1::8/128", "192.0.2.0/24", "10.0.0.1", "0.0.0.0/0", "::/0", "::ffff:c000:201", "::ffff:0:0/96", "64:ff9b::192.0.2.1", "a:b:c:d:e:f:0:1/127"};
	int form = rand_r(seed) % 3, length = 0;
	if (form == 0)
		length = sprintf(line, "%s", common[rand_r(seed) % (int)(sizeof common / sizeof *common)]);
	for (int i = 0; form == 1 && i < 8; i++)
		length += sprintf(line + length, "%s%x", i ? ":" : "", rand_r(seed) % 3 ? (unsigned)rand_r(seed) & 0xffff : 0);
	if (form == 2)
		length = sprintf(line, "%x::%x:%x/%d", (unsigned)rand_r(seed) & 0xffff, (unsigned)rand_r(seed) & 0xff, 0u, rand_r(seed) % 140);
	for (int i = rand_r(seed) % 4; i > 1; i--)
		line[rand_r(seed) % length] = letters[rand_r(seed) % 28];
	if (rand_r(seed) % 4 == 0)
		length = rand_r(seed) % length;
	line[length] = 0;
	return (size_t)length;
}

/* A blank behind a line leaves it to the careful way. */
static void the_quick_way_reads_as_the_careful_one(void **state)
{
	unsigned seed = 1;
	(void)state;
	for (int round = 0; round < 20000; round++) {
		char line[80];
		size_t length = random_line(&seed, line);
		struct reading quick = read_text(line);
		strcpy(line + length, " ");
		struct reading careful = read_text(line);
		assert_int_equal(quick.outcome, careful.outcome);
		for (int family = 0; family < FAMILIES && !quick.outcome; family++)
			assert_true(intervals_equal(quick.of[family], careful.of[family]));
		talloc_free(quick.ctx);
		talloc_free(careful.ctx);
	}
}

static void a_million_lines_at_once(void **state)
{
	enum { LINES = 1000000 };
	char *text = talloc_size(NULL, (size_t)LINES * 20), *at = text;
	uint32_t random = 1;
	struct timespec begin, end;
	(void)state;
	for (int i = 0; i < LINES; i++) {
		random = random * 1664525 + 1013904223;
		at += sprintf(at, i % 2 ? "%u.%u.%u.%u\n" : "%u.%u.%u.%u/31\n", random >> 24, random >> 16 & 255, random >> 8 & 255, random >> 7 & 254);
	}
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begin);
	struct reading reading = read_list(text, (size_t)(at - text));
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
	double seconds = (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9;
	assert_int_equal(reading.outcome, 0);
	assert_true(reading.of[FAMILY_IPV4].count > LINES / 2);
	print_message("a million lines: %.2f s\n", seconds);
	assert_true(seconds < 10); /* under valgrind and sanitizers too; the bound that counts is a benchmark's */
	talloc_free(reading.ctx);
	talloc_free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_networks_and_ranges),
		cmocka_unit_test(unsorted_overlapping_and_touching_lines_become_one),
		cmocka_unit_test(everything_and_the_last_address),
		cmocka_unit_test(comments_blanks_and_line_ends),
		cmocka_unit_test(a_mistake_is_shown_where_it_stands),
		cmocka_unit_test(each_of_these_is_a_mistake),
		cmocka_unit_test(bytes_that_are_no_text),
		cmocka_unit_test(a_list_of_nonsense_does_not_flood),
		cmocka_unit_test(the_quick_way_reads_as_the_careful_one),
		cmocka_unit_test(a_million_lines_at_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
