/*
 * The text of a ruleset is what nft takes, and what nft makes of it is the ruleset.
 *
 * In a network namespace of its own the text goes to `nft -f`, and what the kernel then holds is compared with what would have
 * been installed. Without a namespace, or without nft, that is skipped.
 */
#include "portpolicy/kernel.h"
#include "tests/unit/lowered.h"
#include <sched.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

/* Root, or root of a user namespace; false where the machine allows neither. */
static bool own_namespace(void)
{
	if (unshare(CLONE_NEWNET) && unshare(CLONE_NEWUSER | CLONE_NEWNET))
		return false;
	return system("PATH=$PATH:/usr/sbin:/sbin nft list ruleset >/dev/null 2>&1") == 0;
}

static int nft(const char *arguments, const char *text)
{
	char command[128];
	snprintf(command, sizeof command, "PATH=$PATH:/usr/sbin:/sbin nft %s", arguments);
	FILE *pipe = popen(command, "w");
	assert_non_null(pipe);
	fputs(text, pipe);
	return pclose(pipe);
}

static void needs_namespace(void **state)
{
	if (!*(const bool *)*state)
		skip();
}

static void same_in_the_kernel(void *ctx, const struct ruleset *wanted)
{
	struct ruleset *observed;
	struct kernel *kernel;
	struct changes *changes;
	uint32_t generation;
	const char *problem = NULL;
	assert_int_equal(kernel_open(ctx, &kernel), 0);
	assert_int_equal(kernel_dump(ctx, kernel, wanted->table, &observed, &generation), 0);
	assert_int_equal(ruleset_difference(ctx, observed, wanted, &changes, &problem), 0);
	talloc_free(kernel);
	assert_int_equal(nft("-f -", "delete table inet portpolicy\n"), 0);
	assert_int_equal(changes->count, 0);
}

static void loads(const char *policy)
{
	LOWER(ruleset, policy);
	char *text = ruleset_text(ruleset_world.ctx, ruleset);
	assert_non_null(text);
	if (nft("-c -f -", text) || nft("-f -", text))
		fail_msg("%s", text);
	same_in_the_kernel(ruleset_world.ctx, ruleset);
	CLOSE(ruleset);
}

static void nothing_but_a_default(void **state)
{
	needs_namespace(state);
	loads("default in deny\n");
	loads("default out allow log\n");
	loads("default forward reject log \"no way\"\n");
	loads("mode audit\ndefault in reject\ndefault out deny\ndeny in tcp/23 log\n");
}

static void every_traffic(void **state)
{
	needs_namespace(state);
	loads("default in deny\nallow in { tcp/22, udp/53, sctp/1-9, esp, ah, gre, igmp, ospf, vrrp, protocol 200, icmp, icmpv6 "
	      "}\n"
	      "deny in any except { tcp/25, udp }\nallow in icmp/{ echo-request, 3-5, 255 }\nallow in icmpv6/{ echo-request, "
	      "133-136 }\nallow in icmpv6/1-4\n"
	      "allow in tcp/{ 0, 65535, 9000-9099 } source port { 1, 1024-65535 }\nallow in { tcp/any except 25, sctp/0 "
	      "}\nreject in { tcp/1, udp/1 } source port 2-3\n");
}

static void every_address(void **state)
{
	needs_namespace(state);
	loads("default in deny\nallow in tcp/1 from 192.0.2.7\nallow in tcp/2 from 10.128.0.0/9\nallow in tcp/3 from "
	      "192.0.2.10-192.0.2.99\n"
	      "allow in tcp/4 from { 0.0.0.0/1, 255.255.255.255 }\nallow in tcp/5 from any except { 10.0.0.0/8, fe80::/10 "
	      "}\nallow in tcp/6 to ::1\n"
	      "allow in tcp/7 to { ::, ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff }\nallow in tcp/8 to "
	      "2001:db8::1-2001:db8::ffff\nallow in tcp/9 to { 2001:db8::/33, ::5 }\n"
	      "allow in tcp/10 from 192.0.2.1 to 198.51.100.0/24\nallow in tcp/11 from 0.0.0.0/0\nallow in tcp/12 from ::/0\n");
}

static void every_interface_and_process(void **state)
{
	needs_namespace(state);
	loads("default in deny\ndefault out deny\ndefault forward deny\nallow in tcp/1 on { eth0, \"wg*\", eth1, lo }\nallow out "
	      "tcp/2 on any except { eth0, eth1, \"wg*\" }\n"
	      "allow in tcp/3 on \"abcdefghijklmno*\"\nallow in tcp/4 on \"abcdefghijklmn*\"\nallow forward tcp/5 arriving on "
	      "docker0 leaving on any except \"eth*\"\n"
	      "allow in tcp/6 on any except { \"a*\", \"b*\", \"c*\", \"d*\", \"e*\", \"f*\", \"g*\", \"h*\", \"i*\" }\n"
	      "allow out tcp/7 by user root\nallow out tcp/8 by { user 33, group 4294967294 }\ndeny out tcp/9 by any except { "
	      "user 7, group 3 } log\n"
	      "deny out tcp log \"all\"\ndeny out udp\nreject out any on lo by group 5\n");
}

static void every_limit_and_log(void **state)
{
	needs_namespace(state);
	loads("default in deny log\nallow in tcp/1 limit 10/minute per source\nallow in tcp/2 limit 3/day burst 200000 per "
	      "source\nallow in tcp/3 limit 5/hour burst 7\n"
	      "deny in udp/1 above 100/second per source log\nreject in udp/2 above 1/second log \"it's 100% of $money \\ {x} "
	      "#;\"\n"
	      "allow in tcp/4 limit 4/second burst 1000000000 per source\nallow in tcp/5 log reason \"\xc3\xa4\xe2\x82\xac "
	      "`$(x)` %s\"\n");
}

/* nft holds user numbers in the machine's order, and reads both ports or both addresses at once: the same meaning in other forms.
 */
static void said_otherwise(void **state)
{
	needs_namespace(state);
	LOWER(ruleset, "default out deny\nallow out udp/1 source port 2\nallow out udp/2 from 192.0.2.1 to 192.0.2.2\nallow out "
		       "udp/2 from ::1 to ::2\nallow out tcp/8 by { user 33, user 34, user 99, group 5, group 7 }\ndeny out tcp "
		       "by any except { user 1, user 2 }\n");
	assert_int_equal(nft("-c -f -", ruleset_text(ruleset_world.ctx, ruleset)), 0);
	CLOSE(ruleset);
}

/* What nft would refuse, the tests above would tell. */
static void nft_is_asked(void **state)
{
	needs_namespace(state);
	assert_int_not_equal(nft("-c -f - 2>/dev/null", "table inet portpolicy {\n\tchain input { nonsense }\n}\n"), 0);
	LOWER(wanted, "default in deny\nallow in tcp/80\n");
	LOWER(other, "default in deny\nallow in tcp/81\n");
	struct ruleset *observed;
	struct kernel *kernel;
	struct changes *changes;
	uint32_t generation;
	const char *problem;
	assert_int_equal(nft("-f -", ruleset_text(other_world.ctx, other)), 0);
	assert_int_equal(kernel_open(wanted_world.ctx, &kernel), 0);
	assert_int_equal(kernel_dump(wanted_world.ctx, kernel, "portpolicy", &observed, &generation), 0);
	assert_int_equal(ruleset_difference(wanted_world.ctx, observed, wanted, &changes, &problem), 0);
	assert_true(changes->count > 0);
	assert_int_equal(nft("-f -", "delete table inet portpolicy\n"), 0);
	CLOSE(other);
	CLOSE(wanted);
}

/* The element of a set that runs out is of the first load only, and a text may be loaded at any time. */
static void standing_is_empty(void **state)
{
	(void)state;
	LOWER(ruleset, "default forward deny\n");
	const char *text = ruleset_text(ruleset_world.ctx, ruleset), *set = strstr(text, "set standing {");
	assert_non_null(set);
	assert_non_null(strstr(set, "timeout 300s"));
	const char *end = strchr(set, '}'), *members = strstr(set, "elements");
	assert_true(!members || members > end);
	CLOSE(ruleset);
}

static void reads_as_nft_prints(void **state)
{
	(void)state;
	static const char *const words[] = {"type filter hook input priority 0; policy drop;",
		"\t\tct state established accept\n", "ct state invalid counter name", "ip saddr 10.0.0.0/8",
		"tcp flags & (fin | syn | rst | ack) == syn reject with tcp reset", "reject with icmpx admin-prohibited",
		"iifname \"wg*\"", "elements = { 80, 443, 8000-8999 }",
		"comment \"allow in tcp/{ 80, 443, 8000-8999 } from 10.0.0.0/8 on 'wg*'\"", "\tcounter hit-"};
	LOWER(ruleset, "default in reject\nallow in tcp/{ 80, 443, 8000-8999 } from 10.0.0.0/8 on \"wg*\"\n");
	const char *text = ruleset_text(ruleset_world.ctx, ruleset);
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (!strstr(text, words[i]))
			fail_msg("no `%s` in\n%s", words[i], text);
	CLOSE(ruleset);
}

int main(void)
{
	bool namespace = own_namespace();
	if (!namespace)
		puts("neither a network namespace nor nft: texts are not loaded");
	struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_but_a_default),
		cmocka_unit_test(every_traffic),
		cmocka_unit_test(every_address),
		cmocka_unit_test(every_interface_and_process),
		cmocka_unit_test(every_limit_and_log),
		cmocka_unit_test(said_otherwise),
		cmocka_unit_test(nft_is_asked),
		cmocka_unit_test(standing_is_empty),
		cmocka_unit_test(reads_as_nft_prints),
	};
	for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
		tests[i].initial_state = &namespace;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
