/* Slices in turn, each round beginning with another runner, and what becomes of them. */
#include "tests/bench/lib/pace.h"
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <talloc.h>
#include <unistd.h>

#define SLICE_NS 3e6
#define BATCH_LEAST 64 /* frames come in batches of so many */
#define BATCH_MOST 16384

static int run_slice(const struct runner *runner, unsigned count, double *ns)
{
	int status = lane_enter(runner->lane);
	if (status)
		return status;
	if (runner->lane->way == WAY_OUT)
		return frames_leave(runner->frames, runner->lane->socket4, runner->lane->socket6, count, ns);
	return frames_arrive(runner->frames, runner->lane->device, count, ns);
}

/* A first slice warms up and says how long a packet takes; then one is counted: do the rules let through what they should? */
static int prepare(struct runner *runner)
{
	uint64_t before, after;
	double ns;
	int status = lane_enter(runner->lane);
	status = status ? status : frames_attach(runner->frames, runner->lane->device, &runner->link);
	for (int i = 0; !status && i < 4; i++)
		status = run_slice(runner, BATCH_LEAST, &ns);
	if (status)
		return status;
	double fitting = SLICE_NS / (ns > 1 ? ns : 1);
	runner->batch = fitting < BATCH_LEAST ? BATCH_LEAST : fitting > BATCH_MOST ? BATCH_MOST : (unsigned)fitting;
	status = lane_passed(runner->lane, &before);
	status = status ? status : run_slice(runner, runner->batch, &ns);
	status = status ? status : lane_passed(runner->lane, &after);
	if (!status)
		runner->passed = (double)(after - before) / runner->batch;
	return status;
}

void stay_on_one_processor(void)
{
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET(sched_getcpu(), &set);
	sched_setaffinity(0, sizeof(set), &set);
}

static int run_all(struct runner *runners, size_t count, unsigned slices)
{
	for (unsigned slice = 0; slice < slices; slice++)
		for (size_t i = 0; i < count; i++) {
			struct runner *runner = &runners[(slice + i) % count];
			int status = run_slice(runner, runner->batch, &runner->slices[slice]);
			if (status)
				return status;
		}
	return 0;
}

int pace(void *ctx, struct runner *runners, size_t count, unsigned slices)
{
	cpu_set_t all;
	int status = 0;
	sched_getaffinity(0, sizeof(all), &all);
	stay_on_one_processor();
	for (size_t i = 0; !status && i < count; i++) {
		runners[i].slices = talloc_array(ctx, double, slices);
		runners[i].link = -1;
		status = runners[i].slices ? prepare(&runners[i]) : -ENOMEM;
	}
	status = status ? status : run_all(runners, count, slices);
	for (size_t i = 0; i < count; i++)
		if (runners[i].slices && runners[i].link >= 0)
			close(runners[i].link);
	sched_setaffinity(0, sizeof(all), &all);
	int back = count ? lane_leave(runners[0].lane) : 0;
	return status ? status : back;
}

static int by_size(const void *left, const void *right)
{
	double a = *(const double *)left, b = *(const double *)right;
	return (a > b) - (a < b);
}

double median(double *numbers, size_t count)
{
	if (!count)
		return 0;
	qsort(numbers, count, sizeof(*numbers), by_size);
	return (numbers[(count - 1) / 2] + numbers[count / 2]) / 2;
}

double pace_median(const struct runner *runner, unsigned slices)
{
	double *copy = talloc_memdup(NULL, runner->slices, slices * sizeof(double));
	double result = copy ? median(copy, slices) : 0;
	talloc_free(copy);
	return result;
}

static double compare(const struct runner *runner, const struct runner *reference, unsigned slices, bool ratio)
{
	double *both = talloc_array(NULL, double, slices);
	for (unsigned i = 0; both && i < slices; i++)
		both[i] = ratio ? runner->slices[i] / reference->slices[i] : runner->slices[i] - reference->slices[i];
	double result = both ? median(both, slices) : 0;
	talloc_free(both);
	return result;
}

double pace_added(const struct runner *runner, const struct runner *reference, unsigned slices)
{
	return compare(runner, reference, slices, false);
}

double pace_ratio(const struct runner *runner, const struct runner *reference, unsigned slices)
{
	return compare(runner, reference, slices, true);
}
