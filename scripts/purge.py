"""List, and asked again delete, all that is about an accession or a patient who has withdrawn.

Who it is comes in the variable ACCESSION or MRN: a command line can be seen by everybody.
"""

import argparse
import os
from datetime import UTC, datetime
from pathlib import Path

from ctcohort.base.faults import InputError, run
from ctcohort.base.files import assert_no_run, delete, read_table
from ctcohort.base.workdir import Workdir
from ctcohort.cohort.exclusions import read_exclusions
from ctcohort.cohort.merged_mrns import read_merged_mrns
from ctcohort.dataset.removal import (
    accessions_of,
    files_of,
    forget,
    is_known,
    size_of,
    studies_of,
)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--directory", type=Path, default=Workdir().root, help="the working directory"
    )
    parser.add_argument("--exclusions", default="", help="the exclusions table, if there is one")
    parser.add_argument("--merged-mrns", default="", help="the table of merged MRNs, if any")
    parser.add_argument(
        "--delete",
        action="store_true",
        default=os.environ.get("DELETE") == "yes",
        help="delete what is listed; also asked for by the variable DELETE=yes",
    )
    options = parser.parse_args()
    here = Workdir(options.directory)
    assert_no_run(here)
    merged = read_merged_mrns(Path(options.merged_mrns) if options.merged_mrns else None)
    accessions = _asked_for(here, merged)
    print(f"accessions: {', '.join(sorted(accessions))}")
    files = files_of(here, accessions)
    for path in files:
        print(f"  {os.path.relpath(path, here.root)}")
    print(f"{len(files)} files and folders, {sum(map(size_of, files)) / 1e9:.2f} GB")
    if any(path.is_symlink() for path in files):
        print("these are links of a merged data set: purge in every part too")
    if not options.delete:
        print("DELETE=yes deletes them, and takes the accessions out of tables, stores and logs")
        return
    _refuse_what_would_return(options, accessions, merged)
    studies = studies_of(here, accessions)
    for path in files:
        delete(path)
    for name in forget(here, accessions, studies):
        print(f"  taken out of {name}")
    log = here.log("purge")
    with open(log, "a", encoding="utf-8") as stream:
        moment = datetime.now(UTC).isoformat(timespec="seconds")
        stream.write(f"{moment} {len(accessions)} accessions, {len(files)} files deleted\n")
    print(
        "deleted. Yours to edit: the report table and your other tables (exclusions, reviews,"
        " merged_mrns); the archive; copies elsewhere; and release/, by `make release`"
    )


def _asked_for(here: Workdir, merged: dict[str, str]) -> set[str]:
    accession, mrn = os.environ.get("ACCESSION", ""), os.environ.get("MRN", "")
    if bool(accession) == bool(mrn):
        raise InputError(
            "say who, by one of the two: make purge ACCESSION=... or make purge MRN=..."
        )
    found = {accession} if accession else set(accessions_of(here, mrn, merged))
    if not found:
        raise InputError(
            "cohort.csv has no accession of this MRN; expected it as in the report table. If its"
            " rows have left the table, purge each accession by ACCESSION"
        )
    if not is_known(here, found):
        raise InputError(f"nothing is known of accession {accession}; check its spelling")
    return found


def _refuse_what_would_return(
    options: argparse.Namespace, accessions: set[str], merged: dict[str, str]
) -> None:
    """The next run would fetch again what is still wanted."""
    left_out, patients = read_exclusions(
        Path(options.exclusions) if options.exclusions else None, merged
    )
    cohort = Workdir(options.directory).cohort
    wanted = [
        row["accession"]
        for row in (read_table(cohort) if cohort.exists() else ())
        if row["accession"] in accessions - left_out and row["patient_mrn"] not in patients
    ]
    if wanted:
        raise InputError(
            f"{', '.join(wanted)}: still wanted, so the next run would fetch it again; first list"
            " it in the exclusions table"
        )


if __name__ == "__main__":
    run(main)
