# SPDX-License-Identifier: GPL-2.0-or-later
"""Guest memory through gdb: virtual addresses, one request of gdb's for each read."""

from __future__ import annotations

import gdb

from gdb_lmb.errors import ReadError


class GdbMemory:
    """Reads the selected inferior's memory at virtual addresses."""

    def read(self, address: int, size: int) -> bytes:
        """Return `size` bytes at virtual `address`. Raises: `ReadError`."""
        try:
            return bytes(gdb.selected_inferior().read_memory(address, size))
        except (gdb.error, OverflowError) as error:
            raise ReadError(address, size, " ".join(str(error).split())) from None
