/*
 * The connections that stand, made known to conntrack.
 *
 * Until a firewall asks for its state, conntrack sees nothing; the next packet of a standing connection then looks like the first
 * of a new one, and a strict policy cuts it. So each connected TCP and UDP socket is listed (inet_diag) and given an entry that
 * has seen both ways. The entry cannot know the sequence numbers, so it is liberal about the window, as an entry that conntrack
 * itself picks up in the middle of a connection is. Where conntrack has been quicker, its entry is only marked as having seen a
 * reply.
 */
#include "agent/kernel/kernel.h"
#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <libnetfilter_conntrack/libnetfilter_conntrack.h>
#include <libnetfilter_conntrack/libnetfilter_conntrack_tcp.h>
#include <linux/inet_diag.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <talloc.h>

#define UDP_SECONDS 120
#define TCP_SECONDS 432000 /* five days, the kernel's own */
#define CONNECTIONS_MAX (1 << 20)
#define GROUP 64 /* requests in one send: their answers fit any buffer */
#define ROUNDS 6
#define ENTRY_STATUS (IPS_CONFIRMED | IPS_SEEN_REPLY | IPS_ASSURED)
#define CONNECTED                                                                                                                \
	(1 << TCP_ESTABLISHED | 1 << TCP_FIN_WAIT1 | 1 << TCP_FIN_WAIT2 | 1 << TCP_CLOSE_WAIT | 1 << TCP_LAST_ACK |              \
		1 << TCP_CLOSING)

struct connection {
	uint8_t family, protocol;		/* AF_INET, AF_INET6 */
	uint16_t source_port, destination_port; /* network order, as the addresses */
	uint32_t source[4], destination[4];
};

struct connections {
	struct connection *at;
	size_t count, room;
	uint8_t protocol;
};

static bool mapped(const uint32_t *address)
{
	return !address[0] && !address[1] && address[2] == htonl(0xffff);
}

static void unmap(struct connection *connection)
{
	if (connection->family != AF_INET6 || !mapped(connection->source) || !mapped(connection->destination))
		return;
	connection->family = AF_INET;
	connection->source[0] = connection->source[3];
	connection->destination[0] = connection->destination[3];
}

static bool on_loopback(const struct connection *connection)
{
	const uint32_t *address[] = {connection->source, connection->destination};
	for (int i = 0; i < 2; i++) {
		if (connection->family == AF_INET && ntohl(address[i][0]) >> 24 == 127)
			return true;
		if (connection->family == AF_INET6 && IN6_IS_ADDR_LOOPBACK((const struct in6_addr *)address[i]))
			return true;
	}
	return false;
}

static int keep_connection(struct connections *all, const struct connection *connection)
{
	if (all->count == all->room) {
		size_t room = all->room ? all->room * 2 : 256;
		struct connection *more = talloc_realloc(NULL, all->at, struct connection, room);
		if (!more)
			return -ENOMEM;
		all->at = more;
		all->room = room;
	}
	all->at[all->count++] = *connection;
	return 0;
}

static int take_socket(const struct nlmsghdr *message, void *data)
{
	struct connections *all = data;
	const struct inet_diag_msg *socket = mnl_nlmsg_get_payload(message);
	if (mnl_nlmsg_get_payload_len(message) < sizeof(*socket) || all->count >= CONNECTIONS_MAX)
		return 0;
	struct connection connection = {.family = socket->idiag_family,
		.protocol = all->protocol,
		.source_port = socket->id.idiag_sport,
		.destination_port = socket->id.idiag_dport};
	memcpy(connection.source, socket->id.idiag_src, sizeof(connection.source));
	memcpy(connection.destination, socket->id.idiag_dst, sizeof(connection.destination));
	unmap(&connection);
	if ((connection.family != AF_INET && connection.family != AF_INET6) || !connection.destination_port ||
		on_loopback(&connection))
		return 0;
	return keep_connection(all, &connection);
}

/* A list that was inconsistent for a moment (-EINTR) still holds every socket that stood all the while. */
static int list_sockets(struct kernel *diag, uint8_t family, uint8_t protocol, struct connections *all)
{
	uint8_t buffer[256] __attribute__((aligned(8))) = {0}; /* libmnl leaves padding as it was */
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	request->nlmsg_type = SOCK_DIAG_BY_FAMILY;
	request->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	request->nlmsg_seq = kernel_sequence(diag);
	struct inet_diag_req_v2 *query = mnl_nlmsg_put_extra_header(request, sizeof(*query));
	query->sdiag_family = family;
	query->sdiag_protocol = protocol;
	query->idiag_states = protocol == IPPROTO_TCP ? CONNECTED : 1 << TCP_ESTABLISHED;
	all->protocol = protocol;
	int status = kernel_request(diag, request, take_socket, all);
	if (status == -ENOENT && (protocol == IPPROTO_UDP || family == AF_INET6))
		return 0; /* this kernel cannot list them */
	return status == -EINTR ? 0 : status;
}

static int list_connections(struct connections *all)
{
	struct kernel *diag;
	static const uint8_t families[] = {AF_INET, AF_INET6}, protocols[] = {IPPROTO_TCP, IPPROTO_UDP};
	int status = link_open(NULL, NETLINK_SOCK_DIAG, &diag);
	if (status)
		return status;
	for (int i = 0; !status && i < 4; i++)
		status = list_sockets(diag, families[i & 1], protocols[i >> 1], all);
	talloc_free(diag);
	return status;
}

static unsigned tcp_seconds(void)
{
	unsigned seconds = TCP_SECONDS;
	FILE *file = fopen("/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_established", "re");
	if (file && (fscanf(file, "%u", &seconds) != 1 || !seconds))
		seconds = TCP_SECONDS;
	if (file)
		fclose(file);
	return seconds;
}

static void fill_tuple(struct nf_conntrack *entry, const struct connection *connection)
{
	nfct_set_attr_u8(entry, ATTR_ORIG_L3PROTO, connection->family);
	if (connection->family == AF_INET) {
		nfct_set_attr_u32(entry, ATTR_ORIG_IPV4_SRC, connection->source[0]);
		nfct_set_attr_u32(entry, ATTR_ORIG_IPV4_DST, connection->destination[0]);
	} else {
		nfct_set_attr(entry, ATTR_ORIG_IPV6_SRC, connection->source);
		nfct_set_attr(entry, ATTR_ORIG_IPV6_DST, connection->destination);
	}
	nfct_set_attr_u8(entry, ATTR_ORIG_L4PROTO, connection->protocol);
	nfct_set_attr_u16(entry, ATTR_ORIG_PORT_SRC, connection->source_port);
	nfct_set_attr_u16(entry, ATTR_ORIG_PORT_DST, connection->destination_port);
}

static void fill_tcp(struct nf_conntrack *entry)
{
	static const enum nf_conntrack_attr flags[] = {
		ATTR_TCP_FLAGS_ORIG, ATTR_TCP_FLAGS_REPL, ATTR_TCP_MASK_ORIG, ATTR_TCP_MASK_REPL};
	nfct_set_attr_u8(entry, ATTR_TCP_STATE, TCP_CONNTRACK_ESTABLISHED);
	for (int i = 0; i < 4; i++)
		nfct_set_attr_u8(entry, flags[i], IP_CT_TCP_FLAG_BE_LIBERAL);
}

/* `make`: a new entry; else only the status of the one that is there. */
static struct nlmsghdr *entry_request(
	uint8_t *buffer, const struct connection *connection, bool make, unsigned seconds, uint32_t sequence)
{
	struct nf_conntrack *entry = nfct_new();
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	if (!entry)
		return NULL;
	request->nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_NEW;
	request->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | (make ? NLM_F_CREATE | NLM_F_EXCL : 0);
	request->nlmsg_seq = sequence;
	struct nfgenmsg *header = mnl_nlmsg_put_extra_header(request, sizeof(*header));
	*header = (struct nfgenmsg){.nfgen_family = connection->family, .version = NFNETLINK_V0};
	fill_tuple(entry, connection);
	nfct_set_attr_u32(entry, ATTR_STATUS, ENTRY_STATUS);
	if (make) {
		nfct_setobjopt(entry, NFCT_SOPT_SETUP_REPLY);
		nfct_set_attr_u32(entry, ATTR_TIMEOUT, connection->protocol == IPPROTO_TCP ? seconds : UDP_SECONDS);
		if (connection->protocol == IPPROTO_TCP)
			fill_tcp(entry);
	}
	int status = nfct_nlmsg_build(request, entry);
	nfct_destroy(entry);
	return status < 0 ? NULL : request;
}

/* Many requests in one send; each is answered by itself. */
struct group {
	uint8_t buffer[GROUP * 512] __attribute__((aligned(8)));
	const struct connection *members[GROUP];
	int errors[GROUP]; /* 1: no answer yet */
	uint32_t first;
	size_t count, answered;
};

static void take_answers(struct group *group, const uint8_t *buffer, size_t length)
{
	int left = (int)length;
	const struct nlmsghdr *message = (const struct nlmsghdr *)buffer;
	for (; mnl_nlmsg_ok(message, left); message = mnl_nlmsg_next(message, &left)) {
		uint32_t index = message->nlmsg_seq - group->first;
		const struct nlmsgerr *answer = mnl_nlmsg_get_payload(message);
		if (message->nlmsg_type != NLMSG_ERROR || index >= group->count || group->errors[index] <= 0 ||
			mnl_nlmsg_get_payload_len(message) < sizeof(answer->error))
			continue;
		group->errors[index] = answer->error;
		group->answered++;
	}
}

static int send_group(struct kernel *kernel, struct group *group, bool make, unsigned seconds)
{
	size_t used = 0;
	memset(group->buffer, 0, sizeof(group->buffer)); /* libmnl leaves padding as it was */
	group->answered = 0;
	group->first = kernel->sequence + 1;
	for (size_t i = 0; i < group->count; i++) {
		struct nlmsghdr *request =
			entry_request(group->buffer + used, group->members[i], make, seconds, kernel_sequence(kernel));
		if (!request)
			return -ENOMEM;
		used += MNL_ALIGN(request->nlmsg_len);
		group->errors[i] = 1;
	}
	if (used && mnl_socket_sendto(kernel->socket, group->buffer, used) < 0)
		return -errno;
	while (group->answered < group->count) {
		size_t length;
		int status = kernel_receive(kernel, true, &length);
		if (status)
			return status;
		take_answers(group, kernel->buffer, length);
	}
	return 0;
}

/*
 * Counts what is done and keeps what has to be tried the other way: a new entry that was there already (-EEXIST) is corrected,
 * and one to be corrected that has gone since (-ENOENT) is made.
 */
static int judge_group(struct group *group, int other_way, size_t *adopted)
{
	size_t left = 0;
	for (size_t i = 0; i < group->count; i++) {
		if (!group->errors[i])
			++*adopted;
		else if (group->errors[i] == other_way)
			group->members[left++] = group->members[i];
		else
			return group->errors[i];
	}
	group->count = left;
	return 0;
}

static int adopt_group(struct kernel *kernel, struct group *group, unsigned seconds, size_t *adopted)
{
	int status = 0;
	for (int round = 0; !status && group->count && round < ROUNDS; round++) {
		bool make = !(round & 1);
		status = send_group(kernel, group, make, seconds);
		if (!status)
			status = judge_group(group, make ? -EEXIST : -ENOENT, adopted);
	}
	group->count = 0;
	return status;
}

static int adopt_all(struct kernel *kernel, const struct connections *all, size_t *adopted)
{
	unsigned seconds = tcp_seconds();
	int status = 0;
	struct group *group = talloc_zero(NULL, struct group);
	if (!group)
		return -ENOMEM;
	for (size_t i = 0; !status && i < all->count; i++) {
		group->members[group->count++] = &all->at[i];
		if (group->count == GROUP || i + 1 == all->count)
			status = adopt_group(kernel, group, seconds, adopted);
	}
	talloc_free(group);
	return status;
}

int kernel_adopt_connections(struct kernel *kernel, size_t *adopted)
{
	struct connections all = {0};
	*adopted = 0;
	int status = list_connections(&all);
	if (!status)
		status = adopt_all(kernel, &all, adopted);
	talloc_free(all.at);
	return status;
}
