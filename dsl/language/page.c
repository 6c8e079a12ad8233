/*
 * Lines, and columns down the lines.
 *
 * Lines of one kind that follow each other without a gap, whatever comments stand between, are a run. In a run the `=` of
 * definitions, the `reason` at the end of rules and the comments behind words stand in columns. A column lies on a multiple of
 * four, so a name that grows by a letter seldom moves its neighbours; a line that is much longer than they are stays out of it,
 * and so does one that would get too wide.
 */
#include "dsl/language/page.h"
#include <errno.h>
#include <string.h>
#include <talloc.h>

#define WIDTH 120
#define FAR 64 /* no column of reasons or comments lies beyond */
#define STOP 4
#define TAB 8

struct page *page_new(void *ctx)
{
	return talloc_zero(ctx, struct page);
}

void page_put(struct page *page, const char *text, size_t length)
{
	if (page->length + length + 1 > page->room) {
		size_t room = 2 * (page->length + length + 1);
		char *more = talloc_realloc_size(page, page->text, room);
		page->exhausted |= !more;
		if (!more)
			return;
		page->text = more;
		page->room = room;
	}
	memcpy(page->text + page->length, text, length);
	page->length += length;
}

static void put_blanks(struct page *page, size_t count)
{
	for (size_t i = 0; i < count; i++)
		page_put(page, " ", 1);
}

static void add_line(struct page *page, unsigned indent)
{
	if (!(page->count & (page->count - 1))) {
		struct line *more = talloc_realloc(page, page->lines, struct line, page->count ? page->count * 2 : 1);
		page->exhausted |= !more;
		if (!more)
			return;
		page->lines = more;
	}
	page->lines[page->count++] = (struct line){.begin = page->length, .indent = indent};
}

void page_line(struct page *page, unsigned indent, bool apart)
{
	if (page->count)
		page_put(page, "\n", 1);
	if (page->count && apart) {
		add_line(page, 0);
		page_put(page, "\n", 1);
	}
	add_line(page, indent);
	put_blanks(page, indent);
}

struct line *page_last(struct page *page)
{
	return page->count ? &page->lines[page->count - 1] : &page->none;
}

void page_mark(struct page *page, enum mark mark)
{
	page_last(page)->mark[mark] = page->length;
}

size_t columns_of(const char *text, size_t length)
{
	size_t columns = 0;
	for (size_t i = 0; i < length; i++)
		if (text[i] == '\t')
			columns += TAB - columns % TAB;
		else
			columns += ((unsigned char)text[i] & 0xc0) != 0x80;
	return columns;
}

size_t page_column(const struct page *page)
{
	size_t begin = page->count ? page->lines[page->count - 1].begin : 0;
	return columns_of(page->text + begin, page->length - begin);
}

static size_t line_end(const struct page *page, size_t i)
{
	return i + 1 < page->count ? page->lines[i + 1].begin - 1 : page->length;
}

/* The blanks that each mark of each line gets, over those that are there. */
struct padding {
	size_t before[MARKS];
};

static size_t padded(const struct padding *padding, enum mark mark)
{
	size_t sum = 0;
	for (enum mark i = 0; i < mark; i++)
		sum += padding->before[i];
	return sum;
}

/* The column in which the mark stands now. */
static size_t mark_column(const struct page *page, const struct padding *padding, size_t i, enum mark mark)
{
	const struct line *line = &page->lines[i];
	return columns_of(page->text + line->begin, line->mark[mark] - line->begin) + padded(&padding[i], mark);
}

static bool takes_part(const struct page *page, const struct padding *padding, size_t i, enum mark mark)
{
	const struct line *line = &page->lines[i];
	if (line->kind != LINE_WHOLE || !line->mark[mark])
		return false;
	return mark == MARK_EQUALS || mark_column(page, padding, i, mark) <= FAR;
}

/* All of a line but its comment must fit. */
static bool fits(const struct page *page, const struct padding *padding, size_t i, enum mark mark, size_t column)
{
	const struct line *line = &page->lines[i];
	size_t end = line->mark[MARK_COMMENT] ? line->mark[MARK_COMMENT] : line_end(page, i);
	size_t rest = mark == MARK_COMMENT ? 0 : columns_of(page->text + line->mark[mark], end - line->mark[mark]);
	return column + rest <= WIDTH || mark_column(page, padding, i, mark) >= column;
}

static void align(const struct page *page, struct padding *padding, size_t from, size_t to, enum mark mark)
{
	size_t column = 0, count = 0;
	for (size_t i = from; i < to; i++)
		if (takes_part(page, padding, i, mark)) {
			size_t own = mark_column(page, padding, i, mark);
			column = own > column ? own : column;
			count++;
		}
	column = (column + STOP - 1) / STOP * STOP;
	for (size_t i = from; i < to && count > 1; i++)
		if (takes_part(page, padding, i, mark) && fits(page, padding, i, mark, column))
			padding[i].before[mark] = column - mark_column(page, padding, i, mark);
}

/* A comment that goes on below stands where it began above. */
static void follow(const struct page *page, struct padding *padding)
{
	for (size_t i = 1; i < page->count; i++)
		if (page->lines[i].kind == LINE_BELOW)
			padding[i].before[MARK_COMMENT] = mark_column(page, padding, i - 1, MARK_COMMENT) +
							  padding[i - 1].before[MARK_COMMENT] -
							  mark_column(page, padding, i, MARK_COMMENT);
}

static bool goes_on(const struct page *page, size_t from, size_t i)
{
	switch (page->lines[i].kind) {
	case LINE_OTHER:
		break;
	case LINE_WHOLE:
	case LINE_COMMENT:
		return page->lines[i].indent == page->lines[from].indent;
	case LINE_BELOW:
		return true;
	}
	return false;
}

static void align_all(const struct page *page, struct padding *padding)
{
	for (size_t from = 0, to; from < page->count; from = to) {
		to = from + 1;
		if (page->lines[from].kind != LINE_WHOLE)
			continue;
		while (to < page->count && goes_on(page, from, to))
			to++;
		for (enum mark mark = 0; mark < MARKS; mark++)
			align(page, padding, from, to, mark);
	}
	follow(page, padding);
}

static void copy_line(const struct page *page, const struct padding *padding, size_t i, struct page *out)
{
	size_t at = page->lines[i].begin, end = line_end(page, i);
	for (enum mark mark = 0; mark < MARKS; mark++) {
		size_t stop = page->lines[i].mark[mark];
		if (!stop)
			continue;
		page_put(out, page->text + at, stop - at);
		put_blanks(out, padding[i].before[mark]);
		at = stop;
	}
	page_put(out, page->text + at, end - at);
	page_put(out, "\n", 1);
}

char *page_text(void *ctx, const struct page *page)
{
	struct page *out = page_new(ctx);
	struct padding *padding = talloc_zero_array(out, struct padding, page->count + 1);
	char *text = NULL;
	if (padding && !page->exhausted) {
		align_all(page, padding);
		for (size_t i = 0; i < page->count; i++)
			copy_line(page, padding, i, out);
		page_put(out, "", 1);
		text = out->exhausted ? NULL : talloc_steal(ctx, out->text);
	}
	talloc_free(out);
	return text;
}
