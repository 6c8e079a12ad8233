/*
 * Port sets: numbers, ranges, IANA's names and ranges, and defined sets.
 */
#include "dsl/language/iana.h"
#include "dsl/language/resolve.h"
#include <errno.h>
#include <string.h>
#include <talloc.h>

#define PORT_LAST 65535

struct port_range {
	const char *name;
	unsigned first, last;
};

/* RFC 6335, section 6. */
static const struct port_range port_ranges[] = {{"well-known", 0, 1023}, {"registered", 1024, 49151}, {"dynamic", 49152, 65535}};

int number_parse(const struct item *item, uint64_t most, uint64_t *out)
{
	uint64_t value = 0;
	for (const char *at = item->text; *at; at++) {
		if (*at < '0' || *at > '9')
			return 1;
		value = value * 10 + (uint64_t)(*at - '0');
		if (value > most)
			return 1;
	}
	*out = value;
	return 0;
}

static int port_number(struct resolver *resolver, const struct item *item, uint64_t *out)
{
	if (item->kind == ITEM_NUMBER && !number_parse(item, PORT_LAST, out))
		return 0;
	struct diagnostic *one = report_error(resolver->diagnostics, item->span,
		item->kind == ITEM_NUMBER ? "a port is at most %d" : "the ends of a range are numbers (at most %d)", PORT_LAST);
	(void)one;
	return 1;
}

static int port_range(struct resolver *resolver, const struct item *item, struct intervals *out)
{
	uint64_t low, high;
	if (port_number(resolver, item->low, &low) || port_number(resolver, item->high, &high))
		return 0;
	if (low > high) {
		struct diagnostic *one = report_error(resolver->diagnostics, item->span, "this range is reversed");
		diagnostic_hint(resolver->diagnostics, one, "write `%s-%s`", item->high->text, item->low->text);
		return 0;
	}
	return intervals_single(resolver->ctx, low, high, out);
}

/* The first entry of that name; iana_service_count when there is none. */
static size_t iana_find(const char *name)
{
	size_t low = 0, high = iana_service_count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (strcmp(iana_services[middle].name, name) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low < iana_service_count && !strcmp(iana_services[low].name, name) ? low : iana_service_count;
}

static int report_unknown_port(struct resolver *resolver, const struct item *item)
{
	struct diagnostic *one = report_error(resolver->diagnostics, item->span, "`%s` is no port name that IANA lists", item->text);
	const char **names = talloc_array(resolver->scratch, const char *, iana_service_count + 4);
	size_t count = 0;
	if (!names)
		return -ENOMEM;
	for (size_t i = 0; i < 3; i++)
		names[count++] = port_ranges[i].name;
	for (size_t i = 0; i < iana_service_count; i++)
		names[count++] = iana_services[i].name;
	hint_nearest(resolver, one, item->text, names, count);
	talloc_free(names);
	return 0;
}

static int report_wrong_protocol(struct resolver *resolver, const struct item *item, size_t found)
{
	const struct iana_service *service = &iana_services[found];
	const char *other = service->protocol == PROTOCOL_TCP ? "tcp" : service->protocol == PROTOCOL_UDP ? "udp" : "sctp";
	struct diagnostic *one = report_error(resolver->diagnostics, item->span, "IANA does not list `%s` for this protocol", item->text);
	diagnostic_hint(resolver->diagnostics, one, "it is %s/%u; write the number if you mean it: %u", other, (unsigned)service->port, (unsigned)service->port);
	return 0;
}

/* IANA gives a few names several numbers: all of them where the protocol is known, an error where one number is wanted. */
static int named_port(struct resolver *resolver, const struct item *item, uint8_t protocol, struct intervals *out)
{
	struct interval list[64];
	size_t count = 0, found = iana_find(item->text);
	for (size_t i = found; i < iana_service_count && !strcmp(iana_services[i].name, item->text) && count < 64; i++)
		if (!protocol || iana_services[i].protocol == protocol)
			list[count++] = (struct interval){iana_services[i].port, iana_services[i].port};
	if (found == iana_service_count)
		return report_unknown_port(resolver, item);
	if (!count)
		return report_wrong_protocol(resolver, item, found);
	for (size_t i = 1; !protocol && i < count; i++)
		if (list[i].first != list[0].first) {
			report_error(resolver->diagnostics, item->span, "`%s` has several numbers, by protocol; write the number", item->text);
			return 0;
		}
	return intervals_from(resolver->ctx, list, count, out);
}

static int port_word(struct resolver *resolver, const struct item *item, uint8_t protocol, struct intervals *out)
{
	for (size_t i = 0; i < 3; i++)
		if (!strcmp(item->text, port_ranges[i].name))
			return intervals_single(resolver->ctx, port_ranges[i].first, port_ranges[i].last, out);
	if (!strcmp(item->text, "ephemeral")) {
		struct diagnostic *one = report_error(resolver->diagnostics, item->span, "`ephemeral` has two meanings");
		diagnostic_hint(resolver->diagnostics, one, "IANA's dynamic ports are `dynamic` (49152-65535); Linux takes 32768-60999 unless told otherwise");
		return 0;
	}
	return named_port(resolver, item, protocol, out);
}

static int port_name(struct resolver *resolver, struct scope *scope, const struct item *item, struct intervals *out)
{
	struct definition *definition;
	int error = name_resolve(resolver, scope, NAME_PORTS, item, &definition);
	if (!error && definition)
		*out = definition->ports;
	return error;
}

static int port_set(struct resolver *resolver, struct scope *scope, const struct item *item, uint8_t protocol, struct intervals *out)
{
	struct gathered list = {0};
	void *scratch = talloc_new(resolver->scratch);
	int error = scratch ? 0 : -ENOMEM;
	if (!item->items)
		report_error(resolver->diagnostics, item->span, "an empty set of ports matches nothing");
	for (const struct item *one = item->items; one && !error; one = one->next) {
		struct intervals part;
		error = ports_resolve(resolver, scope, one, protocol, &part);
		error = error ? error : gather(scratch, &list, part);
	}
	error = error ? error : gathered_set(resolver->ctx, &list, out);
	talloc_free(scratch);
	return error;
}

static int port_except(struct resolver *resolver, struct scope *scope, const struct item *item, uint8_t protocol, struct intervals *out)
{
	struct intervals low, high;
	size_t errors = resolver->diagnostics->errors;
	int error = ports_resolve(resolver, scope, item->low, protocol, &low);
	if (!error)
		error = ports_resolve(resolver, scope, item->high, protocol, &high);
	if (!error)
		error = intervals_subtract(resolver->ctx, low, high, out);
	if (!error && !out->count && errors == resolver->diagnostics->errors)
		report_error(resolver->diagnostics, item->span, "this `except` leaves no port");
	return error;
}

int ports_resolve(struct resolver *resolver, struct scope *scope, const struct item *item, uint8_t protocol, struct intervals *out)
{
	uint64_t number;
	*out = (struct intervals){0};
	switch (item->kind) {
	case ITEM_ANY: return intervals_single(resolver->ctx, 0, PORT_LAST, out);
	case ITEM_NUMBER: return port_number(resolver, item, &number) ? 0 : intervals_single(resolver->ctx, number, number, out);
	case ITEM_RANGE: return port_range(resolver, item, out);
	case ITEM_WORD: return port_word(resolver, item, protocol, out);
	case ITEM_NAME: return port_name(resolver, scope, item, out);
	case ITEM_SET: return port_set(resolver, scope, item, protocol, out);
	case ITEM_EXCEPT: return port_except(resolver, scope, item, protocol, out);
	case ITEM_ADDRESS:
	case ITEM_STRING:
	case ITEM_FILE:
	case ITEM_PROTOCOL:
	case ITEM_USER:
	case ITEM_GROUP:
	case ITEM_UNIT: break;
	}
	report_error(resolver->diagnostics, item->span, "a port is expected here");
	return 0;
}
