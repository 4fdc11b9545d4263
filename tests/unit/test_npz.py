"""The volume's file: plain, deterministic, small, and the golden bytes of an algorithm version."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import zipfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest

from ctcohort import ALGORITHM_VERSION
from ctcohort.archives.folder import FolderArchive
from ctcohort.archives.protocol import Query
from ctcohort.config.settings import VolumeSettings
from ctcohort.phantoms.anatomy import Phantom
from ctcohort.phantoms.stack import SliceStack
from ctcohort.phantoms.writer import make_series, write_files
from ctcohort.series.download import fetch_series
from ctcohort.volume import npz, resampling
from ctcohort.volume.build import make_volume

from .opened import KEY, REPOSITORY

GOLDEN = Path(__file__).with_name("golden.json")
RENEW = "PYTHONPATH=scripts python -m tests.unit.test_npz"
Arrays = dict[str, np.ndarray[Any, Any]]


@pytest.fixture(scope="module")
def arrays() -> Arrays:
    """A noisy phantom, seen in slices of 2.5 mm and resampled to 0.8 mm."""
    slices = Phantom().volume((30, 200, 200), (-70, -70, 60), (-2.5, 0.7, 0.7), np.eye(3)[:, ::-1])
    noisy = slices + np.random.default_rng(1).normal(0, 12, slices.shape)
    hu = np.clip(np.rint(noisy), -1000, 1000)
    z, y, x = (
        resampling.axis(
            np.arange(count) * step,
            np.arange(resampling.output_size(count, step, 0.8)) * 0.8,
            step=step,
            interpolator="bspline",
        )
        for count, step in zip(hu.shape, (2.5, 0.7, 0.7), strict=True)
    )
    straight = resampling.Straight(z, y, x)

    def arrive(places: range) -> None:
        for place in places:
            straight.add_slice(place, hu[place])

    return {
        "ct": straight.volume(arrive, (-1000, 1000)),
        "spacing": np.array([0.8, 0.8, 0.8]),
        "origin": np.array([-1.5, 2.0, 3.0]),
        "direction": np.eye(3)[:, ::-1],
    }


def test_plain_numpy_reads_it_without_pickle(tmp_path: Path, arrays: Arrays) -> None:
    npz.write(tmp_path / "a.npz", arrays)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as read:
        assert list(read) == list(arrays)
        for key, array in arrays.items():
            assert read[key].dtype == array.dtype
            assert read[key].flags.c_contiguous
            assert np.array_equal(read[key], array)


def test_it_is_a_sound_zip_archive_without_times(tmp_path: Path, arrays: Arrays) -> None:
    npz.write(tmp_path / "a.npz", arrays)
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        assert archive.testzip() is None
        members = archive.infolist()
    assert [member.filename for member in members] == [f"{key}.npy" for key in arrays]
    assert {member.date_time for member in members} == {(1980, 1, 1, 0, 0, 0)}
    assert {member.extra + member.comment for member in members} == {b""}


def test_equal_arrays_give_equal_bytes(tmp_path: Path, arrays: Arrays) -> None:
    npz.write(tmp_path / "a.npz", arrays)
    backwards = {key: np.asfortranarray(array) for key, array in arrays.items()}
    npz.write(tmp_path / "other name.npz", backwards)
    os.utime(tmp_path / "a.npz", (0, 0))
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "other name.npz").read_bytes()


def test_it_is_hardly_larger_than_numpys_own(tmp_path: Path, arrays: Arrays) -> None:
    npz.write(tmp_path / "a.npz", arrays)
    np.savez_compressed(tmp_path / "b.npz", **arrays)
    assert (tmp_path / "a.npz").stat().st_size <= 1.02 * (tmp_path / "b.npz").stat().st_size


def test_noise_is_deflated_at_a_low_level_and_what_shrinks_on_at_a_higher() -> None:
    noise = np.random.default_rng(2).normal(0, 30, 1 << 21).astype(np.int16)
    assert npz.level(noise.tobytes()) == 1
    z, y, x = np.ogrid[:64, :160, :160]
    smooth = np.rint(900 * np.cos(x / 9) * np.cos(y / 9) * np.cos(z / 9)).astype(np.int16)
    assert npz.level(smooth.tobytes()) > 1


def test_a_level_is_chosen_on_what_represents_the_volume() -> None:
    """Air on one side of every slice, noise on the other: no piece may lie on one side alone."""
    slices, row = 64, 1 << 18
    random = np.random.default_rng(3)
    sides = {
        "air first": lambda: np.r_[np.zeros(row // 2, np.int16), random.normal(0, 30, row // 2)],
        "noise first": lambda: np.r_[random.normal(0, 30, row // 2), np.zeros(row // 2, np.int16)],
    }
    for make in sides.values():
        volume = np.concatenate([make().astype(np.int16) for _ in range(slices)]).tobytes()
        assert npz.level(volume) == _best_level(volume)


def _best_level(content: bytes) -> int:
    """The cheapest level after which the next one saves less than 1 % of the whole."""
    sizes = [len(imagecodecs.deflate_encode(content, level=at, raw=True)) for at in (1, 2, 3)]
    gains = [1 - after / before for before, after in pairwise(sizes)]
    return next((at for at, gain in enumerate(gains, 1) if gain < 0.01), 3)


def test_nothing_half_written_has_the_final_name(
    tmp_path: Path, arrays: Arrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        npz.write(tmp_path / "a.npz", arrays)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_array_can_be_written(tmp_path: Path) -> None:
    npz.write(tmp_path / "a.npz", {"ct": np.zeros((0, 3), np.int16)})
    with np.load(tmp_path / "a.npz") as read:
        assert read["ct"].shape == (0, 3)


# Golden output


CASES: dict[str, tuple[SliceStack, VolumeSettings]] = {
    case: (
        stack,
        VolumeSettings(
            irregular_spacing=irregular,
            gantry_tilt="correct",
            max_gap_mm=50.0,
            spacing_mm=spacing,  # type: ignore[arg-type]
            interpolator=interpolator,
        ),
    )
    for case, stack, irregular, spacing, interpolator in (
        (
            "bspline",
            SliceStack.axial(count=12, step=5.0, rows=40, columns=36, pixel_spacing=(2.1, 2.3)),
            "mode",
            (2.0, 2.0, 2.0),
            "bspline",
        ),
        (
            "linear, prone",
            SliceStack.oriented("FFP", count=10, step=5.0, rows=40, columns=40),
            "mode",
            (3.0, 2.0, 2.5),
            "linear",
        ),
        (
            "true positions",
            SliceStack.axial(count=16, step=4.0, rows=32, columns=32).take(
                [*range(6), *range(9, 16)]
            ),
            "positions",
            (2.0, 2.0, 2.0),
            "bspline",
        ),
        (
            "tilted, feet first",
            SliceStack.tilted(12, count=24, step=4.0, rows=32, columns=40, position="FFS"),
            "mode",
            (2.0, 2.0, 2.5),
            "bspline",
        ),
    )
}


def made(case: str, folder: Path, threads: int) -> dict[str, str]:
    """SHA-256 of the voxels and of each member of the file."""
    stack, rules = CASES[case]
    series = make_series(Phantom(), stack, padding=0)
    write_files(series, folder / "archive")
    archive = FolderArchive(folder / "archive", link=False, store=folder / "index", key=KEY)
    archive.prepare(threads=1)
    (found,) = archive.find(Query(("A0000001",)))
    raw, received = folder / "raw" / "A", folder / "A.json"
    fetch_series(archive, archive.headers(found), target=raw, received=received)
    archive.index.close()
    volume, _ = make_volume(raw, received, rules, threads=threads)
    npz.write(folder / "a.npz", volume.arrays())
    with zipfile.ZipFile(folder / "a.npz") as members:
        content = {name: members.read(name) for name in members.namelist()}
    hashes = {name: hashlib.sha256(each).hexdigest() for name, each in content.items()}
    return {"ct": hashlib.sha256(volume.ct.tobytes()).hexdigest(), **hashes}


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("case", CASES)
def test_the_bytes_of_a_volume_are_those_of_its_algorithm_version(
    tmp_path: Path, case: str, threads: int
) -> None:
    golden = json.loads(GOLDEN.read_text())
    found = made(case, tmp_path, threads)
    assert golden["algorithm_version"] == ALGORITHM_VERSION, (
        f"{GOLDEN.name} is of algorithm version {golden['algorithm_version']}, the code"
        f" is at {ALGORITHM_VERSION}: renew it with `{RENEW}`"
    )
    assert found == golden["volumes"][case], (
        "The same slices now make other bytes, so published volumes would no longer be what their"
        " algorithm_version says. If that was not meant, find the cause. If it was, raise"
        " ALGORITHM_VERSION in scripts/ctcohort/__init__.py (every volume is then made again),"
        f" renew golden.json with `{RENEW}`, and say in the changelog what differs."
    )


def test_the_golden_bytes_are_renewed_only_with_a_new_version(tmp_path: Path) -> None:
    text = GOLDEN.read_text()
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY / "scripts"), "TMPDIR": str(tmp_path)}
    run = subprocess.run(
        [sys.executable, "-m", "tests.unit.test_npz"],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode != 0
    assert "raise ALGORITHM_VERSION first" in run.stderr
    assert GOLDEN.read_text() == text


if __name__ == "__main__":
    import tempfile

    if GOLDEN.exists() and json.loads(GOLDEN.read_text())["algorithm_version"] == ALGORITHM_VERSION:
        sys.exit("golden.json is that of this version; raise ALGORITHM_VERSION first")
    volumes = {}
    for each in CASES:
        with tempfile.TemporaryDirectory() as place:
            volumes[each] = made(each, Path(place), 1)
    content = {"algorithm_version": ALGORITHM_VERSION, "volumes": volumes}
    GOLDEN.write_text(json.dumps(content, indent=1) + "\n")
