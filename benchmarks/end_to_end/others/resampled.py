"""A volume resampled to 2 mm by SimpleITK's B-spline, clipped, as int16."""

import sys

import SimpleITK as sitk

SPACING_MM = 2.0


def write(image: sitk.Image, target: str) -> None:
    size = [
        round(count * step / SPACING_MM)
        for count, step in zip(image.GetSize(), image.GetSpacing(), strict=True)
    ]
    resample = sitk.ResampleImageFilter()
    resample.SetReferenceImage(image)
    resample.SetSize(size)
    resample.SetOutputSpacing([SPACING_MM] * 3)
    resample.SetInterpolator(sitk.sitkBSpline)
    image = resample.Execute(
        sitk.Clamp(sitk.Cast(image, sitk.sitkFloat32), sitk.sitkFloat32, -1000, 1000)
    )
    sitk.WriteImage(
        sitk.Cast(sitk.Clamp(image, sitk.sitkFloat32, -1000, 1000), sitk.sitkInt16), target
    )


if __name__ == "__main__":
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    write(sitk.ReadImage(sys.argv[1]), sys.argv[2])
