"""A small made-up hospital: a report table, an archive of phantom scans, and a config.

Every kind of thing that happens to an accession happens to one of these. A folder that already
holds the hospital is left as it is.
"""

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.uid import RLELossless

from ctcohort.base.faults import InputError, run
from ctcohort.phantoms.anatomy import Phantom
from ctcohort.phantoms.stack import SliceStack
from ctcohort.phantoms.writer import (
    Identity,
    make_dose_report,
    make_localizer,
    make_reformat,
    make_series,
    write_files,
)

VERSION = "1"
CHEST = "CT Chest WO Contrast  W 3D MIPS Protocol"
OTHER_CHEST = "CT CHEST WITHOUT CONTRAST W 3D MIPS PROTOCOL"
SIZE = {"rows": 96, "columns": 96, "pixel_spacing": 3.6}
PAGES = (
    'Findings: "made up", and long.\nThe lungs of a phantom, over several lines; no nodule. ' * 5
)

CONFIG = """\
# The demo hospital's config: only what differs from the defaults beside the Snakefile.
columns: {carry: [nodule]}
archive: {folder: {path: archive}}
"""


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    marker = options.folder / "archive" / "VERSION"
    if marker.exists() and marker.read_text() == VERSION:
        return
    if (options.folder / "reports.csv").exists() and not marker.exists():
        raise InputError(f"{options.folder} holds a report table that is not the demo's; move it")
    make_hospital(options.folder)
    marker.write_text(VERSION)


def make_hospital(folder: Path) -> None:
    """Write ``reports.csv``, ``config.yaml`` and ``archive/`` into `folder`."""
    archive = folder / "archive"
    events = []
    for number, (accession, patient, protocol, series) in enumerate(_scans()):
        events.append((accession, patient.patient_id, protocol, number % 2))
        for each in series:
            compressed = RLELossless if accession == "DEMO0004" else None
            write_files(each, archive / f"{number:02d}", transfer_syntax=compressed)
    (archive / "readme.txt").write_text("Not every file of an archive is DICOM.\n")
    events += [
        ("DEMO0012", "10011", CHEST, 0),  # not in the archive
        ("DEMO0013", "10012", CHEST, 0),  # two patients under one accession in the table
        ("DEMO0013", "10013", CHEST, 0),
        ("DEMO00*4", "10014", CHEST, 0),  # a wildcard: would match other accessions
        ("DEMO0015", "10015", "CT ABDOMEN PELVIS W CONTRAST", 0),
        ("DEMO0001", "10001", CHEST, 0),  # a row that occurs twice
    ]
    with open(folder / "reports.csv", "w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["AccessionNumber", "MRN", "Protocol", "nodule", "Report"])
        writer.writerows([*event, PAGES] for event in events)
    (folder / "config.yaml").write_text(CONFIG)


def _scans() -> list[tuple[str, Identity, str, list[Sequence[Dataset]]]]:
    body, short = Phantom(), Phantom(scale=0.9)

    def who(accession: str, mrn: str) -> Identity:
        return Identity(patient_id=mrn, patient_name=f"Demo^Patient{mrn}", accession=accession)

    def chest(identity: Identity, stack: SliceStack | None = None, **more: object) -> list[Dataset]:
        plane = stack or SliceStack.oriented(count=56, step=4.5, **SIZE)
        return make_series(body, plane, identity=identity, **more)

    def stack(**more: object) -> SliceStack:
        return SliceStack.oriented(**{"count": 56, "step": 4.5, **SIZE, **more})

    one = who("DEMO0001", "10001")
    two, three = who("DEMO0002", "10001"), who("DEMO0003", "10002")
    four, five, six = who("DEMO0004", "10003"), who("DEMO0005", "10004"), who("DEMO0006", "10005")
    seven, eight, nine = who("000709", "10006"), who("DEMO 08/B", "10007"), who("DEMO0009", "10008")
    ten, eleven = who("DEMO0010", "10009"), who("DEMO0011", "10010")
    missing = stack().take([i for i in range(56) if i != 30])
    irregular = stack().take([i for i in range(56) if not 25 <= i < 31])
    return [
        # scout, two original series that differ in kernel, a larger derived one, a dose report
        (
            "DEMO0001",
            one,
            CHEST,
            [
                [make_localizer(body, identity=one)],
                chest(one, description="Thorax 4.5 B30f"),
                chest(one, series_number=3, kernel="B70f", description="Thorax 4.5 B70f"),
                make_reformat(body, SliceStack.coronal(count=64, step=4.0, **SIZE), identity=one),
                [make_dose_report(identity=one)],
            ],
        ),
        ("DEMO0002", two, OTHER_CHEST, [chest(two, stack(position="FFP", count=50))]),
        ("DEMO0003", three, CHEST, [chest(three, missing)]),  # one slice is missing
        ("DEMO0004", four, CHEST, [chest(four, stack(count=60, step=4.0))]),  # compressed
        ("DEMO0005", five, CHEST, [chest(five, SliceStack.tilted(12, count=56, step=4.5, **SIZE))]),
        ("DEMO0006", six, CHEST, [chest(six, stack(count=20, step=12))]),  # too few slices
        ("000709", seven, OTHER_CHEST, [chest(seven)]),
        ("DEMO 08/B", eight, CHEST, [make_series(short, stack(), identity=eight)]),
        ("DEMO0009", nine, CHEST, [chest(nine, irregular)]),  # six slices are missing
        (
            "DEMO0010",  # only reformats
            ten,
            CHEST,
            [make_reformat(body, SliceStack.coronal(count=40, **SIZE), identity=ten)],
        ),
        (
            "DEMO0011",  # no Hounsfield units
            eleven,
            CHEST,
            [chest(eleven, extra={"RescaleSlope": None, "RescaleIntercept": None})],
        ),
    ]


if __name__ == "__main__":
    run(main)
