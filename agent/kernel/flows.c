/*
 * Conntrack's entries in the terms of the language, and how one is ended.
 *
 * An entry has two tuples, of the first direction and of the replies; what translation did to the addresses is the difference
 * of the two. The rules see a packet after destination and before source translation: so the source is that of the first tuple,
 * and the destination is where the replies come from. Which ends are this host's own is asked of the routing table, each address
 * once.
 *
 * Forgetting an entry is not enough to end a connection of a local socket: its next segment would begin a connection in the other
 * direction, which other rules decide. So the socket is closed first, while its reset can still pass as part of the connection.
 */
#include "agent/kernel/kernel.h"
#include "portpolicy/flow.h"
#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <libnetfilter_conntrack/libnetfilter_conntrack.h>
#include <libnetfilter_conntrack/libnetfilter_conntrack_tcp.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <talloc.h>

#define TUPLE_ROOM 512

/* Where an address leads. */
struct route {
	u128 address;
	enum family family;
	bool known, local;
	uint32_t interface;
};

struct reading {
	void *ctx;
	struct flows *flows;
	size_t room, most;
	struct kernel *routes;
	struct route *cache; /* open addressing */
	size_t cache_used, cache_room;
};

static u128 tuple_address(const struct nf_conntrack *entry, enum family family, bool reply, bool source)
{
	static const enum nf_conntrack_attr four[] = {
		ATTR_ORIG_IPV4_DST, ATTR_ORIG_IPV4_SRC, ATTR_REPL_IPV4_DST, ATTR_REPL_IPV4_SRC};
	static const enum nf_conntrack_attr six[] = {
		ATTR_ORIG_IPV6_DST, ATTR_ORIG_IPV6_SRC, ATTR_REPL_IPV6_DST, ATTR_REPL_IPV6_SRC};
	int which = reply * 2 + source;
	u128 number = 0;
	if (family == FAMILY_IPV4)
		return ntohl(nfct_get_attr_u32(entry, four[which]));
	const uint8_t *bytes = nfct_get_attr(entry, six[which]);
	for (int i = 0; bytes && i < 16; i++)
		number = number << 8 | bytes[i];
	return number;
}

static bool has_ports(uint8_t protocol)
{
	return protocol == PROTOCOL_TCP || protocol == PROTOCOL_UDP || protocol == PROTOCOL_SCTP;
}

static int take_route(const struct nlmsghdr *message, void *data)
{
	struct route *route = data;
	const struct rtmsg *from = mnl_nlmsg_get_payload(message);
	const struct nlattr *attribute;
	if (mnl_nlmsg_get_payload_len(message) < sizeof(*from))
		return 0;
	route->local = from->rtm_type == RTN_LOCAL;
	mnl_attr_for_each(attribute, message, sizeof(*from))
	{
		if (mnl_attr_get_type(attribute) == RTA_OIF && mnl_attr_get_payload_len(attribute) == sizeof(uint32_t))
			route->interface = mnl_attr_get_u32(attribute);
	}
	return 0;
}

/* An address that no route leads to is not ours. */
static int ask_route(struct kernel *routes, struct route *route)
{
	uint8_t buffer[256] __attribute__((aligned(8))) = {0}, bytes[16];
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	size_t length = route->family == FAMILY_IPV4 ? 4 : 16;
	request->nlmsg_type = RTM_GETROUTE;
	request->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	request->nlmsg_seq = kernel_sequence(routes);
	struct rtmsg *query = mnl_nlmsg_put_extra_header(request, sizeof(*query));
	query->rtm_family = route->family == FAMILY_IPV4 ? AF_INET : AF_INET6;
	query->rtm_dst_len = (uint8_t)(length * 8);
	for (size_t i = 0; i < length; i++)
		bytes[length - 1 - i] = (uint8_t)(route->address >> (8 * i));
	mnl_attr_put(request, RTA_DST, length, bytes);
	int status = kernel_request(routes, request, take_route, route);
	return status == -ENETUNREACH || status == -EHOSTUNREACH || status == -EINVAL || status == -EACCES ? 0 : status;
}

static struct route *cache_place(struct route *cache, size_t room, enum family family, u128 address)
{
	uint64_t hash = ((uint64_t)address ^ (uint64_t)(address >> 64) ^ (uint64_t)family) * 0x9e3779b97f4a7c15u;
	size_t at = hash >> 32 & (room - 1);
	while (cache[at].known && (cache[at].address != address || cache[at].family != family))
		at = (at + 1) & (room - 1);
	return &cache[at];
}

static int grow_cache(struct reading *reading)
{
	size_t room = reading->cache_room ? reading->cache_room * 2 : 256;
	struct route *cache = talloc_zero_array(reading->ctx, struct route, room);
	if (!cache)
		return -ENOMEM;
	for (size_t i = 0; i < reading->cache_room; i++)
		if (reading->cache[i].known)
			*cache_place(cache, room, reading->cache[i].family, reading->cache[i].address) = reading->cache[i];
	talloc_free(reading->cache);
	reading->cache = cache;
	reading->cache_room = room;
	return 0;
}

static int find_route(struct reading *reading, enum family family, u128 address, struct route *out)
{
	int status = reading->cache_used * 2 >= reading->cache_room ? grow_cache(reading) : 0;
	if (status)
		return status;
	struct route *route = cache_place(reading->cache, reading->cache_room, family, address);
	if (!route->known) {
		*route = (struct route){.address = address, .family = family, .known = true};
		reading->cache_used++;
		status = ask_route(reading->routes, route);
	}
	*out = *route;
	return status;
}

static int find_direction(struct reading *reading, struct flow *flow)
{
	struct route source, destination;
	int status = find_route(reading, flow->family, flow->source, &source);
	if (!status)
		status = find_route(reading, flow->family, flow->destination, &destination);
	if (status)
		return status;
	flow->loopback = source.local && destination.local;
	flow->direction = source.local ? DIRECTION_OUT : destination.local ? DIRECTION_IN : DIRECTION_FORWARD;
	if (flow->direction != DIRECTION_OUT)
		flow->arriving = source.interface;
	if (flow->direction != DIRECTION_IN)
		flow->leaving = destination.interface;
	return 0;
}

static void fill_socket(const struct nf_conntrack *entry, struct flow *flow)
{
	bool in = flow->direction == DIRECTION_IN;
	flow->socket = (struct socket_ends){.family = flow->family, .protocol = flow->protocol};
	flow->socket.local = tuple_address(entry, flow->family, in, true);
	flow->socket.remote = tuple_address(entry, flow->family, in, false);
	flow->socket.local_port = ntohs(nfct_get_attr_u16(entry, in ? ATTR_REPL_PORT_SRC : ATTR_ORIG_PORT_SRC));
	flow->socket.remote_port = ntohs(nfct_get_attr_u16(entry, in ? ATTR_REPL_PORT_DST : ATTR_ORIG_PORT_DST));
}

static void fill_flow(const struct nf_conntrack *entry, struct flow *flow)
{
	flow->family = nfct_get_attr_u8(entry, ATTR_ORIG_L3PROTO) == AF_INET6 ? FAMILY_IPV6 : FAMILY_IPV4;
	flow->protocol = nfct_get_attr_u8(entry, ATTR_ORIG_L4PROTO);
	flow->source = tuple_address(entry, flow->family, false, true);
	flow->destination = tuple_address(entry, flow->family, true, true);
	if (has_ports(flow->protocol)) {
		flow->source_port = ntohs(nfct_get_attr_u16(entry, ATTR_ORIG_PORT_SRC));
		flow->service = ntohs(nfct_get_attr_u16(entry, ATTR_REPL_PORT_SRC));
	} else if (flow->protocol == (flow->family == FAMILY_IPV4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6))
		flow->service = nfct_get_attr_u8(entry, ATTR_ICMP_TYPE);
}

/* What a request to delete this entry and no other holds: its first tuple, its zone and its number. */
static int keep_tuple(void *ctx, const struct nf_conntrack *entry, struct flow *flow)
{
	uint8_t buffer[TUPLE_ROOM] __attribute__((aligned(8))) = {0};
	struct nf_conntrack *name = nfct_new();
	if (!name)
		return -ENOMEM;
	nfct_copy(name, entry, NFCT_CP_ORIG);
	if (nfct_attr_is_set(entry, ATTR_ZONE))
		nfct_set_attr_u16(name, ATTR_ZONE, nfct_get_attr_u16(entry, ATTR_ZONE));
	if (nfct_attr_is_set(entry, ATTR_ID))
		nfct_set_attr_u32(name, ATTR_ID, nfct_get_attr_u32(entry, ATTR_ID));
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	request->nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE;
	request->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	struct nfgenmsg *header = mnl_nlmsg_put_extra_header(request, sizeof(*header));
	*header = (struct nfgenmsg){.nfgen_family = flow->family == FAMILY_IPV4 ? AF_INET : AF_INET6, .version = NFNETLINK_V0};
	int status = nfct_nlmsg_build(request, name) < 0 ? -EINVAL : 0;
	nfct_destroy(name);
	if (!status)
		flow->tuple = talloc_memdup(ctx, buffer, request->nlmsg_len);
	return status ? status : flow->tuple ? 0 : -ENOMEM;
}

/* A connection that both ends have closed is remembered for a while. */
static bool is_over(const struct nf_conntrack *entry)
{
	if (nfct_get_attr_u8(entry, ATTR_ORIG_L4PROTO) != PROTOCOL_TCP || !nfct_attr_is_set(entry, ATTR_TCP_STATE))
		return false;
	uint8_t state = nfct_get_attr_u8(entry, ATTR_TCP_STATE);
	return state == TCP_CONNTRACK_LAST_ACK || state == TCP_CONNTRACK_TIME_WAIT || state == TCP_CONNTRACK_CLOSE;
}

static int keep_flow(struct reading *reading, const struct nf_conntrack *entry)
{
	struct flows *flows = reading->flows;
	if (is_over(entry))
		return 0;
	if (flows->count >= reading->most) {
		flows->left_out++;
		return 0;
	}
	if (flows->count == reading->room) {
		size_t room = reading->room ? reading->room * 2 : 256;
		struct flow *more = talloc_realloc(flows, flows->at, struct flow, room);
		if (!more)
			return -ENOMEM;
		flows->at = more;
		reading->room = room;
	}
	struct flow *flow = &flows->at[flows->count];
	*flow = (struct flow){0};
	fill_flow(entry, flow);
	int status = find_direction(reading, flow);
	if (!status) {
		fill_socket(entry, flow);
		status = keep_tuple(flows, entry, flow);
	}
	if (!status)
		flows->count++;
	return status;
}

static int take_entry(const struct nlmsghdr *message, void *data)
{
	int status = 0;
	struct nf_conntrack *entry = nfct_new();
	if (!entry)
		return -ENOMEM;
	if (!nfct_nlmsg_parse(message, entry) && nfct_attr_is_set(entry, ATTR_ORIG_L3PROTO))
		status = keep_flow(data, entry);
	nfct_destroy(entry);
	return status;
}

static int list_entries(struct kernel *kernel, struct reading *reading)
{
	uint8_t buffer[256] __attribute__((aligned(8))) = {0};
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	request->nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET;
	request->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	request->nlmsg_seq = kernel_sequence(kernel);
	struct nfgenmsg *header = mnl_nlmsg_put_extra_header(request, sizeof(*header));
	*header = (struct nfgenmsg){.nfgen_family = AF_UNSPEC, .version = NFNETLINK_V0};
	int status = kernel_request(kernel, request, take_entry, reading);
	/* Interrupted: what stood all the while is there. Not supported: no conntrack in this kernel, or none yet. */
	return status == -EINTR || status == -EOPNOTSUPP || status == -EINVAL ? 0 : status;
}

int kernel_flows(void *ctx, struct kernel *kernel, size_t most, struct flows **out)
{
	struct flows *flows = talloc_zero(ctx, struct flows);
	struct reading reading = {.ctx = talloc_new(flows), .flows = flows, .most = most};
	int status = reading.ctx ? link_open(reading.ctx, NETLINK_ROUTE, &reading.routes) : -ENOMEM;
	if (!status)
		status = list_entries(kernel, &reading);
	talloc_free(reading.ctx);
	if (status)
		talloc_free(flows);
	else
		*out = flows;
	return status;
}

int kernel_end_flow(struct kernel *kernel, const struct flow *flow, const struct socket_entry *socket, bool *kept_socket)
{
	struct nlmsghdr *request = (struct nlmsghdr *)flow->tuple;
	int status = socket ? kernel_destroy_socket(socket) : 0;
	*kept_socket = status == -EOPNOTSUPP;
	if (status && !*kept_socket)
		return status;
	request->nlmsg_seq = kernel_sequence(kernel);
	status = kernel_request(kernel, request, NULL, NULL);
	return status == -ENOENT ? 0 : status;
}
