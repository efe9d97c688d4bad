# SPDX-License-Identifier: GPL-2.0-or-later
"""Guest memory at virtual addresses: through gdb, one request for each read, or translated out of a dump."""

from __future__ import annotations

import gdb

from gdb_lmb.errors import InfrastructureError, ReadError
from gdb_lmb.memory import Memory
from gdb_lmb.target.core import current_dump


class GdbMemory:
    """Reads the selected inferior's memory at virtual addresses."""

    def read(self, address: int, size: int) -> bytes:
        """Return `size` bytes at virtual `address`.

        Raises: `ReadError` where the guest has no such memory; `InfrastructureError` where the guest is
        gone, which must never look like damage in it.
        """
        if not size:
            return b""  # gdb 14 and later refuse it
        try:
            return bytes(gdb.selected_inferior().read_memory(address, size))
        except (gdb.MemoryError, OverflowError) as error:
            raise ReadError(address, size, " ".join(str(error).split())) from None
        except gdb.error as error:
            if gdb.selected_thread() is not None:
                raise ReadError(address, size, " ".join(str(error).split())) from None
            reason = " ".join(str(error).split()).rstrip(".")
            raise InfrastructureError(f"the connection to the guest was lost while reading: {reason}") from None


def virtual_memory() -> Memory:
    """Return what reads the guest's virtual addresses, as the selected CPU translates them. Raises: `LmbError`."""
    dump = current_dump()
    return GdbMemory() if dump is None else dump.virtual()
