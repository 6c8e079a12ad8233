/*
 * Texts and places in them.
 *
 * A place is a pair of byte offsets; lines are found by halving in a table made once a text.
 */
#include "portpolicy/source.h"
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <talloc.h>

/* Offsets are 32 bits wide, and the scanner counts in int. */
#define LENGTH_MAX ((size_t)INT_MAX - 2)

int source_index(struct source *source)
{
	size_t count = 1;
	for (const char *at = source->text; (at = memchr(at, '\n', source->length - (size_t)(at - source->text))); at++)
		count++;
	uint32_t *lines = talloc_array(source, uint32_t, count);
	if (!lines)
		return -ENOMEM;
	lines[0] = 0;
	size_t line = 1;
	for (const char *at = source->text; (at = memchr(at, '\n', source->length - (size_t)(at - source->text))); at++)
		lines[line++] = (uint32_t)(at - source->text) + 1;
	source->lines = lines;
	source->line_count = count;
	return 0;
}

int source_new(void *ctx, const char *name, const char *text, size_t length, bool library, struct source **out)
{
	struct source *source = talloc_zero(ctx, struct source);
	if (!source)
		return -ENOMEM;
	if (length >= 3 && !memcmp(text, "\xef\xbb\xbf", 3)) {
		text += 3;
		length -= 3;
	}
	char *copy = length < LENGTH_MAX ? talloc_size(source, length + 1) : NULL;
	source->name = talloc_strdup(source, name);
	source->length = length;
	source->library = library;
	if (copy) {
		memcpy(copy, text, length);
		copy[length] = 0;
	}
	source->text = copy;
	if (!copy || !source->name || source_index(source)) {
		talloc_free(source);
		return -ENOMEM;
	}
	*out = source;
	return 0;
}

int source_take(void *ctx, const char *name, char *text, size_t length, struct source **out)
{
	struct source *source = talloc_zero(ctx, struct source);
	size_t mark = length >= 3 && !memcmp(text, "\xef\xbb\xbf", 3) ? 3 : 0;
	char *longer = source && length < LENGTH_MAX ? talloc_realloc_size(NULL, text, length + 1) : NULL;
	if (!longer || !(source->name = talloc_strdup(source, name))) {
		talloc_free(longer ? longer : text);
		talloc_free(source);
		return -ENOMEM;
	}
	longer[length] = 0;
	source->text = (char *)talloc_steal(source, longer) + mark;
	source->length = length - mark;
	*out = source;
	return 0;
}

struct position span_position(struct span span)
{
	size_t low = 0, high = span.source ? span.source->line_count : 0;
	if (!high)
		return (struct position){0, 0};
	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;
		if (span.source->lines[middle] <= span.begin)
			low = middle;
		else
			high = middle;
	}
	return (struct position){(unsigned)low + 1, span.begin - span.source->lines[low] + 1};
}

static bool blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Copies what stands at `at` to `*out` and returns the bytes read: one byte, or white space, a continuation or a comment as
 * nothing. */
static size_t fold(const char *at, const char *end, bool *quoted, bool *gap, char **out)
{
	if (!*quoted && *at == '#') {
		const char *newline = memchr(at, '\n', (size_t)(end - at));
		*gap = true;
		return (size_t)((newline ? newline : end) - at);
	}
	if (!*quoted && (blank(*at) || (*at == '\\' && at + 1 < end && blank(at[1])))) {
		*gap = true;
		return 1;
	}
	if (*at == '"')
		*quoted = !*quoted;
	if (*gap)
		*(*out)++ = ' ';
	*gap = false;
	*(*out)++ = *at;
	return 1;
}

char *span_text(void *ctx, struct span span)
{
	const char *at = span.source ? span.source->text + span.begin : "";
	const char *end = span.source ? span.source->text + span.end : at;
	char *text = talloc_size(ctx, 2 * (size_t)(end - at) + 1), *out = text;
	bool quoted = false, gap = false;
	if (!text)
		return NULL;
	while (at < end) {
		size_t used = fold(at, end, &quoted, &gap, &out);
		gap = gap && out != text;
		at += used;
	}
	*out = 0;
	return text;
}
