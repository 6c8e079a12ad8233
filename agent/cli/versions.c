/*
 * From an operand of diff to an environment of the language.
 *
 * The real world is asked (environment.c) but for three things: what lies in a git revision, the file that stands in for another,
 * and users and groups that this machine does not know. These get numbers that no account has: a review runs where the accounts
 * of the server are not, and two rules for two of them must not look alike.
 */
#include "agent/cli/versions.h"
#include "agent/cli/revision.h"
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <talloc.h>

#define POLICY_MAX ((size_t)16 << 20)
#define LIST_MAX ((size_t)255 << 20)
#define FIRST_STRANGER 0xf0000000u

struct strangers {
	const char **names; /* "user nosuch" */
	size_t count;
};

struct reader {
	struct version version; /* first, so that one is the other */
	struct world *world;
	const struct environment *base;
	struct revision *revision;
	const char *text; /* read in place of version.path */
	struct strangers *strangers;
};

struct strangers *strangers_new(void *ctx)
{
	return talloc_zero(ctx, struct strangers);
}

static int stranger(struct strangers *strangers, const char *kind, const char *name, uint32_t *number)
{
	char *whole = talloc_asprintf(strangers, "%s %s", kind, name);
	size_t i = 0;
	if (!whole)
		return -ENOMEM;
	while (i < strangers->count && strcmp(strangers->names[i], whole))
		i++;
	if (i == strangers->count) {
		const char **more = talloc_realloc(strangers, strangers->names, const char *, i + 1);
		if (!more)
			return -ENOMEM;
		strangers->names = more;
		more[strangers->count++] = whole;
	}
	*number = FIRST_STRANGER + (uint32_t)i;
	return 0;
}

static int find_user(void *data, const char *name, uint32_t *uid)
{
	struct reader *reader = data;
	int error = reader->base->find_user(reader->base->data, name, uid);
	return error == -ENOENT ? stranger(reader->strangers, "user", name, uid) : error;
}

static int find_group(void *data, const char *name, uint32_t *gid)
{
	struct reader *reader = data;
	int error = reader->base->find_group(reader->base->data, name, gid);
	return error == -ENOENT ? stranger(reader->strangers, "group", name, gid) : error;
}

/* The library belongs to the program, even where it lies in the repository. */
static bool in_library(const struct reader *reader, const char *path)
{
	for (size_t i = 0; i < reader->base->library_count; i++) {
		size_t length = strlen(reader->base->library[i]);
		if (!strncmp(path, reader->base->library[i], length) && path[length] == '/')
			return true;
	}
	return false;
}

static const char *inside(const struct reader *reader, void *ctx, const char *path)
{
	return reader->revision && !in_library(reader, path) ? revision_inside(reader->revision, ctx, path) : NULL;
}

static int nothing(void *ctx, char **bytes, size_t *length)
{
	*length = 0;
	return (*bytes = talloc_strdup(ctx, "")) ? 0 : -ENOMEM;
}

static int read_file(void *data, void *ctx, const char *path, enum file_kind kind, char **bytes, size_t *length)
{
	struct reader *reader = data;
	bool main_file = kind == FILE_POLICY && !strcmp(path, reader->version.path);
	const char *place = inside(reader, ctx, path);
	if (place)
		return revision_read(reader->revision, ctx, place, kind == FILE_POLICY ? POLICY_MAX : LIST_MAX, bytes, length);
	if (main_file && reader->text)
		path = reader->text;
	if (main_file && !strcmp(path, "/dev/null"))
		return nothing(ctx, bytes, length);
	return reader->base->read_file(reader->base->data, ctx, path, kind, bytes, length);
}

static int find_paths(void *data, void *ctx, const char *pattern, char ***paths, size_t *count)
{
	struct reader *reader = data;
	const char *place = inside(reader, ctx, pattern);
	return place ? revision_glob(reader->revision, ctx, place, paths, count)
		     : reader->base->glob(reader->base->data, ctx, pattern, paths, count);
}

static int canonical(void *data, void *ctx, const char *path, char **out)
{
	struct reader *reader = data;
	const char *place = inside(reader, ctx, path);
	return place ? revision_canonical(reader->revision, ctx, place, out)
		     : reader->base->canonical(reader->base->data, ctx, path, out);
}

static bool is_directory(const char *path)
{
	struct stat status;
	return !stat(path, &status) && S_ISDIR(status.st_mode);
}

static int open_revision(struct reader *reader, const char *operand)
{
	const char *problem, *place;
	int outcome = revision_open(reader, operand, &reader->revision, &reader->version.path, &problem);
	if (outcome == 1) {
		complain("portpolicy: cannot read %s: %s\n", operand, problem);
		return STATUS_FAILED;
	}
	if (outcome)
		return outcome;
	place = revision_inside(reader->revision, reader, reader->version.path);
	if (!place)
		return -ENOMEM;
	if (revision_is_directory(reader->revision, place))
		reader->version.path = talloc_asprintf(reader, "%s%shost.policy", reader->version.path, *place ? "/" : "");
	return reader->version.path ? STATUS_YES : -ENOMEM;
}

static int place_version(struct reader *reader, const char *operand)
{
	reader->version.path = operand;
	if (!reader->text && revision_named(operand))
		return open_revision(reader, operand);
	if (!reader->text && is_directory(operand))
		reader->version.path =
			talloc_asprintf(reader, "%s%shost.policy", operand, operand[strlen(operand) - 1] == '/' ? "" : "/");
	return reader->version.path ? STATUS_YES : -ENOMEM;
}

int version_open(void *ctx, const struct invocation *call, const char *operand, const char *text, struct strangers *strangers,
	struct version **out)
{
	struct reader *reader = talloc_zero(ctx, struct reader);
	if (!reader)
		return -ENOMEM;
	reader->version.operand = operand;
	reader->text = text;
	reader->strangers = strangers;
	int status = place_version(reader, operand);
	if (!status)
		status = world_new(reader, call, reader->version.path, false, &reader->world);
	if (status)
		return status;
	reader->base = world_environment(reader->world);
	reader->version.environment = *reader->base;
	reader->version.environment.data = reader;
	reader->version.environment.read_file = read_file;
	reader->version.environment.glob = find_paths;
	reader->version.environment.canonical = canonical;
	reader->version.environment.find_user = find_user;
	reader->version.environment.find_group = find_group;
	*out = &reader->version;
	return STATUS_YES;
}

static void print_errors(const struct diagnostics *diagnostics)
{
	for (const struct diagnostic *one = diagnostics->first; one; one = one->next)
		if (one->severity == SEVERITY_ERROR)
			print_diagnostic(one);
}

int version_load(void *ctx, struct version *version, const char *host, struct policy **out)
{
	struct diagnostics *diagnostics = diagnostics_new(ctx);
	if (!diagnostics)
		return -ENOMEM;
	version->environment.host = host;
	int error = policy_load(ctx, version->path, &version->environment, diagnostics, out);
	if (error > 0)
		print_errors(diagnostics);
	return error < 0 ? error : error ? STATUS_FAILED : STATUS_YES;
}
