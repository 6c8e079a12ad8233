/*
 * Messages about places: kept in a list, shown the way compilers do, so that editors find the place.
 */
#include "portpolicy/source.h"
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

static struct diagnostic *append(struct diagnostics *list, enum severity severity, struct span span, const char *format, va_list arguments)
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

/* A message may quote the policy, and the policy may hold anything: control bytes are shown as ?. */
static void put_clean(FILE *stream, const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++)
		fputc((unsigned char)text[i] < 0x20 || text[i] == 0x7f ? '?' : text[i], stream);
}

static bool continues(char c) { return ((unsigned char)c & 0xc0) == 0x80; }

struct window {
	const char *line;
	size_t from, to, caret, width; /* bytes of the line that are shown; the caret and what it underlines */
};

static struct window window_of(struct span span)
{
	struct position position = span_position(span);
	const char *text = span.source->text, *line = text + span.source->lines[position.line - 1];
	size_t length = strcspn(line, "\r\n"), caret = position.column - 1;
	if ((size_t)(line - text) + length > span.source->length)
		length = span.source->length - (size_t)(line - text);
	struct window window = {.line = line, .to = length, .caret = caret < length ? caret : length};
	if (length > SHOWN_WIDTH) {
		window.from = window.caret > SHOWN_WIDTH / 2 ? window.caret - SHOWN_WIDTH / 2 : 0;
		window.to = window.from + SHOWN_WIDTH < length ? window.from + SHOWN_WIDTH : length;
		while (window.from < window.caret && continues(line[window.from]))
			window.from++;
		while (window.to < length && continues(line[window.to]))
			window.to++;
	}
	window.width = span.end > span.begin ? span.end - span.begin : 1;
	if (window.caret + window.width > window.to)
		window.width = window.to > window.caret ? window.to - window.caret : 1;
	return window;
}

static void print_place(FILE *stream, struct span span, bool colour)
{
	struct window window = window_of(span);
	const char *before = window.from ? "..." : "";
	fprintf(stream, "    %s", before);
	for (size_t i = window.from; i < window.to; i++)
		window.line[i] == '\t' ? (void)fputc('\t', stream) : put_clean(stream, window.line + i, 1);
	fprintf(stream, "%s\n    %*s", window.line[window.to] && !strchr("\r\n", window.line[window.to]) ? "..." : "", (int)strlen(before), "");
	for (size_t i = window.from; i < window.caret; i++)
		if (!continues(window.line[i]))
			fputc(window.line[i] == '\t' ? '\t' : ' ', stream);
	fputs(colour ? "\033[1;32m^" : "^", stream);
	for (size_t i = window.caret + 1; i < window.caret + window.width; i++)
		if (!continues(window.line[i]))
			fputc('~', stream);
	fputs(colour ? "\033[0m\n" : "\n", stream);
}

static void print_head(FILE *stream, const char *file, struct span span, const char *colour, const char *kind, const char *message)
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
	print_head(stream, diagnostic->file, diagnostic->span, !colour ? "" : error ? "\033[1;31m" : "\033[1;35m", error ? "error" : "warning",
		diagnostic->message);
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

/* Optimal string alignment: insertions, deletions, changes and swaps of neighbours (Damerau 1964), three rows at a time. */
static size_t distance(const char *a, size_t a_length, const char *b, size_t b_length)
{
	size_t rows[3][WORD_MAX + 1], *before = rows[0], *last = rows[1], *now = rows[2];
	for (size_t j = 0; j <= b_length; j++)
		last[j] = j;
	for (size_t i = 1; i <= a_length; i++) {
		now[0] = i;
		for (size_t j = 1; j <= b_length; j++) {
			size_t best = last[j - 1] + (a[i - 1] != b[j - 1]);
			if (last[j] + 1 < best)
				best = last[j] + 1;
			if (now[j - 1] + 1 < best)
				best = now[j - 1] + 1;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && before[j - 2] + 1 < best)
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
