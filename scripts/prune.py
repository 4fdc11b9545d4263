"""List, and asked again delete, what is no longer in the cohort."""

import argparse
import os
from pathlib import Path

from ctcohort.base.faults import run
from ctcohort.base.files import assert_no_run, delete
from ctcohort.base.workdir import Workdir
from ctcohort.dataset.removal import leftovers, size_of


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--directory", type=Path, default=Workdir().root, help="the working directory"
    )
    parser.add_argument(
        "--delete",
        action="store_true",
        default=os.environ.get("DELETE") == "yes",
        help="delete what is listed; also asked for by the variable DELETE=yes",
    )
    options = parser.parse_args()
    here = Workdir(options.directory)
    assert_no_run(here)
    found = list(leftovers(here))
    size = sum(map(size_of, found))
    for path in found:
        print(path.relative_to(here.root))
        if options.delete:
            delete(path)
    if not found:
        print("nothing is left of scans that are not in the cohort")
    elif options.delete:
        print(f"deleted: {len(found)} files and folders, {size / 1e9:.2f} GB")
    else:
        print(f"{len(found)} files and folders, {size / 1e9:.2f} GB; DELETE=yes deletes them")


if __name__ == "__main__":
    run(main)
