/*
 * What an administrator should know about the rest of the host: other firewalls, address translation, forwarding.
 */
#ifndef PORTPOLICY_PEACE_H
#define PORTPOLICY_PEACE_H

#include "portpolicy/kernel.h"

struct concerns {
	const char **texts; /* a sentence each, without a full stop */
	size_t count;
};

/* `policy` NULL: nothing is said about forwarding. 0 or a negative errno. */
int find_concerns(void *ctx, struct kernel *kernel, const char *own_table, const struct policy *policy, struct concerns **out);

#endif
