"""Stable hashes: they depend on the text alone, not on the machine, the run or other entries."""

from __future__ import annotations

import hashlib

RANGE = 2**64
"""`rank` gives whole numbers below this."""


def rank(text: str) -> int:
    """Return a whole number in [0, 2^64) that depends on `text` alone."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
