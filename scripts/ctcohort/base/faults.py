"""Errors that a person can act on, and how a command line reports them.

A message says what, where, what was expected and what to do. It never carries an MRN, a name, a
birth date, free text or a secret: it is printed, logged and kept in `failures/`.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ctcohort.base.reasons import JOB_REASONS


class InputError(Exception):
    """A table, a config or a key file is not what it must be. Permanent until a person edits it."""


class Fault(Exception):
    """A job cannot be done.

    Parameters
    ----------
    reason : str
        A word of `reasons.JOB_REASONS` or `reasons.SERIES_REASONS`.
    message : str
        One line: what, where, what was expected, what to do.
    transient : bool
        True when the same command may succeed later without anybody doing anything.
    """

    def __init__(self, reason: str, message: str, *, transient: bool = False) -> None:
        super().__init__(" ".join(message.split()))
        self.reason = reason
        self.transient = transient


def run(command: Callable[[], None]) -> None:
    """Run a command line's body; a user's mistake ends it with one line and exit status 1."""
    os.umask(0o077)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        command()
        sys.stdout.flush()
    except BrokenPipeError:  # nobody reads on, as with `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (InputError, Fault) as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        if error.errno in (errno.EROFS, errno.EACCES):
            # which file, its text would say; a path may name a patient
            sys.exit(
                f"error: {error.strerror}: the working directory, or a file in it, cannot be read"
                " or written; check its permissions"
            )
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        sys.exit("error: the disk is full; free some space and run the same command again")


def _terminate(_signal: int, _frame: object) -> None:
    raise SystemExit("error: terminated")


@contextmanager
def recorded(failures: Path, name: str, stage: str) -> Iterator[None]:
    """Keep why a job failed in `failures/<name>.json`; remove that file when it succeeds.

    The job's exception goes on, as a `Fault` with its reason. An unforeseen exception becomes
    `internal_error`: only its type is recorded, because its text may quote a header.
    """
    target = failures / f"{name}.json"
    try:
        yield
    except Exception as error:
        fault = _as_fault(error, stage)
        with suppress(OSError):  # a full disk: the job's own error line is all that can be left
            keep_failure(target, stage, fault)
        if fault.reason == "internal_error":
            raise
        raise fault from error
    target.unlink(missing_ok=True)


def keep_failure(target: Path, stage: str, fault: Fault) -> None:
    """Write why a job failed, as `failures/<name>.json`."""
    target.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "stage": stage,
        "reason": fault.reason,
        "message": str(fault),
        "transient": fault.transient,
    }
    part = target.with_name(f".{target.name}.{os.getpid()}")
    part.write_text(json.dumps(content, indent=1) + "\n")
    part.replace(target)


def _as_fault(error: Exception, stage: str) -> Fault:
    if isinstance(error, Fault):
        return error
    if isinstance(error, InputError):
        return Fault("wrong_input", str(error))
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Fault("no_space", f"{stage}: {JOB_REASONS['no_space']}", transient=True)
    if isinstance(error, MemoryError):
        return Fault("out_of_memory", f"{stage}: {JOB_REASONS['out_of_memory']}", transient=True)
    return Fault("internal_error", f"{stage}: {type(error).__name__}; see the log")
