/*
 * Packets sent into the network stack of the present namespace as fast as it takes them, timed by the kernel.
 *
 * XDP live frames (bpf(2), BPF_PROG_TEST_RUN with BPF_F_TEST_XDP_LIVE_FRAMES) arrive as if they had come in on a device, in
 * batches of 64 without a system call for each: what is timed is the stack and nothing else.
 */
#ifndef TESTS_BENCH_FRAMES_H
#define TESTS_BENCH_FRAMES_H

#include "tests/netns/lib/model.h"

#define FRAMES_HARDWARE "02:00:00:00:00:01" /* the device that frames are for */

/* A ring of packets, sent one after another and from the start again. */
struct frames;
/* Of any number of probes.  0 or a negative errno (-EPERM without CAP_BPF). */
int frames_new(void *ctx, const struct probe *probes, size_t count, struct frames **out);
/*
 * Makes a veth of the present namespace take these frames.  *link: closed, it takes them no more.  0 or a negative errno.
 * Its own program on the device gives it the queues that frames need, and spares each run the kernel's wait for all processors
 * while it patches in a program that it does not know (bpf_dispatcher_change_prog).
 */
int frames_attach(const struct frames *frames, unsigned device, int *link);
/* Sends the next `count` packets; *ns: of one, on average.  The device needs frames_attach.  0 or a negative errno. */
int frames_arrive(struct frames *frames, unsigned device, unsigned count, double *ns);
/* The same packets sent from here, each by a system call through a raw socket (IP_HDRINCL). */
int frames_leave(struct frames *frames, int socket4, int socket6, unsigned count, double *ns);

#endif
