/*
 * The meaning of a policy, and questions about it.
 *
 * A direction is a function from packets to verdicts: an ordered, hash-consed interval decision diagram (a firewall decision
 * diagram: M. Gouda, A. Liu, "Structured firewall design", Computer Networks 51(4), 2007), built top-down for the
 * region that a question speaks of and within a budget.
 */
#ifndef PORTPOLICY_DECISION_H
#define PORTPOLICY_DECISION_H

#include "portpolicy/policy.h"

enum verdict { VERDICT_ALLOW, VERDICT_DENY, VERDICT_REJECT, VERDICT_UNMANAGED };

/* A concrete packet: one value a field, in the domain of packet.h. */
struct packet {
	enum direction direction;
	enum family family;
	u128 field[FIELDS];
	/* For host names in the policy that the answer turns on: is the source, the destination one of its addresses? Bit i: policy.hosts[i]. NULL: none asked. */
	const bool *source_in, *destination_in;
};

enum because_kind { BECAUSE_RULE, BECAUSE_DEFAULT, BECAUSE_BUILTIN, BECAUSE_UNMANAGED };
struct because {
	enum because_kind kind;
	const struct rule *rule;                 /* BECAUSE_RULE */
	const struct direction_policy *fallback; /* BECAUSE_DEFAULT */
};

struct answer {
	enum verdict verdict;
	struct because because;
	struct packet packet; /* one that gets this verdict */
};

/* What a question may cost before it is given up. */
struct budget {
	size_t nodes; /* states of the diagram that may be visited */
	size_t bytes; /* memory that it may take */
	double seconds;
};
#define BUDGET_DEFAULT ((struct budget){.nodes = 20000000, .bytes = (size_t)384 << 20, .seconds = 10})

/* The rules of each direction made ready for questions. Shares `policy`, which must outlive it. 0 or -ENOMEM. */
struct decision;
int decision_new(void *ctx, const struct policy *policy, struct decision **out);

/*
 * What becomes of the packets that `match` describes: one answer a verdict that occurs among them, so
 * one answer means the same verdict for all (its `because` is then the first line in reading order that decides any of them).
 * Host names stand for unknown sets: answers that differ only in them are all given.
 * Returns 0; 1 when `match` describes no packet; 2 when the budget did not suffice; -ENOMEM.
 */
int decide(void *ctx, const struct decision *decision, const struct match *match, struct budget budget, struct answer *answers /* [4] */, size_t *count);

/*
 * Proves an expectation.  Returns 0 when it holds (*unknown false); 1 with the counterexample in *counter (*unknown: it is only one for some
 * sets of addresses that a host name may stand for); 2 when it describes no packet; 3 when the budget did not suffice; -ENOMEM.
 */
int expectation_prove(void *ctx, const struct decision *decision, const struct expectation *expectation, struct budget budget,
		      struct answer *counter, bool *unknown);

/*
 * Is every packet that `match` describes in one of the rules that are true in `by` (of each rule of the policy), whatever they say of it?
 * A rule `above` a limit is never taken. `*work` is what it may cost and is reduced by what it did cost: one for each rule that a packet is
 * compared with. Returns 1 when so, and in `used` (of each rule) the few that suffice; 0 when not, or when it describes no
 * packet; 2 when the work did not suffice; -ENOMEM.
 */
int decision_covered(void *ctx, const struct decision *decision, const struct match *match, const bool *by, size_t *work, bool *used);

/* The packet in the words of the language, e.g. `out tcp/443 from 192.0.2.1 source port 50000 to 198.51.100.7 by user 33`.  NULL: out of memory. */
char *packet_text(void *ctx, const struct policy *policy, const struct packet *packet);

#endif
