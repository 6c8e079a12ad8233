/*
 * One rule as nft lists it: matches, then statements, then a verdict.
 *
 * At the first expression that cannot be read nothing more is narrowed: what stands behind it is only searched for the
 * verdict.
 */
#include "dsl/import/nft.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <talloc.h>

static void set_verdict(struct nft_reading *reading, struct foreign_rule *rule, enum foreign_verdict verdict, const char *target)
{
	rule->verdict = verdict;
	rule->target = target;
	if (target)
		rule->chain = foreign_chain(reading->import, reading->table, target, true);
}

/* A rule that is one part of a line: a vmap has several. */
void nft_part(struct nft_reading *reading, const struct foreign_rule *part, enum foreign_verdict verdict, const char *target)
{
	struct foreign_rule *rule = talloc(reading->import->ctx, struct foreign_rule);
	if (!rule) {
		reading->import->error = -ENOMEM;
		return;
	}
	*rule = *part;
	rule->part_of = reading->rule;
	set_verdict(reading, rule, verdict, target);
	/* before the line itself, which goes on with what no part matched */
	rule_insert(reading->import, reading->chain, rule, reading->chain->count - 1);
}

static void read_counter(struct nft_reading *reading)
{
	if (nft_accept(reading, "name")) {
		nft_take(reading);
		return;
	}
	while (nft_is(reading, "packets") || nft_is(reading, "bytes"))
		nft_take(reading), nft_take(reading);
}

static void read_log(struct nft_reading *reading)
{
	reading->rule->log = true;
	for (;;) {
		if (nft_accept(reading, "prefix"))
			reading->rule->log_text = nft_take(reading);
		else if (nft_is(reading, "level") || nft_is(reading, "group") || nft_is(reading, "snaplen") ||
			 nft_is(reading, "queue-threshold") || nft_is(reading, "flags"))
			nft_take(reading), nft_take(reading);
		else if (nft_accept(reading, ","))
			nft_take(reading);
		else
			return;
	}
}

/* "10/minute": false when it is of bytes. */
static bool read_rate(struct nft_reading *reading, struct quota *quota)
{
	static const char *const units[] = {"second", "minute", "hour", "day"};
	const char *word = nft_take(reading), *slash = strchr(word, '/');
	quota->kind = QUOTA_RATE;
	quota->count = strtoull(word, NULL, 10);
	quota->burst = 5; /* nft's default for packets */
	for (size_t i = 0; slash && i < 4; i++)
		if (!strcmp(slash + 1, units[i]))
			quota->unit = units[i];
	if (nft_accept(reading, "burst")) {
		quota->burst = strtoull(nft_take(reading), NULL, 10);
		if (!nft_accept(reading, "packets"))
			return false;
	}
	return quota->unit && quota->count;
}

static void set_quota(struct nft_reading *reading, struct quota quota, bool fine)
{
	struct foreign_rule *rule = reading->rule;
	if (!fine)
		rule_doubt(reading->import, rule, "this kind of limit cannot be said");
	else if (rule->quota.kind != QUOTA_NONE)
		rule_doubt(reading->import, rule, "two limits on one rule");
	else
		rule->quota = quota;
}

static void read_limit(struct nft_reading *reading)
{
	struct quota quota = {0};
	bool rate = nft_accept(reading, "rate");
	quota.over = nft_accept(reading, "over");
	bool fine = rate && read_rate(reading, &quota);
	set_quota(reading, quota, fine);
}

/* `add @meter { ip saddr limit rate over 10/minute burst 5 packets }` */
static void read_meter(struct nft_reading *reading)
{
	struct foreign_rule *rule = reading->rule;
	struct quota quota = {.per_source = true};
	bool fine = false, v6 = false;
	nft_take(reading); /* the set */
	if (!nft_accept(reading, "{"))
		return;
	if (nft_is(reading, "ip") || nft_is(reading, "ip6")) {
		v6 = nft_is(reading, "ip6");
		nft_take(reading);
		fine = nft_accept(reading, "saddr");
	}
	if (nft_accept(reading, "timeout"))
		nft_take(reading);
	if (nft_accept(reading, "limit")) {
		fine &= nft_accept(reading, "rate");
		quota.over = nft_accept(reading, "over");
		fine = read_rate(reading, &quota) && fine;
	} else if (nft_accept(reading, "ct")) {
		fine &= nft_accept(reading, "count");
		quota.kind = QUOTA_CONNECTIONS;
		quota.over = nft_accept(reading, "over");
		quota.count = strtoull(nft_take(reading), NULL, 10);
	} else if (nft_is(reading, "}")) { /* remembers the source, and matches */
		nft_take(reading);
		rule_differs(reading->import, rule, "the set is not filled");
		return;
	}
	fine &= nft_is(reading, "}");
	for (unsigned depth = 1; depth && !nft_is(reading, "\n") && reading->words.next + 1 < reading->words.count;) {
		const char *word = nft_take(reading);
		depth += !strcmp(word, "{");
		depth -= !strcmp(word, "}");
	}
	if (fine) { /* the other family has no such key, so the rule ends for it */
		rule->match[v6 ? FAMILY_IPV4 : FAMILY_IPV6] = (struct areas){0};
		if (v6)
			rule_differs(reading->import, rule, "counts by /64 of the source, not by address");
	}
	set_quota(reading, quota, fine);
}

static void read_reject(struct nft_reading *reading)
{
	rule_differs(reading->import, reading->rule,
		"answers as portpolicy's reject does (a TCP reset, or administratively prohibited)");
	if (nft_accept(reading, "with"))
		while (!nft_ends(reading) && !nft_is(reading, "comment"))
			nft_take(reading);
}

/* What changes a packet and lets it go on. */
static bool read_change(struct nft_reading *reading)
{
	static const char *const heads[] = {
		"notrack", "masquerade", "snat", "dnat", "redirect", "dup", "fwd", "tproxy", "synproxy", "flow", "queue", "set"};
	for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
		if (nft_is(reading, heads[i]))
			return true;
	/* `meta mark set 1`, `ct mark set 1`, `ip dscp set cs1` */
	size_t at = reading->words.next;
	return at + 2 < reading->words.count && !strcmp(reading->words.at[at + 2].text, "set");
}

static void finish(struct nft_reading *reading)
{
	struct foreign_rule *rule = reading->rule;
	for (unsigned depth = 0; !(nft_ends(reading) && !depth) && reading->words.next + 1 < reading->words.count;) {
		enum foreign_verdict verdict;
		const char *target;
		if (!depth && nft_accept(reading, "comment")) {
			rule->reason = nft_take(reading);
			continue;
		}
		if (!depth && nft_accept(reading, "counter")) {
			read_counter(reading);
			continue;
		}
		if (!depth && nft_verdict(reading, &verdict, &target)) {
			set_verdict(reading, rule, verdict, target);
			if (verdict == FV_REJECT)
				read_reject(reading);
			continue;
		}
		if (!depth && nft_is(reading, "queue"))
			rule->verdict = FV_DROP;
		const char *word = nft_take(reading);
		depth += !strcmp(word, "{");
		depth -= !strcmp(word, "}") && depth;
	}
}

static void doubt_here(struct nft_reading *reading)
{
	const char *first = nft_peek(reading)->text;
	size_t next = reading->words.next + 1 < reading->words.count ? reading->words.next + 1 : reading->words.next;
	const char *second = reading->words.at[next].text;
	bool more = strcmp(second, "\n") && strcmp(second, "{") && strcmp(second, "}");
	rule_doubt(reading->import, reading->rule, "\"%s%s%s\" cannot be said", first, more ? " " : "", more ? second : "");
}

/* A statement at this place; false: there is none that is known. */
static bool read_statement(struct nft_reading *reading)
{
	enum foreign_verdict verdict;
	const char *target;
	if (nft_accept(reading, "counter"))
		read_counter(reading);
	else if (nft_accept(reading, "log"))
		read_log(reading);
	else if (nft_accept(reading, "limit"))
		read_limit(reading);
	else if (nft_is(reading, "add") || nft_is(reading, "update")) {
		nft_take(reading);
		read_meter(reading);
	} else if (nft_accept(reading, "comment"))
		reading->rule->reason = nft_take(reading);
	else if (nft_verdict(reading, &verdict, &target)) {
		set_verdict(reading, reading->rule, verdict, target);
		if (verdict == FV_REJECT)
			read_reject(reading);
	} else
		return false;
	return true;
}

/*
 * `meta skuid != 0` matches no packet without a process, and `by any except user 0` does: a denial may be said so, as the
 * stricter.
 */
static void widen_owner(struct nft_reading *reading, struct foreign_rule *rule)
{
	struct intervals nobody = set_single(reading->import, NO_PROCESS, NO_PROCESS);
	if (rule->verdict != FV_DROP && rule->verdict != FV_REJECT)
		return;
	for (int family = 0; family < FAMILIES; family++)
		for (size_t i = 0; i < rule->match[family].count; i++)
			for (int d = DIM_USER; d <= DIM_GROUP; d++) {
				struct intervals *set = &rule->match[family].at[i].of[d];
				if (!intervals_contain(*set, NO_PROCESS - 1) || intervals_contain(*set, NO_PROCESS))
					continue;
				*set = set_union(reading->import, *set, nobody);
				rule_differs(reading->import, rule, "packets that no process sent are denied too");
			}
}

void nft_read_rule(struct nft_reading *reading)
{
	struct foreign_rule *rule = reading->rule;
	while (!nft_ends(reading) && !reading->import->error) {
		if (read_statement(reading))
			continue;
		if (read_change(reading)) {
			if (nft_is(reading, "queue") || nft_is(reading, "synproxy") || nft_is(reading, "flow"))
				doubt_here(reading);
			else
				rule_differs(reading->import, rule, "what it does to the packet is left out");
			finish(reading);
			break;
		}
		int outcome = nft_read_match(reading);
		if (outcome > 0)
			continue;
		doubt_here(reading);
		finish(reading);
		break;
	}
	widen_owner(reading, rule);
}
