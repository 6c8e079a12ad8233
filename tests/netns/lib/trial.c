/*
 * A trial: the same policy in the kernel, in portpolicy's decision, and in the naive evaluator; the same packets to all three.
 *
 * Beyond each verdict it is compared which line decided: every line's counter in the kernel must have counted exactly the packets
 * that the decision gives to it.
 */
#include "tests/netns/lib/trial.h"
#include "agent/cli/cli.h"
#include "portpolicy/decision.h"
#include "portpolicy/kernel.h"
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <talloc.h>
#include <unistd.h>

#define TABLE "portpolicy"
#define REPORT_LINES 12

struct policy_in_force {
	struct policy *policy;
	struct decision *decision;
	struct kernel *kernel;
	struct ruleset *wanted;
	enum encoding encoding;
	uint64_t *hits;                    /* expected, a rule */
	uint64_t default_hits[DIRECTIONS]; /* expected */
};

static void complain_of(struct trial *trial, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void complain_of(struct trial *trial, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	trial->failed = true;
	if (strlen(trial->report) < REPORT_LINES * 160)
		trial->report = talloc_vasprintf_append(trial->report, format, arguments);
	va_end(arguments);
}

static void complain_of_diagnostics(struct trial *trial, const char *when, const struct diagnostics *diagnostics)
{
	char *text;
	size_t length;
	FILE *stream = open_memstream(&text, &length);
	if (!stream)
		return;
	for (const struct diagnostic *one = diagnostics->first; one; one = one->next)
		if (one->severity == SEVERITY_ERROR)
			diagnostic_print(stream, one, false);
	fclose(stream);
	complain_of(trial, "%s:\n%s", when, text);
	free(text);
}

static int write_policy(const struct laboratory *laboratory, const struct model *model, char *path, size_t size)
{
	snprintf(path, size, "%s/random.policy", laboratory->directory);
	FILE *stream = fopen(path, "we");
	if (!stream)
		return -errno;
	model_print(stream, model);
	int error = fclose(stream) ? -errno : 0;
	return error ?: model_write_lists(model, laboratory->directory);
}

static int load(void *ctx, const char *path, struct policy_in_force *force, struct trial *trial)
{
	struct invocation call = {.verb = "check", .table = TABLE, .host = "random-host"};
	struct diagnostics *diagnostics = diagnostics_new(ctx);
	struct world *world;
	int error = world_new(ctx, &call, path, false, &world);
	if (error)
		return error;
	error = policy_load(ctx, path, world_environment(world), diagnostics, &force->policy);
	if (error == 1) {
		complain_of_diagnostics(trial, "policy_load refuses a right policy", diagnostics);
		return 0;
	}
	error = error ?: policy_lower_as(ctx, force->policy, TABLE, force->encoding, diagnostics, &force->wanted);
	if (error == 1)
		complain_of_diagnostics(trial, "policy_lower refuses a policy", diagnostics);
	return error < 0 ? error : decision_new(ctx, force->policy, &force->decision);
}

static int install(void *ctx, struct policy_in_force *force, const struct ruleset *wanted, size_t *changed, struct trial *trial)
{
	struct changes *applied = NULL;
	struct refusal refusal = {0};
	const char *problem = NULL;
	int status = kernel_install(ctx, force->kernel, TABLE, wanted, &applied, &refusal, &problem);
	if (status)
		complain_of(trial, "kernel_install: %d, refusal %s, change kind %d, problem %s\n", status, strerror(refusal.error),
			refusal.change ? (int)refusal.change->kind : -1, problem ? problem : "none");
	*changed = applied ? applied->count : 0;
	return 0;
}

/* What nft says of our text: it must take it, too. */
static void read_with_nft(void *ctx, const struct laboratory *laboratory, const struct policy_in_force *force, struct trial *trial)
{
	char command[256], path[128];
	char *text = ruleset_text(ctx, force->wanted);
	snprintf(path, sizeof(path), "%s/ruleset.nft", laboratory->directory);
	snprintf(command, sizeof(command), "nft -c -f %s >%s/nft.err 2>&1", path, laboratory->directory);
	FILE *stream = fopen(path, "we");
	if (!stream || !text)
		return;
	fputs(text, stream);
	fclose(stream);
	if (system(command))
		complain_of(trial, "nft does not take the text of the ruleset; see %s and nft.err beside it\n", path);
}

/* Each point as a set of one: what explain does with a question. */
static struct intervals one(void *ctx, u128 value)
{
	struct intervals set = {0};
	if (intervals_single(ctx, value, value, &set))
		abort();
	return set;
}

static void point_traffic(void *ctx, const struct probe *probe, struct traffic *traffic)
{
	if (probe->protocol == 6)
		traffic->tcp = one(ctx, probe->service);
	else if (probe->protocol == 17)
		traffic->udp = one(ctx, probe->service);
	else if (probe->protocol == 132)
		traffic->sctp = one(ctx, probe->service);
	else if (probe->protocol == 1 && probe->family == 4)
		traffic->icmp = one(ctx, probe->service);
	else if (probe->protocol == 58 && probe->family == 6)
		traffic->icmpv6 = one(ctx, probe->service);
	else
		traffic->others = one(ctx, (u128)probe->protocol);
}

static struct addresses point_address(void *ctx, int family, u128 number)
{
	struct address_term *term = talloc_zero(ctx, struct address_term);
	if (!term)
		abort();
	term->of[family == 4 ? FAMILY_IPV4 : FAMILY_IPV6] = one(ctx, number);
	return (struct addresses){term, 1};
}

static struct interfaces point_interface(void *ctx, int index)
{
	if (index < 0)
		return (struct interfaces){.any = true};
	struct interface_pattern *pattern = talloc_zero(ctx, struct interface_pattern);
	if (!pattern)
		abort();
	pattern->name = interface_names[index];
	return (struct interfaces){.in = pattern, .in_count = 1, .names_loopback = index == LOOPBACK};
}

static struct match point(void *ctx, const struct probe *probe)
{
	static const struct interval all_ports = {0, 65535};
	bool ported = probe->protocol == 6 || probe->protocol == 17 || probe->protocol == 132;
	struct match match = {.direction = probe->way == WAY_IN ? DIRECTION_IN : probe->way == WAY_OUT ? DIRECTION_OUT : DIRECTION_FORWARD};
	point_traffic(ctx, probe, &match.traffic);
	match.arriving = point_interface(ctx, probe->arriving);
	match.leaving = point_interface(ctx, probe->leaving);
	match.interface_named = true;
	match.from = point_address(ctx, probe->family, probe->source);
	match.to = point_address(ctx, probe->family, probe->destination);
	match.source_ports = ported ? one(ctx, probe->source_port) : (struct intervals){&all_ports, 1};
	match.source_port_named = ported;
	match.by.any = probe->way != WAY_OUT;
	if (probe->way == WAY_OUT) {
		match.by.one_process = true;
		match.by.users = one(ctx, probe->uid);
		match.by.groups = one(ctx, probe->gid);
	}
	return match;
}

static const char *const strictness_words[] = {"allow", "reject", "deny"};

static enum strictness strictness_of(enum verdict verdict)
{
	return verdict == VERDICT_DENY ? DENY : verdict == VERDICT_REJECT ? REJECT : ALLOW;
}

static void describe(struct trial *trial, const char *what, const struct probe *probe, const struct naive *naive, const struct answer *answer,
	const struct observation *seen)
{
	char *text;
	size_t length;
	FILE *stream = open_memstream(&text, &length);
	if (!stream)
		abort();
	probe_print(stream, probe);
	fclose(stream);
	complain_of(trial, "%s: %s    naive: %s (%s %zu); decide: %s (%s); kernel: %s%s%s\n", what, text, strictness_words[naive->verdict],
		naive->decider == DECIDED_BY_RULE ? "rule" : naive->decider == DECIDED_BY_DEFAULT ? "default" : "builtin",
		naive->decider == DECIDED_BY_RULE ? naive->rule : 0, answer ? strictness_words[strictness_of(answer->verdict)] : "no answer",
		answer && answer->because.kind == BECAUSE_RULE ? answer->because.rule->text : "no rule", seen->late ? "passed" : "stopped",
		seen->answered ? ", answered" : "", seen->invalid ? ", invalid" : "");
	free(text);
}

static bool same_reason(const struct policy_in_force *force, const struct naive *naive, const struct answer *answer)
{
	switch (answer->because.kind) {
	case BECAUSE_RULE:
		return naive->decider == DECIDED_BY_RULE && answer->because.rule == &force->policy->rules[naive->rule];
	case BECAUSE_DEFAULT:
		return naive->decider == DECIDED_BY_DEFAULT;
	case BECAUSE_BUILTIN:
	case BECAUSE_UNMANAGED:
		return naive->decider == DECIDED_BY_NONE;
	}
	return false;
}

/* An address of one host: not of many, of this host, or of none. */
static bool one_host(int family, u128 address)
{
	if (family == 6)
		return address > 1 && address >> 120 != 0xff;
	return address >> 28 < 0xe && address >> 24 != 0 && address >> 24 != 127;
}

/* Nobody answers what came from or went to many, nor an ICMPv6 error or redirect; and of TCP only a SYN is reset. */
static bool answerable(const struct probe *probe)
{
	if (!one_host(probe->family, probe->source) || !one_host(probe->family, probe->destination))
		return false;
	if (probe->protocol == 6)
		return probe->syn;
	return probe->family == 4 || probe->protocol != 58 || (probe->service >= 128 && probe->service != 137);
}

/*
 * Invalid packets stop where the direction is managed and enforcing. What becomes of one on lo depends on rules that name
 * lo, and in audit mode the language is silent: neither is judged.
 */
static bool judge_invalid(struct trial *trial, const struct model *model, const struct probe *probe, const struct observation *seen)
{
	static const struct naive builtin = {.verdict = DENY, .decider = DECIDED_BY_NONE};
	bool managed = model->ways[probe->way].managed;
	if (is_loopback(probe) || (managed && model->ways[probe->way].audit))
		return false;
	if (seen->late == managed)
		describe(trial, managed ? "an invalid packet passed" : "an invalid packet stopped in an unmanaged direction", probe, &builtin, NULL, seen);
	return false;
}

static void judge_kernel(struct trial *trial, const struct model *model, const struct probe *probe, const struct naive *naive,
	const struct answer *answer, const struct observation *seen)
{
	bool passes = naive->verdict == ALLOW || (naive->audited && model->ways[probe->way].managed);
	if (seen->late != passes)
		describe(trial, "the kernel disagrees", probe, naive, answer, seen);
	else if (seen->answered && (passes || naive->verdict == DENY || (probe->protocol == 6 && !probe->syn)))
		describe(trial, "an answer to what is not rejected", probe, naive, answer, seen);
	else if (!seen->answered && !passes && naive->verdict == REJECT && answerable(probe))
		describe(trial, "no answer to what is rejected", probe, naive, answer, seen);
	trial->answers += seen->answered;
}

static int judge(void *ctx, struct policy_in_force *force, const struct model *model, const struct probe *probe, const struct observation *seen,
	struct trial *trial)
{
	struct answer answers[4] = {0};
	size_t count = 0;
	struct naive naive = naive_decide(model, probe);
	struct match match = point(ctx, probe);
	int error = decide(ctx, force->decision, &match, BUDGET_DEFAULT, answers, &count);
	if (error < 0)
		return error;
	if (error || count != 1)
		describe(trial, "decide gives no single answer", probe, &naive, NULL, seen);
	else if (strictness_of(answers[0].verdict) != naive.verdict || !same_reason(force, &naive, &answers[0]))
		describe(trial, "decide disagrees with the naive evaluator", probe, &naive, &answers[0], seen);
	if (!seen->early)
		return 0;
	trial->arrived++;
	if (seen->invalid)
		return judge_invalid(trial, model, probe, seen);
	judge_kernel(trial, model, probe, &naive, count ? &answers[0] : NULL, seen);
	if (naive.decider == DECIDED_BY_RULE)
		force->hits[naive.rule]++;
	else if (naive.decider == DECIDED_BY_DEFAULT)
		force->default_hits[probe->way == WAY_IN ? DIRECTION_IN : probe->way == WAY_OUT ? DIRECTION_OUT : DIRECTION_FORWARD]++;
	return 0;
}

static uint64_t counted(const struct ruleset *observed, const char *id, bool *found)
{
	char name[64];
	snprintf(name, sizeof(name), "hit-%s", id);
	for (size_t i = 0; i < observed->counter_count; i++)
		if (!strcmp(observed->counters[i].name, name)) {
			*found = true;
			return observed->counters[i].packets;
		}
	*found = false;
	return 0;
}

static void compare_counter(struct trial *trial, const struct ruleset *observed, const char *id, const char *text, uint64_t expected)
{
	bool found;
	uint64_t packets = counted(observed, id, &found);
	if (packets != expected || (!found && expected))
		complain_of(trial, "counter hit-%s of `%s`: %llu counted, %llu expected%s\n", id, text, (unsigned long long)packets,
			(unsigned long long)expected, found ? "" : " (there is no such counter)");
}

/* Packets on lo that are invalid, or of audited directions, may count as they like: such policies are left out. */
static int compare_counters(void *ctx, struct policy_in_force *force, struct trial *trial)
{
	struct ruleset *observed;
	uint32_t generation;
	int error = kernel_dump(ctx, force->kernel, TABLE, &observed, &generation);
	if (error)
		return error;
	for (size_t i = 0; i < force->policy->rule_count; i++)
		compare_counter(trial, observed, force->policy->rules[i].id, force->policy->rules[i].text, force->hits[i]);
	for (int d = 0; d < DIRECTIONS; d++)
		if (force->policy->directions[d].managed)
			compare_counter(trial, observed, force->policy->directions[d].id, force->policy->directions[d].text, force->default_hits[d]);
	return 0;
}

static int enforce(void *ctx, const struct laboratory *laboratory, const struct model *model, struct policy_in_force *force, struct trial *trial)
{
	char path[128];
	size_t changed;
	int error = write_policy(laboratory, model, path, sizeof(path)) ?: kernel_open(ctx, &force->kernel) ?: load(ctx, path, force, trial);
	if (error || trial->failed)
		return error;
	if (force->policy->rule_count != model->rule_count)
		complain_of(trial, "%zu rules were written, %zu read\n", model->rule_count, force->policy->rule_count);
	/* From nothing: counters begin at nought. */
	error = install(ctx, force, NULL, &changed, trial) ?: install(ctx, force, force->wanted, &changed, trial);
	if (error || trial->failed)
		return error;
	error = install(ctx, force, force->wanted, &changed, trial);
	if (changed)
		complain_of(trial, "a second apply of the same policy makes %zu changes\n", changed);
	if (laboratory->read_with_nft)
		read_with_nft(ctx, laboratory, force, trial);
	return error;
}

/* What runs out by itself after the first apply is made to have run out. */
static char *time_passes(void *ctx, const struct ruleset *wanted)
{
	char *text = talloc_strdup(ctx, "");
	for (size_t i = 0; text && i < wanted->set_count; i++)
		if (wanted->sets[i].kind == SET_TIMED)
			text = talloc_asprintf_append(text, "flush set inet %s %s\n", TABLE, wanted->sets[i].name);
	return text;
}

static int hold(void *ctx, const struct laboratory *laboratory, const struct model *model, const struct probe *probes, size_t count,
	struct trial *trial)
{
	struct policy_in_force force = {.encoding = laboratory->encoding};
	struct observation *seen = talloc_zero_array(ctx, struct observation, count);
	force.hits = talloc_zero_array(ctx, uint64_t, model->rule_count + 1);
	if (!seen || !force.hits)
		return -ENOMEM;
	int error = enforce(ctx, laboratory, model, &force, trial);
	if (error || trial->failed)
		return error;
	char *also = time_passes(ctx, force.wanted);
	error = !also ? -ENOMEM : packets_world_clear(also) ?: packets_world_send(laboratory->world, probes, count, seen);
	for (size_t i = 0; !error && i < count; i++) {
		void *scratch = talloc_new(ctx);
		error = judge(scratch, &force, model, &probes[i], &seen[i], trial);
		talloc_free(scratch);
	}
	trial->packets = count;
	return error ?: compare_counters(ctx, &force, trial);
}

int trial_hold(void *ctx, const struct laboratory *laboratory, const struct model *model, const struct probe *probes, size_t count, struct trial *out)
{
	*out = (struct trial){.report = talloc_strdup(ctx, "")};
	void *inner = talloc_new(ctx);
	if (!inner || !out->report)
		return -ENOMEM;
	int error = hold(inner, laboratory, model, probes, count, out);
	talloc_free(inner);
	return error;
}

/* Shrinking. */

static bool fails(void *ctx, const struct laboratory *laboratory, const struct model *model, const struct probe *probes, size_t count)
{
	struct trial trial;
	void *inner = talloc_new(ctx);
	bool failed = inner && trial_hold(inner, laboratory, model, probes, count, &trial) == 0 && trial.failed;
	talloc_free(inner);
	return failed;
}

/* Halves while a half still fails. */
static void fewer_packets(void *ctx, const struct laboratory *laboratory, const struct model *model, const struct probe **probes, size_t *count)
{
	while (*count > 1) {
		size_t half = *count / 2;
		if (fails(ctx, laboratory, model, *probes, half))
			*count = half;
		else if (fails(ctx, laboratory, model, *probes + half, *count - half))
			*probes += half, *count -= half;
		else
			return;
	}
}

/* Of a large policy ever smaller parts of the rules. */
static const struct model *fewer_rules(void *ctx, const struct laboratory *laboratory, const struct model *model, const struct probe *probes,
	size_t count)
{
	for (size_t part = model->rule_count / 2; part > 1; part /= 2)
		for (size_t at = 0; at + part <= model->rule_count;) {
			struct model *smaller = model_without(ctx, model, at, part);
			if (fails(ctx, laboratory, smaller, probes, count))
				model = smaller;
			else
				at += part;
		}
	return model;
}

static bool same_model(const struct model *a, const struct model *b)
{
	struct model left = *a, right = *b;
	left.rules = right.rules = NULL;
	return !memcmp(&left, &right, sizeof(left)) && !memcmp(a->rules, b->rules, a->rule_count * sizeof(*a->rules));
}

static const struct model *smaller_policy(void *ctx, const struct laboratory *laboratory, const struct model *model, const struct probe *probes,
	size_t count)
{
	for (int tries = 0, again = 1; again && tries < 600;) {
		again = 0;
		for (size_t step = 0; tries < 600; step++) {
			struct model *smaller = model_smaller(ctx, model, step);
			if (!smaller)
				break;
			if (same_model(smaller, model) || !fails(ctx, laboratory, smaller, probes, (tries++, count)))
				continue;
			model = smaller;
			again = 1;
			step--;
		}
	}
	return model;
}

void trial_shrink(void *ctx, const struct laboratory *laboratory, const struct model *model, const struct probe *probes, size_t count)
{
	struct trial trial;
	fewer_packets(ctx, laboratory, model, &probes, &count);
	model = fewer_rules(ctx, laboratory, model, probes, count);
	model = smaller_policy(ctx, laboratory, model, probes, count);
	fewer_packets(ctx, laboratory, model, &probes, &count);
	if (trial_hold(ctx, laboratory, model, probes, count, &trial))
		return;
	printf("shrunk to this policy and %zu packet%s:\n", count, count == 1 ? "" : "s");
	model_print(stdout, model);
	printf("%s\n", trial.report);
}
