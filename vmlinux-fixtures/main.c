// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The boot of a small kernel, as far as its early allocator goes. Each step is
 * a function of its own, so that whoever asks "who reserved this?" gets a name.
 *
 * Below it is what arch.h asks of an architecture, which calls start_kernel().
 */
#include "arch.h"
#include "banner.h"
#include "boot_info.h"
#include "cmdline.h"
#include "fault.h"
#include "firmware.h"
#include "init.h"
#include "lmb.h"
#include "main.h"
#include "mapped.h"
#include "printk.h"
#include "scenario.h"
#include "stops.h"
#include "string.h"

#define NR_CPUS			4
#define PER_CPU_SIZE		(8 * PAGE_SIZE)
#define PAGE_STRUCT_SIZE	64
#define LOG_BUF_SIZE		(16 * PAGE_SIZE)
#define POISON_FREE_INITMEM	0xcc	/* as Linux's */

/* Where the steps below put what they allocated; a page allocator would read it. */
char *per_cpu_areas[NR_CPUS];
void *mem_map;

static struct options options = {
	.scenario = SCENARIO_BOOT,
	.seed = 1,
	.nr_static = CONFIG_LMB_STATIC_ENTRIES,
	.block_size = 4096,
};

static noinline __init void init_allocator(void)
{
	mapped_end = boot_info.early_limit;
	mapped_klimit = boot_info.image.base + boot_info.image.size;
	must(lmb_init, options.nr_static, options.block_size);
	if (options.bottom_up)
		must(lmb_set_bottom_up, true);
}

static noinline __init void reserve_kernel_image(void)
{
	must(lmb_reserve, boot_info.image.base, boot_info.image.size, 0);
}

static noinline __init void reserve_early_page_tables(void)
{
	if (boot_info.early_page_tables.size)
		must(lmb_reserve, boot_info.early_page_tables.base,
		     boot_info.early_page_tables.size, 0);
}

static noinline __init void reserve_device_tree(void)
{
	if (boot_info.fdt.size)
		must(lmb_reserve, boot_info.fdt.base, boot_info.fdt.size, 0);
}

static noinline __init void reserve_boot_data(void)
{
	unsigned int i;

	for (i = 0; i < boot_info.nr_boot_data; i++)
		must(lmb_reserve, boot_info.boot_data[i].base,
		     boot_info.boot_data[i].size, 0);
}

static noinline __init void reserve_initrd(void)
{
	if (boot_info.initrd.size)
		must(lmb_reserve, boot_info.initrd.base, boot_info.initrd.size, 0);
}

/* All that must not be overwritten is reserved now; what is mapped may be used. */
static noinline __init void allow_growth(void)
{
	must(lmb_set_current_limit, boot_info.early_limit);
	must(lmb_allow_growth);
}

static __init bool forget_cut_off(struct lmb_range *range)
{
	if (!range->size || range->base + range->size <= lmb_end_of_DRAM())
		return false;
	*range = (struct lmb_range){ 0, 0 };
	return true;
}

/* What lies above the limit is gone; as in Linux, an initrd with it. The rest has been read. */
static noinline __init void limit_memory(void)
{
	unsigned int i;

	must(lmb_enforce_memory_limit, options.limit);
	if (forget_cut_off(&boot_info.initrd))
		printk("initrd extends beyond end of memory, disabling initrd\n");
	forget_cut_off(&boot_info.fdt);
	for (i = 0; i < boot_info.nr_boot_data; i++)
		forget_cut_off(&boot_info.boot_data[i]);
}

/*
 * The first range is room for blocks of entries, however many ranges follow. A
 * limit comes before them, as it would not spare them.
 */
static noinline __init void add_firmware_memory(void)
{
	struct firmware_ram ram = { .entry = 0 };

	while (firmware_next_ram(&firmware_map, &ram)) {
		must(lmb_add, ram.range.base, ram.range.size, 0);
		if (!lmb.may_grow && !options.limit)
			allow_growth();
	}
	if (options.limit)
		limit_memory();
	if (!lmb.may_grow)
		allow_growth();
}

/* As if firmware had said so. */
static noinline __init void mark_memory(void)
{
	if (options.mark.size)
		must(lmb_mark, options.mark.base, options.mark.size, options.mark_flag);
}

static noinline __init void setup_per_cpu_areas(void)
{
	phys_addr_t base;
	unsigned int cpu;

	for (cpu = 0; cpu < NR_CPUS; cpu++) {
		must(lmb_alloc, PER_CPU_SIZE, PAGE_SIZE, 0, 0, 0, &base);
		per_cpu_areas[cpu] = arch_va(base);
		memset(per_cpu_areas[cpu], 0, PER_CPU_SIZE);
	}
}

/* One struct page for each page of RAM; not written, as nothing reads it. */
static noinline __init void alloc_mem_map(void)
{
	phys_addr_t base;

	must(lmb_alloc, (lmb_phys_mem_size() >> PAGE_SHIFT) * PAGE_STRUCT_SIZE,
	     PAGE_SIZE, 0, 0, 0, &base);
	mem_map = arch_va(base);
}

static noinline __init void alloc_log_buf(void)
{
	phys_addr_t base;

	must(lmb_alloc, LOG_BUF_SIZE, PAGE_SIZE, 0, 0, 0, &base);
	memset(arch_va(base), 0, LOG_BUF_SIZE);
	printk_move(arch_va(base), LOG_BUF_SIZE);
}

/* Poisoned, so that a late use fails at once and not some day. */
static noinline void free_init_memory(void)
{
	memset(arch_va(boot_info.init.base), POISON_FREE_INITMEM, boot_info.init.size);
	must(lmb_free, boot_info.init.base, boot_info.init.size);
}

static noinline void print_counts(void)
{
	printk("lmb: memory.cnt %lu reserved.cnt %lu nr_free %lu nr_blocks %lu\n",
	       lmb.memory.cnt, lmb.reserved.cnt, lmb.nr_free, lmb.nr_blocks);
}

static noinline void run_scenario(void)
{
	switch (options.scenario) {
	case SCENARIO_BOOT:
		break;
	case SCENARIO_RANDOM:
		scenario_random(options.ops ? options.ops : 5000, options.seed);
		break;
	case SCENARIO_FILL:
		scenario_fill(options.ops ? options.ops : 1000, options.seed,
			      options.random_order);
		break;
	}
	/* so many lines would take longer than all the rest */
	if (options.scenario != SCENARIO_FILL)
		lmb_dump_all();
	print_counts();
}

static noinline void hand_over(void)
{
	long pages = lmb_free_all();

	if (pages < 0)
		panic("%s: lmb_free_all failed: %ld", __func__, pages);
	printk("lmb: gave %ld pages in %lu ranges to the page allocator\n",
	       pages, lmb_handover.nr);
}

/* Everything until the init memory goes; the order is that of a real boot. */
static noinline __init void setup_memory(void)
{
	parse_options(boot_command_line, &options);
	fault_count(options.scenario == SCENARIO_RANDOM);
	init_allocator();
	reserve_kernel_image();
	reserve_early_page_tables();
	reserve_device_tree();
	reserve_boot_data();
	reserve_initrd();
	add_firmware_memory();
	mark_memory();
	init_mem_mapping();
	setup_per_cpu_areas();
	alloc_mem_map();
	alloc_log_buf();
}

/**
 * start_kernel - the boot, once the architecture has filled boot_info,
 * firmware_map and boot_command_line
 */
void start_kernel(void)
{
	printk("%s\n", lmb_banner);
	printk("Command line: %s\n", boot_command_line);
	setup_memory();
	free_init_memory();
	run_scenario();
	fault_scenario_over();
	lmb_ready();
	hand_over();
	fault_handed_over();
	lmb_scenario_done();
	printk("lmb: scenario done\n");
	arch_halt();
}
