/*
 * Before the chains are walked: limits of jumps, logs that belong to a verdict, and what becomes of each line that decides
 * nothing.
 */
#include "dsl/import/foreign.h"
#include <errno.h>
#include <string.h>
#include <talloc.h>

static bool same_areas(const struct foreign_rule *a, const struct foreign_rule *b)
{
	for (int family = 0; family < FAMILIES; family++) {
		if (a->match[family].count != b->match[family].count)
			return false;
		for (size_t i = 0; i < a->match[family].count; i++)
			if (area_difference(&a->match[family].at[i], &b->match[family].at[i]) != DIMENSIONS)
				return false;
	}
	return true;
}

static bool covers(const struct foreign_rule *outer, const struct foreign_rule *inner)
{
	for (int family = 0; family < FAMILIES; family++)
		for (size_t i = 0; i < inner->match[family].count; i++) {
			bool found = false;
			for (size_t k = 0; k < outer->match[family].count; k++)
				found |= area_cover(&outer->match[family].at[k], &inner->match[family].at[i]);
			if (!found)
				return false;
		}
	return true;
}

static bool matches_all(const struct foreign_rule *rule)
{
	bool any = false;
	for (int family = 0; family < FAMILIES; family++)
		for (size_t i = 0; i < rule->match[family].count; i++) {
			struct area full;
			memcpy(full.of, full_set[family], sizeof full.of);
			any |= area_cover(&rule->match[family].at[i], &full);
		}
	return any && !rule->unsure && rule->quota.kind == QUOTA_NONE;
}

/* Does the chain do nothing but log and count? */
static bool only_logs(const struct foreign_chain *chain, unsigned depth)
{
	for (size_t i = 0; i < chain->count; i++) {
		const struct foreign_rule *rule = chain->rules[i];
		bool deeper =
			(rule->verdict == FV_JUMP || rule->verdict == FV_GOTO) && depth < 16 && only_logs(rule->chain, depth + 1);
		if (rule->verdict != FV_NONE && rule->verdict != FV_RETURN && !deeper)
			return false;
	}
	return true;
}

/* The one verdict that a chain has for every packet, after logs; FV_NONE when there is no such. */
static enum foreign_verdict uniform(const struct foreign_chain *chain, const struct foreign_rule **log)
{
	*log = NULL;
	for (size_t i = 0; i < chain->count; i++) {
		const struct foreign_rule *rule = chain->rules[i];
		if (rule->verdict == FV_NONE && rule->log)
			*log = rule;
		else if (rule->verdict == FV_DROP || rule->verdict == FV_REJECT || rule->verdict == FV_ACCEPT)
			return matches_all(rule) ? rule->verdict : FV_NONE;
		else if (rule->verdict != FV_NONE)
			return FV_NONE;
	}
	return FV_NONE;
}

static const char *log_text_of(const struct foreign_chain *chain)
{
	for (size_t i = 0; i < chain->count; i++)
		if (chain->rules[i]->log)
			return chain->rules[i]->log_text;
	return NULL;
}

/* A jump with a limit is said where the whole chain is one verdict. */
static void settle_jump(struct import *import, struct foreign_chain *chain, size_t at)
{
	struct foreign_rule *rule = chain->rules[at];
	const struct foreign_rule *log;
	if (rule->verdict != FV_JUMP && rule->verdict != FV_GOTO)
		return;
	if (only_logs(rule->chain, 0)) {
		rule->verdict = rule->verdict == FV_GOTO ? FV_RETURN : FV_NONE;
		rule->log = rule->verdict == FV_NONE && rule->chain->count;
		rule->log_text = log_text_of(rule->chain);
		for (size_t i = 0; i < rule->chain->count; i++)
			if (rule->chain->rules[i]->verdict == FV_NONE && !rule->chain->rules[i]->why)
				rule_fate(import, rule->chain->rules[i], FATE_TRANSLATED, "with the jump to its chain");
		if (!rule->log)
			rule_fate(import, rule, FATE_NO_EFFECT, "chain %s decides nothing", rule->chain->name);
		return;
	}
	if (rule->quota.kind == QUOTA_NONE)
		return;
	enum foreign_verdict verdict = uniform(rule->chain, &log);
	if (verdict == FV_NONE) {
		rule_doubt(import, rule, "a limit on a jump to a chain with several verdicts cannot be said");
		return;
	}
	rule->verdict = verdict;
	if (log) {
		rule->log = true;
		rule->log_text = log->log_text;
	}
}

/* A log is part of the verdict behind it, where that is about the same packets. */
static void settle_log(struct import *import, struct foreign_chain *chain, size_t at)
{
	struct foreign_rule *log = chain->rules[at];
	if (log->verdict != FV_NONE || !log->log || log->why)
		return;
	bool empty = !log->match[FAMILY_IPV4].count && !log->match[FAMILY_IPV6].count;
	if (empty) {
		rule_fate(import, log, FATE_NO_EFFECT, "it logs no packet that starts a connection");
		return;
	}
	struct foreign_rule *next = NULL;
	for (size_t i = at + 1; i < chain->count && !next; i++)
		if (chain->rules[i]->verdict != FV_NONE)
			next = chain->rules[i];
	bool ends = next && (next->verdict == FV_ACCEPT || next->verdict == FV_DROP || next->verdict == FV_REJECT);
	bool whole = matches_all(log) || (log->quota.kind != QUOTA_NONE && !log->unsure);
	if (ends && !log->unsure && same_areas(log, next)) {
		next->log = true;
		next->log_text = log->log_text;
		rule_fate(import, log, FATE_TRANSLATED, "with the verdict behind it");
	} else if (!next && chain->base && whole && covers(log, log) && !log->unsure) {
		struct foreign_rule all = *log;
		all.quota = (struct quota){0};
		if (matches_all(&all)) {
			chain->log = true;
			chain->log_text = log->log_text;
			rule_fate(import, log, FATE_TRANSLATED, "with the verdict behind it");
		}
	}
	log->lost = !log->why;
}

void settle_over(struct import *import, struct foreign_rule *within, enum foreign_verdict verdict)
{
	struct foreign_chain *chain = within->home;
	struct foreign_rule *over = talloc(import->ctx, struct foreign_rule);
	size_t at = 0;
	if (!over) {
		import->error = -ENOMEM;
		return;
	}
	while (chain->rules[at] != within)
		at++;
	*over = *within;
	over->verdict = verdict;
	over->quota.over = true;
	over->part_of = within->part_of ? within->part_of : within;
	within->quota = (struct quota){0};
	rule_insert(import, chain, over, at);
}

/*
 * `limit -j RETURN` before a drop of the same packets says that what exceeds the limit is dropped.  For `limit -j ACCEPT` before
 * a reject it is the only way to say it; before a drop, an allow with a limit is kept where carve.c can.
 */
static void settle_limit(struct import *import, struct foreign_chain *chain, size_t at)
{
	struct foreign_rule *rule = chain->rules[at];
	if (rule->quota.kind != QUOTA_RATE || rule->quota.over || rule->unsure || rule->verdict != FV_RETURN)
		return;
	for (size_t i = at + 1; i < chain->count; i++) {
		struct foreign_rule *next = chain->rules[i];
		if (next->verdict == FV_NONE)
			continue;
		if ((next->verdict == FV_DROP || next->verdict == FV_REJECT) && !next->unsure && next->quota.kind == QUOTA_NONE &&
			covers(next, rule)) {
			if (next->log) {
				rule->log = true;
				rule->log_text = next->log_text;
			}
			settle_over(import, rule, next->verdict);
		}
		return;
	}
}

#define NUMBER_MAX 1000000000 /* dsl/language/limits.c */

/* Limits that the language has no words for leave a doubt. */
static void settle_quota(struct import *import, struct foreign_chain *chain, size_t at)
{
	struct foreign_rule *rule = chain->rules[at];
	bool denies = rule->verdict == FV_DROP || rule->verdict == FV_REJECT, rate = rule->quota.kind == QUOTA_RATE;
	if (rule->quota.kind == QUOTA_NONE || rule->verdict == FV_NONE)
		return;
	if (!rule->quota.count || rule->quota.count > NUMBER_MAX || (rate && (!rule->quota.burst || rule->quota.burst > NUMBER_MAX)))
		rule_doubt(import, rule, "a limit of this size cannot be said");
	else if (denies && !rule->quota.over)
		rule_doubt(import, rule, "it denies only up to a limit");
	else if (rule->verdict == FV_ACCEPT && rule->quota.over)
		rule_doubt(import, rule, "it accepts only above a limit");
	else if (rule->verdict == FV_RETURN)
		rule_doubt(import, rule, "a return within a limit cannot be said here");
}

static void each_place(struct import *import, void (*settle)(struct import *, struct foreign_chain *, size_t))
{
	for (struct foreign_table *table = import->tables; table; table = table->next)
		for (struct foreign_chain *chain = table->chains; chain; chain = chain->next)
			for (size_t i = 0; i < chain->count; i++)
				settle(import, chain, i);
}

/* Walks to the acceptance of connections that stand, and remarks on what denies them before.  False: there is no such acceptance.
 */
static bool find_established(struct import *import, const struct foreign_chain *chain, bool remark, unsigned depth)
{
	for (size_t i = 0; i < chain->count && depth < 16; i++) {
		struct foreign_rule *rule = chain->rules[i];
		bool denies = rule->verdict == FV_DROP || rule->verdict == FV_REJECT;
		if (rule->verdict == FV_ACCEPT && (rule->states & STATE_ESTABLISHED) && !(rule->states & STATE_NEW))
			return true;
		if ((rule->verdict == FV_JUMP || rule->verdict == FV_GOTO) &&
			find_established(import, rule->chain, remark, depth + 1))
			return true;
		if (remark && denies && (rule->states & STATE_ESTABLISHED))
			rule_differs(
				import, rule, "it also cuts connections that stand; portpolicy lets go on what was let through");
	}
	return false;
}

static void settle_established(struct import *import, const struct foreign_chain *chain)
{
	static const char *const words[] = {"in", "out", "forward"};
	if (find_established(import, chain, false, 0))
		find_established(import, chain, true, 0);
	else if (chain->policy == FV_DROP && chain->count)
		import_note(import, import_text(import,
					    "nothing in %s accepts established connections as such: portpolicy lets the packets "
					    "of what was let through pass",
					    words[chain->direction]));
}

void settle_rules(struct import *import)
{
	each_place(import, settle_jump);
	each_place(import, settle_log);
	each_place(import, settle_limit);
	each_place(import, settle_quota);
	for (struct foreign_table *table = import->tables; table; table = table->next)
		for (struct foreign_chain *chain = table->chains; chain; chain = chain->next)
			if (chain->base)
				settle_established(import, chain);
}
