# SPDX-License-Identifier: GPL-2.0-or-later
"""`lmb-map`: a part of memory as a picture, larger than the bar of `lmb-dump`."""

from __future__ import annotations

from gdb_lmb.analysis.who import Stretches
from gdb_lmb.commands.arguments import JSON, OPTIONAL, Argument, Options
from gdb_lmb.commands.base import LmbCommand, take_snapshot
from gdb_lmb.commands.history import history
from gdb_lmb.commands.names import Names
from gdb_lmb.core.errors import NotReadyError
from gdb_lmb.core.ranges import Range
from gdb_lmb.core.snapshot import Snapshot
from gdb_lmb.machine.current import current
from gdb_lmb.programs.base import Role, places, role_ranges
from gdb_lmb.report.map import Shown, map_json, map_text
from gdb_lmb.report.map_cells import Layers
from gdb_lmb.report.map_text import why_not


class LmbMap(LmbCommand):
    """Show memory, or a part of it, as a picture, with owners where they are known.

    Usage: lmb-map [A-B|A+SIZE|ADDRESS|SYMBOL] [--trace FILE] [--json]

      A-B, A+SIZE   all from A up to, and without, B; SIZE bytes from A on
                    (default: all memory)
      ADDRESS       the region or the hole that a physical address lies in
      SYMBOL        the one that a variable or function lies in
      --trace FILE  a saved trace (gdb-lmb/trace/1) tells who reserved what
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
    arguments = (Argument("what", OPTIONAL), Argument("--trace"), JSON)
    writers = (map_json, map_text)

    def ask(self, options: Options) -> tuple[Shown]:
        """Return the range of a snapshot with what is known of it."""
        snapshot = take_snapshot(with_log=True)
        why = why_not(snapshot)
        if why is not None:
            raise NotReadyError(why)
        asked = _asked(snapshot, options.what)
        past = history(snapshot, options.trace)
        table = role_ranges(current())
        image = [(one.base, one.end) for one in table if one.role is Role.IMAGE]
        return (Shown(snapshot, asked, image, places(table), past),)


def _asked(snapshot: Snapshot, text: str | None) -> Range:
    """Return the range to show. Raises: `LmbError`."""
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
