# SPDX-License-Identifier: GPL-2.0-or-later
"""Virtual to physical by hand: values that kernels of each width had, as QEMU and the kernels told them."""

from __future__ import annotations

import pytest

from gdb_lmb.arches.arm64 import linear_maps
from gdb_lmb.arches.x86.boot import DIRECT_BYTES, KERNEL_MAP_VA
from gdb_lmb.core.address import Linear, Placement, TranslatedMemory, first_match
from gdb_lmb.core.errors import ReadError
from gdb_lmb.core.memory import BytesMemory

TEXT_48 = 0xFFFF800080000000
IMAGE = (TEXT_48, TEXT_48 + 0x1E80000)
RAM = 1 << 30


@pytest.mark.parametrize(
    ("text", "memstart", "va", "physical"),
    [
        # Built for 52 bits; the processor has them: the map begins at -(1 << 52), RAM at its start.
        (TEXT_48, 0x40000000, 0xFFF0000000000000, 0x40000000),
        (TEXT_48, 0x40000000, 0xFFF000001FFFF000, 0x5FFFF000),
        # Built for 52, the processor has 48; KASLR moved RAM within the map (seen: memstart 0xfff0f8a000000000).
        (TEXT_48, 0xFFF0F8A000000000, 0xFFFF076040000000, 0x40000000),
        # The same without KASLR: memstart_addr is 1 GiB less (1 << 52) - (1 << 48).
        (TEXT_48, 0xFFF1000040000000, 0xFFFF000000001000, 0x40001000),
        # Built for 48 bits, KASLR moved RAM up in the map: memstart_addr is "negative".
        (TEXT_48, 0xFFFFF00040000000, 0xFFFF100000000000, 0x40000000),
        (TEXT_48, 0x80000000, 0xFFFF000000001000, 0x80001000),
        # Built for 39 bits.
        (0xFFFFFFC080000000, 0x40000000, 0xFFFFFF8000000010, 0x40000010),
    ],
)
def test_arm64_linear_maps(text: int, memstart: int, va: int, physical: int) -> None:
    placement = Placement(RAM, 0, (text, text + (1 << 24)), linear_maps(text, memstart), base_va=text)
    assert placement.to_physical(va) == physical


def test_arm64_image_and_what_is_neither() -> None:
    placement = Placement(0x40200000, 0x229E17A00000, IMAGE, linear_maps(TEXT_48, 0x40000000), base_va=TEXT_48)
    assert placement.to_physical(TEXT_48 + 0x229E17A00000 + 0x1BBDC00) == 0x41DBDC00
    for va in (0, TEXT_48, TEXT_48 + 0x229E17A00000 - 1, 0xFFFFFFFFFF5FE000, 0x0000FFFF00000000):
        with pytest.raises(ReadError):
            placement.to_physical(va)


def test_arm64_has_no_linear_map_before_it_is_set() -> None:
    assert linear_maps(TEXT_48, (1 << 64) - 1) == ()


def test_first_match_passes_over_holes_and_negative_addresses() -> None:
    physical = BytesMemory({0x1000: b"the build id", 0x9000: b"the build id"})
    assert first_match(physical, 0x10, b"the build id", (-0x1010, 0x5000, 0xFF0, 0x8FF0)) == 0xFF0
    assert first_match(physical, 0x10, b"the build id", ()) is None


def test_placement_by_hand() -> None:
    # Linked at 0xffffffff81000000, moved by 0x1200000 virtually and by 0x4c00000 physically.
    image_range = (0xFFFFFFFF81000000, 0xFFFFFFFF83811000)
    placement = Placement(
        0x4C00000, 0x1200000, image_range, (Linear(0xFFFF9F0000000000, DIRECT_BYTES, 0),), base_va=KERNEL_MAP_VA
    )
    assert placement.to_physical(0xFFFFFFFF82200000) == 0x5C00000
    assert placement.to_physical(0xFFFF9F001FEE8000) == 0x1FEE8000
    with pytest.raises(ReadError):
        placement.to_physical(0xFFFFFFFF81000000)  # below the image where it runs
    memory = TranslatedMemory(BytesMemory({0x5C00000: b"abcd"}), placement)
    assert memory.read(0xFFFFFFFF82200001, 2) == b"bc"


def test_the_ends_of_a_linear_map_and_of_an_image() -> None:
    linear = Linear(0xFFFF_0000, 0x1000, -0x800)
    assert [linear.to_physical(0xFFFF_0000 + at) for at in (-1, 0x7FF, 0x800, 0xFFF, 0x1000)] == [
        None, None, 0, 0x7FF, None,
    ]  # fmt: skip
    # Linked at 0x1000; runs at 0x11000, and lies at 0x5000.
    placement = Placement(0x5000, 0x10000, (0x1000, 0x3000), (linear,), base_va=0x1000)
    assert placement.to_physical(0x11000) == 0x5000 and placement.to_physical(0x12FFF) == 0x6FFF
    with pytest.raises(ReadError) as refused:
        placement.to_physical(0x13000)
    assert str(refused.value) == (
        "cannot read 1 bytes of guest memory at 0x13000: neither in the kernel image nor in the direct map"
    )
    places = (0x4FFF, 0x5000, 0x6FFF, 0x7000, 0x10FFF, 0x11000, 0x12FFF, 0x13000)
    assert [pc for pc in places if placement.runs(pc)] == [0x5000, 0x6FFF, 0x11000, 0x12FFF]
    assert not placement.runs(None)


def test_bytes_at_physical_0() -> None:
    physical = BytesMemory({0: b"the build id"})
    assert first_match(physical, 0x1000, b"the build id", (-0x1001, -0x1000)) == -0x1000
    assert first_match(physical, 0x1000, b"", (-0x1000,)) is None


def test_arm64_linear_maps_at_their_ends() -> None:
    # Built for 48 bits: [-(1 << 48), -(1 << 47)), and what a processor of 52 bits has below that.
    low, wide, half = 0xFFFF_0000_0000_0000, 0xFFF0_0000_0000_0000, 1 << 47
    maps = (Linear(low, half, 0x4000_0000), Linear(wide, low - wide, 0x4000_0000))
    assert linear_maps(TEXT_48, 0x4000_0000) == maps
    # `memstart_addr` is of whole pages.
    assert linear_maps(TEXT_48, 0x4000_0800) == linear_maps(TEXT_48, 0x4000_0001) == ()
    assert linear_maps(TEXT_48, 0x4000_1000)[0] == Linear(low, half, 0x4000_1000)
    # It is signed; from -(1 << 51) down it is that of a kernel built for 52 bits.
    assert linear_maps(TEXT_48, 1 << 63) == (Linear(low, half, -(1 << 63) + low - wide),)
    assert linear_maps(TEXT_48, (1 << 64) - (1 << 51))[0] == Linear(low, half, -(1 << 51))
    below = (1 << 64) - (1 << 51) - 4096
    assert linear_maps(TEXT_48, below) == (Linear(low, half, -(1 << 51) - 4096 + low - wide),)
