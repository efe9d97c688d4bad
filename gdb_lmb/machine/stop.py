# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the guest stands: is there one, is it stopped, at which symbol, inside which LMB function."""

from __future__ import annotations

from pathlib import PurePath

import gdb

from gdb_lmb.core.errors import NotReadyError
from gdb_lmb.core.snapshot import Stop
from gdb_lmb.machine.program import lookup
from gdb_lmb.machine.registers import current_pc
from gdb_lmb.machine.stack import functions_on_stack, is_address
from gdb_lmb.machine.symbols import linker_symbol

FUNCTIONS = getattr(gdb, "SYMBOL_FUNCTION_DOMAIN", gdb.SYMBOL_VAR_DOMAIN)
"""The domain in which functions are looked up; before gdb 15 that of variables."""


def require_stopped() -> None:
    """Check that there is a guest and that it is stopped. Raises: `NotReadyError`."""
    thread = gdb.selected_thread()
    if thread is None or not thread.is_valid():
        if gdb.selected_inferior().threads():
            raise NotReadyError("no thread is selected: choose a CPU with `thread 1`")
        raise NotReadyError(
            "there is no guest: connect with `target remote ...`, open a dump with `core FILE`, or use `gdb-lmb run`"
        )
    if thread.is_running():
        # To gdb it also "runs" while a Breakpoint.stop() is asked, but then it can be looked at.
        try:
            gdb.newest_frame()
        except gdb.error:
            raise NotReadyError("the guest is running: stop it first (Ctrl-C or `interrupt`)") from None


def symbol_at(pc: int) -> str | None:
    """Return "function+0x12" for an address in the program, or None."""
    if not is_address(pc):
        return None
    block = gdb.block_for_pc(pc)
    while block is not None and block.function is None:
        block = block.superblock
    if block is not None:
        offset = pc - block.start
        return f"{block.function.name}+{offset:#x}" if offset else str(block.function.name)
    # Assembly has no blocks; the linker's symbol is what is left.
    label = linker_symbol(pc)
    if label is None:
        return None
    return f"{label.name}+{label.offset:#x}" if label.offset else label.name


def current_stop() -> Stop:
    """Return the program counter of the innermost frame and its symbol."""
    pc = current_pc()
    return Stop(pc, symbol_at(pc))


def function_at(pc: int) -> str:
    """Return a caller's name for a message: "reserve_initrd+0x2f", else the bare address."""
    return symbol_at(pc) or hex(pc)


def torn_in() -> str | None:
    """Return the LMB function that a frame of the selected CPU's stack is in, or None.

    An LMB function is one defined in the source file that defines `lmb`, or in one beside it whose
    name begins with that file's ("lmb.c": also "lmb_find.c").
    """
    home = _home()
    if home is None:
        return None
    for function in functions_on_stack():
        if function.symtab is None:
            continue
        source = PurePath(function.symtab.filename)
        beside = source.parent == home.parent and source.name.startswith(f"{home.stem}_")
        if source == home or (beside and source.suffix == home.suffix):
            return str(function.name)
    return None


def _home() -> PurePath | None:
    """Return the source file that defines `lmb`, None where gdb does not know it."""
    # Of the variable gdb may have read the header's declaration only, and then gives the header's name; a
    # function is where its body is.
    for symbol in (gdb.lookup_global_symbol("lmb_init", FUNCTIONS), lookup("lmb")):
        if symbol is not None and symbol.symtab is not None:
            return PurePath(symbol.symtab.filename)
    return None
