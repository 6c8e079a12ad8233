/*
 * iptables-save, ip6tables-save, and the rule files of ufw, which are written for iptables-restore.
 *
 * One line is one rule: options in any order, each of which narrows what the rule matches, or says why it cannot be told. What a
 * matching extension means is in matches.c.
 */
#include "dsl/import/iptables.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <talloc.h>

/* Splits a line as iptables-restore does: blanks, double quotes, backslashes within them. */
static bool split(struct import *import, const char *line, struct words *words)
{
	size_t length = strlen(line);
	char *copy = talloc_size(import->ctx, length * 2 + 2), *to = copy;
	words->at = talloc_array(import->ctx, char *, length / 2 + 2);
	words->count = words->next = 0;
	if (!copy || !words->at) {
		import->error = -ENOMEM;
		return false;
	}
	for (const char *at = line; *at;) {
		bool quoted = false;
		at += strspn(at, " \t");
		if (!*at)
			break;
		words->at[words->count++] = to;
		for (; *at && (quoted || !strchr(" \t", *at)); at++) {
			if (*at == '"')
				quoted = !quoted;
			else if (quoted && *at == '\\' && at[1])
				*to++ = *++at;
			else
				*to++ = *at;
		}
		*to++ = 0;
		if (quoted)
			return false;
	}
	words->at[words->count] = NULL;
	return true;
}

const char *take(struct words *words)
{
	return words->next < words->count ? words->at[words->next++] : NULL;
}
static const char *peek(const struct words *words)
{
	return words->next < words->count ? words->at[words->next] : NULL;
}

/* What an option that is not known has behind it: all up to the next option. */
void skip_values(struct words *words)
{
	while (peek(words) && strcmp(peek(words), "!") &&
		!(peek(words)[0] == '-' && (peek(words)[1] < '0' || peek(words)[1] > '9')))
		words->next++;
}

static void set_protocol(struct reading *reading, const char *word, bool negated)
{
	struct import *import = reading->import;
	int number = protocol_number(word ? word : "");
	if (!word || number < 0) {
		rule_doubt(import, reading->rule, "protocol %s is not known", word ? word : "(missing)");
		return;
	}
	if (number == 0 && !negated) /* "all"; hop-by-hop options cannot be asked for */
		return;
	bool other_family = number == (reading->family == FAMILY_IPV4 ? PROTOCOL_ICMPV6 : PROTOCOL_ICMP);
	if (number == 43 || number == 44 || number == 59 || number == 60 || other_family)
		rule_doubt(import, reading->rule, "protocol %s in %s cannot be said", word,
			reading->family == FAMILY_IPV4 ? "IPv4" : "IPv6");
	if (!negated)
		reading->protocol = number;
	rule_restrict(import, reading->rule, reading->family, DIM_TRAFFIC,
		set_single(import, TRAFFIC(number, 0), TRAFFIC(number, SERVICES - 1)), negated);
}

static void set_address(struct reading *reading, enum dimension dimension, const char *word, bool negated)
{
	struct import *import = reading->import;
	enum family family;
	struct intervals set;
	/* iptables-save writes one; a file for iptables-restore may hold several, which stand for a rule each. */
	if (!word || !read_addresses(import, word, &family, &set) || family != reading->family)
		rule_doubt(import, reading->rule, "the address %s cannot be read", word ? word : "(missing)");
	else
		rule_restrict(import, reading->rule, family, dimension, set, negated);
}

static void set_interface(struct reading *reading, enum dimension dimension, const char *word, bool negated)
{
	struct import *import = reading->import;
	size_t length = word ? strlen(word) : 0;
	char name[INTERFACE_NAME_MAX + 1];
	if (!length || length > INTERFACE_NAME_MAX) {
		rule_doubt(import, reading->rule, "the interface %s cannot be read", word ? word : "(missing)");
		return;
	}
	strcpy(name, word);
	bool prefix = name[length - 1] == '+';
	if (prefix)
		name[length - 1] = 0;
	u128 first = prefix && length == 1 ? 0 : interface_number(name);
	u128 last = !prefix ? first : length == 1 ? INTERFACE_LAST : interface_prefix_last(name);
	rule_restrict(import, reading->rule, reading->family, dimension, set_single(import, first, last), negated);
}

static void set_target(struct reading *reading, const char *word, bool go)
{
	static const struct {
		const char *name;
		enum foreign_verdict verdict;
	} targets[] = {{"ACCEPT", FV_ACCEPT}, {"DROP", FV_DROP}, {"REJECT", FV_REJECT}, {"RETURN", FV_RETURN}};
	struct foreign_rule *rule = reading->rule;
	reading->target = rule->target = word;
	if (!word)
		return;
	for (size_t i = 0; i < sizeof targets / sizeof *targets; i++)
		if (!strcmp(word, targets[i].name))
			rule->verdict = targets[i].verdict;
	if (!strcmp(word, "LOG") || !strcmp(word, "NFLOG") || !strcmp(word, "ULOG")) {
		rule->log = true;
		return;
	}
	if (rule->verdict != FV_NONE || !reading->table)
		return;
	struct foreign_chain *chain = foreign_chain(reading->import, reading->table, word, false);
	if (chain) {
		rule->verdict = go ? FV_GOTO : FV_JUMP;
		rule->chain = chain;
	} else
		target_unknown(reading, word);
}

static void set_option(struct reading *reading, const char *option, bool negated)
{
	static const struct {
		const char *names[2];
		int what;
	} options[] = {{{"-p", "--protocol"}, 'p'}, {{"-s", "--source"}, 's'}, {{"-d", "--destination"}, 'd'},
		{{"--src", "--src"}, 's'}, {{"--dst", "--dst"}, 'd'}, {{"-i", "--in-interface"}, 'i'},
		{{"-o", "--out-interface"}, 'o'}, {{"-f", "--fragment"}, 'f'}, {{"-j", "--jump"}, 'j'}, {{"-g", "--goto"}, 'g'},
		{{"-m", "--match"}, 'm'}, {{"-c", "--set-counters"}, 'c'}};
	struct words *words = &reading->words;
	int what = 0;
	for (size_t i = 0; i < sizeof options / sizeof *options; i++)
		if (!strcmp(option, options[i].names[0]) || !strcmp(option, options[i].names[1]))
			what = options[i].what;
	switch (what) {
	case 'p':
		set_protocol(reading, take(words), negated);
		break;
	case 's':
		set_address(reading, DIM_SOURCE, take(words), negated);
		break;
	case 'd':
		set_address(reading, DIM_DESTINATION, take(words), negated);
		break;
	case 'i':
		set_interface(reading, DIM_ARRIVING, take(words), negated);
		break;
	case 'o':
		set_interface(reading, DIM_LEAVING, take(words), negated);
		break;
	case 'f': /* connection tracking puts fragments together before a rule sees them */
		if (!negated)
			rule_never(reading->rule);
		break;
	case 'j':
		set_target(reading, take(words), false);
		break;
	case 'g':
		set_target(reading, take(words), true);
		break;
	case 'm':
		reading->module = take(words);
		match_begins(reading);
		break;
	case 'c':
		take(words), take(words);
		break;
	default:
		if (reading->target)
			target_option(reading, option, negated);
		else
			match_option(reading, option, negated);
	}
}

static void read_options(struct reading *reading)
{
	const char *word;
	while ((word = take(&reading->words)) && !reading->import->error) {
		bool negated = !strcmp(word, "!");
		if (negated && !(word = take(&reading->words)))
			break;
		if (word[0] == '-')
			set_option(reading, word, negated);
		else
			rule_doubt(reading->import, reading->rule, "\"%s\" cannot be read", word);
	}
	matches_end(reading);
}

static bool mistake(struct reading *reading, const char *what)
{
	struct source *source = (struct source *)reading->source;
	struct span span = {.source = source, .begin = reading->begin, .end = reading->begin + (uint32_t)strlen(reading->text)};
	report_error(reading->import->diagnostics, span, "%s", what);
	return false;
}

static struct foreign_chain *hook_of(struct reading *reading, struct foreign_chain *chain)
{
	static const char *const hooks[] = {"INPUT", "OUTPUT", "FORWARD"};
	for (int d = 0; d < DIRECTIONS && chain; d++)
		if (!strcmp(chain->name, hooks[d]) && !chain->base) {
			chain->base = true;
			chain->direction = (enum direction)d;
			chain->source = reading->source;
			chain->line = reading->line;
		}
	return chain;
}

static bool set_policy(struct reading *reading, const char *chain_name, const char *policy)
{
	struct foreign_chain *chain = hook_of(reading, foreign_chain(reading->import, reading->table, chain_name, true));
	if (!chain || !policy || !strcmp(policy, "-"))
		return true;
	if (strcmp(policy, "ACCEPT") && strcmp(policy, "DROP"))
		return mistake(reading, "the policy of a chain is ACCEPT or DROP");
	chain->policy = !strcmp(policy, "DROP") ? FV_DROP : FV_ACCEPT;
	chain->line = reading->line;
	return true;
}

/* `:INPUT DROP [0:0]` */
static bool read_chain(struct reading *reading)
{
	if (!reading->table)
		return reading->other_table ? true : mistake(reading, "a chain outside a table: no line begins with * before it");
	return split(reading->import, reading->text + 1, &reading->words) && reading->words.count
		       ? set_policy(reading, reading->words.at[0], reading->words.at[1])
		       : mistake(reading, "this is no chain as iptables-save writes them");
}

static void begin_rule(struct reading *reading, struct foreign_chain *chain, bool first)
{
	struct import *import = reading->import;
	reading->rule = foreign_rule(import, chain, 1u << reading->family, reading->source, reading->line, reading->text);
	reading->protocol = -1;
	reading->module = reading->target = NULL;
	reading->heard = (struct heard){0};
	if (first && chain && chain->count > 1 && reading->rule) { /* -I: to the front */
		memmove(&chain->rules[1], &chain->rules[0], (chain->count - 1) * sizeof *chain->rules);
		chain->rules[0] = reading->rule;
	}
}

static bool read_rule(struct reading *reading)
{
	struct import *import = reading->import;
	if (!split(import, reading->text, &reading->words))
		return import->error ? true : mistake(reading, "a quotation does not end");
	const char *command = take(&reading->words);
	if (command && command[0] == '[') /* iptables-save -c */
		command = take(&reading->words);
	const char *chain_name = take(&reading->words);
	if (!reading->table && !reading->other_table)
		return mistake(reading, "a rule outside a table: no line begins with * before it");
	if (!command || !chain_name || command[0] != '-')
		return mistake(reading, "this is no line of iptables-save");
	if (!strcmp(command, "-P") && reading->table)
		return set_policy(reading, chain_name, take(&reading->words));
	if (!strcmp(command, "-N") && reading->table)
		return set_policy(reading, chain_name, NULL);
	bool insert = !strcmp(command, "-I");
	if (strcmp(command, "-A") && !insert)
		return mistake(reading, "only rules that are added (-A, -I) can be read");
	struct foreign_chain *chain =
		reading->table ? hook_of(reading, foreign_chain(import, reading->table, chain_name, true)) : NULL;
	begin_rule(reading, chain, insert);
	if (!reading->rule)
		return true;
	if (reading->reason)
		reading->rule->reason = reading->reason;
	if (reading->table)
		read_options(reading);
	else
		rule_fate(import, reading->rule, FATE_UNTRANSLATED, "%s", reading->other_table);
	return true;
}

/* Which chains a table of ours has; what other tables do is outside the language. */
static void begin_table(struct reading *reading)
{
	static const struct {
		const char *name, *reason;
	} others[] = {{"nat", "table nat: a policy does not translate addresses"},
		{"mangle", "table mangle: a policy does not change packets"},
		{"raw", "table raw: a policy does not speak of packets before connection tracking"},
		{"security", "table security: a policy does not label packets"}};
	struct import *import = reading->import;
	const char *name = reading->text + 1;
	reading->table = NULL;
	reading->other_table = "only the table filter is translated";
	reading->reason = NULL;
	for (size_t i = 0; i < sizeof others / sizeof *others; i++)
		if (!strcmp(name, others[i].name))
			reading->other_table = others[i].reason;
	if (!strcmp(name, "filter")) {
		reading->table = foreign_table(import, 1u << reading->family, "filter");
		reading->other_table = NULL;
		import->given[reading->family] = true;
	}
}

/* `### tuple ### allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in comment=73736820...`: the comment belongs to the rules behind it. */
static void read_tuple(struct reading *reading)
{
	const char *hex = strstr(reading->text, " comment=");
	size_t length = hex ? strspn(hex + 9, "0123456789abcdefABCDEF") : 0;
	reading->reason = NULL;
	if (strncmp(reading->text, "### tuple ###", 13) || length < 2)
		return;
	char *text = talloc_zero_size(reading->import->ctx, length / 2 + 1);
	if (!text) {
		reading->import->error = -ENOMEM;
		return;
	}
	for (size_t i = 0; i + 1 < length; i += 2) {
		char pair[3] = {hex[9 + i], hex[10 + i], 0};
		text[i / 2] = (char)strtoul(pair, NULL, 16);
	}
	reading->reason = text;
}

static bool read_line(struct reading *reading)
{
	switch (reading->text[0]) {
	case 0:
		return true;
	case '#':
		read_tuple(reading);
		return true;
	case '*':
		begin_table(reading);
		return true;
	case ':':
		return read_chain(reading);
	}
	if (!strcmp(reading->text, "COMMIT")) {
		reading->table = NULL;
		reading->other_table = NULL;
		return true;
	}
	return read_rule(reading);
}

/* A rule that stands in no file, but in what ufw's start script does. */
static void add_script_rule(struct import *import, struct foreign_chain *chain, enum family family, enum foreign_verdict verdict,
	struct foreign_chain *target)
{
	struct foreign_rule *rule = talloc_zero(import->ctx, struct foreign_rule);
	struct area all;
	if (!rule || !chain) {
		import->error = -ENOMEM;
		return;
	}
	memcpy(all.of, full_set[family], sizeof all.of);
	*rule = (struct foreign_rule){.text = chain->name, .states = STATE_ALL, .verdict = verdict, .chain = target};
	areas_add(import, &rule->match[family], &all);
	rule_insert(import, chain, rule, chain->count);
}

static const char *const ufw_words[] = {"input", "output", "forward"};

static struct foreign_chain *ufw_chain(
	struct import *import, struct foreign_table *table, const char *part, const char *word, bool make)
{
	char *name = import_text(import, "%s-%s-%s", table->families == 1u << FAMILY_IPV6 ? "ufw6" : "ufw", part, word);
	return name ? foreign_chain(import, table, name, make) : NULL;
}

/* Chains that rules of the files jump to and the script makes. */
static void begin_ufw(struct import *import, struct foreign_table *table, enum family family)
{
	ufw_chain(import, table, "logging", "deny", true);
	ufw_chain(import, table, "logging", "allow", true);
	for (int d = 0; d < DIRECTIONS; d++) {
		struct foreign_chain *chain = ufw_chain(import, table, "skip-to-policy", ufw_words[d], true);
		if (chain && !chain->count)
			add_script_rule(import, chain, family, import->ufw_policy[d], NULL);
	}
}

/* ufw's files fill chains that its start script ties to the hooks (ufw-init-functions): so are they tied here. */
static void tie_ufw_table(struct import *import, struct foreign_table *table, enum family family)
{
	static const char *const hooks[] = {"INPUT", "OUTPUT", "FORWARD"}, *const parts[] = {"before", "user", "after"};
	for (int d = 0; d < DIRECTIONS; d++) {
		struct foreign_chain *hook = foreign_chain(import, table, hooks[d], true);
		if (!hook || hook->base)
			continue;
		hook->base = true;
		hook->direction = (enum direction)d;
		hook->policy = import->ufw_policy[d];
		struct foreign_chain *before = ufw_chain(import, table, "before", ufw_words[d], true);
		if (before && !before->count && d != DIRECTION_FORWARD) { /* as every before.rules begins */
			u128 lo = interface_number("lo");
			add_script_rule(import, before, family, FV_ACCEPT, NULL);
			if (before->count)
				rule_restrict(import, before->rules[0], family, d == DIRECTION_IN ? DIM_ARRIVING : DIM_LEAVING,
					set_single(import, lo, lo), false);
			import->ufw_incomplete = true;
		}
		for (int part = 0; part < 3; part++) {
			struct foreign_chain *chain = ufw_chain(import, table, parts[part], ufw_words[d], true);
			if (chain)
				add_script_rule(import, hook, family, FV_JUMP, chain);
		}
	}
}

void tie_ufw(struct import *import)
{
	for (int family = 0; family < FAMILIES; family++)
		if (import->ufw[family])
			tie_ufw_table(import, foreign_table(import, 1u << family, "filter"), (enum family)family);
}

int read_iptables(struct import *import, const struct source *source, enum foreign_kind kind)
{
	struct reading reading = {.import = import, .source = source, .protocol = -1};
	bool v6 = kind == FOREIGN_IP6TABLES || (kind == FOREIGN_UFW && strstr(source->text, "ufw6-"));
	reading.family = v6 ? FAMILY_IPV6 : FAMILY_IPV4;
	bool fine = true;
	struct foreign_table *table = kind == FOREIGN_UFW ? foreign_table(import, 1u << reading.family, "filter") : NULL;
	if (table) {
		begin_ufw(import, table, reading.family);
		import->ufw[reading.family] = true;
	}
	const char *at = source->text, *end = at + source->length;
	char *pending = NULL;
	while (at < end && fine && !import->error) {
		size_t length = strcspn(at, "\n");
		const char *start = at + strspn(at, " \t");
		size_t size = start < at + length ? (size_t)(at + length - start) : 0;
		while (size && strchr(" \t\r", start[size - 1]))
			size--;
		reading.line++;
		if (!pending)
			reading.begin = (uint32_t)(start - source->text);
		char *text = import_text(import, "%s%.*s", pending ? pending : "", (int)size, start);
		at += length + (at + length < end);
		if (!text)
			break;
		size = strlen(text);
		pending = NULL;
		if (size && text[size - 1] == '\\' && text[0] != '#') { /* a line that goes on */
			text[size - 1] = ' ';
			pending = text;
			continue;
		}
		reading.text = text;
		fine = read_line(&reading);
	}
	return fine ? 0 : 1;
}
