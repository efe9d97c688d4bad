# SPDX-License-Identifier: GPL-2.0-or-later
"""The errors of gdb-lmb, one tree under `LmbError`.

An error is for what stops the tool: bad input, unreadable memory, a missing program. What is wrong
*in the guest* is never an exception but a `snapshot.Finding`. Every message is one line that says what
is wrong and what to do about it.
"""

from __future__ import annotations


class LmbError(Exception):
    """Stop with one clear line; the base of every error this package raises on purpose."""


class UsageError(LmbError):
    """Refuse what the user gave: an option, a file, a symbol."""


class InputError(UsageError):
    """Refuse a damaged or unsuitable input file, naming the place in it."""


class InfrastructureError(LmbError):
    """Report that QEMU, gdb or the system failed; this says nothing about the guest."""


class OutputError(InfrastructureError):
    """Report an output file that cannot be written: a full disk, a folder that takes none, a closed pipe."""


class OverdueError(InfrastructureError):
    """Report that gdb did not answer in time."""


class PassedError(InfrastructureError):
    """Report a guest that was past the place already when it could first be watched: that says nothing against it."""


class GuestError(LmbError):
    """Report that the guest never reached the place where it was to be looked at."""


class NotReachedError(GuestError):
    """Report a guest that never reached the symbol; `console` is all it printed."""

    def __init__(self, message: str, console: bytes) -> None:
        self.console = console
        super().__init__(message)


class LayoutError(LmbError):
    """Report that the program holds no allocator we know, or no debug information of it."""


class NotReadyError(LmbError):
    """Report that the allocator is not there yet at this stop: not initialised, or not mapped."""


class StateError(LmbError):
    """Refuse to go on from a state in which the allocator cannot be: torn, or damaged."""


class GuestPanicError(LmbError):
    """Report that there is no state after an operation: the kernel stops there, or overwrites its own lists.

    `overwrites` tells which of the two; the message is the kernel's own where it has one.
    """

    def __init__(self, message: str, *, overwrites: bool = False) -> None:
        super().__init__(message)
        self.overwrites = overwrites


class ReadError(LmbError):
    """Report guest memory that cannot be read.

    `address` is the first address of the failed request, `why` the transport's word.
    """

    def __init__(self, address: int, size: int, why: str = "") -> None:
        self.address = address
        self.why = why
        super().__init__(f"cannot read {size} bytes of guest memory at {address:#x}" + (f": {why}" if why else ""))
