# SPDX-License-Identifier: GPL-2.0-or-later
"""Stock kernels for tests: booting them, and what they and a plain gdb say for themselves.

Nothing here asks the lmb commands what is true: the kernel's own printout, gdb's expressions, QEMU's monitor.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from gdb_lmb.kernels.cache import KernelFiles
from gdb_lmb.runner.qemu import QemuOptions
from gdb_lmb.runner.session import GuestSession

AMD64 = ["debian:6.1-cloud-amd64", "debian:6.12-cloud-amd64", "debian:7-cloud-amd64"]
CONSOLE = "console=ttyS0 earlyprintk=serial memblock=debug loglevel=8"
KERNEL_MAP_VA = 0xFFFFFFFF80000000

Rows = list[tuple[int, int, int, int]]
"""(base, size, flags, nid) of each region."""

E820_TYPES = {
    "usable": 1, "System RAM": 1, "reserved": 2, "device reserved": 2, "ACPI data": 3, "ACPI NVS": 4, "unusable": 5,
    "persistent (type 7)": 7, "persistent RAM (type 7)": 7,
    "persistent (type 12)": 12, "persistent RAM (type 12)": 12, "soft reserved": 0xEFFFFFFF,
}  # fmt: skip
"""What kernels call the types, the second name of one since 7.0."""


def boot(
    kernel: KernelFiles,
    append: str = "",
    *,
    memory: str = "512M",
    smp: int = 1,
    words: tuple[str, ...] = (),
    initrd: Path | None = None,
    console: str = CONSOLE,
) -> GuestSession:
    """Start a stock kernel, stopped at reset."""
    options = QemuOptions(append=f"{console} {append}", memory=memory, smp=smp, arguments=words, initrd=initrd)
    return GuestSession(kernel.image, options, symbols=kernel.vmlinux, timeout_s=120)


def console_of(guest: GuestSession) -> str:
    """Return the console without carriage returns and time stamps."""
    return re.sub(r"^\[ *\d+\.\d+\] ", "", guest.console().decode(errors="replace").replace("\r", ""), flags=re.M)


def last_dump(console: str) -> str:
    """Return the lines of the last whole memblock_dump_all() on the console."""
    lines = console.splitlines(keepends=True)
    start = max(at for at, line in enumerate(lines) if line == "MEMBLOCK configuration:\n")
    end = start + 1
    while end < len(lines) and re.match(r" (memory|reserved|physmem)", lines[end]):
        end += 1
    return "".join(lines[start:end])


def printed_regions(dump: str) -> dict[str, list[tuple[int, int, int, int | None]]]:
    """Return the regions that a memblock_dump_all() printed; the node is None where none is printed."""
    out: dict[str, list[tuple[int, int, int, int | None]]] = {"memory": [], "reserved": []}
    line = re.compile(
        r" (memory|reserved)\[0x\w+\]\t\[(0x\w+)-(0x\w+)\], (0x\w+) bytes(?: on node (\d+))? flags: (0x\w+)"
    )
    for found in line.finditer(dump):
        low, high, size = (int(found[at], 16) for at in (2, 3, 4))
        assert high - low + 1 == size
        out[found[1]].append((low, size, int(found[6], 16), None if found[5] is None else int(found[5])))
    return out


def plain_read(guest: GuestSession) -> dict[str, Rows]:
    """Read both arrays with gdb's own expressions, at the virtual addresses where the symbols now are."""
    out = {}
    for name in ("memory", "reserved"):
        count = int(guest.command(f"output memblock.{name}.cnt"))
        rows: Rows = []
        for at in range(count):
            region = f"memblock.{name}.regions[{at}]"
            text = guest.command(
                f'printf "%lu %lu %u %d", {region}.base, {region}.size, (unsigned){region}.flags, {region}.nid'
            )
            base, size, flags, nid = map(int, text.split())
            rows.append((base, size, flags, nid))
        out[name] = rows
    return out


def regions_of(snapshot: dict[str, Any]) -> dict[str, Rows]:
    """Return both lists of what `lmb-dump --json` wrote."""
    assert snapshot["layout"] == "memblock"
    return {
        name: [(int(r["base"], 16), int(r["size"], 16), r["flags"], r["nid"]) for r in snapshot[name]["regions"]]
        for name in ("memory", "reserved")
    }


def dump(guest: GuestSession) -> dict[str, Any]:
    """Return what `lmb-dump --json` writes."""
    data = json.loads(guest.command("lmb-dump --json"))
    assert isinstance(data, dict)
    return data


def shown(guest: GuestSession) -> dict[str, Rows]:
    """Return both lists as the command shows them."""
    return regions_of(dump(guest))


def faults(guest: GuestSession) -> list[str]:
    """Return the findings, notes left out."""
    found = json.loads(guest.command("lmb-check --json"))["findings"]
    return [f["message"] for f in found if f["severity"] == "finding"]


def words_at(guest: GuestSession, physical: int, count: int) -> list[int]:
    """Read 8-byte words at a physical address with QEMU's monitor."""
    out = guest.command(f"monitor xp /{count}gx {physical:#x}")
    words = [int(word, 16) for line in out.splitlines() for word in line.partition(":")[2].split()]
    assert len(words) == count, out
    return words


def moved_by(guest: GuestSession) -> tuple[int, int]:
    """Return by how much `lmb-attach` says that the kernel was moved: physically, virtually."""
    found = re.search(r"moved by 0x(\w+) physically, by 0x(\w+) virtually", guest.command("lmb-attach"))
    assert found is not None
    return int(found[1], 16), int(found[2], 16)


E820 = list[tuple[int, int, int]]
"""(base, end, type), sorted, neighbours of one type joined."""


def _tidy(ranges: E820) -> E820:
    out: E820 = []
    for base, end, kind in sorted(ranges):
        if out and out[-1][1] == base and out[-1][2] == kind:
            out[-1] = (out[-1][0], end, kind)
        else:
            out.append((base, end, kind))
    return out


def shown_firmware(snapshot: dict[str, Any], member: str = "firmware") -> E820:
    """Return the whole firmware map that the command shows, every type; as the kernel edited it: "firmware_edited"."""
    rows = [(int(r["base"], 16), int(r["base"], 16) + int(r["size"], 16), r["type"]) for r in snapshot[member]]
    return _tidy(rows)


def printed_firmware(console: str, who: str = "BIOS-e820", *, updated: bool = False) -> E820:
    """Return the firmware map that the kernel printed; `updated` also makes the changes it printed later."""
    ranges: E820 = []
    last = 0
    for found in re.finditer(rf"^{who}: \[mem 0x(\w+)-0x(\w+)\] +(.+)$", console, re.M):
        ranges.append((int(found[1], 16), int(found[2], 16) + 1, E820_TYPES[found[3].strip()]))
        last = found.end()
    change = re.compile(r"^e820: (update|remove) \[mem 0x(\w+)-0x(\w+)\] +(.+?)(?: ==> (.+))?$", re.M)
    for found in change.finditer(console, last) if updated else ():
        low, high, old = int(found[2], 16), int(found[3], 16) + 1, E820_TYPES[found[4].strip()]
        rest: E820 = []
        for base, end, kind in ranges:
            inside = max(base, low), min(end, high)
            if kind != old or inside[0] >= inside[1]:
                rest.append((base, end, kind))
                continue
            rest += [(a, b, kind) for a, b in ((base, inside[0]), (inside[1], end)) if a < b]
            if found[1] == "update":
                rest.append((*inside, E820_TYPES[found[5].strip()]))
        ranges = rest
    return _tidy(ranges)
