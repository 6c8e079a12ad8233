/* How each tool is fed. */
#include "tests/bench/lib/tool.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

const char *const tool_names[TOOLS] = {"nothing", "ct-only", "ct-drop", "portpolicy", "nft", "nft-o"};

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

/* What the tool says is shown only when it fails. */
static int load(const struct bench *bench, const struct lane *lane, const char *command)
{
	int status = lane_run(lane, "(%s) >'%s/log' 2>&1 </dev/null", command, bench->directory);
	if (status > 0)
		lane_run(lane, "tail -n 5 '%s/log' >&2", bench->directory);
	return status > 0 ? 1 : status;
}

static int load_portpolicy(const struct bench *bench, const struct lane *lane, enum encoding encoding, struct filters filters)
{
	char path[256], command[1024];
	snprintf(path, sizeof(path), "%s/bench.policy", bench->directory);
	snprintf(command, sizeof(command), "'%s' apply --encoding %s '%s'", bench->portpolicy, encoding_names[encoding], path);
	int status = write_file(path, write_policy, filters, lane->way);
	return status ? status : load(bench, lane, command);
}

static int load_nft(const struct bench *bench, const struct lane *lane, const char *options, struct filters filters)
{
	char path[256], command[512];
	snprintf(path, sizeof(path), "%s/bench.nft", bench->directory);
	snprintf(command, sizeof(command), "nft %s -f '%s'", options, path);
	int status = write_file(path, write_nft, filters, lane->way);
	return status ? status : load(bench, lane, command);
}

int tool_load(const struct bench *bench, const struct lane *lane, enum tool tool, enum encoding encoding, struct filters filters)
{
	switch (tool) {
	case TOOL_NOTHING:
		return 0;
	case TOOL_STATE:
		return load_state(lane, false);
	case TOOL_STATE_DROP:
		return load_state(lane, true);
	case TOOL_PORTPOLICY:
		return load_portpolicy(bench, lane, encoding, filters);
	case TOOL_NFT:
		return load_nft(bench, lane, "", filters);
	case TOOL_NFT_O:
		return load_nft(bench, lane, "-o", filters);
	}
	return -EINVAL;
}
