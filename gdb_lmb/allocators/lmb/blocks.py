# SPDX-License-Identifier: GPL-2.0-or-later
"""The storage of the list-based LMB: the chain of blocks, each read whole, as far as it can be believed.

Mirrors lmb_blocks.c. What a header says is compared with what must hold; where two sources contradict
each other, the more believable value is used and a `Defect` reports it.
"""

from __future__ import annotations

from array import array
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass

from gdb_lmb.allocators.lmb.program import REGION_FIELDS, LmbProgram
from gdb_lmb.allocators.lmb.storage import Block
from gdb_lmb.core.errors import ReadError
from gdb_lmb.core.memory import Memory
from gdb_lmb.core.snapshot import Defect

# More blocks than any machine needs (600,000 regions in blocks of 256 bytes): the block chain's bound.
MAX_BLOCKS = 1 << 17

# Entries are turned into columns in pieces of about this size: their bytes need not all be held at once.
CHUNK_BYTES = 64 << 10

# What all blocks together may hold (1.6 million entries): a damaged size must not fill our own memory.
MAX_STORAGE_BYTES = 64 << 20

MAX_STATIC_ENTRIES = 1 << 16
MAX_DEFECTS = 1000

# Headers looked at, from either end of the chain, where the size of a block is in doubt.
MAX_SAMPLES = 8


@dataclass(frozen=True)
class Head:
    """A list's head: its own address and its two links."""

    va: int
    next_va: int
    prev_va: int


class Storage:
    """Walks the chain of blocks and reads each one whole."""

    def __init__(self, program: LmbProgram, memory: Memory) -> None:
        self.program = program
        self.memory = memory
        self.blocks: list[Block] = []
        self.defects: list[Defect] = []
        self.block_size = 0
        self.sane = False
        self._raw = bytearray()
        self._columns = program.region.columns(b"", REGION_FIELDS, program.byte_order)
        self._bytes_read = 0
        self._link = program.block.fields["link.next"].offset

    def defect(self, what: str, *addresses: int) -> None:
        """Report damage of the storage; `addresses` are virtual unless the text says otherwise."""
        if len(self.defects) < MAX_DEFECTS:
            self.defects.append(Defect(what, addresses))

    def settle_block_size(self, head: Head, stored: int, logged: int | None) -> None:
        """Choose the size in bytes of grown blocks: `lmb.block_size`, unless other sources agree on another one.

        With a wrong size every block would be misread, so `lmb_init()`'s log record is compared and, where that
        differs, the sizes that some headers' `nr` imply.
        """
        self.block_size, self.sane = stored, self._is_size(stored)
        if not self.sane or stored != logged:
            samples = self._sampled_sizes(head, stored)
            votes = Counter(filter(self._is_size, samples if logged is None else [*samples, logged]))
            # One source alone does not refute a size that could be right: it may itself be damaged.
            size, most = votes.most_common(1)[0] if votes else (stored, 0)
            alone = not samples and logged is not None
            if most > votes[stored] + (1 if self.sane and not alone else 0):
                self.block_size, self.sane = size, True
        if not self._is_size(stored):
            self.defect(f"block_size is {stored:#x}, which is no power of two that holds two entries")
        elif self.block_size != stored:
            self.defect(f"block_size is {stored:#x}, but the blocks were made with {self.block_size:#x}")

    # What `lmb_init()` takes for a block, which must also fit into the address space.
    def _is_size(self, size: int) -> bool:
        smallest = self.program.header_size + 2 * self.program.region.size
        return smallest <= size < 1 << self.program.bits - 1 and not size & (size - 1)

    # The sizes that the `nr` of some headers imply, from both ends of the chain. One that agrees is enough.
    def _sampled_sizes(self, head: Head, stored: int) -> list[int]:
        program = self.program
        sizes: dict[int, int] = {}
        for link, node_va in (("link.prev", head.prev_va), ("link.next", head.next_va)):
            for _ in range(MAX_SAMPLES):
                header_va = node_va - self._link
                if node_va == head.va or node_va in sizes or header_va < 0 or header_va % program.block.align:
                    break
                try:
                    raw = self.memory.read(header_va, program.block.size)
                except ReadError:
                    break
                sizes[node_va] = 0
                if self._header(raw, "entries") == header_va + program.header_size and node_va != head.next_va:
                    need = program.header_size + self._header(raw, "nr") * program.region.size
                    size = 1 << (need - 1).bit_length()
                    if need > size - program.region.size:
                        sizes[node_va] = size
                    if size == stored:
                        return [stored]
                node_va = self._header(raw, link)
        return [size for size in sizes.values() if size]

    def walk_chain(self, head: Head, first_entries: int | None) -> None:
        """Read every block of the chain; where a link is bad, walk it backward too."""
        seen: set[int] = set()
        chain: list[tuple[int, bytes]] = []
        found, damage = self._follow(head.va, head.va, head.next_va, "link.next", seen)
        before = head.va
        for node_va, raw in found:
            chain += (*self._missed(head.va, before, node_va, self._header(raw, "link.prev"), seen), (node_va, raw))
            before = node_va
        if damage:
            rest, other = self._follow(head.va, head.va, head.prev_va, "link.prev", seen)
            self.defects += filter(None, (damage, other))
            chain += reversed(rest)
        else:
            chain += self._missed(head.va, before, head.va, head.prev_va, seen)
        before = head.va
        for number, (node_va, raw) in enumerate(chain):
            if self._header(raw, "link.prev") != before and not damage:
                self.defect(f"block {number}'s prev link does not lead to its predecessor", node_va)
            before = node_va
            self._take(number, node_va, raw, first_entries)
        if not damage and head.prev_va != before:
            self.defect("the block list's head does not lead back to the last block", head.va)

    # The blocks between two that a next link leads past: the prev link of the one behind them leads to the last of
    # them, which knows one of the two.
    def _missed(
        self, head_va: int, before_va: int, after_va: int, prev_va: int, seen: set[int]
    ) -> list[tuple[int, bytes]]:
        run = self._follow(head_va, after_va, prev_va, "link.prev", seen)[0][::-1]
        if not run:
            return []
        if self._header(run[-1][1], "link.next") != after_va and self._header(run[0][1], "link.prev") != before_va:
            return []
        self.defect(f"the block list's next links miss {len(run)} of its blocks", before_va)
        return run

    def columns(self) -> list[array[int]]:
        """Return the columns of `REGION_FIELDS` over the entries of all blocks taken so far."""
        more = self.program.region.columns(self._raw, REGION_FIELDS, self.program.byte_order)
        for column, part in zip(self._columns, more, strict=True):
            column.extend(part)
        self._raw.clear()
        return self._columns

    def _header(self, raw: bytes, name: str) -> int:
        return self.program.block.value(raw, name, self.program.byte_order)

    # Follow one link of the headers: (node address, bytes) of each, and why the head did not come back.
    def _follow(
        self, head_va: int, came_from: int, node_va: int, link: str, seen: set[int]
    ) -> tuple[list[tuple[int, bytes]], Defect | None]:
        found: list[tuple[int, bytes]] = []
        back = "link.prev" if link == "link.next" else "link.next"
        while node_va != head_va:
            if node_va in seen:
                circle = any(node_va == va for va, _ in found)  # else the other walk has been there
                what = f"the block list's {link[5:]} links run in a circle"
                return found, Defect(what, (node_va,)) if circle else None
            if len(seen) >= MAX_BLOCKS:
                return found, Defect(f"the block list is longer than {MAX_BLOCKS} blocks", (node_va,))
            if self.block_size <= MAX_STORAGE_BYTES < self._bytes_read + self.block_size:
                return found, Defect(f"the block list holds more than {MAX_STORAGE_BYTES} bytes", (node_va,))
            first = link == "link.next" and not found
            raw = self._read_block(node_va - self._link, head_va, back, came_from, first=first)
            if raw is None:
                return found, Defect(f"the block list's {link[5:]} link leads to no block header", (node_va,))
            seen.add(node_va)
            found.append((node_va, raw))
            came_from, node_va = node_va, self._header(raw, link)
        return found, None

    # The bytes of a block from its header on, None if there is no block header: its place in the chain (the link
    # `back` must lead to `came_from`) or its contents must show it.
    # A grown block is read whole in this one request; of block 0 only the header is known to lie here.
    def _read_block(self, header_va: int, head_va: int, back: str, came_from: int, *, first: bool) -> bytes | None:
        program = self.program
        if header_va < 0 or header_va % program.block.align:
            return None
        raw = None
        if not first and self.sane and self._bytes_read + self.block_size <= MAX_STORAGE_BYTES:
            raw = self._try_read(header_va, self.block_size)
        raw = raw or self._try_read(header_va, program.block.size)
        if raw is None:
            return None
        entries_va = self._header(raw, "entries")
        believable = (
            # Block 0: one of two signs is enough, since the other may be damaged.
            self._header(raw, "link.prev") == head_va
            or (program.static_entries is not None and entries_va == program.static_entries[0])
            or entries_va == header_va + program.header_size
            or self._header(raw, back) == came_from
        )
        if not believable and not first:
            nr = (self.block_size - program.header_size) // program.region.size
            believable = not self.sane or self._header(raw, "nr") == nr
        return raw if believable else None

    def _try_read(self, address: int, size: int) -> bytes | None:
        with suppress(ReadError):
            raw = self.memory.read(address, size)
            self._bytes_read += size
            return raw
        return None

    # Turn a header into a `Block` and lay its entries behind the others.
    def _take(self, number: int, node_va: int, raw: bytes, first_entries: int | None) -> None:
        program, entry_size = self.program, self.program.region.size
        header_va = node_va - self._link
        base, nr, entries_va = (self._header(raw, name) for name in ("base", "nr", "entries"))
        should_va, size = header_va + program.header_size, None
        # A grown block may come first if the link to block 0 is lost; a static block can only be block 0.
        static = number == 0 and entries_va != should_va and (program.static_entries is not None or not base)
        if static:
            should_va, most = program.static_entries or (entries_va, MAX_STATIC_ENTRIES)
            counted = self._count_static(nr, first_entries, should_va, most)
            if counted is None:
                self.defect(f"block 0 says it has {nr} entries, and nothing tells how many there are", header_va)
            nr, should_nr = (0, 0) if counted is None else (nr, counted)
            if base:
                self.defect(f"block 0 says that it lies at {base:#x}, but it is the static array", header_va)
        else:
            klimit = number == 0 and not program.static_entries
            size = program.page_size if klimit else self.block_size
            should_nr = (size - program.header_size) // entry_size
            if not klimit and not self.sane:
                should_nr = min(nr, MAX_STORAGE_BYTES // entry_size)
                size = program.header_size + should_nr * entry_size
            if not base:
                self.defect(f"block {number} has no physical address", header_va)
        if nr != should_nr:
            self.defect(f"block {number} says it has {nr} entries, but it has {should_nr}", header_va)
        if entries_va != should_va:
            says = f"block {number} says its entries are at {entries_va:#x}"
            self.defect(f"{says}, but they are at {should_va:#x}", header_va)
        data = self._entries_of(number, raw, header_va, should_va, should_nr * entry_size)
        self._raw += data or b""
        if len(self._raw) > CHUNK_BYTES:
            self.columns()
        # The allocator never gives address 0 away.
        known = not static and base != 0
        kept = len(data or b"") // entry_size
        self.blocks.append(Block(base if known else None, kept, static, size if known else None, header_va, should_va))

    # The bytes of a block's entries, from what was read with its header where they lie in it.
    def _entries_of(self, number: int, raw: bytes, header_va: int, start_va: int, need: int) -> bytes | None:
        start = start_va - header_va
        if not need or (start > 0 and start + need <= len(raw)):
            return raw[start : start + need] if need else b""
        data = None
        if self._bytes_read + need > MAX_STORAGE_BYTES:
            self.defect(f"the entries of block {number} ({need:#x} bytes) are more than is ever read", start_va)
        elif (data := self._try_read(start_va, need)) is None:
            self.defect(f"the entries of block {number} cannot be read", start_va)
        return data

    # How many entries of the static array are in use: the header and the log say so; where they differ the array
    # itself decides, as an entry that was never queued has no links. None where nothing tells.
    def _count_static(self, nr: int, logged: int | None, start_va: int, most: int) -> int | None:
        likely = [n for n in (nr, logged) if n is not None and 2 <= n <= most]
        if nr == logged and likely:
            return nr
        if self.program.static_entries is None:
            return likely[0] if likely else None
        used = self._linked(start_va, most)
        return used if used >= 2 else likely[0] if likely else most

    def has_linked(self) -> bool:
        """Tell whether entries of the static array have links, which `lmb_init()` gives them."""
        return self.program.static_entries is not None and self._linked(*self.program.static_entries) > 0

    # How many entries of the static array there are up to the last one with links.
    def _linked(self, start_va: int, most: int) -> int:
        region = self.program.region
        raw = self._try_read(start_va, most * region.size)
        links = region.columns(raw or b"", ("link.next", "link.prev"), self.program.byte_order)
        return max((slot + 1 for slot, pair in enumerate(zip(*links, strict=True)) if any(pair)), default=0)
