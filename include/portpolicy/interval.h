/*
 * Sets of whole numbers as sorted lists of closed intervals.
 *
 * Every field of a packet is a number of at most 128 bits, so ports, protocol
 * numbers, addresses, user ids and interface names share one representation
 * and one algebra.  A set is a value: its array is owned by the talloc context
 * that it was made in, is never written to afterwards, and may be shared.
 */
#ifndef PORTPOLICY_INTERVAL_H
#define PORTPOLICY_INTERVAL_H

#include <stdbool.h>
#include <stddef.h>

typedef unsigned __int128 u128;
#define U128_MAX (~(u128)0)

struct interval {
	u128 first, last; /* both inside; first <= last */
};

/* Sorted, disjoint and not adjacent; the empty set has count 0. */
struct intervals {
	const struct interval *at;
	size_t count;
};

/*
 * Functions that make a set return 0, or -ENOMEM; `out` is only written on
 * success.  The result lives in `ctx`, or shares the array of an argument.
 */

/* From any list of intervals, in any order, overlapping or not; `list` is sorted in place. */
int intervals_from(void *ctx, struct interval *list, size_t count, struct intervals *out);
/* The same without a copy: `list` is a talloc array of `ctx`, or NULL, and becomes the set's own. */
struct intervals intervals_take(void *ctx, struct interval *list, size_t count);
int intervals_single(void *ctx, u128 first, u128 last, struct intervals *out);
int intervals_union(void *ctx, struct intervals a, struct intervals b, struct intervals *out);
int intervals_intersect(void *ctx, struct intervals a, struct intervals b, struct intervals *out);
int intervals_subtract(void *ctx, struct intervals a, struct intervals b, struct intervals *out);

/* The first interval that does not end before `value`; count when there is none. */
size_t intervals_reaching(struct intervals set, u128 value);
bool intervals_contain(struct intervals set, u128 value);
bool intervals_overlap(struct intervals a, struct intervals b);
bool intervals_equal(struct intervals a, struct intervals b);
/* Is every value of `inner` in `outer`? */
bool intervals_cover(struct intervals outer, struct intervals inner);
static inline bool intervals_empty(struct intervals set) { return set.count == 0; }

#endif
