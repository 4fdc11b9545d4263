"""Tell Snakemake, while it plans, which series is chosen for each scan and which scans need a job.

This needs the standard library only: every job of a cluster reads the rules again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from ctcohort.base.files import head, write_lines
from ctcohort.base.naming import name_of
from ctcohort.base.workdir import RECEIVED, Workdir
from ctcohort.dataset.finished import (
    clear_damaged,
    is_another_series,
    is_finished,
    is_made_otherwise,
    missing_files,
)
from ctcohort.series import series_table
from ctcohort.volume.memory import THREAD_MB, peak_mb

UNKNOWN_MB = 1000
"""Memory asked for a scan whose series is not known yet, MB."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The chosen series of a scan.

    Attributes
    ----------
    series : str
        Its SeriesInstanceUID and how many instances it has, with a blank between.
    memory_mb : int
        What its volume takes, MB.
    estimated_bytes : float
        What its download takes.
    """

    series: str
    memory_mb: int
    estimated_bytes: float


_NONE = Choice("", UNKNOWN_MB, 0.0)


class Plan:
    """The scans of a working directory as ``series.csv`` has them now.

    What is read is kept until ``series.csv`` changes, because Snakemake asks for every scan.

    Parameters
    ----------
    here : Workdir
    parameters : str
        `settings.digest` of the parameters of volumes.
    spacing_mm : float, sequence of float or None
        The config's `volume.spacing_mm`.
    """

    def __init__(
        self, here: Workdir, *, parameters: str, spacing_mm: float | Sequence[float] | None
    ) -> None:
        self.here = here
        self._root = "" if here.root == Path() else f"{here.root}/"
        self.parameters = parameters
        self.spacing_mm = spacing_mm
        self._stamp = -1
        self._choices: dict[str, Choice] = {}
        self._unfinished: set[str] | None = None
        self._looked_at: set[str] = set()

    def choices(self) -> dict[str, Choice]:
        """Return the choice of each accession that has one, by its file name; none before an
        index."""
        stamp = self.here.series.stat().st_mtime_ns if self.here.series.exists() else 0
        if stamp != self._stamp:
            rows: Iterable[dict[str, str]] = (
                series_table.selected(self.here.series) if stamp else ()
            )
            self._choices = {
                name_of(row["accession"]): Choice(
                    f"{row['series_uid']} {row['instances']}",
                    peak_mb(row, self.spacing_mm),
                    float(row["estimated_bytes"] or 0),
                )
                for row in rows
            }
            self._stamp, self._unfinished = stamp, None
        return self._choices

    def series_of(self, name: str) -> str:
        """Return the chosen series of a scan; empty where none is."""
        return self.choices().get(name, _NONE).series

    def needs_nothing(self, name: str) -> bool:
        """Return True if the records prove a scan finished."""
        series = self.series_of(name)
        return bool(series) and is_finished(name, series, self.parameters, self._root)

    def unfinished(self, *, forced: bool, clear: bool) -> set[str]:
        """Return the scans that may need a job, as seen when ``series.csv`` was written or found.

        Parameters
        ----------
        forced : bool
            The command line forces jobs, so that every scan may need one.
        clear : bool
            Remove damaged records of these scans, so that they are made again.
        """
        choices = self.choices()
        if self._unfinished is None:
            self._unfinished = {name for name in choices if forced or not self.needs_nothing(name)}
            if clear:
                for name in self._unfinished:
                    self.clear_damaged(name)
                self._clear_failures(choices.keys() - self._unfinished)
        return self._unfinished

    def _clear_failures(self, finished: Set[str]) -> None:
        """Remove the failures of finished scans.

        A job that was killed can have done its work: it is recorded as lost when its run ends.
        """
        for path in self.here.failures.glob("[!.]*.json"):
            if path.name.removesuffix(".json") in finished:
                path.unlink(missing_ok=True)

    def clear_damaged(self, name: str) -> None:
        """Remove damaged records of a scan that may need a job, so that they are made again."""
        if name not in self._looked_at:
            self._looked_at.add(name)
            clear_damaged(name, self._root)

    def volumes_and_records(self, names: Iterable[str]) -> list[str]:
        """Return what to ask for of unfinished scans, below the working directory."""
        return [path for name in sorted(names) for path in missing_files(name, self._root)]

    def is_another_series(self, name: str) -> bool:
        """Return True if something was received that is not the chosen series."""
        return is_another_series(name, self.series_of(name), self._root)

    def is_made_otherwise(self, name: str) -> bool:
        """Return True if a volume was made with other parameters."""
        return is_made_otherwise(name, self.parameters, self._root)

    def memory_mb(self, name: str, *, attempt: int, threads: int, beside_mb: int) -> int:
        """Return the memory to ask for; more on each attempt.

        Parameters
        ----------
        beside_mb : int
            What runs in the same job beside the command, MB.
        """
        memory = self.choices().get(name, _NONE).memory_mb
        return attempt * (memory + (threads - 1) * THREAD_MB + beside_mb)


def downloads(names: Iterable[str]) -> list[str]:
    """Return the `received` files of scans."""
    return [RECEIVED.format(name) for name in sorted(names)]


def note(path: Path, lines: Sequence[str]) -> None:
    """Write a stage's parameters unless the file holds them already: its time stamp says since
    when they hold."""
    text = "".join(f"{line}\n" for line in lines)
    if head(path, len(text) + 1) != text:
        write_lines(path, lines)
