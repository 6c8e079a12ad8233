/*
 * The agent: what its parts share, and how a part plugs in.
 *
 * agent.c is the driver of the state machine in reconcile.h: it performs the actions, turns what the kernel and the people say
 * into events, and tells the listeners.  Everything else (watched files, control socket, confirmations) is a part that registers
 * descriptors and timers with agent_loop() and calls the functions below from its callbacks.
 *
 * One thread.  A callback may take as long as a commit takes, not longer; nothing waits for a client.
 */
#ifndef PORTPOLICY_DAEMON_H
#define PORTPOLICY_DAEMON_H

#include "agent/daemon/loop.h"
#include "agent/daemon/reconcile.h"
#include "portpolicy/kernel.h"
#include "portpolicy/policy.h"
#include <sys/types.h>

/* A policy that was compiled: one talloc object with all that it needs below it. */
struct agent_policy {
	uint32_t revision; /* given by agent_use */
	struct policy *policy;
	struct ruleset *ruleset;
	struct world *world; /* that it was made of (agent/cli); the daemon does not look into it */
	const char *name;    /* where it comes from, for people */
	struct provenance *provenance; /* policies.h; or NULL */
};

struct agent;
struct world;

/*
 * Reads and compiles the agent's own policy, with every message on the way printed.  0 and a talloc child of ctx; 1: mistakes in
 * it; 2: it could not be read; or a negative errno.
 */
typedef int (*agent_loader)(void *data, void *ctx, struct agent_policy **out);

struct agent_options {
	const char *table;
	bool own; /* own the table where the kernel can */
	agent_loader load;
	void *data; /* of the loader */
};

/* Opens kernel and loop and loads nothing.  0; 1: another agent keeps this table (said on standard error); or a negative errno.
 */
int agent_new(void *ctx, const struct agent_options *options, struct agent **out);

/* Until SIGTERM, SIGINT or agent_stop: the rules stay in force.  0 or a negative errno. */
int agent_run(struct agent *agent);
void agent_stop(struct agent *agent);

struct loop *agent_loop(struct agent *agent);
const char *agent_table(const struct agent *agent);

/*
 * Loads the agent's own policy again and uses it.  As the loader; after 0 the listeners hear what has become of it: it
 * was in force, or refused, before this returned, unless somebody holds the agent or the kernel up.
 */
int agent_reload(struct agent *agent);

/*
 * Wants this policy from now on; takes it over (talloc_steal) and numbers it.  confirm_ms: undone without agent_confirm in time;
 * 0: for good. NULL: wants no table.  What the kernel refuses is let go of, and what was in force stays: listeners hear it.
 */
int agent_use(struct agent *agent, struct agent_policy *policy, uint64_t confirm_ms);

/* All answer 0 or a negative errno, and are harmless when there is nothing to confirm, to roll back or to resume. */
int agent_confirm(struct agent *agent);
int agent_rollback(struct agent *agent);
int agent_hold(struct agent *agent, uint64_t ms);
int agent_resume(struct agent *agent);

/* For status: the state as it is, and the policies of state->wanted and state->in_force (NULL for 0). */
const struct reconcile *agent_state(const struct agent *agent);
const struct agent_policy *agent_policy(const struct agent *agent, uint32_t revision);
/* The agent's connection to the kernel, for reading (counters); it is another one after a hold: do not keep it. */
struct kernel *agent_kernel(struct agent *agent);

/* Who touched the table last, and what was put back then. */
struct agent_incident {
	uint64_t at;  /* as loop_now; 0: never */
	int64_t wall; /* seconds since 1970 */
	uint32_t port, process;
	char program[32];
	char put_back[256]; /* in words */
};
const struct agent_incident *agent_last_incident(const struct agent *agent);

/* Hears every report of the machine, in order, after it was logged.  The listener is a talloc child of ctx: freeing it ends it.
 */
struct agent_listener;
typedef void (*agent_told)(void *data, const struct reconcile_action *report);
int agent_listen(struct agent *agent, void *ctx, agent_told told, void *data, struct agent_listener **out);

/*
 * The log: one line to standard error, with the level as systemd reads it (sd-daemon(3)) where that is its journal.  A line of a
 * kind that comes more than a few times in ten seconds is counted instead, and the count said later.
 */
enum log_kind { LOG_STATE, LOG_REPAIR, LOG_TROUBLE, LOG_POLICY, LOG_CONTROL };
#define LOG_KINDS 5
enum log_level { LEVEL_ERROR = 3, LEVEL_WARNING = 4, LEVEL_NOTICE = 5, LEVEL_INFO = 6 };
struct log;
struct log *log_new(void *ctx);
void log_line(struct log *log, enum log_kind kind, enum log_level level, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
struct log *agent_log(struct agent *agent);

/* supervisor.c: the protocol of sd_notify(3).  Nothing happens where no supervisor asked for it. */
void supervisor_tell(const char *state); /* "READY=1", ... */
uint64_t supervisor_watchdog_ms(void);	 /* of WATCHDOG_USEC; 0: none */

/* single.c: one agent for each table in a network namespace.  0, the descriptor that keeps it; 1: *other is the process that has
 * it. */
int single_claim(const char *table, int *descriptor, pid_t *other);

/* summary.c: the changes in words, e.g. "2 rules (host.policy:4), members of 1 set". */
void changes_in_words(const struct changes *changes, char *text, size_t size);
/* Members of sets only, or more?  And a number that tells one difference from another. */
enum drift changes_drift(const struct changes *changes);
uint64_t changes_digest(const struct changes *changes);

#endif
