/*
 * Subjects: users, groups and units as numbers.
 */
#include "dsl/language/resolve.h"
#include <errno.h>
#include <string.h>
#include <talloc.h>

#define ID_LAST 0xfffffffeu /* 2^32-1 means "no change" to the system calls: nobody's number */

struct lists {
	struct gathered users, groups, units;
	void *scratch;
};

static int unknown_account(struct resolver *resolver, struct scope *scope, const struct item *item, const char *kind, const char *name, int error)
{
	const char *what = talloc_asprintf(resolver->ctx, "%s \"%s\"", kind, name);
	if (!what)
		return -ENOMEM;
	if (error == -ENOENT)
		report_warning(resolver->diagnostics, "W001", item->span, "%s is not known on this host", what);
	else
		report_warning(resolver->diagnostics, "W001", item->span, "%s cannot be looked up: %s", what, strerror(-error));
	return gap_add(resolver, scope, item->span, what);
}

static bool decimal(const char *text) { return *text && strspn(text, "0123456789") == strlen(text); }

/* So that a number that comes out of an analysis can be called by the name that the policy has for it. */
static int note_account(struct resolver *resolver, bool user, const char *name, uint32_t number)
{
	for (size_t i = 0; i < resolver->account_count; i++)
		if (resolver->accounts[i].user == user && resolver->accounts[i].number == number)
			return 0;
	if (array_room(resolver->ctx, &resolver->accounts, sizeof *resolver->accounts, resolver->account_count))
		return -ENOMEM;
	resolver->accounts[resolver->account_count++] = (struct account){user, name, number};
	return 0;
}

static int add_account(struct resolver *resolver, struct scope *scope, const struct item *item, bool user, const char *name, struct lists *out)
{
	const struct environment *environment = resolver->environment;
	struct gathered *list = user ? &out->users : &out->groups;
	uint64_t number;
	uint32_t id;
	if (decimal(name)) {
		if (!number_parse(&(struct item){.text = name}, ID_LAST, &number))
			return gather_one(out->scratch, list, number);
		report_error(resolver->diagnostics, item->span, "a %s number is at most %u", user ? "user" : "group", ID_LAST);
		return 0;
	}
	int error = user ? environment->find_user(environment->data, name, &id) : environment->find_group(environment->data, name, &id);
	if (error && error != -ENOMEM)
		return unknown_account(resolver, scope, item, user ? "user" : "group", name, error);
	error = error || resolver->asking ? error : note_account(resolver, user, name, id);
	return error ? error : gather_one(out->scratch, list, id);
}

static int add_unit(struct resolver *resolver, const struct item *item, const char *name, struct lists *out)
{
	const char *const *known = resolver->asking ? resolver->policy->units : resolver->units;
	size_t count = resolver->asking ? resolver->policy->unit_count : resolver->unit_count;
	if (strchr(name, '/') || !strchr(name, '.')) {
		struct diagnostic *one = report_error(resolver->diagnostics, item->span, "`%s` is no unit", name);
		diagnostic_hint(resolver->diagnostics, one, "a unit has its type behind a dot, e.g. %s.service", strchr(name, '/') ? "nginx" : name);
		return 0;
	}
	for (size_t i = 0; i < count; i++)
		if (!strcmp(known[i], name))
			return gather_one(out->scratch, &out->units, UNIT_FIRST + i);
	if (resolver->asking)
		return gather_one(out->scratch, &out->units, UNIT_OTHER);
	if (array_room(resolver->ctx, &resolver->units, sizeof *resolver->units, count))
		return -ENOMEM;
	resolver->units[resolver->unit_count++] = name;
	return gather_one(out->scratch, &out->units, UNIT_FIRST + count);
}

static int add_named(struct resolver *resolver, struct scope *scope, const struct item *item, enum item_kind kind, const char *name,
	struct lists *out)
{
	if (kind == ITEM_UNIT)
		return add_unit(resolver, item, name, out);
	return add_account(resolver, scope, item, kind == ITEM_USER, name, out);
}

static int add_subject(struct resolver *resolver, struct scope *scope, const struct item *item, struct lists *out)
{
	int error = 0;
	if (item->kind == ITEM_SET) {
		if (!item->items)
			report_error(resolver->diagnostics, item->span, "an empty set of subjects matches nothing");
		for (const struct item *one = item->items; one && !error; one = one->next)
			error = add_subject(resolver, scope, one, out);
		return error;
	}
	if (item->kind != ITEM_USER && item->kind != ITEM_GROUP && item->kind != ITEM_UNIT) {
		report_error(resolver->diagnostics, item->span, "user, group or unit is expected here");
		return 0;
	}
	if (item->text)
		return add_named(resolver, scope, item, item->kind, item->text, out);
	for (const struct item *one = item->items; one && !error; one = one->next)
		error = add_named(resolver, scope, one, item->kind, one->text, out);
	return error;
}

static int add_subjects(struct resolver *resolver, struct scope *scope, const struct item *item, struct subjects *out)
{
	struct lists lists = {.scratch = talloc_new(resolver->scratch)};
	int error = lists.scratch ? add_subject(resolver, scope, item, &lists) : -ENOMEM;
	error = error ? error : gathered_set(resolver->ctx, &lists.users, &out->users);
	error = error ? error : gathered_set(resolver->ctx, &lists.groups, &out->groups);
	error = error ? error : gathered_set(resolver->ctx, &lists.units, &out->units);
	talloc_free(lists.scratch);
	return error;
}

int subjects_resolve(struct resolver *resolver, struct scope *scope, const struct item *item, struct subjects *out)
{
	*out = (struct subjects){.any = !item, .one_process = resolver->asking};
	if (!item)
		return 0;
	if (item->kind == ITEM_ANY) {
		out->any = true;
		return 0;
	}
	if (item->kind != ITEM_EXCEPT)
		return add_subjects(resolver, scope, item, out);
	if (item->low->kind != ITEM_ANY) {
		struct diagnostic *one = report_error(resolver->diagnostics, item->span, "`except` stands behind `any` here");
		diagnostic_hint(resolver->diagnostics, one, "write `by any except ...`, or a rule that denies the others");
		return 0;
	}
	struct scope right = *scope;
	right.negated = !scope->negated;
	out->except = true;
	out->one_process = false;
	if (item->high->kind == ITEM_ANY)
		report_error(resolver->diagnostics, item->span, "this leaves out everybody");
	return item->high->kind == ITEM_ANY ? 0 : add_subjects(resolver, &right, item->high, out);
}
