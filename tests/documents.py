"""The commands that README.md and docs/ print, and a place in which they run as printed.

A block runs line by line in one shell, whose folder is a copy of the project. Words in capitals are
folders there: WORKDIR, DATASET, MERGED, WORKFLOW. Absolute paths that a reader replaces are moved
below the test's folder.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
REPLACED = ("/a/safe/place", "/path/to/ct-cohort", "/shared/")
CONFIG = """\
reports: {hospital}/reports.csv
columns: {{carry: [nodule]}}
archive: {{connections: 8, folder: {{path: {hospital}/archive}}}}
volume: {{spacing_mm: 4}}
"""


def documents() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(document: Path) -> list[str]:
    """The shell blocks of a document, in order, without their indentation."""
    text = document.read_text(encoding="utf-8")
    found = re.findall(r"^( *)```(?:sh|bash|shell|console)\n(.*?)^\1```", text, re.M | re.S)
    return [re.sub(rf"^{indent}", "", block, flags=re.M) for indent, block in found]


@dataclass(frozen=True)
class Place:
    """A copy of the project, `workflow`, and the folders that the commands name in it."""

    folder: Path

    @property
    def workflow(self) -> Path:
        return self.folder / "ct-cohort"

    @property
    def working(self) -> Path:
        return self.folder / "working"

    def run(self, block: str, **variables: str) -> str:
        """What a block prints; every command of it must succeed."""
        for path in REPLACED:
            block = block.replace(path, f"{self.folder}{path}")
        done = subprocess.run(
            ["bash", "-e"],
            input=block,
            cwd=self.workflow,
            env={**os.environ, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}"
        return done.stdout


def prepare(folder: Path) -> Place:
    """The project with this test's environment as its .venv, and a hospital to ask."""
    place = Place(folder)
    place.workflow.mkdir(parents=True)
    for entry in ROOT.iterdir():
        if entry.name not in (".venv", ".git", "demo", "tests"):
            (place.workflow / entry.name).symlink_to(entry)
    (place.workflow / "tests").symlink_to(ROOT / "tests")
    environment = place.workflow / ".venv"
    environment.mkdir()
    stamps = (".run", ".slurm", ".dev")
    for entry in Path(sys.prefix).iterdir():
        if entry.name not in stamps:
            (environment / entry.name).symlink_to(entry)
    for stamp in stamps:  # what `make env` leaves when all is installed
        (environment / stamp).touch()
    hospital = folder / "hospital"
    make = ROOT / "scripts" / "make_demo.py"
    subprocess.run([sys.executable, make, hospital], check=True, stdout=subprocess.DEVNULL)
    for path, name in ((place.working, "WORKDIR"), (folder / "dataset", "DATASET")):
        path.mkdir()
        (path / "config.yaml").write_text(CONFIG.format(hospital=hospital))
        (place.workflow / name).symlink_to(path)
    (folder / "dataset" / "WORKFLOW").symlink_to(place.workflow)
    for path in REPLACED:
        Path(f"{folder}{path}").parent.mkdir(parents=True, exist_ok=True)
    Path(f"{folder}/a/safe/place").mkdir()
    Path(f"{folder}/path/to/ct-cohort").symlink_to(place.workflow)
    return place


def results(directory: Path) -> dict[str, bytes]:
    """Everything that is a result, by name."""
    names = ("accessions.txt", "cohort.csv", "series.csv", "splits.csv", "manifest.csv")
    paths = [directory / name for name in names] + sorted((directory / "processed").glob("[!.]*"))
    return {str(path.relative_to(directory)): path.read_bytes() for path in paths}
