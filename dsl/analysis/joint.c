/*
 * One numbering for two policies: the host names and units that either calls by name.
 */
#include "dsl/analysis/sets.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <talloc.h>

static size_t find(const char **list, size_t count, const char *name, bool exact)
{
	size_t i = 0;
	while (i < count && (exact ? strcmp(list[i], name) : strcasecmp(list[i], name)))
		i++;
	return i;
}

static int add(void *ctx, const char ***list, size_t *count, const char *name, bool exact)
{
	if (find(*list, *count, name, exact) < *count)
		return 0;
	const char **more = talloc_realloc(ctx, *list, const char *, *count + 1);
	if (!more)
		return -ENOMEM;
	*list = more;
	more[(*count)++] = name;
	return 0;
}

int joint_new(void *ctx, const struct policy *const *policies, size_t count, struct joint *out)
{
	int error = 0;
	*out = (struct joint){0};
	for (size_t p = 0; p < count; p++) {
		for (size_t i = 0; i < policies[p]->host_count && !error; i++)
			error = add(ctx, &out->hosts, &out->host_count, policies[p]->hosts[i], false);
		for (size_t i = 0; i < policies[p]->unit_count && !error; i++)
			error = add(ctx, &out->units, &out->unit_count, policies[p]->units[i], true);
	}
	return error;
}

static int by_variable(const void *a, const void *b)
{
	const struct bit *x = a, *y = b;
	return (x->variable > y->variable) - (x->variable < y->variable);
}

static int joint_bits(void *ctx, const struct joint *joint, const struct policy *policy, struct box *box)
{
	struct bit *bits = talloc_array(ctx, struct bit, box->bit_count + 1);
	if (!bits)
		return -ENOMEM;
	for (size_t i = 0; i < box->bit_count; i++) {
		const char *name = policy->hosts[box->bits[i].variable / 2];
		uint32_t host = (uint32_t)find(joint->hosts, joint->host_count, name, false);
		bits[i] = (struct bit){2 * host + box->bits[i].variable % 2, box->bits[i].value};
	}
	qsort(bits, box->bit_count, sizeof *bits, by_variable);
	box->bits = bits;
	return 0;
}

/* A unit that the policy does not name is one of its others. */
static int joint_units(void *ctx, const struct joint *joint, const struct policy *policy, struct box *box)
{
	struct intervals old = box->field[FIELD_UNIT];
	struct interval *list = talloc_array(ctx, struct interval, joint->unit_count + 3);
	bool others = intervals_contain(old, UNIT_OTHER);
	size_t count = 0;
	if (!list)
		return -ENOMEM;
	if (intervals_contain(old, UNIT_NONE))
		list[count++] = (struct interval){UNIT_NONE, UNIT_NONE};
	if (others)
		list[count++] = (struct interval){UNIT_OTHER, UNIT_OTHER};
	for (size_t i = 0; i < joint->unit_count; i++) {
		size_t number = 0;
		while (number < policy->unit_count && strcmp(policy->units[number], joint->units[i]))
			number++;
		if (number < policy->unit_count ? intervals_contain(old, UNIT_FIRST + number) : others)
			list[count++] = (struct interval){UNIT_FIRST + i, UNIT_FIRST + i};
	}
	if (others)
		list[count++] = (struct interval){UNIT_FIRST + joint->unit_count, 0xffffffff};
	return intervals_from(ctx, list, count, &box->field[FIELD_UNIT]);
}

int joint_box(void *ctx, const struct joint *joint, const struct policy *policy, struct box *box)
{
	int error = box->bit_count ? joint_bits(ctx, joint, policy, box) : 0;
	return error || !joint->unit_count ? error : joint_units(ctx, joint, policy, box);
}
