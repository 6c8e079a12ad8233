/*
 * The rules of a policy for one direction: the lists of both families, carved, put together again where they say the same.
 */
#include "dsl/import/foreign.h"
#include <errno.h>
#include <string.h>
#include <talloc.h>

#define ROUNDS 200

static enum foreign_verdict stricter(enum foreign_verdict a, enum foreign_verdict b)
{
	return a > b ? a : b;
}

/* What becomes of packets that no rule before the last one decides. */
static enum foreign_verdict last_verdict(const struct entries *entries, const struct zone_space *space, size_t *at)
{
	for (size_t i = 0; i < entries->count; i++) {
		const struct list_entry *entry = &entries->at[i];
		for (size_t a = 0; a < entry->areas.count; a++)
			if (!entry->unsure && entry->quota.kind == QUOTA_NONE && area_cover(&entry->areas.at[a], &space->whole)) {
				*at = i;
				return entry->verdict;
			}
	}
	*at = entries->count;
	return FV_DROP;
}

static struct spoken *add_spoken(struct import *import, struct direction_plan *plan)
{
	if (!(plan->count & (plan->count - 1))) {
		struct spoken *more = talloc_realloc(import->ctx, plan->at, struct spoken, plan->count ? plan->count * 2 : 1);
		if (!more) {
			import->error = -ENOMEM;
			return NULL;
		}
		plan->at = more;
	}
	plan->at[plan->count] = (struct spoken){0};
	return &plan->at[plan->count++];
}

static void add_rule(struct import *import, struct spoken *spoken, const struct foreign_rule *rule)
{
	if (spoken->rule_count && spoken->rules[spoken->rule_count - 1] == rule)
		return;
	if (!(spoken->rule_count & (spoken->rule_count - 1))) {
		const struct foreign_rule **more = talloc_realloc(
			import->ctx, spoken->rules, const struct foreign_rule *, spoken->rule_count ? spoken->rule_count * 2 : 1);
		if (!more) {
			import->error = -ENOMEM;
			return;
		}
		spoken->rules = more;
	}
	spoken->rules[spoken->rule_count++] = rule;
}

static bool same_text(const char *a, const char *b)
{
	return a == b || (a && b && !strcmp(a, b));
}

static bool alike(const struct spoken *a, const struct spoken *b)
{
	return a->verdict == b->verdict && a->loopback == b->loopback && a->doubtful == b->doubtful && !a->connections &&
	       !b->connections && a->log == b->log && same_text(a->log_text, b->log_text) && same_text(a->reason, b->reason) &&
	       same_text(a->note, b->note);
}

/* Neighbours in the list that differ in one set become one rule. */
static bool join_previous(
	struct import *import, struct direction_plan *plan, const struct zone_space *space, const struct spoken *next)
{
	struct spoken *last = plan->count ? &plan->at[plan->count - 1] : NULL;
	enum family family = space->family;
	if (!last || !last->in[family] || !alike(last, next) || last->quota || next->quota || !last->rule_count ||
		!next->rule_count)
		return false;
	int d = area_difference(&last->area[family], &next->area[family]);
	if (d < 0)
		return false;
	struct area joined = last->area[family];
	if (d < DIMENSIONS)
		joined.of[d] = set_union(import, joined.of[d], next->area[family].of[d]);
	if (!area_sayable(import, space, &joined))
		return false;
	last->area[family] = joined;
	add_rule(import, last, next->rules[0]);
	return true;
}

static void speak(struct import *import, struct direction_plan *plan, const struct zone_space *space,
	const struct list_entry *entry, const struct area *area, const struct quota *connections)
{
	const struct foreign_rule *rule = entry->rule;
	struct spoken spoken = {.verdict = entry->verdict, .loopback = space->loopback, .connections = connections};
	spoken.area[space->family] = *area;
	spoken.in[space->family] = true;
	spoken.doubtful = entry->idle;
	spoken.note = entry->unsure;
	if (rule) {
		add_rule(import, &spoken, rule);
		spoken.quota = entry->quota.kind == QUOTA_RATE && !entry->unsure ? &rule->quota : NULL;
		if (entry->quota.kind == QUOTA_CONNECTIONS && !entry->unsure)
			spoken.connections = &rule->quota;
		spoken.log = rule->log;
		spoken.log_text = rule->log_text;
		spoken.reason = rule->reason;
	}
	if (join_previous(import, plan, space, &spoken))
		return;
	struct spoken *place = add_spoken(import, plan);
	if (place)
		*place = spoken;
}

static void speak_entries(
	struct import *import, struct direction_plan *plan, const struct zone_space *space, const struct entries *entries)
{
	for (size_t i = 0; i < entries->count; i++) {
		const struct list_entry *entry = &entries->at[i];
		const struct areas *areas = entry->idle ? &entry->areas : &entry->said;
		bool moot = entry->idle && entry->verdict == FV_ACCEPT && (space->loopback || plan->fallback == FV_ACCEPT);
		if (entry->absorbed || moot || (entry->idle && !entry->rule) ||
			(entry->quota.kind == QUOTA_CONNECTIONS && entry->verdict != FV_ACCEPT && !entry->unsure))
			continue;
		for (size_t a = 0; a < areas->count; a++)
			if (area_sayable(import, space, &areas->at[a]))
				speak(import, plan, space, entry, &areas->at[a], NULL);
		if (entry->gate && entry->gated.count)
			speak(import, plan, space, entry, &entry->gated.at[0], &entry->gate->rule->quota);
	}
}

static bool spread(struct import *import, const struct zone_space *space, struct entries *entries, enum foreign_verdict fallback, bool *again)
{
	bool there = flatten(import, space, entries);
	if (there && !entries->too_many)
		*again |= !carve(import, space, entries, fallback);
	return there && !entries->too_many;
}

/* Nothing is known of this family: it is closed, unless it is known that nothing stands there. */
static void speak_absent(struct import *import, struct direction_plan *plan, const struct zone_space *space)
{
	enum foreign_verdict verdict = import->complete ? FV_ACCEPT : FV_DROP;
	if (!import->complete)
		import_note(import,
			space->family == FAMILY_IPV6
				? "no rules for IPv6 were given: IPv6 is denied here; give the output of ip6tables-save too"
				: "no rules for IPv4 were given: IPv4 is denied here; give the output of iptables-save too");
	if (plan->fallback == verdict || (!import->complete && plan->fallback != FV_ACCEPT))
		return;
	struct spoken *spoken = add_spoken(import, plan);
	if (!spoken)
		return;
	spoken->verdict = verdict;
	spoken->area[space->family] = space->whole;
	spoken->in[space->family] = true;
	spoken->note =
		import->complete ? "no chain stands here for this family: it is open" : "nothing was given for this family";
}

/* icmp and icmpv6 are of one family each: traffic is the same in both only where it holds all of both, or nothing. */
static bool same_in_both(struct import *import, struct intervals traffic)
{
	struct intervals icmp = set_single(import, TRAFFIC(PROTOCOL_ICMP, 0), TRAFFIC(PROTOCOL_ICMP, SERVICES - 1));
	struct intervals icmpv6 = set_single(import, TRAFFIC(PROTOCOL_ICMPV6, 0), TRAFFIC(PROTOCOL_ICMPV6, SERVICES - 1));
	if (traffic_is_except(traffic))
		return intervals_cover(traffic, icmp) && intervals_cover(traffic, icmpv6);
	return !intervals_overlap(traffic, icmp) && !intervals_overlap(traffic, icmpv6);
}

static bool full(const struct spoken *spoken, enum family family, enum dimension dimension)
{
	return intervals_equal(spoken->area[family].of[dimension], full_set[family][dimension]) ||
	       spoken->area[family].of[dimension].count > 1; /* one that is nearly full is like one that is full: an exception */
}

/* Rules of both families that say the same of all but addresses are one. */
static bool join_families(struct import *import, struct spoken *v4, const struct spoken *v6)
{
	const struct area *a = &v4->area[FAMILY_IPV4], *b = &v6->area[FAMILY_IPV6];
	bool quotas = v4->quota == v6->quota /* none, or one rule for both */ ||
		      (v4->quota && v6->quota && v4->quota->per_source && v6->quota->per_source &&
			      v4->quota->count == v6->quota->count && v4->quota->burst == v6->quota->burst &&
			      !strcmp(v4->quota->unit, v6->quota->unit));
	if (!alike(v4, v6) || !quotas || v4->in[FAMILY_IPV6])
		return false;
	for (int d = 0; d < DIMENSIONS; d++)
		if (d == DIM_SOURCE || d == DIM_DESTINATION
				? full(v4, FAMILY_IPV4, (enum dimension)d) != full(v6, FAMILY_IPV6, (enum dimension)d)
				: !intervals_equal(a->of[d], b->of[d]))
			return false;
	if (!same_in_both(import, a->of[DIM_TRAFFIC]))
		return false;
	v4->area[FAMILY_IPV6] = *b;
	v4->in[FAMILY_IPV6] = true;
	return true;
}

static void unite(struct import *import, struct direction_plan *plan)
{
	size_t kept = 0;
	for (size_t i = 0; i < plan->count; i++) {
		struct spoken *next = &plan->at[i];
		bool joined = false;
		for (size_t k = 0; k < kept && !joined && !next->in[FAMILY_IPV4]; k++) {
			joined = plan->at[k].in[FAMILY_IPV4] && join_families(import, &plan->at[k], next);
			for (size_t r = 0; joined && r < next->rule_count; r++)
				add_rule(import, &plan->at[k], next->rules[r]);
		}
		if (!joined)
			plan->at[kept++] = *next;
	}
	plan->count = kept;
}

/* One limit of a rule for both families, said in two rules, is counted in each. */
static void remark_split(struct import *import, const struct direction_plan *plan)
{
	for (size_t i = 0; i < plan->count; i++)
		for (size_t k = 0; k < i; k++)
			if (plan->at[i].quota && plan->at[i].quota == plan->at[k].quota && plan->at[i].rule_count &&
				!plan->at[i].quota->per_source)
				rule_differs(import, (struct foreign_rule *)plan->at[i].rules[0],
					"its limit is counted apart for each rule that it became");
}

/* The default: the strictest of what both families do at the end, and what is logged there. */
static void choose_default(struct import *import, struct direction_plan *plan)
{
	plan->fallback = FV_NONE;
	for (int family = 0; family < FAMILIES; family++) {
		struct zone_space space;
		struct entries entries;
		size_t at;
		zone_space(import, plan->direction, (enum family)family, false, &space);
		if (!flatten(import, &space, &entries))
			continue;
		if (entries.too_many) {
			import->too_large = true;
			import->loop = entries.loop;
			return;
		}
		plan->managed = true;
		enum foreign_verdict last = last_verdict(&entries, &space, &at);
		if (last <= plan->fallback && plan->fallback != FV_NONE)
			continue;
		plan->fallback = stricter(plan->fallback, last);
		const struct list_entry *entry = at < entries.count ? &entries.at[at] : NULL;
		plan->chain = entry ? entry->chain : NULL;
		plan->log = entry && (entry->rule ? entry->rule->log : entry->chain->log);
		plan->log_text = entry && entry->rule ? entry->rule->log_text : entry ? entry->chain->log_text : NULL;
	}
}

/* Does a rule turn out to be one that cannot be said, or not so? */
static bool changes(struct import *import, enum direction direction)
{
	struct direction_plan plan = {.direction = direction};
	bool again = false;
	choose_default(import, &plan);
	for (int loopback = 0; plan.managed && loopback < (direction == DIRECTION_FORWARD ? 1 : 2); loopback++)
		for (int family = 0; family < FAMILIES && !import->error; family++) {
			struct zone_space space;
			struct entries entries;
			zone_space(import, direction, (enum family)family, loopback, &space);
			spread(import, &space, &entries, loopback ? FV_ACCEPT : plan.fallback, &again);
		}
	return again;
}

void plan_settle(struct import *import)
{
	bool again = true;
	/* What is found out about a rule in one place holds in all: chains are shared. */
	for (int round = 0; round < ROUNDS && again && !import->error && !import->too_large; round++) {
		again = false;
		import->widened_count = 0;
		for (int d = 0; d < DIRECTIONS; d++)
			again |= changes(import, (enum direction)d);
	}
	import->widened_count = 0;
	import->too_large |= again;
	for (size_t i = 0; i < import->rule_count; i++) /* what was noted on the way may not hold at its end */
		import->rules[i]->said = false;
}

void plan_direction(struct import *import, enum direction direction, struct direction_plan *out)
{
	*out = (struct direction_plan){.direction = direction};
	choose_default(import, out);
	for (int loopback = 0; out->managed && loopback < (direction == DIRECTION_FORWARD ? 1 : 2); loopback++)
		for (int family = 0; family < FAMILIES && !import->error; family++) {
			struct zone_space space;
			struct entries entries;
			zone_space(import, direction, (enum family)family, loopback, &space);
			bool again = false;
			if (spread(import, &space, &entries, loopback ? FV_ACCEPT : out->fallback, &again))
				speak_entries(import, out, &space, &entries);
			else if (entries.too_many)
				import->too_large = true;
			else if (!loopback)
				speak_absent(import, out, &space);
		}
	unite(import, out);
	remark_split(import, out);
}
