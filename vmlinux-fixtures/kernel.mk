# SPDX-License-Identifier: GPL-2.0-or-later
# The fixture kernels: one for each kind of initial storage, and what more
# arch.mk adds to KERNEL_VARIANTS, by words of CONFIG_*.

KERNEL_VARIANTS := static klimit $(KERNEL_VARIANTS)
KERNEL_DIRS := $(LMB_DIR) . arch/$(ARCH) $(ARCH_DIRS)
KERNEL_LDS := $(firstword $(wildcard $(KERNEL_DIRS:%=%/kernel.lds.S)))
KERNEL_SRC := main.c banner.c cmdline.c scenario.c stops.c boot_info.c image.c mapped.c firmware.c printk.c stacks.S string.c \
	fault.c fault_regions.c fault_counts.c fault_records.c fault_links.c fault_undo.c $(EXTRA_SRC)
ifdef USES_DEVICE_TREE
KERNEL_SRC += devicetree.c $(LIBFDT_SRC)
KERNEL_DIRS += $(LIBFDT)
ARCH_CFLAGS += $(LIBFDT_CFLAGS) -Ilibc
endif
KERNEL_CFLAGS := -std=gnu11 -O2 -g $(WARN) -ffreestanding -nostdinc \
	-isystem $(shell $(CC) -print-file-name=include) \
	-fno-pic -fno-pie -fno-stack-protector -fno-asynchronous-unwind-tables \
	-fno-optimize-sibling-calls -fno-tree-loop-distribute-patterns \
	-fno-common $(ARCH_CFLAGS) $(CONFIG) -DCONFIG_ARCH='"$(ARCH)"' -I.
KERNEL_LDFLAGS := -nostdlib -static -no-pie $(ARCH_LDFLAGS) \
	-Wl,--build-id=sha1 -Wl,-z,noexecstack -Wl,--no-warn-rwx-segments \
	-Wl,--orphan-handling=error -Wl,--fatal-warnings
# $(call kernel_name,variant)
kernel_name = vmlinux$(if $(filter-out static,$(1)),-$(1))
# $(call image_name,variant): what boot loaders that know no ELF are given
image_name = $(if $(HAS_IMAGE),$(patsubst vmlinux%,Image%,$(call kernel_name,$(1))))
# $(call kernel_config,variant)
kernel_config = $(foreach word,$(subst -, ,$(1)),$(CONFIG_$(word)))
object_names = $(addsuffix .o,$(basename $(notdir $(1))))

# $(call kernel_objects,variant,folder)
define kernel_objects
$(O)/$(ARCH)/obj-$(1)/%.o: $(2)/%.c $(O)/$(ARCH)/obj-$(1)/command
	@echo '  CC      $$@'
	$$(Q)$(CC) $(KERNEL_CFLAGS) $(call kernel_config,$(1)) -MMD -MP -c -o $$@ $$<
$(O)/$(ARCH)/obj-$(1)/%.o: $(2)/%.S $(O)/$(ARCH)/obj-$(1)/command
	@echo '  AS      $$@'
	$$(Q)$(CC) $(KERNEL_CFLAGS) $(call kernel_config,$(1)) -MMD -MP -c -o $$@ $$<
endef
$(foreach variant,$(KERNEL_VARIANTS),$(foreach folder,$(KERNEL_DIRS),$(eval $(call kernel_objects,$(variant),$(folder)))))

# $(call kernel_variant,variant)
define kernel_variant
kernel-dir-$(1) := $(O)/$(ARCH)/obj-$(1)
kernel-objs-$(1) := $(addprefix $(O)/$(ARCH)/obj-$(1)/,$(call object_names,$(LMB_SRC) $(KERNEL_SRC) $(ARCH_SRC)))
$(call command_file,$(O)/$(ARCH)/obj-$(1)/command,$(CC) $(KERNEL_CFLAGS) $(KERNEL_LDFLAGS) $(call kernel_config,$(1)) $(LMB_DIR) $(EXTRA_SRC))

$(O)/$(ARCH)/obj-$(1)/kernel.lds: $(KERNEL_LDS) $(O)/$(ARCH)/obj-$(1)/command
	@echo '  LDS     $$@'
	$(Q)$(CC) -E -P $(call kernel_config,$(1)) -D__ASSEMBLER__ -MMD -MP -MT $$@ -MF $$@.d -x assembler-with-cpp -o $$@ $$<

$(O)/$(ARCH)/$(call kernel_name,$(1)): $$(kernel-objs-$(1)) $(O)/$(ARCH)/obj-$(1)/kernel.lds
	@echo '  LD      $$@'
	$(Q)$(CC) $(KERNEL_LDFLAGS) -T $(O)/$(ARCH)/obj-$(1)/kernel.lds -o $$@ $$(kernel-objs-$(1))

$(O)/$(ARCH)/Image$(patsubst vmlinux%,%,$(call kernel_name,$(1))): $(O)/$(ARCH)/$(call kernel_name,$(1))
	@echo '  IMAGE   $$@'
	$(Q)$(CROSS_COMPILE)objcopy -O binary $$< $$@
endef
$(foreach variant,$(KERNEL_VARIANTS),$(eval $(call kernel_variant,$(variant))))

kernels: $(foreach variant,$(KERNEL_VARIANTS),$(addprefix $(O)/$(ARCH)/,$(call kernel_name,$(variant)) $(call image_name,$(variant))))
