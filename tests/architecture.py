"""Which module of the package imports which, and the map of its rooms for DEVELOPMENT.md.

``python -m tests.architecture`` writes the map into DEVELOPMENT.md.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
PACKAGE = REPOSITORY / "scripts" / "ctcohort"
DOCUMENT = REPOSITORY / "DEVELOPMENT.md"

ROOMS = (
    "base",
    "config",
    "cohort",
    "dicom",
    "archives",
    "series",
    "volume",
    "dataset",
    "page",
    "release",
    "phantoms",
)
"""Rooms in the order of the layers: a module imports from its own room or from rooms before it."""

_MAP = re.compile(r"(<!-- map -->\n).*?(<!-- end of map -->)", re.S)


def modules() -> dict[str, Path]:
    """Return the file of each module by its dotted name; packages are left out."""
    return {
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): path
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.name != "__init__.py"
    }


def imports(path: Path) -> Iterator[str]:
    """Yield the dotted names of the package's own modules that a file imports, wherever it does."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("ctcohort"))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ctcohort"):
            module = str(node.module)
            for alias in node.names:
                inner = f"{module}.{alias.name}"
                yield inner if inner in _NAMES else module


_NAMES = frozenset(modules())


def room_of(module: str) -> str:
    """Return the room of a module's dotted name."""
    return module.split(".")[1]


def summary_of(path: Path) -> str:
    """Return the first paragraph of a module's docstring on one line."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(text.split("\n\n")[0].split())


def module_map() -> str:
    """Return the map: a heading per room with what it is for, and a line per module."""
    lines = []
    for room in ROOMS:
        lines += [f"### {room}", "", summary_of(PACKAGE / room / "__init__.py"), ""]
        for name, path in modules().items():
            if room_of(name) == room:
                inner = name.removeprefix(f"ctcohort.{room}.").replace(".", "/")
                lines.append(f"- `{inner}`: {summary_of(path)}")
        lines.append("")
    return "\n".join(lines)


def documented_map() -> str:
    """Return the map as DEVELOPMENT.md has it."""
    found = _MAP.search(DOCUMENT.read_text(encoding="utf-8"))
    return found[0].split("\n", 1)[1].removesuffix("<!-- end of map -->") if found else ""


def main() -> None:
    """Write the map into DEVELOPMENT.md."""
    text = DOCUMENT.read_text(encoding="utf-8")
    DOCUMENT.write_text(_MAP.sub(lambda found: f"{found[1]}{module_map()}{found[2]}", text))


if __name__ == "__main__":
    main()
