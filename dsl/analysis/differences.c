/*
 * Where two policies decide differently.
 *
 * Direction by direction and zone by zone the boxes of both sides are put together. What both have is one contender for both;
 * what only one has is its own. Two boxes that differ in one field only (a list that has grown by a line) are cut into what they
 * share and what they do not, so that the walk sees the line and not the list; and of the shared boxes only those stay that meet
 * one of somebody's own.
 */
#include "dsl/analysis/compare.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <talloc.h>

#define OLD_VIEWS (1 << VIEW_OLD | 1 << VIEW_OLD_OVER)
#define NEW_VIEWS (1 << VIEW_NEW | 1 << VIEW_NEW_OVER)
#define CUT_WORK 200000000 /* pairs of boxes to compare; beyond, all stay */

struct field_of_play { /* one direction and zone */
	struct comparing *work;
	void *ctx;
	enum direction direction;
	enum zone zone;
	struct box *boxes;
	struct contender *contenders;
	size_t count, room;
};

static int add_contender(struct field_of_play *play, const struct box *box, unsigned char level, unsigned char views)
{
	if (play->count == play->room) {
		size_t room = play->room ? play->room * 2 : 64;
		struct box *boxes = talloc_realloc(play->ctx, play->boxes, struct box, room);
		if (boxes)
			play->boxes = boxes;
		struct contender *contenders = talloc_realloc(play->ctx, play->contenders, struct contender, room);
		if (contenders)
			play->contenders = contenders;
		if (!boxes || !contenders)
			return -ENOMEM;
		play->room = room;
	}
	play->boxes[play->count] = *box;
	play->contenders[play->count++] = (struct contender){NULL, level, views};
	return 0;
}

static int add_side(struct field_of_play *play, const struct side *side, bool new)
{
	int error = 0;
	for (size_t i = 0; i < side->policy->rule_count && !error; i++) {
		const struct rule *rule = &side->policy->rules[i];
		const struct boxes *boxes = &side->forms[i].boxes[play->zone];
		unsigned views = rule_limited(rule) ? 1u << (new ? VIEW_NEW : VIEW_OLD) : new ? NEW_VIEWS : OLD_VIEWS;
		if (rule->match.direction != play->direction || rule->above)
			continue;
		for (size_t k = 0; k < boxes->count && !error; k++)
			error = add_contender(
				play, &boxes->at[k], LEVEL_OF(action_strictness(rule->action), rule->log), (unsigned char)views);
	}
	return error;
}

struct keyed {
	u128 key;
	size_t index;
};

static int by_key(const void *left, const void *right)
{
	const struct keyed *a = left, *b = right;
	if (a->key != b->key)
		return a->key < b->key ? -1 : 1;
	return (a->index > b->index) - (a->index < b->index);
}

static bool shared(const struct contender *one)
{
	return !(one->views & 1 << VIEW_OLD) == !(one->views & 1 << VIEW_NEW) &&
	       !(one->views & 1 << VIEW_OLD_OVER) == !(one->views & 1 << VIEW_NEW_OVER);
}

static struct keyed *sort_keys(void *ctx, const struct field_of_play *play, int skipped_field)
{
	struct keyed *keys = talloc_array(ctx, struct keyed, play->count + 1);
	for (size_t i = 0; i < play->count && keys; i++)
		keys[i] = (struct keyed){hash_box(&play->boxes[i], play->contenders[i].level, skipped_field), i};
	if (keys)
		qsort(keys, play->count, sizeof *keys, by_key);
	return keys;
}

static void drop(struct field_of_play *play, const bool *gone)
{
	size_t kept = 0;
	for (size_t i = 0; i < play->count; i++) {
		if (gone[i])
			continue;
		play->boxes[kept] = play->boxes[i];
		play->contenders[kept++] = play->contenders[i];
	}
	play->count = kept;
}

/* Equal boxes of equal level are one, in the views of all of them. */
static int join_equals(struct field_of_play *play)
{
	struct keyed *keys = sort_keys(play->ctx, play, -1);
	bool *gone = talloc_zero_array(play->ctx, bool, play->count + 1);
	if (!keys || !gone)
		return -ENOMEM;
	for (size_t i = 1, head = 0; i < play->count; i++) {
		size_t first = keys[head].index, one = keys[i].index;
		if (keys[i].key != keys[head].key || play->contenders[first].level != play->contenders[one].level ||
			!same_box(&play->boxes[first], &play->boxes[one], -1)) {
			head = i;
			continue;
		}
		play->contenders[first].views |= play->contenders[one].views;
		gone[one] = true;
	}
	drop(play, gone);
	return 0;
}

static bool mirrored(const struct contender *old, const struct contender *new)
{
	return old->level == new->level && !(old->views & NEW_VIEWS) && !(new->views &OLD_VIEWS) &&
	       (old->views & OLD_VIEWS) << 1 == new->views;
}

/* The shared part becomes a contender of both, each keeps the rest. */
static int split_pair(struct field_of_play *play, size_t old, size_t new, int field, bool *gone)
{
	struct box common = play->boxes[old];
	struct intervals left = play->boxes[old].field[field], right = play->boxes[new].field[field];
	unsigned char views = play->contenders[old].views | play->contenders[new].views;
	int error = intervals_intersect(play->ctx, left, right, &common.field[field]);
	error = error ? error : intervals_subtract(play->ctx, left, right, &play->boxes[old].field[field]);
	error = error ? error : intervals_subtract(play->ctx, right, left, &play->boxes[new].field[field]);
	gone[old] = !play->boxes[old].field[field].count;
	gone[new] = !play->boxes[new].field[field].count;
	return error || !common.field[field].count ? error : add_contender(play, &common, play->contenders[old].level, views);
}

static int split_along(struct field_of_play *play, int field)
{
	struct keyed *keys = sort_keys(play->ctx, play, field);
	size_t count = play->count;
	bool *gone = talloc_zero_array(play->ctx, bool, 2 * count + 1);
	int error = keys && gone ? 0 : -ENOMEM;
	for (size_t i = 0, next; i < count && !error; i = next) {
		size_t old = SIZE_MAX, new = SIZE_MAX, olds = 0, news = 0;
		for (next = i; next < count && keys[next].key == keys[i].key; next++) {
			const struct contender *one = &play->contenders[keys[next].index];
			if (shared(one))
				continue;
			if (one->views & OLD_VIEWS)
				old = keys[next].index, olds++;
			else
				new = keys[next].index, news++;
		}
		if (olds == 1 && news == 1 && mirrored(&play->contenders[old], &play->contenders[new]) &&
			same_box(&play->boxes[old], &play->boxes[new], field))
			error = split_pair(play, old, new, field, gone);
	}
	if (!error)
		drop(play, gone);
	talloc_free(keys);
	talloc_free(gone);
	return error;
}

/* Over its limit a rule of both leaves its packets to the defaults, which may differ. */
static bool falls_apart(const struct field_of_play *play, const struct contender *one)
{
	const struct policy *old = play->work->old.policy, *new = play->work->new.policy;
	return !(one->views & (1 << VIEW_OLD_OVER | 1 << VIEW_NEW_OVER)) &&
	       default_verdict(old, play->direction, play->zone) != default_verdict(new, play->direction, play->zone);
}

static int cut_to_what_matters(struct field_of_play *play)
{
	bool *gone = talloc_zero_array(play->ctx, bool, play->count + 1),
	     *alone = talloc_zero_array(play->ctx, bool, play->count + 1);
	size_t *own = talloc_array(play->ctx, size_t, play->count + 1), count = 0;
	if (!gone || !own || !alone)
		return -ENOMEM;
	for (size_t i = 0; i < play->count; i++) {
		alone[i] = !shared(&play->contenders[i]) || falls_apart(play, &play->contenders[i]);
		if (alone[i])
			own[count++] = i;
	}
	if (count && play->count > CUT_WORK / count)
		return 0;
	for (size_t i = 0; i < play->count; i++) {
		bool matters = alone[i];
		for (size_t k = 0; k < count && !matters; k++)
			matters = boxes_overlap(&play->boxes[i], &play->boxes[own[k]]);
		gone[i] = !matters;
	}
	drop(play, gone);
	return 0;
}

static int gather(struct field_of_play *play)
{
	static const int fields[] = {
		FIELD_SOURCE, FIELD_DESTINATION, FIELD_SERVICE, FIELD_SOURCE_PORT, FIELD_USER, FIELD_ARRIVING, FIELD_LEAVING};
	int error = add_side(play, &play->work->old, false);
	error = error ? error : add_side(play, &play->work->new, true);
	error = error ? error : join_equals(play);
	for (size_t i = 0; i < sizeof fields / sizeof *fields && !error; i++)
		error = split_along(play, fields[i]);
	return error;
}

static void set_outcomes(const struct field_of_play *play, struct contrast *contrast)
{
	static const unsigned char verdicts[] = {VERDICT_ALLOW, VERDICT_ALLOW, VERDICT_REJECT, VERDICT_DENY};
	for (int view = 0; view < VIEWS; view++) {
		const struct policy *policy = (view % 2 ? &play->work->new : &play->work->old)->policy;
		const struct direction_policy *rest = &policy->directions[play->direction];
		for (int level = 2; level < LEVELS; level++)
			contrast->outcomes[view][level] = (struct outcome){verdicts[level / 2], level % 2};
		contrast->outcomes[view][0] = contrast->outcomes[view][1] =
			(struct outcome){(unsigned char)default_verdict(policy, play->direction, play->zone),
				play->zone == ZONE_WORLD && rest->managed && rest->log};
	}
}

static int contrast_region(struct field_of_play *play, const struct box *region, const struct contrast *like,
	struct spending *spending, struct contrast_boxes *out)
{
	struct contender *inside = talloc_array(play->ctx, struct contender, play->count + 1);
	struct contrast contrast = *like;
	contrast.region = region;
	contrast.contenders = inside;
	contrast.host_count = play->work->joint.host_count;
	if (!inside)
		return -ENOMEM;
	for (size_t i = 0; i < play->count; i++) {
		if (!boxes_overlap(region, &play->boxes[i]))
			continue;
		inside[contrast.count] = play->contenders[i];
		inside[contrast.count++].box = &play->boxes[i];
	}
	set_outcomes(play, &contrast);
	return contrast_find(play->ctx, &contrast, spending, out);
}

/* Classes of packets that have the same said of them. */

struct classes {
	struct outcome_class *at;
	size_t count;
};

static bool same_outcome(struct outcome a, struct outcome b)
{
	return a.verdict == b.verdict && a.log == b.log;
}

static int add_to_class(void *ctx, struct classes *classes, enum difference_kind kind, struct outcome old, struct outcome new,
	const struct piece *piece)
{
	size_t i = 0;
	while (i < classes->count &&
		!(!classes->at[i].rest && classes->at[i].kind == kind && classes->at[i].direction == piece->direction &&
			same_outcome(classes->at[i].old, old) && same_outcome(classes->at[i].new, new)))
		i++;
	if (i == classes->count) {
		struct outcome_class *more = talloc_realloc(ctx, classes->at, struct outcome_class, i + 1);
		if (!more)
			return -ENOMEM;
		classes->at = more;
		classes->at[classes->count++] =
			(struct outcome_class){.kind = kind, .direction = piece->direction, .old = old, .new = new};
	}
	return piece_add(ctx, &classes->at[i].pieces, piece);
}

static enum difference_kind kind_of(struct outcome old, struct outcome new)
{
	if (new.verdict == VERDICT_ALLOW)
		return DIFFERENCE_ALLOWED;
	if (old.verdict == VERDICT_ALLOW)
		return DIFFERENCE_DENIED;
	return new.verdict == VERDICT_REJECT ? DIFFERENCE_REJECTED : DIFFERENCE_SILENCED;
}

static enum difference_kind over_kind(struct outcome old, struct outcome new)
{
	return new.verdict == VERDICT_ALLOW   ? DIFFERENCE_UNLIMITED
	       : old.verdict == VERDICT_ALLOW ? DIFFERENCE_LIMITED
					      : DIFFERENCE_OVER;
}

static int classify(
	void *ctx, struct classes *classes, const struct contrast_box *found, enum direction direction, enum zone zone)
{
	const struct piece piece = {direction, zone, found->box};
	const struct outcome *in = found->within, *over = found->over;
	const struct outcome silent = {LEVEL_NONE, false}, logged = {LEVEL_NONE, true};
	int error = 0;
	if (found->verdict_differs)
		error = add_to_class(ctx, classes, kind_of(in[0], in[1]), (struct outcome){in[0].verdict, false},
			(struct outcome){in[1].verdict, false}, &piece);
	if (!error && found->log_differs)
		error = in[1].log ? add_to_class(ctx, classes, DIFFERENCE_LOGGED, silent, logged, &piece)
				  : add_to_class(ctx, classes, DIFFERENCE_UNLOGGED, logged, silent, &piece);
	if (!error && found->over_differs)
		error = add_to_class(ctx, classes, over_kind(over[0], over[1]), over[0], over[1], &piece);
	return error;
}

static int contrast_all(struct field_of_play *play, bool rest, struct spending *spending, struct classes *classes)
{
	const struct contrast all = {.rest = rest};
	struct pieces regions = {0};
	struct contrast_boxes found = {0};
	int outcome = whole_pieces(play->ctx, play->direction, play->zone, &regions);
	for (size_t i = 0; i < regions.count && !outcome; i++)
		outcome = contrast_region(play, &regions.at[i].box, &all, spending, &found);
	for (size_t i = 0; i < found.count && !outcome; i++)
		outcome = classify(play->ctx, classes, &found.at[i], play->direction, play->zone);
	return outcome;
}

/* What neither has a rule for.  0: there is a packet, 1: there is none; 2; -ENOMEM. */
static int find_rest(struct field_of_play *play, struct piece *witness)
{
	struct pieces regions = {0};
	struct candidate *candidates = talloc_array(play->ctx, struct candidate, play->count + 1);
	int outcome = candidates ? whole_pieces(play->ctx, play->direction, play->zone, &regions) : -ENOMEM;
	outcome = outcome ? outcome : 1;
	for (size_t i = 0; i < regions.count && outcome == 1; i++) {
		struct question question = {.region = &regions.at[i].box,
			.candidates = candidates,
			.wanted = 1 << STRICT_DEFAULT,
			.host_count = play->work->joint.host_count};
		for (size_t k = 0; k < play->count; k++)
			if (boxes_overlap(question.region, &play->boxes[k]))
				candidates[question.count++] = (struct candidate){&play->boxes[k], STRICT_ALLOW};
		*witness = regions.at[i];
		outcome = search(play->ctx, &question, &play->work->spending, &witness->box);
	}
	return outcome;
}

/* The defaults differ: small policies can still be told set by set. */
#define REST_BUDGET ((struct budget){.nodes = 20000, .bytes = (size_t)16 << 20, .seconds = 0.3})
#define REST_SETS 6

static int few_sets(void *ctx, const struct classes *classes)
{
	for (size_t i = 0; i < classes->count; i++) {
		struct packet_sets sets;
		if (classes->at[i].pieces.count > 500)
			return 0;
		int error = sets_from_pieces(ctx, &classes->at[i].pieces, &sets);
		if (error || sets.count > REST_SETS)
			return error;
	}
	return 1;
}

static int add_rest(struct field_of_play *play, struct outcome old, struct outcome new, struct classes *classes)
{
	struct piece witness;
	int outcome = find_rest(play, &witness);
	if (outcome)
		return outcome == 1 ? 0 : outcome;
	enum difference_kind kind = old.verdict != new.verdict ? kind_of(old, new)
				    : new.log		       ? DIFFERENCE_LOGGED
							       : DIFFERENCE_UNLOGGED;
	struct outcome_class class = {.kind = kind, .direction = play->direction, .old = old, .new = new, .rest = true};
	struct outcome_class *more = talloc_realloc(play->ctx, classes->at, struct outcome_class, classes->count + 1);
	if (!more)
		return -ENOMEM;
	classes->at = more;
	outcome = piece_add(play->ctx, &class.pieces, &witness);
	more[classes->count++] = class;
	return outcome;
}

static struct outcome rest_outcome(const struct field_of_play *play, const struct policy *policy)
{
	enum verdict verdict = default_verdict(policy, play->direction, play->zone);
	return (struct outcome){(unsigned char)(verdict == VERDICT_UNMANAGED ? VERDICT_ALLOW : verdict),
		play->zone == ZONE_WORLD && policy->directions[play->direction].managed &&
			policy->directions[play->direction].log};
}

/*
 * Too much to be found set by set.  A packet that is decided anew is so by a rule that one side has alone, so for each of these
 * it is enough to know whether there is one in it: which they are is said by the rule and by what the other side decided.
 */
#define SAMPLED_RULES 64
#define SAMPLE_SECONDS 3

static int sample(struct field_of_play *play, const struct rule *rule, const struct pieces *pieces, struct contrast *goal,
	enum difference_kind kind, struct classes *classes)
{
	struct contrast_boxes found = {0};
	struct outcome_class class = {
		.kind = kind, .direction = play->direction, .old = goal->goal_old, .new = goal->goal_new, .part = rule};
	int outcome = 0;
	for (size_t i = 0; i < pieces->count && !outcome && !found.count; i++)
		if (pieces->at[i].zone == play->zone)
			outcome = contrast_region(play, &pieces->at[i].box, goal, &play->work->spending, &found);
	if (outcome || !found.count)
		return outcome;
	if (goal->goal == GOAL_OVER) {
		class.old = found.at[0].over[0];
		class.new = found.at[0].over[1];
		class.kind = over_kind(class.old, class.new);
	}
	struct outcome_class *more = talloc_realloc(play->ctx, classes->at, struct outcome_class, classes->count + 1);
	if (!more)
		return -ENOMEM;
	classes->at = more;
	outcome = piece_add(play->ctx, &class.pieces, &(struct piece){play->direction, play->zone, found.at[0].box});
	more[classes->count++] = class;
	return outcome;
}

/* Without a limit there is nothing over one. */
static bool any_limit(const struct field_of_play *play)
{
	for (size_t i = 0; i < play->count; i++)
		if (!(play->contenders[i].views >> VIEW_OLD_OVER))
			return true;
	return false;
}

static int sample_rule(struct field_of_play *play, const struct side *side, const struct rule *rule, struct classes *classes)
{
	static const unsigned char verdicts[] = {VERDICT_ALLOW, VERDICT_DENY, VERDICT_REJECT};
	bool new = side == &play->work->new;
	struct outcome own = {(unsigned char)action_verdict(rule->action), false};
	struct pieces pieces = {0};
	int outcome = match_pieces(play->ctx, &rule->match, &pieces);
	for (size_t i = 0; i < pieces.count && !outcome; i++)
		outcome = joint_box(play->ctx, &play->work->joint, side->policy, &pieces.at[i].box);
	for (int i = 0; i < 3 && !outcome; i++) {
		struct outcome other = {verdicts[i], false};
		struct contrast goal = {.goal = GOAL_VERDICT, .goal_old = new ? other : own, .goal_new = new ? own : other};
		if (other.verdict != own.verdict)
			outcome = sample(play, rule, &pieces, &goal, kind_of(goal.goal_old, goal.goal_new), classes);
	}
	for (int logs = 0; logs < 2 && !outcome; logs++) {
		struct contrast goal = {.goal = GOAL_LOG, .goal_old = {LEVEL_NONE, !logs}, .goal_new = {LEVEL_NONE, logs}};
		outcome = sample(play, rule, &pieces, &goal, logs ? DIFFERENCE_LOGGED : DIFFERENCE_UNLOGGED, classes);
	}
	struct contrast over = {.goal = GOAL_OVER};
	return outcome || !any_limit(play) ? outcome : sample(play, rule, &pieces, &over, DIFFERENCE_OVER, classes);
}

static int sample_all(struct field_of_play *play, struct classes *classes)
{
	const struct side *sides[] = {&play->work->new, &play->work->old};
	struct budget budget = play->work->spending.budget;
	size_t asked = 0;
	int outcome = 0;
	budget.seconds = SAMPLE_SECONDS;
	spending_start(&play->work->spending, budget);
	for (int s = 0; s < 2; s++)
		for (size_t i = 0; i < sides[s]->policy->rule_count && !outcome; i++) {
			const struct rule *rule = &sides[s]->policy->rules[i];
			if (sides[s]->forms[i].shared || rule->match.direction != play->direction || rule->above)
				continue;
			outcome = ++asked > SAMPLED_RULES ? 2 : sample_rule(play, sides[s], rule, classes);
		}
	return outcome;
}

/* All of it where that is not too much. */
#define WHOLE_BUDGET ((struct budget){.nodes = 1000000, .bytes = (size_t)96 << 20, .seconds = 4})

static int find_or_sample(struct field_of_play *play, struct classes *classes)
{
	struct spending spending;
	struct classes before = *classes;
	spending_start(&spending, WHOLE_BUDGET);
	int outcome = contrast_all(play, false, &spending, classes);
	if (outcome != 2)
		return outcome;
	*classes = before;
	return sample_all(play, classes);
}

static int play_with_defaults(struct field_of_play *play, struct outcome old, struct outcome new, struct classes *classes)
{
	struct spending spending;
	struct classes tried = {0};
	spending_start(&spending, REST_BUDGET);
	int outcome = contrast_all(play, true, &spending, &tried);
	int few = outcome ? 0 : few_sets(play->ctx, &tried);
	if (few > 0)
		*classes = tried;
	if (few || outcome == -ENOMEM)
		return few < 0 ? few : outcome;
	outcome = add_rest(play, old, new, classes);
	outcome = outcome ? outcome : cut_to_what_matters(play);
	return outcome ? outcome : find_or_sample(play, classes);
}

static int play_out(struct field_of_play *play)
{
	struct outcome old = rest_outcome(play, play->work->old.policy), new = rest_outcome(play, play->work->new.policy);
	struct classes classes = {0};
	bool same = old.verdict == new.verdict &&old.log == new.log;
	int outcome = gather(play);
	if (!outcome && same)
		outcome = cut_to_what_matters(play);
	if (!outcome)
		outcome = same ? find_or_sample(play, &classes) : play_with_defaults(play, old, new, &classes);
	play->work->changed = (struct pieces){0};
	for (size_t i = 0; i < classes.count && !outcome; i++)
		for (size_t k = 0; k < classes.at[i].pieces.count && classes.at[i].kind < DIFFERENCE_LIMITED && !outcome; k++)
			outcome = piece_add(play->ctx, &play->work->changed, &classes.at[i].pieces.at[k]);
	for (size_t i = 0; i < classes.count && !outcome; i++)
		outcome = describe_class(play->work, &classes.at[i]);
	return outcome;
}

int find_differences(struct comparing *work)
{
	int outcome = 0;
	for (int direction = 0; direction < DIRECTIONS; direction++)
		for (int zone = 0; zone < ZONES && !outcome; zone++) {
			struct field_of_play play = {
				.work = work, .ctx = work->ctx, .direction = (enum direction)direction, .zone = (enum zone)zone};
			if (direction != DIRECTION_FORWARD || zone != ZONE_LOOPBACK)
				outcome = play_out(&play);
		}
	return outcome;
}
