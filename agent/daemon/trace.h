/*
 * What was asked of the world while a policy was loaded: every file, also those that were not there, every glob.
 *
 * It answers two questions later: what has to be watched, and what the policy was as a whole, to be kept (policies.h).
 */
#ifndef PORTPOLICY_TRACE_H
#define PORTPOLICY_TRACE_H

#include "agent/daemon/store.h"
#include "portpolicy/environment.h"
#include <sys/types.h>
#include <time.h>

/* A file as it stood; all zero where there was none. */
struct file_mark {
	dev_t device;
	ino_t inode;
	off_t size;
	mode_t mode;
	struct timespec modified, changed;
};

enum traced_kind { TRACED_POLICY, TRACED_LIST, TRACED_NAME /* canonical name asked for */, TRACED_GLOB };

struct traced {
	enum traced_kind kind;
	const char *path;
	struct file_mark mark; /* as it was before it was read; not of a glob */
	int error;	       /* 0 or negative */
	const char *real;      /* TRACED_NAME */
	char *bytes;	       /* TRACED_POLICY, and TRACED_LIST where lists are kept */
	size_t length;
	char **found; /* TRACED_GLOB */
	size_t found_count;
	struct traced *next;
};

struct trace {
	struct environment environment; /* to load with */
	const struct environment *inner;
	struct traced *first, **last;
	bool accounts;   /* users or groups were asked for */
	bool keep_lists; /* their bytes are kept too */
	void *hash;
};

/* `inner` must outlive it.  0 or -ENOMEM. */
int trace_new(void *ctx, const struct environment *inner, struct trace **out);
/* Of the bytes of all policies and lists that were read, in reading order; however their paths are spelt. */
void trace_digest(const struct trace *trace, char out[DIGEST_ROOM]);
/* Lets go of all bytes: what is left tells what to watch, and the digest. */
void trace_forget(struct trace *trace);
/* 0 or a negative errno, where *out is all zero. */
int file_mark(const char *path, struct file_mark *out);
bool file_mark_equal(const struct file_mark *a, const struct file_mark *b);

#endif
