# SPDX-License-Identifier: GPL-2.0-or-later
"""Every field of a list-based LMB changed, on images that are written here."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gdb_lmb.allocators.lmb.model import LmbConfig, LmbModel
from tests.helpers.image import ABIS, Image, build
from tests.helpers.lmb_changes import CHANGES, HANDED_OVER, LmbImage, wrong_rows
from tests.helpers.operations import apply, op
from tests.helpers.small_lmb import FIRMWARE


def named(image: Image) -> LmbImage:
    """Return the image with names of its lists, in a program that covers no more than they and what is static."""
    program = image.program
    names_va = program.lmb_va + program.lmb.size + 0x40
    image.segments[names_va] = bytearray(b"memory\0reserved\0")
    for name, at in (("memory", 0), ("reserved", 7)):
        image.lmb(f"{name}.name", names_va + at)
    part = range(program.lmb_va, names_va + 16)
    image.program = replace(program, image=(part,))
    return LmbImage(image)


def sound_image(abi_name: str, *, klimit: bool = False, closed: bool = False) -> LmbImage:
    """Return a state with three blocks and holes between reservations."""
    abi = ABIS[abi_name]
    _, region, block = abi.structs()
    header = -(-block.size // region.align) * region.align
    model = LmbModel(
        LmbConfig(static=8, klimit=0x180000 if klimit else None, block_size=512, entry_size=region.size,
                  header_size=header, bits=abi.bits)
    )  # fmt: skip
    first = [op("add", base, size) for base, size, kind in FIRMWARE if kind == 1]
    # The klimit page ends where the image does.
    first += [op("reserve", 0x100000, 0x80000), op("allow_growth"), op("remove", 0x200000, 0x3000)]
    many = [op("reserve", 0x400000 + at * 0x2000, 0x1000) for at in range(110 if klimit else 60)]
    log = [(operation, apply(model, operation) or 0) for operation in (*first, *many)]
    if closed:
        log.append((op("free_all"), apply(model, op("free_all")) or 0))
    assert len(model.blocks) >= 3
    return named(build(model, abi, FIRMWARE, log))


@pytest.mark.parametrize(
    ("abi", "klimit"), [("x86_64", False), ("x86_64", True), ("ppc64", True), ("ppc32", False), ("i386-pae", False)]
)
def test_changes(abi: str, klimit: bool) -> None:
    assert wrong_rows(sound_image(abi, klimit=klimit), CHANGES) == {}


@pytest.mark.parametrize("abi", list(ABIS))
def test_changes_after_the_hand_over(abi: str) -> None:
    assert wrong_rows(sound_image(abi, closed=True), HANDED_OVER) == {}
