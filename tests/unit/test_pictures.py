"""The picture of one scan."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ctcohort.page.pictures import SCROLL_FRAMES, draw, draw_scroll, draw_thumbnail, read_volume
from ctcohort.phantoms.anatomy import Phantom
from ctcohort.volume import npz
from ctcohort.volume.record import DroppedSlice
from tests.records import scan_record

RECORD = scan_record(spacing=[4.0, 3.0, 3.0], flags=["spacing_irregular"])


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Path:
    ct = Phantom().volume(
        (60, 100, 120), (-180, -150, 120), (4, -3, 3), np.diag([1, -1, -1.0])[:, ::-1]
    )
    path = tmp_path_factory.mktemp("volume") / "a.npz"
    arrays = {"ct": np.rint(ct).astype(np.int16), "spacing": np.array([4.0, 3.0, 3.0])}
    npz.write(path, arrays)
    return path


def chunks(content: bytes) -> list[tuple[bytes, bytes]]:
    """Types and contents of a PNG's chunks."""
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    found, at = [], 8
    while at < len(content):
        (length,) = struct.unpack_from(">I", content, at)
        found.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


def drawn(volume: Path, target: Path, title: str = "A1", **changes: Any) -> bytes:
    draw(*read_volume(volume), replace(RECORD, **changes), title, target)
    assert [path.name for path in target.parent.iterdir()] == [target.name]
    return target.read_bytes()


def test_a_picture_has_its_size_and_no_text_metadata(volume: Path, tmp_path: Path) -> None:
    parts = chunks(drawn(volume, tmp_path / "a.png"))
    assert struct.unpack(">II", parts[0][1][:8]) == (1200, 640)
    assert {kind for kind, _ in parts} == {b"IHDR", b"pHYs", b"IDAT", b"IEND"}


def test_the_same_scan_gives_the_same_bytes(volume: Path, tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "2").mkdir()
    one = drawn(volume, tmp_path / "1" / "a.png")
    assert drawn(volume, tmp_path / "2" / "a.png") == one
    (tmp_path / "3").mkdir()
    assert drawn(volume, tmp_path / "3" / "a.png", "A2") != one


@pytest.mark.parametrize("title", ["A$^$1", "A$\\x$", "A_1^{", "  /%"])
def test_an_accession_is_text_and_no_formula(volume: Path, tmp_path: Path, title: str) -> None:
    drawn(volume, tmp_path / "a.png", title)


def coloured(picture: bytes, tmp_path: Path) -> dict[str, int]:
    """Pixels of a picture whose colour is that of a mark."""
    (tmp_path / "seen.png").write_bytes(picture)
    with Image.open(tmp_path / "seen.png") as image:
        red, green, blue = np.moveaxis(np.asarray(image.convert("RGB"), dtype=int), 2, 0)
    return {
        "missing": int(((red > 120) & (green < 60) & (blue < 60)).sum()),
        "dropped": int(((blue > 120) & (red < 60) & (green > 80)).sum()),
        "tilt": int(((green > 120) & (red < 60) & (blue < 60)).sum()),
    }


def test_an_even_straight_scan_has_no_marks(volume: Path, tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    marks = coloured(drawn(volume, tmp_path / "1" / "a.png"), tmp_path)
    assert marks == {"missing": 0, "dropped": 0, "tilt": 0}


def test_missing_slices_are_marked(volume: Path, tmp_path: Path) -> None:
    source = replace(RECORD.source, missing_slices=3)
    places = [z for n, z in enumerate(RECORD.z_positions) if not 10 <= n < 13]
    (tmp_path / "1").mkdir()
    picture = drawn(volume, tmp_path / "1" / "a.png", source=source, z_positions=places)
    marks = coloured(picture, tmp_path)
    assert marks["missing"] > 200
    assert not marks["dropped"] + marks["tilt"]


def test_dropped_slices_are_marked_where_they_lay(volume: Path, tmp_path: Path) -> None:
    lost = DroppedSlice(sop_instance_uid="1.2", frame=0, why="duplicate", z=-50.0)
    dropped = [lost, replace(lost, z=None)]
    (tmp_path / "1").mkdir()
    marks = coloured(drawn(volume, tmp_path / "1" / "a.png", dropped=dropped), tmp_path)
    assert marks["dropped"] > 20
    assert not marks["missing"] + marks["tilt"]


def test_the_slices_of_a_corrected_tilt_are_drawn_as_they_lay(volume: Path, tmp_path: Path) -> None:
    tilt = {
        "flags": ["tilt_corrected"],
        "source": replace(RECORD.source, tilt_degrees=12.0, missing_slices=2),
        "orientation": [1.0, 0.0, 0.0, 0.0, 0.978148, 0.207912],
        "transform": [[0.0, 0.0, 3.0, 0.0], [0.0, 3.0, 0.0, 0.0], [-4.0, 0.0, 0.0, 0.0]],
    }
    (tmp_path / "1").mkdir()
    marks = coloured(drawn(volume, tmp_path / "1" / "a.png", **tilt), tmp_path)
    assert marks["tilt"] > 200
    assert not marks["missing"] + marks["dropped"]


def test_a_thumbnail_is_small_and_keeps_the_body_in_shape(volume: Path, tmp_path: Path) -> None:
    draw_thumbnail(*read_volume(volume), tmp_path / "a.webp")
    assert (tmp_path / "a.webp").stat().st_size < 8000
    with Image.open(tmp_path / "a.webp") as image:
        # coronal 360 x 240 mm, axial 360 x 300 mm, each 128 pixels wide
        assert image.size == (128 + 128 + 2, 128)


def test_a_scroll_shows_every_slice_of_a_short_scan_once(volume: Path, tmp_path: Path) -> None:
    draw_scroll(*read_volume(volume), tmp_path / "a.webp")
    with Image.open(tmp_path / "a.webp") as image:
        assert (image.n_frames, image.size, image.info["loop"]) == (60, (320, 267), 0)


def test_a_scroll_of_a_long_scan_is_no_longer(tmp_path: Path) -> None:
    draw_scroll(np.full((400, 8, 8), -1000, np.int16), np.ones(3), tmp_path / "a.webp")
    with Image.open(tmp_path / "a.webp") as image:
        assert image.n_frames == SCROLL_FRAMES


def test_a_volume_of_air_alone_can_be_drawn(tmp_path: Path) -> None:
    (tmp_path / "v").mkdir()
    arrays = {"ct": np.full((5, 6, 7), -1000, np.int16), "spacing": np.ones(3)}
    npz.write(tmp_path / "v" / "a.npz", arrays)
    (tmp_path / "p").mkdir()
    assert drawn(tmp_path / "v" / "a.npz", tmp_path / "p" / "a.png")
