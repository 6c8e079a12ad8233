/*
 * A policy with every name resolved: what each rule matches, as sets of numbers.
 *
 * Made from trees by policy_load; owned by one talloc context; never changed afterwards.
 */
#ifndef PORTPOLICY_POLICY_H
#define PORTPOLICY_POLICY_H

#include "portpolicy/environment.h"
#include "portpolicy/interval.h"
#include "portpolicy/packet.h"
#include "portpolicy/tree.h"

/* Protocols and what stands behind their slash.  Canonical: the same traffic has the same value. */
struct traffic {
	struct intervals tcp, udp, sctp; /* destination ports */
	struct intervals icmp, icmpv6;   /* types; IPv4 only and IPv6 only */
	/* Protocol numbers without 6, 17, 132.  1 stands for protocol 1 over IPv6 and 58 for 58 over IPv4: only `any` holds them. */
	struct intervals others;
};

/*
 * Addresses: a union of terms.  A term holds the addresses in its intervals
 * that are also in each host name's unknown set where `member`, and in none where not.
 */
struct host_literal {
	uint32_t host; /* index in policy.hosts */
	bool member;
};
struct address_term {
	struct intervals of[FAMILIES];
	const struct host_literal *literals;
	size_t literal_count;
};
struct addresses {
	const struct address_term *terms;
	size_t count;
};

/* Interfaces: (any, or one of `in`) and none of `out`.  A pattern is a name, or a prefix of names. */
struct interface_pattern {
	const char *name; /* without the asterisk */
	bool prefix;
};
struct interfaces {
	bool any;
	const struct interface_pattern *in, *out;
	size_t in_count, out_count;
	bool names_loopback; /* "lo" stands among `in`, by its exact name */
};

/* Processes: any packet; or (except false) packets of a process in one of the sets; or (except true) all others and those of no process. */
struct subjects {
	bool any, except;
	bool one_process; /* a question: a process that is in each non-empty set */
	struct intervals users, groups, units; /* numbers as in packet.h */
};

struct match {
	enum direction direction;
	struct traffic traffic;
	struct interfaces arriving, leaving; /* `on` is arriving in `in`, leaving in `out` */
	bool interface_named;
	struct addresses from, to;
	struct intervals source_ports; /* full (0-65535) where not named */
	bool source_port_named;
	struct subjects by;
};

struct rate {
	uint64_t count;
	uint64_t seconds; /* of the unit: 1, 60, 3600, 86400 */
	uint64_t burst;
	bool per_source;
	struct span span;
};

struct rule {
	struct span span;
	const struct match_node *written;
	const char *text;   /* the statement, folded to one line */
	const char *id;     /* 12 hex digits of a hash of direction and text (and of its number among equals): stable when lines move */
	enum action action;
	struct match match;
	const struct rate *limit; /* of an allow; or NULL */
	const struct rate *above; /* of a deny or reject; or NULL */
	bool has_connections;     /* limit N connections [per source] */
	uint64_t connections;
	bool connections_per_source;
	struct span connections_span;
	bool log;
	const char *log_text, *reason; /* or NULL */
};

struct expectation {
	struct span span;
	const struct match_node *written;
	const char *text;
	bool allow;
	struct match match;
};

struct direction_policy {
	bool managed;
	enum action action; /* the default */
	enum mode mode;
	bool log;
	const char *log_text;
	struct span span;
	const char *text, *id;
};

/* A user or group that the policy calls by name. */
struct account {
	bool user;
	const char *name;
	uint32_t number;
};

/* Something not known yet (LANGUAGE.md, ADDRESSES): `blocks_apply` where not knowing would let more through. */
struct unknown {
	struct span span;
	const char *what; /* "user \"nosuch\"", "file \"lists/drop.txt\"" */
	bool blocks_apply;
};

struct policy {
	const char *file;        /* as named */
	const char *host;        /* the host that it is resolved for */
	struct direction_policy directions[DIRECTIONS];
	const struct rule *rules; /* in reading order, over all directions */
	size_t rule_count;
	const struct expectation *expects;
	size_t expect_count;
	const char *const *hosts; /* host names written in address sets; struct host_literal points here */
	size_t host_count;
	const char *const *units;
	size_t unit_count;
	const struct account *accounts;
	size_t account_count;
	const struct unknown *unknowns;
	size_t unknown_count;
	const struct source *const *sources; /* every file that was read */
	size_t source_count;
	void *scope; /* the resolver's names, for policy_question */
};

/*
 * Reads `path` ("-": standard input) and all that it includes, for one host.
 * Returns 0; 1 when the diagnostics hold errors (*out is NULL then); or a negative errno (-ENOMEM).
 * A file that cannot be read is a diagnostic.
 */
int policy_load(void *ctx, const char *path, const struct environment *environment, struct diagnostics *diagnostics, struct policy **out);

/* Resolves a question in the names of the policy.  Returns as policy_load. */
int policy_question(void *ctx, const struct policy *policy, const struct environment *environment, const struct match_node *node,
		    struct diagnostics *diagnostics, struct match *out);

/* A set that the policy has a name for, and uses. Of a name that the policy and the library define it is the policy's. */
enum named_kind { NAMED_ADDRESSES, NAMED_PORTS, NAMED_SERVICE };
struct policy_name {
	enum named_kind kind;
	const char *name; /* without the $ */
	bool library;
	struct addresses addresses;
	struct intervals ports;
	struct traffic traffic;
};
/* All of them, by name. 0 or -ENOMEM. */
int policy_names(void *ctx, const struct policy *policy, struct policy_name **out, size_t *count);

/* The clauses of a rule as written, in the order of the language, without its action, limits, log and reason. NULL: out of memory. */
char *match_text(void *ctx, const struct match_node *node);

/*
 * One host name for each kind of host that the `hosts` blocks of a policy tell apart
 * (first the kind that no block names).  Returns as policy_load, but mistakes in the files are
 * left to policy_load: the kinds are those of the blocks that could be read.
 */
int policy_host_kinds(void *ctx, const char *path, const struct environment *environment, struct diagnostics *diagnostics,
		      const char *const **names, size_t *count);

/* The same for several policies at once: hosts that any of them tells apart. `environments` and `paths` have `policies` members. */
int policies_host_kinds(void *ctx, const char *const *paths, const struct environment *const *environments, size_t policies,
			struct diagnostics *diagnostics, const char *const **names, size_t *count);

#endif
