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

void write_policy(FILE *stream, struct filters filters, enum way way)
{
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

void write_nft(FILE *stream, struct filters filters, enum way way)
{
	fprintf(stream,
		"table inet bench {\n chain %s {\n\ttype filter hook %s priority 0; policy drop;\n"
		"\tct state vmap { established : accept, related : accept, invalid : drop }\n",
		way_words[way], hook_words[way]);
	/* Rules of one protocol together: nft --optimize merges neighbours that look at the same fields. */
	static const int protocols[] = {IPPROTO_TCP, IPPROTO_UDP, 0};
	for (size_t k = 0; k < sizeof(protocols) / sizeof(*protocols); k++)
		for (size_t i = 0; i < filters.count; i++)
			if (filters.at[i].protocol == protocols[k])
				write_nft_rule(stream, &filters.at[i]);
	fputs(" }\n}\n", stream);
}
