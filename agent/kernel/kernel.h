/*
 * What the files of agent/kernel share: the socket, the form of each key in the kernel, and encode and decode.
 */
#ifndef PORTPOLICY_AGENT_KERNEL_H
#define PORTPOLICY_AGENT_KERNEL_H

#include "portpolicy/kernel.h"

struct nlmsghdr;
struct nftnl_rule;
struct nftnl_set;
struct mnl_socket;

#define TABLE_PERSIST 4 /* NFT_TABLE_F_PERSIST, which the headers of Debian 12 do not know */

#define MESSAGE_ROOM (64 * 1024)  /* no message of ours is longer */
#define RECEIVE_ROOM (128 * 1024) /* no answer of the kernel is longer */
#define RULE_STEPS_MAX 120	  /* expressions that the kernel takes in a rule: 128 */

/* The datagrams of a dump, to be kept or played back (snapshot.c): a length of 32 bits in host order and the bytes, each. */
struct tape {
	uint8_t *bytes; /* talloc */
	size_t length, room, at;
	int error;
};

struct kernel {
	struct mnl_socket *socket;
	uint32_t sequence;
	uint8_t *buffer; /* RECEIVE_ROOM */
	uint8_t stamp[TABLE_STAMP]; /* of the tables that it makes */
	struct table_knowledge known;
	uint32_t settled; /* generation that a commit of ours made, or that nothing differed in; 0: not known */
	bool persist; /* tables that it makes are to outlive an owner; no longer when the host has refused it */
	struct tape *record; /* all that is received goes here too; or NULL */
	struct tape *replay; /* there is no socket: the answers come from here; or NULL */
};

typedef int (*answer_handler)(const struct nlmsghdr *message, void *data); /* 0 or a negative errno, which ends it */

/* socket.c */
int link_open(void *ctx, int bus, struct kernel **out);
uint32_t kernel_sequence(struct kernel *kernel);
/* One request and all its answers.  0, -EINTR when a dump was inconsistent, -ETIMEDOUT, or the kernel's error, negative. */
int kernel_request(struct kernel *kernel, struct nlmsghdr *request, answer_handler handler, void *data);
int kernel_generation(struct kernel *kernel, uint32_t *generation);
/* One datagram; 0 bytes when nothing waits and `wait` is false.  -ENOBUFS: some answers are lost, others still wait. */
int kernel_receive(struct kernel *kernel, bool wait, size_t *length);
int kernel_send(struct kernel *kernel, const void *bytes, size_t length);
void kernel_force_send_buffer(struct kernel *kernel, size_t bytes);
void kernel_force_receive_buffer(struct kernel *kernel, size_t bytes);

/* sockets.c: 0, also when it was gone; -EOPNOTSUPP where the kernel cannot */
struct socket_entry;
int kernel_destroy_socket(const struct socket_entry *socket);

/* snapshot.c */
void tape_record(struct tape *tape, const uint8_t *bytes, size_t length);
int tape_play(struct tape *tape, uint8_t *buffer, size_t room, size_t *length); /* -ENODATA at its end */

/* keys.c: how the kernel holds each key */
enum key_origin { ORIGIN_META, ORIGIN_CT, ORIGIN_PAYLOAD };
struct key_form {
	enum key key;
	enum key_origin origin;
	uint32_t where;	  /* meta or ct key; payload: base */
	uint32_t offset;  /* payload */
	uint8_t length;	  /* bytes in a register */
	uint8_t datatype; /* nft's number for it, so that nft can list our sets */
	bool host_order;  /* a number in the byte order of the host; all others compare as bytes */
};
#define DATATYPE_IFNAME 41
const struct key_form *key_form(enum key key);
const struct key_form *key_by_datatype(uint32_t datatype); /* the first of those that share it, or NULL */
u128 key_last(enum key key);
/* Both: `network`: big-endian even where the kernel's register holds host order. */
void key_store(enum key key, u128 value, bool network, uint8_t *bytes);
u128 key_fetch(enum key key, const uint8_t *bytes, bool network);

/* encode.c: 0, -ENOMEM, or -EINVAL, -E2BIG, -ENAMETOOLONG for what no kernel would take */
int encode_rule(const char *table, const char *chain, const struct nft_rule *rule, struct nftnl_rule **out);
int encode_set(const char *table, const struct set *set, uint32_t id, struct nftnl_set **out);

uint32_t verdict_code(enum nft_verdict verdict);
bool verdict_has_chain(enum nft_verdict verdict);

/* Byte order of a key, as nft notes it in the user data of a set; and our own note there: one byte (enum key) for each key. */
enum { NFT_ORDER_NONE, NFT_ORDER_HOST, NFT_ORDER_NETWORK };
#define SET_USERDATA_KEYS 0xc9

/* knowledge.c: the stamp stands in the user data of the table */
#define TABLE_USERDATA_STAMP 0xca
void put_stamp(struct nlmsghdr *message, const uint8_t *stamp);
void read_stamp(const void *userdata, uint32_t length, uint8_t *stamp); /* zeros: there is none */
uint32_t next_generation(uint32_t generation);
/* Fills in the members of a set where they are known. */
bool known_members(const struct kernel *kernel, uint32_t generation, const uint8_t *stamp, struct set *set);

/* elements.c: members of a set, in messages of bounded size */
typedef int (*message_starter)(void *data, uint16_t type, uint16_t flags, struct nlmsghdr **out);
typedef void (*message_ender)(void *data, struct nlmsghdr *message);
int encode_elements(const char *table, const struct set *set, bool delete, message_starter start, message_ender end, void *data);

/* decode.c */
int decode_rule(void *ctx, const struct nftnl_rule *from, struct nft_rule *out);
int decode_verdict(
	void *ctx, uint32_t code, const char *chain, enum nft_verdict *verdict, const char **out); /* 1: none of ours */

/* members.c: sets and their members as they come from a dump */
/* One key: its values, or the borders of its intervals; several keys: whole elements. */
struct point {
	u128 value;
	const char *object;
	enum nft_verdict verdict;
	bool end; /* closes an interval: the first value outside */
};
struct members {
	struct point *points;
	struct element *elements;
	size_t count, room;
	bool foreign;
};
int decode_set(void *ctx, const struct nftnl_set *from, struct set *out);
int decode_members(void *ctx, const struct set *set, const struct nlmsghdr *message, struct members *members); /* appends */
int members_into_set(void *ctx, struct members *members, struct set *set);

#endif
