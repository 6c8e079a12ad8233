/* Entries of conntrack, made over netlink one by one. */
#include "tests/bench/lib/established.h"
#include <arpa/inet.h>
#include <errno.h>
#include <libnetfilter_conntrack/libnetfilter_conntrack.h>
#include <netinet/in.h>
#include <sys/socket.h>

#define SECONDS 3600

static int establish_one(struct nfct_handle *handle, const struct probe *probe)
{
	struct nf_conntrack *entry = nfct_new();
	if (!entry)
		return -ENOMEM;
	nfct_set_attr_u8(entry, ATTR_ORIG_L3PROTO, AF_INET);
	nfct_set_attr_u8(entry, ATTR_ORIG_L4PROTO, IPPROTO_UDP);
	nfct_set_attr_u32(entry, ATTR_ORIG_IPV4_SRC, htonl((uint32_t)probe->source));
	nfct_set_attr_u32(entry, ATTR_ORIG_IPV4_DST, htonl((uint32_t)probe->destination));
	nfct_set_attr_u16(entry, ATTR_ORIG_PORT_SRC, htons(probe->source_port));
	nfct_set_attr_u16(entry, ATTR_ORIG_PORT_DST, htons(probe->service));
	nfct_set_attr_u32(entry, ATTR_STATUS, IPS_CONFIRMED | IPS_SEEN_REPLY | IPS_ASSURED);
	nfct_set_attr_u32(entry, ATTR_TIMEOUT, SECONDS);
	nfct_setobjopt(entry, NFCT_SOPT_SETUP_REPLY);
	int status = nfct_query(handle, NFCT_Q_CREATE, entry) < 0 && errno != EEXIST ? -errno : 0;
	nfct_destroy(entry);
	return status;
}

int lane_establish(const struct lane *lane, const struct probe *probes, size_t count)
{
	int status = lane_enter(lane);
	struct nfct_handle *handle = status ? NULL : nfct_open(CONNTRACK, 0);
	if (!status && !handle)
		status = -errno;
	for (size_t i = 0; !status && i < count; i++)
		status = establish_one(handle, &probes[i]);
	if (handle)
		nfct_close(handle);
	int back = lane_leave(lane);
	return status ? status : back;
}
