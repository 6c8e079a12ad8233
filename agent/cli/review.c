/*
 * What apply says besides its answer.
 *
 * Warnings go to standard error; the connections that the policy would not allow are part of the answer, because with --revoke
 * they are what was done.
 */
#include "agent/cli/review.h"
#include "agent/cli/session.h"
#include "agent/daemon/peace.h"
#include <errno.h>
#include <string.h>
#include <talloc.h>

#define SHOWN 5

static void show_session(
	const struct policy *policy, const struct flow *session, const struct answer *refusal, const char *packet, bool always)
{
	struct span span = because_span(&refusal->because);
	complain("portpolicy: warning: this policy would not %s your own session %s again: `%s` is %s because of ",
		always ? "let" : "always let", session->direction == DIRECTION_IN ? "in" : "out", packet,
		refusal->verdict == VERDICT_DENY ? "denied" : "rejected");
	if (span.source)
		complain("%s:%u: %s\n", span.source->name, span_position(span).line, because_text(&refusal->because));
	else
		complain("%s\n", because_text(&refusal->because));
	(void)policy;
}

int warn_of_session(void *ctx, const struct policy *policy)
{
	return session_check(ctx, policy, show_session);
}

int warn_of_host(void *ctx, const struct invocation *call, struct kernel *kernel, const struct policy *policy)
{
	struct concerns *concerns;
	int status = find_concerns(ctx, kernel, call->table, policy, &concerns);
	if (status == -ENOMEM)
		return status;
	for (size_t i = 0; !status && i < concerns->count; i++)
		complain("portpolicy: warning: %s\n", concerns->texts[i]);
	return warn_of_session(ctx, policy);
}

static const char *plural(size_t count)
{
	return count == 1 ? "" : "s";
}

static void print_one(const struct unwanted *one)
{
	struct span span = because_span(&one->answer.because);
	printf("  %s", one->text);
	if (span.source)
		printf("  # %s:%u", span.source->name, span_position(span).line);
	putchar('\n');
}

void print_review(const struct review *review, bool ended)
{
	size_t shown = ended || review->count <= SHOWN ? review->count : SHOWN;
	if (review->count && ended)
		printf("%zu standing connection%s ended:\n", review->ended, plural(review->ended));
	else if (review->count)
		printf("%zu standing connection%s would not be allowed now, and go%s on; `apply --revoke` ends such:\n",
			review->count, plural(review->count), review->count == 1 ? "es" : "");
	for (size_t i = 0; i < shown; i++)
		print_one(&review->at[i]);
	if (shown < review->count)
		printf("  and %zu more\n", review->count - shown);
	if (review->failed)
		complain("portpolicy: %zu connection%s could not be ended\n", review->failed, plural(review->failed));
	if (review->sockets_kept)
		complain("portpolicy: warning: this kernel closes no sockets of others: a connection that its local end goes on "
			 "with may come back "
			 "where the other direction allows it\n");
	if (review->left_out)
		complain("portpolicy: warning: %zu standing connection%s not looked at: too many\n", review->left_out,
			review->left_out == 1 ? " was" : "s were");
}

static json_t *unwanted_object(const struct unwanted *one)
{
	json_t *object = json_object();
	if (json_set(object, "packet", json_text(one->text)) ||
		json_set(object, "verdict", json_string(verdict_word(one->answer.verdict))) ||
		json_set(object, "because", json_because(&one->answer.because))) {
		json_decref(object);
		return NULL;
	}
	return object;
}

int json_review(json_t *object, const struct review *review, bool ended)
{
	json_t *list = json_array();
	int error = list ? 0 : -ENOMEM;
	for (size_t i = 0; !error && i < review->count; i++)
		error = json_push(list, unwanted_object(&review->at[i]));
	if (error) {
		json_decref(list);
		return error;
	}
	error = json_set(object, ended ? "ended" : "unwanted", list);
	return error ? error : json_set(object, "not_looked_at", json_integer((json_int_t)review->left_out));
}
