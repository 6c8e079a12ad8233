/*
 * explain: one packet, asked about; or one a line from standard input.
 *
 * A batch answers every line in order, and flushes each answer when somebody may be waiting for it (a
 * pipe that asks and reads in turn).
 */
#include "agent/cli/cli.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <talloc.h>

struct asker {
	const struct policy *policy;
	const struct environment *environment;
	struct decision *decision;
	bool json, batch;
};

static int print_because(const char *indent, const struct because *because)
{
	struct span span = because_span(because);
	if (span.source)
		printf("%sbecause %s:%u: %s\n", indent, span.source->name, span_position(span).line, because_text(because));
	else
		printf("%sbecause %s\n", indent, because_text(because));
	if (because->kind == BECAUSE_RULE && because->rule->reason)
		printf("%sreason: %s\n", indent, because->rule->reason);
	return 0;
}

/* Which host names would have to have the address for this case? */
static void print_host_names(const struct policy *policy, const struct answer *answer)
{
	for (size_t i = 0; i < policy->host_count; i++) {
		if (answer->packet.source_in && answer->packet.source_in[i])
			printf("    where \"%s\" has the source address\n", policy->hosts[i]);
		if (answer->packet.destination_in && answer->packet.destination_in[i])
			printf("    where \"%s\" has the destination address\n", policy->hosts[i]);
	}
}

static int print_answers(void *ctx, const struct asker *asker, const char *packet, const struct answer *answers, size_t count)
{
	if (asker->batch)
		printf("%s: ", packet);
	if (count == 1) {
		printf("%s\n", verdict_word(answers[0].verdict));
		return print_because("", &answers[0].because);
	}
	printf("depends\n");
	for (size_t i = 0; i < count; i++) {
		char *text = packet_text(ctx, asker->policy, &answers[i].packet);
		if (!text)
			return -ENOMEM;
		printf("  %s: %s\n", verdict_word(answers[i].verdict), text);
		print_host_names(asker->policy, &answers[i]);
		print_because("    ", &answers[i].because);
	}
	return 0;
}

static json_t *answer_object(const char *packet, const struct answer *answer)
{
	json_t *object = json_object();
	if (json_set(object, "packet", json_text(packet)) || json_set(object, "verdict", json_string(verdict_word(answer->verdict))) ||
		json_set(object, "because", json_because(&answer->because))) {
		json_decref(object);
		return NULL;
	}
	return object;
}

static json_t *depends_object(void *ctx, const struct asker *asker, const char *packet, const struct answer *answers, size_t count)
{
	json_t *object = json_object(), *cases = json_array();
	int error = json_set(object, "packet", json_text(packet)) || json_set(object, "verdict", json_string("depends"));
	for (size_t i = 0; !error && i < count; i++) {
		char *text = packet_text(ctx, asker->policy, &answers[i].packet);
		error = !text || json_push(cases, answer_object(text, &answers[i]));
	}
	if (error)
		json_decref(cases);
	if (error || json_set(object, "cases", cases)) {
		json_decref(object);
		return NULL;
	}
	return object;
}

static int show(void *ctx, const struct asker *asker, const char *packet, const struct answer *answers, size_t count)
{
	if (!asker->json)
		return print_answers(ctx, asker, packet, answers, count);
	return json_print(count == 1 ? answer_object(packet, &answers[0]) : depends_object(ctx, asker, packet, answers, count));
}

/* A line that cannot be answered: its first error in JSON, all of them on standard error otherwise. */
static int show_error(const struct asker *asker, const char *packet, const struct diagnostics *diagnostics)
{
	if (!asker->json) {
		print_diagnostics(diagnostics);
		return STATUS_FAILED;
	}
	const struct diagnostic *one = diagnostics->first;
	while (one && one->severity != SEVERITY_ERROR)
		one = one->next;
	json_t *object = json_object();
	if (json_set(object, "packet", json_text(packet)) || json_set(object, "error", json_text(one ? one->message : "cannot be read"))) {
		json_decref(object);
		return -ENOMEM;
	}
	int error = json_print(object);
	return error ? error : STATUS_FAILED;
}

/* From text to what it describes. 0, 1 when diagnostics say why not, or a negative errno. */
static int read_question(void *ctx, const struct asker *asker, const struct source *source, struct diagnostics *diagnostics, struct match *match)
{
	struct match_node *node = NULL;
	int error = parse_question(ctx, source, diagnostics, &node);
	if (error < 0)
		return error;
	if (!node || diagnostics->errors)
		return 1;
	return policy_question(ctx, asker->policy, asker->environment, node, diagnostics, match);
}

static int judge(void *ctx, const struct asker *asker, const struct source *source, const char *packet, struct diagnostics *diagnostics)
{
	struct match match;
	struct answer answers[4];
	size_t count = 0;
	int outcome = read_question(ctx, asker, source, diagnostics, &match);
	if (outcome < 0)
		return outcome;
	if (outcome)
		return show_error(asker, packet, diagnostics);
	outcome = decide(ctx, asker->decision, &match, BUDGET_DEFAULT, answers, &count);
	struct span whole = {.source = source, .begin = (uint32_t)strspn(source->text, "\n"), .end = (uint32_t)source->length};
	if (outcome < 0)
		return outcome;
	if (outcome == 1)
		report_error(diagnostics, whole, "there is no such packet");
	if (outcome == 2)
		report_error(diagnostics, whole, "cannot decide: the question is too large for the time and memory allowed");
	if (outcome)
		return show_error(asker, packet, diagnostics);
	int error = show(ctx, asker, packet, answers, count);
	bool fine = count == 1 && (answers[0].verdict == VERDICT_ALLOW || answers[0].verdict == VERDICT_UNMANAGED);
	return error ? error : fine ? STATUS_YES : STATUS_NO;
}

/* `line` is 0 for an argument; of a batch, the number that messages show. */
static int ask(void *ctx, const struct asker *asker, const char *packet, size_t line)
{
	void *scratch = talloc_new(ctx);
	struct diagnostics *diagnostics = scratch ? diagnostics_new(scratch) : NULL;
	struct source *source;
	size_t above = line ? line - 1 : 0, length = strlen(packet);
	char *text = diagnostics ? talloc_size(scratch, above + length + 1) : NULL;
	int status = -ENOMEM;
	if (text) {
		memset(text, '\n', above);
		memcpy(text + above, packet, length + 1);
		status = source_new(scratch, line ? "<stdin>" : "<argument>", text, above + length, false, &source);
	}
	if (!status)
		status = judge(scratch, asker, source, packet, diagnostics);
	talloc_free(scratch);
	return status;
}

static char *trimmed(char *line)
{
	char *end = line + strlen(line);
	while (end > line && strchr(" \t\r\n", end[-1]))
		*--end = 0;
	return line + strspn(line, " \t");
}

static int ask_line(void *ctx, const struct asker *asker, char *line, size_t length, size_t number)
{
	if (memchr(line, 0, length)) {
		complain("<stdin>:%zu: error: a NUL byte\n", number);
		return asker->json ? json_print(json_pack("{s:s,s:s}", "packet", "", "error", "a NUL byte")) ?: STATUS_FAILED : STATUS_FAILED;
	}
	char *packet = trimmed(line);
	if (!*packet || *packet == '#')
		return STATUS_YES;
	/* Line numbers cost a line each in the text that messages quote; above this they are not worth it. */
	int status = ask(ctx, asker, packet, number <= 4096 ? number : 1);
	fflush(stdout);
	return status;
}

static int ask_batch(void *ctx, const struct asker *asker)
{
	char *line = NULL;
	size_t room = 0, number = 0;
	ssize_t length;
	int worst = STATUS_YES;
	while (worst >= 0 && (length = getline(&line, &room, stdin)) >= 0) {
		int status = ask_line(ctx, asker, line, (size_t)length, ++number);
		if (status < 0 || status > worst)
			worst = status;
		if (ferror(stdout))
			break;
	}
	free(line);
	if (worst >= 0 && ferror(stdin)) {
		complain("portpolicy: cannot read standard input\n");
		worst = STATUS_FAILED;
	}
	return worst;
}

static char *joined(void *ctx, const struct invocation *call)
{
	char *packet = talloc_strdup(ctx, call->operands[0]);
	for (size_t i = 1; packet && i < call->operand_count; i++)
		packet = talloc_asprintf_append(packet, " %s", call->operands[i]);
	return packet ? trimmed(packet) : NULL;
}

int verb_explain(void *ctx, const struct invocation *call)
{
	const char *path = call->file ? call->file : DEFAULT_POLICY;
	struct policy *policy;
	struct world *world;
	if (!call->operand_count)
		return usage_error(call, "explain needs a packet, for example: explain in tcp/22 from 192.0.2.1");
	bool batch = call->operand_count == 1 && !strcmp(call->operands[0], "-");
	if (batch && !strcmp(path, "-"))
		return usage_error(call, "policy and packets cannot both come from standard input");
	int status = load_policy(ctx, call, path, false, &policy, &world);
	if (status)
		return status;
	struct asker asker = {.policy = policy, .environment = world_environment(world), .json = call->json, .batch = batch};
	status = decision_new(ctx, policy, &asker.decision);
	if (status)
		return status;
	if (batch)
		return ask_batch(ctx, &asker);
	char *packet = joined(ctx, call);
	return packet ? ask(ctx, &asker, packet, 0) : -ENOMEM;
}
