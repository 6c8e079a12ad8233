/*
 * Would the administrator get in again?
 *
 * Standing connections are never cut, so a policy that locks its author out looks fine until the session ends. The session is
 * found as sshd tells it (SSH_CONNECTION); sudo and many shells drop that, and then as the TCP sockets that the processes hold
 * from which this one descends. For each peer the policy is asked whether it could connect to where it is connected now.
 */
#include "agent/cli/session.h"
#include "agent/daemon/review.h"
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <talloc.h>
#include <unistd.h>

#define ANCESTORS_MAX 32
#define SESSIONS_MAX 8

struct sessions {
	struct flow at[SESSIONS_MAX];
	size_t count;
};

int read_address(const char *text, enum family *family, u128 *out)
{
	uint8_t bytes[16];
	char plain[INET6_ADDRSTRLEN + 1];
	size_t length = strcspn(text, "%"); /* fe80::1%eth0 */
	if (length >= sizeof plain)
		return -EINVAL;
	memcpy(plain, text, length);
	plain[length] = 0;
	bool four = inet_pton(AF_INET, plain, bytes) == 1;
	if (!four && inet_pton(AF_INET6, plain, bytes) != 1)
		return -EINVAL;
	*family = four ? FAMILY_IPV4 : FAMILY_IPV6;
	*out = 0;
	for (int i = 0; i < (four ? 4 : 16); i++)
		*out = *out << 8 | bytes[i];
	if (!four && *out >> 32 == 0xffff) {
		*family = FAMILY_IPV4;
		*out &= 0xffffffff;
	}
	return 0;
}

int session_from_ssh(const char *text, struct flow *out)
{
	char peer[64], own[64];
	unsigned peer_port, own_port;
	enum family family;
	*out = (struct flow){.direction = DIRECTION_IN, .protocol = PROTOCOL_TCP};
	if (sscanf(text, "%63s %u %63s %u", peer, &peer_port, own, &own_port) != 4 || own_port > 65535 || !own_port)
		return -EINVAL;
	if (read_address(peer, &out->family, &out->source) || read_address(own, &family, &out->destination) ||
		family != out->family)
		return -EINVAL;
	out->service = (uint16_t)own_port;
	return 0;
}

/* The parent as /proc/PID/stat tells it; the name before it may hold anything but ends at the last parenthesis. */
static pid_t parent_of(pid_t process)
{
	char path[64], line[512];
	int parent = 0;
	snprintf(path, sizeof path, "/proc/%d/stat", (int)process);
	FILE *file = fopen(path, "re");
	if (file && fgets(line, sizeof line, file)) {
		const char *end = strrchr(line, ')');
		if (!end || sscanf(end + 1, " %*c %d", &parent) != 1)
			parent = 0;
	}
	if (file)
		fclose(file);
	return parent;
}

static bool listens(const struct socket_list *list, uint16_t port)
{
	for (size_t i = 0; i < list->count; i++)
		if (list->at[i].listening && list->at[i].ends.local_port == port && list->at[i].ends.protocol == PROTOCOL_TCP)
			return true;
	return false;
}

/* Who accepted a connection holds the port that it listens on; else it has connected itself, as an agent of a fleet does. */
static void add_socket(struct sessions *sessions, const struct socket_list *list, const struct socket_entry *socket)
{
	const struct socket_ends *ends = &socket->ends;
	if (sessions->count == SESSIONS_MAX || socket->listening || !ends->remote_port || ends->protocol != PROTOCOL_TCP)
		return;
	bool in = listens(list, ends->local_port);
	sessions->at[sessions->count++] = (struct flow){.direction = in ? DIRECTION_IN : DIRECTION_OUT,
		.family = ends->family,
		.protocol = PROTOCOL_TCP,
		.service = in ? ends->local_port : ends->remote_port,
		.source = in ? ends->remote : ends->local,
		.destination = in ? ends->local : ends->remote};
}

static void add_inode(struct sessions *sessions, const struct socket_list *list, unsigned long inode)
{
	for (size_t i = 0; inode && i < list->count; i++)
		if (list->at[i].inode == inode)
			add_socket(sessions, list, &list->at[i]);
}

static void add_process(struct sessions *sessions, const struct socket_list *list, pid_t process)
{
	char path[64], target[64];
	unsigned long inode;
	snprintf(path, sizeof path, "/proc/%d/fd", (int)process);
	DIR *directory = opendir(path);
	for (struct dirent *entry; directory && (entry = readdir(directory));) {
		ssize_t length = readlinkat(dirfd(directory), entry->d_name, target, sizeof target - 1);
		target[length > 0 ? length : 0] = 0;
		if (sscanf(target, "socket:[%lu]", &inode) == 1)
			add_inode(sessions, list, inode);
	}
	if (directory)
		closedir(directory);
}

static int find_sessions(void *ctx, struct sessions *sessions)
{
	const char *ssh = getenv("SSH_CONNECTION");
	struct socket_list *list;
	sessions->count = 0;
	if (ssh && !session_from_ssh(ssh, &sessions->at[0])) {
		sessions->count = 1;
		return 0;
	}
	int status = kernel_sockets(ctx, &list);
	if (status)
		return status;
	pid_t process = getppid();
	for (int i = 0; i < ANCESTORS_MAX && process > 1 && !sessions->count; i++) {
		add_process(sessions, list, process);
		process = parent_of(process);
	}
	return 0;
}

static bool on_loopback(const struct flow *flow)
{
	u128 peer = flow->direction == DIRECTION_IN ? flow->source : flow->destination;
	return flow->family == FAMILY_IPV4 ? peer >> 24 == 127 : peer == 1;
}

static int warn(void *ctx, const struct policy *policy, const struct flow *flow, const struct answer *answers, size_t count,
	session_warning *say)
{
	const struct answer *refusal = NULL;
	size_t refusing = 0;
	for (size_t i = 0; i < count; i++)
		if (answers[i].verdict == VERDICT_DENY || answers[i].verdict == VERDICT_REJECT) {
			refusal = refusal ? refusal : &answers[i];
			refusing++;
		}
	if (!refusing)
		return 0;
	char *packet = refusing == count ? flow_text(ctx, flow) : packet_text(ctx, policy, &refusal->packet);
	if (!packet)
		return -ENOMEM;
	say(policy, flow, refusal, packet, refusing == count);
	return 0;
}

int session_check(void *ctx, const struct policy *policy, session_warning *say)
{
	struct sessions sessions;
	struct decision *decision;
	struct answer answers[4];
	size_t count;
	int status = find_sessions(ctx, &sessions);
	if (status || !sessions.count)
		return status == -ENOMEM ? status : 0; /* who cannot be found cannot be warned */
	status = decision_new(ctx, policy, &decision);
	for (size_t i = 0; !status && i < sessions.count; i++) {
		if (on_loopback(&sessions.at[i]))
			continue;
		status = decide_flow(ctx, decision, &sessions.at[i], NULL, NULL, NULL, answers, &count);
		if (!status)
			status = warn(ctx, policy, &sessions.at[i], answers, count, say);
		else if (status > 0)
			status = 0;
	}
	return status;
}
