"""The commands of docs/hpc.md, as printed and in order, on a real Slurm: every way, one result."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from .. import documents
from ..documents import ROOT, Place, blocks, results
from ..workflow import conda, scheduler
from . import slurm

pytestmark = [
    pytest.mark.skipif(bool(slurm.why_not()), reason=f"Slurm: {slurm.why_not()}"),
    pytest.mark.xdist_group("slurm"),
]

ONE_WAY, PARTS, PROFILE, DOWNLOADS, OTHERS, WORKFLOW_ENV, RULE_ENVS = range(7)
WAIT = 'sbatch() { command sbatch --wait "$@"; }\n'
"""What a reader does between two lines."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[slurm.Cluster]:
    """One node, as large as the page's: it promises more than this machine has."""
    folder = tmp_path_factory.mktemp("slurm")
    with slurm.cluster(folder, nodes=1, cpus=64, memory_mb=120_000) as running:
        yield running


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return documents.prepare(tmp_path_factory.mktemp("printed"))


@pytest.fixture(scope="module")
def page() -> list[str]:
    found = blocks(ROOT / "docs" / "hpc.md")
    assert len(found) == 7
    return found


@pytest.fixture(scope="module")
def expected(place: Place) -> dict[str, bytes]:
    place.run(".venv/bin/snakemake --directory WORKDIR --cores 2\n")
    return results(place.working)


def fresh(place: Place) -> None:
    """An empty working directory."""
    for entry in place.working.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        elif entry.name != "config.yaml":
            entry.unlink()


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("number", [ONE_WAY, PROFILE, DOWNLOADS])
def test_slurm_s_ways(
    place: Place, page: list[str], expected: dict[str, bytes], number: int
) -> None:
    fresh(place)
    told = place.run(WAIT + page[number], SHELL="/bin/bash")
    assert results(place.working) == expected, told


@pytest.mark.usefixtures("cluster")
def test_parts(place: Place, page: list[str], expected: dict[str, bytes]) -> None:
    place.run(WAIT + page[PARTS])
    assert (place.folder / "dataset" / "part-1.log").exists()
    assert results(place.folder / "dataset" / "merged") == expected


@pytest.mark.parametrize("kind", ["lsf", "sge", "pbs"])
def test_other_schedulers(
    place: Place, page: list[str], expected: dict[str, bytes], kind: str, tmp_path: Path
) -> None:
    pytest.importorskip("snakemake_executor_plugin_cluster_generic", reason="needs `make slurm`")
    fresh(place)
    first, *ways = page[OTHERS].splitlines(keepends=True)
    (way,) = (line for line in ways if kind in line)
    told = place.run(first + way, **scheduler.install(tmp_path / kind, kind))
    assert results(place.working) == expected, told


def test_conda(place: Place, page: list[str], expected: dict[str, bytes], tmp_path: Path) -> None:
    here = conda.install(tmp_path / "conda", tmp_path)
    told = place.run(page[WORKFLOW_ENV], PATH=here.path, PIP_NO_INDEX="1")
    assert "7 included" in told
    assert here.created() == ["ct-cohort-workflow"]
    fresh(place)
    place.run(page[RULE_ENVS], PATH=here.path)
    assert len(here.created()) == 6  # the whole workflow, and five of rules
    assert results(place.working) == expected
    assert os.listdir(f"{place.folder}/shared/ct-cohort-envs")
