/*
 * A random policy as the test itself understands it.
 *
 * Nothing here is shared with the product but the number type: the same policy goes as text to portpolicy, and as this model
 * to an evaluator that walks the rules one by one.  Values are trees, printed and tested for membership recursively, so that a
 * mistake in one place of the product is not repeated here.
 */
#ifndef TESTS_NETNS_MODEL_H
#define TESTS_NETNS_MODEL_H

#include "portpolicy/interval.h"
#include <stdint.h>
#include <stdio.h>

enum way { WAY_IN, WAY_OUT, WAY_FORWARD };
#define WAYS 3
enum strictness { ALLOW, REJECT, DENY }; /* later wins */

/* Addresses, ports, ICMP types and interfaces alike. */
enum value_kind { VALUE_ANY, VALUE_RANGE, VALUE_NETWORK, VALUE_INTERFACE, VALUE_SET, VALUE_EXCEPT, VALUE_NAME, VALUE_FILE };
struct named;
struct value {
	enum value_kind kind;
	int family;           /* addresses: 4 or 6; else 0 */
	u128 low, high;
	int prefix;           /* VALUE_NETWORK */
	const char *word;     /* an interface, or the name of a number */
	bool star;            /* VALUE_INTERFACE: every name that begins with it */
	struct value **items; /* SET, FILE: members; EXCEPT: of [0] all but [1] */
	size_t count;
	struct named *named;
	int file;             /* VALUE_FILE: its number */
};

struct named { /* addresses NAME = ..., and perhaps more with += */
	char name[8];
	bool ports;
	struct value *first, *more;
};

struct traffic_item {
	int protocol;            /* -1: a service of ours */
	struct value *behind;    /* ports or types, or NULL */
	struct service *service;
};
struct traffic_model {
	bool any;                /* every protocol except the items; else one of the items */
	struct traffic_item *items;
	size_t count;
};
struct service {
	char name[8];
	struct traffic_model traffic;
};

#define IDS_MAX 4
enum by_kind { BY_ALL, BY_SOME, BY_OTHERS };
struct by_model {
	enum by_kind kind;
	uint32_t users[IDS_MAX], groups[IDS_MAX];
	size_t user_count, group_count;
};

enum rate_kind { RATE_NONE, RATE_LIMIT, RATE_LIMIT_PER_SOURCE, RATE_ABOVE, RATE_ABOVE_PER_SOURCE };

struct rule_model {
	enum way way;
	enum strictness action;
	struct traffic_model traffic;
	struct value *arriving, *leaving, *from, *source_port, *to; /* NULL: not named */
	struct by_model by;
	enum rate_kind rate; /* huge: it never bites */
	bool log, reason;
	bool in_block;       /* written inside hosts "*" { } */
};

struct way_model {
	bool managed, audit, log;
	enum strictness action;
};

#define RULES_MAX 40
#define NAMED_MAX 6
#define SERVICES_MAX 3
struct model {
	uint64_t seed;
	struct way_model ways[WAYS];
	struct rule_model *rules; /* every model has its own */
	size_t rule_count;
	struct named *named; /* shared by all that is shrunk from one model */
	size_t named_count;
	struct service *services;
	size_t service_count;
	bool shrunk; /* print only the definitions that are used */
};

/* A packet that is sent. */
#define INTERFACES 5
extern const char *const interface_names[INTERFACES]; /* [0] is lo */
#define LOOPBACK 0
struct probe {
	enum way way;
	int family;             /* 4 or 6 */
	int arriving, leaving;  /* index of an interface, or -1 */
	int protocol;
	uint16_t service, source_port;
	u128 source, destination;
	uint32_t uid, gid;      /* out only */
	bool syn;               /* TCP: a SYN, or an ACK out of nowhere */
};

/* xorshift: a test run is its seed. */
struct random {
	uint64_t state;
};
uint64_t random_next(struct random *random);
static inline size_t random_below(struct random *random, size_t bound) { return random_next(random) % bound; }
static inline bool random_chance(struct random *random, unsigned percent) { return random_next(random) % 100 < percent; }

struct model *model_random(void *ctx, uint64_t seed);
/* Many rules, most of them of five fields or fewer, in one direction or all. */
struct model *model_random_large(void *ctx, uint64_t seed, size_t rules);
/* A packet of the policy's own values and their neighbours, mostly. */
struct probe probe_random(struct random *random, const struct model *model, bool users);

/* Writes the policy, and its list files into `directory`. */
void model_print(FILE *stream, const struct model *model);
int model_write_lists(const struct model *model, const char *directory);
void probe_print(FILE *stream, const struct probe *probe);

/* The naive evaluator. */
enum decider { DECIDED_BY_RULE, DECIDED_BY_DEFAULT, DECIDED_BY_NONE };
struct naive {
	enum strictness verdict;
	enum decider decider;
	size_t rule;  /* DECIDED_BY_RULE: its index, which is its place in reading order */
	bool audited; /* let through whatever the verdict */
};
struct naive naive_decide(const struct model *model, const struct probe *probe);
bool value_has(const struct value *value, int family, u128 number);
bool value_has_interface(const struct value *value, const char *name);
bool value_names_loopback(const struct value *value);
bool is_loopback(const struct probe *probe);

/* A copy with rules of its own, and room for RULES_MAX of them. */
struct model *model_copy(void *ctx, const struct model *model);
/* The policy without `count` of its rules. */
struct model *model_without(void *ctx, const struct model *model, size_t first, size_t count);
/* A smaller policy, one step from `model`: number `step` of the ways to leave something out. NULL: no such step. */
struct model *model_smaller(void *ctx, const struct model *model, size_t step);
/* Do the rules need this definition? */
bool model_uses_named(const struct model *model, const struct named *named);
bool model_uses_service(const struct model *model, const struct service *service);

#endif
