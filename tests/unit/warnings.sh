#!/bin/bash
# Every warning has a page in the manual, can be silenced, and is seen in a golden; what the manual gives as examples warns as it says.
set -u
PORTPOLICY=$PWD/${BUILD:-build}/portpolicy
case ${BUILD:-build} in /*) PORTPOLICY=$BUILD/portpolicy ;; esac
passed=0 failed=0
page=dsl/analysis/portpolicy-warnings.7

verdict() { # what, status
	if [ "$2" = 0 ]; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "FAIL $1"
	fi
}

given=$(grep -hoE '"W[0-9]{3}"' dsl/*/*.c | tr -d '"' | sort -u)
[ "$given" = "$(sed -n 's/^\.It \(W[0-9]*\)$/\1/p' "$page")" ]
verdict "the manual lists the warnings that are given, in order" $?
for code in $given; do
	grep -rqF "[$code]" tests/bad/cases tests/golden/cases
	verdict "$code is seen in a golden" $?
	[ "$code" = W008 ] || [ "$code" = W009 ] || ! printf '# portpolicy: ignore-file %s\ndefault forward deny\n' "$code" | "$PORTPOLICY" check - 2>&1 | grep -q W008
	verdict "$code can be silenced" $?
done

warns() { # code, text...
	local code=$1
	shift
	printf '%s\n' 'include <essentials>' 'default in deny' 'default out deny' 'addresses office = 203.0.113.0/24' 'addresses payments = 198.51.100.7' \
		'allow in udp/9 from $office' 'allow out udp/9 to $payments' "$@" | "$PORTPOLICY" check - 2>&1 | grep -qF "[$code]"
	verdict "$code: $*" $?
}
warns W001 'allow out tcp/443 by user nosuchuser'
warns W002 'addresses old-office = 192.0.2.0/24'
warns W003 'allow in tcp/443 from any except 10.0.0.0/8'
warns W004 'allow in icmpv6/packet-too-big'
warns W005 'allow out tcp/443 to "api.example.com"'
warns W008 '# portpolicy: ignroe W105'
warns W009 'allow in tcp/22 # portpolicy: ignore W102'
warns W102 'deny  in any from 198.51.100.0/24' 'allow in tcp/80 from 198.51.100.7'
warns W103 'allow in tcp/443' 'allow in tcp/443 from 192.0.2.0/24'
warns W104 'allow in tcp/22 limit 10/minute per source' 'allow in tcp/22 from 192.0.2.0/24'
warns W105 'deny in tcp/23'
warns W106 'expect deny in tcp/22 from any except $office' 'expect deny in tcp/22 from 198.51.100.9'
warns W107 'allow out any to $payments' 'expect allow out tcp/443 to $payments'
warns W108 'deny  in tcp/23 from 10.0.0.0/8' 'allow in tcp/{ 22, 23 } from 10.1.0.0/16'
warns W109 'allow in tcp/8000-8100' 'deny  in tcp/8050-8200'
warns W109 'deny  in tcp/22 from 10.0.0.0/8' 'allow in tcp from 10.1.0.0/16'

# What is shipped is without warnings, the library by itself too.
for policy in rules/*.policy rules/examples/*.policy tests/demo.policy; do
	"$PORTPOLICY" check --strict "$policy" >/dev/null 2>&1
	verdict "$policy has no warning" $?
done

echo "$passed passed, $failed failed, 0 skipped"
[ $failed = 0 ]
