# SPDX-License-Identifier: GPL-2.0-or-later
# The allocator in host processes: shared libraries, and a test of each.

HOST_VARIANTS := 64-static 64-klimit 32-static 32-klimit
HOST_SRC := host.c platform.c state.c
# what else of the kernel a host test can reach
HOST_KERNEL_SRC := firmware.c
HOST_CFLAGS := -std=gnu11 -O2 -g $(WARN)
# the allocator itself is built as in the kernel: freestanding
HOST_LMB_CFLAGS := -ffreestanding
# clang's libFuzzer, which gcc has not
FUZZCC ?= clang
FUZZ ?= -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all
SANITIZE ?= -fsanitize=address,undefined -fno-sanitize-recover=all

# $(call host_config,width-storage)
host_config = $(CONFIG) $(foreach part,$(subst -, ,$(1)),$(CONFIG_$(part)))

# $(call host_variant,width-storage)
define host_variant
host-dir-$(1) := $(O)/host/obj-$(1)
host-flags-$(1) := $(HOST_CFLAGS) $(call host_config,$(1))
$(call command_file,$(O)/host/obj-$(1)/command,$(HOSTCC) $(HOST_CFLAGS) $(HOST_LMB_CFLAGS) $(SANITIZE) $(call host_config,$(1)))

$(O)/host/obj-$(1)/%.o: $(LMB_DIR)/%.c $(O)/host/obj-$(1)/command
	@echo '  HOSTCC  $$@'
	$$(Q)$(HOSTCC) $$(host-flags-$(1)) $(HOST_LMB_CFLAGS) -I. -fPIC -MMD -MP -c -o $$@ $$<
$(O)/host/obj-$(1)/%.o: host/%.c $(O)/host/obj-$(1)/command
	@echo '  HOSTCC  $$@'
	$$(Q)$(HOSTCC) $$(host-flags-$(1)) -fPIC -MMD -MP -c -o $$@ $$<
$(O)/host/obj-$(1)/%.san.o: $(LMB_DIR)/%.c $(O)/host/obj-$(1)/command
	@echo '  HOSTCC  $$@'
	$$(Q)$(HOSTCC) $$(host-flags-$(1)) $(HOST_LMB_CFLAGS) $(SANITIZE) -I. -MMD -MP -c -o $$@ $$<
$(O)/host/obj-$(1)/%.san.o: %.c $(O)/host/obj-$(1)/command
	@echo '  HOSTCC  $$@'
	$$(Q)$(HOSTCC) $$(host-flags-$(1)) $(HOST_LMB_CFLAGS) $(SANITIZE) -I. -MMD -MP -c -o $$@ $$<
$(O)/host/obj-$(1)/%.san.o: host/%.c $(O)/host/obj-$(1)/command
	@echo '  HOSTCC  $$@'
	$$(Q)$(HOSTCC) $$(host-flags-$(1)) $(SANITIZE) -MMD -MP -c -o $$@ $$<

# -Bsymbolic: a process may load all four
$(O)/host/liblmb-$(1).so: $(addprefix $(O)/host/obj-$(1)/,$(LMB_SRC:.c=.o) $(HOST_SRC:.c=.o))
	@echo '  HOSTLD  $$@'
	$$(Q)$(HOSTCC) -shared -Wl,-Bsymbolic -Wl,--build-id=sha1 -o $$@ $$^
$(O)/host/selftest-$(1): $(addprefix $(O)/host/obj-$(1)/,$(LMB_SRC:.c=.san.o) $(HOST_KERNEL_SRC:.c=.san.o) $(HOST_SRC:.c=.san.o) selftest.san.o fuzz.san.o)
	@echo '  HOSTLD  $$@'
	$$(Q)$(HOSTCC) $(SANITIZE) -o $$@ $$^

$(O)/host/fuzzer-$(1): $(LMB_SRC:%=$(LMB_DIR)/%) $(HOST_SRC:%=host/%) host/fuzz.c host/libfuzzer.c $(O)/host/obj-$(1)/command
	@echo '  FUZZCC  $$@'
	$$(Q)$(FUZZCC) $$(host-flags-$(1)) $(FUZZ) -I. -o $$@ $$(filter %.c,$$^)
endef
$(foreach variant,$(HOST_VARIANTS),$(eval $(call host_variant,$(variant))))

# What the kernel reads of device trees; not part of `host`, as it needs libfdt.
$(O)/host/devicetree-%: devicetree.c boot_info.c host/devicetree_host.c $(addprefix $(LIBFDT)/,$(LIBFDT_SRC)) $(wildcard *.h)
	@echo '  HOSTLD  $@'
	@mkdir -p $(@D)
	$(Q)$(HOSTCC) $(HOST_CFLAGS) $(CONFIG) $(CONFIG_$*) $(LIBFDT_CFLAGS) $(SANITIZE) -o $@ $(filter %.c,$^)

fuzzers: $(foreach variant,$(HOST_VARIANTS),$(O)/host/fuzzer-$(variant))

host: $(foreach variant,$(HOST_VARIANTS),$(O)/host/liblmb-$(variant).so)

check: host $(foreach variant,$(HOST_VARIANTS),$(O)/host/selftest-$(variant))
	@set -e; for variant in $(HOST_VARIANTS); do \
		ASAN_OPTIONS=detect_leaks=0 $(O)/host/selftest-$$variant; \
	done
