/*
 * Syntax errors in the words of the language.
 *
 * The parser knows what could have stood in the place of something else; a list of forty words helps nobody, so the list is
 * called by what it is (addresses, a clause) where it is long.  What is often done wrong is in mistakes.c.
 */
#include "dsl/language/reading.h"
#include <string.h>
#include <talloc.h>

#define ERRORS_MAX 50
#define LISTED_MAX 6
#define SHOWN_MAX 60 /* bytes of a token that a message quotes */

struct diagnostic *parse_error(struct parse *parse, struct place place, const char *format, ...)
{
	va_list arguments;
	if (parse->full)
		return NULL;
	if (++parse->errors > ERRORS_MAX) {
		parse->full = true;
		return report_error(
			parse->diagnostics, parse_span(parse, place), "too many errors; what follows is not reported");
	}
	va_start(arguments, format);
	char *message = talloc_vasprintf(parse->ctx, format, arguments);
	va_end(arguments);
	parse->exhausted |= !message;
	struct diagnostic *one = report_error(parse->diagnostics, parse_span(parse, place), "%s", message ? message : "");
	talloc_free(message);
	return one;
}

bool expects(const struct surprise *surprise, const char *name)
{
	for (size_t i = 0; i < surprise->count; i++)
		if (!strcmp(surprise->expected[i], name))
			return true;
	return false;
}

/* What the places are called where very many words may stand. */
static const char *place_name(const struct surprise *surprise)
{
	if (expects(surprise, "addresses") && expects(surprise, "mode") && !expects(surprise, "a name"))
		return "a statement (allow, deny, default, expect, addresses, ...)";
	if (expects(surprise, "an address"))
		return "addresses";
	if (expects(surprise, "reason") && expects(surprise, "leaving") && !expects(surprise, "a name"))
		return "a clause (from, to, on, by, source port, limit, log, ...) or the end of the line";
	if (expects(surprise, "a name") && expects(surprise, "leaving"))
		return expects(surprise, "a number") ? "a name or a number" : "the name of an interface";
	if (expects(surprise, "a name") && expects(surprise, "a number"))
		return "ports";
	return NULL;
}

static char *append_name(char *text, const char *name)
{
	size_t length = strlen(name);
	if (*name == '\'') /* the grammar's '{' */
		return talloc_asprintf_append(text, "`%c`", name[1]);
	if (strchr("{}+", *name))
		return talloc_asprintf_append(text, "`%.*s`", (int)(length - (name[length - 1] == ' ')), name);
	return talloc_strdup_append(text, name);
}

/*
 * "; expected on, from or to"; an empty text when that would be of no help.  Where the grammar takes any word only to guess what
 * was meant, a name is not expected.
 */
static char *expectation_text(const struct surprise *surprise)
{
	const char *listed[LISTED_MAX], *place = place_name(surprise);
	size_t count = 0;
	bool guessed = (expects(surprise, "in") && expects(surprise, "out")) || expects(surprise, "\"a text\""),
	     traffic = expects(surprise, "protocol");
	if (place || traffic)
		return talloc_asprintf(surprise->parse->ctx, "; expected %s",
			place ? place : "traffic (tcp/443, udp, icmp, any, a service, ...)");
	for (size_t i = 0; i < surprise->count; i++) {
		if (guessed && !strcmp(surprise->expected[i], "a name"))
			continue;
		if (count == LISTED_MAX)
			return talloc_strdup(surprise->parse->ctx, "");
		listed[count++] = surprise->expected[i];
	}
	char *text = talloc_strdup(surprise->parse->ctx, "");
	for (size_t i = 0; text && i < count; i++) {
		text = talloc_strdup_append(text, !i ? "; expected " : i + 1 == count ? " or " : ", ");
		text = text ? append_name(text, listed[i]) : NULL;
	}
	return text;
}

static void report_end(const struct surprise *surprise, const char *expectation)
{
	struct parse *parse = surprise->parse;
	if (parse->abandoned) {
		parse->abandoned = false;
		struct diagnostic *one = parse_error(parse, parse->brace, "this brace is never closed");
		diagnostic_hint(parse->diagnostics, one, "close it with `}`");
	} else if (*surprise->before) {
		parse_error(parse, surprise->place, "something is missing behind `%s`%s", surprise->before, expectation);
	} else {
		parse_error(parse, surprise->place, "nothing stands here%s", expectation);
	}
}

static void report_general(const struct surprise *surprise, const char *expectation)
{
	struct parse *parse = surprise->parse;
	const char *meant = likely_word(surprise);
	if (meant && place_name(surprise))
		expectation = "";
	struct diagnostic *one = parse_error(parse, surprise->place, "`%s` cannot stand here%s", surprise->word, expectation);
	if (meant)
		diagnostic_hint(parse->diagnostics, one, "did you mean `%s`?", meant);
}

/* Cut at a character, not within one. */
static char *token_text(struct parse *parse, void *ctx, struct place place)
{
	const char *text = parse->source->text + place.begin;
	size_t length = place.end - place.begin;
	if (length <= SHOWN_MAX)
		return talloc_strndup(ctx, text, length);
	for (length = SHOWN_MAX; length && ((unsigned char)text[length] & 0xc0) == 0x80;)
		length--;
	return talloc_asprintf(ctx, "%.*s...", (int)length, text);
}

/* A token in front; "" when the statement begins behind it. */
static char *neighbour_text(struct parse *parse, void *ctx, struct place place)
{
	const char *first = parse->source->text + place.begin;
	return place.end == place.begin || strchr("\n\r;", *first) ? talloc_strdup(ctx, "") : token_text(parse, ctx, place);
}

static void report(const struct surprise *surprise, const char *expectation)
{
	struct parse *parse = surprise->parse;
	bool end = parse->ended && (!*surprise->word || strchr("\n\r;", *surprise->word));
	if (parse->misled)
		return;
	if (!(end && parse->abandoned) && report_mistake(surprise))
		return;
	if (end)
		report_end(surprise, expectation);
	else
		report_general(surprise, expectation);
}

bool report_unexpected(struct parse *parse, struct place place, const char *const *expected, size_t count)
{
	void *scratch = talloc_new(parse->ctx);
	if (!scratch)
		return false;
	struct surprise surprise = {.parse = parse, .place = place, .expected = expected, .count = count};
	surprise.word = token_text(parse, scratch, place);
	surprise.before = neighbour_text(parse, scratch, parse->before);
	surprise.earlier = surprise.before && *surprise.before ? neighbour_text(parse, scratch, parse->earlier) : "";
	surprise.behind = parse->source->text + place.end + strspn(parse->source->text + place.end, " \t");
	char *expectation = expectation_text(&surprise);
	bool made = surprise.word && surprise.before && surprise.earlier && expectation;
	if (made)
		report(&surprise, expectation);
	talloc_free(expectation);
	talloc_free(scratch);
	return made;
}
