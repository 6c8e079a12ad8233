/*
 * The decision diagram of a difference.
 *
 * Both policies are walked down together (search.c walks down one). A state is a field and the rules that are still alive at it,
 * each with the views that it stands in; what lies below a state is made once and remembered. Three things keep a walk small:
 * rules that both have matter only inside those that one has; where neither has a rule of its own left and none has won more than
 * the other, nothing below can differ; and equal parts below are one node, so that boxes come out wide.
 *
 * Live sets are named as in search.c. Nodes are compared by content.
 */
#include "dsl/decision/contrast.h"
#include "dsl/decision/random.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <talloc.h>
#include <time.h>

#define NODE_SAME 0
#define LEAF (-1)
#define BOXES_MAX 200000
#define FILTER_WORK 200000 /* overlaps that may be tested to make one state smaller */

struct edge {
	struct intervals set;
	uint32_t child;
};

struct node {
	int field;     /* LEAF, or as in struct level */
	uint32_t leaf; /* index in walk.leaves */
	struct edge *edges;
	size_t count;
	u128 hash;
	uint32_t next; /* in its bucket */
};

struct leaf {
	unsigned char code[VIEWS];
};

struct level {
	int field; /* 0..FIELDS-1, or FIELDS + variable of a bit */
	bool *covers;
};

struct memo {
	u128 *keys;
	uint32_t *nodes;
	size_t used, size;
};

struct walk {
	const struct contrast *contrast;
	struct spending *spending;
	void *ctx;
	u128 *names;
	bool *own; /* of each contender: does it stand on one side only? */
	struct level *levels;
	int level_count;
	struct memo memo;
	struct node *nodes;
	uint32_t node_count;
	uint32_t *buckets;
	size_t bucket_count;
	struct leaf *leaves;
	size_t leaf_count;
	unsigned differ[2][LEVELS]; /* of a level on the left: the levels on the right that come to something else */
	size_t bytes;
};

/* What comes of a level, as one number; over a limit the log does not count. */
static unsigned char code_of(const struct walk *walk, int view, unsigned level)
{
	const struct outcome *outcome = &walk->contrast->outcomes[view][level];
	unsigned verdict = outcome->verdict == VERDICT_UNMANAGED ? VERDICT_ALLOW : outcome->verdict;
	return (unsigned char)(2 * verdict + (view < VIEW_OLD_OVER && outcome->log));
}

/* Is this what is looked for? */
static bool wanted(const struct walk *walk, int pair, unsigned char left, unsigned char right)
{
	const struct contrast *contrast = walk->contrast;
	switch (contrast->goal) {
	case GOAL_ALL:
		return true;
	case GOAL_VERDICT:
		return !pair && left / 2 == contrast->goal_old.verdict && right / 2 == contrast->goal_new.verdict;
	case GOAL_LOG:
		return !pair && left / 2 == right / 2 && left % 2 == contrast->goal_old.log &&
		       right % 2 == contrast->goal_new.log;
	case GOAL_OVER:
		return pair == 1;
	}
	return true;
}

static void find_differing(struct walk *walk)
{
	for (int pair = 0; pair < 2; pair++)
		for (unsigned left = 0; left < LEVELS; left++)
			for (unsigned right = 0; right < LEVELS; right++) {
				unsigned char a = code_of(walk, 2 * pair, left), b = code_of(walk, 2 * pair + 1, right);
				if ((left || right || pair || walk->contrast->rest) && a != b && wanted(walk, pair, a, b))
					walk->differ[pair][left] |= 1u << right;
			}
}

static int overspent(struct walk *walk)
{
	struct spending *spending = walk->spending;
	struct timespec time;
	spending->nodes++;
	if (spending->nodes > spending->budget.nodes || walk->bytes > spending->budget.bytes)
		return true;
	if (spending->nodes & 255)
		return false;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec - spending->started > spending->budget.seconds;
}

static size_t memo_slot(const struct memo *memo, u128 key)
{
	size_t slot = (size_t)(key ^ key >> 64) & (memo->size - 1);
	while (memo->keys[slot] && memo->keys[slot] != key)
		slot = (slot + 1) & (memo->size - 1);
	return slot;
}

static int memo_grow(struct walk *walk)
{
	struct memo old = walk->memo, grown = {.size = old.size ? old.size * 2 : 1024, .used = old.used};
	grown.keys = talloc_zero_array(walk->ctx, u128, grown.size);
	grown.nodes = talloc_array(walk->ctx, uint32_t, grown.size);
	if (!grown.keys || !grown.nodes)
		return -ENOMEM;
	for (size_t i = 0; i < old.size; i++)
		if (old.keys[i]) {
			size_t slot = memo_slot(&grown, old.keys[i]);
			grown.keys[slot] = old.keys[i];
			grown.nodes[slot] = old.nodes[i];
		}
	walk->bytes += (grown.size - old.size) * (sizeof(u128) + sizeof(uint32_t));
	talloc_free(old.keys);
	talloc_free(old.nodes);
	walk->memo = grown;
	return 0;
}

static bool memo_get(const struct walk *walk, u128 key, uint32_t *node)
{
	size_t slot = memo_slot(&walk->memo, key);
	*node = walk->memo.nodes[slot];
	return walk->memo.keys[slot] != 0;
}

static int memo_put(struct walk *walk, u128 key, uint32_t node)
{
	if (walk->memo.used * 2 >= walk->memo.size && memo_grow(walk))
		return -ENOMEM;
	size_t slot = memo_slot(&walk->memo, key);
	walk->memo.used += !walk->memo.keys[slot];
	walk->memo.keys[slot] = key;
	walk->memo.nodes[slot] = node;
	return 0;
}

static struct intervals bit_set(const struct box *box, int field)
{
	static const struct interval bits[] = {{0, 0}, {1, 1}, {0, 1}};
	int bit = box_bit(box, (uint32_t)(field - FIELDS));
	return (struct intervals){&bits[bit < 0 ? 2 : bit], 1};
}

static struct intervals set_of(const struct box *box, int field)
{
	return field < FIELDS ? box->field[field] : bit_set(box, field);
}

static struct intervals contender_set(const struct walk *walk, uint32_t one, int field)
{
	return set_of(walk->contrast->contenders[one].box, field);
}

static bool covers_region(const struct walk *walk, uint32_t one, int field)
{
	struct intervals set = contender_set(walk, one, field), region = set_of(walk->contrast->region, field);
	return (set.at == region.at && set.count == region.count) || intervals_cover(set, region);
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

/* Fields that few values tell apart come first, so that nodes are shared below them. */
static int order_fields(struct walk *walk)
{
	int most = FIELDS + 2 * (int)walk->contrast->host_count, used = 0;
	struct field_cost *costs = talloc_array(walk->ctx, struct field_cost, (size_t)most);
	walk->levels = talloc_zero_array(walk->ctx, struct level, (size_t)most + 1);
	if (!costs || !walk->levels)
		return -ENOMEM;
	for (int field = 0; field < most; field++) {
		size_t cuts = 0;
		for (uint32_t i = 0; i < walk->contrast->count; i++)
			cuts += covers_region(walk, i, field) ? 0 : contender_set(walk, i, field).count;
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
	size_t count = walk->contrast->count;
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

/* Nodes. */

static bool same_node(const struct node *a, const struct node *b)
{
	if (a->field != b->field || a->leaf != b->leaf || a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++)
		if (a->edges[i].child != b->edges[i].child || !intervals_equal(a->edges[i].set, b->edges[i].set))
			return false;
	return true;
}

static u128 mix(u128 hash, u128 value)
{
	uint64_t low = (uint64_t)hash ^ (uint64_t)value, high = (uint64_t)(hash >> 64) ^ (uint64_t)(value >> 64);
	return (u128)random_step(&high) << 64 | random_step(&low);
}

static u128 hash_node(const struct node *node)
{
	u128 hash = mix((u128)(unsigned)node->field, node->leaf);
	for (size_t i = 0; i < node->count; i++) {
		hash = mix(hash, node->edges[i].child);
		for (size_t k = 0; k < node->edges[i].set.count; k++)
			hash = mix(mix(hash, node->edges[i].set.at[k].first), node->edges[i].set.at[k].last);
	}
	return hash;
}

static int rehash(struct walk *walk)
{
	size_t size = walk->bucket_count ? walk->bucket_count * 2 : 1024;
	uint32_t *buckets = talloc_zero_array(walk->ctx, uint32_t, size);
	struct node *nodes = talloc_realloc(walk->ctx, walk->nodes, struct node, size);
	if (nodes)
		walk->nodes = nodes;
	if (!buckets || !nodes)
		return -ENOMEM;
	for (uint32_t i = 1; i < walk->node_count; i++) {
		size_t bucket = (size_t)walk->nodes[i].hash & (size - 1);
		walk->nodes[i].next = buckets[bucket];
		buckets[bucket] = i;
	}
	walk->bytes += (size - walk->bucket_count) * (sizeof *buckets + sizeof *nodes);
	talloc_free(walk->buckets);
	walk->buckets = buckets;
	walk->bucket_count = size;
	return 0;
}

static int intern(struct walk *walk, struct node *node, uint32_t *out)
{
	if (walk->node_count >= walk->bucket_count && rehash(walk))
		return -ENOMEM;
	node->hash = hash_node(node);
	uint32_t *bucket = &walk->buckets[(size_t)node->hash & (walk->bucket_count - 1)];
	for (uint32_t i = *bucket; i; i = walk->nodes[i].next)
		if (same_node(&walk->nodes[i], node)) {
			*out = i;
			return 0;
		}
	node->next = *bucket;
	*out = *bucket = walk->node_count;
	walk->nodes[walk->node_count++] = *node;
	return 0;
}

/* Only what makes the difference is kept, so that leaves that differ alike are one. */
static int make_leaf(struct walk *walk, const unsigned char won[VIEWS], uint32_t *out)
{
	struct leaf leaf;
	for (int view = 0; view < VIEWS; view++)
		leaf.code[view] = code_of(walk, view, won[view]);
	bool decided = won[VIEW_OLD] || won[VIEW_NEW] || walk->contrast->rest;
	bool within = walk->differ[0][won[VIEW_OLD]] & (1u << won[VIEW_NEW]),
	     over = decided && walk->differ[1][won[VIEW_OLD_OVER]] & (1u << won[VIEW_NEW_OVER]);
	bool verdict = decided && leaf.code[0] / 2 != leaf.code[1] / 2;
	over &= !verdict;
	*out = NODE_SAME;
	if (!within && !over)
		return 0;
	if (!within)
		leaf.code[0] = leaf.code[1] = LEVEL_NONE;
	if (verdict || !over)
		leaf.code[2] = leaf.code[3] = LEVEL_NONE;
	size_t i = 0;
	while (i < walk->leaf_count && memcmp(&walk->leaves[i], &leaf, sizeof leaf))
		i++;
	if (i == walk->leaf_count) {
		struct leaf *more = talloc_realloc(walk->ctx, walk->leaves, struct leaf, i + 1);
		if (!more)
			return -ENOMEM;
		walk->leaves = more;
		walk->leaves[walk->leaf_count++] = leaf;
	}
	return intern(walk, &(struct node){.field = LEAF, .leaf = (uint32_t)i}, out);
}

/* The rules alive at a state, and the strictest that has won in each view. */
struct live {
	uint32_t *at;
	size_t count;
	unsigned char won[VIEWS];
};

static bool can_win(const struct contender *one, const unsigned char won[VIEWS])
{
	for (int view = 0; view < VIEWS; view++)
		if (one->views & (1u << view) && one->level > won[view])
			return true;
	return false;
}

static void reduce(const struct walk *walk, int level, struct live *live)
{
	const struct contender *contenders = walk->contrast->contenders;
	const bool *covers = walk->levels[level].covers;
	size_t kept = 0;
	for (size_t i = 0; i < live->count; i++) {
		const struct contender *one = &contenders[live->at[i]];
		for (int view = 0; covers[live->at[i]] && view < VIEWS; view++)
			if (one->views & (1u << view) && one->level > live->won[view])
				live->won[view] = one->level;
	}
	for (size_t i = 0; i < live->count; i++)
		if (can_win(&contenders[live->at[i]], live->won))
			live->at[kept++] = live->at[i];
	live->count = kept;
}

/* Has neither won more than the other?  Over a limit both may be left to defaults that differ. */
static bool balanced(const struct walk *walk, const struct live *live)
{
	const unsigned char *won = live->won;
	if (won[VIEW_OLD] != won[VIEW_NEW] || won[VIEW_OLD_OVER] != won[VIEW_NEW_OVER])
		return false;
	return !won[VIEW_OLD] || won[VIEW_OLD_OVER] || !(walk->differ[1][0] & 1);
}

/* Can nothing below differ? */
static bool all_the_same(const struct walk *walk, const struct live *live)
{
	unsigned possible[VIEWS];
	bool own = false;
	for (int view = 0; view < VIEWS; view++)
		possible[view] = 1u << live->won[view];
	for (size_t i = 0; i < live->count; i++) {
		const struct contender *one = &walk->contrast->contenders[live->at[i]];
		own |= walk->own[live->at[i]];
		for (int view = 0; view < VIEWS; view++)
			if (one->views & (1u << view) && one->level > live->won[view])
				possible[view] |= 1u << one->level;
	}
	if (!own && balanced(walk, live) && !walk->contrast->rest)
		return true;
	for (int pair = 0; pair < 2; pair++)
		for (unsigned level = 0; level < LEVELS; level++)
			if (possible[2 * pair] & (1u << level) && walk->differ[pair][level] & possible[2 * pair + 1])
				return false;
	return true;
}

static bool overlap_below(const struct walk *walk, int level, uint32_t a, uint32_t b)
{
	for (int i = level; i < walk->level_count; i++)
		if (!intervals_overlap(
			    contender_set(walk, a, walk->levels[i].field), contender_set(walk, b, walk->levels[i].field)))
			return false;
	return true;
}

/* Where nothing differs so far, a rule of both matters only where it meets a rule of one. */
static void drop_bystanders(const struct walk *walk, int level, struct live *live)
{
	size_t own = 0, kept = 0;
	for (size_t i = 0; i < live->count; i++)
		own += walk->own[live->at[i]];
	if (walk->contrast->rest || !balanced(walk, live) || own * (live->count - own) > FILTER_WORK)
		return;
	for (size_t i = 0; i < live->count; i++) { /* those of one side first */
		uint32_t one = live->at[i];
		if (!walk->own[one])
			continue;
		live->at[i] = live->at[kept];
		live->at[kept++] = one;
	}
	for (size_t i = own; i < live->count; i++) {
		bool meets = false;
		for (size_t k = 0; k < own && !meets; k++)
			meets = overlap_below(walk, level, live->at[i], live->at[k]);
		if (meets)
			live->at[kept++] = live->at[i];
	}
	live->count = kept;
}

static u128 state_key(int level, const unsigned char won[VIEWS], u128 name, bool reduced)
{
	u128 state = (u128)(unsigned)(level + 1) << 64;
	for (int view = 0; view < VIEWS; view++)
		state |= (u128)won[view] << (72 + 8 * view);
	u128 key = mix(name, state | (reduced ? (u128)1 << 120 : 0));
	return key ? key : 1;
}

static u128 live_name(const struct walk *walk, const struct live *live)
{
	u128 name = 0;
	for (size_t i = 0; i < live->count; i++)
		name ^= walk->names[live->at[i]];
	return name;
}

/* The sweep along a field. */

struct event {
	u128 at;
	uint32_t one;
	bool enters;
};

static int by_place(const void *a, const void *b)
{
	const struct event *x = a, *y = b;
	return (x->at > y->at) - (x->at < y->at);
}

struct part {
	uint32_t child;
	struct interval at;
};

struct sweep {
	void *ctx;
	int level;
	struct event *events;
	size_t event_count, event_room;
	uint32_t *active, *position;
	size_t active_count;
	u128 name;
	struct part *parts;
	size_t part_count, part_room;
};

static int add_event(struct sweep *sweep, struct event event)
{
	if (sweep->event_count == sweep->event_room) {
		size_t room = sweep->event_room ? sweep->event_room * 2 : 64;
		struct event *more = talloc_realloc(sweep->ctx, sweep->events, struct event, room);
		if (!more)
			return -ENOMEM;
		sweep->events = more;
		sweep->event_room = room;
	}
	sweep->events[sweep->event_count++] = event;
	return 0;
}

static int gather_events(const struct walk *walk, struct sweep *sweep, const struct live *live, struct interval within)
{
	int field = walk->levels[sweep->level].field, error = 0;
	sweep->event_count = 0;
	for (size_t i = 0; i < live->count && !error; i++) {
		struct intervals set = contender_set(walk, live->at[i], field);
		for (size_t k = intervals_reaching(set, within.first); k < set.count && set.at[k].first <= within.last && !error;
			k++) {
			u128 first = set.at[k].first > within.first ? set.at[k].first : within.first;
			error = add_event(sweep, (struct event){first, live->at[i], true});
			if (!error && set.at[k].last < within.last)
				error = add_event(sweep, (struct event){set.at[k].last + 1, live->at[i], false});
		}
	}
	if (sweep->event_count)
		qsort(sweep->events, sweep->event_count, sizeof *sweep->events, by_place);
	return error;
}

static void change_active(const struct walk *walk, struct sweep *sweep, const struct event *event)
{
	sweep->name ^= walk->names[event->one];
	if (event->enters) {
		sweep->position[event->one] = (uint32_t)sweep->active_count;
		sweep->active[sweep->active_count++] = event->one;
		return;
	}
	uint32_t hole = sweep->position[event->one], last = sweep->active[--sweep->active_count];
	sweep->active[hole] = last;
	sweep->position[last] = hole;
}

static int add_part(struct sweep *sweep, uint32_t child, struct interval at)
{
	struct part *last = sweep->part_count ? &sweep->parts[sweep->part_count - 1] : NULL;
	if (child == NODE_SAME)
		return 0;
	if (last && last->child == child && last->at.last + 1 == at.first) {
		last->at.last = at.last;
		return 0;
	}
	if (sweep->part_count == sweep->part_room) {
		size_t room = sweep->part_room ? sweep->part_room * 2 : 16;
		struct part *more = talloc_realloc(sweep->ctx, sweep->parts, struct part, room);
		if (!more)
			return -ENOMEM;
		sweep->parts = more;
		sweep->part_room = room;
	}
	sweep->parts[sweep->part_count++] = (struct part){child, at};
	return 0;
}

static int visit(struct walk *walk, int level, struct live *live, uint32_t *node);

/* One stretch of the field, in which the same rules are alive. */
static int enter(struct walk *walk, const struct sweep *sweep, const unsigned char won[VIEWS], uint32_t *child)
{
	u128 key = state_key(sweep->level + 1, won, sweep->name, false);
	if (memo_get(walk, key, child))
		return 0;
	struct live live = {.at = talloc_array(sweep->ctx, uint32_t, sweep->active_count + 1), .count = sweep->active_count};
	if (!live.at)
		return -ENOMEM;
	if (live.count)
		memcpy(live.at, sweep->active, live.count * sizeof *live.at);
	memcpy(live.won, won, sizeof live.won);
	int outcome = visit(walk, sweep->level + 1, &live, child);
	talloc_free(live.at);
	return outcome ? outcome : memo_put(walk, key, *child);
}

/* One is enough? */
static bool found(const struct walk *walk, const struct sweep *sweep)
{
	return walk->contrast->goal != GOAL_ALL && sweep->part_count;
}

static int sweep_interval(struct walk *walk, struct sweep *sweep, const struct live *live, struct interval within)
{
	int outcome = gather_events(walk, sweep, live, within);
	u128 at = within.first;
	uint32_t child;
	sweep->active_count = 0;
	sweep->name = 0;
	for (size_t i = 0; !outcome;) {
		for (; i < sweep->event_count && sweep->events[i].at == at; i++)
			change_active(walk, sweep, &sweep->events[i]);
		bool end = i == sweep->event_count;
		u128 next = end ? 0 : sweep->events[i].at;
		outcome = enter(walk, sweep, live->won, &child);
		outcome = outcome ? outcome : add_part(sweep, child, (struct interval){at, end ? within.last : next - 1});
		if (end || found(walk, sweep))
			break;
		at = next;
	}
	return outcome;
}

/* Where nothing differs so far, only the reach of rules of one side is looked at. */
static int domain_of(const struct walk *walk, void *ctx, int field, const struct live *live, struct intervals *out)
{
	struct intervals region = set_of(walk->contrast->region, field), reach = {0};
	*out = region;
	if (walk->contrast->rest || !balanced(walk, live))
		return 0;
	size_t count = 0;
	for (size_t i = 0; i < live->count; i++)
		count += walk->own[live->at[i]] ? contender_set(walk, live->at[i], field).count : 0;
	struct interval *list = talloc_array(ctx, struct interval, count + 1);
	if (!list)
		return -ENOMEM;
	count = 0;
	for (size_t i = 0; i < live->count; i++) {
		struct intervals set = contender_set(walk, live->at[i], field);
		if (!walk->own[live->at[i]])
			continue;
		memcpy(list + count, set.at, set.count * sizeof *list);
		count += set.count;
	}
	int error = intervals_from(ctx, list, count, &reach);
	return error ? error : intervals_intersect(ctx, reach, region, out);
}

static int by_child(const void *left, const void *right)
{
	const struct part *a = left, *b = right;
	if (a->child != b->child)
		return a->child < b->child ? -1 : 1;
	return (a->at.first > b->at.first) - (a->at.first < b->at.first);
}

static int make_node(struct walk *walk, struct sweep *sweep, int field, uint32_t *out)
{
	struct node node = {.field = field, .edges = talloc_array(walk->ctx, struct edge, sweep->part_count + 1)};
	struct interval *list = talloc_array(sweep->ctx, struct interval, sweep->part_count + 1);
	if (!node.edges || !list)
		return -ENOMEM;
	if (sweep->part_count)
		qsort(sweep->parts, sweep->part_count, sizeof *sweep->parts, by_child);
	for (size_t i = 0; i < sweep->part_count;) {
		size_t count = 0;
		uint32_t child = sweep->parts[i].child;
		for (; i < sweep->part_count && sweep->parts[i].child == child; i++)
			list[count++] = sweep->parts[i].at;
		node.edges[node.count].child = child;
		if (intervals_from(walk->ctx, list, count, &node.edges[node.count++].set))
			return -ENOMEM;
		walk->bytes += sizeof *node.edges + count * sizeof *list;
	}
	*out = node.count ? node.edges[0].child : NODE_SAME;
	if (!node.count || (node.count == 1 && intervals_equal(node.edges[0].set, set_of(walk->contrast->region, field)))) {
		talloc_free(node.edges);
		return 0;
	}
	return intern(walk, &node, out);
}

static int split(struct walk *walk, int level, const struct live *live, uint32_t *node)
{
	int field = walk->levels[level].field;
	struct sweep sweep = {.ctx = talloc_new(walk->ctx), .level = level};
	struct intervals domain;
	if (!sweep.ctx)
		return -ENOMEM;
	sweep.active = talloc_array(sweep.ctx, uint32_t, live->count + 1);
	sweep.position = talloc_array(sweep.ctx, uint32_t, walk->contrast->count + 1);
	int outcome = sweep.active && sweep.position ? domain_of(walk, sweep.ctx, field, live, &domain) : -ENOMEM;
	for (size_t i = 0; !outcome && i < domain.count && !found(walk, &sweep); i++)
		outcome = sweep_interval(walk, &sweep, live, domain.at[i]);
	outcome = outcome ? outcome : make_node(walk, &sweep, field, node);
	talloc_free(sweep.ctx);
	return outcome;
}

static int visit(struct walk *walk, int level, struct live *live, uint32_t *node)
{
	reduce(walk, level, live);
	*node = NODE_SAME;
	if (overspent(walk))
		return 2;
	if (all_the_same(walk, live))
		return 0;
	if (!live->count || level == walk->level_count)
		return make_leaf(walk, live->won, node);
	drop_bystanders(walk, level, live);
	u128 key = state_key(level, live->won, live_name(walk, live), true);
	if (memo_get(walk, key, node))
		return 0;
	int outcome = split(walk, level, live, node);
	return outcome ? outcome : memo_put(walk, key, *node);
}

/* From the diagram to boxes: every way from the root to a leaf is one. */

struct way {
	struct box box;
	struct bit *bits;
};

static struct outcome decode(unsigned char code)
{
	return code == LEVEL_NONE ? (struct outcome){LEVEL_NONE, false} : (struct outcome){code / 2, code % 2};
}

static int emit(struct walk *walk, void *ctx, const struct way *way, const struct leaf *leaf, struct contrast_boxes *out)
{
	if (out->count == BOXES_MAX)
		return 2;
	if (!out->at || !(out->count & (out->count - 1))) {
		struct contrast_box *more = talloc_realloc(ctx, out->at, struct contrast_box, out->count ? out->count * 2 : 1);
		if (!more)
			return -ENOMEM;
		out->at = more;
	}
	struct contrast_box *box = &out->at[out->count++];
	*box = (struct contrast_box){.box = way->box};
	for (int side = 0; side < 2; side++) {
		box->within[side] = decode(leaf->code[side]);
		box->over[side] = decode(leaf->code[2 + side]);
	}
	box->verdict_differs = box->within[0].verdict != box->within[1].verdict;
	box->log_differs = box->within[0].log != box->within[1].log;
	box->over_differs = box->over[0].verdict != box->over[1].verdict;
	box->box.bits = talloc_memdup(ctx, way->bits, (way->box.bit_count + 1) * sizeof *way->bits);
	walk->bytes += sizeof *box;
	return box->box.bits ? 0 : -ENOMEM;
}

static int by_variable(const void *a, const void *b)
{
	const struct bit *x = a, *y = b;
	return (x->variable > y->variable) - (x->variable < y->variable);
}

static void take(struct way *way, int field, struct intervals set)
{
	if (field < FIELDS) {
		way->box.field[field] = set;
		return;
	}
	way->bits[way->box.bit_count++] = (struct bit){(uint32_t)(field - FIELDS), set.at[0].first != 0};
}

static int follow(struct walk *walk, void *ctx, struct way *way, uint32_t at, struct contrast_boxes *out)
{
	const struct node *node = &walk->nodes[at];
	int outcome = 0;
	if (at == NODE_SAME)
		return 0;
	if (node->field == LEAF)
		return emit(walk, ctx, way, &walk->leaves[node->leaf], out);
	for (size_t i = 0; i < node->count && !outcome; i++) {
		struct way next = *way;
		take(&next, node->field, node->edges[i].set);
		outcome = follow(walk, ctx, &next, node->edges[i].child, out);
	}
	return outcome;
}

static int prepare(struct walk *walk, struct live *live)
{
	size_t count = walk->contrast->count;
	uint64_t seed = 1;
	walk->names = talloc_array(walk->ctx, u128, count + 1);
	walk->own = talloc_array(walk->ctx, bool, count + 1);
	live->at = talloc_array(walk->ctx, uint32_t, count + 1);
	if (!walk->names || !walk->own || !live->at || memo_grow(walk) || rehash(walk))
		return -ENOMEM;
	find_differing(walk);
	walk->node_count = 1; /* NODE_SAME */
	walk->nodes[NODE_SAME] = (struct node){.field = LEAF};
	for (uint32_t i = 0; i < count; i++) {
		unsigned views = walk->contrast->contenders[i].views;
		walk->names[i] = (u128)random_step(&seed) << 64 | random_step(&seed);
		/* Over its limit a rule of both leaves its packets to the defaults, which may differ. */
		bool falls = !(views >> VIEW_OLD_OVER) && walk->differ[1][0] & 1;
		walk->own[i] = falls || (views & 1) != (views >> 1 & 1) || (views >> 2 & 1) != (views >> 3 & 1);
		live->at[i] = i;
	}
	live->count = count;
	int error = order_fields(walk);
	return error ? error : mark_covers(walk);
}

static int find_all(struct walk *walk, void *ctx, struct contrast_boxes *out)
{
	const struct box *region = walk->contrast->region;
	struct way way = {.box = *region};
	struct live live = {0};
	uint32_t root;
	int outcome = prepare(walk, &live);
	outcome = outcome ? outcome : visit(walk, 0, &live, &root);
	way.bits = outcome ? NULL : talloc_array(walk->ctx, struct bit, region->bit_count + 2 * walk->contrast->host_count + 2);
	if (!outcome && !way.bits)
		outcome = -ENOMEM;
	if (!outcome && region->bit_count)
		memcpy(way.bits, region->bits, region->bit_count * sizeof *way.bits);
	size_t before = out->count;
	outcome = outcome ? outcome : follow(walk, ctx, &way, root, out);
	for (size_t i = before; i < out->count && !outcome; i++)
		qsort((struct bit *)(uintptr_t)out->at[i].box.bits, out->at[i].box.bit_count, sizeof(struct bit), by_variable);
	return outcome;
}

/* The boxes share the sets that the walk has made, so these live as long as ctx. */
int contrast_find(void *ctx, const struct contrast *contrast, struct spending *spending, struct contrast_boxes *out)
{
	struct walk walk = {.contrast = contrast, .spending = spending, .ctx = talloc_new(ctx)};
	if (!walk.ctx)
		return -ENOMEM;
	size_t before = out->count;
	int outcome = find_all(&walk, ctx, out);
	if (outcome || out->count == before)
		talloc_free(walk.ctx);
	return outcome;
}
