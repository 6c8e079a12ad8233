/* Networks, and the choice of a few lengths for many. */
#include "dsl/ruleset/prefix.h"
#include "dsl/ruleset/cost.h"
#include <stdint.h>

#define EXPANSION_MAX 12 /* bits: a network becomes at most 4,096 */
#define MANY 1e5	 /* networks, from which on memory gets dearer: a list of a million is written nearly as it is */

u128 prefix_mask(unsigned length, unsigned bits)
{
	u128 all = bits == 128 ? U128_MAX : ((u128)1 << bits) - 1;
	return length ? all & ~(((u128)1 << (bits - length)) - 1) : 0;
}

u128 prefix_last(u128 first, unsigned length, unsigned bits)
{
	return length ? first | (((u128)1 << (bits - length)) - 1) : bits == 128 ? U128_MAX : ((u128)1 << bits) - 1;
}

/* The number of bits up to the highest that is set. */
static unsigned significant(u128 value)
{
	uint64_t high = (uint64_t)(value >> 64), low = (uint64_t)value;
	return high ? 128 - (unsigned)__builtin_clzll(high) : low ? 64 - (unsigned)__builtin_clzll(low) : 0;
}

static unsigned trailing_zeros(u128 value)
{
	uint64_t high = (uint64_t)(value >> 64), low = (uint64_t)value;
	return low ? (unsigned)__builtin_ctzll(low) : high ? 64 + (unsigned)__builtin_ctzll(high) : 128;
}

static unsigned ones(u128 value)
{
	return (unsigned)__builtin_popcountll((uint64_t)(value >> 64)) + (unsigned)__builtin_popcountll((uint64_t)value);
}

/* As large as its alignment allows, and as what is left. */
unsigned prefix_fitting(u128 first, u128 last, unsigned bits)
{
	u128 behind = last - first + 1; /* 0: all there is */
	unsigned aligned = trailing_zeros(first), room = behind ? significant(behind) - 1 : 128, most = aligned < room ? aligned : room;
	return most < bits ? bits - most : 0;
}

/*
 * The networks of one interval are two rows of growing ones, on either side of the place where the interval leaves the
 * last network that holds it whole: of each row as many as its length has ones.
 */
static size_t networks_between(u128 first, u128 last)
{
	unsigned differing = significant(first ^ last);
	if (!differing)
		return 1;
	u128 half = (u128)1 << (differing - 1), low = half - 1;
	u128 left = half - (first & low), right = (last & low) + 1;
	return left == half && right == half ? 1 : ones(left) + ones(right);
}

size_t prefix_total(struct intervals set)
{
	size_t networks = 0;
	for (size_t i = 0; i < set.count; i++)
		networks += networks_between(set.at[i].first, set.at[i].last);
	return networks;
}

void prefix_count(struct intervals set, unsigned bits, struct prefix_counts *counts)
{
	for (size_t i = 0; i < set.count; i++)
		for (u128 at = set.at[i].first;;) {
			unsigned length = prefix_fitting(at, set.at[i].last, bits);
			u128 last = prefix_last(at, length, bits);
			counts->of[length]++;
			if (last == set.at[i].last)
				break;
			at = last + 1;
		}
}

/* The networks of all lengths from `shortest` on, written with `length`; 0 where that is too many. */
static size_t expanded(const struct prefix_counts *counts, unsigned shortest, unsigned length)
{
	size_t elements = 0;
	for (unsigned i = shortest; i <= length; i++) {
		if (counts->of[i] && length - i > EXPANSION_MAX)
			return 0;
		elements += counts->of[i] << (counts->of[i] ? length - i : 0);
	}
	return elements;
}

struct choice {
	double cost;
	int before; /* the chosen length before this one, -1: none */
	bool possible;
};

static size_t total(const struct prefix_counts *counts, unsigned bits)
{
	size_t networks = 0;
	for (unsigned i = 0; i <= bits; i++)
		networks += counts->of[i];
	return networks;
}

/* best[n]: all networks up to length n are written, the longest of them with n. */
static void choose(const struct prefix_counts *counts, unsigned bits, struct choice *best)
{
	double networks = (double)total(counts, bits), memory = COST_SET_MEMORY * (networks > MANY ? networks / MANY : 1);
	for (unsigned n = 0; n <= bits; n++) {
		best[n] = (struct choice){.before = -1};
		for (int before = -1; counts->of[n] && before < (int)n; before++) {
			size_t elements = expanded(counts, (unsigned)(before + 1), n);
			if (!elements || (before >= 0 && !best[before].possible))
				continue;
			double cost = COST_RULE + COST_STEP + cost_hash(elements) + memory * (double)elements / networks;
			cost += before >= 0 ? best[before].cost : 0;
			if (!best[n].possible || cost < best[n].cost)
				best[n] = (struct choice){cost, before, true};
		}
	}
}

void prefix_choose(const struct prefix_counts *counts, unsigned bits, struct prefix_plan *plan)
{
	struct choice best[PREFIX_BITS_MAX + 1];
	int longest = (int)bits;
	*plan = (struct prefix_plan){0};
	while (longest > 0 && !counts->of[longest])
		longest--;
	choose(counts, bits, best);
	plan->cost = best[longest].cost;
	for (int n = longest; n >= 0; n = best[n].before)
		for (int i = n; i > best[n].before; i--) {
			plan->as[i] = counts->of[i] ? (unsigned)n : 0;
			plan->elements[n] += counts->of[i] << (counts->of[i] ? n - i : 0);
		}
}
