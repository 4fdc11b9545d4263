"""The faults that are injected.

A damage changes one thing of a finished working directory, between two runs. An interruption meets
a run that is under way. Both draw what is random from the generator that they are given, so that a
trial can be repeated by its number.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests.workflow.conftest import ONE, TWO

TABLES = (
    "accessions.txt",
    "protocols.csv",
    "cohort.csv",
    "series.csv",
    "splits.csv",
    "manifest.csv",
)
SCAN = tuple(
    f"{folder}/{name}.{suffix}"
    for name in (ONE, TWO)
    for folder, suffix in (("processed", "npz"), ("processed", "json"), ("received", "json"))
)
STORE = (
    "index/folder.sqlite",
    "index/patient.key",
    ".parameters/select.json",
    ".parameters/index.json",
    ".parameters/splits.json",
    ".parameters/volume.json",
)
RAW = tuple(f"raw/{name}/#" for name in (ONE, TWO))
"""`#` stands for one of the files in a folder."""

SNAKEMAKE = (".snakemake/metadata/#",)

TARGETS = (*TABLES, *SCAN, *STORE, *RAW, *SNAKEMAKE)

CHANGES: dict[str, dict[str, object]] = {
    "nothing": {},
    "volume": {"volume.interpolator": "linear"},
    "series": {"series.min_slices": 10},
    "splits": {"splits.seed": 1},
}
"""What is changed in the config after a damage, so that what was damaged is read."""


def chosen_file(folder: Path, target: str, choice: random.Random) -> Path:
    """The file that `target` names, one of many where it ends in `#`."""
    path = folder / target
    if path.name != "#":
        return path
    return choice.choice(sorted(p for p in path.parent.iterdir() if not p.name.startswith(".")))


def _deleted(path: Path, _choice: random.Random) -> None:
    path.unlink()


def _emptied(path: Path, _choice: random.Random) -> None:
    os.truncate(path, 0)


def _truncated(path: Path, choice: random.Random) -> None:
    os.truncate(path, choice.randrange(1, max(2, path.stat().st_size)))


def _flipped(path: Path, choice: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[choice.randrange(len(content))] ^= 1 << choice.randrange(8)
    path.write_bytes(content)


def _directory(path: Path, _choice: random.Random) -> None:
    path.unlink()
    path.mkdir()


def _longer(path: Path, choice: random.Random) -> None:
    with open(path, "ab") as stream:
        stream.write(choice.randbytes(choice.randrange(1, 200)))


def _zeroed(path: Path, choice: random.Random) -> None:
    """A hole, as a file system leaves it after a crash."""
    content = bytearray(path.read_bytes())
    start = choice.randrange(len(content))
    length = min(4096, len(content) - start)
    content[start : start + length] = bytes(length)
    path.write_bytes(content)


def _without_a_line(path: Path, choice: random.Random) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    del lines[choice.randrange(len(lines))]
    path.write_bytes(b"".join(lines))


DAMAGES: dict[str, Callable[[Path, random.Random], None]] = {
    "deleted": _deleted,
    "emptied": _emptied,
    "truncated": _truncated,
    "bit flipped": _flipped,
    "directory in its place": _directory,
    "longer": _longer,
    "zeroed": _zeroed,
    "a line lost": _without_a_line,
}


def damage(folder: Path, target: str, kind: str, *, stamp: bool, choice: random.Random) -> str:
    """Damage a file; with `stamp` its time stamps stay as they were. Return which file."""
    path = chosen_file(folder, target, choice)
    before, parent = path.stat(), path.parent.stat()
    DAMAGES[kind](path, choice)
    if stamp:
        if path.exists():
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        os.utime(path.parent, ns=(parent.st_atime_ns, parent.st_mtime_ns))
    return str(path.relative_to(folder))


# Things that happen to the whole directory between two runs


def _lost_memory(folder: Path, _choice: random.Random) -> None:
    shutil.rmtree(folder / ".snakemake")


def _lost_store(folder: Path, _choice: random.Random) -> None:
    shutil.rmtree(folder / "index")


def _lost_parameters(folder: Path, _choice: random.Random) -> None:
    shutil.rmtree(folder / ".parameters")


def _lost_volumes(folder: Path, _choice: random.Random) -> None:
    shutil.rmtree(folder / "processed")


def _lost_raw(folder: Path, _choice: random.Random) -> None:
    shutil.rmtree(folder / "raw")


def _stray(folder: Path, choice: random.Random) -> None:
    """What a killed job of another machine may have left."""
    for name in ("raw/.partial/A0001/x", "processed/.A0001.npz.77.part", "index/.x.part"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(choice.randbytes(100))


def _clock(seconds: float) -> Callable[[Path, random.Random], None]:
    """The clock was wrong while some of the files were written."""

    def shift(folder: Path, choice: random.Random) -> None:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and "archive" not in path.parts and choice.random() < 0.5:
                stamp = path.stat().st_mtime + seconds
                os.utime(path, (stamp, stamp))

    return shift


UPHEAVALS: dict[str, Callable[[Path, random.Random], None]] = {
    "lost .snakemake": _lost_memory,
    "lost index/": _lost_store,
    "lost .parameters/": _lost_parameters,
    "lost processed/": _lost_volumes,
    "lost raw/": _lost_raw,
    "stray partial files": _stray,
    "clock back by an hour": _clock(-3600),
    "clock ahead by an hour": _clock(3600),
    "clock back by a year": _clock(-365 * 86400),
}


# Interruptions of a run that is under way


def children(pid: int) -> list[int]:
    """Every process below `pid`, by what /proc says."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents[int(entry.name)] = int(fields[1])
    found, level = [], {pid}
    while level:
        level = {child for child, parent in parents.items() if parent in level}
        found += sorted(level)
    return found


def _to_group(number: int) -> Callable[[subprocess.Popen[str], random.Random], None]:
    def send(process: subprocess.Popen[str], _choice: random.Random) -> None:
        os.killpg(process.pid, number)

    return send


def _to_snakemake(number: int) -> Callable[[subprocess.Popen[str], random.Random], None]:
    def send(process: subprocess.Popen[str], _choice: random.Random) -> None:
        os.kill(process.pid, number)

    return send


def _to_a_job(number: int) -> Callable[[subprocess.Popen[str], random.Random], None]:
    def send(process: subprocess.Popen[str], choice: random.Random) -> None:
        running = children(process.pid)
        if running:
            with suppress(ProcessLookupError):  # it has ended by itself
                os.kill(choice.choice(running), number)

    return send


def _stopped(process: subprocess.Popen[str], choice: random.Random) -> None:
    """The machine sleeps, and wakes."""
    os.killpg(process.pid, signal.SIGSTOP)
    time.sleep(choice.uniform(0.05, 0.5))
    os.killpg(process.pid, signal.SIGCONT)


INTERRUPTIONS: dict[str, Callable[[subprocess.Popen[str], random.Random], None]] = {
    "kill -9 of the process group": _to_group(signal.SIGKILL),
    "kill -9 of Snakemake": _to_snakemake(signal.SIGKILL),
    "kill -9 of a job": _to_a_job(signal.SIGKILL),
    "TERM to the process group": _to_group(signal.SIGTERM),
    "TERM to Snakemake": _to_snakemake(signal.SIGTERM),
    "TERM to a job": _to_a_job(signal.SIGTERM),
    "INT to the process group": _to_group(signal.SIGINT),
    "STOP and CONT": _stopped,
}

TOGETHER = "a second run at the same time"
FULL = "disk full"
READ_ONLY = "read-only"
