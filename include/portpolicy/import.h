/*
 * Foreign rulesets (iptables, ip6tables, ipset, ufw, nft) made into a policy.
 *
 * Theirs are lists in which the first match decides; a policy has no order, and the strictest match wins. What can be said in the
 * language is said exactly, and every line that cannot be is listed with the reason.
 */
#ifndef PORTPOLICY_IMPORT_H
#define PORTPOLICY_IMPORT_H

#include "portpolicy/source.h"

enum foreign_kind { FOREIGN_GUESS, FOREIGN_IPTABLES, FOREIGN_IP6TABLES, FOREIGN_NFT, FOREIGN_UFW, FOREIGN_IPSET };

struct foreign_input {
	const struct source *source;
	enum foreign_kind kind;
};

/* What became of a line. */
enum fate {
	FATE_TRANSLATED,
	FATE_BUILT_IN,	/* portpolicy does the same for every policy */
	FATE_NO_EFFECT, /* it decides no packet that starts a connection */
	FATE_DIFFERS,	/* said, but not the same to the letter: the remark says how */
	FATE_UNTRANSLATED,
};
#define FATES 5

struct remark {
	enum fate fate;
	const struct source *source;
	unsigned line;
	const char *text; /* the line, trimmed */
	const char *reason;
};

struct imported {
	const char *policy;	      /* text in the language */
	const struct remark *remarks; /* all but FATE_TRANSLATED, in the order of the sources */
	size_t remark_count;
	size_t rules, fates[FATES];
	size_t proved, sampled;	  /* parts of the source whose verdict was proved, packets that were tried besides */
	const char *const *notes; /* about the whole: what was not given */
	size_t note_count;
	const char *unproved; /* why the proof is not whole, or NULL */
};

struct import_options {
	bool skip_unknown; /* a line that could not be translated counts as matching nothing, where it might have denied too */
};

/*
 * Returns 0; 1 when an input cannot be read as what it should be (diagnostics say where); 2 when the text is not proved to mean
 * the same: *problem says which packet differs; or -ENOMEM.
 */
int import_policy(void *ctx, const struct foreign_input *inputs, size_t count, struct import_options options,
	struct diagnostics *diagnostics, struct imported **out, const char **problem);

/* Which kind of text is it?  FOREIGN_GUESS when it is not clear. */
enum foreign_kind foreign_guess(const struct source *source);

#endif
