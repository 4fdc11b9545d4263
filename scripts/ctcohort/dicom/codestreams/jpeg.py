"""JPEG frames: decoding, and the proof that the entropy-coded data are exactly one image.

libjpeg makes up what is missing and passes over what is too much, and imagecodecs drops its
warnings. So the bits are counted here: the codes of all samples (lossless, ITU-T T.81 annex H) or
of all blocks (sequential DCT, annex F) must end with the last byte before the next marker.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import imagecodecs
import numpy as np
from numpy.typing import NDArray

START_OF_IMAGE, END_OF_IMAGE = b"\xff\xd8", b"\xff\xd9"
TABLES, RESTART_INTERVAL, SCAN = 0xC4, 0xDD, 0xDA
LOSSLESS, SEQUENTIAL, JPEG_LS = (0xC3,), (0xC0, 0xC1), 0xF7
FRAMES = frozenset({*range(0xC0, 0xD0), JPEG_LS}) - {TABLES, 0xC8, 0xCC}

_MARKER = re.compile(rb"\xff+[^\x00\xff]")
_RESTART = re.compile(rb"\xff+[\xd0-\xd7]")
_LAST_MARKER = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]")


class Interval(NamedTuple):
    """Entropy-coded data up to a restart marker or the end, and how many zeros are stuffed."""

    data: bytes
    stuffed: int


@dataclass
class Stream:
    """A JPEG stream up to its entropy-coded data.

    Attributes
    ----------
    process : second byte of the start-of-frame marker
    precision : bits per sample
    shape : (rows, columns)
    scan : content of the start-of-scan segment
    restart : blocks or samples between restart markers; 0 for none
    start : index of the first byte of entropy-coded data
    tables : 16 counts and the symbols of each Huffman table, by its class and identifier
    """

    process: int = 0
    precision: int = 0
    shape: tuple[int, int] = (0, 0)
    components: int = 0
    scan: bytes = b""
    restart: int = 0
    start: int = 0
    tables: dict[int, tuple[bytes, bytes]] = field(default_factory=dict)

    @classmethod
    def read(cls, data: bytes) -> Stream:
        """Read the marker segments up to the first scan (T.81 B.2)."""
        if data[:2] != START_OF_IMAGE:
            raise ValueError("the frame does not begin with a JPEG start-of-image marker")
        stream, at = cls(), 2
        while not stream.scan:
            match = _MARKER.match(data, at)
            if match is None or match.end() + 2 > len(data):
                raise ValueError("the header of the JPEG stream is damaged")
            at = match.end()
            marker, length = data[at - 1], int.from_bytes(data[at : at + 2], "big")
            stream._take(marker, data[at + 2 : at + length])
            at += length
        stream.start = at
        if stream.components != 1 or len(stream.scan) < 6:
            raise ValueError(f"the JPEG stream has {stream.components} components, not one")
        return stream

    def _take(self, marker: int, content: bytes) -> None:
        if marker in FRAMES and len(content) >= 6:
            self.process, self.precision, self.components = marker, content[0], content[5]
            self.shape = int.from_bytes(content[1:3], "big"), int.from_bytes(content[3:5], "big")
        elif marker == TABLES:
            while len(content) > 16:
                count = sum(content[1:17])
                self.tables[content[0]] = content[1:17], content[17 : 17 + count]
                content = content[17 + count :]
        elif marker == RESTART_INTERVAL:
            self.restart = int.from_bytes(content[:2], "big")
        elif marker == SCAN:
            self.scan = content

    def lengths(self, key: int) -> dict[int, int]:
        """Length of the Huffman code of each symbol of a table."""
        counts, symbols = self._table(key)
        sizes = [size for size, count in enumerate(counts, 1) for _ in range(count)]
        return dict(zip(symbols, sizes, strict=True))

    def codes(self, key: int) -> list[tuple[int, int, int]]:
        """Code, its length and its symbol for each entry of a table (T.81 C.2)."""
        code, found = 0, []
        counts, symbols = self._table(key)
        values = iter(symbols)
        for size, count in enumerate(counts, 1):
            for _ in range(count):
                found.append((code, size, next(values)))
                code += 1
            code <<= 1
        return found

    def _table(self, key: int) -> tuple[bytes, bytes]:
        counts, symbols = self.tables.get(key, (b"", b""))
        if not counts or sum(counts) != len(symbols):
            raise ValueError("the JPEG stream lacks a Huffman table")
        return counts, symbols

    def intervals(self, data: bytes) -> list[Interval]:
        """Return the entropy-coded data between restart markers (T.81 B.1.1.5)."""
        end = data.find(END_OF_IMAGE, self.start)
        coded = data[self.start : end if end >= 0 else len(data)]
        stuffed = _stuffed(coded)
        if stuffed is not None and not self.restart:
            return [Interval(coded, stuffed)]
        match = _LAST_MARKER.search(coded)
        if match:
            raise ValueError(f"marker FF{match[0][-1]:02X} follows the JPEG stream's data")
        coded = coded.rstrip(b"\xff")  # half of a marker, or bytes that fill up before one
        markers = [found[0][-1] & 7 for found in _RESTART.finditer(coded)]
        if markers and (not self.restart or markers != [k % 8 for k in range(len(markers))]):
            raise ValueError("restart markers of the JPEG stream are missing or out of order")
        pieces = []
        for piece in _RESTART.split(coded):
            stuffed = _stuffed(piece)
            if stuffed is None:
                raise ValueError("the JPEG stream's data hold bytes that are not data")
            pieces.append(Interval(piece, stuffed))
        return pieces


def _stuffed(coded: bytes) -> int | None:
    """Number of bytes FF, if a stuffed zero follows each of them."""
    values = np.frombuffer(coded + b"\xff", np.uint8)
    found = np.flatnonzero(values == 0xFF)[:-1]
    return None if values[found + 1].any() else len(found)


def decode(frame: bytes) -> tuple[NDArray[Any], int]:
    """Return the pixels (rows, columns) of a JPEG frame, and its precision in bits.

    Raises
    ------
    ValueError
        If the entropy-coded data are not exactly those of the image.
    """
    stream = Stream.read(frame)
    pieces = stream.intervals(frame)
    if stream.process in SEQUENTIAL:
        _check_blocks(stream, pieces)
    elif stream.process not in LOSSLESS:
        raise ValueError(f"JPEG process SOF{stream.process - 0xC0} is not read")
    pixels = np.asarray(imagecodecs.jpeg8_decode(frame))
    if pixels.shape != stream.shape:
        raise ValueError(f"the JPEG stream decodes to {pixels.shape}, not {stream.shape}")
    if stream.process in LOSSLESS:
        _check_samples(stream, pieces, pixels)
    return pixels, stream.precision


def _check_length(piece: Interval, used: int, *, last: bool) -> None:
    """Raise unless an interval has as many bits as were used, and padding to a whole byte.

    At the end of the image one or two bytes 00 or FF may follow, which make the length even or are
    what is left of an end marker.
    """
    left = 8 * (len(piece.data) - piece.stuffed) - used
    more = left // 8
    if last and 0 < more <= 2:
        tail = piece.data[-6:].replace(b"\xff\x00", b"\xff")[-more:]
        left -= 0 if tail.strip(b"\0\xff") else 8 * more
    if not 0 <= left < 8:
        raise ValueError(
            f"the JPEG stream has {abs(left)} bits {'less' if left < 0 else 'more'} than its image"
        )


def _check_samples(stream: Stream, pieces: list[Interval], pixels: NDArray[Any]) -> None:
    """Raise unless the codes of these samples are as long as the data (T.81 H.1.2, H.1.3)."""
    rows, columns = pixels.shape
    height = stream.restart // columns if stream.restart else rows
    if stream.restart % columns or not height or len(pieces) != -(-rows // height):
        raise ValueError("the JPEG stream lacks a restart interval")
    predictor, shift = stream.scan[3], stream.scan[5] & 15
    lengths = stream.lengths(stream.scan[2] >> 4)
    samples: NDArray[Any] = pixels.astype(np.uint16, copy=False)
    if shift:
        samples = samples >> shift
    first = 1 << (stream.precision - shift - 1)
    for index, piece in enumerate(pieces):
        band = samples[index * height : (index + 1) * height]
        used = _bits(_differences(band, predictor, first), lengths)
        _check_length(piece, used, last=piece is pieces[-1])


def _differences(samples: NDArray[Any], predictor: int, first: int) -> NDArray[Any]:
    """Return what was coded of the samples, modulo 2**16 (T.81 table H.1)."""
    found = np.empty_like(samples)
    found[0, 0] = (int(samples[0, 0]) - first) & 0xFFFF
    np.subtract(samples[0, 1:], samples[0, :-1], out=found[0, 1:])
    np.subtract(samples[1:, 0], samples[:-1, 0], out=found[1:, 0])
    left, above, corner = samples[1:, :-1], samples[:-1, 1:], samples[:-1, :-1]
    if predictor > 4:  # half of a difference or of a sum that may not fit into 16 bits
        left, above, corner = (part.astype(np.int32) for part in (left, above, corner))
    found[1:, 1:] = samples[1:, 1:] - _predicted(predictor, left, above, corner)
    return found


def _predicted(predictor: int, left: Any, above: Any, corner: Any) -> Any:
    match predictor:
        case 1:
            return left
        case 2:
            return above
        case 3:
            return corner
        case 4:
            return left + above - corner
        case 5:
            return left + ((above - corner) >> 1)
        case 6:
            return above + ((left - corner) >> 1)
        case 7:
            return (left + above) >> 1
    raise ValueError(f"the JPEG stream names predictor {predictor}")


def _bits(differences: NDArray[Any], lengths: dict[int, int]) -> int:
    """Number of bits that code the differences (T.81 H.1.2.2).

    A difference of k bits takes the code of symbol k and k bits more, none if k is 16. Counting
    what reaches each power of two takes a tenth of the time of looking up every difference.
    """
    size = np.abs(differences.view(np.int16)).view(np.uint16)
    reached = [size.size]
    reached += [int(np.count_nonzero(size >= 1 << k)) for k in range(int(size.max()).bit_length())]
    total = 0
    for symbol, (count, more) in enumerate(itertools.pairwise([*reached, 0])):
        if count > more and symbol not in lengths:
            raise ValueError("the JPEG stream decodes to samples that it has no codes for")
        total += (count - more) * (lengths.get(symbol, 0) + symbol % 16)
    return total


def _check_blocks(stream: Stream, pieces: list[Interval]) -> None:
    """Raise unless the codes of all blocks are as long as the data (T.81 F.1.2, F.2.2)."""
    rows, columns = stream.shape
    blocks = -(-rows // 8) * -(-columns // 8)
    height = stream.restart or blocks
    if not blocks or len(pieces) != -(-blocks // height):
        raise ValueError("the JPEG stream lacks a restart interval")
    selector = stream.scan[2]
    dc = _steps(stream.codes(selector >> 4), lambda symbol: (symbol, 1))
    ac = _steps(stream.codes(0x10 | selector & 15), _ac_step)
    for index, piece in enumerate(pieces):
        count = min(height, blocks - index * height)
        used = _block_bits(piece.data.replace(b"\xff\x00", b"\xff"), count, dc, ac)
        _check_length(piece, used, last=piece is pieces[-1])


END_OF_BLOCK = 128
"""Step that leaves a block of 64 coefficients from wherever it is taken."""


def _ac_step(symbol: int) -> tuple[int, int]:
    """Bits that follow an AC symbol, and the number of coefficients it stands for."""
    if not symbol:
        return 0, END_OF_BLOCK
    return symbol & 15, (symbol >> 4) + 1


def _steps(codes: list[tuple[int, int, int]], step: Callable[[int], tuple[int, int]]) -> list[int]:
    """For each 16 bits that may come next: bits that a symbol takes << 8, plus its step."""
    table = np.zeros(1 << 16, np.int64)
    for code, size, symbol in codes:
        more, coefficients = step(symbol)
        table[code << 16 - size : code + 1 << 16 - size] = (size + more) << 8 | coefficients
    return list(table.tolist())


def _block_bits(data: bytes, blocks: int, dc: list[int], ac: list[int]) -> int:
    """Number of bits of so many blocks."""
    room = np.frombuffer(data + bytes(512), np.uint8).astype(np.int64)  # a block may run past
    words = (room[:-2] << 16 | room[1:-1] << 8 | room[2:]).tolist()
    at, end = 0, 8 * len(data)
    for _ in range(blocks):
        step = dc[words[at >> 3] >> 8 - (at & 7) & 0xFFFF]
        at += step >> 8
        coefficient = 1
        while coefficient < 64 and step:
            step = ac[words[at >> 3] >> 8 - (at & 7) & 0xFFFF]
            at += step >> 8
            coefficient += step & 0xFF
        if not step or 64 < coefficient < END_OF_BLOCK or at > end:
            raise ValueError("the JPEG stream ends before its image, or holds an unknown code")
    return at
