/*
 * Policy texts and places in them, and the messages about those places.
 *
 * A source is one file (or standard input, or an argument) with its bytes.  A
 * span is a range of bytes in one source; lines and columns are computed only
 * when a message is shown.
 */
#ifndef PORTPOLICY_SOURCE_H
#define PORTPOLICY_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct source {
	const char *name; /* the path as it was opened, or "<stdin>", "<argument>" */
	const char *text; /* NUL-terminated copy; a byte order mark is not part of it */
	size_t length;
	bool library; /* from the shipped library (include <name>) */
	const uint32_t *lines; /* NULL: no index yet; byte offsets where lines begin */
	size_t line_count;
};

/* Copies `text`.  Returns 0 or -ENOMEM. */
int source_new(void *ctx, const char *name, const char *text, size_t length, bool library, struct source **out);
/* The same of a long text that is not copied: `text`, a talloc array, is gone afterwards, also after an error.  Without an index. */
int source_take(void *ctx, const char *name, char *text, size_t length, struct source **out);
/* Makes the index of lines, without which no place in the source can be shown.  0 or -ENOMEM. */
int source_index(struct source *source);

struct span {
	const struct source *source; /* NULL: no place */
	uint32_t begin, end;         /* bytes; end is exclusive */
};

struct position {
	unsigned line, column; /* from 1; a column is a byte, as compilers count */
};
struct position span_position(struct span span);
/* The text of the span with comments, runs of white space and line continuations folded to one space. NULL: out of memory. */
char *span_text(void *ctx, struct span span);

enum severity { SEVERITY_ERROR, SEVERITY_WARNING };

struct diagnostic {
	enum severity severity;
	const char *code;    /* "W012" for warnings, NULL for errors */
	struct span span;    /* span.source NULL: about a file as a whole, see `file` */
	const char *file;    /* the name to show where there is no span */
	const char *message; /* one line, no full stop */
	const char *hint;    /* the likely fix, or NULL */
	struct span related; /* the other place of a conflict, or no place */
	const char *related_message;
	struct diagnostic *next;
};

/* A list in the order of reporting; owns its messages. */
struct diagnostics {
	struct diagnostic *first, **last;
	size_t errors, warnings;
	bool exhausted; /* a message was lost for lack of memory */
};
struct diagnostics *diagnostics_new(void *ctx); /* NULL: out of memory */

/*
 * Appends a message and returns it so that the caller can add a hint or a
 * related place; NULL when memory is short (`exhausted` is set then, so callers need not check).
 */
struct diagnostic *report_error(struct diagnostics *list, struct span span, const char *format, ...) __attribute__((format(printf, 3, 4)));
struct diagnostic *report_warning(struct diagnostics *list, const char *code, struct span span, const char *format, ...) __attribute__((format(printf, 4, 5)));
struct diagnostic *report_file_error(struct diagnostics *list, const char *file, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* Both take the NULL that the functions above may return. */
void diagnostic_hint(struct diagnostics *list, struct diagnostic *diagnostic, const char *format, ...) __attribute__((format(printf, 3, 4)));
void diagnostic_related(struct diagnostics *list, struct diagnostic *diagnostic, struct span span, const char *format, ...) __attribute__((format(printf, 4, 5)));

/*
 * FILE:LINE:COL: error: TEXT, the line, a caret under the place, the related
 * place, the hint ("  fix: ...").  Long lines are cut around the caret, tabs kept aligned,
 * control bytes never reach a terminal raw.  `colour`: ANSI colours.
 */
int diagnostic_print(FILE *stream, const struct diagnostic *diagnostic, bool colour);

/* The nearest of `candidates` to a misspelt word (Damerau-Levenshtein, at most a third of its length), or NULL. */
const char *nearest_word(const char *word, const char *const *candidates, size_t count);

#endif
