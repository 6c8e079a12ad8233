/*
 * The kinds of host that blocks tell apart, against all short names tried one by one.
 */
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

#define GLOBS_MAX 6

static int read_file(void *data, void *ctx, const char *path, enum file_kind kind, char **bytes, size_t *length)
{
	(void)path;
	(void)kind;
	*bytes = talloc_strdup(ctx, data);
	*length = strlen(data);
	return 0;
}

static int canonical(void *data, void *ctx, const char *path, char **out)
{
	(void)data;
	*out = talloc_strdup(ctx, path);
	return 0;
}

struct kinds {
	void *ctx;
	const char *const *names;
	size_t count, warnings;
};

static struct kinds kinds_of(const char *text)
{
	struct kinds kinds = {.ctx = talloc_new(NULL)};
	struct environment environment = {.data = talloc_strdup(kinds.ctx, text), .read_file = read_file, .canonical = canonical, .host = "this.example"};
	struct diagnostics *diagnostics = diagnostics_new(kinds.ctx);
	assert_int_equal(policy_host_kinds(kinds.ctx, "host.policy", &environment, diagnostics, &kinds.names, &kinds.count), 0);
	kinds.warnings = diagnostics->warnings;
	return kinds;
}

static bool matches(const char *glob, const char *host)
{
	char label[300];
	snprintf(label, sizeof label, "%.*s", (int)strcspn(host, "."), host);
	return !fnmatch(glob, host, 0) || !fnmatch(glob, label, 0);
}

static unsigned membership(const char *const *globs, size_t count, const char *host)
{
	unsigned bits = 0;
	for (size_t i = 0; i < count; i++)
		bits |= (unsigned)matches(globs[i], host) << i;
	return bits;
}

static char *text_of(const char *const *globs, size_t count)
{
	char *text = talloc_strdup(NULL, "");
	for (size_t i = 0; i < count; i++)
		text = talloc_asprintf_append_buffer(text, "hosts \"%s\" { mode audit }\n", globs[i]);
	return text;
}

/* Every name of up to five letters of a small alphabet is of a kind that was found. */
static void check_short_names(const char *const *globs, size_t count)
{
	static const char letters[] = "abx.-1";
	char *text = text_of(globs, count), name[8];
	bool found[1 << GLOBS_MAX] = {false};
	struct kinds kinds = kinds_of(text);
	for (size_t i = 0; i < kinds.count; i++) {
		unsigned bits = membership(globs, count, kinds.names[i]);
		if (found[bits])
			fail_msg("%s is of a kind that was found before:\n%s", kinds.names[i], text);
		found[bits] = true;
	}
	for (unsigned number = 0; number < 6 * 6 * 6 * 6 * 6; number++)
		for (unsigned length = 1, rest; length <= 5; length++) {
			rest = number;
			for (unsigned i = 0; i < length; i++, rest /= 6)
				name[i] = letters[rest % 6];
			name[length] = 0;
			if (rest || strstr(name, "..") || strstr(name, ".-") || strstr(name, "-.") || strchr(".-", *name) || strchr(".-", name[length - 1]))
				continue;
			if (!found[membership(globs, count, name)])
				fail_msg("%s is of a kind that was not found:\n%s", name, text);
		}
	talloc_free(kinds.ctx);
	talloc_free(text);
}

static void all_kinds_are_found(void **state)
{
	static const char *const pieces[] = {"a", "b", "x", "*", "?", ".", "[ab]", "[!a]", "[a-x]", "1", "-"};
	(void)state;
	srand(1);
	for (int round = 0; round < 60; round++) {
		size_t count = 1 + (size_t)rand() % GLOBS_MAX;
		char globs[GLOBS_MAX][40] = {{0}};
		const char *list[GLOBS_MAX];
		for (size_t i = 0; i < count; i++) {
			for (int k = 1 + rand() % 4; k; k--)
				strcat(globs[i], pieces[(size_t)rand() % (sizeof pieces / sizeof *pieces)]);
			list[i] = globs[i];
		}
		check_short_names(list, count);
	}
}

static void without_blocks_there_is_this_host(void **state)
{
	(void)state;
	struct kinds kinds = kinds_of("default in deny\n");
	assert_int_equal(kinds.count, 1);
	assert_string_equal(kinds.names[0], "this.example");
	talloc_free(kinds.ctx);
}

static void a_mistake_elsewhere_hides_no_kind(void **state)
{
	(void)state;
	struct kinds kinds = kinds_of("defalt in deny\nhosts \"web*\" { mode audit }\nhosts \"db\" {\n\tallow sideways tcp\n}\n");
	assert_int_equal(kinds.count, 3);
	talloc_free(kinds.ctx);
}

static void the_others_come_first(void **state)
{
	(void)state;
	struct kinds kinds = kinds_of("hosts \"web*\" { mode audit }\nhosts \"db1\", \"db2\" { mode audit }\n");
	assert_int_equal(kinds.count, 3);
	assert_string_equal(kinds.names[0], "other");
	assert_string_equal(kinds.names[1], "db1");
	assert_string_equal(kinds.names[2], "web");
	talloc_free(kinds.ctx);
}

static void where_all_are_named_there_are_no_others(void **state)
{
	(void)state;
	struct kinds kinds = kinds_of("hosts \"*\" { mode audit }\n");
	assert_int_equal(kinds.count, 1);
	talloc_free(kinds.ctx);
}

static void long_names_classes_and_blocks_in_blocks(void **state)
{
	(void)state;
	struct kinds kinds = kinds_of("hosts \"a-name-that-is-longer-than-most.in-a-domain-that-is-longer-than-most.example.com\" { mode audit }\n"
				      "hosts \"Rack[[:digit:]]*\" {\n hosts \"*7\" { mode audit }\n}\n");
	assert_int_equal(kinds.count, 5);
	talloc_free(kinds.ctx);
}

static void a_fleet_is_quick_and_too_many_kinds_are_told(void **state)
{
	(void)state;
	char *text = talloc_strdup(NULL, "");
	for (int i = 0; i < 100; i++)
		text = talloc_asprintf_append_buffer(text, "hosts \"server-%d.rack%d.example.com\" { mode audit }\n", i, i % 7);
	struct kinds kinds = kinds_of(text);
	assert_int_equal(kinds.count, 101);
	assert_int_equal(kinds.warnings, 0);
	talloc_free(kinds.ctx);
	talloc_free(text);
	text = talloc_strdup(NULL, "");
	for (char c = 'a'; c <= 'p'; c++)
		text = talloc_asprintf_append_buffer(text, "hosts \"*%c*\" { mode audit }\n", c);
	kinds = kinds_of(text);
	assert_true(kinds.count > 100);
	assert_int_equal(kinds.warnings, 1);
	talloc_free(kinds.ctx);
	talloc_free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_kinds_are_found),
		cmocka_unit_test(without_blocks_there_is_this_host),
		cmocka_unit_test(a_mistake_elsewhere_hides_no_kind),
		cmocka_unit_test(the_others_come_first),
		cmocka_unit_test(where_all_are_named_there_are_no_others),
		cmocka_unit_test(long_names_classes_and_blocks_in_blocks),
		cmocka_unit_test(a_fleet_is_quick_and_too_many_kinds_are_told),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
