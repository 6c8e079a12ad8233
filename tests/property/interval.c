/*
 * The algebra of interval sets against membership, one value at a time: random sets, asked at both sides of every boundary.
 */
#include "portpolicy/interval.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <talloc.h>

#define ROUNDS 20000
#define PIECES 6
#define LONG_ROUNDS 200

struct pair {
	struct intervals a, b;
	u128 probes[8 * PIECES + 4];
	size_t count;
};

static u128 random_value(unsigned *seed)
{
	static const u128 corners[] = {0, 1, 254, 255, 256, 65535};
	switch (rand_r(seed) % 4) {
	case 0: return corners[rand_r(seed) % 6];
	case 1: return U128_MAX - (unsigned)rand_r(seed) % 4;
	default: return (unsigned)rand_r(seed) % 300;
	}
}

static void add_probes(struct pair *pair, struct interval one)
{
	pair->probes[pair->count++] = one.first;
	pair->probes[pair->count++] = one.last;
	pair->probes[pair->count++] = one.first - 1; /* may wrap: as good a probe as another */
	pair->probes[pair->count++] = one.last + 1;
}

static struct intervals random_set(void *ctx, unsigned *seed, struct pair *pair, struct interval *raw, size_t *count)
{
	struct intervals set;
	*count = (size_t)rand_r(seed) % (PIECES + 1);
	for (size_t i = 0; i < *count; i++) {
		u128 x = random_value(seed), y = random_value(seed);
		raw[i] = (struct interval){x < y ? x : y, x < y ? y : x};
		add_probes(pair, raw[i]);
	}
	struct interval copy[PIECES];
	for (size_t i = 0; i < *count; i++)
		copy[i] = raw[i];
	assert_int_equal(intervals_from(ctx, copy, *count, &set), 0);
	return set;
}

static bool listed(const struct interval *list, size_t count, u128 value)
{
	for (size_t i = 0; i < count; i++)
		if (list[i].first <= value && value <= list[i].last)
			return true;
	return false;
}

static void assert_canonical(struct intervals set)
{
	for (size_t i = 0; i < set.count; i++) {
		assert_true(set.at[i].first <= set.at[i].last);
		assert_true(!i || (set.at[i].first > set.at[i - 1].last && set.at[i].first - 1 != set.at[i - 1].last));
	}
}

static void check_round(unsigned seed)
{
	void *ctx = talloc_new(NULL);
	struct pair pair = {.count = 0};
	struct interval raw_a[PIECES], raw_b[PIECES];
	size_t count_a, count_b;
	struct intervals a = random_set(ctx, &seed, &pair, raw_a, &count_a), b = random_set(ctx, &seed, &pair, raw_b, &count_b);
	struct intervals all, both, rest;
	assert_int_equal(intervals_union(ctx, a, b, &all), 0);
	assert_int_equal(intervals_intersect(ctx, a, b, &both), 0);
	assert_int_equal(intervals_subtract(ctx, a, b, &rest), 0);
	assert_canonical(all);
	assert_canonical(both);
	assert_canonical(rest);
	bool covered = true;
	for (size_t i = 0; i < pair.count; i++) {
		u128 value = pair.probes[i];
		bool in_a = listed(raw_a, count_a, value), in_b = listed(raw_b, count_b, value);
		assert_int_equal(intervals_contain(a, value), in_a);
		assert_int_equal(intervals_contain(all, value), in_a || in_b);
		assert_int_equal(intervals_contain(both, value), in_a && in_b);
		assert_int_equal(intervals_contain(rest, value), in_a && !in_b);
		covered &= in_a || !in_b;
	}
	assert_int_equal(intervals_cover(a, b), covered);
	assert_int_equal(intervals_overlap(a, b), both.count != 0);
	assert_int_equal(intervals_equal(a, b), !rest.count && intervals_cover(a, b));
	talloc_free(ctx);
}

static void the_algebra_is_membership(void **state)
{
	(void)state;
	for (unsigned round = 0; round < ROUNDS; round++)
		check_round(round);
}

static int by_first(const void *left, const void *right)
{
	const struct interval *a = left, *b = right;
	return (a->first > b->first) - (a->first < b->first);
}

/* Numbers of any width: those of one list share their upper bytes, or do not. */
static struct interval wide_interval(unsigned *seed, unsigned bits, u128 base)
{
	u128 first = base;
	for (unsigned i = 0; i < bits; i += 16)
		first ^= (u128)((unsigned)rand_r(seed) & 0xffff) << i;
	u128 length = (unsigned)rand_r(seed) % 4 ? 0 : (u128)((unsigned)rand_r(seed) & 0xffff) << rand_r(seed) % 16;
	return (struct interval){first, first + length < first ? U128_MAX : first + length};
}

static void check_long_list(unsigned seed)
{
	void *ctx = talloc_new(NULL);
	size_t count = 1 + (size_t)rand_r(&seed) % 3000, joined = 0;
	unsigned bits = 16 + 16 * ((unsigned)rand_r(&seed) % 8);
	u128 base = (u128)(unsigned)rand_r(&seed) << rand_r(&seed) % 96;
	struct interval *list = talloc_array(ctx, struct interval, count), *plain = talloc_array(ctx, struct interval, count);
	struct intervals copied, taken;
	for (size_t i = 0; i < count; i++)
		plain[i] = list[i] = wide_interval(&seed, bits, base);
	qsort(plain, count, sizeof *plain, by_first);
	for (size_t i = 1; i < count; i++) {
		if (plain[joined].last == U128_MAX || plain[i].first <= plain[joined].last + 1)
			plain[joined].last = plain[i].last > plain[joined].last ? plain[i].last : plain[joined].last;
		else
			plain[++joined] = plain[i];
	}
	struct interval *again = talloc_memdup(ctx, list, count * sizeof *list);
	assert_int_equal(intervals_from(ctx, list, count, &copied), 0);
	taken = intervals_take(ctx, again, count);
	assert_canonical(taken);
	assert_true(intervals_equal(copied, (struct intervals){plain, joined + 1}));
	assert_true(intervals_equal(taken, copied));
	talloc_free(ctx);
}

static void long_lists_in_any_order(void **state)
{
	(void)state;
	for (unsigned round = 0; round < LONG_ROUNDS; round++)
		check_long_list(round);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(the_algebra_is_membership), cmocka_unit_test(long_lists_in_any_order)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
