/*
 * Rules and sets as libnftnl objects, in the forms that nft itself makes of the same words.
 *
 * A step that looks at packets loads its keys into registers from the first on, then tests them; nothing stays in a register
 * from one step to the next.
 */
#include "agent/kernel/kernel.h"
#include <errno.h>
#include <libnftnl/expr.h>
#include <libnftnl/object.h>
#include <libnftnl/rule.h>
#include <libnftnl/set.h>
#include <libnftnl/udata.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <string.h>
#include <sys/socket.h>

#define COMMENT_MAX 128
#define LOG_PREFIX_MAX 127
#define NAME_MAX_BYTES 255

static struct nftnl_expr *add_expression(struct nftnl_rule *rule, const char *name)
{
	struct nftnl_expr *expression = nftnl_expr_alloc(name);
	if (expression)
		nftnl_rule_add_expr(rule, expression);
	return expression;
}

/* Four bytes a slot, the first the same place as the kernel's register 1, which is how nft calls it. */
static uint32_t slot_register(unsigned slot)
{
	return slot % 4 ? NFT_REG32_00 + slot : NFT_REG_1 + slot / 4;
}

static int load_payload(struct nftnl_rule *rule, const struct key_form *form, uint32_t target)
{
	struct nftnl_expr *expression = add_expression(rule, "payload");
	if (!expression)
		return -ENOMEM;
	nftnl_expr_set_u32(expression, NFTNL_EXPR_PAYLOAD_DREG, target);
	nftnl_expr_set_u32(expression, NFTNL_EXPR_PAYLOAD_BASE, form->where);
	nftnl_expr_set_u32(expression, NFTNL_EXPR_PAYLOAD_OFFSET, form->offset);
	nftnl_expr_set_u32(expression, NFTNL_EXPR_PAYLOAD_LEN, form->length);
	return 0;
}

static int load_meta_or_ct(struct nftnl_rule *rule, const struct key_form *form, uint32_t target)
{
	bool meta = form->origin == ORIGIN_META;
	struct nftnl_expr *expression = add_expression(rule, meta ? "meta" : "ct");
	if (!expression)
		return -ENOMEM;
	nftnl_expr_set_u32(expression, meta ? NFTNL_EXPR_META_KEY : NFTNL_EXPR_CT_KEY, form->where);
	nftnl_expr_set_u32(expression, meta ? NFTNL_EXPR_META_DREG : NFTNL_EXPR_CT_DREG, target);
	return 0;
}

static int to_network_order(struct nftnl_rule *rule, const struct key_form *form, uint32_t target)
{
	struct nftnl_expr *expression = add_expression(rule, "byteorder");
	if (!expression)
		return -ENOMEM;
	nftnl_expr_set_u32(expression, NFTNL_EXPR_BYTEORDER_SREG, target);
	nftnl_expr_set_u32(expression, NFTNL_EXPR_BYTEORDER_DREG, target);
	nftnl_expr_set_u32(expression, NFTNL_EXPR_BYTEORDER_OP, NFT_BYTEORDER_HTON);
	nftnl_expr_set_u32(expression, NFTNL_EXPR_BYTEORDER_LEN, form->length);
	nftnl_expr_set_u32(expression, NFTNL_EXPR_BYTEORDER_SIZE, form->length);
	return 0;
}

static int load_key(struct nftnl_rule *rule, enum key key, unsigned slot, bool network)
{
	const struct key_form *form = key_form(key);
	if (!form)
		return -EINVAL;
	uint32_t target = slot_register(slot);
	int status = form->origin == ORIGIN_PAYLOAD ? load_payload(rule, form, target) : load_meta_or_ct(rule, form, target);
	return !status && network && form->host_order ? to_network_order(rule, form, target) : status;
}

/* What is in the slot under a mask; 0 means all bits. */
static int apply_mask(struct nftnl_rule *rule, enum key key, unsigned slot, u128 mask, bool network)
{
	uint8_t bytes[16], none[16] = {0};
	uint32_t length = key_form(key)->length;
	if (!mask || mask == key_last(key))
		return 0;
	struct nftnl_expr *expression = add_expression(rule, "bitwise");
	if (!expression)
		return -ENOMEM;
	key_store(key, mask, network, bytes);
	nftnl_expr_set_u32(expression, NFTNL_EXPR_BITWISE_SREG, slot_register(slot));
	nftnl_expr_set_u32(expression, NFTNL_EXPR_BITWISE_DREG, slot_register(slot));
	nftnl_expr_set_u32(expression, NFTNL_EXPR_BITWISE_OP, NFT_BITWISE_BOOL);
	nftnl_expr_set_u32(expression, NFTNL_EXPR_BITWISE_LEN, length);
	nftnl_expr_set_data(expression, NFTNL_EXPR_BITWISE_MASK, bytes, length);
	nftnl_expr_set_data(expression, NFTNL_EXPR_BITWISE_XOR, none, length);
	return 0;
}

/* The keys side by side, each padded to whole slots. */
static int load_keys(struct nftnl_rule *rule, const struct step *step, bool network)
{
	unsigned slot = 0;
	if (!step->key_count || step->key_count > KEYS_MAX)
		return -EINVAL;
	for (unsigned i = 0; i < step->key_count; i++) {
		int status = load_key(rule, step->keys[i], slot, network);
		status = status ? status : apply_mask(rule, step->keys[i], slot, step->masks[i], network);
		if (status)
			return status;
		slot += (key_form(step->keys[i])->length + 3) / 4;
	}
	return slot > 16 ? -EINVAL : 0;
}

static int add_compare(struct nftnl_rule *rule, bool negated, const uint8_t *bytes, uint32_t length)
{
	struct nftnl_expr *expression = add_expression(rule, "cmp");
	if (!expression)
		return -ENOMEM;
	nftnl_expr_set_u32(expression, NFTNL_EXPR_CMP_SREG, NFT_REG_1);
	nftnl_expr_set_u32(expression, NFTNL_EXPR_CMP_OP, negated ? NFT_CMP_NEQ : NFT_CMP_EQ);
	nftnl_expr_set_data(expression, NFTNL_EXPR_CMP_DATA, bytes, length);
	return 0;
}

static int encode_compare(struct nftnl_rule *rule, const struct step *step)
{
	uint8_t bytes[16];
	int status = load_keys(rule, step, false);
	if (!status)
		status = apply_mask(rule, step->keys[0], 0, step->mask, false);
	if (status)
		return status;
	key_store(step->keys[0], step->first, false, bytes);
	return add_compare(rule, step->negated, bytes, key_form(step->keys[0])->length);
}

static int encode_prefix(struct nftnl_rule *rule, const struct step *step)
{
	uint8_t bytes[16];
	int status = load_keys(rule, step, false);
	if (status)
		return status;
	if (!step->length || step->length > INTERFACE_NAME_MAX || key_form(step->keys[0])->length != sizeof(bytes))
		return -EINVAL;
	key_store(step->keys[0], step->first, false, bytes);
	return add_compare(rule, step->negated, bytes, step->length);
}

static int encode_range(struct nftnl_rule *rule, const struct step *step)
{
	uint8_t first[16], last[16];
	enum key key = step->keys[0];
	int status = load_keys(rule, step, true);
	if (status)
		return status;
	struct nftnl_expr *expression = add_expression(rule, "range");
	if (!expression)
		return -ENOMEM;
	key_store(key, step->first, true, first);
	key_store(key, step->last, true, last);
	nftnl_expr_set_u32(expression, NFTNL_EXPR_RANGE_SREG, NFT_REG_1);
	nftnl_expr_set_u32(expression, NFTNL_EXPR_RANGE_OP, step->negated ? NFT_RANGE_NEQ : NFT_RANGE_EQ);
	nftnl_expr_set_data(expression, NFTNL_EXPR_RANGE_FROM_DATA, first, key_form(key)->length);
	nftnl_expr_set_data(expression, NFTNL_EXPR_RANGE_TO_DATA, last, key_form(key)->length);
	return 0;
}

static int encode_lookup(struct nftnl_rule *rule, const struct step *step)
{
	int status = load_keys(rule, step, true);
	if (status)
		return status;
	struct nftnl_expr *expression = add_expression(rule, "lookup");
	if (!expression)
		return -ENOMEM;
	nftnl_expr_set_u32(expression, NFTNL_EXPR_LOOKUP_SREG, NFT_REG_1);
	nftnl_expr_set_str(expression, NFTNL_EXPR_LOOKUP_SET, step->object);
	if (step->kind == STEP_MAP)
		nftnl_expr_set_u32(expression, NFTNL_EXPR_LOOKUP_DREG, NFT_REG_VERDICT);
	else if (step->negated)
		nftnl_expr_set_u32(expression, NFTNL_EXPR_LOOKUP_FLAGS, NFT_LOOKUP_F_INV);
	return 0;
}

static int encode_count(struct nftnl_rule *rule, const struct step *step)
{
	int status = load_keys(rule, step, true);
	if (status)
		return status;
	struct nftnl_expr *expression = add_expression(rule, "objref");
	if (!expression)
		return -ENOMEM;
	nftnl_expr_set_u32(expression, NFTNL_EXPR_OBJREF_SET_SREG, NFT_REG_1);
	nftnl_expr_set_str(expression, NFTNL_EXPR_OBJREF_SET_NAME, step->object);
	return 0;
}

static void fill_limit(struct nftnl_expr *expression, const struct step *step)
{
	nftnl_expr_set_u64(expression, NFTNL_EXPR_LIMIT_RATE, step->rate);
	nftnl_expr_set_u64(expression, NFTNL_EXPR_LIMIT_UNIT, step->seconds);
	nftnl_expr_set_u32(expression, NFTNL_EXPR_LIMIT_BURST, (uint32_t)step->burst);
	nftnl_expr_set_u32(expression, NFTNL_EXPR_LIMIT_TYPE, NFT_LIMIT_PKTS);
	nftnl_expr_set_u32(expression, NFTNL_EXPR_LIMIT_FLAGS, 0);
}

static bool limit_fits(const struct step *step)
{
	return step->rate && step->seconds && step->burst && step->burst <= UINT32_MAX;
}

static int encode_limit(struct nftnl_rule *rule, const struct step *step)
{
	struct nftnl_expr *expression = limit_fits(step) ? add_expression(rule, "limit") : NULL;
	if (!expression)
		return limit_fits(step) ? -ENOMEM : -EINVAL;
	fill_limit(expression, step);
	return 0;
}

static int encode_meter(struct nftnl_rule *rule, const struct step *step)
{
	int status = limit_fits(step) ? load_keys(rule, step, true) : -EINVAL;
	if (!status)
		status = apply_mask(rule, step->keys[0], 0, step->mask, true);
	if (status)
		return status;
	struct nftnl_expr *update = add_expression(rule, "dynset");
	struct nftnl_expr *limit = update ? nftnl_expr_alloc("limit") : NULL;
	if (!limit)
		return -ENOMEM;
	fill_limit(limit, step);
	nftnl_expr_set_u32(update, NFTNL_EXPR_DYNSET_OP, NFT_DYNSET_OP_UPDATE);
	nftnl_expr_set_u32(update, NFTNL_EXPR_DYNSET_SREG_KEY, NFT_REG_1);
	nftnl_expr_set_str(update, NFTNL_EXPR_DYNSET_SET_NAME, step->object);
	nftnl_expr_add_expr(update, NFTNL_EXPR_DYNSET_EXPR, limit);
	return 0;
}

static int encode_counter(struct nftnl_rule *rule, const struct step *step)
{
	struct nftnl_expr *expression = add_expression(rule, "objref");
	if (!expression)
		return -ENOMEM;
	nftnl_expr_set_u32(expression, NFTNL_EXPR_OBJREF_IMM_TYPE, NFT_OBJECT_COUNTER);
	nftnl_expr_set_str(expression, NFTNL_EXPR_OBJREF_IMM_NAME, step->object);
	return 0;
}

static int encode_log(struct nftnl_rule *rule, const struct step *step)
{
	if (step->prefix && strlen(step->prefix) > LOG_PREFIX_MAX)
		return -ENAMETOOLONG;
	struct nftnl_expr *expression = add_expression(rule, "log");
	if (!expression)
		return -ENOMEM;
	nftnl_expr_set_u16(expression, NFTNL_EXPR_LOG_GROUP, step->group);
	if (step->prefix && *step->prefix)
		nftnl_expr_set_str(expression, NFTNL_EXPR_LOG_PREFIX, step->prefix);
	return 0;
}

static int encode_reject(struct nftnl_rule *rule, const struct step *step)
{
	struct nftnl_expr *expression = add_expression(rule, "reject");
	if (!expression)
		return -ENOMEM;
	nftnl_expr_set_u32(expression, NFTNL_EXPR_REJECT_TYPE, step->tcp_reset ? NFT_REJECT_TCP_RST : NFT_REJECT_ICMPX_UNREACH);
	nftnl_expr_set_u8(expression, NFTNL_EXPR_REJECT_CODE, step->tcp_reset ? 0 : NFT_REJECT_ICMPX_ADMIN_PROHIBITED);
	return 0;
}

uint32_t verdict_code(enum nft_verdict verdict)
{
	switch (verdict) {
	case NFT_VERDICT_ACCEPT:
		return NF_ACCEPT;
	case NFT_VERDICT_DROP:
		return NF_DROP;
	case NFT_VERDICT_RETURN:
		return (uint32_t)NFT_RETURN;
	case NFT_VERDICT_JUMP:
		return (uint32_t)NFT_JUMP;
	case NFT_VERDICT_GOTO:
		return (uint32_t)NFT_GOTO;
	}
	return NF_DROP;
}

bool verdict_has_chain(enum nft_verdict verdict)
{
	return verdict == NFT_VERDICT_JUMP || verdict == NFT_VERDICT_GOTO;
}

static int encode_verdict(struct nftnl_rule *rule, const struct step *step)
{
	if (verdict_has_chain(step->verdict) && !step->object)
		return -EINVAL;
	struct nftnl_expr *expression = add_expression(rule, "immediate");
	if (!expression)
		return -ENOMEM;
	nftnl_expr_set_u32(expression, NFTNL_EXPR_IMM_DREG, NFT_REG_VERDICT);
	nftnl_expr_set_u32(expression, NFTNL_EXPR_IMM_VERDICT, verdict_code(step->verdict));
	if (verdict_has_chain(step->verdict))
		nftnl_expr_set_str(expression, NFTNL_EXPR_IMM_CHAIN, step->object);
	return 0;
}

static int encode_step(struct nftnl_rule *rule, const struct step *step)
{
	if (step->object && strlen(step->object) > NAME_MAX_BYTES)
		return -ENAMETOOLONG;
	switch (step->kind) {
	case STEP_COMPARE:
		return encode_compare(rule, step);
	case STEP_RANGE:
		return encode_range(rule, step);
	case STEP_PREFIX:
		return encode_prefix(rule, step);
	case STEP_LOOKUP:
	case STEP_MAP:
		return step->object ? encode_lookup(rule, step) : -EINVAL;
	case STEP_COUNT:
		return step->object ? encode_count(rule, step) : -EINVAL;
	case STEP_METER:
		return step->object ? encode_meter(rule, step) : -EINVAL;
	case STEP_COUNTER:
		return step->object ? encode_counter(rule, step) : -EINVAL;
	case STEP_LIMIT:
		return encode_limit(rule, step);
	case STEP_LOG:
		return encode_log(rule, step);
	case STEP_REJECT:
		return encode_reject(rule, step);
	case STEP_VERDICT:
		return encode_verdict(rule, step);
	case STEP_FOREIGN:
		return -EINVAL;
	}
	return -EINVAL;
}

static int encode_comment(struct nftnl_rule *rule, const char *comment)
{
	char text[COMMENT_MAX + 1];
	struct nftnl_udata_buf *data = nftnl_udata_buf_alloc(NFT_USERDATA_MAXLEN);
	if (!data)
		return -ENOMEM;
	snprintf(text, sizeof(text), "%s", comment);
	nftnl_udata_put_strz(data, NFTNL_UDATA_RULE_COMMENT, text);
	nftnl_rule_set_data(rule, NFTNL_RULE_USERDATA, nftnl_udata_buf_data(data), nftnl_udata_buf_len(data));
	nftnl_udata_buf_free(data);
	return 0;
}

int encode_rule(const char *table, const char *chain, const struct nft_rule *from, struct nftnl_rule **out)
{
	if (from->count > RULE_STEPS_MAX)
		return -E2BIG;
	struct nftnl_rule *rule = nftnl_rule_alloc();
	if (!rule)
		return -ENOMEM;
	nftnl_rule_set_u32(rule, NFTNL_RULE_FAMILY, NFPROTO_INET);
	nftnl_rule_set_str(rule, NFTNL_RULE_TABLE, table);
	nftnl_rule_set_str(rule, NFTNL_RULE_CHAIN, chain);
	int status = from->comment ? encode_comment(rule, from->comment) : 0;
	for (size_t i = 0; !status && i < from->count; i++)
		status = encode_step(rule, &from->steps[i]);
	if (status) {
		nftnl_rule_free(rule);
		return status;
	}
	*out = rule;
	return 0;
}
