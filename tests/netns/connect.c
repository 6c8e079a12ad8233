/*
 * Listens on TCP ports, or tries one and says in a word what came of it: what a person would see with nc, without nc.
 *
 *   connect listen PORT...            on every address of both families; prints `listening` when all are open
 *   connect echo PORT                 keeps each connection, gives back what it is sent, and says a dot ten times a second
 *   connect to ADDRESS PORT [MS]      connected (0), refused (1), prohibited (1), no answer (1) within a second, or so many milliseconds
 *   connect                           tests itself over lo
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define PORTS_MAX 16
#define CONNECTIONS_MAX 64
#define PATIENCE_MS 1000

static int open_listener(uint16_t port)
{
	struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	int no = 0, yes = 1;
	int descriptor = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (descriptor < 0)
		return -errno;
	setsockopt(descriptor, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof(no));
	setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	if (bind(descriptor, (struct sockaddr *)&any, sizeof(any)) || listen(descriptor, 16)) {
		int error = -errno;
		close(descriptor);
		return error;
	}
	return descriptor;
}

static void answer(int listener)
{
	int connection = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (connection < 0)
		return;
	if (write(connection, "hello\n", 6) != 6)
		perror("write");
	close(connection);
}

static int listen_on(char **words, int count)
{
	struct pollfd listeners[PORTS_MAX];
	if (count > PORTS_MAX)
		return 2;
	for (int i = 0; i < count; i++) {
		listeners[i] = (struct pollfd){.fd = open_listener((uint16_t)atoi(words[i])), .events = POLLIN};
		if (listeners[i].fd < 0) {
			fprintf(stderr, "port %s: %s\n", words[i], strerror(-listeners[i].fd));
			return 2;
		}
	}
	puts("listening");
	fflush(stdout);
	while (poll(listeners, (nfds_t)count, -1) > 0)
		for (int i = 0; i < count; i++)
			if (listeners[i].revents)
				answer(listeners[i].fd);
	return 2;
}

/* Whoever connects is kept: what is sent comes back until the peer goes. */
static int echo_on(uint16_t port)
{
	char bytes[512];
	struct pollfd on[CONNECTIONS_MAX + 1] = {{.fd = open_listener(port), .events = POLLIN}};
	nfds_t count = 1;
	if (on[0].fd < 0)
		return 2;
	puts("listening");
	fflush(stdout);
	for (;;) {
		if (poll(on, count, 100) < 0)
			return 2;
		for (nfds_t i = 1; i < count; i++)
			if (!on[i].revents && send(on[i].fd, ".\n", 2, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
				on[i].revents = POLLERR;
		if (on[0].revents && count <= CONNECTIONS_MAX)
			on[count++] = (struct pollfd){.fd = accept4(on[0].fd, NULL, NULL, SOCK_CLOEXEC), .events = POLLIN};
		for (nfds_t i = 1; i < count; i++) {
			ssize_t got = on[i].revents ? read(on[i].fd, bytes, sizeof(bytes)) : 1;
			if (on[i].revents && got > 0 && send(on[i].fd, bytes, (size_t)got, MSG_NOSIGNAL) == got)
				continue;
			if (on[i].revents) {
				close(on[i].fd);
				on[i] = on[--count];
			}
		}
	}
}

static socklen_t parse_address(const char *text, uint16_t port, struct sockaddr_storage *address)
{
	struct sockaddr_in *four = (struct sockaddr_in *)address;
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)address;
	memset(address, 0, sizeof(*address));
	if (inet_pton(AF_INET, text, &four->sin_addr) == 1) {
		four->sin_family = AF_INET;
		four->sin_port = htons(port);
		return sizeof(*four);
	}
	if (inet_pton(AF_INET6, text, &six->sin6_addr) != 1)
		return 0;
	six->sin6_family = AF_INET6;
	six->sin6_port = htons(port);
	return sizeof(*six);
}

/* 0 or a positive errno. */
static int try_connection(const char *text, uint16_t port, int patience)
{
	struct sockaddr_storage address;
	socklen_t length = parse_address(text, port, &address);
	if (!length)
		return EINVAL;
	int descriptor = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (descriptor < 0)
		return errno;
	struct pollfd wait = {.fd = descriptor, .events = POLLIN | POLLOUT};
	int error = connect(descriptor, (struct sockaddr *)&address, length) ? errno : 0;
	socklen_t size = sizeof(error);
	if (error == EINPROGRESS && poll(&wait, 1, patience) <= 0)
		error = ETIMEDOUT;
	else if (error == EINPROGRESS && getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &error, &size))
		error = errno;
	close(descriptor);
	return error;
}

static const char *word_for(int error)
{
	switch (error) {
	case 0:
		return "connected";
	case ECONNREFUSED:
		return "refused";
	case EACCES:
	case EPERM:
	case EHOSTUNREACH:
		return "prohibited";
	case ETIMEDOUT:
		return "no answer";
	}
	return strerror(error);
}

static int test_itself(void)
{
	/* Of a namespace of its own: there is nothing to disturb, and lo is down. */
	struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP};
	int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	ioctl(control, SIOCSIFFLAGS, &lo);
	close(control);
	int before = try_connection("127.0.0.1", 7093, PATIENCE_MS);
	int listener = open_listener(7093);
	if (listener < 0)
		return 1;
	int during = try_connection("127.0.0.1", 7093, PATIENCE_MS);
	close(listener);
	printf("without a listener: %s; with one: %s\n", word_for(before), word_for(during));
	return before != ECONNREFUSED || during != 0;
}

int main(int count, char **words)
{
	if (count == 1)
		return test_itself();
	if (count >= 3 && (!strcmp(words[1], "listen") || !strcmp(words[1], "echo")) && prctl(PR_SET_PDEATHSIG, SIGTERM)) /* never outlives who started it */
		return 2;
	if (count >= 3 && !strcmp(words[1], "listen"))
		return listen_on(words + 2, count - 2);
	if (count == 3 && !strcmp(words[1], "echo"))
		return echo_on((uint16_t)atoi(words[2]));
	if ((count == 4 || count == 5) && !strcmp(words[1], "to")) {
		int error = try_connection(words[2], (uint16_t)atoi(words[3]), count == 5 ? atoi(words[4]) : PATIENCE_MS);
		puts(word_for(error));
		return error != 0;
	}
	fputs("usage: connect [listen PORT... | echo PORT | to ADDRESS PORT [MS]]\n", stderr);
	return 2;
}
