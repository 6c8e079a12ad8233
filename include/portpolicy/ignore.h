/*
 * Comments that silence warnings: `# portpolicy: ignore W102`.
 *
 * Such a comment behind words speaks of the statement that it stands in, one on a line of its own of the statement that it stands
 * above or within, and `# portpolicy: ignore-file W102` of its file. Several codes may stand there, separated by blanks or
 * commas, and any text behind them.
 */
#ifndef PORTPOLICY_IGNORE_H
#define PORTPOLICY_IGNORE_H

#include "portpolicy/source.h"

struct ignore {
	struct span span; /* the code in its comment */
	const char *code;
	bool whole_file, used;
	bool lenient; /* nothing is said if it silences nothing */
	unsigned first_line, last_line;
};

struct ignores {
	struct ignore *at;
	size_t count;
};

/* Appends those of a text. What is addressed to portpolicy and not understood is a warning (W008). 0 or -ENOMEM. */
int ignores_read(void *ctx, const struct source *source, struct diagnostics *diagnostics, struct ignores *list);
/* Is this warning silenced? Marks what silences it as used. Sources are told apart by their names. */
bool ignores_silence(const struct ignores *list, const struct diagnostic *warning);
/* Warns of those that silenced nothing (W009), but for codes that turn on the machine. */
void ignores_finish(const struct ignores *list, struct diagnostics *diagnostics);

#endif
