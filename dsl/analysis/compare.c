/*
 * Two policies compared.
 *
 * The meaning of a policy is what it decides; so the rules are made into boxes, and the boxes of both are walked down together
 * (dsl/decision/contrast.c). Rules that both have, however they are written, are recognised by their boxes first and matter only
 * where they meet a rule that one side has alone. Of what is no verdict, limits and modes count as differences of their own kind,
 * for they change what a host lets through; texts do not, and are told beside.
 */
#include "dsl/analysis/compare.h"
#include "dsl/decision/random.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <talloc.h>

enum strictness action_strictness(enum action action)
{
	switch (action) {
	case ACTION_ALLOW:
		return STRICT_ALLOW;
	case ACTION_REJECT:
		return STRICT_REJECT;
	case ACTION_DENY:
		return STRICT_DENY;
	}
	return STRICT_DENY;
}

enum verdict action_verdict(enum action action)
{
	switch (action) {
	case ACTION_ALLOW:
		return VERDICT_ALLOW;
	case ACTION_REJECT:
		return VERDICT_REJECT;
	case ACTION_DENY:
		return VERDICT_DENY;
	}
	return VERDICT_DENY;
}

bool rule_limited(const struct rule *rule)
{
	return rule->limit || rule->above || rule->has_connections;
}

enum verdict default_verdict(const struct policy *policy, enum direction direction, enum zone zone)
{
	const struct direction_policy *rest = &policy->directions[direction];
	if (!rest->managed)
		return VERDICT_UNMANAGED;
	return zone == ZONE_LOOPBACK ? VERDICT_ALLOW : action_verdict(rest->action);
}

static u128 mix(u128 hash, u128 value)
{
	uint64_t low = (uint64_t)hash ^ (uint64_t)value, high = (uint64_t)(hash >> 64) ^ (uint64_t)(value >> 64);
	low += random_step(&high);
	return (u128)high << 64 | random_step(&low);
}

u128 hash_box(const struct box *box, u128 hash, int skipped_field)
{
	hash = mix(hash, box->family);
	for (int field = 0; field < FIELDS; field++) {
		if (field == skipped_field)
			continue;
		hash = mix(hash, box->field[field].count);
		for (size_t i = 0; i < box->field[field].count; i++)
			hash = mix(mix(hash, box->field[field].at[i].first), box->field[field].at[i].last);
	}
	for (size_t i = 0; i < box->bit_count; i++)
		hash = mix(hash, (u128)box->bits[i].variable * 2 + box->bits[i].value + 1);
	return hash;
}

bool same_box(const struct box *a, const struct box *b, int skipped_field)
{
	if (a->family != b->family || a->bit_count != b->bit_count)
		return false;
	for (int field = 0; field < FIELDS; field++)
		if (field != skipped_field && !intervals_equal(a->field[field], b->field[field]))
			return false;
	for (size_t i = 0; i < a->bit_count; i++)
		if (a->bits[i].variable != b->bits[i].variable || a->bits[i].value != b->bits[i].value)
			return false;
	return true;
}

/* Boxes count in any order: their hashes are added up. */
static void name_form(const struct rule *rule, struct form *form)
{
	const struct rate *rates[] = {rule->limit, rule->above};
	u128 sum = 0, hash = mix((u128)rule->match.direction << 8 | (u128)rule->action << 4 | rule->log, 1);
	for (int zone = 0; zone < ZONES; zone++)
		for (size_t i = 0; i < form->boxes[zone].count; i++)
			sum += hash_box(&form->boxes[zone].at[i], (u128)zone + 2, -1);
	form->match = hash = mix(hash, sum);
	for (int i = 0; i < 2; i++) {
		const struct rate *rate = rates[i];
		hash = mix(hash, rate ? (u128)rate->count << 64 | rate->seconds : 0);
		hash = mix(hash, rate ? (u128)rate->burst << 8 | rate->per_source : 1);
	}
	form->meaning =
		mix(hash, rule->has_connections ? (u128)rule->connections << 8 | rule->connections_per_source << 1 | 1 : 0);
}

static int make_form(struct comparing *work, struct side *side, size_t index)
{
	const struct rule *rule = &side->policy->rules[index];
	struct form *form = &side->forms[index];
	int error = 0;
	for (int zone = 0; zone < ZONES && !error; zone++) {
		error = rule_boxes(work->ctx, &rule->match, (enum zone)zone, index, &form->boxes[zone]);
		for (size_t i = 0; i < form->boxes[zone].count && !error; i++)
			error = joint_box(work->ctx, &work->joint, side->policy, &form->boxes[zone].at[i]);
	}
	name_form(rule, form);
	return error;
}

static int make_side(struct comparing *work, struct side *side)
{
	int error = 0;
	side->forms = talloc_zero_array(work->ctx, struct form, side->policy->rule_count + 1);
	if (!side->forms)
		return -ENOMEM;
	for (size_t i = 0; i < side->policy->rule_count && !error; i++)
		error = make_form(work, side, i);
	return error;
}

struct named_form {
	u128 meaning;
	struct form *form;
	bool new;
};

static int by_meaning(const void *left, const void *right)
{
	const struct named_form *a = left, *b = right;
	if (a->meaning != b->meaning)
		return a->meaning < b->meaning ? -1 : 1;
	return (int)a->new - (int)b->new;
}

/* Of rules without a limit one is as good as several; a rule with a limit lets through as much again, so these are paired one to
 * one. */
static void share_equals(const struct named_form *at, size_t count, bool limited)
{
	size_t old = 0;
	while (old < count && !at[old].new)
		old++;
	size_t pairs = old < count - old ? old : count - old;
	for (size_t i = 0; i < count; i++) {
		size_t rank = at[i].new ? i - old : i;
		at[i].form->shared = limited ? rank < pairs : pairs > 0;
	}
}

static int share_forms(struct comparing *work)
{
	size_t old = work->old.policy->rule_count, new = work->new.policy->rule_count;
	struct named_form *all = talloc_array(work->ctx, struct named_form, old + new + 1);
	if (!all)
		return -ENOMEM;
	for (size_t i = 0; i < old + new; i++) {
		struct form *form = i < old ? &work->old.forms[i] : &work->new.forms[i - old];
		all[i] = (struct named_form){form->meaning, form, i >= old};
	}
	qsort(all, old + new, sizeof *all, by_meaning);
	for (size_t i = 0, next; i < old + new; i = next) {
		for (next = i + 1; next < old + new &&all[next].meaning == all[i].meaning; next++)
			;
		size_t index = (size_t)(all[i].form - (all[i].new ? work->new.forms : work->old.forms));
		share_equals(all + i, next - i, rule_limited(&(all[i].new ? work->new : work->old).policy->rules[index]));
	}
	talloc_free(all);
	return 0;
}

int side_search(struct comparing *work, const struct side *side, const struct pieces *pieces, bool over, unsigned wanted)
{
	void *scratch = talloc_new(work->ctx);
	struct candidate *candidates = NULL;
	int outcome = scratch ? 1 : -ENOMEM;
	for (size_t i = 0; i < pieces->count && outcome == 1; i++) {
		const struct piece *piece = &pieces->at[i];
		size_t count = 0, room = 0;
		for (size_t rule = 0; rule < side->policy->rule_count; rule++) {
			const struct rule *one = &side->policy->rules[rule];
			const struct boxes *boxes = &side->forms[rule].boxes[piece->zone];
			if (one->match.direction != piece->direction || one->above || (over && rule_limited(one)))
				continue;
			for (size_t k = 0; k < boxes->count; k++) {
				if (!boxes_overlap(&boxes->at[k], &piece->box))
					continue;
				if (count == room && !(candidates = talloc_realloc(
							       scratch, candidates, struct candidate, room = 2 * room + 16)))
					return -ENOMEM;
				candidates[count++] = (struct candidate){&boxes->at[k], action_strictness(one->action)};
			}
		}
		struct box witness;
		const struct question question = {.region = &piece->box,
			.candidates = candidates,
			.count = count,
			.wanted = wanted,
			.host_count = work->joint.host_count};
		outcome = search(scratch, &question, &work->spending, &witness);
	}
	talloc_free(scratch);
	return outcome;
}

static int add_setting(struct comparing *work, enum setting setting, enum direction direction)
{
	struct comparison *result = work->result;
	result->settings = talloc_realloc(result, result->settings, struct setting_difference, result->setting_count + 1);
	if (!result->settings)
		return -ENOMEM;
	result->settings[result->setting_count++] = (struct setting_difference){setting, direction};
	return 0;
}

static int compare_settings(struct comparing *work)
{
	int error = 0;
	for (int d = 0; d < DIRECTIONS && !error; d++) {
		const struct direction_policy *old = &work->old.policy->directions[d], *new = &work->new.policy->directions[d];
		if (old->managed != new->managed)
			error = add_setting(work, SETTING_MANAGED, (enum direction)d);
		/* A direction that is taken in hand without being enforced would look like one that is. */
		if (!error && new->managed && (old->managed ? old->mode : MODE_ENFORCE) != new->mode)
			error = add_setting(work, SETTING_MODE, (enum direction)d);
	}
	return error;
}

static bool same_words(const char *a, const char *b)
{
	return a == b || (a && b && !strcmp(a, b));
}

/* Does the policy say this text anywhere? */
static bool says(const struct policy *policy, const char *text, bool reason)
{
	if (!text)
		return true;
	for (size_t i = 0; i < policy->rule_count; i++)
		if (same_words(reason ? policy->rules[i].reason : policy->rules[i].log_text, text))
			return true;
	for (int d = 0; d < DIRECTIONS; d++)
		if (!reason && same_words(policy->directions[d].log_text, text))
			return true;
	return false;
}

static int add_text(void *ctx, struct because **list, size_t *count, struct because because)
{
	struct because *more = talloc_realloc(ctx, *list, struct because, *count + 1);
	if (!more)
		return -ENOMEM;
	*list = more;
	more[(*count)++] = because;
	return 0;
}

static int compare_texts(void *ctx, const struct policy *policy, const struct policy *other, struct because **list, size_t *count)
{
	int error = 0;
	for (int d = 0; d < DIRECTIONS && !error; d++) {
		const struct direction_policy *rest = &policy->directions[d];
		if (rest->managed && other->directions[d].managed && !says(other, rest->log_text, false))
			error = add_text(ctx, list, count, (struct because){.kind = BECAUSE_DEFAULT, .fallback = rest});
	}
	for (size_t i = 0; i < policy->rule_count && !error; i++) {
		const struct rule *rule = &policy->rules[i];
		if (!says(other, rule->reason, true) || !says(other, rule->log_text, false))
			error = add_text(ctx, list, count, (struct because){.kind = BECAUSE_RULE, .rule = rule});
	}
	return error;
}

/* What cannot be decided hangs on the rules that only one side has. */
static int name_undecided(struct comparing *work)
{
	const struct side *sides[] = {&work->old, &work->new};
	struct comparison *result = work->result;
	for (int s = 0; s < 2; s++)
		for (size_t i = 0; i < sides[s]->policy->rule_count; i++) {
			if (sides[s]->forms[i].shared)
				continue;
			result->undecided =
				talloc_realloc(result, result->undecided, const struct rule *, result->undecided_count + 1);
			if (!result->undecided)
				return -ENOMEM;
			result->undecided[result->undecided_count++] = &sides[s]->policy->rules[i];
		}
	return 2;
}

static int by_kind(const void *left, const void *right)
{
	const struct difference *a = left, *b = right;
	if (a->kind != b->kind)
		return (int)a->kind - (int)b->kind;
	if (a->direction != b->direction)
		return (int)a->direction - (int)b->direction;
	return a < b ? -1 : a > b;
}

static int compare_all(struct comparing *work)
{
	struct comparison *result = work->result;
	int outcome = make_side(work, &work->old);
	outcome = outcome ? outcome : make_side(work, &work->new);
	outcome = outcome ? outcome : share_forms(work);
	outcome = outcome ? outcome : compare_settings(work);
	outcome = outcome ? outcome : find_differences(work);
	outcome = outcome ? outcome : find_limit_differences(work);
	if (outcome == 2)
		return name_undecided(work);
	outcome =
		outcome ? outcome
			: compare_texts(result, work->old.policy, work->new.policy, &result->old_texts, &result->old_text_count);
	outcome =
		outcome ? outcome
			: compare_texts(result, work->new.policy, work->old.policy, &result->new_texts, &result->new_text_count);
	if (!outcome && result->count)
		qsort(result->differences, result->count, sizeof *result->differences, by_kind);
	return outcome;
}

bool comparison_empty(const struct comparison *comparison)
{
	return !comparison->count && !comparison->limit_count && !comparison->setting_count && !comparison->undecided_count;
}

int policies_compare(void *ctx, const struct policy *old, const struct policy *new, struct budget budget, struct comparison **out)
{
	const struct policy *const both[] = {old, new};
	struct comparing work = {.ctx = talloc_new(ctx), .old.policy = old, .new.policy = new};
	work.result = talloc_zero(ctx, struct comparison);
	*out = work.result;
	if (!work.ctx || !work.result)
		return -ENOMEM;
	work.result->old = old;
	work.result->new = new;
	spending_start(&work.spending, budget);
	int outcome = joint_new(work.ctx, both, 2, &work.joint);
	outcome = outcome ? outcome : vocabulary_new(work.ctx, both, 2, &work.joint, &work.vocabulary);
	outcome = outcome ? outcome : compare_all(&work);
	talloc_free(work.ctx);
	return outcome;
}
