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

/*
 * One try of the same: nobody is waited for.  1: others committed between *before and *after, so that *out may be a mixture of
 * states where they touched the table.
 */
int kernel_dump_once(void *ctx, struct kernel *kernel, const char *table, struct ruleset **out, uint32_t *before, uint32_t *after);

/* What can be known of the table without a dump. */
#define TABLE_STAMP 16
struct table_state {
	uint32_t generation;
	bool exists, dormant, persist;
	uint32_t owner;             /* port id, or 0 */
	uint8_t stamp[TABLE_STAMP]; /* random bytes that the table was made with, or zeros: it was not made by us */
};
int kernel_look(struct kernel *kernel, const char *table, struct table_state *out);

/* Of this socket: what the kernel calls the author of its commits, and the owner of a table. */
uint32_t kernel_port(const struct kernel *kernel);

/* Tables that are made through this socket persist, so that they can be owned (Linux 6.9; where not, they are plain). */
void kernel_make_persistent(struct kernel *kernel, bool persist);

/*
 * Makes this socket the owner of the table, which must be there and persist: from then on nobody else can change it, until
 * the socket is closed (Linux 6.9).  It wakes a dormant table.  Returns 0 when a read-back has shown it; 1 when the kernel or the table does
 * not have it; -EPERM when another socket owns it; or another negative errno.
 */
int kernel_own(struct kernel *kernel, const char *table);

/* Other people's commits, and our own, as they are made. */
struct kernel_watch;
struct kernel_event {
	uint32_t generation; /* that the commit made */
	uint32_t port;       /* port id of the socket that committed */
	uint32_t process;    /* its process, in the reader's pid namespace; 0: not told */
	char program[32];    /* and what that runs */
	bool touched;        /* the table we watch */
};
int kernel_watch_open(void *ctx, const char *table, struct kernel_watch **out);
int kernel_watch_descriptor(const struct kernel_watch *watch); /* readable when events wait */
/* 1: *event is the next commit; 0: nothing waits; -ENOBUFS: events are lost, the kernel must be looked at; or another negative errno. */
int kernel_watch_next(struct kernel_watch *watch, struct kernel_event *event);

/*
 * kernel_dump, and with it the bytes that it was read from (talloc, of ctx), which can be kept and read again later by a kernel_snapshot_read of the
 * same version of this program: a ruleset that was in force, to be brought back.
 */
int kernel_snapshot(void *ctx, struct kernel *kernel, const char *table, struct ruleset **out, uint8_t **bytes, size_t *length);
/* 0, -EBADMSG for bytes that no kernel_snapshot of this table made, or -ENOMEM. */
int kernel_snapshot_read(void *ctx, const char *table, const uint8_t *bytes, size_t length, struct ruleset **out);

/*
 * Members of sets that the caller knows, because it put them there: to read a million back takes the kernel half a minute (it walks a hash
 * from its beginning for every 32 KB).  The stamp tells the table from others of its name, also those of other network namespaces;
 * the generation tells that nothing has changed since.
 */
struct table_knowledge {
	uint32_t generation;
	uint8_t stamp[TABLE_STAMP];
	const struct set *sets; /* only their names, kinds and members count */
	size_t set_count;
};
/*
 * From now on a dump (and kernel_install) takes the members of these sets from here where generation and stamp are what it finds; else it
 * reads them.  `known` is copied, but for its sets, which must outlive the socket or the next call, and the rulesets dumped
 * meanwhile.  NULL: nothing is known.
 */
void kernel_know(struct kernel *kernel, const struct table_knowledge *known);
const struct table_knowledge *kernel_known(const struct kernel *kernel); /* its generation is 0 where nothing is known */
/* For who watches: the commit that made `generation` did not touch the table, so what was known just before it is known still. */
void kernel_know_untouched(struct kernel *kernel, uint32_t generation);
/*
 * The generation and stamp of the table as the last kernel_commit or kernel_install that returned 0 left it, from which on what was
 * wanted then is known.  0; 1 when somebody has committed since, or the table has no stamp; or a negative errno.  out->sets are for the caller to fill in.
 */
int kernel_settled(struct kernel *kernel, const char *table, struct table_knowledge *out);

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
