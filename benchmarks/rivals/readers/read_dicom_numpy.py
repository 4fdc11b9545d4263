"""dicom-numpy's combine_slices on the series with the most files."""

import collections
import sys
from pathlib import Path

import dicom_numpy
import numpy as np
import pydicom


def read(source: Path, target: Path) -> None:
    series = collections.defaultdict(list)
    for path in sorted(source.iterdir()):
        try:
            dataset = pydicom.dcmread(path)
        except pydicom.errors.InvalidDicomError:
            continue
        series[dataset.SeriesInstanceUID].append(dataset)
    voxels, to_lps = dicom_numpy.combine_slices(max(series.values(), key=len))
    np.savez(target / "volume.npz", voxels=voxels, to_lps=to_lps)


if __name__ == "__main__":
    read(Path(sys.argv[1]), Path(sys.argv[2]))
