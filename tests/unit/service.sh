#!/bin/bash
# The unit file, by systemd's own judgement: no mistakes, and little exposed.
set -u
cd "$(dirname "$0")/../.." || exit 2
command -v systemd-analyze >/dev/null || { echo "systemd-analyze is not here"; exit 77; }
build=${BUILD:-build}
case $build in /*) ;; *) build=$PWD/$build ;; esac
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
sed "s#/usr/sbin/portpolicy#$build/portpolicy#; /^Documentation=/d" agent/daemon/portpolicy.service >"$work/portpolicy.service"
passed=0 failed=0
said=$(systemd-analyze verify "$work/portpolicy.service" 2>&1 | grep portpolicy.service)
if [ -z "$said" ]; then passed=1; else failed=1; echo "FAIL verify: $said"; fi
# Exposure in tenths: at most 2.0.
if systemd-analyze security --offline=yes --threshold=20 "$work/portpolicy.service" >"$work/said" 2>&1; then
	passed=$((passed + 1))
elif grep -q "Overall exposure" "$work/said"; then
	failed=$((failed + 1))
	tail -n 1 "$work/said"
fi
grep -q '^ExecStop' agent/daemon/portpolicy.service && { failed=$((failed + 1)); echo "FAIL the rules must stay when the agent ends"; } || passed=$((passed + 1))
echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" = 0 ]
