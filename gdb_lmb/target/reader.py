# SPDX-License-Identifier: GPL-2.0-or-later
"""Guest memory through gdb: virtual addresses, one request of gdb's for each read."""

from __future__ import annotations

import gdb

from gdb_lmb.errors import InfrastructureError, ReadError


class GdbMemory:
    """Reads the selected inferior's memory at virtual addresses."""

    def read(self, address: int, size: int) -> bytes:
        """Return `size` bytes at virtual `address`.

        Raises: `ReadError` where the guest has no such memory; `InfrastructureError` where the guest is
        gone, which must never look like damage in it.
        """
        try:
            return bytes(gdb.selected_inferior().read_memory(address, size))
        except (gdb.MemoryError, OverflowError) as error:
            raise ReadError(address, size, " ".join(str(error).split())) from None
        except gdb.error as error:
            if gdb.selected_thread() is not None:
                raise ReadError(address, size, " ".join(str(error).split())) from None
            reason = " ".join(str(error).split()).rstrip(".")
            raise InfrastructureError(f"the connection to the guest was lost while reading: {reason}") from None
