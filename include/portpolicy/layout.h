/*
 * The one layout of a policy's text.
 */
#ifndef PORTPOLICY_LAYOUT_H
#define PORTPOLICY_LAYOUT_H

#include "portpolicy/source.h"

/*
 * The text of `source` laid out anew: *out is a NUL-terminated talloc child of `ctx`. Its words, signs and comments are those of
 * the source in their order; this is looked up in the result, not taken for granted. Only blanks and ends of lines, a comma
 * behind the last member of a set, `;` and backslashes may differ. Returns 0; 1 when the text cannot be read (the diagnostics say
 * why, and *out is NULL); or -ENOMEM.
 */
int source_lay_out(void *ctx, const struct source *source, struct diagnostics *diagnostics, char **out);

#endif
