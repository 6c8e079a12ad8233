/*
 * From trees to a policy: every rule's clauses become sets of numbers.
 *
 * A mistake is reported where it stands and replaced by something harmless, so that one run shows all of them; a policy with mistakes is
 * never handed out.
 */
#include "dsl/language/resolve.h"
#include <errno.h>
#include <nettle/sha2.h>
#include <stdlib.h>
#include <string.h>
#include <talloc.h>

#define TEXT_MAX 64
#define ERRORS_MAX 100

static const char *const direction_words[] = {"in", "out", "forward"};

int gap_add(struct resolver *resolver, struct scope *scope, struct span span, const char *what)
{
	if (array_room(resolver->ctx, &scope->gaps->at, sizeof *scope->gaps->at, scope->gaps->count))
		return -ENOMEM;
	scope->gaps->at[scope->gaps->count++] = (struct gap){span, what, scope->negated};
	return 0;
}

int gaps_pass(struct resolver *resolver, struct scope *scope, const struct gaps *gaps)
{
	int error = 0;
	for (size_t i = 0; i < gaps->count && !error; i++) {
		struct scope inner = {.gaps = scope->gaps, .negated = scope->negated != gaps->at[i].negated};
		error = gap_add(resolver, &inner, gaps->at[i].span, gaps->at[i].what);
	}
	return error;
}

static void check_interfaces(struct resolver *resolver, const struct match_node *node)
{
	struct diagnostic *one;
	if (node->direction == DIRECTION_FORWARD && node->on) {
		one = report_error(resolver->diagnostics, node->on->span, "a forwarded packet has two interfaces; `on` does not say which");
		diagnostic_hint(resolver->diagnostics, one, "write `arriving on` or `leaving on`");
	}
	const struct item *ends[] = {node->arriving, node->leaving};
	for (int i = 0; i < 2 && node->direction != DIRECTION_FORWARD; i++) {
		if (!ends[i])
			continue;
		one = report_error(resolver->diagnostics, ends[i]->span, "`%s on` belongs to `forward`: a packet of `%s` has one interface",
			i ? "leaving" : "arriving", direction_words[node->direction]);
		if (!node->on)
			diagnostic_hint(resolver->diagnostics, one, "write `on`");
	}
}

static int resolve_interfaces(struct resolver *resolver, const struct match_node *node, struct match *out)
{
	const struct item *arriving = node->arriving, *leaving = node->leaving;
	check_interfaces(resolver, node);
	if (node->direction == DIRECTION_IN && !arriving)
		arriving = node->on;
	if (node->direction == DIRECTION_OUT && !leaving)
		leaving = node->on;
	out->interface_named = arriving || leaving;
	int error = interfaces_resolve(resolver, arriving, &out->arriving);
	return error ? error : interfaces_resolve(resolver, leaving, &out->leaving);
}

static int resolve_addresses(struct resolver *resolver, struct scope *scope, const struct item *item, struct addresses *out)
{
	if (!item)
		return addresses_any(resolver->ctx, out);
	int error = addresses_resolve(resolver, scope, item, out);
	if (error != -E2BIG)
		return error;
	report_error(resolver->diagnostics, item->span, "this makes too many combinations of host names");
	return 0;
}

static int resolve_source_ports(struct resolver *resolver, struct scope *scope, const struct match_node *node, struct match *out)
{
	out->source_port_named = node->source_port != NULL;
	if (!node->source_port)
		return intervals_single(resolver->ctx, 0, 65535, &out->source_ports);
	if (!traffic_only_ports(&out->traffic)) {
		struct diagnostic *one = report_error(resolver->diagnostics, node->source_port->span, "only tcp, udp and sctp have a source port");
		diagnostic_hint(resolver->diagnostics, one, "name the protocol, e.g. `tcp source port 1024-65535`");
	}
	uint8_t protocol = out->traffic.tcp.count && !out->traffic.udp.count && !out->traffic.sctp.count ? PROTOCOL_TCP :
			   out->traffic.udp.count && !out->traffic.tcp.count && !out->traffic.sctp.count ? PROTOCOL_UDP : 0;
	return ports_resolve(resolver, scope, node->source_port, protocol, &out->source_ports);
}

static const char *families_word(bool v4, bool v6) { return v4 && v6 ? "both families" : v4 ? "IPv4 only" : v6 ? "IPv6 only" : "nothing"; }

static void check_families(struct resolver *resolver, const struct match_node *node, const struct match *match)
{
	bool traffic[FAMILIES], from[FAMILIES], to[FAMILIES], shared = false;
	for (int family = 0; family < FAMILIES; family++) {
		traffic[family] = traffic_has(&match->traffic, (enum family)family);
		from[family] = addresses_have(match->from, (enum family)family);
		to[family] = addresses_have(match->to, (enum family)family);
		shared |= traffic[family] && from[family] && to[family];
	}
	if (shared || (!from[0] && !from[1]) || (!to[0] && !to[1]))
		return;
	struct diagnostic *one = report_error(resolver->diagnostics, node->span, "no packet can match: its traffic, from and to share no address family");
	diagnostic_hint(resolver->diagnostics, one, "the traffic is of %s, from of %s, to of %s", families_word(traffic[0], traffic[1]),
		families_word(from[0], from[1]), families_word(to[0], to[1]));
}

int match_resolve(struct resolver *resolver, struct scope *scope, const struct match_node *node, struct match *out)
{
	size_t errors = resolver->diagnostics->errors;
	*out = (struct match){.direction = node->direction};
	int error = traffic_resolve(resolver, scope, node->traffic, &out->traffic);
	error = error ? error : resolve_interfaces(resolver, node, out);
	error = error ? error : resolve_addresses(resolver, scope, node->from, &out->from);
	error = error ? error : resolve_addresses(resolver, scope, node->to, &out->to);
	if (!error && errors == resolver->diagnostics->errors)
		error = resolve_source_ports(resolver, scope, node, out);
	error = error ? error : subjects_resolve(resolver, scope, node->by, &out->by);
	if (error)
		return error;
	if (node->by && node->direction != DIRECTION_OUT) {
		struct diagnostic *one = report_error(resolver->diagnostics, node->by->span, "only an outgoing packet has a process known to send it");
		diagnostic_hint(resolver->diagnostics, one, "`by` belongs to rules for `out`");
	}
	if (errors == resolver->diagnostics->errors)
		check_families(resolver, node, out);
	return 0;
}

static const char *log_text(struct resolver *resolver, const struct text_node *node)
{
	if (node && node->text && strlen(node->text) > TEXT_MAX)
		report_error(resolver->diagnostics, node->span, "the text of a log has at most %d bytes", TEXT_MAX);
	return node ? node->text : NULL;
}

static void report_conflict(struct resolver *resolver, const struct statement *first, const struct statement *second, enum direction direction,
	const char *what)
{
	struct diagnostic *one = report_error(resolver->diagnostics, second->span, "`%s` has another %s already", direction_words[direction], what);
	diagnostic_related(resolver->diagnostics, one, first->span, "it stands here");
}

static bool same_default(const struct statement *a, const struct statement *b)
{
	const char *x = a->log ? a->log->text : NULL, *y = b->log ? b->log->text : NULL;
	return a->action == b->action && !a->log == !b->log && (x == y || (x && y && !strcmp(x, y)));
}

/* A statement without a direction speaks of all three; what it contradicts is said once. */
static void set_modes(struct resolver *resolver, const struct statement *statement)
{
	const struct statement *other = NULL;
	for (int direction = 0; direction < DIRECTIONS; direction++) {
		const struct statement **known = &resolver->direction_mode[direction];
		if (statement->has_direction && statement->direction != (enum direction)direction)
			continue;
		if (*known && (*known)->mode != statement->mode && !other)
			report_conflict(resolver, other = *known, statement, (enum direction)direction, "mode");
		if (!*known)
			*known = statement;
		resolver->policy->directions[direction].mode = (*known)->mode;
	}
}

static int set_default(struct resolver *resolver, const struct statement *statement)
{
	const struct statement **known = &resolver->direction_default[statement->direction];
	struct direction_policy *direction = &resolver->policy->directions[statement->direction];
	if (*known && !same_default(*known, statement))
		report_conflict(resolver, *known, statement, statement->direction, "default");
	if (*known)
		return 0;
	*known = statement;
	direction->managed = true;
	direction->action = statement->action;
	direction->log = statement->log != NULL;
	direction->log_text = log_text(resolver, statement->log);
	direction->span = statement->span;
	direction->text = span_text(resolver->ctx, statement->span);
	return direction->text ? 0 : -ENOMEM;
}

static int resolve_directions(struct resolver *resolver)
{
	int error = 0;
	for (size_t i = 0; i < resolver->entry_count && !error; i++) {
		const struct statement *statement = resolver->entries[i].statement;
		if (statement->kind == STATEMENT_DEFAULT)
			error = set_default(resolver, statement);
		if (statement->kind != STATEMENT_MODE)
			continue;
		set_modes(resolver, statement);
	}
	return error;
}

/* Twelve digits of a hash: long enough that ten thousand rules share one by accident in less than one of a million policies. */
static char *make_id(void *ctx, const char *text, size_t number)
{
	struct sha256_ctx hash;
	uint8_t digest[6];
	char count[24];
	snprintf(count, sizeof count, "\n%zu", number);
	sha256_init(&hash);
	sha256_update(&hash, strlen(text), (const uint8_t *)text);
	sha256_update(&hash, strlen(count), (const uint8_t *)count);
	sha256_digest(&hash, sizeof digest, digest);
	return talloc_asprintf(ctx, "%02x%02x%02x%02x%02x%02x", digest[0], digest[1], digest[2], digest[3], digest[4], digest[5]);
}

static int add_unknowns(struct resolver *resolver, const struct gaps *gaps, bool rule, enum action action)
{
	for (size_t i = 0; i < gaps->count; i++) {
		bool blocks = rule && (action == ACTION_ALLOW) == gaps->at[i].negated;
		if (array_room(resolver->ctx, &resolver->unknowns, sizeof *resolver->unknowns, resolver->unknown_count))
			return -ENOMEM;
		resolver->unknowns[resolver->unknown_count++] = (struct unknown){gaps->at[i].span, gaps->at[i].what, blocks};
	}
	return 0;
}

/* A rule for a direction that is left alone is a mistake, and may hold others. */
static bool managed(struct resolver *resolver, const struct entry *entry)
{
	const struct statement *statement = entry->statement;
	if (resolver->policy->directions[statement->direction].managed)
		return true;
	if (resolver->unread) /* the default may stand there */
		return false;
	struct diagnostic *one = report_error(resolver->diagnostics, statement->span, "`%s` is not managed, so this rule would do nothing",
		direction_words[statement->direction]);
	diagnostic_hint(resolver->diagnostics, one, "say what becomes of the rest: `default %s deny`", direction_words[statement->direction]);
	return false;
}

/* Sets that are empty by what a list holds, or by what another file defines, are obeyed; that may surprise. */
static void warn_of_nothing(struct resolver *resolver, const struct rule *rule)
{
	const struct match *match = &rule->match;
	const char *why = traffic_empty(&match->traffic) ? "its traffic is empty" : !match->from.count ? "its `from` is empty" :
			  !match->to.count ? "its `to` is empty" : !match->source_ports.count ? "its source port is empty" : NULL;
	if (why && !resolver->quiet)
		report_warning(resolver->diagnostics, "W006", rule->span, "this rule matches nothing: %s", why);
}

static int make_rule(struct resolver *resolver, const struct entry *entry, struct rule *rule)
{
	const struct rule_node *node = &entry->statement->rule;
	struct gaps gaps = {0};
	struct scope scope = {.library = entry->library, .gaps = &gaps};
	*rule = (struct rule){.span = entry->statement->span, .written = &node->match, .action = node->action, .log = node->log != NULL, .log_text = log_text(resolver, node->log),
		.reason = node->reason ? node->reason->text : NULL};
	size_t errors = resolver->diagnostics->errors;
	resolver->quiet = entry->library;
	int error = match_resolve(resolver, &scope, &node->match, &rule->match);
	if (!error && !gaps.count && errors == resolver->diagnostics->errors)
		warn_of_nothing(resolver, rule);
	error = error ? error : limits_resolve(resolver, node, rule);
	error = error ? error : add_unknowns(resolver, &gaps, true, node->action);
	rule->text = span_text(resolver->ctx, rule->span);
	return error ? error : rule->text ? 0 : -ENOMEM;
}

static int make_expect(struct resolver *resolver, const struct entry *entry, struct expectation *expect)
{
	struct gaps gaps = {0};
	struct scope scope = {.library = entry->library, .gaps = &gaps};
	*expect = (struct expectation){.span = entry->statement->span, .written = &entry->statement->rule.match, .allow = entry->statement->expect_allow};
	resolver->quiet = true;
	int error = match_resolve(resolver, &scope, &entry->statement->rule.match, &expect->match);
	error = error ? error : add_unknowns(resolver, &gaps, false, ACTION_ALLOW);
	expect->text = span_text(resolver->ctx, expect->span);
	return error ? error : expect->text ? 0 : -ENOMEM;
}

/* In a library an allow for a direction that is left alone says nothing. */
static bool left_out(const struct resolver *resolver, const struct entry *entry)
{
	const struct statement *statement = entry->statement;
	return entry->library && statement->action == ACTION_ALLOW && !resolver->policy->directions[statement->direction].managed;
}

static int resolve_statements(struct resolver *resolver)
{
	struct rule *rules = talloc_array(resolver->ctx, struct rule, resolver->entry_count + 1);
	struct expectation *expects = talloc_array(resolver->ctx, struct expectation, resolver->entry_count + 1);
	struct policy *policy = resolver->policy;
	int error = rules && expects ? 0 : -ENOMEM;
	for (size_t i = 0; i < resolver->entry_count && !error && !enough_errors(resolver); i++) {
		const struct entry *entry = &resolver->entries[i];
		if (entry->statement->kind == STATEMENT_RULE && !left_out(resolver, entry)) {
			error = make_rule(resolver, entry, &rules[policy->rule_count]);
			policy->rule_count += managed(resolver, entry);
		}
		if (entry->statement->kind == STATEMENT_EXPECT)
			error = make_expect(resolver, entry, &expects[policy->expect_count++]);
	}
	policy->rules = rules;
	policy->expects = expects;
	return error;
}

static int by_text(const void *left, const void *right)
{
	const struct rule *const *a = left, *const *b = right;
	int order = strcmp((*a)->text, (*b)->text);
	return order ? order : (*a > *b) - (*a < *b);
}

/* Equal rules are told apart by their number among equals. */
static int number_rules(struct resolver *resolver)
{
	size_t count = resolver->policy->rule_count, equals = 0;
	struct rule *rules = (struct rule *)(uintptr_t)resolver->policy->rules, **sorted = talloc_array(resolver->scratch, struct rule *, count + 1);
	if (!sorted)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		sorted[i] = &rules[i];
	qsort(sorted, count, sizeof *sorted, by_text);
	for (size_t i = 0; i < count; i++) {
		equals = i && !strcmp(sorted[i - 1]->text, sorted[i]->text) ? equals + 1 : 0;
		sorted[i]->id = make_id(resolver->ctx, sorted[i]->text, equals);
		if (!sorted[i]->id)
			return -ENOMEM;
	}
	for (int i = 0; i < DIRECTIONS; i++) {
		struct direction_policy *direction = &resolver->policy->directions[i];
		if (direction->managed && !(direction->id = make_id(resolver->ctx, direction->text, 0)))
			return -ENOMEM;
	}
	return 0;
}

bool enough_errors(const struct resolver *resolver) { return resolver->diagnostics->errors >= resolver->errors_before + ERRORS_MAX; }

static int resolve_all(struct resolver *resolver, const char *path)
{
	int error = load_entries(resolver, path);
	error = error ? error : names_collect(resolver);
	error = error ? error : resolve_directions(resolver);
	error = error ? error : resolve_statements(resolver);
	error = error ? error : names_finish(resolver);
	if (enough_errors(resolver))
		report_file_error(resolver->diagnostics, path, "more mistakes may follow; the rest was not read");
	return error ? error : number_rules(resolver);
}

static void hand_over(struct resolver *resolver)
{
	struct policy *policy = resolver->policy;
	policy->hosts = resolver->hosts;
	policy->host_count = resolver->host_count;
	policy->units = resolver->units;
	policy->unit_count = resolver->unit_count;
	policy->accounts = resolver->accounts;
	policy->account_count = resolver->account_count;
	policy->unknowns = resolver->unknowns;
	policy->unknown_count = resolver->unknown_count;
	policy->sources = resolver->sources;
	policy->source_count = resolver->source_count;
	policy->scope = resolver;
	resolver->entries = NULL;
	resolver->entry_count = 0;
	resolver->scratch = NULL;
	resolver->diagnostics = NULL;
}

static struct resolver *resolver_new(void *ctx, const struct environment *environment, struct diagnostics *diagnostics)
{
	struct policy *policy = talloc_zero(ctx, struct policy);
	struct resolver *resolver = policy ? talloc_zero(policy, struct resolver) : NULL;
	if (!resolver || !(resolver->scratch = talloc_new(policy))) {
		talloc_free(policy);
		return NULL;
	}
	resolver->ctx = policy;
	resolver->policy = policy;
	resolver->environment = environment;
	resolver->diagnostics = diagnostics;
	resolver->errors_before = diagnostics->errors;
	return resolver;
}

/*
 * Messages point into sources, which therefore live as long as the list of messages does: after a failure the policy's memory is given to
 * it.
 */
int policy_load(void *ctx, const char *path, const struct environment *environment, struct diagnostics *diagnostics, struct policy **out)
{
	struct resolver *resolver = resolver_new(ctx, environment, diagnostics);
	size_t errors = diagnostics->errors;
	*out = NULL;
	if (!resolver)
		return -ENOMEM;
	struct policy *policy = resolver->policy;
	policy->file = talloc_strdup(policy, path);
	policy->host = talloc_strdup(policy, environment->host);
	int error = policy->file && policy->host ? resolve_all(resolver, path) : -ENOMEM;
	if (!error && diagnostics->exhausted)
		error = -ENOMEM;
	TALLOC_FREE(resolver->scratch);
	if (error || diagnostics->errors != errors) {
		talloc_steal(diagnostics, policy);
		return error ? error : 1;
	}
	hand_over(resolver);
	*out = policy;
	return 0;
}

int policy_question(void *ctx, const struct policy *policy, const struct environment *environment, const struct match_node *node,
	struct diagnostics *diagnostics, struct match *out)
{
	struct resolver resolver = *(const struct resolver *)policy->scope;
	struct gaps gaps = {0};
	struct scope scope = {.gaps = &gaps};
	size_t errors = diagnostics->errors;
	resolver.ctx = ctx;
	resolver.scratch = ctx;
	resolver.environment = environment;
	resolver.diagnostics = diagnostics;
	resolver.asking = resolver.quiet = true;
	int error = match_resolve(&resolver, &scope, node, out);
	if (!error && gaps.count && errors == diagnostics->errors)
		report_error(diagnostics, gaps.at[0].span, "%s is not known on this host", gaps.at[0].what);
	return error ? error : diagnostics->errors != errors;
}
