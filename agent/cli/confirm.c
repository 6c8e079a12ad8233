/*
 * apply --confirm, confirm, rollback: a change that is undone unless somebody who can still reach the host says that it is good.
 */
#include "agent/cli/cli.h"
#include "agent/daemon/store.h"
#include "portpolicy/kernel.h"
#include <errno.h>
#include <string.h>
#include <talloc.h>
#include <time.h>

#define DAY 86400

int parse_time(const char *word, unsigned *seconds)
{
	static const struct {
		const char *unit;
		unsigned seconds;
	} units[] = {{"s", 1}, {"m", 60}, {"h", 3600}};
	size_t digits = strspn(word, "0123456789");
	unsigned long count = 0;
	if (!digits || digits > 5)
		return -EINVAL;
	for (size_t i = 0; i < digits; i++)
		count = count * 10 + (unsigned long)(word[i] - '0');
	for (size_t i = 0; i < sizeof units / sizeof *units; i++)
		if (!strcmp(word + digits, units[i].unit) && count && count * units[i].seconds <= DAY) {
			*seconds = (unsigned)count * units[i].seconds;
			return 0;
		}
	return -EINVAL;
}

void time_text(unsigned seconds, char out[32])
{
	unsigned unit = seconds % 3600 == 0 && seconds ? 3600 : seconds % 60 == 0 && seconds ? 60 : 1;
	const char *word = unit == 3600 ? "hour" : unit == 60 ? "minute" : "second";
	snprintf(out, 32, "%u %s%s", seconds / unit, word, seconds / unit == 1 ? "" : "s");
}

/* One that cannot be read is worse than none: what should be undone is not known. */
static int unreadable(int error)
{
	if (error == -ENOMEM)
		return error;
	complain("portpolicy: cannot read what is pending in %s: %s\n", state_directory(), strerror(-error));
	return STATUS_FAILED;
}

static int undo(void *ctx, struct kernel *kernel, const struct pending *pending)
{
	const char *problem;
	int status = pending_undo(ctx, kernel, pending, NULL, &problem);
	if (status == 2) {
		complain("portpolicy: %s cannot be undone: %s\n", pending->file, problem);
		return STATUS_FAILED;
	}
	return status ? STATUS_NO : STATUS_YES;
}

int settle_pending(void *ctx, const struct invocation *call, struct kernel *kernel, struct pending **left)
{
	struct pending *pending;
	int status = pending_read(ctx, call->table, &pending);
	*left = NULL;
	if (status < 0)
		return unreadable(status);
	if (status)
		return STATUS_YES;
	*left = pending;
	if (pending_left(pending) || (pending->by_agent && agent_there(call)))
		return STATUS_YES;
	status = undo(ctx, kernel, pending);
	if (status == STATUS_YES)
		complain("portpolicy: %s was not confirmed: the rules from before it are in force again\n", pending->file);
	if (status == STATUS_YES || status == STATUS_NO)
		*left = NULL;
	return status == STATUS_NO ? STATUS_YES : status;
}

static int forget(const struct pending *pending, int error, const char *what)
{
	pending_end(pending->table, pending->id);
	if (error == -ENOMEM)
		return error;
	complain("portpolicy: %s: %s; nothing was changed\n", what, strerror(-error));
	return STATUS_FAILED;
}

int begin_pending(void *ctx, const struct invocation *call, struct kernel *kernel, const struct policy *policy,
	const char *digest, bool by_agent, struct pending **out)
{
	struct ruleset *before;
	uint8_t *bytes;
	size_t length;
	struct pending *pending = talloc_zero(ctx, struct pending);
	if (!pending)
		return -ENOMEM;
	int status = kernel_snapshot(pending, kernel, call->table, &before, &bytes, &length);
	if (status)
		return kernel_unreachable(call, status);
	if (!ruleset_restorable(before)) {
		complain("portpolicy: table inet %s holds what somebody else made, so it could not be brought back; nothing was "
			 "changed\n",
			call->table);
		return STATUS_FAILED;
	}
	pending->table = call->table;
	pending->file = policy->file;
	pending->digest = digest;
	pending->by_agent = by_agent;
	pending->deadline = boot_milliseconds() + (uint64_t)call->confirm * 1000;
	pending->began = time(NULL);
	pending->existed = before->exists;
	status = pending_begin(pending, bytes, length);
	if (status)
		return forget(pending, status, "the rules in force cannot be kept");
	status = guardian_start(pending, before);
	if (status)
		return forget(pending, status, "no guardian can be started");
	*out = pending;
	return STATUS_YES;
}

/* The pending change, or NULL after saying that there is none. */
static int find_pending(void *ctx, const struct invocation *call, struct pending **out)
{
	if (call->operand_count)
		return usage_error(call, "%s takes no operand", call->verb);
	int status = pending_read(ctx, call->table, out);
	if (status < 0)
		return unreadable(status);
	if (!status)
		return STATUS_YES;
	complain("portpolicy: no change is pending\n");
	return STATUS_NO;
}

static int print_decision(const struct invocation *call, const struct pending *pending, const char *key)
{
	if (call->json)
		return json_print(json_pack("{s:s,s:o}", "table", call->table, key, json_text(pending->file)));
	if (!strcmp(key, "confirmed"))
		printf("confirmed: %s stays in force\n", pending->file);
	else
		printf("undone: the rules from before %s are in force again\n", pending->file);
	return STATUS_YES;
}

int verb_confirm(void *ctx, const struct invocation *call)
{
	struct pending *pending;
	int status = find_pending(ctx, call, &pending);
	if (status)
		return status;
	status = pending->by_agent ? ask_agent(call, json_pack("{s:s}", "verb", "confirm"), -1, NULL) : AGENT_NONE;
	if (status == AGENT_NONE)
		status = pending_confirm(pending);
	if (status < 0)
		return unreadable(status);
	if (status == STATUS_FAILED)
		return status;
	if (status) {
		complain("portpolicy: too late: %s has been undone\n", pending->file);
		return STATUS_NO;
	}
	return print_decision(call, pending, "confirmed");
}

int verb_rollback(void *ctx, const struct invocation *call)
{
	struct pending *pending;
	struct kernel *kernel;
	int status = kernel_open(ctx, &kernel);
	if (status)
		return kernel_unreachable(call, status);
	status = find_pending(ctx, call, &pending);
	if (status)
		return status;
	status = pending->by_agent ? ask_agent(call, json_pack("{s:s}", "verb", "rollback"), -1, NULL) : AGENT_NONE;
	if (status == AGENT_NONE)
		status = undo(ctx, kernel, pending);
	return status ? status : print_decision(call, pending, "undone");
}
