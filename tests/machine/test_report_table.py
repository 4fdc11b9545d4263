"""The memory that a large report table takes."""

from __future__ import annotations

import csv
import tracemalloc
from pathlib import Path

from ctcohort.cohort.selection import select
from tests.unit.test_reports import CHEST, COLUMNS, HEADER, WANTED


def test_a_hundred_thousand_rows_of_free_text_need_little_memory(tmp_path: Path) -> None:
    table = tmp_path / "reports.csv"
    text = 'No nodule, "nothing" else.\n# and so on; ' * 25
    with open(table, "w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(HEADER)
        protocols = [CHEST, *(f"CT protocol {n}" for n in range(9))]
        writer.writerows(
            (f"ACC{n:07d}", f"{n // 2:07d}", protocols[n % 10], text) for n in range(100_000)
        )
    size = table.stat().st_size
    assert size > 100_000_000
    tracemalloc.start()
    found = select(table, COLUMNS, WANTED)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(found.wanted) == 10_000
    assert peak < 120e6, f"{peak / 100_000:.0f} bytes per row of {size / 100_000:.0f}"
