/*
 * The record of a change that is pending.
 *
 * Time is CLOCK_BOOTTIME: it goes on while a laptop sleeps and does not jump when somebody sets the clock. A record of an earlier
 * boot says nothing about the kernel that runs now, and one of another network namespace nothing about this one.
 */
#include "agent/daemon/pending.h"
#include "agent/cli/cli.h"
#include "agent/daemon/bundle.h"
#include "agent/daemon/store.h"
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <talloc.h>
#include <time.h>
#include <unistd.h>

uint64_t boot_milliseconds(void)
{
	struct timespec now;
	clock_gettime(CLOCK_BOOTTIME, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void boot_id(char out[40])
{
	FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
	*out = 0;
	if (file && fgets(out, 40, file))
		out[strcspn(out, "\n")] = 0;
	if (file)
		fclose(file);
}

static json_int_t network_namespace(void)
{
	struct stat status;
	return stat("/proc/self/ns/net", &status) ? 0 : (json_int_t)status.st_ino;
}

static char *record_name(void *ctx, const char *table)
{
	return talloc_asprintf(ctx, "pending-%s", table);
}

static char *snapshot_name(void *ctx, const char *table)
{
	return talloc_asprintf(ctx, "pending-%s.rules", table);
}

unsigned pending_left(const struct pending *pending)
{
	uint64_t now = boot_milliseconds();
	return pending->deadline <= now ? 0 : (unsigned)((pending->deadline - now + 999) / 1000);
}

static int fill(struct pending *pending, const json_t *record, bool *elsewhere)
{
	const char *id, *file, *digest, *boot;
	json_int_t deadline, began, namespace;
	int existed, by_agent;
	char now[40];
	if (json_unpack((json_t *)record, "{s:s,s:s,s:s,s:s,s:I,s:I,s:I,s:b,s:b}", "id", &id, "file", &file, "digest", &digest,
		    "boot", &boot, "deadline", &deadline, "began", &began, "namespace", &namespace, "existed", &existed, "agent",
		    &by_agent) ||
		strlen(id) != sizeof pending->id - 1)
		return -EBADMSG;
	strcpy(pending->id, id);
	pending->file = talloc_strdup(pending, file);
	pending->digest = talloc_strdup(pending, digest);
	pending->deadline = (uint64_t)deadline;
	pending->began = began;
	pending->existed = existed;
	pending->by_agent = by_agent;
	boot_id(now);
	*elsewhere = strcmp(now, boot) || namespace != network_namespace();
	return pending->file && pending->digest ? 0 : -ENOMEM;
}

int pending_read(void *ctx, const char *table, struct pending **out)
{
	char *bytes;
	size_t length;
	bool elsewhere = false;
	struct pending *pending = talloc_zero(ctx, struct pending);
	char *name = pending ? record_name(pending, table) : NULL;
	if (!name || !(pending->table = talloc_strdup(pending, table)))
		return -ENOMEM;
	int status = store_read(pending, name, &bytes, &length);
	json_t *record = status ? NULL : json_loadb(bytes, length, 0, NULL);
	if (!status)
		status = record ? fill(pending, record, &elsewhere) : -EBADMSG;
	json_decref(record);
	*out = status ? NULL : pending;
	if (status)
		talloc_free(pending);
	if (status == -ENOENT)
		return 1;
	return status ? status : elsewhere ? 2 : 0;
}

static int write_record(const struct pending *pending, const char *name)
{
	char boot[40];
	boot_id(boot);
	json_t *record = json_pack("{s:s,s:o,s:s,s:s,s:I,s:I,s:I,s:b,s:b}", "id", pending->id, "file", json_text(pending->file),
		"digest", pending->digest, "boot", boot, "deadline", (json_int_t)pending->deadline, "began",
		(json_int_t)pending->began, "namespace", network_namespace(), "existed", pending->existed, "agent",
		pending->by_agent);
	char *text = record ? json_dumps(record, JSON_INDENT(1)) : NULL;
	int error = text ? store_write(name, text, strlen(text)) : -ENOMEM;
	free(text);
	json_decref(record);
	return error;
}

int pending_begin(struct pending *pending, const uint8_t *snapshot, size_t length)
{
	uint64_t random;
	void *scratch = talloc_new(NULL);
	char *record = scratch ? record_name(scratch, pending->table) : NULL,
	     *rules = record ? snapshot_name(scratch, pending->table) : NULL;
	int error = rules ? 0 : -ENOMEM;
	if (!error && getrandom(&random, sizeof random, 0) != sizeof random)
		error = -EIO;
	if (!error) {
		snprintf(pending->id, sizeof pending->id, "%016llx", (unsigned long long)random);
		error = store_write(rules, snapshot, length);
	}
	if (!error)
		error = write_record(pending, record);
	talloc_free(scratch);
	return error;
}

/* The lock is held.  0; 1 when the record is gone or another's. */
static int still_stands(void *ctx, const char *table, const char *id)
{
	struct pending *now;
	int status = pending_read(ctx, table, &now);
	if (status < 0)
		return status;
	return status == 1 || strcmp(now->id, id) ? 1 : 0;
}

static int take_away(void *ctx, const char *table)
{
	char *record = record_name(ctx, table), *rules = snapshot_name(ctx, table), *aside = bundle_name_aside(ctx, table);
	int error = record && rules && aside ? store_remove(record) : -ENOMEM;
	if (!error)
		error = store_remove(aside);
	return error ? error : store_remove(rules);
}

int pending_end(const char *table, const char *id)
{
	void *scratch = talloc_new(NULL);
	int lock = scratch ? store_lock() : -ENOMEM;
	int status = lock < 0 ? lock : still_stands(scratch, table, id);
	if (!status)
		status = take_away(scratch, table);
	if (lock >= 0)
		close(lock);
	talloc_free(scratch);
	return status;
}

static char *blamed_name(void *ctx, const char *table)
{
	return talloc_asprintf(ctx, "unconfirmed-%s", table);
}

bool pending_blamed(const char *table, const char *digest)
{
	char *bytes;
	size_t length;
	void *scratch = talloc_new(NULL);
	char *name = scratch ? blamed_name(scratch, table) : NULL;
	bool blamed = name && !store_read(scratch, name, &bytes, &length) && !strcmp(bytes, digest);
	talloc_free(scratch);
	return blamed;
}

void pending_forgive(const char *table, const char *digest)
{
	void *scratch = talloc_new(NULL);
	char *name = scratch && pending_blamed(table, digest) ? blamed_name(scratch, table) : NULL;
	if (name)
		store_remove(name);
	talloc_free(scratch);
}

/* The lock is held. What cannot be written down is only not remembered. */
static void blame(void *ctx, const char *table, const char *digest)
{
	char *name = blamed_name(ctx, table);
	if (name && *digest)
		store_write(name, digest, strlen(digest));
}

void pending_undone(const char *table)
{
	struct pending *pending;
	void *scratch = talloc_new(NULL);
	int lock = scratch ? store_lock() : -ENOMEM;
	int status = lock < 0 ? lock : pending_read(scratch, table, &pending);
	if (status == 0 || status == 2)
		blame(scratch, table, pending->digest);
	if (status == 0 || status == 2 || status == -EBADMSG)
		take_away(scratch, table);
	if (lock >= 0)
		close(lock);
	talloc_free(scratch);
}

int pending_confirm(const struct pending *pending)
{
	void *scratch = talloc_new(NULL);
	int lock = scratch ? store_lock() : -ENOMEM;
	int status = lock < 0 ? lock : still_stands(scratch, pending->table, pending->id);
	char *aside = status ? NULL : bundle_name_aside(scratch, pending->table);
	if (!status)
		status = aside ? bundle_promote(pending->table, aside) : -ENOMEM;
	if (!status)
		status = take_away(scratch, pending->table);
	if (lock >= 0)
		close(lock);
	talloc_free(scratch);
	if (!status)
		pending_forgive(pending->table, pending->digest);
	return status;
}

bool ruleset_restorable(const struct ruleset *ruleset)
{
	for (size_t i = 0; i < ruleset->set_count; i++)
		if (ruleset->sets[i].foreign)
			return false;
	for (size_t i = 0; i < ruleset->chain_count; i++) {
		if (ruleset->chains[i].foreign)
			return false;
		for (size_t k = 0; k < ruleset->chains[i].count; k++)
			for (size_t s = 0; s < ruleset->chains[i].rules[k].count; s++)
				if (ruleset->chains[i].rules[k].steps[s].kind == STEP_FOREIGN)
					return false;
	}
	return true;
}

static int read_before(void *ctx, const char *table, const struct ruleset **out)
{
	char *bytes, *name = snapshot_name(ctx, table);
	size_t length;
	struct ruleset *before;
	int status = name ? store_read(ctx, name, &bytes, &length) : -ENOMEM;
	if (!status)
		status = kernel_snapshot_read(ctx, table, (const uint8_t *)bytes, length, &before);
	if (!status)
		*out = before;
	return status;
}

static int restore(
	void *ctx, struct kernel *kernel, const struct pending *pending, const struct ruleset *before, const char **problem)
{
	struct changes *changes;
	struct refusal refusal;
	int status = 0;
	if (pending->existed && !before)
		status = read_before(ctx, pending->table, &before);
	if (status) {
		*problem = "the rules of before cannot be read";
		return 2;
	}
	status = kernel_install(ctx, kernel, pending->table, pending->existed ? before : NULL, &changes, &refusal, problem);
	if (!status)
		return 0;
	if (status == 1)
		*problem = strerror(refusal.error);
	else if (status != 3 || !*problem)
		*problem = status < 0 ? strerror(-status) : "somebody else keeps changing the ruleset";
	return 2;
}

int pending_undo(
	void *ctx, struct kernel *kernel, const struct pending *pending, const struct ruleset *before, const char **problem)
{
	*problem = NULL;
	int lock = store_lock();
	int status = lock < 0 ? lock : still_stands(ctx, pending->table, pending->id);
	if (!status)
		status = restore(ctx, kernel, pending, before, problem);
	if (!status)
		blame(ctx, pending->table, pending->digest);
	if (!status)
		status = take_away(ctx, pending->table);
	if (lock >= 0)
		close(lock);
	if (status < 0)
		*problem = strerror(-status);
	return status < 0 ? 2 : status;
}
