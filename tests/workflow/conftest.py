"""A tiny hospital, and real Snakemake runs on it.

The hospital and its finished first run are made once; each test works on a copy of its own, time
stamps included, and says which jobs a real run of Snakemake did.
"""

from __future__ import annotations

import atexit
import contextlib
import csv
import functools
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from ctcohort.base.files import from_spreadsheet
from ctcohort.phantoms.anatomy import Phantom
from ctcohort.phantoms.stack import SliceStack
from ctcohort.phantoms.writer import Identity, make_series, write_files

from .snakemakes import Snakemakes

ROOT = Path(__file__).parents[2]
CHEST = "CT Chest WO Contrast  W 3D MIPS Protocol"
OTHER_CHEST = "CT CHEST WITHOUT CONTRAST W 3D MIPS PROTOCOL"
ABDOMEN = "CT ABDOMEN W CONTRAST"
SIZE = {"rows": 32, "columns": 32, "pixel_spacing": 11.0}

ONE, TWO, THIN, LATER, OTHER = "A0001", "A0002", "A0003", "A0004", "A0005"
"""Two series to choose from; one series; too few slices; in the archive but not yet in the table;
a protocol that is not selected."""

PROTOCOLS = {ONE: CHEST, TWO: OTHER_CHEST, THIN: CHEST, LATER: CHEST, OTHER: ABDOMEN}

PATIENTS = {
    accession: Identity(
        patient_id=f"MRN77{number}31",
        patient_name=f"Quasimodo{number}^Esmeralda",
        birth_date=f"195{number}0723",
        accession=accession,
    )
    for number, accession in enumerate((ONE, TWO, THIN, LATER, OTHER), 1)
}

CONFIG = {"archive": {"folder": {"path": "archive"}}, "volume": {"spacing_mm": 6.5}}


@dataclass(frozen=True)
class Run:
    """What one call of Snakemake did.

    `jobs` are the jobs that it started, by rule and, where the rule has one, accession's file name.
    """

    status: int
    output: str

    @property
    def jobs(self) -> set[str]:
        started = re.findall(
            r"^(?:local)?(?:rule|checkpoint) (\w+):\n((?:    .*\n)*)", self.output, re.MULTILINE
        )
        found = set()
        for rule, details in started:
            name = re.search(r"^    wildcards: acc=(.*)$", details, re.MULTILINE)
            if rule != "all":
                found.add(f"{rule} {name[1]}" if name else rule)
        return found


@functools.cache
def snakemakes() -> Snakemakes:
    """Started at the first run."""
    started = Snakemakes()
    atexit.register(started.end)
    return started


@contextlib.contextmanager
def temporary_files() -> Iterator[dict[str, str]]:
    """Yield the environment of a run that may end without deleting its temporary files."""
    with tempfile.TemporaryDirectory() as folder:
        yield {**os.environ, "TMPDIR": folder}


@dataclass
class Site:
    """A working directory, and the copy of the workflow that is run on it."""

    folder: Path
    workflow: Path = ROOT
    environment: Mapping[str, str] = field(default_factory=dict)

    def command(self, *arguments: str, cores: int = 2) -> list[str]:
        return [
            *(sys.executable, "-m", "snakemake"),
            "--nocolor",
            *("--snakefile", str(self.workflow / "Snakefile")),
            *("--workflow-profile", str(self.workflow / "profiles" / "default")),
            *("--directory", str(self.folder), "--cores", str(cores)),
            "--printshellcmds",  # with it, Snakemake says which jobs it starts
            *arguments,
        ]

    @contextlib.contextmanager
    def started(
        self, *before: str, output: int = subprocess.DEVNULL
    ) -> Iterator[subprocess.Popen[str]]:
        """Begin a run in a process group of its own, which is killed at the end.

        Parameters
        ----------
        before : what calls it, e.g. ``nice``
        output : where it writes, as `subprocess.Popen` has it
        """
        with (
            temporary_files() as environment,
            subprocess.Popen(
                [*before, *self.command()],
                cwd=self.folder,
                env={**environment, **self.environment},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                text=True,
            ) as process,
        ):
            try:
                yield process
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)

    def run(self, *arguments: str, cores: int = 2, ok: bool = True) -> Run:
        """One real run; `ok` is whether exit status 0 is expected."""
        _, _, _, *options = self.command(*arguments, cores=cores)
        with temporary_files() as environment:
            output = Path(environment["TMPDIR"]) / "output"
            environment |= self.environment
            status = snakemakes().run(options, self.folder, environment, output)
            printed = output.read_text(encoding="utf-8")
        assert (status == 0) == ok, printed
        return Run(status, printed)

    def done(self, command: list[str], *, ok: bool = True) -> Run:
        """Run a command line of Snakemake in a process that is started for it."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env={**os.environ, **self.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert (done.returncode == 0) == ok, done.stdout
        return Run(done.returncode, done.stdout)

    def script(self, name: str, *arguments: str) -> str:
        """The output of one of the workflow's commands that are not rules."""
        return subprocess.run(
            [sys.executable, str(self.workflow / "scripts" / name), *arguments],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    def configure(self, changes: Mapping[str, object]) -> None:
        """Change ``config.yaml``: keys such as ``volume.spacing_mm``."""
        config = yaml.safe_load((self.folder / "config.yaml").read_text())
        for dotted, value in changes.items():
            section = config
            *sections, key = dotted.split(".")
            for name in sections:
                section = section.setdefault(name, {})
            section[key] = value
        self.write("config.yaml", yaml.safe_dump(config))

    def write(self, name: str, text: str | bytes) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def rows(self, name: str) -> list[dict[str, str]]:
        with open(self.folder / name, encoding="utf-8", newline="") as stream:
            return [
                {key: from_spreadsheet(value) for key, value in row.items()}
                for row in csv.DictReader(stream)
            ]

    def copy_workflow(self, target: Path) -> Path:
        """Run from a copy of the workflow whose files are all new."""
        shutil.copytree(
            ROOT,
            target,
            copy_function=shutil.copyfile,
            ignore=shutil.ignore_patterns(
                ".*", "tests", "docs", "demo", "__pycache__", "*.lock", "*.ipynb"
            ),
        )
        self.workflow = target
        return target


def write_reports(folder: Path, rows: Iterable[tuple[str, str, str]]) -> None:
    """``reports.csv``: accession, MRN and protocol of each row, and a report that is free text."""
    with open(folder / "reports.csv", "w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["AccessionNumber", "MRN", "Protocol", "Report"])
        writer.writerows([*row, 'Findings: Hippocampal,\n"free text".'] for row in rows)


def table_of(*accessions: str) -> list[tuple[str, str, str]]:
    """Rows of the report table for accessions of the hospital."""
    return [(name, PATIENTS[name].patient_id, PROTOCOLS[name]) for name in accessions]


def write_scan(archive: Path, accession: str, **options: object) -> list[Path]:
    """One series of a phantom under `accession` and its patient in the hospital."""
    stack = {"count": 33, "step": 9.0, **SIZE}
    stack |= {key: options.pop(key) for key in ("count", "step") if key in options}
    series = make_series(
        Phantom(),
        SliceStack.axial(**stack),
        identity=options.pop("identity", None) or PATIENTS[accession],
        **{"seed": accession, **options},
    )
    return write_files(series, archive, names=[f"{i:03d}" for i in range(len(series))])


def make_hospital(folder: Path) -> None:
    """Report table, archive and config."""
    archive = folder / "archive"
    write_scan(archive / "1" / "soft", ONE, kernel="B30f")
    write_scan(archive / "1" / "sharp", ONE, kernel="B70f", series_number=3, seed="sharp")
    write_scan(archive / "2", TWO)
    write_scan(archive / "3", THIN, count=12, step=20.0)
    write_scan(archive / "4", LATER)
    write_scan(archive / "5", OTHER)
    (archive / "readme.txt").write_text("Not every file of an archive is DICOM.\n")
    write_reports(folder, table_of(ONE, TWO, THIN, OTHER))
    (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG))


@pytest.fixture(scope="session")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The hospital before any run."""
    folder = tmp_path_factory.mktemp("hospital")
    make_hospital(folder)
    return folder


@pytest.fixture(scope="session")
def finished(hospital: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Run]:
    """The hospital after its first run."""
    site = Site(tmp_path_factory.mktemp("finished") / "site")
    shutil.copytree(hospital, site.folder)
    return site.folder, site.run()


@pytest.fixture
def fresh(hospital: Path, tmp_path: Path) -> Site:
    """The hospital before any run, for this test alone."""
    shutil.copytree(hospital, tmp_path / "site")
    return Site(tmp_path / "site")


@pytest.fixture
def site(finished: tuple[Path, Run], tmp_path: Path) -> Site:
    """The hospital after its first run, for this test alone; time stamps are those of the run."""
    subprocess.run(["cp", "-a", str(finished[0]), str(tmp_path / "site")], check=True)
    return Site(tmp_path / "site")


def jobs(rule: str, *accessions: str) -> set[str]:
    """The jobs of a rule for accessions."""
    return {f"{rule} {name}" for name in accessions}
