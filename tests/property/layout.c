/*
 * Random policies in random layouts: all come out the same, keep their comments in order, and mean what they meant.
 *
 *   layout [--policies N] [--seed FIRST]
 *
 * A policy is taken apart into its words and put together again with blanks, tabs, ends of lines, continuations, semicolons, last commas
 * and numbered comments wherever the language lets them stand.
 */
#include "dsl/language/lexeme.h"
#include "portpolicy/analysis.h"
#include "portpolicy/layout.h"
#include "tests/netns/lib/model.h"
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <talloc.h>
#include <unistd.h>

#define POLICIES 300

static char directory[] = "/tmp/portpolicy-layout-XXXXXX";
static uint64_t seed;

#define CHECK(condition, ...) \
	do { \
		if (!(condition)) { \
			printf("seed %llu: ", (unsigned long long)seed); \
			printf(__VA_ARGS__); \
			clean(); \
			exit(1); \
		} \
	} while (0)

static void clean(void)
{
	DIR *lists = opendir(directory);
	for (struct dirent *one; lists && (one = readdir(lists));)
		unlinkat(dirfd(lists), one->d_name, 0);
	if (lists)
		closedir(lists);
	rmdir(directory);
}

/* The world: one policy, which is `data`, and the lists in the directory. */
static int read_file(void *data, void *ctx, const char *path, enum file_kind kind, char **bytes, size_t *length)
{
	char name[128];
	snprintf(name, sizeof name, "%s/%s", directory, path);
	FILE *file = kind == FILE_LIST ? fopen(name, "re") : NULL;
	if (kind == FILE_LIST && !file)
		return -errno;
	*bytes = file ? talloc_zero_size(ctx, 65536) : talloc_strdup(ctx, data);
	*length = file ? fread(*bytes, 1, 65536, file) : strlen(data);
	if (file)
		fclose(file);
	return 0;
}

static int no_paths(void *data, void *ctx, const char *pattern, char ***paths, size_t *count)
{
	(void)data, (void)ctx, (void)pattern, (void)paths;
	*count = 0;
	return 0;
}

static int same_path(void *data, void *ctx, const char *path, char **out)
{
	(void)data;
	*out = talloc_strdup(ctx, path);
	return 0;
}

static int no_account(void *data, const char *name, uint32_t *number)
{
	(void)data, (void)name, (void)number;
	return -ENOENT;
}

static struct policy *load(void *ctx, const char *text)
{
	const struct environment environment = {.data = (void *)(uintptr_t)text,
		.read_file = read_file,
		.glob = no_paths,
		.canonical = same_path,
		.find_user = no_account,
		.find_group = no_account,
		.host = "web1"};
	struct diagnostics *diagnostics = diagnostics_new(ctx);
	struct policy *policy;
	int outcome = policy_load(ctx, "t.policy", &environment, diagnostics, &policy);
	for (const struct diagnostic *one = diagnostics->first; one && outcome; one = one->next)
		diagnostic_print(stdout, one, false);
	CHECK(!outcome, "cannot be loaded:\n%s", text);
	return policy;
}

static char *lay_out(void *ctx, const char *text)
{
	struct source *source;
	struct diagnostics *diagnostics = diagnostics_new(ctx);
	char *out;
	CHECK(!source_new(ctx, "t.policy", text, strlen(text), false, &source), "no memory\n");
	int outcome = source_lay_out(ctx, source, diagnostics, &out);
	for (const struct diagnostic *one = diagnostics->first; one; one = one->next)
		diagnostic_print(stdout, one, false);
	CHECK(!outcome, "is refused (%d):\n%s", outcome, text);
	return out;
}

struct mixer {
	struct random random;
	FILE *out;
	bool rich; /* comments, last commas and empty lines, which stay */
	unsigned comments;
};

static bool chance(struct mixer *mixer, unsigned percent)
{
	return random_chance(&mixer->random, percent);
}

static void blanks(struct mixer *mixer, unsigned least)
{
	static const char *const some[] = {" ", "  ", "\t", " \t "};
	for (unsigned i = 0; i < least || chance(mixer, 20); i++)
		fputs(some[random_below(&mixer->random, 4)], mixer->out);
}

static void end_line(struct mixer *mixer)
{
	blanks(mixer, 0);
	fputs(chance(mixer, 20) ? "\r\n" : "\n", mixer->out);
}

static bool comment(struct mixer *mixer, unsigned percent)
{
	if (!mixer->rich || !chance(mixer, percent))
		return false;
	fprintf(mixer->out, "#c%u", ++mixer->comments);
	end_line(mixer);
	return true;
}

/* Between two words of a statement. */
static void within(struct mixer *mixer, bool braces, bool apart)
{
	blanks(mixer, apart);
	if (braces && comment(mixer, 8)) {
		while (comment(mixer, 20))
			;
		blanks(mixer, 0);
	} else if (braces && chance(mixer, 15)) {
		end_line(mixer);
		while (mixer->rich && chance(mixer, 20))
			end_line(mixer);
		blanks(mixer, 0);
	} else if (!braces && apart && chance(mixer, 10)) {
		fputs("\\", mixer->out);
		blanks(mixer, 0);
		if (!comment(mixer, 40))
			end_line(mixer);
		blanks(mixer, 0);
	}
}

static void between(struct mixer *mixer)
{
	blanks(mixer, 0);
	if (chance(mixer, 10)) {
		fputs(";", mixer->out);
		blanks(mixer, 0);
		if (!comment(mixer, 10))
			return;
	} else if (!comment(mixer, 10)) {
		end_line(mixer);
	}
	while (mixer->rich && chance(mixer, 20))
		if (!comment(mixer, 50))
			end_line(mixer);
	blanks(mixer, 0);
}

static bool is_sign(const char *text, const struct lexeme *lexeme)
{
	return lexeme->place.end - lexeme->place.begin == 1 && strchr(",/{}-", text[lexeme->place.begin]);
}

static bool is(const char *text, const struct lexeme *lexeme, char sign)
{
	return lexeme->place.end - lexeme->place.begin == 1 && text[lexeme->place.begin] == sign;
}

/* Whether a brace is a block's is seen by the words of the statement: only `hosts` has one outside of a set. */
static void mix(struct mixer *mixer, const char *text, const struct lexemes *list)
{
	unsigned depth = 0;
	bool hosts = false, start = true;
	for (size_t i = 0; i < list->count; i++) {
		const struct lexeme *one = &list->at[i], *next = one + 1;
		bool last = i + 1 == list->count, end = one->place.begin == one->place.end || strchr("\n", text[one->place.begin]);
		if (end) {
			between(mixer);
			hosts = false;
			start = true;
			continue;
		}
		hosts |= start && !strncmp(text + one->place.begin, "hosts", 5);
		bool block = (hosts || (start && is(text, one, '}'))) && (is(text, one, '{') || is(text, one, '}'));
		depth += !block && is(text, one, '{');
		depth -= !block && is(text, one, '}');
		if (!block && is(text, one, '}') && mixer->rich && chance(mixer, 20) && !is(text, one - 1, '{'))
			fputs(",", mixer->out);
		fprintf(mixer->out, "%.*s", (int)(one->place.end - one->place.begin), text + one->place.begin);
		start = block;
		hosts &= !block;
		if (block || (!last && text[next->place.begin] == '\n'))
			blanks(mixer, 0);
		else if (!last && !(hosts && is(text, next, '{')))
			within(mixer, depth > 0, !is_sign(text, one) && !is_sign(text, next));
	}
}

static char *mixed(void *ctx, const char *text, bool rich, unsigned *comments)
{
	struct source *source;
	struct lexemes list;
	char *memory;
	size_t length;
	struct mixer mixer = {.random = {seed * 2 + rich + 1}, .out = open_memstream(&memory, &length), .rich = rich};
	CHECK(!source_new(ctx, "t.policy", text, strlen(text), false, &source), "no memory\n");
	CHECK(!parse_lexemes(ctx, source, diagnostics_new(ctx), &list), "cannot be read:\n%s", text);
	mix(&mixer, source->text, &list);
	fclose(mixer.out);
	char *copy = talloc_strdup(ctx, memory);
	free(memory);
	*comments = mixer.comments;
	return copy;
}

static void expect_tidy(const char *out)
{
	for (const char *at = out; *at; at++)
		CHECK(*at != '\r' && (*at != '\n' || at == out || !strchr(" \t", at[-1])), "blanks end a line:\n%s", out);
	CHECK(!*out || out[strlen(out) - 1] == '\n', "the last line has no end:\n%s", out);
}

static void expect_comments(const char *out, unsigned count)
{
	unsigned seen = 0, number;
	for (const char *at = out; (at = strstr(at, "#c")); at += 2)
		CHECK(sscanf(at, "#c%u", &number) == 1 && number == ++seen, "comment %u is not in its place:\n%s", seen, out);
	CHECK(seen == count, "%u of %u comments are left:\n%s", seen, count, out);
}

static void try_policy(void)
{
	char *memory;
	size_t length;
	void *ctx = talloc_new(NULL);
	struct model *model = model_random(ctx, seed);
	FILE *stream = open_memstream(&memory, &length);
	unsigned comments;
	model_print(stream, model);
	fclose(stream);
	CHECK(!model_write_lists(model, directory), "the lists cannot be written\n");

	char *plain = lay_out(ctx, memory), *poor = mixed(ctx, memory, false, &comments), *again = lay_out(ctx, poor);
	CHECK(!strcmp(plain, lay_out(ctx, plain)), "comes out otherwise the second time:\n%s", plain);
	CHECK(!strcmp(plain, again), "another layout of\n%s\nbecomes\n%s\nand not\n%s", poor, again, plain);
	char *rich = mixed(ctx, memory, true, &comments), *out = lay_out(ctx, rich), *second = lay_out(ctx, out);
	CHECK(!strcmp(out, second), "comes out otherwise the second time:\n%s\nbecomes\n%s\nand then\n%s", rich, out, second);
	expect_tidy(plain);
	expect_tidy(out);
	expect_comments(out, comments);
	struct policy *meant = load(ctx, memory);
	CHECK(policies_same(meant, load(ctx, out)) && policies_same(meant, load(ctx, plain)), "does not mean the same:\n%s\nand\n%s", rich,
		out);
	free(memory);
	talloc_free(ctx);
}

int main(int count, char **arguments)
{
	unsigned long policies = POLICIES, first = 1;
	for (int i = 1; i + 1 < count; i += 2) {
		if (!strcmp(arguments[i], "--policies"))
			policies = strtoul(arguments[i + 1], NULL, 10);
		if (!strcmp(arguments[i], "--seed"))
			first = strtoul(arguments[i + 1], NULL, 10);
	}
	if (!mkdtemp(directory)) {
		perror(directory);
		return 1;
	}
	for (seed = first; seed < first + policies; seed++)
		try_policy();
	clean();
	printf("%lu policies in random layouts\n1 passed, 0 failed, 0 skipped\n", policies);
	return 0;
}
