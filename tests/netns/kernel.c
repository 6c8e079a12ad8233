/*
 * The kernel layer against a real kernel, in a network namespace of its own.
 *
 * One child process for each test makes the namespace, so tests leave nothing to each other or to the machine.  Without the
 * right to make one the tests are skipped, and say so.
 */
#include "tests/netns/lib/kernel_test.h"

static const struct nft_rule leaf_rules[] = {
	RULE({.kind = STEP_COUNTER, .object = "hits"}, {.kind = STEP_LIMIT, .rate = 10, .seconds = 1, .burst = 10},
		{.kind = STEP_LOG, .group = 7, .prefix = "line 3: "}, VERDICT(RETURN)),
	RULE(PROTOCOL(6), {.kind = STEP_COMPARE, KEY1(KEY_TCP_FLAGS), .mask = 0x17, .first = 2},
		{.kind = STEP_REJECT, .tcp_reset = true}),
	RULE({.kind = STEP_REJECT}),
};

static const struct nft_rule input_rules[] = {
	RULE({.kind = STEP_COMPARE, KEY1(KEY_CT_STATE), .mask = 2, .negated = true}, VERDICT(ACCEPT)),
	RULE({.kind = STEP_COMPARE, KEY1(KEY_CT_STATE), .mask = 1, .negated = true}, VERDICT(DROP)),
	RULE({.kind = STEP_COMPARE, KEY1(KEY_IIFNAME), .first = ETH0},
		{.kind = STEP_PREFIX, KEY1(KEY_IIFNAME), .first = ETH, .length = 3}, VERDICT(ACCEPT)),
	RULE({.kind = STEP_PREFIX, KEY1(KEY_IIFNAME), .first = ETH, .length = 3, .negated = true}, TO(JUMP, "leaf")),
	RULE(IPV4, {.kind = STEP_COMPARE, KEY1(KEY_IP_SADDR), .first = 0x0a800000, .mask = 0xff800000}, TO(GOTO, "leaf")),
	RULE(IPV4, {.kind = STEP_RANGE, KEY1(KEY_IP_DADDR), .first = 1, .last = 0xe0000000, .negated = true}, VERDICT(DROP)),
	RULE(IPV6, {.kind = STEP_COMPARE, KEY1(KEY_IP6_SADDR), .first = V6, .mask = U128_MAX << 64, .negated = true},
		VERDICT(DROP)),
	RULE(PROTOCOL(17), {.kind = STEP_RANGE, KEY1(KEY_TH_DPORT), .first = 100, .last = 200},
		{.kind = STEP_COMPARE, KEY1(KEY_TH_SPORT), .first = 53}, VERDICT(ACCEPT)),
	RULE(IPV4, PROTOCOL(1), {.kind = STEP_COMPARE, KEY1(KEY_ICMP_TYPE), .first = 8}, VERDICT(ACCEPT)),
	RULE(IPV6, PROTOCOL(58), {.kind = STEP_COMPARE, KEY1(KEY_ICMPV6_TYPE), .first = 128}, VERDICT(ACCEPT)),
	RULE(IPV6, PROTOCOL(58), {.kind = STEP_LOOKUP, KEY1(KEY_ICMPV6_TYPE), .object = "types"}, VERDICT(ACCEPT)),
	RULE(PROTOCOL(6), {.kind = STEP_LOOKUP, KEY1(KEY_TH_DPORT), .object = "ports"}, VERDICT(ACCEPT)),
	RULE(PROTOCOL(6), {.kind = STEP_LOOKUP, KEY1(KEY_TH_DPORT), .object = "port_ranges", .negated = true}, VERDICT(DROP)),
	RULE(IPV4, {.kind = STEP_LOOKUP, KEY1(KEY_IP_SADDR), .object = "networks"}, VERDICT(ACCEPT)),
	RULE(IPV6, {.kind = STEP_LOOKUP, KEY1(KEY_IP6_DADDR), .object = "networks6"}, VERDICT(ACCEPT)),
	RULE(IPV4, {.kind = STEP_LOOKUP, .keys = {KEY_IP_SADDR, KEY_L4PROTO, KEY_TH_DPORT}, .key_count = 3, .object = "boxes"},
		VERDICT(ACCEPT)),
	RULE(IPV4, {.kind = STEP_LOOKUP, .keys = {KEY_IP_SADDR, KEY_L4PROTO, KEY_TH_DPORT}, .key_count = 3, .object = "tuples"},
		VERDICT(ACCEPT)),
	RULE({.kind = STEP_LOOKUP, .keys = {KEY_IIFNAME, KEY_L4PROTO}, .key_count = 2, .object = "interfaces"}, VERDICT(ACCEPT)),
	RULE({.kind = STEP_LOOKUP, KEY1(KEY_L4PROTO), .object = "standing"}, VERDICT(ACCEPT)),
	RULE(IPV6,
		{.kind = STEP_METER,
			KEY1(KEY_IP6_SADDR),
			.mask = U128_MAX << 64,
			.object = "sources",
			.rate = 10,
			.seconds = 60,
			.burst = 20},
		VERDICT(ACCEPT)),
	RULE(PROTOCOL(6), {.kind = STEP_MAP, KEY1(KEY_TH_DPORT), .object = "verdicts"}),
	RULE(IPV4, {.kind = STEP_MAP, .keys = {KEY_IP_DADDR, KEY_L4PROTO}, .key_count = 2, .object = "box_map"}),
	RULE(IPV4,
		{.kind = STEP_LOOKUP,
			.keys = {KEY_IP_SADDR, KEY_L4PROTO, KEY_TH_DPORT},
			.key_count = 3,
			.masks = {0xffffff00, 0, 0xfff0},
			.object = "tuples",
			.negated = true},
		VERDICT(ACCEPT)),
	RULE(IPV6, {.kind = STEP_LOOKUP, KEY1(KEY_IP6_DADDR), .masks = {U128_MAX << 80}, .object = "hosts6"}, VERDICT(ACCEPT)),
	RULE(IPV4,
		{.kind = STEP_COUNT,
			.keys = {KEY_IP_SADDR, KEY_L4PROTO},
			.key_count = 2,
			.masks = {0xffff0000},
			.object = "lines"},
		VERDICT(ACCEPT)),
	RULE({.kind = STEP_COUNT, .keys = {KEY_L4PROTO, KEY_TH_DPORT}, .key_count = 2, .object = "line_ranges"}, VERDICT(ACCEPT)),
	RULE(VERDICT(DROP)),
};

static const struct nft_rule output_rules[] = {
	RULE({.kind = STEP_COMPARE, KEY1(KEY_SKUID), .first = 33},
		{.kind = STEP_RANGE, KEY1(KEY_SKGID), .first = 255, .last = 65536}, VERDICT(ACCEPT)),
	RULE({.kind = STEP_LOOKUP, KEY1(KEY_SKUID), .object = "users"}, VERDICT(ACCEPT)),
	RULE({.kind = STEP_LOOKUP, KEY1(KEY_SKUID), .object = "user_ranges"}, VERDICT(ACCEPT)),
	RULE({.kind = STEP_LOOKUP, .keys = {KEY_OIFNAME, KEY_SKUID, KEY_SKGID}, .key_count = 3, .object = "subjects"},
		VERDICT(ACCEPT)),
	RULE({.kind = STEP_LOOKUP, KEY1(KEY_OIFNAME), .object = "names"}, VERDICT(ACCEPT)),
};

static const struct chain all_chains[] = {
	{.name = "input", .hook = HOOK_INPUT, .policy_drop = true, .rules = input_rules, .count = COUNT(input_rules)},
	{.name = "output", .hook = HOOK_OUTPUT, .rules = output_rules, .count = COUNT(output_rules)},
	{.name = "forward", .hook = HOOK_FORWARD, .policy_drop = true},
	{.name = "leaf", .rules = leaf_rules, .count = COUNT(leaf_rules)},
};

static const struct set all_sets[] = {
	{.name = "ports", KEY1(KEY_TH_DPORT), VALUES({22, 22}, {80, 82}, {65535, 65535})},
	{.name = "types", KEY1(KEY_ICMPV6_TYPE), VALUES({133, 136})},
	{.name = "port_ranges", KEY1(KEY_TH_DPORT), .interval = true, VALUES({0, 0}, {80, 90}, {65000, 65535})},
	{.name = "networks", KEY1(KEY_IP_SADDR), .interval = true, VALUES({0x0a000000, 0x0affffff}, {0xe0000000, 0xffffffff})},
	{.name = "networks6", KEY1(KEY_IP6_DADDR), .interval = true, VALUES({1, 1}, {V6, V6 + 0xffff}, {U128_MAX, U128_MAX})},
	{.name = "users", KEY1(KEY_SKUID), VALUES({33, 33}, {1000, 1001})},
	{.name = "user_ranges", KEY1(KEY_SKUID), .interval = true, VALUES({33, 255}, {0x10000, 0xffffffff})},
	{.name = "names", KEY1(KEY_OIFNAME), .interval = true, VALUES({ETH, ETH + (((u128)1 << 96) - 1)})},
	{.name = "tuples",
		.keys = {KEY_IP_SADDR, KEY_L4PROTO, KEY_TH_DPORT},
		.key_count = 3,
		ELEMENTS(EXACT(1, 6, 80), EXACT(1, 17, 53))},
	{.name = "boxes",
		.keys = {KEY_IP_SADDR, KEY_L4PROTO, KEY_TH_DPORT},
		.key_count = 3,
		.interval = true,
		ELEMENTS({.first = {0, 6, 0}, .last = {0xffffffff, 6, 1023}},
			{.first = {0x0a000000, 6, 80}, .last = {0x0a00ffff, 6, 90}})},
	{.name = "subjects",
		.keys = {KEY_OIFNAME, KEY_SKUID, KEY_SKGID},
		.key_count = 3,
		.interval = true,
		ELEMENTS({.first = {ETH, 1, 0}, .last = {ETH + (((u128)1 << 96) - 1), 256, 0xffffffff}}, EXACT(ETH0, 300, 300))},
	{.name = "interfaces", .keys = {KEY_IIFNAME, KEY_L4PROTO}, .key_count = 2, ELEMENTS(EXACT(ETH0, 6))},
	{.name = "standing", .kind = SET_TIMED, KEY1(KEY_L4PROTO), .timeout_ms = 60000, ELEMENTS(EXACT(6))},
	{.name = "sources", .kind = SET_METER, KEY1(KEY_IP6_SADDR), .timeout_ms = 60000, .size = 1000},
	{.name = "hosts6", KEY1(KEY_IP6_DADDR), VALUES({V6, V6})},
	{.name = "lines",
		.kind = SET_COUNTERS,
		.keys = {KEY_IP_SADDR, KEY_L4PROTO},
		.key_count = 2,
		ELEMENTS({.first = {0x0a000000, 6}, .last = {0x0a000000, 6}, .object = "hits"},
			{.first = {0x0a010000, 6}, .last = {0x0a010000, 6}, .object = "other_hits"})},
	{.name = "line_ranges",
		.kind = SET_COUNTERS,
		.keys = {KEY_L4PROTO, KEY_TH_DPORT},
		.key_count = 2,
		.interval = true,
		ELEMENTS({.first = {6, 1}, .last = {6, 1023}, .object = "hits"},
			{.first = {17, 53}, .last = {17, 53}, .object = "other_hits"})},
	{.name = "verdicts",
		.kind = SET_MAP,
		KEY1(KEY_TH_DPORT),
		.interval = true,
		ELEMENTS({.first = {0}, .last = {21}, .verdict = NFT_VERDICT_DROP},
			{.first = {22}, .last = {22}, .verdict = NFT_VERDICT_JUMP, .object = "leaf"},
			{.first = {100}, .last = {65535}, .verdict = NFT_VERDICT_GOTO, .object = "leaf"})},
	{.name = "box_map",
		.kind = SET_MAP,
		.keys = {KEY_IP_DADDR, KEY_L4PROTO},
		.key_count = 2,
		.interval = true,
		ELEMENTS({.first = {1, 6}, .last = {9, 6}, .verdict = NFT_VERDICT_ACCEPT},
			{.first = {100, 0}, .last = {0xffffffff, 255}, .verdict = NFT_VERDICT_RETURN})},
};

static const struct counter all_counters[] = {{.name = "hits"}, {.name = "other_hits"}};

static const struct ruleset everything = {.table = "test",
	.exists = true,
	.chains = all_chains,
	.chain_count = COUNT(all_chains),
	.sets = all_sets,
	.set_count = COUNT(all_sets),
	.counters = all_counters,
	.counter_count = COUNT(all_counters)};

static size_t differences(struct state *state, const struct ruleset *wanted)
{
	struct changes *changes;
	const char *problem;
	CHECK(!ruleset_difference(state->ctx, dump(state), wanted, &changes, &problem));
	for (size_t i = 0; i < changes->count && i < 5; i++)
		fprintf(stderr, "differs: kind %d %s\n", changes->at[i].kind,
			changes->at[i].set     ? changes->at[i].set->name
			: changes->at[i].chain ? changes->at[i].chain->name
					       : "");
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
	CHECK(!shell("nft list chain inet test input | grep -q 'update @sources { ip6 saddr & ffff:ffff:ffff:ffff:: limit rate "
		     "10/minute burst 20 packets }'"));
	CHECK(!shell("nft list chain inet test input | grep -q 'iifname \"eth0\" iifname \"eth\\*\" accept comment \"why\"'"));
	CHECK(!shell("nft list chain inet test leaf | grep -q 'counter name \"hits\" limit rate 10/second burst 10 packets log "
		     "prefix \"line 3: \" group 7'"));
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
	return (struct ruleset){
		.table = "test", .exists = true, .chains = all_chains + 2, .chain_count = 1, .sets = set, .set_count = 1};
}

static void check_big_values(struct state *state, unsigned count, bool interval)
{
	size_t changed;
	struct interval *list = talloc_array(state->ctx, struct interval, count);
	for (unsigned i = 0; i < count; i++)
		list[i] = (struct interval){i * 10, i * 10 + (interval ? 5 : 0)};
	const struct set set = {
		.name = interval ? "ranges" : "values", KEY1(KEY_IP_SADDR), .interval = interval, .values = {list, count}};
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
	const struct change list[] = {
		{.kind = CHANGE_ELEMENTS_DELETE, .set = &gone}, {.kind = CHANGE_ELEMENTS_ADD, .set = &come}};
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
	const struct nft_rule bad[] = {
		RULE(VERDICT(ACCEPT)), RULE(VERDICT(ACCEPT)), RULE(TO(JUMP, "nowhere")), RULE(VERDICT(DROP))};
	const struct chain chains[] = {
		all_chains[0], all_chains[1], all_chains[2], all_chains[3], {.name = "more", .rules = bad, .count = COUNT(bad)}};
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
		"flush chain inet test leaf",
		"insert rule inet test input accept",
		"add rule inet test output counter drop",
		"delete element inet test ports { 80 }",
		"add element inet test networks { 192.0.2.0/24 }",
		"add chain inet test extra",
		"chain inet test input { policy accept; }",
		"add set inet test extra { type ipv4_addr; }",
		"add counter inet test extra",
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
	};
	if (!namespaces_allowed()) {
		printf("skipped: this machine does not let us make a network namespace with nf_tables in it\n");
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
