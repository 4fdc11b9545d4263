"""``archive.log``: one line per request to an archive.

The fields stand between tabs: when (UTC, ISO 8601), accession, what (`find`, `headers`, `fetch`,
...), bytes, answer, seconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Request:
    """One request, and what came of it.

    Attributes
    ----------
    accession : str
        Whom it served; empty for a connection test.
    size : int
        Bytes received.
    answer : str
        The status, e.g. ``200``, ``0x0000`` or ``refused``.
    """

    accession: str
    what: str
    size: int
    answer: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Totals:
    """All requests of a log, and the bytes and seconds of those that fetched instances."""

    requests: int
    bytes: int
    seconds: float


def append(path: Path, request: Request) -> None:
    """Add a request to the log, with the present time."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    with open(path, "a", encoding="utf-8") as stream:
        stream.write(
            f"{now}\t{request.accession}\t{request.what}\t{request.size}\t{request.answer}"
            f"\t{request.seconds:.3f}\n"
        )


def read(path: Path) -> Iterator[Request]:
    """Yield the requests of a log; none where there is no log.

    A line that a killed job left incomplete is skipped.
    """
    try:
        lines = open(path, encoding="utf-8", errors="replace")  # noqa: SIM115 - closed below
    except FileNotFoundError:
        return
    with lines:
        for line in lines:
            try:
                _, accession, what, size, answer, seconds = line.rstrip("\n").split("\t")
                yield Request(accession, what, int(size), answer, float(seconds))
            except ValueError:
                continue


def totals(path: Path) -> Totals:
    """Return the totals of a log; zeros where there is no log."""
    requests, size, seconds = 0, 0, 0.0
    for request in read(path):
        requests += 1
        if request.what == "fetch":
            size, seconds = size + request.size, seconds + request.seconds
    return Totals(requests, size, seconds)
