/*
 * The text of the policy: what an administrator would have written, each rule with the lines that it comes from.
 *
 * Sets that had a name keep it; long ones get a definition of their own before the rule that uses them. What could not be
 * translated stands at the top, line by line, as comments.
 */
#include "dsl/import/foreign.h"
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <talloc.h>

#define LONG_SET 6
#define LINE_WIDTH 100

struct writing {
	struct import *import;
	FILE *to;
	bool several; /* inputs: lines are told with the name of theirs */
	enum direction direction;
	struct intervals whole[FAMILIES][DIMENSIONS];
};

/* A set that keeps its name. */
static char *set_name(struct import *import, const struct foreign_set *set)
{
	char *name =
		import_text(import, "%s%s", isalpha((unsigned char)set->name[0]) || set->name[0] == '_' ? "" : "set-", set->name);
	for (char *at = name; at && *at; at++)
		if (!isalnum((unsigned char)*at) && *at != '_' && *at != '-')
			*at = '-';
	return name;
}

static const struct foreign_set *named(const struct writing *writing, enum family family, struct intervals set)
{
	for (const struct foreign_set *one = writing->import->sets; one; one = one->next)
		if (one->simple && one->role_count && one->members[family].count &&
			intervals_equal(one->members[family].at[0].of[0], set))
			return one;
	return NULL;
}

/* The items of a set, without braces. */
static void items(struct writing *writing, enum family family, struct intervals set, bool *first)
{
	const struct foreign_set *name = named(writing, family, set);
	if (name) {
		fprintf(writing->to, "%s$%s", *first ? "" : ", ", set_name(writing->import, name));
		*first = false;
		return;
	}
	for (size_t i = 0; i < set.count; i++) {
		fputs(*first ? "" : ", ", writing->to);
		address_words(writing->import, writing->to, family, set.at[i]);
		*first = false;
	}
}

static size_t item_count(const struct writing *writing, enum family family, struct intervals set)
{
	return named(writing, family, set) ? 1 : set.count;
}

struct address_clause {
	bool used, full[FAMILIES], but[FAMILIES]; /* but: all except `set` */
	struct intervals set[FAMILIES];
};

static struct address_clause address_clause(const struct writing *writing, const struct spoken *spoken, enum dimension dimension)
{
	struct address_clause clause = {0};
	for (int family = 0; family < FAMILIES; family++) {
		if (!spoken->in[family])
			continue;
		struct intervals set = spoken->area[family].of[dimension],
				 others = set_except(writing->import, writing->whole[family][dimension], set);
		clause.full[family] = !others.count;
		clause.but[family] = others.count && item_count(writing, (enum family)family, others) <
							     item_count(writing, (enum family)family, set);
		clause.set[family] = clause.but[family] ? others : set;
		clause.used |= !clause.full[family];
	}
	return clause;
}

static const char *const whole_words[] = {"0.0.0.0/0", "::/0"};

/* Both families open but for some: the exceptions are of both. */
static void exceptions(struct writing *writing, const struct spoken *spoken, const struct address_clause *clause)
{
	bool both = spoken->in[FAMILY_IPV4] && spoken->in[FAMILY_IPV6], first = true;
	size_t count = 0;
	for (int family = 0; family < FAMILIES; family++)
		count += spoken->in[family] && !clause->full[family]
				 ? item_count(writing, (enum family)family, clause->set[family])
				 : 0;
	fprintf(writing->to, "%s except %s", both ? "any" : whole_words[spoken->in[FAMILY_IPV6]], count > 1 ? "{ " : "");
	for (int family = 0; family < FAMILIES; family++)
		if (spoken->in[family] && !clause->full[family])
			items(writing, (enum family)family, clause->set[family], &first);
	fputs(count > 1 ? " }" : "", writing->to);
}

static void enumeration(struct writing *writing, const struct spoken *spoken, const struct address_clause *clause)
{
	bool first = true;
	size_t count = 0;
	for (int family = 0; family < FAMILIES; family++)
		if (spoken->in[family])
			count += clause->full[family] || clause->but[family]
					 ? 1
					 : item_count(writing, (enum family)family, clause->set[family]);
	fputs(count > 1 ? "{ " : "", writing->to);
	for (int family = 0; family < FAMILIES; family++) {
		if (!spoken->in[family])
			continue;
		if (!clause->full[family] && !clause->but[family]) {
			items(writing, (enum family)family, clause->set[family], &first);
			continue;
		}
		fprintf(writing->to, "%s%s", first ? "" : ", ", whole_words[family]);
		first = false;
		if (clause->full[family])
			continue;
		bool inner = true, several = item_count(writing, (enum family)family, clause->set[family]) > 1;
		fputs(several ? " except { " : " except ", writing->to);
		items(writing, (enum family)family, clause->set[family], &inner);
		fputs(several ? " }" : "", writing->to);
	}
	fputs(count > 1 ? " }" : "", writing->to);
}

static void address_text(struct writing *writing, const struct spoken *spoken, const struct address_clause *clause)
{
	bool open = true;
	for (int family = 0; family < FAMILIES; family++)
		open &= !spoken->in[family] || clause->full[family] || clause->but[family];
	if (open && clause->used)
		exceptions(writing, spoken, clause);
	else
		enumeration(writing, spoken, clause);
}

static char *place_words(struct writing *writing, const struct foreign_rule *rule)
{
	return writing->several && rule->source ? import_text(writing->import, "%s:%u", rule->source->name, rule->line)
						: import_text(writing->import, "%u", rule->line);
}

/* "line 12", "lines 12, 14-16" */
static void put_places(struct writing *writing, FILE *to, const struct foreign_rule *const *rules, size_t count)
{
	fputs(writing->several ? "" : count > 1 ? "lines " : "line ", to);
	for (size_t i = 0, shown = 0; i < count; shown++) {
		size_t last = i;
		while (last + 1 < count && rules[last + 1]->source == rules[i]->source &&
			rules[last + 1]->line == rules[last]->line + 1)
			last++;
		if (shown == 8) {
			fprintf(to, " and %zu more", count - i);
			return;
		}
		fprintf(to, "%s%s", shown ? ", " : "", place_words(writing, rules[i]));
		if (last > i)
			fprintf(to, "-%u", rules[last]->line);
		i = last + 1;
	}
}

/* The text of a log or reason: what cannot stand in quotes is replaced. */
static void put_text(FILE *to, const char *text, size_t most)
{
	size_t length = strlen(text);
	while (length && strchr(" \t:", text[length - 1]))
		length--;
	length = length > most ? most : length;
	fputc('"', to);
	for (size_t i = 0; i < length; i++)
		fputc(text[i] == '"' || text[i] == '\\'			  ? '\''
			: (unsigned char)text[i] < ' ' || text[i] == 0x7f ? ' '
									  : text[i],
			to);
	fputc('"', to);
}

static void put_log(FILE *to, const char *text)
{
	fputs(" log", to);
	if (text && strspn(text, " \t:") < strlen(text)) {
		fputc(' ', to);
		put_text(to, text, 64);
	}
}

static void put_quota(FILE *to, const struct quota *quota)
{
	fprintf(to, " %s %llu/%s", quota->over ? "above" : "limit", (unsigned long long)quota->count, quota->unit);
	if (quota->burst != quota->count)
		fprintf(to, " burst %llu", (unsigned long long)quota->burst);
	if (quota->per_source)
		fputs(" per source", to);
}

static const char *const verdict_words[] = {"", "allow", "reject", "deny"};
static const char *const direction_words[] = {"in", "out", "forward"};

/* A long set of addresses in a definition of its own. */
static bool put_definition(struct writing *writing, const struct spoken *spoken, enum dimension dimension,
	const struct address_clause *clause, char **name)
{
	size_t count = 0, column = 0;
	for (int family = 0; family < FAMILIES; family++) {
		if (!spoken->in[family])
			continue;
		if (clause->full[family] || clause->but[family])
			return false;
		count += item_count(writing, (enum family)family, clause->set[family]);
	}
	if (count <= LONG_SET || !spoken->rule_count)
		return false;
	*name = import_text(writing->import, "%s-%s%s-%u", dimension == DIM_SOURCE ? "from" : "to",
		direction_words[writing->direction], spoken->loopback ? "-lo" : "", ++writing->import->definitions);
	fprintf(writing->to, "addresses %s = {", *name);
	for (int family = 0; family < FAMILIES; family++)
		for (size_t i = 0; spoken->in[family] && i < clause->set[family].count; i++) {
			char *text = NULL;
			size_t length = 0;
			FILE *one = open_memstream(&text, &length);
			if (!one) {
				writing->import->error = -ENOMEM;
				return true;
			}
			address_words(writing->import, one, (enum family)family, clause->set[family].at[i]);
			fclose(one);
			bool wraps = !column || column + length > LINE_WIDTH;
			fprintf(writing->to, "%s%s,", wraps ? "\n\t" : " ", text);
			column = wraps ? 8 + length : column + length + 2;
			free(text);
		}
	fputs("\n}\n", writing->to);
	return true;
}

static void put_interfaces(struct writing *writing, const struct spoken *spoken, const struct area *area, enum family family)
{
	struct import *import = writing->import;
	static const char *const words[DIRECTIONS][2] = {{" on ", ""}, {"", " on "}, {" arriving on ", " leaving on "}};
	if (spoken->loopback)
		fputs(" on lo", writing->to);
	else if (writing->direction != DIRECTION_OUT)
		interface_words(import, writing->to, words[writing->direction][0], writing->whole[family][DIM_ARRIVING],
			area->of[DIM_ARRIVING]);
	if (!spoken->loopback && writing->direction != DIRECTION_IN)
		interface_words(import, writing->to, words[writing->direction][1], writing->whole[family][DIM_LEAVING],
			area->of[DIM_LEAVING]);
}

/* Does the traffic itself say which family it is of? */
static bool traffic_tells(struct import *import, enum family family, struct intervals traffic)
{
	unsigned protocol = family == FAMILY_IPV4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6,
		 other = PROTOCOL_ICMP + PROTOCOL_ICMPV6 - protocol;
	struct intervals named = set_except(import, traffic, set_single(import, TRAFFIC(other, 0), TRAFFIC(other, SERVICES - 1)));
	return intervals_cover(set_single(import, TRAFFIC(protocol, 0), TRAFFIC(protocol, SERVICES - 1)), named);
}

static void put_spoken(struct writing *writing, const struct spoken *spoken)
{
	FILE *to = writing->to;
	enum family family = spoken->in[FAMILY_IPV4] ? FAMILY_IPV4 : FAMILY_IPV6;
	bool one_family = spoken->in[FAMILY_IPV4] != spoken->in[FAMILY_IPV6];
	const struct area *area = &spoken->area[family];
	struct address_clause from = address_clause(writing, spoken, DIM_SOURCE),
			      destination = address_clause(writing, spoken, DIM_DESTINATION);
	char *from_name = NULL, *to_name = NULL;
	if (!spoken->doubtful) {
		put_definition(writing, spoken, DIM_SOURCE, &from, &from_name);
		put_definition(writing, spoken, DIM_DESTINATION, &destination, &to_name);
	}
	fprintf(to, "%s%s %s ", spoken->doubtful ? "# " : "", verdict_words[spoken->verdict],
		direction_words[writing->direction]);
	traffic_words(writing->import, to, family, area->of[DIM_TRAFFIC]);
	put_interfaces(writing, spoken, area, family);
	bool restricts =
		one_family && !from.used && !destination.used && !traffic_tells(writing->import, family, area->of[DIM_TRAFFIC]);
	if (from.used || restricts)
		fputs(" from ", to);
	if (from_name)
		fprintf(to, "$%s", from_name);
	else if (from.used)
		address_text(writing, spoken, &from);
	else if (restricts)
		fputs(whole_words[family], to);
	if (!intervals_equal(area->of[DIM_SOURCE_PORT], full_set[family][DIM_SOURCE_PORT])) {
		fputs(" source port ", to);
		port_words(writing->import, to, area->of[DIM_SOURCE_PORT]);
	}
	if (destination.used)
		fputs(" to ", to);
	if (to_name)
		fprintf(to, "$%s", to_name);
	else if (destination.used)
		address_text(writing, spoken, &destination);
	if (writing->direction == DIRECTION_OUT)
		subject_words(writing->import, to, area);
	if (spoken->quota)
		put_quota(to, spoken->quota);
	if (spoken->connections)
		fprintf(to, " limit %llu connections%s", (unsigned long long)spoken->connections->count,
			spoken->connections->per_source ? " per source" : "");
	if (spoken->log)
		put_log(to, spoken->log_text);
	if (spoken->reason && *spoken->reason) {
		fputs(" reason ", to);
		put_text(to, spoken->reason, 200);
	}
	fputs("  # ", to);
	if (spoken->rule_count)
		put_places(writing, to, spoken->rules, spoken->rule_count);
	else
		fputs(spoken->note ? "" : "the policy of the chain", to);
	if (spoken->note && !spoken->rule_count)
		fputs(spoken->note, to);
	else if (spoken->note)
		fprintf(to, ": %s: %s",
			!spoken->doubtful	       ? "may deny less than these"
			: spoken->verdict == FV_ACCEPT ? "may accept these"
						       : "may deny these",
			spoken->note);
	fputc('\n', to);
}

static void put_direction(struct writing *writing, const struct direction_plan *plan)
{
	writing->direction = plan->direction;
	fprintf(writing->to, "\ndefault %s %s", direction_words[plan->direction], verdict_words[plan->fallback]);
	if (plan->log)
		put_log(writing->to, plan->log_text);
	fputs("\n", writing->to);
	for (size_t i = 0; i < plan->count; i++) {
		for (int family = 0; family < FAMILIES; family++) {
			struct zone_space space;
			/* of the world or of lo: what is "all" there */
			if (i && plan->at[i].loopback == plan->at[i - 1].loopback)
				break;
			zone_space(writing->import, plan->direction, (enum family)family, plan->at[i].loopback, &space);
			memcpy(writing->whole[family], space.whole.of, sizeof writing->whole[family]);
		}
		put_spoken(writing, &plan->at[i]);
	}
}

static void put_named_sets(struct writing *writing)
{
	for (const struct foreign_set *set = writing->import->sets; set; set = set->next) {
		size_t column = 0;
		if (!set->simple || !set->role_count || (!set->members[FAMILY_IPV4].count && !set->members[FAMILY_IPV6].count))
			continue;
		fprintf(writing->to, "addresses %s = {", set_name(writing->import, set));
		for (int family = 0; family < FAMILIES; family++)
			for (size_t i = 0; set->members[family].count && i < set->members[family].at[0].of[0].count; i++) {
				fputs(column++ % 4 ? " " : "\n\t", writing->to);
				address_words(writing->import, writing->to, (enum family)family,
					set->members[family].at[0].of[0].at[i]);
				fputc(',', writing->to);
			}
		fputs("\n}\n", writing->to);
	}
}

/* Comments: what differs, and what is missing. */
static void put_remarks(struct writing *writing, const struct imported *imported, enum fate fate, const char *title)
{
	bool begun = false;
	for (size_t i = 0; i < imported->remark_count; i++) {
		const struct remark *remark = &imported->remarks[i];
		if (remark->fate != fate)
			continue;
		if (!begun)
			fprintf(writing->to, "#\n# %s\n", title);
		begun = true;
		fprintf(writing->to, "#   ");
		if (remark->source)
			fprintf(writing->to, writing->several ? "%s:%u: " : "%.0sline %u: ", remark->source->name, remark->line);
		fprintf(writing->to, "%s\n", remark->reason);
		if (fate == FATE_UNTRANSLATED && remark->text)
			fprintf(writing->to, "#     %.*s\n", (int)strcspn(remark->text, "\r\n"), remark->text);
	}
}

char *write_policy(struct import *import, const struct direction_plan *plans, const struct foreign_input *inputs,
	size_t input_count, const struct imported *imported)
{
	char *text = NULL;
	size_t length = 0;
	struct writing writing = {.import = import, .to = open_memstream(&text, &length), .several = input_count > 1};
	if (!writing.to) {
		import->error = -ENOMEM;
		return NULL;
	}
	fprintf(writing.to, "# Made by `portpolicy import` from");
	for (size_t i = 0; i < input_count; i++)
		fprintf(writing.to, "%s %s", i ? "," : "", inputs[i].source->name);
	fprintf(writing.to,
		".\n#\n# %zu rules: %zu translated, %zu with a difference, %zu built in, %zu without effect, %zu not "
		"translated.\n",
		imported->rules, imported->fates[FATE_TRANSLATED], imported->fates[FATE_DIFFERS], imported->fates[FATE_BUILT_IN],
		imported->fates[FATE_NO_EFFECT], imported->fates[FATE_UNTRANSLATED]);
	for (size_t i = 0; i < imported->note_count; i++)
		fprintf(writing.to, "%s# %s.\n", i ? "" : "#\n", imported->notes[i]);
	put_remarks(&writing, imported, FATE_UNTRANSLATED, "Not translated:");
	put_remarks(&writing, imported, FATE_DIFFERS, "Translated with a difference:");
	put_remarks(&writing, imported, FATE_BUILT_IN, "Built in:");
	put_remarks(&writing, imported, FATE_NO_EFFECT, "Without effect:");
	fputs("\nlanguage 1\n", writing.to);
	if (import->sets)
		fputc('\n', writing.to);
	put_named_sets(&writing);
	for (int d = 0; d < DIRECTIONS; d++)
		if (plans[d].managed)
			put_direction(&writing, &plans[d]);
	if (fclose(writing.to))
		import->error = -ENOMEM;
	char *copy = import_text(import, "%s", text ? text : "");
	free(text);
	return copy;
}
