"""Feed mutants to the real commands and count what they do.

    python -m tests.fuzz.run --mutants 20000 --write

No exception may go uncaught, no command may take more than 10 s of a processor or 1 GB. Mutant N
of a target draws everything from the target's name and N, so that ``--target T --only N`` repeats
one.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from tests.chaos.figures import keep_in, kept_in, write_section

from .forked import Step, commands
from .targets import Fuzz

MAX_SECONDS = 10.0
MAX_MEGABYTES = 1000.0

SHARES = {
    "DICOM files": 40,
    "DICOM JSON": 12,
    "multipart replies": 8,
    "C-FIND identifiers": 8,
    "report tables": 14,
    "exclusions and merged MRNs": 6,
    "reviews": 8,
    "config": 4,
}
"""Of a hundred mutants."""

PART = 500
"""Mutants that one job takes at a time."""


@dataclass(frozen=True)
class Result:
    """The commands that one mutant went through."""

    target: str
    number: int
    steps: list[Step]

    @property
    def complaints(self) -> list[str]:
        """What no command may do."""
        found = []
        for step in self.steps:
            if step.uncaught or "Traceback (most recent call last)" in step.output:
                found.append(step.uncaught or step.output[-3000:])
            if step.status < 0:
                found.append(f"ended by signal {-step.status}")
            if step.status > 0 and not step.output.strip() and not step.uncaught:
                found.append("failed without a word")
            if step.seconds > MAX_SECONDS:
                found.append(f"took {step.seconds:.1f} s")
            if step.megabytes > MAX_MEGABYTES:
                found.append(f"took {step.megabytes:.0f} MB")
        return found


def of_hundred(number: int) -> str:
    """The target of mutant `number`; any hundred in a row have the shares of `SHARES`."""
    place = number * 37 % 100
    for target, share in SHARES.items():
        if place < share:
            return target
        place -= share
    raise AssertionError


def results(scratch: Path, numbers: list[int], only: str = "") -> Iterator[Result]:
    """Every mutant's result."""
    scratch.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        run = stack.enter_context(commands(scratch))
        fuzz = Fuzz(scratch, run, stack)
        for number in numbers:
            target = only or of_hundred(number)
            folder = scratch / f"mutant-{number}"
            folder.mkdir()
            choice = random.Random(f"{target} {number}")
            steps = list(getattr(fuzz, Fuzz.targets[target])(folder, choice))
            result = Result(target, number, steps)
            if not result.complaints:
                shutil.rmtree(folder)
            yield result


def part_of(scratch: Path, only: str, end: float, numbers: list[int]) -> list[Result]:
    """The results of some mutants, until `end` of `time.time`.

    A process of its own: what mutates the answers of the server replaces a function of pynetdicom.
    """
    warnings.simplefilter("ignore")  # pydicom's, of what mutants hold
    found = []
    if time.time() < end:
        for result in results(scratch / f"from-{numbers[0]}", numbers, only):
            found.append(result)
            if time.time() > end:
                break
    return found


def table(found: list[Result]) -> str:
    """The figures as Markdown."""
    lines = [
        f"{len(found)} of the 20,000 mutants of `make fuzz`, Python {platform.python_version()},"
        f" {platform.system()}.",
        "",
        "| what is parsed | mutants | commands run | refused with a message | unhandled |"
        " most CPU seconds | most MB |",
        "|---|---|---|---|---|---|---|",
    ]
    for target in (*SHARES, "**all**"):
        own = [result for result in found if target in (result.target, "**all**")]
        steps = [step for result in own for step in result.steps]
        if steps:
            lines.append(
                f"| {target} | {len(own)} | {len(steps)} | {sum(s.status > 0 for s in steps)} |"
                f" {sum(bool(r.complaints) for r in own)} | {max(s.seconds for s in steps):.1f} |"
                f" {max(s.megabytes for s in steps):.0f} |"
            )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutants", type=int, default=20000)
    parser.add_argument("--first", type=int, default=0, help="number of the first mutant")
    parser.add_argument(
        "--resume", type=Path, help="keep results in this file; those in it are not tried again"
    )
    parser.add_argument("--target", default="", choices=[*SHARES, ""], help="this target alone")
    parser.add_argument("--only", type=int, nargs="*", help="numbers of mutants")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="so many at once")
    parser.add_argument("--minutes", type=float, help="end after so many")
    parser.add_argument("--scratch", type=Path, help="kept; else a temporary folder")
    parser.add_argument("--write", action="store_true", help="the figures into docs/reliability.md")
    options = parser.parse_args()
    numbers = options.only or list(range(options.first, options.first + options.mutants))
    scratch = options.scratch or Path(tempfile.mkdtemp(prefix="fuzz-"))
    known = set()
    found = [
        Result(kept["target"], kept["number"], [Step(**step) for step in kept["steps"]])
        for kept in kept_in(options.resume)
    ]
    done = {(result.target, result.number) for result in found}
    left = [n for n in numbers if (options.target or of_hundred(n), n) not in done]
    parts = [left[first : first + PART] for first in range(0, len(left), PART)]
    end = time.time() + 60 * options.minutes if options.minutes else float("inf")
    work = partial(part_of, scratch, options.target, end)
    with ProcessPoolExecutor(options.jobs, get_context("spawn")) as pool:
        for part in pool.map(work, parts):
            found += part
            print(f"{len(found)} of {len(numbers)}", file=sys.stderr, flush=True)
            for result in part:
                if options.resume:
                    keep_in(options.resume, asdict(result))
                for complaint in result.complaints:
                    kind = "".join(complaint.splitlines()[-3:])
                    if kind not in known:
                        known.add(kind)
                        print(f"{result.target} {result.number}: {complaint}", flush=True)
    print(table(found))
    if options.write:
        write_section("fuzz", table(found))
    bad = sum(bool(result.complaints) for result in found)
    if bad:
        sys.exit(f"{bad} of {len(found)} mutants were not handled; see {scratch}")
    if not options.scratch:
        shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
