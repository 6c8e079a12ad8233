/*
 * diff: what two policies decide differently.
 *
 * A policy with `hosts` blocks is several policies, so every kind of host that either tells apart is compared, and kinds that
 * come to the same are told together. git calls an external diff with seven arguments (gitattributes(5), "Defining an external
 * diff driver"), nine where a file was renamed; called so, diff answers and exits 0, because git takes anything else for a crash.
 */
#include "agent/cli/difference_report.h"
#include "agent/cli/versions.h"
#include <errno.h>
#include <string.h>
#include <talloc.h>

struct diffing {
	const struct invocation *call;
	struct version *old, *new;
	struct kind_of_host *kinds;
	size_t count;
	bool undecided, different, driver;
};

static bool same_answer(const struct kind_of_host *a, const json_t *json)
{
	return json_equal(a->json, (json_t *)(uintptr_t)json);
}

static int add_kind(void *ctx, struct diffing *diffing, const char *host, struct comparison *comparison)
{
	json_t *json = comparison_json(comparison);
	struct kind_of_host *kind = NULL;
	if (!json)
		return -ENOMEM;
	diffing->undecided |= comparison->undecided_count > 0;
	diffing->different |= !comparison_empty(comparison);
	for (size_t i = 0; i < diffing->count && !kind; i++)
		if (same_answer(&diffing->kinds[i], json))
			kind = &diffing->kinds[i];
	if (kind) {
		json_decref(json);
	} else {
		struct kind_of_host *more = talloc_realloc(ctx, diffing->kinds, struct kind_of_host, diffing->count + 1);
		if (!more)
			return -ENOMEM;
		diffing->kinds = more;
		kind = &more[diffing->count++];
		*kind = (struct kind_of_host){.comparison = comparison, .json = json};
	}
	const char **hosts = talloc_realloc(ctx, kind->hosts, const char *, kind->host_count + 1);
	if (!hosts)
		return -ENOMEM;
	kind->hosts = hosts;
	hosts[kind->host_count++] = host;
	return 0;
}

static int compare_kind(void *ctx, struct diffing *diffing, const char *host)
{
	struct policy *old, *new;
	struct comparison *comparison;
	int status = version_load(ctx, diffing->old, host, &old);
	int other = status < 0 ? status : version_load(ctx, diffing->new, host, &new);
	if (status || other)
		return status ? status : other;
	int outcome = policies_compare(ctx, old, new, BUDGET_DEFAULT, &comparison);
	return outcome < 0 ? outcome : add_kind(ctx, diffing, host, comparison);
}

static int find_hosts(void *ctx, const struct diffing *diffing, const char *const **hosts, size_t *count)
{
	const char *paths[] = {diffing->old->path, diffing->new->path};
	const struct environment *environments[] = {&diffing->old->environment, &diffing->new->environment};
	struct diagnostics *diagnostics = diagnostics_new(ctx);
	*hosts = &diffing->call->host;
	*count = 1;
	if (!diagnostics)
		return -ENOMEM;
	if (diffing->call->host)
		return STATUS_YES;
	int error = policies_host_kinds(ctx, paths, environments, 2, diagnostics, hosts, count);
	print_diagnostics(diagnostics);
	return error < 0 ? error : error ? STATUS_FAILED : STATUS_YES;
}

static void print_hosts(const struct kind_of_host *kind)
{
	for (size_t i = 0; i < kind->host_count; i++)
		printf("%s%s", i ? ", " : "", kind->hosts[i]);
}

static int print_text(void *ctx, const struct diffing *diffing)
{
	int error = 0;
	if (diffing->driver)
		printf("what the change of %s decides\n", diffing->new->operand);
	for (size_t i = 0; i < diffing->count && !error; i++) {
		const struct kind_of_host *kind = &diffing->kinds[i];
		if (diffing->count > 1) {
			printf("%son host%s ", i ? "\n" : "", kind->host_count > 1 ? "s" : "");
			print_hosts(kind);
			putchar('\n');
		}
		error = print_comparison_text(ctx, kind->comparison);
	}
	return error;
}

static int print_markdown(void *ctx, const struct diffing *diffing)
{
	int error = 0;
	printf("### Policy: `%s` to `%s`\n", diffing->old->operand, diffing->new->operand);
	for (size_t i = 0; i < diffing->count && !error; i++) {
		const struct kind_of_host *kind = &diffing->kinds[i];
		if (diffing->count > 1) {
			printf("\n#### On ");
			print_hosts(kind);
			putchar('\n');
		}
		error = print_comparison_markdown(ctx, kind->comparison);
	}
	return error;
}

static json_t *kind_json(const struct kind_of_host *kind)
{
	json_t *hosts = json_array(), *object = json_object();
	int error = 0;
	for (size_t i = 0; i < kind->host_count; i++)
		error |= json_push(hosts, json_text(kind->hosts[i]));
	error |= json_set(object, "hosts", hosts);
	if (error || json_object_update(object, kind->json)) {
		json_decref(object);
		return NULL;
	}
	return object;
}

static int print_json(const struct diffing *diffing)
{
	json_t *object = json_object(), *kinds = json_array();
	int error = 0;
	for (size_t i = 0; i < diffing->count && !error; i++)
		error = json_push(kinds, kind_json(&diffing->kinds[i]));
	error |= json_set(object, "equal", json_boolean(!diffing->different));
	error |= json_set(object, "old", json_text(diffing->old->operand));
	error |= json_set(object, "new", json_text(diffing->new->operand));
	error |= json_set(object, "kinds", kinds);
	if (error) {
		json_decref(object);
		return -ENOMEM;
	}
	return json_print(object);
}

static int compare_kinds(void *ctx, struct diffing *diffing)
{
	const char *const *hosts;
	size_t count;
	int status = find_hosts(ctx, diffing, &hosts, &count);
	for (size_t i = 0; i < count && !status; i++)
		status = compare_kind(ctx, diffing, hosts[i]);
	if (status)
		return status;
	status = diffing->call->json	   ? print_json(diffing)
		 : diffing->call->markdown ? print_markdown(ctx, diffing)
					   : print_text(ctx, diffing);
	if (status)
		return status;
	return diffing->undecided ? STATUS_FAILED : diffing->different ? STATUS_NO : STATUS_YES;
}

static int open_versions(void *ctx, struct diffing *diffing)
{
	const struct invocation *call = diffing->call;
	struct strangers *strangers = strangers_new(ctx);
	const char *const *words = call->operands;
	bool driver = diffing->driver;
	if (!strangers)
		return -ENOMEM;
	/* path old-file old-hex old-mode new-file new-hex new-mode [new-path metadata] */
	int status = version_open(ctx, call, words[0], driver ? words[1] : NULL, strangers, &diffing->old);
	if (status)
		return status;
	return version_open(ctx, call,
		!driver			   ? words[1]
		: call->operand_count == 9 ? words[7]
					   : words[0],
		driver ? words[4] : NULL, strangers, &diffing->new);
}

int verb_diff(void *ctx, const struct invocation *call)
{
	struct diffing diffing = {.call = call, .driver = call->operand_count == 7 || call->operand_count == 9};
	if (call->operand_count != 2 && !diffing.driver)
		return usage_error(call, "diff takes two policies, OLD and NEW");
	if (!diffing.driver && !strcmp(call->operands[0], "-") && !strcmp(call->operands[1], "-"))
		return usage_error(call, "only one of the two can come from standard input");
	int status = open_versions(ctx, &diffing);
	status = status ? status : compare_kinds(ctx, &diffing);
	for (size_t i = 0; i < diffing.count; i++)
		json_decref(diffing.kinds[i].json);
	return diffing.driver && status >= 0 ? STATUS_YES : status;
}
