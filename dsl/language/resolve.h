/*
 * The resolver's shared state: from trees to a policy.
 *
 * load.c gathers the statements that are in force on the host; names.c resolves definitions on demand; the files of the nouns resolve one kind of
 * set each; resolve.c makes the rules. All functions return 0 or a negative errno; mistakes in the policy
 * are reported and replaced by a value that causes no further messages.
 */
#ifndef PORTPOLICY_RESOLVE_H
#define PORTPOLICY_RESOLVE_H

#include "portpolicy/policy.h"

struct entry {
	const struct statement *statement;
	bool library;
};

/* Something not known that a set was made of; `negated`: it stands right of an `except`. */
struct gap {
	struct span span;
	const char *what;
	bool negated;
};
struct gaps {
	struct gap *at;
	size_t count;
};

enum name_kind { NAME_ADDRESSES, NAME_PORTS, NAME_SERVICE };
enum progress { PROGRESS_NONE, PROGRESS_NOW, PROGRESS_DONE };

struct definition {
	const char *name;
	bool library;
	enum name_kind kind;
	const struct entry **parts; /* the first `=`, further ones, and every `+=`, in reading order */
	size_t part_count;
	enum progress progress;
	bool used;
	struct definition *outer; /* while in progress: the one that this is resolved for */
	struct addresses addresses;
	struct intervals ports;
	struct traffic traffic;
	struct gaps gaps;
};

struct resolver {
	void *ctx;     /* the policy's memory */
	void *scratch; /* gone when the policy is made */
	const struct environment *environment;
	struct diagnostics *diagnostics;
	struct policy *policy;

	struct entry *entries;
	size_t entry_count;
	const struct source **sources;
	size_t source_count;
	struct definition *definitions; /* sorted by name space, name and layer */
	size_t definition_count;
	const struct statement *direction_default[DIRECTIONS], *direction_mode[DIRECTIONS];
	const char **hosts, **units;
	size_t host_count, unit_count;
	struct account *accounts;
	size_t account_count;
	struct unknown *unknowns;
	size_t unknown_count;
	bool asking; /* a question: nothing may be added to the policy */
	bool quiet;  /* a question, an expect or the library: no warnings of what may not be meant */
	bool every_host; /* blocks are gathered, and what stands in them is read whatever the host */
	const struct statement **blocks;
	size_t block_count;
	unsigned depth; /* of names made of names */
	struct definition *innermost;
	size_t errors_before; /* when the work began */
	bool unread;          /* something could not be read: a file, or a statement */
};

/* Where a set stands: whose names it means, and whether it lies right of an `except`. */
struct scope {
	bool library;
	bool negated;
	struct gaps *gaps;
};

/* gather.c: a set under construction, in scratch memory */
struct gathered {
	struct interval *at;
	size_t count;
};
int gather(void *scratch, struct gathered *list, struct intervals more);
int gather_one(void *scratch, struct gathered *list, u128 number);
int gathered_set(void *ctx, struct gathered *list, struct intervals *out); /* takes the list's memory over */

/* load.c */
int load_entries(struct resolver *resolver, const char *path);

/* names.c */
int names_collect(struct resolver *resolver);
/* *out is NULL after a report: no such name, or a name that is made of itself. */
int name_resolve(struct resolver *resolver, struct scope *scope, enum name_kind kind, const struct item *item, struct definition **out);
int names_finish(struct resolver *resolver); /* resolves what no rule used, and says so */
void name_mark(struct resolver *resolver, bool service, const char *name);
bool word_reserved(const char *word);

int addresses_resolve(struct resolver *resolver, struct scope *scope, const struct item *item, struct addresses *out);
int addresses_union(void *ctx, struct addresses a, struct addresses b, struct addresses *out);
int addresses_subtract(void *ctx, struct addresses a, struct addresses b, struct addresses *out);
bool addresses_equal(struct addresses a, struct addresses b);
bool addresses_have(struct addresses addresses, enum family family);
int addresses_any(void *ctx, struct addresses *out);
/* One address, network or range; a mistake is reported at `span`.  *family tells which; 1: reported. */
int address_parse(struct diagnostics *diagnostics, struct span span, const char *text, enum family *family, struct interval *out);
int range_parse(struct diagnostics *diagnostics, struct span span, const char *low, const char *high, enum family *family, struct interval *out);
extern const struct intervals family_all[FAMILIES];
char *address_number_text(void *ctx, enum family family, u128 address);

/* list.c: an address list file.  1: mistakes were reported. */
int list_parse(void *ctx, const struct source *source, struct diagnostics *diagnostics, struct intervals out[FAMILIES]);

/* `protocol`: 6, 17, 132, or 0 where a name must have one number whatever the protocol. */
int ports_resolve(struct resolver *resolver, struct scope *scope, const struct item *item, uint8_t protocol, struct intervals *out);

int traffic_resolve(struct resolver *resolver, struct scope *scope, const struct item *item, struct traffic *out);
int traffic_union(void *ctx, const struct traffic *a, const struct traffic *b, struct traffic *out);
int traffic_subtract(void *ctx, const struct traffic *a, const struct traffic *b, struct traffic *out);
bool traffic_equal(const struct traffic *a, const struct traffic *b);
bool traffic_empty(const struct traffic *traffic);
bool traffic_has(const struct traffic *traffic, enum family family);
bool traffic_only_ports(const struct traffic *traffic);
bool protocol_word(const char *word);

/* icmp.c: nft's type names */
int icmp_type_number(bool v6, const char *name); /* -1: none */
bool icmp_type_starts(bool v6, unsigned type);   /* may it be the first of what conntrack calls a connection, or untracked? */
const char *const *icmp_type_names(bool v6, size_t *count);

int interfaces_resolve(struct resolver *resolver, const struct item *item, struct interfaces *out);
int subjects_resolve(struct resolver *resolver, struct scope *scope, const struct item *item, struct subjects *out);
int limits_resolve(struct resolver *resolver, const struct rule_node *node, struct rule *rule);
int match_resolve(struct resolver *resolver, struct scope *scope, const struct match_node *node, struct match *out);

int number_parse(const struct item *item, uint64_t most, uint64_t *out); /* 1: too large */
int gap_add(struct resolver *resolver, struct scope *scope, struct span span, const char *what);
int gaps_pass(struct resolver *resolver, struct scope *scope, const struct gaps *gaps);
bool host_matches(const char *pattern, const char *host);
bool block_applies(const struct resolver *resolver, const struct statement *statement);
/* uses.c: marks what statements for other hosts use.  False: some of them were not read. */
bool uses_elsewhere(struct resolver *resolver);
/* So many mistakes that more would help nobody. */
bool enough_errors(const struct resolver *resolver);
/* A word that is nearly one of the candidates: adds the hint. */
void hint_nearest(struct resolver *resolver, struct diagnostic *diagnostic, const char *word, const char *const *candidates, size_t count);
/* Room for one more in a talloc array that grows by doubling. 0 or -ENOMEM. */
int array_room(void *ctx, void *array, size_t size, size_t count);

#endif
