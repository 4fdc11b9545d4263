"""Temporary files of all tests are kept in memory where there is room.

Every file of the workflow is flushed to disk before it gets its name, and the tests write
thousands: on a disk they would spend most of their time waiting for it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# examples take as long as the machine lets them
settings.register_profile(
    "busy machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("busy machine")

Pip = Callable[..., subprocess.CompletedProcess[str]]

MEMORY = Path("/dev/shm")
ROOM = 4 << 30
"""Bytes that must be free; the tests use about a quarter at any time."""


def has_room(folder: Path) -> bool:
    """Whether a folder is there, large enough, and one in which programs may run."""
    try:
        runs = not os.statvfs(folder).f_flag & os.ST_NOEXEC
        return runs and os.access(folder, os.W_OK) and shutil.disk_usage(folder).free >= ROOM
    except OSError:
        return False


def pytest_configure(config: pytest.Config) -> None:
    """Point temporary files at memory, unless somebody has said where they belong."""
    chosen = config.getoption("basetemp") or os.environ.get("TMPDIR")
    if not chosen and has_room(MEMORY):
        os.environ["TMPDIR"] = str(MEMORY)
        tempfile.tempdir = None


@pytest.fixture(scope="session")
def pip(tmp_path_factory: pytest.TempPathFactory) -> Pip:
    """Calls pip; skips where no package index answers."""

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    got = call(
        "download", "--quiet", "--no-deps", "--retries=0", "--timeout=10",
        f"--dest={tmp_path_factory.mktemp('index')}", "packaging",
    )  # fmt: skip
    if got.returncode:
        pytest.skip("needs_index: no package index can be reached")
    return call
