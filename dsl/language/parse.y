/*
 * The grammar of the policy language.
 *
 * Actions only call constructors. What a word means is not asked here; which words may stand where is. The scanner ends every
 * statement with END, whatever ended it in the text, so `error END` is all that recovery takes.
 */
%code requires {
#include "dsl/language/reading.h"
}
%code {
#include "parse.h"
#include "scan.h"
#include <talloc.h>

static void yyerror(const struct place *place, struct parse *parse, void *scanner, const char *message);

#define YYLLOC_DEFAULT(current, right, count) \
	do { \
		if (count) { \
			(current).begin = YYRHSLOC(right, 1).begin; \
			(current).end = YYRHSLOC(right, count).end; \
		} else { \
			(current).begin = (current).end = YYRHSLOC(right, 0).end; \
		} \
	} while (0)
/* Every constructor may fail; so may the scanner's copy of a word. */
#define MADE(node) \
	do { \
		if (!(node) || parse->exhausted) \
			YYNOMEM; \
	} while (0)
}

%define api.pure full
%define api.location.type {struct place}
%define parse.error custom
%define parse.lac full
%locations
%expect 0
%parse-param {struct parse *parse} {void *scanner}
%lex-param {void *scanner}

%union {
	const char *text;
	struct item *item;
	struct items *items;
	struct statement *statement;
	struct { struct statement *first, *last; } statements;
	struct clauses *clauses;
	struct limit_node *limit;
	struct text_node *note;
	enum action action;
	enum direction direction;
	enum mode mode;
	bool flag;
}

/* In the order in which messages name them. A name with a blank in it is no word of the language. */
%token YYEOF 0 "the end of the text"
%token START_POLICY "a policy" START_QUESTION "a question" INVALID "something else"
%token <text> ALLOW "allow" DENY "deny" REJECT "reject" DEFAULT "default" EXPECT "expect" ADDRESSES "addresses" PORTS "ports"
%token <text> SERVICE "service" INCLUDE "include" HOSTS "hosts" MODE "mode" LANGUAGE "language" IN "in" OUT "out"
%token <text> FORWARD "forward" ENFORCE "enforce" AUDIT "audit" FROM "from" TO "to" ON "on" ARRIVING "arriving" LEAVING "leaving"
%token <text> SOURCE "source" PORT "port" BY "by" USER "user" GROUP "group" UNIT "unit" LIMIT "limit" ABOVE "above" BURST "burst"
%token <text> PER "per" CONNECTIONS "connections" LOG "log" REASON "reason" ANY "any" PROTOCOL "protocol"
%token <text> FILE_WORD "file" EXCEPT "except"
%token <text> WORD "a name" NUMBER "a number" ADDRESS "an address" STRING "\"a text\"" NAME "$name" ANGLE "<library>"
%token PLUS_EQUALS "+=" BLOCK_OPEN "{ " BLOCK_CLOSE "} " END "the end of the line"

%type <statements> statements
%type <statement> statement block
%type <clauses> clauses
%type <action> action
%type <direction> direction some_direction
%type <mode> mode
%type <flag> append wanted
%type <text> word
%type <item> traffic traffic_set traffic_operand traffic_leaf ports ports_operand ports_leaf type
%type <item> addresses addresses_operand addresses_leaf
%type <item> host interfaces interfaces_operand subjects subjects_operand subject names one_name number unit_of_time
%type <items> traffic_list ports_list addresses_list interfaces_list subject_list name_list host_list
%type <limit> rate
%type <note> log_text

%%

start:
	START_POLICY statements               { parse->statements = $statements.first; }
|	START_QUESTION question END
|	START_QUESTION error END
;

question:
	clauses                               { parse->asked = question_match(parse, @clauses, $clauses); }
;

statements:
	%empty                                { $$.first = $$.last = NULL; }
|	statements[list] statement END {
		$$ = $list;
		if ($statement && $list.last)
			$$.last->next = $statement;
		else if ($statement)
			$$.first = $statement;
		if ($statement)
			$$.last = $statement;
	}
|	statements END
|	statements error END                  { yyerrok; }
;

statement:
	LANGUAGE number                       { MADE($$ = statement_new(parse, STATEMENT_LANGUAGE, @$)); $$->value = $number; }
|	INCLUDE STRING {
		MADE($$ = statement_new(parse, STATEMENT_INCLUDE, @$));
		MADE($$->name = item_new(parse, ITEM_STRING, @STRING, $STRING));
	}
|	INCLUDE ANGLE {
		MADE($$ = statement_new(parse, STATEMENT_INCLUDE, @$));
		MADE($$->name = item_new(parse, ITEM_WORD, @ANGLE, $ANGLE));
	}
|	ADDRESSES one_name append addresses {
		MADE($$ = statement_definition(parse, STATEMENT_ADDRESSES, @$, $one_name, $append, $addresses));
	}
|	PORTS one_name append ports {
		MADE($$ = statement_definition(parse, STATEMENT_PORTS, @$, $one_name, $append, $ports));
	}
|	SERVICE one_name '=' traffic {
		MADE($$ = statement_definition(parse, STATEMENT_SERVICE, @$, $one_name, false, $traffic));
	}
|	DEFAULT some_direction[direction] action log_text[log] {
		MADE($$ = statement_new(parse, STATEMENT_DEFAULT, @$));
		$$->direction = $direction;
		$$->has_direction = true;
		$$->action = $action;
		$$->log = $log;
	}
|	action clauses                        { MADE($$ = statement_rule(parse, $action, @$, $clauses)); }
|	EXPECT wanted clauses                 { MADE($$ = statement_expect(parse, $wanted, @$, $clauses)); }
|	MODE mode                             { MADE($$ = statement_new(parse, STATEMENT_MODE, @$)); $$->mode = $mode; }
|	MODE direction mode {
		MADE($$ = statement_new(parse, STATEMENT_MODE, @$));
		$$->direction = $direction;
		$$->has_direction = true;
		$$->mode = $mode;
	}
|	HOSTS host_list block {
		MADE($$ = $block);
		$$->span = parse_span(parse, @$);
		$$->value = $host_list->first;
	}
|	HOSTS error block                     { $$ = NULL; }
|	HOSTS error                           { $$ = NULL; yyerrok; }
;

block:
	open statements BLOCK_CLOSE {
		MADE($$ = statement_new(parse, STATEMENT_HOSTS, @$));
		$$->body = $statements.first;
	}
;

open:
	BLOCK_OPEN                            { yyerrok; }
;

host_list:
	host                                  { MADE($$ = items_add(parse, NULL, $host)); }
|	host_list[list] ',' host              { MADE($$ = items_add(parse, $list, $host)); }
;

host:
	STRING                                { MADE($$ = item_new(parse, ITEM_STRING, @$, $STRING)); }
|	WORD                                  { MADE($$ = host_bare(parse, @$, $WORD)); }
;

append:
	'='                                   { $$ = false; }
|	PLUS_EQUALS                           { $$ = true; }
;

action:
	ALLOW                                 { $$ = ACTION_ALLOW; }
|	DENY                                  { $$ = ACTION_DENY; }
|	REJECT                                { $$ = ACTION_REJECT; }
;

wanted:
	ALLOW                                 { $$ = true; }
|	DENY                                  { $$ = false; }
;

direction:
	IN                                    { $$ = DIRECTION_IN; }
|	OUT                                   { $$ = DIRECTION_OUT; }
|	FORWARD                               { $$ = DIRECTION_FORWARD; }
;

/* What is no direction is guessed, so that the rest of the statement is read and checked too. */
some_direction:
	direction
|	WORD                                  { $$ = direction_guess(parse, @WORD, $WORD); }
;

mode:
	ENFORCE                               { $$ = MODE_ENFORCE; }
|	AUDIT                                 { $$ = MODE_AUDIT; }
;

log_text:
	%empty                                { $$ = NULL; }
|	LOG                                   { MADE($$ = text_new(parse, @$, NULL)); }
|	LOG STRING                            { MADE($$ = text_new(parse, @$, $STRING)); }
;

clauses:
	some_direction[direction] traffic     { MADE($$ = clauses_new(parse, $direction, $traffic)); }
|	clauses ON interfaces                 { clause_set(parse, $$ = $1, CLAUSE_ON, @2, $interfaces); }
|	clauses ARRIVING ON interfaces        { clause_set(parse, $$ = $1, CLAUSE_ARRIVING, @2, $interfaces); }
|	clauses LEAVING ON interfaces         { clause_set(parse, $$ = $1, CLAUSE_LEAVING, @2, $interfaces); }
|	clauses FROM addresses                { clause_set(parse, $$ = $1, CLAUSE_FROM, @2, $addresses); }
|	clauses SOURCE PORT ports             { clause_set(parse, $$ = $1, CLAUSE_SOURCE_PORT, @2, $ports); }
|	clauses TO addresses                  { clause_set(parse, $$ = $1, CLAUSE_TO, @2, $addresses); }
|	clauses BY subjects                   { clause_set(parse, $$ = $1, CLAUSE_BY, @2, $subjects); }
|	clauses LIMIT rate                    { $rate->kind = LIMIT_RATE; clause_limit(parse, $$ = $1, @2, $rate); }
|	clauses ABOVE rate                    { $rate->kind = LIMIT_ABOVE; clause_limit(parse, $$ = $1, @2, $rate); }
|	clauses LIMIT number CONNECTIONS {
		struct limit_node *limit;
		MADE(limit = limit_new(parse, LIMIT_CONNECTIONS, @$, $number, NULL));
		clause_limit(parse, $$ = $1, @2, limit);
	}
|	clauses LIMIT number CONNECTIONS PER SOURCE {
		struct limit_node *limit;
		MADE(limit = limit_new(parse, LIMIT_CONNECTIONS, @$, $number, NULL));
		limit->per_source = true;
		clause_limit(parse, $$ = $1, @2, limit);
	}
|	clauses LOG {
		struct text_node *text;
		MADE(text = text_new(parse, @LOG, NULL));
		clause_text(parse, $$ = $1, CLAUSE_LOG, @2, text);
	}
|	clauses LOG STRING {
		struct text_node *text;
		MADE(text = text_new(parse, @STRING, $STRING));
		clause_text(parse, $$ = $1, CLAUSE_LOG, @2, text);
	}
|	clauses REASON STRING {
		struct text_node *text;
		MADE(text = text_new(parse, @STRING, $STRING));
		clause_text(parse, $$ = $1, CLAUSE_REASON, @2, text);
	}
;

rate:
	number '/' unit_of_time               { MADE($$ = limit_new(parse, LIMIT_RATE, @$, $number, $unit_of_time)); }
|	rate BURST number                     { $$ = $1; $$->burst = $number; $$->span = parse_span(parse, @$); }
|	rate PER SOURCE                       { $$ = $1; $$->per_source = true; $$->span = parse_span(parse, @$); }
;

unit_of_time:
	WORD                                  { MADE($$ = item_new(parse, ITEM_WORD, @$, $WORD)); }
;

number:
	NUMBER                                { MADE($$ = item_new(parse, ITEM_NUMBER, @$, $NUMBER)); }
;

one_name:
	WORD                                  { MADE($$ = item_new(parse, ITEM_WORD, @$, $WORD)); }
;

traffic:
	traffic_set
|	traffic_leaf
|	traffic_set[low] EXCEPT traffic_operand[high] { MADE($$ = item_pair(parse, ITEM_EXCEPT, @$, $low, $high)); }
;

traffic_set:
	ANY                                   { MADE($$ = item_new(parse, ITEM_ANY, @$, NULL)); }
|	'{' '}'                               { MADE($$ = item_of(parse, ITEM_SET, @$, NULL)); }
|	'{' traffic_list '}'                  { MADE($$ = item_of(parse, ITEM_SET, @$, $traffic_list->first)); }
|	'{' traffic_list ',' '}'              { MADE($$ = item_of(parse, ITEM_SET, @$, $traffic_list->first)); }
|	WORD                                  { MADE($$ = item_new(parse, ITEM_WORD, @$, $WORD)); }
|	PROTOCOL NUMBER                       { MADE($$ = item_protocol(parse, @$, $NUMBER, true, NULL)); }
;

traffic_operand:
	traffic_set
|	WORD '/' type                         { MADE($$ = item_protocol(parse, @$, $WORD, false, $type)); }
;

/* An `except` behind a slash belongs to the ports. */
traffic_leaf:
	WORD '/' type                         { MADE($$ = item_protocol(parse, @$, $WORD, false, $type)); }
|	WORD '/' type[low] EXCEPT type[high] {
		struct item *behind;
		MADE(behind = item_pair(parse, ITEM_EXCEPT, ((struct place){@low.begin, @high.end}), $low, $high));
		MADE($$ = item_protocol(parse, @$, $WORD, false, behind));
	}
;

traffic_list:
	traffic                               { MADE($$ = items_add(parse, NULL, $traffic)); }
|	traffic_list[list] ',' traffic        { MADE($$ = items_add(parse, $list, $traffic)); }
;

type:
	ports_operand
;

ports:
	ports_operand
|	ports_operand[low] EXCEPT ports_operand[high] { MADE($$ = item_pair(parse, ITEM_EXCEPT, @$, $low, $high)); }
;

ports_operand:
	ports_leaf
|	ANY                                   { MADE($$ = item_new(parse, ITEM_ANY, @$, NULL)); }
|	'{' '}'                               { MADE($$ = item_of(parse, ITEM_SET, @$, NULL)); }
|	'{' ports_list '}'                    { MADE($$ = item_of(parse, ITEM_SET, @$, $ports_list->first)); }
|	'{' ports_list ',' '}'                { MADE($$ = item_of(parse, ITEM_SET, @$, $ports_list->first)); }
;

/* IANA has ports called like two words of the language. */
ports_leaf:
	number
|	number[low] '-' number[high]          { MADE($$ = item_pair(parse, ITEM_RANGE, @$, $low, $high)); }
|	WORD                                  { MADE($$ = item_new(parse, ITEM_WORD, @$, $WORD)); }
|	AUDIT                                 { MADE($$ = item_new(parse, ITEM_WORD, @$, $AUDIT)); }
|	SOURCE                                { MADE($$ = item_new(parse, ITEM_WORD, @$, $SOURCE)); }
|	NAME                                  { MADE($$ = item_new(parse, ITEM_NAME, @$, $NAME)); }
;

ports_list:
	ports                                 { MADE($$ = items_add(parse, NULL, $ports)); }
|	ports_list[list] ',' ports            { MADE($$ = items_add(parse, $list, $ports)); }
;

addresses:
	addresses_operand
|	addresses_operand[low] EXCEPT addresses_operand[high] { MADE($$ = item_pair(parse, ITEM_EXCEPT, @$, $low, $high)); }
;

addresses_operand:
	addresses_leaf
|	addresses_leaf[low] '-' addresses_leaf[high] { MADE($$ = item_pair(parse, ITEM_RANGE, @$, $low, $high)); }
|	ANY                                   { MADE($$ = item_new(parse, ITEM_ANY, @$, NULL)); }
|	STRING                                { MADE($$ = item_new(parse, ITEM_STRING, @$, $STRING)); }
|	FILE_WORD STRING                      { MADE($$ = item_new(parse, ITEM_FILE, @$, $STRING)); }
|	NAME                                  { MADE($$ = item_new(parse, ITEM_NAME, @$, $NAME)); }
|	'{' '}'                               { MADE($$ = item_of(parse, ITEM_SET, @$, NULL)); }
|	'{' addresses_list '}'                { MADE($$ = item_of(parse, ITEM_SET, @$, $addresses_list->first)); }
|	'{' addresses_list ',' '}'            { MADE($$ = item_of(parse, ITEM_SET, @$, $addresses_list->first)); }
;

/* Words are no addresses: the resolver says what was meant (a name, or a host name in quotes). */
addresses_leaf:
	ADDRESS                               { MADE($$ = item_new(parse, ITEM_ADDRESS, @$, $ADDRESS)); }
|	WORD                                  { MADE($$ = item_new(parse, ITEM_WORD, @$, $WORD)); }
|	number
;

addresses_list:
	addresses                             { MADE($$ = items_add(parse, NULL, $addresses)); }
|	addresses_list[list] ',' addresses    { MADE($$ = items_add(parse, $list, $addresses)); }
;

interfaces:
	interfaces_operand
|	interfaces_operand[low] EXCEPT interfaces_operand[high] { MADE($$ = item_pair(parse, ITEM_EXCEPT, @$, $low, $high)); }
;

interfaces_operand:
	ANY                                   { MADE($$ = item_new(parse, ITEM_ANY, @$, NULL)); }
|	word                                  { MADE($$ = item_new(parse, ITEM_WORD, @$, $word)); }
|	STRING                                { MADE($$ = item_new(parse, ITEM_STRING, @$, $STRING)); }
|	'{' '}'                               { MADE($$ = item_of(parse, ITEM_SET, @$, NULL)); }
|	'{' interfaces_list '}'               { MADE($$ = item_of(parse, ITEM_SET, @$, $interfaces_list->first)); }
|	'{' interfaces_list ',' '}'           { MADE($$ = item_of(parse, ITEM_SET, @$, $interfaces_list->first)); }
;

interfaces_list:
	interfaces                            { MADE($$ = items_add(parse, NULL, $interfaces)); }
|	interfaces_list[list] ',' interfaces  { MADE($$ = items_add(parse, $list, $interfaces)); }
;

subjects:
	subjects_operand
|	subjects_operand[low] EXCEPT subjects_operand[high] { MADE($$ = item_pair(parse, ITEM_EXCEPT, @$, $low, $high)); }
;

subjects_operand:
	ANY                                   { MADE($$ = item_new(parse, ITEM_ANY, @$, NULL)); }
|	subject
|	'{' '}'                               { MADE($$ = item_of(parse, ITEM_SET, @$, NULL)); }
|	'{' subject_list '}'                  { MADE($$ = item_of(parse, ITEM_SET, @$, $subject_list->first)); }
|	'{' subject_list ',' '}'              { MADE($$ = item_of(parse, ITEM_SET, @$, $subject_list->first)); }
;

subject_list:
	subject                               { MADE($$ = items_add(parse, NULL, $subject)); }
|	subject_list[list] ',' subject        { MADE($$ = items_add(parse, $list, $subject)); }
;

subject:
	USER names                            { MADE($$ = item_subject(parse, ITEM_USER, @$, $names)); }
|	GROUP names                           { MADE($$ = item_subject(parse, ITEM_GROUP, @$, $names)); }
|	UNIT names                            { MADE($$ = item_subject(parse, ITEM_UNIT, @$, $names)); }
;

names:
	word                                  { MADE($$ = item_new(parse, ITEM_WORD, @$, $word)); }
|	number
|	STRING                                { MADE($$ = item_new(parse, ITEM_WORD, @$, $STRING)); }
|	'{' name_list '}'                     { MADE($$ = item_of(parse, ITEM_SET, @$, $name_list->first)); }
|	'{' name_list ',' '}'                 { MADE($$ = item_of(parse, ITEM_SET, @$, $name_list->first)); }
;

name_list:
	word                                  { MADE($$ = items_add(parse, NULL, item_new(parse, ITEM_WORD, @$, $word))); }
|	number                                { MADE($$ = items_add(parse, NULL, $number)); }
|	STRING                                { MADE($$ = items_add(parse, NULL, item_new(parse, ITEM_WORD, @$, $STRING))); }
|	name_list[list] ',' word              { MADE($$ = items_add(parse, $list, item_new(parse, ITEM_WORD, @word, $word))); }
|	name_list[list] ',' number            { MADE($$ = items_add(parse, $list, $number)); }
|	name_list[list] ',' STRING {
		MADE($$ = items_add(parse, $list, item_new(parse, ITEM_WORD, @STRING, $STRING)));
	}
;

/* Where a name of the world stands, the words of the language are names like any other. */
word:
	WORD | ABOVE | ADDRESSES | ALLOW | ARRIVING | AUDIT | BURST | BY | CONNECTIONS | DEFAULT | DENY | ENFORCE | EXPECT
|	FILE_WORD | FORWARD | FROM | GROUP | HOSTS | IN | INCLUDE | LANGUAGE | LEAVING | LIMIT | LOG | MODE | ON | OUT | PER
|	PORT | PORTS | PROTOCOL | REASON | REJECT | SERVICE | SOURCE | TO | UNIT | USER
;

%%

static void yyerror(const struct place *place, struct parse *parse, void *scanner, const char *message)
{
	(void)scanner;
	parse_error(parse, *place, "%s", message);
}

/* Called by the parser with what could have stood in the place of the unexpected. */
static int yyreport_syntax_error(const yypcontext_t *context, struct parse *parse, void *scanner)
{
	enum { MOST = 80 };
	yysymbol_kind_t expected[MOST];
	const char *words[MOST];
	int count = yypcontext_expected_tokens(context, expected, MOST);
	(void)scanner;
	for (int i = 0; i < count; i++)
		words[i] = yysymbol_name(expected[i]);
	if (count == YYENOMEM)
		return YYENOMEM;
	if (yypcontext_token(context) == YYSYMBOL_INVALID)
		return 0;
	return report_unexpected(parse, *yypcontext_location(context), words, (size_t)count) ? 0 : YYENOMEM;
}
