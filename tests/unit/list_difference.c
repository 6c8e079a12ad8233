/*
 * What changes in the kernel when a long list does: the networks that differ and no others, unless the set has no room for them
 * or little of the list is left.
 */
#include "dsl/ruleset/prefix.h"
#include "portpolicy/ruleset.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <talloc.h>
/* after the above */
#include <cmocka.h>

#define HOSTS 3000
#define ROOM 4000
#define NETS 0x0a000000u /* 10.0.0.0: below it every other address up to HOSTS, from it on networks */

/* Two chains, one of which looks up the hashes of a list. */
struct list_world {
	struct ruleset ruleset;
	struct network_list list;
	struct set sets[4];
	struct chain chains[3];
	struct nft_rule rules[2];
	struct step looks[3], plain[1];
	struct interval at[HOSTS + 8];
};

static void make_sets(struct list_world *world)
{
	static const unsigned lengths[] = {24, 29, 32};
	static const char *const names[] = {"v4-list-24", "v4-list-29", "v4-list-32"};
	static const struct interval other[] = {{7, 7}};
	struct prefix_counts counts = {{0}};
	prefix_count(world->list.of, 32, &counts);
	for (size_t i = 0; i < 3; i++) {
		world->list.as[lengths[i]] = (uint8_t)lengths[i];
		world->sets[i] = (struct set){.name = names[i],
			.keys = {KEY_IP_SADDR},
			.key_count = 1,
			.networks = {&world->list, lengths[i], counts.of[lengths[i]]}};
		world->looks[i] = (struct step){.kind = STEP_LOOKUP, .keys = {KEY_IP_SADDR}, .key_count = 1, .object = names[i]};
	}
	world->sets[3] = (struct set){.name = "other", .keys = {KEY_IP_SADDR}, .key_count = 1, .values = {other, 1}};
}

static struct list_world *world_new(void *ctx)
{
	struct list_world *world = talloc_zero(ctx, struct list_world);
	for (unsigned i = 0; i < HOSTS; i++)
		world->at[i] = (struct interval){2 * i, 2 * i};
	world->at[HOSTS] = (struct interval){NETS, NETS + 255};
	world->at[HOSTS + 1] = (struct interval){NETS + 0x10000, NETS + 0x10000 + 7};
	world->list = (struct network_list){.of = {world->at, HOSTS + 2}, .bits = 32};
	make_sets(world);
	world->plain[0] = (struct step){.kind = STEP_LOOKUP, .keys = {KEY_IP_SADDR}, .key_count = 1, .object = "other"};
	world->rules[0] = (struct nft_rule){.steps = world->looks, .count = 3};
	world->rules[1] = (struct nft_rule){.steps = world->plain, .count = 1};
	world->chains[0] = (struct chain){.name = "input", .hook = HOOK_INPUT};
	world->chains[1] = (struct chain){.name = "with", .rules = &world->rules[0], .count = 1};
	world->chains[2] = (struct chain){.name = "without", .rules = &world->rules[1], .count = 1};
	world->ruleset = (struct ruleset){
		.table = "t", .exists = true, .chains = world->chains, .chain_count = 3, .sets = world->sets, .set_count = 4};
	return world;
}

/* As a dump shows it. */
static void write_out(void *ctx, struct list_world *world, uint32_t size)
{
	for (size_t i = 0; i < 3; i++) {
		struct intervals values;
		assert_int_equal(members_written(ctx, &world->sets[i], &values), 0);
		world->sets[i].values = values;
		world->sets[i].networks = (struct networks){0};
		world->sets[i].size = size;
	}
}

static struct changes *difference(void *ctx, const struct list_world *old, const struct list_world *new)
{
	struct changes *changes;
	const char *problem;
	assert_int_equal(ruleset_difference(ctx, &old->ruleset, &new->ruleset, &changes, &problem), 0);
	return changes;
}

static void assert_one(const struct changes *changes, size_t at, enum change_kind kind, const char *set, u128 member)
{
	struct intervals values;
	assert_true(at < changes->count);
	assert_int_equal(changes->at[at].kind, kind);
	assert_string_equal(changes->at[at].set->name, set);
	assert_int_equal(members_written((void *)(uintptr_t)changes, changes->at[at].set, &values), 0);
	assert_int_equal(values.count, 1);
	assert_true(values.at[0].first == member && values.at[0].last == member);
}

/* Ways to know the old list: as a list, as a list in little room, and as members of a dump. */
enum { AS_LIST, AS_PAIRS, AS_DUMP, WAYS };

static void know_as(void *ctx, struct list_world *world, int way)
{
	if (way == AS_DUMP)
		write_out(ctx, world, ROOM);
	if (way != AS_PAIRS)
		return;
	uint32_t *pairs = talloc_array(ctx, uint32_t, 2 * world->list.of.count);
	for (size_t i = 0; i < world->list.of.count; i++) {
		pairs[2 * i] = (uint32_t)world->list.of.at[i].first;
		pairs[2 * i + 1] = (uint32_t)world->list.of.at[i].last;
	}
	world->list.pairs = pairs;
	world->list.of.at = NULL;
}

static void one_line_is_one_member(void **state)
{
	(void)state;
	for (int way = 0; way < WAYS; way++) {
		void *ctx = talloc_new(NULL);
		struct list_world *old = world_new(ctx), *new = world_new(ctx);
		new->at[1000].first = new->at[1000].last = 2001;
		know_as(ctx, old, way);
		struct changes *changes = difference(ctx, old, new);
		assert_int_equal(changes->count, 2);
		assert_one(changes, 0, CHANGE_ELEMENTS_DELETE, "v4-list-32", 2000);
		assert_one(changes, 1, CHANGE_ELEMENTS_ADD, "v4-list-32", 2001);
		talloc_free(ctx);
	}
}

static void nothing_changed_is_nothing_sent(void **state)
{
	(void)state;
	for (int way = 0; way < WAYS; way++) {
		void *ctx = talloc_new(NULL);
		struct list_world *old = world_new(ctx), *new = world_new(ctx);
		know_as(ctx, old, way);
		assert_int_equal(difference(ctx, old, new)->count, 0);
		talloc_free(ctx);
	}
}

/* 10.0.0.0/24 grows by the eight addresses behind it: its own network stays. */
static void a_grown_range_keeps_its_networks(void **state)
{
	(void)state;
	for (int way = 0; way < WAYS; way++) {
		void *ctx = talloc_new(NULL);
		struct list_world *old = world_new(ctx), *new = world_new(ctx);
		new->at[HOSTS].last += 8;
		make_sets(new);
		know_as(ctx, old, way);
		struct changes *changes = difference(ctx, old, new);
		assert_int_equal(changes->count, 1);
		assert_one(changes, 0, CHANGE_ELEMENTS_ADD, "v4-list-29", NETS + 256);
		talloc_free(ctx);
	}
}

/* The order of a remade set: out of the rules, away, anew, filled, and back into the rules.  The other chain and sets stay as
 * they are. */
static void assert_remade(const struct changes *changes, const char *const *sets, size_t count)
{
	size_t at = 0;
	assert_int_equal(changes->count, 3 * count + 2);
	assert_int_equal(changes->at[at].kind, CHANGE_RULES_FLUSH);
	assert_string_equal(changes->at[at++].chain->name, "with");
	for (size_t i = 0; i < count; i++, at++) {
		assert_int_equal(changes->at[at].kind, CHANGE_SET_DELETE);
		assert_string_equal(changes->at[at].set->name, sets[i]);
	}
	for (size_t i = 0; i < count; i++)
		assert_int_equal(changes->at[at++].kind, CHANGE_SET_ADD);
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(changes->at[at].kind, CHANGE_ELEMENTS_ADD);
		assert_true(members_count(changes->at[at++].set) > 0);
	}
	assert_int_equal(changes->at[at].kind, CHANGE_RULE_ADD);
	assert_string_equal(changes->at[at].chain->name, "with");
}

static void a_set_without_room_is_made_anew(void **state)
{
	(void)state;
	static const char *const name = "v4-list-32";
	void *ctx = talloc_new(NULL);
	struct list_world *old = world_new(ctx), *new = world_new(ctx);
	write_out(ctx, old, HOSTS);
	assert_int_equal(difference(ctx, old, new)->count, 0);
	memmove(&new->at[HOSTS + 1], &new->at[HOSTS], 2 * sizeof new->at[0]);
	new->at[HOSTS] = (struct interval){2 * HOSTS, 2 * HOSTS};
	new->list.of.count++;
	make_sets(new);
	assert_remade(difference(ctx, old, new), &name, 1);
	talloc_free(ctx);
}

static void a_replaced_list_is_made_anew(void **state)
{
	(void)state;
	static const char *const names[] = {"v4-list-24", "v4-list-29", "v4-list-32"};
	void *ctx = talloc_new(NULL);
	struct list_world *old = world_new(ctx), *new = world_new(ctx);
	for (unsigned i = 0; i < HOSTS * 2 / 3; i++)
		new->at[i].first = new->at[i].last = 2 * i + 1;
	assert_remade(difference(ctx, old, new), names, 3);
	for (unsigned i = 0; i < HOSTS / 3; i++)
		new->at[i] = old->at[i];
	struct changes *changes = difference(ctx, old, new);
	assert_int_equal(changes->count, 2);
	assert_int_equal(changes->at[0].kind, CHANGE_ELEMENTS_DELETE);
	talloc_free(ctx);
}

/* One length of the list is written as another now: those sets differ, and what they hold is compared member by member. */
static void another_layout_is_compared_by_members(void **state)
{
	(void)state;
	void *ctx = talloc_new(NULL);
	struct list_world *old = world_new(ctx), *new = world_new(ctx);
	new->list.as[29] = 32;
	new->sets[1] = new->sets[3];
	new->ruleset.set_count = 3;
	new->sets[2].networks.count += 8;
	struct changes *changes = difference(ctx, old, new);
	const struct change *more = NULL;
	for (size_t i = 0; i < changes->count; i++)
		if (changes->at[i].kind == CHANGE_ELEMENTS_ADD)
			more = &changes->at[i];
	assert_non_null(more);
	assert_string_equal(more->set->name, "v4-list-32");
	assert_true(members_count(more->set) == 8);
	talloc_free(ctx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_line_is_one_member),
		cmocka_unit_test(nothing_changed_is_nothing_sent),
		cmocka_unit_test(a_grown_range_keeps_its_networks),
		cmocka_unit_test(a_set_without_room_is_made_anew),
		cmocka_unit_test(a_replaced_list_is_made_anew),
		cmocka_unit_test(another_layout_is_compared_by_members),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
