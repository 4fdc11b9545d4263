"""No byte of a received file is believed before it was compared with its checksum."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest
import yaml
from pydicom.dataset import Dataset

from ctcohort.archives.protocol import Query
from ctcohort.base.faults import Fault
from ctcohort.config.settings import VolumeSettings, canonical_volume, parse
from ctcohort.series.download import fetch_series
from ctcohort.volume.build import make_volume

from .opened import REPOSITORY, Opened

DEFAULTS = yaml.safe_load((REPOSITORY / "config.yaml").read_text())["volume"]
RULES = parse(canonical_volume({**DEFAULTS, "spacing_mm": 6.5}), VolumeSettings)


@pytest.fixture
def series(small_series: list[Dataset], tmp_path: Path, open_folder: Opened) -> tuple[Path, Path]:
    """``raw/A`` and ``received/A.json`` of a small series, as a download leaves them."""
    for dataset in small_series:
        dataset.save_as(tmp_path / f"{dataset.InstanceNumber}", enforce_file_format=True)
    archive = open_folder(tmp_path, tmp_path / "index")
    (found,) = archive.find(Query(("A0000001",)))
    raw, received = tmp_path / "raw" / "A", tmp_path / "received" / "A.json"
    fetch_series(archive, archive.headers(found), target=raw, received=received)
    return raw, received


def refused(raw: Path, received: Path) -> str:
    with pytest.raises(Fault) as caught:
        make_volume(raw, received, RULES)
    assert caught.value.reason == "checksum_mismatch"
    return str(caught.value)


def test_a_series_as_it_was_received_is_a_volume(series: tuple[Path, Path]) -> None:
    volume, _ = make_volume(*series, RULES)
    assert volume.ct.any()


def test_an_orientation_without_a_backslash_is_noticed(series: tuple[Path, Path]) -> None:
    """One bit: the orientation is no longer six numbers, and the slice would be left out."""
    raw, received = series
    damaged = sorted(raw.iterdir())[3]
    content = damaged.read_bytes()
    start = content.index(b"\x20\x00\x37\x00DS")
    place = content.index(b"\\", start)
    damaged.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
    assert str(damaged) in refused(raw, received)


def test_every_flipped_bit_of_a_header_is_noticed(series: tuple[Path, Path]) -> None:
    raw, received = series
    choice = random.Random(0)
    files = sorted(raw.iterdir())
    for _ in range(150):
        damaged = choice.choice(files)
        content = damaged.read_bytes()
        spoilt = bytearray(content)
        spoilt[choice.randrange(content.index(b"\xe0\x7f\x10\x00"))] ^= 1 << choice.randrange(8)
        damaged.write_bytes(spoilt)
        assert str(damaged) in refused(raw, received)
        damaged.write_bytes(content)
    make_volume(raw, received, RULES)


@pytest.mark.parametrize("instead", ["nothing in it", "a folder", "half of it"])
def test_a_file_that_is_something_else_is_named(series: tuple[Path, Path], instead: str) -> None:
    raw, received = series
    damaged = sorted(raw.iterdir())[2]
    content = damaged.read_bytes()
    damaged.unlink()
    if instead == "a folder":
        damaged.mkdir()
    else:
        damaged.write_bytes(content[: len(content) // 2] if instead == "half of it" else b"")
    assert str(damaged) in refused(raw, received)


def test_a_series_folder_that_is_missing_is_named(series: tuple[Path, Path]) -> None:
    raw, received = series
    shutil.rmtree(raw)
    assert str(raw) in refused(raw, received)


def test_a_value_that_cannot_be_converted_names_its_file(
    small_series: list[Dataset], tmp_path: Path, open_folder: Opened
) -> None:
    """One byte where PixelRepresentation has two."""
    for dataset in small_series:
        dataset.save_as(tmp_path / f"{dataset.InstanceNumber}", enforce_file_format=True)
    spoilt = tmp_path / f"{small_series[3].InstanceNumber}"
    content = spoilt.read_bytes()
    element = bytes.fromhex("28000301") + b"US\2\0\0\0"
    assert content.count(element) == 1
    spoilt.write_bytes(content.replace(element, element[:6] + b"\1\0\0"))
    archive = open_folder(tmp_path, tmp_path / "index")
    (found,) = archive.find(Query(("A0000001",)))
    raw, received = tmp_path / "raw" / "A", tmp_path / "received" / "A.json"
    fetch_series(archive, archive.headers(found), target=raw, received=received)
    with pytest.raises(Fault, match=str(raw / f"{small_series[3].SOPInstanceUID}.dcm")) as caught:
        make_volume(raw, received, RULES)
    assert caught.value.reason == "undecodable_pixels"
