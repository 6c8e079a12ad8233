/*
 * Sets and their members on the way to the kernel.
 *
 * One message holds at most ELEMENTS_BYTES of members, far below the 64 KB where the length of a netlink attribute wraps around
 * and the kernel would silently see fewer.  An interval of one key is two elements, its first value and, marked as an end, the
 * first value behind it; where it reaches to the last value there is no end.  Several keys with ranges are one element with two
 * keys.
 */
#include "agent/kernel/kernel.h"
#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <libnftnl/set.h>
#include <libnftnl/udata.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <string.h>
#include <talloc.h>

#define ELEMENTS_BYTES (32 * 1024)
#define VALUES_MAX ((u128)1 << 24) /* a range in a set without intervals is written out */
#define METER_SIZE 65535
#define ROOM_SHARE 4     /* a large hash may grow by a quarter until it has to be made anew, a small one to twice its size */
#define ROOM_LEAST 65536 /* members */

static unsigned padded(enum key key)
{
	return (key_form(key)->length + 3u) & ~3u;
}

static uint32_t key_bytes(const struct set *set)
{
	uint32_t bytes = 0;
	if (set->key_count == 1)
		return key_form(set->keys[0])->length;
	for (unsigned i = 0; i < set->key_count; i++)
		bytes += padded(set->keys[i]);
	return bytes;
}

static uint32_t key_datatype(const struct set *set)
{
	uint32_t type = 0;
	for (unsigned i = 0; i < set->key_count; i++)
		type = type << 6 | key_form(set->keys[i])->datatype;
	return type;
}

/*
 * Room to grow for a hash whose size is fixed when it is made. None where the kernel chooses another structure:
 * intervals, and single keys of two bytes at most, which become a bitmap.
 */
static uint32_t set_size(const struct set *set)
{
	if (set->kind == SET_METER)
		return set->size ? set->size : METER_SIZE;
	if (set->interval || set->kind == SET_TIMED || (set->kind == SET_VALUES && key_bytes(set) <= 2))
		return 0;
	u128 members = members_count(set), more = members / ROOM_SHARE;
	if (more < ROOM_LEAST)
		more = members < ROOM_LEAST ? members : ROOM_LEAST;
	return members > (1 << 29) ? 0 : (uint32_t)(members + more) + 1024;
}

static uint32_t set_flags(const struct set *set)
{
	uint32_t flags = 0;
	if (set->interval)
		flags |= NFT_SET_INTERVAL;
	if (set->interval && set->key_count > 1)
		flags |= NFT_SET_CONCAT;
	switch (set->kind) {
	case SET_VALUES:
		return flags;
	case SET_MAP:
		return flags | NFT_SET_MAP;
	case SET_COUNTERS:
		return flags | NFT_SET_OBJECT;
	case SET_METER:
		return flags | NFT_SET_EVAL | NFT_SET_TIMEOUT;
	case SET_TIMED:
		return flags | NFT_SET_TIMEOUT;
	}
	return flags;
}

/*
 * How nft is to read the keys.  All ours are in network order; but of intervals nft knows itself that numbers of the
 * host's order are held so, and a name is text, which it calls host order.
 */
static uint32_t noted_order(const struct set *set)
{
	const struct key_form *form = key_form(set->keys[0]);
	if (set->key_count > 1)
		return NFT_ORDER_NONE;
	return form->datatype == DATATYPE_IFNAME || (form->host_order && set->interval) ? NFT_ORDER_HOST : NFT_ORDER_NETWORK;
}

/* What nft needs to list the set as numbers and names, and, of a type that nft passes over, our own names of the keys. */
static int add_userdata(struct nftnl_set *out, const struct set *set)
{
	uint8_t keys[KEYS_MAX];
	struct nftnl_udata_buf *data = nftnl_udata_buf_alloc(NFT_USERDATA_MAXLEN);
	if (!data)
		return -ENOMEM;
	for (unsigned i = 0; i < set->key_count; i++)
		keys[i] = (uint8_t)set->keys[i];
	nftnl_udata_put_u32(data, NFTNL_UDATA_SET_KEYBYTEORDER, noted_order(set));
	nftnl_udata_put(data, SET_USERDATA_KEYS, set->key_count, keys);
	nftnl_set_set_data(out, NFTNL_SET_USERDATA, nftnl_udata_buf_data(data), nftnl_udata_buf_len(data));
	nftnl_udata_buf_free(data);
	return 0;
}

static void describe_fields(struct nftnl_set *out, const struct set *set)
{
	uint8_t lengths[KEYS_MAX];
	for (unsigned i = 0; i < set->key_count; i++)
		lengths[i] = key_form(set->keys[i])->length;
	nftnl_set_set_data(out, NFTNL_SET_DESC_CONCAT, lengths, set->key_count);
}

static int check_keys(const struct set *set)
{
	if (!set->key_count || set->key_count > KEYS_MAX || strlen(set->name) > 255)
		return -EINVAL;
	for (unsigned i = 0; i < set->key_count; i++)
		if (!key_form(set->keys[i]))
			return -EINVAL;
	return key_bytes(set) > 64 ? -EINVAL : 0;
}

int encode_set(const char *table, const struct set *set, uint32_t id, struct nftnl_set **result)
{
	int status = check_keys(set);
	struct nftnl_set *out = status ? NULL : nftnl_set_alloc();
	if (!out)
		return status ? status : -ENOMEM;
	nftnl_set_set_u32(out, NFTNL_SET_FAMILY, NFPROTO_INET);
	nftnl_set_set_str(out, NFTNL_SET_TABLE, table);
	nftnl_set_set_str(out, NFTNL_SET_NAME, set->name);
	nftnl_set_set_u32(out, NFTNL_SET_ID, id);
	nftnl_set_set_u32(out, NFTNL_SET_FLAGS, set_flags(set));
	nftnl_set_set_u32(out, NFTNL_SET_KEY_TYPE, key_datatype(set));
	nftnl_set_set_u32(out, NFTNL_SET_KEY_LEN, key_bytes(set));
	if (set->kind == SET_MAP) {
		nftnl_set_set_u32(out, NFTNL_SET_DATA_TYPE, NFT_DATA_VERDICT);
		nftnl_set_set_u32(out, NFTNL_SET_DATA_LEN, 16);
	}
	if (set->kind == SET_COUNTERS)
		nftnl_set_set_u32(out, NFTNL_SET_OBJ_TYPE, NFT_OBJECT_COUNTER);
	if (set_flags(set) & NFT_SET_CONCAT)
		describe_fields(out, set);
	if (set_size(set))
		nftnl_set_set_u32(out, NFTNL_SET_DESC_SIZE, set_size(set));
	if (set_flags(set) & NFT_SET_TIMEOUT && set->timeout_ms)
		nftnl_set_set_u64(out, NFTNL_SET_TIMEOUT, set->timeout_ms);
	status = add_userdata(out, set);
	if (status)
		nftnl_set_free(out);
	else
		*result = out;
	return status;
}

/* The message under construction. */
struct writer {
	const char *table;
	const struct set *set;
	bool delete;
	message_starter start;
	message_ender end;
	void *data;
	struct nlmsghdr *message;
	struct nlattr *list;
};

static void close_message(struct writer *writer)
{
	if (!writer->message)
		return;
	mnl_attr_nest_end(writer->message, writer->list);
	writer->end(writer->data, writer->message);
	writer->message = NULL;
}

static int open_message(struct writer *writer)
{
	if (writer->message && writer->message->nlmsg_len > ELEMENTS_BYTES)
		close_message(writer);
	if (writer->message)
		return 0;
	int status = writer->start(writer->data, writer->delete ? NFT_MSG_DELSETELEM : NFT_MSG_NEWSETELEM,
		writer->delete ? 0 : NLM_F_CREATE, &writer->message);
	if (status)
		return status;
	mnl_attr_put_strz(writer->message, NFTA_SET_ELEM_LIST_TABLE, writer->table);
	mnl_attr_put_strz(writer->message, NFTA_SET_ELEM_LIST_SET, writer->set->name);
	writer->list = mnl_attr_nest_start(writer->message, NFTA_SET_ELEM_LIST_ELEMENTS);
	return 0;
}

static void put_value(struct nlmsghdr *message, uint16_t type, const uint8_t *bytes, size_t length)
{
	struct nlattr *nest = mnl_attr_nest_start(message, type);
	mnl_attr_put(message, NFTA_DATA_VALUE, length, bytes);
	mnl_attr_nest_end(message, nest);
}

static void put_verdict(struct nlmsghdr *message, enum nft_verdict verdict, const char *chain)
{
	struct nlattr *data = mnl_attr_nest_start(message, NFTA_SET_ELEM_DATA);
	struct nlattr *nest = mnl_attr_nest_start(message, NFTA_DATA_VERDICT);
	mnl_attr_put_u32(message, NFTA_VERDICT_CODE, htonl(verdict_code(verdict)));
	if (verdict_has_chain(verdict))
		mnl_attr_put_strz(message, NFTA_VERDICT_CHAIN, chain);
	mnl_attr_nest_end(message, nest);
	mnl_attr_nest_end(message, data);
}

struct raw_element {
	const uint8_t *key, *key_end; /* key_end: of several keys with ranges */
	bool interval_end;
	const struct element *data; /* of a map or of counters, not of an interval's end */
};

static int put_element(struct writer *writer, struct raw_element element)
{
	int status = open_message(writer);
	if (status)
		return status;
	struct nlmsghdr *message = writer->message;
	struct nlattr *nest = mnl_attr_nest_start(message, NFTA_LIST_ELEM);
	if (element.interval_end)
		mnl_attr_put_u32(message, NFTA_SET_ELEM_FLAGS, htonl(NFT_SET_ELEM_INTERVAL_END));
	put_value(message, NFTA_SET_ELEM_KEY, element.key, key_bytes(writer->set));
	if (element.key_end)
		put_value(message, NFTA_SET_ELEM_KEY_END, element.key_end, key_bytes(writer->set));
	if (element.data && !writer->delete && writer->set->kind == SET_MAP)
		put_verdict(message, element.data->verdict, element.data->object);
	else if (element.data && !writer->delete)
		mnl_attr_put_strz(message, NFTA_SET_ELEM_OBJREF, element.data->object);
	mnl_attr_nest_end(message, nest);
	return 0;
}

/* One key, with the interval flag: where it begins, and the first value behind it. */
static int put_interval(struct writer *writer, u128 first, u128 last, const struct element *data)
{
	uint8_t bytes[16];
	enum key key = writer->set->keys[0];
	key_store(key, first, true, bytes);
	int status = put_element(writer, (struct raw_element){.key = bytes, .data = data});
	if (status || last >= key_last(key))
		return status;
	key_store(key, last + 1, true, bytes);
	return put_element(writer, (struct raw_element){.key = bytes, .interval_end = true});
}

static int put_range(struct writer *writer, u128 first, u128 last, const struct element *data)
{
	uint8_t bytes[16];
	int status = first > last || last > key_last(writer->set->keys[0]) ? -EINVAL : 0;
	if (status || writer->set->interval)
		return status ? status : put_interval(writer, first, last, data);
	if (last - first >= VALUES_MAX)
		return -E2BIG;
	for (u128 value = first;; value++) { /* `last` may be the greatest number that there is */
		key_store(writer->set->keys[0], value, true, bytes);
		status = put_element(writer, (struct raw_element){.key = bytes, .data = data});
		if (status || value == last)
			return status;
	}
}

/* Of an interface name the byte behind the 15 is 0 in one name, and any in a range of names: that keeps a prefix one. */
static void store_last(enum key key, const struct element *element, unsigned field, uint8_t *bytes)
{
	key_store(key, element->last[field], true, bytes);
	if (key_form(key)->datatype == DATATYPE_IFNAME && element->first[field] != element->last[field])
		bytes[15] = 0xff;
}

static const struct element *data_of(const struct set *set, const struct element *element)
{
	return set->kind == SET_MAP || set->kind == SET_COUNTERS ? element : NULL;
}

static int put_concatenation(struct writer *writer, const struct element *element)
{
	uint8_t first[96] = {0}, last[96] = {0};
	unsigned offset = 0;
	const struct set *set = writer->set;
	for (unsigned i = 0; i < set->key_count; i++) {
		if (element->first[i] > element->last[i] || element->last[i] > key_last(set->keys[i]))
			return -EINVAL;
		if (!set->interval && element->first[i] != element->last[i])
			return -EINVAL;
		key_store(set->keys[i], element->first[i], true, first + offset);
		store_last(set->keys[i], element, i, last + offset);
		offset += padded(set->keys[i]);
	}
	return put_element(writer,
		(struct raw_element){
			.key = first, .key_end = set->interval ? last : NULL, .data = data_of(set, element)});
}

static int put_one(struct writer *writer, const struct element *element)
{
	const struct set *set = writer->set;
	bool names = set->kind == SET_COUNTERS || (set->kind == SET_MAP && verdict_has_chain(element->verdict));
	if (names && (!element->object || strlen(element->object) > 255))
		return -EINVAL;
	if (set->key_count > 1)
		return put_concatenation(writer, element);
	return put_range(writer, element->first[0], element->last[0], data_of(set, element));
}

static int put_narrow_first(struct writer *writer)
{
	const struct element **order = elements_narrow_first(NULL, writer->set);
	int status = order ? 0 : -ENOMEM;
	for (size_t i = 0; !status && i < writer->set->element_count; i++)
		status = put_one(writer, order[i]);
	talloc_free(order);
	return status;
}

int encode_elements(const char *table, const struct set *set, bool delete, message_starter start, message_ender end, void *data)
{
	struct writer writer = {table, set, delete, start, end, data, NULL, NULL};
	struct members_walk walk = members_walk(set);
	struct interval one;
	int status = check_keys(set);
	while (!status && members_next(&walk, &one))
		status = put_range(&writer, one.first, one.last, NULL);
	if (!status && set->element_count && set->interval && set->key_count > 1 && !delete)
		status = put_narrow_first(&writer);
	else
		for (size_t i = 0; !status && i < set->element_count; i++)
			status = put_one(&writer, &set->elements[i]);
	close_message(&writer);
	return status;
}
