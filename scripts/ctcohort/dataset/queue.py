"""Ask Slurm about the jobs of a working directory: how many run, how many wait, and for what."""

from __future__ import annotations

import subprocess
from collections import Counter
from pathlib import Path

from ctcohort.base.workdir import Workdir

FORMAT = "%Z|%j|%K|%T|%r|%k"
"""Working directory, name, index in its array, state, reason and comment of squeue(1)."""

PARTS = "ct-cohort"
"""Job name of ``slurm/partitions.sbatch``; its jobs start beside the parts."""

ASK_FOR_LESS = (
    "stop Snakemake, which cancels its jobs; ask for less in the profile, or name another"
)

NEVER = {
    "PartitionTimeLimit": f"more run time than the partition gives: {ASK_FOR_LESS} slurm_partition",
    "PartitionNodeLimit": f"more nodes than the partition gives: {ASK_FOR_LESS} slurm_partition",
    "PartitionConfig": f"more than the partition gives: {ASK_FOR_LESS} slurm_partition",
    "BadConstraints": f"no node is like that: {ASK_FOR_LESS} slurm_partition",
    "AccountNotAllowed": "the partition is closed to this account: name another slurm_account",
    "InvalidAccount": "there is no such account: name another slurm_account",
    "JobHeldUser": "held: scontrol release its number",
    "JobHeldAdmin": "held by an administrator; ask why",
    "PartitionDown": "the partition is down; ask the administrators, or name another",
    "PartitionInactive": "the partition is inactive; ask the administrators, or name another",
}
"""Reasons that do not go away by waiting, and what to do."""

TURNS = {"Priority": "others come first", "Resources": "no free node yet", "None": "just queued"}


def queue(here: Workdir) -> list[str]:
    """Lines for a person; none where Slurm is not there or has no job of the directory."""
    try:
        asked = subprocess.run(  # noqa: S603
            ["squeue", "--me", "--noheader", "--array", f"--format={FORMAT}"],  # noqa: S607
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
    except FileNotFoundError:
        return []
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        return ["slurm: squeue gives no answer"]
    return told(asked.stdout, here.root.resolve())


def told(text: str, directory: Path) -> list[str]:
    """The lines of `queue`, from what squeue prints in `FORMAT`."""
    running, waiting = 0, Counter[tuple[str, str]]()
    for line in text.splitlines():
        place, name, index, state, reason, comment = line.split("|", 5)
        part = Path(place) / f"part-{index}" if name == PARTS else Path(place)
        if part.resolve() != directory:
            continue
        rule = (
            "part" if name == PARTS else comment.removeprefix("rule_").partition("_wildcards_")[0]
        )
        if state == "PENDING":
            waiting[rule, reason] += 1
        else:
            running += 1
    if not running and not waiting:
        return []
    lines = [f"slurm:     {running:,} jobs run, {waiting.total():,} wait"]
    for (rule, reason), count in waiting.most_common():
        if reason in NEVER:
            lines.append(f"  {count:,} {rule} will wait for ever, {reason}: {NEVER[reason]}")
        else:
            because = f" ({TURNS[reason]})" if reason in TURNS else ""
            lines.append(f"  {count:,} {rule} waits for {reason}{because}")
    return lines
