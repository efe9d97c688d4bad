# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's own printouts, byte for byte: `lmb_dump_all()` and Linux's `memblock_dump_all()`."""

from __future__ import annotations

from gdb_lmb.allocators.base import allocator
from gdb_lmb.core.errors import LmbError
from gdb_lmb.core.snapshot import RegionList, Snapshot
from gdb_lmb.core.words import address


def _hash_hex(value: int) -> str:
    return f"{value:#x}"


def _lines(regions: RegionList, bits: int, no_node: int | None = None) -> list[str]:
    lines = [f" {regions.name}.cnt  = {_hash_hex(regions.cnt)}"]
    for at, region in enumerate(regions.regions()):
        node = _node(regions, at, no_node)
        low, high = address(region.base, bits), address((region.end - 1) & ((1 << bits) - 1), bits)
        lines.append(
            f" {regions.name}[{_hash_hex(at)}]\t[{low}-{high}], {address(region.size, bits)} bytes{node} "
            f"flags: {_hash_hex(region.flags)}"
        )
    return lines


def _node(regions: RegionList, at: int, no_node: int | None) -> str:
    """Return " on node N" where the kernel prints it: for a valid node only."""
    if no_node is None or at >= len(regions.nid) or not 0 <= regions.nid[at] < no_node:
        return ""
    return f" on node {regions.nid[at]}"


def kernel_text(snapshot: Snapshot) -> str:
    """Return what the kernel's own dump prints in this state, without time stamps.

    Raises: `LmbError` where a list is not true any more.
    Source: `lmb_dump_all()` in lmb_handover.c; `__memblock_dump_all()` in mm/memblock.c.
    """
    for name, why in snapshot.refused.items():
        raise LmbError(f"the kernel's own dump cannot be shown any more: {name}: {why}")
    bits = snapshot.bits
    sizes = (
        f" memory size = {address(snapshot.memory.total_size, bits)} "
        f"reserved size = {address(snapshot.reserved.total_size, bits)}"
    )
    title = f"{allocator(snapshot.layout).title.upper()} configuration:"
    lines = [title, sizes]
    for regions in snapshot.lists:
        lines += _lines(regions, bits, snapshot.no_node)
    return "".join(f"{line}\n" for line in lines)
