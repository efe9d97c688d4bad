# SPDX-License-Identifier: GPL-2.0-or-later
"""Calls that a compiler made, read in gdb while they run: arguments in registers, in pairs and on the stack."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent

SOURCE = """
typedef unsigned int u32;
typedef unsigned long long u64;
#define NOINLINE __attribute__((noinline))

NOINLINE u64 fits(u32 a, u64 b) { __asm__ volatile(""); return b + a; }
NOINLINE u64 spills(u32 a, u32 b, u64 c, short d) { __asm__ volatile(""); return c + a + b + d; }
NOINLINE u64 many(u64 a, u64 b, u64 c, u64 d, u64 e, u64 f, u64 g, int h) { __asm__ volatile(""); return g - h; }

void _start(void)
{
    fits(0x11111111, 0x2222222233333333ULL);
    spills(1, 2, 0x4444444455555555ULL, -2);
    many(1, 2, 3, 4, 5, 6, 0x7777777777777777ULL, -8);
    for (;;)
        __asm__ volatile("");
}
"""

# Sizes of the parameters in bytes, negative where signed; the arguments and the result by hand from SOURCE.
CALLS = {
    "fits": ([4, 8], [0x11111111, 0x2222222233333333], 0x2222222244444444),
    "spills": ([4, 4, 8, -2], [1, 2, 0x4444444455555555, -2], 0x4444444455555556),
    "many": ([8] * 7 + [-4], [1, 2, 3, 4, 5, 6, 0x7777777777777777, -8], 0x777777777777777F),
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
gdb.execute("run", to_string=True)
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
gdb.execute("kill", to_string=True)
print(json.dumps(out))
"""


@pytest.mark.parametrize("flags", [["-m64"], ["-m32", "-mregparm=3"]], ids=["x86_64", "i386"])
def test_arguments_result_and_the_way_back(tmp_path: Path, flags: list[str]) -> None:
    (tmp_path / "calls.c").write_text(SOURCE)
    subprocess.run(
        ["gcc", *flags, "-O1", "-g", "-static", "-nostdlib", "-fno-pic", "-no-pie", "-fno-stack-protector",
         "-fcf-protection=none", "-fno-asynchronous-unwind-tables", "-o", "calls", "calls.c"],
        cwd=tmp_path, check=True, timeout=60,
    )  # fmt: skip
    script = IN_GDB.replace("ROOT", repr(str(ROOT))).replace(
        "SIZES", repr({name: row[0] for name, row in CALLS.items()})
    )
    words = ["gdb", "-nx", "-q", "-batch", "-ex", f"python exec({script!r})", str(tmp_path / "calls")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told == [[arguments, result, 0, "_start", 0] for _, arguments, result in CALLS.values()], done.stderr
