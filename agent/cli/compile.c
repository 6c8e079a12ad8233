/*
 * compile: the ruleset that apply would install, on standard output; no kernel is asked.
 *
 * As JSON it is an inventory: the objects by name, with the policy line of each rule, and the script that nft reads beside it.
 */
#include "agent/cli/cli.h"
#include <errno.h>
#include <string.h>
#include <talloc.h>

static int set_origin(json_t *object, const struct span *origin)
{
	bool known = origin && origin->source;
	int error = json_set(object, "file", json_text(known ? origin->source->name : NULL));
	return error ? error : json_set(object, "line", known ? json_integer(span_position(*origin).line) : json_null());
}

static json_t *set_object(const struct set *set)
{
	static const char *const kinds[] = {"values", "map", "counters", "meter", "timed"};
	bool values = set->kind == SET_VALUES && set->key_count == 1;
	size_t members = set->networks.list ? set->networks.count : values ? set->values.count : set->element_count;
	json_t *object = json_object();
	if (json_set(object, "name", json_text(set->name)) || json_set(object, "kind", json_string(kinds[set->kind])) ||
		json_set(object, "members", json_integer((json_int_t)members)) || set_origin(object, set->origin)) {
		json_decref(object);
		return NULL;
	}
	return object;
}

static json_t *rule_object(const struct nft_rule *rule)
{
	json_t *object = json_object();
	if (json_set(object, "comment", json_text(rule->comment)) || set_origin(object, rule->origin)) {
		json_decref(object);
		return NULL;
	}
	return object;
}

static json_t *chain_object(const struct chain *chain)
{
	static const char *const hooks[] = {NULL, "input", "output", "forward"};
	json_t *object = json_object(), *rules = json_array();
	int error = json_set(object, "name", json_text(chain->name)) || json_set(object, "hook", json_text(hooks[chain->hook]));
	for (size_t i = 0; !error && i < chain->count; i++)
		error = json_push(rules, rule_object(&chain->rules[i]));
	if (error)
		json_decref(rules);
	if (error || json_set(object, "rules", rules)) {
		json_decref(object);
		return NULL;
	}
	return object;
}

static json_t *counter_object(const struct counter *counter)
{
	json_t *object = json_object();
	if (json_set(object, "name", json_text(counter->name)) || set_origin(object, counter->origin)) {
		json_decref(object);
		return NULL;
	}
	return object;
}

static json_t *ruleset_object(const struct ruleset *ruleset, const char *text)
{
	json_t *object = json_object(), *chains = json_array(), *sets = json_array(), *counters = json_array();
	int error = json_set(object, "family", json_string("inet")) || json_set(object, "table", json_text(ruleset->table));
	for (size_t i = 0; !error && i < ruleset->chain_count; i++)
		error = json_push(chains, chain_object(&ruleset->chains[i]));
	for (size_t i = 0; !error && i < ruleset->set_count; i++)
		error = json_push(sets, set_object(&ruleset->sets[i]));
	for (size_t i = 0; !error && i < ruleset->counter_count; i++)
		error = json_push(counters, counter_object(&ruleset->counters[i]));
	/* Each call takes its value, so all are made. */
	error |= json_set(object, "chains", chains);
	error |= json_set(object, "sets", sets);
	error |= json_set(object, "counters", counters);
	error |= json_set(object, "nft", json_text(text));
	if (error) {
		json_decref(object);
		return NULL;
	}
	return object;
}

int verb_compile(void *ctx, const struct invocation *call)
{
	struct policy *policy;
	struct world *world;
	struct ruleset *ruleset;
	bool json = call->as && !strcmp(call->as, "json");
	if (call->as && !json && strcmp(call->as, "nft"))
		return usage_error(call, "--as takes nft or json, not \"%s\"", call->as);
	int status = load_ruleset(ctx, call, false, &policy, &world, &ruleset);
	if (status)
		return status;
	char *text = ruleset_text(ctx, ruleset);
	if (!text)
		return -ENOMEM;
	if (json)
		return json_print(ruleset_object(ruleset, text));
	fputs(text, stdout);
	return STATUS_YES;
}
