/*
 * Giving up what the agent does not need.
 */
#ifndef PORTPOLICY_SANDBOX_H
#define PORTPOLICY_SANDBOX_H

/*
 * Keeps CAP_NET_ADMIN and no other capability, and from then on only the system calls of the list in sandbox.c. For good; to be
 * called when everything has been started.  0 or a negative errno.
 */
int sandbox_enter(void);

#endif
