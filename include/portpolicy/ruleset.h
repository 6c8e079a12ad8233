/*
 * A ruleset: one table of nf_tables as a value.
 *
 * What lowering makes of a policy, what the kernel layer encodes, what it decodes from a dump, and what is printed as text for
 * nft are all this type, so that wanted and observed can be compared by meaning.  The vocabulary is just as large as
 * what lowering says; anything else that a dump shows is STEP_FOREIGN and equals nothing.
 *
 * Values are numbers in host order whatever the kernel's byte order is: an address is its number, an interface name its number as in
 * packet.h.  Objects but the base chains carry a hash of their content in their name, so an unchanged part keeps its name,
 * and its counters, in the kernel.
 */
#ifndef PORTPOLICY_RULESET_H
#define PORTPOLICY_RULESET_H

#include "portpolicy/policy.h"

enum key { /* what a rule looks at; nft's word for it */
	KEY_NFPROTO,       /* meta nfproto: 2 or 10 */
	KEY_L4PROTO,       /* meta l4proto */
	KEY_IIFNAME,       /* iifname */
	KEY_OIFNAME,       /* oifname */
	KEY_SKUID,         /* meta skuid */
	KEY_SKGID,         /* meta skgid */
	KEY_CT_STATE,      /* ct state: bits 1 invalid 2 established 4 related 8 new 64 untracked */
	KEY_IP_SADDR,      /* ip saddr; a rule that uses these tests KEY_NFPROTO before */
	KEY_IP_DADDR,
	KEY_IP6_SADDR,
	KEY_IP6_DADDR,
	KEY_TH_SPORT,      /* th sport; KEY_L4PROTO before */
	KEY_TH_DPORT,
	KEY_ICMP_TYPE,     /* icmp type; KEY_NFPROTO and KEY_L4PROTO before */
	KEY_ICMPV6_TYPE,
	KEY_TCP_FLAGS,     /* tcp flags */
};
#define KEYS_MAX 5 /* fields of a concatenation */

enum step_kind {
	STEP_COMPARE,  /* (key & mask) == value; mask 0: all bits; `negated`: != */
	STEP_RANGE,    /* first <= key <= last; `negated` */
	STEP_PREFIX,   /* KEY_IIFNAME, KEY_OIFNAME: the first `length` bytes of value; `negated` */
	STEP_LOOKUP,   /* keys . in @set; `negated` */
	STEP_MAP,      /* keys vmap @set */
	STEP_COUNT,    /* counter name keys map @set: counts where the set says, else the rule ends */
	STEP_METER,    /* update @set { key & mask limit rate ... }: goes on within the rate, else the rule ends */
	STEP_COUNTER,  /* counter name "object" */
	STEP_LIMIT,    /* limit rate ...: goes on within the rate */
	STEP_LOG,      /* log group N prefix "text" */
	STEP_REJECT,   /* reject with tcp reset, or icmpx admin-prohibited */
	STEP_VERDICT,  /* accept, drop, return, jump chain, goto chain */
	STEP_FOREIGN,  /* in a dump only: something that we never write */
};

enum nft_verdict { NFT_VERDICT_ACCEPT, NFT_VERDICT_DROP, NFT_VERDICT_RETURN, NFT_VERDICT_JUMP, NFT_VERDICT_GOTO };

struct step {
	enum step_kind kind;
	enum key keys[KEYS_MAX];
	unsigned key_count;
	bool negated;
	u128 mask, first, last; /* COMPARE, RANGE, PREFIX: value in `first`; METER: mask of the source */
	u128 masks[KEYS_MAX];   /* LOOKUP, MAP, COUNT: of each key; 0: all bits */
	unsigned length;        /* PREFIX: bytes */
	const char *object;     /* LOOKUP, MAP, COUNT, METER: set; COUNTER: counter; VERDICT: chain */
	uint64_t rate, seconds, burst; /* LIMIT, METER: packets a unit of so many seconds */
	uint16_t group;         /* LOG */
	const char *prefix;     /* LOG */
	bool tcp_reset;         /* REJECT */
	enum nft_verdict verdict;
};

struct nft_rule {
	const struct step *steps;
	size_t count;
	const char *comment;        /* at most 128 bytes, or NULL */
	const struct span *origin;  /* the policy line it comes from, or NULL; not compared */
	uint64_t handle;            /* of a dump; not compared */
};

enum chain_hook { HOOK_NONE, HOOK_INPUT, HOOK_OUTPUT, HOOK_FORWARD };

struct chain {
	const char *name;
	enum chain_hook hook; /* HOOK_NONE: a regular chain */
	bool policy_drop;     /* base chains; priority is always 0 (filter) */
	const struct nft_rule *rules;
	size_t count;
	bool foreign;         /* of a dump: type, priority or flags that we never write */
};

/* One element: a closed interval (or one value) per key. */
struct element {
	u128 first[KEYS_MAX], last[KEYS_MAX];
	enum nft_verdict verdict; /* SET_MAP */
	const char *object;       /* SET_MAP: chain of jump and goto; SET_COUNTERS: counter */
};

/*
 * A list of addresses as networks of a few lengths, for which hashes are made, one for each length.  The members of those are made of
 * the list as they are asked for, so that a list of a million stands in memory once.
 */
#define ADDRESS_BITS_MAX 128
struct network_list {
	struct intervals of;
	const uint32_t *pairs;            /* or, with of.at NULL, IPv4 in little room: the first and last of of.count intervals */
	bool outside;                     /* the networks are those of all that is not in the list */
	unsigned bits;                    /* 32 or 128 */
	uint8_t as[ADDRESS_BITS_MAX + 1]; /* the length that networks of each length are written with, not shorter; 0: there are none */
};
struct networks {
	const struct network_list *list; /* NULL: none */
	unsigned length;                 /* that the members are written with */
	size_t count;                    /* of members: first addresses of networks */
};

enum set_kind {
	SET_VALUES, /* constant members */
	SET_MAP,    /* constant members with verdicts */
	SET_COUNTERS, /* constant members with names of counters */
	SET_METER,  /* filled by packets: sources and their rates; members are not compared */
	SET_TIMED,  /* members that run out by themselves; not compared after the first load */
};

struct set {
	const char *name;
	enum set_kind kind;
	enum key keys[KEYS_MAX];
	unsigned key_count;
	bool interval;              /* members may be ranges */
	/* Exactly one of the three holds the members: `values` or `networks` with one key and SET_VALUES, `elements` otherwise. All sorted. */
	struct intervals values;
	struct networks networks;
	const struct element *elements;
	size_t element_count;
	uint32_t size;              /* SET_METER: sources at most; of others in a dump: members at most, 0: no bound */
	uint64_t timeout_ms;        /* SET_METER, SET_TIMED: of a member */
	const struct span *origin;
	bool foreign;
};

/* networks.c: the members of a set that are no elements, one after the other and none twice; neighbours may come as one interval. */
struct members_walk {
	const struct set *set;
	size_t at;           /* the next interval of the set or of its list */
	struct interval one; /* what is left of the present interval of the list, */
	bool open;           /* if anything */
	u128 member;         /* the next one of a network that is several, */
	uint64_t left;       /* of so many */
};
struct members_walk members_walk(const struct set *set);
bool members_next(struct members_walk *walk, struct interval *out);
/* How many there are, elements or not. */
u128 members_count(const struct set *set);
/* All of them as one set of intervals, which shares `values`.  0 or -ENOMEM. */
int members_written(void *ctx, const struct set *set, struct intervals *out);
/* Those of `a` that `b` has not.  0 or -ENOMEM. */
int members_subtract(void *ctx, const struct set *a, const struct set *b, struct intervals *out);
/* The intervals whose networks those of a list are. */
size_t network_list_count(const struct network_list *list);
struct interval network_list_at(const struct network_list *list, size_t index);

struct counter {
	const char *name;
	const struct span *origin;
	uint64_t packets, bytes;    /* of a dump; not compared */
};

struct ruleset {
	const char *table; /* family inet */
	bool exists;       /* of a dump: is there such a table? */
	bool dormant;      /* of a dump: its chains are not asked */
	bool persist;      /* of a dump: it outlives its owner, and can have one */
	uint32_t owner;    /* of a dump: port id of the one socket that may change it; 0: none */
	bool ours;         /* of a dump, set by who knows: what others have made of it is no reason to leave it alone */
	const struct chain *chains; /* base chains first, then by name */
	size_t chain_count;
	const struct set *sets;
	size_t set_count;
	const struct counter *counters;
	size_t counter_count;
};

/* How rules and sets are laid out: by what is cheapest, or, to test them, as one kind wherever it can be. */
enum encoding {
	ENCODING_AUTO,
	ENCODING_LINEAR, /* one nft rule for each way to match */
	ENCODING_HASHES, /* hashes by prefix length */
	ENCODING_BOXES,  /* sets of concatenated ranges */
	ENCODING_PORTS,  /* a map of ports to chains, and these as hashes */
	ENCODING_CHAINS, /* hashes of networks to chains */
	ENCODING_CUTS,   /* maps of one field after another to chains */
};
#define ENCODINGS 7
extern const char *const encoding_names[ENCODINGS];

/*
 * The ruleset of a policy.  0; 1 when something in the policy cannot be enforced yet (diagnostics say what and where);
 * -ENOMEM.
 */
int policy_lower(void *ctx, const struct policy *policy, const char *table, struct diagnostics *diagnostics, struct ruleset **out);
int policy_lower_as(void *ctx, const struct policy *policy, const char *table, enum encoding encoding, struct diagnostics *diagnostics,
	struct ruleset **out);

/*
 * The members of a set of several ranges in the order in which they must be added: the kernel refuses one of which a corner lies in
 * another that is there, and of two that hold a packet finds the one that was added first.  Freed with talloc_free; NULL: out of memory.
 */
const struct element **elements_narrow_first(void *ctx, const struct set *set);

/* The same as `nft -f` reads it: a script that makes the table from nothing. NULL: out of memory. */
char *ruleset_text(void *ctx, const struct ruleset *ruleset);

bool nft_rule_equal(const struct nft_rule *a, const struct nft_rule *b); /* by meaning: comment and origin aside */

/* The changes that make `observed` into `wanted`, in an order that the kernel takes in one batch. */
enum change_kind {
	CHANGE_TABLE_ADD, CHANGE_COUNTER_ADD, CHANGE_SET_ADD /* without its members */, CHANGE_ELEMENTS_ADD, CHANGE_ELEMENTS_DELETE, CHANGE_CHAIN_ADD, CHANGE_CHAIN_POLICY,
	CHANGE_RULE_ADD,      /* at the end of the chain */
	CHANGE_RULES_FLUSH,   /* all rules of the chain */
	CHANGE_CHAIN_DELETE, CHANGE_SET_DELETE, CHANGE_COUNTER_DELETE, CHANGE_TABLE_DELETE,
	CHANGE_TABLE_WAKE,    /* a dormant table's chains are asked again */
};
struct change {
	enum change_kind kind;
	const struct chain *chain;
	const struct nft_rule *rule;
	const struct set *set;         /* ELEMENTS_*: the members are those of this set value */
	const struct counter *counter;
};
struct changes {
	const char *table;
	bool persist, owned; /* the table's flags, which stay */
	const struct change *at;
	size_t count;
};
/*
 * Base chains are never remade: one whose hook differs is an error of the host (1: `problem` says so; somebody else's table of
 * our name).  Unless the table is known to be ours: then it is made anew.  0, 1 or -ENOMEM.
 */
int ruleset_difference(void *ctx, const struct ruleset *observed, const struct ruleset *wanted, struct changes **out, const char **problem);

#endif
