/*
 * The namespace: lo and four veths whose other ends lie in the same namespace, unaddressed, as the places where packets are put
 * in.  The type of service chooses the route, so that any destination can be local or be sent on through any
 * interface: TOS 4 * (i + 1) leaves through interface i, LOCAL_TOS and what arrives without one is delivered here.
 */
#include "tests/netns/lib/world.h"
#include "tests/netns/lib/wire.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <libnftnl/set.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netpacket/packet.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <talloc.h>
#include <unistd.h>

#define LOCAL_TOS 0x1c
#define FENCE TAGS /* tag of the fence on interface i: FENCE + i */
#define SOCKETS_MAX 64

struct sender { /* a raw socket of one user and group */
	uint32_t uid, gid;
	int family, descriptor;
};

struct world_of_packets {
	int packet;                             /* AF_PACKET */
	unsigned index[INTERFACES];             /* where to put packets in that shall arrive on interface i */
	unsigned char hardware[INTERFACES][6];  /* of interface i itself */
	struct sender senders[SOCKETS_MAX];
	size_t sender_count;
	struct mnl_socket *netlink;
	bool users;
};

static const char table_text[] =
	"table inet seen {\n"
	"	set early { typeof ip id; flags dynamic; size 131072; }\n"
	"	set invalid { typeof ip id; flags dynamic; size 131072; }\n"
	"	set late { typeof ip id; flags dynamic; size 131072; }\n"
	"	set answered { typeof ip id; flags dynamic; size 131072; }\n"
	"	chain note_early {\n"
	"		meta nfproto ipv4 add @early { ip id } ip id >= 60000 drop\n"
	"		meta nfproto ipv6 add @early { @nh,16,16 } @nh,16,16 >= 60000 drop\n"
	"		meta nfproto ipv6 @nh,16,16 0 drop\n" /* the kernel's own: our packets carry a tag */
	"		ct state invalid meta nfproto ipv4 add @invalid { ip id }\n"
	"		ct state invalid meta nfproto ipv6 add @invalid { @nh,16,16 }\n"
	"	}\n"
	"	chain note_late {\n"
	"		meta nfproto ipv4 add @late { ip id }\n"
	"		meta nfproto ipv6 add @late { @nh,16,16 }\n"
	"		drop\n"
	"	}\n"
	"	chain early_in { type filter hook input priority -150; jump note_early; }\n"
	"	chain early_forward { type filter hook forward priority -150; jump note_early; }\n"
	"	chain early_out { type filter hook output priority -150;\n"
	"		tcp flags rst accept\n" /* answers: we send no such packets ourselves */
	"		icmp type destination-unreachable icmp code 13 accept\n"
	"		icmpv6 type destination-unreachable icmpv6 code 1 accept\n"
	"		jump note_early\n"
	"	}\n"
	"	chain late_in { type filter hook input priority 150; jump note_late; }\n"
	"	chain late_forward { type filter hook forward priority 150; jump note_late; }\n"
	"	chain late_out { type filter hook output priority 150;\n"
	"		tcp flags rst add @answered { @th,80,16 } drop\n"
	"		icmp type destination-unreachable icmp code 13 add @answered { @th,96,16 } drop\n"
	"		icmpv6 type destination-unreachable icmpv6 code 1 add @answered { @th,80,16 } drop\n"
	"		jump note_late\n"
	"	}\n"
	"}\n";
static const char clear_text[] =
	"flush set inet seen early; flush set inet seen invalid; flush set inet seen late; flush set inet seen answered\n";

static int run_with_input(const char *command, const char *input)
{
	FILE *pipe = popen(command, "we");
	if (!pipe)
		return -errno;
	fputs(input, pipe);
	return pclose(pipe) ? -EIO : 0;
}

static int write_file(const char *path, const char *text)
{
	int descriptor = open(path, O_WRONLY | O_CLOEXEC);
	if (descriptor < 0)
		return -errno;
	ssize_t written = write(descriptor, text, strlen(text));
	close(descriptor);
	return written < 0 ? -errno : 0;
}

static void set_switches(void)
{
	/* Some do not exist, or may not be set in a user namespace: the packets that then stay away are counted. */
	write_file("/proc/sys/net/ipv4/ip_forward", "1");
	write_file("/proc/sys/net/ipv6/conf/all/forwarding", "1");
	write_file("/proc/sys/net/ipv4/icmp_ratemask", "0");
	write_file("/proc/sys/net/ipv4/icmp_msgs_per_sec", "1000000000");
	write_file("/proc/sys/net/ipv4/icmp_msgs_burst", "1000000");
	write_file("/proc/sys/net/ipv6/icmp/ratelimit", "0");
	write_file("/proc/sys/net/ipv6/icmp/ratemask", "2");
	write_file("/proc/sys/net/ipv6/auto_flowlabels", "0");
	static const char *const v4[] = {"rp_filter", "0", "accept_local", "1", "route_localnet", "1", "send_redirects", "0", "forwarding", "1"};
	const char *const dirs[] = {"all", "default", "lo", "eth0", "eth1", "wg0", "wg12"};
	for (size_t d = 0; d < sizeof(dirs) / sizeof(*dirs); d++)
		for (size_t i = 0; i < sizeof(v4) / sizeof(*v4); i += 2) {
			char path[128];
			snprintf(path, sizeof(path), "/proc/sys/net/ipv4/conf/%s/%s", dirs[d], v4[i]);
			write_file(path, v4[i + 1]);
		}
}

static void network_commands(FILE *links, FILE *four, FILE *six)
{
	for (int i = 1; i < INTERFACES; i++) {
		const char *name = interface_names[i];
		fprintf(links, "link add %s type veth peer name peer%d\n", name, i);
		fprintf(links, "link set dev %s addrgenmode none arp off up\nlink set dev peer%d addrgenmode none arp off up\n", name, i);
		fprintf(four, "rule add pref 20 iif %s lookup 200\n", name);
		fprintf(six, "rule add pref 20 iif %s lookup 200\n", name);
	}
	fprintf(links, "link set lo up\n");
	for (FILE *stream = four; stream; stream = stream == four ? six : NULL) {
		for (int i = 0; i < INTERFACES; i++) {
			fprintf(stream, "rule add pref 10 tos 0x%02x lookup %d\n", 4 * (i + 1), 100 + i);
			fprintf(stream, "route add default dev %s table %d\n", interface_names[i], 100 + i);
		}
		fprintf(stream, "rule add pref 10 tos 0x%02x lookup 200\nroute add local default dev lo table 200\n", LOCAL_TOS);
		/* Answers leave through eth0, from whatever address was asked. */
		fprintf(stream, "route add default dev eth0\nroute add local default dev lo table local\n");
		fprintf(stream, "rule add pref 90 lookup main\nrule add pref 100 lookup local\nrule del pref 0\n");
	}
	fprintf(four, "addr add 192.168.77.1/32 dev eth0\n");
}

static int make_network(void *ctx)
{
	char *text[3];
	size_t length[3];
	FILE *streams[3];
	for (int i = 0; i < 3; i++)
		if (!(streams[i] = open_memstream(&text[i], &length[i])))
			return -errno;
	network_commands(streams[0], streams[1], streams[2]);
	for (int i = 0; i < 3; i++)
		fclose(streams[i]);
	int error = run_with_input("ip -batch -", text[0]);
	set_switches();
	error = error ?: run_with_input("ip -4 -batch -", text[1]) ?: run_with_input("ip -6 -batch -", text[2]);
	for (int i = 0; i < 3; i++)
		free(text[i]);
	(void)ctx;
	return error ?: run_with_input("nft -f -", table_text);
}

static int find_interfaces(struct world_of_packets *world)
{
	for (int i = 0; i < INTERFACES; i++) {
		struct ifreq request = {0};
		char peer[16];
		strncpy(request.ifr_name, interface_names[i], IFNAMSIZ - 1);
		if (ioctl(world->packet, SIOCGIFHWADDR, &request))
			return -errno;
		memcpy(world->hardware[i], request.ifr_hwaddr.sa_data, 6);
		snprintf(peer, sizeof(peer), "peer%d", i);
		world->index[i] = if_nametoindex(i ? peer : "lo");
	}
	return 0;
}

/* Root of the machine, or of a user namespace of our own. */
static int enter_namespace(void)
{
	char map[64];
	uid_t uid = getuid();
	gid_t gid = getgid();
	if (unshare(CLONE_NEWNET) == 0)
		return 0;
	if (unshare(CLONE_NEWUSER | CLONE_NEWNET)) {
		puts("needs root or unprivileged user namespaces");
		return 77;
	}
	write_file("/proc/self/setgroups", "deny");
	snprintf(map, sizeof(map), "0 %u 1", uid);
	write_file("/proc/self/uid_map", map);
	snprintf(map, sizeof(map), "0 %u 1", gid);
	write_file("/proc/self/gid_map", map);
	return 0;
}

static bool other_users(void)
{
	setfsuid(1000);
	bool can = setfsuid(0) == 1000;
	return can;
}

/* One processor: what we put in is then handled in order, and a fence behind it means that all before it is through. */
static void stay_on_one_processor(void)
{
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET(sched_getcpu(), &set);
	sched_setaffinity(0, sizeof(set), &set);
}

static int close_world(struct world_of_packets *world)
{
	for (size_t i = 0; i < world->sender_count; i++)
		close(world->senders[i].descriptor);
	if (world->packet >= 0)
		close(world->packet);
	if (world->netlink)
		mnl_socket_close(world->netlink);
	return 0;
}

int packets_world_new(void *ctx, struct world_of_packets **out)
{
	int error = enter_namespace();
	if (error)
		return error;
	struct world_of_packets *world = talloc_zero(ctx, struct world_of_packets);
	if (!world)
		return -ENOMEM;
	world->packet = -1;
	talloc_set_destructor(world, close_world);
	stay_on_one_processor();
	world->users = other_users();
	error = make_network(ctx);
	if (error)
		return error;
	world->packet = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	world->netlink = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
	if (world->packet < 0 || !world->netlink || mnl_socket_bind(world->netlink, 0, MNL_SOCKET_AUTOPID))
		return -errno;
	*out = world;
	return find_interfaces(world);
}

bool packets_world_users(const struct world_of_packets *world)
{
	return world->users;
}

int packets_world_clear(const char *also)
{
	char *text;
	if (asprintf(&text, "%s%s", clear_text, also) < 0)
		return -ENOMEM;
	int error = run_with_input("nft -f -", text);
	free(text);
	return error;
}

/* Sending. */

static void put_in(struct world_of_packets *world, int arriving, int family, const unsigned char *bytes, size_t length)
{
	unsigned char frame[14 + WIRE_MAX] = {0};
	struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_ifindex = (int)world->index[arriving], .sll_halen = 6};
	memcpy(frame, world->hardware[arriving], 6);
	frame[6] = arriving ? 2 : 0;
	frame[12] = family == 4 ? 0x08 : 0x86;
	frame[13] = family == 4 ? 0x00 : 0xdd;
	memcpy(frame + 14, bytes, length);
	while (sendto(world->packet, frame, 14 + length, 0, (struct sockaddr *)&to, sizeof(to)) < 0 && (errno == ENOBUFS || errno == EINTR))
		usleep(100);
}

static int open_sender(const struct sender *wanted)
{
	int yes = 1;
	setfsgid(wanted->gid);
	setfsuid(wanted->uid);
	int descriptor = socket(wanted->family == 4 ? AF_INET : AF_INET6, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
	setfsuid(0);
	setfsgid(0);
	if (descriptor >= 0)
		setsockopt(descriptor, SOL_SOCKET, SO_BROADCAST, &yes, sizeof(yes));
	return descriptor;
}

/* `meta skuid` is the file system user at the time when the socket was made. */
static int find_sender(struct world_of_packets *world, const struct probe *probe)
{
	struct sender wanted = {probe->uid, probe->gid, probe->family, -1};
	for (size_t i = 0; i < world->sender_count; i++)
		if (world->senders[i].uid == wanted.uid && world->senders[i].gid == wanted.gid && world->senders[i].family == wanted.family)
			return world->senders[i].descriptor;
	if (world->sender_count == SOCKETS_MAX) {
		close(world->senders[0].descriptor);
		world->senders[0] = world->senders[--world->sender_count];
	}
	wanted.descriptor = open_sender(&wanted);
	if (wanted.descriptor >= 0)
		world->senders[world->sender_count++] = wanted;
	return wanted.descriptor;
}

static void send_out(struct world_of_packets *world, const struct probe *probe, int tos, unsigned char *bytes, size_t length)
{
	union {
		struct sockaddr_in four;
		struct sockaddr_in6 six;
	} to = {0};
	char control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8))) = {0};
	struct iovec part = {bytes, length};
	struct msghdr message = {.msg_name = &to, .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	header->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(header), &tos, sizeof(tos));
	if (probe->family == 4) {
		to.four.sin_family = AF_INET;
		memcpy(&to.four.sin_addr, bytes + 16, 4);
		header->cmsg_level = IPPROTO_IP, header->cmsg_type = IP_TOS;
		message.msg_namelen = sizeof(to.four);
	} else {
		to.six.sin6_family = AF_INET6;
		memcpy(&to.six.sin6_addr, bytes + 24, 16);
		header->cmsg_level = IPPROTO_IPV6, header->cmsg_type = IPV6_TCLASS;
		message.msg_namelen = sizeof(to.six);
	}
	sendmsg(find_sender(world, probe), &message, 0); /* a drop by the rules is EPERM; what was not sent, the early note does not hold */
}

static void send_one(struct world_of_packets *world, const struct probe *probe, uint16_t tag)
{
	unsigned char bytes[WIRE_MAX];
	int tos = probe->leaving >= 0 ? 4 * (probe->leaving + 1) : probe->arriving == LOOPBACK ? LOCAL_TOS : 0;
	size_t length = wire_packet(probe, tag, (uint8_t)tos, bytes);
	if (probe->way == WAY_OUT)
		send_out(world, probe, tos, bytes, length);
	else
		put_in(world, probe->arriving, probe->family, bytes, length);
}

static void send_fences(struct world_of_packets *world)
{
	for (int i = 0; i < INTERFACES; i++) {
		struct probe fence = {.way = WAY_IN, .family = 4, .arriving = i, .leaving = -1, .protocol = 17, .service = 9,
			.source = 0x0a010101, .destination = 0x0a020202};
		send_one(world, &fence, (uint16_t)(FENCE + i));
	}
}

/* Observing. */

struct reading {
	struct observation *seen;
	size_t count, fences;
	size_t member; /* offset in struct observation */
};

static void note(struct reading *reading, uint16_t tag)
{
	if (tag >= FENCE)
		reading->fences++;
	else if (tag && tag <= reading->count)
		*((bool *)((char *)&reading->seen[tag - 1] + reading->member)) = true;
}

static int read_elements(const struct nlmsghdr *message, void *data)
{
	struct nftnl_set *set = nftnl_set_alloc();
	if (!set || nftnl_set_elems_nlmsg_parse(message, set)) {
		nftnl_set_free(set);
		return MNL_CB_ERROR;
	}
	struct nftnl_set_elems_iter *iterator = nftnl_set_elems_iter_create(set);
	for (struct nftnl_set_elem *element; iterator && (element = nftnl_set_elems_iter_next(iterator));) {
		uint32_t length;
		const unsigned char *key = nftnl_set_elem_get(element, NFTNL_SET_ELEM_KEY, &length);
		note(data, (uint16_t)(key[0] << 8 | key[1]));
	}
	nftnl_set_elems_iter_destroy(iterator);
	nftnl_set_free(set);
	return MNL_CB_OK;
}

static int read_set(struct world_of_packets *world, const char *name, struct reading *reading)
{
	char buffer[1 << 16] = {0};
	struct nftnl_set *set = nftnl_set_alloc();
	if (!set)
		return -ENOMEM;
	struct nlmsghdr *message = nftnl_nlmsg_build_hdr(buffer, NFT_MSG_GETSETELEM, NFPROTO_INET, NLM_F_DUMP, 1);
	nftnl_set_set_str(set, NFTNL_SET_TABLE, "seen");
	nftnl_set_set_str(set, NFTNL_SET_NAME, name);
	nftnl_set_elems_nlmsg_build_payload(message, set);
	nftnl_set_free(set);
	if (mnl_socket_sendto(world->netlink, message, message->nlmsg_len) < 0)
		return -errno;
	for (int more = MNL_CB_OK; more > MNL_CB_STOP;) {
		ssize_t length = mnl_socket_recvfrom(world->netlink, buffer, sizeof(buffer));
		if (length < 0)
			return -errno;
		more = mnl_cb_run(buffer, (size_t)length, 1, mnl_socket_get_portid(world->netlink), read_elements, reading);
		if (more < 0)
			return -errno;
	}
	return 0;
}

static int wait_for_fences(struct world_of_packets *world, struct reading *early)
{
	for (int tries = 0; tries < 2000; tries++) {
		early->fences = 0;
		int error = read_set(world, "early", early);
		if (error || early->fences >= INTERFACES)
			return error;
		usleep(1000);
	}
	return -ETIMEDOUT;
}

int packets_world_send(struct world_of_packets *world, const struct probe *probes, size_t count, struct observation *seen)
{
	struct reading readings[] = {{seen, count, 0, offsetof(struct observation, early)}, {seen, count, 0, offsetof(struct observation, invalid)},
		{seen, count, 0, offsetof(struct observation, late)}, {seen, count, 0, offsetof(struct observation, answered)}};
	memset(seen, 0, count * sizeof(*seen));
	for (size_t i = 0; i < count; i++)
		send_one(world, &probes[i], (uint16_t)(i + 1));
	send_fences(world);
	int error = wait_for_fences(world, &readings[0]);
	return error ?: read_set(world, "invalid", &readings[1]) ?: read_set(world, "late", &readings[2]) ?:
		read_set(world, "answered", &readings[3]);
}
