"""Opening hours of the archive."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from datetime import time as clock
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ctcohort.base.faults import InputError

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WINDOW = re.compile(
    r"(?P<days>[a-z]{3}(?:-[a-z]{3})?)?\s*"
    r"(?P<times>(?P<start>\d\d:\d\d)-(?P<end>\d\d:\d\d))?"
)


class Hours:
    """The windows of `archive.hours`; none means always.

    Parameters
    ----------
    windows : sequence of str
        Each is days, times or both: ``mon-fri 18:00-06:00``, ``sat``, ``22:00-05:00``; commas join
        several days or ranges. Times that pass midnight belong to the day on which they begin.
    timezone : str or None
        A name of the tz database; None is the machine's own.

    Raises
    ------
    InputError
        Naming the window or time zone that cannot be read.
    """

    def __init__(self, windows: Sequence[str], timezone: str | None = None) -> None:
        try:
            self.zone = ZoneInfo(timezone) if timezone else None
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise InputError(
                f"archive.timezone: {timezone!r} is not known; expected a name such as"
                " Europe/Zurich, or null for this machine's own"
            ) from None
        self.windows = [
            window for text in windows for part in text.split(",") for window in _windows(part)
        ]

    def are_open(self, when: datetime) -> bool:
        """Return True if the archive may be queried at a moment (with its time zone)."""
        local = when.astimezone(self.zone)
        today, now = local.weekday(), local.time()
        for day, start, end in self.windows:
            if start < end:
                inside = day == today and start <= now < end
            else:
                inside = (day == today and now >= start) or ((day + 1) % 7 == today and now < end)
            if inside:
                return True
        return not self.windows

    @property
    def share(self) -> float:
        """The part of a week, 0 to 1, in which the archive may be asked."""
        monday = datetime(2024, 1, 1, tzinfo=self.zone or UTC).timestamp()
        moments = [datetime.fromtimestamp(monday + 600 * i, UTC) for i in range(7 * 144)]
        return sum(map(self.are_open, moments)) / len(moments)


def _windows(text: str) -> list[tuple[int, clock, clock]]:
    """Weekday, begin and end of each day of one window; an end not after its begin is next day."""
    found = _WINDOW.fullmatch(text.strip().lower())
    try:
        if found is None or not found[0]:
            raise ValueError
        first, _, last = (found["days"] or "mon-sun").partition("-")
        begin, count = DAYS.index(first), (DAYS.index(last or first) - DAYS.index(first)) % 7 + 1
        start = clock.fromisoformat(found["start"] or "00:00")
        end = clock.fromisoformat(found["end"] or "00:00")
    except ValueError:
        raise InputError(
            f"archive.hours: {text.strip()!r} is not a window; expected days, times or both, e.g."
            " 'mon-fri 18:00-06:00' or 'sat,sun'"
        ) from None
    return [((begin + day) % 7, start, end) for day in range(count)]
