"""The layout of a working directory: where each of its files lies."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

RAW = "raw/{}"
PARTIAL = "raw/.partial/{}"
RECEIVED = "received/{}.json"
VOLUME = "processed/{}.npz"
RECORD = "processed/{}.json"
PICTURE = "qc/{}.png"
THUMBNAIL = "qc/thumbnails/{}.webp"
SCROLL = "qc/scrolls/{}.webp"
NIFTI = "nifti/{}.nii.gz"
CHUNKED = "chunked/{}.b2nd"
RESULTS = (RAW, PARTIAL, RECEIVED, VOLUME, RECORD, PICTURE, THUMBNAIL, SCROLL, NIFTI, CHUNKED)
"""Paths of one selected scan; ``{}`` stands for the accession as a file name."""

WORKDIR = "CT_COHORT_WORKDIR"
"""The variable by which another workflow tells commands where below it the data set lies."""

FAILURE = "failures/{}.json"
ANSWER = "index/answers/{}.json.gz"
NOTES = (FAILURE, ANSWER)
"""Paths of one accession, selected or not; beside them every folder of logs."""


@dataclass(frozen=True, slots=True)
class Workdir:
    """A working directory and what lies in it.

    Parameters
    ----------
    root : Path
        The directory. By default the one that jobs run in; where another workflow keeps the data
        set below that, the one that the variable `WORKDIR` names.
    """

    root: Path = field(default_factory=lambda: Path(os.environ.get(WORKDIR, "")))

    # Tables

    @property
    def accessions(self) -> Path:
        """One selected accession per line, in the order of the report table."""
        return self.root / "accessions.txt"

    @property
    def protocols(self) -> Path:
        """Every protocol of the report table with its count."""
        return self.root / "protocols.csv"

    @property
    def cohort(self) -> Path:
        """The selected rows as later steps need them; it holds MRNs."""
        return self.root / "cohort.csv"

    @property
    def series(self) -> Path:
        """Every candidate series, measured and judged."""
        return self.root / "series.csv"

    @property
    def splits(self) -> Path:
        """Train, validation and test by patient."""
        return self.root / "splits.csv"

    @property
    def manifest(self) -> Path:
        """One row per accession: what became of it."""
        return self.root / "manifest.csv"

    @property
    def status(self) -> Path:
        """The manifest's columns for what exists now."""
        return self.root / "status.csv"

    @property
    def proposed_exclusions(self) -> Path:
        """Rows for the exclusions table, one per permanent failure."""
        return self.root / "exclusions.proposed.csv"

    @property
    def page(self) -> Path:
        """The data set on one page."""
        return self.root / "report.html"

    # One scan, by the accession as a file name

    def raw(self, name: str) -> Path:
        """Folder of the DICOM files of the chosen series."""
        return self.root / RAW.format(name)

    def partial(self, name: str) -> Path:
        """Folder in which a download gathers its files before it is complete."""
        return self.root / PARTIAL.format(name)

    def received(self, name: str) -> Path:
        """Record of the files that arrived, with their checksums."""
        return self.root / RECEIVED.format(name)

    def volume(self, name: str) -> Path:
        """The volume."""
        return self.root / VOLUME.format(name)

    def record(self, name: str) -> Path:
        """The scan record: everything measured and done."""
        return self.root / RECORD.format(name)

    def chunked(self, name: str) -> Path:
        """The volume in pieces that can be read alone, where somebody asked for it."""
        return self.root / CHUNKED.format(name)

    def picture(self, name: str) -> Path:
        """Three planes through the volume."""
        return self.root / PICTURE.format(name)

    def failure(self, name: str) -> Path:
        """The reason of the scan's last failure; missing when its last job succeeded."""
        return self.root / FAILURE.format(name)

    def answer(self, name: str) -> Path:
        """The cached answer of the archive about an accession."""
        return self.root / ANSWER.format(name)

    def log(self, rule: str, name: str = "") -> Path:
        """The log of a rule's job; `name` is empty where the rule has one job."""
        return self.root / "logs" / (f"{rule}/{name}.log" if name else f"{rule}.log")

    # Folders

    @property
    def volumes(self) -> Path:
        """Folder of the volumes and their records."""
        return self.root / "processed"

    @property
    def raws(self) -> Path:
        """Folder of the DICOM folders."""
        return self.root / "raw"

    @property
    def pictures(self) -> Path:
        """Folder of the pictures."""
        return self.root / "qc"

    @property
    def thumbnails(self) -> Path:
        """Folder of the small pictures."""
        return self.root / "qc" / "thumbnails"

    @property
    def failures(self) -> Path:
        """Folder of the failures."""
        return self.root / "failures"

    @property
    def logs(self) -> Path:
        """Folder of the logs; a rule with many jobs has a folder of its own in it."""
        return self.root / "logs"

    @property
    def release(self) -> Path:
        """The data set without identity."""
        return self.root / "release"

    @property
    def left_out(self) -> Path:
        """Included scans that are not in the release, with the reason."""
        return self.root / "release.left_out.csv"

    @property
    def snakemake(self) -> Path:
        """Snakemake's own folder: below another workflow, that one's."""
        is_the_job_s = self.root == Path(os.environ.get(WORKDIR, ""))
        return (Path() if is_the_job_s else self.root) / ".snakemake"

    # The archive

    @property
    def archive_stop(self) -> Path:
        """Made by a job: says why nothing connects any more; a person removes it."""
        return self.root / "archive.stop"

    @property
    def archive_pause(self) -> Path:
        """Made by a person: every job waits until it is gone."""
        return self.root / "archive.pause"

    @property
    def archive_log(self) -> Path:
        """One line per request to the archive."""
        return self.root / "archive.log"

    # The side store: what is kept between runs and is no result

    @property
    def store(self) -> Path:
        """The private folder of the side store."""
        return self.root / "index"

    @property
    def ask_again(self) -> Path:
        """Accessions that the next index queries again; newer than `series` it forces an index."""
        return self.store / "ask_again.txt"

    @property
    def failed_in_a_row(self) -> Path:
        """The accessions that failed since the last one that did not."""
        return self.store / "failed_in_a_row"

    @property
    def partition(self) -> Path:
        """The number of this part of a cohort, and the accessions of the whole."""
        return self.store / "partition.txt"

    @property
    def key_fingerprint(self) -> Path:
        """Fingerprint of the private key that names the patients."""
        return self.store / "key.fingerprint"

    @property
    def patient_key(self) -> Path:
        """Key of the patient marks in cached answers."""
        return self.store / "patient.key"

    @property
    def folder_index(self) -> Path:
        """Headers of a folder archive's files."""
        return self.store / "folder.sqlite"

    @property
    def tokens(self) -> Path:
        """OAuth2 tokens."""
        return self.store / "oauth2.json"

    @property
    def release_lock(self) -> Path:
        """Held while a release is made."""
        return self.store / "release.lock"

    def parameters(self, stage: str) -> Path:
        """A stage's parameters; its time stamp says since when they hold."""
        return self.root / ".parameters" / f"{stage}.json"

    def locks(self) -> Iterator[Path]:
        """Return the locks of Snakemake runs that are under way or were killed."""
        return (self.snakemake / "locks").glob("*")
