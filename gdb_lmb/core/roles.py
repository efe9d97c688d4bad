# SPDX-License-Identifier: GPL-2.0-or-later
"""What memory is for."""

from __future__ import annotations

from enum import Enum


class Role(Enum):
    """What a range of physical memory is for, in the words of `lmb-who`."""

    IMAGE = "kernel image"
    TEXT = "kernel image: text"
    INIT_TEXT = "kernel image: init text"
    RODATA = "kernel image: read-only data"
    DATA = "kernel image: data"
    INIT = "kernel image: init, freed after boot"
    BSS = "kernel image: bss"
    BRK = "kernel image: brk"
    EARLY_PAGE_TABLES = "kernel image: early page tables"
    PAGE_TABLES = "page tables"
    STACK = "boot stack"
    INITRD = "initrd"
    LOADED_INITRD = "initrd, where the boot loader put it"
    DEVICE_TREE = "device tree"
    COMMAND_LINE = "command line"
    BOOT_DATA = "boot loader's data"
    PER_CPU = "per-CPU area"
    MEMORY_MAP = "memory map (struct page)"
    NODE = "node's data (pg_data_t)"
    FIRST_MIB = "the first MiB"
    FIRMWARE = "firmware"
