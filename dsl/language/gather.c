/*
 * Members of a set as they are read, before they are sorted: joining them one by one would be quadratic.
 */
#include "dsl/language/resolve.h"
#include <errno.h>
#include <talloc.h>

int gather(void *scratch, struct gathered *list, struct intervals more)
{
	for (size_t i = 0; i < more.count; i++) {
		if (array_room(scratch, &list->at, sizeof *list->at, list->count))
			return -ENOMEM;
		list->at[list->count++] = more.at[i];
	}
	return 0;
}

int gather_one(void *scratch, struct gathered *list, u128 number)
{
	const struct interval one = {number, number};
	return gather(scratch, list, (struct intervals){&one, 1});
}

int gathered_set(void *ctx, struct gathered *list, struct intervals *out)
{
	*out = intervals_take(ctx, talloc_steal(ctx, list->at), list->count);
	return 0;
}
