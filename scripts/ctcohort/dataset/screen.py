"""One-line progress display that replaces Snakemake's job output on the screen.

Snakemake knows a logger plugin only if it is installed as a package of its own, while this workflow
runs from a folder. So the handler that writes to the screen is wrapped when a run starts: what is
no warning or error goes to the log file alone (``.snakemake/log``), as do its job blocks.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TextIO

from ctcohort.base.text import duration
from ctcohort.base.workdir import Workdir

SECONDS = 1.0
"""Between two states of the moving line."""

PLAIN_SECONDS = 30.0
"""Between two lines where the output is no terminal."""

DOWNLOAD, VOLUME = "download_series", "preprocess_volume"


@dataclass
class Run:
    """What this run has done so far.

    `sizes` holds the estimated bytes of each selected series by the accession's file name; `done`
    the names whose volume was there before or has been made since. In seconds, `began` is when the
    first job of a scan started, `latest` when the latest volume was made.
    """

    sizes: Mapping[str, float] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)
    fetched: set[str] = field(default_factory=set)
    made: int = 0
    failed: int = 0
    began: float | None = None
    latest: float = 0.0

    def line(self, now: float) -> str:
        """Return the state as one line; empty before anything is known of scans."""
        if not self.sizes:
            return f"{self.failed} failed" if self.failed else ""
        size = sum(self.sizes.get(name, 0) for name in self.fetched)
        parts = [
            f"{len(self.done):,} of {len(self.sizes):,} scans",
            f"{len(self.fetched):,} downloads, {size / 1e9:.2f} GB",
            f"{self.failed:,} failed",
        ]
        left = len(self.sizes) - len(self.done)
        if left and self.made and self.began is not None:
            pace = (self.latest - self.began) / self.made
            parts.append(f"{duration(max(0, left * pace - (now - self.latest)))} to go")
        return "; ".join(parts)


class Screen(logging.Handler):
    """Wraps the handler that writes to the screen.

    Parameters
    ----------
    inner : logging.StreamHandler
        Writes what is shown.
    here : Workdir
        The working directory, whose index log is followed while the archive is asked.
    selected : callable
        Returns the estimated bytes of each selected series by file name; empty before there is a
        series table.
    """

    def __init__(
        self,
        inner: logging.StreamHandler[TextIO],
        here: Workdir,
        selected: Callable[[], Mapping[str, float]],
    ) -> None:
        super().__init__()
        self.inner, self.here, self.selected = inner, here, selected
        self.stream = inner.stream
        self.moves = self.stream.isatty()
        self.run = Run()
        self._jobs: dict[int, tuple[str, str]] = {}
        self._indexing = False
        self._shown = ""
        self._ended = threading.Event()
        self._writing = threading.RLock()
        self._ticker = threading.Thread(target=self._tick, daemon=True)
        self._load()
        self._ticker.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Count what jobs do; pass on what is a warning or an error."""
        event = getattr(getattr(record, "event", None), "value", None)
        self._count(event, record.__dict__)
        if record.levelno < logging.WARNING and event != "run_info":
            return
        with self._writing:
            self._clear()
            self.inner.handle(record)

    def end(self) -> None:
        """Stop the line; the last state stays."""
        self._ended.set()
        self._ticker.join()
        with self._writing:
            self._clear()
            if self.run.began is not None:
                self._write(f"{self.run.line(time.monotonic())}\n")

    def _count(self, event: str | None, facts: Mapping[str, Any]) -> None:
        if event == "job_info":
            name = str((dict(facts.get("wildcards") or {})).get("acc", ""))
            self._jobs[facts["jobid"]] = (facts["rule_name"], name)
            self._indexing |= facts["rule_name"] == "index_series"
            if name and self.run.began is None:
                self._load()
                self.run.began = time.monotonic()
        elif event == "job_finished":
            rule, name = self._jobs.pop(facts.get("job_id", facts.get("jobid")), ("", ""))
            if rule == "index_series":
                self._indexing = False
                self._load()
            elif rule == DOWNLOAD:
                self.run.fetched.add(name)
            elif rule == VOLUME:
                self.run.made += 1
                self.run.latest = time.monotonic()
                self.run.done.add(name)
        elif event in ("job_error", "group_error"):
            self.run.failed += 1
            rule, _ = self._jobs.pop(facts.get("jobid", -1), ("", ""))
            self._indexing &= rule != "index_series"

    def _load(self) -> None:
        self.run.sizes = self.selected()
        self.run.done |= {name for name in self.run.sizes if self.here.volume(name).exists()}

    def _line(self) -> str:
        if self._indexing:
            return f"asking the archive: {_last_line(self.here) or 'which series there are'}"
        return self.run.line(time.monotonic())

    def _tick(self) -> None:
        waited = 0.0
        while not self._ended.wait(SECONDS):
            waited += SECONDS
            line = self._line()
            with self._writing:
                if self.moves and line != self._shown:
                    self._clear()
                    self._write(line)
                    self._shown = line
                elif not self.moves and line and line != self._shown and waited >= PLAIN_SECONDS:
                    self._write(f"{line}\n")
                    self._shown, waited = line, 0.0

    def _clear(self) -> None:
        if self.moves and self._shown:
            self._write("\r\033[K")
            self._shown = ""

    def _write(self, text: str) -> None:
        self.stream.write(text)
        self.stream.flush()


def show(
    logger: logging.Logger, here: Workdir, selected: Callable[[], Mapping[str, float]]
) -> Callable[[], None]:
    """Put a `Screen` in the place of Snakemake's own handler; return what takes it away again.

    Where a logger plugin writes to the screen, it is left alone.
    """
    inner = next((each for each in logger.handlers if each.name == "DefaultStreamHandler"), None)
    if not isinstance(inner, logging.StreamHandler):
        return lambda: None
    screen = Screen(inner, here, selected)
    logger.removeHandler(inner)
    logger.addHandler(screen)

    def take_away() -> None:
        logger.removeHandler(screen)
        logger.addHandler(inner)
        screen.end()

    return take_away


def say(lines: list[str]) -> None:
    """Print lines for a person, apart from what was printed before."""
    if lines:
        print("", *lines, sep="\n", file=sys.stderr, flush=True)


def _last_line(here: Workdir) -> str:
    try:
        with open(here.log("index_series"), "rb") as stream:
            stream.seek(max(0, stream.seek(0, 2) - 400))
            lines = stream.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    return next((line for line in reversed(lines) if " accessions, " in line), "")
