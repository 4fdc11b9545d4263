"""Frames of every codec: what a complete codestream may look like, and how its end is proven.

What becomes of damaged ones is the sweep of tests/damage.
"""

from __future__ import annotations

import io
import itertools
from typing import Any

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from ctcohort.dicom.codestreams import jpeg, jpeg2000, jpeg_ls, rle
from ctcohort.dicom.codestreams.lossy import is_lossy
from ctcohort.dicom.encapsulation import BEGINNING, beginning_of, frames

EOI = b"\xff\xd9"


def chest(rows: int = 60, columns: int = 44) -> np.ndarray:
    """Twelve bits with edges, gradients and noise."""
    y, x = np.mgrid[:rows, :columns]
    body = np.where((x - 20) ** 2 + (y - 28) ** 2 < 400, 1060 + 3 * x, 20)
    noise = np.random.default_rng(7).normal(0, 12, body.shape)
    return np.clip(body + noise, 0, 4095).astype(np.uint16)


# JPEG


def lossless(pixels: np.ndarray, **options: Any) -> bytes:
    options = {"predictor": 1, "bitspersample": 12, **options}
    return bytes(imagecodecs.jpeg8_encode(pixels, lossless=True, **options))


def written(pixels: np.ndarray, *, rows: int = 0, shift: int = 0, bits: int = 12) -> bytes:
    """A lossless JPEG stream (predictor 1) with a restart marker after so many rows."""
    symbols = bytes(range(17))
    table = b"\xff\xc4" + (36).to_bytes(2, "big") + bytes([0, 0, 0, 0, 0, 17, *[0] * 11]) + symbols
    height, width = pixels.shape
    size = b"".join(value.to_bytes(2, "big") for value in (height, width))
    stream = b"\xff\xd8" + table + b"\xff\xc3\x00\x0b" + bytes([bits]) + size + b"\x01\x01\x11\x00"
    if rows:
        stream += b"\xff\xdd\x00\x04" + (rows * width).to_bytes(2, "big")
    stream += b"\xff\xda\x00\x08\x01\x01\x00\x01\x00" + bytes([shift])
    values = (pixels >> shift).astype(int)
    for number, start in enumerate(range(0, height, rows or height)):
        band = values[start : start + (rows or height)]
        expected = np.empty_like(band)
        expected[:, 1:] = band[:, :-1]
        expected[1:, 0] = band[:-1, 0]
        expected[0, 0] = 1 << (bits - shift - 1)
        code = ""
        for difference in (band - expected).ravel().tolist():
            length = abs(difference).bit_length()
            rest = difference if difference > 0 else difference + (1 << length) - 1
            code += f"{length:05b}" + (f"{rest:0{length}b}" if length else "")
        code += "1" * (-len(code) % 8)
        data = int(code, 2).to_bytes(len(code) // 8, "big").replace(b"\xff", b"\xff\x00")
        stream += (bytes([0xFF, 0xD0 + (number - 1) % 8]) if number else b"") + data
    return stream + EOI


@pytest.mark.parametrize("predictor", range(1, 8))
@pytest.mark.parametrize("bits", [8, 12, 13, 16])
def test_every_prediction_is_counted_to_the_last_bit(predictor: int, bits: int) -> None:
    noise = np.random.default_rng(bits).integers(0, 1 << bits, (23, 31))
    noise = noise.astype(np.uint8 if bits == 8 else np.uint16)
    for pixels in (noise, (chest() >> 4).astype(np.uint8) if bits == 8 else chest()):
        stream = lossless(pixels, predictor=predictor, bitspersample=bits)
        decoded, precision = jpeg.decode(stream)
        assert np.array_equal(decoded, pixels)
        assert precision == bits


@pytest.mark.parametrize("rows", [0, 1, 7, 60])
@pytest.mark.parametrize("shift", [0, 2])
def test_restart_intervals_and_point_transforms(rows: int, shift: int) -> None:
    pixels = chest() >> shift << shift
    stream = written(pixels, rows=rows, shift=shift)
    assert np.array_equal(jpeg.decode(stream)[0], pixels)
    if 0 < rows < 60:
        markers = [at for at in range(len(stream)) if stream[at : at + 2] in (b"\xff\xd0",)]
        at = markers[0]
        for broken in (stream[:at] + stream[at + 2 :], stream[: at - 2] + stream[at:]):
            with pytest.raises(ValueError, match="JPEG stream"):
                jpeg.decode(broken)


def coded_as_16_bits(stream: bytes) -> bool:
    return stream[stream.index(b"\xff\xc3") + 4] == 16


@pytest.mark.parametrize("step", [1, 32768])
def test_the_largest_difference_takes_no_further_bits(step: int) -> None:
    pixels = np.zeros((4, 6), np.uint16)
    pixels[1::2] = step
    pixels[:, 1::2] ^= step
    stream = lossless(pixels, bitspersample=16)
    assert coded_as_16_bits(stream)
    assert np.array_equal(jpeg.decode(stream)[0], pixels)


AFTER_EOI = [b"", b"\0", b"\xff", b"\xd9\x00", EOI, bytes(40), b"stale bytes", b"\xff\xd8\xff\xc3"]


@pytest.mark.parametrize("rest", AFTER_EOI)
def test_anything_may_follow_the_end_of_a_jpeg(rest: bytes) -> None:
    pixels = chest()
    assert np.array_equal(jpeg.decode(lossless(pixels) + rest)[0], pixels)
    assert np.array_equal(jpeg_ls.decode(imagecodecs.jpegls_encode(pixels) + rest)[0], pixels)
    lossy = imagecodecs.jpeg8_encode(pixels, level=95, bitspersample=12)
    assert np.array_equal(jpeg.decode(lossy + rest)[0], imagecodecs.jpeg8_decode(lossy))


@pytest.mark.parametrize("kept", [b"", b"\0", b"\xff"])
def test_a_jpeg_may_lack_its_end_marker_alone(kept: bytes) -> None:
    pixels = chest()
    assert np.array_equal(jpeg.decode(lossless(pixels)[:-2] + kept)[0], pixels)
    stream = imagecodecs.jpegls_encode(pixels)
    assert np.array_equal(jpeg_ls.decode(stream[:-2] + kept)[0], pixels)
    lossy = imagecodecs.jpeg8_encode(pixels, level=95, bitspersample=12)
    assert np.array_equal(jpeg.decode(lossy[:-2] + kept)[0], imagecodecs.jpeg8_decode(lossy))


def test_fill_bytes_before_the_end_marker_are_allowed() -> None:
    pixels = chest()
    assert np.array_equal(jpeg.decode(lossless(pixels)[:-2] + b"\xff\xff" + EOI)[0], pixels)


def test_a_zero_byte_before_the_end_marker_is_passed_over() -> None:
    """As one of the standard committee's own JPEG-LS samples has it."""
    pixels = chest()
    assert np.array_equal(jpeg.decode(lossless(pixels)[:-2] + b"\0" + EOI)[0], pixels)
    stream = imagecodecs.jpegls_encode(pixels)
    assert np.array_equal(jpeg_ls.decode(stream[:-2] + b"\0" + EOI)[0], pixels)
    with pytest.raises(imagecodecs.JpeglsError):
        jpeg_ls.decode(stream[:-2] + b"\0\0" + EOI)


@pytest.mark.parametrize("more", [b"\0\0\0", b"\x55", b"\0\x55", b"\xaa\xaa"])
def test_data_after_the_last_sample_are_not_passed_over(more: bytes) -> None:
    pixels = chest()
    for stream in (lossless(pixels), imagecodecs.jpeg8_encode(pixels, level=95, bitspersample=12)):
        with pytest.raises(ValueError, match="more than its image"):
            jpeg.decode(stream[:-2] + more + EOI)


@pytest.mark.parametrize("blocks", [1, 5, 48])
def test_restart_markers_of_a_sequential_jpeg(blocks: int) -> None:
    picture = io.BytesIO()
    Image.fromarray((chest() >> 4).astype(np.uint8)).save(
        picture, "JPEG", quality=95, restart_marker_blocks=blocks
    )
    stream = picture.getvalue()
    decoded, precision = jpeg.decode(stream)
    assert (decoded.shape, precision) == ((60, 44), 8)
    if blocks < 48:
        at = stream.index(b"\xff\xd0", stream.index(b"\xff\xda"))
        with pytest.raises(ValueError, match="JPEG stream"):
            jpeg.decode(stream[: at - 3] + stream[at:])


def test_a_progressive_jpeg_is_named() -> None:
    picture = io.BytesIO()
    pixels = (chest() >> 4).astype(np.uint8)
    Image.fromarray(pixels).save(picture, "JPEG", progressive=True)
    with pytest.raises(ValueError, match=r"SOF2|marker FFDA|FFC4"):
        jpeg.decode(picture.getvalue())


# JPEG 2000


def j2k(pixels: np.ndarray, **options: Any) -> bytes:
    picture = io.BytesIO()
    Image.fromarray(pixels).save(picture, "JPEG2000", no_jp2=True, **options)
    return picture.getvalue()


ORDERS = ["LRCP", "RLCP", "RPCL", "PCRL", "CPRL"]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"quality_layers": [20, 5, 1]},
        {"codeblock_size": (4, 16), "num_resolutions": 3},
        {"precinct_size": (32, 16), "codeblock_size": (16, 16), "quality_layers": [9, 2]},
        {"tile_size": (40, 24), "num_resolutions": 2},
        {"tile_size": (33, 50), "precinct_size": (32, 32), "num_resolutions": 3},
        {"irreversible": True, "quality_layers": [8]},
        {"num_resolutions": 1},
    ],
)
def test_packets_of_every_order_end_with_their_tile(order: str, options: dict[str, Any]) -> None:
    pixels = (chest(150, 130) >> 4).astype(np.uint8)
    stream = j2k(pixels, progression=order, **options)
    decoded, precision = jpeg2000.decode(stream)
    assert (decoded.shape, precision) == (pixels.shape, 8)
    if not {"quality_layers", "irreversible"} & set(options):
        assert np.array_equal(decoded, pixels)
    at = stream.rindex(b"\xff\x90\x00\x0a")
    length = int.from_bytes(stream[at + 6 : at + 10], "big")
    head, tail = stream[: at + 6], stream[at + 10 : at + length]
    longer = head + (length + 1).to_bytes(4, "big") + tail + b"\x55" + EOI
    with pytest.raises(ValueError, match="packets end 1 bytes before their tile"):
        jpeg2000.decode(longer)
    shorter = head + (length - 1).to_bytes(4, "big") + tail[:-1] + EOI
    with pytest.raises(ValueError, match="packets end 1 bytes after their tile"):
        jpeg2000.decode(shorter)


@pytest.mark.parametrize("rest", [b"", EOI, EOI + b"\0", EOI + b"stale", b"\xff"])
def test_a_codestream_ends_with_its_last_packet(rest: bytes) -> None:
    pixels = chest()
    encoded = (
        imagecodecs.jpeg2k_encode(pixels, level=0, codecformat="j2k"),
        imagecodecs.jpeg2k_encode(pixels, level=0, codecformat="jp2"),
        imagecodecs.htj2k_encode(pixels, reversible=True),
    )
    for stream in encoded:
        assert np.array_equal(jpeg2000.decode(bytes(stream[:-2]) + rest)[0], pixels)


def test_a_tile_part_may_leave_its_length_open() -> None:
    stream = bytes(imagecodecs.jpeg2k_encode(chest(), level=0, codecformat="j2k"))
    at = stream.index(b"\xff\x90") + 6
    assert np.array_equal(jpeg2000.decode(stream[:at] + bytes(4) + stream[at + 4 :])[0], chest())


# RLE


def packed(plane: np.ndarray, *, by_row: bool = True) -> bytes:
    """A plane as runs, row by row as PS3.5 G.3.1 asks, or over the ends of rows."""
    rows = plane if by_row else plane.reshape(1, -1)
    return b"".join(bytes(imagecodecs.packbits_encode(row.tobytes())) for row in rows)


def rle_frame(segments: list[bytes]) -> bytes:
    offsets = list(itertools.accumulate([64, *map(len, segments)]))[: len(segments)]
    header = np.array([len(segments), *offsets, *[0] * (15 - len(segments))], "<u4")
    return header.tobytes() + b"".join(segments)


PADDINGS = [b"", b"\0", bytes(2), bytes(9), b"\x80", b"\x80" * 6, b"\0\x80\0", b"\x80\0\0"]


@pytest.mark.parametrize("by_row", [True, False])
@pytest.mark.parametrize("rest", PADDINGS)
def test_padding_may_follow_an_rle_segment(rest: bytes, by_row: bool) -> None:
    pixels = chest()
    planes = [packed(plane, by_row=by_row) for plane in (pixels >> 8, pixels & 255)]
    planes = [packed(p.astype(np.uint8), by_row=by_row) for p in (pixels >> 8, pixels & 255)]
    frame = rle_frame([plane + rest for plane in planes])
    assert np.array_equal(rle.decode(frame, *pixels.shape, 2), pixels)


@pytest.mark.parametrize("rest", [b"garbage", b"\x05", b"\x7f" * 30, b"\xff\xd9\x00"])
def test_anything_may_follow_where_rows_are_kept_apart(rest: bytes) -> None:
    pixels = chest()
    planes = [packed(p.astype(np.uint8)) + rest for p in (pixels >> 8, pixels & 255)]
    assert np.array_equal(rle.decode(rle_frame(planes), *pixels.shape, 2), pixels)


def test_a_segment_must_end_where_its_plane_does() -> None:
    pixels = chest()
    high, low = (packed(p.astype(np.uint8)) for p in (pixels >> 8, pixels & 255))
    for segments in ([high, low[:-2]], [high[:-2], low], [high], [high, low, low]):
        with pytest.raises(ValueError, match="RLE"):
            rle.decode(rle_frame(segments), *pixels.shape, 2)


# Fragments


def item(content: bytes, length: int | None = None) -> bytes:
    return (
        b"\xfe\xff\x00\xe0" + (len(content) if length is None else length).to_bytes(4, "little")
    ) + content


def table(*offsets: int) -> bytes:
    return item(b"".join(offset.to_bytes(4, "little") for offset in offsets))


JPEGS = [b"\xff\xd8" + bytes([n]) * (20 + 2 * n) for n in range(3)]
WHOLE = b"".join(map(item, JPEGS))
DELIMITER = b"\xfe\xff\xdd\xe0\x00\x00\x00\x00"


@pytest.mark.parametrize("offsets", [table(), table(0), table(0, 0, 0), table(0, 30, 60), b""])
@pytest.mark.parametrize(
    "end", [DELIMITER, DELIMITER[:5], b"", bytes(8), DELIMITER[:4] + b"\xff" * 4, bytes(3)]
)
def test_as_many_fragments_as_frames_are_the_frames(offsets: bytes, end: bytes) -> None:
    assert frames(offsets + WHOLE + end, 3) == JPEGS


@pytest.mark.parametrize("offsets", [table(), table(0), b""])
def test_one_frame_has_all_fragments(offsets: bytes) -> None:
    parts = [b"\xff\xd8abcd", b"efgh", b"\xff\xd8ij"]
    assert frames(offsets + b"".join(map(item, parts)), 1) == [b"".join(parts)]


@pytest.mark.parametrize("offsets", [table(0, 38), table(), table(0, 1), table(0), b""])
def test_frames_of_several_fragments_are_told_apart(offsets: bytes) -> None:
    parts = [b"\xff\xd8abcd", b"efghijklmn", b"\xff\xd8ij", b"kl"]
    value = offsets + b"".join(map(item, parts)) + DELIMITER
    assert frames(value, 2) == [parts[0] + parts[1], parts[2] + parts[3]]


def test_the_offset_table_tells_rle_frames_apart() -> None:
    parts = [b"abcd", b"efgh", b"ijkl"]
    assert frames(table(0, 24) + b"".join(map(item, parts)), 2) == [b"abcdefgh", b"ijkl"]
    with pytest.raises(ValueError, match="3 fragments cannot be told apart into 2 frames"):
        frames(table() + b"".join(map(item, parts)), 2)


def test_frames_that_are_missing_are_counted() -> None:
    with pytest.raises(ValueError, match="holds 3 of 4 frames"):
        frames(table() + WHOLE, 4)
    damaged = table() + item(JPEGS[0]) + bytes(8) + JPEGS[1] + item(JPEGS[2])
    with pytest.raises(ValueError, match="holds 1 of 3 frames"):
        frames(damaged, 3)


def test_a_fragment_that_is_cut_off_is_left_to_its_codec() -> None:
    assert frames(table() + item(JPEGS[0][:-4], len(JPEGS[0])), 1) == [JPEGS[0][:-4]]


# What a stream says of its loss

LOSSY = {
    "JPEG": imagecodecs.jpeg8_encode(chest(), level=90, bitspersample=12),
    "JPEG, 8 bits": imagecodecs.jpeg8_encode((chest() >> 4).astype(np.uint8), level=90),
    "JPEG with a point transform": written(chest(), shift=2),
    "JPEG-LS": imagecodecs.jpegls_encode(chest(), level=1),
    "JPEG 2000": imagecodecs.jpeg2k_encode(
        chest(), level=60, codecformat="j2k", bitspersample=12, reversible=False
    ),
    "JP2": imagecodecs.jpeg2k_encode(chest(), level=60, codecformat="jp2", reversible=False),
    "HTJ2K": imagecodecs.htj2k_encode(chest(), level=0.01, reversible=False),
}
NOT_LOSSY = {
    "JPEG": lossless(chest()),
    "JPEG, last prediction": lossless(chest(), predictor=7),
    "JPEG-LS": imagecodecs.jpegls_encode(chest()),
    "JPEG 2000": imagecodecs.jpeg2k_encode(chest(), level=0, codecformat="j2k"),
    "JP2": imagecodecs.jpeg2k_encode(chest(), level=0, codecformat="jp2"),
    "HTJ2K": imagecodecs.htj2k_encode(chest(), reversible=True),
    "nothing": b"",
    "RLE": bytes(64),
}


@pytest.mark.parametrize("name", LOSSY)
def test_a_lossy_stream_says_so_in_its_header(name: str) -> None:
    stream = bytes(LOSSY[name])
    assert is_lossy(stream)
    whole = next(end for end in range(len(stream)) if is_lossy(stream[:end]))
    assert whole < BEGINNING
    assert all(is_lossy(stream[:end]) for end in range(whole, min(len(stream), whole + 200)))


@pytest.mark.parametrize("name", NOT_LOSSY)
def test_no_other_stream_says_so_wherever_it_ends(name: str) -> None:
    stream = bytes(NOT_LOSSY[name])
    assert not any(is_lossy(stream[:end]) for end in range(min(len(stream), 600) + 1))
    assert not is_lossy(stream)


@pytest.mark.parametrize("table", [None, b"", bytes(4), bytes(40_000)])
def test_the_first_stream_is_found_behind_any_offset_table(table: bytes | None) -> None:
    stream = bytes(LOSSY["JPEG 2000"])
    items = [part for part in (table, stream) if part is not None]
    value = b"".join(b"\xfe\xff\x00\xe0" + len(i).to_bytes(4, "little") + i for i in items)
    assert beginning_of(io.BytesIO(b"head" + value), 4) == stream[:BEGINNING]
    assert beginning_of(io.BytesIO(b"head"), 4) == b""
