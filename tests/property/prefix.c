/*
 * Intervals as networks: their lengths and their number against the slow way, which tries one bit after the other.
 */
#include "dsl/ruleset/prefix.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>

#define ROUNDS 100000

static u128 random_value(unsigned *seed, unsigned bits)
{
	u128 value = (u128)(unsigned)rand_r(seed) << rand_r(seed) % (int)bits;
	if (rand_r(seed) % 3 == 0)
		value |= (u128)(unsigned)rand_r(seed) << rand_r(seed) % (int)bits;
	if (rand_r(seed) % 8 == 0)
		value = rand_r(seed) % 2 ? 0 : U128_MAX;
	return bits == 128 ? value : value & (((u128)1 << bits) - 1);
}

static unsigned slow_fitting(u128 first, u128 last, unsigned bits)
{
	unsigned length = bits;
	while (length && !(first & ((u128)1 << (bits - length))) && prefix_last(first, length - 1, bits) <= last)
		length--;
	return length;
}

static void check_round(unsigned seed)
{
	static const unsigned widths[] = {8, 16, 32, 128};
	unsigned bits = widths[seed % 4];
	u128 x = random_value(&seed, bits), y = random_value(&seed, bits);
	struct interval one = {x < y ? x : y, x < y ? y : x};
	struct prefix_counts counts = {{0}};
	size_t networks = 0;
	prefix_count((struct intervals){&one, 1}, bits, &counts);
	for (unsigned i = 0; i <= bits; i++)
		networks += counts.of[i];
	assert_int_equal(prefix_fitting(one.first, one.last, bits), slow_fitting(one.first, one.last, bits));
	assert_int_equal(prefix_total((struct intervals){&one, 1}), networks);
}

static void networks_are_those_of_the_slow_way(void **state)
{
	(void)state;
	for (unsigned round = 0; round < ROUNDS; round++)
		check_round(round);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(networks_are_those_of_the_slow_way)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
