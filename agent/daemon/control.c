/*
 * The agent's end of the control socket.
 *
 * A client is a small state machine: it sends its line, it is answered, it is gone. All sockets are non-blocking. When all places
 * are taken the newcomer gets that of the client that has been there longest without having asked, so that silent connections
 * shut nobody out.
 */
#include "agent/daemon/control.h"
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <talloc.h>
#include <unistd.h>

struct client {
	struct control *control;
	int descriptor, brought;
	struct loop_watch *watch;
	struct loop_timer *timer;
	char *request, *answer;
	size_t received, length, sent;
	struct client *older, *newer;
};

struct control {
	struct loop *loop;
	int descriptor;
	const char *path;
	struct loop_watch *watch;
	control_handler handler;
	void *data;
	struct client *oldest, *newest;
	size_t clients;
	ino_t inode; /* of our socket */
};

static int client_close(struct client *client)
{
	struct control *control = client->control;
	*(client->older ? &client->older->newer : &control->oldest) = client->newer;
	*(client->newer ? &client->newer->older : &control->newest) = client->older;
	control->clients--;
	TALLOC_FREE(client->watch);
	if (client->brought >= 0)
		close(client->brought);
	close(client->descriptor);
	return 0;
}

static int give_up(void *data)
{
	talloc_free(data);
	return 0;
}

/* 0: there is more to send. 1: all is sent, or nobody takes it. */
static int send_answer(struct client *client)
{
	while (client->sent < client->length) {
		ssize_t put = send(client->descriptor, client->answer + client->sent, client->length - client->sent,
			MSG_NOSIGNAL | MSG_DONTWAIT);
		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return errno != EAGAIN;
		client->sent += (size_t)put;
	}
	return 1;
}

static json_t *complaint(const char *text)
{
	return json_pack("{s:i,s:s}", "status", 2, "messages", text);
}

static void answer(struct client *client)
{
	json_error_t where;
	json_t *request = json_loadb(client->request, client->received, 0, &where);
	json_t *result = json_is_object(request) ? client->control->handler(client->control->data, request, client->brought)
						 : complaint("portpolicy: the request is not a line of JSON\n");
	char *text = result ? json_dumps(result, JSON_COMPACT) : NULL;
	if (text && strlen(text) < CONTROL_ANSWER_MAX)
		client->answer = talloc_asprintf(client, "%s\n", text);
	free(text);
	json_decref(result);
	json_decref(request);
	TALLOC_FREE(client->request);
	client->length = client->answer ? strlen(client->answer) : 0;
	loop_timer_set(client->timer, loop_now() + CONTROL_PATIENCE_MS);
	if (send_answer(client) || loop_watch_writing(client->watch, 1))
		talloc_free(client);
}

/* The first descriptor of the first message is kept. */
static void take_descriptor(struct client *client, struct msghdr *header)
{
	for (struct cmsghdr *part = CMSG_FIRSTHDR(header); part; part = CMSG_NXTHDR(header, part)) {
		size_t count = part->cmsg_level == SOL_SOCKET && part->cmsg_type == SCM_RIGHTS
				       ? (part->cmsg_len - CMSG_LEN(0)) / sizeof(int)
				       : 0;
		for (size_t i = 0; i < count; i++) {
			int descriptor;
			memcpy(&descriptor, CMSG_DATA(part) + i * sizeof descriptor, sizeof descriptor);
			if (client->brought < 0)
				client->brought = descriptor;
			else
				close(descriptor);
		}
	}
}

static ssize_t receive(struct client *client)
{
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec part = {client->request + client->received, CONTROL_REQUEST_MAX - client->received};
	struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
	ssize_t got = recvmsg(client->descriptor, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (got >= 0)
		take_descriptor(client, &header);
	return got;
}

static int serve(void *data)
{
	struct client *client = data;
	if (client->answer) { /* whatever it still says is of no interest */
		char rest[512];
		ssize_t got = recv(client->descriptor, rest, sizeof rest, MSG_DONTWAIT);
		if (send_answer(client) || got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
			talloc_free(client);
		return 0;
	}
	ssize_t got = receive(client);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	char *from = client->request + client->received;
	client->received += got > 0 ? (size_t)got : 0;
	char *newline = got > 0 ? memchr(from, '\n', (size_t)got) : NULL;
	if (newline) {
		client->received = (size_t)(newline - client->request);
		answer(client);
	} else if (got <= 0 || client->received == CONTROL_REQUEST_MAX)
		talloc_free(client);
	return 0;
}

static bool welcome(int descriptor)
{
	struct ucred peer;
	socklen_t size = sizeof peer;
	return !getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &peer, &size) && (peer.uid == 0 || peer.uid == geteuid());
}

static void make_room(struct control *control)
{
	struct client *client = control->oldest;
	while (client && client->answer)
		client = client->newer;
	talloc_free(client ? client : control->oldest);
}

static int add_client(struct control *control, int descriptor)
{
	struct client *client = talloc_zero(control, struct client);
	if (client)
		client->request = talloc_size(client, CONTROL_REQUEST_MAX);
	if (!client || !client->request) {
		talloc_free(client);
		close(descriptor);
		return -ENOMEM;
	}
	client->control = control;
	client->descriptor = descriptor;
	client->brought = -1;
	client->older = control->newest;
	*(control->newest ? &control->newest->newer : &control->oldest) = client;
	control->newest = client;
	control->clients++;
	talloc_set_destructor(client, client_close);
	int error = loop_watch(control->loop, client, descriptor, serve, client, &client->watch);
	if (!error)
		error = loop_timer(control->loop, client, give_up, client, &client->timer);
	if (error)
		talloc_free(client);
	else
		loop_timer_set(client->timer, loop_now() + CONTROL_PATIENCE_MS);
	return error;
}

static int receive_client(void *data)
{
	struct control *control = data;
	int descriptor = accept4(control->descriptor, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (descriptor < 0) {
		if (errno == EMFILE || errno == ENFILE) /* else the loop would turn at once again */
			make_room(control);
		return 0;
	}
	if (!welcome(descriptor)) {
		close(descriptor);
		return 0;
	}
	if (control->clients >= CONTROL_CLIENTS_MAX)
		make_room(control);
	add_client(control, descriptor); /* short of memory: this one is cut off, and nothing else happens */
	return 0;
}

static bool somebody_listens(const struct sockaddr_un *address)
{
	int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	bool there = probe >= 0 && (!connect(probe, (const struct sockaddr *)address, sizeof *address) || errno == EAGAIN);
	if (probe >= 0)
		close(probe);
	return there;
}

static int bind_socket(struct control *control)
{
	struct stat status;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	if (strlen(control->path) >= sizeof address.sun_path)
		return -ENAMETOOLONG;
	strcpy(address.sun_path, control->path);
	if (somebody_listens(&address))
		return -EADDRINUSE;
	if (unlink(control->path) && errno != ENOENT)
		return -errno;
	mode_t mask = umask(0177);
	int error = bind(control->descriptor, (const struct sockaddr *)&address, sizeof address) ? -errno : 0;
	umask(mask);
	if (!error && (listen(control->descriptor, CONTROL_CLIENTS_MAX) || lstat(control->path, &status)))
		error = -errno;
	if (!error)
		control->inode = status.st_ino;
	return error;
}

static int control_close(struct control *control)
{
	struct stat status;
	while (control->oldest)
		talloc_free(control->oldest);
	TALLOC_FREE(control->watch);
	if (control->inode && !lstat(control->path, &status) && status.st_ino == control->inode)
		unlink(control->path);
	if (control->descriptor >= 0)
		close(control->descriptor);
	return 0;
}

int control_new(void *ctx, struct loop *loop, const char *path, control_handler handler, void *data, struct control **out)
{
	struct control *control = talloc_zero(ctx, struct control);
	if (!control)
		return -ENOMEM;
	control->loop = loop;
	control->handler = handler;
	control->data = data;
	control->path = talloc_strdup(control, path);
	control->descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	talloc_set_destructor(control, control_close);
	int error = control->descriptor < 0 ? -errno : control->path ? bind_socket(control) : -ENOMEM;
	if (!error)
		error = loop_watch(loop, control, control->descriptor, receive_client, control, &control->watch);
	if (error)
		talloc_free(control);
	else
		*out = control;
	return error;
}
