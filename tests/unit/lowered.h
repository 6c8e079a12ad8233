/*
 * A policy's text and the ruleset that it becomes.
 */
#ifndef TESTS_UNIT_LOWERED_H
#define TESTS_UNIT_LOWERED_H

#include "portpolicy/ruleset.h"
#include "tests/unit/memory.h"

static inline struct ruleset *lower(struct world *world)
{
	struct ruleset *ruleset;
	if (!world->policy)
		show(world);
	assert_non_null(world->policy);
	assert_int_equal(policy_lower(world->ctx, world->policy, "portpolicy", world->diagnostics, &ruleset), 0);
	return ruleset;
}

#define LOWER(name, text)                                                                                                        \
	LOAD_TEXT(name##_world, text);                                                                                           \
	const struct ruleset *name = lower(&name##_world)
#define CLOSE(name) talloc_free(name##_world.ctx)

#endif
