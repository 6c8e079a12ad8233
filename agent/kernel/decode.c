/*
 * Rules of a dump as steps.
 *
 * The registers are followed symbolically: a load notes which key stands in a register, masks and byte swaps are noted
 * there, and a test becomes the step that says the same. So the numbering of the registers, the order of loads and the several
 * ways to write a range or a short prefix do not matter. Whatever is not exactly understood is STEP_FOREIGN, which equals
 * nothing.
 */
#include "agent/kernel/kernel.h"
#include <errno.h>
#include <libnftnl/expr.h>
#include <libnftnl/rule.h>
#include <libnftnl/udata.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <string.h>
#include <talloc.h>

#define SLOTS 16
#define STEPS_MAX 129 /* the kernel takes 128 expressions in a rule */

struct slot {
	bool used, network, fresh; /* fresh: no mask yet */
	enum key key;
	u128 mask;	 /* 0: all bits */
	unsigned length; /* bytes loaded: fewer than the key has where a prefix of it is looked at */
};

struct reader {
	void *ctx;
	struct slot slots[SLOTS];
	struct step steps[STEPS_MAX];
	size_t count;
	unsigned open_range; /* slot + 1 of a `>=` in the last step, to which a `<=` may come */
	int status;
};

static struct step *add_step(struct reader *reader, enum step_kind kind)
{
	struct step *step = &reader->steps[reader->count < STEPS_MAX - 1 ? reader->count++ : reader->count - 1];
	*step = (struct step){.kind = kind};
	reader->open_range = 0;
	return step;
}

static void foreign(struct reader *reader)
{
	add_step(reader, STEP_FOREIGN);
}

static const char *keep(struct reader *reader, const char *text)
{
	const char *copy = text ? talloc_strdup(reader->ctx, text) : NULL;
	if (text && !copy)
		reader->status = -ENOMEM;
	return copy;
}

/* SLOTS where it is none. */
static unsigned register_slot(uint32_t number)
{
	if (number >= NFT_REG_1 && number <= NFT_REG_4)
		return (number - NFT_REG_1) * 4;
	return number >= NFT_REG32_00 && number <= NFT_REG32_15 ? number - NFT_REG32_00 : SLOTS;
}

static struct slot *slot_at(struct reader *reader, uint32_t number)
{
	unsigned slot = register_slot(number);
	return slot < SLOTS && reader->slots[slot].used ? &reader->slots[slot] : NULL;
}

/* A load writes over whatever stood in the slots that it fills. */
static void load(struct reader *reader, uint32_t target, enum key key, unsigned length)
{
	unsigned slot = register_slot(target), slots = (length + 3) / 4;
	if (slot + slots > SLOTS) {
		foreign(reader);
		return;
	}
	memset(&reader->slots[slot], 0, slots * sizeof(struct slot));
	reader->slots[slot] = (struct slot){.used = true, .fresh = true, .key = key, .length = length};
}

static void forget(struct reader *reader, uint32_t target)
{
	unsigned slot = register_slot(target);
	for (unsigned i = slot; i < SLOTS && i < slot + 4; i++)
		reader->slots[i] = (struct slot){0};
	foreign(reader);
}

static void read_meta_or_ct(struct reader *reader, const struct nftnl_expr *expression, enum key_origin origin)
{
	bool meta = origin == ORIGIN_META;
	uint32_t what = nftnl_expr_get_u32(expression, meta ? NFTNL_EXPR_META_KEY : NFTNL_EXPR_CT_KEY);
	uint32_t target = nftnl_expr_get_u32(expression, meta ? NFTNL_EXPR_META_DREG : NFTNL_EXPR_CT_DREG);
	bool plain =
		meta ? !nftnl_expr_is_set(expression, NFTNL_EXPR_META_SREG)
		     : !nftnl_expr_is_set(expression, NFTNL_EXPR_CT_SREG) && !nftnl_expr_is_set(expression, NFTNL_EXPR_CT_DIR);
	const struct key_form *form;
	for (int key = 0; (form = key_form((enum key)key)); key++)
		if (plain && form->origin == origin && form->where == what) {
			load(reader, target, form->key, form->length);
			return;
		}
	forget(reader, target);
}

/*
 * The ICMP types, the source port and the like lie at the same place: what lies there is told by the rule's own test of the
 * protocol before, as nft does.
 */
static bool tested(const struct reader *reader, enum key key, u128 value)
{
	for (size_t i = reader->count; i-- > 0;)
		if (reader->steps[i].kind == STEP_COMPARE && reader->steps[i].keys[0] == key)
			return !reader->steps[i].negated && !reader->steps[i].mask && reader->steps[i].first == value;
	return false;
}

static bool plausible(const struct reader *reader, const struct key_form *form, uint32_t length)
{
	if (form->key == KEY_ICMPV6_TYPE)
		return tested(reader, KEY_L4PROTO, 58);
	if (length == form->length)
		return true;
	/* ip saddr 10.0.0.0/8 as nft writes it: the first byte alone */
	return length < form->length && form->where == NFT_PAYLOAD_NETWORK_HEADER &&
	       tested(reader, KEY_NFPROTO, form->length == 4 ? NFPROTO_IPV4 : NFPROTO_IPV6);
}

/* Where more than one key fits, the one whose length is loaded, and of these the one that the rule's tests speak for. */
static const struct key_form *payload_form(const struct reader *reader, uint32_t base, uint32_t offset, uint32_t length)
{
	const struct key_form *form, *best = NULL;
	for (int key = 0; (form = key_form((enum key)key)); key++) {
		if (form->origin != ORIGIN_PAYLOAD || form->where != base || form->offset != offset || length > form->length)
			continue;
		if (plausible(reader, form, length) && (!best || length == form->length))
			best = form;
	}
	return best;
}

static void read_payload(struct reader *reader, const struct nftnl_expr *expression)
{
	uint32_t base = nftnl_expr_get_u32(expression, NFTNL_EXPR_PAYLOAD_BASE);
	uint32_t offset = nftnl_expr_get_u32(expression, NFTNL_EXPR_PAYLOAD_OFFSET);
	uint32_t length = nftnl_expr_get_u32(expression, NFTNL_EXPR_PAYLOAD_LEN);
	uint32_t target = nftnl_expr_get_u32(expression, NFTNL_EXPR_PAYLOAD_DREG);
	const struct key_form *form = NULL;
	if (!nftnl_expr_is_set(expression, NFTNL_EXPR_PAYLOAD_SREG) && length)
		form = payload_form(reader, base, offset, length);
	if (form)
		load(reader, target, form->key, length);
	else
		forget(reader, target);
}

static bool all_zero(const uint8_t *bytes, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if (bytes[i])
			return false;
	return true;
}

static void read_bitwise(struct reader *reader, const struct nftnl_expr *expression)
{
	uint32_t mask_length = 0, xor_length = 0;
	uint32_t source = nftnl_expr_get_u32(expression, NFTNL_EXPR_BITWISE_SREG);
	uint32_t target = nftnl_expr_get_u32(expression, NFTNL_EXPR_BITWISE_DREG);
	const uint8_t *mask = nftnl_expr_get(expression, NFTNL_EXPR_BITWISE_MASK, &mask_length);
	const uint8_t *flip = nftnl_expr_get(expression, NFTNL_EXPR_BITWISE_XOR, &xor_length);
	const struct slot *from = slot_at(reader, source);
	bool plain = nftnl_expr_get_u32(expression, NFTNL_EXPR_BITWISE_OP) == NFT_BITWISE_BOOL && mask && flip &&
		     all_zero(flip, xor_length);
	if (!plain || !from || !from->fresh || from->length != mask_length || key_form(from->key)->length != mask_length) {
		forget(reader, target);
		return;
	}
	struct slot masked = *from;
	masked.mask = key_fetch(masked.key, mask, masked.network);
	masked.fresh = false;
	if (masked.mask == key_last(masked.key))
		masked.mask = 0;
	else if (!masked.mask) /* nothing is left: no key of ours */
		masked.used = false;
	load(reader, target, masked.key, masked.length);
	if (register_slot(target) < SLOTS)
		reader->slots[register_slot(target)] = masked;
}

static void read_byteorder(struct reader *reader, const struct nftnl_expr *expression)
{
	uint32_t source = nftnl_expr_get_u32(expression, NFTNL_EXPR_BYTEORDER_SREG);
	uint32_t target = nftnl_expr_get_u32(expression, NFTNL_EXPR_BYTEORDER_DREG);
	uint32_t size = nftnl_expr_get_u32(expression, NFTNL_EXPR_BYTEORDER_SIZE);
	struct slot *slot = slot_at(reader, source);
	if (!slot || source != target) {
		forget(reader, target);
		return;
	}
	const struct key_form *form = key_form(slot->key);
	if (form->length == 1) /* nft writes it in front of a protocol; it swaps nothing */
		return;
	if (form->host_order && size == form->length && nftnl_expr_get_u32(expression, NFTNL_EXPR_BYTEORDER_LEN) == form->length)
		slot->network = !slot->network;
	else
		forget(reader, target);
}

static struct step *add_test(struct reader *reader, enum step_kind kind, const struct slot *slot, bool negated)
{
	struct step *step = add_step(reader, kind);
	step->keys[0] = slot->key;
	step->key_count = 1;
	step->negated = negated;
	return step;
}

/* A load of the first bytes of an address compared whole: the same as the address under a mask. */
static void compare_short_load(struct reader *reader, const struct slot *slot, bool negated, const uint8_t *bytes)
{
	uint8_t whole[16] = {0}, mask[16] = {0};
	memcpy(whole, bytes, slot->length);
	memset(mask, 0xff, slot->length);
	struct step *step = add_test(reader, STEP_COMPARE, slot, negated);
	step->first = key_fetch(slot->key, whole, true);
	step->mask = key_fetch(slot->key, mask, true);
}

static void compare_equal(struct reader *reader, const struct slot *slot, bool negated, const uint8_t *bytes, uint32_t length)
{
	const struct key_form *form = key_form(slot->key);
	uint8_t whole[16] = {0};
	if (length > slot->length || (length < slot->length && (form->datatype != DATATYPE_IFNAME || slot->mask))) {
		foreign(reader);
		return;
	}
	if (slot->length < form->length) {
		compare_short_load(reader, slot, negated, bytes);
		return;
	}
	memcpy(whole, bytes, length);
	struct step *step = add_test(reader, length < form->length ? STEP_PREFIX : STEP_COMPARE, slot, negated);
	step->first = key_fetch(slot->key, whole, slot->network);
	step->mask = slot->mask;
	step->length = length < form->length ? length : 0;
}

/* < <= > >=: half a range; a `<=` behind a `>=` of the same register is its other half. */
static void compare_order(struct reader *reader, uint32_t number, const struct slot *slot, uint32_t op, u128 value)
{
	u128 first = 0, last = key_last(slot->key);
	bool strict = op == NFT_CMP_LT || op == NFT_CMP_GT, below = op == NFT_CMP_LT || op == NFT_CMP_LTE;
	if (strict && value == (below ? first : last)) {
		foreign(reader);
		return;
	}
	if (below)
		last = strict ? value - 1 : value;
	else
		first = strict ? value + 1 : value;
	struct step *before = reader->count ? &reader->steps[reader->count - 1] : NULL;
	if (below && before && reader->open_range == register_slot(number) + 1 && before->first <= last) {
		before->last = last;
		reader->open_range = 0;
		return;
	}
	struct step *step = add_test(reader, STEP_RANGE, slot, false);
	step->first = first;
	step->last = last;
	reader->open_range = below ? 0 : register_slot(number) + 1;
}

static bool ordered(const struct slot *slot, uint32_t length)
{
	const struct key_form *form = key_form(slot->key);
	return !slot->mask && slot->length == form->length && length == form->length && (!form->host_order || slot->network);
}

static void read_compare(struct reader *reader, const struct nftnl_expr *expression)
{
	uint32_t length = 0, number = nftnl_expr_get_u32(expression, NFTNL_EXPR_CMP_SREG),
		 op = nftnl_expr_get_u32(expression, NFTNL_EXPR_CMP_OP);
	const uint8_t *bytes = nftnl_expr_get(expression, NFTNL_EXPR_CMP_DATA, &length);
	const struct slot *slot = slot_at(reader, number);
	if (!slot || !bytes || !length || length > 16)
		foreign(reader);
	else if (op == NFT_CMP_EQ || op == NFT_CMP_NEQ)
		compare_equal(reader, slot, op == NFT_CMP_NEQ, bytes, length);
	else if (ordered(slot, length))
		compare_order(reader, number, slot, op, key_fetch(slot->key, bytes, true));
	else
		foreign(reader);
}

static void read_range(struct reader *reader, const struct nftnl_expr *expression)
{
	uint32_t first_length = 0, last_length = 0, op = nftnl_expr_get_u32(expression, NFTNL_EXPR_RANGE_OP);
	const uint8_t *first = nftnl_expr_get(expression, NFTNL_EXPR_RANGE_FROM_DATA, &first_length);
	const uint8_t *last = nftnl_expr_get(expression, NFTNL_EXPR_RANGE_TO_DATA, &last_length);
	const struct slot *slot = slot_at(reader, nftnl_expr_get_u32(expression, NFTNL_EXPR_RANGE_SREG));
	if (!slot || !first || !last || !ordered(slot, first_length) || last_length != first_length) {
		foreign(reader);
		return;
	}
	struct step *step = add_test(reader, STEP_RANGE, slot, op == NFT_RANGE_NEQ);
	step->first = key_fetch(slot->key, first, true);
	step->last = key_fetch(slot->key, last, true);
}

/*
 * The keys that stand side by side from a register on.  How many are meant is not said by the rule but by the set, so all that
 * were loaded for this look-up are taken: the slots are emptied after it.
 */
static bool gather(struct reader *reader, uint32_t number, struct step *step)
{
	unsigned slot = register_slot(number);
	while (slot < SLOTS && reader->slots[slot].used && step->key_count < KEYS_MAX) {
		struct slot *at = &reader->slots[slot];
		const struct key_form *form = key_form(at->key);
		if (at->length != form->length || at->network != form->host_order)
			return false;
		if (at->mask && step->kind == STEP_METER && step->key_count)
			return false;
		*(step->kind == STEP_METER ? &step->mask : &step->masks[step->key_count]) = at->mask;
		step->keys[step->key_count++] = at->key;
		slot += (form->length + 3) / 4;
		*at = (struct slot){0};
	}
	return step->key_count > 0;
}

static void read_lookup(struct reader *reader, const struct nftnl_expr *expression)
{
	bool map = nftnl_expr_is_set(expression, NFTNL_EXPR_LOOKUP_DREG);
	uint32_t flags = nftnl_expr_get_u32(expression, NFTNL_EXPR_LOOKUP_FLAGS);
	struct step *step = add_step(reader, map ? STEP_MAP : STEP_LOOKUP);
	step->negated = flags & NFT_LOOKUP_F_INV;
	step->object = keep(reader, nftnl_expr_get_str(expression, NFTNL_EXPR_LOOKUP_SET));
	bool understood = gather(reader, nftnl_expr_get_u32(expression, NFTNL_EXPR_LOOKUP_SREG), step);
	if (!understood || flags & ~(uint32_t)NFT_LOOKUP_F_INV ||
		(map && nftnl_expr_get_u32(expression, NFTNL_EXPR_LOOKUP_DREG) != NFT_REG_VERDICT))
		*step = (struct step){.kind = STEP_FOREIGN};
}

static bool read_limit(const struct nftnl_expr *expression, struct step *step)
{
	step->rate = nftnl_expr_get_u64(expression, NFTNL_EXPR_LIMIT_RATE);
	step->seconds = nftnl_expr_get_u64(expression, NFTNL_EXPR_LIMIT_UNIT);
	step->burst = nftnl_expr_get_u32(expression, NFTNL_EXPR_LIMIT_BURST);
	return nftnl_expr_get_u32(expression, NFTNL_EXPR_LIMIT_TYPE) == NFT_LIMIT_PKTS &&
	       !nftnl_expr_get_u32(expression, NFTNL_EXPR_LIMIT_FLAGS);
}

struct stateful {
	struct step *step;
	unsigned limits, others;
};

static int read_stateful(struct nftnl_expr *expression, void *data)
{
	struct stateful *stateful = data;
	if (!strcmp(nftnl_expr_get_str(expression, NFTNL_EXPR_NAME), "limit") && read_limit(expression, stateful->step))
		stateful->limits++;
	else
		stateful->others++;
	return 0;
}

static void read_dynset(struct reader *reader, const struct nftnl_expr *expression)
{
	struct step *step = add_step(reader, STEP_METER);
	struct stateful stateful = {.step = step};
	step->object = keep(reader, nftnl_expr_get_str(expression, NFTNL_EXPR_DYNSET_SET_NAME));
	nftnl_expr_expr_foreach(expression, read_stateful, &stateful);
	bool understood = gather(reader, nftnl_expr_get_u32(expression, NFTNL_EXPR_DYNSET_SREG_KEY), step);
	understood = understood && stateful.limits == 1 && !stateful.others &&
		     !nftnl_expr_is_set(expression, NFTNL_EXPR_DYNSET_SREG_DATA);
	understood = understood && nftnl_expr_get_u32(expression, NFTNL_EXPR_DYNSET_OP) == NFT_DYNSET_OP_UPDATE;
	understood = understood && !(nftnl_expr_get_u32(expression, NFTNL_EXPR_DYNSET_FLAGS) & NFT_DYNSET_F_INV);
	if (!understood || nftnl_expr_get_u64(expression, NFTNL_EXPR_DYNSET_TIMEOUT))
		*step = (struct step){.kind = STEP_FOREIGN};
}

static void read_count(struct reader *reader, const struct nftnl_expr *expression)
{
	struct step *step = add_step(reader, STEP_COUNT);
	step->object = keep(reader, nftnl_expr_get_str(expression, NFTNL_EXPR_OBJREF_SET_NAME));
	if (!gather(reader, nftnl_expr_get_u32(expression, NFTNL_EXPR_OBJREF_SET_SREG), step))
		*step = (struct step){.kind = STEP_FOREIGN};
}

static void read_objref(struct reader *reader, const struct nftnl_expr *expression)
{
	if (nftnl_expr_is_set(expression, NFTNL_EXPR_OBJREF_SET_NAME)) {
		read_count(reader, expression);
		return;
	}
	if (!nftnl_expr_is_set(expression, NFTNL_EXPR_OBJREF_IMM_NAME) ||
		nftnl_expr_get_u32(expression, NFTNL_EXPR_OBJREF_IMM_TYPE) != NFT_OBJECT_COUNTER) {
		foreign(reader);
		return;
	}
	struct step *step = add_step(reader, STEP_COUNTER);
	step->object = keep(reader, nftnl_expr_get_str(expression, NFTNL_EXPR_OBJREF_IMM_NAME));
}

static void read_log(struct reader *reader, const struct nftnl_expr *expression)
{
	if (!nftnl_expr_is_set(expression, NFTNL_EXPR_LOG_GROUP) || nftnl_expr_is_set(expression, NFTNL_EXPR_LOG_LEVEL) ||
		nftnl_expr_get_u32(expression, NFTNL_EXPR_LOG_FLAGS) || nftnl_expr_get_u32(expression, NFTNL_EXPR_LOG_SNAPLEN) ||
		nftnl_expr_get_u16(expression, NFTNL_EXPR_LOG_QTHRESHOLD)) {
		foreign(reader);
		return;
	}
	const char *prefix = nftnl_expr_get_str(expression, NFTNL_EXPR_LOG_PREFIX);
	struct step *step = add_step(reader, STEP_LOG);
	step->group = nftnl_expr_get_u16(expression, NFTNL_EXPR_LOG_GROUP);
	step->prefix = prefix && *prefix ? keep(reader, prefix) : NULL;
}

static void read_reject(struct reader *reader, const struct nftnl_expr *expression)
{
	uint32_t type = nftnl_expr_get_u32(expression, NFTNL_EXPR_REJECT_TYPE);
	uint8_t code = nftnl_expr_get_u8(expression, NFTNL_EXPR_REJECT_CODE);
	if (type == NFT_REJECT_TCP_RST)
		add_step(reader, STEP_REJECT)->tcp_reset = true;
	else if (type == NFT_REJECT_ICMPX_UNREACH && code == NFT_REJECT_ICMPX_ADMIN_PROHIBITED)
		add_step(reader, STEP_REJECT);
	else
		foreign(reader);
}

int decode_verdict(void *ctx, uint32_t code, const char *chain, enum nft_verdict *verdict, const char **out)
{
	static const enum nft_verdict all[] = {
		NFT_VERDICT_ACCEPT, NFT_VERDICT_DROP, NFT_VERDICT_RETURN, NFT_VERDICT_JUMP, NFT_VERDICT_GOTO};
	*out = NULL;
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
		if (verdict_code(all[i]) != code)
			continue;
		*verdict = all[i];
		if (!verdict_has_chain(all[i]))
			return 0;
		*out = chain ? talloc_strdup(ctx, chain) : NULL;
		return *out ? 0 : chain ? -ENOMEM : 1;
	}
	return 1;
}

static void read_immediate(struct reader *reader, const struct nftnl_expr *expression)
{
	enum nft_verdict verdict;
	const char *chain = NULL;
	int status = 1;
	if (nftnl_expr_get_u32(expression, NFTNL_EXPR_IMM_DREG) == NFT_REG_VERDICT)
		status = decode_verdict(reader->ctx, nftnl_expr_get_u32(expression, NFTNL_EXPR_IMM_VERDICT),
			nftnl_expr_is_set(expression, NFTNL_EXPR_IMM_CHAIN) ? nftnl_expr_get_str(expression, NFTNL_EXPR_IMM_CHAIN)
									    : NULL,
			&verdict, &chain);
	if (status < 0)
		reader->status = status;
	if (status) {
		forget(reader, nftnl_expr_get_u32(expression, NFTNL_EXPR_IMM_DREG));
		return;
	}
	struct step *step = add_step(reader, STEP_VERDICT);
	step->verdict = verdict;
	step->object = chain;
}

static void read_meta(struct reader *reader, const struct nftnl_expr *expression)
{
	read_meta_or_ct(reader, expression, ORIGIN_META);
}

static void read_ct(struct reader *reader, const struct nftnl_expr *expression)
{
	read_meta_or_ct(reader, expression, ORIGIN_CT);
}

static void read_plain_limit(struct reader *reader, const struct nftnl_expr *expression)
{
	struct step *step = add_step(reader, STEP_LIMIT);
	if (!read_limit(expression, step))
		*step = (struct step){.kind = STEP_FOREIGN};
}

static const struct {
	const char *name;
	void (*read)(struct reader *reader, const struct nftnl_expr *expression);
} readers[] = {
	{"meta", read_meta},
	{"ct", read_ct},
	{"payload", read_payload},
	{"bitwise", read_bitwise},
	{"byteorder", read_byteorder},
	{"cmp", read_compare},
	{"range", read_range},
	{"lookup", read_lookup},
	{"dynset", read_dynset},
	{"objref", read_objref},
	{"limit", read_plain_limit},
	{"log", read_log},
	{"reject", read_reject},
	{"immediate", read_immediate},
};

static int read_expression(struct nftnl_expr *expression, void *data)
{
	struct reader *reader = data;
	const char *name = nftnl_expr_get_str(expression, NFTNL_EXPR_NAME);
	for (size_t i = 0; i < sizeof(readers) / sizeof(*readers); i++)
		if (!strcmp(readers[i].name, name)) {
			readers[i].read(reader, expression);
			return reader->status;
		}
	foreign(reader);
	return 0;
}

static int find_comment(const struct nftnl_udata *attribute, void *data)
{
	const char **comment = data;
	const char *text = nftnl_udata_get(attribute);
	uint8_t length = nftnl_udata_len(attribute);
	if (nftnl_udata_type(attribute) == NFTNL_UDATA_RULE_COMMENT && length && !text[length - 1])
		*comment = text;
	return 0;
}

static int read_comment(void *ctx, const struct nftnl_rule *from, struct nft_rule *out)
{
	uint32_t length = 0;
	const char *comment = NULL;
	const void *data = nftnl_rule_get_data(from, NFTNL_RULE_USERDATA, &length);
	if (!data || nftnl_udata_parse(data, length, find_comment, &comment) < 0 || !comment)
		return 0;
	out->comment = talloc_strdup(ctx, comment);
	return out->comment ? 0 : -ENOMEM;
}

int decode_rule(void *ctx, const struct nftnl_rule *from, struct nft_rule *out)
{
	struct reader *reader = talloc_zero(NULL, struct reader);
	if (!reader)
		return -ENOMEM;
	reader->ctx = ctx;
	*out = (struct nft_rule){.handle = nftnl_rule_get_u64(from, NFTNL_RULE_HANDLE)};
	nftnl_expr_foreach((struct nftnl_rule *)from, read_expression, reader);
	int status = reader->status ? reader->status : read_comment(ctx, from, out);
	if (!status && reader->count) {
		out->steps = talloc_memdup(ctx, reader->steps, reader->count * sizeof(struct step));
		out->count = reader->count;
		status = out->steps ? 0 : -ENOMEM;
	}
	talloc_free(reader);
	return status;
}
