/*
 * Reading one line of iptables-save: what its options share.
 */
#ifndef PORTPOLICY_IPTABLES_H
#define PORTPOLICY_IPTABLES_H

#include "dsl/import/foreign.h"

struct words {
	char **at;
	size_t count, next;
};

/* What the extensions said that is only understood when all is heard. */
struct heard {
	bool recent_set, recent_check, recent_update, recent_negated;
	unsigned long recent_seconds, recent_hits;
	bool hashlimit, hashlimit_over, connlimit, connlimit_over, limit;
	const char *hashlimit_mode;
	unsigned long mask;
	bool has_mask, destination;
	uint64_t count, burst;
	const char *unit;
	bool rate_strange;
	const char *tcp_flags_odd;
};

struct reading {
	struct import *import;
	const struct source *source;
	enum family family;
	unsigned line;
	uint32_t begin;
	const char *text;
	struct words words;
	struct foreign_table *table;
	const char *other_table; /* why the rules of this table are not translated */
	const char *reason;
	struct foreign_rule *rule;
	int protocol; /* named without negation, or -1 */
	const char *module, *target;
	struct heard heard;
};

const char *take(struct words *words);
void skip_values(struct words *words);

/* matches.c */
void match_begins(struct reading *reading);
void match_option(struct reading *reading, const char *option, bool negated);
void target_option(struct reading *reading, const char *option, bool negated);
void target_unknown(struct reading *reading, const char *name);
void matches_end(struct reading *reading);

#endif
