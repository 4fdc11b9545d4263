"""Folder archives for tests, and the key that they mark patients with."""

from __future__ import annotations

from pathlib import Path

from ctcohort.archives.folder import FolderArchive

REPOSITORY = Path(__file__).resolve().parents[2]
KEY = b"k" * 32


class Opened(list[FolderArchive]):
    """Folder archives that are closed when the test ends."""

    def __call__(
        self, root: Path, store: Path, *, link: bool = False, threads: int = 1, key: bytes = KEY
    ) -> FolderArchive:
        archive = FolderArchive(root, link=link, store=store, key=key)
        archive.prepare(threads=threads)
        self.append(archive)
        return archive
