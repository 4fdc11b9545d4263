"""Where a data set lies below another workflow, and what its commands are told."""

from __future__ import annotations

import copy
import subprocess
from pathlib import Path

import pytest
import yaml

from ctcohort.base.faults import InputError
from ctcohort.base.project import ROOT
from ctcohort.base.workdir import WORKDIR, Workdir
from ctcohort.config import paths
from ctcohort.config.loading import overridden
from ctcohort.config.within import refuse_another_copy, root_of, told

CONFIG = yaml.safe_load((ROOT / "config.yaml").read_text())


@pytest.mark.parametrize("prefix", ["", "ct/", "data sets/ct/", "/absolute/ct/"])
def test_everything_lies_below_the_prefix(prefix: str) -> None:
    assert root_of(lambda path: prefix + path) == Path(prefix)


@pytest.mark.parametrize("moved", ["raw/", "accessions.txt", "failures/", "processed/"])
def test_paths_that_go_different_ways_are_refused(moved: str) -> None:
    with pytest.raises(InputError, match="replace_prefix"):
        root_of(lambda path: f"x/{path}" if path.startswith(moved) else path)


def test_a_brace_in_the_prefix_is_refused() -> None:
    with pytest.raises(InputError, match="brace"):
        root_of(lambda path: f"{{sample}}/{path}")


def test_another_copy_is_refused(tmp_path: Path) -> None:
    refuse_another_copy(ROOT)
    (tmp_path / "link").symlink_to(ROOT)
    refuse_another_copy(tmp_path / "link")
    with pytest.raises(InputError, match="another copy of ct-cohort"):
        refuse_another_copy(tmp_path)


def test_a_run_by_itself_is_told_as_ever() -> None:
    assert told(Path(), {"CT_COHORT_RAW": "keep"}) == ("", {"CT_COHORT_RAW": "keep"})


def test_each_data_set_s_shell_has_its_own_values() -> None:
    first, of_first = told(Path("a"), {"CT_COHORT_RAW": "keep"})
    second, of_second = told(Path("it's b"), {"CT_COHORT_RAW": 'del"ete'})
    for begin, values in ((first, ["a", "keep"]), (second, ["it's b", 'del"ete'])):
        done = subprocess.run(
            ["sh", "-c", f'{begin}printf "%s\\n" "${WORKDIR}" "$CT_COHORT_RAW"'],
            env=of_first | of_second,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.splitlines() == values


def test_commands_find_the_data_set(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Workdir().manifest == Path("manifest.csv")
    monkeypatch.setenv(WORKDIR, "data sets/b")
    assert Workdir().manifest == Path("data sets/b/manifest.csv")
    assert Workdir().snakemake == Path(".snakemake")
    assert Workdir(Path("other")).snakemake == Path("other/.snakemake")


def test_paths_of_the_config_are_seen_from_above() -> None:
    own = {
        "exclusions": "left_out.csv",
        "archive": {"folder": {"path": "/absolute"}, "dimse": {"tls": {"ca_bundle": "ca.pem"}}},
    }
    config = overridden(CONFIG, own)
    before = copy.deepcopy(config)
    seen = paths.below(Path("b"), config)
    assert config == before
    assert seen["reports"] == "b/reports.csv"
    assert seen["exclusions"] == "b/left_out.csv"
    assert seen["archive"]["folder"]["path"] == "/absolute"
    assert seen["archive"]["dimse"]["tls"]["ca_bundle"] == "b/ca.pem"
    assert seen["merged_mrns"] is None
    assert paths.below(Path(), config) == config


def test_files_are_looked_for_below_the_folder(tmp_path: Path) -> None:
    (tmp_path / "archive").mkdir()
    (line,) = paths.missing(CONFIG, tmp_path)
    assert line.startswith(f"reports: {tmp_path / 'reports.csv'} does not exist")
    assert paths.missing(CONFIG, tmp_path, but=paths.MADE_BY_RULES) == []
