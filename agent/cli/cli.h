/*
 * The command: what its verbs share.
 *
 * A verb is one file with one function: it parses nothing but its own operands, calls the stages, and prints. The exit status is
 * the return value; a negative errno is passed up to main, which says what went wrong.
 */
#ifndef PORTPOLICY_CLI_H
#define PORTPOLICY_CLI_H

#include "agent/daemon/pending.h"
#include "portpolicy/decision.h"
#include "portpolicy/environment.h"
#include "portpolicy/kernel.h"
#include "portpolicy/policy.h"
#include <jansson.h>

enum status { STATUS_YES = 0, STATUS_NO = 1, STATUS_FAILED = 2 };

#define DEFAULT_POLICY "/etc/portpolicy/host.policy"
#define DEFAULT_TABLE "portpolicy"
#define STATE_DIRECTORY "/var/lib/portpolicy"
#define INSTALLED_LIBRARY "/usr/share/portpolicy/rules"

/* One call of the program, made by main from its arguments. */
struct invocation {
	const char *verb;
	const char **operands;
	size_t operand_count;
	bool json, strict, no_owner, write, check, markdown;
	const char *file, *host, *table, *as, *from, *unknown;
	enum encoding encoding;
	const char **include; /* -I, in the order given */
	size_t include_count;
	unsigned confirm; /* seconds after which an apply is undone; 0: never */
	bool revoke;
	bool keep_lists; /* the bytes of lists are wanted too (agent/daemon/bundle.h) */
};

int verb_check(void *ctx, const struct invocation *call);
int verb_fmt(void *ctx, const struct invocation *call);
int verb_explain(void *ctx, const struct invocation *call);
int verb_compile(void *ctx, const struct invocation *call);
int verb_diff(void *ctx, const struct invocation *call);
int verb_plan(void *ctx, const struct invocation *call);
int verb_apply(void *ctx, const struct invocation *call);
int verb_remove(void *ctx, const struct invocation *call);
int verb_confirm(void *ctx, const struct invocation *call);
int verb_rollback(void *ctx, const struct invocation *call);
int verb_status(void *ctx, const struct invocation *call);
int verb_reload(void *ctx, const struct invocation *call);
int verb_hold(void *ctx, const struct invocation *call);
int verb_agent(void *ctx, const struct invocation *call);
int verb_import(void *ctx, const struct invocation *call);

/*
 * The real world. `careful`: files that somebody other than root may write are refused with -EPERM.
 * `main_path` is the policy that the user named: an error in reading it is kept for world_error, because
 * that is a failure to answer where a missing include is a mistake in the policy.
 */
struct world;
int world_new(void *ctx, const struct invocation *call, const char *main_path, bool careful, struct world **out);
const struct environment *world_environment(const struct world *world);
void world_answer_for(struct world *world, const char *host);
int world_error(const struct world *world); /* 0 or a negative errno */
/* What was asked of a careful world (agent/daemon/trace.h); NULL for others. */
struct trace *world_trace(const struct world *world);
/* Lists are as they were last known, whatever their files say now: for a policy that is brought back. */
void world_prefer_known(struct world *world);
/* A ruleset made of this world is in force: what its lists, users and groups said is what stays when they are gone. */
void world_keep_known(struct world *world);

/* May nobody but root write this file or put another in its place?  0, -EPERM or another negative errno. */
int path_trusted(void *ctx, const char *path);
/* May nobody but root write what `descriptor` is open on? */
int descriptor_trusted(int descriptor);

/* Loads FILE for this host (or --host) and prints what is wrong. Returns a status, and the policy with STATUS_YES; or a negative errno. */
int load_policy(void *ctx, const struct invocation *call, const char *path, bool careful, struct policy **out, struct world **world);
/* The same and on to the ruleset: refuses what may not be installed. */
int load_ruleset(void *ctx, const struct invocation *call, bool careful, struct policy **policy, struct world **world, struct ruleset **out);
/* From a policy to its ruleset: refuses what may not be installed. Returns as load_ruleset; prints nothing. */
int policy_ruleset(void *ctx, const struct invocation *call, const struct policy *policy, struct diagnostics *diagnostics,
	struct ruleset **out);
/* The path as it leads from everywhere; links in it stay. NULL: out of memory. */
char *absolute_path(void *ctx, const char *path);
/* The one operand FILE, the default, or NULL after a usage error. */
const char *policy_operand(const struct invocation *call);

/*
 * Puts `text` in the place of the file's `bytes`, by rename, with its mode, owner and attributes. Returns a status after a message, or -ENOMEM.
 * Refuses links and a file that is no longer `bytes`.
 */
int replace_file(void *ctx, const char *path, const char *bytes, size_t length, const char *text);

/* A length of time as the command takes it: 60s, 5m, 1h; at least a second, at most a day.  0 or -EINVAL. */
int parse_time(const char *word, unsigned *seconds);
/* The same for a reader: "5 minutes", "90 seconds". */
void time_text(unsigned seconds, char out[32]);

/* What the kernel said to the changes that it refused, at the policy line at fault; returns STATUS_FAILED or -ENOMEM. */
int show_refusal(void *ctx, const struct refusal *refusal);

/*
 * Undoes a change whose time to be confirmed is over although no guardian is left to do so, and says so. *left is then, or where one is still pending,
 * NULL or that change.  STATUS_YES or STATUS_FAILED after a message, or -ENOMEM.
 */
int settle_pending(void *ctx, const struct invocation *call, struct kernel *kernel, struct pending **left);
/* Called before the kernel is changed by `apply --confirm`; starts the guardian. Returns as settle_pending. */
int begin_pending(void *ctx, const struct invocation *call, struct kernel *kernel, const struct policy *policy, const char *digest, bool by_agent,
	struct pending **out);

/* Does an agent keep this table here? */
bool agent_there(const struct invocation *call);
/*
 * Asks it for something (agent/daemon/commands.c); steals the request, prints what it has to say, and gives the status that it answers.  *result, where wanted, is a
 * new reference, or NULL.  AGENT_NONE when there is none; STATUS_FAILED after a message when it does not answer.
 */
#define AGENT_NONE 3
int ask_agent(const struct invocation *call, json_t *request, int descriptor, json_t **result);

/* Standard error. */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
int usage_error(const struct invocation *call, const char *format, ...) __attribute__((format(printf, 2, 3)));
void print_diagnostic(const struct diagnostic *diagnostic);
void print_diagnostics(const struct diagnostics *diagnostics);
/* Says why the kernel could not be asked at all, and returns STATUS_FAILED. */
int kernel_unreachable(const struct invocation *call, int error);

/* Words for values. */
const char *verdict_word(enum verdict verdict);
const char *direction_word(enum direction direction);
struct span because_span(const struct because *because); /* no place for builtin and unmanaged */
const char *because_text(const struct because *because);
/* "in, out" of the directions that are managed, or that are not; "" for none. NULL: out of memory. */
char *direction_list(void *ctx, const struct policy *policy, bool managed);

/* JSON. Every function that makes a value returns NULL when memory is short; json_set then fails too, so one check at the end does. */
json_t *json_text(const char *text); /* bytes that are not UTF-8 become U+FFFD; NULL becomes null */
int json_set(json_t *object, const char *key, json_t *value); /* steals value; 0 or -ENOMEM */
int json_push(json_t *array, json_t *value);
json_t *json_because(const struct because *because);
json_t *json_diagnostic(const struct diagnostic *diagnostic);
int json_print(json_t *value); /* one line on standard output; releases value */

#endif
