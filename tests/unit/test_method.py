"""docs/method.md, the code that cites it, the limits and the torture cases say the same."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from tests.torture.cases import CASES

from .opened import REPOSITORY

PACKAGE = REPOSITORY / "scripts" / "ctcohort"
RULES = range(1, 17)
NUMBERS = r"\d+(?:(?:, | and | to )\d+)*"
MEASURING = ("series.geometry", "volume.resampling", "volume.certificate", "volume.lungs")
"""Modules whose every number is a limit of the method."""


def numbers(text: str) -> set[int]:
    """Rule numbers of a citation: "7", "10, 11 and 15", "7 to 16"."""
    found: set[int] = set()
    for first, last in re.findall(r"(\d+)(?: to (\d+))?", text):
        found |= set(range(int(first), int(last or first) + 1))
    return found


def citations(text: str) -> set[int]:
    """Every rule that a text cites."""
    return set().union(*map(numbers, re.findall(rf"\brules? ({NUMBERS})\b", text)))


def sections() -> dict[str, str]:
    """Heading -> body."""
    text = (REPOSITORY / "docs" / "method.md").read_text(encoding="utf-8")
    parts = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    return {title: body for title, _, body in (part.partition("\n") for part in parts)}


def rules() -> dict[int, str]:
    """Number -> body of the rules."""
    return {
        int(match[1]): body
        for title, body in sections().items()
        if (match := re.match(r"Rule (\d+): \w", title))
    }


def paragraph(body: str, name: str) -> str:
    """The paragraph of a section that begins with a name in bold."""
    match = re.search(rf"^\*\*{name}\*\* (.+?)(?:\n\n|\Z)", body, re.MULTILINE | re.DOTALL)
    assert match, f"no paragraph {name}"
    return match[1]


def limits(body: str) -> dict[str, object]:
    """Dotted name -> value, of a section's table."""
    rows = re.findall(r"^\| `([\w.]+)` \| (.+?) \| \S", body, re.MULTILINE)
    return {name: value_of(text) for name, text in rows}


def value_of(text: str) -> object:
    """The number or numbers that a cell holds."""
    base, power, exponent = text.partition("**")
    return float(base) ** int(exponent) if power else ast.literal_eval(text)


def sources() -> Iterator[Path]:
    for folder in ("scripts", "rules", "tests"):
        yield from (REPOSITORY / folder).rglob("*.py")
        yield from (REPOSITORY / folder).rglob("*.smk")


def constants(module: str) -> Iterator[tuple[str, object, str]]:
    """Names in capitals that hold numbers, their values, and what the code says of them."""
    path = PACKAGE.joinpath(*module.split(".")).with_suffix(".py")
    loaded = importlib.import_module(f"ctcohort.{module}")
    body = ast.parse(path.read_text(encoding="utf-8")).body
    for node, after in zip(body, [*body[1:], None], strict=True):
        if not isinstance(node, (ast.Assign, ast.AnnAssign)):
            continue
        said = ""
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            said = str(after.value.value)
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        for name in (
            n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)
        ):
            value = getattr(loaded, name)
            parts = value if isinstance(value, tuple) else (value,)
            if name.isupper() and all(type(part) in (int, float) for part in parts):
                yield name, value, said


def modules() -> list[str]:
    paths = (path.relative_to(PACKAGE).with_suffix("") for path in PACKAGE.rglob("*.py"))
    return sorted(".".join(path.parts) for path in paths if path.name != "__init__")


def test_the_rules_are_numbered_from_1_to_16() -> None:
    assert list(rules()) == list(RULES)


def test_every_citation_has_its_rule() -> None:
    cited = {path: citations(path.read_text(encoding="utf-8")) for path in sources()}
    assert {path: unknown for path, found in cited.items() if (unknown := found - set(RULES))} == {}
    assert set().union(*cited.values()) == set(RULES)
    assert citations("\n".join(sections().values())) <= set(RULES)


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_names_the_modules_that_cite_it(rule: int) -> None:
    named = set(re.findall(r"`([\w/]+\.py)`", paragraph(rules()[rule], "In the code.")))
    assert all((PACKAGE / name).exists() for name in named)
    citing = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if rule in _alone(path.read_text(encoding="utf-8"))
    }
    assert citing <= named


def _alone(text: str) -> set[int]:
    """Rules that are cited by number, not only within a range such as "7 to 16"."""
    return citations(re.sub(r"\d+ to \d+", "", text))


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_says_what_is_done_and_why_and_by_which_cases(rule: int) -> None:
    for name in ("What is done.", "Why.", "Cases."):
        assert paragraph(rules()[rule], name)


def test_every_limit_has_the_value_that_the_page_says() -> None:
    table = [pair for body in rules().values() for pair in limits(body).items()]
    assert len(table) == len(dict(table)), "a limit is explained twice"
    for name, value in table:
        module, _, constant = name.rpartition(".")
        assert getattr(importlib.import_module(f"ctcohort.{module}"), constant) == value, name


@pytest.mark.parametrize("module", MEASURING)
def test_every_number_of_the_measuring_modules_is_explained(module: str) -> None:
    explained = {name for body in rules().values() for name in limits(body)}
    assert {f"{module}.{name}" for name, *_ in constants(module)} <= explained


def test_a_limit_is_explained_under_the_rule_that_its_comment_cites() -> None:
    where = {name: rule for rule, body in rules().items() for name in limits(body)}
    for module in modules():
        for name, _, said in constants(module):
            cited = citations(said)
            assert not cited or where[f"{module}.{name}"] in cited, f"{module}.{name}"


def test_every_case_of_the_torture_suite_proves_something() -> None:
    shown: set[str] = set()
    for title, body in sections().items():
        for pattern in re.findall(r"`([^`\s/]+)`", paragraph(body, "Cases.")):
            if pattern.startswith("test_"):
                continue
            matched = {name for name in CASES if fnmatchcase(name, pattern)}
            assert matched, f"{title}: no case is called {pattern}"
            shown |= matched
    assert set(CASES) - shown == set()
