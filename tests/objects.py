"""DICOM objects that only tests need, and the search for a phantom's markers in a volume."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydicom import uid
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset

from ctcohort.phantoms.anatomy import (
    Float,
    Marker,
    Phantom,
    Vector,
    vector,
)
from ctcohort.phantoms.stack import SliceStack
from ctcohort.phantoms.writer import (
    Identity,
    Override,
    code,
    derived_uid,
    instance,
    item,
    make_series,
    override,
    set_pixel_bytes,
    set_pixels,
)

MARKER_FLOOR_HU = 850.0
"""Only markers and metal are above this value: bone is 700 HU."""

MARKER_BAND_HU = 85.0
"""Half width of the band of HU by which a marker is told from the other markers."""

METAL_HU = 3071.0

_FRAME_GROUPS = {
    "PlanePositionSequence": ("ImagePositionPatient",),
    "PlaneOrientationSequence": ("ImageOrientationPatient",),
    "PixelMeasuresSequence": ("PixelSpacing", "SliceThickness"),
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept", "RescaleType"),
    "FrameVOILUTSequence": ("WindowCenter", "WindowWidth"),
    "CTReconstructionSequence": ("ConvolutionKernel", "ReconstructionDiameter"),
    "CTXRayDetailsSequence": ("KVP",),
    "CTAcquisitionDetailsSequence": ("GantryDetectorTilt",),
}


def make_enhanced(
    phantom: Phantom,
    stack: SliceStack,
    *,
    frame_order: Sequence[int] | None = None,
    stacks: Sequence[SliceStack] = (),
    legacy: bool = False,
    seed: str = "phantom",
    frame_type: Sequence[str] = ("ORIGINAL", "PRIMARY", "VOLUME", "NONE"),
    extra: Override | None = None,
    **options: Any,
) -> Dataset:
    """Write a phantom as one multi-frame instance (PS3.3 sections A.38 and A.70).

    Functional groups that are equal in all frames are shared, positions are always per frame.

    Parameters
    ----------
    phantom : Phantom
    stack : SliceStack
        Frames of StackID 1.
    frame_order : sequence of int, optional
        Frames as indices into the slices of `stack` followed by those of `stacks`.
    stacks : sequence of SliceStack
        Frames of StackID 2 and on; rows and columns must be those of `stack`.
    legacy : bool
        Legacy Converted Enhanced CT instead of Enhanced CT.
    frame_type : sequence of str
        ImageType and FrameType.
    seed, extra, **options
        As :func:`make_series`; sequences have an element for each slice of every stack.
    """
    every = (stack, *stacks)
    if any((s.rows, s.columns) != (stack.rows, stack.columns) for s in every):
        raise ValueError("stacks of one instance must have the same rows and columns")
    frames, groups = [], []
    for number, one in enumerate(every, start=1):
        source = seed if number == 1 else f"{seed}/{number}"
        series = make_series(phantom, one, seed=source, image_type=frame_type, **options)
        ranks = np.argsort(np.argsort(one.offsets @ one.normal, kind="stable")) + 1
        for single, rank in zip(series, ranks.tolist(), strict=True):
            moment = single.AcquisitionDate + single.AcquisitionTime
            content = item(StackID=str(number), InStackPositionNumber=rank)
            content.DimensionIndexValues = [number, rank]
            content.FrameAcquisitionNumber = single.AcquisitionNumber
            content.FrameReferenceDateTime = content.FrameAcquisitionDateTime = moment
            content.FrameAcquisitionDuration = 500.0
            group = item(FrameContentSequence=[content])
            for name, keywords in _FRAME_GROUPS.items():
                setattr(group, name, [item(**{k: single[k].value for k in keywords})])
            if legacy:
                group.ConversionSourceAttributesSequence = [
                    item(
                        ReferencedSOPClassUID=single.SOPClassUID,
                        ReferencedSOPInstanceUID=single.SOPInstanceUID,
                    )
                ]
                rest = item(
                    SliceLocation=single.SliceLocation, InstanceNumber=single.InstanceNumber
                )
                group.UnassignedPerFrameConvertedAttributesSequence = [rest]
            frames.append(single)
            groups.append(group)
    order = list(range(len(frames)) if frame_order is None else frame_order)
    ds = copy.deepcopy(frames[0])
    volume = {
        "PixelPresentation": "MONOCHROME",
        "VolumetricProperties": "VOLUME",
        "VolumeBasedCalculationTechnique": "NONE",
    }
    region = code("51185008", "SCT", "Thoracic structure")
    shared = item(
        CTImageFrameTypeSequence=[item(FrameType=list(frame_type), **volume)],
        FrameAnatomySequence=[item(FrameLaterality="U", AnatomicRegionSequence=region)],
    )
    if legacy:
        shared.UnassignedSharedConvertedAttributesSequence = [Dataset()]
    for name, keywords in _FRAME_GROUPS.items():
        for keyword in keywords:
            delattr(ds, keyword)
        if name != "PlanePositionSequence" and all(g[name] == groups[0][name] for g in groups):
            setattr(shared, name, groups[0][name].value)
            for group in groups:
                delattr(group, name)
    del ds.SliceLocation
    ds.SOPClassUID = (
        uid.LegacyConvertedEnhancedCTImageStorage if legacy else uid.EnhancedCTImageStorage
    )
    ds.SOPInstanceUID = derived_uid("enhanced", ds.SeriesInstanceUID)
    ds.InstanceNumber, ds.AcquisitionContextSequence = 1, []
    ds.AcquisitionDateTime = moment
    ds.ContentQualification, ds.PresentationLUTShape = "RESEARCH", "IDENTITY"
    ds.BurnedInAnnotation, ds.LossyImageCompression = "NO", "00"
    for keyword, value in volume.items():
        setattr(ds, keyword, value)
    organization = derived_uid("dimensions", ds.SOPInstanceUID)
    ds.DimensionOrganizationSequence = [item(DimensionOrganizationUID=organization)]
    ds.DimensionIndexSequence = [
        item(
            DimensionOrganizationUID=organization,
            DimensionIndexPointer=tag_for_keyword(keyword),
            FunctionalGroupPointer=tag_for_keyword("FrameContentSequence"),
        )
        for keyword in ("StackID", "InStackPositionNumber")
    ]
    ds.SharedFunctionalGroupsSequence = [shared]
    ds.PerFrameFunctionalGroupsSequence = [groups[k] for k in order]
    ds.NumberOfFrames = len(order)
    size = ds.Rows * ds.Columns * ds.BitsAllocated // 8
    set_pixel_bytes(ds, b"".join(frames[k].PixelData[:size] for k in order))
    return override(ds, extra)


def make_secondary_capture(
    *,
    identity: Identity | None = None,
    seed: str = "phantom",
    series_number: int = 999,
    extra: Override | None = None,
) -> Dataset:
    """Write an 8-bit Secondary Capture image of modality CT, without any geometry.

    The options are those of :func:`make_series`.
    """
    who, sop_class = identity or Identity(), uid.SecondaryCaptureImageStorage
    ds = instance(who, sop_class, "CT", seed, series_number, "Patient Protocol")
    ds.ConversionType, ds.ImageType = "WSD", ["DERIVED", "SECONDARY", "OTHER"]
    ds.BurnedInAnnotation, ds.PatientOrientation = "YES", ""
    lines = (np.arange(128)[:, None] // 6 % 2) * (np.arange(128)[None, :] * 37 // 5 % 7 > 2)
    set_pixels(ds, lines * 255, 8, 0)
    return override(ds, extra)


def find_marker(
    volume: npt.NDArray[Any],
    origin: Vector,
    spacing: Vector,
    direction: Float,
    marker: Marker,
    *,
    search: Literal["near", "global"] = "near",
    reach: float = 25.0,
) -> Float:
    """Find a marker in a volume.

    Parameters
    ----------
    volume : (z, y, x) array
        HU.
    origin : (3,) array
        LPS of voxel (0, 0, 0), mm.
    spacing : (3,) array
        Along the array axes (z, y, x), mm.
    direction : (3, 3) array
        Columns are the LPS unit vectors of the array axes (z, y, x).
    marker : Marker
    search : {"near", "global"}
        "near" looks within `reach` of where the marker should be. "global" does not know the
        place: it groups all voxels above `MARKER_FLOOR_HU` and takes the one group whose core has
        the HU of the marker, within `MARKER_BAND_HU`. That holds for slices up to 5 mm apart: in
        thicker ones interpolation blurs the core, and a marker may pass for another.
    reach : float
        In mm.

    Returns
    -------
    (3,) array
        LPS of the centroid weighted by HU, mm.

    Raises
    ------
    ValueError
        If the marker, or more than one group like it, is found.
    """
    step = direction * vector(spacing)

    def ball(centre: Float, radius: float) -> tuple[Float, Float]:
        """LPS (n, 3) and HU (n,) of the voxels within `radius` of `centre`."""
        middle = np.linalg.solve(step, centre - vector(origin))
        extent = radius * np.linalg.norm(np.linalg.inv(step), axis=1)
        low = np.maximum(np.ceil(middle - extent), 0).astype(int)
        high = np.maximum(np.minimum(np.floor(middle + extent) + 1, volume.shape), low).astype(int)
        part = volume[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
        grid = np.stack(np.meshgrid(*map(np.arange, low, high), indexing="ij"), axis=-1)
        places = (grid @ step.T + vector(origin)).reshape(-1, 3)
        within = np.linalg.norm(places - centre, axis=1) <= radius
        return places[within], part.reshape(-1)[within].astype(np.float64)

    def core(group: Float) -> float:
        places, values = ball(group.mean(axis=0), marker.radius)
        order = np.argsort(np.linalg.norm(places - group.mean(axis=0), axis=1))
        return float(np.median(values[order[: max(3, len(order) // 20)]]))

    truth = vector(marker.centre)
    if search == "near":
        places, values = ball(truth, reach)
        groups = [places[values > MARKER_FLOOR_HU]]
    else:
        rest = np.argwhere(volume > MARKER_FLOOR_HU) @ step.T + vector(origin)
        groups = []
        while len(rest):
            joined = np.linalg.norm(rest - rest[0], axis=1) <= 2.0 * marker.radius + 4.0
            groups.append(rest[joined])
            rest = rest[~joined]
        groups = [g for g in groups if abs(core(g) - marker.hu) <= MARKER_BAND_HU]
    groups = [g for g in groups if len(g)]
    if len(groups) != 1:
        raise ValueError(f"marker {marker.name}: {len(groups)} places found by {search} search")
    centre = groups[0].mean(axis=0)
    floor = MARKER_FLOOR_HU / 2
    for _ in range(3):
        places, values = ball(centre, marker.radius + 2.0 + float(np.max(spacing)) / 2)
        weights = np.clip(values - floor, 0.0, marker.hu - floor)
        centre = weights @ places / weights.sum()
    return vector(centre)
