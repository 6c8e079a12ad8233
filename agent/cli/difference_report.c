/*
 * A comparison for people, for merge requests and for programs.
 *
 * Every difference is told in the same order: which packets, what became of them and why, what becomes of them and why, and one
 * of them. A long list of lines is cut: the first decides the example, and whoever wants all of them takes the JSON.
 */
#include "agent/cli/difference_report.h"
#include <errno.h>
#include <string.h>
#include <talloc.h>

#define LINES_SHOWN 3
#define SETS_SHOWN 60 /* of one kind */

const char *difference_word(enum difference_kind kind)
{
	switch (kind) {
	case DIFFERENCE_ALLOWED:
		return "newly allowed";
	case DIFFERENCE_DENIED:
		return "newly denied";
	case DIFFERENCE_REJECTED:
		return "deny turned reject";
	case DIFFERENCE_SILENCED:
		return "reject turned deny";
	case DIFFERENCE_LIMITED:
		return "newly limited";
	case DIFFERENCE_UNLIMITED:
		return "no longer limited";
	case DIFFERENCE_OVER:
		return "answered another way over a limit";
	case DIFFERENCE_LOGGED:
		return "newly logged";
	case DIFFERENCE_UNLOGGED:
		return "no longer logged";
	}
	return "";
}

static const char *kind_key(enum difference_kind kind)
{
	static const char *const keys[] = {"newly-allowed", "newly-denied", "deny-to-reject", "reject-to-deny", "newly-limited",
		"no-longer-limited", "over-limit", "newly-logged", "no-longer-logged"};
	return keys[kind];
}

static bool over_limit(enum difference_kind kind)
{
	return kind == DIFFERENCE_LIMITED || kind == DIFFERENCE_UNLIMITED || kind == DIFFERENCE_OVER;
}

static const char *past_word(enum verdict verdict)
{
	static const char *const words[] = {"allowed", "denied", "rejected", "allowed"};
	return words[verdict];
}

/* In a revision paths are kept as `git:REV:/path`; git writes them without the slash. */
char *shown_name(void *ctx, struct span span)
{
	const char *name = span.source->name, *colon = strncmp(name, "git:", 4) ? NULL : strstr(name, ":/");
	if (!colon)
		return talloc_strdup(ctx, name);
	return talloc_asprintf(ctx, "%.*s%s", (int)(colon + 1 - name), name, colon + 2);
}

static char *place_text(void *ctx, struct span span)
{
	char *name = span.source ? shown_name(ctx, span) : NULL;
	if (!span.source)
		return talloc_strdup(ctx, "");
	return name ? talloc_asprintf(ctx, "%s:%u", name, span_position(span).line) : NULL;
}

static char *line_text(void *ctx, const struct because *because)
{
	char *place = place_text(ctx, because_span(because));
	return place ? talloc_asprintf(ctx, "%s%s%s", place, *place ? ": " : "", because_text(because)) : NULL;
}

static char *rule_text(void *ctx, const struct rule *rule)
{
	return line_text(ctx, &(struct because){.kind = BECAUSE_RULE, .rule = rule});
}

/* Text. */

static int print_lines(void *ctx, const char *label, int width, const struct decided *decided)
{
	bool all = decided->line_count <= LINES_SHOWN;
	for (size_t i = 0; i < decided->line_count && (all || !i); i++) {
		char *line = line_text(ctx, &decided->lines[i]);
		if (!line)
			return -ENOMEM;
		printf("    %-*s%s", width, i ? "" : label, line);
		if (!all)
			printf("  (and %zu more lines)", decided->line_count - 1);
		putchar('\n');
	}
	return 0;
}

/* Beyond a limit it is the limit that tells. */
static char *label_of(void *ctx, const char *word, const struct difference *difference, const struct decided *decided)
{
	bool log = difference->kind == DIFFERENCE_LOGGED || difference->kind == DIFFERENCE_UNLOGGED;
	if (difference->kind == DIFFERENCE_LIMITED || difference->kind == DIFFERENCE_UNLIMITED)
		return talloc_asprintf(ctx, "%s %s: ", word, decided->verdict == VERDICT_ALLOW ? "without limit" : "limited");
	return talloc_asprintf(ctx, "%s %s%s: ", word, past_word(decided->verdict),
		over_limit(difference->kind) ? " over the limit"
		: log && decided->log	     ? ", logged"
					     : "");
}

static const char *parts_text(void *ctx, const struct difference *difference)
{
	const char *text = talloc_asprintf(ctx, " (%zu sets)", difference->set_count);
	return text ? text : "";
}

static int print_difference(void *ctx, const struct difference *difference)
{
	static const char example[] = "for example: ";
	char *was = label_of(ctx, "was", difference, &difference->old), *is = label_of(ctx, "is", difference, &difference->new);
	if (!was || !is)
		return -ENOMEM;
	size_t width = sizeof example - 1;
	width = strlen(was) > width ? strlen(was) : width;
	width = strlen(is) > width ? strlen(is) : width;
	printf("  %s%s%s%s\n", difference->brief, difference->partial ? ", what of it was " : "",
		difference->partial ? past_word(difference->old.verdict) : "",
		difference->set_count > 1 ? parts_text(ctx, difference) : "");
	int error = print_lines(ctx, was, (int)width, &difference->old);
	error = error ? error : print_lines(ctx, is, (int)width, &difference->new);
	printf("    %-*s%s\n", (int)width, example, difference->packet);
	return error;
}

static int print_differences(void *ctx, const struct comparison *comparison)
{
	int error = 0;
	for (size_t i = 0, shown = 0; i < comparison->count && !error; i++) {
		const struct difference *one = &comparison->differences[i];
		if (!i || one->kind != comparison->differences[i - 1].kind) {
			printf("%s%s\n", i ? "\n" : "", difference_word(one->kind));
			shown = 0;
		}
		if (++shown <= SETS_SHOWN)
			error = print_difference(ctx, one);
		else if (i + 1 == comparison->count || comparison->differences[i + 1].kind != one->kind)
			printf("  and %zu more sets; --json lists them all\n", shown - SETS_SHOWN);
	}
	return error;
}

static int print_limits(void *ctx, const struct comparison *comparison)
{
	if (comparison->limit_count)
		printf("%slimits\n", comparison->count ? "\n" : "");
	for (size_t i = 0; i < comparison->limit_count; i++) {
		const struct limit_difference *one = &comparison->limits[i];
		char *old = one->old ? rule_text(ctx, one->old) : talloc_strdup(ctx, "no such rule");
		char *new = one->new ? rule_text(ctx, one->new) : talloc_strdup(ctx, "no such rule");
		char *words = match_text(ctx, (one->new ? one->new : one->old)->written);
		if (!old || !new || !words)
			return -ENOMEM;
		printf("  %s\n    %-14s%s\n    %-14s%s\n", words, "was:", old, "is:", new);
	}
	return 0;
}

static const char *setting_key(enum setting setting)
{
	return setting == SETTING_MANAGED ? "managed" : "mode";
}

static const char *setting_value(enum setting setting, const struct direction_policy *direction)
{
	if (setting == SETTING_MANAGED)
		return direction->managed ? "managed" : "unmanaged";
	return direction->managed && direction->mode == MODE_AUDIT ? "audit" : "enforce";
}

/* What it comes to, for the word alone may not tell. */
static const char *setting_hint(enum setting setting, const struct direction_policy *new)
{
	if (setting == SETTING_MANAGED)
		return new->managed ? "rules decide what was left alone" : "it is left alone: everything passes";
	return new->mode == MODE_AUDIT ? "what is denied is counted and logged, and let through"
				       : "what is denied is denied from now on";
}

static void print_settings(const struct comparison *comparison)
{
	if (comparison->setting_count)
		printf("%sdirections\n", comparison->count || comparison->limit_count ? "\n" : "");
	for (size_t i = 0; i < comparison->setting_count; i++) {
		const struct setting_difference *one = &comparison->settings[i];
		const struct direction_policy *old = &comparison->old->directions[one->direction],
					      *new = &comparison->new->directions[one->direction];
		printf("  %s: was %s, is %s (%s)\n", direction_word(one->direction), setting_value(one->setting, old),
			setting_value(one->setting, new), setting_hint(one->setting, new));
	}
}

static int print_texts(void *ctx, const char *label, const struct because *list, size_t count)
{
	for (size_t i = 0; i < count && i < LINES_SHOWN; i++) {
		char *line = line_text(ctx, &list[i]);
		if (!line)
			return -ENOMEM;
		printf("    %-14s%s\n", i ? "" : label, line);
	}
	if (count > LINES_SHOWN)
		printf("    %-14sand %zu more lines\n", "", count - LINES_SHOWN);
	return 0;
}

static int print_notes(void *ctx, const struct comparison *comparison)
{
	const struct policy *sides[] = {comparison->old, comparison->new};
	int error = 0;
	if (comparison->old_text_count || comparison->new_text_count) {
		printf("%stexts of reasons and logs, which decide nothing\n", comparison_empty(comparison) ? "" : "\n");
		error = print_texts(ctx, "only old:", comparison->old_texts, comparison->old_text_count);
		error = error ? error : print_texts(ctx, "only new:", comparison->new_texts, comparison->new_text_count);
	}
	for (int side = 0; side < 2; side++)
		for (size_t i = 0; i < sides[side]->unknown_count && !error; i++) {
			char *place = place_text(ctx, sides[side]->unknowns[i].span);
			error = place ? 0 : -ENOMEM;
			if (!error)
				printf("note: %s: %s is not known here and counts as empty\n", place,
					sides[side]->unknowns[i].what);
		}
	return error;
}

static int print_undecided(void *ctx, const struct comparison *comparison)
{
	printf("cannot decide: what these rules change together is too large for the time and memory allowed\n");
	for (size_t i = 0; i < comparison->undecided_count && i < 10; i++) {
		char *line = rule_text(ctx, comparison->undecided[i]);
		if (!line)
			return -ENOMEM;
		printf("  %s\n", line);
	}
	if (comparison->undecided_count > 10)
		printf("  and %zu more\n", comparison->undecided_count - 10);
	return 0;
}

int print_comparison_text(void *ctx, const struct comparison *comparison)
{
	if (comparison->undecided_count)
		return print_undecided(ctx, comparison);
	if (comparison_empty(comparison))
		printf("no difference\n");
	int error = print_differences(ctx, comparison);
	error = error ? error : print_limits(ctx, comparison);
	print_settings(comparison);
	return error ? error : print_notes(ctx, comparison);
}

/* Markdown: a table for each kind. Code may hold no backtick, and a cell no bar. */

static char *code(void *ctx, const char *text)
{
	char *out = talloc_strdup(ctx, strchr(text, '`') ? "`` " : "`");
	for (; *text && out; text++)
		out = talloc_asprintf_append_buffer(out, *text == '|' ? "\\|" : "%c", *text);
	return out ? talloc_strdup_append_buffer(out, strstr(out, "`` ") == out ? " ``" : "`") : NULL;
}

static char *cell(void *ctx, const struct difference *difference, const struct decided *decided)
{
	bool limited = difference->kind == DIFFERENCE_LIMITED || difference->kind == DIFFERENCE_UNLIMITED;
	const char *word = !limited			       ? past_word(decided->verdict)
			   : decided->verdict == VERDICT_ALLOW ? "without limit"
							       : "limited";
	bool logged = decided->log && (difference->kind == DIFFERENCE_LOGGED || difference->kind == DIFFERENCE_UNLOGGED);
	char *text = talloc_asprintf(ctx, "%s%s by", word,
		difference->kind == DIFFERENCE_OVER ? " over the limit"
		: logged			    ? " and logged"
						    : "");
	size_t shown = decided->line_count > LINES_SHOWN ? 1 : decided->line_count;
	for (size_t i = 0; i < shown && text; i++) {
		char *line = line_text(ctx, &decided->lines[i]), *quoted = line ? code(ctx, line) : NULL;
		text = quoted ? talloc_asprintf_append_buffer(text, "%s %s", i ? "<br>" : "", quoted) : NULL;
	}
	if (text && shown < decided->line_count)
		text = talloc_asprintf_append_buffer(text, "<br> and %zu more lines", decided->line_count - shown);
	return text;
}

static int print_row(void *ctx, const struct difference *one)
{
	char *set = code(ctx, one->brief);
	if (set && one->partial)
		set = talloc_asprintf(ctx, "%s, what of it was %s", set, past_word(one->old.verdict));
	char *old = cell(ctx, one, &one->old), *new = cell(ctx, one, &one->new), *packet = code(ctx, one->packet);
	if (!set || !old || !new || !packet)
		return -ENOMEM;
	printf("| %s | %s | %s | %s |\n", set, old, new, packet);
	return 0;
}

static int print_tables(void *ctx, const struct comparison *comparison)
{
	int error = 0;
	for (size_t i = 0, shown = 0; i < comparison->count && !error; i++) {
		const struct difference *one = &comparison->differences[i];
		if (!i || one->kind != comparison->differences[i - 1].kind) {
			const char *word = difference_word(one->kind);
			printf("\n**%c%s**\n\n| packets | before | after | for example |\n|---|---|---|---|\n", *word - 'a' + 'A',
				word + 1);
			shown = 0;
		}
		if (++shown <= SETS_SHOWN)
			error = print_row(ctx, one);
		else if (i + 1 == comparison->count || comparison->differences[i + 1].kind != one->kind)
			printf("| and %zu more sets | | | |\n", shown - SETS_SHOWN);
	}
	return error;
}

static int print_limit_table(void *ctx, const struct comparison *comparison)
{
	if (comparison->limit_count)
		printf("\n**Limits**\n\n| before | after |\n|---|---|\n");
	for (size_t i = 0; i < comparison->limit_count; i++) {
		const struct limit_difference *one = &comparison->limits[i];
		char *old = one->old ? code(ctx, rule_text(ctx, one->old)) : talloc_strdup(ctx, "no such rule");
		char *new = one->new ? code(ctx, rule_text(ctx, one->new)) : talloc_strdup(ctx, "no such rule");
		if (!old || !new)
			return -ENOMEM;
		printf("| %s | %s |\n", old, new);
	}
	return 0;
}

int print_comparison_markdown(void *ctx, const struct comparison *comparison)
{
	if (comparison->undecided_count) {
		printf("\n```\n");
		int error = print_undecided(ctx, comparison);
		printf("```\n");
		return error;
	}
	if (comparison_empty(comparison))
		printf("\nNo difference in what is decided, limited or logged.\n");
	int error = print_tables(ctx, comparison);
	error = error ? error : print_limit_table(ctx, comparison);
	if (comparison->setting_count)
		printf("\n**Directions**\n\n");
	for (size_t i = 0; i < comparison->setting_count; i++) {
		const struct setting_difference *one = &comparison->settings[i];
		const struct direction_policy *old = &comparison->old->directions[one->direction],
					      *new = &comparison->new->directions[one->direction];
		printf("- `%s`: %s, now %s: %s\n", direction_word(one->direction), setting_value(one->setting, old),
			setting_value(one->setting, new), setting_hint(one->setting, new));
	}
	if (comparison->old_text_count || comparison->new_text_count)
		printf("\nTexts of reasons or logs differ; they decide nothing.\n");
	return error;
}

/* JSON. */

static json_t *name_json(struct span span)
{
	char *name = shown_name(NULL, span);
	json_t *value = name ? json_text(name) : NULL;
	talloc_free(name);
	return value;
}

static json_t *because_json(const struct because *because)
{
	json_t *object = json_because(because);
	struct span span = because_span(because);
	if (object && span.source && json_set(object, "file", name_json(span))) {
		json_decref(object);
		return NULL;
	}
	return object;
}

static json_t *lines_json(const struct because *lines, size_t count)
{
	json_t *list = json_array();
	for (size_t i = 0; i < count && list; i++)
		if (json_push(list, because_json(&lines[i]))) {
			json_decref(list);
			return NULL;
		}
	return list;
}

static json_t *decided_json(const struct decided *decided)
{
	json_t *object = json_object();
	if (json_set(object, "verdict", json_string(verdict_word(decided->verdict))) ||
		json_set(object, "lines", lines_json(decided->lines, decided->line_count))) {
		json_decref(object);
		return NULL;
	}
	return object;
}

/* What exactly is meant: the set itself unless it is a part of it, or what no rule decides. */
static json_t *sets_json(const struct difference *one)
{
	json_t *list = json_array();
	int error = 0;
	if (!one->partial && !one->rest)
		error = json_push(list, json_text(one->words));
	for (size_t i = 0; i < one->set_count && !error; i++)
		error = json_push(list, json_text(one->sets[i]));
	if (error) {
		json_decref(list);
		return NULL;
	}
	return list;
}

static json_t *difference_json(const struct difference *one)
{
	json_t *object = json_object();
	if (json_set(object, "kind", json_string(kind_key(one->kind))) ||
		json_set(object, "direction", json_string(direction_word(one->direction))) ||
		json_set(object, "packets", json_text(one->words)) || json_set(object, "partial", json_boolean(one->partial)) ||
		json_set(object, "sets", sets_json(one)) || json_set(object, "rest", json_boolean(one->rest)) ||
		json_set(object, "example", json_text(one->packet)) || json_set(object, "old", decided_json(&one->old)) ||
		json_set(object, "new", decided_json(&one->new))) {
		json_decref(object);
		return NULL;
	}
	return object;
}

static json_t *rule_json(const struct rule *rule)
{
	return rule ? because_json(&(struct because){.kind = BECAUSE_RULE, .rule = rule}) : json_null();
}

static json_t *limit_json(const struct limit_difference *one)
{
	json_t *object = json_object();
	if (json_set(object, "old", rule_json(one->old)) || json_set(object, "new", rule_json(one->new))) {
		json_decref(object);
		return NULL;
	}
	return object;
}

static json_t *setting_json(const struct comparison *comparison, const struct setting_difference *one)
{
	const struct direction_policy *old = &comparison->old->directions[one->direction],
				      *new = &comparison->new->directions[one->direction];
	return json_pack("{s:s,s:s,s:s,s:s}", "direction", direction_word(one->direction), "setting", setting_key(one->setting),
		"old", setting_value(one->setting, old), "new", setting_value(one->setting, new));
}

static json_t *unknowns_json(const struct policy *policy)
{
	json_t *list = json_array();
	for (size_t i = 0; i < policy->unknown_count && list; i++) {
		json_t *object = json_object();
		if (json_set(object, "file", name_json(policy->unknowns[i].span)) ||
			json_set(object, "line", json_integer(span_position(policy->unknowns[i].span).line)) ||
			json_set(object, "what", json_text(policy->unknowns[i].what)) || json_push(list, object)) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

static int set_pair(json_t *object, const char *key, json_t *old, json_t *new)
{
	json_t *pair = json_object();
	int error = json_set(pair, "old", old);
	error |= json_set(pair, "new", new);
	return json_set(object, key, pair) || error ? -ENOMEM : 0;
}

json_t *comparison_json(const struct comparison *comparison)
{
	json_t *object = json_object(), *differences = json_array(), *limits = json_array(), *settings = json_array(),
	       *undecided = json_array();
	int error = 0;
	for (size_t i = 0; i < comparison->count && !error; i++)
		error = json_push(differences, difference_json(&comparison->differences[i]));
	for (size_t i = 0; i < comparison->limit_count && !error; i++)
		error = json_push(limits, limit_json(&comparison->limits[i]));
	for (size_t i = 0; i < comparison->setting_count && !error; i++)
		error = json_push(settings, setting_json(comparison, &comparison->settings[i]));
	for (size_t i = 0; i < comparison->undecided_count && !error; i++)
		error = json_push(undecided, rule_json(comparison->undecided[i]));
	error |= json_set(object, "equal", json_boolean(comparison_empty(comparison)));
	error |= json_set(object, "differences", differences);
	error |= json_set(object, "limits", limits);
	error |= json_set(object, "settings", settings);
	error |= set_pair(object, "texts", lines_json(comparison->old_texts, comparison->old_text_count),
		lines_json(comparison->new_texts, comparison->new_text_count));
	error |= set_pair(object, "unknown", unknowns_json(comparison->old), unknowns_json(comparison->new));
	error |= json_set(object, "undecided", undecided);
	if (error) {
		json_decref(object);
		return NULL;
	}
	return object;
}
