# C2FS: one Makefile for everything. `make help` lists the targets.
#
# No recursion into folders. The targets that install packages (check, demo, lint, ...) call make
# once more afterwards, because pkg-config could not answer before.

VARIANT ?= asan
ifeq ($(origin CC),default)
CC := gcc
endif
BUILD ?= build/$(notdir $(CC))-$(VARIANT)
PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
SBINDIR ?= /sbin
SYSCONFDIR ?= /etc
JOBS ?= $(shell nproc)

, := ,

# Quiet unless V=1.
ifeq ($(V),1)
run = mkdir -p $(@D) && $(2)
else
run = @printf '  %-8s%s\n' '$(1)' '$(@:$(BUILD)/%=%)'; mkdir -p $(@D) && $(2)
endif

# ---- compiler -----------------------------------------------------------------------------------

PKGS := fuse3 libcurl libcrypto libssl zlib lmdb libisal libsodium libargon2
ISYSTEM := $(patsubst -I%,-isystem %,$(shell pkg-config --cflags $(PKGS) 2>/dev/null)) \
           -isystem /usr/include/jerasure
LIBS := $(shell pkg-config --libs $(PKGS) 2>/dev/null) -lJerasure -lgf_complete -lm -lpthread

WARN := -Werror -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion \
        -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition -Wpointer-arith \
        -Wcast-qual -Wcast-align -Wwrite-strings -Wundef -Wvla -Wformat=2 -Wswitch-enum \
        -Wimplicit-fallthrough -Wnull-dereference -Wdouble-promotion
ifneq (,$(findstring clang,$(CC)))
WARN += -Wcomma -Wunreachable-code -Wassign-enum -Wconditional-uninitialized
else
WARN += -Wlogical-op -Wduplicated-cond -Wduplicated-branches -Wrestrict -Wjump-misses-init
endif

HARDEN := -fstack-protector-strong -fno-common -fno-strict-aliasing -fPIE
LDHARDEN := -pie -Wl,-z,relro,-z,now,-z,noexecstack

OPT_asan := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all \
            -fno-omit-frame-pointer -DC2_TEST_BUILD
OPT_tsan := -O1 -g -fsanitize=thread -DC2_TEST_BUILD
OPT_debug := -Og -g -DC2_TEST_BUILD
OPT_cov := -O0 -g --coverage -DC2_TEST_BUILD
OPT_fuzz := -O1 -g -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all \
            -fno-omit-frame-pointer -DC2_TEST_BUILD
OPT_release := -O2 -g -D_FORTIFY_SOURCE=2 -fstack-clash-protection -fcf-protection
OPT := $(OPT_$(VARIANT))
ifeq ($(OPT),)
$(error VARIANT must be one of asan tsan debug cov fuzz release)
endif
# gcc reports false -Wnull-dereference inside instrumented code.
ifneq ($(VARIANT),release)
WARN := $(filter-out -Wnull-dereference,$(WARN))
endif

VERSION := $(shell cat VERSION 2>/dev/null || echo 0)
CFLAGS_ALL := -std=gnu17 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -DC2_VERSION='"$(VERSION)"' -I. \
              -ffile-prefix-map=$(CURDIR)=. $(OPT) $(HARDEN) $(WARN) $(ISYSTEM) $(CFLAGS)
LDFLAGS_ALL := $(filter -fsanitize% --coverage,$(OPT)) $(LDHARDEN) $(LDFLAGS)

# ---- what there is to build ---------------------------------------------------------------------

LAYERS := base backends depsky metadata fs
MAINS := fs/main.c metadata/metad_main.c tools/c2fsctl.c
LIBSRC = $(filter-out $(MAINS),$(wildcard $(1)/*.c))

# Which archives a layer's unit tests link, in link order: the layer and what is below it.
DEPS_base := base
DEPS_backends := backends base
DEPS_depsky := depsky backends base
DEPS_metadata := metadata base
DEPS_fs := fs depsky metadata backends base
DEPS_tools := tools fs depsky metadata backends base
ARCHIVES_fs := $(foreach l,$(DEPS_fs),$(BUILD)/lib$(l).a)
ARCHIVES_metadata := $(foreach l,$(DEPS_metadata),$(BUILD)/lib$(l).a)
ARCHIVES_tools := $(foreach l,$(DEPS_tools),$(BUILD)/lib$(l).a)

# libdepsky: these layers in one archive and one shared object that exports what the public
# headers declare.
LIBDEPSKY_LAYERS := base backends depsky
LIBDEPSKY_HEADERS := $(wildcard depsky/depsky.h depsky/unit.h depsky/clouds.h backends/provider.h \
                     $(patsubst %,base/%.h,alloc base buf env err list log os_loop wire) base/err.def)
LIBDEPSKY_LIBS := $(filter-out -lfuse3 -llmdb -lssl,$(LIBS))
# libc2coord: the client of the coordination service, and the service itself in a folder.
LIBC2COORD_LAYERS := base metadata
LIBC2COORD_HEADERS := $(wildcard metadata/coord.h metadata/coord_service.h \
                      $(patsubst %,base/%.h,alloc base buf env err list log os_loop wire) base/err.def)
LIBC2COORD_LIBS := $(filter-out -lfuse3 -lcurl -lisal -lJerasure -lgf_complete,$(LIBS))
LIBRARIES := $(foreach l,depsky c2coord,$(BUILD)/lib/lib$(l).a $(BUILD)/lib/lib$(l).so.0)

PROGRAMS := $(patsubst %.c,$(BUILD)/%,\
              $(notdir $(patsubst fs/main.c,c2fs.c,$(patsubst metadata/metad_main.c,c2fs-metad.c,$(wildcard $(MAINS))))))
PRODUCT_SRC := $(foreach d,$(LAYERS) tools,$(wildcard $(d)/*.c))
TEST_SRC := $(wildcard tests/unit/*.c)
TESTLIB_SRC := $(wildcard tests/lib/*.c)
SIM_SRC := $(wildcard tests/sim/*.c)
FUZZ_SRC := $(wildcard tests/fuzz/fuzz_*.c)
HELPER_SRC := $(wildcard tests/helpers/*.c tests/bench/*.c)
POSIX_SRC := $(wildcard tests/posix/*.c)
HEADERS := $(foreach d,$(LAYERS) tools tests/lib tests/sim tests/fuzz tests/posix,$(wildcard $(d)/*.h))
ALL_SRC := $(PRODUCT_SRC) $(TEST_SRC) $(TESTLIB_SRC) $(SIM_SRC) $(FUZZ_SRC) $(HELPER_SRC) \
           $(wildcard tests/integration/*.c tests/byzantine/*.c) \
           $(POSIX_SRC)

TESTS := $(patsubst tests/unit/%.c,$(BUILD)/unit/%,$(wildcard tests/unit/test_*.c))
FUZZERS := $(patsubst tests/fuzz/%.c,$(BUILD)/fuzz/%,$(FUZZ_SRC))
REPLAYS := $(patsubst tests/fuzz/fuzz_%.c,$(BUILD)/fuzz/replay_%,$(FUZZ_SRC))
HELPERS := $(patsubst tests/%.c,$(BUILD)/%,$(HELPER_SRC)) $(BUILD)/helpers/posix
SIM := $(if $(SIM_SRC),$(BUILD)/c2sim)
MAN := $(wildcard docs/man/*.[1-8])

# The rest of a command line that runs make again with the packages installed.
AGAIN = $(MAKE) --no-print-directory $(if $(filter -j%,$(MAKEFLAGS)),,-j$(JOBS))

.DELETE_ON_ERROR:
.SECONDARY:
.DEFAULT_GOAL := all

# ---- programs -----------------------------------------------------------------------------------

.PHONY: help all libraries objects clean
##   all                   the programs (default), in build/<compiler>-<variant>/
all: $(PROGRAMS)

##   libraries             libdepsky, libc2coord; static and shared, in build/<compiler>-<variant>/lib/
.PHONY: libdepsky libc2coord
libraries: libdepsky libc2coord
libdepsky libc2coord: %: $(BUILD)/lib/%.a $(BUILD)/lib/%.so.0

help:
	@echo "make [TARGET] [VARIANT=asan|tsan|debug|cov|release] [CC=gcc|clang] [V=1]"
	@sed -n 's/^##//p' $(firstword $(MAKEFILE_LIST))

# What is in a library may become part of a shared object.
PIC := -fPIC -fno-semantic-interposition
$(foreach d,$(sort $(LIBDEPSKY_LAYERS) $(LIBC2COORD_LAYERS)),$(BUILD)/$(d)/%.o): LAYER_FLAGS := $(PIC)
$(BUILD)/%.o: %.c Makefile
	$(call run,CC,$(CC) $(CFLAGS_ALL) $(LAYER_FLAGS) -MMD -MP -c -o $@ $<)

define archive_rule
$(BUILD)/lib$(1).a: $(patsubst %.c,$(BUILD)/%.o,$(call LIBSRC,$(1)))
	@rm -f $$@
	$$(call run,AR,ar rcD $$@ $$^)
endef
$(foreach d,$(LAYERS) tools,$(eval $(call archive_rule,$(d))))

$(BUILD)/c2fs: $(BUILD)/fs/main.o $(ARCHIVES_fs)
	$(call run,LD,$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS))
$(BUILD)/c2fs-metad: $(BUILD)/metadata/metad_main.o $(ARCHIVES_metadata)
	$(call run,LD,$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS))
$(BUILD)/c2fsctl: $(BUILD)/tools/c2fsctl.o $(ARCHIVES_tools)
	$(call run,LD,$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS))

# What is not declared in a public header is pulled in only where it is called.
define library_rule
$(BUILD)/lib/lib$(1).a: $(foreach d,$($(2)_LAYERS),$(patsubst %.c,$(BUILD)/%.o,$(call LIBSRC,$(d))))
	@rm -f $$@
	$$(call run,AR,ar rcD $$@ $$^)
$(BUILD)/lib/lib$(1).symbols: packaging/library-symbols $($(2)_HEADERS)
	$$(call run,GEN,packaging/library-symbols $$(filter %.h,$$^) >$$@)
$(BUILD)/lib/lib$(1).map: $(BUILD)/lib/lib$(1).symbols
	$$(call run,GEN,{ echo '{ global:'; sed 's/$$$$/;/' $$<; echo 'local: *; };'; } >$$@)
$(BUILD)/lib/lib$(1).so.0: $(BUILD)/lib/lib$(1).a $(BUILD)/lib/lib$(1).map
	$$(call run,LD,$$(CC) $$(filter-out -pie,$$(LDFLAGS_ALL)) -shared -Wl$$(,)-soname$$(,)$$(@F) \
	    -Wl$$(,)--version-script=$$(@D)/lib$(1).map $$$$(sed 's/^/-Wl$$(,)-u$$(,)/' $$(@D)/lib$(1).symbols) \
	    -o $$@ $$< -Wl$$(,)--as-needed $$($(2)_LIBS))
endef
$(eval $(call library_rule,depsky,LIBDEPSKY))
$(eval $(call library_rule,c2coord,LIBC2COORD))

objects: $(patsubst %.c,$(BUILD)/%.o,$(PRODUCT_SRC))

clean:
	rm -rf build compile_commands.json

# ---- tests --------------------------------------------------------------------------------------

$(BUILD)/libtestlib.a: $(patsubst %.c,$(BUILD)/%.o,$(TESTLIB_SRC))
	@rm -f $@
	$(call run,AR,ar rcD $@ $^)

# tests/unit/test_<layer>_<file>.c links the layer and what is below it.
define unit_rule
$(BUILD)/unit/test_$(1)_%: $(BUILD)/tests/unit/test_$(1)_%.o $(BUILD)/libtestlib.a \
                           $(foreach l,$(DEPS_$(1)),$(BUILD)/lib$(l).a)
	$$(call run,LD,$$(CC) $$(LDFLAGS_ALL) -o $$@ $$^ $$(LIBS) -lcmocka)
endef
$(foreach d,$(LAYERS) tools,$(eval $(call unit_rule,$(d))))

# The simulator knows whose memory each block is: tests/sim/life.c stands for the allocator.
SIM_WRAP := -Wl,--wrap=c2_secret_alloc -Wl,--wrap=c2_secret_free
$(BUILD)/c2sim: $(patsubst %.c,$(BUILD)/%.o,$(SIM_SRC)) $(BUILD)/libtestlib.a $(ARCHIVES_fs)
	$(call run,LD,$(CC) $(LDFLAGS_ALL) $(SIM_WRAP) -o $@ $^ $(LIBS) -lcmocka)

# A fuzz target with libFuzzer, and the same target fed from the corpus without it.
$(BUILD)/fuzz/fuzz_%: $(BUILD)/tests/fuzz/fuzz_%.o $(BUILD)/libtestlib.a $(ARCHIVES_tools)
	$(call run,LD,$(CC) $(LDFLAGS_ALL) -fsanitize=fuzzer -o $@ $^ $(LIBS) -lcmocka)
$(BUILD)/fuzz/replay_%: $(BUILD)/tests/fuzz/fuzz_%.o $(BUILD)/tests/fuzz/replay.o \
                        $(BUILD)/libtestlib.a $(ARCHIVES_tools)
	$(call run,LD,$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS) -lcmocka)

# The S3 provider against real servers and against libs3.
S3_DRIVER := $(patsubst tests/%.c,$(BUILD)/%,$(wildcard tests/integration/s3_driver.c))
$(S3_DRIVER): $(BUILD)/%: $(BUILD)/tests/%.o $(BUILD)/libtestlib.a \
              $(foreach l,$(DEPS_backends),$(BUILD)/lib$(l).a)
	$(call run,LD,$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS) -ls3 -lcmocka)

# The daemon as a liar: all that leaves it goes through tests/byzantine/liar.c.
LIAR := $(BUILD)/helpers/c2fs-metad-liar
$(LIAR): $(BUILD)/metadata/metad_main.o $(BUILD)/tests/byzantine/liar.o $(ARCHIVES_metadata)
	@mkdir -p $(@D)
	$(call run,LD,$(CC) $(LDFLAGS_ALL) -Wl$(,)--wrap=node_send -Wl$(,)--wrap=node_reply \
	    -o $@ $^ $(LIBS))
$(BUILD)/helpers/kvload: $(BUILD)/tests/helpers/kvload.o $(BUILD)/tests/lib/load_report.o \
                         $(ARCHIVES_metadata)
	$(call run,LD,$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS))
# Benchmarks of a release build want them, and libtestlib is for builds with marks.
$(BUILD)/helpers/hostile: $(BUILD)/tests/lib/attack.o
$(BUILD)/helpers/hostile $(BUILD)/helpers/stranger: $(BUILD)/%: $(BUILD)/tests/%.o $(ARCHIVES_metadata)
	$(call run,LD,$(CC) $(LDFLAGS_ALL) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(LIBS) -lpthread)

# Programs that integration tests and benchmarks call; each is one file.
$(BUILD)/helpers/posix: $(patsubst %.c,$(BUILD)/%.o,$(POSIX_SRC))
	$(call run,LD,$(CC) $(LDFLAGS_ALL) -o $@ $^)
$(BUILD)/bench/rebuild: $(BUILD)/tests/bench/rebuild.o $(foreach l,$(DEPS_depsky),$(BUILD)/lib$(l).a)
	$(call run,LD,$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS))
# It counts what is hashed.
$(BUILD)/bench/store: $(BUILD)/tests/bench/store.o $(foreach l,$(DEPS_metadata),$(BUILD)/lib$(l).a)
	$(call run,LD,$(CC) $(LDFLAGS_ALL) -Wl$(,)--wrap=c2_sha256 -Wl$(,)--wrap=c2_sha256_v -o $@ $^ $(LIBS))
$(filter-out $(BUILD)/helpers/posix $(BUILD)/helpers/kvload $(BUILD)/helpers/hostile $(BUILD)/helpers/stranger $(BUILD)/bench/%,$(HELPERS)): $(BUILD)/%: $(BUILD)/tests/%.o
	$(call run,LD,$(CC) $(LDFLAGS_ALL) -o $@ $^ -lm -lpthread)
$(BUILD)/bench/bft_load: $(BUILD)/tests/bench/bft_load.o $(BUILD)/tests/lib/load_report.o \
                         $(ARCHIVES_metadata)
	$(call run,LD,$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS))
$(BUILD)/bench/etcd_load: $(BUILD)/tests/bench/etcd_load.o $(BUILD)/tests/lib/load_report.o
	$(call run,LD,$(CC) $(LDFLAGS_ALL) -o $@ $^ -lcurl -lpthread)

.PHONY: check check-steps check-unit check-fuzz check-lint check-integration check-posix
.PHONY: check-clang check-release check-valgrind check-tsan sim sim-run fuzz fuzz-run cover
.PHONY: sim-long sim-long-run mutations model
##   check                 install what the tests need, build, unit tests, simulator, fuzz corpora
check:
	@tools/dev/install-deps build test
	+@$(AGAIN) check-steps
check-steps: all $(TESTS) $(SIM) $(REPLAYS)
	+@tools/dev/run-steps check-unit check-lint $(if $(SIM),sim-run) $(if $(REPLAYS),check-fuzz)

##   check-unit            unit tests only
check-unit: $(TESTS)
	@tools/dev/run-unit $(TESTS)

##   check-fuzz            every file of the fuzz corpora once, without a fuzzer
check-fuzz: $(REPLAYS)
	@tools/dev/run-replay $(REPLAYS)

##   check-lint            the self-tests of the checkers in tools/dev
check-lint:
	@tests/lint/run

##   check-integration     real mounts; T="name ..." picks tests (tests/integration/run --list)
check-integration:
	@tools/dev/install-deps build integration
	+@$(AGAIN) $(BUILD)/integration-ready
	@C2FS_BUILD=$(BUILD) tests/integration/run $(T)
.PHONY: $(BUILD)/integration-ready
$(BUILD)/integration-ready: all $(HELPERS) $(LIAR) $(S3_DRIVER) $(LIBRARIES)

##   check-posix           calls x errors x side effects on a mount and on a native file system
check-posix:
	@$(MAKE) --no-print-directory check-integration T="posix"

##   check-valgrind        unit tests under valgrind
check-valgrind:
	@tools/dev/install-deps build test valgrind
	+@$(AGAIN) VARIANT=debug BUILD=$(subst -$(VARIANT),-debug,$(BUILD)) WRAP=valgrind check-unit

##   check-tsan            unit tests with the thread sanitizer
check-tsan:
	@tools/dev/install-deps build test
	+@$(AGAIN) VARIANT=tsan BUILD=$(subst -$(VARIANT),-tsan,$(BUILD)) check-unit

N ?= 2000
##   check-clang           everything with clang: warnings, sanitizers, unit tests
check-clang:
	@tools/dev/install-deps build test fuzz
	+@$(AGAIN) CC=clang VARIANT=asan BUILD=build/clang-asan check-unit all
##   check-release         everything as it is shipped: optimised, hardened, without test marks
check-release:
	@tools/dev/install-deps build
	+@$(AGAIN) CC=gcc VARIANT=release BUILD=build/gcc-release all

##   sim SEED=1 N=2000     N simulated runs from a seed on; TRACE=1 with one seed prints all events
sim:
	@tools/dev/install-deps build test
	+@$(AGAIN) sim-run
sim-run: $(BUILD)/c2sim
	$(if $(SEED),,@)$(BUILD)/c2sim $(or $(SEED),1) $(if $(SEED),$(if $(filter command,$(origin N)),$(N),1),$(N)) $(if $(TRACE),--trace) $(if $(SEED),,--regressions tests/sim/regressions.txt)

##   fuzz T=60             each fuzz target T seconds with libFuzzer; F="share wire" picks some
fuzz:
	@tools/dev/install-deps build test fuzz
	+@$(AGAIN) CC=clang VARIANT=fuzz BUILD=build/clang-fuzz fuzz-run
fuzz-run: $(FUZZERS)
	@tools/dev/run-fuzz $(or $(T),60) $(if $(F),$(foreach f,$(F),$(BUILD)/fuzz/fuzz_$(f)),$(FUZZERS))

##   sim-long N=10000      that many seeds of the replicated service from SEED=1000000 on, and what
##                         happened in them; about 120 batches a seed, one core
sim-long:
	@tools/dev/install-deps build
	+@$(AGAIN) VARIANT=debug BUILD=build/$(CC)-debug sim-long-run
sim-long-run: $(BUILD)/c2sim
	nice -n 19 taskset -c 0 $(BUILD)/c2sim $(or $(SEED),1000000) $(if $(filter command,$(origin N)),$(N),10000) --only bft --report $(or $(BATCHES),100000)

##   mutations M="name …"  deliberate bugs in tests/mutations, each must be found; SEEDS=250
mutations:
	@tools/dev/install-deps build test mutations
	@tests/mutations/run $(M)

##   model                 the model of consensus in docs/model, with spin; and that it finds bugs
model:
	@tools/dev/install-deps model
	@docs/model/run

##   cover                 line coverage per folder and file of unit tests and simulator
cover:
	@tools/dev/install-deps build test
	@rm -f $(shell find build/gcc-cov -name '*.gcda' 2>/dev/null)
	+@$(AGAIN) CC=gcc VARIANT=cov BUILD=build/gcc-cov N=200 check-unit $(if $(SIM),sim-run)
	@tools/dev/cover build/gcc-cov $(LAYERS)

# ---- checks of the text -------------------------------------------------------------------------

.PHONY: lint lint-steps hdr-check compile_commands.json repro
.PHONY: lint-style lint-format lint-layers lint-sizes lint-keys lint-globals lint-shell lint-tidy
##   lint                  style, format, layers, sizes, keys, globals, headers, shell, clang-tidy
##                         (changed files; LINT_FULL=1: all)
lint:
	@tools/dev/install-deps build test lint
	+@$(AGAIN) CC=gcc VARIANT=debug BUILD=build/gcc-debug lint-steps
lint-steps: objects
	+@tools/dev/run-steps lint-style lint-format lint-layers lint-sizes lint-keys lint-globals hdr-check \
	    lint-shell lint-tidy check-lint
lint-style:
	@tools/dev/check-style
lint-format:
	@tools/dev/check-format
lint-layers:
	@tools/dev/check-layers
lint-sizes:
	@tools/dev/check-sizes
lint-keys:
	@tools/dev/check-keys
lint-globals: objects
	@tools/dev/check-globals $(BUILD) $(LAYERS) tools
lint-shell:
	@tools/dev/check-shell
lint-tidy: compile_commands.json
	@tools/dev/check-tidy $(JOBS)

##   hdr-check             every header compiles alone, and twice
hdr-check: $(patsubst %,$(BUILD)/hdr/%.ok,$(HEADERS))
	@echo "hdr-check: $(words $^) headers, $(words $^) passed, 0 failed, 0 skipped"
$(BUILD)/hdr/%.ok: % Makefile
	@mkdir -p $(dir $@)
	@$(CC) $(CFLAGS_ALL) -MMD -MP -MT $@ -MF $(@:.ok=.d) -include $< -include $< \
	    -fsyntax-only -x c /dev/null
	@touch $@

##   compile_commands.json for clangd and clang-tidy
compile_commands.json:
	@tools/dev/compile-db $(CC) $(CFLAGS_ALL) -- $(ALL_SRC) >$@

##   repro                 two builds in different folders give the same programs
repro:
	@tools/dev/install-deps build
	@tools/dev/repro

# ---- for people ---------------------------------------------------------------------------------

.PHONY: demo bench bench-bft bench-hostile bench-store install deb
##   demo                  four directory providers, a mount, a disaster; KEEP=1 leaves it mounted
demo:
	@tools/dev/install-deps build demo
	+@$(AGAIN) VARIANT=release BUILD=$(subst -$(VARIANT),-release,$(BUILD)) all
	@C2FS_BUILD=$(subst -$(VARIANT),-release,$(BUILD)) tools/dev/demo

##   bench                 throughput and files per second; RESULT=FILE.json keeps the figures
bench:
	@tools/dev/install-deps build integration
	+@$(AGAIN) CC=gcc VARIANT=release BUILD=build/gcc-release all
	@C2FS_BUILD=build/gcc-release tests/bench/run $(RESULT)

##   bench-bft             requests per second of four replicas, beside three etcd where installed
bench-bft:
	@tools/dev/install-deps build
	+@$(AGAIN) VARIANT=release all build/gcc-release/helpers/kvload build/gcc-release/bench/bft_load \
		build/gcc-release/bench/etcd_load
	@C2FS_BUILD=build/gcc-release tests/bench/bft

##   bench-hostile         what hostile clients leave to others (ROUNDS=, ATTACKS="greedy hello"), six minutes
bench-hostile:
	@tools/dev/install-deps build integration
	+@$(AGAIN) VARIANT=release all build/gcc-release/helpers/hostile build/gcc-release/helpers/stranger \
		build/gcc-release/bench/bft_load
	@C2FS_BUILD=build/gcc-release tests/bench/hostile

##   bench-store           what a million keys cost (KEYS=): transactions, checkpoints, restart, transfer, memory
bench-store:
	@tools/dev/install-deps build
	+@$(AGAIN) VARIANT=release all build/gcc-release/helpers/kvload build/gcc-release/bench/store
	@C2FS_BUILD=build/gcc-release KEYS=$(or $(KEYS),1000000) tests/bench/store-service

##   install               programs, libraries, manual pages, units, completion; DESTDIR=
##                         PREFIX=/usr/local LIBDIR=PREFIX/lib
install:
	+@$(AGAIN) CC=$(CC) VARIANT=release BUILD=build/$(notdir $(CC))-release all libraries
	+@$(AGAIN) BUILD=build/$(notdir $(CC))-release install-files
.PHONY: install-files
install-files:
	@BUILD='$(BUILD)' DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' SBINDIR='$(SBINDIR)' \
	    SYSCONFDIR='$(SYSCONFDIR)' packaging/install $(filter-out %.3,$(MAN))
	@BUILD='$(BUILD)' DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' LIBDIR='$(LIBDIR)' \
	    VERSION='$(VERSION)' LIBS_PRIVATE='$(LIBDEPSKY_LIBS)' NAME=depsky \
	    packaging/install-library 'dependable and secure storage over several clouds (DepSky-A, DepSky-CA)' \
	    $(LIBDEPSKY_HEADERS) docs/examples/notes.c docs/examples/objects.c \
	    $(filter-out %coord.3 %coord_submit.3,$(filter %.3,$(MAN)))
	@BUILD='$(BUILD)' DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' LIBDIR='$(LIBDIR)' \
	    VERSION='$(VERSION)' LIBS_PRIVATE='$(LIBC2COORD_LIBS)' NAME=c2coord \
	    packaging/install-library 'a key-value store on replicas of which some may lie: transactions, locks, watches' \
	    $(LIBC2COORD_HEADERS) docs/examples/kv.c $(filter %coord.3 %coord_submit.3,$(MAN))

##   deb                   Debian packages in build/: c2fs, libdepsky-dev, libc2coord-dev
deb:
	@tools/dev/install-deps build deb
	+@$(AGAIN) CC=gcc VARIANT=release BUILD=build/gcc-release all libraries
	@BUILD=build/gcc-release VERSION=$(VERSION) MAKE='$(MAKE)' packaging/deb

##   clean                 remove everything that was built

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
