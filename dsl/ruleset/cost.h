/*
 * What look-ups cost, in nanoseconds of a new packet.
 *
 * Measured on kernel 6.18 with `make bench` (tests/bench), headers spread over all that matches; other machines have other numbers
 * and nearly the same ratios, which is all that a choice needs.
 */
#ifndef PORTPOLICY_COST_H
#define PORTPOLICY_COST_H

#include <stddef.h>

#define COST_RULE 31   /* a rule that looks at one key */
#define COST_STEP 6    /* every further key in it */
#define COST_JUMP 16   /* into a chain and back */
#define COST_SET_MEMORY 200 /* what holding twice the elements may save at most */

/* One look-up, the rule around it aside. */
double cost_hash(size_t elements);
double cost_tree(size_t intervals);                   /* one key with ranges: nft_set_rbtree */
double cost_boxes(size_t elements, unsigned nibbles); /* several keys with ranges: nft_set_pipapo */

#endif
