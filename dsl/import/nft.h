/*
 * Reading `nft list ruleset`: words, and what the rules of a table share.
 */
#ifndef PORTPOLICY_NFT_H
#define PORTPOLICY_NFT_H

#include "dsl/import/foreign.h"

/* A word, a quoted text, one of `{ } , ; :` or the end of a line. */
struct nft_word {
	const char *text;
	unsigned line;
	uint32_t begin;
	bool quoted;
};
struct nft_words {
	struct nft_word *at;
	size_t count, next;
};

/* One element as it is written: its parts, and behind the colon a verdict. */
#define NFT_PARTS 5
struct nft_element {
	const char *parts[NFT_PARTS];
	size_t part_count;
	enum foreign_verdict verdict;
	const char *target;
	bool strange; /* a verdict or value that is none of ours */
};
struct nft_elements {
	struct nft_element *at;
	size_t count;
};
struct nft_set {
	const char *name;
	struct nft_elements elements;
	bool filled; /* by packets, or for a time */
	struct nft_set *next;
};

struct nft_reading {
	struct import *import;
	const struct source *source;
	struct nft_words words;
	struct foreign_table *table;
	unsigned families;
	struct nft_set *sets;
	struct foreign_chain *chain;
	struct foreign_rule *rule;
};

const struct nft_word *nft_peek(const struct nft_reading *reading);
const char *nft_take(struct nft_reading *reading);
bool nft_is(const struct nft_reading *reading, const char *text);
bool nft_accept(struct nft_reading *reading, const char *text);
bool nft_ends(const struct nft_reading *reading); /* of the line */
/* From behind `{` to behind `}`.  False: it does not end. */
bool nft_read_elements(struct nft_reading *reading, struct nft_elements *out);
bool nft_verdict(struct nft_reading *reading, enum foreign_verdict *verdict, const char **target);

/* nft_rule.c: one line of a chain, to its end. */
void nft_read_rule(struct nft_reading *reading);

/* nft_match.c */
/* A match at this place: 0: there is none; 1: it is read; -1: it is one that cannot be said. */
int nft_read_match(struct nft_reading *reading);
void nft_part(struct nft_reading *reading, const struct foreign_rule *whole, enum foreign_verdict verdict, const char *target);

#endif
