/*
 * What the command leaves to a running agent: reload, hold, and, for other verbs, whatever would be undone if it were done behind
 * its back.
 */
#include "agent/cli/cli.h"
#include "agent/daemon/control.h"
#include <errno.h>
#include <string.h>
#include <talloc.h>

#define ANSWER_SECONDS 120 /* the largest policies take that long to compile */
#define STATUS_SECONDS 10

static int unanswered(const struct invocation *call, int error)
{
	if (error == -ENOMEM)
		return error;
	if (error == -EPERM)
		complain("portpolicy: %s must run as root: the agent does not listen to others\n", call->verb);
	else if (error == -ETIMEDOUT)
		complain("portpolicy: the agent does not answer\n");
	else
		complain("portpolicy: the agent cannot be asked: %s\n", strerror(-error));
	return STATUS_FAILED;
}

bool agent_there(const struct invocation *call)
{
	json_t *answer = NULL;
	int status = control_ask(call->table, json_pack("{s:s}", "verb", "status"), -1, STATUS_SECONDS, &answer);
	if (!status)
		json_decref(answer);
	return status != 1; /* one that does not answer is one, too */
}

int ask_agent(const struct invocation *call, json_t *request, int descriptor, json_t **result)
{
	json_t *answer = NULL;
	if (!request)
		return -ENOMEM;
	int status = control_ask(call->table, request, descriptor, ANSWER_SECONDS, &answer);
	if (status == 1)
		return AGENT_NONE;
	if (status)
		return unanswered(call, status);
	const char *messages = json_string_value(json_object_get(answer, "messages"));
	json_t *number = json_object_get(answer, "status");
	status = json_is_integer(number) ? (int)json_integer_value(number) : STATUS_FAILED;
	if (messages)
		complain("%s", messages);
	if (result)
		*result = json_incref(json_object_get(answer, "result"));
	json_decref(answer);
	return status < STATUS_YES || status > STATUS_FAILED ? STATUS_FAILED : status;
}

static int no_agent(const struct invocation *call)
{
	complain("portpolicy: no agent keeps table inet %s here; there is nothing to %s\n", call->table, call->verb);
	return STATUS_FAILED;
}

int verb_reload(void *ctx, const struct invocation *call)
{
	(void)ctx;
	if (call->operand_count)
		return usage_error(call, "reload takes no operand: the agent reads its own policy");
	int status = ask_agent(call, json_pack("{s:s}", "verb", "reload"), -1, NULL);
	if (status == AGENT_NONE)
		return no_agent(call);
	if (status)
		return status;
	if (call->json)
		return json_print(json_pack("{s:s,s:b}", "table", call->table, "reloaded", 1));
	printf("in force: the agent's policy, as it is now\n");
	return STATUS_YES;
}

int verb_hold(void *ctx, const struct invocation *call)
{
	char text[32];
	unsigned seconds = 0;
	bool end = call->operand_count == 1 && !strcmp(call->operands[0], "end");
	(void)ctx;
	if (call->operand_count != 1 || (!end && parse_time(call->operands[0], &seconds)))
		return usage_error(call, "hold takes a time, such as 10m, or `end`");
	int status = ask_agent(call, json_pack("{s:s,s:I}", "verb", "hold", "seconds", (json_int_t)seconds), -1, NULL);
	if (status == AGENT_NONE)
		return no_agent(call);
	if (status)
		return status;
	if (call->json)
		return json_print(json_pack("{s:s,s:I}", "table", call->table, "hold", (json_int_t)seconds));
	time_text(seconds, text);
	if (end)
		printf("the agent keeps the rules again\n");
	else
		printf("the agent repairs nothing for %s; `portpolicy hold end` ends it earlier\n", text);
	return STATUS_YES;
}
