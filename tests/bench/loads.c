/*
 * What it takes to put rules into force: time and memory of whole processes, tool beside tool.
 *
 *   loads [--runs N] [--tool portpolicy|bare|nft|nft-rules]... SHAPE/COUNT...
 *
 * Each run begins with a fresh lane for each tool; runs of all tools in turn, medians printed, a line for each step:
 *
 *   load shape rules tool step  seconds  peak_MB  elements
 *
 * portpolicy: `read` (explain of one packet: reading, parsing, resolving, and no kernel), `compile` (to nft's text), `first`
 * (apply where nothing stands), `same` (again), `line` (apply after one line has changed), `full` (after all have).  nft: `first`
 * of the ruleset that portpolicy compiled, and `full`, which replaces it by another; it knows nothing smaller.  nft-rules: the
 * same of one rule for each filter. bare: `first` of a bare batch of the same elements.  `elements`: how many the kernel was seen
 * to add and delete, of step `line`.
 */
#include "tests/bench/lib/pace.h"
#include "tests/bench/lib/tool.h"
#include <errno.h>
#include <getopt.h>
#include <libmnl/libmnl.h>
#include <limits.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <talloc.h>
#include <time.h>
#include <unistd.h>

#define RUNS_MAX 16
#define PATIENCE_S 300 /* of one process */
#define EVENTS_ROOM (64 << 20)

enum loader { LOADER_PORTPOLICY, LOADER_BARE, LOADER_NFT, LOADER_NFT_RULES };
#define LOADERS 4
static const char *const loader_names[LOADERS] = {"portpolicy", "bare", "nft", "nft-rules"};

enum load_step { STEP_READ, STEP_COMPILING, STEP_FIRST, STEP_SAME, STEP_LINE, STEP_FULL };
#define STEPS 6
static const char *const step_names[STEPS] = {"read", "compile", "first", "same", "line", "full"};

/* The policy as it is at first, with one line changed, and with all changed: a directory each. */
enum variant { VARIANT_BASE, VARIANT_LINE, VARIANT_FULL };
#define VARIANTS 3
static const char *const variant_names[VARIANTS] = {"base", "line", "full"};

struct figures {
	double seconds[RUNS_MAX], megabytes[RUNS_MAX], elements[RUNS_MAX];
	size_t count;
};

struct plan {
	struct bench bench;
	char bare[PATH_MAX];
	int home;
	size_t runs;
	bool loaders[LOADERS];
	struct figures figures[LOADERS][STEPS];
};

static int usage(void)
{
	fputs("usage: loads [--runs N] [--tool portpolicy|bare|nft|nft-rules]... SHAPE/COUNT...\n", stderr);
	return 2;
}

/* Files.  Filters of a million take room that every child would seem to use, too: so they are made in a child of their own. */

static int write_to(const struct plan *plan, const char *variant, const char *name, struct filters filters,
	void (*write)(FILE *stream, struct filters filters, enum way way))
{
	char path[256];
	snprintf(path, sizeof(path), "%s/%s/%s", plan->bench.directory, variant, name);
	FILE *stream = fopen(path, "we");
	if (!stream)
		return -errno;
	write(stream, filters, WAY_IN);
	return fclose(stream) ? -EIO : 0;
}

static int write_variant(const struct plan *plan, void *ctx, enum shape shape, size_t count, enum variant variant)
{
	struct filters filters, other;
	const char *name = variant_names[variant];
	int status = filters_make(ctx, shape, WAY_IN, count, variant == VARIANT_FULL ? 2 : 1, &filters);
	status = status ? status : filters_make(ctx, shape, WAY_IN, 1, 99, &other);
	if (!status && variant == VARIANT_LINE)
		((struct filter *)filters.at)[count / 2] = other.at[0];
	status = status ? status : write_to(plan, name, "host.policy", filters, write_policy);
	if (!status && shape == SHAPE_LIST)
		status = write_to(plan, name, "list.txt", filters, write_list);
	if (!status && plan->loaders[LOADER_NFT_RULES] && variant != VARIANT_LINE)
		status = write_to(plan, name, "rules.nft", filters, write_nft);
	return status;
}

static int write_files(const struct plan *plan, enum shape shape, size_t count)
{
	int status;
	fflush(NULL);
	pid_t child = fork();
	if (!child) {
		void *ctx = talloc_new(NULL);
		status = lane_shell("mkdir -p '%s/base' '%s/line' '%s/full' '%s/now' '%s/state'", plan->bench.directory,
			plan->bench.directory, plan->bench.directory, plan->bench.directory, plan->bench.directory);
		for (int variant = 0; !status && variant < VARIANTS; variant++)
			status = write_variant(plan, ctx, shape, count, (enum variant)variant);
		_exit(status != 0);
	}
	if (child < 0 || waitpid(child, &status, 0) < 0)
		return -errno;
	return WIFEXITED(status) && !WEXITSTATUS(status) ? 0 : -EIO;
}

/* The variant under the one path where the policy always is. */
static int put_variant(const struct plan *plan, enum variant variant)
{
	return lane_shell("cp '%s/%s'/* '%s/now/'", plan->bench.directory, variant_names[variant], plan->bench.directory);
}

/* Processes. */

struct outcome {
	double seconds, megabytes;
};

/* The exit status of the command, or a negative errno. */
static int run_timed(const struct plan *plan, const struct lane *lane, const char *command, struct outcome *out)
{
	struct timespec start, end;
	struct rusage usage;
	char shown[2048];
	int status;
	snprintf(shown, sizeof(shown), "exec timeout %d %s >/dev/null 2>'%s/log'", PATIENCE_S, command, plan->bench.directory);
	fflush(NULL);
	clock_gettime(CLOCK_MONOTONIC, &start);
	pid_t child = fork();
	if (!child) {
		setenv("STATE_DIRECTORY", talloc_asprintf(NULL, "%s/state", plan->bench.directory), 1);
		if (!lane_enter(lane))
			execl("/bin/sh", "sh", "-c", shown, NULL);
		_exit(127);
	}
	if (child < 0 || wait4(child, &status, 0, &usage) < 0)
		return -errno;
	clock_gettime(CLOCK_MONOTONIC, &end);
	out->seconds = (double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) / 1e9;
	out->megabytes = (double)usage.ru_maxrss / 1024;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

/* Events of the lane's nf_tables, to count elements. */

static int open_events(const struct lane *lane, struct mnl_socket **out)
{
	int room = EVENTS_ROOM, status = lane_enter(lane);
	*out = status ? NULL : mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (!status && (!*out || mnl_socket_bind(*out, 1 << (NFNLGRP_NFTABLES - 1), MNL_SOCKET_AUTOPID)))
		status = -errno;
	if (!status)
		setsockopt(mnl_socket_get_fd(*out), SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
	int back = lane_leave(lane);
	return status ? status : back;
}

static size_t elements_of(const struct nlmsghdr *message)
{
	uint16_t type = message->nlmsg_type;
	const struct nlattr *attribute, *element;
	size_t count = 0;
	if (type != (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWSETELEM) && type != (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_DELSETELEM))
		return 0;
	mnl_attr_for_each(
		attribute, message, sizeof(struct nfgenmsg)) if (mnl_attr_get_type(attribute) == NFTA_SET_ELEM_LIST_ELEMENTS)
		mnl_attr_for_each_nested(element, attribute) count++;
	return count;
}

/* -1: there were more than the buffer holds. */
static double count_elements(struct mnl_socket *events)
{
	char buffer[1 << 16] __attribute__((aligned(8)));
	size_t count = 0;
	ssize_t length;
	while ((length = mnl_socket_recvfrom(events, buffer, sizeof(buffer))) > 0) {
		const struct nlmsghdr *message = (const struct nlmsghdr *)buffer;
		for (int left = (int)length; mnl_nlmsg_ok(message, left); message = mnl_nlmsg_next(message, &left))
			count += elements_of(message);
	}
	return errno == ENOBUFS ? -1 : (double)count;
}

/* Steps. */

static void note(struct plan *plan, enum loader loader, enum load_step step, const struct outcome *outcome, double elements)
{
	struct figures *figures = &plan->figures[loader][step];
	if (figures->count == RUNS_MAX)
		return;
	figures->seconds[figures->count] = outcome->seconds;
	figures->megabytes[figures->count] = outcome->megabytes;
	figures->elements[figures->count++] = elements;
}

static int step(struct plan *plan, const struct lane *lane, enum loader loader, enum load_step step, const char *format, ...)
	__attribute__((format(printf, 5, 6)));
static int step(struct plan *plan, const struct lane *lane, enum loader loader, enum load_step step, const char *format, ...)
{
	char command[1024];
	va_list arguments;
	struct outcome outcome = {0};
	struct mnl_socket *events = NULL;
	va_start(arguments, format);
	vsnprintf(command, sizeof(command), format, arguments);
	va_end(arguments);
	int status = step == STEP_LINE ? open_events(lane, &events) : 0;
	status = status ? status : run_timed(plan, lane, command, &outcome);
	if (status == 1 && step == STEP_READ)
		status = 0; /* the packet is denied: an answer */
	if (!status)
		note(plan, loader, step, &outcome, events ? count_elements(events) : -1);
	if (events)
		mnl_socket_close(events);
	return status > 0 ? 1 : status;
}

static int run_portpolicy(struct plan *plan, const struct lane *lane)
{
	const char *program = plan->bench.portpolicy, *in = plan->bench.directory;
	int status = put_variant(plan, VARIANT_BASE);
	status = status ? status
			: step(plan, lane, LOADER_PORTPOLICY, STEP_READ,
				  "'%s' explain -f '%s/now/host.policy' in tcp/80 from 192.0.2.1", program, in);
	status = status ? status
			: step(plan, lane, LOADER_PORTPOLICY, STEP_COMPILING, "'%s' compile '%s/now/host.policy'", program, in);
	static const struct {
		enum load_step step;
		enum variant variant;
	} applies[] = {
		{STEP_FIRST, VARIANT_BASE}, {STEP_SAME, VARIANT_BASE}, {STEP_LINE, VARIANT_LINE}, {STEP_FULL, VARIANT_FULL}};
	for (size_t i = 0; !status && i < sizeof(applies) / sizeof(*applies); i++) {
		status = put_variant(plan, applies[i].variant);
		status = status ? status
				: step(plan, lane, LOADER_PORTPOLICY, applies[i].step, "'%s' apply '%s/now/host.policy'", program,
					  in);
	}
	return status;
}

/* The other tools' files, once: what portpolicy compiles, and the same with the table replaced. */
static int compile_files(const struct plan *plan)
{
	const char *in = plan->bench.directory;
	int status = 0;
	for (int variant = 0; !status && variant < VARIANTS; variant++) {
		if (variant == VARIANT_LINE || !(plan->loaders[LOADER_NFT] || plan->loaders[LOADER_BARE]))
			continue;
		const char *name = variant_names[variant];
		status = lane_shell("(test %d = 0 || echo 'delete table inet portpolicy'; '%s' compile '%s/%s/host.policy' "
				    "2>/dev/null) >'%s/%s/sets.nft'",
			variant == VARIANT_FULL, plan->bench.portpolicy, in, name, in, name);
	}
	if (!status && plan->loaders[LOADER_NFT_RULES])
		status = lane_shell("sed -i '1i delete table inet bench' '%s/full/rules.nft'", in);
	if (!status && plan->loaders[LOADER_BARE])
		status = lane_shell("'%s' prepare <'%s/base/sets.nft' >'%s/base/bare'", plan->bare, in, in);
	return status;
}

static int run_nft(struct plan *plan, const struct lane *lane, enum loader loader)
{
	const char *in = plan->bench.directory, *name = loader == LOADER_NFT ? "sets" : "rules";
	int status = step(plan, lane, loader, STEP_FIRST, "nft -f '%s/base/%s.nft'", in, name);
	return status ? status : step(plan, lane, loader, STEP_FULL, "nft -f '%s/full/%s.nft'", in, name);
}

static int run_loader(struct plan *plan, const struct lane *lane, enum loader loader)
{
	switch (loader) {
	case LOADER_PORTPOLICY:
		return run_portpolicy(plan, lane);
	case LOADER_BARE:
		return step(plan, lane, loader, STEP_FIRST, "'%s' load '%s/base/bare'", plan->bare, plan->bench.directory);
	case LOADER_NFT:
	case LOADER_NFT_RULES:
		return run_nft(plan, lane, loader);
	}
	return -EINVAL;
}

static int run_once(struct plan *plan, const char *word, enum loader loader)
{
	struct lane *lane;
	int status = lane_open(NULL, plan->home, WAY_IN, &lane);
	if (status)
		return status;
	status = run_loader(plan, lane, loader);
	if (status == 1) {
		printf("# load %s: %s failed: ", word, loader_names[loader]);
		fflush(stdout);
		lane_shell("tail -n 1 '%s/log' | cut -c1-200; echo", plan->bench.directory);
		plan->loaders[loader] = false;
		status = 0;
	}
	talloc_free(lane);
	lanes_wait();
	return status;
}

static void print_lines(struct plan *plan, const char *name, size_t count)
{
	for (int loader = 0; loader < LOADERS; loader++)
		for (int step = 0; step < STEPS; step++) {
			struct figures *figures = &plan->figures[loader][step];
			if (!figures->count)
				continue;
			printf("load %-9s %7zu %-10s %-8s %9.4f %8.1f %8.0f\n", name, count, loader_names[loader],
				step_names[step], median(figures->seconds, figures->count),
				median(figures->megabytes, figures->count), median(figures->elements, figures->count));
		}
	fflush(stdout);
}

static int run_word(const struct plan *base, const char *word)
{
	struct plan plan = *base;
	char name[32];
	size_t count;
	int shape = 0;
	if (sscanf(word, "%31[^/]/%zu", name, &count) != 2 || !count)
		return usage();
	while (shape < SHAPES && strcmp(name, shape_names[shape]))
		shape++;
	if (shape == SHAPES)
		return usage();
	plan.loaders[LOADER_BARE] &= shape == SHAPE_LIST; /* it knows plain sets only */
	plan.loaders[LOADER_NFT_RULES] &= shape != SHAPE_LIST;
	int status = write_files(&plan, (enum shape)shape, count);
	status = status ? status : compile_files(&plan);
	for (size_t run = 0; !status && run < plan.runs; run++)
		for (int loader = 0; !status && loader < LOADERS; loader++)
			if (plan.loaders[loader])
				status = run_once(&plan, word, (enum loader)loader);
	if (status)
		fprintf(stderr, "loads: %s: %s\n", word, status < 0 ? strerror(-status) : "a command failed");
	print_lines(&plan, name, count);
	lane_shell("rm -rf '%s'/*", plan.bench.directory);
	return status;
}

static int read_options(int count, char **words, struct plan *plan)
{
	static const struct option options[] = {
		{"runs", required_argument, NULL, 'n'}, {"tool", required_argument, NULL, 't'}, {0}};
	bool named = false;
	for (int option; (option = getopt_long(count, words, "", options, NULL)) != -1;) {
		int loader = 0;
		while (option == 't' && loader < LOADERS && strcmp(optarg, loader_names[loader]))
			loader++;
		if (option == 'n')
			plan->runs = strtoul(optarg, NULL, 0);
		else if (option != 't' || loader == LOADERS)
			return usage();
		else
			plan->loaders[loader] = named = true;
	}
	for (int loader = 0; !named && loader < LOADER_NFT_RULES; loader++)
		plan->loaders[loader] = true;
	return optind == count || !plan->runs || plan->runs > RUNS_MAX ? usage() : 0;
}

int main(int count, char **words)
{
	struct plan plan = {.runs = 3};
	int status = read_options(count, words, &plan);
	status = status ? status : bench_open(&plan.bench, &plan.home);
	if (status)
		return status > 0 ? status : 1;
	if (snprintf(plan.bare, sizeof(plan.bare), "%.*s/tests/bench/bare",
		    (int)(strrchr(plan.bench.portpolicy, '/') - plan.bench.portpolicy),
		    plan.bench.portpolicy) >= (int)sizeof(plan.bare))
		return 1;
	for (int i = optind; !status && i < count; i++)
		status = run_word(&plan, words[i]);
	bench_close(&plan.bench);
	return status ? 1 : 0;
}
