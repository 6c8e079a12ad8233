/*
 * Long lists in a real kernel: what is known of them is taken from there while nothing has changed, and from the kernel as soon
 * as anything has; a changed line sends the members that differ and no others.
 */
#include "dsl/ruleset/prefix.h"
#include "tests/netns/lib/kernel_test.h"

#define HOSTS 20000

struct listed {
	struct ruleset ruleset;
	struct network_list v4, v6;
	struct set sets[3];
	struct chain chains[1];
	struct interval hosts[2 * HOSTS + 1000], nets[1000];
};

static const struct step looks4[] = {
	IPV4, {.kind = STEP_LOOKUP, KEY1(KEY_IP_SADDR), .object = "v4-list-24", .masks = {0xffffff00}}, VERDICT(DROP)};
static const struct step looks32[] = {IPV4, {.kind = STEP_LOOKUP, KEY1(KEY_IP_SADDR), .object = "v4-list-32"}, VERDICT(DROP)};
static const struct step looks6[] = {IPV6,
	{.kind = STEP_LOOKUP, KEY1(KEY_IP6_SADDR), .object = "v6-list-48", .masks = {~(((u128)1 << 80) - 1)}}, VERDICT(DROP)};
static const struct nft_rule rules[] = {
	{.steps = looks4, .count = 3}, {.steps = looks32, .count = 3}, {.steps = looks6, .count = 3}};

static void count_members(struct listed *listed, struct network_list *list)
{
	struct prefix_counts counts = {{0}};
	prefix_count(list->of, list->bits, &counts);
	for (unsigned i = 0; i < 3; i++)
		if (listed->sets[i].networks.list == list)
			listed->sets[i].networks.count = counts.of[listed->sets[i].networks.length];
}

static void set_hosts(struct listed *listed, size_t count)
{
	for (size_t i = 0; i < count; i++)
		listed->hosts[i] = (struct interval){0x0a000001 + 2 * i, 0x0a000001 + 2 * i};
	listed->hosts[count] = (struct interval){0xc0000200, 0xc00002ff};
	listed->v4.of = (struct intervals){listed->hosts, count + 1};
	count_members(listed, &listed->v4);
}

static struct listed *listed_new(void *ctx)
{
	struct listed *listed = talloc_zero(ctx, struct listed);
	listed->v4 = (struct network_list){.bits = 32, .as = {[24] = 24, [32] = 32}};
	listed->v6 = (struct network_list){.of = {listed->nets, 1000}, .bits = 128, .as = {[48] = 48}};
	listed->sets[0] = (struct set){.name = "v4-list-24", KEY1(KEY_IP_SADDR), .networks = {&listed->v4, 24, 0}};
	listed->sets[1] = (struct set){.name = "v4-list-32", KEY1(KEY_IP_SADDR), .networks = {&listed->v4, 32, 0}};
	listed->sets[2] = (struct set){.name = "v6-list-48", KEY1(KEY_IP6_SADDR), .networks = {&listed->v6, 48, 0}};
	for (unsigned i = 0; i < 1000; i++)
		listed->nets[i] = (struct interval){V6 | (u128)(2 * i) << 80, (V6 | (u128)(2 * i) << 80) + (((u128)1 << 80) - 1)};
	set_hosts(listed, HOSTS);
	count_members(listed, &listed->v6);
	listed->chains[0] = (struct chain){.name = "input", .hook = HOOK_INPUT, .rules = rules, .count = 3};
	listed->ruleset = (struct ruleset){.table = "test",
		.exists = true,
		.chains = listed->chains,
		.chain_count = 1,
		.sets = listed->sets,
		.set_count = 3};
	return listed;
}

/* Installs, and returns how many members went out, or came in as new sets. */
static size_t sent(struct state *state, const struct listed *listed)
{
	struct changes *changes;
	struct refusal refusal;
	const char *problem;
	size_t members = 0;
	CHECK(!kernel_install(state->ctx, state->kernel, "test", &listed->ruleset, &changes, &refusal, &problem));
	for (size_t i = 0; i < changes->count; i++)
		if (changes->at[i].kind == CHANGE_ELEMENTS_ADD || changes->at[i].kind == CHANGE_ELEMENTS_DELETE)
			members += (size_t)members_count(changes->at[i].set);
	return members;
}

static struct table_knowledge settled(struct state *state, const struct listed *listed)
{
	struct table_knowledge known;
	CHECK(!kernel_settled(state->kernel, "test", &known));
	known.sets = listed->sets;
	known.set_count = 3;
	return known;
}

/* Does the kernel hold what is wanted, as it says itself? */
static bool in_force(struct state *state, const struct listed *listed)
{
	struct changes *changes;
	const char *problem;
	kernel_know(state->kernel, NULL);
	CHECK(!ruleset_difference(state->ctx, dump(state), &listed->ruleset, &changes, &problem));
	return !changes->count;
}

static void body_one_line(struct state *state)
{
	struct listed *old = listed_new(state->ctx), *new = listed_new(state->ctx);
	CHECK(sent(state, old) == HOSTS + 1 + 1000);
	struct table_knowledge known = settled(state, old);
	CHECK(in_force(state, old));
	new->hosts[7777].first = new->hosts[7777].last = new->hosts[7777].first + 1;
	kernel_know(state->kernel, &known);
	CHECK(sent(state, new) == 2);
	known = settled(state, new);
	CHECK(in_force(state, new));
	kernel_know(state->kernel, &known);
	CHECK(sent(state, new) == 0);
	CHECK(sent(state, old) == 2); /* what is known is of an older generation after a commit of our own */
	CHECK(sent(state, old) == 0);
	CHECK(in_force(state, old));
}

/* What is known is wrong here, to see whether it is used. */
static void body_disagreement(struct state *state)
{
	struct listed *listed = listed_new(state->ctx), *wrong = listed_new(state->ctx);
	struct changes *changes;
	const char *problem;
	set_hosts(wrong, HOSTS - 3);
	sent(state, listed);
	struct table_knowledge known = settled(state, wrong), other;
	kernel_know(state->kernel, &known);
	CHECK(!ruleset_difference(state->ctx, dump(state), &listed->ruleset, &changes, &problem));
	CHECK(changes->count == 1 && members_count(changes->at[0].set) == 3);
	for (int way = 0; way < 4; way++) {
		other = known;
		other.generation += way == 0;
		other.generation -= way == 1;
		other.stamp[5] ^= (uint8_t)(way == 2);
		if (way == 3)
			memset(other.stamp, 0, sizeof(other.stamp));
		kernel_know(state->kernel, &other);
		CHECK(!ruleset_difference(state->ctx, dump(state), &listed->ruleset, &changes, &problem));
		CHECK(!changes->count);
	}
	kernel_know(state->kernel, &known);
	CHECK(!shell("nft add table inet foreign"));
	kernel_know_untouched(state->kernel, known.generation + 2); /* of the commit between nobody has heard */
	CHECK(!ruleset_difference(state->ctx, dump(state), &listed->ruleset, &changes, &problem));
	CHECK(!changes->count);
	kernel_know_untouched(state->kernel, known.generation + 1);
	CHECK(!ruleset_difference(state->ctx, dump(state), &listed->ruleset, &changes, &problem));
	CHECK(changes->count == 1 && members_count(changes->at[0].set) == 3);
	CHECK(kernel_settled(state->kernel, "test", &other) == 1);
}

static void body_foreign_edit(struct state *state)
{
	struct listed *listed = listed_new(state->ctx);
	sent(state, listed);
	struct table_knowledge known = settled(state, listed);
	kernel_know(state->kernel, &known);
	CHECK(!shell("nft delete element inet test v4-list-32 '{ 10.0.0.1 }'"));
	CHECK(!shell("nft add element inet test v4-list-24 '{ 172.16.0.0 }'"));
	CHECK(sent(state, listed) == 2);
	CHECK(in_force(state, listed));
	CHECK(!shell("nft delete table inet test"));
	kernel_know(state->kernel, &known);
	CHECK(sent(state, listed) == HOSTS + 1 + 1000);
	CHECK(in_force(state, listed));
}

/* A deletion of what is not there is refused: the next look reads. */
static void body_wrong_knowledge(struct state *state)
{
	struct listed *listed = listed_new(state->ctx), *wrong = listed_new(state->ctx);
	sent(state, listed);
	wrong->hosts[100].last++;
	count_members(wrong, &wrong->v4);
	struct table_knowledge known = settled(state, wrong);
	kernel_know(state->kernel, &known);
	CHECK(sent(state, listed) == 0);
	CHECK(in_force(state, listed));
}

/* A table that is made by others has no stamp, and one that is made anew has another. */
static void body_stamps(struct state *state)
{
	struct listed *listed = listed_new(state->ctx);
	struct table_knowledge first, known;
	struct kernel *other;
	sent(state, listed);
	first = settled(state, listed);
	CHECK(!shell("nft list table inet test >/dev/null"));
	CHECK(!shell("nft delete table inet test && nft add table inet test"));
	sent(state, listed);
	CHECK(kernel_settled(state->kernel, "test", &known) == 1);
	CHECK(!shell("nft delete table inet test"));
	CHECK(!kernel_open(state->ctx, &other));
	talloc_free(state->kernel);
	state->kernel = other;
	CHECK(sent(state, listed) == HOSTS + 1 + 1000);
	known = settled(state, listed);
	CHECK(memcmp(known.stamp, first.stamp, TABLE_STAMP));
}

/* Sets cannot be resized: one that is full is made anew, the others stay. */
static void body_growth(struct state *state)
{
	struct listed *listed = listed_new(state->ctx);
	sent(state, listed);
	set_hosts(listed, HOSTS + 500);
	CHECK(sent(state, listed) == 500);
	set_hosts(listed, 2 * HOSTS + 900);
	CHECK(sent(state, listed) == HOSTS + 400);
	CHECK(in_force(state, listed));
	struct listed *more = talloc_zero_size(state->ctx, sizeof *more + 4 * HOSTS * sizeof(struct interval));
	struct interval *hosts = (struct interval *)(more + 1);
	*more = *listed;
	for (size_t i = 0; i < 2 * HOSTS + 3000; i++)
		hosts[i] = (struct interval){0x0a000001 + 2 * i, 0x0a000001 + 2 * i};
	hosts[2 * HOSTS + 3000] = (struct interval){0xc0000200, 0xc00002ff};
	more->v4.of = (struct intervals){hosts, 2 * HOSTS + 3001};
	more->sets[0].networks.list = more->sets[1].networks.list = &more->v4;
	more->sets[2].networks.list = &more->v6;
	more->ruleset.sets = more->sets;
	count_members(more, &more->v4);
	CHECK(sent(state, more) == 2 * HOSTS + 3000);
	CHECK(in_force(state, more));
}

static void one_line_sends_what_differs(void **state)
{
	(void)state;
	in_namespace(body_one_line);
}

static void what_is_known_must_agree(void **state)
{
	(void)state;
	in_namespace(body_disagreement);
}

static void foreign_edits_are_seen(void **state)
{
	(void)state;
	in_namespace(body_foreign_edit);
}

static void wrong_knowledge_is_given_up(void **state)
{
	(void)state;
	in_namespace(body_wrong_knowledge);
}

static void stamps_are_of_one_table(void **state)
{
	(void)state;
	in_namespace(body_stamps);
}

static void a_full_set_is_made_anew(void **state)
{
	(void)state;
	in_namespace(body_growth);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_line_sends_what_differs),
		cmocka_unit_test(what_is_known_must_agree),
		cmocka_unit_test(foreign_edits_are_seen),
		cmocka_unit_test(wrong_knowledge_is_given_up),
		cmocka_unit_test(stamps_are_of_one_table),
		cmocka_unit_test(a_full_set_is_made_anew),
	};
	if (!namespaces_allowed()) {
		printf("skipped: this machine does not let us make a network namespace with nf_tables in it\n");
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
