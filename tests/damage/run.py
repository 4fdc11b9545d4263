"""Damage every encoding in many ways, count what becomes of it, and look for false alarms.

``make damage`` writes the figures into docs/reliability.md. With ``--real``, the comparison of
slices with their neighbours is measured on the largest series of each folder, too.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tests.chaos.figures import write_section
from tests.real.test_plausibility import stack

from .plausibility import detected, implausible, odd_but_sound, phantom
from .sweep import ENCODINGS, Scan


def main() -> None:
    """Print the figures; fail if anything is silently wrong or a sound file is refused."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=15, help="of each damage in each encoding")
    parser.add_argument("--real", type=Path, nargs="*", default=[], help="folders of real scans")
    parser.add_argument("--write", action="store_true", help="the figures into docs/reliability.md")
    options = parser.parse_args()
    counts = {encoding: _counts(encoding, options.draws) for encoding in ENCODINGS}
    total = sum(counts.values(), Counter[tuple[bool, str]]())
    figures = {
        "damage": "\n".join(_table({**counts, "**all**": total})),
        "neighbours": "\n".join(_neighbours(options.real)),
    }
    for name, text in figures.items():
        print(text, end="\n\n")
        if options.write:
            write_section(name, text)
    sound = sum(count for (is_sound, _), count in total.items() if is_sound)
    if total[False, "wrong"] or total[True, "accepted"] != sound:
        sys.exit("a damaged file was silently wrong, or a sound one was not accepted")


def _counts(encoding: str, draws: int) -> Counter[tuple[bool, str]]:
    with tempfile.TemporaryDirectory() as folder:
        scan = Scan(encoding, Path(folder) / "scan")
        return Counter((each.sound, scan.outcome(each)) for each in scan.variants(draws))


def _table(counts: dict[str, Counter[tuple[bool, str]]]) -> Iterator[str]:
    yield "| encoding | sound: accepted | damaged | unchanged | refused | flagged | slight |" + (
        " silently wrong |"
    )
    yield "|---|---|---|---|---|---|---|---|"
    for encoding, count in counts.items():
        sound = sum(number for (is_sound, _), number in count.items() if is_sound)
        damaged = count.total() - sound
        kinds = ("accepted", "refused", "flagged", "slight", "wrong")
        cells = " | ".join(str(count[False, kind]) for kind in kinds)
        yield f"| {encoding} | {count[True, 'accepted']} of {sound} | {damaged} | {cells} |"


def _neighbours(folders: list[Path]) -> Iterator[str]:
    yield "| scan | slices | false alarms | damaged slices found | of those with two neighbours |"
    yield "|---|---|---|---|---|"
    for name, slices in odd_but_sound():
        yield f"| phantom, {name} | {len(slices)} | {len(implausible(slices))} | | |"
    for step, slices in ((2.5, phantom()), (8.0, phantom(count=33, step=8.0))):
        yield f"| phantom, {step:g} mm | {_found(slices)} |"
    for number, folder in enumerate(folders, 1):
        whole = stack(folder)
        for every in (1, 2, 3) if len(whole) > 100 else (1,):
            part = whole[::every]
            name = f"real scan {number}" + (f", one slice of {every}" if every > 1 else "")
            yield f"| {name} | {_found(part)} |"


def _found(slices: np.ndarray) -> str:
    everywhere, judged = detected(slices, 100)
    return f"{len(slices)} | {len(implausible(slices))} | {everywhere:.0%} | {judged:.0%}"


if __name__ == "__main__":
    main()
