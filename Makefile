# C2FS: one Makefile, no recursion. `make help` lists the targets.

VARIANT ?= asan
CC ?= gcc
ifeq ($(origin CC),default)
CC := gcc
endif
BUILD ?= build/$(notdir $(CC))-$(VARIANT)
PREFIX ?= /usr/local

LAYERS := base backends depsky metadata fs

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
OPT_release := -O2 -g -D_FORTIFY_SOURCE=2 -fstack-clash-protection -fcf-protection
OPT := $(OPT_$(VARIANT))
ifeq ($(OPT),)
$(error VARIANT must be one of asan tsan debug cov release)
endif
# gcc reports false -Wnull-dereference inside instrumented code.
ifneq ($(VARIANT),release)
WARN := $(filter-out -Wnull-dereference,$(WARN))
endif

VERSION := $(shell cat VERSION 2>/dev/null || echo 0)
CFLAGS_ALL := -std=gnu17 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -DC2_VERSION='"$(VERSION)"' -I. \
              -ffile-prefix-map=$(CURDIR)=. $(OPT) $(HARDEN) $(WARN) $(ISYSTEM) $(CFLAGS)
LDFLAGS_ALL := $(filter -fsanitize% --coverage,$(OPT)) $(LDHARDEN) $(LDFLAGS)

MAINS := fs/main.c tools/c2fsctl.c
SRC := $(foreach d,$(LAYERS),$(wildcard $(d)/*.c)) $(wildcard tools/*.c)
LIBSRC = $(filter-out $(MAINS),$(wildcard $(1)/*.c))
ARCHIVES := $(foreach d,$(LAYERS) tools,$(BUILD)/lib$(d).a)

# Which archives a layer's unit tests link, in link order.
DEPS_base := base
DEPS_backends := backends base
DEPS_depsky := depsky backends base
DEPS_metadata := metadata base
DEPS_fs := fs depsky metadata backends base
DEPS_tools := tools fs depsky metadata backends base

PROGRAMS := $(patsubst %.c,$(BUILD)/%,$(notdir $(patsubst fs/main.c,c2fs.c,$(wildcard $(MAINS)))))
TESTS := $(patsubst tests/unit/%.c,$(BUILD)/unit/%,$(wildcard tests/unit/test_*.c))
TESTLIB := $(wildcard tests/lib/*.c)

.DELETE_ON_ERROR:
.SECONDARY:
.PHONY: all help check check-unit clean

all: $(PROGRAMS)

$(BUILD)/%.o: %.c
	@mkdir -p $(dir $@)
	$(CC) $(CFLAGS_ALL) -MMD -MP -c -o $@ $<

define archive_rule
$(BUILD)/lib$(1).a: $(patsubst %.c,$(BUILD)/%.o,$(call LIBSRC,$(1)))
	@rm -f $$@
	ar rcD $$@ $$^
endef
$(foreach d,$(LAYERS) tools,$(eval $(call archive_rule,$(d))))

$(BUILD)/c2fs: $(BUILD)/fs/main.o $(foreach l,$(DEPS_fs),$(BUILD)/lib$(l).a)
	$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS)
$(BUILD)/c2fsctl: $(BUILD)/tools/c2fsctl.o $(foreach l,$(DEPS_tools),$(BUILD)/lib$(l).a)
	$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS)

$(BUILD)/libtestlib.a: $(patsubst %.c,$(BUILD)/%.o,$(TESTLIB))
	@rm -f $@
	ar rcD $@ $^

# tests/unit/test_<layer>_<file>.c links the layer and what is below it.
define unit_rule
$(BUILD)/unit/test_$(1)_%: $(BUILD)/tests/unit/test_$(1)_%.o $(BUILD)/libtestlib.a $(foreach l,$(DEPS_$(1)),$(BUILD)/lib$(l).a)
	@mkdir -p $$(dir $$@)
	$$(CC) $$(LDFLAGS_ALL) -o $$@ $$^ $$(LIBS) -lcmocka
endef
$(foreach d,$(LAYERS) tools,$(eval $(call unit_rule,$(d))))

check-unit: $(TESTS)
	tools/dev/run-unit $(TESTS)

clean:
	rm -rf build

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
