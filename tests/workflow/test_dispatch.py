"""What Snakemake does for nothing, and does not where it is mended."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import ROOT, Site

SNAKEFILE = f"""
import sys, threading, time

sys.path.insert(0, "{ROOT}/scripts")
import snakemake.persistence
from ctcohort.dataset import overhead

if config["mended"]:
    overhead.no_pandas(snakemake.persistence.PersistenceBase)


class Timer(threading.Timer):
    began = []

    def start(self):
        Timer.began.append(time.monotonic())
        super().start()


threading.Timer = Timer


rule all:
    input: [f"made/{{number}}" for number in range(40)]

rule one:
    output: "made/{{number}}"
    params: "a string"
    shell: "touch {{output}}"

onstart:
    if config["mended"]:
        overhead.one_timer(workflow.scheduler)

onsuccess:
    seconds = Timer.began[-1] - Timer.began[0]
    compares = workflow.persistence._serialize_param.__name__
    Path("seen").write_text(f"{{len(Timer.began)}} {{seconds}} {{compares}}")
"""


@pytest.mark.parametrize("mended", [True, False])
def test_what_snakemake_does_for_nothing(tmp_path: Path, mended: bool) -> None:
    """One timer a second, not one more per job that ended; no pandas to compare strings. Once an
    unmended Snakemake does neither, `overhead` can go."""
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    site = Site(tmp_path, workflow=tmp_path)
    site.run("--workflow-profile", "none", "--config", f"mended={mended}")
    timers, seconds, compares = (tmp_path / "seen").read_text().split()
    assert (int(timers) <= float(seconds) + 1) == mended
    assert (compares == "_serialize_param_builtin") == mended
