/*
 * A policy kept whole (agent/daemon/bundle.c): it is the same policy when its files are gone, and what is torn is no policy.
 */
#include "agent/daemon/bundle.h"
#include "tests/unit/memory.h"

static const struct memory_file files[] = {
	{"host.policy", "language 1\ninclude <services>\ninclude \"part.policy\"\ninclude \"more/*.policy\"\ndefault in "
			"deny\nallow in ssh from $lan\n"},
	{"part.policy", "addresses lan += { 192.0.2.0/24, file \"list.txt\" }\n"},
	{"more/a.policy", "allow in tcp/80\n"},
	{"more/b.policy", "allow in tcp/443 # no newline at the end"},
	{"list.txt", "198.51.100.0/24\n"},
};

static struct policy *load_from(void *ctx, const struct environment *environment)
{
	struct policy *policy = NULL;
	struct diagnostics *diagnostics = diagnostics_new(ctx);
	int outcome = policy_load(ctx, "host.policy", environment, diagnostics, &policy);
	for (const struct diagnostic *one = diagnostics->first; one; one = one->next)
		diagnostic_print(stderr, one, false);
	return outcome ? NULL : policy;
}

struct fixture {
	struct world world;
	struct trace *trace;
	struct policy *policy;
	char *text;
	size_t length;
};

static struct fixture traced(void)
{
	struct fixture fixture = {.world = world_of(files, sizeof files / sizeof *files, "web1.example")};
	return fixture;
}

static void keep(struct fixture *fixture)
{
	fixture->world.environment.data = &fixture->world;
	assert_int_equal(trace_new(fixture->world.ctx, &fixture->world.environment, &fixture->trace), 0);
	fixture->policy = load_from(fixture->world.ctx, &fixture->trace->environment);
	assert_non_null(fixture->policy);
	fixture->text = bundle_text(fixture->world.ctx, "host.policy", fixture->trace, 1234, &fixture->length);
	assert_non_null(fixture->text);
}

/* Only the list is left: it is kept elsewhere. */
static struct world emptied(void)
{
	return world_of(&files[4], 1, "web1.example");
}

static void same_policy_without_its_files(void **state)
{
	struct fixture fixture = traced();
	struct world empty = emptied();
	struct bundle *bundle;
	char digest[DIGEST_ROOM];
	(void)state;
	keep(&fixture);
	empty.environment.data = &empty;
	assert_int_equal(bundle_parse(empty.ctx, fixture.text, fixture.length, &empty.environment, &bundle), 0);
	trace_digest(fixture.trace, digest);
	assert_string_equal(bundle->digest, digest);
	assert_string_equal(bundle->main, "host.policy");
	assert_int_equal(bundle->kept, 1234);
	struct policy *again = load_from(empty.ctx, &bundle->environment);
	assert_non_null(again);
	assert_int_equal(again->rule_count, fixture.policy->rule_count);
	assert_int_equal(again->source_count, fixture.policy->source_count);
	for (size_t i = 0; i < again->rule_count; i++) {
		assert_string_equal(again->rules[i].id, fixture.policy->rules[i].id);
		assert_string_equal(again->rules[i].span.source->name, fixture.policy->rules[i].span.source->name);
	}
	talloc_free(empty.ctx);
	talloc_free(fixture.world.ctx);
}

static void torn_anywhere_is_none(void **state)
{
	struct fixture fixture = traced();
	struct bundle *bundle;
	(void)state;
	keep(&fixture);
	for (size_t cut = 0; cut < fixture.length; cut += 7)
		assert_int_equal(bundle_parse(fixture.world.ctx, fixture.text, cut, NULL, &bundle), -EBADMSG);
	for (size_t at = 0; at < fixture.length; at += 11) {
		fixture.text[at] ^= 1;
		assert_int_equal(bundle_parse(fixture.world.ctx, fixture.text, fixture.length, NULL, &bundle), -EBADMSG);
		fixture.text[at] ^= 1;
	}
	assert_int_equal(bundle_parse(fixture.world.ctx, fixture.text, fixture.length, NULL, &bundle), 0);
	talloc_free(fixture.world.ctx);
}

/* Whoever can write the digest can write lengths too: they must not lead outside. */
static void lengths_that_lie(void **state)
{
	static const char *const bodies[] = {"policy 00 1 99999999\nx\n", "policy 00 1 1\nx\nfile 1 18446744073709551615\na\nb\n",
		"policy 00 1 1\nx\nglob 1 18446744073709551615\na\n", "policy 00 1 1\nx\nglob 1 2\na\npath 1\nb\n",
		"policy 00 1 1\nx\nnonsense 1 1\na\nb\n", "policy 00 1 1\nx\nfile\n", "policy 00 1 1\nx\nlibrary 5\na\n",
		"policy 00 1 1\nxy"};
	struct bundle *bundle;
	void *ctx = talloc_new(NULL);
	(void)state;
	for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
		char digest[DIGEST_ROOM];
		digest_text(bodies[i], strlen(bodies[i]), digest);
		char *text = talloc_asprintf(ctx, "portpolicy bundle 1 %s\n%s", digest, bodies[i]);
		assert_int_equal(bundle_parse(ctx, text, strlen(text), NULL, &bundle), -EBADMSG);
	}
	talloc_free(ctx);
}

static void digest_tells_policies_apart(void **state)
{
	static const struct memory_file other[] = {{"host.policy", "default in deny\n"}},
					same[] = {{"host.policy", "default in deny\n"}},
					more[] = {{"host.policy", "default in deny\nallow in tcp/22\n"}};
	const struct memory_file *const sets[] = {other, same, more};
	char digests[3][DIGEST_ROOM];
	(void)state;
	for (int i = 0; i < 3; i++) {
		struct world world = world_of(sets[i], 1, "web1.example");
		struct trace *trace;
		world.environment.data = &world;
		assert_int_equal(trace_new(world.ctx, &world.environment, &trace), 0);
		assert_non_null(load_from(world.ctx, &trace->environment));
		trace_digest(trace, digests[i]);
		talloc_free(world.ctx);
	}
	assert_string_equal(digests[0], digests[1]);
	assert_string_not_equal(digests[0], digests[2]);
}

int main(void)
{
	(void)load;
	(void)show;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(same_policy_without_its_files),
		cmocka_unit_test(torn_anywhere_is_none),
		cmocka_unit_test(lengths_that_lie),
		cmocka_unit_test(digest_tells_policies_apart),
	};
	return cmocka_run_group_tests_name("bundle", tests, NULL, NULL);
}
