/*
 * Requests to the agent and what becomes of them.
 *
 * A request is {"verb", "namespace", ...}; an answer {"status", "messages", "result"}: the exit status of the command, what it
 * has to say on standard error, and what only some verbs give. One that is meant for another network namespace is told so and not
 * done.
 */
#include "agent/daemon/commands.h"
#include "agent/daemon/control.h"
#include "agent/daemon/peace.h"
#include "agent/daemon/pending.h"
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <talloc.h>
#include <time.h>
#include <unistd.h>

#define HOLD_MAX 86400

struct commands {
	struct agent *agent;
	struct policies *policies;
	struct control *control;
	int64_t began;
};

static json_t *done(int status, const char *messages)
{
	return json_pack("{s:i,s:o}", "status", status, "messages", json_text(messages ? messages : ""));
}

static json_t *outcome(int status, const char *messages)
{
	if (status == -ENOMEM)
		return NULL;
	if (status >= 0)
		return done(status, messages);
	char text[200];
	snprintf(text, sizeof text, "portpolicy: the agent could not do it: %s\n", strerror(-status));
	return done(STATUS_FAILED, text);
}

static const char *state_word(const struct reconcile *state)
{
	switch (state->phase) {
	case PHASE_IDLE:
		return "nothing wanted";
	case PHASE_OBSERVING:
	case PHASE_COMMITTING:
	case PHASE_OWNING:
	case PHASE_LOOKING:
	case PHASE_WAITING:
		break;
	case PHASE_SYNCED:
		return "in force";
	case PHASE_HELD:
		return "held";
	case PHASE_STOPPED:
		return "stopped";
	}
	return "trying";
}

static json_t *status(struct commands *commands)
{
	struct pending *pending = NULL;
	void *scratch = talloc_new(NULL);
	const struct reconcile *state = agent_state(commands->agent);
	if (!scratch)
		return NULL;
	if (pending_read(scratch, agent_table(commands->agent), &pending))
		pending = NULL;
	struct status_report report = {.table = agent_table(commands->agent),
		.state = policies_left_standing(commands->policies) ? "left standing" : state_word(state),
		.in_sync = state->phase == PHASE_SYNCED && state->wanted == state->in_force,
		.reconcile = state,
		.policy = agent_policy(commands->agent, state->in_force),
		.incident = agent_last_incident(commands->agent),
		.policies = commands->policies,
		.trouble = policies_trouble(commands->policies),
		.began = commands->began,
		.kernel = agent_kernel(commands->agent),
		.pending = pending};
	json_t *result = status_json(scratch, &report);
	talloc_free(scratch);
	return result ? json_pack("{s:i,s:s,s:o}", "status", STATUS_YES, "messages", "", "result", result) : NULL;
}

static json_t *reload(struct commands *commands)
{
	char *messages;
	void *scratch = talloc_new(NULL);
	int status = scratch ? policies_reload(commands->policies, scratch, &messages) : -ENOMEM;
	json_t *answer = outcome(status, status == -ENOMEM ? NULL : messages);
	talloc_free(scratch);
	return answer;
}

static json_t *confirm(struct commands *commands)
{
	if (!agent_state(commands->agent)->confirming)
		return done(STATUS_NO, "portpolicy: no change is pending\n");
	return outcome(agent_confirm(commands->agent), NULL);
}

static json_t *rollback(struct commands *commands)
{
	if (!agent_state(commands->agent)->confirming)
		return done(STATUS_NO, "portpolicy: no change is pending\n");
	return outcome(agent_rollback(commands->agent), NULL);
}

static json_t *hold(struct commands *commands, const json_t *request)
{
	json_int_t seconds = json_integer_value(json_object_get(request, "seconds"));
	if (!seconds)
		return outcome(agent_resume(commands->agent), NULL);
	if (seconds < 0 || seconds > HOLD_MAX)
		return done(STATUS_FAILED, "portpolicy: a hold is at most a day\n");
	return outcome(agent_hold(commands->agent, (uint64_t)seconds * 1000), NULL);
}

static json_t *apply(struct commands *commands, const json_t *request, int descriptor)
{
	char *messages = NULL;
	json_int_t encoding = json_integer_value(json_object_get(request, "encoding"));
	json_int_t confirm_in = json_integer_value(json_object_get(request, "confirm"));
	struct given given = {.descriptor = descriptor,
		.host = json_string_value(json_object_get(request, "host")),
		.encoding = (enum encoding)encoding,
		.confirm = (unsigned)confirm_in};
	if (descriptor < 0 || encoding < 0 || encoding >= ENCODINGS || confirm_in < 0 || confirm_in > HOLD_MAX)
		return done(STATUS_FAILED,
			"portpolicy: this request is not understood: command and agent may be of different versions\n");
	void *scratch = talloc_new(NULL);
	int status = scratch ? policies_give(commands->policies, scratch, &given, &messages) : -ENOMEM;
	json_t *answer = outcome(status, messages);
	talloc_free(scratch);
	return answer;
}

static bool meant_for_us(const json_t *request)
{
	struct stat own;
	return !stat("/proc/self/ns/net", &own) &&
	       json_integer_value(json_object_get(request, "namespace")) == (json_int_t)own.st_ino;
}

static json_t *answer(void *data, const json_t *request, int descriptor)
{
	struct commands *commands = data;
	const char *verb = json_string_value(json_object_get(request, "verb"));
	if (!meant_for_us(request))
		return json_pack("{s:b}", "elsewhere", 1);
	if (verb && !strcmp(verb, "status"))
		return status(commands);
	if (verb && !strcmp(verb, "reload"))
		return reload(commands);
	if (verb && !strcmp(verb, "confirm"))
		return confirm(commands);
	if (verb && !strcmp(verb, "rollback"))
		return rollback(commands);
	if (verb && !strcmp(verb, "hold"))
		return hold(commands, request);
	if (verb && !strcmp(verb, "apply"))
		return apply(commands, request, descriptor);
	return done(STATUS_FAILED,
		"portpolicy: the agent does not know this request: command and agent may be of different versions\n");
}

int commands_start(struct agent *agent, struct policies *policies)
{
	struct commands *commands = talloc_zero(policies, struct commands);
	char *path = commands ? control_path(commands, agent_table(agent)) : NULL;
	if (!path)
		return -ENOMEM;
	*commands = (struct commands){.agent = agent, .policies = policies, .began = time(NULL)};
	if (mkdir(runtime_directory(), 0755) && errno != EEXIST)
		errno = 0; /* the socket will say why */
	int status = control_new(commands, agent_loop(agent), path, answer, commands, &commands->control);
	if (status == -ENOMEM)
		return status;
	if (status)
		log_line(agent_log(agent), LOG_CONTROL, LEVEL_ERROR, "no control socket at %s: %s; only signals are heard", path,
			status == -EADDRINUSE ? "another agent listens there (set RUNTIME_DIRECTORY)" : strerror(-status));
	return 0;
}
