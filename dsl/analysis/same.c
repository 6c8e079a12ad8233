/*
 * Are two policies the same, line by line?
 *
 * This asks more than whether they decide alike: every rule, expect and default of the one must have its
 * counterpart in the other, in the same order and with the same value. It is what a change of layout must keep, and it costs one
 * walk.
 */
#include "portpolicy/analysis.h"
#include <string.h>

static bool same_text(const char *a, const char *b)
{
	return a == b || (a && b && !strcmp(a, b));
}

static bool same_traffic(const struct traffic *a, const struct traffic *b)
{
	return intervals_equal(a->tcp, b->tcp) && intervals_equal(a->udp, b->udp) && intervals_equal(a->sctp, b->sctp) &&
	       intervals_equal(a->icmp, b->icmp) && intervals_equal(a->icmpv6, b->icmpv6) &&
	       intervals_equal(a->others, b->others);
}

static bool same_term(const struct address_term *a, const struct address_term *b)
{
	if (a->literal_count != b->literal_count)
		return false;
	for (size_t i = 0; i < a->literal_count; i++)
		if (a->literals[i].host != b->literals[i].host || a->literals[i].member != b->literals[i].member)
			return false;
	for (int family = 0; family < FAMILIES; family++)
		if (!intervals_equal(a->of[family], b->of[family]))
			return false;
	return true;
}

static bool same_addresses(const struct addresses *a, const struct addresses *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++)
		if (!same_term(&a->terms[i], &b->terms[i]))
			return false;
	return true;
}

static bool same_patterns(const struct interface_pattern *a, const struct interface_pattern *b, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (a[i].prefix != b[i].prefix || strcmp(a[i].name, b[i].name))
			return false;
	return true;
}

static bool same_interfaces(const struct interfaces *a, const struct interfaces *b)
{
	return a->any == b->any && a->names_loopback == b->names_loopback && a->in_count == b->in_count &&
	       a->out_count == b->out_count && same_patterns(a->in, b->in, a->in_count) &&
	       same_patterns(a->out, b->out, a->out_count);
}

static bool same_subjects(const struct subjects *a, const struct subjects *b)
{
	return a->any == b->any && a->except == b->except && a->one_process == b->one_process &&
	       intervals_equal(a->users, b->users) && intervals_equal(a->groups, b->groups) &&
	       intervals_equal(a->units, b->units);
}

static bool same_match(const struct match *a, const struct match *b)
{
	return a->direction == b->direction && same_traffic(&a->traffic, &b->traffic) &&
	       same_interfaces(&a->arriving, &b->arriving) && same_interfaces(&a->leaving, &b->leaving) &&
	       a->interface_named == b->interface_named && same_addresses(&a->from, &b->from) && same_addresses(&a->to, &b->to) &&
	       intervals_equal(a->source_ports, b->source_ports) && a->source_port_named == b->source_port_named &&
	       same_subjects(&a->by, &b->by);
}

static bool same_rate(const struct rate *a, const struct rate *b)
{
	if (!a || !b)
		return a == b;
	return a->count == b->count && a->seconds == b->seconds && a->burst == b->burst && a->per_source == b->per_source;
}

static bool same_rule(const struct rule *a, const struct rule *b)
{
	return a->action == b->action && same_match(&a->match, &b->match) && same_rate(a->limit, b->limit) &&
	       same_rate(a->above, b->above) && a->has_connections == b->has_connections && a->connections == b->connections &&
	       a->connections_per_source == b->connections_per_source && a->log == b->log &&
	       same_text(a->log_text, b->log_text) && same_text(a->reason, b->reason);
}

static bool same_direction(const struct direction_policy *a, const struct direction_policy *b)
{
	return a->managed == b->managed && a->action == b->action && a->mode == b->mode && a->log == b->log &&
	       same_text(a->log_text, b->log_text);
}

static bool same_words(const char *const *a, size_t a_count, const char *const *b, size_t b_count)
{
	if (a_count != b_count)
		return false;
	for (size_t i = 0; i < a_count; i++)
		if (strcmp(a[i], b[i]))
			return false;
	return true;
}

bool policies_same(const struct policy *a, const struct policy *b)
{
	for (int direction = 0; direction < DIRECTIONS; direction++)
		if (!same_direction(&a->directions[direction], &b->directions[direction]))
			return false;
	if (a->rule_count != b->rule_count || a->expect_count != b->expect_count || a->unknown_count != b->unknown_count)
		return false;
	for (size_t i = 0; i < a->rule_count; i++)
		if (!same_rule(&a->rules[i], &b->rules[i]))
			return false;
	for (size_t i = 0; i < a->expect_count; i++)
		if (a->expects[i].allow != b->expects[i].allow || !same_match(&a->expects[i].match, &b->expects[i].match))
			return false;
	for (size_t i = 0; i < a->unknown_count; i++)
		if (a->unknowns[i].blocks_apply != b->unknowns[i].blocks_apply ||
			strcmp(a->unknowns[i].what, b->unknowns[i].what))
			return false;
	return same_words(a->hosts, a->host_count, b->hosts, b->host_count) &&
	       same_words(a->units, a->unit_count, b->units, b->unit_count);
}
