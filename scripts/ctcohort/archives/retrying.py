"""Retries with growing pauses; what is not `Transient` is a `Fault` at once."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable
from typing import TypeVar

from ctcohort.base.faults import Fault

FIRST_WAIT = 0.5
LONGEST_WAIT = 60.0
"""Seconds between tries: doubled from the first to the longest, times a random 0.5 to 1.5."""

FIRST_SECONDS = 30.0
"""The most patience with the first request of a run: a wrong address is no reason to wait long."""

_Result = TypeVar("_Result")


class Transient(Exception):
    """Trying the same again may help.

    Parameters
    ----------
    message : str
        What happened, without an identifier.
    wait : float, optional
        Seconds that the archive asked for (Retry-After, RFC 9110 10.2.3).
    """

    def __init__(self, message: str, *, wait: float | None = None) -> None:
        super().__init__(message)
        self.wait = wait


class Patience:
    """A limit on the time that one piece of work may lose to failing requests, waits included.

    Parameters
    ----------
    seconds : float
        The limit. Time spent in requests that succeed does not count.
    reason : str
        Of the fault when patience ends.
    """

    def __init__(self, seconds: float, *, reason: str = "archive_unreachable") -> None:
        self.seconds = seconds
        self.reason = reason
        self.lost = 0.0
        self.tries = 0

    def insist(self, action: Callable[[], _Result]) -> _Result:
        """`action`'s result, tried again after `Transient`.

        Raises
        ------
        Fault
            Transient, with `reason`, when patience ends; or what `action` raised.
        """
        while True:
            started = time.monotonic()
            try:
                result = action()
            except Transient as error:
                self.lost += time.monotonic() - started
                self.pause(error)
            else:
                self.tries = 0
                return result

    def pause(self, error: Transient) -> None:
        """Wait after a failure, longer each time; raise when there is no patience for it."""
        self.tries += 1
        wait = error.wait
        if wait is None:
            longest = min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(self.tries - 1, 10))
            wait = longest * (0.5 + random.random())  # noqa: S311
        if self.lost + wait > self.seconds:
            raise Fault(
                self.reason,
                f"{error}; gave up after {self.tries} tries in a row and {self.lost:.0f} s lost"
                " (archive.patience_seconds); check the archive and the network, then run again",
                transient=True,
            ) from None
        print(f"{error}; trying again in {wait:.1f} s", file=sys.stderr)
        time.sleep(wait)
        self.lost += wait
