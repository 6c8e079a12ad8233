/*
 * How soon drift is put back, beside a bare listener that only waits for the same event.
 *
 * This program makes the foreign commit; its send returns when the kernel has made it. The listener, a process of its own, notes
 * when it has heard of a commit and by whom: of the foreign one, and then of the agent's, which is the repair.
 *
 *   drift [--members N] [--rounds N]     as root, in a network namespace of its own: unshare -n build/tests/bench/drift
 */
#include "portpolicy/kernel.h"
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <talloc.h>
#include <time.h>
#include <unistd.h>

#define HEARD_MAX 4096
#define PAUSE_MS 300 /* more than a repair takes of the agent's budget */

struct heard {
	uint32_t port;
	double at; /* ms */
};
struct notes {
	volatile unsigned count;
	struct heard heard[HEARD_MAX];
};

static double now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

static void die(const char *what)
{
	fprintf(stderr, "drift: %s\n", what);
	exit(1);
}

static void listen_and_note(struct notes *notes)
{
	struct kernel_watch *watch;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (kernel_watch_open(NULL, "portpolicy", &watch))
		_exit(1);
	struct pollfd ready = {.fd = kernel_watch_descriptor(watch), .events = POLLIN};
	while (poll(&ready, 1, -1) == 1) {
		double at = now();
		struct kernel_event event;
		while (kernel_watch_next(watch, &event) == 1 && notes->count < HEARD_MAX) {
			notes->heard[notes->count] = (struct heard){event.port, at};
			__atomic_add_fetch(&notes->count, 1, __ATOMIC_RELEASE);
		}
	}
	_exit(1);
}

static pid_t start_agent(const char *policy)
{
	const char *build = getenv("BUILD");
	char path[256];
	snprintf(path, sizeof path, "%s/portpolicy", build ? build : "build");
	pid_t child = fork();
	if (child)
		return child;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (!freopen("/dev/null", "w", stderr))
		_exit(1);
	execl(path, "portpolicy", "agent", "--no-owner", policy, (char *)NULL);
	_exit(1);
}

static void write_policy_file(const char *path, unsigned members)
{
	FILE *file = fopen(path, "we");
	if (!file)
		die("no policy file");
	fputs("default in deny\ndefault out allow\nallow in tcp/{ 22, 80, 443 }\n", file);
	if (members)
		fputs("deny in any from {\n", file);
	for (unsigned i = 0; i < members; i++)
		fprintf(file, "10.%u.%u.%u,\n", i / 32768 % 256, i / 128 % 256, i % 128 * 2);
	if (members)
		fputs("192.0.2.99 }\n", file);
	fclose(file);
}

/* One member of the largest set, or all rules of the input chain. */
static struct changes foreign_change(void *ctx, const struct ruleset *ruleset)
{
	struct change *change = talloc_zero(ctx, struct change);
	const struct set *largest = NULL;
	for (size_t i = 0; i < ruleset->set_count; i++)
		if (ruleset->sets[i].values.count > (largest ? largest->values.count : 100))
			largest = &ruleset->sets[i];
	if (largest) {
		struct set *one = talloc_memdup(ctx, largest, sizeof *largest);
		one->values.count = 1;
		*change = (struct change){.kind = CHANGE_ELEMENTS_DELETE, .set = one};
	} else {
		*change = (struct change){.kind = CHANGE_RULES_FLUSH, .chain = &ruleset->chains[0]};
	}
	return (struct changes){.table = "portpolicy", .at = change, .count = 1};
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static void tell(const char *what, double *values, unsigned count)
{
	qsort(values, count, sizeof *values, ascending);
	printf("%-28s p50 %7.3f ms   p99 %7.3f ms   most %7.3f ms\n", what, values[count / 2], values[count * 99 / 100],
		values[count - 1]);
}

static unsigned number_after(int count, char **arguments, const char *name, unsigned value)
{
	for (int i = 1; i + 1 < count; i++)
		if (!strcmp(arguments[i], name))
			return (unsigned)strtoul(arguments[i + 1], NULL, 10);
	return value;
}

static void measure(struct kernel *kernel, struct notes *notes, const struct changes *changes, unsigned rounds)
{
	double *seen = talloc_array(NULL, double, rounds), *repaired = talloc_array(seen, double, rounds),
	       *ratio = talloc_array(seen, double, rounds);
	for (unsigned i = 0; i < rounds; i++) {
		struct refusal refusal;
		unsigned before = notes->count;
		if (kernel_commit(kernel, changes, 0, &refusal))
			die("the foreign commit was refused");
		double made = now();
		while (__atomic_load_n(&notes->count, __ATOMIC_ACQUIRE) < before + 2)
			if (now() - made > 5000)
				die("nothing was put back");
			else
				usleep(200);
		seen[i] = notes->heard[before].at - made;
		repaired[i] = notes->heard[before + 1].at - made;
		ratio[i] = repaired[i] - seen[i];
		usleep(PAUSE_MS * 1000);
	}
	tell("heard by a bare listener", seen, rounds);
	tell("put back", repaired, rounds);
	tell("the one after the other", ratio, rounds);
	talloc_free(seen);
}

int main(int count, char **arguments)
{
	void *ctx = talloc_new(NULL);
	char policy[] = "/tmp/portpolicy-drift-XXXXXX";
	unsigned members = number_after(count, arguments, "--members", 0),
		 rounds = number_after(count, arguments, "--rounds", 100);
	struct notes *notes = mmap(NULL, sizeof *notes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct kernel *kernel;
	struct ruleset *ruleset;
	uint32_t generation;
	int file = mkstemp(policy);
	if (file < 0 || notes == MAP_FAILED || kernel_open(ctx, &kernel))
		die("no file, no memory, or no right");
	close(file);
	write_policy_file(policy, members);
	pid_t agent = start_agent(policy);
	sleep(2);
	pid_t listener = fork();
	if (!listener)
		listen_and_note(notes);
	usleep(100000);
	if (kernel_dump(ctx, kernel, "portpolicy", &ruleset, &generation) || !ruleset->exists)
		die("the agent has put nothing in force");
	const struct changes changes = foreign_change(ctx, ruleset);
	measure(kernel, notes, &changes, rounds);
	kill(agent, SIGTERM);
	kill(listener, SIGKILL);
	waitpid(agent, NULL, 0);
	waitpid(listener, NULL, 0);
	unlink(policy);
	return 0;
}
