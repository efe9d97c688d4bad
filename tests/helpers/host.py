# SPDX-License-Identifier: GPL-2.0-or-later
"""The C allocator in this process (ctypes on the host libraries), beside the model.

`CLmb` and `LmbModel` share nothing but the design: the state of each is flattened to the same list of
numbers here, the C's by its own walk of its own links.
"""

from __future__ import annotations

import ctypes
from pathlib import Path

from gdb_lmb.allocators.lmb.model import LmbConfig, LmbModel
from gdb_lmb.core.operation import Operation

OPS = (
    "init", "add", "remove", "reserve", "free", "alloc", "allow_growth", "set_limit", "set_bottom_up", "free_all",
    "mark", "clear", "enforce_limit",
)  # fmt: skip


class CLmb:
    """One of the four host libraries; its allocator is a global of the library."""

    def __init__(self, build: Path, bits: int, klimit: bool) -> None:
        kind = "klimit" if klimit else "static"
        self.lib = ctypes.CDLL(str(build / "host" / f"liblmb-{bits}-{kind}.so"))
        u64, u64_p = ctypes.c_uint64, ctypes.POINTER(ctypes.c_uint64)
        self.lib.lmb_host_op.argtypes = [ctypes.c_uint, u64, u64, ctypes.c_uint32, u64, u64, u64, u64_p]
        self.lib.lmb_host_init.argtypes = [u64, u64]
        self.lib.lmb_host_set_klimit.argtypes = [u64]
        self.lib.lmb_host_state.argtypes = [u64_p, ctypes.c_long]
        self.lib.lmb_host_state.restype = ctypes.c_long
        self.lib.lmb_host_sizes.argtypes = [u64_p]
        self.words = (u64 * (1 << 20))()
        self.result = u64()
        sizes = (u64 * 4)()
        self.lib.lmb_host_sizes(sizes)
        self.entry_size, self.header_size, self.bits, self.page_size = sizes
        assert self.bits == bits

    def config(self, *, static: int = 64, klimit: int | None = None, block_size: int = 4096) -> LmbConfig:
        """Return a configuration with this library's sizes."""
        return LmbConfig(
            static=static, klimit=klimit, block_size=block_size, entry_size=self.entry_size,
            header_size=self.header_size, bits=self.bits, page_size=self.page_size,
        )  # fmt: skip

    def start(self, config: LmbConfig) -> int:
        """Forget everything and call lmb_init(); return its result."""
        self.lib.lmb_host_reset()
        if config.klimit is not None:
            self.lib.lmb_host_set_klimit(config.klimit)
        return int(self.lib.lmb_host_init(config.static, config.block_size))

    def apply(self, o: Operation) -> int:
        """Run one operation; return what the model's `apply` returns."""
        self.result.value = 0
        error = self.lib.lmb_host_op(
            OPS.index(o.op), o.base, o.size, o.flags, o.align, o.min, o.max, ctypes.byref(self.result)
        )
        return int(error) or int(self.result.value)

    def state(self) -> list[int]:
        """Return the whole state as numbers; the C checks its own links on the way."""
        count = self.lib.lmb_host_state(self.words, len(self.words))
        assert count > 0, f"the C's lists are broken, or the state is too long ({count})"
        return self.words[:count]


def model_state(model: LmbModel) -> list[int]:
    """Return the model's state as the same numbers as `CLmb.state`."""
    places = [(number, slot) for number, (_, _, nr) in enumerate(model.blocks) for slot in range(nr)]
    out: list[int] = []
    for table in (model.memory, model.reserved):
        out += [len(table.base), len(table.base), sum(table.end) - sum(table.base)]
        for base, end, flags, entry in zip(table.base, table.end, table.flags, table.entry, strict=True):
            out += [base, end - base, flags, *places[entry]]
    out += [len(model.free_entries)] * 2
    for entry in model.free_entries:
        out += places[entry]
    out += [len(model.blocks)] * 2
    for base, _, nr in model.blocks:
        out += [0 if base is None else base, nr]
    out += [model.config.block_size, model.current_limit, model.bottom_up, model.may_grow, model.closed]
    handover = model.handover or ()
    out.append(len(handover))
    for base, end in handover:
        out += [base, end - base]
    return out
