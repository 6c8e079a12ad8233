/*
 * remove: takes out our table, and nothing else.
 */
#include "agent/cli/cli.h"
#include "portpolicy/kernel.h"
#include <errno.h>
#include <string.h>

static int print_outcome(const struct invocation *call, bool removed)
{
	if (call->json)
		return json_print(json_pack("{s:s,s:b}", "table", call->table, "removed", removed));
	if (removed)
		printf("removed: table inet %s; portpolicy stops nothing any more\n", call->table);
	else
		printf("nothing to remove: there is no table inet %s\n", call->table);
	return 0;
}

/* What is taken out is not to be brought back by the undoing of a change before. */
static int forget_pending(void *ctx, const struct invocation *call)
{
	struct pending *pending;
	int status = pending_read(ctx, call->table, &pending);
	if (!status)
		status = pending_end(call->table, pending->id);
	if (status >= 0 || status == -ENOMEM)
		return status < 0 ? status : STATUS_YES;
	complain("portpolicy: cannot read what is pending: %s; nothing was removed\n", strerror(-status));
	return STATUS_FAILED;
}

int verb_remove(void *ctx, const struct invocation *call)
{
	struct kernel *kernel;
	struct changes *applied = NULL;
	struct refusal refusal = {0};
	const char *problem = NULL;
	if (call->operand_count)
		return usage_error(call, "remove takes no operand");
	int status = kernel_open(ctx, &kernel);
	if (status)
		return kernel_unreachable(call, status);
	if (agent_there(call)) {
		complain("portpolicy: table inet %s is not removed: an agent keeps it: stop the agent first\n", call->table);
		return STATUS_FAILED;
	}
	status = forget_pending(ctx, call);
	if (status)
		return status;
	status = kernel_install(ctx, kernel, call->table, NULL, &applied, &refusal, &problem);
	if (status < 0)
		return status == -ENOMEM ? status : kernel_unreachable(call, status);
	if (status == 2)
		return kernel_unreachable(call, -EAGAIN);
	if (status) {
		complain("portpolicy: cannot remove table inet %s: %s\n", call->table,
			status == 1 ? strerror(refusal.error) : problem ? problem : "it belongs to somebody else");
		return STATUS_FAILED;
	}
	return print_outcome(call, applied && applied->count);
}
