"""The picture of one scan: a wrong order, a stretched body or a flipped patient shows at a glance.

Planes through the middle of the body, in a lung and a soft-tissue window, with mm axes of equal
scale and the patient's sides written at the edges, beside what the record says.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from .files import replacing

WINDOWS = {"lung": (-1350.0, 150.0), "soft tissue": (-160.0, 240.0)}
"""Lowest and highest HU shown: level -600, width 1500, and level 40, width 400."""

PLANES = (
    # name, axis that is cut, array axes (vertical, horizontal), marks (left, right, top, bottom)
    ("axial", 0, (1, 2), "RLAP"),
    ("coronal", 1, (0, 2), "RLSI"),
    ("sagittal", 2, (0, 1), "APSI"),
)

BODY_HU = -300


def draw(volume: Path, record: Mapping[str, Any], title: str, target: Path) -> None:
    """Draw ``processed/<name>.npz`` to a PNG.

    Parameters
    ----------
    record : mapping
        ``processed/<name>.json``.
    title : str
        The accession.
    """
    with np.load(volume) as arrays:
        ct, spacing = arrays["ct"], arrays["spacing"]
    centre = _body_centre(ct)
    figure, axes = plt.subplots(
        2, 4, figsize=(15, 8), width_ratios=(1, 1, 1, 0.8), layout="constrained"
    )
    figure.suptitle(title, parse_math=False)
    for row, (window, (low, high)) in enumerate(WINDOWS.items()):
        for column, (plane, cut, shown, marks) in enumerate(PLANES):
            image = np.take(ct, centre[cut], axis=cut)
            height, width = (image.shape[i] * spacing[axis] for i, axis in enumerate(shown))
            axis = axes[row, column]
            axis.imshow(
                image,
                cmap="gray",
                vmin=low,
                vmax=high,
                extent=(0, width, height, 0),
                aspect="equal",
            )
            axis.set_title(f"{plane}, {window}", fontsize=9)
            axis.set_xlabel("mm", fontsize=8)
            axis.tick_params(labelsize=7)
            for mark, (x, y) in zip(
                marks, ((0.03, 0.5), (0.97, 0.5), (0.5, 0.96), (0.5, 0.04)), strict=True
            ):
                axis.text(
                    x,
                    y,
                    mark,
                    transform=axis.transAxes,
                    color="yellow",
                    ha="center",
                    va="center",
                    fontsize=11,
                    fontweight="bold",
                    path_effects=[withStroke(linewidth=2, foreground="black")],
                )
            _mark_gaps(axis, record, cut, height)
    _histogram(axes[0, 3], ct)
    axes[1, 3].axis("off")
    axes[1, 3].text(0, 1, _facts(ct, record), va="top", family="monospace", fontsize=8)
    with replacing(target) as part:
        figure.savefig(part, dpi=80, format="png", metadata={"Software": None})
    plt.close(figure)


def _body_centre(ct: NDArray[np.int16]) -> list[int]:
    """Index of the body's centre of mass along each axis, from every fourth voxel."""
    body = ct[::4, ::4, ::4] > BODY_HU
    if not body.any():
        return [size // 2 for size in ct.shape]
    return [
        min(int(np.average(np.arange(n), weights=body.sum(axis=others)) * 4), size - 1)
        for n, size, others in zip(body.shape, ct.shape, ((1, 2), (0, 2), (0, 1)), strict=True)
    ]


def _mark_gaps(axis: Any, record: Mapping[str, Any], cut: int, height: float) -> None:
    """Lines where slices are missing, on the planes that show z."""
    source = record["source"]
    if cut == 0 or not source["missing_slices"] or record["flags"].count("tilt_corrected"):
        return
    positions = np.array(record["z_positions"])
    intervals = -np.diff(positions)
    wide = np.flatnonzero(intervals >= 1.5 * source["slice_spacing"])
    moved = source["z_error_mm"] > 0
    for index in wide:
        place = (
            (index + 0.5) * source["slice_spacing"] if moved else positions[0] - positions[index]
        )
        if place < height:
            axis.axhline(place, color="red", linewidth=0.8, linestyle=":")


def _histogram(axis: Any, ct: NDArray[np.int16]) -> None:
    values, edges = np.histogram(ct[::2, ::2, ::2], bins=100)
    axis.stairs(values + 1, edges, fill=True, color="0.4")
    axis.set_yscale("log")
    axis.set_title("voxels per HU", fontsize=9)
    axis.tick_params(labelsize=7)


def _facts(ct: NDArray[np.int16], record: Mapping[str, Any]) -> str:
    source = record["source"]
    lines = [
        f"source  {source['slices']} slices of {record['matrix'][0]} x {record['matrix'][1]}",
        f"        {source['slice_spacing']:.4g} x {source['row_spacing']:.4g}"
        f" x {source['column_spacing']:.4g} mm",
        f"volume  {' x '.join(map(str, ct.shape))}",
        f"        {' x '.join(f'{value:g}' for value in record['spacing'])} mm",
        f"z error {source['z_error_mm']:.2f} mm, largest interval {source['gap_mm']:.2f} mm",
        f"missing {source['missing_slices']}, dropped {len(record['dropped'])} slices",
        f"tilt {source['tilt_degrees']:.1f}, obliquity {source['obliquity_degrees']:.1f} deg",
        f"air     {record['certificate']['air_peak_hu']} HU",
        "",
        "flags   " + ("\n        ".join(record["flags"]) or "none"),
    ]
    return "\n".join(lines)
