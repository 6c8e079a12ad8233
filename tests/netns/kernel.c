/*
 * The kernel layer against a real kernel, in a network namespace of its own.
 *
 * One child process for each test makes the namespace, so tests leave nothing to each other or to the machine.  Without the
 * right to make one the tests are skipped, and say so.
 */
#include "agent/kernel/kernel.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <libnftnl/common.h>
#include <linux/netfilter/nf_tables.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include <talloc.h>

#define KEY1(name) .keys = {name}, .key_count = 1
#define COUNT(array) (sizeof(array) / sizeof(*(array)))
#define ETH0 ((u128)0x65746830 << 88)
#define ETH ((u128)0x657468 << 96)
#define V6 ((u128)0x20010db800000000 << 64)

static bool write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	if (fd >= 0)
		close(fd);
	return done;
}

/* As root a network namespace, else a user namespace around it. */
static bool enter_namespace(void)
{
	char map[64];
	uid_t uid = getuid();
	gid_t gid = getgid();
	if (!unshare(CLONE_NEWNET))
		return true;
	if (unshare(CLONE_NEWUSER | CLONE_NEWNET))
		return false;
	write_file("/proc/self/setgroups", "deny");
	snprintf(map, sizeof(map), "0 %u 1", uid);
	write_file("/proc/self/uid_map", map);
	snprintf(map, sizeof(map), "0 %u 1", gid);
	return write_file("/proc/self/gid_map", map);
}

static int shell(const char *command)
{
	int status = system(command);
	return status == -1 || !WIFEXITED(status) ? -1 : WEXITSTATUS(status);
}

struct state {
	void *ctx;
	struct kernel *kernel;
};

/* Runs the body in a child of its own namespace; its failed assertions become one of ours. */
static void in_namespace(void (*body)(struct state *state))
{
	pid_t child = fork();
	int status;
	assert_true(child >= 0);
	if (!child) {
		struct state state = {.ctx = talloc_new(NULL)};
		alarm(120);
		if (!enter_namespace() || kernel_open(state.ctx, &state.kernel))
			_exit(77);
		shell("ip link set lo up");
		body(&state);
		talloc_free(state.ctx);
		exit(0);
	}
	waitpid(child, &status, 0);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* In the child there is no test to fail: the process does. */
#define CHECK(condition)                                                                                                   \
	do {                                                                                                               \
		if (!(condition)) {                                                                                        \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                             \
			_exit(1);                                                                                          \
		}                                                                                                          \
	} while (0)

#define IPV4 {.kind = STEP_COMPARE, KEY1(KEY_NFPROTO), .first = 2}
#define IPV6 {.kind = STEP_COMPARE, KEY1(KEY_NFPROTO), .first = 10}
#define PROTOCOL(number) {.kind = STEP_COMPARE, KEY1(KEY_L4PROTO), .first = number}
#define VERDICT(name) {.kind = STEP_VERDICT, .verdict = NFT_VERDICT_##name}
#define TO(name, target) {.kind = STEP_VERDICT, .verdict = NFT_VERDICT_##name, .object = target}
#define RULE(...) {.steps = (const struct step[]){__VA_ARGS__}, .count = COUNT(((const struct step[]){__VA_ARGS__})), .comment = "why"}

static const struct nft_rule leaf_rules[] = {
	RULE({.kind = STEP_COUNTER, .object = "hits"}, {.kind = STEP_LIMIT, .rate = 10, .seconds = 1, .burst = 10},
		{.kind = STEP_LOG, .group = 7, .prefix = "line 3: "}, VERDICT(RETURN)),
	RULE(PROTOCOL(6), {.kind = STEP_COMPARE, KEY1(KEY_TCP_FLAGS), .mask = 0x17, .first = 2}, {.kind = STEP_REJECT, .tcp_reset = true}),
	RULE({.kind = STEP_REJECT}),
};

static const struct nft_rule input_rules[] = {
	RULE({.kind = STEP_COMPARE, KEY1(KEY_CT_STATE), .mask = 2, .negated = true}, VERDICT(ACCEPT)),
	RULE({.kind = STEP_COMPARE, KEY1(KEY_CT_STATE), .mask = 1, .negated = true}, VERDICT(DROP)),
	RULE({.kind = STEP_COMPARE, KEY1(KEY_IIFNAME), .first = ETH0}, {.kind = STEP_PREFIX, KEY1(KEY_IIFNAME), .first = ETH, .length = 3}, VERDICT(ACCEPT)),
	RULE({.kind = STEP_PREFIX, KEY1(KEY_IIFNAME), .first = ETH, .length = 3, .negated = true}, TO(JUMP, "leaf")),
	RULE(IPV4, {.kind = STEP_COMPARE, KEY1(KEY_IP_SADDR), .first = 0x0a800000, .mask = 0xff800000}, TO(GOTO, "leaf")),
	RULE(IPV4, {.kind = STEP_RANGE, KEY1(KEY_IP_DADDR), .first = 1, .last = 0xe0000000, .negated = true}, VERDICT(DROP)),
	RULE(IPV6, {.kind = STEP_COMPARE, KEY1(KEY_IP6_SADDR), .first = V6, .mask = U128_MAX << 64, .negated = true}, VERDICT(DROP)),
	RULE(PROTOCOL(17), {.kind = STEP_RANGE, KEY1(KEY_TH_DPORT), .first = 100, .last = 200}, {.kind = STEP_COMPARE, KEY1(KEY_TH_SPORT), .first = 53}, VERDICT(ACCEPT)),
	RULE(IPV4, PROTOCOL(1), {.kind = STEP_COMPARE, KEY1(KEY_ICMP_TYPE), .first = 8}, VERDICT(ACCEPT)),
	RULE(IPV6, PROTOCOL(58), {.kind = STEP_COMPARE, KEY1(KEY_ICMPV6_TYPE), .first = 128}, VERDICT(ACCEPT)),
	RULE(IPV6, PROTOCOL(58), {.kind = STEP_LOOKUP, KEY1(KEY_ICMPV6_TYPE), .object = "types"}, VERDICT(ACCEPT)),
	RULE(PROTOCOL(6), {.kind = STEP_LOOKUP, KEY1(KEY_TH_DPORT), .object = "ports"}, VERDICT(ACCEPT)),
	RULE(PROTOCOL(6), {.kind = STEP_LOOKUP, KEY1(KEY_TH_DPORT), .object = "port_ranges", .negated = true}, VERDICT(DROP)),
	RULE(IPV4, {.kind = STEP_LOOKUP, KEY1(KEY_IP_SADDR), .object = "networks"}, VERDICT(ACCEPT)),
	RULE(IPV6, {.kind = STEP_LOOKUP, KEY1(KEY_IP6_DADDR), .object = "networks6"}, VERDICT(ACCEPT)),
	RULE(IPV4, {.kind = STEP_LOOKUP, .keys = {KEY_IP_SADDR, KEY_L4PROTO, KEY_TH_DPORT}, .key_count = 3, .object = "boxes"}, VERDICT(ACCEPT)),
	RULE(IPV4, {.kind = STEP_LOOKUP, .keys = {KEY_IP_SADDR, KEY_L4PROTO, KEY_TH_DPORT}, .key_count = 3, .object = "tuples"}, VERDICT(ACCEPT)),
	RULE({.kind = STEP_LOOKUP, .keys = {KEY_IIFNAME, KEY_L4PROTO}, .key_count = 2, .object = "interfaces"}, VERDICT(ACCEPT)),
	RULE({.kind = STEP_LOOKUP, KEY1(KEY_L4PROTO), .object = "standing"}, VERDICT(ACCEPT)),
	RULE(IPV6, {.kind = STEP_METER, KEY1(KEY_IP6_SADDR), .mask = U128_MAX << 64, .object = "sources", .rate = 10, .seconds = 60, .burst = 20}, VERDICT(ACCEPT)),
	RULE(PROTOCOL(6), {.kind = STEP_MAP, KEY1(KEY_TH_DPORT), .object = "verdicts"}),
	RULE(IPV4, {.kind = STEP_MAP, .keys = {KEY_IP_DADDR, KEY_L4PROTO}, .key_count = 2, .object = "box_map"}),
	RULE(VERDICT(DROP)),
};

static const struct nft_rule output_rules[] = {
	RULE({.kind = STEP_COMPARE, KEY1(KEY_SKUID), .first = 33}, {.kind = STEP_RANGE, KEY1(KEY_SKGID), .first = 255, .last = 65536}, VERDICT(ACCEPT)),
	RULE({.kind = STEP_LOOKUP, KEY1(KEY_SKUID), .object = "users"}, VERDICT(ACCEPT)),
	RULE({.kind = STEP_LOOKUP, KEY1(KEY_SKUID), .object = "user_ranges"}, VERDICT(ACCEPT)),
	RULE({.kind = STEP_LOOKUP, .keys = {KEY_OIFNAME, KEY_SKUID, KEY_SKGID}, .key_count = 3, .object = "subjects"}, VERDICT(ACCEPT)),
	RULE({.kind = STEP_LOOKUP, KEY1(KEY_OIFNAME), .object = "names"}, VERDICT(ACCEPT)),
};

static const struct chain all_chains[] = {
	{.name = "input", .hook = HOOK_INPUT, .policy_drop = true, .rules = input_rules, .count = COUNT(input_rules)},
	{.name = "output", .hook = HOOK_OUTPUT, .rules = output_rules, .count = COUNT(output_rules)},
	{.name = "forward", .hook = HOOK_FORWARD, .policy_drop = true},
	{.name = "leaf", .rules = leaf_rules, .count = COUNT(leaf_rules)},
};

#define VALUES(...) .values = {(const struct interval[]){__VA_ARGS__}, COUNT(((const struct interval[]){__VA_ARGS__}))}
#define ELEMENTS(...) .elements = (const struct element[]){__VA_ARGS__}, .element_count = COUNT(((const struct element[]){__VA_ARGS__}))
#define EXACT(...) {.first = {__VA_ARGS__}, .last = {__VA_ARGS__}}

static const struct set all_sets[] = {
	{.name = "ports", KEY1(KEY_TH_DPORT), VALUES({22, 22}, {80, 82}, {65535, 65535})},
	{.name = "types", KEY1(KEY_ICMPV6_TYPE), VALUES({133, 136})},
	{.name = "port_ranges", KEY1(KEY_TH_DPORT), .interval = true, VALUES({0, 0}, {80, 90}, {65000, 65535})},
	{.name = "networks", KEY1(KEY_IP_SADDR), .interval = true, VALUES({0x0a000000, 0x0affffff}, {0xe0000000, 0xffffffff})},
	{.name = "networks6", KEY1(KEY_IP6_DADDR), .interval = true, VALUES({1, 1}, {V6, V6 + 0xffff}, {U128_MAX, U128_MAX})},
	{.name = "users", KEY1(KEY_SKUID), VALUES({33, 33}, {1000, 1001})},
	{.name = "user_ranges", KEY1(KEY_SKUID), .interval = true, VALUES({33, 255}, {0x10000, 0xffffffff})},
	{.name = "names", KEY1(KEY_OIFNAME), .interval = true, VALUES({ETH, ETH + (((u128)1 << 96) - 1)})},
	{.name = "tuples", .keys = {KEY_IP_SADDR, KEY_L4PROTO, KEY_TH_DPORT}, .key_count = 3, ELEMENTS(EXACT(1, 6, 80), EXACT(1, 17, 53))},
	{.name = "boxes", .keys = {KEY_IP_SADDR, KEY_L4PROTO, KEY_TH_DPORT}, .key_count = 3, .interval = true,
		ELEMENTS({.first = {0, 6, 0}, .last = {0xffffffff, 6, 1023}}, {.first = {0x0a000000, 6, 80}, .last = {0x0a00ffff, 6, 90}})},
	{.name = "subjects", .keys = {KEY_OIFNAME, KEY_SKUID, KEY_SKGID}, .key_count = 3, .interval = true,
		ELEMENTS({.first = {ETH, 1, 0}, .last = {ETH + (((u128)1 << 96) - 1), 256, 0xffffffff}}, EXACT(ETH0, 300, 300))},
	{.name = "interfaces", .keys = {KEY_IIFNAME, KEY_L4PROTO}, .key_count = 2, ELEMENTS(EXACT(ETH0, 6))},
	{.name = "standing", .kind = SET_TIMED, KEY1(KEY_L4PROTO), .timeout_ms = 60000, ELEMENTS(EXACT(6))},
	{.name = "sources", .kind = SET_METER, KEY1(KEY_IP6_SADDR), .timeout_ms = 60000, .size = 1000},
	{.name = "verdicts", .kind = SET_MAP, KEY1(KEY_TH_DPORT), .interval = true,
		ELEMENTS({.first = {0}, .last = {21}, .verdict = NFT_VERDICT_DROP}, {.first = {22}, .last = {22}, .verdict = NFT_VERDICT_JUMP, .chain = "leaf"},
			{.first = {100}, .last = {65535}, .verdict = NFT_VERDICT_GOTO, .chain = "leaf"})},
	{.name = "box_map", .kind = SET_MAP, .keys = {KEY_IP_DADDR, KEY_L4PROTO}, .key_count = 2, .interval = true,
		ELEMENTS({.first = {1, 6}, .last = {9, 6}, .verdict = NFT_VERDICT_ACCEPT}, {.first = {100, 0}, .last = {0xffffffff, 255}, .verdict = NFT_VERDICT_RETURN})},
};

static const struct counter all_counters[] = {{.name = "hits"}};

static const struct ruleset everything = {.table = "test", .exists = true, .chains = all_chains, .chain_count = COUNT(all_chains), .sets = all_sets,
	.set_count = COUNT(all_sets), .counters = all_counters, .counter_count = COUNT(all_counters)};

static int install(struct state *state, const struct ruleset *wanted, size_t *changed)
{
	struct changes *changes;
	struct refusal refusal;
	const char *problem;
	int status = kernel_install(state->ctx, state->kernel, "test", wanted, &changes, &refusal, &problem);
	*changed = changes ? changes->count : 0;
	if (status)
		fprintf(stderr, "install: %d, %s, change %d, %s\n", status, refusal.error ? strerror(refusal.error) : "-",
			refusal.change ? (int)refusal.change->kind : -1, problem ? problem : "-");
	return status;
}

static struct ruleset *dump(struct state *state)
{
	struct ruleset *ruleset;
	uint32_t generation;
	CHECK(!kernel_dump(state->ctx, state->kernel, "test", &ruleset, &generation));
	CHECK(generation);
	return ruleset;
}

static size_t differences(struct state *state, const struct ruleset *wanted)
{
	struct changes *changes;
	const char *problem;
	CHECK(!ruleset_difference(state->ctx, dump(state), wanted, &changes, &problem));
	for (size_t i = 0; i < changes->count && i < 5; i++)
		fprintf(stderr, "differs: kind %d %s\n", changes->at[i].kind,
			changes->at[i].set ? changes->at[i].set->name : changes->at[i].chain ? changes->at[i].chain->name : "");
	return changes->count;
}

static void body_everything(struct state *state)
{
	size_t changed;
	CHECK(!install(state, &everything, &changed));
	CHECK(changed);
	CHECK(!differences(state, &everything));
	const struct ruleset *found = dump(state);
	for (size_t i = 0; i < found->set_count; i++)
		CHECK(!found->sets[i].foreign);
	CHECK(!install(state, &everything, &changed));
	CHECK(!changed);
}

static void every_item_comes_back_equal(void **state)
{
	(void)state;
	in_namespace(body_everything);
}

/* nft, where it is installed, must be able to list all that we write, and mean the same by it. */
static void body_nft(struct state *state)
{
	size_t changed;
	if (shell("command -v nft >/dev/null"))
		return;
	CHECK(!install(state, &everything, &changed));
	CHECK(!shell("nft list table inet test | grep -q 'elements = { 33, 1000, 1001 }\\|elements = { 33, 1000,'"));
	CHECK(!shell("nft list set inet test user_ranges | grep -q '33-255, 65536-4294967295'"));
	CHECK(!shell("nft list set inet test networks | grep -q '10.0.0.0/8, 224.0.0.0/3\\|10.0.0.0/8,'"));
	CHECK(!shell("nft list chain inet test input | grep -q 'update @sources { ip6 saddr & ffff:ffff:ffff:ffff:: limit rate 10/minute burst 20 packets }'"));
	CHECK(!shell("nft list chain inet test input | grep -q 'iifname \"eth0\" iifname \"eth\\*\" accept comment \"why\"'"));
	CHECK(!shell("nft list chain inet test leaf | grep -q 'counter name \"hits\" limit rate 10/second burst 10 packets log prefix \"line 3: \" group 7'"));
	CHECK(!shell("nft list table inet test >/dev/null"));
}

static void nft_lists_it(void **state)
{
	(void)state;
	in_namespace(body_nft);
}

static void body_remove(struct state *state)
{
	size_t changed;
	CHECK(!install(state, &everything, &changed));
	CHECK(dump(state)->exists);
	CHECK(!install(state, NULL, &changed));
	CHECK(changed == 1);
	CHECK(!dump(state)->exists);
	CHECK(!install(state, NULL, &changed));
	CHECK(!changed);
}

static void removal_leaves_no_trace(void **state)
{
	(void)state;
	in_namespace(body_remove);
}

/* In a user namespace the buffer ends where the host says, and with it the largest batch. */
static bool big_batches(struct state *state)
{
	int size = 0;
	socklen_t length = sizeof(size);
	kernel_force_send_buffer(state->kernel, 64 << 20);
	if (!getsockopt(mnl_socket_get_fd(state->kernel->socket), SOL_SOCKET, SO_SNDBUF, &size, &length) && size >= 64 << 20)
		return true;
	printf("skipped: a user namespace may not send a batch of this size\n");
	return false;
}

static struct ruleset one_set(const struct set *set)
{
	return (struct ruleset){.table = "test", .exists = true, .chains = all_chains + 2, .chain_count = 1, .sets = set, .set_count = 1};
}

static void check_big_values(struct state *state, unsigned count, bool interval)
{
	size_t changed;
	struct interval *list = talloc_array(state->ctx, struct interval, count);
	for (unsigned i = 0; i < count; i++)
		list[i] = (struct interval){i * 10, i * 10 + (interval ? 5 : 0)};
	const struct set set = {.name = interval ? "ranges" : "values", KEY1(KEY_IP_SADDR), .interval = interval, .values = {list, count}};
	const struct ruleset wanted = one_set(&set);
	CHECK(!install(state, &wanted, &changed));
	const struct ruleset *found = dump(state);
	CHECK(found->set_count == 1);
	CHECK(found->sets[0].values.count == count);
	CHECK(intervals_equal(found->sets[0].values, set.values));
}

static void body_big_sets(struct state *state)
{
	if (!big_batches(state))
		return;
	check_big_values(state, 100000, true);
	check_big_values(state, 100000, false);
}

static void big_sets_arrive_whole(void **state)
{
	(void)state;
	in_namespace(body_big_sets);
}

/* Differences of elements, one key and several. */
static void body_elements(struct state *state)
{
	struct refusal refusal;
	size_t changed;
	const struct set before = {.name = "s", KEY1(KEY_IP_SADDR), .interval = true, VALUES({1, 9}, {20, 29}, {40, 49})};
	const struct set gone = {.name = "s", KEY1(KEY_IP_SADDR), .interval = true, VALUES({20, 29})};
	const struct set come = {.name = "s", KEY1(KEY_IP_SADDR), .interval = true, VALUES({20, 24}, {0xfffffff0, 0xffffffff})};
	const struct interval after[] = {{1, 9}, {20, 24}, {40, 49}, {0xfffffff0, 0xffffffff}};
	const struct ruleset wanted = one_set(&before);
	const struct change list[] = {{.kind = CHANGE_ELEMENTS_DELETE, .set = &gone}, {.kind = CHANGE_ELEMENTS_ADD, .set = &come}};
	const struct changes changes = {.table = "test", .at = list, .count = 2};
	CHECK(!install(state, &wanted, &changed));
	CHECK(!kernel_commit(state->kernel, &changes, 0, &refusal));
	CHECK(intervals_equal(dump(state)->sets[0].values, (struct intervals){after, 4}));
}

static void members_come_and_go(void **state)
{
	(void)state;
	in_namespace(body_elements);
}

static void body_many_rules(struct state *state)
{
	size_t changed;
	if (!big_batches(state))
		return;
	struct nft_rule *rules = talloc_array(state->ctx, struct nft_rule, 10000);
	for (unsigned i = 0; i < 10000; i++) {
		struct step *steps = talloc_zero_array(rules, struct step, 3);
		steps[0] = (struct step)PROTOCOL(6);
		steps[1] = (struct step){.kind = STEP_COMPARE, KEY1(KEY_TH_DPORT), .first = i};
		steps[2] = (struct step)VERDICT(ACCEPT);
		rules[i] = (struct nft_rule){.steps = steps, .count = 3};
	}
	const struct chain chain = {.name = "input", .hook = HOOK_INPUT, .rules = rules, .count = 10000};
	const struct ruleset wanted = {.table = "test", .exists = true, .chains = &chain, .chain_count = 1};
	CHECK(!install(state, &wanted, &changed));
	CHECK(dump(state)->chains[0].count == 10000);
	CHECK(!differences(state, &wanted));
}

static void ten_thousand_rules(void **state)
{
	(void)state;
	in_namespace(body_many_rules);
}

/* A rule that jumps to nowhere, far down in a batch, is named; and what stood before still stands. */
static void body_refusal(struct state *state)
{
	struct changes *changes;
	struct refusal refusal;
	const char *problem;
	size_t changed;
	const struct nft_rule bad[] = {RULE(VERDICT(ACCEPT)), RULE(VERDICT(ACCEPT)), RULE(TO(JUMP, "nowhere")), RULE(VERDICT(DROP))};
	const struct chain chains[] = {all_chains[0], all_chains[1], all_chains[2], all_chains[3], {.name = "more", .rules = bad, .count = COUNT(bad)}};
	struct ruleset wanted = everything;
	wanted.chains = chains;
	wanted.chain_count = COUNT(chains);
	CHECK(!install(state, &everything, &changed));
	CHECK(kernel_install(state->ctx, state->kernel, "test", &wanted, &changes, &refusal, &problem) == 1);
	CHECK(refusal.error == ENOENT);
	CHECK(refusal.change && refusal.change->rule == &bad[2]);
	CHECK(!differences(state, &everything));
}

static void refusal_names_its_change(void **state)
{
	(void)state;
	in_namespace(body_refusal);
}

static void body_first_refused(struct state *state)
{
	struct changes *changes;
	struct refusal refusal;
	const char *problem;
	const struct nft_rule bad[] = {RULE(TO(JUMP, "nowhere"))};
	const struct chain chain = {.name = "input", .hook = HOOK_INPUT, .policy_drop = true, .rules = bad, .count = 1};
	const struct ruleset wanted = {.table = "test", .exists = true, .chains = &chain, .chain_count = 1};
	CHECK(kernel_install(state->ctx, state->kernel, "test", &wanted, &changes, &refusal, &problem) == 1);
	CHECK(refusal.change && refusal.change->rule == &bad[0]);
	CHECK(!dump(state)->exists);
}

static void refused_first_apply_leaves_no_table(void **state)
{
	(void)state;
	in_namespace(body_first_refused);
}

/* More errors than the answers' queue holds: still the first one is named. */
static void body_flood(struct state *state)
{
	struct refusal refusal;
	if (!big_batches(state))
		return;
	struct change *list = talloc_zero_array(state->ctx, struct change, 100000);
	const struct nft_rule rule = RULE(VERDICT(ACCEPT));
	for (unsigned i = 0; i < 100000; i++)
		list[i] = (struct change){.kind = CHANGE_RULE_ADD, .chain = &all_chains[3], .rule = &rule};
	const struct changes changes = {.table = "test", .at = list, .count = 100000};
	CHECK(kernel_commit(state->kernel, &changes, 0, &refusal) == 1);
	CHECK(refusal.error == ENOENT);
	CHECK(refusal.change == &list[0]);
	CHECK(!dump(state)->exists); /* and the socket still works */
}

static void flood_of_errors(void **state)
{
	(void)state;
	in_namespace(body_flood);
}

static void body_generation(struct state *state)
{
	struct refusal refusal;
	size_t changed;
	uint32_t generation;
	struct ruleset *before;
	const struct change list[] = {{.kind = CHANGE_TABLE_DELETE}};
	const struct changes changes = {.table = "test", .at = list, .count = 1};
	CHECK(!install(state, &everything, &changed));
	CHECK(!kernel_dump(state->ctx, state->kernel, "test", &before, &generation));
	CHECK(kernel_commit(state->kernel, &changes, generation + 1, &refusal) == 2);
	CHECK(dump(state)->exists);
	CHECK(!kernel_commit(state->kernel, &changes, generation, &refusal));
	CHECK(!dump(state)->exists);
}

static void generation_that_moved_on(void **state)
{
	(void)state;
	in_namespace(body_generation);
}

static void body_foreign_table(struct state *state)
{
	struct changes *changes;
	struct refusal refusal;
	const char *problem;
	if (shell("command -v nft >/dev/null"))
		return;
	CHECK(!shell("nft 'add table inet test; add chain inet test input { type filter hook input priority -5; }'"));
	CHECK(kernel_install(state->ctx, state->kernel, "test", &everything, &changes, &refusal, &problem) == 3);
	CHECK(problem && strstr(problem, "input"));
	CHECK(kernel_install(state->ctx, state->kernel, "test", NULL, &changes, &refusal, &problem) == 3);
	CHECK(dump(state)->exists);
}

static void foreign_table_is_left_alone(void **state)
{
	(void)state;
	in_namespace(body_foreign_table);
}

/* What others change in the table is found and put right. */
static void body_repair(struct state *state)
{
	size_t changed;
	static const char *const meddling[] = {
		"flush chain inet test leaf", "insert rule inet test input accept", "add rule inet test output counter drop",
		"delete element inet test ports { 80 }", "add element inet test networks { 192.0.2.0/24 }", "add chain inet test extra",
		"chain inet test input { policy accept; }", "add set inet test extra { type ipv4_addr; }", "add counter inet test extra",
		"delete element inet test boxes { 0.0.0.0-255.255.255.255 . tcp . 0-1023 }",
	};
	if (shell("command -v nft >/dev/null"))
		return;
	CHECK(!install(state, &everything, &changed));
	for (size_t i = 0; i < COUNT(meddling); i++) {
		char command[256];
		snprintf(command, sizeof(command), "nft '%s'", meddling[i]);
		CHECK(!shell(command));
		CHECK(!install(state, &everything, &changed));
		if (!changed)
			fprintf(stderr, "not seen: %s\n", meddling[i]);
		CHECK(changed);
		CHECK(!differences(state, &everything));
	}
}

static void meddling_is_repaired(void **state)
{
	(void)state;
	in_namespace(body_repair);
}

/* Connections: the peer lives in a namespace of its own, behind a veth pair. */
struct peer {
	pid_t pid;
	int to, from; /* pipes: one byte for each step */
};

static struct peer peer_start(int (*body)(int to, int from))
{
	int down[2], up[2];
	CHECK(!pipe(down) && !pipe(up));
	struct peer peer = {.pid = fork(), .to = down[1], .from = up[0]};
	CHECK(peer.pid >= 0);
	if (!peer.pid) {
		alarm(60);
		CHECK(!unshare(CLONE_NEWNET));
		_exit(body(up[1], down[0]));
	}
	close(down[0]);
	close(up[1]);
	return peer;
}

static void tell(int fd)
{
	CHECK(write(fd, "x", 1) == 1);
}

static void hear(int fd)
{
	char byte;
	CHECK(read(fd, &byte, 1) == 1);
}

static socklen_t address(struct sockaddr_storage *out, const char *text, uint16_t port)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)out;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;
	memset(out, 0, sizeof(*out));
	if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
		return sizeof(*v4);
	}
	CHECK(inet_pton(AF_INET6, text, &v6->sin6_addr) == 1);
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons(port);
	return sizeof(*v6);
}

static int socket_at(int type, const char *local, uint16_t port)
{
	struct sockaddr_storage to;
	int on = 1;
	socklen_t length = address(&to, local, port);
	int fd = socket(to.ss_family, type | SOCK_CLOEXEC, 0);
	CHECK(fd >= 0);
	CHECK(!setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)));
	CHECK(!bind(fd, (struct sockaddr *)&to, length));
	if (type == SOCK_STREAM)
		CHECK(!listen(fd, 8));
	return fd;
}

static int connect_to(int type, const char *remote, uint16_t port)
{
	struct sockaddr_storage to;
	socklen_t length = address(&to, remote, port);
	for (int i = 0; i < 50; i++) {
		int fd = socket(to.ss_family, type | SOCK_CLOEXEC, 0);
		CHECK(fd >= 0);
		if (!connect(fd, (struct sockaddr *)&to, length))
			return fd;
		close(fd);
		usleep(100000);
	}
	CHECK(!"connected");
	return -1;
}

static bool arrives(int fd)
{
	struct pollfd wait = {.fd = fd, .events = POLLIN};
	char byte;
	return poll(&wait, 1, 3000) == 1 && read(fd, &byte, 1) == 1;
}

/* The peer listens on TCP 1000 to 1001 over both families and answers on UDP 53; it speaks first on 1001. */
static const char *const peer_addresses[] = {"10.9.0.2", "fd09::2"};

static int peer_body(int to, int from)
{
	int listening[4], open[4], udp;
	shell("ip link set lo up");
	tell(to);
	hear(from); /* the link is there */
	CHECK(!shell("ip address add 10.9.0.2/24 dev pv1 && ip -6 address add fd09::2/64 dev pv1 nodad && ip link set pv1 up"));
	for (int i = 0; i < 4; i++)
		listening[i] = socket_at(SOCK_STREAM, peer_addresses[i / 2], (uint16_t)(1000 + i % 2));
	udp = socket_at(SOCK_DGRAM, "10.9.0.2", 53);
	tell(to);
	for (int i = 0; i < 4; i++)
		CHECK((open[i] = accept(listening[i], NULL, NULL)) >= 0);
	CHECK(arrives(udp));
	hear(from); /* the rules are there */
	for (int i = 0; i < 4; i++) {
		if (i % 2)
			CHECK(write(open[i], "p", 1) == 1);
		CHECK(arrives(open[i]));
		if (!(i % 2))
			CHECK(write(open[i], "p", 1) == 1);
	}
	tell(to);
	hear(from);
	return 0;
}

static const struct nft_rule strict_rules[] = {
	RULE({.kind = STEP_COMPARE, KEY1(KEY_CT_STATE), .mask = 2, .negated = true}, VERDICT(ACCEPT)),
	RULE(IPV6, PROTOCOL(58), VERDICT(ACCEPT)),
	RULE(VERDICT(DROP)),
};
static const struct chain strict_chains[] = {
	{.name = "input", .hook = HOOK_INPUT, .policy_drop = true, .rules = strict_rules, .count = COUNT(strict_rules)},
	{.name = "output", .hook = HOOK_OUTPUT, .policy_drop = true, .rules = strict_rules, .count = COUNT(strict_rules)},
	{.name = "forward", .hook = HOOK_FORWARD, .policy_drop = true, .rules = strict_rules, .count = COUNT(strict_rules)},
};
static const struct ruleset strict = {.table = "test", .exists = true, .chains = strict_chains, .chain_count = COUNT(strict_chains)};

static void link_peer(const struct peer *peer)
{
	char command[256];
	hear(peer->from);
	snprintf(command, sizeof(command), "ip link add pv0 type veth peer name pv1 netns %d && ip address add 10.9.0.1/24 dev pv0 && "
					   "ip -6 address add fd09::1/64 dev pv0 nodad && ip link set pv0 up", peer->pid);
	CHECK(!shell(command));
	tell(peer->to);
	hear(peer->from);
}

/* One of the four comes from a v6 socket that speaks IPv4: a mapped one. */
static void body_adoption(struct state *state)
{
	int fd[4], status;
	size_t changed, adopted;
	struct peer peer = peer_start(peer_body);
	link_peer(&peer);
	for (int i = 0; i < 4; i++)
		fd[i] = connect_to(SOCK_STREAM, i == 1 ? "::ffff:10.9.0.2" : peer_addresses[i / 2], (uint16_t)(1000 + i % 2));
	int udp = connect_to(SOCK_DGRAM, "10.9.0.2", 53);
	CHECK(write(udp, "q", 1) == 1);
	CHECK(!install(state, &strict, &changed));
	CHECK(changed);
	tell(peer.to);
	for (int i = 0; i < 4; i++) {
		if (!(i % 2))
			CHECK(write(fd[i], "h", 1) == 1);
		CHECK(arrives(fd[i]));
		if (i % 2)
			CHECK(write(fd[i], "h", 1) == 1);
	}
	hear(peer.from);
	CHECK(!kernel_adopt_connections(state->kernel, &adopted)); /* again: all are there, and are corrected */
	CHECK(adopted == 5);
	struct sockaddr_storage to;
	socklen_t length = address(&to, "10.9.0.2", 1000);
	int fresh = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0); /* a new one is cut */
	CHECK(connect(fresh, (struct sockaddr *)&to, length) < 0);
	struct pollfd wait = {.fd = fresh, .events = POLLOUT};
	CHECK(poll(&wait, 1, 300) == 0);
	tell(peer.to);
	waitpid(peer.pid, &status, 0);
	CHECK(WIFEXITED(status) && !WEXITSTATUS(status));
}

static void standing_connections_live_on(void **state)
{
	(void)state;
	in_namespace(body_adoption);
}

/* A router in the middle has no sockets to ask: a set that runs out lets segments of standing connections pass. */
static int far_body(int to, int from)
{
	int open, listening;
	shell("ip link set lo up");
	tell(to);
	hear(from);
	CHECK(!shell("ip address add 10.8.0.2/24 dev fv1 && ip link set fv1 up && ip route add default via 10.8.0.1"));
	listening = socket_at(SOCK_STREAM, "10.8.0.2", 1000);
	tell(to);
	CHECK((open = accept(listening, NULL, NULL)) >= 0);
	hear(from);
	CHECK(write(open, "p", 1) == 1);
	CHECK(arrives(open));
	tell(to);
	hear(from);
	return 0;
}

static int near_body(int to, int from)
{
	int fd;
	shell("ip link set lo up");
	tell(to);
	hear(from);
	CHECK(!shell("ip address add 10.7.0.2/24 dev nv1 && ip link set nv1 up && ip route add default via 10.7.0.1"));
	tell(to);
	hear(from);
	fd = connect_to(SOCK_STREAM, "10.8.0.2", 1000);
	tell(to);
	CHECK(arrives(fd));
	CHECK(write(fd, "n", 1) == 1);
	hear(from);
	return 0;
}

static const struct set standing_set = {.name = "standing", .kind = SET_TIMED, KEY1(KEY_L4PROTO), .timeout_ms = 60000, ELEMENTS(EXACT(6))};
static const struct nft_rule standing_rules[] = {
	RULE({.kind = STEP_COMPARE, KEY1(KEY_CT_STATE), .mask = 2, .negated = true}, VERDICT(ACCEPT)),
	RULE(PROTOCOL(6), {.kind = STEP_COMPARE, KEY1(KEY_TCP_FLAGS), .mask = 0x16, .first = 0x10}, {.kind = STEP_LOOKUP, KEY1(KEY_L4PROTO), .object = "standing"},
		VERDICT(ACCEPT)),
	RULE(VERDICT(DROP)),
};

static void body_forwarded(struct state *state)
{
	char command[512];
	int status;
	size_t changed;
	const struct chain chain = {.name = "forward", .hook = HOOK_FORWARD, .policy_drop = true, .rules = standing_rules, .count = COUNT(standing_rules)};
	const struct ruleset wanted = {.table = "test", .exists = true, .chains = &chain, .chain_count = 1, .sets = &standing_set, .set_count = 1};
	struct peer far = peer_start(far_body), near = peer_start(near_body);
	hear(far.from);
	hear(near.from);
	snprintf(command, sizeof(command), "ip link add fv0 type veth peer name fv1 netns %d && ip link add nv0 type veth peer name nv1 netns %d && "
		"ip address add 10.8.0.1/24 dev fv0 && ip link set fv0 up && ip address add 10.7.0.1/24 dev nv0 && ip link set nv0 up", far.pid, near.pid);
	CHECK(!shell(command));
	CHECK(write_file("/proc/sys/net/ipv4/ip_forward", "1"));
	tell(far.to);
	hear(far.from);
	tell(near.to);
	hear(near.from);
	tell(near.to);
	hear(near.from);
	CHECK(!install(state, &wanted, &changed));
	tell(far.to);
	hear(far.from);
	tell(far.to);
	tell(near.to);
	waitpid(far.pid, &status, 0);
	CHECK(WIFEXITED(status) && !WEXITSTATUS(status));
	waitpid(near.pid, &status, 0);
	CHECK(WIFEXITED(status) && !WEXITSTATUS(status));
}

static void forwarded_connections_live_on(void **state)
{
	(void)state;
	in_namespace(body_forwarded);
}

static bool namespaces_allowed(void)
{
	int status;
	pid_t child = fork();
	if (!child) {
		struct kernel *kernel;
		_exit(!enter_namespace() || kernel_open(NULL, &kernel));
	}
	return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && !WEXITSTATUS(status);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_item_comes_back_equal),
		cmocka_unit_test(nft_lists_it),
		cmocka_unit_test(removal_leaves_no_trace),
		cmocka_unit_test(big_sets_arrive_whole),
		cmocka_unit_test(members_come_and_go),
		cmocka_unit_test(ten_thousand_rules),
		cmocka_unit_test(refusal_names_its_change),
		cmocka_unit_test(refused_first_apply_leaves_no_table),
		cmocka_unit_test(flood_of_errors),
		cmocka_unit_test(generation_that_moved_on),
		cmocka_unit_test(foreign_table_is_left_alone),
		cmocka_unit_test(meddling_is_repaired),
		cmocka_unit_test(standing_connections_live_on),
		cmocka_unit_test(forwarded_connections_live_on),
	};
	if (!namespaces_allowed()) {
		printf("skipped: this machine does not let us make a network namespace with nf_tables in it\n");
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
