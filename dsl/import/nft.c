/*
 * `nft list ruleset`: tables, chains and sets; the rules are read in nft_rule.c.
 *
 * The whole text is cut into words first. A table is read twice, sets before chains, so that it does not matter where a set
 * stands.
 */
#include "dsl/import/nft.h"
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <talloc.h>

static bool add_word(struct nft_reading *reading, const char *text, size_t length, unsigned line, uint32_t begin, bool quoted)
{
	struct nft_words *words = &reading->words;
	if (!(words->count & (words->count - 1))) {
		struct nft_word *more =
			talloc_realloc(reading->import->ctx, words->at, struct nft_word, words->count ? words->count * 2 : 1);
		if (!more) {
			reading->import->error = -ENOMEM;
			return false;
		}
		words->at = more;
	}
	char *copy = talloc_strndup(reading->import->ctx, text, length);
	if (!copy)
		reading->import->error = -ENOMEM;
	words->at[words->count++] = (struct nft_word){copy, line, begin, quoted};
	return copy != NULL;
}

static bool cut(struct nft_reading *reading)
{
	const char *text = reading->source->text, *at = text;
	unsigned line = 1;
	while (*at && !reading->import->error) {
		uint32_t begin = (uint32_t)(at - text);
		if (*at == '#') {
			at += strcspn(at, "\n");
		} else if (*at == '\\' && at[1] == '\n') {
			at += 2;
			line++;
		} else if (*at == '\n') {
			add_word(reading, "\n", 1, line++, begin, false);
			at++;
		} else if (isspace((unsigned char)*at)) {
			at++;
		} else if (*at == '"') {
			size_t length = strcspn(at + 1, "\"");
			add_word(reading, at + 1, length, line, begin, true);
			for (size_t i = 0; i < length; i++)
				line += at[1 + i] == '\n';
			at += length + 1 + (at[length + 1] == '"');
		} else {
			size_t length = strchr("{},;", *at) ? 1 : strcspn(at, "{},; \t\r\n\"");
			add_word(reading, at, length, line, begin, false);
			at += length;
		}
	}
	return add_word(reading, "", 0, line, (uint32_t)(at - text), false);
}

const struct nft_word *nft_peek(const struct nft_reading *reading)
{
	return &reading->words.at[reading->words.next];
}

bool nft_is(const struct nft_reading *reading, const char *text)
{
	return !nft_peek(reading)->quoted && !strcmp(nft_peek(reading)->text, text);
}

const char *nft_take(struct nft_reading *reading)
{
	const struct nft_word *word = nft_peek(reading);
	if (reading->words.next + 1 < reading->words.count)
		reading->words.next++;
	return word->text;
}

bool nft_accept(struct nft_reading *reading, const char *text)
{
	if (!nft_is(reading, text))
		return false;
	nft_take(reading);
	return true;
}

bool nft_ends(const struct nft_reading *reading)
{
	return nft_is(reading, "\n") || nft_is(reading, ";") || nft_is(reading, "}") ||
	       reading->words.next + 1 >= reading->words.count;
}

static void skip_lines(struct nft_reading *reading)
{
	while (nft_accept(reading, "\n") || nft_accept(reading, ";"))
		;
}

static int mistake(struct nft_reading *reading, const char *what)
{
	const struct nft_word *word = nft_peek(reading);
	struct span span = {.source = reading->source, .begin = word->begin, .end = word->begin + (uint32_t)strlen(word->text)};
	report_error(reading->import->diagnostics, span, "%s", what);
	return 1;
}

bool nft_verdict(struct nft_reading *reading, enum foreign_verdict *verdict, const char **target)
{
	static const struct {
		const char *word;
		enum foreign_verdict verdict;
	} verdicts[] = {{"accept", FV_ACCEPT}, {"drop", FV_DROP}, {"reject", FV_REJECT}, {"return", FV_RETURN}, {"jump", FV_JUMP},
		{"goto", FV_GOTO}, {"continue", FV_NONE}};
	for (size_t i = 0; i < sizeof verdicts / sizeof *verdicts; i++)
		if (nft_accept(reading, verdicts[i].word)) {
			*verdict = verdicts[i].verdict;
			*target = *verdict == FV_JUMP || *verdict == FV_GOTO ? nft_take(reading) : NULL;
			return true;
		}
	return false;
}

static void read_element(struct nft_reading *reading, struct nft_element *element)
{
	*element = (struct nft_element){0};
	while (!nft_is(reading, ",") && !nft_is(reading, "}") && reading->words.next + 1 < reading->words.count) {
		if (nft_accept(reading, "\n") || nft_accept(reading, "."))
			continue;
		if (nft_accept(reading, ":")) {
			element->strange |= !nft_verdict(reading, &element->verdict, &element->target);
			continue;
		}
		const char *word = nft_take(reading);
		if (!strcmp(word, "timeout") || !strcmp(word, "expires") || !strcmp(word, "comment"))
			nft_take(reading);
		else if (!strcmp(word, "counter")) {
			while (nft_is(reading, "packets") || nft_is(reading, "bytes"))
				nft_take(reading), nft_take(reading);
		} else if (!strcmp(word, "limit") || !strcmp(word, "quota"))
			element->strange = true;
		else if (element->part_count < NFT_PARTS)
			element->parts[element->part_count++] = word;
	}
}

bool nft_read_elements(struct nft_reading *reading, struct nft_elements *out)
{
	*out = (struct nft_elements){0};
	while (!nft_accept(reading, "}")) {
		if (nft_accept(reading, ",") || nft_accept(reading, "\n"))
			continue;
		if (reading->words.next + 1 >= reading->words.count)
			return false;
		if (!(out->count & (out->count - 1))) {
			struct nft_element *more = talloc_realloc(
				reading->import->ctx, out->at, struct nft_element, out->count ? out->count * 2 : 1);
			if (!more) {
				reading->import->error = -ENOMEM;
				return false;
			}
			out->at = more;
		}
		read_element(reading, &out->at[out->count]);
		if (out->at[out->count].part_count)
			out->count++;
	}
	return true;
}

/* So that the policy keeps the name of a set of addresses. */
static void keep_name(struct nft_reading *reading, const struct nft_set *set, const char *type)
{
	struct import *import = reading->import;
	enum family family = !strcmp(type, "ipv6_addr") ? FAMILY_IPV6 : FAMILY_IPV4;
	if ((strcmp(type, "ipv4_addr") && strcmp(type, "ipv6_addr")) || !set->elements.count ||
		foreign_set(import, NULL, set->name))
		return;
	struct foreign_set *kept = talloc_zero(import->ctx, struct foreign_set);
	struct interval *list = talloc_array(import->ctx, struct interval, set->elements.count);
	struct area area = {0};
	size_t count = 0;
	if (!kept || !list) {
		import->error = -ENOMEM;
		return;
	}
	for (size_t i = 0; i < set->elements.count; i++) {
		struct intervals one;
		enum family its;
		if (set->elements.at[i].part_count != 1 || !read_addresses(import, set->elements.at[i].parts[0], &its, &one) ||
			its != family)
			return;
		list[count++] = one.at[0];
	}
	if (intervals_from(import->ctx, list, count, &area.of[0]))
		import->error = -ENOMEM;
	*kept = (struct foreign_set){.name = set->name, .simple = true, .role_count = 1, .next = import->sets};
	areas_add(import, &kept->members[family], &area);
	import->sets = kept;
}

static int read_set(struct nft_reading *reading, bool keep)
{
	struct nft_set *set = talloc_zero(reading->import->ctx, struct nft_set);
	const char *type = "";
	if (!set) {
		reading->import->error = -ENOMEM;
		return 1;
	}
	set->name = nft_take(reading);
	if (!nft_accept(reading, "{"))
		return mistake(reading, "a set has its members in braces");
	while (!nft_accept(reading, "}")) {
		if (nft_accept(reading, "type"))
			type = nft_take(reading);
		else if (nft_accept(reading, "elements")) {
			nft_accept(reading, "=");
			if (!nft_accept(reading, "{") || !nft_read_elements(reading, &set->elements))
				return mistake(reading, "the elements of a set have no end");
		} else if (nft_is(reading, "dynamic") || nft_is(reading, "timeout"))
			set->filled = nft_take(reading) != NULL;
		else if (reading->words.next + 1 >= reading->words.count)
			return mistake(reading, "a set has no end");
		else
			nft_take(reading);
		if (nft_is(reading, ".") || nft_is(reading, ":"))
			type = "";
	}
	if (keep) {
		set->next = reading->sets;
		reading->sets = set;
		keep_name(reading, set, type);
	}
	return 0;
}

static int named_priority(const char *word)
{
	static const struct {
		const char *word;
		int number;
	} names[] = {{"raw", -300}, {"mangle", -150}, {"dstnat", -100}, {"filter", 0}, {"security", 50}, {"srcnat", 100}};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (!strcmp(word, names[i].word))
			return names[i].number;
	return atoi(word);
}

/* `type filter hook input priority filter + 10; policy drop;` False: not one of the three hooks that a policy speaks of. */
static bool read_hook(struct nft_reading *reading, struct foreign_chain *chain)
{
	static const char *const hooks[] = {"input", "output", "forward"};
	bool filter = nft_is(reading, "filter"), known = false;
	nft_take(reading);
	nft_accept(reading, "hook");
	for (int d = 0; d < DIRECTIONS; d++)
		if (nft_is(reading, hooks[d])) {
			chain->direction = (enum direction)d;
			known = true;
		}
	while (!nft_ends(reading) && !nft_accept(reading, "priority"))
		nft_take(reading);
	if (!nft_ends(reading))
		chain->priority = named_priority(nft_take(reading));
	if (nft_accept(reading, "+"))
		chain->priority += atoi(nft_take(reading));
	else if (nft_accept(reading, "-"))
		chain->priority -= atoi(nft_take(reading));
	chain->base = filter && known;
	chain->source = reading->source;
	chain->line = nft_peek(reading)->line;
	return chain->base;
}

/* The text of the line that a word stands on. */
static const char *line_text(struct nft_reading *reading, const struct nft_word *word)
{
	const char *text = reading->source->text, *start = text + word->begin;
	while (start > text && start[-1] != '\n')
		start--;
	start += strspn(start, " \t");
	return import_text(reading->import, "%.*s", (int)strcspn(start, "\n"), start);
}

static void read_line(struct nft_reading *reading, struct foreign_chain *chain, const char *elsewhere)
{
	const struct nft_word *word = nft_peek(reading);
	reading->rule = foreign_rule(reading->import, elsewhere ? NULL : chain, reading->families, reading->source, word->line,
		line_text(reading, word));
	reading->chain = chain;
	if (!reading->rule)
		return;
	if (!elsewhere) {
		nft_read_rule(reading);
		return;
	}
	rule_fate(reading->import, reading->rule, FATE_UNTRANSLATED, "%s", elsewhere);
	for (unsigned depth = 0; !(nft_ends(reading) && !depth) && reading->words.next + 1 < reading->words.count;) {
		const char *text = nft_take(reading);
		depth += !strcmp(text, "{");
		depth -= !strcmp(text, "}") && depth;
	}
}

static int read_chain(struct nft_reading *reading, bool rules)
{
	const char *name = nft_take(reading), *elsewhere = reading->table ? NULL : "tables of this family are not translated";
	struct foreign_chain *chain = reading->table ? foreign_chain(reading->import, reading->table, name, true) : NULL;
	if (!nft_accept(reading, "{"))
		return mistake(reading, "a chain has its rules in braces");
	for (skip_lines(reading); !nft_accept(reading, "}") && !reading->import->error; skip_lines(reading)) {
		struct foreign_chain none = {0};
		if (reading->words.next + 1 >= reading->words.count)
			return mistake(reading, "a chain has no end");
		if (nft_accept(reading, "type")) {
			if (!read_hook(reading, chain ? chain : &none) && !elsewhere)
				elsewhere = "its chain stands at a hook that a policy does not speak of (not filter input, "
					    "output or forward)";
		} else if (nft_accept(reading, "policy")) {
			if (chain)
				chain->policy = nft_is(reading, "drop") ? FV_DROP : FV_ACCEPT;
			nft_take(reading);
		} else if (nft_accept(reading, "comment"))
			nft_take(reading);
		else if (rules)
			read_line(reading, chain, elsewhere);
		else
			while (!nft_ends(reading) || nft_is(reading, "}")) {
				/* braces of a rule are its own */
				if (nft_is(reading, "}"))
					break;
				if (nft_accept(reading, "{")) {
					struct nft_elements skipped;
					nft_read_elements(reading, &skipped);
				} else
					nft_take(reading);
			}
	}
	return 0;
}

static int read_object(struct nft_reading *reading, bool rules)
{
	if (nft_accept(reading, "chain"))
		return read_chain(reading, rules);
	if (nft_accept(reading, "set") || nft_accept(reading, "map") || nft_accept(reading, "meter"))
		return read_set(reading, !rules && reading->table);
	/* counters, quotas, helpers, flowtables, comments: skipped with their braces */
	unsigned depth = 0;
	do {
		const char *word = nft_take(reading);
		depth += !strcmp(word, "{");
		depth -= !strcmp(word, "}") && depth;
	} while ((depth || !nft_ends(reading)) && reading->words.next + 1 < reading->words.count);
	return 0;
}

static int read_table(struct nft_reading *reading)
{
	static const struct {
		const char *word;
		unsigned families;
	} families[] = {{"ip", 1}, {"ip6", 2}, {"inet", 3}};
	const char *family = nft_take(reading), *name = family;
	reading->families = !strcmp(family, "arp") || !strcmp(family, "bridge") || !strcmp(family, "netdev") ? 0 : 1;
	if (nft_is(reading, "{"))
		family = "ip"; /* the default */
	else
		name = nft_take(reading);
	for (size_t i = 0; i < sizeof families / sizeof *families; i++)
		if (!strcmp(family, families[i].word))
			reading->families = families[i].families;
	reading->table = reading->families ? foreign_table(reading->import, reading->families, name) : NULL;
	reading->sets = NULL;
	if (!nft_accept(reading, "{"))
		return mistake(reading, "a table has its chains in braces");
	size_t start = reading->words.next;
	for (int rules = 0; rules < 2; rules++) {
		reading->words.next = start;
		for (skip_lines(reading); !nft_accept(reading, "}") && !reading->import->error; skip_lines(reading)) {
			if (reading->words.next + 1 >= reading->words.count)
				return mistake(reading, "a table has no end");
			if (read_object(reading, rules))
				return 1;
		}
	}
	return 0;
}

int read_nft(struct import *import, const struct source *source)
{
	struct nft_reading reading = {.import = import, .source = source};
	import->given[FAMILY_IPV4] = import->given[FAMILY_IPV6] = import->complete = true;
	if (!cut(&reading))
		return 0;
	for (skip_lines(&reading); reading.words.next + 1 < reading.words.count && !import->error; skip_lines(&reading)) {
		if (nft_accept(&reading, "table")) {
			if (read_table(&reading))
				return 1;
		} else if (nft_is(&reading, "flush") || nft_is(&reading, "delete") || nft_is(&reading, "destroy"))
			while (!nft_ends(&reading)) /* how a file for nft -f begins */
				nft_take(&reading);
		else
			return mistake(&reading, "this is no `nft list ruleset`: a table was expected");
	}
	return 0;
}
