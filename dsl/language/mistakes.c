/*
 * Mistakes that are often made, each with its remedy.
 *
 * Most come from other firewalls' languages: their words, their order of words, a port without a protocol.  Each function knows
 * one mistake, and says true when it has reported it; they are asked in the order of the table at the end.
 */
#include "dsl/language/reading.h"
#include <ctype.h>
#include <string.h>
#include <talloc.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))
/* A word in the text that is not a string of its own, for "%.*s". */
#define PIECE(text) (int)piece_length(text), text

static const char *const directions[] = {"in", "out", "forward"};
static const char *const actions[] = {"allow", "deny", "reject"};

struct synonym {
	const char *theirs, *ours;
};

static const struct synonym synonyms[] = {
	{"input", "in"},
	{"incoming", "in"},
	{"inbound", "in"},
	{"ingress", "in"},
	{"output", "out"},
	{"outgoing", "out"},
	{"outbound", "out"},
	{"egress", "out"},
	{"forwarding", "forward"},
	{"forwarded", "forward"},
	{"routed", "forward"},
	{"route", "forward"},
	{"through", "forward"},
	{"permit", "allow"},
	{"accept", "allow"},
	{"pass", "allow"},
	{"drop", "deny"},
	{"block", "deny"},
	{"discard", "deny"},
	{"refuse", "reject"},
	{"interface", "on"},
	{"iface", "on"},
	{"via", "on"},
	{"iif", "on"},
	{"oif", "on"},
	{"iifname", "on"},
	{"oifname", "on"},
	{"dev", "on"},
	{"src", "from"},
	{"saddr", "from"},
	{"dst", "to"},
	{"daddr", "to"},
	{"destination", "to"},
	{"comment", "reason"},
	{"because", "reason"},
	{"rate", "limit"},
	{"uid", "by user"},
	{"owner", "by user"},
	{"gid", "by group"},
	{"address", "addresses"},
	{"alias", "addresses"},
	{"define", "addresses"},
	{"import", "include"},
	{"policy", "default"},
	{"assert", "expect"},
	{"test", "expect"},
	{"host", "hosts"},
	{"but", "except"},
	{"not", "except"},
	{"without", "except"},
	{"proto", "protocol"},
	{"logging", "log"},
	{"dry-run", "audit"},
	{"all", "any"},
	{"anywhere", "any"},
	{"enforcing", "enforce"},
	{"permissive", "audit"},
	{"version", "language"},
};

static bool one_of(const char *word, const char *const *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!strcmp(word, list[i]))
			return true;
	return false;
}

static const char *synonym_of(const char *word)
{
	for (size_t i = 0; i < COUNT(synonyms); i++)
		if (!strcasecmp(synonyms[i].theirs, word))
			return synonyms[i].ours;
	return NULL;
}

static size_t piece_length(const char *text)
{
	return strcspn(text, " \t\r\n;#,{}");
}
static bool is_number(const char *text)
{
	return *text && !text[strspn(text, "0123456789")];
}
static bool is_word(const char *text)
{
	return isalpha((unsigned char)*text) || *text == '_';
}
static bool is_end(const char *text)
{
	return !*text || strchr("\r\n;#}", *text);
}

static struct diagnostic *say(const struct surprise *surprise, const char *message)
{
	return parse_error(surprise->parse, surprise->place, "%s", message);
}

#define FIX(surprise, one, ...) (diagnostic_hint((surprise)->parse->diagnostics, one, __VA_ARGS__), true)

/* May `ours`, whose first word counts, stand here? */
static bool expects_first(const struct surprise *surprise, const char *ours)
{
	size_t length = strcspn(ours, " ");
	for (size_t i = 0; i < surprise->count; i++)
		if (strlen(surprise->expected[i]) == length && !strncmp(surprise->expected[i], ours, length))
			return true;
	return false;
}

const char *likely_word(const struct surprise *surprise)
{
	const char *words[80 + COUNT(synonyms)], *meant = synonym_of(surprise->word);
	size_t known = 0;
	if (meant && expects_first(surprise, meant))
		return meant;
	for (size_t i = 0; i < surprise->count && known < 80; i++)
		if (is_word(surprise->expected[i]) && !strchr(surprise->expected[i], ' '))
			words[known++] = surprise->expected[i];
	for (size_t i = 0; i < COUNT(synonyms); i++)
		if (expects_first(surprise, synonyms[i].ours))
			words[known++] = synonyms[i].theirs;
	meant = nearest_word(surprise->word, words, known);
	const char *ours = meant ? synonym_of(meant) : NULL;
	return ours ? ours : meant;
}

/* Which end a bare port means must never be a guess. */
static bool bare_port(const struct surprise *surprise)
{
	static const char *const words[] = {
		"port", "dport", "sport", "dst-port", "src-port", "destination-port", "source-port", "dports", "sports"};
	bool behind = one_of(surprise->before, words, COUNT(words)) && strcmp(surprise->earlier, "source");
	if (!behind && !one_of(surprise->word, words, COUNT(words)))
		return false;
	const char *number = behind ? surprise->word : surprise->behind + strspn(surprise->behind, " \t=");
	int length = (int)strspn(number, "0123456789");
	struct place place = behind ? surprise->parse->before : surprise->place;
	if (!length || length > 5) {
		number = "22";
		length = 2;
	}
	struct diagnostic *one = parse_error(surprise->parse, place, "a port says which end it is of: `%s` alone does not",
		behind ? surprise->before : surprise->word);
	return FIX(surprise, one, "`tcp/%.*s` is the destination port, `source port %.*s` the source port", length, number,
		length, number);
}

/* `tcp 22`, `tcp:22`, `tcp except 25`: the slash is missing. */
static bool missing_slash(const struct surprise *surprise)
{
	static const char *const protocols[] = {"tcp", "udp", "sctp", "icmp", "icmpv6"};
	const char *word = surprise->word, *protocol = surprise->before;
	bool except = !strcmp(protocol, "except");
	if (except)
		protocol = surprise->earlier;
	if (!one_of(protocol, protocols, COUNT(protocols)) || !(isdigit((unsigned char)*word) || strchr("{$:", *word)) || !*word)
		return false;
	struct diagnostic *one =
		parse_error(surprise->parse, surprise->place, "what stands behind %s begins with a slash", protocol);
	word += *word == ':';
	if (*word == '{')
		return FIX(surprise, one, "write `%s/{ ... }`", protocol);
	return FIX(surprise, one, "write `%s/%s%s`", protocol, except ? "any except " : "", word);
}

/* Where a direction must stand; the names of users and interfaces may be `in` and `out`, too. */
static bool at_direction(const struct surprise *surprise)
{
	return expects(surprise, "in") && expects(surprise, "out") && expects(surprise, "a name") &&
	       !expects(surprise, "leaving");
}

static bool at_statement(const struct surprise *surprise)
{
	return expects(surprise, "addresses") && expects(surprise, "mode") && !expects(surprise, "a name");
}

/* ufw's `22/tcp`, and a number alone. */
static bool port_first(const struct surprise *surprise)
{
	if (!is_number(surprise->word) ||
		!(at_direction(surprise) || (expects(surprise, "protocol") && !expects(surprise, "leaving"))))
		return false;
	bool direction = at_direction(surprise), slash = *surprise->behind == '/' && is_word(surprise->behind + 1);
	struct diagnostic *one =
		say(surprise, direction ? "a direction is missing: in, out or forward" : "a port stands behind its protocol");
	return FIX(surprise, one, "write `%s%.*s/%s`", direction ? "in " : "",
		slash ? (int)piece_length(surprise->behind + 1) : 3, slash ? surprise->behind + 1 : "tcp", surprise->word);
}

/* iptables' `80:90`, and `80-http`. */
static bool range_of_ports(const struct surprise *surprise)
{
	size_t low = strspn(surprise->word, "0123456789");
	if (expects(surprise, "a number") && low && surprise->word[low] == ':' && is_number(surprise->word + low + 1)) {
		struct diagnostic *one = say(surprise, "a range is written with `-`");
		return FIX(surprise, one, "write `%.*s-%s`", (int)low, surprise->word, surprise->word + low + 1);
	}
	if (strcmp(surprise->before, "-") || !expects(surprise, "a number") || expects(surprise, "a name") ||
		!is_word(surprise->word))
		return false;
	say(surprise, "the ends of a range of ports are numbers");
	return true;
}

static bool missing_direction(const struct surprise *surprise)
{
	if (!at_direction(surprise))
		return false;
	if (!strcmp(surprise->word, "any") || !strcmp(surprise->word, "protocol") || *surprise->word == '{') {
		struct diagnostic *one = say(surprise, "a direction is missing: in, out or forward");
		return FIX(surprise, one, "write `in %s%s`", surprise->word, *surprise->word == '{' ? " ... }" : "");
	}
	if (!one_of(surprise->word, actions, COUNT(actions)))
		return false;
	struct diagnostic *one;
	if (!strcmp(surprise->before, "default")) {
		const char *meant = is_word(surprise->behind) ? surprise->behind : "in";
		one = say(surprise, "the direction comes before what becomes of its packets");
		return FIX(surprise, one, "write `default %.*s %s`", PIECE(meant), surprise->word);
	}
	if (!surprise->parse->question || *surprise->before)
		return false;
	one = say(surprise, "a question says what a packet is, not what becomes of it");
	return FIX(surprise, one, "leave `%s` out", surprise->word);
}

static bool missing_action(const struct surprise *surprise)
{
	struct diagnostic *one;
	bool statement = at_statement(surprise), expect = !strcmp(surprise->before, "expect");
	if (expect && !strcmp(surprise->word, "reject")) {
		one = say(surprise, "an expect says allow or deny");
		return FIX(surprise, one, "write `expect deny`: it holds of what is rejected, too");
	}
	if (!(statement || expect) || !one_of(surprise->word, directions, COUNT(directions)))
		return false;
	for (size_t i = 0; i < COUNT(actions); i++)
		if (piece_length(surprise->behind) == strlen(actions[i]) &&
			!strncmp(surprise->behind, actions[i], strlen(actions[i]))) {
			one = say(surprise, "what becomes of the packets is said first");
			return FIX(surprise, one, "write `%s %s`", actions[i], surprise->word);
		}
	one = say(surprise, expect ? "an expect says allow or deny before the direction"
				   : "what becomes of the packets is missing: allow, deny or reject");
	return FIX(surprise, one, "write `%sallow %s ...` or `%sdeny %s ...`", expect ? "expect " : "", surprise->word,
		expect ? "expect " : "", surprise->word);
}

static bool comma(const struct surprise *surprise)
{
	struct diagnostic *one;
	if (!strcmp(surprise->word, ",") && !surprise->parse->depth) {
		one = say(surprise, "several values stand in braces");
		return FIX(surprise, one, "write { A, B }");
	}
	if (!surprise->parse->depth || !expects(surprise, "','") ||
		!(isalnum((unsigned char)*surprise->word) || strchr("_$\":", *surprise->word)))
		return false;
	one = parse_error(
		surprise->parse, surprise->place, "a comma is missing between `%s` and `%s`", surprise->before, surprise->word);
	return FIX(surprise, one, "write `%s, %s`", surprise->before, surprise->word);
}

static bool second_except(const struct surprise *surprise)
{
	struct parse *parse = surprise->parse;
	if (strcmp(surprise->word, "except"))
		return false;
	if (!parse->first_except.end) {
		say(surprise, "`except` stands behind a set: addresses, ports, traffic, interfaces or users");
		return true;
	}
	struct diagnostic *one = say(surprise, "`except` takes one operand");
	diagnostic_related(parse->diagnostics, one, parse_span(parse, parse->first_except), "it follows another one");
	return FIX(surprise, one, "put what is left out into braces: A except { B, C }");
}

static bool subject(const struct surprise *surprise)
{
	static const char *const kinds[] = {"user", "group", "unit"};
	bool kind_before = one_of(surprise->before, kinds, COUNT(kinds));
	if (kind_before && (!strcmp(surprise->word, "any") || !strcmp(surprise->word, "except"))) {
		struct diagnostic *one =
			parse_error(surprise->parse, surprise->place, "the name of a %s is expected here", surprise->before);
		return FIX(surprise, one, "write `by any except %s NAME`, or \"%s\" in quotes if that is its name",
			surprise->before, surprise->word);
	}
	if (!expects(surprise, "user") || !expects(surprise, "unit") || expects(surprise, "a name") ||
		expects(surprise, "leaving"))
		return false;
	if (!isalnum((unsigned char)*surprise->word) && *surprise->word != '_')
		return false;
	struct diagnostic *one =
		parse_error(surprise->parse, surprise->place, "`%s`: a user, a group or a unit?", surprise->word);
	return FIX(surprise, one, "write `user %s`", surprise->word);
}

/* `10 per second`, and a number alone. */
static bool rate(const struct surprise *surprise)
{
	if (!expects(surprise, "'/'") || !is_number(surprise->before))
		return false;
	struct diagnostic *one = say(surprise, "a limit is a rate such as 10/minute, or a number of connections");
	bool per = !strcmp(surprise->word, "per") || !strcmp(surprise->word, "a");
	const char *unit = per && is_word(surprise->behind) ? surprise->behind : "minute";
	return FIX(surprise, one, "write `%s/%.*s`%s%s%s", surprise->before, PIECE(unit),
		expects(surprise, "connections") ? " or `" : "", expects(surprise, "connections") ? surprise->before : "",
		expects(surprise, "connections") ? " connections`" : "");
}

static bool definition(const struct surprise *surprise)
{
	static const char *const kinds[] = {"addresses", "ports", "service"};
	struct diagnostic *one;
	if (expects(surprise, "'='") && one_of(surprise->earlier, kinds, COUNT(kinds))) {
		if (!strcmp(surprise->word, "+=")) {
			one = say(surprise, "a service is defined once, and whole");
			return FIX(surprise, one, "write `service %s = { ... }`", surprise->before);
		}
		one = parse_error(surprise->parse, surprise->place, "`=` is missing behind `%s`", surprise->before);
		return FIX(surprise, one, "write `%s %s = ...`", surprise->earlier, surprise->before);
	}
	if (!one_of(surprise->before, kinds, COUNT(kinds)) || !expects(surprise, "a name") || surprise->count != 1)
		return false;
	if (*surprise->word == '$') {
		one = say(surprise, "a name is defined without the `$` that it is used with");
		return FIX(surprise, one, "write `%s %s`", surprise->before, surprise->word + 1);
	}
	if (!is_word(surprise->word))
		return false;
	one = parse_error(
		surprise->parse, surprise->place, "`%s` is a word of the language and cannot be defined", surprise->word);
	return FIX(surprise, one, "choose another name, e.g. `my-%s`", surprise->word);
}

/* A text without its quotes. */
static bool missing_quotes(const struct surprise *surprise)
{
	static const char *const before[] = {"log", "reason", "file", "include"};
	if (!one_of(surprise->before, before, COUNT(before)) || !expects(surprise, "\"a text\"") ||
		!isalnum((unsigned char)*surprise->word))
		return false;
	bool include = !strcmp(surprise->before, "include");
	if (likely_word(surprise))
		return false;
	struct diagnostic *one =
		say(surprise, include ? "a file stands in quotes, a library in < >" : "text stands in double quotes");
	if (include)
		return FIX(surprise, one, "write `include <%s>` for the library's, `include \"%s\"` for a file", surprise->word,
			surprise->word);
	return FIX(surprise, one, "write %s \"%s\"", surprise->before, surprise->word);
}

static bool stray_brace(const struct surprise *surprise)
{
	if (*surprise->word == '}' && !surprise->parse->depth)
		return say(surprise, "this brace closes nothing"), true;
	if (*surprise->word != '{' || !at_statement(surprise))
		return false;
	struct diagnostic *one = say(surprise, "a block follows `hosts`, and nothing else");
	return FIX(surprise, one, "write hosts \"NAME\" { ... }");
}

/* A line that goes on where the one before it has ended. */
static bool goes_on(const struct surprise *surprise)
{
	static const char *const clauses[] = {
		"from", "to", "on", "by", "source", "limit", "above", "log", "reason", "arriving", "leaving", "except"};
	if (!at_statement(surprise) || (is_word(surprise->word) && !one_of(surprise->word, clauses, COUNT(clauses))) ||
		surprise->parse->ended)
		return false;
	struct diagnostic *one = parse_error(surprise->parse, surprise->place, "no statement begins with `%s`", surprise->word);
	return FIX(surprise, one, "a line goes on only behind a comma, inside braces, or behind a `\\` at its end");
}

static bool reserved(const struct surprise *surprise)
{
	static const char *const words[] = {"nat", "until", "within", "audit", "stateless"};
	if (!one_of(surprise->word, words, COUNT(words)))
		return false;
	parse_error(surprise->parse, surprise->place, "`%s` is reserved for a later version of the language", surprise->word);
	return true;
}

/* `by user to 10.0.0.1`, `on from any`: the name is missing, and the next clause's word was taken for it. */
static bool swallowed(const struct surprise *surprise)
{
	static const char *const names[] = {"user", "group", "unit", "on"}, *const words[] = {"from", "to", "on", "by", "limit",
										    "above", "source", "log", "reason",
										    "arriving", "leaving"};
	if (!one_of(surprise->earlier, names, COUNT(names)) || !one_of(surprise->before, words, COUNT(words)))
		return false;
	struct parse *parse = surprise->parse;
	struct diagnostic *one =
		parse_error(parse, parse->before, "a name is missing between `%s` and `%s`", surprise->earlier, surprise->before);
	return FIX(surprise, one, "write %s \"%s\" if that is the name", surprise->earlier, surprise->before);
}

bool report_mistake(const struct surprise *surprise)
{
	static bool (*const known[])(const struct surprise *) = {bare_port, missing_slash, port_first, range_of_ports,
		missing_direction, missing_action, swallowed, comma, subject, second_except, rate, definition, missing_quotes,
		stray_brace, goes_on, reserved};
	for (size_t i = 0; i < COUNT(known); i++)
		if (known[i](surprise))
			return true;
	return false;
}

/* `allow ssh`: what follows shows whether a wrong direction or none stands here. */
static bool direction_is_missing(const char *behind)
{
	static const char *const clauses[] = {
		"from", "to", "on", "by", "source", "limit", "above", "log", "reason", "arriving", "leaving", "except"};
	if (is_end(behind) || *behind == '/' || *behind == ',')
		return true;
	for (size_t i = 0; i < COUNT(clauses); i++)
		if (piece_length(behind) == strlen(clauses[i]) && !strncmp(behind, clauses[i], strlen(clauses[i])))
			return true;
	return false;
}

enum direction direction_guess(struct parse *parse, struct place place, const char *word)
{
	struct surprise surprise = {
		.parse = parse, .place = place, .word = word, .expected = directions, .count = COUNT(directions)};
	const char *behind = parse->source->text + place.end + strspn(parse->source->text + place.end, " \t"),
		   *meant = likely_word(&surprise);
	if (!meant && direction_is_missing(behind)) {
		parse->misled = true;
		struct diagnostic *one = say(&surprise, "a direction is missing: in, out or forward");
		diagnostic_hint(parse->diagnostics, one, "write `in %s`", word);
		return DIRECTION_IN;
	}
	struct diagnostic *one = parse_error(parse, place, "`%s` is no direction; expected in, out or forward", word);
	if (meant)
		diagnostic_hint(parse->diagnostics, one, "did you mean `%s`?", meant);
	for (size_t i = 0; meant && i < COUNT(directions); i++)
		if (!strcmp(meant, directions[i]))
			return (enum direction)i;
	return DIRECTION_IN;
}

struct item *host_bare(struct parse *parse, struct place place, const char *word)
{
	struct diagnostic *one = parse_error(parse, place, "the name of a host stands in double quotes");
	diagnostic_hint(parse->diagnostics, one, "write \"%s\"", word);
	return item_new(parse, ITEM_STRING, place, word);
}
