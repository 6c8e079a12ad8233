/*
 * Addresses as they are written: one address, a network, a range; and what was probably meant by one that is wrong.
 */
#include "dsl/language/resolve.h"
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <talloc.h>

static u128 number_of(const unsigned char *bytes, size_t length)
{
	u128 number = 0;
	for (size_t i = 0; i < length; i++)
		number = number << 8 | bytes[i];
	return number;
}

char *address_number_text(void *ctx, enum family family, u128 address)
{
	unsigned char bytes[16];
	char text[INET6_ADDRSTRLEN];
	int length = family == FAMILY_IPV4 ? 4 : 16;
	for (int i = length - 1; i >= 0; i--, address >>= 8)
		bytes[i] = (unsigned char)address;
	return inet_ntop(family == FAMILY_IPV4 ? AF_INET : AF_INET6, bytes, text, sizeof text) ? talloc_strdup(ctx, text) : NULL;
}

/* RFC 4291, section 2.5.5.2. */
static bool mapped(u128 address) { return address >> 32 == 0xffff; }

static int report_mapped(struct diagnostics *diagnostics, struct span span, u128 address, unsigned prefix)
{
	struct diagnostic *one = report_error(diagnostics, span, "an IPv4-mapped IPv6 address never stands in a packet");
	char *text = address_number_text(one, FAMILY_IPV4, address & 0xffffffff);
	if (text && prefix < 128)
		diagnostic_hint(diagnostics, one, "write the IPv4 network: %s/%u", text, prefix - 96);
	else if (text)
		diagnostic_hint(diagnostics, one, "write the IPv4 address: %s", text);
	return 1;
}

/* 010.1.2.3: some read octal, some do not; ask. */
static bool leading_zeros(const char *text, char *plain, size_t room)
{
	bool zeros = false;
	size_t used = 0;
	for (const char *at = text; *at && used + 1 < room; at++) {
		bool begins = at == text || at[-1] == '.';
		if (begins && *at == '0' && at[1] >= '0' && at[1] <= '9') {
			zeros = true;
			while (*at == '0' && at[1] >= '0' && at[1] <= '9')
				at++;
		}
		plain[used++] = *at;
	}
	plain[used] = 0;
	return zeros;
}

static int report_no_address(struct diagnostics *diagnostics, struct span span, const char *text)
{
	char plain[64];
	unsigned char bytes[16];
	struct diagnostic *one = report_error(diagnostics, span, "`%s` is no address", text);
	if (strchr(text, '%'))
		diagnostic_hint(diagnostics, one, "a zone is no part of an address; say `on INTERFACE`");
	else if (strlen(text) < sizeof plain && leading_zeros(text, plain, sizeof plain) && inet_pton(AF_INET, plain, bytes) == 1)
		diagnostic_hint(diagnostics, one, "numbers of an address have no leading zeros: %s", plain);
	else if (!strchr(text, ':') && strspn(text, "0123456789.") == strlen(text))
		diagnostic_hint(diagnostics, one, "an IPv4 address has four numbers of at most 255");
	else if (!strchr(text, ':') && strchr(text, '.'))
		diagnostic_hint(diagnostics, one, "a host name stands in quotes: \"%s\"", text);
	return 1;
}

/* 0; 1 when reported. */
static int parse_bare(struct diagnostics *diagnostics, struct span span, const char *text, enum family *family, u128 *out)
{
	unsigned char bytes[16];
	if (inet_pton(AF_INET, text, bytes) == 1) {
		*family = FAMILY_IPV4;
		*out = number_of(bytes, 4);
		return 0;
	}
	if (inet_pton(AF_INET6, text, bytes) != 1)
		return report_no_address(diagnostics, span, text);
	*family = FAMILY_IPV6;
	*out = number_of(bytes, 16);
	return 0;
}

static int report_host_bits(struct diagnostics *diagnostics, struct span span, enum family family, u128 address, u128 network, unsigned prefix)
{
	struct diagnostic *one = report_error(diagnostics, span, "this network has bits set behind its prefix of %u", prefix);
	char *base = address_number_text(one, family, network), *host = address_number_text(one, family, address);
	if (base && host)
		diagnostic_hint(diagnostics, one, "the network is %s/%u, the one address is %s", base, prefix, host);
	return 1;
}

static int report_prefix(struct diagnostics *diagnostics, struct span span, enum family family, const char *written)
{
	struct diagnostic *one = report_error(diagnostics, span, "the prefix of an %s network is at most %u", family == FAMILY_IPV4 ? "IPv4" : "IPv6",
		family == FAMILY_IPV4 ? 32 : 128);
	uint64_t prefix;
	if (*written == '0')
		diagnostic_hint(diagnostics, one, "its number has no leading zeros");
	else if (family == FAMILY_IPV4 && !number_parse(&(struct item){.text = written}, 128, &prefix))
		diagnostic_hint(diagnostics, one, "/%s is a prefix of IPv6; an IPv4 address needs one of 0 to 32", written);
	return 1;
}

int address_parse(struct diagnostics *diagnostics, struct span span, const char *text, enum family *family, struct interval *out)
{
	char bare[INET6_ADDRSTRLEN];
	const char *slash = strchr(text, '/');
	size_t length = slash ? (size_t)(slash - text) : strlen(text);
	u128 address;
	if (length >= sizeof bare)
		return report_no_address(diagnostics, span, text);
	memcpy(bare, text, length);
	bare[length] = 0;
	if (parse_bare(diagnostics, span, bare, family, &address))
		return 1;
	unsigned bits = *family == FAMILY_IPV4 ? 32 : 128;
	uint64_t prefix = bits;
	if (slash && (!slash[1] || (slash[1] == '0' && slash[2]) || number_parse(&(struct item){.text = slash + 1}, bits, &prefix)))
		return report_prefix(diagnostics, span, *family, slash + 1);
	if (*family == FAMILY_IPV6 && mapped(address) && prefix >= 96)
		return report_mapped(diagnostics, span, address, (unsigned)prefix);
	u128 hosts = prefix == bits ? 0 : prefix == 0 && bits == 128 ? U128_MAX : ((u128)1 << (bits - prefix)) - 1;
	if (address & hosts)
		return report_host_bits(diagnostics, span, *family, address, address & ~hosts, (unsigned)prefix);
	*out = (struct interval){address, address | hosts};
	return 0;
}

int range_parse(struct diagnostics *diagnostics, struct span span, const char *low, const char *high, enum family *family, struct interval *out)
{
	enum family other;
	u128 first, last;
	struct diagnostic *one;
	if (strchr(low, '/') || strchr(high, '/')) {
		one = report_error(diagnostics, span, "the ends of a range are addresses, not networks");
		diagnostic_hint(diagnostics, one, "put several networks into a set: { %s, %s }", low, high);
		return 1;
	}
	if (parse_bare(diagnostics, span, low, family, &first) || parse_bare(diagnostics, span, high, &other, &last))
		return 1;
	if (*family != other) {
		report_error(diagnostics, span, "this range goes from %s to %s", *family == FAMILY_IPV4 ? "IPv4" : "IPv6", other == FAMILY_IPV4 ? "IPv4" : "IPv6");
		return 1;
	}
	if (*family == FAMILY_IPV6 && (mapped(first) || mapped(last)))
		return report_mapped(diagnostics, span, mapped(first) ? first : last, 128);
	if (first > last) {
		one = report_error(diagnostics, span, "this range is reversed");
		diagnostic_hint(diagnostics, one, "write %s-%s", high, low);
		return 1;
	}
	*out = (struct interval){first, last};
	return 0;
}
