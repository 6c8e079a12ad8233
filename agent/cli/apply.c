/*
 * apply: one atomic change of the kernel to the policy.
 *
 * The rights are asked for first, so that a forgotten sudo is told in a moment; then the policy is judged; then the kernel is
 * changed whole or not at all. What the kernel refuses is shown at the line that asked for it. With --confirm the way back
 * is secured before the first step.
 */
#include "agent/cli/cli.h"
#include "agent/cli/review.h"
#include "agent/daemon/bundle.h"
#include "agent/daemon/installed.h"
#include "portpolicy/kernel.h"
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <talloc.h>
#include <unistd.h>

#define LOOK_SECONDS 2.0
#define REVOKE_SECONDS 60.0

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

int show_refusal(void *ctx, const struct refusal *refusal)
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

/* What an apply did, for its answer. */
struct outcome {
	const struct policy *policy;
	size_t changed;
	const struct pending *pending;
	const struct review *review; /* NULL: nothing was looked at */
	bool by_agent;
	char digest[DIGEST_ROOM];
};

static int print_json(const struct invocation *call, const struct outcome *outcome)
{
	json_t *object = json_pack("{s:s,s:I,s:I}", "table", call->table, "rules", (json_int_t)rules_in_force(outcome->policy), "changes",
		(json_int_t)outcome->changed);
	int error = object ? 0 : -ENOMEM;
	if (!error && outcome->pending)
		error = json_set(object, "confirm_within", json_integer(call->confirm));
	if (!error && outcome->review)
		error = json_review(object, outcome->review, call->revoke);
	if (error) {
		json_decref(object);
		return error;
	}
	return json_print(object);
}

static int print_outcome(void *ctx, const struct invocation *call, const struct outcome *outcome)
{
	char time[32];
	size_t rules = rules_in_force(outcome->policy), changed = outcome->changed;
	if (call->json)
		return print_json(call, outcome);
	char *directions = direction_list(ctx, outcome->policy, true);
	if (!directions)
		return -ENOMEM;
	if (changed)
		printf("in force: %zu rule%s for %s; %zu change%s\n", rules, rules == 1 ? "" : "s", directions, changed, changed == 1 ? "" : "s");
	else
		printf("nothing to change\n");
	if (outcome->by_agent)
		printf("the agent keeps it until its own policy changes\n");
	if (outcome->pending) {
		time_text(call->confirm, time);
		printf("undone in %s unless `portpolicy confirm` comes\n", time);
	}
	if (outcome->review)
		print_review(outcome->review, call->revoke);
	return 0;
}

/* Puts the ruleset into the kernel; *changed is the number of changes.  STATUS_YES, STATUS_FAILED after a message, or -ENOMEM. */
static int install(void *ctx, const struct invocation *call, struct kernel *kernel, const struct ruleset *wanted, size_t *changed)
{
	struct changes *applied = NULL;
	struct refusal refusal = {0};
	const char *problem = NULL;
	int status = installed_tell(ctx, kernel, call->table);
	if (!status)
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
	installed_note(kernel, call->table, wanted);
	*changed = applied ? applied->count : 0;
	return STATUS_YES;
}

static int refuse_pending(const struct pending *pending)
{
	char time[32];
	time_text(pending_left(pending), time);
	complain("portpolicy: %s is pending, to be undone in %s: `portpolicy confirm` or `portpolicy rollback` it first\n", pending->file, time);
	return STATUS_FAILED;
}

/* One thing at a time: what would the second change be undone to? */
static int make_way(void *ctx, const struct invocation *call, struct kernel *kernel)
{
	struct pending *pending;
	int status = settle_pending(ctx, call, kernel, &pending);
	return !status && pending ? refuse_pending(pending) : status;
}

/* The connections that stand are looked at when the policy is in force, so that none slips in between. */
static int look_at_connections(void *ctx, const struct invocation *call, struct kernel *kernel, struct outcome *outcome)
{
	struct review *review;
	int status = review_flows(ctx, kernel, outcome->policy, call->revoke ? REVOKE_SECONDS : LOOK_SECONDS, &review);
	if (status == -ENOMEM)
		return status;
	if (status) {
		complain("portpolicy: warning: the connections that stand could not be looked at: %s\n", strerror(-status));
		return call->revoke ? STATUS_FAILED : STATUS_YES;
	}
	if (call->revoke)
		review_end(kernel, review);
	outcome->review = review;
	return call->revoke && review->failed ? STATUS_FAILED : STATUS_YES;
}

/* What is good from now on, kept for a start without files. */
static void keep(const struct invocation *call, const struct outcome *outcome, struct world *world)
{
	world_keep_known(world);
	char *path = absolute_path(NULL, outcome->policy->file);
	int error = !path ? -ENOMEM : call->confirm ? bundle_put_aside(call->table, path, world_trace(world)) : bundle_keep(call->table, path, world_trace(world));
	if (error)
		complain("portpolicy: warning: the policy could not be kept in %s as the last good one: %s\n", state_directory(), strerror(-error));
	if (!call->confirm)
		pending_forgive(call->table, outcome->digest);
	talloc_free(path);
}

static int apply_here(void *ctx, const struct invocation *call, struct kernel *kernel, const struct ruleset *wanted, struct outcome *outcome)
{
	return install(ctx, call, kernel, wanted, &outcome->changed);
}

/* The agent gets the text of the policy, as it was read here: what this user sees and it does not is no matter then. */
static int hand_over(void *ctx, const struct invocation *call, struct world *world, const struct policy *policy)
{
	size_t length;
	char *text = bundle_text(ctx, policy->file, world_trace(world), 0, &length);
	int descriptor = text ? memfd_create("policy", MFD_CLOEXEC) : -1;
	if (descriptor < 0)
		return text ? -errno : -ENOMEM;
	json_t *request = json_pack("{s:s,s:I,s:I}", "verb", "apply", "encoding", (json_int_t)call->encoding, "confirm", (json_int_t)call->confirm);
	if (call->host && request)
		json_object_set_new(request, "host", json_text(call->host));
	for (size_t put = 0; put < length;) {
		ssize_t written = write(descriptor, text + put, length - put);
		if (written < 0) {
			int error = -errno;
			close(descriptor);
			json_decref(request);
			return error;
		}
		put += (size_t)written;
	}
	int status = ask_agent(call, request, descriptor, NULL);
	close(descriptor);
	return status;
}

static int apply_by_agent(void *ctx, const struct invocation *call, struct kernel *kernel, struct world *world, const struct ruleset *wanted,
	struct outcome *outcome)
{
	struct ruleset *observed;
	struct changes *changes;
	const char *problem;
	uint32_t generation;
	int status = kernel_dump(ctx, kernel, call->table, &observed, &generation);
	if (status)
		return kernel_unreachable(call, status);
	status = ruleset_difference(ctx, observed, wanted, &changes, &problem);
	if (status < 0)
		return status;
	outcome->changed = status ? 0 : changes->count;
	status = hand_over(ctx, call, world, outcome->policy);
	if (status != AGENT_NONE)
		return status;
	complain("portpolicy: the agent has just ended; nothing was changed\n");
	return STATUS_FAILED;
}

static int apply(void *ctx, const struct invocation *call, struct kernel *kernel, struct world *world, const struct ruleset *wanted,
	struct outcome *outcome)
{
	struct pending *pending = NULL;
	int status = make_way(ctx, call, kernel);
	trace_digest(world_trace(world), outcome->digest);
	if (!status && call->confirm)
		status = begin_pending(ctx, call, kernel, outcome->policy, outcome->digest, outcome->by_agent, &pending);
	if (status)
		return status;
	status = outcome->by_agent ? apply_by_agent(ctx, call, kernel, world, wanted, outcome) : apply_here(ctx, call, kernel, wanted, outcome);
	if (status && pending)
		pending_end(pending->table, pending->id);
	if (status)
		return status;
	outcome->pending = pending;
	if (!outcome->by_agent)
		keep(call, outcome, world);
	return look_at_connections(ctx, call, kernel, outcome);
}

int verb_apply(void *ctx, const struct invocation *call)
{
	struct policy *policy;
	struct world *world;
	struct ruleset *wanted;
	struct kernel *kernel;
	struct invocation whole = *call;
	int status = kernel_open(ctx, &kernel);
	if (status)
		return kernel_unreachable(call, status);
	struct outcome outcome = {.by_agent = agent_there(call)};
	whole.keep_lists = outcome.by_agent;
	status = load_ruleset(ctx, &whole, true, &policy, &world, &wanted);
	if (!status)
		status = warn_of_host(ctx, call, kernel, policy);
	if (status)
		return status;
	outcome.policy = policy;
	status = apply(ctx, call, kernel, world, wanted, &outcome);
	if (status && !outcome.review)
		return status;
	int printed = print_outcome(ctx, call, &outcome);
	return printed ? printed : status;
}
