/* How each tool is fed. */
#include "tests/bench/lib/tool.h"
#include <errno.h>
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
		"ct state vmap { established : accept, related : accept, invalid : drop }; }; }'",
		hooks[lane->way], drop ? "drop" : "accept");
}

static int load(const struct bench *bench, const struct lane *lane, const char *command)
{
	int status = lane_run(lane, "(%s) >'%s/log' 2>&1 </dev/null", command, bench->directory);
	return status > 0 ? 1 : status;
}

/* Writes the set into the directory's file `name` and runs a command. */
static int load_file(const struct bench *bench, const struct lane *lane, struct filters filters, const char *name, writer write,
	const char *format, ...) __attribute__((format(printf, 6, 7)));
static int load_file(const struct bench *bench, const struct lane *lane, struct filters filters, const char *name, writer write,
	const char *format, ...)
{
	char path[256], command[2048];
	va_list arguments;
	snprintf(path, sizeof(path), "%s/%s", bench->directory, name);
	int status = write_file(path, write, filters, lane->way);
	if (status)
		return status;
	va_start(arguments, format);
	vsnprintf(command, sizeof(command), format, arguments);
	va_end(arguments);
	return load(bench, lane, command);
}

/* The hits of each line out of the text of a ruleset: counters, maps to counters, and what counts. */
#define WITHOUT_HITS                                                                                                             \
	"sed -E -e '/^\tcounter /,/^\t}/d' -e 's/^\tmap lines-/\tset lines-/; s/^(\t\ttype .*) : counter$/\\1/' "                \
	"-e '/^\t\telements/s/ : \"hit-[0-9a-f]+\"//g; s/counter name ([^\"@]*) map @/\\1 @/; s/counter name \"[^\"]*\" ?//' "

int tool_load(const struct bench *bench, const struct lane *lane, enum tool tool, enum encoding encoding, struct filters filters)
{
	const char *in = bench->directory, *kind = encoding_names[encoding];
	const char *way = lane->way == WAY_OUT ? "out" : "in";
	switch (tool) {
	case TOOL_NOTHING:
		return 0;
	case TOOL_STATE:
		return load_state(lane, false);
	case TOOL_STATE_DROP:
		return load_state(lane, true);
	case TOOL_PORTPOLICY:
		return load_file(bench, lane, filters, "host.policy", write_policy, "'%s' apply --encoding %s '%s/host.policy'",
			bench->portpolicy, kind, in);
	case TOOL_UNCOUNTED:
		return load_file(bench, lane, filters, "host.policy", write_policy,
			"'%s' compile --encoding %s '%s/host.policy' | " WITHOUT_HITS "| nft -f -", bench->portpolicy, kind, in);
	case TOOL_NFT:
		return load_file(bench, lane, filters, "bench.nft", write_nft, "nft -f '%s/bench.nft'", in);
	case TOOL_NFT_O:
		return load_file(bench, lane, filters, "bench.nft", write_nft, "nft -o -f '%s/bench.nft'", in);
	case TOOL_UFW:
		return load_file(bench, lane, filters, "rules", write_iptables, "'%s/ufw' '%s' %s", bench->scripts, in, way);
	case TOOL_FIREWALLD:
		return load_file(bench, lane, filters, "public.xml", write_firewalld, "'%s/firewalld' '%s'", bench->scripts, in);
	case TOOL_FERM:
		return load_file(bench, lane, filters, "ferm.conf", write_ferm, "'%s/ferm' '%s'", bench->scripts, in);
	}
	return -EINVAL;
}
