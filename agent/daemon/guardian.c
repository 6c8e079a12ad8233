/*
 * The guardian: what undoes an unconfirmed change when the shell that made it is gone.
 *
 * It is the grandchild of the command, a session leader without a terminal, with nothing open but its watch on the state
 * directory and a socket to the kernel. It sleeps until the record of the change goes away, which means that somebody has
 * decided, or until its time is over. Where the kernel does not let it at once (an agent still holds the table), it goes on
 * trying.
 */
#include "agent/daemon/pending.h"
#include "agent/daemon/store.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <syslog.h>
#include <talloc.h>
#include <unistd.h>

#define AGENT_GRACE_MS 2000 /* the agent that made the change undoes it itself */
#define RETRY_MS 1000
#define RETRIES 600

struct guardian {
	const struct pending *pending;
	const struct ruleset *before;
	struct kernel *kernel;
	int watch, timer, signals;
	void *ctx;
};

static int set_timer(int timer, uint64_t at)
{
	struct itimerspec when = {.it_value = {.tv_sec = (time_t)(at / 1000), .tv_nsec = (long)(at % 1000) * 1000000 + 1}};
	return timerfd_settime(timer, TFD_TIMER_ABSTIME, &when, NULL) ? -errno : 0;
}

static int prepare(struct guardian *guardian)
{
	const struct pending *pending = guardian->pending;
	sigset_t ask;
	sigemptyset(&ask);
	sigaddset(&ask, SIGTERM);
	sigprocmask(SIG_BLOCK, &ask, NULL);
	signal(SIGHUP, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	signal(SIGQUIT, SIG_IGN);
	prctl(PR_SET_NAME, "portpolicy-undo");
	guardian->signals = signalfd(-1, &ask, SFD_CLOEXEC | SFD_NONBLOCK);
	guardian->watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	guardian->timer = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	if (guardian->signals < 0 || guardian->watch < 0 || guardian->timer < 0)
		return -errno;
	if (inotify_add_watch(guardian->watch, state_directory(), IN_DELETE | IN_MOVED_TO) < 0)
		return -errno;
	int error = set_timer(guardian->timer, pending->deadline + (pending->by_agent ? AGENT_GRACE_MS : 0));
	return error ? error : kernel_open(guardian->ctx, &guardian->kernel);
}

static bool decided(const struct guardian *guardian)
{
	struct pending *now;
	void *scratch = talloc_new(guardian->ctx);
	int status = pending_read(scratch, guardian->pending->table, &now);
	bool gone = status == 1 || (status >= 0 && strcmp(now->id, guardian->pending->id));
	talloc_free(scratch);
	return gone;
}

static void drain(int descriptor)
{
	char buffer[4096];
	while (read(descriptor, buffer, sizeof buffer) > 0)
		;
}

static void undo(struct guardian *guardian)
{
	const char *problem = NULL;
	for (int i = 0; i < RETRIES; i++) {
		void *scratch = talloc_new(guardian->ctx);
		int status = pending_undo(scratch, guardian->kernel, guardian->pending, guardian->before, &problem);
		if (status == 0)
			syslog(LOG_WARNING, "%s was not confirmed: the rules from before it are in force again",
				guardian->pending->file);
		if (status == 2 && i == 0)
			syslog(LOG_ERR, "%s was not confirmed, and cannot be undone yet: %s", guardian->pending->file, problem);
		talloc_free(scratch);
		if (status != 2)
			return;
		usleep(RETRY_MS * 1000);
	}
	syslog(LOG_ERR, "%s was not confirmed, and could not be undone; the next run of portpolicy tries again",
		guardian->pending->file);
}

static void watch(struct guardian *guardian)
{
	struct pollfd on[] = {{.fd = guardian->watch, .events = POLLIN},
		{.fd = guardian->timer, .events = POLLIN},
		{.fd = guardian->signals, .events = POLLIN}};
	while (!decided(guardian)) {
		int ready = poll(on, 3, -1);
		drain(guardian->watch);
		if ((ready < 0 && errno != EINTR) || on[1].revents || on[2].revents) {
			undo(guardian);
			return;
		}
	}
}

static void detach(int ready)
{
	int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (int i = 0; i < 3 && nothing >= 0; i++)
		dup2(nothing, i);
	if (ready > 3)
		close_range(3, (unsigned)ready - 1, 0);
	close_range((unsigned)ready + 1, ~0u, 0);
	if (chdir("/"))
		return;
	int file = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	if (file >= 0 && write(file, "-900", 4) < 0)
		errno = 0; /* only a precaution */
	if (file >= 0)
		close(file);
}

static void __attribute__((noreturn)) guard(const struct pending *pending, const struct ruleset *before, int ready)
{
	struct guardian guardian = {.pending = pending, .before = before, .ctx = talloc_new(NULL)};
	detach(ready);
	openlog("portpolicy", LOG_PID, LOG_DAEMON);
	int error = guardian.ctx ? prepare(&guardian) : -ENOMEM;
	if (write(ready, &error, sizeof error) != sizeof error || error)
		_exit(1);
	close(ready);
	watch(&guardian);
	_exit(0);
}

int guardian_start(const struct pending *pending, const struct ruleset *before)
{
	int ends[2], answer = -EIO, status;
	if (pipe2(ends, O_CLOEXEC))
		return -errno;
	int writing = fcntl(ends[1], F_DUPFD_CLOEXEC, 3); /* out of the way of the standard streams */
	close(ends[1]);
	pid_t child = fork();
	if (child == 0) {
		setsid();
		pid_t grandchild = fork();
		if (grandchild == 0)
			guard(pending, before, writing);
		_exit(grandchild < 0);
	}
	close(writing);
	if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status) || WEXITSTATUS(status) ||
		read(ends[0], &answer, sizeof answer) != sizeof answer)
		answer = answer < 0 ? answer : -EIO;
	close(ends[0]);
	return answer;
}
