#!/bin/sh
# Replays the parser's crash corpus: nothing in it may crash, hang or leak again.
cd "$(dirname "$0")/../.." || exit 2
exec timeout 60 "${BUILD:-build}/tests/fuzz/parse" tests/fuzz/corpus/*
