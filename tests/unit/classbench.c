/*
 * The bench's generator of five-field filters: the same for the same seed, all different, and the shares of ports, prefixes and
 * wildcards as published for each shape (tests/bench/lib/classbench.c).
 */
#include "tests/bench/lib/filter.h"
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <talloc.h>

#include <cmocka.h>

#define MANY 4000

static struct filters make(void *ctx, enum shape shape, size_t count, uint64_t seed)
{
	struct filters filters;
	assert_int_equal(filters_make(ctx, shape, WAY_IN, count, seed, &filters), 0);
	assert_int_equal(filters.count, count);
	return filters;
}

static bool wild(struct ports ports)
{
	return ports.first == 0 && ports.last == 65535;
}

/* Drawn one by one: a set of different filters has fewer of what there are few of. */
static unsigned per_thousand(enum shape shape, bool (*holds)(const struct filter *filter))
{
	struct random random = {7 + (uint64_t)shape};
	unsigned count = 0;
	for (int i = 0; i < 10 * MANY; i++) {
		struct filter filter = classbench_filter(&random, shape, 1000);
		count += holds(&filter);
	}
	return count / (10 * MANY / 1000);
}

static void assert_near(unsigned got, unsigned wanted)
{
	if (got + 12 < wanted || got > wanted + 12)
		fail_msg("%u of a thousand, not about %u", got, wanted);
}

static bool any_protocol(const struct filter *filter)
{
	return !filter->protocol;
}
static bool tcp(const struct filter *filter)
{
	return filter->protocol == IPPROTO_TCP;
}
static bool exact_service(const struct filter *filter)
{
	return filter->service.first == filter->service.last;
}
static bool wild_source_port(const struct filter *filter)
{
	return wild(filter->source_port);
}
static bool wild_source(const struct filter *filter)
{
	return !filter->source.prefix;
}
static bool two_hosts(const struct filter *filter)
{
	return filter->source.prefix == 32 && filter->destination.prefix == 32;
}

static void shares_are_the_published_ones(void **state)
{
	(void)state;
	assert_near(per_thousand(SHAPE_ACL, any_protocol), 116);
	assert_near(per_thousand(SHAPE_ACL, tcp), 873);
	assert_near(per_thousand(SHAPE_ACL, exact_service), 580);
	assert_near(per_thousand(SHAPE_ACL, wild_source_port), 1000);
	assert_near(per_thousand(SHAPE_ACL, two_hosts), 785); /* 751, with the rare lengths left out */
	assert_near(per_thousand(SHAPE_FW, tcp), 573);
	assert_near(per_thousand(SHAPE_FW, exact_service), 604);
	assert_near(per_thousand(SHAPE_IPC, any_protocol), 361);
	assert_near(per_thousand(SHAPE_IPC, exact_service), 355);
	/* Most of a firewall says where to and not where from. */
	assert_true(per_thousand(SHAPE_FW, wild_source) > 500);
	assert_true(per_thousand(SHAPE_ACL, wild_source) < 20);
}

static void a_seed_is_a_set(void **state)
{
	void *ctx = talloc_new(NULL);
	(void)state;
	for (enum shape shape = SHAPE_ACL; shape <= SHAPE_IPC; shape++) {
		struct filters one = make(ctx, shape, 500, 3), same = make(ctx, shape, 500, 3), other = make(ctx, shape, 500, 4);
		size_t differing = 0;
		for (size_t i = 0; i < one.count; i++) {
			assert_true(one.at[i].source.address == same.at[i].source.address);
			assert_true(one.at[i].service.first == same.at[i].service.first);
			differing += one.at[i].destination.address != other.at[i].destination.address;
		}
		assert_true(differing > 250);
	}
	talloc_free(ctx);
}

static bool alike(const struct filter *a, const struct filter *b)
{
	return a->source.address == b->source.address && a->destination.address == b->destination.address &&
	       a->source.prefix == b->source.prefix && a->destination.prefix == b->destination.prefix &&
	       a->protocol == b->protocol && !memcmp(&a->service, &b->service, sizeof(struct ports)) &&
	       !memcmp(&a->source_port, &b->source_port, sizeof(struct ports));
}

static void no_two_are_alike_and_none_is_open(void **state)
{
	void *ctx = talloc_new(NULL);
	(void)state;
	for (enum shape shape = SHAPE_ACL; shape <= SHAPE_IPC; shape++) {
		struct filters filters = make(ctx, shape, MANY, 1);
		for (size_t i = 0; i < filters.count; i++) {
			const struct filter *filter = &filters.at[i];
			assert_true(filter->source.prefix || filter->destination.prefix);
			assert_true(filter->protocol || (wild(filter->service) && wild(filter->source_port)));
			for (size_t k = 0; k < i; k++)
				assert_false(alike(filter, &filters.at[k]));
		}
	}
	talloc_free(ctx);
}

static void hits_hit_and_misses_miss(void **state)
{
	void *ctx = talloc_new(NULL);
	struct random random = {5};
	struct probe probes[200];
	(void)state;
	for (int shape = 0; shape < SHAPES; shape++) {
		struct filters filters = make(ctx, (enum shape)shape, 300, 1);
		for (int misses = 0; misses < 2; misses++) {
			assert_int_equal((misses ? filters_misses : filters_hits)(&random, filters, WAY_IN, probes, 200), 0);
			for (int i = 0; i < 200; i++) {
				bool any = false;
				for (size_t k = 0; k < filters.count; k++)
					any |= filter_matches(&filters.at[k], &probes[i]);
				assert_int_equal(any, !misses);
			}
		}
	}
	talloc_free(ctx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shares_are_the_published_ones),
		cmocka_unit_test(a_seed_is_a_set),
		cmocka_unit_test(no_two_are_alike_and_none_is_open),
		cmocka_unit_test(hits_hit_and_misses_miss),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
