/*
 * The sockets of this network namespace (sock_diag(7)), and how one of them is closed from outside.
 *
 * An IPv6 socket that speaks IPv4 shows mapped addresses; its ends are given as the IPv4 addresses that the packets
 * carry, beside what the kernel knows it by.
 */
#include "agent/kernel/kernel.h"
#include "portpolicy/flow.h"
#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <talloc.h>

#define SOCKETS_MAX (1 << 20)
#ifndef SOCK_DESTROY
#define SOCK_DESTROY 21
#endif

struct listing {
	struct socket_list *list;
	size_t room;
	uint8_t protocol;
};

static u128 address_number(uint8_t family, const uint32_t *words)
{
	u128 number = 0;
	if (family == AF_INET)
		return ntohl(words[0]);
	for (int i = 0; i < 4; i++)
		number = number << 32 | ntohl(words[i]);
	return number;
}

static bool is_mapped(u128 address)
{
	return address >> 32 == 0xffff;
}

static void fill_ends(struct socket_ends *ends, uint8_t family, const struct inet_diag_sockid *id)
{
	ends->family = family == AF_INET ? FAMILY_IPV4 : FAMILY_IPV6;
	ends->local = address_number(family, id->idiag_src);
	ends->remote = address_number(family, id->idiag_dst);
	ends->local_port = ntohs(id->idiag_sport);
	ends->remote_port = ntohs(id->idiag_dport);
	if (family == AF_INET6 && is_mapped(ends->local) && is_mapped(ends->remote)) {
		ends->family = FAMILY_IPV4;
		ends->local &= 0xffffffff;
		ends->remote &= 0xffffffff;
	}
}

static int take_socket(const struct nlmsghdr *message, void *data)
{
	struct listing *listing = data;
	struct socket_list *list = listing->list;
	const struct inet_diag_msg *from = mnl_nlmsg_get_payload(message);
	if (mnl_nlmsg_get_payload_len(message) < sizeof(*from) || list->count >= SOCKETS_MAX ||
		(from->idiag_family != AF_INET && from->idiag_family != AF_INET6))
		return 0;
	if (list->count == listing->room) {
		size_t room = listing->room ? listing->room * 2 : 128;
		struct socket_entry *more = talloc_realloc(list, list->at, struct socket_entry, room);
		if (!more)
			return -ENOMEM;
		list->at = more;
		listing->room = room;
	}
	struct socket_entry *entry = &list->at[list->count++];
	*entry = (struct socket_entry){.ends.protocol = listing->protocol,
		.listening = from->idiag_state == TCP_LISTEN,
		.user = from->idiag_uid,
		.inode = from->idiag_inode,
		.raw_family = from->idiag_family};
	fill_ends(&entry->ends, from->idiag_family, &from->id);
	_Static_assert(sizeof(entry->raw_id) == sizeof(from->id), "a socket's name is 48 bytes");
	memcpy(entry->raw_id, &from->id, sizeof(from->id));
	return 0;
}

static int list_kind(struct kernel *diag, uint8_t family, uint8_t protocol, struct listing *listing)
{
	uint8_t buffer[256] __attribute__((aligned(8))) = {0};
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	request->nlmsg_type = SOCK_DIAG_BY_FAMILY;
	request->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	request->nlmsg_seq = kernel_sequence(diag);
	struct inet_diag_req_v2 *query = mnl_nlmsg_put_extra_header(request, sizeof(*query));
	query->sdiag_family = family;
	query->sdiag_protocol = protocol;
	query->idiag_states = protocol == PROTOCOL_TCP ? ~0u : 1 << TCP_ESTABLISHED;
	listing->protocol = protocol;
	int status = kernel_request(diag, request, take_socket, listing);
	if (status == -ENOENT && (protocol == PROTOCOL_UDP || family == AF_INET6))
		return 0; /* this kernel cannot list them */
	return status == -EINTR ? 0 : status;
}

static int order(u128 a, u128 b)
{
	return a < b ? -1 : a > b;
}

static int by_ends(const void *one, const void *other)
{
	const struct socket_ends *a = one, *b = other;
	int sign = order(a->family, b->family);
	sign = sign ? sign : order(a->protocol, b->protocol);
	sign = sign ? sign : order(a->local_port, b->local_port);
	sign = sign ? sign : order(a->remote_port, b->remote_port);
	sign = sign ? sign : order(a->remote, b->remote);
	return sign ? sign : order(a->local, b->local);
}

static int entries_by_ends(const void *a, const void *b)
{
	return by_ends(&((const struct socket_entry *)a)->ends, &((const struct socket_entry *)b)->ends);
}

int kernel_sockets(void *ctx, struct socket_list **out)
{
	static const uint8_t families[] = {AF_INET, AF_INET6}, protocols[] = {PROTOCOL_TCP, PROTOCOL_UDP};
	struct listing listing = {.list = talloc_zero(ctx, struct socket_list)};
	struct kernel *diag = NULL;
	int status = listing.list ? link_open(listing.list, NETLINK_SOCK_DIAG, &diag) : -ENOMEM;
	for (int i = 0; !status && i < 4; i++)
		status = list_kind(diag, families[i & 1], protocols[i >> 1], &listing);
	talloc_free(diag);
	if (status) {
		talloc_free(listing.list);
		return status;
	}
	if (listing.list->count)
		qsort(listing.list->at, listing.list->count, sizeof(*listing.list->at), entries_by_ends);
	*out = listing.list;
	return 0;
}

static int ends_of_entry(const void *ends, const void *entry)
{
	return by_ends(ends, &((const struct socket_entry *)entry)->ends);
}

const struct socket_entry *socket_find(const struct socket_list *list, const struct socket_ends *ends)
{
	return list->count && ends->remote_port ? bsearch(ends, list->at, list->count, sizeof(*list->at), ends_of_entry) : NULL;
}

int kernel_destroy_socket(const struct socket_entry *socket)
{
	uint8_t buffer[256] __attribute__((aligned(8))) = {0};
	struct kernel *diag;
	int status = link_open(NULL, NETLINK_SOCK_DIAG, &diag);
	if (status)
		return status;
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	request->nlmsg_type = SOCK_DESTROY;
	request->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	request->nlmsg_seq = kernel_sequence(diag);
	struct inet_diag_req_v2 *query = mnl_nlmsg_put_extra_header(request, sizeof(*query));
	query->sdiag_family = socket->raw_family;
	query->sdiag_protocol = socket->ends.protocol;
	query->idiag_states = ~0u;
	memcpy(&query->id, socket->raw_id, sizeof(query->id));
	status = kernel_request(diag, request, NULL, NULL);
	talloc_free(diag);
	return status == -ENOENT ? 0 : status;
}
