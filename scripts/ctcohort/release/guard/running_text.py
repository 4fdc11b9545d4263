"""Find names in text of writing systems without spaces between words (Chinese, Japanese, Korean,
Thai)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_UNSPACED = re.compile(
    "[\u0e01-\u0e5b\u3005\u3041-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff]{2,}"
)
"""Thai, kana, Han and Hangul."""

_TWO_BYTES = ("gb18030", "euc_jp", "euc_kr", "big5")
"""Encodings of DICOM's GB18030, GBK, ISO 2022 IR 58, 87 and 149 (PS3.3 C.12.1.1.2) and of Taiwan
that have two bytes for a character."""

SHORTEST_IN_TWO_BYTES = 3
"""Characters; two of them are four bytes, which turn up anywhere in binary content."""

_RUN = re.compile(rb"[\x80-\xff]{6,}")
_SHIFTED = re.compile(rb"\x1b\$[@B]((?:[\x21-\x7e]{2})+)(?:\x1b\([BJ])?")
"""ISO 2022 IR 87: JIS X 0208 in bytes of 7 bits, between escape sequences (PS3.5 H.3)."""


@dataclass(slots=True)
class RunningText:
    """Names to be found wherever they stand in a run of such a script, by their length in bytes."""

    _names: dict[int, set[bytes]] = field(default_factory=dict)

    def add(self, word: str) -> None:
        """Search for a word of two characters and more; one in another script is passed over."""
        if not _UNSPACED.fullmatch(word):
            return
        self._add(word.encode())
        for encoding in _TWO_BYTES if len(word) >= SHORTEST_IN_TWO_BYTES else ():
            try:
                coded = word.encode(encoding)
            except UnicodeEncodeError:
                continue
            if min(coded) >= 0x80:
                self._add(coded)

    def hits(self, data: bytes) -> Iterator[tuple[int, int]]:
        """Return where names stand; of two that overlap the longer one that begins first."""
        lengths = sorted(self._names, reverse=True)
        for run in _RUN.finditer(data) if lengths else ():
            text, start = run[0], 0
            while start < len(text):
                length = next((n for n in lengths if text[start : start + n] in self._names[n]), 0)
                if length:
                    yield run.start() + start, run.start() + start + length
                start += length or 1

    def _add(self, coded: bytes) -> None:
        self._names.setdefault(len(coded), set()).add(coded)


def without_shifts(data: bytes) -> bytes:
    """The same text with what is written in ISO 2022 IR 87 as UTF-8."""

    def plain(found: re.Match[bytes]) -> bytes:
        coded = bytes(byte | 0x80 for byte in found[1])
        return coded.decode("euc_jp", "replace").encode()

    return _SHIFTED.sub(plain, data)
