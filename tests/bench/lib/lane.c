/*
 * Namespaces are made by a child that lives as long as it takes to put the device in, and kept by a descriptor.
 *
 * The kernel takes a namespace apart in the background, its tables before its devices: when the other end of the device, which
 * lies in the bench's own namespace, is gone, so are the rules.
 */
#include "tests/bench/lib/lane.h"
#include "tests/bench/lib/frames.h"
#include <arpa/inet.h> /* first: the headers of netfilter mind what libc defines */
#include <errno.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <libnftnl/common.h>
#include <libnftnl/object.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <talloc.h>
#include <unistd.h>

#define PATIENCE_MS 60000

static int shell(const char *command)
{
	fflush(NULL);
	int status = system(command);
	if (status < 0)
		return -errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -ECHILD;
}

int lanes_start(void)
{
	if (unshare(CLONE_NEWNET))
		return -errno;
	int status = shell("echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6; ip link set lo up");
	int home = status ? -EIO : open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	return home < 0 && !status ? -errno : home;
}

void lanes_wait(void)
{
	for (int waited = 0; waited < PATIENCE_MS; waited += 20) {
		struct if_nameindex *devices = if_nameindex();
		bool alone = devices && devices[0].if_index && !devices[1].if_index; /* lo */
		if_freenameindex(devices);
		if (alone)
			return;
		usleep(20000);
	}
}

/* A process in a namespace of its own. */
static pid_t namespace_holder(void)
{
	int ready[2];
	char byte;
	if (pipe2(ready, O_CLOEXEC))
		return -errno;
	pid_t child = fork();
	if (!child) {
		bool entered = !unshare(CLONE_NEWNET) && write(ready[1], "", 1) == 1;
		close(ready[1]);
		while (entered)
			pause();
		_exit(1);
	}
	close(ready[1]);
	bool entered = child > 0 && read(ready[0], &byte, 1) == 1;
	close(ready[0]);
	return entered ? child : -EPERM;
}

static int open_namespace(pid_t holder)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)holder);
	int descriptor = open(path, O_RDONLY | O_CLOEXEC);
	return descriptor < 0 ? -errno : descriptor;
}

static const char network_script[] =
	"for f in all default; do echo 0 >/proc/sys/net/ipv6/conf/$f/disable_ipv6; echo 0 "
	">/proc/sys/net/ipv6/conf/$f/accept_dad;\n"
	"echo 0 >/proc/sys/net/ipv6/conf/$f/accept_ra; echo 0 >/proc/sys/net/ipv6/conf/$f/router_solicitations; done\n"
	"ip link set lo up; ip link set eth0 addrgenmode none arp off up\n";
static const char *const route_scripts[WAYS] = {
	[WAY_IN] = "ip route add local default dev lo; ip -6 route add local default dev lo\n",
	[WAY_OUT] = "ip route add default dev eth0; ip -6 route add default dev eth0\n",
	[WAY_FORWARD] = "ip link add out0 type veth peer name out1; ip link set out0 arp off up; ip link set out1 arp off up\n"
			"ip route add default dev out0; ip -6 route add default dev out0\n",
};
/* Tools set some of these for all namespaces' sake: set again after each load. */
static const char switches_script[] =
	"for f in all default lo eth0; do d=/proc/sys/net/ipv4/conf/$f; echo 0 >$d/rp_filter; echo 1 >$d/accept_local\n"
	"echo 1 >$d/route_localnet; echo 0 >$d/log_martians; echo 0 >$d/send_redirects; done\n"
	"echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding\n";
static const char behind_script[] =
	"nft -f - <<-END\n"
	"	table inet behind {\n"
	"		counter passed {}\n"
	"		chain in { type filter hook input priority 300; counter name passed drop; }\n"
	"		chain out { type filter hook output priority 300; counter name passed drop; }\n"
	"		chain forward { type filter hook forward priority 300; counter name passed drop; }\n"
	"	}\n"
	"END\n";

int lane_enter(const struct lane *lane)
{
	return setns(lane->namespace, CLONE_NEWNET) ? -errno : 0;
}

int lane_leave(const struct lane *lane)
{
	return setns(lane->home, CLONE_NEWNET) ? -errno : 0;
}

static int run_arguments(const struct lane *lane, const char *format, va_list arguments)
{
	char *command;
	if (vasprintf(&command, format, arguments) < 0)
		return -ENOMEM;
	int status = lane ? lane_enter(lane) : 0;
	if (!status)
		status = shell(command);
	free(command);
	int back = lane ? lane_leave(lane) : 0;
	return status ? status : back;
}

int lane_run(const struct lane *lane, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	int status = run_arguments(lane, format, arguments);
	va_end(arguments);
	return status;
}

int lane_shell(const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	int status = run_arguments(NULL, format, arguments);
	va_end(arguments);
	return status;
}

int lane_settle(const struct lane *lane)
{
	int status = lane_run(lane, "nft delete table inet behind 2>/dev/null; %s%s", switches_script, behind_script);
	return status > 0 ? -EIO : status;
}

static int take_counter(const struct nlmsghdr *message, void *data)
{
	struct nftnl_obj *counter = nftnl_obj_alloc();
	if (counter && !nftnl_obj_nlmsg_parse(message, counter))
		*(uint64_t *)data = nftnl_obj_get_u64(counter, NFTNL_OBJ_CTR_PKTS);
	nftnl_obj_free(counter);
	return MNL_CB_OK;
}

/* Asked for by itself: nft would first read every set there is. */
static int read_counter(struct mnl_socket *socket, uint64_t *packets)
{
	char buffer[8192] __attribute__((aligned(8)));
	struct nftnl_obj *counter = nftnl_obj_alloc();
	struct nlmsghdr *message = nftnl_nlmsg_build_hdr(buffer, NFT_MSG_GETOBJ, NFPROTO_INET, NLM_F_ACK, 1);
	if (!counter)
		return -ENOMEM;
	nftnl_obj_set_str(counter, NFTNL_OBJ_TABLE, "behind");
	nftnl_obj_set_str(counter, NFTNL_OBJ_NAME, "passed");
	nftnl_obj_set_u32(counter, NFTNL_OBJ_TYPE, NFT_OBJECT_COUNTER);
	nftnl_obj_nlmsg_build_payload(message, counter);
	nftnl_obj_free(counter);
	if (mnl_socket_sendto(socket, message, message->nlmsg_len) < 0)
		return -errno;
	for (int more = MNL_CB_OK; more > MNL_CB_STOP;) {
		ssize_t length = mnl_socket_recvfrom(socket, buffer, sizeof(buffer));
		more = length < 0 ? MNL_CB_ERROR
				  : mnl_cb_run(buffer, (size_t)length, 1, mnl_socket_get_portid(socket), take_counter, packets);
		if (more < 0)
			return -errno;
	}
	return 0;
}

int lane_passed(const struct lane *lane, uint64_t *packets)
{
	int status = lane_enter(lane);
	struct mnl_socket *socket = status ? NULL : mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
	if (!status)
		status = socket && !mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) ? read_counter(socket, packets) : -errno;
	if (socket)
		mnl_socket_close(socket);
	int back = lane_leave(lane);
	return status ? status : back;
}

static int open_sender(int family)
{
	int yes = 1;
	int descriptor = socket(family, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
	if (descriptor >= 0)
		setsockopt(descriptor, SOL_SOCKET, SO_BROADCAST, &yes, sizeof(yes));
	return descriptor < 0 ? -errno : descriptor;
}

static int lane_free(struct lane *lane)
{
	for (int i = 0, *const owned[] = {&lane->socket4, &lane->socket6, &lane->namespace}; i < 3; i++)
		if (*owned[i] >= 0)
			close(*owned[i]);
	return 0;
}

/* Inside the lane, all that takes a descriptor. */
static int open_descriptors(struct lane *lane)
{
	int status = lane_enter(lane);
	if (status)
		return status;
	lane->device = if_nametoindex("eth0");
	status = lane->device ? 0 : -ENODEV;
	if (!status) {
		lane->socket4 = open_sender(AF_INET);
		lane->socket6 = open_sender(AF_INET6);
		status = lane->socket4 < 0 ? lane->socket4 : lane->socket6 < 0 ? lane->socket6 : 0;
	}
	int back = lane_leave(lane);
	return status ? status : back;
}

static int add_device(const struct lane *lane, pid_t holder)
{
	char command[256];
	snprintf(command, sizeof(command),
		"ip link add %s type veth peer name eth0 address " FRAMES_HARDWARE " netns %d && "
		"ip link set %s addrgenmode none arp off up",
		lane->peer, (int)holder, lane->peer);
	return shell(command);
}

static int build(struct lane *lane)
{
	pid_t holder = namespace_holder();
	if (holder < 0)
		return holder;
	snprintf(lane->peer, sizeof(lane->peer), "lane%d", (int)holder);
	lane->namespace = open_namespace(holder);
	int status = lane->namespace < 0 ? lane->namespace : add_device(lane, holder);
	kill(holder, SIGKILL);
	waitpid(holder, NULL, 0);
	status = status ? status : lane_run(lane, "%s%s", network_script, route_scripts[lane->way]);
	if (status)
		return status > 0 ? -EIO : status;
	status = lane_settle(lane);
	return status ? status : open_descriptors(lane);
}

int lane_open(void *ctx, int home, enum way way, struct lane **out)
{
	struct lane *lane = talloc_zero(ctx, struct lane);
	if (!lane)
		return -ENOMEM;
	lane->way = way;
	lane->home = home;
	lane->namespace = lane->socket4 = lane->socket6 = -1;
	talloc_set_destructor(lane, lane_free);
	int status = build(lane);
	if (status)
		talloc_free(lane);
	else
		*out = lane;
	return status;
}
