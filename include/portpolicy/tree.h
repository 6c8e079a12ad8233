/*
 * The syntax tree: what was written, where, and nothing of what it means.
 *
 * Every node belongs to the talloc context of its tree and is never changed after parsing.
 * Lists are singly linked in reading order.
 */
#ifndef PORTPOLICY_TREE_H
#define PORTPOLICY_TREE_H

#include "portpolicy/source.h"

enum direction { DIRECTION_IN, DIRECTION_OUT, DIRECTION_FORWARD };
#define DIRECTIONS 3
enum action { ACTION_ALLOW, ACTION_DENY, ACTION_REJECT };
enum mode { MODE_ENFORCE, MODE_AUDIT };

/*
 * A set as it was written.  One node type serves addresses, ports, traffic,
 * interfaces and subjects; `kind` says which leaves may stand where, and the parser has checked that.
 */
enum item_kind {
	ITEM_ANY,
	ITEM_WORD,      /* text: a port name, an interface, a service, a host-less word */
	ITEM_NUMBER,    /* text: decimal digits as written */
	ITEM_ADDRESS,   /* text: address or prefix as written, not yet validated */
	ITEM_RANGE,     /* low, high: two ITEM_NUMBER, ITEM_WORD or ITEM_ADDRESS */
	ITEM_STRING,    /* text: the unquoted string; a host name or an interface pattern */
	ITEM_FILE,      /* text: path behind `file` */
	ITEM_NAME,      /* text: NAME of $NAME */
	ITEM_SET,       /* items: { ... } */
	ITEM_EXCEPT,    /* low except high */
	ITEM_PROTOCOL,  /* text: tcp, esp, ... or the number behind `protocol`; items: what stands behind the slash (one node), or NULL */
	ITEM_USER,      /* text: name or number; or items: the names in `user { a, 33 }` (words and numbers) */
	ITEM_GROUP,
	ITEM_UNIT,
};

struct item {
	enum item_kind kind;
	struct span span;
	const char *text;
	bool numeric; /* ITEM_PROTOCOL: written as `protocol N` */
	struct item *low, *high;
	struct item *items;
	struct item *next;
};

enum limit_kind { LIMIT_RATE, LIMIT_CONNECTIONS, LIMIT_ABOVE };

struct limit_node {
	enum limit_kind kind;
	struct span span;
	struct item *count; /* ITEM_NUMBER */
	struct item *unit;  /* ITEM_WORD second|minute|hour|day; NULL for connections */
	struct item *burst; /* ITEM_NUMBER or NULL */
	bool per_source;
	struct limit_node *next;
};

struct text_node {
	struct span span;
	const char *text; /* NULL: `log` without text */
};

/* What a rule, an expect or a question says of packets; a clause not written is NULL. */
struct match_node {
	struct span span;
	enum direction direction;
	struct item *traffic; /* never NULL */
	struct item *on, *arriving, *leaving;
	struct item *from, *source_port, *to;
	struct item *by;
};

struct rule_node {
	enum action action;
	struct match_node match;
	struct limit_node *limits;
	struct text_node *log, *reason;
};

enum statement_kind {
	STATEMENT_LANGUAGE,  /* value: ITEM_NUMBER */
	STATEMENT_INCLUDE,   /* name: ITEM_STRING (path) or ITEM_WORD (library) */
	STATEMENT_ADDRESSES, /* name, append, value */
	STATEMENT_PORTS,
	STATEMENT_SERVICE,
	STATEMENT_DEFAULT, /* direction, action, log */
	STATEMENT_RULE,
	STATEMENT_EXPECT, /* expect_allow, match in rule.match */
	STATEMENT_HOSTS,  /* value: list of ITEM_STRING; body */
	STATEMENT_MODE,   /* direction if has_direction; mode */
};

struct statement {
	enum statement_kind kind;
	struct span span; /* from its first word to its last, without the comment behind it */
	struct item *name, *value;
	bool append;
	bool has_direction, expect_allow;
	enum direction direction;
	enum action action;
	enum mode mode;
	struct text_node *log;
	struct rule_node rule;
	struct statement *body;
	struct statement *next;
};

struct tree {
	const struct source *source;
	struct statement *statements;
};

/*
 * Reads one source.  Syntax errors go to `diagnostics`, and the statements that
 * could be read are in the tree all the same.  Returns 0 or -ENOMEM.
 */
int parse_policy(void *ctx, const struct source *source, struct diagnostics *diagnostics, struct tree **out);
/* Reads one question, as `explain` takes it: `in tcp/22 from 192.0.2.1 ...`.  *out is NULL after an error. */
int parse_question(void *ctx, const struct source *source, struct diagnostics *diagnostics, struct match_node **out);

#endif
