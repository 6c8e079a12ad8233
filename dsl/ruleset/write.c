/*
 * A plan as rules and sets.
 *
 * Where a line's ending is its counter and then what all have in common, a set leads from the packet to the counter; else it
 * leads to a chain with the ending.
 */
#include "dsl/ruleset/encoding.h"
#include "dsl/ruleset/layout.h"
#include "dsl/ruleset/prefix.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <talloc.h>

#define LARGE 1000   /* elements: a set keeps its name when it changes */
#define DEPTH_MAX 2  /* chains that ask for earlier lines are laid out by cost */
#define CHAINED 4096 /* elements: where some need chains, all get them rather than a second look-up */

struct writer {
	struct lowering *lowering;
	unsigned depth; /* of chains that ask for earlier lines */
	const struct phrase *common;
	const char *role; /* NULL: all sets are named by what they hold */
	struct rules *rules;
};

static int write_plan(struct writer *writer, const struct plan *plan);

/* The order in which a packet's fields stand in a key: those with most values first. */
static const enum dimension key_order[DIMENSIONS] = {
	DIMENSION_SOURCE, DIMENSION_DESTINATION, DIMENSION_SERVICE, DIMENSION_SOURCE_PORT, DIMENSION_PROTOCOL};

static enum key key_of(enum dimension dimension, const struct atom *atom)
{
	bool v4 = atom->family == FAMILY_IPV4;
	switch (dimension) {
	case DIMENSION_PROTOCOL:
		return KEY_L4PROTO;
	case DIMENSION_SERVICE:
		return !atom->types ? KEY_TH_DPORT : v4 ? KEY_ICMP_TYPE : KEY_ICMPV6_TYPE;
	case DIMENSION_SOURCE_PORT:
		return KEY_TH_SPORT;
	case DIMENSION_SOURCE:
		return v4 ? KEY_IP_SADDR : KEY_IP6_SADDR;
	case DIMENSION_DESTINATION:
		break;
	}
	return v4 ? KEY_IP_DADDR : KEY_IP6_DADDR;
}

static void say_family(struct phrase *phrase, const struct atom *atom)
{
	say_value(phrase, KEY_NFPROTO, atom->family == FAMILY_IPV4 ? 2 : 10);
}

/* One rule's tests for one atom. */
static void say_atom(struct phrase *phrase, const struct atom *atom)
{
	static const enum dimension tests[DIMENSIONS] = {
		DIMENSION_PROTOCOL, DIMENSION_SERVICE, DIMENSION_SOURCE_PORT, DIMENSION_SOURCE, DIMENSION_DESTINATION};
	say_family(phrase, atom);
	for (int i = 0; i < DIMENSIONS; i++) {
		enum dimension d = tests[i];
		enum key key = key_of(d, atom);
		unsigned bits = dimension_bits(d, atom->family);
		if (atom_open(atom, d))
			continue;
		if (atom_single(atom, d))
			say_value(phrase, key, atom->first[d]);
		else if (d >= DIMENSION_SOURCE)
			say_bits(phrase, key, prefix_mask(prefix_fitting(atom->first[d], atom->last[d], bits), bits),
				atom->first[d]);
		else
			say(phrase, (struct step){.kind = STEP_RANGE,
					    .keys = {key},
					    .key_count = 1,
					    .first = atom->first[d],
					    .last = atom->last[d]});
	}
}

static void say_all(struct phrase *phrase, const struct phrase *more)
{
	for (size_t i = 0; i < more->count; i++)
		say(phrase, more->steps[i]);
}

static void say_ending(const struct writer *writer, struct phrase *phrase, const struct line *line)
{
	if (!line->plain) {
		say_verdict(phrase, NFT_VERDICT_GOTO, line->chain);
		return;
	}
	if (line->counter)
		say_counter(phrase, line->counter);
	say_all(phrase, writer->common);
}

static int line_chain(struct writer *writer, struct line *line, const char **name)
{
	struct rules rules = {.origin = &line->rule->span};
	struct phrase phrase = {0};
	int error = 0;
	if (!line->chain) {
		say_ending(writer, &phrase, line);
		error = rules_add(writer->lowering, &rules, &phrase);
		error = error ? error : chain_add(writer->lowering, "line", &rules, &line->chain);
	}
	*name = line->chain;
	return error;
}

static void close_protocol(struct atom *atom, const struct atom *whole)
{
	atom->first[DIMENSION_PROTOCOL] = whole->first[DIMENSION_PROTOCOL];
	atom->last[DIMENSION_PROTOCOL] = whole->last[DIMENSION_PROTOCOL];
}

/* The atoms of earlier lines, as they are where a packet is in the atom of this one. */
static int earlier_atoms(void *ctx, const struct use *use, struct atoms *out)
{
	out->at = talloc_array(ctx, struct atom, use->before_count);
	out->count = use->before_count;
	if (!out->at)
		return -ENOMEM;
	for (size_t i = 0; i < use->before_count; i++) {
		struct atom *atom = &out->at[i];
		*atom = *use->before[i];
		for (int d = 0; d < DIMENSIONS; d++)
			if (atom->first[d] <= use->atom->first[d] && atom->last[d] >= use->atom->last[d] &&
				!(d == DIMENSION_SERVICE && atom->types != use->atom->types))
				atom_open_up(atom, (enum dimension)d);
		atom->types = atom->types && !atom_open(atom, DIMENSION_SERVICE);
		if (atom->types) /* means nothing without its protocol */
			close_protocol(atom, use->before[i]);
	}
	return atoms_reduce(ctx, out);
}

/* Asks for the earlier lines first. */
static int first_chain(struct writer *writer, const struct use *use, const char **name)
{
	void *ctx = talloc_new(writer->lowering->ctx);
	struct rules rules = {0};
	struct writer inner = {writer->lowering, writer->depth + 1, writer->common, NULL, &rules};
	struct phrase last = {0};
	struct atoms atoms;
	struct uses uses = {talloc_zero_array(ctx, struct use, use->before_count), 0};
	struct plan *plan;
	int error = uses.at ? earlier_atoms(ctx, use, &atoms) : -ENOMEM;
	for (size_t i = 0; !error && i < atoms.count; i++)
		uses.at[uses.count++].atom = &atoms.at[i];
	if (!error)
		error = plan_make_family(
			ctx, writer->depth < DEPTH_MAX ? writer->lowering->encoding : ENCODING_LINEAR, &uses, &plan);
	error = error ? error : write_plan(&inner, plan);
	rules.origin = &use->atom->line->rule->span;
	say_ending(writer, &last, use->atom->line);
	error = error ? error : rules_add(writer->lowering, &rules, &last);
	talloc_free(ctx);
	return error ? error : chain_add(writer->lowering, "first", &rules, name);
}

static int use_chain(struct writer *writer, const struct use *use, const char **name)
{
	return use->before_count ? first_chain(writer, use, name) : line_chain(writer, use->atom->line, name);
}

static int write_linear(struct writer *writer, const struct uses *uses)
{
	int error = 0;
	for (size_t i = 0; i < uses->count && !error; i++) {
		const struct use *use = &uses->at[i];
		struct phrase phrase = {0};
		const char *chain;
		writer->rules->origin = &use->atom->line->rule->span;
		writer->rules->comment = line_comment(writer->lowering, use->atom->line->rule->text);
		if (!writer->rules->comment)
			return -ENOMEM;
		say_atom(&phrase, use->atom);
		if (use->before_count) {
			error = first_chain(writer, use, &chain);
			say_verdict(&phrase, NFT_VERDICT_GOTO, chain);
		} else {
			say_ending(writer, &phrase, use->atom->line);
		}
		error = error ? error : rules_add(writer->lowering, writer->rules, &phrase);
	}
	writer->rules->origin = NULL;
	writer->rules->comment = NULL;
	return error;
}

/* The keys of a look-up for atoms like this one, and the masks of a hash. */
static struct step look_up(const struct atom *atom, const struct lengths *lengths, bool ranges)
{
	struct step step = {.kind = STEP_LOOKUP};
	for (int i = 0; i < DIMENSIONS; i++) {
		enum dimension d = key_order[i];
		unsigned bits = dimension_bits(d, atom->family);
		bool alone =
			ranges && d == DIMENSION_PROTOCOL && step.key_count < 2; /* ranges side by side are two keys at least */
		if (atom_open(atom, d) ? !alone : d == DIMENSION_PROTOCOL && atom->types && !alone)
			continue;
		if (lengths && lengths->of[d] < bits) /* a type is the lower half of what could be a port */
			step.masks[step.key_count] =
				prefix_mask(lengths->of[d], bits) & (d == DIMENSION_SERVICE && atom->types ? 0xff : U128_MAX);
		step.keys[step.key_count++] = key_of(d, atom);
	}
	return step;
}

/* An ICMP type is looked up where the protocol is ICMP only. */
static void say_look_up(struct phrase *phrase, const struct atom *atom, const struct step *step)
{
	say_family(phrase, atom);
	if (atom->types)
		say_value(phrase, KEY_L4PROTO, atom->first[DIMENSION_PROTOCOL]);
	say(phrase, *step);
}

static enum dimension dimension_of(enum key key)
{
	switch (key) {
	case KEY_L4PROTO:
		return DIMENSION_PROTOCOL;
	case KEY_TH_SPORT:
		return DIMENSION_SOURCE_PORT;
	case KEY_IP_SADDR:
	case KEY_IP6_SADDR:
		return DIMENSION_SOURCE;
	case KEY_IP_DADDR:
	case KEY_IP6_DADDR:
		return DIMENSION_DESTINATION;
	default:
		return DIMENSION_SERVICE;
	}
}

static struct element element_of(const struct step *step, const struct atom *atom, bool ranges)
{
	struct element element = {.verdict = NFT_VERDICT_GOTO};
	for (unsigned i = 0; i < step->key_count; i++) {
		enum dimension d = dimension_of(step->keys[i]);
		element.first[i] = atom->first[d];
		element.last[i] = ranges ? atom->last[d] : atom->first[d];
	}
	return element;
}

/* "in-allow-v4-p8-d16-s24": what is looked up, and how many bits of it. */
static char *role_name(struct writer *writer, const struct atom *atom, const struct lengths *lengths, bool chains)
{
	static const char letters[] = "pdost";
	char *name = talloc_asprintf(writer->lowering->ctx, "%s-%s", writer->role, atom->family == FAMILY_IPV4 ? "v4" : "v6");
	for (int d = 0; d < DIMENSIONS && name; d++)
		if (!atom_open(atom, (enum dimension)d))
			name = talloc_asprintf_append(
				name, "-%c%u", d == DIMENSION_SERVICE && atom->types ? 'i' : letters[d], lengths->of[d]);
	if (name && (chains || !atom->line->plain))
		name = talloc_asprintf_append(name, "-%s", atom->line->plain ? "chains" : "lines");
	return name;
}

static int name_set(struct writer *writer, struct set *set, struct element *elements, char *role, const char **name)
{
	if (!role)
		return set_elements(writer->lowering, set->kind == SET_MAP ? "map" : "lines", set, elements, name);
	elements_sort(elements, set->element_count);
	set->elements = elements;
	*name = set->name = role;
	return set_add(writer->lowering, set);
}

/* One look-up for those of the uses that need a chain, or for those that need none. */
static int write_set(struct writer *writer, const struct plan *part, bool all_chains, bool chains)
{
	struct lowering *lowering = writer->lowering;
	const struct uses *uses = &part->uses;
	const struct atom *model = uses->at[0].atom;
	bool ranges = part->kind == PLAN_BOXES;
	struct step step = look_up(model, ranges ? NULL : &part->lengths, ranges);
	bool counted = model->line->counter;
	struct set set = {.kind = chains    ? SET_MAP
				  : counted ? SET_COUNTERS
					    : SET_VALUES,
		.key_count = step.key_count,
		.interval = ranges};
	struct element *elements = talloc_array(lowering->ctx, struct element, uses->count);
	int error = elements ? 0 : -ENOMEM;
	memcpy(set.keys, step.keys, sizeof set.keys);
	for (size_t i = 0; i < uses->count && !error; i++) {
		const struct use *use = &uses->at[i];
		if ((all_chains || use->before_count || !use->atom->line->plain) != chains)
			continue;
		struct element *element = &elements[set.element_count++];
		*element = element_of(&step, use->atom, ranges);
		element->object = use->atom->line->counter;
		if (!chains)
			element->verdict = NFT_VERDICT_ACCEPT;
		set.origin = &use->atom->line->rule->span;
		if (chains)
			error = use_chain(writer, use, &element->object);
	}
	if (error || !set.element_count)
		return error;
	bool keeps = writer->role && !ranges && set.element_count >= LARGE;
	char *role = keeps ? role_name(writer, model, &part->lengths, chains) : NULL;
	if (keeps && !role)
		return -ENOMEM;
	error = name_set(writer, &set, elements, role, &step.object);
	step.kind = chains ? STEP_MAP : counted ? STEP_COUNT : STEP_LOOKUP;
	struct phrase phrase = {0};
	say_look_up(&phrase, model, &step);
	if (!chains)
		say_all(&phrase, writer->common);
	return error ? error : rules_add(lowering, writer->rules, &phrase);
}

static int write_part(struct writer *writer, const struct plan *part)
{
	bool some = false, plain = true;
	for (size_t i = 0; i < part->uses.count; i++) {
		some |= part->uses.at[i].before_count > 0;
		plain &= part->uses.at[i].atom->line->plain;
	}
	bool all_chains = !plain || (some && part->uses.count <= CHAINED);
	int error = some || !plain ? write_set(writer, part, all_chains, true) : 0;
	return error || all_chains ? error : write_set(writer, part, false, false);
}

static int write_child(struct writer *writer, const struct plan *child, const char *role, const char **name)
{
	struct rules rules = {0};
	struct writer inner = {writer->lowering, writer->depth, writer->common, role, &rules};
	int error = write_plan(&inner, child);
	return error ? error : chain_add(writer->lowering, "at", &rules, name);
}

static const struct atom *model_of(const struct plan *plan)
{
	while (!plan->uses.count)
		plan = plan->parts[0];
	return plan->uses.at[0].atom;
}

/* The chains of all parts, by number. */
static int write_children(struct writer *writer, const struct plan *plan, const char ***out)
{
	const char **names = talloc_array(writer->lowering->ctx, const char *, plan->part_count + 1);
	int error = names ? 0 : -ENOMEM;
	for (size_t i = 0; i < plan->part_count && !error; i++) {
		char *role = NULL;
		const struct segment *segment = plan->segments;
		while (plan->kind == PLAN_PORTS && segment->part != i)
			segment++;
		if (plan->kind == PLAN_PORTS && writer->role) {
			role = talloc_asprintf(writer->lowering->ctx, "%s-at%u.%u", writer->role, (unsigned)segment->protocol,
				(unsigned)segment->first);
			error = role ? 0 : -ENOMEM;
		}
		error = error ? error : write_child(writer, plan->parts[i], role, &names[i]);
	}
	*out = names;
	return error;
}

static int write_map(
	struct writer *writer, struct set *set, struct element *elements, const struct atom *model, struct step *step)
{
	struct phrase phrase = {0};
	int error = set_elements(writer->lowering, "map", set, elements, &step->object);
	say_family(&phrase, model);
	say(&phrase, *step);
	return error ? error : rules_add(writer->lowering, writer->rules, &phrase);
}

static int write_ports(struct writer *writer, const struct plan *plan)
{
	struct step step = {.kind = STEP_MAP, .keys = {KEY_TH_DPORT, KEY_L4PROTO}, .key_count = 2};
	struct set set = {
		.kind = SET_MAP, .keys = {KEY_TH_DPORT, KEY_L4PROTO}, .key_count = 2, .element_count = plan->segment_count};
	struct element *elements = talloc_zero_array(writer->lowering->ctx, struct element, plan->segment_count);
	const char **names;
	int error = elements ? write_children(writer, plan, &names) : -ENOMEM;
	for (size_t i = 0; i < plan->segment_count && !error; i++) {
		const struct segment *segment = &plan->segments[i];
		elements[i] = (struct element){.first = {segment->first, segment->protocol},
			.last = {segment->last, segment->protocol},
			.verdict = NFT_VERDICT_JUMP,
			.object = names[segment->part]};
		set.interval |= segment->first != segment->last;
	}
	return error ? error : write_map(writer, &set, elements, model_of(plan->parts[0]), &step);
}

/* The keys of a cut, and of a segment its values. */
static struct step cut_step(const struct plan *plan, const struct atom *model)
{
	if (plan->dimension == DIMENSION_SERVICE && !plan->ports_alone)
		return (struct step){.kind = STEP_MAP, .keys = {KEY_TH_DPORT, KEY_L4PROTO}, .key_count = 2};
	return (struct step){.kind = STEP_MAP, .keys = {key_of(plan->dimension, model)}, .key_count = 1};
}

/* Segments side by side that lead to the same chain are one. */
static void add_member(struct set *set, struct element *elements, const struct segment *segment, const char *chain)
{
	struct element *last = set->element_count ? &elements[set->element_count - 1] : NULL;
	if (last && !strcmp(last->object, chain) && last->first[1] == segment->protocol && last->last[0] + 1 == segment->first)
		last->last[0] = segment->last;
	else
		elements[set->element_count++] = (struct element){.first = {segment->first, segment->protocol},
			.last = {segment->last, segment->protocol},
			.verdict = NFT_VERDICT_GOTO,
			.object = chain};
}

/* A packet does not come back from a segment: all that it can match is there. */
static int write_cuts(struct writer *writer, const struct plan *plan)
{
	const struct atom *model = model_of(plan->parts[0]);
	struct step step = cut_step(plan, model);
	struct set set = {.kind = SET_MAP, .key_count = step.key_count};
	struct element *elements = talloc_zero_array(writer->lowering->ctx, struct element, plan->segment_count);
	const char **names;
	memcpy(set.keys, step.keys, sizeof set.keys);
	int error = elements ? write_children(writer, plan, &names) : -ENOMEM;
	for (size_t i = 0; i < plan->segment_count && !error; i++)
		add_member(&set, elements, &plan->segments[i], names[plan->segments[i].part]);
	for (size_t i = 0; i < set.element_count && !error; i++)
		set.interval |= elements[i].first[0] != elements[i].last[0];
	error = error ? error : write_map(writer, &set, elements, model, &step);
	return error || !plan->rest ? error : write_plan(writer, plan->rest);
}

/* One map for each length; the segments stand by length. */
static int write_networks(struct writer *writer, const struct plan *plan)
{
	const struct atom *model = model_of(plan->parts[0]);
	enum key key = key_of(plan->dimension, model);
	unsigned bits = dimension_bits(plan->dimension, model->family);
	const char **names;
	int error = write_children(writer, plan, &names);
	for (size_t begin = 0, end = 0; begin < plan->segment_count && !error; begin = end) {
		unsigned length = plan->segments[begin].length;
		while (end < plan->segment_count && plan->segments[end].length == length)
			end++;
		struct step step = {.kind = STEP_MAP, .keys = {key}, .key_count = 1};
		struct set set = {.kind = SET_MAP, .keys = {key}, .key_count = 1, .element_count = end - begin};
		struct element *elements = talloc_zero_array(writer->lowering->ctx, struct element, end - begin);
		if (!elements)
			return -ENOMEM;
		step.masks[0] = length < bits ? prefix_mask(length, bits) : 0;
		for (size_t i = begin; i < end; i++)
			elements[i - begin] = (struct element){.first = {plan->segments[i].first},
				.last = {plan->segments[i].first},
				.verdict = NFT_VERDICT_JUMP,
				.object = names[plan->segments[i].part]};
		error = write_map(writer, &set, elements, model, &step);
	}
	return error;
}

static int write_plan(struct writer *writer, const struct plan *plan)
{
	int error = 0;
	switch (plan->kind) {
	case PLAN_LINEAR:
		return write_linear(writer, &plan->uses);
	case PLAN_PORTS:
		return write_ports(writer, plan);
	case PLAN_CHAINS:
		return write_networks(writer, plan);
	case PLAN_CUTS:
		return write_cuts(writer, plan);
	case PLAN_HASHES:
	case PLAN_BOXES:
		for (size_t i = 0; i < plan->part_count && !error; i++)
			error = write_part(writer, plan->parts[i]);
		return error;
	case PLAN_GROUPS:
		for (size_t i = 0; i < plan->part_count && !error; i++)
			error = write_plan(writer, plan->parts[i]);
		return error;
	}
	return error;
}

int plan_write(
	struct lowering *lowering, const struct plan *plan, const char *role, const struct phrase *common, struct rules *rules)
{
	struct writer writer = {lowering, 0, common, role, rules};
	return write_plan(&writer, plan);
}
