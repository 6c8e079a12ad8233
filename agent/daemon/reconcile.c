/*
 * The state machine of reconciling (reconcile.h).
 *
 * What decides its shape (measured):
 * - A commit is bound to the generation its difference was taken at. The generation covers everybody's tables, so with a busy
 * neighbour it never fits; but every commit is told, with the tables it touched. While nobody has touched our table the
 * difference stays right, and is sent again with the new generation, and after a few tries without one.
 * - Success is an acknowledgement and a read-back that shows no difference. Silence is "unknown", and is settled by reading back.
 * - A dump of a set can be wrong while the set changes: where it is all that differs, two dumps have to agree.
 * - Nothing is retried without end at full speed: repairs have a budget, failures a pause that doubles, and both a bound, so that
 * the kernel is in sync again soon after whatever was the matter has ended.
 */
#include "agent/daemon/reconcile.h"
#include <errno.h>
#include <stddef.h>

#define TRIES_BOUND 5 /* commits that were bound to a generation that had passed: then one without */
#define DOUBTS_MAX 5  /* dumps that contradicted events or each other: then the last is taken as it is */
#define REFUSALS_BELIEVED 3

static struct reconcile_action *act(struct reconcile_actions *actions, enum reconcile_action_kind kind)
{
	struct reconcile_action *action = &actions->at[actions->count++];
	*action = (struct reconcile_action){.kind = kind};
	return action;
}

static void report(struct reconcile_actions *actions, enum report what, uint32_t revision, int error)
{
	struct reconcile_action *action = act(actions, ACTION_REPORT);
	action->report = what;
	action->revision = revision;
	action->error = error;
}

/* Generations wrap; 0 is none. */
static bool newer(uint32_t a, uint32_t b)
{
	return a && (!b || (int32_t)(a - b) > 0);
}

static uint32_t following(uint32_t generation)
{
	return generation + 1 ? generation + 1 : 1;
}

static bool held(const struct reconcile *state, uint64_t now)
{
	return state->held_until && now < state->held_until;
}

static bool at_rest(const struct reconcile *state)
{
	return state->phase == PHASE_IDLE || state->phase == PHASE_SYNCED || state->phase == PHASE_WAITING ||
	       state->phase == PHASE_HELD;
}

static void fill_budget(struct reconcile *state, uint64_t now)
{
	state->budget += (int64_t)(now - state->filled);
	if (state->budget > RECONCILE_BUDGET_MS)
		state->budget = RECONCILE_BUDGET_MS;
	state->filled = now;
}

static void pay(struct reconcile *state, uint64_t now)
{
	int64_t cost = (int64_t)(now - state->began) * 5;
	fill_budget(state, now);
	state->budget -= cost < RECONCILE_REPAIR_COST_MS ? RECONCILE_REPAIR_COST_MS : cost;
	if (state->budget < -RECONCILE_DEBT_MS)
		state->budget = -RECONCILE_DEBT_MS;
}

/* Looks at the kernel, unless nothing is to be looked for or the operator wants quiet. */
static void observe(struct reconcile *state, uint64_t now, struct reconcile_actions *actions)
{
	if (held(state, now)) {
		state->phase = PHASE_HELD;
	} else if (!state->wanted && !state->in_force) {
		state->phase = PHASE_IDLE;
	} else {
		state->phase = PHASE_OBSERVING;
		state->lost = false;
		act(actions, ACTION_OBSERVE)->revision = state->wanted;
	}
}

static void begin(struct reconcile *state, uint64_t now, struct reconcile_actions *actions)
{
	state->began = now;
	state->doubts = 0;
	state->suspected = 0;
	observe(state, now, actions);
}

static void wait_until(struct reconcile *state, uint64_t when)
{
	state->phase = PHASE_WAITING;
	state->wake = when;
}

/* Something outside stands in the way. */
static void pause_after(struct reconcile *state, uint64_t now, enum report what, int error, struct reconcile_actions *actions)
{
	if (!state->unsaid)
		report(actions, what, state->wanted, error);
	state->unsaid = true;
	state->pause = state->pause ? state->pause * 2 : RECONCILE_PAUSE_FIRST_MS;
	if (state->pause > RECONCILE_PAUSE_LAST_MS)
		state->pause = RECONCILE_PAUSE_LAST_MS;
	state->moved = state->doubts = state->refusals = 0;
	wait_until(state, now + state->pause);
}

static void tell_success(struct reconcile *state, uint64_t now, struct reconcile_actions *actions)
{
	if (state->in_force != state->wanted) {
		state->in_force = state->wanted;
		report(actions, REPORT_IN_FORCE, state->wanted, 0);
	} else if (state->committed) {
		state->repairs++;
		state->repaired_at = now;
		report(actions, REPORT_REPAIRED, state->wanted, 0);
	}
	fill_budget(state, now);
	if (state->unsaid && state->budget >= RECONCILE_BUDGET_MS / 2) {
		state->unsaid = false;
		report(actions, REPORT_RECOVERED, state->wanted, 0);
	}
}

static void tell_sharing(struct reconcile *state, struct reconcile_actions *actions)
{
	if (state->own && !state->owned && !state->told_shared && state->wanted)
		report(actions, REPORT_SHARED, state->wanted, 0);
	state->told_shared = state->own && !state->owned;
}

static void in_sync(struct reconcile *state, uint64_t now, struct reconcile_actions *actions)
{
	tell_success(state, now, actions);
	tell_sharing(state, actions);
	state->committed = state->returning = false;
	state->suspected = 0;
	state->moved = state->doubts = state->refusals = 0;
	state->pause = 0;
	state->phase = state->wanted ? PHASE_SYNCED : PHASE_IDLE;
	state->wake = now + RECONCILE_LOOK_MS;
}

static void commit(struct reconcile *state, struct reconcile_actions *actions)
{
	state->phase = PHASE_COMMITTING;
	act(actions, ACTION_COMMIT)->generation = state->moved < TRIES_BOUND ? state->seen : 0;
}

/* The difference is real: is there a reason to wait with putting it right? */
static void put_right(struct reconcile *state, const struct reconcile_event *event, struct reconcile_actions *actions)
{
	fill_budget(state, event->now);
	if (state->budget > 0) {
		pay(state, event->now);
		if (event->fresh && state->wanted && !state->in_force) {
			state->phase = PHASE_COMMITTING;
			act(actions, ACTION_FIRST)->revision = state->wanted;
		} else {
			commit(state, actions);
		}
		return;
	}
	if (!state->unsaid)
		report(actions, REPORT_CONTENDED, state->wanted, 0);
	state->unsaid = true;
	wait_until(state, event->now + (uint64_t)-state->budget + 1);
}

static bool stale(const struct reconcile *state)
{
	return state->lost || state->unheard || newer(state->touched, state->observed);
}

/* A dump within one generation holds all that was committed up to it; one that ran into others' commits is right if these left
 * our table alone, and that is known when they were told. */
static void note_observation(struct reconcile *state, const struct reconcile_event *event)
{
	state->observed = event->generation;
	if (newer(event->after, state->seen))
		state->seen = event->after;
	if (event->after == event->generation && (!state->told || newer(event->after, state->told)))
		state->told = event->after;
	state->unheard = event->after != event->generation && (!state->told || newer(event->after, state->told));
}

static void on_observed(struct reconcile *state, const struct reconcile_event *event, struct reconcile_actions *actions)
{
	bool doubt;
	note_observation(state, event);
	if (event->revision != state->wanted || held(state, event->now)) {
		observe(state, event->now, actions);
		return;
	}
	state->owned = event->owned;
	if (event->adoptable && state->own && !state->own_refused && state->wanted) {
		state->phase = PHASE_OWNING;
		act(actions, ACTION_OWN);
		return;
	}
	doubt = stale(state) ||
		(event->drift == DRIFT_MEMBERS && state->in_force == state->wanted && event->digest != state->suspected);
	state->suspected = event->digest;
	if (doubt && state->doubts++ < DOUBTS_MAX) {
		observe(state, event->now, actions);
	} else if (event->drift != DRIFT_NONE) {
		put_right(state, event, actions);
	} else if (stale(state)) { /* somebody is at the table without pause: this dump says nothing about now */
		fill_budget(state, event->now);
		pay(state, event->now);
		state->doubts = 0;
		if (!state->unsaid)
			report(actions, REPORT_CONTENDED, state->wanted, 0);
		state->unsaid = true;
		wait_until(state, event->now + RECONCILE_REPAIR_COST_MS);
	} else {
		in_sync(state, event->now, actions);
	}
}

static void on_moved(struct reconcile *state, const struct reconcile_event *event, struct reconcile_actions *actions)
{
	state->moved++;
	if (newer(event->generation, state->seen))
		state->seen = event->generation;
	if (stale(state) || event->revision != state->wanted || held(state, event->now))
		observe(state, event->now, actions);
	else
		commit(state, actions);
}

static void on_refused(struct reconcile *state, const struct reconcile_event *event, struct reconcile_actions *actions)
{
	if (event->doubtful && ++state->refusals < REFUSALS_BELIEVED) {
		observe(state, event->now, actions);
	} else if (event->revision == state->wanted && state->wanted != state->in_force && state->in_force && !state->returning) {
		report(actions, REPORT_REFUSED, state->wanted, event->error);
		state->wanted = state->in_force;
		state->confirming = false;
		state->refusals = state->moved = state->doubts = 0;
		observe(state, event->now, actions);
	} else {
		pause_after(state, event->now, event->error == EPERM ? REPORT_OTHER_OWNER : REPORT_FAILED, event->error, actions);
	}
}

static void on_unknown(struct reconcile *state, const struct reconcile_event *event, struct reconcile_actions *actions)
{
	state->committed = true; /* perhaps; the read-back tells */
	state->moved = state->doubts = 0;
	state->suspected = 0;
	if (++state->refusals < REFUSALS_BELIEVED)
		observe(state, event->now, actions);
	else
		pause_after(state, event->now, REPORT_FAILED, event->error, actions);
}

static void release(struct reconcile *state, struct reconcile_actions *actions)
{
	if (state->own)
		act(actions, ACTION_RELEASE);
	state->owned = false;
}

static void on_owning(struct reconcile *state, const struct reconcile_event *event, struct reconcile_actions *actions)
{
	if (event->error < 0) {
		pause_after(
			state, event->now, event->error == -EPERM ? REPORT_OTHER_OWNER : REPORT_FAILED, -event->error, actions);
		return;
	}
	state->owned = !event->error;
	state->own_refused = event->error;
	if (held(state, event->now))
		release(state, actions);
	else if (state->owned)
		report(actions, REPORT_OWNED, state->wanted, 0);
	observe(state, event->now, actions);
}

static void on_seen(struct reconcile *state, const struct reconcile_event *event, struct reconcile_actions *actions)
{
	bool gap = state->told && newer(event->generation, state->told) && event->generation != following(state->told);
	if (newer(event->generation, state->seen))
		state->seen = event->generation;
	if (state->told && newer(event->generation, state->told))
		state->told = event->generation;
	if (state->told && !newer(state->seen, state->told))
		state->unheard = false;
	if (!gap && (event->mine || !event->touched))
		return;
	if (newer(event->generation, state->touched))
		state->touched = event->generation;
	if (state->phase == PHASE_SYNCED && stale(state))
		begin(state, event->now, actions);
}

static void on_wanted(struct reconcile *state, const struct reconcile_event *event, struct reconcile_actions *actions)
{
	if (event->confirm_ms && !state->confirming)
		state->previous = state->wanted;
	state->confirming = event->confirm_ms != 0;
	state->confirm_by = event->now + event->confirm_ms;
	state->wanted = event->revision;
	state->returning = false;
	state->moved = state->doubts = state->refusals = 0;
	state->pause = 0;
	fill_budget(state, event->now);
	if (state->budget <= 0)
		state->budget = 1; /* what was asked for is not made to wait for others' quarrels */
	if (at_rest(state))
		begin(state, event->now, actions);
}

static void resume(struct reconcile *state, uint64_t now, struct reconcile_actions *actions)
{
	if (!state->held_until)
		return;
	state->held_until = 0;
	state->own_refused = false;
	report(actions, REPORT_RESUMED, state->wanted, 0);
	if (at_rest(state))
		begin(state, now, actions);
}

static void hold(struct reconcile *state, const struct reconcile_event *event, struct reconcile_actions *actions)
{
	state->held_until = event->now + event->hold_ms;
	release(state, actions);
	report(actions, REPORT_HELD, state->wanted, 0);
	if (at_rest(state))
		state->phase = PHASE_HELD;
}

/* Stronger than a hold: it is what brings back an administrator who has locked himself out. */
static void roll_back(struct reconcile *state, uint64_t now, struct reconcile_actions *actions)
{
	if (!state->confirming)
		return;
	state->confirming = false;
	state->returning = true;
	state->wanted = state->previous;
	state->held_until = 0;
	state->moved = state->doubts = state->refusals = 0;
	state->pause = 0;
	if (state->budget <= 0)
		state->budget = 1;
	report(actions, REPORT_ROLLED_BACK, state->wanted, 0);
	if (at_rest(state))
		begin(state, now, actions);
}

static void on_time(struct reconcile *state, uint64_t now, struct reconcile_actions *actions)
{
	if (state->confirming && now >= state->confirm_by)
		roll_back(state, now, actions);
	else if (state->held_until && now >= state->held_until)
		resume(state, now, actions);
	else if (state->phase == PHASE_WAITING && now >= state->wake)
		begin(state, now, actions);
	else if (state->phase == PHASE_SYNCED && now >= state->wake) {
		state->phase = PHASE_LOOKING;
		act(actions, ACTION_LOOK);
	}
}

static void on_looked(struct reconcile *state, const struct reconcile_event *event, struct reconcile_actions *actions)
{
	if (event->intact && event->generation == state->told && state->wanted == state->in_force && !stale(state) &&
		!held(state, event->now)) {
		state->phase = PHASE_SYNCED;
		state->wake = event->now + RECONCILE_LOOK_MS;
		if (state->unsaid)
			in_sync(state, event->now, actions);
		return;
	}
	state->owned &= event->intact;
	begin(state, event->now, actions);
}

/* Answers that nobody waits for are of a question that a stop has overtaken. */
static bool expected(const struct reconcile *state, enum reconcile_event_kind kind)
{
	switch (kind) {
	case EVENT_OBSERVED:
		return state->phase == PHASE_OBSERVING;
	case EVENT_UNREADABLE:
		return state->phase == PHASE_OBSERVING || state->phase == PHASE_LOOKING;
	case EVENT_COMMITTED:
	case EVENT_MOVED:
	case EVENT_REFUSED:
	case EVENT_UNKNOWN:
		return state->phase == PHASE_COMMITTING;
	case EVENT_OWNING:
		return state->phase == PHASE_OWNING;
	case EVENT_LOOKED:
		return state->phase == PHASE_LOOKING;
	case EVENT_WANTED:
	case EVENT_SEEN:
	case EVENT_LOST:
	case EVENT_TIME:
	case EVENT_HOLD:
	case EVENT_RESUME:
	case EVENT_CONFIRM:
	case EVENT_ROLLBACK:
	case EVENT_STOP:
		break;
	}
	return state->phase != PHASE_STOPPED;
}

static void on_event(struct reconcile *state, const struct reconcile_event *event, struct reconcile_actions *actions)
{
	switch (event->kind) {
	case EVENT_WANTED:
		on_wanted(state, event, actions);
		break;
	case EVENT_OBSERVED:
		on_observed(state, event, actions);
		break;
	case EVENT_UNREADABLE:
		pause_after(state, event->now, event->error == EPERM ? REPORT_OTHER_OWNER : REPORT_FAILED, event->error, actions);
		break;
	case EVENT_COMMITTED:
		state->committed = true;
		state->moved = state->doubts = 0;
		state->suspected = 0;
		observe(state, event->now, actions);
		break;
	case EVENT_MOVED:
		on_moved(state, event, actions);
		break;
	case EVENT_REFUSED:
		on_refused(state, event, actions);
		break;
	case EVENT_UNKNOWN:
		on_unknown(state, event, actions);
		break;
	case EVENT_OWNING:
		on_owning(state, event, actions);
		break;
	case EVENT_LOOKED:
		on_looked(state, event, actions);
		break;
	case EVENT_SEEN:
		on_seen(state, event, actions);
		break;
	case EVENT_LOST:
		state->lost = true;
		state->told = 0;
		if (state->phase == PHASE_SYNCED)
			begin(state, event->now, actions);
		break;
	case EVENT_TIME:
		on_time(state, event->now, actions);
		break;
	case EVENT_HOLD:
		hold(state, event, actions);
		break;
	case EVENT_RESUME:
		resume(state, event->now, actions);
		break;
	case EVENT_CONFIRM:
		if (state->confirming)
			report(actions, REPORT_CONFIRMED, state->wanted, 0);
		state->confirming = false;
		break;
	case EVENT_ROLLBACK:
		roll_back(state, event->now, actions);
		break;
	case EVENT_STOP:
		state->phase = PHASE_STOPPED;
		break;
	}
}

struct reconcile reconcile_start(bool own, uint64_t now)
{
	return (struct reconcile){.phase = PHASE_IDLE, .own = own, .budget = RECONCILE_BUDGET_MS, .filled = now};
}

struct reconcile reconcile_step(struct reconcile state, const struct reconcile_event *event, struct reconcile_actions *actions)
{
	actions->count = 0;
	if (expected(&state, event->kind))
		on_event(&state, event, actions);
	return state;
}

static uint64_t sooner(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

uint64_t reconcile_deadline(const struct reconcile *state)
{
	uint64_t when = UINT64_MAX;
	if (state->phase == PHASE_STOPPED)
		return when;
	if (state->confirming)
		when = sooner(when, state->confirm_by);
	if (state->held_until)
		when = sooner(when, state->held_until);
	if (state->phase == PHASE_WAITING || state->phase == PHASE_SYNCED)
		when = sooner(when, state->wake);
	return when;
}
