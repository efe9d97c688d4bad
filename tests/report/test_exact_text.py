# SPDX-License-Identifier: GPL-2.0-or-later
"""Every character that people read of a state made by hand, for both layouts; all numbers were worked out by hand.

Each line is written once: `lmb-dump all` is put together of the parts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

import pytest

from gdb_lmb.allocators.base import LogVerdict, check
from gdb_lmb.allocators.lmb.decode import decode
from gdb_lmb.allocators.lmb.model import LmbConfig, LmbModel
from gdb_lmb.allocators.lmb.predict import predict_lmb
from gdb_lmb.allocators.memblock.behavior import MemblockConfig
from gdb_lmb.allocators.memblock.model import MemblockModel
from gdb_lmb.allocators.memblock.resume import predict_memblock
from gdb_lmb.allocators.memblock.storage import MemblockStorage, RegionArray
from gdb_lmb.allocators.section import Section
from gdb_lmb.analysis.replay import check_log
from gdb_lmb.analysis.who import answer
from gdb_lmb.core.errors import InputError, LmbError
from gdb_lmb.core.holes import free_space
from gdb_lmb.core.roles import Role
from gdb_lmb.core.snapshot import Finding, FirmwareMap, Place, RegionList, Required, Snapshot, Stop
from gdb_lmb.programs.base import RoleRange
from gdb_lmb.report.jsonio import bounded, roles_json, snapshot_from
from gdb_lmb.report.map import Shown, map_json, map_text
from gdb_lmb.report.prediction import free_json, free_text, prediction_json, prediction_text
from gdb_lmb.report.terminal import PLAIN, Terminal
from gdb_lmb.report.text import check_text, dump_text, kernel_text, section_lines
from gdb_lmb.report.who import Known, who_json, who_text
from tests.helpers.linux_behaviors import LINUX_6_1
from tests.helpers.small_lmb import lmb_model

STOP = Stop(0xFFFFFFFF81001234, "lmb_ready")


def lmb_state() -> Snapshot:
    image = lmb_model()[1]
    return replace(decode(image.program, image, with_log=True), stop=STOP)


# -- lmb-dump ------------------------------------------------------------------------------------------

HEAD = "LMB of test at lmb_ready (0xffffffff81001234): in use, top-down, limit none"
PICTURE = """
  ..==...-.....................................................................-
  |0x0               |0x800000          |0x1000000                    0x2001000|
   0                  8 MiB              16 MiB                        32.0 MiB
  # all reserved  = half or more  - less than half  . free  blank no memory
  1 character = 420.2 KiB"""
MEMORY = """
memory: 3 regions, 31.6 MiB (33,157,120 bytes)
    #  base                end                    size       bytes  flags
  ---  ------------------  ------------------  -------  ----------  -------
    0  0x0000000000001000  0x000000000009f000  632 KiB     647,168  -
    1  0x0000000000100000  0x0000000002000000   31 MiB  32,505,856  -
    2  0x0000000002000000  0x0000000002001000    4 KiB       4,096  NOMAP"""
RESERVED = """
reserved: 4 regions, 537.2 KiB (550,144 bytes)
    #  base                end                      size    bytes  flags
  ---  ------------------  ------------------  ---------  -------  -------
    0  0x0000000000100000  0x0000000000180000    512 KiB  524,288  -
    1  0x0000000000300000  0x0000000000302400      9 KiB    9,216  -
    2  0x0000000001ffb000  0x0000000001fff000     16 KiB   16,384  -
    3  0x0000000001ffff00  0x0000000002000000  256 bytes      256  -"""
RESERVED_ENTRIES = """
reserved: 4 regions, 537.2 KiB (550,144 bytes)
    #  base                end                      size    bytes  flags    entry    entry address
  ---  ------------------  ------------------  ---------  -------  -------  -------  ------------------
    0  0x0000000000100000  0x0000000000180000    512 KiB  524,288  -        0:3      0xffffffff80004078
    1  0x0000000000300000  0x0000000000302400      9 KiB    9,216  -        1:1      0xffff888001ffff50
    2  0x0000000001ffb000  0x0000000001fff000     16 KiB   16,384  -        1:0      0xffff888001ffff28
    3  0x0000000001ffff00  0x0000000002000000  256 bytes      256  -        0:4      0xffffffff800040a0"""
FREE_TITLE = """
free: 3 entries on the freelist, of 10 in all"""
FREE = """
    #  entry    entry address
  ---  -------  ------------------
    0  1:2      0xffff888001ffff78
    1  1:3      0xffff888001ffffa0
    2  1:4      0xffff888001ffffc8"""
BLOCKS = """
blocks: 2 blocks of entries, grows by 256 bytes
    #  storage       base                     size    entries  first entry address
  ---  ------------  ------------------  ---------  ---------  ---------------------
    0  static array  -                           -          5  0xffffffff80004000
    1  grown         0x0000000001ffff00  256 bytes          5  0xffff888001ffff28"""
FIRMWARE_TABLE = """
firmware: 3 ranges
    #  base                end                     size  type
  ---  ------------------  ------------------  --------  --------
    0  0x0000000000000000  0x000000000009f000   636 KiB  RAM
    1  0x000000000009f000  0x00000000000a0000     4 KiB  reserved
    2  0x0000000000100000  0x0000000002001000  31.0 MiB  RAM"""

PARTS = {
    "memory": [PICTURE, MEMORY],
    "reserved": [PICTURE, RESERVED],
    "free": [FREE_TITLE + FREE],
    "blocks": [BLOCKS],
    "firmware": [FIRMWARE_TABLE],
    "all": [PICTURE, MEMORY, RESERVED, FREE_TITLE, BLOCKS],
}


@pytest.mark.parametrize("part", PARTS)
def test_dump(part: str) -> None:
    assert dump_text(lmb_state(), part) == "\n".join([HEAD, *PARTS[part]])


def test_no_more_rows_than_a_person_reads() -> None:
    state = memblock_state()
    rows = [(0x100000 + at * 0x2000, 0x1000, 0, NO_NODE) for at in range(1234)]
    state = replace(state, reserved=region_list("reserved", rows, 2048))
    few = dump_text(state, "reserved", terminal=Terminal(rows=2)).splitlines()
    assert few[-6:] == [
        "reserved: 1,234 regions (room for 2,048), 4.8 MiB (5,054,464 bytes)",
        "    #  base                end                   size    bytes  flags    node",
        "  ---  ------------------  ------------------  ------  -------  -------  ------",
        "    0  0x0000000000100000  0x0000000000101000   4 KiB    4,096  -        -",
        "    1  0x0000000000102000  0x0000000000103000   4 KiB    4,096  -        -",
        "  ... and 1,232 more: --all shows them",
    ]
    every = dump_text(state, "reserved").splitlines()
    assert every[-1].split()[0] == "1233" and not any("--all" in line for line in every)


def test_no_more_of_a_list_in_json_than_a_program_expects() -> None:
    rows = [{"base": hex(at)} for at in range(10_003)]
    pieces = [[{"at": at} for at in range(10_001)], []]
    whole = {"reserved": {"cnt": 5, "regions": rows}, "owners": {"reserved": pieces}, "findings": rows[:10_000]}
    assert bounded(whole) == {
        "reserved": {"cnt": 5, "regions": rows[:10_000]},
        "owners": {"reserved": [pieces[0][:10_000], []]},
        "findings": rows[:10_000],
        "left_out": {"reserved.regions": 3, "owners.reserved[0]": 1},
    }
    assert "left_out" not in bounded({"regions": rows[:10_000]})
    # What is not whole cannot be gone on from.
    with pytest.raises(InputError, match="this snapshot is not whole: lmb-dump --json --all writes all of it"):
        snapshot_from({"schema": "gdb-lmb/snapshot/1", "layout": "memblock", "left_out": {"reserved.regions": 3}})


def test_what_lies_where_as_json() -> None:
    state = replace(lmb_state(), required=(Required(0x100000, 0x180000, "initrd", memory=True, alone=False),))
    assert roles_json(state, [RoleRange(Role.IMAGE, 0x400000, 0x500000, "_text")]) == [
        {"base": "0x100000", "size": "0x80000", "role": "initrd"},
        {"base": "0x400000", "size": "0x100000", "role": "kernel image"},
        {"base": "0x1ffff00", "size": "0x100", "role": "block 1 of entries"},
    ]


def test_long_texts_are_cut() -> None:
    state, long = lmb_state(), "t" * 1001
    assert section_lines(Section(long), state) == ["t" * 1000 + "..."]
    told = check_text(replace(state, uncompared=(long,)), [], None)
    assert told.endswith(f"; not verified against {'t' * 1000}...")


def test_dump_with_entries() -> None:
    assert dump_text(lmb_state(), "reserved", True) == "\n".join([HEAD, PICTURE, RESERVED_ENTRIES])


HEADS: list[tuple[dict[str, object], str]] = [
    ({"bottom_up": True}, "in use, bottom-up, limit none"),
    ({"current_limit": 0x1000000}, "in use, top-down, limit 0x1000000"),
    ({"phase": "growing"}, "growing, top-down, limit none"),
    ({"storage": replace(lmb_state().storage, closed=True)}, "handed over, top-down, limit none"),
]


@pytest.mark.parametrize(("changes", "state"), HEADS)
def test_what_a_dump_begins_with(changes: Mapping[str, object], state: str) -> None:
    found = dump_text(replace(lmb_state(), **changes), "firmware")  # type: ignore[arg-type]
    assert found.splitlines()[0] == f"LMB of test at lmb_ready (0xffffffff81001234): {state}"


TORN = "torn: the stop is inside lmb_add: the lists may be between two states"


def test_a_torn_state_is_told_above_all() -> None:
    torn = replace(lmb_state(), torn="lmb_add")
    assert dump_text(torn, "firmware") == "\n".join([HEAD, TORN, FIRMWARE_TABLE])
    assert free_text(torn, free_space(torn)) == "\n".join([TORN, HOLES])
    known = Known(torn, None, {}.get)
    assert who_text(answer(torn, (0x302400, 0x302401)), known).startswith(f"{TORN}\n0x302400: free\n")


def test_a_dump_without_a_symbol_or_a_stop() -> None:
    assert dump_text(replace(lmb_state(), stop=Stop(0x1234)), "firmware").startswith("LMB of test at 0x1234: in use, ")
    assert dump_text(replace(lmb_state(), stop=None), "firmware").startswith("LMB of test\n")


def test_before_growth_is_allowed() -> None:
    model = LmbModel(LmbConfig(static=5, block_size=256, entry_size=40, header_size=40))
    blocks = dump_text(model.snapshot(), "blocks").splitlines()
    assert blocks[2] == "blocks: 1 block of entries, may not grow yet (block size 256 bytes)"


def test_the_kernels_own_dump() -> None:
    assert kernel_text(lmb_state()) == (
        "LMB configuration:\n"
        " memory size = 0x0000000001f9f000 reserved size = 0x0000000000086500\n"
        " memory.cnt  = 0x3\n"
        " memory[0x0]\t[0x0000000000001000-0x000000000009efff], 0x000000000009e000 bytes flags: 0x0\n"
        " memory[0x1]\t[0x0000000000100000-0x0000000001ffffff], 0x0000000001f00000 bytes flags: 0x0\n"
        " memory[0x2]\t[0x0000000002000000-0x0000000002000fff], 0x0000000000001000 bytes flags: 0x4\n"
        " reserved.cnt  = 0x4\n"
        " reserved[0x0]\t[0x0000000000100000-0x000000000017ffff], 0x0000000000080000 bytes flags: 0x0\n"
        " reserved[0x1]\t[0x0000000000300000-0x00000000003023ff], 0x0000000000002400 bytes flags: 0x0\n"
        " reserved[0x2]\t[0x0000000001ffb000-0x0000000001ffefff], 0x0000000000004000 bytes flags: 0x0\n"
        " reserved[0x3]\t[0x0000000001ffff00-0x0000000001ffffff], 0x0000000000000100 bytes flags: 0x0\n"
    )


# -- lmb-check -----------------------------------------------------------------------------------------

COUNTED = "10 entries, 7 regions, 2 blocks"


def test_check_of_a_sound_state() -> None:
    state = lmb_state()
    assert check_text(state, check(state), check_log(state)) == (
        f"lmb-check: clean, verified: {COUNTED}; 7 operations replayed on the model"
    )
    assert check_text(state, check(state), None) == f"lmb-check: clean, verified: {COUNTED}; log not asked for"
    wrapped = LogVerdict(0, "its first record is lost")
    assert check_text(state, check(state), wrapped) == (
        f"lmb-check: clean, verified: {COUNTED}; history NOT verified: its first record is lost"
    )


def test_check_of_a_damaged_state() -> None:
    image = lmb_model()[1]
    image.lmb("reserved.cnt", 6)
    image.lmb("nr_free", 2)
    image.lmb("memory.total_size", 0x1000)
    state = decode(image.program, image)
    lines = [
        "finding: count-mismatch: reserved.cnt is 6, but the list has 4 regions",
        "finding: size-mismatch: memory.total_size is 0x1000, but its regions sum to 0x1f9f000",
        "finding: free-count-mismatch: nr_free is 2, but the freelist has 3 entries",
    ]
    last = f"{COUNTED}; log not asked for"
    found = check(state)
    assert check_text(state, found, None).splitlines() == [*lines, f"lmb-check: 3 findings in: {last}"]
    torn = check_text(replace(state, torn="lmb_add"), found, None).splitlines()
    assert torn == [TORN, *lines, f"lmb-check: NOT verified, 3 findings seen: {last}"]


RED, YELLOW, GREEN, PLAIN_AGAIN = "\x1b[1;31m", "\x1b[33m", "\x1b[32m", "\x1b[0m"
LAST = f"{COUNTED}; log not asked for"
UNSOUND = Finding("overlap", "finding", "two overlap")
NOTED = Finding("unmerged", "note", "two touch")

# Findings, what else is known of the state, the log's verdict; then the lines in their colours.
COLORED: list[tuple[list[Finding], dict[str, object], LogVerdict | None, list[str]]] = [
    ([], {}, None, [f"{GREEN}lmb-check: clean, verified:{PLAIN_AGAIN} {LAST}"]),
    ([], {}, LogVerdict(0, "lost"),
     [f"{YELLOW}lmb-check: clean, verified:{PLAIN_AGAIN} {COUNTED}; history NOT verified: lost"]),
    ([], {}, LogVerdict(7), [f"{GREEN}lmb-check: clean, verified:{PLAIN_AGAIN} {COUNTED}; 7 operations replayed "
                             "on the model"]),
    ([UNSOUND, NOTED, NOTED], {}, None, [
        f"{RED}finding: overlap:{PLAIN_AGAIN} two overlap", *2 * [f"{YELLOW}note: unmerged:{PLAIN_AGAIN} two touch"],
        f"{RED}lmb-check: 1 finding, 2 notes in:{PLAIN_AGAIN} {LAST}"]),
    ([NOTED], {}, None, [
        f"{YELLOW}note: unmerged:{PLAIN_AGAIN} two touch",
        f"{GREEN}lmb-check: clean (1 note), verified:{PLAIN_AGAIN} {LAST}"]),
    ([], {"uncompared": ("firmware map", "initrd")}, None, [
        f"{YELLOW}lmb-check: NOT verified, 0 findings seen:{PLAIN_AGAIN} {LAST}; "
        "not verified against firmware map, initrd"]),
    ([UNSOUND], {"uncompared": ("firmware map",)}, None, [
        f"{RED}finding: overlap:{PLAIN_AGAIN} two overlap",
        f"{RED}lmb-check: 1 finding in:{PLAIN_AGAIN} {LAST}; not verified against firmware map"]),
    ([], {"unsettled": ("page tables", "stack")}, None, [
        f"{GREEN}lmb-check: clean, verified:{PLAIN_AGAIN} {LAST}; not at hand at this phase: page tables, stack"]),
    ([], {"torn": "lmb_add"}, None, [
        f"{YELLOW}{TORN}{PLAIN_AGAIN}", f"{YELLOW}lmb-check: NOT verified, 0 findings seen:{PLAIN_AGAIN} {LAST}"]),
    ([UNSOUND], {"torn": "lmb_add"}, None, [
        f"{YELLOW}{TORN}{PLAIN_AGAIN}", f"{RED}finding: overlap:{PLAIN_AGAIN} two overlap",
        f"{RED}lmb-check: NOT verified, 1 finding seen:{PLAIN_AGAIN} {LAST}"]),
    ([], {"refused": {"reserved": "it was freed"}}, None, [
        f"{YELLOW}not verified: reserved: it was freed{PLAIN_AGAIN}",
        f"{YELLOW}lmb-check: NOT verified, 0 findings seen:{PLAIN_AGAIN} {LAST}"]),
]  # fmt: skip


@pytest.mark.parametrize(("findings", "changes", "log", "lines"), COLORED, ids=range(len(COLORED)))
def test_check_in_colours(
    findings: list[Finding], changes: dict[str, object], log: LogVerdict | None, lines: list[str]
) -> None:
    state = replace(lmb_state(), **changes)  # type: ignore[arg-type]
    assert check_text(state, findings, log, Terminal(color=True)).splitlines() == lines


# -- lmb-free ------------------------------------------------------------------------------------------

HOLES = """\
free in [0x1000, 0xffffffffffffffff): 4 holes, 31.1 MiB (32,602,880 bytes)
    #  base                end                     size       bytes
  ---  ------------------  ------------------  --------  ----------
    0  0x0000000000001000  0x000000000009f000   632 KiB     647,168
    1  0x0000000000180000  0x0000000000300000   1.5 MiB   1,572,864
    2  0x0000000000302400  0x0000000001ffb000  29.0 MiB  30,379,008
    3  0x0000000001fff000  0x0000000001ffff00   3.8 KiB       3,840

largest allocation possible, by the alignment of its base:
    align  anywhere              below 1 MiB         below 16 MiB
  -------  --------------------  ------------------  --------------------
    4 KiB  29.0 MiB at 0x303000  632 KiB at 0x1000   13.0 MiB at 0x303000
   64 KiB  28.9 MiB at 0x310000  572 KiB at 0x10000  12.9 MiB at 0x310000
    2 MiB  28.0 MiB at 0x400000  none                12 MiB at 0x400000
    1 GiB  none                  none                none

fragmentation: 6.8 % (1 - largest hole / all free bytes)"""


def test_free() -> None:
    state = lmb_state()
    assert free_text(state, free_space(state)) == HOLES
    low = free_text(state, free_space(state, aligns=[0x1000], min=0x200000, max=0x300000))
    assert low == (
        "free in [0x200000, 0x300000): 1 hole, 1 MiB (1,048,576 bytes)\n"
        "    #  base                end                   size      bytes\n"
        "  ---  ------------------  ------------------  ------  ---------\n"
        "    0  0x0000000000200000  0x0000000000300000   1 MiB  1,048,576\n"
        "\n"
        "largest allocation possible, by the alignment of its base:\n"
        "    align  anywhere\n"
        "  -------  -----------------\n"
        "    4 KiB  1 MiB at 0x200000\n"
        "\n"
        "fragmentation: 0.0 % (1 - largest hole / all free bytes)"
    )
    closed = replace(state, storage=replace(state.storage, closed=True))
    handed = "handed over: the allocator is closed, and what was free then is the page allocator's now"
    gone = HOLES.replace("free in", "handed over in").replace("all free bytes", "all handed over bytes")
    gone = gone.replace("largest allocation possible", "largest range that was free")
    assert free_text(closed, free_space(closed)) == f"{handed}\n{gone}"
    # Two holes of 1 MiB, so that half of what is free lies outside of the largest.
    half = free_text(state, free_space(state, aligns=[0x1000], min=0x200000, max=0x402400)).splitlines()
    assert half[-1] == "fragmentation: 50.0 % (1 - largest hole / all free bytes)"
    none = free_text(state, free_space(state, min=0x100000, max=0x180000))
    assert none == "free in [0x100000, 0x180000): 0 holes, 0 bytes (0 bytes)"


def test_free_where_a_table_of_all_limits_is_too_wide() -> None:
    state = lmb_state()
    space = free_space(state, aligns=[0x1000, 0x200000])
    lines = free_text(state, space, Terminal(60)).splitlines()
    at = lines.index("largest allocation possible, by the alignment of its base:")
    assert lines[at + 1 : -2] == [
        "    align  where         largest",
        "  -------  ------------  --------------------",
        "    4 KiB  anywhere      29.0 MiB at 0x303000",
        "    4 KiB  below 1 MiB   632 KiB at 0x1000",
        "    4 KiB  below 16 MiB  13.0 MiB at 0x303000",
        "    2 MiB  anywhere      28.0 MiB at 0x400000",
        "    2 MiB  below 1 MiB   none",
        "    2 MiB  below 16 MiB  12 MiB at 0x400000",
    ]
    wide = free_text(state, free_space(state), Terminal(73)).splitlines()
    assert wide[wide.index("") :] == HOLES.splitlines()[7:]
    assert "where" in free_text(state, free_space(state), Terminal(72))
    # 1 - 30379008 / 32602880
    assert free_json(state, free_space(state))["fragmentation"] == 0.068211


# -- lmb-whatif ----------------------------------------------------------------------------------------

WHATIF: list[tuple[str, dict[str, int], str]] = [
    ("alloc", {"size": 0x10000, "align": 0x200000}, """\
lmb_alloc(size=0x10000, align=0x200000) returns 0x1e00000
  reserved: nothing -> [0x1e00000, 0x1e10000)
  entries: 1 popped, 0 pushed, free 3 -> 2, no growth"""),
    ("alloc", {"size": 0x10000, "align": 0x200000, "max": 0x1000000, "flags": 4}, """\
lmb_alloc(size=0x10000, align=0x200000, max=0x1000000, flags=0x4) returns 0xe00000
  reserved: nothing -> [0xe00000, 0xe10000) NOMAP
  entries: 1 popped, 0 pushed, free 3 -> 2, no growth"""),
    ("reserve", {"base": 0x2E0000, "size": 0x20000}, """\
lmb_reserve(base=0x2e0000, size=0x20000) returns 0
  reserved: [0x300000, 0x302400) -> [0x2e0000, 0x302400)
  entries: 0 popped, 0 pushed, free 3 -> 3, no growth"""),
    ("reserve", {"base": 0x170000, "size": 0x190000}, """\
lmb_reserve(base=0x170000, size=0x190000) returns 0
  reserved: [0x100000, 0x180000), [0x300000, 0x302400) -> [0x100000, 0x302400)
  entries: 0 popped, 1 pushed, free 3 -> 4, no growth"""),
    ("free", {"base": 0x100000, "size": 0x1000}, """\
lmb_free(base=0x100000, size=0x1000) returns 0
  reserved: [0x100000, 0x180000) -> [0x101000, 0x180000)
  entries: 0 popped, 0 pushed, free 3 -> 3, no growth"""),
    ("free", {"base": 0x300000, "size": 0x2400}, """\
lmb_free(base=0x300000, size=0x2400) returns 0
  reserved: [0x300000, 0x302400) -> nothing
  entries: 0 popped, 1 pushed, free 3 -> 4, no growth"""),
    ("free", {"base": 0x200000, "size": 0x1000}, """\
lmb_free(base=0x200000, size=0x1000) returns 0
  no region changes
  entries: 0 popped, 0 pushed, free 3 -> 3, no growth"""),
    ("remove", {"base": 0x500000, "size": 0x1000}, """\
lmb_remove(base=0x500000, size=0x1000) returns 0
  memory: [0x100000, 0x2000000) -> [0x100000, 0x500000), [0x501000, 0x2000000)
  entries: 1 popped, 0 pushed, free 3 -> 2, no growth"""),
    ("add", {"base": 0x2001000, "size": 0x1000, "flags": 4}, """\
lmb_add(base=0x2001000, size=0x1000, flags=0x4) returns 0
  memory: [0x2000000, 0x2001000) NOMAP -> [0x2000000, 0x2002000) NOMAP
  entries: 0 popped, 0 pushed, free 3 -> 3, no growth"""),
    ("free", {"base": 0x1FFFF00, "size": 0x1}, """\
lmb_free(base=0x1ffff00, size=0x1) fails with -EBUSY (-16): block 1 of entries lies at [0x1ffff00, 0x2000000): \
never freed
  nothing changes"""),
    ("alloc", {"size": 0}, """\
lmb_alloc(size=0x0) fails with -EINVAL (-22): size is 0
  nothing changes"""),
    ("alloc", {"size": 0x1000, "align": 3}, """\
lmb_alloc(size=0x1000, align=0x3) fails with -EINVAL (-22): align 0x3 is no power of two
  nothing changes"""),
    ("reserve", {"base": 1 << 63, "size": 1 << 63}, """\
lmb_reserve(base=0x8000000000000000, size=0x8000000000000000) fails with -EINVAL (-22): \
the range ends at 0x10000000000000000, past PHYS_ADDR_MAX 0xffffffffffffffff
  nothing changes"""),
    ("alloc", {"size": 1 << 30}, """\
lmb_alloc(size=0x40000000) fails with -ENOMEM (-12): no memory in [0x1000, 0xffffffffffffffff): \
the largest allocation possible there is 0x1cf8c00 bytes
  nothing changes"""),
    # There are 0x1cf8c00 bytes, but from a multiple of 2 MiB on only 0x1bfb000.
    ("alloc", {"size": 0x1C00000, "align": 0x200000}, """\
lmb_alloc(size=0x1c00000, align=0x200000) fails with -ENOMEM (-12): no memory in [0x1000, 0xffffffffffffffff): \
the largest allocation possible there is 0x1bfb000 bytes
  nothing changes"""),
    ("alloc", {"size": 1, "min": 0x100000, "max": 0x180000}, """\
lmb_alloc(size=0x1, min=0x100000, max=0x180000) fails with -ENOMEM (-12): no memory in [0x100000, 0x180000): \
nothing is free there
  nothing changes"""),
]  # fmt: skip


@pytest.mark.parametrize(("operation", "given", "text"), WHATIF)
def test_whatif(operation: str, given: dict[str, int], text: str) -> None:
    assert prediction_text(predict_lmb(lmb_state(), operation, **given)) == text


def test_whatif_with_growth() -> None:
    model = lmb_model()[0]
    # 1:2 and 1:3 are taken, and 1:4 is kept: the next region needs a block, at the top of the hole below block 1.
    assert model.reserve(0x400000, 0x1000) == model.reserve(0x500000, 0x1000) == 0
    text = prediction_text(predict_lmb(model.snapshot(), "reserve", base=0x600000, size=0x1000))
    assert text == (
        "lmb_reserve(base=0x600000, size=0x1000) returns 0\n"
        "  reserved: nothing -> [0x600000, 0x601000)\n"
        "  reserved: [0x1ffff00, 0x2000000) -> [0x1fffe00, 0x2000000)\n"
        "  growth: block 2 at [0x1fffe00, 0x1ffff00), 5 entries\n"
        "  entries: 1 popped, 0 pushed, free 1 -> 5"
    )
    model.may_grow = False
    assert prediction_text(predict_lmb(model.snapshot(), "reserve", base=0x600000, size=0x1000)) == (
        "lmb_reserve(base=0x600000, size=0x1000) fails with -ENOMEM (-12): it needs an entry, the last free one is "
        "kept, and growth is not allowed before lmb_allow_growth()\n"
        "  nothing changes"
    )
    model.may_grow, model.current_limit = True, 0x1000
    assert prediction_text(predict_lmb(model.snapshot(), "reserve", base=0x600000, size=0x1000)) == (
        "lmb_reserve(base=0x600000, size=0x1000) fails with -ENOMEM (-12): it needs a block of entries, and there is "
        "no memory for 0x100 bytes aligned to that outside the range below the limit 0x1000\n"
        "  nothing changes"
    )


# -- lmb-who -------------------------------------------------------------------------------------------

WHO: list[tuple[int, str]] = [
    (0x300010, """\
0x300010: reserved
  reserved  [0x300000, 0x302400), region 1, entry 1:1
  memory    [0x100000, 0x2000000), region 1, entry 0:1
  firmware  [0x100000, 0x2001000) RAM
  is        [0x300000, 0x302000) initrd
  symbol    there+0x10
  below     free [0x180000, 0x300000)
  above     free [0x302400, 0x1ffb000)
  history   none: who reserved it is not known (no trace, and no operation log in this kernel)"""),
    (0x302400, """\
0x302400: free
  memory    [0x100000, 0x2000000), region 1, entry 0:1
  hole      [0x302400, 0x1ffb000)
  firmware  [0x100000, 0x2001000) RAM
  below     reserved [0x300000, 0x302400)
  above     reserved [0x1ffb000, 0x1fff000)"""),
    (0x2000000, """\
0x2000000: never given
  memory    [0x2000000, 0x2001000), region 2, NOMAP, entry 0:2
  kept      [0x2000000, 0x2001000)
  firmware  [0x100000, 0x2001000) RAM
  below     reserved [0x1ffff00, 0x2000000)
  above     not memory [0x2001000, 0x10000000000000000)"""),
    (0x9F000, """\
0x9f000: not memory
  gap       [0x9f000, 0x100000)
  firmware  [0x9f000, 0xa0000) reserved
  below     free [0x1000, 0x9f000)
  above     reserved [0x100000, 0x180000)"""),
]  # fmt: skip


@pytest.mark.parametrize(("at", "text"), WHO, ids=[hex(row[0]) for row in WHO])
def test_who(at: int, text: str) -> None:
    state = lmb_state()
    known = Known(state, None, {0x300010: "there+0x10"}.get)
    found = answer(state, (at, at + 1), [Place(0x300000, 0x302000, "initrd"), Place(0, 0x1000, "elsewhere")])
    assert who_text(found, known) == text


# -- memblock ------------------------------------------------------------------------------------------

NO_NODE = 1024  # MAX_NUMNODES


def region_list(name: str, rows: list[tuple[int, int, int, int]], most: int) -> RegionList:
    base, size, flags, nid = (list(values) for values in zip(*rows, strict=True))
    return RegionList(name, len(rows), sum(size), base, size, flags, list(range(len(rows))), max=most, nid=nid)


def memblock_state() -> Snapshot:
    """Two nodes and a region that no allocation gets; the reserved array was doubled once and lies at 0x3812000."""
    memory = [(0x1000, 0x9E000, 0, 0), (0x100000, 0x1FEE0000, 0, 0), (0x20000000, 0x1000, 4, 1)]
    reserved = [(0, 0x100000, 0, NO_NODE), (0x1000000, 0x2814000, 0, NO_NODE), (0x1FFDF000, 0x800, 0x30, 0)]
    arrays = (
        RegionArray("memory", 0xFFFFFFFF82001000, 128, True, 128 * 24),
        RegionArray("reserved", 0xFFFF888003812000, 256, False, 256 * 24, base=0x3812000),
    )
    return Snapshot(
        memory=region_list("memory", memory, 128),
        reserved=region_list("reserved", reserved, 256),
        bits=64,
        page_size=4096,
        current_limit=0x40000000,
        bottom_up=True,
        layout="memblock",
        storage=MemblockStorage(arrays=arrays),
        arch="x86_64",
        phase="allocator complete",
        stop=Stop(0xFFFFFFFF82001234, "memblock_free_all"),
        firmware=FirmwareMap([0, 0x100000, 0xFFFC0000], [0x9FC00, 0x1FF01000, 0x40000], [1, 1, 2]),
        flag_names={1: "HOTPLUG", 2: "MIRROR", 4: "NOMAP", 16: "RSRV_NOINIT", 32: "RSRV_KERN"},
        no_node=NO_NODE,
    )


MB_HEAD = (
    "memblock of x86_64 at memblock_free_all (0xffffffff82001234): allocator complete, bottom-up, limit 0x40000000"
)
MB_MEMORY = """
memory: 3 regions (room for 128), 511.5 MiB (536,342,528 bytes)
    #  base                end                      size        bytes  flags    node
  ---  ------------------  ------------------  ---------  -----------  -------  ------
    0  0x0000000000001000  0x000000000009f000    632 KiB      647,168  -        0
    1  0x0000000000100000  0x000000001ffe0000  510.9 MiB  535,691,264  -        0
    2  0x0000000020000000  0x0000000020001000      4 KiB        4,096  NOMAP    1"""
MB_RESERVED = """
reserved: 3 regions (room for 256), 41.1 MiB (43,075,584 bytes)
    #  base                end                     size       bytes  flags                  node
  ---  ------------------  ------------------  --------  ----------  ---------------------  ------
    0  0x0000000000000000  0x0000000000100000     1 MiB   1,048,576  -                      -
    1  0x0000000001000000  0x0000000003814000  40.1 MiB  42,024,960  -                      -
    2  0x000000001ffdf000  0x000000001ffdf800     2 KiB       2,048  RSRV_NOINIT|RSRV_KERN  0"""
MB_ARRAYS = """
arrays:
  list      storage       base         size    room  address
  --------  ------------  ---------  ------  ------  ------------------
  memory    static array  -           3 KiB     128  0xffffffff82001000
  reserved  doubled       0x3812000   6 KiB     256  0xffff888003812000"""
MB_FIRMWARE = """
firmware: 3 ranges
    #  base                end                      size  type
  ---  ------------------  ------------------  ---------  --------
    0  0x0000000000000000  0x000000000009fc00    639 KiB  RAM
    1  0x0000000000100000  0x0000000020001000  511.0 MiB  RAM
    2  0x00000000fffc0000  0x0000000100000000    256 KiB  reserved"""


def test_memblock_dump() -> None:
    state = memblock_state()
    whole = dump_text(state)
    picture = whole[len(MB_HEAD) + 1 : whole.index("\nmemory: ")].rstrip("\n")
    assert dump_text(state, "blocks") == f"{MB_HEAD}\n{MB_ARRAYS}"
    assert dump_text(state, "firmware") == f"{MB_HEAD}\n{MB_FIRMWARE}"
    assert dump_text(state, "memory") == "\n".join([MB_HEAD, picture, MB_MEMORY])
    assert dump_text(state, "reserved") == "\n".join([MB_HEAD, picture, MB_RESERVED])
    assert whole == "\n".join([MB_HEAD, picture, MB_MEMORY, MB_RESERVED, MB_ARRAYS])
    # A flag that debug information does not name is its number.
    unnamed = dump_text(replace(state, flag_names={16: "RSRV_NOINIT"}), "reserved")
    assert "  2 KiB       2,048  RSRV_NOINIT|0x20  0" in unnamed


def test_the_kernels_own_dump_of_memblock() -> None:
    assert kernel_text(memblock_state()) == (
        "MEMBLOCK configuration:\n"
        " memory size = 0x000000001ff7f000 reserved size = 0x0000000002914800\n"
        " memory.cnt  = 0x3\n"
        " memory[0x0]\t[0x0000000000001000-0x000000000009efff], 0x000000000009e000 bytes on node 0 flags: 0x0\n"
        " memory[0x1]\t[0x0000000000100000-0x000000001ffdffff], 0x000000001fee0000 bytes on node 0 flags: 0x0\n"
        " memory[0x2]\t[0x0000000020000000-0x0000000020000fff], 0x0000000000001000 bytes on node 1 flags: 0x4\n"
        " reserved.cnt  = 0x3\n"
        " reserved[0x0]\t[0x0000000000000000-0x00000000000fffff], 0x0000000000100000 bytes flags: 0x0\n"
        " reserved[0x1]\t[0x0000000001000000-0x0000000003813fff], 0x0000000002814000 bytes flags: 0x0\n"
        " reserved[0x2]\t[0x000000001ffdf000-0x000000001ffdf7ff], 0x0000000000000800 bytes on node 0 flags: 0x30\n"
    )
    # Without CONFIG_NUMA a region has no node.
    state = memblock_state()
    lists = [replace(regions, nid=()) for regions in state.lists]
    plain = kernel_text(replace(state, memory=lists[0], reserved=lists[1], no_node=None))
    assert plain == re.sub(" on node [01]", "", kernel_text(state))
    assert kernel_text(replace(state, memory=lists[0], reserved=lists[1])) == plain
    # NUMA_NO_NODE is no node either.
    nowhere = kernel_text(replace(state, memory=replace(state.memory, nid=[-1, 0, 1])))
    assert nowhere == kernel_text(state).replace("9e000 bytes on node 0", "9e000 bytes")
    cells = [line.split()[-1] for line in dump_text(replace(state, memory=replace(state.memory, nid=[-1, 0, 1])),
                                                    "memory").splitlines()[-3:]]  # fmt: skip
    assert cells == ["-", "0", "1"]
    with pytest.raises(LmbError, match="the kernel's own dump cannot be shown any more: reserved: it was freed"):
        kernel_text(replace(state, refused={"reserved": "it was freed"}))


def test_what_is_not_there_is_said_instead_of_a_table() -> None:
    state = memblock_state()
    head, line = (f"\x1b[{sgr}m{{}}\x1b[0m".format for sgr in (1, 33))
    painted = Terminal(color=True)
    dummy = replace(state.reserved, base=[0], size=[0], flags=[0], nid=[NO_NODE], entry=[0], cnt=1, total_size=0)
    lines = dump_text(replace(state, reserved=dummy), "reserved", terminal=painted).splitlines()
    assert lines[-1] == head("reserved: empty (room for 256) (one dummy region of size 0)")
    lines = dump_text(replace(state, refused={"reserved": "it was freed"}), "reserved", terminal=painted).splitlines()
    assert lines[-1] == line("reserved: not shown: it was freed")
    lines = dump_text(replace(state, firmware=None), "firmware", terminal=painted).splitlines()
    assert lines[1:] == ["", line("firmware: no map can be read at this stop")]


def test_memblock_check() -> None:
    state = memblock_state()
    last = "6 regions, 2 arrays; memblock keeps no log of operations"
    assert check_text(state, [], None) == f"lmb-check: clean, verified: {last}"
    notes = [Finding("unmerged", "note", "one"), Finding("headroom", "note", "two")]
    assert check_text(state, notes[:1], None) == (f"note: unmerged: one\nlmb-check: clean (1 note), verified: {last}")
    found = [Finding("overlap", "finding", "three"), *notes]
    assert check_text(state, found, None) == (
        f"finding: overlap: three\nnote: unmerged: one\nnote: headroom: two\nlmb-check: 1 finding, 2 notes in: {last}"
    )
    refused = check_text(replace(state, refused={"reserved": "it was freed"}), notes[:1], None)
    assert refused == (
        "note: unmerged: one\nnot verified: reserved: it was freed\n"
        f"lmb-check: NOT verified, 0 findings, 1 note seen: {last}"
    )


def test_memblock_who() -> None:
    state = memblock_state()
    found = answer(state, (0x1FFDF000, 0x1FFDF001))
    assert (
        who_text(found, Known(state, None, {}.get))
        == """\
0x1ffdf000: reserved
  reserved  [0x1ffdf000, 0x1ffdf800), region 2, node 0, RSRV_NOINIT|RSRV_KERN
  memory    [0x100000, 0x1ffe0000), region 1, node 0
  firmware  [0x100000, 0x20001000) RAM
  below     free [0x3814000, 0x1ffdf000)
  above     free [0x1ffdf800, 0x1ffe0000)
  history   none: who reserved it is not known (no trace, and no operation log in this kernel)"""
    )


def test_memblock_free() -> None:
    state = memblock_state()
    lines = free_text(state, free_space(state, aligns=[0x1000])).splitlines()
    assert lines[:6] == [
        "free in [0x1000, 0x40000000): 3 holes, 470.8 MiB (493,664,256 bytes)",
        "    #  base                end                      size        bytes",
        "  ---  ------------------  ------------------  ---------  -----------",
        "    0  0x0000000000100000  0x0000000001000000     15 MiB   15,728,640",
        "    1  0x0000000003814000  0x000000001ffdf000  455.8 MiB  477,933,568",
        "    2  0x000000001ffdf800  0x000000001ffe0000      2 KiB        2,048",
    ]


MB_WHATIF: list[tuple[str, dict[str, int], str]] = [
    ("alloc", {"size": 0x10000, "align": 0x1000}, """\
memblock_alloc_range_nid(size=0x10000, align=0x1000, min=0x0, max=0x0, nid=-1, exact=false) returns 0xff0000
  reserved: nothing -> [0xff0000, 0x1000000)
  regions: memory 1 -> 1 of 5, reserved 3 -> 4 of 5; no array doubles"""),
    ("alloc", {"size": 0x1000000, "nid": 1}, """\
memblock_alloc_range_nid(size=0x1000000, align=0x0, min=0x0, max=0x0, nid=1, exact=false) fails and returns 0: \
no memory in [0x1000, 0xffffffffffffffff): the largest allocation possible there is 0x9ff000 bytes
  nothing changes"""),
    ("reserve", {"base": 0x700000, "size": 0x1000}, """\
memblock_add_range(list=reserved, base=0x700000, size=0x1000, nid=1024, flags=0x0) returns 0
  reserved: nothing -> [0x700000, 0x701000)
  regions: memory 1 -> 1 of 5, reserved 3 -> 4 of 5; no array doubles"""),
    ("free", {"base": 0x200000, "size": 0x1000}, """\
memblock_remove_range(list=reserved, base=0x200000, size=0x1000) returns 0
  reserved: [0x100000, 0x300000) -> [0x100000, 0x200000), [0x201000, 0x300000)
  regions: memory 1 -> 1 of 5, reserved 3 -> 4 of 5; no array doubles"""),
    ("add", {"base": 0x1000000, "size": 0x1000, "nid": 1, "flags": 2}, """\
memblock_add_range(list=memory, base=0x1000000, size=0x1000, nid=1, flags=0x2) returns 0
  memory: nothing -> [0x1000000, 0x1001000) MIRROR node 1
  regions: memory 1 -> 2 of 5, reserved 3 -> 3 of 5; no array doubles"""),
]  # fmt: skip


def test_what_cannot_be_told_is_said() -> None:
    found = predict_memblock(memblock_model(), "reserve", base=0x700000, size=0x1000)
    text = prediction_text(replace(found, result=None, reason="by hand", changes=(), growth=()))
    assert text.endswith("flags=0x0) cannot be told: by hand\n  nothing changes")
    text = prediction_text(replace(found, result=None, reason="", changes=(), growth=("one", "two")))
    assert text.endswith("flags=0x0) cannot be told\n  no region changes\n  one\n  two")
    doubtful = replace(found, unverified="the member x is unknown")
    assert prediction_text(doubtful) == f"NOT verified: the member x is unknown\n{prediction_text(found)}"
    asked = memblock_state()
    assert prediction_json(doubtful, asked) == {
        **prediction_json(found, asked), "not_verified": "the member x is unknown",
    }  # fmt: skip


def test_a_region_without_a_node_has_none_in_a_prediction() -> None:
    found = predict_memblock(memblock_model(), "add", base=0x2000000, size=0x1000, nid=0)
    change, given = found.changes[0], "memory: nothing -> [0x2000000, 0x2001000)"
    for nid, told in ((0, " node 0"), (1, " node 1"), (-1, ""), (NO_NODE, "")):
        row = replace(change, after=tuple(replace(one, nid=nid) for one in change.after))
        assert prediction_text(replace(found, changes=(row,))).splitlines()[1] == f"  {given}{told}"


def test_the_answers_as_json() -> None:
    state = lmb_state()
    found = prediction_json(predict_lmb(state, "alloc", size=0x10000, align=0x200000), state)
    expected = {
        "schema": "gdb-lmb/whatif/1", "layout": "lmb-list", "arch": "test",
        "stop": {"pc": "0xffffffff81001234", "symbol": "lmb_ready"}, "function": "lmb_alloc",
        "arguments": {"size": "0x10000", "align": "0x200000"}, "result": "0x1e00000", "errno": None, "reason": None,
        "changes": [{"list": "reserved", "before": [],
                     "after": [{"base": "0x1e00000", "size": "0x10000", "flags": 0}]}],
        "entries": {"popped": 1, "pushed": 0, "free": [3, 2]}, "blocks": [], "arrays": [],
    }  # fmt: skip
    # Members may come to be beside these.
    assert {name: found[name] for name in expected} == expected
    failed = prediction_json(predict_lmb(state, "alloc", size=0), state)
    assert (failed["result"], failed["errno"], failed["reason"]) == (-22, "EINVAL", "size is 0")
    found = prediction_json(predict_memblock(memblock_model(), "alloc", size=0x10000), memblock_state())
    assert found["arguments"] == {
        "size": "0x10000", "align": "0x0", "min": "0x0", "max": "0x0", "nid": "-1", "exact": False,
    }  # fmt: skip
    assert found["entries"] == {"popped": 0, "pushed": 0, "free": [0, 0]}
    assert found["changes"][0]["after"] == [{"base": "0xff0000", "size": "0x10000", "flags": 0, "nid": NO_NODE}]
    none = prediction_json(predict_memblock(memblock_model(), "alloc", size=0x10000000), memblock_state())
    assert none["result"] == 0 and none["errno"] is None and "largest allocation possible" in none["reason"]
    space = free_space(state, aligns=[0x1000, 0x40000000], min=0x200000, max=0x402400)
    expected = {
        "schema": "gdb-lmb/free/1", "layout": "lmb-list", "arch": "test", "torn": False, "closed": False,
        "stop": {"pc": "0xffffffff81001234", "symbol": "lmb_ready"}, "min": "0x200000", "max": "0x402400",
        "free": "0x200000",
        "holes": [{"base": "0x200000", "size": "0x100000"}, {"base": "0x302400", "size": "0x100000"}],
        "largest": [
            {"align": "0x1000", "max": "0x402400", "base": "0x200000", "size": "0x100000"},
            {"align": "0x40000000", "max": "0x402400", "base": None, "size": "0x0"},
        ],
        "fragmentation": 0.5,
    }  # fmt: skip
    found = free_json(state, space)
    assert {name: found[name] for name in expected} == expected


def memblock_model() -> MemblockModel:
    """RAM [0, 16M) of node 0; reserved [1M, 3M), [4M, 5M) and [6M, 6M + 4K), in arrays of five."""
    model = MemblockModel(MemblockConfig(LINUX_6_1, no_node=NO_NODE, memory_max=5, reserved_max=5))
    assert model.add_range("memory", 0, 0x1000000, 0) == 0
    for base, size in ((0x100000, 0x200000), (0x400000, 0x100000), (0x600000, 0x1000)):
        assert model.add_range("reserved", base, size, NO_NODE) == 0
    return model


@pytest.mark.parametrize(("operation", "given", "text"), MB_WHATIF)
def test_memblock_whatif(operation: str, given: dict[str, int], text: str) -> None:
    assert prediction_text(predict_memblock(memblock_model(), operation, **given)) == text


# -- above answers that rest on the lists ----------------------------------------------------------------------

HANDED_OVER = "handed over: what was free then is the page allocator's now"


@pytest.mark.parametrize("phase", ["handed over", "discarded"])
def test_after_the_hand_over_memblock_is_not_told_as_in_charge(phase: str) -> None:
    state = replace(memblock_state(), phase=phase)
    assert free_text(state, free_space(state)).splitlines()[0] == HANDED_OVER
    data = free_json(state, free_space(state))
    assert (data["closed"], data["state"], data["free"]) == (True, "handed over", "0x1d6cb800")
    asked = answer(state, (0x200000, 0x201000))
    told = who_text(asked, Known(state, None, {}.get)).splitlines()
    assert told[:2] == [HANDED_OVER, "[0x200000, 0x201000): handed over"] and "free" not in "".join(told[1:])
    data = who_json(asked, Known(state, None, {}.get))
    assert data["closed"] is True and data["parts"][0]["state"] == "handed over"
    assert data["above"]["state"] == "reserved" and data["below"]["state"] == "reserved"
    shown = Shown(state, (0x200000, 0x400000))
    assert map_text(shown).splitlines()[:2] == [HANDED_OVER, "map of [0x200000, 0x400000), 2 MiB: 2 MiB handed over"]
    assert map_json(shown)["closed"] is True and map_json(shown)["parts"][0]["state"] == "handed over"
    assert map_json(shown)["bytes"] == {
        "reserved": "0x0", "free": "0x0", "handed over": "0x200000", "never given": "0x0", "not memory": "0x0"
    }  # fmt: skip
    # Nowhere is a byte told as free: pictures, tables and their headings.
    shown = Shown(state, (0, 0x1000000))
    texts = [map_text(shown), free_text(state, free_space(state)), dump_text(state, "all"), dump_text(state, "memory")]
    words = [re.findall(r"[^\n]*\bfree\b[^\n]*", text.replace(HANDED_OVER, "")) for text in texts]
    assert words == [[], ["largest range that was free, by the alignment of its base:"], [], []]
    assert all(". handed over" in text for text in (texts[0], texts[2], texts[3]))
    before = memblock_state()
    assert free_json(before, free_space(before))["state"] == "free"
    assert map_json(Shown(before, (0x200000, 0x400000)))["bytes"].keys().isdisjoint({"handed over"})
    assert ". free" in dump_text(before)
    # Its own functions still give what its lists show, and the page allocator does not hear of it.
    found = predict_memblock(memblock_model(), "alloc", size=0x1000)
    call = "memblock_alloc_range_nid(size=0x1000, align=0x0, min=0x0, max=0x0, nid=-1, exact=false)"
    given = "memory that the page allocator has had since the hand-over"
    lines = prediction_text(found, PLAIN, state).splitlines()
    assert lines[:2] == [HANDED_OVER, f"{call} returns 0xfff000: {given}"]
    data = prediction_json(found, state)
    assert data["closed"] is True and (data["result"], data["reason"]) == ("0xfff000", given)
    assert data["arguments"]["min"] == "0x0"
    for result, told in ((None, "cannot be told"), (0, "fails and returns 0"), (1, f"returns 0x1: {given}")):
        line = prediction_text(replace(found, result=result), PLAIN, state).splitlines()[1]
        assert line == f"{call} {told}"
    before = memblock_state()
    assert prediction_text(found, PLAIN, before) == prediction_text(found)
    assert prediction_json(found, before)["closed"] is False and prediction_json(found, before)["reason"] is None
    assert who_json(answer(before, (0x200000, 0x201000)), Known(before, None, {}.get))["parts"][0]["state"] == "free"


def test_answers_from_damaged_lists_begin_with_a_warning() -> None:
    whole = memblock_state()
    assert [free_json(whole, free_space(whole))[name] for name in ("closed", "findings")] == [False, 0]
    reserved = replace(whole.reserved, base=[*whole.reserved.base[:1], *whole.reserved.base[:0:-1]])
    state = replace(whole, reserved=reserved)
    count = sum(finding.severity == "finding" for finding in check(state))
    warning = f"warning: {count} finding{'s' * (count > 1)}; lmb-check lists them"
    known, asked = Known(state, None, {}.get), answer(state, (0x200000, 0x201000))
    assert count and free_text(state, free_space(state)).splitlines()[0] == warning
    assert who_text(asked, known).splitlines()[0] == map_text(Shown(state, (0, 0x200000))).splitlines()[0] == warning
    assert free_json(state, free_space(state))["findings"] == who_json(asked, known)["findings"] == count
    # Between two states there may be findings that are none.
    torn = replace(state, torn="memblock_insert_region")
    assert free_text(torn, free_space(torn)).splitlines()[0].startswith("torn: ")
    assert free_json(torn, free_space(torn))["findings"] == 0
