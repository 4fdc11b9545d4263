"""The package's rooms import in one direction."""

from __future__ import annotations

import re
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter

import pytest

from tests.architecture import (
    PACKAGE,
    REPOSITORY,
    ROOMS,
    documented_map,
    imports,
    module_map,
    modules,
    room_of,
)

MODULES = modules()


def test_the_rooms_are_those_that_there_are() -> None:
    assert {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()} == {*ROOMS}


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_from_its_own_room_or_from_rooms_before_it(module: str) -> None:
    own = ROOMS.index(room_of(module))
    upward = [
        name
        for name in imports(MODULES[module])
        if name != "ctcohort" and ROOMS.index(room_of(name)) > own
    ]
    assert not upward


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {
        name: [other for other in imports(path) if other in MODULES]
        for name, path in MODULES.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_packages_import_nothing() -> None:
    for path in PACKAGE.rglob("__init__.py"):
        assert "import" not in [
            word for line in path.read_text().splitlines() for word in line.split()[:1]
        ]


def test_what_snakemake_imports_while_it_reads_the_rules_is_light() -> None:
    """Every job of a cluster reads them again."""
    texts = (REPOSITORY / "rules" / "common.smk", REPOSITORY / "Snakefile")
    rules = "".join(path.read_text() for path in texts)
    lines = re.findall(r"^from ctcohort[\w.]* import (?:\([^)]*\)|[^\n]*)", rules, re.MULTILINE)
    assert len(lines) > 5
    script = "\n".join(
        [*lines, "import sys", "print(*{name.split('.')[0] for name in sys.modules})"]
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONPATH": str(PACKAGE.parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    heavy = {"numpy", "pandas", "pydicom", "requests", "SimpleITK", "PIL", "jsonschema"}
    assert not heavy & set(done.stdout.split())


def test_the_map_of_the_rooms_is_up_to_date() -> None:
    """`python -m tests.architecture` writes it."""
    assert documented_map() == module_map()
