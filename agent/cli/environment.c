/*
 * The world as the language sees it (portpolicy/environment.h), made of the real one.
 *
 * A policy may name anything as a file: a directory, a device, a FIFO. So a file is opened without waiting, must be a
 * regular one, and its size is known before a byte is read. Standard input is read once and kept, because a
 * policy is loaded once for each kind of host.
 */
#include "agent/cli/cli.h"
#include "agent/cli/known.h"
#include "agent/daemon/store.h"
#include "agent/daemon/trace.h"
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <talloc.h>
#include <unistd.h>

#define POLICY_MAX ((size_t)16 << 20)
#define LIST_MAX ((size_t)255 << 20) /* talloc gives no more than 256 MiB in one piece */

struct world {
	struct environment environment;
	const char *main_path;
	bool careful;
	int main_error;
	char *input; /* standard input, once read */
	size_t input_length;
	bool prefer_known;
	struct trace *trace; /* careful only */
	struct known *known; /* careful only: the values that stay when a list, user or group is not to be had */
};

static int read_all(void *ctx, int descriptor, size_t most, size_t expected, char **bytes, size_t *length)
{
	size_t room = expected + 1, used = 0;
	char *text = talloc_size(ctx, room);
	while (text) {
		ssize_t got = read(descriptor, text + used, room - used);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 || used + (size_t)got > most) {
			int error = got < 0 ? -errno : -EFBIG;
			talloc_free(text);
			return error;
		}
		used += (size_t)got;
		if (got == 0) {
			*bytes = text;
			*length = used;
			return 0;
		}
		if (used == room) {
			char *more = talloc_realloc_size(ctx, text, room *= 2);
			if (!more)
				talloc_free(text);
			text = more;
		}
	}
	return -ENOMEM;
}

static int read_input(struct world *world, void *ctx, char **bytes, size_t *length)
{
	if (!world->input) {
		int error = read_all(world, STDIN_FILENO, POLICY_MAX, 4096, &world->input, &world->input_length);
		if (error)
			return error;
	}
	*length = world->input_length;
	*bytes = talloc_memdup(ctx, world->input, world->input_length + (world->input_length == 0));
	return *bytes ? 0 : -ENOMEM;
}

static int read_open_file(const struct world *world, void *ctx, int descriptor, size_t most, char **bytes, size_t *length)
{
	struct stat status;
	if (fstat(descriptor, &status))
		return -errno;
	if (S_ISDIR(status.st_mode))
		return -EISDIR;
	if (!S_ISREG(status.st_mode))
		return -EINVAL;
	if (world->careful && descriptor_trusted(descriptor))
		return -EPERM;
	if ((uintmax_t)status.st_size > most)
		return -EFBIG;
	return read_all(ctx, descriptor, most, (size_t)status.st_size, bytes, length);
}

static int read_path(const struct world *world, void *ctx, const char *path, enum file_kind kind, char **bytes, size_t *length)
{
	if (world->careful) {
		int error = path_trusted(ctx, path);
		if (error)
			return error;
	}
	int descriptor = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (descriptor < 0)
		return errno == ENXIO ? -EINVAL : -errno; /* a socket */
	int error = read_open_file(world, ctx, descriptor, kind == FILE_POLICY ? POLICY_MAX : LIST_MAX, bytes, length);
	close(descriptor);
	return error;
}

/* A list that is missing, unreadable or empty keeps the value that stood when a ruleset was last made of it. */
static int read_list(struct world *world, void *ctx, const char *path, char **bytes, size_t *length)
{
	if (world->prefer_known && world->known && !known_recall(world->known, ctx, "file", path, bytes, length))
		return 0;
	int error = read_path(world, ctx, path, FILE_LIST, bytes, length);
	if (!world->known || error == -ENOMEM || error == -EPERM)
		return error;
	if (!error && *length) {
		known_learn(world->known, "file", path, *bytes, *length);
		return 0;
	}
	char *last = NULL;
	size_t last_length = 0;
	int recalled = known_recall(world->known, ctx, "file", path, &last, &last_length);
	if (recalled)
		return recalled == -ENOMEM ? recalled : error;
	complain("portpolicy: warning: %s: %s; the last known list stays\n", path, error ? strerror(-error) : "empty");
	*bytes = last;
	*length = last_length;
	return 0;
}

static int read_file(void *data, void *ctx, const char *path, enum file_kind kind, char **bytes, size_t *length)
{
	struct world *world = data;
	bool main_file = !strcmp(path, world->main_path);
	if (kind == FILE_LIST)
		return read_list(world, ctx, path, bytes, length);
	int error = main_file && !strcmp(path, "-") ? read_input(world, ctx, bytes, length) : read_path(world, ctx, path, kind, bytes, length);
	if (main_file)
		world->main_error = error;
	return error;
}

static int copy_paths(void *ctx, const glob_t *found, char ***paths, size_t *count)
{
	char **list = talloc_array(ctx, char *, found->gl_pathc + 1);
	if (!list)
		return -ENOMEM;
	for (size_t i = 0; i < found->gl_pathc; i++)
		if (!(list[i] = talloc_strdup(list, found->gl_pathv[i]))) {
			talloc_free(list);
			return -ENOMEM;
		}
	*paths = list;
	*count = found->gl_pathc;
	return 0;
}

static int bytewise(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

/* Sorted by bytes, not by locale: a policy must not change its meaning, not even its reading order, with LANG. */
static int find_paths(void *data, void *ctx, const char *pattern, char ***paths, size_t *count)
{
	(void)data;
	glob_t found = {0};
	int error = 0;
	switch (glob(pattern, GLOB_NOSORT, NULL, &found)) {
	case 0:
	case GLOB_NOMATCH: break;
	case GLOB_NOSPACE: error = -ENOMEM; break;
	default: error = -EIO;
	}
	if (!error)
		error = copy_paths(ctx, &found, paths, count);
	if (!error)
		qsort(*paths, *count, sizeof **paths, bytewise);
	globfree(&found);
	return error;
}

static int canonical(void *data, void *ctx, const char *path, char **out)
{
	const struct world *world = data;
	if (!strcmp(path, "-") && !strcmp(world->main_path, "-"))
		return (*out = talloc_strdup(ctx, "-")) ? 0 : -ENOMEM;
	char *real = realpath(path, NULL);
	if (!real)
		return -errno;
	*out = talloc_strdup(ctx, real);
	free(real);
	return *out ? 0 : -ENOMEM;
}

static int lookup_outcome(int error, bool found)
{
	if (found)
		return 0;
	/* getpwnam(3) lists these as what some systems say for "no such name". */
	return error == 0 || error == ENOENT || error == ESRCH || error == EBADF || error == EPERM ? -ENOENT : -error;
}

/* A user or group that is gone keeps its last known number; one that is there is learnt. */
static int number_known(struct world *world, const char *kind, const char *name, int error, uint32_t *number)
{
	char *text = NULL, decimal[16];
	size_t length;
	if (!world->known || (error && error != -ENOENT))
		return error;
	if (!error) {
		snprintf(decimal, sizeof decimal, "%u", (unsigned)*number);
		known_learn(world->known, kind, name, decimal, strlen(decimal));
		return 0;
	}
	int recalled = known_recall(world->known, world, kind, name, &text, &length);
	if (recalled)
		return recalled == -ENOMEM ? recalled : error;
	*number = (uint32_t)strtoul(text, NULL, 10);
	talloc_free(text);
	complain("portpolicy: warning: there is no %s %s now; its last known number %u stays\n", kind, name, (unsigned)*number);
	return 0;
}

static int find_user(void *data, const char *name, uint32_t *uid)
{
	struct passwd entry, *found = NULL;
	size_t size = 4096;
	int error = ERANGE;
	while (error == ERANGE && size <= (1 << 20)) {
		char *buffer = talloc_size(data, size *= 2);
		if (!buffer)
			return -ENOMEM;
		error = getpwnam_r(name, &entry, buffer, size, &found);
		if (found)
			*uid = entry.pw_uid;
		talloc_free(buffer);
	}
	return number_known(data, "user", name, lookup_outcome(error, found), uid);
}

static int find_group(void *data, const char *name, uint32_t *gid)
{
	struct group entry, *found = NULL;
	size_t size = 4096;
	int error = ERANGE;
	while (error == ERANGE && size <= (1 << 24)) {
		char *buffer = talloc_size(data, size *= 2);
		if (!buffer)
			return -ENOMEM;
		error = getgrnam_r(name, &entry, buffer, size, &found);
		if (found)
			*gid = entry.gr_gid;
		talloc_free(buffer);
	}
	return number_known(data, "group", name, lookup_outcome(error, found), gid);
}

/* CHECKOUT/build/portpolicy finds CHECKOUT/rules; anywhere else the library is the installed one. */
static const char *shipped_library(void *ctx)
{
	char self[PATH_MAX];
	ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
	for (int up = 0; up < 2 && length > 0; up++) {
		self[length] = 0;
		char *slash = strrchr(self, '/');
		length = slash ? slash - self : 0;
	}
	if (length > 0) {
		self[length] = 0;
		char *rules = talloc_asprintf(ctx, "%s/rules", self);
		char *sign = rules ? talloc_asprintf(rules, "%s/essentials.policy", rules) : NULL;
		if (sign && !access(sign, R_OK))
			return rules;
	}
	return INSTALLED_LIBRARY;
}

static int add_directory(struct world *world, const char ***list, const char *directory)
{
	size_t *count = &world->environment.library_count;
	*list = talloc_realloc(world, *list, const char *, *count + 1);
	if (!*list)
		return -ENOMEM;
	(*list)[(*count)++] = directory;
	return 0;
}

static int set_library(struct world *world, const struct invocation *call)
{
	const char **list = NULL, *path = getenv("PORTPOLICY_PATH");
	int error = 0;
	for (size_t i = 0; !error && i < call->include_count; i++)
		error = add_directory(world, &list, call->include[i]);
	while (!error && path && *path) {
		size_t length = strcspn(path, ":");
		char *directory = talloc_strndup(world, path, length);
		if (length)
			error = directory ? add_directory(world, &list, directory) : -ENOMEM;
		path += length + (path[length] == ':');
	}
	if (!error)
		error = add_directory(world, &list, shipped_library(world));
	world->environment.library = list;
	return error;
}

/* The static host name stands in /etc/hostname; without one, what the kernel says. */
static const char *own_name(void *ctx)
{
	char name[256] = "";
	FILE *file = fopen("/etc/hostname", "re");
	while (file && fgets(name, sizeof name, file)) {
		name[strcspn(name, " \t\r\n#")] = 0;
		if (*name)
			break;
	}
	if (file)
		fclose(file);
	if (!*name && gethostname(name, sizeof name - 1))
		strcpy(name, "localhost");
	return talloc_strdup(ctx, name);
}

int world_new(void *ctx, const struct invocation *call, const char *main_path, bool careful, struct world **out)
{
	struct world *world = talloc_zero(ctx, struct world);
	if (!world)
		return -ENOMEM;
	world->main_path = main_path;
	world->careful = careful;
	world->environment = (struct environment){.data = world, .read_file = read_file, .glob = find_paths, .canonical = canonical,
		.find_user = find_user, .find_group = find_group, .host = call->host ? call->host : own_name(world)};
	int error = world->environment.host ? set_library(world, call) : -ENOMEM;
	if (!error && careful && !(world->known = known_new(world, state_directory())))
		error = -ENOMEM;
	if (!error && careful)
		error = trace_new(world, &world->environment, &world->trace);
	if (!error && careful)
		world->trace->keep_lists = call->keep_lists;
	if (error) {
		talloc_free(world);
		return error;
	}
	*out = world;
	return 0;
}

const struct environment *world_environment(const struct world *world)
{
	return world->trace ? &world->trace->environment : &world->environment;
}

struct trace *world_trace(const struct world *world) { return world->trace; }

void world_prefer_known(struct world *world) { world->prefer_known = true; }

void world_answer_for(struct world *world, const char *host) { world->environment.host = host; }

int world_error(const struct world *world) { return world->main_error; }

void world_keep_known(struct world *world)
{
	int error = world->known ? known_keep(world->known) : 0;
	if (error)
		complain("portpolicy: warning: the values of lists, users and groups could not be kept in %s: %s\n", state_directory(), strerror(-error));
}
