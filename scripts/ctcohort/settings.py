"""The config: checked against its schema, and turned into one canonical string per rule.

Snakemake reruns a rule when a parameter's text changes. The canonical string is the same for
reordered keys, for ``0.80`` instead of ``0.8``, and for a neutral option (null, false or empty)
that is spelled out, so that only a change of meaning reruns anything.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from . import ALGORITHM_VERSION
from .faults import InputError
from .hours import Hours

VERDICT_KEYS = ("irregular_spacing", "max_z_error_mm", "max_gap_mm", "gantry_tilt")
"""The keys of `volume` that decide, on headers alone, whether a series can be used."""

_Rules = TypeVar("_Rules")


@dataclass(frozen=True)
class SelectRules:
    """`select` and what goes with it: which rows of the report table are asked for."""

    protocols: tuple[str, ...] = ()
    protocols_regex: tuple[str, ...] = ()
    sample: int | None = None


@dataclass(frozen=True)
class SeriesRules:
    """`series`: which series of an accession is chosen."""

    kinds: tuple[str, ...] = ()
    min_slices: int = 0
    contrast: str = "any"
    allow_lossy: bool = False
    exclude_description_regex: tuple[str, ...] = ()
    min_fov_mm: float | None = None
    prefer_kernels: tuple[str, ...] = ()
    tie_break: tuple[str, ...] = ()


@dataclass(frozen=True)
class VolumeRules:
    """`volume`: how slices become a volume. HU and mm throughout; spacing in order (z, y, x)."""

    irregular_spacing: str
    gantry_tilt: str
    max_z_error_mm: float | None = None
    max_gap_mm: float | None = None
    clip_hu: tuple[float, float] = (-1000, 1000)
    spacing_mm: tuple[float, float, float] | None = None
    interpolator: str = "bspline"


@dataclass(frozen=True)
class ReleaseRules:
    """`release`: which of the included scans are released, and what the data card says."""

    key_table: str | None = None
    min_age: float | None = None
    faces: str = "exclude"
    reviewed_only: bool = False
    licence: str | None = None
    about: str | None = None


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


def canonical_verdict(volume: Mapping[str, Any]) -> str:
    """`canonical` of the keys of `volume` that can exclude a series."""
    return canonical({key: volume.get(key) for key in VERDICT_KEYS})


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


def check(config: Mapping[str, Any], schema: Mapping[str, Any]) -> None:
    """Raise `InputError` with one line per thing that is wrong in `config`.

    Every line names the key, what was expected (the schema's description) and an example.
    """
    from jsonschema import Draft202012Validator  # Snakemake's dependency, not the jobs'

    errors = sorted(Draft202012Validator(schema).iter_errors(config), key=lambda e: list(e.path))
    lines = list(dict.fromkeys(_explain(error, schema) for error in errors))
    if not lines:
        shares = config["splits"]
        total = sum(shares[name] for name in ("train", "val", "test"))
        if abs(total - 1) > 1e-6:
            lines.append(
                f"splits: train, val and test sum to {total:g}; expected 1,"
                " e.g. {train: 0.7, val: 0.1, test: 0.2, seed: 0}"
            )
        try:
            partition_of(config["partition"])
            connections_of(config)
            Hours(config["archive"]["hours"], config["archive"]["timezone"])
        except InputError as error:
            lines.append(str(error))
        lines += _bad_stratum(config)
        archive = config["archive"]
        moves = archive["kind"] == "dimse" and archive["dimse"]["method"] == "move"
        if moves and archive["connections"] > 1:
            lines.append(
                "archive.connections: expected 1 with archive.dimse.method: move, because the"
                " archive sends to one port"
            )
        lines += [line for key, value in _patterns(config) for line in _bad_pattern(key, value)]
        if config["volume"]["clip_hu"][0] >= config["volume"]["clip_hu"][1]:
            lines.append("volume.clip_hu: expected [low, high], low below high, e.g. [-1000, 1000]")
    if lines:
        raise InputError("the config is not valid:\n" + "\n".join(f"  {line}" for line in lines))


def typed(value: Any, schema: Mapping[str, Any]) -> Any:
    """`value` with its numbers, booleans and nulls, where Snakemake's --config gives only text.

    Text is read as JSON where the schema does not want text.
    """
    if isinstance(value, Mapping):
        nodes = schema.get("properties", {})
        return {key: typed(item, nodes.get(key, {})) for key, item in value.items()}
    kinds = schema.get("anyOf", [schema])
    if isinstance(value, list):
        items: Mapping[str, Any] = next((kind["items"] for kind in kinds if "items" in kind), {})
        return [typed(item, items) for item in value]
    wants_text = any("enum" in kind or "string" in kind.get("type", "string") for kind in kinds)
    if isinstance(value, str) and not wants_text:
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def private_key(path: str | None, fingerprint: Path) -> bytes | None:
    """The HMAC key of `privacy.key_file`, or None when none is configured.

    `fingerprint` remembers which key the data set was made with: another key would give every
    patient another name, so it stops the run.
    """
    if not path:
        return None
    try:
        key = Path(path).read_bytes().strip()
    except OSError:
        raise InputError(
            f"privacy.key_file: {path} cannot be read; run `make key` once, keep the file safe,"
            " and never replace it"
        ) from None
    if Path(path).stat().st_mode & 0o077:
        raise InputError(f"privacy.key_file: {path} is readable by others; run chmod 600 {path}")
    mark = hashlib.sha256(b"ct-cohort key fingerprint" + key).hexdigest()[:16]
    if len(key) < 32:
        raise InputError(f"privacy.key_file: {path} is not a key made by `make key`")
    if not fingerprint.exists():
        fingerprint.parent.mkdir(parents=True, exist_ok=True)
        fingerprint.write_text(mark + "\n")
    elif fingerprint.read_text().strip() != mark:
        raise InputError(
            f"privacy.key_file: {path} is not the key this data set was made with; put the first"
            f" key back, or delete {fingerprint} to give every patient a new name on purpose"
        )
    return key


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


def _patterns(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        (f"{section}.{key}", pattern)
        for section, key in (
            ("select", "protocols_regex"),
            ("series", "exclude_description_regex"),
            ("series", "prefer_kernels"),
        )
        for pattern in config[section][key]
    ]


def _bad_stratum(config: Mapping[str, Any]) -> list[str]:
    column, columns = config["splits"]["stratify"], config["columns"]
    if column is None:
        return []
    if column not in columns["carry"]:
        return [
            f"splits.stratify: {column!r} is not carried; expected a column that columns.carry"
            f" names, e.g. columns: {{carry: [{column}]}}"
        ]
    if config["partition"] or columns["split"]:
        other = "partition" if config["partition"] else "columns.split"
        return [
            f"splits.stratify: cannot be had with {other}; expected one of the two, because exact"
            " shares need all patients at once"
        ]
    return []


def _bad_pattern(key: str, pattern: str) -> list[str]:
    try:
        re.compile(pattern)
    except re.error as error:
        return [
            f"{key}: {pattern!r} is not a regular expression ({error}); expected Python's syntax"
            ' in quotes, e.g. ["^ct chest"]'
        ]
    return []


def _explain(error: Any, schema: Mapping[str, Any]) -> str:
    path = ".".join(str(part) for part in error.absolute_path)
    if error.validator == "additionalProperties":
        known = list(error.schema["properties"])
        unknown = sorted(set(error.instance) - set(known))
        where = f"{path}." if path else ""
        lines = []
        for key in unknown:
            close = difflib.get_close_matches(str(key), known, 1)
            hint = f"did you mean {close[0]}?" if close else f"known keys: {', '.join(known)}"
            lines.append(f"{where}{key}: unknown key; {hint}")
        return "\n  ".join(lines)
    node = _node(schema, list(error.absolute_path))
    example = f", e.g. {node['examples'][0]}" if node.get("examples") else ""
    expected = node.get("description", error.message)
    if "properties" in node and path and error.validator == "type":
        key, child = next(iter(node["properties"].items()))
        expected += f", as the keys {', '.join(node['properties'])}"
        example = f", e.g. {{{key}: {child['examples'][0]}}}"
    if error.validator == "required":
        return f"{path or 'config'}: {error.message}; expected {expected}{example}"
    return f"{path}: is {json.dumps(error.instance, default=str)}; expected {expected}{example}"


def _node(schema: Mapping[str, Any], path: list[Any]) -> Mapping[str, Any]:
    """The deepest node of the schema on `path` that describes itself."""
    node, described = schema, schema
    for part in path:
        node = node.get("properties", {}).get(part) or node.get("items") or {}
        if "description" in node:
            described = node
    return described
