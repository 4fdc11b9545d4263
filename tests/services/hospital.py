"""A small cohort on disk, and the commands of the workflow run on it."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydicom import dcmread
from pydicom.uid import JPEG2000Lossless, JPEGLosslessSV1, JPEGLSLossless, RLELossless

from ctcohort.base.files import read_table, write_lines, write_table
from ctcohort.base.naming import name_of
from ctcohort.config.settings import canonical, canonical_exclusions, volume_parameters
from ctcohort.dataset.manifest import COHORT
from ctcohort.dicom.headers import Header, header_of
from ctcohort.phantoms.anatomy import Phantom
from ctcohort.phantoms.stack import SliceStack
from ctcohort.phantoms.writer import (
    Identity,
    make_dose_report,
    make_localizer,
    make_reformat,
    make_series,
    write_files,
)

REPOSITORY = Path(__file__).parents[2]
SCRIPTS = REPOSITORY / "scripts"
DEFAULTS = yaml.safe_load((REPOSITORY / "config.yaml").read_text())
SIZE = {"rows": 48, "columns": 48, "pixel_spacing": 7.2}
KEY = b"k" * 32


def make_archive(folder: Path) -> list[str]:
    """Five studies with all that tells archives apart; their accessions."""
    body = Phantom()

    def stack(count: int = 40, step: float = 6.0) -> SliceStack:
        return SliceStack.oriented(count=count, step=step, **SIZE)

    plain, odd, packed, reformats, twin = (
        Identity(patient_id=f"2000{number}", accession=accession)
        for number, accession in enumerate(("A0001", "A 02/B+", "00A3", "A0004", "a0001"))
    )
    series = [
        [make_localizer(body, identity=plain)],
        make_series(body, stack(), identity=plain),
        make_series(body, stack(36, 6.5), identity=plain, series_number=3, kernel="B70f"),
        make_reformat(body, SliceStack.coronal(count=60, step=4.0, **SIZE), identity=plain),
        [make_dose_report(identity=plain)],
        make_series(body, stack(44, 5.5), identity=odd),
        make_reformat(body, SliceStack.coronal(count=40, **SIZE), identity=reformats),
        make_series(body, stack(), identity=twin),
    ]
    for number, datasets in enumerate(series):
        write_files(datasets, folder / "plain" / f"{number}")
    write_files(
        make_series(body, stack(42), identity=packed),
        folder / "packed",
        transfer_syntax=RLELossless,
    )
    return [one.accession for one in (plain, odd, packed, reformats)] + ["A0099"]


SYNTAXES = {"JPEG": JPEGLosslessSV1, "JPEGLS": JPEGLSLossless, "J2K": JPEG2000Lossless}
"""Accession -> how its series is compressed."""


def make_compressed(folder: Path) -> list[str]:
    """One study for each of `SYNTAXES`; their accessions."""
    stack = SliceStack.oriented(count=40, step=6.0, **SIZE)
    for number, (accession, syntax) in enumerate(SYNTAXES.items()):
        who = Identity(patient_id=f"3000{number}", accession=accession)
        series = make_series(Phantom(), stack, identity=who)
        write_files(series, folder / accession, transfer_syntax=syntax)
    return list(SYNTAXES)


def make_long_series(folder: Path, slices: int, size: int = 16) -> list[Header]:
    """One series of many small instances under accession LONG; its headers."""
    stack = SliceStack.oriented(count=slices, step=1.0, rows=size, columns=size, pixel_spacing=9.0)
    identity = Identity(accession="LONG")
    datasets = make_series(Phantom(), stack, identity=identity)
    paths = write_files(datasets, folder)
    return [header_of(dcmread(path), key=KEY) for path in paths]


def archive_settings(**changes: Any) -> dict[str, Any]:
    """The config's `archive` with `changes`; sections are changed key by key."""
    settings = json.loads(json.dumps(DEFAULTS["archive"]))
    for name, value in changes.items():
        if isinstance(value, Mapping):
            settings[name].update(value)
        else:
            settings[name] = value
    return settings


@dataclass
class Run:
    """A working directory with an archive, and the commands on it."""

    folder: Path
    archive: dict[str, Any]
    environment: Mapping[str, str]

    def fetch(self, accessions: list[str]) -> Run:
        """Index the accessions and download every series that is chosen."""
        self.prepare(accessions)
        result = self.index()
        assert result.returncode == 0, result.stdout
        for accession in self.chosen():
            result = self.download(accession)
            assert result.returncode == 0, result.stdout
        return self

    def prepare(self, accessions: list[str]) -> None:
        """What `select_accessions` would have written."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_lines(self.folder / "accessions.txt", accessions)
        rows = [
            {"accession": accession, "mrn": f"{number}", "patient_mrn": f"{number}"}
            for number, accession in enumerate(accessions)
        ]
        write_table(self.folder / "cohort.csv", COHORT, rows)

    def index(self, connections: int = 1) -> subprocess.CompletedProcess[str]:
        return self._command(*self.index_arguments(), "--connections", str(connections))

    def index_arguments(self) -> list[str]:
        return [
            "index_series.py", "accessions.txt", "cohort.csv", "--series-table", "series.csv",
            "--series", canonical(DEFAULTS["series"]),
            "--limits", canonical_exclusions(DEFAULTS["volume"]),
        ]  # fmt: skip

    def series_rows(self) -> list[dict[str, str]]:
        return list(read_table(self.folder / "series.csv"))

    def chosen(self) -> dict[str, str]:
        """Series by accession."""
        return {
            row["accession"]: row["series_uid"]
            for row in self.series_rows()
            if row["reason"] == "selected"
        }

    def download(self, accession: str) -> subprocess.CompletedProcess[str]:
        return self._command(*self.download_arguments(accession))

    def download_arguments(self, accession: str) -> list[str]:
        name = name_of(accession)
        series = self.chosen()[accession]
        return [
            "download_series.py", name, series,
            "--raw", f"raw/{name}", "--received", f"received/{name}.json",
        ]  # fmt: skip

    def data_sets(self, accession: str) -> dict[str, str]:
        """SHA-256 of each received file without its file meta information, which over DIMSE the
        receiver writes."""
        hashes = {}
        for path in (self.folder / "raw" / name_of(accession)).glob("*.dcm"):
            content = path.read_bytes()
            content = content[144 + int.from_bytes(content[140:144], "little") :]
            hashes[path.stem] = hashlib.sha256(content).hexdigest()
        return hashes

    def received(self, accession: str) -> dict[str, str]:
        """SHA-256 of each received file, by SOPInstanceUID."""
        content = json.loads((self.folder / f"received/{name_of(accession)}.json").read_text())
        return {one["sop_instance_uid"]: one["sha256"] for one in content["instances"]}

    def volume(self, accession: str, **changes: Any) -> bytes:
        """The volume's file, made with `changes` to the config's `volume`."""
        name = name_of(accession)
        parameters = volume_parameters({**DEFAULTS["volume"], **changes})
        volume = self.folder / f"processed/{name}.npz"
        subprocess.run(
            [sys.executable, SCRIPTS / "preprocess_volume.py", name, "--raw", f"raw/{name}",
             "--received", f"received/{name}.json", "--parameters", parameters,
             "--keep-raw", "keep", "--threads", "1", "--volume", volume,
             "--record", f"processed/{name}.json"],
            cwd=self.folder, check=True, capture_output=True,
        )  # fmt: skip
        return volume.read_bytes()

    def failure(self, accession: str) -> dict[str, Any]:
        content = json.loads((self.folder / f"failures/{name_of(accession)}.json").read_text())
        return dict(content)

    def everything_written(self) -> bytes:
        """All that the commands left in the working directory, the archive's files aside."""
        files = (path for path in sorted(self.folder.rglob("*")) if path.is_file())
        return b"\n".join(path.read_bytes() for path in files)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """One of the workflow's commands, with the archive of this run."""
        command = [SCRIPTS / arguments[0], *arguments[1:], "--archive", json.dumps(self.archive)]
        return subprocess.Popen(
            [sys.executable, *command],
            cwd=self.folder,
            env={**os.environ, **self.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def _command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments)
        output, _ = process.communicate(timeout=300)
        return subprocess.CompletedProcess(arguments, process.returncode, output)
