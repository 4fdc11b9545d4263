"""``report.html``: the data set on one page that needs no network.

============= ==========================================================
`flow`        the steps from the report table to volumes
`oddness`     which scans to look at first
`contents`    what the page says
`pictures`    the pictures that it shows
``page.*``    how it looks: HTML and CSS
``script/``   what it does: JavaScript, joined as `SCRIPTS` says
============= ==========================================================

Every text reaches the page as JSON and is inserted as text. The page's own policy lets it run only
the script that it was made with, and load nothing but pictures beside it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from ctcohort.base.files import write_lines
from ctcohort.base.workdir import Workdir
from ctcohort.page.contents import Contents, gather

PAGE_BYTES = 25_000_000
"""Thumbnails are embedded while the page stays below this; the others are read from beside it."""

PICTURES_BYTES = 8_000_000
"""The full pictures are embedded too where all of them together are smaller than this."""

HERE = Path(__file__).parent

SCRIPTS = ("basics", "reviews", "pictures", "filters", "list", "viewer", "charts", "sections")
"""Parts of the page's script in their order; they share one scope."""


def write_page(here: Workdir, reviews: Path, target: Path) -> list[str]:
    """Write the page of a working directory.

    Returns
    -------
    list of str
        Lines that say what is on it.

    Raises
    ------
    InputError
        As in `contents.gather`.
    """
    contents = gather(here, reviews)
    thumbnails = _present(here.thumbnails, ".webp", contents)
    pictures = _present(here.pictures, ".png", contents)
    data = {**contents.data, "thumbnails": sorted(thumbnails), "pictures": sorted(pictures)}
    texts = {"data": _json(data), "page.css": _own("page.css"), "page.js": _script()}
    html = _own("page.html")
    room = PAGE_BYTES - sum(len(text.encode()) for text in (html, *texts.values()))
    whole = _embedded(pictures, contents.wanted, PICTURES_BYTES)
    if len(whole) < len(pictures):
        whole = {}
    room -= sum(map(len, whole.values()))
    small = _embedded(thumbnails, contents.wanted, room)
    texts |= {"thumbnails": _json(small), "pictures": _json(whole), "policy": _policy(texts)}
    page = re.sub(r"\{\{([\w.]+)\}\}", lambda found: texts[found[1]], html)
    write_lines(target, [page])
    volumes = len(contents.names)
    return [
        *filter(None, [contents.warning]),
        f"{target}: {len(contents.data['accessions'])} accessions, {volumes} volumes,"
        f" {target.stat().st_size / 1e6:.1f} MB",
        f"thumbnails: {len(small)} in the page, {len(thumbnails) - len(small)} beside it,"
        f" {volumes - len(thumbnails)} not made",
        f"pictures: {len(whole)} in the page, {len(pictures) - len(whole)} beside it,"
        f" {volumes - len(pictures)} not made",
    ]


def _own(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def _script() -> str:
    """Return the page's script: its parts one after the other in one function."""
    parts = "\n".join(_own(f"script/{name}.js") for name in SCRIPTS)
    return f'"use strict";\n(() => {{\n{parts}}})();\n'


def _json(value: object) -> str:
    """JSON that no HTML parser can take for the end of the script it stands in."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c")


def _policy(texts: Mapping[str, str]) -> str:
    """Content-Security-Policy: the page's own script and style, pictures beside it, no more."""

    def only(kind: str) -> str:
        digest = hashlib.sha256(texts[f"page.{kind}"].encode()).digest()
        return f"'sha256-{base64.b64encode(digest).decode()}'"

    return (
        f"default-src 'none'; script-src {only('js')}; style-src {only('css')};"
        " img-src 'self' data:; base-uri 'none'; form-action 'none'"
    )


def _present(folder: Path, ending: str, contents: Contents) -> dict[int, Path]:
    """The volumes' pictures of one kind that are there."""
    there = (
        {entry.name for entry in os.scandir(folder) if entry.is_file()}
        if folder.is_dir()
        else set()
    )
    return {
        index: folder / f"{name}{ending}"
        for index, name in contents.names.items()
        if f"{name}{ending}" in there
    }


def _embedded(files: Mapping[int, Path], order: Sequence[int], room: int) -> dict[int, str]:
    """Base64 of the first of `files` that fit into `room` bytes together."""
    found: dict[int, str] = {}
    for index in order:
        if index not in files:
            continue
        room -= -(-files[index].stat().st_size // 3) * 4 + len(f'"{index}":"",')
        if room < 0:
            break
        found[index] = base64.b64encode(files[index].read_bytes()).decode()
    return found
