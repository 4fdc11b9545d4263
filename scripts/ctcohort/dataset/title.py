"""The title of a data set, from what was measured in its volumes, not from what was asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

CHESTS = 0.9
"""Share of the volumes that must hold whole lungs for a data set to be one of chests."""


def lungs(rows: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Count the volumes with whole lungs, with cut lungs, without a lung, and those not measured.

    Parameters
    ----------
    rows : of the manifest or of a release's table, those of volumes alone
    """
    counts = dict.fromkeys(("whole", "cut", "none", "unknown"), 0)
    for row in rows:
        words = str(row.get("flags", "")).split()
        if row.get("lung_ml") in (None, ""):
            counts["unknown"] += 1
        elif "no_lung" in words:
            counts["none"] += 1
        else:
            counts["cut" if "lungs_cut" in words else "whole"] += 1
    return counts


def is_chest(counts: Mapping[str, int]) -> bool:
    """Whether nearly all of what `lungs` counted are whole lungs."""
    volumes = sum(counts.values())
    return volumes > 0 and counts["whole"] >= CHESTS * volumes


def title(counts: Mapping[str, int]) -> str:
    """Return the title for what `lungs` counted."""
    return "Chest CT volumes" if is_chest(counts) else "CT volumes"
