/*
 * The one layout: a statement a line, one blank between words, and comments where they were.
 *
 * The text is not made from the tree but from the words, signs and comments of the source in their order, so nothing can be lost
 * on the way and nothing is said in other words. Action and direction stand in columns of fixed width; page.c makes the others.
 *
 * A set stands on one line, or has a member a line and a comma behind the last. It has a member a line where it would not fit,
 * where a comment stands in it, and where its writer put that last comma. A statement without such a set that does not fit goes
 * on at its clauses, behind a backslash.
 */
#include "dsl/language/lexeme.h"
#include "dsl/language/page.h"
#include "dsl/language/reading.h"
#include "parse.h"
#include "portpolicy/layout.h"
#include <errno.h>
#include <string.h>
#include <talloc.h>

#define WIDTH 120
#define STEP 4

struct printer {
	const struct source *source;
	const struct lexeme *at;
	size_t count;
	size_t *mate;	  /* of a `{` of a set: its `}` */
	bool *tall;	  /* of a `{` of a set: a member a line, even where it would fit */
	size_t *previous; /* the lexeme before it that is no END; itself where there is none */

	struct page *page;
	size_t reason;		 /* the `reason` that ends the statement, or 0 */
	unsigned indent;	 /* columns, of a statement */
	bool fresh;		 /* nothing but blanks stands on the line */
	bool commented, hanging; /* it ends with a comment; which began behind words, or below one that did */
};

static void put(struct printer *printer, const char *text)
{
	page_put(printer->page, text, strlen(text));
}

static void new_line(struct printer *printer, unsigned indent, bool apart)
{
	page_line(printer->page, indent, apart);
	printer->fresh = true;
	printer->commented = false;
}

static const char *text_of(const struct printer *printer, size_t i)
{
	return printer->source->text + printer->at[i].place.begin;
}

static size_t length_of(const struct printer *printer, size_t i)
{
	return printer->at[i].place.end - printer->at[i].place.begin;
}

static bool is(const struct printer *printer, size_t i, int token)
{
	return printer->at[i].token == token;
}

/* Ends of lines between a lexeme and the one before it. */
static size_t lines_before(const struct printer *printer, size_t i)
{
	size_t before = printer->previous[i], lines = 0;
	const char *text = printer->source->text;
	for (size_t at = before == i ? 0 : printer->at[before].place.end; at < printer->at[i].place.begin; at++)
		lines += text[at] == '\n';
	return lines;
}

/* One empty line stays where there were some, but not at the beginning of a file, block or set. */
static bool apart(const struct printer *printer, size_t i)
{
	size_t before = printer->previous[i];
	return before != i && !is(printer, before, BLOCK_OPEN) && !is(printer, before, '{') && lines_before(printer, i) > 1;
}

static size_t source_column(const struct printer *printer, size_t i)
{
	uint32_t begin = printer->at[i].place.begin;
	struct position position = span_position((struct span){printer->source, begin, begin});
	return columns_of(printer->source->text + begin - (position.column - 1), position.column - 1);
}

/* A comment that goes on in the next line, in the column where it began behind the words. */
static bool hangs_on(const struct printer *printer, size_t i)
{
	size_t before = printer->previous[i];
	return printer->hanging && before != i && is(printer, before, LEXEME_COMMENT) && lines_before(printer, i) == 1 &&
	       source_column(printer, before) == source_column(printer, i);
}

static void put_comment(struct printer *printer, size_t i, unsigned indent)
{
	bool behind = printer->previous[i] != i && !lines_before(printer, i) && !printer->commented;
	bool below = !behind && hangs_on(printer, i);
	if (behind)
		put(printer, "  ");
	else
		new_line(printer, below ? 0 : indent, !below && apart(printer, i));
	if (!behind)
		page_last(printer->page)->kind = below ? LINE_BELOW : LINE_COMMENT;
	if (behind || below)
		page_mark(printer->page, MARK_COMMENT);
	page_put(printer->page, text_of(printer, i), length_of(printer, i));
	printer->commented = true;
	printer->hanging = behind || below;
	printer->fresh = false;
}

static bool number_like(const struct printer *printer, size_t i)
{
	return is(printer, i, NUMBER) || is(printer, i, ADDRESS);
}

static bool tight(const struct printer *printer, size_t before, size_t i)
{
	const struct lexeme *at = printer->at;
	if (at[i].token == ',' || at[i].token == '/' || at[before].token == '/')
		return true;
	if (at[before].token == '{' && at[i].token == '}')
		return true;
	if (at[i].token == '-')
		return number_like(printer, before) && number_like(printer, i + 1);
	return at[before].token == '-' && number_like(printer, before - 1) && number_like(printer, i);
}

static bool is_action(int token)
{
	return token == ALLOW || token == DENY || token == REJECT;
}

/* The columns of `allow` and `deny`, of `in` and `out`; `reject` and `forward` are wider, and rare. */
static size_t column_width(const struct printer *printer, size_t start, size_t i)
{
	int first = printer->at[start].token, token = printer->at[i].token;
	size_t place = first == EXPECT ? i - start - 1 : i - start;
	if (place == 0 && is_action(token))
		return 5;
	if (place == 1 && (token == IN || token == OUT) &&
		(is_action(first) || first == DEFAULT || first == MODE || first == EXPECT))
		return 3;
	return 0;
}

/* Blanks between a lexeme and the one before it on the line; `start`: of the statement. */
static size_t blanks(const struct printer *printer, size_t start, size_t i)
{
	if (i == start || printer->fresh)
		return 0;
	size_t before = printer->previous[i], fixed = column_width(printer, start, before), length = length_of(printer, before);
	if (tight(printer, before, i))
		return 0;
	return fixed > length ? fixed - length + 1 : 1;
}

static void put_word(struct printer *printer, size_t start, size_t i)
{
	for (size_t count = blanks(printer, start, i); count; count--)
		put(printer, " ");
	if (is(printer, i, '=') || is(printer, i, PLUS_EQUALS))
		page_mark(printer->page, MARK_EQUALS);
	if (i && i == printer->reason)
		page_mark(printer->page, MARK_REASON);
	page_put(printer->page, text_of(printer, i), length_of(printer, i));
	printer->fresh = false;
}

/* Columns of lexemes on one line, with the blanks in front. */
static size_t flat_width(const struct printer *printer, size_t start, size_t from, size_t to)
{
	size_t width = 0;
	bool fresh = printer->fresh;
	for (size_t i = from; i < to && width <= 2 * WIDTH; i++) {
		bool first = i == from && fresh;
		size_t before = printer->previous[i], fixed = i == start ? 0 : column_width(printer, start, before);
		if (!first && i != start && !tight(printer, before, i))
			width += fixed > length_of(printer, before) ? fixed - length_of(printer, before) + 1 : 1;
		width += columns_of(text_of(printer, i), length_of(printer, i));
	}
	return width;
}

static void put_run(struct printer *printer, size_t start, size_t from, size_t to, unsigned indent, size_t room);

/* Where a member of a set ends: at its comma, or at the set's brace. */
static size_t member_end(const struct printer *printer, size_t i, size_t close)
{
	while (i < close && !is(printer, i, ','))
		i = is(printer, i, '{') ? printer->mate[i] + 1 : i + 1;
	return i;
}

static void put_member(struct printer *printer, size_t start, size_t from, size_t to, unsigned indent)
{
	size_t end = to;
	while (is(printer, end - 1, LEXEME_COMMENT))
		end--;
	new_line(printer, indent, apart(printer, from));
	size_t line = printer->page->count;
	put_run(printer, start, from, end, indent, 1);
	put(printer, ",");
	if (printer->page->count == line)
		page_last(printer->page)->kind = LINE_WHOLE;
	for (size_t i = end; i < to; i++)
		put_comment(printer, i, indent);
}

static void put_tall_set(struct printer *printer, size_t start, size_t open)
{
	size_t close = printer->mate[open], next;
	unsigned indent = page_last(printer->page)->indent;
	put_word(printer, start, open);
	for (size_t i = open + 1; i < close; i = next) {
		next = i + 1;
		if (is(printer, i, LEXEME_COMMENT)) {
			put_comment(printer, i, indent + STEP);
		} else if (!is(printer, i, ',')) {
			next = member_end(printer, i, close);
			put_member(printer, start, i, next, indent + STEP);
		}
	}
	new_line(printer, indent, false);
	put_word(printer, start, close);
}

/* Up to where what follows a `{` would have to fit on its line: to the next set, if there is one. */
static size_t reach(const struct printer *printer, size_t open, size_t to)
{
	for (size_t i = printer->mate[open] + 1; i < to; i++)
		if (is(printer, i, '{'))
			return i + 1;
	return to;
}

/* Words and sets on a line, the sets that do not fit a member a line. `room`: columns to be left at its end. Within braces
 * comments may stand anywhere. */
static void put_run(struct printer *printer, size_t start, size_t from, size_t to, unsigned indent, size_t room)
{
	for (size_t i = from; i < to; i++) {
		if (is(printer, i, LEXEME_COMMENT)) {
			put_comment(printer, i, indent + STEP);
			continue;
		}
		if (printer->commented)
			new_line(printer, indent + STEP, false);
		bool fits = !is(printer, i, '{') ||
			    page_column(printer->page) + flat_width(printer, start, i, reach(printer, i, to)) + room <= WIDTH;
		if (is(printer, i, '{') && printer->mate[i] > i + 1 && (printer->tall[i] || !fits)) {
			put_tall_set(printer, start, i);
			i = printer->mate[i];
			continue;
		}
		put_word(printer, start, i);
	}
}

static bool one_of(int token, const int *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (list[i] == token)
			return true;
	return false;
}

/* Where the next clause begins, or the next host pattern, or a comment. Behind some words the next one is a name, whatever it
 * looks like. */
static size_t clause_end(const struct printer *printer, size_t from, size_t to)
{
	static const int heads[] = {ON, ARRIVING, LEAVING, FROM, SOURCE, TO, BY, LIMIT, ABOVE, LOG, REASON};
	static const int openers[] = {ON, ARRIVING, LEAVING, EXCEPT, '/', USER, GROUP, UNIT, PORT, PER, '=', PLUS_EQUALS};
	bool name = false;
	for (size_t i = from; i < to; i++) {
		int token = printer->at[i].token, before = printer->at[printer->previous[i]].token;
		bool second = token == ON && name && (before == ARRIVING || before == LEAVING);
		if (i > from && (token == LEXEME_COMMENT || before == ',' ||
					(!name && one_of(token, heads, sizeof heads / sizeof *heads))))
			return i;
		name = (!name || second) && one_of(token, openers, sizeof openers / sizeof *openers);
		if (token == '{')
			i = printer->mate[i];
	}
	return to;
}

static bool behind_comma(const struct printer *printer, size_t i)
{
	do
		i = printer->previous[i];
	while (is(printer, i, LEXEME_COMMENT));
	return is(printer, i, ',');
}

/* The line goes on behind a comma by itself, elsewhere behind a backslash. */
static void go_on(struct printer *printer, size_t i)
{
	if (!printer->commented && !behind_comma(printer, i))
		put(printer, " \\");
	new_line(printer, printer->indent + STEP, false);
}

static void put_inner_comment(struct printer *printer, size_t i)
{
	if (behind_comma(printer, i)) {
		put_comment(printer, i, printer->indent + STEP);
		return;
	}
	if (printer->commented)
		new_line(printer, printer->indent + STEP, false);
	put(printer, printer->fresh ? "\\ " : " \\ ");
	page_put(printer->page, text_of(printer, i), length_of(printer, i));
	printer->commented = true;
	printer->fresh = printer->hanging = false;
}

static bool holds_tall_set(const struct printer *printer, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++)
		if (is(printer, i, '{') && printer->tall[i])
			return true;
	return false;
}

static void put_clause(struct printer *printer, size_t start, size_t from, size_t to, bool last)
{
	size_t room = last || is(printer, to - 1, ',') ? 0 : 2, width = flat_width(printer, start, from, to);
	bool tall = holds_tall_set(printer, from, to), fits = !tall && page_column(printer->page) + width + room <= WIDTH;
	if (printer->commented || (from != start && !tall && !fits && printer->indent + STEP + width + room <= WIDTH))
		go_on(printer, from);
	if (last && is(printer, from, REASON))
		printer->reason = from;
	put_run(printer, start, from, to, printer->indent, room);
}

static void put_statement(struct printer *printer, size_t from, size_t to)
{
	new_line(printer, printer->indent, apart(printer, from));
	size_t line = printer->page->count;
	for (size_t i = from, next; i < to; i = next) {
		next = i + 1;
		if (is(printer, i, LEXEME_COMMENT)) {
			put_inner_comment(printer, i);
			continue;
		}
		next = clause_end(printer, i, to);
		put_clause(printer, from, i, next, next == to);
	}
	if (printer->page->count == line && !is(printer, to - 1, BLOCK_OPEN))
		page_last(printer->page)->kind = LINE_WHOLE;
}

/* A statement up to its END or to the brace that opens its block, and the comments behind its last word. Returns where the next
 * begins. */
static size_t put_next(struct printer *printer, size_t i)
{
	size_t end = i, last;
	while (end < printer->count && !is(printer, end, END) && !is(printer, end, BLOCK_OPEN))
		end++;
	bool block = end < printer->count && is(printer, end, BLOCK_OPEN);
	end += block;
	for (last = end; is(printer, last - 1, LEXEME_COMMENT);)
		last--;
	put_statement(printer, i, last);
	for (; last < end; last++)
		put_comment(printer, last, printer->indent);
	printer->indent += block ? STEP : 0;
	return end;
}

static void put_all(struct printer *printer)
{
	for (size_t i = 0; i < printer->count && !printer->page->exhausted;) {
		switch (printer->at[i].token) {
		case END:
			i++;
			break;
		case LEXEME_COMMENT:
			put_comment(printer, i++, printer->indent);
			break;
		case BLOCK_CLOSE:
			printer->indent -= STEP;
			new_line(printer, printer->indent, false);
			put_word(printer, i, i);
			i++;
			break;
		default:
			i = put_next(printer, i);
		}
	}
}

/* Finds the mates of braces, which sets are tall, and what stands before what. */
static int survey(struct printer *printer)
{
	size_t *open = talloc_array(printer, size_t, printer->count + 1), depth = 0;
	printer->mate = talloc_zero_array(printer, size_t, printer->count + 1);
	printer->tall = talloc_zero_array(printer, bool, printer->count + 1);
	printer->previous = talloc_zero_array(printer, size_t, printer->count + 1);
	if (!open || !printer->mate || !printer->tall || !printer->previous)
		return -ENOMEM;
	for (size_t i = 0, before = 0, word = 0; i < printer->count; i++) {
		int token = printer->at[i].token;
		bool last_comma = token == '}' && is(printer, word, ',');
		printer->previous[i] = i ? before : i;
		for (size_t k = 0; k < depth && (last_comma || token == LEXEME_COMMENT); k++)
			printer->tall[open[k]] = true;
		if (token == '{')
			open[depth++] = i;
		if (token == '}')
			printer->mate[open[--depth]] = i;
		before = token == END ? before : i;
		word = token == LEXEME_COMMENT ? word : i;
	}
	talloc_free(open);
	return 0;
}

/* The next lexeme that must be the same in every layout: not the comma behind a set's last member. Comments are looked at by
 * themselves. */
static size_t next_fixed(const struct lexemes *list, size_t i, bool comments)
{
	for (; i < list->count; i++) {
		size_t behind = i + 1;
		if ((list->at[i].token == LEXEME_COMMENT) != comments)
			continue;
		while (behind < list->count && list->at[behind].token == LEXEME_COMMENT)
			behind++;
		if (list->at[i].token != ',' || behind == list->count || list->at[behind].token != '}')
			return i;
	}
	return i;
}

static bool same_lexeme(const struct source *a, const struct lexeme *x, const struct source *b, const struct lexeme *y)
{
	uint32_t length = x->place.end - x->place.begin;
	if (x->token != y->token)
		return false;
	return x->token == END ||
	       (length == y->place.end - y->place.begin && !memcmp(a->text + x->place.begin, b->text + y->place.begin, length));
}

static bool same_lexemes(
	const struct source *a, const struct lexemes *x, const struct source *b, const struct lexemes *y, bool comments)
{
	size_t i = next_fixed(x, 0, comments), k = next_fixed(y, 0, comments);
	while (i < x->count && k < y->count && same_lexeme(a, &x->at[i], b, &y->at[k])) {
		i = next_fixed(x, i + 1, comments);
		k = next_fixed(y, k + 1, comments);
	}
	return i == x->count && k == y->count;
}

/* Reads the result back. 0, 1 when it does not say the same, -ENOMEM. */
static int compare(void *ctx, const struct source *source, const struct lexemes *lexemes, const char *text)
{
	struct diagnostics *unused = diagnostics_new(ctx);
	struct source *result;
	struct lexemes again;
	if (!unused || source_new(ctx, source->name, text, strlen(text), source->library, &result))
		return -ENOMEM;
	int outcome = parse_lexemes(ctx, result, unused, &again);
	if (outcome)
		return outcome;
	return !same_lexemes(source, lexemes, result, &again, false) || !same_lexemes(source, lexemes, result, &again, true);
}

int source_lay_out(void *ctx, const struct source *source, struct diagnostics *diagnostics, char **out)
{
	struct printer *printer = talloc_zero(ctx, struct printer);
	struct lexemes lexemes;
	char *text = NULL;
	*out = NULL;
	if (!printer || !(printer->page = page_new(printer)))
		return -ENOMEM;
	int error = parse_lexemes(printer, source, diagnostics, &lexemes);
	printer->source = source;
	printer->at = lexemes.at;
	printer->count = lexemes.count;
	if (!error)
		error = survey(printer);
	if (!error)
		put_all(printer);
	if (!error && !(text = page_text(printer, printer->page)))
		error = -ENOMEM;
	if (!error && (error = compare(printer, source, &lexemes, text)) == 1)
		report_file_error(diagnostics, source->name, "its layout cannot be changed without changing what it says");
	if (!error)
		*out = talloc_steal(ctx, text);
	talloc_free(printer);
	return error;
}
