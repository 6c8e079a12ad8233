/*
 * The netlink socket: requests, their answers, and the generation.
 *
 * The kernel works off a request inside of the send, so all that it has to say waits in the receive buffer
 * when the send returns.  That buffer can overflow (ENOBUFS); what was queued before is still there.  Answers to an earlier
 * request that was given up are told by their sequence number and passed over.
 */
#include "agent/kernel/kernel.h"
#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <libnftnl/common.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <talloc.h>
#include <time.h>

#define RECEIVE_BUFFER (16 << 20)
#define ANSWER_SECONDS 30

static int kernel_close(struct kernel *kernel)
{
	if (kernel->socket)
		mnl_socket_close(kernel->socket);
	return 0;
}

/* Past the limit of the host where we may, up to it where not. */
static void set_buffer(int fd, int forced, int plain, size_t bytes)
{
	int size = bytes > (1 << 29) ? 1 << 29 : (int)bytes;
	if (setsockopt(fd, SOL_SOCKET, forced, &size, sizeof(size)))
		setsockopt(fd, SOL_SOCKET, plain, &size, sizeof(size));
}

void kernel_force_send_buffer(struct kernel *kernel, size_t bytes)
{
	set_buffer(mnl_socket_get_fd(kernel->socket), SO_SNDBUFFORCE, SO_SNDBUF, bytes);
}

void kernel_force_receive_buffer(struct kernel *kernel, size_t bytes)
{
	set_buffer(mnl_socket_get_fd(kernel->socket), SO_RCVBUFFORCE, SO_RCVBUF, bytes);
}

uint32_t kernel_port(const struct kernel *kernel) { return mnl_socket_get_portid(kernel->socket); }

static int prepare(struct kernel *kernel)
{
	int fd = mnl_socket_get_fd(kernel->socket), on = 1;
	struct timeval patience = {.tv_sec = ANSWER_SECONDS};
	set_buffer(fd, SO_RCVBUFFORCE, SO_RCVBUF, RECEIVE_BUFFER);
	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)))
		return -errno;
	setsockopt(
		fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on)); /* errors without an echo of the message: more of them fit */
	return 0;
}

int link_open(void *ctx, int bus, struct kernel **out)
{
	struct kernel *kernel = talloc_zero(ctx, struct kernel);
	int status = -ENOMEM;
	if (!kernel)
		return status;
	kernel->sequence = (uint32_t)time(NULL);
	if (getrandom(kernel->stamp, sizeof(kernel->stamp), GRND_NONBLOCK) != sizeof(kernel->stamp))
		memset(kernel->stamp, 0, sizeof(kernel->stamp)); /* nothing is known of such a table later */
	kernel->buffer = talloc_array(kernel, uint8_t, RECEIVE_ROOM);
	if (kernel->buffer && !(kernel->socket = mnl_socket_open2(bus, SOCK_CLOEXEC)))
		status = -errno;
	if (!kernel->socket)
		goto fail;
	talloc_set_destructor(kernel, kernel_close);
	status = mnl_socket_bind(kernel->socket, 0, MNL_SOCKET_AUTOPID) < 0 ? -errno : prepare(kernel);
	if (status)
		goto fail;
	*out = kernel;
	return 0;
fail:
	talloc_free(kernel);
	return status;
}

int kernel_open(void *ctx, struct kernel **out)
{
	struct kernel *kernel;
	uint32_t generation;
	int status = link_open(ctx, NETLINK_NETFILTER, &kernel);
	if (status)
		return status;
	status = kernel_generation(kernel, &generation);
	if (status) {
		talloc_free(kernel);
		return status;
	}
	*out = kernel;
	return 0;
}

uint32_t kernel_sequence(struct kernel *kernel)
{
	return ++kernel->sequence;
}

int kernel_send(struct kernel *kernel, const void *bytes, size_t length)
{
	return kernel->replay || mnl_socket_sendto(kernel->socket, bytes, length) >= 0 ? 0 : -errno;
}

int kernel_receive(struct kernel *kernel, bool wait, size_t *length)
{
	struct sockaddr_nl from;
	struct iovec part = {kernel->buffer, RECEIVE_ROOM};
	struct msghdr header = {.msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &part, .msg_iovlen = 1};
	*length = 0;
	if (kernel->replay)
		return tape_play(kernel->replay, kernel->buffer, RECEIVE_ROOM, length);
	for (;;) {
		ssize_t got = recvmsg(mnl_socket_get_fd(kernel->socket), &header, wait ? 0 : MSG_DONTWAIT);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 && errno == EAGAIN)
			return wait ? -ETIMEDOUT : 0;
		if (got < 0)
			return -errno;
		if (header.msg_flags & MSG_TRUNC)
			return -EMSGSIZE;
		if (from.nl_pid) /* not from the kernel */
			continue;
		*length = (size_t)got;
		if (kernel->record)
			tape_record(kernel->record, kernel->buffer, *length);
		return 0;
	}
}

struct answers {
	uint32_t sequence;
	answer_handler handler;
	void *data;
	bool interrupted, done;
};

/* 0 or a negative errno; answers->done after the last one. */
static int take_answer(struct answers *answers, const struct nlmsghdr *message)
{
	if (message->nlmsg_seq != answers->sequence)
		return 0;
	if (message->nlmsg_flags & NLM_F_DUMP_INTR)
		answers->interrupted = true;
	if (message->nlmsg_type == NLMSG_ERROR) {
		const struct nlmsgerr *error = mnl_nlmsg_get_payload(message);
		answers->done = true;
		return mnl_nlmsg_get_payload_len(message) < sizeof(error->error) ? -EBADMSG : error->error;
	}
	if (message->nlmsg_type == NLMSG_DONE) {
		const int *error = mnl_nlmsg_get_payload(message);
		answers->done = true;
		return mnl_nlmsg_get_payload_len(message) >= sizeof(*error) && *error < 0 ? *error : 0;
	}
	return answers->handler && message->nlmsg_type >= NLMSG_MIN_TYPE ? answers->handler(message, answers->data) : 0;
}

static int take_datagram(struct answers *answers, const uint8_t *buffer, size_t length)
{
	int left = (int)length, status = 0;
	const struct nlmsghdr *message = (const struct nlmsghdr *)buffer;
	for (; !status && !answers->done && mnl_nlmsg_ok(message, left); message = mnl_nlmsg_next(message, &left))
		status = take_answer(answers, message);
	return status;
}

int kernel_request(struct kernel *kernel, struct nlmsghdr *request, answer_handler handler, void *data)
{
	struct answers answers = {.sequence = request->nlmsg_seq, .handler = handler, .data = data};
	int status = kernel_send(kernel, request, request->nlmsg_len);
	while (!status && !answers.done) {
		size_t length;
		status = kernel_receive(kernel, true, &length);
		if (!status)
			status = take_datagram(&answers, kernel->buffer, length);
	}
	return !status && answers.interrupted ? -EINTR : status;
}

static int take_generation(const struct nlmsghdr *message, void *data)
{
	const struct nlattr *attribute;
	uint32_t *generation = data;
	mnl_attr_for_each(attribute, message,
		sizeof(struct nfgenmsg)) if (mnl_attr_get_type(attribute) == NFTA_GEN_ID &&
					     mnl_attr_get_payload_len(attribute) == sizeof(uint32_t)) *generation =
		ntohl(mnl_attr_get_u32(attribute));
	return 0;
}

int kernel_generation(struct kernel *kernel, uint32_t *generation)
{
	uint8_t buffer[256] __attribute__((aligned(8))) = {0}; /* libmnl leaves padding as it was */
	*generation = 0;
	struct nlmsghdr *request =
		nftnl_nlmsg_build_hdr((char *)buffer, NFT_MSG_GETGEN, AF_UNSPEC, NLM_F_ACK, kernel_sequence(kernel));
	int status = kernel_request(kernel, request, take_generation, generation);
	return !status && !*generation ? -EPROTO : status;
}
