/*
 * The source's own meaning: one packet walks the chains, and the first match decides.
 *
 * It knows nothing of the translation: it is what the translation is measured by. Where a rule may match or not, both ways are
 * gone, so the answer is the set of what may become of the packet. Limits count as kept.
 */
#include "dsl/import/foreign.h"
#include <string.h>
#include <talloc.h>

#define GOES_ON 1u /* 1 << FV_NONE: the end of the chain, or a return */

struct way {
	enum direction direction;
	enum family family;
	const u128 *point;
	unsigned depth;
};

static bool is_unsure(const struct way *way, const struct foreign_rule *rule)
{
	return rule->unsure || (rule->local_destination && way->direction != DIRECTION_IN);
}

static unsigned chain_outcome(struct way *way, const struct foreign_chain *chain)
{
	unsigned outcome = 0;
	for (size_t i = 0; i < chain->count; i++) {
		const struct foreign_rule *rule = chain->rules[i];
		bool unsure = is_unsure(way, rule);
		unsigned here = 0;
		if (rule->verdict == FV_NONE || (!unsure && rule->quota.kind != QUOTA_NONE && rule->quota.over) ||
			!areas_hold(&rule->match[way->family], way->point))
			continue;
		bool deeper = rule->verdict == FV_JUMP || rule->verdict == FV_GOTO;
		if (deeper && way->depth < 64) {
			way->depth++;
			here = chain_outcome(way, rule->chain);
			way->depth--;
		} else if (!deeper)
			here = rule->verdict == FV_RETURN ? GOES_ON : 1u << rule->verdict;
		bool next = unsure || (rule->verdict == FV_JUMP && (here & GOES_ON));
		outcome |= rule->verdict == FV_JUMP ? here & ~GOES_ON : here;
		outcome |= unsure ? EVALUATE_UNSURE : 0;
		if (!next)
			return outcome;
	}
	return outcome | GOES_ON;
}

unsigned evaluate(struct import *import, enum direction direction, enum family family, const u128 *point)
{
	struct way way = {.direction = direction, .family = family, .point = point};
	size_t count;
	unsigned outcome = 0, last = 1u << FV_ACCEPT;
	struct foreign_chain **chains = base_chains(import, direction, family, &count);
	for (size_t i = 0; i < count && last & (1u << FV_ACCEPT); i++) {
		last = chain_outcome(&way, chains[i]);
		if (last & GOES_ON)
			last = (last & ~GOES_ON) | 1u << chains[i]->policy;
		outcome |= last & ~(1u << FV_ACCEPT);
	}
	talloc_free(chains);
	for (size_t i = 0; i < import->widened_count; i++) {
		const struct widened *widened = &import->widened[i];
		if (widened->direction == direction && widened->family == family && area_holds(&widened->area, point))
			outcome |= EVALUATE_UNSURE | 1u << widened->verdict;
	}
	return outcome | (last & (1u << FV_ACCEPT));
}
