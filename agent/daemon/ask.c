/*
 * The command's end of the control socket.
 *
 * The socket is a file, and files are shared by network namespaces where firewalls are not. So every request names the namespace
 * that it is meant for, and an agent of another one is none.
 */
#include "agent/daemon/control.h"
#include "agent/daemon/store.h"
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <talloc.h>
#include <unistd.h>

#define CONNECT_SECONDS 5

char *control_path(void *ctx, const char *table)
{
	bool usual = !strcmp(table, "portpolicy");
	return talloc_asprintf(ctx, "%s/control%s%s", runtime_directory(), usual ? "" : "-", usual ? "" : table);
}

static int connect_to(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof address.sun_path)
		return -ENAMETOOLONG;
	strcpy(address.sun_path, path);
	int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (descriptor < 0)
		return -errno;
	struct timeval patience = {.tv_sec = CONNECT_SECONDS};
	setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience); /* of connect too (unix(7)) */
	if (!connect(descriptor, (const struct sockaddr *)&address, sizeof address))
		return descriptor;
	int error = -errno;
	close(descriptor);
	return error == -EACCES ? -EPERM : error == -EAGAIN ? -ETIMEDOUT : error;
}

static int send_request(int to, const char *text, int descriptor)
{
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct iovec part = {(char *)text, strlen(text)};
	struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
	if (descriptor >= 0) {
		header.msg_control = &control;
		header.msg_controllen = sizeof control.room;
		struct cmsghdr *message = CMSG_FIRSTHDR(&header);
		message->cmsg_level = SOL_SOCKET;
		message->cmsg_type = SCM_RIGHTS;
		message->cmsg_len = CMSG_LEN(sizeof descriptor);
		memcpy(CMSG_DATA(message), &descriptor, sizeof descriptor);
	}
	return sendmsg(to, &header, MSG_NOSIGNAL) == (ssize_t)strlen(text) ? 0 : errno ? -errno : -EIO;
}

/* To the end of the connection, or until the time is over. */
static int receive_all(void *ctx, int from, uint64_t until, char **out, size_t *length)
{
	size_t used = 0, room = 4096;
	char *text = talloc_size(ctx, room);
	while (text) {
		uint64_t now = loop_now();
		struct pollfd on = {.fd = from, .events = POLLIN};
		int ready = now < until ? poll(&on, 1, (int)(until - now)) : 0;
		if (!ready)
			return -ETIMEDOUT;
		ssize_t got = ready < 0 ? -1 : recv(from, text + used, room - used, MSG_DONTWAIT);
		if (got < 0 && errno != EINTR && errno != EAGAIN)
			return -errno;
		used += got > 0 ? (size_t)got : 0;
		if (got == 0 || used > CONTROL_ANSWER_MAX) {
			*out = text;
			*length = used;
			return 0;
		}
		if (used == room)
			text = talloc_realloc_size(ctx, text, room *= 2);
	}
	return -ENOMEM;
}

static int exchange(void *ctx, int with, const char *request, int descriptor, unsigned seconds, json_t **answer)
{
	char *text = NULL;
	size_t length = 0;
	errno = 0;
	int status = send_request(with, request, descriptor);
	if (!status)
		status = receive_all(ctx, with, loop_now() + (uint64_t)seconds * 1000, &text, &length);
	if (status == -ECONNRESET || status == -EPIPE || (!status && !length))
		return -EPERM; /* cut off before an answer: it does not listen to us */
	*answer = status ? NULL : json_loadb(text, length, 0, NULL);
	if (!status && !json_is_object(*answer)) {
		json_decref(*answer);
		status = -EPROTO;
	}
	if (!status && json_is_true(json_object_get(*answer, "elsewhere"))) {
		json_decref(*answer);
		status = 1;
	}
	return status;
}

int control_ask(const char *table, json_t *request, int descriptor, unsigned seconds, json_t **answer)
{
	struct stat namespace;
	void *scratch = talloc_new(NULL);
	char *path = scratch ? control_path(scratch, table) : NULL, *text = NULL;
	int with = path ? connect_to(path) : -ENOMEM;
	if (with >= 0 && !stat("/proc/self/ns/net", &namespace))
		json_object_set_new(request, "namespace", json_integer((json_int_t) namespace.st_ino));
	if (with >= 0 && (text = json_dumps(request, JSON_COMPACT))) {
		char *line = talloc_asprintf(scratch, "%s\n", text);
		int got = line ? exchange(scratch, with, line, descriptor, seconds, answer) : -ENOMEM;
		close(with);
		with = got;
	} else if (with >= 0) {
		close(with);
		with = -ENOMEM;
	}
	free(text);
	json_decref(request);
	talloc_free(scratch);
	return with == -ENOENT || with == -ECONNREFUSED || with == -ENOTDIR ? 1 : with;
}
