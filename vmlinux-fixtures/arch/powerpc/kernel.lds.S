/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "asm.h"

ENTRY(start_physical)

PHDRS
{
	load PT_LOAD FLAGS(7);
	note PT_NOTE FLAGS(4);
}

/* Load addresses are physical: link address less DIRECT_MAP. */
SECTIONS
{
	. = DIRECT_MAP + KERNEL_LOAD;
	start_physical = _start - DIRECT_MAP;

	_image_start = .;
	.text : AT(ADDR(.text) - DIRECT_MAP) {
		_text = .;
		*(.head.text)
		*(.text.vectors)
		*(.text .text.* .sfpr)
		_etext = .;
	} :load
	.notes : AT(ADDR(.notes) - DIRECT_MAP) {
		KEEP(*(.note.gnu.build-id))
	} :load :note
	.rodata : AT(ADDR(.rodata) - DIRECT_MAP) {
		*(.rodata .rodata.* .sdata2)
	} :load

	. = ALIGN(4096);
	__init_begin = .;
	.init.text : AT(ADDR(.init.text) - DIRECT_MAP) {
		*(.init.text)
	} :load
	.init.data : AT(ADDR(.init.data) - DIRECT_MAP) {
		*(.init.data)
	} :load
	. = ALIGN(4096);
	__init_end = .;

	.data : AT(ADDR(.data) - DIRECT_MAP) {
		*(.data .data.* .sdata)
	} :load
	/* of 64 bits: descriptors of functions, and the table of contents */
	.opd : AT(ADDR(.opd) - DIRECT_MAP) {
		*(.opd)
	} :load
	.got : AT(ADDR(.got) - DIRECT_MAP) {
		*(.got .toc .got2)
	} :load
	.bss : AT(ADDR(.bss) - DIRECT_MAP) {
		__bss_start = .;
		*(.bss .bss.* .sbss COMMON)
		. = ALIGN(4096);
		__bss_end = .;
	} :load
	_image_end = .;

#ifdef CONFIG_LMB_KLIMIT
	/*
	 * The page after the BSS: inside the image's size in memory, so that no
	 * loader puts anything there, but not cleared and not reserved with it.
	 */
	.klimit (NOLOAD) : AT(ADDR(.klimit) - DIRECT_MAP) {
		__klimit = .;
		. += 4096;
	} :load
#endif
	_end = .;

	/DISCARD/ : {
		*(.comment .eh_frame .gnu.attributes .note.GNU-stack)
	}

	/* the linker makes these up; nobody would fill them in, so they must be empty */
	.plt : { *(.plt) *(.plt.*) *(.iplt) *(.glink) *(.branch_lt) }
	ASSERT(SIZEOF(.plt) == 0, "unexpected .plt")
	.rela.dyn : { *(.rela.*) *(.rela_*) }
	ASSERT(SIZEOF(.rela.dyn) == 0, "unexpected .rela")

	.debug_aranges 0 : { *(.debug_aranges) }
	.debug_info 0 : { *(.debug_info) }
	.debug_abbrev 0 : { *(.debug_abbrev) }
	.debug_line 0 : { *(.debug_line) }
	.debug_line_str 0 : { *(.debug_line_str) }
	.debug_frame 0 : { *(.debug_frame) }
	.debug_str 0 : { *(.debug_str) }
	.debug_loclists 0 : { *(.debug_loclists) }
	.debug_rnglists 0 : { *(.debug_rnglists) }
}
