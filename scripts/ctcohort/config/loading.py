"""Read config files strictly, and load the config of a working directory as Snakemake does.

An error has its line, and no key may be written twice.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

from ctcohort.base.faults import InputError
from ctcohort.base.project import ROOT
from ctcohort.config import paths
from ctcohort.config.checking import check, typed

NAME = "config.yaml"


def check_file(path: Path) -> None:
    """Raise `InputError` with the line if a config file is not what Snakemake will make of it.

    Snakemake reads YAML without a word about a key that occurs twice: the first would have no
    effect. What it cannot read it names without a line.
    """
    import yaml  # Snakemake's dependency, not the jobs'

    class Strict(yaml.SafeLoader):
        """Refuses a key that occurs twice in one mapping."""

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
            lines: dict[Any, int] = {}
            for key, _ in node.value:
                line = key.start_mark.line + 1
                if key.value in lines:
                    raise InputError(
                        f"{path}: line {line}: {key.value} was set in line {lines[key.value]}"
                        " already, which would have no effect; put the two together"
                    )
                lines[key.value] = line
            return super().construct_mapping(node, deep)

    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Strict)  # noqa: S506 (a SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise InputError(
            f"{path}: {line}is not YAML ({error.problem}); expected lines such as"
            " `reports: reports.csv`, indented by blanks, never by tabs"
        ) from None
    except (UnicodeDecodeError, yaml.YAMLError):
        raise InputError(f"{path}: is not YAML in UTF-8; save it as plain text") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds no keys; expected lines such as `reports: reports.csv`")


def refuse_other_names(directory: Path) -> None:
    """Raise `InputError` if a config lies in `directory` under a name that is not read."""
    for path in sorted(directory.iterdir()):
        if path.name.lower() in ("config.yml", NAME, "config.yaml.txt", "config.yml.txt"):
            raise InputError(f"{path.name} in the working directory is not read; call it {NAME}")


def load(directory: Path) -> dict[str, Any]:
    """Return the config of a working directory: the defaults, overridden by its ``config.yaml``.

    What a run was given with ``--configfile`` or ``--config`` is not known here.

    Raises
    ------
    InputError
        The config is not valid.
    """
    import yaml  # Snakemake's dependency, not the jobs'

    schema = yaml.safe_load((ROOT / "rules" / "config.schema.yaml").read_text(encoding="utf-8"))
    defaults = yaml.safe_load((ROOT / NAME).read_text(encoding="utf-8"))
    own = directory / NAME
    config = defaults
    if own.exists():
        check_file(own)
        config = overridden(defaults, yaml.safe_load(own.read_text(encoding="utf-8")))
    config = dict(typed(config, schema))
    paths.expand(config)
    check(config, schema, defaults)
    return config


def load_reviews(directory: Path) -> Path:
    """Return the path of the reviews table that the config of a working directory names."""
    return directory / str(load(directory)["reviews"])


def overridden(defaults: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return `defaults` with what `own` names in their place, section by section, as Snakemake
    does it for one config file after the other."""
    merged = dict(defaults)
    for key, value in own.items():
        known = merged.get(key)
        both = isinstance(known, Mapping) and isinstance(value, Mapping)
        merged[key] = overridden(known, value) if both else value  # type: ignore[arg-type]
    return merged
