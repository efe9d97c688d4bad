# SPDX-License-Identifier: GPL-2.0-or-later
"""For gdb (`source`d by test_stock_predict.py): hold lmb-whatif against each memblock_alloc_range_nid() of a boot.

At the function's first instruction lmb-whatif is asked, at its return the result is read and the state dumped.
`lmb-test-answers` prints all as JSON.
"""

import json

import gdb

from gdb_lmb.machine.gdb_text import ask

MASK = (1 << 64) - 1
SEEN = []


def state():
    return json.loads(ask("lmb-dump --json"))


def register(name):
    return int(gdb.newest_frame().read_register(name)) & MASK


class Entry(gdb.Breakpoint):
    """At the first instruction: size, align, start, end, nid and exact_nid are in registers."""

    def stop(self):
        size, align, start, end, nid = (register(name) for name in ("rdi", "rsi", "rdx", "rcx", "r8"))
        asked = f"lmb-whatif alloc {size:#x} --align {align:#x} --min {start:#x} --max {end:#x} --json"
        if nid & 0xFFFFFFFF != 0xFFFFFFFF:
            asked += f" --nid {nid & 0xFFFFFFFF}"
        # QEMU now and then ends the step over a breakpoint without having executed anything: the same call again.
        if not SEEN or "result" in SEEN[-1]:
            SEEN.append({"before": state(), "predicted": json.loads(ask(asked))})
        return False


class Return(gdb.Breakpoint):
    """At a return instruction."""

    def stop(self):
        if SEEN and "result" not in SEEN[-1]:
            SEEN[-1].update(result=register("rax"), after=state())
        return False


class Answers(gdb.Command):
    """Print what was asked and seen."""

    def __init__(self):
        super().__init__("lmb-test-answers", gdb.COMMAND_USER)

    def invoke(self, argument, from_tty):
        print(json.dumps(SEEN))


START = int(gdb.parse_and_eval("(unsigned long)&memblock_alloc_range_nid"))
BLOCK = gdb.block_for_pc(START)
Entry(f"*{START:#x}", internal=True)
for one in gdb.selected_inferior().architecture().disassemble(BLOCK.start, BLOCK.end - 1):
    # The return thunk of a mitigated kernel is a jump.
    if one["asm"].split()[0] in ("ret", "retq") or "__x86_return_thunk" in one["asm"]:
        Return(f"*{one['addr']:#x}", internal=True)
Answers()
