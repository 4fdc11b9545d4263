"""The facts of a release, of which its data card and its Croissant file are made."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ctcohort.config.settings import ReleaseSettings
from ctcohort.dataset.columns import MANIFEST, Column
from ctcohort.dataset.title import is_chest, lungs, title

METADATA = "metadata.csv"

WHO = {
    "NoteAcc_DEID": Column(str, "the scan"),
    "VolumeAcc_DEID": Column(str, "file of the scan's volume"),
    "MRN_DEID": Column(str, "the patient"),
    "PatientAge": Column(
        str, "in whole years, as DICOM writes it; 090Y stands for every age from 90 on"
    ),
    "PatientSex": Column(str, "F, M or O; else empty"),
}
"""Columns of the published RAD-ChestCT table."""

_COLUMNS = (
    MANIFEST
    | WHO
    | {
        "full_filename_npz": WHO["VolumeAcc_DEID"],
        "face_possible": Column(bool, "whether a face may be visible, by a simple measure"),
    }
)

LABEL = "a label, as the report table had it"

KEYWORDS = ("medical", "radiology", "computed-tomography")

SIZES = {1_000: "n<1K", 10_000: "1K<n<10K", 100_000: "10K<n<100K", 1_000_000: "100K<n<1M"}
"""Hugging Face's words for how many rows there are, by the first number that is too many."""

_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})", re.ASCII)
_NUMBER = re.compile(r"[+-]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?", re.ASCII)

_CREATIVE_COMMONS = re.compile(r"CC0-1\.0|CC-BY(-NC)?(-SA|-ND)?-4\.0")


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a release.

    Parameters
    ----------
    rows : those of ``metadata.csv``
    columns : those of ``metadata.csv``, in its order
    labels : the carried ones among them
    """

    rows: Sequence[Mapping[str, Any]]
    columns: Sequence[str]
    labels: Sequence[str]
    settings: ReleaseSettings

    @property
    def lungs(self) -> dict[str, int]:
        """How many volumes hold whole, cut or no lungs."""
        return lungs(self.rows)

    @property
    def title(self) -> str:
        """What was measured in the volumes, not what was asked for."""
        return title(self.lungs)

    @property
    def summary(self) -> tuple[str, str]:
        """What there is, and what was measured in it; no number of five digits in one piece."""
        told = {
            "whole": "whole lungs in {}",
            "cut": "lungs that the first or the last slice cuts in {}",
            "none": "no lung in {}",
            "unknown": "not measured in {}",
        }
        parts = [told[key].format(counted(number)) for key, number in self.lungs.items() if number]
        return (
            f"{counted(len(self.rows))} scans of {counted(patients(self.rows))} patients, as"
            " three-dimensional arrays in Hounsfield units, without identifiers.",
            f"Measured on the scans: {', '.join(parts)}.",
        )

    @property
    def keywords(self) -> list[str]:
        """Words by which a catalogue finds it."""
        return [*KEYWORDS, *["chest"] * is_chest(self.lungs)]

    @property
    def size(self) -> str:
        """How many scans, in a word of Hugging Face."""
        return next((word for most, word in SIZES.items() if len(self.rows) < most), "1M<n<10M")

    @property
    def spdx(self) -> str | None:
        """The licence's identifier in the list of SPDX, where it is one of Creative Commons."""
        name = re.sub(r"[\s-]+", "-", (self.settings.licence or "").strip()).upper()
        return name if _CREATIVE_COMMONS.fullmatch(name) else None

    def described(self) -> dict[str, Column]:
        """Every column of ``metadata.csv`` with its type and meaning."""
        return {
            name: Column(_type(row[name] for row in self.rows), LABEL)
            if name in self.labels
            else _COLUMNS[name]
            for name in self.columns
        }


def counted(number: int) -> str:
    """Write a number with commas, so that the guard takes none for an identifier."""
    return f"{number:,}"


def patients(rows: Iterable[Mapping[str, Any]]) -> int:
    """Count the patients of some rows of ``metadata.csv``."""
    return len({row["MRN_DEID"] for row in rows})


def _type(values: Iterable[Any]) -> type[str] | type[int] | type[float]:
    """The type that all values of a label have; a number with leading zeros is a name."""
    texts = {str(value) for value in values} - {""}
    if texts and all(map(_INTEGER.fullmatch, texts)):
        return int
    return float if texts and all(map(_NUMBER.fullmatch, texts)) else str
