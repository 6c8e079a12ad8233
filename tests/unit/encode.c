/*
 * What is written to the kernel and read back says the same.
 *
 * Every kind of step, set and member goes through the messages that the kernel would see, without a kernel. Forms that nft
 * writes for the same meaning are read too.
 */
#include "agent/kernel/kernel.h"
#include <errno.h>
#include <libmnl/libmnl.h>
#include <libnftnl/common.h>
#include <libnftnl/expr.h>
#include <libnftnl/rule.h>
#include <libnftnl/set.h>
#include <linux/netfilter/nf_tables.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <talloc.h>

#include <cmocka.h> /* behind the headers that it needs */

#define ADDRESS6 ((u128)0x20010db800000000 << 64)
#define ETH0 ((u128)0x65746830 << 88)
#define ETH ((u128)0x657468 << 96)

static uint8_t buffer[MESSAGE_ROOM] __attribute__((aligned(8)));

static void through_message(void *ctx, struct nftnl_rule *rule, struct nft_rule *out)
{
	struct nlmsghdr *message = nftnl_nlmsg_build_hdr((char *)buffer, NFT_MSG_NEWRULE, 1, 0, 1);
	struct nftnl_rule *read = nftnl_rule_alloc();
	nftnl_rule_nlmsg_build_payload(message, rule);
	assert_true(nftnl_rule_nlmsg_parse(message, read) >= 0);
	assert_int_equal(decode_rule(ctx, read, out), 0);
	nftnl_rule_free(read);
	nftnl_rule_free(rule);
}

static void check_rule(const struct step *steps, size_t count)
{
	void *ctx = talloc_new(NULL);
	struct nft_rule rule = {.steps = steps, .count = count, .comment = "from line 7"}, out;
	struct nftnl_rule *encoded;
	assert_int_equal(encode_rule("t", "c", &rule, &encoded), 0);
	through_message(ctx, encoded, &out);
	assert_int_equal(out.count, count);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(out.steps[i].kind, steps[i].kind);
	assert_true(nft_rule_equal(&rule, &out));
	assert_string_equal(out.comment, "from line 7");
	talloc_free(ctx);
}

#define KEY1(name) .keys = {name}, .key_count = 1
#define CHECK(...)                                                                                                               \
	do {                                                                                                                     \
		const struct step steps[] = {__VA_ARGS__};                                                                       \
		check_rule(steps, sizeof(steps) / sizeof(*steps));                                                               \
	} while (0)
#define IPV4                                                                                                                     \
	{                                                                                                                        \
		.kind = STEP_COMPARE, KEY1(KEY_NFPROTO), .first = 2                                                              \
	}
#define IPV6                                                                                                                     \
	{                                                                                                                        \
		.kind = STEP_COMPARE, KEY1(KEY_NFPROTO), .first = 10                                                             \
	}
#define PROTOCOL(number)                                                                                                         \
	{                                                                                                                        \
		.kind = STEP_COMPARE, KEY1(KEY_L4PROTO), .first = number                                                         \
	}

static void every_key_is_compared(void **state)
{
	(void)state;
	CHECK(IPV4, {.kind = STEP_COMPARE, KEY1(KEY_IP_SADDR), .first = 0x0a000001},
		{.kind = STEP_COMPARE, KEY1(KEY_IP_DADDR), .first = 0xffffffff});
	CHECK(IPV6, {.kind = STEP_COMPARE, KEY1(KEY_IP6_SADDR), .first = ADDRESS6},
		{.kind = STEP_COMPARE, KEY1(KEY_IP6_DADDR), .first = U128_MAX});
	CHECK(PROTOCOL(6), {.kind = STEP_COMPARE, KEY1(KEY_TH_SPORT), .first = 1},
		{.kind = STEP_COMPARE, KEY1(KEY_TH_DPORT), .first = 65535, .negated = true});
	CHECK({.kind = STEP_COMPARE, KEY1(KEY_SKUID), .first = 33}, {.kind = STEP_COMPARE, KEY1(KEY_SKGID), .first = 0x01020304});
	CHECK({.kind = STEP_COMPARE, KEY1(KEY_IIFNAME), .first = ETH0},
		{.kind = STEP_COMPARE, KEY1(KEY_OIFNAME), .first = INTERFACE_LAST});
	CHECK(IPV4, PROTOCOL(1), {.kind = STEP_COMPARE, KEY1(KEY_ICMP_TYPE), .first = 8});
	CHECK(IPV6, PROTOCOL(58), {.kind = STEP_COMPARE, KEY1(KEY_ICMPV6_TYPE), .first = 8});
}

static void masks_and_flags(void **state)
{
	(void)state;
	CHECK({.kind = STEP_COMPARE, KEY1(KEY_CT_STATE), .mask = 2, .negated = true});
	CHECK(PROTOCOL(6), {.kind = STEP_COMPARE, KEY1(KEY_TCP_FLAGS), .mask = 0x17, .first = 2});
	CHECK(IPV4, {.kind = STEP_COMPARE, KEY1(KEY_IP_SADDR), .mask = 0xff800000, .first = 0x0a800000});
	CHECK(IPV6, {.kind = STEP_COMPARE, KEY1(KEY_IP6_DADDR), .mask = U128_MAX << 64, .first = ADDRESS6, .negated = true});
	CHECK({.kind = STEP_PREFIX, KEY1(KEY_IIFNAME), .first = ETH, .length = 3},
		{.kind = STEP_PREFIX, KEY1(KEY_OIFNAME), .first = ETH, .length = 3, .negated = true});
}

static void ranges(void **state)
{
	(void)state;
	CHECK(PROTOCOL(17), {.kind = STEP_RANGE, KEY1(KEY_TH_DPORT), .first = 1000, .last = 2000},
		{.kind = STEP_RANGE, KEY1(KEY_TH_SPORT), .first = 0, .last = 65535, .negated = true});
	CHECK({.kind = STEP_RANGE, KEY1(KEY_SKUID), .first = 255, .last = 0x10000},
		{.kind = STEP_RANGE, KEY1(KEY_SKGID), .first = 1, .last = 256, .negated = true});
	CHECK(IPV6, {.kind = STEP_RANGE, KEY1(KEY_IP6_SADDR), .first = 1, .last = ADDRESS6});
	CHECK({.kind = STEP_RANGE, KEY1(KEY_IIFNAME), .first = ETH, .last = ETH0});
}

static void lookups(void **state)
{
	(void)state;
	CHECK(IPV4, {.kind = STEP_LOOKUP, .keys = {KEY_IP_SADDR, KEY_L4PROTO, KEY_TH_DPORT}, .key_count = 3, .object = "s"});
	CHECK({.kind = STEP_LOOKUP, KEY1(KEY_SKUID), .object = "u", .negated = true});
	CHECK({.kind = STEP_LOOKUP, .keys = {KEY_IIFNAME, KEY_SKUID, KEY_SKGID}, .key_count = 3, .object = "s"},
		{.kind = STEP_LOOKUP, KEY1(KEY_TH_DPORT), .object = "p"});
	CHECK(IPV6, {.kind = STEP_MAP,
			    .keys = {KEY_L4PROTO, KEY_IP6_SADDR, KEY_IP6_DADDR, KEY_TH_SPORT, KEY_TH_DPORT},
			    .key_count = 5,
			    .object = "m"});
	CHECK(IPV4, {.kind = STEP_LOOKUP,
			    .keys = {KEY_IP_SADDR, KEY_IP_DADDR, KEY_TH_DPORT},
			    .key_count = 3,
			    .masks = {0xff000000, 0, 0xfff0},
			    .object = "s"});
	CHECK(IPV6, {.kind = STEP_COUNT,
			    .keys = {KEY_IP6_SADDR, KEY_L4PROTO},
			    .key_count = 2,
			    .masks = {U128_MAX << 64},
			    .object = "lines"},
		{.kind = STEP_VERDICT, .verdict = NFT_VERDICT_ACCEPT});
	CHECK(IPV6, {.kind = STEP_METER,
			    KEY1(KEY_IP6_SADDR),
			    .mask = U128_MAX << 64,
			    .object = "m",
			    .rate = 10,
			    .seconds = 60,
			    .burst = 20});
	CHECK(IPV4, {.kind = STEP_METER, KEY1(KEY_IP_SADDR), .object = "m", .rate = 1, .seconds = 86400, .burst = 1});
}

static void actions(void **state)
{
	(void)state;
	CHECK({.kind = STEP_COUNTER, .object = "c"}, {.kind = STEP_LIMIT, .rate = 10, .seconds = 1, .burst = 10},
		{.kind = STEP_LOG, .group = 65535, .prefix = "a: b"});
	CHECK({.kind = STEP_LOG, .group = 0}, {.kind = STEP_REJECT, .tcp_reset = true});
	CHECK({.kind = STEP_REJECT});
	CHECK({.kind = STEP_VERDICT, .verdict = NFT_VERDICT_ACCEPT});
	CHECK({.kind = STEP_VERDICT, .verdict = NFT_VERDICT_DROP});
	CHECK({.kind = STEP_VERDICT, .verdict = NFT_VERDICT_RETURN});
	CHECK({.kind = STEP_VERDICT, .verdict = NFT_VERDICT_JUMP, .object = "x"});
	CHECK({.kind = STEP_VERDICT, .verdict = NFT_VERDICT_GOTO, .object = "x"});
}

static struct nftnl_expr *expression(struct nftnl_rule *rule, const char *name)
{
	struct nftnl_expr *made = nftnl_expr_alloc(name);
	nftnl_rule_add_expr(rule, made);
	return made;
}

static void add_load(struct nftnl_rule *rule, uint32_t base, uint32_t offset, uint32_t length, uint32_t target)
{
	struct nftnl_expr *load = expression(rule, "payload");
	nftnl_expr_set_u32(load, NFTNL_EXPR_PAYLOAD_BASE, base);
	nftnl_expr_set_u32(load, NFTNL_EXPR_PAYLOAD_OFFSET, offset);
	nftnl_expr_set_u32(load, NFTNL_EXPR_PAYLOAD_LEN, length);
	nftnl_expr_set_u32(load, NFTNL_EXPR_PAYLOAD_DREG, target);
}

static void add_cmp(struct nftnl_rule *rule, uint32_t source, uint32_t op, const void *data, uint32_t length)
{
	struct nftnl_expr *compare = expression(rule, "cmp");
	nftnl_expr_set_u32(compare, NFTNL_EXPR_CMP_SREG, source);
	nftnl_expr_set_u32(compare, NFTNL_EXPR_CMP_OP, op);
	nftnl_expr_set_data(compare, NFTNL_EXPR_CMP_DATA, data, length);
}

/* `th dport 80-90` as nft writes it: two comparisons, here in a register that we would not use. */
static void range_as_two_comparisons(void **state)
{
	(void)state;
	void *ctx = talloc_new(NULL);
	struct nftnl_rule *rule = nftnl_rule_alloc();
	const struct step steps[] = {{.kind = STEP_RANGE, KEY1(KEY_TH_DPORT), .first = 80, .last = 90}};
	const struct nft_rule wanted = {.steps = steps, .count = 1};
	struct nft_rule out;
	add_load(rule, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, NFT_REG32_05);
	add_cmp(rule, NFT_REG32_05, NFT_CMP_GTE, "\0\x50", 2);
	add_cmp(rule, NFT_REG32_05, NFT_CMP_LTE, "\0\x5a", 2);
	through_message(ctx, rule, &out);
	assert_true(nft_rule_equal(&wanted, &out));
	talloc_free(ctx);
}

/* `ip saddr 10.0.0.0/8` as nft writes it: one byte is loaded. */
static void short_load_is_a_mask(void **state)
{
	(void)state;
	void *ctx = talloc_new(NULL);
	struct nftnl_rule *rule = nftnl_rule_alloc();
	const struct step steps[] = {IPV4, {.kind = STEP_COMPARE, KEY1(KEY_IP_SADDR), .first = 0x0a000000, .mask = 0xff000000}};
	const struct nft_rule wanted = {.steps = steps, .count = 2};
	struct nft_rule out;
	struct nftnl_expr *meta = expression(rule, "meta");
	nftnl_expr_set_u32(meta, NFTNL_EXPR_META_KEY, NFT_META_NFPROTO);
	nftnl_expr_set_u32(meta, NFTNL_EXPR_META_DREG, NFT_REG_1);
	add_cmp(rule, NFT_REG_1, NFT_CMP_EQ, "\2", 1);
	add_load(rule, NFT_PAYLOAD_NETWORK_HEADER, 12, 1, NFT_REG_1);
	add_cmp(rule, NFT_REG_1, NFT_CMP_EQ, "\x0a", 1);
	through_message(ctx, rule, &out);
	assert_true(nft_rule_equal(&wanted, &out));
	talloc_free(ctx);
}

/* What we never write is foreign, and equals nothing: not even itself. */
static void unknown_expressions_are_foreign(void **state)
{
	(void)state;
	void *ctx = talloc_new(NULL);
	struct nftnl_rule *rule = nftnl_rule_alloc();
	struct nft_rule out;
	expression(rule, "counter");
	add_load(rule, NFT_PAYLOAD_NETWORK_HEADER, 1, 1, NFT_REG_1);
	add_cmp(rule, NFT_REG_1, NFT_CMP_EQ, "\x0a", 1);
	through_message(ctx, rule, &out);
	for (size_t i = 0; i < out.count; i++)
		assert_int_equal(out.steps[i].kind, STEP_FOREIGN);
	assert_true(out.count >= 2);
	assert_false(nft_rule_equal(&out, &out));
	talloc_free(ctx);
}

static void impossible_rules_are_errors(void **state)
{
	(void)state;
	struct step steps[RULE_STEPS_MAX + 1] = {{.kind = STEP_RANGE, .key_count = 0}};
	struct nft_rule rule = {.steps = steps, .count = 1};
	struct nftnl_rule *out;
	assert_int_equal(encode_rule("t", "c", &rule, &out), -EINVAL);
	rule.count = RULE_STEPS_MAX + 1;
	assert_int_equal(encode_rule("t", "c", &rule, &out), -E2BIG);
	steps[0] = (struct step){.kind = STEP_LOG,
		.prefix = "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890"
			  "123456789012345678901234567890123456789"};
	rule.count = 1;
	assert_int_equal(encode_rule("t", "c", &rule, &out), -ENAMETOOLONG);
}

/* Messages of members go through memory, each in a buffer of its own, and are read at once. */
struct pipe {
	void *ctx;
	const struct set *set;
	struct members members;
	size_t messages, longest;
};

static int start_message(void *data, uint16_t type, uint16_t flags, struct nlmsghdr **out)
{
	(void)data;
	*out = nftnl_nlmsg_build_hdr((char *)buffer, type, 1, flags, 1);
	return 0;
}

static void end_message(void *data, struct nlmsghdr *message)
{
	struct pipe *pipe = data;
	pipe->messages++;
	if (message->nlmsg_len > pipe->longest)
		pipe->longest = message->nlmsg_len;
	assert_int_equal(decode_members(pipe->ctx, pipe->set, message, &pipe->members), 0);
}

static void set_through_message(void *ctx, const struct set *set, struct set *out)
{
	struct nftnl_set *encoded, *read = nftnl_set_alloc();
	struct nlmsghdr *message = nftnl_nlmsg_build_hdr((char *)buffer, NFT_MSG_NEWSET, 1, 0, 1);
	assert_int_equal(encode_set("t", set, 1, &encoded), 0);
	nftnl_set_nlmsg_build_payload(message, encoded);
	assert_true(nftnl_set_nlmsg_parse(message, read) >= 0);
	assert_int_equal(decode_set(ctx, read, out), 0);
	nftnl_set_free(encoded);
	nftnl_set_free(read);
}

static void check_set(const struct set *set)
{
	struct pipe pipe = {.ctx = talloc_new(NULL)};
	struct set out;
	set_through_message(pipe.ctx, set, &out);
	pipe.set = &out;
	assert_false(out.foreign);
	assert_int_equal(out.kind, set->kind);
	assert_int_equal(out.interval, set->interval);
	assert_int_equal(out.key_count, set->key_count);
	assert_int_equal(out.timeout_ms, set->timeout_ms);
	for (unsigned i = 0; i < set->key_count; i++)
		assert_int_equal(out.keys[i], set->keys[i]);
	assert_int_equal(encode_elements("t", set, false, start_message, end_message, &pipe), 0);
	assert_true(pipe.longest < 48 * 1024);
	assert_int_equal(members_into_set(pipe.ctx, &pipe.members, &out), 0);
	assert_true(intervals_equal(set->values, out.values));
	assert_int_equal(out.element_count, set->element_count);
	for (size_t i = 0; i < out.element_count; i++) {
		const struct element *a = &set->elements[i], *b = &out.elements[i];
		for (unsigned key = 0; key < set->key_count; key++)
			assert_true(a->first[key] == b->first[key] && a->last[key] == b->last[key]);
		if (set->kind != SET_VALUES)
			assert_true(a->verdict == b->verdict && (!a->object || !strcmp(a->object, b->object)));
	}
	talloc_free(pipe.ctx);
}

#define VALUES(...)                                                                                                              \
	.values = {.at = (const struct interval[]){__VA_ARGS__},                                                                 \
		.count = sizeof((const struct interval[]){__VA_ARGS__}) / sizeof(struct interval)}
#define ELEMENTS(...)                                                                                                            \
	.elements = (const struct element[]){__VA_ARGS__},                                                                       \
	.element_count = sizeof((const struct element[]){__VA_ARGS__}) / sizeof(struct element)
#define CHECK_SET(...)                                                                                                           \
	do {                                                                                                                     \
		const struct set set = {.name = "s", __VA_ARGS__};                                                               \
		check_set(&set);                                                                                                 \
	} while (0)

static void sets_of_values(void **state)
{
	(void)state;
	CHECK_SET(KEY1(KEY_TH_DPORT), VALUES({22, 22}, {80, 82}, {65535, 65535}));
	CHECK_SET(KEY1(KEY_TH_SPORT), .interval = true, VALUES({0, 0}, {80, 82}, {65000, 65535}));
	CHECK_SET(KEY1(KEY_IP_DADDR), .interval = true, VALUES({0x0a000000, 0x0affffff}, {0xe0000000, 0xffffffff}));
	CHECK_SET(KEY1(KEY_IP6_SADDR), .interval = true, VALUES({0, 0}, {ADDRESS6, ADDRESS6 + 1}, {U128_MAX, U128_MAX}));
	CHECK_SET(KEY1(KEY_SKUID), VALUES({33, 33}, {1000, 1001}));
	CHECK_SET(KEY1(KEY_SKGID), .interval = true, VALUES({33, 255}, {0x10000, 0xffffffff}));
	CHECK_SET(KEY1(KEY_OIFNAME), VALUES({ETH0, ETH0}));
	CHECK_SET(KEY1(KEY_IIFNAME), .interval = true,
		VALUES({ETH, ETH + (((u128)1 << 96) - 1)}, {INTERFACE_LAST, INTERFACE_LAST}));
	CHECK_SET(KEY1(KEY_ICMPV6_TYPE), VALUES({128, 128}, {133, 136}));
	CHECK_SET(KEY1(KEY_NFPROTO), VALUES({2, 2}));
	CHECK_SET(KEY1(KEY_L4PROTO), .kind = SET_TIMED, .timeout_ms = 60000, ELEMENTS({.first = {6}, .last = {6}}));
	CHECK_SET(KEY1(KEY_IP6_SADDR), .kind = SET_METER, .size = 1000, .timeout_ms = 3600000);
}

static void sets_of_several_keys(void **state)
{
	(void)state;
	CHECK_SET(.keys = {KEY_IP_DADDR, KEY_L4PROTO, KEY_TH_DPORT}, .key_count = 3,
		ELEMENTS({.first = {1, 6, 80}, .last = {1, 6, 80}}, {.first = {1, 17, 53}, .last = {1, 17, 53}}));
	CHECK_SET(.keys = {KEY_IIFNAME, KEY_SKUID}, .key_count = 2, .interval = true,
		ELEMENTS({.first = {ETH, 1}, .last = {ETH + (((u128)1 << 96) - 1), 256}},
			{.first = {ETH0, 0}, .last = {ETH0, 0xffffffff}}));
	CHECK_SET(.keys = {KEY_SKGID, KEY_SKUID}, .key_count = 2, ELEMENTS({.first = {1, 2}, .last = {1, 2}}));
}

static void maps(void **state)
{
	(void)state;
	CHECK_SET(.kind = SET_MAP, KEY1(KEY_TH_DPORT), .interval = true,
		ELEMENTS({.first = {0}, .last = {21}, .verdict = NFT_VERDICT_DROP},
			{.first = {22}, .last = {22}, .verdict = NFT_VERDICT_JUMP, .object = "x"},
			{.first = {100}, .last = {65535}, .verdict = NFT_VERDICT_RETURN}));
	CHECK_SET(.kind = SET_MAP, KEY1(KEY_L4PROTO),
		ELEMENTS({.first = {6}, .last = {6}, .verdict = NFT_VERDICT_GOTO, .object = "tcp"}));
	CHECK_SET(.kind = SET_COUNTERS, .keys = {KEY_IP_SADDR, KEY_TH_DPORT}, .key_count = 2, .interval = true,
		ELEMENTS({.first = {0, 1}, .last = {9, 1}, .object = "a"}, {.first = {10, 0}, .last = {10, 9}, .object = "b"}));
	CHECK_SET(.kind = SET_COUNTERS, KEY1(KEY_TH_DPORT), ELEMENTS({.first = {9}, .last = {9}, .object = "a"}));
	CHECK_SET(.kind = SET_MAP, .keys = {KEY_NFPROTO, KEY_TH_DPORT}, .key_count = 2, .interval = true,
		ELEMENTS({.first = {2, 0}, .last = {10, 65535}, .verdict = NFT_VERDICT_ACCEPT}));
}

/* A netlink attribute is 64 KB at most; 100,000 intervals are 200,000 elements. */
static void many_members_in_bounded_messages(void **state)
{
	(void)state;
	struct interval *list = talloc_array(NULL, struct interval, 100000);
	for (unsigned i = 0; i < 100000; i++)
		list[i] = (struct interval){i * 10, i * 10 + 5};
	const struct set set = {.name = "s", KEY1(KEY_IP_SADDR), .interval = true, .values = {list, 100000}};
	check_set(&set);
	talloc_free(list);
}

/* The kernel refuses a wide element first and then a narrow one inside of it. */
static void narrow_elements_go_first(void **state)
{
	(void)state;
	const struct element elements[] = {{.first = {0, 0}, .last = {100, 100}}, {.first = {5, 5}, .last = {5, 5}}};
	const struct set set = {.name = "s",
		.keys = {KEY_TH_SPORT, KEY_TH_DPORT},
		.key_count = 2,
		.interval = true,
		.elements = elements,
		.element_count = 2};
	struct pipe pipe = {.ctx = talloc_new(NULL), .set = &set};
	assert_int_equal(encode_elements("t", &set, false, start_message, end_message, &pipe), 0);
	assert_int_equal(pipe.members.count, 2);
	assert_true(pipe.members.elements[0].first[0] == 5);
	talloc_free(pipe.ctx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_key_is_compared),
		cmocka_unit_test(masks_and_flags),
		cmocka_unit_test(ranges),
		cmocka_unit_test(lookups),
		cmocka_unit_test(actions),
		cmocka_unit_test(range_as_two_comparisons),
		cmocka_unit_test(short_load_is_a_mask),
		cmocka_unit_test(unknown_expressions_are_foreign),
		cmocka_unit_test(impossible_rules_are_errors),
		cmocka_unit_test(sets_of_values),
		cmocka_unit_test(sets_of_several_keys),
		cmocka_unit_test(maps),
		cmocka_unit_test(many_members_in_bounded_messages),
		cmocka_unit_test(narrow_elements_go_first),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
