"""processed/<name>.npz (or one of a release) -> Blosc2: the same voxels in pieces to read alone."""

import argparse
import sys
from pathlib import Path

from ctcohort.base.faults import InputError, run
from ctcohort.volume.chunked import write


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("volume", type=Path, help="an .npz of this workflow")
    parser.add_argument("output", type=Path, help="a path that ends in .b2nd")
    options = parser.parse_args()
    if options.output.suffix != ".b2nd":
        raise InputError(f"{options.output}: expected a name that ends in .b2nd")
    if not options.volume.exists():
        raise InputError(f"{options.volume} is not there; expected a volume, e.g. processed/A1.npz")
    write(options.volume, options.output)
    print(f"{options.output} written", file=sys.stderr)


if __name__ == "__main__":
    run(main)
