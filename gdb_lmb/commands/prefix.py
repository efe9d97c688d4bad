# SPDX-License-Identifier: GPL-2.0-or-later
"""`lmb`: the prefix under which every command can also be typed as two words, and the list of them."""

from __future__ import annotations

import inspect

import gdb

from gdb_lmb.core.words import safe


class LmbPrefix(gdb.Command):
    """Show and check the early-boot memory allocator (LMB, memblock) of a guest.

    Usage: lmb COMMAND [ARGUMENTS]

    Each command can be typed as one word or as two: lmb-dump is lmb dump. TAB
    completes commands and their options; "help lmb-dump" describes one.

    Example: lmb dump reserved
    """

    @classmethod
    def register(cls) -> None:
        """Make gdb know `lmb`; the commands come after it."""
        # From version 13 on gdb removes the indentation itself.
        cls.__doc__ = inspect.cleandoc(cls.__doc__ or "")
        cls("lmb", gdb.COMMAND_DATA, prefix=True)

    def invoke(self, argument: str, from_tty: bool) -> None:
        """List the commands; gdb calls this only if the words match none of them."""
        self.dont_repeat()
        if argument.strip():
            word = safe(argument.split()[0], 40)
            raise gdb.GdbError(f"lmb: there is no command {word!r}: lmb alone lists the commands")
        gdb.execute("help lmb", from_tty)
