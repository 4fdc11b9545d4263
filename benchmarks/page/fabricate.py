"""A working directory of N accessions as a finished run leaves it: tables, thumbnails, no volume.

The numbers are drawn with a fixed seed from what chest CT looks like, odd scans and every flag and
reason included. Thumbnails are a few different images under every name.
"""

import json
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFilter

from ctcohort.base.files import write_lines, write_table
from ctcohort.base.naming import name_of
from ctcohort.base.reasons import ACCESSION_REASONS, FLAGS, SELECTED
from ctcohort.dataset import manifest
from ctcohort.series import series_table

PROTOCOLS = (
    "ct chest wo contrast w 3d mips protocol",
    "ct chest without contrast w 3d mips protocol",
)
SCANNERS = {
    "SIEMENS": ("SOMATOM Definition Flash", ("B30f", "B31f", "B70f", "I31f")),
    "GE MEDICAL SYSTEMS": ("LightSpeed VCT", ("STANDARD", "LUNG", "BONE")),
    "Philips": ("Brilliance 64", ("B", "C", "YC")),
    "TOSHIBA": ("Aquilion", ("FC01", "FC51")),
}
EXCLUDED = (
    ("not_found", 20), ("too_few_slices", 12), ("derived", 9), ("no_ct_series", 8),
    ("derived_lossy", 6), ("too_irregular", 6), ("ambiguous_study", 4), ("not_axial", 3),
    ("offline", 3), ("conflicting_rows", 2), ("mixed_geometry", 2), ("patient_mismatch", 1),
    ("excluded_by_user", 1), ("no_rescale", 1), ("duplicate_positions", 1),
)  # fmt: skip
"""Reasons and how often each; some have no series."""

SHARE_EXCLUDED = 0.03
THUMBNAILS = 60


def fabricate(directory: Path, count: int, *, thumbnails: bool = True, whole: bool = True) -> None:
    """Write the tables of `count` accessions, of which most are volumes, into `directory`.

    Parameters
    ----------
    thumbnails : bool
        Whether every volume has one.
    whole : bool
        Whether the lists of slice positions are as long as they are in a real manifest.
    """
    rng = random.Random(7)
    accessions = [f"AA{100_000 + 37 * number}" for number in range(count)]
    cohort, splits, rows, series = [], [], [], []
    for number, accession in enumerate(accessions):
        mrn = f"{900_000 + number * 2 // 3}"
        split = rng.choices(("train", "val", "test"), (7, 1, 2))[0]
        event = {"accession": accession, "mrn": mrn, "patient_mrn": mrn}
        cohort.append({**event, "nodule": rng.choice("0001")})
        splits.append({"accession": accession, "patient": "", "split": split})
        row = {"accession": accession, "split": split, "nodule": cohort[-1]["nodule"]}
        if rng.random() < SHARE_EXCLUDED:
            reason = rng.choices(*zip(*EXCLUDED, strict=True))[0]
            row |= {"status": "excluded", "status_reason": reason}
        else:
            row |= {"status": "included", "status_reason": "", **_volume(rng, accession, whole)}
        rows.append(row)
        series += _series(rng, row, number)
    write_table(directory / "series.csv", series_table.COLUMNS, series)
    write_table(directory / "splits.csv", ("accession", "patient", "split"), splits)
    write_table(
        directory / "cohort.csv",
        ("accession", "mrn", "patient_mrn", "study_uid", "split", "problem", "nodule"),
        cohort,
    )
    write_table(directory / "manifest.csv", (*manifest.COLUMNS, "nodule"), rows)
    write_lines(directory / "accessions.txt", accessions)
    write_table(
        directory / "protocols.csv",
        ("protocol", "rows", "selected"),
        [
            {"protocol": PROTOCOLS[0], "rows": count * 3 // 4, "selected": True},
            {"protocol": PROTOCOLS[1], "rows": count - count * 3 // 4 + 212, "selected": True},
            *(
                {"protocol": f"other {n}", "rows": 9000 - 7 * n, "selected": False}
                for n in range(640)
            ),
        ],
    )
    _parameters(directory / ".parameters")
    if thumbnails:
        names = [name_of(row["accession"]) for row in rows if row["status"] == "included"]
        _thumbnails(rng, directory / "qc" / "thumbnails", names)


def _volume(rng: random.Random, accession: str, whole: bool) -> dict[str, Any]:
    manufacturer = rng.choices(list(SCANNERS), (5, 3, 1, 1))[0]
    model, kernels = SCANNERS[manufacturer]
    spacing = rng.choices((0.6, 0.625, 0.7, 0.8, 1.0, 1.25, 2.5, 5.0), (6, 20, 3, 8, 12, 9, 3, 1))[
        0
    ]
    length = min(520.0, max(140.0, rng.gauss(330, 35)))
    slices = round(length / spacing)
    missing = rng.choices((0, 1, 2, 4), (970, 20, 7, 3))[0]
    tilt = round(rng.uniform(2, 15), 1) if rng.random() < 0.002 else 0.0
    air = -round(rng.gauss(99.2, 0.6)) * 10 - 5 if rng.random() > 0.003 else -1055
    flags = [flag for flag in FLAGS if rng.random() < 0.002]
    flags += ["spacing_irregular"] * bool(missing) + ["tilt_corrected"] * bool(tilt)
    positions = [round(length - place * spacing, 4) for place in range(slices if whole else 3)]
    fov = max(200.0, rng.gauss(365, 35))
    side = round(fov / 0.8)
    return {
        "flags": " ".join(sorted(set(flags))),
        "full_filename_npz": f"{name_of(accession)}.npz",
        "orig_square": 512,
        "orig_numslices": slices,
        "orig_zpositions_all": positions,
        "orig_zdiff_all": [spacing] * (len(positions) - 1),
        "orig_zdiff_set": [spacing],
        "orig_zdiff": spacing,
        "final_square": side,
        "final_numslices": round(length / 0.8),
        "final_spacing": 0.8,
        "manufacturer": manufacturer,
        "model": model,
        "convolution_kernel": rng.choice(kernels),
        "kvp": rng.choices((120, 100, 140), (8, 2, 1))[0],
        "age_years": min(97, max(18, round(rng.gauss(61, 14)))),
        "sex": rng.choice("FM"),
        "slice_thickness": spacing,
        "row_spacing": fov / 512,
        "column_spacing": fov / 512,
        "z_error_mm": round(missing * spacing, 3),
        "gap_mm": spacing * (1 + bool(missing)),
        "missing_slices": missing,
        "dropped_slices": rng.choices((0, 1, 3), (990, 7, 3))[0],
        "extrapolated_slices": 1,
        "tilt_degrees": tilt,
        "obliquity_degrees": 0,
        "fov_mm": fov,
        "scan_length_mm": length,
        "clipped_low": abs(rng.gauss(0.02, 0.012)),
        "clipped_high": abs(rng.gauss(0.0008, 0.0006)),
        "padded": rng.choices((0.0, 0.2146), (3, 2))[0],
        "air_peak_hu": air,
        "raw_bytes": slices * 526_000,
        "npz_bytes": round(side * side * length / 0.8 * 0.92),
        "npz_sha256": f"{rng.getrandbits(256):064x}",
        "algorithm_version": "1",
    }


def _series(rng: random.Random, row: dict[str, Any], number: int) -> Iterator[dict[str, Any]]:
    accession, reason = row["accession"], row["status_reason"]
    if reason in ACCESSION_REASONS:
        yield {"accession": accession, "selected": False, "reason": reason}
        return
    slices = row.get("orig_numslices", 300)
    first = SELECTED if row["status"] == "included" else reason
    others = rng.sample(("fewer_slices", "tie_lost", "derived", "derived", "localizer"), 4)
    for place, each in enumerate((first, *others, "not_ct")):
        images = 1 if each in ("localizer", "not_ct") else slices if each == first else slices // 3
        yield {
            "accession": accession,
            "series_uid": f"1.2.826.0.1.{number}.{place}",
            "series_description": "a description that stays in the series table",
            "instances": images,
            "slices": images,
            "estimated_bytes": images * 526_000,
            "selected": each == SELECTED,
            "reason": each,
        }


def _parameters(folder: Path) -> None:
    select = {"protocols": PROTOCOLS}
    columns = {"accession": "AccessionNumber", "carry": ["nodule"], "mrn": "MRN"}
    volume = {"clip_hu": [-1000, 1000], "interpolator": "bspline", "spacing_mm": [0.8, 0.8, 0.8]}
    splits = {"seed": 0, "test": 0.2, "train": 0.7, "val": 0.1}
    write_lines(folder / "select.json", [json.dumps(columns) + json.dumps(select)])
    write_lines(folder / "index.json", [json.dumps({"min_slices": 31}) + json.dumps({})])
    write_lines(
        folder / "volume.json", [json.dumps({"algorithm": "1", "volume": json.dumps(volume)})]
    )
    write_lines(folder / "splits.json", [json.dumps(splits)])


def _thumbnails(rng: random.Random, folder: Path, names: list[str]) -> None:
    """Hard links to a few images of the size and the detail of a real thumbnail."""
    folder.mkdir(parents=True)
    originals = []
    for number in range(THUMBNAILS):
        sheet = Image.effect_noise((258, 128), 60).filter(ImageFilter.GaussianBlur(1.1))
        body = Image.new("L", sheet.size)
        draw = ImageDraw.Draw(body)
        wide = rng.randint(44, 60)
        for middle in (64, 194):
            draw.ellipse((middle - wide, 14, middle + wide, 114), fill=170)
            for side in (-1, 1):
                lung = middle + side * wide // 2
                draw.ellipse((lung - 19, 30, lung + 19, 100), fill=40)
        sheet = Image.blend(body, sheet, 0.3)
        originals.append(folder / f".{number}.webp")
        sheet.save(originals[-1], "WEBP", quality=60, method=6)
    for number, name in enumerate(names):
        os.link(originals[number % THUMBNAILS], folder / f"{name}.webp")
