"""One slice of a scan, written in the odd ways of real writers or damaged, in every encoding.

Each variant goes the way of a downloaded file: it is checked, and a volume is made of the scan that
holds it. What must come out is either the volume of the sound file, or a refusal, or a flag.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import imagecodecs
import numpy as np
from pydicom import uid
from pydicom.dataset import Dataset

from ctcohort.base.faults import Fault
from ctcohort.dicom.integrity import check_whole
from ctcohort.phantoms.anatomy import Phantom
from ctcohort.phantoms.stack import SliceStack
from ctcohort.phantoms.writer import make_series
from ctcohort.series.received import Received, ReceivedFile
from ctcohort.volume.build import make_volume
from tests.torture.flow import volume_rules

SLICES, PLACE = 11, 5
"""Slices of the scan, and the one that is damaged."""

SIZE = 160
OFF_HU, OFF_SHARE = 100, 0.05
"""A slice is wrong if more than this share of its pixels is off by more than this."""

LARGEST = 1 << 14
SEED = 20

ENCAPSULATED_UNCOMPRESSED = uid.UID("1.2.840.10008.1.2.1.98")
EOI = b"\xff\xd9"
DELIMITER = b"\xfe\xff\xdd\xe0\0\0\0\0"
UNDEFINED = b"\xff" * 4

Encoder = Callable[[np.ndarray], bytes]
Change = Callable[[bytes, random.Random], bytes]


# Encodings


def rle(pixels: np.ndarray) -> bytes:
    """An RLE frame whose rows are kept apart (PS3.5 G.3.1)."""
    planes = [(pixels >> shift).astype(np.uint8) for shift in (8, 0)]
    segments = [b"".join(imagecodecs.packbits_encode(row.tobytes()) for row in p) for p in planes]
    return rle_frame([segment + b"\0" * (len(segment) % 2) for segment in segments])


def rle_frame(segments: list[bytes]) -> bytes:
    """A frame of these segments."""
    offsets = list(itertools.accumulate([64, *map(len, segments)]))[: len(segments)]
    header = np.array([len(segments), *offsets, *[0] * (15 - len(segments))], "<u4")
    return header.tobytes() + b"".join(segments)


def _lossless(predictor: int) -> Encoder:
    return lambda pixels: bytes(
        imagecodecs.jpeg8_encode(pixels, lossless=True, predictor=predictor, bitspersample=12)
    )


@dataclass(frozen=True)
class Encoding:
    """How pixels are written; `encode` makes a frame, None means uncompressed."""

    syntax: str
    encode: Encoder | None = None
    bits: int = 12
    family: str = ""


ENCODINGS = {
    "uncompressed": Encoding(uid.ExplicitVRLittleEndian),
    "uncompressed, big endian": Encoding(uid.ExplicitVRBigEndian),
    "deflated": Encoding(uid.DeflatedExplicitVRLittleEndian),
    "encapsulated uncompressed": Encoding(ENCAPSULATED_UNCOMPRESSED, lambda p: p.tobytes()),
    "RLE": Encoding(uid.RLELossless, rle, family="rle"),
    "JPEG baseline, 8 bits": Encoding(
        uid.JPEGBaseline8Bit,
        lambda pixels: bytes(imagecodecs.jpeg8_encode(pixels.astype(np.uint8), level=95)),
        bits=8,
        family="jpeg",
    ),
    "JPEG extended, 12 bits": Encoding(
        uid.JPEGExtended12Bit,
        lambda pixels: bytes(imagecodecs.jpeg8_encode(pixels, level=95, bitspersample=12)),
        family="jpeg",
    ),
    "JPEG lossless": Encoding(uid.JPEGLossless, _lossless(7), family="jpeg"),
    "JPEG lossless, first order": Encoding(uid.JPEGLosslessSV1, _lossless(1), family="jpeg"),
    "JPEG-LS": Encoding(
        uid.JPEGLSLossless, lambda pixels: bytes(imagecodecs.jpegls_encode(pixels)), family="jpeg"
    ),
    "JPEG-LS, near-lossless": Encoding(
        uid.JPEGLSNearLossless,
        lambda pixels: bytes(imagecodecs.jpegls_encode(pixels, level=2)),
        family="jpeg",
    ),
    "JPEG 2000": Encoding(
        uid.JPEG2000Lossless,
        lambda pixels: bytes(
            imagecodecs.jpeg2k_encode(pixels, level=0, codecformat="j2k", bitspersample=12)
        ),
        family="jpeg 2000",
    ),
    "HTJ2K": Encoding(
        uid.HTJ2KLossless,
        lambda pixels: bytes(imagecodecs.htj2k_encode(pixels, reversible=True)),
        family="jpeg 2000",
    ),
}


# Sound variants


def item(content: bytes) -> bytes:
    """An item of encapsulated pixel data."""
    return b"\xfe\xff\x00\xe0" + len(content).to_bytes(4, "little") + content


def _cut_up(frame: bytes, draw: random.Random) -> bytes:
    at = 2 * draw.randrange(1, len(frame) // 2)
    return item(b"") + item(frame[:at]) + item(frame[at:]) + DELIMITER


def _even(frame: bytes) -> bytes:
    return frame + b"\0" * (len(frame) % 2)


CONTAINERS: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "as it should be": lambda frame, _: item(b"") + item(_even(frame)) + DELIMITER,
    "no delimiter": lambda frame, _: item(b"") + item(_even(frame)),
    "half a delimiter": lambda frame, _: item(b"") + item(_even(frame)) + DELIMITER[:4],
    "a delimiter of zeros": lambda frame, _: item(b"") + item(_even(frame)) + bytes(8),
    "an endless delimiter": lambda f, _: item(b"") + item(_even(f)) + DELIMITER[:4] + UNDEFINED,
    "a wrong offset": lambda frame, draw: item(draw.randbytes(4)) + item(_even(frame)) + DELIMITER,
    "two offsets": lambda frame, _: item(bytes(8)) + item(_even(frame)) + DELIMITER,
    "no offset table": lambda frame, _: item(_even(frame)) + DELIMITER,
    "two fragments": _cut_up,
    "an empty fragment": lambda f, _: item(b"") + item(_even(f)) + item(b"") + DELIMITER,
}
"""Values of the pixel data that hold one sound frame."""


def _after_rle(rest: Callable[[random.Random], bytes]) -> Change:
    def change(frame: bytes, draw: random.Random) -> bytes:
        header = np.frombuffer(frame[:64], "<u4")
        edges = [int(header[1]), int(header[2]), len(frame)]
        segments = [frame[a:b] for a, b in itertools.pairwise(edges)]
        return rle_frame([segment + rest(draw) for segment in segments])

    return change


SOUND: dict[str, dict[str, Change]] = {
    "": {},
    "rle": {
        "zeros after segments": _after_rle(lambda draw: bytes(2 * draw.randrange(1, 40))),
        "no-operations after segments": _after_rle(lambda draw: b"\x80" * draw.randrange(1, 9)),
        "other bytes after segments": _after_rle(lambda draw: draw.randbytes(draw.randrange(50))),
        "other bytes after the frame": lambda frame, draw: frame + draw.randbytes(30),
    },
    "jpeg": {
        "a stale byte after its end": lambda frame, draw: frame + draw.randbytes(1),
        "zeros after its end": lambda frame, draw: frame + bytes(draw.randrange(1, 900)),
        "other bytes after its end": lambda frame, draw: frame + draw.randbytes(99),
        "a second end": lambda frame, _: frame + EOI,
        "no end marker": lambda frame, _: frame[: frame.rindex(EOI)],
        "half an end marker": lambda frame, _: frame[: frame.rindex(EOI) + 1],
        "zero in the place of its end": lambda frame, _: frame[: frame.rindex(EOI)] + b"\0",
        "zero before its end": lambda frame, _: frame[: frame.rindex(EOI)] + b"\0" + EOI,
    },
    "jpeg 2000": {
        "a stale byte after its end": lambda frame, draw: frame + draw.randbytes(1),
        "other bytes after its end": lambda frame, draw: frame + draw.randbytes(99),
        "no end marker": lambda frame, _: frame[:-2],
        "half an end marker": lambda frame, _: frame[:-1],
    },
}
"""What may be done to a frame without a change of what it holds."""


# Damage


def _span(content: bytes, draw: random.Random) -> tuple[int, int]:
    """First and last byte of what is damaged; small pieces are as likely as large ones."""
    size = min(int(2 ** draw.uniform(4, LARGEST.bit_length() - 1)), len(content) - 1)
    first = draw.randrange(len(content) - size)
    return first, first + size


def _instead(fill: Callable[[int, random.Random], bytes]) -> Change:
    def change(content: bytes, draw: random.Random) -> bytes:
        first, last = _span(content, draw)
        return content[:first] + fill(last - first, draw) + content[last:]

    return change


def _moved(content: bytes, draw: random.Random) -> bytes:
    (first, last), (source, _) = _span(content, draw), _span(content, draw)
    piece = content[source : source + last - first]
    return content[:first] + piece + content[first + len(piece) :]


def _inserted(content: bytes, draw: random.Random) -> bytes:
    first, last = _span(content, draw)
    return content[:first] + draw.randbytes(last - first) + content[first:]


def _doubled(content: bytes, draw: random.Random) -> bytes:
    first, last = _span(content, draw)
    return content[:last] + content[first:]


def _cut_off(content: bytes, draw: random.Random) -> bytes:
    first, last = _span(content, draw)
    return content[: first - last]


def _emptied(content: bytes, draw: random.Random) -> bytes:
    at = draw.randrange(len(content))
    return content[:at] + bytes(len(content) - at)


DAMAGES: dict[str, Change] = {
    "zeros": _instead(lambda size, _: bytes(size)),
    "bytes FF": _instead(lambda size, _: b"\xff" * size),
    "random bytes": _instead(lambda size, draw: draw.randbytes(size)),
    "another piece": _moved,
    "a piece dropped": _instead(lambda _, __: b""),
    "a piece inserted": _inserted,
    "a piece twice": _doubled,
    "cut off": _cut_off,
    "zeros to the end": _emptied,
}


# The scan


@dataclass(frozen=True)
class Variant:
    """A file, and whether it is sound."""

    encoding: str
    name: str
    content: bytes
    sound: bool


@dataclass
class Scan:
    """A scan in one encoding; `folder` holds its files while volumes are made."""

    encoding: str
    folder: Path
    _files: dict[str, ReceivedFile] = field(default_factory=dict)

    def __post_init__(self) -> None:
        (self.folder / "raw").mkdir(parents=True)
        for ds, frame in zip(self.series, self.frames, strict=True):
            self._put(ds.SOPInstanceUID, self.file(ds, self._plain(frame)))

    @cached_property
    def series(self) -> list[Dataset]:
        stack = SliceStack.oriented(count=SLICES, step=3.0, rows=SIZE, columns=SIZE, fov=300.0)
        bits = ENCODINGS[self.encoding].bits
        slope = 12.0 if bits == 8 else 1.0
        return make_series(Phantom(scale=0.75), stack, noise=12.0, bits_stored=bits, slope=slope)

    @cached_property
    def frames(self) -> list[bytes]:
        encode = ENCODINGS[self.encoding].encode
        return [encode(self.pixels(ds)) if encode else ds.PixelData for ds in self.series]

    @staticmethod
    def pixels(ds: Dataset) -> np.ndarray:
        dtype = np.uint8 if ds.BitsAllocated == 8 else np.uint16
        return np.frombuffer(ds.PixelData, dtype, SIZE * SIZE).reshape(SIZE, SIZE).copy()

    @cached_property
    def _sound(self) -> np.ndarray:
        return self._volume()[0]

    def _plain(self, frame: bytes) -> bytes:
        if ENCODINGS[self.encoding].encode is None:
            return frame
        return CONTAINERS["as it should be"](frame, random.Random(0))

    def file(self, ds: Dataset, value: bytes, length: bytes = UNDEFINED) -> bytes:
        """A file with this value of its pixel data, of this length."""
        encoding = ENCODINGS[self.encoding]
        whole = Dataset()
        whole.update({e.tag: e for e in ds if e.keyword != "PixelData"})
        whole.file_meta = ds.file_meta
        whole.file_meta.TransferSyntaxUID = uid.UID(encoding.syntax)
        if encoding.encode is None:
            pixels = self.pixels(ds)
            whole.PixelData = value
            if encoding.syntax == uid.ExplicitVRBigEndian:
                assert pixels.itemsize == 2
                whole.PixelData = np.frombuffer(value, "<u2").astype(">u2").tobytes()
            whole["PixelData"].VR = "OW"
            return _saved(whole)
        return _saved(whole) + b"\xe0\x7f\x10\x00OB\0\0" + length + value

    def variants(self, draws: int) -> Iterator[Variant]:
        """Sound ones, all of them, and so many of each damage."""
        encoding, ds, frame = ENCODINGS[self.encoding], self.series[PLACE], self.frames[PLACE]
        draw = random.Random(f"{SEED} {self.encoding}")
        if encoding.encode is None:
            yield Variant(self.encoding, "as it should be", self.file(ds, frame), True)
            yield from self._damaged_native(draw, draws)
            return
        for name, contain in CONTAINERS.items():
            yield Variant(self.encoding, name, self.file(ds, contain(frame, draw)), True)
        value = CONTAINERS["as it should be"](frame, draw)
        length = len(value).to_bytes(4, "little")
        yield Variant(self.encoding, "explicit length", self.file(ds, value, length), True)
        for name, change in SOUND[encoding.family].items():
            changed = self.file(ds, self._plain(change(frame, draw)))
            yield Variant(self.encoding, name, changed, True)
        for name, change in DAMAGES.items():
            for _ in range(draws):
                damaged = change(frame, draw)
                if damaged != frame:
                    content = self.file(ds, self._plain(damaged))
                    yield Variant(self.encoding, name, content, False)
        for _ in range(draws):
            content = DAMAGES["random bytes"](value[:40], draw) + value[40:]
            yield Variant(
                self.encoding, "random bytes at its beginning", self.file(ds, content), False
            )

    def _damaged_native(self, draw: random.Random, draws: int) -> Iterator[Variant]:
        """Damage to the bytes of the pixels, in the file as it lies on a disk."""
        content = self.file(self.series[PLACE], self.frames[PLACE])
        deflated = ENCODINGS[self.encoding].syntax == uid.DeflatedExplicitVRLittleEndian
        start = len(content) // 2 if deflated else len(content) - len(self.frames[PLACE])
        for name, change in DAMAGES.items():
            for _ in range(draws):
                damaged = content[:start] + change(content[start:], draw)
                if damaged != content:
                    yield Variant(self.encoding, name, damaged, False)

    def outcome(self, variant: Variant) -> str:
        """`accepted`, `refused`, `flagged`, `slight` or `wrong`."""
        name = self.series[PLACE].SOPInstanceUID
        sound, before = self._sound, self._files[name]
        path = self.folder / "raw" / f"{name}.dcm"
        whole = path.read_bytes()
        self._put(name, variant.content)
        try:
            check_whole(path)
            volume, flags = self._volume()
        except Fault:
            return "refused"
        finally:
            path.write_bytes(whole)
            self._files[name] = before
        if np.array_equal(volume, sound):
            return "accepted"
        if "slice_implausible" in flags:
            return "flagged"
        if volume.shape != sound.shape:
            return "wrong"
        off = np.abs(volume.astype(int) - sound) > OFF_HU
        return "wrong" if off.mean(axis=(1, 2)).max() > OFF_SHARE else "slight"

    def _put(self, name: str, content: bytes) -> None:
        (self.folder / "raw" / f"{name}.dcm").write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        syntax = ENCODINGS[self.encoding].syntax
        self._files[name] = ReceivedFile(name, len(content), digest, str(syntax))

    def _volume(self) -> tuple[np.ndarray, list[str]]:
        record = self.folder / "received.json"
        files = list(self._files.values())
        Received.of(self.series[0].SeriesInstanceUID, files, duplicate_files=0).write(record)
        rules = replace(volume_rules(), spacing_mm=None, clip_hu=(-1000, 1000))
        volume, made = make_volume(self.folder / "raw", record, rules)
        return volume.ct, made.flags


def _saved(ds: Dataset) -> bytes:
    stream = io.BytesIO()
    ds.save_as(stream, enforce_file_format=True)
    return stream.getvalue()
