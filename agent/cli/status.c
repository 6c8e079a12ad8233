/*
 * status: what is in force, whether it is what the policy says, and who sees to it.
 *
 * A running agent is asked. Without one the same questions are answered from the kernel and the policy; what only an agent
 * remembers is left out.
 */
#include "agent/cli/cli.h"
#include "agent/daemon/bundle.h"
#include "agent/daemon/commands.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <talloc.h>
#include <time.h>

#define DIGEST_SHOWN 12

static void print_time(const json_t *seconds)
{
	char text[40];
	time_t at = (time_t)json_integer_value(seconds);
	struct tm when;
	if (localtime_r(&at, &when) && strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &when))
		fputs(text, stdout);
}

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));
	return text ? text : "";
}

static void print_policy(const json_t *report)
{
	const json_t *policy = json_object_get(report, "policy"), *since = json_object_get(policy, "since");
	const char *origin = text_of(policy, "origin"), *state = text_of(report, "state");
	bool sync = json_is_true(json_object_get(report, "in_sync"));
	if (!json_is_object(policy)) {
		printf("policy: none%s\n", !strcmp(state, "left standing")
						   ? "; the rules that stood at the agent's start were left as they are"
						   : "");
		return;
	}
	printf("policy: %s%s%s\n", !strcmp(origin, "last good") ? "the last good state of " : "", text_of(policy, "file"),
		!strcmp(origin, "given")      ? ", given to the agent until its own policy changes"
		: !strcmp(origin, "fallback") ? ": no policy is known, so strangers are kept out and ssh is let in"
					      : "");
	printf("digest: %.*s\n", DIGEST_SHOWN, text_of(policy, "digest"));
	if (json_is_integer(since)) {
		printf("since:  ");
		print_time(since);
		putchar('\n');
	}
	printf("kernel: %s%s\n", sync ? "in sync" : "NOT in sync", !strcmp(state, "trying") ? ", the agent is trying" : "");
}

static void print_agent(const json_t *agent)
{
	char text[32];
	const json_t *hold = json_object_get(agent, "hold"), *repair = json_object_get(agent, "last_repair");
	if (!json_is_object(agent)) {
		printf("agent:  none: nobody repairs what others change\n");
		return;
	}
	printf("agent:  process %lld, since ", (long long)json_integer_value(json_object_get(agent, "process")));
	print_time(json_object_get(agent, "since"));
	printf("%s\n", json_is_true(json_object_get(agent, "owner")) ? "; nobody else can change the table" : "");
	if (json_is_integer(hold)) {
		time_text((unsigned)json_integer_value(hold), text);
		printf("hold:   nothing is repaired for %s\n", text);
	}
	printf("repairs: %lld\n", (long long)json_integer_value(json_object_get(agent, "repairs")));
	if (!json_is_object(repair))
		return;
	printf("last repair: ");
	print_time(json_object_get(repair, "at"));
	printf(", after %s (process %lld); put back: %s\n",
		*text_of(repair, "program") ? text_of(repair, "program") : "an unknown program",
		(long long)json_integer_value(json_object_get(repair, "process")), text_of(repair, "put_back"));
}

static void print_report(const json_t *report)
{
	size_t i;
	char text[32];
	json_t *one;
	const json_t *pending = json_object_get(report, "pending");
	print_policy(report);
	print_agent(json_object_get(report, "agent"));
	if (json_is_object(pending)) {
		time_text((unsigned)json_integer_value(json_object_get(pending, "seconds")), text);
		printf("pending: %s, undone in %s unless `portpolicy confirm` comes\n", text_of(pending, "file"), text);
	}
	json_array_foreach(json_object_get(report, "unknown"), i, one) printf("not known now: %s\n", json_string_value(one));
	fflush(stdout);
	json_array_foreach(json_object_get(report, "warnings"), i, one)
		complain("portpolicy: warning: %s\n", json_string_value(one));
	if (*text_of(report, "trouble"))
		complain("%sportpolicy: the agent's own policy is not the one in force, because of this\n",
			text_of(report, "trouble"));
}

/* All is well: in sync with the policy as it is. */
static bool is_well(const json_t *report)
{
	const char *origin = text_of(json_object_get(report, "policy"), "origin");
	return json_is_true(json_object_get(report, "in_sync")) && !*text_of(report, "trouble") &&
	       (!strcmp(origin, "own") || !strcmp(origin, "given"));
}

static int show(const struct invocation *call, json_t *report)
{
	int status = is_well(report) ? STATUS_YES : STATUS_NO, error = 0;
	if (call->json)
		error = json_print(json_incref(report));
	else
		print_report(report);
	return error ? error : status;
}

/* When was this very policy put in force last, as far as is known? */
static int64_t kept_since(void *ctx, const struct invocation *call, const struct provenance *from)
{
	struct bundle *bundle;
	if (bundle_recall(ctx, call->table, from->path, NULL, &bundle) || strcmp(bundle->digest, from->digest))
		return 0;
	return bundle->kept;
}

static int compare(void *ctx, const struct invocation *call, struct kernel *kernel, const struct ruleset *wanted, bool *in_sync)
{
	struct ruleset *observed;
	struct changes *changes;
	const char *problem;
	uint32_t generation;
	int status = kernel_dump(ctx, kernel, call->table, &observed, &generation);
	if (status)
		return kernel_unreachable(call, status);
	status = ruleset_difference(ctx, observed, wanted, &changes, &problem);
	*in_sync = !status && !changes->count;
	return status < 0 ? status : STATUS_YES;
}

static int without_agent(void *ctx, const struct invocation *call, struct kernel *kernel)
{
	struct world *world;
	struct provenance from = {.origin = POLICY_OWN};
	struct agent_policy policy = {.provenance = &from};
	struct status_report report = {.table = call->table, .policy = &policy, .kernel = kernel};
	struct pending *pending = NULL;
	int status = load_ruleset(ctx, call, true, &policy.policy, &world, &policy.ruleset);
	if (!status)
		status = settle_pending(ctx, call, kernel, &pending);
	if (!status)
		status = compare(ctx, call, kernel, policy.ruleset, &report.in_sync);
	if (status)
		return status;
	from.path = absolute_path(ctx, policy_operand(call));
	if (!from.path)
		return -ENOMEM;
	trace_digest(world_trace(world), from.digest);
	from.since = report.in_sync ? kept_since(ctx, call, &from) : 0;
	report.state = report.in_sync ? "in force" : "not in force";
	report.pending = pending;
	json_t *object = status_json(ctx, &report);
	status = object ? show(call, object) : -ENOMEM;
	json_decref(object);
	return status;
}

int verb_status(void *ctx, const struct invocation *call)
{
	json_t *report = NULL;
	struct kernel *kernel;
	if (!policy_operand(call))
		return STATUS_FAILED;
	int status = call->operand_count ? AGENT_NONE : ask_agent(call, json_pack("{s:s}", "verb", "status"), -1, &report);
	if (status == STATUS_YES && report) {
		status = show(call, report);
		json_decref(report);
		return status;
	}
	if (status != AGENT_NONE)
		return status ? status : STATUS_FAILED;
	status = kernel_open(ctx, &kernel);
	return status ? kernel_unreachable(call, status) : without_agent(ctx, call, kernel);
}
