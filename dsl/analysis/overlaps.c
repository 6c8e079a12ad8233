/*
 * Overlaps of an allow with a stricter rule that look unintended.
 *
 * That a deny takes a part of an allow is how the language is meant to be used: a blocklist cuts the addresses of broad allows, a
 * guard cuts a port or a network out of them. What is seldom meant is
 *
 *   ranges that cross: 8000-8100 allowed, 8050-8200 denied. Neither is an exception to the other;
 *   an exception the wrong way round: some traffic is denied for a network, and more traffic is allowed for a smaller network
 * inside it. In a language of ordered rules the smaller would win, here it does not.
 *
 * A stricter rule that says why it stands (`reason`) is taken to be meant.
 */
#include "dsl/analysis/review.h"
#include <errno.h>
#include <talloc.h>

/* One interval of each that overlap so that neither holds the other. A set that reaches an end of the numbers is most likely an
 * `except`. */
static bool cross(struct intervals a, struct intervals b, u128 last)
{
	if (!a.count || !b.count || a.at[0].first == 0 || b.at[0].first == 0 || a.at[a.count - 1].last == last ||
		b.at[b.count - 1].last == last)
		return false;
	for (size_t i = 0, k = 0; i < a.count && k < b.count;) {
		const struct interval *x = &a.at[i], *y = &b.at[k];
		if (x->first < y->first && y->first <= x->last && x->last < y->last)
			return true;
		if (y->first < x->first && x->first <= y->last && y->last < x->last)
			return true;
		if (x->last < y->last)
			i++;
		else
			k++;
	}
	return false;
}

/* Plain sets have one term without host names. */
static const struct address_term *plain(const struct addresses *addresses)
{
	return addresses->count == 1 && !addresses->terms[0].literal_count ? addresses->terms : NULL;
}

static const u128 address_last[FAMILIES] = {0xffffffff, U128_MAX};

static bool addresses_cross(const struct addresses *a, const struct addresses *b)
{
	const struct address_term *x = plain(a), *y = plain(b);
	for (int family = 0; family < FAMILIES && x && y; family++)
		if (cross(x->of[family], y->of[family], address_last[family]))
			return true;
	return false;
}

static bool matches_cross(const struct match *a, const struct match *b)
{
	return cross(a->traffic.tcp, b->traffic.tcp, 65535) || cross(a->traffic.udp, b->traffic.udp, 65535) ||
	       cross(a->traffic.sctp, b->traffic.sctp, 65535) || addresses_cross(&a->from, &b->from) ||
	       addresses_cross(&a->to, &b->to);
}

enum relation { RELATION_NONE, RELATION_WITHIN, RELATION_SMALLER };

/* Of what a rule allows to what a stricter one speaks of. The wider is a network or several, and no `any` or `any except`. */
static enum relation within(const struct addresses *inner, const struct addresses *outer)
{
	const struct address_term *x = plain(inner), *y = plain(outer);
	bool smaller = true, any = false;
	if (!x || !y)
		return RELATION_NONE;
	for (int family = 0; family < FAMILIES; family++) {
		struct intervals in = x->of[family], out = y->of[family];
		if (!intervals_cover(out, in))
			return RELATION_NONE;
		any |= in.count != 0;
		smaller &= !in.count || (!intervals_equal(in, out) && out.at[0].first != 0 &&
						out.at[out.count - 1].last != address_last[family]);
	}
	return any && smaller ? RELATION_SMALLER : RELATION_WITHIN;
}

static bool wrong_way_round(const struct match *allow, const struct match *stricter)
{
	enum relation from = within(&allow->from, &stricter->from), to = within(&allow->to, &stricter->to);
	if (!from || !to || (from != RELATION_SMALLER && to != RELATION_SMALLER))
		return false;
	return !stricter->interface_named && stricter->by.any && !stricter->source_port_named;
}

/* A packet of the allow that the stricter rule takes. 1: none was found. */
static int example(struct review *review, const struct rule *allow, const struct rule *stricter, struct answer *out)
{
	struct match both = allow->match;
	struct traffic *traffic = &both.traffic;
	const struct traffic *other = &stricter->match.traffic;
	struct intervals *const sets[] = {
		&traffic->tcp, &traffic->udp, &traffic->sctp, &traffic->icmp, &traffic->icmpv6, &traffic->others};
	const struct intervals others[] = {other->tcp, other->udp, other->sctp, other->icmp, other->icmpv6, other->others};
	const struct addresses *ends[] = {&stricter->match.from, &stricter->match.to};
	struct addresses *own[] = {&both.from, &both.to};
	struct answer answers[4];
	size_t count = 0;
	int error = 0;
	for (size_t i = 0; i < sizeof sets / sizeof *sets && !error; i++)
		error = intervals_intersect(review->ctx, *sets[i], others[i], sets[i]);
	for (int end = 0; end < 2 && !error; end++) {
		if (!plain(own[end]) || !plain(ends[end]))
			return 1;
		struct address_term *term = talloc_zero(review->ctx, struct address_term);
		for (int family = 0; family < FAMILIES && term && !error; family++)
			error = intervals_intersect(
				review->ctx, own[end]->terms->of[family], ends[end]->terms->of[family], &term->of[family]);
		*own[end] = (struct addresses){term, 1};
		error = term ? error : -ENOMEM;
	}
	const struct budget budget = {.nodes = 20000, .bytes = (size_t)16 << 20, .seconds = 1};
	error = error ? error : decide(review->ctx, review->decision, &both, budget, answers, &count);
	for (size_t i = 0; i < count && !error; i++)
		if (answers[i].because.kind == BECAUSE_RULE && answers[i].because.rule == stricter) {
			*out = answers[i];
			return 0;
		}
	return error < 0 ? error : 1;
}

static int report_overlap(struct review *review, const struct rule *allow, const struct rule *stricter, bool crossing)
{
	struct answer answer;
	int outcome = example(review, allow, stricter, &answer);
	if (outcome)
		return outcome < 0 ? outcome : 0;
	char *packet = packet_text(review->ctx, review->policy, &answer.packet);
	if (!packet)
		return -ENOMEM;
	struct diagnostic *one = report_warning(review->diagnostics, "W109", allow->span,
		"a stricter rule takes a part of this rule: `%s` is %s%s", packet,
		stricter->action == ACTION_DENY ? "denied" : "rejected",
		crossing ? "; their ranges cross" : ", though this rule is for fewer addresses");
	diagnostic_related(review->diagnostics, one, stricter->span, "this one");
	diagnostic_hint(review->diagnostics, one,
		"the stricter rule wins wherever it stands: narrow one of them, or give its `reason` if it is meant");
	return 0;
}

static int look_at_pair(struct review *review, const struct rule *allow, const struct rule *stricter, bool *found)
{
	const struct match *a = &allow->match, *b = &stricter->match;
	if (match_disjoint(a, b))
		return 0;
	bool crossing = matches_cross(a, b);
	if (!crossing && !wrong_way_round(a, b))
		return 0;
	*found = true;
	return report_overlap(review, allow, stricter, crossing);
}

int review_overlaps(struct review *review)
{
	const struct policy *policy = review->policy;
	int error = 0;
	for (size_t i = 0; i < policy->rule_count && !error; i++) {
		const struct rule *allow = &policy->rules[i];
		bool found = false;
		if (allow->action != ACTION_ALLOW || review->silent[i] || review->partly[i] || !rule_judged(review, allow) ||
			!review_spend(review, policy->rule_count))
			continue;
		for (size_t k = 0; k < policy->rule_count && !found && !error; k++) {
			const struct rule *stricter = &policy->rules[k];
			if (rule_stricter(stricter, allow) && !stricter->above && !stricter->reason && !review->silent[k] &&
				rule_judged(review, stricter))
				error = look_at_pair(review, allow, stricter, &found);
		}
	}
	return error;
}
