# SPDX-License-Identifier: GPL-2.0-or-later
"""`lmb-who` and `lmb-map`: what lies where, and whose it is; `$lmb_region()` and `$lmb_owner()`, the same in short."""

from __future__ import annotations

import gdb

from gdb_lmb.analysis.who import FREE, RESERVED, Answer, Stretches, answer
from gdb_lmb.commands.arguments import ALL, JSON, OPTIONAL, Argument, Options
from gdb_lmb.commands.base import LmbCommand, take_whole_snapshot
from gdb_lmb.commands.names import Names, history
from gdb_lmb.core.errors import LmbError, NotReadyError, UsageError
from gdb_lmb.core.ranges import Range
from gdb_lmb.core.roles import Role
from gdb_lmb.core.snapshot import Snapshot
from gdb_lmb.machine.current import current
from gdb_lmb.programs.base import places, role_ranges
from gdb_lmb.report.map import Shown, map_json, map_text
from gdb_lmb.report.picture import Layers
from gdb_lmb.report.who import Known, owner_text, who_json, who_text


class LmbWho(LmbCommand):
    """Identify the owner of a physical address, a symbol or a range.

    Usage: lmb-who ADDRESS|SYMBOL|A-B|A+SIZE [--trace FILE] [--all] [--json]

      ADDRESS       physical: 0x1000, 16M, $variable or sizeof(type); one of the
                    kernel's virtual addresses is translated
      SYMBOL        where a variable or function lies
      A-B, A+SIZE   all from A up to, and without, B; SIZE bytes from A on
      --trace FILE  a saved trace (gdb-lmb/trace/1) tells who reserved what
      --all         every part (default: the first 200)
      --json        as JSON, schema gdb-lmb/who/1

    The region, what the firmware said, what is known to lie there (parts of
    the kernel image, initrd, device tree, command line, page tables, boot
    stack, per-CPU areas, struct page, the allocator's own), who reserved it
    and when, piece by piece where merging has joined regions, and what lies
    below and above. Who and when come from FILE, from the trace that lmb-trace
    keeps, or from the guest's own operation log. $lmb_region(ADDR) and
    $lmb_owner(ADDR) say it in a word, also in a breakpoint's condition
    ($_streq).

    Example: lmb-who 0x1000000+4K
    """

    name = "lmb-who"
    arguments = (Argument("ADDRESS|SYMBOL|RANGE", field="what"), Argument("--trace"), ALL, JSON)
    writers = (who_json, who_text)

    def ask(self, options: Options) -> tuple[Answer, Known]:
        snapshot, names = take_whole_snapshot(with_log=True), Names()
        asked = names.range(options.what, snapshot.bits)
        known = Known(snapshot, history(snapshot, options.trace), names.map.symbol)
        owners = None if known.history is None else known.history.owners
        return answer(snapshot, asked, places(role_ranges(current())), owners), known


class LmbMap(LmbCommand):
    """Show memory, or a part of it, as a picture, with owners where they are known.

    Usage: lmb-map [A-B|A+SIZE|ADDRESS|SYMBOL] [--trace FILE] [--all] [--json]

      A-B, A+SIZE   all from A up to, and without, B; SIZE bytes from A on
                    (default: all memory)
      ADDRESS       the region or the hole that a physical address lies in
      SYMBOL        the one that a variable or function lies in
      --trace FILE  a saved trace (gdb-lmb/trace/1) tells who reserved what
      --all         every owner (default: 200 rows), every part in JSON
      --json        as JSON, schema gdb-lmb/map/1

    A row begins with its address; the legend says how much memory a character
    stands for, and what it means. A cell with anything reserved in it is never
    shown as free, and one with anything free in it never as all reserved. Holes
    that would take more than a quarter of the picture are left out; a line says
    so. Then every part is listed with what is known to lie there and its owner;
    where there are many, runs of parts smaller than a cell are summed up.

    Example: lmb-map 0x1000000+16M
    """

    name = "lmb-map"
    arguments = (Argument("what", OPTIONAL), Argument("--trace"), ALL, JSON)
    writers = (map_json, map_text)

    def ask(self, options: Options) -> tuple[Shown]:
        snapshot = take_whole_snapshot(with_log=True)
        asked = _asked(snapshot, options.what)
        past = history(snapshot, options.trace)
        table = role_ranges(current())
        image = [(one.base, one.end) for one in table if one.role is Role.IMAGE]
        return (Shown(snapshot, asked, image, places(table), past),)


def _asked(snapshot: Snapshot, text: str | None) -> Range:
    if text is None:
        everything = Layers(snapshot).all
        if everything[0] == everything[1]:
            raise NotReadyError("there is no memory yet, and nothing is reserved")
        return everything
    base, end = Names().range(text, snapshot.bits)
    if end - base == 1:
        stretch = Stretches(snapshot).at(base)
        return stretch.base, stretch.end
    return base, end


class _Function(gdb.Function):
    """A convenience function of one address, whose errors are gdb's; `say()` answers for a physical address."""

    name = ""
    with_log = False

    @classmethod
    def register(cls) -> None:
        cls(cls.name)

    def invoke(self, *given: gdb.Value) -> str:
        try:
            if len(given) != 1:
                raise UsageError("it takes one address")
            snapshot = take_whole_snapshot(with_log=self.with_log)
            at = Names().of_value(given[0])
            if at >= 1 << snapshot.bits:
                raise UsageError(f"{at:#x} is no address of {snapshot.bits} bits")
            return self.say(snapshot, at)
        except LmbError as error:
            raise gdb.GdbError(f"${self.name}: {error}") from None

    def say(self, snapshot: Snapshot, at: int) -> str:
        raise NotImplementedError


class LmbRegion(_Function):
    """$lmb_region(ADDR): what an address lies in.

    "reserved [0x1000, 0x2000)", "free [0x2000, 0x3000)", "never given [...)" for
    memory that no allocation gets, or "not memory". ADDR is physical, or a
    pointer of the kernel's.
    """

    name = "lmb_region"

    def say(self, snapshot: Snapshot, at: int) -> str:
        stretch = Stretches(snapshot).at(at)
        if stretch.state == RESERVED and stretch.reserved is not None:
            region = snapshot.reserved[stretch.reserved]
            return f"reserved [{region.base:#x}, {region.end:#x})"
        if stretch.memory is None:
            return stretch.state
        return f"{stretch.state} [{stretch.base:#x}, {stretch.end:#x})"


class LmbOwner(_Function):
    """$lmb_owner(ADDR): who reserved an address.

    The first caller outside the allocator, from the trace that lmb-trace keeps
    or the guest's operation log; else what is known to lie there; "nobody" for
    what is not reserved. ADDR is physical, or a pointer of the kernel's.
    """

    name = "lmb_owner"
    with_log = True

    def say(self, snapshot: Snapshot, at: int) -> str:
        past = history(snapshot)
        owners = None if past is None else past.owners
        part = answer(snapshot, (at, at + 1), places(role_ranges(current())), owners).parts[0]
        if part.stretch.state != RESERVED:
            return "nobody" if part.stretch.state == FREE else f"nobody: {part.stretch.state}"
        if past is not None and part.owners:
            return owner_text(part.owners[0], past)
        return part.places[-1].what if part.places else "unknown"
