"""``received/<name>.json``: what arrived of a series, and whether it is still there."""

from __future__ import annotations

import json
from pathlib import Path

from ctcohort.base.faults import Fault


def read_received(path: Path, raw: Path) -> dict[str, str]:
    """SHA-256 of each instance by SOPInstanceUID; raises unless `raw` holds exactly these files."""
    content = json.loads(path.read_text())
    hashes = {file["sop_instance_uid"]: file["sha256"] for file in content["instances"]}
    there = {entry.name for entry in raw.iterdir() if not entry.name.startswith(".")}
    expected = {f"{uid}.dcm" for uid in hashes}
    if there != expected:
        raise Fault(
            "checksum_mismatch",
            f"{raw} holds {len(there)} files, {path} lists {len(expected)}"
            f" ({len(expected - there)} missing, {len(there - expected)} unknown); delete {raw} and"
            f" {path} and run again to fetch the series anew",
        )
    return hashes
