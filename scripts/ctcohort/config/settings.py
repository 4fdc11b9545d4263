"""The config's sections as dataclasses, and as one canonical string per rule for Snakemake to
compare.

Snakemake reruns a rule when a parameter's text changes. The canonical string is the same for
reordered keys, for ``0.80`` instead of ``0.8``, and for a neutral option (null, false or empty)
that is spelled out, so that only a change of meaning reruns anything.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from ctcohort import ALGORITHM_VERSION
from ctcohort.base.faults import InputError

EXCLUSION_KEYS = ("irregular_spacing", "max_z_error_mm", "max_gap_mm", "gantry_tilt")
"""The keys of `volume` that decide, on headers alone, whether a series can be used."""

_Rules = TypeVar("_Rules")


@dataclass(frozen=True)
class SelectSettings:
    """`select` and what goes with it: which rows of the report table are asked for."""

    protocols: tuple[str, ...] = ()
    protocols_regex: tuple[str, ...] = ()
    sample: int | None = None


@dataclass(frozen=True)
class SeriesSettings:
    """`series`: which series of an accession is chosen."""

    kinds: tuple[str, ...] = ()
    min_slices: int = 0
    contrast: str = "any"
    allow_lossy: bool = False
    allow_multienergy: bool = False
    allow_few_bits: bool = False
    exclude_description_regex: tuple[str, ...] = ()
    body_part_exclude: tuple[str, ...] = ()
    min_fov_mm: float | None = None
    prefer_kernels: tuple[str, ...] = ()
    tie_break: tuple[str, ...] = ()


@dataclass(frozen=True)
class VolumeSettings:
    """`volume`: how slices become a volume. HU and mm throughout; spacing in order (z, y, x)."""

    irregular_spacing: str
    gantry_tilt: str
    max_z_error_mm: float | None = None
    max_gap_mm: float | None = None
    clip_hu: tuple[float, float] = (-1000, 1000)
    spacing_mm: tuple[float, float, float] | None = None
    interpolator: str = "bspline"


@dataclass(frozen=True)
class ReleaseSettings:
    """`release`: which of the included scans are released, and what the data card says."""

    key_table: str | None = None
    min_age: float | None = None
    faces: str = "exclude"
    reviewed_only: bool = False
    chunked: bool = False
    licence: str | None = None
    about: str | None = None
    scanner_terms: tuple[str, ...] | None = None


def canonical(section: Mapping[str, Any]) -> str:
    """One string for a part of the config, equal for equal meanings."""
    return json.dumps(_normal(dict(section)), sort_keys=True, separators=(",", ":"))


def canonical_volume(volume: Mapping[str, Any]) -> str:
    """`canonical` of `volume`, where ``0.8`` means ``[0.8, 0.8, 0.8]``."""
    section = dict(volume)
    if isinstance(section.get("spacing_mm"), (int, float)):
        section["spacing_mm"] = [section["spacing_mm"]] * 3
    return canonical(section)


def volume_parameters(volume: Mapping[str, Any]) -> str:
    """All that decides a volume's bytes besides its slices: the parameter of its rule."""
    return json.dumps({"algorithm": ALGORITHM_VERSION, "volume": canonical_volume(volume)})


def canonical_exclusions(volume: Mapping[str, Any]) -> str:
    """`canonical` of the keys of `volume` that can exclude a series."""
    return canonical({key: volume.get(key) for key in EXCLUSION_KEYS})


def parse(text: str, rules: type[_Rules]) -> _Rules:
    """A `canonical` string as `rules`; what was left out as neutral takes its neutral value."""
    section = json.loads(text)
    known = {field.name for field in fields(rules)}  # type: ignore[arg-type]
    return rules(
        **{
            key: tuple(value) if isinstance(value, list) else value
            for key, value in section.items()
            if key in known
        }
    )


def digest(text: str) -> str:
    """Short name for a canonical string: the first 16 hexadecimal digits of its SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def partition_of(text: str | None) -> tuple[int, int]:
    """``"K/N"`` as numbers; no partition is ``(1, 1)``."""
    if not text:
        return 1, 1
    part, count = map(int, text.split("/"))
    if not 1 <= part <= count:
        raise InputError(f'partition: is "{text}"; expected K/N with 1 <= K <= N, e.g. "3/8"')
    return part, count


def connections_of(config: Mapping[str, Any]) -> int:
    """This run's share of `archive.connections`: with N partitions, one part of N.

    A folder is no server to be spared: of it every part may have one.
    """
    connections: int = config["archive"]["connections"]
    part, count = partition_of(config["partition"])
    share = connections // count + (part <= connections % count)
    if share or config["archive"]["kind"] == "folder":
        return max(1, share)
    raise InputError(
        f"partition: part {part} of {count} has no share of archive.connections, which is"
        f" {connections}; expected no more parts than connections"
    )


def _normal(value: Any) -> Any:
    if isinstance(value, dict):
        items = {key: _normal(item) for key, item in value.items()}
        return {key: item for key, item in items.items() if not _is_neutral(item)}
    if isinstance(value, (list, tuple)):
        return [_normal(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _is_neutral(value: Any) -> bool:
    return value is None or value is False or value in ("", [], {})
