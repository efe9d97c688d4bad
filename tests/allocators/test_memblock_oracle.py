# SPDX-License-Identifier: GPL-2.0-or-later
"""The model of memblock against the kernel's own mm/memblock.c, the whole state after every operation.

The C is built in user space by the kernel's simulator, from the source packages in the cache, with nodes
and without, with usual and with short static arrays, for 64 and 32 bits of `phys_addr_t`.
"""

from __future__ import annotations

import random
from collections import Counter

import pytest

from gdb_lmb.kernels.cache import cache_folder
from gdb_lmb.kernels.stock import find_source
from tests.helpers.linux_behaviors import LINUX_6_1, LINUX_6_12, LINUX_7_3
from tests.helpers.memblock_oracle import MAX_NUMNODES, RAM_BASE, RAM_END, Variant, build, drive
from tests.helpers.memblock_random import RESIZE, Call, Lockstep, Story, add
from tests.helpers.soak import ROUNDS, SEED

pytestmark = pytest.mark.stock

# Of each source version, with nodes and without: together over 20,000.
OPERATIONS = 10500 * ROUNDS
FIRST_SEED = 20100324 + SEED
# Short arrays double over and over within a short run, usual ones only within a long one.
PER_RUN = {128: 1300, 8: 200}
SIZES = ((128, 128), (8, 9))

BEHAVIORS = {"source:6.1": LINUX_6_1, "source:6.12": LINUX_6_12, "source:7": LINUX_7_3}

HAPPENED = (
    "memory doubled", "reserved doubled", "memory's old array freed", "reserved's old array freed",
    "split", "merge", "allocation", "allocation failed",
    "-ENOMEM", "top-down", "bottom-up", "mirror", "mirror fallback",
)  # fmt: skip


def events_of(source: str, numa: bool) -> tuple[int, Counter[str]]:
    """Run random operations on every variant; return how many there were, and what happened."""
    behavior = BEHAVIORS[source]
    tree = find_source(source).tree
    events: Counter[str] = Counter()
    total = 0
    for number, (memory_max, reserved_max, bits) in enumerate((*size, bits) for size in SIZES for bits in (64, 32)):
        variant = Variant(numa, memory_max, reserved_max, bits)
        driver = build(tree, variant, cache_folder())
        run = done = 0
        while done < OPERATIONS // 4:
            seed = FIRST_SEED + 10000 * number + 2 * run + numa
            story = Story(random.Random(seed), behavior, variant, PER_RUN[memory_max])
            lockstep = Lockstep(behavior, variant)
            answers, _ = drive(driver, [call.line for call in story.calls])
            try:
                done += lockstep.follow(story.calls, answers)
            except AssertionError as error:
                raise AssertionError(f"{source}, {variant}, seed {seed}: {error}") from None
            events += lockstep.events
            run += 1
        total += done
    return total, events


@pytest.mark.random
@pytest.mark.parametrize("numa", [True, False], ids=["numa", "no-numa"])
@pytest.mark.parametrize("source", list(BEHAVIORS))
def test_random_operations(source: str, numa: bool) -> None:
    total, events = events_of(source, numa)
    print(f"{source} numa={numa} seed {FIRST_SEED}: {total} operations, {dict(events)}")
    assert total >= OPERATIONS // 4 * 4
    wanted = [*HAPPENED, *(["node", "node fallback"] if numa else [])]
    # The run must have gone where the rules are.
    missing = [event for event in wanted if not events[event]]
    assert not missing, f"never happened: {missing}; {dict(events)}"


@pytest.mark.parametrize("source", list(BEHAVIORS))
def test_the_comparison_sees_a_difference(source: str) -> None:
    """A model of another behavior must be caught, or the comparison is blind."""
    others = [behavior for behavior in BEHAVIORS.values() if behavior != BEHAVIORS[source]]
    variant = Variant(numa=True)
    driver = build(find_source(source).tree, variant, cache_folder())
    story = Story(random.Random(FIRST_SEED), BEHAVIORS[source], variant, PER_RUN[128])
    answers, _ = drive(driver, [call.line for call in story.calls])
    Lockstep(BEHAVIORS[source], variant).follow(story.calls, answers)
    for other in others:
        with pytest.raises(AssertionError, match="operation"):
            Lockstep(other, variant).follow(story.calls, answers)


def follow(source: str, calls: list[Call]) -> Counter[str]:
    """Run these calls on both, with short arrays; return what happened."""
    variant = Variant(numa=True, memory_max=8, reserved_max=9)
    answers, _ = drive(build(find_source(source).tree, variant, cache_folder()), [call.line for call in calls])
    lockstep = Lockstep(BEHAVIORS[source], variant)
    assert lockstep.follow(calls, answers) == len(calls)
    return lockstep.events


def reservations(source: str, count: int) -> list[Call]:
    nid = -1 if BEHAVIORS[source].marks_kernel else MAX_NUMNODES
    return [add("r", RAM_BASE + 0x2000 * n, 0x1000, nid, 0) for n in range(count)]


@pytest.mark.parametrize("source", list(BEHAVIORS))
def test_doubling_may_land_in_the_area_to_be_reserved(source: str) -> None:
    """With base 0 the second search has no upper end: the new array then lies inside what is reserved."""
    nid = -1 if BEHAVIORS[source].marks_kernel else MAX_NUMNODES
    whole = add("r", 0, RAM_END - RAM_BASE, nid, 0)
    calls = [add("m", RAM_BASE, 0x100000, 0, 0), RESIZE, *reservations(source, 9), whole]
    assert follow(source, calls)["array inside the new area"] == 1


@pytest.mark.parametrize("source", list(BEHAVIORS))
def test_doubling_goes_below_the_area_to_be_reserved(source: str) -> None:
    """Nothing is free above the area, so the second search finds the array's place."""
    nid = -1 if BEHAVIORS[source].marks_kernel else MAX_NUMNODES
    top = add("r", RAM_BASE + 0xFF000, 0x1000, nid, 0)
    calls = [add("m", RAM_BASE, 0x100000, 0, 0), RESIZE, *reservations(source, 9), top]
    assert follow(source, calls)["array below the new area"] == 1


@pytest.mark.parametrize("source", list(BEHAVIORS))
def test_doubling_one_array_doubles_the_other(source: str) -> None:
    """Reserving the new array of memory takes one region more than reserved has."""
    banks = [add("m", RAM_BASE + 0x400000 * n, 0x200000, 0, 0) for n in range(9)]
    calls = [*banks[:8], RESIZE, *reservations(source, 9), banks[8]]
    assert follow(source, calls)["both doubled at once"] == 1
