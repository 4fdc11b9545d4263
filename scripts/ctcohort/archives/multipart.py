"""Reading a multipart reply as it arrives, each part straight to a file (RFC 2046 5.1)."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from ctcohort.archives.retrying import Transient

LONGEST_HEADER = 65536
LONGEST_NAME = 256
"""Bytes of a header, and of the name of its first field."""

_BOUNDARY = re.compile(r""";\s*boundary\s*=\s*(?:"([^"]+)"|'([^']+)'|([^";,]+))""", re.IGNORECASE)
_FIRST_LINE = re.compile(rb"[ \t]*(\r?\n|--)")
_AFTER_DELIMITER = re.compile(rb"--|[ \t]*\r?\n(?:\r?\n|[!-9;-~]+[ \t]*:)")
"""The closing dashes, or the end of the line and an empty header or the first of its fields."""
_UNDECIDED = re.compile(rb"-?|[ \t]*(?:\r|\r?\n(?:\r|[!-9;-~]+[ \t]*)?)?")
"""What may become that, with the bytes that follow."""


def boundary_of(content_type: str) -> bytes | None:
    """Return the boundary of a multipart Content-Type, whatever its subtype; None for another."""
    if not content_type.strip().lower().startswith("multipart/"):
        return None
    found = _BOUNDARY.search(content_type)
    return (found[1] or found[2] or found[3]).strip().encode() if found else None


class PartReader:
    """The parts of one reply.

    Lines end in CR LF, or in LF alone where those around the first delimiter do. A boundary that
    stands in a part by chance is told from a delimiter by what follows it. Lengths that parts tell
    of themselves are not needed. Memory is bounded by the size of a chunk, whatever the size of a
    part.

    Parameters
    ----------
    chunks : iterator of bytes
        The reply's body, in pieces of any size.
    boundary : bytes
    is_whole : callable
        Whether a file is whole by itself. The part with which a reply ends is yielded if it is.
    """

    def __init__(
        self,
        chunks: Iterator[bytes],
        boundary: bytes,
        is_whole: Callable[[Path], bool] = lambda _path: False,
    ) -> None:
        self._chunks = chunks
        self._is_whole = is_whole
        self._dashes = b"--" + boundary
        self._newline = b"\r\n"
        self._buffer = b"\n"  # the first delimiter may stand at the very beginning

    def files(self, into: Path) -> Iterator[Path]:
        """Write each part under a temporary name in `into` and yield it when it is whole.

        Raises
        ------
        Transient
            The reply ended before its closing delimiter: nothing else tells a whole reply from a
            broken connection where the server gives no length.
        """
        self._skip_to_first_delimiter()
        number = 0
        while not self._is_last():
            self._skip_header()
            path = into / f".part-{number}.{os.getpid()}"
            try:
                try:
                    with open(path, "wb") as stream:
                        self._copy_part(stream.write)
                except Transient:
                    if self._is_whole(path):
                        yield path
                    raise
                yield path
            finally:
                path.unlink(missing_ok=True)
            number += 1

    def _more(self) -> None:
        chunk = next(self._chunks, b"")
        if not chunk:
            raise Transient("the reply ended before all of it had arrived")
        self._buffer += chunk

    def _is_last(self) -> bool:
        while len(self._buffer) < 2:
            self._more()
        return self._buffer.startswith(b"--")

    def _skip_to_first_delimiter(self) -> None:
        """Skip the preamble, and see from the delimiter's own line how lines end."""
        self._copy_to(b"\n" + self._dashes, lambda _preamble: None)
        while not (found := _FIRST_LINE.match(self._buffer)):
            if len(self._buffer) > LONGEST_HEADER:
                raise Transient("the first delimiter of the reply has no end")
            self._more()
        if found[1] != b"--":
            self._newline = found[1]

    def _skip_header(self) -> None:
        empty_line = self._newline * 2
        while (end := self._buffer.find(empty_line)) < 0:
            if len(self._buffer) > LONGEST_HEADER:
                raise Transient("a part of the reply has no end of its header")
            self._more()
        self._buffer = self._buffer[end + len(empty_line) :]

    def _copy_part(self, write: Callable[[bytes], object]) -> None:
        """Copy to the next delimiter, or what came of the part where the reply ends before one."""
        delimiter = self._newline + self._dashes
        while True:
            try:
                self._copy_to(delimiter, write)
            except Transient:
                rest = self._buffer
                begun = next(
                    n for n in reversed(range(len(delimiter))) if rest.endswith(delimiter[:n])
                )
                write(rest[: len(rest) - begun])
                raise
            while _UNDECIDED.fullmatch(self._buffer) and len(self._buffer) < LONGEST_NAME:
                self._more()
            if _AFTER_DELIMITER.match(self._buffer):
                return
            write(delimiter)

    def _copy_to(self, delimiter: bytes, write: Callable[[bytes], object]) -> None:
        keep = len(delimiter) - 1
        while (end := self._buffer.find(delimiter)) < 0:
            if len(self._buffer) > keep:
                write(self._buffer[:-keep])
                self._buffer = self._buffer[-keep:]
            self._more()
        write(self._buffer[:end])
        self._buffer = self._buffer[end + len(delimiter) :]
