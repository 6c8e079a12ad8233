/*
 * The walk down the decision diagram of a region, made as it is walked.
 *
 * A state of the diagram is a field and the rules that are still alive at it; two ways that lead to the same rules lead to the same node (the diagram
 * of Gouda and Liu with its nodes named by the rules that reach them). A node whose packets cannot get a wanted verdict is
 * remembered and never entered again; the first one that can ends the walk. Rules that a stricter one covers entirely are dropped on the
 * way, so a proof looks only at what could matter to it.
 *
 * Live sets are named by the sum, bit by bit, of a random 128-bit number a rule (A. Zobrist, 1970): two different sets share a name with
 * a probability of about 2^-80 after a billion of them.
 */
#include "dsl/decision/search.h"
#include "dsl/decision/random.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <talloc.h>
#include <time.h>

struct level {
	int field;         /* 0..FIELDS-1, or FIELDS + variable of a bit */
	bool *covers;      /* of each candidate: all of the region in this field and those behind */
};

struct memo {
	u128 *slots;
	size_t used, size;
};

struct walk {
	const struct question *question;
	struct spending *spending;
	void *ctx;
	u128 *names;
	struct level *levels;
	int level_count;
	struct memo memo;
	size_t bytes;
	struct box path; /* what was chosen so far */
	struct bit *bits;
};

static double now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

void spending_start(struct spending *spending, struct budget budget) { *spending = (struct spending){.budget = budget, .started = now()}; }

static bool overspent(struct walk *walk)
{
	struct spending *spending = walk->spending;
	spending->nodes++;
	if (spending->nodes > spending->budget.nodes || walk->bytes > spending->budget.bytes)
		return true;
	return !(spending->nodes & 255) && now() - spending->started > spending->budget.seconds;
}

static size_t memo_slot(const struct memo *memo, u128 key)
{
	size_t slot = (size_t)(key ^ key >> 64) & (memo->size - 1);
	while (memo->slots[slot] && memo->slots[slot] != key)
		slot = (slot + 1) & (memo->size - 1);
	return slot;
}

static int memo_grow(struct walk *walk)
{
	struct memo old = walk->memo;
	walk->memo.size = old.size ? old.size * 2 : 1024;
	walk->memo.slots = talloc_zero_array(walk->ctx, u128, walk->memo.size);
	if (!walk->memo.slots)
		return -ENOMEM;
	for (size_t i = 0; i < old.size; i++)
		if (old.slots[i])
			walk->memo.slots[memo_slot(&walk->memo, old.slots[i])] = old.slots[i];
	walk->bytes += walk->memo.size * sizeof(u128);
	talloc_free(old.slots);
	return 0;
}

/* 1: entered before and found without a witness. */
static int memo_seen(struct walk *walk, u128 key)
{
	return walk->memo.slots[memo_slot(&walk->memo, key)] != 0;
}

static int memo_add(struct walk *walk, u128 key)
{
	if (walk->memo.used * 2 >= walk->memo.size && memo_grow(walk))
		return -ENOMEM;
	walk->memo.slots[memo_slot(&walk->memo, key)] = key;
	walk->memo.used++;
	return 0;
}

static struct intervals candidate_set(const struct walk *walk, uint32_t candidate, int field)
{
	static const struct interval bits[] = {{0, 0}, {1, 1}, {0, 1}};
	const struct box *box = walk->question->candidates[candidate].box;
	if (field < FIELDS)
		return box->field[field];
	int bit = box_bit(box, (uint32_t)(field - FIELDS));
	return (struct intervals){&bits[bit < 0 ? 2 : bit], 1};
}

static struct intervals region_set(const struct walk *walk, int field)
{
	static const struct interval bits[] = {{0, 0}, {1, 1}, {0, 1}};
	if (field < FIELDS)
		return walk->question->region->field[field];
	int bit = box_bit(walk->question->region, (uint32_t)(field - FIELDS));
	return (struct intervals){&bits[bit < 0 ? 2 : bit], 1};
}

static bool covers_region(const struct walk *walk, uint32_t candidate, int field)
{
	struct intervals set = candidate_set(walk, candidate, field), region = region_set(walk, field);
	return (set.at == region.at && set.count == region.count) || intervals_cover(set, region);
}

/* How finely the candidates cut a field: fields that few values tell apart come first, so nodes are shared below them. */
static size_t fineness(const struct walk *walk, int field)
{
	size_t cuts = 0;
	for (uint32_t i = 0; i < walk->question->count; i++)
		cuts += covers_region(walk, i, field) ? 0 : candidate_set(walk, i, field).count;
	return cuts;
}

struct field_cost {
	int field;
	size_t cuts;
};

static int by_cost(const void *a, const void *b)
{
	const struct field_cost *x = a, *y = b;
	return x->cuts != y->cuts ? (x->cuts > y->cuts) - (x->cuts < y->cuts) : x->field - y->field;
}

static int order_fields(struct walk *walk)
{
	int most = FIELDS + 2 * (int)walk->question->host_count, used = 0;
	struct field_cost *costs = talloc_array(walk->ctx, struct field_cost, (size_t)most);
	walk->levels = talloc_zero_array(walk->ctx, struct level, (size_t)most + 1);
	if (!costs || !walk->levels)
		return -ENOMEM;
	for (int field = 0; field < most; field++) {
		size_t cuts = fineness(walk, field);
		if (cuts)
			costs[used++] = (struct field_cost){field, cuts};
	}
	qsort(costs, (size_t)used, sizeof *costs, by_cost);
	for (int i = 0; i < used; i++)
		walk->levels[i].field = costs[i].field;
	walk->level_count = used;
	talloc_free(costs);
	return 0;
}

static int mark_covers(struct walk *walk)
{
	size_t count = walk->question->count;
	for (int level = walk->level_count; level >= 0; level--) {
		bool *covers = talloc_array(walk->ctx, bool, count + 1);
		if (!covers)
			return -ENOMEM;
		for (uint32_t i = 0; i < count; i++)
			covers[i] = level == walk->level_count ||
				    (walk->levels[level + 1].covers[i] && covers_region(walk, i, walk->levels[level].field));
		walk->levels[level].covers = covers;
		walk->bytes += count;
	}
	return 0;
}

/* The rules alive at a node: those that can still win, and the strictest that has won already. */
struct live {
	uint32_t *at;
	size_t count;
	enum strictness won;
	u128 name;
};

/* Drops what can no longer win; returns the strictness of the strictest that is left, or `won`. */
static enum strictness reduce(const struct walk *walk, int level, struct live *live)
{
	const struct candidate *candidates = walk->question->candidates;
	const bool *covers = walk->levels[level].covers;
	enum strictness strictest;
	size_t kept = 0;
	for (size_t i = 0; i < live->count; i++)
		if (covers[live->at[i]] && candidates[live->at[i]].strictness > live->won)
			live->won = candidates[live->at[i]].strictness;
	strictest = live->won;
	live->name = (u128)live->won + 1;
	for (size_t i = 0; i < live->count; i++) {
		uint32_t one = live->at[i];
		if (candidates[one].strictness <= live->won)
			continue;
		live->at[kept++] = one;
		live->name ^= walk->names[one];
		if (candidates[one].strictness > strictest)
			strictest = candidates[one].strictness;
	}
	live->count = kept;
	return strictest;
}

/* Every packet of the path that is in this rule too gets its verdict: nothing stricter is alive. */
static int take_rule(struct walk *walk, uint32_t candidate, struct box *witness)
{
	const struct box *box = walk->question->candidates[candidate].box;
	walk->path.bits = walk->bits;
	return box_intersect(walk->ctx, &walk->path, box, witness);
}

static int take_path(struct walk *walk, struct box *witness)
{
	walk->path.bits = walk->bits;
	*witness = walk->path;
	return 0;
}

struct event {
	u128 at;
	uint32_t candidate;
	bool enters;
};

static int by_place(const void *a, const void *b)
{
	const struct event *x = a, *y = b;
	return (x->at > y->at) - (x->at < y->at);
}

struct events {
	struct event *at;
	size_t count, room;
};

static int add_event(struct walk *walk, void *ctx, struct events *events, struct event event)
{
	if (events->count == events->room) {
		size_t room = events->room ? events->room * 2 : 64;
		struct event *more = talloc_realloc(ctx, events->at, struct event, room);
		if (!more)
			return -ENOMEM;
		walk->bytes += (room - events->room) * sizeof *more;
		events->at = more;
		events->room = room;
	}
	events->at[events->count++] = event;
	return 0;
}

/* Where the live rules begin and end within one interval of the region. */
static int gather_events(struct walk *walk, void *ctx, int field, const struct live *live, struct interval within, struct events *events)
{
	int error = 0;
	events->count = 0;
	for (size_t i = 0; i < live->count && !error; i++) {
		struct intervals set = candidate_set(walk, live->at[i], field);
		for (size_t k = intervals_reaching(set, within.first); k < set.count && set.at[k].first <= within.last && !error; k++) {
			u128 first = set.at[k].first > within.first ? set.at[k].first : within.first;
			error = add_event(walk, ctx, events, (struct event){first, live->at[i], true});
			if (!error && set.at[k].last < within.last)
				error = add_event(walk, ctx, events, (struct event){set.at[k].last + 1, live->at[i], false});
		}
	}
	if (events->count)
		qsort(events->at, events->count, sizeof *events->at, by_place);
	return error;
}

/* The rules alive at a place of the sweep: a list that takes and gives in constant time. */
struct active {
	uint32_t *at, *position;
	size_t count;
	u128 name;
};

static void active_change(const struct walk *walk, struct active *active, const struct event *event)
{
	uint32_t one = event->candidate;
	active->name ^= walk->names[one];
	if (event->enters) {
		active->position[one] = (uint32_t)active->count;
		active->at[active->count++] = one;
		return;
	}
	uint32_t hole = active->position[one], last = active->at[--active->count];
	active->at[hole] = last;
	active->position[last] = hole;
}

static int visit(struct walk *walk, int level, struct live *live, struct box *witness);

static void choose(struct walk *walk, int field, struct interval *chosen)
{
	if (field < FIELDS) {
		walk->path.field[field] = (struct intervals){chosen, 1};
		return;
	}
	for (size_t i = 0; i < walk->path.bit_count; i++)
		if (walk->bits[i].variable == (uint32_t)(field - FIELDS)) {
			walk->bits[i].value = chosen->first != 0;
			return;
		}
	walk->bits[walk->path.bit_count++] = (struct bit){(uint32_t)(field - FIELDS), chosen->first != 0};
}

/* One stretch of a field in which the same rules are alive. */
static int enter(struct walk *walk, void *ctx, int level, const struct active *active, enum strictness won, struct interval stretch, struct box *witness)
{
	u128 key = active->name ^ ((u128)(unsigned)(level + 1) << 64 | (u128)(unsigned)won << 96) * 0x9e3779b97f4a7c15u;
	key = key ? key : 1;
	if (memo_seen(walk, key))
		return 1;
	struct live live = {.at = talloc_array(ctx, uint32_t, active->count + 1), .count = active->count, .won = won};
	struct interval *chosen = talloc_memdup(walk->ctx, &stretch, sizeof stretch);
	if (!live.at || !chosen)
		return -ENOMEM;
	memcpy(live.at, active->at, active->count * sizeof *live.at);
	struct intervals before = walk->levels[level].field < FIELDS ? walk->path.field[walk->levels[level].field] : (struct intervals){0};
	size_t bits = walk->path.bit_count;
	choose(walk, walk->levels[level].field, chosen);
	int outcome = visit(walk, level + 1, &live, witness);
	talloc_free(live.at);
	if (outcome != 1)
		return outcome;
	if (walk->levels[level].field < FIELDS)
		walk->path.field[walk->levels[level].field] = before;
	walk->path.bit_count = bits;
	talloc_free(chosen);
	return memo_add(walk, key) ? -ENOMEM : 1;
}

static int sweep(struct walk *walk, void *ctx, int level, const struct live *live, struct interval within, const struct events *events,
	struct active *active, struct box *witness)
{
	u128 at = within.first;
	size_t i = 0;
	int outcome = 1;
	active->count = 0;
	active->name = 0;
	while (outcome == 1) {
		for (; i < events->count && events->at[i].at == at; i++)
			active_change(walk, active, &events->at[i]);
		u128 next = i < events->count ? events->at[i].at : 0;
		outcome = enter(walk, ctx, level, active, live->won, (struct interval){at, i < events->count ? next - 1 : within.last}, witness);
		if (i == events->count || outcome != 1)
			break;
		at = next;
	}
	return outcome;
}

static int split(struct walk *walk, int level, const struct live *live, struct box *witness)
{
	int field = walk->levels[level].field, outcome = 1;
	struct intervals region = region_set(walk, field);
	void *ctx = talloc_new(walk->ctx);
	size_t bytes = walk->bytes, count = walk->question->count;
	struct events events = {0};
	struct active active = {.at = talloc_array(ctx, uint32_t, live->count + 1), .position = talloc_array(ctx, uint32_t, count + 1)};
	if (!ctx || !active.at || !active.position) {
		talloc_free(ctx);
		return -ENOMEM;
	}
	walk->bytes += (live->count + count) * sizeof(uint32_t);
	for (size_t i = 0; i < region.count && outcome == 1; i++) {
		outcome = gather_events(walk, ctx, field, live, region.at[i], &events);
		if (!outcome)
			outcome = sweep(walk, ctx, level, live, region.at[i], &events, &active, witness);
	}
	talloc_free(ctx);
	walk->bytes = bytes > walk->memo.size * sizeof(u128) ? bytes : walk->memo.size * sizeof(u128);
	return outcome;
}

static int visit(struct walk *walk, int level, struct live *live, struct box *witness)
{
	enum strictness strictest = reduce(walk, level, live);
	unsigned possible = 1u << live->won, wanted = walk->question->wanted;
	if (overspent(walk))
		return 2;
	for (size_t i = 0; i < live->count; i++)
		possible |= 1u << walk->question->candidates[live->at[i]].strictness;
	if (!(possible & wanted))
		return 1;
	if (!(possible & ~wanted))
		return take_path(walk, witness);
	for (size_t i = 0; wanted & (1u << strictest) && i < live->count; i++)
		if (walk->question->candidates[live->at[i]].strictness == strictest)
			return take_rule(walk, live->at[i], witness);
	return split(walk, level, live, witness);
}

static int prepare(struct walk *walk, struct live *live)
{
	size_t count = walk->question->count;
	uint64_t seed = 1;
	walk->names = talloc_array(walk->ctx, u128, count + 1);
	walk->bits = talloc_array(walk->ctx, struct bit, walk->question->region->bit_count + 2 * walk->question->host_count + 1);
	live->at = talloc_array(walk->ctx, uint32_t, count + 1);
	if (!walk->names || !walk->bits || !live->at || memo_grow(walk))
		return -ENOMEM;
	for (uint32_t i = 0; i < count; i++) {
		walk->names[i] = (u128)random_step(&seed) << 64 | random_step(&seed);
		live->at[i] = i;
	}
	live->count = count;
	walk->path = *walk->question->region;
	if (walk->path.bit_count)
		memcpy(walk->bits, walk->path.bits, walk->path.bit_count * sizeof *walk->bits);
	int error = order_fields(walk);
	return error ? error : mark_covers(walk);
}

int search(void *ctx, const struct question *question, struct spending *spending, struct box *witness)
{
	struct live live = {.won = STRICT_DEFAULT};
	struct walk walk = {.question = question, .spending = spending, .ctx = talloc_new(ctx)};
	if (!walk.ctx)
		return -ENOMEM;
	int outcome = prepare(&walk, &live);
	if (!outcome)
		outcome = visit(&walk, 0, &live, witness);
	if (outcome) /* the witness shares what the walk has made */
		talloc_free(walk.ctx);
	return outcome;
}
