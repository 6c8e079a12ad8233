/*
 * A ruleset that was in force, kept so that it can be brought back by another process, or after this one was killed.
 *
 * There is one way to read a ruleset, the dump, and so what is kept is the dump itself: the datagrams with which the kernel
 * answered, and the sequence number that the questions began with. Played back to the same code that asked, they give the same
 * ruleset.
 */
#include "agent/kernel/kernel.h"
#include <errno.h>
#include <string.h>
#include <talloc.h>

#define MAGIC "portpolicy dump 1\n"
#define MAGIC_LENGTH (sizeof(MAGIC) - 1)
#define HEADER (MAGIC_LENGTH + sizeof(uint32_t))

static void append(struct tape *tape, const void *bytes, size_t length)
{
	if (tape->error)
		return;
	if (tape->length + length > tape->room) {
		size_t room = (tape->length + length) * 2;
		uint8_t *more = talloc_realloc(tape, tape->bytes, uint8_t, room);
		if (!more) {
			tape->error = -ENOMEM;
			return;
		}
		tape->bytes = more;
		tape->room = room;
	}
	memcpy(tape->bytes + tape->length, bytes, length);
	tape->length += length;
}

void tape_record(struct tape *tape, const uint8_t *bytes, size_t length)
{
	uint32_t prefix = (uint32_t)length;
	append(tape, &prefix, sizeof(prefix));
	append(tape, bytes, length);
}

int tape_play(struct tape *tape, uint8_t *buffer, size_t room, size_t *length)
{
	uint32_t next;
	size_t left = tape->length - tape->at;
	*length = 0;
	if (left < sizeof(next))
		return -ENODATA;
	memcpy(&next, tape->bytes + tape->at, sizeof(next));
	if (next > left - sizeof(next) || next > room)
		return -ENODATA;
	memcpy(buffer, tape->bytes + tape->at + sizeof(next), next);
	tape->at += sizeof(next) + next;
	*length = next;
	return 0;
}

int kernel_snapshot(void *ctx, struct kernel *kernel, const char *table, struct ruleset **out, uint8_t **bytes, size_t *length)
{
	uint32_t generation;
	struct tape *tape = talloc_zero(ctx, struct tape);
	if (!tape)
		return -ENOMEM;
	append(tape, MAGIC, MAGIC_LENGTH);
	append(tape, &kernel->sequence, sizeof(kernel->sequence));
	kernel->record = tape;
	int status = kernel_dump(ctx, kernel, table, out, &generation);
	kernel->record = NULL;
	if (!status)
		status = tape->error;
	if (!status) {
		*bytes = talloc_steal(ctx, tape->bytes);
		*length = tape->length;
	}
	talloc_free(tape);
	return status;
}

static int play(void *ctx, struct kernel *kernel, const char *table, struct ruleset **out)
{
	uint32_t generation;
	memcpy(&kernel->sequence, kernel->replay->bytes + MAGIC_LENGTH, sizeof(kernel->sequence));
	int status = kernel_dump(ctx, kernel, table, out, &generation);
	return !status || status == -ENOMEM ? status : -EBADMSG;
}

int kernel_snapshot_read(void *ctx, const char *table, const uint8_t *bytes, size_t length, struct ruleset **out)
{
	if (length < HEADER || memcmp(bytes, MAGIC, MAGIC_LENGTH))
		return -EBADMSG;
	struct kernel *kernel = talloc_zero(ctx, struct kernel);
	struct tape *tape = kernel ? talloc_zero(kernel, struct tape) : NULL;
	int status = -ENOMEM;
	if (tape && (kernel->buffer = talloc_array(kernel, uint8_t, RECEIVE_ROOM))) {
		*tape = (struct tape){.bytes = (uint8_t *)bytes, .length = length, .at = HEADER};
		kernel->replay = tape;
		status = play(ctx, kernel, table, out);
	}
	talloc_free(kernel);
	return status;
}
