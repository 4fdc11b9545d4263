"""A header is read whatever its writer left out, and nothing else is taken for DICOM."""

from __future__ import annotations

import io
import zlib
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from ctcohort.dicom.headers import KEYWORDS, header_of
from ctcohort.dicom.integrity import check_whole
from ctcohort.dicom.reading import HEADER_LIMIT, UNDEFINED, DicomFile, NotDicom, open_file
from ctcohort.phantoms.anatomy import Phantom
from ctcohort.phantoms.stack import SliceStack
from ctcohort.phantoms.writer import make_series, write_files
from ctcohort.release.guard.gather import _named_in_headers

from .opened import KEY

PLAIN = [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian]
GE_PRIVATE = "1.2.840.113619.5.2"


@pytest.fixture
def instance() -> Dataset:
    (ds,) = make_series(Phantom(), SliceStack.axial(count=1, rows=8, columns=8), noise=0)
    return ds


def written(instance: Dataset, folder: Path, syntax: str) -> bytes:
    (path,) = write_files([instance], folder, transfer_syntax=syntax)
    return path.read_bytes()


def data_set(content: bytes) -> int:
    """Offset of the first element after the File Meta Information."""
    return 132 + 12 + int.from_bytes(content[140:144], "little")


def opened(content: bytes) -> DicomFile:
    return open_file(io.BytesIO(content))


def facts(file: DicomFile) -> object:
    return header_of(file.dataset, key=KEY, pixels=file.start is not None)


def pixels(content: bytes, file: DicomFile) -> bytes:
    assert file.start is not None
    return content[file.start : file.start + file.length]


@pytest.mark.parametrize("syntax", PLAIN)
@pytest.mark.parametrize("left", ["everything", "no preamble", "only DICM", "no File Meta", "data"])
def test_what_is_left_out_changes_nothing(
    instance: Dataset, tmp_path: Path, syntax: str, left: str
) -> None:
    whole = written(instance, tmp_path, syntax)
    at = data_set(whole)
    content = {
        "everything": whole,
        "no preamble": whole[132:],
        "only DICM": whole[:132] + whole[at:],
        "no File Meta": bytes(128) + b"DICM" + whole[at:],
        "data": whole[at:],
    }[left]
    file = opened(content)
    assert facts(file) == facts(opened(whole))
    assert file.transfer_syntax == syntax
    assert pixels(content, file) == pixels(whole, opened(whole))
    path = tmp_path / "file"
    path.write_bytes(content)
    assert check_whole(path).SOPInstanceUID == instance.SOPInstanceUID
    path.write_bytes(content[:-1])
    with pytest.raises(Exception, match=str(path)):
        check_whole(path)


@pytest.mark.parametrize("real", PLAIN)
@pytest.mark.parametrize("declared", [*PLAIN, DeflatedExplicitVRLittleEndian, ""])
def test_the_data_set_counts_where_the_file_declares_another_encoding(
    instance: Dataset, tmp_path: Path, real: str, declared: str
) -> None:
    whole = written(instance, tmp_path / "a", real)
    meta = written(instance, tmp_path / "b", declared or ExplicitVRLittleEndian)
    content = meta[: data_set(meta)] + whole[data_set(whole) :]
    if not declared:
        named = ExplicitVRLittleEndian.encode() + bytes(len(ExplicitVRLittleEndian) % 2)
        content = content.replace(named, bytes(len(named)), 1)
    file = opened(content)
    assert facts(file) == facts(opened(whole))
    assert (file.declared, file.transfer_syntax) == (declared, real)
    assert pixels(content, file) == pixels(whole, opened(whole))


@pytest.mark.parametrize("real", PLAIN[:2])
def test_a_private_transfer_syntax_is_kept_and_its_data_set_read(
    instance: Dataset, tmp_path: Path, real: str
) -> None:
    whole = written(instance, tmp_path, real)
    named = b"\x02\x00\x10\x00UI\x12\x00" + GE_PRIVATE.encode()
    content = bytes(128) + b"DICM" + named + whole[data_set(whole) :]
    file = opened(content)
    assert (file.declared, file.transfer_syntax) == (GE_PRIVATE, GE_PRIVATE)
    assert facts(file) == facts(opened(whole))


@pytest.mark.parametrize("syntax", [*PLAIN, RLELossless])
def test_pixel_data_before_what_describes_it(
    instance: Dataset, tmp_path: Path, syntax: str
) -> None:
    whole = written(instance, tmp_path, syntax)
    order = "big" if syntax == ExplicitVRBigEndian else "little"
    tag = (0x0028).to_bytes(2, order) + (0x0002).to_bytes(2, order)
    first, last = (
        whole.index(tag),
        whole.rindex((0x7FE0).to_bytes(2, order) + b"\x10\0"[:: 1 if order == "little" else -1]),
    )
    content = whole[:first] + whole[last:] + whole[first:last]
    file = opened(content)
    assert facts(file) == facts(opened(whole))
    assert pixels(content, file)[:16] == pixels(whole, opened(whole))[:16]
    assert (file.length == UNDEFINED) is (syntax == RLELossless)


def test_a_file_that_ends_inside_early_pixel_data_is_refused(
    instance: Dataset, tmp_path: Path
) -> None:
    whole = written(instance, tmp_path, ExplicitVRLittleEndian)
    first, last = whole.index(b"\x28\0\x02\0"), whole.rindex(b"\xe0\x7f\x10\0")
    with pytest.raises(EOFError, match="inside its pixel data"):
        opened(whole[:first] + whole[last:-1])


def test_no_pixel_data_is_seen(instance: Dataset, tmp_path: Path) -> None:
    del instance.PixelData
    file = opened(written(instance, tmp_path, ExplicitVRLittleEndian))
    assert (file.start, file.length) == (None, 0)
    assert facts(file).pixels is False  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x08",
        b"text\n" * 100,
        b"\x89PNG\r\n\x1a\n" + bytes(500),
        bytes(500),
        b"\xff" * 500,
        b"PK\x03\x04" + bytes(500),
        bytes(128) + b"DICX" + bytes(300),
        b"\x08\x00\x05\x00\xff\xff\xff\x7f" + bytes(300),  # a length beyond the file
        b"\x10\x00\x10\x00PN\x04\x00abcd" + bytes(300),  # no data set begins with group 0010
    ],
)
def test_what_is_not_dicom_is_not_taken_for_it(content: bytes) -> None:
    with pytest.raises(NotDicom):
        opened(content)


# Deflated


def deflated(content: bytes, meta: bytes) -> bytes:
    packer = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    return meta + packer.compress(content) + packer.flush()


def test_a_deflated_header_is_inflated_as_far_as_it_is_read(
    instance: Dataset, tmp_path: Path
) -> None:
    whole = written(instance, tmp_path / "a", DeflatedExplicitVRLittleEndian)
    plain = written(instance, tmp_path / "b", ExplicitVRLittleEndian)
    file = opened(whole)
    assert facts(file) == facts(opened(plain))
    assert file.value(128) == pixels(plain, opened(plain))
    assert file.value(16) == pixels(plain, opened(plain))[:16]


@pytest.mark.parametrize("cut", [2, 5, 30])
def test_a_deflated_file_that_is_cut_off_gives_no_value(
    instance: Dataset, tmp_path: Path, cut: int
) -> None:
    whole = written(instance, tmp_path, DeflatedExplicitVRLittleEndian)
    with pytest.raises(EOFError, match="cut off"):
        opened(whole[:-cut]).value(128)


@pytest.mark.parametrize("where", ["before the pixels", "in the pixels", "after the pixels"])
def test_a_small_file_never_inflates_to_gigabytes(
    instance: Dataset, tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only what the header describes is inflated: counted, because memory is hard to measure."""
    plain = written(instance, tmp_path, ExplicitVRLittleEndian)
    at, end = data_set(plain), plain.rindex(b"\xe0\x7f\x10\0")
    zeros = bytes(4 * HEADER_LIMIT)
    private = b"\x29\0\x10\0OB\0\0" + len(zeros).to_bytes(4, "little")
    bomb = {
        "before the pixels": plain[at:end] + private + zeros + plain[end:],
        "in the pixels": plain[at:end] + b"\xe0\x7f\x10\0OW\0\0\0\0\0\xf0" + zeros,
        "after the pixels": plain[at:] + b"\xfc\xff\xfc\xffOB\0\0\0\0\0\xf0" + zeros,
    }[where]
    meta = written(instance, tmp_path / "b", DeflatedExplicitVRLittleEndian)
    content = deflated(bomb, meta[: data_set(meta)])
    assert len(content) < 1 << 21
    made = 0
    plain_object = zlib.decompressobj

    class Counted:
        def __init__(self, bits: int) -> None:
            self.inner = plain_object(bits)

        def __getattr__(self, name: str) -> object:
            return getattr(self.inner, name)

        def decompress(self, data: bytes, most: int) -> bytes:
            nonlocal made
            piece = self.inner.decompress(data, most)
            made += len(piece)
            return piece

    monkeypatch.setattr(zlib, "decompressobj", Counted)
    if where == "before the pixels":
        with pytest.raises(ValueError, match="inflates to more than"):
            opened(content).value(128)
    else:
        assert len(opened(content).value(128)) == 128
    assert made < 2 * HEADER_LIMIT


def test_only_the_asked_elements_are_read(instance: Dataset, tmp_path: Path) -> None:
    content = written(instance, tmp_path, ImplicitVRLittleEndian)
    file = open_file(io.BytesIO(content), [Tag(keyword) for keyword in KEYWORDS])
    assert "PatientName" in instance
    assert "PatientName" not in file.dataset
    assert facts(file) == facts(opened(content))


def test_whom_a_file_without_preamble_names_is_known_to_the_guard(
    instance: Dataset, tmp_path: Path
) -> None:
    whole = written(instance, tmp_path / "made", ImplicitVRLittleEndian)
    (tmp_path / "raw" / "A1").mkdir(parents=True)
    (tmp_path / "raw" / "A1" / "1.dcm").write_bytes(whole[data_set(whole) :])
    named = {value for _, value in _named_in_headers(tmp_path / "raw")}
    assert {str(instance.PatientName), instance.PatientID, instance.PatientBirthDate} <= named
