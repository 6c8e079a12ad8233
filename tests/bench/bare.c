/*
 * The least that a loader can do: the elements of some sets, ready in memory as the kernel wants them, in one batch over libmnl.
 *
 *   bare prepare <RULESET >FILE     takes the sets of addresses out of a ruleset in nft's words
 *   bare load FILE                  makes table inet bare with these sets: what a whole process of it takes is the measure
 *
 * FILE is sets one behind another: struct head, then the keys.  Sizes are given with the same headroom that portpolicy gives.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <libnftnl/common.h>
#include <libnftnl/set.h>
#include <libnftnl/table.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define TABLE "bare"
#define ELEMENTS_BYTES (32 * 1024) /* of one message; a nested attribute holds 64 KB at most */
#define TYPE_IPV4 7		   /* nft's numbers of its types */
#define TYPE_IPV6 8

struct head {
	uint32_t key_bytes; /* 4 or 16 */
	uint32_t count;	    /* keys */
	uint32_t interval;  /* each two of them are where a range begins and the first address behind it */
};

/* prepare */

static void fail(const char *word)
{
	fprintf(stderr, "bare: not an address, a network or a range: %s\n", word);
	exit(1);
}

static void read_address(const char *text, uint32_t key_bytes, unsigned char *key)
{
	if (inet_pton(key_bytes == 4 ? AF_INET : AF_INET6, text, key) != 1)
		fail(text);
}

static void increment(unsigned char *key, uint32_t key_bytes)
{
	for (uint32_t i = key_bytes; i-- && !++key[i];)
		;
}

static void put_range(char *word, uint32_t key_bytes)
{
	unsigned char first[16], last[16];
	char *dash = strchr(word, '-'), *slash = strchr(word, '/');
	if (dash || slash)
		*(dash ? dash : slash) = '\0';
	read_address(word, key_bytes, first);
	memcpy(last, first, sizeof(last));
	if (dash)
		read_address(dash + 1, key_bytes, last);
	for (uint32_t bit = slash ? (uint32_t)atoi(slash + 1) : 8 * key_bytes; bit < 8 * key_bytes; bit++)
		last[bit / 8] |= (unsigned char)(0x80 >> bit % 8);
	increment(last, key_bytes);
	fwrite(first, key_bytes, 1, stdout);
	fwrite(last, key_bytes, 1, stdout);
}

static void put_keys(char *line, uint32_t key_bytes, bool interval)
{
	struct head head = {key_bytes, 1, interval};
	char *elements = strchr(line, '{') + 1;
	for (const char *at = elements; *at; at++)
		head.count += *at == ',';
	head.count *= interval ? 2 : 1;
	fwrite(&head, sizeof(head), 1, stdout);
	for (char *word = strtok(elements, " ,}\n"); word; word = strtok(NULL, " ,}\n")) {
		unsigned char key[16];
		if (interval) {
			put_range(word, key_bytes);
			continue;
		}
		read_address(word, key_bytes, key);
		fwrite(key, key_bytes, 1, stdout);
	}
}

static int prepare(void)
{
	char *line = NULL;
	size_t room = 0;
	uint32_t key_bytes = 0;
	bool interval = false;
	while (getline(&line, &room, stdin) > 0) {
		if (!strncmp(line, "\tset ", 5) || !strncmp(line, "\tmap ", 5))
			key_bytes = 0, interval = false;
		else if (!strcmp(line, "\t\ttype ipv4_addr\n"))
			key_bytes = 4;
		else if (!strcmp(line, "\t\ttype ipv6_addr\n"))
			key_bytes = 16;
		else if (!strcmp(line, "\t\tflags interval\n"))
			interval = true;
		else if (!strncmp(line, "\t\telements = {", 14) && key_bytes)
			put_keys(line, key_bytes, interval);
	}
	free(line);
	return fflush(stdout) ? 1 : 0;
}

/* load */

struct batch {
	char *memory;
	size_t used, room;
	uint32_t sequence;
};

static struct nlmsghdr *begin(struct batch *batch, uint16_t type, uint16_t flags, uint16_t family)
{
	struct nlmsghdr *message = mnl_nlmsg_put_header(batch->memory + batch->used);
	message->nlmsg_type = type;
	message->nlmsg_flags = NLM_F_REQUEST | flags;
	message->nlmsg_seq = ++batch->sequence;
	struct nfgenmsg *header = mnl_nlmsg_put_extra_header(message, sizeof(*header));
	bool bound = type == NFNL_MSG_BATCH_BEGIN || type == NFNL_MSG_BATCH_END;
	*header = (struct nfgenmsg){.nfgen_family = (uint8_t)family, .res_id = htons(bound ? NFNL_SUBSYS_NFTABLES : 0)};
	return message;
}

static void end(struct batch *batch, const struct nlmsghdr *message)
{
	batch->used += MNL_ALIGN(message->nlmsg_len);
}

static struct nlmsghdr *begin_nft(struct batch *batch, uint16_t type)
{
	return begin(batch, (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type), NLM_F_CREATE, NFPROTO_INET);
}

static void put_set(struct batch *batch, const struct head *head, const char *name, uint32_t id)
{
	struct nlmsghdr *message = begin_nft(batch, NFT_MSG_NEWSET);
	mnl_attr_put_strz(message, NFTA_SET_TABLE, TABLE);
	mnl_attr_put_strz(message, NFTA_SET_NAME, name);
	mnl_attr_put_u32(message, NFTA_SET_ID, htonl(id));
	mnl_attr_put_u32(message, NFTA_SET_KEY_TYPE, htonl(head->key_bytes == 4 ? TYPE_IPV4 : TYPE_IPV6));
	mnl_attr_put_u32(message, NFTA_SET_KEY_LEN, htonl(head->key_bytes));
	if (head->interval) {
		mnl_attr_put_u32(message, NFTA_SET_FLAGS, htonl(NFT_SET_INTERVAL));
	} else {
		struct nlattr *description = mnl_attr_nest_start(message, NFTA_SET_DESC);
		mnl_attr_put_u32(message, NFTA_SET_DESC_SIZE, htonl(2 * head->count + 1024));
		mnl_attr_nest_end(message, description);
	}
	end(batch, message);
}

static void put_elements(struct batch *batch, const struct head *head, const unsigned char *keys, const char *name)
{
	for (uint32_t i = 0; i < head->count;) {
		struct nlmsghdr *message = begin_nft(batch, NFT_MSG_NEWSETELEM);
		mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_TABLE, TABLE);
		mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_SET, name);
		struct nlattr *list = mnl_attr_nest_start(message, NFTA_SET_ELEM_LIST_ELEMENTS);
		for (; i < head->count && message->nlmsg_len < ELEMENTS_BYTES; i++) {
			struct nlattr *element = mnl_attr_nest_start(message, NFTA_LIST_ELEM);
			if (head->interval && i % 2)
				mnl_attr_put_u32(message, NFTA_SET_ELEM_FLAGS, htonl(NFT_SET_ELEM_INTERVAL_END));
			struct nlattr *key = mnl_attr_nest_start(message, NFTA_SET_ELEM_KEY);
			mnl_attr_put(message, NFTA_DATA_VALUE, head->key_bytes, keys + (size_t)i * head->key_bytes);
			mnl_attr_nest_end(message, key);
			mnl_attr_nest_end(message, element);
		}
		mnl_attr_nest_end(message, list);
		end(batch, message);
	}
}

/* Every element takes its key, three headers of four bytes and perhaps a flag; messages their own. */
static size_t room_for(size_t bytes)
{
	return bytes * 7 + bytes / 8 + (1 << 20);
}

static int build(struct batch *batch, const unsigned char *file, size_t size)
{
	uint32_t id = 0;
	end(batch, begin(batch, NFNL_MSG_BATCH_BEGIN, 0, AF_UNSPEC));
	struct nlmsghdr *table = begin_nft(batch, NFT_MSG_NEWTABLE);
	mnl_attr_put_strz(table, NFTA_TABLE_NAME, TABLE);
	end(batch, table);
	for (size_t at = 0; at + sizeof(struct head) <= size;) {
		struct head head;
		char name[16];
		memcpy(&head, file + at, sizeof(head));
		at += sizeof(head);
		if ((size - at) / head.key_bytes < head.count)
			return -EINVAL;
		snprintf(name, sizeof(name), "set%u", ++id);
		put_set(batch, &head, name, id);
		put_elements(batch, &head, file + at, name);
		at += (size_t)head.count * head.key_bytes;
	}
	end(batch, begin(batch, NFNL_MSG_BATCH_END, NLM_F_ACK, AF_UNSPEC));
	return 0;
}

/* Only the answer to the end of the batch says that all is there. */
static int wait_for_end(struct mnl_socket *socket, uint32_t sequence)
{
	char buffer[1 << 16];
	for (;;) {
		ssize_t length = mnl_socket_recvfrom(socket, buffer, sizeof(buffer));
		if (length < 0)
			return -errno;
		const struct nlmsghdr *message = (const struct nlmsghdr *)buffer;
		for (int left = (int)length; mnl_nlmsg_ok(message, left); message = mnl_nlmsg_next(message, &left)) {
			const struct nlmsgerr *answer = mnl_nlmsg_get_payload(message);
			if (message->nlmsg_type == NLMSG_ERROR && (answer->error || message->nlmsg_seq == sequence))
				return answer->error;
		}
	}
}

static int send_batch(const struct batch *batch)
{
	struct mnl_socket *socket = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
	int room = (int)batch->used + (1 << 20);
	if (!socket || mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID))
		return -errno;
	setsockopt(mnl_socket_get_fd(socket), SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room));
	if (mnl_socket_sendto(socket, batch->memory, batch->used) < 0)
		return -errno;
	int status = wait_for_end(socket, batch->sequence);
	mnl_socket_close(socket);
	return status;
}

static int load(const char *path)
{
	struct stat about;
	int descriptor = open(path, O_RDONLY | O_CLOEXEC);
	if (descriptor < 0 || fstat(descriptor, &about))
		return -errno;
	size_t size = (size_t)about.st_size;
	void *file = mmap(NULL, size, PROT_READ, MAP_PRIVATE, descriptor, 0);
	struct batch batch = {.room = room_for(size)};
	batch.memory = mmap(NULL, batch.room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (file == MAP_FAILED || batch.memory == MAP_FAILED)
		return -errno;
	int status = build(&batch, file, size);
	return status ? status : send_batch(&batch);
}

int main(int count, char **words)
{
	if (count == 2 && !strcmp(words[1], "prepare"))
		return prepare();
	if (count != 3 || strcmp(words[1], "load")) {
		fputs("usage: bare prepare <RULESET >FILE | bare load FILE\n", stderr);
		return 2;
	}
	int status = load(words[2]);
	if (status)
		fprintf(stderr, "bare: %s\n", strerror(-status));
	return status ? 1 : 0;
}
