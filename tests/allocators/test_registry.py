# SPDX-License-Identifier: GPL-2.0-or-later
"""The registry of allocators: by JSON's names, imported at the first use only."""

from __future__ import annotations

import subprocess
import sys

import pytest

from gdb_lmb.allocators.base import allocator, names
from gdb_lmb.core.errors import InputError


def test_the_allocators_of_the_package() -> None:
    # JSON's names and the titles that sentences begin with, as the schemas and the README have them.
    assert [(name, allocator(name).name, allocator(name).title) for name in names()[:2]] == [
        ("lmb-list", "lmb-list", "LMB"),
        ("memblock", "memblock", "memblock"),
    ]


def test_an_unknown_allocator_is_refused() -> None:
    with pytest.raises(InputError, match="'slab' is no layout that is known: lmb-list or memblock"):
        allocator("slab")


def test_an_allocator_is_imported_at_its_first_use_and_its_model_when_it_is_needed() -> None:
    code = (
        "import sys; from gdb_lmb.allocators.base import allocator\n"
        "def there(*names): return [f'gdb_lmb.allocators.{name}' in sys.modules for name in names]\n"
        "for name, package in (('memblock', 'memblock'), ('lmb-list', 'lmb')):\n"
        "    print(there(f'{package}.allocator')); one = allocator(name)\n"
        "    print(there(f'{package}.allocator', f'{package}.model'))\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True).stdout
    assert out.splitlines() == ["[False]", "[True, False]"] * 2
