# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest's own log against its lists: each way in which it may prove nothing, or prove the guest wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from gdb_lmb.allocators.base import LogVerdict
from gdb_lmb.allocators.lmb.decode import decode
from gdb_lmb.analysis.replay import check_log
from gdb_lmb.core.snapshot import Finding, RegionList, Snapshot, column
from tests.helpers.small_lmb import lmb_model
from tests.helpers.states import lmb, stored


def state() -> Snapshot:
    """A state with its log: `init`, then the seven operations of `small_lmb`; record N was called from 0x80001000 + N.

    1 and 3 add the neighbours [0x100000, 0x2000000) and [0x2000000, 0x2001000), 7 reserves [0x300000, 0x302400).
    """
    image = lmb_model()[1]
    return decode(image.program, image, with_log=True)


def logged(**changes: Any) -> Snapshot:
    log = lmb(state()).log
    assert log is not None
    return stored(state(), log=replace(log, **changes))


def changed(values: Sequence[Any], at: int, value: Any) -> list[Any]:
    return [*values[:at], value, *values[at + 1 :]]


def recorded(name: str, at: int, value: Any) -> Snapshot:
    return logged(**{name: changed(getattr(lmb(state()).log, name), at, value)})


def wrong(replayed: int, message: str, *addresses: int) -> LogVerdict:
    return LogVerdict(replayed, divergence=Finding("log-divergence", "finding", message, addresses))


ALLOC = "6, alloc(size=0x4000, align=0x1000, min=0x0, max=0x0, flags=0x0), called from 0x80001006"
RESERVE = "7, reserve(base=0x300000, size=0x2400, flags=0x0), called from 0x80001007"


def test_what_proves_nothing() -> None:
    assert check_log(state()) == LogVerdict(7)
    assert check_log(stored(state(), log=None)) == LogVerdict(
        0, "this kernel keeps no operation log (CONFIG_LMB_LOG)", "no-log"
    )
    assert check_log(replace(state(), torn="lmb_add")) == LogVerdict(0, "the stop is inside lmb_add", "torn")
    names = ("op", "flags", "error", "base", "size", "align", "min", "max", "result", "caller")
    last = {name: list(getattr(lmb(state()).log, name))[-2:] for name in names}
    assert check_log(logged(nr=8, capacity=2, **last)) == LogVerdict(
        0, "the operation log has wrapped: its first 6 of 8 records are lost", "log-wrapped"
    )


def test_a_log_that_is_no_log_of_this_guest() -> None:
    assert check_log(recorded("op", 0, "add")) == wrong(0, "the operation log begins with 'add', not with init")
    assert check_log(recorded("op", 5, "?17")) == wrong(
        4, "record 5 of the operation log is damaged: '?17' is no operation"
    )
    assert check_log(recorded("result", 6, 0x1FFA000)) == wrong(
        6, f"operation {ALLOC}, returned 0x1ffa000, but the model returns 0x1ffb000", 0x80001006
    )
    # Its array has five entries; with the fifth comes the first block.
    told = check_log(stored(state(), blocks=lmb(state()).blocks[:1]), lambda pc: f"<{pc:#x}>")
    assert told.replayed == 6 and told.divergence is not None
    assert told.divergence.message == (
        f"operation {ALLOC.replace('0x80001006', '<0x80001006>')}, needs block 1, which the guest never gained"
    )
    assert told.divergence.addresses == (0x80001006,)


INIT_OF_256 = "lmb_init() was logged with block size 0x100 and 5 entries at no physical address, but the guest has "


@pytest.mark.parametrize(
    ("damaged", "told"),
    [
        (lambda: logged(nr=0, op=[]), "the operation log is empty, but LMB is initialised"),
        (lambda: recorded("error", 0, -22), "lmb_init() was logged as failed (-22), but LMB is initialised"),
        (lambda: stored(state(), blocks=()), "the operation log tells of an initial storage, but there is none"),
        (lambda: stored(state(), block_size=512), f"{INIT_OF_256}0x200 and 5 entries at no physical address"),
        (lambda: stored(state(), block_size=None), f"{INIT_OF_256}none and 5 entries at no physical address"),
        # A header of 48 bytes.
        (lambda: recorded("align", 0, 48),
         "the log's init record contradicts itself or the program's debug information"),
        (lambda: logged(nr=9, capacity=7, op=["add", "?17", *["add"] * 5]),
         "the operation log tells of 9 records, but the one in the place of 3 is '?17'"),
    ],
)  # fmt: skip
def test_a_log_that_begins_otherwise(damaged: Callable[[], Snapshot], told: str) -> None:
    assert check_log(damaged()) == wrong(0, told)


def test_a_block_of_another_size_than_the_guests() -> None:
    blocks = lmb(state()).blocks
    found = check_log(stored(state(), blocks=(blocks[0], replace(blocks[1], nr=4)))).divergence
    assert found is not None
    assert found.message == f"operation {ALLOC}, needs block 1 with 5 entries, but the guest's has 4"


def with_list(which: str, at: int, **values: int) -> Snapshot:
    # A state in which one region of a list is another.
    regions: RegionList = getattr(state(), which)
    columns = {name: column(changed(getattr(regions, name), at, value)) for name, value in values.items()}
    lists: dict[str, Any] = {which: replace(regions, **columns)}
    return replace(state(), **lists)


ADD = "2, add(base=0x100000, size=0x1f00000, flags=0x0), called from 0x80001002"
PLACES = [
    # Where it begins, and where it ends.
    ("reserved", 1, {"base": 0x300800}, "reserved[1] is [0x300800, 0x302c00) flags 0x0", 0x300000, RESERVE),
    ("reserved", 1, {"size": 0x2800}, "reserved[1] is [0x300000, 0x302800) flags 0x0", 0x302400, RESERVE),
    # Only the last one of two that touch there.
    ("memory", 2, {"base": 0x2000800}, "memory[2] is [0x2000800, 0x2001800) flags 0x4", 0x2000000,
     "3, add(base=0x2000000, size=0x1000, flags=0x4), called from 0x80001003"),
    # Not one of the other list, though it came later.
    ("memory", 1, {"size": 0x201000}, "memory[1] is [0x100000, 0x301000) flags 0x0", 0x301000, ADD),
]  # fmt: skip


@pytest.mark.parametrize(("which", "at", "values", "told", "address", "last"), PLACES, ids=range(len(PLACES)))
def test_the_last_operation_at_the_place(
    which: str, at: int, values: dict[str, int], told: str, address: int, last: str
) -> None:
    found = check_log(with_list(which, at, **values))
    right: RegionList = getattr(state(), which)
    region = right[at]
    expected = f"[{region.base:#x}, {region.base + region.size:#x}) flags {region.flags:#x}"
    assert found == wrong(
        7,
        f"after replaying all 7 operations {told}, but {expected} is expected; the last operation there was {last}",
        address,
    )


def test_a_place_that_no_operation_touched_and_no_place() -> None:
    # The block of entries: nobody's operation.
    found = check_log(with_list("reserved", 3, base=0x1FFFF80))
    assert found == wrong(
        7,
        "after replaying all 7 operations reserved[3] is [0x1ffff80, 0x2000080) flags 0x0, "
        "but [0x1ffff00, 0x2000000) flags 0x0 is expected",
        0x1FFFF00,
    )
    assert check_log(replace(state(), bottom_up=True)) == wrong(
        7, "after replaying all 7 operations bottom_up is true, but false is expected"
    )
