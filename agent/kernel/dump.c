/*
 * The table as the kernel holds it, as a value.
 *
 * A dump is several requests, and others may commit between them; so the generation is read before and after, and
 * the whole is repeated until both agree.  Members of sets that packets or time change are not read.
 */
#include "agent/kernel/kernel.h"
#include <errno.h>
#include <libmnl/libmnl.h>
#include <libnftnl/chain.h>
#include <libnftnl/object.h>
#include <libnftnl/rule.h>
#include <libnftnl/set.h>
#include <libnftnl/table.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <stdlib.h>
#include <string.h>
#include <talloc.h>
#include <unistd.h>

#define DUMP_TRIES 50
#define CHAIN_FLAGS_OURS 1 /* NFT_CHAIN_BASE */

/* Arrays that grow; the rules of all chains in one, in the order of the dump. */
struct found_rule {
	size_t chain;
	struct nft_rule rule;
};
struct dump {
	void *ctx;
	struct kernel *kernel;
	const char *table;
	struct chain *chains;
	struct found_rule *rules;
	struct set *sets;
	struct counter *counters;
	size_t chain_count, rule_count, set_count, counter_count, last_chain;
	bool dormant, persist;
	uint32_t owner, generation;
	uint8_t stamp[TABLE_STAMP];
};

static void *grown(void *ctx, void *array, size_t count, size_t size)
{
	if (count && (count < 16 || count & (count - 1)))
		return array;
	return talloc_realloc_size(ctx, array, size * (count < 16 ? 16 : count * 2));
}

/* One more place at the end of an array, or NULL. */
#define PLACE(dump, array, count)                                                                                                \
	({                                                                                                                       \
		void *more = grown((dump)->ctx, (dump)->array, (dump)->count, sizeof(*(dump)->array));                           \
		if (more)                                                                                                        \
			(dump)->array = more;                                                                                    \
		more ? &(dump)->array[(dump)->count++] : NULL;                                                                   \
	})

/* A request with the table's name as its only attribute (0: none). */
static int ask(struct dump *dump, uint16_t type, uint16_t attribute, bool all, answer_handler handler)
{
	uint8_t buffer[1024] __attribute__((aligned(8))) = {0}; /* libmnl leaves padding as it was */
	struct kernel *kernel = dump->kernel;
	struct nlmsghdr *request =
		nftnl_nlmsg_build_hdr((char *)buffer, type, NFPROTO_INET, all ? NLM_F_DUMP : NLM_F_ACK, kernel_sequence(kernel));
	if (attribute)
		mnl_attr_put_strz(request, attribute, dump->table);
	return kernel_request(kernel, request, handler, dump);
}

static int take_table(const struct nlmsghdr *message, void *data)
{
	struct dump *dump = data;
	struct nftnl_table *table = nftnl_table_alloc();
	if (!table)
		return -ENOMEM;
	if (nftnl_table_nlmsg_parse(message, table) >= 0) {
		uint32_t length = 0;
		const void *userdata = nftnl_table_get_data(table, NFTNL_TABLE_USERDATA, &length);
		read_stamp(userdata, length, dump->stamp);
		uint32_t flags = nftnl_table_get_u32(table, NFTNL_TABLE_FLAGS);
		dump->dormant = flags & NFT_TABLE_F_DORMANT;
		dump->persist = flags & TABLE_PERSIST;
		if (flags & NFT_TABLE_F_OWNER)
			dump->owner = nftnl_table_get_u32(table, NFTNL_TABLE_OWNER);
	}
	nftnl_table_free(table);
	return 0;
}

static bool chain_is_ours(const struct nftnl_chain *from, enum chain_hook hook)
{
	const char *type = nftnl_chain_get_str(from, NFTNL_CHAIN_TYPE);
	if (nftnl_chain_get_u32(from, NFTNL_CHAIN_FLAGS) & ~(uint32_t)CHAIN_FLAGS_OURS)
		return false;
	if (!nftnl_chain_is_set(from, NFTNL_CHAIN_HOOKNUM))
		return true;
	return hook != HOOK_NONE && type && !strcmp(type, "filter") && nftnl_chain_get_s32(from, NFTNL_CHAIN_PRIO) == 0;
}

static enum chain_hook chain_hook_of(const struct nftnl_chain *from)
{
	if (!nftnl_chain_is_set(from, NFTNL_CHAIN_HOOKNUM))
		return HOOK_NONE;
	switch (nftnl_chain_get_u32(from, NFTNL_CHAIN_HOOKNUM)) {
	case NF_INET_LOCAL_IN:
		return HOOK_INPUT;
	case NF_INET_LOCAL_OUT:
		return HOOK_OUTPUT;
	case NF_INET_FORWARD:
		return HOOK_FORWARD;
	}
	return HOOK_NONE;
}

static int fill_chain(struct dump *dump, const struct nftnl_chain *from)
{
	struct chain *chain = PLACE(dump, chains, chain_count);
	if (!chain)
		return -ENOMEM;
	bool base = nftnl_chain_is_set(from, NFTNL_CHAIN_HOOKNUM);
	*chain = (struct chain){
		.name = talloc_strdup(dump->ctx, nftnl_chain_get_str(from, NFTNL_CHAIN_NAME)), .hook = chain_hook_of(from)};
	chain->policy_drop = base && nftnl_chain_get_u32(from, NFTNL_CHAIN_POLICY) == NF_DROP;
	chain->foreign = !chain_is_ours(from, chain->hook);
	return chain->name ? 0 : -ENOMEM;
}

static int take_chain(const struct nlmsghdr *message, void *data)
{
	struct dump *dump = data;
	struct nftnl_chain *from = nftnl_chain_alloc();
	int status = 0;
	if (!from)
		return -ENOMEM;
	if (nftnl_chain_nlmsg_parse(message, from) < 0)
		status = -EBADMSG;
	else if (!strcmp(nftnl_chain_get_str(from, NFTNL_CHAIN_TABLE), dump->table))
		status = fill_chain(dump, from);
	nftnl_chain_free(from);
	return status;
}

/* Rules come chain by chain, in the order of the chains: the search begins where the last one ended. */
static size_t find_chain(struct dump *dump, const char *name)
{
	for (size_t i = 0; i < dump->chain_count; i++) {
		size_t at = (dump->last_chain + i) % dump->chain_count;
		if (!strcmp(dump->chains[at].name, name))
			return dump->last_chain = at;
	}
	return dump->chain_count;
}

static int fill_rule(struct dump *dump, const struct nftnl_rule *from)
{
	size_t chain = find_chain(dump, nftnl_rule_get_str(from, NFTNL_RULE_CHAIN));
	if (chain == dump->chain_count)
		return 0; /* newer than the list of chains: the generation tells */
	struct found_rule *found = PLACE(dump, rules, rule_count);
	if (!found)
		return -ENOMEM;
	found->chain = chain;
	return decode_rule(dump->ctx, from, &found->rule);
}

static int take_rule(const struct nlmsghdr *message, void *data)
{
	struct dump *dump = data;
	struct nftnl_rule *from = nftnl_rule_alloc();
	int status = 0;
	if (!from)
		return -ENOMEM;
	if (nftnl_rule_nlmsg_parse(message, from) < 0)
		status = -EBADMSG;
	else if (!strcmp(nftnl_rule_get_str(from, NFTNL_RULE_TABLE), dump->table))
		status = fill_rule(dump, from);
	nftnl_rule_free(from);
	return status;
}

static int take_set(const struct nlmsghdr *message, void *data)
{
	struct dump *dump = data;
	struct nftnl_set *from = nftnl_set_alloc();
	int status = 0;
	if (!from)
		return -ENOMEM;
	if (nftnl_set_nlmsg_parse(message, from) < 0)
		status = -EBADMSG;
	else if (!strcmp(nftnl_set_get_str(from, NFTNL_SET_TABLE), dump->table)) {
		struct set *set = PLACE(dump, sets, set_count);
		status = set ? decode_set(dump->ctx, from, set) : -ENOMEM;
	}
	nftnl_set_free(from);
	return status;
}

static int fill_counter(struct dump *dump, struct nftnl_obj *from)
{
	struct counter *counter = PLACE(dump, counters, counter_count);
	if (!counter)
		return -ENOMEM;
	counter->name = talloc_strdup(dump->ctx, nftnl_obj_get_str(from, NFTNL_OBJ_NAME));
	counter->origin = NULL;
	counter->packets = nftnl_obj_get_u64(from, NFTNL_OBJ_CTR_PKTS);
	counter->bytes = nftnl_obj_get_u64(from, NFTNL_OBJ_CTR_BYTES);
	return counter->name ? 0 : -ENOMEM;
}

static int take_counter(const struct nlmsghdr *message, void *data)
{
	struct dump *dump = data;
	struct nftnl_obj *from = nftnl_obj_alloc();
	int status = 0;
	if (!from)
		return -ENOMEM;
	if (nftnl_obj_nlmsg_parse(message, from) < 0)
		status = -EBADMSG;
	else if (!strcmp(nftnl_obj_get_str(from, NFTNL_OBJ_TABLE), dump->table) &&
		 nftnl_obj_get_u32(from, NFTNL_OBJ_TYPE) == NFT_OBJECT_COUNTER)
		status = fill_counter(dump, from);
	nftnl_obj_free(from);
	return status;
}

struct member_dump {
	void *ctx;
	const struct set *set;
	struct members members;
};

static int take_members(const struct nlmsghdr *message, void *data)
{
	struct member_dump *dump = data;
	return decode_members(dump->ctx, dump->set, message, &dump->members);
}

static int dump_members(struct dump *dump, struct set *set)
{
	uint8_t buffer[1024] __attribute__((aligned(8))) = {0}; /* libmnl leaves padding as it was */
	struct member_dump members = {.ctx = dump->ctx, .set = set};
	if (set->foreign || set->kind == SET_METER || set->kind == SET_TIMED)
		return 0;
	if (known_members(dump->kernel, dump->generation, dump->stamp, set))
		return 0;
	struct nlmsghdr *request = nftnl_nlmsg_build_hdr(
		(char *)buffer, NFT_MSG_GETSETELEM, NFPROTO_INET, NLM_F_DUMP, kernel_sequence(dump->kernel));
	mnl_attr_put_strz(request, NFTA_SET_ELEM_LIST_TABLE, dump->table);
	mnl_attr_put_strz(request, NFTA_SET_ELEM_LIST_SET, set->name);
	int status = kernel_request(dump->kernel, request, take_members, &members);
	return status ? status : members_into_set(dump->ctx, &members.members, set);
}

/* 1: there is no such table. */
static int read_all(struct dump *dump)
{
	int status = ask(dump, NFT_MSG_GETTABLE, NFTA_TABLE_NAME, false, take_table);
	if (status == -ENOENT)
		return 1;
	if (!status)
		status = ask(dump, NFT_MSG_GETCHAIN, 0, true, take_chain);
	if (!status)
		status = ask(dump, NFT_MSG_GETSET, NFTA_SET_TABLE, true, take_set);
	if (!status)
		status = ask(dump, NFT_MSG_GETOBJ, NFTA_OBJ_TABLE, true, take_counter);
	if (!status)
		status = ask(dump, NFT_MSG_GETRULE, NFTA_RULE_TABLE, true, take_rule);
	for (size_t i = 0; !status && i < dump->set_count; i++)
		status = dump_members(dump, &dump->sets[i]);
	return status;
}

static int set_by_name(const void *name, const void *set)
{
	return strcmp(name, (*(struct set *const *)set)->name);
}

static int sets_by_name(const void *a, const void *b)
{
	return strcmp((*(struct set *const *)a)->name, (*(struct set *const *)b)->name);
}

/* The two ICMP types lie at one place of the packet; where the rule itself does not tell which is meant, its set does. */
static void name_icmp_keys(struct dump *dump, struct set *const *sorted, struct step *step)
{
	if (step->kind != STEP_LOOKUP && step->kind != STEP_MAP && step->kind != STEP_METER)
		return;
	struct set *const *set = bsearch(step->object, sorted, dump->set_count, sizeof(*sorted), set_by_name);
	for (unsigned i = 0; set && i < step->key_count && i < (*set)->key_count; i++)
		if ((*set)->keys[i] == KEY_ICMPV6_TYPE && step->keys[i] == KEY_ICMP_TYPE)
			step->keys[i] = KEY_ICMPV6_TYPE;
}

static int name_all_icmp_keys(struct dump *dump)
{
	struct set **sorted = talloc_array(dump->ctx, struct set *, dump->set_count + 1);
	if (!sorted)
		return -ENOMEM;
	for (size_t i = 0; i < dump->set_count; i++)
		sorted[i] = &dump->sets[i];
	if (dump->set_count)
		qsort(sorted, dump->set_count, sizeof(*sorted), sets_by_name);
	for (size_t i = 0; i < dump->rule_count; i++)
		for (size_t at = 0; at < dump->rules[i].rule.count; at++)
			name_icmp_keys(dump, sorted, (struct step *)&dump->rules[i].rule.steps[at]);
	talloc_free(sorted);
	return 0;
}

static int hand_out_rules(struct dump *dump)
{
	for (size_t i = 0; i < dump->rule_count; i++)
		dump->chains[dump->rules[i].chain].count++;
	for (size_t i = 0; i < dump->chain_count; i++) {
		struct chain *chain = &dump->chains[i];
		chain->rules = chain->count ? talloc_array(dump->ctx, struct nft_rule, chain->count) : NULL;
		if (chain->count && !chain->rules)
			return -ENOMEM;
		chain->count = 0;
	}
	for (size_t i = 0; i < dump->rule_count; i++) {
		struct chain *chain = &dump->chains[dump->rules[i].chain];
		((struct nft_rule *)chain->rules)[chain->count++] = dump->rules[i].rule;
	}
	return 0;
}

static int base_chains_first(struct dump *dump)
{
	struct chain *sorted = talloc_array(dump->ctx, struct chain, dump->chain_count + 1);
	size_t count = 0;
	if (!sorted)
		return -ENOMEM;
	for (int base = 1; base >= 0; base--)
		for (size_t i = 0; i < dump->chain_count; i++)
			if ((dump->chains[i].hook != HOOK_NONE) == base)
				sorted[count++] = dump->chains[i];
	dump->chains = sorted;
	return 0;
}

static int assemble(struct dump *dump, struct ruleset *out)
{
	int status = name_all_icmp_keys(dump);
	if (!status)
		status = hand_out_rules(dump);
	if (!status)
		status = base_chains_first(dump);
	talloc_free(dump->rules);
	*out = (struct ruleset){.table = out->table,
		.exists = true,
		.dormant = dump->dormant,
		.persist = dump->persist,
		.owner = dump->owner,
		.chains = dump->chains,
		.chain_count = dump->chain_count,
		.sets = dump->sets,
		.set_count = dump->set_count,
		.counters = dump->counters,
		.counter_count = dump->counter_count};
	return status;
}

static int read_table(struct dump *dump, struct ruleset *ruleset)
{
	int status = read_all(dump);
	return status ? status : assemble(dump, ruleset);
}

int kernel_look(struct kernel *kernel, const char *table, struct table_state *out)
{
	struct dump dump = {.kernel = kernel, .table = table};
	*out = (struct table_state){0};
	int status = kernel_generation(kernel, &out->generation);
	if (!status)
		status = ask(&dump, NFT_MSG_GETTABLE, NFTA_TABLE_NAME, false, take_table);
	out->exists = !status;
	out->dormant = dump.dormant;
	out->persist = dump.persist;
	out->owner = dump.owner;
	memcpy(out->stamp, dump.stamp, TABLE_STAMP);
	return status == -ENOENT ? 0 : status;
}

int kernel_dump_once(void *ctx, struct kernel *kernel, const char *table, struct ruleset **out, uint32_t *before, uint32_t *after)
{
	struct ruleset *ruleset = talloc_zero(ctx, struct ruleset);
	struct dump dump = {.ctx = ruleset, .kernel = kernel, .table = table};
	if (!ruleset || !(ruleset->table = talloc_strdup(ruleset, table)))
		return -ENOMEM;
	int status = strlen(table) > 255 ? -ENAMETOOLONG : kernel_generation(kernel, before), read = 0;
	if (!status) {
		dump.generation = *before;
		read = read_table(&dump, ruleset);
		status = read == -ENOMEM || read == -EPERM || read == -ETIMEDOUT ? read : kernel_generation(kernel, after);
	}
	if (!status && (*after != *before || read == -EINTR))
		status = read < 0 ? -EAGAIN : 1;
	else if (!status && read < 0)
		status = read;
	if (status < 0)
		talloc_free(ruleset);
	else
		*out = ruleset;
	return status;
}

int kernel_dump(void *ctx, struct kernel *kernel, const char *table, struct ruleset **out, uint32_t *generation)
{
	struct ruleset *ruleset;
	uint32_t after;
	int status = 1;
	for (unsigned i = 0; (status == 1 || status == -EAGAIN) && i < DUMP_TRIES; i++) {
		if (i > 3)
			usleep(1000 * i);
		status = kernel_dump_once(ctx, kernel, table, &ruleset, generation, &after);
		if (!status)
			*out = ruleset;
		else if (status == 1)
			talloc_free(ruleset);
	}
	return status == 1 ? -EAGAIN : status;
}
