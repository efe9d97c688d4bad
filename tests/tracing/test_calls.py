# SPDX-License-Identifier: GPL-2.0-or-later
"""Calls that a compiler made, read in gdb while they run: arguments in registers, in pairs and on the stack."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path

import pytest
from fixture_kernels import qemu_words

from gdb_lmb.arches.registry import named

ROOT = Path(__file__).resolve().parent.parent.parent

SOURCE = """
typedef unsigned int u32;
typedef unsigned long long u64;
#define NOINLINE __attribute__((noinline))

NOINLINE u64 fits(u32 a, u64 b) { __asm__ volatile(""); return b + a; }
NOINLINE u64 spills(u32 a, u32 b, u64 c, short d) { __asm__ volatile(""); return c + a + b + d; }
NOINLINE u64 many(u64 a, u64 b, u64 c, u64 d, u64 e, u64 f, u64 g, int h) { __asm__ volatile(""); return g - h; }
NOINLINE u64 ten(u64 a, u32 b, u64 c, u64 d, u64 e, u64 f, u64 g, u64 h, u64 i, short j)
{
    __asm__ volatile("");
    return i + j;
}
NOINLINE u64 pairs(u64 a, u64 b, u64 c, u32 d, u64 e, u32 f) { __asm__ volatile(""); return e + f; }

char stack[8192];

void _start(void)
{
    fits(0x11111111, 0x2222222233333333ULL);
    spills(1, 2, 0x4444444455555555ULL, -2);
    many(1, 2, 3, 4, 5, 6, 0x7777777777777777ULL, -8);
    ten(1, 2, 3, 4, 5, 6, 7, 8, 0x9999999999999999ULL, -10);
    pairs(1, 2, 3, 4, 0x5555555566666666ULL, 6);
    for (;;)
        __asm__ volatile("");
}
"""

# Sizes of the parameters in bytes, negative where signed; the arguments and the result by hand from SOURCE.
CALLS = {
    "fits": ([4, 8], [0x11111111, 0x2222222233333333], 0x2222222244444444),
    "spills": ([4, 4, 8, -2], [1, 2, 0x4444444455555555, -2], 0x4444444455555556),
    "many": ([8] * 7 + [-4], [1, 2, 3, 4, 5, 6, 0x7777777777777777, -8], 0x777777777777777F),
    "ten": ([8, 4, *[8] * 7, -2], [1, 2, 3, 4, 5, 6, 7, 8, 0x9999999999999999, -10], 0x999999999999998F),
    # Of 32 bits with eight registers: d is in the seventh, e has no pair left, and then f has none either.
    "pairs": ([8, 8, 8, 4, 8, 4], [1, 2, 3, 4, 0x5555555566666666, 6], 0x555555556666666C),
}

IN_GDB = """
import gdb, json, sys
sys.path.insert(0, ROOT)
from gdb_lmb.arches.base import Parameter
from gdb_lmb.machine.current import current
from gdb_lmb.tracing.points import convention_of, newest_call
sizes = SIZES
for name in sizes:
    gdb.execute(f"break *{name}", to_string=True)
for command in BEGIN:
    gdb.execute(command, to_string=True)
out = []
for name in sizes:
    assert gdb.newest_frame().name() == name
    call = newest_call(convention_of(current().arch), current().byte_order)
    parameters = [Parameter(str(n), abs(size), size < 0) for n, size in enumerate(sizes[name])]
    arguments, (back, sp) = call.arguments(parameters), call.caller()
    gdb.execute(f"tbreak *{back}", to_string=True)
    gdb.execute("continue", to_string=True)
    call = newest_call(convention_of(current().arch), current().byte_order)
    frame = gdb.newest_frame()
    out.append([list(arguments.values()), call.result(Parameter("", 8)), sp - call.sp, frame.name(), frame.pc() - back])
    if name != list(sizes)[-1]:
        gdb.execute("continue", to_string=True)
print(json.dumps(out), flush=True)
try:
    gdb.execute("kill", to_string=True)
except gdb.error:
    pass  # QEMU may end before it answers
"""


FLAGS = ["-O1", "-g", "-static", "-nostdlib", "-fno-pic", "-no-pie", "-fno-stack-protector",
         "-fno-asynchronous-unwind-tables", "-ffreestanding"]  # fmt: skip


def built(folder: Path, compiler: str, *flags: str) -> Path:
    (folder / "calls.c").write_text(SOURCE)
    words = [compiler, *FLAGS, *flags, "-o", "calls", "calls.c"]
    subprocess.run(words, cwd=folder, check=True, timeout=60)
    return folder / "calls"


def calls_in(gdb: str, program: Path, *begin: str) -> None:
    """Check what is read of each call by `gdb`, which comes to the first one by the commands `begin`."""
    facts = {"ROOT": str(ROOT), "SIZES": {name: row[0] for name, row in CALLS.items()}, "BEGIN": begin}
    script = IN_GDB
    for name, value in facts.items():
        script = script.replace(name, repr(value))
    words = [gdb, "-nx", "-q", "-batch", "-ex", f"python exec({script!r})", str(program)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told == [[arguments, result, 0, "_start", 0] for _, arguments, result in CALLS.values()], done.stderr


@pytest.mark.parametrize("flags", [["-m64"], ["-m32", "-mregparm=3"]], ids=["x86_64", "i386"])
def test_arguments_result_and_the_way_back(tmp_path: Path, flags: list[str]) -> None:
    calls_in("gdb", built(tmp_path, "gcc", "-fcf-protection=none", *flags), "run")


# Where RAM is on the machine, and what gdb must set before a C function can run.
BARE = {
    "ppc": (0x400000, ("set var $r1 = (long)&stack[8128]",)),
    # In 64-bit mode; a function's symbol is a descriptor.
    "ppc64": (0x400000, ("set var $msr = 0x80000000", "set var $r1 = (long)&stack[8000]")),
    "aarch64": (0x40400000, ("set var $sp = (long)&stack[8128]",)),
    # Above what addresses without a base reach.
    "riscv64": (0x80400000, ("set var $sp = (long)&stack[8128]",), "-mcmodel=medany"),
}


@pytest.mark.kernel
@pytest.mark.parametrize("name", BARE)
def test_calls_on_a_machine_without_a_kernel(tmp_path: Path, name: str) -> None:
    arch = named(name)
    at, commands, *flags = BARE[name]
    program = built(tmp_path, f"{arch.cross}gcc", f"-Wl,-Ttext-segment={at:#x}", *flags)
    words = [*qemu_words(name), "-S", "-kernel", str(program), "-monitor", "none"]
    qemu = f"target remote | exec {shlex.join([*words, '-gdb', 'stdio'])}"
    calls_in("gdb-multiarch", program, qemu, *commands, "set var $pc = _start", "continue")
