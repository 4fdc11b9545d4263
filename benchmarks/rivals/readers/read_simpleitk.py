"""SimpleITK's series reader, used as its documentation shows: the series with the most files."""

import sys
from pathlib import Path

import SimpleITK as sitk


def read(source: Path, target: Path) -> None:
    reader = sitk.ImageSeriesReader()
    series = [
        reader.GetGDCMSeriesFileNames(str(source), uid)
        for uid in reader.GetGDCMSeriesIDs(str(source))
    ]
    image = sitk.ReadImage(max(series, key=len))
    if image.GetDimension() != 3:
        raise ValueError(f"an image of {image.GetDimension()} dimensions")
    sitk.WriteImage(image, str(target / "volume.mha"))


if __name__ == "__main__":
    read(Path(sys.argv[1]), Path(sys.argv[2]))
