/*
 * One batch: the changes as messages, sent at once, and what the kernel says about it.
 *
 * Every message carries a sequence number of its own, so that a refusal names the change at fault. The kernel has worked
 * off the batch when the send returns: all its answers wait then. What proves the commit is the answer to the end of the batch,
 * or, on kernels that do not answer it, that there is no error and the generation has moved on.
 */
#include "agent/kernel/kernel.h"
#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <libnftnl/batch.h>
#include <libnftnl/chain.h>
#include <libnftnl/common.h>
#include <libnftnl/object.h>
#include <libnftnl/rule.h>
#include <libnftnl/set.h>
#include <libnftnl/table.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <talloc.h>

#define PART_ROOM (1 << 20)
#define PARTS_MAX 1000 /* iovecs that one send takes: 1024 */

#ifndef ERESTART
#define ERESTART 85
#endif

struct batch {
	struct iovec parts[PARTS_MAX];
	size_t part_count, bytes;
	uint32_t first, messages; /* sequence numbers; the first is the batch's begin */
	uint32_t *changes;	  /* of each message, the index of its change */
	size_t change;		  /* being encoded */
	uint32_t set_id;
	bool persist; /* for a table that is added */
	const uint8_t *stamp;
};

/* Room for one message of any length that we write, or NULL. */
static uint8_t *batch_room(struct batch *batch)
{
	struct iovec *part = batch->part_count ? &batch->parts[batch->part_count - 1] : NULL;
	if (!part || part->iov_len + MESSAGE_ROOM > PART_ROOM) {
		if (batch->part_count == PARTS_MAX)
			return NULL;
		part = &batch->parts[batch->part_count];
		*part = (struct iovec){.iov_base = talloc_zero_size(batch, PART_ROOM)}; /* libmnl leaves padding as it was */
		if (!part->iov_base)
			return NULL;
		batch->part_count++;
	}
	return (uint8_t *)part->iov_base + part->iov_len;
}

static int note_change(struct batch *batch)
{
	if (batch->messages < 64 ? !batch->changes : !(batch->messages & (batch->messages - 1))) {
		size_t room = batch->messages < 64 ? 64 : (size_t)batch->messages * 2;
		uint32_t *more = talloc_realloc(batch, batch->changes, uint32_t, room);
		if (!more)
			return -ENOMEM;
		batch->changes = more;
	}
	batch->changes[batch->messages++] = (uint32_t)batch->change;
	return 0;
}

static void batch_end_message(void *data, struct nlmsghdr *message)
{
	struct batch *batch = data;
	size_t length = MNL_ALIGN(message->nlmsg_len);
	batch->parts[batch->part_count - 1].iov_len += length;
	batch->bytes += length;
}

static int batch_start_message(void *data, uint16_t type, uint16_t flags, struct nlmsghdr **out)
{
	struct batch *batch = data;
	uint8_t *room = batch_room(batch);
	if (!room)
		return batch->part_count == PARTS_MAX ? -E2BIG : -ENOMEM;
	int status = note_change(batch);
	if (status)
		return status;
	*out = nftnl_nlmsg_build_hdr((char *)room, type, NFPROTO_INET, flags, batch->first + batch->messages - 1);
	return 0;
}

/* libnftnl of Debian 12 knows nothing of the generation: its attribute is written by hand. */
static int batch_begin(struct batch *batch, uint32_t generation)
{
	uint8_t *room = batch_room(batch);
	int status = room ? note_change(batch) : -ENOMEM;
	if (status)
		return status;
	struct nlmsghdr *message = nftnl_batch_begin((char *)room, batch->first);
	if (generation)
		mnl_attr_put_u32(message, NFNL_BATCH_GENID, htonl(generation));
	batch_end_message(batch, message);
	return 0;
}

static int batch_end(struct batch *batch)
{
	uint8_t *room = batch_room(batch);
	int status = room ? note_change(batch) : -ENOMEM;
	if (status)
		return status;
	struct nlmsghdr *message = nftnl_batch_end((char *)room, batch->first + batch->messages - 1);
	message->nlmsg_flags |= NLM_F_ACK;
	batch_end_message(batch, message);
	return 0;
}

/* The kernel passes over the stamp of a table that is there. */
static int put_table(struct batch *batch, const char *name, bool delete, uint32_t flags)
{
	struct nlmsghdr *message;
	int status = batch_start_message(batch, delete ? NFT_MSG_DELTABLE : NFT_MSG_NEWTABLE, delete ? 0 : NLM_F_CREATE, &message);
	if (status)
		return status;
	mnl_attr_put_strz(message, NFTA_TABLE_NAME, name);
	if (!delete) {
		mnl_attr_put_u32(message, NFTA_TABLE_FLAGS, htonl(flags));
		put_stamp(message, batch->stamp);
	}
	batch_end_message(batch, message);
	return 0;
}

static uint32_t hook_number(enum chain_hook hook)
{
	switch (hook) {
	case HOOK_INPUT:
		return NF_INET_LOCAL_IN;
	case HOOK_OUTPUT:
		return NF_INET_LOCAL_OUT;
	case HOOK_FORWARD:
		return NF_INET_FORWARD;
	case HOOK_NONE:
		break;
	}
	return 0;
}

static void fill_base_chain(struct nftnl_chain *out, const struct chain *chain, bool add)
{
	if (chain->hook == HOOK_NONE)
		return;
	nftnl_chain_set_u32(out, NFTNL_CHAIN_POLICY, chain->policy_drop ? NF_DROP : NF_ACCEPT);
	if (!add)
		return;
	nftnl_chain_set_str(out, NFTNL_CHAIN_TYPE, "filter");
	nftnl_chain_set_u32(out, NFTNL_CHAIN_HOOKNUM, hook_number(chain->hook));
	nftnl_chain_set_s32(out, NFTNL_CHAIN_PRIO, 0);
}

static int put_chain(struct batch *batch, const char *table, const struct chain *chain, enum change_kind kind)
{
	struct nlmsghdr *message;
	bool delete = kind == CHANGE_CHAIN_DELETE;
	struct nftnl_chain *out = nftnl_chain_alloc();
	if (!out)
		return -ENOMEM;
	int status =
		batch_start_message(batch, delete ? NFT_MSG_DELCHAIN : NFT_MSG_NEWCHAIN, delete ? 0 : NLM_F_CREATE, &message);
	if (!status) {
		nftnl_chain_set_str(out, NFTNL_CHAIN_TABLE, table);
		nftnl_chain_set_str(out, NFTNL_CHAIN_NAME, chain->name);
		if (!delete)
			fill_base_chain(out, chain, kind == CHANGE_CHAIN_ADD);
		nftnl_chain_nlmsg_build_payload(message, out);
		batch_end_message(batch, message);
	}
	nftnl_chain_free(out);
	return status;
}

static int put_rule(struct batch *batch, const char *table, const struct chain *chain, const struct nft_rule *rule)
{
	struct nlmsghdr *message;
	struct nftnl_rule *out;
	int status = encode_rule(table, chain->name, rule, &out);
	if (status)
		return status;
	status = batch_start_message(batch, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, &message);
	if (!status) {
		nftnl_rule_nlmsg_build_payload(message, out);
		batch_end_message(batch, message);
	}
	nftnl_rule_free(out);
	return status;
}

/* Deleting rules without a handle: all of the chain. */
static int put_flush(struct batch *batch, const char *table, const struct chain *chain)
{
	struct nlmsghdr *message;
	int status = batch_start_message(batch, NFT_MSG_DELRULE, 0, &message);
	if (status)
		return status;
	mnl_attr_put_strz(message, NFTA_RULE_TABLE, table);
	mnl_attr_put_strz(message, NFTA_RULE_CHAIN, chain->name);
	batch_end_message(batch, message);
	return 0;
}

static int put_set(struct batch *batch, const char *table, const struct set *set)
{
	struct nlmsghdr *message;
	struct nftnl_set *out;
	int status = encode_set(table, set, ++batch->set_id, &out);
	if (status)
		return status;
	status = batch_start_message(batch, NFT_MSG_NEWSET, NLM_F_CREATE, &message);
	if (!status) {
		nftnl_set_nlmsg_build_payload(message, out);
		batch_end_message(batch, message);
	}
	nftnl_set_free(out);
	return status;
}

static int put_set_delete(struct batch *batch, const char *table, const struct set *set)
{
	struct nlmsghdr *message;
	int status = batch_start_message(batch, NFT_MSG_DELSET, 0, &message);
	if (status)
		return status;
	mnl_attr_put_strz(message, NFTA_SET_TABLE, table);
	mnl_attr_put_strz(message, NFTA_SET_NAME, set->name);
	batch_end_message(batch, message);
	return 0;
}

static int put_counter(struct batch *batch, const char *table, const struct counter *counter, bool add)
{
	struct nlmsghdr *message;
	struct nlattr *nest;
	int status = batch_start_message(batch, add ? NFT_MSG_NEWOBJ : NFT_MSG_DELOBJ, add ? NLM_F_CREATE : 0, &message);
	if (status)
		return status;
	mnl_attr_put_strz(message, NFTA_OBJ_TABLE, table);
	mnl_attr_put_strz(message, NFTA_OBJ_NAME, counter->name);
	mnl_attr_put_u32(message, NFTA_OBJ_TYPE, htonl(NFT_OBJECT_COUNTER));
	if (add) {
		nest = mnl_attr_nest_start(message, NFTA_OBJ_DATA);
		mnl_attr_nest_end(message, nest);
	}
	batch_end_message(batch, message);
	return 0;
}

static const char *change_name(const struct change *change)
{
	if (change->set)
		return change->set->name;
	if (change->counter)
		return change->counter->name;
	return change->chain ? change->chain->name : "";
}

static uint32_t standing_flags(const struct changes *changes)
{
	return (changes->persist ? TABLE_PERSIST : 0) | (changes->owned ? NFT_TABLE_F_OWNER : 0);
}

static int put_change(struct batch *batch, const struct changes *changes, const struct change *change)
{
	const char *table = changes->table;
	if (strlen(change_name(change)) > 255)
		return -ENAMETOOLONG;
	switch (change->kind) {
	case CHANGE_TABLE_ADD: /* persistent from the start: a plain table can never have an owner */
		return put_table(batch, table, false, batch->persist ? TABLE_PERSIST : 0);
	case CHANGE_TABLE_WAKE:
		return put_table(batch, table, false, standing_flags(changes));
	case CHANGE_TABLE_DELETE:
		return put_table(batch, table, true, 0);
	case CHANGE_COUNTER_ADD:
	case CHANGE_COUNTER_DELETE:
		return put_counter(batch, table, change->counter, change->kind == CHANGE_COUNTER_ADD);
	case CHANGE_SET_ADD:
		return put_set(batch, table, change->set);
	case CHANGE_ELEMENTS_ADD:
	case CHANGE_ELEMENTS_DELETE:
		return encode_elements(table, change->set, change->kind == CHANGE_ELEMENTS_DELETE, batch_start_message,
			batch_end_message, batch);
	case CHANGE_CHAIN_ADD:
	case CHANGE_CHAIN_POLICY:
	case CHANGE_CHAIN_DELETE:
		return put_chain(batch, table, change->chain, change->kind);
	case CHANGE_RULE_ADD:
		return put_rule(batch, table, change->chain, change->rule);
	case CHANGE_RULES_FLUSH:
		return put_flush(batch, table, change->chain);
	case CHANGE_SET_DELETE:
		return put_set_delete(batch, table, change->set);
	}
	return -EINVAL;
}

/* 0, -ENOMEM, or 1: something that no kernel would take, as a refusal. */
static int write_batch(struct batch *batch, const struct changes *changes, uint32_t generation, struct refusal *refusal)
{
	int status = strlen(changes->table) > 255 ? -ENAMETOOLONG : batch_begin(batch, generation);
	for (size_t i = 0; !status && i < changes->count; i++) {
		batch->change = i;
		status = put_change(batch, changes, &changes->at[i]);
		if (status && status != -ENOMEM) {
			*refusal = (struct refusal){.error = -status, .change = &changes->at[i]};
			return 1;
		}
	}
	return status ? status : batch_end(batch);
}

static int send_batch(struct kernel *kernel, struct batch *batch)
{
	struct sockaddr_nl to = {.nl_family = AF_NETLINK};
	struct msghdr header = {
		.msg_name = &to, .msg_namelen = sizeof(to), .msg_iov = batch->parts, .msg_iovlen = batch->part_count};
	kernel_force_send_buffer(kernel, batch->bytes + (64 << 10));
	while (sendmsg(mnl_socket_get_fd(kernel->socket), &header, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return 0;
}

struct outcome {
	bool lost, committed;
	int error;
	uint32_t sequence; /* of the first error */
};

static void note_answer(const struct batch *batch, const struct nlmsghdr *message, struct outcome *outcome)
{
	uint32_t index = message->nlmsg_seq - batch->first;
	const struct nlmsgerr *answer = mnl_nlmsg_get_payload(message);
	if (message->nlmsg_type != NLMSG_ERROR || index >= batch->messages ||
		mnl_nlmsg_get_payload_len(message) < sizeof(answer->error))
		return;
	if (!answer->error) {
		outcome->committed |= index == batch->messages - 1;
	} else if (!outcome->error || answer->error == -ERESTART) {
		outcome->error = -answer->error;
		outcome->sequence = message->nlmsg_seq;
	}
}

static int read_answers(struct kernel *kernel, const struct batch *batch, struct outcome *outcome)
{
	for (;;) {
		size_t length;
		int status = kernel_receive(kernel, false, &length);
		if (status == -ENOBUFS) {
			outcome->lost = true;
			continue;
		}
		if (status || !length)
			return status;
		int left = (int)length;
		const struct nlmsghdr *message = (const struct nlmsghdr *)kernel->buffer;
		for (; mnl_nlmsg_ok(message, left); message = mnl_nlmsg_next(message, &left))
			note_answer(batch, message, outcome);
	}
}

/* The begin and the end of the batch speak for no change. */
static int refused(
	const struct batch *batch, const struct changes *changes, const struct outcome *outcome, struct refusal *refusal)
{
	uint32_t index = outcome->sequence - batch->first;
	bool whole = index == 0 || index == batch->messages - 1;
	if (outcome->error == ERESTART)
		return 2;
	*refusal = (struct refusal){.error = outcome->error, .change = whole ? NULL : &changes->at[batch->changes[index]]};
	return 1;
}

static int send_and_judge(
	struct kernel *kernel, struct batch *batch, const struct changes *changes, uint32_t before, struct refusal *refusal)
{
	struct outcome outcome = {0};
	uint32_t after;
	int status = send_batch(kernel, batch);
	if (!status)
		status = read_answers(kernel, batch, &outcome);
	if (outcome.error)
		return refused(batch, changes, &outcome, refusal);
	if (outcome.committed)
		return 0;
	if (!status)
		status = kernel_generation(kernel, &after);
	if (status)
		return status;
	if (outcome.lost)
		return -ENOBUFS;
	return after != before ? 0 : -ETIMEDOUT;
}

static int commit_once(struct kernel *kernel, const struct changes *changes, uint32_t generation, struct refusal *refusal)
{
	uint32_t before = generation;
	int status = generation ? 0 : kernel_generation(kernel, &before);
	struct batch *batch = status ? NULL : talloc_zero(NULL, struct batch);
	if (!batch)
		return status ? status : -ENOMEM;
	batch->first = kernel->sequence + 1;
	batch->persist = kernel->persist;
	batch->stamp = kernel->stamp;
	status = write_batch(batch, changes, generation, refusal);
	kernel->sequence += batch->messages;
	if (!status)
		status = send_and_judge(kernel, batch, changes, before, refusal);
	talloc_free(batch);
	return status;
}

/* Kernels before 6.9 do not know the flag that makes a table outlive its owner. */
static bool lacks_persist(const struct kernel *kernel, const struct refusal *refusal)
{
	return kernel->persist && refusal->change && refusal->change->kind == CHANGE_TABLE_ADD &&
	       (refusal->error == EOPNOTSUPP || refusal->error == EINVAL);
}

int kernel_commit(struct kernel *kernel, const struct changes *changes, uint32_t generation, struct refusal *refusal)
{
	*refusal = (struct refusal){0};
	if (!changes->count)
		return 0;
	int status = commit_once(kernel, changes, generation, refusal);
	if (status == 1 && lacks_persist(kernel, refusal)) {
		kernel->persist = false;
		*refusal = (struct refusal){0};
		status = commit_once(kernel, changes, generation, refusal);
	}
	kernel->settled = !status && generation ? next_generation(generation) : 0;
	return status;
}
