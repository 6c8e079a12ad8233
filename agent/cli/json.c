/*
 * JSON: the forms that other programs read. Keys stand in the order of the documentation (jansson keeps the order of
 * insertion), one object a line.
 */
#include "agent/cli/cli.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The length of the UTF-8 character at `text`, or 0 where none begins. */
static size_t character(const char *text, size_t left)
{
	for (size_t length = 1; length <= 4 && length <= left; length++) {
		json_t *probe = json_stringn(text, length);
		if (probe) {
			json_decref(probe);
			return length;
		}
	}
	return 0;
}

static json_t *repaired(const char *text)
{
	size_t left = strlen(text), used = 0;
	char *copy = malloc(left * 3 + 1);
	if (!copy)
		return NULL;
	while (left) {
		size_t length = character(text, left), taken = length ? length : 1;
		memcpy(copy + used, length ? text : "\xef\xbf\xbd", length ? length : 3);
		used += length ? length : 3;
		text += taken;
		left -= taken;
	}
	json_t *value = json_stringn(copy, used);
	free(copy);
	return value;
}

json_t *json_text(const char *text)
{
	if (!text)
		return json_null();
	json_t *value = json_string(text);
	return value ? value : repaired(text);
}

int json_set(json_t *object, const char *key, json_t *value) { return json_object_set_new(object, key, value) ? -ENOMEM : 0; }

int json_push(json_t *array, json_t *value) { return json_array_append_new(array, value) ? -ENOMEM : 0; }

static int set_place(json_t *object, struct span span, const char *file, bool column)
{
	struct position at = {0};
	if (span.source) {
		at = span_position(span);
		file = span.source->name;
	}
	int error = json_set(object, "file", json_text(file));
	if (!error)
		error = json_set(object, "line", span.source ? json_integer(at.line) : json_null());
	if (!error && column)
		error = json_set(object, "column", span.source ? json_integer(at.column) : json_null());
	return error;
}

json_t *json_because(const struct because *because)
{
	static const char *const kinds[] = {"rule", "default", "builtin", "unmanaged"};
	json_t *object = json_object();
	if (!object)
		return NULL;
	if (json_set(object, "kind", json_string(kinds[because->kind])) || set_place(object, because_span(because), NULL, false) ||
		json_set(object, "text", json_text(because_text(because)))) {
		json_decref(object);
		return NULL;
	}
	return object;
}

json_t *json_diagnostic(const struct diagnostic *diagnostic)
{
	json_t *object = json_object();
	if (!object)
		return NULL;
	if (set_place(object, diagnostic->span, diagnostic->file, true) || json_set(object, "code", json_text(diagnostic->code)) ||
		json_set(object, "message", json_text(diagnostic->message)) ||
		json_set(object, "hint", json_text(diagnostic->hint))) {
		json_decref(object);
		return NULL;
	}
	return object;
}

int json_print(json_t *value)
{
	if (!value)
		return -ENOMEM;
	char *text = json_dumps(value, 0);
	json_decref(value);
	if (!text)
		return -ENOMEM;
	puts(text);
	free(text);
	return 0;
}
