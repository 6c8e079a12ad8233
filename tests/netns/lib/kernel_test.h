/*
 * What the tests of the kernel layer share: a namespace of its own for each test, and words for rulesets.
 */
#ifndef PORTPOLICY_KERNEL_TEST_H
#define PORTPOLICY_KERNEL_TEST_H

#include "agent/kernel/kernel.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <libnftnl/common.h>
#include <linux/netfilter/nf_tables.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <talloc.h>
#include <unistd.h>

#include <cmocka.h> /* behind the headers that it needs */

#define KEY1(name) .keys = {name}, .key_count = 1
#define COUNT(array) (sizeof(array) / sizeof(*(array)))
#define ETH0 ((u128)0x65746830 << 88)
#define ETH ((u128)0x657468 << 96)
#define V6 ((u128)0x20010db800000000 << 64)

static inline bool write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	if (fd >= 0)
		close(fd);
	return done;
}

/* As root a network namespace, else a user namespace around it. */
static inline bool enter_namespace(void)
{
	char map[64];
	uid_t uid = getuid();
	gid_t gid = getgid();
	if (!unshare(CLONE_NEWNET))
		return true;
	if (unshare(CLONE_NEWUSER | CLONE_NEWNET))
		return false;
	write_file("/proc/self/setgroups", "deny");
	snprintf(map, sizeof(map), "0 %u 1", uid);
	write_file("/proc/self/uid_map", map);
	snprintf(map, sizeof(map), "0 %u 1", gid);
	return write_file("/proc/self/gid_map", map);
}

static inline int shell(const char *command)
{
	int status = system(command);
	return status == -1 || !WIFEXITED(status) ? -1 : WEXITSTATUS(status);
}

struct state {
	void *ctx;
	struct kernel *kernel;
};

/* Runs the body in a child of its own namespace; its failed assertions become one of ours. */
static inline void in_namespace(void (*body)(struct state *state))
{
	pid_t child = fork();
	int status;
	assert_true(child >= 0);
	if (!child) {
		struct state state = {.ctx = talloc_new(NULL)};
		alarm(120);
		if (!enter_namespace() || kernel_open(state.ctx, &state.kernel))
			_exit(77);
		shell("ip link set lo up");
		body(&state);
		talloc_free(state.ctx);
		exit(0);
	}
	waitpid(child, &status, 0);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* In the child there is no test to fail: the process does. */
#define CHECK(condition)                                                                                                         \
	do {                                                                                                                     \
		if (!(condition)) {                                                                                              \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                                  \
			_exit(1);                                                                                                \
		}                                                                                                                \
	} while (0)

#define IPV4                                                                                                                     \
	{                                                                                                                        \
		.kind = STEP_COMPARE, KEY1(KEY_NFPROTO), .first = 2                                                              \
	}
#define IPV6                                                                                                                     \
	{                                                                                                                        \
		.kind = STEP_COMPARE, KEY1(KEY_NFPROTO), .first = 10                                                             \
	}
#define PROTOCOL(number)                                                                                                         \
	{                                                                                                                        \
		.kind = STEP_COMPARE, KEY1(KEY_L4PROTO), .first = number                                                         \
	}
#define VERDICT(name)                                                                                                            \
	{                                                                                                                        \
		.kind = STEP_VERDICT, .verdict = NFT_VERDICT_##name                                                              \
	}
#define TO(name, target)                                                                                                         \
	{                                                                                                                        \
		.kind = STEP_VERDICT, .verdict = NFT_VERDICT_##name, .object = target                                            \
	}
#define RULE(...)                                                                                                                \
	{                                                                                                                        \
		.steps = (const struct step[]){__VA_ARGS__}, .count = COUNT(((const struct step[]){__VA_ARGS__})),               \
		.comment = "why"                                                                                                 \
	}

#define VALUES(...) .values = {(const struct interval[]){__VA_ARGS__}, COUNT(((const struct interval[]){__VA_ARGS__}))}
#define ELEMENTS(...)                                                                                                            \
	.elements = (const struct element[]){__VA_ARGS__}, .element_count = COUNT(((const struct element[]){__VA_ARGS__}))
#define EXACT(...)                                                                                                               \
	{                                                                                                                        \
		.first = {__VA_ARGS__}, .last = { __VA_ARGS__ }                                                                  \
	}

static inline int install(struct state *state, const struct ruleset *wanted, size_t *changed)
{
	struct changes *changes;
	struct refusal refusal;
	const char *problem;
	int status = kernel_install(state->ctx, state->kernel, "test", wanted, &changes, &refusal, &problem);
	*changed = changes ? changes->count : 0;
	if (status)
		fprintf(stderr, "install: %d, %s, change %d, %s\n", status, refusal.error ? strerror(refusal.error) : "-",
			refusal.change ? (int)refusal.change->kind : -1, problem ? problem : "-");
	return status;
}

static inline struct ruleset *dump(struct state *state)
{
	struct ruleset *ruleset;
	uint32_t generation;
	CHECK(!kernel_dump(state->ctx, state->kernel, "test", &ruleset, &generation));
	CHECK(generation);
	return ruleset;
}

static inline bool namespaces_allowed(void)
{
	int status;
	pid_t child = fork();
	if (!child) {
		struct kernel *kernel;
		_exit(!enter_namespace() || kernel_open(NULL, &kernel));
	}
	return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && !WEXITSTATUS(status);
}

#endif
