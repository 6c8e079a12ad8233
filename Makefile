# portpolicy: a host firewall whose rules are a language.
#
#   make          build/portpolicy
#   make test     installs what is missing (as root), builds, runs every test
#   make demo     the same set-up, then the main job in network namespaces
#   make test-sanitize, test-valgrind, test-kernels, test-packets
#                 the same under sanitizers and valgrind, Debian's kernels under emulation, a million packets
#   make bench    what rules cost beside other tools, a quarter of an hour: renews tests/bench/RESULTS.md; CASES="tuples out" for a part
#   make golden   renews the expected files under tests/golden and tests/bad
#   make test-layout    the long run of the layout: 10,000 random policies
#   make test-difference   diff against brute force: 10,000 pairs of policies, 1,000 rewrites
#   make test-packets   the long run of the random kernel test: 1,000 policies, 1,000,000 packets
#   make test-simulation   the agent's state machine: 10,000 seeds, 10,000,000 steps against a fake kernel
#   make test-swaps   a flood of packets while the policy is swapped 10,000 times
#   make test-kernels   packets, apply, remove and the demo's policy on Debian's kernels, under emulation
#
# A new .c file in a folder below is picked up by itself; a .c file in tests/unit or tests/property is a test program of its own,
# and so is one in tests/netns, tests/fuzz or tests/kernels; what the programs of a folder share lies in its lib/.

PACKAGES := gcc libc6-dev make pkg-config flex bison libnftnl-dev libmnl-dev libcmocka-dev libtalloc-dev libjansson-dev \
	nettle-dev libnetfilter-conntrack-dev libseccomp-dev nftables iproute2 git
LIBRARIES := libnftnl libmnl libnetfilter_conntrack talloc jansson nettle libseccomp

BUILD ?= build
CC ?= gcc
CFLAGS ?= -O2 -g
WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wwrite-strings -Werror=implicit-function-declaration
ALL_CFLAGS = -std=gnu11 -D_GNU_SOURCE -Iinclude -I$(BUILD)/gen -I. $(WARNINGS) $(shell pkg-config --cflags $(LIBRARIES)) \
	-fstack-protector-strong -D_FORTIFY_SOURCE=2 -fPIE $(CFLAGS) $(SANITIZE)
ALL_LDFLAGS = -pie -Wl,-z,relro,-z,now $(LDFLAGS) $(SANITIZE)
LDLIBS = $(shell pkg-config --libs $(LIBRARIES)) -lm
TEST_LDLIBS = $(LDLIBS) $(shell pkg-config --libs cmocka)

DSL := $(wildcard dsl/*/*.c)
AGENT := $(filter-out agent/cli/main.c,$(wildcard agent/*/*.c))
GENERATED := $(BUILD)/gen/parse.c $(BUILD)/gen/scan.c $(BUILD)/gen/iana.c $(BUILD)/gen/fallback.c
OBJECTS := $(patsubst %.c,$(BUILD)/%.o,$(DSL) $(AGENT)) $(GENERATED:.c=.o)
MAIN := $(BUILD)/agent/cli/main.o
UNITS := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/unit/*.c tests/property/*.c))
NETNS := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/netns/*.c))
NETNS_LIB := $(patsubst %.c,$(BUILD)/%.o,$(wildcard tests/netns/lib/*.c))
BENCH := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/bench/*.c))
BENCH_LIB := $(patsubst %.c,$(BUILD)/%.o,$(wildcard tests/bench/lib/*.c))
TOOLS := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/netns/*.c tests/fuzz/*.c tests/kernels/*.c tests/bench/*.c))

all: $(BUILD)/portpolicy

$(BUILD)/portpolicy: $(MAIN) $(BUILD)/libportpolicy.a
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LDLIBS)

$(BUILD)/libportpolicy.a: $(OBJECTS)
	rm -f $@ && $(AR) rcs $@ $^

$(BUILD)/%.o: %.c | generated
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/gen/%.o: $(BUILD)/gen/%.c
	$(CC) $(ALL_CFLAGS) -Idsl/language -Wno-missing-prototypes -Wno-unused-function -Wno-sign-compare -MMD -MP -c -o $@ $<

generated: $(GENERATED)

$(BUILD)/gen/parse.c: dsl/language/parse.y
	@mkdir -p $(@D)
	bison -Werror -Wcounterexamples --header=$(BUILD)/gen/parse.h -o $@ $<

$(BUILD)/gen/scan.c: dsl/language/scan.l $(BUILD)/gen/parse.c
	@mkdir -p $(@D)
	flex --header-file=$(BUILD)/gen/scan.h -o $@ $<

$(BUILD)/gen/iana.c: dsl/language/iana.awk dsl/language/iana-services.txt
	@mkdir -p $(@D)
	LC_ALL=C awk -f dsl/language/iana.awk dsl/language/iana-services.txt >$@.new && mv $@.new $@

# The policy that the agent carries within itself, as one string.
$(BUILD)/gen/fallback.c: rules/examples/fallback.policy
	@mkdir -p $(@D)
	LC_ALL=C awk 'BEGIN { print "extern const char fallback_policy[];\nconst char fallback_policy[] =" } \
		{ gsub(/[\\"]/, "\\\\&"); print "\t\"" $$0 "\\n\"" } END { print ";" }' $< >$@.new && mv $@.new $@

$(NETNS) $(BUILD)/tests/property/difference: $(NETNS_LIB)
$(BENCH) $(BUILD)/tests/unit/classbench: $(BENCH_LIB) $(NETNS_LIB)
$(BUILD)/tests/property/layout $(BUILD)/tests/property/review: $(NETNS_LIB)

$(UNITS) $(TOOLS): $(BUILD)/%: $(BUILD)/%.o $(BUILD)/libportpolicy.a
	$(CC) $(ALL_LDFLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(TEST_LDLIBS)

tools: $(UNITS) $(TOOLS)

set-up:
	@tests/set-up $(PACKAGES)

test: set-up
	@$(MAKE) --no-print-directory -s all tools
	@BUILD=$(BUILD) tests/run

demo: set-up
	@$(MAKE) --no-print-directory all $(BUILD)/tests/netns/connect
	@BUILD=$(BUILD) tests/demo

golden: all
	@BUILD=$(BUILD) tests/golden/run --renew
	@BUILD=$(BUILD) tests/bad/run --renew

test-packets: set-up
	@$(MAKE) --no-print-directory $(BUILD)/tests/netns/packets
	@$(BUILD)/tests/netns/packets --policies 1000 --packets 1000000 --seconds 0
	@$(BUILD)/tests/netns/packets --policies 24 --packets 24000 --rules 10000 --seconds 0

test-layout: set-up
	@$(MAKE) --no-print-directory $(BUILD)/tests/property/layout
	@$(BUILD)/tests/property/layout --policies 10000 --seed 100000

bench: set-up
	@tests/bench/set-up
	@$(MAKE) --no-print-directory -s all $(BENCH)
	@BUILD=$(BUILD) CASES="$(CASES)" SLICES="$(SLICES)" tests/bench/run

test-simulation: set-up
	@$(MAKE) --no-print-directory $(BUILD)/tests/property/reconcile
	@$(BUILD)/tests/property/reconcile --seeds 10000

test-swaps: set-up
	@$(MAKE) --no-print-directory all $(BUILD)/tests/netns/faults
	@BUILD=$(BUILD) unshare -n $(BUILD)/tests/netns/faults --swaps 500 swapped

test-difference: set-up
	@$(MAKE) --no-print-directory $(BUILD)/tests/property/difference
	@$(BUILD)/tests/property/difference 10000 1000

test-kernels: set-up
	@tests/set-up qemu-system-x86 busybox-static cpio kmod xz-utils
	@$(MAKE) --no-print-directory -s all tools
	@BUILD=$(BUILD) tests/kernels/run

# The whole suite under the address and undefined-behaviour sanitizers, and under valgrind.
test-sanitize:
	@$(MAKE) --no-print-directory BUILD=build-sanitize CFLAGS="-O1 -g" SANITIZE="-fsanitize=address,undefined -fno-sanitize-recover=undefined" test

test-valgrind: set-up all tools
	@BUILD=$(BUILD) tests/valgrind

clean:
	rm -rf $(BUILD) build-sanitize build-valgrind

.PHONY: all generated tools set-up test demo golden bench test-packets test-layout test-simulation test-difference test-swaps test-kernels test-sanitize test-valgrind clean
.SECONDARY:

-include $(OBJECTS:.o=.d) $(MAIN:.o=.d) $(UNITS:=.d) $(TOOLS:=.d) $(NETNS_LIB:.o=.d) $(BENCH_LIB:.o=.d)
