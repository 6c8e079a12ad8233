/*
 * The output of `ipset save`: sets whose members iptables rules look up.
 *
 * A member has one part for each word behind the colon of its type (hash:ip,port). Addresses and networks of a set that holds
 * nothing else become one set of addresses.
 */
#include "dsl/import/foreign.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <talloc.h>

#define SLOTS 3

struct saving {
	struct import *import;
	const struct source *source;
	unsigned line;
	uint32_t begin;
};

static int mistake(const struct saving *saving, const char *text, const char *what)
{
	struct span span = {.source = saving->source, .begin = saving->begin, .end = saving->begin + (uint32_t)strlen(text)};
	report_error(saving->import->diagnostics, span, "%s", what);
	return 1;
}

/* "hash:ip,port": false when a part is something that a policy cannot name (mac, mark). */
static bool set_roles(struct import *import, struct foreign_set *set, const char *type)
{
	const char *at = strchr(type, ':');
	set->roles = talloc_zero_array(import->ctx, enum dimension, SLOTS);
	if (!set->roles) {
		import->error = -ENOMEM;
		return false;
	}
	size_t count = 0;
	while (at && count < SLOTS) {
		at++;
		size_t length = strcspn(at, ",");
		if (!strncmp(at, "ip", length) || !strncmp(at, "net", length))
			set->roles[count++] = DIM_SOURCE;
		else if (!strncmp(at, "port", length))
			set->roles[count++] = DIM_TRAFFIC;
		else if (!strncmp(at, "iface", length))
			set->roles[count++] = DIM_ARRIVING;
		else
			return false;
		at = strchr(at, ',');
	}
	set->role_count = count;
	set->simple = count == 1 && set->roles[0] == DIM_SOURCE;
	return count;
}

static void create(const struct saving *saving, char *rest)
{
	struct import *import = saving->import;
	char *name = strsep(&rest, " "), *type = rest ? strsep(&rest, " ") : NULL;
	struct foreign_set *set = talloc_zero(import->ctx, struct foreign_set);
	if (!set || !type) {
		import->error = set ? import->error : -ENOMEM;
		return;
	}
	*set = (struct foreign_set){.name = name,
		.source = saving->source,
		.line = saving->line,
		.families = 1u << FAMILY_IPV4,
		.next = import->sets};
	if (rest && strstr(rest, "family inet6"))
		set->families = 1u << FAMILY_IPV6;
	set->every_protocol = !strcmp(type, "bitmap:port");
	if (set->every_protocol)
		set->families = 3;
	if (!strcmp(type, "list:set")) {
		set->families = 3;
		set->dynamic = true; /* until its first member tells */
	} else if (!set_roles(import, set, type))
		set->role_count = 0;
	import->sets = set;
}

/* "tcp:80-90"; a set of ports alone speaks of TCP, UDP and SCTP. */
static bool read_service(struct import *import, const char *word, struct intervals *out)
{
	char copy[64];
	struct intervals ports;
	if (strlen(word) >= sizeof copy)
		return false;
	strcpy(copy, word);
	char *colon = strchr(copy, ':');
	int protocol = PROTOCOL_TCP;
	if (colon) {
		*colon++ = 0;
		protocol = protocol_number(copy);
	}
	if (protocol < 0 || !read_ports(import, colon ? colon : copy, '-', &ports))
		return false;
	*out = set_single(import, TRAFFIC(protocol, ports.at[0].first), TRAFFIC(protocol, ports.at[0].last));
	return protocol == PROTOCOL_TCP || protocol == PROTOCOL_UDP || protocol == PROTOCOL_SCTP;
}

static bool read_slot(struct import *import, enum dimension role, const char *word, enum family family, struct intervals *out)
{
	enum family its;
	if (role == DIM_SOURCE)
		return read_addresses(import, word, &its, out) && its == family;
	if (role == DIM_TRAFFIC)
		return read_service(import, word, out);
	u128 name = strlen(word) <= INTERFACE_NAME_MAX && *word ? interface_number(word) : 0;
	*out = set_single(import, name, name);
	return name != 0;
}

static void gather_member(
	struct import *import, struct foreign_set *set, enum family family, bool absent, struct intervals member)
{
	struct interval **list = &set->gathered[family][absent];
	size_t *count = &set->gathered_count[family][absent];
	if (!(*count & (*count - 1))) {
		struct interval *more = talloc_realloc(import->ctx, *list, struct interval, *count ? *count * 2 : 1);
		if (!more) {
			import->error = -ENOMEM;
			return;
		}
		*list = more;
	}
	for (size_t i = 0; i < member.count; i++)
		(*list)[(*count)++] = member.at[i];
}

/* The members of a simple set, as one set. A network within one that is taken out (`nomatch`) would count again: that is not
 * followed. */
static void settle(struct import *import, struct foreign_set *set, enum family family)
{
	struct intervals in = {0}, out = {0};
	struct area area = {0};
	for (size_t i = 0; i < set->gathered_count[family][0]; i++)
		for (size_t k = 0; k < set->gathered_count[family][1]; k++) {
			const struct interval *one = &set->gathered[family][0][i], *absent = &set->gathered[family][1][k];
			if (one->first >= absent->first && one->last <= absent->last)
				set->role_count = 0;
		}
	if (!set->gathered_count[family][0])
		return;
	if (intervals_from(import->ctx, set->gathered[family][0], set->gathered_count[family][0], &in) ||
		intervals_from(import->ctx, set->gathered[family][1], set->gathered_count[family][1], &out))
		import->error = -ENOMEM;
	area.of[0] = set_except(import, in, out);
	if (area.of[0].count)
		areas_add(import, &set->members[family], &area);
}

static bool add_parts(struct import *import, struct foreign_set *set, char *words, enum family family, bool absent)
{
	struct area area = {0};
	for (size_t slot = 0; slot < set->role_count; slot++) {
		char *word = words ? strsep(&words, ",") : NULL;
		if (!word || !read_slot(import, set->roles[slot], word, family, &area.of[slot]))
			return false;
	}
	if (set->simple)
		gather_member(import, set, family, absent, area.of[0]);
	else if (!absent)
		areas_add(import, &set->members[family], &area);
	if (set->every_protocol) { /* bitmap:port */
		unsigned port = (unsigned)(area.of[0].at[0].first % SERVICES),
			 last = (unsigned)(area.of[0].at[0].last % SERVICES);
		area.of[0] = set_single(import, TRAFFIC(PROTOCOL_UDP, port), TRAFFIC(PROTOCOL_UDP, last));
		areas_add(import, &set->members[family], &area);
		area.of[0] = set_single(import, TRAFFIC(PROTOCOL_SCTP, port), TRAFFIC(PROTOCOL_SCTP, last));
		areas_add(import, &set->members[family], &area);
	}
	return !absent || set->simple;
}

/* A list of sets of addresses is one larger set. */
static bool add_list(struct import *import, struct foreign_set *set, const char *name)
{
	struct foreign_set *other = foreign_set(import, NULL, name);
	if (!other || !other->simple)
		return false;
	if (set->dynamic) {
		set->dynamic = false;
		set->roles = other->roles;
		set->role_count = 1;
		set->simple = true;
	}
	for (int family = 0; family < FAMILIES; family++)
		for (int absent = 0; absent < 2; absent++)
			for (size_t i = 0; i < other->gathered_count[family][absent]; i++)
				gather_member(import, set, (enum family)family, absent,
					(struct intervals){&other->gathered[family][absent][i], 1});
	return set->role_count == 1;
}

static int add(const struct saving *saving, const char *text, char *rest)
{
	struct import *import = saving->import;
	char *name = strsep(&rest, " "), *member = rest ? strsep(&rest, " ") : NULL;
	struct foreign_set *set = name ? foreign_set(import, NULL, name) : NULL;
	if (!set || !member)
		return mistake(saving, text, "a member of a set that was not created before");
	bool list = set->dynamic || (!set->role_count && !strchr(member, '.') && !strchr(member, ':'));
	bool fine = true;
	if (list)
		fine = add_list(import, set, member);
	else
		for (int family = 0; family < FAMILIES && set->role_count; family++)
			if (set->families & (1u << family))
				fine &= add_parts(import, set, import_text(import, "%s", member), (enum family)family,
					rest && strstr(rest, "nomatch"));
	if (!fine)
		set->role_count = 0; /* the rules that use it say so */
	return import->error ? 1 : 0;
}

/* Less specific networks before those that are taken out of them: ipset prefers the longest prefix, whichever was added first. */
static int read_members(struct saving *saving, bool absent)
{
	const char *at = saving->source->text;
	saving->line = 0;
	while (*at && !saving->import->error) {
		size_t length = strcspn(at, "\n");
		saving->line++;
		saving->begin = (uint32_t)(at - saving->source->text);
		char *text = import_text(saving->import, "%.*s", (int)length, at);
		at += length + (at[length] == '\n');
		if (!text)
			break;
		bool adds = !strncmp(text, "add ", 4);
		char *rest = import_text(saving->import, "%s", text + (adds ? 4 : !strncmp(text, "create ", 7) ? 7 : 0));
		if (!absent && !strncmp(text, "create ", 7))
			create(saving, rest);
		else if (adds && absent == (strstr(text, " nomatch") != NULL) && add(saving, text, rest))
			return 1;
		else if (!adds && *text && *text != '#' && strncmp(text, "create ", 7))
			return mistake(saving, text, "this is no line of `ipset save`");
	}
	return 0;
}

int read_ipset(struct import *import, const struct source *source)
{
	struct saving saving = {.import = import, .source = source};
	if (read_members(&saving, false) || read_members(&saving, true))
		return 1;
	for (struct foreign_set *set = import->sets; set; set = set->next)
		for (int family = 0; family < FAMILIES && set->source == source; family++)
			settle(import, set, (enum family)family);
	return 0;
}
