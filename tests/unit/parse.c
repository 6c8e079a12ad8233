/*
 * What a text is read as, and what is said of one that cannot be read.
 *
 * Trees are compared as text: (kind text children...), a statement a line.
 */
#include "portpolicy/tree.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <talloc.h>
/* after the above */
#include <cmocka.h>

static const char *kind_name(enum item_kind kind)
{
	static const char *const names[] = {[ITEM_ANY] = "any",
		[ITEM_WORD] = "word",
		[ITEM_NUMBER] = "number",
		[ITEM_ADDRESS] = "address",
		[ITEM_RANGE] = "range",
		[ITEM_STRING] = "string",
		[ITEM_FILE] = "file",
		[ITEM_NAME] = "name",
		[ITEM_SET] = "set",
		[ITEM_EXCEPT] = "except",
		[ITEM_PROTOCOL] = "protocol",
		[ITEM_USER] = "user",
		[ITEM_GROUP] = "group",
		[ITEM_UNIT] = "unit"};
	return names[kind];
}

static void dump_item(FILE *out, const struct item *item)
{
	fprintf(out, "(%s", kind_name(item->kind));
	if (item->text)
		fprintf(out, " %s%s", item->numeric ? "#" : "", item->text);
	const struct item *const pair[] = {item->low, item->high};
	for (size_t i = 0; i < 2; i++)
		if (pair[i]) {
			fputc(' ', out);
			dump_item(out, pair[i]);
		}
	for (const struct item *one = item->items; one; one = one->next) {
		fputc(' ', out);
		dump_item(out, one);
	}
	fputc(')', out);
}

static void dump_clause(FILE *out, const char *name, const struct item *item)
{
	if (!item)
		return;
	fprintf(out, " %s", name);
	dump_item(out, item);
}

static void dump_match(FILE *out, const struct match_node *match)
{
	static const char *const directions[] = {"in", "out", "forward"};
	fprintf(out, "%s", directions[match->direction]);
	dump_clause(out, "", match->traffic);
	dump_clause(out, "on", match->on);
	dump_clause(out, "arriving", match->arriving);
	dump_clause(out, "leaving", match->leaving);
	dump_clause(out, "from", match->from);
	dump_clause(out, "source-port", match->source_port);
	dump_clause(out, "to", match->to);
	dump_clause(out, "by", match->by);
}

static void dump_rule(FILE *out, const struct rule_node *rule)
{
	static const char *const kinds[] = {"limit", "connections", "above"};
	dump_match(out, &rule->match);
	for (const struct limit_node *limit = rule->limits; limit; limit = limit->next) {
		fprintf(out, " %s[%s", kinds[limit->kind], limit->count->text);
		fprintf(out, "/%s burst %s%s]", limit->unit ? limit->unit->text : "-", limit->burst ? limit->burst->text : "-",
			limit->per_source ? " per source" : "");
	}
	if (rule->log)
		fprintf(out, " log[%s]", rule->log->text ? rule->log->text : "");
	if (rule->reason)
		fprintf(out, " reason[%s]", rule->reason->text);
}

static void dump_statement(FILE *out, const struct statement *one)
{
	static const char *const kinds[] = {"language", "include", "addresses", "ports", "service", "default", "rule", "expect",
		"hosts", "mode"},
				 *const actions[] = {"allow", "deny", "reject"};
	fprintf(out, "%s", kinds[one->kind]);
	dump_clause(out, "", one->name);
	fputs(one->append ? " +=" : "", out);
	for (const struct item *item = one->value; item; item = item->next)
		dump_clause(out, "", item);
	if (one->kind == STATEMENT_RULE || one->kind == STATEMENT_DEFAULT)
		fprintf(out, " %s ", actions[one->action]);
	if (one->kind == STATEMENT_EXPECT)
		fputs(one->expect_allow ? " allow " : " deny ", out);
	if (one->kind == STATEMENT_RULE || one->kind == STATEMENT_EXPECT)
		dump_rule(out, &one->rule);
	else if (one->has_direction)
		fprintf(out, " %d", one->direction);
	if (one->kind == STATEMENT_DEFAULT && one->log)
		fprintf(out, " log[%s]", one->log->text ? one->log->text : "");
	if (one->kind == STATEMENT_MODE)
		fputs(one->mode == MODE_AUDIT ? " audit" : " enforce", out);
	for (const struct statement *inner = one->body; inner; inner = inner->next) {
		fputs("\n  ", out);
		dump_statement(out, inner);
	}
}

struct reading {
	struct diagnostics *diagnostics;
	struct tree *tree;
	char *text; /* the tree's */
};

static struct reading read_bytes(void *ctx, const char *bytes, size_t length)
{
	struct reading reading = {.diagnostics = diagnostics_new(ctx)};
	struct source *source;
	char *dumped;
	size_t size;
	assert_int_equal(source_new(ctx, "t.policy", bytes, length, false, &source), 0);
	assert_int_equal(parse_policy(ctx, source, reading.diagnostics, &reading.tree), 0);
	FILE *out = open_memstream(&dumped, &size);
	for (const struct statement *one = reading.tree->statements; one; one = one->next) {
		dump_statement(out, one);
		fputs(one->next ? "\n" : "", out);
	}
	fclose(out);
	reading.text = talloc_strdup(ctx, dumped);
	free(dumped);
	return reading;
}

static struct reading read_policy(void *ctx, const char *text)
{
	return read_bytes(ctx, text, strlen(text));
}

static void read_as(void *ctx, const char *text, const char *tree)
{
	struct reading reading = read_policy(ctx, text);
	if (reading.diagnostics->first)
		fail_msg("%s: %s", text, reading.diagnostics->first->message);
	assert_string_equal(reading.text, tree);
}

static size_t count_errors(const struct reading *reading)
{
	return reading->diagnostics->errors;
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

static void statements_are_read(void **state)
{
	read_as(*state, "language 1", "language (number 1)");
	read_as(*state, "include <essentials>\ninclude \"a b/*.policy\"",
		"include (word essentials)\ninclude (string a b/*.policy)");
	read_as(*state, "addresses a = any", "addresses (word a) (any)");
	read_as(*state, "ports p += 80", "ports (word p) += (number 80)");
	read_as(*state, "service s = ssh", "service (word s) (word ssh)");
	read_as(*state, "default in deny", "default deny  0");
	read_as(*state, "default out reject log \"x\"", "default reject  1 log[x]");
	read_as(*state, "default forward allow log", "default allow  2 log[]");
	read_as(*state, "mode audit; mode in enforce", "mode audit\nmode 0 enforce");
	read_as(*state, "expect deny in any", "expect deny in (any)");
}

static void traffic_is_read(void **state)
{
	static const char *const cases[][2] = {
		{"any", "(any)"},
		{"tcp", "(word tcp)"},
		{"tcp/443", "(protocol tcp (number 443))"},
		{"tcp/https", "(protocol tcp (word https))"},
		{"tcp/{ 80, 8000-8999, }", "(protocol tcp (set (number 80) (range (number 8000) (number 8999))))"},
		{"tcp/any except 25", "(protocol tcp (except (any) (number 25)))"},
		{"tcp/$app", "(protocol tcp (name app))"},
		{"tcp/{ 80 } except 25", "(protocol tcp (except (set (number 80)) (number 25)))"},
		{"tcp/well-known", "(protocol tcp (word well-known))"},
		{"tcp/audit", "(protocol tcp (word audit))"},
		{"any except { tcp/25, udp }", "(except (any) (set (protocol tcp (number 25)) (word udp)))"},
		{"any except tcp/25", "(except (any) (protocol tcp (number 25)))"},
		{"protocol 47", "(protocol #47)"},
		{"esp", "(word esp)"},
		{"icmp/echo-request", "(protocol icmp (word echo-request))"},
		{"icmp/3", "(protocol icmp (number 3))"},
		{"{ tcp/53, { udp/53, ntp } }", "(set (protocol tcp (number 53)) (set (protocol udp (number 53)) (word ntp)))"},
		{"{ tcp/any except 1, udp }", "(set (protocol tcp (except (any) (number 1))) (word udp))"},
		{"{ }", "(set)"},
		{"tcp/999999999999999999999999999999", "(protocol tcp (number 999999999999999999999999999999))"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		read_as(*state, talloc_asprintf(*state, "allow in %s from any", cases[i][0]),
			talloc_asprintf(*state, "rule allow in %s from(any)", cases[i][1]));
}

static void addresses_are_read(void **state)
{
	static const char *const cases[][2] = {
		{"192.0.2.7", "(address 192.0.2.7)"},
		{"10.0.0.0/8 except 10.66.0.0/16", "(except (address 10.0.0.0/8) (address 10.66.0.0/16))"},
		{"192.0.2.10-192.0.2.99", "(range (address 192.0.2.10) (address 192.0.2.99))"},
		{"::/0", "(address ::/0)"},
		{"2001:db8::1-2001:db8::ff", "(range (address 2001:db8::1) (address 2001:db8::ff))"},
		{"::ffff:1.2.3.4", "(address ::ffff:1.2.3.4)"},
		{"2001:db8::1 - 2001:db8::ff", "(range (address 2001:db8::1) (address 2001:db8::ff))"},
		{"\"a.example\"", "(string a.example)"},
		{"file \"x.txt\"", "(file x.txt)"},
		{"{ $a, any except $b, { }, }", "(set (name a) (except (any) (name b)) (set))"},
		{"fe80::", "(address fe80::)"},
		{"10.1", "(address 10.1)"},
		{"office", "(word office)"},
		{"10.0.0.256/33", "(address 10.0.0.256/33)"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		read_as(*state, talloc_asprintf(*state, "addresses a = %s", cases[i][0]),
			talloc_asprintf(*state, "addresses (word a) %s", cases[i][1]));
}

static void clauses_stand_in_any_order(void **state)
{
	read_as(*state,
		"allow out udp by user a log to any limit 3/day source port 53 reason \"r\" on eth0 from any limit 9 connections "
		"per source",
		"rule allow out (word udp) on(word eth0) from(any) source-port(number 53) to(any) by(user a) limit[3/day burst "
		"-] "
		"connections[9/- burst - per source] log[] reason[r]");
}

static void limits_are_read(void **state)
{
	read_as(*state, "allow in any limit 10/minute burst 20 per source",
		"rule allow in (any) limit[10/minute burst 20 per source]");
	read_as(*state, "deny in any above 10/second per source burst 5",
		"rule deny in (any) above[10/second burst 5 per source]");
}

static void interfaces_are_read(void **state)
{
	read_as(*state, "allow in any on { eth0.100, \"wg*\", in, lo }",
		"rule allow in (any) on(set (word eth0.100) (string wg*) (word in) (word lo))");
	read_as(*state, "allow forward any arriving on docker0 leaving on any except eth0",
		"rule allow forward (any) arriving(word docker0) leaving(except (any) (word eth0))");
}

static void words_of_the_language_are_names_of_the_world(void **state)
{
	read_as(*state, "allow out any by { user { audit, log, 33 }, group user, unit nginx.service }",
		"rule allow out (any) by(set (user (word audit) (word log) (number 33)) (group user) (unit nginx.service))");
	read_as(*state, "allow out any by unit getty@tty1.service", "rule allow out (any) by(unit getty@tty1.service)");
	read_as(*state, "allow out any by any except user root", "rule allow out (any) by(except (any) (user root))");
	read_as(*state, "allow out any by user \"any\"", "rule allow out (any) by(user any)");
}

static void lines_go_on(void **state)
{
	const char *tree = "rule allow in (protocol tcp (set (number 80) (number 443)))";
	static const char *const texts[] = {
		"allow in tcp/{ 80,\n443 }",
		"allow in tcp/{\n# web\n80 # http\n, 443\n\n}\n",
		"allow in \\\n tcp/{80,443}",
		"allow in tcp/{ 80,\r\n443 }\r\n",
		"\n\n;; allow in tcp/{80,443} ;\n;",
		"allow in tcp/{80,443}#",
		"allow in \\ # why\n tcp/{80,443}",
	};
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		read_as(*state, texts[i], tree);
	read_as(*state, "", "");
	read_as(*state, "# \xc3\xa9\xe2\x82\xac", "");
}

static void blocks_of_hosts_hold_statements(void **state)
{
	read_as(*state, "hosts \"a*\", # web\n \"b\" { allow in ssh; mode audit\n deny in tcp/{ 1,\n2 } }\ndefault in deny",
		"hosts (string a*) (string b)\n  rule allow in (word ssh)\n  mode audit\n  rule deny in (protocol tcp (set "
		"(number 1) (number 2)))\ndefault deny  0");
	read_as(*state, "hosts \"a\" { }", "hosts (string a)");
	read_as(*state, "hosts \"a\" { hosts \"b\" { mode audit } }", "hosts (string a)\n  hosts (string b)\n  mode audit");
}

static void span_of_a_statement_has_no_comment(void **state)
{
	struct reading reading = read_policy(*state, "  allow in ssh   # why\n");
	assert_string_equal(span_text(*state, reading.tree->statements->span), "allow in ssh");
	assert_int_equal(reading.tree->statements->span.end, 14);
}

/* The statements around a mistake are read, whatever it left open. */
static void mistake_does_not_hide_the_next(void **state)
{
	static const char *const mistakes[] = {"alow in ssh", "allow in tcp/{ 80, 443", "addresses a = { $b,", "include \"x",
		"allow in ssh on", "ports p 80", "allow in ssh from { 1.2.3.4", "allow in (ssh)", "}", "allow in tcp/{ { { 1",
		"hosts \"x\"", "hosts { }", "allow ssh", "allow in ssh on eth0,", "allow in \xff\xfe\x01",
		"ports a = { 80,\n\n# no end\n"};
	for (size_t i = 0; i < sizeof mistakes / sizeof *mistakes; i++) {
		struct reading reading = read_policy(*state,
			talloc_asprintf(*state, "mode audit\n%s\ndefault out deny\n%s\nexpect allow in ntp\nalow in ssh\n",
				mistakes[i], mistakes[i]));
		assert_string_equal(reading.text, "mode audit\ndefault deny  1\nexpect allow in (word ntp)");
		if (count_errors(&reading) != 3)
			fail_msg("`%s`: %zu errors", mistakes[i], count_errors(&reading));
	}
}

static void mistake_in_a_block_stays_there(void **state)
{
	struct reading reading = read_policy(
		*state, "hosts \"a\" {\n alow in ssh\n mode audit\n allow in tcp/{ 1\n mode in audit\n}\ndefault in deny");
	assert_string_equal(reading.text, "hosts (string a)\n  mode audit\n  mode 0 audit\ndefault deny  0");
	assert_int_equal(count_errors(&reading), 2);
}

static char *repeated(void *ctx, const char *before, const char *piece, size_t count, const char *behind)
{
	size_t length = strlen(piece);
	char *text = talloc_size(ctx, strlen(before) + count * length + strlen(behind) + 1), *at = stpcpy(text, before);
	for (size_t i = 0; i < count; i++, at += length)
		memcpy(at, piece, length);
	strcpy(at, behind);
	return text;
}

static void depth_has_a_bound(void **state)
{
	struct reading reading =
		read_policy(*state, repeated(*state, "allow in ", "{", 64, repeated(*state, "ssh", "}", 64, "")));
	assert_int_equal(count_errors(&reading), 0);
	reading = read_policy(*state, repeated(*state, "allow in ", "{", 100000, "ssh\nmode audit"));
	assert_int_equal(count_errors(&reading), 1);
	assert_non_null(strstr(reading.diagnostics->first->message, "nested more than 64 deep"));
	assert_string_equal(reading.text, "mode audit");
	reading = read_policy(*state, repeated(*state, "", "hosts \"a\" {\n", 100000, ""));
	assert_in_range(count_errors(&reading), 1, 51);
}

static void length_has_none(void **state)
{
	struct reading reading = read_policy(*state, repeated(*state, "allow in ", "a", 1000000, ""));
	assert_int_equal(count_errors(&reading), 0);
	reading = read_policy(*state, repeated(*state, "allow in tcp/{", "1,", 200000, "}"));
	assert_int_equal(count_errors(&reading), 0);
	reading = read_policy(*state, repeated(*state, "", "mode audit;", 20000, ""));
	assert_int_equal(count_errors(&reading), 0);
	reading = read_policy(*state, repeated(*state, "al", "o", 1000000, " in ssh"));
	assert_true(strlen(reading.diagnostics->first->message) < 200);
	reading = read_policy(*state, repeated(*state, "mode audit", "\r", 1000000, "x"));
	assert_int_equal(count_errors(&reading), 1);
}

static struct match_node *ask(void *ctx, const char *text, struct diagnostics *diagnostics)
{
	struct source *source;
	struct match_node *question = NULL;
	assert_int_equal(source_new(ctx, "<argument>", text, strlen(text), false, &source), 0);
	assert_int_equal(parse_question(ctx, source, diagnostics, &question), 0);
	return question;
}

static void question_is_read(void **state)
{
	struct diagnostics *diagnostics = diagnostics_new(*state);
	struct match_node *question = ask(*state,
		"out tcp/443 from 192.0.2.1 source port 50000 to 198.51.100.7 by { user a, group b, unit c }", diagnostics);
	char *text;
	size_t size;
	assert_non_null(question);
	FILE *out = open_memstream(&text, &size);
	dump_match(out, question);
	fclose(out);
	assert_string_equal(text,
		"out (protocol tcp (number 443)) from(address 192.0.2.1) source-port(number 50000) to(address 198.51.100.7) "
		"by(set (user a) (group b) (unit c))");
	free(text);
	assert_non_null(ask(*state, "in ssh\n", diagnostics));
	assert_int_equal(diagnostics->errors, 0);
}

int main(void)
{
#define TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(statements_are_read),
		TEST(traffic_is_read),
		TEST(addresses_are_read),
		TEST(clauses_stand_in_any_order),
		TEST(limits_are_read),
		TEST(interfaces_are_read),
		TEST(words_of_the_language_are_names_of_the_world),
		TEST(lines_go_on),
		TEST(blocks_of_hosts_hold_statements),
		TEST(span_of_a_statement_has_no_comment),
		TEST(mistake_does_not_hide_the_next),
		TEST(mistake_in_a_block_stays_there),
		TEST(depth_has_a_bound),
		TEST(length_has_none),
		TEST(question_is_read),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
