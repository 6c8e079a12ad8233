/*
 * What the machine asks for, done to the kernel; and what it reports, in words.
 */
#include "agent/daemon/driver.h"
#include "agent/daemon/installed.h"
#include "agent/daemon/store.h"
#include <errno.h>
#include <string.h>
#include <talloc.h>
#include <time.h>

#define DUMPS_AT_ONCE 3 /* of a kernel whose objects go while they are read */

static const struct ruleset *ruleset_of(const struct agent *agent, uint32_t revision)
{
	const struct agent_policy *policy = agent_policy(agent, revision);
	return policy ? policy->ruleset : NULL;
}

static void know(struct agent *agent, struct table_knowledge *known, uint32_t revision)
{
	const struct ruleset *ruleset = known ? ruleset_of(agent, revision) : NULL;
	agent->known_revision = ruleset ? revision : 0;
	if (ruleset) {
		known->sets = ruleset->sets;
		known->set_count = ruleset->set_count;
	}
	kernel_know(agent->kernel, ruleset ? known : NULL);
	if (agent->recalled)
		talloc_free_children(agent->recalled);
}

/* What a commit of ours left is known from then on. */
static void know_committed(struct agent *agent)
{
	struct table_knowledge known;
	bool settled = !kernel_settled(agent->kernel, agent->options.table, &known);
	know(agent, settled ? &known : NULL, agent->hand_revision);
}

/* So is what a look has shown to be as it is wanted. */
static void know_observed(struct agent *agent, const struct reconcile_event *observed)
{
	struct table_state state;
	struct table_knowledge known = {.generation = observed->generation};
	bool known_already =
		agent->known_revision == observed->revision && kernel_known(agent->kernel)->generation == observed->generation;
	if (agent->changes->count || observed->after != observed->generation || known_already ||
		kernel_look(agent->kernel, agent->options.table, &state) || state.generation != observed->generation)
		return;
	memcpy(known.stamp, state.stamp, TABLE_STAMP);
	know(agent, &known, observed->revision);
}

/*
 * Our own load of a million members is more than a queue of events holds.  The kernel counts a generation before it tells of it:
 * where it has not gone on when the loss is told, what was lost is older than what is known.
 */
static bool moved_on(const struct agent *agent)
{
	struct table_state state;
	return kernel_look(agent->kernel, agent->options.table, &state) ||
	       state.generation != kernel_known(agent->kernel)->generation;
}

void driver_heard(struct agent *agent, const struct kernel_event *event)
{
	if (event && !event->touched)
		kernel_know_untouched(agent->kernel, event->generation);
	else if (!event && moved_on(agent))
		know(agent, NULL, 0);
}

void driver_forget(struct agent *agent, uint32_t revision)
{
	if (agent->known_revision == revision)
		know(agent, NULL, 0);
}

void driver_keep_known(struct agent *agent)
{
	if (agent->known_revision)
		installed_keep(state_directory(), agent->options.table, kernel_known(agent->kernel));
}

/* The first look may find what an agent before this one, or apply, has left. */
static int recall(struct agent *agent)
{
	if (agent->recalled)
		return 0;
	agent->recalled = talloc_new(agent);
	return agent->recalled ? installed_tell(agent->recalled, agent->kernel, agent->options.table) : -ENOMEM;
}

static bool is_base(const struct chain *chain)
{
	return chain->hook != HOOK_NONE;
}

static size_t base_chains(const struct ruleset *ruleset)
{
	size_t count = 0;
	for (size_t i = 0; i < ruleset->chain_count; i++)
		count += is_base(&ruleset->chains[i]);
	return count;
}

/* Nothing is wanted: the table goes. */
static int removal(void *ctx, const struct ruleset *observed, const char *table, struct changes **out)
{
	static const struct change delete = {.kind = CHANGE_TABLE_DELETE};
	*out = talloc_zero(ctx, struct changes);
	if (!*out)
		return -ENOMEM;
	**out = (struct changes){.table = table, .at = &delete, .count = observed->exists};
	return 0;
}

/*
 * A base chain in our table that is not ours, before anything of ours has been in force, makes it somebody else's table.
 * Afterwards it is ours whatever others make of it, and the chain goes like all that they add.
 */
static const char *stranger(struct ruleset *observed, bool ours)
{
	observed->ours = ours;
	for (size_t i = 0; i < observed->chain_count; i++)
		if (observed->chains[i].foreign && !ours)
			return observed->chains[i].name;
	return NULL;
}

static int compare(struct agent *agent, struct ruleset *observed, const struct ruleset *wanted)
{
	const char *problem = NULL, *chain = stranger(observed, agent->state.in_force != 0);
	if (chain) {
		log_line(agent->log, LOG_TROUBLE, LEVEL_ERROR,
			"the kernel has a table inet %s whose chain %s is not portpolicy's; it is left alone",
			agent->options.table, chain);
		return -EPERM;
	}
	if (!wanted)
		return removal(agent->hand, observed, agent->options.table, &agent->changes);
	int status = ruleset_difference(agent->hand, observed, wanted, &agent->changes, &problem);
	if (status == 1)
		log_line(agent->log, LOG_TROUBLE, LEVEL_ERROR, "%s", problem);
	return status == 1 ? -EPERM : status;
}

static void note_observation(const struct agent *agent, const struct ruleset *observed, struct reconcile_event *answer)
{
	answer->drift = changes_drift(agent->changes);
	answer->digest = answer->drift == DRIFT_MEMBERS ? changes_digest(agent->changes) : 0;
	answer->fresh = !observed->exists || !base_chains(observed);
	answer->adoptable = observed->exists && observed->persist && !observed->owner;
	answer->owned = observed->owner && observed->owner == kernel_port(agent->kernel);
}

static int dump(struct agent *agent, struct ruleset **observed, struct reconcile_event *answer)
{
	int status = -EAGAIN;
	for (unsigned i = 0; i < DUMPS_AT_ONCE && status == -EAGAIN; i++)
		status = kernel_dump_once(
			agent->hand, agent->kernel, agent->options.table, observed, &answer->generation, &answer->after);
	return status;
}

static void perform_observe(struct agent *agent, uint32_t revision, struct reconcile_event *answer)
{
	struct ruleset *observed;
	*answer = (struct reconcile_event){.kind = EVENT_OBSERVED, .revision = revision};
	talloc_free(agent->hand);
	agent->changes = NULL;
	agent->hand_revision = revision;
	agent->hand = talloc_new(agent);
	int status = agent->hand ? recall(agent) : -ENOMEM;
	if (!status)
		status = dump(agent, &observed, answer);
	if (status >= 0)
		status = compare(agent, observed, ruleset_of(agent, revision));
	if (!status) {
		note_observation(agent, observed, answer);
		know_observed(agent, answer);
	} else
		*answer = (struct reconcile_event){.kind = EVENT_UNREADABLE, .error = -status};
}

/* The outcomes of kernel_commit and kernel_install. */
static void judge(struct agent *agent, int status, const struct refusal *refusal, struct reconcile_event *answer)
{
	*answer = (struct reconcile_event){.revision = agent->hand_revision, .error = status < 0 ? -status : refusal->error};
	if (!status)
		answer->kind = EVENT_COMMITTED;
	else if (status == 2)
		answer->kind = EVENT_MOVED;
	else if (status == -ETIMEDOUT || status == -ENOBUFS)
		answer->kind = EVENT_UNKNOWN;
	else
		answer->kind = EVENT_REFUSED;
	answer->doubtful = status == 1 && (refusal->error == ENOENT || refusal->error == EEXIST || refusal->error == EBUSY);
}

static const struct span *refused_place(const struct refusal *refusal)
{
	const struct change *change = refusal->change;
	const struct span *origin = change && change->rule ? change->rule->origin : NULL;
	if (!origin && change && change->set)
		origin = change->set->origin;
	return origin && origin->source ? origin : NULL;
}

static void tell_refusal(struct agent *agent, const struct refusal *refusal)
{
	const struct span *origin = refused_place(refusal);
	if (origin)
		log_line(agent->log, LOG_TROUBLE, LEVEL_ERROR, "%s:%u: the kernel refused this: %s", origin->source->name,
			span_position(*origin).line, strerror(refusal->error));
}

static void perform_commit(struct agent *agent, uint32_t generation, struct reconcile_event *answer)
{
	struct refusal refusal = {0};
	int status = kernel_commit(agent->kernel, agent->changes, generation, &refusal);
	changes_in_words(agent->changes, agent->work, sizeof agent->work);
	judge(agent, status, &refusal, answer);
	if (!status)
		know_committed(agent);
	else if (answer->doubtful)
		know(agent, NULL, 0);
	if (answer->kind == EVENT_REFUSED)
		tell_refusal(agent, &refusal);
}

static void perform_first(struct agent *agent, uint32_t revision, struct reconcile_event *answer)
{
	struct changes *applied;
	struct refusal refusal = {0};
	const char *problem = NULL;
	const struct ruleset *wanted = ruleset_of(agent, revision);
	void *scratch = talloc_new(agent);
	int status = scratch && wanted
			     ? kernel_install(scratch, agent->kernel, agent->options.table, wanted, &applied, &refusal, &problem)
			     : -ENOMEM;
	if (status == 3) {
		log_line(agent->log, LOG_TROUBLE, LEVEL_ERROR, "%s",
			problem ? problem : "a table of this name belongs to somebody else");
		status = -EPERM;
	}
	agent->hand_revision = revision;
	judge(agent, status, &refusal, answer);
	if (!status)
		know_committed(agent);
	if (answer->kind == EVENT_REFUSED)
		tell_refusal(agent, &refusal);
	talloc_free(scratch);
}

static void perform_look(struct agent *agent, struct reconcile_event *answer)
{
	struct table_state table;
	*answer = (struct reconcile_event){.kind = EVENT_LOOKED};
	int status = kernel_look(agent->kernel, agent->options.table, &table);
	answer->generation = table.generation;
	answer->intact = table.exists && !table.dormant && (!agent->state.owned || table.owner == kernel_port(agent->kernel));
	if (status)
		*answer = (struct reconcile_event){.kind = EVENT_UNREADABLE, .error = -status};
}

/* A table is owned by a socket, and given back by closing it: the table persists. */
static int perform_release(struct agent *agent)
{
	struct kernel *fresh;
	int status = kernel_open(agent, &fresh);
	if (status)
		return status;
	kernel_make_persistent(fresh, agent->options.own);
	kernel_know(fresh, kernel_known(agent->kernel));
	talloc_free(agent->kernel);
	agent->kernel = fresh;
	return 0;
}

int driver_perform(struct agent *agent, const struct reconcile_action *action, struct reconcile_event *answer, bool *asked)
{
	*asked = true;
	switch (action->kind) {
	case ACTION_OBSERVE:
		perform_observe(agent, action->revision, answer);
		return 0;
	case ACTION_COMMIT:
		perform_commit(agent, action->generation, answer);
		return 0;
	case ACTION_FIRST:
		perform_first(agent, action->revision, answer);
		return 0;
	case ACTION_OWN:
		recall(agent); /* before a commit of ours makes it one generation older */
		*answer =
			(struct reconcile_event){.kind = EVENT_OWNING, .error = kernel_own(agent->kernel, agent->options.table)};
		return 0;
	case ACTION_LOOK:
		perform_look(agent, answer);
		return 0;
	case ACTION_RELEASE:
		*asked = false;
		return perform_release(agent);
	case ACTION_REPORT:
		break;
	}
	*asked = false;
	return 0;
}

static void tell_supervisor(struct agent *agent)
{
	if (!agent->ready)
		supervisor_tell("READY=1\nSTATUS=the policy is in force");
	agent->ready = true;
}

static void tell_repair(struct agent *agent)
{
	struct agent_incident *incident = &agent->incident;
	incident->at = loop_now();
	incident->wall = (int64_t)time(NULL);
	incident->port = agent->author.port;
	incident->process = agent->author.process;
	memcpy(incident->program, agent->author.program, sizeof incident->program);
	memcpy(incident->put_back, agent->work, sizeof incident->put_back);
	if (agent->author.port)
		log_line(agent->log, LOG_REPAIR, LEVEL_WARNING,
			"%s (process %u, port %u) changed the table inet %s; put back: %s",
			*agent->author.program ? agent->author.program : "a program", agent->author.process, agent->author.port,
			agent->options.table, agent->work);
	else
		log_line(agent->log, LOG_REPAIR, LEVEL_WARNING,
			"the table inet %s was changed, nobody knows by whom; put back: %s", agent->options.table, agent->work);
	agent->author = (struct kernel_event){0};
}

static const char *name_of(const struct agent *agent, uint32_t revision)
{
	const struct agent_policy *policy = agent_policy(agent, revision);
	return policy ? policy->name : "nothing";
}

void driver_report(struct agent *agent, const struct reconcile_action *action)
{
	struct log *log = agent->log;
	const char *name = name_of(agent, action->revision), *table = agent->options.table;
	switch (action->report) {
	case REPORT_IN_FORCE:
		log_line(log, LOG_STATE, LEVEL_NOTICE, "in force: %s (revision %u)", name, action->revision);
		agent->author = (struct kernel_event){0};
		tell_supervisor(agent);
		break;
	case REPORT_REPAIRED:
		tell_repair(agent);
		break;
	case REPORT_CONTENDED:
		log_line(log, LOG_STATE, LEVEL_ERROR,
			"%s (process %u) undoes the rules of inet %s again and again: they are put back up to four times a "
			"second from "
			"now on; find out what runs there, or ask for quiet with `portpolicy hold`",
			*agent->author.program ? agent->author.program : "a program", agent->author.process, table);
		break;
	case REPORT_REFUSED:
		log_line(log, LOG_STATE, LEVEL_ERROR, "the kernel refused %s: %s; what was in force stays", name,
			strerror(action->error));
		break;
	case REPORT_FAILED:
		log_line(log, LOG_STATE, LEVEL_ERROR, "the rules of inet %s cannot be put in force now: %s; trying again", table,
			strerror(action->error));
		break;
	case REPORT_OTHER_OWNER:
		log_line(log, LOG_STATE, LEVEL_ERROR, "the table inet %s belongs to another program; trying again", table);
		break;
	case REPORT_RECOVERED:
		log_line(log, LOG_STATE, LEVEL_NOTICE, "the rules of inet %s are in force again", table);
		break;
	case REPORT_OWNED:
		log_line(log, LOG_STATE, LEVEL_INFO, "the table inet %s is owned: nobody else can change it", table);
		break;
	case REPORT_SHARED:
		log_line(log, LOG_STATE, LEVEL_INFO,
			"the table inet %s cannot be owned here (Linux 6.9, and a table that portpolicy made there): changes are "
			"put back "
			"as they are seen",
			table);
		break;
	case REPORT_HELD:
		log_line(log, LOG_STATE, LEVEL_WARNING, "held: nothing is repaired for %llu s",
			(unsigned long long)((agent->state.held_until - loop_now() + 999) / 1000));
		break;
	case REPORT_RESUMED:
		log_line(log, LOG_STATE, LEVEL_NOTICE, "the hold is over");
		break;
	case REPORT_CONFIRMED:
		log_line(log, LOG_STATE, LEVEL_NOTICE, "confirmed: %s stays", name);
		break;
	case REPORT_ROLLED_BACK:
		log_line(log, LOG_STATE, LEVEL_WARNING, "not confirmed: back to %s", name);
		break;
	}
}
