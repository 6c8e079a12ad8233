/*
 * What becomes of a packet that a line matches: counted at that line, logged if a line of its verdict says so, and its fate.
 *
 * Without a log or a limit this is the end of the rule itself. A limit needs a chain, because going over it sends the packet on
 * to the next line; and all ways of one line share the one limit. A log needs one, because what is suppressed is counted.
 */
#include "dsl/ruleset/lowering.h"
#include <errno.h>
#include <string.h>
#include <talloc.h>

#define LOGS_PER_SECOND 10
#define PREFIX_MAX 127	/* NF_LOG_PREFIXLEN is 128 with its NUL */
#define COMMENT_MAX 128 /* NFTNL_UDATA_COMMENT_MAXLEN */
#define SOURCES_MAX 65535
#define SOURCE_MASK_V6 (~(u128)0 << 64)
#define TCP_FLAGS 0x17 /* FIN, SYN, RST, ACK */
#define TCP_SYN 0x02

static const char *const action_names[] = {"allow", "deny", "reject"};

static bool audits(const struct lowering *lowering, enum direction direction)
{
	return lowering->policy->directions[direction].mode == MODE_AUDIT;
}

static int reject_chain(struct lowering *lowering, const char **name)
{
	struct rules rules = {0};
	struct phrase reset = {0}, drop_tcp = {0}, prohibited = {0}, drop = {0};
	say_value(&reset, KEY_L4PROTO, PROTOCOL_TCP);
	say_bits(&reset, KEY_TCP_FLAGS, TCP_FLAGS, TCP_SYN);
	say(&reset, (struct step){.kind = STEP_REJECT, .tcp_reset = true});
	say_value(&drop_tcp, KEY_L4PROTO, PROTOCOL_TCP);
	say_verdict(&drop_tcp, NFT_VERDICT_DROP, NULL);
	say(&prohibited, (struct step){.kind = STEP_REJECT});
	say_verdict(&drop, NFT_VERDICT_DROP, NULL);
	const struct phrase *const phrases[] = {&reset, &drop_tcp, &prohibited, &drop};
	for (int i = 0; i < 4; i++)
		if (rules_add(lowering, &rules, phrases[i]))
			return -ENOMEM;
	return chain_add(lowering, "reject", &rules, name);
}

int say_action(struct lowering *lowering, struct phrase *phrase, enum direction direction, enum action action)
{
	const char *chain;
	if (action == ACTION_ALLOW || audits(lowering, direction)) {
		say_verdict(phrase, NFT_VERDICT_ACCEPT, NULL);
		return 0;
	}
	if (action == ACTION_DENY) {
		say_verdict(phrase, NFT_VERDICT_DROP, NULL);
		return 0;
	}
	int error = reject_chain(lowering, &chain);
	if (!error)
		say_verdict(phrase, NFT_VERDICT_GOTO, chain);
	return error;
}

void cut_text(char *text, size_t bytes)
{
	if (strlen(text) <= bytes)
		return;
	while (bytes && ((unsigned char)text[bytes] & 0xc0) == 0x80)
		bytes--;
	text[bytes] = 0;
}

/* "portpolicy in deny 0123456789ab text": what reads the log finds the line by the id. nft would take a `$` in it for a variable
 * of its own. */
static char *log_prefix(struct lowering *lowering, enum direction direction, enum action action, const char *id, const char *text)
{
	char *prefix = talloc_asprintf(lowering->ctx, "portpolicy %s %s%s %s%s%s ", direction_names[direction],
		action != ACTION_ALLOW && audits(lowering, direction) ? "audit-" : "", action_names[action], id, text ? " " : "",
		text ? text : "");
	if (prefix)
		cut_text(prefix, PREFIX_MAX);
	for (char *at = prefix; at && *at; at++)
		*at = *at == '$' ? '_' : *at;
	return prefix;
}

/* At most so many a second of one line; the others are counted. */
static int log_chain(struct lowering *lowering, const struct span *origin, char *prefix, const char *id, const char **name)
{
	struct rules rules = {.origin = origin};
	struct phrase log = {0}, suppressed = {0};
	const char *counter;
	if (!prefix || counter_add(lowering, origin, &counter, "suppressed-", id))
		return -ENOMEM;
	say(&log, (struct step){.kind = STEP_LIMIT, .rate = LOGS_PER_SECOND, .seconds = 1, .burst = LOGS_PER_SECOND});
	say(&log, (struct step){.kind = STEP_LOG, .group = LOG_GROUP, .prefix = prefix});
	say_verdict(&log, NFT_VERDICT_RETURN, NULL);
	say_counter(&suppressed, counter);
	int error = rules_add(lowering, &rules, &log);
	error = error ? error : rules_add(lowering, &rules, &suppressed);
	return error ? error : chain_add(lowering, "log", &rules, name);
}

/* In audit mode everything that would not pass is logged. */
bool rule_logs(const struct lowering *lowering, const struct rule *rule)
{
	return rule->log || (rule->action != ACTION_ALLOW && audits(lowering, rule->match.direction));
}

static int rule_log(struct lowering *lowering, const struct rule *rule, const char **name)
{
	char *prefix = log_prefix(
		lowering, rule->match.direction, rule->action, rule->id, rule->log_text ? rule->log_text : rule->reason);
	return log_chain(lowering, &rule->span, prefix, rule->id, name);
}

static const struct interfaces *own_side(const struct rule *rule)
{
	return rule->match.direction == DIRECTION_IN ? &rule->match.arriving : &rule->match.leaving;
}

bool rule_in_group(const struct rule *rule, const struct group *group)
{
	return rule->match.direction == group->direction && rule->action == group->action &&
	       (!group->loopback || own_side(rule)->names_loopback);
}

/* A limit is asked once, where its line decides; lines with one do not log for others. */
static bool logs_for_others(const struct lowering *lowering, const struct rule *rule, const struct group *group)
{
	return rule_in_group(rule, group) && rule_logs(lowering, rule) && !rule->limit && !rule->above;
}

static int add_logs(struct lowering *lowering, const struct group *group, enum sender sender, struct rules *rules)
{
	int error = 0;
	for (size_t i = 0; i < lowering->policy->rule_count && !error; i++) {
		const struct rule *rule = &lowering->policy->rules[i];
		struct phrase ending = {0};
		struct ways ways;
		const char *log;
		if (!logs_for_others(lowering, rule, group))
			continue;
		rules->origin = &rule->span;
		error = rule_log(lowering, rule, &log);
		say_verdict(&ending, NFT_VERDICT_GOTO, log);
		error = error ? error : match_ways(lowering, rule, (struct view){group->loopback, sender}, &ways);
		error = error ? error : ways_rules(lowering, rules, &ways, &ending, NFT_VERDICT_JUMP);
		talloc_free_children(lowering->work);
	}
	return error;
}

/*
 * Out of a chain behind a way there is no leaving this one as well, and the next line would log the packet once more. So packets
 * of a process have a chain of their own, where `by any except` needs none: whoever sent them, it can be asked and denied in one
 * rule.
 */
static int add_process_logs(struct lowering *lowering, const struct group *group, struct rules *rules)
{
	struct rules processes = {0};
	struct phrase phrase = {0};
	const char *chain;
	int error = add_logs(lowering, group, SENDER_PROCESS, &processes);
	if (error || !processes.count)
		return error;
	error = chain_add(lowering, "logs", &processes, &chain);
	say(&phrase, (struct step){.kind = STEP_COMPARE, .keys = {KEY_SKUID}, .key_count = 1, .first = NO_USER, .negated = true});
	say_verdict(&phrase, NFT_VERDICT_GOTO, chain);
	return error ? error : rules_add(lowering, rules, &phrase);
}

int logs_chain(struct lowering *lowering, const struct group *group, const char **name)
{
	struct rules rules = {0};
	bool silent = false, except = false; /* does a line of the group need another to log for it? */
	*name = NULL;
	for (size_t i = 0; i < lowering->policy->rule_count; i++) {
		const struct rule *rule = &lowering->policy->rules[i];
		silent |= rule_in_group(rule, group) && !rule_logs(lowering, rule);
		except |= logs_for_others(lowering, rule, group) && rule->match.by.except;
	}
	if (!silent)
		return 0;
	int error = except ? add_process_logs(lowering, group, &rules) : 0;
	error = error ? error : add_logs(lowering, group, except ? SENDER_KERNEL : SENDER_ANY, &rules);
	return error || !rules.count ? error : chain_add(lowering, "logs", &rules, name);
}

const char *line_comment(struct lowering *lowering, const char *text)
{
	char *comment = talloc_strdup(lowering->ctx, text);
	if (comment)
		cut_text(comment, COMMENT_MAX);
	for (char *at = comment; at && *at; at++)
		*at = *at == '"' ? '\'' : *at;
	return comment;
}

/* Logs, then decides: for lines that do not log themselves. */
static int decided_chain(struct lowering *lowering, const struct rule *rule, const char *log, const char **name)
{
	struct rules rules = {0};
	struct phrase first = {0}, last = {0};
	say_verdict(&first, NFT_VERDICT_JUMP, log);
	int error = say_action(lowering, &last, rule->match.direction, rule->action);
	error = error ? error : rules_add(lowering, &rules, &first);
	error = error ? error : rules_add(lowering, &rules, &last);
	return error ? error : chain_add(lowering, "decided", &rules, name);
}

static int logging_chain(struct lowering *lowering, const struct rule *rule, const char *counter, const char **name)
{
	struct rules rules = {.origin = &rule->span};
	struct phrase first = {0}, last = {0};
	const char *log;
	int error = rule_log(lowering, rule, &log);
	say_counter(&first, counter);
	say_verdict(&first, NFT_VERDICT_JUMP, log);
	error = error ? error : say_action(lowering, &last, rule->match.direction, rule->action);
	error = error ? error : rules_add(lowering, &rules, &first);
	error = error ? error : rules_add(lowering, &rules, &last);
	return error ? error : chain_add(lowering, "line", &rules, name);
}

int rule_ending(struct lowering *lowering, const struct rule *rule, const char *others_log, struct phrase *out)
{
	const char *counter, *chain;
	int error = counter_add(lowering, &rule->span, &counter, "hit-", rule->id);
	if (error)
		return error;
	if (!rule_logs(lowering, rule)) {
		say_counter(out, counter);
		if (!others_log)
			return say_action(lowering, out, rule->match.direction, rule->action);
		error = decided_chain(lowering, rule, others_log, &chain);
	} else {
		error = logging_chain(lowering, rule, counter, &chain);
	}
	say_verdict(out, NFT_VERDICT_GOTO, chain);
	return error;
}

/* A source is remembered until its bucket is full again: forgetting it sooner would fill it at once. */
static uint64_t forget_after(const struct rate *rate)
{
	uint64_t refill = rate->burst * rate->seconds / rate->count + 1;
	return refill < 60 ? 60000 : refill * 1000;
}

static int add_meter(struct lowering *lowering, const struct rule *rule, const struct rate *rate, bool v6, struct phrase *phrase)
{
	const char *name = talloc_asprintf(lowering->ctx, "meter-%s-%s", rule->id, v6 ? "v6" : "v4");
	enum key key = v6 ? KEY_IP6_SADDR : KEY_IP_SADDR;
	if (!name)
		return -ENOMEM;
	say_value(phrase, KEY_NFPROTO, v6 ? 10 : 2);
	say(phrase, (struct step){.kind = STEP_METER,
			    .keys = {key},
			    .key_count = 1,
			    .mask = v6 ? SOURCE_MASK_V6 : 0,
			    .object = name,
			    .rate = rate->count,
			    .seconds = rate->seconds,
			    .burst = rate->burst});
	return set_add(lowering, &(struct set){.name = name,
					 .kind = SET_METER,
					 .keys = {key},
					 .key_count = 1,
					 .size = SOURCES_MAX,
					 .timeout_ms = forget_after(rate),
					 .origin = &rule->span});
}

/* Rules that go on with `ending` for a packet within the rate. */
static int within_rate(struct lowering *lowering, const struct rule *rule, const struct rate *rate, const struct phrase *ending,
	struct rules *rules)
{
	for (int way = 0; way < (rate->per_source ? 2 : 1); way++) {
		struct phrase phrase = {0};
		if (!rate->per_source)
			say(&phrase,
				(struct step){
					.kind = STEP_LIMIT, .rate = rate->count, .seconds = rate->seconds, .burst = rate->burst});
		else if (add_meter(lowering, rule, rate, way == 1, &phrase))
			return -ENOMEM;
		for (size_t i = 0; i < ending->count; i++)
			say(&phrase, ending->steps[i]);
		if (rules_add(lowering, rules, &phrase))
			return -ENOMEM;
	}
	return 0;
}

/* Of an allow: the decision within the limit. Of a deny: back within the rate, the decision above it, and where no room is left
 * for the source. */
static int limit_chain(struct lowering *lowering, const struct rule *rule, const struct phrase *decision, const char **name)
{
	struct rules rules = {.origin = &rule->span};
	struct phrase back = {0};
	int error;
	if (rule->limit) {
		error = within_rate(lowering, rule, rule->limit, decision, &rules);
	} else {
		say_verdict(&back, NFT_VERDICT_RETURN, NULL);
		error = within_rate(lowering, rule, rule->above, &back, &rules);
		error = error ? error : rules_add(lowering, &rules, decision);
	}
	return error ? error : chain_add(lowering, "limit", &rules, name);
}

/* The ways in a chain of their own, left together by `goto`, so that a limit is asked once a packet. */
static int limited_rules(struct lowering *lowering, const struct rule *rule, const struct ways *ways,
	const struct phrase *decision, struct rules *rules)
{
	struct rules inner = {.origin = rules->origin};
	struct phrase enter = {0}, jump = {0};
	const char *limit, *chain;
	int error = limit_chain(lowering, rule, decision, &limit);
	if (error)
		return error;
	say_verdict(&enter, NFT_VERDICT_GOTO, limit);
	error = ways_rules(lowering, &inner, ways, &enter, NFT_VERDICT_GOTO);
	error = error ? error : chain_add(lowering, "limited", &inner, &chain);
	say_verdict(&jump, NFT_VERDICT_JUMP, chain);
	return error ? error : rules_add(lowering, rules, &jump);
}

int rule_lower(struct lowering *lowering, const struct rule *rule, const struct group *group, const char *others_log,
	struct rules *rules)
{
	struct phrase decision = {0};
	struct ways ways;
	int error = match_ways(lowering, rule, (struct view){group->loopback, SENDER_ANY}, &ways);
	if (error || !ways.count)
		return error;
	rules->origin = &rule->span;
	rules->comment = line_comment(lowering, rule->text);
	error = rules->comment ? rule_ending(lowering, rule, others_log, &decision) : -ENOMEM;
	if (!error && (rule->limit || rule->above))
		error = limited_rules(lowering, rule, &ways, &decision, rules);
	else if (!error)
		error = ways_rules(lowering, rules, &ways, &decision, NFT_VERDICT_JUMP);
	rules->comment = NULL;
	talloc_free_children(lowering->work);
	return error;
}

int default_lower(struct lowering *lowering, enum direction direction, struct rules *rules)
{
	const struct direction_policy *line = &lowering->policy->directions[direction];
	struct phrase first = {0}, last = {0};
	const char *counter, *log;
	rules->origin = &line->span;
	rules->comment = line_comment(lowering, line->text);
	int error = rules->comment ? counter_add(lowering, &line->span, &counter, "hit-", line->id) : -ENOMEM;
	if (error)
		return error;
	say_counter(&first, counter);
	if (line->log || (line->action != ACTION_ALLOW && audits(lowering, direction))) {
		error = log_chain(lowering, &line->span, log_prefix(lowering, direction, line->action, line->id, line->log_text),
			line->id, &log);
		say_verdict(&first, NFT_VERDICT_JUMP, log);
	}
	error = error ? error : rules_add(lowering, rules, &first);
	error = error ? error : say_action(lowering, &last, direction, line->action);
	error = error ? error : rules_add(lowering, rules, &last);
	rules->comment = NULL;
	return error;
}
