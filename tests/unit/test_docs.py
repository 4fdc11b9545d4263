"""The page that explains every reason and flag says what the code says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ctcohort.base import reasons
from ctcohort.dataset.columns import MANIFEST, UNITS

SECTIONS = {
    "Of a series": reasons.SERIES_REASONS,
    "Of an accession": reasons.ACCESSION_REASONS,
    "Of a failed job": reasons.JOB_REASONS,
    "Flags": reasons.FLAGS,
    "Of a release": reasons.RELEASE_REASONS,
}


def page(repository: Path) -> dict[str, dict[str, str]]:
    """Word -> meaning, by section, from the tables of docs/reasons.md."""
    text = (repository / "docs" / "reasons.md").read_text(encoding="utf-8")
    sections = {}
    for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        title, _, body = part.partition("\n")
        rows = re.findall(r"^\| `(\w+)` \| (.+?) \|", body, re.MULTILINE)
        assert len(rows) == len(dict(rows)), f"{title}: a word is explained twice"
        sections[title.strip()] = dict(rows)
    return sections


@pytest.mark.parametrize("title", SECTIONS)
def test_every_word_is_explained_in_the_words_of_the_code(repository: Path, title: str) -> None:
    def plain(text: str) -> str:
        return text.replace("`", "")

    explained = {word: plain(text) for word, text in page(repository)[title].items()}
    assert explained == SECTIONS[title]


def test_the_page_has_no_other_section(repository: Path) -> None:
    assert set(page(repository)) == set(SECTIONS)


def test_no_word_has_two_meanings() -> None:
    words = [word for words in SECTIONS.values() for word in words]
    assert len(words) == len(set(words))


def test_every_column_of_the_manifest_is_explained_in_the_words_of_the_code(
    repository: Path,
) -> None:
    text = (repository / "docs" / "manifest.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (.+) \|$", text, re.MULTILINE)
    explained = [(name, _unlinked(meaning.replace("`", ""))) for name, meaning in rows]
    assert explained == [(name, column.meaning) for name, column in MANIFEST.items()]
    assert UNITS in " ".join(text.split())


def _unlinked(text: str) -> str:
    return re.sub(r"\[([^]]+)\]\([^)]+\)", r"\1", text)
