"""Everything that was made -> manifest.csv: one row per line of accessions.txt."""

import argparse
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from ctcohort.base.faults import InputError, run
from ctcohort.base.files import read_lines, write_lines, write_table
from ctcohort.base.naming import name_of
from ctcohort.base.privacy import private_key
from ctcohort.base.text import some
from ctcohort.base.workdir import Workdir
from ctcohort.cohort.reviews import strangers
from ctcohort.dataset import manifest
from ctcohort.volume.record import ScanRecord


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("accessions", type=Path)
    parser.add_argument("--key-file", default="")
    parser.add_argument("--reviews", default="", help="the reviews table, if there is one")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    here = Workdir()
    reviews = Path(options.reviews) if options.reviews else None
    dataset = manifest.read(here, reviews)
    key = private_key(options.key_file, here.key_fingerprint)
    rows = list(manifest.rows(here, dataset, key=key))
    _assert_complete(read_lines(options.accessions), rows, here)
    manifest.assert_distinct(rows)
    columns = (*manifest.COLUMNS, *manifest.carried_columns(dataset.cohort))
    write_table(options.output, columns, rows, sealed=True)
    print("\n".join(manifest.counts(rows)), file=sys.stderr)
    if reviews and (warning := strangers(dataset.reviews, dataset.accessions, reviews)):
        print(warning, file=sys.stderr)


def _assert_complete(accessions: list[str], rows: list[dict[str, Any]], here: Workdir) -> None:
    if accessions != [row["accession"] for row in rows]:
        raise InputError(
            "accessions.txt and cohort.csv name different accessions; delete accessions.txt and"
            " cohort.csv and run again"
        )
    silent = [row["accession"] for row in rows if row["status_reason"] == "no_answer"]
    if silent:
        write_lines(here.ask_again, map(str, silent))
        raise InputError(
            f"the archive did not answer for {len(silent)} of {len(rows)} accessions"
            f" ({some(silent)}); the manifest is not written. Run the same command again: only"
            " those are asked for"
        )
    undone = [row["accession"] for row in rows if row["status"] not in ("included", "excluded")]
    if undone:
        for accession in undone:
            with suppress(FileNotFoundError):
                ScanRecord.read(here.record(name_of(accession)))  # says what to delete if damaged
        raise InputError(
            f"{len(undone)} of {len(rows)} accessions are not finished ({some(undone)});"
            " see `make status`"
        )


if __name__ == "__main__":
    run(main)
