/*
 * Owning the table: nobody else can change it while this socket is open.
 *
 * Owner without persist would delete the table when the socket closes, which is the opposite of what a firewall wants; so
 * only a persistent table is owned (Linux 6.9). A kernel that does not know a flag may ignore it, so what counts is the
 * read-back. A plain table can never have an owner, so who means to own makes it persistent. Adopting is a batch of its own: the
 * kernel takes no base chain behind it.
 */
#include "agent/kernel/kernel.h"
#include <errno.h>

void kernel_make_persistent(struct kernel *kernel, bool persist)
{
	kernel->persist = persist;
}

int kernel_own(struct kernel *kernel, const char *table)
{
	struct table_state state;
	struct refusal refusal;
	const struct change wake = {.kind = CHANGE_TABLE_WAKE};
	const struct changes adopt = {.table = table, .persist = true, .owned = true, .at = &wake, .count = 1};
	int status = kernel_look(kernel, table, &state);
	if (status)
		return status;
	if (state.owner)
		return state.owner == kernel_port(kernel) ? 0 : -EPERM;
	if (!state.exists || !state.persist)
		return 1;
	status = kernel_commit(kernel, &adopt, state.generation, &refusal);
	if (!status)
		kernel_know_untouched(kernel, next_generation(state.generation)); /* the members are as they were */
	if (status == 2)
		status = kernel_commit(kernel, &adopt, 0, &refusal);
	if (status < 0 && status != -ETIMEDOUT && status != -ENOBUFS)
		return status;
	status = kernel_look(kernel, table, &state);
	if (status)
		return status;
	if (state.owner && state.owner != kernel_port(kernel))
		return -EPERM;
	return state.owner ? 0 : 1;
}
