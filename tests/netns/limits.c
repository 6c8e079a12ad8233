/*
 * Limits that bite, which the random policies leave out: exactly the burst passes a day, from each source or in all; a source is an
 * IPv4 address or an IPv6 /64; above the limit a deny and a reject match.
 */
#include "tests/netns/lib/world.h"
#include <stdlib.h>
#include <string.h>
#include <talloc.h>
#include <unistd.h>

#define BURST 7
#define SOURCES 8
#define EACH 12

static const char policy[] =
	"default in deny\ndefault forward allow\n"
	"allow in udp/1000 limit 7/day per source\n"
	"allow in udp/1001 limit 7/day\n"
	"allow in udp/1002 limit 1/day burst 7 per source\n"
	"deny forward udp/1000 above 7/day per source\n"
	"reject forward udp/1001 above 7/day\n";

/* Three IPv4 sources; of the IPv6 ones 3 and 4 are of one /64, 5 is of the one beside it, 6 and 7 of another far away. */
static struct probe from_source(size_t i, enum way way, uint16_t port)
{
	static const u128 networks[] = {0, 0, 0, 2, 2, 3, (u128)1 << 30, (u128)1 << 30};
	struct probe probe = {.way = way, .family = i < 3 ? 4 : 6, .arriving = 1, .leaving = way == WAY_FORWARD ? 2 : -1, .protocol = 17, .service = port,
		.source_port = 4000};
	probe.source = i < 3 ? 0x0a000001 + i : ((u128)0x20010db8 << 96) + (networks[i] << 64) + 1 + i;
	probe.destination = i < 3 ? 0x0a630001 : ((u128)0x20010db8 << 96) + ((u128)99 << 64) + 1;
	return probe;
}

static size_t passed(const struct observation *seen, size_t first, size_t last)
{
	size_t count = 0;
	for (size_t i = first * EACH; i < (last + 1) * EACH; i++)
		count += seen[i].late;
	return count;
}

static int expect(const char *what, size_t wanted, size_t got)
{
	if (wanted != got)
		printf("%s: %zu passed, expected %zu\n", what, got, wanted);
	return wanted != got;
}

static int send_sources(struct world_of_packets *world, enum way way, uint16_t port, struct observation *seen)
{
	struct probe probes[SOURCES * EACH];
	for (size_t i = 0; i < SOURCES * EACH; i++)
		probes[i] = from_source(i / EACH, way, port);
	return packets_world_clear("") ?: packets_world_send(world, probes, SOURCES * EACH, seen);
}

static int each_source(struct world_of_packets *world, enum way way, uint16_t port)
{
	struct observation seen[SOURCES * EACH];
	if (send_sources(world, way, port, seen))
		return 1;
	return expect("first IPv4 source", BURST, passed(seen, 0, 0)) + expect("second IPv4 source", BURST, passed(seen, 1, 1)) +
	       expect("third IPv4 source", BURST, passed(seen, 2, 2)) + expect("two sources in one /64", BURST, passed(seen, 3, 4)) +
	       expect("the /64 beside it", BURST, passed(seen, 5, 5)) + expect("two more in one /64", BURST, passed(seen, 6, 7));
}

static int all_sources(struct world_of_packets *world, enum way way, uint16_t port)
{
	struct observation seen[SOURCES * EACH];
	size_t answers = 0;
	if (send_sources(world, way, port, seen))
		return 1;
	for (size_t i = 0; i < SOURCES * EACH; i++)
		answers += seen[i].answered;
	int failed = expect("all sources together", BURST, passed(seen, 0, SOURCES - 1));
	return way == WAY_IN ? failed : failed + expect("answers to the rest (not passed)", SOURCES * EACH - BURST, answers);
}

static int apply_policy(void)
{
	char path[] = "/tmp/limits.XXXXXX", *command;
	const char *build = getenv("BUILD") ?: "build";
	int descriptor = mkstemp(path);
	if (descriptor < 0 || write(descriptor, policy, strlen(policy)) < 0 || asprintf(&command, "%s/portpolicy apply %s", build, path) < 0)
		return 1;
	close(descriptor);
	int status = system(command);
	unlink(path);
	free(command);
	return status != 0;
}

int main(void)
{
	struct world_of_packets *world;
	int error = packets_world_new(NULL, &world);
	if (error)
		return error == 77 ? 77 : 1;
	int failed = apply_policy();
	failed += each_source(world, WAY_IN, 1000) + all_sources(world, WAY_IN, 1001) + each_source(world, WAY_IN, 1002);
	failed += each_source(world, WAY_FORWARD, 1000) + all_sources(world, WAY_FORWARD, 1001);
	talloc_free(world);
	puts(failed ? "limits do not hold" : "limits hold");
	return failed != 0;
}
