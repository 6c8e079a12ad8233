/*
 * What a policy says of the connections that stand: which of them it would not let begin.
 */
#ifndef PORTPOLICY_REVIEW_H
#define PORTPOLICY_REVIEW_H

#include "portpolicy/decision.h"
#include "portpolicy/flow.h"

struct unwanted {
	const struct flow *flow;
	struct answer answer;
	const char *text; /* in the words of the language: in tcp/22 from 192.0.2.1 source port 50000 to 198.51.100.7 */
};

struct review {
	struct unwanted *at;
	size_t count;
	size_t flows;	  /* looked at */
	size_t left_out;  /* not looked at: too many, or too little time */
	size_t undecided; /* the policy turns on what is not known of a connection: kept */
	struct flows *list;
	struct socket_list *sockets;
	size_t ended, failed;
	bool sockets_kept; /* this kernel cannot close the sockets of others */
};

/* Looks at what stands, for at most `seconds`. 0 or a negative errno. */
int review_flows(void *ctx, struct kernel *kernel, const struct policy *policy, double seconds, struct review **out);
/* Ends them all. */
void review_end(struct kernel *kernel, struct review *review);

/* In the words of the language. NULL: out of memory. */
char *flow_text(void *ctx, const struct flow *flow);

/*
 * The verdicts of the policy for one connection, given what is known of it (`user` NULL: nobody knows whose it is). One
 * answer a verdict, as decide() gives.  Returns as decide().
 */
int decide_flow(void *ctx, const struct decision *decision, const struct flow *flow, const char *arriving, const char *leaving,
	const uint32_t *user, struct answer answers[4], size_t *count);

#endif
