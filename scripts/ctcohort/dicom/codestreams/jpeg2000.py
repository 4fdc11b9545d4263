"""JPEG 2000 and HTJ2K codestreams: decoding, and the proof that every packet is there.

OpenJPEG refuses a codestream whose tile-parts are too short, but decodes damaged packets as far as
they go. `check` therefore reads what ISO/IEC 15444-1 writes about itself: the lengths of the
tile-parts (A.4.2), and the packet headers (B.10), whose lengths must add up to the tile-parts
exactly. The arithmetic-coded bytes inside the packets carry no redundancy, except that no two bytes
of them exceed FF8F (C.2.8, and Part 15 for HTJ2K) and that they never hold a long run of zeros.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

SIZ, COD, COC, POC = 0xFF51, 0xFF52, 0xFF53, 0xFF5F
PPM, PPT, SOT, SOD = 0xFF60, 0xFF61, 0xFF90, 0xFF93
START, END_OF_CODESTREAM = b"\xff\x4f\xff\x51", b"\xff\xd9"

BYPASS, TERMINATE_ALL, HIGH_THROUGHPUT = 0x01, 0x04, 0x40
"""Code-block styles (Table A.19, and Part 15) that decide how passes are split into segments."""

ZERO_RUN = bytes(32)
"""No arithmetic coder emits so many zero bytes in a row: they were written over the data."""

_FORBIDDEN = re.compile(rb"\xff[\x90-\xff]")


def decode(frame: bytes) -> tuple[NDArray[Any], int]:
    """Return the pixels (rows, columns) of a codestream, and its precision in bits.

    Raises
    ------
    ValueError
        If the codestream is not complete.
    """
    start = frame.find(START)  # a JP2 file may be around it
    if start < 0:
        raise ValueError("no JPEG 2000 codestream")
    stream = _whole(frame[start:])
    return np.asarray(imagecodecs.jpeg2k_decode(stream)), _Coding.read(stream).precision


def _whole(stream: bytes) -> bytes:
    """Return the codestream up to its end marker, adding one that is missing; raise if damaged."""
    coding = _Coding.read(stream)
    end = _check_tiles(stream, coding)
    return stream[:end] + END_OF_CODESTREAM


def _word(data: bytes, index: int, size: int = 2) -> int:
    if index + size > len(data):
        raise ValueError("the JPEG 2000 codestream is cut off")
    return int.from_bytes(data[index : index + size], "big")


@dataclass
class _Coding:
    """Size and coding as the main header states them (A.5.1, A.6.1)."""

    area: tuple[int, int, int, int]  # x0, y0, x1, y1
    tile: tuple[int, int, int, int]  # width, height, x offset, y offset
    precision: int
    components: int
    sop: bool
    eph: bool
    order: int
    layers: int
    levels: int
    block: tuple[int, int]  # exponents of width and height
    style: int
    precincts: list[tuple[int, int]]  # exponents of width and height per resolution
    packets_known: bool  # False where markers that are rarely used change the order of packets
    first_tile: int

    @classmethod
    def read(cls, stream: bytes) -> _Coding:
        at, size, cod, known = 2, b"", b"", True
        while (marker := _word(stream, at)) != SOT:
            length = _word(stream, at + 2)
            if marker < 0xFF00 or length < 2:
                raise ValueError("the header of the JPEG 2000 codestream is damaged")
            content = stream[at + 4 : at + 2 + length]
            if marker == SIZ:
                size = content
            elif marker == COD:
                cod = content
            elif marker in (COC, POC, PPM):
                known = False
            at += 2 + length
        if len(size) < 39 or len(cod) < 10:
            raise ValueError("the JPEG 2000 codestream has no size or no coding style")
        x1, y1, x0, y0, width, height, left, top = (
            int.from_bytes(size[i : i + 4], "big") for i in range(2, 34, 4)
        )
        levels = cod[5]
        sizes = cod[10 : 11 + levels] if cod[0] & 1 else bytes([0xFF] * (levels + 1))
        if len(sizes) != levels + 1 or not width or not height:
            raise ValueError("the header of the JPEG 2000 codestream is damaged")
        return cls(
            area=(x0, y0, x1, y1),
            tile=(width, height, left, top),
            precision=(size[36] & 0x7F) + 1,
            components=_word(size, 34),
            sop=bool(cod[0] & 2),
            eph=bool(cod[0] & 4),
            order=cod[1],
            layers=_word(cod, 2),
            levels=levels,
            block=(cod[6] + 2, cod[7] + 2),
            style=cod[8],
            precincts=[(value & 15, value >> 4) for value in sizes],
            packets_known=known and _word(size, 34) == 1,
            first_tile=at,
        )


def _check_tiles(stream: bytes, coding: _Coding) -> int:
    """Walk the tile-parts (A.4.2), check the packets of each tile; return where EOC belongs."""
    at = coding.first_tile
    tiles: dict[int, list[bytes]] = {}
    known = coding.packets_known
    while at + 2 <= len(stream) and _word(stream, at) == SOT:
        number, length = _word(stream, at + 4), _word(stream, at + 6, 4)
        end = at + length if length else stream.rfind(END_OF_CODESTREAM)
        data = at + 12
        if end > len(stream) or end < data:
            raise ValueError("a tile-part of the JPEG 2000 codestream is cut off")
        while (marker := _word(stream, data)) != SOD:
            known &= marker not in (COD, COC, POC, PPT)
            data += 2 + _word(stream, data + 2)
            if data >= end:
                raise ValueError("a tile-part of the JPEG 2000 codestream is damaged")
        tiles.setdefault(number, []).append(stream[data + 2 : end])
        at = end
    if stream[at : at + 2] != END_OF_CODESTREAM and len(stream) > at + 2:
        raise ValueError("a tile-part of the JPEG 2000 codestream does not end where it says")
    if len(tiles) != _tile_count(coding):
        raise ValueError("the JPEG 2000 codestream lacks a tile")
    for number, parts in tiles.items():
        body = b"".join(parts)
        segments = _Packets(body, coding, number).segments() if known else None
        _check_bytes(body, segments, coding)
    return at


def _tile_count(coding: _Coding) -> int:
    _, _, x1, y1 = coding.area
    width, height, left, top = coding.tile
    return -((left - x1) // width) * -((top - y1) // height)


def _check_bytes(body: bytes, segments: list[tuple[int, int]] | None, coding: _Coding) -> None:
    """Raise if coded bytes have a form that no encoder writes."""

    def coded(first: int, last: int) -> bool:
        if segments is None:
            return not (coding.sop or coding.eph)
        return any(start <= first and last <= end for start, end in segments)

    if any(coded(match.start(), match.end()) for match in _FORBIDDEN.finditer(body)):
        raise ValueError("JPEG 2000 packets hold bytes that end a codestream")
    if coding.style & (BYPASS | HIGH_THROUGHPUT):
        return  # raw bits may be zero
    at = body.find(ZERO_RUN)
    if at >= 0 and segments is not None and coded(at, at + len(ZERO_RUN)):
        raise ValueError("JPEG 2000 packets were overwritten with zeros")


class _TagTree:
    """A tag tree (B.10.2)."""

    def __init__(self, width: int, height: int) -> None:
        self.sizes = [(width, height)]
        while width * height > 1:
            width, height = (width + 1) // 2, (height + 1) // 2
            self.sizes.append((width, height))
        self.low = [[0] * (w * h) for w, h in self.sizes]
        self.known = [[False] * (w * h) for w, h in self.sizes]

    def value(self, bits: _Bits, x: int, y: int, below: int) -> int | None:
        """The value of a leaf if it is less than `below`, else None."""
        low = 0
        for level in range(len(self.sizes) - 1, -1, -1):
            index = (y >> level) * self.sizes[level][0] + (x >> level)
            low = max(low, self.low[level][index])
            while low < below and not self.known[level][index]:
                if bits.read(1):
                    self.known[level][index] = True
                else:
                    low += 1
            self.low[level][index] = low
        return low if low < below and self.known[0][y * self.sizes[0][0] + x] else None


class _Bits:
    """Bits of a packet header; a bit is stuffed after each byte FF (B.10.1)."""

    def __init__(self, data: bytes, at: int) -> None:
        self.data, self.at, self.left, self.byte = data, at, 0, 0

    def read(self, count: int) -> int:
        value = 0
        for _ in range(count):
            if not self.left:
                if self.at >= len(self.data):
                    raise ValueError("JPEG 2000 packets are missing")
                self.left = 7 if self.byte == 0xFF else 8
                self.byte = self.data[self.at]
                self.at += 1
            self.left -= 1
            value = value << 1 | (self.byte >> self.left & 1)
        return value

    def end(self) -> int:
        """Index of the byte after the header."""
        return self.at + (self.byte == 0xFF)


class _Block:
    """State of a code-block after the earlier layers."""

    __slots__ = ("bits", "included", "passes", "segment", "x", "y")

    def __init__(self, x: int, y: int) -> None:
        self.x, self.y, self.included, self.bits = x, y, False, 3
        self.passes = 0
        self.segment = 0  # passes that still fit into the last segment


class _Band:
    """Code-blocks of one sub-band in one precinct."""

    def __init__(self, width: int, height: int) -> None:
        self.inclusion, self.planes = _TagTree(width, height), _TagTree(width, height)
        self.blocks = [_Block(x, y) for y in range(height) for x in range(width)]


def _up(value: int, exponent: int) -> int:
    """value / 2**exponent, rounded up."""
    return -(-value >> exponent)


class _Packets:
    """The packets of one tile of one component."""

    def __init__(self, body: bytes, coding: _Coding, number: int) -> None:
        self.body, self.coding = body, coding
        x0, y0, x1, y1 = coding.area
        width, height, left, top = coding.tile
        across = -((left - x1) // width)
        column, row = number % across, number // across
        self.tile = (
            max(left + column * width, x0),
            max(top + row * height, y0),
            min(left + (column + 1) * width, x1),
            min(top + (row + 1) * height, y1),
        )

    def segments(self) -> list[tuple[int, int]]:
        """Return first and last byte of every codeword segment; raise unless all bytes are used."""
        found: list[tuple[int, int]] = []
        precincts = {
            (resolution, index): bands
            for resolution in range(self.coding.levels + 1)
            for index, bands in enumerate(self._precincts(resolution))
        }
        at = 0
        for layer, key in self._order(precincts):
            at = self._packet(at, layer, precincts[key], found)
        if at != len(self.body):
            raise ValueError(
                f"JPEG 2000 packets end {abs(len(self.body) - at)} bytes"
                f" {'before' if at < len(self.body) else 'after'} their tile"
            )
        return found

    def _grid(self, resolution: int) -> tuple[int, int, int, int]:
        """Indices of the first and the last precinct (x0, y0, x1, y1) of a resolution (B.6)."""
        reduced = self.coding.levels - resolution
        x0, y0, x1, y1 = (_up(edge, reduced) for edge in self.tile)
        wide, high = self.coding.precincts[resolution]
        if x1 <= x0 or y1 <= y0:
            return 0, 0, 0, 0
        return x0 >> wide, y0 >> high, _up(x1, wide), _up(y1, high)

    def _precincts(self, resolution: int) -> Iterator[list[_Band]]:
        coding = self.coding
        px0, py0, px1, py1 = self._grid(resolution)
        wide, high = coding.precincts[resolution]
        if resolution:  # a precinct halves in each sub-band (B.7)
            wide, high = wide - 1, high - 1
        level = coding.levels - resolution + (resolution > 0)
        kinds = [(1, 0), (0, 1), (1, 1)] if resolution else [(0, 0)]
        across, down = min(coding.block[0], wide), min(coding.block[1], high)
        for py in range(py0, py1):
            for px in range(px0, px1):
                bands = []
                for xo, yo in kinds:
                    half = 1 << level >> 1
                    x0, y0, x1, y1 = (
                        _up(edge - half * offset, level)
                        for edge, offset in zip(self.tile, (xo, yo, xo, yo), strict=True)
                    )
                    x0, x1 = max(x0, px << wide), min(x1, (px + 1) << wide)
                    y0, y1 = max(y0, py << high), min(y1, (py + 1) << high)
                    if x1 > x0 and y1 > y0:
                        bands.append(
                            _Band(_up(x1, across) - (x0 >> across), _up(y1, down) - (y0 >> down))
                        )
                yield bands

    def _order(
        self, precincts: dict[tuple[int, int], list[_Band]]
    ) -> Iterator[tuple[int, tuple[int, int]]]:
        """Layer, and resolution with precinct, of the packets in their order (B.12)."""
        order, layers = self.coding.order, range(self.coding.layers)
        if order == 0:  # layer, resolution, position
            return ((layer, key) for layer in layers for key in precincts)
        if order == 1:  # resolution, layer, position
            return (
                (layer, key)
                for resolution in range(self.coding.levels + 1)
                for layer in layers
                for key in precincts
                if key[0] == resolution
            )
        keys = list(precincts)
        if order > 2:  # position, resolution, layer
            keys.sort(key=lambda key: (*self._corner(*key), *key))
        return ((layer, key) for key in keys for layer in layers)

    def _corner(self, resolution: int, index: int) -> tuple[int, int]:
        """Row and column at which a precinct begins, on the reference grid."""
        px0, py0, px1, _ = self._grid(resolution)
        wide, high = self.coding.precincts[resolution]
        reduced = self.coding.levels - resolution
        x, y = px0 + index % (px1 - px0), py0 + index // (px1 - px0)
        return max(self.tile[1], y << high + reduced), max(self.tile[0], x << wide + reduced)

    def _packet(self, at: int, layer: int, bands: list[_Band], found: list[tuple[int, int]]) -> int:
        """Read the header of a packet, pass over its body, return where the next one begins."""
        body = self.body
        if self.coding.sop and body[at : at + 2] == b"\xff\x91":
            at += 6
        bits = _Bits(body, at)
        lengths: list[int] = []
        if bits.read(1):
            for band in bands:
                for block in band.blocks:
                    lengths += self._contribution(bits, layer, band, block)
        at = bits.end()
        if self.coding.eph and body[at : at + 2] == b"\xff\x92":
            at += 2
        for length in lengths:
            found.append((at, at + length))
            at += length
        return at

    def _contribution(self, bits: _Bits, layer: int, band: _Band, block: _Block) -> list[int]:
        """Lengths of the segments that a code-block has in a packet (B.10.4 to B.10.7)."""
        if block.included:
            if not bits.read(1):
                return []
        else:
            if band.inclusion.value(bits, block.x, block.y, layer + 1) is None:
                return []
            block.included = True
            below = 1
            while band.planes.value(bits, block.x, block.y, below) is None:
                below += 1
                if below > 80:
                    raise ValueError("a JPEG 2000 packet header is damaged")
        passes = _passes(bits)
        while bits.read(1):
            block.bits += 1
            if block.bits > 32:
                raise ValueError("a JPEG 2000 packet header is damaged")
        lengths = []
        while passes:
            room = self._room(block)
            count = min(room, passes)
            lengths.append(bits.read(block.bits + count.bit_length() - 1))
            block.passes += count
            block.segment = room - count
            passes -= count
        return lengths

    def _room(self, block: _Block) -> int:
        """Return the number of passes that the next or current segment takes (D.4.2, D.6)."""
        if block.segment:
            return block.segment
        style, done = self.coding.style, block.passes
        if style & HIGH_THROUGHPUT:
            return 1 if not done else 164
        if style & TERMINATE_ALL:
            return 1
        if style & BYPASS:
            return 10 if not done else 2 - (done - 10) % 3 // 2
        return 164


def _passes(bits: _Bits) -> int:
    """Number of coding passes (Table B.4)."""
    if not bits.read(1):
        return 1
    if not bits.read(1):
        return 2
    if (value := bits.read(2)) < 3:
        return 3 + value
    if (value := bits.read(5)) < 31:
        return 6 + value
    return 37 + bits.read(7)
