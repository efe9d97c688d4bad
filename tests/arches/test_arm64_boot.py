# SPDX-License-Identifier: GPL-2.0-or-later
"""arm64's boot without a guest: where its CPU has the image, where it goes next, what QEMU boots.

Addresses of a small image are chosen by hand; its instructions are written after the Arm architecture's manual.
"""

from __future__ import annotations

import random
import struct
from dataclasses import replace
from pathlib import Path

import pytest

from gdb_lmb.arches.base import Cpu
from gdb_lmb.arches.linux import linux_architecture
from gdb_lmb.core.address import Identity, KernelImage, Placement
from gdb_lmb.core.memory import BytesMemory
from gdb_lmb.formats.elf import read_headers
from tests.helpers.core_image import Piece, core_image
from tests.helpers.machine import BytesMachine

ARM64 = linux_architecture("aarch64")
TEXT, SIZE = 0xFFFF_8000_8000_0000, 0x4_0000
ENTRY_AT, ID_AT, SWITCH_AT, BRANCH_AT, ENTER_AT, TABLES_AT = 0x40, 0x300, 0x1_1000, 0x1_1050, 0x2_2000, 0x3_0000
BR_X9, BLR_X9, RET, BRAAZ_X9 = 0xD61F_0120, 0xD63F_0120, 0xD65F_03C0, 0xD61F_093F
BUILD_ID = b"the build id of this"
HERE = 0x4801_0000
"""A copy of the image: at a multiple of 64 KiB, and of nothing more."""
LOADER = 0x4000_0000


def content() -> bytes:
    out = bytearray(random.Random(1).randbytes(SIZE))
    out[ID_AT : ID_AT + len(BUILD_ID)] = BUILD_ID
    # What branches elsewhere, or returns, is not the branch that leaves the identity map.
    out[SWITCH_AT:BRANCH_AT] = struct.pack("<4I", BLR_X9, RET, BRAAZ_X9, BR_X9 | 1) * 5
    struct.pack_into("<2I", out, BRANCH_AT, BR_X9, 0xD61F_0140)
    return bytes(out)


CONTENT = content()


def kernel(folder: Path, data: bytes = CONTENT, **symbols: int | None) -> KernelImage:
    """Return the kernel with that content; `symbols` are offsets in it, None for one that there is not."""
    path = folder / "vmlinux"
    path.write_bytes(core_image([Piece(TEXT, data, va=TEXT)], machine=183))
    places: dict[str, int | None] = {
        "__primary_switch": SWITCH_AT, "__efistub_efi_enter_kernel": ENTER_AT, "swapper_pg_dir": TABLES_AT,
        "idmap_pg_dir": TABLES_AT + 0x1000, **symbols,
    }  # fmt: skip
    known = {name: TEXT + at for name, at in places.items() if at is not None}
    image = (TEXT, TEXT + SIZE)
    return KernelImage(
        path, Identity(TEXT + ID_AT, BUILD_ID), image, (image,), TEXT + ENTRY_AT, known, (TEXT,), (TEXT, None)
    )


def running(image: KernelImage, memory: dict[int, bytes], cpu: Cpu) -> list[int]:
    found = list(ARM64.running_at(image, BytesMemory(memory), cpu, ()))
    assert all(virtual is None for _, virtual in found)
    return [physical for physical, _ in found]


def test_where_a_cpu_has_the_image(tmp_path: Path) -> None:
    image, memory = kernel(tmp_path), {HERE: CONTENT}
    high = Cpu(TEXT, paging=True, tables=(HERE + TABLES_AT, 0x4123_0000))
    # Each table may be any of those in the image.
    assert running(image, memory, high) == [HERE, HERE - 0x1000, 0x4120_0000, 0x411F_F000]
    # With the MMU off they are those of the kernel that has started this one.
    assert running(image, memory, replace(high, paging=False)) == []
    low = Cpu(HERE + 0x2_0010, paging=True, user=False)
    assert running(image, memory, low) == running(image, memory, replace(low, paging=False)) == [HERE]
    assert running(image, memory, replace(low, user=True)) == running(image, memory, replace(low, pc=None)) == []
    # In other code, in none, and in an image of another build.
    assert running(image, memory | {LOADER: bytes(0x100)}, replace(low, pc=LOADER)) == []
    assert running(image, memory, replace(low, pc=LOADER)) == []
    other = CONTENT[:ID_AT] + BUILD_ID.upper() + CONTENT[ID_AT + len(BUILD_ID) :]
    assert running(image, {HERE: other}, low) == []
    # Images begin at multiples of 64 KiB.
    for moved in (0x1000, 0x8000):
        assert running(image, {HERE + moved: CONTENT}, replace(low, pc=HERE + moved + 0x2_0010)) == []


def test_how_much_code_tells(tmp_path: Path) -> None:
    image = kernel(tmp_path)
    # The last 64 bytes of the image, and of RAM.
    assert running(image, {HERE: CONTENT}, Cpu(HERE + SIZE - 64, paging=True)) == [HERE]
    assert running(image, {HERE: CONTENT}, Cpu(HERE + SIZE - 63, paging=True)) == []
    # A quarter of it may be another than in the file.
    at = 0x2_0010
    for changed, found in ((16, [HERE]), (17, [])):
        code = bytes(byte ^ 1 for byte in CONTENT[at : at + changed])
        memory = {HERE: CONTENT[:at] + code + CONTENT[at + changed :]}
        assert running(image, memory, Cpu(HERE + at, paging=True)) == found


def test_qemus_boot_loader_has_the_address_behind_it(tmp_path: Path) -> None:
    # `bootloader_aarch64` of QEMU's hw/arm/boot.c: ldr x0, mov x1 to x3, ldr x4, br x4, the device tree, the image.
    loader = struct.pack(
        "<6I2Q", 0x5800_00C0, 0xAA1F_03E1, 0xAA1F_03E2, 0xAA1F_03E3, 0x5800_0084, 0xD61F_0080, 0x4800_0000, 0x4020_0000
    )
    # One that ends with what is read.
    memory = {LOADER: loader.ljust(56, b"\0") + struct.pack("<Q", HERE)}
    found = running(kernel(tmp_path), memory, Cpu(LOADER, paging=False))
    assert found[6:9] == [0x4800_0000, 0x4020_0000 << 32, 0x4020_0000]
    assert len(found) == 15 and found[14] == HERE
    assert running(kernel(tmp_path), memory, Cpu(LOADER, paging=True)) == []


def test_where_it_goes_next(tmp_path: Path) -> None:
    other = 0x5000_0000
    memory = BytesMemory({HERE: CONTENT, other: CONTENT, LOADER: bytes(0x100)})

    def points(at: int | None, x9: int | None = None, x0: int | None = None, **symbols: int | None) -> tuple[int, ...]:
        general = tuple({0: x0, 9: x9}.get(number) for number in range(31))
        cpu = Cpu(None if at is None else HERE + at, general=general)
        return ARM64.quick_way_points(kernel(tmp_path, **symbols), memory, cpu)

    # In the image's code: the branch that leaves the identity map, and EFI's last call.
    assert points(0x2_0010) == (HERE + BRANCH_AT, HERE + ENTER_AT)
    assert points(0x2_0010, __efistub_efi_enter_kernel=None) == (HERE + BRANCH_AT,)
    # At the branch: where it leads. At the call: the branch in the image that is entered.
    target = TEXT + 0x1000
    assert points(BRANCH_AT, x9=target) == (target,) and points(BRANCH_AT) == ()
    assert points(ENTER_AT, x0=other) == (other + BRANCH_AT,)
    for x0 in (None, other + 0x1_0000):
        assert points(ENTER_AT, x0=x0) == (HERE + BRANCH_AT,)
    # Elsewhere, and in a kernel without such a branch, nothing tells.
    assert points(LOADER - HERE) == points(None) == points(TEXT - HERE) == points(0x10, __primary_switch=None) == ()
    assert points(0x10, __primary_switch=SIZE) == ()


def test_the_branch_is_among_the_first_instructions(tmp_path: Path) -> None:
    for before, found in ((63, (HERE + SWITCH_AT + 252, HERE + ENTER_AT)), (64, ())):
        code = struct.pack("<I", RET) * before + struct.pack("<I", BR_X9)
        data = CONTENT[:SWITCH_AT] + code.ljust(512, b"\0") + CONTENT[SWITCH_AT + 512 :]
        cpu = Cpu(HERE + 0x2_0010, general=(None,) * 31)
        assert ARM64.quick_way_points(kernel(tmp_path, data), BytesMemory({HERE: data}), cpu) == found


def test_a_place_that_code_alone_does_not_tell(tmp_path: Path) -> None:
    """At the branch, and at EFI's last call, the build id is enough, however the code around was changed."""
    image, general = kernel(tmp_path), (None, *range(1, 31))
    for start, found in ((HERE, (9,)), (HERE + 0x1000, ())):
        data = CONTENT[:BRANCH_AT] + bytes(64) + CONTENT[BRANCH_AT + 64 :]
        cpu = Cpu(start + BRANCH_AT, general=general)
        assert ARM64.quick_way_points(image, BytesMemory({start: data}), cpu) == found


def test_where_a_guest_may_come_by(tmp_path: Path) -> None:
    image, place = kernel(tmp_path), Placement(HERE, 0, (TEXT, TEXT + SIZE), base_va=TEXT)
    machine = BytesMachine(arch="aarch64", ranges=[(0x4000_0000, 0x5000_0000)])

    def point(pc: int | None, placed: Placement | None, at: int) -> int | None:
        return ARM64.way_point(image, placed, BytesMemory({at: CONTENT}), Cpu(pc), machine)

    # A boot loader places it at a multiple of 2 MiB.
    assert point(0x4000_0000, None, 0x4020_0000) == 0x4020_0040
    assert point(0x4000_0000, None, 0x4030_0000) is point(0x4000_0000, None, 0x5000_0000) is None
    assert point(0x4000_0000, place, 0x4020_0000) == HERE + ENTRY_AT
    # It is there already.
    assert [point(HERE + at, place, HERE) for at in (-1, 0, SIZE - 1, SIZE)] == [HERE + 0x40, None, None, HERE + 0x40]
    for pc in (1 << 63, None):
        assert point(pc, place, HERE) is point(pc, None, 0x4020_0000) is None
    assert point((1 << 63) - 1, place, HERE) == HERE + ENTRY_AT


@pytest.mark.parametrize(
    ("places", "boots"),
    [
        ([(TEXT, 0x10)], False),
        ([(0, 0), (TEXT, 0x10)], False),
        ([(0, 0x10), (TEXT, 0x10)], True),
        ([(1 << 52, 0x10)], False),
        ([((1 << 52) - 0x1000, 0x10)], True),
        ([], True),
    ],
)
def test_what_qemu_boots_of_an_elf(tmp_path: Path, places: list[tuple[int, int]], boots: bool) -> None:
    path = tmp_path / "vmlinux"
    path.write_bytes(core_image([Piece(at, bytes(size), va=TEXT) for at, size in places], machine=183))
    why = "QEMU cannot boot an arm64 vmlinux, which has no physical addresses"
    assert ARM64.why_not_bootable(read_headers(path)) == (None if boots else why)
