# SPDX-License-Identifier: GPL-2.0-or-later
"""A traced boot as a test for the kernel's memblock simulator, `tools/testing/memblock`.

The test makes the same calls by the public functions of `include/linux/memblock.h`, and asserts every result and the
state in the end: every region, the counters, and where doubled arrays lie. The simulator's physical addresses are the
process's own, so the memory of doubled arrays is mapped first.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice

from gdb_lmb.allocators.memblock.behavior import NUMA_NO_NODE
from gdb_lmb.allocators.memblock.model import MemblockModel
from gdb_lmb.allocators.memblock.storage import storage_of
from gdb_lmb.core.errors import InputError
from gdb_lmb.core.operation import Operation, Record, TraceHeader
from gdb_lmb.core.ranges import Range, union
from gdb_lmb.core.snapshot import RegionList, Snapshot
from gdb_lmb.core.words import truth

# Operations in one C function: compilers take long over functions of thousands of assertions.
_PER_FUNCTION = 100

# INIT_MEMBLOCK_REGIONS, which the simulator's reset_memblock_regions() sets.
SIMULATOR_REGIONS = 128

# From here on AddressSanitizer has its shadow memory on x86-64.
_ASAN_SHADOW = 0x7FFF7000

# -- operations as C --------------------------------------------------------------------------------

_FLAG_CALLS: Mapping[tuple[int, bool], str] = {
    (0x1, True): "memblock_mark_hotplug",
    (0x1, False): "memblock_clear_hotplug",
    (0x2, True): "memblock_mark_mirror",
    (0x4, True): "memblock_mark_nomap",
    (0x4, False): "memblock_clear_nomap",
    (0x10, True): "memblock_reserved_mark_noinit",
    (0x20, True): "memblock_reserved_mark_kern",
    (0x40, True): "memblock_mark_kho_scratch",
    (0x40, False): "memblock_clear_kho_scratch",
}

_PLAIN_CALLS: Mapping[str, str] = {
    "trim_memory": "memblock_trim_memory({align})",
    "cap_memory_range": "memblock_cap_memory_range({where})",
    "set_current_limit": "memblock_set_current_limit({base})",
    "set_bottom_up": "memblock_set_bottom_up({flag})",
    "allow_resize": "memblock_allow_resize()",
    "slab_available": "slab_state = UP",
    "free_all": "memblock_free_all()",
    # memblock_discard() changes no list, but would leave the simulator without memory for the tests that follow.
    "discard": "",
}


@dataclass(frozen=True)
class Nodes:
    """Nodes as the simulator calls them: it has fewer, so that the number which means none is another.

    `no_node` is what means no node to the traced kernel, None where it knows no nodes.
    """

    no_node: int | None

    def c(self, nid: int | None) -> str:
        """Return a node as a C expression."""
        if nid is None or nid == NUMA_NO_NODE:
            return "NUMA_NO_NODE"
        none = 1 if self.no_node is None else self.no_node  # MAX_NUMNODES without nodes
        return "MAX_NUMNODES" if nid == none else str(nid)


def hex_c(value: int) -> str:
    """Return an address, a size or flags as a C constant."""
    return f"{value:#x}" if value < 1 << 31 else f"{value:#x}ULL"


def result_c(value: int) -> str:
    """Return 0 or a negative errno as C names it."""
    return f"-{errno.errorcode[-value]}" if value < 0 and -value in errno.errorcode else str(value)


def word(text: str) -> str:
    """Return a name from outside with nothing in it that could end a comment."""
    return re.sub(r"[^A-Za-z0-9_.+-]", "?", text[:80])


def call_of(o: Operation, nodes: Nodes, reserve_says_all: bool, cache_bytes: int) -> tuple[str, str]:
    """Return the call as C ("" for none), and the variable that its result goes to ("" for none).

    `reserve_says_all` tells that __memblock_reserve() is public; `cache_bytes` is SMP_CACHE_BYTES.
    Raises: `InputError` where no public function does this.
    """
    base, size, flags, node = hex_c(o.base), hex_c(o.size), hex_c(o.flags), nodes.c(o.nid)
    where = f"{base}, {size}"
    match o.op, o.list:
        case _, "physmem":
            raise InputError("the simulator is built without the list physmem")
        case "add_range", "memory":
            return f"memblock_add_node({where}, {node}, {flags})", "ret"
        case "add_range", _ if reserve_says_all:
            return f"__memblock_reserve({where}, {node}, {flags})", "ret"
        case "add_range", _:
            if o.flags or not (nodes.no_node is None or node == "MAX_NUMNODES"):
                raise InputError("no public function reserves with a node or flags")
            return f"memblock_reserve({where})", "ret"
        case "remove_range", list:
            return f"memblock_{'remove' if list == 'memory' else 'phys_free'}({where})", "ret"
        case "setclr_flag", list:
            function = _FLAG_CALLS.get((o.flags, o.set))
            if function is None or function.startswith("memblock_reserved_") != (list == "reserved"):
                raise InputError(f"no public function {'sets' if o.set else 'clears'} flags {o.flags:#x} of {list}")
            return f"{function}({where})", "ret"
        case "set_node", list:
            return f"memblock_set_node({where}, &memblock.{list}, {node})", "ret"
        case "alloc_range_nid", _:
            # An alignment of 0 means the cache's line, which is another one in the simulator.
            numbers = ", ".join(map(hex_c, (o.size, o.align or cache_bytes, o.min, o.max)))
            return f"memblock_alloc_range_nid({numbers}, {node}, {truth(o.exact)})", "base"
    plain = _PLAIN_CALLS[o.op]
    return plain.format(where=where, base=base, align=hex_c(o.align), flag=int(bool(o.flags))), ""


# -- the file ---------------------------------------------------------------------------------------

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
        self._header, self._behavior = header, header.behavior
        self._nodes = Nodes(self.final.no_node)
        self._numa = self.final.no_node is not None
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
        yield _CHECK_LIST.format(nid="\t\tASSERT_EQ(type->regions[i].nid, want[i].nid);\n" if self._numa else "")
        if self._arrays:
            yield _MAP_MEMORY
        statements, parts = map(self._statements, records), 0
        while lines := [*chain.from_iterable(islice(statements, _PER_FUNCTION))]:
            parts += 1
            used = {"\tphys_addr_t base;": "\tbase = ", "\tint ret;": "\tret = "}
            declared = [what for what, use in used.items() if any(line.startswith(use) for line in lines)]
            yield f"\nstatic void part_{parts}(void)\n{{"
            yield from [*declared, *([""] if declared else []), *lines, "}"]
        yield from self._check(name, parts)
        yield _TAIL.format(name=name)

    def _head(self, name: str) -> Iterator[str]:
        header, numa = self._header, self._numa
        rooms = {
            f"INIT_MEMBLOCK_{regions.name.upper()}_REGIONS": regions.max
            for regions in (self._initial.memory, self._initial.reserved)
            if regions.max is not None and regions.max > SIMULATOR_REGIONS
        }
        make = "make" + (" NUMA=1" if numa else "") + ("" if header.bits == 64 else " 32BIT_PHYS_ADDR_T=1")
        if rooms:
            make = f"CFLAGS='{' '.join(f'-D{macro}={room}' for macro, room in rooms.items())}' {make}"
        sentence = "" if self.agrees is None else re.sub(r"[^ -~]|\*/", "?", self.agrees[:300])
        slab = "slab_available" in self._ops
        wanted = {
            _HEAD.format(arch=word(header.arch), records=self._records, name=name, make=make): True,
            f" *\n * gdb-lmb's reference model does not confirm this trace:\n * {sentence}": self.agrees is not None,
            _SANITIZER: any(end > _ASAN_SHADOW for _, end in self._arrays),
            " */": True,
            # Before common.h, which has a number of its own for the reserved list.
            **{
                f"#if !defined({macro}) || {macro} < {room}\n"
                f'#error "this kernel has room for {room} regions: build with {make}"\n#endif': True
                for macro, room in rooms.items()
            },
            '#include "common.h"\n#include <errno.h>\n#include <string.h>': True,
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
            "\nextern bool movable_node_enabled;": self._behavior.get("movable_node"),
            "\nvoid memblock_free_all(void); /* in mm/internal.h by now */": "free_all" in self._ops,
        }
        yield from (text for text, needed in wanted.items() if needed)

    def _table(self, name: str, regions: RegionList) -> str:
        nodes = [f", .nid = {self._nodes.c(nid)}" for nid in regions.nid] if self._numa else [""] * len(regions)
        rows = [
            f"\t{{ .base = {hex_c(region.base)}, .size = {hex_c(region.size)}, .flags = {hex_c(region.flags)}{node} }},"
            for region, node in zip(regions.regions(), nodes, strict=True)
        ]
        return "\n".join([f"\nstatic const struct memblock_region {name}[] = {{", *rows, "};"])

    def _statements(self, record: Record) -> list[str]:
        says_all, cache_bytes = bool(self._behavior.get("marks_kernel")), self._behavior.get("cache_bytes", 64)
        try:
            call, variable = call_of(record.operation, self._nodes, says_all, cache_bytes)
        except InputError as error:
            raise InputError(f"operation {record}: {error}") from None
        by = f": {word(self._owner(record))}" if record.callers else ""
        lines = [f"\t/* {record.seq}{by} */"]
        if not variable:
            return [*lines, f"\t{call};"] if call else lines
        asserted = f"\t(void){variable};"
        if record.result is not None:
            expected = hex_c(record.result) if variable == "base" else result_c(record.result)
            asserted = f"\tASSERT_EQ({variable}, {expected});"
        return [*lines, f"\t{variable} = {call};", asserted]

    def _check(self, name: str, parts: int) -> Iterator[str]:
        initial, final, behavior = self._initial, self.final, self._behavior
        yield f"\nstatic int {name}_check(void)\n{{\n\tPREFIX_PUSH();\n\n\treset_memblock_regions();"
        yield "\treset_memblock_attributes();"
        for regions in (initial.memory, initial.reserved):
            kind = f"memblock.{regions.name}"
            if regions.max != SIMULATOR_REGIONS:
                yield f"\t{kind}.max = {regions.max};"
            if _regions(regions):
                yield (
                    f"\tmemcpy({kind}.regions, first_{regions.name}, sizeof(first_{regions.name}));\n"
                    f"\t{kind}.cnt = {len(regions)};\n\t{kind}.total_size = {hex_c(regions.total_size)};"
                )
        limit = hex_c(initial.current_limit)
        wanted = {
            f"\tmemblock_set_bottom_up({truth(initial.bottom_up)});": True,
            f"\tmemblock_set_current_limit({limit});": initial.current_limit != initial.phys_addr_max,
            "\tmemblock_allow_resize();": behavior.get("can_resize"),
            "\tmovable_node_enabled = true;": behavior.get("movable_node"),
            "\tmirrored_kernelcore = true;": self._mirror,
        }
        yield from (text for text, needed in wanted.items() if needed)
        yield from (f"\tmap_memory({hex_c(base)}, {hex_c(end - base)});" for base, end in self._arrays)
        yield "\n".join(["", *(f"\tpart_{part}();" for part in range(1, parts + 1)), ""])
        for regions in (final.memory, final.reserved):
            kind = f"memblock.{regions.name}"
            yield (
                f"\tcheck_list(&{kind}, last_{regions.name}, {regions.cnt});\n\tASSERT_EQ({kind}.max, {regions.max});\n"
                f"\tASSERT_EQ({kind}.total_size, {hex_c(regions.total_size)});"
            )
        for array in storage_of(final).arrays:
            if not array.static and array.base is not None:
                yield f"\tASSERT_EQ((unsigned long)memblock.{array.name}.regions, {hex_c(array.base)});"
        yield (
            f"\tASSERT_EQ(memblock.current_limit, {hex_c(final.current_limit)});\n"
            f"\tASSERT_EQ(memblock.bottom_up, {truth(final.bottom_up)});"
        )


def _regions(regions: RegionList) -> int:
    return 0 if regions.dummy else len(regions)


# The whole pages of arrays that are not the static ones.
def _grown(snapshot: Snapshot) -> Iterator[Range]:
    page = snapshot.page_size
    return (
        (array.base, array.base + -(-array.size // page) * page)
        for array in storage_of(snapshot).arrays
        if not array.static and array.base is not None
    )
