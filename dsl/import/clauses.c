/*
 * Sets in the words of the language: traffic, ports, interfaces, subjects, addresses.
 *
 * A set is said as it is, or as all but some, whichever is shorter. Some sets have no words (two users at once, half an
 * interface's name): then the answer is false, and the rule is one that cannot be said.
 */
#include "dsl/import/foreign.h"
#include "dsl/language/resolve.h"
#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <talloc.h>

#define PORT_LAST 65535
static const struct interval every_port[] = {{0, PORT_LAST}};

static void put(FILE *to, const char *text)
{
	if (to)
		fputs(text, to);
}

static void port_items(FILE *to, struct intervals ports)
{
	put(to, ports.count > 1 ? "{ " : "");
	for (size_t i = 0; i < ports.count && to; i++) {
		unsigned first = (unsigned)ports.at[i].first, last = (unsigned)ports.at[i].last;
		fprintf(to, first == last ? "%s%u" : "%s%u-%u", i ? ", " : "", first, last);
	}
	put(to, ports.count > 1 ? " }" : "");
}

void port_words(struct import *import, FILE *to, struct intervals ports)
{
	struct intervals others = set_except(import, (struct intervals){every_port, 1}, ports);
	if (others.count >= ports.count) {
		port_items(to, ports);
		return;
	}
	put(to, "any");
	if (others.count) {
		put(to, " except ");
		port_items(to, others);
	}
}

/* What of one protocol is in the traffic, as services. */
static struct intervals services_of(struct import *import, struct intervals traffic, unsigned protocol)
{
	struct intervals block =
		set_common(import, traffic, set_single(import, TRAFFIC(protocol, 0), TRAFFIC(protocol, PORT_LAST)));
	struct interval *list = talloc_array(import->ctx, struct interval, block.count + 1);
	if (!list) {
		import->error = -ENOMEM;
		return (struct intervals){0};
	}
	for (size_t i = 0; i < block.count; i++)
		list[i] = (struct interval){block.at[i].first % SERVICES, block.at[i].last % SERVICES};
	return (struct intervals){list, block.count};
}

static bool is_whole(struct intervals services)
{
	return services.count == 1 && services.at[0].first == 0 && services.at[0].last == PORT_LAST;
}

/* More than half of the protocols, wholly: it is said as all but some. */
bool traffic_is_except(struct intervals traffic)
{
	u128 held = 0;
	for (size_t i = 0; i < traffic.count; i++)
		held += traffic.at[i].last - traffic.at[i].first + 1;
	return held > TRAFFIC(128, 0);
}

static const char *protocol_noun(unsigned protocol)
{
	static const struct {
		unsigned number;
		const char *word;
	} words[] = {{1, "icmp"}, {2, "igmp"}, {6, "tcp"}, {17, "udp"}, {47, "gre"}, {50, "esp"}, {51, "ah"}, {58, "icmpv6"},
		{89, "ospf"}, {112, "vrrp"}, {132, "sctp"}};
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (words[i].number == protocol)
			return words[i].word;
	return NULL;
}

/* Types by the names of the language; a type without one by its number. */
static void icmp_words(FILE *to, bool v6, struct intervals types)
{
	size_t names, total = 0, written = 0;
	const char *const *list = icmp_type_names(v6, &names);
	for (size_t i = 0; i < types.count; i++)
		total += (size_t)(types.at[i].last > 255 ? 255 : types.at[i].last) - (size_t)types.at[i].first + 1;
	if (total > 24) { /* ranges; they are rare */
		struct intervals cut = types;
		port_items(to, cut);
		return;
	}
	put(to, total > 1 ? "{ " : "");
	for (size_t i = 0; i < types.count && to; i++)
		for (u128 type = types.at[i].first; type <= types.at[i].last && type <= 255; type++) {
			const char *name = NULL;
			for (size_t k = 0; k < names && !name; k++)
				if (icmp_type_number(v6, list[k]) == (int)type)
					name = list[k];
			fputs(written++ ? ", " : "", to);
			if (name)
				fputs(name, to);
			else
				fprintf(to, "%u", (unsigned)type);
		}
	put(to, total > 1 ? " }" : "");
}

/* Protocols that no rule can name in this family: of the other family, and IPv6's extension headers. */
static bool nameless(enum family family, unsigned protocol)
{
	return protocol == (family == FAMILY_IPV4 ? PROTOCOL_ICMPV6 : PROTOCOL_ICMP) || protocol == 0 || protocol == 43 ||
	       protocol == 44 || protocol == 59 || protocol == 60;
}

static bool protocol_words(struct import *import, FILE *to, unsigned protocol, struct intervals services)
{
	const char *word = protocol_noun(protocol);
	bool ports = protocol == PROTOCOL_TCP || protocol == PROTOCOL_UDP || protocol == PROTOCOL_SCTP;
	bool types = protocol == PROTOCOL_ICMP || protocol == PROTOCOL_ICMPV6;
	if (!is_whole(services) && !ports && !types)
		return false;
	if (to && word)
		fputs(word, to);
	else if (to)
		fprintf(to, "protocol %u", protocol);
	if (is_whole(services))
		return true;
	put(to, "/");
	if (ports)
		port_words(import, to, services);
	else if (services.at[services.count - 1].last > 255 && services.count == 2 &&
		 services.at[0].first == 0) { /* all but one stretch */
		struct intervals others = set_except(import, (struct intervals){every_port, 1}, services);
		put(to, "any except ");
		icmp_words(to, protocol == PROTOCOL_ICMPV6, others);
	} else {
		struct interval cut[64];
		size_t count = services.count < 64 ? services.count : 64;
		for (size_t i = 0; i < count; i++)
			cut[i] = (struct interval){services.at[i].first, services.at[i].last > 255 ? 255 : services.at[i].last};
		icmp_words(to, protocol == PROTOCOL_ICMPV6, (struct intervals){cut, count});
	}
	return true;
}

/* `braces`: also around one item, for it may have an `except` of its own. */
static bool traffic_items(struct import *import, FILE *to, enum family family, struct intervals traffic, bool braces)
{
	size_t count = 0, written = 0;
	struct intervals services[256];
	for (unsigned protocol = 0; protocol < 256; protocol++) {
		services[protocol] = nameless(family, protocol) ? (struct intervals){0} : services_of(import, traffic, protocol);
		count += services[protocol].count > 0;
	}
	for (unsigned protocol = 0; protocol < 256 && braces && count == 1; protocol++)
		if (services[protocol].count)
			braces = !is_whole(services[protocol]) && services[protocol].count > 1;
	put(to, count > 1 || braces ? "{ " : "");
	for (unsigned protocol = 0; protocol < 256; protocol++)
		if (services[protocol].count) {
			put(to, written++ ? ", " : "");
			if (!protocol_words(import, to, protocol, services[protocol]))
				return false;
		}
	put(to, count > 1 || braces ? " }" : "");
	return count > 0;
}

bool traffic_words(struct import *import, FILE *to, enum family family, struct intervals traffic)
{
	struct intervals others = set_except(import, full_set[family][DIM_TRAFFIC], traffic);
	if (!traffic_is_except(traffic))
		return traffic_items(import, to, family, traffic, false);
	put(to, "any");
	if (!others.count || !traffic_items(import, NULL, family, others, true))
		return true;
	put(to, " except ");
	return traffic_items(import, to, family, others, true);
}

static bool interface_name(u128 number, char *name)
{
	bool ended = false;
	for (int i = 0; i < INTERFACE_NAME_MAX; i++) {
		name[i] = (char)(number >> (8 * (INTERFACE_NAME_MAX - 1 - i)));
		if ((ended && name[i]) || name[i] == '"' || name[i] == '*' || name[i] == '\\' || (unsigned char)name[i] == 0x7f ||
			(name[i] && (unsigned char)name[i] <= ' '))
			return false;
		ended |= !name[i];
	}
	name[INTERFACE_NAME_MAX] = 0;
	return name[0] != 0;
}

/* One name, or all that begin alike. */
static bool interface_item(FILE *to, struct interval item)
{
	char name[INTERFACE_NAME_MAX + 1], prefix[INTERFACE_NAME_MAX + 1];
	if (item.first == item.last) {
		if (!interface_name(item.first, name))
			return false;
		bool plain = isalpha((unsigned char)name[0]) || name[0] == '_';
		for (const char *at = name; *at; at++)
			plain &= isalnum((unsigned char)*at) || *at == '_' || *at == '-';
		if (to)
			fprintf(to, plain ? "%s" : "\"%s\"", name);
		return true;
	}
	if (!interface_name(item.first, prefix) || interface_prefix_last(prefix) != item.last)
		return false;
	if (to)
		fprintf(to, "\"%s*\"", prefix);
	return true;
}

static bool interface_items(FILE *to, struct intervals set)
{
	for (size_t i = 0; i < set.count; i++)
		if (!interface_item(NULL, set.at[i]))
			return false;
	put(to, set.count > 1 ? "{ " : "");
	for (size_t i = 0; i < set.count; i++) {
		put(to, i ? ", " : "");
		interface_item(to, set.at[i]);
	}
	put(to, set.count > 1 ? " }" : "");
	return set.count > 0;
}

/* The names that begin as all of the set do. */
static struct intervals common_prefix(struct import *import, struct intervals set)
{
	u128 first = set.at[0].first, last = set.at[set.count - 1].last;
	int bytes = 0;
	while (bytes < INTERFACE_NAME_MAX &&
		first >> (8 * (INTERFACE_NAME_MAX - 1 - bytes)) == last >> (8 * (INTERFACE_NAME_MAX - 1 - bytes)))
		bytes++;
	if (!bytes || bytes == INTERFACE_NAME_MAX)
		return (struct intervals){0};
	int rest = 8 * (INTERFACE_NAME_MAX - bytes);
	u128 base = first >> rest << rest;
	return set_single(import, base, base | (((u128)1 << rest) - 1));
}

bool interface_words(struct import *import, FILE *to, const char *words, struct intervals whole, struct intervals set)
{
	struct intervals others = set_except(import, whole, set), block;
	if (!others.count)
		return true;
	if (interface_items(NULL, set)) {
		put(to, words);
		return interface_items(to, set);
	}
	if (interface_items(NULL, others)) {
		put(to, words);
		put(to, "any except ");
		return interface_items(to, others);
	}
	block = common_prefix(import, set);
	if (!block.count || !interface_item(NULL, block.at[0]))
		return false;
	others = set_except(import, set_common(import, block, whole), set);
	if (others.count && !interface_items(NULL, others))
		return false;
	put(to, words);
	interface_item(to, block.at[0]);
	put(to, others.count ? " except " : "");
	return !others.count || interface_items(to, others);
}

#define NAMED_MAX 64

static bool numbers(FILE *to, const char *word, struct intervals set)
{
	u128 total = 0;
	size_t written = 0;
	for (size_t i = 0; i < set.count; i++)
		total += set.at[i].last - set.at[i].first + 1;
	if (total > NAMED_MAX)
		return false;
	put(to, word);
	put(to, total > 1 ? " { " : " ");
	for (size_t i = 0; i < set.count && to; i++)
		for (u128 one = set.at[i].first; one <= set.at[i].last; one++)
			fprintf(to, "%s%u", written++ ? ", " : "", (unsigned)one);
	put(to, total > 1 ? " }" : "");
	return true;
}

/* With those of no process: any except some. Without: some. */
bool subject_words(struct import *import, FILE *to, const struct area *area)
{
	struct intervals all = full_set[FAMILY_IPV4][DIM_USER], users = area->of[DIM_USER], groups = area->of[DIM_GROUP];
	struct intervals not_users = set_except(import, all, users), not_groups = set_except(import, all, groups);
	bool outsiders = intervals_contain(users, NO_PROCESS) && intervals_contain(groups, NO_PROCESS);
	if (!not_users.count && !not_groups.count)
		return true;
	if (!outsiders) {
		if (not_users.count && not_groups.count)
			return false;
		if (!numbers(NULL, "", not_users.count ? users : groups))
			return false;
		put(to, " by ");
		return not_users.count ? numbers(to, "user", users) : numbers(to, "group", groups);
	}
	if (!numbers(NULL, "", not_users) || !numbers(NULL, "", not_groups))
		return false;
	put(to, " by any except ");
	put(to, not_users.count && not_groups.count ? "{ " : "");
	if (not_users.count)
		numbers(to, "user", not_users);
	put(to, not_users.count && not_groups.count ? ", " : "");
	if (not_groups.count)
		numbers(to, "group", not_groups);
	put(to, not_users.count && not_groups.count ? " }" : "");
	return true;
}

void address_words(struct import *import, FILE *to, enum family family, struct interval range)
{
	int bits = family == FAMILY_IPV4 ? 32 : 128, length = bits;
	u128 size = range.last - range.first; /* one less */
	char *first = address_number_text(import->ctx, family, range.first),
	     *last = address_number_text(import->ctx, family, range.last);
	if (!first || !last) {
		import->error = -ENOMEM;
		return;
	}
	bool network = !(size & (size + 1)) && !(range.first & size);
	while (length && size >> (bits - length) != 0)
		length--;
	if (!size)
		fputs(first, to);
	else if (network)
		fprintf(to, "%s/%d", first, length);
	else
		fprintf(to, "%s-%s", first, last);
	talloc_free(first);
	talloc_free(last);
}

bool area_sayable(struct import *import, const struct zone_space *space, const struct area *area)
{
	struct area relative = *area;
	if (space->direction != DIRECTION_OUT)
		relative.of[DIM_USER] = relative.of[DIM_GROUP] = full_set[FAMILY_IPV4][DIM_USER];
	return traffic_words(import, NULL, space->family, area->of[DIM_TRAFFIC]) && subject_words(import, NULL, &relative) &&
	       interface_words(import, NULL, "", space->whole.of[DIM_ARRIVING], area->of[DIM_ARRIVING]) &&
	       interface_words(import, NULL, "", space->whole.of[DIM_LEAVING], area->of[DIM_LEAVING]);
}
