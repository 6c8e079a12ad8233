/*
 * A difference is a batch that the kernel takes, and it ends at what is wanted.
 *
 * The kernel's rules for a batch are modelled: nothing is named before it is there, nothing goes while it is named, no two
 * members overlap. Each case is carried out on the model and compared with what was wanted.
 */
#include "tests/unit/lowered.h"

#define OBJECTS 2000

struct model {
	void *ctx;
	struct chain chains[OBJECTS];
	struct set sets[OBJECTS];
	struct counter counters[OBJECTS];
	size_t chain_count, set_count, counter_count;
	bool exists, dormant, ours;
};

static struct ruleset as_ruleset(const struct model *model)
{
	return (struct ruleset){.table = "portpolicy",
		.exists = model->exists,
		.dormant = model->dormant,
		.ours = model->ours,
		.chains = model->chains,
		.chain_count = model->chain_count,
		.sets = model->sets,
		.set_count = model->set_count,
		.counters = model->counters,
		.counter_count = model->counter_count};
}

static struct model *model_of(void *ctx, const struct ruleset *ruleset)
{
	struct model *model = talloc_zero(ctx, struct model);
	assert_true(ruleset->chain_count < OBJECTS && ruleset->set_count < OBJECTS && ruleset->counter_count < OBJECTS);
	model->ctx = model;
	model->exists = ruleset->exists;
	for (size_t i = 0; i < ruleset->chain_count; i++)
		model->chains[model->chain_count++] = ruleset->chains[i];
	for (size_t i = 0; i < ruleset->set_count; i++)
		model->sets[model->set_count++] = ruleset->sets[i];
	for (size_t i = 0; i < ruleset->counter_count; i++)
		model->counters[model->counter_count++] = ruleset->counters[i];
	return model;
}

#define FIND(kind)                                                                                                               \
	static struct kind *find_##kind(struct model *model, const char *name)                                                   \
	{                                                                                                                        \
		for (size_t i = 0; i < model->kind##_count; i++)                                                                 \
			if (!strcmp(model->kind##s[i].name, name))                                                               \
				return &model->kind##s[i];                                                                       \
		return NULL;                                                                                                     \
	}                                                                                                                        \
	static void drop_##kind(struct model *model, const char *name)                                                           \
	{                                                                                                                        \
		struct kind *found = find_##kind(model, name);                                                                   \
		assert_non_null(found);                                                                                          \
		*found = model->kind##s[--model->kind##_count];                                                                  \
	}
FIND(chain)
FIND(set)
FIND(counter)

static bool step_names(const struct step *step, enum step_kind kind, const char *name)
{
	bool set = step->kind == STEP_LOOKUP || step->kind == STEP_MAP || step->kind == STEP_METER;
	return step->object && (kind == STEP_LOOKUP ? set : step->kind == kind) && !strcmp(step->object, name);
}

/* Does a rule, or a member of a map, name the object? */
static bool named(const struct model *model, enum step_kind kind, const char *name)
{
	for (size_t i = 0; i < model->chain_count; i++)
		for (size_t k = 0; k < model->chains[i].count; k++)
			for (size_t s = 0; s < model->chains[i].rules[k].count; s++)
				if (step_names(&model->chains[i].rules[k].steps[s], kind, name))
					return true;
	for (size_t i = 0; i < model->set_count && kind == STEP_VERDICT; i++)
		for (size_t k = 0; k < model->sets[i].element_count; k++)
			if (model->sets[i].elements[k].object && !strcmp(model->sets[i].elements[k].object, name))
				return true;
	return false;
}

static bool reaches(struct model *model, const struct chain *from, const char *to, int depth)
{
	assert_true(depth < 16);
	for (size_t k = 0; k < from->count; k++)
		for (size_t s = 0; s < from->rules[k].count; s++) {
			const struct step *step = &from->rules[k].steps[s];
			if (step->kind != STEP_VERDICT || !step->object)
				continue;
			if (!strcmp(step->object, to) || reaches(model, find_chain(model, step->object), to, depth + 1))
				return true;
		}
	return false;
}

static void add_rule(struct model *model, struct chain *chain, const struct nft_rule *rule)
{
	struct nft_rule *rules = talloc_array(model->ctx, struct nft_rule, chain->count + 1);
	for (size_t s = 0; s < rule->count; s++) {
		const struct step *step = &rule->steps[s];
		if (step->kind == STEP_LOOKUP || step->kind == STEP_MAP || step->kind == STEP_METER)
			assert_non_null(find_set(model, step->object));
		else if (step->kind == STEP_COUNTER)
			assert_non_null(find_counter(model, step->object));
		else if (step->kind == STEP_VERDICT && step->object)
			assert_true(strcmp(step->object, chain->name) &&
				    !reaches(model, find_chain(model, step->object), chain->name, 0));
	}
	if (chain->count)
		memcpy(rules, chain->rules, chain->count * sizeof *rules);
	rules[chain->count] = *rule;
	chain->rules = rules;
	chain->count++;
}

static void change_members(struct model *model, const struct change *change, bool added)
{
	struct set *set = find_set(model, change->set->name);
	assert_non_null(set);
	if (set->kind == SET_TIMED) { /* as the kernel makes it, once */
		assert_true(added && !set->element_count);
		set->elements = change->set->elements;
		set->element_count = change->set->element_count;
		return;
	}
	assert_int_equal(set->kind, SET_VALUES);
	if (added) {
		assert_false(intervals_overlap(set->values, change->set->values));
		intervals_union(model->ctx, set->values, change->set->values, &set->values);
		return;
	}
	for (size_t i = 0; i < change->set->values.count; i++) { /* only whole members can go */
		bool found = false;
		for (size_t k = 0; k < set->values.count; k++)
			found |= set->values.at[k].first == change->set->values.at[i].first &&
				 set->values.at[k].last == change->set->values.at[i].last;
		assert_true(found);
	}
	intervals_subtract(model->ctx, set->values, change->set->values, &set->values);
}

static void carry_out(struct model *model, const struct change *change)
{
	struct chain *chain = change->chain ? find_chain(model, change->chain->name) : NULL;
	struct set set;
	switch (change->kind) {
	case CHANGE_TABLE_ADD:
		assert_false(model->exists);
		model->exists = true;
		return;
	case CHANGE_COUNTER_ADD:
		assert_null(find_counter(model, change->counter->name));
		model->counters[model->counter_count++] = *change->counter;
		return;
	case CHANGE_SET_ADD:
		assert_null(find_set(model, change->set->name));
		set = *change->set;
		set.values = (struct intervals){0};
		set.elements = NULL;
		set.element_count = 0;
		model->sets[model->set_count++] = set;
		return;
	case CHANGE_ELEMENTS_ADD:
		change_members(model, change, true);
		return;
	case CHANGE_ELEMENTS_DELETE:
		change_members(model, change, false);
		return;
	case CHANGE_CHAIN_ADD:
		assert_null(chain);
		model->chains[model->chain_count] = *change->chain;
		model->chains[model->chain_count++].count = 0;
		return;
	case CHANGE_CHAIN_POLICY:
		assert_non_null(chain);
		chain->policy_drop = change->chain->policy_drop;
		return;
	case CHANGE_RULE_ADD:
		assert_non_null(chain);
		add_rule(model, chain, change->rule);
		return;
	case CHANGE_RULES_FLUSH:
		assert_non_null(chain);
		chain->count = 0;
		return;
	case CHANGE_CHAIN_DELETE:
		assert_true(chain && !chain->count && !named(model, STEP_VERDICT, chain->name));
		drop_chain(model, change->chain->name);
		return;
	case CHANGE_SET_DELETE:
		assert_false(named(model, STEP_LOOKUP, change->set->name));
		drop_set(model, change->set->name);
		return;
	case CHANGE_COUNTER_DELETE:
		assert_false(named(model, STEP_COUNTER, change->counter->name));
		drop_counter(model, change->counter->name);
		return;
	case CHANGE_TABLE_DELETE:
		assert_true(model->exists);
		model->exists = false;
		model->chain_count = model->set_count = model->counter_count = 0;
		return;
	case CHANGE_TABLE_WAKE:
		model->dormant = false;
		return;
	}
	fail();
}

static size_t count_of(const struct changes *changes, enum change_kind kind)
{
	size_t count = 0;
	for (size_t i = 0; i < changes->count; i++)
		count += changes->at[i].kind == kind;
	return count;
}

static const struct changes *difference(struct model *model, const struct ruleset *wanted)
{
	const struct ruleset observed = as_ruleset(model);
	struct changes *changes;
	const char *problem = NULL;
	/* the changes point into what was observed: a copy of it stays as it was */
	struct ruleset *kept = talloc_memdup(model->ctx, &observed, sizeof observed);
	kept->chains = talloc_memdup(model->ctx, model->chains, (model->chain_count + 1) * sizeof *model->chains);
	kept->sets = talloc_memdup(model->ctx, model->sets, (model->set_count + 1) * sizeof *model->sets);
	kept->counters = talloc_memdup(model->ctx, model->counters, (model->counter_count + 1) * sizeof *model->counters);
	assert_int_equal(ruleset_difference(model->ctx, kept, wanted, &changes, &problem), 0);
	assert_string_equal(changes->table, "portpolicy");
	return changes;
}

/* Carries the difference out and sees that it leads where it should; returns it. */
static const struct changes *reach(struct model *model, const struct ruleset *wanted)
{
	const struct changes *changes = difference(model, wanted);
	for (size_t i = 0; i < changes->count; i++)
		carry_out(model, &changes->at[i]);
	assert_int_equal(model->chain_count, wanted->chain_count);
	assert_int_equal(model->set_count, wanted->set_count);
	assert_int_equal(model->counter_count, wanted->counter_count);
	for (size_t i = 0; i < wanted->chain_count; i++) {
		const struct chain *chain = find_chain(model, wanted->chains[i].name);
		assert_true(
			chain && chain->count == wanted->chains[i].count && chain->policy_drop == wanted->chains[i].policy_drop);
		for (size_t k = 0; k < chain->count; k++)
			assert_true(nft_rule_equal(&chain->rules[k], &wanted->chains[i].rules[k]));
	}
	for (size_t i = 0; i < wanted->set_count; i++)
		assert_true(intervals_equal(find_set(model, wanted->sets[i].name)->values, wanted->sets[i].values));
	assert_int_equal(difference(model, wanted)->count, 0);
	return changes;
}

static const char policy[] = "default in deny log\ndefault out reject\ndefault forward deny\naddresses bad = { 10.0.0.0/8, "
			     "192.0.2.7, 2001:db8::/32, ::7 }\n"
			     "deny in any from $bad\ndeny out tcp/25 by any except user root log\nallow in tcp/{ 22, 80, "
			     "8000-8999 } limit 10/minute per source\n"
			     "allow out any limit 9/second\nallow forward udp/53 arriving on any except \"wg*\"\n";

static const struct ruleset nothing = {.table = "portpolicy"};

static void from_nothing(void **state)
{
	(void)state;
	LOWER(wanted, policy);
	struct model *model = model_of(wanted_world.ctx, &nothing);
	const struct changes *changes = reach(model, wanted);
	assert_int_equal(changes->at[0].kind, CHANGE_TABLE_ADD);
	assert_int_equal(find_set(model, "standing")->element_count, 1);
	assert_int_equal(count_of(changes, CHANGE_RULES_FLUSH), 0);
	CLOSE(wanted);
}

static void only_what_changed(void **state)
{
	(void)state;
	LOWER(before, policy);
	LOWER(after, "default in deny log\ndefault out reject\ndefault forward deny\naddresses bad = { 10.0.0.0/8, 192.0.2.7, "
		     "2001:db8::/32, ::7 }\n"
		     "deny in any from $bad\ndeny out tcp/25 by any except user root log\nallow in tcp/{ 22, 81, 8000-8999 } "
		     "limit 10/minute per source\n"
		     "allow out any limit 9/second\nallow forward udp/53 arriving on any except \"wg*\"\n");
	struct model *model = model_of(before_world.ctx, before);
	const struct changes *changes = reach(model, after);
	for (size_t i = 0; i < changes->count; i++) { /* base chains of other directions are not touched */
		const struct chain *chain = changes->at[i].chain;
		assert_true(!chain || (strcmp(chain->name, "output") && strcmp(chain->name, "forward")));
	}
	assert_true(count_of(changes, CHANGE_RULES_FLUSH) > 0);
	assert_int_equal(count_of(changes, CHANGE_TABLE_ADD), 0);
	CLOSE(before);
	CLOSE(after);
}

static void verdict_of_last_resort(void **state)
{
	(void)state;
	LOWER(before, "default in deny\n");
	LOWER(after, "default in allow\n");
	struct model *model = model_of(before_world.ctx, before);
	assert_int_equal(count_of(reach(model, after), CHANGE_CHAIN_POLICY), 1);
	assert_int_equal(count_of(reach(model, before), CHANGE_CHAIN_POLICY), 1);
	CLOSE(before);
	CLOSE(after);
}

static void direction_given_up(void **state)
{
	(void)state;
	LOWER(before, policy);
	LOWER(after, "default in deny\n");
	struct model *model = model_of(before_world.ctx, before);
	reach(model, after);
	assert_null(find_chain(model, "output"));
	CLOSE(before);
	CLOSE(after);
}

static const struct step stray_steps[] = {{.kind = STEP_VERDICT, .verdict = NFT_VERDICT_ACCEPT}},
			 foreign_steps[] = {{.kind = STEP_FOREIGN}};
static const struct nft_rule stray_rules[] = {{.steps = stray_steps, .count = 1}},
			     foreign_rules[] = {{.steps = foreign_steps, .count = 1}};

static void meddled_chains(void **state)
{
	(void)state;
	LOWER(wanted, policy);
	for (size_t i = 0; i < wanted->chain_count; i++) {
		struct model *model = model_of(wanted_world.ctx, wanted);
		model->chains[i].count = 0; /* emptied */
		const struct changes *changes = reach(model, wanted);
		assert_int_equal(changes->count, wanted->chains[i].count);
		model->chains[i].rules = stray_rules; /* something else in it */
		model->chains[i].count = 1;
		assert_int_equal(reach(model, wanted)->count, wanted->chains[i].count + 1);
		model->chains[i].rules = foreign_rules;
		model->chains[i].count = 1;
		assert_int_equal(reach(model, wanted)->count, wanted->chains[i].count + 1);
	}
	CLOSE(wanted);
}

static void foreign_objects_go(void **state)
{
	(void)state;
	static const struct step lookup[] = {{.kind = STEP_LOOKUP, .keys = {KEY_L4PROTO}, .key_count = 1, .object = "theirs"}},
				 count[] = {{.kind = STEP_COUNTER, .object = "theirs"}};
	static const struct nft_rule rules[] = {{.steps = lookup, .count = 1}, {.steps = count, .count = 1}};
	LOWER(wanted, policy);
	struct model *model = model_of(wanted_world.ctx, wanted);
	const char *ours = wanted->chains[wanted->chain_count - 1].name;
	struct element *member = talloc_zero(model, struct element);
	*member = (struct element){.first = {6}, .last = {6}, .verdict = NFT_VERDICT_JUMP, .object = "theirs"};
	model->counters[model->counter_count++] = (struct counter){.name = "theirs"};
	model->chains[model->chain_count++] = (struct chain){.name = "theirs"};
	model->chains[model->chain_count++] = (struct chain){.name = "theirs too", .rules = rules, .count = 2};
	model->sets[model->set_count++] = (struct set){
		.name = "theirs", .kind = SET_MAP, .keys = {KEY_L4PROTO}, .key_count = 1, .elements = member, .element_count = 1};
	reach(model, wanted);
	assert_non_null(find_chain(model, ours));
	CLOSE(wanted);
}

/* Ours jumps to a; others turned that round while ours was emptied. */
static void no_circle_on_the_way(void **state)
{
	(void)state;
	LOWER(wanted, "default in deny\nallow in tcp/1-9 log\n");
	struct model *model = model_of(wanted_world.ctx, wanted);
	const struct chain *base = find_chain(model, "input");
	struct chain *swap = find_chain(model, base->rules[1].steps[1].object), *inner = NULL;
	for (size_t k = 0; k < swap->count; k++)
		for (size_t s = 0; s < swap->rules[k].count; s++)
			if (swap->rules[k].steps[s].kind == STEP_VERDICT && swap->rules[k].steps[s].object)
				inner = find_chain(model, swap->rules[k].steps[s].object);
	assert_non_null(inner);
	const struct step back[] = {{.kind = STEP_VERDICT, .verdict = NFT_VERDICT_JUMP, .object = swap->name}};
	const struct nft_rule rule[] = {{.steps = back, .count = 1}};
	swap->count = 0;
	inner->rules = rule;
	inner->count = 1;
	reach(model, wanted);
	CLOSE(wanted);
}

static void drifted_members(void **state)
{
	(void)state;
	static const struct interval other[] = {{0x0a000001, 0x0a000001}, {0x0b000000, 0x0b0000ff}, {0xffffffff, 0xffffffff}};
	LOWER(wanted, policy);
	struct model *model = model_of(wanted_world.ctx, wanted);
	struct set *set = NULL;
	for (size_t i = 0; i < model->set_count; i++)
		if (!strncmp(model->sets[i].name, "v4-", 3))
			set = &model->sets[i];
	assert_non_null(set);
	set->values = (struct intervals){other, 3};
	const struct changes *changes = reach(model, wanted);
	assert_int_equal(changes->count, 2); /* what is too much goes before what is missing comes: they overlap */
	assert_int_equal(changes->at[0].kind, CHANGE_ELEMENTS_DELETE);
	set->values.count = 0;
	assert_int_equal(reach(model, wanted)->count, 1);
	CLOSE(wanted);
}

static void packets_own_their_members(void **state)
{
	(void)state;
	static const struct element source = {.first = {1}, .last = {1}};
	LOWER(wanted, policy);
	struct model *model = model_of(wanted_world.ctx, wanted);
	for (size_t i = 0; i < model->set_count; i++) {
		if (model->sets[i].kind == SET_METER) {
			model->sets[i].elements = &source;
			model->sets[i].element_count = 1;
		} else if (model->sets[i].kind == SET_TIMED) {
			model->sets[i].element_count = 0; /* has run out */
		}
	}
	assert_int_equal(difference(model, wanted)->count, 0);
	CLOSE(wanted);
}

/* A set of our name that is of another kind cannot be changed in place. */
static void set_of_another_kind(void **state)
{
	(void)state;
	LOWER(wanted, policy);
	for (size_t i = 0; i < wanted->set_count; i++)
		for (int way = 0; way < 5; way++) {
			struct model *model = model_of(wanted_world.ctx, wanted);
			struct set *set = &model->sets[i];
			if (way == 0)
				set->interval = !set->interval;
			else if (way == 1)
				set->kind = set->kind == SET_VALUES ? SET_TIMED : SET_VALUES;
			else if (way == 2)
				set->keys[0] = KEY_TCP_FLAGS;
			else if (way == 3)
				set->timeout_ms++;
			else
				set->foreign = true;
			reach(model, wanted);
		}
	CLOSE(wanted);
}

static void somebody_elses_table(void **state)
{
	(void)state;
	LOWER(wanted, policy);
	for (int way = 0; way < 2; way++) {
		struct model *model = model_of(wanted_world.ctx, wanted);
		const struct ruleset observed = as_ruleset(model);
		struct changes *changes = NULL;
		const char *problem = NULL;
		if (way)
			find_chain(model, "input")->foreign = true;
		else
			find_chain(model, "input")->hook = HOOK_OUTPUT;
		assert_int_equal(ruleset_difference(model, &observed, wanted, &changes, &problem), 1);
		assert_non_null(strstr(problem, "input"));
		assert_null(changes);
	}
	CLOSE(wanted);
}

/* A table that is known to be ours is made anew where a base chain was hooked in elsewhere. */
static void our_table_remade(void **state)
{
	(void)state;
	LOWER(wanted, policy);
	for (int way = 0; way < 2; way++) {
		struct model *model = model_of(wanted_world.ctx, wanted);
		model->ours = true;
		if (way)
			find_chain(model, "input")->foreign = true;
		else
			find_chain(model, "input")->hook = HOOK_OUTPUT;
		const struct changes *changes = reach(model, wanted);
		assert_int_equal(changes->at[0].kind, CHANGE_TABLE_DELETE);
		assert_int_equal(find_chain(model, "input")->hook, HOOK_INPUT);
		assert_false(find_chain(model, "input")->foreign);
	}
	CLOSE(wanted);
}

/* The kernel takes no base chain behind the change of the table's flags. */
static void dormant_table_woken_last(void **state)
{
	(void)state;
	LOWER(wanted, policy);
	struct model *model = model_of(wanted_world.ctx, wanted);
	model->dormant = true;
	drop_chain(model, "output");
	const struct changes *changes = reach(model, wanted);
	assert_false(model->dormant);
	assert_int_equal(count_of(changes, CHANGE_TABLE_WAKE), 1);
	assert_int_equal(changes->at[changes->count - 1].kind, CHANGE_TABLE_WAKE);
	CLOSE(wanted);
}

/* What a kernel says of the same rule: a mask of one bit is tested against zero. */
static void rules_by_meaning(void **state)
{
	(void)state;
	const struct step ours = {.kind = STEP_COMPARE, .keys = {KEY_CT_STATE}, .key_count = 1, .mask = 2, .first = 2},
			  theirs = {.kind = STEP_COMPARE, .keys = {KEY_CT_STATE}, .key_count = 1, .mask = 2, .negated = true};
	const struct nft_rule a = {.steps = &ours, .count = 1, .handle = 1}, b = {.steps = &theirs, .count = 1, .handle = 2};
	assert_true(nft_rule_equal(&a, &b));
	struct step others[8];
	for (size_t i = 0; i < 8; i++)
		others[i] = ours;
	others[0].mask = 4;
	others[1].negated = true;
	others[2].keys[0] = KEY_TCP_FLAGS;
	others[3].kind = STEP_RANGE;
	others[4].first = 0;
	others[5].kind = STEP_FOREIGN;
	others[6].last = 1;
	others[7].key_count = 2;
	for (size_t i = 0; i < 8; i++)
		assert_false(nft_rule_equal(&a, &(struct nft_rule){.steps = &others[i], .count = 1}));
	assert_false(nft_rule_equal(&a, &(struct nft_rule){.steps = &ours, .count = 0}));
	assert_false(nft_rule_equal(
		&(struct nft_rule){.steps = &others[5], .count = 1}, &(struct nft_rule){.steps = &others[5], .count = 1}));
}

/* One line of a list of a million is one member, and the work is a walk, not a search for each. */
static void one_of_a_million(void **state)
{
	(void)state;
	const size_t count = 1000000;
	void *ctx = talloc_new(NULL);
	struct interval *list = talloc_array(ctx, struct interval, count), *fewer = talloc_array(ctx, struct interval, count);
	for (size_t i = 0; i < count; i++)
		list[i] = (struct interval){2 * i, 2 * i};
	memcpy(fewer, list, count / 2 * sizeof *list);
	memcpy(fewer + count / 2, list + count / 2 + 1, (count / 2 - 1) * sizeof *list);
	struct set set = {.name = "v4-list",
		.kind = SET_VALUES,
		.keys = {KEY_IP_SADDR},
		.key_count = 1,
		.interval = true,
		.values = {list, count}};
	struct set less = set;
	less.values = (struct intervals){fewer, count - 1};
	const struct ruleset wanted = {.table = "portpolicy", .exists = true, .sets = &set, .set_count = 1};
	const struct ruleset observed = {.table = "portpolicy", .exists = true, .sets = &less, .set_count = 1};
	struct changes *changes;
	const char *problem;
	assert_int_equal(ruleset_difference(ctx, &observed, &wanted, &changes, &problem), 0);
	assert_int_equal(changes->count, 1);
	assert_int_equal(changes->at[0].kind, CHANGE_ELEMENTS_ADD);
	assert_int_equal(changes->at[0].set->values.count, 1);
	assert_true(changes->at[0].set->values.at[0].first == count);
	talloc_free(ctx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(from_nothing),
		cmocka_unit_test(only_what_changed),
		cmocka_unit_test(verdict_of_last_resort),
		cmocka_unit_test(direction_given_up),
		cmocka_unit_test(meddled_chains),
		cmocka_unit_test(foreign_objects_go),
		cmocka_unit_test(no_circle_on_the_way),
		cmocka_unit_test(drifted_members),
		cmocka_unit_test(packets_own_their_members),
		cmocka_unit_test(set_of_another_kind),
		cmocka_unit_test(somebody_elses_table),
		cmocka_unit_test(our_table_remade),
		cmocka_unit_test(dormant_table_woken_last),
		cmocka_unit_test(rules_by_meaning),
		cmocka_unit_test(one_of_a_million),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
