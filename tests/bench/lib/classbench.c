/*
 * Five-field filters like those of real filter sets.
 *
 * The figures are those of ClassBench's seeds acl1, fw1 and ipc1, which describe an access list of 733 filters, a firewall of 283
 * and a Linux IP chain of 1,702 (D. E. Taylor, J. S. Turner, "ClassBench: A Packet Classification Benchmark", INFOCOM 2005 and
 * IEEE/ACM Transactions on Networking 15(3), 2007): the shares of protocols with each pair of port classes, of pairs of prefix
 * lengths given what the ports say, of ports within a class, and, for each bit of an address, how often the tree of
 * all addresses forks there and how uneven the two sides are.  All in thousandths, forks in hundredths; shares below 10
 * thousandths and all but the 32 most frequent ports are left out.  The classes: any port, 1024-65535, 0-1023, a range, one port.
 *
 * What differs: protocols other than TCP and UDP are "any", TCP flags and the correlation of the two addresses are
 * left out, and so is a filter that names no address: in a list without order it would swallow most others.  A set larger than
 * its seed has trees that fork more often, as ClassBench scales its own.
 */
#include "tests/bench/lib/filter.h"
#include <netinet/in.h>

enum class { WILD, HIGH, LOW, RANGE, EXACT };

struct traffic {
	unsigned share;
	int protocol;
	enum class source_port, service;
};
struct lengths {
	unsigned share;
	int source, destination;
};
struct choice {
	unsigned share;
	struct ports ports;
};
struct fork {
	unsigned forks, skew; /* how often a node has two sides; 100 - the lighter one's share of the heavier one's weight */
};

/* clang-format off */
static const struct traffic acl_traffic[] = {
	{570, 6, WILD, EXACT}, {188, 6, WILD, WILD}, {116, 0, WILD, WILD}, {115, 6, WILD, RANGE}, {10, 17, WILD, EXACT},
	{1, 17, WILD, RANGE},
};
static const struct lengths acl_wild[] = {
	{489, 32, 32}, {112, 32, 24}, {99, 23, 32}, {81, 32, 22}, {54, 23, 16}, {27, 31, 32}, {18, 30, 22}, {18, 30, 32},
};
static const struct lengths acl_service[] = {
	{865, 32, 32}, {35, 32, 22}, {27, 31, 32}, {25, 23, 32}, {14, 32, 31}, {12, 30, 22},
};
static const struct choice acl_exact[] = {
	{188, {1521, 1521}}, {54, {1526, 1526}}, {42, {1221, 1221}}, {35, {1433, 1433}}, {28, {1525, 1525}},
	{28, {135, 135}}, {28, {14753, 14753}}, {24, {1712, 1712}}, {24, {1711, 1711}}, {24, {1704, 1704}},
	{24, {1708, 1708}}, {21, {5555, 5555}}, {21, {1705, 1705}}, {21, {6000, 6000}}, {21, {20, 20}}, {21, {21, 21}},
	{21, {1724, 1724}}, {21, {1717, 1717}}, {19, {1707, 1707}}, {19, {1733, 1733}}, {19, {1706, 1706}},
	{19, {5540, 5540}}, {19, {5541, 5541}}, {16, {1734, 1734}}, {14, {1489, 1489}}, {14, {1490, 1490}},
	{14, {5632, 5632}}, {14, {5631, 5631}}, {12, {6789, 6789}}, {9, {1715, 1715}}, {9, {2121, 2121}},
	{7, {6790, 6790}},
};
static const struct choice acl_ranges[] = {
	{82, {1600, 1649}}, {71, {1300, 1349}}, {71, {1300, 1350}}, {47, {7500, 7599}}, {47, {2200, 2210}},
	{35, {1025, 65535}}, {35, {1700, 1750}}, {35, {5001, 65535}}, {35, {32200, 32207}}, {35, {8000, 8100}},
	{24, {61700, 61709}}, {24, {61500, 61509}}, {24, {61600, 61609}}, {24, {61900, 61909}}, {24, {62000, 62009}},
	{24, {61800, 61809}}, {24, {61100, 61119}}, {24, {61200, 61209}}, {24, {61000, 61009}}, {24, {61400, 61409}},
	{24, {61300, 61309}}, {24, {62700, 62709}}, {24, {1700, 1720}}, {24, {62600, 62609}}, {24, {20000, 20010}},
	{24, {1600, 1650}}, {24, {62400, 62409}}, {24, {62100, 62109}}, {24, {62500, 62509}}, {12, {62200, 62219}},
	{12, {32210, 32219}}, {12, {62220, 62239}}, {12, {62200, 62239}}, {12, {1300, 1399}},
};
static const struct fork acl_source_forks[32] = {
	{100, 100}, {0, 100}, {0, 100}, {0, 100}, {0, 100}, {0, 100}, {50, 100}, {0, 100}, {0, 100}, {0, 100}, {0, 100},
	{0, 100}, {0, 100}, {0, 100}, {0, 100}, {0, 100}, {0, 100}, {0, 100}, {0, 100}, {0, 100}, {0, 100}, {0, 100},
	{0, 100}, {0, 100}, {50, 49}, {67, 74}, {80, 32}, {78, 36}, {75, 46}, {75, 36}, {53, 48}, {26, 46},
};
static const struct fork acl_destination_forks[32] = {
	{100, 74}, {100, 61}, {67, 79}, {75, 88}, {83, 65}, {40, 83}, {31, 58}, {24, 50}, {20, 78}, {8, 95}, {8, 69},
	{18, 53}, {24, 54}, {22, 58}, {18, 63}, {14, 71}, {9, 93}, {10, 63}, {5, 54}, {7, 71}, {4, 64}, {9, 53}, {4, 49},
	{10, 31}, {7, 40}, {9, 59}, {8, 62}, {7, 50}, {10, 35}, {14, 47}, {10, 31}, {9, 48},
};
static const struct traffic fw_traffic[] = {
	{428, 6, WILD, EXACT}, {138, 17, WILD, EXACT}, {106, 0, WILD, WILD}, {106, 6, WILD, WILD}, {99, 17, EXACT, WILD},
	{39, 6, HIGH, HIGH}, {21, 17, HIGH, HIGH}, {21, 17, EXACT, EXACT}, {18, 17, HIGH, EXACT}, {18, 17, EXACT, HIGH},
	{4, 17, HIGH, RANGE}, {4, 17, RANGE, HIGH},
};
static const struct lengths fw_wild[] = {
	{183, 32, 0}, {117, 0, 0}, {83, 30, 0}, {67, 21, 0}, {67, 23, 0}, {67, 27, 0}, {67, 28, 32}, {67, 32, 28},
	{67, 30, 32}, {67, 32, 30}, {33, 28, 0}, {33, 29, 0}, {17, 8, 0}, {17, 12, 0}, {17, 16, 0}, {17, 26, 0},
	{17, 0, 32},
};
static const struct lengths fw_service[] = {
	{881, 0, 32}, {63, 0, 0}, {25, 32, 32}, {19, 32, 0},
};
static const struct lengths fw_source[] = {
	{821, 32, 0}, {107, 0, 32}, {71, 0, 0},
};
static const struct lengths fw_both[] = {
	{343, 32, 32}, {286, 0, 32}, {143, 32, 21}, {114, 32, 0}, {57, 28, 28}, {57, 0, 0},
};
static const struct choice fw_source_exact[] = {
	{231, {123, 123}}, {205, {53, 53}}, {128, {750, 750}}, {103, {161, 161}}, {77, {88, 88}}, {77, {69, 69}},
	{51, {24032, 24032}}, {51, {67, 67}}, {51, {7648, 7648}}, {26, {162, 162}},
};
static const struct choice fw_exact[] = {
	{170, {22, 22}}, {105, {80, 80}}, {99, {25, 25}}, {99, {53, 53}}, {70, {123, 123}}, {29, {2105, 2105}},
	{29, {21, 21}}, {29, {544, 544}}, {29, {750, 750}}, {23, {443, 443}}, {23, {23, 23}}, {23, {161, 161}},
	{18, {67, 67}}, {18, {119, 119}}, {18, {88, 88}}, {18, {69, 69}}, {18, {7648, 7648}}, {18, {110, 110}},
	{12, {1999, 1999}}, {12, {37, 37}}, {12, {754, 754}}, {12, {24032, 24032}}, {12, {179, 179}}, {12, {5999, 5999}},
	{6, {113, 113}}, {6, {13, 13}}, {6, {138, 138}}, {6, {143, 143}}, {6, {7649, 7649}}, {6, {8080, 8080}},
	{6, {162, 162}}, {6, {137, 137}},
};
static const struct choice fw_source_ranges[] = {
	{1000, {33434, 33600}},
};
static const struct choice fw_ranges[] = {
	{1000, {33434, 33600}},
};
static const struct fork fw_source_forks[32] = {
	{100, 98}, {50, 93}, {33, 83}, {25, 0}, {20, 91}, {17, 67}, {14, 95}, {12, 0}, {25, 74}, {10, 0}, {0, 100},
	{0, 100}, {0, 100}, {0, 100}, {0, 100}, {0, 100}, {0, 100}, {0, 100}, {11, 50}, {0, 100}, {0, 100}, {10, 52},
	{9, 88}, {18, 60}, {15, 39}, {20, 56}, {33, 44}, {22, 58}, {29, 41}, {21, 43}, {7, 42}, {6, 25},
};
static const struct fork fw_destination_forks[32] = {
	{100, 99}, {50, 97}, {0, 100}, {0, 100}, {33, 99}, {0, 100}, {25, 98}, {20, 0}, {17, 99}, {0, 100}, {0, 100},
	{0, 100}, {0, 100}, {0, 100}, {0, 100}, {0, 100}, {0, 100}, {0, 100}, {14, 50}, {0, 100}, {0, 100}, {12, 46},
	{11, 95}, {20, 59}, {17, 46}, {21, 65}, {35, 72}, {13, 70}, {24, 61}, {32, 35}, {28, 38}, {16, 17},
};
static const struct traffic ipc_traffic[] = {
	{361, 0, WILD, WILD}, {220, 17, WILD, EXACT}, {132, 6, WILD, EXACT}, {73, 17, EXACT, WILD}, {72, 6, EXACT, WILD},
	{65, 17, WILD, HIGH}, {22, 6, WILD, WILD}, {18, 6, WILD, RANGE}, {17, 6, RANGE, WILD}, {6, 17, WILD, RANGE},
	{4, 17, HIGH, WILD}, {3, 17, WILD, WILD}, {3, 17, EXACT, EXACT}, {3, 17, RANGE, WILD},
};
static const struct lengths ipc_wild[] = {
	{223, 24, 24}, {78, 23, 24}, {74, 24, 16}, {50, 26, 24}, {49, 16, 24}, {47, 24, 26}, {30, 0, 24}, {30, 24, 0},
	{24, 24, 28}, {24, 22, 24}, {20, 17, 24}, {18, 23, 16}, {17, 25, 24}, {15, 22, 16}, {15, 24, 23}, {15, 24, 25},
	{12, 23, 26}, {12, 28, 24}, {12, 0, 0}, {11, 26, 16}, {11, 32, 32},
};
static const struct lengths ipc_service[] = {
	{487, 32, 32}, {169, 24, 32}, {60, 0, 32}, {52, 23, 32}, {31, 24, 0}, {25, 16, 32}, {19, 26, 32}, {16, 0, 24},
	{16, 23, 24}, {16, 24, 24}, {11, 32, 16}, {11, 32, 24},
};
static const struct lengths ipc_source[] = {
	{287, 32, 24}, {140, 32, 26}, {105, 32, 32}, {70, 24, 32}, {66, 0, 32}, {52, 32, 0}, {45, 32, 25}, {42, 23, 32},
	{38, 32, 16}, {21, 16, 32}, {21, 32, 23}, {21, 28, 16}, {21, 28, 26}, {14, 24, 24}, {10, 0, 24}, {10, 23, 24},
};
static const struct lengths ipc_both[] = {
	{1000, 32, 32},
};
static const struct choice ipc_source_exact[] = {
	{246, {161, 161}}, {135, {53, 53}}, {87, {80, 80}}, {83, {25, 25}}, {75, {1433, 1433}}, {44, {22, 22}},
	{40, {5540, 5540}}, {40, {143, 143}}, {32, {5550, 5550}}, {24, {5520, 5520}}, {24, {5500, 5500}},
	{24, {5632, 5632}}, {24, {5510, 5510}}, {24, {5530, 5530}}, {16, {500, 500}}, {16, {5631, 5631}}, {12, {123, 123}},
	{12, {69, 69}}, {8, {1098, 1098}}, {8, {138, 138}}, {4, {1723, 1723}}, {4, {137, 137}}, {4, {20, 20}},
	{4, {23, 23}}, {4, {135, 135}}, {4, {6789, 6789}}, {4, {443, 443}},
};
static const struct choice ipc_exact[] = {
	{184, {69, 69}}, {182, {514, 514}}, {109, {80, 80}}, {83, {9003, 9003}}, {78, {53, 53}}, {48, {25, 25}},
	{31, {1433, 1433}}, {25, {137, 137}}, {18, {22, 22}}, {18, {143, 143}}, {18, {162, 162}}, {17, {113, 113}},
	{15, {139, 139}}, {13, {119, 119}}, {13, {161, 161}}, {10, {5540, 5540}}, {10, {1646, 1646}}, {10, {1645, 1645}},
	{7, {500, 500}}, {7, {7000, 7000}}, {7, {1723, 1723}}, {7, {5631, 5631}}, {5, {5550, 5550}}, {5, {5530, 5530}},
	{5, {135, 135}}, {5, {5500, 5500}}, {5, {524, 524}}, {5, {5520, 5520}}, {5, {5510, 5510}}, {5, {8875, 8875}},
	{5, {7777, 7777}}, {5, {6970, 6970}},
};
static const struct choice ipc_source_ranges[] = {
	{294, {20, 23}}, {294, {109, 110}}, {235, {20, 21}}, {147, {1645, 1646}}, {29, {5000, 5001}},
};
static const struct choice ipc_ranges[] = {
	{256, {20, 23}}, {256, {109, 110}}, {186, {20, 21}}, {186, {1645, 1646}}, {70, {1812, 1813}}, {23, {20, 2511}},
	{23, {5000, 5001}},
};
static const struct fork ipc_source_forks[32] = {
	{100, 1}, {100, 48}, {50, 91}, {33, 49}, {25, 54}, {30, 26}, {8, 37}, {7, 97}, {27, 71}, {26, 74}, {12, 71},
	{11, 65}, {7, 66}, {0, 100}, {9, 48}, {3, 7}, {34, 55}, {18, 60}, {16, 49}, {13, 67}, {8, 45}, {3, 58}, {6, 44},
	{3, 33}, {11, 43}, {10, 49}, {8, 50}, {9, 50}, {10, 38}, {12, 22}, {9, 41}, {13, 22},
};
static const struct fork ipc_destination_forks[32] = {
	{100, 35}, {100, 57}, {25, 63}, {40, 78}, {43, 83}, {40, 73}, {7, 77}, {0, 100}, {7, 45}, {25, 54}, {0, 100},
	{0, 100}, {0, 100}, {0, 100}, {10, 45}, {5, 84}, {33, 37}, {11, 18}, {3, 75}, {6, 48}, {9, 26}, {0, 100}, {6, 25},
	{3, 0}, {21, 48}, {18, 41}, {21, 74}, {26, 68}, {25, 45}, {14, 44}, {9, 33}, {9, 59},
};
/* clang-format on */

#define LIST(array)                                                                                                              \
	{                                                                                                                        \
		array, sizeof(array) / sizeof(*(array))                                                                          \
	}
#define NO_LIST                                                                                                                  \
	{                                                                                                                        \
		NULL, 0                                                                                                          \
	}
struct choices {
	const struct choice *at;
	size_t count;
};
struct seed {
	double filters; /* in the set that the figures are of */
	struct {
		const struct traffic *at;
		size_t count;
	} traffic;
	struct {
		const struct lengths *at;
		size_t count;
	} lengths[4]; /* no ports given; a service; a source port; both */
	struct choices exact, ranges, source_exact, source_ranges;
	const struct fork *source, *destination;
};

static const struct seed seeds[] = {
	{733, LIST(acl_traffic), {LIST(acl_wild), LIST(acl_service), NO_LIST, NO_LIST}, LIST(acl_exact), LIST(acl_ranges),
		NO_LIST, NO_LIST, acl_source_forks, acl_destination_forks},
	{283, LIST(fw_traffic), {LIST(fw_wild), LIST(fw_service), LIST(fw_source), LIST(fw_both)}, LIST(fw_exact),
		LIST(fw_ranges), LIST(fw_source_exact), LIST(fw_source_ranges), fw_source_forks, fw_destination_forks},
	{1702, LIST(ipc_traffic), {LIST(ipc_wild), LIST(ipc_service), LIST(ipc_source), LIST(ipc_both)}, LIST(ipc_exact),
		LIST(ipc_ranges), LIST(ipc_source_exact), LIST(ipc_source_ranges), ipc_source_forks, ipc_destination_forks},
};

/* One of a list by its shares: these begin every kind of record, `size` bytes apart. */
static const void *draw(struct random *random, const void *list, size_t count, size_t size)
{
	const char *at = list;
	size_t all = 0, point;
	for (size_t i = 0; i < count; i++)
		all += *(const unsigned *)(at + i * size);
	point = random_below(random, all);
	for (; point >= *(const unsigned *)at; at += size)
		point -= *(const unsigned *)at;
	return at;
}

static struct ports draw_ports(struct random *random, enum class class, struct choices exact, struct choices ranges)
{
	const struct choices *from = class == EXACT ? &exact : &ranges;
	switch (class) {
	case WILD:
		break;
	case HIGH:
		return (struct ports){1024, 65535};
	case LOW:
		return (struct ports){0, 1023};
	case RANGE:
	case EXACT:
		return ((const struct choice *)draw(random, from->at, from->count, sizeof(struct choice)))->ports;
	}
	return (struct ports){0, 65535};
}

/* A number that is always the same for a node of a tree. */
static uint64_t node_number(uint64_t tree, uint64_t path, int level)
{
	uint64_t number = (tree * 64 + (uint64_t)level + 1) * 0x9e3779b97f4a7c15 ^ path * 0xd1342543de82ef95;
	number = (number ^ number >> 31) * 0xbf58476d1ce4e5b9;
	return number ^ number >> 29;
}

/*
 * A walk down the tree of a field's addresses, of which no node is ever stored: whether a node has two sides, and which is the
 * heavier, hangs on its path alone.  `more`: how many more nodes fork than in the seed's set, as a share of those that do not.
 */
static struct network walk(struct random *random, const struct fork *forks, uint64_t tree, double more, int length)
{
	uint64_t path = 0;
	for (int level = 0; level < length; level++) {
		uint64_t number = node_number(tree, path, level);
		double share = forks[level].forks / 100.0;
		bool two = (double)(number >> 8 & 0xffff) < (share + (1 - share) * more) * 65536;
		unsigned skew = share > 0 ? forks[level].skew : 50;
		unsigned heavier = 100 * 100 / (200 - skew);
		path = path << 1 | ((number & 1) ^ (two && random_below(random, 100) >= heavier));
	}
	/* The first octet is kept among the unicast ones: 0, 127 and 224 up are given to others. */
	u128 address = length ? (u128)path << (32 - length) : 0;
	unsigned first = (unsigned)(address >> 24);
	if (length >= 8 && (first == 0 || first == 127 || first >= 224))
		address = (address & 0xffffff) | (u128)(1 + (first & 63)) << 24;
	return (struct network){address, length};
}

/* 2 % of the nodes more for each doubling. */
static double forks_more(const struct seed *seed, size_t count)
{
	double more = 0;
	for (double filters = seed->filters; filters < (double)count; filters *= 2)
		more += 0.02;
	return more;
}

struct filter classbench_filter(struct random *random, enum shape shape, size_t count)
{
	const struct seed *seed = &seeds[shape - SHAPE_ACL];
	const struct traffic *traffic = draw(random, seed->traffic.at, seed->traffic.count, sizeof(*traffic));
	const size_t ports = (traffic->source_port != WILD) * 2 + (traffic->service != WILD);
	const struct lengths *lengths;
	double more = forks_more(seed, count);
	do
		lengths = draw(random, seed->lengths[ports].at, seed->lengths[ports].count, sizeof(*lengths));
	while (!lengths->source && !lengths->destination);
	return (struct filter){.family = 4,
		.protocol = traffic->protocol,
		.source_port = draw_ports(random, traffic->source_port, seed->source_exact, seed->source_ranges),
		.service = draw_ports(random, traffic->service, seed->exact, seed->ranges),
		.source = walk(random, seed->source, 2 * (uint64_t)shape, more, lengths->source),
		.destination = walk(random, seed->destination, 2 * (uint64_t)shape + 1, more, lengths->destination)};
}
