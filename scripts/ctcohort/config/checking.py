"""Check the config against its schema, and say what is wrong with each key."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from ctcohort.base.faults import InputError
from ctcohort.config import paths
from ctcohort.config.hours import Hours
from ctcohort.config.settings import connections_of, partition_of

SHARES = ("train", "val", "test", "seed")


def check(
    config: Mapping[str, Any],
    schema: Mapping[str, Any],
    defaults: Mapping[str, Any],
    *,
    files: bool = False,
    root: Path = Path(),
    made: Collection[str] = (),
) -> None:
    """Raise `InputError` with one line per thing that is wrong in `config`.

    Every line names the key, what was expected (the schema's description) and an example.

    Parameters
    ----------
    defaults : mapping
        The default config: what differs from it was set by a person, and must have an effect.
    files : bool
        Whether to look for the files and folders that `config` names.
    root : Path
        The working directory, where they are looked for.
    made : collection of str
        Keys of tables that need not be there, because a rule may make them.
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
        lines += _without_effect(config, defaults)
        lines += paths.missing(config, root, but=made) if files else []
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
            f"splits.stratify: cannot be combined with {other}; expected one of the two, because"
            " exact shares need all patients at once"
        ]
    return []


def _without_effect(config: Mapping[str, Any], defaults: Mapping[str, Any]) -> list[str]:
    """Return a line for each key that was set though another one takes its effect away.

    What belongs to an archive of another kind, or to another policy of irregular spacing, may stand
    in a config: the kind and the policy say what is meant.
    """
    archive = config["archive"]
    given = bool(config["columns"]["split"])
    is_needed = {
        "archive.timezone": (bool(archive["hours"]), "archive.hours"),
        "archive.dicomweb.credentials": (archive["dicomweb"]["auth"] != "none", "auth"),
        "archive.dicomweb.token_url": (
            archive["dicomweb"]["auth"].startswith("oauth2"),
            "auth: oauth2_refresh or oauth2_client_credentials",
        ),
        "archive.dicomweb.client_key": (
            bool(archive["dicomweb"]["client_certificate"]),
            "client_certificate",
        ),
        "archive.dimse.move_port": (archive["dimse"]["method"] == "move", "method: move"),
    } | {f"splits.{key}": (not given, "columns.split: null") for key in SHARES}
    return [
        f"{key}: has no effect without {other}; remove one, or set the other"
        for key, (needed, other) in is_needed.items()
        if not needed and _at(config, key) != _at(defaults, key)
    ]


def _at(config: Mapping[str, Any], key: str) -> Any:
    for part in key.split("."):
        config = config[part]
    return config


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
