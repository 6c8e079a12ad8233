/*
 * From files to what the agent wants.
 *
 * A policy that has mistakes changes nothing: what is in force stays, and the trouble is kept for status. What came in force is
 * kept on disk whole (bundle.h), so that the same holds over a restart. A policy that was applied with --confirm and not
 * confirmed is a mistake too, until it is changed or asked for again: else a restart would lock out the one whom the undoing has
 * let in.
 */
#include "agent/daemon/policies.h"
#include "agent/daemon/bundle.h"
#include "agent/daemon/consequences.h"
#include "agent/daemon/files.h"
#include "agent/daemon/pending.h"
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <talloc.h>
#include <time.h>
#include <unistd.h>

#define FALLBACK_NAME "<fallback>"
#define CHECK_MS 60000 /* what no event told is found so late */
#define SHOWN_MAX 65536

extern const char fallback_policy[];

struct policies {
	const struct invocation *call;
	const char *path; /* of the own policy, absolute */
	struct agent *agent;
	struct files *files;
	struct loop_timer *check;
	struct agent_listener *listener;
	char *trouble;		  /* messages about the own policy; NULL: it is fine */
	char digest[DIGEST_ROOM]; /* of the own policy as it was last read */
	bool accept;		  /* unconfirmed or not */
	bool left_standing;
};

const char *policies_own_path(const struct policies *policies)
{
	return policies->path;
}
const char *policies_trouble(const struct policies *policies)
{
	return policies->trouble;
}
bool policies_left_standing(const struct policies *policies)
{
	return policies->left_standing && !agent_state(policies->agent)->wanted;
}

const char *origin_word(enum policy_origin origin)
{
	static const char *const words[] = {"own", "last good", "fallback", "given"};
	return words[origin];
}

int policies_new(void *ctx, const struct invocation *call, struct policies **out)
{
	struct policies *policies = talloc_zero(ctx, struct policies);
	if (!policies)
		return -ENOMEM;
	policies->call = call;
	policies->path = absolute_path(policies, policy_operand(call));
	if (!policies->path) {
		talloc_free(policies);
		return -ENOMEM;
	}
	*out = policies;
	return 0;
}

/* The messages as the command shows them. NULL: out of memory. */
static char *shown(void *ctx, const struct diagnostics *diagnostics)
{
	char *text = NULL, *copy = NULL;
	size_t length = 0;
	FILE *stream = open_memstream(&text, &length);
	if (!stream)
		return NULL;
	for (const struct diagnostic *one = diagnostics->first; one && ftello(stream) < SHOWN_MAX; one = one->next)
		diagnostic_print(stream, one, false);
	if (!fclose(stream))
		copy = talloc_strdup(ctx, text);
	free(text);
	return copy;
}

/* One way to make a policy: an environment, and the path to begin with. */
struct making {
	const struct invocation *call;
	const struct environment *environment;
	const char *path, *name;
	enum policy_origin origin;
	const char *begin; /* what `environment` calls the path; NULL: the same */
};

/* The policy, without its world.  0; STATUS_NO; or a negative errno; *messages in each case but the last. */
static int make(void *ctx, const struct making *making, struct agent_policy **out, char **messages)
{
	struct agent_policy *made = talloc_zero(ctx, struct agent_policy);
	struct diagnostics *diagnostics = made ? diagnostics_new(made) : NULL;
	if (!diagnostics || !(made->provenance = talloc_zero(made, struct provenance)))
		return -ENOMEM;
	made->name = talloc_strdup(made, making->name);
	made->provenance->origin = making->origin;
	made->provenance->path = talloc_strdup(made, making->path);
	const char *begin = making->begin ? making->begin : making->path;
	int status = policy_load(made, begin, making->environment, diagnostics, &made->policy);
	if (!status)
		status = policy_ruleset(made, making->call, made->policy, diagnostics, &made->ruleset);
	*messages = status < 0 ? NULL : shown(ctx, diagnostics);
	if (status >= 0 && (!*messages || !made->name || !made->provenance->path))
		status = -ENOMEM;
	if (status)
		talloc_free(made);
	else
		*out = made;
	return status;
}

static int make_own(struct policies *policies, void *ctx, struct world *world, struct agent_policy **out, char **messages)
{
	struct trace *trace = world_trace(world);
	struct making making = {policies->call, world_environment(world), policies->path, policies->path, POLICY_OWN, NULL};
	int status = make(ctx, &making, out, messages);
	if (status < 0)
		return status;
	trace_digest(trace, policies->digest);
	if (status)
		return world_error(world) ? STATUS_FAILED : status;
	strcpy((*out)->provenance->digest, policies->digest);
	if (policies->accept || !pending_blamed(policies->call->table, policies->digest))
		return 0;
	*messages = talloc_asprintf(ctx,
		"portpolicy: %s was applied with --confirm and not confirmed: it is not used until it changes, or `portpolicy "
		"reload` asks for it\n",
		policies->path);
	TALLOC_FREE(*out);
	return *messages ? STATUS_NO : -ENOMEM;
}

static void follow(struct policies *policies, const struct trace *trace)
{
	int status = policies->files ? files_follow(policies->files, trace) : 0;
	if (!status)
		return;
	log_line(agent_log(policies->agent), LOG_POLICY, LEVEL_WARNING,
		"not every file of the policy can be watched (%s): changes are found within %d seconds",
		status < 0 ? strerror(-status) : "see fs.inotify.max_user_watches", CHECK_MS / 1000);
}

static void note_trouble(struct policies *policies, const char *messages)
{
	TALLOC_FREE(policies->trouble);
	if (messages && *messages)
		policies->trouble = talloc_strdup(policies, messages);
}

/* Reads the own files, whatever comes of it. Returns as agent_loader; the messages are in policies->trouble when it is not 0. */
static int read_own(struct policies *policies, void *ctx, struct agent_policy **out, char **messages)
{
	struct world *world;
	*out = NULL;
	*messages = NULL;
	int status = world_new(ctx, policies->call, policies->path, true, &world);
	if (status)
		return status;
	status = make_own(policies, ctx, world, out, messages);
	if (status >= 0)
		follow(policies, world_trace(world));
	note_trouble(policies, status ? *messages : NULL);
	if (status) {
		talloc_free(world);
		return status;
	}
	(*out)->world = talloc_steal(*out, world);
	return 0;
}

static void say(const char *messages)
{
	if (messages)
		fputs(messages, stderr);
}

/* What would a change be undone to, if another came between? */
static bool is_pending(const struct policies *policies) { return policies->agent && agent_state(policies->agent)->confirming; }

static char *pending_message(void *ctx)
{
	return talloc_strdup(ctx, "portpolicy: a change is pending: `portpolicy confirm` or `portpolicy rollback` it first\n");
}

int policies_load(void *data, void *ctx, struct agent_policy **out)
{
	char *messages;
	struct policies *policies = data;
	int status = STATUS_FAILED;
	if (is_pending(policies))
		messages = pending_message(ctx);
	else
		status = read_own(policies, ctx, out, &messages);
	say(messages);
	talloc_free(messages);
	return status;
}

/* Own and given policies are made of a world of their own, and what that world said stays known; the own text is the last good
 * one from now on. */
static void keep(struct policies *policies, struct agent_policy *policy)
{
	struct provenance *from = policy->provenance;
	const char *table = policies->call->table;
	if (from->kept || !policy->world)
		return;
	from->kept = true;
	world_keep_known(policy->world);
	int error = from->origin == POLICY_OWN ? bundle_keep(table, from->path, world_trace(policy->world)) : bundle_disown(table);
	if (error)
		log_line(agent_log(policies->agent), LOG_POLICY, LEVEL_WARNING,
			"the policy could not be kept in %s as the last good one: %s", state_directory(), strerror(-error));
	trace_forget(world_trace(policy->world));
	if (from->origin == POLICY_OWN)
		pending_forgive(table, from->digest);
}

static void end_pending(struct policies *policies)
{
	struct pending *pending;
	void *scratch = talloc_new(NULL);
	if (scratch && pending_read(scratch, policies->call->table, &pending) == 0)
		pending_end(pending->table, pending->id);
	talloc_free(scratch);
}

static void told(void *data, const struct reconcile_action *action)
{
	struct policies *policies = data;
	const struct reconcile *state = agent_state(policies->agent);
	struct agent_policy *policy = (struct agent_policy *)agent_policy(policies->agent, action->revision);
	if (action->report == REPORT_ROLLED_BACK)
		pending_undone(policies->call->table);
	else if (action->report == REPORT_CONFIRMED)
		end_pending(policies);
	if (action->report == REPORT_ROLLED_BACK || action->report == REPORT_CONFIRMED)
		loop_timer_set(policies->check, loop_now()); /* files may have changed meanwhile */
	if (!policy || !policy->provenance || (action->report != REPORT_IN_FORCE && action->report != REPORT_CONFIRMED))
		return;
	bool first = !policy->provenance->since;
	if (first)
		policy->provenance->since = time(NULL);
	if (!state->confirming)
		keep(policies, policy);
	if (first)
		consequences(policies->agent, policy, policies->call->revoke);
}

/* The state machine does all that it can before agent_use returns. STATUS_YES or STATUS_FAILED; *messages. */
static int outcome(struct policies *policies, void *ctx, uint32_t revision, char **messages)
{
	const struct reconcile *state = agent_state(policies->agent);
	if (state->in_force == revision)
		return STATUS_YES;
	char *more = talloc_asprintf(ctx, "%sportpolicy: %s\n", *messages ? *messages : "",
		state->wanted == revision
			? "the kernel cannot be changed now: the agent goes on trying, `portpolicy status` tells"
			: "the kernel refused the ruleset; what was in force stays (the agent's log says why)");
	*messages = more ? more : *messages;
	return STATUS_FAILED;
}

static int use(struct policies *policies, void *ctx, struct agent_policy *policy, unsigned confirm, char **messages)
{
	int status = agent_use(policies->agent, policy, (uint64_t)confirm * 1000);
	if (status < 0)
		return status;
	policies->left_standing = false;
	return outcome(policies, ctx, policy->revision, messages);
}

static const struct agent_policy *wanted(const struct policies *policies)
{
	return agent_policy(policies->agent, agent_state(policies->agent)->wanted);
}

/* Files have changed and settled. What is pending is not disturbed: the change is looked at again when it is decided. */
static int files_changed(void *data)
{
	struct policies *policies = data;
	struct agent_policy *policy;
	char before[DIGEST_ROOM], *messages;
	bool trouble = policies->trouble;
	if (is_pending(policies))
		return 0;
	strcpy(before, policies->digest);
	void *scratch = talloc_new(NULL);
	int status = scratch ? read_own(policies, scratch, &policy, &messages) : -ENOMEM;
	const struct agent_policy *now = wanted(policies);
	bool same = !status && !trouble && !strcmp(before, policies->digest) && now && now->provenance &&
		    now->provenance->origin == POLICY_GIVEN;
	if (!status && !same)
		status = use(policies, scratch, policy, 0, &messages);
	else if (status > 0)
		log_line(agent_log(policies->agent), LOG_POLICY, LEVEL_ERROR, "%s cannot be taken: what was in force stays",
			policies->path);
	if (status >= 0)
		say(messages);
	talloc_free(scratch);
	return status == -ENOMEM || status > 0 ? 0 : status;
}

static int check_files(void *data)
{
	struct policies *policies = data;
	files_check(policies->files);
	loop_timer_set(policies->check, loop_now() + CHECK_MS);
	return 0;
}

int policies_reload(struct policies *policies, void *ctx, char **messages)
{
	struct agent_policy *policy;
	*messages = NULL;
	if (is_pending(policies)) {
		*messages = pending_message(ctx);
		return *messages ? STATUS_FAILED : -ENOMEM;
	}
	policies->accept = true;
	int status = read_own(policies, ctx, &policy, messages);
	policies->accept = false;
	say(*messages);
	return status ? status : use(policies, ctx, policy, 0, messages);
}

/* All of a descriptor that another process has filled. */
static int read_given(void *ctx, int descriptor, char **bytes, size_t *length)
{
	struct stat status;
	if (fstat(descriptor, &status) || !S_ISREG(status.st_mode))
		return -EINVAL;
	char *text = talloc_size(ctx, (size_t)status.st_size + 1);
	if (!text)
		return -ENOMEM;
	ssize_t got = pread(descriptor, text, (size_t)status.st_size, 0);
	*bytes = text;
	*length = got > 0 ? (size_t)got : 0;
	return got < 0 ? -errno : 0;
}

static int make_given(struct policies *policies, void *ctx, const struct given *given, struct agent_policy **out, char **messages)
{
	char *bytes;
	size_t length;
	struct world *world;
	struct bundle *bundle;
	struct invocation *call = talloc_memdup(ctx, policies->call, sizeof *call);
	if (!call)
		return -ENOMEM;
	call->host = given->host;
	call->encoding = given->encoding;
	int status = read_given(ctx, given->descriptor, &bytes, &length);
	if (!status)
		status = world_new(ctx, call, "-", true, &world);
	if (!status)
		status = bundle_parse(ctx, bytes, length, world_environment(world), &bundle);
	if (status)
		return status;
	struct making making = {call, &bundle->environment, bundle->main, bundle->main, POLICY_GIVEN, bundle_policy(bundle)};
	status = make(ctx, &making, out, messages);
	if (status)
		return status;
	strcpy((*out)->provenance->digest, bundle->digest);
	(*out)->world = talloc_steal(*out, world);
	talloc_steal(*out, bundle);
	return 0;
}

int policies_give(struct policies *policies, void *ctx, const struct given *given, char **messages)
{
	struct agent_policy *policy;
	*messages = NULL;
	if (is_pending(policies)) {
		*messages = pending_message(ctx);
		return *messages ? STATUS_FAILED : -ENOMEM;
	}
	int status = make_given(policies, ctx, given, &policy, messages);
	return status ? status : use(policies, ctx, policy, given->confirm, messages);
}

/* The own policy as it was when it was last good. */
static int use_last_good(struct policies *policies, void *ctx)
{
	struct world *world;
	struct bundle *bundle;
	struct agent_policy *policy;
	char *messages = NULL, *name;
	int status = world_new(ctx, policies->call, policies->path, true, &world);
	if (status)
		return status;
	world_prefer_known(world);
	status = bundle_recall(ctx, policies->call->table, policies->path, world_environment(world), &bundle);
	if (status)
		return status;
	name = talloc_asprintf(ctx, "the last good state of %s", policies->path);
	struct making making = {policies->call, &bundle->environment, policies->path, name, POLICY_LAST_GOOD, bundle_policy(bundle)};
	status = name ? make(ctx, &making, &policy, &messages) : -ENOMEM;
	if (status) {
		say(messages);
		return status;
	}
	strcpy(policy->provenance->digest, bundle->digest);
	return use(policies, ctx, policy, 0, &messages);
}

static int read_fallback(void *data, void *ctx, const char *path, enum file_kind kind, char **bytes, size_t *length)
{
	(void)data;
	if (kind != FILE_POLICY || strcmp(path, FALLBACK_NAME))
		return -ENOENT;
	*length = strlen(fallback_policy);
	*bytes = talloc_strdup(ctx, fallback_policy);
	return *bytes ? 0 : -ENOMEM;
}

static int name_fallback(void *data, void *ctx, const char *path, char **out)
{
	(void)data;
	*out = talloc_strdup(ctx, path);
	return *out ? 0 : -ENOMEM;
}

static int use_fallback(struct policies *policies, void *ctx)
{
	struct agent_policy *policy;
	char *messages = NULL;
	struct environment environment = {.read_file = read_fallback, .canonical = name_fallback, .host = "localhost"};
	struct making making = {
		policies->call, &environment, FALLBACK_NAME, "the fallback: ssh in, everything out", POLICY_FALLBACK,
		NULL};
	int status = make(ctx, &making, &policy, &messages);
	if (!status) {
		digest_text(fallback_policy, strlen(fallback_policy), policy->provenance->digest);
		status = use(policies, ctx, policy, 0, &messages);
	}
	say(messages);
	return status;
}

/* Do rules of ours stand, of an agent or an apply before? */
static bool rules_stand(struct policies *policies, void *ctx)
{
	struct ruleset *observed;
	uint32_t generation;
	if (kernel_dump(ctx, agent_kernel(policies->agent), policies->call->table, &observed, &generation))
		return false;
	for (size_t i = 0; i < observed->chain_count; i++)
		if (observed->chains[i].hook != HOOK_NONE && observed->chains[i].count > 1)
			return true;
	return false;
}

static int fall_back(struct policies *policies, void *ctx)
{
	struct log *log = agent_log(policies->agent);
	log_line(log, LOG_POLICY, LEVEL_ERROR, "%s cannot be used at the start", policies->path);
	int status = use_last_good(policies, ctx);
	if (!status) {
		log_line(log, LOG_POLICY, LEVEL_ERROR, "its last good state is used until it is mended");
		return 0;
	}
	if (status == -ENOMEM)
		return status;
	if (rules_stand(policies, ctx)) {
		log_line(log, LOG_POLICY, LEVEL_ERROR,
			"no last good state is known; the rules that stand in table inet %s are left as they are",
			policies->call->table);
		policies->left_standing = true;
		supervisor_tell("READY=1\nSTATUS=no policy: rules of before were left standing");
		return 0;
	}
	log_line(log, LOG_POLICY, LEVEL_ERROR,
		"NO POLICY IS KNOWN: the fallback is used (in: ssh from anywhere, and what the network needs; out: everything; "
		"forward: nothing)");
	return use_fallback(policies, ctx);
}

/* What was pending when the agent began is over: its own policy takes the place, unless that is what was not confirmed. */
static void drop_pending(struct policies *policies)
{
	struct pending *pending;
	void *scratch = talloc_new(NULL);
	if (scratch && pending_read(scratch, policies->call->table, &pending) != 1) {
		log_line(agent_log(policies->agent), LOG_POLICY, LEVEL_WARNING,
			"a change was pending that nobody has confirmed: it is undone");
		pending_undone(policies->call->table);
	}
	talloc_free(scratch);
}

static int start_watching(struct policies *policies)
{
	struct loop *loop = agent_loop(policies->agent);
	int status = agent_listen(policies->agent, policies, told, policies, &policies->listener);
	if (!status)
		status = loop_timer(loop, policies, check_files, policies, &policies->check);
	if (!status && files_new(policies, loop, files_changed, policies, &policies->files)) {
		policies->files = NULL; /* then only a signal or a request reads again */
		log_line(agent_log(policies->agent), LOG_POLICY, LEVEL_WARNING,
			"files cannot be watched here (inotify(7)): use SIGHUP after a change");
	}
	if (!status && policies->files)
		loop_timer_set(policies->check, loop_now() + CHECK_MS);
	return status;
}

int policies_start(struct policies *policies, struct agent *agent)
{
	policies->agent = agent;
	int status = start_watching(policies);
	if (status)
		return status;
	drop_pending(policies);
	status = agent_reload(agent);
	void *scratch = talloc_new(NULL);
	if (!scratch)
		return -ENOMEM;
	const struct reconcile *state = agent_state(agent);
	if (status > 0 || (!status && !state->wanted))
		status = fall_back(policies, scratch);
	talloc_free(scratch);
	return status < 0 ? status : 0;
}
