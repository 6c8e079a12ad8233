/*
 * What a lowered line does beside its verdict: it counts, logs, and has limits.
 */
#include "tests/unit/netfilter.h"

static void audit_lets_through(void **state)
{
	(void)state;
	LOWER(r, "mode in audit\ndefault in reject\ndeny in tcp/23\nallow in tcp/22\n");
	struct fate denied = send_through(r, IN(6, 23, V4)), rest = send_through(r, IN(6, 24, V4)),
		    allowed = send_through(r, IN(6, 22, V4)), invalid = send_through(r, with_state(IN(6, 22, V4), INVALID));
	assert_true(denied.passed && rest.passed && allowed.passed && invalid.passed);
	assert_int_equal(denied.log_count, 1);
	assert_non_null(strstr(denied.logs[0], "portpolicy in audit-deny "));
	assert_int_equal(rest.log_count, 1);
	assert_int_equal(allowed.log_count, 0);
	counts_at(&denied, "hit-", r_world.policy->rules[0].id);
	counts_at(&rest, "hit-", r_world.policy->directions[DIRECTION_IN].id);
	counts_at(&invalid, "invalid-", "in");
	CLOSE(r);
}

static void limits_are_asked_once(void **state)
{
	(void)state;
	LOWER(r, "default out deny\nallow out { tcp/80-81, udp/80 } on { \"e*\", \"et*\", eth1 } by any except user root limit "
		 "10/second\nallow out tcp/81\n"
		 "deny out tcp/81-82 above 5/minute\nallow out tcp/82\n");
	struct fate within = send_through(r, by(OUT(6, 80, V4), 1, 1)), above = send_through(r, over(by(OUT(6, 80, V4), 1, 1))),
		    root = send_through(r, by(OUT(6, 80, V4), 0, 0));
	assert_true(within.passed && within.limits == 1);
	assert_true(!above.passed && above.limits == 1);
	assert_true(!root.passed && root.limits == 0);
	PASSES_HERE(r, OUT(6, 82, V4));
	STOPS_HERE(r, over(OUT(6, 82, V4)));
	counts_at_rule(&r_world, r, over(OUT(6, 82, V4)), 2);
	counts_at_rule(&r_world, r, OUT(6, 82, V4), 3);
	CLOSE(r);
}

static void over_a_limit_another_allows(void **state)
{
	(void)state;
	LOWER(r, "default in deny\nallow in tcp/80-81 limit 10/second\nallow in tcp/81\n");
	STOPS_HERE(r, over(IN(6, 80, V4)));
	PASSES_HERE(r, over(IN(6, 81, V4)));
	counts_at_rule(&r_world, r, IN(6, 81, V4), 0);
	counts_at_rule(&r_world, r, over(IN(6, 81, V4)), 1);
	CLOSE(r);
}

static void sources_are_told_apart(void **state)
{
	(void)state;
	LOWER(r, "default in deny\nallow in tcp/22 limit 10/minute burst 20 per source\ndeny in udp above 1/day burst 3 per "
		 "source\nallow in udp\n");
	struct fate v4 = send_through(r, IN(6, 22, "10.1.2.3", "10.0.0.1")),
		    v6 = send_through(r, IN(6, 22, "2001:db8:1:2:3:4:5:6", "::2"));
	bool is_v6;
	assert_true(v4.passed && v6.passed && v4.meter_count == 1 && v6.meter_count == 1);
	assert_true(v4.meter_keys[0] == address("10.1.2.3", &is_v6) && v6.meter_keys[0] == address("2001:db8:1:2::", &is_v6));
	assert_string_not_equal(v4.meters[0], v6.meters[0]);
	assert_true(set_named(r, v4.meters[0])->timeout_ms >= 2 * 60 * 1000);
	STOPS_HERE(r, over(IN(6, 22, V4)));
	PASSES_HERE(r, IN(17, 1, V6));
	struct fate denied = send_through(r, over(IN(17, 1, V6)));
	assert_true(!denied.passed && denied.meter_count == 1);
	assert_true(set_named(r, denied.meters[0])->timeout_ms >= (uint64_t)3 * 86400 * 1000);
	CLOSE(r);
}

static void no_token_for_what_is_denied(void **state)
{
	(void)state;
	LOWER(r, "default in deny\nallow in tcp/22 limit 10/minute\ndeny in tcp from 10.0.0.0/8\n");
	assert_int_equal(send_through(r, IN(6, 22, "10.0.0.1", "192.0.2.1")).limits, 0);
	assert_int_equal(send_through(r, IN(6, 22, "11.0.0.1", "192.0.2.1")).limits, 1);
	CLOSE(r);
}

static size_t logs_of(const struct ruleset *ruleset, struct sent sent, const char *word)
{
	struct fate fate = send_through(ruleset, sent);
	for (size_t i = 0; i < fate.log_count; i++)
		assert_non_null(strstr(fate.logs[i], word));
	return fate.log_count;
}

static void any_matching_line_logs_once(void **state)
{
	(void)state;
	LOWER(r, "default out deny log \"rest\"\ndeny out any except sctp\ndeny out tcp/443 by any except user root log "
		 "\"one\"\ndeny out tcp/400-500 log \"two\"\n"
		 "deny out udp/7 by user root log \"three\"\nallow out sctp/1 log \"four\"\n");
	assert_int_equal(logs_of(r, by(OUT(6, 443, V4), 1, 1), "one"), 1);
	assert_int_equal(logs_of(r, OUT(6, 443, V4), "one"), 1);
	assert_int_equal(logs_of(r, by(OUT(6, 443, V4), 0, 0), "two"), 1);
	assert_int_equal(logs_of(r, by(OUT(6, 444, V6), 1, 1), "two"), 1);
	assert_int_equal(logs_of(r, OUT(6, 444, V6), "two"), 1);
	assert_int_equal(logs_of(r, by(OUT(17, 7, V4), 0, 0), "three"), 1);
	assert_int_equal(logs_of(r, by(OUT(17, 7, V4), 1, 0), ""), 0);
	assert_int_equal(logs_of(r, OUT(17, 7, V4), ""), 0);
	assert_int_equal(logs_of(r, OUT(6, 399, V4), ""), 0);
	assert_int_equal(logs_of(r, OUT(132, 1, V4), "four"), 1);
	assert_int_equal(logs_of(r, OUT(132, 2, V4), "rest"), 1);
	counts_at_rule(&r_world, r, by(OUT(6, 443, V4), 1, 1), 0);
	CLOSE(r);
}

static void limited_lines_log_for_themselves(void **state)
{
	(void)state;
	LOWER(r, "default in deny\ndeny in tcp/1-5\ndeny in tcp above 5/minute log\n");
	struct fate silent = send_through(r, IN(6, 5, V4)), above = send_through(r, over(IN(6, 6, V4)));
	assert_int_equal(silent.limits, 0);
	assert_int_equal(silent.log_count, 0);
	assert_false(above.passed);
	counts_at(&above, "hit-", r_world.policy->rules[1].id);
	CLOSE(r);
}

static void suppressed_logs_count(void **state)
{
	(void)state;
	LOWER(r, "default in deny\ndeny in tcp/23 log\n");
	struct fate fate = send_through(r, over(IN(6, 23, V4)));
	assert_int_equal(fate.log_count, 0);
	assert_int_equal(fate.counter_count, 2);
	assert_non_null(strstr(fate.counters[1], "suppressed-"));
	assert_false(fate.passed);
	assert_int_equal(send_through(r, IN(6, 23, V4)).counter_count, 1);
	CLOSE(r);
}

static bool whole_utf8(const char *text)
{
	size_t length = strlen(text), start = length;
	while (start && ((unsigned char)text[start - 1] & 0xc0) == 0x80)
		start--;
	if (!start || (unsigned char)text[start - 1] < 0x80)
		return start == length;
	unsigned char lead = (unsigned char)text[start - 1];
	return length - start == (lead >= 0xf0 ? 3u : lead >= 0xe0 ? 2u : 1u);
}

static void texts_that_fit(void **state)
{
	(void)state;
	for (int shift = 0; shift < 4; shift++) {
		char text[512] = "default in deny\ndeny in tcp/23 log reason \"$xxx";
		size_t length = strlen(text) - 3 + (size_t)shift;
		for (int i = 0; i < 60; i++, length += 3)
			memcpy(text + length, "\xe2\x82\xac", 4);
		strcpy(text + length, "\"\n");
		LOWER(r, text);
		struct fate fate = send_through(r, IN(6, 23, V4));
		assert_true(strlen(fate.logs[0]) <= 127 && strlen(fate.logs[0]) > 123 && whole_utf8(fate.logs[0]));
		assert_null(strchr(fate.logs[0], '$'));
		for (size_t i = 0; i < r->chain_count; i++)
			for (size_t k = 0; k < r->chains[i].count; k++) {
				const char *comment = r->chains[i].rules[k].comment;
				assert_true(!comment || (strlen(comment) <= 128 && !strchr(comment, '"') && whole_utf8(comment)));
			}
		CLOSE(r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(audit_lets_through),
		cmocka_unit_test(limits_are_asked_once),
		cmocka_unit_test(over_a_limit_another_allows),
		cmocka_unit_test(sources_are_told_apart),
		cmocka_unit_test(no_token_for_what_is_denied),
		cmocka_unit_test(any_matching_line_logs_once),
		cmocka_unit_test(limited_lines_log_for_themselves),
		cmocka_unit_test(suppressed_logs_count),
		cmocka_unit_test(texts_that_fit),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
