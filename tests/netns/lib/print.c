/*
 * A model as policy text.  Every spelling that the language has for a thing is used by some model.
 */
#include "tests/netns/lib/model.h"
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

static const char *const way_words[WAYS] = {"in", "out", "forward"};
static const char *const action_words[] = {"allow", "reject", "deny"};

static void print_address(FILE *stream, int family, u128 number)
{
	unsigned char bytes[16];
	char text[INET6_ADDRSTRLEN];
	int length = family == 4 ? 4 : 16;
	for (int i = 0; i < length; i++)
		bytes[i] = (unsigned char)(number >> (8 * (length - 1 - i)));
	fputs(inet_ntop(family == 4 ? AF_INET : AF_INET6, bytes, text, sizeof(text)), stream);
}

static void print_number(FILE *stream, int family, u128 number)
{
	if (family)
		print_address(stream, family, number);
	else
		fprintf(stream, "%u", (unsigned)number);
}

static void print_range(FILE *stream, const struct value *value)
{
	if (value->word) {
		fputs(value->word, stream);
		return;
	}
	print_number(stream, value->family, value->low);
	if (value->kind == VALUE_NETWORK)
		fprintf(stream, "/%d", value->prefix);
	else if (value->low != value->high) {
		fputc('-', stream);
		print_number(stream, value->family, value->high);
	}
}

static void print_value(FILE *stream, const struct value *value)
{
	switch (value->kind) {
	case VALUE_ANY:
		fputs("any", stream);
		return;
	case VALUE_RANGE:
	case VALUE_NETWORK:
		print_range(stream, value);
		return;
	case VALUE_INTERFACE:
		fprintf(stream, value->star ? "\"%s*\"" : "%s", value->word);
		return;
	case VALUE_SET:
		fputs("{ ", stream);
		for (size_t i = 0; i < value->count; i++) {
			fputs(i ? ", " : "", stream);
			print_value(stream, value->items[i]);
		}
		fputs(" }", stream);
		return;
	case VALUE_EXCEPT:
		print_value(stream, value->items[0]);
		fputs(" except ", stream);
		print_value(stream, value->items[1]);
		return;
	case VALUE_NAME:
		fprintf(stream, "$%s", value->named->name);
		return;
	case VALUE_FILE:
		fprintf(stream, "file \"list-%d.txt\"", value->file);
		return;
	}
}

static const char *protocol_word(int protocol)
{
	switch (protocol) {
	case 1: return "icmp";
	case 2: return "igmp";
	case 6: return "tcp";
	case 17: return "udp";
	case 47: return "gre";
	case 50: return "esp";
	case 51: return "ah";
	case 58: return "icmpv6";
	case 89: return "ospf";
	case 112: return "vrrp";
	case 132: return "sctp";
	}
	return NULL;
}

static void print_item(FILE *stream, const struct traffic_item *item)
{
	if (item->service) {
		fputs(item->service->name, stream);
		return;
	}
	const char *word = protocol_word(item->protocol);
	if (word)
		fputs(word, stream);
	else
		fprintf(stream, "protocol %d", item->protocol);
	if (item->behind) {
		fputc('/', stream);
		print_value(stream, item->behind);
	}
}

static void print_traffic(FILE *stream, const struct traffic_model *traffic)
{
	if (traffic->any)
		fputs(traffic->count ? "any except " : "any", stream);
	/* A except B except C is an error: what is left out stands in braces. */
	bool braces = traffic->count > 1 || (traffic->any && traffic->count);
	if (braces)
		fputs("{ ", stream);
	for (size_t i = 0; i < traffic->count; i++) {
		fputs(i ? ", " : "", stream);
		print_item(stream, &traffic->items[i]);
	}
	if (braces)
		fputs(" }", stream);
}

static void print_by(FILE *stream, const struct by_model *by)
{
	if (by->kind == BY_ALL)
		return;
	fputs(by->kind == BY_SOME ? " by { " : " by any except { ", stream);
	for (size_t i = 0; i < by->user_count; i++)
		fprintf(stream, "%suser %u", i ? ", " : "", by->users[i]);
	for (size_t i = 0; i < by->group_count; i++)
		fprintf(stream, "%sgroup %u", i || by->user_count ? ", " : "", by->groups[i]);
	fputs(" }", stream);
}

static void print_clause(FILE *stream, const char *words, const struct value *value)
{
	if (!value)
		return;
	fprintf(stream, " %s ", words);
	print_value(stream, value);
}

static const char *const rate_words[] = {"", " limit 1000000/second", " limit 1000000/second burst 1000000 per source",
	" above 1000000/second", " above 1000000/second per source"};

static void print_rule(FILE *stream, const struct rule_model *rule)
{
	fprintf(stream, "%s %s ", action_words[rule->action], way_words[rule->way]);
	print_traffic(stream, &rule->traffic);
	if (rule->log)
		fputs(" log \"noted\"", stream);
	print_clause(stream, rule->way == WAY_FORWARD ? "arriving on" : "on", rule->arriving);
	print_clause(stream, rule->way == WAY_FORWARD ? "leaving on" : "on", rule->leaving);
	print_clause(stream, "to", rule->to);
	print_clause(stream, "from", rule->from);
	print_clause(stream, "source port", rule->source_port);
	print_by(stream, &rule->by);
	fputs(rate_words[rule->rate], stream);
	fputs(rule->reason ? " reason \"CHG-4711\"\n" : "\n", stream);
}

static void print_way(FILE *stream, const char *name, const struct way_model *way)
{
	if (!way->managed)
		return;
	fprintf(stream, "default %s %s%s\n", name, action_words[way->action], way->log ? " log \"rest\"" : "");
	if (way->audit)
		fprintf(stream, "mode %s audit\n", name);
}

static void print_named(FILE *stream, const struct named *named)
{
	const char *word = named->ports ? "ports" : "addresses";
	fprintf(stream, "%s %s = ", word, named->name);
	print_value(stream, named->first);
	if (named->more) {
		fprintf(stream, "\n%s %s += ", word, named->name);
		print_value(stream, named->more);
	}
	fputc('\n', stream);
}

/* Names are defined behind the rules that use them: order must not matter. */
void model_print(FILE *stream, const struct model *model)
{
	fputs("language 1\n", stream);
	for (int way = 0; way < WAYS; way++)
		print_way(stream, way_words[way], &model->ways[way]);
	for (size_t i = 0; i < model->rule_count; i++) {
		fputs(model->rules[i].in_block ? "hosts \"*\" { " : "", stream);
		if (!model->rules[i].in_block)
			print_rule(stream, &model->rules[i]);
		else {
			print_rule(stream, &model->rules[i]);
			fputs("}\n", stream);
		}
	}
	for (int way = 0; way < WAYS && !model->shrunk; way++)
		if (model->ways[way].managed)
			fprintf(stream, "hosts \"no.such.host\" { deny %s any }\n", way_words[way]);
	for (size_t i = 0; i < model->named_count; i++)
		if (!model->shrunk || model_uses_named(model, &model->named[i]))
			print_named(stream, &model->named[i]);
	for (size_t i = 0; i < model->service_count; i++) {
		if (model->shrunk && !model_uses_service(model, &model->services[i]))
			continue;
		fprintf(stream, "service %s = ", model->services[i].name);
		print_traffic(stream, &model->services[i].traffic);
		fputc('\n', stream);
	}
}

static int write_list(const struct value *value, const char *directory)
{
	char path[4096];
	if (!value)
		return 0;
	for (size_t i = 0; i < value->count; i++)
		if (write_list(value->items[i], directory))
			return -errno;
	if (value->kind != VALUE_FILE)
		return 0;
	snprintf(path, sizeof(path), "%s/list-%d.txt", directory, value->file);
	FILE *stream = fopen(path, "we");
	if (!stream)
		return -errno;
	fputs("# one a line\n", stream);
	for (size_t i = 0; i < value->count; i++) {
		print_range(stream, value->items[i]);
		fputs(i % 2 ? " # a comment\n" : "\n", stream);
	}
	return fclose(stream) ? -errno : 0;
}

int model_write_lists(const struct model *model, const char *directory)
{
	int error = 0;
	for (size_t i = 0; !error && i < model->named_count; i++)
		error = write_list(model->named[i].first, directory) ?: write_list(model->named[i].more, directory);
	for (size_t i = 0; !error && i < model->rule_count; i++)
		error = write_list(model->rules[i].from, directory) ?: write_list(model->rules[i].to, directory);
	return error;
}

void probe_print(FILE *stream, const struct probe *probe)
{
	fprintf(stream, "%s protocol %d service %u%s source port %u from ", way_words[probe->way], probe->protocol, probe->service,
		probe->protocol == 6 ? probe->syn ? " (SYN)" : " (ACK)" : "", probe->source_port);
	print_address(stream, probe->family, probe->source);
	fputs(" to ", stream);
	print_address(stream, probe->family, probe->destination);
	if (probe->arriving >= 0)
		fprintf(stream, " arriving on %s", interface_names[probe->arriving]);
	if (probe->leaving >= 0)
		fprintf(stream, " leaving on %s", interface_names[probe->leaving]);
	if (probe->way == WAY_OUT)
		fprintf(stream, " by user %u group %u", probe->uid, probe->gid);
	fputc('\n', stream);
}
