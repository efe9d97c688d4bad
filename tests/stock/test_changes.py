# SPDX-License-Identifier: GPL-2.0-or-later
"""Every field of memblock changed on images of stock kernels: read plainly by gdb, once, into the cache."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from gdb_lmb.allocators.memblock.decode import MemblockProgram
from gdb_lmb.core.fields import Field, Struct
from gdb_lmb.kernels.cache import cache_folder
from gdb_lmb.kernels.stock import find_kernel
from tests.helpers.memblock_changes import CHANGES, SOUND, MemblockImage
from tests.helpers.stock import AMD64, boot

pytestmark = pytest.mark.stock

IN_GDB = Path(__file__).parent.parent / "helpers" / "memblock_image_in_gdb.py"
PAGE = 4096


@pytest.fixture(scope="module", params=AMD64)
def stock_image(request: pytest.FixtureRequest) -> MemblockImage:
    """The memblock of a stock kernel at `memblock_free_all`, with KASLR off."""
    kernel = find_kernel(request.param, notice=print)
    key = hashlib.sha256(f"{kernel.vmlinux}{IN_GDB.read_text()}".encode()).hexdigest()[:16]
    path = cache_folder() / "images" / f"{key}.json"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{request.node.name[:8]}.part")
        with boot(kernel, "nokaslr") as guest:
            guest.run_until("memblock_free_all")
            guest.command(f'set var $image_file = "{part}"')
            guest.command(f"source {IN_GDB}")
        part.replace(path)
    data = json.loads(path.read_text())
    structs = {
        name: Struct(
            name, size, {member: Field(at, bytes_, bool(signed)) for member, (at, bytes_, signed) in of.items()}
        )
        for name, (size, of) in data["structs"].items()
    }
    segments = {int(at, 16): bytearray.fromhex(raw) for at, raw in data["segments"].items()}
    program = MemblockProgram(
        arch="test", byte_order="little", memblock_va=next(iter(segments)), memblock=structs["memblock"],
        type=structs["memblock_type"], region=structs["memblock_region"], page_size=PAGE,
        flag_names={bit: name for name, bit in data["flags"].items()}, init_arrays=data["arrays"],
        no_node=data["no_node"], rooms=data["rooms"], names=data["names"], image=tuple(data["image"]),
    )  # fmt: skip
    # By hand: e820__memblock_setup() trims each range of RAM to whole pages; arm64 adds whole pages.
    trimmed = sum(-base % PAGE + end % PAGE for base, end in data["ram"] or ())
    limits = None if data["mapped"] is None else frozenset({(1 << 64) - 1, 1 << 20, data["mapped"] * PAGE})
    nodes = frozenset(node for node in range(64) if data["nodes"] >> node & 1)
    return MemblockImage(program, segments, trimmed=trimmed, nodes=nodes, limits=limits)


def test_changes(stock_image: MemblockImage) -> None:
    wrong = {}
    for name, change, code in CHANGES:
        changed = stock_image.copy()
        change(changed)
        found = changed.codes()
        if found if code == SOUND else code not in found:
            wrong[name] = (code, found)
    assert wrong == {}
