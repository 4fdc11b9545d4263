"""From files to a verdict and a volume, by the steps that the workflow takes; and the measuring.

Nothing here knows how a case was made: a volume is measured in patient space, through its own
`origin`, `spacing` and `direction`, against the phantom that was scanned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml
from pydicom.dataset import Dataset

from ctcohort.archives.folder import FolderArchive
from ctcohort.archives.protocol import FoundSeries, Query
from ctcohort.config.settings import (
    SeriesSettings,
    VolumeSettings,
    canonical,
    canonical_volume,
    parse,
)
from ctcohort.phantoms.anatomy import Marker, Phantom, Rigid
from ctcohort.phantoms.writer import write_files
from ctcohort.series.choice import Candidate, choose_series
from ctcohort.series.download import fetch_series
from ctcohort.series.index import rows_of
from ctcohort.volume.build import Volume, make_volume
from ctcohort.volume.record import ScanRecord
from tests.objects import find_marker

from .cases import Case

Array = npt.NDArray[np.float64]

DEFAULTS = yaml.safe_load((Path(__file__).parents[2] / "config.yaml").read_text())

SPACING_MM = 2.0
"""Of the volumes measured here; a fifteenth of the voxels of the config's 0.8 mm."""

PLACE_MM = 0.5
"""How exactly a marker must be found. Half a voxel would be 1 mm in these volumes, and 2 mm in the
slices, most of which are 4 mm apart; the centroid of a marker is better than that, so that an error
of half a voxel (a corner taken for a centre) does not pass."""

CLIP_HU = (-1000, 3000)
"""Keeps the markers' own HU, by which one is told from the other."""


def series_rules(**changes: Any) -> SeriesSettings:
    """The config's `series` with changes."""
    return parse(canonical({**DEFAULTS["series"], **changes}), SeriesSettings)


def volume_rules(**changes: Any) -> VolumeSettings:
    """The config's `volume`, measured at `SPACING_MM` and `CLIP_HU`, with changes."""
    settings = {**DEFAULTS["volume"], "spacing_mm": SPACING_MM, "clip_hu": CLIP_HU, **changes}
    return parse(canonical_volume(settings), VolumeSettings)


@dataclass
class Judged:
    """The candidates of an accession after the choice."""

    archive: FolderArchive
    candidates: list[Candidate]
    winner: Candidate | None

    def reasons(self) -> dict[int | None, str]:
        """The reason of each series, by its SeriesNumber."""
        return {c.facts.series_number if c.facts else None: c.reason for c in self.candidates}


def write_case(case: Case, folder: Path) -> None:
    """The files of a case, as ``folder/archive``."""
    datasets = case.make()
    names = case.names and [case.names(i) for i in range(len(datasets))]
    archive = folder / "archive"
    if case.syntax == "as it is":
        archive.mkdir()
        paths = [archive / f"{i * 29 % len(datasets)}" for i in range(len(datasets))]
        for dataset, path in zip(datasets, paths, strict=True):
            dataset.save_as(path, enforce_file_format=True)
    else:
        paths = write_files(datasets, archive, names=names, transfer_syntax=case.syntax)
    if case.damage:
        case.damage(paths)


def archive_of(folder: Path) -> FolderArchive:
    """The folder archive over ``folder/archive``, its index read."""
    archive = FolderArchive(folder / "archive", link=False, store=folder / "index", key=b"torture")
    archive.prepare(threads=1)
    return archive


def judged(
    folder: Path, series: SeriesSettings, volume: VolumeSettings, accession: str = "A0000001"
) -> Judged:
    """Choose among the series that ``folder/archive`` has for an accession."""
    archive = archive_of(folder)
    found: Sequence[FoundSeries] = archive.find(Query((accession,)))
    candidates = [
        Candidate(s.series_uid, s.study_uid, s.instances, archive.headers(s)) for s in found
    ]
    return Judged(archive, candidates, choose_series(candidates, series, volume))


def ledger_rows(
    folder: Path, series: SeriesSettings, volume: VolumeSettings, accession: str = "A0000001"
) -> list[dict[str, object]]:
    """The rows that ``series.csv`` would have for an accession."""
    query, archive = Query((accession,)), archive_of(folder)
    return list(
        rows_of(accession, query, patients=None, archive=archive, series=series, volume=volume)
    )


def volume_of(
    choice: Judged, folder: Path, volume: VolumeSettings, threads: int = 1
) -> tuple[Volume, ScanRecord]:
    """Download the chosen series and make its volume."""
    assert choice.winner is not None and choice.winner.headers is not None
    raw, received = folder / "raw" / "scan", folder / "received.json"
    fetch_series(choice.archive, choice.winner.headers, target=raw, received=received)
    return make_volume(raw, received, volume, threads=threads)


def scan(
    datasets: Sequence[Dataset],
    folder: Path,
    *,
    series: SeriesSettings | None = None,
    volume: VolumeSettings | None = None,
) -> tuple[Volume, ScanRecord]:
    """Files of a usable series to its volume and record."""
    write_files(datasets, folder / "archive")
    rules = volume or volume_rules()
    choice = judged(folder, series or series_rules(), rules)
    assert choice.winner is not None, choice.reasons()
    return volume_of(choice, folder, rules)


def covered(volume: Volume, phantom: Phantom) -> list[Marker]:
    """The markers that lie wholly inside the volume."""
    step = volume.direction * volume.spacing
    inside = []
    for marker in phantom.markers:
        index = np.linalg.solve(step, np.array(marker.centre) - volume.origin)
        margin = (marker.radius + 2.0) / volume.spacing
        if (index >= margin).all() and (index <= np.array(volume.ct.shape) - 1 - margin).all():
            inside.append(marker)
    return inside


def marker_error(volume: Volume, marker: Marker, *, search: str = "near") -> Array:
    """Where the volume shows a marker minus where it is: (x, y, z) in mm, patient LPS."""
    found = find_marker(
        volume.ct,
        volume.origin,
        volume.spacing,
        volume.direction,
        marker,
        search="global" if search == "global" else "near",
    )
    return np.asarray(found - np.array(marker.centre))


def hu_at(volume: Volume, point: Sequence[float] | Array) -> float:
    """HU of the voxel nearest to a point in patient LPS."""
    step = volume.direction * volume.spacing
    index = np.rint(np.linalg.solve(step, np.asarray(point) - volume.origin)).astype(int)
    assert (index >= 0).all() and (index < volume.ct.shape).all(), f"{point} is outside"
    return float(volume.ct[tuple(index)])


def displaced(phantom: Phantom, millimetres: Array) -> Phantom:
    """The phantom, moved along with a frame of reference."""
    return replace(phantom).moved(Rigid(np.eye(3), millimetres))
