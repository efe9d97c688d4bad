# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's own printouts, byte for byte: what `lmb_dump_all()` writes on the console."""

from __future__ import annotations

from gdb_lmb.region import RegionList, Snapshot
from gdb_lmb.report.words import address


def _hash_hex(value: int) -> str:
    return f"{value:#x}"


def _lines(regions: RegionList, bits: int) -> list[str]:
    lines = [f" {regions.name}.cnt  = {_hash_hex(regions.cnt)}"]
    for at, region in enumerate(regions.regions()):
        low, high = address(region.base, bits), address((region.end - 1) & ((1 << bits) - 1), bits)
        lines.append(
            f" {regions.name}[{_hash_hex(at)}]\t[{low}-{high}], {address(region.size, bits)} bytes "
            f"flags: {_hash_hex(region.flags)}"
        )
    return lines


def kernel_text(snapshot: Snapshot) -> str:
    """Return what `lmb_dump_all()` prints in this state. Source: `lmb_dump_all()` in lmb.c."""
    bits = snapshot.bits
    sizes = (
        f" memory size = {address(snapshot.memory.total_size, bits)} "
        f"reserved size = {address(snapshot.reserved.total_size, bits)}"
    )
    lines = ["LMB configuration:", sizes, *_lines(snapshot.memory, bits), *_lines(snapshot.reserved, bits)]
    return "".join(f"{line}\n" for line in lines)
