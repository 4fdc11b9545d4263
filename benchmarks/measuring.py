"""What a command takes: CPU and wall seconds, and the memory of its largest process."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_PROGRAM = """\
import json, resource, subprocess, sys, time
start = time.perf_counter()
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
wall = time.perf_counter() - start
used = resource.getrusage(resource.RUSAGE_CHILDREN)
said = done.stderr.decode(errors="replace")
cpu, memory = used.ru_utime + used.ru_stime, used.ru_maxrss / 1024
print(json.dumps([done.returncode, cpu, wall, memory, said]))
"""
"""A small process, because a fork begins with the memory of the one that it leaves."""

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@dataclass(frozen=True)
class Cost:
    """What one command took, with its children; `megabytes` is of the largest process."""

    cpu: float
    wall: float
    megabytes: float
    stderr: str = ""


def measured(
    command: Sequence[str | Path],
    folder: Path,
    environment: Mapping[str, str] | None = None,
    *,
    may_fail: bool = False,
) -> Cost:
    """Run a command in a folder; end with what it said unless it ends well or `may_fail`."""
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, *command],
        cwd=folder,
        env=os.environ | ONE_THREAD | dict(environment or {}),
        check=True,
        stdout=subprocess.PIPE,
    )
    code, cpu, wall, megabytes, text = json.loads(done.stdout)
    if code and not may_fail:
        sys.exit(f"{' '.join(map(str, command))}\n{text[-3000:]}\nexit status {code}")
    return Cost(cpu, wall, megabytes, text)


def median(costs: Sequence[Cost]) -> Cost:
    """Return the medians of several runs."""
    return Cost(
        statistics.median(cost.cpu for cost in costs),
        statistics.median(cost.wall for cost in costs),
        statistics.median(cost.megabytes for cost in costs),
    )
