/*
 * Lowering's shared state: a ruleset under construction.
 */
#ifndef PORTPOLICY_LOWERING_H
#define PORTPOLICY_LOWERING_H

#include "portpolicy/ruleset.h"

#define STEPS_MAX 40
#define LOG_GROUP 1	   /* NFLOG: what ulogd and tcpdump -i nflog:1 listen to */
#define NO_USER 0xffffffff /* what no process runs as: asking for it breaks off where there is no process */
#define CT_INVALID 1
#define CT_ESTABLISHED 2
#define CT_RELATED 4
#define CT_NEW 8
#define CT_UNTRACKED 64

struct lowering {
	void *ctx;  /* what becomes part of the ruleset */
	void *work; /* what is gone when a rule is done */
	const struct policy *policy;
	struct diagnostics *diagnostics;
	struct chain *chains;
	size_t chain_count;
	struct set *sets;
	size_t set_count;
	struct counter *counters;
	size_t counter_count;
	enum encoding encoding;
	struct address_hashes *hashes; /* those made so far: a list that several rules name is laid out once */
	size_t hashes_count;
};

/* The steps of one nft rule, as they are put together. */
struct phrase {
	struct step steps[STEPS_MAX];
	size_t count;
};

/* The rules of one chain, as they are put together. */
struct rules {
	struct nft_rule *at;
	size_t count;
	const struct span *origin; /* of the rules that are added */
	const char *comment;
};

/* build.c: all return 0 or -ENOMEM */
int rules_append(struct lowering *lowering, struct rules *rules, const struct nft_rule *rule);
int rules_add(struct lowering *lowering, struct rules *rules, const struct phrase *phrase);
/* Names a chain by its content and hands it to the ruleset. */
int chain_add(struct lowering *lowering, const char *prefix, const struct rules *rules, const char **name);
int chain_base(struct lowering *lowering, const char *name, enum chain_hook hook, bool policy_drop, const struct rules *rules);
int set_values(struct lowering *lowering, const char *prefix, enum key key, struct intervals values, const struct span *origin,
	const char **name);
/* The same without ranges: every value is a member. */
int set_hashed(struct lowering *lowering, const char *prefix, enum key key, struct intervals values, const struct span *origin,
	const char **name);
int set_add(struct lowering *lowering, const struct set *set);
/* Sorts the members, names the set by what it holds, and hands it over. */
int set_elements(struct lowering *lowering, const char *prefix, struct set *set, struct element *elements, const char **name);
void elements_sort(struct element *elements, size_t count);
int counter_add(struct lowering *lowering, const struct span *origin, const char **name, const char *format, const char *id);

/* Steps; a phrase has room for all that one rule can say. */
void say(struct phrase *phrase, struct step step);
void say_value(struct phrase *phrase, enum key key, u128 value);
void say_bits(struct phrase *phrase, enum key key, u128 mask, u128 value);
void say_verdict(struct phrase *phrase, enum nft_verdict verdict, const char *chain);
void say_counter(struct phrase *phrase, const char *name);
/* key in values: nothing, a comparison, a range, or a look-up in a set of that name. */
int say_set(struct lowering *lowering, struct phrase *phrase, const char *prefix, enum key key, struct intervals values,
	struct intervals all, const struct span *origin);

/* address.c: the steps that tell whether an address is in a set.  Any one of the alternatives says that it is. */
struct address_test {
	struct step *alternatives;
	size_t count;
	bool all; /* not any one: all of them together */
};
/* `values` is neither empty nor everything.  *out is of `ctx`. */
int address_test(
	struct lowering *lowering, const struct rule *rule, enum key key, struct intervals values, struct address_test *out);

/* match.c: the ways to match, each a phrase. */
struct ways {
	struct phrase *at;
	size_t count;
	/* What must not be, and does not go into the phrase: tested in a chain of its own behind it. */
	struct intervals not_users, not_groups;
	const struct interfaces *not_arriving, *not_leaving; /* their prefixes */
};
/* What is known of the packets already where the ways are asked. */
enum sender { SENDER_ANY, SENDER_PROCESS, SENDER_KERNEL };
struct view {
	bool loopback; /* in the chain of the zone, where the interface is taken as right */
	enum sender sender;
};
/* The phrases are of `work`. */
int match_ways(struct lowering *lowering, const struct rule *rule, struct view view, struct ways *out);
/* Rules into `rules`: every way, ending in `ending`.  `enter` (jump or goto) says where a packet goes that the chain behind a way
 * excepts. */
int ways_rules(struct lowering *lowering, struct rules *rules, const struct ways *ways, const struct phrase *ending,
	enum nft_verdict enter);

/* action.c */
/* Cuts a text to so many bytes, between characters of UTF-8. */
void cut_text(char *text, size_t bytes);
/* Which rules are lowered together: those of one verdict in one zone of a direction. */
struct group {
	enum direction direction;
	enum action action;
	bool loopback;
};
bool rule_in_group(const struct rule *rule, const struct group *group);
/* The chain that logs what a rule without `log` decides, where another of its group says `log`; *name NULL: none does. */
int logs_chain(struct lowering *lowering, const struct group *group, const char **name);
/* Appends the nft rules of one policy rule. */
int rule_lower(
	struct lowering *lowering, const struct rule *rule, const struct group *group, const char *logs, struct rules *rules);
/* Counter, log and fate of a line, at most two steps that begin with the counter where the line does not log. */
int rule_ending(struct lowering *lowering, const struct rule *rule, const char *logs, struct phrase *out);
/* A line's text as the comment of a rule. NULL: out of memory. */
const char *line_comment(struct lowering *lowering, const char *text);
bool rule_logs(const struct lowering *lowering, const struct rule *rule);
int default_lower(struct lowering *lowering, enum direction direction, struct rules *rules);
/* The last step for a packet that is denied, rejected or allowed, as the mode has it. */
int say_action(struct lowering *lowering, struct phrase *phrase, enum direction direction, enum action action);

/* text.c */
char *nft_rule_text(void *ctx, const struct nft_rule *rule); /* NULL: out of memory */

extern const char *const direction_names[DIRECTIONS];

#endif
