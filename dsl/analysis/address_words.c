/*
 * Addresses in words: names where they fit, networks and ranges, or `any except` what is not meant.
 */
#include "dsl/analysis/words.h"
#include <errno.h>
#include <string.h>
#include <talloc.h>

static char *interval_text(void *ctx, enum family family, struct interval one)
{
	u128 hosts = one.last - one.first, most = family == FAMILY_IPV4 ? 0xffffffff : U128_MAX;
	char *first = address_number_text(ctx, family, one.first);
	if (!first || one.first == one.last)
		return first;
	if (!(hosts & (hosts + 1)) && !(one.first & hosts)) {
		int length = 0;
		for (u128 bit = most - hosts; bit; bit &= bit - 1)
			length++;
		return talloc_asprintf(ctx, "%s/%d", first, length);
	}
	char *last = address_number_text(ctx, family, one.last);
	return last ? talloc_asprintf(ctx, "%s-%s", first, last) : NULL;
}

/* What hangs on host names is no plain set of addresses. */
static bool plain_addresses(const struct policy_name *named, const struct intervals *out[FAMILIES])
{
	static const struct intervals nothing;
	const struct addresses *addresses = &named->addresses;
	if (named->kind != NAMED_ADDRESSES || addresses->count > 1 || (addresses->count && addresses->terms[0].literal_count))
		return false;
	for (int family = 0; family < FAMILIES; family++)
		out[family] = addresses->count ? &addresses->terms[0].of[family] : &nothing;
	return true;
}

/* The name's part of what exists; false where it holds what it should not. */
static int name_within(void *ctx, const struct address_side *side, const struct policy_name *named,
	const struct intervals within[FAMILIES], struct intervals out[FAMILIES])
{
	const struct intervals *value[FAMILIES];
	bool any = false;
	if (!plain_addresses(named, value))
		return 0;
	for (int family = 0; family < FAMILIES; family++) {
		out[family] = (struct intervals){0};
		if (!side->has[family] && side->matters[family] && value[family]->count)
			return 0;
		if (!side->has[family])
			continue;
		if (intervals_intersect(ctx, *value[family], side->whole[family], &out[family]))
			return -ENOMEM;
		any |= out[family].count > 0;
		if (!intervals_cover(within[family], out[family]))
			return 0;
	}
	return any;
}

static size_t interval_count(const struct intervals set[FAMILIES])
{
	return set[0].count + set[1].count;
}

/* The name that makes the rest of the list shortest, if any does. 1: *best; 0; -ENOMEM. */
static int best_name(void *ctx, const struct vocabulary *vocabulary, const struct address_side *side,
	const struct intervals left[FAMILIES], size_t *best, struct intervals rest[FAMILIES])
{
	size_t shortest = interval_count(left);
	bool found = false;
	for (size_t i = 0; i < vocabulary->name_count; i++) {
		struct intervals value[FAMILIES], without[FAMILIES];
		if (is_ambiguous(vocabulary, false, vocabulary->names[i].name))
			continue;
		int fits = name_within(ctx, side, &vocabulary->names[i], left, value);
		if (fits < 0)
			return fits;
		for (int family = 0; family < FAMILIES && fits; family++)
			if (intervals_subtract(ctx, left[family], value[family], &without[family]))
				return -ENOMEM;
		if (!fits || interval_count(without) >= shortest)
			continue;
		shortest = interval_count(without);
		memcpy(rest, without, sizeof without);
		*best = i;
		found = true;
	}
	return found;
}

static int list_addresses(struct list *list, const struct vocabulary *vocabulary, const struct address_side *side,
	const struct intervals set[FAMILIES])
{
	struct intervals left[FAMILIES], rest[FAMILIES];
	size_t best;
	int found;
	memcpy(left, set, sizeof left);
	while ((found = best_name(list->ctx, vocabulary, side, left, &best, rest)) > 0) {
		add_word(list, talloc_asprintf(list->ctx, "$%s", vocabulary->names[best].name));
		memcpy(left, rest, sizeof left);
	}
	for (int family = 0; family < FAMILIES && found >= 0; family++)
		for (size_t i = 0; i < left[family].count; i++)
			add_word(list, interval_text(list->ctx, (enum family)family, left[family].at[i]));
	return found < 0 ? found : list->failed ? -ENOMEM : 0;
}

/* `any`, or where the other family must be kept out, all of one. */
static const char *everything(const struct address_side *side)
{
	bool keep_out = (!side->has[0] && side->matters[0]) || (!side->has[1] && side->matters[1]);
	return !keep_out ? "any" : side->has[0] ? "0.0.0.0/0" : "::/0";
}

/* A name that holds all of it and little more. */
static int name_except(void *ctx, const struct vocabulary *vocabulary, const struct address_side *side, struct list *shortest,
	const char **whole)
{
	for (size_t i = 0; i < vocabulary->name_count; i++) {
		struct intervals value[FAMILIES], more[FAMILIES] = {{0}, {0}};
		struct list list = {.ctx = ctx};
		bool holds = true;
		if (is_ambiguous(vocabulary, false, vocabulary->names[i].name))
			continue;
		int fits = name_within(ctx, side, &vocabulary->names[i], side->whole, value);
		for (int family = 0; family < FAMILIES && fits > 0 && holds; family++) {
			holds = !side->has[family] || intervals_cover(value[family], side->set[family]);
			if (intervals_subtract(ctx, value[family], side->set[family], &more[family]))
				return -ENOMEM;
		}
		if (fits < 0)
			return fits;
		if (!fits || !holds || interval_count(more) + 1 >= shortest->count)
			continue;
		int error = list_addresses(&list, vocabulary, side, more);
		if (error)
			return error;
		if (list.count + 1 < shortest->count) {
			*shortest = list;
			*whole = talloc_asprintf(ctx, "$%s", vocabulary->names[i].name);
		}
	}
	return 0;
}

int say_addresses(void *ctx, const struct vocabulary *vocabulary, const struct address_side *side, size_t most, char **out)
{
	struct intervals others[FAMILIES] = {{0}, {0}};
	struct list items = {.ctx = ctx}, except = {.ctx = ctx};
	const char *whole = NULL;
	for (int family = 0; family < FAMILIES; family++)
		if (side->has[family] && intervals_subtract(ctx, side->whole[family], side->set[family], &others[family]))
			return -ENOMEM;
	*out = NULL;
	if (!interval_count(others)) {
		const char *all = everything(side);
		*out = strcmp(all, "any") ? talloc_strdup(ctx, all) : NULL;
		return 0;
	}
	int error = list_addresses(&items, vocabulary, side, side->set);
	error = error ? error : list_addresses(&except, vocabulary, side, others);
	if (error)
		return error;
	if (except.count + 1 < items.count) {
		items = except;
		whole = everything(side);
	}
	error = items.count > 1 ? name_except(ctx, vocabulary, side, &items, &whole) : 0;
	if (error)
		return error;
	*out = whole ? excepted(ctx, whole, &items, most) : listed(&items, most);
	return *out ? 0 : -ENOMEM;
}
