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
#include "tests/property/random_world.h"

#define POLICIES 300

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
	void *ctx = talloc_new(NULL);
	struct model *model = model_random(ctx, seed);
	unsigned comments;
	CHECK(!model_write_lists(model, directory), "the lists cannot be written\n");
	char *text = model_text(ctx, model), *plain = lay_out(ctx, text), *poor = mixed(ctx, text, false, &comments),
	     *again = lay_out(ctx, poor);
	CHECK(!strcmp(plain, lay_out(ctx, plain)), "comes out otherwise the second time:\n%s", plain);
	CHECK(!strcmp(plain, again), "another layout of\n%s\nbecomes\n%s\nand not\n%s", poor, again, plain);
	char *rich = mixed(ctx, text, true, &comments), *out = lay_out(ctx, rich), *second = lay_out(ctx, out);
	CHECK(!strcmp(out, second), "comes out otherwise the second time:\n%s\nbecomes\n%s\nand then\n%s", rich, out, second);
	expect_tidy(plain);
	expect_tidy(out);
	expect_comments(out, comments);
	struct policy *meant = load(ctx, text);
	CHECK(policies_same(meant, load(ctx, out)) && policies_same(meant, load(ctx, plain)), "does not mean the same:\n%s\nand\n%s", rich,
		out);
	talloc_free(ctx);
}

int main(int count, char **arguments)
{
	unsigned long policies = random_policies(count, arguments, POLICIES, try_policy);
	printf("%lu policies in random layouts\n1 passed, 0 failed, 0 skipped\n", policies);
	return 0;
}
