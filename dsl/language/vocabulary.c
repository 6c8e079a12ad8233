/*
 * The policy's own words, for answers that speak as it does: the names that it uses, and the clauses of a rule as they were
 * written.
 */
#include "dsl/language/resolve.h"
#include <errno.h>
#include <string.h>
#include <talloc.h>

/* Definitions are sorted by name space, name and layer: the policy's stands right before the library's of the same name. */
static bool shadowed(const struct resolver *resolver, size_t i)
{
	const struct definition *one = &resolver->definitions[i], *before = one - 1;
	return one->library && i && !strcmp(before->name, one->name) && !before->library &&
	       (before->kind == NAME_SERVICE) == (one->kind == NAME_SERVICE);
}

int policy_names(void *ctx, const struct policy *policy, struct policy_name **out, size_t *count)
{
	const struct resolver *resolver = policy->scope;
	struct policy_name *list = talloc_array(ctx, struct policy_name, resolver->definition_count + 1);
	*count = 0;
	if (!list)
		return -ENOMEM;
	for (size_t i = 0; i < resolver->definition_count; i++) {
		const struct definition *one = &resolver->definitions[i];
		if (!one->used || shadowed(resolver, i))
			continue;
		list[(*count)++] = (struct policy_name){.kind = one->kind == NAME_ADDRESSES ? NAMED_ADDRESSES
								: one->kind == NAME_PORTS   ? NAMED_PORTS
											    : NAMED_SERVICE,
			.name = one->name,
			.library = one->library,
			.addresses = one->addresses,
			.ports = one->ports,
			.traffic = one->traffic};
	}
	*out = list;
	return 0;
}

static char *add_clause(char *text, const char *words, const struct item *item)
{
	if (!text || !item)
		return text;
	char *clause = span_text(text, item->span);
	return clause ? talloc_asprintf_append_buffer(text, "%s%s%s", *text ? " " : "", words, clause) : NULL;
}

char *match_text(void *ctx, const struct match_node *node)
{
	static const char *const directions[] = {"in ", "out ", "forward "};
	char *text = add_clause(talloc_strdup(ctx, ""), directions[node->direction], node->traffic);
	text = add_clause(text, "on ", node->on);
	text = add_clause(text, "arriving on ", node->arriving);
	text = add_clause(text, "leaving on ", node->leaving);
	text = add_clause(text, "from ", node->from);
	text = add_clause(text, "source port ", node->source_port);
	text = add_clause(text, "to ", node->to);
	return add_clause(text, "by ", node->by);
}
