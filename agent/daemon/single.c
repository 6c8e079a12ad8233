/*
 * One agent for each table and network namespace.
 *
 * Two would undo each other's work. The kernel keeps abstract unix sockets apart by network namespace, as it does tables,
 * and lets go of them with the process, so there is no file to be left over. But anybody may bind such a name: one that is held
 * by a user who could not change the firewall anyway is a nuisance and no agent.
 */
#include "agent/daemon/daemon.h"
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static socklen_t name_of(const char *table, struct sockaddr_un *address)
{
	*address = (struct sockaddr_un){.sun_family = AF_UNIX};
	int length = snprintf(address->sun_path + 1, sizeof address->sun_path - 1, "portpolicy/agent/%s", table);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length);
}

/* Who listens there?  1: an agent, or -ENOENT: nobody who counts. */
static int holder(const struct sockaddr_un *address, socklen_t length, pid_t *other)
{
	struct ucred peer = {0};
	socklen_t size = sizeof peer;
	int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (descriptor < 0)
		return -errno;
	bool known = (!connect(descriptor, (const struct sockaddr *)address, length) || errno == EAGAIN) &&
		     !getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &peer, &size);
	close(descriptor);
	*other = peer.pid;
	return known && (peer.uid == 0 || peer.uid == geteuid()) ? 1 : -ENOENT;
}

int single_claim(const char *table, int *descriptor, pid_t *other)
{
	struct sockaddr_un address;
	socklen_t length = name_of(table, &address);
	*descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (*descriptor < 0)
		return -errno;
	if (!bind(*descriptor, (const struct sockaddr *)&address, length) && !listen(*descriptor, 0))
		return 0;
	int status = errno == EADDRINUSE ? holder(&address, length, other) : -errno;
	if (status == -ENOENT)
		return 0;
	close(*descriptor);
	return status;
}
