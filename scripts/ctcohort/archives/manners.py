"""Rate limits, opening hours, and the stop after repeated failures, for archives over a network.

Four files in the working directory speak between the jobs of a run and the people around it:

======================= ===================================================================
`archive.stop`          made by a job, says why nothing connects any more; a person removes it
`archive.pause`         made by a person: every job waits until it is gone
`archive.log`           per request: when, accession, what, bytes, answer, seconds
`index/failed_in_a_row` the accessions that failed since the last one that did not
======================= ===================================================================
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from ctcohort.archives import access_log
from ctcohort.archives.protocol import Changed, Stopped
from ctcohort.base.faults import Fault
from ctcohort.base.files import write_lines
from ctcohort.base.workdir import Workdir
from ctcohort.config.hours import Hours

HERE = Workdir()
STOP, PAUSE, LOG, FAILED = (
    HERE.archive_stop,
    HERE.archive_pause,
    HERE.archive_log,
    HERE.failed_in_a_row,
)

IN_A_ROW = 10
"""Different accessions that fail in a row for one reason before nothing connects any more."""

REASONS = ("archive_unreachable", "archive_refused", "transfer_incomplete")
"""Those that count as such a failure."""

LOOK_SECONDS = 10.0
"""How often a waiting job looks whether it may go on."""

LONGEST_DELAY = 60.0
"""Seconds before a request, where the archive has refused several in a row."""


GRANTED = ("200", "204", "206", "ok")
"""Answers of the access log that show that this side may ask."""


class Manners:
    """Rate limits, opening hours, and the stop after repeated failures, for one connection.

    The limits of the config are for the whole run. Each connection keeps to its own share of them,
    so that no limit is passed whatever runs at once, on however many machines.

    Parameters
    ----------
    settings : mapping
        The config's `archive`.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        connections = settings["connections"]
        self.hours = Hours(settings["hours"], settings["timezone"])
        megabytes, queries = settings["max_mb_per_second"], settings["max_queries_per_second"]
        self.bytes_per_second = megabytes * 1e6 / connections if megabytes else None
        self.seconds_per_request = connections / queries if queries else 0.0
        self.accession = ""
        self.asked = False
        self._granted = False
        self._delay = 0.0
        self._next_request = 0.0
        self._free_at = 0.0
        self._began = 0.0

    @contextmanager
    def serving(self, accession: str) -> Iterator[None]:
        """Log and count what is asked in the block for this accession; see
        `protocol.Archive.serving`."""
        self.accession, self.asked = accession, False
        try:
            yield
        except Fault as fault:
            if self.asked and fault.reason in REASONS and not isinstance(fault, Changed):
                self._failed(fault)
            raise
        else:
            if self.asked:
                FAILED.unlink(missing_ok=True)
        finally:
            self.accession = ""

    def before_request(self) -> None:
        """Wait until a request is allowed.

        Raises
        ------
        Stopped
            `archive.stop` exists: `archive_refused`, not transient.
        """
        self._wait_while(PAUSE.exists, f"{PAUSE} exists: waiting until it is removed")
        self._wait_while(
            lambda: not self.hours.are_open(datetime.now(UTC)),
            "outside archive.hours: waiting for the next window",
        )
        time.sleep(max(0.0, self._next_request - time.monotonic()) + self._delay)
        refuse_when_stopped()
        self._next_request = time.monotonic() + self.seconds_per_request
        self.asked = True
        self._began = time.monotonic()

    def after_request(self, what: str, size: int, answer: str) -> None:
        """Write a line of the access log; slow down where the archive refuses, else speed up."""
        refused = answer in ("429", "503", "refused")
        slower, faster = max(1.0, self._delay * 2), max(0.0, self._delay / 2 - 0.1)
        self._delay = min(LONGEST_DELAY, slower) if refused else faster
        seconds = time.monotonic() - self._began
        self._granted = self._granted or (answer in GRANTED and what != "echo")
        request = access_log.Request(self.accession, what, size, answer, seconds)
        access_log.append(LOG, request)

    def has_been_granted(self) -> bool:
        """Return whether the archive has granted a request before, to this job or another."""
        return self._granted or any(
            one.answer in GRANTED and one.what != "echo" for one in access_log.read(LOG)
        )

    def received(self, size: int) -> None:
        """Wait until the bytes that have just come are within this connection's rate."""
        if self.bytes_per_second:
            now = time.monotonic()
            self._free_at = max(self._free_at, now) + size / self.bytes_per_second
            time.sleep(self._free_at - now)

    def stop(self, cause: str) -> None:
        """Write `archive.stop`: nothing connects until a person removes it."""
        if not STOP.exists():
            write_lines(STOP, [cause])

    def _failed(self, fault: Fault) -> None:
        FAILED.parent.mkdir(parents=True, exist_ok=True)
        with open(FAILED, "a", encoding="utf-8") as stream:
            stream.write(f"{fault.reason}\t{self.accession}\n")
        try:
            lines = [line.split("\t") for line in FAILED.read_text(encoding="utf-8").splitlines()]
        except FileNotFoundError:
            return  # another job has just been served
        row: set[str] = set()
        for reason, accession in reversed(lines):
            if reason != fault.reason:
                break
            row.add(accession)
        if len(row) >= IN_A_ROW:
            self.stop(f"{len(row)} accessions failed in a row: {fault}")
            FAILED.unlink(missing_ok=True)

    def _wait_while(self, condition: Callable[[], bool], message: str) -> None:
        if condition():
            print(message, file=sys.stderr, flush=True)
        while condition():
            refuse_when_stopped()
            time.sleep(LOOK_SECONDS)


def refuse_when_stopped() -> None:
    """Raise where `archive.stop` exists."""
    if STOP.exists():
        cause = " ".join(STOP.read_text(encoding="utf-8").split())
        raise Stopped(
            "archive_refused",
            f"{STOP} exists, so nothing connects to the archive: {cause}; fix the cause, remove"
            f" {STOP} and run again",
        )
