"""dicom2nifti's convert_directory with its defaults; every file that it writes counts."""

import sys
from pathlib import Path

import dicom2nifti


def read(source: Path, target: Path) -> None:
    dicom2nifti.convert_directory(str(source), str(target), compression=False)
    if not list(target.glob("*.nii")):
        raise ValueError("it wrote nothing")


if __name__ == "__main__":
    read(Path(sys.argv[1]), Path(sys.argv[2]))
