/*
 * apply: one atomic change of the kernel to the policy.
 *
 * The rights are asked for first, so that a forgotten sudo is told in a moment; then the policy is judged; then the kernel is
 * changed whole or not at all. What the kernel refuses is shown at the line that asked for it.
 */
#include "agent/cli/cli.h"
#include "portpolicy/kernel.h"
#include <errno.h>
#include <string.h>
#include <talloc.h>

static bool switched_on(const char *path)
{
	FILE *file = fopen(path, "re");
	int value = file ? fgetc(file) : '0';
	if (file)
		fclose(file);
	return value > '0' && value <= '9';
}

static void warn_of_forwarding(const struct policy *policy)
{
	if (policy->directions[DIRECTION_FORWARD].managed)
		return;
	if (switched_on("/proc/sys/net/ipv4/ip_forward") || switched_on("/proc/sys/net/ipv6/conf/all/forwarding"))
		complain("portpolicy: warning: this host forwards packets and `forward` is unmanaged: published container ports bypass `in`, "
			 "containers bypass `out`\n");
}

static const struct span *change_origin(const struct change *change)
{
	if (!change)
		return NULL;
	if (change->rule && change->rule->origin)
		return change->rule->origin;
	if (change->set && change->set->origin)
		return change->set->origin;
	return change->counter ? change->counter->origin : NULL;
}

/* The kernel's words for what usually is the matter. */
static const char *refusal_hint(int error)
{
	if (error == EOPNOTSUPP || error == ENOENT || error == EAFNOSUPPORT)
		return "this kernel may lack a part of nf_tables that the line needs";
	if (error == ENOMEM || error == ENOSPC || error == ENFILE)
		return "the kernel has no room for it";
	return "the rules that stood before still stand";
}

static int show_refusal(void *ctx, const struct refusal *refusal)
{
	const struct span *origin = change_origin(refusal->change);
	if (!origin || !origin->source) {
		complain("portpolicy: the kernel refused the ruleset: %s; the rules that stood before still stand\n", strerror(refusal->error));
		return STATUS_FAILED;
	}
	struct diagnostics *diagnostics = diagnostics_new(ctx);
	if (!diagnostics)
		return -ENOMEM;
	struct diagnostic *one = report_error(diagnostics, *origin, "the kernel refused this: %s", strerror(refusal->error));
	diagnostic_hint(diagnostics, one, "%s", refusal_hint(refusal->error));
	print_diagnostics(diagnostics);
	return STATUS_FAILED;
}

static size_t rules_in_force(const struct policy *policy)
{
	size_t count = 0;
	for (size_t i = 0; i < policy->rule_count; i++)
		count += policy->directions[policy->rules[i].match.direction].managed;
	return count;
}

static int print_outcome(void *ctx, const struct invocation *call, const struct policy *policy, size_t changed)
{
	size_t rules = rules_in_force(policy);
	if (call->json)
		return json_print(json_pack("{s:s,s:I,s:I}", "table", call->table, "rules", (json_int_t)rules, "changes", (json_int_t)changed));
	if (!changed) {
		printf("nothing to change\n");
		return 0;
	}
	char *directions = direction_list(ctx, policy, true);
	if (!directions)
		return -ENOMEM;
	printf("in force: %zu rule%s for %s; %zu change%s\n", rules, rules == 1 ? "" : "s", directions, changed, changed == 1 ? "" : "s");
	return 0;
}

int verb_apply(void *ctx, const struct invocation *call)
{
	struct policy *policy;
	struct world *world;
	struct ruleset *wanted;
	struct kernel *kernel;
	struct changes *applied = NULL;
	struct refusal refusal = {0};
	const char *problem = NULL;
	int status = kernel_open(ctx, &kernel);
	if (status)
		return kernel_unreachable(call, status);
	status = load_ruleset(ctx, call, true, &policy, &world, &wanted);
	if (status)
		return status;
	warn_of_forwarding(policy);
	status = kernel_install(ctx, kernel, call->table, wanted, &applied, &refusal, &problem);
	if (status < 0)
		return status == -ENOMEM ? status : kernel_unreachable(call, status);
	if (status == 1)
		return show_refusal(ctx, &refusal);
	if (status == 2)
		return kernel_unreachable(call, -EAGAIN);
	if (status) {
		complain("portpolicy: %s\n", problem ? problem : "a table of this name belongs to somebody else");
		return STATUS_FAILED;
	}
	world_keep_known(world);
	return print_outcome(ctx, call, policy, applied ? applied->count : 0);
}
