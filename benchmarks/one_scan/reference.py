"""The article's method, written plainly: what `preprocess_volume` is measured against.

Draelos et al., Medical Image Analysis 67 (2021) 101857: order the slices, convert to Hounsfield
units, clip, resample to 0.8 mm with SimpleITK's B-spline, int16, `np.savez_compressed`.
"""

import sys
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk

SPACING_MM = 0.8


def main(raw: Path, target: Path) -> None:
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    slices = [pydicom.dcmread(path) for path in raw.glob("*.dcm")]
    slices.sort(key=lambda dataset: -float(dataset.ImagePositionPatient[2]))
    volume = np.stack(
        [
            dataset.pixel_array.astype(np.float32) * float(dataset.RescaleSlope)
            + float(dataset.RescaleIntercept)
            for dataset in slices
        ]
    ).astype(np.float32)
    np.clip(volume, -1000, 1000, out=volume)
    positions = [float(dataset.ImagePositionPatient[2]) for dataset in slices]
    step = (positions[0] - positions[-1]) / (len(positions) - 1)
    rows, columns = map(float, slices[0].PixelSpacing)
    image = sitk.GetImageFromArray(volume)
    image.SetSpacing((columns, rows, step))
    size = [
        int(np.round(count * (spacing / SPACING_MM)))
        for count, spacing in zip(image.GetSize(), image.GetSpacing(), strict=True)
    ]
    resample = sitk.ResampleImageFilter()
    resample.SetOutputSpacing([SPACING_MM] * 3)
    resample.SetSize(size)
    resample.SetInterpolator(sitk.sitkBSpline)
    result = sitk.GetArrayFromImage(resample.Execute(image))
    np.savez_compressed(target, ct=np.rint(np.clip(result, -1000, 1000)).astype(np.int16))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
