/*
 * What is wrong in a policy is told where it stands, once, with its likely fix; and what may not be meant is warned of.
 */
#include "tests/unit/memory.h"

/* The message, and the hint: parts of them. */
struct mistake {
	const char *text, *message, *hint; /* NULL: any */
};

static const struct mistake mistakes[] = {
	{"allow in any from 10.1.2.3/8", "", "10.0.0.0/8"},
	{"allow in any from 2001:db8::1/32", "", "2001:db8::/32"},
	{"allow in any from 192.0.2.9-192.0.2.1", "reversed", "192.0.2.1-192.0.2.9"},
	{"allow in any from 192.0.2.1-2001:db8::1", "IPv4", NULL},
	{"allow in any from 10.0.0.0/64", "prefix", "IPv6"},
	{"allow in any from ::ffff:192.0.2.1", "mapped", "192.0.2.1"},
	{"allow in any from ::ffff:192.0.2.0/120", "mapped", "192.0.2.0/24"},
	{"allow in any from fe80::1%eth0", "", "on"},
	{"allow in any from 010.0.0.1", "", "10.0.0.1"},
	{"allow in any from 192.0.2.256", "", "255"},
	{"allow in any from 192.0.2.1/33", "32", NULL},
	{"allow in any from \"192.0.2.1\"", "quotes", "192.0.2.1"},
	{"allow in any from \"no host\"", "host name", NULL},
	{"allow in any from api.example.com", "", "\"api.example.com\""},
	{"allow in any from {}", "empty", NULL},
	{"allow in any from 10.0.0.0/8 except 0.0.0.0/0", "", NULL},
	{"addresses office = 10.0.0.0/8\nallow in any from $office\nallow in any from $offcie", "$offcie", "$office"},
	{"addresses office = 10.0.0.0/8\nallow in any from $office\nallow in any from office", "", "$office"},
	{"addresses a = $b\naddresses b = $c\naddresses c = $a\nallow in any from $a", "itself", NULL},
	{"addresses a = 10.0.0.0/8\naddresses a = 10.0.0.0/9\nallow in any from $a", "twice", "+="},
	{"ports p = 80\nallow in any from $p", "ports", NULL},
	{"addresses p = 10.0.0.1\nallow in tcp/$p", "addresses", NULL},
	{"ports p = 80\naddresses p = 10.0.0.1\nallow in tcp/$p", "", NULL},
	{"addresses self = 10.0.0.1\nallow in any from $self", "reserved", NULL},
	{"allow in any from $resolvers", "reserved", NULL},
	{"addresses a += 10.0.0.1\nallow in any from $a", "never defined", "="},
	{"service tcp = tcp/80", "tcp", NULL},
	{"service within = tcp/80", "within", NULL},
	{"include <services>\nallow in shh", "shh", "ssh"},
	{"allow in tpc", "tpc", "tcp"},
	{"allow in tcp/htps", "htps", "https"},
	{"allow in tcp/ephemeral", "ephemeral", "32768-60999"},
	{"allow in tcp/65536", "65535", NULL},
	{"allow in tcp/90-80", "reversed", "80-90"},
	{"allow in tcp/80 except 80", "", NULL},
	{"allow in tcp/bootps", "bootps", "udp"},
	{"allow in icmp/echo-requst", "echo-requst", "echo-request"},
	{"allow in icmp/nd-router-advert", "nd-router-advert", NULL},
	{"allow in icmp/256", "255", NULL},
	{"allow in protocol 44", "extension header", NULL},
	{"allow in protocol 256", "255", NULL},
	{"allow in esp/5", "ports", "esp"},
	{"allow in icmp source port 5", "source port", NULL},
	{"allow in any source port 5", "source port", NULL},
	{"allow in icmp from 2001:db8::/32", "", NULL},
	{"allow in tcp from 192.0.2.1 to 2001:db8::1", "", NULL},
	{"allow in tcp by user root", "out", NULL},
	{"allow in tcp arriving on eth0", "", "on"},
	{"default forward deny\nallow forward tcp on eth0", "", "arriving on"},
	{"allow in tcp on \"e*0\"", "asterisk", NULL},
	{"allow in tcp on averyveryverylongname", "15", NULL},
	{"allow out tcp/443", "out", "default out"},
	{"deny in tcp limit 10/minute", "limit", "above"},
	{"allow in tcp above 10/minute", "above", "limit"},
	{"allow in tcp limit 0/minute", "zero", NULL},
	{"allow in tcp limit 10/fortnight", "fortnight", NULL},
	{"allow in tcp limit 99999999999999999999/second", "at most", NULL},
	{"default in reject", "default", NULL},
	{"default in deny log", "default", NULL},
	{"mode in audit\nmode in enforce", "mode", NULL},
	{"mode audit\nmode in enforce", "mode", NULL},
	{"include <service>", "service", "services"},
	{"include <zzz>", "zzz", "<base>, <services>"},
	{"allow in tcp on { eth0, eth1 } except \"eth*\"", "interface", NULL},
	{"include \"none.policy\"", "none.policy", NULL},
	{"include \"host.policy\"", "itself", NULL},
	{"language 1", "", NULL},
	{"deny in tcp/1 log \"0123456789012345678901234567890123456789012345678901234567890123456789\"", "64", NULL},
	{"default out deny\nallow out tcp by user 4294967295", "4294967294", NULL},
};

static bool says(const struct world *world, const struct mistake *mistake)
{
	for (const struct diagnostic *one = world->diagnostics->first; one; one = one->next)
		if (one->severity == SEVERITY_ERROR && strstr(one->message, mistake->message) &&
			(!mistake->hint || (one->hint && strstr(one->hint, mistake->hint))))
			return true;
	return false;
}

static void a_mistake_is_one_error_with_its_likely_fix(void **state)
{
	size_t failures = 0;
	(void)state;
	for (size_t i = 0; i < sizeof mistakes / sizeof *mistakes; i++) {
		char *text = talloc_asprintf(NULL, "default in deny\n%s\n", mistakes[i].text);
		LOAD(world, "h", {"host.policy", text});
		if (world.diagnostics->errors != 1 || !says(&world, &mistakes[i])) {
			print_error("%zu errors, wanted \"%s\" (%s):\n", world.diagnostics->errors, mistakes[i].message, mistakes[i].hint ? mistakes[i].hint : "");
			show(&world);
			failures++;
		}
		talloc_free(world.ctx);
		talloc_free(text);
	}
	assert_int_equal(failures, 0);
}

static void one_mistake_does_not_hide_the_next(void **state)
{
	(void)state;
	LOAD_TEXT(world, "language 7\ndefault in deny\nallow in tcp/htps from 10.1.2.3/8\nallow in icmp/nosuchtype\nallow in tcp/1 limit 0/minute\n"
			 "allow out tcp/1\nexpect allow in tcp/22 from $nobody\n");
	assert_int_equal(world.diagnostics->errors, 7);
	talloc_free(world.ctx);
	LOAD_TEXT(unread, "default in dney\nallow in tcp/22\nallow out tcp/htps\n");
	assert_int_equal(unread.diagnostics->errors, 2);
	talloc_free(unread.ctx);
	LOAD_TEXT(unmanaged, "default in deny\nallow out tcp/htps\n");
	assert_int_equal(unmanaged.diagnostics->errors, 2);
	talloc_free(unmanaged.ctx);
}

static void a_cycle_of_names_is_shown(void **state)
{
	(void)state;
	LOAD_TEXT(world, "default in deny\naddresses a = $b\naddresses b = { 10.0.0.1, $c }\naddresses c = $a\nallow in any from $a\n");
	assert_int_equal(world.diagnostics->errors, 1);
	assert_non_null(strstr(world.diagnostics->first->message, "$b"));
	assert_non_null(strstr(world.diagnostics->first->message, "$c"));
	talloc_free(world.ctx);
}

static void a_cycle_of_files_shows_both_places(void **state)
{
	(void)state;
	LOAD(world, "h", {"host.policy", "default in deny\ninclude \"b.policy\"\n"}, {"b.policy", "\ninclude \"host.policy\"\n"});
	const struct diagnostic *one = world.diagnostics->first;
	assert_int_equal(world.diagnostics->errors, 1);
	assert_string_equal(one->span.source->name, "b.policy");
	assert_int_equal(span_position(one->span).line, 2);
	assert_non_null(one->related.source);
	assert_string_equal(one->related.source->name, "host.policy");
	assert_int_equal(span_position(one->related).line, 2);
	talloc_free(world.ctx);
}

static void a_conflict_shows_both_places(void **state)
{
	static const char *const texts[] = {"default in deny\ndefault in allow\n", "default in deny\nmode audit\nmode enforce\n",
		"default in deny\naddresses a = 10.0.0.1\naddresses a = 10.0.0.2\nallow in any from $a\n"};
	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		LOAD_TEXT(world, texts[i]);
		assert_int_equal(world.diagnostics->errors, 1);
		assert_non_null(world.diagnostics->first->related.source);
		assert_true(world.diagnostics->first->related.begin < world.diagnostics->first->span.begin);
		talloc_free(world.ctx);
	}
}

static void very_many_mistakes_come_to_an_end(void **state)
{
	(void)state;
	char *text = talloc_strdup(NULL, "default in deny\n");
	for (int i = 0; i < 5000; i++)
		text = talloc_asprintf_append_buffer(text, "allow in nosuch%d from $none%d\n", i, i);
	LOAD(world, "h", {"host.policy", text});
	assert_in_range(world.diagnostics->errors, 10, 1000);
	talloc_free(world.ctx);
	talloc_free(text);
}

static void many_host_names_do_not_run_away(void **state)
{
	(void)state;
	char *text = talloc_strdup(NULL, "default out deny\nallow out any to {");
	for (int i = 0; i < 2000; i++)
		text = talloc_asprintf_append_buffer(text, " \"h%d.example\",", i);
	text = talloc_strdup_append_buffer(text, "} except { \"x.example\", \"y.example\" }\n");
	LOAD(world, "h", {"host.policy", text});
	assert_true(world.outcome >= 0);
	talloc_free(world.ctx);
	talloc_free(text);
}

static void warnings_for_what_is_probably_not_meant(void **state)
{
	static const struct mistake cases[] = {
		{"allow in tcp/1 from any except 10.0.0.0/8", "W003", NULL},
		{"allow in icmp/echo-reply", "W004", NULL},
		{"allow in icmpv6/packet-too-big", "W004", NULL},
		{"allow in icmpv6/{ echo-request, packet-too-big }", "W004", NULL},
		{"allow in tcp to \"a.example\"\nallow in udp to \"a.example\"", "W005", NULL},
		{"ports none = { 1-2, 3 }\nallow in tcp/4 from file \"comments.txt\"\nallow in tcp/$none", "W006", NULL},
		{"addresses spare = 10.0.0.1", "W002", NULL},
		{"service extra = tcp/1", "W002", NULL},
		{"default out deny\nallow out tcp/1 by user nosuch", "W001", NULL},
		{"allow in tcp/1 from file \"none.txt\"", "W001", NULL},
	};
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char *text = talloc_asprintf(NULL, "default in deny\n%s\n", cases[i].text);
		LOAD(world, "h", {"host.policy", text}, {"comments.txt", "# none\n"});
		bool found = false;
		assert_int_equal(world.outcome, 0);
		for (const struct diagnostic *one = world.diagnostics->first; one; one = one->next)
			found |= one->severity == SEVERITY_WARNING && !strcmp(one->code, cases[i].message);
		if (!found || world.diagnostics->warnings != 1) {
			show(&world);
			fail_msg("%s: wanted %s once", cases[i].text, cases[i].message);
		}
		talloc_free(world.ctx);
		talloc_free(text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_mistake_is_one_error_with_its_likely_fix),
		cmocka_unit_test(one_mistake_does_not_hide_the_next),
		cmocka_unit_test(a_cycle_of_names_is_shown),
		cmocka_unit_test(a_cycle_of_files_shows_both_places),
		cmocka_unit_test(a_conflict_shows_both_places),
		cmocka_unit_test(very_many_mistakes_come_to_an_end),
		cmocka_unit_test(many_host_names_do_not_run_away),
		cmocka_unit_test(warnings_for_what_is_probably_not_meant),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
