# The figures of one run (what tests/bench's programs print, behind the facts of the machine) as tests/bench/RESULTS.md.

BEGIN {
	tools = split("ct-only portpolicy uncounted nft nft-o ufw firewalld ferm", tool_order, " ")
	split("read compile first same line full", step_order, " ")
}

# Facts.
$1 == "kernel" { kernel = rest(2); next }
$1 == "machine" { machine = rest(2); next }
$1 == "load" && NF == 4 { busy = rest(2); next }
$1 == "vulnerability" { mitigations = mitigations (mitigations == "" ? "" : "; ") rest(2); next }
$1 == "version" { versions = versions (versions == "" ? "" : ", ") $2 " " $3; next }
$1 == "#" { notes[++note_count] = rest(2); next }

$1 == "brick" {
	bricks[++brick_count] = sprintf("| %s | %s | %.0f | %.0f |", $2, $3 ? $3 : "", $4, $5)
	next
}

$1 == "connects" {
	key = $2 "/" $3
	if (!((key, "ct-only") in connect_rate))
		connect_keys[++connect_count] = key
	tool = $4 == "ct-only" && (key, $4) in connect_rate ? "again" : $4
	connect_rate[key, tool] = $5
	connect_ratio[key, tool] = $6
	next
}

$1 == "load" {
	key = $2 "/" $3
	row = key SUBSEP $4
	if (!(row in load_seen)) {
		load_seen[row] = 1
		load_rows[++load_count] = row
	}
	seconds[key, $4, $5] = $6
	peak[key, $4] = $7 > peak[key, $4] ? $7 : peak[key, $4]
	peak[key, $4, $5] = $7
	elements[key, $4, $5] = $8
	next
}

# way shape rules packets cache tool ns added ratio passed
NF == 10 {
	row = $1 " " $2 "/" $3 " " $4 " " $5
	if (!(row in row_seen)) {
		row_seen[row] = 1
		rows[++row_count] = row
	}
	tool = $6 == "ct-drop" ? "ct-only" : $6
	if (tool == "ct-only" && (row, tool) in ns)
		tool = "again"
	ns[row, tool] = $7
	added[row, tool] = $8
	ratio[row, tool] = $9
	passed[row, tool] = $10
	used[$1, tool] = 1
	# Rules that let through what they should not, or the reverse, would make every figure worthless.
	expected = $4 == "mixed" ? -1 : $4 == "standing" ? 1 : ($4 == "hits") == ($2 != "list") ? 1 : 0
	if (tool != "nothing" && expected >= 0 && ($10 - expected > 0.02 || expected - $10 > 0.02))
		notes[++note_count] = sprintf("%s: %s let %.3f of the packets through, and should %d", row, tool, $10, expected)
}

function rest(from,  i, text) {
	for (i = from; i <= NF; i++)
		text = text (i == from ? "" : " ") $i
	return text
}

function cell(row, tool) {
	if (!((row, tool) in ns))
		return "-"
	return tool == "ct-only" ? sprintf("%.0f", ns[row, tool]) : sprintf("%+.0f (%.2f)", added[row, tool], ratio[row, tool])
}

function noise(row,  off) {
	if (!((row, "again") in ratio))
		return "-"
	off = (ratio[row, "again"] - 1) * 100
	return sprintf("%+.1f %%", off)
}

function packets_table(way,  i, t, parts, line, rule) {
	line = "| rules | packets | empty path | ct-only | the same again |"
	rule = "|---|---|---|---|---|"
	for (t = 2; t <= tools; t++)
		if ((way, tool_order[t]) in used) {
			line = line " " tool_order[t] " |"
			rule = rule "---|"
		}
	print line
	print rule
	for (i = 1; i <= row_count; i++) {
		split(rows[i], parts, " ")
		if (parts[1] != way)
			continue
		line = "| " parts[2] " | " parts[3] ", " parts[4] " | " (((rows[i], "nothing") in ns) ? sprintf("%.0f", ns[rows[i], "nothing"]) : "-")
		line = line " | " cell(rows[i], "ct-only") " | " noise(rows[i]) " |"
		for (t = 2; t <= tools; t++)
			if ((way, tool_order[t]) in used)
				line = line " " cell(rows[i], tool_order[t]) " |"
		print line
	}
	print ""
}

function connects_table(  i, key) {
	if (!connect_count)
		return
	print "## TCP connects per second\n"
	print "Across a veth, one after another. `make bench CASES=connects`\n"
	print "| rules of the server | ct-only | the same again | portpolicy | nft |"
	print "|---|---|---|---|---|"
	for (i = 1; i <= connect_count; i++) {
		key = connect_keys[i]
		printf "| %s | %.0f | %.3f | %.0f (%.3f) | %s |\n", key, connect_rate[key, "ct-only"], connect_ratio[key, "again"],
			connect_rate[key, "portpolicy"], connect_ratio[key, "portpolicy"],
			((key, "nft") in connect_rate) ? sprintf("%.0f (%.3f)", connect_rate[key, "nft"], connect_ratio[key, "nft"]) : "-"
	}
	print ""
}

function bricks_table(  i) {
	if (!brick_count)
		return
	print "## Bricks\n"
	print "What rulesets are built of, in ns added to a base chain without rules (`chain` again: the noise); a look-up comes with the rule"
	print "around it. rules: eleven. counters: a hash that names a counter. tree: ranges of one key (rbtree). boxes: ranges of two (pipapo)."
	print "`make bench CASES=bricks`\n"
	print "| brick | elements | hot | cold |"
	print "|---|---|---|---|"
	for (i = 1; i <= brick_count; i++)
		print bricks[i]
	print ""
}

function loads_table(  i, s, parts, line, key) {
	if (!load_count)
		return
	print "## Loading\n"
	print "Whole processes, seconds; in brackets the peak of resident memory in MB. `read` is `explain` of one packet, without a kernel;"
	print "`line` is `apply` after one line has changed, and how many elements the kernel was seen to add and delete; nft's `full` replaces the"
	print "table, which is all it can do with a file. nft is given the ruleset that portpolicy compiled, nft-rules one rule for each"
	print "filter; `bare` is a batch of the same elements over libmnl (tests/bench/bare.c). `make bench CASES=loads`\n"
	print "| rules | tool | read | compile | first | same | line | full |"
	print "|---|---|---|---|---|---|---|---|"
	for (i = 1; i <= load_count; i++) {
		split(load_rows[i], parts, SUBSEP)
		key = parts[1]
		line = "| " key " | " parts[2] " |"
		for (s = 1; s <= 6; s++) {
			if (!((key, parts[2], step_order[s]) in seconds))
				line = line " - |"
			else {
				line = line sprintf(" %.3f (%.0f)", seconds[key, parts[2], step_order[s]], peak[key, parts[2], step_order[s]])
				if (step_order[s] == "line")
					line = line sprintf(", %d elements", elements[key, parts[2], "line"])
				line = line " |"
			}
		}
		print line
	}
	print ""
}

# Targets.

function target(what, wanted, measured, met) {
	printf "| %s | %s | %s | %s |\n", what, wanted, measured, measured == "not measured" ? "-" : met ? "yes" : "no"
}

function ratio_target(what, key, hot, cold,  a, b) {
	a = "in " key " hits hot"
	b = "in " key " hits cold"
	if (!((a, "portpolicy") in ratio) || !((b, "portpolicy") in ratio))
		target(what, sprintf("<= %.2f / %.2f of ct-only", hot, cold), "not measured", 0)
	else
		target(what, sprintf("<= %.2f / %.2f of ct-only", hot, cold), sprintf("%.2f / %.2f", ratio[a, "portpolicy"], ratio[b, "portpolicy"]),
			ratio[a, "portpolicy"] <= hot && ratio[b, "portpolicy"] <= cold)
}

function standing_target(  i, parts, worst, off, allowed, where) {
	worst = -1000
	for (i = 1; i <= row_count; i++) {
		split(rows[i], parts, " ")
		if (parts[3] != "standing" || !((rows[i], "portpolicy") in ratio))
			continue
		off = ratio[rows[i], "portpolicy"] - 1
		allowed = ratio[rows[i], "again"] - 1
		allowed = (allowed < 0 ? -allowed : allowed) + 0.01
		if (off - allowed > worst) {
			worst = off - allowed
			where = sprintf("%+.1f %%, noise %.1f %% (%s)", off * 100, (allowed - 0.01) * 100, parts[2])
		}
	}
	target("packet of an established connection", "<= noise + 1 % above ct-only", worst == -1000 ? "not measured" : where, worst <= 0)
}

# What a tool takes over the empty path, as a multiple of what we take; the least over hits and misses.
function cheaper(shape, tool, packets, caches,  p, c, i, row, least, factor, list, kinds, n, m) {
	least = -1
	n = split(packets, kinds, " ")
	m = split(caches, list, " ")
	for (p = 1; p <= n; p++)
		for (c = 1; c <= m; c++) {
			row = "in " shape " " kinds[p] " " list[c]
			if (!((row, tool) in ns) || !((row, "portpolicy") in ns))
				continue
			factor = (ns[row, tool] - ns[row, "nothing"]) / (ns[row, "portpolicy"] - ns[row, "nothing"])
			if (least < 0 || factor < least)
				least = factor
		}
	return least
}

function tools_target(rules, wanted, what,  worst, text, t, list, one, two) {
	split("ufw firewalld", list, " ")
	worst = -1
	for (t = 1; t <= 2; t++) {
		one = cheaper("tuples/" rules, list[t], "hits", "hot cold")
		two = cheaper("tuples/" rules, list[t], "misses", "hot cold")
		if (one < 0 || two < 0)
			continue
		text = text (text == "" ? "" : "; ") sprintf("%s: hits %.1fx, misses %.1fx", list[t], one, two)
		one = one < two ? one : two
		if (worst < 0 || one < worst)
			worst = one
	}
	target(what, sprintf(">= %dx cheaper", wanted), worst < 0 ? "not measured" : text, worst >= wanted)
}

# Added ns of one nft rule each over ours, the least of hot and cold.
function classbench_target(rules, wanted,  s, p, c, list, kinds, caches, row, factor, least, text, here) {
	split("acl fw ipc", list, " ")
	split("hits misses", kinds, " ")
	split("hot cold", caches, " ")
	least = -1
	for (s = 1; s <= 3; s++)
		for (p = 1; p <= 2; p++) {
			here = -1
			for (c = 1; c <= 2; c++) {
				row = "in " list[s] "/" rules " " kinds[p] " " caches[c]
				if (!((row, "nft") in added) || !((row, "portpolicy") in added) || added[row, "portpolicy"] <= 0)
					continue
				factor = added[row, "nft"] / added[row, "portpolicy"]
				here = here < 0 || factor < here ? factor : here
			}
			if (here < 0)
				continue
			text = text (text == "" ? "" : "; ") sprintf("%s %s %.1fx", list[s], kinds[p], here)
			least = least < 0 || here < least ? here : least
		}
	target("ClassBench-like, " rules " rules, added ns against one nft rule each", sprintf(">= %dx cheaper", wanted), least < 0 ? "not measured" : text, least >= wanted)
}

function connects_target(shape, wanted,  key) {
	key = shape "/100000"
	target("TCP connects per second, 100k " shape, sprintf(">= %.2f of ct-only", wanted),
		(key, "portpolicy") in connect_ratio ? sprintf("%.3f", connect_ratio[key, "portpolicy"]) : "not measured",
		connect_ratio[key, "portpolicy"] >= wanted)
}

function loads_targets(  key, ours, bare, nft, i, list, worst, most, text) {
	key = "list/1000000"
	ours = seconds[key, "portpolicy", "first"]
	bare = seconds[key, "bare", "first"]
	nft = seconds[key, "nft", "first"]
	target("million networks: read, compiled, loaded", "<= 2x of a bare batch", ours && bare ? sprintf("%.2fx", ours / bare) : "not measured", ours <= 2 * bare)
	target("the same, peak memory", "<= 120 MB", ours ? sprintf("%.0f MB", peak[key, "portpolicy", "first"]) : "not measured", peak[key, "portpolicy", "first"] <= 120)
	target("the same, against nft -f", ">= 4x faster", ours && nft ? sprintf("%.1fx", nft / ours) : "not measured", nft >= 4 * ours)
	target("one line of it changed", "<= 50 ms beyond reading it; the differing elements alone",
		ours ? sprintf("%.0f ms; %d elements", (seconds[key, "portpolicy", "line"] - seconds[key, "portpolicy", "read"]) * 1000, elements[key, "portpolicy", "line"]) : "not measured",
		seconds[key, "portpolicy", "line"] - seconds[key, "portpolicy", "read"] <= 0.05 && elements[key, "portpolicy", "line"] >= 0 && elements[key, "portpolicy", "line"] <= 4)
	split("acl fw ipc", list, " ")
	for (i = 1; i <= 3; i++) {
		key = list[i] "/10000"
		if (!((key, "portpolicy", "first") in seconds))
			continue
		text = text (text == "" ? "" : "; ") sprintf("%s %.2f s, %.0f MB", list[i], seconds[key, "portpolicy", "first"], peak[key, "portpolicy", "first"])
		worst = seconds[key, "portpolicy", "first"] > worst ? seconds[key, "portpolicy", "first"] : worst
		most = peak[key, "portpolicy", "first"] > most ? peak[key, "portpolicy", "first"] : most
	}
	target("10k rules of five fields, text to kernel", "< 1 s, < 256 MB", text == "" ? "not measured" : text, worst < 1 && most < 256)
}

END {
	print "# What it costs\n"
	print "Written by `make bench`: all figures of one run, tools side by side and in turns, medians. Other machines have other numbers;"
	print "the ratios are what carries over.\n"
	print "- kernel: " kernel
	print "- machine: " machine "; load average at the end " busy
	print "- mitigations (they make an indirect call or a return dear, and rules are made of these): " mitigations
	print "- tools: " versions "\n"
	print "## Targets\n"
	print "| what | target | measured | met |"
	print "|---|---|---|---|"
	ratio_target("new packet, 100k exact tuples, hot / cold", "tuples/100000", 1.25, 2)
	ratio_target("new packet, 100k networks with ports, hot / cold", "networks/100000", 1.6, 2.5)
	standing_target()
	tools_target(1000, 8, "new packet against ufw and firewalld, 1k rules")
	tools_target(10000, 60, "the same, 10k rules")
	classbench_target(1000, 7)
	classbench_target(10000, 25)
	connects_target("tuples", 0.93)
	connects_target("networks", 0.88)
	loads_targets()
	print ""
	print "Against ufw and firewalld: what each takes over a path without any rules, conntrack included, the lesser of hot and cold. Of"
	print "ClassBench-like sets what each adds to ct-only, the lesser of hot and cold.\n"
	if (("in", "ct-only") in used) {
		print "## A packet that comes in\n"
		print "XDP live frames into a veth of a namespace, timed by the kernel. `empty path` and `ct-only` are whole packets in ns; the rest is what"
		print "is added to ct-only, and in brackets the ratio to it. What the rules drop is compared to a ct-only that drops it. `the same again`:"
		print "ct-only measured twice, the noise. Hits are packets that a rule names, misses look up what rules know and match none; `hot` are 64"
		print "packets again and again, `cold` 65,536. `standing`: of established connections. `uncounted` is portpolicy's own ruleset without the"
		print "hits of each line: the difference is what exact hits cost. list: a blocklist (hits are dropped). acl, fw, ipc: five fields as"
		print "in ClassBench (tests/bench/lib/classbench.c).\n"
		packets_table("in")
	}
	if (("out", "ct-only") in used) {
		print "## A packet that goes out\n"
		print "Frames cannot be sent from here, so each is sent through a raw socket, a system call each, timed by the clock: the ratios hold the"
		print "system call, too, and are noisier.\n"
		packets_table("out")
	}
	if (("forward", "ct-only") in used) {
		print "## A packet that passes through\n"
		packets_table("forward")
	}
	connects_table()
	loads_table()
	bricks_table()
	if (note_count)
		print "## What could not be measured, and what looks wrong\n"
	for (i = 1; i <= note_count; i++)
		print "- " notes[i]
}
