"""Report table -> accessions.txt, protocols.csv, cohort.csv: which scans are wanted."""

import argparse
import json
import sys
from pathlib import Path

from ctcohort.base.faults import InputError, run
from ctcohort.base.files import write_lines, write_table
from ctcohort.base.naming import one_line
from ctcohort.cohort.merged_mrns import read_merged_mrns
from ctcohort.cohort.selection import select
from ctcohort.config.settings import SelectSettings, parse, partition_of
from ctcohort.dataset import manifest, merging


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("reports", type=Path)
    parser.add_argument("--columns", required=True, help="canonical JSON: columns, and the sheet")
    parser.add_argument("--select", required=True, help="canonical JSON of the config's select")
    parser.add_argument("--merged-mrns", default="", help="the table of merged MRNs, if any")
    parser.add_argument("--partition", default="", help="K/N")
    parser.add_argument("--accessions", type=Path, required=True)
    parser.add_argument("--protocols", type=Path, required=True)
    parser.add_argument("--cohort", type=Path, required=True)
    options = parser.parse_args()
    columns = json.loads(options.columns)
    carry = columns.get("carry", ())
    clash = sorted(set(carry) & {*manifest.COHORT, *manifest.COLUMNS})
    if clash:
        raise InputError(
            f"columns.carry: {', '.join(clash)} is a column of the workflow's own; rename it in the"
            " report table"
        )
    partition = partition_of(options.partition)
    found = select(
        options.reports,
        columns,
        parse(options.select, SelectSettings),
        merged=read_merged_mrns(Path(options.merged_mrns) if options.merged_mrns else None),
        partition=partition,
    )
    write_table(
        options.protocols,
        ("protocol", "rows", "selected"),
        (
            {"protocol": protocol, "rows": count, "selected": protocol in found.selected_protocols}
            for protocol, count in found.protocols.most_common()
        ),
        sealed=True,
    )
    write_table(
        options.cohort,
        (*manifest.COHORT, *carry),
        (
            {
                "accession": one_line(event.accession),
                "mrn": event.mrn,
                "patient_mrn": event.patient_mrn,
                "study_uid": event.study_uid,
                "split": event.split,
                "problem": event.problem,
                **dict(zip(carry, event.carried, strict=True)),
            }
            for event in found.wanted
        ),
        sealed=True,
    )
    if options.partition:
        merging.keep(partition, [one_line(accession) for accession in found.whole])
    accessions = (one_line(event.accession) for event in found.wanted)
    write_lines(options.accessions, accessions, sealed=True)
    print(f"{len(found.wanted)} accessions selected", file=sys.stderr)


if __name__ == "__main__":
    run(main)
