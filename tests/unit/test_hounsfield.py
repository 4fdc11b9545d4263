"""Stored values to Hounsfield units: every transfer syntax, and padding."""

from __future__ import annotations

import copy
import io
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from pydicom import dcmread, uid
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames

from ctcohort.base.faults import Fault
from ctcohort.dicom import pixels
from ctcohort.dicom.pixels import Padding, check_decoder, padding_of, stored_values
from ctcohort.phantoms.anatomy import Phantom
from ctcohort.phantoms.stack import SliceStack
from ctcohort.phantoms.writer import make_series, write_files
from ctcohort.volume.padding import is_padding

# Padding


def padded(value: int, limit: int | None = None, *, signed: int = 1, bits: int = 16) -> Dataset:
    ds = Dataset()
    ds.BitsAllocated, ds.PixelRepresentation, ds.PixelPaddingValue = bits, signed, value
    if limit is not None:
        ds.PixelPaddingRangeLimit = limit
    return ds


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        (padded(63536), Padding(-2000, -2000)),
        (padded(-2000), Padding(-2000, -2000)),
        (padded(63536, signed=0), Padding(63536, 63536)),
        (padded(-2000, signed=0), Padding(63536, 63536)),
        (padded(32768), Padding(-32768, -32768)),
        (padded(32767), Padding(32767, 32767)),
        (padded(0), Padding(0, 0)),
        (padded(-2000, -1500), Padding(-2000, -1500)),
        (padded(-1500, -2000), Padding(-2000, -1500)),
        (padded(63536, 64036), Padding(-2000, -1500)),
        (padded(255, bits=8, signed=0), Padding(255, 255)),
        (padded(255, bits=8), Padding(-1, -1)),
        (Dataset(), None),
    ],
)
def test_padding_is_read_with_the_signedness_of_the_pixels(
    dataset: Dataset, expected: Padding | None
) -> None:
    assert padding_of(dataset) == expected


@pytest.mark.parametrize("written", [63536, -2000])
@pytest.mark.parametrize("syntax", [uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian])
def test_padding_of_a_file_is_the_value_its_pixels_have(
    tmp_path: Path, written: int, syntax: str
) -> None:
    (ds,) = make_series(
        Phantom(),
        SliceStack.axial(count=1, rows=16, columns=16),
        bits_stored=16,
        pixel_representation=1,
        padding=-2000,
    )
    ds["PixelPaddingValue"].VR = "US" if written > 0 else "SS"
    ds["PixelPaddingValue"].value = written
    (path,) = write_files([ds], tmp_path, transfer_syntax=syntax)
    read = dcmread(path)
    values = stored_values(read)[0]
    mask, unapplied = is_padding(values, padding_of(read), slope=1, intercept=0)
    assert mask is not None
    assert unapplied == 0
    assert mask[0, 0]
    assert not mask[8, 8]
    assert np.array_equal(mask, values == -2000)


def test_air_padding_applies_everywhere_in_its_range() -> None:
    values = np.array([[-2000, 0, 0], [0, -1500, 0], [0, 0, -1499]], np.int16)
    mask, unapplied = is_padding(values, Padding(-2000, -1500), slope=1, intercept=0)
    assert mask is not None
    assert mask.tolist() == [[True, False, False], [False, True, False], [False] * 3]
    assert unapplied == 0


def test_high_padding_applies_only_where_it_reaches_the_border() -> None:
    values = np.full((7, 7), 50, np.int16)
    values[:3, :2] = 0  # touches the border
    values[3, 2] = 0  # touches that by a corner only
    values[4, 4] = 0  # water inside the body
    mask, unapplied = is_padding(values, Padding(0, 0), slope=1, intercept=0)
    expected = np.zeros((7, 7), bool)
    expected[:3, :2] = True
    assert mask is not None
    assert np.array_equal(mask, expected)
    assert unapplied == 2


@pytest.mark.parametrize(("intercept", "everywhere"), [(-900, True), (-899, False)])
def test_what_counts_as_high_is_judged_in_hounsfield_units(
    intercept: int, everywhere: bool
) -> None:
    values = np.ones((5, 5), np.uint16)
    values[2, 2] = 0
    mask, unapplied = is_padding(values, Padding(0, 0), slope=1, intercept=intercept)
    assert mask is not None
    assert (bool(mask[2, 2]), unapplied) == (everywhere, int(not everywhere))


def test_without_padding_there_is_no_mask() -> None:
    values = np.ones((3, 3), np.uint16)
    assert is_padding(values, None, slope=1, intercept=0) == (None, 0)
    assert is_padding(values, Padding(0, 0), slope=1, intercept=0) == (None, 0)


def test_padding_that_does_not_fit_the_stored_bits_is_told_from_an_overlay(tmp_path: Path) -> None:
    """Of 12 stored bits in 16: an overlay's bits are dropped, a padding of 63536 is kept whole."""
    (ds,) = make_series(Phantom(), SliceStack.axial(count=1, rows=16, columns=16))
    ds.PixelPaddingValue = 63536
    words = np.frombuffer(ds.PixelData, "<u2").reshape(16, 16).copy()
    truth = words.copy()
    words[4:8] |= 0x8000
    words[0] = truth[0] = 63536
    ds.PixelData = words.tobytes()
    (path,) = write_files([ds], tmp_path)
    values = stored_values(dcmread(path))[0]
    assert np.array_equal(values, truth)
    mask, _ = is_padding(values, padding_of(ds), slope=1, intercept=-1024)
    assert mask is not None
    assert np.array_equal(np.flatnonzero(mask.any(axis=1)), [0])


def test_an_empty_padding_is_none_and_one_that_is_repeated_is_one() -> None:
    assert padding_of(padded(None, signed=0)) is None  # type: ignore[arg-type]
    assert padding_of(padded([5, 5], signed=0)) == Padding(5, 5)  # type: ignore[arg-type]


@pytest.mark.parametrize("nothing", [b"", ""])
def test_a_padding_that_is_written_as_bytes_or_text_may_be_empty(nothing: bytes | str) -> None:
    ds = padded(0)
    ds["PixelPaddingValue"] = DataElement(
        "PixelPaddingValue", "OB" if nothing == b"" else "LO", nothing
    )
    assert padding_of(ds) is None


@pytest.mark.parametrize(("little", "expected"), [(True, 0x3412), (False, 0x1234), (None, 0x3412)])
def test_bytes_of_a_padding_are_in_the_order_of_its_file(
    little: bool | None, expected: int
) -> None:
    ds = padded(0)
    ds["PixelPaddingValue"] = DataElement("PixelPaddingValue", "OW", b"\x12\x34")
    ds.set_original_encoding(False, little)  # type: ignore[arg-type]
    assert padding_of(ds) == Padding(expected, expected)


def test_a_padding_of_two_values_is_a_fault() -> None:
    with pytest.raises(Fault, match=r"PixelPaddingValue .* is not one number") as caught:
        padding_of(padded([0, 63536], signed=0))  # type: ignore[arg-type]
    assert caught.value.reason == "undecodable_pixels"


@pytest.mark.parametrize(("first", "everywhere"), [(900, True), (899, False)])
def test_what_counts_as_high_is_the_higher_end_of_a_range_in_hounsfield_units(
    first: int, everywhere: bool
) -> None:
    values = np.ones((5, 5), np.int16)
    values[2, 2] = 1000
    mask, unapplied = is_padding(values, Padding(first, 1000), slope=-1, intercept=0)
    assert mask is not None
    assert (bool(mask[2, 2]), unapplied) == (everywhere, int(not everywhere))


@pytest.mark.parametrize("edge", [(0, 2), (4, 2), (2, 0), (2, 4)])
def test_padding_touches_the_border_on_every_side(edge: tuple[int, int]) -> None:
    values = np.full((5, 5), 50, np.int16)
    values[edge] = values[2, 2] = 0
    mask, unapplied = is_padding(values, Padding(0, 0), slope=1, intercept=0)
    assert mask is not None
    assert (np.argwhere(mask).tolist(), unapplied) == ([list(edge)], 1)


# What the header says of plain pixels


def plain(values: list[int], dtype: str = "<u2", **elements: object) -> Dataset:
    """One row of stored values, 16 bits of which 12 are stored unless something else is said."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    ds.Rows, ds.Columns = 1, len(values)
    ds.BitsAllocated, ds.BitsStored, ds.PixelRepresentation = 16, 12, 0
    ds.PixelData = np.array(values, dtype).tobytes()
    for keyword, value in elements.items():
        if value is None:
            ds.pop(keyword, None)
        else:
            setattr(ds, keyword, value)
    return ds


@pytest.mark.parametrize(
    ("values", "elements", "expected"),
    [
        ([0, 1, 4095], {}, [0, 1, 4095]),
        ([0x8001, 0x1FFF], {}, [1, 4095]),  # an overlay
        ([2047, 2048, 4095], {"PixelRepresentation": 1}, [2047, -2048, -1]),  # not extended
        ([2047, 0xF800, 0xFFFF], {"PixelRepresentation": 1}, [2047, -2048, -1]),
        ([0x8001, 0x1FFF], {"BitsStored": None}, [0x8001, 0x1FFF]),
        ([0x8001, 0x1FFF], {"BitsStored": 16}, [0x8001, 0x1FFF]),
        ([0x8001, 0x1FFF], {"BitsStored": 13}, [1, 0x1FFF]),
        ([0x8000, 5], {"BitsStored": 16, "PixelRepresentation": 1}, [-32768, 5]),
        ([1, 2], {"SamplesPerPixel": 1}, [1, 2]),
        ([1, 4095], {"PixelRepresentation": None}, [1, 4095]),
        ([1, 2], {"NumberOfFrames": None}, [1, 2]),
        ([1, 2], {"HighBit": 11}, [1, 2]),
        ([1, 2], {"HighBit": 0}, [1, 2]),
    ],
)
def test_the_stored_bits_count_in_the_signedness_of_the_pixels(
    values: list[int], elements: dict[str, object], expected: list[int]
) -> None:
    stored = stored_values(plain(values, **elements))
    assert stored.shape == (1, 1, len(values))
    assert stored.dtype.kind == "ui"[elements.get("PixelRepresentation") == 1]
    assert stored.ravel().tolist() == expected


@pytest.mark.parametrize(
    ("padding", "limit", "expected"),
    [
        (63000, None, [5, 63000, 63001 & 4095, 1]),
        (63000, 63001, [5, 63000, 63001, 1]),
        (62000, 63000, [5, 63000, 63001 & 4095, 1]),
        (5, None, [5, 63000 & 4095, 63001 & 4095, 1]),
        (4095, 63000, [5, 63000, 63001 & 4095, 0x8001]),
        (4095, 4095, [5, 63000 & 4095, 63001 & 4095, 1]),
    ],
)
def test_padding_that_does_not_fit_into_the_stored_bits_stays_what_it_is(
    padding: int, limit: int | None, expected: list[int]
) -> None:
    elements = {"PixelPaddingValue": padding, "PixelPaddingRangeLimit": limit}
    given = {keyword: value for keyword, value in elements.items() if value is not None}
    assert stored_values(plain([5, 63000, 63001, 0x8001], **given)).ravel().tolist() == expected


def test_padding_below_the_stored_bits_stays_what_it_is_where_pixels_are_signed() -> None:
    ds = plain([5, 0xF000, 0x0FFF], PixelRepresentation=1, PixelPaddingValue=-4096)
    ds["PixelPaddingValue"].VR = "SS"
    assert stored_values(ds).ravel().tolist() == [5, -4096, -1]


def test_frames_and_rows_come_in_their_order() -> None:
    ds = plain(list(range(12)), NumberOfFrames=2, Rows=3, Columns=2)
    assert stored_values(ds).tolist() == np.arange(12).reshape(2, 3, 2).tolist()


def test_pixels_of_8_and_32_bits_are_read() -> None:
    bytes8 = plain([1, 255], "u1", BitsAllocated=8, BitsStored=8)
    assert stored_values(bytes8).ravel().tolist() == [1, 255]
    words = plain([-1, 70000], "<i4", BitsAllocated=32, BitsStored=32, PixelRepresentation=1)
    assert stored_values(words).ravel().tolist() == [-1, 70000]


def test_pixels_can_come_beside_their_dataset() -> None:
    ds = plain([1, 2], PixelData=None)
    data = memoryview(np.array([7, 8], "<u2").tobytes())
    assert stored_values(ds, data).ravel().tolist() == [7, 8]


def test_the_named_elements_are_all_that_pixels_and_padding_need() -> None:
    whole = plain([5, 63000, 63001, 7], Rows=2, Columns=2, NumberOfFrames=1, SamplesPerPixel=1)
    whole.PixelPaddingValue, whole.PixelPaddingRangeLimit = 63000, 63001
    needed = [element for element in whole if element.keyword in pixels.PIXEL_KEYWORDS]
    part = Dataset()
    part.file_meta = whole.file_meta
    part.update({element.tag: element for element in needed})
    data = memoryview(whole.PixelData)
    assert stored_values(part, data).tolist() == [[[5, 63000], [63001, 7]]]
    assert padding_of(part) == Padding(63000, 63001)
    assert "HighBit" in pixels.PIXEL_KEYWORDS


@pytest.mark.parametrize("high", [12, 15])
def test_values_that_do_not_begin_at_bit_0_are_a_fault(high: int) -> None:
    with pytest.raises(Fault, match=f"HighBit is {high} with BitsStored 12, expected 11") as caught:
        stored_values(plain([1, 2], HighBit=high))
    assert caught.value.reason == "undecodable_pixels"


def test_too_few_pixels_are_a_fault() -> None:
    with pytest.raises(Fault) as caught:
        stored_values(plain([1, 2], Columns=3))
    assert caught.value.reason == "undecodable_pixels"


# Decoding


ENCAPSULATED_UNCOMPRESSED = uid.UID("1.2.840.10008.1.2.1.98")


def image(bits: int, signed: int) -> Dataset:
    (ds,) = make_series(
        Phantom(),
        SliceStack.axial(count=1, rows=64, columns=48, pixel_spacing=7.0),
        bits_stored=bits,
        pixel_representation=signed,
        intercept=0 if signed else -1024,
    )
    return ds


def with_frame(ds: Dataset, syntax: str, frame: bytes) -> Dataset:
    packed = copy.deepcopy(ds)
    packed.file_meta.TransferSyntaxUID = uid.UID(syntax)
    packed.PixelData = encapsulate([frame])
    packed["PixelData"].is_undefined_length = True
    stream = io.BytesIO()
    packed.save_as(stream, enforce_file_format=True)
    stream.seek(0)
    return dcmread(stream)


def stored(ds: Dataset) -> np.ndarray:
    dtype = "<i2" if ds.PixelRepresentation else "<u2"
    return np.frombuffer(ds.PixelData, dtype).reshape(ds.Rows, ds.Columns)


NATIVE = [
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
    uid.DeflatedExplicitVRLittleEndian,
]


@pytest.mark.parametrize("syntax", [*NATIVE, uid.RLELossless, uid.JPEG2000Lossless])
@pytest.mark.parametrize(("bits", "signed"), [(12, 0), (16, 0), (16, 1), (12, 1)])
def test_every_lossless_syntax_that_pydicom_writes_gives_the_same_values(
    tmp_path: Path, syntax: str, bits: int, signed: int
) -> None:
    ds = image(bits, signed)
    (path,) = write_files([ds], tmp_path, transfer_syntax=syntax)
    values = stored_values(dcmread(path))
    assert values.dtype.kind == "ui"[signed]
    assert np.array_equal(values, stored(ds)[None])


@pytest.mark.parametrize("bits", [12, 16])
@pytest.mark.parametrize("syntax", [uid.JPEGLSLossless, uid.JPEGLosslessSV1, uid.JPEGLossless])
def test_lossless_jpegs_give_the_same_values(syntax: str, bits: int) -> None:
    ds = image(bits, 0)
    codec = imagecodecs.jpegls_encode if syntax == uid.JPEGLSLossless else imagecodecs.ljpeg_encode
    options = {} if syntax == uid.JPEGLSLossless else {"bitspersample": bits}
    packed = with_frame(ds, syntax, bytes(codec(np.ascontiguousarray(stored(ds)), **options)))
    assert np.array_equal(stored_values(packed), stored(ds)[None])


@pytest.mark.parametrize("bits", [10, 12, 14, 15, 16])
@pytest.mark.parametrize("predictor", [1, 4, 7])
def test_lossless_jpegs_of_every_precision_and_prediction(bits: int, predictor: int) -> None:
    ds = image(bits, 0)
    stored = np.random.default_rng(bits).integers(0, 1 << bits, (64, 48), np.uint16)
    frame = imagecodecs.jpeg8_encode(stored, lossless=True, predictor=predictor, bitspersample=bits)
    assert np.array_equal(stored_values(with_frame(ds, uid.JPEGLossless, frame))[0], stored)


@pytest.mark.parametrize("syntax", [uid.JPEGLosslessSV1, uid.JPEGLSLossless, uid.JPEG2000Lossless])
@pytest.mark.parametrize(("bits", "signed"), [(12, 0), (16, 1), (12, 1)])
def test_what_phantoms_compress_comes_back(
    tmp_path: Path, syntax: str, bits: int, signed: int
) -> None:
    ds = image(bits, signed)
    (path,) = write_files([ds], tmp_path, transfer_syntax=syntax)
    assert np.array_equal(stored_values(dcmread(path))[0], stored(ds))


@pytest.mark.parametrize("kept", [0.5, 0.9, 0.999])
@pytest.mark.parametrize(
    "syntax", [uid.JPEGLosslessSV1, uid.JPEGLSLossless, uid.JPEG2000Lossless, uid.RLELossless]
)
def test_a_compressed_frame_that_is_cut_off_is_a_fault(
    tmp_path: Path, syntax: str, kept: float
) -> None:
    ds = image(12, 0)
    (path,) = write_files([ds], tmp_path, transfer_syntax=syntax)
    (frame,) = generate_frames(dcmread(path).PixelData, number_of_frames=1)
    with pytest.raises(Fault) as caught:
        stored_values(with_frame(ds, syntax, frame[: int(kept * (len(frame) - 2))]))
    assert caught.value.reason == "undecodable_pixels"


def test_near_lossless_jpeg_ls_stays_within_its_bound() -> None:
    ds = image(12, 0)
    frame = imagecodecs.jpegls_encode(np.ascontiguousarray(stored(ds)), level=3)
    values = stored_values(with_frame(ds, uid.JPEGLSNearLossless, bytes(frame)))[0]
    error = np.abs(values.astype(int) - stored(ds)).max()
    assert 0 < error <= 3


def test_lossy_jpeg_2000_stays_near() -> None:
    ds = image(12, 0)
    frame = imagecodecs.jpeg2k_encode(stored(ds), level=70, codecformat="J2K", bitspersample=12)
    values = stored_values(with_frame(ds, uid.JPEG2000, bytes(frame)))[0]
    error = np.abs(values.astype(int) - stored(ds))
    assert 0 < error.max() < 60


def test_baseline_jpeg_stays_near() -> None:
    (ds,) = make_series(
        Phantom(),
        SliceStack.axial(count=1, rows=64, columns=48, pixel_spacing=7.0),
        bits_stored=8,
        slope=12.0,
        noise=0,
    )
    whole = np.frombuffer(ds.PixelData, np.uint8)[: 64 * 48].reshape(64, 48)
    frame = imagecodecs.jpeg8_encode(np.ascontiguousarray(whole), level=98)
    values = stored_values(with_frame(ds, uid.JPEGBaseline8Bit, bytes(frame)))[0]
    assert np.abs(values.astype(int) - whole).max() < 12


@pytest.mark.parametrize("bits", [8, 12])
def test_sequential_jpeg_of_8_and_12_bits_stays_near(bits: int) -> None:
    ds = image(12, 0)
    whole = np.ascontiguousarray(stored(ds) >> (12 - bits)).astype(f"u{1 + (bits > 8)}")
    frame = imagecodecs.jpeg8_encode(whole, level=98, bitspersample=bits)
    values = stored_values(with_frame(ds, uid.JPEGExtended12Bit, bytes(frame)))[0]
    assert 0 < np.abs(values.astype(int) - whole).max() < 25


@pytest.mark.parametrize("syntax", [uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K])
@pytest.mark.parametrize(("bits", "signed"), [(12, 0), (16, 1)])
def test_high_throughput_jpeg_2000_gives_the_same_values(
    syntax: str, bits: int, signed: int
) -> None:
    ds = image(bits, signed)
    frame = imagecodecs.htj2k_encode(np.ascontiguousarray(stored(ds)), reversible=True)
    assert np.array_equal(stored_values(with_frame(ds, syntax, bytes(frame)))[0], stored(ds))


@pytest.mark.parametrize(("bits", "signed"), [(12, 0), (16, 1)])
def test_encapsulated_uncompressed_pixels_are_the_same(bits: int, signed: int) -> None:
    ds = image(bits, signed)
    packed = with_frame(ds, ENCAPSULATED_UNCOMPRESSED, ds.PixelData)
    assert np.array_equal(stored_values(packed)[0], stored(ds))
    with pytest.raises(Fault, match="a frame has 6142 bytes, expected 6144"):
        stored_values(with_frame(ds, ENCAPSULATED_UNCOMPRESSED, ds.PixelData[:-2]))


@pytest.mark.parametrize(
    ("syntax", "bits"),
    [(uid.JPEGLosslessSV1, 12), (uid.JPEGLosslessSV1, 13), (uid.JPEGLSLossless, 8)],
)
def test_the_precision_of_the_stream_counts_under_a_header_that_says_more(
    syntax: str, bits: int
) -> None:
    """-5 in 13 bits is 8187: under a header of 16 signed bits it must not stay that."""
    ds = image(16, 1)
    truth = np.clip(stored(ds), -(1 << bits - 1), (1 << bits - 1) - 1)
    coded = (truth & (1 << bits) - 1).astype(np.uint8 if bits == 8 else np.uint16)
    if syntax == uid.JPEGLSLossless:
        frame = imagecodecs.jpegls_encode(coded)
    else:
        frame = imagecodecs.jpeg8_encode(coded, lossless=True, predictor=1, bitspersample=bits)
    values = stored_values(with_frame(ds, syntax, bytes(frame)))[0]
    assert values.min() < 0
    assert np.array_equal(values, truth)


def test_every_syntax_with_a_codec_is_decoded_in_these_tests() -> None:
    tested = {uid.RLELossless, uid.JPEG2000Lossless, uid.JPEG2000, uid.JPEGBaseline8Bit}
    tested |= {uid.JPEGLossless, uid.JPEGLosslessSV1, uid.JPEGLSLossless, uid.JPEGLSNearLossless}
    tested |= {uid.JPEGExtended12Bit, uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K}
    tested |= {ENCAPSULATED_UNCOMPRESSED}
    assert set(pixels.CODECS) == tested
    for syntax in pixels.CODECS:
        check_decoder(syntax)


# What cannot be decoded


def test_a_missing_codec_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Missing:
        available = False

    monkeypatch.setattr(pixels.imagecodecs, "JPEGLS", Missing)
    check_decoder(uid.JPEG2000Lossless)
    with pytest.raises(Fault, match=r"needs the codec jpegls, which the installed") as caught:
        check_decoder(uid.JPEGLSLossless)
    assert caught.value.reason == "undecodable_pixels"
    assert uid.JPEGLSLossless.name in str(caught.value)


def test_a_syntax_without_any_decoder_is_named() -> None:
    with pytest.raises(Fault, match="no decoder exists for MPEG2") as caught:
        check_decoder(uid.MPEG2MPML)
    assert caught.value.reason == "undecodable_pixels"


def test_damaged_pixels_are_a_fault(tmp_path: Path) -> None:
    ds = image(12, 0)
    (path,) = write_files([ds], tmp_path, transfer_syntax=uid.JPEG2000Lossless)
    damaged = with_frame(dcmread(path), uid.JPEG2000Lossless, b"\xff\x4f\xff\x51" + bytes(200))
    with pytest.raises(Fault) as caught:
        stored_values(damaged)
    assert caught.value.reason == "undecodable_pixels"


def test_colour_is_a_fault() -> None:
    ds = image(12, 0)
    ds.SamplesPerPixel = 3
    with pytest.raises(Fault, match="more than one sample per pixel") as caught:
        stored_values(ds)
    assert caught.value.reason == "undecodable_pixels"


def test_compressed_pixels_are_unsigned_unless_the_header_says_otherwise() -> None:
    ds = plain([1, 0x7FFF], BitsStored=16, PixelRepresentation=None)
    ds.file_meta.TransferSyntaxUID = ENCAPSULATED_UNCOMPRESSED
    stored = stored_values(ds, memoryview(encapsulate([ds.PixelData])))
    assert (stored.dtype.kind, stored.ravel().tolist()) == ("u", [1, 0x7FFF])


def test_an_encapsulated_uncompressed_frame_of_even_length_is_not_padded() -> None:
    ds = plain([1, 2, 3, 4], "u1", BitsAllocated=8, BitsStored=8)
    ds.file_meta.TransferSyntaxUID = ENCAPSULATED_UNCOMPRESSED
    with pytest.raises(Fault, match="a frame has 6 bytes, expected 4"):
        stored_values(ds, memoryview(encapsulate([b"\1\2\3\4\0\0"])))


@pytest.mark.parametrize(("extra", "read"), [(b"", True), (b"\0\0", False)])
def test_an_encapsulated_uncompressed_frame_may_be_padded_to_an_even_length(
    extra: bytes, read: bool
) -> None:
    ds = plain([1, 2, 3], "u1", BitsAllocated=8, BitsStored=8)
    ds.file_meta.TransferSyntaxUID = ENCAPSULATED_UNCOMPRESSED
    data = memoryview(encapsulate([b"\x01\x02\x03" + extra]))
    if read:
        assert stored_values(ds, data).ravel().tolist() == [1, 2, 3]
    else:
        with pytest.raises(Fault, match="a frame has 6 bytes, expected 3"):
            stored_values(ds, data)


# Private transfer syntaxes


def under(ds: Dataset, syntax: str, data: bytes) -> Dataset:
    """The header of an instance under another transfer syntax; its pixels apart."""
    header = copy.deepcopy(ds)
    header.file_meta.TransferSyntaxUID = uid.UID(syntax)
    header.PixelData = data
    return header


def test_plain_pixels_under_a_private_syntax_are_read() -> None:
    ds = image(12, 0)
    plain = under(ds, "1.2.840.113619.5.9", ds.PixelData)
    assert np.array_equal(stored_values(plain)[0], stored(ds))
    swapped = under(ds, "1.2.840.113619.5.2", stored(ds).astype(">u2").tobytes())
    assert np.array_equal(stored_values(swapped)[0], stored(ds))


@pytest.mark.parametrize(("more", "read"), [(0, True), (1, True), (2, False), (-1, False)])
def test_pixels_under_a_private_syntax_may_be_padded_to_an_even_length(
    more: int, read: bool
) -> None:
    ds = plain([1, 2, 3], "u1", BitsAllocated=8, BitsStored=8)
    data = bytes([1, 2, 3, 0, 0])[: 3 + more]
    private = under(ds, "1.2.840.113619.5.9", data)
    if read:
        assert stored_values(private, memoryview(data)).ravel().tolist() == [1, 2, 3]
    else:
        with pytest.raises(Fault, match=f"have {3 + more} bytes instead of 3"):
            stored_values(private, memoryview(data))


def test_other_pixels_under_a_private_syntax_are_their_vendors() -> None:
    ds = image(12, 0)
    with pytest.raises(Fault, match="only its vendor can read them") as caught:
        stored_values(under(ds, "1.3.46.670589.33.1.4.1", ds.PixelData[:-40]))
    assert caught.value.reason == "private_compression"


def test_a_sample_beyond_the_precision_of_its_stream_is_damage() -> None:
    ds = image(12, 0)
    values = stored(ds).copy()
    frame = bytearray(
        imagecodecs.jpeg8_encode(values, lossless=True, predictor=1, bitspersample=13)
    )
    at = frame.index(b"\xff\xc3") + 4
    assert frame[at] == 13
    frame[at] = 11  # what is predicted of the first sample, and so every value, is 3072 less
    with pytest.raises(Fault, match="samples have more than the stream's 11 bits"):
        stored_values(with_frame(ds, uid.JPEGLosslessSV1, bytes(frame)))


@pytest.mark.parametrize(
    ("value", "precision", "padding", "sound"),
    [
        (4095, 12, None, True),
        (4096, 12, None, False),
        (0xF800, 12, None, True),  # -2048
        (0xF7FF, 12, None, False),
        (0xFFFF, 12, None, True),
        (0x7FFF, 15, None, True),
        (0xC000, 15, None, True),
        (0xBFFF, 15, None, False),
        (0xBFFF, 16, None, True),
        (63000, 12, Padding(63000, 63001), True),
        (63001, 12, Padding(63000, 63001), True),
        (62999, 12, Padding(63000, 63001), False),
        (63002, 12, Padding(63000, 63001), False),
        (63000, 12, Padding(63000 - 65536, 63001 - 65536), True),
        (63002, 12, Padding(63000 - 65536, 63001 - 65536), False),
    ],
)
def test_a_sample_has_no_more_bits_than_its_stream_except_those_of_a_sign_and_padding(
    value: int, precision: int, padding: Padding | None, sound: bool
) -> None:
    samples = np.array([[0, value]], np.uint16)
    if sound:
        pixels._check_range(samples, precision, padding)
    else:
        with pytest.raises(ValueError, match=f"1 samples have more than the stream's {precision}"):
            pixels._check_range(samples, precision, padding)


@pytest.mark.parametrize(("values", "read"), [([0, 1, 32767], True), ([0, 32768, 5], False)])
def test_without_a_sign_only_values_that_need_none_are_read(values: list[int], read: bool) -> None:
    ds = plain(values, BitsStored=16)
    del ds.PixelRepresentation
    if read:
        assert stored_values(ds).ravel().tolist() == values
    else:
        with pytest.raises(Fault, match="PixelRepresentation is missing") as caught:
            stored_values(ds)
        assert caught.value.reason == "undecodable_pixels"
