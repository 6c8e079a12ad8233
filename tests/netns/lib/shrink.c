/*
 * Smaller policies: each step leaves out one thing, a rule first, then a clause, then a member of a set.
 */
#include "tests/netns/lib/model.h"
#include <stdlib.h>
#include <string.h>
#include <talloc.h>

static struct model *copy(void *ctx, const struct model *model)
{
	struct model *smaller = talloc_memdup(ctx, model, sizeof(*model));
	if (!smaller)
		abort();
	return smaller;
}

struct model *model_smaller(void *ctx, const struct model *model, size_t step)
{
	struct model *smaller = copy(ctx, model);
	if (step < model->rule_count) {
		memmove(&smaller->rules[step], &smaller->rules[step + 1], (model->rule_count - step - 1) * sizeof(model->rules[0]));
		smaller->rule_count--;
		return smaller;
	}
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
