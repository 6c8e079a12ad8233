/*
 * What other programs have hooked into netfilter.
 */
#ifndef PORTPOLICY_FOREIGN_H
#define PORTPOLICY_FOREIGN_H

#include "portpolicy/kernel.h"

enum foreign_kind { FOREIGN_FILTER, FOREIGN_NAT, FOREIGN_OTHER };

/* A base chain that is not of our table. */
struct foreign_chain {
	const char *family; /* nft's word: ip, ip6, inet, arp, bridge, netdev */
	const char *table, *name;
	enum foreign_kind kind;
	bool forward_only; /* hooked where only packets pass that go through the host */
	bool idle;	   /* it has no rules and lets everything pass */
};

struct foreign {
	struct foreign_chain *base;
	size_t base_count;
	const char **chains; /* the names of all other chains: who made a table shows in these */
	size_t chain_count;
};

/* 0 or a negative errno. */
int kernel_foreign(void *ctx, struct kernel *kernel, const char *own_table, struct foreign **out);

#endif
