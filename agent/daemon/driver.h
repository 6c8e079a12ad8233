/*
 * The inside of the agent: agent.c has its life and what other parts call, driver.c what the machine asks for.
 */
#ifndef PORTPOLICY_DRIVER_H
#define PORTPOLICY_DRIVER_H

#include "agent/daemon/daemon.h"

#define POLICIES_MAX 4 /* wanted, in force, to come back, and a new one */

struct agent {
	struct agent_options options;
	struct log *log;
	struct loop *loop;
	struct loop_watch *kernel_ready, *signal_ready;
	struct loop_timer *timer, *watchdog_timer;
	uint64_t watchdog; /* ms between two signs of life; 0: nobody asks */
	int signals, claim;
	struct kernel *kernel;
	struct kernel_watch *watch;
	struct reconcile state;
	unsigned open; /* questions that are not answered yet */
	struct agent_policy *policies[POLICIES_MAX];
	uint32_t revisions; /* given out so far */
	/* The observation in hand, and the difference to what is wanted; NULL: none. */
	void *hand;
	struct changes *changes;
	uint32_t hand_revision;
	uint32_t known_revision; /* whose sets those are that the socket knows (kernel_know); 0: none, or those in `recalled` */
	void *recalled;		 /* what was kept before the agent began; NULL: not asked for yet */
	struct kernel_event author; /* who touched our table last; port 0: nobody since the last repair */
	struct agent_incident incident;
	char work[256]; /* what the last commit changes, in words */
	struct agent_listener *listeners;
	bool ready; /* the supervisor knows */
};

/* Performs what is not a report.  *asked: *answer is the answer.  0 or a negative errno that ends the agent. */
int driver_perform(struct agent *agent, const struct reconcile_action *action, struct reconcile_event *answer, bool *asked);
/* A commit was heard, or (NULL) may have been missed. */
void driver_heard(struct agent *agent, const struct kernel_event *event);
/* A policy goes: nothing of it is known any longer. */
void driver_forget(struct agent *agent, uint32_t revision);
/* Keeps what is known for the next agent. */
void driver_keep_known(struct agent *agent);
void driver_report(struct agent *agent, const struct reconcile_action *action);

#endif
