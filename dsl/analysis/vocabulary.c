/*
 * The words of two policies: the names that they use, the accounts that they call by name, the interfaces that they tell apart.
 */
#include "dsl/analysis/words.h"
#include <errno.h>
#include <string.h>
#include <talloc.h>

void add_word(struct list *list, const char *word)
{
	if (!word || list->failed || array_room(list->ctx, &list->at, sizeof *list->at, list->count)) {
		list->failed = true;
		return;
	}
	list->at[list->count++] = word;
}

char *listed(const struct list *list, size_t most)
{
	if (list->failed)
		return NULL;
	if (list->count == 1)
		return talloc_strdup(list->ctx, list->at[0]);
	size_t shown = most && list->count > most + 1 ? most : list->count;
	char *text = talloc_strdup(list->ctx, "{ ");
	for (size_t i = 0; i < shown && text; i++)
		text = talloc_asprintf_append_buffer(text, "%s%s", i ? ", " : "", list->at[i]);
	if (text && shown < list->count)
		text = talloc_asprintf_append_buffer(text, ", ... %zu more", list->count - shown);
	return text ? talloc_asprintf_append_buffer(text, " }") : NULL;
}

char *excepted(void *ctx, const char *whole, const struct list *list, size_t most)
{
	char *text = listed(list, most);
	return text ? talloc_asprintf(ctx, "%s except %s", whole, text) : NULL;
}

static bool named_equal(const struct policy_name *a, const struct policy_name *b)
{
	return addresses_equal(a->addresses, b->addresses) && intervals_equal(a->ports, b->ports) &&
	       traffic_equal(&a->traffic, &b->traffic);
}

static int add_ambiguous(struct vocabulary *vocabulary, const struct policy_name *named)
{
	size_t count = vocabulary->ambiguous_count;
	if (array_room(vocabulary, &vocabulary->ambiguous, sizeof *vocabulary->ambiguous, count) ||
		array_room(vocabulary, &vocabulary->ambiguous_kind, sizeof *vocabulary->ambiguous_kind, count))
		return -ENOMEM;
	vocabulary->ambiguous[count] = named->name;
	vocabulary->ambiguous_kind[count] = named->kind;
	vocabulary->ambiguous_count++;
	return 0;
}

bool is_ambiguous(const struct vocabulary *vocabulary, bool service, const char *name)
{
	for (size_t i = 0; i < vocabulary->ambiguous_count; i++)
		if ((vocabulary->ambiguous_kind[i] == NAMED_SERVICE) == service && !strcmp(vocabulary->ambiguous[i], name))
			return true;
	return false;
}

static struct policy_name *find_name(const struct vocabulary *vocabulary, const struct policy_name *wanted)
{
	for (size_t i = 0; i < vocabulary->name_count; i++)
		if ((vocabulary->names[i].kind == NAMED_SERVICE) == (wanted->kind == NAMED_SERVICE) &&
			!strcmp(vocabulary->names[i].name, wanted->name))
			return &vocabulary->names[i];
	return NULL;
}

static int add_names(struct vocabulary *vocabulary, const struct policy *policy)
{
	struct policy_name *list;
	size_t count;
	int error = policy_names(vocabulary, policy, &list, &count);
	for (size_t i = 0; i < count && !error; i++) {
		const struct policy_name *known = find_name(vocabulary, &list[i]);
		if (known && !named_equal(known, &list[i]))
			error = add_ambiguous(vocabulary, known);
		if (known || error)
			continue;
		error = array_room(vocabulary, &vocabulary->names, sizeof *vocabulary->names, vocabulary->name_count);
		if (!error)
			vocabulary->names[vocabulary->name_count++] = list[i];
	}
	return error;
}

static int add_patterns(struct vocabulary *vocabulary, const struct interface_pattern *patterns, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (!patterns[i].prefix && !strcmp(patterns[i].name, "lo"))
			continue;
		bool known = false;
		for (size_t k = 0; k < vocabulary->pattern_count && !known; k++)
			known = vocabulary->patterns[k]->prefix == patterns[i].prefix &&
				!strcmp(vocabulary->patterns[k]->name, patterns[i].name);
		if (known)
			continue;
		if (array_room(vocabulary, &vocabulary->patterns, sizeof *vocabulary->patterns, vocabulary->pattern_count))
			return -ENOMEM;
		vocabulary->patterns[vocabulary->pattern_count++] = &patterns[i];
	}
	return 0;
}

static int add_policy(struct vocabulary *vocabulary, const struct policy *policy)
{
	int error = add_names(vocabulary, policy);
	for (size_t i = 0; i < policy->account_count && !error; i++) {
		error = array_room(vocabulary, &vocabulary->accounts, sizeof *vocabulary->accounts, vocabulary->account_count);
		if (!error)
			vocabulary->accounts[vocabulary->account_count++] = &policy->accounts[i];
	}
	for (size_t i = 0; i < policy->rule_count && !error; i++) {
		const struct interfaces *ends[] = {&policy->rules[i].match.arriving, &policy->rules[i].match.leaving};
		for (int end = 0; end < 2 && !error; end++) {
			error = add_patterns(vocabulary, ends[end]->in, ends[end]->in_count);
			error = error ? error : add_patterns(vocabulary, ends[end]->out, ends[end]->out_count);
		}
	}
	return error;
}

int vocabulary_new(
	void *ctx, const struct policy *const *policies, size_t count, const struct joint *joint, struct vocabulary **out)
{
	struct vocabulary *vocabulary = talloc_zero(ctx, struct vocabulary);
	int error = vocabulary ? 0 : -ENOMEM;
	if (vocabulary)
		vocabulary->joint = joint;
	for (size_t i = 0; i < count && !error; i++)
		error = add_policy(vocabulary, policies[i]);
	*out = vocabulary;
	return error;
}

static bool item_ambiguous(const struct vocabulary *vocabulary, const struct item *item)
{
	if (!item)
		return false;
	if ((item->kind == ITEM_NAME || item->kind == ITEM_WORD) && is_ambiguous(vocabulary, item->kind == ITEM_WORD, item->text))
		return true;
	if (item_ambiguous(vocabulary, item->low) || item_ambiguous(vocabulary, item->high))
		return true;
	for (const struct item *one = item->items; one; one = one->next)
		if (item_ambiguous(vocabulary, one))
			return true;
	return false;
}

bool vocabulary_ambiguous(const struct vocabulary *vocabulary, const struct match_node *node)
{
	return item_ambiguous(vocabulary, node->traffic) || item_ambiguous(vocabulary, node->from) ||
	       item_ambiguous(vocabulary, node->to) || item_ambiguous(vocabulary, node->source_port);
}
