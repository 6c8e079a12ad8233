/*
 * Random policies, random real packets: what the kernel does must be what portpolicy says, and what a naive evaluator says that
 * walks the rules one by one.
 *
 *   packets [--policies N] [--packets M] [--seed S] [--seconds T] [--encoding KIND] [--rules R]
 *
 * M packets in all, over N policies; policy i of a run is made from seed S + i, so that one policy alone is run again with
 * `--policies 1 --seed S+i`.  Without --encoding the policies take turns at all of them, by their seeds.  With --rules the policies
 * are large: of R rules.  Without any option a few such policies follow the small ones.  Everything happens in a network namespace of
 * the program's own.
 */
#include "tests/netns/lib/trial.h"
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <talloc.h>
#include <time.h>
#include <unistd.h>

struct plan {
	size_t policies, packets;
	size_t rules; /* 0: a small policy of as many as it happens to have */
	uint64_t seed;
	double seconds;
	int encoding; /* -1: all in turn */
};

struct tally {
	size_t policies, packets, arrived, answers, failed;
};

static double now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static int usage(void)
{
	fputs("usage: packets [--policies N] [--packets M] [--seed S] [--seconds T] [--encoding KIND] [--rules R]\n", stderr);
	return 2;
}

static int encoding_named(const char *word)
{
	for (int i = 0; i < ENCODINGS; i++)
		if (!strcmp(word, encoding_names[i]))
			return i;
	return -1;
}

static int read_plan(int count, char **words, struct plan *plan)
{
	static const struct option options[] = {{"policies", required_argument, NULL, 'n'}, {"packets", required_argument, NULL, 'm'},
		{"seed", required_argument, NULL, 's'}, {"seconds", required_argument, NULL, 't'},
		{"encoding", required_argument, NULL, 'e'}, {"rules", required_argument, NULL, 'r'}, {0}};
	for (int option; (option = getopt_long(count, words, "", options, NULL)) != -1;) {
		if (option == 'n')
			plan->policies = strtoul(optarg, NULL, 0);
		else if (option == 'm')
			plan->packets = strtoul(optarg, NULL, 0);
		else if (option == 's')
			plan->seed = strtoull(optarg, NULL, 0);
		else if (option == 't')
			plan->seconds = strtod(optarg, NULL);
		else if (option == 'r')
			plan->rules = strtoul(optarg, NULL, 0);
		else if (option == 'e' && (plan->encoding = encoding_named(optarg)) >= 0)
			continue;
		else
			return usage();
	}
	return optind < count || !plan->policies ? usage() : 0;
}

static int run_policy(void *ctx, const struct laboratory *laboratory, uint64_t seed, size_t rules, size_t packets,
	struct tally *tally)
{
	struct random random = {seed * 0xd1342543de82ef95ULL + 7};
	struct model *model = rules ? model_random_large(ctx, seed, rules) : model_random(ctx, seed);
	struct probe *probes = talloc_array(ctx, struct probe, packets);
	struct trial trial;
	if (!probes)
		return -ENOMEM;
	for (size_t i = 0; i < packets; i++)
		probes[i] = probe_random(&random, model, packets_world_users(laboratory->world));
	int error = trial_hold(ctx, laboratory, model, probes, packets, &trial);
	if (error)
		return error;
	tally->policies++;
	tally->packets += trial.packets;
	tally->arrived += trial.arrived;
	tally->answers += trial.answers;
	if (trial.failed) {
		tally->failed++;
		printf("seed %llu:\n%s", (unsigned long long)seed, trial.report);
		trial_shrink(ctx, laboratory, model, probes, packets);
	}
	return 0;
}

static int run(void *ctx, struct laboratory *laboratory, const struct plan *plan, struct tally *tally)
{
	double end = now() + plan->seconds;
	size_t each = plan->packets / plan->policies;
	each = each < 1 ? 1 : each >= TAGS ? TAGS - 1 : each;
	for (size_t i = 0; i < plan->policies && tally->failed < 5; i++) {
		if (plan->seconds > 0 && now() > end)
			break;
		void *inner = talloc_new(ctx);
		laboratory->read_with_nft = i % 11 == 0;
		laboratory->encoding = plan->encoding < 0 ? (enum encoding)((plan->seed + i) % ENCODINGS) : (enum encoding)plan->encoding;
		int error = run_policy(inner, laboratory, plan->seed + i, plan->rules, each, tally);
		talloc_free(inner);
		if (error) {
			printf("seed %llu: %s\n", (unsigned long long)(plan->seed + i), strerror(-error));
			return error;
		}
	}
	return 0;
}

static int report(const struct plan *plan, const struct tally *tally, double seconds)
{
	bool few = tally->arrived * 10 < tally->packets * 9;
	printf("%zu policies from seed %llu, %zu packets, %zu of them met the rules, %zu answers of reject, %zu policies with a mismatch, %.1f s\n",
		tally->policies, (unsigned long long)plan->seed, tally->packets, tally->arrived, tally->answers, tally->failed, seconds);
	if (few)
		puts("too few packets met the rules: the test does not show what it should");
	return tally->failed || few || !tally->policies;
}

static void remove_directory(const char *directory)
{
	char command[128];
	snprintf(command, sizeof(command), "rm -rf '%s'", directory);
	if (system(command))
		fprintf(stderr, "%s could not be removed\n", directory);
}

int main(int count, char **words)
{
	struct plan plan = {.policies = 70, .packets = 35000, .seed = 1, .seconds = 60, .encoding = -1};
	const struct plan large = {.policies = ENCODINGS, .packets = ENCODINGS * 200, .rules = 1000, .encoding = -1},
			  largest = {.policies = 1, .packets = 400, .rules = 10000, .encoding = ENCODING_AUTO};
	struct laboratory laboratory = {.directory = "/tmp/packets.XXXXXX"};
	struct tally tally = {0};
	if (read_plan(count, words, &plan))
		return 2;
	void *ctx = talloc_new(NULL);
	double start = now();
	setlinebuf(stdout);
	int error = packets_world_new(ctx, &laboratory.world);
	if (error) {
		if (error < 0)
			printf("no namespace to test in: %s\n", strerror(-error));
		return error == 77 ? 77 : 1;
	}
	if (!packets_world_users(laboratory.world))
		puts("no other users in this user namespace: packets of root only");
	if (!mkdtemp(laboratory.directory))
		return 1;
	error = run(ctx, &laboratory, &plan, &tally);
	if (!error && !tally.failed && count == 1)
		error = run(ctx, &laboratory, &large, &tally) ?: run(ctx, &laboratory, &largest, &tally);
	if (!tally.failed)
		remove_directory(laboratory.directory);
	talloc_free(ctx);
	return error || report(&plan, &tally, now() - start);
}
