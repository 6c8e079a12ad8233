/*
 * Address sets: literals, lists, host names, and what `except` makes of them.
 *
 * A host name stands for a set that nobody knows here, so a set is a union of terms: intervals, and in which unknown sets an
 * address must or must not be as well. Without host names there is one term.
 */
#include "dsl/language/resolve.h"
#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <talloc.h>

#define TERMS_MAX 4096

static const struct interval all_v4[] = {{0, 0xffffffff}}, all_v6[] = {{0, U128_MAX}};
const struct intervals family_all[FAMILIES] = {{all_v4, 1}, {all_v6, 1}};

static bool literals_equal(const struct address_term *a, const struct address_term *b)
{
	if (a->literal_count != b->literal_count)
		return false;
	for (size_t i = 0; i < a->literal_count; i++)
		if (a->literals[i].host != b->literals[i].host || a->literals[i].member != b->literals[i].member)
			return false;
	return true;
}

static bool term_empty(const struct address_term *term) { return !term->of[FAMILY_IPV4].count && !term->of[FAMILY_IPV6].count; }

bool addresses_equal(struct addresses a, struct addresses b)
{
	if (a.count != b.count)
		return false;
	for (size_t i = 0; i < a.count; i++)
		if (!literals_equal(&a.terms[i], &b.terms[i]) || !intervals_equal(a.terms[i].of[0], b.terms[i].of[0]) ||
			!intervals_equal(a.terms[i].of[1], b.terms[i].of[1]))
			return false;
	return true;
}

bool addresses_have(struct addresses addresses, enum family family)
{
	for (size_t i = 0; i < addresses.count; i++)
		if (addresses.terms[i].of[family].count)
			return true;
	return false;
}

/* Terms under construction: those with the same literals are one term. */
struct terms {
	struct address_term *at;
	size_t count;
};

static int add_term(void *ctx, struct terms *list, const struct address_term *term)
{
	if (term_empty(term))
		return 0;
	for (size_t i = 0; i < list->count; i++)
		if (literals_equal(&list->at[i], term)) {
			int error = intervals_union(ctx, list->at[i].of[0], term->of[0], &list->at[i].of[0]);
			return error ? error : intervals_union(ctx, list->at[i].of[1], term->of[1], &list->at[i].of[1]);
		}
	if (list->count == TERMS_MAX)
		return -E2BIG;
	if (array_room(ctx, &list->at, sizeof *list->at, list->count))
		return -ENOMEM;
	list->at[list->count++] = *term;
	return 0;
}

int addresses_union(void *ctx, struct addresses a, struct addresses b, struct addresses *out)
{
	struct terms list = {0};
	int error = 0;
	for (size_t i = 0; i < a.count && !error; i++)
		error = add_term(ctx, &list, &a.terms[i]);
	for (size_t i = 0; i < b.count && !error; i++)
		error = add_term(ctx, &list, &b.terms[i]);
	if (!error)
		*out = (struct addresses){list.at, list.count};
	return error;
}

/* The term with one literal more, kept sorted; *contradiction when it has the opposite. */
static int with_literal(void *ctx, const struct address_term *term, struct host_literal literal, struct address_term *out, bool *contradiction)
{
	size_t at = 0;
	*out = *term;
	while (at < term->literal_count && term->literals[at].host < literal.host)
		at++;
	if (at < term->literal_count && term->literals[at].host == literal.host) {
		*contradiction = term->literals[at].member != literal.member;
		return 0;
	}
	struct host_literal *literals = talloc_array(ctx, struct host_literal, term->literal_count + 1);
	if (!literals)
		return -ENOMEM;
	for (size_t i = 0; i < term->literal_count; i++)
		literals[i + (i >= at)] = term->literals[i];
	literals[at] = literal;
	out->literals = literals;
	out->literal_count++;
	return 0;
}

/* a \ (I and l1 and l2 ...) = (a \ I) or (a and not l1) or (a and not l2) ..., the later ones within I. */
static int subtract_term(void *ctx, const struct address_term *a, const struct address_term *b, struct terms *out)
{
	struct address_term rest = *a, inside = *a, one;
	int error = 0;
	for (int family = 0; family < FAMILIES && !error; family++) {
		error = intervals_subtract(ctx, a->of[family], b->of[family], &rest.of[family]);
		error = error ? error : intervals_intersect(ctx, a->of[family], b->of[family], &inside.of[family]);
	}
	error = error ? error : add_term(ctx, out, &rest);
	for (size_t i = 0; i < b->literal_count && !error; i++) {
		bool contradiction = false;
		error = with_literal(ctx, &inside, (struct host_literal){b->literals[i].host, !b->literals[i].member}, &one, &contradiction);
		if (!error && !contradiction)
			error = add_term(ctx, out, &one);
	}
	return error;
}

int addresses_subtract(void *ctx, struct addresses a, struct addresses b, struct addresses *out)
{
	int error = 0;
	for (size_t i = 0; i < b.count && !error; i++) {
		struct terms list = {0};
		for (size_t k = 0; k < a.count && !error; k++)
			error = subtract_term(ctx, &a.terms[k], &b.terms[i], &list);
		a = (struct addresses){list.at, list.count};
	}
	if (!error)
		*out = a;
	return error;
}

static int single_term(void *ctx, struct intervals v4, struct intervals v6, struct addresses *out)
{
	struct address_term *term = talloc_zero(ctx, struct address_term);
	if (!term)
		return -ENOMEM;
	term->of[FAMILY_IPV4] = v4;
	term->of[FAMILY_IPV6] = v6;
	*out = (struct addresses){term, !term_empty(term)};
	return 0;
}

int addresses_any(void *ctx, struct addresses *out) { return single_term(ctx, family_all[FAMILY_IPV4], family_all[FAMILY_IPV6], out); }

static int of_family(void *ctx, enum family family, struct interval interval, struct addresses *out)
{
	struct intervals sets[FAMILIES] = {{0}, {0}};
	int error = intervals_single(ctx, interval.first, interval.last, &sets[family]);
	return error ? error : single_term(ctx, sets[FAMILY_IPV4], sets[FAMILY_IPV6], out);
}

static int resolve_range(struct resolver *resolver, const struct item *item, struct addresses *out)
{
	enum family family;
	struct interval range;
	if (item->low->kind != ITEM_ADDRESS || item->high->kind != ITEM_ADDRESS) {
		report_error(resolver->diagnostics, item->span, "a range of addresses goes from one address to another");
		return 0;
	}
	if (range_parse(resolver->diagnostics, item->span, item->low->text, item->high->text, &family, &range))
		return 0;
	return of_family(resolver->ctx, family, range, out);
}

/* RFC 1123, section 2.1, with underscores, which names in use have. */
static bool host_name_valid(const char *name)
{
	size_t label = 0;
	if (!*name || strlen(name) > 253)
		return false;
	for (; *name; name++) {
		if (*name == '.' && !label)
			return false;
		if (*name != '.' && !isalnum((unsigned char)*name) && *name != '-' && *name != '_')
			return false;
		label = *name == '.' ? 0 : label + 1;
		if (label > 63)
			return false;
	}
	return true;
}

static int host_index(struct resolver *resolver, const struct item *item, uint32_t *out)
{
	const char *const *known = resolver->asking ? resolver->policy->hosts : resolver->hosts;
	size_t count = resolver->asking ? resolver->policy->host_count : resolver->host_count;
	for (size_t i = 0; i < count; i++)
		if (!strcasecmp(known[i], item->text)) {
			*out = (uint32_t)i;
			return 0;
		}
	if (resolver->asking) {
		struct diagnostic *one = report_error(resolver->diagnostics, item->span, "the policy does not name the host \"%s\"", item->text);
		diagnostic_hint(resolver->diagnostics, one, "ask for an address");
		return 1;
	}
	if (array_room(resolver->ctx, &resolver->hosts, sizeof *resolver->hosts, resolver->host_count))
		return -ENOMEM;
	*out = (uint32_t)resolver->host_count;
	resolver->hosts[resolver->host_count++] = item->text;
	struct diagnostic *one = report_warning(resolver->diagnostics, "W005", item->span, "the addresses of \"%s\" are not known", item->text);
	diagnostic_hint(resolver->diagnostics, one, "host names can be checked and explained, but `apply` refuses them in this version");
	return 0;
}

static int resolve_host(struct resolver *resolver, const struct item *item, struct addresses *out)
{
	struct host_literal literal = {.member = true};
	enum family family;
	struct interval interval;
	struct diagnostics *silent = diagnostics_new(resolver->scratch);
	if (!silent)
		return -ENOMEM;
	if (!address_parse(silent, item->span, item->text, &family, &interval)) {
		struct diagnostic *one = report_error(resolver->diagnostics, item->span, "an address stands without quotes; quotes make a host name");
		diagnostic_hint(resolver->diagnostics, one, "write %s", item->text);
		return 0;
	}
	if (!host_name_valid(item->text)) {
		report_error(resolver->diagnostics, item->span, "this cannot be a host name");
		return 0;
	}
	int error = host_index(resolver, item, &literal.host);
	if (error)
		return error < 0 ? error : 0;
	error = addresses_any(resolver->ctx, out);
	struct address_term *term = error ? NULL : (struct address_term *)(uintptr_t)out->terms;
	struct host_literal *literals = error ? NULL : talloc_memdup(resolver->ctx, &literal, sizeof literal);
	if (!literals)
		return -ENOMEM;
	term->literals = literals;
	term->literal_count = 1;
	return 0;
}

/* Relative to the file that names it. */
static char *list_path(void *ctx, const struct item *item)
{
	const char *from = item->span.source->name, *slash = strrchr(from, '/');
	if (*item->text == '/' || !slash)
		return talloc_strdup(ctx, item->text);
	return talloc_asprintf(ctx, "%.*s/%s", (int)(slash - from), from, item->text);
}

static int list_unknown(struct resolver *resolver, struct scope *scope, const struct item *item, const char *path, int error)
{
	const char *what = talloc_asprintf(resolver->ctx, "file \"%s\"", item->text);
	if (!what)
		return -ENOMEM;
	if (error == -EPERM) {
		report_error(resolver->diagnostics, item->span, "somebody other than root may write %s", path);
		return 0;
	}
	report_warning(resolver->diagnostics, "W001", item->span, "%s is not known: %s", what,
		!error ? "it is empty (zero bytes)" : error == -EISDIR ? "it is a directory" : error == -EFBIG ? "it is too large" :
		error == -EINVAL ? "it is no regular file" : strerror(-error));
	return gap_add(resolver, scope, item->span, what);
}

static int resolve_file(struct resolver *resolver, struct scope *scope, const struct item *item, struct addresses *out)
{
	const struct environment *environment = resolver->environment;
	struct intervals sets[FAMILIES];
	struct source *source;
	char *path = list_path(resolver->scratch, item), *bytes = NULL;
	size_t length = 0;
	if (!path)
		return -ENOMEM;
	int error = environment->read_file(environment->data, resolver->scratch, path, FILE_LIST, &bytes, &length);
	if (error == -ENOMEM)
		return error;
	if (error || !length)
		return list_unknown(resolver, scope, item, path, error);
	error = source_take(resolver->ctx, path, bytes, length, &source);
	if (error)
		return error;
	error = list_parse(resolver->ctx, source, resolver->diagnostics, sets);
	if (!error)
		talloc_free(source); /* nothing points into it */
	else if (error > 0)
		error = source_index(source) ? -ENOMEM : 1;
	return error ? (error < 0 ? error : 0) : single_term(resolver->ctx, sets[FAMILY_IPV4], sets[FAMILY_IPV6], out);
}

/* A list's own sets, once they are gathered with others. */
static void forget_list(struct addresses part)
{
	for (size_t i = 0; i < part.count; i++)
		for (int family = 0; family < FAMILIES; family++)
			talloc_free((void *)(uintptr_t)part.terms[i].of[family].at);
}

struct members {
	struct gathered of[FAMILIES];
	struct terms with_literals;
};

static int add_member(void *ctx, void *scratch, struct members *members, const struct address_term *term)
{
	if (term->literal_count)
		return add_term(ctx, &members->with_literals, term);
	int error = gather(scratch, &members->of[FAMILY_IPV4], term->of[FAMILY_IPV4]);
	return error ? error : gather(scratch, &members->of[FAMILY_IPV6], term->of[FAMILY_IPV6]);
}

static int join_members(struct resolver *resolver, struct members *members, struct addresses *out)
{
	struct intervals sets[FAMILIES];
	struct addresses plain;
	int error = 0;
	for (int family = 0; family < FAMILIES && !error; family++)
		error = gathered_set(resolver->ctx, &members->of[family], &sets[family]);
	error = error ? error : single_term(resolver->ctx, sets[FAMILY_IPV4], sets[FAMILY_IPV6], &plain);
	if (error)
		return error;
	return addresses_union(resolver->ctx, plain, (struct addresses){members->with_literals.at, members->with_literals.count}, out);
}

static int resolve_set(struct resolver *resolver, struct scope *scope, const struct item *item, struct addresses *out)
{
	struct members members = {0};
	void *scratch = talloc_new(resolver->scratch);
	int error = scratch ? 0 : -ENOMEM;
	if (!item->items)
		report_error(resolver->diagnostics, item->span, "an empty set of addresses matches nothing");
	for (const struct item *one = item->items; one && !error; one = one->next) {
		struct addresses part;
		error = addresses_resolve(resolver, scope, one, &part);
		for (size_t i = 0; i < part.count && !error; i++)
			error = add_member(resolver->ctx, scratch, &members, &part.terms[i]);
		if (!error && one->kind == ITEM_FILE)
			forget_list(part);
	}
	error = error ? error : join_members(resolver, &members, out);
	talloc_free(scratch);
	return error;
}

/* Lists and what is not known may come out empty and are obeyed; literals must not. */
static bool only_literals(const struct item *item)
{
	if (item->kind == ITEM_FILE || item->kind == ITEM_NAME)
		return false;
	if (item->kind == ITEM_EXCEPT)
		return only_literals(item->low) && only_literals(item->high);
	for (const struct item *one = item->items; one; one = one->next)
		if (!only_literals(one))
			return false;
	return true;
}

static void warn_of_family(struct resolver *resolver, const struct item *item, struct addresses high)
{
	bool v4 = addresses_have(high, FAMILY_IPV4), v6 = addresses_have(high, FAMILY_IPV6);
	if (item->low->kind != ITEM_ANY || v4 == v6 || resolver->quiet)
		return;
	struct diagnostic *one = report_warning(resolver->diagnostics, "W003", item->span, "this `except` leaves out %s addresses only: all of %s stays in",
		v4 ? "IPv4" : "IPv6", v4 ? "IPv6" : "IPv4");
	diagnostic_hint(resolver->diagnostics, one, v4 ? "say which of IPv6 is meant, e.g. `except { ..., ::/0 }`" :
		"say which of IPv4 is meant, e.g. `except { ..., 0.0.0.0/0 }`");
}

static int resolve_except(struct resolver *resolver, struct scope *scope, const struct item *item, struct addresses *out)
{
	struct scope right = *scope;
	struct addresses low = {0}, high = {0};
	size_t errors = resolver->diagnostics->errors;
	right.negated = !scope->negated;
	int error = addresses_resolve(resolver, scope, item->low, &low);
	error = error ? error : addresses_resolve(resolver, &right, item->high, &high);
	error = error ? error : addresses_subtract(resolver->ctx, low, high, out);
	if (error || errors != resolver->diagnostics->errors)
		return error;
	if (!out->count && only_literals(item))
		report_error(resolver->diagnostics, item->span, "this `except` leaves no address");
	else
		warn_of_family(resolver, item, high);
	return 0;
}

static int resolve_name(struct resolver *resolver, struct scope *scope, const struct item *item, struct addresses *out)
{
	struct definition *definition;
	int error = name_resolve(resolver, scope, NAME_ADDRESSES, item, &definition);
	if (error || !definition)
		return error;
	*out = definition->addresses;
	return gaps_pass(resolver, scope, &definition->gaps);
}

static void report_word(struct resolver *resolver, const struct item *item)
{
	struct diagnostic *one = report_error(resolver->diagnostics, item->span, "`%s` is no address", item->text);
	bool defined = false;
	for (size_t i = 0; i < resolver->definition_count; i++)
		defined |= resolver->definitions[i].kind != NAME_SERVICE && !strcmp(resolver->definitions[i].name, item->text);
	if (defined || !strchr(item->text, '.'))
		diagnostic_hint(resolver->diagnostics, one, "a defined set is `$%s`; a host name stands in quotes: \"%s\"", item->text, item->text);
	else
		diagnostic_hint(resolver->diagnostics, one, "a host name stands in quotes: \"%s\"", item->text);
}

int addresses_resolve(struct resolver *resolver, struct scope *scope, const struct item *item, struct addresses *out)
{
	enum family family;
	struct interval interval;
	*out = (struct addresses){0};
	switch (item->kind) {
	case ITEM_ANY: return addresses_any(resolver->ctx, out);
	case ITEM_ADDRESS:
		if (address_parse(resolver->diagnostics, item->span, item->text, &family, &interval))
			return 0;
		return of_family(resolver->ctx, family, interval, out);
	case ITEM_RANGE: return resolve_range(resolver, item, out);
	case ITEM_STRING: return resolve_host(resolver, item, out);
	case ITEM_FILE: return resolve_file(resolver, scope, item, out);
	case ITEM_NAME: return resolve_name(resolver, scope, item, out);
	case ITEM_SET: return resolve_set(resolver, scope, item, out);
	case ITEM_EXCEPT: return resolve_except(resolver, scope, item, out);
	case ITEM_WORD: report_word(resolver, item); return 0;
	case ITEM_NUMBER:
	case ITEM_PROTOCOL:
	case ITEM_USER:
	case ITEM_GROUP:
	case ITEM_UNIT: break;
	}
	report_error(resolver->diagnostics, item->span, "an address is expected here");
	return 0;
}
