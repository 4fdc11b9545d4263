"""Files are copied on every platform and file system."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from ctcohort.base.files import copy


def _has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "copy_file_range")


def _refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> int:
        raise OSError(errno.EXDEV, "another file system")

    monkeypatch.setattr(os, "copy_file_range", refuse)


@pytest.mark.parametrize("platform", [None, _has_none, _refuses])
def test_a_copy_has_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, platform: object
) -> None:
    if callable(platform):
        platform(monkeypatch)
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(os.urandom(3_000_000))
    copy(source, target)
    assert target.read_bytes() == source.read_bytes()
