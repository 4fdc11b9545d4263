"""The paths that the config names: `~` is expanded, and what is missing stops the run.

Snakemake takes a file that exists as made if its rule's input is missing: with a mistyped list of
withdrawn consents there would be nothing to be done.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

REVIEWS = "reviews.csv"
"""The default of `reviews`: the one table that need not exist."""

_TABLES = {
    "reports": "the report table; put it there, or give the working directory with --directory",
    "exclusions": "the table of what a person leaves out",
    "merged_mrns": "the table of merged MRNs",
    "reviews": "the table of what a person found; start it with the line accession,verdict,note",
}
_FILES = {
    "privacy.key_file": "a key; make it once with `make key KEY=...`",
    "release.about": "a Markdown file",
}
_ARCHIVE_FILES = {
    "dicomweb": {
        "credentials": "a file of NAME=value lines, mode 600",
        "ca_bundle": "a PEM file",
        "client_certificate": "a PEM file",
        "client_key": "a PEM file",
    },
    "dimse": {f"tls.{key}": "a PEM file" for key in ("ca_bundle", "certificate", "key")},
    "folder": {},
}
_OTHERS = ("archive.folder.path", "release.key_table")


MADE_BY_RULES = ("reports", "exclusions", "merged_mrns")
"""Tables that are inputs of rules, so that the rules of another workflow may make them."""


def expand(config: dict[str, Any]) -> None:
    """Replace ``~`` and ``~name`` at the start of every path in `config`."""
    _change(config, os.path.expanduser)


def below(root: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return `config` with its paths as seen from above `root`, the working directory."""
    seen = copy.deepcopy(dict(config))
    if root != Path():
        _change(seen, lambda path: str(root / path))
    return seen


def _change(config: dict[str, Any], change: Callable[[str], str]) -> None:
    keys = [*_TABLES, *_FILES, *_OTHERS]
    keys += [f"archive.{kind}.{key}" for kind, files in _ARCHIVE_FILES.items() for key in files]
    for key in keys:
        *sections, last = key.split(".")
        node: Any = config
        for section in sections:
            node = node.get(section) or {}
        if isinstance(node.get(last), str):
            node[last] = change(node[last])


def missing(
    config: Mapping[str, Any], root: Path = Path(), *, but: Collection[str] = ()
) -> list[str]:
    """Return one line for each path in a valid, expanded `config` that cannot be read.

    Of the archives, only the one that `archive.kind` names is looked at; `release.key_table` is
    made by a release.

    Parameters
    ----------
    root : Path
        The working directory.
    but : collection of str
        Keys of tables that are not looked for.
    """
    return list(_missing(config, root, but))


def _missing(config: Mapping[str, Any], root: Path, but: Collection[str]) -> Iterator[str]:
    kind = config["archive"]["kind"]
    files = _TABLES | _FILES
    files |= {f"archive.{kind}.{key}": what for key, what in _ARCHIVE_FILES[kind].items()}
    for key, what in files.items():
        path = _value(config, key)
        if path and key not in but and not (key == "reviews" and path == REVIEWS):
            yield from _unreadable(key, root / path, what)
    if kind == "folder":
        folder = root / config["archive"]["folder"]["path"]
        if not folder.is_dir():
            yield f"archive.folder.path: {folder.absolute()} is no folder; {_folder_cure(config)}"


def _unreadable(key: str, path: Path, what: str) -> Iterator[str]:
    if not path.exists():
        yield f"{key}: {path.absolute()} does not exist; expected {what}"
    elif path.is_dir():
        yield f"{key}: {path.absolute()} is a folder; expected {what}"
    elif not os.access(path, os.R_OK):
        yield f"{key}: {path.absolute()} cannot be read; check its permissions"


def _folder_cure(config: Mapping[str, Any]) -> str:
    cure = "expected a tree of DICOM files"
    for kind, key in (("dicomweb", "url"), ("dimse", "host")):
        if config["archive"][kind][key]:
            cure += f", or archive.kind: {kind}, since archive.{kind}.{key} is set"
    return cure


def _value(config: Mapping[str, Any], key: str) -> str | None:
    node: Any = config
    for part in key.split("."):
        node = (node or {}).get(part)
    return None if node is None else str(node)
