/*
 * Interface names: numbers for the diagram, patterns for the kernel.
 *
 * A name is its 15 bytes read as one number, so a pattern with an asterisk is one interval.
 */
#include "dsl/language/resolve.h"
#include <errno.h>
#include <string.h>
#include <talloc.h>

static u128 bytes_number(const char *name, unsigned char filler)
{
	u128 number = 0;
	size_t length = strlen(name);
	for (size_t i = 0; i < INTERFACE_NAME_MAX; i++)
		number = number << 8 | (i < length ? (unsigned char)name[i] : filler);
	return number;
}

u128 interface_number(const char *name) { return bytes_number(name, 0); }
u128 interface_prefix_last(const char *prefix) { return bytes_number(prefix, 0xff); }

/* What the kernel allows (net/core/dev.c, dev_valid_name), less what nft would read as a pattern. */
static int check_name(struct resolver *resolver, const struct item *item)
{
	const char *star = strchr(item->text, '*');
	size_t length = strlen(item->text);
	struct diagnostic *one = NULL;
	if (!length || (star == item->text && length == 1))
		one = report_error(resolver->diagnostics, item->span, "an interface has a name");
	else if (star && star[1])
		one = report_error(resolver->diagnostics, item->span, "the asterisk of an interface name stands at its end");
	else if (length - (star != NULL) > INTERFACE_NAME_MAX)
		one = report_error(resolver->diagnostics, item->span, "an interface name has at most %d bytes", INTERFACE_NAME_MAX);
	else if (strpbrk(item->text, "/: \t\\") || !strcmp(item->text, ".") || !strcmp(item->text, ".."))
		one = report_error(resolver->diagnostics, item->span, "`%s` cannot be the name of an interface", item->text);
	if (one && star == item->text && length == 1)
		diagnostic_hint(resolver->diagnostics, one, "`any` is every interface");
	return one || resolver->diagnostics->exhausted ? 1 : 0;
}

struct patterns {
	struct interface_pattern *at;
	size_t count;
	bool any;
};

static int add_pattern(struct resolver *resolver, const struct item *item, struct patterns *list)
{
	if (check_name(resolver, item))
		return 0;
	if (array_room(resolver->ctx, &list->at, sizeof *list->at, list->count))
		return -ENOMEM;
	size_t length = strlen(item->text);
	bool prefix = item->text[length - 1] == '*';
	char *name = talloc_strndup(resolver->ctx, item->text, length - prefix);
	list->at[list->count++] = (struct interface_pattern){.name = name, .prefix = prefix};
	return name ? 0 : -ENOMEM;
}

static int gather_patterns(struct resolver *resolver, const struct item *item, struct patterns *in, struct patterns *out)
{
	int error = 0;
	switch (item->kind) {
	case ITEM_ANY: in->any = true; return 0;
	case ITEM_WORD:
	case ITEM_STRING: return add_pattern(resolver, item, in);
	case ITEM_SET:
		if (!item->items)
			report_error(resolver->diagnostics, item->span, "an empty set of interfaces matches nothing");
		for (const struct item *one = item->items; one && !error; one = one->next)
			error = gather_patterns(resolver, one, in, out);
		return error;
	case ITEM_EXCEPT:
		if (!out) {
			report_error(resolver->diagnostics, item->span, "an `except` of interfaces cannot stand inside a set or another `except`");
			return 0;
		}
		error = gather_patterns(resolver, item->low, in, NULL);
		return error ? error : gather_patterns(resolver, item->high, out, NULL);
	case ITEM_NUMBER:
	case ITEM_ADDRESS:
	case ITEM_RANGE:
	case ITEM_FILE:
	case ITEM_NAME:
	case ITEM_PROTOCOL:
	case ITEM_USER:
	case ITEM_GROUP:
	case ITEM_UNIT: break;
	}
	report_error(resolver->diagnostics, item->span, "an interface is expected here");
	return 0;
}

static bool pattern_covers(const struct interface_pattern *outer, const struct interface_pattern *inner)
{
	return outer->prefix ? !strncmp(outer->name, inner->name, strlen(outer->name)) : !inner->prefix && !strcmp(outer->name, inner->name);
}

/* Is nothing left of `in` without `out`? */
static bool nothing_left(const struct interfaces *set)
{
	for (size_t i = 0; i < set->in_count; i++) {
		bool covered = false;
		for (size_t k = 0; k < set->out_count && !covered; k++)
			covered = pattern_covers(&set->out[k], &set->in[i]);
		if (!covered)
			return false;
	}
	return !set->any;
}

int interfaces_resolve(struct resolver *resolver, const struct item *item, struct interfaces *out)
{
	struct patterns in = {0}, except = {0};
	*out = (struct interfaces){.any = true};
	if (!item)
		return 0;
	bool plain = item->kind == ITEM_EXCEPT;
	int error = gather_patterns(resolver, item, &in, plain ? &except : NULL);
	if (error)
		return error;
	out->any = in.any || !in.count;
	out->in = in.at;
	out->in_count = in.any ? 0 : in.count;
	out->out = except.at;
	out->out_count = except.count;
	if (except.any || nothing_left(out))
		report_error(resolver->diagnostics, item->span, "this `except` leaves no interface");
	for (size_t i = 0; i < out->in_count; i++)
		out->names_loopback |= !in.at[i].prefix && !strcmp(in.at[i].name, "lo");
	for (size_t i = 0; i < out->out_count; i++)
		out->names_loopback &= except.at[i].prefix || strcmp(except.at[i].name, "lo") != 0;
	return 0;
}
