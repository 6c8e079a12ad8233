/*
 * check: reads, resolves, proves and warns.
 *
 * A policy with `hosts` blocks is several policies, one for each kind of host, and each is judged. What is found for all kinds
 * is told once; what is found for some is told with their names. So findings are gathered first and printed at the end.
 */
#include "agent/cli/cli.h"
#include "portpolicy/analysis.h"
#include "portpolicy/ignore.h"
#include <errno.h>
#include <string.h>
#include <talloc.h>

#define HOSTS_SHOWN 8

struct finding {
	struct diagnostic what;
	json_t *expect; /* of an expect that fails; borrowed by `what` for its text form */
	char *hosts;    /* "web1, db1", the first of them */
	size_t host_count;
};

struct verdict_of_file {
	const char *path;
	struct finding *findings;
	size_t count;
	size_t kinds;
	size_t errors, warnings, failed, expects, rules;
	bool undecided;
	const struct source **sources; /* that were read, of all kinds; each name once */
	size_t source_count;
	const struct policy **policies; /* of each kind that has no errors */
	size_t policy_count;
	char *summary; /* of the last kind */
};

struct totals {
	bool errors, warnings, undecided;
	json_t *error_list, *warning_list, *expect_list;
};

static bool same_text(const char *a, const char *b) { return a == b || (a && b && !strcmp(a, b)); }

static bool same_finding(const struct diagnostic *a, const struct diagnostic *b)
{
	return a->severity == b->severity && !strcmp(a->message, b->message) && a->span.begin == b->span.begin && a->span.end == b->span.end &&
	       same_text(a->file, b->file) && same_text(a->span.source ? a->span.source->name : NULL, b->span.source ? b->span.source->name : NULL);
}

static int add_finding(void *ctx, struct verdict_of_file *file, const char *host, const struct diagnostic *what, json_t *expect)
{
	struct finding *found = NULL;
	for (size_t i = 0; file->kinds > 1 && i < file->count && !found; i++)
		if (same_finding(&file->findings[i].what, what))
			found = &file->findings[i];
	if (found) {
		json_decref(expect);
		if (found->host_count++ < HOSTS_SHOWN)
			found->hosts = talloc_asprintf_append(found->hosts, ", %s", host);
		return found->hosts ? 0 : -ENOMEM;
	}
	if ((file->count & (file->count - 1)) == 0) {
		struct finding *more = talloc_realloc(ctx, file->findings, struct finding, file->count ? file->count * 2 : 1);
		if (!more)
			return -ENOMEM;
		file->findings = more;
	}
	found = &file->findings[file->count++];
	*found = (struct finding){.what = *what, .expect = expect, .hosts = talloc_strdup(ctx, host), .host_count = 1};
	return found->hosts ? 0 : -ENOMEM;
}

static int add_findings(void *ctx, struct verdict_of_file *file, const char *host, const struct diagnostics *diagnostics)
{
	int error = diagnostics->exhausted ? -ENOMEM : 0;
	for (const struct diagnostic *one = diagnostics->first; one && !error; one = one->next)
		error = add_finding(ctx, file, host, one, NULL);
	return error;
}

/* Those that have nothing to do with the kind of host. */
static int add_general_findings(void *ctx, struct verdict_of_file *file, const struct diagnostics *diagnostics)
{
	size_t count = file->count;
	int error = add_findings(ctx, file, "", diagnostics);
	for (size_t i = count; i < file->count; i++)
		file->findings[i].host_count = file->kinds;
	return error;
}

static json_t *expect_object(const struct expectation *expect, const struct answer *counter, const char *packet)
{
	json_t *object = json_object();
	if (json_set(object, "file", json_text(expect->span.source->name)) ||
		json_set(object, "line", json_integer(span_position(expect->span).line)) || json_set(object, "text", json_text(expect->text)) ||
		json_set(object, "verdict", json_string(verdict_word(counter->verdict))) || json_set(object, "packet", json_text(packet)) ||
		json_set(object, "because", json_because(&counter->because))) {
		json_decref(object);
		return NULL;
	}
	return object;
}

static const char *past_word(enum verdict verdict)
{
	static const char *const words[] = {"allowed", "denied", "rejected", "left alone"};
	return words[verdict];
}

/* The message of a failing expect is a diagnostic like any other, and an object of its own in JSON. */
static int expect_failed(void *ctx, struct verdict_of_file *file, const struct policy *policy, const struct expectation *expect,
	const struct answer *counter, bool unknown)
{
	struct diagnostics *list = diagnostics_new(ctx);
	char *packet = packet_text(ctx, policy, &counter->packet);
	if (!list || !packet)
		return -ENOMEM;
	struct diagnostic *one = report_error(list, expect->span, "this expect %s: `%s` is %s%s", unknown ? "is not proved" : "fails", packet,
		past_word(counter->verdict), unknown ? " for some of the addresses that a host name may have" : "");
	struct span span = because_span(&counter->because);
	if (span.source)
		diagnostic_related(list, one, span, "because of this %s", counter->because.kind == BECAUSE_RULE ? "rule" : "default");
	else
		diagnostic_hint(list, one, "because %s", because_text(&counter->because));
	json_t *object = expect_object(expect, counter, packet);
	if (!one || !object || list->exhausted) {
		json_decref(object);
		return -ENOMEM;
	}
	return add_finding(ctx, file, policy->host, one, object);
}

static int prove(void *ctx, struct verdict_of_file *file, const struct policy *policy, const struct decision *decision,
	const struct expectation *expect, struct diagnostics *diagnostics, bool *held)
{
	struct answer counter;
	bool unknown = false;
	int outcome = expectation_prove(ctx, decision, expect, BUDGET_DEFAULT, &counter, &unknown);
	*held = outcome == 0;
	file->expects++;
	if (outcome == 1)
		return expect_failed(ctx, file, policy, expect, &counter, unknown);
	if (outcome == 2)
		report_error(diagnostics, expect->span, "this expect describes no packet");
	if (outcome == 3) {
		report_error(diagnostics, expect->span, "cannot decide this expect: it is too large for the time and memory allowed");
		file->undecided = true;
	}
	return outcome < 0 ? outcome : 0;
}

static int describe(void *ctx, struct verdict_of_file *file, const struct policy *policy)
{
	char *managed = direction_list(ctx, policy, true), *left = direction_list(ctx, policy, false);
	if (!managed || !left)
		return -ENOMEM;
	file->rules = policy->rule_count;
	file->summary = talloc_asprintf(ctx, "manages %s%s%s", *managed ? managed : "nothing", *left ? ", leaves alone " : "", left);
	return file->summary ? 0 : -ENOMEM;
}

static int analyse(void *ctx, struct verdict_of_file *file, const struct policy *policy, const struct environment *environment,
	struct diagnostics *diagnostics)
{
	struct decision *decision;
	bool *held = talloc_zero_array(ctx, bool, policy->expect_count + 1);
	int error = held ? decision_new(ctx, policy, &decision) : -ENOMEM;
	for (size_t i = 0; !error && i < policy->expect_count; i++)
		error = prove(ctx, file, policy, decision, &policy->expects[i], diagnostics, &held[i]);
	if (!error)
		error = analyse_reachability(ctx, policy, decision, diagnostics);
	if (!error)
		error = analyse_rules(ctx, policy, decision, environment, held, diagnostics);
	return error ? error : describe(ctx, file, policy);
}

static int add_source(void *ctx, struct verdict_of_file *file, const struct source *source)
{
	for (size_t i = 0; i < file->source_count; i++)
		if (!strcmp(file->sources[i]->name, source->name))
			return 0;
	const struct source **more = talloc_realloc(ctx, file->sources, const struct source *, file->source_count + 1);
	if (!more)
		return -ENOMEM;
	file->sources = more;
	file->sources[file->source_count++] = source;
	return 0;
}

static int add_sources(void *ctx, struct verdict_of_file *file, const struct policy *policy)
{
	int error = 0;
	for (size_t i = 0; i < policy->source_count && !error; i++)
		if (!policy->sources[i]->library)
			error = add_source(ctx, file, policy->sources[i]);
	return error;
}

static int add_policy(void *ctx, struct verdict_of_file *file, const struct policy *policy)
{
	const struct policy **more = talloc_realloc(ctx, file->policies, const struct policy *, file->policy_count + 1);
	if (!more)
		return -ENOMEM;
	file->policies = more;
	file->policies[file->policy_count++] = policy;
	return add_sources(ctx, file, policy);
}

static int judge_kind(void *ctx, struct verdict_of_file *file, struct world *world, const char *host)
{
	struct policy *policy;
	struct diagnostics *diagnostics = diagnostics_new(ctx);
	if (!diagnostics)
		return -ENOMEM;
	world_answer_for(world, host);
	int error = policy_load(ctx, file->path, world_environment(world), diagnostics, &policy);
	if (!error)
		error = add_policy(ctx, file, policy);
	if (!error)
		error = analyse(ctx, file, policy, world_environment(world), diagnostics);
	if (error >= 0)
		error = add_findings(ctx, file, host, diagnostics);
	return error;
}

static int judge_kinds(void *ctx, const struct invocation *call, struct verdict_of_file *file, struct world *world)
{
	const char *const *names = &call->host;
	struct diagnostics *diagnostics = diagnostics_new(ctx);
	file->kinds = 1;
	if (!diagnostics)
		return -ENOMEM;
	int error = call->host ? 0 : policy_host_kinds(ctx, file->path, world_environment(world), diagnostics, &names, &file->kinds);
	if (error >= 0) {
		int added = add_general_findings(ctx, file, diagnostics);
		error = added ? added : error;
	}
	if (error)
		return error < 0 ? error : 0;
	for (size_t i = 0; !error && i < file->kinds; i++)
		error = judge_kind(ctx, file, world, names[i]);
	return error;
}

static bool span_within(struct span inner, struct span outer)
{
	return inner.begin >= outer.begin && inner.end <= outer.end && !strcmp(inner.source->name, outer.source->name);
}

/* On how many kinds of host is the rule or expect in force that this place lies in? */
static size_t kinds_with(const struct verdict_of_file *file, struct span span)
{
	size_t count = 0;
	for (size_t k = 0; k < file->policy_count; k++) {
		const struct policy *policy = file->policies[k];
		bool there = false;
		for (size_t i = 0; i < policy->rule_count && !there; i++)
			there = span_within(span, policy->rules[i].span);
		for (size_t i = 0; i < policy->expect_count && !there; i++)
			there = span_within(span, policy->expects[i].span);
		count += there;
	}
	return count;
}

/* What changes nothing on some kinds of host, and something on another, stands there for the other. */
static bool needed_elsewhere(const struct verdict_of_file *file, const struct finding *found)
{
	static const char *const codes[] = {"W102", "W103", "W105", "W106", "W107", "W108"};
	for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
		if (found->what.code && !strcmp(found->what.code, codes[i]))
			return found->host_count < kinds_with(file, found->what.span);
	return false;
}

static void drop_needed(struct verdict_of_file *file)
{
	size_t kept = 0;
	for (size_t i = 0; i < file->count; i++)
		if (!needed_elsewhere(file, &file->findings[i]))
			file->findings[kept++] = file->findings[i];
	file->count = kept;
}

/* Of a policy with errors only the texts are known that messages point into. */
static int sources_of_findings(void *ctx, struct verdict_of_file *file, bool *errors)
{
	int error = 0;
	for (size_t i = 0; i < file->count && !error; i++) {
		const struct diagnostic *what = &file->findings[i].what;
		*errors |= what->severity == SEVERITY_ERROR && !file->findings[i].expect;
		if (what->span.source && !what->span.source->library)
			error = add_source(ctx, file, what->span.source);
	}
	return error;
}

static void drop_silenced(struct verdict_of_file *file, const struct ignores *ignores)
{
	size_t kept = 0;
	for (size_t i = 0; i < file->count; i++)
		if (file->findings[i].what.severity == SEVERITY_ERROR || !ignores_silence(ignores, &file->findings[i].what))
			file->findings[kept++] = file->findings[i];
	file->count = kept;
}

/* What silences nothing is known when all kinds of host were looked at, and all of the policy could be. */
static int silence(void *ctx, const struct invocation *call, struct verdict_of_file *file)
{
	struct ignores ignores = {0};
	struct diagnostics *diagnostics = diagnostics_new(ctx);
	bool errors = false;
	int error = diagnostics ? sources_of_findings(ctx, file, &errors) : -ENOMEM;
	for (size_t i = 0; i < file->source_count && !error; i++)
		error = ignores_read(ctx, file->sources[i], diagnostics, &ignores);
	if (error)
		return error;
	drop_silenced(file, &ignores);
	if (!errors && !call->host)
		ignores_finish(&ignores, diagnostics);
	return add_general_findings(ctx, file, diagnostics);
}

static int name_hosts(void *ctx, const struct verdict_of_file *file, struct finding *found)
{
	if (file->kinds < 2 || found->host_count >= file->kinds)
		return 0;
	char *others = found->host_count > HOSTS_SHOWN ? talloc_asprintf(ctx, " and %zu others", found->host_count - HOSTS_SHOWN) : talloc_strdup(ctx, "");
	if (others)
		found->what.message = talloc_asprintf(ctx, "%s (on host %s%s)", found->what.message, found->hosts, others);
	if (!others)
		return -ENOMEM;
	return found->what.message ? 0 : -ENOMEM;
}

static void count_finding(struct verdict_of_file *file, const struct finding *found)
{
	if (found->expect)
		file->failed++;
	else if (found->what.severity == SEVERITY_ERROR)
		file->errors++;
	else
		file->warnings++;
}

static int tell(void *ctx, const struct invocation *call, struct verdict_of_file *file, struct totals *totals)
{
	int error = 0;
	for (size_t i = 0; !error && i < file->count; i++) {
		struct finding *found = &file->findings[i];
		count_finding(file, found);
		error = name_hosts(ctx, file, found);
		if (!error && !call->json)
			print_diagnostic(&found->what);
		else if (!error && found->expect)
			error = json_push(totals->expect_list, json_incref(found->expect));
		else if (!error)
			error = json_push(found->what.severity == SEVERITY_ERROR ? totals->error_list : totals->warning_list, json_diagnostic(&found->what));
		json_decref(found->expect);
	}
	totals->errors |= file->errors || file->failed;
	totals->warnings |= file->warnings;
	totals->undecided |= file->undecided;
	return error;
}

static const char *plural(size_t count) { return count == 1 ? "" : "s"; }

static void print_summary(const struct verdict_of_file *file)
{
	printf("%s: ", file->path);
	if (file->errors || file->failed || !file->summary)
		printf("%zu error%s, %zu failing expect%s", file->errors, plural(file->errors), file->failed, plural(file->failed));
	else if (file->kinds > 1)
		printf("ok: %zu kinds of host, %zu expect%s proved", file->kinds, file->expects, plural(file->expects));
	else
		printf("ok: %zu rule%s, %zu expect%s proved; %s", file->rules, plural(file->rules), file->expects, plural(file->expects), file->summary);
	if (file->warnings)
		printf("; %zu warning%s", file->warnings, plural(file->warnings));
	putchar('\n');
}

static int check_file(void *ctx, const struct invocation *call, const char *path, struct totals *totals)
{
	struct verdict_of_file file = {.path = path};
	struct world *world;
	int error = world_new(ctx, call, path, false, &world);
	if (!error)
		error = judge_kinds(ctx, call, &file, world);
	if (!error && file.kinds > 1)
		drop_needed(&file);
	if (!error)
		error = silence(ctx, call, &file);
	if (!error)
		error = tell(ctx, call, &file, totals);
	if (error)
		return error;
	totals->undecided |= world_error(world) != 0;
	if (!call->json)
		print_summary(&file);
	return 0;
}

static int print_totals(const struct totals *totals, bool ok)
{
	json_t *object = json_object();
	int error = json_set(object, "ok", json_boolean(ok));
	error |= json_set(object, "errors", totals->error_list);
	error |= json_set(object, "warnings", totals->warning_list);
	error |= json_set(object, "expects", totals->expect_list);
	if (error) {
		json_decref(object);
		return -ENOMEM;
	}
	return json_print(object);
}

int verb_check(void *ctx, const struct invocation *call)
{
	struct totals totals = {.error_list = json_array(), .warning_list = json_array(), .expect_list = json_array()};
	const char *fallback = DEFAULT_POLICY, *const *paths = call->operand_count ? call->operands : &fallback;
	size_t count = call->operand_count ? call->operand_count : 1;
	int error = 0;
	for (size_t i = 0; !error && i < count; i++) {
		void *scratch = talloc_new(ctx);
		error = scratch ? check_file(scratch, call, paths[i], &totals) : -ENOMEM;
		talloc_free(scratch);
	}
	bool ok = !totals.errors && !totals.undecided && !(call->strict && totals.warnings);
	if (!error && call->json)
		error = print_totals(&totals, ok);
	else
		json_decref(totals.error_list), json_decref(totals.warning_list), json_decref(totals.expect_list);
	if (error)
		return error;
	return totals.undecided ? STATUS_FAILED : ok ? STATUS_YES : STATUS_NO;
}
