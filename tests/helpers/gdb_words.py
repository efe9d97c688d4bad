# SPDX-License-Identifier: GPL-2.0-or-later
"""What gdb says where its Python raised something that nobody caught, in all versions."""

from __future__ import annotations

WORDS = ("Traceback", "Python Exception", "Error occurred in Python", "Error while executing Python code")
"""A traceback until gdb 14, a line with the exception's type, and the message of the command that failed."""


def python_failed(output: str) -> bool:
    """Tell whether Python failed in gdb, by what gdb printed."""
    return any(word in output for word in WORDS)
