/*
 * fmt: the one canonical layout.
 *
 * Nothing is printed or written before it is shown that the new text means what the old one meant: its words are the same
 * (source_lay_out has looked), and so is the policy that it makes, on every kind of host. A file whose names are
 * defined elsewhere makes no policy of its own; then the words must do.
 *
 * With -w a file is replaced by rename in its own directory, so a reader sees the old text or the new one and never half of
 * either.
 */
#include "agent/cli/cli.h"
#include "portpolicy/analysis.h"
#include "portpolicy/layout.h"
#include <errno.h>
#include <string.h>
#include <talloc.h>

/* The real world, but for the bytes of one file. */
struct overlay {
	const struct environment *under;
	const char *path, *text;
};

static int read_over(void *data, void *ctx, const char *path, enum file_kind kind, char **bytes, size_t *length)
{
	const struct overlay *overlay = data;
	if (kind != FILE_POLICY || strcmp(path, overlay->path))
		return overlay->under->read_file(overlay->under->data, ctx, path, kind, bytes, length);
	*length = strlen(overlay->text);
	*bytes = talloc_strdup(ctx, overlay->text);
	return *bytes ? 0 : -ENOMEM;
}

static int glob_over(void *data, void *ctx, const char *pattern, char ***paths, size_t *count)
{
	const struct overlay *overlay = data;
	return overlay->under->glob(overlay->under->data, ctx, pattern, paths, count);
}

static int canonical_over(void *data, void *ctx, const char *path, char **out)
{
	const struct overlay *overlay = data;
	return overlay->under->canonical(overlay->under->data, ctx, path, out);
}

static int user_over(void *data, const char *name, uint32_t *uid)
{
	const struct overlay *overlay = data;
	return overlay->under->find_user(overlay->under->data, name, uid);
}

static int group_over(void *data, const char *name, uint32_t *gid)
{
	const struct overlay *overlay = data;
	return overlay->under->find_group(overlay->under->data, name, gid);
}

static struct environment overlay_environment(struct overlay *overlay)
{
	struct environment environment = *overlay->under;
	environment.data = overlay;
	environment.read_file = read_over;
	environment.glob = glob_over;
	environment.canonical = canonical_over;
	environment.find_user = user_over;
	environment.find_group = group_over;
	return environment;
}

static int load_silently(void *ctx, const char *path, const struct environment *environment, struct policy **out, size_t *errors)
{
	struct diagnostics *unused = diagnostics_new(ctx);
	int outcome = unused ? policy_load(ctx, path, environment, unused, out) : -ENOMEM;
	*errors = unused ? unused->errors : 0;
	return outcome;
}

/* 0: the same on this host, or nothing to be known; 1: not the same; or a negative errno. */
static int compare_on(void *ctx, const char *path, const struct environment *old, const struct environment *new)
{
	struct policy *before, *after;
	size_t old_errors, new_errors;
	int outcome = load_silently(ctx, path, old, &before, &old_errors);
	int again = outcome < 0 ? outcome : load_silently(ctx, path, new, &after, &new_errors);
	if (outcome < 0 || again < 0)
		return outcome < 0 ? outcome : again;
	if (outcome || again)
		return outcome != again || old_errors != new_errors;
	return !policies_same(before, after);
}

static int compare_meaning(void *ctx, const struct invocation *call, struct world *world, const char *path, const char *text)
{
	struct overlay overlay = {.under = world_environment(world), .path = path, .text = text};
	const char *const *names = &call->host;
	struct diagnostics *unused = diagnostics_new(ctx);
	size_t kinds = 1;
	int outcome = !unused ? -ENOMEM : call->host ? 0 : policy_host_kinds(ctx, path, overlay.under, unused, &names, &kinds);
	for (size_t i = 0; i < kinds && !outcome; i++) {
		void *scratch = talloc_new(ctx);
		world_answer_for(world, names[i]);
		struct environment changed = overlay_environment(&overlay);
		outcome = scratch ? compare_on(scratch, path, overlay.under, &changed) : -ENOMEM;
		talloc_free(scratch);
	}
	return outcome;
}

static int unreadable(const char *path, int error)
{
	complain("portpolicy: cannot read %s: %s\n", path, error == -EINVAL ? "it is not a regular file" : strerror(-error));
	return STATUS_FAILED;
}

struct file {
	const char *path;
	char *bytes; /* as read */
	size_t length;
	char *text; /* laid out */
};

/* STATUS_YES with both texts; another status after a message; or a negative errno. */
static int lay_out(void *ctx, const struct invocation *call, struct file *file)
{
	struct world *world;
	struct source *source;
	struct diagnostics *diagnostics = diagnostics_new(ctx);
	int error = diagnostics ? world_new(ctx, call, file->path, false, &world) : -ENOMEM;
	if (error)
		return error;
	const struct environment *environment = world_environment(world);
	error = environment->read_file(environment->data, ctx, file->path, FILE_POLICY, &file->bytes, &file->length);
	if (error)
		return error == -ENOMEM ? error : unreadable(file->path, error);
	error = source_new(ctx, strcmp(file->path, "-") ? file->path : "<stdin>", file->bytes, file->length, false, &source);
	error = error ? error : source_lay_out(ctx, source, diagnostics, &file->text);
	print_diagnostics(diagnostics);
	if (error)
		return error < 0 ? error : STATUS_NO;
	error = compare_meaning(ctx, call, world, file->path, file->text);
	if (error <= 0)
		return error;
	complain("portpolicy: %s is left as it is: in the new layout it would not mean the same\n", file->path);
	return STATUS_FAILED;
}

static int format_file(void *ctx, const struct invocation *call, const char *path)
{
	struct file file = {.path = path};
	int status = lay_out(ctx, call, &file);
	if (status)
		return status;
	bool same = file.length == strlen(file.text) && !memcmp(file.bytes, file.text, file.length);
	if (call->check)
		return same ? STATUS_YES : (puts(path), STATUS_NO);
	if (call->write)
		return same ? STATUS_YES : replace_file(ctx, path, file.bytes, file.length, file.text);
	fputs(file.text, stdout);
	return STATUS_YES;
}

/* Every file is looked at, whatever is wrong with one. */
int verb_fmt(void *ctx, const struct invocation *call)
{
	int worst = STATUS_YES;
	if (!call->operand_count)
		return usage_error(call, "fmt takes the files to lay out, or - for standard input");
	if (call->write && call->check)
		return usage_error(call, "-w changes files, --check does not: give one of them");
	for (size_t i = 0; call->write && i < call->operand_count; i++)
		if (!strcmp(call->operands[i], "-"))
			return usage_error(call, "standard input cannot be written: leave out -w");
	for (size_t i = 0; i < call->operand_count; i++) {
		void *scratch = talloc_new(ctx);
		int status = scratch ? format_file(scratch, call, call->operands[i]) : -ENOMEM;
		talloc_free(scratch);
		if (status < 0)
			return status;
		worst = status > worst ? status : worst;
	}
	return worst;
}
