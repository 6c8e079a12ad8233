/*
 * One file a table: a head, the lists, the sets that are made of them, and at last the intervals of each list.
 *
 * The file is mapped and compared where it lies. It takes its place by rename, so who has it mapped keeps what he mapped.  It is
 * worth nothing after a crash, for its boot is over then, so it is not synced.  IPv4, of which there is most, is kept in 8 bytes
 * an interval.
 */
#include "agent/daemon/installed.h"
#include "agent/daemon/store.h"
#include <errno.h>
#include <fcntl.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <talloc.h>
#include <unistd.h>

#define MAGIC "portpolicy-installed-1\n"
#define BOOT_ID 36
#define LISTS_MAX 4096
#define SETS_MAX (LISTS_MAX * ADDRESS_BITS_MAX)
#define NAME_ROOM 128
#define ALIGNMENT 16 /* of u128 */

struct file_head {
	char magic[24], boot[BOOT_ID + 4];
	uint64_t space_device, space_number; /* of the network namespace */
	uint32_t generation, lists, sets;
	uint8_t stamp[TABLE_STAMP];
	char table[256];
	uint32_t unused;
};

struct file_list {
	uint64_t offset, count; /* of its intervals: pairs of uint32_t with 32 bits, else struct interval */
	uint32_t bits, outside;
	uint8_t as[ADDRESS_BITS_MAX + 1], unused[7];
};

struct file_set {
	char name[NAME_ROOM];
	uint64_t members;
	uint32_t list, length, key, unused;
};

static int describe_here(struct file_head *head)
{
	struct stat space;
	FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
	size_t got = file ? fread(head->boot, 1, BOOT_ID, file) : 0;
	if (file)
		fclose(file);
	if (got != BOOT_ID || stat("/proc/self/ns/net", &space))
		return -ENOENT;
	memcpy(head->magic, MAGIC, sizeof MAGIC);
	head->space_device = space.st_dev;
	head->space_number = space.st_ino;
	return 0;
}

static char *file_path(void *ctx, const char *directory, const char *table)
{
	struct sha256_ctx hash;
	uint8_t digest[8];
	char *path = talloc_asprintf(ctx, "%s/installed-", directory);
	sha256_init(&hash);
	sha256_update(&hash, strlen(table), (const uint8_t *)table);
	sha256_digest(&hash, sizeof digest, digest);
	for (size_t i = 0; path && i < sizeof digest; i++)
		path = talloc_asprintf_append_buffer(path, "%02x", digest[i]);
	return path;
}

/* A file in memory, for as long as its talloc parent lives. */
struct mapping {
	const uint8_t *bytes;
	size_t length;
};

static int unmap(struct mapping *mapping)
{
	munmap((void *)(uintptr_t)mapping->bytes, mapping->length);
	return 0;
}

/* Written by root alone, like the directory. */
static int map_file(void *ctx, const char *path, struct mapping **out)
{
	struct stat status;
	void *bytes = MAP_FAILED;
	int descriptor = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (descriptor < 0)
		return -ENOENT;
	if (!fstat(descriptor, &status) && S_ISREG(status.st_mode) && status.st_uid == geteuid() && !(status.st_mode & 022) &&
		status.st_size >= (off_t)sizeof(struct file_head))
		bytes = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, descriptor, 0);
	close(descriptor);
	if (bytes == MAP_FAILED)
		return -ENOENT;
	struct mapping *mapping = talloc(ctx, struct mapping);
	if (!mapping) {
		munmap(bytes, (size_t)status.st_size);
		return -ENOMEM;
	}
	*mapping = (struct mapping){bytes, (size_t)status.st_size};
	talloc_set_destructor(mapping, unmap);
	*out = mapping;
	return 0;
}

static bool of_here(const struct file_head *head, const char *table)
{
	struct file_head here = {.unused = 0};
	return !describe_here(&here) && !memcmp(head->magic, here.magic, sizeof here.magic) &&
	       !memcmp(head->boot, here.boot, sizeof here.boot) && head->space_device == here.space_device &&
	       head->space_number == here.space_number && !strncmp(head->table, table, sizeof head->table);
}

static bool list_fits(const struct file_list *list, size_t length)
{
	size_t each = list->bits == 32 ? 2 * sizeof(uint32_t) : sizeof(struct interval);
	return (list->bits == 32 || list->bits == 128) && list->offset % ALIGNMENT == 0 && list->offset <= length &&
	       list->count && list->count <= (length - list->offset) / each;
}

static bool layout_fits(const struct file_list *list)
{
	for (unsigned i = 0; i <= ADDRESS_BITS_MAX; i++)
		if (list->as[i] && (list->as[i] < i || list->as[i] > list->bits))
			return false;
	return true;
}

/* A walk over what is not sorted might never end. */
static bool in_order(const struct network_list *list)
{
	u128 before = 0;
	for (size_t i = 0; i < list->of.count; i++) {
		struct interval one =
			list->of.at ? list->of.at[i] : (struct interval){list->pairs[2 * i], list->pairs[2 * i + 1]};
		if (one.first > one.last || (i && one.first <= before))
			return false;
		before = one.last;
	}
	return true;
}

static int recall_lists(struct mapping *mapping, const struct file_list *from, size_t count, struct network_list *out)
{
	for (size_t i = 0; i < count; i++) {
		if (!list_fits(&from[i], mapping->length) || !layout_fits(&from[i]))
			return -ENOENT;
		const void *at = mapping->bytes + from[i].offset;
		out[i] = (struct network_list){.of = {.count = from[i].count}, .bits = from[i].bits, .outside = from[i].outside};
		memcpy(out[i].as, from[i].as, sizeof out[i].as);
		if (from[i].bits == 32)
			out[i].pairs = at;
		else
			out[i].of.at = at;
		if (!in_order(&out[i]))
			return -ENOENT;
	}
	return 0;
}

static int recall_sets(
	const struct file_set *from, size_t count, const struct network_list *lists, size_t list_count, struct set *out)
{
	for (size_t i = 0; i < count; i++) {
		if (from[i].list >= list_count || !memchr(from[i].name, 0, NAME_ROOM) || !from[i].length ||
			from[i].length > lists[from[i].list].bits)
			return -ENOENT;
		out[i] = (struct set){.name = from[i].name,
			.keys = {(enum key)from[i].key},
			.key_count = 1,
			.networks = {&lists[from[i].list], from[i].length, from[i].members}};
	}
	return 0;
}

static bool agrees(const struct file_head *head, const char *table, const struct table_knowledge *known)
{
	return of_here(head, table) && head->generation == known->generation && !memcmp(head->stamp, known->stamp, TABLE_STAMP);
}

static int recall(struct mapping *mapping, const char *table, struct table_knowledge *out)
{
	const struct file_head *head = (const struct file_head *)mapping->bytes;
	if (!of_here(head, table) || head->generation != out->generation || memcmp(head->stamp, out->stamp, TABLE_STAMP) ||
		head->lists > LISTS_MAX || head->sets > SETS_MAX)
		return -ENOENT;
	const struct file_list *list = (const struct file_list *)(head + 1);
	const struct file_set *set = (const struct file_set *)(list + head->lists);
	if ((size_t)((const uint8_t *)(set + head->sets) - mapping->bytes) > mapping->length)
		return -ENOENT;
	struct network_list *lists = talloc_zero_array(mapping, struct network_list, head->lists + 1);
	struct set *sets = talloc_zero_array(mapping, struct set, head->sets + 1);
	if (!lists || !sets)
		return -ENOMEM;
	int error = recall_lists(mapping, list, head->lists, lists);
	error = error ? error : recall_sets(set, head->sets, lists, head->lists, sets);
	out->sets = sets;
	out->set_count = head->sets;
	return error;
}

int installed_recall(void *ctx, const char *directory, const char *table, struct table_knowledge *out)
{
	struct mapping *mapping = NULL;
	char *path = file_path(ctx, directory, table);
	int error = path ? map_file(ctx, path, &mapping) : -ENOMEM;
	error = error ? error : recall(mapping, table, out);
	if (error)
		talloc_free(mapping);
	talloc_free(path);
	return error;
}

/* What is to be written: the lists that the sets are made of, each once. */
struct content {
	struct file_head head;
	const struct network_list **of;
	struct file_list *lists;
	struct file_set *sets;
};

static uint32_t list_index(struct content *content, const struct network_list *list)
{
	uint32_t i = 0;
	while (i < content->head.lists && content->of[i] != list)
		i++;
	if (i < content->head.lists)
		return i;
	content->of[i] = list;
	content->lists[i] = (struct file_list){.count = list->of.count, .bits = list->bits, .outside = list->outside};
	memcpy(content->lists[i].as, list->as, sizeof list->as);
	content->head.lists++;
	return i;
}

static void add_set(struct content *content, const struct set *set)
{
	if (!set->networks.list || strlen(set->name) >= NAME_ROOM || !set->networks.list->of.count ||
		content->head.lists == LISTS_MAX || content->head.sets == SETS_MAX)
		return; /* not known then */
	struct file_set *one = &content->sets[content->head.sets++];
	*one = (struct file_set){.members = set->networks.count,
		.list = list_index(content, set->networks.list),
		.length = set->networks.length,
		.key = set->keys[0]};
	strcpy(one->name, set->name);
}

static void place_lists(struct content *content)
{
	uint64_t at =
		sizeof content->head + content->head.lists * sizeof *content->lists + content->head.sets * sizeof *content->sets;
	for (size_t i = 0; i < content->head.lists; i++) {
		struct file_list *list = &content->lists[i];
		at = (at + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
		list->offset = at;
		at += list->count * (list->bits == 32 ? 2 * sizeof(uint32_t) : sizeof(struct interval));
	}
}

static int gather_content(void *ctx, const char *table, const struct table_knowledge *known, struct content *out)
{
	*out = (struct content){.of = talloc_array(ctx, const struct network_list *, known->set_count + 1),
		.lists = talloc_array(ctx, struct file_list, known->set_count + 1),
		.sets = talloc_array(ctx, struct file_set, known->set_count + 1)};
	if (!out->of || !out->lists || !out->sets)
		return -ENOMEM;
	if (strlen(table) >= sizeof out->head.table)
		return -ENAMETOOLONG;
	strcpy(out->head.table, table);
	out->head.generation = known->generation;
	memcpy(out->head.stamp, known->stamp, TABLE_STAMP);
	for (size_t i = 0; i < known->set_count; i++)
		add_set(out, &known->sets[i]);
	place_lists(out);
	return describe_here(&out->head);
}

static void write_pairs(FILE *file, const struct network_list *list)
{
	uint32_t pairs[2 * 1024];
	for (size_t i = 0; i < list->of.count;) {
		size_t count = 0;
		for (; count < 1024 && i < list->of.count; count++, i++) {
			pairs[2 * count] = (uint32_t)list->of.at[i].first;
			pairs[2 * count + 1] = (uint32_t)list->of.at[i].last;
		}
		fwrite(pairs, 2 * sizeof *pairs, count, file);
	}
}

static void write_list(FILE *file, const struct file_list *head, const struct network_list *list)
{
	static const char padding[ALIGNMENT];
	long at = ftell(file);
	if (at >= 0 && (uint64_t)at < head->offset)
		fwrite(padding, 1, head->offset - (uint64_t)at, file);
	if (!list->of.at) /* as it was recalled */
		fwrite(list->pairs, 2 * sizeof *list->pairs, list->of.count, file);
	else if (head->bits == 32)
		write_pairs(file, list);
	else
		fwrite(list->of.at, sizeof *list->of.at, list->of.count, file);
}

static int write_content(const struct content *content, const char *path)
{
	int descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	FILE *file = descriptor < 0 ? NULL : fdopen(descriptor, "we");
	int error = file ? 0 : -errno;
	if (!file) {
		if (descriptor >= 0)
			close(descriptor);
		return error;
	}
	fwrite(&content->head, sizeof content->head, 1, file);
	fwrite(content->lists, sizeof *content->lists, content->head.lists, file);
	fwrite(content->sets, sizeof *content->sets, content->head.sets, file);
	for (size_t i = 0; i < content->head.lists; i++)
		write_list(file, &content->lists[i], content->of[i]);
	error = ferror(file) ? -EIO : 0;
	if (fclose(file) && !error)
		error = -errno;
	return error;
}

static int replace(void *ctx, const struct content *content, const char *directory, const char *path)
{
	char *draft = talloc_asprintf(ctx, "%s.new", path);
	if (!draft)
		return -ENOMEM;
	if (unlink(path) && errno != ENOENT) /* first: whatever happens, nothing wrong is kept */
		return -errno;
	if (!content->head.sets)
		return 0;
	if (mkdir(directory, 0700) && errno != EEXIST)
		return -errno;
	if (unlink(draft) && errno != ENOENT)
		return -errno;
	int error = write_content(content, draft);
	if (!error && rename(draft, path))
		error = -errno;
	if (error)
		unlink(draft);
	return error;
}

int installed_keep(const char *directory, const char *table, const struct table_knowledge *known)
{
	struct content content;
	void *ctx = talloc_new(NULL);
	char *path = ctx ? file_path(ctx, directory, table) : NULL;
	int error = path ? gather_content(ctx, table, known, &content) : -ENOMEM;
	error = error ? error : replace(ctx, &content, directory, path);
	talloc_free(ctx);
	return error;
}

int installed_tell(void *ctx, struct kernel *kernel, const char *table)
{
	struct table_state state;
	struct table_knowledge known = {.set_count = 0};
	if (kernel_look(kernel, table, &state) || !state.exists)
		return 0;
	known.generation = state.generation;
	memcpy(known.stamp, state.stamp, TABLE_STAMP);
	int error = installed_recall(ctx, state_directory(), table, &known);
	if (!error)
		kernel_know(kernel, &known);
	return error == -ENOMEM ? error : 0;
}

static bool has_lists(const struct ruleset *ruleset)
{
	for (size_t i = 0; i < ruleset->set_count; i++)
		if (ruleset->sets[i].networks.list)
			return true;
	return false;
}

static bool is_kept(const char *table, const struct table_knowledge *now)
{
	struct mapping *mapping;
	void *ctx = talloc_new(NULL);
	char *path = ctx ? file_path(ctx, state_directory(), table) : NULL;
	bool is = path && !map_file(ctx, path, &mapping) && agrees((const struct file_head *)mapping->bytes, table, now);
	talloc_free(ctx);
	return is;
}

void installed_note(struct kernel *kernel, const char *table, const struct ruleset *wanted)
{
	struct table_knowledge now;
	if (!has_lists(wanted) || kernel_settled(kernel, table, &now) || is_kept(table, &now))
		return;
	now.sets = wanted->sets;
	now.set_count = wanted->set_count;
	installed_keep(state_directory(), table, &now);
}
