"""Measured figures in docs/reliability.md, written by the command that measured them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

DOCUMENT = Path(__file__).parents[2] / "docs" / "reliability.md"


def write_section(name: str, text: str, document: Path = DOCUMENT) -> None:
    """Replace what stands between the markers of `name`, and leave the rest of the page alone."""
    begin, end = f"<!-- {name}: figures -->", f"<!-- {name}: end -->"
    page = document.read_text()
    if page.count(begin) != 1 or page.count(end) != 1:
        raise ValueError(f"{document}: expected one {begin} and one {end}")
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(end)
    document.write_text(f"{before}{begin}\n{text.strip()}\n{end}{after}")


def kept_in(file: Path | None) -> list[dict[str, Any]]:
    """What earlier runs kept in a file; nothing where there is none."""
    lines = file.read_text().splitlines() if file and file.exists() else []
    return [json.loads(line) for line in lines]


def keep_in(file: Path, result: dict[str, Any]) -> None:
    """Add a result to a file, a line for each."""
    with open(file, "a", encoding="utf-8") as stream:
        stream.write(json.dumps(result) + "\n")
