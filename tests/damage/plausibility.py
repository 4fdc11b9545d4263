"""What no codec can see: slices that are damaged as an image, and sound scans that look odd."""

from __future__ import annotations

import random
from collections.abc import Iterator

import imagecodecs
import numpy as np

from ctcohort.phantoms.anatomy import Phantom
from ctcohort.phantoms.stack import SliceStack
from ctcohort.phantoms.writer import make_series
from ctcohort.volume.certificate import Certificate, measure
from tests.damage.sweep import OFF_HU, OFF_SHARE

CLIP_HU = (-1000, 1000)


def implausible(slices: np.ndarray) -> list[int]:
    """Indices of the slices (z, y, x) in HU that the certificate finds implausible."""
    certificate = Certificate()
    for hu in slices:
        certificate.add(measure(hu, None, 0, posterior=(1.0, 0.0), clip=CLIP_HU))
    return certificate.implausible()


def phantom(
    count: int = 41,
    step: float = 2.5,
    size: int = 160,
    body: Phantom | None = None,
    noise: float = 15,
) -> np.ndarray:
    """A scan as int32 HU (z, y, x)."""
    stack = SliceStack.oriented(count=count, step=step, rows=size, columns=size, fov=400.0)
    series = make_series(body or Phantom(scale=0.9), stack, noise=noise)
    stored = [np.frombuffer(ds.PixelData, "<u2").reshape(size, size) for ds in series]
    return np.stack(stored).astype(np.int32) - 1024


def odd_but_sound() -> Iterator[tuple[str, np.ndarray]]:
    """Scans of phantoms in which slices differ for good reasons."""
    draw = np.random.default_rng(5)
    plain = phantom()
    yield "plain", plain
    yield "thick slices", phantom(count=25, step=8.0)
    yield "thin slices", phantom(count=60, step=0.6)
    yield "noisy", phantom(noise=90)
    yield "small matrix", phantom(size=64)
    yield "metal", phantom(body=Phantom(scale=0.9, metal=3000.0))
    for table in ("posterior", "left", None):
        yield f"table: {table}", phantom(body=Phantom(scale=0.9, table=table))
    ended = plain.copy()
    air = draw.normal(-1000, 15, plain.shape).astype(np.int32)
    ended[:6], ended[-9:] = air[:6], air[-9:]
    yield "object with abrupt ends", ended
    for first in (1, 2, 39, 40):
        halved = plain.copy()
        halved[first:] = air[first:]
        yield f"object that ends at slice {first}", halved
    y, x = np.mgrid[:160, :160]
    arms = plain.copy()
    for side in (14, 146):
        arm = (x - side) ** 2 + (y - 80) ** 2 < 13**2
        arms[18:, arm] = 40 + draw.normal(0, 15, (len(arms) - 18, int(arm.sum())))
    yield "arms that begin inside", arms
    streaks = plain.copy()
    for place in range(15, 26):
        angle = np.arctan2(y - 60, x - 95)
        streaks[place] += (180 * np.sin(angle * 16 + draw.uniform(0, 6))).astype(np.int32)
    yield "streaks of metal", streaks
    yield "one breathing step", np.concatenate([plain[:20], np.roll(plain[20:], 6, axis=1)])
    yield (
        "breathing steps",
        np.concatenate(
            [np.roll(plain[at : at + 5], 5 * (at // 5 % 2), axis=1) for at in range(0, 41, 5)]
        ),
    )
    yield "a step of the table", np.concatenate([plain[:20], plain[26:]])
    noise = draw.normal(0, 1, plain.shape) * np.linspace(10, 160, len(plain))[:, None, None]
    yield "noise that grows", plain + noise.astype(np.int32)


def damaged(hu: np.ndarray, draw: random.Random) -> np.ndarray:
    """A slice as it comes out of damaged pixels, of which enough are wrong to matter."""
    stored = np.clip(hu + 1024, 0, 4095).astype(np.uint16)
    while True:
        found = _changed(stored, draw).astype(np.int32) - 1024
        off = np.abs(np.clip(found, *CLIP_HU) - np.clip(hu, *CLIP_HU)) > OFF_HU
        if off.mean() > OFF_SHARE:
            return found


def _changed(stored: np.ndarray, draw: random.Random) -> np.ndarray:
    flat, size = stored.ravel().copy(), stored.size
    length = draw.randrange(size // 40, size // 2)
    first, source = draw.randrange(size - length), draw.randrange(size - length)
    kind = draw.choice(["zeros", "ff", "random", "moved", "shifted", "codestream"])
    if kind == "zeros":
        flat[first : first + length] = 0
    elif kind == "ff":
        flat[first : first + length] = 0xFFFF
    elif kind == "random":
        flat[first : first + length] = np.frombuffer(draw.randbytes(2 * length), np.uint16)
    elif kind == "moved":
        flat[first : first + length] = stored.ravel()[source : source + length]
    elif kind == "shifted":
        flat[first:] = np.roll(flat[first:], draw.randrange(20, 900))
    else:
        stream = bytearray(
            imagecodecs.jpeg2k_encode(stored, level=0, codecformat="j2k", bitspersample=12)
        )
        at = draw.randrange(200, len(stream) // 3)
        stream[at : at + 2000] = draw.randbytes(2000)
        try:
            flat = imagecodecs.jpeg2k_decode(bytes(stream)).ravel()
        except imagecodecs.Jpeg2kError:
            return stored
    return flat.reshape(stored.shape)


def detected(slices: np.ndarray, count: int, seed: int = 1) -> tuple[float, float]:
    """Damage slices one at a time, wherever in the scan they lie, and count those that are found.

    Returns
    -------
    tuple of float
        The share of all that are found, and of those that have two neighbours, which are judged.
    """
    draw, found, judged = random.Random(seed), 0, 0
    for _ in range(count):
        index = draw.randrange(len(slices))
        changed = slices.copy()
        changed[index] = damaged(slices[index], draw)
        found += implausible(changed) == [index]
        judged += 0 < index < len(slices) - 1
    return found / count, found / judged
