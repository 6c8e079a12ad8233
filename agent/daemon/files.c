/*
 * Watching files by their directories.
 *
 * A file that is replaced by rename, as editors, git and configuration management do, is a change of its directory and not of the
 * file; and a file that is not there yet has only its directory to be watched. So for each path every directory on the way is
 * watched for the one name that leads on; where that is a symbolic link, the way that it points is walked too, because Kubernetes
 * and its like swap a link to a directory in the middle. Events about other names are passed over.
 *
 * Watching cannot tell everything: mounts, network file systems, and changes before the watch stood. So the mark of each file is
 * compared with the one that it was read by, right after the watches stand and every now and then.
 */
#include "agent/daemon/files.h"
#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <talloc.h>
#include <unistd.h>

#define PLACES_MAX 65536
#define LINKS_MAX 40
#define ON_THE_WAY (IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF)
#define AT_THE_END (ON_THE_WAY | IN_MODIFY | IN_CLOSE_WRITE)

/* A name, or a pattern, in a watched directory. */
struct place {
	int watch;
	bool pattern;
	bool writing;
	const char *name;
};

struct marked {
	const char *path;
	struct file_mark mark;
};

/* What is watched since the last load. */
struct scope {
	struct place *places;
	size_t place_count;
	struct marked *marks;
	size_t mark_count;
	bool partial;
};

struct files {
	int descriptor;
	struct loop_watch *watch;
	struct loop_timer *timer;
	loop_callback changed;
	void *data;
	struct settle settle;
	struct scope *scope;
};

void settle_note(struct settle *settle, uint64_t now)
{
	settle->last = now;
	if (!settle->first)
		settle->first = now;
}

uint64_t settle_due(const struct settle *settle)
{
	if (!settle->first)
		return LOOP_NEVER;
	uint64_t bound = settle->first + SETTLE_LAST_MS, quiet = settle->last + SETTLE_QUIET_MS;
	return settle->writing || bound < quiet ? bound : quiet;
}

static void note_change(struct files *files)
{
	settle_note(&files->settle, loop_now());
	loop_timer_set(files->timer, settle_due(&files->settle));
}

static int room_for_one(void *ctx, void *array, size_t size, size_t count)
{
	void *old;
	memcpy(&old, array, sizeof old);
	if (count & (count - 1))
		return 0;
	void *more = talloc_realloc_size(ctx, old, size * (count ? count * 2 : 1));
	if (more)
		memcpy(array, &more, sizeof more);
	return more ? 0 : -ENOMEM;
}

static int add_place(struct files *files, struct scope *scope, const char *directory, const char *name, bool pattern, bool end)
{
	int watch = inotify_add_watch(
		files->descriptor, directory, (end ? AT_THE_END : ON_THE_WAY) | IN_MASK_ADD | IN_ONLYDIR | IN_EXCL_UNLINK);
	if (watch < 0 || scope->place_count >= PLACES_MAX) {
		scope->partial |= watch < 0 ? errno != ENOENT && errno != ENOTDIR : true;
		return 0;
	}
	for (size_t i = 0; i < scope->place_count; i++)
		if (scope->places[i].watch == watch && scope->places[i].pattern == pattern &&
			!strcmp(scope->places[i].name, name))
			return 0;
	if (room_for_one(scope, &scope->places, sizeof *scope->places, scope->place_count))
		return -ENOMEM;
	struct place *place = &scope->places[scope->place_count++];
	*place = (struct place){.watch = watch, .pattern = pattern, .name = talloc_strdup(scope, name)};
	return place->name ? 0 : -ENOMEM;
}

/* The way that is being walked: `here` is a directory that exists, `rest` what is left of the path. */
static int walk(struct files *files, struct scope *scope, const char *here, const char *rest, unsigned links);

static int follow_link(
	struct files *files, struct scope *scope, const char *here, const char *link, const char *rest, unsigned links)
{
	char target[PATH_MAX];
	ssize_t length = readlink(link, target, sizeof target - 1);
	if (length < 0 || links >= LINKS_MAX)
		return 0;
	target[length] = 0;
	char *path = talloc_asprintf(scope, "%s/%s", target, rest);
	if (!path)
		return -ENOMEM;
	int error = target[0] == '/' ? walk(files, scope, "/", path, links + 1) : walk(files, scope, here, path, links + 1);
	talloc_free(path);
	return error;
}

static int step_into(
	struct files *files, struct scope *scope, const char *here, const char *name, const char *rest, unsigned links)
{
	struct stat status;
	int error = add_place(files, scope, here, name, false, !*rest);
	char *path = talloc_asprintf(scope, "%s%s%s", here, here[1] ? "/" : "", name);
	if (error || !path)
		return error ? error : -ENOMEM;
	if (!lstat(path, &status)) { /* after the watch stands */
		if (S_ISLNK(status.st_mode))
			error = follow_link(files, scope, here, path, rest, links);
		else if (S_ISDIR(status.st_mode) && *rest)
			error = walk(files, scope, path, rest, links);
	}
	talloc_free(path);
	return error;
}

/* A step of a glob: every name may begin to match; those that do are gone into. */
static int step_by_pattern(
	struct files *files, struct scope *scope, const char *here, const char *pattern, const char *rest, unsigned links)
{
	int error = add_place(files, scope, here, pattern, true, !*rest);
	DIR *directory = error || !*rest ? NULL : opendir(here);
	for (struct dirent *entry; !error && directory && (entry = readdir(directory));)
		if (!fnmatch(pattern, entry->d_name, FNM_PERIOD))
			error = step_into(files, scope, here, entry->d_name, rest, links);
	if (directory)
		closedir(directory);
	return error;
}

static char *parent_of(void *ctx, const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash == path ? talloc_strdup(ctx, "/") : talloc_strndup(ctx, path, (size_t)(slash - path));
}

static int walk(struct files *files, struct scope *scope, const char *here, const char *rest, unsigned links)
{
	rest += strspn(rest, "/");
	size_t length = strcspn(rest, "/");
	if (!length)
		return 0;
	char *name = talloc_strndup(scope, rest, length), *above = NULL;
	rest += length;
	rest += strspn(rest, "/");
	int error = name ? 0 : -ENOMEM;
	if (!error && !strcmp(name, "."))
		error = walk(files, scope, here, rest, links);
	else if (!error && !strcmp(name, "..")) /* `here` has no links left in it */
		error = (above = parent_of(scope, here)) ? walk(files, scope, above, rest, links) : -ENOMEM;
	else if (!error && strpbrk(name, "*?["))
		error = step_by_pattern(files, scope, here, name, rest, links);
	else if (!error)
		error = step_into(files, scope, here, name, rest, links);
	talloc_free(above);
	talloc_free(name);
	return error;
}

static int add_path(struct files *files, struct scope *scope, const char *path)
{
	char here[PATH_MAX];
	if (path[0] == '/')
		return walk(files, scope, "/", path, 0);
	if (!getcwd(here, sizeof here))
		return -errno;
	char *whole = talloc_asprintf(scope, "%s/%s", here, path);
	int error = whole ? walk(files, scope, "/", whole, 0) : -ENOMEM;
	talloc_free(whole);
	return error;
}

static int add_mark(struct scope *scope, const struct traced *one)
{
	if (room_for_one(scope, &scope->marks, sizeof *scope->marks, scope->mark_count))
		return -ENOMEM;
	struct marked *marked = &scope->marks[scope->mark_count++];
	*marked = (struct marked){.path = talloc_strdup(scope, one->path), .mark = one->mark};
	return marked->path ? 0 : -ENOMEM;
}

static int fill_scope(struct files *files, struct scope *scope, const struct trace *trace)
{
	static const char *const accounts[] = {"/etc/passwd", "/etc/group"};
	int error = add_path(files, scope, "/etc/hostname");
	for (int i = 0; !error && trace->accounts && i < 2; i++)
		error = add_path(files, scope, accounts[i]);
	for (const struct traced *one = trace->first; one && !error; one = one->next) {
		error = add_path(files, scope, one->path);
		if (!error && one->kind != TRACED_GLOB)
			error = add_mark(scope, one);
	}
	return error;
}

static bool watches(const struct scope *scope, int watch)
{
	for (size_t i = 0; scope && i < scope->place_count; i++)
		if (scope->places[i].watch == watch)
			return true;
	return false;
}

static void drop_scope(struct files *files, const struct scope *now)
{
	struct scope *old = files->scope;
	for (size_t i = 0; old && i < old->place_count; i++)
		if (!watches(now, old->places[i].watch))
			inotify_rm_watch(files->descriptor, old->places[i].watch); /* a second time it is EINVAL */
	talloc_free(old);
}

void files_check(struct files *files)
{
	struct file_mark mark;
	for (size_t i = 0; files->scope && i < files->scope->mark_count; i++) {
		file_mark(files->scope->marks[i].path, &mark);
		if (file_mark_equal(&mark, &files->scope->marks[i].mark))
			continue;
		note_change(files);
		return;
	}
}

int files_follow(struct files *files, const struct trace *trace)
{
	struct scope *scope = talloc_zero(files, struct scope);
	int error = scope ? fill_scope(files, scope, trace) : -ENOMEM;
	if (error) {
		talloc_free(scope);
		return error;
	}
	drop_scope(files, scope);
	files->scope = scope;
	files->settle.writing = 0;
	files_check(files);
	return scope->partial;
}

static void note_writing(struct files *files, struct place *place, uint32_t mask)
{
	bool writing =
		mask & IN_MODIFY || (place->writing && !(mask & (IN_CLOSE_WRITE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO)));
	files->settle.writing += (unsigned)writing - (unsigned)place->writing;
	place->writing = writing;
}

static bool place_of(const struct place *place, const struct inotify_event *event)
{
	if (place->watch != event->wd || !event->len)
		return false;
	return place->pattern ? !fnmatch(place->name, event->name, FNM_PERIOD) : !strcmp(place->name, event->name);
}

static void take_event(struct files *files, const struct inotify_event *event)
{
	struct scope *scope = files->scope;
	bool ours = event->mask & IN_Q_OVERFLOW; /* nobody knows what was lost: all is read again */
	if (event->mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT) && watches(scope, event->wd))
		ours = true;
	for (size_t i = 0; scope && i < scope->place_count; i++)
		if (place_of(&scope->places[i], event)) {
			if (!scope->places[i].pattern)
				note_writing(files, &scope->places[i], event->mask);
			ours = true;
		}
	if (ours)
		note_change(files);
}

static int take_events(void *data)
{
	struct files *files = data;
	char buffer[16384] __attribute__((aligned(__alignof__(struct inotify_event))));
	for (int rounds = 0; rounds < 16; rounds++) { /* the rest is told again by the loop */
		ssize_t got = read(files->descriptor, buffer, sizeof buffer);
		if (got <= 0)
			return got < 0 && errno != EAGAIN && errno != EINTR ? -errno : 0;
		for (char *at = buffer; at < buffer + got;) {
			const struct inotify_event *event = (const struct inotify_event *)at;
			take_event(files, event);
			at += sizeof *event + event->len;
		}
	}
	return 0;
}

static int settled(void *data)
{
	struct files *files = data;
	files->settle = (struct settle){0};
	for (size_t i = 0; files->scope && i < files->scope->place_count; i++)
		files->scope->places[i].writing = false;
	return files->changed(files->data);
}

static int files_close(struct files *files)
{
	TALLOC_FREE(files->watch);
	if (files->descriptor >= 0)
		close(files->descriptor);
	return 0;
}

int files_new(void *ctx, struct loop *loop, loop_callback changed, void *data, struct files **out)
{
	struct files *files = talloc_zero(ctx, struct files);
	if (!files)
		return -ENOMEM;
	files->changed = changed;
	files->data = data;
	files->descriptor = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	talloc_set_destructor(files, files_close);
	int error =
		files->descriptor < 0 ? -errno : loop_watch(loop, files, files->descriptor, take_events, files, &files->watch);
	if (!error)
		error = loop_timer(loop, files, settled, files, &files->timer);
	if (error)
		talloc_free(files);
	else
		*out = files;
	return error;
}
