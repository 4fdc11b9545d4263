"""A tree of DICOM files -> a starter reports.csv, for people who have images and no report table.

Where it is comes in the variable FROM: a path may name a patient, and a command line can be seen by
everybody.
"""

import argparse
import os
from pathlib import Path

from ctcohort.archives.starter_table import COLUMNS, starter_table, studies_in
from ctcohort.base.faults import InputError, run
from ctcohort.base.files import write_table


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", type=Path, default=Path(), help="the working directory")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    root, table = Path(os.environ.get("FROM", "")).expanduser(), options.directory / "reports.csv"
    if not os.environ.get("FROM") or not root.is_dir():
        raise InputError(
            "FROM is no folder; say where the DICOM files are: make table FROM=/data/dicom"
        )
    if table.exists():
        raise InputError(f"{table} exists; move it, or name another working directory by DIR=...")
    studies = studies_in(root, threads=options.threads)
    if not studies:
        raise InputError(
            f"no CT image was found in {root.absolute()}; expected a tree of DICOM files"
        )
    found = starter_table(studies)
    write_table(table, COLUMNS, found.rows)
    studies_found = "1 study" if len(found.rows) == 1 else f"{len(found.rows):,} studies"
    print(f"{table}: {studies_found} with CT images")
    for count, what in (
        (
            found.named_by_uid,
            "have no accession of their own; their StudyInstanceUID stands for it",
        ),
        (found.without_patient, "have no PatientID and will be left out; fill in the MRN column"),
    ):
        if count:
            print(f"  {count} {what}")
    print("next: in config.yaml, choose among the table's protocols (its study descriptions):")
    print(f"  archive: {{kind: folder, folder: {{path: {root.absolute()}}}}}")
    if found.named_by_uid:
        print("  columns: {study_uid: StudyInstanceUID}")
    print('  select: {protocols_regex: ["chest|thorax"]}')


if __name__ == "__main__":
    run(main)
