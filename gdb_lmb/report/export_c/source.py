# SPDX-License-Identifier: GPL-2.0-or-later
"""The C file: tables of the first and the last state, functions with the calls, and the test function."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from gdb_lmb.allocators.memblock.storage import storage_of
from gdb_lmb.analysis.owners import function_of, owner_name
from gdb_lmb.core.errors import InputError
from gdb_lmb.core.record import Record
from gdb_lmb.core.snapshot import RegionList
from gdb_lmb.report.export_c.calls import Nodes, call_of, hex_c, result_c, word
from gdb_lmb.report.export_c.survey import Survey
from gdb_lmb.report.trace_file import TraceReader

_PER_FUNCTION = 100
"""Operations in one C function: compilers take long over functions of thousands of assertions."""

SIMULATOR_REGIONS = 128
"""`INIT_MEMBLOCK_REGIONS`, which the simulator's reset_memblock_regions() sets."""

_ASAN_SHADOW = 0x7FFF7000
"""From here on AddressSanitizer has its shadow memory on x86-64."""


def source(seen: Survey, reader: TraceReader, name: str) -> Iterator[str]:
    """Yield the lines of the C file for the trace that was surveyed, which `reader` reads once more.

    Raises: `InputError` naming the operation that no public function does.
    """
    nodes = Nodes(seen.initial.no_node)
    yield from _head(seen, name)
    yield from _helpers(seen, nodes)
    parts = 0
    chunk: list[Record] = []
    for record in reader:
        chunk.append(record)
        if len(chunk) == _PER_FUNCTION:
            parts += 1
            yield from _part(seen, chunk, parts, nodes)
            chunk.clear()
    if chunk:
        parts += 1
        yield from _part(seen, chunk, parts, nodes)
    yield from _check(seen, name, parts, nodes)


def _head(seen: Survey, name: str) -> Iterator[str]:
    header = seen.reader.header
    numa = seen.initial.no_node is not None
    rooms = {
        f"INIT_MEMBLOCK_{regions.name.upper()}_REGIONS": regions.max
        for regions in (seen.initial.memory, seen.initial.reserved)
        if regions.max is not None and regions.max > SIMULATOR_REGIONS
    }
    make = "make" + (" NUMA=1" if numa else "") + ("" if header.bits == 64 else " 32BIT_PHYS_ADDR_T=1")
    if rooms:
        make = f"CFLAGS='{' '.join(f'-D{macro}={room}' for macro, room in rooms.items())}' {make}"
    yield from (
        "// SPDX-License-Identifier: GPL-2.0-or-later",
        "/*",
        f" * The early boot of a kernel for {word(header.arch)}, as gdb-lmb traced it: {seen.reader.records:,} calls",
        " * of memblock with the results that it gave there, and the state that they must lead to.",
        " *",
        " * Put this file beside the others in tools/testing/memblock/tests/, add",
        f" * tests/{name}.o to TEST_OFILES, call memblock_{name}_checks() last in main(),",
        " * and build with:",
        f" *   {make}",
    )
    if seen.agrees is not None:
        yield from (" *", " * gdb-lmb's reference model does not confirm this trace:", f" * {_sentence(seen.agrees)}")
    if any(end > _ASAN_SHADOW for _, end in seen.arrays):
        yield from (
            " *",
            " * Arrays were doubled at addresses that AddressSanitizer takes for itself: build without it, by giving",
            " * make the Makefile's CFLAGS and LDFLAGS without -fsanitize=address.",
        )
    yield " */"
    # Before common.h, which has a number of its own for the reserved list.
    for macro, room in rooms.items():
        yield f"#if !defined({macro}) || {macro} < {room}"
        yield f'#error "this kernel has room for {room} regions: build with {make}"'
        yield "#endif"
    yield '#include "common.h"'
    yield "#include <errno.h>"
    yield "#include <string.h>"
    if seen.arrays:
        yield "#include <sys/mman.h>"
    if "slab_available" in seen.ops:
        yield "#include <linux/slab.h>"
    yield from ("", "#ifdef CONFIG_NUMA" if not numa else "#ifndef CONFIG_NUMA")
    yield f'#error "this kernel {"knows" if numa else "knows no"} nodes: build with {make}"'
    yield "#endif"
    yield f'_Static_assert(sizeof(phys_addr_t) == {header.bits // 8}, "the width of phys_addr_t");'
    yield f'_Static_assert(PAGE_SIZE == {header.page_size}, "the size of a page");'
    if numa and seen.highest_node >= 0:
        yield f'_Static_assert(MAX_NUMNODES > {seen.highest_node}, "CONFIG_NODES_SHIFT is too small");'
    if seen.mirror:
        yield from ("", "extern bool mirrored_kernelcore;")
    if "slab_available" in seen.ops:
        yield from ("", "extern enum slab_state slab_state;")
    if seen.reader.header.behavior.get("movable_node"):
        yield from ("", "extern bool movable_node_enabled;")
    if "free_all" in seen.ops:
        yield from ("", "void memblock_free_all(void); /* in mm/internal.h by now */")


def _sentence(text: str) -> str:
    return re.sub(r"[^ -~]|\*/", "?", text[:300])


def _helpers(seen: Survey, nodes: Nodes) -> Iterator[str]:
    for when, state in (("first", seen.initial), ("last", seen.final)):
        for regions in (state.memory, state.reserved):
            if when == "last" or _regions(regions):
                yield from _table(f"{when}_{regions.name}", regions, nodes)
    yield from (
        "",
        "static void check_list(struct memblock_type *type, const struct memblock_region *want, unsigned long cnt)",
        "{",
        "\tASSERT_EQ(type->cnt, cnt);",
        "\tfor (unsigned long i = 0; i < cnt; i++) {",
        "\t\tASSERT_EQ(type->regions[i].base, want[i].base);",
        "\t\tASSERT_EQ(type->regions[i].size, want[i].size);",
        "\t\tASSERT_EQ(type->regions[i].flags, want[i].flags);",
        *(["\t\tASSERT_EQ(type->regions[i].nid, want[i].nid);"] if nodes.known else []),
        "\t}",
        "}",
    )
    if seen.arrays:
        yield from (
            "",
            "/* Doubled arrays lie in simulated memory, at addresses that must be this process's own. */",
            "static void map_memory(phys_addr_t base, phys_addr_t size)",
            "{",
            "\tvoid *at = (void *)(unsigned long)base;",
            "",
            "\tassert(mmap(at, size, PROT_READ | PROT_WRITE,",
            "\t\t    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == at);",
            "}",
        )


def _regions(regions: RegionList) -> int:
    return 0 if regions.dummy else len(regions)


def _table(name: str, regions: RegionList, nodes: Nodes) -> Iterator[str]:
    yield from ("", f"static const struct memblock_region {name}[] = {{")
    for at in range(len(regions)):
        node = f", .nid = {nodes.c(regions.nid[at])}" if nodes.known else ""
        yield (
            f"\t{{ .base = {hex_c(regions.base[at])}, .size = {hex_c(regions.size[at])}, "
            f".flags = {hex_c(regions.flags[at])}{node} }},"
        )
    yield "};"


def _part(seen: Survey, records: Iterable[Record], number: int, nodes: Nodes) -> Iterator[str]:
    lines: list[str] = []
    for record in records:
        try:
            lines += _statements(record, seen, nodes)
        except InputError as error:
            raise InputError(f"operation {record}: {error}") from None
    yield from ("", f"static void part_{number}(void)", "{")
    declared = [
        declaration
        for variable, declaration in (("base", "phys_addr_t base;"), ("ret", "int ret;"))
        if any(line.startswith(f"\t{variable} = ") for line in lines)
    ]
    for declaration in declared:
        yield f"\t{declaration}"
    if declared:
        yield ""
    yield from lines
    yield "}"


def _statements(record: Record, seen: Survey, nodes: Nodes) -> list[str]:
    header = seen.reader.header
    owner = owner_name(record, function_of(seen.reader.symbols), header.layout) if record.callers else ""
    lines = [f"\t/* {record.seq}{': ' + word(owner) if owner else ''} */"]
    cache_bytes = header.behavior.get("cache_bytes", 64)
    call, variable = call_of(record.operation, nodes, bool(header.behavior.get("marks_kernel")), cache_bytes)
    if not variable:
        return [*lines, f"\t{call};"] if call else lines
    lines.append(f"\t{variable} = {call};")
    if record.result is None:
        return [*lines, f"\t(void){variable};"]
    expected = hex_c(record.result) if variable == "base" else result_c(record.result)
    return [*lines, f"\tASSERT_EQ({variable}, {expected});"]


def _check(seen: Survey, name: str, parts: int, nodes: Nodes) -> Iterator[str]:
    initial, final = seen.initial, seen.final
    yield from ("", f"static int {name}_check(void)", "{", "\tPREFIX_PUSH();", "", "\treset_memblock_regions();")
    yield "\treset_memblock_attributes();"
    for regions in (initial.memory, initial.reserved):
        kind = f"memblock.{regions.name}"
        if regions.max != SIMULATOR_REGIONS:
            yield f"\t{kind}.max = {regions.max};"
        if _regions(regions):
            yield f"\tmemcpy({kind}.regions, first_{regions.name}, sizeof(first_{regions.name}));"
            yield f"\t{kind}.cnt = {len(regions)};"
            yield f"\t{kind}.total_size = {hex_c(regions.total_size)};"
    yield f"\tmemblock_set_bottom_up({'true' if initial.bottom_up else 'false'});"
    if initial.current_limit != initial.phys_addr_max:
        yield f"\tmemblock_set_current_limit({hex_c(initial.current_limit)});"
    behavior = seen.reader.header.behavior
    if behavior.get("can_resize"):
        yield "\tmemblock_allow_resize();"
    if behavior.get("movable_node"):
        yield "\tmovable_node_enabled = true;"
    if seen.mirror:
        yield "\tmirrored_kernelcore = true;"
    for base, end in seen.arrays:
        yield f"\tmap_memory({hex_c(base)}, {hex_c(end - base)});"
    yield ""
    for part in range(1, parts + 1):
        yield f"\tpart_{part}();"
    yield ""
    for regions in (final.memory, final.reserved):
        kind = f"memblock.{regions.name}"
        yield f"\tcheck_list(&{kind}, last_{regions.name}, {regions.cnt});"
        yield f"\tASSERT_EQ({kind}.max, {regions.max});"
        yield f"\tASSERT_EQ({kind}.total_size, {hex_c(regions.total_size)});"
    for array in storage_of(final).arrays:
        if not array.static and array.base is not None:
            yield f"\tASSERT_EQ((unsigned long)memblock.{array.name}.regions, {hex_c(array.base)});"
    yield f"\tASSERT_EQ(memblock.current_limit, {hex_c(final.current_limit)});"
    yield f"\tASSERT_EQ(memblock.bottom_up, {'true' if final.bottom_up else 'false'});"
    yield from ("", "\ttest_pass_pop();", "", "\treturn 0;", "}")
    yield from (
        "",
        f"int memblock_{name}_checks(void);",
        "",
        f"int memblock_{name}_checks(void)",
        "{",
        "\tprefix_reset();",
        f'\tprefix_push("memblock {name}");',
        f"\treturn {name}_check();",
        "}",
    )
