/*
 * Sets of a dump, and their members.
 *
 * The dump of a set is a list in any order, in which a member can stand twice while the kernel rebuilds its table; so all are
 * gathered, sorted, and only then made into intervals. A set that holds its keys in another way than ours is foreign, for a rule
 * of ours would look up the wrong bytes in it.
 */
#include "agent/kernel/kernel.h"
#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <libnftnl/set.h>
#include <libnftnl/udata.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <talloc.h>

struct notes {
	uint8_t keys[KEYS_MAX];
	unsigned count;
	uint32_t order;
};

static int read_note(const struct nftnl_udata *attribute, void *data)
{
	struct notes *notes = data;
	uint8_t length = nftnl_udata_len(attribute);
	if (nftnl_udata_type(attribute) == SET_USERDATA_KEYS && length <= KEYS_MAX) {
		memcpy(notes->keys, nftnl_udata_get(attribute), length);
		notes->count = length;
	}
	if (nftnl_udata_type(attribute) == NFTNL_UDATA_SET_KEYBYTEORDER && length == sizeof(uint32_t))
		notes->order = nftnl_udata_get_u32(attribute);
	return 0;
}

/* The first key is the most significant six bits. */
static bool keys_from_datatype(uint32_t type, struct set *out)
{
	uint32_t types[KEYS_MAX];
	unsigned count = 0;
	for (; type && count < KEYS_MAX; type >>= 6)
		types[count++] = type & 63;
	for (unsigned i = 0; i < count; i++) {
		const struct key_form *form = key_by_datatype(types[count - 1 - i]);
		if (!form)
			return false;
		out->keys[i] = form->key;
	}
	out->key_count = count;
	return count && !type;
}

/* Our own note tells a source from a destination; it counts where it agrees with the type. */
static void keys_from_notes(const struct notes *notes, struct set *out)
{
	if (notes->count != out->key_count)
		return;
	for (unsigned i = 0; i < notes->count; i++) {
		const struct key_form *form = key_form((enum key)notes->keys[i]);
		if (!form || form->datatype != key_form(out->keys[i])->datatype)
			return;
	}
	for (unsigned i = 0; i < notes->count; i++)
		out->keys[i] = (enum key)notes->keys[i];
}

static bool has_host_order(const struct set *set)
{
	for (unsigned i = 0; i < set->key_count; i++)
		if (key_form(set->keys[i])->host_order)
			return true;
	return false;
}

/* Are the keys held in network order, as ours are? */
static bool held_as_ours(const struct set *set, const struct notes *notes)
{
	return !has_host_order(set) || set->interval || notes->count ||
	       (set->key_count == 1 && notes->order == NFT_ORDER_NETWORK);
}

static bool read_kind(uint32_t flags, struct set *out)
{
	bool map = flags & NFT_SET_MAP, counters = flags & NFT_SET_OBJECT, meter = flags & NFT_SET_EVAL, timed = flags & NFT_SET_TIMEOUT;
	out->kind = map ? SET_MAP : counters ? SET_COUNTERS : meter ? SET_METER : timed ? SET_TIMED : SET_VALUES;
	if (flags & ~(uint32_t)(NFT_SET_INTERVAL | NFT_SET_MAP | NFT_SET_OBJECT | NFT_SET_TIMEOUT | NFT_SET_EVAL | NFT_SET_CONCAT))
		return false;
	if (map || counters)
		return !meter && !timed && !(map && counters);
	return !meter || timed;
}

static int count_expression(struct nftnl_expr *expression, void *data)
{
	(void)expression;
	++*(unsigned *)data;
	return 0;
}

int decode_set(void *ctx, const struct nftnl_set *from, struct set *out)
{
	struct notes notes = {0};
	uint32_t length = 0, flags = nftnl_set_get_u32(from, NFTNL_SET_FLAGS);
	unsigned expressions = 0;
	const void *data = nftnl_set_get_data(from, NFTNL_SET_USERDATA, &length);
	*out = (struct set){
		.name = talloc_strdup(ctx, nftnl_set_get_str(from, NFTNL_SET_NAME)), .interval = flags & NFT_SET_INTERVAL};
	if (!out->name)
		return -ENOMEM;
	if (data && nftnl_udata_parse(data, length, read_note, &notes) < 0)
		notes = (struct notes){0};
	bool understood = keys_from_datatype(nftnl_set_get_u32(from, NFTNL_SET_KEY_TYPE), out);
	understood = read_kind(flags, out) && understood;
	if (understood)
		keys_from_notes(&notes, out);
	understood = understood && held_as_ours(out, &notes);
	if (out->kind == SET_MAP && nftnl_set_get_u32(from, NFTNL_SET_DATA_TYPE) != NFT_DATA_VERDICT)
		understood = false;
	if (out->kind == SET_COUNTERS && nftnl_set_get_u32(from, NFTNL_SET_OBJ_TYPE) != NFT_OBJECT_COUNTER)
		understood = false;
	nftnl_set_expr_foreach(from, count_expression, &expressions);
	out->timeout_ms = nftnl_set_get_u64(from, NFTNL_SET_TIMEOUT);
	out->size = nftnl_set_get_u32(from, NFTNL_SET_DESC_SIZE);
	out->foreign = !understood || expressions;
	return 0;
}

/* The bytes of a key or of a chain, inside the nests of one element. */
struct raw {
	const uint8_t *key, *key_end;
	uint32_t key_length, end_length, flags, code;
	const char *chain, *counter;
	bool odd;
};

static const struct nlattr *inside(const struct nlattr *nest, uint16_t type)
{
	const struct nlattr *attribute;
	mnl_attr_for_each_nested(attribute, nest) if (mnl_attr_get_type(attribute) == type) return attribute;
	return NULL;
}

static const uint8_t *value_of(const struct nlattr *nest, uint32_t *length)
{
	const struct nlattr *value = inside(nest, NFTA_DATA_VALUE);
	*length = value ? mnl_attr_get_payload_len(value) : 0;
	return value ? mnl_attr_get_payload(value) : NULL;
}

static void read_data(const struct nlattr *nest, struct raw *raw)
{
	const struct nlattr *verdict = inside(nest, NFTA_DATA_VERDICT);
	const struct nlattr *code = verdict ? inside(verdict, NFTA_VERDICT_CODE) : NULL;
	const struct nlattr *chain = verdict ? inside(verdict, NFTA_VERDICT_CHAIN) : NULL;
	raw->odd |= !code;
	raw->code = code ? ntohl(mnl_attr_get_u32(code)) : 0;
	raw->chain = chain && mnl_attr_validate(chain, MNL_TYPE_NUL_STRING) >= 0 ? mnl_attr_get_str(chain) : NULL;
}

static void read_raw(const struct nlattr *nest, struct raw *raw)
{
	const struct nlattr *attribute;
	*raw = (struct raw){0};
	mnl_attr_for_each_nested(attribute, nest)
	{
		uint16_t type = mnl_attr_get_type(attribute);
		if (type == NFTA_SET_ELEM_KEY)
			raw->key = value_of(attribute, &raw->key_length);
		else if (type == NFTA_SET_ELEM_KEY_END)
			raw->key_end = value_of(attribute, &raw->end_length);
		else if (type == NFTA_SET_ELEM_FLAGS)
			raw->flags = ntohl(mnl_attr_get_u32(attribute));
		else if (type == NFTA_SET_ELEM_DATA)
			read_data(attribute, raw);
		else if (type == NFTA_SET_ELEM_OBJREF && mnl_attr_validate(attribute, MNL_TYPE_NUL_STRING) >= 0)
			raw->counter = mnl_attr_get_str(attribute);
		else if (type != NFTA_SET_ELEM_USERDATA && type != NFTA_SET_ELEM_PAD)
			raw->odd = true; /* a counter, a quota, a time of its own: never ours */
	}
	raw->odd |= !raw->key || raw->flags & ~(uint32_t)NFT_SET_ELEM_INTERVAL_END;
}

static unsigned field_bytes(const struct set *set, unsigned field)
{
	return set->key_count == 1 ? key_form(set->keys[0])->length : (key_form(set->keys[field])->length + 3u) & ~3u;
}

static uint32_t whole_length(const struct set *set)
{
	uint32_t length = 0;
	for (unsigned i = 0; i < set->key_count; i++)
		length += field_bytes(set, i);
	return length;
}

static int grow(void *ctx, const struct set *set, struct members *members)
{
	if (members->count < members->room)
		return 0;
	size_t room = members->room ? members->room * 2 : 64;
	if (set->key_count == 1) {
		struct point *more = talloc_realloc(ctx, members->points, struct point, room);
		members->points = more ? more : members->points;
		members->room = more ? room : members->room;
		return more ? 0 : -ENOMEM;
	}
	struct element *more = talloc_realloc(ctx, members->elements, struct element, room);
	members->elements = more ? more : members->elements;
	members->room = more ? room : members->room;
	return more ? 0 : -ENOMEM;
}

static void fill_element(const struct set *set, const struct raw *raw, struct element *element)
{
	const uint8_t *end = raw->key_end ? raw->key_end : raw->key;
	unsigned offset = 0;
	for (unsigned i = 0; i < set->key_count; i++) {
		element->first[i] = key_fetch(set->keys[i], raw->key + offset, true);
		element->last[i] = key_fetch(set->keys[i], end + offset, true);
		offset += field_bytes(set, i);
	}
}

/* What a member leads to: a verdict, or a counter.  1: nothing of ours. */
static int take_target(void *ctx, const struct set *set, const struct raw *raw, enum nft_verdict *verdict, const char **object)
{
	if (set->kind == SET_MAP)
		return decode_verdict(ctx, raw->code, raw->chain, verdict, object);
	if (set->kind != SET_COUNTERS)
		return raw->counter ? 1 : 0;
	*object = raw->counter ? talloc_strdup(ctx, raw->counter) : NULL;
	return *object ? 0 : raw->counter ? -ENOMEM : 1;
}

static int take_member(void *ctx, const struct set *set, const struct nlattr *nest, struct members *members)
{
	struct raw raw;
	enum nft_verdict verdict = NFT_VERDICT_ACCEPT;
	const char *object = NULL;
	read_raw(nest, &raw);
	bool end = raw.flags & NFT_SET_ELEM_INTERVAL_END;
	if (raw.odd || raw.key_length != whole_length(set) ||
		(raw.key_end && (raw.end_length != raw.key_length || set->key_count == 1))) {
		members->foreign = true;
		return 0;
	}
	int status = end ? 0 : take_target(ctx, set, &raw, &verdict, &object);
	members->foreign |= status > 0;
	if (status)
		return status < 0 ? status : 0;
	status = grow(ctx, set, members);
	if (status)
		return status;
	if (set->key_count == 1) {
		members->points[members->count++] = (struct point){key_fetch(set->keys[0], raw.key, true), object, verdict, end};
		return 0;
	}
	struct element *element = &members->elements[members->count++];
	*element = (struct element){.verdict = verdict, .object = object};
	fill_element(set, &raw, element);
	return 0;
}

int decode_members(void *ctx, const struct set *set, const struct nlmsghdr *message, struct members *members)
{
	const struct nlattr *attribute, *nest;
	int status = 0;
	mnl_attr_for_each(attribute, message, sizeof(struct nfgenmsg))
	{
		if (mnl_attr_get_type(attribute) != NFTA_SET_ELEM_LIST_ELEMENTS)
			continue;
		mnl_attr_for_each_nested(nest, attribute) if (!status) status = take_member(ctx, set, nest, members);
	}
	return status;
}

/* An end stands before a beginning at the same place. */
static int by_value(const void *left, const void *right)
{
	const struct point *a = left, *b = right;
	if (a->value != b->value)
		return a->value < b->value ? -1 : 1;
	return (int)b->end - (int)a->end;
}

static int by_fields(const void *left, const void *right)
{
	const struct element *a = left, *b = right;
	for (unsigned i = 0; i < KEYS_MAX; i++) {
		if (a->first[i] != b->first[i])
			return a->first[i] < b->first[i] ? -1 : 1;
		if (a->last[i] != b->last[i])
			return a->last[i] < b->last[i] ? -1 : 1;
	}
	return 0;
}

/* Closes the intervals in place: the last value goes where the beginnings stood.  Returns how many there are. */
static size_t pair_points(const struct set *set, struct point *points, size_t count, struct element *elements)
{
	size_t found = 0;
	bool open = false;
	for (size_t i = 0; i < count; i++) {
		const struct point *point = &points[i];
		if (!set->interval)
			open = false;
		else if (point->end || (open && elements[found - 1].first[0] != point->value)) {
			if (open)
				elements[found - 1].last[0] = point->value - 1;
			open = false;
		}
		if (point->end || open || (found && elements[found - 1].first[0] == point->value))
			continue;
		elements[found++] = (struct element){
			.first = {point->value}, .last = {point->value}, .verdict = point->verdict, .object = point->object};
		open = set->interval;
	}
	if (open)
		elements[found - 1].last[0] = key_last(set->keys[0]);
	return found;
}

/* The same for a set of plain values, without the weight of whole elements. */
static int points_into_values(void *ctx, const struct members *members, struct set *set)
{
	struct interval *list = talloc_array(ctx, struct interval, members->count + 1);
	size_t found = 0;
	bool open = false;
	if (!list)
		return -ENOMEM;
	for (size_t i = 0; i < members->count; i++) {
		const struct point *point = &members->points[i];
		if (open && (point->end || list[found - 1].first != point->value)) {
			list[found - 1].last = point->value - 1;
			open = false;
		}
		if (point->end || open)
			continue;
		list[found++] = (struct interval){point->value, point->value};
		open = set->interval;
	}
	if (open)
		list[found - 1].last = key_last(set->keys[0]);
	int status = intervals_from(ctx, list, found, &set->values);
	if (set->values.at != list)
		talloc_free(list);
	return status;
}

static int points_into_elements(void *ctx, const struct members *members, struct set *set)
{
	struct element *elements = talloc_array(ctx, struct element, members->count + 1);
	if (!elements)
		return -ENOMEM;
	set->element_count = pair_points(set, members->points, members->count, elements);
	set->elements = elements;
	return 0;
}

static void sort_elements(struct members *members, struct set *set)
{
	size_t found = 0;
	qsort(members->elements, members->count, sizeof(struct element), by_fields);
	for (size_t i = 0; i < members->count; i++)
		if (!i || by_fields(&members->elements[i], &members->elements[i - 1]))
			members->elements[found++] = members->elements[i];
	set->elements = members->elements;
	set->element_count = found;
}

int members_into_set(void *ctx, struct members *members, struct set *set)
{
	int status = 0;
	set->foreign |= members->foreign;
	if (!members->count)
		return 0;
	if (set->key_count > 1) {
		sort_elements(members, set);
		return 0;
	}
	qsort(members->points, members->count, sizeof(struct point), by_value);
	status = set->kind == SET_VALUES ? points_into_values(ctx, members, set) : points_into_elements(ctx, members, set);
	talloc_free(members->points);
	members->points = NULL;
	return status;
}
