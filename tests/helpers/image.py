# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest's memory made by hand: C structures laid out for any word size and byte order.

The layout rules (natural alignment) and the writing of links are this file's own, so that decoding the
image proves something about the decoder.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from gdb_lmb.allocators.lmb.model import LmbModel
from gdb_lmb.allocators.lmb.program import LmbProgram, Table
from gdb_lmb.core.errors import ReadError
from gdb_lmb.core.fields import Field, Struct
from gdb_lmb.core.operation import Operation

OPS = (
    "init", "add", "remove", "reserve", "free", "alloc", "allow_growth", "set_limit", "set_bottom_up", "free_all",
    "mark", "clear", "enforce_limit",
)  # fmt: skip


def c_struct(name: str, members: list[tuple[str, int | Struct]]) -> Struct:
    """Lay out members (a size in bytes, or a structure) as a C compiler does on the usual ABIs."""
    fields: dict[str, Field] = {}
    offset, widest = 0, 1
    for member, kind in members:
        size, align = (kind.size, kind.align) if isinstance(kind, Struct) else (kind, kind)
        offset = -(-offset // align) * align
        if isinstance(kind, Struct):
            for inner, place in kind.fields.items():
                fields[f"{member}.{inner}"] = Field(offset + place.offset, place.size)
        else:
            fields[member] = Field(offset, size)
        offset += size
        widest = max(widest, align)
    return Struct(name, -(-offset // widest) * widest, fields, widest)


@dataclass(frozen=True)
class Abi:
    """A machine: pointer and phys_addr_t in bytes, byte order; whether links are the last members of what they link."""

    pointer: int = 8
    phys: int = 8
    order: Literal["little", "big"] = "little"
    links_last: bool = False

    @property
    def bits(self) -> int:
        return 8 * self.phys

    def structs(self, revision: int = 1) -> tuple[Struct, Struct, Struct]:
        """Return struct lmb, lmb_region, lmb_block; the first says its revision from the second on."""
        p, a = self.pointer, self.phys
        link = c_struct("list_head", [("next", p), ("prev", p)])
        region, block = (
            c_struct(name, [*members, ("link", link)] if self.links_last else [("link", link), *members])
            for name, members in (
                ("lmb_region", [("base", a), ("size", a), ("flags", 4)]),
                ("lmb_block", [("base", a), ("nr", p), ("entries", p)]),
            )
        )
        kind = c_struct("lmb_type", [("regions", link), ("cnt", p), ("total_size", a), ("name", p)])
        lmb = c_struct(
            "lmb",
            [("memory", kind), ("reserved", kind), ("freelist", link), ("nr_free", p), ("blocks", link),
             ("nr_blocks", p), ("block_size", p), ("current_limit", a), ("bottom_up", 1), ("may_grow", 1),
             ("closed", 1), *([("revision", 4)] if revision > 1 else [])],
        )  # fmt: skip
        return lmb, region, block


ABIS = {
    "x86_64": Abi(),
    "ppc64": Abi(order="big"),
    "ppc32": Abi(4, 4, "big"),
    "ppc32-phys64": Abi(4, 8, "big"),
    "i386-pae": Abi(4, 8),
    "i386": Abi(4, 4),
}
LINKS_LAST = Abi(links_last=True)


@dataclass
class Image:
    """Writable segments of guest memory at virtual addresses, and the program that lives in them."""

    abi: Abi
    program: LmbProgram
    segments: dict[int, bytearray] = field(default_factory=dict)
    lists: dict[str, list[int]] = field(default_factory=dict)
    reads: int = 0

    def read(self, address: int, size: int) -> bytes:
        """Read like a guest: any range inside one segment."""
        self.reads += 1
        for base, data in self.segments.items():
            if base <= address and address + size <= base + len(data):
                return bytes(data[address - base : address - base + size])
        raise ReadError(address, size, "no such memory")

    def write(self, address: int, data: bytes) -> None:
        """Write inside one segment."""
        for base, segment in self.segments.items():
            if base <= address and address + len(data) <= base + len(segment):
                segment[address - base : address - base + len(data)] = data
                return
        raise AssertionError(f"nothing at {address:#x}")

    def put(self, struct: Struct, address: int, name: str, value: int) -> None:
        """Store a member of the structure at `address`."""
        place = struct.fields[name]
        self.write(address + place.offset, value.to_bytes(place.size, self.abi.order))

    def get(self, struct: Struct, address: int, name: str) -> int:
        """Return a member of the structure at `address`."""
        place = struct.fields[name]
        return int.from_bytes(self.read(address + place.offset, place.size), self.abi.order)

    # short forms for tests that damage the image
    def lmb(self, name: str, value: int | None = None) -> int:
        """Get, or set, a member of struct lmb."""
        if value is not None:
            self.put(self.program.lmb, self.program.lmb_va, name, value)
        return self.get(self.program.lmb, self.program.lmb_va, name)

    def entry(self, address: int, name: str, value: int | None = None) -> int:
        """Get, or set, a member of the entry at `address`."""
        if value is not None:
            self.put(self.program.region, address, name, value)
        return self.get(self.program.region, address, name)

    def head(self, which: str) -> int:
        """Return the address of a list's head."""
        return self.program.lmb_va + self.program.lmb.fields[f"{which}.next"].offset

    def members(self, which: str) -> list[int]:
        """Return the addresses of a list's entries, as they were built."""
        return self.lists[which]


HIGH = {4: 0xC0000000, 8: 0xFFFFFFFF80000000}
"""Where a kernel image lies, by pointer size; static storage lies at these offsets from there."""

STATIC_HEADER, STATIC_ENTRIES = 0x2000, 0x4000
LOG_RECORDS = 256

Logged = list[tuple[Operation, int]]
"""Operations and what they returned: 0, a negative errno, alloc's base or free_all's pages."""


def build(
    model: LmbModel, abi: Abi, firmware: list[tuple[int, int, int]] | None = None, log: Logged | None = None
) -> Image:
    """Write the model's state as a guest's memory, with the operation log that led to it if there is one."""
    lmb, region, block = abi.structs(model.config.revision)
    high = HIGH[abi.pointer]
    lmb_va, static_va, header_va, table_va = high + 0x1000, high + STATIC_ENTRIES, high + STATIC_HEADER, high + 0x100000
    direct = 0x40000000 if abi.pointer == 4 else 0xFFFF888000000000
    static_nr = model.blocks[0][2] if not model.blocks[0][1] else 0
    record = c_struct("firmware_range", [("base", 8), ("size", 8), ("type", 4)])
    ranges = 32 * record.size
    table = Struct("firmware_map", ranges + 8, {"ranges": Field(0, ranges), "nr": Field(ranges, 4)})
    given = c_struct("lmb_range", [("base", abi.phys), ("size", abi.phys)])
    handover = Struct(
        "lmb_handover", 8 + 512 * given.size, {"nr": Field(0, abi.pointer), "ranges": Field(8, 512 * given.size)}
    )
    program = LmbProgram(
        arch="test",
        byte_order=abi.order,
        lmb_va=lmb_va,
        lmb=lmb,
        region=region,
        block=block,
        page_size=4096,
        static_entries=(static_va, static_nr) if static_nr else None,
        handover=Table(table_va + 0x10000, handover, given, "ranges"),
        firmware=Table(table_va, table, record, "ranges") if firmware is not None else None,
    )
    if log is not None:
        program = replace(program, log=_log_table(abi, table_va + 0x20000), ops=dict(enumerate(OPS)))
    image = Image(abi, program)
    image.segments[lmb_va] = bytearray(lmb.size)
    image.segments[header_va] = bytearray(block.size)
    image.segments[table_va] = bytearray(table.size)
    image.segments[table_va + 0x10000] = bytearray(handover.size)
    image.segments[static_va] = bytearray(max(static_nr, 1) * region.size)

    headers, entries = [], []
    for base, size, nr in model.blocks:
        if base is not None and size is not None:
            image.segments[direct + base] = bytearray(size)
            headers.append(direct + base)
            first = direct + base + -(-block.size // region.align) * region.align
        else:
            headers.append(header_va)
            first = static_va
        image.put(block, headers[-1], "base", 0 if base is None else base)
        image.put(block, headers[-1], "nr", nr)
        image.put(block, headers[-1], "entries", first)
        entries += [first + slot * region.size for slot in range(nr)]
    _link(image, lmb, "blocks", headers, block)
    for name, columns in (("memory", model.memory), ("reserved", model.reserved)):
        nodes = [entries[index] for index in columns.entry]
        image.lists[f"{name}.regions"] = nodes
        _link(image, lmb, f"{name}.regions", nodes, region)
        for node, base, end, flags in zip(nodes, columns.base, columns.end, columns.flags, strict=True):
            image.put(region, node, "base", base)
            image.put(region, node, "size", end - base)
            image.put(region, node, "flags", flags)
        image.lmb(f"{name}.cnt", len(nodes))
        image.lmb(f"{name}.total_size", sum(columns.end) - sum(columns.base))
    image.lists["freelist"] = [entries[index] for index in model.free_entries]
    _link(image, lmb, "freelist", image.lists["freelist"], region)
    image.lmb("nr_free", len(model.free_entries))
    image.lmb("nr_blocks", len(model.blocks))
    image.lmb("block_size", model.config.block_size)
    image.lmb("current_limit", model.current_limit)
    for name in ("bottom_up", "may_grow", "closed"):
        image.lmb(name, int(getattr(model, name)))
    if model.config.revision > 1:
        image.lmb("revision", model.config.revision)
    for at, (base, size, kind) in enumerate(firmware or []):
        where = table_va + at * record.size
        for name, value in (("base", base), ("size", size), ("type", kind)):
            image.put(record, where, name, value)
        image.put(table, table_va, "nr", at + 1)
    for at, (base, end) in enumerate(model.handover or ()):
        where = table_va + 0x10000 + 8 + at * given.size
        image.put(given, where, "base", base)
        image.put(given, where, "size", end - base)
        image.put(handover, table_va + 0x10000, "nr", at + 1)
    if log is not None and program.log is not None:
        _write_log(image, program.log, model, log)
    return image


def _log_table(abi: Abi, va: int) -> Table:
    p, a = abi.pointer, abi.phys
    members: list[tuple[str, int | Struct]] = [("op", 4), ("flags", 4), ("error", 4)]
    members += [(name, a) for name in ("base", "size", "align", "min", "max", "result")]
    record = c_struct("lmb_log_record", [*members, ("caller", p)])
    error = replace(record.fields["error"], signed=True)
    record = replace(record, fields={**record.fields, "error": error})
    size = LOG_RECORDS * record.size
    return Table(va, Struct("lmb_log", 8 + size, {"nr": Field(0, p), "ring": Field(8, size)}), record, "ring")


def _write_log(image: Image, table: Table, model: LmbModel, log: Logged) -> None:
    """Write `lmb_init()` as record 0, then the operations; the ring must be large enough."""
    config = model.config
    image.segments[table.va] = bytearray(table.struct.size)
    init = {"base": config.klimit or 0, "size": config.block_size, "align": config.header_size,
            "min": config.entry_size, "max": model.blocks[0][2], "flags": config.bits}  # fmt: skip
    rows: list[dict[str, int]] = [init]
    for operation, got in log:
        row = {name: getattr(operation, name) for name in ("base", "size", "flags", "align", "min", "max")}
        rows.append({**row, "op": OPS.index(operation.op), "error": min(got, 0), "result": max(got, 0)})
    assert len(rows) <= LOG_RECORDS
    for at, row in enumerate(rows):
        where = table.va + table.struct.fields["ring"].offset + at * table.record.size
        for name, value in {**row, "caller": 0x80001000 + at}.items():
            image.put(table.record, where, name, value % (1 << 8 * table.record.fields[name].size))
    image.put(table.struct, table.va, "nr", len(rows))


def _link(image: Image, lmb: Struct, head: str, nodes: list[int], struct: Struct) -> None:
    """Close a circular list over structures with a `link`."""
    head_va = image.program.lmb_va + lmb.fields[f"{head}.next"].offset
    link = struct.fields["link.next"].offset
    ring = [head_va, *(node + link for node in nodes)]
    for at, node in enumerate(ring):
        ahead, behind = ring[(at + 1) % len(ring)], ring[at - 1]
        if at:
            image.put(struct, node - link, "link.next", ahead)
            image.put(struct, node - link, "link.prev", behind)
        else:
            image.lmb(f"{head}.next", ahead)
            image.lmb(f"{head}.prev", behind)
