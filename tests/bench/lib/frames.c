/*
 * The XDP program, in the machine language of BPF so that the bench needs no compiler for it:
 *
 *     if (data + FRAME > data_end) return XDP_DROP;
 *     i = ring.next; ring.next = i + 1 < ring.count ? i + 1 : 0;
 *     memcpy(data, headers[i], FRAME); return XDP_PASS;
 *
 * Each frame is a whole record of the map, so that the cost of writing it is the same whatever the packet is.
 */
#include "tests/bench/lib/frames.h"
#include "tests/netns/lib/wire.h"
#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <talloc.h>
#include <time.h>
#include <unistd.h>

#define FRAME 80 /* Ethernet, IPv6 and TCP; shorter packets are padded */
#define ETHERNET 14

struct ring {
	uint64_t next, count;
};

struct frames {
	int ring, headers, program;
	unsigned char (*at)[FRAME]; /* the map's own memory */
	uint64_t *lengths;	    /* of the packets, without Ethernet */
	size_t count, next;
};

static int bpf(enum bpf_cmd command, union bpf_attr *attribute)
{
	long result = syscall(SYS_bpf, command, attribute, sizeof(*attribute));
	return result < 0 ? -errno : (int)result;
}

static int array_new(uint32_t value_size, uint32_t entries, uint32_t flags)
{
	union bpf_attr attribute = {.map_type = BPF_MAP_TYPE_ARRAY,
		.key_size = 4,
		.value_size = value_size,
		.max_entries = entries,
		.map_flags = flags};
	return bpf(BPF_MAP_CREATE, &attribute);
}

static int program_load(const struct bpf_insn *instructions, size_t count)
{
	union bpf_attr attribute = {.prog_type = BPF_PROG_TYPE_XDP,
		.insns = (uint64_t)(uintptr_t)instructions,
		.insn_cnt = (uint32_t)count,
		.license = (uint64_t)(uintptr_t) "GPL"};
	return bpf(BPF_PROG_LOAD, &attribute);
}

/* The few instructions that are needed, by the names that assemblers give them. */
/* clang-format off */
#define MOV(to, from) {.code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = to, .src_reg = from}
#define MOV_NUMBER(to, number) {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = to, .imm = number}
#define ADD_NUMBER(to, number) {.code = BPF_ALU64 | BPF_ADD | BPF_K, .dst_reg = to, .imm = number}
#define LOAD(size, to, from, offset) {.code = BPF_LDX | BPF_MEM | size, .dst_reg = to, .src_reg = from, .off = offset}
#define STORE(size, to, offset, from) {.code = BPF_STX | BPF_MEM | size, .dst_reg = to, .src_reg = from, .off = offset}
#define IF_NOT_GREATER(a, b, skip) {.code = BPF_JMP | BPF_JLE | BPF_X, .dst_reg = a, .src_reg = b, .off = skip}
#define IF_LESS(a, b, skip) {.code = BPF_JMP | BPF_JLT | BPF_X, .dst_reg = a, .src_reg = b, .off = skip}
#define IF_NOT_ZERO(a, skip) {.code = BPF_JMP | BPF_JNE | BPF_K, .dst_reg = a, .off = skip}
#define CALL(helper) {.code = BPF_JMP | BPF_CALL, .imm = helper}
#define EXIT {.code = BPF_JMP | BPF_EXIT}
#define MAP(to, kind, descriptor) {.code = BPF_LD | BPF_IMM | BPF_DW, .dst_reg = to, .src_reg = kind, .imm = descriptor}, {0}
#define COPY(offset) LOAD(BPF_DW, 1, 0, offset), STORE(BPF_DW, 6, offset, 1)
/* clang-format on */

static int fill_program(const struct frames *frames)
{
	const struct bpf_insn instructions[] = {
		LOAD(BPF_W, 6, 1, 0), /* r6: data */
		LOAD(BPF_W, 2, 1, 4), /* data_end */
		MOV(3, 6),
		ADD_NUMBER(3, FRAME),
		IF_NOT_GREATER(3, 2, 2),
		MOV_NUMBER(0, XDP_DROP),
		EXIT,
		MAP(7, BPF_PSEUDO_MAP_VALUE, frames->ring),
		LOAD(BPF_DW, 8, 7, 0), /* r8: next */
		STORE(BPF_W, 10, -4, 8),
		ADD_NUMBER(8, 1),
		LOAD(BPF_DW, 2, 7, 8),
		IF_LESS(8, 2, 1),
		MOV_NUMBER(8, 0),
		STORE(BPF_DW, 7, 0, 8),
		MAP(1, BPF_PSEUDO_MAP_FD, frames->headers),
		MOV(2, 10),
		ADD_NUMBER(2, -4),
		CALL(BPF_FUNC_map_lookup_elem),
		IF_NOT_ZERO(0, 2),
		MOV_NUMBER(0, XDP_DROP),
		EXIT,
		COPY(0),
		COPY(8),
		COPY(16),
		COPY(24),
		COPY(32),
		COPY(40),
		COPY(48),
		COPY(56),
		COPY(64),
		COPY(72),
		MOV_NUMBER(0, XDP_PASS),
		EXIT,
	};
	return program_load(instructions, sizeof(instructions) / sizeof(*instructions));
}

int frames_attach(const struct frames *frames, unsigned device, int *link)
{
	union bpf_attr attribute = {.link_create = {.prog_fd = (uint32_t)frames->program,
					    .target_ifindex = device,
					    .attach_type = BPF_XDP,
					    .flags = XDP_FLAGS_DRV_MODE}};
	*link = bpf(BPF_LINK_CREATE, &attribute);
	return *link < 0 ? *link : 0;
}

static void write_frame(const struct probe *probe, unsigned char *frame, uint64_t *length)
{
	static const unsigned char hardware[ETHERNET] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2};
	unsigned char packet[WIRE_MAX];
	*length = wire_packet(probe, 1, 0, packet);
	memcpy(frame, hardware, ETHERNET);
	frame[12] = probe->family == 4 ? 0x08 : 0x86;
	frame[13] = probe->family == 4 ? 0x00 : 0xdd;
	memcpy(frame + ETHERNET, packet, FRAME - ETHERNET);
}

static int frames_free(struct frames *frames)
{
	if (frames->at)
		munmap(frames->at, frames->count * FRAME);
	for (int i = 0, *const owned[] = {&frames->program, &frames->headers, &frames->ring}; i < 3; i++)
		if (*owned[i] >= 0)
			close(*owned[i]);
	return 0;
}

static int make_maps(struct frames *frames)
{
	struct ring ring = {0, frames->count};
	uint32_t first = 0;
	frames->ring = array_new(sizeof(ring), 1, 0);
	frames->headers = array_new(FRAME, (uint32_t)frames->count, BPF_F_MMAPABLE);
	if (frames->ring < 0 || frames->headers < 0)
		return frames->ring < 0 ? frames->ring : frames->headers;
	union bpf_attr attribute = {
		.map_fd = (uint32_t)frames->ring, .key = (uint64_t)(uintptr_t)&first, .value = (uint64_t)(uintptr_t)&ring};
	int status = bpf(BPF_MAP_UPDATE_ELEM, &attribute);
	if (status)
		return status;
	void *memory = mmap(NULL, frames->count * FRAME, PROT_READ | PROT_WRITE, MAP_SHARED, frames->headers, 0);
	if (memory == MAP_FAILED)
		return -errno;
	frames->at = memory;
	return 0;
}

int frames_new(void *ctx, const struct probe *probes, size_t count, struct frames **out)
{
	struct frames *frames = talloc(ctx, struct frames);
	if (!frames)
		return -ENOMEM;
	*frames = (struct frames){.ring = -1, .headers = -1, .program = -1, .count = count};
	talloc_set_destructor(frames, frames_free);
	frames->lengths = talloc_array(frames, uint64_t, count);
	int status = frames->lengths ? make_maps(frames) : -ENOMEM;
	for (size_t i = 0; !status && i < count; i++)
		write_frame(&probes[i], frames->at[i], &frames->lengths[i]);
	if (!status)
		status = frames->program = fill_program(frames);
	if (status < 0) {
		talloc_free(frames);
		return status;
	}
	*out = frames;
	return 0;
}

int frames_arrive(struct frames *frames, unsigned device, unsigned count, double *ns)
{
	unsigned char frame[FRAME] = {0};
	struct xdp_md context = {.data_end = FRAME, .ingress_ifindex = device};
	union bpf_attr attribute = {.test = {.prog_fd = (uint32_t)frames->program,
					    .repeat = count,
					    .data_in = (uint64_t)(uintptr_t)frame,
					    .data_size_in = FRAME,
					    .ctx_in = (uint64_t)(uintptr_t)&context,
					    .ctx_size_in = sizeof(context),
					    .flags = BPF_F_TEST_XDP_LIVE_FRAMES}};
	int status = bpf(BPF_PROG_TEST_RUN, &attribute);
	*ns = attribute.test.duration;
	return status;
}

static void send_one(const struct frames *frames, size_t i, int socket4, int socket6)
{
	const unsigned char *packet = frames->at[i] + ETHERNET;
	if (packet[0] >> 4 == 4) {
		struct sockaddr_in to = {.sin_family = AF_INET};
		memcpy(&to.sin_addr, packet + 16, 4);
		sendto(socket4, packet, frames->lengths[i], 0, (struct sockaddr *)&to, sizeof(to));
	} else {
		struct sockaddr_in6 to = {.sin6_family = AF_INET6};
		memcpy(&to.sin6_addr, packet + 24, 16);
		sendto(socket6, packet, frames->lengths[i], 0, (struct sockaddr *)&to, sizeof(to));
	}
}

int frames_leave(struct frames *frames, int socket4, int socket6, unsigned count, double *ns)
{
	struct timespec start, end;
	clock_gettime(CLOCK_MONOTONIC, &start);
	for (unsigned i = 0; i < count; i++) {
		send_one(frames, frames->next, socket4, socket6); /* a drop is EPERM: expected */
		frames->next = frames->next + 1 < frames->count ? frames->next + 1 : 0;
	}
	clock_gettime(CLOCK_MONOTONIC, &end);
	*ns = ((double)(end.tv_sec - start.tv_sec) * 1e9 + (double)(end.tv_nsec - start.tv_nsec)) / count;
	return 0;
}
