# SPDX-License-Identifier: GPL-2.0-or-later
"""What a program with a list-based LMB looks like: its structures and where it keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import PurePath

from gdb_lmb.core.errors import ReadError
from gdb_lmb.core.fields import ByteOrder, Struct
from gdb_lmb.core.machine import Machine
from gdb_lmb.core.memory import Memory
from gdb_lmb.formats.program_file import loaded_parts

# In bytes, where the program does not tell (it is a macro, and debug information has none).
PAGE_SIZE = 4096

MIN_PAGE_SIZE, MAX_PAGE_SIZE = 1 << 10, 1 << 20

LMB_FIELDS = (
    "memory.regions.next", "memory.regions.prev", "memory.cnt", "memory.total_size",
    "reserved.regions.next", "reserved.regions.prev", "reserved.cnt", "reserved.total_size",
    "freelist.next", "freelist.prev", "nr_free", "blocks.next", "blocks.prev", "nr_blocks",
    "block_size", "current_limit", "bottom_up", "may_grow", "closed",
)  # fmt: skip
REGION_FIELDS = ("link.next", "link.prev", "base", "size", "flags")


@dataclass(frozen=True)
class Table:
    """A counted array in the guest: a structure with a counter and an array of records.

    `va` is the structure's virtual address, `nr` its counter, and `items` names the array.
    """

    va: int
    struct: Struct
    record: Struct
    items: str


@dataclass(frozen=True)
class LmbProgram:
    """Where a program keeps its LMB and what its structures look like; addresses are virtual.

    `static_entries` is (address, number) of the static array where the program has one; `ops` maps
    `enum lmb_op` to operation names. Tables that the program lacks are None. `page_size` is in bytes. `image` is where
    the program is loaded, part by part; empty where that is not known.
    """

    arch: str
    byte_order: ByteOrder
    lmb_va: int
    lmb: Struct
    region: Struct
    block: Struct
    page_size: int
    static_entries: tuple[int, int] | None = None
    log: Table | None = None
    ops: Mapping[int, str] | None = None
    handover: Table | None = None
    firmware: Table | None = None
    image: tuple[range, ...] = ()

    # Every member that the decoder uses exists, or `LayoutError`.
    def __post_init__(self) -> None:
        self.lmb.require(*LMB_FIELDS)
        self.region.require(*REGION_FIELDS)
        self.block.require("link.next", "link.prev", "base", "nr", "entries")

    def revision(self, raw: bytes) -> int:
        """Return the revision of the design that a `struct lmb`, read whole, says it is of."""
        return self.lmb.value(raw, "revision", self.byte_order) if "revision" in self.lmb.fields else 1

    @property
    def bits(self) -> int:
        """Return the width of `phys_addr_t`."""
        return 8 * self.region.fields["base"].size

    @property
    def header_size(self) -> int:
        """Return the bytes before the first entry of a grown block."""
        return -(-self.block.size // self.region.align) * self.region.align


def find_lmb(machine: Machine) -> LmbProgram | None:
    """Return the LMB in the debugger's symbols, None where there is none. Raises: `LayoutError` for an unknown one."""
    lmb = machine.variable("lmb")
    if lmb is None:
        return None
    region = machine.struct("struct lmb_region")
    static = machine.variable("lmb_static_entries")
    log = _table(machine, "lmb_log", "ring")
    ops = {} if log is None else machine.enum("lmb_log", "ring.op")
    return LmbProgram(
        arch=machine.arch,
        byte_order=machine.byte_order,
        lmb_va=lmb.address,
        lmb=machine.struct("lmb"),
        region=region,
        block=machine.struct("struct lmb_block"),
        page_size=PAGE_SIZE,
        static_entries=None if static is None else (static.address, static.size // region.size),
        log=log,
        ops={value: name.removeprefix("LMB_OP_").lower() for value, name in ops.items()} or None,
        handover=_table(machine, "lmb_handover", "ranges"),
        firmware=_table(machine, "firmware_map", "ranges"),
        image=tuple(range(part.va, part.va + part.memory_size) for part in loaded_parts(lmb.program))
        if lmb.program is not None
        else (),
    )


def with_page_size(machine: Machine, program: LmbProgram, memory: Memory) -> LmbProgram:
    """Return `program` with the page size that the variable `lmb_page_size` tells, if it tells a possible one."""
    found = machine.variable("lmb_page_size")
    if found is None:
        return program
    with suppress(ReadError):
        size = int.from_bytes(memory.read(found.address, found.size), program.byte_order)
        # What is no page size in a damaged guest would be divided by.
        if MIN_PAGE_SIZE <= size <= MAX_PAGE_SIZE and not size & (size - 1):
            return replace(program, page_size=size)
    return program


def torn_in(machine: Machine) -> str | None:
    """Return the LMB function that the selected CPU is in, or None.

    An LMB function is one defined in the source file that defines `lmb`, or in one beside it whose
    name begins with that file's ("lmb.c": also "lmb_find.c").
    """
    source = machine.source("lmb_init") or machine.source("lmb")
    if source is None:
        return None
    own = PurePath(source)
    for function in machine.functions_on_stack():
        if function.file is None:
            continue
        file = PurePath(function.file)
        beside = (file.parent, file.suffix) == (own.parent, own.suffix) and file.name.startswith(f"{own.stem}_")
        if file == own or beside:
            return function.name
    return None


def _table(machine: Machine, name: str, items: str) -> Table | None:
    found = machine.variable(name)
    return None if found is None else Table(found.address, machine.struct(name), machine.struct(name, items), items)
