/*
 * portpolicy VERB [OPTIONS] [OPERANDS].
 *
 * A table of verbs and a table of options. Each verb names the options that it takes, so an option that would have no effect
 * is an error and not a surprise. What goes wrong in writing the answer (a full disk, a reader that
 * has gone) is found out at the end, because an answer that nobody got is no answer.
 */
#include "agent/cli/cli.h"
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <talloc.h>

enum option_bit { OPT_JSON = 1, OPT_STRICT = 2, OPT_FILE = 4, OPT_HOST = 8, OPT_TABLE = 16, OPT_AS = 32, OPT_INCLUDE = 64, OPT_CONFIRM = 128,
	OPT_ENCODING = 256, OPT_NO_OWNER = 512, OPT_WRITE = 1024, OPT_CHECK = 2048, OPT_REVOKE = 4096, OPT_FROM = 8192,
	OPT_UNKNOWN = 16384, OPT_MARKDOWN = 32768 };

struct verb {
	const char *name;
	int (*run)(void *ctx, const struct invocation *call);
	unsigned options;
	const char *summary, *help;
};

static const struct verb verbs[] = {
	{"check", verb_check, OPT_JSON | OPT_STRICT | OPT_HOST | OPT_INCLUDE, "check [FILE...]            judge policies and prove their expects",
		"Usage: portpolicy check [--strict] [--json] [--host NAME] [-I DIR] [FILE...]\n\n"
		"Reads each policy, reports its mistakes, proves its expects and warns of what looks unintended.\n"
		"FILE is " DEFAULT_POLICY " unless named; - is standard input.\n"
		"Without --host it answers for every kind of host that the hosts blocks tell apart.\n"
		"`# portpolicy: ignore W102` silences a warning; portpolicy-warnings(7) explains them.\n\n"
		"  --strict     warnings count as errors\n"
		"  --json       one object: ok, errors, warnings, expects\n"
		"  --host NAME  answer for this host\n"
		"  -I DIR       search DIR first for include <name>\n\n"
		"Exit status: 0 all is well; 1 an error or an expect that fails; 2 it could not be decided.\n\n"
		"Example: portpolicy check --strict rules/examples/web-server.policy\n"},
	{"fmt", verb_fmt, OPT_WRITE | OPT_CHECK | OPT_HOST | OPT_INCLUDE, "fmt [-w] [--check] FILE... the one canonical layout of a policy",
		"Usage: portpolicy fmt [-w | --check] [--host NAME] [-I DIR] FILE...\n\n"
		"Prints each policy in the one canonical layout: a statement a line, one blank between words, long\n"
		"sets a member a line. Comments stay where they are. Nothing is printed or written that does not\n"
		"mean the same on every kind of host. A set whose last member has a comma behind it stays a member\n"
		"a line. FILE is a policy, or - for standard input.\n\n"
		"  -w           write the file in place of printing it, keeping mode and owner\n"
		"  --check      print nothing but the names of the files whose layout is another\n"
		"  --host NAME  compare the meaning for this host only\n"
		"  -I DIR       search DIR first for include <name>\n\n"
		"Exit status: 0 done, or every file is so laid out; 1 a file is not, or cannot be parsed; 2 it could\n"
		"not be read or written.\n\n"
		"Example: portpolicy fmt -w /etc/portpolicy/host.policy\n"},
	{"explain", verb_explain, OPT_JSON | OPT_FILE | OPT_HOST | OPT_INCLUDE, "explain [-f FILE] PACKET|-   the verdict for a packet, and the line that gives it",
		"Usage: portpolicy explain [-f FILE] [--json] [--host NAME] [-I DIR] PACKET...|-\n\n"
		"PACKET is the clauses of a rule with one value each, as one argument or as words. A field left\n"
		"out is open: where the answer turns on it, the answer is `depends`, with a packet for each verdict.\n"
		"- answers one packet a line from standard input; empty lines and # comments are skipped.\n\n"
		"  -f FILE      the policy (" DEFAULT_POLICY " unless named)\n"
		"  --json       one object a line: packet, verdict, because\n"
		"  --host NAME  answer for this host\n"
		"  -I DIR       search DIR first for include <name>\n\n"
		"Exit status: 0 every packet is allowed or unmanaged; 1 some are not; 2 a packet could not be answered.\n\n"
		"Example: portpolicy explain out tcp/443 to 198.51.100.7 by user www-data\n"},
	{"compile", verb_compile, OPT_AS | OPT_ENCODING | OPT_HOST | OPT_TABLE | OPT_INCLUDE, "compile [--as nft|json] [FILE] print the ruleset that apply would install",
		"Usage: portpolicy compile [--as nft|json] [--host NAME] [--table NAME] [-I DIR] [FILE]\n\n"
		"Prints the ruleset that apply would install, as nft -f reads it, or as JSON.\n\n"
		"  --encoding KIND  lay the rules out as auto (by cost), linear, hashes, boxes, ports, chains or cuts\n\n"
		"Example: portpolicy compile host.policy | nft -c -f -\n"},
	{"import", verb_import, OPT_JSON | OPT_FROM | OPT_UNKNOWN, "import FILE...             make a policy of iptables, nft or ufw rules",
		"Usage: portpolicy import [--from KIND] [--unknown deny|skip] [--json] FILE...\n\n"
		"Reads the output of iptables-save, ip6tables-save, ipset save and nft list ruleset, and the rule files\n"
		"of ufw, and prints one policy that decides the same. What cannot be said is listed line by line, in\n"
		"the policy and on standard error. The policy is proved against the rules before it is printed.\n"
		"- is standard input.\n\n"
		"  --from KIND          iptables, ip6tables, ipset, nft or ufw, where the file does not tell\n"
		"  --unknown deny|skip  packets that a line which could not be translated may deny are denied\n"
		"                       (unless told otherwise), or decided as if the line were not there\n"
		"  --json               one object: policy, remarks, counts\n\n"
		"Exit status: 0 a policy was printed; 2 the rules could not be read, or the proof failed.\n\n"
		"Example: iptables-save | portpolicy import - > host.policy\n"},
	{"diff", verb_diff, OPT_JSON | OPT_MARKDOWN | OPT_HOST | OPT_INCLUDE, "diff OLD NEW               what two policies decide differently",
		"Usage: portpolicy diff [--json|--markdown] [--host NAME] [-I DIR] OLD NEW\n\n"
		"Tells which packets NEW allows, denies or rejects where OLD did not, as sets in the language, with the\n"
		"lines behind them on both sides and one packet of each; and what else differs: limits, logging,\n"
		"directions that are managed, audit mode. Policies that mean the same have no difference, however they\n"
		"are written. OLD and NEW are files, directories (their host.policy) or git:REVISION:PATH, which reads\n"
		"the policy and what it includes from that revision (git::PATH: from the index); - is standard input.\n"
		"Without --host it answers for every kind of host that the hosts blocks tell apart.\n\n"
		"  --json       one object: equal, old, new, kinds\n"
		"  --markdown   tables for a merge request\n"
		"  --host NAME  answer for this host\n"
		"  -I DIR       search DIR first for include <name>\n\n"
		"Exit status: 0 no difference; 1 a difference; 2 it could not be decided.\n\n"
		"Example: portpolicy diff git:HEAD:host.policy host.policy\n"},
	{"plan", verb_plan, OPT_JSON | OPT_ENCODING | OPT_HOST | OPT_TABLE | OPT_INCLUDE, "plan [FILE]                what apply would change",
		"Usage: portpolicy plan [--json] [--host NAME] [--table NAME] [-I DIR] [FILE]\n\n"
		"Tells what apply would change, and changes nothing: what is decided differently from the policy in\n"
		"force (as diff does), what others have changed in the kernel since it was installed, and the objects\n"
		"that apply would touch.\n\n"
		"Exit status: 0 nothing to change; 1 the plan is not empty; 2 it could not be known.\n\n"
		"Example: portpolicy plan host.policy\n"},
	{"apply", verb_apply, OPT_JSON | OPT_ENCODING | OPT_HOST | OPT_TABLE | OPT_INCLUDE | OPT_CONFIRM | OPT_REVOKE, "apply [FILE]               change the kernel to the policy, all or nothing",
		"Usage: portpolicy apply [--confirm TIME] [--revoke] [--json] [--host NAME] [--table NAME] [-I DIR] [FILE]\n\n"
		"Makes the policy the firewall of this host (of this network namespace) in one change that is made\n"
		"whole or not at all. Connections that stand at the first apply go on. Needs root, and a policy that\n"
		"nobody but root can write. What it installs is gone after a restart: apply it again at boot.\n\n"
		"  --confirm TIME  undo it after TIME (90s, 5m, 1h) unless `portpolicy confirm` comes\n"
		"  --revoke        end the standing connections that the policy would not let begin\n\n"
		"Example: portpolicy apply --confirm 60s /etc/portpolicy/host.policy\n"},
	{"confirm", verb_confirm, OPT_JSON | OPT_TABLE, "confirm                    keep the change that is pending",
		"Usage: portpolicy confirm [--json] [--table NAME]\n\n"
		"Keeps what `apply --confirm` has put in force. Needs root.\n\n"
		"Exit status: 0 it stays; 1 nothing is pending, or it has been undone already; 2 it could not be known.\n\n"
		"Example: portpolicy apply --confirm 60s && portpolicy confirm\n"},
	{"rollback", verb_rollback, OPT_JSON | OPT_TABLE, "rollback                   undo the change that is pending, at once",
		"Usage: portpolicy rollback [--json] [--table NAME]\n\n"
		"Brings the rules back that stood before `apply --confirm`, without waiting for its time. Needs root.\n\n"
		"Exit status: 0 they are back; 1 nothing is pending; 2 they could not be brought back.\n\n"
		"Example: portpolicy rollback\n"},
	{"status", verb_status, OPT_JSON | OPT_ENCODING | OPT_HOST | OPT_TABLE | OPT_INCLUDE, "status [FILE]              what is in force, and whether it is what the policy says",
		"Usage: portpolicy status [--json] [--host NAME] [--table NAME] [-I DIR] [FILE]\n\n"
		"Tells which policy is in force and since when, whether the kernel agrees with it, and what the agent has\n"
		"repaired; warns of other firewalls. Where no agent runs, or with FILE, the kernel is compared with the policy.\n"
		"Needs root.\n\n"
		"Exit status: 0 in sync; 1 not, or held, or the agent's own policy is not the one in force; 2 it could not be known.\n\n"
		"Example: portpolicy status --json\n"},
	{"reload", verb_reload, OPT_JSON | OPT_TABLE, "reload                     let the agent read its policy again, now",
		"Usage: portpolicy reload [--json] [--table NAME]\n\n"
		"The agent reads its own policy again and puts it in force, also in place of one that `apply` gave it. What is\n"
		"wrong with it is shown, and what was in force stays then. (It sees changed files by itself, a moment later.)\n\n"
		"Exit status: 0 in force; 1 the policy has mistakes; 2 no agent, or the kernel refused.\n\n"
		"Example: portpolicy reload\n"},
	{"hold", verb_hold, OPT_JSON | OPT_TABLE, "hold TIME|end              let the agent repair nothing for a while",
		"Usage: portpolicy hold [--json] [--table NAME] TIME|end\n\n"
		"Until TIME (90s, 5m, 1h; at most a day) is over the agent lets others edit its table; `status` says so. Then it\n"
		"puts everything back. `hold end` ends it earlier. Needs root.\n\n"
		"Example: portpolicy hold 10m\n"},
	{"remove", verb_remove, OPT_JSON | OPT_TABLE, "remove                     take out all that apply installed",
		"Usage: portpolicy remove [--json] [--table NAME]\n\n"
		"Takes out the table that apply installed, and nothing else. Needs root.\n\n"
		"Example: portpolicy remove\n"},
	{"agent", verb_agent, OPT_ENCODING | OPT_HOST | OPT_TABLE | OPT_INCLUDE | OPT_NO_OWNER | OPT_REVOKE, "agent [FILE]               keep the kernel what the policy says",
		"Usage: portpolicy agent [--no-owner] [--revoke] [--host NAME] [--table NAME] [-I DIR] [FILE]\n\n"
		"Puts the policy in force and keeps it so, in the foreground: what other programs change in the rules is\n"
		"put back at once, and the log says who it was. Where the kernel can (Linux 6.9), nobody else can change them.\n"
		"It sees when files of the policy change, and SIGHUP reads them at once; a mistake leaves the old rules in force.\n"
		"SIGTERM ends the agent, not the rules.\n\n"
		"  --no-owner   do not own the table: others may edit it, and it is put back\n"
		"  --revoke     end the standing connections that a new policy would not let begin\n\n"
		"Example: portpolicy agent /etc/portpolicy/host.policy\n"},
};
#define VERBS (sizeof verbs / sizeof *verbs)

static const struct {
	const char *name;
	char letter;
	unsigned bit;
	bool value;
} options[] = {
	{"--json", 0, OPT_JSON, false}, {"--strict", 0, OPT_STRICT, false}, {"--file", 'f', OPT_FILE, true},	  {"--host", 0, OPT_HOST, true},
	{"--table", 0, OPT_TABLE, true}, {"--as", 0, OPT_AS, true},	     {"--include", 'I', OPT_INCLUDE, true}, {"--confirm", 0, OPT_CONFIRM, true},
	{"--encoding", 0, OPT_ENCODING, true}, {"--no-owner", 0, OPT_NO_OWNER, false},
	{"--write", 'w', OPT_WRITE, false}, {"--check", 0, OPT_CHECK, false},
	{"--revoke", 0, OPT_REVOKE, false},
	{"--from", 0, OPT_FROM, true}, {"--unknown", 0, OPT_UNKNOWN, true},
	{"--markdown", 0, OPT_MARKDOWN, false},
};
#define OPTIONS (sizeof options / sizeof *options)

static void overview(FILE *stream)
{
	fprintf(stream, "Usage: portpolicy VERB [OPTIONS] [OPERANDS]\n\n");
	for (size_t i = 0; i < VERBS; i++)
		fprintf(stream, "  %s\n", verbs[i].summary);
	fprintf(stream, "\nportpolicy VERB --help explains a verb with an example. The language: man 5 portpolicy.policy.\n");
}

static const struct verb *find_verb(const char *name)
{
	for (size_t i = 0; i < VERBS; i++)
		if (!strcmp(verbs[i].name, name))
			return &verbs[i];
	return NULL;
}

static int unknown_verb(const char *name)
{
	const char *names[VERBS];
	for (size_t i = 0; i < VERBS; i++)
		names[i] = verbs[i].name;
	const char *near = nearest_word(name, names, VERBS);
	complain("portpolicy: there is no verb \"%s\"%s%s%s\n", name, near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
	complain("verbs:");
	for (size_t i = 0; i < VERBS; i++)
		complain(" %s", names[i]);
	complain("\n");
	return STATUS_FAILED;
}

/* Which option is it, and where is its value?  -1: none.  *value is NULL when it stands in the next argument. */
static int find_option(const char *argument, const char **value)
{
	for (size_t i = 0; i < OPTIONS; i++) {
		size_t length = strlen(options[i].name);
		*value = NULL;
		if (options[i].letter && argument[1] == options[i].letter) {
			if (argument[2])
				*value = argument + 2;
			return (int)i;
		}
		if (strncmp(argument, options[i].name, length) || (argument[length] && argument[length] != '='))
			continue;
		if (argument[length])
			*value = argument + length + 1;
		return (int)i;
	}
	return -1;
}

static int set_encoding(struct invocation *call, const char *word)
{
	for (int i = 0; i < ENCODINGS; i++)
		if (!strcmp(word, encoding_names[i])) {
			call->encoding = (enum encoding)i;
			return 0;
		}
	return usage_error(call, "there is no encoding \"%s\"", word);
}

static int bad_time(const struct invocation *call, const char *word)
{
	return usage_error(call, "\"%s\" is not a time: a number and its unit, such as 90s, 5m or 1h, up to a day", word);
}

static int set_option(void *ctx, struct invocation *call, unsigned bit, const char *value)
{
	switch ((enum option_bit)bit) {
	case OPT_JSON: call->json = true; break;
	case OPT_STRICT: call->strict = true; break;
	case OPT_WRITE: call->write = true; break;
	case OPT_CHECK: call->check = true; break;
	case OPT_MARKDOWN: call->markdown = true; break;
	case OPT_FILE: call->file = value; break;
	case OPT_HOST: call->host = value; break;
	case OPT_TABLE: call->table = value; break;
	case OPT_AS: call->as = value; break;
	case OPT_NO_OWNER: call->no_owner = true; break;
	case OPT_REVOKE: call->revoke = true; break;
	case OPT_CONFIRM: return parse_time(value, &call->confirm) ? bad_time(call, value) : 0;
	case OPT_FROM: call->from = value; break;
	case OPT_UNKNOWN: call->unknown = value; break;
	case OPT_ENCODING: return set_encoding(call, value);
	case OPT_INCLUDE:
		call->include = talloc_realloc(ctx, call->include, const char *, call->include_count + 1);
		if (!call->include)
			return -ENOMEM;
		call->include[call->include_count++] = value;
		break;
	}
	return 0;
}

static int unknown_option(const struct invocation *call, const char *argument)
{
	const char *names[OPTIONS + 1];
	for (size_t i = 0; i < OPTIONS; i++)
		names[i] = options[i].name;
	names[OPTIONS] = "--help";
	const char *near = nearest_word(argument, names, OPTIONS + 1);
	return usage_error(call, "there is no option %s%s%s%s", argument, near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
}

/* Splits the arguments into verb, options and operands.  Returns STATUS_YES, STATUS_FAILED after a message, or -ENOMEM. */
static int split(void *ctx, int count, char **arguments, struct invocation *call, unsigned *used, bool *help)
{
	bool only_operands = false;
	call->operands = talloc_array(ctx, const char *, count + 1);
	if (!call->operands)
		return -ENOMEM;
	for (int i = 1; i < count; i++) {
		const char *argument = arguments[i], *value;
		if (!only_operands && !strcmp(argument, "--")) {
			only_operands = true;
			continue;
		}
		if (!only_operands && (!strcmp(argument, "--help") || !strcmp(argument, "-h"))) {
			*help = true;
			continue;
		}
		if (only_operands || argument[0] != '-' || !argument[1]) {
			if (!call->verb)
				call->verb = argument;
			else
				call->operands[call->operand_count++] = argument;
			continue;
		}
		int option = find_option(argument, &value);
		if (option < 0)
			return unknown_option(call, argument);
		if (!options[option].value && value)
			return usage_error(call, "%s takes no value", options[option].name);
		if (options[option].value && !value && i + 1 >= count)
			return usage_error(call, "%s needs a value", argument);
		if (options[option].value && !value)
			value = arguments[++i];
		*used |= options[option].bit;
		int error = set_option(ctx, call, options[option].bit, value);
		if (error)
			return error;
	}
	return STATUS_YES;
}

static int check_options(const struct invocation *call, const struct verb *verb, unsigned used)
{
	for (size_t i = 0; i < OPTIONS; i++)
		if (used & options[i].bit & ~verb->options)
			return usage_error(call, "%s takes no %s", verb->name, options[i].name);
	if (strspn(call->table, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") != strlen(call->table) || !*call->table ||
		strlen(call->table) > 63 || strchr("0123456789-", *call->table))
		return usage_error(call, "\"%s\" cannot be the name of a table: letters, digits, _ and -, a letter first", call->table);
	if (call->host && !*call->host)
		return usage_error(call, "--host needs a name");
	return STATUS_YES;
}

static int run(void *ctx, int count, char **arguments)
{
	struct invocation call = {.table = DEFAULT_TABLE};
	unsigned used = 0;
	bool help = false;
	if (count == 2 && !strcmp(arguments[1], "--version"))
		return printf("portpolicy 0.1, language 1\n"), STATUS_YES;
	int status = split(ctx, count, arguments, &call, &used, &help);
	if (status)
		return status;
	if (!call.verb) {
		overview(help ? stdout : stderr);
		return help ? STATUS_YES : STATUS_FAILED;
	}
	if (!strcmp(call.verb, "help") && !call.operand_count)
		return overview(stdout), STATUS_YES;
	const struct verb *verb = find_verb(call.verb);
	if (!verb)
		return unknown_verb(call.verb);
	if (help)
		return fputs(verb->help, stdout), STATUS_YES;
	status = check_options(&call, verb, used);
	return status ? status : verb->run(ctx, &call);
}

/* An answer that could not be written is no answer. */
static int finish(int status)
{
	if (fflush(stdout) || ferror(stdout)) {
		complain("portpolicy: cannot write the answer: %s\n", strerror(errno));
		return STATUS_FAILED;
	}
	return status;
}

int main(int count, char **arguments)
{
	signal(SIGPIPE, SIG_IGN);
	void *ctx = talloc_new(NULL);
	int status = ctx ? run(ctx, count, arguments) : -ENOMEM;
	if (status < 0) {
		complain("portpolicy: %s\n", status == -ENOMEM ? "out of memory" : strerror(-status));
		status = STATUS_FAILED;
	}
	talloc_free(ctx);
	return finish(status);
}
