/*
 * A page of text as it is laid out: lines, places on them that may stand in columns, and the columns.
 */
#ifndef PORTPOLICY_PAGE_H
#define PORTPOLICY_PAGE_H

#include <stdbool.h>
#include <stddef.h>

enum mark { MARK_EQUALS, MARK_REASON, MARK_COMMENT, MARKS };

enum line_kind {
	LINE_OTHER,   /* empty, or part of something longer: columns end here */
	LINE_WHOLE,   /* a statement or a member of a set, all on this line */
	LINE_COMMENT, /* nothing but a comment */
	LINE_BELOW,   /* nothing but a comment that goes on from the line above, in its column */
};

struct line {
	enum line_kind kind;
	unsigned indent;
	size_t begin;
	size_t mark[MARKS]; /* where in the text, or 0 */
};

struct page {
	char *text;
	size_t length, room;
	struct line *lines, none;
	size_t count;
	bool exhausted; /* out of memory: what was put since is lost */
};

struct page *page_new(void *ctx); /* NULL: out of memory */
void page_put(struct page *page, const char *text, size_t length);
/* Begins another line, behind an empty one if `apart`. */
void page_line(struct page *page, unsigned indent, bool apart);
/* The line that is being written. */
struct line *page_last(struct page *page);
/* Here something begins that stands in the column of its like in the lines around. */
void page_mark(struct page *page, enum mark mark);
size_t page_column(const struct page *page); /* from 0 */
/* The whole text, with its columns: a NUL-terminated talloc child of ctx; NULL: out of memory. */
char *page_text(void *ctx, const struct page *page);

/* Columns that a terminal would take: a character one, a tab up to the next multiple of eight. */
size_t columns_of(const char *text, size_t length);

#endif
