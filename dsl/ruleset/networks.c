/*
 * Members of hashes that are made of a list of addresses while they are asked for.
 *
 * A list of a million networks fills 32 MB.  Written out by prefix length it would do so again, and once more to be compared; so
 * a set refers to its list, and a walk over the set makes one member at a time.
 */
#include "dsl/ruleset/prefix.h"
#include "portpolicy/ruleset.h"
#include <errno.h>
#include <talloc.h>

_Static_assert(ADDRESS_BITS_MAX == PREFIX_BITS_MAX, "lengths of a list are lengths of prefixes");

static struct interval stored(const struct network_list *list, size_t index)
{
	if (list->of.at)
		return list->of.at[index];
	return (struct interval){list->pairs[2 * index], list->pairs[2 * index + 1]};
}

static u128 last_address(const struct network_list *list)
{
	return prefix_last(0, 0, list->bits);
}

/* Does a gap stand before the first interval? */
static bool begins_with_gap(const struct network_list *list)
{
	return !list->of.count || stored(list, 0).first > 0;
}

size_t network_list_count(const struct network_list *list)
{
	size_t count = list->of.count;
	if (!list->outside)
		return count;
	bool ends_with_gap = !count || stored(list, count - 1).last < last_address(list);
	return count ? count - 1 + begins_with_gap(list) + ends_with_gap : 1;
}

struct interval network_list_at(const struct network_list *list, size_t index)
{
	if (!list->outside)
		return stored(list, index);
	size_t next = index + !begins_with_gap(list); /* the interval behind the gap */
	return (struct interval){next ? stored(list, next - 1).last + 1 : 0,
		next < list->of.count ? stored(list, next).first - 1 : last_address(list)};
}

struct members_walk members_walk(const struct set *set)
{
	return (struct members_walk){.set = set};
}

/* Cuts the next network off the present interval of the list.  Returns its length. */
static unsigned next_network(struct members_walk *walk, unsigned bits, struct interval *out)
{
	unsigned length = prefix_fitting(walk->one.first, walk->one.last, bits);
	*out = (struct interval){walk->one.first, prefix_last(walk->one.first, length, bits)};
	walk->open = out->last != walk->one.last;
	walk->one.first = out->last + 1;
	return length;
}

static bool networks_next(struct members_walk *walk, const struct networks *networks, struct interval *out)
{
	const struct network_list *list = networks->list;
	size_t count = network_list_count(list);
	while (!walk->left) {
		if (!walk->open && walk->at == count)
			return false;
		if (!walk->open)
			walk->one = network_list_at(list, walk->at++);
		unsigned length = next_network(walk, list->bits, out);
		if (list->as[length] != networks->length)
			continue;
		if (networks->length == list->bits)
			return true;
		walk->member = out->first;
		walk->left = (uint64_t)1 << (networks->length - length);
	}
	*out = (struct interval){walk->member, walk->member};
	walk->member += (u128)1 << (list->bits - networks->length);
	walk->left--;
	return true;
}

bool members_next(struct members_walk *walk, struct interval *out)
{
	if (walk->set->networks.list)
		return networks_next(walk, &walk->set->networks, out);
	if (walk->at == walk->set->values.count)
		return false;
	*out = walk->set->values.at[walk->at++];
	return true;
}

u128 members_count(const struct set *set)
{
	u128 count = set->networks.list ? set->networks.count : set->element_count;
	for (size_t i = 0; i < set->values.count; i++)
		count += set->interval ? 1 : set->values.at[i].last - set->values.at[i].first + 1;
	return count;
}

struct growing {
	struct interval *at;
	size_t count, room;
};

static int append(void *ctx, struct growing *list, struct interval one)
{
	if (list->count && list->at[list->count - 1].last + 1 == one.first) {
		list->at[list->count - 1].last = one.last;
		return 0;
	}
	if (list->count == list->room) {
		size_t room = list->room ? 2 * list->room : 16;
		struct interval *more = talloc_realloc(ctx, list->at, struct interval, room);
		if (!more)
			return -ENOMEM;
		list->at = more;
		list->room = room;
	}
	list->at[list->count++] = one;
	return 0;
}

int members_written(void *ctx, const struct set *set, struct intervals *out)
{
	struct growing list = {0};
	struct members_walk walk = members_walk(set);
	struct interval one;
	int error = 0;
	if (!set->networks.list) {
		*out = set->values;
		return 0;
	}
	while (!error && members_next(&walk, &one))
		error = append(ctx, &list, one);
	*out = (struct intervals){list.at, list.count};
	return error;
}

int members_subtract(void *ctx, const struct set *a, const struct set *b, struct intervals *out)
{
	struct growing list = {0};
	struct members_walk left = members_walk(a), right = members_walk(b);
	struct interval one, other;
	bool more = members_next(&right, &other);
	int error = 0;
	while (!error && members_next(&left, &one)) {
		bool rest = true;
		while (more && other.last < one.first)
			more = members_next(&right, &other);
		while (more && rest && other.first <= one.last && !error) {
			if (other.first > one.first)
				error = append(ctx, &list, (struct interval){one.first, other.first - 1});
			rest = other.last < one.last;
			if (rest) {
				one.first = other.last + 1;
				more = members_next(&right, &other);
			}
		}
		if (rest && !error)
			error = append(ctx, &list, one);
	}
	*out = (struct intervals){list.at, list.count};
	return error;
}
