/*
 * Places in texts, and how messages about them look.
 */
#include "portpolicy/source.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <talloc.h>
/* after the above */
#include <cmocka.h>

static struct source *source_of(void *ctx, const char *text)
{
	struct source *source;
	assert_int_equal(source_new(ctx, "t.policy", text, strlen(text), false, &source), 0);
	return source;
}

static struct span place_of(const struct source *source, const char *words)
{
	const char *at = strstr(source->text, words);
	assert_non_null(at);
	uint32_t begin = (uint32_t)(at - source->text);
	return (struct span){source, begin, begin + (uint32_t)strlen(words)};
}

static char *printed(void *ctx, const struct diagnostic *diagnostic, bool colour)
{
	char *bytes;
	size_t length;
	FILE *stream = open_memstream(&bytes, &length);
	assert_non_null(stream);
	assert_int_equal(diagnostic_print(stream, diagnostic, colour), 0);
	fclose(stream);
	char *copy = talloc_strdup(ctx, bytes);
	free(bytes);
	return copy;
}

static int set_up(void **state)
{
	return !(*state = talloc_new(NULL));
}

static int tear_down(void **state)
{
	talloc_free(*state);
	return 0;
}

static void lines_and_columns_count_from_one(void **state)
{
	const struct source *source = source_of(*state, "a\nbc\n\nd");
	static const struct {
		uint32_t offset;
		unsigned line, column;
	} cases[] = {{0, 1, 1}, {1, 1, 2}, {2, 2, 1}, {4, 2, 3}, {5, 3, 1}, {6, 4, 1}, {7, 4, 2}};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct position position = span_position((struct span){source, cases[i].offset, cases[i].offset});
		assert_int_equal(position.line, cases[i].line);
		assert_int_equal(position.column, cases[i].column);
	}
	assert_int_equal(span_position((struct span){0}).line, 0);
}

static void byte_order_mark_is_no_text(void **state)
{
	const struct source *source = source_of(*state, "\xef\xbb\xbf"
							"allow");
	assert_string_equal(source->text, "allow");
	assert_int_equal(source->length, 5);
}

static void text_of_a_span_is_one_line(void **state)
{
	static const struct {
		const char *written, *folded;
	} cases[] = {
		{"allow  in\tssh", "allow in ssh"},
		{"tcp/{ 80, # web\n   443 }", "tcp/{ 80, 443 }"},
		{"allow \\\r\n  in ssh", "allow in ssh"},
		{"log \"two  blanks # no comment\"", "log \"two  blanks # no comment\""},
		{"", ""},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const struct source *source = source_of(*state, cases[i].written);
		assert_string_equal(span_text(*state, (struct span){source, 0, (uint32_t)source->length}), cases[i].folded);
	}
}

static void message_shows_place_note_and_fix(void **state)
{
	struct diagnostics *list = diagnostics_new(*state);
	const struct source *source = source_of(*state, "one\n\ttwo three\nfour");
	struct diagnostic *one = report_error(list, place_of(source, "three"), "%d is wrong", 3);
	diagnostic_related(list, one, place_of(source, "one"), "it began here");
	diagnostic_hint(list, one, "write %s", "3");
	assert_string_equal(
		printed(*state, one, false), "t.policy:2:6: error: 3 is wrong\n    \ttwo three\n    \t    ^~~~~\nt.policy:1:1: "
					     "note: it began here\n    one\n    ^~~\n  fix: write 3\n");
	assert_non_null(strstr(printed(*state, one, true), "\033[1;31merror\033[0m"));
}

static void warning_names_its_code(void **state)
{
	struct diagnostics *list = diagnostics_new(*state);
	const struct source *source = source_of(*state, "x");
	assert_string_equal(printed(*state, report_warning(list, "W012", place_of(source, "x"), "odd"), false),
		"t.policy:1:1: warning: odd [W012]\n    x\n    ^\n");
	assert_int_equal(list->warnings, 1);
	assert_int_equal(list->errors, 0);
}

static void file_without_place_is_named(void **state)
{
	struct diagnostics *list = diagnostics_new(*state);
	assert_string_equal(printed(*state, report_file_error(list, "a\033b.policy", "it is a directory"), false),
		"a?b.policy: error: it is a directory\n");
}

static void caret_stands_below_characters_not_bytes(void **state)
{
	struct diagnostics *list = diagnostics_new(*state);
	const struct source *source = source_of(*state, "\"\xc3\xa9\xe2\x82\xac\" x\xc3\xa9y z");
	assert_non_null(
		strstr(printed(*state, report_error(list, place_of(source, "x\xc3\xa9y"), "here"), false), "\n         ^~~\n"));
}

static void nothing_harmful_reaches_a_terminal(void **state)
{
	struct diagnostics *list = diagnostics_new(*state);
	const struct source *source = source_of(*state, "a\033[31m \xc2\x9b \xff \xe2\x80\xae \xe2\x81\xa6 z\r\n");
	char *text = printed(*state, report_error(list, place_of(source, "z"), "\033]0;title\007"), false);
	assert_string_equal(text, "t.policy:1:21: error: ?]0;title?\n    a?[31m ?? ? ??? ??? z\n                        ^\n");
}

static void long_line_is_cut_around_the_caret(void **state)
{
	struct diagnostics *list = diagnostics_new(*state);
	char *text = talloc_size(*state, 100001);
	memset(text, 'a', 100000);
	text[100000] = 0;
	memcpy(text + 50000, " here ", 6);
	const struct source *source = source_of(*state, text);
	char *shown = printed(*state, report_error(list, place_of(source, "here"), "m"), false), *line = strchr(shown, '\n') + 1,
	     *caret = strchr(line, '\n') + 1;
	assert_true(strlen(shown) < 400);
	assert_memory_equal(line + (strchr(caret, '^') - caret), "here", 4);
	assert_non_null(strstr(line, "aaa...\n"));
}

static void place_at_the_very_end_is_shown(void **state)
{
	struct diagnostics *list = diagnostics_new(*state);
	const struct source *source = source_of(*state, "allow in");
	assert_string_equal(printed(*state, report_error(list, (struct span){source, 8, 8}, "m"), false),
		"t.policy:1:9: error: m\n    allow in\n            ^\n");
	source = source_of(*state, "");
	assert_string_equal(printed(*state, report_error(list, (struct span){source, 0, 0}, "m"), false),
		"t.policy:1:1: error: m\n    \n    ^\n");
}

static void misspelt_word_finds_the_nearest(void **state)
{
	static const char *const words[] = {"allow", "deny", "forward", "in", "on", "https"};
	static const struct {
		const char *word, *nearest;
	} cases[] = {{"alow", "allow"}, {"dney", "deny"}, {"forwrad", "forward"}, {"ALLOW", "allow"}, {"htps", "https"},
		{"ni", "in"}, {"banana", NULL}, {"", NULL}, {"denial", NULL}};
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const char *near = nearest_word(cases[i].word, words, sizeof words / sizeof *words);
		if (cases[i].nearest)
			assert_string_equal(near ? near : "nothing", cases[i].nearest);
		else
			assert_null(near);
	}
}

int main(void)
{
#define TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(lines_and_columns_count_from_one),
		TEST(byte_order_mark_is_no_text),
		TEST(text_of_a_span_is_one_line),
		TEST(message_shows_place_note_and_fix),
		TEST(warning_names_its_code),
		TEST(file_without_place_is_named),
		TEST(caret_stands_below_characters_not_bytes),
		TEST(nothing_harmful_reaches_a_terminal),
		TEST(long_line_is_cut_around_the_caret),
		TEST(place_at_the_very_end_is_shown),
		TEST(misspelt_word_finds_the_nearest),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
