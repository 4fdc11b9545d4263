"""processed/<name>.npz (or one of a release) -> NIfTI: the same voxels at the same places."""

import argparse
import sys
from pathlib import Path

from ctcohort.base.faults import InputError, run
from ctcohort.volume.nifti import export


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("volume", type=Path, help="an .npz of this workflow")
    parser.add_argument("output", type=Path, help="a path that ends in .nii.gz or .nii")
    options = parser.parse_args()
    if not options.output.name.endswith((".nii.gz", ".nii")):
        raise InputError(f"{options.output}: expected a name that ends in .nii.gz or .nii")
    if not options.volume.exists():
        raise InputError(f"{options.volume} is not there; expected a volume, e.g. processed/A1.npz")
    export(options.volume, options.output)
    print(f"{options.output} written", file=sys.stderr)


if __name__ == "__main__":
    run(main)
