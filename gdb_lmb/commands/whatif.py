# SPDX-License-Identifier: GPL-2.0-or-later
"""`lmb-whatif`: what an operation would return and change, computed from the walked state."""

from __future__ import annotations

from gdb_lmb.allocators.lmb.predict import predict_lmb
from gdb_lmb.allocators.memblock.predict import predict_memblock
from gdb_lmb.allocators.memblock.resume import resume
from gdb_lmb.allocators.predict import Prediction
from gdb_lmb.commands.arguments import ANY, JSON, Argument, Options
from gdb_lmb.commands.base import LmbCommand, take_snapshot
from gdb_lmb.commands.names import Names
from gdb_lmb.core.errors import LayoutError, UsageError
from gdb_lmb.core.numbers import flags_of, number
from gdb_lmb.core.snapshot import Snapshot
from gdb_lmb.machine.behavior import memblock_facts
from gdb_lmb.machine.current import current
from gdb_lmb.programs.linux.kernel import find_kernel
from gdb_lmb.report.prediction import prediction_json, prediction_text

_RANGES = ("reserve", "free", "add", "remove")
_NID_BITS = 31


class LmbWhatif(LmbCommand):
    """Tell what an allocator call would do, without doing it.

    Usage: lmb-whatif alloc SIZE [--align N] [--min A] [--max B] [--flags F]
           lmb-whatif reserve|add BASE SIZE|A-B|A+SIZE [--flags F]
           lmb-whatif free|remove BASE SIZE|A-B|A+SIZE

      alloc      find SIZE bytes and reserve them
      reserve    take the range BASE, SIZE; free gives it back
      add        make the range memory; remove forgets it
      --align N  the base is a multiple of N bytes, a power of two (default 1,
                 in memblock SMP_CACHE_BYTES)
      --min A    the lowest address allowed
      --max B    no byte at or above B (default: the current limit)
      --flags F  of the new region: a number, or names as NOMAP|MIRROR
      --nid N    its node (memblock only)
      --json     as JSON, schema gdb-lmb/whatif/1

    The result, the regions that change (before -> after), and the entries and
    growth it takes, worked out on the reference model from the lists as they
    are at this stop; the guest is not touched. BASE, A and B are physical, SIZE
    and N are bytes: decimal, 0x..., with K, M, G or T, a $variable, sizeof(type),
    or the name of a symbol, which stands for its physical address.

    Example: lmb-whatif alloc 64K --align 2M --max 4G
    """

    name = "lmb-whatif"
    arguments = (
        Argument("operation", choices=("alloc", "reserve", "add", "free", "remove")),
        Argument("numbers", ANY),
        *(Argument(name, of=("alloc",)) for name in ("--align", "--min", "--max")),
        *(Argument(name, of=("alloc", "reserve", "add")) for name in ("--flags", "--nid")),
        JSON,
    )
    writers = (prediction_json, lambda found, _snapshot, shown: prediction_text(found, shown))

    def ask(self, options: Options) -> tuple[Prediction, Snapshot]:
        """Take a snapshot, and go on from it on the model."""
        require_fitting(options)
        snapshot = take_snapshot()
        return prediction_of(snapshot, options.operation, given(snapshot, options)), snapshot


def require_fitting(options: Options) -> None:
    """Check that the operation takes so many numbers. Raises: `UsageError`."""
    ranged = options.operation in _RANGES
    if len(options.numbers) != (2 if ranged else 1) and not (ranged and _is_range(options.numbers)):
        takes = "BASE and SIZE, A-B or A+SIZE" if ranged else "SIZE"
        raise UsageError(f"{options.operation} takes {takes} (see: help lmb-whatif)")


def _is_range(words: list[str]) -> bool:
    """Tell whether one word stands for base and size together."""
    return len(words) == 1 and ("-" in words[0] or "+" in words[0])


def given(snapshot: Snapshot, options: Options) -> dict[str, int]:
    """Return the numbers that were given, by the names of the model's arguments. Raises: `UsageError`."""
    names, bits = Names(), snapshot.bits
    values: dict[str, int] = {}
    if options.operation in _RANGES and _is_range(options.numbers):
        base, end = names.range(options.numbers[0], bits)
        values |= {"base": base, "size": end - base}
    else:
        if len(options.numbers) > 1:
            values["base"] = number(options.numbers[0], "BASE", bits, names.physical)
        values["size"] = number(options.numbers[-1], "SIZE", bits, names.value)
    for name, most, resolve in (
        ("align", bits, names.value),
        ("min", bits, names.physical),
        ("max", bits, names.physical),
        ("nid", _NID_BITS, names.value),
    ):
        if getattr(options, name) is not None:
            values[name] = number(getattr(options, name), f"--{name}", most, resolve)
    if options.flags is not None:
        values["flags"] = flags_of(options.flags, snapshot.flag_names, names.value)
    _require_sense(snapshot, values)
    return values


def _require_sense(snapshot: Snapshot, values: dict[str, int]) -> None:
    """Refuse numbers that no caller can mean. Raises: `UsageError`.

    What the allocator itself refuses is left to its model, which says why.
    """
    if snapshot.layout != "memblock":
        return
    align, nid = values.get("align", 0), values.get("nid", 0)
    if align & (align - 1):
        raise UsageError(f"--align {align:#x} is no power of two, which memblock expects without looking")
    if snapshot.no_node is not None and nid > snapshot.no_node > 0:
        raise UsageError(f"--nid {nid}: this kernel numbers its nodes from 0 to {snapshot.no_node - 1}")


def prediction_of(snapshot: Snapshot, operation: str, values: dict[str, int]) -> Prediction:
    """Return what `operation` would do in the state of `snapshot`. Raises: `LmbError`."""
    if snapshot.layout == "memblock":
        kernel = find_kernel(current())
        if kernel is None:
            raise LayoutError("gdb's symbols have no memblock any more: load the kernel's vmlinux again")
        return predict_memblock(resume(snapshot, memblock_facts(kernel)), operation, **values)
    if "nid" in values:
        raise UsageError("the list-based LMB knows no nodes: leave --nid out")
    return predict_lmb(snapshot, operation, **values)
