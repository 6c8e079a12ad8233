/*
 * Proofs against brute force: random policies over few ports and addresses, where every packet can be asked one by one.
 *
 * What an expect says of a region must be what a plain walk over the rules says of each packet in it; and every answer must show a packet
 * that lies in the region and gets that verdict.
 */
#include "portpolicy/decision.h"
#include "tests/unit/memory.h"

#define ROUNDS 1500
#define RULES 8
#define PORTS 6      /* 10..15 */
#define ADDRESSES 8  /* 10.0.0.0 .. 10.0.0.7 */
#define BASE 0x0a000000u

struct region {
	unsigned protocols;              /* bit 0 tcp, bit 1 udp */
	unsigned port_first, port_last;
	unsigned from_first, from_last, to_first, to_last;
	bool except;                     /* `from` without its first address */
};
struct line {
	enum action action;
	struct region region;
};
struct tiny {
	struct line lines[RULES];
	size_t count;
	enum action fallback;
};

static void random_range(unsigned *seed, unsigned count, unsigned *first, unsigned *last)
{
	unsigned a = (unsigned)rand_r(seed) % count, b = (unsigned)rand_r(seed) % count;
	*first = a < b ? a : b;
	*last = a < b ? b : a;
}

static struct region random_region(unsigned *seed)
{
	struct region region = {.protocols = 1 + (unsigned)rand_r(seed) % 3};
	random_range(seed, PORTS, &region.port_first, &region.port_last);
	random_range(seed, ADDRESSES, &region.from_first, &region.from_last);
	random_range(seed, ADDRESSES, &region.to_first, &region.to_last);
	region.except = region.from_first < region.from_last && rand_r(seed) % 2;
	return region;
}

static bool holds(const struct region *region, unsigned udp, unsigned port, unsigned from, unsigned to)
{
	return region->protocols & (1u << udp) && port >= region->port_first && port <= region->port_last && from >= region->from_first + region->except &&
	       from <= region->from_last && to >= region->to_first && to <= region->to_last;
}

static char *region_text(void *ctx, const struct region *region)
{
	static const char *const forms[] = {"", "tcp/%1$u-%2$u", "udp/%1$u-%2$u", "{ tcp/%1$u-%2$u, udp/%1$u-%2$u }"};
	char *traffic = talloc_asprintf(ctx, forms[region->protocols], region->port_first + 10, region->port_last + 10);
	char *except = region->except ? talloc_asprintf(ctx, " except 10.0.0.%u", region->from_first) : talloc_strdup(ctx, "");
	return talloc_asprintf(ctx, "in %s from 10.0.0.%u-10.0.0.%u%s to 10.0.0.%u-10.0.0.%u", traffic, region->from_first, region->from_last, except,
		region->to_first, region->to_last);
}

static enum action judge(const struct tiny *tiny, unsigned udp, unsigned port, unsigned from, unsigned to)
{
	static const enum action strictest_first[] = {ACTION_DENY, ACTION_REJECT, ACTION_ALLOW};
	for (int s = 0; s < 3; s++)
		for (size_t i = 0; i < tiny->count; i++)
			if (tiny->lines[i].action == strictest_first[s] && holds(&tiny->lines[i].region, udp, port, from, to))
				return strictest_first[s];
	return tiny->fallback;
}

static unsigned verdicts_of(const struct tiny *tiny, const struct region *region)
{
	unsigned found = 0;
	for (unsigned udp = 0; udp < 2; udp++)
		for (unsigned port = 0; port < PORTS; port++)
			for (unsigned from = 0; from < ADDRESSES; from++)
				for (unsigned to = 0; to < ADDRESSES; to++)
					if (holds(region, udp, port, from, to))
						found |= 1u << judge(tiny, udp, port, from, to);
	return found;
}

static const char *const words[] = {"allow", "deny", "reject"};

static char *tiny_text(void *ctx, const struct tiny *tiny)
{
	char *text = talloc_asprintf(ctx, "default in %s\n", words[tiny->fallback]);
	for (size_t i = 0; i < tiny->count; i++)
		text = talloc_asprintf_append(text, "%s %s\n", words[tiny->lines[i].action], region_text(ctx, &tiny->lines[i].region));
	return text;
}

static enum verdict verdict_of(enum action action)
{
	return action == ACTION_ALLOW ? VERDICT_ALLOW : action == ACTION_DENY ? VERDICT_DENY : VERDICT_REJECT;
}

static void check_answers(const struct tiny *tiny, const struct region *region, unsigned expected, const struct answer *answers, size_t count)
{
	unsigned found = 0;
	for (size_t i = 0; i < count; i++) {
		const u128 *field = answers[i].packet.field;
		unsigned udp = field[FIELD_PROTOCOL] == PROTOCOL_UDP, port = (unsigned)field[FIELD_SERVICE] - 10;
		unsigned from = (unsigned)field[FIELD_SOURCE] - BASE, to = (unsigned)field[FIELD_DESTINATION] - BASE;
		assert_true(holds(region, udp, port, from, to));
		enum action action = judge(tiny, udp, port, from, to);
		assert_int_equal(answers[i].verdict, verdict_of(action));
		found |= 1u << action;
	}
	assert_int_equal(found, expected);
}

static void check_round(unsigned seed)
{
	struct tiny tiny = {.count = 1 + (size_t)rand_r(&seed) % RULES, .fallback = (enum action)(rand_r(&seed) % 3)};
	void *ctx = talloc_new(NULL);
	for (size_t i = 0; i < tiny.count; i++)
		tiny.lines[i] = (struct line){(enum action)(rand_r(&seed) % 3), random_region(&seed)};
	struct region region = random_region(&seed);
	unsigned expected = verdicts_of(&tiny, &region);
	char *policy = tiny_text(ctx, &tiny), *asked = region_text(ctx, &region);
	char *text = talloc_asprintf(ctx, "%sexpect allow %s\nexpect deny %s\n", policy, asked, asked);
	LOAD_TEXT(world, text);
	struct decision *decision;
	struct answer answers[4], counter;
	size_t count;
	bool unknown;
	if (world.outcome)
		show(&world);
	assert_int_equal(world.outcome, 0);
	assert_int_equal(decision_new(ctx, world.policy, &decision), 0);
	const struct expectation *expects = world.policy->expects;
	assert_int_equal(expectation_prove(ctx, decision, &expects[0], BUDGET_DEFAULT, &counter, &unknown), expected != 1u << ACTION_ALLOW);
	assert_int_equal(expectation_prove(ctx, decision, &expects[1], BUDGET_DEFAULT, &counter, &unknown), (expected & 1u << ACTION_ALLOW) != 0);
	assert_int_equal(decide(ctx, decision, &expects[0].match, BUDGET_DEFAULT, answers, &count), 0);
	check_answers(&tiny, &region, expected, answers, count);
	talloc_free(world.ctx);
	talloc_free(ctx);
}

static void proofs_are_what_every_packet_says(void **state)
{
	(void)state;
	for (unsigned seed = 0; seed < ROUNDS; seed++)
		check_round(seed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(proofs_are_what_every_packet_says)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
