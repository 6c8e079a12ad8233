/*
 * Random iptables rules against what portpolicy makes of them: a walk over the rules, written here, and decide() on the policy
 * must agree on every packet that no untranslated line is about; and where one is, the policy must not be the laxer.
 */
#include "portpolicy/import.h"
#include "portpolicy/decision.h"
#include "tests/unit/memory.h"

#define ROUNDS 250
#define PACKETS 60
#define CHAINS 5
#define RULES 9
#define HOOKS 3

enum verdict_word { ACCEPT, DROP, REJECT, RETURN, JUMP, GOTO, COUNT };
static const char *const verdict_words[] = {"ACCEPT", "DROP", "REJECT", "RETURN"};
static const char *const interfaces[] = {"eth0", "eth1", "wg0"};
static const int protocols[] = {6, 17, 1, 47};

struct term { /* of any kind: a range of numbers, or all but it */
	bool used, negated;
	unsigned first, last;
};
struct line {
	struct term source, destination, arriving, protocol, port, source_port, second_port, owner;
	bool either_port, mark, new_only, established_only;
	bool limited, above; /* limits count as kept */
	enum verdict_word verdict;
	unsigned target, number; /* the line of the text */
};
struct ruleset_model {
	struct line lines[CHAINS][RULES]; /* the first three are INPUT, OUTPUT, FORWARD */
	size_t counts[CHAINS];
	bool drop[HOOKS];
	bool doubted[1000]; /* by line */
};
struct point {
	unsigned hook, source, destination, arriving, protocol, port, source_port, owner; /* owner 99: no process */
};

static unsigned below(unsigned *seed, unsigned most)
{
	return (unsigned)rand_r(seed) % most;
}

static struct term random_term(unsigned *seed, unsigned percent, unsigned values, bool aligned)
{
	struct term term = {.used = below(seed, 100) < percent, .negated = below(seed, 100) < 20};
	if (aligned) { /* a network */
		unsigned size = 1u << below(seed, 4);
		term.first = below(seed, values) / size * size;
		term.last = term.first + size - 1;
	} else {
		term.first = below(seed, values);
		term.last = term.first + below(seed, 3);
		term.last = term.last < values ? term.last : values - 1;
	}
	return term;
}

static bool holds(const struct term *term, unsigned value)
{
	return !term->used || (value >= term->first && value <= term->last) != term->negated;
}

static struct line random_line(unsigned *seed, unsigned chain)
{
	struct line line = {.source = random_term(seed, 45, 16, true),
		.destination = random_term(seed, 25, 16, true),
		.arriving = random_term(seed, chain == 1 ? 0 : 15, 3, false),
		.protocol = random_term(seed, 65, 4, false)};
	line.arriving.last = line.arriving.first;
	line.protocol.last = line.protocol.first;
	line.protocol.negated &= below(seed, 3) == 0;
	if (line.protocol.used && !line.protocol.negated && line.protocol.first < 2) {
		line.port = random_term(seed, 50, 8, false);
		line.source_port = random_term(seed, 12, 8, false);
		line.either_port = line.port.used && !line.port.negated && !line.source_port.used && below(seed, 6) == 0;
		line.second_port = random_term(seed, line.port.used && !line.either_port ? 25 : 0, 8, false);
	}
	line.owner = random_term(seed, chain == 1 ? 15 : 0, 3, false);
	line.owner.last = line.owner.first;
	line.mark = below(seed, 100) < 3;
	line.new_only = below(seed, 100) < 10;
	line.established_only = !line.new_only && below(seed, 100) < 5;
	unsigned choice = below(seed, 100);
	line.verdict = choice < 45   ? ACCEPT
		       : choice < 65 ? DROP
		       : choice < 72 ? REJECT
		       : choice < 80 ? RETURN
		       : choice < 92 ? JUMP
		       : choice < 97 ? GOTO
				     : COUNT;
	line.target = chain < HOOKS ? HOOKS + below(seed, CHAINS - HOOKS) : chain + 1;
	line.limited = line.verdict == ACCEPT && below(seed, 100) < 8;
	line.above = line.verdict == DROP && below(seed, 100) < 8;
	if (line.target >= CHAINS && (line.verdict == JUMP || line.verdict == GOTO))
		line.verdict = ACCEPT;
	return line;
}

static const char *chain_name(unsigned chain)
{
	static const char *const names[] = {"INPUT", "OUTPUT", "FORWARD", "one", "two"};
	return names[chain];
}

static char *network_text(char *text, const char *option, const struct term *term)
{
	unsigned length = 32;
	for (unsigned size = term->last - term->first + 1; size > 1; size /= 2)
		length--;
	return talloc_asprintf_append(text, "%s %s 10.0.0.%u/%u", term->negated ? " !" : "", option, term->first, length);
}

static char *ports_text(char *text, const struct line *line)
{
	const char *name = line->protocol.first == 0 ? "tcp" : "udp";
	if (line->port.used && line->second_port.used && line->port.negated == line->second_port.negated)
		text = talloc_asprintf_append(text, " -m multiport%s --dports %u:%u,%u:%u", line->port.negated ? " !" : "",
			20 + line->port.first, 20 + line->port.last, 20 + line->second_port.first, 20 + line->second_port.last);
	else if (line->port.used)
		text = talloc_asprintf_append(text,
			line->either_port ? " -m multiport%.0s%s --ports %u:%u" : " -m %s%s --dport %u:%u", name,
			line->port.negated ? " !" : "", 20 + line->port.first, 20 + line->port.last);
	if (line->source_port.used)
		text = talloc_asprintf_append(text, " -m %s%s --sport %u:%u", name, line->source_port.negated ? " !" : "",
			20 + line->source_port.first, 20 + line->source_port.last);
	return text;
}

static char *line_text(char *text, unsigned chain, const struct line *line)
{
	text = talloc_asprintf_append(text, "-A %s", chain_name(chain));
	if (line->source.used)
		text = network_text(text, "-s", &line->source);
	if (line->destination.used)
		text = network_text(text, "-d", &line->destination);
	if (line->arriving.used)
		text = talloc_asprintf_append(
			text, "%s -i %s", line->arriving.negated ? " !" : "", interfaces[line->arriving.first]);
	if (line->protocol.used)
		text = talloc_asprintf_append(
			text, "%s -p %d", line->protocol.negated ? " !" : "", protocols[line->protocol.first]);
	text = ports_text(text, line);
	if (line->owner.used)
		text = talloc_asprintf_append(
			text, " -m owner%s --uid-owner %u", line->owner.negated ? " !" : "", line->owner.first);
	if (line->mark)
		text = talloc_strdup_append(text, " -m mark --mark 0x1");
	if (line->new_only || line->established_only)
		text = talloc_asprintf_append(text, " -m conntrack --ctstate %s", line->new_only ? "NEW" : "RELATED,ESTABLISHED");
	if (line->limited || line->above)
		text = talloc_strdup_append(
			text, line->limited ? " -m limit --limit 5/sec"
					    : " -m hashlimit --hashlimit-above 5/sec --hashlimit-mode srcip --hashlimit-name x");
	if (line->verdict == COUNT)
		return talloc_strdup_append(text, "\n");
	bool jumps = line->verdict == JUMP || line->verdict == GOTO;
	return talloc_asprintf_append(text, " %s %s\n", line->verdict == GOTO ? "-g" : "-j",
		jumps ? chain_name(line->target) : verdict_words[line->verdict]);
}

static char *model_text(void *ctx, struct ruleset_model *model)
{
	char *text = talloc_strdup(ctx, "*filter\n");
	unsigned number = 2 + CHAINS;
	for (unsigned hook = 0; hook < HOOKS; hook++)
		text = talloc_asprintf_append(text, ":%s %s [0:0]\n", chain_name(hook), model->drop[hook] ? "DROP" : "ACCEPT");
	for (unsigned chain = HOOKS; chain < CHAINS; chain++)
		text = talloc_asprintf_append(text, ":%s - [0:0]\n", chain_name(chain));
	for (unsigned chain = 0; chain < CHAINS; chain++)
		for (size_t i = 0; i < model->counts[chain]; i++) {
			model->lines[chain][i].number = number++;
			text = line_text(text, chain, &model->lines[chain][i]);
		}
	return talloc_strdup_append(text, "COMMIT\n");
}

static bool ports_hold(const struct line *line, const struct point *point)
{
	if (line->either_port)
		return holds(&line->port, point->port) || holds(&line->port, point->source_port);
	/* Of a multiport with a negation none may match, of one without it any. */
	bool two = line->port.used && line->second_port.used && line->port.negated == line->second_port.negated,
	     port = holds(&line->port, point->port);
	if (two)
		port = line->port.negated ? port && holds(&line->second_port, point->port)
					  : port || holds(&line->second_port, point->port);
	return port && holds(&line->source_port, point->source_port);
}

static bool line_holds(const struct line *line, const struct point *point)
{
	return holds(&line->source, point->source) && holds(&line->destination, point->destination) &&
	       holds(&line->arriving, point->arriving) && holds(&line->protocol, point->protocol) && ports_hold(line, point) &&
	       holds(&line->owner, point->owner) && !line->established_only;
}

/* Bits 1 << verdict; RETURN: the end of the chain.  With bit 16, a doubted line was met. */
static unsigned walk(const struct ruleset_model *model, unsigned chain, const struct point *point)
{
	unsigned found = 0;
	for (size_t i = 0; i < model->counts[chain]; i++) {
		const struct line *line = &model->lines[chain][i];
		bool doubted = model->doubted[line->number];
		if (line->verdict == COUNT || (line->above && !doubted) || !line_holds(line, point))
			continue;
		bool jumps = line->verdict == JUMP || line->verdict == GOTO;
		unsigned here = jumps ? walk(model, line->target, point) : 1u << line->verdict;
		found |= (doubted ? 1u << 16 : 0) | (line->verdict == JUMP ? here & ~(1u << RETURN) : here);
		if (!doubted && !(line->verdict == JUMP && here & 1u << RETURN))
			return found;
	}
	return found | 1u << RETURN;
}

static unsigned judge(const struct ruleset_model *model, const struct point *point)
{
	unsigned found = walk(model, point->hook, point);
	if (found & 1u << RETURN)
		found = (found & ~(1u << RETURN)) | 1u << (model->drop[point->hook] ? DROP : ACCEPT);
	return found;
}

static struct ruleset_model random_model(unsigned *seed)
{
	struct ruleset_model model = {0};
	for (unsigned chain = 0; chain < CHAINS; chain++) {
		model.counts[chain] = below(seed, RULES + 1);
		for (size_t i = 0; i < model.counts[chain]; i++)
			model.lines[chain][i] = random_line(seed, chain);
	}
	for (unsigned hook = 0; hook < HOOKS; hook++)
		model.drop[hook] = below(seed, 3) != 0;
	return model;
}

static struct point random_point(unsigned *seed)
{
	struct point point = {.hook = below(seed, HOOKS),
		.source = below(seed, 16),
		.destination = below(seed, 16),
		.protocol = below(seed, 4),
		.port = below(seed, 9),
		.source_port = below(seed, 9)};
	point.arriving = point.hook == 1 ? 99 : below(seed, 3);
	point.owner = point.hook == 1 && below(seed, 4) ? below(seed, 4) : 99;
	return point;
}

static enum verdict ask(const struct world *world, const struct decision *decision, const struct point *point)
{
	static const char *const words[] = {"in", "out", "forward"};
	void *ctx = talloc_new(NULL);
	char *text = talloc_asprintf(ctx, "%s ", words[point->hook]);
	if (point->protocol < 2)
		text = talloc_asprintf_append(
			text, "%s/%u source port %u", point->protocol ? "udp" : "tcp", 20 + point->port, 20 + point->source_port);
	else
		text = talloc_strdup_append(text, point->protocol == 2 ? "icmp/8" : "gre");
	text = talloc_asprintf_append(text, " from 10.0.0.%u to 10.0.0.%u", point->source, point->destination);
	if (point->hook == 1)
		text = point->owner == 99 ? talloc_strdup_append(text, " on eth0")
					  : talloc_asprintf_append(text, " on eth0 by user %u", point->owner);
	else
		text = talloc_asprintf_append(
			text, point->hook ? " arriving on %s leaving on eth7" : " on %s", interfaces[point->arriving]);
	struct source *source;
	struct match_node *node;
	struct match match;
	struct answer answers[4];
	struct diagnostics *diagnostics = diagnostics_new(ctx);
	size_t count;
	assert_int_equal(source_new(ctx, "<argument>", text, strlen(text), false, &source), 0);
	assert_int_equal(parse_question(ctx, source, diagnostics, &node), 0);
	assert_int_equal(policy_question(ctx, world->policy, &world->environment, node, diagnostics, &match), 0);
	assert_int_equal(decide(ctx, decision, &match, BUDGET_DEFAULT, answers, &count), 0);
	enum verdict verdict = answers[0].verdict;
	/* Asked of no process in particular, an answer that turns on the process is none. */
	if (point->hook == 1 && point->owner == 99 && count > 1)
		verdict = VERDICT_UNMANAGED;
	else
		assert_int_equal(count, 1);
	talloc_free(ctx);
	return verdict;
}

static void check_point(const struct world *world, const struct decision *decision, const struct ruleset_model *model,
	const struct point *point, const char *text, const char *policy)
{
	static const unsigned bits[] = {1u << ACCEPT, 1u << DROP, 1u << REJECT};
	unsigned found = judge(model, point);
	enum verdict verdict = ask(world, decision, point);
	if (verdict == VERDICT_UNMANAGED)
		return;
	bool doubted = found & 1u << 16, lax = verdict == VERDICT_ALLOW && found & (1u << DROP | 1u << REJECT);
	if (doubted ? !lax : found == bits[verdict])
		return;
	fail_msg("hook %u source %u destination %u arriving %u protocol %u port %u source port %u owner %u: verdict %u, the "
		 "rules say %x\n%s\n%s",
		point->hook, point->source, point->destination, point->arriving, point->protocol, point->port, point->source_port,
		point->owner, verdict, found, text, policy);
}

static struct imported *import(void *ctx, const char *text)
{
	struct source *source;
	struct imported *imported = NULL;
	const char *problem = NULL;
	assert_int_equal(source_new(ctx, "host.rules", text, strlen(text), false, &source), 0);
	const struct foreign_input input = {source, FOREIGN_IPTABLES};
	if (import_policy(ctx, &input, 1, (struct import_options){0}, diagnostics_new(ctx), &imported, &problem))
		fail_msg("%s\n%s", problem ? problem : "not imported", text);
	return imported;
}

static void check_round(unsigned seed, size_t *certain)
{
	void *ctx = talloc_new(NULL);
	struct ruleset_model model = random_model(&seed);
	char *text = model_text(ctx, &model);
	struct imported *imported = import(ctx, text);
	for (size_t i = 0; i < imported->remark_count; i++)
		model.doubted[imported->remarks[i].line] |= imported->remarks[i].fate == FATE_UNTRANSLATED;
	for (unsigned chain = 0; chain < CHAINS; chain++)
		for (size_t i = 0; i < model.counts[chain]; i++)
			assert_true(!model.lines[chain][i].mark || model.lines[chain][i].verdict == COUNT ||
				    imported->fates[FATE_UNTRANSLATED] || imported->fates[FATE_NO_EFFECT] ||
				    imported->fates[FATE_BUILT_IN]);
	LOAD_TEXT(world, imported->policy);
	struct decision *decision;
	if (world.outcome)
		show(&world);
	assert_int_equal(world.outcome, 0);
	assert_int_equal(decision_new(ctx, world.policy, &decision), 0);
	for (int i = 0; i < PACKETS; i++) {
		struct point point = random_point(&seed);
		check_point(&world, decision, &model, &point, text, imported->policy);
		*certain += !(judge(&model, &point) & 1u << 16);
	}
	talloc_free(world.ctx);
	talloc_free(ctx);
}

static void packets_agree(void **state)
{
	size_t certain = 0;
	(void)state;
	for (unsigned seed = 1; seed <= ROUNDS; seed++)
		check_round(seed, &certain);
	/* Most packets meet no line that was left out: else the test would show little. */
	assert_true(certain > ROUNDS * PACKETS * 8 / 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(packets_agree)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
