/*
 * What the bricks cost that rulesets are built of: the figures behind the cost table of dsl/ruleset/cost.c.
 *
 *   bricks [--slices N]
 *
 * A lane for each brick, in turns; a line each, `added` in ns of a packet, against a base chain without rules:
 *
 *   brick name elements  hot  cold
 *
 * A look-up comes with the rule around it.  Hot is 64 packets again and again, cold packets of all elements.
 */
#include "tests/bench/lib/pace.h"
#include "tests/bench/lib/tool.h"
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <talloc.h>

#define HOT 64
#define COLD 65536
#define LANES_MAX 16

enum brick {
	BRICK_CHAIN,
	BRICK_RULE,
	BRICK_RULES,
	BRICK_JUMP,
	BRICK_COUNTER,
	BRICK_BITMAP,
	BRICK_HASH,
	BRICK_COUNTERS,
	BRICK_TREE,
	BRICK_BOXES
};
static const char *const brick_names[] = {
	"chain", "rule", "rules", "jump", "counter", "bitmap", "hash", "counters", "tree", "boxes"};

struct course {
	enum brick brick;
	struct lane *lane;
	double hot, cold;
};

/* Networks that lie apart, each with a port: exact addresses for a hash. */
static int spread(void *ctx, size_t count, int prefix, struct filters *out)
{
	struct filter *all = talloc_zero_array(ctx, struct filter, count);
	if (!all)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		uint16_t port = (uint16_t)(1024 + i % 1000);
		all[i] = (struct filter){.family = 4,
			.protocol = IPPROTO_TCP,
			.source = {0x0b000000 + ((u128)i << 9), prefix},
			.source_port = {0, 65535},
			.service = {port, port}};
	}
	*out = (struct filters){SHAPE_NETWORKS, all, count};
	return 0;
}

static void write_elements(FILE *stream, enum brick brick, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		unsigned address = 0x0b000000 + (unsigned)(i << 9);
		fprintf(stream, "%u.%u.%u.%u%s", address >> 24, address >> 16 & 255, address >> 8 & 255, address & 255,
			brick == BRICK_TREE || brick == BRICK_BOXES ? "/24" : "");
		if (brick == BRICK_BOXES)
			fprintf(stream, " . %zu", 1024 + i % 1000);
		fputs(brick == BRICK_COUNTERS ? " : \"hit\",\n" : ",\n", stream);
	}
}

static void write_set(FILE *stream, enum brick brick, size_t count)
{
	const char *type = brick == BRICK_BOXES ? "ipv4_addr . inet_service" : "ipv4_addr";
	fprintf(stream, " counter hit { }\n %s s {\n\ttype %s%s\n\t", brick == BRICK_COUNTERS ? "map" : "set", type,
		brick == BRICK_COUNTERS ? " : counter" : "");
	if (brick == BRICK_TREE || brick == BRICK_BOXES)
		fputs("flags interval\n", stream);
	else
		fprintf(stream, "size %zu\n", 2 * count + 1024);
	fputs("\telements = { ", stream);
	write_elements(stream, brick, count);
	fputs("}\n }\n", stream);
}

static void write_rules(FILE *stream, enum brick brick)
{
	switch (brick) {
	case BRICK_CHAIN:
		break;
	case BRICK_RULE:
		fputs("\tmeta l4proto 255 drop\n", stream);
		break;
	case BRICK_RULES: /* 10 more than one */
		for (int i = 0; i < 11; i++)
			fprintf(stream, "\tmeta l4proto %d drop\n", 240 + i);
		break;
	case BRICK_JUMP:
		fputs("\tjump empty\n", stream);
		break;
	case BRICK_COUNTER:
		fputs("\tcounter\n", stream);
		break;
	case BRICK_BITMAP: /* what the kernel makes of two bytes without ranges */
		fputs("\ttcp dport { 1024", stream);
		for (int port = 1025; port < 2024; port++)
			fprintf(stream, ", %d", port);
		fputs(" } accept\n", stream);
		break;
	case BRICK_HASH:
	case BRICK_TREE:
		fputs("\tip saddr @s accept\n", stream);
		break;
	case BRICK_COUNTERS:
		fputs("\tcounter name ip saddr map @s accept\n", stream);
		break;
	case BRICK_BOXES:
		fputs("\tip saddr . tcp dport @s accept\n", stream);
		break;
	}
}

static int load_brick(const struct bench *bench, const struct lane *lane, enum brick brick, size_t count)
{
	char path[128];
	snprintf(path, sizeof(path), "%s/brick.nft", bench->directory);
	FILE *stream = fopen(path, "we");
	if (!stream)
		return -errno;
	fputs("table inet bench {\n", stream);
	if (brick >= BRICK_HASH)
		write_set(stream, brick, count);
	fputs(" chain empty { }\n chain in {\n\ttype filter hook input priority 0; policy accept;\n", stream);
	write_rules(stream, brick);
	fputs(" }\n}\n", stream);
	if (fclose(stream))
		return -EIO;
	return lane_run(lane, "nft -f '%s'", path) ? -EIO : 0;
}

static int pace_all(void *ctx, struct course *courses, size_t count, unsigned slices, struct frames *frames, bool cold)
{
	struct runner runners[LANES_MAX];
	for (size_t i = 0; i < count; i++)
		runners[i] = (struct runner){.lane = courses[i].lane, .frames = frames};
	int status = pace(ctx, runners, count, slices);
	for (size_t i = 0; !status && i < count; i++)
		*(cold ? &courses[i].cold : &courses[i].hot) = pace_added(&runners[i], &runners[0], slices);
	return status;
}

/* The first of `courses` is the chain that the others are compared to. */
static int run(const struct bench *bench, int home, unsigned slices, struct course *courses, size_t count, size_t elements)
{
	void *ctx = talloc_new(NULL);
	struct probe *probes = talloc_array(ctx, struct probe, COLD);
	struct random random = {1};
	struct filters filters;
	struct frames *frames;
	int status = probes ? spread(ctx, elements, 32, &filters) : -ENOMEM;
	for (size_t i = 0; !status && i < count; i++) {
		status = lane_open(ctx, home, WAY_IN, &courses[i].lane);
		status = status ? status : load_brick(bench, courses[i].lane, courses[i].brick, elements);
		status = status ? status : lane_settle(courses[i].lane);
	}
	for (int cold = 0; !status && cold < 2; cold++) {
		status = filters_hits(&random, filters, WAY_IN, probes, cold ? COLD : HOT);
		status = status ? status : frames_new(ctx, probes, cold ? COLD : HOT, &frames);
		status = status ? status : pace_all(ctx, courses, count, slices, frames, cold);
	}
	for (size_t i = 1; !status && i < count; i++)
		printf("brick %-9s %7zu %8.1f %8.1f\n", brick_names[courses[i].brick],
			courses[i].brick >= BRICK_HASH ? elements : 0, courses[i].hot, courses[i].cold);
	talloc_free(ctx);
	lanes_wait();
	return status;
}

int main(int count, char **words)
{
	struct bench bench;
	int home, status;
	unsigned slices = count == 3 && !strcmp(words[1], "--slices") ? (unsigned)strtoul(words[2], NULL, 0) : 41;
	struct course plain[] = {{.brick = BRICK_CHAIN}, {.brick = BRICK_CHAIN}, {.brick = BRICK_RULE}, {.brick = BRICK_RULES},
		{.brick = BRICK_JUMP}, {.brick = BRICK_COUNTER}, {.brick = BRICK_BITMAP}};
	struct course sets[] = {{.brick = BRICK_CHAIN}, {.brick = BRICK_HASH}, {.brick = BRICK_COUNTERS}, {.brick = BRICK_TREE},
		{.brick = BRICK_BOXES}};
	if ((count != 1 && count != 3) || !slices) {
		fputs("usage: bricks [--slices N]\n", stderr);
		return 2;
	}
	setlinebuf(stdout);
	if (bench_open(&bench, &home))
		return 1;
	status = run(&bench, home, slices, plain, sizeof(plain) / sizeof(*plain), 1000);
	for (size_t elements = 1; !status && elements <= 1000000; elements *= 10) /* pipapo takes minutes to load a million */
		status = run(&bench, home, slices, sets, sizeof(sets) / sizeof(*sets) - (elements > 100000), elements);
	if (status)
		fprintf(stderr, "bricks: %s\n", strerror(-status));
	bench_close(&bench);
	return status ? 1 : 0;
}
