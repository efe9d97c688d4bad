# SPDX-License-Identifier: GPL-2.0-or-later
"""The part of scripts/bench that runs inside gdb, on a guest stopped at lmb_ready."""

import json
import resource
import subprocess
import time
from pathlib import Path

import gdb

from gdb_lmb.allocators.base import check
from gdb_lmb.allocators.lmb.decode import decode
from gdb_lmb.allocators.lmb.program import find_lmb, with_page_size
from gdb_lmb.machine.current import current
from gdb_lmb.machine.memory import GdbMemory

PLAIN_ENTRIES = 2000


class TimedMemory:
    """Counts the seconds that reading takes."""

    def __init__(self):
        self.seconds = 0.0

    def read(self, address, size):
        """Read through gdb."""
        start = time.perf_counter()
        try:
            return GdbMemory().read(address, size)
        finally:
            self.seconds += time.perf_counter() - start


def offset_of(pointer_type, member):
    """Return a member's offset the way scripts/gdb does: from the printed address in a structure at 0."""
    return int(str(gdb.Value(0).cast(pointer_type)[member].address).split()[0], 16)


def list_for_each(head):
    """Yield the address of each node, one gdb.Value at a time, until the head comes round."""
    node = head["next"].dereference()
    while node.address != head.address:
        yield node.address
        node = node["next"].dereference()


def plain_walk(most):
    """Walk the reserved list as the kernel's scripts/gdb do, and read two fields of each entry."""
    head = gdb.parse_and_eval("lmb")["reserved"]["regions"]
    pointer_type = gdb.lookup_type("struct lmb_region").pointer()
    number_type = gdb.lookup_type("unsigned long")
    count = total = 0
    for node in list_for_each(head):
        entry = (node.cast(number_type) - offset_of(pointer_type, "link")).cast(pointer_type)
        total += int(entry["base"]) + int(entry["size"])
        count += 1
        if count == most:
            break
    return count


def peak_bytes(command):
    """Return by how much the peak of resident memory rises while `command` runs."""
    Path("/proc/self/clear_refs").write_text("5")

    def status(name):
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))

    before = status("VmRSS")
    gdb.execute(command, to_string=True)
    return status("VmHWM") - before


def timed(work):
    """Return the seconds that `work()` takes, and what it returns."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def import_seconds():
    """Return the median time that a fresh gdb takes to load the extension."""
    load = Path(decode.__code__.co_filename).resolve().parents[2] / "commands" / "load.py"
    assert load.is_file()  # of a missing one gdb only warns
    code = f"import time; t = time.perf_counter(); gdb.execute('source {load}'); print(time.perf_counter() - t)"
    runs = []
    for _ in range(5):
        done = subprocess.run(["gdb", "-nx", "-q", "-batch", "-ex", "python " + code], capture_output=True, text=True)
        runs.append(float(done.stdout.split()[-1]))
    return sorted(runs)[len(runs) // 2]


def bench(repeats):
    """Measure `repeats` times and print one line of JSON: lists of seconds, and single figures."""
    out = {name: [] for name in ("read", "decode", "check", "lmb_check", "lmb_dump_json", "plain_per_entry")}
    # First of all: later runs find memory that gdb has kept from earlier ones.
    out["peak_bytes"] = peak_bytes("lmb-check --no-log")
    program = with_page_size(current(), find_lmb(current()), GdbMemory())
    for _ in range(repeats):
        memory = TimedMemory()
        whole, snapshot = timed(lambda memory=memory: decode(program, memory))
        out["read"].append(memory.seconds)
        out["decode"].append(whole - memory.seconds)
        out["check"].append(timed(lambda snapshot=snapshot: check(snapshot))[0])
        out["entries"] = snapshot.storage.nr_entries
        del snapshot
        out["lmb_check"].append(timed(lambda: gdb.execute("lmb-check --no-log", to_string=True))[0])
        out["lmb_dump_json"].append(timed(lambda: gdb.execute("lmb-dump --json", to_string=True))[0])
        seconds, count = timed(lambda: plain_walk(PLAIN_ENTRIES))
        out["plain_per_entry"].append(seconds / count)
    out["import_s"] = import_seconds()
    out["max_rss"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps(out))
