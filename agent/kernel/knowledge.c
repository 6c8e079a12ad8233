/*
 * What is known of a table without reading it.
 *
 * Nothing in a network namespace changes without a new generation, but generations count from one in every namespace, and a
 * namespace may have the number of one that is gone. So a table is made with random bytes in its user data, which nft neither
 * shows nor restores: where they and the generation are those of our own last commit, what that commit left is there.
 */
#include "agent/kernel/kernel.h"
#include <libmnl/libmnl.h>
#include <libnftnl/udata.h>
#include <linux/netfilter/nf_tables.h>
#include <string.h>

static const uint8_t no_stamp[TABLE_STAMP];

void put_stamp(struct nlmsghdr *message, const uint8_t *stamp)
{
	uint8_t note[2 + TABLE_STAMP] = {TABLE_USERDATA_STAMP, TABLE_STAMP}; /* as libnftnl's udata: type, length, bytes */
	memcpy(note + 2, stamp, TABLE_STAMP);
	mnl_attr_put(message, NFTA_TABLE_USERDATA, sizeof(note), note);
}

static int take_note(const struct nftnl_udata *attribute, void *data)
{
	if (nftnl_udata_type(attribute) == TABLE_USERDATA_STAMP && nftnl_udata_len(attribute) == TABLE_STAMP)
		memcpy(data, nftnl_udata_get(attribute), TABLE_STAMP);
	return 0;
}

void read_stamp(const void *userdata, uint32_t length, uint8_t *stamp)
{
	uint8_t found[TABLE_STAMP] = {0};
	bool well = userdata && nftnl_udata_parse(userdata, length, take_note, found) >= 0;
	memcpy(stamp, well ? found : no_stamp, TABLE_STAMP);
}

/* As nf_tables counts: 0 is no generation. */
uint32_t next_generation(uint32_t generation)
{
	return generation + 1 ? generation + 1 : 1;
}

static bool same_kind(const struct set *a, const struct set *b)
{
	bool fixed = b->kind == SET_VALUES || b->kind == SET_MAP || b->kind == SET_COUNTERS;
	return fixed && a->kind == b->kind && a->key_count == b->key_count && a->interval == b->interval;
}

bool known_members(const struct kernel *kernel, uint32_t generation, const uint8_t *stamp, struct set *set)
{
	const struct table_knowledge *known = &kernel->known;
	if (!generation || generation != known->generation || !memcmp(stamp, no_stamp, TABLE_STAMP) ||
		memcmp(stamp, known->stamp, TABLE_STAMP) || kernel->record || kernel->replay)
		return false;
	for (size_t i = 0; i < known->set_count; i++) {
		const struct set *one = &known->sets[i];
		if (strcmp(one->name, set->name) || !same_kind(one, set))
			continue;
		set->values = one->values;
		set->networks = one->networks;
		set->elements = one->elements;
		set->element_count = one->element_count;
		return true;
	}
	return false;
}

void kernel_know(struct kernel *kernel, const struct table_knowledge *known)
{
	kernel->known = known ? *known : (struct table_knowledge){0};
}

const struct table_knowledge *kernel_known(const struct kernel *kernel)
{
	return &kernel->known;
}

void kernel_know_untouched(struct kernel *kernel, uint32_t generation)
{
	if (kernel->known.generation && generation == next_generation(kernel->known.generation))
		kernel->known.generation = generation;
}

int kernel_settled(struct kernel *kernel, const char *table, struct table_knowledge *out)
{
	struct table_state state;
	*out = (struct table_knowledge){0};
	int status = kernel_look(kernel, table, &state);
	if (status)
		return status;
	if (!state.exists || state.generation != kernel->settled || !memcmp(state.stamp, no_stamp, TABLE_STAMP))
		return 1;
	out->generation = state.generation;
	memcpy(out->stamp, state.stamp, TABLE_STAMP);
	return 0;
}
