"""Words for numbers and lists, as every message has them."""

from __future__ import annotations

from collections.abc import Iterable

SHOWN = 5
"""Names in a message before the rest is counted."""


def some(names: Iterable[object], shown: int = SHOWN) -> str:
    """Return the first names of a list, e.g. ``12, 13 and 4 more``."""
    listed = list(map(str, names))
    first, rest = ", ".join(listed[:shown]), len(listed) - shown
    return f"{first} and {rest} more" if rest > 0 else first


def duration(seconds: float) -> str:
    """Return a length of time in the unit that fits, e.g. ``35 min`` or ``2.5 days``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 2 * 86400 else f"{seconds / 86400:.1f} days"


def gigabytes(size: float) -> str:
    """Return a number of bytes in GB (10^9)."""
    return f"{size / 1e9:,.2f} GB"
