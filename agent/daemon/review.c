/*
 * Standing connections before a policy.
 *
 * Each is a question to decide(). First it is asked with everything open that conntrack does not know: the interface and the
 * process. Only where the answer turns on these are they looked up, the interface from the route to the peer, the user from the
 * socket. A connection is unwanted where no way of filling in the rest would allow it; in doubt it is left.
 */
#include "agent/daemon/review.h"
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <talloc.h>
#include <time.h>

#define FLOWS_MAX ((size_t)1 << 18)

struct reviewing {
	struct decision *decision;
	struct review *review;
	size_t room;
};

/* What a question is made of, in one piece of memory. */
struct question {
	struct match match;
	struct interface_pattern arriving, leaving;
	struct address_term from, to;
	struct interval source_ports, service, source, destination, user;
};

static const struct interval all_ports = {0, 65535};

static struct intervals single(struct interval *one, u128 value)
{
	*one = (struct interval){value, value};
	return (struct intervals){one, 1};
}

static void name_interface(struct interfaces *interfaces, struct interface_pattern *pattern, const char *name)
{
	interfaces->any = !name;
	if (!name)
		return;
	*pattern = (struct interface_pattern){.name = name};
	interfaces->in = pattern;
	interfaces->in_count = 1;
	interfaces->names_loopback = !strcmp(name, "lo");
}

static void set_traffic(struct question *question, const struct flow *flow)
{
	struct traffic *traffic = &question->match.traffic;
	struct intervals service = single(&question->service, flow->service);
	if (flow->protocol == PROTOCOL_TCP)
		traffic->tcp = service;
	else if (flow->protocol == PROTOCOL_UDP)
		traffic->udp = service;
	else if (flow->protocol == PROTOCOL_SCTP)
		traffic->sctp = service;
	else if (flow->protocol == PROTOCOL_ICMP && flow->family == FAMILY_IPV4)
		traffic->icmp = service;
	else if (flow->protocol == PROTOCOL_ICMPV6 && flow->family == FAMILY_IPV6)
		traffic->icmpv6 = service;
	else
		traffic->others = single(&question->service, flow->protocol);
}

static void set_source_port(struct question *question, const struct flow *flow)
{
	bool ports = flow->protocol == PROTOCOL_TCP || flow->protocol == PROTOCOL_UDP || flow->protocol == PROTOCOL_SCTP;
	question->match.source_port_named = ports && flow->source_port;
	question->source_ports = all_ports;
	question->match.source_ports = (struct intervals){&question->source_ports, 1};
	if (question->match.source_port_named)
		question->match.source_ports = single(&question->source_ports, flow->source_port);
}

int decide_flow(void *ctx, const struct decision *decision, const struct flow *flow, const char *arriving, const char *leaving,
	const uint32_t *user, struct answer answers[4], size_t *count)
{
	struct question *question = talloc_zero(ctx, struct question);
	if (!question)
		return -ENOMEM;
	struct match *match = &question->match;
	match->direction = flow->direction;
	match->interface_named = flow->direction == DIRECTION_IN ? arriving : leaving;
	name_interface(&match->arriving, &question->arriving, flow->direction != DIRECTION_OUT ? arriving : NULL);
	name_interface(&match->leaving, &question->leaving, flow->direction != DIRECTION_IN ? leaving : NULL);
	set_traffic(question, flow);
	set_source_port(question, flow);
	question->from.of[flow->family] = single(&question->source, flow->source);
	question->to.of[flow->family] = single(&question->destination, flow->destination);
	match->from = (struct addresses){&question->from, 1};
	match->to = (struct addresses){&question->to, 1};
	match->by = (struct subjects){.any = !user, .one_process = true};
	if (user)
		match->by.users = single(&question->user, *user);
	return decide(ctx, decision, match, BUDGET_DEFAULT, answers, count);
}

static bool lets_through(enum verdict verdict)
{
	return verdict == VERDICT_ALLOW || verdict == VERDICT_UNMANAGED;
}

/* 1: some let it through; 2: none does; 0: all do. */
static int judge(const struct answer *answers, size_t count)
{
	size_t through = 0;
	for (size_t i = 0; i < count; i++)
		through += lets_through(answers[i].verdict);
	return through == count ? 0 : through ? 1 : 2;
}

static const char *interface_name(uint32_t index, char name[IF_NAMESIZE])
{
	return index ? if_indextoname(index, name) : NULL;
}

static const struct socket_entry *find_socket(const struct review *review, const struct flow *flow)
{
	if (flow->direction == DIRECTION_FORWARD || !review->sockets)
		return NULL;
	return socket_find(review->sockets, &flow->socket);
}

/* Asked again, with what can be found out. */
static int decide_known(
	void *ctx, const struct reviewing *reviewing, const struct flow *flow, struct answer answers[4], size_t *count)
{
	char arriving[IF_NAMESIZE], leaving[IF_NAMESIZE];
	const struct socket_entry *socket = find_socket(reviewing->review, flow);
	const uint32_t *user = socket && flow->direction == DIRECTION_OUT ? &socket->user : NULL;
	const char *arriving_name = flow->loopback ? "lo" : interface_name(flow->arriving, arriving);
	const char *leaving_name = flow->loopback ? "lo" : interface_name(flow->leaving, leaving);
	return decide_flow(ctx, reviewing->decision, flow, arriving_name, leaving_name, user, answers, count);
}

static void address_text(const struct flow *flow, u128 address, char out[INET6_ADDRSTRLEN])
{
	uint8_t bytes[16];
	int length = flow->family == FAMILY_IPV4 ? 4 : 16;
	for (int i = length; i-- > 0; address >>= 8)
		bytes[i] = (uint8_t)address;
	inet_ntop(length == 4 ? AF_INET : AF_INET6, bytes, out, INET6_ADDRSTRLEN);
}

static char *traffic_text(void *ctx, const struct flow *flow)
{
	static const struct {
		uint8_t protocol;
		const char *word;
	} words[] = {{PROTOCOL_TCP, "tcp"}, {PROTOCOL_UDP, "udp"}, {PROTOCOL_SCTP, "sctp"}, {PROTOCOL_ICMP, "icmp"},
		{PROTOCOL_ICMPV6, "icmpv6"}};
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (words[i].protocol == flow->protocol)
			return talloc_asprintf(ctx, "%s/%u", words[i].word, flow->service);
	return talloc_asprintf(ctx, "protocol %u", flow->protocol);
}

char *flow_text(void *ctx, const struct flow *flow)
{
	static const char *const directions[] = {"in", "out", "forward"};
	char source[INET6_ADDRSTRLEN], destination[INET6_ADDRSTRLEN], port[32] = "";
	char *traffic = traffic_text(ctx, flow), *text = NULL;
	address_text(flow, flow->source, source);
	address_text(flow, flow->destination, destination);
	if (flow->source_port)
		snprintf(port, sizeof port, " source port %u", flow->source_port);
	if (traffic)
		text = talloc_asprintf(ctx, "%s %s from %s%s to %s%s", directions[flow->direction], traffic, source, port,
			destination, flow->loopback ? " on lo" : "");
	talloc_free(traffic);
	return text;
}

static int keep_unwanted(struct reviewing *reviewing, const struct flow *flow, const struct answer *answer)
{
	struct review *review = reviewing->review;
	if (review->count == reviewing->room) {
		size_t room = reviewing->room ? reviewing->room * 2 : 64;
		struct unwanted *more = talloc_realloc(review, review->at, struct unwanted, room);
		if (!more)
			return -ENOMEM;
		review->at = more;
		reviewing->room = room;
	}
	struct unwanted *one = &review->at[review->count++];
	*one = (struct unwanted){.flow = flow, .answer = *answer, .text = flow_text(review, flow)};
	return one->text ? 0 : -ENOMEM;
}

/* A connection of the host with itself leaves and arrives on lo; either way can be denied. */
static int review_one(void *ctx, struct reviewing *reviewing, const struct flow *flow)
{
	struct answer answers[4];
	size_t count = 0;
	int status = flow->loopback ? 0 : decide_flow(ctx, reviewing->decision, flow, NULL, NULL, NULL, answers, &count);
	int judged = judge(answers, count);
	if (!status && (judged == 1 || flow->loopback)) {
		status = decide_known(ctx, reviewing, flow, answers, &count);
		judged = judge(answers, count);
	}
	if (status < 0)
		return status;
	if (!status && judged == 2)
		return keep_unwanted(reviewing, flow, &answers[0]);
	if (status == 2 || judged == 1)
		reviewing->review->undecided++;
	return 0;
}

static int review_both_ways(void *ctx, struct reviewing *reviewing, const struct flow *flow)
{
	size_t before = reviewing->review->count;
	int status = review_one(ctx, reviewing, flow);
	if (status || !flow->loopback || reviewing->review->count != before)
		return status;
	struct flow *arriving = talloc_memdup(reviewing->review->list, flow, sizeof *flow);
	if (!arriving)
		return -ENOMEM;
	arriving->direction = DIRECTION_IN;
	status = review_one(ctx, reviewing, arriving);
	if (reviewing->review->count == before)
		talloc_free(arriving);
	else
		reviewing->review->at[before].flow = flow;
	return status;
}

static double now(void)
{
	struct timespec at;
	clock_gettime(CLOCK_MONOTONIC, &at);
	return (double)at.tv_sec + (double)at.tv_nsec / 1e9;
}

static int review_all(struct reviewing *reviewing, double seconds)
{
	struct review *review = reviewing->review;
	double end = now() + seconds;
	for (size_t i = 0; i < review->list->count; i++) {
		if (i % 16 == 0 && now() > end) {
			review->left_out += review->list->count - i;
			return 0;
		}
		void *scratch = talloc_new(review);
		int status = scratch ? review_both_ways(scratch, reviewing, &review->list->at[i]) : -ENOMEM;
		talloc_free(scratch);
		if (status)
			return status;
		review->flows++;
	}
	return 0;
}

int review_flows(void *ctx, struct kernel *kernel, const struct policy *policy, double seconds, struct review **out)
{
	struct review *review = talloc_zero(ctx, struct review);
	struct reviewing reviewing = {.review = review};
	int status = review ? kernel_flows(review, kernel, FLOWS_MAX, &review->list) : -ENOMEM;
	if (!status) {
		review->left_out = review->list->left_out;
		if (kernel_sockets(review, &review->sockets))
			review->sockets = NULL; /* then users are not known, and sockets not closed */
		status = decision_new(review, policy, &reviewing.decision);
	}
	if (!status)
		status = review_all(&reviewing, seconds);
	if (status)
		talloc_free(review);
	else
		*out = review;
	return status;
}

void review_end(struct kernel *kernel, struct review *review)
{
	for (size_t i = 0; i < review->count; i++) {
		const struct flow *flow = review->at[i].flow;
		bool kept = false;
		if (kernel_end_flow(kernel, flow, find_socket(review, flow), &kept))
			review->failed++;
		else
			review->ended++;
		review->sockets_kept |= kept;
	}
}
