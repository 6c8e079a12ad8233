/*
 * What the command says: messages to standard error, answers to standard output.
 *
 * Standard error is unbuffered, so a message appears when it is made; diagnostics are gathered into one
 * buffered write so that two programs on one terminal do not mix their lines.
 */
#include "agent/cli/cli.h"
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <talloc.h>
#include <unistd.h>

static bool colour(void)
{
	const char *never = getenv("NO_COLOR"), *terminal = getenv("TERM");
	return !never && isatty(STDERR_FILENO) && terminal && strcmp(terminal, "dumb");
}

void complain(const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
}

int usage_error(const struct invocation *call, const char *format, ...)
{
	char text[400];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	complain("portpolicy: %s\n", text);
	if (call->verb)
		complain("`portpolicy %s --help` explains it\n", call->verb);
	else
		complain("`portpolicy --help` explains it\n");
	return STATUS_FAILED;
}

void print_diagnostic(const struct diagnostic *diagnostic)
{
	fflush(stdout);
	diagnostic_print(stderr, diagnostic, colour());
}

void print_diagnostics(const struct diagnostics *diagnostics)
{
	for (const struct diagnostic *one = diagnostics->first; one; one = one->next)
		print_diagnostic(one);
	if (diagnostics->exhausted)
		complain("portpolicy: out of memory: some messages are missing\n");
}

int kernel_unreachable(const struct invocation *call, int error)
{
	if (error == -EPERM || error == -EACCES)
		complain("portpolicy: %s must run as root (it needs CAP_NET_ADMIN in this network namespace)\n", call->verb);
	else if (error == -EPROTONOSUPPORT || error == -EAFNOSUPPORT)
		complain("portpolicy: this kernel has no nf_tables\n");
	else if (error == -ETIMEDOUT)
		complain("portpolicy: the kernel did not answer; whether the change was made is not known: `portpolicy plan` tells\n");
	else if (error == -EAGAIN)
		complain("portpolicy: somebody else keeps changing the ruleset; nothing was changed, try again\n");
	else
		complain("portpolicy: cannot speak to nf_tables: %s\n", strerror(-error));
	return STATUS_FAILED;
}

const char *verdict_word(enum verdict verdict)
{
	static const char *const words[] = {"allow", "deny", "reject", "unmanaged"};
	return words[verdict];
}

const char *direction_word(enum direction direction)
{
	static const char *const words[] = {"in", "out", "forward"};
	return words[direction];
}

struct span because_span(const struct because *because)
{
	switch (because->kind) {
	case BECAUSE_RULE: return because->rule->span;
	case BECAUSE_DEFAULT: return because->fallback->span;
	case BECAUSE_BUILTIN:
	case BECAUSE_UNMANAGED: break;
	}
	return (struct span){0};
}

const char *because_text(const struct because *because)
{
	switch (because->kind) {
	case BECAUSE_RULE: return because->rule->text;
	case BECAUSE_DEFAULT: return because->fallback->text;
	case BECAUSE_BUILTIN: return "loopback is allowed unless a rule names it";
	case BECAUSE_UNMANAGED: return "no default is declared for this direction";
	}
	return "";
}

char *direction_list(void *ctx, const struct policy *policy, bool managed)
{
	char *list = talloc_strdup(ctx, "");
	for (int d = 0; list && d < DIRECTIONS; d++)
		if (policy->directions[d].managed == managed)
			list = talloc_asprintf_append(list, "%s%s", *list ? ", " : "", direction_word(d));
	return list;
}
