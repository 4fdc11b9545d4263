"""The whole story of one accession, and the commands that would redo it."""

import argparse
import os
from pathlib import Path

from ctcohort.base.faults import InputError, run
from ctcohort.base.workdir import Workdir
from ctcohort.config.loading import load_reviews
from ctcohort.dataset.story import story


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "accession", nargs="?", default=os.environ.get("ACCESSION", ""), help="or the variable"
    )
    parser.add_argument("--directory", type=Path, default=Path(), help="the working directory")
    options = parser.parse_args()
    if not options.accession:
        raise InputError("say which: make explain ACCESSION=...")
    reviews = load_reviews(options.directory)
    print("\n".join(story(Workdir(options.directory), options.accession, reviews)))


if __name__ == "__main__":
    run(main)
