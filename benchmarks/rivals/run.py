"""The cases of the torture suite through other readers and through ours, against the truth.

    .venv/bin/python -m benchmarks.rivals.run [--keep]

Each reader runs in a virtual environment of its own (``benchmarks/rivals/.venv-<reader>``, made
when it is not there). What it writes is measured in patient space, like ours: markers within half
a slice of where the phantom has them, all of them, and Hounsfield units inside known tissue. With
`--keep` other readers, whose versions are pinned, run only on cases that the page does not have
yet, and ours on all. The result is `docs/rivals.md`.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import venv
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from tests.torture.cases import CASES, INTERIOR, Case
from tests.torture.flow import (
    covered,
    hu_at,
    judged,
    ledger_rows,
    marker_error,
    series_rules,
    volume_of,
    volume_rules,
    write_case,
)

from ctcohort.base.faults import Fault
from ctcohort.base.reasons import SELECTED
from ctcohort.phantoms.anatomy import Phantom
from ctcohort.volume.build import Volume

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "rivals.md"
READERS = {
    "SimpleITK": "simpleitk",
    "dcm2niix": "dcm2niix",
    "dicom2nifti": "dicom2nifti",
    "dicom-numpy": "dicom_numpy",
}
OURS = "ct-cohort"
SECONDS = 120

PLACE_MM = 2.0
"""Half of the slice spacing of most cases."""
HU = 12.0
"""How far tissue may be off: rounding of coarse stored values, and edges of thick slices."""

RIGHT, REFUSED, WRONG = "right", "refused", "**silently wrong**"

INTRODUCTION = """\
# How other readers fare on the same cases

Made by `python -m benchmarks.rivals.run`; the cases and their truth are those of `tests/torture`.
*Right*: every marker of the phantom is within {place:g} mm of where the patient has it, and tissue
has its Hounsfield units. *Refused*: no volume, or an error. *Silently wrong*: a volume, without an
error, in which that does not hold. Where a reader writes several files, its best one counts.
A volume of ours that was excluded carries the reason that `series.csv` gives.

{totals}

## Where another reader is right and ours refuses

On purpose, because being right here is luck, or because the data set is one of axial chest scans:

- `not_axial`: reslices, obliques beyond 10 degrees and stacks along other axes are right in other
  readers too; ours collects axial scans, so that every volume has the same axes.
- `too_irregular`: others place slices by an average, or put them into several files; ours refuses
  what its policy would displace by more than `volume.max_z_error_mm`. With `irregular_spacing:
  positions` most of them are taken.
- `spectral`, `derived`, `derived_lossy`, `secondary`, `localizer`: the geometry is right, but the
  voxels are not the Hounsfield units of the original scan (`series.kinds`, `allow_lossy` decide).
- `no_rescale`, `not_hounsfield`, `unreadable_header`: the phantom's stored values happen to mean
  HU; nothing in the header says so.
- `ambiguous_study`, `patient_mismatch`, `conflicting_instances`, `unequal_duplicates`,
  `mixed_geometry`: the reader's choice among contradicting files happened to be the good one.
- `truncated_file`, `no_pixel_data`, `no_geometry`: what is damaged or missing was passed over or
  guessed, and what is measured here happened to lie elsewhere. `too_few_slices` is a rule of the
  data set.
- `undecodable_pixels`: pixels longer than Rows and Columns describe are right if Rows is wrong, and
  sheared if Columns is; padding that has two values is any of them.
- `too_few_bits`: 8 bits are coarse, and label masks have as many (`series.allow_few_bits`).
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keep", action="store_true", help="what the page has of other readers")
    known = _known() if parser.parse_args().keep else {}
    names = [name for name, case in CASES.items() if not case.series and not case.volume]
    rows = []
    totals = {reader: Counter[str]() for reader in (*READERS, OURS)}
    interpreters = {reader: _interpreter(name) for reader, name in READERS.items()}
    for name in names:
        with tempfile.TemporaryDirectory() as place:
            results = _results(CASES[name], Path(place), interpreters, known.get(name))
        rows.append(f"| {name.replace('_', ' ')} | " + " | ".join(results.values()) + " |")
        for reader, result in results.items():
            totals[reader][result.split(":")[0].split(" (")[0]] += 1
        print(rows[-1], flush=True)
    summary = [
        "| | " + " | ".join(totals) + " |",
        "|---" * (len(totals) + 1) + "|",
        *(
            f"| {kind} | " + " | ".join(str(total[kind]) for total in totals.values()) + " |"
            for kind in (RIGHT, REFUSED, WRONG)
        ),
    ]
    page = [
        INTRODUCTION.format(place=PLACE_MM, totals="\n".join(summary)),
        "| case | " + " | ".join(totals) + " |",
        "|---" * (len(totals) + 1) + "|",
        *rows,
    ]
    PAGE.write_text("\n".join(page) + "\n")
    if totals[OURS][WRONG]:
        sys.exit(f"{totals[OURS][WRONG]} of our volumes are silently wrong")


def _interpreter(name: str) -> Path:
    """Python of the reader's own environment."""
    place = HERE / f".venv-{name}"
    python = place / "bin" / "python"
    if not python.exists():
        venv.create(place, with_pip=True)
        needed = HERE / "readers" / f"{name}.txt"
        subprocess.run([python, "-m", "pip", "install", "-q", "-r", needed], check=True)
    return python


def _known() -> dict[str, dict[str, str]]:
    """What the page has of other readers, by case."""
    cells = (line.strip("| \n").split(" | ") for line in PAGE.read_text().splitlines())
    return {
        name.replace(" ", "_"): dict(zip(READERS, results, strict=False))
        for name, *results in cells
        if len(results) == len(READERS) + 1
    }


def _results(
    case: Case, folder: Path, interpreters: dict[str, Path], known: dict[str, str] | None
) -> dict[str, str]:
    write_case(case, folder)
    ours, markers = _ours(case, folder)
    if known:
        return known | {OURS: ours}
    results = {}
    for reader, python in interpreters.items():
        target = folder / "out" / READERS[reader]
        target.mkdir(parents=True)
        source = folder / "copy"
        shutil.copytree(folder / "archive", source)
        script = HERE / "readers" / f"read_{READERS[reader]}.py"
        try:
            done = subprocess.run(
                [python, script, source, target], capture_output=True, timeout=SECONDS, check=False
            )
            refused = done.returncode != 0
        except subprocess.TimeoutExpired:
            refused = True
        shutil.rmtree(source)
        results[reader] = REFUSED if refused else _best(target, case, markers)
    return results | {OURS: ours}


def _ours(case: Case, folder: Path) -> tuple[str, set[str]]:
    """Our result, and the markers that the scan shows: those of our volume, else all."""
    everything = {marker.name for marker in case.phantom.markers}
    rules = volume_rules()
    reasons = {str(row["reason"]) for row in ledger_rows(folder, series_rules(), rules)}
    if SELECTED not in reasons:
        return f"{REFUSED}: {case.verdict}", everything
    try:
        volume, _ = volume_of(judged(folder, series_rules(), rules), folder, rules)
    except Fault as fault:
        return f"{REFUSED}: {fault.reason}", everything
    shown = {marker.name for marker in covered(volume, case.phantom)}
    limit = max(PLACE_MM, case.moved_mm + 0.5)
    result = _judge(volume, case, shown, limit)
    if result == RIGHT and case.moved_mm:
        result += f" (slices moved by up to {case.moved_mm:g} mm, recorded and flagged)"
    return result, shown


def _best(target: Path, case: Case, markers: set[str]) -> str:
    """Result of the best of the files that a reader wrote."""
    results = [_judge(volume, case, markers, PLACE_MM) for volume in _volumes(target)]
    if not results:
        return WRONG
    return RIGHT if RIGHT in results else WRONG


def _volumes(target: Path) -> Iterator[Volume]:
    for path in sorted(target.iterdir()):
        if path.suffix == ".npz":
            with np.load(path) as arrays:
                voxels, to_lps = arrays["voxels"], arrays["to_lps"]
            steps = to_lps[:3, 2::-1]
            spacing = np.linalg.norm(steps, axis=0)
            yield Volume(voxels.T, spacing, to_lps[:3, 3], steps / spacing)
        elif path.suffix in (".nii", ".mha"):
            try:
                image = sitk.ReadImage(str(path))
            except RuntimeError:
                continue  # an affine that is not a rotation: ITK-based tools cannot read it
            if image.GetDimension() == 3:
                yield Volume(
                    sitk.GetArrayFromImage(image),
                    np.array(image.GetSpacing()[::-1]),
                    np.array(image.GetOrigin()),
                    np.array(image.GetDirection()).reshape(3, 3)[:, ::-1],
                )


def _judge(volume: Volume, case: Case, markers: set[str], limit: float) -> str:
    phantom: Phantom = case.phantom
    try:
        for marker in phantom.markers:
            if marker.name in markers and np.abs(marker_error(volume, marker)).max() > limit:
                return WRONG
    except (ValueError, IndexError):
        return WRONG  # a marker is missing
    for place, hu in INTERIOR.values():
        point = phantom.pose.points(np.array(place) * phantom.scale)
        try:
            found = hu_at(volume, point)
        except AssertionError:
            continue  # outside the volume
        if abs(found - hu) > max(HU, case.hu_tolerance):
            return WRONG
    return RIGHT


if __name__ == "__main__":
    main()
