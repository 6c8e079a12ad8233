/*
 * nf_tables in small: what a ruleset does with one packet, for tests without a kernel.
 *
 * It knows what a verdict alone does not show: at which lines a packet counts, how often it is logged and how often a limit is
 * asked. A rule that reads a header which it has not made sure of is a failure of the test.
 */
#ifndef TESTS_UNIT_NETFILTER_H
#define TESTS_UNIT_NETFILTER_H

#include "tests/unit/lowered.h"
#include <arpa/inet.h>
#include <stdio.h>

#define SYN 0x02
#define ACK 0x10
enum { INVALID = 1, ESTABLISHED = 2, RELATED = 4, NEW = 8, UNTRACKED = 64 };

struct sent {
	enum chain_hook hook;
	const char *arriving, *leaving;
	bool v6;
	u128 source, destination;
	unsigned protocol, source_port, service; /* service: destination port or type */
	unsigned flags, state;
	bool process;
	uint32_t user, group;
	bool over; /* every rate limit is exceeded */
};

#define MARKS 32
struct fate {
	bool passed, rejected, reset;
	const char *counters[MARKS], *logs[MARKS], *meters[MARKS];
	u128 meter_keys[MARKS];
	size_t counter_count, log_count, meter_count, limits, rules; /* rules: that it met */
};

struct run {
	const struct ruleset *ruleset;
	const struct sent *sent;
	struct fate *fate;
	/* What the rule has made sure of, and what the chain can be sure of by the rule that led into it. */
	bool family, protocol, chain_family, chain_protocol;
	int depth;
};

static u128 address(const char *text, bool *v6)
{
	unsigned char bytes[16];
	u128 number = 0;
	*v6 = strchr(text, ':') != NULL;
	assert_int_equal(inet_pton(*v6 ? AF_INET6 : AF_INET, text, bytes), 1);
	for (int i = 0; i < (*v6 ? 16 : 4); i++)
		number = number << 8 | bytes[i];
	return number;
}

static struct sent packet(enum chain_hook hook, unsigned protocol, unsigned service, const char *from, const char *to)
{
	bool v6, same;
	struct sent sent = {.hook = hook,
		.arriving = hook == HOOK_OUTPUT ? "" : "eth0",
		.leaving = hook == HOOK_INPUT ? "" : "eth1",
		.protocol = protocol,
		.service = service,
		.source_port = 50000,
		.flags = SYN,
		.state = NEW};
	sent.source = address(from, &same);
	sent.destination = address(to, &v6);
	sent.v6 = v6;
	assert_int_equal(same, v6);
	return sent;
}

#define V4 "192.0.2.1", "198.51.100.7"
#define V6 "2001:db8::1", "2001:db8:1::7"
#define IN(...) packet(HOOK_INPUT, __VA_ARGS__)
#define OUT(...) packet(HOOK_OUTPUT, __VA_ARGS__)
#define FORWARD(...) packet(HOOK_FORWARD, __VA_ARGS__)

static bool has_ports(unsigned protocol)
{
	return protocol == 6 || protocol == 17 || protocol == 132;
}

/* False: the packet has no such thing, and the rule ends. */
static bool read_key(const struct run *run, enum key key, u128 *value)
{
	const struct sent *sent = run->sent;
	switch (key) {
	case KEY_NFPROTO:
		*value = sent->v6 ? 10 : 2;
		return true;
	case KEY_L4PROTO:
		*value = sent->protocol;
		return true;
	case KEY_IIFNAME:
		*value = interface_number(sent->arriving);
		return true;
	case KEY_OIFNAME:
		*value = interface_number(sent->leaving);
		return true;
	case KEY_SKUID:
		*value = sent->user;
		return sent->process;
	case KEY_SKGID:
		*value = sent->group;
		return sent->process;
	case KEY_CT_STATE:
		*value = sent->state;
		return true;
	case KEY_IP_SADDR:
	case KEY_IP_DADDR:
	case KEY_IP6_SADDR:
	case KEY_IP6_DADDR:
		assert_true(run->family);
		assert_int_equal(key == KEY_IP6_SADDR || key == KEY_IP6_DADDR, sent->v6);
		*value = key == KEY_IP_SADDR || key == KEY_IP6_SADDR ? sent->source : sent->destination;
		return true;
	case KEY_TH_SPORT:
	case KEY_TH_DPORT:
		assert_true(run->protocol && has_ports(sent->protocol));
		*value = key == KEY_TH_SPORT ? sent->source_port : sent->service;
		return true;
	case KEY_ICMP_TYPE:
	case KEY_ICMPV6_TYPE:
		assert_true(run->protocol && run->family);
		assert_int_equal(sent->v6, key == KEY_ICMPV6_TYPE);
		assert_int_equal(sent->protocol, sent->v6 ? 58 : 1);
		*value = sent->service;
		return true;
	case KEY_TCP_FLAGS:
		assert_true(run->protocol && sent->protocol == 6);
		*value = sent->flags;
		return true;
	}
	fail();
	return false;
}

static const struct set *set_named(const struct ruleset *ruleset, const char *name)
{
	for (size_t i = 0; i < ruleset->set_count; i++)
		if (!strcmp(ruleset->sets[i].name, name))
			return &ruleset->sets[i];
	fail_msg("no set %s", name);
	return NULL;
}

static const struct chain *chain_named(const struct ruleset *ruleset, const char *name)
{
	for (size_t i = 0; i < ruleset->chain_count; i++)
		if (!strcmp(ruleset->chains[i].name, name))
			return &ruleset->chains[i];
	fail_msg("no chain %s", name);
	return NULL;
}

static bool holds(const struct set *set, const struct element *element, const u128 *values)
{
	for (unsigned i = 0; i < set->key_count; i++)
		if (values[i] < element->first[i] || values[i] > element->last[i])
			return false;
	return true;
}

static bool within(const struct set *set, const struct element *inner, const struct element *outer)
{
	for (unsigned i = 0; i < set->key_count; i++)
		if (inner->first[i] < outer->first[i] || inner->last[i] > outer->last[i])
			return false;
	return true;
}

/* The member that holds the values: of two the narrow one, which lies in the other and was added first. */
static const struct element *member_of(const struct set *set, const u128 *values)
{
	const struct element *found = NULL;
	for (size_t i = 0; i < set->element_count; i++)
		if (holds(set, &set->elements[i], values)) {
			assert_true(!found || within(set, found, &set->elements[i]) || within(set, &set->elements[i], found));
			found = found && within(set, found, &set->elements[i]) ? found : &set->elements[i];
		}
	return found;
}

/* What a look-up looks at. False: the packet has no such thing. */
static bool read_keys(struct run *run, const struct step *step, u128 *values)
{
	bool family = run->family, protocol = run->protocol, read = true;
	for (unsigned i = 0; i < step->key_count; i++) {
		run->protocol |= step->keys[i] == KEY_L4PROTO;
		for (unsigned k = i; k < step->key_count; k++)
			run->protocol |= step->keys[k] == KEY_L4PROTO; /* a key beside it fits with the protocol only */
		bool port = step->keys[i] == KEY_TH_SPORT || step->keys[i] == KEY_TH_DPORT;
		if (port && run->protocol && !protocol && !has_ports(run->sent->protocol))
			values[i] = 0;
		else
			read = read && read_key(run, step->keys[i], &values[i]);
		values[i] = step->masks[i] ? values[i] & step->masks[i] : values[i];
	}
	run->family = family;
	run->protocol = protocol;
	return read;
}

static bool in_set(const struct set *set, const u128 *values)
{
	return member_of(set, values) || (set->key_count == 1 && intervals_contain(set->values, values[0]));
}

static bool test_value(const struct step *step, u128 value)
{
	bool found = false;
	int unread = 8 * (INTERFACE_NAME_MAX - (int)step->length);
	if (step->kind == STEP_COMPARE)
		found = (step->mask ? value & step->mask : value) == step->first;
	else if (step->kind == STEP_RANGE)
		found = value >= step->first && value <= step->last;
	else if (step->kind == STEP_PREFIX)
		found = value >> unread == step->first >> unread;
	return found != step->negated;
}

/* Goes on or ends the rule; verdicts apart. */
static bool take_step(struct run *run, const struct step *step)
{
	struct fate *fate = run->fate;
	u128 value = 0, values[KEYS_MAX];
	const struct element *member;
	switch (step->kind) {
	case STEP_LOOKUP:
		if (!read_keys(run, step, values))
			return false;
		if (in_set(set_named(run->ruleset, step->object), values) == step->negated)
			return false;
		run->protocol |= step->keys[0] == KEY_L4PROTO;
		return true;
	case STEP_COUNT:
		assert_int_equal(set_named(run->ruleset, step->object)->kind, SET_COUNTERS);
		member = read_keys(run, step, values) ? member_of(set_named(run->ruleset, step->object), values) : NULL;
		assert_true(fate->counter_count < MARKS);
		if (member)
			fate->counters[fate->counter_count++] = member->object;
		return member;
	case STEP_COMPARE:
	case STEP_RANGE:
	case STEP_PREFIX:
		if (!read_key(run, step->keys[0], &value) || !test_value(step, value))
			return false;
		run->family |= step->keys[0] == KEY_NFPROTO;
		run->protocol |= step->keys[0] == KEY_L4PROTO;
		return true;
	case STEP_METER:
		assert_true(read_key(run, step->keys[0], &value) && fate->meter_count < MARKS);
		assert_int_equal(set_named(run->ruleset, step->object)->kind, SET_METER);
		fate->meters[fate->meter_count] = step->object;
		fate->meter_keys[fate->meter_count++] = step->mask ? value & step->mask : value;
		return !run->sent->over;
	case STEP_LIMIT:
		fate->limits++;
		return !run->sent->over;
	case STEP_COUNTER:
		assert_true(fate->counter_count < MARKS);
		fate->counters[fate->counter_count++] = step->object;
		return true;
	case STEP_LOG:
		assert_true(fate->log_count < MARKS);
		fate->logs[fate->log_count++] = step->prefix;
		return true;
	case STEP_MAP:
	case STEP_REJECT:
	case STEP_VERDICT:
	case STEP_FOREIGN:
		break;
	}
	fail();
	return false;
}

enum outcome { GOES_ON, PASSES, STOPS };
static enum outcome run_chain(struct run *run, const struct chain *chain);

static bool take_verdict(struct run *run, const struct step *step, enum outcome *outcome)
{
	switch (step->verdict) {
	case NFT_VERDICT_ACCEPT:
		*outcome = PASSES;
		return true;
	case NFT_VERDICT_DROP:
		*outcome = STOPS;
		return true;
	case NFT_VERDICT_RETURN:
		*outcome = GOES_ON;
		return true;
	case NFT_VERDICT_GOTO:
		*outcome = run_chain(run, chain_named(run->ruleset, step->object));
		return true;
	case NFT_VERDICT_JUMP:
		*outcome = run_chain(run, chain_named(run->ruleset, step->object));
		return *outcome != GOES_ON;
	}
	fail();
	return true;
}

/* A map of verdicts; a packet that it does not hold goes on. */
static bool take_map(struct run *run, const struct step *step, enum outcome *outcome)
{
	u128 values[KEYS_MAX];
	const struct set *set = set_named(run->ruleset, step->object);
	const struct element *member = read_keys(run, step, values) ? member_of(set, values) : NULL;
	assert_int_equal(set->kind, SET_MAP);
	for (unsigned i = 0; i < step->key_count; i++)
		run->protocol |= step->keys[i] == KEY_L4PROTO;
	if (!member)
		return false;
	return take_verdict(run, &(struct step){.kind = STEP_VERDICT, .verdict = member->verdict, .object = member->object}, outcome);
}

/* Does the rule end the chain? */
static bool run_rule(struct run *run, const struct nft_rule *rule, enum outcome *outcome)
{
	run->fate->rules++;
	run->family = run->chain_family;
	run->protocol = run->chain_protocol;
	for (size_t i = 0; i < rule->count; i++) {
		const struct step *step = &rule->steps[i];
		if (step->kind == STEP_VERDICT)
			return take_verdict(run, step, outcome);
		if (step->kind == STEP_MAP)
			return take_map(run, step, outcome);
		if (step->kind == STEP_REJECT) {
			run->fate->rejected = true;
			run->fate->reset = step->tcp_reset;
			*outcome = STOPS;
			return true;
		}
		if (!take_step(run, step))
			return false;
	}
	return false;
}

static enum outcome run_chain(struct run *run, const struct chain *chain)
{
	bool family = run->chain_family, protocol = run->chain_protocol, ended = false;
	enum outcome outcome = GOES_ON;
	assert_true(++run->depth < 16); /* the kernel takes no more */
	run->chain_family = run->family;
	run->chain_protocol = run->protocol;
	for (size_t i = 0; i < chain->count && !ended; i++)
		ended = run_rule(run, &chain->rules[i], &outcome);
	run->chain_family = family;
	run->chain_protocol = protocol;
	run->depth--;
	return ended ? outcome : GOES_ON;
}

static struct fate send_through(const struct ruleset *ruleset, struct sent sent)
{
	struct fate fate = {.passed = true};
	struct run run = {.ruleset = ruleset, .sent = &sent, .fate = &fate};
	for (size_t i = 0; i < ruleset->chain_count; i++) {
		const struct chain *chain = &ruleset->chains[i];
		if (chain->hook != sent.hook)
			continue;
		enum outcome outcome = run_chain(&run, chain);
		assert_int_not_equal(outcome, GOES_ON); /* the last word is a rule */
		fate.passed = outcome == PASSES;
	}
	return fate;
}

#define PASSES_HERE(ruleset, ...) assert_true(send_through(ruleset, __VA_ARGS__).passed)
#define STOPS_HERE(ruleset, ...) assert_false(send_through(ruleset, __VA_ARGS__).passed)

static inline struct sent with_state(struct sent sent, unsigned state)
{
	sent.state = state;
	return sent;
}

static inline struct sent with_flags(struct sent sent, unsigned flags)
{
	sent.flags = flags;
	return sent;
}

static inline struct sent by(struct sent sent, uint32_t user, uint32_t group)
{
	sent.process = true;
	sent.user = user;
	sent.group = group;
	return sent;
}

static inline struct sent on(struct sent sent, const char *interface)
{
	*(sent.hook == HOOK_INPUT ? &sent.arriving : &sent.leaving) = interface;
	return sent;
}

static inline struct sent through(struct sent sent, const char *arriving, const char *leaving)
{
	sent.arriving = arriving;
	sent.leaving = leaving;
	return sent;
}

static inline struct sent source_port(struct sent sent, unsigned port)
{
	sent.source_port = port;
	return sent;
}

static inline struct sent over(struct sent sent)
{
	sent.over = true;
	return sent;
}

/* How often a packet counted at lines, and that it was at this one. */
static inline void counts_at(const struct fate *fate, const char *prefix, const char *id)
{
	size_t hits = 0;
	char name[64];
	snprintf(name, sizeof name, "%s%s", prefix, id);
	for (size_t i = 0; i < fate->counter_count; i++)
		if (!strncmp(fate->counters[i], "hit-", 4) || !strncmp(fate->counters[i], "invalid-", 8)) {
			hits++;
			assert_string_equal(fate->counters[i], name);
		}
	assert_int_equal(hits, 1);
}

static inline void counts_at_rule(const struct world *world, const struct ruleset *ruleset, struct sent sent, size_t rule)
{
	struct fate fate = send_through(ruleset, sent);
	counts_at(&fate, "hit-", world->policy->rules[rule].id);
}

static inline void counts_at_default(
	const struct world *world, const struct ruleset *ruleset, struct sent sent, enum direction direction)
{
	struct fate fate = send_through(ruleset, sent);
	counts_at(&fate, "hit-", world->policy->directions[direction].id);
}

#endif
