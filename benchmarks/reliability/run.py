"""What becomes of damaged files, in every encoding: docs/reliability.md.

    .venv/bin/python -m benchmarks.reliability.run [--draws 15] [--real FOLDER ...]

Damages are drawn anew in every encoding from one seed. With ``--real``, the comparison of slices
with their neighbours is measured on the largest series of each folder, too.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.damage.plausibility import detected, implausible, odd_but_sound, phantom
from tests.damage.sweep import ENCODINGS, LARGEST, SEED, SIZE, SLICES, Scan
from tests.real.test_plausibility import stack

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"

TEXT = """\
# Sound files are read, damaged ones are caught

Made by `python -m benchmarks.reliability.run`. One slice of a phantom scan of {slices} slices
({size} x {size}) is written in the odd ways of real writers, or damaged, and the scan goes the way
of every download: each file is checked, then the volume is made.

*Sound* files have bytes after the end of a stream or of an RLE segment, no end marker, offset
tables that are wrong, too long or left out, sequence delimiters that are missing, cut off, zeros or
endless, an explicit length, several fragments. *Damaged* files had 16 to {largest:,} bytes of their
pixel data (or all to the end) overwritten with zeros, FF, random bytes or another piece, dropped,
inserted, doubled or cut off; where and how much is drawn from a seed ({seed}).

- *unchanged*: the damage hit nothing that matters, and the volume is the same;
- *refused*: no volume; the job fails with the name of the file;
- *flagged*: a volume with the flag `slice_implausible` and the position of the slice;
- *slight*: a volume in which at most 5 % of the slice's pixels are off by more than 100 HU, without
  a flag;
- *silently wrong*: a volume in which more are, without a flag.

{table}

No structure proves that uncompressed pixels are the ones that were written, and the
arithmetic-coded bytes of JPEG 2000 carry no redundancy: there, what is overwritten without a change
of length is seen against the neighbours, or is slight. This is about files that are damaged in the
archive or before; what changes after the download is found by checksum in every encoding.

## Slices against their neighbours

Each slice but the first and the last is compared with its two neighbours
([method](method.md), rule 16). A slice that alone was taken in another position of the body
contradicts its neighbours, too. False alarms on sound scans, and the share of single damaged slices
that is found where more than 5 % of the pixels are off by more than 100 HU. The first and the last
slice, which are not judged, are among the damaged ones: in short scans they weigh more.

{neighbours}
"""


def main() -> None:
    """Write the page; fail if anything is silently wrong or a sound file is refused."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=15, help="of each damage in each encoding")
    parser.add_argument("--real", type=Path, nargs="*", default=[], help="folders of real scans")
    options = parser.parse_args()
    counts = {encoding: _counts(encoding, options.draws) for encoding in ENCODINGS}
    total = sum(counts.values(), Counter[tuple[bool, str]]())
    page = TEXT.format(
        slices=SLICES,
        size=SIZE,
        largest=LARGEST,
        seed=SEED,
        table="\n".join(_table({**counts, "**all**": total})),
        neighbours="\n".join(_neighbours(options.real)),
    )
    PAGE.write_text(page, encoding="utf-8")
    print(page)
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
    yield "| scan | slices | false alarms | damaged slices found |"
    yield "|---|---|---|---|"
    for name, slices in odd_but_sound():
        yield f"| phantom, {name} | {len(slices)} | {len(implausible(slices))} | |"
    for step, slices in ((2.5, phantom()), (8.0, phantom(count=33, step=8.0))):
        yield f"| phantom, {step:g} mm | {len(slices)} | 0 | {detected(slices, 100):.0%} |"
    for number, folder in enumerate(folders, 1):
        whole = stack(folder)
        for every in (1, 2, 3) if len(whole) > 100 else (1,):
            part = whole[::every]
            name = f"real scan {number}" + (f", one slice of {every}" if every > 1 else "")
            yield (
                f"| {name} | {len(part)} | {len(implausible(part))} | {detected(part, 100):.0%} |"
            )


if __name__ == "__main__":
    main()
