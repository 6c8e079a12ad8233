/*
 * Is an address in a set?
 *
 * A few networks are a comparison or a set with ranges.  More than that are hashes by prefix length, or, where that is less,
 * hashes of all that is not in the set, none of which may hold the address.  A long list keeps its name when it changes, so that
 * a changed line changes just the members that differ.
 */
#include "dsl/ruleset/cost.h"
#include "dsl/ruleset/lowering.h"
#include "dsl/ruleset/prefix.h"
#include <errno.h>
#include <talloc.h>

#define LONG_LIST 1000	       /* intervals */
#define ELEMENTS_MAX (1 << 24) /* that a set may be written out to */

struct address_hashes {
	struct intervals values; /* whose they are */
	enum key key;
	struct address_test test;
};

static bool is_v4(enum key key)
{
	return key == KEY_IP_SADDR || key == KEY_IP_DADDR;
}

static const struct address_hashes *known_hashes(const struct lowering *lowering, enum key key, struct intervals values)
{
	for (size_t i = 0; i < lowering->hashes_count; i++) {
		const struct address_hashes *known = &lowering->hashes[i];
		if (known->key == key && known->values.count == values.count &&
			(known->values.at == values.at || intervals_equal(known->values, values)))
			return known;
	}
	return NULL;
}

static int remember(struct lowering *lowering, const struct address_hashes *hashes)
{
	struct address_hashes *more =
		talloc_realloc(lowering->ctx, lowering->hashes, struct address_hashes, lowering->hashes_count + 1);
	if (!more)
		return -ENOMEM;
	more[lowering->hashes_count++] = *hashes;
	lowering->hashes = more;
	return 0;
}

static int test_with(struct lowering *lowering, size_t count, struct address_test *out)
{
	out->alternatives = talloc_zero_array(lowering->ctx, struct step, count);
	return out->alternatives ? 0 : -ENOMEM;
}

static int ranges_test(
	struct lowering *lowering, const struct rule *rule, enum key key, struct intervals values, struct address_test *out)
{
	struct phrase phrase = {0};
	int error = say_set(lowering, &phrase, is_v4(key) ? "v4" : "v6", key, values, (struct intervals){0}, &rule->span);
	error = error ? error : test_with(lowering, 1, out);
	if (error)
		return error;
	out->alternatives[out->count++] = phrase.steps[0];
	return 0;
}

struct layout {
	struct network_list *list;
	size_t intervals; /* of the list, or of what is not in it */
	struct prefix_plan plan;
	double cost;
};

static int lay_out(struct lowering *lowering, struct intervals values, unsigned bits, bool outside, struct layout *layout)
{
	struct prefix_counts counts = {{0}};
	size_t elements = 0;
	struct network_list *list = talloc_zero(lowering->ctx, struct network_list);
	if (!list)
		return -ENOMEM;
	list->of = values;
	list->outside = outside;
	list->bits = bits;
	*layout = (struct layout){.list = list, .intervals = network_list_count(list)};
	for (size_t i = 0; i < layout->intervals; i++) {
		struct interval one = network_list_at(list, i);
		prefix_count((struct intervals){&one, 1}, bits, &counts);
	}
	prefix_choose(&counts, bits, &layout->plan);
	layout->cost = layout->plan.cost;
	for (unsigned i = 0; i <= bits; i++) {
		list->as[i] = (uint8_t)layout->plan.as[i];
		elements += layout->plan.elements[i];
	}
	if (elements > ELEMENTS_MAX)
		layout->cost = 1e9;
	return 0;
}

static const char *hash_name(struct lowering *lowering, const struct rule *rule, enum key key, bool outside, unsigned length)
{
	bool source = key == KEY_IP_SADDR || key == KEY_IP6_SADDR;
	return talloc_asprintf(lowering->ctx, "%s-%s-%s%s-%u", is_v4(key) ? "v4" : "v6", rule->id, source ? "from" : "to",
		outside ? "-not" : "", length);
}

static int add_hash(struct lowering *lowering, const struct rule *rule, enum key key, const struct layout *layout,
	unsigned length, struct address_test *out)
{
	const struct network_list *list = layout->list;
	struct set set = {.keys = {key},
		.key_count = 1,
		.networks = {.list = list, .length = length, .count = layout->plan.elements[length]},
		.origin = &rule->span};
	struct intervals networks;
	int error;
	if (layout->intervals >= LONG_LIST) {
		set.name = hash_name(lowering, rule, key, list->outside, length);
		error = set.name ? set_add(lowering, &set) : -ENOMEM;
	} else {
		error = members_written(lowering->ctx, &set, &networks);
		error = error ? error : set_hashed(lowering, is_v4(key) ? "v4" : "v6", key, networks, &rule->span, &set.name);
	}
	out->alternatives[out->count++] = (struct step){.kind = STEP_LOOKUP,
		.keys = {key},
		.key_count = 1,
		.masks = {length < list->bits ? prefix_mask(length, list->bits) : 0},
		.object = set.name,
		.negated = list->outside};
	return error;
}

static int hashes_test(
	struct lowering *lowering, const struct rule *rule, enum key key, const struct layout *layout, struct address_test *out)
{
	int error = test_with(lowering, PREFIX_BITS_MAX + 1, out);
	for (unsigned length = PREFIX_BITS_MAX; length > 0 && !error; length--)
		if (layout->plan.elements[length])
			error = add_hash(lowering, rule, key, layout, length, out);
	out->all = layout->list->outside;
	return error;
}

/* Of a long list only the side with fewer networks is laid out, for the other may have sixteen times as many. */
static int lay_out_best(struct lowering *lowering, struct intervals values, unsigned bits, struct layout *best)
{
	const struct network_list outside = {.of = values, .outside = true, .bits = bits};
	size_t within = prefix_total(values), without = 0, gaps = network_list_count(&outside);
	struct layout other;
	for (size_t i = 0; i < gaps && without < within; i++) {
		struct interval one = network_list_at(&outside, i);
		without += prefix_total((struct intervals){&one, 1});
	}
	if (values.count >= LONG_LIST)
		return lay_out(lowering, values, bits, without < within, best);
	int error = lay_out(lowering, values, bits, false, best);
	error = error ? error : lay_out(lowering, values, bits, true, &other);
	if (!error && other.cost < best->cost)
		*best = other;
	return error;
}

static int choose_test(
	struct lowering *lowering, const struct rule *rule, enum key key, struct intervals values, struct address_test *out)
{
	struct layout best;
	bool forced = lowering->encoding != ENCODING_AUTO && lowering->encoding != ENCODING_LINEAR;
	double ranges = forced ? 1e9 : COST_RULE + cost_tree(values.count);
	int error = lay_out_best(lowering, values, is_v4(key) ? 32 : 128, &best);
	if (error)
		return error;
	if (lowering->encoding == ENCODING_LINEAR || ranges <= best.cost)
		return ranges_test(lowering, rule, key, values, out);
	return hashes_test(lowering, rule, key, &best, out);
}

int address_test(
	struct lowering *lowering, const struct rule *rule, enum key key, struct intervals values, struct address_test *out)
{
	*out = (struct address_test){0};
	if (values.count == 1)
		return ranges_test(lowering, rule, key, values, out);
	const struct address_hashes *known = known_hashes(lowering, key, values);
	if (known) {
		*out = known->test;
		return 0;
	}
	int error = choose_test(lowering, rule, key, values, out);
	return error ? error : remember(lowering, &(struct address_hashes){values, key, *out});
}
