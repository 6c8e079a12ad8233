/*
 * Feeds files to the parser, as a policy and as a question: nothing may crash, hang or leak. Built with -DLIBFUZZER it is a
 * target for clang's fuzzer; without, it replays the corpus.
 */
#include "portpolicy/tree.h"
#include <stdio.h>
#include <stdlib.h>
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
