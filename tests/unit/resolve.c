/*
 * What a policy means once its names are resolved, in a world of files, users and groups that is held in memory.
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

struct memory_file {
	const char *path, *text; /* text NULL: may not be read */
};

static const struct memory_file library[] = {
	{"lib/services.policy", "service ssh = tcp/22\nservice dns = { tcp/53, udp/53 }\naddresses lan = 10.0.0.0/8\n"},
	{"lib/base.policy", "addresses lan = 10.0.0.0/8\nallow in udp/68\nallow out udp/67 to $lan\n"},
	{"lib/strict.policy", "deny out tcp/25\n"},
};

struct world {
	void *ctx;
	const struct memory_file *files;
	size_t count;
	struct environment environment;
	struct diagnostics *diagnostics;
	struct policy *policy;
	int outcome;
};

static const struct memory_file *find_file(const struct world *world, const char *path)
{
	while (!strncmp(path, "./", 2))
		path += 2;
	for (size_t i = 0; i < world->count; i++)
		if (!strcmp(world->files[i].path, path))
			return &world->files[i];
	for (size_t i = 0; i < sizeof library / sizeof *library; i++)
		if (!strcmp(library[i].path, path))
			return &library[i];
	return NULL;
}

static int read_file(void *data, void *ctx, const char *path, enum file_kind kind, char **bytes, size_t *length)
{
	const struct memory_file *file = find_file(data, path);
	(void)kind;
	if (!file)
		return -ENOENT;
	if (!file->text)
		return -EACCES;
	*bytes = talloc_strdup(ctx, file->text);
	*length = strlen(file->text);
	return 0;
}

static int by_bytes(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

static int find_paths(void *data, void *ctx, const char *pattern, char ***paths, size_t *count)
{
	const struct world *world = data;
	*paths = talloc_array(ctx, char *, world->count + 8);
	*count = 0;
	for (size_t i = 0; i < world->count; i++)
		if (!fnmatch(pattern, world->files[i].path, FNM_PATHNAME))
			(*paths)[(*count)++] = talloc_strdup(ctx, world->files[i].path);
	for (size_t i = 0; i < sizeof library / sizeof *library; i++)
		if (!fnmatch(pattern, library[i].path, FNM_PATHNAME))
			(*paths)[(*count)++] = talloc_strdup(ctx, library[i].path);
	qsort(*paths, *count, sizeof **paths, by_bytes);
	return 0;
}

static int canonical(void *data, void *ctx, const char *path, char **out)
{
	const struct memory_file *file = find_file(data, path);
	if (!file)
		return -ENOENT;
	*out = talloc_strdup(ctx, file->path);
	return 0;
}

static int find_account(void *data, const char *name, uint32_t *number)
{
	(void)data;
	*number = !strcmp(name, "root") ? 0 : 33;
	return !strcmp(name, "root") || !strcmp(name, "www-data") ? 0 : -ENOENT;
}

static struct world world_of(const struct memory_file *files, size_t count, const char *host)
{
	static const char *const directories[] = {"lib"};
	struct world world = {.ctx = talloc_new(NULL), .files = files, .count = count};
	world.environment = (struct environment){.read_file = read_file, .glob = find_paths, .canonical = canonical, .find_user = find_account,
		.find_group = find_account, .library = directories, .library_count = 1, .host = host};
	world.diagnostics = diagnostics_new(world.ctx);
	return world;
}

static void load(struct world *world)
{
	world->environment.data = world;
	world->outcome = policy_load(world->ctx, "host.policy", &world->environment, world->diagnostics, &world->policy);
	assert_int_equal(world->outcome, world->diagnostics->errors ? 1 : 0);
}

#define LOAD(name, host, ...)                                                                        \
	const struct memory_file name##_files[] = {__VA_ARGS__};                                     \
	struct world name = world_of(name##_files, sizeof name##_files / sizeof *name##_files, host); \
	load(&name)
#define LOAD_TEXT(name, content) LOAD(name, "web1.example", {"host.policy", content})

static void show(const struct world *world)
{
	for (const struct diagnostic *one = world->diagnostics->first; one; one = one->next)
		diagnostic_print(stderr, one, false);
}

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

/* ---- what is right ---- */

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

/* ---- what is wrong: the message, and the hint ---- */

struct mistake {
	const char *text, *message, *hint; /* NULL: any */
};

static const struct mistake mistakes[] = {
	{"allow in any from 10.1.2.3/8", "", "10.0.0.0/8"},
	{"allow in any from 2001:db8::1/32", "", "2001:db8::/32"},
	{"allow in any from 192.0.2.9-192.0.2.1", "reversed", "192.0.2.1-192.0.2.9"},
	{"allow in any from 192.0.2.1-2001:db8::1", "IPv4", NULL},
	{"allow in any from 10.0.0.0/64", "prefix", "IPv6"},
	{"allow in any from ::ffff:192.0.2.1", "mapped", "192.0.2.1"},
	{"allow in any from ::ffff:192.0.2.0/120", "mapped", "192.0.2.0/24"},
	{"allow in any from fe80::1%eth0", "", "on"},
	{"allow in any from 010.0.0.1", "", "10.0.0.1"},
	{"allow in any from 192.0.2.256", "", "255"},
	{"allow in any from 192.0.2.1/33", "32", NULL},
	{"allow in any from \"192.0.2.1\"", "quotes", "192.0.2.1"},
	{"allow in any from \"no host\"", "host name", NULL},
	{"allow in any from api.example.com", "", "\"api.example.com\""},
	{"allow in any from {}", "empty", NULL},
	{"allow in any from 10.0.0.0/8 except 0.0.0.0/0", "", NULL},
	{"addresses office = 10.0.0.0/8\nallow in any from $office\nallow in any from $offcie", "$offcie", "$office"},
	{"addresses office = 10.0.0.0/8\nallow in any from $office\nallow in any from office", "", "$office"},
	{"addresses a = $b\naddresses b = $c\naddresses c = $a\nallow in any from $a", "itself", NULL},
	{"addresses a = 10.0.0.0/8\naddresses a = 10.0.0.0/9\nallow in any from $a", "twice", "+="},
	{"ports p = 80\nallow in any from $p", "ports", NULL},
	{"addresses p = 10.0.0.1\nallow in tcp/$p", "addresses", NULL},
	{"ports p = 80\naddresses p = 10.0.0.1\nallow in tcp/$p", "", NULL},
	{"addresses self = 10.0.0.1\nallow in any from $self", "reserved", NULL},
	{"allow in any from $resolvers", "reserved", NULL},
	{"addresses a += 10.0.0.1\nallow in any from $a", "never defined", "="},
	{"service tcp = tcp/80", "tcp", NULL},
	{"service within = tcp/80", "within", NULL},
	{"include <services>\nallow in shh", "shh", "ssh"},
	{"allow in tpc", "tpc", "tcp"},
	{"allow in tcp/htps", "htps", "https"},
	{"allow in tcp/ephemeral", "ephemeral", "32768-60999"},
	{"allow in tcp/65536", "65535", NULL},
	{"allow in tcp/90-80", "reversed", "80-90"},
	{"allow in tcp/80 except 80", "", NULL},
	{"allow in tcp/bootps", "bootps", "udp"},
	{"allow in icmp/echo-requst", "echo-requst", "echo-request"},
	{"allow in icmp/nd-router-advert", "nd-router-advert", NULL},
	{"allow in icmp/256", "255", NULL},
	{"allow in protocol 44", "extension header", NULL},
	{"allow in protocol 256", "255", NULL},
	{"allow in esp/5", "ports", "esp"},
	{"allow in icmp source port 5", "source port", NULL},
	{"allow in any source port 5", "source port", NULL},
	{"allow in icmp from 2001:db8::/32", "", NULL},
	{"allow in tcp from 192.0.2.1 to 2001:db8::1", "", NULL},
	{"allow in tcp by user root", "out", NULL},
	{"allow in tcp arriving on eth0", "", "on"},
	{"default forward deny\nallow forward tcp on eth0", "", "arriving on"},
	{"allow in tcp on \"e*0\"", "asterisk", NULL},
	{"allow in tcp on averyveryverylongname", "15", NULL},
	{"allow out tcp/443", "out", "default out"},
	{"deny in tcp limit 10/minute", "limit", "above"},
	{"allow in tcp above 10/minute", "above", "limit"},
	{"allow in tcp limit 0/minute", "zero", NULL},
	{"allow in tcp limit 10/fortnight", "fortnight", NULL},
	{"allow in tcp limit 99999999999999999999/second", "at most", NULL},
	{"default in reject", "default", NULL},
	{"default in deny log", "default", NULL},
	{"mode in audit\nmode in enforce", "mode", NULL},
	{"mode audit\nmode in enforce", "mode", NULL},
	{"include <service>", "service", "services"},
	{"include <zzz>", "zzz", "<base>, <services>"},
	{"allow in tcp on { eth0, eth1 } except \"eth*\"", "interface", NULL},
	{"include \"none.policy\"", "none.policy", NULL},
	{"include \"host.policy\"", "itself", NULL},
	{"language 1", "", NULL},
	{"deny in tcp/1 log \"0123456789012345678901234567890123456789012345678901234567890123456789\"", "64", NULL},
	{"default out deny\nallow out tcp by user 4294967295", "4294967294", NULL},
};

static bool says(const struct world *world, const struct mistake *mistake)
{
	for (const struct diagnostic *one = world->diagnostics->first; one; one = one->next)
		if (one->severity == SEVERITY_ERROR && strstr(one->message, mistake->message) &&
			(!mistake->hint || (one->hint && strstr(one->hint, mistake->hint))))
			return true;
	return false;
}

static void a_mistake_is_one_error_with_its_likely_fix(void **state)
{
	size_t failures = 0;
	(void)state;
	for (size_t i = 0; i < sizeof mistakes / sizeof *mistakes; i++) {
		char *text = talloc_asprintf(NULL, "default in deny\n%s\n", mistakes[i].text);
		LOAD(world, "h", {"host.policy", text});
		if (world.diagnostics->errors != 1 || !says(&world, &mistakes[i])) {
			print_error("%zu errors, wanted \"%s\" (%s):\n", world.diagnostics->errors, mistakes[i].message, mistakes[i].hint ? mistakes[i].hint : "");
			show(&world);
			failures++;
		}
		talloc_free(world.ctx);
		talloc_free(text);
	}
	assert_int_equal(failures, 0);
}

static void one_mistake_does_not_hide_the_next(void **state)
{
	(void)state;
	LOAD_TEXT(world, "language 7\ndefault in deny\nallow in tcp/htps from 10.1.2.3/8\nallow in icmp/nosuchtype\nallow in tcp/1 limit 0/minute\n"
			 "allow out tcp/1\nexpect allow in tcp/22 from $nobody\n");
	assert_int_equal(world.diagnostics->errors, 7);
	talloc_free(world.ctx);
	LOAD_TEXT(unread, "default in dney\nallow in tcp/22\nallow out tcp/htps\n");
	assert_int_equal(unread.diagnostics->errors, 2);
	talloc_free(unread.ctx);
	LOAD_TEXT(unmanaged, "default in deny\nallow out tcp/htps\n");
	assert_int_equal(unmanaged.diagnostics->errors, 2);
	talloc_free(unmanaged.ctx);
}

static void a_cycle_of_names_is_shown(void **state)
{
	(void)state;
	LOAD_TEXT(world, "default in deny\naddresses a = $b\naddresses b = { 10.0.0.1, $c }\naddresses c = $a\nallow in any from $a\n");
	assert_int_equal(world.diagnostics->errors, 1);
	assert_non_null(strstr(world.diagnostics->first->message, "$b"));
	assert_non_null(strstr(world.diagnostics->first->message, "$c"));
	talloc_free(world.ctx);
}

static void a_cycle_of_files_shows_both_places(void **state)
{
	(void)state;
	LOAD(world, "h", {"host.policy", "default in deny\ninclude \"b.policy\"\n"}, {"b.policy", "\ninclude \"host.policy\"\n"});
	const struct diagnostic *one = world.diagnostics->first;
	assert_int_equal(world.diagnostics->errors, 1);
	assert_string_equal(one->span.source->name, "b.policy");
	assert_int_equal(span_position(one->span).line, 2);
	assert_non_null(one->related.source);
	assert_string_equal(one->related.source->name, "host.policy");
	assert_int_equal(span_position(one->related).line, 2);
	talloc_free(world.ctx);
}

static void a_conflict_shows_both_places(void **state)
{
	static const char *const texts[] = {"default in deny\ndefault in allow\n", "default in deny\nmode audit\nmode enforce\n",
		"default in deny\naddresses a = 10.0.0.1\naddresses a = 10.0.0.2\nallow in any from $a\n"};
	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		LOAD_TEXT(world, texts[i]);
		assert_int_equal(world.diagnostics->errors, 1);
		assert_non_null(world.diagnostics->first->related.source);
		assert_true(world.diagnostics->first->related.begin < world.diagnostics->first->span.begin);
		talloc_free(world.ctx);
	}
}

static void very_many_mistakes_come_to_an_end(void **state)
{
	(void)state;
	char *text = talloc_strdup(NULL, "default in deny\n");
	for (int i = 0; i < 5000; i++)
		text = talloc_asprintf_append_buffer(text, "allow in nosuch%d from $none%d\n", i, i);
	LOAD(world, "h", {"host.policy", text});
	assert_in_range(world.diagnostics->errors, 10, 1000);
	talloc_free(world.ctx);
	talloc_free(text);
}

static void many_host_names_do_not_run_away(void **state)
{
	(void)state;
	char *text = talloc_strdup(NULL, "default out deny\nallow out any to {");
	for (int i = 0; i < 2000; i++)
		text = talloc_asprintf_append_buffer(text, " \"h%d.example\",", i);
	text = talloc_strdup_append_buffer(text, "} except { \"x.example\", \"y.example\" }\n");
	LOAD(world, "h", {"host.policy", text});
	assert_true(world.outcome >= 0);
	talloc_free(world.ctx);
	talloc_free(text);
}

/* ---- warnings ---- */

static void warnings_for_what_is_probably_not_meant(void **state)
{
	static const struct mistake cases[] = {
		{"allow in tcp/1 from any except 10.0.0.0/8", "W003", NULL},
		{"allow in icmp/echo-reply", "W004", NULL},
		{"allow in icmpv6/packet-too-big", "W004", NULL},
		{"allow in icmpv6/{ echo-request, packet-too-big }", "W004", NULL},
		{"allow in tcp to \"a.example\"\nallow in udp to \"a.example\"", "W005", NULL},
		{"ports none = { 1-2, 3 }\nallow in tcp/4 from file \"comments.txt\"\nallow in tcp/$none", "W006", NULL},
		{"addresses spare = 10.0.0.1", "W002", NULL},
		{"service extra = tcp/1", "W002", NULL},
		{"default out deny\nallow out tcp/1 by user nosuch", "W001", NULL},
		{"allow in tcp/1 from file \"none.txt\"", "W001", NULL},
	};
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char *text = talloc_asprintf(NULL, "default in deny\n%s\n", cases[i].text);
		LOAD(world, "h", {"host.policy", text}, {"comments.txt", "# none\n"});
		bool found = false;
		assert_int_equal(world.outcome, 0);
		for (const struct diagnostic *one = world.diagnostics->first; one; one = one->next)
			found |= one->severity == SEVERITY_WARNING && !strcmp(one->code, cases[i].message);
		if (!found || world.diagnostics->warnings != 1) {
			show(&world);
			fail_msg("%s: wanted %s once", cases[i].text, cases[i].message);
		}
		talloc_free(world.ctx);
		talloc_free(text);
	}
}

#define TEST(name) cmocka_unit_test(name)

int main(void)
{
	const struct CMUnitTest tests[] = {TEST(a_rule_says_what_it_matches), TEST(names_are_used_before_they_are_defined_and_grow_from_any_file),
		TEST(a_file_counts_once), TEST(the_same_meaning_twice_is_fine), TEST(a_policy_shadows_the_library_and_the_library_keeps_its_own),
		TEST(a_library_rule_for_an_unmanaged_direction), TEST(a_block_is_for_the_hosts_so_called), TEST(a_name_that_another_host_uses_is_used),
		TEST(traffic_has_one_form), TEST(host_names_are_unknown_sets), TEST(interfaces_are_numbers_that_keep_their_order),
		TEST(subjects_are_numbers), TEST(limits_are_rates), TEST(an_id_stays_when_lines_move), TEST(a_list_that_holds_nothing_is_obeyed),
		TEST(what_is_not_known_blocks_apply_where_more_would_pass), TEST(a_question_is_asked_in_the_names_of_the_policy),
		TEST(expects_and_the_library_are_not_warned_of), TEST(two_sets_of_the_same_host_name_meet),
		TEST(a_policy_that_manages_nothing_is_read), TEST(a_large_set_is_no_trouble), TEST(a_mistake_is_one_error_with_its_likely_fix),
		TEST(one_mistake_does_not_hide_the_next), TEST(a_cycle_of_names_is_shown), TEST(a_cycle_of_files_shows_both_places),
		TEST(a_conflict_shows_both_places), TEST(very_many_mistakes_come_to_an_end), TEST(many_host_names_do_not_run_away),
		TEST(warnings_for_what_is_probably_not_meant)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
