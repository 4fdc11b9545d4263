"""Every documented value of every key of the config goes through a whole run, to the manifest."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from ctcohort.phantoms.anatomy import Phantom
from ctcohort.phantoms.stack import SliceStack
from ctcohort.phantoms.writer import Identity, make_series, write_files

from .conftest import ROOT, SIZE, Site

SCHEMA = yaml.safe_load((ROOT / "rules" / "config.schema.yaml").read_text())
DEFAULTS = yaml.safe_load((ROOT / "config.yaml").read_text())

ELSEWHERE = ("archive.kind", "archive.dicomweb", "archive.dimse", "release", "reports_sheet")
"""Keys that need a server (tests/services), a release (test_release.py) or a spreadsheet
(tests/unit/test_reports.py)."""

AXIAL = SliceStack.axial(count=33, step=9.0, **SIZE)
SCANS: dict[str, dict[str, Any]] = {
    "PLAIN": {},
    "LOWER": {"image_type": ("original", "primary", "axial")},
    "MISSING": {"extra": {"ImageType": None}},
    "DERIVED": {"image_type": ("DERIVED", "PRIMARY", "AXIAL")},
    "LOSSY": {"extra": {"LossyImageCompression": "01"}},
    "ENERGY": {"extra": {"MultienergyCTAcquisition": "YES"}},
    "BITS": {"bits_stored": 8, "slope": 12.0},
    "AGENT": {"extra": {"ContrastBolusAgent": "Iohexol"}},
    "GAPPED": {"stack": AXIAL.take([*range(20), *range(21, 33)])},
    "TILTED": {"stack": SliceStack.tilted(7, count=33, step=9.0, **SIZE)},
}
"""One accession each; what is odd about it."""

RUNS: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "defaults": (
        {},
        {
            "MISSING": "unreadable_header",
            "DERIVED": "derived",
            "LOSSY": "derived_lossy",
            "ENERGY": "spectral",
            "BITS": "too_few_bits",
            "GAPPED": "too_irregular",
        },
    ),
    "everything admitted": (
        {
            "series.kinds": ["ORIGINAL", "MISSING"],
            "series.min_slices": 2,
            "series.contrast": "none",
            "series.allow_lossy": True,
            "series.allow_multienergy": True,
            "series.allow_few_bits": True,
            "series.min_fov_mm": 100,
            "series.prefer_kernels": ["^B3", "STANDARD"],
            "series.tie_break": ["series_uid", "series_number", "slice_thickness"],
            "volume.irregular_spacing": "positions",
            "volume.max_gap_mm": 20.0,
            "volume.gantry_tilt": "exclude",
            "volume.interpolator": "linear",
            "volume.clip_hu": [-1024, 3071],
            "volume.spacing_mm": [9.0, 12.0, 12.0],
            "raw": "delete",
            "columns.carry": ["Finding"],
            "splits.stratify": "Finding",
            "splits.seed": 7,
            "splits.train": 0.5,
            "splits.val": 0.25,
            "splits.test": 0.25,
            "archive.folder.link": True,
            "archive.accession_prefixes": ["", "X"],
            "archive.check_patient": True,
            "archive.connections": 2,
            "archive.max_mb_per_second": 1000,
            "archive.max_queries_per_second": 1000,
            "archive.hours": ["mon-fri", "sat,sun"],
            "archive.timezone": "Europe/Zurich",
            "archive.patience_seconds": 10,
            "privacy.key_file": "key",
        },
        {"DERIVED": "derived", "AGENT": "contrast", "TILTED": "tilted"},
    ),
    "only derived": (
        {
            "series.kinds": ["DERIVED"],
            "volume.irregular_spacing": "exclude",
            "volume.spacing_mm": None,
            "volume.max_z_error_mm": None,
            "volume.max_gap_mm": None,
            "select.protocols": [],
            "select.protocols_regex": ["^ct chest"],
            "columns.split": "Set",
            "columns.modality": "Modality",
            "columns.study_uid": "Study",
            "exclusions": "exclusions.csv",
            "merged_mrns": "merged.csv",
            "reviews": "looked_at.csv",
        },
        {
            name: "excluded_by_user" if name == "TILTED" else "derived"
            for name in SCANS
            if name not in ("DERIVED", "MISSING")
        }
        | {"MISSING": "unreadable_header"},
    ),
    "kinds in lower case": (
        {
            "series.kinds": ["original", "Derived", "missing"],
            "series.exclude_description_regex": ["(?i)biopsy"],
            "series.body_part_exclude": ["ABDOMEN"],
            "partition": "1/1",
            "select.sample": 10,
            "reports": "table.csv",
            "archive.folder.path": "other",
            "columns.accession": "Accession",
            "columns.mrn": "Patient",
            "columns.protocol": "Title",
        },
        {
            "LOSSY": "derived_lossy",
            "ENERGY": "spectral",
            "BITS": "too_few_bits",
            "GAPPED": "too_irregular",
        },
    ),
}
"""What differs from the defaults, and why accessions are excluded then; the others are included."""


def leaves(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    for key, child in node["properties"].items():
        name = f"{prefix}{key}"
        if name.startswith(ELSEWHERE) or key == "tls":
            continue
        if "properties" in child:
            yield from leaves(child, f"{name}.")
        else:
            yield name, child


LEAVES = list(leaves(SCHEMA))


def default_of(name: str) -> Any:
    value = DEFAULTS
    for key in name.split("."):
        value = value[key]
    return value


@pytest.mark.parametrize(("name", "node"), LEAVES, ids=[name for name, _ in LEAVES])
def test_every_value_of_a_key_is_in_a_run(name: str, node: Mapping[str, Any]) -> None:
    values = [changes.get(name, default_of(name)) for changes, _ in RUNS.values()]
    if "enum" in node:
        assert set(values) == set(node["enum"])
    elif node.get("type") == "boolean":
        assert set(values) == {True, False}
    else:
        assert len({json.dumps(value) for value in values}) > 1
    kinds = [part.get("type") for part in node.get("anyOf", [node])]
    if any("null" in kind for kind in kinds if kind):
        assert None in values


@pytest.fixture(scope="module")
def scanned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scans, written once."""
    folder = tmp_path_factory.mktemp("scans")
    for number, (name, options) in enumerate(SCANS.items()):
        facts = {"stack": AXIAL, **options}
        who = Identity(patient_id=f"MRN{number:04d}", accession=name)
        series = make_series(Phantom(), facts.pop("stack"), identity=who, seed=name, **facts)
        write_files(series, folder / name)
    return folder


@pytest.mark.parametrize("name", RUNS)
def test_a_whole_run_ends_in_the_manifest(name: str, scanned: Path, tmp_path: Path) -> None:
    changes, excluded = RUNS[name]
    site = Site(tmp_path)
    for folder in ("archive", "other"):
        (tmp_path / folder).symlink_to(scanned, target_is_directory=True)
    columns = ("accession", "mrn", "protocol")
    named = [changes.get(f"columns.{key}", DEFAULTS["columns"][key]) for key in columns]
    with open(tmp_path / changes.get("reports", "reports.csv"), "w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow([*named, "Finding", "Set", "Modality", "Study"])
        for number, scan in enumerate(SCANS):
            who = Identity(patient_id=f"MRN{number:04d}", accession=scan)
            writer.writerow(
                [scan, who.patient_id, "CT Chest WO Contrast W 3D MIPS Protocol",
                 number % 2, ("train", "val", "test")[number // 2 % 3], "CT", who.study_uid]
            )  # fmt: skip
    site.write("exclusions.csv", "accession,reason\nTILTED,no\n")
    site.write("merged.csv", "mrn,merged_into\nMRN0001,MRN0000\n")
    site.write("looked_at.csv", "accession,verdict,note\nDERIVED,good,\n")
    (tmp_path / "key").write_bytes(b"k" * 64)
    (tmp_path / "key").chmod(0o600)
    site.write("config.yaml", "{}")
    site.configure({"volume.spacing_mm": 13.0, **changes})
    site.run()
    rows = {row["accession"]: row for row in site.rows("manifest.csv")}
    assert list(rows) == list(SCANS)
    because = {scan: row["status_reason"] for scan, row in rows.items() if row["status_reason"]}
    assert because == excluded
    assert {row["status"] for row in rows.values()} == {"included", "excluded"}
