/*
 * Makes the nodes of the tree, and reads a text from its first byte to its tree.
 *
 * Constructors take memory from the tree's context and fail by NULL, which the grammar turns into the end of the reading.
 */
#include "dsl/language/reading.h"
#include "parse.h"
#include "scan.h"
#include <errno.h>
#include <string.h>
#include <talloc.h>

struct span parse_span(const struct parse *parse, struct place place)
{
	return (struct span){parse->source, place.begin, place.end};
}

struct item *item_new(struct parse *parse, enum item_kind kind, struct place place, const char *text)
{
	struct item *item = talloc_zero(parse->ctx, struct item);
	if (!item)
		return NULL;
	item->kind = kind;
	item->span = parse_span(parse, place);
	item->text = text;
	return item;
}

struct item *item_pair(struct parse *parse, enum item_kind kind, struct place place, struct item *low, struct item *high)
{
	struct item *item = item_new(parse, kind, place, NULL);
	if (!item)
		return NULL;
	item->low = low;
	item->high = high;
	return item;
}

struct item *item_of(struct parse *parse, enum item_kind kind, struct place place, struct item *list)
{
	struct item *item = item_new(parse, kind, place, NULL);
	if (item)
		item->items = list;
	return item;
}

struct items *items_add(struct parse *parse, struct items *list, struct item *item)
{
	if (!item)
		return NULL;
	if (!list) {
		list = talloc_zero(parse->ctx, struct items);
		if (!list)
			return NULL;
		list->last = &list->first;
	}
	*list->last = item;
	list->last = &item->next;
	return list;
}

struct item *item_protocol(struct parse *parse, struct place place, const char *text, bool numeric, struct item *behind)
{
	struct item *item = item_new(parse, ITEM_PROTOCOL, place, text);
	if (!item)
		return NULL;
	item->numeric = numeric;
	item->items = behind;
	return item;
}

struct item *item_subject(struct parse *parse, enum item_kind kind, struct place place, struct item *names)
{
	struct item *item = item_new(parse, kind, place, NULL);
	if (item && names->kind == ITEM_SET)
		item->items = names->items;
	else if (item)
		item->text = names->text;
	return item;
}

struct statement *statement_new(struct parse *parse, enum statement_kind kind, struct place place)
{
	struct statement *statement = talloc_zero(parse->ctx, struct statement);
	if (!statement)
		return NULL;
	statement->kind = kind;
	statement->span = parse_span(parse, place);
	return statement;
}

struct statement *statement_definition(
	struct parse *parse, enum statement_kind kind, struct place place, struct item *name, bool append, struct item *value)
{
	struct statement *statement = statement_new(parse, kind, place);
	if (!statement)
		return NULL;
	statement->name = name;
	statement->append = append;
	statement->value = value;
	return statement;
}

static struct statement *with_clauses(
	struct parse *parse, enum statement_kind kind, struct place place, const struct clauses *clauses)
{
	struct statement *statement = statement_new(parse, kind, place);
	if (!statement)
		return NULL;
	statement->direction = clauses->match.direction;
	statement->has_direction = true;
	statement->rule.match = clauses->match;
	statement->rule.match.span = statement->span;
	statement->rule.limits = clauses->limits;
	statement->rule.log = clauses->log;
	statement->rule.reason = clauses->reason;
	return statement;
}

struct statement *statement_rule(struct parse *parse, enum action action, struct place place, struct clauses *clauses)
{
	struct statement *statement = with_clauses(parse, STATEMENT_RULE, place, clauses);
	if (!statement)
		return NULL;
	statement->action = statement->rule.action = action;
	return statement;
}

static void packets_only(struct parse *parse, const struct clauses *clauses, const char *what)
{
	for (enum clause clause = CLAUSE_RATE; clause <= CLAUSE_REASON; clause++)
		if (clauses->seen[clause].end)
			parse_error(parse, clauses->seen[clause], "%s; this clause belongs to a rule", what);
}

struct statement *statement_expect(struct parse *parse, bool allow, struct place place, struct clauses *clauses)
{
	struct statement *statement = with_clauses(parse, STATEMENT_EXPECT, place, clauses);
	if (!statement)
		return NULL;
	statement->expect_allow = allow;
	packets_only(parse, clauses, "an expect describes packets");
	return statement;
}

struct match_node *question_match(struct parse *parse, struct place place, struct clauses *clauses)
{
	packets_only(parse, clauses, "a question describes a packet");
	clauses->match.span = parse_span(parse, place);
	return &clauses->match;
}

struct text_node *text_new(struct parse *parse, struct place place, const char *text)
{
	struct text_node *node = talloc_zero(parse->ctx, struct text_node);
	if (!node)
		return NULL;
	node->span = parse_span(parse, place);
	node->text = text;
	return node;
}

struct limit_node *limit_new(struct parse *parse, enum limit_kind kind, struct place place, struct item *count, struct item *unit)
{
	struct limit_node *limit = talloc_zero(parse->ctx, struct limit_node);
	if (!limit)
		return NULL;
	limit->kind = kind;
	limit->span = parse_span(parse, place);
	limit->count = count;
	limit->unit = unit;
	return limit;
}

struct clauses *clauses_new(struct parse *parse, enum direction direction, struct item *traffic)
{
	struct clauses *clauses = talloc_zero(parse->ctx, struct clauses);
	if (!clauses)
		return NULL;
	clauses->match.direction = direction;
	clauses->match.traffic = traffic;
	return clauses;
}

static bool clause_first(struct parse *parse, struct clauses *clauses, enum clause clause, struct place place)
{
	static const char *const names[] = {"on", "arriving on", "leaving on", "from", "source port", "to", "by", "limit",
		"limit ... connections", "above", "log", "reason"};
	if (!clauses->seen[clause].end) {
		clauses->seen[clause] = place;
		return true;
	}
	struct diagnostic *one = parse_error(parse, place, "`%s` stands twice in this statement", names[clause]);
	diagnostic_related(parse->diagnostics, one, parse_span(parse, clauses->seen[clause]), "it stands here already");
	if (clause <= CLAUSE_BY)
		diagnostic_hint(parse->diagnostics, one, "put all its values into one set: %s { ..., ... }", names[clause]);
	return false;
}

void clause_set(struct parse *parse, struct clauses *clauses, enum clause clause, struct place place, struct item *value)
{
	struct match_node *match = &clauses->match;
	struct item **const slots[] = {[CLAUSE_ON] = &match->on,
		[CLAUSE_ARRIVING] = &match->arriving,
		[CLAUSE_LEAVING] = &match->leaving,
		[CLAUSE_FROM] = &match->from,
		[CLAUSE_SOURCE_PORT] = &match->source_port,
		[CLAUSE_TO] = &match->to,
		[CLAUSE_BY] = &match->by};
	if (clause_first(parse, clauses, clause, place))
		*slots[clause] = value;
}

void clause_limit(struct parse *parse, struct clauses *clauses, struct place place, struct limit_node *limit)
{
	static const enum clause clause_of[] = {
		[LIMIT_RATE] = CLAUSE_RATE, [LIMIT_CONNECTIONS] = CLAUSE_CONNECTIONS, [LIMIT_ABOVE] = CLAUSE_ABOVE};
	if (!clause_first(parse, clauses, clause_of[limit->kind], place))
		return;
	struct limit_node **end = &clauses->limits;
	while (*end)
		end = &(*end)->next;
	*end = limit;
}

void clause_text(struct parse *parse, struct clauses *clauses, enum clause clause, struct place place, struct text_node *text)
{
	if (clause_first(parse, clauses, clause, place))
		*(clause == CLAUSE_LOG ? &clauses->log : &clauses->reason) = text;
}

/* What no scanner should be given: other encodings and files that are no text. */
static bool is_text(struct parse *parse)
{
	const struct source *source = parse->source;
	const char *nul = memchr(source->text, 0, source->length);
	if (source->length >= 2 && (!memcmp(source->text, "\xff\xfe", 2) || !memcmp(source->text, "\xfe\xff", 2))) {
		struct diagnostic *one = parse_error(parse, (struct place){0, 2}, "this file is UTF-16, not UTF-8");
		diagnostic_hint(parse->diagnostics, one, "save it as UTF-8, e.g. with `iconv -f UTF-16 -t UTF-8`");
		return false;
	}
	if (!nul)
		return true;
	uint32_t offset = (uint32_t)(nul - source->text);
	parse_error(parse, (struct place){offset, offset + 1}, "this is a binary file: a NUL byte cannot stand in a policy");
	return false;
}

static int run(struct parse *parse, char *buffer)
{
	yyscan_t scanner;
	volatile int outcome = 2;
	if (yylex_init_extra(parse, &scanner))
		return -ENOMEM;
	if (!setjmp(parse->fatal) && yy_scan_buffer(buffer, parse->source->length + 2, scanner))
		outcome = yyparse(parse, scanner);
	yylex_destroy(scanner);
	return outcome == 2 || parse->exhausted ? -ENOMEM : 0;
}

static int read_text(struct parse *parse)
{
	if (!is_text(parse))
		return 0;
	char *buffer = talloc_size(parse->ctx, parse->source->length + 2);
	if (!buffer)
		return -ENOMEM;
	memcpy(buffer, parse->source->text, parse->source->length + 1);
	buffer[parse->source->length + 1] = 0;
	int error = run(parse, buffer);
	talloc_free(buffer);
	return error;
}

int parse_policy(void *ctx, const struct source *source, struct diagnostics *diagnostics, struct tree **out)
{
	struct tree *tree = talloc_zero(ctx, struct tree);
	struct parse parse = {.ctx = tree, .source = source, .diagnostics = diagnostics};
	if (!tree)
		return -ENOMEM;
	int error = read_text(&parse);
	if (error) {
		talloc_free(tree);
		return error;
	}
	tree->source = source;
	tree->statements = parse.statements;
	*out = tree;
	return 0;
}

int parse_question(void *ctx, const struct source *source, struct diagnostics *diagnostics, struct match_node **out)
{
	struct parse parse = {.ctx = ctx, .source = source, .diagnostics = diagnostics, .question = true};
	int error = read_text(&parse);
	if (!error)
		*out = parse.errors ? NULL : parse.asked;
	return error;
}

void lexeme_keep(struct parse *parse, int token, struct place place)
{
	struct lexemes *list = parse->lexemes;
	if (!list)
		return;
	if (!(list->count & (list->count - 1))) {
		size_t room = list->count ? list->count * 2 : 1;
		struct lexeme *more = talloc_realloc(parse->ctx, list->at, struct lexeme, room);
		if (!more) {
			parse->exhausted = true;
			return;
		}
		list->at = more;
	}
	list->at[list->count++] = (struct lexeme){token, place};
}

int parse_lexemes(void *ctx, const struct source *source, struct diagnostics *diagnostics, struct lexemes *out)
{
	struct parse parse = {.ctx = ctx, .source = source, .diagnostics = diagnostics, .lexemes = out};
	*out = (struct lexemes){0};
	int error = read_text(&parse);
	return error ? error : parse.errors != 0;
}
