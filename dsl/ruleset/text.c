/*
 * A ruleset as nft reads it.
 *
 * The text says the same as what is sent to the kernel, in the words an administrator knows; it is made for reading and for `nft
 * -c -f`.
 */
#include "dsl/ruleset/lowering.h"
#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <talloc.h>

static const char *const key_names[] = {"meta nfproto", "meta l4proto", "iifname", "oifname", "meta skuid", "meta skgid",
	"ct state", "ip saddr", "ip daddr", "ip6 saddr", "ip6 daddr", "th sport", "th dport", "icmp type", "icmpv6 type",
	"tcp flags"};
static const char *const key_types[] = {"nf_proto", "inet_proto", "ifname", "ifname", "uid", "gid", "ct_state", "ipv4_addr",
	"ipv4_addr", "ipv6_addr", "ipv6_addr", "inet_service", "inet_service", "icmp_type", "icmpv6_type", "tcp_flag"};

struct bit_name {
	unsigned bit;
	const char *name;
};
static const struct bit_name state_bits[] = {{1, "invalid"}, {2, "established"}, {4, "related"}, {8, "new"}, {64, "untracked"}};
static const struct bit_name flag_bits[] = {
	{1, "fin"}, {2, "syn"}, {4, "rst"}, {8, "psh"}, {16, "ack"}, {32, "urg"}, {64, "ecn"}, {128, "cwr"}};

static void put_bits(FILE *out, enum key key, unsigned value)
{
	const struct bit_name *names = key == KEY_CT_STATE ? state_bits : flag_bits;
	size_t count = key == KEY_CT_STATE ? sizeof state_bits / sizeof *state_bits : sizeof flag_bits / sizeof *flag_bits;
	bool several = value & (value - 1), first = true;
	fputs(several ? "(" : value ? "" : "0", out);
	for (size_t i = 0; i < count; i++)
		if (value & names[i].bit) {
			fprintf(out, "%s%s", first ? "" : " | ", names[i].name);
			first = false;
		}
	fputs(several ? ")" : "", out);
}

static void put_address(FILE *out, bool v4, u128 address)
{
	unsigned char bytes[16];
	char text[INET6_ADDRSTRLEN];
	int length = v4 ? 4 : 16;
	for (int i = length - 1; i >= 0; i--, address >>= 8)
		bytes[i] = (unsigned char)address;
	fputs(inet_ntop(v4 ? AF_INET : AF_INET6, bytes, text, sizeof text), out);
}

static void put_name(FILE *out, u128 number, const char *star)
{
	fputc('"', out);
	for (int shift = 8 * (INTERFACE_NAME_MAX - 1); shift >= 0; shift -= 8)
		if ((unsigned char)(number >> shift))
			fputc((unsigned char)(number >> shift), out);
	fprintf(out, "%s\"", star);
}

static void put_value(FILE *out, enum key key, u128 value)
{
	switch (key) {
	case KEY_NFPROTO:
		fputs(value == 2 ? "ipv4" : "ipv6", out);
		break;
	case KEY_IIFNAME:
	case KEY_OIFNAME:
		put_name(out, value, "");
		break;
	case KEY_IP_SADDR:
	case KEY_IP_DADDR:
		put_address(out, true, value);
		break;
	case KEY_IP6_SADDR:
	case KEY_IP6_DADDR:
		put_address(out, false, value);
		break;
	case KEY_CT_STATE:
	case KEY_TCP_FLAGS:
		put_bits(out, key, (unsigned)value);
		break;
	case KEY_L4PROTO:
	case KEY_SKUID:
	case KEY_SKGID:
	case KEY_TH_SPORT:
	case KEY_TH_DPORT:
	case KEY_ICMP_TYPE:
	case KEY_ICMPV6_TYPE:
		fprintf(out, "%" PRIu64, (uint64_t)value);
		break;
	}
}

static bool is_v4(enum key key)
{
	return key == KEY_IP_SADDR || key == KEY_IP_DADDR;
}
static bool is_v6(enum key key)
{
	return key == KEY_IP6_SADDR || key == KEY_IP6_DADDR;
}

static void put_range(FILE *out, enum key key, u128 first, u128 last)
{
	put_value(out, key, first);
	if (first == last)
		return;
	fputc('-', out);
	put_value(out, key, last);
}

static void put_types(FILE *out, const struct set *set)
{
	static const char *const data[] = {[SET_MAP] = " : verdict", [SET_COUNTERS] = " : counter"};
	for (unsigned i = 0; i < set->key_count; i++)
		fprintf(out, "%s%s", i ? " . " : "", key_types[set->keys[i]]);
	fprintf(out, "%s\n", set->kind == SET_MAP || set->kind == SET_COUNTERS ? data[set->kind] : "");
}

/* A mask of leading ones is a prefix. */
static int prefix_length(enum key key, u128 mask)
{
	int bits = is_v4(key) ? 32 : 128, length = 0;
	while (length < bits && mask >> (bits - 1 - length) & 1)
		length++;
	u128 expected = length ? ~(u128)0 << (bits - length) : 0;
	if (bits == 32)
		expected &= 0xffffffff;
	return mask == expected ? length : -1;
}

/* "ct state new,untracked": any of them. */
static void put_any_state(FILE *out, unsigned states)
{
	const char *between = "ct state ";
	for (size_t i = 0; i < sizeof state_bits / sizeof *state_bits; i++)
		if (states & state_bits[i].bit) {
			fprintf(out, "%s%s", between, state_bits[i].name);
			between = ",";
		}
}

static void put_compare(FILE *out, const struct step *step)
{
	enum key key = step->keys[0];
	if (key == KEY_CT_STATE && step->mask && !step->first && step->negated) {
		put_any_state(out, (unsigned)step->mask);
		return;
	}
	const char *operator= step->negated ? "!= " : "";
	bool one_state = key == KEY_CT_STATE && step->mask == step->first && !(step->mask & (step->mask - 1)) && !step->negated;
	int length = step->mask && (is_v4(key) || is_v6(key)) ? prefix_length(key, step->mask) : -1;
	fprintf(out, "%s ", key_names[key]);
	if (length >= 0) {
		fputs(operator, out);
		put_value(out, key, step->first);
		fprintf(out, "/%d", length);
	} else if (step->mask && !one_state) {
		fputs("& ", out);
		put_value(out, key, step->mask);
		fprintf(out, " %s ", step->negated ? "!=" : "==");
		put_value(out, key, step->first);
	} else {
		fputs(operator, out);
		put_value(out, key, step->first);
	}
}

static void put_rate(FILE *out, const struct step *step)
{
	const char *unit = step->seconds == 1	   ? "second"
			   : step->seconds == 60   ? "minute"
			   : step->seconds == 3600 ? "hour"
						   : "day";
	fprintf(out, "limit rate %" PRIu64 "/%s burst %" PRIu64 " packets", step->rate, unit, step->burst);
}

static void put_meter(FILE *out, const struct step *step)
{
	fprintf(out, "update @%s { %s", step->object, key_names[step->keys[0]]);
	if (is_v6(step->keys[0]) && step->mask && step->mask != U128_MAX) {
		fputs(" & ", out);
		put_value(out, step->keys[0], step->mask);
	}
	fputc(' ', out);
	put_rate(out, step);
	fputs(" }", out);
}

/* What is looked up: the keys, some under a mask. */
static void put_looked_at(FILE *out, const struct step *step)
{
	for (unsigned i = 0; i < step->key_count; i++) {
		bool closed = i && step->masks[i]; /* nft takes a mask behind the first key in parentheses only */
		fprintf(out, "%s%s%s", i ? " . " : "", closed ? "(" : "", key_names[step->keys[i]]);
		if (!step->masks[i])
			continue;
		fputs(" & ", out);
		put_value(out, step->keys[i], step->masks[i]);
		fputs(closed ? ")" : "", out);
	}
}

static void put_verdict(FILE *out, enum nft_verdict verdict, const char *chain)
{
	static const char *const words[] = {"accept", "drop", "return", "jump", "goto"};
	fputs(words[verdict], out);
	if (chain)
		fprintf(out, " %s", chain);
}

static void put_step(FILE *out, const struct step *step)
{
	const char *operator= step->negated ? "!= " : "";
	switch (step->kind) {
	case STEP_COMPARE:
		put_compare(out, step);
		break;
	case STEP_RANGE:
		fprintf(out, "%s %s", key_names[step->keys[0]], operator);
		put_range(out, step->keys[0], step->first, step->last);
		break;
	case STEP_PREFIX:
		fprintf(out, "%s %s", key_names[step->keys[0]], operator);
		put_name(out, step->first, "*");
		break;
	case STEP_LOOKUP:
		put_looked_at(out, step);
		fprintf(out, " %s@%s", operator, step->object);
		break;
	case STEP_MAP:
		put_looked_at(out, step);
		fprintf(out, " vmap @%s", step->object);
		break;
	case STEP_COUNT:
		fputs("counter name ", out);
		put_looked_at(out, step);
		fprintf(out, " map @%s", step->object);
		break;
	case STEP_METER:
		put_meter(out, step);
		break;
	case STEP_COUNTER:
		fprintf(out, "counter name \"%s\"", step->object);
		break;
	case STEP_LIMIT:
		put_rate(out, step);
		break;
	case STEP_LOG:
		fprintf(out, "log prefix \"%s\" group %u", step->prefix, step->group);
		break;
	case STEP_REJECT:
		fputs(step->tcp_reset ? "reject with tcp reset" : "reject with icmpx admin-prohibited", out);
		break;
	case STEP_VERDICT:
		put_verdict(out, step->verdict, step->object);
		break;
	case STEP_FOREIGN:
		fputs("# something that portpolicy does not write", out);
		break;
	}
}

static void put_rule(FILE *out, const struct nft_rule *rule)
{
	for (size_t i = 0; i < rule->count; i++) {
		fputs(i ? " " : "", out);
		put_step(out, &rule->steps[i]);
	}
	if (rule->comment)
		fprintf(out, " comment \"%s\"", rule->comment);
}

static void put_chain(FILE *out, const struct chain *chain)
{
	static const char *const hooks[] = {"", "input", "output", "forward"};
	fprintf(out, "\tchain %s {\n", chain->name);
	if (chain->hook != HOOK_NONE)
		fprintf(out, "\t\ttype filter hook %s priority 0; policy %s;\n", hooks[chain->hook],
			chain->policy_drop ? "drop" : "accept");
	for (size_t i = 0; i < chain->count; i++) {
		fputs("\t\t", out);
		put_rule(out, &chain->rules[i]);
		fputc('\n', out);
	}
	fputs("\t}\n", out);
}

static void put_element(FILE *out, const struct set *set, const struct element *element)
{
	for (unsigned i = 0; i < set->key_count; i++) {
		fputs(i ? " . " : "", out);
		put_range(out, set->keys[i], element->first[i], element->last[i]);
	}
	if (set->kind == SET_MAP) {
		fputs(" : ", out);
		put_verdict(out, element->verdict, element->object);
	} else if (set->kind == SET_COUNTERS) {
		fprintf(out, " : \"%s\"", element->object);
	}
}

/* Without the interval flag a set holds values, one by one. */
static void put_values(FILE *out, const struct set *set)
{
	const char *between = "";
	struct members_walk walk = members_walk(set);
	struct interval one;
	while (members_next(&walk, &one)) {
		u128 step = set->interval ? one.last - one.first : 0, at = one.first;
		for (;;) {
			fputs(between, out);
			put_range(out, set->keys[0], at, at + step);
			between = ", ";
			if (at + step == one.last)
				break;
			at++;
		}
	}
}

/* In the order in which the kernel takes them. False: out of memory. */
static bool put_members(FILE *out, const struct set *set)
{
	if (set->kind == SET_METER || set->kind == SET_TIMED || !members_count(set))
		return true;
	bool ranges = set->interval && set->key_count > 1;
	const struct element **order = ranges ? elements_narrow_first(NULL, set) : NULL;
	if (ranges && !order)
		return false;
	fputs("\t\telements = { ", out);
	put_values(out, set);
	for (size_t i = 0; i < set->element_count; i++) {
		fputs(i ? ", " : "", out);
		put_element(out, set, order ? order[i] : &set->elements[i]);
	}
	fputs(" }\n", out);
	talloc_free(order);
	return true;
}

/* Days and seconds: nft takes no number of more than ten digits. */
static void put_time(FILE *out, uint64_t seconds)
{
	fputs("\t\ttimeout ", out);
	if (seconds >= 86400)
		fprintf(out, "%" PRIu64 "d", seconds / 86400);
	if (seconds % 86400)
		fprintf(out, "%" PRIu64 "s", seconds % 86400);
	fputc('\n', out);
}

static bool put_set(FILE *out, const struct set *set)
{
	fprintf(out, "\t%s %s {\n\t\ttype ", set->kind == SET_MAP || set->kind == SET_COUNTERS ? "map" : "set", set->name);
	put_types(out, set);
	if (set->size)
		fprintf(out, "\t\tsize %u\n", set->size);
	if (set->kind == SET_METER)
		fputs("\t\tflags dynamic,timeout\n", out);
	else if (set->kind == SET_TIMED)
		fputs("\t\tflags timeout\n", out);
	else if (set->interval)
		fputs("\t\tflags interval\n", out);
	if (set->timeout_ms)
		put_time(out, set->timeout_ms / 1000);
	bool complete = put_members(out, set);
	fputs("\t}\n", out);
	return complete;
}

static bool put_ruleset(FILE *out, const struct ruleset *ruleset)
{
	fprintf(out, "table inet %s {\n", ruleset->table);
	for (size_t i = 0; i < ruleset->counter_count; i++)
		fprintf(out, "\tcounter %s {\n\t}\n", ruleset->counters[i].name);
	bool complete = true;
	for (size_t i = 0; i < ruleset->set_count; i++)
		complete &= put_set(out, &ruleset->sets[i]);
	for (size_t i = 0; i < ruleset->chain_count; i++)
		put_chain(out, &ruleset->chains[i]);
	fputs("}\n", out);
	return complete;
}

/* Closes the stream and takes its text into talloc's care. */
static char *collect(void *ctx, FILE *stream, char **text)
{
	bool failed = ferror(stream) != 0;
	failed |= fclose(stream) != 0;
	char *copy = failed ? NULL : talloc_strdup(ctx, *text);
	free(*text);
	return copy;
}

char *nft_rule_text(void *ctx, const struct nft_rule *rule)
{
	char *text = NULL;
	size_t length;
	FILE *stream = open_memstream(&text, &length);
	if (!stream)
		return NULL;
	put_rule(stream, rule);
	return collect(ctx, stream, &text);
}

char *ruleset_text(void *ctx, const struct ruleset *ruleset)
{
	char *text = NULL;
	size_t length;
	FILE *stream = open_memstream(&text, &length);
	if (!stream)
		return NULL;
	bool complete = put_ruleset(stream, ruleset);
	char *copy = collect(ctx, stream, &text);
	if (complete)
		return copy;
	talloc_free(copy);
	return NULL;
}
