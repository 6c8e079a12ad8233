/*
 * Traffic: protocols, and the ports or types behind their slash.
 *
 * Five protocols have something behind the slash and a set of their own; all the others are a set of numbers. The algebra goes set by set.
 */
#include "dsl/language/resolve.h"
#include <errno.h>
#include <string.h>
#include <talloc.h>

static const struct interval all_ports[] = {{0, 65535}}, all_types[] = {{0, 255}};
static const struct interval all_others[] = {{0, 5}, {7, 16}, {18, 131}, {133, 255}};
static const struct intervals ports_full = {all_ports, 1}, types_full = {all_types, 1}, others_full = {all_others, 4};

struct protocol {
	const char *name;
	unsigned number;
};
/* IANA, Assigned Internet Protocol Numbers. */
static const struct protocol protocols[] = {{"icmp", 1}, {"igmp", 2}, {"tcp", 6}, {"udp", 17}, {"gre", 47}, {"esp", 50}, {"ah", 51}, {"icmpv6", 58},
	{"ospf", 89}, {"vrrp", 112}, {"sctp", 132}};
#define PROTOCOLS (sizeof protocols / sizeof *protocols)

static int protocol_number(const char *word)
{
	for (size_t i = 0; i < PROTOCOLS; i++)
		if (!strcmp(protocols[i].name, word))
			return (int)protocols[i].number;
	return -1;
}

bool protocol_word(const char *word) { return protocol_number(word) >= 0; }

typedef int set_operation(void *ctx, struct intervals a, struct intervals b, struct intervals *out);

static int combine(void *ctx, set_operation *operation, const struct traffic *a, const struct traffic *b, struct traffic *out)
{
	struct traffic result;
	int error = operation(ctx, a->tcp, b->tcp, &result.tcp);
	error = error ? error : operation(ctx, a->udp, b->udp, &result.udp);
	error = error ? error : operation(ctx, a->sctp, b->sctp, &result.sctp);
	error = error ? error : operation(ctx, a->icmp, b->icmp, &result.icmp);
	error = error ? error : operation(ctx, a->icmpv6, b->icmpv6, &result.icmpv6);
	error = error ? error : operation(ctx, a->others, b->others, &result.others);
	if (!error)
		*out = result;
	return error;
}

int traffic_union(void *ctx, const struct traffic *a, const struct traffic *b, struct traffic *out)
{
	return combine(ctx, intervals_union, a, b, out);
}

int traffic_subtract(void *ctx, const struct traffic *a, const struct traffic *b, struct traffic *out)
{
	return combine(ctx, intervals_subtract, a, b, out);
}

bool traffic_equal(const struct traffic *a, const struct traffic *b)
{
	return intervals_equal(a->tcp, b->tcp) && intervals_equal(a->udp, b->udp) && intervals_equal(a->sctp, b->sctp) &&
	       intervals_equal(a->icmp, b->icmp) && intervals_equal(a->icmpv6, b->icmpv6) && intervals_equal(a->others, b->others);
}

bool traffic_empty(const struct traffic *traffic)
{
	static const struct traffic nothing;
	return traffic_equal(traffic, &nothing);
}

bool traffic_has(const struct traffic *traffic, enum family family)
{
	struct intervals own = family == FAMILY_IPV4 ? traffic->icmp : traffic->icmpv6;
	unsigned stray = family == FAMILY_IPV4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6; /* in `others` it is of the other family */
	bool others = false;
	for (size_t i = 0; i < traffic->others.count; i++)
		others |= traffic->others.at[i].first != stray || traffic->others.at[i].last != stray;
	return traffic->tcp.count || traffic->udp.count || traffic->sctp.count || own.count || others;
}

bool traffic_only_ports(const struct traffic *traffic) { return !traffic->icmp.count && !traffic->icmpv6.count && !traffic->others.count; }

static struct intervals *behind_slash(struct traffic *traffic, unsigned protocol)
{
	switch (protocol) {
	case PROTOCOL_TCP: return &traffic->tcp;
	case PROTOCOL_UDP: return &traffic->udp;
	case PROTOCOL_SCTP: return &traffic->sctp;
	case PROTOCOL_ICMP: return &traffic->icmp;
	case PROTOCOL_ICMPV6: return &traffic->icmpv6;
	}
	return NULL;
}

static int whole_protocol(struct resolver *resolver, unsigned protocol, struct traffic *out)
{
	struct intervals *set = behind_slash(out, protocol);
	if (!set)
		return intervals_single(resolver->ctx, protocol, protocol, &out->others);
	*set = protocol == PROTOCOL_ICMP || protocol == PROTOCOL_ICMPV6 ? types_full : ports_full;
	return 0;
}

static int numbered_protocol(struct resolver *resolver, const struct item *item, struct traffic *out)
{
	uint64_t number;
	if (number_parse(&(struct item){.text = item->text}, 255, &number)) {
		report_error(resolver->diagnostics, item->span, "a protocol number is at most 255");
		return 0;
	}
	if (number == 0 || number == 43 || number == 44 || number == 59 || number == 60) {
		struct diagnostic *one = report_error(resolver->diagnostics, item->span, "%u is an extension header of IPv6, no protocol", (unsigned)number);
		diagnostic_hint(resolver->diagnostics, one, "name the protocol that is carried, e.g. `tcp` or `protocol 47`");
		return 0;
	}
	return whole_protocol(resolver, (unsigned)number, out);
}

static void warn_of_types(struct resolver *resolver, const struct item *item, bool v6, struct intervals types)
{
	bool starts = false;
	for (unsigned type = 0; type < 256; type++)
		starts |= icmp_type_starts(v6, type) && intervals_contain(types, type);
	if (starts || !types.count || resolver->quiet)
		return;
	struct diagnostic *one = report_warning(resolver->diagnostics, "W004", item->span,
		"this type never starts a connection, so a rule for it cannot matter");
	diagnostic_hint(resolver->diagnostics, one, "errors and replies of what was let through pass by themselves");
}

static int icmp_types(struct resolver *resolver, const struct item *item, bool v6, struct intervals *out);

static int icmp_leaf(struct resolver *resolver, const struct item *item, bool v6, struct intervals *out)
{
	uint64_t low, high;
	if (item->kind == ITEM_RANGE) {
		if (number_parse(item->low, 255, &low) || number_parse(item->high, 255, &high) || low > high) {
			report_error(resolver->diagnostics, item->span, "a range of types goes from a lower to a higher number of at most 255");
			return 0;
		}
		return intervals_single(resolver->ctx, low, high, out);
	}
	if (item->kind == ITEM_NUMBER) {
		if (number_parse(item, 255, &low)) {
			report_error(resolver->diagnostics, item->span, "an ICMP type is at most 255");
			return 0;
		}
		return intervals_single(resolver->ctx, low, low, out);
	}
	int number = item->kind == ITEM_WORD ? icmp_type_number(v6, item->text) : -1;
	if (number >= 0)
		return intervals_single(resolver->ctx, (unsigned)number, (unsigned)number, out);
	size_t count;
	const char *const *names = icmp_type_names(v6, &count);
	struct diagnostic *one = report_error(resolver->diagnostics, item->span, "`%s` is no type of %s", item->text ? item->text : "this",
		v6 ? "icmpv6" : "icmp");
	if (item->kind == ITEM_WORD)
		hint_nearest(resolver, one, item->text, names, count);
	return 0;
}

static int icmp_types(struct resolver *resolver, const struct item *item, bool v6, struct intervals *out)
{
	struct intervals low, high;
	int error = 0;
	*out = (struct intervals){0};
	if (item->kind == ITEM_ANY) {
		*out = types_full;
		return 0;
	}
	if (item->kind == ITEM_EXCEPT) {
		bool quiet = resolver->quiet;
		error = icmp_types(resolver, item->low, v6, &low);
		resolver->quiet = true; /* what is left out may be anything */
		error = error ? error : icmp_types(resolver, item->high, v6, &high);
		resolver->quiet = quiet;
		return error ? error : intervals_subtract(resolver->ctx, low, high, out);
	}
	if (item->kind != ITEM_SET) {
		error = icmp_leaf(resolver, item, v6, out);
		if (!error)
			warn_of_types(resolver, item, v6, *out);
		return error;
	}
	if (!item->items)
		report_error(resolver->diagnostics, item->span, "an empty set of types matches nothing");
	for (const struct item *one = item->items; one && !error; one = one->next) {
		error = icmp_types(resolver, one, v6, &low);
		error = error ? error : intervals_union(resolver->ctx, *out, low, out);
	}
	return error;
}

static int report_no_slash(struct resolver *resolver, struct scope *scope, const struct item *item)
{
	struct diagnostic *one;
	if (protocol_word(item->text)) {
		one = report_error(resolver->diagnostics, item->span, "%s has no ports", item->text);
		diagnostic_hint(resolver->diagnostics, one, "write `%s` alone", item->text);
		return 0;
	}
	struct definition *service;
	struct item name = *item;
	size_t errors = resolver->diagnostics->errors;
	int error = name_resolve(resolver, scope, NAME_SERVICE, &name, &service);
	if (!error && service) {
		one = report_error(resolver->diagnostics, item->span, "`%s` is a service and stands without a slash", item->text);
		diagnostic_hint(resolver->diagnostics, one, "write `%s` alone, or a protocol before the slash: `tcp/...`", item->text);
	} else if (!error && errors == resolver->diagnostics->errors) {
		report_error(resolver->diagnostics, item->span, "`%s` is no protocol", item->text);
	}
	return error;
}

static int protocol_with(struct resolver *resolver, struct scope *scope, const struct item *item, struct traffic *out)
{
	int number = protocol_number(item->text);
	struct intervals *set = number < 0 ? NULL : behind_slash(out, (unsigned)number);
	if (!set)
		return report_no_slash(resolver, scope, item);
	if (number != PROTOCOL_ICMP && number != PROTOCOL_ICMPV6)
		return ports_resolve(resolver, scope, item->items, (uint8_t)number, set);
	return icmp_types(resolver, item->items, number == PROTOCOL_ICMPV6, set);
}

static int traffic_word(struct resolver *resolver, struct scope *scope, const struct item *item, struct traffic *out)
{
	struct definition *service;
	int number = protocol_number(item->text);
	if (number >= 0)
		return whole_protocol(resolver, (unsigned)number, out);
	int error = name_resolve(resolver, scope, NAME_SERVICE, item, &service);
	if (!error && service)
		*out = service->traffic;
	return error;
}

#define PARTS 6

static int gather_traffic(void *scratch, struct gathered lists[PARTS], const struct traffic *traffic)
{
	const struct intervals parts[PARTS] = {traffic->tcp, traffic->udp, traffic->sctp, traffic->icmp, traffic->icmpv6, traffic->others};
	int error = 0;
	for (int i = 0; i < PARTS && !error; i++)
		error = gather(scratch, &lists[i], parts[i]);
	return error;
}

static int gathered_traffic(void *ctx, struct gathered lists[PARTS], struct traffic *out)
{
	struct intervals *parts[PARTS] = {&out->tcp, &out->udp, &out->sctp, &out->icmp, &out->icmpv6, &out->others};
	int error = 0;
	for (int i = 0; i < PARTS && !error; i++)
		error = gathered_set(ctx, &lists[i], parts[i]);
	return error;
}

static int traffic_set(struct resolver *resolver, struct scope *scope, const struct item *item, struct traffic *out)
{
	struct gathered lists[PARTS] = {{0}};
	void *scratch = talloc_new(resolver->scratch);
	int error = scratch ? 0 : -ENOMEM;
	if (!item->items)
		report_error(resolver->diagnostics, item->span, "an empty set of traffic matches nothing");
	for (const struct item *one = item->items; one && !error; one = one->next) {
		struct traffic part;
		error = traffic_resolve(resolver, scope, one, &part);
		error = error ? error : gather_traffic(scratch, lists, &part);
	}
	error = error ? error : gathered_traffic(resolver->ctx, lists, out);
	talloc_free(scratch);
	return error;
}

static int traffic_except(struct resolver *resolver, struct scope *scope, const struct item *item, struct traffic *out)
{
	struct traffic low, high;
	size_t errors = resolver->diagnostics->errors;
	int error = traffic_resolve(resolver, scope, item->low, &low);
	error = error ? error : traffic_resolve(resolver, scope, item->high, &high);
	error = error ? error : traffic_subtract(resolver->ctx, &low, &high, out);
	if (!error && traffic_empty(out) && errors == resolver->diagnostics->errors)
		report_error(resolver->diagnostics, item->span, "this `except` leaves no traffic");
	return error;
}

int traffic_resolve(struct resolver *resolver, struct scope *scope, const struct item *item, struct traffic *out)
{
	*out = (struct traffic){0};
	switch (item->kind) {
	case ITEM_ANY:
		*out = (struct traffic){.tcp = ports_full, .udp = ports_full, .sctp = ports_full, .icmp = types_full, .icmpv6 = types_full,
			.others = others_full};
		return 0;
	case ITEM_WORD: return traffic_word(resolver, scope, item, out);
	case ITEM_PROTOCOL: return item->numeric ? numbered_protocol(resolver, item, out) : protocol_with(resolver, scope, item, out);
	case ITEM_SET: return traffic_set(resolver, scope, item, out);
	case ITEM_EXCEPT: return traffic_except(resolver, scope, item, out);
	case ITEM_NUMBER:
	case ITEM_ADDRESS:
	case ITEM_RANGE:
	case ITEM_STRING:
	case ITEM_FILE:
	case ITEM_NAME:
	case ITEM_USER:
	case ITEM_GROUP:
	case ITEM_UNIT: break;
	}
	report_error(resolver->diagnostics, item->span, "a protocol or a service is expected here");
	return 0;
}
