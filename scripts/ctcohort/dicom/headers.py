"""The facts of one instance, whatever they were read from.

A file, a DICOM JSON answer (PS3.18 F) and a C-FIND identifier (PS3.4 C.4.1) all become a pydicom
`Dataset`, and `header_of` takes the same facts from each: neither the choice of a series nor its
geometry depends on which archive answered.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cache
from itertools import islice
from typing import Any, Literal, TypeVar

from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence as DicomSequence
from pydicom.tag import BaseTag, Tag

from ctcohort.base.naming import normal_mrn
from ctcohort.dicom.codestreams.lossy import is_lossy
from ctcohort.dicom.encapsulation import beginning_of, is_compressed
from ctcohort.dicom.reading import UNDEFINED, DicomFile

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"
LEGACY_CONVERTED_CT = "1.2.840.10008.5.1.4.1.1.2.2"
CT_CLASSES = frozenset({CT_IMAGE, ENHANCED_CT, LEGACY_CONVERTED_CT})
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
"""PS3.4 B.5; the multi-frame secondary captures begin with the same number."""

LOSSY_SYNTAXES = frozenset({f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 81)})
"""JPEG baseline, JPEG extended and near-lossless JPEG-LS are lossy whatever the header says; JPEG
2000 (91) need not be."""

_CODESTREAMS = "1.2.840.10008.1.2.4."
"""How the transfer syntaxes of JPEG, JPEG-LS and JPEG 2000 begin."""

KEYWORDS = (
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "PatientID",
    "AccessionNumber",
    "Modality",
    "ImageType",
    "SeriesNumber",
    "SeriesDescription",
    "BodyPartExamined",
    "Manufacturer",
    "ManufacturerModelName",
    "ConvolutionKernel",
    "ContrastBolusAgent",
    "SliceThickness",
    "KVP",
    "GantryDetectorTilt",
    "ReconstructionDiameter",
    "AcquisitionNumber",
    "AcquisitionTime",
    "InstanceNumber",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "PixelRepresentation",
    "NumberOfFrames",
    "LossyImageCompression",
    "MultienergyCTAcquisition",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "RescaleSlope",
    "RescaleIntercept",
    "RescaleType",
    "ModalityLUTSequence",
    "AvailableTransferSyntaxUID",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
)
"""What is read of an instance, and all that is ever kept: no name, no birth date."""

VENDOR_COMPRESSION = 0x07A11011
"""Of Philips (private creator ELSCINT1): how the pixels in its (07A1,100A) are compressed, such as
PMSCT_RLE1."""

TAGS = [*(int(Tag(keyword)) for keyword in KEYWORDS), VENDOR_COMPRESSION]

_INTEGERS = {"US": (2, False), "SS": (2, True), "UL": (4, False), "SL": (4, True)}
"""Bytes and signedness of the binary integers (PS3.5 6.2)."""

_NUMBERS = frozenset({"DS", "IS"})

_BINARY = frozenset({*_INTEGERS, "AT", "FD", "FL", "OB", "OD", "OF", "OL", "OV", "OW", "SV", "UV"})
"""Value representations that are not text."""

_CODE_STRING = re.compile(r"[A-Z0-9 _]+\0?")

LOOKUP_TABLE = "MODALITY LUT"
"""What stands in the place of a rescale type where the rescale is not linear (PS3.3 C.11.1)."""

FAR_MM = 1e6
"""No position, direction or spacing is larger: what is, was damaged."""


_Kind = TypeVar("_Kind")

MAX_FRAMES = 10_000
"""Frames of an instance that are read, and one more, so that too many are seen to be too many."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One slice: a frame of a multi-frame instance, or the whole of an ordinary one.

    Attributes
    ----------
    position : (x, y, z) of the centre of the first voxel, mm, patient LPS (PS3.3 C.7.6.2.1.1)
    orientation : direction of a row, then of a column, as unit vectors (same section)
    pixel_spacing : distance between rows, then between columns, mm (PS3.3 10.7.1.3)
    slope, intercept, rescale_type : stored value -> output unit (PS3.3 C.11.1.1.2); the type is
        `LOOKUP_TABLE` where a Modality LUT is there, beside slope and intercept or without them
    image_type : ImageType, or FrameType of a multi-frame instance
    """

    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    pixel_spacing: tuple[float, ...] | None
    slope: float | None
    intercept: float | None
    rescale_type: str
    image_type: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Header:
    """The facts of one instance.

    `patient` is a keyed hash of the normalised PatientID, never the MRN itself. `conflicting` says
    that several contents were met under the same SOPInstanceUID, `copies` how many files held it.
    `location` is where a folder archive keeps the file, relative to its root. `frame_count` is
    NumberOfFrames, 1 where there is none. `pixels` says whether the instance has pixel data, and
    `private_pixels` whether they are compressed in a way that its transfer syntax does not name;
    None and False where only the file could tell.
    """

    sop_class_uid: str
    sop_instance_uid: str
    study_uid: str
    series_uid: str
    patient: str
    accession: str
    modality: str
    series_number: int | None
    series_description: str
    body_part: str
    manufacturer: str
    model: str
    kernel: str
    contrast_agent: bool
    slice_thickness: float | None
    kvp: float | None
    tilt_tag: float | None
    diameter: float | None
    acquisition_number: int | None
    acquisition_time: str
    instance_number: int | None
    rows: int | None
    columns: int | None
    bits_allocated: int | None
    transfer_syntax: str
    lossy: bool
    multienergy: bool
    frames: tuple[Frame, ...]
    copies: int = 1
    conflicting: bool = False
    location: str = ""
    bits_stored: int | None = None
    signed: bool | None = None
    frame_count: int = 1
    pixels: bool | None = None
    private_pixels: bool = False

    @property
    def image_type(self) -> tuple[str, ...]:
        """ImageType of the instance, that is of its first frame."""
        return self.frames[0].image_type


def header_of(
    dataset: Dataset,
    *,
    key: bytes,
    transfer_syntax: str = "",
    pixels: bool | None = None,
    private_pixels: bool = False,
    lossy_stream: bool = False,
) -> Header:
    """Take the facts from a dataset that has (some of) `KEYWORDS`.

    A fact that cannot be read counts as missing: no dataset raises. Where only the File Meta
    Information has the SOP class, as in some public exports, it is taken from there (PS3.10 7.1).

    Parameters
    ----------
    dataset : Dataset
        From a file, `Dataset.from_json` or a C-FIND answer.
    key : bytes
        Key of the hash that stands for PatientID.
    transfer_syntax : str
        Of the file; an answer may name it in AvailableTransferSyntaxUID instead.
    pixels : bool, optional
        Whether the file has pixel data.
    private_pixels : bool
        Whether they are compressed in a way that only their vendor can read.
    lossy_stream : bool
        Whether their codestream says that it is lossy, whatever the header says.
    """
    signed = _integer(dataset, "PixelRepresentation")
    syntax = transfer_syntax or text_of(dataset, "AvailableTransferSyntaxUID")
    return Header(
        sop_class_uid=text_of(dataset, "SOPClassUID")
        or text_of(getattr(dataset, "file_meta", Dataset()), "MediaStorageSOPClassUID"),
        sop_instance_uid=text_of(dataset, "SOPInstanceUID"),
        study_uid=text_of(dataset, "StudyInstanceUID"),
        series_uid=text_of(dataset, "SeriesInstanceUID"),
        patient=patient_mark(text_of(dataset, "PatientID"), key),
        accession=text_of(dataset, "AccessionNumber"),
        modality=text_of(dataset, "Modality"),
        series_number=_integer(dataset, "SeriesNumber"),
        series_description=text_of(dataset, "SeriesDescription"),
        body_part=text_of(dataset, "BodyPartExamined"),
        manufacturer=text_of(dataset, "Manufacturer"),
        model=text_of(dataset, "ManufacturerModelName"),
        kernel="\\".join(_texts(dataset, "ConvolutionKernel")),
        contrast_agent=text_of(dataset, "ContrastBolusAgent").upper() not in ("", "NONE", "NO"),
        slice_thickness=_number(dataset, "SliceThickness"),
        kvp=_number(dataset, "KVP"),
        tilt_tag=_number(dataset, "GantryDetectorTilt"),
        diameter=_number(dataset, "ReconstructionDiameter"),
        acquisition_number=_integer(dataset, "AcquisitionNumber"),
        acquisition_time=text_of(dataset, "AcquisitionTime"),
        instance_number=_integer(dataset, "InstanceNumber"),
        rows=_integer(dataset, "Rows"),
        columns=_integer(dataset, "Columns"),
        bits_allocated=_integer(dataset, "BitsAllocated"),
        transfer_syntax=syntax,
        lossy=text_of(dataset, "LossyImageCompression") == "01"
        or syntax in LOSSY_SYNTAXES
        or lossy_stream,
        multienergy=text_of(dataset, "MultienergyCTAcquisition").upper() == "YES",
        frames=frames_of(dataset),
        bits_stored=_integer(dataset, "BitsStored"),
        signed=None if signed is None else signed == 1,
        frame_count=_integer(dataset, "NumberOfFrames") or 1,
        pixels=pixels,
        private_pixels=private_pixels,
    )


def header_of_file(file: DicomFile, *, key: bytes) -> Header:
    """Take the facts from a file of which (at least) `TAGS` were read; see `header_of`."""
    return header_of(
        file.dataset,
        key=key,
        transfer_syntax=file.transfer_syntax,
        pixels=file.start is not None,
        private_pixels=bool(private_compression_of(file)),
        lossy_stream=has_lossy_stream(file),
    )


def has_lossy_stream(file: DicomFile) -> bool:
    """Return whether the first codestream of a file says that it is lossy."""
    if file.start is None or not file.transfer_syntax.startswith(_CODESTREAMS):
        return False
    return is_lossy(beginning_of(file.stream, file.start))


def private_compression_of(file: DicomFile) -> str:
    """Return how pixels are compressed that their transfer syntax does not say; else ""."""
    if file.start is None:
        vendor = _vendor_compression(file.dataset)
        return f"{vendor}, in a private element" if vendor else ""
    if file.length == UNDEFINED and not is_compressed(file.transfer_syntax):
        return f"transfer syntax {file.declared or 'unknown'} does not say how"
    return ""


def _vendor_compression(dataset: Dataset) -> str:
    """The code string in `VENDOR_COMPRESSION`, whatever VR it is under; "" where there is none."""
    element = dataset.get_item(VENDOR_COMPRESSION, keep_deferred=True)
    value = None if element is None else element.value
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value or "")
    return text.strip(" \0") if _CODE_STRING.fullmatch(text) else ""


def frames_of(dataset: Dataset) -> tuple[Frame, ...]:
    """The slices of an instance: its functional groups (PS3.3 C.7.6.16) where it has them."""
    per_frame = _sequence(dataset, "PerFrameFunctionalGroupsSequence")[: MAX_FRAMES + 1]
    if not per_frame:
        return (_frame([dataset], _texts(dataset, "ImageType")),)
    shared = _sequence(dataset, "SharedFunctionalGroupsSequence")[:1]
    return tuple(_frame_of_groups(dataset, [frame, *shared]) for frame in per_frame)


def patient_mark(patient_id: str, key: bytes) -> str:
    """Keyed hash of the normalised MRN: equal for one patient, and not the MRN."""
    normal = normal_mrn(patient_id)
    return hashlib.blake2b(normal.encode(), key=key, digest_size=12).hexdigest() if normal else ""


def pack(headers: Sequence[Header]) -> dict[str, Any]:
    """Headers as JSON: a fact that all of them share is written once, the others as lists."""
    facts = {
        name: _pack_frames(values) if name == "frames" else _pack(values)
        for name, values in _columns(Header, headers)
    }
    return {"count": len(headers), "facts": facts}


def unpack(packed: dict[str, Any]) -> list[Header]:
    """The inverse of `pack`."""
    count = packed["count"]
    columns = {
        name: _unpack_frames(value) if name == "frames" else _unpack(value, count)
        for name, value in packed["facts"].items()
    }
    return _made(Header, columns, count)


def _pack_frames(instances: list[tuple[Frame, ...]]) -> dict[str, Any]:
    frames = [frame for instance in instances for frame in instance]
    facts = {name: _pack(values) for name, values in _columns(Frame, frames)}
    return {"counts": [len(instance) for instance in instances], "facts": facts}


def _unpack_frames(packed: dict[str, Any]) -> list[tuple[Frame, ...]]:
    total = sum(packed["counts"])
    columns = {name: _unpack(value, total) for name, value in packed["facts"].items()}
    following = iter(_made(Frame, columns, total))
    return [tuple(islice(following, count)) for count in packed["counts"]]


def _columns(
    kind: type[Header | Frame], rows: Sequence[Header | Frame]
) -> Iterator[tuple[str, list[Any]]]:
    """Name of each fact, and its values."""
    return ((one.name, [getattr(row, one.name) for row in rows]) for one in fields(kind))


def _made(kind: Callable[..., _Kind], columns: dict[str, list[Any]], count: int) -> list[_Kind]:
    return [
        kind(**{name: _tuple(values[index]) for name, values in columns.items()})
        for index in range(count)
    ]


def _pack(values: list[Any]) -> dict[str, Any]:
    same = bool(values) and all(value == values[0] for value in values)
    return {"all": values[0]} if same else {"each": values}


def _unpack(value: dict[str, Any], count: int) -> list[Any]:
    return list(value["each"]) if "each" in value else [value["all"]] * count


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _frame_of_groups(dataset: Dataset, groups: list[Dataset]) -> Frame:
    """A frame's facts: its own functional groups first, then the shared ones, then the instance."""
    sources: list[Dataset] = []
    for sequence in (
        "PlanePositionSequence",
        "PlaneOrientationSequence",
        "PixelMeasuresSequence",
        "PixelValueTransformationSequence",
    ):
        sources += next((_sequence(g, sequence)[:1] for g in groups if sequence in g), [])
    for sequence in ("CTImageFrameTypeSequence", "MRImageFrameTypeSequence"):
        for group in groups:
            for item in _sequence(group, sequence)[:1]:
                return _frame([*sources, dataset], _texts(item, "FrameType"))
    return _frame([*sources, dataset], _texts(dataset, "ImageType"))


def _frame(sources: list[Dataset], image_type: tuple[str, ...]) -> Frame:
    def first(keyword: str) -> Dataset:
        tag, _ = _element(keyword)
        return next((source for source in sources if tag in source), sources[-1])

    return Frame(
        position=_numbers(first("ImagePositionPatient"), "ImagePositionPatient", 3),
        orientation=_numbers(first("ImageOrientationPatient"), "ImageOrientationPatient", 6),
        pixel_spacing=_numbers(first("PixelSpacing"), "PixelSpacing", 2),
        slope=_number(first("RescaleSlope"), "RescaleSlope"),
        intercept=_number(first("RescaleIntercept"), "RescaleIntercept"),
        rescale_type=(
            LOOKUP_TABLE
            if any(_sequence(source, "ModalityLUTSequence") for source in sources)
            else "\\".join(_alike(_texts(first("RescaleType"), "RescaleType")))
        ),
        image_type=image_type,
    )


def _value(dataset: Dataset, keyword: str) -> Any:
    """An element's value; None where it is absent, empty or cannot be converted."""
    if _element(keyword)[0] not in dataset:
        return None
    try:
        return dataset.get(keyword)
    except Exception:
        return None  # a value that pydicom cannot convert counts as missing


def _sequence(dataset: Dataset, keyword: str) -> list[Dataset]:
    value = _value(dataset, keyword)
    items = value if isinstance(value, (DicomSequence, list)) else ()
    return [item for item in items if isinstance(item, Dataset)]


def _texts(dataset: Dataset, keyword: str) -> tuple[str, ...]:
    """An element's values as text; none where it is absent, empty or cannot be converted.

    Bytes are read as what the standard says the element is, whatever text VR they are under: under
    UT, for one, a backslash would not separate values. Only what is not plain ASCII, or is binary
    and no integer, is left to pydicom.
    """
    tag, standard = _element(keyword)
    raw = dataset.get_item(tag, keep_deferred=True)
    if raw is None or raw.value is None:
        return ()
    if not isinstance(raw, RawDataElement):
        return _converted(dataset, keyword)
    vr = raw.VR if raw.VR in _BINARY or raw.VR in _NUMBERS else standard
    if vr in _INTEGERS:
        return _integers(raw, *_INTEGERS[vr])
    if vr in _BINARY or not raw.value.isascii() or b"\x1b" in raw.value:
        return _converted(dataset, keyword)
    return _split(raw.value.decode("ascii"))


@cache
def _element(keyword: str) -> tuple[BaseTag, str]:
    """Tag and VR of an element (PS3.6)."""
    tag = Tag(keyword)
    return tag, dictionary_VR(tag)


def _integers(raw: RawDataElement, size: int, signed: bool) -> tuple[str, ...]:
    """Values of a binary integer element; none where bytes are left over."""
    content = raw.value or b""
    if len(content) % size:
        return ()
    order: Literal["little", "big"] = "little" if raw.is_little_endian else "big"
    return tuple(
        str(int.from_bytes(content[at : at + size], order, signed=signed))
        for at in range(0, len(content), size)
    )


def _converted(dataset: Dataset, keyword: str) -> tuple[str, ...]:
    value = _value(dataset, keyword)
    if value is None:
        return ()
    items: Iterable[Any] = value if isinstance(value, (MultiValue, list, tuple)) else [value]
    return _split("\\".join(map(str, items)))


def _split(text: str) -> tuple[str, ...]:
    if "\\" not in text:
        only = text.strip(" \0")
        return (only,) if only else ()
    values = tuple(value.strip(" \0") for value in text.split("\\"))
    return values if any(values) else ()


def _alike(texts: tuple[str, ...]) -> tuple[str, ...]:
    """One of values that are all the same, as some converters repeat them."""
    if len(texts) < 2:
        return texts
    given = tuple(text for text in texts if text)
    return given[:1] if len(set(given)) == 1 else texts


def text_of(dataset: Dataset, keyword: str) -> str:
    """An element's values as one text; empty where it is absent or cannot be read."""
    return "\\".join(_texts(dataset, keyword))


def _number(dataset: Dataset, keyword: str) -> float | None:
    numbers = _numbers(dataset, keyword, 1)
    return numbers[0] if numbers else None


def _integer(dataset: Dataset, keyword: str) -> int | None:
    number = _number(dataset, keyword)
    return None if number is None else int(number)


def _numbers(dataset: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    """Exactly `count` finite numbers, or None.

    Empty values at the end are a trailing backslash, equal values where one is due are one value,
    and a comma is a decimal comma: neither it nor a group separator can stand in a DS (PS3.5 6.2).
    """
    texts = _texts(dataset, keyword)
    while texts and not texts[-1]:
        texts = texts[:-1]
    if count == 1:
        texts = _alike(texts)
    elif len(texts) == 1 and all("." in part for part in texts[0].split(",")):
        texts = tuple(texts[0].split(","))  # a comma where a backslash is due: 0.7,0.7
    numbers = tuple(map(_float, texts))
    if len(numbers) != count or not all(map(math.isfinite, numbers)):
        return None
    if count > 1 and max(map(abs, numbers)) > FAR_MM:
        return None
    return numbers


def _float(text: str) -> float:
    """A decimal string as a number; NaN where it is none."""
    if text.count(",") == 1 and "." not in text:
        text = text.replace(",", ".")
    try:
        return float(text) if "_" not in text else math.nan
    except ValueError:
        return math.nan
