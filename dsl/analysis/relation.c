/*
 * Two matches compared field by field.
 *
 * Answers are one-sided: "covers" and "disjoint" are certain, their absence is not. That is enough for warnings, costs a
 * walk over a few intervals, and needs no diagram.
 */
#include "dsl/analysis/review.h"
#include <string.h>

bool traffic_covers(const struct traffic *outer, const struct traffic *inner)
{
	return intervals_cover(outer->tcp, inner->tcp) && intervals_cover(outer->udp, inner->udp) && intervals_cover(outer->sctp, inner->sctp) &&
	       intervals_cover(outer->icmp, inner->icmp) && intervals_cover(outer->icmpv6, inner->icmpv6) &&
	       intervals_cover(outer->others, inner->others);
}

static bool traffic_disjoint(const struct traffic *a, const struct traffic *b)
{
	return !intervals_overlap(a->tcp, b->tcp) && !intervals_overlap(a->udp, b->udp) && !intervals_overlap(a->sctp, b->sctp) &&
	       !intervals_overlap(a->icmp, b->icmp) && !intervals_overlap(a->icmpv6, b->icmpv6) && !intervals_overlap(a->others, b->others);
}

static bool term_covers(const struct address_term *outer, const struct address_term *inner)
{
	if (outer->literal_count)
		return false;
	for (int family = 0; family < FAMILIES; family++)
		if (!intervals_cover(outer->of[family], inner->of[family]))
			return false;
	return true;
}

bool addresses_cover(const struct addresses *outer, const struct addresses *inner)
{
	for (size_t i = 0; i < inner->count; i++) {
		bool covered = false;
		for (size_t o = 0; !covered && o < outer->count; o++)
			covered = term_covers(&outer->terms[o], &inner->terms[i]);
		if (!covered)
			return false;
	}
	return true;
}

static bool addresses_disjoint(const struct addresses *a, const struct addresses *b)
{
	for (size_t i = 0; i < a->count; i++)
		for (size_t j = 0; j < b->count; j++)
			for (int family = 0; family < FAMILIES; family++)
				if (intervals_overlap(a->terms[i].of[family], b->terms[j].of[family]))
					return false;
	return true;
}

static bool same_patterns(const struct interface_pattern *a, size_t a_count, const struct interface_pattern *b, size_t b_count)
{
	if (a_count != b_count)
		return false;
	for (size_t i = 0; i < a_count; i++)
		if (a[i].prefix != b[i].prefix || strcmp(a[i].name, b[i].name))
			return false;
	return true;
}

static bool same_interfaces(const struct interfaces *a, const struct interfaces *b)
{
	return a->any == b->any && same_patterns(a->in, a->in_count, b->in, b->in_count) && same_patterns(a->out, a->out_count, b->out, b->out_count);
}

static bool interfaces_cover(const struct match *outer, const struct match *inner)
{
	/* A match that names no interface speaks of all but loopback, and one that names an interface may speak of lo. */
	if (!outer->interface_named)
		return !inner->arriving.names_loopback && !inner->leaving.names_loopback;
	return inner->interface_named && same_interfaces(&outer->arriving, &inner->arriving) && same_interfaces(&outer->leaving, &inner->leaving);
}

/* One name may fit both when the shorter is a beginning of the longer, and open behind it. */
static bool patterns_meet(const struct interface_pattern *a, const struct interface_pattern *b)
{
	const struct interface_pattern *shorter = strlen(a->name) <= strlen(b->name) ? a : b, *longer = shorter == a ? b : a;
	size_t length = strlen(shorter->name);
	if (strncmp(shorter->name, longer->name, length))
		return false;
	return shorter->prefix || longer->name[length] == 0;
}

static bool interfaces_disjoint(const struct interfaces *a, const struct interfaces *b)
{
	if (a->any || b->any)
		return false;
	for (size_t i = 0; i < a->in_count; i++)
		for (size_t j = 0; j < b->in_count; j++)
			if (patterns_meet(&a->in[i], &b->in[j]))
				return false;
	return true;
}

static bool subjects_cover(const struct subjects *outer, const struct subjects *inner)
{
	if (outer->any)
		return true;
	if (inner->any || outer->except != inner->except)
		return false;
	if (outer->except) {
		const struct subjects *swap = outer;
		outer = inner;
		inner = swap;
	}
	return intervals_cover(outer->users, inner->users) && intervals_cover(outer->groups, inner->groups) && intervals_cover(outer->units, inner->units);
}

static bool subjects_disjoint(const struct subjects *a, const struct subjects *b)
{
	return !a->any && !b->any && !a->except && !b->except && intervals_empty(a->groups) && intervals_empty(a->units) && intervals_empty(b->groups) &&
	       intervals_empty(b->units) && !intervals_overlap(a->users, b->users);
}

bool match_covers(const struct match *outer, const struct match *inner)
{
	return outer->direction == inner->direction && traffic_covers(&outer->traffic, &inner->traffic) && interfaces_cover(outer, inner) &&
	       intervals_cover(outer->source_ports, inner->source_ports) && addresses_cover(&outer->from, &inner->from) &&
	       addresses_cover(&outer->to, &inner->to) && subjects_cover(&outer->by, &inner->by);
}

bool match_disjoint(const struct match *a, const struct match *b)
{
	return a->direction != b->direction || traffic_disjoint(&a->traffic, &b->traffic) || addresses_disjoint(&a->from, &b->from) ||
	       addresses_disjoint(&a->to, &b->to) || !intervals_overlap(a->source_ports, b->source_ports) ||
	       interfaces_disjoint(&a->arriving, &b->arriving) || interfaces_disjoint(&a->leaving, &b->leaving) || subjects_disjoint(&a->by, &b->by);
}
