/*
 * Sets of addresses as networks of a few prefix lengths, so that hashes can hold them.
 *
 * Which lengths: controlled prefix expansion (Srinivasan and Varghese, "Fast Address Lookups Using Controlled Prefix Expansion", ACM
 * TOCS 1999): a network of a length that is not among the chosen ones is written as several of the next longer one.
 */
#ifndef PORTPOLICY_PREFIX_H
#define PORTPOLICY_PREFIX_H

#include "portpolicy/interval.h"

#define PREFIX_BITS_MAX 128

/* How many networks of each length; the index is the length. */
struct prefix_counts {
	size_t of[PREFIX_BITS_MAX + 1];
};

/* The largest network that begins at `first` and does not end behind `last`, as its length. */
unsigned prefix_fitting(u128 first, u128 last, unsigned bits);
/* The last address of the network of that length that begins at `first`. */
u128 prefix_last(u128 first, unsigned length, unsigned bits);
u128 prefix_mask(unsigned length, unsigned bits);
/* Adds the networks of a set. */
void prefix_count(struct intervals set, unsigned bits, struct prefix_counts *counts);

/* How many networks a set is, all lengths together; costs no more than a look at each interval. */
size_t prefix_total(struct intervals set);

/* For each length the one that its networks are written as (itself, or a longer one); 0 where there are none. */
struct prefix_plan {
	unsigned as[PREFIX_BITS_MAX + 1];
	size_t elements[PREFIX_BITS_MAX + 1]; /* by chosen length */
	double cost;                          /* ns of looking at all chosen lengths */
};
void prefix_choose(const struct prefix_counts *counts, unsigned bits, struct prefix_plan *plan);

#endif
