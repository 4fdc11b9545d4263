"""The documents' commands run as printed, in order."""

from __future__ import annotations

import shutil

import pytest
import yaml

from .. import documents
from ..documents import ROOT, Place, blocks

SLURM = "docs/hpc.md"
"""Its commands run in tests/services/test_printed_commands.py."""

HOURS = "docs/reliability.md"
"""Its commands take an hour each; what they run has tests of its own."""

pytestmark = pytest.mark.xdist_group("documents")  # one after the other in one place

HERE = ("README.md", "docs/report.md", "docs/release.md", "docs/using-the-data.md")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return documents.prepare(tmp_path_factory.mktemp("documents"))


def test_every_document_with_commands_is_run() -> None:
    told = {str(path.relative_to(ROOT)) for path in documents.documents() if blocks(path)}
    assert told == {*HERE, SLURM, HOURS}, (
        "a document prints commands that no test runs: add it here"
    )


def test_the_readme_s_commands(place: Place) -> None:
    first, *others = blocks(ROOT / "README.md")
    # the tests of a single file stand for all of them
    told = place.run(first, CORES="2", TESTS="tests/unit/test_naming.py -p no:cacheprovider")
    assert "volumes   demo/processed/*.npz" in told
    assert " passed" in told
    audit, run = others
    place.run(audit)
    assert not (place.working / "raw").exists()
    assert "7 included" in place.run(run)
    assert (place.working / "report.html").exists()


def test_the_page_s_commands(place: Place) -> None:
    (block,) = blocks(ROOT / "docs" / "report.md")
    (place.working / "report.html").unlink(missing_ok=True)
    place.run(block)
    assert (place.working / "report.html").exists()


def test_the_release_s_commands(place: Place) -> None:
    block, merged = blocks(ROOT / "docs" / "release.md")
    config = yaml.safe_load((place.working / "config.yaml").read_text())
    config["privacy"] = {"key_file": f"{place.folder}/a/safe/place/ct-cohort.key"}
    config["release"] = {"key_table": f"{place.folder}/a/safe/place/names.csv"}
    (place.working / "config.yaml").write_text(yaml.safe_dump(config))
    place.run(block)
    metadata = (place.working / "release" / "metadata.csv").read_bytes()

    folder = place.folder / "merged"  # as a merge leaves it: tables, volumes, no .snakemake
    shutil.copytree(
        place.working, folder, ignore=shutil.ignore_patterns("release*", ".snakemake", "raw")
    )
    shutil.copy(place.folder / "hospital" / "reports.csv", folder)
    shutil.copy(f"{place.folder}/a/safe/place/ct-cohort.key", folder / "KEY")
    (folder / "reviews.csv").write_text("accession,verdict,note\n")
    (place.workflow / "MERGED").symlink_to(folder)
    place.run(merged)
    assert (folder / "release" / "metadata.csv").read_bytes() == metadata


def test_the_commands_that_use_the_data(place: Place) -> None:
    for block in blocks(ROOT / "docs" / "using-the-data.md"):
        place.run(block)
    nifti, chunked = (place.workflow / f"trn00001.{kind}" for kind in ("nii.gz", "b2nd"))
    assert nifti.read_bytes()[:2] == b"\x1f\x8b"
    assert chunked.stat().st_size
    for folder, ending in (("nifti", ".nii.gz"), ("chunked", ".b2nd")):
        assert len(list((place.working / folder).glob(f"*{ending}"))) == 7
    nifti.unlink()
    chunked.unlink()
