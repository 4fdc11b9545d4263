"""Measured figures in docs/reliability.md, written by the command that measured them."""

from __future__ import annotations

from pathlib import Path

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
