"""Real CT from a folder beside the repository, run through the workflow as one hospital."""

import csv
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pydicom
import pytest

REPOSITORY = Path(__file__).parents[2]
DATA = REPOSITORY.parent / "shared" / "data"

CONFIG = f"""\
columns: {{study_uid: Study}}
series: {{min_slices: 10, kinds: [ORIGINAL, MISSING]}}
volume: {{max_z_error_mm: null}}
archive: {{folder: {{path: "{DATA}"}}}}
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    absent = pytest.mark.skip(reason=f"needs the real CT data in {DATA.parent.name}/{DATA.name}")
    for item in items:
        if Path(__file__).parent in item.path.parents and not DATA.is_dir():
            item.add_marker(absent)


@dataclass(frozen=True)
class Hospital:
    """A finished working directory."""

    path: Path

    def rows(self, name: str) -> list[dict[str, str]]:
        with open(self.path / name, newline="") as stream:
            return list(csv.DictReader(stream))

    def run(self, *targets: str) -> str:
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "snakemake",
                "--snakefile",
                REPOSITORY / "Snakefile",
                "--directory",
                self.path,
                "--cores",
                "2",
                "--",
                *targets,
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stderr


@pytest.fixture(scope="session")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Hospital:
    """Every study of the real data is an accession ``<folder>-<number>``."""
    path = tmp_path_factory.mktemp("hospital")
    studies: dict[tuple[str, str], None] = {}
    for file in sorted(DATA.rglob("*")):
        if file.is_file() and file.stat().st_size > 132:
            try:
                dataset = pydicom.dcmread(file, specific_tags=["StudyInstanceUID"])
            except pydicom.errors.InvalidDicomError:
                continue
            studies.setdefault((file.relative_to(DATA).parts[0], dataset.StudyInstanceUID))
    with open(path / "reports.csv", "w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["AccessionNumber", "MRN", "Protocol", "Study"])
        counts: dict[str, int] = {}
        for folder, study in studies:
            folder = folder.removeprefix("kits00072_")  # its patient's name
            counts[folder] = counts.get(folder, 0) + 1
            writer.writerow(
                [
                    f"{folder}-{counts[folder]}",
                    f"patient of {folder}",
                    "CT Chest WO Contrast  W 3D MIPS Protocol",
                    study,
                ]
            )
    (path / "config.yaml").write_text(CONFIG)
    hospital = Hospital(path)
    hospital.run("all", "pictures")
    return hospital
