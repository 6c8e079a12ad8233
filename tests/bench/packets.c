/*
 * What rules add to a packet, in nanoseconds, tool beside tool.
 *
 *   packets [--way in|out|forward] [--slices N] [--seed N] [--tool NAME]... [--encoding KIND]... SHAPE/COUNT...
 *
 * For each filter set (tuples/1000, fw/10000, ...) a lane is built for each tool, and for portpolicy one for each encoding; then
 * the same packets are sent into all of them in turns of about 3 ms, and medians printed, a line each:
 *
 *   way shape rules packets cache tool   ns  added  ratio  passed
 *
 * `packets` are hits, misses, or of an established connection; `hot` sends 64 different packets again and again, `cold` as many
 * as keep a large set out of the caches.  `added` and `ratio` are against ct-only with the same packets, slice by slice (misses:
 * against a ct-only that drops them); `ct-only` comes twice, the second line showing the noise.  `passed`: the share that was let
 * through.
 */
#include "tests/bench/lib/pace.h"
#include "tests/bench/lib/tool.h"
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <talloc.h>
#include <unistd.h>

#define HOT 64
#define COLD 65536
#define LANES_MAX 32

struct candidate {
	enum tool tool;
	enum encoding encoding;
};

struct plan {
	struct bench bench;
	int home;
	enum way way;
	unsigned slices;
	uint64_t seed;
	struct candidate candidates[LANES_MAX];
	size_t candidate_count;
};

enum meeting { MEETING_HITS, MEETING_MISSES };
#define MEETINGS 2
static const char *const meeting_names[MEETINGS] = {"hits", "misses"};
static const char *const way_names[WAYS] = {"in", "out", "forward"};

struct trial {
	const struct plan *plan;
	enum shape shape;
	struct filters filters;
	struct lane *lanes[LANES_MAX]; /* of each candidate; NULL: it could not be loaded */
};

static int usage(void)
{
	fputs("usage: packets [--way in|out|forward] [--slices N] [--seed N] [--tool NAME]... [--encoding KIND]... "
	      "SHAPE/COUNT...\n",
		stderr);
	return 2;
}

static int index_of(const char *word, const char *const *names, int count)
{
	for (int i = 0; i < count; i++)
		if (!strcmp(word, names[i]))
			return i;
	fprintf(stderr, "packets: what is \"%s\"?\n", word);
	return -1;
}

static int add_candidate(struct plan *plan, int tool, int encoding)
{
	if (tool < 0 || encoding < 0 || plan->candidate_count == LANES_MAX)
		return -1;
	plan->candidates[plan->candidate_count++] = (struct candidate){(enum tool)tool, (enum encoding)encoding};
	return 0;
}

static int set_option(struct plan *plan, int option)
{
	int way;
	switch (option) {
	case 'w':
		way = index_of(optarg, way_names, WAYS);
		plan->way = way < 0 ? WAY_IN : (enum way)way;
		return way;
	case 'n':
		plan->slices = (unsigned)strtoul(optarg, NULL, 0);
		return plan->slices ? 0 : -1;
	case 's':
		plan->seed = strtoull(optarg, NULL, 0);
		return 0;
	case 't':
		return add_candidate(plan, index_of(optarg, tool_names, TOOLS), ENCODING_AUTO);
	case 'e':
		return add_candidate(plan, TOOL_PORTPOLICY, index_of(optarg, encoding_names, ENCODINGS));
	}
	return -1;
}

static int read_options(int count, char **words, struct plan *plan)
{
	static const struct option options[] = {{"way", required_argument, NULL, 'w'}, {"slices", required_argument, NULL, 'n'},
		{"seed", required_argument, NULL, 's'}, {"tool", required_argument, NULL, 't'},
		{"encoding", required_argument, NULL, 'e'}, {0}};
	/* What all others are compared to stands first; see REFERENCE and REFERENCE_DROP. */
	add_candidate(plan, TOOL_STATE, 0), add_candidate(plan, TOOL_STATE_DROP, 0), add_candidate(plan, TOOL_STATE, 0);
	add_candidate(plan, TOOL_STATE_DROP, 0), add_candidate(plan, TOOL_NOTHING, 0), add_candidate(plan, TOOL_PORTPOLICY, 0);
	for (int option; (option = getopt_long(count, words, "", options, NULL)) != -1;)
		if (set_option(plan, option) < 0)
			return usage();
	return optind == count ? usage() : 0;
}
#define REFERENCE 0
#define REFERENCE_DROP 1

static const char *candidate_name(const struct candidate *candidate)
{
	static const char *const forced[ENCODINGS] = {"portpolicy", "portpolicy=linear", "portpolicy=hashes", "portpolicy=boxes",
		"portpolicy=ports", "portpolicy=chains"};
	return candidate->tool == TOOL_PORTPOLICY ? forced[candidate->encoding] : tool_names[candidate->tool];
}

/* A tool that cannot do it is told, with its last words, and left out. */
static void tell_failure(const struct trial *trial, const struct candidate *candidate)
{
	char path[256], line[256] = "", last[256] = "";
	snprintf(path, sizeof(path), "%s/log", trial->plan->bench.directory);
	FILE *log = fopen(path, "re");
	while (log && fgets(line, sizeof(line), log))
		snprintf(last, sizeof(last), "%.*s", (int)strcspn(line, "\n"), line);
	if (log)
		fclose(log);
	printf("# %s %s/%zu: %s failed: %s\n", way_names[trial->plan->way], shape_names[trial->shape], trial->filters.count,
	       candidate_name(candidate), last);
}

static int open_lanes(struct trial *trial, void *ctx)
{
	const struct plan *plan = trial->plan;
	for (size_t i = 0; i < plan->candidate_count; i++) {
		const struct candidate *candidate = &plan->candidates[i];
		int status = lane_open(ctx, plan->home, plan->way, &trial->lanes[i]);
		status = status ? status
				: tool_load(&plan->bench, trial->lanes[i], candidate->tool, candidate->encoding, trial->filters);
		if (status == 1) {
			tell_failure(trial, candidate);
			trial->lanes[i] = NULL;
			continue;
		}
		status = status ? status : lane_settle(trial->lanes[i]);
		if (status)
			return status;
	}
	return 0;
}

static void print_line(const struct trial *trial, enum meeting meeting, bool cold, const struct candidate *candidate,
	const struct runner *runner, const struct runner *reference)
{
	unsigned slices = trial->plan->slices;
	printf("%-7s %-9s %7zu %-7s %-4s %-18s %9.1f %9.1f %7.3f %6.3f\n", way_names[trial->plan->way], shape_names[trial->shape],
		trial->filters.count, meeting_names[meeting], cold ? "cold" : "hot", candidate_name(candidate),
		pace_median(runner, slices), pace_added(runner, reference, slices), pace_ratio(runner, reference, slices),
		runner->passed);
}

static int measure(struct trial *trial, void *ctx, struct frames *frames, enum meeting meeting, bool cold)
{
	const struct plan *plan = trial->plan;
	struct runner runners[LANES_MAX];
	const struct candidate *candidates[LANES_MAX];
	size_t count = 0, reference = 0;
	enum tool other = meeting == MEETING_HITS ? TOOL_STATE_DROP : TOOL_STATE;
	for (size_t i = 0; i < plan->candidate_count; i++) {
		if (!trial->lanes[i] || plan->candidates[i].tool == other)
			continue;
		if (i == (meeting == MEETING_HITS ? REFERENCE : REFERENCE_DROP))
			reference = count;
		candidates[count] = &plan->candidates[i];
		runners[count++] = (struct runner){.lane = trial->lanes[i], .frames = frames};
	}
	int status = pace(ctx, runners, count, plan->slices);
	for (size_t i = 0; !status && i < count; i++)
		print_line(trial, meeting, cold, candidates[i], &runners[i], &runners[reference]);
	fflush(stdout);
	return status;
}

static int run_meeting(struct trial *trial, void *ctx, enum meeting meeting, bool cold)
{
	struct random random = {trial->plan->seed * 77 + meeting * 2 + cold + 1};
	size_t count = cold ? COLD : HOT;
	struct probe *probes = talloc_array(ctx, struct probe, count);
	struct frames *frames;
	if (!probes)
		return -ENOMEM;
	int status = (meeting == MEETING_HITS ? filters_hits : filters_misses)(
		&random, trial->filters, trial->plan->way, probes, count);
	if (status == -ERANGE) {
		printf("# %s/%zu: nothing misses it\n", shape_names[trial->shape], trial->filters.count);
		return 0;
	}
	status = status ? status : frames_new(ctx, probes, count, &frames);
	return status ? status : measure(trial, ctx, frames, meeting, cold);
}

static int run_trial(const struct plan *plan, const char *word)
{
	char name[16];
	size_t count;
	if (sscanf(word, "%15[^/]/%zu", name, &count) != 2 || !count)
		return usage();
	int shape = index_of(name, shape_names, SHAPES);
	if (shape < 0)
		return usage();
	void *ctx = talloc_new(NULL);
	struct trial trial = {.plan = plan, .shape = (enum shape)shape};
	int status = filters_make(ctx, trial.shape, plan->way, count, plan->seed, &trial.filters);
	status = status ? status : open_lanes(&trial, ctx);
	for (int i = 0; !status && i < 2 * MEETINGS; i++)
		status = run_meeting(&trial, ctx, (enum meeting)(i / 2), i % 2);
	if (status < 0)
		fprintf(stderr, "packets: %s: %s\n", word, strerror(-status));
	talloc_free(ctx);
	lanes_wait();
	return status;
}

static int run(struct plan *plan, char **words, int count)
{
	char directory[] = "/tmp/bench.XXXXXX", command[64];
	int status = 0;
	if (!mkdtemp(directory))
		return -errno;
	plan->bench.directory = directory;
	plan->home = lanes_start();
	if (plan->home < 0) {
		fprintf(stderr, "packets: no network namespace: %s\n", strerror(-plan->home));
		status = plan->home;
	}
	for (int i = 0; !status && i < count; i++)
		status = run_trial(plan, words[i]);
	snprintf(command, sizeof(command), "rm -rf '%s'", directory);
	return system(command) ? -EIO : status;
}

int main(int count, char **words)
{
	struct plan plan = {.way = WAY_IN, .slices = 41, .seed = 1};
	char program[PATH_MAX];
	if (read_options(count, words, &plan))
		return 2;
	snprintf(program, sizeof(program), "%s/portpolicy", getenv("BUILD") ? getenv("BUILD") : "build");
	plan.bench.portpolicy = realpath(program, NULL);
	plan.bench.scripts = realpath("tests/bench/tools", NULL);
	if (!plan.bench.portpolicy || !plan.bench.scripts) {
		fprintf(stderr, "packets: %s or tests/bench/tools: %s\n", program, strerror(errno));
		return 2;
	}
	setlinebuf(stdout);
	return run(&plan, words + optind, count - optind) ? 1 : 0;
}
