/*
 * The files of one git revision, by way of the git program.
 *
 * git is started without a shell, and no word of the user's reaches it but the revision, which is resolved once and may not look
 * like an option; from then on there are only object names. All that the revision holds is listed once; a file is one call of
 * `git cat-file`.
 */
#include "agent/cli/revision.h"
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <spawn.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <talloc.h>
#include <unistd.h>

extern char **environ;

#define LISTING_MAX ((size_t)200 << 20)
#define SHORT_ANSWER 4096

struct entry {
	const char *mode, *object, *path;
};

struct revision {
	const char *prefix;    /* "git:REV:/" */
	char *top;	       /* of the work tree, or NULL */
	struct entry *entries; /* by path */
	size_t count;
};

bool revision_named(const char *operand)
{
	return !strncmp(operand, "git:", 4);
}

/* Lists are taken literally, nothing is fetched, nothing is locked. */
static char **git_environment(void *ctx)
{
	static const char *const ours[] = {
		"GIT_LITERAL_PATHSPECS=1", "GIT_OPTIONAL_LOCKS=0", "GIT_NO_LAZY_FETCH=1", "GIT_TERMINAL_PROMPT=0", "LC_ALL=C"};
	size_t count = 0, own = sizeof ours / sizeof *ours;
	while (environ[count])
		count++;
	char **list = talloc_array(ctx, char *, count + own + 1);
	if (!list)
		return NULL;
	memcpy(list, ours, sizeof ours);
	memcpy(list + own, environ, (count + 1) * sizeof *list);
	return list;
}

static int start_git(void *ctx, const char *const *arguments, bool quiet, pid_t *child, int *answer)
{
	posix_spawn_file_actions_t actions;
	char **variables = git_environment(ctx);
	int ends[2];
	if (!variables)
		return -ENOMEM;
	if (pipe2(ends, O_CLOEXEC))
		return -errno;
	int error = posix_spawn_file_actions_init(&actions);
	if (!error) {
		error = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
		error = error ? error : posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
		if (!error && quiet)
			error = posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
		error = error ? error
			      : posix_spawnp(child, "git", &actions, NULL, (char *const *)(uintptr_t)arguments, variables);
		posix_spawn_file_actions_destroy(&actions);
	}
	close(ends[1]);
	if (error)
		close(ends[0]);
	*answer = ends[0];
	return -error;
}

/* All that git says.  Too much of it is -EFBIG. */
static int read_answer(void *ctx, int descriptor, size_t most, char **bytes, size_t *length)
{
	size_t room = 4096, used = 0;
	char *text = talloc_size(ctx, room);
	while (text) {
		ssize_t got = read(descriptor, text + used, room - used - 1);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 || used + (size_t)got > most)
			return got < 0 ? -errno : -EFBIG;
		used += (size_t)got;
		text[used] = 0;
		if (!got) {
			*bytes = text;
			*length = used;
			return 0;
		}
		if (used + 1 == room)
			text = talloc_realloc_size(ctx, text, room *= 2);
	}
	return -ENOMEM;
}

/* 0; 1 when git says no; -ENOENT when there is no git; or another negative errno. */
static int git(void *ctx, const char *const *arguments, bool quiet, size_t most, char **bytes, size_t *length)
{
	pid_t child;
	int descriptor, status;
	int error = start_git(ctx, arguments, quiet, &child, &descriptor);
	if (error)
		return error;
	error = read_answer(ctx, descriptor, most, bytes, length);
	close(descriptor);
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return error ? error : !WIFEXITED(status) || WEXITSTATUS(status) ? 1 : 0;
}
#define GIT(...) ((const char *const[]){"git", __VA_ARGS__, NULL})

static int git_line(void *ctx, const char *const *arguments, bool quiet, char **line)
{
	size_t length;
	int outcome = git(ctx, arguments, quiet, SHORT_ANSWER, line, &length);
	if (!outcome)
		(*line)[strcspn(*line, "\n")] = 0;
	return outcome;
}

/* `a/./b/../c` is `a/c`.  NULL: it leads out of the tree (errno 0), or out of memory. */
static char *tidy(void *ctx, const char *path)
{
	char *text = talloc_strdup(ctx, ""), *copy = talloc_strdup(ctx, path), *rest = copy;
	errno = ENOMEM;
	for (char *word; text && copy && (word = strsep(&rest, "/"));) {
		if (!*word || !strcmp(word, "."))
			continue;
		if (!strcmp(word, "..")) {
			char *slash = strrchr(text, '/');
			errno = 0;
			if (!*text)
				return NULL;
			*(slash ? slash : text) = 0;
			continue;
		}
		text = talloc_asprintf_append(text, "%s%s", *text ? "/" : "", word);
	}
	return copy ? text : NULL;
}

/* The colon behind the revision; one in braces (`HEAD^{/fix: it}`) belongs to it. */
static const char *end_of_revision(const char *at)
{
	for (int depth = 0; *at; at++) {
		depth += (*at == '{') - (*at == '}');
		if (*at == ':' && depth <= 0)
			return at;
	}
	return NULL;
}

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct entry *)a)->path, ((const struct entry *)b)->path);
}

/* Lines of `git ls-tree` are "MODE TYPE OBJECT\tPATH", of `git ls-files` "MODE OBJECT STAGE\tPATH"; each ends with NUL. */
static int read_listing(struct revision *revision, char *text, size_t length, bool index)
{
	size_t count = 0;
	for (size_t i = 0; i < length; i++)
		count += !text[i];
	revision->entries = talloc_array(revision, struct entry, count + 1);
	if (!revision->entries)
		return -ENOMEM;
	for (char *at = text, *end = text + length; at < end;) {
		char *next = at + strlen(at) + 1, *path = strchr(at, '\t'), *words[3] = {NULL, NULL, NULL};
		if (path)
			*path++ = 0;
		for (int i = 0; i < 3; i++)
			words[i] = strsep(&at, " ");
		if (path && words[2] && (!index || !strcmp(words[2], "0")))
			revision->entries[revision->count++] = (struct entry){words[0], words[index ? 1 : 2], path};
		at = next;
	}
	qsort(revision->entries, revision->count, sizeof *revision->entries, by_path);
	return 0;
}

static int list_files(struct revision *revision, const char *tree)
{
	char *text;
	size_t length;
	const char *top = revision->top ? revision->top : ".";
	const char *const *arguments =
		tree ? GIT("-C", top, "ls-tree", "-r", "-z", "--full-tree", tree) : GIT("-C", top, "ls-files", "-s", "-z");
	int outcome = git(revision, arguments, false, LISTING_MAX, &text, &length);
	return outcome ? outcome : read_listing(revision, text, length, !tree);
}

static int find_tree(struct revision *revision, const char *name, char **tree, const char **problem)
{
	*tree = NULL;
	if (!*name)
		return 0;
	if (*name == '-') {
		*problem = "a revision does not begin with a dash";
		return 1;
	}
	char *wanted = talloc_asprintf(revision, "%s^{tree}", name);
	if (!wanted)
		return -ENOMEM;
	int outcome = git_line(revision, GIT("rev-parse", "--verify", "--quiet", "--end-of-options", wanted), true, tree);
	if (outcome == 1)
		*problem = "git knows no such revision";
	return outcome;
}

/* Like git's own `REV:path`: from the top of the tree, but `./` and `../` from the working directory. */
static int place_path(struct revision *revision, const char *written, const char **path, const char **problem)
{
	char *below = NULL, *whole = talloc_strdup(revision, written);
	if (whole && (!strncmp(written, "./", 2) || !strncmp(written, "../", 3) || !strcmp(written, "."))) {
		int outcome = git_line(revision, GIT("rev-parse", "--show-prefix"), true, &below);
		whole = outcome ? NULL : talloc_asprintf(revision, "%s%s", below, written);
	}
	char *tidied = whole ? tidy(revision, whole) : NULL;
	if (!tidied) {
		*problem = "the path leads out of the repository";
		return whole && !errno ? 1 : -ENOMEM;
	}
	*path = talloc_asprintf(revision, "%s%s", revision->prefix, tidied);
	return *path ? 0 : -ENOMEM;
}

static int open_named(struct revision *revision, const char *name, const char *written, const char **path, const char **problem)
{
	char *inside, *tree;
	int outcome = git_line(revision, GIT("rev-parse", "--git-dir"), false, &inside);
	if (outcome == 1)
		*problem = "git finds no repository here";
	if (outcome == -ENOENT) {
		*problem = "there is no git program";
		outcome = 1;
	}
	if (outcome)
		return outcome;
	if (git_line(revision, GIT("rev-parse", "--show-toplevel"), true, &revision->top))
		revision->top = NULL; /* a bare repository */
	revision->prefix = talloc_asprintf(revision, "git:%s:/", name);
	if (!revision->prefix)
		return -ENOMEM;
	outcome = find_tree(revision, name, &tree, problem);
	outcome = outcome ? outcome : list_files(revision, tree);
	if (outcome == 1 && !*problem)
		*problem = "git cannot list its files";
	return outcome ? outcome : place_path(revision, written, path, problem);
}

int revision_open(void *ctx, const char *operand, struct revision **out, const char **path, const char **problem)
{
	struct revision *revision = talloc_zero(ctx, struct revision);
	const char *name = operand + 4, *colon = end_of_revision(name);
	*problem = NULL;
	*out = revision;
	if (!revision)
		return -ENOMEM;
	if (!colon) {
		*problem = "it is written git:REVISION:PATH";
		return 1;
	}
	char *word = talloc_strndup(revision, name, (size_t)(colon - name));
	return word ? open_named(revision, word, colon + 1, path, problem) : -ENOMEM;
}

const char *revision_inside(const struct revision *revision, void *ctx, const char *path)
{
	size_t prefix = strlen(revision->prefix), top = revision->top ? strlen(revision->top) : 0;
	if (!strncmp(path, revision->prefix, prefix))
		return tidy(ctx, path + prefix);
	if (top > 1 && !strncmp(path, revision->top, top) && path[top] == '/')
		return tidy(ctx, path + top);
	return NULL;
}

static const struct entry *find_entry(const struct revision *revision, const char *inside)
{
	struct entry wanted = {.path = inside};
	return bsearch(&wanted, revision->entries, revision->count, sizeof wanted, by_path);
}

bool revision_is_directory(const struct revision *revision, const char *inside)
{
	size_t length = strlen(inside);
	for (size_t i = 0; i < revision->count; i++)
		if (!length || (!strncmp(revision->entries[i].path, inside, length) && revision->entries[i].path[length] == '/'))
			return true;
	return false;
}

int revision_read(const struct revision *revision, void *ctx, const char *inside, size_t most, char **bytes, size_t *length)
{
	const struct entry *entry = find_entry(revision, inside);
	if (!entry)
		return revision_is_directory(revision, inside) ? -EISDIR : -ENOENT;
	if (strncmp(entry->mode, "100", 3)) /* a link, or another repository */
		return -EINVAL;
	int outcome = git(ctx, GIT("-C", revision->top ? revision->top : ".", "cat-file", "blob", entry->object), false, most,
		bytes, length);
	return outcome > 0 ? -EIO : outcome;
}

int revision_glob(const struct revision *revision, void *ctx, const char *inside, char ***paths, size_t *count)
{
	char **list = talloc_array(ctx, char *, revision->count + 1);
	*count = 0;
	if (!list)
		return -ENOMEM;
	for (size_t i = 0; i < revision->count; i++) {
		if (fnmatch(inside, revision->entries[i].path, FNM_PATHNAME | FNM_PERIOD))
			continue;
		list[*count] = talloc_asprintf(list, "%s%s", revision->prefix, revision->entries[i].path);
		if (!list[(*count)++])
			return -ENOMEM;
	}
	*paths = list;
	return 0;
}

int revision_canonical(const struct revision *revision, void *ctx, const char *inside, char **out)
{
	if (!find_entry(revision, inside))
		return -ENOENT;
	*out = talloc_asprintf(ctx, "%s%s", revision->prefix, inside);
	return *out ? 0 : -ENOMEM;
}
