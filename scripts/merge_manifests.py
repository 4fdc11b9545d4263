"""The working directories of all parts of a cohort -> one data set, proven to be whole."""

import argparse
import sys
from pathlib import Path

from ctcohort.base.faults import run
from ctcohort.dataset.merging import merge


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("into", type=Path, help="the folder to write the merged tables to")
    parser.add_argument("parts", type=Path, nargs="+", help="the working directory of each part")
    options = parser.parse_args()
    print("\n".join(merge(options.parts, options.into)), file=sys.stderr)


if __name__ == "__main__":
    run(main)
