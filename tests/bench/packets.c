/*
 * What rules add to a packet, in nanoseconds, tool beside tool.
 *
 *   packets [--way in|out|forward] [--packets hits|misses|standing]... [--tool NAME]... [--encoding KIND]...
 *           [--slices N] [--seed N] SHAPE/COUNT|example/NAME...
 *
 * For each filter set (tuples/1000, fw/10000, ...) or shipped policy a lane is built for each tool, and for portpolicy one for
 * each encoding; then the same packets are sent into all of them in turns of about 3 ms, and medians printed, a line each:
 *
 *   way shape rules packets cache tool   ns  added  ratio  passed
 *
 * `hot` sends 64 different packets again and again, `cold` as many as keep a large set out of the caches.  `added` and `ratio`
 * are against ct-only with the same packets, slice by slice (what is dropped: against a ct-only that drops it); `ct-only` comes
 * twice, the second line showing the noise.  `passed`: the share that was let through.
 */
#include "tests/bench/lib/established.h"
#include "tests/bench/lib/pace.h"
#include "tests/bench/lib/tool.h"
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <talloc.h>

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
	unsigned slices, meetings; /* meetings: as bits */
	uint64_t seed;
	struct candidate candidates[LANES_MAX];
	size_t candidate_count;
};

/* What is sent: packets that the rules match, that they do not, of connections that stand, and a few of all services (examples).
 */
enum meeting { MEETING_HITS, MEETING_MISSES, MEETING_STANDING, MEETING_MIXED };
#define MEETINGS 4
static const char *const meeting_names[MEETINGS] = {"hits", "misses", "standing", "mixed"};
#define ALL_MEETINGS ((1u << MEETINGS) - 1)
static const char *const way_names[WAYS] = {"in", "out", "forward"};

struct trial {
	const struct plan *plan;
	char name[32];
	size_t rules;
	struct subject subject;
	struct lane *lanes[LANES_MAX]; /* of each candidate; NULL: it could not be loaded */
};

static int usage(void)
{
	fputs("usage: packets [--way in|out|forward] [--packets hits|misses|standing]... [--tool NAME]... [--encoding KIND]...\n"
	      "               [--slices N] [--seed N] SHAPE/COUNT|example/NAME...\n",
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
	int way; /* or another number of a name */
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
	case 'p':
		way = index_of(optarg, meeting_names, MEETINGS);
		plan->meetings = (plan->meetings == ALL_MEETINGS ? 0 : plan->meetings) | (way < 0 ? 0 : 1u << way);
		return way;
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
		{"encoding", required_argument, NULL, 'e'}, {"packets", required_argument, NULL, 'p'}, {0}};
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

/* A tool that cannot do it is told, with what it said of an error or its last words, and left out. */
static void tell_failure(const struct trial *trial, const struct candidate *candidate)
{
	char path[256], line[256], told[256] = "no word said why";
	bool error = false;
	snprintf(path, sizeof(path), "%s/log", trial->plan->bench.directory);
	FILE *log = fopen(path, "re");
	while (log && !error && fgets(line, sizeof(line), log)) {
		error = strstr(line, "rror:");
		if (error || strcspn(line, "\n"))
			snprintf(told, sizeof(told), "%.*s", (int)strcspn(line, "\n"), line);
	}
	if (log)
		fclose(log);
	printf("# %s %s/%zu: %s failed: %s\n", way_names[trial->plan->way], trial->name, trial->rules, candidate_name(candidate),
		told);
}

static int open_lanes(struct trial *trial, void *ctx)
{
	const struct plan *plan = trial->plan;
	for (size_t i = 0; i < plan->candidate_count; i++) {
		const struct candidate *candidate = &plan->candidates[i];
		if (trial->subject.policy && candidate->tool > TOOL_UNCOUNTED)
			continue; /* only we can read it */
		int status = lane_open(ctx, plan->home, plan->way, &trial->lanes[i]);
		status = status ? status
				: tool_load(&plan->bench, trial->lanes[i], candidate->tool, candidate->encoding, &trial->subject);
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
	printf("%-7s %-9s %7zu %-7s %-4s %-18s %9.1f %9.1f %7.3f %6.3f\n", way_names[trial->plan->way], trial->name, trial->rules,
		meeting_names[meeting], cold ? "cold" : "hot", candidate_name(candidate), pace_median(runner, slices),
		pace_added(runner, reference, slices), pace_ratio(runner, reference, slices), runner->passed);
}

/* Are these packets let through? */
static bool passes(const struct trial *trial, enum meeting meeting)
{
	if (meeting == MEETING_STANDING || meeting == MEETING_MIXED)
		return true;
	return (meeting == MEETING_HITS) == (trial->subject.filters.shape != SHAPE_LIST);
}

static int measure(struct trial *trial, void *ctx, struct frames *frames, enum meeting meeting, bool cold)
{
	const struct plan *plan = trial->plan;
	struct runner runners[LANES_MAX];
	const struct candidate *candidates[LANES_MAX];
	size_t count = 0, reference = 0;
	bool passing = passes(trial, meeting);
	for (size_t i = 0; i < plan->candidate_count; i++) {
		if (!trial->lanes[i] || plan->candidates[i].tool == (passing ? TOOL_STATE_DROP : TOOL_STATE))
			continue;
		if (i == (passing ? REFERENCE : REFERENCE_DROP))
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

static int establish(struct trial *trial, struct probe *probes, size_t count)
{
	int status = 0;
	for (size_t i = 0; i < count; i++)
		probes[i].protocol = IPPROTO_UDP;
	for (size_t i = 0; !status && i < trial->plan->candidate_count; i++)
		if (trial->lanes[i])
			status = lane_establish(trial->lanes[i], probes, count);
	return status;
}

/* From a few strangers to the services that hosts have. */
static void mixed_probes(struct random *random, enum way way, struct probe *probes, size_t count)
{
	static const uint16_t services[] = {22, 25, 53, 80, 123, 443, 993, 3128, 5432, 8080};
	for (size_t i = 0; i < count; i++)
		probes[i] = (struct probe){.way = way,
			.family = 4,
			.arriving = -1,
			.leaving = -1,
			.syn = true,
			.protocol = random_chance(random, 70) ? IPPROTO_TCP : IPPROTO_UDP,
			.service = services[random_below(random, sizeof(services) / sizeof(*services))],
			.source_port = (uint16_t)(1024 + random_below(random, 60000)),
			.source = 0xcb007100 + random_below(random, 256),
			.destination = 0xc6336400 + random_below(random, 256)};
}

static int choose_probes(struct trial *trial, enum meeting meeting, bool cold, struct probe *probes, size_t count)
{
	struct random random = {trial->plan->seed * 77 + meeting * 2 + cold + 1};
	const struct filters *filters = &trial->subject.filters;
	switch (meeting) {
	case MEETING_HITS:
		return filters_hits(&random, *filters, trial->plan->way, probes, count);
	case MEETING_MISSES:
		return filters_misses(&random, *filters, trial->plan->way, probes, count);
	case MEETING_STANDING:
	case MEETING_MIXED:
		mixed_probes(&random, trial->plan->way, probes, count);
		return meeting == MEETING_STANDING ? establish(trial, probes, count) : 0;
	}
	return -EINVAL;
}

static int run_meeting(struct trial *trial, void *parent, enum meeting meeting, bool cold)
{
	void *ctx = talloc_new(parent);
	size_t count = cold ? COLD : HOT;
	struct probe *probes = talloc_array(ctx, struct probe, count);
	struct frames *frames;
	int status = probes ? choose_probes(trial, meeting, cold, probes, count) : -ENOMEM;
	if (status == -ERANGE)
		printf("# %s/%zu: nothing misses it\n", trial->name, trial->rules);
	else if (!status && !(status = frames_new(ctx, probes, count, &frames)))
		status = measure(trial, ctx, frames, meeting, cold);
	talloc_free(ctx);
	return status == -ERANGE ? 0 : status;
}

/* example/web-server: a shipped policy; its rules are counted roughly, by the lines that begin with an action. */
static int read_example(void *ctx, struct trial *trial)
{
	char *path = talloc_asprintf(ctx, "rules/examples/%s.policy", trial->name), line[512];
	FILE *file = path ? fopen(path, "re") : NULL;
	if (!file)
		return -errno;
	while (fgets(line, sizeof(line), file))
		trial->rules += !strncmp(line, "allow", 5) || !strncmp(line, "deny", 4) || !strncmp(line, "reject", 6);
	fclose(file);
	trial->subject.policy = realpath(path, NULL);
	return trial->subject.policy ? 0 : -errno;
}

static int read_word(void *ctx, struct trial *trial, const char *word)
{
	if (sscanf(word, "example/%31s", trial->name) == 1)
		return read_example(ctx, trial);
	if (sscanf(word, "%31[^/]/%zu", trial->name, &trial->rules) != 2 || !trial->rules)
		return -EINVAL;
	int shape = index_of(trial->name, shape_names, SHAPES);
	if (shape < 0)
		return -EINVAL;
	return filters_make(ctx, (enum shape)shape, trial->plan->way, trial->rules, trial->plan->seed, &trial->subject.filters);
}

static int run_trial(const struct plan *plan, const char *word)
{
	void *ctx = talloc_new(NULL);
	struct trial trial = {.plan = plan};
	int status = read_word(ctx, &trial, word);
	status = status ? status : open_lanes(&trial, ctx);
	for (int i = 0; !status && i < MEETINGS; i++)
		for (int cold = 0; !status && cold < (i < MEETING_STANDING ? 2 : 1); cold++)
			if (plan->meetings >> i & 1 && (i == MEETING_MIXED) == !!trial.subject.policy)
				status = run_meeting(&trial, ctx, (enum meeting)i, cold);
	if (status < 0)
		fprintf(stderr, "packets: %s: %s\n", word, strerror(-status));
	free((char *)trial.subject.policy);
	talloc_free(ctx);
	lanes_wait();
	return status;
}

int main(int count, char **words)
{
	struct plan plan = {.way = WAY_IN, .slices = 41, .seed = 1, .meetings = ALL_MEETINGS};
	int status = read_options(count, words, &plan);
	status = status ? status : bench_open(&plan.bench, &plan.home);
	if (status)
		return status > 0 ? status : 1;
	setlinebuf(stdout);
	for (int i = optind; !status && i < count; i++)
		status = run_trial(&plan, words[i]);
	bench_close(&plan.bench);
	return status ? 1 : 0;
}
