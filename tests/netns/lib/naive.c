/*
 * The naive evaluator: every rule in turn, every clause in turn, as LANGUAGE.md reads.
 */
#include "tests/netns/lib/model.h"
#include <string.h>

bool value_has(const struct value *value, int family, u128 number)
{
	switch (value->kind) {
	case VALUE_ANY:
		return true;
	case VALUE_RANGE:
	case VALUE_NETWORK:
		return value->family == family && value->low <= number && number <= value->high;
	case VALUE_SET:
	case VALUE_FILE:
		for (size_t i = 0; i < value->count; i++)
			if (value_has(value->items[i], family, number))
				return true;
		return false;
	case VALUE_EXCEPT:
		return value_has(value->items[0], family, number) && !value_has(value->items[1], family, number);
	case VALUE_NAME:
		return value_has(value->named->first, family, number) || (value->named->more && value_has(value->named->more, family, number));
	case VALUE_INTERFACE:
		return false;
	}
	return false;
}

bool value_has_interface(const struct value *value, const char *name)
{
	switch (value->kind) {
	case VALUE_ANY:
		return true;
	case VALUE_INTERFACE:
		return value->star ? !strncmp(name, value->word, strlen(value->word)) : !strcmp(name, value->word);
	case VALUE_SET:
		for (size_t i = 0; i < value->count; i++)
			if (value_has_interface(value->items[i], name))
				return true;
		return false;
	case VALUE_EXCEPT:
		return value_has_interface(value->items[0], name) && !value_has_interface(value->items[1], name);
	case VALUE_RANGE:
	case VALUE_NETWORK:
	case VALUE_NAME:
	case VALUE_FILE:
		return false;
	}
	return false;
}

bool value_names_loopback(const struct value *value)
{
	if (value->kind == VALUE_INTERFACE)
		return !value->star && !strcmp(value->word, "lo");
	if (value->kind == VALUE_EXCEPT)
		return value_names_loopback(value->items[0]);
	for (size_t i = 0; value->kind == VALUE_SET && i < value->count; i++)
		if (value_names_loopback(value->items[i]))
			return true;
	return false;
}

bool is_loopback(const struct probe *probe)
{
	if (probe->way == WAY_FORWARD)
		return false;
	if ((probe->way == WAY_IN ? probe->arriving : probe->leaving) == LOOPBACK)
		return true;
	return probe->way == WAY_OUT && (probe->family == 4 ? probe->destination >> 24 == 127 : probe->destination == 1);
}

static bool traffic_has(const struct traffic_model *traffic, const struct probe *probe);

static bool item_has(const struct traffic_item *item, const struct probe *probe)
{
	if (item->service)
		return traffic_has(&item->service->traffic, probe);
	if (item->protocol != probe->protocol)
		return false;
	if (item->protocol == 1 && probe->family != 4)
		return false;
	if (item->protocol == 58 && probe->family != 6)
		return false;
	return !item->behind || value_has(item->behind, 0, probe->service);
}

static bool traffic_has(const struct traffic_model *traffic, const struct probe *probe)
{
	for (size_t i = 0; i < traffic->count; i++)
		if (item_has(&traffic->items[i], probe))
			return !traffic->any;
	return traffic->any;
}

static bool by_has(const struct by_model *by, const struct probe *probe)
{
	bool named = false;
	for (size_t i = 0; i < by->user_count; i++)
		named |= by->users[i] == probe->uid;
	for (size_t i = 0; i < by->group_count; i++)
		named |= by->groups[i] == probe->gid;
	return by->kind == BY_ALL || named == (by->kind == BY_SOME);
}

static bool interface_fits(const struct value *value, int index)
{
	return !value || index < 0 || value_has_interface(value, interface_names[index]);
}

/* Only a rule that names loopback speaks of it, and then of all of it: also of what goes to 127.0.0.0/8 by another interface. */
static bool interfaces_fit(const struct rule_model *rule, const struct probe *probe)
{
	const struct value *on = rule->way == WAY_IN ? rule->arriving : rule->leaving;
	if (is_loopback(probe))
		return on && value_names_loopback(on);
	return interface_fits(rule->arriving, probe->arriving) && interface_fits(rule->leaving, probe->leaving);
}

static bool rule_has(const struct rule_model *rule, const struct probe *probe)
{
	if (rule->way != probe->way || rule->rate == RATE_ABOVE || rule->rate == RATE_ABOVE_PER_SOURCE)
		return false;
	if (!interfaces_fit(rule, probe))
		return false;
	if (rule->from && !value_has(rule->from, probe->family, probe->source))
		return false;
	if (rule->to && !value_has(rule->to, probe->family, probe->destination))
		return false;
	if (rule->source_port && !value_has(rule->source_port, 0, probe->source_port))
		return false;
	return traffic_has(&rule->traffic, probe) && by_has(&rule->by, probe);
}

struct naive naive_decide(const struct model *model, const struct probe *probe)
{
	const struct way_model *way = &model->ways[probe->way];
	struct naive result = {.verdict = ALLOW, .decider = DECIDED_BY_NONE, .audited = way->audit};
	if (!way->managed)
		return result;
	if (!is_loopback(probe)) {
		result.verdict = way->action;
		result.decider = DECIDED_BY_DEFAULT;
	}
	for (size_t i = 0; i < model->rule_count; i++) {
		const struct rule_model *rule = &model->rules[i];
		if (!rule_has(rule, probe) || (result.decider == DECIDED_BY_RULE && rule->action <= result.verdict))
			continue;
		result.verdict = rule->action;
		result.decider = DECIDED_BY_RULE;
		result.rule = i;
	}
	return result;
}
