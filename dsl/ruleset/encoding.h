/*
 * From many lines of one verdict to few look-ups.
 *
 * A line that says no more than protocol, ports and addresses is a union of atoms: boxes whose addresses are networks.  The atoms of
 * a section are laid out as a plan, the cheapest of several by the measured costs of cost.h, and the plan is written as rules and
 * sets.  A packet counts at the first line in reading order that matches it: where a look-up would find a later line first, what it
 * finds is a chain that asks for the earlier ones.
 */
#ifndef PORTPOLICY_ENCODING_H
#define PORTPOLICY_ENCODING_H

#include "dsl/ruleset/lowering.h"

enum dimension { DIMENSION_PROTOCOL, DIMENSION_SERVICE, DIMENSION_SOURCE_PORT, DIMENSION_SOURCE, DIMENSION_DESTINATION };
#define DIMENSIONS 5

/* A line of the policy on its way. */
struct line {
	const struct rule *rule;
	size_t order;         /* in reading order; lines whose packets nobody counts are all of the same order */
	bool plain;           /* ends in its counter, if it has one, and what is common to all plain lines */
	const char *counter;  /* of a plain line; NULL: not counted */
	const char *chain;    /* that holds the ending: of lines that are not plain; of plain ones once it is needed */
};

struct atom {
	struct line *line;
	enum family family;
	bool types; /* DIMENSION_SERVICE is a type of ICMP, else a port */
	u128 first[DIMENSIONS], last[DIMENSIONS];
};

struct atoms {
	struct atom *at;
	size_t count;
};

/* An atom at one place of a plan, and the atoms of earlier lines that a packet must be asked for there. */
struct use {
	const struct atom *atom;
	const struct atom **before;
	size_t before_count;
};
struct uses {
	struct use *at;
	size_t count;
};

/* atoms.c */
unsigned dimension_bits(enum dimension dimension, enum family family);
bool atom_open(const struct atom *atom, enum dimension dimension); /* holds every value */
bool atom_single(const struct atom *atom, enum dimension dimension);
bool atoms_overlap(const struct atom *a, const struct atom *b);
/* Can the rule be written as atoms, by its clauses? */
bool rule_plain(const struct rule *rule);
/* How many atoms a rule would be; a large number where it is too many to count. */
size_t atoms_needed(const struct rule *rule);
/* Appends the atoms of a rule (whatever other clauses it has).  0 or -ENOMEM. */
int atoms_of(void *ctx, struct line *line, struct atoms *out);
/* Drops the atoms that another of an earlier line, or of the same order, covers: they count nothing. */
int atoms_reduce(void *ctx, struct atoms *atoms);

/*
 * overlap.c: the pairs of uses that some packet matches both.  Calls `pair` for each; of each pair `a` is the one whose
 * atom begins first.  0, -ENOMEM, or what `pair` returns.
 */
typedef int (*pair_handler)(void *data, size_t a, size_t b);
int overlapping_pairs(void *ctx, const struct uses *uses, pair_handler pair, void *data);
/* The same where each use is in a part, and parts are asked one after another: notes in each use what must be asked before it. */
/* 0, -ENOMEM, or 1 when they are too many to be worth it. */
int note_conflicts(void *ctx, struct uses *const *parts, size_t count);

/* plan.c */
enum plan_kind {
	PLAN_LINEAR, /* a rule for each use */
	PLAN_HASHES, /* hashes by prefix lengths */
	PLAN_BOXES,  /* sets of ranges */
	PLAN_PORTS,  /* a map of protocols and ports to chains */
	PLAN_CHAINS, /* hashes of networks to chains */
	PLAN_CUTS,   /* maps of one field after another to chains */
	PLAN_GROUPS, /* parts one after another */
};
/* How the fields of a key are cut off in one hash. */
struct lengths {
	unsigned of[DIMENSIONS];
};
struct plan {
	enum plan_kind kind;
	double cost;               /* ns of a packet that comes by */
	struct uses uses;          /* LINEAR; of a part of HASHES and BOXES: its members */
	struct plan **parts;       /* HASHES, BOXES, GROUPS: in order; PORTS, CHAINS, CUTS: what stands in each chain */
	struct plan *rest;         /* CUTS: what is asked of packets that no segment holds, or NULL */
	size_t part_count;
	struct lengths lengths;    /* a part of HASHES */
	enum dimension dimension;  /* CHAINS, CUTS */
	bool ports_alone;          /* CUTS of DIMENSION_SERVICE: the protocol is known already */
	struct segment *segments;  /* PORTS, CUTS: what leads to each part; CHAINS: networks */
	size_t segment_count;
};
/* Values of a key that lead to a part.  PORTS, and CUTS of DIMENSION_SERVICE: protocol and ports; CHAINS: a network of `length`. */
struct segment {
	u128 protocol, first, last;
	unsigned length;
	size_t part;
};
/* Both 0 or -ENOMEM; the plan and all below it are of `ctx`.  plan_make: one part for each family. */
int plan_make(void *ctx, enum encoding encoding, const struct uses *uses, struct plan **out);
int plan_make_family(void *ctx, enum encoding encoding, const struct uses *uses, struct plan **out);

/*
 * write.c: the rules and sets of a plan, behind whatever `rules` holds.  `role` begins the names of sets that keep their names when
 * they change; `common` is what the endings of plain lines go on with.
 */
int plan_write(struct lowering *lowering, const struct plan *plan, const char *role, const struct phrase *common,
	struct rules *rules);

/* section.c: the lines of one verdict in one zone of a direction. */
int group_lower(struct lowering *lowering, const struct group *group, struct rules *rules);

#endif
