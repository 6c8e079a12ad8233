/*
 * The first apply cuts nobody's session: connections over veth pairs, made before the rules come.
 *
 * To the host itself whichever side speaks next, over IPv4, IPv6 and an IPv6 socket that speaks IPv4; and through a router.
 */
#include "tests/netns/lib/kernel_test.h"

/* Connections: the peer lives in a namespace of its own, behind a veth pair. */
struct peer {
	pid_t pid;
	int to, from; /* pipes: one byte for each step */
};

static struct peer peer_start(int (*body)(int to, int from))
{
	int down[2], up[2];
	CHECK(!pipe(down) && !pipe(up));
	struct peer peer = {.pid = fork(), .to = down[1], .from = up[0]};
	CHECK(peer.pid >= 0);
	if (!peer.pid) {
		alarm(60);
		CHECK(!unshare(CLONE_NEWNET));
		_exit(body(up[1], down[0]));
	}
	close(down[0]);
	close(up[1]);
	return peer;
}

static void tell(int fd)
{
	CHECK(write(fd, "x", 1) == 1);
}

static void hear(int fd)
{
	char byte;
	CHECK(read(fd, &byte, 1) == 1);
}

static socklen_t address(struct sockaddr_storage *out, const char *text, uint16_t port)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)out;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;
	memset(out, 0, sizeof(*out));
	if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
		return sizeof(*v4);
	}
	CHECK(inet_pton(AF_INET6, text, &v6->sin6_addr) == 1);
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons(port);
	return sizeof(*v6);
}

static int socket_at(int type, const char *local, uint16_t port)
{
	struct sockaddr_storage to;
	int on = 1;
	socklen_t length = address(&to, local, port);
	int fd = socket(to.ss_family, type | SOCK_CLOEXEC, 0);
	CHECK(fd >= 0);
	CHECK(!setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)));
	CHECK(!bind(fd, (struct sockaddr *)&to, length));
	if (type == SOCK_STREAM)
		CHECK(!listen(fd, 8));
	return fd;
}

static int connect_to(int type, const char *remote, uint16_t port)
{
	struct sockaddr_storage to;
	socklen_t length = address(&to, remote, port);
	for (int i = 0; i < 50; i++) {
		int fd = socket(to.ss_family, type | SOCK_CLOEXEC, 0);
		CHECK(fd >= 0);
		if (!connect(fd, (struct sockaddr *)&to, length))
			return fd;
		close(fd);
		usleep(100000);
	}
	CHECK(!"connected");
	return -1;
}

static bool arrives(int fd)
{
	struct pollfd wait = {.fd = fd, .events = POLLIN};
	char byte;
	return poll(&wait, 1, 3000) == 1 && read(fd, &byte, 1) == 1;
}

/* The peer listens on TCP 1000 to 1001 over both families and answers on UDP 53; it speaks first on 1001. */
static const char *const peer_addresses[] = {"10.9.0.2", "fd09::2"};

static int peer_body(int to, int from)
{
	int listening[4], open[4], udp;
	shell("ip link set lo up");
	tell(to);
	hear(from); /* the link is there */
	CHECK(!shell("ip address add 10.9.0.2/24 dev pv1 && ip -6 address add fd09::2/64 dev pv1 nodad && ip link set pv1 up"));
	for (int i = 0; i < 4; i++)
		listening[i] = socket_at(SOCK_STREAM, peer_addresses[i / 2], (uint16_t)(1000 + i % 2));
	udp = socket_at(SOCK_DGRAM, "10.9.0.2", 53);
	tell(to);
	for (int i = 0; i < 4; i++)
		CHECK((open[i] = accept(listening[i], NULL, NULL)) >= 0);
	CHECK(arrives(udp));
	hear(from); /* the rules are there */
	for (int i = 0; i < 4; i++) {
		if (i % 2)
			CHECK(write(open[i], "p", 1) == 1);
		CHECK(arrives(open[i]));
		if (!(i % 2))
			CHECK(write(open[i], "p", 1) == 1);
	}
	tell(to);
	hear(from);
	return 0;
}

static const struct nft_rule strict_rules[] = {
	RULE({.kind = STEP_COMPARE, KEY1(KEY_CT_STATE), .mask = 2, .negated = true}, VERDICT(ACCEPT)),
	RULE(IPV6, PROTOCOL(58), VERDICT(ACCEPT)),
	RULE(VERDICT(DROP)),
};
static const struct chain strict_chains[] = {
	{.name = "input", .hook = HOOK_INPUT, .policy_drop = true, .rules = strict_rules, .count = COUNT(strict_rules)},
	{.name = "output", .hook = HOOK_OUTPUT, .policy_drop = true, .rules = strict_rules, .count = COUNT(strict_rules)},
	{.name = "forward", .hook = HOOK_FORWARD, .policy_drop = true, .rules = strict_rules, .count = COUNT(strict_rules)},
};
static const struct ruleset strict = {
	.table = "test", .exists = true, .chains = strict_chains, .chain_count = COUNT(strict_chains)};

static void link_peer(const struct peer *peer)
{
	char command[256];
	hear(peer->from);
	snprintf(command, sizeof(command),
		"ip link add pv0 type veth peer name pv1 netns %d && ip address add 10.9.0.1/24 dev pv0 && "
		"ip -6 address add fd09::1/64 dev pv0 nodad && ip link set pv0 up",
		peer->pid);
	CHECK(!shell(command));
	tell(peer->to);
	hear(peer->from);
}

/* One of the four comes from a v6 socket that speaks IPv4: a mapped one. */
static void body_adoption(struct state *state)
{
	int fd[4], status;
	size_t changed, adopted;
	struct peer peer = peer_start(peer_body);
	link_peer(&peer);
	for (int i = 0; i < 4; i++)
		fd[i] = connect_to(SOCK_STREAM, i == 1 ? "::ffff:10.9.0.2" : peer_addresses[i / 2], (uint16_t)(1000 + i % 2));
	int udp = connect_to(SOCK_DGRAM, "10.9.0.2", 53);
	CHECK(write(udp, "q", 1) == 1);
	CHECK(!install(state, &strict, &changed));
	CHECK(changed);
	tell(peer.to);
	for (int i = 0; i < 4; i++) {
		if (!(i % 2))
			CHECK(write(fd[i], "h", 1) == 1);
		CHECK(arrives(fd[i]));
		if (i % 2)
			CHECK(write(fd[i], "h", 1) == 1);
	}
	hear(peer.from);
	CHECK(!kernel_adopt_connections(state->kernel, &adopted)); /* again: all are there, and are corrected */
	CHECK(adopted == 5);
	struct sockaddr_storage to;
	socklen_t length = address(&to, "10.9.0.2", 1000);
	int fresh = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0); /* a new one is cut */
	CHECK(connect(fresh, (struct sockaddr *)&to, length) < 0);
	struct pollfd wait = {.fd = fresh, .events = POLLOUT};
	CHECK(poll(&wait, 1, 300) == 0);
	tell(peer.to);
	waitpid(peer.pid, &status, 0);
	CHECK(WIFEXITED(status) && !WEXITSTATUS(status));
}

static void standing_connections_live_on(void **state)
{
	(void)state;
	in_namespace(body_adoption);
}

/* A router in the middle has no sockets to ask: a set that runs out lets segments of standing connections pass. */
static int far_body(int to, int from)
{
	int open, listening;
	shell("ip link set lo up");
	tell(to);
	hear(from);
	CHECK(!shell("ip address add 10.8.0.2/24 dev fv1 && ip link set fv1 up && ip route add default via 10.8.0.1"));
	listening = socket_at(SOCK_STREAM, "10.8.0.2", 1000);
	tell(to);
	CHECK((open = accept(listening, NULL, NULL)) >= 0);
	hear(from);
	CHECK(write(open, "p", 1) == 1);
	CHECK(arrives(open));
	tell(to);
	hear(from);
	return 0;
}

static int near_body(int to, int from)
{
	int fd;
	shell("ip link set lo up");
	tell(to);
	hear(from);
	CHECK(!shell("ip address add 10.7.0.2/24 dev nv1 && ip link set nv1 up && ip route add default via 10.7.0.1"));
	tell(to);
	hear(from);
	fd = connect_to(SOCK_STREAM, "10.8.0.2", 1000);
	tell(to);
	CHECK(arrives(fd));
	CHECK(write(fd, "n", 1) == 1);
	hear(from);
	return 0;
}

static const struct set standing_set = {
	.name = "standing", .kind = SET_TIMED, KEY1(KEY_L4PROTO), .timeout_ms = 60000, ELEMENTS(EXACT(6))};
static const struct nft_rule standing_rules[] = {
	RULE({.kind = STEP_COMPARE, KEY1(KEY_CT_STATE), .mask = 2, .negated = true}, VERDICT(ACCEPT)),
	RULE(PROTOCOL(6), {.kind = STEP_COMPARE, KEY1(KEY_TCP_FLAGS), .mask = 0x16, .first = 0x10},
		{.kind = STEP_LOOKUP, KEY1(KEY_L4PROTO), .object = "standing"}, VERDICT(ACCEPT)),
	RULE(VERDICT(DROP)),
};

static void body_forwarded(struct state *state)
{
	char command[512];
	int status;
	size_t changed;
	const struct chain chain = {.name = "forward",
		.hook = HOOK_FORWARD,
		.policy_drop = true,
		.rules = standing_rules,
		.count = COUNT(standing_rules)};
	const struct ruleset wanted = {
		.table = "test", .exists = true, .chains = &chain, .chain_count = 1, .sets = &standing_set, .set_count = 1};
	struct peer far = peer_start(far_body), near = peer_start(near_body);
	hear(far.from);
	hear(near.from);
	snprintf(command, sizeof(command),
		"ip link add fv0 type veth peer name fv1 netns %d && ip link add nv0 type veth peer name nv1 netns %d && "
		"ip address add 10.8.0.1/24 dev fv0 && ip link set fv0 up && ip address add 10.7.0.1/24 dev nv0 && ip link set "
		"nv0 up",
		far.pid, near.pid);
	CHECK(!shell(command));
	CHECK(write_file("/proc/sys/net/ipv4/ip_forward", "1"));
	tell(far.to);
	hear(far.from);
	tell(near.to);
	hear(near.from);
	tell(near.to);
	hear(near.from);
	CHECK(!install(state, &wanted, &changed));
	tell(far.to);
	hear(far.from);
	tell(far.to);
	tell(near.to);
	waitpid(far.pid, &status, 0);
	CHECK(WIFEXITED(status) && !WEXITSTATUS(status));
	waitpid(near.pid, &status, 0);
	CHECK(WIFEXITED(status) && !WEXITSTATUS(status));
}

static void forwarded_connections_live_on(void **state)
{
	(void)state;
	in_namespace(body_forwarded);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(standing_connections_live_on),
		cmocka_unit_test(forwarded_connections_live_on),
	};
	if (!namespaces_allowed()) {
		printf("skipped: this machine does not let us make a network namespace with nf_tables in it\n");
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
