"""Reading a multipart reply as it arrives, each part straight to a file (RFC 2046 5.1)."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from ctcohort.archives.retrying import Transient

LONGEST_HEADER = 65536

_BOUNDARY = re.compile(r';\s*boundary\s*=\s*(?:"([^"]+)"|([^";,\s]+))', re.IGNORECASE)
_LENGTH = re.compile(rb"^content-length[ \t]*:[ \t]*(\d+)[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
_FIRST_LINE = re.compile(rb"[ \t]*(\r?\n|--)")


def boundary_of(content_type: str) -> bytes | None:
    """Return the boundary of a multipart Content-Type, whatever its subtype; None for another."""
    if not content_type.strip().lower().startswith("multipart/"):
        return None
    found = _BOUNDARY.search(content_type)
    return (found[1] or found[2]).strip().encode() if found else None


class PartReader:
    """The parts of one reply.

    Lines end in CR LF, or in LF alone where those around the first delimiter do. Memory is bounded
    by the size of a chunk, whatever the size of a part.

    Parameters
    ----------
    chunks : iterator of bytes
        The reply's body, in pieces of any size.
    boundary : bytes
    """

    def __init__(self, chunks: Iterator[bytes], boundary: bytes) -> None:
        self._chunks = chunks
        self._dashes = b"--" + boundary
        self._newline = b"\r\n"
        self._buffer = b"\n"  # the first delimiter may stand at the very beginning

    @property
    def _delimiter(self) -> bytes:
        return self._newline + self._dashes

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
            length = self._part_length()
            path = into / f".part-{number}.{os.getpid()}"
            try:
                with open(path, "wb") as stream:
                    if length is None:
                        self._copy_to(self._delimiter, stream.write)
                    else:
                        self._copy(length, stream.write)
                if length is not None and self._take(len(self._delimiter)) != self._delimiter:
                    raise Transient("a part of the reply is not as long as it says")
                yield path
            finally:
                path.unlink(missing_ok=True)
            number += 1

    def _more(self) -> None:
        chunk = next(self._chunks, b"")
        if not chunk:
            raise Transient("the reply ended before all of it had arrived")
        self._buffer += chunk

    def _take(self, count: int) -> bytes:
        while len(self._buffer) < count:
            self._more()
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken

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

    def _part_length(self) -> int | None:
        empty_line = self._newline * 2
        while (end := self._buffer.find(empty_line)) < 0:
            if len(self._buffer) > LONGEST_HEADER:
                raise Transient("a part of the reply has no end of its header")
            self._more()
        found = _LENGTH.search(self._buffer, 0, end + len(self._newline))
        self._buffer = self._buffer[end + len(empty_line) :]
        return int(found[1]) if found else None

    def _copy(self, length: int, write: Callable[[bytes], object]) -> None:
        while length > len(self._buffer):
            write(self._buffer)
            length -= len(self._buffer)
            self._buffer = b""
            self._more()
        write(self._buffer[:length])
        self._buffer = self._buffer[length:]

    def _copy_to(self, delimiter: bytes, write: Callable[[bytes], object]) -> None:
        keep = len(delimiter) - 1
        while (end := self._buffer.find(delimiter)) < 0:
            if len(self._buffer) > keep:
                write(self._buffer[:-keep])
                self._buffer = self._buffer[-keep:]
            self._more()
        write(self._buffer[:end])
        self._buffer = self._buffer[end + len(delimiter) :]
