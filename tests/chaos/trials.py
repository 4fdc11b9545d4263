"""One injected fault, and what became of it."""

from __future__ import annotations

import hashlib
import os
import random
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.workflow.conftest import Site

from . import injections

HEALED = "healed by the same command"
TOLD = "healed after what one line says"
SILENT = "SILENT"
TRACEBACK = "TRACEBACK"
NO_WAY_BACK = "NO WAY BACK"

BAD = (SILENT, TRACEBACK, NO_WAY_BACK)

ATTEMPTS = 5
"""Runs in which what the lines say must lead back to the reference."""

RESULTS = (*injections.TABLES, "processed", "received", "raw")


@dataclass(frozen=True)
class Outcome:
    """What became of a fault; `said` are the lines by which it was told."""

    number: int
    fault: str
    verdict: str
    said: list[str] = field(default_factory=list)
    seconds: float = 0.0


def results(folder: Path) -> dict[str, str]:
    """SHA-256 of everything that a finished run leaves for its user."""
    files = [
        path
        for name in RESULTS
        for path in [folder / name, *(folder / name).rglob("*")]
        if path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(files)
    }


class Hospital:
    """The same hospital finished under every config of `injections.CHANGES`."""

    def __init__(self, folder: Path, fresh: Path) -> None:
        self.fresh = fresh
        self.finished = {}
        self.expected = {}
        for name, changes in injections.CHANGES.items():
            site = Site(folder / name)
            if name == "nothing":
                shutil.copytree(fresh, site.folder)
            else:
                copy_of(self.finished["nothing"], site.folder)
                site.configure(changes)
            begun = time.monotonic()
            site.run()
            self.seconds = time.monotonic() - begun if name == "nothing" else self.seconds
            self.finished[name] = site.folder
            self.expected[name] = results(site.folder)


def copy_of(source: Path, target: Path) -> None:
    """Copy a working directory, time stamps included."""
    subprocess.run(["cp", "-a", str(source), str(target)], check=True)


@dataclass(frozen=True)
class Called:
    """One call of a command."""

    status: int
    output: str

    @property
    def lines(self) -> list[str]:
        """What it says a person should know, each once."""
        said = re.findall(
            r"^\s*(error: .*|.*LockException.*|.*Error: .*|.*clock skew.*)$",
            self.output,
            re.MULTILINE,
        )
        return list(dict.fromkeys(line.strip() for line in said))

    @property
    def broke(self) -> bool:
        """Whether an exception was not caught."""
        return "Traceback (most recent call last)" in self.output


def call(site: Site, *arguments: str) -> Called:
    """Run the workflow; unlike `Site.run` it may end as it likes."""
    return _call(site, site.command(*arguments))


def verify(site: Site) -> Called:
    """What `make verify RAW=yes` says."""
    return _call(site, [sys.executable, str(site.workflow / "scripts" / "verify.py"), "--raw"])


def _call(site: Site, command: list[str]) -> Called:
    done = subprocess.run(
        command, cwd=site.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    return Called(done.returncode, done.stdout.decode(errors="replace"))


def follow(site: Site, called: Called) -> None:
    """Do what the lines say: unlock, delete what they name inside the working directory, or set a
    time stamp right."""
    if "LockException" in called.output:
        call(site, "--unlock")
    for line in called.lines:
        subject = line.removeprefix("error: ").partition(": ")[0]
        for advice in re.findall(r"\bdelete ([^;]*?)(?: and run|;|$)", line):
            for word in re.split(r",? and |, | ", advice.replace("it", subject, advice == "it")):
                delete(site.folder, word.strip("'\":").rstrip("."))
        if "clock skew" in line:
            for file in site.folder.rglob("*"):
                if file.stat().st_mtime > time.time():
                    os.utime(file)


def delete(folder: Path, name: str) -> None:
    """Delete a file or folder of a working directory."""
    path = (folder / name).resolve()
    if name and path.is_relative_to(folder.resolve()) and path != folder.resolve():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def judge(number: int, fault: str, site: Site, expected: dict[str, str], begun: float) -> Outcome:
    """Call the same command until it ends well, doing what it says in between; then verify."""

    def outcome(verdict: str) -> Outcome:
        return Outcome(number, fault, verdict, said, time.monotonic() - begun)

    said: list[str] = []
    for attempt in range(ATTEMPTS):
        run = call(site)
        said += [line for line in run.lines if line not in said]
        if run.broke:
            said.append(run.output[run.output.index("Traceback") :][:3000])
            return outcome(TRACEBACK)
        if run.status == 0:
            proven = verify(site)
            if proven.broke:
                said.append(proven.output[-1500:])
                return outcome(TRACEBACK)
            there = results(site.folder)
            kept = {name.split("/")[1] for name in there if name.startswith("raw/")}
            wanted = {  # a volume needs its DICOM files no more
                name: value
                for name, value in expected.items()
                if not name.startswith("raw/") or name.split("/")[1] in kept
            }
            if proven.status == 0:
                if there == wanted:
                    return outcome(TOLD if attempt else HEALED)
                said.append(str(sorted({name for name, _ in there.items() ^ wanted.items()})))
                return outcome(SILENT)
            lines = proven.output.splitlines()
            if any(line in said for line in lines):
                said += lines
                return outcome(NO_WAY_BACK)
            said += lines
            run = Called(1, "".join(f"error: {line}\n" for line in lines))
        elif not run.lines:
            said.append(run.output[-1500:])
            return outcome(NO_WAY_BACK)
        follow(site, run)
    return outcome(NO_WAY_BACK)


# Trials


def damage(hospital: Hospital, number: int, folder: Path, choice: random.Random) -> Outcome:
    """Something of a finished working directory is damaged, then perhaps the config changed."""
    change = choice.choice([*injections.CHANGES, "nothing", "nothing"])
    if choice.random() < 0.12:
        return upheaval(hospital, number, folder, choice, change)
    target, kind = choice.choice(injections.TARGETS), choice.choice(list(injections.DAMAGES))
    stamp = choice.random() < 0.6
    return damaged(hospital, number, folder, target, kind, stamp=stamp, change=change)


def damaged(
    hospital: Hospital,
    number: int,
    folder: Path,
    target: str,
    kind: str,
    *,
    stamp: bool,
    change: str,
) -> Outcome:
    """A file is damaged in a way of `injections.DAMAGES`, then the config changed."""
    begun = time.monotonic()
    site = Site(folder)
    copy_of(hospital.finished["nothing"], folder)
    choice = random.Random(f"{number} {target} {kind}")
    path = injections.damage(folder, target, kind, stamp=stamp, choice=choice)
    fault = f"{path} {kind}{', time stamp kept' if stamp else ''}; then {change} is changed"
    site.configure(injections.CHANGES[change])
    return judge(number, fault, site, hospital.expected[change], begun)


def upheaval(
    hospital: Hospital, number: int, folder: Path, choice: random.Random, change: str
) -> Outcome:
    """Something happens to many files at once, then the config is changed."""
    begun = time.monotonic()
    site = Site(folder)
    copy_of(hospital.finished["nothing"], folder)
    kind = choice.choice(list(injections.UPHEAVALS))
    injections.UPHEAVALS[kind](folder, choice)
    site.configure(injections.CHANGES[change])
    return judge(
        number, f"{kind}; then {change} is changed", site, hospital.expected[change], begun
    )


def interruption(hospital: Hospital, number: int, folder: Path, choice: random.Random) -> Outcome:
    """A signal meets a run at a random moment."""
    begun = time.monotonic()
    kind = choice.choice([*injections.INTERRUPTIONS, injections.TOGETHER])
    share = choice.random()
    with under_way(hospital, folder, share) as (site, process):
        if kind == injections.TOGETHER:
            second = call(site)
            if second.broke:
                return Outcome(number, kind, TRACEBACK, [second.output[-3000:]])
        else:
            with suppress(ProcessLookupError):
                injections.INTERRUPTIONS[kind](process, choice)
    fault = f"{kind} at {share:.0%} of a run"
    return judge(number, fault, site, hospital.expected["nothing"], begun)


def disk(hospital: Hospital, number: int, folder: Path, choice: random.Random) -> Outcome:
    """The disk is full, or becomes read-only, at a random moment of a run."""
    return disk_fails(
        hospital, number, folder, choice.choice([injections.FULL, injections.READ_ONLY])
    )


def can_mount(folder: Path) -> bool:
    """Whether a small disk can be mounted in a folder."""
    mounted = mount(folder)
    if mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=False)
    return mounted


def mount(folder: Path) -> bool:
    """Mount a small disk; whether that is allowed here."""
    command = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)]
    return not subprocess.run(command, capture_output=True, check=False).returncode


def disk_fails(hospital: Hospital, number: int, folder: Path, kind: str) -> Outcome:
    """A run on a disk that becomes full or read-only, then one on a disk that is not."""
    begun = time.monotonic()
    choice = random.Random(f"{number} {kind}")
    folder.mkdir()
    if not mount(folder):
        raise PermissionError("a small disk cannot be mounted here; the faults of disks need it")
    try:
        if kind == injections.FULL:
            site = Site(folder / "site")
            copy_of(hospital.fresh, site.folder)
            room = choice.randrange(1000, 1_500_000)
            ballast = folder / "ballast"
            ballast.write_bytes(bytes(shutil.disk_usage(folder).free - room))
            call(site)
            ballast.unlink()
            fault = f"{kind} after {room} bytes"
        else:
            share = choice.random()
            with under_way(hospital, folder / "site", share) as (site, _):
                remount(folder, "ro")
            remount(folder, "rw")
            fault = f"{kind} at {share:.0%} of a run"
        return judge(number, fault, site, hospital.expected["nothing"], begun)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=False)


def remount(folder: Path, how: str) -> None:
    """Make a mounted folder `ro` or `rw`; what is open for writing stays so, as after an error of
    the disk."""
    for _ in range(200):
        done = subprocess.run(
            ["mount", "-o", f"remount,{how}", str(folder)], capture_output=True, check=False
        )
        if done.returncode == 0:
            return
        time.sleep(0.01)  # busy: a file is open for writing


@contextmanager
def under_way(
    hospital: Hospital, folder: Path, share: float
) -> Iterator[tuple[Site, subprocess.Popen[str]]]:
    """A run that goes on since a share of what it takes; it has ended when the block has.

    What a run takes depends on what else the machine does. One that ended before is begun anew,
    so that every fault meets a run.
    """
    site = Site(folder)
    while True:
        copy_of(hospital.fresh, folder)
        begun = time.monotonic()
        with site.started() as process:
            try:
                process.wait(timeout=share * hospital.seconds)
            except subprocess.TimeoutExpired:
                hospital.seconds *= 1.1  # it may take longer by now
                yield site, process
                process.wait()
                return
        hospital.seconds = min(hospital.seconds, time.monotonic() - begun)
        shutil.rmtree(folder)
