/*
 * import: a policy out of somebody else's ruleset.
 *
 * The policy goes to standard output; what could not be said, line by line, and the counts go to standard error. What is printed
 * has been proved against the source, or it is not printed.
 */
#include "portpolicy/import.h"
#include "agent/cli/cli.h"
#include <errno.h>
#include <string.h>
#include <talloc.h>

static int find_kind(const struct invocation *call, enum foreign_kind *kind)
{
	static const struct {
		const char *name;
		enum foreign_kind kind;
	} kinds[] = {{"iptables", FOREIGN_IPTABLES}, {"ip6tables", FOREIGN_IP6TABLES}, {"nft", FOREIGN_NFT}, {"ufw", FOREIGN_UFW},
		{"ipset", FOREIGN_IPSET}};
	*kind = FOREIGN_GUESS;
	if (!call->from)
		return STATUS_YES;
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
		if (!strcmp(call->from, kinds[i].name)) {
			*kind = kinds[i].kind;
			return STATUS_YES;
		}
	return usage_error(call, "--from takes iptables, ip6tables, nft, ufw or ipset, not \"%s\"", call->from);
}

static int read_inputs(void *ctx, const struct invocation *call, enum foreign_kind kind, struct foreign_input *inputs)
{
	struct world *world;
	int error = world_new(ctx, call, call->operands[0], false, &world);
	if (error)
		return error;
	const struct environment *environment = world_environment(world);
	for (size_t i = 0; i < call->operand_count; i++) {
		const char *path = call->operands[i], *name = strcmp(path, "-") ? path : "<stdin>";
		struct source *source;
		char *bytes = NULL;
		size_t length = 0;
		error = environment->read_file(environment->data, ctx, path, FILE_POLICY, &bytes, &length);
		if (error == -ENOMEM)
			return error;
		if (error) {
			complain("portpolicy: cannot read %s: %s\n", name, strerror(-error));
			return STATUS_FAILED;
		}
		error = source_new(ctx, name, bytes, length, false, &source);
		if (error)
			return error;
		/* What is clearly a set or a file of settings is read as that beside the kind that was named. */
		enum foreign_kind guessed = foreign_guess(source);
		inputs[i] = (struct foreign_input){source, guessed == FOREIGN_IPSET ? guessed : kind};
	}
	return STATUS_YES;
}

static const char *const fate_words[FATES] = {"translated", "built in", "no effect", "differs", "not translated"};

static void say_remarks(const struct imported *imported)
{
	for (size_t i = 0; i < imported->note_count; i++)
		complain("note: %s\n", imported->notes[i]);
	for (size_t i = 0; i < imported->remark_count; i++) {
		const struct remark *remark = &imported->remarks[i];
		if (remark->fate != FATE_UNTRANSLATED && remark->fate != FATE_DIFFERS)
			continue;
		complain("%s:%u: %s: %s\n", remark->source ? remark->source->name : "", remark->line, fate_words[remark->fate],
			remark->reason);
	}
	complain("%zu rules: %zu translated, %zu with a difference, %zu built in, %zu without effect, %zu not translated\n",
		imported->rules, imported->fates[FATE_TRANSLATED], imported->fates[FATE_DIFFERS], imported->fates[FATE_BUILT_IN],
		imported->fates[FATE_NO_EFFECT], imported->fates[FATE_UNTRANSLATED]);
	if (imported->unproved)
		complain("portpolicy: the policy agrees with the source in %zu packets that were tried; %s\n", imported->sampled,
			imported->unproved);
}

static json_t *remark_object(const struct remark *remark)
{
	json_t *object = json_object();
	if (json_set(object, "file", json_text(remark->source ? remark->source->name : NULL)) ||
		json_set(object, "line", json_integer(remark->line)) ||
		json_set(object, "fate", json_string(fate_words[remark->fate])) ||
		json_set(object, "text", json_text(remark->text)) || json_set(object, "reason", json_text(remark->reason))) {
		json_decref(object);
		return NULL;
	}
	return object;
}

static json_t *imported_object(const struct imported *imported)
{
	json_t *object = json_object(), *remarks = json_array(), *notes = json_array(), *counts = json_object();
	static const char *const keys[FATES] = {"translated", "built_in", "no_effect", "differs", "not_translated"};
	int error = 0;
	for (size_t i = 0; !error && i < imported->remark_count; i++)
		error = json_push(remarks, remark_object(&imported->remarks[i]));
	error |= json_set(object, "policy", json_text(imported->policy));
	error |= json_set(object, "remarks", remarks);
	for (size_t i = 0; i < imported->note_count; i++)
		error |= json_push(notes, json_text(imported->notes[i]));
	error |= json_set(object, "notes", notes);
	for (int fate = 0; fate < FATES; fate++)
		error |= json_set(counts, keys[fate], json_integer((json_int_t)imported->fates[fate]));
	error |= json_set(object, "rules", json_integer((json_int_t)imported->rules));
	error |= json_set(object, "counts", counts);
	error |= json_set(object, "proved", imported->unproved ? json_false() : json_true());
	if (error) {
		json_decref(object);
		return NULL;
	}
	return object;
}

int verb_import(void *ctx, const struct invocation *call)
{
	enum foreign_kind kind;
	struct imported *imported = NULL;
	const char *problem = NULL;
	struct diagnostics *diagnostics = diagnostics_new(ctx);
	struct foreign_input *inputs = talloc_zero_array(ctx, struct foreign_input, call->operand_count + 1);
	if (!diagnostics || !inputs)
		return -ENOMEM;
	if (!call->operand_count)
		return usage_error(call, "import needs a FILE, for example: iptables-save | portpolicy import -");
	bool skip = call->unknown && !strcmp(call->unknown, "skip");
	if (call->unknown && !skip && strcmp(call->unknown, "deny"))
		return usage_error(call, "--unknown takes deny or skip, not \"%s\"", call->unknown);
	int status = find_kind(call, &kind);
	status = status ? status : read_inputs(ctx, call, kind, inputs);
	if (status)
		return status;
	status = import_policy(ctx, inputs, call->operand_count, (struct import_options){.skip_unknown = skip}, diagnostics,
		&imported, &problem);
	print_diagnostics(diagnostics);
	if (status < 0)
		return status;
	if (status == 2)
		complain("portpolicy: import: %s\n", problem);
	if (status)
		return STATUS_FAILED;
	if (call->json)
		return json_print(imported_object(imported));
	fputs(imported->policy, stdout);
	fflush(stdout);
	say_remarks(imported);
	return STATUS_YES;
}
