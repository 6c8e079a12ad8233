/*
 * A set of packets in the words of the policy.
 *
 * Each clause is said in the shortest of a few ways: nothing, where it holds everything; a name, where one fits exactly; a list
 * of names and values; or `any except` what it does not hold. A clause of the policy is read back as the same set. One thing the
 * language has no clause for: a process that is of two kinds at once stands with two `by`.
 */
#include "dsl/analysis/words.h"
#include <errno.h>
#include <string.h>
#include <talloc.h>

#define USER_LAST 0xffffffffu
static const struct interval loop_v4[] = {{(u128)127 << 24, ((u128)128 << 24) - 1}}, loop_v6[] = {{1, 1}};
#define ONE(array) ((struct intervals){array, 1})

/* Processes. */

static const char *account_text(void *ctx, const struct vocabulary *vocabulary, bool user, u128 number)
{
	for (size_t i = 0; i < vocabulary->account_count; i++)
		if (vocabulary->accounts[i]->user == user && vocabulary->accounts[i]->number == number)
			return vocabulary->accounts[i]->name;
	return talloc_asprintf(ctx, "%u", (unsigned)number);
}

static char *subject_text(void *ctx, const struct vocabulary *vocabulary, enum field field, u128 number)
{
	if (field == FIELD_UNIT)
		return talloc_asprintf(ctx, "unit %s", vocabulary->joint->units[(size_t)number - UNIT_FIRST]);
	return talloc_asprintf(
		ctx, "%s %s", field == FIELD_USER ? "user" : "group", account_text(ctx, vocabulary, field == FIELD_USER, number));
}

static void list_subjects(struct list *list, const struct vocabulary *vocabulary, enum field field, struct intervals set)
{
	for (size_t i = 0; i < set.count; i++)
		for (u128 number = set.at[i].first; number <= set.at[i].last; number++)
			add_word(list, subject_text(list->ctx, vocabulary, field, number));
}

/* A set of few is listed, a set of all but few goes into the common `any except`. */
static int say_subjects(
	void *ctx, const struct vocabulary *vocabulary, enum field field, struct intervals set, struct list *except, char **text)
{
	struct interval whole = field == FIELD_UNIT ? (struct interval){UNIT_OTHER, USER_LAST} : (struct interval){0, USER_LAST};
	u128 size = 0;
	for (size_t i = 0; i < set.count; i++)
		size += set.at[i].last - set.at[i].first + 1;
	if (size > USER_LAST / 2) {
		struct intervals others;
		if (intervals_subtract(ctx, (struct intervals){&whole, 1}, set, &others))
			return -ENOMEM;
		list_subjects(except, vocabulary, field, others);
		return except->failed ? -ENOMEM : 0;
	}
	struct list list = {.ctx = ctx};
	list_subjects(&list, vocabulary, field, set);
	char *words = listed(&list, 0);
	*text = words ? talloc_asprintf_append_buffer(*text, " by %s", words) : NULL;
	return *text ? 0 : -ENOMEM;
}

static int add_process(void *ctx, const struct vocabulary *vocabulary, const struct packet_set *set, char **text)
{
	struct list except = {.ctx = ctx};
	if (set->direction != DIRECTION_OUT)
		return 0;
	int error = say_subjects(ctx, vocabulary, FIELD_USER, set->users, &except, text);
	error = error ? error : say_subjects(ctx, vocabulary, FIELD_GROUP, set->groups, &except, text);
	error = error ? error : say_subjects(ctx, vocabulary, FIELD_UNIT, set->units, &except, text);
	if (error || !except.count)
		return error;
	char *words = listed(&except, 0);
	*text = words ? talloc_asprintf_append_buffer(*text, " by any except %s", words) : NULL;
	return *text ? 0 : -ENOMEM;
}

/* With host names: the plain part without those that it is not, or each that it is without what the plain part lacks. */
static char *with_hosts(void *ctx, const struct vocabulary *vocabulary, const struct packet_set *set, bool source, char *plain)
{
	struct list members = {.ctx = ctx}, others = {.ctx = ctx};
	for (size_t i = 0; i < set->bit_count; i++)
		if ((set->bits[i].variable % 2 == 0) == source)
			add_word(set->bits[i].value ? &members : &others,
				talloc_asprintf(ctx, "\"%s\"", vocabulary->joint->hosts[set->bits[i].variable / 2]));
	if (members.failed || others.failed)
		return NULL;
	if (!members.count)
		return others.count
			       ? excepted(ctx,
					 plain ? talloc_asprintf(ctx, strstr(plain, " except ") ? "{ %s }" : "%s", plain) : "any",
					 &others, 0)
			       : plain;
	for (size_t i = 1; i < members.count; i++)
		add_word(&others, talloc_asprintf(ctx, "{ any except %s }", members.at[i]));
	if (plain)
		add_word(&others, talloc_asprintf(ctx, "{ any except { %s } }", plain));
	return others.count ? excepted(ctx, members.at[0], &others, 0) : talloc_strdup(ctx, members.at[0]);
}

/* The whole. */

static int whole_addresses(void *ctx, const struct packet_set *set, bool source, enum family family, struct intervals *out)
{
	*out = family_all[family];
	if (source || set->direction != DIRECTION_OUT || set->zone == ZONE_LOOPBACK)
		return 0;
	return intervals_subtract(ctx, *out, family == FAMILY_IPV4 ? ONE(loop_v4) : ONE(loop_v6), out);
}

static int address_side(void *ctx, const struct packet_set *set, bool source, struct address_side *out)
{
	int error = 0;
	*out = (struct address_side){.has = {set->has[0], set->has[1]}};
	for (int family = 0; family < FAMILIES && !error; family++) {
		out->set[family] = source ? set->from[family] : set->to[family];
		out->matters[family] = !set->has[family] && traffic_has(&set->traffic, (enum family)family);
		error = whole_addresses(ctx, set, source, (enum family)family, &out->whole[family]);
	}
	return error;
}

/* A family is kept out once: by `to` where that is a list of the other family anyway, else by `from`. */
static int both_addresses(
	void *ctx, const struct vocabulary *vocabulary, const struct packet_set *set, size_t most, char **from, char **to)
{
	struct address_side source, destination;
	int error = address_side(ctx, set, true, &source);
	error = error ? error : address_side(ctx, set, false, &destination);
	if (error)
		return error;
	bool to_named = false, from_named = false;
	for (int family = 0; family < FAMILIES; family++) {
		to_named |= set->has[family] && !intervals_equal(destination.set[family], destination.whole[family]);
		from_named |= set->has[family] && !intervals_equal(source.set[family], source.whole[family]);
	}
	struct address_side *free_side = from_named || !to_named ? &destination : &source;
	free_side->matters[0] = free_side->matters[1] = false;
	error = say_addresses(ctx, vocabulary, &source, most, from);
	return error ? error : say_addresses(ctx, vocabulary, &destination, most, to);
}

static char *add(char *text, const char *words, const char *value)
{
	return text && value ? talloc_asprintf_append_buffer(text, " %s %s", words, value) : text;
}

static int write_set(void *ctx, const struct vocabulary *vocabulary, const struct packet_set *set, size_t most, char **out)
{
	static const char *const directions[] = {"in", "out", "forward"};
	bool forward = set->direction == DIRECTION_FORWARD;
	char *traffic, *arriving, *leaving, *from = NULL, *to = NULL, *source_ports;
	int error = say_traffic(ctx, vocabulary, set, most, &traffic);
	error = error ? error : say_interfaces(ctx, vocabulary, set, true, &arriving);
	error = error ? error : say_interfaces(ctx, vocabulary, set, false, &leaving);
	error = error ? error : both_addresses(ctx, vocabulary, set, most, &from, &to);
	error = error ? error : say_numbers(ctx, vocabulary, set->source_ports, PROTOCOL_TCP, most, &source_ports);
	if (error)
		return error;
	if (set->bit_count) {
		from = with_hosts(ctx, vocabulary, set, true, from);
		to = with_hosts(ctx, vocabulary, set, false, to);
	}
	char *text = talloc_asprintf(ctx, "%s %s", directions[set->direction], traffic);
	text = add(text, forward ? "arriving on" : "on", arriving);
	text = add(text, forward ? "leaving on" : "on", leaving);
	text = add(text, "from", from);
	text = add(text, "source port", source_ports);
	text = add(text, "to", to);
	*out = text;
	return text ? add_process(ctx, vocabulary, set, out) : -ENOMEM;
}

char *set_words(void *ctx, const struct vocabulary *vocabulary, const struct packet_set *set, size_t most)
{
	void *scratch = talloc_new(ctx);
	char *text = NULL;
	int error = scratch ? write_set(scratch, vocabulary, set, most, &text) : -ENOMEM;
	text = error ? NULL : talloc_steal(ctx, text);
	talloc_free(scratch);
	return text;
}
