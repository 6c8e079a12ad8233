/*
 * The state of things as one JSON object, for people (agent/cli/status.c) and for programs.
 */
#include "agent/daemon/commands.h"
#include "agent/daemon/peace.h"
#include <errno.h>
#include <talloc.h>
#include <unistd.h>

static json_t *policy_object(const struct agent_policy *policy)
{
	if (!policy || !policy->provenance)
		return json_null();
	json_t *object = json_object();
	const struct provenance *from = policy->provenance;
	if (json_set(object, "file", json_text(from->path)) || json_set(object, "digest", json_text(from->digest)) ||
		json_set(object, "origin", json_string(origin_word(from->origin))) ||
		json_set(object, "since", from->since ? json_integer(from->since) : json_null()) ||
		json_set(object, "rules", json_integer(policy->policy ? (json_int_t)policy->policy->rule_count : 0)) ||
		json_set(object, "revision", json_integer(policy->revision))) {
		json_decref(object);
		return NULL;
	}
	return object;
}

static json_t *repair_object(const struct agent_incident *incident)
{
	if (!incident || !incident->at)
		return json_null();
	return json_pack("{s:I,s:o,s:I,s:o}", "at", (json_int_t)incident->wall, "program", json_text(incident->program),
		"process", (json_int_t)incident->process, "put_back", json_text(incident->put_back));
}

static json_t *pending_object(const struct pending *pending)
{
	if (!pending)
		return json_null();
	return json_pack("{s:o,s:I}", "file", json_text(pending->file), "seconds", (json_int_t)pending_left(pending));
}

static json_t *warnings_array(void *ctx, const struct status_report *report)
{
	struct concerns *concerns;
	json_t *array = json_array();
	int error = find_concerns(ctx, report->kernel, report->table, report->policy ? report->policy->policy : NULL, &concerns);
	for (size_t i = 0; array && !error && i < concerns->count; i++)
		error = json_push(array, json_text(concerns->texts[i]));
	if (error == -ENOMEM) {
		json_decref(array);
		return NULL;
	}
	return array;
}

static json_t *unknowns_array(const struct agent_policy *policy)
{
	json_t *array = json_array();
	for (size_t i = 0; policy && policy->policy && i < policy->policy->unknown_count; i++)
		if (json_push(array, json_text(policy->policy->unknowns[i].what))) {
			json_decref(array);
			return NULL;
		}
	return array;
}

static json_t *agent_object(const struct status_report *report)
{
	const struct reconcile *state = report->reconcile;
	if (!state)
		return json_null();
	uint64_t now = loop_now();
	json_int_t held = state->held_until > now ? (json_int_t)((state->held_until - now + 999) / 1000) : 0;
	return json_pack("{s:I,s:I,s:o,s:b,s:o,s:I,s:o}", "process", (json_int_t)getpid(), "since", (json_int_t)report->began,
		"file", json_text(policies_own_path(report->policies)), "owner", state->owned, "hold",
		held ? json_integer(held) : json_null(), "repairs", (json_int_t)state->repairs, "last_repair",
		repair_object(report->incident));
}

json_t *status_json(void *ctx, const struct status_report *report)
{
	struct table_state table = {0};
	json_t *object = json_object();
	if (kernel_look(report->kernel, report->table, &table))
		table = (struct table_state){0};
	if (json_set(object, "table", json_text(report->table)) || json_set(object, "state", json_text(report->state)) ||
		json_set(object, "in_sync", json_boolean(report->in_sync)) ||
		json_set(object, "policy", policy_object(report->policy)) ||
		json_set(object, "trouble", json_text(report->trouble)) ||
		json_set(object, "pending", pending_object(report->pending)) || json_set(object, "agent", agent_object(report)) ||
		json_set(object, "persists", json_boolean(table.persist)) ||
		json_set(object, "unknown", unknowns_array(report->policy)) ||
		json_set(object, "warnings", warnings_array(ctx, report))) {
		json_decref(object);
		return NULL;
	}
	return object;
}
