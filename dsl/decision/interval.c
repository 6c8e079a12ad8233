/*
 * Interval sets: sorted lists of closed intervals, and the algebra over them.
 *
 * Every operation is one merge of two sorted lists, so its cost is the sum of their lengths. Where the result is one of
 * the arguments its array is shared, for sets are never written to.
 */
#include "portpolicy/interval.h"
#include <errno.h>
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

static bool sorted(const struct interval *list, size_t count)
{
	for (size_t i = 1; i < count; i++)
		if (list[i].first < list[i - 1].first)
			return false;
	return true;
}

#define SORT_FEW 24 /* that are sorted by insertion */

static void sort_few(struct interval *list, size_t count)
{
	for (size_t i = 1; i < count; i++) {
		struct interval one = list[i];
		size_t at = i;
		for (; at && one.first < list[at - 1].first; at--)
			list[at] = list[at - 1];
		list[at] = one;
	}
}

static unsigned byte_of(const struct interval *one, int byte) { return (unsigned)(one->first >> (8 * byte)) & 255; }

/* Every interval to the place of its byte, following the circles of those that stand in each other's place. */
static void distribute(struct interval *list, int byte, size_t *next /* [256] */, const size_t *end /* [256] */)
{
	for (unsigned place = 0; place < 256; place++)
		while (next[place] < end[place]) {
			struct interval one = list[next[place]];
			for (unsigned value = byte_of(&one, byte); value != place; value = byte_of(&one, byte)) {
				struct interval swap = list[next[value]];
				list[next[value]++] = one;
				one = swap;
			}
			list[next[place]++] = one;
		}
}

/*
 * By `first`, byte by byte from the most significant on, in place: a list of a million has no room for a copy. (P. McIlroy, K. Bostic,
 * M. D. McIlroy, "Engineering Radix Sort", Computing Systems 6(1), 1993: the American flag sort.)
 */
static void sort(struct interval *list, size_t count, int byte)
{
	size_t next[256], end[256] = {0};
	if (count <= SORT_FEW || byte < 0) {
		sort_few(list, byte < 0 ? 0 : count);
		return;
	}
	for (size_t i = 0; i < count; i++)
		end[byte_of(&list[i], byte)]++;
	for (size_t place = 0, sum = 0; place < 256; place++) {
		next[place] = sum;
		sum += end[place];
		end[place] = sum;
	}
	distribute(list, byte, next, end);
	for (size_t place = 0, begin = 0; place < 256; begin = end[place++])
		if (end[place] > begin + 1)
			sort(list + begin, end[place] - begin, byte - 1);
}

/* The most significant byte in which any two differ. */
static int first_byte(const struct interval *list, size_t count)
{
	u128 differing = 0;
	int byte = 15;
	for (size_t i = 1; i < count; i++)
		differing |= list[i].first ^ list[0].first;
	while (byte > 0 && !(differing >> (8 * byte)))
		byte--;
	return byte;
}

static void sort_and_join(struct interval *list, size_t count, struct builder *builder)
{
	if (!sorted(list, count))
		sort(list, count, first_byte(list, count));
	for (size_t i = 0; i < count; i++)
		append(builder, list[i]);
}

int intervals_from(void *ctx, struct interval *list, size_t count, struct intervals *out)
{
	struct builder builder;
	if (builder_new(ctx, count, &builder))
		return -ENOMEM;
	sort_and_join(list, count, &builder);
	*out = finish(ctx, &builder);
	return 0;
}

struct intervals intervals_take(void *ctx, struct interval *list, size_t count)
{
	struct builder builder = {.at = list};
	sort_and_join(list, count, &builder); /* which writes behind what it reads */
	return finish(ctx, &builder);
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
