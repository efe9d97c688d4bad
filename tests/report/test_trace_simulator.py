# SPDX-License-Identifier: GPL-2.0-or-later
"""Exported traces in the kernel's own simulator: they compile there, and the kernel's memblock.c agrees.

The traces are random ones, run on the reference model: what they assert is the model's word against the kernel's.
"""

from __future__ import annotations

import io
import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from gdb_lmb.allocators.memblock.behavior import MemblockBehavior, MemblockConfig
from gdb_lmb.allocators.memblock.model import MemblockModel
from gdb_lmb.allocators.memblock.resume import facts_of
from gdb_lmb.cli import main
from gdb_lmb.core.operation import Operation, Record, Symbol, TraceHeader
from gdb_lmb.kernels.stock import find_source
from gdb_lmb.report.trace_file import TraceReader, TraceWriter
from gdb_lmb.report.trace_text import survey
from tests.helpers.linux_behaviors import LINUX_6_1, LINUX_6_12, LINUX_7_3
from tests.helpers.operations import apply, op
from tests.helpers.simulator import Simulator
from tests.helpers.soak import seeds

pytestmark = pytest.mark.stock

NO_NODE = 1024
BEHAVIORS = {"source:6.1": LINUX_6_1, "source:6.12": LINUX_6_12, "source:7": LINUX_7_3}


@pytest.fixture(scope="module", params=BEHAVIORS)
def kernel(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Simulator, MemblockBehavior]:
    """The simulator of one kernel, and how that kernel's memblock behaves."""
    files = find_source(request.param, notice=print)
    return Simulator(files.tree, tmp_path_factory.mktemp("simulator")), BEHAVIORS[request.param]


def boot(draw: random.Random, behavior: MemblockBehavior, *, numa: bool, count: int) -> Iterator[Operation]:
    """Yield the operations of a boot that comes to double both arrays, in memory below 64 MiB."""
    none = -1 if behavior.marks_kernel else NO_NODE if numa else 1
    yield op("add_range", 0x100000, 0x1F00000, list="memory", nid=none)
    yield op("add_range", 0x2000000, 0x2000000, list="memory", nid=1 if numa else none, flags=1)
    yield op("add_range", 0x100000, 0x300000, list="reserved", nid=none)
    yield op("allow_resize")
    yield op("set_current_limit", 0x3800000)
    for _ in range(count):
        kind = draw.randrange(12)
        base, size = draw.randrange(0x400, 0x4000) << 12, draw.choice([64, 0x800, 0x1000, 0x3000])
        if kind < 5:
            yield op("add_range", base, size, list="reserved", nid=none)
        elif kind == 5:
            yield op("remove_range", base, size * 4, list="reserved")
        elif kind == 6:
            yield op(
                "alloc_range_nid", size=size, align=draw.choice([0, 64, 0x1000]), max=draw.choice([0, 0x3000000]),
                nid=draw.choice([-1, 0, 1]) if numa else -1, exact=draw.random() < 0.3,
            )  # fmt: skip
        elif kind == 7:
            yield op("setclr_flag", base, size * 8, list="memory", set=draw.random() < 0.7,
                            flags=draw.choice([1, 4]))  # fmt: skip
        elif kind == 8:
            yield op("set_node", base, size * 100, list="memory", nid=draw.choice([0, 1]) if numa else 0)
        elif kind == 9:
            yield op("set_bottom_up", flags=draw.randrange(2))
        elif kind == 10:
            yield op("add_range", 0x4000000 + base, size, list="memory", flags=draw.choice([0, 4]),
                            nid=draw.choice([0, none]) if numa else none)  # fmt: skip
        else:
            yield op("remove_range", base, size, list="memory")
    yield op("trim_memory", align=4096)
    yield op("cap_memory_range", 0x100000, 0x7000000)
    yield op("free_all")


def exported(
    behavior: MemblockBehavior, *, numa: bool, seed: int, count: int = 500, room: tuple[int, int] = (128, 128)
) -> tuple[str, int]:
    """Run a boot on the model; return it as C, and how many arrays were doubled."""
    rooms = {"memory_max": room[0], "reserved_max": room[1]}
    model = MemblockModel(MemblockConfig(behavior, no_node=NO_NODE if numa else None, **rooms))
    stream = io.BytesIO()
    writer = TraceWriter(stream, TraceHeader("memblock", "x86_64", "little", 64, 4096, initial=model.snapshot(),
                                             behavior=facts_of(model)))  # fmt: skip
    draw = random.Random(seed)
    for seq, operation in enumerate(boot(draw, behavior, numa=numa, count=count), 1):
        writer.record(Record(seq, operation, apply(model, operation), (0x1000 + seq % 5,)))
    writer.symbols({0x1000 + at: Symbol(f"caller_{at}*/", 0) for at in range(5)})
    writer.end(model.snapshot())
    seen = survey(TraceReader(io.BytesIO(stream.getvalue())))
    assert seen.agrees is None
    return "\n".join(seen.lines("boot", TraceReader(io.BytesIO(stream.getvalue())))) + "\n", model.doublings


@pytest.mark.random
@pytest.mark.parametrize("seed", [1 + seed for seed in seeds(2)])
@pytest.mark.parametrize("numa", [True, False], ids=["numa", "no-numa"])
def test_the_kernel_agrees(kernel: tuple[Simulator, MemblockBehavior], numa: bool, seed: int) -> None:
    simulator, behavior = kernel
    text, doublings = exported(behavior, numa=numa, seed=seed)
    assert doublings >= 1, "a boot that doubles no array proves too little"
    done = simulator.run("boot", text, *(["NUMA=1"] if numa else []))
    assert done.returncode == 0 and "warning" not in done.stderr, done.stderr[-4000:]
    assert re.search(r"^ok .*boot_check: passed$", done.stdout, re.M), done.stdout


def test_a_kernel_with_more_room(kernel: tuple[Simulator, MemblockBehavior]) -> None:
    simulator, behavior = kernel
    text, _ = exported(behavior, numa=True, seed=3, room=(1024, 641))
    rooms = "-DINIT_MEMBLOCK_MEMORY_REGIONS=1024 -DINIT_MEMBLOCK_RESERVED_REGIONS=641"
    done = simulator.run("boot", text, "NUMA=1")
    assert done.returncode != 0 and f"build with CFLAGS='{rooms}' make NUMA=1" in done.stderr
    done = simulator.run("boot", text, "NUMA=1", cflags=rooms)
    assert done.returncode == 0 and "boot_check: passed" in done.stdout, done.stderr[-4000:]


# What is asserted, and something else in its place.
WRONG = [
    ("a region", r"(\.base = 0x[0-9a-f]+)00, ", r"\g<1>40, "),
    ("a total", r"(memory\.total_size, 0x[0-9a-f]+)[0-9a-f]\)", r"\g<1>f)"),
    ("an allocation", r"(ASSERT_EQ\(base, 0x[0-9a-f]+)[0-9a-f]\)", r"\g<1>3)"),
    ("an array's place", r"(ASSERT_EQ\(\(unsigned long\)memblock\.\w+\.regions, 0x[0-9a-f]+)[0-9a-f]\)", r"\g<1>1)"),
    ("a flag", r"(last_memory\[\] = \{\n.*?\.flags = )0x[0-9a-f]+", r"\g<1>0x3"),
]


@pytest.mark.parametrize(("place", "there"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
def test_what_is_wrong_is_seen(kernel: tuple[Simulator, MemblockBehavior], place: str, there: str) -> None:
    simulator, behavior = kernel
    text, _ = exported(behavior, numa=True, seed=1)
    changed, count = re.subn(place, there, text, count=1, flags=re.S)
    assert count == 1 and changed != text
    done = simulator.run("boot", changed, "NUMA=1")
    assert done.returncode != 0 and "Assertion" in done.stderr and "passed" not in done.stdout


def test_the_wrong_build_is_refused(kernel: tuple[Simulator, MemblockBehavior]) -> None:
    simulator, behavior = kernel
    text, _ = exported(behavior, numa=True, seed=1, count=10)
    done = simulator.run("boot", text)
    assert done.returncode != 0 and "this kernel knows nodes: build with make NUMA=1" in done.stderr
    text, _ = exported(behavior, numa=False, seed=1, count=10)
    done = simulator.run("boot", text, "NUMA=1")
    assert done.returncode != 0 and "this kernel knows no nodes: build with make" in done.stderr


@pytest.mark.parametrize("source_name", BEHAVIORS)
def test_among_the_simulators_own(source_name: str, tmp_path: Path) -> None:
    """As the exported file says how: one line in the makefile, one in main()."""
    simulator = Simulator(find_source(source_name, notice=print).tree, tmp_path)
    text, _ = exported(BEHAVIORS[source_name], numa=True, seed=1)
    done = simulator.run_among_the_others("boot", text, "NUMA=1")
    assert done.returncode == 0, done.stderr[-4000:]
    passed = re.findall(r"^ok .*: passed$", done.stdout, re.M)
    assert len(passed) > 150 and "boot_check" in passed[-1] and "not ok" not in done.stdout


@pytest.mark.parametrize("source_name", BEHAVIORS)
def test_a_whole_boot_of_the_same_kernel(source_name: str, tmp_path: Path) -> None:
    """What a stock kernel did at boot, its own memblock.c does again: neither word is the model's."""
    name = source_name.replace("source:", "debian:") + "-cloud-amd64"
    trace, test = tmp_path / "boot.jsonl", tmp_path / "boot.c"
    assert main(["trace", name, "--memory", "512M", "-o", str(trace)]) == 0
    assert main(["export", str(trace), "--c", "-o", str(test), "--name", "boot"]) == 0
    with trace.open("rb") as file:
        assert sum(1 for _ in TraceReader(file)) > 50
    simulator = Simulator(find_source(source_name, notice=print).tree, tmp_path / "simulator")
    done = simulator.run_among_the_others("boot", test.read_text(), "NUMA=1")
    assert done.returncode == 0, done.stderr[-4000:]
    passed = re.findall(r"^ok .*: passed$", done.stdout, re.M)
    assert "boot_check" in passed[-1] and "not ok" not in done.stdout
