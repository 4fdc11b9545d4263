"""Make mutants of bytes, of text and of DICOM datasets."""

from __future__ import annotations

import io
import random
import re
from collections.abc import Callable

from pydicom import dcmread
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

NUMBERS = (b"\xff\xff\xff\xff", b"\x00\x00\x00\x80", b"\xff\x7f", b"\x00\x00\x00\x00", b"\xfe\xff")

WORDS = (
    *(
        "",
        " ",
        "\x00",
        "\t",
        "\r",
        "\n",
        "\r\n",
        '"',
        "'",
        ",",
        ";",
        "|",
        "\\",
        "=",
        "-",
        "..",
        "/",
    ),
    *(
        "nan",
        "inf",
        "-inf",
        "1e999",
        "-1",
        "0",
        "1e-320",
        "65535",
        "4294967296",
        "9" * 400,
        "1_000",
    ),
    *("null", "true", "[]", "{}", "[" * 3000, "{a: " * 500, "&a [*a]", "*a", "!!python/name:os"),
    *(
        "\ufeff",
        "\u0000",
        "\u2028",
        "\U0001f600",
        "é",
        "\uff4e\uff41\uff4e",
        "\u0663",
        "\ud7ff",
        "# ",
        "A" * 70000,
    ),
)

VALUES = (
    *(b"", b" ", b"\x00", b"\\", b"\\\\\\\\", b"nan", b"inf", b"-1", b"0", b"1e400", b"9" * 64),
    *(b"1\\2\\3", b"1\\0\\0\\0\\1", b"abc", b"\xff\xfe", b"\x1b$B", b"\xff\xff", b"\x00\x00"),
    *(b"65535", b"1.5", b"0.0\\0.0", b"1e-300\\1e-300", b"-5\\-5", b"1,5", b"1." + b"2." * 60),
)

VRS = (*("AE", "AS", "AT", "CS", "DA", "DS", "FD", "FL", "IS", "LO", "OB", "OW", "PN", "SH", "SL"),
       *("SQ", "SS", "UI", "UL", "UN", "US", "UT", "UV", "ZZ", "??", "\x00\x00"))  # fmt: skip


def mutated_bytes(content: bytes, choice: random.Random, *, head: int | None = None) -> bytes:
    """Change bytes at one to four places; with `head`, mostly among the first so many."""
    data = bytearray(content)
    for _ in range(choice.choice((1, 1, 1, 2, 4))):
        if not data:
            break
        limit = min(head, len(data)) if head and choice.random() < 0.8 else len(data)
        start = choice.randrange(limit)
        length = choice.choice((1, 2, 4, 8, 64, 1000))
        kind = choice.randrange(8)
        if kind == 0:
            data[start] ^= 1 << choice.randrange(8)
        elif kind == 1:
            data[start] = choice.choice((0, 0xFF, 0x5C, 0x20, choice.randrange(256)))
        elif kind == 2:
            data[start : start + length] = b""
        elif kind == 3:
            data[start:start] = choice.randbytes(length)
        elif kind == 4:
            data[start:start] = data[start : start + length]
        elif kind == 5:
            del data[start:]
        elif kind == 6:
            number = choice.choice(NUMBERS)
            data[start : start + len(number)] = number
        else:
            other = choice.randrange(len(data))
            data[start : start + length] = data[other : other + length]
    return bytes(data)


def mutated_text(text: bytes, choice: random.Random) -> bytes:
    """Replace, insert or drop words, lines and separators; sometimes bytes."""
    if choice.random() < 0.25:
        return mutated_bytes(text, choice)
    pieces = re.split(rb"(\W)", text)
    for _ in range(choice.choice((1, 1, 2, 5))):
        place = choice.randrange(len(pieces))
        word = choice.choice(WORDS).encode("utf-8", "surrogatepass")
        kind = choice.randrange(4)
        if kind == 0:
            pieces[place] = word
        elif kind == 1:
            pieces.insert(place, word)
        elif kind == 2 and len(pieces) > 1:
            del pieces[place]
        else:
            pieces[place] = pieces[choice.randrange(len(pieces))]
    return b"".join(pieces)


def mutated_file(content: bytes, choice: random.Random) -> bytes:
    """A mutant of a DICOM file: of its bytes, or of one of its elements."""
    start = max(content.find(b"\xe0\x7f\x10\x00"), content.find(b"\x7f\xe0\x00\x10"), 400)
    if choice.random() < 0.5:
        return mutated_bytes(content, choice, head=start)
    dataset = dcmread(io.BytesIO(content))
    try:
        mutate_element(dataset, choice)
        stream = io.BytesIO()
        dataset.save_as(stream, enforce_file_format=False)
        return stream.getvalue()
    except Exception:  # pydicom does not write everything that another writer does
        return mutated_bytes(content, choice, head=start)


def mutate_element(dataset: Dataset, choice: random.Random) -> None:
    """Give one element another value, VR or both; or take it away."""
    tags = sorted({*dataset.keys()} - {0x7FE00010})
    tag: BaseTag = choice.choice(tags)
    kind = choice.randrange(6)
    element = dataset.get_item(tag)
    if kind == 0:
        del dataset[tag]
        return
    if kind == 1 and getattr(element, "VR", "") == "SQ" and dataset[tag].value:
        items = dataset[tag].value
        if choice.random() < 0.3:
            items[:] = items[:1] * choice.choice((0, 2, 500))
        else:
            mutate_element(choice.choice(list(items)), choice)
        return
    value = choice.choice(VALUES)
    vr = choice.choice(VRS) if kind == 2 else (element.VR or "UN")
    if kind == 3:
        value = value * choice.choice((1, 3, 1000))
    if vr == "SQ":
        vr = "UN"
    dataset._dict[tag] = RawDataElement(tag, vr, len(value), value, 0, False, True)


Mutator = Callable[[bytes, random.Random], bytes]
