"""The workflow's own folder and release."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[3]
"""The folder that holds the Snakefile; it may be read-only."""


def version() -> str:
    """Return the release of the workflow, as ``pyproject.toml`` states it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return str(project["project"]["version"])
