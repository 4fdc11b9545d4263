"""A working directory -> report.html: the data set on one page that needs no network."""

import argparse
import sys
from pathlib import Path

from ctcohort.base.faults import run
from ctcohort.base.workdir import Workdir
from ctcohort.config.loading import load_reviews
from ctcohort.page.html import write_page


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--directory", type=Path, default=Workdir().root, help="the working directory"
    )
    parser.add_argument(
        "--reviews",
        type=Path,
        help="the reviews table; else the config's",
    )
    parser.add_argument("--output", type=Path, help="report.html there")
    options = parser.parse_args()
    here = Workdir(options.directory)
    said = write_page(here, options.reviews or load_reviews(here.root), options.output or here.page)
    print("\n".join(said), file=sys.stderr)


if __name__ == "__main__":
    run(main)
