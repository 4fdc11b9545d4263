"""One series, complete or not there."""

from __future__ import annotations

import copy
import hashlib
import multiprocessing
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom import uid
from pydicom.dataset import Dataset

from ctcohort.archives.folder import FolderArchive
from ctcohort.archives.protocol import Arrived, Query
from ctcohort.base.faults import Fault
from ctcohort.base.files import read_sealed_json
from ctcohort.base.naming import is_uid
from ctcohort.dicom.headers import Header
from ctcohort.dicom.integrity import check_whole
from ctcohort.phantoms.anatomy import Phantom
from ctcohort.phantoms.stack import SliceStack
from ctcohort.phantoms.writer import make_dose_report, make_series, write_files
from ctcohort.series.download import fetch_series
from ctcohort.series.received import Received
from tests.objects import make_enhanced

from .opened import KEY, Opened


def _nothing(_into: Path) -> None:
    pass


class Recording:
    """Passes on to a folder archive, and keeps what it was asked to fetch."""

    answers_are_free = True

    def __init__(self, archive: FolderArchive) -> None:
        self.archive = archive
        self.asked: list[list[str]] = []
        self.limit: int | None = None
        self.after: Callable[[Path], None] = _nothing

    def fetch(self, instances: Sequence[Header], into: Path, arrived: Arrived) -> None:
        self.asked.append([header.sop_instance_uid for header in instances])
        self.archive.fetch(instances[: self.limit], into, arrived)
        self.after(into)


def received_in(scene: Scene) -> dict[str, str]:
    """Checksums of what was received, all of it in the raw folder."""
    content = Received.read(scene.received)
    content.assert_all_in(scene.raw)
    return content.checksums()


class Scene:
    """A tree with one series, and where its download goes."""

    def __init__(self, folder: Path, series: list[Dataset], open_folder: Opened) -> None:
        self.tree, self.folder = folder / "tree", folder
        write_files(series, self.tree)
        self.archive = Recording(open_folder(self.tree, folder / "index"))
        (found,) = self.archive.archive.find(Query(("A0000001",)))
        self.headers = sorted(
            self.archive.archive.headers(found), key=lambda header: header.sop_instance_uid
        )
        self.uids = [header.sop_instance_uid for header in self.headers]
        self.raw, self.received = folder / "raw" / "A1", folder / "received" / "A1.json"
        self.partial = folder / "raw" / ".partial" / "A1"

    def fetch(self) -> None:
        content = fetch_series(self.archive, self.headers, target=self.raw, received=self.received)  # type: ignore[arg-type]
        assert content == Received.read(self.received)

    def refused(self, reason: str, *, transient: bool) -> str:
        with pytest.raises(Fault) as caught:
            self.fetch()
        assert (caught.value.reason, caught.value.transient) == (reason, transient)
        assert not self.raw.exists()
        assert not self.received.exists()
        return str(caught.value)

    def assert_complete(self) -> None:
        names = sorted(path.name for path in self.raw.iterdir())
        assert [name for name in names if name[0] != "."] == [f"{u}.dcm" for u in self.uids]
        for header in self.headers:
            original = (self.tree / header.location).read_bytes()
            assert (self.raw / f"{header.sop_instance_uid}.dcm").read_bytes() == original
        assert set(received_in(self)) == set(self.uids)
        assert not self.partial.exists()


@pytest.fixture
def scene(tmp_path: Path, small_series: list[Dataset], open_folder: Opened) -> Scene:
    return Scene(tmp_path, small_series, open_folder)


# Complete or not there


def test_a_download_is_complete(scene: Scene) -> None:
    scene.fetch()
    scene.assert_complete()
    assert scene.archive.asked == [scene.uids]


def test_what_arrived_is_written_down(scene: Scene) -> None:
    shutil.copy(scene.tree / scene.headers[0].location, scene.tree / "copy")
    again = scene.archive.archive
    again.index.close()
    again.prepare(threads=1)
    (found,) = again.find(Query(("A0000001",)))
    scene.headers = again.headers(found)
    scene.fetch()
    content = read_sealed_json(scene.received)
    files = {u: scene.raw / f"{u}.dcm" for u in scene.uids}
    assert content == {
        "series_uid": scene.headers[0].series_uid,
        "instance_count": len(scene.uids),
        "transfer_syntaxes": [uid.ExplicitVRLittleEndian],
        "bytes": sum(path.stat().st_size for path in files.values()),
        "duplicate_files": 1,
        "instances": [
            {
                "sop_instance_uid": u,
                "bytes": path.stat().st_size,
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
                "transfer_syntax": uid.ExplicitVRLittleEndian,
            }
            for u, path in sorted(files.items())
        ],
    }


def test_an_interrupted_download_fetches_only_what_is_missing(scene: Scene) -> None:
    scene.archive.limit = 2
    message = scene.refused("transfer_incomplete", transient=True)
    assert scene.uids[2] in message
    assert len(list(scene.partial.iterdir())) == 2
    scene.archive.limit = None
    scene.fetch()
    assert scene.archive.asked == [scene.uids, scene.uids[2:]]
    scene.assert_complete()


def test_what_lies_half_written_or_does_not_belong_is_not_kept(scene: Scene) -> None:
    scene.archive.limit = 3
    scene.refused("transfer_incomplete", transient=True)
    damaged = scene.partial / f"{scene.uids[0]}.dcm"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    (scene.partial / "1.2.3.dcm").write_bytes(b"of another series")
    half = scene.partial / f".{scene.uids[5]}.77"
    half.write_bytes(b"of another process, killed or at work")
    scene.archive.limit = 0
    scene.refused("transfer_incomplete", transient=True)
    kept = {f"{u}.dcm" for u in scene.uids[1:3]}
    assert {path.name for path in scene.partial.iterdir()} == {half.name, *kept}
    scene.archive.limit = None
    scene.fetch()
    assert scene.archive.asked[1:] == 2 * [[scene.uids[0], *scene.uids[3:]]]
    scene.assert_complete()
    assert not list(scene.raw.glob(".*"))


def test_a_damaged_original_is_named_and_nothing_is_made(scene: Scene) -> None:
    path = scene.tree / scene.headers[3].location
    path.write_bytes(path.read_bytes()[:-300])
    message = scene.refused("truncated_file", transient=False)
    assert f"{scene.uids[3]}.dcm" in message


@pytest.mark.parametrize("keyword", ["SOPInstanceUID", "SeriesInstanceUID"])
def test_a_file_that_holds_another_instance_is_refused(
    scene: Scene, small_series: list[Dataset], keyword: str
) -> None:
    source = next(ds for ds in small_series if ds.SOPInstanceUID == scene.uids[2])
    other = copy.deepcopy(source)
    setattr(other, keyword, "1.2.3.4")
    other.save_as(scene.tree / scene.headers[2].location, enforce_file_format=True)
    message = scene.refused("checksum_mismatch", transient=False)
    assert f"{scene.uids[2]}.dcm" in message


def test_an_older_download_gives_way(scene: Scene) -> None:
    scene.raw.mkdir(parents=True)
    (scene.raw / "1.2.3.dcm").write_bytes(b"of the series that was chosen before")
    scene.fetch()
    scene.assert_complete()


# Two downloads of one series at the same time


def test_a_download_that_is_overtaken_ends_well(scene: Scene) -> None:
    def overtake(_into: Path) -> None:
        scene.archive.after = _nothing
        scene.fetch()

    scene.archive.after = overtake
    scene.fetch()
    scene.assert_complete()


def test_a_download_that_is_overtaken_before_its_first_file_ends_well(scene: Scene) -> None:
    fetch = scene.archive.archive.fetch

    def overtaken(instances: Sequence[Header], into: Path, arrived: Arrived) -> None:
        scene.archive.archive.fetch = fetch  # type: ignore[method-assign]
        scene.fetch()
        fetch(instances, into, arrived)

    scene.archive.archive.fetch = overtaken  # type: ignore[method-assign]
    scene.fetch()
    scene.assert_complete()


def test_a_download_that_is_overtaken_leaves_nothing_of_its_own(scene: Scene) -> None:
    def overtake(into: Path) -> None:
        scene.archive.after = _nothing
        scene.fetch()
        into.mkdir()
        (into / f"{scene.uids[0]}.dcm").write_bytes(b"half")

    scene.archive.after = overtake
    scene.fetch()
    scene.assert_complete()


@pytest.mark.parametrize(
    "damage", ["missing", "more", "changed", "of another series", "of other instances"]
)
def test_only_a_finished_download_of_the_same_files_is_taken_for_ones_own(
    scene: Scene, damage: str
) -> None:
    """After a fetch that fails, what another process has put there counts only if it is whole."""
    scene.fetch()
    file = scene.raw / f"{scene.uids[1]}.dcm"
    if damage == "missing":
        file.unlink()
    elif damage == "more":
        (scene.raw / "1.2.3.dcm").touch()
    elif damage == "changed":
        content = bytearray(file.read_bytes())
        content[-5] ^= 1
        file.write_bytes(content)
    elif damage == "of another series":
        scene.headers = [replace(header, series_uid="1.2.3") for header in scene.headers]
    else:
        scene.headers = scene.headers[1:]
    scene.archive.limit = 0
    with pytest.raises(Fault) as caught:
        scene.fetch()
    assert caught.value.reason == "transfer_incomplete"


def _download(tree: Path, headers: list[Header], raw: Path, received: Path, start: object) -> None:
    archive = FolderArchive(tree, link=False, store=raw, key=KEY)
    start.wait()  # type: ignore[attr-defined]
    fetch_series(archive, headers, target=raw, received=received)


def test_two_processes_do_each_other_no_harm(scene: Scene) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    for _ in range(3):
        barrier = context.Barrier(2)
        work = (scene.tree, scene.headers, scene.raw, scene.received, barrier)
        pair = [context.Process(target=_download, args=work) for _ in range(2)]
        for process in pair:
            process.start()
        for process in pair:
            process.join()
        assert [process.exitcode for process in pair] == [0, 0]
        scene.assert_complete()
        shutil.rmtree(scene.raw)
        scene.received.unlink()


# What was received is what is there


def test_a_raw_folder_that_lost_or_gained_files_is_refused(scene: Scene) -> None:
    scene.fetch()
    (scene.raw / ".snakemake_timestamp").touch()
    assert len(received_in(scene)) == 6
    (scene.raw / f"{scene.uids[0]}.dcm").unlink()
    (scene.raw / "1.2.dcm").touch()
    (scene.raw / "1.3.dcm").touch()
    with pytest.raises(Fault, match=r"1 missing, 2 unknown.*delete") as caught:
        received_in(scene)
    assert caught.value.reason == "checksum_mismatch"


# Whether a file is whole


NATIVE = [
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
    uid.DeflatedExplicitVRLittleEndian,
]
COMPRESSED = [uid.RLELossless, uid.JPEG2000Lossless]
"""JPEG 2000 in five resolutions needs 32 x 32 pixels."""


SEQUENCE_DELIMITER = 8
END_OF_STREAM = 3
"""End-of-image marker, and a byte that makes the length even."""


def file_of(folder: Path, syntax: str, *, frames: int = 1, bits: int = 12, size: int = 12) -> Path:
    stack = SliceStack.axial(count=frames, rows=size, columns=size)
    options = {"bits_stored": bits}
    if frames > 1:
        ds = make_enhanced(Phantom(), stack, **options)
    else:
        (ds,) = make_series(Phantom(), stack, **options)  # type: ignore[arg-type]
    (path,) = write_files([ds], folder, names=["file"], transfer_syntax=syntax)
    return path


def sizes(syntax: str, size: int) -> int:
    return size + 32 if syntax == uid.JPEG2000Lossless else size


def is_whole(path: Path) -> bool:
    try:
        check_whole(path)
    except Fault as fault:
        assert fault.reason in ("truncated_file", "no_pixel_data")
        assert str(path) in str(fault)
        return False
    return True


@pytest.mark.parametrize("syntax", [*NATIVE, *COMPRESSED], ids=lambda u: uid.UID(u).keyword)
@pytest.mark.parametrize(
    ("frames", "bits", "size"), [(1, 12, 12), (3, 12, 8), (1, 8, 7), (3, 16, 7)]
)
def test_a_whole_file_is_never_refused(
    tmp_path: Path, syntax: str, frames: int, bits: int, size: int
) -> None:
    size = sizes(syntax, size)
    dataset = check_whole(file_of(tmp_path, syntax, frames=frames, bits=bits, size=size))
    assert (dataset.Rows, dataset.get("NumberOfFrames", 1)) == (size, frames)


@pytest.mark.parametrize("syntax", [*NATIVE, *COMPRESSED], ids=lambda u: uid.UID(u).keyword)
@pytest.mark.parametrize("frames", [1, 3])
def test_a_file_cut_off_anywhere_is_caught(tmp_path: Path, syntax: str, frames: int) -> None:
    """Only what comes after the last frame's data may be missing."""
    path = file_of(tmp_path, syntax, frames=frames, size=sizes(syntax, 12))
    size = path.stat().st_size
    step = 17 if size < 5000 else 61
    points = {*range(0, size, step), *range(size - 40, size), 128, 131, 132}
    passed = []
    content = path.read_bytes()
    if syntax == uid.DeflatedExplicitVRLittleEndian and content[-1] == 0:
        points.discard(size - 1)  # the byte that makes the length even (PS3.5 A.5)
    for point in sorted(points):
        path.write_bytes(content[:point])
        if is_whole(path):
            passed.append(point)
    end = SEQUENCE_DELIMITER + END_OF_STREAM if syntax in COMPRESSED else 0
    assert all(point >= size - end for point in passed), f"{passed} of {size} bytes"
    assert (len(passed) >= SEQUENCE_DELIMITER) == (syntax in COMPRESSED)


@pytest.mark.parametrize("syntax", NATIVE[:3], ids=lambda u: uid.UID(u).keyword)
def test_elements_behind_the_pixels_may_be_there(tmp_path: Path, syntax: str) -> None:
    (ds,) = make_series(Phantom(), SliceStack.axial(count=1, rows=8, columns=8))
    ds.DataSetTrailingPadding = bytes(64)
    (path,) = write_files([ds], tmp_path, transfer_syntax=syntax)
    assert is_whole(path)


def test_an_object_without_pixels_is_whole(tmp_path: Path) -> None:
    (path,) = write_files([make_dose_report()], tmp_path)
    assert is_whole(path)


def test_a_ct_image_without_pixels_is_not(tmp_path: Path) -> None:
    (ds,) = make_series(Phantom(), SliceStack.axial(count=1, rows=8, columns=8))
    del ds.PixelData
    (path,) = write_files([ds], tmp_path)
    with pytest.raises(Fault, match="it has no pixel data") as caught:
        check_whole(path)
    assert caught.value.reason == "no_pixel_data"


def test_more_frames_than_pixels_is_caught(tmp_path: Path) -> None:
    stack = SliceStack.axial(count=3, rows=8, columns=8)
    ds = make_enhanced(Phantom(), stack)
    ds.NumberOfFrames = 4
    (path,) = write_files([ds], tmp_path)
    assert not is_whole(path)


def test_what_a_uid_is() -> None:
    odd = [
        "1.3.6.1.4.1.45037.9fA0C",
        "022f82f4-e9df-4533-b237-6ab563dfaf56",
        "f" * 128,
        "-a",
        "x_1",
    ]
    assert all(map(is_uid, ["1", "1.2.840.10008", "9" * 64, "1.02", *odd]))
    bad = ["", ".", "1.", ".1", "1..2", "1.2\n", "1/2", "../1", "1 ", "9" * 129, "\u0661", "a\\b"]
    assert not any(map(is_uid, bad))
