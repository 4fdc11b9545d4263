"""A cohort made in parts by independent runs, and one data set of them again.

Every run with ``partition: K/N`` keeps, in ``index/partition.txt``, which part it is (first line)
and the accessions of the whole selection in table order. So the parts prove by themselves that they
belong together and that nothing is missing or double.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ctcohort.base.faults import InputError
from ctcohort.base.files import head, read_lines, read_table, write_bytes, write_lines, write_table
from ctcohort.base.naming import name_of
from ctcohort.base.text import some
from ctcohort.base.workdir import PICTURE, RECORD, THUMBNAIL, VOLUME, Workdir
from ctcohort.dataset import manifest
from ctcohort.volume.record import made_with

PICTURES = (PICTURE, THUMBNAIL)
TABLES = ("cohort.csv", "series.csv", "splits.csv", "manifest.csv")


def keep(part: tuple[int, int], selection: Sequence[str]) -> None:
    """Note, in the working directory, the part that is made and the whole it belongs to."""
    write_lines(Workdir().partition, [f"{part[0]}/{part[1]}", *selection])


def merge(parts: Sequence[Path], into: Path) -> list[str]:
    """Write the tables of all parts, in the order of the report table, and links to the volumes.

    `into` becomes a folder like that of an unpartitioned run: ``accessions.txt``, ``cohort.csv``,
    ``series.csv``, ``splits.csv``, ``manifest.csv`` with the same content, ``protocols.csv``, and
    ``processed/`` and ``qc/`` with symbolic links to the volumes and the pictures that there are.

    Returns
    -------
    list of str
        Lines that say what was merged.

    Raises
    ------
    InputError
        A part is missing, double, unfinished or of another selection; two parts share an accession,
        differ in a patient's split, in the parameters or in the private key, or hold identical
        voxels in different splits.
    """
    configs = {(part / "config.yaml").read_bytes() for part in parts if _has_config(part)}
    if len(configs) > 1:
        raise InputError("the parts' config.yaml differ; run every part again with the same one")
    selection = _whole_selection(parts)
    tables = {name: _concatenated(parts, selection, name) for name in TABLES}
    owner = _owners(parts, selection)
    rows = tables["manifest.csv"][1]
    unnamed = sorted({row["accession"] for row in rows} ^ set(selection))
    if unnamed:
        raise InputError(f"{some(unnamed)}: not in the manifest of its part; run the part again")
    _assert_one_split_per_patient(tables["cohort.csv"][1], tables["splits.csv"][1])
    manifest.assert_distinct(rows)
    files = _volumes(rows, owner)
    _assert_made_alike(files, parts)
    _link(files, Workdir(into).volumes)
    for template in PICTURES:
        _link(_pictures(rows, owner, template), (into / template).parent)
    write_lines(Workdir(into).accessions, selection, sealed=True)
    for name, (columns, content) in tables.items():
        write_table(into / name, columns, content, sealed=True)
    protocols = Workdir(parts[0]).protocols  # of the whole table, in every part
    if protocols.exists():
        write_bytes(Workdir(into).protocols, protocols.read_bytes(), sealed=True)
    return [f"{len(parts)} parts, {len(rows)} accessions", *manifest.counts(rows)]


def _has_config(part: Path) -> bool:
    return (part / "config.yaml").exists()


def _whole_selection(parts: Sequence[Path]) -> list[str]:
    """The accessions of the whole cohort, on which every part must agree."""
    seen: dict[str, Path] = {}
    selections = []
    for part in parts:
        path = Workdir(part).partition
        if not path.exists():
            raise InputError(
                f"{path}: is missing; expected {part} to be the working directory of a run with"
                " `partition: K/N`"
            )
        name, *selection = path.read_text(encoding="utf-8").splitlines()
        if name in seen:
            raise InputError(f"{part} and {seen[name]} are both part {name}; name each part once")
        seen[name] = part
        selections.append(selection)
        if selection != selections[0]:
            raise InputError(
                f"{part} and {parts[0]} were selected from different tables, or by different"
                " columns or select; run both again"
            )
    count = next(iter(seen)).split("/")[1]
    wanted = [f"{number}/{count}" for number in range(1, int(count) + 1)]
    if set(seen) != set(wanted):
        missing = some(name for name in wanted if name not in seen)
        extra = some(name for name in seen if name not in wanted)
        raise InputError(
            f"expected the parts 1/{count} to {count}/{count}; missing: {missing or 'none'};"
            f" of another division: {extra or 'none'}"
        )
    return selections[0]


def _owners(parts: Sequence[Path], selection: Sequence[str]) -> dict[str, Path]:
    """The part that has each accession."""
    owner: dict[str, Path] = {}
    for part in parts:
        for accession in read_lines(Workdir(part).accessions):
            if accession in owner:
                raise InputError(f"accession {accession} is in {owner[accession]} and in {part}")
            owner[accession] = part
    lost = set(owner) ^ set(selection)
    if lost:
        raise InputError(f"{some(sorted(lost))}: not in exactly one part; run the parts again")
    return owner


def _concatenated(
    parts: Sequence[Path], selection: Sequence[str], name: str
) -> tuple[list[str], list[dict[str, str]]]:
    """Columns and rows of one table over all parts, in the order of the selection."""
    columns: list[str] = []
    rows: dict[str, list[dict[str, str]]] = {}
    for part in parts:
        path = part / name
        if not path.exists():
            raise InputError(f"{path} is not there: the part is not finished; run it again")
        own: dict[str, list[dict[str, str]]] = {}
        for row in read_table(path):
            own.setdefault(row["accession"], []).append(row)
            columns = columns or list(row)
            if list(row) != columns:
                raise InputError(f"{path} has other columns than another part's; run both again")
        double = own.keys() & rows.keys()
        if double:
            raise InputError(f"{path}: accession {some(sorted(double))} is in another part too")
        rows |= own
    return columns, [row for accession in selection for row in rows.get(accession, [])]


def _assert_one_split_per_patient(
    cohort: Sequence[dict[str, str]], splits: Sequence[dict[str, str]]
) -> None:
    split_of = {row["accession"]: row["split"] for row in splits}
    first: dict[str, str] = {}
    for event in cohort:
        accession = event["accession"]
        if accession not in split_of:
            continue
        twin = first.setdefault(event["patient_mrn"], accession)
        if split_of[twin] != split_of[accession]:
            raise InputError(
                f"accessions {twin} ({split_of[twin]}) and {accession} ({split_of[accession]}) are"
                " of one patient; a patient must be in one set"
            )


def _assert_made_alike(files: Sequence[Path], parts: Sequence[Path]) -> None:
    """The same parameters made every volume, and the same key every patient's name."""
    made: dict[str, Path] = {}
    for record in files:
        if record.suffix == ".json":
            digest = made_with(record)
            if not digest:
                raise InputError(f"{record} is not a scan record; run its part again")
            made.setdefault(digest, record)
    if len(made) > 1:
        raise InputError(
            f"{' and '.join(map(str, list(made.values())[:2]))} were made with different parameters"
            " or algorithm versions; run every part with the same config and release"
        )
    keys = {head(here.key_fingerprint) for here in map(Workdir, parts) if here.splits.exists()}
    if len(keys) > 1:
        raise InputError("the parts were made with different privacy.key_file; use one for all")


def _volumes(rows: Sequence[dict[str, str]], owner: dict[str, Path]) -> list[Path]:
    """Volume and record of every included accession, all there."""
    files = [
        owner[row["accession"]] / template.format(name_of(row["accession"]))
        for row in rows
        if row["status"] == "included"
        for template in (VOLUME, RECORD)
    ]
    lost = [str(path) for path in files if not path.exists()]
    if lost:
        raise InputError(f"{some(sorted(lost))}: missing; run the part again")
    return files


def _pictures(rows: Sequence[dict[str, str]], owner: dict[str, Path], template: str) -> list[Path]:
    """Return the pictures of one kind that were made."""
    wanted = (owner[row["accession"]] / template.format(name_of(row["accession"])) for row in rows)
    return [path for path in wanted if path.exists()]


def _link(files: Sequence[Path], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        if old.is_symlink():
            old.unlink()
    for path in files:
        (folder / path.name).symlink_to(os.path.relpath(path.resolve(), folder.resolve()))
