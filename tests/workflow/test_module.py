"""The workflow as a module of another one: what it makes is what it makes alone."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from .conftest import CONFIG, ONE, ROOT, THIN, TWO, Run, Site, jobs, table_of, write_reports

RESULTS = ("accessions.txt", "series.csv", "splits.csv", "manifest.csv")

DOCUMENT = (ROOT / "docs" / "modules.md").read_text()
WHOLE, BELOW = re.findall(r"^```python\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)
"""The examples of docs/modules.md."""

A = BELOW[BELOW.index("module a") : BELOW.index("module b")]
"""Its first data set below a prefix, alone."""


def outer(folder: Path, text: str) -> Site:
    """A workflow of somebody else in `folder`, and its working directory, which is the same."""
    folder.mkdir(exist_ok=True)
    (folder / "Snakefile").write_text(text.replace("/path/to/ct-cohort", str(ROOT)))
    (folder / "profiles").symlink_to(ROOT / "profiles")
    return Site(folder, workflow=folder)


def same_results(one: Path, other: Path) -> None:
    for name in RESULTS:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    same_volumes(one, other)


def same_volumes(one: Path, other: Path) -> None:
    for name in (ONE, TWO):
        volume = Path("processed") / f"{name}.npz"
        assert (one / volume).read_bytes() == (other / volume).read_bytes(), name


def test_a_module_makes_what_the_workflow_makes(
    hospital: Path, finished: tuple[Path, Run], tmp_path: Path
) -> None:
    site = outer(tmp_path / "outer", WHOLE)
    shutil.copytree(hospital / "archive", site.folder / "archive")
    shutil.copy(hospital / "reports.csv", site.folder)
    (site.folder / "config.yaml").write_text(yaml.safe_dump({"ct": CONFIG, "mine": 1}))
    run = site.run()
    assert {"count", *jobs("ct_download_series", ONE, TWO)} <= run.jobs
    assert (site.folder / "count.txt").read_text() == "4\n"
    assert {path.name for path in (site.folder / "sizes").iterdir()} == {f"{ONE}.txt", f"{TWO}.txt"}
    same_results(site.folder, finished[0])
    assert "Nothing to be done" in site.run().output

    (site.folder / "config.yaml").write_text(
        yaml.safe_dump({"ct": {**CONFIG, "volume": {"spacing_mm": 7.5}}})
    )
    again = site.run("-n")
    assert jobs("ct_preprocess_volume", ONE, TWO) <= again.jobs
    assert not [job for job in again.jobs if "download" in job]


def test_two_data_sets_below_prefixes(
    hospital: Path, finished: tuple[Path, Run], tmp_path: Path
) -> None:
    """Each has its config, archive and folder; a rule of the outer workflow makes one's table."""
    site = outer(tmp_path / "outer", BELOW)
    a, b = site.folder / "a", site.folder / "data sets" / "b"
    shutil.copytree(hospital / "archive", a / "archive")
    shutil.copy(hospital / "reports.csv", site.folder / "export.csv")
    shutil.copytree(hospital / "archive", b / "elsewhere")
    write_reports(b, table_of(TWO, THIN))
    (b / "config.yaml").write_text(
        yaml.safe_dump({"archive": {"folder": {"path": "elsewhere"}}, "volume": {"spacing_mm": 8}})
    )
    assert {"export_reports", "a_select_accessions"} <= site.run("-n").jobs
    assert not (a / "accessions.txt").exists()

    run = site.run()
    assert jobs("a_download_series", ONE, TWO) | jobs("b_download_series", TWO) <= run.jobs
    assert "b_preprocess_volume A0002" in run.jobs
    assert "3 accessions: 2 included, 1 excluded" in run.output
    assert "2 accessions: 1 included, 1 excluded" in run.output
    same_results(a, finished[0])
    alone = Site(tmp_path / "alone")
    shutil.copytree(b, alone.folder, ignore=shutil.ignore_patterns("raw", "processed", ".*"))
    (alone.folder / "manifest.csv").unlink()
    alone.run("--cores", "2")
    assert (alone.folder / "manifest.csv").read_bytes() == (b / "manifest.csv").read_bytes()
    # nothing is written beside the folders
    assert {path.name for path in site.folder.iterdir()} == {
        *("Snakefile", "profiles", "export.csv", ".snakemake", "a", "data sets")
    }
    assert "Nothing to be done" in site.run().output

    (a / "processed" / f"{ONE}.npz").unlink()
    assert site.run("-n").jobs >= jobs("a_preprocess_volume", ONE)
    told = site.run("--nolock", "a_prune").output
    assert "nothing is left of scans that are not in the cohort" in told


def test_commands_work_below_a_prefix(site: Site, tmp_path: Path) -> None:
    """What they find and leave is in the folder, and in the outer workflow's own records."""
    key = tmp_path / "key"
    site.script("make_key.py", str(key))
    config = {**CONFIG, "privacy": {"key_file": str(key)}, "release": {"key_table": "names.csv"}}
    given = repr({**config, "exclusions": "left_out.csv"})
    around = outer(tmp_path / "outer", A.replace(json.dumps(CONFIG), given))
    shutil.rmtree(site.folder / ".snakemake")
    shutil.move(site.folder, around.folder / "a")
    (around.folder / "a" / "left_out.csv").write_text("accession,reason\n")
    for name in ("splits.csv", "manifest.csv"):  # made without a key
        (around.folder / "a" / name).unlink()
    told = around.run("a/qc/A0001.png", "a_release", "a_guard").output
    assert "nothing was found" in told
    assert len(list((around.folder / "a" / "release").glob("*.npz"))) == 2

    (around.folder / "a" / "left_out.csv").write_text(f"accession,reason\n{ONE},consent\n")
    around.environment = {"ACCESSION": ONE, "DELETE": "yes"}
    told = around.run("--nolock", "a_purge").output
    assert "deleted. Yours to edit" in told
    left = [
        path
        for path in around.folder.rglob("*")
        if path.is_file() and "archive" not in path.parts and "release" not in path.parts
        if ONE in path.name or ONE.encode() in path.read_bytes()
    ]
    assert {path.name for path in left} == {"left_out.csv", "reports.csv", "names.csv"}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            ("archive", "archiv"),
            "archiv: unknown key; did you mean archive",
        ),
        (
            ('prefix:\n        "a"', 'replace_prefix:\n        {"raw/": "elsewhere/"}'),
            "replace_prefix: of this mod",
        ),
        (
            ('prefix:\n        "a"', 'prefix:\n        "b"'),
            "reports: b/reports.csv does not exist, and no rule makes",
        ),
        (
            ("/path/to/ct-cohort/Snakefile", "../alone.smk"),
            "needs the whole of its folder",
        ),
    ],
)
def test_what_cannot_work_is_said(
    hospital: Path, tmp_path: Path, change: tuple[str, str], told: str
) -> None:
    for name in ("a", "b"):
        shutil.copytree(hospital / "archive", tmp_path / "outer" / name / "archive")
    shutil.copy(ROOT / "Snakefile", tmp_path / "alone.smk")
    shutil.copytree(ROOT / "rules", tmp_path / "rules")
    run = outer(tmp_path / "outer", A.replace(*change)).run("-n", "a_all", ok=False)
    assert told in run.output


def test_a_hosted_repository_is_fetched_whole(hospital: Path, tmp_path: Path) -> None:
    """As snakedeploy names it; git takes the repository from this machine instead."""
    source = Site(tmp_path).copy_workflow(tmp_path / "source")
    git = ["git", "-C", str(source), "-c", "user.name=A", "-c", "user.email=a@example.org"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "all"], ["tag", "v1"]):
        subprocess.run([*git, *command], check=True)
    hosted = 'github("somebody/ct-cohort", path="Snakefile", tag="v1")'
    site = outer(tmp_path / "outer", WHOLE.replace('"/path/to/ct-cohort/Snakefile"', hosted))
    shutil.copytree(hospital, site.folder, dirs_exist_ok=True)
    (site.folder / "config.yaml").write_text(yaml.safe_dump({"ct": CONFIG}))
    site.environment = {
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{source}.insteadOf",
        "GIT_CONFIG_VALUE_0": "https://github.com/somebody/ct-cohort",
    }
    site.run("accessions.txt")
    assert (site.folder / "accessions.txt").read_text().split() == [ONE, TWO, THIN]
    (folder,) = (tmp_path / "cache").rglob("ct-cohort-*")
    assert (folder / "scripts" / "ctcohort").is_dir()
