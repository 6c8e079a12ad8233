/*
 * The proof that the policy means what the source means, made from the policy's text.
 *
 * First exactly: what an entry of the source's list matches and no earlier one does must get its verdict from the policy. That is
 * one question to the decision search (dsl/decision): earlier entries take part as rules that win and are not asked for, and a
 * packet with another verdict is looked for. Then by packets on both sides of the edges of all that is matched, against the
 * source's chains (evaluate.c): so the list itself is measured too.
 */
#include "dsl/decision/search.h"
#include "dsl/import/foreign.h"
#include "portpolicy/policy.h"
#include <errno.h>
#include <string.h>
#include <talloc.h>

#define NAME "imported.policy"
#define SECONDS 60 /* for all questions together; what is left then is tried with packets only */

struct proof {
	struct import *import;
	const struct policy *policy;
	struct boxes boxes[DIRECTIONS][ZONES];
	struct imported *imported;
	const char *problem;
	struct spending time;
	bool gave_up;
};

/* The environment of a policy that includes nothing. */
static int read_text(void *data, void *ctx, const char *path, enum file_kind kind, char **bytes, size_t *length)
{
	(void)kind;
	if (strcmp(path, NAME))
		return -ENOENT;
	*length = strlen(data);
	*bytes = talloc_memdup(ctx, data, *length + 1);
	return *bytes ? 0 : -ENOMEM;
}
static int no_paths(void *data, void *ctx, const char *pattern, char ***paths, size_t *count)
{
	(void)data, (void)ctx, (void)pattern;
	*paths = NULL;
	*count = 0;
	return 0;
}
static int same_path(void *data, void *ctx, const char *path, char **out)
{
	(void)data;
	*out = talloc_strdup(ctx, path);
	return *out ? 0 : -ENOMEM;
}
static int no_account(void *data, const char *name, uint32_t *id)
{
	(void)data, (void)name, (void)id;
	return -ENOENT;
}

/* The policy's own reader has the last word on the text. */
static int load(struct proof *proof, const char *text)
{
	struct import *import = proof->import;
	struct environment environment = {.data = (void *)(uintptr_t)text,
		.read_file = read_text,
		.glob = no_paths,
		.canonical = same_path,
		.find_user = no_account,
		.find_group = no_account,
		.host = "imported"};
	struct diagnostics *diagnostics = diagnostics_new(import->ctx);
	struct policy *policy;
	if (!diagnostics)
		return -ENOMEM;
	int error = policy_load(import->ctx, NAME, &environment, diagnostics, &policy);
	if (error == 1) {
		const struct diagnostic *one = diagnostics->first;
		while (one && one->severity != SEVERITY_ERROR)
			one = one->next;
		proof->problem =
			import_text(import, "the text that came out is no policy, at line %u: %s (a defect of portpolicy)",
				one && one->span.source ? span_position(one->span).line : 0, one ? one->message : "");
		return 2;
	}
	proof->policy = policy;
	for (size_t i = 0; i < (error ? 0 : policy->rule_count) && !error; i++)
		for (int zone = 0; zone < ZONES && !policy->rules[i].above && !error; zone++)
			error = rule_boxes(import->ctx, &policy->rules[i].match, (enum zone)zone, i,
				&proof->boxes[policy->rules[i].match.direction][zone]);
	return error;
}

static bool has_ports(unsigned protocol)
{
	return protocol == PROTOCOL_TCP || protocol == PROTOCOL_UDP || protocol == PROTOCOL_SCTP;
}
static unsigned icmp_of(enum family family)
{
	return family == FAMILY_IPV4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6;
}
/* No rule can name these here (clauses.c). */
static bool spoken_of(enum family family, unsigned protocol)
{
	return protocol != icmp_of(family == FAMILY_IPV4 ? FAMILY_IPV6 : FAMILY_IPV4) && protocol && protocol != 43 &&
	       protocol != 44 && protocol != 59 && protocol != 60;
}

static void add_box(struct import *import, struct boxes *list, const struct box *box)
{
	for (int field = 0; field < FIELDS; field++)
		if (!box->field[field].count)
			return;
	struct box *more = list->count & (list->count - 1)
				   ? list->at
				   : talloc_realloc(import->ctx, list->at, struct box, list->count ? list->count * 2 : 1);
	if (!more) {
		import->error = -ENOMEM;
		return;
	}
	list->at = more;
	list->at[list->count++] = *box;
}

/* Those with a process, and those without. */
static void add_subjects(struct import *import, const struct area *area, struct box *box, struct boxes *out)
{
	struct intervals processes = set_single(import, 0, 0xffffffff);
	box->field[FIELD_USER] = set_common(import, area->of[DIM_USER], processes);
	box->field[FIELD_GROUP] = set_common(import, area->of[DIM_GROUP], processes);
	box->field[FIELD_UNIT] = set_single(import, UNIT_OTHER, UNIT_OTHER);
	add_box(import, out, box);
	if (!intervals_contain(area->of[DIM_USER], NO_PROCESS) || !intervals_contain(area->of[DIM_GROUP], NO_PROCESS))
		return;
	box->field[FIELD_USER] = box->field[FIELD_GROUP] = set_single(import, NO_PROCESS, NO_PROCESS);
	box->field[FIELD_UNIT] = set_single(import, UNIT_NONE, UNIT_NONE);
	add_box(import, out, box);
}

static struct intervals block_of(struct import *import, struct intervals traffic, unsigned protocol, unsigned last)
{
	struct intervals block = set_common(import, traffic, set_single(import, TRAFFIC(protocol, 0), TRAFFIC(protocol, last)));
	struct interval *list = talloc_array(import->ctx, struct interval, block.count + 1);
	for (size_t i = 0; list && i < block.count; i++)
		list[i] = (struct interval){block.at[i].first % SERVICES, block.at[i].last % SERVICES};
	if (!list)
		import->error = -ENOMEM;
	return list ? (struct intervals){list, block.count} : (struct intervals){0};
}

/* An area as boxes of the packets that there are. */
static void area_boxes(struct import *import, enum family family, const struct area *area, struct boxes *out)
{
	struct box box = {.family = family};
	struct interval others[256];
	size_t count = 0;
	box.field[FIELD_ARRIVING] = area->of[DIM_ARRIVING];
	box.field[FIELD_LEAVING] = area->of[DIM_LEAVING];
	box.field[FIELD_SOURCE] = area->of[DIM_SOURCE];
	box.field[FIELD_DESTINATION] = area->of[DIM_DESTINATION];
	for (unsigned protocol = 1; protocol < 256; protocol++) {
		bool icmp = protocol == icmp_of(family), ports = has_ports(protocol);
		if (!spoken_of(family, protocol))
			continue;
		if (!icmp && !ports) {
			if (intervals_contain(area->of[DIM_TRAFFIC], TRAFFIC(protocol, 0)))
				others[count++] = (struct interval){protocol, protocol};
			continue;
		}
		box.field[FIELD_PROTOCOL] = set_single(import, protocol, protocol);
		box.field[FIELD_SERVICE] = block_of(import, area->of[DIM_TRAFFIC], protocol, ports ? 65535 : 255);
		box.field[FIELD_SOURCE_PORT] = ports ? area->of[DIM_SOURCE_PORT] : set_single(import, 0, 0);
		if (box.field[FIELD_SERVICE].count)
			add_subjects(import, area, &box, out);
	}
	if (!count)
		return;
	if (intervals_from(import->ctx, others, count, &box.field[FIELD_PROTOCOL]))
		import->error = -ENOMEM;
	box.field[FIELD_SERVICE] = box.field[FIELD_SOURCE_PORT] = set_single(import, 0, 0);
	add_subjects(import, area, &box, out);
}

static enum foreign_verdict verdict_of(enum action action)
{
	return action == ACTION_ALLOW ? FV_ACCEPT : action == ACTION_REJECT ? FV_REJECT : FV_DROP;
}

static const char *const words[] = {"nothing", "allow", "reject", "deny"};

static void report(struct proof *proof, enum direction direction, const struct box *witness, enum foreign_verdict wanted,
	const struct foreign_rule *rule)
{
	struct packet packet = {.direction = direction, .family = witness->family};
	for (int field = 0; field < FIELDS; field++)
		packet.field[field] = pleasant_value((enum field)field, witness->family, direction, witness->field[field]);
	char *text = packet_text(proof->import->ctx, proof->policy, &packet);
	if (!text)
		proof->import->error = -ENOMEM;
	else
		proof->problem = import_text(proof->import,
			"what came out does not decide as the source does (a defect of portpolicy): %s should be %s by line %u",
			text, words[wanted], rule ? rule->line : 0);
}

/* One box of what an entry matches. */
struct task {
	enum direction direction;
	enum zone zone;
	enum foreign_verdict wanted;
	const struct foreign_rule *rule;
	const struct box *region;
	struct candidate *candidates;
	size_t count;
};

static int ask(struct proof *proof, const struct task *task, unsigned wanted)
{
	struct box witness;
	struct question question = {
		.region = task->region, .candidates = task->candidates, .count = task->count, .wanted = wanted};
	struct spending spending;
	void *scratch = talloc_new(NULL);
	if (!scratch)
		return -ENOMEM;
	spending_start(&spending, (struct budget){.nodes = 2000000, .bytes = (size_t)128 << 20, .seconds = 5});
	int outcome = search(scratch, &question, &spending, &witness);
	if (outcome == 0)
		report(proof, task->direction, &witness, task->wanted, task->rule);
	proof->gave_up |= outcome == 2;
	talloc_free(scratch);
	return outcome < 0 ? outcome : outcome == 0 ? 2 : 0;
}

/* How strict a rule of the policy counts in the question for a wrong verdict. */
static enum strictness role(enum foreign_verdict wanted, enum foreign_verdict verdict, bool second)
{
	if (verdict == FV_ACCEPT)
		return STRICT_ALLOW;
	switch (wanted) {
	case FV_ACCEPT:
		return STRICT_REJECT;
	case FV_DROP:
		return verdict == FV_DROP ? STRICT_DENY : STRICT_REJECT;
	default:
		return second || verdict == FV_REJECT ? STRICT_DENY : STRICT_REJECT;
	}
}

/* As boxes_overlap, with the cheapest refusals of these lists first; no host names stand in them. */
static bool touch(const struct box *a, const struct box *b)
{
	static const enum field order[] = {FIELD_SOURCE, FIELD_SERVICE, FIELD_DESTINATION, FIELD_PROTOCOL, FIELD_ARRIVING,
		FIELD_LEAVING, FIELD_SOURCE_PORT, FIELD_USER, FIELD_GROUP, FIELD_UNIT};
	if (a->family != b->family)
		return false;
	for (int i = 0; i < FIELDS; i++)
		if (!intervals_overlap(a->field[order[i]], b->field[order[i]]))
			return false;
	return true;
}

static int prove_box(struct proof *proof, struct task *task, size_t earlier)
{
	const struct boxes *boxes = &proof->boxes[task->direction][task->zone];
	enum foreign_verdict fallback =
		task->zone == ZONE_LOOPBACK ? FV_ACCEPT : verdict_of(proof->policy->directions[task->direction].action);
	unsigned other_default = fallback != task->wanted ? 1u << STRICT_DEFAULT : 0;
	unsigned wrong = task->wanted == FV_ACCEPT ? 1u << STRICT_REJECT | other_default
						   : 1u << STRICT_REJECT | 1u << STRICT_ALLOW | other_default;
	/* A reject is asked about twice: does a deny win, and does nothing strict enough match? In the first, what is less strict
	 * is not asked for. */
	for (int second = 0; second <= (task->wanted == FV_REJECT); second++) {
		task->count = earlier;
		for (size_t i = 0; i < boxes->count; i++)
			if (touch(task->region, &boxes->at[i])) {
				enum foreign_verdict verdict = verdict_of(proof->policy->rules[boxes->at[i].rule].action);
				if (task->wanted == FV_REJECT && !second && verdict != FV_DROP)
					continue;
				task->candidates[task->count++] =
					(struct candidate){&boxes->at[i], role(task->wanted, verdict, second)};
			}
		int outcome = ask(proof, task,
			task->wanted != FV_REJECT ? wrong
			: second		  ? 1u << STRICT_ALLOW | other_default
						  : 1u << STRICT_REJECT);
		if (outcome)
			return outcome;
	}
	return 0;
}

static bool counts(const struct list_entry *entry)
{
	return entry->verdict == FV_ACCEPT || entry->unsure || entry->quota.kind == QUOTA_NONE;
}

/* Leaves out what one earlier entry holds already: it is never asked about. */
static void drop_hidden(struct import *import, struct entries *entries)
{
	for (size_t i = 0; i < entries->count; i++) {
		struct areas kept = {0};
		for (size_t a = 0; a < entries->at[i].areas.count; a++) {
			const struct area *area = &entries->at[i].areas.at[a];
			bool hidden = false;
			for (size_t j = 0; j < i && !hidden; j++)
				for (size_t b = 0; b < entries->at[j].areas.count && counts(&entries->at[j]) && !hidden; b++)
					hidden = area_cover(&entries->at[j].areas.at[b], area);
			if (!hidden)
				areas_add(import, &kept, area);
		}
		entries->at[i].areas = kept;
	}
}

static bool out_of_time(struct proof *proof)
{
	struct spending now;
	spending_start(&now, BUDGET_DEFAULT);
	proof->gave_up |= now.started - proof->time.started > SECONDS;
	return proof->gave_up;
}

static int prove_entry(struct proof *proof, const struct zone_space *space, const struct entries *entries,
	const struct boxes *entry_boxes, const struct boxes *widened, size_t at)
{
	const struct list_entry *entry = &entries->at[at];
	size_t most = proof->boxes[space->direction][space->loopback].count + widened->count;
	for (size_t i = 0; i < at; i++)
		most += entry_boxes[i].count;
	struct candidate *candidates = talloc_array(proof->import->ctx, struct candidate, most + 1);
	int outcome = candidates ? 0 : -ENOMEM;
	for (size_t b = 0; b < entry_boxes[at].count && !outcome; b++) {
		struct task task = {.direction = space->direction,
			.zone = space->loopback ? ZONE_LOOPBACK : ZONE_WORLD,
			.wanted = entry->verdict,
			.rule = entry->rule,
			.region = &entry_boxes[at].at[b],
			.candidates = candidates};
		for (size_t i = 0; i < at; i++)
			for (size_t k = 0; counts(&entries->at[i]) && k < entry_boxes[i].count; k++)
				if (touch(task.region, &entry_boxes[i].at[k]))
					candidates[task.count++] = (struct candidate){&entry_boxes[i].at[k], STRICT_DENY};
		for (size_t i = 0; i < widened->count; i++)
			if (touch(task.region, &widened->at[i]))
				candidates[task.count++] = (struct candidate){&widened->at[i], STRICT_DENY};
		outcome = prove_box(proof, &task, task.count);
	}
	talloc_free(candidates);
	proof->imported->proved += !outcome;
	return outcome;
}

static int prove_space(struct proof *proof, const struct zone_space *space)
{
	struct import *import = proof->import;
	struct entries entries;
	if (!flatten(import, space, &entries))
		return 0;
	struct boxes *entry_boxes = talloc_zero_array(import->ctx, struct boxes, entries.count + 1);
	if (!entry_boxes)
		return -ENOMEM;
	drop_hidden(import, &entries);
	for (size_t i = 0; i < entries.count; i++)
		for (size_t a = 0; a < entries.at[i].areas.count; a++)
			area_boxes(import, space->family, &entries.at[i].areas.at[a], &entry_boxes[i]);
	struct boxes widened = {0};
	for (size_t i = 0; i < import->widened_count; i++)
		if (import->widened[i].direction == space->direction && import->widened[i].family == space->family)
			area_boxes(import, space->family, &import->widened[i].area, &widened);
	int outcome = import->error;
	for (size_t i = 0; i < entries.count && !outcome && !out_of_time(proof); i++)
		if (!entries.at[i].unsure && counts(&entries.at[i]))
			outcome = prove_entry(proof, space, &entries, entry_boxes, &widened, i);
	return outcome;
}

static uint64_t random_next(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* An edge of the set, the value before or behind it, or one within. */
static u128 near_edge(uint64_t *state, struct intervals set, struct intervals whole)
{
	const struct interval *one = &set.at[random_next(state) % set.count];
	u128 values[] = {one->first, one->last, one->first - 1, one->last + 1, one->first + (one->last - one->first) / 2};
	u128 value = values[random_next(state) % 5];
	return intervals_contain(whole, value) ? value : one->first;
}

/* A message is for a terminal. */
static void make_plain(char *text)
{
	for (; text && *text; text++)
		if ((unsigned char)*text < ' ' || (unsigned char)*text > '~')
			*text = '?';
}

static bool make_point(uint64_t *state, const struct zone_space *space, const struct area *area, u128 *point)
{
	/* Most fields within, one or two at an edge. */
	unsigned edges = (unsigned)random_next(state) & (unsigned)random_next(state);
	for (int d = 0; d < DIMENSIONS; d++) {
		const struct interval *one = &area->of[d].at[random_next(state) % area->of[d].count];
		point[d] = edges & (1u << d) ? near_edge(state, area->of[d], space->whole.of[d]) : one->first;
		if (!(edges & (1u << d)) && one->last > one->first)
			point[d] =
				one->first + ((u128)random_next(state) << 64 | random_next(state)) %
						     (one->last - one->first == U128_MAX ? U128_MAX : one->last - one->first + 1);
	}
	unsigned protocol = (unsigned)(point[DIM_TRAFFIC] / SERVICES), service = (unsigned)(point[DIM_TRAFFIC] % SERVICES);
	if (protocol == icmp_of(space->family))
		service &= 255;
	else if (!has_ports(protocol))
		service = 0;
	if (!has_ports(protocol))
		point[DIM_SOURCE_PORT] = 0;
	point[DIM_TRAFFIC] = TRAFFIC(protocol, service);
	if (point[DIM_USER] == NO_PROCESS || point[DIM_GROUP] == NO_PROCESS)
		point[DIM_USER] = point[DIM_GROUP] = NO_PROCESS;
	return spoken_of(space->family, protocol);
}

static enum foreign_verdict policy_verdict(
	const struct proof *proof, const struct zone_space *space, const u128 *point, struct packet *packet)
{
	const struct boxes *boxes = &proof->boxes[space->direction][space->loopback];
	const struct direction_policy *direction = &proof->policy->directions[space->direction];
	enum foreign_verdict verdict = FV_NONE;
	*packet = (struct packet){.direction = space->direction, .family = space->family};
	u128 *field = packet->field;
	field[FIELD_PROTOCOL] = point[DIM_TRAFFIC] / SERVICES;
	field[FIELD_SERVICE] = point[DIM_TRAFFIC] % SERVICES;
	field[FIELD_SOURCE_PORT] = point[DIM_SOURCE_PORT];
	field[FIELD_SOURCE] = point[DIM_SOURCE];
	field[FIELD_DESTINATION] = point[DIM_DESTINATION];
	field[FIELD_ARRIVING] = point[DIM_ARRIVING];
	field[FIELD_LEAVING] = point[DIM_LEAVING];
	field[FIELD_USER] = point[DIM_USER];
	field[FIELD_GROUP] = point[DIM_GROUP];
	field[FIELD_UNIT] = point[DIM_USER] == NO_PROCESS ? UNIT_NONE : UNIT_OTHER;
	for (size_t i = 0; i < boxes->count; i++) {
		enum foreign_verdict its = verdict_of(proof->policy->rules[boxes->at[i].rule].action);
		if (its > verdict && box_holds(&boxes->at[i], packet))
			verdict = its;
	}
	return verdict != FV_NONE ? verdict : space->loopback || !direction->managed ? FV_ACCEPT : verdict_of(direction->action);
}

static int try_point(struct proof *proof, const struct zone_space *space, const u128 *point)
{
	struct packet packet;
	unsigned possible = evaluate(proof->import, space->direction, space->family, point);
	enum foreign_verdict verdict = policy_verdict(proof, space, point, &packet);
	bool certain = !(possible & EVALUATE_UNSURE),
	     lax = verdict == FV_ACCEPT && (possible & (1u << FV_DROP | 1u << FV_REJECT));
	/* Where the source is not certain the policy may only be the stricter. */
	if (certain ? possible == 1u << verdict : !lax || proof->import->skip_unknown)
		return 0;
	char *text = packet_text(proof->import->ctx, proof->policy, &packet);
	if (!text)
		return -ENOMEM;
	make_plain(text);
	proof->problem = import_text(proof->import,
		"what came out does not decide as the source does (a defect of portpolicy): %s is %s, where the source%s%s%s%s",
		text, words[verdict], possible & 2 ? " allows" : "", possible & 4 ? " rejects" : "",
		possible & 8 ? " denies" : "", certain ? "" : " (not certain)");
	return 2;
}

static int sample(struct proof *proof, const struct zone_space *space, const struct area *areas, size_t count, size_t packets,
	uint64_t *state)
{
	u128 point[DIMENSIONS];
	for (size_t i = 0; i < packets && count; i++) {
		const struct area *area = &areas[i % count];
		if (!make_point(state, space, area, point))
			continue;
		int outcome = try_point(proof, space, point);
		if (outcome)
			return outcome;
		proof->imported->sampled++;
	}
	return 0;
}

static int sample_space(struct proof *proof, const struct zone_space *space, const struct direction_plan *plan)
{
	struct import *import = proof->import;
	struct entries entries;
	struct areas areas = {0};
	uint64_t state = 88172645463325252ULL;
	if (!flatten(import, space, &entries))
		return 0;
	for (size_t i = 0; i < entries.count; i++)
		for (size_t a = 0; a < entries.at[i].areas.count; a++)
			areas_add(import, &areas, &entries.at[i].areas.at[a]);
	for (size_t i = 0; i < plan->count; i++)
		if (plan->at[i].in[space->family] && plan->at[i].loopback == space->loopback)
			areas_add(import, &areas, &plan->at[i].area[space->family]);
	/* As many packets as a second or two judge. */
	size_t packets = areas.count * 20 + 200, most = 20000000 / (import->rule_count + proof->policy->rule_count + 1) + 500;
	return import->error ? import->error
			     : sample(proof, space, areas.at, areas.count, packets < most ? packets : most, &state);
}

static int prove_all(struct proof *proof, const struct direction_plan *plans)
{
	int outcome = 0;
	for (int d = 0; d < DIRECTIONS && !outcome; d++)
		for (int loopback = 0; loopback < (d == DIRECTION_FORWARD ? 1 : 2) && plans[d].managed; loopback++)
			for (int family = 0; family < FAMILIES && !outcome; family++) {
				struct zone_space space;
				zone_space(proof->import, (enum direction)d, (enum family)family, loopback, &space);
				outcome = sample_space(proof, &space, &plans[d]);
				outcome = outcome ? outcome : prove_space(proof, &space);
			}
	return outcome;
}

int prove(struct import *import, const struct direction_plan *plans, const char *text, struct imported *imported,
	const char **problem)
{
	struct proof proof = {.import = import, .imported = imported};
	spending_start(&proof.time, BUDGET_DEFAULT);
	int outcome = load(&proof, text);
	outcome = outcome ? outcome : prove_all(&proof, plans);
	if (proof.gave_up)
		imported->unproved = "the proof for all packets needs more time or memory than it may take";
	*problem = proof.problem;
	return import->error ? import->error : outcome;
}
