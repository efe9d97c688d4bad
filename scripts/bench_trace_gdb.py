# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs inside gdb for bench_trace.py: breakpoints as anybody would write them, and a clock around `continue`."""

import time

import gdb

FUNCTIONS = {
    "lmb": "lmb_init lmb_add lmb_remove lmb_reserve lmb_free lmb_alloc lmb_allow_growth lmb_set_current_limit",
    "memblock": "memblock_add_range memblock_remove_range memblock_setclr_flag memblock_set_node "
    "memblock_alloc_range_nid memblock_set_current_limit memblock_trim_memory memblock_allow_resize",
}


class Plain(gdb.Breakpoint):
    """What is compared with: a stop that reads two registers and goes on."""

    stops = 0

    def stop(self):
        """Read two arguments."""
        frame = gdb.newest_frame()
        int(frame.read_register("rdi"))
        int(frame.read_register("rsi"))
        Plain.stops += 1
        return False


def plain(allocator, until):
    """Set the plain breakpoints, and one to end at."""
    for name in FUNCTIONS[allocator].split():
        Plain(name, internal=True)
    gdb.Breakpoint(until, temporary=True)


def run():
    """Let the guest run to the next stop and print the seconds that took."""
    start = time.perf_counter()
    gdb.execute("continue", to_string=True)
    print(f"seconds {time.perf_counter() - start} stops {Plain.stops}")


def clock(command):
    """Print the seconds that a command takes."""
    start = time.perf_counter()
    gdb.execute(command, to_string=True)
    print(f"seconds {time.perf_counter() - start} stops 0")
