/*
 * TCP connects per second to a host with rules, tool beside tool.
 *
 *   connects [--rounds N] [--tool NAME]... SHAPE/COUNT...
 *
 * A server in a lane, a client at the other end of its veth (over loopback no rule is met), one connection after another: each is
 * a handshake, and a reset that ends it without a trace.  Rounds of CONNECTS of each lane in turn; a line each:
 *
 *   connects shape rules tool  per_second  ratio
 *
 * `ratio`: to ct-only of the same round, the median; ct-only comes twice, the second line showing the noise.
 */
#include "tests/bench/lib/pace.h"
#include "tests/bench/lib/tool.h"
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <talloc.h>
#include <time.h>
#include <unistd.h>

#define PORT 7093
#define CONNECTS 100 /* of a round: they wait in the listener's queue until it is over */
#define PATIENCE_S 2
#define LANES_MAX 8

struct course {
	enum tool tool;
	struct lane *lane;
	int listener;
	uint32_t server, client; /* addresses, host order */
	double *seconds;	 /* of a connection, of each round */
};

struct plan {
	struct bench bench;
	int home;
	unsigned rounds;
	enum tool tools[LANES_MAX];
	size_t count;
};

static int usage(void)
{
	fputs("usage: connects [--rounds N] [--tool NAME]... SHAPE/COUNT...\n", stderr);
	return 2;
}

static int open_listener(const struct lane *lane)
{
	struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(PORT)};
	int status = lane_enter(lane);
	int descriptor = status ? -1 : socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (descriptor >= 0 && (bind(descriptor, (struct sockaddr *)&any, sizeof(any)) || listen(descriptor, 2 * CONNECTS))) {
		close(descriptor);
		descriptor = -1;
	}
	status = descriptor < 0 ? -errno : 0;
	int back = lane_leave(lane);
	return status ? status : back ? back : descriptor;
}

/* Addresses at both ends, and nothing behind the rules that drops what they let through. */
static int connect_ends(struct course *course, unsigned number)
{
	course->server = 0x0a090001 + (number << 8);
	course->client = course->server + 1;
	int status = lane_run(course->lane,
		"nft delete table inet behind; ip link set eth0 arp on; ip address add 10.9.%u.1/24 dev eth0", number);
	char command[256];
	snprintf(command, sizeof(command), "ip link set %s arp on; ip address add 10.9.%u.2/24 dev %s", course->lane->peer,
		number, course->lane->peer);
	return status || system(command) ? -EIO : 0;
}

/* The set with one filter more: the client's own. */
static int filters_with_client(void *ctx, struct filters filters, uint32_t client, struct filters *out)
{
	struct filter *all = talloc_array(ctx, struct filter, filters.count + 1);
	if (!all)
		return -ENOMEM;
	memcpy(all, filters.at, filters.count * sizeof(*all));
	int prefix = filters.shape == SHAPE_TUPLES ? 32 : 24;
	all[filters.count] = (struct filter){.family = 4,
		.protocol = IPPROTO_TCP,
		.source = {prefix == 32 ? client : client & ~0xffu, prefix},
		.source_port = {0, 65535},
		.service = {PORT, PORT}};
	*out = (struct filters){filters.shape, all, filters.count + 1};
	return 0;
}

static int open_course(const struct plan *plan, void *ctx, struct course *course, unsigned number, struct filters filters)
{
	struct subject subject = {0};
	int status = lane_open(ctx, plan->home, WAY_IN, &course->lane);
	status = status ? status : connect_ends(course, number);
	status = status ? status : filters_with_client(ctx, filters, course->client, &subject.filters);
	status = status ? status : tool_load(&plan->bench, course->lane, course->tool, ENCODING_AUTO, &subject);
	if (status)
		return status > 0 ? -EIO : status;
	course->listener = open_listener(course->lane);
	course->seconds = talloc_array(ctx, double, plan->rounds);
	return course->listener < 0 ? course->listener : course->seconds ? 0 : -ENOMEM;
}

static int connect_once(const struct course *course)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(PORT), .sin_addr.s_addr = htonl(course->server)};
	struct linger at_once = {.l_onoff = 1};
	struct timeval patience = {.tv_sec = PATIENCE_S};
	int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (descriptor < 0)
		return -errno;
	setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	int status = connect(descriptor, (struct sockaddr *)&to, sizeof(to)) ? -errno : 0;
	close(descriptor);
	return status;
}

static void drain(int listener)
{
	for (int connection; (connection = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0;)
		close(connection);
}

static int run_round(const struct course *course, double *seconds)
{
	struct timespec start, end;
	int status = 0;
	clock_gettime(CLOCK_MONOTONIC, &start);
	for (int i = 0; !status && i < CONNECTS; i++)
		status = connect_once(course);
	clock_gettime(CLOCK_MONOTONIC, &end);
	*seconds = ((double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) / 1e9) / CONNECTS;
	drain(course->listener);
	return status;
}

static int run_rounds(const struct plan *plan, struct course *courses)
{
	double warm;
	int status = 0;
	stay_on_one_processor();
	for (size_t i = 0; !status && i < plan->count; i++)
		status = run_round(&courses[i], &warm);
	for (unsigned round = 0; round < plan->rounds; round++)
		for (size_t i = 0; !status && i < plan->count; i++) {
			struct course *course = &courses[(round + i) % plan->count];
			status = run_round(course, &course->seconds[round]);
		}
	return status;
}

static void print_line(
	const struct plan *plan, const char *name, size_t rules, const struct course *course, const struct course *reference)
{
	double *ratios = talloc_array(course->lane, double, plan->rounds), *copy;
	for (unsigned i = 0; ratios && i < plan->rounds; i++)
		ratios[i] = reference->seconds[i] / course->seconds[i];
	copy = talloc_memdup(course->lane, course->seconds, plan->rounds * sizeof(double));
	if (ratios && copy)
		printf("connects %-9s %7zu %-12s %9.0f %7.3f\n", name, rules, tool_names[course->tool],
			1 / median(copy, plan->rounds), median(ratios, plan->rounds));
}

static int run_word(const struct plan *plan, const char *word)
{
	char name[32];
	size_t count;
	struct filters filters;
	struct course courses[LANES_MAX] = {0};
	int shape = 0;
	if (sscanf(word, "%31[^/]/%zu", name, &count) != 2 || !count)
		return usage();
	while (shape < SHAPES && strcmp(name, shape_names[shape]))
		shape++;
	if (shape == SHAPES || shape == SHAPE_LIST)
		return usage();
	void *ctx = talloc_new(NULL);
	int status = filters_make(ctx, (enum shape)shape, WAY_IN, count, 1, &filters);
	for (size_t i = 0; !status && i < plan->count; i++) {
		courses[i] = (struct course){.tool = plan->tools[i], .listener = -1};
		status = open_course(plan, ctx, &courses[i], (unsigned)i, filters);
	}
	cpu_set_t all;
	sched_getaffinity(0, sizeof(all), &all);
	status = status ? status : run_rounds(plan, courses);
	sched_setaffinity(0, sizeof(all), &all);
	for (size_t i = 0; !status && i < plan->count; i++)
		print_line(plan, name, count, &courses[i], &courses[0]);
	for (size_t i = 0; i < plan->count; i++)
		if (courses[i].lane && courses[i].listener >= 0)
			close(courses[i].listener);
	if (status < 0)
		fprintf(stderr, "connects: %s: %s\n", word, strerror(-status));
	talloc_free(ctx);
	lanes_wait();
	return status;
}

static int add_tool(struct plan *plan, const char *word)
{
	for (int i = 0; i < TOOLS; i++)
		if (!strcmp(word, tool_names[i]) && plan->count < LANES_MAX) {
			plan->tools[plan->count++] = (enum tool)i;
			return 0;
		}
	return -1;
}

static int read_options(int count, char **words, struct plan *plan)
{
	static const struct option options[] = {
		{"rounds", required_argument, NULL, 'n'}, {"tool", required_argument, NULL, 't'}, {0}};
	for (int option; (option = getopt_long(count, words, "", options, NULL)) != -1;) {
		if (option == 'n')
			plan->rounds = (unsigned)strtoul(optarg, NULL, 0);
		else if (option != 't' || add_tool(plan, optarg))
			return usage();
	}
	return optind == count || !plan->rounds ? usage() : 0;
}

int main(int count, char **words)
{
	struct plan plan = {.rounds = 101, .tools = {TOOL_STATE, TOOL_STATE, TOOL_PORTPOLICY}, .count = 3};
	int status = read_options(count, words, &plan);
	status = status ? status : bench_open(&plan.bench, &plan.home);
	if (status)
		return status > 0 ? status : 1;
	for (int i = optind; !status && i < count; i++)
		status = run_word(&plan, words[i]);
	bench_close(&plan.bench);
	return status ? 1 : 0;
}
