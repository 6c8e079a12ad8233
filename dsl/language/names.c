/*
 * Names: what is defined where, and what a use of it means.
 *
 * There are two layers. The library's definitions are seen by everybody unless a policy file defines the same name; the library's own
 * rules see only the library. So a policy may call a set what it likes and breaks nothing that is shipped.
 */
#include "dsl/language/resolve.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <talloc.h>

#define NAME_DEPTH 100

static const char *const reserved_words[] = {"above", "addresses", "allow", "any", "arriving", "audit", "burst", "by", "connections", "default", "deny",
	"enforce", "except", "expect", "file", "forward", "from", "group", "hosts", "in", "include", "language", "leaving", "limit", "log", "mode",
	"nat", "on", "out", "per", "port", "ports", "protocol", "reason", "reject", "service", "source", "stateless", "to", "unit", "until", "user",
	"within"};
static const char *const reserved_sets[] = {"self", "resolvers", "gateways"};

static int compare_words(const void *a, const void *b) { return strcmp(a, *(const char *const *)b); }

bool word_reserved(const char *word)
{
	return bsearch(word, reserved_words, sizeof reserved_words / sizeof *reserved_words, sizeof *reserved_words, compare_words) != NULL;
}

static bool set_reserved(const char *name)
{
	for (size_t i = 0; i < sizeof reserved_sets / sizeof *reserved_sets; i++)
		if (!strcmp(reserved_sets[i], name))
			return true;
	return false;
}

/* Of equally near ones the one that begins alike: people rarely mistype the first letter. */
static const char *nearest_name(struct resolver *resolver, const char *word, const char *const *candidates, size_t count)
{
	const char **ordered = talloc_array(resolver->scratch, const char *, count + 1), *near;
	size_t used = 0;
	if (!ordered)
		return NULL;
	for (int pass = 0; pass < 2; pass++)
		for (size_t i = 0; i < count; i++)
			if ((*candidates[i] == *word) == (pass == 0))
				ordered[used++] = candidates[i];
	near = nearest_word(word, ordered, used);
	talloc_free(ordered);
	return near;
}

void hint_nearest(struct resolver *resolver, struct diagnostic *diagnostic, const char *word, const char *const *candidates, size_t count)
{
	const char *near = nearest_name(resolver, word, candidates, count);
	if (near)
		diagnostic_hint(resolver->diagnostics, diagnostic, "did you mean `%s`?", near);
}

static enum name_kind kind_of(const struct statement *statement)
{
	return statement->kind == STATEMENT_ADDRESSES ? NAME_ADDRESSES : statement->kind == STATEMENT_PORTS ? NAME_PORTS : NAME_SERVICE;
}

static int compare_names(bool a_service, const char *a, bool a_library, bool b_service, const char *b, bool b_library)
{
	if (a_service != b_service)
		return a_service ? 1 : -1;
	int order = strcmp(a, b);
	return order ? order : (int)a_library - (int)b_library;
}

static int by_name(const void *left, const void *right)
{
	const struct entry *const *a = left, *const *b = right;
	int order = compare_names((*a)->statement->kind == STATEMENT_SERVICE, (*a)->statement->name->text, (*a)->library,
		(*b)->statement->kind == STATEMENT_SERVICE, (*b)->statement->name->text, (*b)->library);
	return order ? order : (*a > *b) - (*a < *b);
}

static struct definition *find(struct resolver *resolver, bool service, const char *name, bool library)
{
	size_t low = 0, high = resolver->definition_count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		struct definition *one = &resolver->definitions[middle];
		int order = compare_names(service, name, library, one->kind == NAME_SERVICE, one->name, one->library);
		if (!order)
			return one;
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

static void check_name(struct resolver *resolver, const struct item *name, bool service)
{
	if (strpbrk(name->text, ".@") || (*name->text >= '0' && *name->text <= '9'))
		report_error(resolver->diagnostics, name->span, "a name is made of letters, digits, _ and -, and does not begin with a digit");
	else if (service && (protocol_word(name->text) || word_reserved(name->text)))
		report_error(resolver->diagnostics, name->span, "a service cannot be called `%s`: the language has that word", name->text);
	else if (!service && set_reserved(name->text))
		report_error(resolver->diagnostics, name->span, "`%s` is reserved for a later version of the language", name->text);
}

static bool same_definition(const struct entry *a, const struct definition *b)
{
	return !compare_names(a->statement->kind == STATEMENT_SERVICE, a->statement->name->text, a->library, b->kind == NAME_SERVICE, b->name, b->library);
}

static int add_definition(struct resolver *resolver, const struct entry **parts, size_t count)
{
	if (array_room(resolver->ctx, &resolver->definitions, sizeof *resolver->definitions, resolver->definition_count))
		return -ENOMEM;
	struct definition *definition = &resolver->definitions[resolver->definition_count++];
	*definition = (struct definition){.name = parts[0]->statement->name->text, .library = parts[0]->library, .kind = kind_of(parts[0]->statement),
		.parts = parts, .part_count = count};
	for (size_t i = 0; i < count; i++) {
		const struct statement *one = parts[i]->statement;
		check_name(resolver, one->name, one->kind == STATEMENT_SERVICE);
		if (kind_of(one) == definition->kind)
			continue;
		struct diagnostic *error = report_error(resolver->diagnostics, one->name->span, "`%s` is defined as %s already: addresses and ports share their names",
			definition->name, definition->kind == NAME_PORTS ? "ports" : "addresses");
		diagnostic_related(resolver->diagnostics, error, parts[0]->statement->span, "it is defined here");
	}
	return 0;
}

int names_collect(struct resolver *resolver)
{
	const struct entry **found = talloc_array(resolver->ctx, const struct entry *, resolver->entry_count + 1);
	size_t count = 0;
	int error = found ? 0 : -ENOMEM;
	for (size_t i = 0; i < resolver->entry_count && !error; i++) {
		enum statement_kind kind = resolver->entries[i].statement->kind;
		if (kind == STATEMENT_ADDRESSES || kind == STATEMENT_PORTS || kind == STATEMENT_SERVICE)
			found[count++] = &resolver->entries[i];
	}
	if (!error)
		qsort(found, count, sizeof *found, by_name);
	for (size_t i = 0, next; i < count && !error && !enough_errors(resolver); i = next) {
		struct definition head = {.name = found[i]->statement->name->text, .library = found[i]->library, .kind = kind_of(found[i]->statement)};
		for (next = i + 1; next < count && same_definition(found[next], &head); next++)
			;
		error = add_definition(resolver, found + i, next - i);
	}
	return error;
}

static int evaluate(struct resolver *resolver, struct definition *definition, const struct entry *part, struct definition *out)
{
	struct scope scope = {.library = definition->library, .gaps = &definition->gaps};
	const struct item *value = part->statement->value;
	switch (definition->kind) {
	case NAME_ADDRESSES: return addresses_resolve(resolver, &scope, value, &out->addresses);
	case NAME_PORTS: return ports_resolve(resolver, &scope, value, 0, &out->ports);
	case NAME_SERVICE: return traffic_resolve(resolver, &scope, value, &out->traffic);
	}
	return 0;
}

static int join(struct resolver *resolver, struct definition *definition, const struct definition *more)
{
	switch (definition->kind) {
	case NAME_ADDRESSES: return addresses_union(resolver->ctx, definition->addresses, more->addresses, &definition->addresses);
	case NAME_PORTS: return intervals_union(resolver->ctx, definition->ports, more->ports, &definition->ports);
	case NAME_SERVICE: return traffic_union(resolver->ctx, &definition->traffic, &more->traffic, &definition->traffic);
	}
	return 0;
}

static bool same_value(const struct definition *a, const struct definition *b)
{
	return addresses_equal(a->addresses, b->addresses) && intervals_equal(a->ports, b->ports) && traffic_equal(&a->traffic, &b->traffic);
}

static void report_twice(struct resolver *resolver, const struct statement *first, const struct statement *second)
{
	struct diagnostic *one = report_error(resolver->diagnostics, second->span, "`%s` is defined twice, with two meanings", second->name->text);
	diagnostic_related(resolver->diagnostics, one, first->span, "the first definition");
	if (second->kind != STATEMENT_SERVICE)
		diagnostic_hint(resolver->diagnostics, one, "to add to the set write `%s %s += ...`", second->kind == STATEMENT_PORTS ? "ports" : "addresses",
			second->name->text);
}

/* What `+=` adds to: the definition of this layer, or the library's. */
static int base_value(struct resolver *resolver, struct definition *definition, const struct statement **first)
{
	struct definition *library = definition->library ? NULL : find(resolver, definition->kind == NAME_SERVICE, definition->name, true);
	for (size_t i = 0; i < definition->part_count && !*first; i++)
		if (!definition->parts[i]->statement->append)
			*first = definition->parts[i]->statement;
	if (*first)
		return 0;
	struct item use = *definition->parts[0]->statement->name;
	struct gaps gaps = {0};
	struct scope scope = {.library = true, .gaps = &gaps};
	if (library && library->kind == definition->kind) {
		int error = name_resolve(resolver, &scope, definition->kind, &use, &library);
		return error || !library ? error : join(resolver, definition, library);
	}
	struct diagnostic *one = report_error(resolver->diagnostics, use.span, "`%s` is added to, but never defined", definition->name);
	diagnostic_hint(resolver->diagnostics, one, "define it once with `=`");
	return 0;
}

static int resolve_parts(struct resolver *resolver, struct definition *definition)
{
	const struct statement *first = NULL;
	struct definition kept = {0};
	bool have = false;
	int error = base_value(resolver, definition, &first);
	for (size_t i = 0; i < definition->part_count && !error; i++) {
		const struct statement *statement = definition->parts[i]->statement;
		struct definition part = {0};
		if (kind_of(statement) != definition->kind)
			continue;
		size_t errors = resolver->diagnostics->errors;
		error = evaluate(resolver, definition, definition->parts[i], &part);
		if (!error && !statement->append && have && errors == resolver->diagnostics->errors && !same_value(&kept, &part))
			report_twice(resolver, first, statement);
		if (!statement->append && !have) {
			kept = part;
			have = true;
		}
		error = error ? error : join(resolver, definition, &part);
		if (error == -E2BIG) {
			report_error(resolver->diagnostics, statement->span, "this makes too many combinations of host names");
			error = 0;
		}
	}
	return error;
}

static int resolve_definition(struct resolver *resolver, struct definition *definition)
{
	if (definition->progress == PROGRESS_DONE)
		return 0;
	definition->progress = PROGRESS_NOW;
	definition->outer = resolver->innermost;
	resolver->innermost = definition;
	resolver->depth++;
	bool quiet = resolver->quiet;
	resolver->quiet = definition->library;
	int error = resolve_parts(resolver, definition);
	resolver->quiet = quiet;
	resolver->depth--;
	resolver->innermost = definition->outer;
	definition->progress = PROGRESS_DONE;
	return error;
}

static int report_no_name(struct resolver *resolver, bool service, const struct item *item)
{
	static const char *const protocols[] = {"any", "tcp", "udp", "sctp", "icmp", "icmpv6", "esp", "ah", "gre", "igmp", "ospf", "vrrp"};
	const char **names = talloc_array(resolver->scratch, const char *, resolver->definition_count + 12);
	size_t count = 0;
	if (!names)
		return -ENOMEM;
	for (size_t i = 0; i < resolver->definition_count; i++)
		if ((resolver->definitions[i].kind == NAME_SERVICE) == service)
			names[count++] = resolver->definitions[i].name;
	for (size_t i = 0; service && i < 12; i++)
		names[count++] = protocols[i];
	struct diagnostic *one = service ? report_error(resolver->diagnostics, item->span, "there is no service or protocol `%s`", item->text) :
		set_reserved(item->text) ? report_error(resolver->diagnostics, item->span, "$%s is reserved for a later version of the language", item->text) :
		report_error(resolver->diagnostics, item->span, "$%s is not defined", item->text);
	const char *near = nearest_name(resolver, item->text, names, count);
	if (near)
		diagnostic_hint(resolver->diagnostics, one, service ? "did you mean `%s`?" : "did you mean `$%s`?", near);
	else if (service && count <= 12)
		diagnostic_hint(resolver->diagnostics, one, "`include <services>` brings the shipped ones");
	talloc_free(names);
	return 0;
}

/* From the name around to itself, in the order in which one is made of the next. */
static int report_cycle(struct resolver *resolver, const struct definition *found, const struct item *item)
{
	const char *sign = found->kind == NAME_SERVICE ? "" : "$";
	char *way = talloc_asprintf(resolver->scratch, "%s%s", sign, found->name);
	for (const struct definition *one = resolver->innermost; way && one && one != found; one = one->outer)
		way = talloc_asprintf(resolver->scratch, "%s%s -> %s", sign, one->name, way);
	if (!way)
		return -ENOMEM;
	struct diagnostic *error = report_error(resolver->diagnostics, item->span, "%s%s is made of itself: %s%s -> %s", sign, found->name, sign, found->name, way);
	diagnostic_related(resolver->diagnostics, error, found->parts[0]->statement->span, "it is defined here");
	return 0;
}

int name_resolve(struct resolver *resolver, struct scope *scope, enum name_kind kind, const struct item *item, struct definition **out)
{
	bool service = kind == NAME_SERVICE;
	struct definition *found = scope->library ? NULL : find(resolver, service, item->text, false);
	*out = NULL;
	if (!found)
		found = find(resolver, service, item->text, true);
	if (!found)
		return report_no_name(resolver, service, item);
	found->used = true;
	if (found->kind != kind) {
		struct diagnostic *one = report_error(resolver->diagnostics, item->span, "$%s is a set of %s", item->text,
			found->kind == NAME_PORTS ? "ports" : "addresses");
		diagnostic_related(resolver->diagnostics, one, found->parts[0]->statement->span, "it is defined here");
		return 0;
	}
	if (found->progress == PROGRESS_NOW)
		return report_cycle(resolver, found, item);
	if (found->progress == PROGRESS_NONE && resolver->depth > NAME_DEPTH) {
		report_error(resolver->diagnostics, item->span, "names are made of names more than %d deep", NAME_DEPTH);
		return 0;
	}
	int error = resolve_definition(resolver, found);
	if (!error)
		*out = found;
	return error;
}

void name_mark(struct resolver *resolver, bool service, const char *name)
{
	for (int library = 0; library < 2; library++) {
		struct definition *found = find(resolver, service, name, library);
		if (found)
			found->used = true;
	}
}

static void warn_unused(struct resolver *resolver, const struct definition *definition)
{
	const char *sign = definition->kind == NAME_SERVICE ? "" : "$";
	struct span span = definition->parts[0]->statement->name->span;
	struct diagnostic *one = report_warning(resolver->diagnostics, "W002", span, "`%s` is never used", definition->name);
	diagnostic_hint(resolver->diagnostics, one, "take it out, or use it as `%s%s`", sign, definition->name);
}

/* What this statement is the first to define, or NULL. */
static const struct definition *defined_first(struct resolver *resolver, const struct entry *entry)
{
	enum statement_kind kind = entry->statement->kind;
	if (kind != STATEMENT_ADDRESSES && kind != STATEMENT_PORTS && kind != STATEMENT_SERVICE)
		return NULL;
	const struct definition *found = find(resolver, kind == STATEMENT_SERVICE, entry->statement->name->text, entry->library);
	return found && found->parts[0] == entry ? found : NULL;
}

static bool manages_something(const struct policy *policy)
{
	bool managed = false;
	for (int direction = 0; direction < DIRECTIONS; direction++)
		managed |= policy->directions[direction].managed;
	return managed;
}

/*
 * A statement with a mistake in it may be the one that uses a name: where there are errors nothing is said of use. A file that
 * manages nothing is a collection of names for others.
 */
int names_finish(struct resolver *resolver)
{
	bool all = uses_elsewhere(resolver) && manages_something(resolver->policy);
	int error = 0;
	for (size_t i = 0; i < resolver->definition_count && !error && !enough_errors(resolver); i++)
		error = resolve_definition(resolver, &resolver->definitions[i]);
	for (size_t i = 0; i < resolver->entry_count && all && resolver->diagnostics->errors == resolver->errors_before; i++) {
		const struct definition *definition = defined_first(resolver, &resolver->entries[i]);
		if (definition && !definition->used && !definition->library)
			warn_unused(resolver, definition);
	}
	return error;
}
