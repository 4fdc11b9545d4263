"""How many one-line mistakes in the modules that decide the fast unit tests notice.

    python -m benchmarks.mutants.run [--jobs N] [--every N] [MODULE ...]

Each mutant runs in a fork of a process that has imported what is not of this project. A mutant
counts as killed when a test fails, and also when the module cannot be imported or the tests take
`LIMIT_S` of CPU time. Those that survive are printed, with their lines.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.abc
import importlib.machinery
import os
import resource
import sys
from collections.abc import Sequence
from pathlib import Path
from types import CodeType, ModuleType

from .mutate import Mutant, mutants

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "scripts" / "ctcohort"
LIMIT_S = 60
LEAST = 0.85
"""Share of the mutants of a module that its tests must kill."""

TESTS: dict[str, tuple[str, ...]] = {
    "series.geometry": ("test_geometry.py",),
    "series.choice": ("test_choice.py",),
    "dicom.pixels": ("test_hounsfield.py",),
    "volume.resampling": ("test_resampling.py",),
    "series.download": ("test_downloads.py",),
    "cohort.splits": ("test_splits.py",),
}
"""The fast tests of each module that decides, below tests/unit."""

SLOW = "kernels_of_the_blas or two_processes or cut_off_anywhere"
"""Words in the names of tests that take long, most because they start processes: left out."""


class _Mutated(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives a mutant's code to whoever imports its module."""

    def __init__(self, name: str, code: CodeType) -> None:
        self.name, self.code = name, code

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        del path, target
        return importlib.machinery.ModuleSpec(fullname, self) if fullname == self.name else None

    def exec_module(self, module: ModuleType) -> None:
        exec(self.code, module.__dict__)


def start(name: str, code: CodeType, tests: Sequence[str]) -> int:
    """Run the tests on a mutant in a process of its own, and return its id."""
    child = os.fork()
    if child:
        return child
    resource.setrlimit(resource.RLIMIT_CPU, (LIMIT_S, LIMIT_S))
    try:
        import pytest

        sys.meta_path.insert(0, _Mutated(name, code))
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        plugins = [f"no:{plugin}" for plugin in ("cacheprovider", "xdist", "hypothesispytest")]
        options = [
            "-x",
            "-q",
            *("-k", f"not ({SLOW})"),
            *(word for plugin in plugins for word in ("-p", plugin)),
        ]
        paths = [str(ROOT / "tests" / "unit" / test) for test in tests]
        os._exit(int(pytest.main([*options, *paths])))
    except BaseException:
        os._exit(99)


def survivors(module: str, jobs: int, every: int) -> tuple[int, int]:
    """Try every n-th mutant of a module and print those that its tests do not notice.

    Returns
    -------
    How many were tried, and how many survived.
    """
    path = PACKAGE.joinpath(*module.split(".")).with_suffix(".py")
    source, name = path.read_text(encoding="utf-8"), f"ctcohort.{module}"
    start(name, compile(source, str(path), "exec"), TESTS[module])
    if os.wait()[1]:
        raise SystemExit(f"{module}: its tests fail without a mutation: {TESTS[module]}")
    running: dict[int, Mutant] = {}
    alive = 0

    def wait_for_one() -> None:
        nonlocal alive
        child, status = os.wait()
        mutant = running.pop(child)
        if status == 0:
            alive += 1
            print(f"  {mutant}", flush=True)

    tried = 0
    for mutant in mutants(source, every):
        tried += 1
        while len(running) >= jobs:
            wait_for_one()
        running[start(name, compile(mutant.tree, str(path), "exec"), TESTS[module])] = mutant
    while running:
        wait_for_one()
    return tried, alive


def main() -> None:
    """Print the figures of each module, and fail where they are too low."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="*", default=list(TESTS), metavar="MODULE")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--every", type=int, default=1, help="try only every n-th mutant")
    arguments = parser.parse_args()
    for library in ("numpy", "pydicom", "pytest", "SimpleITK", "imagecodecs"):
        with contextlib.suppress(ImportError):
            importlib.import_module(library)
    low = []
    for module in arguments.modules:
        tried, alive = survivors(module, arguments.jobs, arguments.every)
        share = 1 - alive / tried
        print(f"{module}: {tried - alive} of {tried} killed ({share:.1%})", flush=True)
        if share < LEAST:
            low.append(module)
    if low:
        raise SystemExit(f"fewer than {LEAST:.0%} killed: {', '.join(low)}")


if __name__ == "__main__":
    main()
