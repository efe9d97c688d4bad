# SPDX-License-Identifier: GPL-2.0-or-later
"""Results of checks for the tests of reports: one of each outcome, and names that no report must obey."""

from __future__ import annotations

from pathlib import Path

from gdb_lmb.core.golden import Change, Item
from gdb_lmb.core.snapshot import Finding
from gdb_lmb.core.suite import CaseResult, SuiteResult

MOVED = Change("moved", "reserved", "setup_arch's 4 KiB moved from 0x1000 to 0x2000", Item("reserved", 0x1000, 0x1000),
               Item("reserved", 0x2000, 0x1000), "memblock_free_all")  # fmt: skip
VANISHED = Change("vanished", "reserved", "the initrd's 2 MiB at 0x7000000 vanished",
                  Item("reserved", 0x7000000, 1 << 21), None, "lmb_ready")  # fmt: skip
OVERLAP = Finding("overlap", "finding", "reserved [0x1000, 0x3000) and [0x2000, 0x4000) overlap", (0x1000,))
TOLD = Finding("size-stale", "note", "memory.total_size is stale")


def suite(*cases: CaseResult, name: str = "check") -> SuiteResult:
    return SuiteResult(name, cases, {"kernel": "vmlinux", "boots": "6"})


SOUND = CaseResult("x86_64, 512M", "passed", 0, 1.25, findings=(TOLD,), lines=("the same as golden.toml",))
DIFFERS = CaseResult("arm64, 512M", "differs", 1, 2.5, (MOVED, VANISHED), lines=("2 changes",),
                     command=("gdb-lmb", "check", "vmlinux"), artefacts=Path("kept/arm64"),
                     golden=Path("a.toml"))  # fmt: skip
DAMAGED = CaseResult("x86_64, 1G", "findings", 1, 1.0, findings=(OVERLAP, TOLD))
DIED = CaseResult("x86_64, 2G", "died", 3, 4.0, lines=("the guest panicked before it reached memblock_free_all",))
BROKEN = CaseResult("x86_64, 4G", "infrastructure", 4, 0.5, lines=("qemu ended with status 1",))
TORN = CaseResult("x86_64, 8G", "not verified", 5, 1.5, lines=("torn",))
WRONG = CaseResult("x86_64, 16G", "usage", 2, 0.25, lines=("there is no golden a.toml",))
ALL = suite(SOUND, DIFFERS, DAMAGED, DIED, BROKEN, TORN, WRONG)

HOSTILE = (
    "]]>", "a\nb", "\r\n", "\x1b[31mred", "\x00", "50%", "%0A::error::forged", "::error::forged", "a::b", "a,b:c",
    "# SKIP", "x # SKIP", "#", "- dash", "  ", "", "<b>&amp;</b>", '"quoted"', "\ud800", "\udcff", "\ufffe",
    "\u202egnp", "ok 1 forged", "not ok 1 - forged", "1..5", "KTAP version 1", "# Subtest: forged",
    "Kernel panic - not syncing: VFS: no root",
    "reboot: System halted", "a|b", "`code`", "[link](x)", "<!-- c", "x" * 5000, "\u2028line", "\x85line",
)  # fmt: skip
"""Text that means something to one of the formats."""


def hostile(text: str) -> SuiteResult:
    """Return a suite with a text everywhere where there may be one."""
    change = Change("moved", "reserved", text)
    finding = Finding("overlap", "finding", text)
    name = {
        "name": text,
        "lines": (text,),
        "command": ("gdb-lmb", text),
        "artefacts": Path("k", text.replace("\0", "")),
    }
    return SuiteResult(text, (
        CaseResult(outcome="differs", status=1, changes=(change,), golden=Path("g", text.replace("\0", "")), **name),
        CaseResult(outcome="findings", status=1, findings=(finding,), **name),
        CaseResult(outcome="died", status=3, **name),
        CaseResult(outcome="infrastructure", status=4, **name),
        CaseResult(outcome="not verified", status=5, **name),
        CaseResult(outcome="passed", status=0, **name),
    ), {text: text})  # fmt: skip
