/*
 * Hearing of other people's commits.
 *
 * The kernel tells every commit to a group: first what was changed, object by object, then NEWGEN with the new
 * generation, the port id and the program of whoever committed (nf_tables_commit_notify and nf_tables_gen_notify in the kernel's
 * nf_tables_api.c).  All commits of a namespace are told in their order.  So what matters of a commit is known when
 * its NEWGEN has come: did it touch our table, and who was it?
 *
 * What does not fit into the receive buffer is lost, and then said once (ENOBUFS).  Not told at all: elements that packets add or
 * that expire, and the exit of an owner.
 */
#include "agent/kernel/kernel.h"
#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <string.h>
#include <talloc.h>

#define WATCH_BUFFER (64 << 20) /* held 100,000 events; the kernel charges only what waits */

struct kernel_watch {
	struct kernel *link;
	const char *table;
	int left; /* bytes of the last datagram that were not looked at */
	const struct nlmsghdr *next;
	bool touched; /* by the commit that is being told */
};

int kernel_watch_open(void *ctx, const char *table, struct kernel_watch **out)
{
	struct kernel_watch *watch = talloc_zero(ctx, struct kernel_watch);
	int group = NFNLGRP_NFTABLES, status = watch ? 0 : -ENOMEM;
	if (!status && !(watch->table = talloc_strdup(watch, table)))
		status = -ENOMEM;
	if (!status)
		status = link_open(watch, NETLINK_NETFILTER, &watch->link);
	if (!status) {
		kernel_force_receive_buffer(watch->link, WATCH_BUFFER);
		if (mnl_socket_setsockopt(watch->link->socket, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) < 0)
			status = -errno;
	}
	if (status) {
		talloc_free(watch);
		return status;
	}
	*out = watch;
	return 0;
}

int kernel_watch_descriptor(const struct kernel_watch *watch)
{
	return mnl_socket_get_fd(watch->link->socket);
}

/* The table's name is the first attribute of every kind of object (NFTA_TABLE_NAME, NFTA_CHAIN_TABLE, ... are all 1). */
static bool is_ours(const struct kernel_watch *watch, const struct nlmsghdr *message)
{
	const struct nfgenmsg *header = mnl_nlmsg_get_payload(message);
	const struct nlattr *attribute;
	if (mnl_nlmsg_get_payload_len(message) < sizeof(*header) || header->nfgen_family != NFPROTO_INET)
		return false;
	mnl_attr_for_each(attribute, message,
		sizeof(*header)) if (mnl_attr_get_type(attribute) == NFTA_TABLE_NAME) return !mnl_attr_validate(attribute,
		MNL_TYPE_NUL_STRING) &&
		!strcmp(mnl_attr_get_str(attribute), watch->table);
	return false;
}

static void take_commit(struct kernel_watch *watch, const struct nlmsghdr *message, struct kernel_event *event)
{
	const struct nlattr *attribute;
	*event = (struct kernel_event){.port = message->nlmsg_pid, .touched = watch->touched};
	watch->touched = false;
	mnl_attr_for_each(attribute, message, sizeof(struct nfgenmsg)) switch (mnl_attr_get_type(attribute))
	{
	case NFTA_GEN_ID:
		if (!mnl_attr_validate(attribute, MNL_TYPE_U32))
			event->generation = ntohl(mnl_attr_get_u32(attribute));
		break;
	case NFTA_GEN_PROC_PID:
		if (!mnl_attr_validate(attribute, MNL_TYPE_U32))
			event->process = ntohl(mnl_attr_get_u32(attribute));
		break;
	case NFTA_GEN_PROC_NAME:
		if (!mnl_attr_validate(attribute, MNL_TYPE_NUL_STRING))
			snprintf(event->program, sizeof(event->program), "%s", mnl_attr_get_str(attribute));
		break;
	}
}

/* One message; true when it ends a commit. */
static bool take_event(struct kernel_watch *watch, const struct nlmsghdr *message, struct kernel_event *event)
{
	if (NFNL_SUBSYS_ID(message->nlmsg_type) != NFNL_SUBSYS_NFTABLES ||
		mnl_nlmsg_get_payload_len(message) < sizeof(struct nfgenmsg))
		return false;
	if (NFNL_MSG_TYPE(message->nlmsg_type) == NFT_MSG_NEWGEN) {
		take_commit(watch, message, event);
		return true;
	}
	watch->touched |= is_ours(watch, message);
	return false;
}

int kernel_watch_next(struct kernel_watch *watch, struct kernel_event *event)
{
	for (;;) {
		size_t length;
		while (mnl_nlmsg_ok(watch->next, watch->left)) {
			const struct nlmsghdr *message = watch->next;
			watch->next = mnl_nlmsg_next(message, &watch->left);
			if (take_event(watch, message, event))
				return 1;
		}
		int status = kernel_receive(watch->link, false, &length);
		watch->next = (const struct nlmsghdr *)watch->link->buffer;
		watch->left = (int)length;
		if (status == -ENOBUFS || status == -EMSGSIZE) /* what was told of a commit so far may be a part */
			watch->touched = false;
		if (status || !length)
			return status;
	}
}
