/*
 * What a policy means once its names are resolved.
 */
#include "tests/unit/memory.h"

static void is_clean(const struct world *world)
{
	if (world->diagnostics->first)
		show(world);
	assert_null(world->diagnostics->first);
	assert_int_equal(world->outcome, 0);
}

static struct interval only(struct intervals set)
{
	assert_int_equal(set.count, 1);
	return set.at[0];
}

#define ONLY(set, low, high)                                 \
	do {                                                 \
		struct interval one_ = only(set);            \
		assert_true(one_.first == (u128)(low));      \
		assert_true(one_.last == (u128)(high));      \
	} while (0)

static void a_rule_says_what_it_matches(void **state)
{
	(void)state;
	LOAD_TEXT(world, "language 1\ndefault in deny log \"rest\"\n"
			 "allow  in tcp/{ 80, 443, 8000-8999 }  \\\n   from 10.0.0.0/8 except 10.66.0.0/16 reason \"CHG\" # web\n");
	is_clean(&world);
	const struct policy *policy = world.policy;
	const struct rule *rule = policy->rules;
	assert_true(policy->directions[DIRECTION_IN].managed);
	assert_false(policy->directions[DIRECTION_OUT].managed);
	assert_true(policy->directions[DIRECTION_IN].log);
	assert_string_equal(policy->directions[DIRECTION_IN].log_text, "rest");
	assert_int_equal(policy->directions[DIRECTION_IN].action, ACTION_DENY);
	assert_int_equal(policy->rule_count, 1);
	assert_int_equal(rule->match.traffic.tcp.count, 3);
	assert_int_equal(rule->match.traffic.udp.count + rule->match.traffic.others.count, 0);
	assert_int_equal(rule->match.from.count, 1);
	assert_int_equal(rule->match.from.terms[0].of[FAMILY_IPV4].count, 2);
	assert_int_equal(rule->match.from.terms[0].of[FAMILY_IPV6].count, 0);
	ONLY(rule->match.to.terms[0].of[FAMILY_IPV6], 0, U128_MAX);
	ONLY(rule->match.source_ports, 0, 65535);
	assert_true(rule->match.by.any && rule->match.arriving.any && rule->match.leaving.any);
	assert_false(rule->match.interface_named || rule->match.source_port_named);
	assert_string_equal(rule->text, "allow in tcp/{ 80, 443, 8000-8999 } from 10.0.0.0/8 except 10.66.0.0/16 reason \"CHG\"");
	assert_string_equal(rule->reason, "CHG");
	assert_int_equal(strlen(rule->id), 12);
	talloc_free(world.ctx);
}

static void names_are_used_before_they_are_defined_and_grow_from_any_file(void **state)
{
	(void)state;
	LOAD(world, "h", {"host.policy", "default in deny\nallow in tcp/$app from $office\naddresses office = { 192.0.2.0/25, $branch }\n"
					 "include \"more/*.policy\"\nports app = { 8080, https } except 8080\n"},
		{"more/b.policy", "addresses office += 192.0.2.128/25\nports app += 90-99"}, {"more/a.policy", "addresses branch = 2001:db8::/32"});
	is_clean(&world);
	const struct match *match = &world.policy->rules[0].match;
	ONLY(match->from.terms[0].of[FAMILY_IPV4], 0xc0000200, 0xc00002ff);
	assert_int_equal(match->from.terms[0].of[FAMILY_IPV6].count, 1);
	assert_int_equal(match->traffic.tcp.count, 2);
	assert_int_equal(world.policy->source_count, 3);
	talloc_free(world.ctx);
}

static void a_file_counts_once(void **state)
{
	(void)state;
	LOAD(world, "h", {"host.policy", "include \"a.policy\"\ninclude \"./a.policy\"\ninclude \"b.policy\"\ndefault in deny"},
		{"a.policy", "allow in tcp/1"}, {"b.policy", "include \"a.policy\"\nallow in tcp/2"});
	is_clean(&world);
	assert_int_equal(world.policy->rule_count, 2);
	talloc_free(world.ctx);
}

static void the_same_meaning_twice_is_fine(void **state)
{
	(void)state;
	LOAD_TEXT(world, "default in deny\ndefault in deny\nmode audit\nmode in audit\naddresses a = { 192.0.2.0/25, 192.0.2.128/25 }\n"
			 "addresses a = 192.0.2.0/24\nallow in any from $a\n");
	is_clean(&world);
	assert_int_equal(world.policy->directions[DIRECTION_IN].mode, MODE_AUDIT);
	talloc_free(world.ctx);
}

static void a_policy_shadows_the_library_and_the_library_keeps_its_own(void **state)
{
	(void)state;
	LOAD_TEXT(world, "include <base>\ndefault in deny\ndefault out deny\naddresses lan = 192.168.0.0/16\nallow in tcp/22 from $lan\n");
	is_clean(&world);
	assert_int_equal(world.policy->rule_count, 3);
	ONLY(world.policy->rules[1].match.to.terms[0].of[FAMILY_IPV4], 0x0a000000, 0x0affffff);
	ONLY(world.policy->rules[2].match.from.terms[0].of[FAMILY_IPV4], 0xc0a80000, 0xc0a8ffff);
	talloc_free(world.ctx);
}

static void a_library_rule_for_an_unmanaged_direction(void **state)
{
	(void)state;
	LOAD_TEXT(left_out, "include <base>\ndefault in deny\n");
	is_clean(&left_out);
	assert_int_equal(left_out.policy->rule_count, 1);
	talloc_free(left_out.ctx);
	LOAD_TEXT(strict, "include <strict>\ndefault in deny\n");
	assert_int_equal(strict.diagnostics->errors, 1);
	talloc_free(strict.ctx);
}

static void a_block_is_for_the_hosts_so_called(void **state)
{
	static const char text[] = "default in deny\nhosts \"web*\", \"db.example\" {\n allow in tcp/80\n hosts \"web1\" { allow in tcp/81 }\n}\n";
	(void)state;
	LOAD(first, "web1.example", {"host.policy", text});
	assert_int_equal(first.policy->rule_count, 2);
	talloc_free(first.ctx);
	LOAD(second, "web2", {"host.policy", text});
	assert_int_equal(second.policy->rule_count, 1);
	talloc_free(second.ctx);
	LOAD(third, "db.example", {"host.policy", text});
	assert_int_equal(third.policy->rule_count, 1);
	talloc_free(third.ctx);
	LOAD(other, "db", {"host.policy", text});
	assert_int_equal(other.policy->rule_count, 0);
	talloc_free(other.ctx);
}

static void a_name_that_another_host_uses_is_used(void **state)
{
	(void)state;
	LOAD(world, "mail", {"host.policy", "default in deny\naddresses office = 192.0.2.0/24\nservice app = tcp/8080\n"
					    "hosts \"web*\" { allow in app from { $office, 10.0.0.1 } }\n"});
	is_clean(&world);
	talloc_free(world.ctx);
}

static void traffic_has_one_form(void **state)
{
	(void)state;
	LOAD_TEXT(world, "default in deny\nallow in { tcp, protocol 6, udp/any, protocol 1 }\nallow in any except { tcp/25, udp }\nallow in protocol 58\n"
			 "allow in { esp, protocol 51 }\nallow in icmpv6/{ echo-request, 133-136 }\ninclude <services>\nallow in { ssh, dns } except tcp/22\n");
	is_clean(&world);
	const struct rule *rules = world.policy->rules;
	ONLY(rules[0].match.traffic.tcp, 0, 65535);
	ONLY(rules[0].match.traffic.icmp, 0, 255);
	assert_int_equal(rules[0].match.traffic.others.count, 0);
	assert_int_equal(rules[1].match.traffic.tcp.count, 2);
	assert_int_equal(rules[1].match.traffic.udp.count, 0);
	ONLY(rules[1].match.traffic.icmpv6, 0, 255);
	assert_true(intervals_contain(rules[1].match.traffic.others, 0));
	assert_true(intervals_contain(rules[1].match.traffic.others, 1));
	assert_false(intervals_contain(rules[1].match.traffic.others, 17));
	ONLY(rules[2].match.traffic.icmpv6, 0, 255);
	ONLY(rules[3].match.traffic.others, 50, 51);
	assert_int_equal(rules[4].match.traffic.icmpv6.count, 2);
	ONLY(rules[5].match.traffic.tcp, 53, 53);
	talloc_free(world.ctx);
}

static void host_names_are_unknown_sets(void **state)
{
	(void)state;
	LOAD_TEXT(world, "default out deny\nallow out tcp to { \"a.example\", 192.0.2.1 }\n"
			 "allow out udp to { 10.0.0.0/8, 2001:db8::/32 } except \"A.example\"\nallow out sctp to \"a.example\" except \"b.example\"\n");
	assert_int_equal(world.outcome, 0);
	assert_int_equal(world.diagnostics->warnings, 2);
	assert_int_equal(world.policy->host_count, 2);
	const struct addresses *to = &world.policy->rules[0].match.to;
	assert_int_equal(to->count, 2);
	to = &world.policy->rules[1].match.to;
	assert_int_equal(to->count, 1);
	assert_int_equal(to->terms[0].literal_count, 1);
	assert_false(to->terms[0].literals[0].member);
	assert_int_equal(to->terms[0].literals[0].host, 0);
	to = &world.policy->rules[2].match.to;
	assert_int_equal(to->count, 1);
	assert_int_equal(to->terms[0].literal_count, 2);
	assert_true(to->terms[0].literals[0].member);
	assert_false(to->terms[0].literals[1].member);
	talloc_free(world.ctx);
}

static void interfaces_are_numbers_that_keep_their_order(void **state)
{
	(void)state;
	assert_true(interface_number("eth0") < interface_number("eth1"));
	assert_true(interface_number("wg") < interface_number("wg0"));
	assert_true(interface_number("wg0") < interface_prefix_last("wg"));
	assert_true(interface_prefix_last("wg") < interface_number("wh"));
	assert_true(interface_number("abcdefghijklmno") == interface_prefix_last("abcdefghijklmno"));
	LOAD_TEXT(world, "default in deny\ndefault forward deny\nallow in tcp/1 on { eth0, \"wg*\" }\nallow in tcp/2 on any except eth0\nallow in tcp/3 on lo\n"
			 "allow forward tcp/4 arriving on docker0 leaving on eth0.7\n");
	is_clean(&world);
	const struct match *match = &world.policy->rules[0].match;
	assert_true(match->interface_named);
	assert_false(match->arriving.any || match->arriving.names_loopback);
	assert_int_equal(match->arriving.in_count, 2);
	assert_string_equal(match->arriving.in[1].name, "wg");
	assert_true(match->arriving.in[1].prefix && !match->arriving.in[0].prefix && match->leaving.any);
	match = &world.policy->rules[1].match;
	assert_true(match->arriving.any && match->arriving.out_count == 1);
	assert_true(world.policy->rules[2].match.arriving.names_loopback);
	match = &world.policy->rules[3].match;
	assert_string_equal(match->leaving.in[0].name, "eth0.7");
	assert_string_equal(match->arriving.in[0].name, "docker0");
	talloc_free(world.ctx);
}

static void subjects_are_numbers(void **state)
{
	(void)state;
	LOAD_TEXT(world, "default out deny\nallow out tcp/1 by user { www-data, 4294967294 }\nallow out tcp/2 by any except { user root, group www-data }\n"
			 "allow out tcp/3 by unit nginx.service\n");
	is_clean(&world);
	const struct subjects *by = &world.policy->rules[0].match.by;
	assert_int_equal(by->users.count, 2);
	assert_true(by->users.at[0].first == 33 && !by->any && !by->except);
	by = &world.policy->rules[1].match.by;
	assert_true(by->except && !by->any);
	ONLY(by->users, 0, 0);
	ONLY(by->groups, 33, 33);
	ONLY(world.policy->rules[2].match.by.units, UNIT_FIRST, UNIT_FIRST);
	assert_string_equal(world.policy->units[0], "nginx.service");
	talloc_free(world.ctx);
}

static void limits_are_rates(void **state)
{
	(void)state;
	LOAD_TEXT(world, "default in deny\nallow in tcp/1 limit 10/minute per source limit 20 connections\ndeny in tcp/2 above 100/second burst 7\n");
	is_clean(&world);
	const struct rule *rule = &world.policy->rules[0];
	assert_int_equal(rule->limit->count, 10);
	assert_int_equal(rule->limit->seconds, 60);
	assert_int_equal(rule->limit->burst, 10);
	assert_true(rule->limit->per_source && rule->has_connections && rule->connections == 20 && !rule->connections_per_source);
	assert_int_equal(world.policy->rules[1].above->burst, 7);
	assert_null(world.policy->rules[1].limit);
	talloc_free(world.ctx);
}

static void an_id_stays_when_lines_move(void **state)
{
	(void)state;
	LOAD_TEXT(first, "default in deny\nallow in tcp/1\nallow in tcp/2\nallow in tcp/1\n");
	LOAD_TEXT(moved, "# a comment\nallow in   tcp/2\ndefault in deny\n\nallow in tcp/1 # again\n");
	const struct rule *rules = first.policy->rules;
	assert_string_equal(rules[0].id, moved.policy->rules[1].id);
	assert_string_equal(rules[1].id, moved.policy->rules[0].id);
	assert_string_not_equal(rules[0].id, rules[2].id);
	assert_string_equal(first.policy->directions[DIRECTION_IN].id, moved.policy->directions[DIRECTION_IN].id);
	assert_string_not_equal(first.policy->directions[DIRECTION_IN].id, rules[0].id);
	talloc_free(first.ctx);
	talloc_free(moved.ctx);
}

static void a_list_that_holds_nothing_is_obeyed(void **state)
{
	(void)state;
	LOAD(world, "h", {"host.policy", "default in deny\nallow in tcp/1 from file \"lists/a.txt\"\ndeny in tcp/2 from { file \"lists/b.txt\", 192.0.2.1 }\n"},
		{"lists/a.txt", "# none yet\n"}, {"lists/b.txt", "10.0.0.0/8\n2001:db8::/32\n"});
	assert_int_equal(world.outcome, 0);
	assert_int_equal(world.policy->unknown_count, 0);
	assert_int_equal(world.policy->rules[1].match.from.terms[0].of[FAMILY_IPV4].count, 2);
	talloc_free(world.ctx);
}

static void what_is_not_known_blocks_apply_where_more_would_pass(void **state)
{
	static const struct {
		const char *rule;
		bool blocks;
	} cases[] = {{"allow out tcp/1 by user nosuch", false}, {"allow out tcp/1 by any except user nosuch", true}, {"deny out tcp/1 by group nosuch", true},
		{"deny out tcp/1 by any except user nosuch", false}, {"reject out tcp/1 to file \"none.txt\"", true},
		{"allow out tcp/1 to file \"none.txt\"", false}, {"allow out tcp/1 to 10.0.0.0/8 except file \"empty.txt\"", true},
		{"deny out tcp/1 to 10.0.0.0/8 except file \"secret.txt\"", false}, {"allow out tcp/1 to 10.0.0.0/8 except $list", true},
		{"deny out tcp/1 to $list", true}, {"allow out tcp/1 to $list", false}, {"expect deny out tcp/1 to file \"none.txt\"", false},
		{"allow out tcp/1 to 10.0.0.0/8 except { 10.0.0.0/16 except $list }", false}};
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char *text = talloc_asprintf(NULL, "default out deny\naddresses list = file \"none.txt\"\nallow out udp to $list\n%s\n", cases[i].rule);
		LOAD(world, "h", {"host.policy", text}, {"empty.txt", ""}, {"secret.txt", NULL});
		bool blocks = false;
		assert_int_equal(world.outcome, 0);
		assert_true(world.diagnostics->warnings > 0);
		assert_true(world.policy->unknown_count > 0);
		for (size_t k = 0; k < world.policy->unknown_count; k++)
			blocks |= world.policy->unknowns[k].blocks_apply;
		if (blocks != cases[i].blocks)
			fail_msg("%s: blocks %d", cases[i].rule, blocks);
		talloc_free(world.ctx);
		talloc_free(text);
	}
}

static void a_question_is_asked_in_the_names_of_the_policy(void **state)
{
	(void)state;
	LOAD_TEXT(world, "include <services>\ndefault in deny\naddresses office = 192.0.2.0/24\nallow in ssh from $office\n");
	struct source *source;
	struct match_node *node;
	struct match match;
	static const char text[] = "in ssh from $office";
	assert_int_equal(source_new(world.ctx, "<argument>", text, strlen(text), false, &source), 0);
	assert_int_equal(parse_question(world.ctx, source, world.diagnostics, &node), 0);
	assert_int_equal(policy_question(world.ctx, world.policy, &world.environment, node, world.diagnostics, &match), 0);
	ONLY(match.traffic.tcp, 22, 22);
	ONLY(match.from.terms[0].of[FAMILY_IPV4], 0xc0000200, 0xc00002ff);
	static const char wrong[] = "in shh from $office by user nosuch";
	assert_int_equal(source_new(world.ctx, "<argument>", wrong, strlen(wrong), false, &source), 0);
	assert_int_equal(parse_question(world.ctx, source, world.diagnostics, &node), 0);
	assert_int_equal(policy_question(world.ctx, world.policy, &world.environment, node, world.diagnostics, &match), 1);
	assert_true(world.diagnostics->errors > 0);
	static const char kind[] = "in tcp/$office";
	assert_int_equal(source_new(world.ctx, "<argument>", kind, strlen(kind), false, &source), 0);
	assert_int_equal(parse_question(world.ctx, source, world.diagnostics, &node), 0);
	assert_int_equal(policy_question(world.ctx, world.policy, &world.environment, node, world.diagnostics, &match), 1);
	talloc_free(world.ctx);
}

static void expects_and_the_library_are_not_warned_of(void **state)
{
	(void)state;
	LOAD_TEXT(world, "default in deny\naddresses office = 192.0.2.0/24\nexpect deny in tcp/22 from any except $office\nexpect deny in icmp/redirect\n");
	is_clean(&world);
	talloc_free(world.ctx);
}

static void two_sets_of_the_same_host_name_meet(void **state)
{
	(void)state;
	LOAD_TEXT(world, "default out deny\nallow out tcp to { \"a.example\" except { 10.0.0.0/8, ::/0 }, \"a.example\" except { 0.0.0.0/1, ::/0 } }\n");
	const struct addresses *to = &world.policy->rules[0].match.to;
	assert_int_equal(to->count, 1);
	assert_int_equal(to->terms[0].of[FAMILY_IPV4].count, 2);
	assert_true(to->terms[0].of[FAMILY_IPV4].at[1].last == 0xffffffff);
	talloc_free(world.ctx);
}

static void a_policy_that_manages_nothing_is_read(void **state)
{
	(void)state;
	LOAD_TEXT(world, "# nothing here\n");
	assert_int_equal(world.outcome, 0);
	assert_int_equal(world.policy->rule_count, 0);
	talloc_free(world.ctx);
}

static void a_large_set_is_no_trouble(void **state)
{
	(void)state;
	char *text = talloc_strdup(NULL, "default in deny\nallow in any from {\n");
	for (unsigned i = 0; i < 20000; i++)
		text = talloc_asprintf_append_buffer(text, "\t10.%u.%u.1,\n", i / 200, i % 200);
	text = talloc_strdup_append_buffer(text, "}\n");
	LOAD(world, "h", {"host.policy", text});
	assert_int_equal(world.policy->rules[0].match.from.terms[0].of[FAMILY_IPV4].count, 20000);
	assert_true(talloc_total_size(world.ctx) < (size_t)64 << 20);
	talloc_free(world.ctx);
	talloc_free(text);
	text = talloc_strdup(NULL, "default in deny\nallow in tcp/{");
	for (unsigned i = 0; i < 10000; i++)
		text = talloc_asprintf_append_buffer(text, " %u,", 2 * i);
	text = talloc_strdup_append_buffer(text, "}\nallow in {");
	for (unsigned i = 0; i < 10000; i++)
		text = talloc_asprintf_append_buffer(text, " udp/%u,", 2 * i);
	text = talloc_strdup_append_buffer(text, "}\n");
	LOAD(ports, "h", {"host.policy", text});
	assert_int_equal(ports.policy->rules[0].match.traffic.tcp.count, 10000);
	assert_int_equal(ports.policy->rules[1].match.traffic.udp.count, 10000);
	assert_true(talloc_total_size(ports.ctx) < (size_t)64 << 20);
	talloc_free(ports.ctx);
	talloc_free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_rule_says_what_it_matches),
		cmocka_unit_test(names_are_used_before_they_are_defined_and_grow_from_any_file),
		cmocka_unit_test(a_file_counts_once),
		cmocka_unit_test(the_same_meaning_twice_is_fine),
		cmocka_unit_test(a_policy_shadows_the_library_and_the_library_keeps_its_own),
		cmocka_unit_test(a_library_rule_for_an_unmanaged_direction),
		cmocka_unit_test(a_block_is_for_the_hosts_so_called),
		cmocka_unit_test(a_name_that_another_host_uses_is_used),
		cmocka_unit_test(traffic_has_one_form),
		cmocka_unit_test(host_names_are_unknown_sets),
		cmocka_unit_test(interfaces_are_numbers_that_keep_their_order),
		cmocka_unit_test(subjects_are_numbers),
		cmocka_unit_test(limits_are_rates),
		cmocka_unit_test(an_id_stays_when_lines_move),
		cmocka_unit_test(a_list_that_holds_nothing_is_obeyed),
		cmocka_unit_test(what_is_not_known_blocks_apply_where_more_would_pass),
		cmocka_unit_test(a_question_is_asked_in_the_names_of_the_policy),
		cmocka_unit_test(expects_and_the_library_are_not_warned_of),
		cmocka_unit_test(two_sets_of_the_same_host_name_meet),
		cmocka_unit_test(a_policy_that_manages_nothing_is_read),
		cmocka_unit_test(a_large_set_is_no_trouble),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
