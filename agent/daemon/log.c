/*
 * The log of the agent: lines on standard error, a bounded number of each kind.
 *
 * Somebody who changes the rules a thousand times a second must not fill the disk as well: what goes over the bound is counted,
 * and the count stands before the next line of its kind.
 */
#include "agent/daemon/daemon.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <talloc.h>

#define LINES_AT_ONCE 10
#define WINDOW_MS 10000

struct log {
	bool levels; /* standard error is the journal, which reads them */
	struct {
		uint64_t since;
		unsigned lines, left_out;
	} kinds[LOG_KINDS];
};

struct log *log_new(void *ctx)
{
	struct log *log = talloc_zero(ctx, struct log);
	if (log)
		log->levels = getenv("JOURNAL_STREAM") != NULL;
	return log;
}

static void begin_line(const struct log *log, enum log_level level)
{
	if (log->levels)
		fprintf(stderr, "<%d>", (int)level);
	fputs("portpolicy: ", stderr);
}

static bool has_room(struct log *log, enum log_kind kind, enum log_level level)
{
	uint64_t now = loop_now();
	if (now - log->kinds[kind].since > WINDOW_MS) {
		if (log->kinds[kind].left_out) {
			begin_line(log, level);
			fprintf(stderr, "(%u lines like the next were left out)\n", log->kinds[kind].left_out);
		}
		log->kinds[kind].since = now;
		log->kinds[kind].lines = log->kinds[kind].left_out = 0;
	}
	if (log->kinds[kind].lines++ < LINES_AT_ONCE)
		return true;
	log->kinds[kind].left_out++;
	return false;
}

void log_line(struct log *log, enum log_kind kind, enum log_level level, const char *format, ...)
{
	va_list arguments;
	if (!has_room(log, kind, level))
		return;
	begin_line(log, level);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
}
