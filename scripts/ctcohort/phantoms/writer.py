"""Write what a scanner would store of a phantom: DICOM data sets and files."""

from __future__ import annotations

import copy
import functools
import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
from pydicom import uid
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.valuerep import format_number_as_ds

from ctcohort.base.hashing import rank
from ctcohort.phantoms.anatomy import Phantom, Vector, vector
from ctcohort.phantoms.stack import SliceStack

Override = Mapping[str, object | Callable[[int], object]]


@dataclass(frozen=True)
class Identity:
    """Patient and study. Equal identities are one study: the UIDs are made from them."""

    patient_id: str = "PHANTOM01"
    patient_name: str = "Phantom^Thorax"
    birth_date: str = "19600214"
    sex: str = "F"
    accession: str = "A0000001"
    study_date: str = "20240305"
    study_time: str = "101500"
    study_description: str = "CT THORAX"

    @property
    def age(self) -> str:
        """PatientAge in years at the study (AS), empty if a date is."""
        if not (self.birth_date and self.study_date):
            return ""
        return f"{(int(self.study_date) - int(self.birth_date)) // 10000:03d}Y"

    @property
    def study_uid(self) -> str:
        """StudyInstanceUID."""
        return derived_uid(
            "study", self.patient_id, self.accession, self.study_date, self.study_time
        )


def derived_uid(*parts: object) -> str:
    """Return a UID that depends on its parts alone (PS3.5 B.2)."""
    return str(uid.generate_uid(entropy_srcs=["ct-cohort phantom", *map(str, parts)]))


def _ds(values: Vector, decimals: int | None = None) -> list[str]:
    """Decimal strings of at most 16 characters (PS3.5 section 6.2)."""
    exact = [float(v) if decimals is None else round(float(v), decimals) for v in values]
    return [format_number_as_ds(v + 0.0) for v in exact]


def item(**elements: object) -> Dataset:
    """Return a data set with these elements by keyword."""
    item = Dataset()
    for keyword, value in elements.items():
        setattr(item, keyword, value)
    return item


def code(value: str, scheme: str, meaning: str) -> list[Dataset]:
    """Return a code sequence of one item (PS3.3 8.8)."""
    return [item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)]


def _pick(value: Any, index: int) -> Any:
    return value if isinstance(value, int | float) else value[index]


def override(ds: Dataset, extra: Override | None, index: int = 0) -> Dataset:
    """Set or, for None, delete elements of a data set by keyword."""
    for keyword, value in (extra or {}).items():
        if tag_for_keyword(keyword) is None:
            raise ValueError(f"not a DICOM keyword: {keyword}")
        chosen = value(index) if callable(value) else value
        if chosen is not None:
            setattr(ds, keyword, chosen)
        elif keyword in ds:
            delattr(ds, keyword)
    ds.file_meta.MediaStorageSOPClassUID = ds.get("SOPClassUID", "")
    ds.file_meta.MediaStorageSOPInstanceUID = ds.get("SOPInstanceUID", "")
    return ds


def instance(
    who: Identity, sop_class: str, modality: str, seed: str, number: int, name: str, index: int = 0
) -> Dataset:
    """Patient, study, series, equipment and SOP common modules of one instance."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.PatientName, ds.PatientID = who.patient_name, who.patient_id
    ds.PatientBirthDate, ds.PatientSex, ds.PatientAge = who.birth_date, who.sex, who.age
    ds.StudyInstanceUID, ds.StudyID = who.study_uid, who.accession
    ds.AccessionNumber, ds.StudyDescription = who.accession, who.study_description
    ds.ReferringPhysicianName = ""
    for event in ("Study", "Series", "Content", "InstanceCreation"):
        setattr(ds, f"{event}Date", who.study_date)
        setattr(ds, f"{event}Time", who.study_time)
    ds.SeriesInstanceUID = derived_uid("series", who.study_uid, seed, number)
    ds.SeriesNumber, ds.SeriesDescription, ds.Modality = number, name, modality
    ds.SOPClassUID = sop_class
    ds.SOPInstanceUID = derived_uid("instance", ds.SeriesInstanceUID, index)
    ds.InstanceNumber = index + 1
    ds.Manufacturer, ds.ManufacturerModelName = "ct-cohort", "Thorax phantom"
    ds.DeviceSerialNumber, ds.SoftwareVersions = "1", "1"
    return ds


def _copy(ds: Dataset) -> Dataset:
    """Copy a data set, with elements of its own but the same lists and sequences in them.

    Of a slice this is many times as fast as a deep copy.
    """
    copied = Dataset({element.tag: copy.copy(element) for element in ds})
    copied.file_meta = copy.deepcopy(ds.file_meta)
    return copied


def _noise(seed: str, index: int, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    return np.random.default_rng([rank(seed), index]).standard_normal(shape, dtype=np.float32)


def set_pixels(
    ds: Dataset, stored: npt.NDArray[Any], bits_stored: int, pixel_representation: int
) -> None:
    """Set the Image Pixel Module (PS3.3 section C.7.6.3) from values that fit `bits_stored`."""
    dtype = np.dtype(f"<{'ui'[pixel_representation]}{1 if bits_stored <= 8 else 2}")
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = stored.shape
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8 * dtype.itemsize, bits_stored, bits_stored - 1
    ds.PixelRepresentation = pixel_representation
    set_pixel_bytes(ds, stored.astype(dtype).tobytes())


def set_pixel_bytes(ds: Dataset, data: bytes) -> None:
    """Set PixelData, padded to an even length (PS3.5 8.1.1)."""
    ds.PixelData = data + b"\0" * (len(data) % 2)


def make_series(
    phantom: Phantom,
    stack: SliceStack,
    *,
    identity: Identity | None = None,
    seed: str = "phantom",
    series_number: int = 2,
    description: str = "Thorax",
    kernel: str = "B30f",
    image_type: Sequence[str] = ("ORIGINAL", "PRIMARY", "AXIAL"),
    acquisition_number: int | Sequence[int] = 1,
    instance_numbers: Sequence[int] | None = None,
    slice_thickness: float | None = None,
    slope: float | Sequence[float] = 1.0,
    intercept: float | Sequence[float] = -1024.0,
    bits_stored: int = 12,
    pixel_representation: int = 0,
    padding: int | None = None,
    noise: float = 8.0,
    metal: float | None = None,
    decimals: int | None = 6,
    extra: Override | None = None,
) -> list[Dataset]:
    """Write a phantom as CT Image Storage instances (PS3.3 section A.3).

    Parameters
    ----------
    phantom : Phantom
    stack : SliceStack
        One instance per slice, in its order.
    identity : Identity, optional
    seed : str
        Source of the noise and, with identity and series number, of the UIDs.
    series_number, description, kernel, image_type
        SeriesNumber, SeriesDescription, ConvolutionKernel, ImageType.
    acquisition_number : int or sequence of int
        For all slices, or one for each.
    instance_numbers : sequence of int, optional
        Default: 1 to n in the order of the stack.
    slice_thickness : float, optional
        In mm; default: the median distance between successive slices.
    slope, intercept : float or sequence of float
        Rescale (PS3.3 section C.11.1) of all slices, or of each.
    bits_stored : int
        Up to 8 bits are allocated 8 bits, more are allocated 16.
    pixel_representation : {0, 1}
        Unsigned or signed; values outside the stored range are clipped to it.
    padding : int, optional
        Stored value (PixelPaddingValue) outside the circle of reconstruction.
    noise : float
        Standard deviation, HU.
    metal : float, optional
        HU of the metal sphere; default: as the phantom says.
    decimals : int or None
        Decimals of positions and orientations; None: all that 16 characters hold.
    extra : mapping, optional
        Element by DICOM keyword: a value, None to delete the element, or a function of the index of
        the slice that returns either.
    """
    who = identity or Identity()
    body = phantom if metal is None else replace(phantom, metal=metal)
    low = -(1 << (bits_stored - 1)) if pixel_representation else 0
    high = low + (1 << bits_stored) - 1
    if padding is not None and not low <= padding <= high:
        raise ValueError(f"padding {padding} is outside {low}..{high}")
    thickness = stack.spacing if slice_thickness is None else slice_thickness
    down, right = (s * d for s, d in zip(stack.pixel_spacing, stack.directions[::-1], strict=True))
    y, x = (np.arange(n) - (n - 1) / 2 for n in (stack.rows, stack.columns))
    outside = np.hypot(y[:, None], x[None, :]) > min(stack.rows, stack.columns) / 2
    common = instance(who, uid.CTImageStorage, "CT", seed, series_number, description)
    common.FrameOfReferenceUID = derived_uid("frame of reference", who.study_uid)
    common.PositionReferenceIndicator = ""
    common.PatientPosition, common.BodyPartExamined = stack.patient_position, "CHEST"
    common.AcquisitionDate, common.AcquisitionTime = who.study_date, who.study_time
    common.KVP, common.ConvolutionKernel = "120", kernel
    common.GantryDetectorTilt, common.SliceThickness = _ds([stack.gantry_tilt, thickness], 4)
    common.ReconstructionDiameter = _ds([stack.columns * stack.pixel_spacing[1]], 4)[0]
    common.RescaleType, common.WindowCenter, common.WindowWidth = "HU", "40", "400"
    series = []
    for index, position in enumerate(stack.positions):
        ds = _copy(common)
        ds.SOPInstanceUID = derived_uid("instance", ds.SeriesInstanceUID, index)
        ds.InstanceNumber = (index + 1) if instance_numbers is None else instance_numbers[index]
        ds.ImageType = list(image_type)
        ds.AcquisitionNumber = _pick(acquisition_number, index)
        ds.ImagePositionPatient = _ds(position, decimals)
        ds.ImageOrientationPatient = _ds(np.ravel(stack.directions), decimals)
        ds.SliceLocation = _ds(position[2:], 3)[0]
        ds.PixelSpacing = _ds(stack.pixel_spacing)
        rescale = float(_pick(slope, index)), float(_pick(intercept, index))
        ds.RescaleSlope, ds.RescaleIntercept = _ds(rescale)
        hu = body.plane(position, down, right, stack.rows, stack.columns)
        if noise:
            hu += np.float32(noise) * _noise(seed, index, hu.shape)
        stored = np.clip(np.rint((hu - rescale[1]) / rescale[0]), low, high)
        if padding is not None:
            stored[outside] = ds.PixelPaddingValue = padding
        set_pixels(ds, stored, bits_stored, pixel_representation)
        series.append(override(ds, extra, index))
    return series


class _Projection(Phantom):
    """Phantom of which a plane shows the mean from anterior to posterior."""

    def plane(
        self, origin: Vector, row_step: Vector, column_step: Vector, rows: int, columns: int
    ) -> npt.NDArray[np.float32]:
        depths = np.arange(-150.0, 151.0, 6.0) * self.scale
        views = [
            super(_Projection, self).plane(
                vector(origin) + np.array([0.0, depth, 0.0]), row_step, column_step, rows, columns
            )
            for depth in depths
        ]
        mean: npt.NDArray[np.float32] = np.mean(views, axis=0, dtype=np.float32)
        return mean


def make_localizer(
    phantom: Phantom, stack: SliceStack | None = None, *, series_number: int = 1, **options: Any
) -> Dataset:
    """Write a scout view, one CT image of type ORIGINAL, PRIMARY, LOCALIZER: mean HU along y.

    The plane is that of the first slice of `stack`; default: coronal, 128 x 128 pixels of 3 mm. The
    options are those of :func:`make_series`.
    """
    plane = stack or SliceStack.coronal(count=1, rows=128, columns=128, pixel_spacing=3.0)
    chosen: dict[str, Any] = {
        "image_type": ("ORIGINAL", "PRIMARY", "LOCALIZER"),
        "description": "Topogram",
        "kernel": "T20f",
        **options,
    }
    body = _Projection(phantom.scale, phantom.table, phantom.metal, phantom.pose)
    return make_series(body, plane.take([0]), series_number=series_number, **chosen)[0]


def make_reformat(
    phantom: Phantom, stack: SliceStack | None = None, *, series_number: int = 602, **options: Any
) -> list[Dataset]:
    """Write reformats: CT images of type DERIVED, SECONDARY, REFORMATTED.

    The default stack is 24 coronal slices, 5 mm apart; options as :func:`make_series`.
    """
    chosen: dict[str, Any] = {
        "image_type": ("DERIVED", "SECONDARY", "REFORMATTED"),
        "description": "Coronal",
        **options,
    }
    plane = stack or SliceStack.coronal(count=24, step=5.0)
    return make_series(phantom, plane, series_number=series_number, **chosen)


def make_dose_report(
    *,
    identity: Identity | None = None,
    seed: str = "phantom",
    series_number: int = 501,
    extra: Override | None = None,
) -> Dataset:
    """Write a minimal X-Ray Radiation Dose SR without pixels (PS3.16, TID 10011).

    The options are those of :func:`make_series`.
    """
    who, sop_class = identity or Identity(), uid.XRayRadiationDoseSRStorage
    ds = instance(who, sop_class, "SR", seed, series_number, "Dose Report")
    ds.ReferencedPerformedProcedureStepSequence = []
    ds.PerformedProcedureCodeSequence = []
    ds.CompletionFlag, ds.VerificationFlag = "COMPLETE", "UNVERIFIED"
    ds.ValueType, ds.ContinuityOfContent = "CONTAINER", "SEPARATE"
    ds.ConceptNameCodeSequence = code("113701", "DCM", "X-Ray Radiation Dose Report")
    ds.ContentTemplateSequence = [item(MappingResource="DCMR", TemplateIdentifier="10011")]
    modality = item(RelationshipType="HAS CONCEPT MOD", ValueType="CODE")
    modality.ConceptNameCodeSequence = code("121058", "DCM", "Procedure reported")
    modality.ConceptCodeSequence = code("77477000", "SCT", "Computed Tomography X-Ray")
    total = item(RelationshipType="CONTAINS", ValueType="NUM")
    total.ConceptNameCodeSequence = code("113813", "DCM", "CT Dose Length Product Total")
    unit = code("mGy.cm", "UCUM", "mGy.cm")
    total.MeasuredValueSequence = [item(NumericValue="250", MeasurementUnitsCodeSequence=unit)]
    dose = item(RelationshipType="CONTAINS", ValueType="CONTAINER", ContentSequence=[total])
    dose.ContinuityOfContent = "SEPARATE"
    dose.ConceptNameCodeSequence = code("113811", "DCM", "CT Accumulated Dose Data")
    ds.ContentSequence = [modality, dose]
    return override(ds, extra)


def write_files(
    datasets: Sequence[Dataset],
    folder: Path,
    *,
    names: Sequence[str] | None = None,
    transfer_syntax: str | None = None,
) -> list[Path]:
    """Write datasets as DICOM files (PS3.10) and return their paths in the order of `datasets`.

    Parameters
    ----------
    datasets : sequence of pydicom.Dataset
        Left as they are.
    folder : Path
        Made if it does not exist.
    names : sequence of str, optional
        Paths below `folder`; default: names without a meaning, an order or an extension.
    transfer_syntax : str, optional
        UID; default: Explicit VR Little Endian. Of the compressed ones RLE, JPEG lossless, JPEG-LS
        lossless and JPEG 2000 lossless. Datasets without pixels are not compressed.
    """
    syntax = uid.UID(transfer_syntax or uid.ExplicitVRLittleEndian)
    if names is None:
        keys = [f"{k}:{ds.get('SOPInstanceUID', '')}" for k, ds in enumerate(datasets)]
        names = [hashlib.sha256(key.encode()).hexdigest()[:16].upper() for key in keys]
    paths = []
    for source, name in zip(datasets, names, strict=True):
        swapped = not syntax.is_little_endian and source.get("BitsAllocated") == 16
        ds = copy.deepcopy(source) if swapped or syntax.is_encapsulated else _copy(source)
        if not syntax.is_encapsulated:
            ds.file_meta.TransferSyntaxUID = syntax
            if swapped:
                ds.PixelData = np.frombuffer(ds.PixelData, dtype="<u2").astype(">u2").tobytes()
        elif "PixelData" in ds:
            compress(ds, syntax)
        path = Path(folder) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        ds.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def compress(ds: Dataset, syntax: str) -> None:
    """Compress the pixels of an instance in place, without a loss."""
    if syntax == uid.RLELossless:
        ds.compress(syntax, encoding_plugin="pydicom", generate_instance_uid=False)
        return
    encoders: dict[str, Callable[..., bytes | bytearray]] = {
        uid.JPEGLosslessSV1: functools.partial(
            imagecodecs.jpeg8_encode, lossless=True, predictor=1, bitspersample=ds.BitsStored
        ),
        uid.JPEGLSLossless: imagecodecs.jpegls_encode,
        uid.JPEG2000Lossless: functools.partial(
            imagecodecs.jpeg2k_encode, level=0, codecformat="j2k", bitspersample=ds.BitsStored
        ),
    }
    signed = ds.PixelRepresentation and syntax == uid.JPEG2000Lossless  # the others know no sign
    dtype = f"<{'i' if signed else 'u'}{ds.BitsAllocated // 8}"
    shape = int(ds.get("NumberOfFrames", 1)), ds.Rows, ds.Columns
    count = math.prod(shape)
    frames = np.frombuffer(ds.PixelData, dtype, count).reshape(shape)
    ds.PixelData = encapsulate([bytes(encoders[syntax](frame)) for frame in frames])
    ds["PixelData"].is_undefined_length = True
    ds.file_meta.TransferSyntaxUID = uid.UID(syntax)
