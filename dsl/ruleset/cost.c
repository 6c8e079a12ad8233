/* The table of measured costs, and what lies between its rows. */
#include "dsl/ruleset/cost.h"
#include <math.h>

struct cost_row {
	double elements, ns;
};

static const struct cost_row hash_rows[] = {{1, 20}, {100, 32}, {1e3, 40}, {1e4, 93}, {1e5, 373}, {1e6, 520}};
static const struct cost_row tree_rows[] = {{1, 10}, {10, 35}, {100, 90}, {1e3, 223}, {1e4, 615}, {1e5, 2211}, {1e6, 6000}};
#define BOXES_LEAST 40
#define BOXES_WORD 0.27 /* 64 elements of one nibble of the key */
#define COUNT(rows) (sizeof(rows) / sizeof *(rows))

/* Straight lines over the logarithm of the number of elements. */
static double between(const struct cost_row *rows, size_t count, double elements)
{
	size_t i = 1;
	if (elements < 1)
		elements = 1;
	while (i + 1 < count && rows[i].elements < elements)
		i++;
	double share = log(elements / rows[i - 1].elements) / log(rows[i].elements / rows[i - 1].elements);
	return rows[i - 1].ns + share * (rows[i].ns - rows[i - 1].ns);
}

double cost_hash(size_t elements)
{
	return between(hash_rows, COUNT(hash_rows), (double)elements);
}

double cost_tree(size_t intervals)
{
	return between(tree_rows, COUNT(tree_rows), (double)intervals);
}

double cost_boxes(size_t elements, unsigned nibbles)
{
	return BOXES_LEAST + BOXES_WORD * nibbles * (double)(elements + 63) / 64;
}
