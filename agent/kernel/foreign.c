/*
 * The base chains of others: who else may drop or translate what our rules decide about.
 */
#include "portpolicy/foreign.h"
#include "agent/kernel/kernel.h"
#include <errno.h>
#include <libmnl/libmnl.h>
#include <libnftnl/chain.h>
#include <libnftnl/common.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <string.h>
#include <talloc.h>

struct listing {
	struct foreign *foreign;
	const char *own_table;
};

static const char *family_word(uint32_t family)
{
	switch (family) {
	case NFPROTO_IPV4:
		return "ip";
	case NFPROTO_IPV6:
		return "ip6";
	case NFPROTO_INET:
		return "inet";
	case NFPROTO_ARP:
		return "arp";
	case NFPROTO_BRIDGE:
		return "bridge";
	case NFPROTO_NETDEV:
		return "netdev";
	}
	return "?";
}

static enum foreign_kind kind_of(const char *type)
{
	if (type && !strcmp(type, "filter"))
		return FOREIGN_FILTER;
	return type && !strcmp(type, "nat") ? FOREIGN_NAT : FOREIGN_OTHER;
}

/* Room for one more in an array that doubles. */
static int make_room(void *ctx, void *array, size_t size, size_t count)
{
	void *old;
	memcpy(&old, array, sizeof(old));
	if (count & (count - 1))
		return 0;
	void *more = talloc_realloc_size(ctx, old, size * (count ? count * 2 : 1));
	if (more)
		memcpy(array, &more, sizeof(more));
	return more ? 0 : -ENOMEM;
}

static int keep_base(struct foreign *foreign, const struct nftnl_chain *from)
{
	if (make_room(foreign, &foreign->base, sizeof(*foreign->base), foreign->base_count))
		return -ENOMEM;
	struct foreign_chain *chain = &foreign->base[foreign->base_count++];
	uint32_t family = nftnl_chain_get_u32(from, NFTNL_CHAIN_FAMILY), hook = nftnl_chain_get_u32(from, NFTNL_CHAIN_HOOKNUM);
	bool layer3 = family == NFPROTO_IPV4 || family == NFPROTO_IPV6 || family == NFPROTO_INET;
	*chain = (struct foreign_chain){.family = family_word(family),
		.table = talloc_strdup(foreign, nftnl_chain_get_str(from, NFTNL_CHAIN_TABLE)),
		.name = talloc_strdup(foreign, nftnl_chain_get_str(from, NFTNL_CHAIN_NAME)),
		.kind = kind_of(nftnl_chain_get_str(from, NFTNL_CHAIN_TYPE)),
		.forward_only = layer3 && hook == NF_INET_FORWARD,
		.idle = !nftnl_chain_get_u32(from, NFTNL_CHAIN_USE) && nftnl_chain_get_u32(from, NFTNL_CHAIN_POLICY) != NF_DROP};
	return chain->table && chain->name ? 0 : -ENOMEM;
}

static int keep_chain(struct foreign *foreign, const struct nftnl_chain *from)
{
	if (make_room(foreign, &foreign->chains, sizeof(*foreign->chains), foreign->chain_count))
		return -ENOMEM;
	const char *name = talloc_strdup(foreign, nftnl_chain_get_str(from, NFTNL_CHAIN_NAME));
	foreign->chains[foreign->chain_count++] = name;
	return name ? 0 : -ENOMEM;
}

static int take_chain(const struct nlmsghdr *message, void *data)
{
	const struct listing *listing = data;
	int status = 0;
	struct nftnl_chain *from = nftnl_chain_alloc();
	if (!from)
		return -ENOMEM;
	if (nftnl_chain_nlmsg_parse(message, from) >= 0 && nftnl_chain_is_set(from, NFTNL_CHAIN_NAME)) {
		bool own = nftnl_chain_get_u32(from, NFTNL_CHAIN_FAMILY) == NFPROTO_INET &&
			   !strcmp(nftnl_chain_get_str(from, NFTNL_CHAIN_TABLE), listing->own_table);
		if (!own)
			status = nftnl_chain_is_set(from, NFTNL_CHAIN_HOOKNUM) ? keep_base(listing->foreign, from)
									       : keep_chain(listing->foreign, from);
	}
	nftnl_chain_free(from);
	return status;
}

int kernel_foreign(void *ctx, struct kernel *kernel, const char *own_table, struct foreign **out)
{
	uint8_t buffer[256] __attribute__((aligned(8))) = {0};
	struct listing listing = {.foreign = talloc_zero(ctx, struct foreign), .own_table = own_table};
	if (!listing.foreign)
		return -ENOMEM;
	struct nlmsghdr *request =
		nftnl_nlmsg_build_hdr((char *)buffer, NFT_MSG_GETCHAIN, NFPROTO_UNSPEC, NLM_F_DUMP, kernel_sequence(kernel));
	int status = kernel_request(kernel, request, take_chain, &listing);
	if (status && status != -EINTR) { /* interrupted: what stood all the while is there */
		talloc_free(listing.foreign);
		return status;
	}
	*out = listing.foreign;
	return 0;
}
