/*
 * From a class of packets to what is said of it: few sets, an example of each, and the lines behind them.
 *
 * Where the packets are those of rules that changed, their own words say it best. They are taken where they need no
 * more sets than joining boxes does; what they leave is joined.
 */
#include "dsl/analysis/compare.h"
#include <errno.h>
#include <string.h>
#include <talloc.h>

#define SETS_FEW 6 /* more of one class, or one in more words than these, are told by the rules that made them */
#define WORDS_FEW 160
#define OWN_WORDS_PIECES 2000 /* a class of more is told by its boxes */
#define BRIEF 6		      /* items of a list that a reader is shown */

/* A set to be told, and where it lies. */
struct told {
	struct packet_set set; /* unless it is said in a rule's words */
	const char *words;
	struct pieces pieces;
	bool partial; /* the pieces are a part of what the words say */
};
struct tellings {
	struct told *at;
	size_t count;
};

static int tell(void *ctx, struct tellings *list, const struct told *told)
{
	struct told *more = talloc_realloc(ctx, list->at, struct told, list->count + 1);
	if (!more)
		return -ENOMEM;
	list->at = more;
	more[list->count++] = *told;
	return 0;
}

/* The same words mean something else on the other side: they would tell the reader nothing. */
static bool words_mislead(const struct comparing *work, const struct side *other, const struct rule *rule, const char *words)
{
	if (vocabulary_ambiguous(work->vocabulary, rule->written))
		return true;
	for (size_t i = 0; i < other->policy->rule_count; i++) {
		const struct rule *one = &other->policy->rules[i];
		if (other->forms[i].shared || one->match.direction != rule->match.direction)
			continue;
		char *same = match_text(work->ctx, one->written);
		if (same && !strcmp(same, words))
			return true;
	}
	return false;
}

static int rule_pieces(struct comparing *work, const struct side *side, const struct rule *rule, struct pieces *out)
{
	int error = match_pieces(work->ctx, &rule->match, out);
	for (size_t i = 0; i < out->count && !error; i++)
		error = joint_box(work->ctx, &work->joint, side->policy, &out->at[i].box);
	return error;
}

static int add_own_words(struct comparing *work, const struct side *side, const struct side *other,
	const struct outcome_class *class, struct tellings *out)
{
	int error = 0;
	for (size_t i = 0; i < side->policy->rule_count && !error; i++) {
		const struct rule *rule = &side->policy->rules[i];
		struct told told = {0};
		if (side->forms[i].shared || rule->match.direction != class->direction)
			continue;
		error = rule_pieces(work, side, rule, &told.pieces);
		if (error || !told.pieces.count)
			continue;
		int covered = pieces_cover(work->ctx, &class->pieces, &told.pieces);
		error = covered < 0 ? covered : 0;
		if (covered <= 0)
			continue;
		told.words = match_text(work->ctx, rule->written);
		if (!told.words)
			return -ENOMEM;
		if (!words_mislead(work, other, rule, told.words))
			error = tell(work->ctx, out, &told);
	}
	return error;
}

/* Of two that say the same, or one more than the other, the larger stays. */
static int drop_covered(void *ctx, struct tellings *list)
{
	bool *gone = talloc_zero_array(ctx, bool, list->count + 1);
	size_t kept = 0;
	int error = gone ? 0 : -ENOMEM;
	for (size_t i = 0; i < list->count && !error; i++)
		for (size_t k = 0; k < list->count && !gone[i] && !error; k++) {
			if (k == i || gone[k])
				continue;
			int covered = pieces_cover(ctx, &list->at[k].pieces, &list->at[i].pieces);
			error = covered < 0 ? covered : 0;
			gone[i] = covered > 0;
		}
	for (size_t i = 0; i < list->count && !error; i++)
		if (!gone[i])
			list->at[kept++] = list->at[i];
	list->count = error ? list->count : kept;
	return error;
}

static int tell_pieces(struct comparing *work, const struct pieces *pieces, struct tellings *out)
{
	struct packet_sets sets;
	int error = sets_from_pieces(work->ctx, pieces, &sets);
	error = error ? error : sets_widen(work->ctx, &sets);
	error = error ? error : sets_divide(work->ctx, work->vocabulary, &sets);
	for (size_t i = 0; i < sets.count && !error; i++) {
		struct told told = {.set = sets.at[i]};
		error = set_pieces(work->ctx, &told.set, &told.pieces);
		error = error ? error : tell(work->ctx, out, &told);
	}
	return error;
}

/* What the words of rules leave.  1: too many pieces to say. */
static int tell_rest(struct comparing *work, const struct outcome_class *class, struct tellings *out)
{
	struct pieces left = class->pieces;
	int error = 0;
	for (size_t i = 0; i < out->count && !error; i++)
		error = pieces_subtract(work->ctx, &left, &out->at[i].pieces, &left);
	return error ? error : tell_pieces(work, &left, out);
}

/* A set that is just what a rule says gets its words. */
static int borrow_words(void *ctx, struct tellings *sets, const struct tellings *own)
{
	for (size_t i = 0; i < sets->count; i++)
		for (size_t k = 0; k < own->count && !sets->at[i].words; k++) {
			int inside = pieces_cover(ctx, &sets->at[i].pieces, &own->at[k].pieces);
			int around = inside > 0 ? pieces_cover(ctx, &own->at[k].pieces, &sets->at[i].pieces) : 0;
			if (inside < 0 || around < 0)
				return -ENOMEM;
			if (around)
				sets->at[i].words = own->at[k].words;
		}
	return 0;
}

static int cut_pieces(void *ctx, const struct pieces *pieces, const struct pieces *by, struct pieces *out)
{
	for (size_t i = 0; i < pieces->count; i++)
		for (size_t k = 0; k < by->count; k++) {
			struct piece part = pieces->at[i];
			if (part.zone != by->at[k].zone)
				continue;
			int outcome = box_intersect(ctx, &pieces->at[i].box, &by->at[k].box, &part.box);
			if (outcome < 0 || (!outcome && piece_add(ctx, out, &part)))
				return -ENOMEM;
		}
	return 0;
}

/*
 * A packet that is decided anew is so by a rule that one side has alone: one of the new side that gives the new verdict, or one
 * of the old that gave the old one. So each of these rules can stand for its part.
 */
static int tell_by_rules(struct comparing *work, const struct side *side, const struct side *other,
	const struct outcome_class *class, enum verdict verdict, struct pieces *left, struct tellings *out)
{
	int error = 0;
	for (size_t i = 0; i < side->policy->rule_count && left->count && !error; i++) {
		const struct rule *rule = &side->policy->rules[i];
		struct pieces all = {0};
		struct told told = {.partial = true};
		if (side->forms[i].shared || rule->match.direction != class->direction ||
			action_verdict(rule->action) != verdict || rule->above)
			continue;
		error = rule_pieces(work, side, rule, &all);
		error = error ? error : cut_pieces(work->ctx, left, &all, &told.pieces);
		if (error || !told.pieces.count)
			continue;
		told.words = match_text(work->ctx, rule->written);
		if (!told.words)
			return -ENOMEM;
		if (words_mislead(work, other, rule, told.words))
			continue;
		int whole = pieces_cover(work->ctx, &class->pieces, &all);
		told.partial = whole == 0;
		error = whole < 0 ? whole : tell(work->ctx, out, &told);
		error = error ? error : pieces_subtract(work->ctx, left, &all, left);
	}
	return error;
}

static int tell_in_parts(struct comparing *work, const struct outcome_class *class, struct tellings *out)
{
	struct pieces left = class->pieces;
	int error = tell_by_rules(work, &work->new, &work->old, class, (enum verdict) class->new.verdict, &left, out);
	error = error ? error : tell_by_rules(work, &work->old, &work->new, class, (enum verdict) class->old.verdict, &left, out);
	return error || !left.count ? error : tell_pieces(work, &left, out);
}

static bool in_few_words(const struct comparing *work, const struct tellings *list)
{
	if (list->count > SETS_FEW)
		return false;
	for (size_t i = 0; i < list->count; i++) {
		const char *words =
			list->at[i].words ? list->at[i].words : set_words(work->ctx, work->vocabulary, &list->at[i].set, BRIEF);
		if (words && strlen(words) > WORDS_FEW && !list->at[i].words)
			return false;
	}
	return true;
}

static int tell_in_sets(struct comparing *work, const struct outcome_class *class, struct tellings *out)
{
	struct tellings own = {0}, with_own;
	int error = tell_pieces(work, &class->pieces, out);
	if (error || class->pieces.count > OWN_WORDS_PIECES)
		return error;
	error = add_own_words(work, &work->new, &work->old, class, &own);
	error = error ? error : add_own_words(work, &work->old, &work->new, class, &own);
	error = error || !own.count ? error : drop_covered(work->ctx, &own);
	if (error || !own.count)
		return error;
	with_own = (struct tellings){talloc_memdup(work->ctx, own.at, own.count * sizeof *own.at), own.count};
	if (!with_own.at)
		return -ENOMEM;
	error = tell_rest(work, class, &with_own);
	if (error < 0)
		return error;
	if (!error && with_own.count <= out->count)
		*out = with_own;
	return borrow_words(work->ctx, out, &own);
}

static int choose_sets(struct comparing *work, const struct outcome_class *class, struct tellings *out)
{
	struct tellings parts = {0};
	int error = tell_in_sets(work, class, out);
	if (error || in_few_words(work, out) || class->kind >= DIFFERENCE_LIMITED)
		return error;
	error = tell_in_parts(work, class, &parts);
	if (!error && (parts.count <= out->count))
		*out = parts;
	return error < 0 ? error : 0;
}

/* The example. */

static bool every_process(const struct box *box)
{
	for (int field = FIELD_USER; field <= FIELD_GROUP; field++)
		if (box->field[field].count != 1 || box->field[field].at[0].first || box->field[field].at[0].last < 0xffffffff)
			return false;
	return box->field[FIELD_UNIT].count == 1 && box->field[FIELD_UNIT].at[0].first <= UNIT_OTHER &&
	       box->field[FIELD_UNIT].at[0].last == 0xffffffff;
}

/* Extension headers, and the ICMP of the other family, cannot be asked about. */
static bool awkward(enum family family, u128 protocol)
{
	return protocol == 0 || protocol == 43 || protocol == 44 || protocol == 59 || protocol == 60 ||
	       protocol == (family == FAMILY_IPV4 ? PROTOCOL_ICMPV6 : PROTOCOL_ICMP);
}

static u128 pleasant_protocol(const struct box *box, u128 chosen)
{
	struct intervals set = box->field[FIELD_PROTOCOL];
	for (size_t i = 0; i < set.count && awkward(box->family, chosen); i++)
		for (u128 one = set.at[i].first; one <= set.at[i].last && awkward(box->family, chosen); one++)
			chosen = one;
	return chosen;
}

static int example(void *ctx, const struct joint *joint, const struct piece *piece, struct packet *out)
{
	const struct box *box = &piece->box;
	bool *source = talloc_zero_array(ctx, bool, joint->host_count + 1),
	     *destination = talloc_zero_array(ctx, bool, joint->host_count + 1);
	if (!source || !destination)
		return -ENOMEM;
	*out = (struct packet){
		.direction = piece->direction, .family = box->family, .source_in = source, .destination_in = destination};
	for (int field = 0; field < FIELDS; field++)
		out->field[field] = pleasant_value((enum field)field, box->family, piece->direction, box->field[field]);
	out->field[FIELD_PROTOCOL] = pleasant_protocol(box, out->field[FIELD_PROTOCOL]);
	for (unsigned ping = 8; ping <= 128; ping += 120) /* 8 and 128 */
		if (out->field[FIELD_PROTOCOL] == (ping == 8 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6) &&
			intervals_contain(box->field[FIELD_SERVICE], ping))
			out->field[FIELD_SERVICE] = ping;
	for (size_t i = 0; i < box->bit_count; i++)
		(box->bits[i].variable % 2 ? destination : source)[box->bits[i].variable / 2] = box->bits[i].value;
	if (piece->direction == DIRECTION_OUT && every_process(box)) {
		out->field[FIELD_USER] = out->field[FIELD_GROUP] = NO_PROCESS;
		out->field[FIELD_UNIT] = UNIT_NONE;
	}
	return 0;
}

/* TCP over IPv4 is what most readers read most easily. */
static const struct piece *example_piece(const struct pieces *pieces)
{
	const struct piece *best = &pieces->at[0];
	int most = -1;
	for (size_t i = 0; i < pieces->count; i++) {
		const struct box *box = &pieces->at[i].box;
		int liked = 2 * (box->family == FAMILY_IPV4) + intervals_contain(box->field[FIELD_PROTOCOL], PROTOCOL_TCP);
		if (liked > most) {
			most = liked;
			best = &pieces->at[i];
		}
	}
	return best;
}

/* The lines. */

static bool form_holds(const struct form *form, enum zone zone, const struct packet *packet)
{
	for (size_t i = 0; i < form->boxes[zone].count; i++)
		if (box_holds(&form->boxes[zone].at[i], packet))
			return true;
	return false;
}

static bool form_meets(const struct form *form, const struct pieces *pieces)
{
	for (size_t i = 0; i < pieces->count; i++)
		for (size_t k = 0; k < form->boxes[pieces->at[i].zone].count; k++)
			if (boxes_overlap(&form->boxes[pieces->at[i].zone].at[k], &pieces->at[i].box))
				return true;
	return false;
}

struct asked {
	const struct side *side;
	const struct pieces *pieces;
	const struct packet *packet;
	enum zone zone;
	enum verdict verdict; /* what decides: allow also where it is over a limit that something changes */
	bool logging;	      /* only lines that log */
};

static bool could_decide(const struct asked *asked, size_t index)
{
	const struct rule *rule = &asked->side->policy->rules[index];
	return rule->match.direction == asked->packet->direction && !rule->above &&
	       action_verdict(rule->action) == asked->verdict && (rule->log || !asked->logging);
}

static int add_line(void *ctx, struct decided *decided, struct because because)
{
	struct because *more = talloc_realloc(ctx, decided->lines, struct because, decided->line_count + 1);
	if (!more)
		return -ENOMEM;
	decided->lines = more;
	more[decided->line_count++] = because;
	return 0;
}

static struct because default_line(const struct asked *asked)
{
	const struct direction_policy *rest = &asked->side->policy->directions[asked->packet->direction];
	enum because_kind kind = !rest->managed			? BECAUSE_UNMANAGED
				 : asked->zone == ZONE_LOOPBACK ? BECAUSE_BUILTIN
								: BECAUSE_DEFAULT;
	return (struct because){.kind = kind, .fallback = kind == BECAUSE_DEFAULT ? rest : NULL};
}

/* Does the default decide some of it too?  It is worth asking for small sets only. */
static int default_too(struct comparing *work, const struct asked *asked)
{
	enum verdict rest = default_verdict(asked->side->policy, asked->packet->direction, asked->zone);
	if ((rest == VERDICT_UNMANAGED ? VERDICT_ALLOW : rest) != asked->verdict || asked->pieces->count > 64)
		return 1;
	return side_search(work, asked->side, asked->pieces, false, 1 << STRICT_DEFAULT);
}

static int find_lines(struct comparing *work, const struct asked *asked, struct decided *out)
{
	const struct rule *rules = asked->side->policy->rules, *first = NULL;
	int error;
	for (size_t i = 0; i < asked->side->policy->rule_count && !first; i++)
		if (could_decide(asked, i) && form_holds(&asked->side->forms[i], asked->zone, asked->packet))
			first = &rules[i];
	struct because because = first ? (struct because){.kind = BECAUSE_RULE, .rule = first} : default_line(asked);
	error = add_line(work->result, out, because);
	for (size_t i = 0; i < asked->side->policy->rule_count && !error; i++)
		if (&rules[i] != first && could_decide(asked, i) && form_meets(&asked->side->forms[i], asked->pieces))
			error = add_line(work->result, out, (struct because){.kind = BECAUSE_RULE, .rule = &rules[i]});
	int too = error || !first || asked->logging ? 1 : default_too(work, asked);
	if (too < 0)
		return too;
	return error || too ? error : add_line(work->result, out, default_line(asked));
}

/* What becomes of the example. */
static enum verdict judge(const struct asked *asked)
{
	const struct rule *best = NULL;
	for (size_t i = 0; i < asked->side->policy->rule_count; i++) {
		const struct rule *rule = &asked->side->policy->rules[i];
		if (rule->match.direction != asked->packet->direction || rule->above ||
			(best && action_strictness(rule->action) <= action_strictness(best->action)))
			continue;
		if (form_holds(&asked->side->forms[i], asked->zone, asked->packet))
			best = rule;
	}
	enum verdict rest = default_verdict(asked->side->policy, asked->packet->direction, asked->zone);
	return best ? action_verdict(best->action) : rest == VERDICT_UNMANAGED ? VERDICT_ALLOW : rest;
}

/* Over a limit both allow within it, and the lines that allow are what there is to see. */
static bool over(enum difference_kind kind)
{
	return kind == DIFFERENCE_LIMITED || kind == DIFFERENCE_UNLIMITED || kind == DIFFERENCE_OVER;
}

static bool of_logs(enum difference_kind kind)
{
	return kind == DIFFERENCE_LOGGED || kind == DIFFERENCE_UNLOGGED;
}

static int decide_side(struct comparing *work, const struct outcome_class *class, bool new, const struct pieces *pieces,
	const struct packet *packet, enum zone zone, struct decided *out)
{
	struct outcome outcome = new ? class->new : class->old;
	struct asked asked = {.side = new ? &work->new : &work->old,
		.pieces = pieces,
		.packet = packet,
		.zone = zone,
		.verdict = outcome.verdict};
	if (over(class->kind))
		asked.verdict = VERDICT_ALLOW;
	if (of_logs(class->kind) && !class->rest) {
		asked.verdict = judge(&asked);
		asked.logging = outcome.log;
	}
	out->verdict = over(class->kind) ? (enum verdict)outcome.verdict : asked.verdict;
	out->log = outcome.log;
	if (class->rest)
		return add_line(work->result, out, default_line(&asked));
	return find_lines(work, &asked, out);
}

static char *rest_words(void *ctx, enum direction direction)
{
	static const char *const directions[] = {"in", "out", "forward"};
	return talloc_asprintf(ctx, "%s any that no rule decides", directions[direction]);
}

/* What exactly is meant, for who wants to know. */
static int name_parts(struct comparing *work, const struct told *told, struct difference *out)
{
	struct tellings exact = {0};
	int error = tell_pieces(work, &told->pieces, &exact);
	out->sets = talloc_array(work->result, const char *, exact.count + 1);
	if (error || !out->sets)
		return -ENOMEM;
	for (size_t i = 0; i < exact.count; i++) {
		out->sets[i] = set_words(work->result, work->vocabulary, &exact.at[i].set, 0);
		if (!out->sets[i])
			return -ENOMEM;
	}
	out->set_count = exact.count;
	return 0;
}

static int put_in_words(
	struct comparing *work, const struct outcome_class *class, const struct told *told, struct difference *out)
{
	void *ctx = work->result;
	out->partial = told->partial;
	if (told->partial && !class->part && name_parts(work, told, out))
		return -ENOMEM;
	if (class->rest)
		out->words = out->brief = rest_words(ctx, class->direction);
	else if (told->words)
		out->words = out->brief = talloc_strdup(ctx, told->words);
	else {
		out->words = set_words(ctx, work->vocabulary, &told->set, 0);
		out->brief = set_words(ctx, work->vocabulary, &told->set, BRIEF);
	}
	return out->words && out->brief ? 0 : -ENOMEM;
}

/* A set of packets that are logged anew shows one whose verdict stays; where there is none it is told already. 1: none. */
static int find_example(
	struct comparing *work, const struct outcome_class *class, const struct told *told, const struct piece **out)
{
	struct pieces *same = talloc_zero(work->ctx, struct pieces);
	*out = example_piece(&told->pieces);
	if (!of_logs(class->kind) || class->rest)
		return 0;
	int error = same ? pieces_subtract(work->ctx, &told->pieces, &work->changed, same) : -ENOMEM;
	if (error)
		return error < 0 ? error : 0;
	if (same->count)
		*out = example_piece(same);
	return !same->count;
}

static int describe_set(struct comparing *work, const struct outcome_class *class, const struct told *told)
{
	struct comparison *result = work->result;
	const struct policy joint = {.hosts = work->joint.hosts,
		.host_count = work->joint.host_count,
		.units = work->joint.units,
		.unit_count = work->joint.unit_count};
	const struct piece *piece;
	struct difference difference = {.kind = class->kind, .direction = class->direction, .rest = class->rest};
	struct packet packet;
	int error = find_example(work, class, told, &piece);
	if (error)
		return error < 0 ? error : 0;
	error = example(work->ctx, &work->joint, piece, &packet);
	error = error ? error : put_in_words(work, class, told, &difference);
	if (error || !(difference.packet = packet_text(result, &joint, &packet)))
		return error ? error : -ENOMEM;
	error = decide_side(work, class, false, &told->pieces, &packet, piece->zone, &difference.old);
	error = error ? error : decide_side(work, class, true, &told->pieces, &packet, piece->zone, &difference.new);
	struct difference *more =
		error ? NULL : talloc_realloc(result, result->differences, struct difference, result->count + 1);
	if (!more)
		return error ? error : -ENOMEM;
	result->differences = more;
	more[result->count++] = difference;
	return 0;
}

int describe_class(struct comparing *work, const struct outcome_class *class)
{
	struct tellings list = {0};
	const struct told rest = {.pieces = class->pieces,
		.partial = class->part != NULL,
		.words = class->part ? match_text(work->ctx, class->part->written) : NULL};
	int error = class->rest || class->part ? tell(work->ctx, &list, &rest) : choose_sets(work, class, &list);
	for (size_t i = 0; i < list.count && !error; i++)
		error = describe_set(work, class, &list.at[i]);
	bool limits = over(class->kind) || class->kind == DIFFERENCE_ALLOWED || class->kind == DIFFERENCE_DENIED;
	for (size_t i = 0; i < class->pieces.count && limits && !class->rest && !error; i++)
		error = piece_add(work->ctx, &work->reported, &class->pieces.at[i]);
	return error;
}
