/*
 * The difference of two policies against brute force: random policies of the whole language, packets on both sides of every
 * boundary.
 *
 *   difference [PAIRS [REWRITES [SEED]]]
 *
 * What diff says of a packet must be what two naive evaluators say of it, one for each policy; the sets are read back from their
 * words, as lines of a policy; and every example must be decided as it is said. A policy rewritten without a change of meaning
 * has no difference.
 */
#include "agent/cli/versions.h"
#include "dsl/decision/region.h"
#include "portpolicy/comparison.h"
#include "tests/netns/lib/model.h"
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <talloc.h>
#include <unistd.h>

#define PROBES 150

struct bench {
	void *ctx;
	char directory[64];
	struct strangers *strangers;
	size_t differences, failures, packets, differing;
};

static struct invocation call = {.verb = "diff", .table = DEFAULT_TABLE, .host = "host"};

static struct policy *load(struct bench *bench, const char *name, const struct model *model, const char *more)
{
	char *path = talloc_asprintf(bench->ctx, "%s/%s.policy", bench->directory, name);
	FILE *stream = fopen(path, "we");
	struct version *version;
	struct policy *policy = NULL;
	model_print(stream, model);
	if (more)
		fputs(more, stream);
	fclose(stream);
	if (model_write_lists(model, bench->directory) ||
		version_open(bench->ctx, &call, path, NULL, bench->strangers, &version) ||
		version_load(bench->ctx, version, "host", &policy))
		return NULL;
	return policy;
}

/* Policies that share their names: the second is the first with some rules of a third, and some settings changed. */

static struct model *changed(struct bench *bench, const struct model *model, const struct model *other, struct random *random)
{
	struct model *copy = model_copy(bench->ctx, model);
	size_t changes = random_chance(random, 60) ? 1 + random_below(random, 3) : 1 + random_below(random, RULES_MAX);
	for (size_t i = 0; i < changes; i++) {
		size_t at = copy->rule_count ? random_below(random, copy->rule_count) : 0;
		const struct rule_model *more = other->rule_count ? &other->rules[random_below(random, other->rule_count)] : NULL;
		switch (random_below(random, 6)) {
		case 0:
			if (copy->rule_count > 1)
				memmove(&copy->rules[at], &copy->rules[at + 1], (--copy->rule_count - at) * sizeof *copy->rules);
			break;
		case 1:
		case 2:
			if (more && copy->ways[more->way].managed && copy->rule_count < RULES_MAX)
				copy->rules[copy->rule_count++] = *more;
			break;
		case 3:
			if (copy->rule_count)
				copy->rules[at].action = (enum strictness)random_below(random, 3);
			if (copy->rule_count && copy->rules[at].rate)
				copy->rules[at].rate = copy->rules[at].action == ALLOW ? RATE_LIMIT : RATE_ABOVE;
			break;
		case 4:
			if (copy->rule_count)
				copy->rules[at].log = !copy->rules[at].log;
			break;
		case 5:
			if (random_chance(random, 30))
				copy->ways[random_below(random, WAYS)].action = (enum strictness)random_below(random, 3);
			break;
		}
	}
	return copy;
}

static bool uses_names(const struct value *value)
{
	if (!value)
		return false;
	if (value->kind == VALUE_NAME || value->kind == VALUE_FILE)
		return true;
	for (size_t i = 0; i < value->count; i++)
		if (uses_names(value->items[i]))
			return true;
	return false;
}

/* Rules of another model must not use its names, nor its lists. */
static struct model *without_names(struct bench *bench, const struct model *model)
{
	struct model *copy = model_copy(bench->ctx, model);
	size_t kept = 0;
	for (size_t i = 0; i < copy->rule_count; i++) {
		const struct rule_model *rule = &copy->rules[i];
		bool named = uses_names(rule->from) || uses_names(rule->to) || uses_names(rule->source_port);
		for (size_t k = 0; k < rule->traffic.count; k++)
			named |= rule->traffic.items[k].service || uses_names(rule->traffic.items[k].behind);
		if (!named)
			copy->rules[kept++] = *rule;
	}
	copy->rule_count = kept;
	return copy;
}

/* What the naive evaluators say. */

static bool matches(const struct model *model, size_t rule, const struct probe *probe)
{
	struct model *one = talloc_zero(NULL, struct model);
	memcpy(one->ways, model->ways, sizeof one->ways);
	one->rules = &model->rules[rule];
	one->rule_count = 1;
	bool found = naive_decide(one, probe).decider == DECIDED_BY_RULE;
	talloc_free(one);
	return found;
}

static bool logged(const struct model *model, const struct probe *probe, const struct naive *naive)
{
	if (naive->decider == DECIDED_BY_DEFAULT)
		return model->ways[probe->way].log;
	for (size_t i = 0; i < model->rule_count && naive->decider == DECIDED_BY_RULE; i++)
		if (model->rules[i].log && model->rules[i].action == naive->verdict && matches(model, i, probe))
			return true;
	return false;
}

static enum strictness over_limits(const struct model *model, const struct probe *probe)
{
	struct model *unlimited = model_copy(NULL, model);
	size_t kept = 0;
	for (size_t i = 0; i < model->rule_count; i++)
		if (model->rules[i].rate == RATE_NONE)
			unlimited->rules[kept++] = model->rules[i];
	unlimited->rule_count = kept;
	enum strictness verdict = naive_decide(unlimited, probe).verdict;
	talloc_free(unlimited);
	return verdict;
}

struct expected {
	unsigned kinds; /* bit 1 << enum difference_kind */
	bool rest;	/* both leave it to their defaults */
};

static unsigned verdict_kind(enum strictness old, enum strictness new)
{
	if (old == new)
		return 0;
	return 1u << (new == ALLOW     ? DIFFERENCE_ALLOWED
		       : old == ALLOW  ? DIFFERENCE_DENIED
		       : new == REJECT ? DIFFERENCE_REJECTED
				       : DIFFERENCE_SILENCED);
}

static struct expected expect(const struct model *old, const struct model *new, const struct probe *probe)
{
	struct naive was = naive_decide(old, probe), is = naive_decide(new, probe);
	struct expected expected = {
		verdict_kind(was.verdict, is.verdict), was.decider != DECIDED_BY_RULE && is.decider != DECIDED_BY_RULE};
	bool was_logged = logged(old, probe, &was), is_logged = logged(new, probe, &is);
	if (was_logged != is_logged)
		expected.kinds |= 1u << (is_logged ? DIFFERENCE_LOGGED : DIFFERENCE_UNLOGGED);
	if (was.verdict == is.verdict) {
		enum strictness before = over_limits(old, probe), after = over_limits(new, probe);
		if (before != after)
			expected.kinds |= 1u << (after == ALLOW	    ? DIFFERENCE_UNLIMITED
						  : before == ALLOW ? DIFFERENCE_LIMITED
								    : DIFFERENCE_OVER);
	}
	return expected;
}

/* What diff says: its words, read as rules. */

static struct packet packet_of(const struct probe *probe)
{
	struct packet packet = {
		.direction = (enum direction)probe->way, .family = probe->family == 4 ? FAMILY_IPV4 : FAMILY_IPV6};
	u128 *field = packet.field;
	bool ports = probe->protocol == 6 || probe->protocol == 17 || probe->protocol == 132;
	bool types = probe->protocol == (probe->family == 4 ? 1 : 58);
	field[FIELD_ARRIVING] = probe->arriving >= 0 ? interface_number(interface_names[probe->arriving]) : 0;
	field[FIELD_LEAVING] = probe->leaving >= 0 ? interface_number(interface_names[probe->leaving]) : 0;
	field[FIELD_PROTOCOL] = (unsigned)probe->protocol;
	field[FIELD_SERVICE] = ports || types ? probe->service : 0;
	field[FIELD_SOURCE_PORT] = ports ? probe->source_port : 0;
	field[FIELD_SOURCE] = probe->source;
	field[FIELD_DESTINATION] = probe->destination;
	field[FIELD_USER] = probe->way == WAY_OUT ? probe->uid : NO_PROCESS;
	field[FIELD_GROUP] = probe->way == WAY_OUT ? probe->gid : NO_PROCESS;
	field[FIELD_UNIT] = probe->way == WAY_OUT ? UNIT_OTHER : UNIT_NONE;
	return packet;
}

/* A set of two `by` is two rules that must both match. */
static char *as_rules(void *ctx, const char *words, size_t *count)
{
	const char *first = strstr(words, " by "), *second = first ? strstr(first + 4, " by ") : NULL,
		   *third = second ? strstr(second + 4, " by ") : NULL;
	*count = 1 + (second != NULL) + (third != NULL);
	if (!second)
		return talloc_asprintf(ctx, "allow %s\n", words);
	char *head = talloc_strndup(ctx, words, (size_t)(first - words)), *text = talloc_strdup(ctx, "");
	const char *starts[] = {first, second, third ? third : second + strlen(second), second + strlen(second)};
	for (size_t i = 0; i < *count; i++)
		text = talloc_asprintf_append(text, "allow %s%.*s\n", head, (int)(starts[i + 1] - starts[i]), starts[i]);
	return text;
}

struct read_set {
	struct boxes boxes[3][ZONES];
	size_t rules;
};

static bool read_words(struct bench *bench, const struct model *model, const char *words, struct read_set *out)
{
	struct model *names = model_copy(bench->ctx, model);
	names->rule_count = 0;
	for (int way = 0; way < WAYS; way++)
		names->ways[way].managed = true;
	char *rules = as_rules(bench->ctx, words, &out->rules);
	struct policy *policy = load(bench, "words", names, rules);
	if (!policy || policy->rule_count != out->rules)
		return false;
	for (size_t i = 0; i < out->rules; i++)
		for (int zone = 0; zone < ZONES; zone++) {
			out->boxes[i][zone] = (struct boxes){0};
			if (rule_boxes(bench->ctx, &policy->rules[i].match, (enum zone)zone, i, &out->boxes[i][zone]))
				return false;
		}
	return true;
}

static bool set_has(const struct read_set *set, enum zone zone, const struct packet *packet)
{
	for (size_t i = 0; i < set->rules; i++) {
		bool found = false;
		for (size_t k = 0; k < set->boxes[i][zone].count && !found; k++)
			found = box_holds(&set->boxes[i][zone].at[k], packet);
		if (!found)
			return false;
	}
	return true;
}

/* One difference: its set, or where that is only a part of what the words say, the sets that it is made of. */
struct read_difference {
	struct read_set words, *parts;
	size_t count;
};

static bool read_difference(
	struct bench *bench, const struct model *model, const struct difference *one, struct read_difference *out)
{
	*out = (struct read_difference){.parts = talloc_zero_array(bench->ctx, struct read_set, one->set_count + 1)};
	if (one->rest)
		return true;
	for (; one->partial && out->count < one->set_count; out->count++)
		if (!read_words(bench, model, one->sets[out->count], &out->parts[out->count]))
			return false;
	return read_words(bench, model, one->words, &out->words);
}

static bool difference_has(
	const struct difference *one, const struct read_difference *read, enum zone zone, const struct packet *packet)
{
	bool found = !one->partial && set_has(&read->words, zone, packet);
	for (size_t i = 0; i < read->count && !found; i++)
		found = set_has(&read->parts[i], zone, packet);
	return found && set_has(&read->words, zone, packet);
}

static void fail(
	struct bench *bench, uint64_t seed, const char *what, const struct probe *probe, unsigned expected, unsigned found)
{
	bench->failures++;
	printf("seed %llu: %s: expected %x, found %x\n  ", (unsigned long long)seed, what, expected, found);
	if (probe)
		probe_print(stdout, probe);
}

/* A packet that gets another verdict may or may not stand among those that are logged anew: that goes without saying. */
static bool fits(unsigned expected, unsigned found)
{
	const unsigned verdicts =
		1u << DIFFERENCE_ALLOWED | 1u << DIFFERENCE_DENIED | 1u << DIFFERENCE_REJECTED | 1u << DIFFERENCE_SILENCED;
	const unsigned logs = 1u << DIFFERENCE_LOGGED | 1u << DIFFERENCE_UNLOGGED;
	if (expected & verdicts)
		return !((expected ^ found) & ~logs) && !(found & logs & ~expected);
	return expected == found;
}

static void ask(struct bench *bench, uint64_t seed, const struct model *old, const struct model *new,
	const struct comparison *comparison, const struct read_difference *sets, const struct probe *probe)
{
	struct expected expected = expect(old, new, probe);
	struct packet packet = packet_of(probe);
	enum zone zone = is_loopback(probe) ? ZONE_LOOPBACK : ZONE_WORLD;
	unsigned found = 0;
	for (size_t i = 0; i < comparison->count; i++) {
		const struct difference *one = &comparison->differences[i];
		bool inside = one->rest ? expected.rest && (enum direction)probe->way == one->direction && zone == ZONE_WORLD
					: difference_has(one, &sets[i], zone, &packet);
		/* Too many sets to be found: those within the rule that are decided so are meant. */
		if (one->partial && !one->set_count)
			inside = expected.kinds & 1u << one->kind && set_has(&sets[i].words, zone, &packet);
		found |= inside ? 1u << one->kind : 0;
	}
	bench->packets++;
	bench->differing += expected.kinds != 0;
	if (!fits(expected.kinds, found))
		fail(bench, seed, "a packet", probe, expected.kinds, found);
}

/* The example, asked of both policies. */
static bool example_holds(struct bench *bench, const struct policy *policy, const char *packet, enum verdict verdict)
{
	struct source *source;
	struct match_node *node;
	struct match match;
	struct decision *decision;
	struct answer answers[4];
	size_t count = 0;
	struct diagnostics *diagnostics = diagnostics_new(bench->ctx);
	struct environment environment = {.host = "host"};
	char *text = talloc_strdup(bench->ctx, packet);
	if (source_new(bench->ctx, "<argument>", text, strlen(text), false, &source) ||
		parse_question(bench->ctx, source, diagnostics, &node) || !node ||
		policy_question(bench->ctx, policy, &environment, node, diagnostics, &match) ||
		decision_new(bench->ctx, policy, &decision) ||
		decide(bench->ctx, decision, &match, BUDGET_DEFAULT, answers, &count))
		return false;
	bool allowed = answers[0].verdict == VERDICT_UNMANAGED && verdict == VERDICT_ALLOW;
	return count == 1 && (allowed || answers[0].verdict == verdict);
}

static void check_examples(struct bench *bench, uint64_t seed, const struct comparison *comparison)
{
	for (size_t i = 0; i < comparison->count; i++) {
		const struct difference *one = &comparison->differences[i];
		bool over = one->kind == DIFFERENCE_LIMITED || one->kind == DIFFERENCE_UNLIMITED || one->kind == DIFFERENCE_OVER;
		if (!example_holds(bench, comparison->old, one->packet, over ? VERDICT_ALLOW : one->old.verdict) ||
			!example_holds(bench, comparison->new, one->packet, over ? VERDICT_ALLOW : one->new.verdict)) {
			fail(bench, seed, "an example", NULL, one->old.verdict, one->new.verdict);
			printf("%s, of %s\n", one->packet, one->words);
		}
	}
}

static void compare_pair(struct bench *bench, uint64_t seed)
{
	struct random random = {seed * 0x9e3779b97f4a7c15ULL + 99};
	const struct model *old = model_random(bench->ctx, seed),
			   *other = without_names(bench, model_random(bench->ctx, seed + 1000000007));
	const struct model *new = changed(bench, old, other, &random);
	struct policy *before = load(bench, "old", old, NULL), *after = load(bench, "new", new, NULL);
	struct comparison *comparison;
	if (!before || !after || policies_compare(bench->ctx, before, after, BUDGET_DEFAULT, &comparison)) {
		fail(bench, seed, "no comparison", NULL, 0, 0);
		return;
	}
	struct read_difference *sets = talloc_zero_array(bench->ctx, struct read_difference, comparison->count + 1);
	for (size_t i = 0; i < comparison->count; i++)
		if (!read_difference(bench, old, &comparison->differences[i], &sets[i])) {
			fail(bench, seed, "words that are not the language", NULL, 0, 0);
			puts(comparison->differences[i].words);
			return;
		}
	bench->differences += comparison->count;
	for (size_t i = 0; i < PROBES && bench->failures < 5; i++) {
		struct probe probe = probe_random(&random, i % 2 ? old : new, true);
		ask(bench, seed, old, new, comparison, sets, &probe);
	}
	check_examples(bench, seed, comparison);
}

/* Rewrites that keep the meaning. */

static void shuffle(struct model *model, struct random *random)
{
	for (size_t i = model->rule_count; i > 1; i--) {
		size_t at = random_below(random, i);
		struct rule_model kept = model->rules[i - 1];
		model->rules[i - 1] = model->rules[at];
		model->rules[at] = kept;
	}
}

static struct value *part_of(void *ctx, const struct value *set, size_t from, size_t count)
{
	struct value *part = talloc_memdup(ctx, set, sizeof *set);
	part->items = set->items + from;
	part->count = count;
	return part;
}

/* One rule becomes two: half of a list each. What has a limit stays whole. */
static void split_rule(void *ctx, struct model *model, size_t at, struct random *random)
{
	struct rule_model *rule = &model->rules[at], *second = &model->rules[model->rule_count];
	struct value **list = random_chance(random, 50) ? &rule->from : &rule->to;
	if (model->rule_count == RULES_MAX || rule->rate != RATE_NONE)
		return;
	*second = *rule;
	if (!rule->traffic.any && rule->traffic.count > 1 && random_chance(random, 50)) {
		size_t half = 1 + random_below(random, rule->traffic.count - 1);
		second->traffic.items += half;
		second->traffic.count -= half;
		rule->traffic.count = half;
		/* Only a rule of which both halves have a family in common with its addresses may be split. */
		if (rule->from || rule->to || rule->source_port) {
			rule->traffic = (struct traffic_model){false, second->traffic.items - half, half + second->traffic.count};
			return;
		}
		model->rule_count++;
	} else if (*list && (*list)->kind == VALUE_SET && (*list)->count > 1 && !rule->traffic.any) {
		const struct value *whole = *list;
		bool families[2] = {false, false};
		for (size_t i = 0; i < whole->count; i++)
			families[whole->items[i]->family == 6] = true;
		if ((families[0] && families[1]) || (rule->from && rule->to))
			return;
		size_t half = 1 + random_below(random, whole->count - 1);
		struct value **other = list == &rule->from ? &second->from : &second->to;
		*list = part_of(ctx, whole, 0, half);
		*other = part_of(ctx, whole, half, whole->count - half);
		model->rule_count++;
	}
}

/* Twice the same rule is once the same rule, and part of it said again changes nothing. */
static void repeat_rule(struct model *model, size_t at)
{
	if (model->rule_count < RULES_MAX && model->rules[at].rate == RATE_NONE)
		model->rules[model->rule_count++] = model->rules[at];
}

/* A list inside a list. */
static void nest(void *ctx, struct value **value)
{
	if (!*value || (*value)->kind != VALUE_SET)
		return;
	struct value *outer = talloc_zero(ctx, struct value);
	outer->kind = VALUE_SET;
	outer->items = talloc_array(ctx, struct value *, 1);
	outer->items[0] = *value;
	outer->count = 1;
	*value = outer;
}

static struct model *rewritten(struct bench *bench, const struct model *model, struct random *random)
{
	struct model *copy = model_copy(bench->ctx, model);
	for (size_t i = 0; i < copy->rule_count; i++)
		copy->rules[i].in_block = random_chance(random, 30);
	for (size_t round = 0; round < 8; round++) {
		size_t at = random_below(random, copy->rule_count);
		if (round % 4 == 0)
			repeat_rule(copy, at);
		else if (round % 4 == 1)
			nest(bench->ctx, random_chance(random, 50) ? &copy->rules[at].from : &copy->rules[at].to);
		else
			split_rule(bench->ctx, copy, at, random);
	}
	shuffle(copy, random);
	return copy;
}

/* Names are called otherwise: the text of the file says so everywhere. */
static struct policy *load_renamed(struct bench *bench, const struct model *model)
{
	char names[NAMED_MAX][8];
	for (size_t i = 0; i < model->named_count; i++) {
		memcpy(names[i], model->named[i].name, sizeof names[i]);
		snprintf(model->named[i].name, sizeof model->named[i].name, "m%u", (unsigned)(model->named_count - i) % 100);
	}
	struct policy *policy = load(bench, "new", model, NULL);
	for (size_t i = 0; i < model->named_count; i++)
		memcpy(model->named[i].name, names[i], sizeof names[i]);
	return policy;
}

static void rewrite(struct bench *bench, uint64_t seed)
{
	struct random random = {seed * 0xd1342543de82ef95ULL + 5};
	const struct model *model = model_random(bench->ctx, seed);
	struct policy *before = load(bench, "old", model, NULL), *after = load_renamed(bench, rewritten(bench, model, &random));
	struct comparison *comparison;
	if (!before || !after || policies_compare(bench->ctx, before, after, BUDGET_DEFAULT, &comparison))
		fail(bench, seed, "no comparison of a rewrite", NULL, 0, 0);
	else if (!comparison_empty(comparison)) {
		fail(bench, seed, "a rewrite differs", NULL, 0, 0);
		for (size_t i = 0; i < comparison->count; i++)
			puts(comparison->differences[i].words);
		printf("%zu limits, %zu settings\n", comparison->limit_count, comparison->setting_count);
	}
}

static void run(struct bench *bench, void (*trial)(struct bench *bench, uint64_t seed), size_t count, uint64_t seed)
{
	for (size_t i = 0; i < count && bench->failures < 5; i++) {
		bench->ctx = talloc_new(NULL);
		bench->strangers = strangers_new(bench->ctx);
		trial(bench, seed + i);
		talloc_free(bench->ctx);
	}
}

int main(int count, char **words)
{
	size_t pairs = count > 1 ? strtoul(words[1], NULL, 0) : 60, rewrites = count > 2 ? strtoul(words[2], NULL, 0) : 40;
	uint64_t seed = count > 3 ? strtoull(words[3], NULL, 0) : 1;
	struct bench bench = {.directory = "/tmp/difference.XXXXXX"};
	char command[128];
	if (!mkdtemp(bench.directory))
		return 1;
	setlinebuf(stdout);
	run(&bench, compare_pair, pairs, seed);
	run(&bench, rewrite, rewrites, seed);
	snprintf(command, sizeof command, "rm -rf '%s'", bench.directory);
	if (!bench.failures && system(command))
		return 1;
	printf("%zu pairs, %zu sets, %zu packets, %zu of them decided differently, %zu rewrites\n", pairs, bench.differences,
		bench.packets, bench.differing, rewrites);
	bool few = bench.differing * 20 < bench.packets;
	if (few && pairs)
		puts("too few packets differ: the test does not show what it should");
	printf("%d passed, %zu failed, 0 skipped\n", bench.failures || few ? 0 : 1, bench.failures + few);
	return bench.failures || few;
}
