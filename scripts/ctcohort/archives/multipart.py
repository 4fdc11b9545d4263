"""Reading a multipart/related reply as it arrives, each part straight to a file (RFC 2046 5.1)."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from ctcohort.archives.retrying import Transient

LONGEST_HEADER = 65536

_BOUNDARY = re.compile(r'boundary=(?:"([^"]+)"|([^";,\s]+))', re.IGNORECASE)
_LENGTH = re.compile(rb"^content-length:[ \t]*(\d+)[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)


def boundary_of(content_type: str) -> bytes | None:
    """Boundary of a multipart/related Content-Type; None for any other."""
    if not content_type.strip().lower().startswith("multipart/related"):
        return None
    found = _BOUNDARY.search(content_type)
    return (found[1] or found[2]).encode() if found else None


class PartReader:
    """The parts of one reply.

    Memory is bounded by the size of a chunk, whatever the size of a part.

    Parameters
    ----------
    chunks : iterator of bytes
        The reply's body, in pieces of any size.
    boundary : bytes
    """

    def __init__(self, chunks: Iterator[bytes], boundary: bytes) -> None:
        self._chunks = chunks
        self._delimiter = b"\r\n--" + boundary
        self._buffer = b"\r\n"  # the first delimiter may stand at the very beginning

    def files(self, into: Path) -> Iterator[Path]:
        """Write each part under a temporary name in `into` and yield it when it is whole.

        Raises
        ------
        Transient
            The reply ended before its closing delimiter: nothing else tells a whole reply from a
            broken connection where the server gives no length.
        """
        self._skip_to_delimiter()
        number = 0
        while not self._is_last():
            length = self._part_length()
            path = into / f".part-{number}.{os.getpid()}"
            try:
                with open(path, "wb") as stream:
                    if length is None:
                        self._copy_to_delimiter(stream.write)
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

    def _skip_to_delimiter(self) -> None:
        self._copy_to_delimiter(lambda _preamble: None)

    def _part_length(self) -> int | None:
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if len(self._buffer) > LONGEST_HEADER:
                raise Transient("a part of the reply has no end of its header")
            self._more()
        found = _LENGTH.search(self._buffer, 0, end + 2)
        self._buffer = self._buffer[end + 4 :]
        return int(found[1]) if found else None

    def _copy(self, length: int, write: Callable[[bytes], object]) -> None:
        while length > len(self._buffer):
            write(self._buffer)
            length -= len(self._buffer)
            self._buffer = b""
            self._more()
        write(self._buffer[:length])
        self._buffer = self._buffer[length:]

    def _copy_to_delimiter(self, write: Callable[[bytes], object]) -> None:
        keep = len(self._delimiter) - 1
        while (end := self._buffer.find(self._delimiter)) < 0:
            if len(self._buffer) > keep:
                write(self._buffer[:-keep])
                self._buffer = self._buffer[-keep:]
            self._more()
        write(self._buffer[:end])
        self._buffer = self._buffer[end + len(self._delimiter) :]
