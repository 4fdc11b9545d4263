"""Choose one series per accession, and give every other series the reason why it lost."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ctcohort.base.reasons import SELECTED
from ctcohort.config.settings import SeriesSettings, VolumeSettings
from ctcohort.dicom.headers import CT_CLASSES, SECONDARY_CAPTURE, Header
from ctcohort.series.facts import facts_of
from ctcohort.series.geometry import HOUNSFIELD_NAMES, Assessment, Slice, assess

NEVER = {
    "LOCALIZER": "localizer",
    "REFORMATTED": "derived",
    "SECONDARY": "secondary",
}
"""ImageType values that never pass, wherever they stand, the most telling first (PS3.3 C.7.6.1.1.2
and C.8.2.1.1.1)."""

MISSING = "MISSING"
"""What `series.kinds` calls an absent or empty ImageType."""

SPECTRAL = re.compile(
    r"^(VMI|MAT_\w+|EFF_ATOMIC_NUM|ELECTRON_DENSITY)$|MONO(?!CHROME)|VIRTUAL|VNC|IODINE|MATERIAL|Z_?EFF",
    re.IGNORECASE,
)
"""ImageType values from the third on that name a multi-energy product: the defined terms of PS3.3
C.8.15.3.8 and C.8.22.4, and what scanners write instead."""


ENERGY = re.compile(r"VMI|KEV|ENERGY|SPECTRAL|THRESHOLD|_?BIN\d?$", re.IGNORECASE)
"""ImageType values beside which a multi-energy acquisition is no standard image."""

MIN_BITS = 12
"""Fewer bits stored do not hold -1024 to 3071 HU in steps of 1 HU (rule 10)."""

BODY_HU = (-1000.0, 1000.0)
"""From air to dense bone: fewer bits must reach over this to be admitted (rule 10)."""


@dataclass(slots=True)
class Candidate:
    """One series of the accession: what the archive says of it, and the assessment.

    `headers` is None where the archive was not asked for every instance, because the series could
    not win; `instances` and `modality` are the archive's own words then. `unreadable` files beside
    it may be slices of it.
    """

    series_uid: str
    study_uid: str
    instances: int
    headers: Sequence[Header] | None
    modality: str = "CT"
    unreadable: int = 0
    assessment: Assessment = field(default_factory=Assessment)
    reason: str = ""

    @property
    def arriving(self) -> bool:
        """Return True if the archive counted another number of instances than it has headers of."""
        return self.headers is not None and len(self.headers) != self.instances

    @property
    def kept(self) -> list[Header]:
        """The instances that geometry kept a slice of; all of them where it kept none."""
        kept = {s.header.sop_instance_uid: s.header for s in self.assessment.kept}
        return list(kept.values()) or list(self.headers or ())

    @property
    def facts(self) -> Header | None:
        """What the kept slices say of the series."""
        return facts_of(self.kept) if self.kept else None


def choose_series(
    candidates: Sequence[Candidate], series: SeriesSettings, volume: VolumeSettings
) -> Candidate | None:
    """Judge every candidate and select at most one; each gets its `reason`.

    The winner has the most distinct slice positions; among equals `prefer_kernels` decides, then
    `tie_break`. The order of `candidates` never matters. As long as a candidate that may be usable
    is still arriving, none is selected.
    """
    usable = []
    for candidate in candidates:
        candidate.reason = judge(candidate, series, volume)
        if not candidate.reason:
            usable.append(candidate)
    usable.sort(key=_rank(series))
    if any(candidate.reason == "still_arriving" for candidate in candidates):
        for candidate in usable:
            candidate.reason = "fewer_slices"
        return None
    for place, candidate in enumerate(usable):
        most = usable[0].assessment.measures.slices
        fewer = candidate.assessment.measures.slices < most
        candidate.reason = SELECTED if place == 0 else "fewer_slices" if fewer else "tie_lost"
    return usable[0] if usable else None


def judge(candidate: Candidate, series: SeriesSettings, volume: VolumeSettings) -> str:
    """Assess a candidate; return why it cannot be used, or an empty string."""
    headers = candidate.headers
    if headers is None:
        if candidate.modality not in ("", "CT"):
            return "not_ct"
        return "too_few_slices" if candidate.instances < series.min_slices else "fewer_slices"
    images = [
        header
        for header in sorted(headers, key=lambda h: h.sop_instance_uid)
        if header.sop_class_uid in CT_CLASSES
    ]
    if not has_images(candidate):
        captured = all(h.sop_class_uid.startswith(SECONDARY_CAPTURE) for h in headers)
        return "secondary" if captured else "not_ct"
    candidate.assessment = assess(images, volume, min_slices=series.min_slices)
    if candidate.assessment.reason == "too_large":
        return "too_large"
    kept = candidate.assessment.kept or [
        Slice(h, f, i) for h in images for i, f in enumerate(h.frames)
    ]
    kinds = Counter(_kind_reason(each, series) for each in kept)
    return (
        kinds.most_common(1)[0][0]
        or _product_reason(kept, series)
        or _bits_reason(kept, series)
        or ("still_arriving" if candidate.arriving else "")
        or candidate.assessment.reason
        or next(filter(None, kinds), "")
        or _fov_reason(candidate.assessment, series)
    )


def has_images(candidate: Candidate) -> bool:
    """Return True if a candidate has CT images, as far as its headers are known."""
    if candidate.headers is None:
        return candidate.modality in ("", "CT")
    return any(header.sop_class_uid in CT_CLASSES for header in candidate.headers)


def _kind_reason(piece: Slice, series: SeriesSettings) -> str:
    """Return why the kind of a slice is not admitted: its frame's, or that of its instance."""
    for image_type in (piece.frame.image_type, piece.header.image_type):
        reason = _type_reason(image_type, piece.header, series)
        if reason:
            return reason
    return ""


def _type_reason(image_type: tuple[str, ...], header: Header, series: SeriesSettings) -> str:
    values = [value.upper() for value in image_type]
    for value, reason in NEVER.items():
        if value in values:
            return reason
    kind = values[0] if values and values[0] else MISSING
    admitted = kind in {allowed.upper() for allowed in series.kinds}
    relabelled = kind == "DERIVED" and values[1:] in (["PRIMARY"], ["PRIMARY", "AXIAL"])
    if header.lossy and (admitted or relabelled):
        return "" if series.allow_lossy else "derived_lossy"
    if admitted:
        return ""
    return "unreadable_header" if kind == MISSING else "derived"


def _product_reason(kept: Sequence[Slice], series: SeriesSettings) -> str:
    for piece in kept:
        header = piece.header
        if _is_spectral(piece, series):
            return "spectral"
        if series.contrast == "none" and header.contrast_agent:
            return "contrast"
        if any(re.search(p, header.series_description) for p in series.exclude_description_regex):
            return "description_excluded"
        if _same(header.body_part) in map(_same, series.body_part_exclude):
            return "body_part_excluded"
    return ""


def _is_spectral(piece: Slice, series: SeriesSettings) -> bool:
    types = (piece.header.image_type, piece.frame.image_type)
    terms = {value for image_type in types for value in image_type[2:]}
    if any(map(SPECTRAL.search, terms)):
        return True
    if not piece.header.multienergy:
        return False
    standard = piece.frame.rescale_type and piece.frame.rescale_type.upper() in HOUNSFIELD_NAMES
    return not (series.allow_multienergy and standard and not any(map(ENERGY.search, terms)))


def _bits_reason(kept: Sequence[Slice], series: SeriesSettings) -> str:
    """Return a reason if the stored values are too few for Hounsfield units, as of label masks."""
    few = [piece for piece in kept if 0 < _bits(piece.header) < MIN_BITS]
    if not few or (series.allow_few_bits and all(_spans(piece) for piece in few)):
        return ""
    return "too_few_bits"


def _bits(header: Header) -> int:
    """Bits that hold the value; 0 where the archive does not say."""
    return min(filter(None, (header.bits_stored, header.bits_allocated)), default=0)


def _spans(piece: Slice) -> bool:
    """Return True if slope and intercept spread the stored values over `BODY_HU`."""
    count = 1 << _bits(piece.header)
    first = -count // 2 if piece.header.signed else 0
    slope, intercept = piece.frame.slope or 0.0, piece.frame.intercept or 0.0
    ends = sorted(value * slope + intercept for value in (first, first + count - 1))
    return ends[0] <= BODY_HU[0] and ends[1] >= BODY_HU[1]


def _same(code: str) -> str:
    """A code string (PS3.5 6.2, CS) as it is compared: without case and outer blanks."""
    return code.strip().upper()


def _fov_reason(assessment: Assessment, series: SeriesSettings) -> str:
    small = series.min_fov_mm is not None and (assessment.measures.fov_mm or 0) < series.min_fov_mm
    return "fov_too_small" if small else ""


def _rank(series: SeriesSettings) -> Callable[[Candidate], tuple[object, ...]]:
    def rank(candidate: Candidate) -> tuple[object, ...]:
        first = candidate.facts
        assert first is not None
        kernel = next(
            (i for i, p in enumerate(series.prefer_kernels) if re.search(p, first.kernel)),
            len(series.prefer_kernels),
        )
        values = {
            "slice_thickness": (first.slice_thickness is None, first.slice_thickness or 0.0),
            "series_number": (first.series_number is None, first.series_number or 0),
            "series_uid": (False, candidate.series_uid),
        }
        ties = [values[name] for name in series.tie_break]
        return (-candidate.assessment.measures.slices, kernel, *ties, candidate.series_uid)

    return rank
