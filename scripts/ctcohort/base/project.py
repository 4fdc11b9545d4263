"""The workflow's own folder, its release, and the command that runs it."""

from __future__ import annotations

import shlex
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[3]
"""The folder that holds the Snakefile; it may be read-only."""


def version() -> str:
    """Return the release of the workflow, as ``pyproject.toml`` states it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return str(project["project"]["version"])


def snakemake_on(directory: Path, snakefile: str | Path = ROOT / "Snakefile") -> str:
    """Return the command that runs the workflow on a working directory, wherever it is typed."""
    parts = [Path(sys.prefix) / "bin" / "snakemake", "--snakefile", snakefile]
    return shlex.join(map(str, [*parts, "--directory", directory.absolute()]))
