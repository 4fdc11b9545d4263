"""Series-level attributes (kernel, thickness, ...): the most common value among the slices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ctcohort.dicom.headers import Header

FACTS = (
    "series_number",
    "series_description",
    "modality",
    "body_part",
    "manufacturer",
    "model",
    "kernel",
    "contrast_agent",
    "slice_thickness",
    "kvp",
    "tilt_tag",
    "transfer_syntax",
)
"""Facts that one odd slice must not decide for its series."""


def facts_of(headers: Sequence[Header]) -> Header:
    """A header with the commonest value of each of `FACTS`, and the commonest ImageType.

    Of equally common values that of the smallest SOPInstanceUID is taken, so that the order of
    `headers` never matters; what is no fact of a series is that instance's own.

    Raises
    ------
    IndexError
        There are no headers.
    """
    ordered = sorted(headers, key=lambda header: header.sop_instance_uid)
    commonest: dict[str, Any] = {
        name: _commonest([getattr(header, name) for header in ordered]) for name in FACTS
    }
    image_type = _commonest([header.image_type for header in ordered])
    first = next(header for header in ordered if header.image_type == image_type)
    return replace(ordered[0], frames=first.frames, **commonest)


def varying(headers: Sequence[Header]) -> list[str]:
    """Name the `FACTS` that differ among the headers, and ImageType if it does."""
    names = [name for name in FACTS if len({getattr(header, name) for header in headers}) > 1]
    return names + ["image_type"] * (len({header.image_type for header in headers}) > 1)


def _commonest(values: Sequence[Any]) -> Any:
    return Counter(values).most_common(1)[0][0]
