"""Prove a data set against its manifest: every byte, record, parameter and set."""

import argparse
import os
import sys
from pathlib import Path

from ctcohort.base.faults import run
from ctcohort.base.workdir import Workdir
from ctcohort.dataset.verification import verify


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", type=Path, default=Path(), help="the working directory")
    parser.add_argument(
        "--raw", action="store_true", help="the DICOM files too, where they are kept"
    )
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    here = Workdir(options.directory)
    count = 0
    for line in verify(here, threads=options.threads, raw=options.raw):
        print(line, flush=True)
        count += 1
    if count:
        sys.exit(f"error: {count} things are not as {here.manifest} says")
    made = len(list(here.volumes.glob("[!.]*.npz")))  # no other is there
    print(f"all is as {here.manifest} says: {made} volumes")


if __name__ == "__main__":
    run(main)
