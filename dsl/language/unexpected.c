/*
 * Syntax errors in the words of the language.
 *
 * The parser knows which words could have stood where something else stands. What the writer most likely meant is found by
 * looking at both, and at what other firewalls call the same thing.
 */
#include "dsl/language/reading.h"
#include <string.h>
#include <talloc.h>

#define ERRORS_MAX 50

struct diagnostic *parse_error(struct parse *parse, struct place place, const char *format, ...)
{
	va_list arguments;
	if (parse->full)
		return NULL;
	if (++parse->errors > ERRORS_MAX) {
		parse->full = true;
		return report_error(parse->diagnostics, parse_span(parse, place), "too many errors; what follows is not reported");
	}
	va_start(arguments, format);
	char *message = talloc_vasprintf(parse->ctx, format, arguments);
	va_end(arguments);
	struct diagnostic *one = report_error(parse->diagnostics, parse_span(parse, place), "%s", message ? message : "");
	talloc_free(message);
	return one;
}

struct synonym {
	const char *theirs, *ours;
};

static const struct synonym direction_synonyms[] = {
	{"input", "in"}, {"incoming", "in"}, {"inbound", "in"}, {"ingress", "in"}, {"output", "out"}, {"outgoing", "out"}, {"outbound", "out"},
	{"egress", "out"}, {"forwarding", "forward"}, {"forwarded", "forward"}, {"routed", "forward"}, {"route", "forward"}, {"through", "forward"},
};

static const struct synonym word_synonyms[] = {
	{"permit", "allow"}, {"accept", "allow"}, {"pass", "allow"}, {"drop", "deny"}, {"block", "deny"}, {"discard", "deny"}, {"refuse", "reject"},
	{"interface", "on"}, {"iface", "on"}, {"via", "on"}, {"iif", "on"}, {"oif", "on"}, {"iifname", "on"}, {"oifname", "on"}, {"dev", "on"},
	{"src", "from"}, {"saddr", "from"}, {"dst", "to"}, {"daddr", "to"}, {"destination", "to"}, {"comment", "reason"}, {"because", "reason"},
	{"rate", "limit"}, {"uid", "by user"}, {"owner", "by user"}, {"gid", "by group"}, {"address", "addresses"}, {"alias", "addresses"},
	{"define", "addresses"}, {"import", "include"}, {"policy", "default"}, {"assert", "expect"}, {"test", "expect"}, {"host", "hosts"},
	{"but", "except"}, {"not", "except"}, {"without", "except"}, {"proto", "protocol"}, {"logging", "log"}, {"dry-run", "audit"},
};

static const char *const reserved[] = {"nat", "until", "within", "audit", "stateless"};
static const char *const port_words[] = {"port", "dport", "sport", "dst-port", "src-port", "destination-port", "source-port"};

static const char *synonym_of(const struct synonym *list, size_t count, const char *word)
{
	for (size_t i = 0; i < count; i++)
		if (!strcmp(list[i].theirs, word))
			return list[i].ours;
	return NULL;
}
#define COUNT(array) (sizeof(array) / sizeof *(array))

static bool one_of(const char *word, const char *const *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!strcmp(word, list[i]))
			return true;
	return false;
}

enum direction direction_guess(struct parse *parse, struct place place, const char *word)
{
	static const char *const directions[] = {"in", "out", "forward"};
	const char *meant = synonym_of(direction_synonyms, COUNT(direction_synonyms), word);
	if (!meant)
		meant = nearest_word(word, directions, COUNT(directions));
	struct diagnostic *one = parse_error(parse, place, "`%s` is no direction; expected in, out or forward", word);
	if (meant)
		diagnostic_hint(parse->diagnostics, one, "write `%s`", meant);
	for (size_t i = 0; meant && i < COUNT(directions); i++)
		if (!strcmp(meant, directions[i]))
			return (enum direction)i;
	return DIRECTION_IN;
}

static char *token_text(struct parse *parse, struct place place)
{
	uint32_t length = place.end - place.begin;
	return talloc_strndup(parse->ctx, parse->source->text + place.begin, length > 60 ? 60 : length);
}

static bool is_word(const char *expected) { return (*expected >= 'a' && *expected <= 'z') || *expected == '$'; }

/* "on, from or to"; an empty text when there are too many to be of help. */
static char *expectation_text(struct parse *parse, const char *const *expected, size_t count)
{
	char *text = talloc_strdup(parse->ctx, "");
	if (count > 6)
		return text;
	for (size_t i = 0; text && i < count; i++) {
		size_t length = strlen(expected[i]);
		while (length > 1 && expected[i][length - 1] == ' ')
			length--;
		text = talloc_asprintf_append(text, "%s%.*s", !i ? "; expected " : i + 1 == count ? " or " : ", ", (int)length, expected[i]);
	}
	return text;
}

static const char *likely_word(const char *word, const char *const *expected, size_t count)
{
	const char *words[64];
	size_t known = 0;
	const char *meant = synonym_of(word_synonyms, COUNT(word_synonyms), word);
	for (size_t i = 0; i < count && known < COUNT(words); i++)
		if (is_word(expected[i]) && strcmp(expected[i], "end of line"))
			words[known++] = expected[i];
	for (size_t i = 0; meant && i < known; i++)
		if (!strncmp(meant, words[i], strlen(words[i])))
			return meant;
	return nearest_word(word, words, known);
}

/* Which end a bare port means must never be a guess. */
static bool report_port(struct parse *parse, struct place place, const char *word)
{
	if (!one_of(word, port_words, COUNT(port_words)))
		return false;
	const char *number = parse->source->text + place.end;
	number += strspn(number, " \t=");
	int length = (int)strspn(number, "0123456789");
	if (!length || length > 5) {
		number = "22";
		length = 2;
	}
	struct diagnostic *one = parse_error(parse, place, "a port says which end it is of: `%s` alone does not", word);
	diagnostic_hint(parse->diagnostics, one, "`tcp/%.*s` is the destination port, `source port %.*s` the source port", length, number, length, number);
	return true;
}

/* `in tcp 22`: the slash is missing. */
static bool report_slash(struct parse *parse, struct place place, const char *word)
{
	static const char *const protocols[] = {"tcp", "udp", "sctp", "icmp", "icmpv6"};
	char *before = token_text(parse, parse->before);
	bool missing = before && one_of(before, protocols, COUNT(protocols)) && strchr("0123456789{$", *word);
	if (missing) {
		struct diagnostic *one = parse_error(parse, place, "what stands behind %s begins with a slash", before);
		diagnostic_hint(parse->diagnostics, one, *word == '{' ? "write `%s/{ ... }`" : "write `%s/%s`", before, word);
	}
	talloc_free(before);
	return missing;
}

static bool report_special(struct parse *parse, struct place place, const char *word)
{
	if (report_port(parse, place, word) || report_slash(parse, place, word))
		return true;
	if (!strcmp(word, "except")) {
		struct diagnostic *one = parse_error(parse, place, "`except` takes one operand, and cannot stand here");
		diagnostic_hint(parse->diagnostics, one, "put what is left out into braces: A except { B, C }");
		return true;
	}
	if (one_of(word, reserved, COUNT(reserved))) {
		parse_error(parse, place, "`%s` is reserved for a later version of the language", word);
		return true;
	}
	return false;
}

static void report_end(struct parse *parse, struct place place, const char *expected)
{
	if (!parse->abandoned) {
		parse_error(parse, place, "the statement ends too early%s", expected);
		return;
	}
	parse->abandoned = false;
	struct diagnostic *one = parse_error(parse, parse->brace, "this brace is never closed");
	diagnostic_hint(parse->diagnostics, one, "close it with `}`");
}

void report_unexpected(struct parse *parse, struct place place, const char *const *expected, size_t count)
{
	char *word = token_text(parse, place), *list = expectation_text(parse, expected, count);
	if (!word || !list) {
		parse->exhausted = true;
		parse_error(parse, place, "syntax error");
	} else if (!*word || *word == '\n' || *word == ';' || parse->abandoned) {
		report_end(parse, place, list);
	} else if (!report_special(parse, place, word)) {
		const char *meant = likely_word(word, expected, count);
		struct diagnostic *one = parse_error(parse, place, "`%s` cannot stand here%s", word, list);
		if (meant)
			diagnostic_hint(parse->diagnostics, one, "did you mean `%s`?", meant);
	}
	talloc_free(word);
	talloc_free(list);
}
