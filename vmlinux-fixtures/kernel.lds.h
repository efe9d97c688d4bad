/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The linker script, with what the architecture defines before:
 *
 *	KERNEL_MAP	the virtual address of physical 0 where the image is mapped
 *	KERNEL_LOAD	the physical address of the image
 *
 * It has OUTPUT_ARCH() and ENTRY() itself, and sections of its own:
 *	.early_page_tables	in front of the image
 *	.head.text		the image begins with it
 *	.note.boot		notes for the boot loader
 */

PHDRS
{
	load PT_LOAD FLAGS(7);
	note PT_NOTE FLAGS(4);
}

/* Load addresses are physical: link address less KERNEL_MAP. */
SECTIONS
{
	. = KERNEL_MAP + KERNEL_LOAD;

	/* in front of the image: both are reserved, and become one region */
	__early_page_tables_start = .;
	.early_page_tables : AT(ADDR(.early_page_tables) - KERNEL_MAP) {
		*(.early_page_tables)
	} :load
	. = ALIGN(4096);
	__early_page_tables_end = .;

	_image_start = .;
	.text : AT(ADDR(.text) - KERNEL_MAP) {
		_text = .;
		*(.head.text)
		*(.text .text.* .sfpr)
		. = ALIGN(4096);
		*(.stops.text)
		_etext = .;
	} :load
	.notes : AT(ADDR(.notes) - KERNEL_MAP) {
		KEEP(*(.note.boot))
		KEEP(*(.note.gnu.build-id))
	} :load :note
	.rodata : AT(ADDR(.rodata) - KERNEL_MAP) {
		*(.rodata .rodata.* .sdata2)
	} :load

	. = ALIGN(4096);
	__init_begin = .;
	.init.text : AT(ADDR(.init.text) - KERNEL_MAP) {
		*(.init.text)
	} :load
	.init.data : AT(ADDR(.init.data) - KERNEL_MAP) {
		*(.init.data)
	} :load
	. = ALIGN(4096);
	__init_end = .;

	.data : AT(ADDR(.data) - KERNEL_MAP) {
		*(.data .data.* .sdata)
	} :load
	/* descriptors of functions, which a debugger looks for under this name */
	.opd : AT(ADDR(.opd) - KERNEL_MAP) {
		*(.opd)
	} :load
	.bss : AT(ADDR(.bss) - KERNEL_MAP) {
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
	.klimit (NOLOAD) : AT(ADDR(.klimit) - KERNEL_MAP) {
		__klimit = .;
		. += 4096;
	} :load
#endif
	_end = .;

	/DISCARD/ : {
		*(.comment .eh_frame .*.attributes .note.gnu.property .note.GNU-stack)
	}

	/* the linker makes these up; nobody would fill them in, so they must be empty */
	.got.plt (INFO) : { *(.got.plt) }
	ASSERT(SIZEOF(.got.plt) == 0 || SIZEOF(.got.plt) == 0x18, "unexpected .got.plt")
	.got : { *(.got .got2 .toc) *(.igot*) }
	ASSERT(SIZEOF(.got) == 0, "unexpected .got")
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
