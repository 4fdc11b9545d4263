"""Search every file below a folder for identifiers, and name file and location, never the value."""

from __future__ import annotations

import base64
import os
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Set
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from urllib.parse import unquote

from ctcohort.release.guard.chunked_file import is_proven
from ctcohort.release.guard.content import in_file, look_for, sought
from ctcohort.release.guard.identities import (
    Identities,
    redacted,
)
from ctcohort.release.guard.volume_file import check_volume

INSTALLED = (".snakemake/conda", ".snakemake/conda-archive", ".snakemake/singularity")
"""Folders of installed programs."""

BATCH = 64
"""Files per task of the searching processes."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that may not be there: which file, where in it, and what kind of thing."""

    file: str
    location: str
    kind: str

    def __str__(self) -> str:
        return f"{self.file}: {self.location}: {self.kind}"

    @property
    def is_archive_path(self) -> bool:
        """Return True if it is in the path of a file of the folder archive, as the index keeps
        it."""
        column = self.location.endswith(("column folder", "column name"))
        located = ".facts.location." in self.location
        return (self.file == "index/folder.sqlite" and column) or (
            self.file.startswith("index/answers/") and located
        )

    def below(self, folder: Path) -> Finding:
        """The same finding, with the file's name as seen from above `folder`."""
        return replace(self, file=str(folder / self.file))


def summary(findings: Iterable[Finding]) -> list[str]:
    """One line per file and kind: the first location, and how many more there are."""
    locations: dict[tuple[str, str], list[str]] = {}
    for finding in findings:
        locations.setdefault((finding.file, finding.kind), []).append(finding.location)
    return [
        f"{file}: {first}: {kind}" + (f" (and {len(more)} more places)" if more else "")
        for (file, kind), (first, *more) in locations.items()
    ]


def search(
    folder: Path, identities: Identities, *, leave: Collection[Path] = (), threads: int = 1
) -> list[Finding]:
    """Search names and contents of all files below `folder`.

    Parameters
    ----------
    leave : collection of Path
        Files and folders that may hold identifiers.
    threads : int
        Processes that read.
    """
    left = {path.resolve() for path in leave} | {(folder / name).resolve() for name in INSTALLED}
    files = list(_files(folder, left))
    batches = [files[start : start + BATCH] for start in range(0, len(files), BATCH)]
    work = partial(_search_batch, folder)
    findings: list[Finding] = []
    if threads == 1 or len(batches) < 2:
        look_for(identities)
        for found in map(work, batches):
            findings += found
        return findings
    with ProcessPoolExecutor(threads, initializer=look_for, initargs=(identities,)) as pool:
        for found in pool.map(work, batches):
            findings += found
    return findings


def _files(folder: Path, left: Set[Path]) -> Iterator[Path]:
    """Every file below `folder` and below what is linked from there; each real folder once, by
    its own name rather than a link's."""
    links = deque([folder])
    seen: set[Path] = set()
    while links:
        for where, folders, names in os.walk(links.popleft()):
            here = Path(where)
            real = _real(here)
            if real in seen or real in left or not left.isdisjoint(real.parents):
                folders.clear()
                continue
            seen.add(real)
            folders.sort()
            links.extend(here / name for name in folders if (here / name).is_symlink())
            for name in sorted(names):
                if _real(here / name) not in left and (here / name).is_file():
                    yield here / name


def _real(path: Path) -> Path:
    """Resolve a path as `Path.resolve` does, which raises for a link to itself."""
    return Path(os.path.realpath(path))


def _search_batch(folder: Path, files: list[Path]) -> list[Finding]:
    findings = []
    for path in files:
        try:
            findings += list(_search_file(folder, path))
        except FileNotFoundError:
            continue  # gone meanwhile
        except PermissionError:
            findings.append(Finding(_shown(folder, path), "the file", "cannot be read"))
    return findings


def _shown(folder: Path, path: Path) -> str:
    """The file's name in a message: with stars for what may not be told."""
    relative = str(path.relative_to(folder))
    plain = unquote(relative)
    shown = redacted(plain, sought())
    return relative if shown == plain else shown


def _search_file(folder: Path, path: Path) -> Iterator[Finding]:
    shown = _shown(folder, path)
    for name in {str(path.relative_to(folder)), _decoded_name(path.name)}:
        for hit in sought().hits(name.encode("utf-8", "surrogateescape")):
            yield Finding(shown, "its name", hit.kind)
    if path.suffix == ".npz":
        proof = check_volume(path)
        yield from (Finding(shown, fault, "structure") for fault in proof.faults)
        if not proof.faults and not proof.wide:
            return
    if path.suffix == ".b2nd" and is_proven(path):
        return
    for location, kind in dict.fromkeys(in_file(path)):
        yield Finding(shown, redacted(location, sought()), kind)


def _decoded_name(name: str) -> str:
    """Snakemake names its metadata files after the base64 of a path."""
    try:
        return base64.urlsafe_b64decode(name.encode()).decode()
    except (ValueError, UnicodeError):
        return name
