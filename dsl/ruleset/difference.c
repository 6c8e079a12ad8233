/*
 * The difference of two rulesets, as changes that one batch can carry.
 *
 * Objects are told apart by their names. Chains and sets that lowering makes carry a hash of their content, so most of a
 * difference is names that come and names that go; content is compared all the same, because others may have edited what bears
 * our name.
 */
#include "portpolicy/ruleset.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <talloc.h>

static bool text_equal(const char *a, const char *b)
{
	return a == b || (a && b && !strcmp(a, b));
}

/* A mask of all the bits that a key has says nothing; `!= 0` of one bit and `== bit` are one test. */
static struct step plain(const struct step *step)
{
	struct step result = *step;
	bool one_bit = result.kind == STEP_COMPARE && result.mask && !(result.mask & (result.mask - 1));
	if (one_bit && result.first == 0) {
		result.first = result.mask;
		result.negated = !result.negated;
	}
	return result;
}

static bool step_equal(const struct step *left, const struct step *right)
{
	const struct step a = plain(left), b = plain(right);
	if (a.kind != b.kind || a.kind == STEP_FOREIGN || a.key_count != b.key_count || a.negated != b.negated)
		return false;
	for (unsigned i = 0; i < a.key_count; i++)
		if (a.keys[i] != b.keys[i])
			return false;
	return a.mask == b.mask && a.first == b.first && a.last == b.last && a.length == b.length &&
	       !memcmp(a.masks, b.masks, sizeof a.masks) && text_equal(a.object, b.object) && a.rate == b.rate && a.seconds == b.seconds && a.burst == b.burst &&
	       a.group == b.group && text_equal(a.prefix, b.prefix) && a.tcp_reset == b.tcp_reset && a.verdict == b.verdict;
}

bool nft_rule_equal(const struct nft_rule *a, const struct nft_rule *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++)
		if (!step_equal(&a->steps[i], &b->steps[i]))
			return false;
	return true;
}

static bool rules_equal(const struct chain *a, const struct chain *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++)
		if (!nft_rule_equal(&a->rules[i], &b->rules[i]) || !text_equal(a->rules[i].comment, b->rules[i].comment))
			return false;
	return true;
}

/* An index by name of one kind of object. Every object begins with its name. */
struct names {
	const void **at;
	size_t count;
};

static const char *name_of(const void *object)
{
	const char *name;
	memcpy(&name, object, sizeof name);
	return name;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(name_of(*(const void *const *)a), name_of(*(const void *const *)b));
}

static int index_names(void *ctx, const void *objects, size_t count, size_t size, struct names *out)
{
	const char *at = objects;
	out->at = talloc_array(ctx, const void *, count + 1);
	out->count = count;
	if (!out->at)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		out->at[i] = at + i * size;
	qsort(out->at, count, sizeof *out->at, by_name);
	return 0;
}

static const void *find(const struct names *names, const void *object)
{
	const void *const *found = names->count ? bsearch(&object, names->at, names->count, sizeof *names->at, by_name) : NULL;
	return found ? *found : NULL;
}

struct indexes {
	struct names chains, sets, counters;
};

struct differing {
	void *ctx;
	const struct ruleset *observed, *wanted;
	struct indexes old, new;
	struct change *changes;
	size_t count;
	bool rebuild; /* a set stands in the way that cannot be changed in place: all rules make room for it */
	bool remake;  /* a base chain of ours is hooked in elsewhere: the table goes, and comes anew */
};

static int index_all(void *ctx, const struct ruleset *ruleset, struct indexes *out)
{
	int error = index_names(ctx, ruleset->chains, ruleset->chain_count, sizeof(struct chain), &out->chains);
	error = error ? error : index_names(ctx, ruleset->sets, ruleset->set_count, sizeof(struct set), &out->sets);
	return error ? error
		     : index_names(ctx, ruleset->counters, ruleset->counter_count, sizeof(struct counter), &out->counters);
}

static int add(struct differing *differing, struct change change)
{
	if (!differing->changes || !(differing->count & (differing->count - 1))) {
		struct change *more = talloc_realloc(
			differing->ctx, differing->changes, struct change, differing->count ? differing->count * 2 : 1);
		if (!more)
			return -ENOMEM;
		differing->changes = more;
	}
	differing->changes[differing->count++] = change;
	return 0;
}

/* A set holds values of a type, and either end of a packet has it: a set that others made of our text has no note of which. */
static enum key either_end(enum key key)
{
	switch (key) {
	case KEY_OIFNAME:
		return KEY_IIFNAME;
	case KEY_IP_DADDR:
		return KEY_IP_SADDR;
	case KEY_IP6_DADDR:
		return KEY_IP6_SADDR;
	case KEY_TH_DPORT:
		return KEY_TH_SPORT;
	case KEY_NFPROTO:
	case KEY_L4PROTO:
	case KEY_IIFNAME:
	case KEY_SKUID:
	case KEY_SKGID:
	case KEY_CT_STATE:
	case KEY_IP_SADDR:
	case KEY_IP6_SADDR:
	case KEY_TH_SPORT:
	case KEY_ICMP_TYPE:
	case KEY_ICMPV6_TYPE:
	case KEY_TCP_FLAGS:
		break;
	}
	return key;
}

static bool set_alike(const struct set *a, const struct set *b)
{
	if (a->foreign || b->foreign || a->kind != b->kind || a->key_count != b->key_count || a->interval != b->interval ||
		a->timeout_ms != b->timeout_ms)
		return false;
	for (unsigned i = 0; i < a->key_count; i++)
		if (either_end(a->keys[i]) != either_end(b->keys[i]))
			return false;
	return a->kind != SET_METER || a->size == b->size;
}

/* A hash has the size that it was made with. */
static bool has_room(const struct set *old, const struct set *new)
{
	return old->kind == SET_METER || new->interval || !old->size || members_count(new) <= old->size;
}

static bool members_fixed(const struct set *set)
{
	return set->kind == SET_VALUES || set->kind == SET_MAP || set->kind == SET_COUNTERS;
}

static int compare_intervals(const struct interval *a, const struct interval *b)
{
	if (a->first != b->first)
		return a->first < b->first ? -1 : 1;
	return (a->last > b->last) - (a->last < b->last);
}

/* Those of `a` that are not in `b`, interval by interval. */
static int values_missing(void *ctx, struct intervals a, struct intervals b, struct intervals *out)
{
	struct interval *list = talloc_array(ctx, struct interval, a.count + 1);
	size_t count = 0;
	if (!list)
		return -ENOMEM;
	for (size_t i = 0, k = 0; i < a.count; i++) {
		while (k < b.count && compare_intervals(&b.at[k], &a.at[i]) < 0)
			k++;
		if (k == b.count || compare_intervals(&b.at[k], &a.at[i]))
			list[count++] = a.at[i];
	}
	*out = (struct intervals){list, count};
	return 0;
}

static int compare_keys(const struct element *a, const struct element *b, unsigned keys)
{
	for (unsigned i = 0; i < keys; i++) {
		int order = compare_intervals(
			&(struct interval){a->first[i], a->last[i]}, &(struct interval){b->first[i], b->last[i]});
		if (order)
			return order;
	}
	return 0;
}

static bool element_equal(const struct element *a, const struct element *b, const struct set *set)
{
	return !compare_keys(a, b, set->key_count) &&
	       (set->kind == SET_VALUES || (a->verdict == b->verdict && text_equal(a->object, b->object)));
}

static int elements_missing(void *ctx, const struct set *a, const struct set *b, const struct element **out, size_t *count)
{
	struct element *list = talloc_array(ctx, struct element, a->element_count + 1);
	*count = 0;
	if (!list)
		return -ENOMEM;
	for (size_t i = 0, k = 0; i < a->element_count; i++) {
		while (k < b->element_count && compare_keys(&b->elements[k], &a->elements[i], a->key_count) < 0)
			k++;
		if (k == b->element_count || !element_equal(&b->elements[k], &a->elements[i], a))
			list[(*count)++] = a->elements[i];
	}
	*out = list;
	return 0;
}

/* The members of `set` that `other` lacks, as a set value of its own; *out NULL: none. */
static int members_missing(void *ctx, const struct set *set, const struct set *other, const struct set **out)
{
	struct set *part = talloc_memdup(ctx, set, sizeof *set);
	if (!part)
		return -ENOMEM;
	int error = set->interval ? values_missing(part, set->values, other->values, &part->values)
				  : members_subtract(part, set, other, &part->values);
	part->networks = (struct networks){0};
	error = error ? error : elements_missing(part, set, other, &part->elements, &part->element_count);
	*out = !error && (part->values.count || part->element_count) ? part : NULL;
	return error;
}

static int differ_members(struct differing *differing, const struct set *old, const struct set *new)
{
	const struct set *gone, *come;
	int error = members_missing(differing->ctx, old, new, &gone);
	error = error ? error : members_missing(differing->ctx, new, old, &come);
	if (!error && gone)
		error = add(differing, (struct change){.kind = CHANGE_ELEMENTS_DELETE, .set = gone});
	if (!error && come)
		error = add(differing, (struct change){.kind = CHANGE_ELEMENTS_ADD, .set = come});
	return error;
}

static const struct set *old_set(const struct differing *differing, const struct set *set)
{
	return differing->rebuild ? NULL : find(&differing->old.sets, set);
}

static int add_objects(struct differing *differing)
{
	const struct ruleset *wanted = differing->wanted;
	bool exists = differing->observed->exists;
	int error = differing->remake ? add(differing, (struct change){.kind = CHANGE_TABLE_DELETE}) : 0;
	if (!error && (differing->remake || !exists))
		error = add(differing, (struct change){.kind = CHANGE_TABLE_ADD});
	for (size_t i = 0; i < wanted->counter_count && !error; i++)
		if (!find(&differing->old.counters, &wanted->counters[i]))
			error = add(differing, (struct change){.kind = CHANGE_COUNTER_ADD, .counter = &wanted->counters[i]});
	for (size_t i = 0; i < wanted->set_count && !error; i++)
		if (!old_set(differing, &wanted->sets[i]))
			error = add(differing, (struct change){.kind = CHANGE_SET_ADD, .set = &wanted->sets[i]});
	for (size_t i = 0; i < wanted->chain_count && !error; i++) {
		const struct chain *old = find(&differing->old.chains, &wanted->chains[i]);
		if (!old)
			error = add(differing, (struct change){.kind = CHANGE_CHAIN_ADD, .chain = &wanted->chains[i]});
		else if (old->policy_drop != wanted->chains[i].policy_drop)
			error = add(differing, (struct change){.kind = CHANGE_CHAIN_POLICY, .chain = &wanted->chains[i]});
	}
	return error;
}

static int add_members(struct differing *differing)
{
	int error = 0;
	for (size_t i = 0; i < differing->wanted->set_count && !error; i++) {
		const struct set *new = &differing->wanted->sets[i], *old = old_set(differing, new);
		if (old && members_fixed(new))
			error = differ_members(differing, old, new);
		else if (!old && members_count(new))
			error = add(differing, (struct change){.kind = CHANGE_ELEMENTS_ADD, .set = new});
	}
	return error;
}

static bool rules_stay(const struct differing *differing, const struct chain *old)
{
	const struct chain *new = find(&differing->new.chains, old);
	return !differing->rebuild && new &&rules_equal(old, new);
}

/* What others have written goes before what is ours comes: a jump of theirs may close a circle with one of ours. */
static int flush_rules(struct differing *differing)
{
	const struct ruleset *observed = differing->observed;
	int error = 0;
	for (size_t i = 0; i < observed->chain_count && !error; i++)
		if (observed->chains[i].count && !rules_stay(differing, &observed->chains[i]))
			error = add(differing, (struct change){.kind = CHANGE_RULES_FLUSH, .chain = &observed->chains[i]});
	return error;
}

static int add_rules(struct differing *differing)
{
	int error = 0;
	for (size_t i = 0; i < differing->wanted->chain_count && !error; i++) {
		const struct chain *new = &differing->wanted->chains[i], *old = find(&differing->old.chains, new);
		if (old && rules_stay(differing, old))
			continue;
		for (size_t k = 0; k < new->count && !error; k++)
			error = add(differing, (struct change){.kind = CHANGE_RULE_ADD, .chain = new, .rule = &new->rules[k]});
	}
	return error;
}

/* Everything that names a set goes before the set can. */
static int make_room(struct differing *differing)
{
	const struct ruleset *observed = differing->observed;
	int error = flush_rules(differing);
	for (size_t i = 0; i < observed->set_count && !error; i++)
		error = add(differing, (struct change){.kind = CHANGE_SET_DELETE, .set = &observed->sets[i]});
	return error;
}

static int remove_chains(struct differing *differing)
{
	const struct ruleset *observed = differing->observed;
	int error = 0;
	for (size_t i = 0; i < observed->chain_count && !error; i++)
		if (!find(&differing->new.chains, &observed->chains[i]))
			error = add(differing, (struct change){.kind = CHANGE_CHAIN_DELETE, .chain = &observed->chains[i]});
	return error;
}

static int remove_objects(struct differing *differing)
{
	const struct ruleset *observed = differing->observed;
	int error = 0;
	for (size_t i = 0; i < observed->set_count && !error && !differing->rebuild; i++)
		if (!find(&differing->new.sets, &observed->sets[i]))
			error = add(differing, (struct change){.kind = CHANGE_SET_DELETE, .set = &observed->sets[i]});
	error = error ? error : remove_chains(differing); /* which the members of a map may name */
	for (size_t i = 0; i < observed->counter_count && !error; i++)
		if (!find(&differing->new.counters, &observed->counters[i]))
			error = add(differing, (struct change){.kind = CHANGE_COUNTER_DELETE, .counter = &observed->counters[i]});
	return error;
}

static int check(struct differing *differing, const char **problem)
{
	for (size_t i = 0; i < differing->wanted->chain_count; i++) {
		const struct chain *new = &differing->wanted->chains[i], *old = find(&differing->old.chains, new);
		if (!old || (old->hook == new->hook && !old->foreign))
			continue;
		if (differing->observed->ours) {
			differing->remake = true;
			return 0;
		}
		*problem = talloc_asprintf(differing->ctx, "the kernel has a table inet %s whose chain %s is not portpolicy's",
			differing->wanted->table, new->name);
		return *problem ? 1 : -ENOMEM;
	}
	for (size_t i = 0; i < differing->wanted->set_count; i++) {
		const struct set *new = &differing->wanted->sets[i], *old = find(&differing->old.sets, new);
		differing->rebuild |= old && (!set_alike(old, new) || !has_room(old, new));
	}
	return 0;
}

static void start_from_nothing(struct differing *differing)
{
	static const struct ruleset nothing;
	differing->observed = &nothing;
	differing->old = (struct indexes){0};
	differing->rebuild = false;
}

int ruleset_difference(
	void *ctx, const struct ruleset *observed, const struct ruleset *wanted, struct changes **out, const char **problem)
{
	struct changes *changes = talloc_zero(ctx, struct changes);
	struct differing differing = {.ctx = changes, .observed = observed, .wanted = wanted};
	if (!changes)
		return -ENOMEM;
	int error = index_all(changes, observed, &differing.old);
	error = error ? error : index_all(changes, wanted, &differing.new);
	error = error ? error : check(&differing, problem);
	if (!error && differing.remake)
		start_from_nothing(&differing);
	if (!error && differing.rebuild)
		error = make_room(&differing);
	error = error ? error : add_objects(&differing);
	error = error ? error : add_members(&differing);
	if (!error && !differing.rebuild)
		error = flush_rules(&differing);
	error = error ? error : add_rules(&differing);
	error = error ? error : remove_objects(&differing);
	if (!error && differing.observed->dormant) /* last: the kernel takes no new base chain behind it (EINVAL) */
		error = add(&differing, (struct change){.kind = CHANGE_TABLE_WAKE});
	if (error < 0)
		talloc_free(changes);
	if (error)
		return error;
	*changes = (struct changes){.table = wanted->table,
		.persist = observed->persist,
		.owned = observed->owner != 0,
		.at = differing.changes,
		.count = differing.count};
	*out = changes;
	return 0;
}
