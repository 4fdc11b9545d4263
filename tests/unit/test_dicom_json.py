"""DICOM JSON becomes the facts that the file would have given; what is malformed is missing."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from ctcohort.dicom.dicom_json import dataset_of, tag_of, text_of
from ctcohort.dicom.headers import Header, header_of
from ctcohort.phantoms.anatomy import Phantom
from ctcohort.phantoms.stack import SliceStack
from ctcohort.phantoms.writer import make_series

KEY = b"k" * 32


@pytest.fixture(scope="module")
def row() -> dict[str, Any]:
    stack = SliceStack.axial(count=3, step=5.0, rows=8, columns=8, pixel_spacing=30.0)
    made = make_series(Phantom(), stack, noise=0)[1]
    made.SeriesDescription = "Thorax Ä"
    return dict(json.loads(made.to_json(suppress_invalid_tags=True)))


def facts(row: dict[str, Any]) -> Header:
    return header_of(dataset_of(row), key=KEY)


def test_json_gives_the_facts_of_the_dataset(row: dict[str, Any]) -> None:
    header = facts(row)
    assert header.series_description == "Thorax Ä"
    assert header.frames[0].position is not None
    assert header.frames[0].image_type[0] == "ORIGINAL"
    assert header.rows == 8


@pytest.mark.parametrize(
    ("keyword", "element", "fact", "expected"),
    [
        ("KVP", {"vr": "DS", "Value": ["120kV"]}, "kvp", None),
        ("KVP", {"vr": "DS", "Value": [""]}, "kvp", None),
        ("KVP", {"vr": "DS", "Value": [None]}, "kvp", None),
        ("KVP", {"vr": "DS", "Value": None}, "kvp", None),
        ("KVP", {"vr": "DS"}, "kvp", None),
        ("KVP", {"Value": [120]}, "kvp", None),
        ("KVP", None, "kvp", None),
        ("KVP", "120", "kvp", None),
        ("KVP", {"vr": "DS", "Value": 120}, "kvp", None),
        ("KVP", {"vr": "DS", "Value": [{"a": 1}]}, "kvp", None),
        ("KVP", {"vr": "DS", "Value": [True]}, "kvp", None),
        ("KVP", {"vr": "DS", "Value": ["120"]}, "kvp", 120.0),
        ("KVP", {"vr": "DS", "Value": [120]}, "kvp", 120.0),
        ("SliceThickness", {"vr": "DS", "Value": ["1.25mm"]}, "slice_thickness", None),
        ("SliceThickness", {"vr": "DS", "Value": [1.25]}, "slice_thickness", 1.25),
        ("AcquisitionNumber", {"vr": "IS", "Value": ["one"]}, "acquisition_number", None),
        ("Rows", {"vr": "US", "Value": ["many"]}, "rows", None),
        ("Rows", {"vr": "US", "Value": [None]}, "rows", None),
        ("Rows", {"vr": "US", "Value": ["512"]}, "rows", 512),
        ("PerFrameFunctionalGroupsSequence", {"vr": "SQ", "Value": ["?"]}, "rows", 8),
    ],
)
def test_a_malformed_value_is_missing_and_nothing_else(
    row: dict[str, Any], keyword: str, element: Any, fact: str, expected: object
) -> None:
    header = facts({**row, tag_of(keyword): element})
    assert getattr(header, fact) == expected
    sound = facts(row)
    assert replace(header, **{fact: getattr(sound, fact)}) == sound


def test_a_key_that_is_no_tag_is_passed_over(row: dict[str, Any]) -> None:
    assert facts({**row, "Rows": {"vr": "US", "Value": [4]}, "zz": None}) == facts(row)


@pytest.mark.parametrize(
    ("element", "text"),
    [
        ({"vr": "UI", "Value": ["1.2\0"]}, "1.2"),
        ({"Value": [" 7 "]}, "7"),
        ({"Value": [7]}, "7"),
        ({"Value": []}, ""),
        ({"Value": "7"}, ""),
        ({"Value": [None]}, ""),
        ({"Value": [{"Alphabetic": "A"}]}, ""),
        (None, ""),
        ([], ""),
    ],
)
def test_the_first_value_of_a_search_row(element: Any, text: str) -> None:
    assert text_of({tag_of("StudyInstanceUID"): element}, "StudyInstanceUID") == text
