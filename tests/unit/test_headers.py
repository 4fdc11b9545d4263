"""One kind of header for all archives, and what is kept of it."""

from __future__ import annotations

import copy
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset
from pydicom.tag import Tag
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32

from ctcohort.dicom.headers import KEYWORDS, Frame, Header, header_of, pack, patient_mark, unpack
from ctcohort.dicom.reading import open_file
from ctcohort.phantoms.anatomy import Phantom
from ctcohort.phantoms.stack import SliceStack
from ctcohort.phantoms.writer import Identity, make_series, write_files
from tests.objects import make_enhanced

from .opened import KEY

SYNTAX = "1.2.840.10008.1.2.1"


def from_file(ds: Dataset, folder: Path) -> Header:
    (path,) = write_files([ds], folder)
    read = dcmread(path, stop_before_pixels=True, specific_tags=list(KEYWORDS))
    return header_of(read, key=KEY, transfer_syntax=str(read.file_meta.TransferSyntaxUID))


def from_json(ds: Dataset) -> Header:
    """As DICOMweb answers: without pixels (PS3.18 F)."""
    answer = copy.deepcopy(ds)
    answer.pop("PixelData", None)
    answer.AvailableTransferSyntaxUID = SYNTAX
    text = json.dumps(answer.to_json_dict())
    return header_of(Dataset.from_json(json.loads(text)), key=KEY)


def from_query(ds: Dataset) -> Header:
    """As a C-FIND identifier: the asked attributes, Implicit VR Little Endian (PS3.4 C.4.1)."""
    answer = Dataset()
    for element in ds:
        if element.keyword in KEYWORDS:
            answer.add(element)
    answer.AvailableTransferSyntaxUID = SYNTAX
    answer.QueryRetrieveLevel = "IMAGE"
    stream = DicomBytesIO()
    stream.is_little_endian, stream.is_implicit_VR = True, True
    write_dataset(stream, answer)
    return header_of(read_dataset(io.BytesIO(stream.getvalue()), True, True), key=KEY)


def one(**extra: Any) -> Dataset:
    stack = SliceStack.axial(count=1, rows=8, columns=8)
    who = Identity(patient_id="0042", accession="A1")
    (ds,) = make_series(Phantom(), stack, identity=who, noise=0, extra=extra)
    return ds


def everywhere(ds: Dataset, folder: Path) -> Header:
    """The header, after it was found to be the same from each kind of archive."""
    header = from_file(ds, folder)
    assert from_json(ds) == header
    assert from_query(ds) == header
    return header


# The same facts from everywhere


def test_an_ordinary_instance_gives_its_facts(tmp_path: Path) -> None:
    ds = one(SeriesDescription="Thorax 1.0", KVP="120", ContrastBolusAgent="Iohexol")
    header = everywhere(ds, tmp_path)
    assert header == Header(
        sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
        sop_instance_uid=ds.SOPInstanceUID,
        study_uid=ds.StudyInstanceUID,
        series_uid=ds.SeriesInstanceUID,
        patient=patient_mark("42", KEY),
        accession="A1",
        modality="CT",
        series_number=2,
        series_description="Thorax 1.0",
        body_part="CHEST",
        manufacturer="ct-cohort",
        model="Thorax phantom",
        kernel="B30f",
        contrast_agent=True,
        slice_thickness=1.0,
        kvp=120.0,
        tilt_tag=0.0,
        diameter=21.6,
        acquisition_number=1,
        acquisition_time="101500",
        instance_number=1,
        rows=8,
        columns=8,
        bits_allocated=16,
        transfer_syntax=SYNTAX,
        lossy=False,
        multienergy=False,
        frames=(
            Frame(
                position=(-9.45, -9.45, 0.0),
                orientation=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
                pixel_spacing=(2.7, 2.7),
                slope=1.0,
                intercept=-1024.0,
                rescale_type="HU",
                image_type=("ORIGINAL", "PRIMARY", "AXIAL"),
            ),
        ),
        bits_stored=12,
        signed=False,
    )


@pytest.mark.parametrize(
    "position",
    [
        ["006.464844E-01", "-1.5e+2", "+0003.25"],
        [" 1.5", "-0", "2. "],
        ["-123.45678901234", "0.1234567890123", "1e-5"],
        ["-200.12345678901", "-33.3333333333333", "99.99999999999"],
    ],
)
def test_decimal_strings_are_read_whatever_their_form(tmp_path: Path, position: list[str]) -> None:
    header = everywhere(one(ImagePositionPatient=position), tmp_path)
    assert header.frames[0].position == tuple(float(text) for text in position)


@pytest.mark.parametrize(
    ("keyword", "value", "fact", "expected"),
    [
        ("ConvolutionKernel", ["Br40d", "3"], "kernel", "Br40d\\3"),
        ("SeriesNumber", " 3 ", "series_number", 3),
        ("SeriesNumber", None, "series_number", None),
        ("SeriesDescription", "  Lunge, früh ", "series_description", "Lunge, früh"),
        ("LossyImageCompression", "01", "lossy", True),
        ("LossyImageCompression", "00", "lossy", False),
        ("MultienergyCTAcquisition", "YES", "multienergy", True),
        ("ContrastBolusAgent", "none", "contrast_agent", False),
        ("ContrastBolusAgent", "", "contrast_agent", False),
        ("KVP", "", "kvp", None),
        ("SliceThickness", "0.625", "slice_thickness", 0.625),
        ("PatientID", " 00042 ", "patient", patient_mark("42", KEY)),
        ("PatientID", "", "patient", ""),
        ("InstanceNumber", None, "instance_number", None),
    ],
)
def test_facts_of_the_instance(
    tmp_path: Path, keyword: str, value: object, fact: str, expected: object
) -> None:
    assert getattr(everywhere(one(**{keyword: value}), tmp_path), fact) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (["ORIGINAL", "PRIMARY ", "AXIAL "], ("ORIGINAL", "PRIMARY", "AXIAL")),
        (["ORIGINAL", "", "AXIAL"], ("ORIGINAL", "", "AXIAL")),
        ("ORIGINAL", ("ORIGINAL",)),
        ("", ()),
        (None, ()),
    ],
)
def test_image_type_has_its_values_in_their_places(
    tmp_path: Path, value: object, expected: tuple[str, ...]
) -> None:
    assert everywhere(one(ImageType=value), tmp_path).image_type == expected


@pytest.mark.parametrize(
    ("keyword", "fact"),
    [
        ("ImagePositionPatient", "position"),
        ("ImageOrientationPatient", "orientation"),
        ("PixelSpacing", "pixel_spacing"),
        ("RescaleSlope", "slope"),
        ("RescaleIntercept", "intercept"),
    ],
)
@pytest.mark.parametrize("value", [None, "", "0.5", ["1", "2", "3", "4"]])
def test_a_geometry_of_another_length_counts_as_missing(
    tmp_path: Path, keyword: str, fact: str, value: Any
) -> None:
    header = everywhere(one(**{keyword: value}), tmp_path)
    expected = 0.5 if value == "0.5" and fact in ("slope", "intercept") else None
    assert getattr(header.frames[0], fact) == expected


@pytest.mark.parametrize(
    ("tag", "vr", "fact"),
    [
        (0x00200013, "IS", "instance_number"),
        (0x00200012, "IS", "acquisition_number"),
        (0x00180050, "DS", "slice_thickness"),
        (0x00180060, "DS", "kvp"),
    ],
)
@pytest.mark.parametrize(
    "garbage",
    [
        b"garbage ",
        b"1,5,5 ",
        b"1.000,5 ",
        b"1_0 ",
        b"1\\2 ",
        b"\xff\xfe",
        b"nan ",
        b"inf ",
        b"1e999 ",
    ],
)
def test_garbage_counts_as_missing(
    tmp_path: Path, tag: int, vr: str, fact: str, garbage: bytes
) -> None:
    ds = one()
    ds[tag] = RawDataElement(Tag(tag), vr, len(garbage), garbage, 0, False, True)
    assert getattr(header_of(ds, key=KEY), fact) is None
    (path,) = write_files([one()], tmp_path)
    content = path.read_bytes()
    at = content.index((tag >> 16).to_bytes(2, "little") + (tag & 0xFFFF).to_bytes(2, "little"))
    length = int.from_bytes(content[at + 6 : at + 8], "little")
    new = content[: at + 6] + len(garbage).to_bytes(2, "little") + garbage
    path.write_bytes(new + content[at + 8 + length :])
    read = dcmread(path, stop_before_pixels=True, specific_tags=list(KEYWORDS))
    assert getattr(header_of(read, key=KEY), fact) is None


def rewritten(ds: Dataset, folder: Path, keyword: str, vr: str, content: bytes) -> Header:
    """The header of a file in which an element is written in this VR, with these bytes."""
    tag = Tag(keyword)

    def written(part: Dataset) -> bytes:
        stream = DicomBytesIO()
        stream.is_little_endian, stream.is_implicit_VR = True, False
        write_dataset(stream, part)
        return stream.getvalue()

    long = vr in EXPLICIT_VR_LENGTH_32
    element = tag.group.to_bytes(2, "little") + tag.element.to_bytes(2, "little") + vr.encode()
    element += bytes(2 * long) + len(content).to_bytes(4 if long else 2, "little") + content
    before, after = written(ds[:tag]), written(ds[tag + 1 : Tag("PixelData")])
    path = folder / "file"
    path.write_bytes(before + element + after)
    with open(path, "rb") as file:
        return header_of(open_file(file).dataset, key=KEY)


@pytest.mark.parametrize(
    ("keyword", "content", "fact", "expected"),
    [
        ("PixelSpacing", b"0,703125\\0,703125 ", "pixel_spacing", (0.703125, 0.703125)),
        ("PixelSpacing", b"0.7\\0.8\\", "pixel_spacing", (0.7, 0.8)),
        ("PixelSpacing", b"0.7,0.8 ", "pixel_spacing", (0.7, 0.8)),
        ("PixelSpacing", b"0,7 ", "pixel_spacing", None),
        ("PixelSpacing", b"0.7\\\\0.8", "pixel_spacing", None),
        ("ImagePositionPatient", b"-150,5\\-1,5E+2\\3", "position", (-150.5, -150.0, 3.0)),
        ("ImageOrientationPatient", b"1\\0\\0\\0\\1\\0\\", "orientation", (1, 0, 0, 0, 1, 0)),
        ("RescaleIntercept", b"-1024,0 ", "intercept", -1024.0),
        ("RescaleIntercept", b"-1024\\-1024 ", "intercept", -1024.0),
        ("RescaleIntercept", b"-1024\\", "intercept", -1024.0),
        ("RescaleIntercept", b"-1024\\-1000 ", "intercept", None),
        ("RescaleSlope", b"1\\1\\1 ", "slope", 1.0),
        ("RescaleType", b"HU\\HU ", "rescale_type", "HU"),
        ("RescaleType", b"HU\\", "rescale_type", "HU"),
        ("RescaleType", b"HU\\US ", "rescale_type", "HU\\US"),
    ],
)
@pytest.mark.parametrize("vr", ["DS", "UT", "LO", "ST", "SH", "UC", "UN", "ZZ"])
def test_what_writers_make_of_text_is_read_in_any_text_vr(
    tmp_path: Path, keyword: str, content: bytes, fact: str, expected: object, vr: str
) -> None:
    header = rewritten(one(), tmp_path, keyword, vr, content)
    assert getattr(header.frames[0], fact) == expected


@pytest.mark.parametrize(("vr", "size"), [("US", 2), ("SS", 2), ("UL", 4), ("SL", 4)])
def test_rows_are_read_in_any_integer_vr(tmp_path: Path, vr: str, size: int) -> None:
    content = (512).to_bytes(size, "little")
    assert rewritten(one(), tmp_path, "Rows", vr, content).rows == 512
    assert rewritten(one(), tmp_path, "Rows", "IS", b"512 ").rows == 512
    assert rewritten(one(), tmp_path, "Rows", vr, content + b"\0").rows is None


@pytest.mark.parametrize("vr", ["ZZ", "??", "XX", "\0\0", "OB", "US", "SQ", "FD", "UN", "DS"])
@pytest.mark.parametrize(
    "content", [b"", b"\xff", b"\xfe\xff\x00\xe0\xff\xff\xff\xff", b"1\\\x1b$B"]
)
def test_no_element_stops_the_others(vr: str, content: bytes) -> None:
    """Whatever one element holds, the header is made; what cannot be read counts as missing."""
    whole = one()
    for keyword in KEYWORDS:
        tag = Tag(keyword)
        ds = Dataset(dict(whole.items()))
        ds[tag] = RawDataElement(tag, vr, len(content), content or None, 0, False, True)
        header = header_of(ds, key=KEY)
        if keyword != "SOPInstanceUID":
            assert header.sop_instance_uid == whole.SOPInstanceUID


def test_a_null_among_the_values_of_an_answer_makes_a_geometry_missing() -> None:
    answer = one(ImageType=["ORIGINAL", "", "AXIAL"])
    del answer.PixelData
    content = answer.to_json_dict()
    content["00200032"]["Value"] = [1.0, None, 3.0]
    header = header_of(Dataset.from_json(content), key=KEY)
    assert header.frames[0].position is None
    assert header.image_type == ("ORIGINAL", "", "AXIAL")


def test_an_empty_dataset_has_no_facts() -> None:
    header = header_of(Dataset(), key=KEY)
    nothing = Frame(None, None, None, None, None, "", ())
    assert header.frames == (nothing,)
    assert (header.sop_instance_uid, header.patient, header.rows) == ("", "", None)


@pytest.mark.parametrize("legacy", [False, True])
def test_functional_groups_give_a_frame_each(tmp_path: Path, legacy: bool) -> None:
    stack = SliceStack.axial(count=4, step=5.0, rows=8, columns=8)
    ds = make_enhanced(
        Phantom(), stack, frame_order=[2, 0, 3, 1], legacy=legacy, slope=[1, 2, 1, 1], noise=0
    )
    header = everywhere(ds, tmp_path)
    singles = make_series(Phantom(), stack, slope=[1, 2, 1, 1], noise=0)
    expected = [header_of(singles[k], key=KEY).frames[0] for k in (2, 0, 3, 1)]
    for frame, single in zip(header.frames, expected, strict=True):
        assert (frame.position, frame.orientation) == (single.position, single.orientation)
        assert (frame.pixel_spacing, frame.slope) == (single.pixel_spacing, single.slope)
        assert frame.intercept == single.intercept
        assert frame.image_type == ("ORIGINAL", "PRIMARY", "VOLUME", "NONE")


def test_a_frames_own_group_goes_before_the_shared_one() -> None:
    stack = SliceStack.axial(count=2, rows=8, columns=8)
    ds = make_enhanced(Phantom(), stack, noise=0)
    assert "PixelMeasuresSequence" in ds.SharedFunctionalGroupsSequence[0]
    own = Dataset()
    own.PixelSpacing = ["0.5", "0.5"]
    ds.PerFrameFunctionalGroupsSequence[1].PixelMeasuresSequence = [own]
    frames = header_of(ds, key=KEY).frames
    assert [frame.pixel_spacing for frame in frames] == [(2.7, 2.7), (0.5, 0.5)]


# What is kept


def test_neither_name_nor_birth_date_nor_mrn_is_kept() -> None:
    stack = SliceStack.axial(count=2, rows=8, columns=8)
    who = Identity(patient_id="MRN7777", patient_name="Secret^Name", birth_date="19510203")
    series = make_series(Phantom(), stack, identity=who, noise=0)
    series.append(make_enhanced(Phantom(), stack, identity=who, noise=0))
    kept = pack([header_of(ds, key=KEY) for ds in series])
    facts = {k: v for k, v in kept["facts"].items() if not k.endswith("_uid") and k != "frames"}
    text = json.dumps(facts).upper()
    for secret in ("7777", "SECRET", "NAME", "1951", "0203"):
        assert secret not in text
    assert not {"PatientName", "PatientBirthDate", "OtherPatientIDs"} & set(KEYWORDS)


def test_a_patient_mark_is_one_per_patient_and_key() -> None:
    assert patient_mark("0042", KEY) == patient_mark(" 42", KEY) != patient_mark("43", KEY)
    assert patient_mark("42", KEY) != patient_mark("42", KEY[:-1])
    assert patient_mark("  ", KEY) == ""


texts = st.text(max_size=6)
numbers = st.none() | st.floats(allow_nan=False, allow_infinity=False)
integers = st.none() | st.integers(-(2**31), 2**31)


def vectors(size: int) -> st.SearchStrategy[tuple[float, ...] | None]:
    finite = st.floats(allow_nan=False, allow_infinity=False)
    return st.none() | st.tuples(*[finite] * size)


frames = st.builds(
    Frame,
    vectors(3),
    vectors(6),
    vectors(2),
    numbers,
    numbers,
    texts,
    st.lists(texts, max_size=3).map(tuple),
)
headers = st.builds(
    Header,
    *[texts] * 7,
    integers,
    *[texts] * 5,
    st.booleans(),
    *[numbers] * 4,
    integers,
    texts,
    *[integers] * 4,
    texts,
    st.booleans(),
    st.booleans(),
    st.lists(frames, min_size=1, max_size=3).map(tuple),
    st.integers(1, 3),
    st.booleans(),
    texts,
    integers,
    st.none() | st.booleans(),
    st.integers(1, 3),
    st.none() | st.booleans(),
)


@given(st.lists(headers, max_size=4))
def test_packed_headers_come_back_through_json(several: list[Header]) -> None:
    assert unpack(json.loads(json.dumps(pack(several)))) == several


def test_what_all_instances_share_is_written_once() -> None:
    stack = SliceStack.axial(count=50, rows=8, columns=8)
    series = make_series(Phantom(), stack, noise=0, description="Written once only")
    text = json.dumps(pack([header_of(ds, key=KEY) for ds in series]))
    assert text.count("Written once only") == 1
    assert text.count("ORIGINAL") == 1
