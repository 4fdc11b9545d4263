"""A folder of DICOM files as an archive: what is found, what is read again, what is fetched."""

from __future__ import annotations

import copy
import os
import shutil
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.fileset import FileSet
from pydicom.uid import DeflatedExplicitVRLittleEndian, RLELossless

from ctcohort.archives import folder
from ctcohort.archives.folder import FolderArchive
from ctcohort.archives.opening import open_archive
from ctcohort.archives.protocol import Query
from ctcohort.base.faults import Fault, InputError
from ctcohort.dicom.headers import Header, patient_mark
from ctcohort.phantoms.writer import Identity, write_files
from tests.objects import make_secondary_capture

from .opened import KEY, Opened

Series = list[Dataset]


@pytest.fixture
def root(tmp_path: Path, small_series: Series) -> Path:
    """A tree with one series of six instances, in files without a meaning or an extension."""
    path = tmp_path / "tree"
    write_files(small_series, path / "2024" / "03")
    return path


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "index"


def uids(archive: FolderArchive, accession: str = "A0000001") -> list[str]:
    found = archive.find(Query((accession,)))
    return sorted(h.sop_instance_uid for series in found for h in archive.headers(series))


def of(series: Series) -> list[str]:
    return sorted(ds.SOPInstanceUID for ds in series)


def headers(archive: FolderArchive) -> list[Header]:
    (series,) = archive.find(Query(("A0000001",)))
    return archive.headers(series)


def dump(archive: FolderArchive) -> list[tuple[object, ...]]:
    return list(archive.index.execute("SELECT * FROM files ORDER BY folder, name"))


# What is found


def test_a_series_is_found_by_accession_and_by_study(
    root: Path, store: Path, small_series: Series, open_folder: Opened
) -> None:
    archive = open_folder(root, store)
    (found,) = archive.find(Query(("A0000001",)))
    assert archive.find(Query(("other",), small_series[0].StudyInstanceUID)) == [found]
    assert found.series_uid == small_series[0].SeriesInstanceUID
    assert found.patient == patient_mark("PHANTOM01", KEY)
    assert (found.modality, found.instances, found.slices_at_most) == ("CT", 6, None)
    assert uids(archive) == of(small_series)
    assert [archive.find(Query((x,))) for x in ("A000000", "a0000001", "A%", "*", "")] == [[]] * 5
    assert archive.find(Query(("A0000001",), "1.2.3")) == []


def test_prefixes_are_tried_exactly(root: Path, store: Path, open_folder: Opened) -> None:
    archive = open_folder(root, store)
    assert len(archive.find(Query(("0000001", "A0000001", "B0000001")))) == 1
    assert archive.find(Query(("0000001", "B0000001"))) == []


def test_what_is_no_instance_is_passed_over(
    root: Path, store: Path, small_series: Series, open_folder: Opened
) -> None:
    (root / "empty").touch()
    (root / "readme.txt").write_text("text\n" * 100)
    (root / "short.dcm").write_bytes(bytes(128) + b"DIC")
    (root / "only the mark").write_bytes(bytes(128) + b"DICM")
    (root / "noise.dcm").write_bytes(bytes(128) + b"DICM" + os.urandom(4000))
    whole = next((root / "2024" / "03").iterdir()).read_bytes()
    (root / "cut off").write_bytes(whole[:400])
    (root / "dangling").symlink_to(root / "nowhere")
    (root / "itself").symlink_to("itself")
    os.mkfifo(root / "pipe")
    with open(os.path.join(os.fsencode(root), b"caf\xe9"), "wb") as stream:
        stream.write(whole)
    assert uids(open_folder(root, store)) == of(small_series)


def test_a_folder_whose_name_is_not_utf8_does_not_stop_the_index(
    root: Path, store: Path, small_series: Series, open_folder: Opened
) -> None:
    strange = os.path.join(os.fsencode(root), b"caf\xe9")
    os.mkdir(strange)
    original = next((root / "2024" / "03").iterdir())
    shutil.copy(os.fsencode(original), os.path.join(strange, b"file"))
    assert uids(open_folder(root, store)) == of(small_series)


def test_a_dicomdir_beside_its_files_adds_nothing(
    tmp_path: Path, store: Path, small_series: Series, open_folder: Opened
) -> None:
    disc = FileSet()
    for ds in small_series:
        disc.add(copy.deepcopy(ds))
    disc.write(tmp_path / "disc")
    disc._stage["t"].cleanup()
    assert (tmp_path / "disc" / "DICOMDIR").exists()
    archive = open_folder(tmp_path / "disc", store)
    assert uids(archive) == of(small_series)
    assert archive.index.execute("SELECT count(instance) FROM files").fetchone() == (6,)


def test_links_are_followed_and_loops_end(
    tmp_path: Path, root: Path, store: Path, small_series: Series, open_folder: Opened
) -> None:
    (root / "up").symlink_to(root, target_is_directory=True)
    (root / "2024" / "03" / "again").symlink_to(root / "2024", target_is_directory=True)
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "x").symlink_to(root, target_is_directory=True)
    archive = open_folder(linked, store)
    assert uids(archive) == of(small_series)
    assert all(header.copies == 1 for header in headers(archive))


@pytest.mark.parametrize(
    "uid", ["../../escape", "/etc/x", "1.2/3", "1.2\\3", "1.2 .3", "~", "", "1" * 129, ".1", "1..2"]
)
@pytest.mark.parametrize("keyword", ["SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"])
def test_what_is_no_uid_never_becomes_a_path(
    tmp_path: Path, store: Path, small_series: Series, open_folder: Opened, uid: str, keyword: str
) -> None:
    hostile = copy.deepcopy(small_series[0])
    hostile.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    setattr(hostile, keyword, uid or ("." if keyword == "StudyInstanceUID" else ""))
    path = tmp_path / "tree" / "file"
    path.parent.mkdir()
    hostile.save_as(path, enforce_file_format=False)
    with pytest.raises(InputError, match=r"archive\.folder\.path: .*tree holds no DICOM instance"):
        open_folder(tmp_path / "tree", store)


@pytest.mark.parametrize("study", ["", "1.2.840.9fA0C", "022f82f4-e9df-4533-b237-6ab563dfaf56"])
def test_uids_with_letters_and_an_empty_study_are_read_as_names(
    root: Path, store: Path, small_series: Series, open_folder: Opened, study: str
) -> None:
    shutil.rmtree(root)
    for number, ds in enumerate(small_series):
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = (
            f"1.3.6.1.4.1.45037.A{number}f"
        )
        ds.SeriesInstanceUID, ds.StudyInstanceUID = "GeneratedSeries.Xy_z", study
    write_files(small_series, root)
    archive = open_folder(root, store)
    (found,) = archive.find(Query(("A0000001",)))
    assert (found.series_uid, found.study_uid, found.instances) == (
        "GeneratedSeries.Xy_z",
        study,
        6,
    )
    assert uids(archive) == of(small_series)
    into = root / "into"
    into.mkdir()
    archive.fetch(headers(archive), into)
    assert sorted(path.stem for path in into.iterdir()) == of(small_series)


# What is passed over


def causes(archive: FolderArchive) -> dict[str, str]:
    """Cause by file name of everything that is no instance."""
    return dict(archive.index.execute("SELECT name, cause FROM files WHERE cause IS NOT NULL"))


def test_every_file_that_is_passed_over_is_kept_with_its_cause(
    root: Path, store: Path, small_series: Series, open_folder: Opened
) -> None:
    whole = next((root / "2024" / "03").iterdir()).read_bytes()
    nameless = copy.deepcopy(small_series[0])
    del nameless.SeriesInstanceUID
    nameless.save_as(root / "nameless")
    for name, content in {
        "empty": b"",
        "readme.txt": b"text\n" * 100,
        "page.png": b"\x89PNG\r\n\x1a\n" + bytes(200),
        "zeroed.dcm": bytes(512) + whole[512:],
        "mark only": bytes(128) + b"DICM",
        "noise": b"\x01" * 5000,
        "cut off": whole[:400],
    }.items():
        (root / name).write_bytes(content)
    with open(os.path.join(os.fsencode(root), b"caf\xe9"), "wb") as stream:
        stream.write(whole)
    archive = open_folder(root, store)
    assert causes(archive) == {
        "empty": "empty",
        "readme.txt": "not_dicom",
        "page.png": "not_dicom",
        "zeroed.dcm": "unrecognised",
        "mark only": "no_uid",
        "noise": "unrecognised",
        "cut off": "no_uid",
        "nameless": "no_uid",
        "caf\\xe9": "unnamable",
    }
    assert set(causes(archive).values()) <= set(folder.PASSED_OVER)
    assert uids(archive) == of(small_series)


def test_the_last_lines_count_what_was_passed_over_and_name_one_of_them(
    root: Path,
    store: Path,
    small_series: Series,
    open_folder: Opened,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (root / "A0000001").mkdir()
    (root / "A0000001" / "IM0009.dcm").touch()
    for name in ("QUASIMODO", "PHANTOM01", "Lee", "Lee Jong 12"):
        (root / name).mkdir()
        (root / name / "readme.txt").write_text("text")
    open_folder(root, store)
    told = capsys.readouterr().err
    assert "folder index: 1 passed over: no bytes, e.g. A0000001/IM0009.dcm" in told
    assert "folder index: 4 passed over: text, or another kind of file, e.g. .../readme.txt" in told
    assert not any(name in told for name in ("QUASIMODO", "PHANTOM01", "Lee"))
    assert small_series[0].PatientID == "PHANTOM01"


@pytest.mark.parametrize(
    ("name", "content", "lost"),
    [
        ("zz.dcm", b"", 1),
        ("zz.dcm", b"\x01" * 500, 1),
        ("zz", bytes(128) + b"DICM\x02\x00", 1),
        ("zz", b"", 0),
        ("._zz.dcm", b"\0\5\x16\7" + bytes(500), 0),
        ("zz.dcm", b"plain text", 0),
        ("Thumbs.db", b"\xd0\xcf\x11\xe0" + bytes(500), 0),
    ],
)
def test_a_damaged_file_in_a_series_own_folder_is_counted_beside_it(
    tmp_path: Path,
    store: Path,
    small_series: Series,
    open_folder: Opened,
    name: str,
    content: bytes,
    lost: int,
) -> None:
    write_files(small_series, tmp_path / "tree" / "x", names=[f"{i}.dcm" for i in range(6)])
    other = [copy.deepcopy(ds) for ds in small_series]
    for ds in other:
        ds.SeriesInstanceUID, ds.AccessionNumber = "1.2.3", "OTHER"
    write_files(other, tmp_path / "tree" / "y", names=[f"{i}.dcm" for i in range(6)])
    (tmp_path / "tree" / "x" / name).write_bytes(content)
    archive = open_folder(tmp_path / "tree", store)
    assert [s.unreadable for s in archive.find(Query(("A0000001",)))] == [lost]
    assert [s.unreadable for s in archive.find(Query(("OTHER",)))] == [0]


def test_in_a_folder_of_several_studies_the_neighbours_by_name_count(
    tmp_path: Path, store: Path, small_series: Series, open_folder: Opened
) -> None:
    other = [copy.deepcopy(ds) for ds in small_series]
    for ds in other:
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.AccessionNumber = "1.2", "1.2.3", "OTHER"
    tree = tmp_path / "tree"
    write_files(small_series, tree, names=[f"a{i}.dcm" for i in range(6)])
    write_files(other, tree, names=[f"b{i}.dcm" for i in range(6)])
    (tree / "b7.dcm").touch()
    archive = open_folder(tree, store)
    assert [s.unreadable for s in archive.find(Query(("A0000001",)))] == [0]
    assert [s.unreadable for s in archive.find(Query(("OTHER",)))] == [1]


def test_the_story_of_a_series_names_what_lies_beside_it(
    tmp_path: Path, store: Path, small_series: Series, open_folder: Opened
) -> None:
    write_files(small_series, tmp_path / "tree" / "A0000001", names=[f"{i}.dcm" for i in range(6)])
    (tmp_path / "tree" / "A0000001" / "7.dcm").touch()
    (tmp_path / "tree" / "text").write_text("text")
    archive = open_folder(tmp_path / "tree", store)
    (found,) = archive.find(Query(("A0000001",)))
    index = store / "folder.sqlite"
    told = list(folder.passed_over(index, KEY, [(found.series_uid, found.study_uid)]))
    assert told == ["1 beside its instances: no bytes, e.g. A0000001/7.dcm"]
    assert len(list(folder.passed_over(index, KEY, []))) == 2
    assert list(folder.passed_over(store / "none", KEY, [])) == []


def test_a_file_that_may_not_be_read_is_tried_again(
    root: Path,
    store: Path,
    small_series: Series,
    open_folder: Opened,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = sorted((root / "2024" / "03").iterdir())[0]
    with monkeypatch.context() as closed:
        read = folder.open_file

        def refuse(stream: Any, tags: Any) -> Any:
            if stream.name == str(first):
                raise PermissionError(13, "Permission denied", stream.name)
            return read(stream, tags)

        closed.setattr(folder, "open_file", refuse)
        archive = open_folder(root, store)
        assert causes(archive) == {first.name: "forbidden"}
        assert [found.unreadable for found in archive.find(Query(("A0000001",)))] == [1]
    assert uids(open_folder(root, store)) == of(small_series)


def test_an_index_of_another_version_is_read_anew(
    root: Path, store: Path, small_series: Series, open_folder: Opened
) -> None:
    store.mkdir()
    with sqlite3.connect(store / "folder.sqlite") as connection:
        connection.execute("CREATE TABLE files (folder TEXT, name TEXT)")
    connection.close()
    assert uids(open_folder(root, store)) == of(small_series)


def test_a_folder_that_cannot_be_read_is_warned_of_without_its_name(
    root: Path,
    store: Path,
    open_folder: Opened,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (root / "QUASIMODO").mkdir()
    scandir = os.scandir

    def closed(path: str) -> object:
        if str(path).endswith("QUASIMODO"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    assert uids(open_folder(root, store))
    told = capsys.readouterr().err
    assert "warning: 1 folders of archive.folder.path cannot be read" in told
    assert "QUASIMODO" not in told


def test_a_folder_that_is_none_is_named(tmp_path: Path, store: Path) -> None:
    settings = {"kind": "folder", "folder": {"path": str(tmp_path / "none"), "link": False}}
    archive = open_archive(settings, store=store, key=KEY)
    with pytest.raises(InputError, match=r"archive\.folder\.path: .*/none is not a folder"):
        archive.prepare(threads=1)


# What is read again


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files whose header was read, in order."""
    names: list[str] = []
    read = folder._read_file

    def recorded(path: Path, size: int, key: bytes) -> tuple[object, ...]:
        names.append(path.name)
        return read(path, size, key)

    monkeypatch.setattr(folder, "_read_file", recorded)
    return names


def test_what_is_known_is_not_read_again(
    root: Path, store: Path, open_folder: Opened, reads: list[str]
) -> None:
    (root / "text").write_text("no DICOM")
    first = dump(open_folder(root, store))
    assert len(reads) == 7
    reads.clear()
    assert dump(open_folder(root, store)) == first
    assert reads == []


def test_only_a_changed_file_is_read_again(
    root: Path, store: Path, small_series: Series, open_folder: Opened, reads: list[str]
) -> None:
    open_folder(root, store)
    names = sorted(path.name for path in (root / "2024" / "03").iterdir())
    changed = copy.deepcopy(small_series[0])
    changed.AccessionNumber = "MOVED"
    (path,) = write_files([changed], root / "2024" / "03")
    assert path.name in names
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
    reads.clear()
    archive = open_folder(root, store)
    assert reads == [path.name]
    (found,) = archive.find(Query(("MOVED",)))
    known = {h.sop_instance_uid: h.accession for h in archive.headers(found)}
    assert known.pop(small_series[0].SOPInstanceUID) == "MOVED"
    assert set(known.values()) == {"A0000001"}


def test_a_deleted_file_and_a_deleted_folder_are_forgotten(
    root: Path, store: Path, small_series: Series, open_folder: Opened, reads: list[str]
) -> None:
    open_folder(root, store)
    (gone,) = write_files(small_series[:1], root / "2024" / "03")
    gone.unlink()
    assert uids(open_folder(root, store)) == of(small_series[1:])
    reads.clear()
    write_files(small_series[:1], root / "2025")
    shutil.rmtree(root / "2024")
    archive = open_folder(root, store)
    assert uids(archive) == of(small_series[:1])
    assert (len(reads), len(dump(archive))) == (1, 1)


def test_a_moved_folder_is_found_in_its_new_place(
    root: Path, store: Path, small_series: Series, open_folder: Opened
) -> None:
    open_folder(root, store)
    (root / "2024").rename(root / "2025")
    archive = open_folder(root, store)
    assert uids(archive) == of(small_series)
    assert all(header.location.startswith("2025/03/") for header in headers(archive))


def test_several_processes_make_the_same_index(
    tmp_path: Path, root: Path, open_folder: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "text").write_text("no DICOM")
    alone = dump(open_folder(root, tmp_path / "one"))
    monkeypatch.setattr(folder, "BATCH", 2)
    monkeypatch.setattr(folder, "AHEAD", 1)
    assert dump(open_folder(root, tmp_path / "two", threads=2)) == alone
    assert len(alone) == 7


def test_the_index_holds_no_name_and_no_mrn(
    tmp_path: Path, store: Path, open_folder: Opened
) -> None:
    who = Identity(patient_id="MRN7777X", patient_name="Secret^Name", birth_date="19510203")
    series = make_secondary_capture(identity=who)
    write_files([series], tmp_path / "tree")
    archive = open_folder(tmp_path / "tree", store)
    assert len(uids(archive)) == 1
    every = " ".join(map(repr, dump(archive)))
    facts = repr(headers(archive))
    for secret in ("MRN7777X", "Secret", "19510203"):
        assert secret not in every + facts
    content = b"".join(path.read_bytes() for path in store.iterdir() if path.is_file())
    assert b"Secret" not in content
    assert b"MRN7777X" not in content


# Several files of one instance


def test_identical_files_are_copies(
    root: Path, store: Path, small_series: Series, open_folder: Opened
) -> None:
    write_files(small_series[:2], root / "copy")
    write_files(small_series[:1], root / "third")
    archive = open_folder(root, store)
    by_uid = {h.sop_instance_uid: (h.copies, h.conflicting) for h in headers(archive)}
    expected = [(3, False), (2, False), *[(1, False)] * 4]
    assert [by_uid[ds.SOPInstanceUID] for ds in small_series] == expected
    assert archive.find(Query(("A0000001",)))[0].instances == 6


@pytest.mark.parametrize("syntax", [RLELossless, DeflatedExplicitVRLittleEndian])
def test_copies_of_compressed_files_are_compared_by_their_pixels(
    tmp_path: Path, store: Path, small_series: Series, open_folder: Opened, syntax: str
) -> None:
    other = copy.deepcopy(small_series[1])
    other.PixelData = b"\x01" + other.PixelData[1:]
    for name, some in {"a": small_series, "b": [small_series[0], other]}.items():
        write_files(some, tmp_path / "tree" / name, transfer_syntax=syntax)
    archive = open_folder(tmp_path / "tree", store)
    by_uid = {h.sop_instance_uid: (h.copies, h.conflicting) for h in headers(archive)}
    found = [by_uid[ds.SOPInstanceUID] for ds in small_series]
    assert found == [(2, False), (2, True), *[(1, False)] * 4]


@pytest.mark.parametrize("what", ["a pixel", "a position", "the missing rescale"])
@pytest.mark.parametrize("name", ["0 before", "zz after"])
def test_another_content_under_one_uid_conflicts(
    root: Path, store: Path, small_series: Series, open_folder: Opened, what: str, name: str
) -> None:
    other = copy.deepcopy(small_series[0])
    if what == "a pixel":
        other.PixelData = b"\x01" + other.PixelData[1:]
    elif what == "a position":
        other.ImagePositionPatient = ["0", "0", "1"]
    else:
        del other.RescaleSlope
    assert other.PixelData != small_series[0].PixelData or what != "a pixel"
    write_files([other], root / name)
    by_uid = {h.sop_instance_uid: h for h in headers(open_folder(root, store))}
    assert [by_uid[ds.SOPInstanceUID].conflicting for ds in small_series] == [True, *[False] * 5]


# What is fetched


def state(paths: Sequence[Path]) -> list[tuple[object, ...]]:
    return [
        (p, p.read_bytes(), p.stat().st_mtime_ns, p.stat().st_mode, p.stat().st_size) for p in paths
    ]


@pytest.mark.usefixtures("umask")
@pytest.mark.parametrize("link", [False, True])
def test_fetching_gives_the_same_bytes_and_leaves_the_originals_alone(
    tmp_path: Path,
    root: Path,
    store: Path,
    small_series: Series,
    open_folder: Opened,
    link: bool,
) -> None:
    originals = sorted((root / "2024" / "03").iterdir())
    for path, mode in zip(originals, (0o444, 0o644, 0o400, 0o600, 0o640, 0o664), strict=True):
        path.chmod(mode)
    before = state(originals)
    archive = open_folder(root, store, link=link)
    into = tmp_path / "into"
    into.mkdir()
    archive.fetch(headers(archive), into)
    assert sorted(path.name for path in into.iterdir()) == [
        f"{uid}.dcm" for uid in of(small_series)
    ]
    for header in headers(archive):
        source, target = root / header.location, into / f"{header.sop_instance_uid}.dcm"
        assert target.read_bytes() == source.read_bytes()
        assert target.samefile(source) is link
        if not link:
            assert target.stat().st_mode & 0o077 == 0
    assert state(originals) == before
    archive.fetch(headers(archive), into)
    assert len(list(into.iterdir())) == 6
    assert state(originals) == before


def test_links_fall_back_to_copies(
    tmp_path: Path, root: Path, store: Path, open_folder: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    archive = open_folder(root, store, link=True)
    monkeypatch.setattr(os, "link", refuse)
    archive.fetch(headers(archive), tmp_path)
    for header in headers(archive):
        target = tmp_path / f"{header.sop_instance_uid}.dcm"
        assert target.read_bytes() == (root / header.location).read_bytes()
        assert target.stat().st_nlink == 1


def test_files_are_copied_where_the_kernel_cannot(
    tmp_path: Path, root: Path, store: Path, open_folder: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(95, "Operation not supported")

    archive = open_folder(root, store)
    monkeypatch.setattr(os, "copy_file_range", refuse)
    archive.fetch(headers(archive), tmp_path)
    for header in headers(archive):
        target = tmp_path / f"{header.sop_instance_uid}.dcm"
        assert target.read_bytes() == (root / header.location).read_bytes()


def test_a_moved_original_is_named_with_what_to_do(
    tmp_path: Path, root: Path, store: Path, open_folder: Opened
) -> None:
    archive = open_folder(root, store)
    asked = headers(archive)
    (root / asked[0].location).rename(root / "elsewhere")
    into = tmp_path / "into"
    into.mkdir()
    with pytest.raises(Fault, match=r"no longer where the folder index saw it.*index_series") as no:
        archive.fetch(asked, into)
    assert (no.value.reason, no.value.transient) == ("archive_refused", False)
    assert asked[0].sop_instance_uid in str(no.value)
    assert not (into / f"{asked[0].sop_instance_uid}.dcm").exists()


def test_the_index_is_plain_sqlite_and_survives_a_crash(
    root: Path, store: Path, small_series: Series, open_folder: Opened
) -> None:
    open_folder(root, store).index.close()
    with sqlite3.connect(store / "folder.sqlite") as connection:
        connection.execute("DELETE FROM files WHERE instance = ?", (of(small_series)[0],))
    connection.close()
    assert uids(open_folder(root, store)) == of(small_series)


def test_an_archive_path_that_fails_is_not_told(
    root: Path, store: Path, open_folder: Opened, tmp_path: Path
) -> None:
    archive = open_folder(root, store)
    instances = headers(archive)
    shutil.rmtree(root / "2024" / "03")
    (root / "2024" / "03").touch()  # what was a folder, named after whom it may, is a file now
    with pytest.raises(Fault) as caught:
        archive.fetch(instances, tmp_path)
    assert instances[0].sop_instance_uid in str(caught.value)
    assert "2024" not in str(caught.value)


def test_an_empty_element_of_an_unknown_vr_does_not_stop_the_others(
    tmp_path: Path, small_series: list[Dataset], open_folder: Opened
) -> None:
    """pydicom raises where such an element is converted, and the whole index ended with it."""
    tree = tmp_path / "tree"
    paths = write_files(small_series, tree)
    content = paths[2].read_bytes()
    start = content.index(bytes.fromhex("18006000") + b"DS")
    length = int.from_bytes(content[start + 6 : start + 8], "little")
    spoilt = content[start : start + 4] + b"ZZ\0\0"
    paths[2].write_bytes(content[:start] + spoilt + content[start + 8 + length :])
    archive = open_folder(tree, tmp_path / "index")
    (found,) = archive.find(Query(("A0000001",)))
    headers = archive.headers(found)
    assert len(headers) == len(small_series)
    assert [header.kvp for header in headers].count(None) == 1


def test_an_unknown_vr_in_the_file_meta_does_not_stop_the_others(
    tmp_path: Path, small_series: list[Dataset], open_folder: Opened
) -> None:
    tree = tmp_path / "tree"
    paths = write_files(small_series, tree)
    content = paths[2].read_bytes()
    element = bytes.fromhex("02000200") + b"UI"
    assert content.count(element) == 1
    paths[2].write_bytes(content.replace(element, element[:4] + b"Ue"))
    archive = open_folder(tree, tmp_path / "index")
    (found,) = archive.find(Query(("A0000001",)))
    assert len(archive.headers(found)) == len(small_series)
