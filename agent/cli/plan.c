/*
 * plan: what apply would change; nothing is changed.
 *
 * It is told three times: what is decided differently from the policy in force, what in the kernel is not what was installed (somebody else's
 * edits, which apply undoes), and which objects apply would touch, which is all that it does. The policy in force is known from
 * what apply and the agent keep of it.
 */
#include "agent/cli/difference_report.h"
#include "agent/cli/drift.h"
#include "agent/cli/review.h"
#include "agent/cli/versions.h"
#include "agent/daemon/bundle.h"
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

/* What is there to compare with. */
struct comparing {
	struct policy *installed; /* NULL: not known, or nothing is installed */
	struct comparison *comparison;
	const char **drift;
	size_t drift_count;
	bool unknown; /* there is a table, and nothing is known of how it came to be */
};

static json_t *drift_json(const struct comparing *with)
{
	json_t *list = json_array();
	for (size_t i = 0; i < with->drift_count && list; i++)
		if (json_push(list, json_text(with->drift[i]))) {
			json_decref(list);
			return NULL;
		}
	return list;
}

static int print_plan_json(const struct changes *changes, const struct comparing *with)
{
	json_t *object = json_object(), *list = json_array();
	int error = 0;
	for (size_t i = 0; !error && i < changes->count; i++)
		error = json_push(list, change_json(changes, &changes->at[i]));
	error |= json_set(object, "changes", list);
	error |= json_set(object, "decisions", with->comparison ? comparison_json(with->comparison) : json_null());
	error |= json_set(object, "drift", drift_json(with));
	if (error) {
		json_decref(object);
		return -ENOMEM;
	}
	return json_print(object);
}

static int print_plan(void *ctx, const struct changes *changes, const struct comparing *with)
{
	int error = 0;
	if (!changes->count) {
		printf("nothing to change\n");
		return 0;
	}
	if (with->unknown)
		printf("what was installed is not known: only the objects are compared\n\n");
	if (with->comparison && !comparison_empty(with->comparison)) {
		error = print_comparison_text(ctx, with->comparison);
		putchar('\n');
	} else if (with->comparison)
		printf("no difference to what is decided by the policy in force\n\n");
	if (with->drift_count)
		printf("changed by others since it was installed\n");
	for (size_t i = 0; i < with->drift_count; i++)
		printf("  %s\n", with->drift[i]);
	printf("%sobjects\n", with->drift_count ? "\n" : "");
	for (size_t i = 0; i < changes->count; i++) {
		printf("  ");
		print_change(changes, &changes->at[i]);
	}
	return error;
}

/* The policy in force, as it was then.  1: it is not known. */
static int load_installed(void *ctx, const struct invocation *call, struct policy **out)
{
	struct world *world;
	struct bundle *bundle;
	struct diagnostics *diagnostics = diagnostics_new(ctx);
	if (!diagnostics)
		return -ENOMEM;
	int error = world_new(ctx, call, "", true, &world);
	if (error)
		return error;
	world_prefer_known(world);
	error = bundle_in_force(ctx, call->table, world_environment(world), &bundle);
	if (error)
		return error == -ENOMEM ? error : 1;
	bundle->environment.host = world_environment(world)->host;
	error = policy_load(ctx, bundle_policy(bundle), &bundle->environment, diagnostics, out);
	return error < 0 ? error : error != 0;
}

/* Where there is no table, everything is let through now. */
static int load_nothing(void *ctx, const struct invocation *call, struct policy **out)
{
	struct version *version;
	int status = version_open(ctx, call, "/dev/null", NULL, strangers_new(ctx), &version);
	return status ? status : version_load(ctx, version, version->environment.host, out);
}

static int find_drift(void *ctx, const struct invocation *call, const struct ruleset *observed, struct comparing *with)
{
	struct ruleset *installed;
	struct diagnostics *diagnostics = diagnostics_new(ctx);
	if (!diagnostics)
		return -ENOMEM;
	int status = policy_ruleset(ctx, call, with->installed, diagnostics, &installed);
	status = status ? status : drift_find(ctx, observed, installed, &with->drift, &with->drift_count);
	return status < 0 ? status : 0;
}

static int compare_with_installed(void *ctx, const struct invocation *call, const struct policy *wanted, const struct ruleset *observed,
	struct comparing *with)
{
	int error = observed->exists ? load_installed(ctx, call, &with->installed) : load_nothing(ctx, call, &with->installed);
	with->unknown = error > 0;
	if (error)
		return error < 0 ? error : 0;
	if (observed->exists)
		error = find_drift(ctx, call, observed, with);
	if (error)
		return error;
	error = policies_compare(ctx, with->installed, wanted, BUDGET_DEFAULT, &with->comparison);
	return error < 0 ? error : 0;
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
	struct comparing with = {0};
	if (changes->count)
		status = compare_with_installed(ctx, call, policy, observed, &with);
	if (!status)
		status = call->json ? print_plan_json(changes, &with) : print_plan(ctx, changes, &with);
	return status ? status : changes->count ? STATUS_NO : STATUS_YES;
}
