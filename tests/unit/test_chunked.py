"""A volume as Blosc2: every voxel of the npz, where the npz has it, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import blosc2
import numpy as np
import pytest

from ctcohort.base.faults import InputError
from ctcohort.base.files import sha256
from ctcohort.release.guard.chunked_file import is_proven
from ctcohort.volume import chunked, npz

SHAPE = (70, 65, 130)
DIRECTION = np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])


def write_volume(path: Path, high: int = 1000) -> np.ndarray:
    random = np.random.default_rng(1)
    ct = np.clip(random.normal(-300, 500, SHAPE), -1000, high).astype(np.int16)
    place = {"spacing": [0.8, 0.7, 1 / 3], "origin": [-170.5, 1e-3, 88.0]}
    arrays = {"ct": ct, **{key: np.array(value) for key, value in place.items()}}
    npz.write(path, {**arrays, "direction": DIRECTION})
    return ct


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    write_volume(tmp_path / "A1.npz")
    return tmp_path / "A1.npz"


@pytest.fixture
def made(volume: Path, tmp_path: Path) -> Path:
    chunked.write(volume, tmp_path / "chunked" / "A1.b2nd")
    return tmp_path / "chunked" / "A1.b2nd"


def test_blosc2_reads_what_the_npz_holds(volume: Path, made: Path) -> None:
    scan = blosc2.open(made, mode="r")
    with np.load(volume) as arrays:
        assert np.array_equal(scan[:], arrays["ct"])
        assert scan.dtype == arrays["ct"].dtype
        assert np.array_equal(scan[60:70, 3:9, 60:80], arrays["ct"][60:70, 3:9, 60:80])
        for key in ("spacing", "origin", "direction"):
            assert np.array_equal(scan.schunk.meta[key], arrays[key])
    assert scan.chunks == (64, 64, 64)
    assert scan.schunk.meta["npz_sha256"] == sha256(volume)
    assert len(scan.schunk.vlmeta) == 0
    assert chunked.difference(made, volume) == ""


def test_the_same_volume_gives_the_same_bytes_in_any_process(volume: Path, tmp_path: Path) -> None:
    script = Path(__file__).parents[2] / "scripts" / "export_chunked.py"
    written = []
    for number, variables in enumerate(({}, {"BLOSC_NTHREADS": "4"}, {"BLOSC_CLEVEL": "9"})):
        target = tmp_path / f"{number}.b2nd"
        subprocess.run(
            [sys.executable, script, volume, target],
            check=True,
            env=os.environ | variables,
            capture_output=True,
        )
        written.append(target.read_bytes())
    assert written[0] == written[1] == written[2]
    assert target.stat().st_mode & 0o777 == 0o600


def test_nothing_half_written_has_the_name(
    volume: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr(chunked, "packed", killed)
    with pytest.raises(KeyboardInterrupt):
        chunked.write(volume, tmp_path / "A1.b2nd")
    assert {path.name for path in tmp_path.iterdir()} == {"A1.npz"}


def test_what_is_no_volume_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", ct=np.zeros(3))
    with pytest.raises(InputError, match="expected an npz with"):
        chunked.write(tmp_path / "x.npz", tmp_path / "x.b2nd")


def test_a_difference_is_named(volume: Path, made: Path) -> None:
    ct, metadata = chunked.unpacked(made.read_bytes())
    ct[3, 4, 5] += 1
    made.write_bytes(chunked.packed(ct, metadata))
    assert "has other voxels than" in chunked.difference(made, volume)
    ct[3, 4, 5] -= 1
    moved = {**metadata, "origin": [0.0, 0.0, 0.0]}
    made.write_bytes(chunked.packed(ct, moved))
    assert "has another spacing, origin or direction" in chunked.difference(made, volume)
    made.write_bytes(b"no frame")
    assert "is not a chunked volume" in chunked.difference(made, volume)
    made.write_bytes(chunked.packed(ct, metadata)[:-5000])
    assert chunked.difference(made, volume)


def test_a_proven_file_holds_nothing_else(made: Path) -> None:
    assert is_proven(made)
    content = made.read_bytes()
    ct, metadata = chunked.unpacked(content)
    for other in (
        content + b"MRN7712831",
        chunked.packed(ct, {**metadata, "note": "MRN7712831"}),
        chunked.packed(ct, {**metadata, "npz_sha256": "MRN7712831"}),
        chunked.packed(ct, {**metadata, "origin": ["MRN7712831", 0.0, 0.0]}),
        b"MRN7712831",
    ):
        made.write_bytes(other)
        assert not is_proven(made)


def test_voxels_that_could_be_letters_are_not_proven(tmp_path: Path) -> None:
    write_volume(tmp_path / "A1.npz", high=20000)
    chunked.write(tmp_path / "A1.npz", tmp_path / "A1.b2nd")
    ct, metadata = chunked.unpacked((tmp_path / "A1.b2nd").read_bytes())
    ct[0, 0, 0] = 20000
    (tmp_path / "A1.b2nd").write_bytes(chunked.packed(ct, metadata))
    assert not is_proven(tmp_path / "A1.b2nd")


def test_the_command_line_says_what_it_expects(volume: Path, tmp_path: Path) -> None:
    script = Path(__file__).parents[2] / "scripts" / "export_chunked.py"
    for arguments, message in (
        ((volume, tmp_path / "A1.zarr"), "ends in .b2nd"),
        ((tmp_path / "no.npz", tmp_path / "A1.b2nd"), "is not there"),
    ):
        done = subprocess.run(
            [sys.executable, script, *arguments], capture_output=True, text=True, check=False
        )
        assert done.returncode != 0
        assert message in done.stderr
        assert "Traceback" not in done.stderr
