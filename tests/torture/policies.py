"""How far each policy for irregular slices moves the anatomy, measured on the phantom.

``PYTHONPATH=scripts:tests python -m torture.policies`` prints the table.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ctcohort.phantoms.stack import SliceStack
from ctcohort.phantoms.writer import write_files

from .cases import CHANGING_STEP, PHANTOM, SIZE, at, chest, without
from .flow import covered, judged, marker_error, series_rules, volume_of, volume_rules

POLICIES: Mapping[str, Mapping[str, Any]] = {
    "mode": {"irregular_spacing": "mode"},
    "positions": {"irregular_spacing": "positions"},
    "exclude": {"irregular_spacing": "exclude"},
}
NO_LIMIT = {"max_z_error_mm": None, "max_gap_mm": None}
"""Measured without limits: what each policy would do to a scan that the limits keep out."""

_WOBBLE = np.random.default_rng(11).uniform(-0.6, 0.6, 60)

SCANS: Mapping[str, SliceStack] = {
    "1 of 90 slices missing (2.0 mm)": without(90, [40], 2.0),
    "2 of 90 slices missing (2.0 mm)": without(90, [30, 60], 2.0),
    "5 of 90 slices missing (2.0 mm)": without(90, range(40, 45), 2.0),
    "20 of 300 slices missing (0.6 mm)": without(300, range(130, 150), 0.6),
    "20 x 2.5 mm, then 12 x 5 mm": at(CHANGING_STEP),
    "steps of 2.4 to 3.6 mm": at(88.5 - 3.0 * np.arange(60) + _WOBBLE),
    "tilt 7 degrees, 1 of 121 missing (2.0 mm)": SliceStack.tilted(
        7, **SIZE, count=121, step=2.0
    ).take([i for i in range(121) if i != 50]),
}
"""Stacks whose slices are not evenly spaced; no marker lies in a gap."""


@dataclass(frozen=True)
class Row:
    """One scan: the worst marker error along z, and the outcome under the config's limits."""

    error_mm: Mapping[str, float]
    outcome: Mapping[str, str]
    z_error_mm: float


def measure(plane: SliceStack, folder: Path) -> Row:
    """Scan the phantom and apply every policy."""
    write_files(chest(plane), folder / "archive")
    errors, outcomes = {}, {}
    z_error = 0.0
    for policy, settings in POLICIES.items():
        choice = judged(folder, series_rules(), volume_rules(**settings))
        outcomes[policy] = choice.candidates[0].reason
        if policy == "exclude":
            continue
        rules = volume_rules(**{**settings, **NO_LIMIT})
        choice = judged(folder, series_rules(), rules)
        volume, record = volume_of(choice, folder, rules)
        worst = [marker_error(volume, m)[2] for m in covered(volume, PHANTOM)]
        errors[policy] = float(np.abs(worst).max())
        if policy == "mode":
            z_error = record.source.z_error_mm
    return Row(errors, outcomes, z_error)


def table(rows: Mapping[str, Row]) -> str:
    """The rows as Markdown."""
    lines = [
        "| scan | `mode` is off by | `z_error_mm` | `positions` is off by | outcome: `mode` |"
        " `positions` | `exclude` |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        off = [f"{row.error_mm[policy]:.1f} mm" for policy in ("mode", "positions")]
        said = [row.outcome[policy] for policy in POLICIES]
        cells = [name, off[0], f"{row.z_error_mm:.1f}", off[1], *said]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def measure_all() -> dict[str, Row]:
    """Every scan under every policy."""
    rows = {}
    for name, plane in SCANS.items():
        with tempfile.TemporaryDirectory() as folder:
            rows[name] = measure(plane, Path(folder))
    return rows


if __name__ == "__main__":
    print(table(measure_all()))
