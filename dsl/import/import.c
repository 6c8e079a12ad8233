/*
 * The whole way: read, settle, plan, write, prove.
 */
#include "dsl/import/foreign.h"
#include "portpolicy/layout.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <talloc.h>

static bool line_begins(const char *text, const char *word)
{
	size_t length = strlen(word);
	for (const char *at = text; at; at = strchr(at, '\n')) {
		at += *at == '\n';
		const char *start = at + strspn(at, " \t");
		if (!strncmp(start, word, length))
			return true;
		if (!*at)
			break;
	}
	return false;
}

/* An address on a rule of the table, or a word that only one of the two programs writes. */
static bool speaks_v6(const char *text)
{
	static const char *const words[] = {"ip6tables-save", "ipv6-icmp", "icmp6-", "icmpv6", "ufw6-", "DOCKER6", "::/"};
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (strstr(text, words[i]))
			return true;
	for (const char *at = text; (at = strstr(at, "-s ")) || (at = NULL); at++)
		if (memchr(at + 3, ':', strcspn(at + 3, " \n")))
			return true;
	return false;
}

enum foreign_kind foreign_guess(const struct source *source)
{
	const char *text = source->text;
	if (line_begins(text, "### RULES ###") || line_begins(text, ":ufw-user-input") || line_begins(text, ":ufw6-user-input") ||
		line_begins(text, ":ufw-before-input") || line_begins(text, ":ufw6-before-input") ||
		line_begins(text, "DEFAULT_INPUT_POLICY="))
		return line_begins(text, ":INPUT ")
			       ? (speaks_v6(text) && !strstr(text, ":ufw-user-input") ? FOREIGN_IP6TABLES : FOREIGN_IPTABLES)
			       : FOREIGN_UFW;
	if (line_begins(text, "*filter") || line_begins(text, "*nat") || line_begins(text, "*mangle") ||
		line_begins(text, "*raw"))
		return speaks_v6(text) ? FOREIGN_IP6TABLES : FOREIGN_IPTABLES;
	if (line_begins(text, "create "))
		return FOREIGN_IPSET;
	if (line_begins(text, "table ") || line_begins(text, "#!/usr/sbin/nft") || line_begins(text, "{\"nftables\"") ||
		line_begins(text, "{ \"nftables\"") || line_begins(text, "\"nftables\""))
		return FOREIGN_NFT;
	return FOREIGN_GUESS;
}

/* /etc/default/ufw: DEFAULT_INPUT_POLICY="DROP" */
static bool read_ufw_defaults(struct import *import, const struct source *source)
{
	static const char *const names[] = {"DEFAULT_INPUT_POLICY=", "DEFAULT_OUTPUT_POLICY=", "DEFAULT_FORWARD_POLICY="};
	bool any = false;
	for (int d = 0; d < DIRECTIONS; d++) {
		const char *at = strstr(source->text, names[d]);
		if (!at || (at != source->text && at[-1] != '\n'))
			continue;
		at += strlen(names[d]);
		at += *at == '"';
		import->ufw_policy[d] = !strncmp(at, "ACCEPT", 6) ? FV_ACCEPT : !strncmp(at, "REJECT", 6) ? FV_REJECT : FV_DROP;
		any = true;
	}
	return any && !line_begins(source->text, "*filter");
}

static int no_kind(struct import *import, const struct source *source)
{
	struct diagnostic *one =
		report_file_error(import->diagnostics, source->name, "what kind of ruleset this is cannot be told");
	diagnostic_hint(import->diagnostics, one, "say --from iptables, ip6tables, nft, ufw or ipset");
	return 1;
}

/* Sets and defaults are read before the rules that need them. */
static int read_all(struct import *import, const struct foreign_input *inputs, size_t count)
{
	for (int pass = 0; pass < 2; pass++)
		for (size_t i = 0; i < count && !import->error; i++) {
			const struct source *source = inputs[i].source;
			enum foreign_kind kind = inputs[i].kind == FOREIGN_GUESS ? foreign_guess(source) : inputs[i].kind;
			bool first = kind == FOREIGN_IPSET || (kind == FOREIGN_UFW && read_ufw_defaults(import, source));
			int outcome = 0;
			if (first != !pass)
				continue;
			switch (kind) {
			case FOREIGN_GUESS:
				outcome = no_kind(import, source);
				break;
			case FOREIGN_IPTABLES:
			case FOREIGN_IP6TABLES:
				outcome = read_iptables(import, source, kind);
				break;
			case FOREIGN_UFW:
				outcome = first ? 0 : read_iptables(import, source, kind);
				break;
			case FOREIGN_NFT:
				outcome = read_nft(import, source);
				break;
			case FOREIGN_IPSET:
				outcome = read_ipset(import, source);
				break;
			}
			if (outcome)
				return outcome;
		}
	return 0;
}

static bool empty(const struct foreign_rule *rule)
{
	return !rule->match[FAMILY_IPV4].count && !rule->match[FAMILY_IPV6].count;
}

/* Rules that decide nothing that a policy speaks of. */
static void settle_stateful(struct import *import, struct foreign_rule *rule)
{
	if (rule->verdict == FV_ACCEPT || rule->verdict == FV_RETURN)
		rule_fate(import, rule, FATE_BUILT_IN, "packets of connections that were let through pass");
	else if (rule->states == STATE_INVALID)
		rule_fate(import, rule, FATE_BUILT_IN, "invalid packets are dropped");
	else if (rule->verdict == FV_DROP || rule->verdict == FV_REJECT)
		rule_fate(
			import, rule, FATE_DIFFERS, "it cuts connections that stand; portpolicy lets go on what was let through");
	else
		rule_fate(import, rule, FATE_NO_EFFECT, "it is about no packet that starts a connection");
}

/* What is done about a line that may match or not. */
static const char *consequence(const struct import *import, enum foreign_verdict verdict)
{
	if (verdict == FV_ACCEPT)
		return "; it accepts nothing here";
	if (verdict == FV_DROP || verdict == FV_REJECT)
		return import->skip_unknown ? "; it denies nothing here" : "; all that it may match is denied here";
	return "";
}

static void settle_fate(struct import *import, struct foreign_rule *rule)
{
	enum foreign_verdict verdict = rule->verdict != FV_NONE ? rule->verdict : rule->part_verdict;
	const char *unsure = rule->unsure ? rule->unsure : rule->part_unsure;
	bool terminal = verdict == FV_ACCEPT || verdict == FV_DROP || verdict == FV_REJECT;
	if (rule->why)
		return;
	if (verdict == FV_NONE && rule->part_built_in)
		rule_fate(import, rule, FATE_BUILT_IN,
			"packets of connections that were let through pass, invalid ones are dropped");
	else if (empty(rule) && !(rule->states & STATE_NEW))
		settle_stateful(import, rule);
	else if (empty(rule))
		rule_fate(import, rule, FATE_NO_EFFECT, "it matches nothing");
	else if (rule->lost && rule->reached)
		rule_fate(import, rule, FATE_UNTRANSLATED, "a log of packets that no single rule behind it decides");
	else if (verdict == FV_NONE && !rule->reached)
		rule_fate(import, rule, FATE_NO_EFFECT, "no packet reaches it");
	else if (verdict == FV_NONE)
		rule_fate(import, rule, FATE_NO_EFFECT, "it only counts");
	else if (unsure)
		rule_fate(import, rule, FATE_UNTRANSLATED, "%s%s", unsure, consequence(import, verdict));
	else if (!rule->reached)
		rule_fate(import, rule, FATE_NO_EFFECT, "no packet reaches it");
	else if (!rule->reached_world && verdict == FV_ACCEPT)
		rule_fate(import, rule, FATE_BUILT_IN, "loopback is allowed");
	else if (rule->masked_by && !rule->said)
		rule_fate(import, rule, FATE_UNTRANSLATED, "line %u may deny what it accepts, and is not translated",
			rule->masked_by->line);
	else if (terminal && !rule->said && rule->quota.kind != QUOTA_CONNECTIONS)
		rule_fate(import, rule, FATE_NO_EFFECT, "earlier lines decide all that it matches");
	else if (rule->masked_by)
		rule_fate(import, rule, FATE_DIFFERS,
			"line %u may deny a part of what it accepts, and is not translated: that part is denied here%s%s",
			rule->masked_by->line, rule->differs ? "; " : "", rule->differs ? rule->differs : "");
	else if (rule->differs)
		rule_fate(import, rule, FATE_DIFFERS, "%s", rule->differs);
}

/* A line that was read as several rules is one line. */
static void fold(struct foreign_rule *part)
{
	struct foreign_rule *whole = part->part_of;
	if (!whole)
		return;
	whole->reached |= part->reached;
	whole->reached_world |= part->reached_world;
	whole->said |= part->said;
	whole->part_unsure = whole->part_unsure ? whole->part_unsure : part->unsure;
	whole->differs = whole->differs ? whole->differs : part->differs;
	if (!empty(part))
		whole->part_verdict = part->verdict;
	else
		whole->part_built_in = true;
}

static void collect(struct import *import, struct imported *imported)
{
	struct remark *remarks = talloc_array(import->ctx, struct remark, import->rule_count + 1);
	if (!remarks) {
		import->error = -ENOMEM;
		return;
	}
	for (struct foreign_table *table = import->tables; table; table = table->next)
		for (struct foreign_chain *chain = table->chains; chain; chain = chain->next)
			for (size_t i = 0; i < chain->count; i++)
				fold(chain->rules[i]);
	for (size_t i = 0; i < import->rule_count; i++) {
		struct foreign_rule *rule = import->rules[i];
		settle_fate(import, rule);
		imported->rules++;
		imported->fates[rule->fate]++;
		if (rule->fate != FATE_TRANSLATED)
			remarks[imported->remark_count++] =
				(struct remark){rule->fate, rule->source, rule->line, rule->text, rule->why};
	}
	imported->remarks = remarks;
}

/* As `portpolicy fmt` would leave it. */
static int lay_out(struct import *import, struct imported *imported, const char **problem)
{
	struct diagnostics *diagnostics = diagnostics_new(import->ctx);
	struct source *source;
	char *text = NULL;
	if (!diagnostics ||
		source_new(import->ctx, "imported.policy", imported->policy, strlen(imported->policy), false, &source))
		return -ENOMEM;
	int outcome = source_lay_out(import->ctx, source, diagnostics, &text);
	if (outcome == 1)
		*problem = import_text(import, "the text that came out cannot be read: %s (a defect of portpolicy)",
			diagnostics->first ? diagnostics->first->message : "");
	if (!outcome)
		imported->policy = text;
	return outcome == 1 ? 2 : outcome;
}

int import_policy(void *ctx, const struct foreign_input *inputs, size_t count, struct import_options options,
	struct diagnostics *diagnostics, struct imported **out, const char **problem)
{
	struct import *import = talloc_zero(ctx, struct import);
	struct imported *imported = talloc_zero(ctx, struct imported);
	struct direction_plan plans[DIRECTIONS];
	*problem = NULL;
	if (!import || !imported)
		return -ENOMEM;
	*import = (struct import){.ctx = import,
		.skip_unknown = options.skip_unknown,
		.diagnostics = diagnostics,
		.last_table = &import->tables,
		.ufw_policy = {FV_DROP, FV_ACCEPT, FV_DROP}};
	int outcome = read_all(import, inputs, count);
	if (outcome || import->error)
		return import->error ? import->error : outcome;
	tie_ufw(import);
	if (import->ufw_incomplete)
		import_note(import, "ufw's before.rules was not given: what it lets through (ping, DHCP, multicast DNS, "
				    "neighbour discovery) is missing here");
	settle_rules(import);
	plan_settle(import);
	for (int d = 0; d < DIRECTIONS; d++)
		plan_direction(import, (enum direction)d, &plans[d]);
	if (!import->too_large)
		collect(import, imported);
	imported->notes = import->notes;
	imported->note_count = import->note_count;
	if (!import->too_large)
		imported->policy = write_policy(import, plans, inputs, count, imported);
	if (import->too_large) {
		*problem = import->loop
				   ? import_text(import,
					     "chain %s jumps to itself, or more chains lie in each other than the kernel takes",
					     import->loop)
				   : "the ruleset is too large: its chains, written out, have more parts than can be held";
		return 2;
	}
	if (import->error)
		return import->error;
	outcome = lay_out(import, imported, problem);
	if (outcome)
		return outcome;
	*out = imported;
	return prove(import, plans, imported->policy, imported, problem);
}
