/*
 * A host that the agent guards, and a peer that sends packets at it: for each test a network namespace of its own, and one more
 * for the peer.
 *
 * Three UDP ports tell what is enforced.  Every datagram comes from a port that no other came from, so each is a new connection.
 */
#ifndef TESTS_NETNS_SIEGE_H
#define TESTS_NETNS_SIEGE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

enum { PORT_ALWAYS = 1001 /* every policy allows it */, PORT_SOMETIMES = 1002 /* policy B */, PORT_NEVER = 1003 };
#define PORTS 3

/* Policies of the test: the agent's file is always the same, these are its contents. */
extern const char policy_a[], policy_b[];

struct siege {
	char directory[64]; /* of the policy, state and logs; removed at the end */
	char policy[128];
	char binary[128];
	pid_t peer, agent;
	int to_peer;
	int notify; /* the supervisor's socket */
	int receivers[PORTS];
	bool owner, privileged; /* the agent owns its table; it runs as root */
	unsigned received[PORTS];
};

/* What the test process does in its fresh namespace.  Failing ends it, and with it the agent and the peer. */
void siege_set_up(struct siege *siege);
void give_up(const char *file, int line, const char *format, ...) __attribute__((format(printf, 3, 4), noreturn));
#define EXPECT(condition)                                                                                                        \
	do {                                                                                                                     \
		if (!(condition))                                                                                                \
			give_up(__FILE__, __LINE__, "%s", #condition);                                                           \
	} while (0)

void put_policy(struct siege *siege, const char *text);
/* Starts the agent as a user with CAP_NET_ADMIN only (where the test is root), and waits until it is ready. */
void start_agent(struct siege *siege);
pid_t spawn_agent(struct siege *siege, void (*prepare)(void)); /* does not wait; `prepare` runs in the child before exec */
bool wait_ready(struct siege *siege, int ms);
int agent_status(struct siege *siege, int ms);		/* its exit status, -signal, or -1000: still there */
void kill_agent(struct siege *siege, int signal);	/* and waits for its end */
bool agent_said(struct siege *siege, const char *text); /* in its log so far */
bool soon_said(struct siege *siege, const char *text);  /* or within ten seconds */

/* Runs a command of the shell; its exit status. */
int run(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* One new datagram to each port. */
struct passed {
	bool always, sometimes, never;
};
struct passed probe(struct siege *siege);
/* As policy A or B says? */
bool enforces(struct siege *siege, bool b);
/* Within twenty seconds: an emulated machine is slow. */
bool soon_enforces(struct siege *siege, bool b);

/* The peer sends to all three ports in turn until flood_end. */
struct flood {
	uint64_t sent[PORTS], arrived[PORTS];
};
void flood_begin(struct siege *siege);
void flood_drain(struct siege *siege); /* to be called now and then, so that no buffer overflows */
struct flood flood_end(struct siege *siege);

void sleep_ms(unsigned ms);
uint64_t now_ms(void);

#endif
