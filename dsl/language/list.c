/*
 * Address lists: one address, network or range a line.
 *
 * Lists are large (a blocklist has a million lines), so the common line, just an address or a network, is read by hand here; every other line
 * goes through the same functions as addresses in a policy, which also make the messages.
 */
#include "dsl/language/resolve.h"
#include <errno.h>
#include <string.h>
#include <talloc.h>

#define ERRORS_MAX 10
#define LINE_MAX_BYTES 256

struct growing {
	struct interval *at;
	size_t count, room;
};

static int grow(void *ctx, struct growing *list, struct interval one)
{
	if (list->count == list->room) {
		size_t room = list->room ? list->room + list->room / 2 : 64;
		struct interval *more = talloc_realloc(ctx, list->at, struct interval, room);
		if (!more)
			return -ENOMEM;
		list->at = more;
		list->room = room;
	}
	list->at[list->count++] = one;
	return 0;
}

/* Nothing or "/n", and the end of the line; returns where the next line begins, or NULL. */
static const char *quick_prefix(const char *at, const char *end, uint32_t bits, uint32_t *prefix)
{
	*prefix = bits;
	if (at < end && *at == '/') {
		const char *begin = ++at;
		for (*prefix = 0; at < end && *at >= '0' && *at <= '9' && at - begin < 3; at++)
			*prefix = *prefix * 10 + (uint32_t)(*at - '0');
		if (at == begin || *prefix > bits || (*begin == '0' && at - begin > 1))
			return NULL;
	}
	return at == end ? at : *at == '\n' ? at + 1 : NULL;
}

/*
 * A line of just "a.b.c.d" or "a.b.c.d/n", strictly: returns where the next line begins, or NULL to leave it to the careful way.
 * Neither the end of the line nor a comment is looked for first.
 */
static const char *quick_ipv4(const char *at, const char *end, struct interval *out)
{
	uint32_t address = 0, prefix;
	for (int part = 0; part < 4; part++) {
		uint32_t value = 0;
		const char *begin = at;
		while (at < end && *at >= '0' && *at <= '9' && at - begin < 3)
			value = value * 10 + (uint32_t)(*at++ - '0');
		if (at == begin || value > 255 || (*begin == '0' && at - begin > 1))
			return NULL;
		address = address << 8 | value;
		if (part < 3 && (at == end || *at++ != '.'))
			return NULL;
	}
	at = quick_prefix(at, end, 32, &prefix);
	if (!at)
		return NULL;
	uint32_t hosts = prefix == 32 ? 0 : 0xffffffffu >> prefix;
	if (address & hosts)
		return NULL;
	*out = (struct interval){address, address | hosts};
	return at;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One to four hex digits. */
static const char *quick_group(const char *at, const char *end, uint32_t *out)
{
	const char *begin = at;
	int digit;
	for (*out = 0; at < end && at - begin < 4 && (digit = hex_value(*at)) >= 0; at++)
		*out = *out << 4 | (uint32_t)digit;
	return at == begin ? NULL : at;
}

static bool group_ends(const char *at, const char *end) { return at == end || *at == '\n' || *at == '/'; }

/* Groups with at most one "::"; no dots in it.  Returns what stands behind, or NULL. */
static const char *quick_groups(const char *at, const char *end, u128 *address)
{
	u128 parts[2] = {0, 0}; /* ahead of the gap and behind it */
	unsigned counts[2] = {0, 0}, gap = 0;
	uint32_t group;
	if (end - at >= 2 && at[0] == ':' && at[1] == ':') {
		gap = 1;
		at += 2;
	}
	while (!(gap && !counts[1] && group_ends(at, end))) {
		at = quick_group(at, end, &group);
		if (!at || counts[0] + counts[1] == 8)
			return NULL;
		parts[gap] = parts[gap] << 16 | group;
		counts[gap]++;
		if (group_ends(at, end))
			break;
		if (*at++ != ':')
			return NULL;
		if (at < end && *at == ':' && gap++)
			return NULL;
		at += gap && !counts[1];
	}
	if (gap ? counts[0] + counts[1] > 7 : counts[0] != 8)
		return NULL;
	*address = (counts[0] ? parts[0] << 16 * (8 - counts[0]) : 0) | parts[1];
	return at;
}

/* The same of "a:b::c" or "a:b::c/n". */
static const char *quick_ipv6(const char *at, const char *end, struct interval *out)
{
	u128 address;
	uint32_t prefix;
	at = quick_groups(at, end, &address);
	at = at ? quick_prefix(at, end, 128, &prefix) : NULL;
	u128 hosts = !at || prefix == 128 ? 0 : U128_MAX >> prefix;
	if (!at || address & hosts || address >> 32 == 0xffff) /* the last: an IPv4-mapped one, which is a mistake */
		return NULL;
	*out = (struct interval){address, address | hosts};
	return at;
}

static int careful(struct diagnostics *diagnostics, struct span span, const char *begin, const char *end, enum family *family, struct interval *out)
{
	char text[LINE_MAX_BYTES];
	size_t length = (size_t)(end - begin);
	if (length >= sizeof text || memchr(begin, 0, length)) {
		report_error(diagnostics, span, "one address, network or range stands on a line");
		return 1;
	}
	memcpy(text, begin, length);
	text[length] = 0;
	char *dash = strchr(text, '-');
	if (!dash)
		return address_parse(diagnostics, span, text, family, out);
	char *high = dash + 1 + strspn(dash + 1, " \t");
	while (dash > text && (dash[-1] == ' ' || dash[-1] == '\t'))
		dash--;
	*dash = 0;
	return range_parse(diagnostics, span, text, high, family, out);
}

static bool blank(char c) { return c == ' ' || c == '\t' || c == '\r'; }

static const char *trim(const char **begin, const char *end)
{
	const char *comment = memchr(*begin, '#', (size_t)(end - *begin));
	end = comment ? comment : end;
	while (*begin < end && blank(**begin))
		++*begin;
	while (end > *begin && blank(end[-1]))
		end--;
	return end;
}

static int parse_line(void *ctx, const struct source *source, struct diagnostics *diagnostics, const char *begin, const char *end,
	struct growing lists[FAMILIES])
{
	enum family family = FAMILY_IPV4;
	struct interval one;
	end = trim(&begin, end);
	if (begin == end)
		return 0;
	struct span span = {source, (uint32_t)(begin - source->text), (uint32_t)(end - source->text)};
	if (careful(diagnostics, span, begin, end, &family, &one))
		return 0;
	return grow(ctx, &lists[family], one);
}

int list_parse(void *ctx, const struct source *source, struct diagnostics *diagnostics, struct intervals out[FAMILIES])
{
	struct growing lists[FAMILIES] = {{0}, {0}};
	const char *at = source->text, *end = at + source->length;
	size_t errors = diagnostics->errors;
	int error = 0;
	while (at < end && !error && diagnostics->errors < errors + ERRORS_MAX) {
		struct interval one;
		enum family family = FAMILY_IPV4;
		const char *next = quick_ipv4(at, end, &one);
		if (!next && (next = quick_ipv6(at, end, &one)))
			family = FAMILY_IPV6;
		if (next) {
			error = grow(ctx, &lists[family], one);
			at = next;
			continue;
		}
		const char *newline = memchr(at, '\n', (size_t)(end - at));
		error = parse_line(ctx, source, diagnostics, at, newline ? newline : end, lists);
		at = newline ? newline + 1 : end;
	}
	for (int family = 0; family < FAMILIES && !error; family++)
		out[family] = intervals_take(ctx, lists[family].at, lists[family].count);
	return error ? error : diagnostics->errors != errors;
}
