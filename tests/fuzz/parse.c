/*
 * Feeds files to the parser, as a policy and as a question: nothing may crash, hang or leak. Built with -DLIBFUZZER it is a target for
 * clang's fuzzer; without, it replays the corpus.
 */
#include "portpolicy/tree.h"
#include <stdio.h>
#include <stdlib.h>
#include <talloc.h>

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t length);

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t length)
{
	void *ctx = talloc_new(NULL);
	struct diagnostics *diagnostics = diagnostics_new(ctx);
	struct source *source;
	struct tree *tree;
	struct match_node *question;
	if (diagnostics && !source_new(ctx, "input", (const char *)bytes, length, false, &source)) {
		parse_policy(ctx, source, diagnostics, &tree);
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
int main(int count, char **paths)
{
	static unsigned char bytes[1 << 20];
	for (int i = 1; i < count; i++) {
		FILE *file = fopen(paths[i], "rb");
		if (!file) {
			perror(paths[i]);
			return 2;
		}
		LLVMFuzzerTestOneInput(bytes, fread(bytes, 1, sizeof bytes, file));
		fclose(file);
	}
	return 0;
}
#endif
