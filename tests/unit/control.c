/*
 * The control socket (agent/daemon/control.c): what it answers, and that no client holds it up.
 */
#include "agent/daemon/control.h"
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <talloc.h>
#include <unistd.h>
/* after the above */
#include <cmocka.h>

struct fixture {
	char place[64];
	struct loop *loop;
	struct loop_timer *end;
	struct control *control;
	unsigned asked;
	pid_t client;
};

/* Says back what was asked, and the bytes behind the descriptor. */
static json_t *echo(void *data, const json_t *request, int descriptor)
{
	char bytes[64] = "";
	struct fixture *fixture = data;
	fixture->asked++;
	if (json_object_get(request, "large")) {
		char *large = calloc(1, 2000001);
		json_t *answer = NULL;
		if (large) {
			memset(large, 'x', 2000000);
			answer = json_pack("{s:s}", "large", large);
		}
		free(large);
		return answer;
	}
	if (descriptor >= 0 && pread(descriptor, bytes, sizeof bytes - 1, 0) < 0)
		return NULL;
	return json_pack("{s:O,s:s}", "asked", json_object_get(request, "verb"), "brought", bytes);
}

static int stop(void *data)
{
	(void)data;
	return -ECANCELED; /* ends loop_run */
}

static int set_up(void **state)
{
	struct fixture *fixture = talloc_zero(NULL, struct fixture);
	*state = fixture;
	strcpy(fixture->place, "/tmp/portpolicy-control-XXXXXX");
	if (!mkdtemp(fixture->place) || setenv("RUNTIME_DIRECTORY", fixture->place, 1) || loop_new(fixture, &fixture->loop) ||
		loop_timer(fixture->loop, fixture, stop, fixture, &fixture->end))
		return -1;
	return control_new(fixture, fixture->loop, control_path(fixture, "portpolicy"), echo, fixture, &fixture->control);
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;
	talloc_free(fixture->control);
	int error = rmdir(fixture->place); /* the socket went with the listener */
	talloc_free(fixture);
	return error;
}

static int child_ended(struct fixture *fixture)
{
	int status;
	return waitpid(fixture->client, &status, WNOHANG) == fixture->client ? WIFEXITED(status) ? WEXITSTATUS(status) : 99 : -1;
}

/* Serves until the client process ends, and gives its exit status. */
static int serve(struct fixture *fixture)
{
	for (int i = 0; i < 500; i++) {
		loop_timer_set(fixture->end, loop_now() + 20);
		if (loop_run(fixture->loop) != -ECANCELED)
			return 98;
		int status = child_ended(fixture);
		if (status >= 0)
			return status;
	}
	kill(fixture->client, SIGKILL);
	waitpid(fixture->client, NULL, 0);
	return 97;
}

#define IN_CLIENT(fixture) if (!((fixture)->client = fork()))

static int ask(const char *word)
{
	json_t *answer;
	int status = control_ask("portpolicy", json_pack("{s:s}", "verb", word), -1, 4, &answer);
	return status ? 100 - status : strcmp(json_string_value(json_object_get(answer, "asked")), word) != 0;
}

static int raw(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	snprintf(address.sun_path, sizeof address.sun_path, "%s/control", getenv("RUNTIME_DIRECTORY"));
	return connect(descriptor, (struct sockaddr *)&address, sizeof address) ? -1 : descriptor;
}

static void question_and_answer(void **state)
{
	struct fixture *fixture = *state;
	IN_CLIENT(fixture) _exit(ask("status") || ask("again"));
	assert_int_equal(serve(fixture), 0);
	assert_int_equal(fixture->asked, 2);
}

static void descriptor_comes_along(void **state)
{
	struct fixture *fixture = *state;
	IN_CLIENT(fixture)
	{
		json_t *answer;
		int file = memfd_create("policy", MFD_CLOEXEC);
		if (write(file, "a policy", 8) != 8)
			_exit(1);
		if (control_ask("portpolicy", json_pack("{s:s}", "verb", "apply"), file, 4, &answer))
			_exit(2);
		_exit(strcmp(json_string_value(json_object_get(answer, "brought")), "a policy") ? 3 : 0);
	}
	assert_int_equal(serve(fixture), 0);
}

static void nobody_there(void **state)
{
	json_t *answer;
	(void)state;
	assert_int_equal(control_ask("other", json_pack("{s:s}", "verb", "status"), -1, 1, &answer), 1);
}

static void silent_clients_shut_nobody_out(void **state)
{
	struct fixture *fixture = *state;
	IN_CLIENT(fixture)
	{
		for (int i = 0; i < CONTROL_CLIENTS_MAX * 3; i++)
			if (raw() < 0)
				_exit(1);
		_exit(ask("status"));
	}
	assert_int_equal(serve(fixture), 0);
}

static void who_does_not_take_the_answer(void **state)
{
	struct fixture *fixture = *state;
	IN_CLIENT(fixture)
	{
		for (int i = 0; i < CONTROL_CLIENTS_MAX + 2; i++)
			if (write(raw(), "{\"large\": 1}\n", 13) != 13)
				_exit(1);
		_exit(ask("status"));
	}
	assert_int_equal(serve(fixture), 0);
}

static void large_answers_arrive(void **state)
{
	struct fixture *fixture = *state;
	IN_CLIENT(fixture)
	{
		json_t *answer;
		if (control_ask("portpolicy", json_pack("{s:b}", "large", 1), -1, 4, &answer))
			_exit(1);
		_exit(json_string_length(json_object_get(answer, "large")) != 2000000);
	}
	assert_int_equal(serve(fixture), 0);
}

static void slow_clients_are_slow_alone(void **state)
{
	struct fixture *fixture = *state;
	IN_CLIENT(fixture)
	{
		static const char line[] = "{\"verb\": \"slow\"}\n";
		char answer[64];
		int slow = raw();
		for (size_t i = 0; i < sizeof line - 1; i++) {
			if (write(slow, line + i, 1) != 1 || (i % 4 == 0 && ask("status")))
				_exit(1);
		}
		_exit(read(slow, answer, sizeof answer) <= 0);
	}
	assert_int_equal(serve(fixture), 0);
}

static void garbage_without_end(void **state)
{
	struct fixture *fixture = *state;
	IN_CLIENT(fixture)
	{
		static char garbage[1 << 20];
		signal(SIGPIPE, SIG_IGN);
		for (int i = 0; i < 4; i++)
			if (write(raw(), garbage, sizeof garbage) == sizeof garbage)
				_exit(1); /* it should have been cut off */
		for (size_t i = 0; i < sizeof garbage; i++)
			garbage[i] = i % 3 ? '{' : '\n';
		int descriptor = raw();
		if (write(descriptor, garbage, sizeof garbage) < 0 && errno != EPIPE && errno != ECONNRESET)
			_exit(2);
		_exit(ask("status"));
	}
	assert_int_equal(serve(fixture), 0);
	assert_int_equal(fixture->asked, 1);
}

static void clients_that_go(void **state)
{
	struct fixture *fixture = *state;
	IN_CLIENT(fixture)
	{
		for (int i = 0; i < 200; i++) {
			int descriptor = raw();
			if (i % 2 && write(descriptor, "{\"verb\": \"x\"", 12) != 12)
				_exit(1);
			close(descriptor);
		}
		_exit(ask("status"));
	}
	assert_int_equal(serve(fixture), 0);
}

static void other_users(void **state)
{
	struct fixture *fixture = *state;
	if (geteuid())
		skip();
	char *path = control_path(fixture, "portpolicy");
	assert_int_equal(chmod(fixture->place, 0755) || chmod(path, 0666), 0); /* even if somebody opens the door */
	IN_CLIENT(fixture)
	{
		if (setgid(65534) || setuid(65534))
			_exit(1);
		_exit(ask("status") == 100 + EPERM ? 0 : 2);
	}
	assert_int_equal(serve(fixture), 0);
	assert_int_equal(fixture->asked, 0);
}

static void socket_is_private(void **state)
{
	struct fixture *fixture = *state;
	struct stat status;
	assert_int_equal(stat(control_path(fixture, "portpolicy"), &status), 0);
	assert_int_equal(status.st_mode & 07777, 0600);
}

static void second_listener(void **state)
{
	struct fixture *fixture = *state;
	struct control *second;
	char *path = control_path(fixture, "portpolicy");
	assert_int_equal(control_new(fixture, fixture->loop, path, echo, fixture, &second), -EADDRINUSE);
	/* one that was killed leaves its socket behind */
	TALLOC_FREE(fixture->control);
	int stale = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	strcpy(address.sun_path, path);
	assert_int_equal(bind(stale, (struct sockaddr *)&address, sizeof address), 0);
	close(stale);
	assert_int_equal(control_new(fixture, fixture->loop, path, echo, fixture, &fixture->control), 0);
	question_and_answer(state);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(question_and_answer),
		TEST(descriptor_comes_along),
		TEST(nobody_there),
		TEST(silent_clients_shut_nobody_out),
		TEST(who_does_not_take_the_answer),
		TEST(large_answers_arrive),
		TEST(slow_clients_are_slow_alone),
		TEST(garbage_without_end),
		TEST(clients_that_go),
		TEST(other_users),
		TEST(socket_is_private),
		TEST(second_listener),
	};
	return cmocka_run_group_tests_name("control", tests, NULL, NULL);
}
