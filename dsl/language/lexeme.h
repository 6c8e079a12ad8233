/*
 * A text as the scanner reads it: words, signs and the ends of statements, and the comments that the tree knows nothing of.
 */
#ifndef PORTPOLICY_LEXEME_H
#define PORTPOLICY_LEXEME_H

#include "portpolicy/source.h"

struct place {
	uint32_t begin, end;
};

#define LEXEME_COMMENT (-1)

struct lexeme {
	int token;	    /* LEXEME_COMMENT, or a token of the grammar (parse.h) */
	struct place place; /* a comment's: from its # to its last byte that is not blank */
};

struct lexemes {
	struct lexeme *at; /* in reading order */
	size_t count;
};

/* Reads all of a policy. Returns 0; 1 when it is no policy (the diagnostics say why; what was read is in *out all the same);
 * -ENOMEM. */
int parse_lexemes(void *ctx, const struct source *source, struct diagnostics *diagnostics, struct lexemes *out);

#endif
