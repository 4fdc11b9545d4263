"""A table is believed only as it was written."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from ctcohort.archives.protocol import Query
from ctcohort.base import seals
from ctcohort.base.faults import InputError
from ctcohort.base.files import (
    read_lines,
    read_sealed_json,
    read_table,
    write_lines,
    write_sealed_json,
    write_table,
)
from ctcohort.base.workdir import Workdir
from ctcohort.series import cache

from .opened import Opened

ROWS = [{"accession": "A1", "split": "train"}, {"accession": "A2", "split": "test"}]
COLUMNS = ("accession", "split")


@pytest.fixture
def table(here: Path) -> Path:
    path = here / "splits.csv"
    write_table(path, COLUMNS, ROWS, sealed=True)
    return path


def test_a_table_as_it_was_written_is_read(table: Path) -> None:
    assert list(read_table(table)) == ROWS
    assert not list(seals.complaints(table.parent))


def test_every_flipped_bit_of_a_table_is_noticed(table: Path) -> None:
    content = table.read_bytes()
    for place in range(len(content)):
        spoilt = bytearray(content)
        spoilt[place] ^= 1 << random.Random(place).randrange(8)
        table.write_bytes(spoilt)
        with pytest.raises(InputError, match=f"delete {table}"):
            list(read_table(table))
        assert len(list(seals.complaints(table.parent))) == 1


@pytest.mark.parametrize("damage", ["emptied", "shorter", "a folder"])
def test_a_table_that_is_something_else_is_named(table: Path, damage: str) -> None:
    content = table.read_bytes()
    table.unlink()
    if damage == "a folder":
        table.mkdir()
    else:
        table.write_bytes(content[:20] if damage == "shorter" else b"")
    with pytest.raises(InputError, match=f"delete {table}"):
        list(read_table(table))
    (line,) = seals.complaints(table.parent)
    assert f"delete {table}" in line


def test_a_table_that_is_missing_is_named(table: Path) -> None:
    table.unlink()
    (line,) = seals.complaints(table.parent)
    assert line == f"{table}: {seals.MISSING}"
    assert not list(seals.complaints(table.parent, missing=False))


def test_a_table_that_was_never_sealed_is_believed(here: Path) -> None:
    write_table(here / "status.csv", COLUMNS, ROWS)
    assert list(read_table(here / "status.csv")) == ROWS
    assert not list(seals.complaints(here))


@pytest.mark.parametrize("damage", [b"", b"no checksum\n", None])
def test_a_damaged_seal_is_made_again_with_its_table(table: Path, damage: bytes | None) -> None:
    seal = seals.seal_of(table)
    seal.unlink()
    if damage is None:
        seal.mkdir()
    else:
        seal.write_bytes(damage)
    with pytest.raises(InputError, match=f"delete {table}"):
        list(read_table(table))
    table.unlink()
    write_table(table, COLUMNS, ROWS, sealed=True)
    assert list(read_table(table)) == ROWS


def test_a_process_killed_while_it_replaces_a_table_leaves_a_whole_one(
    table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the rename the old table is believed, after it the new one."""

    def killed(_part: Path, _path: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Path, "replace", replace_only_seals(killed))
        write_table(table, COLUMNS, ROWS[:1], sealed=True)
    assert list(read_table(table)) == ROWS
    write_table(table, COLUMNS, ROWS[:1], sealed=True)
    assert list(read_table(table)) == ROWS[:1]


def replace_only_seals(killed: object) -> object:
    replace = Path.replace

    def replacing(part: Path, path: Path) -> object:
        return replace(part, path) if path.parent.name == seals.FOLDER else killed(part, path)  # type: ignore[operator]

    return replacing


def test_lines_are_read_as_they_were_written(here: Path) -> None:
    lines = ["A1", "A\x0b2", "A\u20283", ""]
    write_lines(here / "accessions.txt", lines, sealed=True)
    assert read_lines(here / "accessions.txt") == lines
    (here / "accessions.txt").write_bytes(b"A1\n\xff\n")
    with pytest.raises(InputError, match="delete"):
        read_lines(here / "accessions.txt")


def test_every_flipped_bit_of_sealed_json_is_noticed(here: Path) -> None:
    path, content = here / "A1.json", {"series_uid": "1.2", "instances": [{"sha256": "0" * 64}]}
    write_sealed_json(path, content)
    assert read_sealed_json(path) == content
    written = path.read_bytes()
    for place in range(len(written)):
        spoilt = bytearray(written)
        spoilt[place] ^= 1 << random.Random(place).randrange(8)
        path.write_bytes(spoilt)
        with pytest.raises(ValueError):
            read_sealed_json(path)


@pytest.mark.parametrize("last", ["npz_sha256", "instances"])
def test_json_of_an_older_release_is_read_without_a_seal(here: Path, last: str) -> None:
    (here / "A1.json").write_text(f'{{\n "series_uid": "1.2",\n "{last}": []\n}}\n')
    assert list(read_sealed_json(here / "A1.json")) == ["series_uid", last]


# Stores


@pytest.mark.parametrize("damage", ["zeroed", "emptied", "flipped", "a folder"])
def test_a_damaged_index_of_a_folder_is_read_anew(
    tmp_path: Path, small_series: list[Dataset], open_folder: Opened, damage: str
) -> None:
    for dataset in small_series:
        dataset.save_as(tmp_path / f"{dataset.InstanceNumber}", enforce_file_format=True)
    store = tmp_path / "index"
    before = open_folder(tmp_path, store)
    found = before.find(Query(("A0000001",)))
    before.index.close()
    path = store / "folder.sqlite"
    content = bytearray(path.read_bytes())
    path.unlink()
    if damage == "a folder":
        path.mkdir()
    else:
        at = content.index(b"A0000001")
        content[at] ^= damage == "flipped"
        content[4096:] = bytes(len(content) - 4096) if damage == "zeroed" else content[4096:]
        path.write_bytes(b"" if damage == "emptied" else content)
    after = open_folder(tmp_path, store)
    assert after.find(Query(("A0000001",))) == found


def test_a_damaged_answer_is_asked_for_again(here: Path) -> None:  # noqa: ARG001
    cache.save("A1", cache.Answer())
    path = Workdir().answer("A1")
    content = path.read_bytes()
    for place in range(len(content)):
        spoilt = bytearray(content)
        spoilt[place] ^= 1 << random.Random(place).randrange(8)
        path.write_bytes(spoilt)
        assert cache.load("A1") in (None, cache.Answer())
    path.unlink()
    path.mkdir()
    assert cache.load("A1") is None
    cache.save("A1", cache.Answer())
    assert cache.load("A1") == cache.Answer()


def test_a_damaged_key_of_patients_says_what_to_delete(here: Path) -> None:  # noqa: ARG001
    key = cache.patient_key()
    assert cache.patient_key() == key
    Workdir().patient_key.write_bytes(key[:-1])
    with pytest.raises(InputError, match="delete index and run"):
        cache.patient_key()
