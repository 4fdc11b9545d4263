"""Inject faults into a small hospital and count what becomes of them.

    python -m tests.chaos.run --injections 500 --write

Trial number N draws everything that is random from N, so that ``--only N`` repeats one.
"""

from __future__ import annotations

import argparse
import platform
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from tests.workflow.conftest import make_hospital

from . import injections, trials
from .figures import keep_in, kept_in, write_section

Trial = Callable[[trials.Hospital, int, Path, random.Random], trials.Outcome]


def trial_of(number: int) -> Trial:
    """Of every ten: seven damages, two interruptions, one disk."""
    return {7: trials.interruption, 8: trials.interruption, 9: trials.disk}.get(
        number % 10, trials.damage
    )


def one(hospital: trials.Hospital, number: int, scratch: Path) -> trials.Outcome:
    """Trial `number`; what it made is deleted if it ended well."""
    folder = scratch / f"trial-{number}"
    outcome = trial_of(number)(hospital, number, folder, random.Random(number))
    if outcome.verdict not in trials.BAD:
        shutil.rmtree(folder, ignore_errors=True)
    return outcome


def outcomes(
    numbers: list[int], scratch: Path, *, jobs: int, minutes: float | None = None
) -> Iterator[trials.Outcome]:
    """Every trial's outcome, as it ends; none begins after so many minutes."""
    if not numbers:
        return
    fresh = scratch / "fresh"
    fresh.mkdir(parents=True)
    make_hospital(fresh)
    hospital = trials.Hospital(scratch / "reference", fresh)
    end = time.monotonic() + 60 * minutes if minutes else float("inf")

    def until_the_end(number: int) -> trials.Outcome | None:
        return one(hospital, number, scratch) if time.monotonic() < end else None

    with ThreadPoolExecutor(jobs) as pool:
        yield from filter(None, pool.map(until_the_end, numbers))


def table(found: list[trials.Outcome]) -> str:
    """The figures as Markdown: what was injected, and what became of it."""
    verdicts = (trials.HEALED, trials.TOLD, trials.SILENT, trials.TRACEBACK, trials.NO_WAY_BACK)
    groups: dict[str, Counter[str]] = {}
    for outcome in found:
        groups.setdefault(group_of(outcome.fault), Counter())[outcome.verdict] += 1
    total: Counter[str] = Counter(outcome.verdict for outcome in found)
    lines = [
        f"{len(found)} of the 500 faults of `make chaos`, Python {platform.python_version()},"
        f" {platform.system()}.",
        "",
        "| fault | injected | healed by the same command | healed after what one line says |"
        " not noticed | stack trace | no way back |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, counts in [*sorted(groups.items()), ("**all**", total)]:
        cells = [str(counts[verdict]) for verdict in verdicts]
        lines.append(f"| {name} | {counts.total()} | {' | '.join(cells)} |")
    return "\n".join(lines)


def group_of(fault: str) -> str:
    """The kind of a fault, without where and when."""
    for kind in (*injections.INTERRUPTIONS, *injections.UPHEAVALS, injections.TOGETHER):
        if fault.startswith(kind):
            return kind
    for kind in (injections.FULL, injections.READ_ONLY):
        if fault.startswith(kind):
            return f"{kind} during a run"
    path = fault.split()[0]
    folder = path.split("/")[0] if "/" in path else "a table"
    return f"{folder}: damaged between runs"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--injections", type=int, default=500)
    parser.add_argument("--first", type=int, default=0, help="number of the first trial")
    parser.add_argument(
        "--resume", type=Path, help="keep outcomes in this file; those in it are not tried again"
    )
    parser.add_argument("--only", type=int, nargs="*", help="numbers of trials")
    parser.add_argument("--jobs", type=int, default=2, help="trials at once")
    parser.add_argument("--minutes", type=float, help="begin no trial after so many")
    parser.add_argument("--scratch", type=Path, help="kept; else a temporary folder")
    parser.add_argument("--write", action="store_true", help="the figures into docs/reliability.md")
    options = parser.parse_args()
    numbers = options.only or list(range(options.first, options.first + options.injections))
    scratch = options.scratch or Path(tempfile.mkdtemp(prefix="chaos-"))
    found = [trials.Outcome(**kept) for kept in kept_in(options.resume)]
    left = [number for number in numbers if number not in {each.number for each in found}]
    for outcome in outcomes(left, scratch, jobs=options.jobs, minutes=options.minutes):
        found.append(outcome)
        if options.resume:
            keep_in(options.resume, asdict(outcome))
        print(f"{outcome.number:4d} {outcome.seconds:5.1f} s  {outcome.verdict}: {outcome.fault}")
        if outcome.verdict in trials.BAD:
            print("\n".join(f"       {line}" for line in "\n".join(outcome.said).splitlines()))
        sys.stdout.flush()
    print(table(found))
    if options.write:
        write_section("chaos", table(found))
    bad = sum(outcome.verdict in trials.BAD for outcome in found)
    if not options.scratch and not bad:
        shutil.rmtree(scratch)
    if bad:
        sys.exit(f"{bad} of {len(found)} faults were not handled; see {scratch}")


if __name__ == "__main__":
    main()
