/*
 * Comments that silence warnings.
 *
 * A warning is silenced for a statement, not for a line: a statement may go on over many, and its warnings point at several of
 * them. What silences nothing is told, lest it wait for a warning that one would want to see.
 */
#include "portpolicy/ignore.h"
#include "dsl/language/lexeme.h"
#include "dsl/language/reading.h"
#include "parse.h"
#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <talloc.h>

/* All that there are; portpolicy-warnings(7) describes them. `local`: it turns on the machine, or on how many hosts there are. */
static const struct {
	const char *code;
	bool local;
} warnings[] = {
	{"W001", true},
	{"W002", false},
	{"W003", false},
	{"W004", false},
	{"W005", true},
	{"W006", true},
	{"W007", false},
	{"W008", false},
	{"W009", false},
	{"W101", false},
	{"W102", false},
	{"W103", false},
	{"W104", false},
	{"W105", false},
	{"W106", false},
	{"W107", false},
	{"W108", false},
	{"W109", false},
};
#define WARNINGS (sizeof warnings / sizeof *warnings)

struct remark {
	void *ctx;
	const struct source *source;
	struct diagnostics *diagnostics;
	struct ignores *list;
	struct place place;
	unsigned first_line, last_line; /* of what it stands at */
};

static size_t word_length(const char *at)
{
	size_t length = 0;
	while (isalnum((unsigned char)at[length]) || at[length] == '-' || at[length] == '_')
		length++;
	return length;
}

static struct span span_at(const struct remark *remark, const char *at, size_t length)
{
	uint32_t begin = (uint32_t)(at - remark->source->text);
	return (struct span){remark->source, begin, begin + (uint32_t)length};
}

static bool code_like(const char *at, size_t length)
{
	size_t digits = strspn(at + 1, "0123456789");
	return *at == 'W' && digits && digits + 1 == length;
}

static int add_code(struct remark *remark, const char *at, size_t length, bool whole_file, bool lenient)
{
	struct ignores *list = remark->list;
	size_t which = 0;
	while (which < WARNINGS && (strlen(warnings[which].code) != length || strncmp(at, warnings[which].code, length)))
		which++;
	if (which == WARNINGS) {
		report_warning(
			remark->diagnostics, "W008", span_at(remark, at, length), "there is no warning %.*s", (int)length, at);
		return 0;
	}
	struct ignore *more = talloc_realloc(remark->ctx, list->at, struct ignore, list->count + 1);
	if (!more)
		return -ENOMEM;
	list->at = more;
	list->at[list->count++] = (struct ignore){.span = span_at(remark, at, length),
		.code = warnings[which].code,
		.whole_file = whole_file,
		.lenient = lenient || warnings[which].local,
		.first_line = remark->first_line,
		.last_line = remark->last_line};
	return 0;
}

static void misread(struct remark *remark)
{
	struct diagnostic *one =
		report_warning(remark->diagnostics, "W008", span_at(remark, remark->source->text + remark->place.begin, 1),
			"this comment is addressed to portpolicy, and not understood");
	diagnostic_hint(
		remark->diagnostics, one, "`# portpolicy: ignore W102`, or `# portpolicy: ignore-file W102`, silences a warning");
}

static const char *skip(const char *at, const char *end, const char *what)
{
	while (at < end && strchr(what, *at))
		at++;
	return at;
}

/* The codes, up to the end of the comment or to a word that is none: that is for people. W009 among them silences itself. */
static int read_codes(struct remark *remark, const char *at, const char *end, bool whole_file)
{
	const char *first = skip(at, end, " \t");
	bool lenient = false, any = false;
	int error = 0;
	for (int pass = 0; pass < 2 && !error; pass++)
		for (at = first; at < end && !error; at = skip(at, end, " \t,")) {
			size_t length = word_length(at);
			if (!code_like(at, length))
				break;
			any = true;
			lenient |= length == 4 && !strncmp(at, "W009", 4);
			if (pass && strncmp(at, "W009", length))
				error = add_code(remark, at, length, whole_file, lenient);
			at += length;
		}
	if (!any)
		misread(remark);
	return error;
}

static int read_remark(struct remark *remark)
{
	static const char address[] = "portpolicy:";
	const char *at = remark->source->text + remark->place.begin, *end = remark->source->text + remark->place.end;
	at = skip(at, end, "# \t");
	if (strncmp(at, address, sizeof address - 1))
		return 0;
	at = skip(at + sizeof address - 1, end, " \t");
	size_t length = word_length(at);
	bool statement = length == 6 && !strncmp(at, "ignore", 6), file = length == 11 && !strncmp(at, "ignore-file", 11);
	if (statement || file)
		return read_codes(remark, at + length, end, file);
	misread(remark);
	return 0;
}

static unsigned line_of(const struct source *source, uint32_t offset)
{
	return span_position((struct span){source, offset, offset}).line;
}

/* A statement without the comments around it. */
struct stretch {
	size_t first, last; /* its words; first > last: none */
};

static bool is_word(const struct lexeme *lexeme)
{
	return lexeme->token != LEXEME_COMMENT && lexeme->token != END;
}

/* The statement that begins at or behind `i`: up to its END or to the brace that opens or closes its block. */
static struct stretch statement_from(const struct lexemes *lexemes, size_t i)
{
	struct stretch stretch = {1, 0};
	while (i < lexemes->count && !is_word(&lexemes->at[i]))
		i++;
	for (size_t first = i; i < lexemes->count && lexemes->at[i].token != END; i++) {
		if (is_word(&lexemes->at[i]))
			stretch = (struct stretch){first, i};
		if (lexemes->at[i].token == BLOCK_OPEN || lexemes->at[i].token == BLOCK_CLOSE)
			break;
	}
	return stretch;
}

static bool on_one_line(const struct source *source, const struct lexeme *a, const struct lexeme *b)
{
	return line_of(source, a->place.end) == line_of(source, b->place.begin);
}

/* The statement that a comment speaks of: the one it stands behind or within, or the next. */
static struct stretch spoken_of(const struct source *source, const struct lexemes *lexemes, size_t comment, struct stretch now)
{
	const struct lexeme *at = lexemes->at;
	bool some = now.first <= now.last;
	if (some && (comment < now.last || on_one_line(source, &at[now.last], &at[comment])))
		return now;
	return statement_from(lexemes, comment);
}

static int read_remarks(struct remark *remark, const struct lexemes *lexemes)
{
	struct stretch now = {1, 0};
	int error = 0;
	for (size_t i = 0; i < lexemes->count && !error; i++) {
		if (is_word(&lexemes->at[i]) && (now.first > now.last || i > now.last))
			now = statement_from(lexemes, i);
		if (lexemes->at[i].token != LEXEME_COMMENT)
			continue;
		struct stretch stretch = spoken_of(remark->source, lexemes, i, now);
		bool some = stretch.first <= stretch.last;
		remark->place = lexemes->at[i].place;
		remark->first_line = some ? line_of(remark->source, lexemes->at[stretch.first].place.begin) : 0;
		remark->last_line = some ? line_of(remark->source, lexemes->at[stretch.last].place.begin) : 0;
		error = read_remark(remark);
	}
	return error;
}

int ignores_read(void *ctx, const struct source *source, struct diagnostics *diagnostics, struct ignores *list)
{
	struct remark remark = {.ctx = ctx, .source = source, .diagnostics = diagnostics, .list = list};
	struct lexemes lexemes;
	if (!strstr(source->text, "portpolicy:"))
		return 0;
	void *scratch = talloc_new(ctx);
	struct diagnostics *unused = scratch ? diagnostics_new(scratch) : NULL;
	int error = unused ? parse_lexemes(scratch, source, unused, &lexemes) : -ENOMEM;
	if (error >= 0)
		error = read_remarks(&remark, &lexemes);
	talloc_free(scratch);
	return error;
}

bool ignores_silence(const struct ignores *list, const struct diagnostic *warning)
{
	bool silenced = false;
	if (!warning->span.source || !warning->code)
		return false;
	unsigned line = span_position(warning->span).line;
	for (size_t i = 0; i < list->count; i++) {
		struct ignore *ignore = &list->at[i];
		if (strcmp(ignore->code, warning->code) || strcmp(ignore->span.source->name, warning->span.source->name))
			continue;
		if (!ignore->whole_file && (line < ignore->first_line || line > ignore->last_line))
			continue;
		silenced = ignore->used = true;
	}
	return silenced;
}

void ignores_finish(const struct ignores *list, struct diagnostics *diagnostics)
{
	for (size_t i = 0; i < list->count; i++) {
		const struct ignore *ignore = &list->at[i];
		if (ignore->used || ignore->lenient)
			continue;
		struct diagnostic *one =
			report_warning(diagnostics, "W009", ignore->span, "there is no %s to ignore %s", ignore->code,
				ignore->whole_file   ? "in this file"
				: ignore->first_line ? "here"
						     : "here, and no statement below");
		diagnostic_hint(diagnostics, one, "take it out, so that it does not hide a warning to come");
	}
}
