"""Runs of Snakemake that need not import it anew: most of a short run's time goes into that.

Each run is a fork of a process that has imported Snakemake and done nothing else. It has its own
arguments, environment, working directory and output, as a process that was started for it would.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path


class Snakemakes:
    """Starts runs, one after the other."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(
        self, arguments: Sequence[str], folder: Path, environment: Mapping[str, str], output: Path
    ) -> int:
        """Run Snakemake in a folder; return its exit status. `output` gets all that it prints."""
        assert self._process.stdin is not None and self._process.stdout is not None
        order = [list(arguments), str(folder), dict(environment), str(output)]
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def end(self) -> None:
        """No run will be asked for any more."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def _run(arguments: list[str], folder: str, environment: dict[str, str], output: str) -> int:
    """Become a run of Snakemake; return its exit status."""
    from snakemake.cli import main

    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None  # as TMPDIR says
    os.chdir(folder)
    nothing = os.open(os.devnull, os.O_RDONLY)
    written = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    for descriptor, number in ((nothing, 0), (written, 1), (written, 2)):
        os.dup2(descriptor, number)
    sys.argv[1:] = arguments
    sys.path[0] = ""  # as `python -m` has it
    try:
        main(arguments)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def _serve() -> None:
    import snakemake.cli  # noqa: F401

    for line in sys.stdin:
        child = os.fork()
        if not child:
            status = 1
            try:
                status = _run(*json.loads(line))
                sys.stdout.flush()
                sys.stderr.flush()
            finally:
                os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(status, flush=True)


if __name__ == "__main__":
    _serve()
