"""Every study with joblib: the series with the most files, by SimpleITK, to 2 mm."""

import sys
from pathlib import Path

import SimpleITK as sitk
from joblib import Parallel, delayed
from resampled import write


def convert(study: Path, target: Path) -> None:
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    reader = sitk.ImageSeriesReader()
    series = [
        reader.GetGDCMSeriesFileNames(str(study), uid)
        for uid in reader.GetGDCMSeriesIDs(str(study))
    ]
    try:
        write(sitk.ReadImage(max(series, key=len)), str(target / f"{study.name}.nii.gz"))
    except RuntimeError as error:
        print(study.name, error, file=sys.stderr)


def main(archive: Path, target: Path) -> None:
    studies = sorted(archive.iterdir())
    Parallel(n_jobs=2)(delayed(convert)(study, target) for study in studies)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
