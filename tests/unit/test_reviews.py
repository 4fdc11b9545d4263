"""The table of what a person found when looking at scans."""

from __future__ import annotations

from pathlib import Path

import pytest

from ctcohort.base.faults import InputError
from ctcohort.cohort.reviews import Review, read_reviews, strangers


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "reviews.csv"


def test_no_table_is_no_reviews(path: Path) -> None:
    assert read_reviews(path) == {}


def test_a_table_of_the_header_alone_is_no_reviews(path: Path) -> None:
    path.write_text("accession,verdict,note\n")
    assert read_reviews(path) == {}


def test_a_verdict_and_a_note_by_accession(path: Path) -> None:
    path.write_text('accession,verdict,note\nA1,good,\n007,bad,"moved, ""twice"""\n')
    assert read_reviews(path) == {"A1": Review("good"), "007": Review("bad", 'moved, "twice"')}


@pytest.mark.parametrize(
    "content",
    [
        "verdict,accession\nbad,A1\n",
        "\ufeffaccession;verdict;who\nA1;Bad;me\n",
        "accession\tverdict\n A1 \t BAD \n",
        "# of May\naccession|verdict|note\n\nA1|bad|\n",
    ],
)
def test_a_spreadsheets_way_of_writing_is_read(path: Path, content: str) -> None:
    path.write_text(content, encoding="utf-8")
    assert read_reviews(path) == {"A1": Review("bad")}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("accession,note\nA1,fine\n", "no column verdict"),
        ("scan,verdict\nA1,good\n", "no column accession"),
        ("A1,good\nA2,bad\n", "no column accession and no column verdict"),
        ("accession,verdict\nA1,secret words\n", "accession A1 is neither good nor bad"),
        ("accession,verdict\nA1,\n", "accession A1 is neither good nor bad"),
        ("accession,verdict\n,good\n", "no accession"),
        ("accession,verdict\nA1,good\nA2,bad\n A1,bad\n", "accession A1 has two rows"),
    ],
)
def test_what_is_wrong_is_one_clear_error(path: Path, content: str, said: str) -> None:
    path.write_text(content)
    with pytest.raises(InputError, match=said) as caught:
        read_reviews(path)
    assert str(path) in str(caught.value)
    assert "secret" not in str(caught.value)


def test_reviews_of_other_accessions_are_one_warning(path: Path) -> None:
    reviews = {f"A{number}": Review("good") for number in range(9)}
    assert strangers(reviews, reviews, path) == ""
    one = strangers(reviews, [*reviews][1:], path)
    assert "1 row names no accession of the cohort (A0)" in one
    many = strangers(reviews, [], path)
    assert "9 rows name no accession of the cohort (A0, A1, A2, A3, A4 and 4 more)" in many
    assert "\n" not in many
