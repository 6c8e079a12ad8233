/*
 * Limits: how often, and how many.
 */
#include "dsl/language/resolve.h"
#include <errno.h>
#include <string.h>
#include <talloc.h>

#define COUNT_LAST 1000000000u /* the kernel counts in nanoseconds: a rate beyond one each has no meaning */

struct unit_of_time {
	const char *name;
	uint64_t seconds;
};
static const struct unit_of_time units[] = {{"second", 1}, {"minute", 60}, {"hour", 3600}, {"day", 86400}};

static uint64_t unit_seconds(struct resolver *resolver, const struct item *item)
{
	static const char *const names[] = {"second", "minute", "hour", "day"};
	for (size_t i = 0; i < 4; i++)
		if (!strcmp(units[i].name, item->text))
			return units[i].seconds;
	struct diagnostic *one = report_error(resolver->diagnostics, item->span, "`%s` is no unit of time; expected second, minute, hour or day", item->text);
	if (!strcmp(item->text, "s") || !strcmp(item->text, "sec"))
		diagnostic_hint(resolver->diagnostics, one, "write `second`");
	else if (!strcmp(item->text, "m") || !strcmp(item->text, "min"))
		diagnostic_hint(resolver->diagnostics, one, "write `minute`");
	else if (!strcmp(item->text, "h"))
		diagnostic_hint(resolver->diagnostics, one, "write `hour`");
	else
		hint_nearest(resolver, one, item->text, names, 4);
	return 1;
}

static uint64_t count_of(struct resolver *resolver, const struct item *item, const char *what)
{
	uint64_t count = 0;
	if (number_parse(item, COUNT_LAST, &count))
		report_error(resolver->diagnostics, item->span, "this number is at most %u", COUNT_LAST);
	else if (!count)
		report_error(resolver->diagnostics, item->span, "a %s of zero has no meaning; it is at least 1", what);
	return count ? count : 1;
}

static int rate_new(struct resolver *resolver, const struct limit_node *node, const struct rate **out)
{
	struct rate *rate = talloc_zero(resolver->ctx, struct rate);
	if (!rate)
		return -ENOMEM;
	rate->count = count_of(resolver, node->count, "rate");
	rate->seconds = unit_seconds(resolver, node->unit);
	rate->burst = node->burst ? count_of(resolver, node->burst, "burst") : rate->count;
	rate->per_source = node->per_source;
	rate->span = node->span;
	*out = rate;
	return 0;
}

static bool fits_action(struct resolver *resolver, const struct limit_node *node, enum action action)
{
	bool allow = action == ACTION_ALLOW;
	if (allow == (node->kind != LIMIT_ABOVE))
		return true;
	struct diagnostic *one = report_error(resolver->diagnostics, node->span, allow ? "`above` belongs to a deny or reject" : "`limit` belongs to an allow");
	diagnostic_hint(resolver->diagnostics, one, allow ? "an allow matches up to its limit: `limit %s/%s`" : "a %3$s matches above a rate: `above %1$s/%2$s`",
		node->count->text, node->unit ? node->unit->text : "second", action == ACTION_DENY ? "deny" : "reject");
	return false;
}

int limits_resolve(struct resolver *resolver, const struct rule_node *node, struct rule *rule)
{
	int error = 0;
	for (const struct limit_node *limit = node->limits; limit && !error; limit = limit->next) {
		if (!fits_action(resolver, limit, node->action))
			continue;
		switch (limit->kind) {
		case LIMIT_RATE: error = rate_new(resolver, limit, &rule->limit); break;
		case LIMIT_ABOVE: error = rate_new(resolver, limit, &rule->above); break;
		case LIMIT_CONNECTIONS:
			rule->has_connections = true;
			rule->connections = count_of(resolver, limit->count, "number of connections");
			rule->connections_per_source = limit->per_source;
			rule->connections_span = limit->span;
			break;
		}
	}
	return error;
}
