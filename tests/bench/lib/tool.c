/* How each tool is fed. */
#include "tests/bench/lib/tool.h"
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

const char *const tool_names[TOOLS] = {
	"nothing", "ct-only", "ct-drop", "portpolicy", "uncounted", "nft", "nft-o", "ufw", "firewalld", "ferm"};

typedef void (*writer)(FILE *stream, struct filters filters, enum way way);

static int write_file(const char *path, writer write, struct filters filters, enum way way)
{
	FILE *stream = fopen(path, "we");
	if (!stream)
		return -errno;
	write(stream, filters, way);
	bool failed = ferror(stream);
	return fclose(stream) || failed ? -EIO : 0;
}

static int load_state(const struct lane *lane, bool drop)
{
	static const char *const hooks[WAYS] = {"input", "output", "forward"};
	return lane_run(lane,
		"nft 'table inet bench { chain state { type filter hook %s priority 0; policy %s; "
		"ct state established,related accept; ct state invalid drop; }; }'",
		hooks[lane->way], drop ? "drop" : "accept");
}

static int load_arguments(const struct bench *bench, const struct lane *lane, const char *format, va_list arguments)
{
	char command[2048];
	vsnprintf(command, sizeof(command), format, arguments);
	int status = lane_run(lane, "(%s) >'%s/log' 2>&1 </dev/null", command, bench->directory);
	return status > 0 ? 1 : status;
}

static int load(const struct bench *bench, const struct lane *lane, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
static int load(const struct bench *bench, const struct lane *lane, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	int status = load_arguments(bench, lane, format, arguments);
	va_end(arguments);
	return status;
}

/* Writes the set into the directory's file `name` and runs a command. */
static int load_file(const struct bench *bench, const struct lane *lane, const struct subject *subject, const char *name,
	writer write, const char *format, ...) __attribute__((format(printf, 6, 7)));
static int load_file(const struct bench *bench, const struct lane *lane, const struct subject *subject, const char *name,
	writer write, const char *format, ...)
{
	char path[256];
	va_list arguments;
	snprintf(path, sizeof(path), "%s/%s", bench->directory, name);
	int status = write_file(path, write, subject->filters, lane->way);
	if (status)
		return status;
	va_start(arguments, format);
	status = load_arguments(bench, lane, format, arguments);
	va_end(arguments);
	return status;
}

/* The hits of each line out of the text of a ruleset: counters, maps to counters, and what counts. */
#define WITHOUT_HITS                                                                                                             \
	"sed -E -e '/^\tcounter /,/^\t}/d' -e '/^\tmap /{N;s/^\tmap (.*) : counter$/\tset \\1/}' "                               \
	"-e '/^\t\telements/s/ : \"hit-[0-9a-f]+\"//g; s/counter name ([^\"@]*) map @/\\1 @/; s/counter name \"[^\"]*\" ?//' "

static int load_portpolicy(
	const struct bench *bench, const struct lane *lane, enum encoding encoding, const struct subject *subject, bool counted)
{
	char path[256];
	const char *kind = encoding_names[encoding], *policy = subject->policy ? subject->policy : path;
	int status = 0;
	if (subject->filters.shape == SHAPE_LIST) {
		snprintf(path, sizeof(path), "%s/list.txt", bench->directory);
		status = write_file(path, write_list, subject->filters, lane->way);
	}
	snprintf(path, sizeof(path), "%s/host.policy", bench->directory);
	status = status ? status : write_file(path, write_policy, subject->filters, lane->way);
	if (status)
		return status;
	if (counted)
		return load(bench, lane, "'%s' apply --encoding %s '%s'", bench->portpolicy, kind, policy);
	return load(bench, lane, "'%s' compile --encoding %s '%s' | " WITHOUT_HITS "| nft -f -", bench->portpolicy, kind, policy);
}

int tool_load(
	const struct bench *bench, const struct lane *lane, enum tool tool, enum encoding encoding, const struct subject *subject)
{
	const char *in = bench->directory;
	switch (tool) {
	case TOOL_NOTHING:
		return 0;
	case TOOL_STATE:
		return load_state(lane, false);
	case TOOL_STATE_DROP:
		return load_state(lane, true);
	case TOOL_PORTPOLICY:
	case TOOL_UNCOUNTED:
		return load_portpolicy(bench, lane, encoding, subject, tool == TOOL_PORTPOLICY);
	case TOOL_NFT:
		return load_file(bench, lane, subject, "bench.nft", write_nft, "nft -f '%s/bench.nft'", in);
	case TOOL_NFT_O:
		return load_file(bench, lane, subject, "bench.nft", write_nft, "nft -o -f '%s/bench.nft'", in);
	case TOOL_UFW:
		return load_file(bench, lane, subject, "rules", write_iptables, "'%s/ufw' '%s' %s", bench->scripts, in,
			lane->way == WAY_OUT ? "out" : "in");
	case TOOL_FIREWALLD:
		return load_file(bench, lane, subject, "public.xml", write_firewalld, "'%s/firewalld' '%s'", bench->scripts, in);
	case TOOL_FERM:
		return load_file(bench, lane, subject, "ferm.conf", write_ferm, "'%s/ferm' '%s'", bench->scripts, in);
	}
	return -EINVAL;
}

static int complain(const char *what, int error)
{
	fprintf(stderr, "bench: %s: %s\n", what, strerror(-error));
	return error;
}

int bench_open(struct bench *bench, int *home)
{
	const char *build = getenv("BUILD"), *where = getenv("TMPDIR");
	char program[PATH_MAX];
	snprintf(program, sizeof(program), "%s/portpolicy", build ? build : "build");
	*bench = (struct bench){.portpolicy = realpath(program, NULL), .scripts = realpath("tests/bench/tools", NULL)};
	if (!bench->portpolicy || !bench->scripts)
		return complain(bench->portpolicy ? "tests/bench/tools" : program, -errno);
	snprintf(bench->directory, sizeof(bench->directory), "%.40s/bench.XXXXXX", where ? where : "/tmp");
	if (!mkdtemp(bench->directory))
		return complain(bench->directory, -errno);
	*home = lanes_start();
	return *home < 0 ? complain("no network namespace", *home) : 0;
}

void bench_close(struct bench *bench)
{
	char command[128];
	snprintf(command, sizeof(command), "rm -rf '%s'", bench->directory);
	if (system(command))
		fprintf(stderr, "bench: %s could not be removed\n", bench->directory);
	free(bench->portpolicy);
	free(bench->scripts);
}
