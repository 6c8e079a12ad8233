/*
 * From a policy to a ruleset.
 *
 * A managed direction is one base chain, made once, that lets established connections pass and jumps to chains named by their
 * content. These jumps are what a new policy replaces. The chains below take the packet through the order of LANGUAGE.md ("What a
 * policy means"): errors of what was let through, loopback, invalid, then deny, reject, allow, and the default. A packet that
 * begins a connection is neither an error nor invalid, and is not asked whether it is: it has the shorter way.
 */
#include "dsl/ruleset/encoding.h"
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <talloc.h>

#define STANDING_MS 300000
#define TCP_FLAGS 0x17
#define TCP_ACK 0x10

static int add_verdict_rule(
	struct lowering *lowering, struct rules *rules, struct phrase *phrase, enum nft_verdict verdict, const char *chain)
{
	say_verdict(phrase, verdict, chain);
	return rules_add(lowering, rules, phrase);
}

/* Errors about a connection that was let through. What a helper expects is related too, and starts a connection. */
static int add_related(struct lowering *lowering, struct rules *rules)
{
	struct phrase v4 = {0}, v6 = {0};
	say_bits(&v4, KEY_CT_STATE, CT_RELATED, CT_RELATED);
	v6 = v4;
	say_value(&v4, KEY_NFPROTO, 2);
	say_value(&v4, KEY_L4PROTO, PROTOCOL_ICMP);
	say_value(&v6, KEY_NFPROTO, 10);
	say_value(&v6, KEY_L4PROTO, PROTOCOL_ICMPV6);
	int error = add_verdict_rule(lowering, rules, &v4, NFT_VERDICT_ACCEPT, NULL);
	return error ? error : add_verdict_rule(lowering, rules, &v6, NFT_VERDICT_ACCEPT, NULL);
}

static int add_lines(struct lowering *lowering, enum direction direction, bool loopback, struct rules *rules)
{
	static const enum action strictest_first[] = {ACTION_DENY, ACTION_REJECT, ACTION_ALLOW};
	int error = 0;
	for (int i = 0; i < 3 && !error; i++)
		error = group_lower(lowering, &(struct group){direction, strictest_first[i], loopback}, rules);
	rules->origin = NULL;
	return error;
}

static bool names_loopback(const struct policy *policy, enum direction direction)
{
	for (size_t i = 0; i < policy->rule_count; i++) {
		const struct match *match = &policy->rules[i].match;
		if (match->direction == direction &&
			(direction == DIRECTION_IN ? &match->arriving : &match->leaving)->names_loopback)
			return true;
	}
	return false;
}

/* What becomes of a packet of the loopback zone: accept, or a chain of the rules that name it. */
static int loopback_fate(struct lowering *lowering, enum direction direction, struct phrase *out)
{
	struct rules rules = {0};
	struct phrase invalid = {0}, last = {0};
	const char *name;
	if (!names_loopback(lowering->policy, direction)) {
		say_verdict(out, NFT_VERDICT_ACCEPT, NULL);
		return 0;
	}
	say_bits(&invalid, KEY_CT_STATE, CT_INVALID, CT_INVALID);
	int error = add_verdict_rule(lowering, &rules, &invalid, NFT_VERDICT_ACCEPT, NULL);
	error = error ? error : add_lines(lowering, direction, true, &rules);
	error = error ? error : add_verdict_rule(lowering, &rules, &last, NFT_VERDICT_ACCEPT, NULL);
	error = error ? error : chain_add(lowering, direction == DIRECTION_IN ? "lo-in" : "lo-out", &rules, &name);
	if (!error)
		say_verdict(out, NFT_VERDICT_GOTO, name);
	return error;
}

static int add_loopback(struct lowering *lowering, enum direction direction, const struct phrase *fate, struct rules *rules)
{
	struct phrase ways[3] = {{{{0}}, 0}};
	int count = direction == DIRECTION_OUT ? 3 : 1, error = 0;
	if (direction == DIRECTION_FORWARD)
		return 0;
	say_value(&ways[0], direction == DIRECTION_IN ? KEY_IIFNAME : KEY_OIFNAME, interface_number("lo"));
	say_value(&ways[1], KEY_NFPROTO, 2);
	say_bits(&ways[1], KEY_IP_DADDR, (u128)0xff << 24, (u128)127 << 24);
	say_value(&ways[2], KEY_NFPROTO, 10);
	say_value(&ways[2], KEY_IP6_DADDR, 1);
	for (int i = 0; i < count && !error; i++) {
		say(&ways[i], fate->steps[0]);
		error = rules_add(lowering, rules, &ways[i]);
	}
	return error;
}

static int add_invalid(struct lowering *lowering, enum direction direction, struct rules *rules)
{
	struct phrase phrase = {0};
	const char *counter;
	int error = counter_add(lowering, NULL, &counter, "invalid-", direction_names[direction]);
	if (error)
		return error;
	say_bits(&phrase, KEY_CT_STATE, CT_INVALID, CT_INVALID);
	say_counter(&phrase, counter);
	error = say_action(lowering, &phrase, direction, ACTION_DENY);
	return error ? error : rules_add(lowering, rules, &phrase);
}

/*
 * Connections that were forwarded before the first apply and that conntrack never saw have no socket here to learn them from. For
 * a while after the first load, a TCP segment that can only be of a connection that stands is taken as one: conntrack picks it up
 * there (nf_conntrack_tcp_loose). A segment of no connection is answered by a reset from the host that it reaches.
 */
static int add_standing(struct lowering *lowering, struct rules *rules)
{
	struct element *element = talloc_zero(lowering->ctx, struct element);
	struct phrase phrase = {0};
	if (!element)
		return -ENOMEM;
	element->first[0] = element->last[0] = PROTOCOL_TCP;
	say_value(&phrase, KEY_L4PROTO, PROTOCOL_TCP);
	say_bits(&phrase, KEY_TCP_FLAGS, TCP_FLAGS, TCP_ACK);
	say_bits(&phrase, KEY_CT_STATE, CT_NEW, CT_NEW);
	say(&phrase, (struct step){.kind = STEP_LOOKUP, .keys = {KEY_L4PROTO}, .key_count = 1, .object = "standing"});
	int error = add_verdict_rule(lowering, rules, &phrase, NFT_VERDICT_ACCEPT, NULL);
	return error ? error
		     : set_add(lowering, &(struct set){.name = "standing",
						 .kind = SET_TIMED,
						 .keys = {KEY_L4PROTO},
						 .key_count = 1,
						 .elements = element,
						 .element_count = 1,
						 .timeout_ms = STANDING_MS});
}

static bool rejects(const struct policy *policy)
{
	for (int direction = 0; direction < DIRECTIONS; direction++)
		if (policy->directions[direction].managed && policy->directions[direction].action == ACTION_REJECT)
			return true;
	for (size_t i = 0; i < policy->rule_count; i++)
		if (policy->rules[i].action == ACTION_REJECT)
			return true;
	return false;
}

/* Sent by no process: asking for a user breaks off the rule then, and the next one is reached. */
static int kernel_only(struct lowering *lowering, const char **name)
{
	struct rules rules = {0};
	struct phrase process = {0}, kernel = {0};
	say(&process,
		(struct step){.kind = STEP_COMPARE, .keys = {KEY_SKUID}, .key_count = 1, .first = NO_USER, .negated = true});
	int error = add_verdict_rule(lowering, &rules, &process, NFT_VERDICT_RETURN, NULL);
	error = error ? error : add_verdict_rule(lowering, &rules, &kernel, NFT_VERDICT_ACCEPT, NULL);
	return error ? error : chain_add(lowering, "answers", &rules, name);
}

/*
 * The answers of `reject` leave by `out`. The connection they answer was never confirmed, so conntrack calls a reset related
 * (nf_ct_attach) and an ICMP error, whose inner packet it does not find, invalid.
 */
static int add_answers(struct lowering *lowering, struct rules *rules)
{
	struct phrase reset = {0}, v4 = {0}, v6 = {0};
	const char *chain;
	if (!rejects(lowering->policy))
		return 0;
	int error = kernel_only(lowering, &chain);
	say_bits(&reset, KEY_CT_STATE, CT_RELATED, CT_RELATED);
	say_value(&reset, KEY_L4PROTO, PROTOCOL_TCP);
	say_bits(&reset, KEY_TCP_FLAGS, 0x06, 0x04); /* of SYN and RST just the latter */
	say_bits(&v4, KEY_CT_STATE, CT_INVALID, CT_INVALID);
	v6 = v4;
	say_value(&v4, KEY_NFPROTO, 2);
	say_value(&v4, KEY_L4PROTO, PROTOCOL_ICMP);
	say_value(&v4, KEY_ICMP_TYPE, 3);
	say_value(&v6, KEY_NFPROTO, 10);
	say_value(&v6, KEY_L4PROTO, PROTOCOL_ICMPV6);
	say_value(&v6, KEY_ICMPV6_TYPE, 1);
	struct phrase *const ways[] = {&reset, &v4, &v6};
	for (int i = 0; i < 3 && !error; i++)
		error = add_verdict_rule(lowering, rules, ways[i], NFT_VERDICT_JUMP, chain);
	return error;
}

/* Of a packet that begins a connection. */
static int new_chain(struct lowering *lowering, enum direction direction, const struct phrase *loopback, const char **name)
{
	struct rules rules = {0};
	int error = direction == DIRECTION_FORWARD ? add_standing(lowering, &rules) : 0;
	error = error ? error : add_loopback(lowering, direction, loopback, &rules);
	error = error ? error : add_lines(lowering, direction, false, &rules);
	error = error ? error : default_lower(lowering, direction, &rules);
	return error ? error : chain_add(lowering, direction_names[direction], &rules, name);
}

/* Of a packet that conntrack calls related or invalid; what a helper expects begins a connection after all. */
static int related_chain(struct lowering *lowering, enum direction direction, const struct phrase *loopback,
	const char *new_connection, const char **name)
{
	static const char *const prefixes[] = {"in-related", "out-related", "forward-related"};
	struct rules rules = {0};
	struct phrase last = {0};
	int error = add_related(lowering, &rules);
	if (!error && direction == DIRECTION_OUT)
		error = add_answers(lowering, &rules);
	error = error ? error : add_loopback(lowering, direction, loopback, &rules);
	error = error ? error : add_invalid(lowering, direction, &rules);
	error = error ? error : add_verdict_rule(lowering, &rules, &last, NFT_VERDICT_GOTO, new_connection);
	return error ? error : chain_add(lowering, prefixes[direction], &rules, name);
}

static int direction_chains(
	struct lowering *lowering, enum direction direction, const char **new_connection, const char **related)
{
	struct phrase loopback = {0};
	int error = direction != DIRECTION_FORWARD ? loopback_fate(lowering, direction, &loopback) : 0;
	error = error ? error : new_chain(lowering, direction, &loopback, new_connection);
	return error ? error : related_chain(lowering, direction, &loopback, *new_connection, related);
}

static int lower_direction(struct lowering *lowering, enum direction direction)
{
	static const char *const names[] = {"input", "output", "forward"};
	static const enum chain_hook hooks[] = {HOOK_INPUT, HOOK_OUTPUT, HOOK_FORWARD};
	const struct direction_policy *line = &lowering->policy->directions[direction];
	bool open = line->action == ACTION_ALLOW || line->mode == MODE_AUDIT;
	struct phrase established = {0}, begins = {0}, rest = {0}, last = {0};
	struct rules rules = {0};
	const char *new_connection, *related;
	int error = direction_chains(lowering, direction, &new_connection, &related);
	if (error)
		return error;
	say_bits(&established, KEY_CT_STATE, CT_ESTABLISHED, CT_ESTABLISHED);
	say(&begins, (struct step){.kind = STEP_COMPARE,
			     .keys = {KEY_CT_STATE},
			     .key_count = 1,
			     .mask = CT_NEW | CT_UNTRACKED,
			     .negated = true});
	error = add_verdict_rule(lowering, &rules, &established, NFT_VERDICT_ACCEPT, NULL);
	error = error ? error : add_verdict_rule(lowering, &rules, &begins, NFT_VERDICT_JUMP, new_connection);
	error = error ? error : add_verdict_rule(lowering, &rules, &rest, NFT_VERDICT_JUMP, related);
	error = error ? error : add_verdict_rule(lowering, &rules, &last, open ? NFT_VERDICT_ACCEPT : NFT_VERDICT_DROP, NULL);
	return error ? error : chain_base(lowering, names[direction], hooks[direction], !open, &rules);
}

static bool has_names(struct addresses addresses)
{
	for (size_t i = 0; i < addresses.count; i++)
		if (addresses.terms[i].literal_count)
			return true;
	return false;
}

/* What is understood, checked and explained, but not enforced by this version. */
static void refuse(struct lowering *lowering, const struct rule *rule)
{
	if (!lowering->policy->directions[rule->match.direction].managed)
		return;
	if (has_names(rule->match.from) || has_names(rule->match.to))
		report_error(lowering->diagnostics, rule->span, "this version cannot enforce host names yet");
	if (rule->match.by.units.count)
		report_error(lowering->diagnostics, rule->span, "this version cannot enforce `by unit` yet");
	if (rule->has_connections)
		report_error(lowering->diagnostics, rule->connections_span.source ? rule->connections_span : rule->span,
			"this version cannot enforce a limit of connections yet");
}

static int by_hook(const void *left, const void *right)
{
	const struct chain *a = left, *b = right;
	if ((a->hook == HOOK_NONE) != (b->hook == HOOK_NONE))
		return a->hook == HOOK_NONE ? 1 : -1;
	return strcmp(a->name, b->name);
}

static int set_order(const void *a, const void *b)
{
	return strcmp(((const struct set *)a)->name, ((const struct set *)b)->name);
}
static int counter_order(const void *a, const void *b)
{
	return strcmp(((const struct counter *)a)->name, ((const struct counter *)b)->name);
}

/* Equal names are equal objects: one of them stays. Returns how many are left. */
static size_t unique(void *list, size_t count, size_t size, int (*order)(const void *, const void *))
{
	char *at = list;
	size_t kept = 0;
	if (!count)
		return 0;
	qsort(list, count, size, order);
	for (size_t i = 0; i < count; i++)
		if (!kept || order(at + (kept - 1) * size, at + i * size)) {
			memmove(at + kept * size, at + i * size, size);
			kept++;
		}
	return kept;
}

static int finish(struct lowering *lowering, const char *table, struct ruleset *ruleset)
{
	ruleset->table = talloc_strdup(ruleset, table);
	if (!ruleset->table)
		return -ENOMEM;
	ruleset->exists = true;
	ruleset->chains = lowering->chains;
	ruleset->chain_count = unique(lowering->chains, lowering->chain_count, sizeof(struct chain), by_hook);
	ruleset->sets = lowering->sets;
	ruleset->set_count = unique(lowering->sets, lowering->set_count, sizeof(struct set), set_order);
	ruleset->counters = lowering->counters;
	ruleset->counter_count = unique(lowering->counters, lowering->counter_count, sizeof(struct counter), counter_order);
	return 0;
}

/* The kernel counts the time that a bucket takes to fill in 64 bits of nanoseconds; older ones let it wrap. */
static void refuse_rate(struct lowering *lowering, const struct rate *rate)
{
	uint64_t sum;
	if (rate && __builtin_mul_overflow(rate->seconds * 1000000000 / rate->count, rate->burst, &sum))
		report_error(lowering->diagnostics, rate->span,
			"a burst of %" PRIu64 " at this rate takes longer than 584 years, which is as far as the kernel counts",
			rate->burst);
}

static int lower_directions(struct lowering *lowering)
{
	int error = 0;
	for (int direction = 0; direction < DIRECTIONS && !error; direction++)
		if (lowering->policy->directions[direction].managed)
			error = lower_direction(lowering, (enum direction)direction);
	return error;
}

const char *const encoding_names[ENCODINGS] = {"auto", "linear", "hashes", "boxes", "ports", "chains", "cuts"};

int policy_lower(void *ctx, const struct policy *policy, const char *table, struct diagnostics *diagnostics, struct ruleset **out)
{
	return policy_lower_as(ctx, policy, table, ENCODING_AUTO, diagnostics, out);
}

int policy_lower_as(void *ctx, const struct policy *policy, const char *table, enum encoding encoding,
	struct diagnostics *diagnostics, struct ruleset **out)
{
	struct ruleset *ruleset = talloc_zero(ctx, struct ruleset);
	struct lowering lowering = {.ctx = ruleset,
		.work = ruleset ? talloc_new(ruleset) : NULL,
		.policy = policy,
		.diagnostics = diagnostics,
		.encoding = encoding};
	size_t errors = diagnostics->errors;
	*out = NULL;
	if (!lowering.work) {
		talloc_free(ruleset);
		return -ENOMEM;
	}
	for (size_t i = 0; i < policy->rule_count; i++) {
		refuse(&lowering, &policy->rules[i]);
		refuse_rate(&lowering, policy->rules[i].limit ? policy->rules[i].limit : policy->rules[i].above);
	}
	int error = diagnostics->errors != errors;
	error = error ? error : lower_directions(&lowering);
	error = error ? error : finish(&lowering, table, ruleset);
	talloc_free(error ? (void *)ruleset : lowering.work);
	if (!error)
		*out = ruleset;
	return error;
}
