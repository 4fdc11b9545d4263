"""``received/<name>.json``: the files of a series as they arrived, with their checksums.

Snakemake reads the beginning of these files while it plans, so this module needs the standard
library only.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ctcohort.base.faults import Fault, InputError
from ctcohort.base.files import head, read_sealed_json, write_sealed_json

_CHOICE = re.compile(r'"series_uid":\s*"([^"]*)",\s*"instance_count":\s*(\d+),')


@dataclass(frozen=True, slots=True)
class ReceivedFile:
    """One DICOM file as it arrived; `bytes` is its size."""

    sop_instance_uid: str
    bytes: int
    sha256: str
    transfer_syntax: str


@dataclass(frozen=True, slots=True)
class Received:
    """The files of a series as they arrived.

    Attributes
    ----------
    duplicate_files : int
        Identical copies of instances that the archive had beside those in `instances`.
    """

    series_uid: str
    instance_count: int
    transfer_syntaxes: tuple[str, ...]
    bytes: int
    duplicate_files: int
    instances: tuple[ReceivedFile, ...]

    @classmethod
    def of(
        cls, series_uid: str, files: Sequence[ReceivedFile], *, duplicate_files: int
    ) -> Received:
        """Summarise the files of a complete series."""
        return cls(
            series_uid=series_uid,
            instance_count=len(files),
            transfer_syntaxes=tuple(sorted({file.transfer_syntax for file in files})),
            bytes=sum(file.bytes for file in files),
            duplicate_files=duplicate_files,
            instances=tuple(files),
        )

    def write(self, path: Path) -> None:
        """Write it; the series and its number of instances come first (see `chosen_series`)."""
        write_sealed_json(path, asdict(self))

    @classmethod
    def read(cls, path: Path) -> Received:
        """Read what `write` wrote.

        Raises
        ------
        InputError
            The file is damaged.
        FileNotFoundError
        """
        try:
            content = read_sealed_json(path)
            files = tuple(ReceivedFile(**file) for file in content.pop("instances"))
            syntaxes = tuple(content.pop("transfer_syntaxes"))
            return cls(**content, transfer_syntaxes=syntaxes, instances=files)
        except FileNotFoundError:
            raise
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            raise InputError(
                f"{path}: is damaged or was edited; delete {path} and run snakemake again:"
                " the series is fetched anew"
            ) from None

    def checksums(self) -> dict[str, str]:
        """Return the SHA-256 of each instance's file by SOPInstanceUID."""
        return {file.sop_instance_uid: file.sha256 for file in self.instances}

    def assert_all_in(self, raw: Path) -> None:
        """Raise unless a folder holds exactly these files, by their names.

        Raises
        ------
        Fault
            `checksum_mismatch`.
        """
        entries = raw.iterdir() if raw.is_dir() else ()
        there = {entry.name for entry in entries if not entry.name.startswith(".")}
        expected = {f"{file.sop_instance_uid}.dcm" for file in self.instances}
        if there != expected:
            raise Fault(
                "checksum_mismatch",
                f"{raw} holds {len(there)} files, {len(expected)} were received"
                f" ({len(expected - there)} missing, {len(there - expected)} unknown); delete {raw}"
                " and run again to fetch the series anew",
            )

    def assert_is(self, raw: Path) -> None:
        """Raise unless a folder holds exactly these files, byte by byte.

        Raises
        ------
        Fault
            `checksum_mismatch`.
        """
        self.assert_all_in(raw)
        for file in self.instances:
            received_bytes(raw / f"{file.sop_instance_uid}.dcm", file.sha256)


def chosen_series(path: Path | str) -> str:
    """Return the SeriesInstanceUID and the number of instances that were received, with a blank
    between; empty where there is no such file.

    Only the beginning of the file is read: planning asks this of every scan.
    """
    found = _CHOICE.search(head(path))
    return f"{found[1]} {found[2]}" if found else ""


def received_bytes(path: Path, expected: str) -> bytes:
    """Content of a received file; raises unless its SHA-256 is `expected`.

    Whatever reads ``raw/`` reads it by this: one flipped bit in a header can change the geometry of
    a volume and leave every pixel as it was.
    """
    try:
        content = path.read_bytes()
    except (FileNotFoundError, IsADirectoryError):
        content = None
    if content is None or hashlib.sha256(content).hexdigest() != expected:
        raise Fault(
            "checksum_mismatch",
            f"{path}: is not the file that was received; delete {path.parent} and run again",
        )
    return content
