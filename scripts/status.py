"""What exists now, at any moment: status.csv, exclusions.proposed.csv, and a summary."""

import argparse
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from ctcohort.base.faults import InputError, run
from ctcohort.base.files import write_table
from ctcohort.base.naming import name_of
from ctcohort.base.project import snakemake_on
from ctcohort.base.reasons import MEANINGS
from ctcohort.base.workdir import Workdir
from ctcohort.config.loading import load_reviews
from ctcohort.dataset import manifest
from ctcohort.dataset.lost_jobs import LostJob, record_lost_jobs
from ctcohort.dataset.progress import progress
from ctcohort.dataset.queue import queue
from ctcohort.dataset.summary import STAGES

SHOWN = 5


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", type=Path, default=Path(), help="the working directory")
    options = parser.parse_args()
    here = Workdir(options.directory)
    stopped = list(_stopped(here, record_lost_jobs(here)))
    dataset = manifest.read(here, load_reviews(here.root))
    if not dataset.cohort:
        told = "".join(f"\n{line}" for line in stopped)
        raise InputError(f"{here.cohort.absolute()}: nothing has been selected yet{told}")
    rows = list(manifest.rows(here, dataset, key=None))
    columns = (*manifest.COLUMNS, *manifest.carried_columns(dataset.cohort))
    write_table(here.status, columns, rows)
    print(f"{len(rows)} accessions")
    print("\n".join(manifest.counts(rows)))
    print("\n".join([*progress(here, dataset, rows, now=time.time()), *queue(here)]))
    print("".join(f"\n{line}\n" for line in stopped), end="")
    again = f"{snakemake_on(here.root)} --cores all"
    if {row["status_reason"] for row in rows} <= {"not_found", "no_mrn", "invalid_accession"}:
        print(
            "\nno accession was found: check the archive's path or address, columns.study_uid and"
            f" archive.accession_prefixes, then {again} --forcerun index_series"
        )
    proposed = []
    causes = defaultdict(list)
    for row in rows:
        if row["status"] != "failed":
            continue
        failure = manifest.failure_of(here, name_of(row["accession"]))
        if failure is None:
            continue
        causes[failure["reason"], failure["transient"]].append((row["accession"], failure))
        if not failure["transient"] and not failure["reason"].startswith("archive_"):
            proposed.append({"accession": row["accession"], "reason": failure["reason"]})
    write_table(here.proposed_exclusions, ("accession", "reason"), proposed)
    for (reason, transient), failed in causes.items():
        print(f"\n{len(failed)} failed: {reason} ({MEANINGS.get(reason, reason)})")
        for accession, failure in failed[:SHOWN]:
            print(f"  {accession}: {failure['message']}")
        print(
            f"  next: {again}"
            if transient
            else f"  next: fix the cause, then {again}; or copy the rows of"
            " exclusions.proposed.csv into your exclusions table"
        )


def _stopped(here: Workdir, lost: Sequence[LostJob]) -> Iterator[str]:
    """Yield what holds everything up: the archive's two files and the errors of rules that work on
    the whole cohort; and what these rules warn of.

    Parameters
    ----------
    lost : sequence of LostJob
        Jobs on the whole cohort that the scheduler ended.
    """
    ended = {job.rule: job.fault() for job in lost if job.state}
    for file in (here.archive_stop, here.archive_pause):
        if file.exists():
            cause = " ".join(file.read_text(errors="replace").split())
            yield f"{file.name} exists: {cause or 'nothing is asked until it is removed'}"
    for stage in STAGES:
        log = here.log(stage)
        text = log.read_text(errors="replace") if log.exists() else ""
        place = text.rfind("error: ")
        if stage in ended:
            yield f"{ended[stage].reason}: {ended[stage]}"
        elif place >= 0:
            yield f"{stage}: {text[place:].strip()}"
        yield from (f"{stage}: {line}" for line in text.splitlines() if line[:9] == "warning: ")


if __name__ == "__main__":
    run(main)
