/*
 * Smaller policies: each step leaves out one thing, a rule first, then a clause, then a member of a set.
 */
#include "tests/netns/lib/model.h"
#include <stdlib.h>
#include <string.h>
#include <talloc.h>

struct model *model_copy(void *ctx, const struct model *model)
{
	size_t room = model->rule_count < RULES_MAX ? RULES_MAX : model->rule_count;
	struct model *copy = talloc_memdup(ctx, model, sizeof(*model));
	if (!copy)
		abort();
	copy->rules = talloc_zero_array(copy, struct rule_model, room + 1);
	if (!copy->rules)
		abort();
	memcpy(copy->rules, model->rules, model->rule_count * sizeof(*model->rules));
	return copy;
}

static bool uses_named(const struct value *value, const struct named *named)
{
	if (!value)
		return false;
	if (value->kind == VALUE_NAME)
		return value->named == named || uses_named(value->named->first, named) || uses_named(value->named->more, named);
	for (size_t i = 0; i < value->count; i++)
		if (uses_named(value->items[i], named))
			return true;
	return false;
}

static bool traffic_uses(const struct traffic_model *traffic, const struct named *named, const struct service *service)
{
	for (size_t i = 0; i < traffic->count; i++) {
		const struct traffic_item *item = &traffic->items[i];
		if (item->service && (item->service == service || traffic_uses(&item->service->traffic, named, service)))
			return true;
		if (named && uses_named(item->behind, named))
			return true;
	}
	return false;
}

static bool used(const struct model *model, const struct named *named, const struct service *service)
{
	for (size_t i = 0; i < model->rule_count; i++) {
		const struct rule_model *rule = &model->rules[i];
		if (traffic_uses(&rule->traffic, named, service))
			return true;
		if (named && (uses_named(rule->from, named) || uses_named(rule->to, named) || uses_named(rule->source_port, named)))
			return true;
	}
	return false;
}

bool model_uses_named(const struct model *model, const struct named *named)
{
	return used(model, named, NULL);
}

bool model_uses_service(const struct model *model, const struct service *service)
{
	return used(model, NULL, service);
}

struct model *model_without(void *ctx, const struct model *model, size_t first, size_t count)
{
	struct model *smaller = model_copy(ctx, model);
	smaller->shrunk = true;
	memmove(&smaller->rules[first], &smaller->rules[first + count], (model->rule_count - first - count) * sizeof(model->rules[0]));
	smaller->rule_count -= count;
	return smaller;
}

struct model *model_smaller(void *ctx, const struct model *model, size_t step)
{
	if (step < model->rule_count)
		return model_without(ctx, model, step, 1);
	struct model *smaller = model_copy(ctx, model);
	smaller->shrunk = true;
	step -= model->rule_count;
	struct rule_model *rule = &smaller->rules[step / 12];
	if (step / 12 >= model->rule_count)
		return NULL;
	switch (step % 12) {
	case 0: rule->arriving = NULL; break;
	case 1: rule->leaving = NULL; break;
	case 2: rule->from = NULL; break;
	case 3: rule->to = NULL; break;
	case 4: rule->source_port = NULL; break;
	case 5: rule->by.kind = BY_ALL; break;
	case 6: rule->rate = RATE_NONE; break;
	case 7: rule->log = rule->reason = rule->in_block = false; break;
	case 8: rule->traffic.count -= rule->traffic.count > 1; break;
	case 9:
		rule->traffic.items += rule->traffic.count > 1;
		rule->traffic.count -= rule->traffic.count > 1;
		break;
	case 10: smaller->ways[rule->way].log = false; break;
	case 11: smaller->ways[rule->way].audit = false; break;
	}
	return smaller;
}
