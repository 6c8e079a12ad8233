/*
 * Rules that a kernel really had, and the policy that import makes of them: the same packets pass.
 *
 *   import [--rounds N] [--seed S]
 *
 * Random rules are loaded with iptables-restore and ip6tables-restore, read back with iptables-save and `nft list ruleset`, and
 * packets are sent at them. Then the rules are taken out, the policy made of each dump is put into the kernel, and the same
 * packets are sent again. Packets that connection tracking calls invalid are left out: a policy drops them, these rules do not
 * ask.
 */
#include "portpolicy/import.h"
#include "agent/cli/cli.h"
#include "portpolicy/kernel.h"
#include "tests/netns/lib/world.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <talloc.h>
#include <unistd.h>

#define TABLE "portpolicy"
#define PACKETS 400
#define CHAINS 6 /* INPUT, OUTPUT, FORWARD and three of the user's */

static const char *const chains[CHAINS] = {"INPUT", "OUTPUT", "FORWARD", "one", "two", "three"};

static void put_address(FILE *to, struct random *random, bool v6, const char *option)
{
	unsigned last = (unsigned)random_below(random, 16), bits = (unsigned)random_below(random, 4);
	last = last >> bits << bits;
	fprintf(to, "%s %s ", random_chance(random, 20) ? " !" : "", option);
	fprintf(to, v6 ? "2001:db8::%x/%u" : "10.0.0.%u/%u", last, (v6 ? 128 : 32) - bits);
}

static void put_protocol(FILE *to, struct random *random, bool v6)
{
	static const char *const names[] = {"tcp", "udp", "sctp"};
	const char *name = names[random_below(random, 3)];
	unsigned first = 20 + (unsigned)random_below(random, 8), last = first + (unsigned)random_below(random, 3);
	const char *negated = random_chance(random, 15) ? " !" : "";
	switch (random_below(random, 7)) {
	case 0:
		fprintf(to, v6 ? " -p icmpv6 -m icmp6%s --icmpv6-type 128" : " -p icmp -m icmp%s --icmp-type 8", negated);
		break;
	case 1:
		fprintf(to, "%s -p %s", negated, name);
		break;
	case 2:
		fprintf(to, " -p %s -m multiport%s --dports %u,%u:%u", name, negated, first, last + 2, last + 4);
		break;
	case 3:
		fprintf(to, " -p %s -m multiport --ports %u,%u", name, first, last + 1);
		break;
	case 4:
		fprintf(to, " -p %s -m %s%s --sport %u:%u", name, name, negated, first, last);
		break;
	default:
		fprintf(to, " -p %s -m %s%s --dport %u:%u", name, name, negated, first, last);
		break;
	}
}

static void put_verdict(FILE *to, struct random *random, unsigned chain)
{
	unsigned choice = (unsigned)random_below(random, 100),
		 target = chain < 3 ? 3 + (unsigned)random_below(random, 3) : chain + 1;
	if (choice < 20 && target < CHAINS)
		fprintf(to, " -%c %s\n", choice < 5 ? 'g' : 'j', chains[target]);
	else
		fprintf(to, " -j %s\n", choice < 60 ? "ACCEPT" : choice < 80 ? "DROP" : choice < 90 ? "REJECT" : "RETURN");
}

static void put_rule(FILE *to, struct random *random, bool v6, unsigned chain)
{
	fprintf(to, "-A %s", chains[chain]);
	if (random_chance(random, 50))
		put_address(to, random, v6, "-s");
	if (random_chance(random, 25))
		put_address(to, random, v6, "-d");
	if (chain != 1 && random_chance(random, 15))
		fprintf(to, "%s -i %s", random_chance(random, 30) ? " !" : "",
			random_chance(random, 30) ? "wg+" : interface_names[random_below(random, INTERFACES)]);
	if ((chain == 1 || chain == 2) && random_chance(random, 15))
		fprintf(to, "%s -o %s", random_chance(random, 30) ? " !" : "",
			random_chance(random, 30) ? "eth+" : interface_names[random_below(random, INTERFACES)]);
	if (random_chance(random, 65))
		put_protocol(to, random, v6);
	if (chain == 1 && random_chance(random, 15))
		fprintf(to, " -m owner%s --uid-owner %u", random_chance(random, 30) ? " !" : "",
			random_chance(random, 50) ? 0 : 1001u);
	if (random_chance(random, 8))
		fprintf(to, " -m conntrack --ctstate NEW,UNTRACKED");
	put_verdict(to, random, chain);
}

static void put_rules(FILE *to, struct random *random, bool v6)
{
	fputs("*filter\n", to);
	for (unsigned chain = 0; chain < CHAINS; chain++)
		fprintf(to, ":%s %s [0:0]\n", chains[chain], chain >= 3 ? "-" : random_chance(random, 60) ? "DROP" : "ACCEPT");
	for (unsigned chain = 0; chain < CHAINS; chain++)
		for (size_t i = random_below(random, 10); i; i--)
			put_rule(to, random, v6, chain);
	fputs("COMMIT\n", to);
}

static struct probe random_probe(struct random *random, bool users)
{
	static const int protocols[] = {6, 6, 6, 17, 17, 132, 1, 47};
	struct probe probe = {.way = (enum way)random_below(random, WAYS),
		.arriving = -1,
		.leaving = -1,
		.family = random_chance(random, 50) ? 4 : 6,
		.syn = true};
	u128 base = probe.family == 4 ? 0x0a000000 : (u128)0x20010db8 << 96;
	probe.protocol = protocols[random_below(random, 8)];
	if (probe.protocol == 1) {
		probe.protocol = probe.family == 4 ? 1 : 58;
		probe.service =
			probe.family == 4 ? (random_chance(random, 70) ? 8 : 13) : (random_chance(random, 70) ? 128 : 135);
	} else if (probe.protocol != 47) {
		probe.service = (uint16_t)(19 + random_below(random, 14));
		probe.source_port = (uint16_t)(19 + random_below(random, 14));
	}
	/* 10.0.0.0 is no address of a host. */
	probe.source = base + 1 + random_below(random, 17);
	probe.destination = base + 1 + random_below(random, 17);
	if (probe.way != WAY_OUT)
		probe.arriving = (int)(1 + random_below(random, INTERFACES - 1));
	if (probe.way != WAY_IN)
		probe.leaving = (int)(1 + random_below(random, INTERFACES - 1));
	if (probe.way == WAY_FORWARD && probe.leaving == probe.arriving)
		probe.leaving = 1 + probe.arriving % (INTERFACES - 1);
	if (probe.way == WAY_OUT && users && random_chance(random, 60))
		probe.uid = probe.gid = random_chance(random, 60) ? 1001 : 1002;
	return probe;
}

static int command(const char *directory, const char *line)
{
	char text[512];
	snprintf(text, sizeof text, "cd %s && { %s; } >command.log 2>&1", directory, line);
	return system(text) ? -EIO : 0;
}

static int read_source(void *ctx, const char *directory, const char *name, struct source **out)
{
	char path[160], *text = NULL;
	size_t room = 0;
	snprintf(path, sizeof path, "%s/%s", directory, name);
	FILE *stream = fopen(path, "re");
	if (!stream)
		return -errno;
	ssize_t length = getdelim(&text, &room, 0, stream);
	fclose(stream);
	int error = source_new(ctx, name, length > 0 ? text : "", length > 0 ? (size_t)length : 0, false, out);
	free(text);
	return error;
}

/* The policy of dumps, in the kernel. */
static int enforce(void *ctx, const char *directory, const char *const *names, size_t count, struct kernel *kernel)
{
	struct foreign_input inputs[2];
	struct imported *imported = NULL;
	const char *problem = NULL;
	struct diagnostics *diagnostics = diagnostics_new(ctx);
	for (size_t i = 0; i < count; i++) {
		struct source *source;
		int error = read_source(ctx, directory, names[i], &source);
		if (error)
			return error;
		inputs[i] = (struct foreign_input){source, FOREIGN_GUESS};
	}
	int outcome = import_policy(ctx, inputs, count, (struct import_options){0}, diagnostics, &imported, &problem);
	if (outcome) {
		printf("%s is not imported: %s\n", names[0], problem ? problem : "");
		return -EIO;
	}
	/* Every line of these dumps has words. */
	if (imported->fates[FATE_UNTRANSLATED]) {
		for (size_t i = 0; i < imported->remark_count; i++)
			if (imported->remarks[i].fate == FATE_UNTRANSLATED)
				printf("%s: %s: %s\n", names[0], imported->remarks[i].text, imported->remarks[i].reason);
		return -EIO;
	}
	char path[160];
	snprintf(path, sizeof path, "%s/imported.policy", directory);
	FILE *stream = fopen(path, "we");
	if (!stream)
		return -errno;
	fputs(imported->policy, stream);
	fclose(stream);
	struct invocation call = {.verb = "check", .table = TABLE, .host = "host"};
	struct world *world;
	struct policy *policy;
	struct ruleset *wanted;
	struct changes *applied;
	struct refusal refusal;
	int error = world_new(ctx, &call, path, false, &world);
	error = error ? error : policy_load(ctx, path, world_environment(world), diagnostics, &policy);
	error = error ? error : policy_lower(ctx, policy, TABLE, diagnostics, &wanted);
	return error ? error : kernel_install(ctx, kernel, TABLE, wanted, &applied, &refusal, &problem);
}

static size_t compare(
	const char *what, const struct probe *probes, const struct observation *rules, const struct observation *policy)
{
	size_t failed = 0;
	for (size_t i = 0; i < PACKETS; i++) {
		bool judged = rules[i].early && policy[i].early && !rules[i].invalid && !policy[i].invalid;
		if (!judged || rules[i].late == policy[i].late || ++failed > 5)
			continue;
		printf("%s: the rules %s, the policy %s: ", what, rules[i].late ? "let pass" : "stop",
			policy[i].late ? "lets pass" : "stops");
		probe_print(stdout, &probes[i]);
	}
	return failed;
}

struct bench {
	struct world_of_packets *packets;
	struct kernel *kernel;
	const char *directory;
};

static int send_all(const struct bench *bench, const struct probe *probes, struct observation *seen)
{
	int error = packets_world_clear("");
	return error ? error : packets_world_send(bench->packets, probes, PACKETS, seen);
}

static int try_dump(void *ctx, const struct bench *bench, const char *const *names, size_t count, const struct probe *probes,
	const struct observation *rules, size_t *failed)
{
	struct observation seen[PACKETS] = {0};
	struct changes *applied;
	struct refusal refusal;
	const char *problem;
	int error = enforce(ctx, bench->directory, names, count, bench->kernel);
	error = error ? error : send_all(bench, probes, seen);
	*failed += error ? 1 : compare(names[0], probes, rules, seen);
	int removed = kernel_install(ctx, bench->kernel, TABLE, NULL, &applied, &refusal, &problem);
	return error ? error : removed;
}

static int run_round(void *ctx, const struct bench *bench, uint64_t seed, size_t *arrived, size_t *failed)
{
	static const char *const saved[] = {"saved.v4", "saved.v6"}, *const listed[] = {"listed.nft"};
	struct random random = {seed * 0xd1342543de82ef95ULL + 11};
	struct probe probes[PACKETS];
	struct observation rules[PACKETS] = {0};
	char path[160];
	for (int v6 = 0; v6 < 2; v6++) {
		snprintf(path, sizeof path, "%s/rules.%s", bench->directory, v6 ? "v6" : "v4");
		FILE *stream = fopen(path, "we");
		if (!stream)
			return -errno;
		put_rules(stream, &random, v6);
		fclose(stream);
	}
	for (size_t i = 0; i < PACKETS; i++)
		probes[i] = random_probe(&random, packets_world_users(bench->packets));
	int error = command(bench->directory, "iptables-restore <rules.v4 && ip6tables-restore <rules.v6");
	error = error ? error : send_all(bench, probes, rules);
	/* nft prints `multiport ! --ports` without its negation (iptables 1.8.9), so such rules are not made here. */
	error = error ? error
		      : command(bench->directory,
				"iptables-save >saved.v4 && ip6tables-save >saved.v6 && { nft list table ip filter && nft list "
				"table ip6 filter; } 2>&1 | grep -v ^# >listed.nft; test -s listed.nft");
	error = error ? error : command(bench->directory, "nft delete table ip filter && nft delete table ip6 filter");
	if (error)
		return error;
	for (size_t i = 0; i < PACKETS; i++)
		*arrived += rules[i].early;
	error = try_dump(ctx, bench, saved, 2, probes, rules, failed);
	return error ? error : try_dump(ctx, bench, listed, 1, probes, rules, failed);
}

int main(int count, char **words)
{
	size_t rounds = count > 2 && !strcmp(words[1], "--rounds") ? strtoul(words[2], NULL, 0) : 12, arrived = 0, failed = 0;
	uint64_t seed = count > 4 && !strcmp(words[3], "--seed") ? strtoull(words[4], NULL, 0) : 1;
	char directory[] = "/tmp/import.XXXXXX";
	void *ctx = talloc_new(NULL);
	struct bench bench = {.directory = directory};
	setlinebuf(stdout);
	if (system("command -v iptables-restore >/dev/null 2>&1")) {
		puts("no iptables to load rules with");
		return 77;
	}
	int error = packets_world_new(ctx, &bench.packets);
	if (error) {
		if (error < 0)
			printf("no namespace to test in: %s\n", strerror(-error));
		return error == 77 ? 77 : 1;
	}
	if (!mkdtemp(directory) || kernel_open(ctx, &bench.kernel))
		return 1;
	for (size_t i = 0; i < rounds && !error && !failed; i++) {
		void *inner = talloc_new(ctx);
		error = run_round(inner, &bench, seed + i, &arrived, &failed);
		talloc_free(inner);
		if (error || failed)
			printf("seed %llu failed (%d); its files are in %s\n", (unsigned long long)(seed + i), error, directory);
	}
	printf("%zu rounds, %zu packets met the rules, %zu differ\n", rounds, arrived, failed);
	if (!error && !failed && command(directory, "rm -f *") == 0)
		rmdir(directory);
	talloc_free(ctx);
	return error || failed || arrived < rounds * PACKETS / 2;
}
