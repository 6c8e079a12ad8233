/*
 * The connections that stand, as conntrack and the sockets tell them, in the terms of the language.
 */
#ifndef PORTPOLICY_FLOW_H
#define PORTPOLICY_FLOW_H

#include "portpolicy/kernel.h"

/* Two ends as one of the host's own sockets sees them. */
struct socket_ends {
	enum family family; /* IPv4 where both ends are IPv4-mapped */
	uint8_t protocol;   /* PROTOCOL_TCP or PROTOCOL_UDP */
	u128 local, remote;
	uint16_t local_port, remote_port;
};

struct socket_entry {
	struct socket_ends ends;
	bool listening;
	uint32_t user;
	uint32_t inode;	     /* as in /proc/PID/fd; 0: of no process any more */
	uint8_t raw_family;  /* and how the kernel knows it */
	uint32_t raw_id[12]; /* struct inet_diag_sockid */
};

struct socket_list {
	struct socket_entry *at; /* sorted by ends */
	size_t count;
};

/* TCP sockets in every state, and UDP sockets that are connected. 0 or a negative errno. */
int kernel_sockets(void *ctx, struct socket_list **out);
/* The connected socket with these ends, or NULL. */
const struct socket_entry *socket_find(const struct socket_list *list, const struct socket_ends *ends);

/*
 * One entry of conntrack.  Source and destination are those that the rules see: the source of the first packet before source
 * translation, the destination after destination translation.
 */
struct flow {
	enum direction direction;
	bool loopback; /* both ends are this host's */
	enum family family;
	uint8_t protocol;
	uint16_t source_port;
	uint16_t service; /* as FIELD_SERVICE of packet.h */
	u128 source, destination;
	struct socket_ends socket;  /* the ends that a local socket would show (`in`, `out`) */
	uint32_t arriving, leaving; /* index of the interface that the route to the peer names now; 0: none known */
	uint8_t *tuple;		    /* what tells the entry to the kernel (opaque) */
};

struct flows {
	struct flow *at;
	size_t count;
	size_t left_out; /* beyond `most` */
};

/* At most `most` entries. 0 or a negative errno; no conntrack at all is no flow. */
int kernel_flows(void *ctx, struct kernel *kernel, size_t most, struct flows **out);

/*
 * Ends a flow: its local socket (`socket`, may be NULL) is closed with a reset to the peer, and conntrack forgets it, so that the
 * next packet begins anew. 0, also when it has ended by itself, or a negative errno.  *kept_socket: this kernel cannot close
 * sockets.
 */
int kernel_end_flow(struct kernel *kernel, const struct flow *flow, const struct socket_entry *socket, bool *kept_socket);

#endif
