/*
 * What can go wrong around the agent, and what the kernel enforced meanwhile and afterwards, shown by packets: one fault a test.
 *
 * The agent runs as an ordinary user with CAP_NET_ADMIN only. Two ways of keeping the table are looked at: owned, where nobody else
 * can change it (Linux 6.9), and shared, where what others change is put back.
 *
 *   faults [WORD...]          only those whose name contains a word
 *   faults --swaps N          the floods: N reloads, 20 N swaps (30 unless named)
 *   faults --kills N          at so many points of an apply (200 unless named)
 */
#include "agent/cli/cli.h"
#include "portpolicy/kernel.h"
#include "tests/netns/lib/siege.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <talloc.h>
#include <time.h>
#include <unistd.h>

static unsigned swaps = 30, kills = 200;

/* ---- others change the table: put back, or impossible ---- */

/* Before and after the fault the rules hold; after it they are back within moments, and who did it is said. */
static void put_back(struct siege *siege, const char *command)
{
	siege->owner = false;
	start_agent(siege);
	EXPECT(enforces(siege, false));
	EXPECT(!run("%s", command));
	EXPECT(soon_enforces(siege, false));
	EXPECT(soon_said(siege, "changed the table inet portpolicy; put back:"));
	put_policy(siege, policy_b); /* and it goes on from there */
	EXPECT(!kill(siege->agent, SIGHUP) && soon_enforces(siege, true));
}

static void flush_ruleset(struct siege *siege) { put_back(siege, "nft flush ruleset"); }
static void delete_table(struct siege *siege) { put_back(siege, "nft delete table inet portpolicy"); }
static void delete_base_chain(struct siege *siege)
{
	put_back(siege, "nft 'flush chain inet portpolicy input; delete chain inet portpolicy input'");
}
static void flush_chain(struct siege *siege) { put_back(siege, "nft flush chain inet portpolicy input"); }
static void add_rule(struct siege *siege) { put_back(siege, "nft insert rule inet portpolicy input accept"); }
static void accept_policy(struct siege *siege) { put_back(siege, "nft 'chain inet portpolicy input { policy accept; }'"); }
static void dormant(struct siege *siege) { put_back(siege, "nft 'add table inet portpolicy { flags dormant; }'"); }
static void rename_chain(struct siege *siege)
{
	put_back(siege, "nft rename chain inet portpolicy $(nft list chains | grep -o 'chain [a-z0-9]*-[a-z0-9-]*' | cut -d' ' -f2 | head -n 1) other");
}

#define LAST_RULE "$(nft -a list chain inet portpolicy input | grep -o 'handle [0-9]*$' | tail -n 1)"

static void delete_rule(struct siege *siege) { put_back(siege, "nft delete rule inet portpolicy input " LAST_RULE); }

/* The rule of last resort becomes an accept of the denied port; handle, place and comment stay. */
static void edit_in_place(struct siege *siege)
{
	put_back(siege, "nft replace rule inet portpolicy input " LAST_RULE " udp dport 1003 accept");
}

static void alien_base_chain(struct siege *siege)
{
	put_back(siege, "nft 'chain inet portpolicy alien { type filter hook input priority -5; policy drop; }'");
	EXPECT(run("nft list chain inet portpolicy alien 2>/dev/null"));
}

static void base_chain_elsewhere(struct siege *siege)
{
	put_back(siege, "nft 'flush chain inet portpolicy input; delete chain inet portpolicy input; "
			"chain inet portpolicy input { type filter hook output priority 3; }'");
}

/* A set that rules name: its members go, and come. */
static const char set_policy[] = "default in deny\ndefault out allow\nallow in udp/1001 from { 10.9.0.2, 10.9.0.77, 192.0.2.0/24 }\n"
				 "allow in udp/1003 from { 192.0.2.7, 198.51.100.0/24, 203.0.113.9 }\n";
#define ANY_SET "$(nft list sets | grep -o 'set [^ ]*' | cut -d' ' -f2 | head -n 1)"

static void with_sets(struct siege *siege, const char *command)
{
	siege->owner = false;
	put_policy(siege, set_policy);
	start_agent(siege);
	EXPECT(enforces(siege, false));
	EXPECT(!run("nft list ruleset | grep -v 'packets\\|# handle' | sort >%s/before", siege->directory));
	EXPECT(!run("%s", command));
	for (unsigned i = 0; i < 500 && run("nft list ruleset | grep -v 'packets\\|# handle' | sort | cmp -s - %s/before", siege->directory); i++)
		sleep_ms(5);
	EXPECT(enforces(siege, false));
	EXPECT(!run("nft list ruleset | grep -v 'packets\\|# handle' | sort | cmp - %s/before", siege->directory));
	EXPECT(soon_said(siege, "put back:"));
}

static void delete_set(struct siege *siege)
{
	with_sets(siege, "s=" ANY_SET "; c=$(nft list chains | grep -o 'chain [a-z0-9-]*' | cut -d' ' -f2); "
			 "(for i in $c; do echo flush chain inet portpolicy $i; done; echo delete set inet portpolicy $s) | nft -f -");
}
static void delete_element(struct siege *siege)
{
	with_sets(siege, "s=" ANY_SET "; e=$(nft list set inet portpolicy $s | tr -d '\\n' | sed 's/.*elements = {//; s/}.*//; s/,.*//'); "
			 "nft delete element inet portpolicy $s \"{ $e }\"");
}
static void flush_set(struct siege *siege) { with_sets(siege, "nft flush set inet portpolicy " ANY_SET); }
static void add_set(struct siege *siege)
{
	with_sets(siege, "nft 'add set inet portpolicy mine { type ipv4_addr; elements = { 10.9.0.2 }; }; "
			 "insert rule inet portpolicy input ip saddr @mine accept'");
}

static bool kernel_before(int major, int minor)
{
	struct utsname name;
	int is_major = 0, is_minor = 0;
	EXPECT(!uname(&name) && sscanf(name.release, "%d.%d", &is_major, &is_minor) == 2);
	return is_major < major || (is_major == major && is_minor < minor);
}

static bool can_own(struct siege *siege)
{
	for (unsigned i = 0; i < 100 && !agent_said(siege, "is owned"); i++) {
		if (agent_said(siege, "cannot be owned here")) {
			EXPECT(kernel_before(6, 9));
			return false;
		}
		sleep_ms(5);
	}
	return true;
}

/* All of the above against an owned table, under a flood: not one packet too many or too few. */
static void owned_table(struct siege *siege)
{
	static const char *const tries[] = {"flush ruleset", "delete table inet portpolicy", "flush chain inet portpolicy input",
		"insert rule inet portpolicy input accept", "chain inet portpolicy input { policy accept; }",
		"add table inet portpolicy { flags dormant; }", "chain inet portpolicy alien { type filter hook input priority -5; policy drop; }",
		"add set inet portpolicy mine { type ipv4_addr; }"};
	start_agent(siege);
	if (!can_own(siege))
		return;
	flood_begin(siege);
	for (size_t i = 0; i < sizeof tries / sizeof *tries; i++)
		EXPECT(!run("nft '%s' 2>/dev/null", tries[i]) == !i);
	struct flood flood = flood_end(siege);
	EXPECT(flood.sent[0] > 20 && flood.arrived[0] == flood.sent[0]);
	EXPECT(!flood.arrived[1] && !flood.arrived[2]);
	EXPECT(!agent_said(siege, "changed the table"));
}

/* ---- the agent dies, stops, comes back ---- */

static void survives(struct siege *siege, int signal)
{
	start_agent(siege);
	flood_begin(siege);
	sleep_ms(20);
	kill_agent(siege, signal);
	sleep_ms(20);
	start_agent(siege);
	sleep_ms(20);
	struct flood flood = flood_end(siege);
	EXPECT(flood.sent[0] > 20 && flood.arrived[0] == flood.sent[0]);
	EXPECT(!flood.arrived[1] && !flood.arrived[2]);
	EXPECT(enforces(siege, false));
}

static void killed_while_owner(struct siege *siege) { survives(siege, SIGKILL); }
static void killed_while_shared(struct siege *siege)
{
	siege->owner = false;
	survives(siege, SIGKILL);
}
static void terminated(struct siege *siege) { survives(siege, SIGTERM); }

/* An agent that comes back owns the table again; and between its lives nobody does. */
static void adopted_after_death(struct siege *siege)
{
	start_agent(siege);
	if (!can_own(siege))
		return;
	EXPECT(run("nft insert rule inet portpolicy input accept 2>/dev/null"));
	kill_agent(siege, SIGKILL);
	EXPECT(!run("nft insert rule inet portpolicy input accept"));
	EXPECT(!enforces(siege, false));
	start_agent(siege);
	EXPECT(enforces(siege, false));
	EXPECT(run("nft insert rule inet portpolicy input accept 2>/dev/null"));
}

/* The table is gone when the agent comes back, as after a flush that nobody watched. */
static void flushed_while_dead(struct siege *siege)
{
	start_agent(siege);
	kill_agent(siege, SIGKILL);
	EXPECT(!run("nft flush ruleset"));
	EXPECT(!enforces(siege, false));
	start_agent(siege);
	EXPECT(enforces(siege, false));
}

/* At random moments of putting another policy in force: the one or the other holds, never neither. */
static void killed_while_applying(struct siege *siege)
{
	unsigned seed = 7;
	start_agent(siege);
	kill_agent(siege, SIGKILL);
	for (unsigned i = 0; i < kills; i++) {
		put_policy(siege, i % 2 ? policy_a : policy_b);
		siege->agent = spawn_agent(siege, NULL);
		usleep((useconds_t)rand_r(&seed) % 25000);
		kill(siege->agent, SIGKILL);
		EXPECT(agent_status(siege, 3000) == -SIGKILL);
		struct passed passed = probe(siege);
		EXPECT(passed.always && !passed.never);
	}
	start_agent(siege);
	EXPECT(enforces(siege, false));
}

/* The same where nothing stands yet: what was let through before is let through until the rules are whole. */
static void killed_at_the_first_apply(struct siege *siege)
{
	unsigned seed = 11;
	for (unsigned i = 0; i < 40; i++) {
		siege->agent = spawn_agent(siege, NULL);
		usleep((useconds_t)rand_r(&seed) % 25000);
		kill(siege->agent, SIGKILL);
		EXPECT(agent_status(siege, 3000) == -SIGKILL);
		EXPECT(probe(siege).always);
		if (i % 4 == 3)
			EXPECT(!run("nft flush ruleset"));
	}
	start_agent(siege);
	EXPECT(enforces(siege, false));
}

static void stopped(struct siege *siege, bool owner)
{
	siege->owner = owner;
	start_agent(siege);
	bool owned = owner && can_own(siege);
	EXPECT(!kill(siege->agent, SIGSTOP));
	EXPECT(enforces(siege, false));
	EXPECT(!run("nft flush ruleset"));
	EXPECT(enforces(siege, false) == owned); /* a flush passes an owned table by */
	EXPECT(!kill(siege->agent, SIGCONT));
	EXPECT(soon_enforces(siege, false));
}
static void stopped_while_owner(struct siege *siege) { stopped(siege, true); }
static void stopped_while_shared(struct siege *siege) { stopped(siege, false); }

/* ---- much at once ---- */

/* A thousand commits a second that are none of the agent's business: a new policy gets through all the same. */
static void busy_neighbour(struct siege *siege)
{
	start_agent(siege);
	pid_t neighbour = fork();
	EXPECT(neighbour >= 0);
	if (!neighbour) {
		setpgid(0, 0);
		execlp("sh", "sh", "-c", "for i in $(seq 10000); do echo 'add table ip busy'; echo 'delete table ip busy'; sleep 0.001; done | nft -i >/dev/null 2>&1", NULL);
		_exit(1);
	}
	sleep_ms(200);
	for (unsigned i = 0; i < 6; i++) {
		put_policy(siege, i % 2 ? policy_a : policy_b);
		EXPECT(!kill(siege->agent, SIGHUP));
		EXPECT(soon_enforces(siege, i % 2 == 0));
	}
	EXPECT(!agent_said(siege, "changed the table"));
	kill(-neighbour, SIGKILL); /* the loop and its nft */
	waitpid(neighbour, NULL, 0);
}

/* Somebody who undoes the rules as fast as he can: said, spread out, and over soon after he ends. */
static void endless_quarrel(struct siege *siege)
{
	siege->owner = false;
	start_agent(siege);
	EXPECT(!run("for i in $(seq 100); do echo 'insert rule inet portpolicy input accept'; sleep 0.002; done | nft -i >/dev/null 2>&1"));
	EXPECT(soon_enforces(siege, false));
	EXPECT(agent_said(siege, "again and again"));
	for (unsigned i = 0; i < 1000 && !agent_said(siege, "in force again"); i++) {
		sleep_ms(10);
		if (i == 350)
			EXPECT(!run("nft insert rule inet portpolicy input accept")); /* the end is said at the next success */
	}
	EXPECT(agent_said(siege, "in force again"));
	EXPECT(enforces(siege, false));
}

static struct changes *put_in_force(void *ctx, struct kernel *kernel, const struct ruleset *wanted)
{
	struct changes *changes;
	struct refusal refusal;
	const char *problem;
	EXPECT(!kernel_install(ctx, kernel, "portpolicy", wanted, &changes, &refusal, &problem));
	return changes;
}

/* The ruleset that the kernel holds after `apply` of a policy, as a value. */
static struct ruleset *applied(void *ctx, struct siege *siege, struct kernel *kernel, const char *policy)
{
	struct ruleset *ruleset;
	uint32_t generation;
	put_policy(siege, policy);
	EXPECT(!run("%s apply %s >/dev/null 2>&1", siege->binary, siege->policy));
	EXPECT(!kernel_dump(ctx, kernel, "portpolicy", &ruleset, &generation));
	return ruleset;
}

/* Allowed and denied packets flow while the policy is swapped: the agent's way of changing the kernel, as often as it can. */
static void swapped_under_flood(struct siege *siege)
{
	void *ctx = talloc_new(NULL);
	struct kernel *kernel;
	struct ruleset *rulesets[2];
	EXPECT(ctx && !kernel_open(ctx, &kernel));
	rulesets[0] = applied(ctx, siege, kernel, policy_a);
	rulesets[1] = applied(ctx, siege, kernel, policy_b);
	flood_begin(siege);
	for (unsigned i = 0; i < swaps * 20; i++) {
		void *scratch = talloc_new(ctx);
		put_in_force(scratch, kernel, rulesets[i % 2]);
		talloc_free(scratch);
		flood_drain(siege);
	}
	struct flood flood = flood_end(siege);
	printf("  %u swaps, %llu allowed and %llu denied packets: %lld wrongly dropped, %llu leaked\n", swaps * 20,
		(unsigned long long)flood.sent[0], (unsigned long long)flood.sent[2], (long long)(flood.sent[0] - flood.arrived[0]),
		(unsigned long long)flood.arrived[2]);
	EXPECT(flood.sent[0] > 20 && flood.arrived[0] == flood.sent[0] && !flood.arrived[2]);
	talloc_free(ctx);
}

/* Until the flood shows that policy B is in force, or is not any more; a bound of ten seconds. */
static void flood_shows(struct siege *siege, bool b)
{
	for (uint64_t end = now_ms() + 10000; now_ms() < end;) {
		unsigned before = siege->received[1], always = siege->received[0];
		while (siege->received[0] < always + 4 && now_ms() < end) {
			sleep_ms(1);
			flood_drain(siege);
		}
		if ((siege->received[1] != before) == b)
			return;
	}
}

/* The same by the agent itself, told to read its policy again. */
static void reloaded_under_flood(struct siege *siege)
{
	start_agent(siege);
	flood_begin(siege);
	for (unsigned i = 0; i < swaps; i++) {
		put_policy(siege, i % 2 ? policy_a : policy_b);
		EXPECT(!kill(siege->agent, SIGHUP));
		flood_shows(siege, i % 2 == 0);
	}
	struct flood flood = flood_end(siege);
	printf("  %u reloads, %llu allowed and %llu denied packets: %lld wrongly dropped, %llu leaked\n", swaps, (unsigned long long)flood.sent[0],
		(unsigned long long)flood.sent[2], (long long)(flood.sent[0] - flood.arrived[0]), (unsigned long long)flood.arrived[2]);
	EXPECT(flood.sent[0] > 20 && flood.arrived[0] == flood.sent[0] && !flood.arrived[2]);
	EXPECT(flood.arrived[1]); /* policy B was in force at times */
	EXPECT(soon_enforces(siege, swaps % 2));
}

/* ---- others of our kind ---- */

static void second_agent(struct siege *siege)
{
	start_agent(siege);
	pid_t first = siege->agent;
	siege->agent = spawn_agent(siege, NULL);
	EXPECT(agent_status(siege, 3000) == 2);
	EXPECT(agent_said(siege, "another agent (process "));
	siege->agent = first;
	EXPECT(enforces(siege, false));
	put_policy(siege, policy_b);
	EXPECT(!kill(first, SIGHUP) && soon_enforces(siege, true));
}

/* The name that keeps agents apart is held by a user who cannot change the firewall: a nuisance, and no agent. */
static void squatter(struct siege *siege)
{
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	int length = snprintf(name.sun_path + 1, sizeof name.sun_path - 1, "portpolicy/agent/portpolicy");
	if (siege->privileged)
		return;
	pid_t child = fork();
	if (!child) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		int squat = setresuid(12345, 12345, 12345) ? -1 : socket(AF_UNIX, SOCK_STREAM, 0);
		if (squat < 0 || bind(squat, (struct sockaddr *)&name, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length)) ||
			listen(squat, 1))
			_exit(1);
		pause();
	}
	sleep_ms(30);
	start_agent(siege);
	EXPECT(enforces(siege, false));
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
}

/* Somebody else owns the table, and a child that he forked keeps it alive when he is dead: said, and taken up when the child ends. */
static void forked_owner(struct siege *siege)
{
	int pair[2];
	start_agent(siege);
	if (!can_own(siege))
		return;
	kill_agent(siege, SIGKILL);
	EXPECT(!pipe(pair));
	pid_t parent = fork(), child = 0;
	if (!parent) {
		struct kernel *kernel;
		if (kernel_open(NULL, &kernel) || kernel_own(kernel, "portpolicy"))
			_exit(1);
		child = fork();
		if (!child)
			pause();
		_exit(write(pair[1], &child, sizeof child) != sizeof child);
	}
	EXPECT(read(pair[0], &child, sizeof child) == sizeof child);
	waitpid(parent, NULL, 0);
	put_policy(siege, policy_b);
	siege->agent = spawn_agent(siege, NULL);
	EXPECT(soon_said(siege, "belongs to another program"));
	EXPECT(enforces(siege, false)); /* what stood still stands */
	kill(child, SIGKILL);
	EXPECT(wait_ready(siege, 12000) && enforces(siege, true));
}

/* None of the agent's descriptors outlives an exec, so no program that it starts keeps the table alive. */
static void no_descriptor_is_inherited(struct siege *siege)
{
	start_agent(siege);
	EXPECT(!run("cd /proc/%d/fd && n=0 && for f in *; do case $(readlink $f) in socket:*|anon_inode:*) n=$((n + 1)); "
		    "flags=$(sed -n 's/^flags:[^0-9]*//p' ../fdinfo/$f); [ $((flags / 524288 %% 2)) = 1 ] || exit 1;; esac; done; [ $n -ge 4 ]",
		(int)siege->agent));
	EXPECT(enforces(siege, false));
}

static void somebody_elses_table(struct siege *siege)
{
	siege->owner = false;
	EXPECT(!run("nft 'add table inet portpolicy { chain mine { type filter hook input priority 7; udp dport 1003 drop; }; }'"));
	siege->agent = spawn_agent(siege, NULL);
	EXPECT(soon_said(siege, "whose chain mine is not"));
	EXPECT(!run("nft list chain inet portpolicy mine >/dev/null"));
	EXPECT(!run("nft delete table inet portpolicy"));
	EXPECT(wait_ready(siege, 12000) && enforces(siege, false));
}

/* ---- the host is short of something ---- */

/* Policy B, and a list that takes more room than a batch and a small agent have. */
static void long_list(struct siege *siege, unsigned count)
{
	FILE *file = fopen(siege->policy, "we");
	EXPECT(file);
	fprintf(file, "%sdeny in any from {\n", policy_b);
	for (unsigned i = 0; i < count; i++)
		fprintf(file, "10.%u.%u.%u,\n", 64 + i / 32768 % 64, i / 128 % 256, i % 128 * 2);
	fputs("192.0.2.99 }\n", file);
	EXPECT(!fclose(file));
}

/* No more room in the socket's buffers than every socket has: a long list does not fit, what stood stays. */
static void refuse_option(unsigned option)
{
	struct sock_filter filter[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_setsockopt, 0, 3), BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, option, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
	struct sock_fprog program = {.len = sizeof filter / sizeof *filter, .filter = filter};
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		_exit(97);
}

static void default_send_buffer(void)
{
	refuse_option(SO_SNDBUFFORCE);
	refuse_option(SO_SNDBUF);
}

static void default_receive_buffer(void)
{
	refuse_option(SO_RCVBUFFORCE);
	refuse_option(SO_RCVBUF);
}

/* More events than the receive buffer holds, which is as small as the host has it here, and our table is flushed among them. */
static void overflow(struct siege *siege)
{
	siege->owner = false;
	siege->agent = spawn_agent(siege, default_receive_buffer);
	EXPECT(wait_ready(siege, 10000));
	EXPECT(!kill(siege->agent, SIGSTOP));
	EXPECT(!run("(echo add table ip much; for i in $(seq 20000); do echo add chain ip much c$i; done) | nft -f - && nft delete table inet portpolicy"));
	EXPECT(!kill(siege->agent, SIGCONT));
	EXPECT(soon_enforces(siege, false));
}

static void small_send_buffer(struct siege *siege)
{
	siege->owner = false;
	siege->agent = spawn_agent(siege, default_send_buffer);
	EXPECT(wait_ready(siege, 10000) && enforces(siege, false));
	long_list(siege, 50000);
	EXPECT(!kill(siege->agent, SIGHUP));
	EXPECT(soon_said(siege, "what was in force stays"));
	EXPECT(enforces(siege, false));
	EXPECT(!run("nft flush ruleset") && soon_enforces(siege, false)); /* and it is what is put back */
	put_policy(siege, policy_b);
	EXPECT(!kill(siege->agent, SIGHUP) && soon_enforces(siege, true));
}

static void little_memory(void)
{
	const struct rlimit limit = {.rlim_cur = 40 << 20, .rlim_max = 40 << 20};
	if (setrlimit(RLIMIT_AS, &limit))
		_exit(97);
}

/* No memory for the new policy: the old one stays, and the agent goes on. */
static void out_of_memory(struct siege *siege)
{
	siege->owner = false;
	siege->agent = spawn_agent(siege, little_memory);
	EXPECT(wait_ready(siege, 10000));
	long_list(siege, 200000);
	EXPECT(!kill(siege->agent, SIGHUP));
	EXPECT(soon_said(siege, "what was in force stays"));
	EXPECT(enforces(siege, false));
	EXPECT(!run("nft flush ruleset") && soon_enforces(siege, false));
	put_policy(siege, policy_b);
	EXPECT(!kill(siege->agent, SIGHUP) && soon_enforces(siege, true));
}

static void no_right(void)
{
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0))
		_exit(97);
}

static void without_the_right(struct siege *siege)
{
	if (siege->privileged)
		return;
	siege->agent = spawn_agent(siege, no_right);
	EXPECT(agent_status(siege, 3000) == 2);
	EXPECT(agent_said(siege, "root"));
}

/* ---- the world changes ---- */

static void interface_renamed(struct siege *siege)
{
	put_policy(siege, "default in deny\ndefault out allow\nallow in udp/{ 1001, 1002 } on here\nallow in udp/1001 on \"there*\"\n");
	start_agent(siege);
	EXPECT(enforces(siege, true));
	EXPECT(!run("ip link set here down && ip link set here name there7 && ip addr replace 10.9.0.1/24 dev there7; ip link set there7 up"));
	EXPECT(soon_enforces(siege, false)); /* rules go by the name that the interface has */
	EXPECT(!run("ip link set there7 down && ip link set there7 name here && ip link set here up"));
	EXPECT(soon_enforces(siege, true));
	EXPECT(!agent_said(siege, "changed the table"));
}

/*
 * The wall clock jumps by years at every look. The agent runs inside of this program, which answers for the clock.
 */
static bool jumping;

int clock_gettime(clockid_t clock, struct timespec *out)
{
	static unsigned seed = 3;
	long status = syscall(SYS_clock_gettime, clock, out);
	if (jumping && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
		out->tv_sec += rand_r(&seed) % 2000000000 - 1000000000;
	return (int)status;
}

time_t time(time_t *out)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	if (out)
		*out = now.tv_sec;
	return now.tv_sec;
}

static void clock_jumps(struct siege *siege)
{
	pid_t child = fork();
	EXPECT(child >= 0);
	if (!child) {
		const char *operands[] = {siege->policy};
		const struct invocation call = {.verb = "agent", .operands = operands, .operand_count = 1, .table = "portpolicy", .no_owner = true};
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		jumping = true;
		_exit(verb_agent(talloc_new(NULL), &call));
	}
	siege->agent = child;
	EXPECT(wait_ready(siege, 10000));
	for (unsigned i = 0; i < 5; i++) {
		EXPECT(!run("nft flush ruleset"));
		EXPECT(soon_enforces(siege, false));
	}
	put_policy(siege, policy_b);
	EXPECT(!kill(siege->agent, SIGHUP) && soon_enforces(siege, true));
}

static void broken_policy(struct siege *siege)
{
	start_agent(siege);
	put_policy(siege, "default in deny\nallow in udp/1003 form any\n");
	flood_begin(siege);
	EXPECT(!kill(siege->agent, SIGHUP));
	sleep_ms(100);
	struct flood flood = flood_end(siege);
	EXPECT(flood.arrived[0] == flood.sent[0] && !flood.arrived[2]);
	EXPECT(agent_said(siege, "host.policy:2:"));
	EXPECT(agent_said(siege, "what was in force stays"));
	put_policy(siege, policy_b);
	EXPECT(!kill(siege->agent, SIGHUP) && soon_enforces(siege, true));
}

/* Ready means in force, and not before. */
static void ready_is_in_force(struct siege *siege)
{
	for (unsigned i = 0; i < 5; i++) {
		start_agent(siege);
		EXPECT(enforces(siege, false));
		kill_agent(siege, SIGTERM);
		EXPECT(!run("nft flush ruleset"));
	}
}

/* A plain table, as apply makes it: kept, and what others change in it is put back. */
static void table_of_apply(struct siege *siege)
{
	EXPECT(!run("%s apply %s >/dev/null 2>&1", siege->binary, siege->policy));
	start_agent(siege);
	EXPECT(soon_said(siege, "cannot be owned here"));
	EXPECT(enforces(siege, false));
	EXPECT(!run("nft insert rule inet portpolicy input accept"));
	EXPECT(soon_enforces(siege, false));
}

/* The agent puts its rules into a table that is asleep, and wakes it. */
static void asleep_at_the_start(struct siege *siege)
{
	EXPECT(!run("%s apply %s >/dev/null 2>&1 && nft 'add table inet portpolicy { flags dormant; }'", siege->binary, siege->policy));
	EXPECT(!enforces(siege, false));
	put_policy(siege, policy_b);
	start_agent(siege);
	EXPECT(enforces(siege, true));
}

/* ---- */

static const struct {
	const char *name;
	void (*test)(struct siege *siege);
} faults[] = {
	{"foreign flush of the ruleset", flush_ruleset},
	{"foreign delete of the table", delete_table},
	{"foreign delete of a base chain", delete_base_chain},
	{"foreign flush of a chain", flush_chain},
	{"foreign rename of a chain", rename_chain},
	{"foreign delete of a rule", delete_rule},
	{"foreign rule ahead of ours", add_rule},
	{"foreign edit that keeps the handle", edit_in_place},
	{"foreign chain policy", accept_policy},
	{"foreign base chain in our table", alien_base_chain},
	{"base chain hooked in elsewhere", base_chain_elsewhere},
	{"foreign delete of a set", delete_set},
	{"foreign delete of an element", delete_element},
	{"foreign flush of a set", flush_set},
	{"foreign set and rule", add_set},
	{"table set dormant", dormant},
	{"everybody at an owned table", owned_table},
	{"kill -9 while owner", killed_while_owner},
	{"kill -9 while shared", killed_while_shared},
	{"SIGTERM", terminated},
	{"adopted after death", adopted_after_death},
	{"flushed while dead", flushed_while_dead},
	{"kill -9 at 200 points of an apply", killed_while_applying},
	{"kill -9 at the first apply", killed_at_the_first_apply},
	{"SIGSTOP while owner", stopped_while_owner},
	{"SIGSTOP while shared", stopped_while_shared},
	{"a thousand foreign commits a second", busy_neighbour},
	{"a program that undoes the rules again and again", endless_quarrel},
	{"event overflow", overflow},
	{"policy swapped under a flood", swapped_under_flood},
	{"policy reloaded under a flood", reloaded_under_flood},
	{"second agent", second_agent},
	{"squatter of the agent's name", squatter},
	{"owner's child holds the socket", forked_owner},
	{"no descriptor is inherited", no_descriptor_is_inherited},
	{"somebody else's table", somebody_elses_table},
	{"send buffer too small", small_send_buffer},
	{"out of memory", out_of_memory},
	{"without CAP_NET_ADMIN", without_the_right},
	{"interface renamed", interface_renamed},
	{"clock jumps", clock_jumps},
	{"broken policy", broken_policy},
	{"ready is in force", ready_is_in_force},
	{"table of a plain apply", table_of_apply},
	{"table asleep at the start", asleep_at_the_start},
};
#define FAULTS (sizeof faults / sizeof *faults)

static bool wanted(const char *name, int count, char **words)
{
	bool any = false;
	for (int i = 1; i < count; i++) {
		if (!strncmp(words[i], "--", 2)) {
			i++;
			continue;
		}
		any = true;
		if (strstr(name, words[i]))
			return true;
	}
	return !any;
}

/* In a user namespace of one user there is nobody else to run as. */
static bool other_users(void)
{
	pid_t child = fork();
	int status = -1;
	if (!child)
		_exit(setresuid(65534, 65534, 65534) != 0);
	waitpid(child, &status, 0);
	return status == 0;
}

/* Agent and peer die with the child that holds the test. */
static bool hold(size_t number, struct siege *siege)
{
	memset(siege, 0, sizeof *siege);
	fflush(stdout);
	uint64_t begin = now_ms();
	pid_t child = fork();
	int status = -1;
	if (!child) {
		if (unshare(CLONE_NEWNET))
			exit(2);
		siege->privileged = !other_users();
		alarm(60);
		siege_set_up(siege);
		faults[number].test(siege);
		exit(0);
	}
	waitpid(child, &status, 0);
	bool passed = status == 0;
	if (!passed)
		run("sed 's/^/  | /' %s/log 2>/dev/null | tail -n 30", siege->directory);
	run("rm -rf %s", siege->directory[0] ? siege->directory : "/nonexistent");
	printf("%s %s (%llu ms)\n", passed ? "ok  " : "FAIL", faults[number].name, (unsigned long long)(now_ms() - begin));
	return passed;
}

int main(int count, char **words)
{
	unsigned passed = 0, failed = 0;
	for (int i = 1; i + 1 < count; i++)
		if (!strcmp(words[i], "--swaps"))
			swaps = (unsigned)strtoul(words[i + 1], NULL, 10);
		else if (!strcmp(words[i], "--kills"))
			kills = (unsigned)strtoul(words[i + 1], NULL, 10);
	struct siege *siege = mmap(NULL, sizeof *siege, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (siege == MAP_FAILED)
		return 2;
	for (size_t i = 0; i < FAULTS; i++)
		if (wanted(faults[i].name, count, words))
			hold(i, siege) ? passed++ : failed++;
	printf("%u passed, %u failed, 0 skipped\n", passed, failed);
	return failed != 0;
}
