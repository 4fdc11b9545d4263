"""Read config files strictly: an error has its line, and no key is written twice."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

from ctcohort.base.faults import InputError

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
