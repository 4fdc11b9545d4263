"""`irregular_spacing`: how many mm each policy is off, against the truth.

`positions` moves nothing; `mode` moves by what the record calls `z_error_mm`, at most; a scan that
the limits of a policy do not admit is refused, not made wrong.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from ctcohort.base.reasons import SELECTED

from .flow import DEFAULTS, PLACE_MM
from .policies import Row, measure_all, table

README = Path(__file__).parents[2] / "README.md"

MODE_MM = {
    "1 of 90 slices missing (2.0 mm)": 2.0,
    "2 of 90 slices missing (2.0 mm)": 4.0,
    "5 of 90 slices missing (2.0 mm)": 10.0,
    "20 of 300 slices missing (0.6 mm)": 12.0,
    "tilt 7 degrees, 1 of 121 missing (2.0 mm)": 2.0,
}
"""What the missing slices amount to: the marker nearest to the feet is that much too high."""


@pytest.fixture(scope="module")
def rows() -> dict[str, Row]:
    return measure_all()


def test_the_table(rows: dict[str, Row], capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(f"\n{table(rows)}")
    assert table(rows) in README.read_text()
    for name, row in rows.items():
        assert row.error_mm["positions"] <= PLACE_MM, name
        assert row.error_mm["mode"] <= row.z_error_mm + PLACE_MM, name
        assert row.outcome["exclude"] == "too_irregular", name
    for name, millimetres in MODE_MM.items():
        assert rows[name].error_mm["mode"] == pytest.approx(millimetres, abs=PLACE_MM), name


def test_the_limits_refuse_what_would_be_displaced(rows: dict[str, Row]) -> None:
    limit = DEFAULTS["volume"]["max_z_error_mm"]
    for name, row in rows.items():
        allowed = row.z_error_mm <= limit
        assert row.outcome["mode"] == (SELECTED if allowed else "too_irregular"), name
    gaps = {"5 of 90 slices missing (2.0 mm)", "20 of 300 slices missing (0.6 mm)"}
    for name, row in rows.items():  # the gaps of more than max_gap_mm
        assert row.outcome["positions"] == ("too_irregular" if name in gaps else SELECTED), name
