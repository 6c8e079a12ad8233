/*
 * Packets as bytes.
 *
 * Checksums are right everywhere, SCTP carries an INIT with its CRC32c, TCP has a whole header: conntrack and the kernel's
 * `reject` both look.
 */
#include "tests/netns/lib/wire.h"
#include <string.h>

static void put16(unsigned char *at, uint16_t value)
{
	at[0] = (unsigned char)(value >> 8);
	at[1] = (unsigned char)value;
}

static void put32(unsigned char *at, uint32_t value)
{
	put16(at, (uint16_t)(value >> 16));
	put16(at + 2, (uint16_t)value);
}

static void put_address(unsigned char *at, int length, u128 value)
{
	for (int i = 0; i < length; i++)
		at[i] = (unsigned char)(value >> (8 * (length - 1 - i)));
}

static uint32_t sum16(const unsigned char *bytes, size_t length, uint32_t sum)
{
	for (size_t i = 0; i + 1 < length; i += 2)
		sum += (uint32_t)bytes[i] << 8 | bytes[i + 1];
	if (length % 2)
		sum += (uint32_t)bytes[length - 1] << 8;
	return sum;
}

static uint16_t fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

/* Over the pseudo header of either family: the addresses lie behind each other in the IP header. */
static uint16_t checksum(const struct probe *probe, const unsigned char *ip, const unsigned char *data, size_t length)
{
	size_t addresses = probe->family == 4 ? 8 : 32;
	uint32_t sum = sum16(ip + (probe->family == 4 ? 12 : 8), addresses, (uint32_t)probe->protocol + (uint32_t)length);
	uint16_t result = fold(sum16(data, length, sum));
	return probe->protocol == 17 && !result ? 0xffff : result;
}

static uint32_t crc32c(const unsigned char *bytes, size_t length)
{
	uint32_t crc = 0xffffffff;
	for (size_t i = 0; i < length; i++) {
		crc ^= bytes[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
	}
	return ~crc;
}

static size_t write_tcp(const struct probe *probe, uint16_t tag, const unsigned char *ip, unsigned char *data)
{
	put16(data, probe->source_port);
	put16(data + 2, probe->service);
	put32(data + 4, (uint32_t)tag - 1);
	put32(data + 8, probe->syn ? 0 : 1);
	data[12] = 5 << 4;
	data[13] = probe->syn ? 0x02 : 0x10;
	put16(data + 14, 1024);
	put16(data + 16, checksum(probe, ip, data, 20));
	return 20;
}

static size_t write_udp(const struct probe *probe, const unsigned char *ip, unsigned char *data)
{
	put16(data, probe->source_port);
	put16(data + 2, probe->service);
	put16(data + 4, 12);
	put16(data + 6, checksum(probe, ip, data, 12));
	return 12;
}

static size_t write_sctp(const struct probe *probe, unsigned char *data)
{
	put16(data, probe->source_port);
	put16(data + 2, probe->service);
	data[12] = 1; /* INIT */
	put16(data + 14, 20);
	put32(data + 16, 0x01020304);
	put32(data + 20, 65535);
	put16(data + 24, 1);
	put16(data + 26, 1);
	put32(data + 28, 1);
	uint32_t crc = crc32c(data, 32);
	for (int i = 0; i < 4; i++)
		data[8 + i] = (unsigned char)(crc >> (8 * i));
	return 32;
}

static size_t write_icmp(const struct probe *probe, const unsigned char *ip, unsigned char *data)
{
	data[0] = (unsigned char)probe->service;
	put16(data + 2, probe->protocol == 1 ? fold(sum16(data, 32, 0)) : checksum(probe, ip, data, 32));
	return 32;
}

static size_t write_other(const struct probe *probe, const unsigned char *ip, unsigned char *data)
{
	if (probe->protocol == 47)
		put16(data + 2, 0x0800);
	else if (probe->protocol == 50)
		put32(data, 0x1000), put32(data + 4, 1);
	else if (probe->protocol == 51)
		data[0] = 59, data[1] = 4, put32(data + 4, 0x1000), put32(data + 8, 1);
	else if (probe->family == 6) /* `reject` over IPv6 verifies what it does not know, too */
		put16(data + 12, checksum(probe, ip, data, 24));
	return 24;
}

static size_t write_payload(const struct probe *probe, uint16_t tag, const unsigned char *ip, unsigned char *data)
{
	if (probe->protocol == 6)
		return write_tcp(probe, tag, ip, data);
	if (probe->protocol == 17)
		return write_udp(probe, ip, data);
	if (probe->protocol == 132)
		return write_sctp(probe, data);
	if (probe->protocol == (probe->family == 4 ? 1 : 58))
		return write_icmp(probe, ip, data);
	return write_other(probe, ip, data);
}

static size_t packet4(const struct probe *probe, uint16_t tag, uint8_t tos, unsigned char *ip)
{
	ip[0] = 0x45;
	ip[1] = tos;
	put16(ip + 4, tag);
	ip[8] = 64;
	ip[9] = (unsigned char)probe->protocol;
	put_address(ip + 12, 4, probe->source);
	put_address(ip + 16, 4, probe->destination);
	size_t length = 20 + write_payload(probe, tag, ip, ip + 20);
	put16(ip + 2, (uint16_t)length);
	put16(ip + 10, fold(sum16(ip, 20, 0)));
	return length;
}

static size_t packet6(const struct probe *probe, uint16_t tag, uint8_t tos, unsigned char *ip)
{
	put32(ip, 6u << 28 | (uint32_t)tos << 20 | tag);
	ip[6] = (unsigned char)probe->protocol;
	ip[7] = 255; /* neighbour discovery wants it */
	put_address(ip + 8, 16, probe->source);
	put_address(ip + 24, 16, probe->destination);
	size_t length = write_payload(probe, tag, ip, ip + 40);
	put16(ip + 4, (uint16_t)length);
	return 40 + length;
}

size_t wire_packet(const struct probe *probe, uint16_t tag, uint8_t tos, unsigned char *bytes)
{
	memset(bytes, 0, WIRE_MAX);
	return probe->family == 4 ? packet4(probe, tag, tos, bytes) : packet6(probe, tag, tos, bytes);
}
