#!/bin/bash
# diff of what lies in version control: revisions, the index, what is included, and as an external diff of git.
set -u
PORTPOLICY=$PWD/${BUILD:-build}/portpolicy
case ${BUILD:-build} in /*) PORTPOLICY=$BUILD/portpolicy ;; esac
command -v git >/dev/null || { echo "there is no git here" && exit 77; }
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
passed=0 failed=0
export HOME=$work GIT_CONFIG_NOSYSTEM=1

check() { # what, status, text that is said, command...
	local what=$1 status=$2 text=$3 got
	shift 3
	"$@" >"$work/log" 2>&1 </dev/null
	got=$?
	if [ $got = "$status" ] && grep -qF -- "$text" "$work/log"; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "FAIL $what: exit $got"
		sed 's/^/     | /' "$work/log"
	fi
}
diff() { "$PORTPOLICY" diff "$@"; }

mkdir -p "$work/tree/site/conf.d" "$work/tree/site/lists"
cd "$work/tree" || exit 2
git init -q -b main .
git config user.name tester
git config user.email tester@policy.example
printf 'include <essentials>\ninclude "conf.d/*.policy"\ndefault in deny\nallow in tcp/22 from file "lists/office.txt"\n' >site/host.policy
echo 'default out allow' >site/conf.d/out.policy
echo 192.0.2.0/24 >site/lists/office.txt
git add . && git commit -qm first && git branch review/one

echo 198.51.100.0/24 >>site/lists/office.txt
check "a list of the work tree against the revision's" 1 "in tcp/22 from 198.51.100.0/24" diff git:HEAD:site/host.policy site/host.policy
check "the place in a revision is named" 1 "git:HEAD:site/host.policy:3: default in deny" diff git:HEAD:site/host.policy site/host.policy
check "the index is what was added" 0 "no difference" diff git:HEAD:site/host.policy git::site/host.policy
git add .
check "and what is added now" 1 "198.51.100.0/24" diff git:HEAD:site/host.policy git::site/host.policy
echo 'deny out udp' >site/conf.d/udp.policy
git add . && git commit -qm second
check "a file that a glob finds in one revision only" 1 "out udp" diff git:HEAD~1:site/host.policy git:HEAD:site/host.policy
check "a branch with a slash, a directory" 1 "out udp" diff git:review/one:site site
check "the same revision twice" 0 "no difference" diff git:HEAD:site git:main:site/host.policy
cd site || exit 2
check "a path from the working directory" 0 "no difference" diff git:HEAD:./host.policy .
check "and up from it" 0 "no difference" diff git:HEAD:../site host.policy
check "but not out of the repository" 2 "leads out of the repository" diff git:HEAD:../../etc/passwd host.policy
check "no such revision" 2 "git knows no such revision" diff git:nowhere:host.policy host.policy
check "no such file" 2 "No such file or directory" diff git:HEAD:nowhere.policy host.policy
check "a revision that looks like an option" 2 "does not begin with a dash" diff git:--help:host.policy host.policy
ln -s host.policy link.policy
git add . && git commit -qm link
check "a link is no policy" 2 "it is not a regular file" diff git:HEAD:./link.policy host.policy
cd .. || exit 2

git config diff.portpolicy.command "'$PORTPOLICY' diff"
echo '*.policy diff=portpolicy' >.gitattributes
sed -i s/22/2222/ site/host.policy
check "as an external diff" 0 "in tcp/2222 from file" git --no-pager diff
rm site/host.policy
check "of a file that is gone" 0 "is allowed:" git --no-pager diff
echo 'not a policy' >site/host.policy
check "of a file that is broken, without stopping git" 0 "error:" git --no-pager diff
git checkout -q site/host.policy
git mv site/conf.d/udp.policy site/conf.d/renamed.policy
check "of a file that is called otherwise" 0 "" git --no-pager diff --cached -M

mv .git "$work/elsewhere"
check "no repository" 2 "git finds no repository here" env GIT_CEILING_DIRECTORIES="$work" "$PORTPOLICY" diff git:HEAD:x site

echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" = 0 ]
