/*
 * Reconciling as a pure state machine: (state, event) to (state, actions).
 *
 * No I/O, no clock, no allocation: the driver (agent.c) performs the actions at once and in order, and answers each question with
 * one event; time comes with the event.  So the same code runs against the kernel and against a fake one with a virtual clock
 * (tests/property/reconcile.c).
 *
 * Rulesets are values that the driver holds, told apart by revision: a number it gives to each policy that was compiled; 0 is
 * "no table".  The machine never sees a rule: it knows whether the difference of wanted and observed is empty, and what kind it
 * is.
 *
 * Times are milliseconds of a clock that never jumps.
 */
#ifndef PORTPOLICY_RECONCILE_H
#define PORTPOLICY_RECONCILE_H

#include <stdbool.h>
#include <stdint.h>

#define RECONCILE_LOOK_MS 30000	      /* generation and table are looked at this often */
#define RECONCILE_PAUSE_FIRST_MS 100  /* after a failure that is not ours, doubled each time ... */
#define RECONCILE_PAUSE_LAST_MS 10000 /* ... up to this */
/*
 * Putting back costs a budget that one millisecond a millisecond fills up again: a quick repair 250 ms of it, a slow one five
 * times what it took. So about 20 repairs are made at once, then four a second, and the agent never takes more than a fifth of a
 * processor for a fight that it cannot win.
 */
#define RECONCILE_BUDGET_MS 5000
#define RECONCILE_REPAIR_COST_MS 250
#define RECONCILE_DEBT_MS 30000 /* no repair, however slow, delays the next by more */

enum reconcile_phase {
	PHASE_IDLE,	  /* nothing is wanted and nothing of ours is in force */
	PHASE_OBSERVING,  /* waits for the answer to ACTION_OBSERVE */
	PHASE_COMMITTING, /* ... to ACTION_COMMIT or ACTION_FIRST */
	PHASE_OWNING,	  /* ... to ACTION_OWN */
	PHASE_LOOKING,	  /* ... to ACTION_LOOK */
	PHASE_SYNCED,	  /* the kernel holds what is wanted; looks again at `wake` */
	PHASE_WAITING,	  /* it does not, or is not known to; tries again at `wake` */
	PHASE_HELD,	  /* the operator has asked for quiet until `held_until` */
	PHASE_STOPPED,
};

struct reconcile {
	enum reconcile_phase phase;
	bool own;		 /* the table is to be owned where the kernel can */
	bool owned, own_refused; /* by us; the kernel would not */
	bool told_shared;
	uint32_t wanted, in_force; /* revisions; in_force: the last that a read-back has shown */
	bool confirming;
	bool returning;	   /* to `previous`: what the kernel refuses then is tried again, not given up */
	uint32_t previous; /* what comes back without a confirmation */
	uint64_t confirm_by;
	uint64_t held_until;		  /* 0: not held */
	uint32_t seen;			  /* the newest generation that is known of */
	uint32_t told;			  /* up to which every commit was told, or is in a dump; 0: not known */
	uint32_t observed;		  /* of the difference in hand */
	uint32_t touched;		  /* the newest in which others have touched the table */
	bool lost;			  /* events were lost since the last look */
	bool unheard;			  /* the last dump ran into a commit that was not told (yet) */
	bool committed;			  /* something was committed since the last time in sync */
	bool unsaid;			  /* a fight, or a failure, was reported and its end was not */
	uint64_t suspected;		  /* what one dump alone said of a set's members */
	unsigned moved, doubts, refusals; /* tries that came to nothing since the last success */
	uint64_t pause, wake;
	int64_t budget; /* of repairs, as of `filled` */
	uint64_t filled, began;
	uint64_t repairs, repaired_at; /* for status */
};

enum drift { DRIFT_NONE, DRIFT_MEMBERS /* of sets, nothing else */, DRIFT_RULES };

enum reconcile_event_kind {
	EVENT_WANTED,	  /* revision; confirm_ms 0: for good */
	EVENT_OBSERVED,	  /* answers OBSERVE */
	EVENT_UNREADABLE, /* answers OBSERVE, LOOK: error */
	EVENT_COMMITTED,  /* answers COMMIT, FIRST: acknowledged */
	EVENT_MOVED,	  /* ... the generation was another */
	EVENT_REFUSED,	  /* ... error, positive; `doubtful`: another look may help */
	EVENT_UNKNOWN,	  /* ... nobody knows: error */
	EVENT_OWNING,	  /* answers OWN: error 0 owned, 1 cannot be, negative errno */
	EVENT_LOOKED,	  /* answers LOOK */
	EVENT_SEEN,	  /* a commit was told: generation, touched, mine */
	EVENT_LOST,	  /* events were lost */
	EVENT_TIME,	  /* reconcile_deadline has come */
	EVENT_HOLD,	  /* hold_ms */
	EVENT_RESUME,
	EVENT_CONFIRM,
	EVENT_ROLLBACK,
	EVENT_STOP,
};

struct reconcile_event {
	enum reconcile_event_kind kind;
	uint64_t now;
	uint32_t revision; /* WANTED; OBSERVED: compared with which */
	uint64_t confirm_ms, hold_ms;
	uint32_t generation;   /* OBSERVED, LOOKED, SEEN: OBSERVED: before the dump */
	uint32_t after;	       /* OBSERVED: behind the dump */
	enum drift drift;      /* OBSERVED */
	uint64_t digest;       /* OBSERVED: of the difference */
	bool fresh;	       /* OBSERVED: nothing of ours is hooked in: connections may stand that nobody tracks */
	bool adoptable, owned; /* OBSERVED: the table can be owned and nobody does; we do */
	bool intact;	       /* LOOKED: the table is there, awake, and ours if it was */
	bool touched, mine;    /* SEEN: our table; our own commit */
	bool doubtful;	       /* REFUSED */
	int error;
};

enum reconcile_action_kind {
	ACTION_OBSERVE, /* dump, and take the difference to `revision` */
	ACTION_COMMIT,	/* that difference, if the generation still is `generation` (0: whatever it is) */
	ACTION_FIRST,	/* install `revision` where nothing stood, so that standing connections go on */
	ACTION_OWN,
	ACTION_RELEASE, /* let others edit the table; no answer */
	ACTION_LOOK,
	ACTION_REPORT, /* `report`, about `revision` or `error`; no answer */
};

enum report {
	REPORT_IN_FORCE,    /* `revision` is what the kernel does now */
	REPORT_REPAIRED,    /* drift was put back */
	REPORT_CONTENDED,   /* others undo our work again and again: repairs are spread out from now on */
	REPORT_REFUSED,	    /* the kernel did not take `revision`: `error`; what was in force stays wanted */
	REPORT_FAILED,	    /* the kernel takes or tells nothing: `error`; tried again */
	REPORT_OTHER_OWNER, /* another socket owns the table */
	REPORT_RECOVERED,   /* of one of the last four */
	REPORT_OWNED,	    /* nobody else can change the table from now on */
	REPORT_SHARED,	    /* others can: this kernel, or this table, has no owner that persists */
	REPORT_HELD,
	REPORT_RESUMED,
	REPORT_CONFIRMED,
	REPORT_ROLLED_BACK, /* to `revision` */
};

struct reconcile_action {
	enum reconcile_action_kind kind;
	uint32_t revision, generation;
	enum report report;
	int error;
};

#define RECONCILE_ACTIONS_MAX 6
struct reconcile_actions {
	struct reconcile_action at[RECONCILE_ACTIONS_MAX];
	unsigned count;
};

/* The state of an agent that has just started. */
struct reconcile reconcile_start(bool own, uint64_t now);

/* One step.  At most one of *actions is a question (OBSERVE, COMMIT, FIRST, OWN, LOOK), and it is the last. */
struct reconcile reconcile_step(struct reconcile state, const struct reconcile_event *event, struct reconcile_actions *actions);

/* When EVENT_TIME is due; UINT64_MAX: never. */
uint64_t reconcile_deadline(const struct reconcile *state);

#endif
