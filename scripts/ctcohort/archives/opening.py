"""Open the archive that the config names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ctcohort.archives.protocol import Archive


def open_archive(settings: Mapping[str, Any], *, store: Path, key: bytes) -> Archive:
    """The archive that the config names.

    Parameters
    ----------
    settings : mapping
        The config's `archive`.
    store : Path
        A private folder in which the archive may keep what it needs between runs.
    key : bytes
        Key of `headers.patient_mark`.
    """
    if settings["kind"] == "dicomweb":
        from ctcohort.archives.dicomweb import DicomwebArchive

        return DicomwebArchive(settings, key=key)
    if settings["kind"] == "dimse":
        from ctcohort.archives.dimse import DimseArchive

        return DimseArchive(settings, key=key)
    from ctcohort.archives.folder import FolderArchive

    folder = settings["folder"]
    return FolderArchive(Path(folder["path"]), link=folder["link"], store=store, key=key)
