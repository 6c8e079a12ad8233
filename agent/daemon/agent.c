/*
 * The life of the agent: from its sockets to its end, and every event on its way through the machine.
 *
 * Each event goes through one step; the actions are performed at once, and the answer to a question is the next event.  Before an
 * answer is handed in, all that the kernel has told meanwhile is: so the machine knows whether a difference was overtaken
 * before it decides to send it.
 */
#include "agent/daemon/driver.h"
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <talloc.h>
#include <unistd.h>

struct agent_listener {
	struct agent *agent;
	struct agent_listener *next;
	agent_told told;
	void *data;
};

static struct agent_policy **place_of(struct agent *agent, uint32_t revision)
{
	for (size_t i = 0; i < POLICIES_MAX; i++)
		if (agent->policies[i] && agent->policies[i]->revision == revision)
			return &agent->policies[i];
	return NULL;
}

const struct agent_policy *agent_policy(const struct agent *agent, uint32_t revision)
{
	struct agent_policy **place = revision ? place_of((struct agent *)agent, revision) : NULL;
	return place ? *place : NULL;
}

/* Lets go of policies that nothing can come back to, and of the last observation. */
static void tidy(struct agent *agent)
{
	const struct reconcile *state = &agent->state;
	for (size_t i = 0; i < POLICIES_MAX; i++) {
		uint32_t revision = agent->policies[i] ? agent->policies[i]->revision : 0;
		bool needed = revision == state->wanted || revision == state->in_force ||
			      (revision == state->previous && state->confirming);
		if (revision && !needed) {
			driver_forget(agent, revision);
			talloc_free(agent->policies[i]);
			agent->policies[i] = NULL;
		}
	}
	talloc_free(agent->hand);
	agent->hand = NULL;
	agent->changes = NULL;
}

static int hear_commits(struct agent *agent);

static void tell_listeners(struct agent *agent, const struct reconcile_action *report)
{
	struct agent_listener *next;
	for (struct agent_listener *listener = agent->listeners; listener; listener = next) {
		next = listener->next;
		listener->told(listener->data, report);
	}
}

static int perform(struct agent *agent, const struct reconcile_action *action, struct reconcile_event *answer, bool *asked)
{
	if (action->kind != ACTION_REPORT)
		return driver_perform(agent, action, answer, asked);
	driver_report(agent, action);
	tell_listeners(agent, action);
	return 0;
}

static int step(struct agent *agent, struct reconcile_event *event, bool *asked)
{
	struct reconcile_actions actions;
	int status = 0;
	event->now = loop_now();
	agent->state = reconcile_step(agent->state, event, &actions);
	*asked = false;
	for (unsigned i = 0; !status && i < actions.count; i++)
		status = perform(agent, &actions.at[i], event, asked);
	return status;
}

static int feed(struct agent *agent, struct reconcile_event event)
{
	bool asked;
	int status = step(agent, &event, &asked);
	while (!status && asked) {
		agent->open++;
		status = hear_commits(agent);
		agent->open--;
		if (!status)
			status = step(agent, &event, &asked);
	}
	if (agent->open)
		return status;
	tidy(agent);
	loop_timer_set(agent->timer, reconcile_deadline(&agent->state));
	return status;
}

/* All that waits; while a question is open the machine only takes note of it. */
static int hear_commits(struct agent *agent)
{
	struct kernel_event told;
	int status;
	while ((status = kernel_watch_next(agent->watch, &told)) != 0) {
		struct reconcile_event event = {.kind = EVENT_LOST};
		if (status < 0 && status != -ENOBUFS && status != -EMSGSIZE)
			break;
		driver_heard(agent, status == 1 ? &told : NULL);
		if (status == 1) {
			event = (struct reconcile_event){.kind = EVENT_SEEN,
				.generation = told.generation,
				.touched = told.touched,
				.mine = told.port == kernel_port(agent->kernel)};
			if (told.touched && !event.mine)
				agent->author = told;
		}
		status = feed(agent, event);
		if (status)
			break;
	}
	return status;
}

static int on_kernel(void *data)
{
	return hear_commits(data);
}

static int on_watchdog(void *data)
{
	struct agent *agent = data;
	supervisor_tell("WATCHDOG=1");
	loop_timer_set(agent->watchdog_timer, loop_now() + agent->watchdog);
	return 0;
}

/* The look at the kernel is a sign of life as well, so that a quiet host wakes up for one of them only. */
static int on_time(void *data)
{
	struct agent *agent = data;
	int status = agent->watchdog ? on_watchdog(agent) : 0;
	return status ? status : feed(agent, (struct reconcile_event){.kind = EVENT_TIME});
}

static int on_signal(void *data)
{
	struct agent *agent = data;
	struct signalfd_siginfo info;
	if (read(agent->signals, &info, sizeof info) != sizeof info)
		return 0;
	if (info.ssi_signo == SIGHUP) {
		int status = agent_reload(agent);
		return status == -ENOMEM ? 0 : status < 0 ? status : 0;
	}
	agent_stop(agent);
	return 0;
}

static int agent_end(struct agent *agent)
{
	if (agent->signals >= 0)
		close(agent->signals);
	if (agent->claim >= 0)
		close(agent->claim);
	return 0;
}

static int claim_table(struct agent *agent)
{
	pid_t other = 0;
	int status = single_claim(agent->options.table, &agent->claim, &other);
	if (status == 1) {
		agent->claim = -1;
		log_line(agent->log, LOG_STATE, LEVEL_ERROR, "another agent (process %ld) keeps the table inet %s", (long)other,
			agent->options.table);
	}
	return status;
}

static int take_signals(struct agent *agent)
{
	sigset_t signals;
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGHUP);
	if (sigprocmask(SIG_BLOCK, &signals, NULL))
		return -errno;
	agent->signals = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	return agent->signals < 0 ? -errno : 0;
}

static int open_all(struct agent *agent)
{
	int status = kernel_open(agent, &agent->kernel);
	if (!status)
		kernel_make_persistent(agent->kernel, agent->options.own);
	if (!status)
		status = claim_table(agent);
	if (!status)
		status = kernel_watch_open(agent, agent->options.table, &agent->watch);
	if (!status)
		status = take_signals(agent);
	if (!status)
		status = loop_new(agent, &agent->loop);
	if (!status)
		status = loop_watch(
			agent->loop, agent, kernel_watch_descriptor(agent->watch), on_kernel, agent, &agent->kernel_ready);
	if (!status)
		status = loop_watch(agent->loop, agent, agent->signals, on_signal, agent, &agent->signal_ready);
	if (!status)
		status = loop_timer(agent->loop, agent, on_time, agent, &agent->timer);
	if (!status)
		status = loop_timer(agent->loop, agent, on_watchdog, agent, &agent->watchdog_timer);
	return status;
}

int agent_new(void *ctx, const struct agent_options *options, struct agent **out)
{
	struct agent *agent = talloc_zero(ctx, struct agent);
	if (!agent)
		return -ENOMEM;
	/* What a large policy or dump took goes back to the system instead of being kept for the next. */
	mallopt(M_MMAP_THRESHOLD, 128 * 1024);
	mallopt(M_TRIM_THRESHOLD, 256 * 1024);
	agent->options = *options;
	agent->signals = agent->claim = -1;
	agent->watchdog = supervisor_watchdog_ms() / 2;
	agent->state = reconcile_start(options->own, loop_now());
	talloc_set_destructor(agent, agent_end);
	agent->log = log_new(agent);
	int status = agent->log ? open_all(agent) : -ENOMEM;
	if (status) {
		talloc_free(agent);
		return status;
	}
	*out = agent;
	return 0;
}

int agent_run(struct agent *agent)
{
	if (agent->watchdog)
		on_watchdog(agent);
	malloc_trim(0);
	int status = loop_run(agent->loop);
	supervisor_tell("STOPPING=1");
	if (!status)
		status = feed(agent, (struct reconcile_event){.kind = EVENT_STOP});
	driver_keep_known(agent);
	log_line(agent->log, LOG_STATE, LEVEL_NOTICE, "the agent ends; its rules stay in force");
	return status;
}

void agent_stop(struct agent *agent)
{
	loop_stop(agent->loop);
}

struct loop *agent_loop(struct agent *agent)
{
	return agent->loop;
}
struct log *agent_log(struct agent *agent)
{
	return agent->log;
}
struct kernel *agent_kernel(struct agent *agent)
{
	return agent->kernel;
}
const char *agent_table(const struct agent *agent)
{
	return agent->options.table;
}
const struct reconcile *agent_state(const struct agent *agent)
{
	return &agent->state;
}
const struct agent_incident *agent_last_incident(const struct agent *agent)
{
	return &agent->incident;
}

int agent_reload(struct agent *agent)
{
	struct agent_policy *policy = NULL;
	int status = agent->options.load(agent->options.data, agent, &policy);
	if (!status)
		return agent_use(agent, policy, 0);
	if (agent->state.wanted)
		log_line(agent->log, LOG_STATE, LEVEL_ERROR, "the policy could not be taken: what was in force stays");
	return status;
}

int agent_use(struct agent *agent, struct agent_policy *policy, uint64_t confirm_ms)
{
	struct reconcile_event event = {.kind = EVENT_WANTED, .confirm_ms = confirm_ms};
	if (policy) {
		size_t place = 0;
		while (place < POLICIES_MAX && agent->policies[place])
			place++;
		if (place == POLICIES_MAX)
			return -ENOSPC;
		policy->revision = ++agent->revisions ? agent->revisions : ++agent->revisions;
		event.revision = policy->revision;
		agent->policies[place] = talloc_steal(agent, policy);
	}
	int status = feed(agent, event);
	malloc_trim(0);
	return status;
}

int agent_confirm(struct agent *agent)
{
	return feed(agent, (struct reconcile_event){.kind = EVENT_CONFIRM});
}
int agent_rollback(struct agent *agent)
{
	return feed(agent, (struct reconcile_event){.kind = EVENT_ROLLBACK});
}
int agent_resume(struct agent *agent)
{
	return feed(agent, (struct reconcile_event){.kind = EVENT_RESUME});
}

int agent_hold(struct agent *agent, uint64_t ms)
{
	return feed(agent, (struct reconcile_event){.kind = EVENT_HOLD, .hold_ms = ms});
}

static int listener_end(struct agent_listener *listener)
{
	for (struct agent_listener **at = &listener->agent->listeners; *at; at = &(*at)->next)
		if (*at == listener) {
			*at = listener->next;
			break;
		}
	return 0;
}

int agent_listen(struct agent *agent, void *ctx, agent_told told, void *data, struct agent_listener **out)
{
	struct agent_listener *listener = talloc_zero(ctx, struct agent_listener);
	if (!listener)
		return -ENOMEM;
	*listener = (struct agent_listener){agent, agent->listeners, told, data};
	agent->listeners = listener;
	talloc_set_destructor(listener, listener_end);
	*out = listener;
	return 0;
}
