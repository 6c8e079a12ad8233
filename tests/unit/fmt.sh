#!/bin/bash
# fmt as a user meets it: every policy in the tree, files that are written in place, links, CI and the hook.
set -u
root=$PWD
PORTPOLICY=$PWD/${BUILD:-build}/portpolicy
case ${BUILD:-build} in /*) PORTPOLICY=$BUILD/portpolicy ;; esac
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
passed=0 failed=0

check() { # what, command...
	local what=$1
	shift
	if "$@" >"$work/log" 2>&1; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "FAIL $what"
		sed 's/^/     | /' "$work/log"
	fi
}

# Whatever can be laid out at all comes out the same the second time.
twice() {
	local policy
	while read -r policy; do
		"$PORTPOLICY" fmt "$policy" >"$work/once" 2>/dev/null || continue
		"$PORTPOLICY" fmt - <"$work/once" 2>&1 | cmp - "$work/once" || { echo "$policy" && return 1; }
	done < <(find rules tests dsl -name '*.policy')
}
check "every policy in the tree: twice is once" twice
check "the shipped policies are laid out" "$PORTPOLICY" fmt --check rules/*.policy rules/examples/*.policy tests/demo.policy

cd "$work" || exit 2
text='default in  deny\nallow in  tcp/22\n'
messy() { printf 'default in deny\nallow in tcp/22\n' >"$1"; }
is_tidy() { printf "$text" | cmp - "$1"; }

names_it() {
	local out
	out=$("$PORTPOLICY" fmt --check messy.policy tidy.policy)
	[ $? = 1 ] && [ "$out" = messy.policy ] && printf 'default in deny\nallow in tcp/22\n' | cmp - messy.policy
}
messy messy.policy
printf "$text" >tidy.policy
check "--check names the files that differ, and writes nothing" names_it

writes() {
	chmod 0640 messy.policy
	"$PORTPOLICY" fmt -w messy.policy && is_tidy messy.policy && [ "$(stat -c %a messy.policy)" = 640 ] &&
		[ "$(ls -A | grep -c '^\.portpolicy')" = 0 ]
}
check "-w writes the file and keeps its mode" writes

untouched() {
	local before after
	before=$(stat -c %i:%y tidy.policy)
	"$PORTPOLICY" fmt -w tidy.policy
	after=$(stat -c %i:%y tidy.policy)
	[ "$before" = "$after" ]
}
check "-w leaves alone what is laid out" untouched

owner() {
	[ "$(id -u)" = 0 ] || return 0
	messy owned.policy
	chown 12345:23456 owned.policy 2>/dev/null || return 0 # a user namespace may not have them
	"$PORTPOLICY" fmt -w owned.policy && [ "$(stat -c %u:%g owned.policy)" = 12345:23456 ]
}
check "-w keeps the owner" owner

refuses() { # file that must stay messy, what the message says
	local message
	message=$("$PORTPOLICY" fmt -w "$1" 2>&1)
	[ $? = 2 ] && [[ $message == *"$2"* ]] && ! is_tidy "$1" >/dev/null
}
messy target.policy
ln -s target.policy link.policy
check "-w does not replace a symbolic link" refuses link.policy "symbolic link"
check "a symbolic link can be read" "$PORTPOLICY" fmt link.policy
messy first.policy
ln first.policy second.policy
check "-w does not split the names of one file" refuses first.policy "hard link"

all_or_nothing() {
	mkdir full && mount -t tmpfs -o size=4k,mode=700 none full 2>/dev/null || return 0
	messy full/a.policy
	head -c 3000 /dev/zero | tr '\0' '#' >>full/a.policy
	cp full/a.policy before
	"$PORTPOLICY" fmt -w full/a.policy
	local status=$? left
	left=$(ls -A full)
	cmp full/a.policy before && [ $status = 2 ] && [ "$left" = a.policy ]
	status=$?
	umount full
	return $status
}
[ "$(id -u)" = 0 ] && check "-w on a full disk leaves the old text and nothing else" unshare -m bash -c "$(declare -f all_or_nothing messy); PORTPOLICY=$PORTPOLICY; cd '$work'; all_or_nothing"

# The hook of git sees what is committed, and not what else stands in the tree.
hook() {
	export HOME=$work GIT_CONFIG_NOSYSTEM=1 PORTPOLICY
	rm -rf repository && git init -q repository && cd repository || return 1
	git config user.name nobody && git config user.email nobody@example.com
	cp "$root/dsl/language/pre-commit" .git/hooks/pre-commit
	mkdir site
	printf 'addresses office = 192.0.2.0/24\n' >site/names.policy
	printf 'include "site/names.policy"\ndefault in  deny\nallow in  tcp/22 from $office\n' >host.policy
	git add . && git commit -qm "all is well" || return 1
	printf 'include "site/names.policy"\ndefault in deny\n' >host.policy
	git add host.policy
	git commit -qm "another layout" && return 1
	printf 'include "site/names.policy"\ndefault in  deny\nallow in  tcp/22 from $offce\n' >host.policy
	git add host.policy
	git commit -qm "no such name" && return 1
	printf 'include "site/names.policy"\ndefault in  deny\nallow in  tcp/80 from $office\n' >host.policy
	git add host.policy
	printf 'not a policy\n' >host.policy # in the tree, not in the commit
	git commit -qm "only what is staged counts"
}
skipped=0
if command -v git >/dev/null; then
	check "the pre-commit hook" hook
else
	skipped=1
fi

echo "$passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ]
