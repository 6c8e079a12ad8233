/*
 * Objects of a ruleset under construction.
 *
 * A chain or a set is named by a hash of what it holds, so two that hold the same are one, and what did not change keeps its name
 * in the kernel. A chain's text names the chains and sets that it uses, whose names are hashes too: the name covers all below it.
 */
#include "dsl/ruleset/lowering.h"
#include <errno.h>
#include <nettle/sha2.h>
#include <stdlib.h>
#include <string.h>
#include <talloc.h>

const char *const direction_names[DIRECTIONS] = {"in", "out", "forward"};

/* Room for one more, by doubling. */
static int room(void *ctx, void *array, size_t size, size_t count)
{
	void *old;
	memcpy(&old, array, sizeof old);
	if (old && (count & (count - 1)))
		return 0;
	void *grown = talloc_realloc_size(ctx, old, size * (count ? count * 2 : 1));
	if (!grown)
		return -ENOMEM;
	memcpy(array, &grown, sizeof grown);
	return 0;
}

static char *hashed_name(void *ctx, const char *prefix, struct sha256_ctx *hash)
{
	uint8_t digest[8];
	sha256_digest(hash, sizeof digest, digest);
	return talloc_asprintf(ctx, "%s-%02x%02x%02x%02x%02x%02x%02x%02x", prefix, digest[0], digest[1], digest[2], digest[3],
		digest[4], digest[5], digest[6], digest[7]);
}

int rules_append(struct lowering *lowering, struct rules *rules, const struct nft_rule *rule)
{
	if (room(lowering->ctx, &rules->at, sizeof *rules->at, rules->count))
		return -ENOMEM;
	rules->at[rules->count++] = *rule;
	return 0;
}

int rules_add(struct lowering *lowering, struct rules *rules, const struct phrase *phrase)
{
	struct step *steps = talloc_memdup(lowering->ctx, phrase->steps, (phrase->count + 1) * sizeof *steps);
	if (!steps)
		return -ENOMEM;
	return rules_append(lowering, rules,
		&(struct nft_rule){
			.steps = steps, .count = phrase->count, .comment = rules->comment, .origin = rules->origin});
}

static int add_chain(struct lowering *lowering, const struct chain *chain)
{
	if (room(lowering->ctx, &lowering->chains, sizeof *lowering->chains, lowering->chain_count))
		return -ENOMEM;
	lowering->chains[lowering->chain_count++] = *chain;
	return 0;
}

int chain_add(struct lowering *lowering, const char *prefix, const struct rules *rules, const char **name)
{
	struct sha256_ctx hash;
	sha256_init(&hash);
	for (size_t i = 0; i < rules->count; i++) {
		char *text = nft_rule_text(lowering->ctx, &rules->at[i]);
		if (!text)
			return -ENOMEM;
		sha256_update(&hash, strlen(text) + 1, (const uint8_t *)text);
		talloc_free(text);
	}
	*name = hashed_name(lowering->ctx, prefix, &hash);
	return *name ? add_chain(lowering, &(struct chain){.name = *name, .rules = rules->at, .count = rules->count}) : -ENOMEM;
}

int chain_base(struct lowering *lowering, const char *name, enum chain_hook hook, bool policy_drop, const struct rules *rules)
{
	return add_chain(lowering,
		&(struct chain){
			.name = name, .hook = hook, .policy_drop = policy_drop, .rules = rules->at, .count = rules->count});
}

int set_add(struct lowering *lowering, const struct set *set)
{
	if (room(lowering->ctx, &lowering->sets, sizeof *lowering->sets, lowering->set_count))
		return -ENOMEM;
	lowering->sets[lowering->set_count++] = *set;
	return 0;
}

/* Users and groups are few and the kernel holds their numbers in its own byte order: written out, never ranges. */
static bool written_out(enum key key, struct intervals values)
{
	for (size_t i = 0; i < values.count; i++)
		if (values.at[i].first != values.at[i].last)
			return key == KEY_SKUID || key == KEY_SKGID || key == KEY_L4PROTO;
	return true;
}

/* A long list that many rules name is hashed once. */
static const char *known_set(const struct lowering *lowering, const struct set *set)
{
	for (size_t i = lowering->set_count; set->values.count >= 64 && i-- > 0;) {
		const struct set *known = &lowering->sets[i];
		if (known->values.at == set->values.at && known->values.count == set->values.count &&
			known->keys[0] == set->keys[0] && known->interval == set->interval)
			return known->name;
	}
	return NULL;
}

/* Names a set by its content. */
static int add_content(struct lowering *lowering, const char *prefix, struct set set, const char **name)
{
	struct sha256_ctx hash;
	bool hashed = !set.interval && !written_out(set.keys[0], set.values);
	uint32_t head = (uint32_t)set.keys[0] | (hashed ? 1u << 16 : 0);
	*name = known_set(lowering, &set);
	if (*name)
		return 0;
	sha256_init(&hash);
	sha256_update(&hash, sizeof head, (const uint8_t *)&head);
	sha256_update(&hash, set.values.count * sizeof *set.values.at, (const uint8_t *)set.values.at);
	*name = set.name = hashed_name(lowering->ctx, prefix, &hash);
	return *name ? set_add(lowering, &set) : -ENOMEM;
}

int set_values(struct lowering *lowering, const char *prefix, enum key key, struct intervals values, const struct span *origin,
	const char **name)
{
	struct set set = {
		.keys = {key}, .key_count = 1, .interval = !written_out(key, values), .values = values, .origin = origin};
	return add_content(lowering, prefix, set, name);
}

int set_hashed(struct lowering *lowering, const char *prefix, enum key key, struct intervals values, const struct span *origin,
	const char **name)
{
	return add_content(
		lowering, prefix, (struct set){.keys = {key}, .key_count = 1, .values = values, .origin = origin}, name);
}

/* KEYS_MAX is as far as any set goes: unused keys are 0. */
static int by_keys(const void *left, const void *right)
{
	const struct element *a = left, *b = right;
	for (int i = 0; i < KEYS_MAX; i++) {
		if (a->first[i] != b->first[i])
			return a->first[i] < b->first[i] ? -1 : 1;
		if (a->last[i] != b->last[i])
			return a->last[i] < b->last[i] ? -1 : 1;
	}
	return 0;
}

void elements_sort(struct element *elements, size_t count)
{
	qsort(elements, count, sizeof *elements, by_keys);
}

int set_elements(struct lowering *lowering, const char *prefix, struct set *set, struct element *elements, const char **name)
{
	struct sha256_ctx hash;
	uint32_t head[] = {set->kind, set->key_count, set->interval};
	sha256_init(&hash);
	sha256_update(&hash, sizeof head, (const uint8_t *)head);
	sha256_update(&hash, sizeof set->keys, (const uint8_t *)set->keys);
	elements_sort(elements, set->element_count);
	for (size_t i = 0; i < set->element_count; i++) {
		const char *object = elements[i].object ? elements[i].object : "";
		sha256_update(&hash, sizeof elements[i].first, (const uint8_t *)elements[i].first);
		sha256_update(&hash, sizeof elements[i].last, (const uint8_t *)elements[i].last);
		sha256_update(&hash, sizeof elements[i].verdict, (const uint8_t *)&elements[i].verdict);
		sha256_update(&hash, strlen(object) + 1, (const uint8_t *)object);
	}
	*name = set->name = hashed_name(lowering->ctx, prefix, &hash);
	set->elements = elements;
	return *name ? set_add(lowering, set) : -ENOMEM;
}

int counter_add(struct lowering *lowering, const struct span *origin, const char **name, const char *format, const char *id)
{
	if (room(lowering->ctx, &lowering->counters, sizeof *lowering->counters, lowering->counter_count))
		return -ENOMEM;
	*name = talloc_asprintf(lowering->ctx, "%s%s", format, id);
	lowering->counters[lowering->counter_count++] = (struct counter){.name = *name, .origin = origin};
	return *name ? 0 : -ENOMEM;
}

void say(struct phrase *phrase, struct step step)
{
	if (phrase->count < STEPS_MAX)
		phrase->steps[phrase->count++] = step;
}

void say_value(struct phrase *phrase, enum key key, u128 value)
{
	say(phrase, (struct step){.kind = STEP_COMPARE, .keys = {key}, .key_count = 1, .first = value});
}

void say_bits(struct phrase *phrase, enum key key, u128 mask, u128 value)
{
	say(phrase, (struct step){.kind = STEP_COMPARE, .keys = {key}, .key_count = 1, .mask = mask, .first = value});
}

void say_verdict(struct phrase *phrase, enum nft_verdict verdict, const char *chain)
{
	say(phrase, (struct step){.kind = STEP_VERDICT, .verdict = verdict, .object = chain});
}

void say_counter(struct phrase *phrase, const char *name)
{
	say(phrase, (struct step){.kind = STEP_COUNTER, .object = name});
}

/* Is an interval all the numbers with one prefix of so many bits as the key has? */
static bool is_network(enum key key, struct interval one, u128 *mask)
{
	u128 all = key == KEY_IP_SADDR || key == KEY_IP_DADDR ? 0xffffffff : U128_MAX, hosts = one.first ^ one.last;
	*mask = all & ~hosts;
	return !(hosts & (hosts + 1)) && !(one.first & hosts);
}

static bool is_address(enum key key)
{
	return key == KEY_IP_SADDR || key == KEY_IP_DADDR || key == KEY_IP6_SADDR || key == KEY_IP6_DADDR;
}

int say_set(struct lowering *lowering, struct phrase *phrase, const char *prefix, enum key key, struct intervals values,
	struct intervals all, const struct span *origin)
{
	const char *name;
	u128 mask;
	if (intervals_equal(values, all))
		return 0;
	struct interval one = values.count ? values.at[0] : (struct interval){1, 0};
	if (values.count == 1 && one.first == one.last)
		say_value(phrase, key, one.first);
	else if (values.count == 1 && is_address(key) && is_network(key, one, &mask))
		say_bits(phrase, key, mask, one.first);
	else if (values.count == 1 && key != KEY_SKUID && key != KEY_SKGID)
		say(phrase,
			(struct step){.kind = STEP_RANGE, .keys = {key}, .key_count = 1, .first = one.first, .last = one.last});
	else if (set_values(lowering, prefix, key, values, origin, &name))
		return -ENOMEM;
	else
		say(phrase, (struct step){.kind = STEP_LOOKUP, .keys = {key}, .key_count = 1, .object = name});
	return 0;
}
