/*
 * The agent's state machine against a fake kernel and a virtual clock.
 *
 * A seed decides everything: which commits fail and which answers are lost, what others flush, edit, add and delete and when
 * (also in the middle of a dump, and between dump and commit), which events are lost, when a dump is wrong, when the process
 * dies, what the operator asks for.  The kernel's table is a handful of sets of packets, so what it enforces can be said at every
 * moment:
 *
 * - No commit of ours lets anything through that was not let through before it and that neither the policy that was in force nor
 * the one that is wanted allows.
 * - "In force" and "repaired" are said only of a table that a dump has shown to be what is wanted.
 * - There is no busy loop: questions to the kernel are bounded, for each event and for each span of time.
 * - When the faults stop, the table is what is wanted, and the machine knows it, within the promised time.
 *
 *   reconcile [--seeds N] [--steps N] [--first SEED] [--verbose]
 */
#include "agent/daemon/reconcile.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RULES 0x0000ffffu   /* packets that rules let through */
#define MEMBERS 0xffff0000u /* packets that a set lets through */
#define EVERYTHING 0xffffffffu
#define POLICIES 4096
#define QUEUE 64
#define QUESTIONS_MAX 250      /* for one event from outside, with others at the table between every two of them */
#define PROMISE_MS 32000       /* look at the kernel, plus what the last round takes */
#define PROMISE_HEARD_MS 12000 /* where no event was lost without a word: the longest pause */
#define WINDOW_MS 10000

struct table {
	bool exists, dormant, persist;
	uint32_t owner; /* port */
	bool hooked;	/* the base chain */
	bool drop;	/* its verdict of last resort */
	uint32_t rules, members;
};

/* What was observed, and what is to be done about it: an absolute content for rules, differences for members. */
struct difference {
	bool make, wake, hook, drop, refill;
	uint32_t rules, add, delete;
	bool remove;
};

struct happening {
	uint32_t generation, port;
	bool touched;
};

enum fault {
	FAULT_REFUSE,
	FAULT_LOSE_ANSWER,
	FAULT_FOREIGN,
	FAULT_OTHER_TABLE,
	FAULT_TORN_DUMP,
	FAULT_WRONG_DUMP,
	FAULT_UNREADABLE,
	FAULT_OVERFLOW,
	FAULT_SILENT_LOSS,
	FAULT_LATE,
	FAULT_INTERRUPT,
	FAULT_DEATH,
	FAULTS
};

struct world {
	uint64_t random, now, seed;
	unsigned chance[FAULTS];			      /* of 1000 */
	bool vanished;					      /* without a word, and only a look tells */
	bool faults, can_own, own, silent, stubborn, verbose; /* stubborn: a kernel that does not take an owner after all */
	struct table table;
	uint32_t generation, port;
	struct happening queue[QUEUE];
	unsigned queued;
	bool overflowed;
	struct reconcile machine;
	bool alive;
	uint32_t policies[POLICIES]; /* packets that each revision allows */
	uint32_t revisions, file;    /* given out; the content of the agent's own policy */
	/* What the operator means, kept apart from the machine. */
	uint32_t intent, intent_before, going_back;
	bool confirming, refused_one;
	uint64_t confirm_by;
	uint32_t old; /* packets of the policy that was last wholly in force */
	struct difference hand;
	struct table shown; /* the truth at the last dump */
	bool hand_fresh;
	unsigned wrong, dumps,
		moved;	 /* dumps in a row that were wrong; since the last commit; commits in a row that came too late */
	uint64_t outage; /* until then the kernel has no memory */
	unsigned long long steps, questions, commits, repairs, deaths, leaks_checked;
	uint64_t window, window_questions, window_commits,
		asked_for; /* since when; how many; what the operator and deaths gave rise to */
	uint64_t slow;
	jmp_buf failed;
	char why[256];
};

static uint64_t next(struct world *world)
{
	world->random ^= world->random << 13;
	world->random ^= world->random >> 7;
	world->random ^= world->random << 17;
	return world->random;
}

static bool chance(struct world *world, unsigned of1000)
{
	return next(world) % 1000 < of1000;
}

static bool fault(struct world *world, enum fault what)
{
	return world->faults && chance(world, world->chance[what]);
}

static void fail(struct world *world, const char *format, ...) __attribute__((format(printf, 2, 3), noreturn));
static void fail(struct world *world, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(world->why, sizeof world->why, format, arguments);
	va_end(arguments);
	longjmp(world->failed, 1);
}

static void say(struct world *world, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(struct world *world, const char *format, ...)
{
	va_list arguments;
	if (!world->verbose)
		return;
	printf("%8llu ", (unsigned long long)world->now);
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	putchar('\n');
}

/* ---- the fake kernel ---- */

static uint32_t enforced(const struct table *table)
{
	if (!table->exists || table->dormant || !table->hooked || !table->drop)
		return EVERYTHING;
	return table->rules | table->members;
}

static struct table table_of(const struct world *world, uint32_t revision)
{
	uint32_t allowed = world->policies[revision % POLICIES];
	if (!revision)
		return (struct table){0};
	return (struct table){
		.exists = true, .hooked = true, .drop = true, .rules = allowed & RULES, .members = allowed & MEMBERS};
}

static bool same(const struct table *a, const struct table *b)
{
	return a->exists == b->exists &&
	       (!a->exists || (a->dormant == b->dormant && a->hooked == b->hooked && a->drop == b->drop && a->rules == b->rules &&
				      a->members == b->members));
}

static void happen(struct world *world, uint32_t port, bool touched)
{
	world->generation = world->generation + 1 ? world->generation + 1 : 1;
	if (world->faults && chance(world, world->chance[FAULT_SILENT_LOSS]) && world->silent)
		return;
	if (world->queued == QUEUE || fault(world, FAULT_OVERFLOW)) {
		world->overflowed = true; /* what was queued before can still be read */
		return;
	}
	if (!world->overflowed || world->queued)
		world->queue[world->queued++] = (struct happening){world->generation, port, touched};
}

static uint32_t some_rules(struct world *world)
{
	return (uint32_t)next(world) & (uint32_t)next(world);
}

static void edit(struct world *world)
{
	struct table *table = &world->table;
	if (!table->exists)
		return;
	switch (next(world) % 8) {
	case 0:
		table->hooked = false, table->drop = false, table->rules = 0;
		break;
	case 1:
		table->drop = false;
		break;
	case 2:
		table->rules = 0;
		break;
	case 3:
		table->rules |= some_rules(world) & RULES;
		break;
	case 4:
		table->members &= some_rules(world);
		break;
	case 5:
		table->members |= some_rules(world) & MEMBERS;
		break;
	case 6:
		table->dormant = !table->dormant;
		break;
	case 7:
		*table = (struct table){0};
		break;
	}
}

static void others_commit(struct world *world)
{
	if (fault(world, FAULT_OTHER_TABLE))
		happen(world, 77, false);
	if (!fault(world, FAULT_FOREIGN))
		return;
	if (world->silent && chance(world, 20) &&
		!world->table.owner) { /* as a table goes whose owner has ended: without a word */
		world->table = (struct table){0};
		world->vanished = true;
		return;
	}
	if (world->table.owner) /* EPERM; a flush passes it by */
		return;
	edit(world);
	say(world, "others: %08x", enforced(&world->table));
	happen(world, 77, true);
}

static struct difference differ(const struct table *seen, const struct table *wanted)
{
	struct difference out = {0};
	struct table old = seen->exists ? *seen : (struct table){0};
	if (!wanted->exists) {
		out.remove = seen->exists;
		return out;
	}
	out.make = !seen->exists;
	out.wake = old.dormant;
	out.hook = !old.hooked;
	out.drop = !old.drop;
	out.refill = old.rules != wanted->rules;
	out.rules = wanted->rules;
	out.add = wanted->members & ~old.members;
	out.delete = old.members & ~wanted->members;
	return out;
}

static enum drift drift_of(const struct difference *difference)
{
	if (difference->make || difference->wake || difference->hook || difference->drop || difference->refill ||
		difference->remove)
		return DRIFT_RULES;
	return difference->add || difference->delete ? DRIFT_MEMBERS : DRIFT_NONE;
}

/* As nf_tables would: 0 or a positive errno, and then nothing has changed. */
static int carry_out(struct world *world, const struct difference *change)
{
	struct table next_table = world->table;
	if (next_table.owner && next_table.owner != world->port)
		return EPERM;
	if (change->make && !next_table.exists)
		next_table = (struct table){.exists = true, .persist = world->can_own && world->own};
	if (!next_table.exists)
		return ENOENT;
	if (change->remove)
		next_table = (struct table){0};
	if (change->hook)
		next_table.hooked = true;
	if (!next_table.hooked && (change->drop || change->refill))
		return ENOENT;
	next_table.drop |= change->drop;
	if (change->refill)
		next_table.rules = change->rules;
	if (change->delete &~next_table.members)
		return ENOENT;
	next_table.members = (next_table.members & ~change->delete) | change->add;
	if (change->wake)
		next_table.dormant = false;
	world->table = next_table;
	return 0;
}

/* ---- the driver ---- */

static void check_leak(struct world *world, const struct table *before, const char *what)
{
	uint32_t may = enforced(before) | world->old |
		       (world->machine.wanted ? world->policies[world->machine.wanted % POLICIES] : EVERYTHING);
	world->leaks_checked++;
	if (enforced(&world->table) & ~may)
		fail(world, "%s lets through %08x: before %08x, old %08x, wanted revision %u", what, enforced(&world->table),
			enforced(before), world->old, world->machine.wanted);
}

static bool out_of_order(struct world *world, enum fault what)
{
	return world->now < world->outage || fault(world, what);
}

static void observe(struct world *world, uint32_t revision, struct reconcile_event *answer)
{
	struct table seen, wanted = table_of(world, revision);
	*answer = (struct reconcile_event){.kind = EVENT_OBSERVED, .revision = revision, .generation = world->generation};
	world->now += next(world) % (world->slow + 1);
	others_commit(world);
	world->dumps++;
	if (out_of_order(world, FAULT_UNREADABLE)) {
		*answer = (struct reconcile_event){.kind = EVENT_UNREADABLE, .error = ENOMEM};
		return;
	}
	seen = world->shown = world->table;
	if (fault(world, FAULT_TORN_DUMP)) {
		others_commit(world);
		seen.members = world->table.members; /* read after the rules were */
	}
	world->wrong++;
	if (fault(world, FAULT_WRONG_DUMP))
		seen.members &= ~wanted.members | some_rules(world); /* gaps */
	if (same(&seen, &world->shown))
		world->wrong = 0;
	others_commit(world);
	answer->after = world->generation;
	world->hand = differ(&seen, &wanted);
	answer->drift = drift_of(&world->hand);
	answer->digest = answer->drift == DRIFT_MEMBERS ? ((uint64_t)world->hand.add << 32 | world->hand.delete) + 1 : 0;
	world->hand_fresh = answer->fresh = !seen.exists || !seen.hooked;
	answer->adoptable = seen.exists && seen.persist && !seen.owner;
	answer->owned = seen.exists && seen.owner == world->port;
	say(world, "dump: %08x drift %d, generation %u to %u", enforced(&seen), answer->drift, answer->generation, answer->after);
}

/* Was there a reason to send it, and to send it like this? */
static void check_commit(struct world *world, uint32_t generation)
{
	struct table wanted = table_of(world, world->machine.wanted);
	if (drift_of(&world->hand) == DRIFT_MEMBERS && world->wrong == 1 && world->dumps < 5 &&
		world->machine.in_force == world->machine.wanted && same(&world->shown, &wanted))
		fail(world, "one wrong dump was believed");
	if (!generation && world->moved < 5)
		fail(world, "a commit that is bound to no generation after %u that came too late", world->moved);
}

static void commit(struct world *world, uint32_t generation, struct reconcile_event *answer)
{
	struct table before;
	int error = 0;
	*answer = (struct reconcile_event){.kind = EVENT_COMMITTED, .revision = world->machine.wanted};
	world->now += next(world) % (world->slow / 4 + 1);
	others_commit(world);
	world->commits++;
	before = world->table;
	if (generation && generation != world->generation) {
		answer->kind = EVENT_MOVED;
		world->moved++;
	} else if (out_of_order(world, FAULT_REFUSE) || (error = carry_out(world, &world->hand)) != 0) {
		world->refused_one = true;
		answer->kind = EVENT_REFUSED;
		answer->error = error ? error : ENOMEM;
		answer->doubtful = error == ENOENT;
	} else {
		world->moved = world->dumps = 0;
		world->window_commits++;
		happen(world, world->port, true);
		check_leak(world, &before, "a commit");
	}
	say(world, "commit at %u: %s, now %08x", generation,
		answer->kind == EVENT_COMMITTED ? "done"
		: answer->kind == EVENT_MOVED	? "moved"
						: "refused",
		enforced(&world->table));
	if (fault(world, FAULT_LOSE_ANSWER))
		*answer = (struct reconcile_event){.kind = EVENT_UNKNOWN, .error = ETIMEDOUT, .revision = world->machine.wanted};
	others_commit(world);
}

/* As kernel_install: its own dump, an open chain first where nothing is hooked in, then the whole. */
static void first(struct world *world, uint32_t revision, struct reconcile_event *answer)
{
	struct table wanted = table_of(world, revision), before = world->table;
	if (!world->hand_fresh || world->machine.in_force)
		fail(world, "connections that slipped in would be taken for old ones");
	if (!world->table.owner && (!world->table.exists || !world->table.hooked) && !out_of_order(world, FAULT_REFUSE)) {
		bool persist = world->can_own && world->own;
		world->table = (struct table){
			.exists = true, .hooked = true, .persist = world->table.exists ? world->table.persist : persist};
		happen(world, world->port, true);
		check_leak(world, &before, "the first step");
		others_commit(world);
	}
	world->hand = differ(&world->table, &wanted);
	commit(world, 0, answer);
}

static void own(struct world *world, struct reconcile_event *answer)
{
	struct table before;
	*answer = (struct reconcile_event){.kind = EVENT_OWNING, .error = 1};
	others_commit(world);
	before = world->table;
	if (!world->own)
		fail(world, "the table is owned where it should be shared");
	if (!world->table.exists || !world->table.persist || world->stubborn)
		return;
	world->table.owner = world->port;
	world->table.dormant = false;
	happen(world, world->port, true);
	check_leak(world, &before, "owning");
	answer->error = fault(world, FAULT_LOSE_ANSWER) ? -ETIMEDOUT : 0;
}

static void new_port(struct world *world)
{
	if (world->table.owner == world->port)
		world->table.owner = 0;
	world->port++;
}

static void look(struct world *world, struct reconcile_event *answer)
{
	*answer = (struct reconcile_event){.kind = EVENT_LOOKED, .generation = world->generation};
	answer->intact =
		world->table.exists && !world->table.dormant && (!world->machine.owned || world->table.owner == world->port);
	if (out_of_order(world, FAULT_UNREADABLE))
		*answer = (struct reconcile_event){.kind = EVENT_UNREADABLE, .error = ENOMEM};
}

static void heed(struct world *world, const struct reconcile_action *action)
{
	struct table wanted = table_of(world, action->revision);
	say(world, "report %d, revision %u, error %d", action->report, action->revision, action->error);
	switch (action->report) {
	case REPORT_IN_FORCE:
	case REPORT_REPAIRED:
		if (!same(&world->shown, &wanted))
			fail(world, "revision %u is said to be in force and was not", action->revision);
		world->repairs += action->report == REPORT_REPAIRED;
		world->old = enforced(&wanted);
		break;
	case REPORT_REFUSED:
		if (!world->refused_one)
			fail(world, "revision %u was given up without a refusal", action->revision);
		if (action->revision == world->going_back)
			fail(world, "a rollback was given up");
		world->intent = world->machine.in_force;
		world->confirming = false;
		break;
	case REPORT_CONTENDED:
	case REPORT_FAILED:
	case REPORT_OTHER_OWNER:
	case REPORT_RECOVERED:
	case REPORT_OWNED:
	case REPORT_SHARED:
	case REPORT_HELD:
	case REPORT_RESUMED:
	case REPORT_CONFIRMED:
	case REPORT_ROLLED_BACK:
		break;
	}
}

static bool perform(struct world *world, const struct reconcile_action *action, struct reconcile_event *answer)
{
	switch (action->kind) {
	case ACTION_OBSERVE:
		observe(world, action->revision, answer);
		return true;
	case ACTION_COMMIT:
		check_commit(world, action->generation);
		commit(world, action->generation, answer);
		return true;
	case ACTION_FIRST:
		first(world, action->revision, answer);
		return true;
	case ACTION_OWN:
		own(world, answer);
		return true;
	case ACTION_LOOK:
		look(world, answer);
		return true;
	case ACTION_RELEASE:
		new_port(world);
		return false;
	case ACTION_REPORT:
		heed(world, action);
		return false;
	}
	return false;
}

static void count_question(struct world *world)
{
	world->questions++;
	if (world->now - world->window > WINDOW_MS) {
		world->window = world->now;
		world->window_questions = world->window_commits = world->asked_for = 0;
	}
	if (world->window_commits > 20 + 4 * WINDOW_MS / 1000 + world->asked_for + 5)
		fail(world, "a fight: %llu commits in %u ms", (unsigned long long)world->window_commits, WINDOW_MS);
	/* A repair in full takes some questions; the budget allows twenty, and four a second. */
	if (++world->window_questions > (20 + 4 * WINDOW_MS / 1000 + 2 * world->asked_for + 40) * 14)
		fail(world, "a busy loop: %llu questions in %u ms", (unsigned long long)world->window_questions, WINDOW_MS);
}

/* One machine step; true when it asked, and *event is the answer. */
static bool step(struct world *world, struct reconcile_event *event)
{
	struct reconcile_actions actions;
	bool asked = false;
	event->now = world->now;
	world->machine = reconcile_step(world->machine, event, &actions);
	world->steps++;
	for (unsigned i = 0; i < actions.count; i++) {
		if (asked)
			fail(world, "an action behind a question");
		asked = perform(world, &actions.at[i], event);
	}
	if (asked)
		count_question(world);
	return asked;
}

/* The generation can be read a moment before the commit is told. */
static bool take_happening(struct world *world, struct reconcile_event *event)
{
	if (fault(world, FAULT_LATE))
		return false;
	if (world->queued) {
		struct happening told = world->queue[0];
		memmove(world->queue, world->queue + 1, --world->queued * sizeof *world->queue);
		*event = (struct reconcile_event){.kind = EVENT_SEEN,
			.generation = told.generation,
			.touched = told.touched,
			.mine = told.port == world->port};
		return true;
	}
	if (!world->overflowed)
		return false;
	world->overflowed = false;
	*event = (struct reconcile_event){.kind = EVENT_LOST};
	return true;
}

static void interrupt(struct world *world);

static void feed(struct world *world, struct reconcile_event event)
{
	unsigned questions = 0;
	while (step(world, &event)) {
		struct reconcile_event told;
		if (++questions > QUESTIONS_MAX)
			fail(world, "%u questions for one event", questions);
		while (take_happening(world, &told))
			if (step(world, &told))
				fail(world, "a question while one was open");
		if (fault(world, FAULT_INTERRUPT))
			interrupt(world);
	}
}

static void hear(struct world *world)
{
	struct reconcile_event told;
	while (take_happening(world, &told))
		feed(world, told);
}

/* ---- the operator ---- */

static uint32_t new_revision(struct world *world, uint32_t allowed)
{
	uint32_t revision = ++world->revisions;
	world->policies[revision % POLICIES] = allowed;
	return revision;
}

static struct reconcile_event wanting(struct world *world, uint32_t revision, uint64_t confirm_ms)
{
	if (confirm_ms && !world->confirming)
		world->intent_before = world->intent;
	world->confirming = confirm_ms != 0;
	world->confirm_by = world->now + confirm_ms;
	world->intent = revision;
	world->going_back = 0;
	world->refused_one = false;
	world->asked_for += 3;
	say(world, "wanted: revision %u, %08x", revision, world->policies[revision % POLICIES]);
	return (struct reconcile_event){.kind = EVENT_WANTED, .revision = revision, .confirm_ms = confirm_ms};
}

static void come_alive(struct world *world)
{
	world->alive = true;
	world->queued = 0;
	world->overflowed = false;
	new_port(world);
	world->own ^= chance(world, 50);
	world->machine = reconcile_start(world->own, world->now);
	world->confirming = false;
	world->intent = 0;
	feed(world, wanting(world, new_revision(world, world->file), 0));
}

/* Stopped: whatever comes, nothing is done any more. */
static void check_stop(struct world *world)
{
	static const enum reconcile_event_kind any[] = {
		EVENT_STOP, EVENT_TIME, EVENT_SEEN, EVENT_LOST, EVENT_WANTED, EVENT_OBSERVED, EVENT_ROLLBACK};
	for (size_t i = 0; i < sizeof any / sizeof *any; i++) {
		struct reconcile_actions actions;
		const struct reconcile_event event = {
			.kind = any[i], .now = world->now, .touched = true, .generation = world->generation + 5};
		world->machine = reconcile_step(world->machine, &event, &actions);
		if (actions.count || reconcile_deadline(&world->machine) != UINT64_MAX)
			fail(world, "something is done after a stop");
	}
}

static void die(struct world *world)
{
	say(world, "dies");
	if (chance(world, 300))
		check_stop(world);
	world->deaths++;
	world->alive = false;
	world->asked_for += 60; /* with a full budget again */
	new_port(world);
}

static void roll_back(struct world *world)
{
	if (world->confirming)
		world->going_back = world->intent = world->intent_before;
	world->confirming = false;
}

/* In the middle of a question. */
static void interrupt(struct world *world)
{
	struct reconcile_event event = {.kind = EVENT_HOLD, .hold_ms = 1 + next(world) % 5000};
	if (chance(world, 700))
		event = wanting(world, new_revision(world, some_rules(world)), chance(world, 500) ? 1 + next(world) % 30000 : 0);
	if (step(world, &event))
		fail(world, "a question while one was open");
}

static void operate(struct world *world)
{
	switch (next(world) % 40) {
	case 0:
		world->file = (uint32_t)next(world) & (uint32_t)next(world);
		feed(world, wanting(world, new_revision(world, world->file), 0));
		break;
	case 1:
		feed(world, wanting(world, new_revision(world, some_rules(world)), 1 + next(world) % 90000));
		break;
	case 2:
		world->confirming = false;
		feed(world, (struct reconcile_event){.kind = EVENT_CONFIRM});
		break;
	case 3:
		roll_back(world);
		world->asked_for += 3;
		feed(world, (struct reconcile_event){.kind = EVENT_ROLLBACK});
		break;
	case 4:
		feed(world, (struct reconcile_event){.kind = EVENT_HOLD, .hold_ms = 1 + next(world) % 60000});
		break;
	case 5:
		feed(world, (struct reconcile_event){.kind = EVENT_RESUME});
		break;
	default:
		break;
	}
}

/* On to `until`, with every deadline on the way. */
static void let_pass(struct world *world, uint64_t until)
{
	uint64_t when;
	while (world->alive && (when = reconcile_deadline(&world->machine)) <= until) {
		if (when > world->now)
			world->now = when;
		if (world->confirming && world->now >= world->confirm_by)
			roll_back(world);
		feed(world, (struct reconcile_event){.kind = EVENT_TIME});
		hear(world);
	}
	if (world->now < until)
		world->now = until;
}

static void trouble(struct world *world)
{
	others_commit(world);
	if (world->alive && fault(world, FAULT_DEATH))
		die(world);
	else if (!world->alive && chance(world, 300))
		come_alive(world);
	if (!world->alive)
		return;
	hear(world);
	operate(world);
	hear(world);
	if (world->machine.phase == PHASE_HELD && world->table.exists && world->table.owner == world->port)
		fail(world, "held, and nobody else can edit the table");
	if (world->faults && chance(world, world->confirming ? 50 : world->chance[FAULT_REFUSE] / 20))
		world->outage = world->now + next(world) % 20000;
	let_pass(world, world->now + (chance(world, 100) ? next(world) % 40000 : next(world) % 300));
}

/* ---- a life ---- */

static void check_settled(struct world *world, uint64_t since)
{
	struct table wanted = table_of(world, world->intent);
	if (world->machine.wanted != world->intent)
		fail(world, "wants revision %u where %u is meant", world->machine.wanted, world->intent);
	if (!same(&world->table, &wanted))
		fail(world, "%llu ms after the last fault the kernel enforces %08x, wanted %08x (phase %d)",
			(unsigned long long)(world->now - since), enforced(&world->table), enforced(&wanted),
			world->machine.phase);
	if (world->machine.in_force != world->intent || (world->intent && world->machine.phase != PHASE_SYNCED))
		fail(world, "the machine does not know that it is in sync: phase %d", world->machine.phase);
	if (world->intent && world->own && world->table.persist && world->table.owner != world->port &&
		!world->machine.own_refused)
		fail(world, "the table is not owned");
}

static void settle(struct world *world)
{
	uint64_t since;
	bool heard = !world->silent;
	world->faults = false;
	world->outage = 0;
	if (!world->alive)
		come_alive(world);
	hear(world);
	feed(world, (struct reconcile_event){.kind = EVENT_RESUME});
	world->confirming = false;
	feed(world, (struct reconcile_event){.kind = EVENT_CONFIRM});
	since = world->now;
	if (chance(world, 500)) { /* any commit of anybody tells of those that were not told */
		happen(world, 77, false);
		heard = true;
	}
	hear(world);
	let_pass(world,
		since + (heard && !world->vanished ? PROMISE_HEARD_MS : PROMISE_MS) + (world->slow > 20 ? RECONCILE_DEBT_MS : 0));
	check_settled(world, since);
	world->vanished = false;
}

static void set_up(struct world *world, uint64_t seed)
{
	memset(world, 0, sizeof *world);
	world->seed = seed;
	world->random = seed * 0x9e3779b97f4a7c15u + 0x1234567;
	for (int i = 0; i < 8; i++)
		next(world);
	for (int i = 0; i < FAULTS; i++) {
		static const unsigned rates[] = {0, 5, 50, 300};
		world->chance[i] = rates[next(world) % 4];
	}
	world->chance[FAULT_DEATH] /= 5;
	world->chance[FAULT_INTERRUPT] /= 3;
	if (chance(world, 100)) /* a siege */
		world->chance[chance(world, 500) ? FAULT_FOREIGN : FAULT_OTHER_TABLE] = 1000;
	world->silent = chance(world, 200);
	world->can_own = chance(world, 400);
	world->own = chance(world, 600);
	world->stubborn = chance(world, 100);
	world->slow = chance(world, 100) ? 2000 : chance(world, 300) ? 20 : 1;
	world->now = next(world) % 1000000;
	world->generation =
		chance(world, 300) ? (uint32_t)-3 - (uint32_t)(next(world) % 200) : 1 + (uint32_t)(next(world) % 1000);
	world->port = 1000;
	world->file = some_rules(world);
	world->old = EVERYTHING;
}

/* 0, or 1 after saying what went wrong. */
static int live(struct world *world, uint64_t seed, unsigned long long steps, bool verbose)
{
	set_up(world, seed);
	world->verbose = verbose;
	if (setjmp(world->failed)) {
		printf("seed %llu, step %llu: %s\n", (unsigned long long)seed, world->steps, world->why);
		return 1;
	}
	come_alive(world);
	while (world->steps < steps) {
		world->faults = true;
		for (uint64_t rounds = 1 + next(world) % 100; rounds && world->steps < steps; rounds--)
			trouble(world);
		settle(world);
	}
	return 0;
}

/*
 * Seeds that showed a defect, or did when it was put back in: a dump that ran into a commit not yet told (3897); a lost event
 * that the next one gives away (357); a table that is gone without a word (88, 173); a neighbour who commits without pause (292);
 * the table still owned in a hold (8); a rollback given up (2); the second of two confirmations (9); in sync said of a dump that
 * was overtaken (4630); something done after a stop (8064); a policy that came while the kernel was looked at (3); one wrong dump
 * behind another (10, 146, 7920).
 */
static const uint64_t remembered[] = {2, 3, 8, 9, 10, 88, 146, 173, 292, 357, 3897, 4630, 7920, 8064};

static unsigned long long number_after(int count, char **arguments, const char *name, unsigned long long value)
{
	for (int i = 1; i + 1 < count; i++)
		if (!strcmp(arguments[i], name))
			return strtoull(arguments[i + 1], NULL, 10);
	return value;
}

int main(int count, char **arguments)
{
	unsigned long long seeds = number_after(count, arguments, "--seeds", 1000),
			   steps = number_after(count, arguments, "--steps", 1000);
	unsigned long long one = number_after(count, arguments, "--first", 1), failed = 0, taken = 0, commits = 0, repairs = 0,
			   deaths = 0;
	bool verbose = count > 1 && !strcmp(arguments[count - 1], "--verbose");
	struct world *world = malloc(sizeof *world);
	if (!world)
		return 1;
	for (size_t i = 0; i < sizeof remembered / sizeof *remembered; i++)
		failed += (unsigned)live(world, remembered[i], steps, false);
	for (unsigned long long i = 0; i < seeds && failed < 20; i++) {
		failed += (unsigned)live(world, one + i, steps, verbose);
		taken += world->steps;
		commits += world->commits;
		repairs += world->repairs;
		deaths += world->deaths;
	}
	printf("%llu steps over %llu seeds: %llu commits, %llu repairs, %llu deaths, %llu violations\n", taken, seeds, commits,
		repairs, deaths, failed);
	free(world);
	return failed != 0;
}
