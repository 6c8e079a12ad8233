/*
 * The kinds of host that the `hosts` blocks of a policy tell apart.
 *
 * Two hosts are of one kind when they are in the same blocks. The kinds are found by reading all host names at once with all globs at once: a
 * product of small automata, whose states are sets of places in globs, and which globs matched the first label. Letters that no glob tells
 * apart count as one. The walk is breadth first, so the name found for a kind is a shortest one.
 */
#include "dsl/language/resolve.h"
#include <errno.h>
#include <fnmatch.h>
#include <string.h>
#include <talloc.h>

#define STATES_MAX 50000
#define BUCKETS 131072 /* a power of two, more than twice the states */
#define KINDS_MAX 1000
#define NAME_MAX_BYTES 253
#define LETTERS 128

typedef uint64_t word;

/* A place in a glob: what may come next there. The last place of each glob is its end. */
struct place {
	bool star, end;
	bool holds[LETTERS];
	size_t block;
};

enum flag { FLAG_LABELLED, FLAG_MAY_END, FLAG_BEGINS, FLAGS }; /* a dot was read; the name may end here; a label begins here */

struct node {
	uint32_t parent, length;
	char letter;
};

struct machine {
	void *ctx;
	struct place *places;
	size_t place_count, block_count, words; /* a state: a bit for each place, then for each place that was one at the first dot, then flags */
	char letters[LETTERS];
	size_t letter_count;
	word *states;
	struct node *nodes;
	size_t state_count;
	uint32_t *buckets; /* index of a state, plus one */
	bool full;
};

struct kinds {
	const char **names;
	word *blocks; /* block_words each */
	size_t count, block_words;
};

static bool bit(const word *set, size_t at) { return set[at / 64] >> (at % 64) & 1; }
static void set_bit(word *set, size_t at) { set[at / 64] |= (word)1 << (at % 64); }
static bool flag(const struct machine *machine, const word *state, enum flag which) { return bit(state, 2 * machine->place_count + which); }
static bool name_letter(int c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_'; }

/* The length of the bracket expression at `at`, 0 where the bracket is a letter like any other. */
static size_t bracket_length(const char *at)
{
	size_t end = 1;
	end += at[end] == '!' || at[end] == '^';
	end += at[end] == ']';
	for (; at[end] && at[end] != ']'; end++) {
		if (at[end] != '[' || (at[end + 1] != ':' && at[end + 1] != '.' && at[end + 1] != '='))
			continue;
		const char close[] = {at[end + 1], ']', 0}, *inner = strstr(at + end + 2, close);
		if (inner)
			end = (size_t)(inner - at) + 1;
	}
	return at[end] ? end + 1 : 0;
}

/* Reads one place of a glob; fnmatch itself says which letters it holds. Returns the bytes read. */
static size_t read_place(const char *at, struct place *place)
{
	char one[300], letter[2] = {0};
	size_t length = *at == '[' && bracket_length(at) ? bracket_length(at) : *at == '\\' && at[1] ? 2 : 1;
	if (*at == '*') {
		place->star = true;
		return 1;
	}
	memcpy(one, at, length);
	one[length] = 0;
	for (int c = 1; c < LETTERS; c++) {
		letter[0] = (char)c;
		place->holds[c] = !fnmatch(one, letter, 0);
	}
	return length;
}

static int add_glob(struct machine *machine, const char *pattern, size_t block)
{
	for (;;) {
		if (array_room(machine->ctx, &machine->places, sizeof *machine->places, machine->place_count))
			return -ENOMEM;
		struct place *place = &machine->places[machine->place_count++];
		*place = (struct place){.block = block, .end = !*pattern};
		if (place->end)
			return 0;
		pattern += read_place(pattern, place);
	}
}

static int add_globs(struct resolver *resolver, struct machine *machine)
{
	int error = 0;
	machine->block_count = resolver->block_count;
	for (size_t i = 0; i < resolver->block_count; i++)
		for (const struct item *pattern = resolver->blocks[i]->value; pattern && !error; pattern = pattern->next) {
			if (strlen(pattern->text) > NAME_MAX_BYTES)
				report_error(resolver->diagnostics, pattern->span, "a host name has at most %d bytes", NAME_MAX_BYTES);
			else
				error = add_glob(machine, pattern->text, i);
		}
	return error;
}

static bool same_letter(const struct machine *machine, int a, int b)
{
	for (size_t i = 0; i < machine->place_count; i++)
		if (machine->places[i].holds[a] != machine->places[i].holds[b])
			return false;
	return true;
}

/* One letter of each class that the globs tell apart, small letters first; the dot and the hyphen have rules of their own. */
static void choose_letters(struct machine *machine)
{
	static const char order[] = "xabcdefghijklmnopqrstuvwyz0123456789_ABCDEFGHIJKLMNOPQRSTUVWXYZ";
	for (const char *at = order; *at; at++) {
		bool known = false;
		for (size_t i = 0; i < machine->letter_count && !known; i++)
			known = same_letter(machine, machine->letters[i], *at);
		if (!known)
			machine->letters[machine->letter_count++] = *at;
	}
	machine->letters[machine->letter_count++] = '-';
	machine->letters[machine->letter_count++] = '.';
}

/* A star may stand for nothing, so where it stands what follows stands too. */
static void enter(const struct machine *machine, word *state, size_t place)
{
	set_bit(state, place);
	while (machine->places[place].star)
		set_bit(state, ++place);
}

static void carry_label(const struct machine *machine, const word *from, char letter, word *to)
{
	bool labelled = flag(machine, from, FLAG_LABELLED);
	for (size_t i = 0; i < machine->place_count; i++)
		if (machine->places[i].end && (labelled ? bit(from, machine->place_count + i) : letter == '.' && bit(from, i)))
			set_bit(to, machine->place_count + i);
	if (labelled || letter == '.')
		set_bit(to, 2 * machine->place_count + FLAG_LABELLED);
}

/* False where no host name goes on so. */
static bool step(const struct machine *machine, const word *from, char letter, word *to)
{
	bool begins = flag(machine, from, FLAG_BEGINS);
	if ((letter == '.' && !flag(machine, from, FLAG_MAY_END)) || (letter == '-' && begins))
		return false;
	memset(to, 0, machine->words * sizeof *to);
	for (size_t i = 0; i < machine->place_count; i++) {
		if (i % 64 == 0 && !from[i / 64]) {
			i += 63;
			continue;
		}
		if (!bit(from, i))
			continue;
		if (machine->places[i].star)
			enter(machine, to, i);
		else if (machine->places[i].holds[(unsigned char)letter])
			enter(machine, to, i + 1);
	}
	carry_label(machine, from, letter, to);
	if (name_letter(letter) && letter != '-')
		set_bit(to, 2 * machine->place_count + FLAG_MAY_END);
	if (letter == '.')
		set_bit(to, 2 * machine->place_count + FLAG_BEGINS);
	return true;
}

static size_t bucket_of(const struct machine *machine, const word *state)
{
	word hash = 14695981039346656037u; /* FNV-1a, a word at a time */
	for (size_t i = 0; i < machine->words; i++)
		hash = (hash ^ state[i]) * 1099511628211u;
	return (size_t)(hash ^ hash >> 32) & (BUCKETS - 1);
}

/* Keeps the state unless it is known. */
static int keep(struct machine *machine, const word *state, struct node node)
{
	size_t at = bucket_of(machine, state), size = machine->words * sizeof *state;
	for (; machine->buckets[at]; at = (at + 1) & (BUCKETS - 1))
		if (!memcmp(machine->states + (machine->buckets[at] - 1) * machine->words, state, size))
			return 0;
	if (machine->state_count == STATES_MAX) {
		machine->full = true;
		return 0;
	}
	if (array_room(machine->ctx, &machine->nodes, sizeof node, machine->state_count) ||
		array_room(machine->ctx, &machine->states, size, machine->state_count))
		return -ENOMEM;
	memcpy(machine->states + machine->state_count * machine->words, state, size);
	machine->nodes[machine->state_count++] = node;
	machine->buckets[at] = (uint32_t)machine->state_count;
	return 0;
}

static int walk(struct machine *machine)
{
	word *now = talloc_zero_array(machine->ctx, word, machine->words), *next = talloc_zero_array(machine->ctx, word, machine->words);
	if (!now || !next)
		return -ENOMEM;
	for (size_t i = 0; i < machine->place_count; i++)
		if (i == 0 || machine->places[i - 1].end)
			enter(machine, next, i);
	set_bit(next, 2 * machine->place_count + FLAG_BEGINS);
	int error = keep(machine, next, (struct node){0});
	for (size_t i = 0; i < machine->state_count && !error; i++) {
		struct node node = {.parent = (uint32_t)i, .length = machine->nodes[i].length + 1};
		memcpy(now, machine->states + i * machine->words, machine->words * sizeof *now);
		for (size_t k = 0; k < machine->letter_count && node.length <= NAME_MAX_BYTES && !error; k++) {
			node.letter = machine->letters[k];
			if (step(machine, now, node.letter, next))
				error = keep(machine, next, node);
		}
	}
	return error;
}

static char *name_of(const struct machine *machine, void *ctx, size_t at)
{
	size_t length = machine->nodes[at].length;
	char *name = talloc_zero_size(ctx, length + 1);
	for (; name && length; at = machine->nodes[at].parent)
		name[--length] = machine->nodes[at].letter;
	return name;
}

/* The blocks that a name ending in this state is in. */
static void blocks_of(const struct machine *machine, const word *state, word *blocks)
{
	for (size_t i = 0; i < machine->place_count; i++)
		if (machine->places[i].end && (bit(state, i) || bit(state, machine->place_count + i)))
			set_bit(blocks, machine->places[i].block);
}

static int add_kind(void *ctx, struct machine *machine, struct kinds *kinds, size_t state, const word *blocks)
{
	size_t size = kinds->block_words * sizeof *blocks;
	for (size_t i = 0; i < kinds->count; i++)
		if (!memcmp(kinds->blocks + i * kinds->block_words, blocks, size))
			return 0;
	if (kinds->count == KINDS_MAX) {
		machine->full = true;
		return 0;
	}
	char *name = name_of(machine, ctx, state);
	if (!name || array_room(ctx, &kinds->names, sizeof *kinds->names, kinds->count) ||
		array_room(machine->ctx, &kinds->blocks, size, kinds->count))
		return -ENOMEM;
	memcpy(kinds->blocks + kinds->count * kinds->block_words, blocks, size);
	kinds->names[kinds->count++] = name;
	return 0;
}

static bool in_a_block(const struct resolver *resolver, const char *host)
{
	for (size_t i = 0; i < resolver->block_count; i++)
		for (const struct item *pattern = resolver->blocks[i]->value; pattern; pattern = pattern->next)
			if (host_matches(pattern->text, host))
				return true;
	return false;
}

/* The kind that no block names comes first, called by a word that says so where no glob has it. */
static void put_others_first(const struct resolver *resolver, struct kinds *kinds)
{
	static const char *const words[] = {"other", "another", "host"};
	for (size_t i = 0; i < kinds->count; i++) {
		const char *name = kinds->names[i];
		if (in_a_block(resolver, name))
			continue;
		memmove(kinds->names + 1, kinds->names, i * sizeof *kinds->names);
		kinds->names[0] = name;
		for (size_t k = 3; k--;)
			if (!in_a_block(resolver, words[k]))
				kinds->names[0] = words[k];
		return;
	}
}

static int name_kinds(struct resolver *resolver, void *ctx, struct machine *machine, struct kinds *kinds)
{
	kinds->block_words = machine->block_count / 64 + 1;
	word *blocks = talloc_array(machine->ctx, word, kinds->block_words);
	int error = blocks ? 0 : -ENOMEM;
	for (size_t i = 0; i < machine->state_count && !error; i++) {
		const word *state = machine->states + i * machine->words;
		if (!flag(machine, state, FLAG_MAY_END))
			continue;
		memset(blocks, 0, kinds->block_words * sizeof *blocks);
		blocks_of(machine, state, blocks);
		error = add_kind(ctx, machine, kinds, i, blocks);
	}
	if (!error)
		put_others_first(resolver, kinds);
	if (!error && machine->full)
		report_warning(resolver->diagnostics, "W007", resolver->blocks[0]->span, "the blocks tell too many kinds of host apart; not all are looked at");
	return error;
}

static int find_kinds(struct resolver *resolver, void *ctx, struct kinds *kinds)
{
	struct machine machine = {.ctx = resolver->scratch, .buckets = talloc_zero_array(resolver->scratch, uint32_t, BUCKETS)};
	int error = machine.buckets ? add_globs(resolver, &machine) : -ENOMEM;
	if (error)
		return error;
	choose_letters(&machine);
	machine.words = (2 * machine.place_count + FLAGS) / 64 + 1;
	error = walk(&machine);
	return error ? error : name_kinds(resolver, ctx, &machine, kinds);
}

static int only_this_host(const struct resolver *resolver, void *ctx, struct kinds *kinds)
{
	kinds->names = talloc_array(ctx, const char *, 1);
	if (!kinds->names || !(kinds->names[0] = talloc_strdup(ctx, resolver->environment->host)))
		return -ENOMEM;
	kinds->count = 1;
	return 0;
}

/* Mistakes in the files do not matter here: policy_load reports them, for each kind that meets them. */
static int load_blocks(struct resolver *resolver, const char *path)
{
	struct diagnostics *reported = resolver->diagnostics, *silent = diagnostics_new(resolver->scratch);
	if (!silent)
		return -ENOMEM;
	resolver->diagnostics = silent;
	int error = load_entries(resolver, path);
	resolver->diagnostics = reported;
	return error;
}

int policies_host_kinds(void *ctx, const char *const *paths, const struct environment *const *environments, size_t policies,
	struct diagnostics *diagnostics, const char *const **names, size_t *count)
{
	void *scratch = talloc_new(ctx);
	struct policy policy = {.file = *paths};
	struct kinds kinds = {0};
	size_t errors = diagnostics->errors, warnings = diagnostics->warnings;
	struct resolver resolver = {.ctx = scratch, .scratch = scratch, .diagnostics = diagnostics, .policy = &policy,
		.every_host = true, .errors_before = errors};
	int error = scratch ? 0 : -ENOMEM;
	for (size_t i = 0; i < policies && !error; i++) {
		resolver.environment = environments[i];
		error = load_blocks(&resolver, paths[i]);
	}
	if (!error)
		error = resolver.block_count ? find_kinds(&resolver, ctx, &kinds) : only_this_host(&resolver, ctx, &kinds);
	if (diagnostics->errors != errors || diagnostics->warnings != warnings)
		talloc_steal(diagnostics, scratch); /* the messages point into it */
	else
		talloc_free(scratch);
	*names = kinds.names;
	*count = kinds.count;
	return error ? error : diagnostics->errors != errors;
}

int policy_host_kinds(void *ctx, const char *path, const struct environment *environment, struct diagnostics *diagnostics, const char *const **names,
	size_t *count)
{
	return policies_host_kinds(ctx, &path, &environment, 1, diagnostics, names, count);
}
