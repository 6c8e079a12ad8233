# For shell tests of the program in a network namespace of its own: a peer behind a veth pair, checks, and packets.
#
# The host is 10.7.0.1 and fd07::1, the peer 10.7.0.2 and fd07::2. Nothing here touches the machine's own namespace or state.
set -u
export LC_ALL=C NO_COLOR=1
cd "$(dirname "$0")/../.." || exit 2
build=${BUILD:-build}
case $build in /*) ;; *) build=$PWD/$build ;; esac
command=$build/portpolicy
connect=$build/tests/netns/connect
[ "$(readlink /proc/self/ns/net)" != "$(readlink /proc/1/ns/net 2>/dev/null)" ] || { echo "not in a namespace of its own"; exit 77; }
nft list ruleset >/dev/null 2>&1 || { echo "nft does not work here"; exit 77; }
unset SSH_CONNECTION
work=$(mktemp -d) && cd "$work" || exit 2
chmod 755 "$work"
export STATE_DIRECTORY=$work/state RUNTIME_DIRECTORY=$work/run
mkdir -m 700 "$STATE_DIRECTORY" "$RUNTIME_DIRECTORY"
passed=0 failed=0 skipped=0 processes=()
clean() {
	trap - EXIT
	kill "${processes[@]}" 2>/dev/null
	rm -rf "$work"
}
trap clean EXIT

check() { # what, wanted, got
	if [ "$2" = "$3" ]; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		printf 'FAIL %s\n  wanted: %s\n  got:    %s\n' "$1" "$2" "$3"
	fi
}
like() { # what, pattern, text
	# shellcheck disable=SC2254
	case $3 in $2) passed=$((passed + 1)) ;; *) failed=$((failed + 1)); printf 'FAIL %s\n  wanted: %s\n  got:    %s\n' "$1" "$2" "$3" ;; esac
}
run() { out=$("$command" "$@" 2>err) && status=0 || status=$?; }
until_true() { # seconds command...: looks every 20 ms
	local i
	for ((i = 0; i < $1 * 50; i++)); do
		"${@:2}" && return 0
		sleep 0.02
	done
	return 1
}
finish() {
	echo "$passed passed, $failed failed, $skipped skipped"
	[ "$failed" = 0 ]
	exit
}

peer_process=
in_other_namespace() { [ "$(readlink "/proc/$peer_process/ns/net")" != "$(readlink /proc/self/ns/net)" ]; }
peer() { nsenter -t "$peer_process" -n "$@"; }
make_peer() {
	unshare -n sleep 300 &
	peer_process=$!
	processes+=("$peer_process")
	until_true 5 in_other_namespace || exit 2
	ip link set lo up
	ip link add port type veth peer name eth0 netns "$peer_process" || exit 2
	ip address add 10.7.0.1/24 dev port
	ip address add fd07::1/64 dev port nodad
	ip link set port up
	peer ip link set lo up
	peer ip address add 10.7.0.2/24 dev eth0
	peer ip address add fd07::2/64 dev eth0 nodad
	peer ip link set eth0 up
}
is_listening() { grep -q listening "$1"; }
serve() { # command of connect and its ports...
	local log
	log=$(mktemp "$work/serve.XXXXXX")
	"$connect" "$@" >"$log" &
	processes+=($!)
	until_true 5 is_listening "$log" || exit 2
}
serve_peer() {
	local log
	log=$(mktemp "$work/serve.XXXXXX")
	peer "$connect" "$@" >"$log" &
	processes+=($!)
	until_true 5 is_listening "$log" || exit 2
}
# What the peer gets when it tries this port of the host.
reaches() { peer "$connect" to "${2:-10.7.0.1}" "$1" 200; }

# An agent in the background: its process in $agent, its log in ./log.
agent=
start_agent() { # arguments
	: >log
	"$command" agent "$@" 2>log &
	agent=$!
	processes+=("$agent")
	until_true 10 grep -q "in force:\|left as they are" log || { cat log; exit 2; }
}
stop_agent() {
	kill "$agent" 2>/dev/null
	wait "$agent" 2>/dev/null
}
field() { sed -n "s/.*\"$1\": \"\{0,1\}\([^\",}]*\).*/\1/p" <<<"$out"; }
