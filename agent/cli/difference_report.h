/*
 * What diff and plan say of two policies.
 */
#ifndef PORTPOLICY_DIFFERENCE_REPORT_H
#define PORTPOLICY_DIFFERENCE_REPORT_H

#include "agent/cli/cli.h"
#include "portpolicy/comparison.h"

/* The comparison for one kind of host, or for several that come to the same. */
struct kind_of_host {
	const char **hosts;
	size_t host_count;
	struct comparison *comparison;
	json_t *json; /* without the hosts */
};

/* "newly allowed" */
const char *difference_word(enum difference_kind kind);
/* The name of a file as the user would write it; the span has a source. NULL: out of memory. */
char *shown_name(void *ctx, struct span span);

int print_comparison_text(void *ctx, const struct comparison *comparison);
int print_comparison_markdown(void *ctx, const struct comparison *comparison);
/* NULL: out of memory. */
json_t *comparison_json(const struct comparison *comparison);

#endif
