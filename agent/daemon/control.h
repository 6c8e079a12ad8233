/*
 * The control socket: how the command speaks to the agent.
 *
 * One request and one answer a connection, each one line of JSON; a request may bring a descriptor. Only root, and the user that
 * the agent runs as, is listened to. No client can hold the agent up: nothing waits, sizes and numbers are bounded, and who is
 * slow is cut off.
 */
#ifndef PORTPOLICY_CONTROL_H
#define PORTPOLICY_CONTROL_H

#include "agent/daemon/loop.h"
#include <jansson.h>

#define CONTROL_REQUEST_MAX 65536
#define CONTROL_ANSWER_MAX (4 << 20)
#define CONTROL_CLIENTS_MAX 16
#define CONTROL_PATIENCE_MS 5000 /* from the connection to the whole request, and again until the answer has been taken */

/*
 * The answer to a request, which is an object; `descriptor` is -1 or one that is closed afterwards.  NULL: out of memory; the
 * client is cut off.
 */
typedef json_t *(*control_handler)(void *data, const json_t *request, int descriptor);

struct control;
/* Listens at `path`, in place of a socket that nobody listens on any more. 0; -EADDRINUSE when somebody does; or another negative
 * errno. */
int control_new(void *ctx, struct loop *loop, const char *path, control_handler handler, void *data, struct control **out);

/* Of the agent that keeps this table. NULL: out of memory. */
char *control_path(void *ctx, const char *table);

/*
 * Asks the agent of this table in this network namespace; steals the request. 0 and *answer; 1 when there is no agent; -EPERM
 * when it does not listen to this user; -ETIMEDOUT; -EPROTO when the answer is none; or another negative errno.
 */
int control_ask(const char *table, json_t *request, int descriptor, unsigned seconds, json_t **answer);

#endif
