/*
 * Every way to lay out the lines of a policy means the same.
 */
#include "tests/unit/lowered.h"
#include "tests/unit/netfilter.h"

static const struct ruleset *lower_as(struct world *world, enum encoding encoding)
{
	struct ruleset *ruleset;
	assert_non_null(world->policy);
	assert_int_equal(policy_lower_as(world->ctx, world->policy, "portpolicy", encoding, world->diagnostics, &ruleset), 0);
	return ruleset;
}

/* Where a later line would be found first, the earlier one is asked before it: a type of ICMP with its protocol. */
static void types_before_networks(void **state)
{
	(void)state;
	LOAD_TEXT(world, "default forward deny\nallow forward icmpv6/nd-router-solicit\nallow forward icmpv6 to $n\n"
			 "addresses n = { 2001:db8:10:2::a436, ::/2, 198.51.100.0/31, 192.0.2.241 }\n");
	for (int encoding = 0; encoding < ENCODINGS; encoding++) {
		const struct ruleset *r = lower_as(&world, (enum encoding)encoding);
		struct sent solicit = FORWARD(58, 133, "2001:db8::1", "2001:db8:10:2::a436");
		struct sent echo = FORWARD(58, 128, "2001:db8::1", "2001:db8:10:2::a436");
		PASSES_HERE(r, solicit);
		PASSES_HERE(r, echo);
		STOPS_HERE(r, FORWARD(58, 128, "2001:db8::1", "fd00::1"));
		counts_at_rule(&world, r, solicit, 0);
		counts_at_rule(&world, r, echo, 1);
	}
	talloc_free(world.ctx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(types_before_networks),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
