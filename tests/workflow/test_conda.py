"""Where conda is the rule: environments ahead of time, and commands that install nothing.

A stub stands for conda: it writes down what it is asked for and makes environments that hand on to
this test's interpreter. What environments hold is the subject of
tests/machine/test_environments.py.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from .conda import Conda, install
from .conftest import ONE, ROOT, Site


@pytest.fixture
def conda(tmp_path: Path) -> Conda:
    return install(tmp_path / "conda", tmp_path / "environments")


def test_every_environment_of_a_rule_can_be_made_ahead_of_time(
    conda: Conda, site: Site, tmp_path: Path
) -> None:
    options = ("--sdm", "conda", "--conda-prefix", str(conda.prefix))
    nobody = Site(tmp_path / "nobody", environment={"PATH": conda.path})
    nobody.folder.mkdir()
    nobody.run(*options, "--conda-create-envs-only", "environments")
    named = {yaml.safe_load(env.read_text())["name"] for env in (ROOT / "envs").glob("*.yaml")} - {
        "ct-cohort-workflow"
    }  # the one in which Snakemake itself may run
    assert conda.created() == sorted(named)
    assert {path.name for path in nobody.folder.iterdir()} <= {".snakemake", ".parameters"}

    # on a node without a network: all that is asked for is there
    later = Site(site.folder, environment={"PATH": conda.path})
    for made in ("series.csv", f"processed/{ONE}.npz", "splits.csv"):
        (site.folder / made).unlink()
    run = later.run(*options, "all", "pictures")
    assert {"index_series", f"preprocess_volume {ONE}", "assign_splits"} <= run.jobs
    assert conda.created() == sorted(named)


# CT_COHORT_ENV


@pytest.fixture
def other(tmp_path: Path) -> dict[str, str]:
    """What the environment of a lab without a package index holds."""
    prefix = tmp_path / "other"
    (prefix / "bin").mkdir(parents=True)
    for name in ("python", "snakemake"):
        command = prefix / "bin" / name
        command.write_text(
            f"#!/bin/sh\necho {name} >> {tmp_path}/used\n"
            f'exec {shlex.quote(str(Path(sys.executable).parent / name))} "$@"\n'
        )
        command.chmod(0o755)
    return {**os.environ, "CT_COHORT_ENV": str(prefix), "PIP_NO_INDEX": "1"}


def make(workflow: Path, environment: dict[str, str], *arguments: str) -> str:
    done = subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=workflow,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_every_command_runs_from_another_environment_and_installs_nothing(
    site: Site, other: dict[str, str], tmp_path: Path
) -> None:
    workflow = site.copy_workflow(tmp_path / "workflow")
    here = f"DIR={site.folder}"
    assert "included" in make(workflow, other, "status", here)
    assert make(workflow, other, "explain", f"ACCESSION={ONE}", here).startswith(f"{ONE}: included")
    assert "manifest.csv says: 2 volumes" in make(workflow, other, "verify", here)
    for command in ("page", "prune", "guard"):
        make(workflow, other, command, here)
    make(workflow, other, "check-archive", f"ACCESSION={ONE}", here)
    make(workflow, other, "key", f"KEY={tmp_path / 'key'}")
    assert "volumes   demo/processed" in make(workflow, other, "demo", "CORES=2")
    used = (tmp_path / "used").read_text().split()
    assert {"python", "snakemake"} == set(used)
    assert not (workflow / ".venv").exists()


def test_an_environment_that_is_none_is_named(other: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "other" / "bin" / "snakemake").unlink()
    done = subprocess.run(
        ["make", "status"], cwd=ROOT, env=other, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert f"CT_COHORT_ENV: {tmp_path / 'other'} has no bin/python" in done.stdout
