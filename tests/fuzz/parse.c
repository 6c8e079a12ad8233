/*
 * Feeds files to the parser, as a policy and as a question, and lays out what it takes: nothing may crash, hang or leak, and what was
 * laid out comes out the same again. Built with -DLIBFUZZER it is a
 * target for clang's fuzzer; without, it replays the corpus.
 */
#include "portpolicy/ignore.h"
#include "portpolicy/layout.h"
#include "portpolicy/tree.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <talloc.h>

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t length);

static void fold(void *ctx, const struct statement *statements)
{
	for (const struct statement *one = statements; one; one = one->next) {
		if (!span_text(ctx, one->span))
			abort();
		fold(ctx, one->body);
	}
}

/* What can be laid out is laid out for good. */
static void lay_out(void *ctx, const struct source *source, struct diagnostics *diagnostics)
{
	struct ignores ignores = {0};
	struct source *second;
	char *once, *twice;
	size_t errors = diagnostics->errors;
	if (ignores_read(ctx, source, diagnostics, &ignores))
		abort();
	ignores_finish(&ignores, diagnostics);
	if (source_lay_out(ctx, source, diagnostics, &once)) {
		if (diagnostics->errors == errors)
			abort();
		return;
	}
	if (source_new(ctx, "laid out", once, strlen(once), false, &second) || source_lay_out(ctx, second, diagnostics, &twice) ||
		strcmp(once, twice))
		abort();
}

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t length)
{
	void *ctx = talloc_new(NULL);
	struct diagnostics *diagnostics = diagnostics_new(ctx);
	struct source *source;
	struct tree *tree;
	struct match_node *question;
	if (diagnostics && !source_new(ctx, "input", (const char *)bytes, length, false, &source)) {
		if (!parse_policy(ctx, source, diagnostics, &tree))
			fold(ctx, tree->statements);
		lay_out(ctx, source, diagnostics);
		parse_question(ctx, source, diagnostics, &question);
		FILE *sink = fopen("/dev/null", "w");
		for (const struct diagnostic *one = diagnostics->first; sink && one; one = one->next)
			diagnostic_print(sink, one, true);
		if (sink)
			fclose(sink);
	}
	talloc_free(ctx);
	return 0;
}

#ifndef LIBFUZZER
static bool replay(const char *path)
{
	unsigned char *bytes = NULL;
	size_t length = 0, used;
	FILE *file = fopen(path, "rb");
	if (!file)
		return false;
	do {
		bytes = talloc_realloc(NULL, bytes, unsigned char, length + 65536);
		used = bytes ? fread(bytes + length, 1, 65536, file) : 0;
		length += used;
	} while (used);
	bool whole = bytes && !ferror(file);
	fclose(file);
	if (whole)
		LLVMFuzzerTestOneInput(bytes, length);
	talloc_free(bytes);
	return whole;
}

int main(int count, char **paths)
{
	for (int i = 1; i < count; i++)
		if (!replay(paths[i])) {
			perror(paths[i]);
			return 2;
		}
	return 0;
}
#endif
