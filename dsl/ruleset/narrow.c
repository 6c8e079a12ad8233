/* The order in which members of several ranges are added: of two that meet, the kernel takes the narrow one first. */
#include "portpolicy/ruleset.h"
#include <stdlib.h>
#include <talloc.h>

struct weighed {
	double weight;
	const struct element *element;
};

static int by_weight(const void *left, const void *right)
{
	const struct weighed *a = left, *b = right;
	if (a->weight != b->weight)
		return a->weight < b->weight ? -1 : 1;
	return (a->element > b->element) - (a->element < b->element);
}

const struct element **elements_narrow_first(void *ctx, const struct set *set)
{
	struct weighed *order = talloc_array(NULL, struct weighed, set->element_count + 1);
	const struct element **out = talloc_array(ctx, const struct element *, set->element_count + 1);
	for (size_t i = 0; order && out && i < set->element_count; i++) {
		order[i] = (struct weighed){1, &set->elements[i]};
		for (unsigned key = 0; key < set->key_count; key++)
			order[i].weight *= (double)(set->elements[i].last[key] - set->elements[i].first[key]) + 1;
	}
	if (order && out)
		qsort(order, set->element_count, sizeof *order, by_weight);
	for (size_t i = 0; order && out && i < set->element_count; i++)
		out[i] = order[i].element;
	if (!order)
		talloc_free(out);
	bool complete = order;
	talloc_free(order);
	return complete ? out : NULL;
}
