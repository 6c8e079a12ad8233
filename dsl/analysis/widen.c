/*
 * Fewer sets by letting them overlap.
 *
 * Disjoint sets are seldom the fewest: "all but tcp/80" and "tcp/80 elsewhere" become three when they may not meet. So each set
 * is widened, factor by factor, as far as the whole allows, and what the others then cover goes.
 */
#include "dsl/analysis/sets.h"
#include <errno.h>
#include <string.h>
#include <talloc.h>

#define SETS_MAX 16 /* beyond, the time is better spent elsewhere */

/* Takes one factor of another set into this one. */
static int widened(void *ctx, const struct packet_set *set, const struct packet_set *by, int factor, struct packet_set *out)
{
	*out = *set;
	int error = set_join_factor(ctx, out, by, factor);
	return error ? error : set_same(out, set);
}

static int widen_set(void *ctx, const struct pieces *whole, const struct packet_sets *sets, struct packet_set *set)
{
	for (int factor = 0; factor <= SET_FAMILY; factor++)
		for (size_t i = 0; i < sets->count; i++) {
			struct packet_set wider;
			struct pieces pieces = {0};
			int outcome = widened(ctx, set, &sets->at[i], factor, &wider);
			if (outcome) {
				if (outcome < 0)
					return outcome;
				continue;
			}
			outcome = set_pieces(ctx, &wider, &pieces);
			outcome = outcome ? outcome : pieces_cover(ctx, whole, &pieces);
			if (outcome < 0)
				return outcome;
			if (outcome)
				*set = wider;
		}
	return 0;
}

/* Is this one covered by the others that are left? */
static int superfluous(void *ctx, const struct packet_sets *sets, size_t index, const bool *gone)
{
	struct pieces own = {0}, others = {0};
	int error = set_pieces(ctx, &sets->at[index], &own);
	for (size_t i = 0; i < sets->count && !error; i++)
		if (i != index && !gone[i])
			error = set_pieces(ctx, &sets->at[i], &others);
	return error ? error : pieces_cover(ctx, &others, &own);
}

static int drop_superfluous(void *ctx, struct packet_sets *sets)
{
	bool gone[SETS_MAX] = {false};
	size_t kept = 0;
	for (size_t i = sets->count; i-- > 0;) {
		int outcome = superfluous(ctx, sets, i, gone);
		if (outcome < 0)
			return outcome;
		gone[i] = outcome;
	}
	for (size_t i = 0; i < sets->count; i++)
		if (!gone[i])
			sets->at[kept++] = sets->at[i];
	sets->count = kept;
	return 0;
}

int sets_widen(void *ctx, struct packet_sets *sets)
{
	struct packet_sets wide = {talloc_memdup(ctx, sets->at, (sets->count + 1) * sizeof *sets->at), sets->count};
	struct pieces whole = {0};
	int error = wide.at ? 0 : -ENOMEM;
	if (sets->count < 2 || sets->count > SETS_MAX)
		return error;
	for (size_t i = 0; i < sets->count && !error; i++)
		error = set_pieces(ctx, &sets->at[i], &whole);
	for (size_t i = 0; i < wide.count && !error; i++)
		error = widen_set(ctx, &whole, sets, &wide.at[i]);
	error = error ? error : drop_superfluous(ctx, &wide);
	if (!error && wide.count < sets->count)
		*sets = wide;
	return error;
}
