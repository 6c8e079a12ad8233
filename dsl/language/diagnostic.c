/*
 * Messages about places: kept in a list, shown the way compilers do, so that editors find the place.
 */
#include "portpolicy/source.h"
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <talloc.h>

#define SHOWN_WIDTH 120 /* columns of a source line that are shown */

struct diagnostics *diagnostics_new(void *ctx)
{
	struct diagnostics *list = talloc_zero(ctx, struct diagnostics);
	if (list)
		list->last = &list->first;
	return list;
}

static struct diagnostic *append(
	struct diagnostics *list, enum severity severity, struct span span, const char *format, va_list arguments)
{
	struct diagnostic *one = talloc_zero(list, struct diagnostic);
	char *message = one ? talloc_vasprintf(one, format, arguments) : NULL;
	if (severity == SEVERITY_ERROR)
		list->errors++;
	else
		list->warnings++;
	if (!message) {
		list->exhausted = true;
		talloc_free(one);
		return NULL;
	}
	one->severity = severity;
	one->span = span;
	one->file = span.source ? span.source->name : NULL;
	one->message = message;
	*list->last = one;
	list->last = &one->next;
	return one;
}

struct diagnostic *report_error(struct diagnostics *list, struct span span, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	struct diagnostic *one = append(list, SEVERITY_ERROR, span, format, arguments);
	va_end(arguments);
	return one;
}

struct diagnostic *report_warning(struct diagnostics *list, const char *code, struct span span, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	struct diagnostic *one = append(list, SEVERITY_WARNING, span, format, arguments);
	va_end(arguments);
	if (one)
		one->code = code;
	return one;
}

struct diagnostic *report_file_error(struct diagnostics *list, const char *file, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	struct diagnostic *one = append(list, SEVERITY_ERROR, (struct span){0}, format, arguments);
	va_end(arguments);
	if (one && !(one->file = talloc_strdup(one, file)))
		list->exhausted = true;
	return one;
}

void diagnostic_hint(struct diagnostics *list, struct diagnostic *diagnostic, const char *format, ...)
{
	va_list arguments;
	if (!diagnostic)
		return;
	va_start(arguments, format);
	diagnostic->hint = talloc_vasprintf(diagnostic, format, arguments);
	va_end(arguments);
	list->exhausted |= !diagnostic->hint;
}

void diagnostic_related(struct diagnostics *list, struct diagnostic *diagnostic, struct span span, const char *format, ...)
{
	va_list arguments;
	if (!diagnostic)
		return;
	va_start(arguments, format);
	diagnostic->related = span;
	diagnostic->related_message = talloc_vasprintf(diagnostic, format, arguments);
	va_end(arguments);
	list->exhausted |= !diagnostic->related_message;
}

static bool continues(char c)
{
	return ((unsigned char)c & 0xc0) == 0x80;
}

/*
 * May this character be shown? A policy may hold anything, and a message quotes it: neither the control characters of ASCII and
 * Latin 1 nor those that turn the direction of text may reach a terminal, nor bytes that are no UTF-8.
 */
static size_t shown_length(const char *text, size_t length)
{
	unsigned char first = (unsigned char)*text, second = length > 1 ? (unsigned char)text[1] : 0,
		      third = length > 2 ? (unsigned char)text[2] : 0;
	size_t count = first < 0x80		       ? 1
		       : first >= 0xc2 && first < 0xe0 ? 2
		       : first >= 0xe0 && first < 0xf0 ? 3
		       : first >= 0xf0 && first < 0xf5 ? 4
						       : 0;
	if (!count || count > length || first < 0x20 || first == 0x7f || (first == 0xc2 && second < 0xa0))
		return 0;
	for (size_t i = 1; i < count; i++)
		if (!continues(text[i]))
			return 0;
	if (first == 0xe2 &&
		((second == 0x80 && third >= 0xa8 && third <= 0xae) || (second == 0x81 && third >= 0xa6 && third <= 0xa9)))
		return 0;
	return count;
}

/* What may not be shown is a ? for each byte. */
static void put_clean(FILE *stream, const char *text, size_t length)
{
	for (size_t i = 0; i < length;) {
		size_t count = shown_length(text + i, length - i);
		if (count)
			fwrite(text + i, 1, count, stream);
		else
			fputc(text[i] == '\t' ? '\t' : '?', stream);
		i += count ? count : 1;
	}
}

struct window {
	const char *line;
	size_t from, to, caret, width; /* bytes of the line that are shown; the caret and what it underlines */
	bool cut;		       /* the line goes on behind them */
};

static struct window window_of(struct span span)
{
	struct position position = span_position(span);
	const char *text = span.source->text, *line = text + span.source->lines[position.line - 1];
	const char *end = memchr(line, '\n', span.source->length - (size_t)(line - text));
	size_t length = (size_t)((end ? end : text + span.source->length) - line), caret = position.column - 1;
	while (length && line[length - 1] == '\r')
		length--;
	struct window window = {.line = line, .to = length, .caret = caret < length ? caret : length};
	if (length > SHOWN_WIDTH) {
		window.from = window.caret > SHOWN_WIDTH / 2 ? window.caret - SHOWN_WIDTH / 2 : 0;
		window.to = window.from + SHOWN_WIDTH < length ? window.from + SHOWN_WIDTH : length;
		while (window.from < window.caret && continues(line[window.from]))
			window.from++;
		while (window.to < length && continues(line[window.to]))
			window.to++;
	}
	window.cut = window.to < length;
	window.width = span.end > span.begin ? span.end - span.begin : 1;
	if (window.caret + window.width > window.to)
		window.width = window.to > window.caret ? window.to - window.caret : 1;
	return window;
}

/* What stands below the characters in front of the caret: blanks, and tabs where there are tabs. */
static void print_margin(FILE *stream, const char *text, size_t length)
{
	for (size_t i = 0; i < length;) {
		size_t count = shown_length(text + i, length - i);
		fputc(text[i] == '\t' ? '\t' : ' ', stream);
		i += count ? count : 1;
	}
}

static void print_place(FILE *stream, struct span span, bool colour)
{
	struct window window = window_of(span);
	const char *before = window.from ? "..." : "", *line = window.line;
	fprintf(stream, "    %s", before);
	put_clean(stream, line + window.from, window.to - window.from);
	fprintf(stream, "%s\n    %*s", window.cut ? "..." : "", (int)strlen(before), "");
	print_margin(stream, line + window.from, window.caret - window.from);
	fputs(colour ? "\033[1;32m^" : "^", stream);
	for (size_t i = window.caret, first = i; i < window.caret + window.width && i < window.to;) {
		size_t count = shown_length(line + i, window.to - i);
		if (i != first)
			fputc('~', stream);
		i += count ? count : 1;
	}
	fputs(colour ? "\033[0m\n" : "\n", stream);
}

static void print_head(
	FILE *stream, const char *file, struct span span, const char *colour, const char *kind, const char *message)
{
	if (span.source) {
		struct position position = span_position(span);
		put_clean(stream, span.source->name, strlen(span.source->name));
		fprintf(stream, ":%u:%u: ", position.line, position.column);
	} else if (file) {
		put_clean(stream, file, strlen(file));
		fputs(": ", stream);
	}
	fprintf(stream, "%s%s%s: ", colour, kind, *colour ? "\033[0m" : "");
	put_clean(stream, message, strlen(message));
}

int diagnostic_print(FILE *stream, const struct diagnostic *diagnostic, bool colour)
{
	bool error = diagnostic->severity == SEVERITY_ERROR;
	print_head(stream, diagnostic->file, diagnostic->span,
		!colour ? ""
		: error ? "\033[1;31m"
			: "\033[1;35m",
		error ? "error" : "warning", diagnostic->message);
	if (diagnostic->code)
		fprintf(stream, " [%s]", diagnostic->code);
	fputc('\n', stream);
	if (diagnostic->span.source)
		print_place(stream, diagnostic->span, colour);
	if (diagnostic->related.source) {
		print_head(stream, NULL, diagnostic->related, colour ? "\033[1;36m" : "", "note",
			diagnostic->related_message ? diagnostic->related_message : "");
		fputc('\n', stream);
		print_place(stream, diagnostic->related, colour);
	}
	if (diagnostic->hint) {
		fputs("  fix: ", stream);
		put_clean(stream, diagnostic->hint, strlen(diagnostic->hint));
		fputc('\n', stream);
	}
	return ferror(stream) ? -EIO : 0;
}

#define WORD_MAX 64

static bool same_letter(char a, char b)
{
	return tolower((unsigned char)a) == tolower((unsigned char)b);
}

/*
 * Optimal string alignment: insertions, deletions, changes and swaps of neighbours (Damerau 1964), three rows at a time.
 * Upper and lower case are alike.
 */
static size_t distance(const char *a, size_t a_length, const char *b, size_t b_length)
{
	size_t rows[3][WORD_MAX + 1], *before = rows[0], *last = rows[1], *now = rows[2];
	for (size_t j = 0; j <= b_length; j++)
		last[j] = j;
	for (size_t i = 1; i <= a_length; i++) {
		now[0] = i;
		for (size_t j = 1; j <= b_length; j++) {
			size_t best = last[j - 1] + !same_letter(a[i - 1], b[j - 1]);
			if (last[j] + 1 < best)
				best = last[j] + 1;
			if (now[j - 1] + 1 < best)
				best = now[j - 1] + 1;
			if (i > 1 && j > 1 && same_letter(a[i - 1], b[j - 2]) && same_letter(a[i - 2], b[j - 1]) &&
				before[j - 2] + 1 < best)
				best = before[j - 2] + 1;
			now[j] = best;
		}
		size_t *next = before;
		before = last;
		last = now;
		now = next;
	}
	return last[b_length];
}

const char *nearest_word(const char *word, const char *const *candidates, size_t count)
{
	const char *nearest = NULL;
	size_t length = strlen(word), best = length < 3 ? 2 : length / 3 + 1;
	if (length > WORD_MAX)
		return NULL;
	for (size_t i = 0; i < count; i++) {
		size_t other = strlen(candidates[i]);
		size_t gap = other > length ? other - length : length - other;
		if (other > WORD_MAX || gap >= best)
			continue;
		size_t apart = distance(word, length, candidates[i], other);
		if (apart < best) {
			best = apart;
			nearest = candidates[i];
		}
	}
	return nearest;
}
