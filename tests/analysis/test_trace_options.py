# SPDX-License-Identifier: GPL-2.0-or-later
"""What may be asked of a trace, and what does not go together."""

from __future__ import annotations

from typing import Any

import pytest

from gdb_lmb.analysis.trace_options import TraceOptions
from gdb_lmb.core.errors import UsageError

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"lockstep": True, "only": ("add",)}, "^--lockstep needs every operation: leave --only out$"),
    ({"only": ("add", "nonsense")}, "^unknown operation 'nonsense': there are add, add_range, alloc, "),
    ({"only": ("\x1b[2J",)}, r"^unknown operation '\\\\x1b\[2J': "),
    ({"only": ("x" * 41,)}, f"^unknown operation '{'x' * 40}\\.\\.\\.': there"),
    ({"only": ("y" * 40,)}, f"^unknown operation '{'y' * 40}': there"),
    ({"every": 1}, "^--every says how often to compare: it needs --lockstep$"),
    ({"until": " "}, "^--until is empty: name a symbol"),
]


@pytest.mark.parametrize(("options", "message"), REFUSED, ids=range(len(REFUSED)))
def test_what_does_not_go_together(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        TraceOptions(**options)


def test_what_does() -> None:
    assert TraceOptions(only=("init", "add_range")).every is None
    assert TraceOptions(lockstep=True, every=3, until="lmb_ready").every == 3
