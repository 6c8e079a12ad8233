/* One filter set in the words of each tool. */
#include "tests/bench/lib/tool.h"
#include <arpa/inet.h>
#include <string.h>

static const char *const way_words[WAYS] = {"in", "out", "forward"};
static const char *const hook_words[WAYS] = {"input", "output", "forward"};

static const char *protocol_word(int protocol)
{
	return protocol == IPPROTO_TCP ? "tcp" : "udp";
}

static bool open_ports(struct ports ports)
{
	return !ports.first && ports.last == 65535;
}

static void write_address(FILE *stream, int family, struct network network)
{
	unsigned char bytes[16];
	char text[INET6_ADDRSTRLEN];
	int length = family == 4 ? 4 : 16;
	for (int i = 0; i < length; i++)
		bytes[i] = (unsigned char)(network.address >> (8 * (length - 1 - i)));
	inet_ntop(family == 4 ? AF_INET : AF_INET6, bytes, text, sizeof(text));
	fputs(text, stream);
	if (network.prefix < 8 * length)
		fprintf(stream, "/%d", network.prefix);
}

static void write_ports(FILE *stream, struct ports ports, char between)
{
	if (ports.first == ports.last)
		fprintf(stream, "%u", ports.first);
	else
		fprintf(stream, "%u%c%u", ports.first, between, ports.last);
}

static void write_policy_rule(FILE *stream, const struct filter *filter, enum way way)
{
	fprintf(stream, "allow %s ", way_words[way]);
	if (!filter->protocol)
		fputs("any", stream);
	else
		fputs(protocol_word(filter->protocol), stream);
	if (!open_ports(filter->service)) {
		fputc('/', stream);
		write_ports(stream, filter->service, '-');
	}
	if (filter->source.prefix)
		fputs(" from ", stream), write_address(stream, filter->family, filter->source);
	if (!open_ports(filter->source_port))
		fputs(" source port ", stream), write_ports(stream, filter->source_port, '-');
	if (filter->destination.prefix)
		fputs(" to ", stream), write_address(stream, filter->family, filter->destination);
	fputc('\n', stream);
}

void write_list(FILE *stream, struct filters filters, enum way way)
{
	for (size_t i = 0; i < filters.count; i++) {
		const struct filter *filter = &filters.at[i];
		write_address(stream, filter->family, way == WAY_OUT ? filter->destination : filter->source);
		fputc('\n', stream);
	}
}

static void write_list_policy(FILE *stream, enum way way)
{
	fprintf(stream, "language 1\ndefault %s allow\ndeny %s any %s file \"list.txt\"\n", way_words[way], way_words[way],
		way == WAY_OUT ? "to" : "from");
}

void write_policy(FILE *stream, struct filters filters, enum way way)
{
	if (filters.shape == SHAPE_LIST) {
		write_list_policy(stream, way);
		return;
	}
	fprintf(stream, "language 1\ndefault %s deny\n", way_words[way]);
	for (size_t i = 0; i < filters.count; i++)
		write_policy_rule(stream, &filters.at[i], way);
}

static void write_nft_address(FILE *stream, int family, const char *end, struct network network)
{
	if (!network.prefix)
		return;
	fprintf(stream, " %s %s ", family == 4 ? "ip" : "ip6", end);
	write_address(stream, family, network);
}

static void write_nft_rule(FILE *stream, const struct filter *filter)
{
	const char *protocol = filter->protocol ? protocol_word(filter->protocol) : NULL;
	fputc('\t', stream);
	write_nft_address(stream, filter->family, "saddr", filter->source);
	write_nft_address(stream, filter->family, "daddr", filter->destination);
	if (protocol && !open_ports(filter->source_port))
		fprintf(stream, " %s sport ", protocol), write_ports(stream, filter->source_port, '-');
	if (protocol && !open_ports(filter->service))
		fprintf(stream, " %s dport ", protocol), write_ports(stream, filter->service, '-');
	if (protocol && open_ports(filter->source_port) && open_ports(filter->service))
		fprintf(stream, " meta l4proto %s", protocol);
	fputs(" accept\n", stream);
}

static void write_nft_members(FILE *stream, struct filters filters, enum way way, int family)
{
	fprintf(stream, " set list%d {\n\ttype ipv%d_addr; flags interval; auto-merge\n\telements = {\n", family, family);
	for (size_t i = 0; i < filters.count; i++) {
		const struct filter *filter = &filters.at[i];
		if (filter->family != family)
			continue;
		write_address(stream, family, way == WAY_OUT ? filter->destination : filter->source);
		fputs(",\n", stream);
	}
	fputs("\t}\n }\n", stream);
}

static void write_nft_list(FILE *stream, struct filters filters, enum way way)
{
	const char *end = way == WAY_OUT ? "daddr" : "saddr";
	fputs("table inet bench {\n", stream);
	write_nft_members(stream, filters, way, 4);
	write_nft_members(stream, filters, way, 6);
	fprintf(stream,
		" chain %s {\n\ttype filter hook %s priority 0; policy accept;\n"
		"\tct state established,related accept\n\tct state invalid drop\n"
		"\tip %s @list4 drop\n\tip6 %s @list6 drop\n }\n}\n",
		way_words[way], hook_words[way], end, end);
}

void write_nft(FILE *stream, struct filters filters, enum way way)
{
	if (filters.shape == SHAPE_LIST) {
		write_nft_list(stream, filters, way);
		return;
	}
	fprintf(stream,
		"table inet bench {\n chain %s {\n\ttype filter hook %s priority 0; policy drop;\n"
		"\tct state established,related accept\n\tct state invalid drop\n",
		way_words[way], hook_words[way]);
	/* Rules of one protocol together: nft --optimize merges neighbours that look at the same fields. */
	static const int protocols[] = {IPPROTO_TCP, IPPROTO_UDP, 0};
	for (size_t k = 0; k < sizeof(protocols) / sizeof(*protocols); k++)
		for (size_t i = 0; i < filters.count; i++)
			if (filters.at[i].protocol == protocols[k])
				write_nft_rule(stream, &filters.at[i]);
	fputs(" }\n}\n", stream);
}

static void write_option(FILE *stream, const char *option, int family, struct network network)
{
	if (!network.prefix)
		return;
	fputs(option, stream);
	write_address(stream, family, network);
}

static void write_option_ports(FILE *stream, const char *option, struct ports ports)
{
	if (open_ports(ports))
		return;
	fputs(option, stream);
	write_ports(stream, ports, ':');
}

void write_iptables(FILE *stream, struct filters filters, enum way way)
{
	(void)way;
	for (size_t i = 0; i < filters.count; i++) {
		const struct filter *filter = &filters.at[i];
		if (filter->protocol)
			fprintf(stream, "-p %s", protocol_word(filter->protocol));
		write_option_ports(stream, " --sport ", filter->source_port);
		write_option_ports(stream, " --dport ", filter->service);
		write_option(stream, " -s ", filter->family, filter->source);
		write_option(stream, " -d ", filter->family, filter->destination);
		fputc('\n', stream);
	}
}

static void write_rich_address(FILE *stream, const char *element, int family, struct network network)
{
	if (!network.prefix)
		return;
	fprintf(stream, "<%s address=\"", element);
	write_address(stream, family, network);
	fputs("\"/>", stream);
}

static void write_rich_port(FILE *stream, const char *element, int protocol, struct ports ports)
{
	if (open_ports(ports))
		return;
	fprintf(stream, "<%s protocol=\"%s\" port=\"", element, protocol_word(protocol));
	write_ports(stream, ports, '-');
	fputs("\"/>", stream);
}

void write_firewalld(FILE *stream, struct filters filters, enum way way)
{
	(void)way;
	fputs("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<zone target=\"DROP\">\n<short>Public</short>\n", stream);
	for (size_t i = 0; i < filters.count; i++) {
		const struct filter *filter = &filters.at[i];
		fprintf(stream, "<rule family=\"ipv%d\">", filter->family);
		write_rich_address(stream, "source", filter->family, filter->source);
		write_rich_address(stream, "destination", filter->family, filter->destination);
		if (!open_ports(filter->service))
			write_rich_port(stream, "port", filter->protocol, filter->service);
		else if (filter->protocol)
			fprintf(stream, "<protocol value=\"%s\"/>", protocol_word(filter->protocol));
		fputs("<accept/></rule>\n", stream);
	}
	fputs("</zone>\n", stream);
}

void write_ferm(FILE *stream, struct filters filters, enum way way)
{
	static const char *const chains[WAYS] = {"INPUT", "OUTPUT", "FORWARD"};
	fprintf(stream,
		"domain ip table filter chain %s {\n policy DROP;\n mod state state INVALID DROP;\n"
		" mod state state (ESTABLISHED RELATED) ACCEPT;\n",
		chains[way]);
	for (size_t i = 0; i < filters.count; i++) {
		const struct filter *filter = &filters.at[i];
		if (filter->protocol)
			fprintf(stream, " proto %s", protocol_word(filter->protocol));
		write_option(stream, " saddr ", filter->family, filter->source);
		write_option(stream, " daddr ", filter->family, filter->destination);
		write_option_ports(stream, " sport ", filter->source_port);
		write_option_ports(stream, " dport ", filter->service);
		fputs(" ACCEPT;\n", stream);
	}
	fputs("}\n", stream);
}
