/*
 * A list in which the first match decides, made free of order.
 *
 * Deny wins over reject, reject over allow, allow over the default.  Let M(i) be what entry i matches.  An entry is either said,
 * as a rule that matches M(i) less what would be wrong, or absorbed: its verdict is the default's, and others keep out of it.  A
 * said entry loses
 *   - every earlier M(j) of a less strict verdict, for there the stricter rule would win where it must not;
 *   - every earlier absorbed M(j) of another verdict, for there no rule may match.
 * An earlier, stricter, said entry wins by itself.  So a packet whose first match is k is matched by k's rule (or by none, where
 * k is absorbed), and by no stricter one.  A denial whose default is deny may be either: it is what takes less carving.
 *
 * Limits: what exceeds the limit of an allow falls on to the rules behind it in the list, but in a policy no denial could let it
 * through first; so denials behind it that touch it must be absorbed.  A rule with a limit is one rule with one area, or its
 * limit would be counted apart.
 */
#include "dsl/import/foreign.h"
#include <errno.h>
#include <talloc.h>

#define PIECES_MAX 600

struct carving {
	struct import *import;
	const struct zone_space *space;
	struct entries *entries;
	enum foreign_verdict fallback;
	bool again;
};

static bool limited(const struct list_entry *entry)
{
	return entry->verdict == FV_ACCEPT && entry->quota.kind != QUOTA_NONE && !entry->unsure;
}
static bool above(const struct list_entry *entry)
{
	return entry->verdict != FV_ACCEPT && entry->quota.kind == QUOTA_RATE && !entry->unsure;
}
static bool gate(const struct list_entry *entry)
{
	return entry->verdict != FV_ACCEPT && entry->quota.kind == QUOTA_CONNECTIONS && !entry->unsure;
}
/* Does it decide every packet that it matches, as long as limits are kept? */
static bool decides(const struct list_entry *entry)
{
	return !entry->idle && !above(entry) && !gate(entry);
}

/* A denial that is in doubt already denies all that it may match: more than it does, but nothing is let through for it. */
static void widen(struct carving *carving, struct list_entry *entry)
{
	struct import *import = carving->import;
	entry->said = entry->areas;
	entry->gate = NULL;
	for (size_t i = 0; i < entry->said.count; i++) {
		struct area *area = &entry->said.at[i];
		struct widened *more = talloc_realloc(import->ctx, import->widened, struct widened, import->widened_count + 1);
		if (!more) {
			import->error = -ENOMEM;
			return;
		}
		area->of[DIM_USER] = carving->space->whole.of[DIM_USER];
		area->of[DIM_GROUP] = carving->space->whole.of[DIM_GROUP];
		import->widened = more;
		more[import->widened_count++] =
			(struct widened){carving->space->direction, carving->space->family, entry->verdict, *area};
	}
}

static void doubt(struct carving *carving, struct list_entry *entry, const char *reason)
{
	if (entry->rule && entry->unsure && entry->verdict != FV_ACCEPT) {
		widen(carving, entry);
		return;
	}
	if (entry->rule)
		rule_doubt(carving->import, entry->rule, "%s", reason);
	carving->again |= entry->rule != NULL;
	entry->idle = true;
	entry->unsure = reason;
	entry->said = (struct areas){0};
}

/* Nothing that stands behind an entry that decides all is ever asked. */
static void cut_off(struct carving *carving)
{
	struct entries *entries = carving->entries;
	for (size_t i = 0; i < entries->count; i++)
		for (size_t a = 0; a < entries->at[i].areas.count; a++)
			if (decides(&entries->at[i]) && !limited(&entries->at[i]) &&
				area_cover(&entries->at[i].areas.at[a], &carving->space->whole))
				entries->count = i + 1;
}

/* What may be denied by a line that could not be translated is denied, and the line that accepts it is told of that. */
static void note_masked(struct carving *carving, size_t at)
{
	struct list_entry *entry = &carving->entries->at[at];
	for (size_t j = 0; j < at && entry->rule && entry->verdict == FV_ACCEPT && !entry->unsure; j++) {
		const struct list_entry *earlier = &carving->entries->at[j];
		if (!earlier->idle && earlier->unsure && earlier->rule && areas_overlap(&earlier->areas, &entry->areas))
			entry->rule->masked_by = earlier->rule;
	}
}

static bool covered_before(const struct carving *carving, size_t at, const struct area *area)
{
	for (size_t j = 0; j < at; j++) {
		const struct list_entry *earlier = &carving->entries->at[j];
		if (!decides(earlier) || limited(earlier))
			continue;
		for (size_t a = 0; a < earlier->areas.count; a++)
			if (area_cover(&earlier->areas.at[a], area))
				return true;
	}
	return false;
}

static size_t overlaps(const struct carving *carving, size_t from, size_t to, const struct list_entry *entry,
	bool (*counts)(const struct list_entry *, const struct list_entry *))
{
	size_t found = 0;
	for (size_t j = from; j < to; j++)
		if (decides(&carving->entries->at[j]) && counts(&carving->entries->at[j], entry))
			found += areas_overlap(&carving->entries->at[j].areas, &entry->areas);
	return found;
}

static bool less_strict(const struct list_entry *other, const struct list_entry *entry)
{
	return other->verdict < entry->verdict;
}
static bool different(const struct list_entry *other, const struct list_entry *entry)
{
	return other->verdict != entry->verdict;
}
static bool limited_allow(const struct list_entry *other, const struct list_entry *entry)
{
	return limited(other) && entry->verdict != FV_ACCEPT;
}

static bool choose_absorbed(const struct carving *carving, size_t at)
{
	const struct list_entry *entry = &carving->entries->at[at];
	size_t count = carving->entries->count;
	if (entry->verdict != carving->fallback)
		return false;
	if (entry->verdict == FV_ACCEPT || !entry->rule)
		return true;
	if (overlaps(carving, 0, at, entry, limited_allow))
		return true;
	size_t later = overlaps(carving, at + 1, count, entry, different);
	if (!later)
		return !entry->rule->log || at + 1 == count;
	return overlaps(carving, 0, at, entry, less_strict) > later;
}

/* What the entry matches, less what the rules above say.  False: too many pieces. */
static bool say(struct carving *carving, size_t at)
{
	struct list_entry *entry = &carving->entries->at[at];
	struct areas said = {0};
	for (size_t a = 0; a < entry->areas.count; a++)
		if (!covered_before(carving, at, &entry->areas.at[a]))
			areas_add(carving->import, &said, &entry->areas.at[a]);
	for (size_t j = 0; j < at && said.count; j++) {
		const struct list_entry *earlier = &carving->entries->at[j];
		bool loses = earlier->verdict < entry->verdict || (earlier->absorbed && earlier->verdict != entry->verdict);
		if (!loses || !decides(earlier) || !areas_overlap(&earlier->areas, &said))
			continue;
		for (size_t a = 0; a < earlier->areas.count; a++)
			if (!areas_except(carving->import, &said, &earlier->areas.at[a], PIECES_MAX))
				return false;
		areas_join(carving->import, &said);
	}
	areas_join(carving->import, &said);
	entry->said = said;
	return true;
}

/*
 * An allow with a limit, and a denial behind it that cannot be absorbed: where the denial holds all that the allow holds, the two
 * say that what exceeds the limit is denied, and so does `above`.
 */
static void check_limit(struct carving *carving, size_t at)
{
	struct list_entry *entry = &carving->entries->at[at];
	for (size_t j = at + 1; j < carving->entries->count; j++) {
		struct list_entry *later = &carving->entries->at[j];
		if (!decides(later) || later->verdict == FV_ACCEPT || later->verdict == carving->fallback ||
			!areas_overlap(&later->areas, &entry->areas))
			continue;
		bool whole = entry->quota.kind == QUOTA_RATE && entry->areas.count == 1 && later->areas.count == 1 &&
			     !later->unsure && area_cover(&later->areas.at[0], &entry->areas.at[0]);
		for (size_t k = at + 1; k < j; k++)
			whole &= !areas_overlap(&carving->entries->at[k].areas, &entry->areas);
		if (!whole) {
			doubt(carving, entry, "what exceeds its limit is judged by several rules behind it");
			return;
		}
		settle_over(carving->import, entry->rule, later->verdict);
		carving->again = true;
		return;
	}
}

/* Connections are counted by the one allow that lets them in: it gets the number that the denial before it had. */
static void pass_gate(struct carving *carving, const struct list_entry *entry_gate, struct list_entry *entry)
{
	struct import *import = carving->import;
	struct areas inside = {0}, taken = {0};
	areas_common(import, &entry->said, &entry_gate->areas, &inside);
	if (!inside.count)
		return;
	for (struct list_entry *other = carving->entries->at; other < entry; other++)
		if (other->gate == entry_gate)
			taken = other->gated;
	for (size_t i = 0; i < entry_gate->areas.count; i++)
		if (!areas_except(import, &entry->said, &entry_gate->areas.at[i], PIECES_MAX)) {
			doubt(carving, entry, "it falls into too many pieces around a limit of connections");
			return;
		}
	if (taken.count == 1) {
		for (size_t i = 0; i < inside.count; i++)
			if (!area_cover(&taken.at[0], &inside.at[i]))
				doubt(carving, entry, "it shares a limit of connections with another rule");
		return;
	}
	areas_join(import, &inside);
	if (inside.count != 1 || entry->gate || entry->quota.kind == QUOTA_CONNECTIONS) {
		doubt(carving, entry, "its limit of connections would be counted in several rules");
		return;
	}
	entry->gated = inside;
	entry->gate = entry_gate;
}

static void pass_gates(struct carving *carving, size_t at)
{
	struct list_entry *entry = &carving->entries->at[at];
	for (size_t j = 0; j < at && !entry->idle; j++) {
		const struct list_entry *before = &carving->entries->at[j];
		if (!before->idle && gate(before) && entry->verdict == FV_ACCEPT)
			pass_gate(carving, before, entry);
	}
}

static void check_sayable(struct carving *carving, struct list_entry *entry)
{
	for (size_t i = 0; i < entry->said.count + entry->gated.count; i++) {
		const struct area *area = i < entry->said.count ? &entry->said.at[i] : &entry->gated.at[i - entry->said.count];
		if (area_sayable(carving->import, carving->space, area))
			continue;
		doubt(carving, entry, "its users, groups or interfaces cannot be said in one rule");
		return;
	}
}

static void carve_entry(struct carving *carving, size_t at)
{
	struct list_entry *entry = &carving->entries->at[at];
	if (limited(entry))
		check_limit(carving, at);
	if (gate(entry) && !entry->idle && entry->verdict != carving->fallback && carving->fallback != FV_ACCEPT)
		rule_differs(carving->import, entry->rule, "what exceeds the limit meets the default");
	if (gate(entry) && !entry->idle && carving->fallback == FV_ACCEPT) {
		doubt(carving, entry, "a limit of connections belongs to an allow, and what exceeds it meets the default");
		return;
	}
	if (entry->idle || gate(entry) || carving->again)
		return;
	note_masked(carving, at);
	entry->absorbed = decides(entry) && choose_absorbed(carving, at);
	if (entry->absorbed) {
		bool hidden = true;
		for (size_t a = 0; a < entry->areas.count; a++)
			hidden &= covered_before(carving, at, &entry->areas.at[a]);
		if (entry->rule)
			entry->rule->said |= !hidden;
		return;
	}
	if (!say(carving, at)) {
		/* Others may keep out of a denial where it cannot keep out of them. */
		entry->absorbed = entry->verdict == carving->fallback && !entry->unsure;
		if (entry->absorbed && entry->rule)
			entry->rule->said = true;
		if (!entry->absorbed)
			doubt(carving, entry, "what earlier rules leave of it falls into too many pieces");
		return;
	}
	pass_gates(carving, at);
	if (!entry->idle && (limited(entry) || above(entry)) && entry->said.count + entry->gated.count > 1)
		doubt(carving, entry, "earlier rules cut it into several, and its limit would be counted in each");
	if (!entry->idle)
		check_sayable(carving, entry);
	if (entry->rule)
		entry->rule->said |= entry->said.count || entry->gate;
}

bool carve(struct import *import, const struct zone_space *space, struct entries *entries, enum foreign_verdict fallback)
{
	struct carving carving = {.import = import, .space = space, .entries = entries, .fallback = fallback};
	for (size_t i = 0; i < entries->count; i++)
		entries->at[i].idle = entries->at[i].unsure && (entries->at[i].verdict == FV_ACCEPT || import->skip_unknown);
	cut_off(&carving);
	for (size_t i = 0; i < entries->count && !import->error; i++)
		carve_entry(&carving, i);
	return !carving.again;
}
