# SPDX-License-Identifier: GPL-2.0-or-later
"""A traced boot as a test for the kernel's memblock simulator, `tools/testing/memblock`.

The test makes the same calls by the public functions of `include/linux/memblock.h`, and asserts every result and the
state in the end: every region, the counters, and where doubled arrays lie. The simulator's physical addresses are the
process's own, so the memory of doubled arrays is mapped first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from gdb_lmb.allocators.memblock.calls import Nodes, call_of, hex_c, result_c, word
from gdb_lmb.allocators.memblock.model import MemblockModel
from gdb_lmb.allocators.memblock.storage import storage_of
from gdb_lmb.core.errors import InputError
from gdb_lmb.core.operation import Record, TraceHeader
from gdb_lmb.core.ranges import Range, union
from gdb_lmb.core.snapshot import RegionList, Snapshot
from gdb_lmb.core.words import truth

_PER_FUNCTION = 100
"""Operations in one C function: compilers take long over functions of thousands of assertions."""

SIMULATOR_REGIONS = 128
"""`INIT_MEMBLOCK_REGIONS`, which the simulator's reset_memblock_regions() sets."""

_ASAN_SHADOW = 0x7FFF7000
"""From here on AddressSanitizer has its shadow memory on x86-64."""

_HEAD = """\
// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The early boot of a kernel for {arch}, as gdb-lmb traced it: {records:,} calls
 * of memblock with the results that it gave there, and the state that they must lead to.
 *
 * Put this file beside the others in tools/testing/memblock/tests/, add
 * tests/{name}.o to TEST_OFILES, call memblock_{name}_checks() last in main(),
 * and build with:
 *   {make}"""

_SANITIZER = """\
 *
 * Arrays were doubled at addresses that AddressSanitizer takes for itself: build without it, by giving
 * make the Makefile's CFLAGS and LDFLAGS without -fsanitize=address."""

_CHECK_LIST = """
static void check_list(struct memblock_type *type, const struct memblock_region *want, unsigned long cnt)
{{
\tASSERT_EQ(type->cnt, cnt);
\tfor (unsigned long i = 0; i < cnt; i++) {{
\t\tASSERT_EQ(type->regions[i].base, want[i].base);
\t\tASSERT_EQ(type->regions[i].size, want[i].size);
\t\tASSERT_EQ(type->regions[i].flags, want[i].flags);
{nid}\t}}
}}"""

_MAP_MEMORY = """
/* Doubled arrays lie in simulated memory, at addresses that must be this process's own. */
static void map_memory(phys_addr_t base, phys_addr_t size)
{
\tvoid *at = (void *)(unsigned long)base;

\tassert(mmap(at, size, PROT_READ | PROT_WRITE,
\t\t    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == at);
}"""

_TAIL = """
\ttest_pass_pop();

\treturn 0;
}}

int memblock_{name}_checks(void);

int memblock_{name}_checks(void)
{{
\tprefix_reset();
\tprefix_push("memblock {name}");
\treturn {name}_check();
}}"""


class SimulatorTest:
    """A trace on its way to a test: `see()` each record, `finish()`, then write its `lines()`.

    The head of the file needs to know the whole trace: which operations there are, and where doubled arrays lay.
    `agrees` is None where kernel and model agree, else a sentence that says where they do not.
    """

    def __init__(self, header: TraceHeader) -> None:
        """Take what the trace begins with. Raises: `InputError` for a state that the simulator cannot begin with."""
        if header.initial is None or any(not array.static for array in storage_of(header.initial).arrays):
            raise InputError("the trace begins with an array that was doubled before: the simulator starts with none")
        self.agrees: str | None = None
        self.final = self._initial = header.initial
        self._header = header
        self._nodes = Nodes(self.final.no_node)
        self._owner: Callable[[Record], str] = str
        self._arrays: list[Range] = []
        self._ops: set[str] = set()
        self._mirror = False
        self._highest_node = -1
        self._records = self._doublings = 0

    def see(self, record: Record, model: MemblockModel) -> None:
        """Take a record; `model` is in the state after it."""
        operation = record.operation
        self._records += 1
        self._ops.add(operation.op)
        self._mirror |= operation.op == "setclr_flag" and bool(operation.flags & 0x2)
        if operation.nid is not None and operation.nid != self._initial.no_node:
            self._highest_node = max(self._highest_node, operation.nid)
        if model.doublings != self._doublings:
            self._doublings = model.doublings
            self._arrays += _grown(model.snapshot())

    def finish(self, final: Snapshot, agrees: str | None, owner: Callable[[Record], str]) -> None:
        """Take the state in the end; `owner` names who called. Raises: `InputError` where it is damaged."""
        for regions in final.lists:
            if regions.cnt != len(regions):
                raise InputError(f"the final state is damaged: {regions.name}.cnt is {regions.cnt} of {len(regions)}")
        self.final, self.agrees, self._owner = final, agrees, owner
        self._arrays = union([*self._arrays, *_grown(final)])

    def lines(self, name: str, records: Iterable[Record]) -> Iterator[str]:
        """Yield the C file in pieces; `records` are all once more.

        Raises: `InputError` naming the operation that no public function does.
        """
        yield from self._head(name)
        for when, state in (("first", self._initial), ("last", self.final)):
            for regions in (state.memory, state.reserved):
                if when == "last" or _regions(regions):
                    yield self._table(f"{when}_{regions.name}", regions)
        nid = "\t\tASSERT_EQ(type->regions[i].nid, want[i].nid);\n" if self._nodes.known else ""
        yield _CHECK_LIST.format(nid=nid)
        if self._arrays:
            yield _MAP_MEMORY
        parts, chunk = 0, list[str]()
        for number, record in enumerate(records, 1):
            chunk += self._statements(record)
            if number == self._records or not number % _PER_FUNCTION:
                parts += 1
                yield from _part(chunk, parts)
                chunk.clear()
        yield from self._check(name, parts)
        yield _TAIL.format(name=name)

    def _head(self, name: str) -> Iterator[str]:
        header, numa = self._header, self._nodes.known
        rooms = {
            f"INIT_MEMBLOCK_{regions.name.upper()}_REGIONS": regions.max
            for regions in (self._initial.memory, self._initial.reserved)
            if regions.max is not None and regions.max > SIMULATOR_REGIONS
        }
        make = "make" + (" NUMA=1" if numa else "") + ("" if header.bits == 64 else " 32BIT_PHYS_ADDR_T=1")
        if rooms:
            make = f"CFLAGS='{' '.join(f'-D{macro}={room}' for macro, room in rooms.items())}' {make}"
        yield _HEAD.format(arch=word(header.arch), records=self._records, name=name, make=make)
        if self.agrees is not None:
            sentence = re.sub(r"[^ -~]|\*/", "?", self.agrees[:300])
            yield f" *\n * gdb-lmb's reference model does not confirm this trace:\n * {sentence}"
        if any(end > _ASAN_SHADOW for _, end in self._arrays):
            yield _SANITIZER
        yield " */"
        # Before common.h, which has a number of its own for the reserved list.
        for macro, room in rooms.items():
            yield f"#if !defined({macro}) || {macro} < {room}"
            yield f'#error "this kernel has room for {room} regions: build with {make}"\n#endif'
        yield '#include "common.h"\n#include <errno.h>\n#include <string.h>'
        slab = "slab_available" in self._ops
        wanted = {
            "#include <sys/mman.h>": self._arrays,
            "#include <linux/slab.h>": slab,
            f"\n#if{'n' if numa else ''}def CONFIG_NUMA": True,
            f'#error "this kernel {"knows" if numa else "knows no"} nodes: build with {make}"\n#endif': True,
            f'_Static_assert(sizeof(phys_addr_t) == {header.bits // 8}, "the width of phys_addr_t");': True,
            f'_Static_assert(PAGE_SIZE == {header.page_size}, "the size of a page");': True,
            f'_Static_assert(MAX_NUMNODES > {self._highest_node}, "CONFIG_NODES_SHIFT is too small");': (
                numa and self._highest_node >= 0
            ),
            "\nextern bool mirrored_kernelcore;": self._mirror,
            "\nextern enum slab_state slab_state;": slab,
            "\nextern bool movable_node_enabled;": header.behavior.get("movable_node"),
            "\nvoid memblock_free_all(void); /* in mm/internal.h by now */": "free_all" in self._ops,
        }
        yield from (text for text, needed in wanted.items() if needed)

    def _table(self, name: str, regions: RegionList) -> str:
        rows = [f"\nstatic const struct memblock_region {name}[] = {{"]
        for at, region in enumerate(regions.regions()):
            node = f", .nid = {self._nodes.c(regions.nid[at])}" if self._nodes.known else ""
            base, size, flags = hex_c(region.base), hex_c(region.size), hex_c(region.flags)
            rows.append(f"\t{{ .base = {base}, .size = {size}, .flags = {flags}{node} }},")
        return "\n".join([*rows, "};"])

    def _statements(self, record: Record) -> list[str]:
        behavior = self._header.behavior
        says_all, cache_bytes = bool(behavior.get("marks_kernel")), behavior.get("cache_bytes", 64)
        try:
            call, variable = call_of(record.operation, self._nodes, says_all, cache_bytes)
        except InputError as error:
            raise InputError(f"operation {record}: {error}") from None
        by = word(self._owner(record)) if record.callers else ""
        lines = [f"\t/* {record.seq}{': ' + by if by else ''} */"]
        if not variable:
            return [*lines, f"\t{call};"] if call else lines
        lines.append(f"\t{variable} = {call};")
        if record.result is None:
            return [*lines, f"\t(void){variable};"]
        expected = hex_c(record.result) if variable == "base" else result_c(record.result)
        return [*lines, f"\tASSERT_EQ({variable}, {expected});"]

    def _check(self, name: str, parts: int) -> Iterator[str]:
        initial, final, behavior = self._initial, self.final, self._header.behavior
        yield f"\nstatic int {name}_check(void)\n{{\n\tPREFIX_PUSH();\n\n\treset_memblock_regions();"
        yield "\treset_memblock_attributes();"
        for regions in (initial.memory, initial.reserved):
            kind = f"memblock.{regions.name}"
            if regions.max != SIMULATOR_REGIONS:
                yield f"\t{kind}.max = {regions.max};"
            if _regions(regions):
                yield f"\tmemcpy({kind}.regions, first_{regions.name}, sizeof(first_{regions.name}));"
                yield f"\t{kind}.cnt = {len(regions)};\n\t{kind}.total_size = {hex_c(regions.total_size)};"
        yield f"\tmemblock_set_bottom_up({truth(initial.bottom_up)});"
        limited = initial.current_limit != initial.phys_addr_max
        wanted = {
            f"\tmemblock_set_current_limit({hex_c(initial.current_limit)});": limited,
            "\tmemblock_allow_resize();": behavior.get("can_resize"),
            "\tmovable_node_enabled = true;": behavior.get("movable_node"),
            "\tmirrored_kernelcore = true;": self._mirror,
        }
        yield from (text for text, needed in wanted.items() if needed)
        yield from (f"\tmap_memory({hex_c(base)}, {hex_c(end - base)});" for base, end in self._arrays)
        yield "\n".join(["", *(f"\tpart_{part}();" for part in range(1, parts + 1)), ""])
        for regions in (final.memory, final.reserved):
            kind = f"memblock.{regions.name}"
            yield f"\tcheck_list(&{kind}, last_{regions.name}, {regions.cnt});\n\tASSERT_EQ({kind}.max, {regions.max});"
            yield f"\tASSERT_EQ({kind}.total_size, {hex_c(regions.total_size)});"
        for array in storage_of(final).arrays:
            if not array.static and array.base is not None:
                yield f"\tASSERT_EQ((unsigned long)memblock.{array.name}.regions, {hex_c(array.base)});"
        yield f"\tASSERT_EQ(memblock.current_limit, {hex_c(final.current_limit)});"
        yield f"\tASSERT_EQ(memblock.bottom_up, {truth(final.bottom_up)});"


def _part(lines: list[str], number: int) -> Iterator[str]:
    yield f"\nstatic void part_{number}(void)\n{{"
    declared = [
        f"\t{declaration}"
        for variable, declaration in (("base", "phys_addr_t base;"), ("ret", "int ret;"))
        if any(line.startswith(f"\t{variable} = ") for line in lines)
    ]
    yield from [*declared, *([""] if declared else []), *lines, "}"]


def _regions(regions: RegionList) -> int:
    return 0 if regions.dummy else len(regions)


def _grown(snapshot: Snapshot) -> Iterator[Range]:
    """Yield the whole pages of arrays that are not the static ones."""
    page = snapshot.page_size
    for array in storage_of(snapshot).arrays:
        if not array.static and array.base is not None:
            yield array.base, array.base + -(-array.size // page) * page
