"""The pictures of one scan: a wrong order, a stretched body or a flipped patient shows at a glance.

Planes through the middle of the body in a lung and a soft-tissue window, all at one scale, with the
patient's sides at the edges and what the record says beside them; a thumbnail; and, on request, a
scroll through all slices.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ctcohort.base.files import replacing
from ctcohort.volume.record import ScanRecord

WINDOWS = {"lung": (-1350.0, 150.0), "soft tissue": (-160.0, 240.0)}
"""Lowest and highest HU shown: level -600, width 1500, and level 40, width 400."""

PLANES = (
    # name, axis that is cut, array axes (vertical, horizontal), marks (left, right, top, bottom)
    ("axial", 0, (1, 2), "RLAP"),
    ("coronal", 1, (0, 2), "RLSI"),
    ("sagittal", 2, (0, 1), "APSI"),
)

BODY_HU = -300
BAR_MM = 50
THUMBNAIL_PIXELS = 128
"""Height of a thumbnail: one pixel is 3 mm or so, and the file a few KB."""

SCROLL_PIXELS = 320
SCROLL_FRAMES = 150
"""At most, so that a scroll is some MB whatever the scan."""
SCROLL_MILLISECONDS = 60

_PAPER, _INK, _MARK = "black", "0.85", "yellow"
_MISSING, _DROPPED, _TILT = "red", "deepskyblue", "lime"


Voxels = NDArray[np.int16]
Spacing = NDArray[np.float64]


def read_volume(path: Path) -> tuple[Voxels, Spacing]:
    """Read ``processed/<name>.npz``: voxels along (z, y, x) in HU, and their spacing in mm."""
    with np.load(path) as arrays:
        return arrays["ct"], arrays["spacing"]


def draw(ct: Voxels, spacing: Spacing, record: ScanRecord, title: str, target: Path) -> None:
    """Draw a volume and what its record says to a PNG.

    Parameters
    ----------
    ct, spacing : as `read_volume` returns them
    record : ScanRecord
        ``processed/<name>.json``.
    title : str
        The accession.
    """
    centre = _body_centre(ct)
    mm = [size * step for size, step in zip(ct.shape, spacing, strict=True)]
    tall = max(mm[0], mm[1])
    widths = [mm[shown[1]] for _, _, shown, _ in PLANES]
    figure, axes = plt.subplots(
        2,
        4,
        figsize=(15, 8),
        width_ratios=[*widths, 0.3 * sum(widths)],
        layout="constrained",
        facecolor=_PAPER,
    )
    figure.suptitle(title, parse_math=False, color=_INK)
    for row, (window, (low, high)) in enumerate(WINDOWS.items()):
        for column, (plane, cut, shown, marks) in enumerate(PLANES):
            axis = axes[row, column]
            height, width = (mm[i] for i in shown)
            axis.imshow(
                np.take(ct, centre[cut], axis=cut),
                cmap="gray",
                vmin=low,
                vmax=high,
                extent=(0, width, height, 0),
                aspect="equal",
            )
            axis.set_title(f"{plane}, {window}", fontsize=9, color=_INK)
            axis.set_axis_off()
            # one scale for all planes: each has the room of the tallest
            axis.set_ylim(height / 2 + tall / 2, height / 2 - tall / 2)
            _sides(axis, marks, width, height)
            _bar(axis, width, height)
            if cut != 0:
                _mark_slices(axis, record, height)
            if cut == 2:
                _mark_tilt(axis, record, width, height)
    _histogram(axes[0, 3], ct)
    axes[1, 3].set_axis_off()
    facts = _facts(ct, record)
    axes[1, 3].text(0, 1, facts, va="top", family="monospace", fontsize=8, color=_INK)
    _legend(axes[1, 3], record)
    with replacing(target) as part:
        figure.savefig(part, dpi=80, format="png", metadata={"Software": None})
    plt.close(figure)


def draw_thumbnail(ct: Voxels, spacing: Spacing, target: Path) -> None:
    """Draw the coronal plane in the lung window and the axial one in soft tissue: a small WebP."""
    centre = _body_centre(ct)
    parts = []
    for (_, cut, shown, _), window in ((PLANES[1], "lung"), (PLANES[0], "soft tissue")):
        image = _grey(np.take(ct, centre[cut], axis=cut), window)
        height, width = (ct.shape[i] * spacing[i] for i in shown)
        share = THUMBNAIL_PIXELS / max(height, width)
        size = max(1, round(width * share)), max(1, round(height * share))
        parts.append(image.resize(size, Image.Resampling.LANCZOS))
    sheet = Image.new("L", (sum(part.width for part in parts) + 2, THUMBNAIL_PIXELS))
    left = 0
    for part in parts:
        sheet.paste(part, (left, (THUMBNAIL_PIXELS - part.height) // 2))
        left += part.width + 2
    with replacing(target) as file:
        sheet.save(file, "WEBP", quality=60, method=6)


def draw_scroll(ct: Voxels, spacing: Spacing, target: Path) -> None:
    """Draw all axial slices from head to feet in the lung window: an animated WebP that repeats."""
    first, *others = _scroll_frames(ct, spacing)
    with replacing(target) as file:
        first.save(
            file,
            "WEBP",
            save_all=True,
            append_images=others,
            duration=SCROLL_MILLISECONDS,
            loop=0,
            quality=70,
        )


def _scroll_frames(ct: Voxels, spacing: Spacing) -> Iterator[Image.Image]:
    """Slices at even distances, with the depth below the first and the patient's sides."""
    height, width = ct.shape[1] * spacing[1], ct.shape[2] * spacing[2]
    share = SCROLL_PIXELS / max(height, width)
    size = max(1, round(width * share)), max(1, round(height * share))
    places = np.linspace(0, len(ct) - 1, min(len(ct), SCROLL_FRAMES)).round().astype(int)
    for place in places:
        frame = _grey(ct[place], "lung").resize(size, Image.Resampling.BILINEAR)
        pen = ImageDraw.Draw(frame)
        pen.text((4, size[1] // 2), "R", fill=255)
        pen.text((size[0] - 10, size[1] // 2), "L", fill=255)
        pen.text((4, 4), f"{place * spacing[0]:.0f} mm from the top", fill=255)
        yield frame


def _grey(image: Voxels, window: str) -> Image.Image:
    low, high = WINDOWS[window]
    return Image.fromarray(((image - low) * (255 / (high - low))).clip(0, 255).astype(np.uint8))


def _body_centre(ct: Voxels) -> list[int]:
    """Index of the body's centre of mass along each axis, from every fourth voxel."""
    body = ct[::4, ::4, ::4] > BODY_HU
    if not body.any():
        return [size // 2 for size in ct.shape]
    return [
        min(int(np.average(np.arange(n), weights=body.sum(axis=others)) * 4), size - 1)
        for n, size, others in zip(body.shape, ct.shape, ((1, 2), (0, 2), (0, 1)), strict=True)
    ]


def _sides(axis: Any, marks: str, width: float, height: float) -> None:
    """Label each edge with its side of the patient."""
    inset = 0.04 * max(width, height)
    places = (
        (inset, height / 2),
        (width - inset, height / 2),
        (width / 2, inset),
        (width / 2, height - inset),
    )
    for mark, (x, y) in zip(marks, places, strict=True):
        axis.text(
            x,
            y,
            mark,
            color=_MARK,
            ha="center",
            va="center",
            fontsize=11,
            fontweight="bold",
            path_effects=[withStroke(linewidth=2, foreground="black")],
        )


def _bar(axis: Any, width: float, height: float) -> None:
    """A scale bar in the lower left corner."""
    length = BAR_MM if width > 2 * BAR_MM else BAR_MM / 5
    left, below = 0.03 * width, height - 0.03 * height
    around = [withStroke(linewidth=4, foreground="black")]
    axis.plot((left, left + length), (below, below), color=_MARK, lw=2, path_effects=around)
    axis.text(
        left,
        below - 0.015 * height,
        f"{length:g} mm",
        color=_MARK,
        fontsize=7,
        va="bottom",
        path_effects=[withStroke(linewidth=2, foreground="black")],
    )


def _mark_slices(axis: Any, record: ScanRecord, height: float) -> None:
    """Lines where slices are missing, and ticks where dropped ones lay, on planes that show z."""
    if "tilt_corrected" in record.flags:
        return  # its slices are no horizontal lines
    positions = np.array(record.z_positions)
    step = record.source.slice_spacing or 0.0
    depths = positions[0] - positions
    # `mode` puts slices at even steps, whatever their distances
    placed = np.arange(len(positions)) * step if (record.source.z_error_mm or 0.0) > 0 else depths
    for index in np.flatnonzero(np.diff(depths) >= 1.5 * step):
        middle = (placed[index] + placed[index + 1]) / 2
        axis.axhline(min(middle, height), color=_MISSING, linewidth=0.8, linestyle=":")
    left, right = axis.get_xlim()
    for drop in record.dropped:
        if drop.z is not None:
            place = np.interp(positions[0] - drop.z, depths, placed)
            axis.plot((right - 0.06 * (right - left), right), (place, place), color=_DROPPED, lw=1)


def _mark_tilt(axis: Any, record: ScanRecord, width: float, height: float) -> None:
    """Draw a slice as it lay before the tilt was corrected: its plane, cut by the sagittal one."""
    if "tilt_corrected" not in record.flags:
        return
    down, back = (np.array(record.transform)[:3, axis] for axis in (0, 1))
    down, back = down / np.linalg.norm(down), back / np.linalg.norm(back)
    # of the slice's two axes, the one that runs from front to back
    run = max(np.reshape(record.orientation, (2, 3)), key=lambda v: abs(v @ back))
    slope = (run @ down) / (run @ back)
    y = np.array([0.0, width])
    axis.plot(y, height / 2 + slope * (y - width / 2), color=_TILT, linewidth=0.8, linestyle="--")
    axis.set_xlim(0, width)


def _legend(axis: Any, record: ScanRecord) -> None:
    """Explain the lines that are drawn on the planes."""
    tilted = "tilt_corrected" in record.flags
    source = record.source
    lines = [
        (_MISSING, "dotted: missing slices", source.missing_slices and not tilted),
        (_DROPPED, "ticks: dropped slices", record.dropped and not tilted),
        (_TILT, f"dashed: slices lay at {source.tilt_degrees:.1f} deg", tilted),
    ]
    shown = [(colour, text) for colour, text, there in lines if there]
    for number, (colour, text) in enumerate(shown):
        axis.text(0, 0.02 + 0.06 * number, text, color=colour, fontsize=8, transform=axis.transAxes)


def _histogram(axis: Any, ct: Voxels) -> None:
    values, edges = np.histogram(ct[::2, ::2, ::2], bins=100)
    axis.set_facecolor(_PAPER)
    axis.stairs(values + 1, edges, fill=True, color="0.6")
    axis.set_yscale("log")
    axis.set_title("voxels per HU", fontsize=9, color=_INK)
    axis.tick_params(labelsize=7, colors=_INK)
    for spine in axis.spines.values():
        spine.set_color("0.4")


SLICES_NAMED = 3
"""So many implausible slices are named; the record and the manifest name all."""


def _facts(ct: Voxels, record: ScanRecord) -> str:
    source = record.source
    dropped = len(record.dropped) + record.duplicate_files
    lines = [
        f"source  {source.slices} slices of {record.matrix[0]} x {record.matrix[1]}",
        f"        {source.slice_spacing:.4g} x {source.row_spacing:.4g}"
        f" x {source.column_spacing:.4g} mm",
        f"volume  {' x '.join(map(str, ct.shape))}",
        f"        {' x '.join(f'{value:g}' for value in record.spacing)} mm",
        f"z error {source.z_error_mm:.2f} mm",
        f"largest interval {source.gap_mm:.2f} mm",
        f"missing {source.missing_slices}, dropped {dropped} slices",
        f"tilt {source.tilt_degrees:.1f}, obliquity {source.obliquity_degrees:.1f} deg",
        f"air     {record.certificate.air_peak_hu} HU",
        *_anatomy(record),
        "",
        "flags   " + ("\n        ".join(record.flags) or "none"),
        *(f"look at z = {z:.1f} mm (implausible)" for z in record.implausible_z[:SLICES_NAMED]),
    ]
    return "\n".join(lines)


def _anatomy(record: ScanRecord) -> list[str]:
    """Lungs, and what the headers name; nothing of records of earlier releases."""
    if record.lung_ml is None:
        return []
    return [
        f"lung    {record.lung_ml:.0f} mL, cut at {', '.join(record.lungs_cut) or 'no end'}",
        f"named   {', '.join(record.regions) or 'no region of the body'}",
    ]
