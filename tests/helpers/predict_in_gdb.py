# SPDX-License-Identifier: GPL-2.0-or-later
"""For gdb (`source`d by test_whatif.py): before each call of lmb_alloc(), ask lmb-whatif what it will do.

The stops are at the instruction that calls (or jumps to) lmb_alloc(): the arguments are in their registers,
and the stop is not inside the allocator yet. Each answer is kept as it was printed; at every SAMPLED-th call
the whole state is dumped before and after it too. `lmb-test-answers` prints all as JSON.
"""

import json

import gdb

from gdb_lmb.machine.gdb_text import ask

SAMPLED = 20
REGISTERS = ("rdi", "rsi", "rdx", "rcx", "r8")  # size, align, min, max, flags
ANSWERS = []
SAMPLES = []


def state():
    return json.loads(ask("lmb-dump --json"))


class Before(gdb.Breakpoint):
    """At a call of lmb_alloc()."""

    last_logged = -1

    def __init__(self, address, after):
        super().__init__(f"*{address:#x}", internal=True)
        self.after = after and After(after)

    def stop(self):
        # QEMU now and then ends the step over a breakpoint without having executed anything: the same call again.
        logged = int(gdb.parse_and_eval("lmb_log.nr"))
        if logged == Before.last_logged:
            return False
        Before.last_logged = logged
        frame = gdb.newest_frame()
        size, align, low, high, flags = (int(frame.read_register(r)) & ((1 << 64) - 1) for r in REGISTERS)
        asked = f"alloc {size:#x} --align {align} --min {low:#x} --max {high} --flags {flags & 0xFFFFFFFF}"
        ANSWERS.append(json.loads(ask(f"lmb-whatif {asked} --json")))
        if self.after and not len(ANSWERS) % SAMPLED:
            self.after.before = state()
            self.after.enabled = True
        return False


class After(gdb.Breakpoint):
    """Where the sampled call returns to."""

    def __init__(self, address):
        super().__init__(f"*{address:#x}", internal=True)
        self.enabled = False
        self.before = None

    def stop(self):
        SAMPLES.append({"number": len(ANSWERS) - 1, "before": self.before, "after": state()})
        self.enabled = False
        return False


class Answers(gdb.Command):
    """Print what was asked and seen."""

    def __init__(self):
        super().__init__("lmb-test-answers", gdb.COMMAND_USER)

    def invoke(self, argument, from_tty):
        print(json.dumps({"answers": ANSWERS, "samples": SAMPLES}))


def calls():
    """Yield each instruction that goes to lmb_alloc(), with the one after a call."""
    architecture = gdb.selected_inferior().architecture()
    for name in ("random_alloc", "random_invalid", "scenario_random"):
        try:
            block = gdb.block_for_pc(int(gdb.parse_and_eval(f"(unsigned long)&{name}")))
        except gdb.error:
            continue  # inlined into its caller
        for one in architecture.disassemble(block.start, block.end - 1):
            if "<lmb_alloc>" in one["asm"]:
                returns = one["asm"].startswith("call")
                yield one["addr"], one["addr"] + one["length"] if returns else None


for place in set(calls()):
    Before(*place)
Answers()
