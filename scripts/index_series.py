"""accessions.txt -> series.csv: ask the archive, judge every candidate series on its headers."""

import argparse
import json
import sys
import time
from pathlib import Path

from ctcohort import answers, ledger
from ctcohort.archives import open_archive
from ctcohort.faults import InputError, run
from ctcohort.files import read_table, write_table
from ctcohort.forecast import forecast
from ctcohort.indexing import blank_row, patients_of, query_of, rows_of
from ctcohort.reports import read_exclusions, read_merged_mrns
from ctcohort.settings import SeriesRules, VolumeRules, parse

PROGRESS_SECONDS = 30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("accessions", type=Path)
    parser.add_argument("cohort", type=Path)
    parser.add_argument("--exclusions", default="", help="the exclusions table, if there is one")
    parser.add_argument("--merged-mrns", default="", help="the table of merged MRNs, if any")
    parser.add_argument("--archive", required=True, help="JSON of the config's archive")
    parser.add_argument("--series", required=True, help="canonical JSON of the config's series")
    parser.add_argument("--verdict", required=True, help="canonical JSON of part of volume")
    parser.add_argument("--raw", default="keep", help="the config's raw: keep or delete")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--ledger", type=Path, required=True)
    options = parser.parse_args()
    settings = json.loads(options.archive)
    cohort = list(read_table(options.cohort))
    if [row["accession"] for row in cohort] != options.accessions.read_text().splitlines():
        raise InputError(
            f"{options.cohort} and {options.accessions} name different accessions; delete both and"
            " run again"
        )
    left_out, left_out_patients = read_exclusions(
        Path(options.exclusions) if options.exclusions else None,
        read_merged_mrns(Path(options.merged_mrns) if options.merged_mrns else None),
    )
    key = answers.patient_key()
    archive = open_archive(settings, store=answers.STORE, key=key)
    archive.prepare(threads=options.threads)
    series, volume = parse(options.series, SeriesRules), parse(options.verdict, VolumeRules)
    rows: list[dict[str, object]] = []
    started = told = time.monotonic()
    for number, event in enumerate(cohort, 1):
        accession = event["accession"]
        if accession in left_out or event["patient_mrn"] in left_out_patients:
            rows.append(blank_row(accession, "excluded_by_user"))
        elif event["problem"]:
            rows.append(blank_row(accession, event["problem"]))
        else:
            rows += rows_of(
                accession,
                query_of(event, settings["accession_prefixes"]),
                patients=patients_of(event, check=settings["check_patient"], key=key),
                archive=archive,
                series=series,
                volume=volume,
            )
        now = time.monotonic()
        if now - told > PROGRESS_SECONDS:
            told = now
            left = (now - started) / number * (len(cohort) - number)
            print(f"{number} of {len(cohort)} accessions, {left:.0f} s to go", file=sys.stderr)
    write_table(options.ledger, ledger.COLUMNS, rows)
    lines = forecast(rows, settings, keep_raw=options.raw == "keep")
    print("\n".join(lines), file=sys.stderr)


if __name__ == "__main__":
    run(main)
