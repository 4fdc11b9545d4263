"""DICOM JSON (PS3.18 F.2) as the dataset that `headers.header_of` reads.

A malformed value counts as missing, as it does in a file: one attribute never costs a scan, let
alone the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag

from ctcohort.dicom.headers import KEYWORDS

Row = Mapping[str, Any]
"""A dataset as JSON: elements by tag, eight hexadecimal digits."""

_TEXTS = frozenset(
    ("AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "SH", "ST", "TM", "UC", "UI", "UR", "UT")
)
_INTEGERS = frozenset(("SL", "SS", "SV", "UL", "US", "UV"))
_REALS = frozenset(("FD", "FL"))


def tag_of(keyword: str) -> str:
    """Return the tag of an attribute as DICOM JSON writes it."""
    return f"{tag_for_keyword(keyword):08X}"


_TAGS = tuple(map(tag_of, KEYWORDS))


def text_of(row: Row, keyword: str) -> str:
    """Return an attribute's first value as text; empty where there is none, or it is malformed."""
    element = row.get(tag_of(keyword))
    values = element.get("Value") if isinstance(element, Mapping) else None
    first = values[0] if isinstance(values, list) and values else None
    return str(first).strip(" \0") if _is_plain(first) else ""


def dataset_of(row: Row) -> Dataset:
    """Return the part of a row that `headers.header_of` reads."""
    return _dataset({tag: row[tag] for tag in _TAGS if tag in row})


def _dataset(row: Row) -> Dataset:
    dataset = Dataset()
    for name, element in row.items():
        if not isinstance(element, Mapping):
            continue
        try:
            tag = Tag(int(name, 16))
        except ValueError:
            continue
        made = _element(tag, element.get("vr"), element.get("Value"))
        if made is not None:
            dataset[tag] = made
    return dataset


def _element(tag: Any, vr: Any, values: Any) -> DataElement | RawDataElement | None:
    """Return an element, or None where its VR or value is malformed; no value is an empty one."""
    if not isinstance(vr, str) or not (values is None or isinstance(values, list)):
        return None
    values = values or []
    if vr == "SQ":
        items = [_dataset(item) for item in values if isinstance(item, Mapping)]
        return DataElement(tag, "SQ", Sequence(items))
    if vr in _TEXTS:
        if not all(value is None or _is_plain(value) for value in values):
            return None
        return _text_element(tag, vr, ["" if value is None else str(value) for value in values])
    try:
        if vr in _INTEGERS:
            return DataElement(tag, vr, [int(value) for value in values])
        if vr in _REALS:
            return DataElement(tag, vr, [float(value) for value in values])
    except (TypeError, ValueError):
        pass
    return None


def _text_element(tag: Any, vr: str, texts: list[str]) -> DataElement | RawDataElement:
    """Return text as a file would hold it, so that it is converted, or refused, as in a file."""
    text = "\\".join(texts)
    if text.isascii():
        return RawDataElement(tag, vr, len(text), text.encode(), 0, False, True)
    return DataElement(tag, "UC", texts)  # no longer text of a repertoire: already decoded


def _is_plain(value: Any) -> bool:
    return isinstance(value, (str, int, float)) and not isinstance(value, bool)
