"""What is told of Slurm's queue, from lines of a real squeue."""

from __future__ import annotations

from pathlib import Path

from ctcohort.dataset import queue

HERE = Path("/data/set")


def line(state: str, reason: str, rule: str, place: Path = HERE) -> str:
    comment = f"rule_{rule}_wildcards_ACC%2F1" if rule != "index_series" else f"rule_{rule}"
    return f"{place}|0a1b2c3d-0000|N/A|{state}|{reason}|{comment}\n"


def test_what_runs_and_what_waits_for_which_reason() -> None:
    text = (
        line("RUNNING", "None", "download_series")
        + line("PENDING", "Priority", "preprocess_volume") * 2
        + line("PENDING", "Resources", "download_series")
        + line("PENDING", "Priority", "download_series", Path("/data/another"))
    )
    assert queue.told(text, HERE) == [
        "slurm:     1 jobs run, 3 wait",
        "  2 preprocess_volume waits for Priority (others come first)",
        "  1 download_series waits for Resources (no free node yet)",
    ]


def test_what_waits_for_ever_is_told_with_what_to_do() -> None:
    _, told = queue.told(line("PENDING", "PartitionTimeLimit", "index_series"), HERE)
    assert told.startswith("  1 index_series will wait for ever, PartitionTimeLimit: more run time")
    assert "ask for less in the profile" in told


def test_an_array_s_tasks_belong_to_their_parts() -> None:
    text = "".join(f"{HERE}|ct-cohort|{index}|PENDING|Resources|(null)\n" for index in (1, 2))
    assert queue.told(text, HERE / "part-2")[1:] == [
        "  1 part waits for Resources (no free node yet)"
    ]
    assert queue.told(text, HERE) == []


def test_nothing_is_told_where_slurm_has_no_such_job() -> None:
    assert queue.told("", HERE) == []
