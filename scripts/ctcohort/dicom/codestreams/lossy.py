"""Tell from the beginning of a codestream whether its coding loses anything."""

from __future__ import annotations

JPEG, JPEG_2000 = b"\xff\xd8", b"\xff\x4f\xff\x51"
LOSSLESS = (0xC3, 0xC7, 0xCB, 0xCF)
"""Start-of-frame markers of the JPEG processes without DCT (ITU-T T.81 table B.1)."""

JPEG_LS = 0xF7
_NOT_FRAMES = (0xC4, 0xC8, 0xCC)
_SCAN, _CODING_STYLE, _TILE = 0xDA, 0x52, 0x90


def is_lossy(beginning: bytes) -> bool:
    """Return whether a JPEG, JPEG-LS or JPEG 2000 stream says that it is not lossless.

    That is DCT, a point transform, a NEAR above 0, or the irreversible wavelet (ISO/IEC 15444-1
    table A.20). Reversible JPEG 2000 of which packets were left out does not say so. What cannot be
    read is not lossy: it is refused when it is decoded.
    """
    try:
        if beginning.startswith(JPEG):
            return _jpeg(beginning)
        start = beginning.find(JPEG_2000)  # a JP2 file may be around it
        return start >= 0 and _jpeg_2000(beginning, start)
    except IndexError:
        return False


def _jpeg(data: bytes) -> bool:
    at, process = 2, 0
    while data[at] == 0xFF:
        while data[at] == 0xFF:
            at += 1
        marker, content = data[at], at + 3
        if marker == _SCAN:
            near, _, transform = (data[content + 1 + 2 * data[content] + n] for n in range(3))
            if process == JPEG_LS:
                return near > 0
            return process not in LOSSLESS or transform & 15 > 0
        if (0xC0 <= marker <= 0xCF and marker not in _NOT_FRAMES) or marker == JPEG_LS:
            process = marker
        at += 1 + int.from_bytes(data[at + 1 : at + 3], "big")
    return False


def _jpeg_2000(data: bytes, start: int) -> bool:
    at = start + 2
    while data[at] == 0xFF and data[at + 1] != _TILE:
        if data[at + 1] == _CODING_STYLE:
            return data[at + 13] == 0
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return False
