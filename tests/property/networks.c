/*
 * Members made of a list: an address is in the list if and only if one of the lengths has its network, and the difference of two
 * sets of members is that of the sets written out.
 */
#include "dsl/ruleset/prefix.h"
#include "portpolicy/ruleset.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <talloc.h>
/* after the above */
#include <cmocka.h>

#define ROUNDS 400
#define PIECES 40
#define SPAN 4096 /* addresses that a list lies in, at the end of the space or at its beginning */

struct laid {
	struct network_list list;
	struct prefix_plan plan;
	u128 base;
};

static u128 last_of(unsigned bits)
{
	return bits == 128 ? U128_MAX : ((u128)1 << bits) - 1;
}

static struct laid random_list(void *ctx, unsigned *seed, unsigned bits, bool outside)
{
	struct laid laid = {.base = rand_r(seed) % 2 ? last_of(bits) - (SPAN - 1) : 0};
	struct prefix_counts counts = {{0}};
	size_t count = (size_t)rand_r(seed) % PIECES + 1;
	struct interval *list = talloc_array(ctx, struct interval, count);
	for (size_t i = 0; i < count; i++) {
		unsigned first = (unsigned)rand_r(seed) % SPAN, room = SPAN - first, length = (unsigned)rand_r(seed) % 40 + 1;
		list[i] = (struct interval){laid.base + first, laid.base + first + (length < room ? length : room) - 1};
	}
	laid.list = (struct network_list){.of = intervals_take(ctx, list, count), .outside = outside, .bits = bits};
	for (size_t i = 0; i < network_list_count(&laid.list); i++) {
		struct interval one = network_list_at(&laid.list, i);
		prefix_count((struct intervals){&one, 1}, bits, &counts);
	}
	prefix_choose(&counts, bits, &laid.plan);
	for (unsigned i = 0; i <= bits; i++)
		laid.list.as[i] = (uint8_t)laid.plan.as[i];
	return laid;
}

static struct set set_of(const struct laid *laid, unsigned length)
{
	return (struct set){.keys = {laid->list.bits == 32 ? KEY_IP_SADDR : KEY_IP6_SADDR},
		.key_count = 1,
		.networks = {&laid->list, length, laid->plan.elements[length]}};
}

/* The same list without its u128. */
static void check_pairs(void *ctx, const struct set *set, struct intervals written)
{
	struct network_list list = *set->networks.list;
	struct set other = *set;
	struct intervals same;
	uint32_t *pairs = talloc_array(ctx, uint32_t, 2 * list.of.count);
	if (list.bits != 32)
		return;
	for (size_t i = 0; i < list.of.count; i++) {
		pairs[2 * i] = (uint32_t)list.of.at[i].first;
		pairs[2 * i + 1] = (uint32_t)list.of.at[i].last;
	}
	list.of.at = NULL;
	list.pairs = pairs;
	other.networks.list = &list;
	assert_int_equal(members_written(ctx, &other, &same), 0);
	assert_true(intervals_equal(same, written));
}

static void check_addresses(const struct laid *laid, const struct intervals *written)
{
	for (unsigned i = 0; i < SPAN; i += 3) {
		u128 address = laid->base + i;
		bool found = false;
		for (unsigned length = 1; length <= laid->list.bits; length++)
			found |= intervals_contain(written[length], address & prefix_mask(length, laid->list.bits));
		assert_int_equal(found, intervals_contain(laid->list.of, address) != laid->list.outside);
	}
}

static void check_subtraction(void *ctx, const struct laid *a, const struct laid *b, unsigned length)
{
	struct set left = set_of(a, length), right = set_of(b, length);
	struct intervals x, y, expected, rest;
	assert_int_equal(members_written(ctx, &left, &x), 0);
	assert_int_equal(members_written(ctx, &right, &y), 0);
	assert_int_equal(intervals_subtract(ctx, x, y, &expected), 0);
	assert_int_equal(members_subtract(ctx, &left, &right, &rest), 0);
	assert_true(intervals_equal(rest, expected));
}

static void check_round(unsigned seed)
{
	void *ctx = talloc_new(NULL);
	unsigned bits = seed % 2 ? 32 : 128;
	bool outside = rand_r(&seed) % 2;
	struct laid a = random_list(ctx, &seed, bits, outside), b = random_list(ctx, &seed, bits, outside);
	struct intervals written[PREFIX_BITS_MAX + 1] = {{0}};
	for (unsigned length = 1; length <= bits; length++) {
		struct set set = set_of(&a, length), plain = {.key_count = 1};
		assert_int_equal(members_written(ctx, &set, &written[length]), 0);
		plain.values = written[length];
		assert_true(members_count(&plain) == members_count(&set));
		check_pairs(ctx, &set, written[length]);
		check_subtraction(ctx, &a, &b, length);
	}
	check_addresses(&a, written);
	talloc_free(ctx);
}

static void members_are_those_of_the_list(void **state)
{
	(void)state;
	for (unsigned round = 0; round < ROUNDS; round++)
		check_round(round);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(members_are_those_of_the_list)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
