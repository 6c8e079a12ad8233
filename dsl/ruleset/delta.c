/*
 * The members that two values of one set differ in.
 *
 * Both are sorted, so the cost is one walk over each.  The hashes of two lists that are laid out alike are not even walked: the
 * lists themselves are compared once, interval by interval, and only the networks of those that differ can differ.
 */
#include "dsl/ruleset/delta.h"
#include <errno.h>
#include <string.h>
#include <talloc.h>

struct list_delta {
	const struct network_list *old, *new;
	struct network_list gone, come; /* the intervals that only one of them has */
	bool replaced;			/* they are too many: neither is filled in */
};

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
	       (set->kind == SET_VALUES ||
		       (a->verdict == b->verdict &&
			       (a->object == b->object || (a->object && b->object && !strcmp(a->object, b->object)))));
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
	part->networks = (struct networks){0};
	int error = set->interval ? values_missing(part, set->values, other->values, &part->values)
				  : members_subtract(part, set, other, &part->values);
	error = error ? error : elements_missing(part, set, other, &part->elements, &part->element_count);
	*out = !error && (part->values.count || part->element_count) ? part : NULL;
	if (!*out)
		talloc_free(part);
	return error;
}

/* Is a network that both lists have written alike in both? */
static bool laid_out_alike(const struct network_list *a, const struct network_list *b)
{
	for (unsigned i = 0; i <= ADDRESS_BITS_MAX; i++)
		if (a->as[i] && b->as[i] && a->as[i] != b->as[i])
			return false;
	return a->bits == b->bits && a->outside == b->outside;
}

static int append(void *ctx, struct intervals *list, struct interval one)
{
	struct interval *at = (struct interval *)(uintptr_t)list->at;
	if (!(list->count & (list->count - 1))) { /* 0 or a power of two */
		at = talloc_realloc(ctx, at, struct interval, list->count ? 2 * list->count : 1);
		if (!at)
			return -ENOMEM;
		list->at = at;
	}
	at[list->count++] = one;
	return 0;
}

static int compare_lists(void *ctx, struct list_delta *delta)
{
	size_t old_count = network_list_count(delta->old), new_count = network_list_count(delta->new);
	size_t most = (old_count + new_count) / 2;
	struct intervals *gone = &delta->gone.of, *come = &delta->come.of;
	int error = 0;
	for (size_t i = 0, k = 0; (i < old_count || k < new_count) && !error;) {
		struct interval old = i < old_count ? network_list_at(delta->old, i) : (struct interval){0};
		struct interval new = k < new_count ? network_list_at(delta->new, k) : (struct interval){0};
		int order = i == old_count ? 1 : k == new_count ? -1 : compare_intervals(&old, &new);
		if (order)
			error = order < 0 ? append(ctx, gone, old) : append(ctx, come, new);
		i += order <= 0;
		k += order >= 0;
		if (gone->count + come->count > most) {
			delta->replaced = true;
			break;
		}
	}
	return error;
}

static int delta_of(
	void *ctx, struct list_deltas *known, const struct set *old, const struct set *new, const struct list_delta **out)
{
	for (size_t i = 0; i < known->count; i++)
		if (known->at[i].old == old->networks.list && known->at[i].new == new->networks.list) {
			*out = &known->at[i];
			return 0;
		}
	struct list_delta *more = talloc_realloc(ctx, known->at, struct list_delta, known->count + 1);
	if (!more)
		return -ENOMEM;
	known->at = more;
	struct list_delta *delta = &more[known->count++];
	*delta = (struct list_delta){.old = old->networks.list, .new = new->networks.list};
	delta->gone = *delta->old;
	delta->come = *delta->new;
	delta->gone.outside = delta->come.outside = false; /* gaps, where it was true, are written as what they are */
	delta->gone.pairs = delta->come.pairs = NULL;
	delta->gone.of = delta->come.of = (struct intervals){0};
	*out = delta;
	return compare_lists(ctx, delta);
}

static struct set made_of(const struct set *set, const struct network_list *list)
{
	struct set part = *set;
	part.networks.list = list->of.count ? list : NULL;
	part.values = (struct intervals){0};
	return part;
}

static bool made_of_lists(const struct set *old, const struct set *new)
{
	return old->networks.list && new->networks.list &&
	       old->networks.length == new->networks.length &&laid_out_alike(old->networks.list, new->networks.list);
}

int list_replaced(void *ctx, struct list_deltas *known, const struct set *old, const struct set *new)
{
	const struct list_delta *delta;
	if (!made_of_lists(old, new))
		return 0;
	int error = delta_of(ctx, known, old, new, &delta);
	return error ? error : delta->replaced;
}

static bool one_and_the_same(const struct set *a, const struct set *b)
{
	return a->values.at == b->values.at && a->values.count == b->values.count && a->elements == b->elements &&
	       a->element_count == b->element_count && a->networks.list == b->networks.list &&
	       a->networks.length == b->networks.length;
}

int members_differ(void *ctx, struct list_deltas *known, const struct set *old, const struct set *new, const struct set **gone,
	const struct set **come)
{
	const struct list_delta *delta = NULL;
	struct set less = *old, more = *new;
	int error = 0;
	*gone = *come = NULL;
	if (one_and_the_same(old, new))
		return 0;
	if (made_of_lists(old, new))
		error = delta_of(ctx, known, old, new, &delta);
	if (delta && !delta->replaced) {
		less = made_of(old, &delta->gone);
		more = made_of(new, &delta->come);
	}
	error = error ? error : members_missing(ctx, &less, &more, gone);
	return error ? error : members_missing(ctx, &more, &less, come);
}
