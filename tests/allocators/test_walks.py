# SPDX-License-Identifier: GPL-2.0-or-later
"""Lists of entries followed from both ends: which members are known where links are damaged."""

from __future__ import annotations

import pytest

from gdb_lmb.allocators.lmb.blocks import Head
from gdb_lmb.allocators.lmb.decode import NodeTable, walk_lists
from gdb_lmb.allocators.lmb.storage import Links

# The links are 24 bytes behind an entry's beginning.
SIZE, LINK, NOWHERE = 40, 24, 8
ENTRIES = [0x1000 + LINK + SIZE * at for at in range(10)]
HEADS = [0x100, 0x200]


def walked(*lists: list[int], damage: dict[tuple[str, int], int] | None = None) -> list[tuple[list[int], bool, bool]]:
    """Walk lists of these entries of ten, some links of which lead elsewhere: (members, complete, mutual) of each.

    `damage` is by the link's name and the entry, or -1 and -2 for the heads; it leads to an entry, or to an address.
    """
    next_va, prev_va, heads = [0] * len(ENTRIES), [0] * len(ENTRIES), []
    found = {key: ENTRIES[to] if to < len(ENTRIES) and to != NOWHERE else to for key, to in (damage or {}).items()}
    for number, (head, members) in enumerate(zip(HEADS, lists, strict=False), 1):
        ring = [head, *(ENTRIES[at] for at in members)]
        for at, before, after in zip(members, ring, [*ring[2:], head], strict=False):
            next_va[at], prev_va[at] = found.get(("next", at), after), found.get(("prev", at), before)
        first, last = ring[1 % len(ring)], ring[-1]
        heads.append(Head(head, found.get(("next", -number), first), found.get(("prev", -number), last)))
    nodes = NodeTable([ENTRIES[0] - LINK], [len(ENTRIES)], SIZE, LINK)
    return [(list(order), walk.complete, walk.mutual)
            for order, walk in walk_lists(heads, nodes, Links(ENTRIES, next_va, prev_va))]  # fmt: skip


@pytest.mark.parametrize(
    ("damage", "members", "complete"),
    [
        # One bad link: both sides know the members behind it.
        ({("prev", 2): NOWHERE}, [0, 1, 2, 3], True),
        ({("next", 1): NOWHERE}, [0, 1, 2, 3], True),
        # The links of 1, or of 1 and 2, lead elsewhere.
        ({("prev", 1): NOWHERE, ("next", 1): NOWHERE}, [0, 1, 2, 3], True),
        ({("prev", 1): NOWHERE, ("next", 2): NOWHERE}, [0, 1, 2, 3], True),
        ({("next", 1): NOWHERE, ("prev", 2): NOWHERE}, [0, 1, 2, 3], False),
        ({("next", 0): NOWHERE, ("prev", 3): NOWHERE}, [0, 3], False),
        # Into the other list, whose members are its own.
        ({("next", 0): 5, ("prev", 3): 6}, [0, 3], False),
        ({("next", 3): NOWHERE}, [0, 1, 2, 3], True),
    ],
)
def test_members_of_a_damaged_list(damage: dict[tuple[str, int], int], members: list[int], complete: bool) -> None:
    assert walked([0, 1, 2, 3], [5, 6], damage=damage) == [(members, complete, False), ([5, 6], True, True)]


def test_a_member_that_two_ends_agree_on_is_no_other_lists() -> None:
    # Entry 1 of the first list, whose own links are lost; one end of a gap in the second one leads to it too.
    lost = {("prev", 1): NOWHERE, ("next", 1): NOWHERE, ("next", 5): 1, ("prev", 7): NOWHERE, ("prev", 6): NOWHERE}
    assert walked([0, 1, 2], [5, 6, 7], damage=lost) == [
        ([0, 1, 2], True, False), ([5, 7], False, False),
    ]  # fmt: skip


def test_sound_lists() -> None:
    assert walked([3, 1, 2], []) == [([3, 1, 2], True, True), ([], True, True)]


def test_a_block_without_entries_hides_none() -> None:
    nodes = NodeTable([0x1000, 0x1000 + 2 * SIZE, 0x2000], [4, 0, 1], SIZE, 0)
    found = [nodes.index(va) for va in (0xFFF, 0x1000, 0x1001, 0x1000 + 2 * SIZE, 0x1000 + 4 * SIZE, 0x2000)]
    assert found == [None, 0, None, 2, None, 4]
