/*
 * From the first file to the list of statements that are in force on one host.
 *
 * Includes are read where they stand, each file once; blocks of other hosts are left out. What remains is flat and in reading order.
 */
#include "dsl/language/resolve.h"
#include <errno.h>
#include <fnmatch.h>
#include <string.h>
#include <talloc.h>

#define INCLUDE_DEPTH 64

/* A file that is being read or has been: the chain of `from` is the way that led here. */
struct file {
	const char *canonical;
	struct span from;
	bool reading;
	struct file *next;
};

struct loader {
	struct resolver *resolver;
	struct file *files, *innermost;
	unsigned depth;
};

int array_room(void *ctx, void *array, size_t size, size_t count)
{
	void *old;
	memcpy(&old, array, sizeof old);
	if (old && (count & (count - 1)))
		return 0;
	void *grown = talloc_realloc_size(ctx, old, size * (count ? count * 2 : 1));
	if (!grown)
		return -ENOMEM;
	memcpy(array, &grown, sizeof grown);
	return 0;
}

bool host_matches(const char *pattern, const char *host)
{
	char label[256];
	size_t length = strcspn(host, ".");
	if (!fnmatch(pattern, host, 0))
		return true;
	if (!host[length] || length >= sizeof label)
		return false;
	memcpy(label, host, length);
	label[length] = 0;
	return !fnmatch(pattern, label, 0);
}

static int read_file(struct loader *loader, const char *path, bool library, struct span from);

static void report_unreadable(struct loader *loader, const char *path, struct span from, int error)
{
	struct diagnostics *diagnostics = loader->resolver->diagnostics;
	loader->resolver->unread = true;
	const char *why = error == -EISDIR ? "it is a directory" : error == -EINVAL ? "it is not a regular file" :
			  error == -EFBIG ? "it is larger than a policy may be (16 MiB)" :
			  error == -EPERM ? "somebody other than root may write it, or put another in its place" : strerror(-error);
	if (from.source)
		report_error(diagnostics, from, "cannot include %s: %s", path, why);
	else
		report_file_error(diagnostics, path, "cannot read this policy: %s", why);
}

static char *beside(void *ctx, const struct source *source, const char *path)
{
	const char *slash = strrchr(source->name, '/');
	if (*path == '/' || !slash)
		return talloc_strdup(ctx, path);
	return talloc_asprintf(ctx, "%.*s/%s", (int)(slash - source->name), source->name, path);
}

static int include_pattern(struct loader *loader, const char *pattern, bool library, struct span from)
{
	const struct environment *environment = loader->resolver->environment;
	char **paths;
	size_t count;
	int error = environment->glob(environment->data, loader->resolver->scratch, pattern, &paths, &count);
	if (error == -ENOMEM)
		return error;
	if (error)
		report_unreadable(loader, pattern, from, error);
	for (size_t i = 0; i < count && !error; i++)
		error = read_file(loader, paths[i], library, from);
	return error < 0 && error != -ENOMEM ? 0 : error;
}

static int include_path(struct loader *loader, const struct item *name, bool library)
{
	char *path = beside(loader->resolver->ctx, name->span.source, name->text);
	if (!path)
		return -ENOMEM;
	if (!*name->text) {
		report_error(loader->resolver->diagnostics, name->span, "an include names a file");
		return 0;
	}
	return strpbrk(path, "*?[") ? include_pattern(loader, path, library, name->span) : read_file(loader, path, library, name->span);
}

static int hint_all(struct resolver *resolver, struct diagnostic *diagnostic, const char *const *names, size_t count)
{
	char *all = talloc_strdup(resolver->scratch, "");
	for (size_t i = 0; i < count && i < 20 && all; i++)
		all = talloc_asprintf_append_buffer(all, "%s<%s>", i ? ", " : "", names[i]);
	if (!all)
		return -ENOMEM;
	diagnostic_hint(resolver->diagnostics, diagnostic, "it has %s%s", all, count > 20 ? ", ..." : "");
	return 0;
}

/* What the library has, for the hint. */
static int report_no_library(struct loader *loader, const struct item *name)
{
	struct resolver *resolver = loader->resolver;
	const struct environment *environment = resolver->environment;
	struct diagnostic *one = report_error(resolver->diagnostics, name->span, "the library has no <%s>", name->text);
	const char **names = NULL;
	size_t known = 0;
	resolver->unread = true;
	for (size_t i = 0; i < environment->library_count; i++) {
		char **paths, *pattern = talloc_asprintf(resolver->scratch, "%s/*.policy", environment->library[i]);
		size_t count = 0;
		int error = pattern ? environment->glob(environment->data, resolver->scratch, pattern, &paths, &count) : -ENOMEM;
		for (size_t k = 0; k < count && !error; k++) {
			const char *slash = strrchr(paths[k], '/');
			char *word = talloc_strdup(resolver->scratch, slash ? slash + 1 : paths[k]);
			if (!word || array_room(resolver->scratch, &names, sizeof *names, known))
				return -ENOMEM;
			word[strlen(word) - strlen(".policy")] = 0;
			names[known++] = word;
		}
		if (error == -ENOMEM)
			return error;
	}
	hint_nearest(resolver, one, name->text, names, known);
	if (one && !one->hint && known)
		return hint_all(resolver, one, names, known);
	return 0;
}

static int include_library(struct loader *loader, const struct item *name)
{
	struct resolver *resolver = loader->resolver;
	const struct environment *environment = resolver->environment;
	if (strchr(name->text, '/')) {
		struct diagnostic *one = report_error(resolver->diagnostics, name->span, "a library name has no slash");
		diagnostic_hint(resolver->diagnostics, one, "include \"%s\" reads a file", name->text);
		return 0;
	}
	for (size_t i = 0; i < environment->library_count; i++) {
		char *canonical, *path = talloc_asprintf(resolver->ctx, "%s/%s.policy", environment->library[i], name->text);
		int error = path ? environment->canonical(environment->data, resolver->scratch, path, &canonical) : -ENOMEM;
		if (error == -ENOMEM)
			return error;
		if (!error)
			return read_file(loader, path, true, name->span);
	}
	return report_no_library(loader, name);
}

bool block_applies(const struct resolver *resolver, const struct statement *statement)
{
	bool applies = resolver->every_host;
	for (const struct item *pattern = statement->value; pattern; pattern = pattern->next)
		applies |= host_matches(pattern->text, resolver->environment->host);
	return applies;
}

static int add_entry(struct resolver *resolver, const struct statement *statement, bool library)
{
	if (array_room(resolver->ctx, &resolver->entries, sizeof *resolver->entries, resolver->entry_count))
		return -ENOMEM;
	resolver->entries[resolver->entry_count++] = (struct entry){statement, library};
	return 0;
}

static void check_language(struct resolver *resolver, const struct statement *statement, bool first)
{
	uint64_t version;
	if (!first) {
		struct diagnostic *one = report_error(resolver->diagnostics, statement->span, "`language` stands before everything else in a file");
		diagnostic_hint(resolver->diagnostics, one, "move it to the first line");
	}
	if (number_parse(statement->value, 1, &version) || version != 1)
		report_error(resolver->diagnostics, statement->value->span, "this portpolicy knows version 1 of the language, not %s", statement->value->text);
}

static int add_statements(struct loader *loader, const struct statement *list, bool library, bool outermost)
{
	struct resolver *resolver = loader->resolver;
	int error = 0;
	for (const struct statement *one = list; one && !error; one = one->next)
		switch (one->kind) {
		case STATEMENT_LANGUAGE: check_language(resolver, one, outermost && one == list); break;
		case STATEMENT_INCLUDE:
			error = one->name->kind == ITEM_WORD ? include_library(loader, one->name) : include_path(loader, one->name, library);
			break;
		case STATEMENT_HOSTS:
			if (array_room(resolver->scratch, &resolver->blocks, sizeof *resolver->blocks, resolver->block_count))
				return -ENOMEM;
			resolver->blocks[resolver->block_count++] = one;
			if (block_applies(resolver, one))
				error = add_statements(loader, one->body, library, false);
			break;
		case STATEMENT_ADDRESSES:
		case STATEMENT_PORTS:
		case STATEMENT_SERVICE:
		case STATEMENT_DEFAULT:
		case STATEMENT_RULE:
		case STATEMENT_EXPECT:
		case STATEMENT_MODE: error = add_entry(resolver, one, library); break;
		}
	return error;
}

static int read_source(struct loader *loader, const char *path, bool library, struct span from, struct source **out)
{
	struct resolver *resolver = loader->resolver;
	const struct environment *environment = resolver->environment;
	char *bytes;
	size_t length;
	*out = NULL;
	int error = environment->read_file(environment->data, resolver->scratch, path, FILE_POLICY, &bytes, &length);
	if (error && error != -ENOMEM) {
		report_unreadable(loader, path, from, error);
		return 0;
	}
	error = error ? error : source_new(resolver->ctx, strcmp(path, "-") ? path : "<stdin>", bytes, length, library, out);
	if (error || array_room(resolver->ctx, &resolver->sources, sizeof *resolver->sources, resolver->source_count))
		return -ENOMEM;
	resolver->sources[resolver->source_count++] = *out;
	talloc_free(bytes);
	return 0;
}

static struct file *find_file(struct loader *loader, const char *canonical)
{
	struct file *file = loader->files;
	while (file && strcmp(file->canonical, canonical))
		file = file->next;
	return file;
}

static int report_cycle(struct loader *loader, const struct file *file, const char *path, struct span from)
{
	const struct file *including = loader->innermost;
	struct diagnostic *one = report_error(loader->resolver->diagnostics, from, "%s includes itself%s", path, including == file ? "" : " by way of others");
	if (including != file)
		diagnostic_related(loader->resolver->diagnostics, one, including->from, "this file is being read because of this include");
	diagnostic_hint(loader->resolver->diagnostics, one, "leave this include out: a file counts once, wherever it is included");
	return 0;
}

static int read_new_file(struct loader *loader, const char *path, bool library, struct file *file)
{
	struct resolver *resolver = loader->resolver;
	struct source *source;
	struct tree *tree;
	int error = read_source(loader, path, library, file->from, &source);
	if (error || !source)
		return error;
	size_t errors = resolver->diagnostics->errors;
	error = parse_policy(resolver->ctx, source, resolver->diagnostics, &tree);
	if (error)
		return error;
	resolver->unread |= resolver->diagnostics->errors != errors;
	if (++loader->depth > INCLUDE_DEPTH)
		report_error(resolver->diagnostics, file->from, "includes are nested more than %d deep", INCLUDE_DEPTH);
	else
		error = add_statements(loader, tree->statements, library, true);
	loader->depth--;
	return error;
}

static int read_file(struct loader *loader, const char *path, bool library, struct span from)
{
	struct resolver *resolver = loader->resolver;
	const struct environment *environment = resolver->environment;
	char *canonical;
	int error = environment->canonical(environment->data, resolver->scratch, path, &canonical);
	if (error == -ENOMEM)
		return error;
	if (error && from.source) {
		report_unreadable(loader, path, from, error);
		return 0;
	}
	if (error) /* the first file: reading it says what is wrong with it */
		canonical = talloc_strdup(resolver->scratch, path);
	if (!canonical)
		return -ENOMEM;
	struct file *file = find_file(loader, canonical);
	if (file)
		return file->reading ? report_cycle(loader, file, path, from) : 0;
	file = talloc_zero(resolver->scratch, struct file);
	if (!file)
		return -ENOMEM;
	*file = (struct file){.canonical = canonical, .from = from, .reading = true, .next = loader->files};
	struct file *outer = loader->innermost;
	loader->files = loader->innermost = file;
	error = read_new_file(loader, path, library, file);
	loader->innermost = outer;
	file->reading = false;
	return error;
}

/* Is the first file one that `include <name>` would read? Then it is judged as what it is: names for others, rules for what they manage. */
static int in_library(struct resolver *resolver, const char *path, bool *library)
{
	const struct environment *environment = resolver->environment;
	char *own, *other;
	*library = false;
	int error = environment->canonical(environment->data, resolver->scratch, path, &own);
	const char *slash = error ? NULL : strrchr(own, '/');
	for (size_t i = 0; i < environment->library_count && slash && error != -ENOMEM && !*library; i++) {
		char *candidate = talloc_asprintf(resolver->scratch, "%s%s", environment->library[i], slash);
		error = candidate ? environment->canonical(environment->data, resolver->scratch, candidate, &other) : -ENOMEM;
		*library = !error && !strcmp(own, other);
	}
	return error == -ENOMEM ? error : 0;
}

int load_entries(struct resolver *resolver, const char *path)
{
	struct loader loader = {.resolver = resolver};
	bool library;
	int error = in_library(resolver, path, &library);
	return error ? error : read_file(&loader, path, library, (struct span){0});
}
