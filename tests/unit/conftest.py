"""What the unit tests share: a small phantom series, and a folder to work in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from ctcohort.dicom.headers import Header, header_of
from ctcohort.phantoms.anatomy import Phantom
from ctcohort.phantoms.stack import SliceStack
from ctcohort.phantoms.writer import make_series

from .opened import KEY, REPOSITORY, Opened


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory of its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def small_stack() -> SliceStack:
    return SliceStack.axial(count=6, step=5.0, rows=32, columns=32, pixel_spacing=11.0)


@pytest.fixture(scope="session")
def small_series(small_stack: SliceStack) -> list[Dataset]:
    """Six slices of 32 x 32 pixels. Copy before changing."""
    return make_series(Phantom(), small_stack)


@pytest.fixture(scope="session")
def small_headers(small_series: list[Dataset]) -> list[Header]:
    return [header_of(ds, key=KEY) for ds in small_series]


@pytest.fixture
def open_folder() -> Iterator[Opened]:
    opened = Opened()
    yield opened
    for archive in opened:
        archive.index.close()


@pytest.fixture
def umask() -> Iterator[None]:
    """The mask of a job."""
    before = os.umask(0o077)
    yield
    os.umask(before)
