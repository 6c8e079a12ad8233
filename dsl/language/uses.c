/*
 * Names that statements for other hosts use: a set that only the web servers need is not unused on a database.
 */
#include "dsl/language/resolve.h"

static void mark_items(struct resolver *resolver, const struct item *item)
{
	for (; item; item = item->next) {
		if (item->kind == ITEM_NAME || item->kind == ITEM_WORD)
			name_mark(resolver, item->kind == ITEM_WORD, item->text);
		mark_items(resolver, item->low);
		mark_items(resolver, item->high);
		mark_items(resolver, item->items);
	}
}

static void mark_match(struct resolver *resolver, const struct match_node *match)
{
	mark_items(resolver, match->traffic);
	mark_items(resolver, match->from);
	mark_items(resolver, match->source_port);
	mark_items(resolver, match->to);
}

static bool mark_statements(struct resolver *resolver, const struct statement *list)
{
	bool all = true;
	for (const struct statement *one = list; one; one = one->next)
		switch (one->kind) {
		case STATEMENT_ADDRESSES:
		case STATEMENT_PORTS:
		case STATEMENT_SERVICE: mark_items(resolver, one->value); break;
		case STATEMENT_RULE:
		case STATEMENT_EXPECT: mark_match(resolver, &one->rule.match); break;
		case STATEMENT_HOSTS: all &= mark_statements(resolver, one->body); break;
		case STATEMENT_INCLUDE: all = false; break;
		case STATEMENT_LANGUAGE:
		case STATEMENT_DEFAULT:
		case STATEMENT_MODE: break;
		}
	return all;
}

bool uses_elsewhere(struct resolver *resolver)
{
	bool all = true;
	for (size_t i = 0; i < resolver->block_count; i++)
		if (!block_applies(resolver, resolver->blocks[i]))
			all &= mark_statements(resolver, resolver->blocks[i]->body);
	return all;
}
