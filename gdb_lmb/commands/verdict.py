# SPDX-License-Identifier: GPL-2.0-or-later
"""`lmb-verdict`: what this gdb's commands found so far, for programs that drive gdb."""

from __future__ import annotations

from gdb_lmb.commands.arguments import FLAG, Argument, Options
from gdb_lmb.commands.base import LmbCommand, write
from gdb_lmb.commands.session import SESSION
from gdb_lmb.report.jsonio import dumps


class LmbVerdict(LmbCommand):
    """Print what the LMB commands found so far, as one line of JSON.

    Usage: lmb-verdict [--reset]

      --reset  forget what was found, after printing it

    Schema gdb-lmb/verdict/1: "checks" has one element for each lmb-dump and
    lmb-check, with the numbers of findings and notes, and "not_verified";
    "findings" counts what they found together, each finding once.

    Example: lmb-verdict
    """

    name = "lmb-verdict"
    arguments = (Argument("--reset", FLAG),)

    def run(self, options: Options) -> None:
        """Write the verdict."""
        write(dumps(SESSION.verdict()))
        if options.reset:
            SESSION.forget()
