"""accessions.txt -> series.csv: ask the archive, judge every candidate series on its headers."""

import argparse
import json
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

from ctcohort.archives.opening import open_archive
from ctcohort.archives.protocol import Archive
from ctcohort.base.faults import InputError, run
from ctcohort.base.files import read_lines, read_table, write_table
from ctcohort.base.workdir import Workdir
from ctcohort.cohort.exclusions import read_exclusions
from ctcohort.cohort.merged_mrns import read_merged_mrns
from ctcohort.config.settings import SeriesSettings, VolumeSettings, parse
from ctcohort.dataset.manifest import COHORT
from ctcohort.series import cache, series_table
from ctcohort.series.forecast import forecast
from ctcohort.series.index import blank_row, patients_of, query_of, rows_of

PROGRESS_SECONDS = 30

_Row = dict[str, object]
_Event = dict[str, str]


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("accessions", type=Path)
    parser.add_argument("cohort", type=Path)
    parser.add_argument("--exclusions", default="", help="the exclusions table, if there is one")
    parser.add_argument("--merged-mrns", default="", help="the table of merged MRNs, if any")
    parser.add_argument("--archive", required=True, help="JSON of the config's archive")
    parser.add_argument("--series", required=True, help="canonical JSON of the config's series")
    parser.add_argument("--limits", required=True, help="canonical JSON of the limits in volume")
    parser.add_argument("--raw", default="keep", help="the config's raw: keep or delete")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--connections", type=int, default=1, help="at once, to an archive over the network"
    )
    parser.add_argument("--series-table", type=Path, required=True)
    options = parser.parse_args()
    settings = json.loads(options.archive)
    cohort = list(read_table(options.cohort, COHORT))
    if [row["accession"] for row in cohort] != read_lines(options.accessions):
        raise InputError(
            f"{options.cohort} and {options.accessions} name different accessions; delete"
            f" {options.cohort} and {options.accessions} and run again"
        )
    left_out, left_out_patients = read_exclusions(
        Path(options.exclusions) if options.exclusions else None,
        read_merged_mrns(Path(options.merged_mrns) if options.merged_mrns else None),
    )
    key = cache.patient_key()
    warn_of_strangers(options.exclusions, cohort, left_out, left_out_patients)
    series, volume = (
        parse(options.series, SeriesSettings),
        parse(options.limits, VolumeSettings),
    )

    def rows_for(event: _Event, archive: Archive) -> Iterable[_Row]:
        accession = event["accession"]
        if accession in left_out or event["patient_mrn"] in left_out_patients:
            return [blank_row(accession, "excluded_by_user")]
        if event["problem"]:
            return [blank_row(accession, event["problem"])]
        return rows_of(
            accession,
            query_of(event, settings["accession_prefixes"]),
            patients=patients_of(event, check=settings["check_patient"], key=key),
            archive=archive,
            series=series,
            volume=volume,
        )

    connections = 1 if settings["kind"] == "folder" else options.connections
    archives = [open_archive(settings, store=Workdir().store, key=key) for _ in range(connections)]
    archives[0].prepare(threads=options.threads)
    rows = [
        row for several in told(each(cohort, archives, rows_for), len(cohort)) for row in several
    ]
    write_table(options.series_table, series_table.COLUMNS, rows, sealed=True)
    lines = forecast(rows, settings, keep_raw=options.raw == "keep")
    print("\n".join(lines), file=sys.stderr)


def warn_of_strangers(path: str, cohort: list[_Event], names: set[str], patients: set[str]) -> None:
    """One line on rows of the exclusions that match nothing: they may be misspelt."""
    unknown = len(names - {row["accession"] for row in cohort})
    unknown += len(patients - {row["patient_mrn"] for row in cohort})
    if unknown:
        print(
            f"warning: {path}: {unknown} of {len(names) + len(patients)} accessions and MRNs match"
            " nothing in the cohort; check their spelling, unless another part or selection has"
            " them",
            file=sys.stderr,
        )


def each(
    cohort: list[_Event],
    archives: list[Archive],
    rows_for: Callable[[_Event, Archive], Iterable[_Row]],
) -> Iterator[list[_Row]]:
    """The rows of each accession in turn; as many are asked for at once as there are archives."""
    free: SimpleQueue[Archive] = SimpleQueue()
    for archive in archives:
        free.put(archive)

    def work(event: _Event) -> list[_Row]:
        archive = free.get()
        try:
            return list(rows_for(event, archive))
        finally:
            free.put(archive)

    if len(archives) == 1:
        yield from map(work, cohort)
        return
    _end_at_once_when_told()
    with ThreadPoolExecutor(len(archives)) as pool:
        yield from pool.map(work, cohort)


def _end_at_once_when_told() -> None:
    """Leave INT and TERM to the system, as KILL is. Python's own way is an exception in the main
    thread, which then waits for its other threads: and these may be waiting for the archive's
    hours. Every answer is kept as it arrives, so nothing is lost."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


def told(results: Iterator[list[_Row]], total: int) -> Iterator[list[_Row]]:
    """`results`, with a line on progress now and then; what the store answers is quick, so the time
    to go is judged by the pace since the last line."""
    last, before = time.monotonic(), 0
    for number, result in enumerate(results, 1):
        yield result
        now = time.monotonic()
        if now - last > PROGRESS_SECONDS:
            left = (now - last) / (number - before) * (total - number)
            print(f"{number} of {total} accessions, {left:.0f} s to go", file=sys.stderr)
            last, before = now, number


if __name__ == "__main__":
    run(main)
