"""``received/<name>.json``: what arrived of a series, and whether it is still there."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from ctcohort.base.faults import Fault


def read_received(path: Path, raw: Path) -> dict[str, str]:
    """SHA-256 of each instance by SOPInstanceUID; raises unless `raw` holds exactly these files."""
    content = json.loads(path.read_text())
    hashes = {file["sop_instance_uid"]: file["sha256"] for file in content["instances"]}
    entries = raw.iterdir() if raw.is_dir() else ()
    there = {entry.name for entry in entries if not entry.name.startswith(".")}
    expected = {f"{uid}.dcm" for uid in hashes}
    if there != expected:
        raise Fault(
            "checksum_mismatch",
            f"{raw} holds {len(there)} files, {path} lists {len(expected)}"
            f" ({len(expected - there)} missing, {len(there - expected)} unknown); delete {raw} and"
            f" {path} and run again to fetch the series anew",
        )
    return hashes


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
