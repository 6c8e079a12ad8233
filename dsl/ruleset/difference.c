/*
 * The difference of two rulesets, as changes that one batch can carry.
 *
 * Objects are told apart by their names. Chains and sets that lowering makes carry a hash of their content, so most of a
 * difference is names that come and names that go; content is compared all the same, because others may have edited what bears
 * our name.
 */
#include "dsl/ruleset/delta.h"
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
	       !memcmp(a.masks, b.masks, sizeof a.masks) && text_equal(a.object, b.object) && a.rate == b.rate &&
	       a.seconds == b.seconds && a.burst == b.burst && a.group == b.group && text_equal(a.prefix, b.prefix) &&
	       a.tcp_reset == b.tcp_reset && a.verdict == b.verdict;
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
	struct names remade; /* sets of `old` that cannot be changed in place: the rules that name them make room for new ones */
	struct list_deltas deltas;
	bool remake; /* a base chain of ours is hooked in elsewhere: the table goes, and comes anew */
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

static bool remakes(const struct differing *differing)
{
	return differing->remade.count != 0;
}

static const struct set *old_set(const struct differing *differing, const struct set *set)
{
	return find(&differing->remade, set) ? NULL : find(&differing->old.sets, set);
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

static int change_members(struct differing *differing, const struct set *old, const struct set *new)
{
	const struct set *gone, *come;
	int error = members_differ(differing->ctx, &differing->deltas, old, new, &gone, &come);
	if (!error && gone)
		error = add(differing, (struct change){.kind = CHANGE_ELEMENTS_DELETE, .set = gone});
	if (!error && come)
		error = add(differing, (struct change){.kind = CHANGE_ELEMENTS_ADD, .set = come});
	return error;
}

static int add_members(struct differing *differing)
{
	int error = 0;
	for (size_t i = 0; i < differing->wanted->set_count && !error; i++) {
		const struct set *new = &differing->wanted->sets[i], *old = old_set(differing, new);
		if (old && members_fixed(new))
			error = change_members(differing, old, new);
		else if (!old && members_count(new))
			error = add(differing, (struct change){.kind = CHANGE_ELEMENTS_ADD, .set = new});
	}
	return error;
}

static bool names_remade(const struct differing *differing, const struct chain *chain)
{
	for (size_t i = 0; i < chain->count; i++)
		for (size_t k = 0; k < chain->rules[i].count; k++) {
			const struct step *step = &chain->rules[i].steps[k];
			bool looks_up = step->kind == STEP_LOOKUP || step->kind == STEP_MAP || step->kind == STEP_COUNT ||
					step->kind == STEP_METER;
			if (looks_up && find(&differing->remade, &step->object))
				return true;
		}
	return false;
}

static bool rules_stay(const struct differing *differing, const struct chain *old)
{
	const struct chain *new = find(&differing->new.chains, old);
	return new &&rules_equal(old, new) && !(remakes(differing) && names_remade(differing, old));
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
	int error = flush_rules(differing);
	for (size_t i = 0; i < differing->remade.count && !error; i++)
		error = add(differing, (struct change){.kind = CHANGE_SET_DELETE, .set = differing->remade.at[i]});
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
	for (size_t i = 0; i < observed->set_count && !error; i++)
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
	return 0;
}

/* Is the set so different that it is made anew?  1, 0 or -ENOMEM. */
static int must_be_remade(struct differing *differing, const struct set *old, const struct set *new)
{
	if (!set_alike(old, new) || !has_room(old, new))
		return 1;
	return list_replaced(differing->ctx, &differing->deltas, old, new);
}

static int choose_remade(struct differing *differing)
{
	struct names *remade = &differing->remade;
	const struct ruleset *wanted = differing->wanted;
	remade->at = talloc_array(differing->ctx, const void *, wanted->set_count + 1);
	if (!remade->at)
		return -ENOMEM;
	for (size_t i = 0; i < wanted->set_count; i++) {
		const struct set *new = &wanted->sets[i], *old = find(&differing->old.sets, new);
		int status = old ? must_be_remade(differing, old, new) : 0;
		if (status < 0)
			return status;
		if (status)
			remade->at[remade->count++] = old;
	}
	if (remade->count)
		qsort(remade->at, remade->count, sizeof *remade->at, by_name);
	return 0;
}

static void start_from_nothing(struct differing *differing)
{
	static const struct ruleset nothing;
	differing->observed = &nothing;
	differing->old = (struct indexes){0};
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
	error = error ? error : choose_remade(&differing);
	if (!error && remakes(&differing))
		error = make_room(&differing);
	error = error ? error : add_objects(&differing);
	error = error ? error : add_members(&differing);
	if (!error && !remakes(&differing))
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
