"""The private key of a data set, the pseudonyms made with it, and the mode of private files."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

from ctcohort.base.faults import InputError


def private_key(path: str | None, fingerprint: Path) -> bytes | None:
    """The HMAC key of `privacy.key_file`, or None when none is configured.

    `fingerprint` remembers which key the data set was made with: another key would give every
    patient another name, so it stops the run.
    """
    if not path:
        return None
    try:
        key = Path(path).read_bytes().strip()
    except OSError:
        raise InputError(
            f"privacy.key_file: {path} cannot be read; run `make key` once, keep the file safe,"
            " and never replace it"
        ) from None
    must_be_private(path, "privacy.key_file")
    mark = hashlib.sha256(b"ct-cohort key fingerprint" + key).hexdigest()[:16]
    if len(key) < 32:
        raise InputError(f"privacy.key_file: {path} is not a key made by `make key`")
    if not fingerprint.exists():
        fingerprint.parent.mkdir(parents=True, exist_ok=True)
        fingerprint.write_text(mark + "\n")
    elif fingerprint.read_text().strip() != mark:
        raise InputError(
            f"privacy.key_file: {path} is not the key this data set was made with; put the first"
            f" key back, or delete {fingerprint} to give every patient a new name on purpose"
        )
    return key


def must_be_private(path: str, what: str) -> None:
    """Raise `InputError` where others than its owner can read a file; `what` names it."""
    try:
        mode = Path(path).stat().st_mode
    except OSError:
        raise InputError(f"{what}: {path} cannot be read; expected a file that you own") from None
    if mode & 0o077:
        raise InputError(f"{what}: {path} is readable by others; run chmod 600 {path}")


def pseudonym(text: str, key: bytes | None) -> str:
    """HMAC-SHA256 of an identifier under the private key; empty without a key."""
    if key is None or not text:
        return ""
    return hmac.new(key, text.encode(), "sha256").hexdigest()[:20]
