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

from ctcohort.base.faults import Fault
from ctcohort.base.workdir import Workdir
from ctcohort.dicom import reading
from ctcohort.dicom.headers import CT_IMAGE, KEYWORDS, header_of, header_of_file
from ctcohort.dicom.integrity import check_whole
from ctcohort.dicom.reading import HEADER_LIMIT, UNDEFINED, DicomFile, NotDicom, open_file
from ctcohort.phantoms.anatomy import Phantom
from ctcohort.phantoms.stack import SliceStack
from ctcohort.phantoms.writer import item, make_series, write_files
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


@pytest.mark.parametrize("syntax", [*PLAIN, DeflatedExplicitVRLittleEndian])
@pytest.mark.parametrize("ahead", [1, 3, 200, 1 << 20])
def test_how_much_of_a_header_is_read_at_once_changes_nothing(
    instance: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, syntax: str, ahead: int
) -> None:
    instance.private_block(0x0009, "A", create=True).add_new(0, "OB", b"\xe0\x7f\x10\0" * 50)
    instance.IconImageSequence = [item(PixelData=bytes(64))]
    instance.IconImageSequence[0]["PixelData"].VR = "OB"
    content = written(instance, tmp_path, syntax)
    expected = opened(content)
    monkeypatch.setattr(reading, "AHEAD", ahead)
    file = opened(content)
    assert file.dataset == expected.dataset
    assert (file.start, file.length) == (expected.start, expected.length)
    assert file.value(1 << 20) == expected.value(1 << 20)
    assert len(file.value(1 << 20)) == len(instance.PixelData)


def test_whom_a_file_without_preamble_names_is_known_to_the_guard(
    instance: Dataset, tmp_path: Path
) -> None:
    whole = written(instance, tmp_path / "made", ImplicitVRLittleEndian)
    (tmp_path / "raw" / "A1").mkdir(parents=True)
    (tmp_path / "raw" / "A1" / "1.dcm").write_bytes(whole[data_set(whole) :])
    named = {value for _, value in _named_in_headers(Workdir(tmp_path))}
    assert {str(instance.PatientName), instance.PatientID, instance.PatientBirthDate} <= named


@pytest.mark.parametrize("name", ["PMSCT_RLE1", "LOSSLESS RICE", ""])
def test_pixels_in_a_private_element_are_known_by_the_header(
    instance: Dataset, tmp_path: Path, name: str
) -> None:
    instance.add_new(0x07A10010, "LO", "ELSCINT1")
    instance.add_new(0x07A11011, "CS", name)
    content = written(instance, tmp_path, ImplicitVRLittleEndian)
    assert not header_of_file(opened(content), key=KEY).private_pixels  # of pixels that are there
    del instance.PixelData
    (path,) = write_files([instance], tmp_path, transfer_syntax=ImplicitVRLittleEndian)
    assert header_of_file(opened(path.read_bytes()), key=KEY).private_pixels == bool(name)
    with pytest.raises(Fault, match=name or "no pixel data") as caught:
        check_whole(path)
    assert caught.value.reason == ("private_compression" if name else "no_pixel_data")


@pytest.mark.parametrize("value", [b"PMSCT\n ", b"\xff\xfe", b"<b> "])
def test_only_a_code_string_names_a_compression(
    instance: Dataset, tmp_path: Path, value: bytes
) -> None:
    instance.add_new(0x07A11011, "UN", value)
    del instance.PixelData
    (path,) = write_files([instance], tmp_path)
    assert header_of_file(opened(path.read_bytes()), key=KEY).pixels is False
    with pytest.raises(Fault) as caught:
        check_whole(path)
    assert caught.value.reason == "no_pixel_data"


@pytest.mark.parametrize(
    "syntax", [*PLAIN, DeflatedExplicitVRLittleEndian], ids=lambda syntax: syntax.keyword
)
@pytest.mark.parametrize(
    ("bits", "surplus", "whole"), [(16, 14, 1), (16, 16, 0), (8, 6, 1), (8, 8, 0)]
)
def test_pixel_data_may_be_padded_by_less_than_a_row_and_a_column(
    tmp_path: Path, syntax: str, bits: int, surplus: int, whole: int
) -> None:
    options = {"bits_stored": 8} if bits == 8 else {}
    (ds,) = make_series(
        Phantom(), SliceStack.axial(count=1, rows=8, columns=10), noise=0, **options
    )
    assert ds.BitsAllocated == bits
    ds.PixelData += bytes(surplus)
    (path,) = write_files([ds], tmp_path, transfer_syntax=syntax)
    if whole:
        assert check_whole(path).Columns == 10
        return
    with pytest.raises(Fault, match=f"{bits * 10 + surplus} bytes.* only {bits * 10}") as caught:
        check_whole(path)
    assert caught.value.reason == "undecodable_pixels"


def test_a_sop_class_is_taken_from_the_file_meta_where_it_is_only_there(
    instance: Dataset, tmp_path: Path
) -> None:
    content = written(instance, tmp_path, ExplicitVRLittleEndian)
    file = opened(content)
    del file.dataset.SOPClassUID
    assert header_of_file(file, key=KEY).sop_class_uid == CT_IMAGE
    del file.dataset.file_meta.MediaStorageSOPClassUID
    assert header_of_file(file, key=KEY).sop_class_uid == ""
    file.dataset.SOPClassUID = "1.2.3"
    file.dataset.file_meta.MediaStorageSOPClassUID = CT_IMAGE
    assert header_of_file(file, key=KEY).sop_class_uid == "1.2.3"
