/*
 * Sets of packets for readers: from many boxes to few sets, each of which the language says in one line.
 */
#ifndef PORTPOLICY_SETS_H
#define PORTPOLICY_SETS_H

#include "dsl/decision/region.h"

/* A box, and where it lies. */
struct piece {
	enum direction direction;
	enum zone zone;
	struct box box;
};
struct pieces {
	struct piece *at;
	size_t count;
};

/*
 * What one line of the language describes: a product of its clauses.  Addresses are a pair, one for each family; a family that is
 * absent has neither `from` nor `to`.  Sets are cut to the packets that exist.
 */
struct packet_set {
	enum direction direction;
	enum zone zone;
	bool has[FAMILIES];
	struct traffic traffic;
	struct intervals source_ports; /* full where traffic is more than ports */
	struct intervals from[FAMILIES], to[FAMILIES];
	struct intervals arriving, leaving; /* {0} where a packet of the direction has none */
	struct intervals users, groups, units;
	const struct bit *bits;
	size_t bit_count;
};
struct packet_sets {
	struct packet_set *at;
	size_t count;
};

/* The packets that exist (packet.h, Domain) in a zone of a direction. What no process sends stands with what processes do that no
 * rule names. */
int whole_pieces(void *ctx, enum direction direction, enum zone zone, struct pieces *out);
/* Those of them that a rule matches. */
int match_pieces(void *ctx, const struct match *match, struct pieces *out);
int piece_add(void *ctx, struct pieces *list, const struct piece *piece);

#define PIECES_MAX 20000
/* `from` without `take`: disjoint where `from` is.  0; 1 when that makes too many pieces; -ENOMEM. */
int pieces_subtract(void *ctx, const struct pieces *from, const struct pieces *take, struct pieces *out);
/* 1: every packet of `inner` is in `outer`; 0: not so, or too hard to see; -ENOMEM. */
int pieces_cover(void *ctx, const struct pieces *outer, const struct pieces *inner);
bool pieces_meet(const struct pieces *a, const struct pieces *b);

/* Disjoint pieces, all of one direction, as few sets.  0 or -ENOMEM. */
int sets_from_pieces(void *ctx, const struct pieces *pieces, struct packet_sets *out);
/* Fewer sets that may overlap, where that makes them fewer. */
int sets_widen(void *ctx, struct packet_sets *sets);
/* Of two sets of one frame (direction, zone, families, host names): takes a factor of `more` into `into`. 1: the frames differ;
 * -ENOMEM. */
#define SET_FACTORS 9
#define SET_FAMILY SET_FACTORS /* a factor too: the family that `into` has not, with its addresses and its ICMP */
int set_join_factor(void *ctx, struct packet_set *into, const struct packet_set *more, int factor);
bool set_same(const struct packet_set *a, const struct packet_set *b);
int set_pieces(void *ctx, const struct packet_set *set, struct pieces *out);

/* Two policies' numbers for host names and units, as one. */
struct joint {
	const char **hosts, **units;
	size_t host_count, unit_count;
};
int joint_new(void *ctx, const struct policy *const *policies, size_t count, struct joint *out);
int joint_box(void *ctx, const struct joint *joint, const struct policy *policy, struct box *box);

/* The words of both policies. */
struct vocabulary;
int vocabulary_new(
	void *ctx, const struct policy *const *policies, size_t count, const struct joint *joint, struct vocabulary **out);
/* Does a clause hold a name that the two policies mean differently? */
bool vocabulary_ambiguous(const struct vocabulary *vocabulary, const struct match_node *node);
/* The set in the words of the language; more than `most` items of a list are counted and not shown (0: all are).  NULL: out of
 * memory. */
char *set_words(void *ctx, const struct vocabulary *vocabulary, const struct packet_set *set, size_t most);
/* Interfaces that no single clause describes are divided among several sets. */
int sets_divide(void *ctx, const struct vocabulary *vocabulary, struct packet_sets *sets);

#endif
