"""Names of a release: given once, kept for ever, and readable by nobody else."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctcohort.base.faults import InputError
from ctcohort.release import key_table

KEY, OTHER_KEY = b"k" * 64, b"o" * 64

SCANS = st.lists(
    st.tuples(st.text(min_size=1, max_size=8), st.sampled_from(["train", "val", "test"])),
    unique_by=lambda scan: scan[0],
)


@given(SCANS, SCANS)
def test_adding_scans_renames_none(
    first: list[tuple[str, str]], more: list[tuple[str, str]]
) -> None:
    known = dict(first)
    both = [*first, *((a, split) for a, split in more if a not in known)]
    before = key_table.extended({}, first, KEY)
    after = key_table.extended(before, both, KEY)
    assert {name: after[name] for name in before} == before
    assert sorted(after.values()) == sorted(accession for accession, _ in both)
    assert key_table.extended(after, both, KEY) == after


@given(SCANS)
def test_names_do_not_depend_on_the_order_of_the_table(scans: list[tuple[str, str]]) -> None:
    assert key_table.extended({}, scans, KEY) == key_table.extended({}, scans[::-1], KEY)


def test_names_say_the_set_and_nothing_of_the_table_s_order() -> None:
    scans = [(f"A{number:03d}", "train") for number in range(50)] + [("B1", "val"), ("C1", "test")]
    names = key_table.extended({}, scans, KEY)
    assert {"trn00001", "trn00050", "val00001", "tst00001"} <= set(names)
    assert list(names.values())[:50] != sorted(names.values())[:50]
    assert key_table.extended({}, scans, OTHER_KEY) != names


def test_the_number_of_a_withdrawn_scan_is_never_given_again(tmp_path: Path) -> None:
    table = tmp_path / "names.csv"
    names = key_table.extended({}, [("A1", "train"), ("A2", "train")], KEY)
    last = names["trn00002"]
    names["trn00002"] = ""  # blanked: forgotten
    key_table.write(table, names, KEY)
    again = key_table.extended(key_table.read(table, KEY), [("A3", "train"), (last, "train")], KEY)
    assert set(again) == {"trn00001", "trn00002", "trn00003", "trn00004"}
    assert again["trn00002"] == ""


def test_a_released_scan_keeps_its_set() -> None:
    names = key_table.extended({}, [("A1", "train")], KEY)
    with pytest.raises(InputError, match="was released as trn00001 and is in test now"):
        key_table.extended(names, [("A1", "test")], KEY)


@pytest.mark.parametrize("accession", ["a,b", 'say "x"', "../x", "line\nbreak", " 7", "=1+1", "ä"])
def test_what_is_written_is_read(tmp_path: Path, accession: str) -> None:
    table = tmp_path / "names.csv"
    names = key_table.extended({}, [(accession, "val")], KEY)
    key_table.write(table, names, KEY)
    assert table.stat().st_mode & 0o777 == 0o600
    assert key_table.read(table, KEY) == names == {"val00001": accession}


def test_another_key_or_an_edited_row_is_noticed(tmp_path: Path) -> None:
    table = tmp_path / "names.csv"
    key_table.write(table, key_table.extended({}, [("A1", "train"), ("A2", "val")], KEY), KEY)
    with pytest.raises(InputError, match=r"row 2 does not belong to privacy\.key_file"):
        key_table.read(table, OTHER_KEY)
    text = table.read_text()
    table.write_text(text.replace("A2", "A9"))
    with pytest.raises(InputError, match="row 3 does not belong"):
        key_table.read(table, KEY)
    table.write_text(text + text.splitlines()[1] + "\n")
    with pytest.raises(InputError, match=r"row 4 .* occurs twice"):
        key_table.read(table, KEY)
    table.write_text("name,accession,seal\nscan1,A1,\n")
    with pytest.raises(InputError, match="row 2 is not what this command wrote"):
        key_table.read(table, KEY)
    table.write_text("name\ntrn00001\ntrn00001\n")
    with pytest.raises(InputError, match="row 3"):
        key_table.read(table, KEY)


def test_the_table_s_place_is_private(tmp_path: Path) -> None:
    release = tmp_path / "release"
    with pytest.raises(InputError, match="is not set; name a file outside release/"):
        key_table.location(None, release)
    with pytest.raises(InputError, match="is inside the release"):
        key_table.location(str(release / "names.csv"), release)
    release.mkdir()
    (tmp_path / "link").symlink_to(release)
    with pytest.raises(InputError, match="is inside the release"):
        key_table.location(str(tmp_path / "link" / "names.csv"), release)
    table = tmp_path / "names.csv"
    table.touch(0o640)
    table.chmod(0o640)
    with pytest.raises(InputError, match=f"readable by others; run chmod 600 {table}"):
        key_table.location(str(table), release)
    table.chmod(0o600)
    assert key_table.location(str(table), release) == table
