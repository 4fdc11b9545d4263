"""The package's rooms import in one direction."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter

import pytest

from tests.architecture import (
    PACKAGE,
    ROOMS,
    imports,
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
