// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The lmb.* boot options. Other words are none of our business; an lmb.* word
 * that is not understood stops the boot, as a test would otherwise pass while
 * it tests something else.
 */
#include "boot_info.h"
#include "cmdline.h"
#include "fault.h"
#include "init.h"
#include "lmb.h"
#include "printk.h"
#include "string.h"

static __init enum scenario parse_scenario(const char *value)
{
	if (!strcmp(value, "boot"))
		return SCENARIO_BOOT;
	if (!strcmp(value, "random"))
		return SCENARIO_RANDOM;
	if (!strcmp(value, "fill"))
		return SCENARIO_FILL;
	panic("bad boot option lmb.scenario=%s: not boot, random or fill", value);
}

static __init bool parse_order(const char *value)
{
	if (!strcmp(value, "window"))
		return false;
	if (!strcmp(value, "random"))
		return true;
	panic("bad boot option lmb.order=%s: not window or random", value);
}

static __init u64 parse_value(const char *name, const char *value, u64 min, u64 max)
{
	u64 number;

	if (!parse_number(value, &number) || number < min || number > max)
		panic("bad boot option %s=%s: not a number from %llu to %llu",
		      name, value, min, max);
	return number;
}

static __init unsigned long parse_block_size(const char *name, const char *value)
{
	unsigned long size = parse_value(name, value, 1, 1UL << 30);

	if (size & (size - 1) ||
	    size < LMB_HEADER_SIZE + 2 * sizeof(struct lmb_region))
		panic("bad boot option %s=%s: not a power of two that holds two entries",
		      name, value);
	return size;
}

/* Read BASE,SIZE,FLAG. */
static __init void parse_mark(const char *name, const char *value, struct options *options)
{
	static char word[COMMAND_LINE_SIZE] __initdata;
	u64 numbers[3];
	unsigned int i;
	size_t len;

	for (i = 0; i < 3; i++) {
		for (len = 0; value[len] && value[len] != ','; len++)
			word[len] = value[len];
		word[len] = '\0';
		if (!parse_number(word, &numbers[i]) || numbers[i] > PHYS_ADDR_MAX ||
		    !value[len] != (i == 2))
			panic("bad boot option %s: not BASE,SIZE,FLAG", name);
		value += len + 1;
	}
	options->mark = (struct lmb_range){ numbers[0], numbers[1] };
	options->mark_flag = numbers[2];
}

/* @value is NULL where the word has no '='. */
static __init void parse_option(const char *name, const char *value,
				struct options *options)
{
	if (!strcmp(name, "lmb.bottom_up")) {
		options->bottom_up = !value || parse_value(name, value, 0, 1);
		return;
	}
	if (!value)
		value = "";
	if (!strcmp(name, "lmb.scenario"))
		options->scenario = parse_scenario(value);
	else if (!strcmp(name, "lmb.ops"))
		options->ops = parse_value(name, value, 1, 1UL << 30);
	else if (!strcmp(name, "lmb.seed"))
		options->seed = parse_value(name, value, 0, ~0UL);
	else if (!strcmp(name, "lmb.static"))
		options->nr_static = parse_value(name, value, 2, CONFIG_LMB_STATIC_ENTRIES);
	else if (!strcmp(name, "lmb.block_size"))
		options->block_size = parse_block_size(name, value);
	else if (!strcmp(name, "lmb.order"))
		options->random_order = parse_order(value);
	else if (!strcmp(name, "lmb.limit"))
		options->limit = parse_value(name, value, 1, PHYS_ADDR_MAX);
	else if (!strcmp(name, "lmb.mark"))
		parse_mark(name, value, options);
	else if (!strcmp(name, "lmb.fault"))
		fault_parse(value);
	else
		panic("unknown boot option %s", name);
}

/* Split @word at its first '=', if it is for us. */
static __init void parse_word(char *word, struct options *options)
{
	char *value = word;

	if (strncmp(word, "lmb.", 4))
		return;
	while (*value && *value != '=')
		value++;
	if (!*value) {
		parse_option(word, NULL, options);
		return;
	}
	*value = '\0';
	parse_option(word, value + 1, options);
}

/**
 * parse_options - read the lmb.* words of a command line
 * @cmdline: words separated by blanks; the last of two equal ones counts
 * @options: holds the defaults; what is named in @cmdline is set
 *
 * Panics on an lmb.* word that is unknown or has a bad value.
 */
noinline __init void parse_options(const char *cmdline, struct options *options)
{
	static char word[COMMAND_LINE_SIZE] __initdata;
	size_t len;

	while (*cmdline) {
		for (len = 0; cmdline[len] && cmdline[len] != ' '; len++)
			word[len] = cmdline[len];
		word[len] = '\0';
		parse_word(word, options);
		cmdline += len;
		while (*cmdline == ' ')
			cmdline++;
	}
}
