/*
 * What is said of a text that cannot be read: one message a mistake, at its place, with its remedy.
 */
#include "portpolicy/tree.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <talloc.h>
/* after the above */
#include <cmocka.h>

struct reading {
	struct diagnostics *diagnostics;
	struct tree *tree;
};

static struct reading read_bytes(void *ctx, const char *bytes, size_t length)
{
	struct reading reading = {.diagnostics = diagnostics_new(ctx)};
	struct source *source;
	assert_int_equal(source_new(ctx, "t.policy", bytes, length, false, &source), 0);
	assert_int_equal(parse_policy(ctx, source, reading.diagnostics, &reading.tree), 0);
	return reading;
}

static struct reading read_policy(void *ctx, const char *text)
{
	return read_bytes(ctx, text, strlen(text));
}

static size_t count_errors(const struct reading *reading)
{
	return reading->diagnostics->errors;
}

struct wrong {
	const char *text;
	unsigned line, column;
	const char *message, *hint; /* parts of them */
};

/* Each is one error, at this place. */
static void check_wrong(void *ctx, const struct wrong *cases, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct reading reading = read_policy(ctx, cases[i].text);
		const struct diagnostic *one = reading.diagnostics->first;
		if (!one || one->next)
			fail_msg("`%s`: %zu errors: %s; %s", cases[i].text, count_errors(&reading), one ? one->message : "",
				one && one->next ? one->next->message : "");
		struct position position = span_position(one->span);
		if (!strstr(one->message, cases[i].message) || position.line != cases[i].line ||
			position.column != cases[i].column)
			fail_msg("`%s`: %u:%u: %s", cases[i].text, position.line, position.column, one->message);
		if (cases[i].hint && (!one->hint || !strstr(one->hint, cases[i].hint)))
			fail_msg("`%s`: the hint is %s", cases[i].text, one->hint ? one->hint : "none");
	}
}
#define CHECK_WRONG(ctx, cases) check_wrong(ctx, cases, sizeof(cases) / sizeof *(cases))

static int set_up(void **state)
{
	return !(*state = talloc_new(NULL));
}

static int tear_down(void **state)
{
	talloc_free(*state);
	return 0;
}

static void ports_need_an_end(void **state)
{
	static const struct wrong cases[] = {
		{"allow in port 22", 1, 10, "which end", "`tcp/22` is the destination port, `source port 22` the source port"},
		{"allow in any from 10.0.0.0/8 port 8080", 1, 30, "which end", "source port 8080"},
		{"allow in dport 22", 1, 10, "which end", "tcp/22"},
		{"allow in tcp sport 22", 1, 14, "which end", "source port 22"},
		{"allow in tcp to port 22", 1, 17, "which end", NULL},
		{"allow in tcp 22", 1, 14, "slash", "tcp/22"},
		{"allow in tcp:443", 1, 13, "slash", "tcp/443"},
		{"allow in tcp { 80, 443 }", 1, 14, "slash", "tcp/{ ... }"},
		{"allow in tcp except 25", 1, 21, "slash", "tcp/any except 25"},
		{"allow in 22/tcp", 1, 10, "behind its protocol", "tcp/22"},
		{"allow 22/udp", 1, 7, "direction is missing", "in udp/22"},
		{"allow in tcp/80:90", 1, 14, "range", "80-90"},
		{"allow in tcp/80-http", 1, 17, "numbers", NULL},
		{"allow in tcp/80,443", 1, 16, "braces", "{"},
	};
	CHECK_WRONG(*state, cases);
}

static void other_words_are_understood(void **state)
{
	static const struct wrong cases[] = {
		{"alow in ssh", 1, 1, "`alow`", "`allow`"},
		{"permit in ssh", 1, 1, "`permit`", "`allow`"},
		{"accept in ssh", 1, 1, "`accept`", "`allow`"},
		{"drop in ssh", 1, 1, "`drop`", "`deny`"},
		{"block in ssh", 1, 1, "`block`", "`deny`"},
		{"allow input ssh", 1, 7, "`input`", "`in`"},
		{"allow egress ssh", 1, 7, "`egress`", "`out`"},
		{"allow outgoing ssh", 1, 7, "`outgoing`", "`out`"},
		{"allow ot ssh", 1, 7, "`ot`", "`out`"},
		{"ALLOW in ssh", 1, 1, "`ALLOW`", "`allow`"},
		{"default in dney", 1, 12, "expected allow, deny or reject", "`deny`"},
		{"allow in ssh frm any", 1, 14, "`frm`", "`from`"},
		{"allow in ssh saddr any", 1, 14, "`saddr`", "`from`"},
		{"allow in any from any but $a", 1, 23, "`but`", "`except`"},
		{"allow ssh from any", 1, 7, "direction is missing", "`in ssh`"},
		{"allow any", 1, 7, "direction is missing", "`in any`"},
		{"in allow ssh", 1, 1, "first", "`allow in`"},
		{"in ssh", 1, 1, "missing", "`allow in"},
		{"default deny in", 1, 9, "direction", "`default in deny`"},
		{"expect in ssh", 1, 8, "allow or deny", "expect deny in"},
		{"expect reject in ssh", 1, 8, "allow or deny", "expect deny"},
		{"mode dry-run", 1, 6, "`dry-run`", "`audit`"},
	};
	CHECK_WRONG(*state, cases);
}

static void mistakes_in_sets_have_remedies(void **state)
{
	static const struct wrong cases[] = {
		{"allow in any from any except $a except $b", 1, 33, "one operand", "A except { B, C }"},
		{"allow in ssh from $a, $b", 1, 21, "braces", NULL},
		{"ports p = { 80\n 443 }", 2, 2, "comma is missing", "80, 443"},
		{"ports p = { 80; 443 }", 1, 15, "commas", NULL},
		{"ports p = { 80, 443", 1, 11, "never closed", "`}`"},
		{"ports p = { 80; allow in ssh", 1, 11, "never closed", NULL},
		{"addresses x { $a }", 1, 13, "`=` is missing", "addresses x = "},
		{"service x += ssh", 1, 11, "once", NULL},
		{"addresses $x = any", 1, 11, "without the `$`", "addresses x"},
		{"addresses in = any", 1, 11, "word of the language", "my-in"},
		{"allow in ssh from !$a", 1, 19, "`!`", "any except"},
		{"allow in ssh on wg*", 1, 19, "`*`", "quotes"},
		{"allow out any by www-data", 1, 18, "user", "user www-data"},
		{"allow out any by user any", 1, 23, "name of a user", "\"any\" in quotes"},
		{"allow out any by user to $a", 1, 23, "missing", NULL},
		{"allow in ssh limit 10 per second", 1, 23, "rate", "10/second"},
		{"allow in ssh limit 10", 1, 22, "rate", "10 connections"},
		{"}", 1, 1, "closes nothing", NULL},
		{"{ allow in ssh }", 1, 1, "block follows `hosts`", NULL},
	};
	CHECK_WRONG(*state, cases);
}

static void texts_stand_in_quotes(void **state)
{
	static const struct wrong cases[] = {
		{"include essentials", 1, 9, "quotes", "<essentials>"},
		{"include \"foo", 1, 9, "not closed", "\""},
		{"include \"foo\r\n", 1, 9, "not closed", "\""},
		{"hosts web { mode audit }", 1, 7, "quotes", "\"web\""},
		{"allow in ssh reason foo", 1, 21, "quotes", "\"foo\""},
		{"allow in ssh log 'foo'", 1, 18, "double quotes", NULL},
		{"allow in ssh log \xe2\x80\x9c"
		 "foo\xe2\x80\x9d",
			1, 18, "U+201C", "double quote"},
		{"include <../x>", 1, 9, "`<`", "<services>"},
		{"allow in tcp/1\xe2\x80\x93"
		 "5",
			1, 15, "U+2013", "`-`"},
	};
	CHECK_WRONG(*state, cases);
}

static void rest_of_the_errors(void **state)
{
	static const struct wrong cases[] = {
		{"allow in ssh from", 1, 18, "missing behind `from`; expected addresses", NULL},
		{"allow in", 1, 9, "missing behind `in`; expected traffic", NULL},
		{"allow in ssh until \"x\"", 1, 14, "reserved", NULL},
		{"allow in ssh audit", 1, 14, "reserved", NULL},
		{"stateless in ssh", 1, 1, "reserved", NULL},
		{"expect allow in ssh log", 1, 21, "belongs to a rule", NULL},
		{"hosts \"a\"\n{\nmode audit\n}", 2, 1, "line of its `hosts`", NULL},
		{"hosts \"a\"\nallow in tcp/{ 1, 2 }", 1, 10, "expected", NULL},
		{"hosts \"a\" {\nmode audit\n", 1, 11, "never closed", NULL},
		{"hosts \"a\",\n{ mode audit }", 2, 1, "`{` cannot", NULL},
		{"hosts \"a\" {\nhosts \"b\" {\n", 1, 11, "never closed", NULL},
		{"hosts 5 { mode audit }\ndefault in deny", 1, 7, "expected \"a text\"", NULL},
		{"hosts \"a\" { mode audit } mode audit", 1, 26, "end of the line", NULL},
	};
	CHECK_WRONG(*state, cases);
}

static void clause_stands_once(void **state)
{
	static const char *const clauses[] = {"on eth0", "arriving on eth0", "leaving on eth0", "from any", "source port 1",
		"to any", "by any", "limit 1/day", "limit 1 connections", "above 1/day", "log", "reason \"x\""};
	for (size_t i = 0; i < sizeof clauses / sizeof *clauses; i++) {
		struct reading reading =
			read_policy(*state, talloc_asprintf(*state, "allow in tcp %s %s", clauses[i], clauses[i]));
		const struct diagnostic *one = reading.diagnostics->first;
		assert_int_equal(count_errors(&reading), 1);
		assert_non_null(strstr(one->message, "twice"));
		assert_int_equal(one->span.begin, 13 + strlen(clauses[i]) + 1);
		assert_int_equal(one->related.begin, 13);
	}
}

static void second_except_shows_the_first(void **state)
{
	struct reading reading = read_policy(*state, "allow in any from any except $a except $b");
	assert_int_equal(reading.diagnostics->first->related.begin, 22);
}

static void wrong_encodings_are_named(void **state)
{
	static const struct {
		const char *bytes;
		size_t length, offset;
		const char *message;
	} cases[] = {
		{"default in deny\0", 16, 15, "binary"},
		{"\xff\xfe"
		 "a\0",
			4, 0, "UTF-16"},
		{"\xfe\xff\0a", 4, 0, "UTF-16"},
		{"allow in caf\xe9", 13, 12, "not UTF-8"},
		{"allow in ssh log \"caf\xe9\"", 23, 21, "not UTF-8"},
		{"allow in \033[31mssh", 17, 9, "control byte (0x1b)"},
		{"# caf\xe9", 6, 5, "not UTF-8"},
		{"# a\rallow in any", 16, 3, "carriage return"},
		{"mode audit\rmode audit", 21, 10, "carriage return"},
		{"# \033[2K", 6, 2, "control byte"},
		{"# \xc0\xaf", 4, 2, "not UTF-8"},
		{"# \xe0\x80\xaf", 5, 2, "not UTF-8"},
		{"# \xed\xa0\x80", 5, 2, "not UTF-8"},
		{"# \xe2\x82", 4, 2, "not UTF-8"},
		{"mode audit\f", 11, 10, "control byte (0x0c)"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct reading reading = read_bytes(*state, cases[i].bytes, cases[i].length);
		const struct diagnostic *one = reading.diagnostics->first;
		if (count_errors(&reading) != 1 || !strstr(one->message, cases[i].message) || one->span.begin != cases[i].offset)
			fail_msg("case %zu: %zu errors, %s at %u", i, count_errors(&reading), one ? one->message : "none",
				one ? one->span.begin : 0);
	}
}

static void errors_are_counted_to_fifty(void **state)
{
	char *text = talloc_strdup(*state, "");
	for (size_t i = 0; i < 1000; i++)
		text = talloc_strdup_append(text, "alow in ssh\n");
	struct reading reading = read_policy(*state, text);
	const struct diagnostic *last = reading.diagnostics->first;
	while (last->next)
		last = last->next;
	assert_int_equal(count_errors(&reading), 51);
	assert_string_equal(last->message, "too many errors; what follows is not reported");
}

static struct match_node *ask(void *ctx, const char *text, struct diagnostics *diagnostics)
{
	struct source *source;
	struct match_node *question = NULL;
	assert_int_equal(source_new(ctx, "<argument>", text, strlen(text), false, &source), 0);
	assert_int_equal(parse_question(ctx, source, diagnostics, &question), 0);
	return question;
}

static void wrong_question_has_no_answer(void **state)
{
	static const char *const cases[][2] = {{"allow in ssh", "what a packet is"}, {"", "nothing stands here"},
		{"in ssh\nin ssh", "end of the text"}, {"in ssh log", "belongs to a rule"}, {"in ssh form 192.0.2.1", "`form`"},
		{"in port 22", "which end"}, {"in ssh from any from any", "twice"}, {"in tcp/{ 1", "never closed"},
		{"sideways ssh", "no direction"}, {"default in deny", "expected in, out or forward"}};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct diagnostics *diagnostics = diagnostics_new(*state);
		assert_null(ask(*state, cases[i][0], diagnostics));
		if (!diagnostics->first || !strstr(diagnostics->first->message, cases[i][1]))
			fail_msg("`%s`: %s", cases[i][0], diagnostics->first ? diagnostics->first->message : "nothing");
	}
}

int main(void)
{
#define TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(ports_need_an_end),
		TEST(other_words_are_understood),
		TEST(mistakes_in_sets_have_remedies),
		TEST(texts_stand_in_quotes),
		TEST(rest_of_the_errors),
		TEST(clause_stands_once),
		TEST(second_except_shows_the_first),
		TEST(wrong_encodings_are_named),
		TEST(errors_are_counted_to_fifty),
		TEST(wrong_question_has_no_answer),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
