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

/* A policy of lines that overlap in every field, and cover each other. */
static char *many_lines(void *ctx, size_t lines)
{
	static const char *const ports[] = {
		"tcp/22", "tcp/80-90", "udp/53", "tcp/85", "udp", "any", "tcp", "icmp/8", "icmpv6/128", "gre"};
	char *text = talloc_strdup(ctx, "default in deny\n");
	for (unsigned i = 0; i < lines; i++) {
		unsigned a = i * 2654435761u >> 7, b = i * 40503u >> 3;
		const char *traffic = ports[a % 10], *action = b % 7 ? "allow" : "reject";
		bool four = traffic[4] != 'v' && (b % 3 || traffic[0] == 'i');
		text = talloc_asprintf_append(text,
			four ? "%s in %s from 10.%u.%u.0/%u to 192.0.2.%u\n" : "%s in %s from 2001:db8:%x:%x::/%u to fd00::%x\n",
			action, traffic, four ? a % 4 : 0, four ? a % 4 * 64 : a % 4 * 16,
			four ? (a % 4 ? 18 + b % 3 * 2 : 16) : 64, b % 3 + 1);
	}
	return text;
}

static struct sent random_sent(uint64_t *random)
{
	static const unsigned protocols[] = {6, 6, 17, 47, 1, 58}, services[] = {22, 80, 85, 90, 53, 8, 128};
	char from[64], to[64];
	*random = *random * 6364136223846793005u + 1442695040888963407u;
	unsigned r = (unsigned)(*random >> 33), protocol = protocols[r % 6];
	bool four = protocol == 1 || (protocol != 58 && r / 6 % 2);
	snprintf(from, sizeof from, four ? "10.%u.%u.%u" : "2001:db8:0:%x::%x", four ? r / 12 % 4 : r / 12 % 4 * 16,
		r / 48 % 4 * 64, r / 192 % 256);
	snprintf(to, sizeof to, four ? "192.0.2.%u" : "fd00::%x", r / 49152 % 3 + 1);
	return IN(protocol, services[r / 147456 % 7], from, to);
}

static void every_encoding_counts_alike(void **state)
{
	(void)state;
	char *text = many_lines(NULL, 120);
	LOAD_TEXT(world, text);
	const struct ruleset *linear = lower_as(&world, ENCODING_LINEAR);
	size_t hits = 0;
	for (int encoding = 0; encoding < ENCODINGS; encoding++) {
		const struct ruleset *r = lower_as(&world, (enum encoding)encoding);
		uint64_t random = 7;
		for (int i = 0; i < 3000; i++) {
			struct sent sent = random_sent(&random);
			struct fate wanted = send_through(linear, sent), fate = send_through(r, sent);
			assert_int_equal(wanted.counter_count, 1);
			counts_at(&fate, "", wanted.counters[0]);
			assert_true(fate.passed == wanted.passed && fate.rejected == wanted.rejected);
			hits += strcmp(wanted.counters[0] + 4, world.policy->directions[DIRECTION_IN].id) != 0;
		}
	}
	assert_true(hits > 3000);
	talloc_free(world.ctx);
	talloc_free(text);
}

/* However many lines there are, a packet meets a few rules. */
static void few_rules_are_met(void **state)
{
	(void)state;
	char *text = many_lines(NULL, 1000);
	LOAD_TEXT(world, text);
	const struct ruleset *r = lower_as(&world, ENCODING_AUTO);
	uint64_t random = 3;
	for (int i = 0; i < 2000; i++)
		assert_true(send_through(r, random_sent(&random)).rules < 24);
	talloc_free(world.ctx);
	talloc_free(text);
}

/* Of networks that lie in each other the kernel takes both into one set, unless they share a corner. */
static void nested_networks(void **state)
{
	(void)state;
	LOAD_TEXT(world, "default in deny\nallow in tcp/22 from 10.1.2.0/24\nallow in tcp/22 from 10.2.0.0/24\n"
			 "allow in tcp/22 from 10.1.0.0/16\nallow in tcp/22 from 10.2.0.0/16\n");
	const struct ruleset *r = lower_as(&world, ENCODING_BOXES);
	size_t most = 0;
	for (size_t i = 0; i < r->set_count; i++)
		most = r->sets[i].element_count > most ? r->sets[i].element_count : most;
	assert_int_equal(most, 3);
	counts_at_rule(&world, r, IN(6, 22, "10.1.2.3", "192.0.2.1"), 0);
	counts_at_rule(&world, r, IN(6, 22, "10.2.0.3", "192.0.2.1"), 1);
	counts_at_rule(&world, r, IN(6, 22, "10.1.3.3", "192.0.2.1"), 2);
	counts_at_rule(&world, r, IN(6, 22, "10.2.3.3", "192.0.2.1"), 3);
	talloc_free(world.ctx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(types_before_networks),
		cmocka_unit_test(every_encoding_counts_alike),
		cmocka_unit_test(few_rules_are_met),
		cmocka_unit_test(nested_networks),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
