/*
 * The narrow port to nf_tables: dump and commit, over one netlink socket.
 *
 * Only agent/kernel includes libmnl and libnftnl.
 */
#ifndef PORTPOLICY_KERNEL_H
#define PORTPOLICY_KERNEL_H

#include "portpolicy/ruleset.h"

struct kernel;

/* Opens the socket. 0 or a negative errno (-EPERM without CAP_NET_ADMIN). */
int kernel_open(void *ctx, struct kernel **out);

/* The table as it is, and the generation it belongs to (never 0).  Repeats until two generation reads agree, a bounded number of times: -EAGAIN. */
int kernel_dump(void *ctx, struct kernel *kernel, const char *table, struct ruleset **out, uint32_t *generation);

struct refusal {
	int error;                   /* positive errno from the kernel */
	const struct change *change; /* the one at fault, or NULL when the batch as a whole was refused */
};

/*
 * One batch, all or nothing, and only if the generation is still `generation` (0: whatever it is).
 * Returns 0 when the kernel has acknowledged the end of the batch (or a read-back has shown the commit); 1 when it refused (*refusal);
 * 2 when the generation has moved on; -ETIMEDOUT or another negative errno when the outcome is unknown or nothing could be sent.
 */
int kernel_commit(struct kernel *kernel, const struct changes *changes, uint32_t generation, struct refusal *refusal);

/*
 * Makes conntrack know the connections that stand now (LANGUAGE.md, What a policy means, 8): for every TCP socket that is
 * connected and every connected UDP socket, an entry that counts as established.  Conntrack must be on in
 * this namespace.  Returns 0 or a negative errno; *adopted is the number of entries made or corrected.
 */
int kernel_adopt_connections(struct kernel *kernel, size_t *adopted);

/*
 * The whole way for one wanted ruleset: dump, first-apply adoption, difference, commit, with bounded retries when others commit meanwhile.
 * Nothing is sent when nothing differs (*changed 0).  Returns as kernel_commit; 3 when the table is somebody else's (*problem).
 * wanted NULL: remove the table.
 */
int kernel_install(void *ctx, struct kernel *kernel, const char *table, const struct ruleset *wanted, struct changes **applied,
		   struct refusal *refusal, const char **problem);

#endif
