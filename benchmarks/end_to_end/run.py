"""From a report table to volumes: 24 scans on 2 cores, beside what people glue together otherwise.

    python -m benchmarks.end_to_end.run [--scratch FOLDER]

Six of the scans are odd. The others' tools have a virtual environment of their own
(``.venv-others``, made when it is not there), and are told which folder is which study. Every
volume that is written is compared with the phantom in patient space. Writes
`benchmarks/end_to_end/results.md`.
"""

import argparse
import copy
import csv
import json
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from pydicom.dataset import Dataset

from benchmarks.measuring import Cost, measured
from ctcohort.base.files import read_table
from ctcohort.base.naming import name_of
from ctcohort.phantoms.anatomy import Phantom
from ctcohort.phantoms.stack import SliceStack
from ctcohort.phantoms.writer import Identity, derived_uid, make_reformat, make_series, write_files
from ctcohort.volume.build import Volume

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
SCANS = 24
SIZE = {"rows": 256, "columns": 256, "fov": 360.0}
COUNT, STEP = 100, 3.0
PROTOCOL = "CT Chest WO Contrast  W 3D MIPS Protocol"

CONFIG = """\
archive: {folder: {path: archive}}
exclusions: exclusions.csv
volume: {spacing_mm: 2}
"""

OFF_HU, OFF_SHARE = 200, 0.15
"""A line of voxels is wrong where more than this share is off by more than this."""

LEAST = 0.9
"""Share of what was scanned that a volume must have."""

PLANES_MM = (-70.0, 5.0, 60.0)
"""Sagittal planes that are compared with the phantom."""


@dataclass(frozen=True)
class Odd:
    """How one scan differs from the others: its series, and what is done to its files."""

    what: str
    make: Callable[[Phantom, Identity], list[Sequence[Dataset]]]
    damage: Callable[[list[Path]], None] | None = None


def stack(**more: object) -> SliceStack:
    return SliceStack.oriented(**{"count": COUNT, "step": STEP, **SIZE, **more})


def ordinary(body: Phantom, who: Identity) -> list[Sequence[Dataset]]:
    return [make_series(body, stack(), identity=who, seed=who.accession)]


def with_gap(body: Phantom, who: Identity) -> list[Sequence[Dataset]]:
    kept = [place for place in range(COUNT) if not 46 <= place < 54]
    return [make_series(body, stack().take(kept), identity=who, seed=who.accession)]


LEANING = SliceStack.tilted(15, count=COUNT, step=STEP, **SIZE)


def tilted(body: Phantom, who: Identity) -> list[Sequence[Dataset]]:
    return [make_series(body, LEANING, identity=who, seed=who.accession)]


def with_reformat(body: Phantom, who: Identity) -> list[Sequence[Dataset]]:
    plane = SliceStack.coronal(count=140, step=2.5, rows=128, columns=128, fov=360.0)
    return [*ordinary(body, who), make_reformat(body, plane, identity=who)]


def prone(body: Phantom, who: Identity) -> list[Sequence[Dataset]]:
    return [make_series(body, stack(position="FFP"), identity=who, seed=who.accession)]


def sent_twice(body: Phantom, who: Identity) -> list[Sequence[Dataset]]:
    (series,) = ordinary(body, who)
    again = copy.deepcopy(list(series))
    for dataset in again:
        dataset.SOPInstanceUID = derived_uid("again", dataset.SOPInstanceUID)
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    return [series, again]


def cut_off(paths: list[Path]) -> None:
    path = paths[COUNT // 2]
    path.write_bytes(path.read_bytes()[:40_000])


ODD = (
    Odd("8 of 100 slices are missing", with_gap),
    Odd("the gantry is tilted by 15 degrees", tilted),
    Odd("a coronal reformat has more slices", with_reformat),
    Odd("prone, feet first", prone),
    Odd("every slice was sent twice, under new UIDs", sent_twice),
    Odd("one file is cut off", ordinary, cut_off),
)


def make_site(folder: Path) -> dict[str, str]:
    """Write the table, the config and the archive; what is odd with which accession."""
    body, odd = Phantom(), {}
    rows = []
    for number in range(SCANS):
        who = Identity(patient_id=f"7{number:04d}", accession=f"E{number:04d}")
        kind = ODD[number // 4] if number % 4 == 3 else Odd("", ordinary)
        odd[who.accession] = kind.what
        paths = [
            path
            for series in kind.make(body, who)
            for path in write_files(series, folder / "archive" / who.accession)
        ]
        if kind.damage:
            kind.damage(paths)
        rows.append((who.accession, who.patient_id, PROTOCOL))
    with open(folder / "reports.csv", "w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("AccessionNumber", "MRN", "Protocol"), *rows])
    (folder / "config.yaml").write_text(CONFIG)
    (folder / "exclusions.csv").write_text("accession,reason\n")
    return odd


def is_right(volume: Volume, body: Phantom, scanned: SliceStack) -> bool:
    """Compare sagittal planes with the phantom, line by line, where slices were scanned; and how
    much of these planes the volume has."""
    step = volume.direction * volume.spacing
    if abs(volume.direction[2, 0]) < 0.9:
        return False
    rows, columns = np.indices(volume.ct.shape[:2])
    length = (COUNT - 1) * STEP
    down = scanned.positions[-1] - scanned.positions[0]
    depth_axis = scanned.normal * np.sign(scanned.normal @ down)
    for x in PLANES_MM:
        column = round((x - volume.origin[0]) / step[0, 2])
        origin = volume.origin + column * step[:, 2]
        points = origin + rows[..., None] * step[:, 0] + columns[..., None] * step[:, 1]
        depths = (points - scanned.positions[0]) @ depth_axis
        within = (depths > 0) & (depths < depth_axis @ down)
        truth = body.plane(origin, step[:, 0], step[:, 1], *volume.ct.shape[:2])
        off = np.abs(volume.ct[:, :, column] - np.clip(truth, -1000, 1000)) > OFF_HU
        least = np.maximum(within.sum(axis=1), columns.shape[1] / 4)
        if (np.sum(off & within, axis=1) > OFF_SHARE * least).any():
            return False
        area = within.sum() * volume.spacing[0] * volume.spacing[1]
        if area < LEAST * length * SIZE["fov"]:
            return False
    return True


def from_nifti(path: Path) -> Volume:
    image = sitk.ReadImage(str(path))
    direction = np.array(image.GetDirection()).reshape(3, 3)
    return Volume(
        sitk.GetArrayFromImage(image),
        np.array(image.GetSpacing()[::-1]),
        np.array(image.GetOrigin()),
        direction[:, ::-1],
    )


def from_npz(path: Path) -> Volume:
    with np.load(path) as arrays:
        return Volume(arrays["ct"], arrays["spacing"], arrays["origin"], arrays["direction"])


def others_environment() -> Path:
    place = HERE / ".venv-others"
    python = place / "bin" / "python"
    if not python.exists():
        venv.create(place, with_pip=True)
        needed = HERE / "others" / "requirements.txt"
        subprocess.run([python, "-m", "pip", "install", "-q", "-r", needed], check=True)
    return place / "bin"


def bytes_below(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def scanned(what: str) -> SliceStack:
    """Where a scan's slices lie, those that are missing included."""
    return LEANING if "tilted" in what else stack()


def verdicts_of_others(target: Path, odd: dict[str, str], body: Phantom) -> dict[str, str]:
    found = {}
    for accession, what in odd.items():
        path = target / f"{accession}.nii.gz"
        if not path.exists():
            found[accession] = "no volume"
        else:
            right = is_right(from_nifti(path), body, scanned(what))
            found[accession] = "right" if right else "**silently wrong**"
    return found


def verdicts_of_ours(
    folder: Path, odd: dict[str, str], failed: dict[str, str], body: Phantom
) -> dict[str, str]:
    rows = {row["accession"]: row for row in read_table(folder / "manifest.csv")}
    found = {}
    for accession, what in odd.items():
        path = folder / "processed" / f"{name_of(accession)}.npz"
        row = rows[accession]
        if not path.exists():
            reason = failed.get(accession) or row["status_reason"]
            found[accession] = f"no volume: `{reason}`"
        else:
            flags = f", flagged `{row['flags']}`" if row["flags"] else ""
            right = is_right(from_npz(path), body, scanned(what))
            found[accession] = f"right{flags}" if right else "**wrong**" + flags
    return found


HEAD = f"""\
Made by `run.py`: {SCANS} scans of {SIZE["rows"]:.0f} x {SIZE["columns"]:.0f} x {COUNT},
{STEP:g} mm, six of them odd, to 2 mm, on 2 cores of a busy shared machine: CPU seconds of all
processes compare, wall seconds hardly do. `ct-cohort` goes from `reports.csv` to `report.html`: it
indexes the archive, copies and proves every file, and makes splits, manifest, pictures and page
beside the volumes. Its first run ends with an error that names the scan with the damaged file; this
one is copied into the exclusions, and the second run makes the manifest and the page. The others
start from folders that hold one study each, and make volumes.

- *shell*: `dcm2niix` on each study, the largest file to SimpleITK, `xargs -P 2`
- *script*: SimpleITK's reader on the series with the most files, `joblib` with 2 processes

Volumes are compared with the phantom in patient space: their length, and each line of voxels in
three sagittal planes.
"""


NOTES = """
What was looked at by eye: across the missing slices dcm2niix interpolates 27 mm that nobody
scanned, too few voxels to be judged wrong; of the scan with the damaged file SimpleITK leaves that
file out and spaces the others evenly, off by up to 1.5 mm, with a warning. Scans as small as these
are mostly start-up, of two jobs with their checks and records each for `ct-cohort`; how scans of
512 x 512 at 0.8 mm compare is in [one_scan](../one_scan/results.md).
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scratch", type=Path, help="where the scans are made; default: TMPDIR")
    options = parser.parse_args()
    tools = others_environment()
    body = Phantom()
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        site = Path(scratch).resolve() / "site"
        odd = make_site(site)
        targets = {name: site.with_name(name) for name in ("shell", "script")}
        for target in targets.values():
            target.mkdir()
        others = HERE / "others"
        archive = site / "archive"
        ours = [
            *(sys.executable, "-m", "snakemake", "--snakefile", str(REPOSITORY / "Snakefile")),
            *("--workflow-profile", str(REPOSITORY / "profiles" / "default")),
            *("--directory", str(site), "--cores", "2", "--", "all", "report.html"),
        ]
        commands = {
            "ct-cohort": ours,
            "shell": [
                *("sh", str(others / "shell.sh"), str(tools / "python"), str(tools / "dcm2niix")),
                *(str(archive), str(targets["shell"])),
            ],
            "script": [
                *(str(tools / "python"), str(others / "script.py"), str(archive)),
                str(targets["script"]),
            ],
        }
        given = bytes_below(archive)
        costs: dict[str, Cost] = {}
        for name, command in commands.items():
            costs[name] = measured(command, site, may_fail=True)
            print(name, costs[name].cpu, costs[name].wall, flush=True)
        failed = {
            path.stem: json.loads(path.read_text())["reason"]
            for path in (site / "failures").glob("*.json")
        }
        with open(site / "exclusions.csv", "a", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows(failed.items())
        costs["ct-cohort, again"] = measured(ours, site)
        found = {
            "ct-cohort": verdicts_of_ours(site, odd, failed, body),
            **{name: verdicts_of_others(target, odd, body) for name, target in targets.items()},
        }
        left = {
            "ct-cohort": bytes_below(site) - given,
            **{name: bytes_below(target) for name, target in targets.items()},
        }
        volumes = {
            "ct-cohort": bytes_below(site / "processed"),
            **{
                name: sum(path.stat().st_size for path in target.glob("*.nii.gz"))
                for name, target in targets.items()
            },
        }
    lines = [
        "",
        "| | CPU s | wall s | peak MB of one process | MB read | MB left | MB of volumes |",
        "|---|---|---|---|---|---|---|",
        *(
            f"| {name} | {cost.cpu:.0f} | {cost.wall:.0f} | {cost.megabytes:.0f} |"
            + (
                f" {given / 1e6:.0f} | {left[name] / 1e6:.0f} | {volumes[name] / 1e6:.0f} |"
                if name in left
                else " | | |"
            )
            for name, cost in costs.items()
        ),
        "",
        f"| scan | {' | '.join(found)} |",
        "|---" * (1 + len(found)) + "|",
    ]
    plain = [accession for accession, what in odd.items() if not what]
    right = [sum(each[one].startswith("right") for one in plain) for each in found.values()]
    lines.append(
        f"| {len(plain)} ordinary ones | {' | '.join(f'{count} right' for count in right)} |"
    )
    lines += [
        f"| {what} | {' | '.join(each[accession] for each in found.values())} |"
        for accession, what in odd.items()
        if what
    ]
    (HERE / "results.md").write_text(HEAD + "\n".join(lines) + "\n" + NOTES)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
