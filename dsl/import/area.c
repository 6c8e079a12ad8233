/*
 * The algebra of areas: products of interval sets, and unions of them.
 *
 * What is left of an area when another is taken away is at most one piece for each dimension, in which the other is narrower. The
 * traffic comes first, so that pieces are told apart by protocol before anything else, as a reader would.
 */
#include "dsl/import/foreign.h"
#include <errno.h>
#include <talloc.h>

bool area_common(struct import *import, const struct area *a, const struct area *b, struct area *out)
{
	struct area common;
	for (int d = 0; d < DIMENSIONS; d++) {
		common.of[d] = set_common(import, a->of[d], b->of[d]);
		if (!common.of[d].count)
			return false;
	}
	*out = common;
	return true;
}

bool area_overlap(const struct area *a, const struct area *b)
{
	/* Cheapest refusals first: most rules of a long list differ in their addresses. */
	static const enum dimension order[] = {
		DIM_SOURCE, DIM_TRAFFIC, DIM_DESTINATION, DIM_ARRIVING, DIM_LEAVING, DIM_SOURCE_PORT, DIM_USER, DIM_GROUP};
	for (int d = 0; d < DIMENSIONS; d++)
		if (!intervals_overlap(a->of[order[d]], b->of[order[d]]))
			return false;
	return true;
}

bool area_cover(const struct area *outer, const struct area *inner)
{
	for (int d = 0; d < DIMENSIONS; d++)
		if (!intervals_cover(outer->of[d], inner->of[d]))
			return false;
	return true;
}

bool area_holds(const struct area *area, const u128 *point)
{
	for (int d = 0; d < DIMENSIONS; d++)
		if (!intervals_contain(area->of[d], point[d]))
			return false;
	return true;
}

bool areas_hold(const struct areas *areas, const u128 *point)
{
	for (size_t i = 0; i < areas->count; i++)
		if (area_holds(&areas->at[i], point))
			return true;
	return false;
}

bool areas_overlap(const struct areas *a, const struct areas *b)
{
	for (size_t i = 0; i < a->count; i++)
		for (size_t k = 0; k < b->count; k++)
			if (area_overlap(&a->at[i], &b->at[k]))
				return true;
	return false;
}

void areas_add(struct import *import, struct areas *list, const struct area *area)
{
	/* Room doubles; a list that was copied by value is never grown in place. */
	if (!(list->count & (list->count - 1))) {
		struct area *more = talloc_array(import->ctx, struct area, list->count ? list->count * 2 : 1);
		if (!more) {
			import->error = -ENOMEM;
			return;
		}
		for (size_t i = 0; i < list->count; i++)
			more[i] = list->at[i];
		list->at = more;
	}
	list->at[list->count++] = *area;
}

void areas_common(struct import *import, const struct areas *a, const struct areas *b, struct areas *out)
{
	struct areas common = {0};
	for (size_t i = 0; i < a->count; i++)
		for (size_t k = 0; k < b->count; k++) {
			struct area piece;
			if (area_overlap(&a->at[i], &b->at[k]) && area_common(import, &a->at[i], &b->at[k], &piece))
				areas_add(import, &common, &piece);
		}
	*out = common;
}

static void area_except(struct import *import, const struct area *area, const struct area *what, struct areas *out)
{
	struct area rest = *area;
	for (int d = 0; d < DIMENSIONS; d++) {
		struct intervals outside = set_except(import, rest.of[d], what->of[d]);
		if (!outside.count)
			continue;
		struct area piece = rest;
		piece.of[d] = outside;
		areas_add(import, out, &piece);
		rest.of[d] = set_common(import, rest.of[d], what->of[d]);
	}
}

bool areas_except(struct import *import, struct areas *list, const struct area *what, size_t most)
{
	struct areas rest = {0};
	for (size_t i = 0; i < list->count; i++) {
		if (area_overlap(&list->at[i], what))
			area_except(import, &list->at[i], what, &rest);
		else
			areas_add(import, &rest, &list->at[i]);
		if (rest.count > most)
			return false;
	}
	*list = rest;
	return true;
}

int area_difference(const struct area *a, const struct area *b)
{
	int found = DIMENSIONS;
	for (int d = 0; d < DIMENSIONS; d++) {
		if (intervals_equal(a->of[d], b->of[d]))
			continue;
		if (found != DIMENSIONS)
			return -1;
		found = d;
	}
	return found;
}

static bool join_one(struct import *import, struct areas *list)
{
	for (size_t i = 0; i < list->count; i++)
		for (size_t k = i + 1; k < list->count; k++) {
			int d = area_difference(&list->at[i], &list->at[k]);
			if (d < 0)
				continue;
			if (d < DIMENSIONS)
				list->at[i].of[d] = set_union(import, list->at[i].of[d], list->at[k].of[d]);
			list->at[k] = list->at[--list->count];
			return true;
		}
	return false;
}

void areas_join(struct import *import, struct areas *list)
{
	/* In a copy: lists share their arrays. */
	struct areas copy = {0};
	for (size_t i = 0; i < list->count; i++)
		areas_add(import, &copy, &list->at[i]);
	while (!import->error && copy.count > 1 && copy.count <= 600 && join_one(import, &copy))
		;
	*list = copy;
}
