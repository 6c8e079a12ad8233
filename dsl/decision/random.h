/*
 * Numbers that look random and are the same in every run.
 */
#ifndef PORTPOLICY_RANDOM_H
#define PORTPOLICY_RANDOM_H

#include <stdint.h>

/* SplitMix64 (G. Steele, D. Lea, C. Flood, 2014). */
static inline uint64_t random_step(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15u);
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

#endif
