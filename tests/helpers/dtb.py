# SPDX-License-Identifier: GPL-2.0-or-later
"""Flattened device trees: small ones made here, and nodes of /reserved-memory put into one that QEMU wrote."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

Node = tuple[str, dict[str, bytes]]


def cells(*values: int) -> bytes:
    """Return numbers of two cells each."""
    return struct.pack(f">{len(values)}Q", *values)


def with_reserved_memory(tree: bytes, nodes: list[Node], reserve: tuple[tuple[int, int], ...] = ()) -> bytes:
    """Return `tree`, whose addresses and sizes have two cells, with these nodes and memory reservations."""
    _, _, struct_at, strings_at, _, version, last, cpu, strings_size, struct_size = struct.unpack_from(">10I", tree)
    body, strings = tree[struct_at : struct_at + struct_size], bytearray(tree[strings_at : strings_at + strings_size])
    # The root ends, and so does the tree.
    assert body.endswith(struct.pack(">2I", 2, 9))

    def node(name: str, properties: dict[str, bytes], inner: bytes = b"") -> bytes:
        out = struct.pack(">I", 1) + padded(name.encode() + b"\0")
        for key, value in properties.items():
            out += struct.pack(">3I", 3, len(value), len(strings)) + padded(value)
            strings.extend(key.encode() + b"\0")
        return out + inner + struct.pack(">I", 2)

    def padded(raw: bytes) -> bytes:
        return raw + bytes(-len(raw) % 4)

    two = struct.pack(">I", 2)
    root = {"#address-cells": two, "#size-cells": two, "ranges": b""}
    added = node("reserved-memory", root, b"".join(node(*one) for one in nodes))
    body = body[:-8] + added + body[-8:]
    rows = b"".join(cells(*row) for row in (*reserve, (0, 0)))
    at = 40 + len(rows)
    total = at + len(body) + len(strings)
    sizes = (len(strings), len(body))
    head = struct.pack(">10I", 0xD00DFEED, total, at, at + len(body), 40, version, last, cpu, *sizes)
    return head + rows + body + bytes(strings)


@dataclass(frozen=True)
class Branch:
    """A node with what is below it."""

    name: str
    properties: dict[str, bytes]
    below: list[Branch] = field(default_factory=list)


def flattened(root: Branch, reserve: tuple[tuple[int, int], ...] = ()) -> bytes:
    """Return the tree of `root`, with these memory reservations, as version 17 has it."""
    strings = bytearray()

    def padded(raw: bytes) -> bytes:
        return raw + bytes(-len(raw) % 4)

    def node(one: Branch) -> bytes:
        out = struct.pack(">I", 1) + padded(one.name.encode() + b"\0")
        for key, value in one.properties.items():
            out += struct.pack(">3I", 3, len(value), len(strings)) + padded(value)
            strings.extend(key.encode() + b"\0")
        return out + b"".join(map(node, one.below)) + struct.pack(">I", 2)

    body = node(root) + struct.pack(">I", 9)
    rows = b"".join(cells(*row) for row in (*reserve, (0, 0)))
    at = 40 + len(rows)
    places = (at + len(body) + len(strings), at, at + len(body), 40)
    return struct.pack(">10I", 0xD00DFEED, *places, 17, 16, 0, len(strings), len(body)) + rows + body + bytes(strings)
