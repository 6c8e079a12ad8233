/*
 * Which packets a lowered rule matches, and what becomes of them.
 */
#include "tests/unit/netfilter.h"

static void strictest_wins(void **state)
{
	(void)state;
	LOWER(r, "default in deny\nallow in tcp/1-100\nreject in tcp/2-3\ndeny in tcp/3\nallow in tcp/4\nallow in udp/1\n");
	PASSES_HERE(r, IN(6, 1, V4));
	assert_true(send_through(r, IN(6, 2, V4)).rejected);
	STOPS_HERE(r, IN(6, 3, V4));
	assert_false(send_through(r, IN(6, 3, V4)).rejected);
	STOPS_HERE(r, IN(6, 101, V4));
	counts_at_rule(&r_world, r, IN(6, 1, V6), 0);
	counts_at_rule(&r_world, r, IN(6, 2, V6), 1);
	counts_at_rule(&r_world, r, IN(6, 3, V6), 2);
	counts_at_rule(&r_world, r, IN(6, 4, V6), 0); /* the first of two */
	counts_at_default(&r_world, r, IN(17, 2, V4), DIRECTION_IN);
	CLOSE(r);
}

static void defaults_and_unmanaged(void **state)
{
	(void)state;
	LOWER(r, "default in allow\ndefault forward reject\ndeny in tcp/23\n");
	PASSES_HERE(r, IN(6, 22, V4));
	STOPS_HERE(r, IN(6, 23, V4));
	assert_true(send_through(r, FORWARD(17, 53, V6)).rejected);
	for (size_t i = 0; i < r->chain_count; i++) {
		assert_int_not_equal(r->chains[i].hook, HOOK_OUTPUT);
		assert_int_equal(r->chains[i].policy_drop, r->chains[i].hook == HOOK_FORWARD);
	}
	CLOSE(r);
}

static void states(void **state)
{
	(void)state;
	LOWER(r, "default in deny\nallow in tcp/21\nallow in icmpv6/nd-neighbor-solicit\n");
	struct fate invalid = send_through(r, with_state(IN(6, 21, V4), INVALID));
	PASSES_HERE(r, with_state(IN(6, 9, V4), ESTABLISHED));
	PASSES_HERE(r, with_state(IN(1, 3, V4), RELATED));
	PASSES_HERE(r, with_state(IN(58, 1, V6), RELATED));
	STOPS_HERE(r, with_state(IN(1, 3, V6), RELATED)); /* ICMP is no error over IPv6 */
	STOPS_HERE(r, with_state(IN(58, 1, V4), RELATED));
	STOPS_HERE(r, with_state(IN(6, 20, V4), RELATED)); /* what a helper expects starts a connection */
	PASSES_HERE(r, with_state(IN(6, 21, V4), RELATED));
	PASSES_HERE(r, with_state(IN(58, 135, V6), UNTRACKED));
	assert_false(invalid.passed);
	counts_at(&invalid, "invalid-", "in");
	CLOSE(r);
}

static void loopback_is_open(void **state)
{
	(void)state;
	LOWER(r, "default in deny\ndefault out deny\ndeny in any\ndeny out any\n");
	PASSES_HERE(r, on(IN(6, 1, V4), "lo"));
	PASSES_HERE(r, on(OUT(6, 1, V6), "lo"));
	STOPS_HERE(r, on(IN(6, 1, V4), "lo0"));
	PASSES_HERE(r, with_state(on(IN(6, 1, V4), "lo"), INVALID));
	PASSES_HERE(r, OUT(17, 1, "192.0.2.1", "127.0.0.0"));
	PASSES_HERE(r, OUT(17, 1, "192.0.2.1", "127.255.255.255"));
	STOPS_HERE(r, OUT(17, 1, "192.0.2.1", "126.255.255.255"));
	STOPS_HERE(r, OUT(17, 1, "192.0.2.1", "128.0.0.0"));
	PASSES_HERE(r, OUT(17, 1, "2001:db8::1", "::1"));
	STOPS_HERE(r, OUT(17, 1, "2001:db8::1", "::2"));
	STOPS_HERE(r, IN(17, 1, "192.0.2.1", "127.0.0.1")); /* arriving, the address alone is no loopback */
	CLOSE(r);
}

static void rules_that_name_loopback(void **state)
{
	(void)state;
	LOWER(r, "default in deny\ndefault out deny\ndeny out tcp/25 on lo\nreject in tcp/80 on { lo, eth0 }\ndeny out udp on "
		 "\"l*\"\nallow out tcp/25\n");
	STOPS_HERE(r, on(OUT(6, 25, V4), "lo"));
	STOPS_HERE(r, OUT(6, 25, "127.0.0.1", "127.0.0.2"));
	STOPS_HERE(r, OUT(6, 25, "::1", "::1"));
	PASSES_HERE(r, on(OUT(6, 26, V4), "lo"));
	PASSES_HERE(r, on(OUT(17, 26, V4), "lo")); /* a pattern does not name it */
	PASSES_HERE(r, OUT(6, 25, V4));
	PASSES_HERE(r, with_state(on(OUT(6, 25, V4), "lo"), INVALID));
	assert_true(send_through(r, on(IN(6, 80, V4), "lo")).reset);
	assert_true(send_through(r, on(IN(6, 80, V4), "eth0")).reset);
	PASSES_HERE(r, on(IN(6, 81, V4), "lo"));
	CLOSE(r);
}

static void ports_to_the_boundary(void **state)
{
	(void)state;
	LOWER(r, "default in deny\nallow in tcp/{ 8080, 9000-9099 } except 9090\nallow in udp/65535\nallow in sctp/0\nallow in "
		 "udp/100-200 source port 1024-65535\n");
	static const unsigned yes[] = {8080, 9000, 9089, 9091, 9099}, no[] = {0, 8079, 8081, 8999, 9090, 9100, 65535};
	for (size_t i = 0; i < sizeof yes / sizeof *yes; i++)
		PASSES_HERE(r, IN(6, yes[i], V4));
	for (size_t i = 0; i < sizeof no / sizeof *no; i++)
		STOPS_HERE(r, IN(6, no[i], V6));
	PASSES_HERE(r, IN(17, 65535, V6));
	STOPS_HERE(r, IN(17, 65534, V6));
	PASSES_HERE(r, IN(132, 0, V4));
	STOPS_HERE(r, IN(132, 1, V4));
	PASSES_HERE(r, source_port(IN(17, 100, V4), 1024));
	STOPS_HERE(r, source_port(IN(17, 100, V4), 1023));
	STOPS_HERE(r, source_port(IN(17, 99, V4), 1024));
	STOPS_HERE(r, source_port(IN(17, 201, V4), 1024));
	CLOSE(r);
}

static void protocols_and_types(void **state)
{
	(void)state;
	LOWER(r, "default in deny\nallow in { esp, protocol 47, tcp/53, udp/53 }\nallow in icmp/echo-request\nallow in icmpv6/{ "
		 "echo-request, 133-136 }\n");
	PASSES_HERE(r, IN(50, 0, V4));
	PASSES_HERE(r, IN(47, 0, V6));
	STOPS_HERE(r, IN(51, 0, V6));
	PASSES_HERE(r, IN(6, 53, V6));
	PASSES_HERE(r, IN(17, 53, V4));
	STOPS_HERE(r, IN(132, 53, V4));
	PASSES_HERE(r, IN(1, 8, V4));
	STOPS_HERE(r, IN(1, 0, V4));
	STOPS_HERE(r, IN(1, 8, V6));
	PASSES_HERE(r, IN(58, 128, V6));
	PASSES_HERE(r, IN(58, 133, V6));
	PASSES_HERE(r, IN(58, 136, V6));
	STOPS_HERE(r, IN(58, 137, V6));
	STOPS_HERE(r, IN(58, 132, V6));
	STOPS_HERE(r, IN(58, 128, V4));
	CLOSE(r);
}

static void any_except_traffic(void **state)
{
	(void)state;
	LOWER(r, "default out deny\nallow out any except { tcp/25, udp, icmp, esp }\n");
	PASSES_HERE(r, OUT(6, 24, V4));
	STOPS_HERE(r, OUT(6, 25, V6));
	STOPS_HERE(r, OUT(17, 53, V4));
	PASSES_HERE(r, OUT(132, 25, V4));
	STOPS_HERE(r, OUT(1, 8, V4));
	PASSES_HERE(r, OUT(58, 128, V6));
	PASSES_HERE(r, OUT(58, 128, V4)); /* odd, but `any` holds it */
	PASSES_HERE(r, OUT(0, 0, V6));
	PASSES_HERE(r, OUT(255, 0, V4));
	STOPS_HERE(r, OUT(50, 0, V6));
	CLOSE(r);
}

static void addresses_of_both_families(void **state)
{
	(void)state;
	LOWER(r, "default in deny\naddresses office = { 203.0.113.0/24, 2001:db8:10::/48, 192.0.2.10-192.0.2.99 } except "
		 "203.0.113.128\n"
		 "allow in tcp/22 from $office\nallow in tcp/80 from 10.128.0.0/9\nallow in tcp/81 from any except "
		 "10.0.0.0/8\nallow in tcp/82 to 2001:db8::/33\n");
	PASSES_HERE(r, IN(6, 22, "203.0.113.255", "10.0.0.1"));
	STOPS_HERE(r, IN(6, 22, "203.0.113.128", "10.0.0.1"));
	STOPS_HERE(r, IN(6, 22, "203.0.114.0", "10.0.0.1"));
	PASSES_HERE(r, IN(6, 22, "192.0.2.10", "10.0.0.1"));
	STOPS_HERE(r, IN(6, 22, "192.0.2.9", "10.0.0.1"));
	PASSES_HERE(r, IN(6, 22, "192.0.2.99", "10.0.0.1"));
	STOPS_HERE(r, IN(6, 22, "192.0.2.100", "10.0.0.1"));
	PASSES_HERE(r, IN(6, 22, "2001:db8:10:ffff::1", "::2"));
	STOPS_HERE(r, IN(6, 22, "2001:db8:11::", "::2"));
	PASSES_HERE(r, IN(6, 80, "10.128.0.0", "10.0.0.1"));
	STOPS_HERE(r, IN(6, 80, "10.127.255.255", "10.0.0.1"));
	STOPS_HERE(r, IN(6, 80, "11.0.0.0", "10.0.0.1"));
	STOPS_HERE(r, IN(6, 80, "a80::", "::2"));
	PASSES_HERE(r, IN(6, 81, "11.0.0.0", "10.0.0.1"));
	STOPS_HERE(r, IN(6, 81, "10.255.255.255", "10.0.0.1"));
	PASSES_HERE(r, IN(6, 81, "::2", "::3"));
	PASSES_HERE(r, IN(6, 82, "::2", "2001:db8:7fff:ffff::"));
	STOPS_HERE(r, IN(6, 82, "::2", "2001:db8:8000::"));
	CLOSE(r);
}

/* Its ends differ in some low bits only, as a network's do in all. */
static void range_that_is_almost_a_network(void **state)
{
	(void)state;
	LOWER(r, "default in deny\nallow in tcp/1 from { 198.18.0.0-198.18.0.5 }\nallow in tcp/2 from 2001:db8::8-2001:db8::e\n");
	PASSES_HERE(r, IN(6, 1, "198.18.0.2", "10.0.0.1"));
	PASSES_HERE(r, IN(6, 1, "198.18.0.5", "10.0.0.1"));
	STOPS_HERE(r, IN(6, 1, "198.18.0.6", "10.0.0.1"));
	PASSES_HERE(r, IN(6, 2, "2001:db8::9", "::1"));
	PASSES_HERE(r, IN(6, 2, "2001:db8::e", "::1"));
	STOPS_HERE(r, IN(6, 2, "2001:db8::f", "::1"));
	CLOSE(r);
}

static void interfaces(void **state)
{
	(void)state;
	LOWER(r, "default in deny\nallow in tcp/1 on { eth0, \"wg*\", eth1 }\nallow in tcp/2 on any except { eth0, \"wg*\" "
		 "}\nallow in tcp/3 on \"abcdefghijklmno*\"\n"
		 "allow in tcp/4 on any except { \"a*\", \"b*\", \"c*\", \"d*\", \"e*\", \"f*\", \"g*\", \"h*\", \"i*\", tun0 "
		 "}\n");
	PASSES_HERE(r, on(IN(6, 1, V4), "eth0"));
	PASSES_HERE(r, on(IN(6, 1, V4), "eth1"));
	PASSES_HERE(r, on(IN(6, 1, V4), "wg"));
	PASSES_HERE(r, on(IN(6, 1, V6), "wg12"));
	STOPS_HERE(r, on(IN(6, 1, V6), "w"));
	STOPS_HERE(r, on(IN(6, 1, V6), "eth01"));
	PASSES_HERE(r, on(IN(6, 2, V4), "eth1"));
	STOPS_HERE(r, on(IN(6, 2, V4), "eth0"));
	STOPS_HERE(r, on(IN(6, 2, V4), "wg0"));
	PASSES_HERE(r, on(IN(6, 3, V4), "abcdefghijklmno"));
	STOPS_HERE(r, on(IN(6, 3, V4), "abcdefghijklmn"));
	PASSES_HERE(r, on(IN(6, 4, V4), "tun1"));
	STOPS_HERE(r, on(IN(6, 4, V4), "tun0"));
	STOPS_HERE(r, on(IN(6, 4, V4), "i0"));
	STOPS_HERE(r, on(IN(6, 4, V4), "a"));
	CLOSE(r);
}

static void forwarded(void **state)
{
	(void)state;
	LOWER(r, "default forward deny\nallow forward tcp/80 arriving on docker0 leaving on \"eth*\"\n");
	PASSES_HERE(r, through(FORWARD(6, 80, V4), "docker0", "eth3"));
	STOPS_HERE(r, through(FORWARD(6, 80, V4), "eth3", "docker0"));
	STOPS_HERE(r, through(FORWARD(6, 80, V4), "docker0", "wg0"));
	/* a segment of a connection that stood before the first apply */
	PASSES_HERE(r, with_flags(FORWARD(6, 81, V6), ACK));
	STOPS_HERE(r, with_flags(FORWARD(6, 81, V6), ACK | SYN));
	STOPS_HERE(r, with_flags(FORWARD(6, 81, V6), SYN));
	STOPS_HERE(r, with_state(with_flags(FORWARD(6, 81, V6), ACK), INVALID));
	assert_int_equal(set_named(r, "standing")->kind, SET_TIMED);
	assert_int_equal(set_named(r, "standing")->timeout_ms, 300000);
	CLOSE(r);
}

static void processes(void **state)
{
	(void)state;
	LOWER(r, "default out deny\nallow out tcp/1 by user www-data\nallow out tcp/2 by { user 7, user 8, group www-data "
		 "}\nallow out tcp/3 by any except user root\n"
		 "allow out tcp/4 by any except { user root, group 5 }\n");
	PASSES_HERE(r, by(OUT(6, 1, V4), 33, 1));
	STOPS_HERE(r, by(OUT(6, 1, V4), 32, 33));
	STOPS_HERE(r, OUT(6, 1, V4));
	PASSES_HERE(r, by(OUT(6, 2, V4), 7, 1));
	PASSES_HERE(r, by(OUT(6, 2, V4), 8, 1));
	PASSES_HERE(r, by(OUT(6, 2, V4), 1, 33));
	STOPS_HERE(r, by(OUT(6, 2, V4), 9, 1));
	STOPS_HERE(r, OUT(6, 2, V4));
	PASSES_HERE(r, by(OUT(6, 3, V4), 1, 0));
	STOPS_HERE(r, by(OUT(6, 3, V4), 0, 1));
	PASSES_HERE(r, OUT(6, 3, V4)); /* of no process */
	STOPS_HERE(r, by(OUT(6, 4, V4), 1, 5));
	STOPS_HERE(r, by(OUT(6, 4, V4), 0, 1));
	PASSES_HERE(r, by(OUT(6, 4, V4), 1, 1));
	PASSES_HERE(r, OUT(6, 4, V4));
	CLOSE(r);
}

static void answers_of_reject(void **state)
{
	(void)state;
	LOWER(r, "default in reject\n");
	struct fate syn = send_through(r, IN(6, 1, V4)), ack = send_through(r, with_flags(IN(6, 1, V4), ACK)),
		    udp = send_through(r, IN(17, 1, V6)), both = send_through(r, with_flags(IN(6, 1, V4), SYN | ACK));
	assert_true(syn.rejected && syn.reset);
	assert_true(!ack.rejected && !ack.passed);
	assert_true(!both.rejected && !both.passed);
	assert_true(udp.rejected && !udp.reset);
	CLOSE(r);
}

/* The answer of the kernel leaves, and nothing that a process made up. */
static void answers_leave(void **state)
{
	(void)state;
	LOWER(r, "default in reject\ndefault out deny\n");
	struct sent reset = with_state(with_flags(OUT(6, 1, V4), 0x14), RELATED), error = with_state(OUT(1, 3, V4), INVALID),
		    error6 = with_state(OUT(58, 1, V6), INVALID);
	PASSES_HERE(r, reset);
	PASSES_HERE(r, error);
	PASSES_HERE(r, error6);
	STOPS_HERE(r, by(reset, 33, 33));
	STOPS_HERE(r, by(error, 33, 33));
	STOPS_HERE(r, with_state(OUT(1, 8, V4), INVALID));
	STOPS_HERE(r, with_flags(reset, SYN));
	CLOSE(r);
}

/* Whether a line is over its limit is asked where it decides, not by the line before it that says nothing. */
/* Long texts are cut, whatever the number of bytes before the letter that does not fit. */
static void refused(const char *text, const char *message)
{
	LOAD_TEXT(world, text);
	struct ruleset *ruleset = (struct ruleset *)1;
	assert_non_null(world.policy);
	assert_int_equal(policy_lower(world.ctx, world.policy, "portpolicy", world.diagnostics, &ruleset), 1);
	assert_null(ruleset);
	assert_int_equal(world.diagnostics->errors, 1);
	const struct diagnostic *one = world.diagnostics->first;
	while (one->severity != SEVERITY_ERROR)
		one = one->next;
	assert_non_null(strstr(one->message, message));
	assert_int_equal(span_position(one->span).line, 2);
	talloc_free(world.ctx);
}

static void what_waits_is_refused(void **state)
{
	(void)state;
	refused("default out deny\nallow out tcp/443 to \"api.example.com\"\n", "host names");
	refused("default out deny\nallow out tcp/443 by unit nginx.service\n", "by unit");
	refused("default in deny\nallow in tcp/443 limit 20 connections\n", "connections");
	refused("default in deny\nallow in tcp/443 limit 1/day burst 300000\n", "584 years");
}

static const struct chain *swapped(const struct ruleset *ruleset, enum chain_hook hook)
{
	for (size_t i = 0; i < ruleset->chain_count; i++)
		if (ruleset->chains[i].hook == hook)
			return chain_named(ruleset, ruleset->chains[i].rules[1].steps[1].object);
	return NULL;
}

static void content_names(void **state)
{
	(void)state;
	static const char text[] =
		"default in deny\ndefault out deny\nallow in tcp/22 from { 10.0.0.0/8, 192.0.2.7 }\nallow out tcp/{ 80, 443 }\n";
	LOWER(a, text);
	LOWER(b, text);
	LOWER(c,
		"default in deny\ndefault out deny\nallow in tcp/22 from { 10.0.0.0/8, 192.0.2.8 }\nallow out tcp/{ 80, 443 }\n");
	assert_string_equal(ruleset_text(a_world.ctx, a), ruleset_text(b_world.ctx, b));
	assert_string_not_equal(swapped(a, HOOK_INPUT)->name, swapped(c, HOOK_INPUT)->name);
	assert_string_equal(swapped(a, HOOK_OUTPUT)->name, swapped(c, HOOK_OUTPUT)->name);
	CLOSE(a);
	CLOSE(b);
	CLOSE(c);
}

static void sets_are_shared(void **state)
{
	(void)state;
	LOWER(r, "default in deny\naddresses bad = { 10.0.0.1, 10.0.0.3, 2001:db8::/32, ::5 }\ndeny in tcp from $bad\nallow in "
		 "udp from $bad\nallow in tcp/{ 80, 443 }\nallow in udp/{ 443, 80 }\n");
	assert_int_equal(r->set_count, 3);
	for (size_t i = 0; i < r->set_count; i++)
		assert_non_null(r->sets[i].origin);
	CLOSE(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(strictest_wins),
		cmocka_unit_test(defaults_and_unmanaged),
		cmocka_unit_test(states),
		cmocka_unit_test(loopback_is_open),
		cmocka_unit_test(rules_that_name_loopback),
		cmocka_unit_test(ports_to_the_boundary),
		cmocka_unit_test(protocols_and_types),
		cmocka_unit_test(any_except_traffic),
		cmocka_unit_test(addresses_of_both_families),
		cmocka_unit_test(range_that_is_almost_a_network),
		cmocka_unit_test(interfaces),
		cmocka_unit_test(forwarded),
		cmocka_unit_test(processes),
		cmocka_unit_test(answers_of_reject),
		cmocka_unit_test(answers_leave),
		cmocka_unit_test(what_waits_is_refused),
		cmocka_unit_test(content_names),
		cmocka_unit_test(sets_are_shared),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
