"""One row per accession: what became of it, and what is known of its volume."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from ctcohort.base.faults import InputError
from ctcohort.base.files import head, read_table
from ctcohort.base.naming import name_of
from ctcohort.base.privacy import pseudonym
from ctcohort.base.reasons import ACCESSION_REASONS, REFUSED, SELECTED
from ctcohort.base.workdir import Workdir
from ctcohort.cohort.reviews import Review, read_reviews
from ctcohort.dataset.columns import MANIFEST
from ctcohort.series import series_table
from ctcohort.volume.record import ScanRecord

COHORT = ("accession", "mrn", "patient_mrn", "study_uid", "split", "problem")
"""Columns of ``cohort.csv``, before `columns.carry`. `patient_mrn` is the normal form of the MRN
under which the patient goes on: what decides who is one patient."""

COLUMNS = tuple(MANIFEST)

CHUNKED_HEAD = 4096
"""Characters of a chunked volume that hold its metadata, and more."""

COVERAGE = 0.75
"""Share of the longest usable series below which a scan is flagged (rule 16)."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """The files of a working directory that say what exists, by accession."""

    cohort: list[dict[str, str]]
    series: dict[str, list[dict[str, str]]]
    splits: dict[str, dict[str, str]]
    reviews: dict[str, Review]

    @property
    def accessions(self) -> list[str]:
        """In the cohort's order."""
        return [event["accession"] for event in self.cohort]


def read(here: Workdir, reviews: Path | None = None) -> Dataset:
    """Read what is there; a table that does not exist yet is empty.

    Parameters
    ----------
    reviews : Path, optional
        The table of `reviews.read_reviews`.
    """

    def rows(path: Path, needed: Sequence[str]) -> list[dict[str, str]]:
        return list(read_table(path, needed)) if path.exists() else []

    return Dataset(
        rows(here.cohort, COHORT),
        series_table.accessions(here.series) if here.series.exists() else {},
        {row["accession"]: row for row in rows(here.splits, ("accession", "patient", "split"))},
        read_reviews(reviews) if reviews else {},
    )


def rows(here: Workdir, dataset: Dataset, *, key: bytes | None) -> Iterator[dict[str, Any]]:
    """One row per accession of the cohort, in its order.

    `status` is `included` or `excluded`; before everything is made also `pending` (to be done) and
    `failed` (its last job failed, see ``failures/<name>.json``).
    """
    carried = carried_columns(dataset.cohort)
    for event in dataset.cohort:
        accession = event["accession"]
        name = name_of(accession)
        series = dataset.series.get(accession, [])
        split = dataset.splits.get(accession, {})
        review = dataset.reviews.get(accession)
        row: dict[str, Any] = {
            "accession": accession,
            "patient": split.get("patient", ""),
            "split": split.get("split", ""),
            "review": review.verdict if review else "",
            **{column: event[column] for column in carried},
        }
        chosen = next((s for s in series if s["reason"] == SELECTED), None)
        if not series:
            row |= {"status": "pending", "status_reason": "not indexed"}
        elif chosen is None:
            row |= {"status": "excluded", "status_reason": exclusion_reason(series)}
        else:
            row |= _made(here, name, series, chosen, key)
        yield row


def exclusion_reason(series: Sequence[Mapping[str, str]]) -> str:
    """Return why an accession without a selected series is left out.

    The accession's own reason, else that a series is still arriving, because then none is chosen,
    else that of the candidate that came furthest: the one with the most slices among those whose
    headers could be judged.
    """
    for row in series:
        if row["reason"] in (*ACCESSION_REASONS, REFUSED, "still_arriving"):
            return row["reason"]
    best = max(series, key=lambda row: (int(row["slices"] or 0), row["series_uid"]))
    return best["reason"]


def carried_columns(cohort: Sequence[Mapping[str, str]]) -> list[str]:
    """The columns of `columns.carry`, as `cohort.csv` has them after its own."""
    return [column for column in (cohort[0] if cohort else ()) if column not in COHORT]


def failure_of(here: Workdir, name: str) -> dict[str, Any] | None:
    """Return what ``failures/<name>.json`` says, if it is there."""
    try:
        content: dict[str, Any] = json.loads(here.failure(name).read_text())
    except (OSError, ValueError):
        return None
    return content


def counts(table: Sequence[Mapping[str, Any]]) -> list[str]:
    """Lines such as ``12 included``, ``3 excluded: too_few_slices``, commonest first."""
    groups = Counter(
        row["status"] + (f": {row['status_reason']}" if row["status_reason"] else "")
        for row in table
    )
    return [f"{count:7d} {text}" for text, count in groups.most_common()]


def assert_distinct(table: Sequence[Mapping[str, Any]]) -> None:
    """Two scans with the same voxels in two sets would leak the test set into training.

    Raises
    ------
    InputError
        They are there; its text names them.
    """
    first: dict[str, Mapping[str, Any]] = {}
    for row in table:
        if row["status"] != "included":
            continue
        twin = first.setdefault(row["npz_sha256"], row)
        if twin["split"] != row["split"]:
            raise InputError(
                f"accessions {twin['accession']} ({twin['split']}) and {row['accession']}"
                f" ({row['split']}) have identical voxels but different patients; list one of them"
                " in exclusions"
            )


def _made(
    here: Workdir,
    name: str,
    series: Sequence[Mapping[str, str]],
    chosen: Mapping[str, str],
    key: bytes | None,
) -> dict[str, Any]:
    volume, chunked = here.volume(name), here.chunked(name)
    failure = failure_of(here, name)
    if failure is not None:
        return {"status": "failed", "status_reason": failure["reason"]}
    try:  # the record is written last
        record = ScanRecord.read(here.record(name))
    except (FileNotFoundError, InputError):
        record = None
    if record is None or not volume.exists():
        return {"status": "pending", "status_reason": ""}
    if record.series_uid != chosen["series_uid"]:
        return {"status": "pending", "status_reason": "another series is chosen now"}
    source, certificate = record.source, record.certificate
    square, final = record.matrix, record.shape
    positions = record.z_positions
    differences = [round(above - below, 4) for above, below in pairwise(positions)]
    return {
        "status": "included",
        "status_reason": "",
        "flags": " ".join(sorted({*record.flags, *choice_flags(series, chosen)})),
        "full_filename_npz": volume.name,
        "orig_square": square[0] if square[0] == square[1] else "",
        "orig_numslices": source.slices,
        "orig_slope": _one_or_all(record.slopes),
        "orig_inter": _one_or_all(record.intercepts),
        "orig_yxspacing": source.row_spacing if source.row_spacing == source.column_spacing else "",
        "orig_zpositions_all": positions,
        "orig_zdiff_all": differences,
        "orig_zdiff_set": sorted(set(differences)),
        "orig_zdiff": source.slice_spacing,
        "zdiffs_all_equal": len(set(differences)) == 1,
        "orig_orientation": ",".join(f"{value:g}" for value in record.orientation),
        "orig_gantry_tilt": record.gantry_tilt_tag,
        "final_square": final[1] if final[1] == final[2] else "",
        "final_numslices": final[0],
        "final_spacing": _one_or_all(sorted(set(record.spacing))),
        "transform": record.transform,
        "series_uid_hash": pseudonym(record.series_uid, key),
        **_fields(record, "manufacturer", "model", "convolution_kernel", "kvp"),
        **_fields(record, "age_years", "sex", "slice_thickness"),
        **_fields(source, "row_spacing", "column_spacing", "z_error_mm", "gap_mm"),
        **_fields(source, "missing_slices", "tilt_degrees", "obliquity_degrees"),
        **_fields(source, "fov_mm", "scan_length_mm"),
        **_fields(certificate, "clipped_low", "clipped_high", "padded"),
        "air_peak_hu": certificate.air_peak_hu,
        "implausible_z_mm": " ".join(f"{z:g}" for z in record.implausible_z),
        **_fields(record, "body_part", "lung_ml"),
        "regions": " ".join(record.regions),
        "lungs_cut": " ".join(record.lungs_cut),
        "dropped_slices": len(record.dropped) + record.duplicate_files,
        "extrapolated_slices": record.extrapolated_slices,
        "raw_bytes": record.raw_bytes,
        "npz_bytes": record.npz_bytes,
        "npz_sha256": record.npz_sha256,
        "full_filename_b2nd": chunked.name if _is_of(chunked, record.npz_sha256) else "",
        "algorithm_version": record.algorithm_version,
    }


def _is_of(chunked: Path, npz_sha256: str) -> bool:
    """Whether a chunked volume is there and says that it was made of this very npz."""
    return npz_sha256 in head(chunked, CHUNKED_HEAD)


def _fields(record: object, *names: str) -> dict[str, Any]:
    return {name: getattr(record, name) for name in names}


def choice_flags(series: Sequence[Mapping[str, str]], chosen: Mapping[str, str]) -> list[str]:
    """Flags that follow from the series table: the other candidates, and what was lost."""
    flags = []
    derived = (row for row in series if row["reason"].startswith("derived"))
    if any(int(row["slices"] or 0) > int(chosen["slices"]) for row in derived):
        flags.append("derived_is_larger")
    lengths = [
        float(row["scan_length_mm"])
        for row in series
        if row["scan_length_mm"] and row["reason"] in (SELECTED, "fewer_slices", "tie_lost")
    ]
    length = float(chosen["scan_length_mm"])
    if length < COVERAGE * max(lengths, default=length):
        flags.append("partial_coverage")
    if lost_at_ends(chosen) > 0:
        flags.append("end_slices_lost")
    return flags


def lost_at_ends(series: Mapping[str, str]) -> int:
    """Slices of a series that were lost and left no gap: they can only have been at its ends.

    Counted are dropped slices and files beside them that could not be read; 0 in a table of an
    earlier release, which does not tell.
    """

    def count(column: str) -> int:
        return int(series.get(column) or 0)

    return max(0, count("lost_slices") + count("unreadable_files") - count("missing_slices"))


def _one_or_all(values: Sequence[float]) -> Any:
    return values[0] if len(values) == 1 else list(values)
