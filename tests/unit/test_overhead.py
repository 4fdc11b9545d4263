"""When one Snakemake is too few for the cores of a node."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ctcohort.dataset.overhead import advice, cores_kept_busy

HPC = Path(__file__).parents[2] / "docs" / "hpc.md"


@pytest.mark.parametrize(("cores", "scans"), [(64, 36_861), (128, 10_000), (2, 500_000), (400, 3)])
def test_nothing_is_said_where_one_snakemake_is_enough(cores: int, scans: int) -> None:
    assert not advice(cores, scans)


def test_parts_are_advised_where_cores_would_wait() -> None:
    assert advice(64, 100_000) == (
        "100,000 scans to make on 64 cores: while so many wait, one Snakemake finds work for about"
        " 27; parts are faster (docs/hpc.md, Parts)."
    )


def test_the_documented_numbers_of_cores_are_these() -> None:
    rows = re.findall(
        r"^ *\| ([\d,]+) scans wait \| (\d+) cores \|$", HPC.read_text(), re.MULTILINE
    )
    assert len(rows) >= 4
    for scans, cores in rows:
        assert int(cores) == pytest.approx(cores_kept_busy(int(scans.replace(",", ""))), abs=5)
