"""The conda environments: each holds what its rules import, and nothing else.

Made from the package index's own names, because conda is not everywhere: the table below says which
package of the index stands for which of conda-forge.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import venv
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml

from tests.conftest import Pip
from tests.unit.opened import REPOSITORY

WORKFLOW = REPOSITORY / "envs" / "workflow.yaml"
"""The one in which Snakemake and the commands run; the others are of rules."""

ENVS = sorted(set((REPOSITORY / "envs").glob("*.yaml")) - {WORKFLOW})
SCRIPTS = REPOSITORY / "scripts"

INDEX_NAMES = {
    "matplotlib-base": "matplotlib",
    "python-blosc2": "blosc2",
    "snakemake-minimal": "snakemake",
}
"""conda-forge -> package index, where they differ."""

MODULES = {
    "matplotlib-base": "matplotlib",
    "pillow": "PIL",
    "python-blosc2": "blosc2",
    "python-calamine": "python_calamine",
    "simpleitk": "SimpleITK",
}
"""conda-forge -> the module that is imported, where they differ."""

SNAKEMAKES_OWN = {"jsonschema", "yaml"}
"""Imported where a config is loaded and checked, by the Snakefile and commands of its Python."""

OPTIONAL = {"botocore", "google"}
"""Imported for logins of clouds alone, which say what to install."""

PROBE = Path(__file__).with_name("loaded_modules.py")


def specification(env: Path) -> dict[str, str]:
    """Package -> version range, of an environment file."""
    packages = {}
    for line in yaml.safe_load(env.read_text())["dependencies"]:
        name, limits = re.fullmatch(r"([a-z0-9-]+)(.*)", line).groups()  # type: ignore[union-attr]
        packages[name] = limits
    return packages


def scripts_of(env: Path) -> list[str]:
    """Modules of the command lines of all rules that use an environment."""
    found = set()
    for rules in (REPOSITORY / "rules").glob("*.smk"):
        for rule in re.split(r"^(?=rule |checkpoint )", rules.read_text(), flags=re.MULTILINE):
            if f'"../envs/{env.name}"' in rule:
                found.update(re.findall(r'"\$CT_COHORT"/(\w+)\.py', rule))
    return sorted(found)


def pins() -> dict[str, str]:
    """Package -> version, of the lock file."""
    text = (REPOSITORY / "requirements.lock").read_text()
    return dict(re.findall(r"^([a-z0-9-]+)==([^ ;\\]+)", text, re.MULTILINE))


# What the files say


@pytest.mark.parametrize("env", ENVS, ids=lambda env: env.stem)
def test_an_environment_takes_ranges_from_conda_forge_only(env: Path) -> None:
    content = yaml.safe_load(env.read_text())
    assert content["name"] == f"ct-cohort-{env.stem}"
    assert content["channels"] == ["conda-forge"]
    for name, limits in specification(env).items():
        assert re.fullmatch(r">=[0-9.]+(,<[0-9.]+)?", limits), f"{name}{limits}"


def ranges_of_the_project() -> dict[str, str]:
    import tomllib

    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    ranges = {"python": project["requires-python"]}
    for line in project["dependencies"]:
        name, limits = re.fullmatch(r"([\w-]+)(.*)", line).groups()  # type: ignore[union-attr]
        ranges[name.lower()] = limits
    return ranges


@pytest.mark.parametrize("env", ENVS, ids=lambda env: env.stem)
def test_the_ranges_are_those_of_the_project(env: Path) -> None:
    ranges = ranges_of_the_project()
    for name, limits in specification(env).items():
        assert limits == ranges[INDEX_NAMES.get(name, name)], name


def test_the_environment_of_the_workflow_is_the_whole_project() -> None:
    content = yaml.safe_load(WORKFLOW.read_text())
    assert content["name"] == "ct-cohort-workflow"
    assert content["channels"] == ["conda-forge", "bioconda"]  # bioconda has Snakemake
    packages = specification(WORKFLOW)
    assert len(packages) == len(content["dependencies"])
    named = {INDEX_NAMES.get(name, name): limits for name, limits in packages.items()}
    assert named == ranges_of_the_project()


def test_every_rule_that_runs_a_script_names_its_environment() -> None:
    used = set()
    for rules in (REPOSITORY / "rules").glob("*.smk"):
        for rule in re.split(r"^(?=rule |checkpoint )", rules.read_text(), flags=re.MULTILINE):
            if '"$CT_COHORT"/' in rule and rule.startswith(("rule ", "checkpoint ")):
                (env,) = re.findall(r'"\.\./envs/(\w+\.yaml)"', rule)
                used.add(env)
    assert used == {env.name for env in ENVS}


def test_no_image_takes_along_what_a_run_has_made() -> None:
    """Docker does not read .gitignore."""
    made = re.findall(r"^/(\S+?)/?$", (REPOSITORY / ".gitignore").read_text(), re.MULTILINE)
    left_out = (REPOSITORY / ".dockerignore").read_text().splitlines()
    assert "manifest.csv" in made and "raw" in made
    names = {name.partition("/")[0] for name in made}
    assert {name for name in names if not any(fnmatch(name, each) for each in left_out)} == set()


# What they hold


def probe(python: Path, env: Path) -> subprocess.CompletedProcess[str]:
    arguments = [str(SCRIPTS), " ".join(scripts_of(env)), " ".join(SNAKEMAKES_OWN | OPTIONAL)]
    clean = {key: os.environ[key] for key in ("PATH", "HOME", "TMPDIR") if key in os.environ}
    return subprocess.run(
        [str(python), "-I", "-B", str(PROBE), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=clean,
    )


@pytest.mark.needs_index
@pytest.mark.parametrize("env", ENVS, ids=lambda env: env.stem)
def test_an_environment_holds_what_its_rules_import_and_nothing_else(
    env: Path, tmp_path: Path, pip: Pip
) -> None:
    assert scripts_of(env)
    packages = set(specification(env)) - {"python"}
    venv.create(tmp_path / "env", symlinks=True)
    python = tmp_path / "env" / "bin" / "python"
    if packages:
        locked = pins()
        wanted = sorted(INDEX_NAMES.get(name, name) for name in packages)
        constraints = tmp_path / "constraints.txt"
        constraints.write_text("".join(f"{name}=={version}\n" for name, version in locked.items()))
        done = pip(
            "--python", str(python), "install", "--quiet", "--no-compile", "--only-binary=:all:",
            f"--constraint={constraints}", *wanted,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    run = probe(python, env)
    assert run.returncode == 0, f"{env.name} lacks a package: {run.stderr}"
    loaded = set(json.loads(run.stdout))
    unused = {name for name in packages if MODULES.get(name, name) not in loaded}
    assert not unused, f"{env.name} lists what no command line imports"


def test_a_download_of_a_folder_loads_no_decoder_no_array_library_and_no_http_client() -> None:
    """They would be most of its memory, and of its start-up, which every scan pays."""
    script = (
        "import runpy, sys\n"
        "try:\n"
        "    runpy.run_path(sys.argv.pop(1), run_name='__main__')\n"
        "except SystemExit:\n"
        "    import ctcohort.archives.folder\n"
        "    print(*(name for name, module in sys.modules.items() if module), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(SCRIPTS / "download_series.py"), "--help"],
        env={**os.environ, "PYTHONPATH": str(SCRIPTS)},
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = {name.partition(".")[0] for name in done.stderr.split()}
    assert "pydicom" in loaded
    assert not loaded & {"numpy", "requests", "gdcm", "pylibjpeg", "PIL", "pynetdicom"}
