"""Prove that a data set on disk is still the one its manifest describes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from ctcohort.base import seals
from ctcohort.base.faults import Fault, InputError
from ctcohort.base.files import as_written, head, read_table, sha256
from ctcohort.base.naming import name_of
from ctcohort.base.workdir import Workdir
from ctcohort.config.settings import digest
from ctcohort.dataset import manifest
from ctcohort.series.received import Received, received_bytes
from ctcohort.volume.record import ScanRecord, made_with

KEYED = ("patient", "series_uid_hash", "review")
"""Columns that follow from the private key and from the reviews, which this does not ask for."""


def verify(here: Workdir, *, threads: int, raw: bool) -> Iterator[str]:
    """Compare a data set with ``manifest.csv``; yield one line per difference.

    Every volume's bytes are compared with their SHA-256; where the working directory's other tables
    are there, every row with what they and the scan's record say. All volumes must have been made
    with the same parameters, and with the working directory's own where it has them. Nothing else
    may lie in ``processed/``, and no patient may be in two sets.

    Parameters
    ----------
    threads : int
        Volumes read at once.
    raw : bool
        Compare the DICOM files with what was received too.

    Raises
    ------
    InputError
        There is no manifest, or it has no row.
    """
    path = here.manifest
    if not path.exists():
        raise InputError(f"{path}: is missing; expected a finished data set")
    changed = list(seals.complaints(here.root))
    yield from changed
    if any(line.startswith(f"{path}: ") for line in changed):
        return  # what it says of the others is not worth comparing
    rows = list(read_table(path, manifest.COLUMNS))
    if not rows:
        raise InputError(f"{path}: has no row; expected a finished data set")
    included = [row for row in rows if row["status"] == "included"]
    with ThreadPoolExecutor(threads) as pool:
        for lines in pool.map(partial(_scan, here, raw=raw), included):
            yield from lines
    yield from _parameters(here, included)
    known = {name_of(row["accession"]) for row in included}
    for file in sorted(here.volumes.glob("[!.]*")):
        if file.suffix not in (".npz", ".json") or file.stem not in known:
            yield f"{file}: is not in the manifest; `make prune` lists what may go"
    if not changed:
        yield from _rows(here, rows)
        yield from _sets(here, rows)


def _scan(here: Workdir, row: Mapping[str, str], *, raw: bool) -> list[str]:
    name = name_of(row["accession"])
    volume, record = here.volume(name), here.record(name)
    lines = [f"{file}: {seals.MISSING}" for file in (volume, record) if not file.exists()]
    if lines:
        return lines
    if str(volume.stat().st_size) != row["npz_bytes"]:
        lines.append(
            f"{volume}: has {volume.stat().st_size} bytes, expected {row['npz_bytes']};"
            f" delete {volume} and run again"
        )
    elif sha256(volume) != row["npz_sha256"]:
        lines.append(
            f"{volume}: its bytes have changed (SHA-256 is not that of the manifest);"
            f" delete {volume} and run again"
        )
    if not lines and row["full_filename_b2nd"]:
        lines += _chunked(here.chunked(name), volume)
    try:
        if ScanRecord.read(record).npz_sha256 != row["npz_sha256"]:
            lines.append(f"{record}: is of another volume than the manifest's")
    except InputError as error:
        lines.append(str(error))
    received = here.received(name)
    if raw and here.raw(name).exists():
        lines += _raw(here.raw(name), received)
    elif received.parent.exists():
        lines += _received(received)
    return lines


def _chunked(path: Path, volume: Path) -> list[str]:
    """Whether a chunked volume still has every voxel of its npz, of which each is read whole."""
    from ctcohort.volume.chunked import difference

    cure = f"delete {path} and run snakemake chunked"
    found = difference(path, volume) if path.exists() else f"{path}: {seals.MISSING}"
    return [f"{found}; {cure}"] if found else []


def _received(path: Path) -> list[str]:
    try:
        Received.read(path)
    except FileNotFoundError:
        return [f"{path}: {seals.MISSING}"]
    except InputError as error:
        return [str(error)]
    return []


def _raw(folder: Path, received: Path) -> list[str]:
    if damaged := _received(received):
        return damaged
    content = Received.read(received)
    try:
        content.assert_all_in(folder)
    except Fault as fault:
        return [str(fault)]
    lines = []
    for uid, expected in content.checksums().items():
        try:
            received_bytes(folder / f"{uid}.dcm", expected)
        except Fault as fault:
            lines.append(str(fault))
    return lines


def _rows(here: Workdir, rows: Sequence[Mapping[str, str]]) -> Iterator[str]:
    """Rows that say something else than the tables and records they were made from."""
    if not here.cohort.exists() or not here.series.exists():
        return
    dataset = manifest.read(here)
    made = {row["accession"]: as_written(row) for row in manifest.rows(here, dataset, key=None)}
    for row in rows:
        known = made.pop(row["accession"], None)
        if known is None:
            yield f"manifest.csv: accession {row['accession']} is not in cohort.csv"
            continue
        if known["status"] == "pending":
            continue  # a file is missing, which is said elsewhere
        other = [
            column
            for column, value in row.items()
            if column not in KEYED and value != known.get(column, "")
        ]
        if other:
            yield (
                f"manifest.csv: accession {row['accession']}: {', '.join(other)} is not what"
                f" the other tables and its record say"
            )
    for accession in made:
        yield f"manifest.csv: accession {accession} of cohort.csv is missing"


def _parameters(here: Workdir, included: Sequence[Mapping[str, str]]) -> Iterator[str]:
    """Volumes that were not made as the others, or not as the config says."""
    made: dict[str, str] = {}
    for row in included:
        path = here.record(name_of(row["accession"]))
        if own := made_with(path):
            made[str(path)] = own
    configured = head(here.parameters("volume"), 10_000).strip()
    if configured:
        usual, whose = digest(configured), "the config's"
    else:
        usual, whose = Counter(made.values()).most_common(1)[0][0] if made else "", "the others'"
    for record, own in made.items():
        if own != usual:
            yield f"{record}: made with other parameters or another algorithm than {whose}"


def _sets(here: Workdir, rows: Sequence[Mapping[str, str]]) -> Iterator[str]:
    splits = here.splits
    assigned = (
        {row["accession"]: row["split"] for row in read_table(splits)} if splits.exists() else {}
    )
    for row in rows:
        if assigned and assigned.get(row["accession"], "") != row["split"]:
            yield f"{splits}: accession {row['accession']} is in another set than in the manifest"
    cohort = here.cohort  # names patients even without a private key
    people = {row["accession"]: row["patient"] for row in rows}
    if cohort.exists():
        people |= {row["accession"]: row["patient_mrn"] for row in read_table(cohort)}
    first: dict[str, Mapping[str, str]] = {}
    for row in rows:
        person = people[row["accession"]] if row["split"] else ""
        twin = first.setdefault(person, row) if person else row
        if twin["split"] != row["split"]:
            yield (
                f"accessions {twin['accession']} ({twin['split']}) and {row['accession']}"
                f" ({row['split']}) are of one patient; a patient must be in one set"
            )
    try:
        manifest.assert_distinct(rows)
    except InputError as error:
        yield str(error)
