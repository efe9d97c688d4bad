# SPDX-License-Identifier: GPL-2.0-or-later
"""What is fixed for the life of a list-based LMB, and the errors that its operations return."""

from __future__ import annotations

from dataclasses import dataclass

EINVAL = -22
EBUSY = -16
ENOMEM = -12


@dataclass(frozen=True)
class LmbConfig:
    """What is fixed when `lmb_init()` runs; sizes in bytes.

    `static` is the number of entries in the initial array; with `klimit` (a physical base, page
    aligned) the initial storage is the page there instead and `static` is not looked at.
    """

    static: int = 64
    klimit: int | None = None
    block_size: int = 4096
    entry_size: int = 40
    header_size: int = 40
    bits: int = 64
    page_size: int = 4096

    @property
    def block_entries(self) -> int:
        """Return the entries of a grown block (rule 1)."""
        return (self.block_size - self.header_size) // self.entry_size

    @property
    def first_entries(self) -> int:
        """Return the entries of block 0 (rule 1)."""
        if self.klimit is None:
            return self.static
        return (self.page_size - self.header_size) // self.entry_size

    def refusal(self) -> str | None:
        """Return why `lmb_init()` gives -EINVAL, or None where it does not (rule 1)."""
        if self.block_size <= 0 or self.block_size & (self.block_size - 1):
            return f"block size {self.block_size} is no power of two"
        if self.block_size < self.header_size + 2 * self.entry_size:
            return (
                f"block size {self.block_size} holds no header of {self.header_size} and two entries of "
                f"{self.entry_size} bytes"
            )
        if self.first_entries < 2:
            return f"the initial storage of {self.first_entries} entries is less than 2"
        return None
