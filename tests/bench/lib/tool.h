/*
 * The tools that are compared, each told the same filter set in its own words and loaded into a lane as its users load it.
 */
#ifndef TESTS_BENCH_TOOL_H
#define TESTS_BENCH_TOOL_H

#include "portpolicy/ruleset.h"
#include "tests/bench/lib/filter.h"
#include "tests/bench/lib/lane.h"

enum tool {
	TOOL_NOTHING,	 /* no rules */
	TOOL_STATE,	 /* conntrack's verdict on established and invalid; the rest passes: "ct-only" */
	TOOL_STATE_DROP, /* the same, and the rest is dropped: what a miss is compared to */
	TOOL_PORTPOLICY,
	TOOL_UNCOUNTED, /* what portpolicy compiles, without the hits of each line: what these cost */
	TOOL_NFT,	/* one rule for each filter */
	TOOL_NFT_O,	/* the same through nft --optimize */
	TOOL_UFW,	/* tests/bench/tools */
	TOOL_FIREWALLD,
	TOOL_FERM,
};
#define TOOLS 10
extern const char *const tool_names[TOOLS];

struct bench {
	char *portpolicy, *scripts; /* the program; tests/bench/tools */
	char directory[64];	    /* for files, removed with what is in it */
};

/*
 * The programs are found from the top of the source tree (and $BUILD); the bench enters a namespace of its own, *home.  0 or a
 * negative errno, which was told on standard error.
 */
int bench_open(struct bench *bench, int *home);
void bench_close(struct bench *bench);

/* What the tools are told: a filter set, or, to portpolicy alone, a policy file. */
struct subject {
	struct filters filters;
	const char *policy; /* NULL: the filters */
};

/* Loads it, to be judged in the lane's direction.  0; 1: the tool failed (why is in the directory's `log`); a negative errno. */
int tool_load(const struct bench *bench, const struct lane *lane, enum tool tool, enum encoding encoding,
	const struct subject *subject);

/* dialect.c: the set as text. */
void write_policy(FILE *stream, struct filters filters, enum way way); /* a list is "list.txt" beside it */
void write_list(FILE *stream, struct filters filters, enum way way);
void write_nft(FILE *stream, struct filters filters, enum way way);
void write_iptables(FILE *stream, struct filters filters, enum way way);  /* a line for each filter: its matches alone */
void write_firewalld(FILE *stream, struct filters filters, enum way way); /* a zone of rich rules, which have one port each */
void write_ferm(FILE *stream, struct filters filters, enum way way);

#endif
