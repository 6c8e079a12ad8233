/*
 * The lines of one verdict: which of them become atoms, and in which order what is made of them is asked.
 *
 * A line with a limit, a process or an interface is a rule of its own. Where it meets lines that are atoms, it must be asked behind the
 * earlier and before the later ones: so the lines fall into sections, each of atoms and then of such rules, and where nothing
 * meets there is one.
 */
#include "dsl/ruleset/cost.h"
#include "dsl/ruleset/encoding.h"
#include "dsl/ruleset/layout.h"
#include <errno.h>
#include <stdlib.h>
#include <talloc.h>

#define LINE_MAX 64		/* atoms of a line that are always taken */
#define LINE_MOST 4096		/* that a line may have at all */
#define TAKEN_MAX 200000	/* of all lines, of which each has more than LINE_MAX */
#define MEETING_MAX 256		/* atoms of a rule of its own that are compared with others */
#define WAY_COST (COST_RULE + 3 * COST_STEP)
#define WORTHWHILE 0.75	/* of what the lines cost as they stand: a plan is harder to read */
#define INLINE_MAX 3 /* rules of a family that need no chain of their own */

struct sorted_line {
	struct line line;
	size_t needed;
	bool atoms;	   /* else a rule of its own */
	bool meets_all;	   /* of which is not known where it meets others */
	struct atoms own;  /* of a rule of its own */
	size_t first_atom, atom_count; /* in the section's atoms; none: earlier lines cover it */
	size_t section;
};

struct section_work {
	void *ctx;
	struct lowering *lowering;
	const struct group *group;
	const char *logs;
	struct sorted_line *lines;
	size_t count, sections;
	struct atoms atoms;
	struct phrase common; /* what plain lines end in behind their counter */
};

static int gather(struct section_work *work)
{
	const struct policy *policy = work->lowering->policy;
	work->lines = talloc_zero_array(work->ctx, struct sorted_line, policy->rule_count + 1);
	if (!work->lines)
		return -ENOMEM;
	for (size_t i = 0; i < policy->rule_count; i++)
		if (rule_in_group(&policy->rules[i], work->group))
			work->lines[work->count++] = (struct sorted_line){.line = {.rule = &policy->rules[i], .order = i}};
	return 0;
}

static int by_needed(const void *left, const void *right)
{
	const struct sorted_line *a = *(struct sorted_line *const *)left, *b = *(struct sorted_line *const *)right;
	if (a->needed != b->needed)
		return a->needed < b->needed ? -1 : 1;
	return (a->line.order > b->line.order) - (a->line.order < b->line.order);
}

/* Those that are few atoms; of the others the smaller ones, as long as there is room. */
static int choose(struct section_work *work)
{
	struct sorted_line **order = talloc_array(work->ctx, struct sorted_line *, work->count + 1);
	size_t taken = 0;
	if (!order)
		return -ENOMEM;
	for (size_t i = 0; i < work->count; i++) {
		order[i] = &work->lines[i];
		order[i]->needed = atoms_needed(order[i]->line.rule);
	}
	qsort(order, work->count, sizeof *order, by_needed);
	for (size_t i = 0; i < work->count; i++) {
		struct sorted_line *line = order[i];
		bool fits = line->needed <= LINE_MAX || (line->needed <= LINE_MOST && taken + line->needed <= TAKEN_MAX);
		line->atoms = fits && rule_plain(line->line.rule);
		taken += line->atoms ? line->needed : 0;
	}
	talloc_free(order);
	return 0;
}

static int make_atoms(struct section_work *work)
{
	int error = 0;
	for (size_t i = 0; i < work->count && !error; i++) {
		struct sorted_line *line = &work->lines[i];
		line->line.plain = !rule_logs(work->lowering, line->line.rule);
		line->meets_all = !line->atoms && line->needed > MEETING_MAX;
		if (line->atoms)
			error = atoms_of(work->ctx, &line->line, &work->atoms);
		else if (!line->meets_all)
			error = atoms_of(work->ctx, &line->line, &line->own);
	}
	error = error ? error : atoms_reduce(work->ctx, &work->atoms);
	for (size_t i = 0; i < work->atoms.count && !error; i++) {
		struct sorted_line *line = (struct sorted_line *)work->atoms.at[i].line;
		if (!line->atom_count++)
			line->first_atom = i;
	}
	return error;
}

static bool meets(const struct sorted_line *line, const struct atom *atom)
{
	for (size_t i = 0; i < line->own.count; i++)
		if (atoms_overlap(&line->own.at[i], atom))
			return true;
	return line->meets_all;
}

/* `atoms` are those of earlier lines. */
static void place_rule(struct section_work *work, size_t line, size_t atoms)
{
	struct sorted_line *rule = &work->lines[line];
	for (size_t i = 0; i < line; i++)
		if (!work->lines[i].atoms && work->lines[i].section > rule->section)
			rule->section = work->lines[i].section;
	for (size_t i = 0; i < atoms; i++) {
		const struct sorted_line *other = (const struct sorted_line *)work->atoms.at[i].line;
		if (other->section > rule->section && meets(rule, &work->atoms.at[i]))
			rule->section = other->section;
	}
}

/* Behind the earlier lines that they meet, be these atoms or rules of their own. */
static void place_atoms(struct section_work *work, size_t line, size_t begin, size_t end)
{
	for (size_t i = 0; i < begin; i++) {
		const struct sorted_line *earlier = (const struct sorted_line *)work->atoms.at[i].line;
		for (size_t k = begin; k < end && earlier->section > work->lines[line].section; k++)
			if (atoms_overlap(&work->atoms.at[i], &work->atoms.at[k]))
				work->lines[line].section = earlier->section;
	}
	for (size_t i = 0; i < line; i++) {
		const struct sorted_line *rule = &work->lines[i];
		for (size_t k = begin; k < end && !rule->atoms && rule->section >= work->lines[line].section; k++)
			if (meets(rule, &work->atoms.at[k]))
				work->lines[line].section = rule->section + 1;
	}
}

static void place(struct section_work *work)
{
	bool own = false;
	for (size_t i = 0; i < work->count; i++)
		own |= !work->lines[i].atoms;
	for (size_t i = 0, atom = 0; i < work->count && own; i++) {
		size_t begin = atom;
		while (atom < work->atoms.count && work->atoms.at[atom].line == &work->lines[i].line)
			atom++;
		if (work->lines[i].atoms)
			place_atoms(work, i, begin, atom);
		else
			place_rule(work, i, atom);
	}
	for (size_t i = 0; i < work->count; i++)
		if (work->lines[i].section >= work->sections)
			work->sections = work->lines[i].section + 1;
}

static int end_lines(struct section_work *work)
{
	int error = 0;
	for (size_t i = 0; i < work->count && !error; i++) {
		struct line *line = &work->lines[i].line;
		if (!work->lines[i].atoms)
			continue;
		struct phrase ending = {0};
		error = rule_ending(work->lowering, line->rule, work->logs, &ending);
		if (line->plain)
			line->counter = ending.steps[0].object;
		else
			line->chain = ending.steps[0].object;
		for (size_t k = 1; line->plain && !work->common.count && k < ending.count; k++)
			work->common = (struct phrase){{ending.steps[k]}, 1};
	}
	return error;
}

static int lower_line(struct section_work *work, const struct sorted_line *line, struct rules *rules)
{
	const char *counter;
	if (line->atoms && !line->atom_count) /* no packet counts at it */
		return counter_add(work->lowering, &line->line.rule->span, &counter, "hit-", line->line.rule->id);
	return rule_lower(work->lowering, line->line.rule, work->group, work->logs, rules);
}

/* The rules that a line takes by itself: one, or one for each family where it names addresses. */
static unsigned own_ways(const struct section_work *work, const struct sorted_line *line)
{
	bool addresses = false, family[FAMILIES] = {false};
	for (size_t i = line->first_atom; i < line->first_atom + line->atom_count; i++) {
		const struct atom *atom = &work->atoms.at[i];
		family[atom->family] = true;
		addresses |= !atom_open(atom, DIMENSION_SOURCE) || !atom_open(atom, DIMENSION_DESTINATION);
	}
	return addresses && family[FAMILY_IPV4] && family[FAMILY_IPV6] ? 2 : 1;
}

/* What the lines of a section cost as rules of their own. */
static double own_cost(const struct section_work *work, size_t section)
{
	double cost = 0;
	for (size_t i = 0; i < work->count; i++) {
		const struct sorted_line *line = &work->lines[i];
		if (line->atoms && line->section == section && line->atom_count)
			cost += 0.75 * WAY_COST * own_ways(work, line);
	}
	return cost;
}

static int plan_section(struct section_work *work, size_t section, struct plan **out)
{
	struct uses uses = {talloc_zero_array(work->ctx, struct use, work->atoms.count + 1), 0};
	*out = NULL;
	for (size_t i = 0; uses.at && i < work->atoms.count; i++)
		if (((const struct sorted_line *)work->atoms.at[i].line)->section == section)
			uses.at[uses.count++].atom = &work->atoms.at[i];
	if (!uses.at || !uses.count)
		return uses.at ? 0 : -ENOMEM;
	int error = plan_make(work->ctx, work->lowering->encoding, &uses, out);
	if (!error && work->lowering->encoding == ENCODING_AUTO && (*out)->cost >= WORTHWHILE * own_cost(work, section))
		*out = NULL;
	return error;
}

/* A family's part, in a chain of its own where it is long, or left from within: packets of the other family pass it by. */
static int write_family(struct section_work *work, const struct plan *part, const char *role, struct rules *rules)
{
	struct rules inner = {0};
	struct phrase phrase = {0};
	const struct plan *leaf = part;
	const char *chain;
	int error = plan_write(work->lowering, part, role, &work->common, &inner);
	while (!leaf->uses.count)
		leaf = leaf->parts[0];
	if (error || (inner.count <= INLINE_MAX && part->kind != PLAN_CUTS)) {
		for (size_t i = 0; i < inner.count && !error; i++)
			error = rules_append(work->lowering, rules, &inner.at[i]);
		return error;
	}
	error = chain_add(work->lowering, "lines", &inner, &chain);
	say_value(&phrase, KEY_NFPROTO, leaf->uses.at[0].atom->family == FAMILY_IPV4 ? 2 : 10);
	say_verdict(&phrase, NFT_VERDICT_JUMP, chain);
	return error ? error : rules_add(work->lowering, rules, &phrase);
}

static int write_section(struct section_work *work, size_t section, const struct plan *plan, struct rules *rules)
{
	static const char *const actions[] = {"allow", "deny", "reject"};
	char *role = talloc_asprintf(work->lowering->ctx, "%s-%s", direction_names[work->group->direction],
		actions[work->group->action]);
	int error = role ? 0 : -ENOMEM;
	if (role && section)
		role = talloc_asprintf_append(role, "%zu", section + 1);
	rules->origin = NULL;
	for (size_t i = 0; i < plan->part_count && !error; i++)
		error = write_family(work, plan->parts[i], role, rules);
	return error;
}

static int lower_section(struct section_work *work, size_t section, const struct plan *plan, struct rules *rules)
{
	int error = plan ? write_section(work, section, plan, rules) : 0;
	for (int own = 0; own < 2 && !error; own++)
		for (size_t i = 0; i < work->count && !error; i++)
			if (work->lines[i].section == section && work->lines[i].atoms == !own && (own || !plan))
				error = lower_line(work, &work->lines[i], rules);
	return error;
}

static int lower_sections(struct section_work *work, struct rules *rules)
{
	struct plan **plans = talloc_zero_array(work->ctx, struct plan *, work->sections + 1);
	bool planned = false;
	int error = plans ? 0 : -ENOMEM;
	for (size_t i = 0; i < work->sections && !error; i++) {
		error = plan_section(work, i, &plans[i]);
		planned |= plans[i] != NULL;
	}
	error = error || !planned ? error : end_lines(work);
	for (size_t i = 0; i < work->sections && planned && !error; i++)
		error = lower_section(work, i, plans[i], rules);
	for (size_t i = 0; i < work->count && !planned && !error; i++)
		error = lower_line(work, &work->lines[i], rules);
	return error;
}

int group_lower(struct lowering *lowering, const struct group *group, struct rules *rules)
{
	struct section_work work = {.ctx = talloc_new(lowering->ctx), .lowering = lowering, .group = group};
	int error = work.ctx ? logs_chain(lowering, group, &work.logs) : -ENOMEM;
	bool plain = group->loopback || lowering->encoding == ENCODING_LINEAR;
	error = error ? error : gather(&work);
	if (!plain && !error)
		error = choose(&work);
	if (!plain && !error)
		error = make_atoms(&work);
	if (!plain && !error)
		place(&work);
	if (!error && !plain)
		error = lower_sections(&work, rules);
	for (size_t i = 0; plain && i < work.count && !error; i++)
		error = lower_line(&work, &work.lines[i], rules);
	talloc_free(work.ctx);
	return error;
}
