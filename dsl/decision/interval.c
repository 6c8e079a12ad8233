/*
 * Interval sets: sorted lists of closed intervals, and the algebra over them.
 *
 * Every operation is one merge of two sorted lists, so its cost is the sum of their lengths. Where the result is one of
 * the arguments its array is shared, for sets are never written to.
 */
#include "portpolicy/interval.h"
#include <errno.h>
#include <stdlib.h>
#include <talloc.h>

struct builder {
	struct interval *at;
	size_t count;
};

static int builder_new(void *ctx, size_t capacity, struct builder *builder)
{
	*builder = (struct builder){.at = talloc_array(ctx, struct interval, capacity ? capacity : 1)};
	return builder->at ? 0 : -ENOMEM;
}

/* Appends an interval that begins at or behind the begin of the last one; joins what overlaps or touches. */
static void append(struct builder *builder, struct interval next)
{
	struct interval *last = builder->count ? &builder->at[builder->count - 1] : NULL;
	if (last && (next.first <= last->last || next.first - 1 == last->last)) {
		if (next.last > last->last)
			last->last = next.last;
		return;
	}
	builder->at[builder->count++] = next;
}

/* Gives back what the guess of the capacity took too much; keeping it is no error. */
static struct intervals finish(void *ctx, struct builder *builder)
{
	if (!builder->count) {
		talloc_free(builder->at);
		return (struct intervals){0};
	}
	struct interval *exact = talloc_realloc(ctx, builder->at, struct interval, builder->count);
	return (struct intervals){.at = exact ? exact : builder->at, .count = builder->count};
}

static int by_first(const void *left, const void *right)
{
	const struct interval *a = left, *b = right;
	return (a->first > b->first) - (a->first < b->first);
}

static bool sorted(const struct interval *list, size_t count)
{
	for (size_t i = 1; i < count; i++)
		if (list[i].first < list[i - 1].first)
			return false;
	return true;
}

int intervals_from(void *ctx, struct interval *list, size_t count, struct intervals *out)
{
	struct builder builder;
	if (builder_new(ctx, count, &builder))
		return -ENOMEM;
	if (!sorted(list, count))
		qsort(list, count, sizeof *list, by_first);
	for (size_t i = 0; i < count; i++)
		append(&builder, list[i]);
	*out = finish(ctx, &builder);
	return 0;
}

int intervals_single(void *ctx, u128 first, u128 last, struct intervals *out)
{
	struct interval one = {first, last};
	return intervals_from(ctx, &one, 1, out);
}

int intervals_union(void *ctx, struct intervals a, struct intervals b, struct intervals *out)
{
	struct builder builder;
	if (!a.count || !b.count) {
		*out = a.count ? a : b;
		return 0;
	}
	if (builder_new(ctx, a.count + b.count, &builder))
		return -ENOMEM;
	for (size_t i = 0, j = 0; i < a.count || j < b.count;) {
		bool left = j == b.count || (i < a.count && a.at[i].first <= b.at[j].first);
		append(&builder, left ? a.at[i++] : b.at[j++]);
	}
	*out = finish(ctx, &builder);
	return 0;
}

int intervals_intersect(void *ctx, struct intervals a, struct intervals b, struct intervals *out)
{
	struct builder builder;
	if (builder_new(ctx, a.count + b.count, &builder))
		return -ENOMEM;
	for (size_t i = 0, j = 0; i < a.count && j < b.count;) {
		u128 first = a.at[i].first > b.at[j].first ? a.at[i].first : b.at[j].first;
		u128 last = a.at[i].last < b.at[j].last ? a.at[i].last : b.at[j].last;
		if (first <= last)
			append(&builder, (struct interval){first, last});
		if (a.at[i].last < b.at[j].last)
			i++;
		else
			j++;
	}
	*out = finish(ctx, &builder);
	return 0;
}

int intervals_subtract(void *ctx, struct intervals a, struct intervals b, struct intervals *out)
{
	struct builder builder;
	if (!b.count) {
		*out = a;
		return 0;
	}
	if (builder_new(ctx, a.count + b.count, &builder))
		return -ENOMEM;
	for (size_t i = 0, j = 0; i < a.count; i++) {
		u128 first = a.at[i].first;
		bool open = true;
		while (j < b.count && b.at[j].last < first)
			j++;
		for (size_t k = j; open && k < b.count && b.at[k].first <= a.at[i].last; k++) {
			if (b.at[k].first > first)
				append(&builder, (struct interval){first, b.at[k].first - 1});
			open = b.at[k].last < a.at[i].last;
			first = open ? b.at[k].last + 1 : first;
			j = k;
		}
		if (open)
			append(&builder, (struct interval){first, a.at[i].last});
	}
	*out = finish(ctx, &builder);
	return 0;
}

size_t intervals_reaching(struct intervals set, u128 value)
{
	size_t low = 0, high = set.count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (set.at[middle].last < value)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

bool intervals_contain(struct intervals set, u128 value)
{
	size_t i = intervals_reaching(set, value);
	return i < set.count && set.at[i].first <= value;
}

/* Few intervals are looked up in many by halving, so a question about one address never walks a long list. */
bool intervals_overlap(struct intervals a, struct intervals b)
{
	struct intervals few = a.count < b.count ? a : b, many = a.count < b.count ? b : a;
	for (size_t i = 0; i < few.count; i++) {
		size_t j = intervals_reaching(many, few.at[i].first);
		if (j < many.count && many.at[j].first <= few.at[i].last)
			return true;
	}
	return false;
}

bool intervals_equal(struct intervals a, struct intervals b)
{
	if (a.count != b.count)
		return false;
	for (size_t i = 0; a.at != b.at && i < a.count; i++)
		if (a.at[i].first != b.at[i].first || a.at[i].last != b.at[i].last)
			return false;
	return true;
}

bool intervals_cover(struct intervals outer, struct intervals inner)
{
	for (size_t i = 0; i < inner.count; i++) {
		size_t j = intervals_reaching(outer, inner.at[i].first);
		if (j == outer.count || outer.at[j].first > inner.at[i].first || outer.at[j].last < inner.at[i].last)
			return false;
	}
	return true;
}
