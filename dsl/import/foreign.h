/*
 * The common form of foreign rulesets: tables of chains of rules, each rule a union of areas and a verdict.
 *
 * Readers (iptables.c, nft.c, ipset.c) make it; flatten.c turns chains into one list for each direction; carve.c makes the list
 * free of order; write.c says it in the language; evaluate.c walks the chains as the kernel does, and prove.c compares.
 *
 * Only packets that start a connection are spoken of: state NEW, and UNTRACKED for neighbour discovery and multicast listeners
 * (net/netfilter/nf_conntrack_proto_icmpv6.c). A TCP connection starts with a SYN and nothing else.
 */
#ifndef PORTPOLICY_FOREIGN_H
#define PORTPOLICY_FOREIGN_H

#include "portpolicy/import.h"
#include "portpolicy/interval.h"
#include "portpolicy/packet.h"
#include "portpolicy/tree.h"
#include <stdio.h>

/* Protocol and service in one number, protocol * 65536 + service: so `any except tcp/25` is one set. */
enum dimension { DIM_TRAFFIC, DIM_SOURCE_PORT, DIM_SOURCE, DIM_DESTINATION, DIM_ARRIVING, DIM_LEAVING, DIM_USER, DIM_GROUP };
#define DIMENSIONS 8
#define SERVICES 65536u
#define TRAFFIC(protocol, service) ((u128)(protocol)*SERVICES + (service))

/* A product of sets, in one family; no set is empty. */
struct area {
	struct intervals of[DIMENSIONS];
};
struct areas {
	struct area *at;
	size_t count;
};

enum foreign_verdict { FV_NONE, FV_ACCEPT, FV_REJECT, FV_DROP, FV_RETURN, FV_JUMP, FV_GOTO };

enum { STATE_NEW = 1, STATE_UNTRACKED = 2, STATE_ESTABLISHED = 4, STATE_RELATED = 8, STATE_INVALID = 16, STATE_ALL = 31 };

struct quota {
	enum { QUOTA_NONE, QUOTA_RATE, QUOTA_CONNECTIONS } kind;
	bool over; /* the rule matches what exceeds it, not what keeps within */
	uint64_t count, burst;
	const char *unit;
	bool per_source;
};

struct foreign_rule {
	const struct source *source;
	unsigned line;
	const char *text;
	struct areas match[FAMILIES]; /* what it can match at most */
	const char *unsure;	      /* why it may match less, or NULL */
	bool local_destination;	      /* `match` is right only where packets are for this host */
	unsigned states;
	struct quota quota;
	enum foreign_verdict verdict;
	const char *target;
	struct foreign_chain *chain; /* of JUMP and GOTO */
	struct foreign_chain *home;
	bool log;  /* is a LOG (FV_NONE), or one stood before it */
	bool lost; /* a log that no verdict takes up */
	const char *log_text, *reason, *differs;
	const char *set; /* a set whose name to keep */
	enum fate fate;
	const char *why;
	bool reached, reached_world, said;    /* by packets, by packets not of loopback; has a part in what the policy says */
	const struct foreign_rule *masked_by; /* an earlier line that may deny what this one accepts, and is not certain */
	struct foreign_rule *part_of;	      /* the line, of which this is a part (a vmap, a limit) */
	enum foreign_verdict part_verdict;    /* of a line with parts: what they do */
	const char *part_unsure;
	bool part_built_in;
};

struct foreign_chain {
	struct foreign_table *table;
	const char *name;
	bool base;
	enum direction direction;
	int priority;
	enum foreign_verdict policy;
	struct foreign_rule **rules;
	size_t count;
	const struct source *source;
	unsigned line;
	bool log;
	const char *log_text;
	struct foreign_chain *next;
};

struct foreign_table {
	const char *name;
	unsigned families; /* bit 1 << enum family */
	struct foreign_chain *chains, **last;
	struct foreign_table *next;
};

/* A set of addresses, of ports, or of both with more: members as areas. */
struct foreign_set {
	const char *name;
	void *owner; /* nft: its table; NULL: ipset */
	unsigned families;
	enum dimension *roles; /* ipset: the kinds of its parts, as for `src` */
	size_t role_count;
	struct areas members[FAMILIES];		/* of the first role on the source side */
	bool simple;				/* addresses and nothing else */
	bool every_protocol;			/* ports without a protocol */
	bool dynamic;				/* filled by packets */
	struct interval *gathered[FAMILIES][2]; /* while reading a simple one: what is in it, and what is taken out again */
	size_t gathered_count[FAMILIES][2];
	const struct source *source;
	unsigned line;
	struct foreign_set *next;
};

/* What the policy denies beyond a denial that had no words. */
struct widened {
	enum direction direction;
	enum family family;
	enum foreign_verdict verdict;
	struct area area;
};

struct import {
	void *ctx;
	int error; /* -ENOMEM sticks */
	bool skip_unknown;
	struct diagnostics *diagnostics;
	struct foreign_table *tables, **last_table;
	struct foreign_set *sets;
	struct foreign_rule **rules; /* all, in the order of reading */
	size_t rule_count;
	bool given[FAMILIES]; /* is there a ruleset for this family? */
	bool complete;	      /* what is not there is not in the kernel either (nft list ruleset) */
	struct widened *widened;
	size_t widened_count;
	bool too_large;
	const char *loop; /* a chain that is jumped to from itself */
	unsigned definitions;
	bool ufw[FAMILIES], ufw_incomplete; /* rule files of ufw; its before.rules is not among them */
	enum foreign_verdict ufw_policy[DIRECTIONS];
	const char **notes;
	size_t note_count;
};

/* foreign.c */
extern const struct intervals full_set[FAMILIES][DIMENSIONS];
char *import_text(struct import *import, const char *format, ...) __attribute__((format(printf, 2, 3)));
void import_note(struct import *import, const char *note); /* what the whole is about, once */
struct foreign_table *foreign_table(struct import *import, unsigned families, const char *name);
struct foreign_chain *foreign_chain(struct import *import, struct foreign_table *table, const char *name, bool make);
struct foreign_rule *foreign_rule(struct import *import, struct foreign_chain *chain, unsigned families,
	const struct source *source, unsigned line, const char *text);
void rule_insert(struct import *import, struct foreign_chain *chain, struct foreign_rule *rule, size_t at);
struct foreign_set *foreign_set(struct import *import, void *owner, const char *name);
void rule_restrict(struct import *import, struct foreign_rule *rule, enum family family, enum dimension dimension,
	struct intervals set, bool negated);
void rule_restrict_both(
	struct import *import, struct foreign_rule *rule, enum dimension dimension, struct intervals set, bool negated);
void rule_among(struct import *import, struct foreign_rule *rule, enum family family, const struct areas *areas, bool negated);
void rule_never(struct foreign_rule *rule);
void rule_states(struct import *import, struct foreign_rule *rule, unsigned states);
void rule_icmp(struct import *import, struct foreign_rule *rule, enum family family, unsigned type, bool negated);
void rule_doubt(struct import *import, struct foreign_rule *rule, const char *format, ...) __attribute__((format(printf, 3, 4)));
void rule_differs(struct import *import, struct foreign_rule *rule, const char *how);
void rule_fate(struct import *import, struct foreign_rule *rule, enum fate fate, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
struct intervals set_single(struct import *import, u128 first, u128 last);
struct intervals set_union(struct import *import, struct intervals a, struct intervals b);
struct intervals set_except(struct import *import, struct intervals a, struct intervals b);
struct intervals set_common(struct import *import, struct intervals a, struct intervals b);
/* "10.0.0.0/8", "10.0.0.1", "10.0.0.0/255.0.0.0", "a-b".  False when it is none. */
bool read_addresses(struct import *import, const char *text, enum family *family, struct intervals *out);
/* "80", "80:90", "80-90", a name. */
bool read_ports(struct import *import, const char *text, char separator, struct intervals *out);
int protocol_number(const char *name);

/* area.c */
bool area_common(struct import *import, const struct area *a, const struct area *b, struct area *out);
bool area_overlap(const struct area *a, const struct area *b);
bool area_cover(const struct area *outer, const struct area *inner);
bool area_holds(const struct area *area, const u128 *point);
bool areas_hold(const struct areas *areas, const u128 *point);
bool areas_overlap(const struct areas *a, const struct areas *b);
void areas_add(struct import *import, struct areas *list, const struct area *area);
void areas_common(struct import *import, const struct areas *a, const struct areas *b, struct areas *out);
/* False when more than `most` areas would come out. */
bool areas_except(struct import *import, struct areas *list, const struct area *what, size_t most);
void areas_join(struct import *import, struct areas *list);
/* The one dimension in which they differ; DIMENSIONS: none; -1: more than one. */
int area_difference(const struct area *a, const struct area *b);

/* Readers: 0, or 1 after a diagnostic. */
int read_iptables(struct import *import, const struct source *source, enum foreign_kind kind);
void tie_ufw(struct import *import); /* when all files are read */
int read_ipset(struct import *import, const struct source *source);
int read_nft(struct import *import, const struct source *source);

/* flatten.c: the list of one direction, in one family and zone. */
struct list_entry {
	enum foreign_verdict verdict; /* ACCEPT, REJECT, DROP */
	struct areas areas;
	struct foreign_rule *rule; /* NULL: the policy of a chain */
	const struct foreign_chain *chain;
	const char *unsure;
	struct quota quota;
	bool idle;	    /* takes no part: it is unsure, and leaving it out is the safe side */
	bool absorbed;	    /* the default says it; it is kept out of what other rules say */
	struct areas said;  /* what the rule of the policy says */
	struct areas gated; /* what it says within the number of connections of `gate` */
	const struct list_entry *gate;
};
struct entries {
	struct list_entry *at;
	size_t count;
	bool too_many;
	const char *loop;
};
struct zone_space {
	enum direction direction;
	enum family family;
	bool loopback;
	struct area whole;
};
void zone_space(struct import *import, enum direction direction, enum family family, bool loopback, struct zone_space *out);
void settle_rules(struct import *import); /* settle.c */
/* Puts a rule before `within` that has this verdict for what exceeds its limit, and takes the limit away. */
void settle_over(struct import *import, struct foreign_rule *within, enum foreign_verdict verdict);
/* False when no chain stands at the hook of this direction and family. */
bool flatten(struct import *import, const struct zone_space *space, struct entries *out);
struct foreign_chain **base_chains(struct import *import, enum direction direction, enum family family, size_t *count);

/* carve.c: false when a rule turned out not to be sayable: it is marked, and the list must be made anew. */
bool carve(struct import *import, const struct zone_space *space, struct entries *entries, enum foreign_verdict fallback);

/* plan.c: the rules of a policy. */
struct spoken {
	enum foreign_verdict verdict;
	struct area area[FAMILIES];
	bool in[FAMILIES];
	bool loopback, doubtful;	   /* doubtful: an acceptance that is not certain, shown as a comment */
	const struct foreign_rule **rules; /* the lines that it comes from; none: the policy of a chain */
	size_t rule_count;
	const struct quota *quota, *connections;
	bool log;
	const char *log_text, *reason, *note;
};
struct direction_plan {
	bool managed;
	enum direction direction;
	enum foreign_verdict fallback;
	bool log;
	const char *log_text;
	const struct foreign_chain *chain;
	struct spoken *at;
	size_t count;
};
void plan_settle(struct import *import); /* until no rule turns out to be one that cannot be said */
void plan_direction(struct import *import, enum direction direction, struct direction_plan *out);

/* clauses.c: sets in the words of the language. False: there are no words. `to` NULL: only ask. */
bool traffic_is_except(struct intervals traffic); /* is it said as all but some? */
bool traffic_words(struct import *import, FILE *to, enum family family, struct intervals traffic);
bool interface_words(struct import *import, FILE *to, const char *words, struct intervals whole, struct intervals set);
bool subject_words(struct import *import, FILE *to, const struct area *area);
void port_words(struct import *import, FILE *to, struct intervals ports);
void address_words(struct import *import, FILE *to, enum family family, struct interval range);
bool area_sayable(struct import *import, const struct zone_space *space, const struct area *area);

/* write.c */
char *write_policy(struct import *import, const struct direction_plan *plans, const struct foreign_input *inputs,
	size_t input_count, const struct imported *imported);

/* evaluate.c: bits 1 << verdict of what may become of a packet, and EVALUATE_UNSURE where it met a rule that may match or not. */
#define EVALUATE_UNSURE 256u
unsigned evaluate(struct import *import, enum direction direction, enum family family, const u128 *point);

/* prove.c: 0; 2 and *problem; or -ENOMEM. */
int prove(struct import *import, const struct direction_plan *plans, const char *text, struct imported *imported,
	const char **problem);

#endif
