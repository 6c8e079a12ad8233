/*
 * A host under siege: the peer is a process in a namespace of its own that sends what it is told to, and the agent runs as
 * another user with the one right that it needs.
 */
#include "tests/netns/lib/siege.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define AGENT_USER 65534
#define HOST "10.9.0.1"
#define PEER "10.9.0.2"

const char policy_a[] = "default in deny\ndefault out allow\nallow in udp/1001\nallow in tcp/{ 22, 80, 8000-8010 } from { "
			"192.0.2.0/24, 198.51.100.7 }\n";
const char policy_b[] = "default in deny\ndefault out allow\nallow in udp/1001\nallow in udp/1002\n"
			"allow in tcp/{ 22, 80, 8000-8010 } from { 192.0.2.0/24, 203.0.113.9 }\n";

void give_up(const char *file, int line, const char *format, ...)
{
	va_list arguments;
	printf("  %s:%d: not so: ", file, line);
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	putchar('\n');
	exit(1);
}

void sleep_ms(unsigned ms)
{
	usleep(ms * 1000);
}

uint64_t now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

int run(const char *format, ...)
{
	char command[4096];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(command, sizeof command, format, arguments);
	va_end(arguments);
	int status = system(command);
	return status == -1 || !WIFEXITED(status) ? -1 : WEXITSTATUS(status);
}

/* ---- the peer ---- */

enum order { ORDER_ONE_EACH, ORDER_FLOOD, ORDER_STOP };

static void send_datagram(int raw, unsigned port, unsigned *source)
{
	struct {
		struct iphdr ip;
		struct udphdr udp;
		uint32_t body;
	} packet = {.ip = {.version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_UDP, .tot_len = htons(sizeof packet)}};
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = inet_addr(HOST)};
	packet.ip.saddr = inet_addr(PEER);
	packet.ip.daddr = inet_addr(HOST);
	*source = *source >= 65000 ? 1024 : *source + 1;
	packet.udp.source = htons((uint16_t)*source);
	packet.udp.dest = htons((uint16_t)port);
	packet.udp.len = htons(sizeof packet.udp + sizeof packet.body); /* a checksum of 0: none */
	while (sendto(raw, &packet, sizeof packet, 0, (const struct sockaddr *)&to, sizeof to) < 0 && errno == ENOBUFS)
		usleep(100);
}

static void peer_flood(int orders, int raw, unsigned *source)
{
	struct flood flood = {0};
	struct pollfd ready = {.fd = orders, .events = POLLIN};
	for (unsigned i = 0; poll(&ready, 1, 0) == 0; i++) {
		for (unsigned port = 0; port < PORTS; port++) {
			send_datagram(raw, PORT_ALWAYS + port, source);
			flood.sent[port]++;
		}
		if (i % 8 == 7)
			usleep(500); /* two cores are for everybody */
	}
	char stop;
	if (read(orders, &stop, 1) == 1)
		(void)!write(orders, &flood, sizeof flood);
}

static void peer_serve(int orders)
{
	unsigned source = 1024;
	char order;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	int raw = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
	while (raw >= 0 && read(orders, &order, 1) == 1) {
		if (order == ORDER_FLOOD) {
			peer_flood(orders, raw, &source);
			continue;
		}
		for (unsigned port = 0; port < PORTS; port++)
			send_datagram(raw, PORT_ALWAYS + port, &source);
		(void)!write(orders, &order, 1);
	}
	_exit(0);
}

static void start_peer(struct siege *siege)
{
	int pair[2];
	char ready;
	EXPECT(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	pid_t peer = fork(); /* *siege is shared memory */
	EXPECT(peer >= 0);
	if (!peer) {
		if (unshare(CLONE_NEWNET) || write(pair[1], "r", 1) != 1 || read(pair[1], &ready, 1) != 1)
			_exit(1);
		run("ip link set lo up; ip addr add " PEER "/24 dev there; ip link set there up");
		(void)!write(pair[1], "u", 1);
		peer_serve(pair[1]);
	}
	siege->peer = peer;
	siege->to_peer = pair[0];
	EXPECT(read(pair[0], &ready, 1) == 1);
	EXPECT(!run("ip link set lo up; ip link add here type veth peer name there netns %d", (int)siege->peer));
	EXPECT(!run("ip addr add " HOST "/24 dev here; ip link set here up"));
	EXPECT(write(pair[0], "g", 1) == 1 && read(pair[0], &ready, 1) == 1);
	/* Known to each other, so that no packet waits for an answer to ARP. */
	EXPECT(!run("until ping -c 1 -W 1 " PEER " >/dev/null 2>&1 || [ $((n = n + 1)) = 5 ]; do sleep 0.05; done"));
}

/* ---- receiving ---- */

static void open_receivers(struct siege *siege)
{
	int room = 32 << 20;
	for (unsigned port = 0; port < PORTS; port++) {
		struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)(PORT_ALWAYS + port))};
		siege->receivers[port] = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		EXPECT(siege->receivers[port] >= 0);
		setsockopt(siege->receivers[port], SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
		EXPECT(!bind(siege->receivers[port], (const struct sockaddr *)&at, sizeof at));
	}
}

void flood_drain(struct siege *siege)
{
	char body[64];
	for (unsigned port = 0; port < PORTS; port++)
		while (recv(siege->receivers[port], body, sizeof body, 0) >= 0)
			siege->received[port]++;
}

struct passed probe(struct siege *siege)
{
	char order = ORDER_ONE_EACH;
	flood_drain(siege);
	memset(siege->received, 0, sizeof siege->received);
	EXPECT(write(siege->to_peer, &order, 1) == 1 && read(siege->to_peer, &order, 1) == 1);
	/* What was sent has gone through the rules when the send returned, or is about to. */
	for (unsigned i = 0; i < 3; i++) {
		sleep_ms(1);
		flood_drain(siege);
	}
	return (struct passed){siege->received[0] != 0, siege->received[1] != 0, siege->received[2] != 0};
}

bool enforces(struct siege *siege, bool b)
{
	struct passed passed = probe(siege);
	return passed.always && passed.sometimes == b && !passed.never;
}

bool soon_enforces(struct siege *siege, bool b)
{
	for (uint64_t end = now_ms() + 20000; now_ms() < end; sleep_ms(5))
		if (enforces(siege, b))
			return true;
	return false;
}

void flood_begin(struct siege *siege)
{
	char order = ORDER_FLOOD;
	flood_drain(siege);
	memset(siege->received, 0, sizeof siege->received);
	EXPECT(write(siege->to_peer, &order, 1) == 1);
}

struct flood flood_end(struct siege *siege)
{
	char order = ORDER_STOP;
	struct flood flood;
	EXPECT(write(siege->to_peer, &order, 1) == 1 && read(siege->to_peer, &flood, sizeof flood) == sizeof flood);
	for (unsigned i = 0; i < 20; i++) {
		sleep_ms(2);
		flood_drain(siege);
	}
	for (unsigned port = 0; port < PORTS; port++)
		flood.arrived[port] = siege->received[port];
	return flood;
}

/* ---- the agent ---- */

void put_policy(struct siege *siege, const char *text)
{
	char draft[160];
	snprintf(draft, sizeof draft, "%s.new", siege->policy);
	FILE *file = fopen(draft, "we");
	EXPECT(file && fputs(text, file) >= 0 && !fclose(file) && !rename(draft, siege->policy));
}

/* CAP_NET_ADMIN and nothing else, as an ordinary user. */
static bool drop_rights(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {{0}};
	for (int capability = 0; capability <= CAP_LAST_CAP; capability++)
		if (capability != CAP_NET_ADMIN)
			prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) || setresgid(AGENT_USER, AGENT_USER, AGENT_USER) ||
		setresuid(AGENT_USER, AGENT_USER, AGENT_USER))
		return false;
	data[0].effective = data[0].permitted = data[0].inheritable = 1u << CAP_NET_ADMIN;
	return !syscall(SYS_capset, &header, data) && !prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_ADMIN, 0, 0);
}

pid_t spawn_agent(struct siege *siege, void (*prepare)(void))
{
	char log[160];
	while (recv(siege->notify, log, sizeof log, MSG_DONTWAIT) >= 0)
		; /* what an earlier agent has said */
	pid_t child = fork();
	EXPECT(child >= 0);
	if (child)
		return child;
	snprintf(log, sizeof log, "%s/log", siege->directory);
	int output = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	dup2(output, 2);
	dup2(output, 1);
	if (!siege->privileged && !drop_rights())
		_exit(99);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (prepare)
		prepare();
	execl(siege->binary, "portpolicy", "agent", siege->owner ? "--table=portpolicy" : "--no-owner", siege->policy,
		(char *)NULL);
	_exit(98);
}

bool wait_ready(struct siege *siege, int ms)
{
	struct pollfd ready = {.fd = siege->notify, .events = POLLIN};
	char text[256];
	for (uint64_t end = now_ms() + (uint64_t)ms; now_ms() < end;) {
		if (poll(&ready, 1, 50) != 1)
			continue;
		ssize_t length = recv(siege->notify, text, sizeof text - 1, 0);
		text[length < 0 ? 0 : length] = 0;
		if (!strncmp(text, "READY=1", 7))
			return true;
	}
	return false;
}

void start_agent(struct siege *siege)
{
	siege->agent = spawn_agent(siege, NULL);
	if (!wait_ready(siege, 10000)) {
		run("sed 's/^/  | /' %s/log", siege->directory);
		give_up(__FILE__, __LINE__, "the agent is not ready (%d)", agent_status(siege, 0));
	}
}

int agent_status(struct siege *siege, int ms)
{
	int status;
	for (uint64_t end = now_ms() + (uint64_t)ms;; sleep_ms(2)) {
		if (waitpid(siege->agent, &status, WNOHANG) == siege->agent)
			return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
		if (now_ms() >= end)
			return -1000;
	}
}

void kill_agent(struct siege *siege, int signal)
{
	EXPECT(!kill(siege->agent, signal));
	if (agent_status(siege, 3000) == -1000)
		give_up(__FILE__, __LINE__, "the agent does not end");
	siege->agent = 0;
}

bool agent_said(struct siege *siege, const char *text)
{
	static char log[1 << 18];
	char path[96];
	snprintf(path, sizeof path, "%s/log", siege->directory);
	FILE *file = fopen(path, "re");
	size_t length = file ? fread(log, 1, sizeof log - 1, file) : 0;
	if (file)
		fclose(file);
	log[length] = 0;
	return strstr(log, text);
}

bool soon_said(struct siege *siege, const char *text)
{
	for (uint64_t end = now_ms() + 10000; now_ms() < end; sleep_ms(5))
		if (agent_said(siege, text))
			return true;
	return false;
}

/* ---- set up ---- */

static void open_notify(struct siege *siege)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	snprintf(at.sun_path, sizeof at.sun_path, "%s/notify", siege->directory);
	siege->notify = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	EXPECT(siege->notify >= 0 && !bind(siege->notify, (const struct sockaddr *)&at, sizeof at) && !chmod(at.sun_path, 0666));
	setenv("NOTIFY_SOCKET", at.sun_path, 1);
}

void siege_set_up(struct siege *siege)
{
	const char *build = getenv("BUILD");
	snprintf(siege->directory, sizeof siege->directory, "/tmp/portpolicy-siege-XXXXXX");
	EXPECT(mkdtemp(siege->directory) && !chmod(siege->directory, 0755));
	snprintf(siege->policy, sizeof siege->policy, "%s/host.policy", siege->directory);
	snprintf(siege->binary, sizeof siege->binary, "%s/portpolicy", siege->directory);
	EXPECT(!run("cp %s/portpolicy %s && mkdir -m 777 %s/state %s/run", build ? build : "build", siege->binary,
		siege->directory, siege->directory));
	char path[96];
	snprintf(path, sizeof path, "%s/state", siege->directory);
	setenv("STATE_DIRECTORY", path, 1);
	snprintf(path, sizeof path, "%s/run", siege->directory);
	setenv("RUNTIME_DIRECTORY", path, 1);
	siege->owner = true;
	open_notify(siege);
	start_peer(siege);
	open_receivers(siege);
	put_policy(siege, policy_a);
}
