# SPDX-License-Identifier: GPL-2.0-or-later
"""`gdb-lmb export --c`: each call as the kernel's headers have it, and a file that says all it must."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from gdb_lmb.allocators.memblock.simulator import Nodes, call_of, hex_c, result_c, word
from gdb_lmb.cli import main
from gdb_lmb.core.errors import InputError
from gdb_lmb.core.operation import Operation
from tests.helpers.operations import op
from tests.helpers.traces import (
    BEHAVIOR_6_12,
    LOG,
    SOUND,
    changed,
    header,
    memblock_state,
    record,
    rows,
    text_of,
)

NODES = Nodes(1024)

CALLS: list[tuple[Operation, str, str]] = [
    (op("add_range", 0x1000, 0x2000, flags=4, list="memory", nid=1),
     "memblock_add_node(0x1000, 0x2000, 1, 0x4)", "ret"),
    (op("add_range", 0, 1 << 40, list="memory", nid=1024),
     "memblock_add_node(0x0, 0x10000000000ULL, MAX_NUMNODES, 0x0)", "ret"),
    (op("add_range", 0x1000, 1, list="reserved", nid=1024), "memblock_reserve(0x1000, 0x1)", "ret"),
    (op("remove_range", 0x1000, 1, list="memory"), "memblock_remove(0x1000, 0x1)", "ret"),
    (op("remove_range", 0x1000, 1, list="reserved"), "memblock_phys_free(0x1000, 0x1)", "ret"),
    (op("setclr_flag", 0, 1, flags=1, list="memory", set=True), "memblock_mark_hotplug(0x0, 0x1)", "ret"),
    (op("setclr_flag", 0, 1, flags=1, list="memory"), "memblock_clear_hotplug(0x0, 0x1)", "ret"),
    (op("setclr_flag", 0, 1, flags=2, list="memory", set=True), "memblock_mark_mirror(0x0, 0x1)", "ret"),
    (op("setclr_flag", 0, 1, flags=4, list="memory", set=True), "memblock_mark_nomap(0x0, 0x1)", "ret"),
    (op("setclr_flag", 0, 1, flags=16, list="reserved", set=True),
     "memblock_reserved_mark_noinit(0x0, 0x1)", "ret"),
    (op("set_node", 0, 1, list="reserved", nid=0), "memblock_set_node(0x0, 0x1, &memblock.reserved, 0)", "ret"),
    (op("alloc_range_nid", size=64, align=16, min=1, max=1 << 31, exact=True),
     "memblock_alloc_range_nid(0x40, 0x10, 0x1, 0x80000000ULL, NUMA_NO_NODE, true)", "base"),
    (op("alloc_range_nid", size=64, nid=2),
     "memblock_alloc_range_nid(0x40, 0x80, 0x0, 0x0, 2, false)", "base"),
    (op("trim_memory", align=4096), "memblock_trim_memory(0x1000)", ""),
    (op("cap_memory_range", 1, 2), "memblock_cap_memory_range(0x1, 0x2)", ""),
    (op("set_current_limit", 1 << 20), "memblock_set_current_limit(0x100000)", ""),
    (op("set_bottom_up", flags=1), "memblock_set_bottom_up(1)", ""),
    (op("allow_resize"), "memblock_allow_resize()", ""),
    (op("slab_available"), "slab_state = UP", ""),
    (op("free_all"), "memblock_free_all()", ""),
    (op("discard"), "", ""),
]  # fmt: skip


@pytest.mark.parametrize(("operation", "call", "variable"), CALLS, ids=range(len(CALLS)))
def test_one_call(operation: Operation, call: str, variable: str) -> None:
    assert call_of(operation, NODES, False, 128) == (call, variable)


def test_where_reservations_say_all() -> None:
    operation = op("add_range", 0x1000, 1, flags=0x20, list="reserved", nid=-1)
    assert call_of(operation, NODES, True, 64)[0] == "__memblock_reserve(0x1000, 0x1, NUMA_NO_NODE, 0x20)"


NO_CALL: list[tuple[Operation, str]] = [
    (op("add_range", 0, 1, flags=1, list="reserved", nid=1024), "no public function reserves with a node or"),
    (op("add_range", 0, 1, list="reserved", nid=0), "no public function reserves with a node or flags"),
    (op("add_range", 0, 1, list="physmem"), "without the list physmem"),
    (op("setclr_flag", 0, 1, flags=2, list="memory"), "no public function clears flags 0x2 of memory"),
    (op("setclr_flag", 0, 1, flags=5, list="memory", set=True), "no public function sets flags 0x5 of memory"),
    (op("setclr_flag", 0, 1, flags=4, list="reserved", set=True), "sets flags 0x4 of reserved"),
    (op("setclr_flag", 0, 1, flags=16, list="memory", set=True), "sets flags 0x10 of memory"),
]


@pytest.mark.parametrize(("operation", "message"), NO_CALL, ids=range(len(NO_CALL)))
def test_what_no_function_does(operation: Operation, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call_of(operation, NODES, False, 64)


def test_a_kernel_without_nodes() -> None:
    nodes = Nodes(None)
    assert [nodes.c(nid) for nid in (-1, 0, 1)] == ["NUMA_NO_NODE", "0", "MAX_NUMNODES"]
    operation = op("add_range", 0, 1, list="reserved", nid=0)
    assert call_of(operation, nodes, False, 64)[0] == "memblock_reserve(0x0, 0x1)"


def test_numbers_and_names() -> None:
    assert (hex_c(0x7FFFFFFF), hex_c(0x80000000)) == ("0x7fffffff", "0x80000000ULL")
    assert [result_c(value) for value in (0, -1, -12, -4000)] == ["0", "-EPERM", "-ENOMEM", "-4000"]
    assert word("a*/b\n\x1b.isra.0") == "a??b??.isra.0" and word("a" * 81) == "a" * 80


# -- files ------------------------------------------------------------------------------------------


def export(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], trace: list[dict[str, Any]], *options: str
) -> tuple[int, str, str]:
    file = tmp_path / "boot-6.12.trace"
    file.write_text(text_of(trace))
    try:
        status = main(["export", str(file), *(options or ("--c",))])
    except SystemExit as error:
        status = int(error.code or 0)
    out, err = capsys.readouterr()
    return status, out, err


WHOLE = """
// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The early boot of a kernel for x86_64, as gdb-lmb traced it: 4 calls
 * of memblock with the results that it gave there, and the state that they must lead to.
 *
 * Put this file beside the others in tools/testing/memblock/tests/, add
 * tests/boot_6_12.o to TEST_OFILES, call memblock_boot_6_12_checks() last in main(),
 * and build with:
 *   make NUMA=1
 */
#include "common.h"
#include <errno.h>
#include <string.h>

#ifndef CONFIG_NUMA
#error "this kernel knows nodes: build with make NUMA=1"
#endif
_Static_assert(sizeof(phys_addr_t) == 8, "the width of phys_addr_t");
_Static_assert(PAGE_SIZE == 4096, "the size of a page");
_Static_assert(MAX_NUMNODES > 0, "CONFIG_NODES_SHIFT is too small");

static const struct memblock_region last_memory[] = {
	{ .base = 0x100000, .size = 0x1000000, .flags = 0x0, .nid = 0 },
};

static const struct memblock_region last_reserved[] = {
	{ .base = 0x100000, .size = 0x200000, .flags = 0x0, .nid = MAX_NUMNODES },
	{ .base = 0x10ff000, .size = 0x1000, .flags = 0x0, .nid = MAX_NUMNODES },
};

static void check_list(struct memblock_type *type, const struct memblock_region *want, unsigned long cnt)
{
	ASSERT_EQ(type->cnt, cnt);
	for (unsigned long i = 0; i < cnt; i++) {
		ASSERT_EQ(type->regions[i].base, want[i].base);
		ASSERT_EQ(type->regions[i].size, want[i].size);
		ASSERT_EQ(type->regions[i].flags, want[i].flags);
		ASSERT_EQ(type->regions[i].nid, want[i].nid);
	}
}

static void part_1(void)
{
	phys_addr_t base;
	int ret;

	/* 1: memblock_reserve */
	ret = memblock_add_node(0x100000, 0x1000000, MAX_NUMNODES, 0x0);
	ASSERT_EQ(ret, 0);
	/* 2: setup_arch */
	ret = memblock_reserve(0x100000, 0x200000);
	ASSERT_EQ(ret, 0);
	/* 3: early_pgtable_alloc */
	base = memblock_alloc_range_nid(0x1000, 0x1000, 0x0, 0x0, NUMA_NO_NODE, false);
	ASSERT_EQ(base, 0x10ff000);
	/* 4: memblock_reserve */
	ret = memblock_set_node(0x100000, 0x1000000, &memblock.memory, 0);
	ASSERT_EQ(ret, 0);
}

static int boot_6_12_check(void)
{
	PREFIX_PUSH();

	reset_memblock_regions();
	reset_memblock_attributes();
	memblock_set_bottom_up(false);

	part_1();

	check_list(&memblock.memory, last_memory, 1);
	ASSERT_EQ(memblock.memory.max, 128);
	ASSERT_EQ(memblock.memory.total_size, 0x1000000);
	check_list(&memblock.reserved, last_reserved, 2);
	ASSERT_EQ(memblock.reserved.max, 128);
	ASSERT_EQ(memblock.reserved.total_size, 0x201000);
	ASSERT_EQ(memblock.current_limit, 0xffffffffffffffffULL);
	ASSERT_EQ(memblock.bottom_up, false);

	test_pass_pop();

	return 0;
}

int memblock_boot_6_12_checks(void);

int memblock_boot_6_12_checks(void)
{
	prefix_reset();
	prefix_push("memblock boot_6_12");
	return boot_6_12_check();
}
"""


def test_a_whole_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert export(tmp_path, capsys, SOUND) == (0, WHOLE.removeprefix("\n"), "")


def test_a_state_to_begin_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    initial = memblock_state(rows((0, 0x1000000, 4, 3)), [], bottom_up=True, current_limit="0x800000")
    initial["memory"] = {**initial["memory"], "max": 1024, "total_size": "0x1000c00"}
    initial["reserved"]["max"] = initial["arrays"][1]["max"] = 641
    initial["arrays"][0]["max"] = 1024
    generation = {**BEHAVIOR_6_12, "can_resize": True, "movable_node": True}
    mark = record(1, "setclr_flag", 0, list="memory", base=0, size=0x1000000, set=True, flags=2)
    status, out, _ = export(tmp_path, capsys, [header("memblock", initial, generation=generation), mark])
    assert status == 0
    assert "\t{ .base = 0x0, .size = 0x1000000, .flags = 0x4, .nid = 3 },\n" in out
    assert (
        "\tmemblock.memory.max = 1024;\n"
        "\tmemcpy(memblock.memory.regions, first_memory, sizeof(first_memory));\n"
        "\tmemblock.memory.cnt = 1;\n"
        "\tmemblock.memory.total_size = 0x1000c00;\n"
        "\tmemblock.reserved.max = 641;\n"
        "\tmemblock_set_bottom_up(true);\n"
        "\tmemblock_set_current_limit(0x800000);\n"
        "\tmemblock_allow_resize();\n"
        "\tmovable_node_enabled = true;\n"
        "\tmirrored_kernelcore = true;\n"
    ) in out
    build = "CFLAGS='-DINIT_MEMBLOCK_MEMORY_REGIONS=1024 -DINIT_MEMBLOCK_RESERVED_REGIONS=641' make NUMA=1"
    assert f" *   {build}\n" in out
    assert f'room for 641 regions: build with {build}"\n#endif\n#include "common.h"\n' in out
    # The trace was cut off: the model says what the state is, and the file says that nobody has seen it.
    assert " * gdb-lmb's reference model does not confirm this trace:\n * the trace is cut off after record 1\n" in out
    assert ".flags = 0x6, .nid = 3 }" in out


def test_doubled_arrays_are_mapped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    high = 0x100000000
    trace = [header("memblock", memblock_state([], []), generation=BEHAVIOR_6_12)]
    trace.append(record(1, "add_range", 0, list="memory", base=high, size=0x100000, nid=1024, flags=0))
    trace.append(record(2, "allow_resize", None))
    trace += [
        record(3 + at, "add_range", 0, list="reserved", base=at * 0x2000, size=0x1000, nid=1024, flags=0)
        for at in range(129)
    ]
    status, out, _ = export(tmp_path, capsys, trace)
    # 256 regions of 24 bytes are 0x1800: two pages, at the top of memory.
    assert status == 0
    assert "\tmap_memory(0x1000fe000ULL, 0x2000);\n" in out and "#include <sys/mman.h>\n" in out
    assert "\tASSERT_EQ((unsigned long)memblock.reserved.regions, 0x1000fe000ULL);\n" in out
    assert "static void map_memory(phys_addr_t base, phys_addr_t size)\n{\n" in out
    assert " * Arrays were doubled at addresses that AddressSanitizer takes for itself" in out
    # Two functions for 131 operations.
    assert "\tpart_1();\n\tpart_2();\n" in out and "part_3" not in out
    # 512 regions are 0x3000 bytes, right below; the array before is given back by then, but has been used.
    trace += [
        record(132 + at, "add_range", 0, list="reserved", base=0x800000 + at * 0x2000, size=0x1000, nid=1024, flags=0)
        for at in range(128)
    ]
    _, out, _ = export(tmp_path, capsys, trace)
    assert "\tmap_memory(0x1000fb000ULL, 0x5000);\n" in out
    assert "\tASSERT_EQ((unsigned long)memblock.reserved.regions, 0x1000fb000ULL);\n" in out


def test_neither_a_dummy_nor_a_static_array_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    initial = memblock_state(rows((0, 0, 0, 1024)), rows((0, 0, 0, 1024)))
    final = json.loads(json.dumps(SOUND[6]["end"]["final"]))
    final["arrays"][0]["base"] = "0x2000000"
    trace = [header("memblock", initial, generation={**BEHAVIOR_6_12, "empty_dummy": True}), *SOUND[1:6]]
    status, out, _ = export(tmp_path, capsys, [*trace, {"end": {"records": 4, "final": final}}])
    assert status == 0 and "first_" not in out and "map_memory" not in out
    assert not re.search(r"ASSERT_EQ\(\(unsigned long\)memblock\.", out)


def test_a_kernel_that_is_wrong_can_be_exported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = export(tmp_path, capsys, changed(SOUND, 3, result="0x10fe000"))
    assert status == 0
    assert " * kernel and model differ: it returned 0x10fe000, but 0x10ff000 is expected\n" in out
    assert "\tASSERT_EQ(base, 0x10fe000);\n" in out


def test_what_headers_do_not_declare_everywhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    last = [record(seq, name, None, 1) for seq, name in ((5, "slab_available"), (6, "free_all"), (7, "discard"))]
    trace = [*SOUND[:5], *last, SOUND[5]]
    status, out, _ = export(tmp_path, capsys, trace)
    assert status == 0
    assert "\nvoid memblock_free_all(void); /*" in out and "\nextern enum slab_state slab_state;\n" in out
    assert "\tslab_state = UP;\n\t/* 6: memblock_reserve */\n\tmemblock_free_all();\n" in out
    assert "\t/* 7: memblock_reserve */\n}\n" in out


def declared(text: str) -> list[str]:
    """Return the lines of a C file before its first function that declare or demand something."""
    words = ("#include ", "extern ", "void ", "_Static_assert")
    return [line for line in text.split("\nstatic ")[0].splitlines() if line.startswith(words)]


VARIABLES: list[tuple[list[dict[str, Any]], list[str]]] = [
    (SOUND[1:4], ["\tphys_addr_t base;", "\tint ret;", ""]),
    (SOUND[1:3], ["\tint ret;", ""]),
    ([record(1, "alloc_range_nid", 0, size=0x1000, align=0x1000, min=0, max=0, nid=-1, exact=False)],
     ["\tphys_addr_t base;", ""]),
    ([record(1, "allow_resize", None)], []),
    ([record(1, "add_range", None, list="memory", base=0, size=1, nid=1024, flags=0)], ["\tint ret;", ""]),
]  # fmt: skip


@pytest.mark.parametrize(("records", "declarations"), VARIABLES, ids=range(len(VARIABLES)))
def test_variables_that_are_used_are_declared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], records: list[dict[str, Any]], declarations: list[str]
) -> None:
    _, out, _ = export(tmp_path, capsys, [SOUND[0], *records])
    assert out.split("static void part_1(void)\n{\n")[1].split("\t/* 1")[0].splitlines() == declarations
    if records[0]["result"] is None:  # nothing to compare, no caller, and no node anywhere
        assert "\t/* 1 */\n" in out and ("\t(void)ret;\n" in out) is bool(declarations)
        assert "MAX_NUMNODES >" not in out


@pytest.mark.parametrize(("flags", "mirrored"), [(1, False), (2, True), (4, False)])
def test_a_kernel_core_is_mirrored_where_a_region_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: int, mirrored: bool
) -> None:
    mark = record(2, "setclr_flag", 0, list="memory", base=0x100000, size=0x1000, flags=flags, set=True)
    _, out, _ = export(tmp_path, capsys, [*SOUND[:2], mark])
    assert ("mirrored_kernelcore = true;" in out) is mirrored


def test_each_declaration_is_there_where_it_is_needed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    always = ['#include "common.h"', "#include <errno.h>", "#include <string.h>"]
    sizes = ['_Static_assert(sizeof(phys_addr_t) == 8, "the width of phys_addr_t");',
             '_Static_assert(PAGE_SIZE == 4096, "the size of a page");']  # fmt: skip
    nodes = '_Static_assert(MAX_NUMNODES > 0, "CONFIG_NODES_SHIFT is too small");'
    _, out, _ = export(tmp_path, capsys, SOUND)
    assert declared(out) == [*always, *sizes, nodes]
    mirror = {"seq": 5, "op": "setclr_flag", "list": "memory", "base": "0x100000", "size": "0x1000", "flags": 2,
              "set": True, "result": 0, "callers": [], "phase": None}  # fmt: skip
    more = [mirror, record(6, "slab_available", None, 1), record(7, "free_all", None, 1)]
    head = json.loads(json.dumps(SOUND[0]))
    head["generation"]["movable_node"] = True
    _, out, _ = export(tmp_path, capsys, [head, *SOUND[1:5], *more, SOUND[5]])
    assert declared(out) == [
        *always, "#include <linux/slab.h>", *sizes, nodes,
        "extern bool mirrored_kernelcore;", "extern enum slab_state slab_state;", "extern bool movable_node_enabled;",
        "void memblock_free_all(void); /* in mm/internal.h by now */",
    ]  # fmt: skip


def test_a_trace_without_nodes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = memblock_state(rows((0, 0x1000, 0, 0)), [], no_node=None, bits=32, current_limit="0xffffffff")
    status, out, _ = export(tmp_path, capsys, [header("memblock", state, bits=32, generation=BEHAVIOR_6_12)])
    assert status == 0
    assert '#ifdef CONFIG_NUMA\n#error "this kernel knows no nodes: build with make 32BIT_PHYS_ADDR_T=1"\n' in out
    assert "_Static_assert(sizeof(phys_addr_t) == 4," in out and ".nid" not in out


GROWN = memblock_state([], [])
GROWN["arrays"][1].update(static=False, base="0x1000")
DAMAGED = json.loads(json.dumps(SOUND[6]["end"]["final"]))
DAMAGED["memory"]["cnt"] = 9

REFUSED: list[tuple[list[dict[str, Any]], str]] = [
    (LOG, "the kernel's simulator knows memblock only, not lmb-list"),
    (changed(SOUND, 0, lost=7)[:1], "the first 7 operations are lost"),
    ([header("memblock", GROWN, generation=BEHAVIOR_6_12)], "begins with an array that was doubled before"),
    (changed(SOUND, 3, result=0)[:-1], "the trace does not hold the final state, and kernel and model differ"),
    (changed(SOUND, 6, end={"records": 4, "final": DAMAGED}), "the final state is damaged: memory.cnt is 9 of 1"),
    (changed(SOUND, 2, flags=16), "operation 2 add_range(list=reserved, base=0x100000, size=0x200000, nid=1024, "
                                  "flags=0x10): no public function reserves"),
    (changed(SOUND, 1, seq=9), 'line 2: "seq" is 9'),
]  # fmt: skip


@pytest.mark.parametrize(("trace", "message"), REFUSED, ids=range(len(REFUSED)))
def test_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], trace: list[dict[str, Any]], message: str) -> None:
    status, _, err = export(tmp_path, capsys, trace, "--c", "-o", str(tmp_path / "out.c"))
    assert status == 2 and message in err and len(err.splitlines()) == 1
    assert not list(tmp_path.glob("out.c*")), "no half a file"


def test_where_it_goes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = export(tmp_path, capsys, SOUND, "--c", "-o", str(tmp_path / "replay.c"))
    assert (status, out) == (0, "") and "memblock_replay_checks" in (tmp_path / "replay.c").read_text()
    status, _, err = export(tmp_path, capsys, SOUND, "--c", "-o", "/nowhere/x.c")
    assert status == 4 and "cannot write /nowhere/x.c: No such file" in err


BAD_OPTIONS = [
    (["--c", "--name", "1x"], "--name '1x' is no name of a C function"),
    (["--c", "--name", "x" * 99], "is no name of a C function"),
    ([], "one of the arguments --c is required"),
]


@pytest.mark.parametrize(("options", "message"), BAD_OPTIONS, ids=range(len(BAD_OPTIONS)))
def test_bad_option(tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str) -> None:
    file = tmp_path / "boot.trace"
    file.write_text(text_of(SOUND))
    try:
        status = main(["export", str(file), *options])
    except SystemExit as error:
        status = int(error.code or 0)
    assert status == 2 and message in capsys.readouterr().err


def test_stdin_cannot_be_read_twice(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "-", "--c"]) == 2
    assert "must be a file" in capsys.readouterr().err


def test_names_of_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for file, name in (("6.1.trace", "boot_6_1"), ("a b.trace", "a_b"), ("---", "trace")):
        path = tmp_path / file
        path.write_text(text_of(SOUND))
        assert main(["export", str(path), "--c"]) == 0
        assert f"int memblock_{name}_checks(void);" in capsys.readouterr().out
