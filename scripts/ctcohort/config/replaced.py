"""Detect by checksum that a user's table was replaced, even by a file with an older time stamp."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ctcohort.base.files import sha256, write_lines
from ctcohort.config.settings import digest


def mark(record: Path, tables: Iterable[str | None]) -> str:
    """Return a word for the content of `tables`; the empty word for what they held at first.

    A file that is moved or copied into place may keep a time stamp older than what was made from
    the table before, so that time stamps alone do not tell. `record` remembers what the tables held
    at first, and size, time stamp and SHA-256 of each; the content is read only where size or time
    stamp differ.
    """
    before = _remembered(record)
    known = {tuple(stamp): content for *stamp, content in before["files"]}
    files = []
    for path in (Path(table) for table in tables if table):
        if path.is_file():
            facts = path.stat()
            stamp = (str(path), facts.st_size, facts.st_mtime_ns)
            files.append([*stamp, known.get(stamp) or sha256(path)])
    word = digest(json.dumps([content for *_, content in files]))
    now = {"first": before.get("first", word), "files": files}
    if now != before:
        write_lines(record, [json.dumps(now)])
    return "" if word == now["first"] else word


def _remembered(record: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(record.read_text(encoding="utf-8")))
    except (OSError, ValueError):  # none yet, or damaged: as if asked for the first time
        return {"files": []}
