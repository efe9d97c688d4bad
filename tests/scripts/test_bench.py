# SPDX-License-Identifier: GPL-2.0-or-later
"""The benches measure something, and what they write as JSON follows its schema."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bench
import bench_check
import bench_stock
import bench_trace
import pytest

from tests.helpers.schemas import error_of

pytestmark = [pytest.mark.kernel, pytest.mark.long]


def follows(document: dict[str, Any]) -> bool:
    """Tell whether a document follows its schema, and no longer with a member more, or with one of another type."""
    name = document["schema"]
    faulty = [{**document, "more": 0}, *({**document, key: []} for key in document)]
    assert error_of(document, name) is None
    return all(error_of(other, name) is not None for other in faulty)


def test_reading_checking_and_tracing(fixture_kernel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_trace, "cached", lambda *_: None)
    figures = bench.run((100, 300), repeats=1, rounds=1)
    assert follows(figures)
    assert figures["fill"]["300"]["entries"] > figures["fill"]["100"]["entries"] > 200


def test_a_check_and_its_parts(fixture_kernel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_check, "CHECKS", 2)
    found = bench_check.measure(str(fixture_kernel), 1)
    figures = {"schema": "gdb-lmb/bench-check/1", "kernels": {"fixture": found}}
    assert follows(figures) and "fixture |" in bench_check.table(figures)
    for run in (found["run"], found["check"]):
        assert sum(run[part] for part in (*bench_stock.PARTS, "ours")) == pytest.approx(run["whole"])
        assert min(run.values()) > 0
    stock = {"schema": "gdb-lmb/bench-stock/1", "kernel": "fixture", "first": found["run"], "later": found["check"]}
    assert follows(stock) and "later runs" in bench_stock.table(stock)
