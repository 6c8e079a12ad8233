/*
 * What a supervisor wants to hear: sd_notify(3) is a datagram to the socket named in NOTIFY_SOCKET, documented there as a
 * stable protocol, so that no library is needed for it.
 */
#include "agent/daemon/daemon.h"
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

void supervisor_tell(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	size_t length = path ? strlen(path) : 0;
	if (!length || length >= sizeof address.sun_path || (path[0] != '/' && path[0] != '@'))
		return;
	memcpy(address.sun_path, path, length);
	if (path[0] == '@')
		address.sun_path[0] = 0;
	int descriptor = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (descriptor < 0)
		return;
	/* A supervisor that does not listen is no reason to stop guarding. */
	(void)!sendto(descriptor, state, strlen(state), MSG_NOSIGNAL | MSG_DONTWAIT, (const struct sockaddr *)&address,
		(socklen_t)(offsetof(struct sockaddr_un, sun_path) + length));
	close(descriptor);
}

uint64_t supervisor_watchdog_ms(void)
{
	const char *period = getenv("WATCHDOG_USEC"), *process = getenv("WATCHDOG_PID");
	if (!period || (process && strtol(process, NULL, 10) != (long)getpid()))
		return 0;
	return strtoull(period, NULL, 10) / 1000;
}
