/*
 * The event loop over epoll and one timerfd, which is set to the earliest timer and only when that has changed.
 */
#include "agent/daemon/loop.h"
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <talloc.h>
#include <time.h>
#include <unistd.h>

#define EVENTS_AT_ONCE 16

struct loop_watch {
	struct loop *loop;
	int descriptor;
	loop_callback ready;
	void *data;
};

struct loop_timer {
	struct loop *loop;
	struct loop_timer *next;
	uint64_t when;
	loop_callback due;
	void *data;
};

struct loop {
	int epoll, clock;
	bool stopped;
	uint64_t armed; /* what the timerfd is set to */
	struct loop_timer *timers;
	struct epoll_event events[EVENTS_AT_ONCE];
	int event_count; /* not yet handed out are those from `event_at` on */
	int event_at;
};

uint64_t loop_now(void)
{
	struct timespec now;
	clock_gettime(CLOCK_BOOTTIME, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static int loop_close(struct loop *loop)
{
	if (loop->epoll >= 0)
		close(loop->epoll);
	if (loop->clock >= 0)
		close(loop->clock);
	return 0;
}

int loop_new(void *ctx, struct loop **out)
{
	struct loop *loop = talloc_zero(ctx, struct loop);
	if (!loop)
		return -ENOMEM;
	loop->armed = LOOP_NEVER;
	loop->epoll = epoll_create1(EPOLL_CLOEXEC);
	loop->clock = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	talloc_set_destructor(loop, loop_close);
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
	if (loop->epoll < 0 || loop->clock < 0 || epoll_ctl(loop->epoll, EPOLL_CTL_ADD, loop->clock, &event)) {
		int status = -errno;
		talloc_free(loop);
		return status;
	}
	*out = loop;
	return 0;
}

static int watch_end(struct loop_watch *watch)
{
	struct loop *loop = watch->loop;
	epoll_ctl(loop->epoll, EPOLL_CTL_DEL, watch->descriptor, NULL);
	for (int i = loop->event_at; i < loop->event_count; i++)
		if (loop->events[i].data.ptr == watch)
			loop->events[i].events = 0;
	return 0;
}

int loop_watch(struct loop *loop, void *ctx, int descriptor, loop_callback ready, void *data, struct loop_watch **out)
{
	struct loop_watch *watch = talloc_zero(ctx, struct loop_watch);
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = watch};
	if (!watch)
		return -ENOMEM;
	*watch = (struct loop_watch){loop, descriptor, ready, data};
	if (epoll_ctl(loop->epoll, EPOLL_CTL_ADD, descriptor, &event)) {
		int status = -errno;
		talloc_free(watch);
		return status;
	}
	talloc_set_destructor(watch, watch_end);
	*out = watch;
	return 0;
}

int loop_watch_writing(struct loop_watch *watch, int writing)
{
	struct epoll_event event = {.events = EPOLLIN | (writing ? EPOLLOUT : 0), .data.ptr = watch};
	return epoll_ctl(watch->loop->epoll, EPOLL_CTL_MOD, watch->descriptor, &event) ? -errno : 0;
}

static int timer_end(struct loop_timer *timer)
{
	for (struct loop_timer **at = &timer->loop->timers; *at; at = &(*at)->next)
		if (*at == timer) {
			*at = timer->next;
			break;
		}
	return 0;
}

int loop_timer(struct loop *loop, void *ctx, loop_callback due, void *data, struct loop_timer **out)
{
	struct loop_timer *timer = talloc_zero(ctx, struct loop_timer);
	if (!timer)
		return -ENOMEM;
	*timer = (struct loop_timer){loop, loop->timers, LOOP_NEVER, due, data};
	loop->timers = timer;
	talloc_set_destructor(timer, timer_end);
	*out = timer;
	return 0;
}

void loop_timer_set(struct loop_timer *timer, uint64_t when)
{
	timer->when = when;
}

static struct loop_timer *earliest(const struct loop *loop)
{
	struct loop_timer *first = loop->timers;
	for (struct loop_timer *timer = first; timer; timer = timer->next)
		if (timer->when < first->when)
			first = timer;
	return first;
}

static int arm(struct loop *loop)
{
	const struct loop_timer *first = earliest(loop);
	uint64_t when = first ? first->when : LOOP_NEVER;
	struct itimerspec spec = {0};
	if (when == loop->armed)
		return 0;
	if (when != LOOP_NEVER) {
		spec.it_value.tv_sec = (time_t)(when / 1000);
		spec.it_value.tv_nsec = when ? (long)(when % 1000) * 1000000 : 1; /* 0 would switch it off */
	}
	loop->armed = when;
	return timerfd_settime(loop->clock, TFD_TIMER_ABSTIME, &spec, NULL) ? -errno : 0;
}

/* Each timer at most once a round: one that sets itself to the past does not keep the descriptors waiting. */
static int run_timers(struct loop *loop)
{
	uint64_t expired, now = loop_now();
	size_t rounds = 0;
	int status = 0;
	if (read(loop->clock, &expired, sizeof expired) < 0 && errno != EAGAIN)
		return -errno;
	loop->armed = LOOP_NEVER - 1; /* whatever: it has to be set again */
	for (struct loop_timer *timer = loop->timers; timer; timer = timer->next)
		rounds++;
	for (struct loop_timer *first; !status && rounds && (first = earliest(loop)) && first->when <= now; rounds--) {
		first->when = LOOP_NEVER;
		status = first->due(first->data);
	}
	return status;
}

static int hand_out(struct loop *loop)
{
	int status = 0;
	for (loop->event_at = 0; !status && !loop->stopped && loop->event_at < loop->event_count;) {
		struct epoll_event event = loop->events[loop->event_at++];
		struct loop_watch *watch = event.data.ptr;
		if (!event.events)
			continue;
		status = watch ? watch->ready(watch->data) : run_timers(loop);
	}
	loop->event_count = loop->event_at = 0;
	return status;
}

int loop_run(struct loop *loop)
{
	int status = 0;
	while (!status && !loop->stopped) {
		status = arm(loop);
		if (status)
			break;
		loop->event_count = epoll_wait(loop->epoll, loop->events, EVENTS_AT_ONCE, -1);
		if (loop->event_count < 0) {
			loop->event_count = 0;
			status = errno == EINTR ? 0 : -errno;
		}
		if (!status)
			status = hand_out(loop);
	}
	return status;
}

void loop_stop(struct loop *loop)
{
	loop->stopped = true;
}
