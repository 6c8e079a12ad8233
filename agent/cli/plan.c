/*
 * plan: the difference between what the kernel holds and what the policy wants, one line a change; nothing is changed.
 */
#include "agent/cli/review.h"
#include "agent/daemon/installed.h"
#include "portpolicy/kernel.h"
#include <errno.h>
#include <talloc.h>

static const char *change_word(enum change_kind kind)
{
	switch (kind) {
	case CHANGE_TABLE_ADD: return "add table";
	case CHANGE_COUNTER_ADD: return "add counter";
	case CHANGE_SET_ADD: return "add set";
	case CHANGE_ELEMENTS_ADD: return "add elements to set";
	case CHANGE_ELEMENTS_DELETE: return "delete elements of set";
	case CHANGE_CHAIN_ADD: return "add chain";
	case CHANGE_CHAIN_POLICY: return "set policy of chain";
	case CHANGE_RULE_ADD: return "add rule to chain";
	case CHANGE_RULES_FLUSH: return "flush chain";
	case CHANGE_CHAIN_DELETE: return "delete chain";
	case CHANGE_SET_DELETE: return "delete set";
	case CHANGE_COUNTER_DELETE: return "delete counter";
	case CHANGE_TABLE_DELETE: return "delete table";
	case CHANGE_TABLE_WAKE: return "wake table";
	}
	return "";
}

static const char *change_object(const struct changes *changes, const struct change *change)
{
	if (change->set)
		return change->set->name;
	if (change->counter)
		return change->counter->name;
	return change->chain ? change->chain->name : changes->table;
}

static const struct span *change_origin(const struct change *change)
{
	const struct span *origin = change->rule ? change->rule->origin : NULL;
	if (!origin && change->set)
		origin = change->set->origin;
	if (!origin && change->counter)
		origin = change->counter->origin;
	return origin && origin->source ? origin : NULL;
}

static void print_change(const struct changes *changes, const struct change *change)
{
	const struct span *origin = change_origin(change);
	printf("%s %s", change_word(change->kind), change_object(changes, change));
	if (origin)
		printf("  # %s:%u", origin->source->name, span_position(*origin).line);
	putchar('\n');
}

static json_t *change_json(const struct changes *changes, const struct change *change)
{
	const struct span *origin = change_origin(change);
	json_t *object = json_object();
	if (json_set(object, "change", json_string(change_word(change->kind))) ||
		json_set(object, "object", json_text(change_object(changes, change))) ||
		json_set(object, "file", json_text(origin ? origin->source->name : NULL)) ||
		json_set(object, "line", origin ? json_integer(span_position(*origin).line) : json_null())) {
		json_decref(object);
		return NULL;
	}
	return object;
}

static int print_plan(const struct invocation *call, const struct changes *changes)
{
	if (!call->json) {
		for (size_t i = 0; i < changes->count; i++)
			print_change(changes, &changes->at[i]);
		if (!changes->count)
			printf("nothing to change\n");
		return 0;
	}
	json_t *object = json_object(), *list = json_array();
	int error = 0;
	for (size_t i = 0; !error && i < changes->count; i++)
		error = json_push(list, change_json(changes, &changes->at[i]));
	error |= json_set(object, "changes", list);
	if (error) {
		json_decref(object);
		return -ENOMEM;
	}
	return json_print(object);
}

int verb_plan(void *ctx, const struct invocation *call)
{
	struct policy *policy;
	struct world *world;
	struct ruleset *wanted, *observed;
	struct kernel *kernel;
	struct changes *changes;
	struct pending *pending;
	const char *problem = NULL;
	uint32_t generation;
	int status = kernel_open(ctx, &kernel);
	if (status)
		return kernel_unreachable(call, status);
	status = load_ruleset(ctx, call, true, &policy, &world, &wanted);
	if (status)
		return status;
	status = warn_of_session(ctx, policy);
	if (!status)
		status = settle_pending(ctx, call, kernel, &pending);
	if (status)
		return status;
	status = installed_tell(ctx, kernel, call->table);
	if (status)
		return status;
	status = kernel_dump(ctx, kernel, call->table, &observed, &generation);
	if (status)
		return kernel_unreachable(call, status);
	status = ruleset_difference(ctx, observed, wanted, &changes, &problem);
	if (status < 0)
		return status;
	if (status) {
		complain("portpolicy: %s\n", problem ? problem : "the table is somebody else's");
		return STATUS_FAILED;
	}
	status = print_plan(call, changes);
	return status ? status : changes->count ? STATUS_NO : STATUS_YES;
}
