/*
 * Protocols, ports and types in words: services where they fit, lists, or `any except`.
 */
#include "dsl/analysis/words.h"
#include <errno.h>
#include <string.h>
#include <talloc.h>

static const struct interval all_ports[] = {{0, 65535}}, all_types[] = {{0, 255}};
static const struct interval all_others[] = {{0, 5}, {7, 16}, {18, 131}, {133, 255}};
/* Protocols that only `any` holds: the extension headers of IPv6. */
static const struct interval nameless[] = {{0, 0}, {43, 44}, {59, 60}};
#define ONE(array) ((struct intervals){array, 1})

static const char *type_name(bool v6, unsigned number)
{
	size_t count;
	const char *const *names = icmp_type_names(v6, &count);
	for (size_t i = 0; i < count; i++)
		if (icmp_type_number(v6, names[i]) == (int)number)
			return names[i];
	return NULL;
}

static char *number_text(void *ctx, struct interval one, int icmp)
{
	const char *name = icmp && one.first == one.last ? type_name(icmp == PROTOCOL_ICMPV6, (unsigned)one.first) : NULL;
	if (name)
		return talloc_strdup(ctx, name);
	return one.first == one.last ? talloc_asprintf(ctx, "%u", (unsigned)one.first)
				     : talloc_asprintf(ctx, "%u-%u", (unsigned)one.first, (unsigned)one.last);
}

static void list_numbers(struct list *list, struct intervals set, int icmp)
{
	for (size_t i = 0; i < set.count; i++) {
		/* Two types side by side are two names. */
		for (u128 one = set.at[i].first; icmp && set.at[i].last - set.at[i].first < 3 && one <= set.at[i].last; one++)
			add_word(list, number_text(list->ctx, (struct interval){one, one}, icmp));
		if (!icmp || set.at[i].last - set.at[i].first >= 3)
			add_word(list, number_text(list->ctx, set.at[i], icmp));
	}
}

int say_numbers(void *ctx, const struct vocabulary *vocabulary, struct intervals set, unsigned protocol, size_t most, char **out)
{
	int icmp = protocol == PROTOCOL_ICMP || protocol == PROTOCOL_ICMPV6 ? (int)protocol : 0;
	struct intervals whole = icmp ? ONE(all_types) : ONE(all_ports), others;
	struct list items = {.ctx = ctx}, except = {.ctx = ctx};
	*out = NULL;
	if (intervals_equal(set, whole))
		return 0;
	for (size_t i = 0; i < vocabulary->name_count && !icmp; i++) {
		const struct policy_name *named = &vocabulary->names[i];
		if (named->kind == NAMED_PORTS && intervals_equal(named->ports, set) &&
			!is_ambiguous(vocabulary, false, named->name))
			return (*out = talloc_asprintf(ctx, "$%s", named->name)) ? 0 : -ENOMEM;
	}
	if (intervals_subtract(ctx, whole, set, &others))
		return -ENOMEM;
	list_numbers(&items, set, icmp);
	list_numbers(&except, others, icmp);
	if (items.failed || except.failed)
		return -ENOMEM;
	*out = except.count + 1 < items.count ? excepted(ctx, "any", &except, most) : listed(&items, most);
	return *out ? 0 : -ENOMEM;
}

static int whole_traffic(void *ctx, const struct packet_set *set, struct traffic *out)
{
	static const struct interval strays[] = {{PROTOCOL_ICMP, PROTOCOL_ICMP}, {PROTOCOL_ICMPV6, PROTOCOL_ICMPV6}};
	*out = (struct traffic){.tcp = ONE(all_ports), .udp = ONE(all_ports), .sctp = ONE(all_ports), .others = {all_others, 4}};
	if (set->has[FAMILY_IPV4])
		out->icmp = ONE(all_types);
	if (set->has[FAMILY_IPV6])
		out->icmpv6 = ONE(all_types);
	/* Protocol 1 is of IPv6 here, 58 of IPv4. */
	int error = set->has[FAMILY_IPV6] ? 0 : intervals_subtract(ctx, out->others, (struct intervals){strays, 1}, &out->others);
	return error || set->has[FAMILY_IPV4]
		       ? error
		       : intervals_subtract(ctx, out->others, (struct intervals){strays + 1, 1}, &out->others);
}

static bool traffic_cover(const struct traffic *outer, const struct traffic *inner)
{
	return intervals_cover(outer->tcp, inner->tcp) && intervals_cover(outer->udp, inner->udp) &&
	       intervals_cover(outer->sctp, inner->sctp) && intervals_cover(outer->icmp, inner->icmp) &&
	       intervals_cover(outer->icmpv6, inner->icmpv6) && intervals_cover(outer->others, inner->others);
}

static size_t traffic_intervals(const struct traffic *traffic)
{
	return traffic->tcp.count + traffic->udp.count + traffic->sctp.count + traffic->icmp.count + traffic->icmpv6.count +
	       traffic->others.count;
}

/* Cut to the families of the set, for `ping` may be said where IPv6 is out of the question. */
static struct traffic of_families(const struct traffic *traffic, const struct packet_set *set)
{
	struct traffic cut = *traffic;
	if (!set->has[FAMILY_IPV4])
		cut.icmp = (struct intervals){0};
	if (!set->has[FAMILY_IPV6])
		cut.icmpv6 = (struct intervals){0};
	return cut;
}

/* Services that lie wholly within it, the largest first, as long as each says more than one number would. */
static int list_services(
	struct list *list, const struct vocabulary *vocabulary, const struct packet_set *set, struct traffic *left)
{
	bool source_ports = !intervals_equal(set->source_ports, ONE(all_ports));
	for (bool found = true; found;) {
		const struct policy_name *best = NULL;
		struct traffic rest = {0}, without;
		size_t shortest = traffic_intervals(left);
		for (size_t i = 0; i < vocabulary->name_count; i++) {
			const struct policy_name *named = &vocabulary->names[i];
			struct traffic value = of_families(&named->traffic, set);
			if (named->kind != NAMED_SERVICE || traffic_empty(&value) ||
				(source_ports && !traffic_only_ports(&named->traffic)) || !traffic_cover(left, &value) ||
				is_ambiguous(vocabulary, true, named->name))
				continue;
			if (traffic_subtract(list->ctx, left, &value, &without))
				return -ENOMEM;
			size_t length = traffic_intervals(&without);
			if (length > shortest || (length == shortest && best) ||
				(length == shortest && !traffic_equal(&value, left)))
				continue;
			if (best && length == shortest && best->library <= named->library)
				continue;
			best = named;
			rest = without;
			shortest = length;
		}
		found = best != NULL;
		if (found) {
			add_word(list, best->name);
			*left = rest;
		}
	}
	return 0;
}

static const struct {
	const char *name;
	unsigned number;
} protocols[] = {{"igmp", 2}, {"gre", 47}, {"esp", 50}, {"ah", 51}, {"ospf", 89}, {"vrrp", 112}};

static void list_protocols(struct list *list, struct intervals others)
{
	for (size_t i = 0; i < others.count; i++)
		for (u128 number = others.at[i].first; number <= others.at[i].last; number++) {
			const char *name = NULL;
			for (size_t k = 0; k < sizeof protocols / sizeof *protocols; k++)
				if (protocols[k].number == number)
					name = protocols[k].name;
			add_word(list, name ? name : talloc_asprintf(list->ctx, "protocol %u", (unsigned)number));
		}
}

static int list_ported(struct list *list, const struct vocabulary *vocabulary, const char *word, unsigned protocol,
	struct intervals set, size_t most)
{
	char *numbers;
	if (!set.count)
		return 0;
	int error = say_numbers(list->ctx, vocabulary, set, protocol, most, &numbers);
	if (!error)
		add_word(list, numbers ? talloc_asprintf(list->ctx, "%s/%s", word, numbers) : word);
	return error;
}

static int list_traffic(struct list *list, const struct vocabulary *vocabulary, const struct packet_set *set,
	const struct traffic *traffic, size_t most)
{
	struct traffic left = *traffic;
	int error = list_services(list, vocabulary, set, &left);
	error = error ? error : list_ported(list, vocabulary, "tcp", PROTOCOL_TCP, left.tcp, most);
	error = error ? error : list_ported(list, vocabulary, "udp", PROTOCOL_UDP, left.udp, most);
	error = error ? error : list_ported(list, vocabulary, "sctp", PROTOCOL_SCTP, left.sctp, most);
	error = error ? error : list_ported(list, vocabulary, "icmp", PROTOCOL_ICMP, left.icmp, most);
	error = error ? error : list_ported(list, vocabulary, "icmpv6", PROTOCOL_ICMPV6, left.icmpv6, most);
	list_protocols(list, left.others);
	return error ? error : list->failed ? -ENOMEM : 0;
}

/* Protocols without a name stand only in `any`. */
int say_traffic(void *ctx, const struct vocabulary *vocabulary, const struct packet_set *set, size_t most, char **out)
{
	struct traffic whole, others;
	struct list items = {.ctx = ctx}, except = {.ctx = ctx};
	int error = whole_traffic(ctx, set, &whole);
	error = error ? error : traffic_subtract(ctx, &whole, &set->traffic, &others);
	if (error)
		return error;
	if (traffic_empty(&others))
		return (*out = talloc_strdup(ctx, "any")) ? 0 : -ENOMEM;
	error = list_traffic(&items, vocabulary, set, &set->traffic, most);
	error = error ? error : list_traffic(&except, vocabulary, set, &others, most);
	if (error)
		return error;
	bool only_any = intervals_overlap(set->traffic.others, (struct intervals){nameless, 3});
	*out = only_any || except.count + 1 < items.count ? excepted(ctx, "any", &except, most) : listed(&items, most);
	return *out ? 0 : -ENOMEM;
}
