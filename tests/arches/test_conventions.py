# SPDX-License-Identifier: GPL-2.0-or-later
"""Where arguments and results lie, by hand from the architectures' ABIs; and by which names an architecture goes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gdb_lmb.arches.base import Architecture, CallFrame, Convention, Parameter
from gdb_lmb.arches.linux import linux_architecture
from gdb_lmb.arches.registry import NAMES, architectures, find, named, of_gdb, register
from gdb_lmb.core.errors import LayoutError, UsageError
from gdb_lmb.core.memory import BytesMemory

Place = tuple[tuple[str, ...], int, int]


@pytest.fixture(autouse=True)
def no_rows_of_other_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gdb_lmb.arches.registry._LOADED", {})


PLACES: list[tuple[str, list[int], list[Place]]] = [
    # "Procedure Call Standard for the Arm Architecture", 6.5: pairs begin at an even register, and nothing goes back to
    # a register once something lies on the stack, where pairs are at multiples of 8.
    ("arm", [4, 8, 4, 8], [(("r0",), 0, 0), (("r2", "r3"), 0, 0), ((), 0, 4), ((), 8, 8)]),
    ("arm", [4, 4, 4, 8, 4], [(("r0",), 0, 0), (("r1",), 0, 0), (("r2",), 0, 0), ((), 0, 8), ((), 8, 4)]),
    ("arm", [1, 2, 3, 0], [((f"r{number}",), 0, 0) for number in range(4)]),
    # "System V ABI, PowerPC Processor Supplement": r3, r5, r7 and r9 begin pairs.
    ("ppc", [4, 8, 8, 4, 8], [(("r3",), 0, 0), (("r5", "r6"), 0, 0), (("r7", "r8"), 0, 0), (("r9",), 0, 0),
                              ((), 0, 8)]),
    # "64-bit PowerPC ELF ABI Supplement", 3.2.3: each doubleword of integers takes the next register.
    ("ppc64", [8, 16, *[8] * 4, 16], [(("r3",), 0, 0), (("r4", "r5"), 0, 0),
                                      *((((f"r{6 + at}",), 0, 0)) for at in range(4)),
                                      (("r10",), 0, 8)]),
    # "Procedure Call Standard for the Arm 64-bit Architecture", 6.8.2: x0 to x7, pairs at even ones, 16 bytes aligned.
    ("aarch64", [8, 16, 8, 16, 8, 8, 16], [(("x0",), 0, 0), (("x2", "x3"), 0, 0), (("x4",), 0, 0),
                                           (("x6", "x7"), 0, 0), ((), 0, 8), ((), 8, 8), ((), 16, 16)]),
    ("aarch64", [4] * 9, [*((((f"x{number}",), 0, 0)) for number in range(8)), ((), 0, 8)]),
    # "s390x ELF Application Binary Interface", 1.2.2: r2 to r6.
    ("s390x", [8] * 6, [*((((f"r{number}",), 0, 0)) for number in range(2, 7)), ((), 0, 8)]),
    # "RISC-V Calling Conventions": what does not fit lies half in the last register.
    ("riscv64", [8] * 7 + [16, 8], [*((((f"a{number}",), 0, 0)) for number in range(7)), (("a7",), 0, 8), ((), 8, 8)]),
    # "System V ABI, AMD64", 3.2.3: what does not fit is on the stack, and the register goes to the next.
    ("x86-64", [8] * 5 + [16, 8, 8], [*((((name,), 0, 0)) for name in ("rdi", "rsi", "rdx", "rcx", "r8")), ((), 0, 16),
                                      (("r9",), 16, 0), ((), 16, 8)]),
    # gcc's -mregparm=3, which the kernel has: on the stack nothing is aligned.
    ("i386", [4, 4, 8, 4], [(("eax",), 0, 0), (("edx",), 0, 0), ((), 0, 8), ((), 8, 4)]),
    ("i386", [4, 8, 4, 8], [(("eax",), 0, 0), (("edx", "ecx"), 0, 0), ((), 0, 4), ((), 4, 8)]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "sizes", "expected"), PLACES, ids=[f"{row[0]}-{at}" for at, row in enumerate(PLACES)])
def test_places(name: str, sizes: list[int], expected: list[Place]) -> None:
    assert list(named(name).convention.places(sizes)) == expected


def test_what_a_value_of_whole_registers_means() -> None:
    assert [Parameter("", size).of(0xFFFF_FFFF_FFFF_FF80) for size in (1, 2, 4, 8)] == [
        0x80, 0xFF80, 0xFFFF_FF80, 0xFFFF_FFFF_FFFF_FF80,
    ]  # fmt: skip
    assert [Parameter("", size, signed=True).of(0x1234_5678_9ABC_8040) for size in (1, 2, 4, 8)] == [
        0x40, 0x8040 - 0x10000, 0x9ABC_8040 - 0x1_0000_0000, 0x1234_5678_9ABC_8040,
    ]  # fmt: skip
    assert Parameter("", 1, signed=True).of(0x80) == -0x80


REGISTERS = {"r0": 0x1_0000_0001, "r1": 0xF000_0002, "r2": 3, "r3": 4, "sp": 0x1000, "lr": 0x8001}


@pytest.mark.parametrize("order", ["little", "big"])
def test_a_call_with_arguments_in_pairs_and_on_the_stack(order: str) -> None:
    assert order == "little" or order == "big"
    little = order == "little"
    stack = (0x55).to_bytes(4, order) + bytes(4) + (0x6666_6666_7777_7777).to_bytes(8, order)
    call = CallFrame(named("arm").convention, order, REGISTERS.get, BytesMemory({0x1000: stack}))
    assert call["r0"] == 1 and call.sp == 0x1000, "of 32 bits, whatever the debugger has"
    parameters = [Parameter("a", 4), Parameter("b", 8), Parameter("c", 4, signed=True), Parameter("d", 8)]
    assert call.arguments(parameters) == {
        "a": 1, "b": 4 << 32 | 3 if little else 3 << 32 | 4, "c": 0x55, "d": 0x6666_6666_7777_7777,
    }  # fmt: skip
    assert call.result(Parameter("", 8)) == (0xF000_0002_0000_0001 if little else 0x0000_0001_F000_0002)
    assert call.result(Parameter("", 4)) == 1
    # Where all is in registers, no stack is read.
    assert CallFrame(named("arm").convention, order, REGISTERS.get, BytesMemory({})).arguments(parameters[:2])["a"] == 1
    # Bit 0 says Thumb, and is no part of the address.
    assert call.caller() == (0x8000, 0x1000)
    with pytest.raises(LayoutError) as refused:
        call["r9"]
    assert str(refused.value) == "the debugger has no register r9, which calls on this architecture need"


def test_a_return_address_and_arguments_on_the_stack() -> None:
    # An i386 function of four arguments, at its first instruction: the return address, then the fourth.
    stack = (0xC010_0003).to_bytes(4, "little") + (44).to_bytes(4, "little")
    registers = {"eax": 11, "edx": 22, "ecx": 33, "esp": 0x2000}
    call = CallFrame(named("i386").convention, "little", registers.get, BytesMemory({0x2000: stack}))
    assert call.arguments(Parameter(name, 4) for name in "abcd") == {"a": 11, "b": 22, "c": 33, "d": 44}
    assert call.caller() == (0xC010_0003, 0x2004)
    tagged = Convention(4, (), (), sp="esp", tags=3)
    assert CallFrame(tagged, "little", registers.get, BytesMemory({0x2000: stack})).caller() == (0xC010_0000, 0x2004)


def test_registers_by_role_without_a_link_register() -> None:
    registers = {"pc": 1, "esp": 2, "eip": 1, "sp": 3, "lr": 4}
    cpu = Architecture.cpu_state(named("i386"), registers.__getitem__)
    assert (cpu.pc, cpu.sp, cpu.link) == (1, 2, None)
    cpu = named("arm").cpu_state(registers.get)
    assert (cpu.pc, cpu.sp, cpu.link) == (1, 3, 4)
    assert [cpu.below(at) for at in (1, 2)] == [False, True] and [cpu.past(at) for at in (1, 2)] == [True, False]


def test_each_name_of_an_architecture() -> None:
    assert [row.name for row in architectures()] == list(NAMES)
    for name, found in (("arm64", "aarch64"), ("x86_64", "x86-64"), ("s390x", "s390x"), ("i386", "i386")):
        assert named(name).name == found
    with pytest.raises(UsageError) as refused:
        named("m" * 41)
    assert str(refused.value) == f"architecture '{'m' * 40}...' is not one of {', '.join(NAMES)}"
    assert named("ppc64le") is not named("ppc64")
    for gdb, bits, order, found in (
        ("powerpc:common64", 64, "little", "ppc64le"),
        ("powerpc:common", 32, "big", "ppc"),
    ):
        row = of_gdb(gdb, bits, order)  # type: ignore[arg-type]
        assert row is not None and row.name == found
    assert of_gdb("powerpc:common", 32, "little") is None and of_gdb("vax", 32, "little") is None
    assert find(e_machine=21, byte_order="little") is named("ppc64le") and find(e_machine=1) is None


def test_those_of_elsewhere_come_last_and_may_stand_for_others() -> None:
    arm = replace(named("arm"), cache_bytes=32)
    register(replace(arm, name="made-up", uname="made-up"))
    register(arm)
    assert [row.name for row in architectures()] == [*NAMES, "made-up"]
    assert named("arm") is arm and named("made-up").cache_bytes == 32
    assert [named(name).word_bytes for name in ("arm", "s390x")] == [4, 8]


def test_what_other_papers_say_of_each() -> None:
    # `EM_*` of Linux's include/uapi/linux/elf-em.h.
    elf = {
        "x86-64": (62, 64), "i386": (3, 32), "ppc": (20, 32), "ppc64": (21, 64), "ppc64le": (21, 64),
        "aarch64": (183, 64), "arm": (40, 32), "riscv64": (243, 64), "s390x": (22, 64),
    }  # fmt: skip
    assert {row.name: (row.e_machine, row.bits) for row in architectures()} == elf
    # "Machine Types" of Microsoft's "PE Format"; `SMP_CACHE_BYTES` by Linux's arch/*/include/asm/cache.h; where the
    # first argument on the stack is, by the ABI.
    rows = {
        "x86-64": (0x8664, 64, 8), "i386": (0x14C, 64, 4), "ppc": (None, 32, 8), "ppc64": (None, 128, 112),
        "ppc64le": (None, 128, 96), "aarch64": (0xAA64, 64, 0), "arm": (0x1C2, 64, 0), "riscv64": (0x5064, 64, 0),
        "s390x": (None, 256, 160),
    }  # fmt: skip
    assert {row.name: (row.pe_machine, row.cache_bytes, row.convention.stack) for row in architectures()} == rows


def test_where_kernels_are() -> None:
    arm, s390x = named("arm"), named("s390x")
    assert [arm.is_kernel_address(va) for va in (0, 0xBFFF_FFFF, 0xC000_0000)] == [False, False, True]
    starts = {"x86-64": 1 << 63, "i386": 3 << 30, "ppc": 3 << 30, "ppc64": 3 << 62, "ppc64le": 3 << 62,
              "aarch64": 1 << 63, "riscv64": 1 << 63}  # fmt: skip
    for name, start in starts.items():
        assert named(name).is_kernel_address(start) and not named(name).is_kernel_address(start - 1)
    assert not s390x.is_kernel_address((1 << 64) - 1)


def test_images_by_their_magic() -> None:
    arm, riscv = named("arm"), named("riscv64")
    zimage = (bytes(36) + b"\x18\x28\x6f\x01").ljust(64, b"\0")
    found = arm.boot_image(zimage, zimage)
    assert found is not None and (found.kind, found.name, found.content_at) == ("arm zImage", "arm", None)
    image = (bytes(48) + b"RISCV\0\0\0RSC\x05").ljust(64, b"\n")
    found = riscv.boot_image(image, image)
    assert found is not None and (found.kind, found.name, found.content_at) == ("RISC-V Image", "riscv64", 0)
    assert arm.boot_image(image, image) is riscv.boot_image(zimage, zimage) is named("s390x").boot_image(image, image)
    assert arm.boot_image(image, image) is None


def test_linux_is_followed_on_some_only() -> None:
    assert linux_architecture("aarch64").name == "aarch64"
    with pytest.raises(LayoutError) as refused:
        linux_architecture("s390x")
    assert str(refused.value) == "stock Linux is understood on x86_64, aarch64 only so far, not on s390x"
