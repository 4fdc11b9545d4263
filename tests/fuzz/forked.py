"""Run a command line of the workflow in a fork of a process that has imported everything.

A fork takes milliseconds where a start takes half a second; what it runs is the command's own
`main`, by `faults.run`, with its own arguments, working directory, memory and exit status.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]

MEMORY_MB = 4000
"""Address space beyond which an allocation fails, to protect the machine."""

SECONDS = 60
"""After which a command is killed."""


@dataclass(frozen=True)
class Step:
    """What a command did. `uncaught` is a stack trace, empty where every exception was caught."""

    status: int
    output: str
    uncaught: str
    seconds: float
    megabytes: float


class Commands:
    """Runs the scripts of the workflow, each call in a fork."""

    def __init__(self, connection: Connection, errors: Path) -> None:
        self.connection = connection
        self.errors = errors

    def __call__(self, script: str, arguments: list[str], folder: Path) -> Step:
        self.connection.send((script, arguments, str(folder), str(self.errors)))
        status, seconds, megabytes = self.connection.recv()
        uncaught = self.errors.read_text() if self.errors.exists() else ""
        self.errors.unlink(missing_ok=True)
        output = (folder / "output").read_text(errors="replace")
        return Step(status, output, uncaught, seconds, megabytes)


@contextmanager
def commands(scratch: Path) -> Iterator[Commands]:
    """Start the process that forks; it has no threads of its own."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs,))
    process.start()
    try:
        yield Commands(ours, scratch / f"uncaught-{os.getpid()}-{process.pid}")
    finally:
        ours.send(None)
        process.join()


def _serve(connection: Connection) -> None:
    sys.path.insert(0, str(ROOT / "scripts"))
    for name in ("numpy", "SimpleITK", "snakemake.cli", "pynetdicom", "requests", "jsonschema"):
        importlib.import_module(name)
    for name in sorted(path.stem for path in (ROOT / "scripts").glob("*.py")):
        importlib.import_module(name)
    for path in sorted((ROOT / "scripts" / "ctcohort").rglob("[!_]*.py")):
        importlib.import_module(".".join(path.relative_to(ROOT / "scripts").with_suffix("").parts))
    while (task := connection.recv()) is not None:
        begun = time.monotonic()
        pid = os.fork()
        if not pid:
            _child(*task)
        _, status, usage = os.wait4(pid, 0)
        seconds = min(time.monotonic() - begun, usage.ru_utime + usage.ru_stime)
        if os.WIFSIGNALED(status):
            seconds = time.monotonic() - begun
        connection.send((os.waitstatus_to_exitcode(status), seconds, usage.ru_maxrss / 1024))


def _child(script: str, arguments: list[str], folder: str, errors: str) -> None:
    """One command, from its arguments to its exit status."""
    os.chdir(folder)
    output = os.open("output", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    signal.alarm(SECONDS)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MB << 20,) * 2)
    sys.argv = [script, *arguments]
    status = 1
    try:
        _run(script)
        status = 0
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        status = end.code if isinstance(end.code, int) else 1 if end.code else 0
    except BaseException:
        Path(errors).write_text(traceback.format_exc())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _run(script: str) -> None:
    if script == "snakemake":
        module: Any = importlib.import_module("snakemake.cli")
        module.main(sys.argv[1:])
    else:
        from ctcohort.base.faults import run

        run(importlib.import_module(script).main)
