/*
 * The event loop: descriptors and timers, one thread, no wake-up without a reason.
 *
 * Time is milliseconds of CLOCK_BOOTTIME: it never jumps, and it goes on while the machine sleeps.
 */
#ifndef PORTPOLICY_LOOP_H
#define PORTPOLICY_LOOP_H

#include <stdint.h>

struct loop;
int loop_new(void *ctx, struct loop **out);

/* A callback returns 0, or a negative errno that ends loop_run. */
typedef int (*loop_callback)(void *data);

/*
 * Calls `ready` while the descriptor is readable (or at its end, or in error).  The watch is a talloc child of ctx: freeing it,
 * which the callback may do, ends it; free it before the descriptor is closed.  Returns 0 or a negative errno.
 */
struct loop_watch;
int loop_watch(struct loop *loop, void *ctx, int descriptor, loop_callback ready, void *data, struct loop_watch **out);
/* Whether it also is called while the descriptor is writable.  0 or a negative errno. */
int loop_watch_writing(struct loop_watch *watch, int writing);

/* Calls `due` once when `when` (as of loop_now) has come; LOOP_NEVER switches it off.  Freeing it ends it. */
struct loop_timer;
#define LOOP_NEVER UINT64_MAX
int loop_timer(struct loop *loop, void *ctx, loop_callback due, void *data, struct loop_timer **out);
void loop_timer_set(struct loop_timer *timer, uint64_t when);

uint64_t loop_now(void);

/* Until loop_stop (0) or an error. */
int loop_run(struct loop *loop);
void loop_stop(struct loop *loop);

#endif
