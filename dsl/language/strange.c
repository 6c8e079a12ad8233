/*
 * What is no word and no sign of the language: control bytes, other alphabets' signs, other languages' signs.
 *
 * One report a statement is enough: a line of another encoding would otherwise fill the screen.
 */
#include "dsl/language/reading.h"
#include <string.h>
#include <talloc.h>

/* The length of the UTF-8 character (RFC 3629) at `text`, or 0. */
static size_t character(const char *text, size_t length, uint32_t *code)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	unsigned char first = (unsigned char)*text;
	size_t count = first < 0x80		       ? 1
		       : first >= 0xc2 && first < 0xe0 ? 2
		       : first >= 0xe0 && first < 0xf0 ? 3
		       : first >= 0xf0 && first < 0xf5 ? 4
						       : 0;
	if (!count || count > length)
		return 0;
	*code = count == 1 ? first : first & (0x7fu >> count);
	for (size_t i = 1; i < count; i++) {
		if (((unsigned char)text[i] & 0xc0) != 0x80)
			return 0;
		*code = *code << 6 | ((unsigned char)text[i] & 0x3f);
	}
	return *code < least[count] || (*code >= 0xd800 && *code < 0xe000) || *code > 0x10ffff ? 0 : count;
}

const char *unclean_byte(const char *text, size_t length)
{
	uint32_t code;
	for (size_t i = 0, count; i < length; i += count) {
		count = character(text + i, length - i, &code);
		if (!count || (code < 0x20 && code != '\t') || code == 0x7f)
			return text + i;
	}
	return NULL;
}

/* Where text of any alphabet may stand, the place is the byte that is none. */
void report_unclean(struct parse *parse, const char *at)
{
	uint32_t offset = (uint32_t)(at - parse->source->text);
	struct place place = {offset, offset + 1};
	unsigned char byte = (unsigned char)*at;
	struct diagnostic *one;
	if (byte >= 0x80) {
		one = parse_error(parse, place, "this byte (0x%02x) is not UTF-8", byte);
		diagnostic_hint(parse->diagnostics, one, "save the file as UTF-8, e.g. with `iconv -f LATIN1 -t UTF-8`");
	} else if (byte == '\r') {
		one = parse_error(parse, place, "a carriage return without a line feed ends no line");
		diagnostic_hint(parse->diagnostics, one, "end lines with LF or CR LF");
	} else {
		parse_error(parse, place, "a control byte (0x%02x) cannot stand in a policy", byte);
	}
}

static const char *letter_hint(uint32_t code)
{
	if ((code >= 0x2018 && code <= 0x201f) || code == 0xab || code == 0xbb)
		return "write the plain double quote \"";
	if ((code >= 0x2010 && code <= 0x2015) || code == 0x2212)
		return "write the plain `-`";
	if (code == 0xa0 || (code >= 0x2000 && code <= 0x200f) || code == 0x202f || code == 0x2060 || code == 0x3000 ||
		code == 0xfeff)
		return "it looks like a blank or like nothing; write a plain blank";
	return "words are made of a-z, 0-9, _ and -; text stands in double quotes";
}

struct sign {
	char sign;
	const char *hint;
};

static const char *sign_hint(char sign)
{
	static const struct sign signs[] = {
		{'*', "a pattern stands in double quotes: \"eth*\""},
		{'!', "write `any except ...`"},
		{'\\', "a backslash continues a line only at its very end"},
		{'(', "a set stands in { }"},
		{')', "a set stands in { }"},
		{'[', "a set stands in { }; an IPv6 address needs no brackets"},
		{']', "a set stands in { }; an IPv6 address needs no brackets"},
		{'$', "a name follows `$` at once: $office"},
		{'@', "a defined set is used as $name"},
		{'|', "alternatives stand in a set: { A, B }"},
		{'&', "clauses follow each other without a sign"},
		{'<', "a library stands in < >: include <services>"},
		{'+', "`+=` adds to a set"},
		{'.', "a name that begins or ends with `.` stands in double quotes"},
		{':', "a destination port stands behind its protocol: tcp/22"},
	};
	for (size_t i = 0; i < sizeof signs / sizeof *signs; i++)
		if (signs[i].sign == sign)
			return signs[i].hint;
	return NULL;
}

void report_strange(struct parse *parse, struct place place)
{
	const char *text = parse->source->text + place.begin, *hint;
	uint32_t code = 0;
	struct diagnostic *one;
	if (parse->strange)
		return;
	parse->strange = true;
	if (unclean_byte(text, place.end - place.begin) == text) {
		report_unclean(parse, text);
		return;
	}
	size_t length = character(text, place.end - place.begin, &code);
	place.end = place.begin + (uint32_t)length;
	if (code < 0x80) {
		one = parse_error(parse, place, "`%c` has no meaning here", (char)code);
		hint = sign_hint((char)code);
	} else {
		one = parse_error(parse, place, "the character U+%04X has no meaning here", code);
		hint = letter_hint(code);
	}
	if (hint)
		diagnostic_hint(parse->diagnostics, one, "%s", hint);
}

void report_quotes(struct parse *parse, struct place place, bool single)
{
	if (parse->strange)
		return;
	parse->strange = true;
	struct diagnostic *one =
		parse_error(parse, place, single ? "text stands in double quotes" : "this text is not closed on its line");
	diagnostic_hint(parse->diagnostics, one, single ? "write \" in place of '" : "end it with \"");
}
