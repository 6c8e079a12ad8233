/*
 * What scanner and grammar share: the state of one reading.
 */
#ifndef PORTPOLICY_READING_H
#define PORTPOLICY_READING_H

#include "dsl/language/lexeme.h"
#include "portpolicy/tree.h"
#include <setjmp.h>

/* Clauses as they are gathered: which were seen, and where. */
struct clauses {
	struct match_node match;
	struct limit_node *limits;
	struct text_node *log, *reason;
	struct place seen[16];
};

struct parse {
	void *ctx; /* owns every node */
	const struct source *source;
	struct diagnostics *diagnostics;
	jmp_buf fatal; /* the scanner is out of memory */
	bool question;
	struct lexemes *lexemes; /* where they are kept, or NULL */

	/* the scanner's */
	bool started;
	uint32_t offset;
	unsigned depth, blocks;	   /* braces of sets, and of hosts, that are open */
	struct place brace, block; /* the outermost open ones */
	bool hosts, comma, ended;  /* a hosts statement waits for its brace; the last token was a comma; it was an end */
	bool abandoned;		   /* a set was given up at the start of a statement or the end of the text: `brace` says which */
	bool unclosed;		   /* a block that is never closed was reported */
	bool strange;		   /* something that is no word and no sign was reported in this statement */
	bool misled;		   /* a guess was reported in this statement: a syntax error may be its consequence */
	bool exhausted;		   /* a token's text was lost for lack of memory */
	struct place last, before, earlier; /* the last three tokens */
	struct place except, first_except;  /* the last two uses of `except` in this statement */

	/* the grammar's */
	struct statement *statements;
	struct match_node *asked;
	unsigned errors;
	bool full; /* too many errors: the rest is not reported */
};

/* Something that cannot stand where it stands. */
struct surprise {
	struct parse *parse;
	struct place place;
	const char *word, *before,
		*earlier;   /* it and the two tokens in front of it, as written; "" where there is none in this statement */
	const char *behind; /* the text after it, blanks skipped */
	const char *const *expected; /* what could stand here, as the grammar calls it */
	size_t count;
};

/* A list under construction. */
struct items {
	struct item *first, **last;
};

struct span parse_span(const struct parse *parse, struct place place);
/* Reports an error unless the limit is reached. */
struct diagnostic *parse_error(struct parse *parse, struct place place, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Constructors. All return NULL for lack of memory, also when they are given NULL where a node must be. */
struct item *item_new(struct parse *parse, enum item_kind kind, struct place place, const char *text);
struct item *item_pair(struct parse *parse, enum item_kind kind, struct place place, struct item *low, struct item *high);
struct item *item_of(struct parse *parse, enum item_kind kind, struct place place, struct item *list);
struct items *items_add(struct parse *parse, struct items *list, struct item *item);
struct item *item_protocol(struct parse *parse, struct place place, const char *text, bool numeric, struct item *behind);
struct item *item_subject(struct parse *parse, enum item_kind kind, struct place place, struct item *names);
struct statement *statement_new(struct parse *parse, enum statement_kind kind, struct place place);
struct statement *statement_definition(
	struct parse *parse, enum statement_kind kind, struct place place, struct item *name, bool append, struct item *value);
struct statement *statement_rule(struct parse *parse, enum action action, struct place place, struct clauses *clauses);
struct statement *statement_expect(struct parse *parse, bool allow, struct place place, struct clauses *clauses);
/* What a question asks; reports the clauses that only a rule may have. */
struct match_node *question_match(struct parse *parse, struct place place, struct clauses *clauses);
struct text_node *text_new(struct parse *parse, struct place place, const char *text);
struct limit_node *limit_new(
	struct parse *parse, enum limit_kind kind, struct place place, struct item *count, struct item *unit);
struct clauses *clauses_new(struct parse *parse, enum direction direction, struct item *traffic);

/* Clauses; a second of its kind is reported and left out. */
enum clause {
	CLAUSE_ON,
	CLAUSE_ARRIVING,
	CLAUSE_LEAVING,
	CLAUSE_FROM,
	CLAUSE_SOURCE_PORT,
	CLAUSE_TO,
	CLAUSE_BY,
	CLAUSE_RATE,
	CLAUSE_CONNECTIONS,
	CLAUSE_ABOVE,
	CLAUSE_LOG,
	CLAUSE_REASON,
};
void clause_set(struct parse *parse, struct clauses *clauses, enum clause clause, struct place place, struct item *value);
void clause_limit(struct parse *parse, struct clauses *clauses, struct place place, struct limit_node *limit);
void clause_text(struct parse *parse, struct clauses *clauses, enum clause clause, struct place place, struct text_node *text);

/* The direction that a word which is none was meant to be; reports it. */
enum direction direction_guess(struct parse *parse, struct place place, const char *word);
/* A host pattern stands without quotes; reports it. */
struct item *host_bare(struct parse *parse, struct place place, const char *word);
/* A syntax error in the language's own words; `expected` are the words and signs that could stand there.  false: out of memory.
 */
bool report_unexpected(struct parse *parse, struct place place, const char *const *expected, size_t count);
/* One of the mistakes that are often made, with its remedy. */
bool report_mistake(const struct surprise *surprise);
/* The word of the language that another word was meant to be, of those expected; or NULL. */
const char *likely_word(const struct surprise *surprise);
bool expects(const struct surprise *surprise, const char *name);

/* The scanner's: bytes that make no word and no sign, at most one report a statement. */
void report_strange(struct parse *parse, struct place place);
void report_quotes(struct parse *parse, struct place place, bool single);
/* UTF-8 without control bytes, tabs apart. Returns the first byte that is not, or NULL. */
const char *unclean_byte(const char *text, size_t length);
void report_unclean(struct parse *parse, const char *at);

/* Keeps a word, a sign or a comment if this reading keeps them; out of memory: `exhausted`. */
void lexeme_keep(struct parse *parse, int token, struct place place);

#endif
