/*
 * How sets are put into words: what the files of the clauses share.
 */
#ifndef PORTPOLICY_WORDS_H
#define PORTPOLICY_WORDS_H

#include "dsl/analysis/sets.h"
#include "dsl/language/resolve.h"

struct vocabulary {
	const struct joint *joint;
	struct policy_name *names;
	size_t name_count;
	const char **ambiguous; /* names that two policies mean differently */
	enum named_kind *ambiguous_kind;
	size_t ambiguous_count;
	const struct account **accounts;
	size_t account_count;
	const struct interface_pattern **patterns; /* without lo */
	size_t pattern_count;
};

/* What there is to say is gathered in a list of words first, for its length decides how it is said. */
struct list {
	void *ctx;
	const char **at;
	size_t count;
	bool failed;
};
void add_word(struct list *list, const char *word);
/* `a`, or `{ a, b }`; of more than `most` items (0: never) the rest is counted. */
char *listed(const struct list *list, size_t most);
/* WHOLE except { a, b }: behind `except` stands one operand. */
char *excepted(void *ctx, const char *whole, const struct list *list, size_t most);

/* Do two policies mean different things by it? */
bool is_ambiguous(const struct vocabulary *vocabulary, bool service, const char *name);

/* One of `from` and `to`. */
struct address_side {
	struct intervals set[FAMILIES], whole[FAMILIES];
	bool has[FAMILIES], matters[FAMILIES]; /* an absent family that could be there must be kept out */
};

/* Each writes the words of one clause, or NULL where nothing need be said.  0 or a negative errno. */
int say_addresses(void *ctx, const struct vocabulary *vocabulary, const struct address_side *side, size_t most, char **out);
int say_numbers(void *ctx, const struct vocabulary *vocabulary, struct intervals set, unsigned protocol /* 1 or 58: types */,
	size_t most, char **out);
int say_traffic(void *ctx, const struct vocabulary *vocabulary, const struct packet_set *set, size_t most, char **out);
int say_interfaces(void *ctx, const struct vocabulary *vocabulary, const struct packet_set *set, bool arriving, char **out);

#endif
